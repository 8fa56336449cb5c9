/* SPDX-License-Identifier: MIT */
/*
 * What is flushed, when, and what comes after: write, then invalidate, then reuse. The arena's
 * watch refuses a table that is freed before its flush in every test; here are the finer promises.
 */
#include "support.h"

/* Releases, in a table of what is expected: each page once. */
struct ledger {
	struct fix *f;
	uint64_t bytes;
	unsigned leaves;
	nest_ia_t ia; /* of the last one */
	nest_pa_t pa;
};

static void on_release(void *ctx, const struct nest_mapping *leaf)
{
	struct ledger *l = ctx;

	CHECK_EQ(leaf->kind, NEST_PTE_LEAF);
	CHECK(arena_flushed_at(&l->f->a, leaf->ia, leaf->ia + (leaf->size - 1), leaf->level));
	CHECK_EQ(plain_attr(leaf->attr), plain_attr(l->f->attr));
	l->bytes += leaf->size;
	l->leaves++;
	l->ia = leaf->ia;
	l->pa = leaf->pa;
}

static void listen(struct fix *f, struct nest_gather *g, struct ledger *l)
{
	*l = (struct ledger){ .f = f };
	nest_gather_init(g, &f->pt);
	nest_gather_on_release(g, on_release, l);
	arena_mark(&f->a);
}

static void removed(const struct tcase *c)
{
	struct fix f;
	struct nest_gather g;
	struct ledger l;
	uint64_t ia, p;
	const unsigned n = 40;

	fix_open(&f, c);
	p = f.page;
	ia = place(&f, PLACE_MID, 64 * p);
	listen(&f, &g, &l);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, n * p, f.attr, 0, &g));
	nest_gather_sync(&g);
	CHECK_EQ(l.leaves, 0);
	listen(&f, &g, &l);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, n * p, 0, &g));
	nest_gather_sync(&g);
	CHECK_EQ(l.bytes, n * p);
	CHECK_EQ(f.a.outstanding, f.tables0);
	/* A synced gather is empty: another sync does nothing. */
	arena_mark(&f.a);
	nest_gather_sync(&g);
	CHECK_EQ(f.a.nr_ev, 0);
	CHECK_EQ(l.bytes, n * p);
	/* Replaced by other frames: reported, with the old frame. */
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, p, f.attr, 0, NULL));
	listen(&f, &g, &l);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x9000000, p, f.attr, NEST_MAP_REPLACE, &g));
	nest_gather_sync(&g);
	CHECK_EQ(l.leaves, 1);
	CHECK_EQ(l.ia, ia);
	CHECK_EQ(l.pa, 0x8000000);
	/* By the same frame with other rights: the frame has not been given up. */
	listen(&f, &g, &l);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x9000000, p, f.attr & ~f.w, NEST_MAP_REPLACE, &g));
	CHECK_OK(nest_pt_protect(&f.pt, ia, p, f.w, 0, 0, &g));
	nest_gather_sync(&g);
	CHECK_EQ(l.leaves, 0);
	/* Marks are no leaves. */
	CHECK_OK(nest_pt_mark(&f.pt, ia + p, 3 * p, 1, NULL));
	listen(&f, &g, &l);
	CHECK_OK(nest_pt_unmap(&f.pt, ia + p, 3 * p, NEST_SKIP_HOLES, &g));
	nest_gather_sync(&g);
	CHECK_EQ(l.leaves, 0);
	fix_close(&f);
}

static void each_removed_leaf_is_told_once(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, removed);
}

static void restructured(const struct tcase *c)
{
	struct fix f;
	struct nest_gather g;
	struct ledger l;
	uint64_t ia, s, p;

	fix_open(&f, c);
	p = f.page;
	if (f.max_leaf > 0) {
		s = span(&f, 1);
		ia = place(&f, PLACE_MID, 2 * s);
		CHECK_OK(nest_pt_map(&f.pt, ia, s, 2 * s, f.attr, NEST_MAP_MAX_LEVEL(1), NULL));
		listen(&f, &g, &l);
		CHECK_OK(nest_pt_split(&f.pt, ia, s, 0, &g));
		CHECK_OK(nest_pt_protect(&f.pt, ia + s + p, p, 0, f.w, 0, &g));
		CHECK_OK(nest_pt_protect(&f.pt, ia + s + p, p, f.w, 0, 0, &g));
		CHECK_OK(nest_pt_merge(&f.pt, ia, 2 * s, &g));
		CHECK_OK(nest_pt_split(&f.pt, ia, s, 0, &g));
		/* A table of pages gives way to the block that maps the same frames. */
		CHECK_OK(nest_pt_map(&f.pt, ia, s, s, f.attr, NEST_MAP_REPLACE, &g));
		nest_gather_sync(&g);
		CHECK_EQ(l.leaves, 0);
		/* A hole in a block gives up the hole alone. */
		listen(&f, &g, &l);
		CHECK_OK(nest_pt_unmap(&f.pt, ia + 5 * p, 2 * p, 0, &g));
		nest_gather_sync(&g);
		CHECK_EQ(l.bytes, 2 * p);
		/* A block over a table: its pages are told, but for those that stay in place. */
		CHECK_OK(nest_pt_map(&f.pt, ia + 5 * p, 40 * s, p, f.attr, 0, NULL));
		listen(&f, &g, &l);
		CHECK_OK(nest_pt_map(&f.pt, ia, s, s, f.attr, NEST_MAP_REPLACE, &g));
		nest_gather_sync(&g);
		CHECK_EQ(l.leaves, 1);
		CHECK_EQ(l.pa, 40 * s);
		/* A page inside a block is replaced: that page alone. */
		listen(&f, &g, &l);
		CHECK_OK(nest_pt_map(&f.pt, ia + 9 * p, 41 * s, p, f.attr, NEST_MAP_REPLACE, &g));
		nest_gather_sync(&g);
		CHECK_EQ(l.bytes, p);
		CHECK_EQ(l.ia, ia + 9 * p);
		CHECK_EQ(l.pa, s + 9 * p);
		/* The whole subtree in one go. */
		listen(&f, &g, &l);
		CHECK_OK(nest_pt_unmap(&f.pt, ia, 2 * s, 0, &g));
		nest_gather_sync(&g);
		CHECK_EQ(l.bytes, 2 * s);
		CHECK_EQ(f.a.outstanding, f.tables0);
	}
	fix_close(&f);
}

static void restructuring_gives_up_no_frame(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, restructured);
}

/* More than a gather holds, in pieces far apart: synced early, never lost. */
static void overflow(const struct tcase *c)
{
	struct fix f;
	struct nest_gather g;
	struct ledger l;
	uint64_t ia, p;
	const unsigned n = 3 * (NEST_GATHER_RANGES + 2 * NEST_GATHER_ITEMS);

	fix_open(&f, c);
	p = f.page;
	if (f.top > 0) {
		uint64_t s = span(&f, 1), room = 128;

		while (room * s > (uint64_t)1 << (c->ia_bits - 1))
			room /= 2;
		ia = place(&f, PLACE_TOP, room * s);
		for (unsigned i = 0; i < n && 2 * i < room; i++)
			CHECK_OK(nest_pt_map(&f.pt, ia + 2 * i * s, i * p, p, f.attr, 0, NULL));
		listen(&f, &g, &l);
		for (unsigned i = 0; i < n && 2 * i < room; i++)
			CHECK_OK(nest_pt_unmap(&f.pt, ia + 2 * i * s, p, 0, &g));
		nest_gather_sync(&g);
		CHECK_EQ(l.leaves, n < room / 2 ? n : room / 2);
		CHECK_EQ(f.a.outstanding, f.tables0);
	}
	fix_close(&f);
}

static void a_full_gather_is_synced_early(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, overflow);
}

static const char *const idle[] = { "skip",
				    "sparse unmap of holes",
				    "protect by nothing",
				    "protect to the same",
				    "replace by the same",
				    "split",
				    "merge" };

static int change_nothing(struct fix *f, unsigned op, uint64_t ia)
{
	struct nest_pt *pt = &f->pt;
	uint64_t two = 2 * f->page;

	switch (op) {
	case 0:
		return nest_pt_map(pt, ia, 0x8000000, two, f->attr, NEST_MAP_SKIP_MAPPED, NULL);
	case 1:
		return nest_pt_unmap(pt, ia + two, two, NEST_SKIP_HOLES, NULL);
	case 2:
		return nest_pt_protect(pt, ia, two, 0, 0, 0, NULL);
	case 3:
		return nest_pt_protect(pt, ia, two, f->w, 0, 0, NULL);
	case 4:
		return nest_pt_map(pt, ia, 0, two, f->attr, NEST_MAP_REPLACE, NULL);
	case 5:
		return nest_pt_split(pt, ia, two, 0, NULL);
	default:
		return nest_pt_merge(pt, ia, two, NULL);
	}
}

static void counts(const struct tcase *c)
{
	struct fix f;
	uint64_t ia, p;
	struct nest_gather g;

	fix_open(&f, c);
	p = f.page;
	ia = place(&f, PLACE_TOP, 8 * p);
	nest_pt_set_vmid(&f.pt, 0x5a);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0, 2 * p, f.attr, 0, NULL));
	CHECK_EQ(f.a.nr_flush > 0, c->info.fresh_needs_flush);
	CHECK_EQ(arena_flushed(&f.a, ia, ia + 2 * p - 1), c->info.fresh_needs_flush);
	arena_mark(&f.a);
	/* The second page of a table that is there: the same. */
	CHECK_OK(nest_pt_map(&f.pt, ia + 4 * p, 0, p, f.attr, 0, NULL));
	CHECK_EQ(arena_flushed(&f.a, ia + 4 * p, ia + 5 * p - 1), c->info.fresh_needs_flush);
	arena_mark(&f.a);
	f.a.nr_flush = 0;
	/* Nothing changed, nothing flushed. */
	for (unsigned op = 0; op < 7; op++) {
		CHECK_OK(change_nothing(&f, op, ia));
		check_eq_at(f.a.nr_flush, 0, idle[op], __FILE__, __LINE__);
	}
	CHECK_RC(nest_pt_unmap(&f.pt, ia, 8 * p, 0, NULL), NEST_E_NOTMAPPED);
	CHECK_RC(nest_pt_map(&f.pt, ia, 0, 8 * p, f.attr, 0, NULL), NEST_E_MAPPED);
	CHECK_EQ(f.a.nr_flush, 0);
	nest_gather_init(&g, &f.pt);
	nest_gather_sync(&g);
	CHECK_EQ(f.a.nr_flush, 0);
	/* A gather holds back what may wait. */
	CHECK_OK(nest_pt_protect(&f.pt, ia, p, 0, f.w, 0, &g));
	CHECK_EQ(f.a.nr_flush, 0);
	nest_gather_sync(&g);
	CHECK_EQ(f.a.nr_flush, 1);
	CHECK(arena_flushed(&f.a, ia, ia + p - 1));
	CHECK(!arena_flushed(&f.a, ia + p, ia + 2 * p - 1) || f.a.ev[0].flush.all);
	CHECK(f.a.ev[0].flush.leaf_only && (f.a.ev[0].flush.level_mask & 1));
	CHECK_EQ(f.a.ev[0].flush.vmid, 0x5a);
	arena_mark(&f.a);
	/* An unmap flushes its pages, and tells that pointers may be cached when tables go. */
	CHECK_OK(nest_pt_unmap(&f.pt, ia, p, 0, NULL));
	CHECK(arena_flushed(&f.a, ia, ia + p - 1));
	CHECK(!arena_flushed(&f.a, ia + p, ia + 2 * p - 1));
	CHECK(f.a.ev[0].flush.leaf_only);
	arena_mark(&f.a);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, 8 * p, NEST_SKIP_HOLES, NULL));
	CHECK(arena_flushed(&f.a, ia + p, ia + 2 * p - 1));
	CHECK(arena_flushed(&f.a, ia + 4 * p, ia + 5 * p - 1));
	CHECK(f.top == 0 || !f.a.ev[0].flush.leaf_only);
	fix_close(&f);
}

static void flushes_cover_what_changed_and_no_more(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, counts);
}

/* A page that stays mapped throughout, and how often the flush callback found it broken. */
static struct {
	struct fix *f;
	uint64_t ia;
	unsigned broken, flushes;
} spy;

static void look(struct arena *a, const struct nest_flush *what)
{
	struct raw_leaf l;

	(void)a;
	(void)what;
	spy.flushes++;
	spy.broken += !raw_translate(&spy.f->geo, spy.ia, &l);
}

static void watch_page(struct fix *f, uint64_t ia)
{
	spy.f = f;
	spy.ia = ia;
	spy.broken = spy.flushes = 0;
	f->a.on_flush = look;
	f->a.nr_ev = 0;
}

/* Does a change pass through an invalid entry exactly where the format demands it? */
static void breaks(const struct tcase *c)
{
	struct fix f;
	uint64_t s, ia, p;
	bool arm = !strncmp(c->name, "aarch64", 7), sizes, frames;
	bool grouped, grows;

	fix_open(&f, c);
	p = f.page;
	if (f.max_leaf == 0) {
		fix_close(&f);
		return;
	}
	s = span(&f, 1);
	/*
	 * Arm ARM D8.16.1. LoongArch, vol. 1, 5.4.4: the TLB must not hit twice, as it would when a
	 * block came in beside small pages that it still has.
	 */
	if (!(c->features & NEST_FEAT_BBM2))
		CHECK_EQ(c->info.break_before_make, arm);
	frames = arm;
	sizes = frames && !(c->features & NEST_FEAT_BBM2);
	grows = sizes || !strncmp(c->name, "loongarch", 9);
	ia = place(&f, PLACE_MID, 2 * s);
	CHECK_OK(nest_pt_map(&f.pt, ia, s, s, f.attr, 0, NULL));
	/* Block to table. */
	watch_page(&f, ia);
	CHECK_OK(nest_pt_protect(&f.pt, ia + p, p, 0, f.w, 0, NULL));
	CHECK_EQ(spy.broken > 0, sizes);
	CHECK(spy.flushes > 0);
	CHECK(arena_flushed(&f.a, ia, ia + s - 1) || !sizes);
	/* With another frame inside, size is not all that changes. */
	CHECK_OK(nest_pt_map(&f.pt, ia + s, s, s, f.attr, 0, NULL));
	watch_page(&f, ia + s);
	CHECK_OK(nest_pt_map(&f.pt, ia + s + p, 9 * s, p, f.attr, NEST_MAP_REPLACE, NULL));
	CHECK_EQ(spy.broken > 0, frames);
	CHECK_OK(nest_pt_unmap(&f.pt, ia + s, s, 0, NULL));
	/* Rights of a page: never. */
	watch_page(&f, ia);
	CHECK_OK(nest_pt_protect(&f.pt, ia, p, 0, f.w, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, ia, p, f.w, 0, 0, NULL));
	CHECK_EQ(spy.broken, 0);
	CHECK_OK(nest_pt_protect(&f.pt, ia + p, p, f.w, 0, 0, NULL));
	/* Another frame: always on such a format. */
	watch_page(&f, ia + 2 * p);
	CHECK_OK(nest_pt_split(&f.pt, ia, s, 0, NULL));
	watch_page(&f, ia + 2 * p);
	CHECK_OK(nest_pt_map(&f.pt, ia + 2 * p, 9 * s, p, f.attr, NEST_MAP_REPLACE, NULL));
	CHECK_EQ(spy.broken > 0, frames);
	CHECK_OK(nest_pt_map(&f.pt, ia + 2 * p, s + 2 * p, p, f.attr, NEST_MAP_REPLACE, NULL));
	/* Table to block. */
	watch_page(&f, ia);
	CHECK_OK(nest_pt_merge(&f.pt, ia, s, NULL));
	CHECK_EQ(spy.broken > 0, grows);
	CHECK(spy.flushes > 0);
	check_range(&f, ia, s, s, f.attr);
	/* The contiguous bit of a live run. */
	if (group(&f, 0)) {
		uint64_t g = group(&f, 0), at = ia + s;

		grouped = frames && !(c->features & NEST_FEAT_BBM2);
		f.a.on_flush = NULL;
		CHECK_OK(nest_pt_map(&f.pt, at, g, g, f.attr, 0, NULL));
		watch_page(&f, at);
		CHECK_OK(nest_pt_protect(&f.pt, at + p, p, 0, f.w, 0, NULL));
		CHECK_EQ(spy.broken > 0, grouped);
		CHECK_OK(nest_pt_protect(&f.pt, at + p, p, f.w, 0, 0, NULL));
		watch_page(&f, at);
		CHECK_OK(nest_pt_merge(&f.pt, at, g, NULL));
		CHECK_EQ(spy.broken > 0, grouped);
		check_range(&f, at, g, g, f.attr);
	}
	f.a.on_flush = NULL;
	check_consistent(&f);
	fix_close(&f);
}

static void break_before_make_where_the_format_demands_it(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, breaks);
}

/* What the page at spy.ia was when its block was first flushed. */
static struct raw_leaf when_flushed;
static unsigned block_flushes;

static void look_at_type(struct arena *a, const struct nest_flush *what)
{
	(void)a;
	if ((what->level_mask & 2) &&
	    (what->all || (what->ia <= spy.ia && spy.ia - what->ia < what->size)) &&
	    !block_flushes++)
		CHECK(raw_translate(&spy.f->geo, spy.ia, &when_flushed));
}

/*
 * With FEAT_BBM level 2 a block may be in the TLB beside the pages that it was split into; but not
 * beside a page of another type (Arm ARM D8.16.1).
 */
static void types(const struct tcase *c)
{
	struct fix f;
	struct nest_gather g;
	struct raw_leaf before;
	uint64_t s, ia, p;

	if (!(c->features & NEST_FEAT_BBM2))
		return;
	fix_open(&f, c);
	p = f.page;
	s = span(&f, 1);
	ia = place(&f, PLACE_MID, s);
	CHECK_OK(nest_pt_map(&f.pt, ia, s, s, f.attr, 0, NULL));
	watch_page(&f, ia);
	f.a.on_flush = look_at_type;
	block_flushes = 0;
	nest_gather_init(&g, &f.pt);
	CHECK_OK(nest_pt_protect(&f.pt, ia + p, p, 0, f.w, 0, &g));
	CHECK_EQ(block_flushes, 0);
	CHECK(raw_translate(&f.geo, ia, &before));
	CHECK_OK(nest_pt_protect(&f.pt, ia, p, NEST_MT_UC, NEST_MT_MASK, 0, &g));
	CHECK(block_flushes > 0);
	CHECK_EQ(when_flushed.level, 0);
	CHECK_EQ(when_flushed.entry, before.entry);
	nest_gather_sync(&g);
	f.a.on_flush = NULL;
	check_consistent(&f);
	fix_close(&f);
}

static void a_type_changes_after_its_block_is_flushed(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, types);
}

/* With a grace period nothing comes back before the host says so. */
static void deferred(const struct tcase *c)
{
	struct fix f;
	uint64_t ia, had;

	fix_open(&f, c);
	arena_use_defer(&f.a);
	ia = place(&f, PLACE_MID, 4 * f.page);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0, 4 * f.page, f.attr, 0, NULL));
	had = f.a.outstanding;
	arena_mark(&f.a);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, 4 * f.page, 0, NULL));
	if (f.top > 0) {
		CHECK_EQ(f.a.outstanding, had);
		CHECK_EQ(arena_count(&f.a, EV_FREE), 0);
		CHECK(f.a.nr_deferred > 0);
	}
	check_none(&f, ia);
	/* Waiting tables are out of the way of new ones. */
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, f.page, f.attr, 0, NULL));
	arena_run_deferred(&f.a);
	check_maps(&f, ia, 0x8000000, f.attr);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, f.page, 0, NULL));
	arena_run_deferred(&f.a);
	CHECK_EQ(f.a.outstanding, f.tables0);
	fix_close(&f);
}

static void tables_wait_for_the_grace_period(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, deferred);
}

/* Tables that are freed come back in the order: entry cleared, flush, free, then the leaves. */
static void order(const struct tcase *c)
{
	struct fix f;
	struct nest_gather g;
	uint64_t ia;
	unsigned flush = ~0u;

	fix_open(&f, c);
	ia = place(&f, PLACE_TOP, 4 * f.page);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0, 4 * f.page, f.attr, 0, NULL));
	arena_mark(&f.a);
	nest_gather_init(&g, &f.pt);
	nest_gather_on_release(&g, arena_release, &f.a);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, 4 * f.page, 0, &g));
	CHECK_EQ(arena_count(&f.a, EV_FREE), 0);
	CHECK_EQ(arena_count(&f.a, EV_RELEASE), 0);
	nest_gather_sync(&g);
	CHECK_EQ(arena_count(&f.a, EV_FREE), f.top);
	CHECK(arena_count(&f.a, EV_RELEASE) > 0);
	for (unsigned i = 0; i < f.a.nr_ev; i++) {
		if (f.a.ev[i].kind == EV_FLUSH && flush == ~0u)
			flush = i;
		if (f.a.ev[i].kind == EV_FREE || f.a.ev[i].kind == EV_RELEASE)
			CHECK(i > flush);
	}
	fix_close(&f);
}

static void flush_comes_before_reuse(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, order);
}

/*
 * A block over a hole of a directory that is there. Where the hole was a table of nothing, TLBs
 * hold it as pages of the smallest size, and a flush that goes by the block's own size leaves most
 * of it.
 */
static void block_over_hole(const struct tcase *c)
{
	bool small = strncmp(c->info.name, "loongarch", 9) == 0;
	uint64_t block, ia;
	struct fix f;

	if (!(c->info.leaf_levels & 2))
		return;
	fix_open(&f, c);
	block = (uint64_t)1 << nest_pt_shift(&f.pt, 1);
	if (nest_pt_levels(&f.pt) > 1 && block << 2 <= (uint64_t)1 << (c->ia_bits - 1)) {
		ia = place(&f, PLACE_LOW, 0) + 4 * block;
		CHECK_OK(nest_pt_map(&f.pt, ia + 2 * block, 0, f.page, f.attr, 0, NULL));
		arena_mark(&f.a);
		CHECK_OK(nest_pt_map(&f.pt, ia, 0, block, f.attr, 0, NULL));
		CHECK_EQ(arena_flushed_at(&f.a, ia, ia + block - 1, small ? 0 : 1),
			 c->info.fresh_needs_flush);
	}
	fix_close(&f);
}

static void a_hole_is_flushed_as_it_was_cached(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, block_over_hole);
}

/* Two pages on either side of a boundary; three of the four go, and the first or the last stays. */
static void neighbours(const struct tcase *c)
{
	const nest_pa_t pa = 0x8000000;
	uint64_t base[2], size;
	struct fix f;

	fix_open(&f, c);
	halves(&f, base, &size);
	for (unsigned level = 1; level <= f.top && span(&f, level) < size; level++) {
		uint64_t p = f.page, ia = base[0] + span(&f, level) - 2 * p;

		for (unsigned stays = 0; stays < 4; stays += 3) {
			CHECK_OK(nest_pt_map(&f.pt, ia, pa, 4 * p, f.attr, 0, NULL));
			CHECK_OK(nest_pt_unmap(&f.pt, stays ? ia : ia + p, 3 * p, 0, NULL));
			for (unsigned i = 0; i < 4; i++) {
				if (i == stays)
					check_maps(&f, ia + i * p, pa + i * p, f.attr);
				else
					check_none(&f, ia + i * p);
			}
			CHECK_OK(nest_pt_unmap(&f.pt, ia + stays * p, p, 0, NULL));
			CHECK_EQ(f.a.outstanding, f.tables0);
		}
	}
	fix_close(&f);
}

static void a_table_stays_while_it_holds_a_page(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, neighbours);
}

/* ---- What a flush says of the change ---- */

/* All flushes since the last mark name the table, and say that. */
static void flushes_say(struct fix *f, bool writes_only)
{
	CHECK(f->a.nr_ev > 0);
	for (unsigned i = 0; i < f->a.nr_ev; i++) {
		if (f->a.ev[i].kind != EV_FLUSH)
			continue;
		CHECK(f->a.ev[i].flush.pt == &f->pt);
		CHECK_EQ(f->a.ev[i].flush.writes_only, writes_only);
	}
	arena_mark(&f->a);
}

static void writes_alone(const struct tcase *c)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct tcase with = *c;
		struct nest_gather g;
		struct fix f;
		uint64_t ia, p;

		with.plain = kind & 1;
		if (kind & 2) {
			with.flags |= NEST_PT_SHARED;
			with.features &= ~(uint32_t)NEST_FEAT_CONTIG;
		}
		fix_open(&f, &with);
		p = f.page;
		ia = place(&f, PLACE_MID, 8 * p);
		CHECK_OK(nest_pt_map(&f.pt, ia, 0, 8 * p, f.attr, NEST_MAP_NO_HUGE, NULL));
		nest_pt_set_vmid(&f.pt, 9);
		CHECK_EQ(nest_pt_vmid(&f.pt), 9);
		arena_mark(&f.a);
		CHECK_OK(nest_pt_protect(&f.pt, ia, 2 * p, 0, f.w, 0, NULL));
		flushes_say(&f, true);
		CHECK_OK(nest_pt_protect(&f.pt, ia + 2 * p, p, 0, f.w, 0, NULL));
		flushes_say(&f, true);
		CHECK_OK(nest_pt_protect(&f.pt, ia + 3 * p, p, 0, NEST_X, 0, NULL));
		flushes_say(&f, false);
		CHECK_OK(nest_pt_protect(&f.pt, ia, 2 * p, f.w, 0, 0, NULL));
		flushes_say(&f, false);
		CHECK_OK(nest_pt_unmap(&f.pt, ia + 7 * p, p, 0, NULL));
		flushes_say(&f, false);
		/* What one call says, another one may not have meant. */
		nest_gather_init(&g, &f.pt);
		CHECK_OK(nest_pt_protect(&f.pt, ia + 4 * p, p, 0, f.w, 0, &g));
		nest_gather_sync(&g);
		flushes_say(&f, true);
		if (!(kind & 2)) {
			CHECK_OK(nest_pt_protect(&f.pt, ia + 5 * p, p, 0, f.w, 0, &g));
			CHECK_OK(nest_pt_unmap(&f.pt, ia + 6 * p, p, 0, &g));
			nest_gather_sync(&g);
			flushes_say(&f, false);
		}
		CHECK_OK(nest_pt_unmap(&f.pt, ia, 8 * p, NEST_SKIP_HOLES, NULL));
		arena_run_deferred(&f.a);
		fix_close(&f);
	}
}

static void a_flush_tells_when_only_writes_were_taken(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, writes_alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_removed_leaf_is_told_once),
		cmocka_unit_test(restructuring_gives_up_no_frame),
		cmocka_unit_test(a_full_gather_is_synced_early),
		cmocka_unit_test(flushes_cover_what_changed_and_no_more),
		cmocka_unit_test(break_before_make_where_the_format_demands_it),
		cmocka_unit_test(a_type_changes_after_its_block_is_flushed),
		cmocka_unit_test(tables_wait_for_the_grace_period),
		cmocka_unit_test(flush_comes_before_reuse),
		cmocka_unit_test(a_table_stays_while_it_holds_a_page),
		cmocka_unit_test(a_hole_is_flushed_as_it_was_cached),
		cmocka_unit_test(a_flush_tells_when_only_writes_were_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
