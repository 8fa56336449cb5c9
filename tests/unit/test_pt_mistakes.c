/* SPDX-License-Identifier: MIT */
/*
 * Mistakes that page-table engines are known to make, one test each, on every format. They repeat
 * what other suites cover by accident or in passing; here a mistake fails under its own name.
 */
#include "support.h"

/* Two blocks of level 1 in an unremarkable place. */
struct area {
	uint64_t ia, s, p;
	nest_pa_t pa;
};

/* false: the case has no pages larger than the smallest. */
static bool open_area(struct fix *f, const struct tcase *c, struct area *a)
{
	fix_open(f, c);
	if (f->max_leaf == 0) {
		fix_close(f);
		return false;
	}
	a->s = span(f, 1);
	a->p = f->page;
	a->ia = place(f, PLACE_MID, 4 * a->s);
	a->pa = 5 * a->s;
	CHECK_OK(nest_pt_map(&f->pt, a->ia, a->pa, 2 * a->s, f->attr, 0, NULL));
	arena_mark(&f->a);
	return true;
}

static void advance(const struct tcase *c)
{
	struct fix f;
	struct area a;
	uint64_t base;

	if (!open_area(&f, c, &a))
		return;
	/* A table of pages behind one that begins off the boundary: each page must be met. */
	base = a.ia + 2 * a.s;
	CHECK_OK(nest_pt_map(&f.pt, base, a.p, 2 * a.s, f.attr, NEST_MAP_MAX_LEVEL(0), NULL));
	CHECK_OK(nest_pt_protect(&f.pt, base - a.p, a.s + 2 * a.p, 0, f.w, 0, NULL));
	check_maps(&f, base - 2 * a.p, a.pa + 2 * a.s - 2 * a.p, f.attr);
	check_maps(&f, base - a.p, a.pa + 2 * a.s - a.p, f.attr & ~f.w);
	for (uint64_t at = 0; at < a.s + a.p; at += a.p)
		check_maps(&f, base + at, a.p + at, f.attr & ~f.w);
	check_maps(&f, base + a.s + a.p, a.s + 2 * a.p, f.attr);
	CHECK_OK(nest_pt_unmap(&f.pt, base + 3 * a.p, a.s, 0, NULL));
	for (uint64_t at = 0; at < a.s; at += a.p)
		check_none(&f, base + 3 * a.p + at);
	check_maps(&f, base + 2 * a.p, 3 * a.p, f.attr & ~f.w);
	check_maps(&f, base + a.s + 3 * a.p, a.s + 4 * a.p, f.attr);
	check_consistent(&f);
	fix_close(&f);
}

static void the_cursor_moves_to_the_next_boundary(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, advance);
}

static void part(const struct tcase *c)
{
	struct fix f;
	struct area a;

	if (!open_area(&f, c, &a))
		return;
	CHECK_OK(nest_pt_unmap(&f.pt, a.ia + 7 * a.p, a.p, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, a.ia + a.s + 9 * a.p, a.p, 0, f.w, 0, NULL));
	for (uint64_t at = 0; at < a.s; at += a.p) {
		if (at == 7 * a.p)
			check_none(&f, a.ia + at);
		else
			check_maps(&f, a.ia + at, a.pa + at, f.attr);
		check_maps(&f, a.ia + a.s + at, a.pa + a.s + at,
			   at == 9 * a.p ? f.attr & ~f.w : f.attr);
	}
	check_consistent(&f);
	fix_close(&f);
}

static void part_of_a_large_page_is_just_that_part(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, part);
}

/* A host whose second allocation of a page lies at physical address 0. */
static uint64_t twist;

static nest_pa_t zero_alloc(void *ctx, size_t size)
{
	nest_pa_t pa = ((struct arena *)ctx)->host.alloc(ctx, size);

	return pa == NEST_PA_NONE ? pa : (pa - ARENA_BASE) ^ twist;
}

static void zero_free(void *ctx, nest_pa_t pa, size_t size)
{
	((struct arena *)ctx)->host.free(ctx, (pa ^ twist) + ARENA_BASE, size);
}

static void *zero_virt(void *ctx, nest_pa_t pa)
{
	/* Inside a table the low bits are 0, so the twist keeps it in one piece. */
	return arena_ptr(ctx, (pa ^ twist) + ARENA_BASE);
}

static void at_zero(const struct tcase *c)
{
	static struct arena a;
	struct nest_pt_config cfg = {
		.format = c->format, .features = c->features, .ia_bits = c->ia_bits, .ctx = &a
	};
	struct nest_mapping m;
	struct nest_host host;
	struct nest_pt pt;
	uint64_t page = (uint64_t)1 << c->info.page_shift;

	for (unsigned k = 0; k < 5; k++) {
		arena_open(&a, (uint64_t)16 << 20);
		twist = k ? page << (k - 1) : 0;
		host = a.host;
		host.alloc = zero_alloc;
		host.free = zero_free;
		host.to_virt = zero_virt;
		host.sync = NULL;
		cfg.host = &host;
		/* The root stands at 0, or whichever table is the twist away from it. */
		if (nest_pt_init(&pt, &cfg) == NEST_OK) {
			CHECK_OK(nest_pt_map(&pt, page, 0, page, NEST_RWX, 0, NULL));
			CHECK_RC(nest_pt_map(&pt, page, page, page, NEST_RWX, 0, NULL),
				 NEST_E_MAPPED);
			CHECK_OK(nest_pt_map(&pt, 2 * page, page, page, NEST_RWX, 0, NULL));
			CHECK_OK(nest_pt_query(&pt, page, &m));
			CHECK_EQ(m.pa, 0);
			CHECK_OK(nest_pt_query(&pt, 2 * page, &m));
			CHECK_EQ(m.pa, page);
			CHECK_OK(nest_pt_unmap(&pt, page, 2 * page, 0, NULL));
			CHECK_RC(nest_pt_query(&pt, page, &m), NEST_E_NOTMAPPED);
			nest_pt_destroy(&pt);
		}
		CHECK_EQ(a.outstanding, 0);
		arena_close(&a);
	}
}

static void address_zero_is_an_address(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, at_zero);
}

/* A detached table, as the flush finds it. */
static struct {
	struct fix *f;
	const uint64_t *table;
	uint64_t first;
	uint64_t ia;
	bool seen;
} detached;

static void still_there(struct arena *a, const struct nest_flush *what)
{
	const uint64_t e = detached.table[0];
	struct raw_leaf l;
	nest_pa_t table;

	(void)a;
	(void)what;
	/* The engine of a small build for one format clears the entries before it unlinks. */
	if (nest_formats[1] ||
	    raw_decode(&detached.f->geo, 0, detached.ia, e, &l, &table) != RAW_NONE)
		CHECK_EQ(e, detached.first);
	CHECK(!raw_translate(&detached.f->geo, detached.ia, &l));
	detached.seen = true;
}

static bool is_in_group(const struct fix *f, uint64_t ia)
{
	struct nest_mapping m;

	CHECK_OK(nest_pt_query(&f->pt, ia, &m));
	CHECK_EQ(m.level, 1);
	return m.contiguous;
}

static void cut_group(const struct tcase *c)
{
	struct fix f;
	uint64_t s, ia;

	fix_open(&f, c);
	s = f.max_leaf ? group(&f, 1) : 0;
	if (!s) {
		fix_close(&f);
		return;
	}
	ia = place(&f, PLACE_MID, 2 * s);
	CHECK_OK(nest_pt_map(&f.pt, ia, 4 * s, 2 * s, f.attr, 0, NULL));
	CHECK(is_in_group(&f, ia) && is_in_group(&f, ia + s));
	/* One page of the last block of the first group. */
	CHECK_OK(nest_pt_split(&f.pt, ia + s - span(&f, 1), f.page, 1, NULL));
	CHECK(!is_in_group(&f, ia));
	CHECK(is_in_group(&f, ia + s));
	check_consistent(&f);
	fix_close(&f);
}

static void a_group_is_opened_and_the_next_one_stays(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, cut_group);
}

static void detach(const struct tcase *c)
{
	struct fix f;
	struct area a;
	uint64_t e = 0;
	nest_pa_t table;
	struct raw_leaf l;
	const uint64_t *t;

	if (!open_area(&f, c, &a))
		return;
	CHECK_OK(nest_pt_split(&f.pt, a.ia, a.s, 0, NULL));
	CHECK(raw_entry(&f.geo, a.ia, 1, &e));
	CHECK_EQ(raw_decode(&f.geo, 1, a.ia, e, &l, &table), RAW_TABLE);
	t = arena_ptr(&f.a, table);
	detached.f = &f;
	detached.table = t;
	detached.first = t[0];
	detached.ia = a.ia;
	detached.seen = false;
	f.a.on_flush = still_there;
	CHECK_OK(nest_pt_unmap(&f.pt, a.ia, a.s, 0, NULL));
	f.a.on_flush = NULL;
	CHECK(detached.seen);
	/* It has been given back since: the arena poisons what is free. */
	CHECK(!arena_owns(&f.a, table));
	CHECK_EQ(t[0], 0xa5a5a5a5a5a5a5a5u);
	fix_close(&f);
}

static void a_table_is_unlinked_then_flushed_then_freed(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, detach);
}

/* What a walker on another CPU could see whenever the library calls out. */
static struct {
	struct fix *f;
	struct area a;
	uint64_t changed; /* the page that changes */
	nest_pa_t to;
	bool may_break;
	unsigned looks;
} walker;

static void walk_now(void)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t off = i * (walker.a.s / 64) & ~(walker.a.p - 1);
		struct raw_leaf l;

		if (!raw_translate(&walker.f->geo, walker.a.ia + off, &l))
			CHECK(walker.may_break);
		else if (off == walker.changed)
			CHECK(l.pa == walker.a.pa + off || l.pa == walker.to);
		else
			CHECK_EQ(l.pa, walker.a.pa + off);
	}
	walker.looks++;
}

static void (*inner_sync)(void *ctx, const void *va, size_t len);
static nest_pa_t (*inner_alloc)(void *ctx, size_t size);

static void sync_and_walk(void *ctx, const void *va, size_t len)
{
	inner_sync(ctx, va, len);
	walk_now();
}

static nest_pa_t alloc_and_walk(void *ctx, size_t size)
{
	walk_now();
	return inner_alloc(ctx, size);
}

static void flush_and_walk(struct arena *a, const struct nest_flush *what)
{
	(void)a;
	(void)what;
	walk_now();
}

static void publish(const struct tcase *c)
{
	struct fix f;
	uint64_t off;

	if (!open_area(&f, c, &walker.a))
		return;
	walker.f = &f;
	/* LoongArch breaks before a block takes the place of small pages. */
	walker.may_break = c->info.break_before_make || !strncmp(c->name, "loongarch", 9);
	walker.looks = 0;
	walker.changed = off = walker.a.s / 64 * 3 & ~(walker.a.p - 1);
	walker.to = walker.a.pa + 9 * walker.a.s;
	inner_sync = f.a.host.sync;
	inner_alloc = f.a.host.alloc;
	f.a.host.sync = sync_and_walk;
	f.a.host.alloc = alloc_and_walk;
	f.a.on_flush = flush_and_walk;
	CHECK_OK(nest_pt_protect(&f.pt, walker.a.ia + off, walker.a.p, 0, f.w, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, walker.a.ia + off, walker.a.p, f.w, 0, 0, NULL));
	CHECK_OK(nest_pt_merge(&f.pt, walker.a.ia, walker.a.s, NULL));
	CHECK_OK(nest_pt_map(&f.pt, walker.a.ia + off, walker.to, walker.a.p, f.attr,
			     NEST_MAP_REPLACE, NULL));
	CHECK(walker.looks > 4);
	f.a.host.sync = inner_sync;
	f.a.host.alloc = inner_alloc;
	f.a.on_flush = NULL;
	fix_close(&f);
}

static void a_table_is_filled_before_it_is_linked(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, publish);
}

/* Every allocation comes before the first store, so none can be overtaken by it. */
static struct fix *allocating;
static struct snap at_start;

static nest_pa_t alloc_unchanged(void *ctx, size_t size)
{
	struct snap now = snap_take(allocating);

	CHECK_EQ(now.raw, at_start.raw);
	snap_free(&now);
	return inner_alloc(ctx, size);
}

static void prepare(const struct tcase *c)
{
	struct fix f;
	struct area a;

	if (!open_area(&f, c, &a))
		return;
	inner_alloc = f.a.host.alloc;
	allocating = &f;
	for (unsigned op = 0; op < 4; op++) {
		at_start = snap_take(&f);
		f.a.host.alloc = alloc_unchanged;
		if (op == 0)
			CHECK_OK(nest_pt_map(&f.pt, a.ia + 2 * a.s, a.p, a.s + a.p, f.attr, 0,
					     NULL));
		else if (op == 1)
			CHECK_OK(
				nest_pt_protect(&f.pt, a.ia + a.s - a.p, 2 * a.p, 0, f.w, 0, NULL));
		else if (op == 2)
			CHECK_OK(nest_pt_merge(&f.pt, a.ia, 4 * a.s, NULL));
		else
			CHECK_OK(nest_pt_unmap(&f.pt, a.ia + a.p, 2 * a.s - 2 * a.p, 0, NULL));
		f.a.host.alloc = inner_alloc;
		snap_free(&at_start);
	}
	fix_close(&f);
}

static void allocation_precedes_every_store(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, prepare);
}

/* Bits that a pointer may have set beside the address. */
static uint64_t pointer_bits(const struct fix *f)
{
	switch (f->geo.arch) {
	case RAW_EPT:
		return 0x407 | 1ull << 63; /* R W X, user X, suppress #VE */
	case RAW_X86:
		return 0x27; /* P W U A */
	case RAW_ARM_S2:
	case RAW_ARM_S1:
		return f->geo.wide ? f->c.info.page_shift == 16 ? 0xf003 : 0x303 : 3;
	case RAW_RISCV:
		return 1;
	case RAW_LOONG:
		break;
	}
	return 0;
}

static void pointers(const struct tcase *c)
{
	static const nest_attr_t extra[] = { 0,
					     NEST_SW0 | NEST_SW1 | NEST_SW2,
					     NEST_G,
					     NEST_MT_UC,
					     NEST_MT_WC,
					     NEST_MT_WT,
					     NEST_MT_DEVICE,
					     NEST_U };
	struct fix f;
	struct area a;
	struct nest_mapping m;
	uint64_t e = 0, pa;
	struct raw_leaf l;

	if (!open_area(&f, c, &a))
		return;
	for (unsigned i = 0; i < sizeof(extra) / sizeof(*extra); i++) {
		nest_attr_t attr = f.attr | extra[i];
		int rc = nest_pt_map(&f.pt, a.ia + 2 * a.s, a.pa + 2 * a.s, a.s, attr, 0, NULL);

		if (rc == NEST_E_UNSUPPORTED)
			continue;
		CHECK_OK(rc);
		CHECK_OK(nest_pt_unmap(&f.pt, a.ia + 2 * a.s + a.p, a.p, 0, NULL));
		CHECK(raw_scan(&f.geo, NULL, NULL, NULL));
		CHECK(raw_entry(&f.geo, a.ia + 2 * a.s, 1, &e));
		CHECK_EQ(raw_decode(&f.geo, 1, a.ia + 2 * a.s, e, &l, &pa), RAW_TABLE);
		if (f.geo.arch == RAW_RISCV)
			pa >>= 2;
		CHECK_EQ(e & ~pointer_bits(&f), pa);
		CHECK_OK(nest_pt_query(&f.pt, a.ia + 2 * a.s, &m));
		CHECK_EQ(m.pa, a.pa + 2 * a.s);
		CHECK_OK(nest_pt_unmap(&f.pt, a.ia + 2 * a.s, a.s, NEST_SKIP_HOLES, NULL));
	}
	fix_close(&f);
}

static void a_pointer_keeps_nothing_of_the_leaf(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, pointers);
}

static void midway(const struct tcase *c)
{
	struct fix f;
	struct area a;
	struct snap before;
	uint64_t ia;
	unsigned n = 0;
	int rc;

	if (!open_area(&f, c, &a))
		return;
	before = snap_take(&f);
	ia = a.ia + 3 * a.s - a.p;
	do {
		arena_fail(&f.a, ++n, true);
		rc = nest_pt_map(&f.pt, ia, a.p, 2 * a.p, f.attr, 0, NULL);
		arena_fail(&f.a, 0, false);
		if (rc != NEST_OK) {
			CHECK_RC(rc, NEST_E_NOMEM);
			check_none(&f, ia);
			check_none(&f, ia + a.p);
			check_unchanged(&f, &before);
		}
	} while (rc != NEST_OK);
	CHECK(n > 2);
	snap_free(&before);
	fix_close(&f);
}

static void a_failed_map_leaves_no_prefix(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, midway);
}

static void second_fault(const struct tcase *c)
{
	struct fix f;
	uint64_t ia;

	fix_open(&f, c);
	ia = place(&f, PLACE_LOW_TOP, f.page);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, f.page, f.attr, 0, NULL));
	CHECK_RC(nest_pt_map(&f.pt, ia, 0x9000000, f.page, f.attr, 0, NULL), NEST_E_MAPPED);
	check_maps(&f, ia, 0x8000000, f.attr);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x9000000, f.page, f.attr, NEST_MAP_SKIP_MAPPED, NULL));
	check_maps(&f, ia, 0x8000000, f.attr);
	fix_close(&f);
}

static void a_second_map_never_replaces_the_frame(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, second_fault);
}

/* What a memory type is told as: Arm has two device types, the others one uncached type. */
static nest_attr_t same_type(const struct tcase *c, nest_attr_t type)
{
	bool arm = !strncmp(c->name, "aarch64", 7);

	if (arm)
		return type == NEST_MT_UC ? NEST_MT_DEVICE_STRICT : type;
	return type == NEST_MT_DEVICE || type == NEST_MT_DEVICE_STRICT ? NEST_MT_UC : type;
}

static void rights(const struct tcase *c)
{
	static const nest_attr_t sets[] = { NEST_R, NEST_RW, NEST_RX, NEST_RWX, NEST_X, NEST_W };
	static const nest_attr_t types[] = { NEST_MT_WB, NEST_MT_WT,     NEST_MT_WC,
					     NEST_MT_UC, NEST_MT_DEVICE, NEST_MT_DEVICE_STRICT };
	struct nest_mapping m;
	struct raw_leaf l;
	struct fix f;
	uint64_t ia, word;
	unsigned ok = 0;

	fix_open(&f, c);
	ia = place(&f, PLACE_LOW, f.page);
	for (unsigned i = 0; i < 36; i++) {
		nest_attr_t ad = f.attr & ~NEST_RWX, want = sets[i / 6] | types[i % 6];
		int rc;

		if (!(want & NEST_W))
			ad &= ~NEST_DIRTY;
		rc = nest_pt_map(&f.pt, ia, 0x8000000, f.page, want | ad, 0, NULL);
		if (rc == NEST_E_UNSUPPORTED) {
			check_none(&f, ia);
			CHECK(i != 0 && i != 18);
			continue;
		}
		CHECK_OK(rc);
		ok++;
		CHECK_OK(nest_pt_query(&f.pt, ia, &m));
		CHECK_EQ(m.attr & NEST_RWX, want & NEST_RWX);
		CHECK_EQ(m.attr & NEST_MT_MASK, same_type(c, want & NEST_MT_MASK));
		CHECK(raw_translate(&f.geo, ia, &l));
		word = l.entry;
		CHECK_EQ(l.r, (want & NEST_R) != 0);
		CHECK_EQ(l.x, (want & NEST_X) != 0);
		CHECK_EQ(l.w, (want & NEST_W) != 0);
		/* What is told would build the same entry again. */
		CHECK_OK(nest_pt_unmap(&f.pt, ia, f.page, 0, NULL));
		CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, f.page, m.attr, 0, NULL));
		CHECK(raw_translate(&f.geo, ia, &l));
		CHECK_EQ(l.entry, word);
		CHECK_OK(nest_pt_unmap(&f.pt, ia, f.page, 0, NULL));
	}
	CHECK(ok >= 4);
	fix_close(&f);
}

static void rights_and_types_decode_as_they_encode(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, rights);
}

/* Every bit of a mark's value is the embedder's: none may pass for a flag of a leaf. */
static void mark_bits(const struct tcase *c)
{
	struct nest_mapping m;
	struct fix f;
	uint64_t ia, p, n = 256;

	fix_open(&f, c);
	p = f.page;
	ia = place(&f, PLACE_MID, n * p);
	for (unsigned bit = 0; bit < 48; bit++) {
		uint64_t value = (uint64_t)1 << bit;

		CHECK_OK(nest_pt_mark(&f.pt, ia, n * p, value, NULL));
		CHECK_OK(nest_pt_unmap(&f.pt, ia + 4 * p, p, NEST_SKIP_HOLES, NULL));
		CHECK_OK(nest_pt_map(&f.pt, ia + 7 * p, 0x8000000, 2 * p, f.attr, NEST_MAP_REPLACE,
				     NULL));
		CHECK_OK(nest_pt_protect(&f.pt, ia, n * p, 0, f.w, NEST_SKIP_HOLES, NULL));
		CHECK_OK(nest_pt_split(&f.pt, ia, n * p, 0, NULL));
		CHECK_OK(nest_pt_merge(&f.pt, ia, n * p, NULL));
		for (uint64_t i = 0; i < n; i++) {
			enum nest_pte_kind kind = i == 4 ? NEST_PTE_NONE : NEST_PTE_MARK;

			(void)nest_pt_query(&f.pt, ia + i * p, &m);
			if (i == 7 || i == 8)
				kind = NEST_PTE_LEAF;
			CHECK_EQ(m.kind, kind);
			CHECK_EQ(m.mark, kind == NEST_PTE_MARK ? value : 0);
		}
		check_consistent(&f);
		CHECK_OK(nest_pt_unmap(&f.pt, ia, n * p, NEST_SKIP_HOLES, NULL));
		CHECK_EQ(f.a.outstanding, f.tables0);
		arena_mark(&f.a);
	}
	fix_close(&f);
}

static void a_mark_is_never_taken_for_a_leaf(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, mark_bits);
}

static void edges(const struct tcase *c)
{
	struct fix f;
	uint64_t top, p;

	fix_open(&f, c);
	p = f.page;
	top = place(&f, PLACE_TOP, p);
	CHECK_RC(nest_pt_map(&f.pt, top, 0, 0, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_unmap(&f.pt, top, 0, NEST_SKIP_HOLES, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, top, 0, 2 * p, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, top, 0, 0 - p, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, top, 0, 0 - top, f.attr, 0, NULL),
		 0 - top == p ? NEST_OK : NEST_E_RANGE);
	CHECK_OK(nest_pt_map(&f.pt, top, 0, p, f.attr, NEST_MAP_REPLACE, NULL));
	check_maps(&f, top + p - 1, p - 1, f.attr);
	CHECK_OK(nest_pt_protect(&f.pt, top, p, 0, f.w, 0, NULL));
	check_maps(&f, top + p - 1, p - 1, f.attr & ~f.w);
	CHECK_OK(nest_pt_unmap(&f.pt, top, p, 0, NULL));
	check_none(&f, top + p - 1);
	fix_close(&f);
}

static void zero_length_last_page_and_wrapping(void **state)
{
	(void)state;
	sweep(SWEEP_ALL_WIDTHS, edges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cursor_moves_to_the_next_boundary),
		cmocka_unit_test(part_of_a_large_page_is_just_that_part),
		cmocka_unit_test(address_zero_is_an_address),
		cmocka_unit_test(a_table_is_unlinked_then_flushed_then_freed),
		cmocka_unit_test(a_table_is_filled_before_it_is_linked),
		cmocka_unit_test(allocation_precedes_every_store),
		cmocka_unit_test(a_pointer_keeps_nothing_of_the_leaf),
		cmocka_unit_test(a_failed_map_leaves_no_prefix),
		cmocka_unit_test(a_second_map_never_replaces_the_frame),
		cmocka_unit_test(rights_and_types_decode_as_they_encode),
		cmocka_unit_test(a_mark_is_never_taken_for_a_leaf),
		cmocka_unit_test(a_group_is_opened_and_the_next_one_stays),
		cmocka_unit_test(zero_length_last_page_and_wrapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
