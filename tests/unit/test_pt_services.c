/* SPDX-License-Identifier: MIT */
/*
 * What surrounds the changes: walks, sharing, statistics, dumps, bounds on tables, reserves and the
 * embedder's policy; for every format.
 */
#include "support.h"

static void put_some(struct fix *f, uint64_t ia)
{
	uint64_t p = f->page;

	CHECK_OK(nest_pt_map(&f->pt, ia, 0x10000000, 3 * p, f->attr, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_mark(&f->pt, ia + 4 * p, 2 * p, 0xabc, NULL));
	CHECK_OK(nest_pt_map(&f->pt, ia + 7 * p, 0x20000000, p, f->attr & ~f->w, 0, NULL));
	if (f->max_leaf > 0)
		CHECK_OK(nest_pt_map(&f->pt, ia + span(f, 1), span(f, 1), span(f, 1), f->attr,
				     NEST_MAP_MAX_LEVEL(1), NULL));
}

struct visit {
	struct nest_mapping m[64];
	unsigned n, stop;
};

static int visitor(void *ctx, const struct nest_mapping *m)
{
	struct visit *v = ctx;

	CHECK(v->n < 64);
	v->m[v->n++] = *m;
	return v->n == v->stop ? 42 : 0;
}

static void walks(const struct tcase *c)
{
	struct fix f;
	struct visit v = { 0 };
	uint64_t ia, p, s1;
	unsigned leaves, tables = 0;

	fix_open(&f, c);
	p = f.page;
	s1 = span(&f, 1);
	leaves = f.max_leaf > 0 ? 5 : 4;
	ia = place(&f, PLACE_MID, f.max_leaf > 0 ? 2 * s1 : 8 * p);
	put_some(&f, ia);
	CHECK_OK(nest_pt_walk(&f.pt, ia, f.max_leaf > 0 ? 2 * s1 : 8 * p, 0, visitor, &v));
	CHECK_EQ(v.n, leaves);
	for (unsigned i = 0; i < v.n; i++) {
		CHECK_EQ(v.m[i].kind, NEST_PTE_LEAF);
		CHECK(i == 0 || v.m[i].ia > v.m[i - 1].ia);
	}
	CHECK_EQ(v.m[3].ia, ia + 7 * p);
	CHECK_EQ(v.m[3].pa, 0x20000000);
	/* Only what overlaps the range, but whole. */
	v.n = 0;
	CHECK_OK(nest_pt_walk(&f.pt, ia + p, p, 0, visitor, &v));
	CHECK_EQ(v.n, 1);
	CHECK_EQ(v.m[0].ia, ia + p);
	if (f.max_leaf > 0) {
		v.n = 0;
		CHECK_OK(nest_pt_walk(&f.pt, ia + s1 + 5 * p, p, 0, visitor, &v));
		CHECK_EQ(v.n, 1);
		CHECK_EQ(v.m[0].ia, ia + s1);
		CHECK_EQ(v.m[0].size, s1);
		CHECK_EQ(v.m[0].level, 1);
	}
	/* The visitor may stop it. */
	v.n = 0, v.stop = 2;
	CHECK_RC(nest_pt_walk(&f.pt, ia, 8 * p, 0, visitor, &v), 42);
	CHECK_EQ(v.n, 2);
	/* Marks on request. */
	v.n = 0, v.stop = 0;
	CHECK_OK(nest_pt_walk(&f.pt, ia, 8 * p, NEST_WALK_MARKS, visitor, &v));
	CHECK_EQ(v.n, 6);
	CHECK_EQ(v.m[3].kind, NEST_PTE_MARK);
	CHECK_EQ(v.m[4].kind, NEST_PTE_MARK);
	CHECK_EQ(v.m[4].ia, ia + 5 * p);
	CHECK_EQ(v.m[4].mark, 0xabc);
	/* Tables on request, each before what it holds. */
	v.n = 0;
	CHECK_OK(nest_pt_walk(&f.pt, ia, 8 * p, NEST_WALK_TABLES, visitor, &v));
	for (unsigned i = 0; i < v.n; i++) {
		if (v.m[i].kind != NEST_PTE_TABLE)
			continue;
		CHECK_EQ(i, tables);
		CHECK(arena_owns(&f.a, v.m[i].pa));
		CHECK(i == 0 || v.m[i].level < v.m[i - 1].level);
		tables++;
	}
	CHECK(tables == f.top || tables == f.top + 1);
	CHECK_EQ(v.n, tables + 4);
	fix_close(&f);
}

static void walk_tells_leaves_in_order(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, walks);
}

static void stats(const struct tcase *c)
{
	struct fix f;
	struct nest_pt_stats st;
	uint64_t root, spare;

	fix_open(&f, c);
	root = nest_pt_root_size(&f.pt);
	spare = f.tables0 - 1; /* LoongArch's all-invalid tables are no part of the tree */
	CHECK_OK(nest_pt_stats(&f.pt, &st));
	CHECK_EQ(st.tables, 1);
	CHECK_EQ(st.table_bytes, root);
	CHECK_EQ(st.mapped, 0);
	put_some(&f, place(&f, PLACE_LOW, 8 * f.page));
	CHECK_OK(nest_pt_stats(&f.pt, &st));
	CHECK_EQ(st.tables, f.a.outstanding - spare);
	CHECK_EQ(st.table_bytes, root + (st.tables - 1) * f.page);
	CHECK_EQ(st.leaves[0], 4);
	CHECK_EQ(st.contiguous[0], 0);
	CHECK_EQ(st.marks, 2);
	CHECK_EQ(st.mapped, 4 * f.page + (f.max_leaf > 0 ? span(&f, 1) : 0));
	if (f.max_leaf > 0)
		CHECK_EQ(st.leaves[1], 1);
	if (group(&f, 0)) {
		uint64_t g = group(&f, 0);

		CHECK_OK(nest_pt_map(&f.pt, place(&f, PLACE_TOP, g), g, g, f.attr, 0, NULL));
		CHECK_OK(nest_pt_stats(&f.pt, &st));
		CHECK_EQ(st.contiguous[0], g / f.page);
		CHECK_EQ(st.leaves[0], 4 + g / f.page);
	}
	fix_close(&f);
}

static void stats_count_what_is_there(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, stats);
}

/* The bound holds for the calls it speaks of, whatever is mapped there. */
static void bounds(const struct tcase *c)
{
	struct fix f;
	uint64_t seed = 0x1234, p, window;

	fix_open(&f, c);
	p = f.page;
	window = f.max_leaf > 0 ? 4 * span(&f, 1) : 256 * p;
	for (unsigned i = 0; i < 60; i++) {
		uint64_t base = place(&f, (enum place)(i % NR_PLACES), window);
		uint64_t pages = window / p, from = rnd(&seed) % pages;
		uint64_t size = (1 + rnd(&seed) % (pages - from)) * p, ia = base + from * p;
		uint32_t flags = i % 3 ? 0 : NEST_MAP_NO_HUGE;
		uint64_t bound = 0, cuts = 0, used;
		nest_pa_t pa = i % 2 ? ia % window + 16 * window : 16 * window + p;

		CHECK_OK(nest_pt_tables_for(&f.pt, ia, size, flags, &bound));
		CHECK_OK(nest_pt_tables_for(&f.pt, ia, size, NEST_SKIP_HOLES, &cuts));
		CHECK(bound > 0 || f.top == 0);
		CHECK(cuts <= bound && cuts <= 2u * f.top);
		for (unsigned op = 0; op < 4; op++) {
			f.a.nr_ev = 0;
			used = f.a.outstanding;
			if (op == 0)
				CHECK_OK(nest_pt_map(&f.pt, ia, pa, size, f.attr,
						     flags | NEST_MAP_REPLACE, NULL));
			else if (op == 1)
				CHECK_OK(nest_pt_protect(&f.pt, ia, size, 0, f.w, NEST_SKIP_HOLES,
							 NULL));
			else if (op == 2)
				CHECK_OK(nest_pt_unmap(&f.pt, ia, size, NEST_SKIP_HOLES, NULL));
			else
				CHECK_OK(nest_pt_mark(&f.pt, ia, size, 1, NULL));
			CHECK(f.a.outstanding <= used + (op == 1 || op == 2 ? cuts : bound));
			arena_mark(&f.a);
			if (op == 1 && i % 2)
				break;
		}
		if (i % 10 == 9)
			CHECK_OK(nest_pt_unmap(&f.pt, base, window, NEST_SKIP_HOLES, NULL));
	}
	fix_close(&f);
}

static void tables_for_is_an_upper_bound(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, bounds);
}

/* The worst case for each kind of flags, counted by hand. */
static void tables_for_takes_the_flags_of_each_call(void **state)
{
	enum { SPARSE = NEST_SKIP_HOLES, WHOLE = NEST_SKIP_HOLES | NEST_NO_SPLIT };
	const uint64_t g = 1ull << 30, end = g + 0x1000;
	static const struct {
		const struct nest_format *format;
		unsigned ia_bits;
		uint32_t flags;
		uint64_t want;
	} rows[] = {
		/*
		 * [4 KiB, 1 GiB + 4 KiB): a table below one entry of 512 GiB, two of 1 GiB, 513 of
		 * 2 MiB.
		 */
		{ &nest_fmt_npt, 48, 0, 516 },
		{ &nest_fmt_npt, 48, NEST_MAP_NO_HUGE, 516 },
		{ &nest_fmt_npt, 48, NEST_MAP_MAX_LEVEL(2) | NEST_MAP_REPLACE, 516 },
		{ &nest_fmt_npt, 48, NEST_MAP_SKIP_MAPPED | NEST_NO_SPLIT, 516 },
		{ &nest_fmt_npt, 48, NEST_NO_SPLIT, 516 },
		/* At each end an entry of each size is cut; that of 512 GiB is one for both. */
		{ &nest_fmt_npt, 48, SPARSE, 5 },
		/* Pages stay whole, marks do not. */
		{ &nest_fmt_npt, 48, WHOLE, 5 },
		/* LoongArch: pages of at most 1 GiB, and marks in the smallest size alone. */
		{ &nest_fmt_loongarch_s2_4k, 48, 0, 516 },
		{ &nest_fmt_loongarch_s2_4k, 48, SPARSE, 4 },
		{ &nest_fmt_loongarch_s2_4k, 48, WHOLE, 0 },
	};
	static const uint32_t refused[] = {
		NEST_MAP_NO_HUGE | NEST_SKIP_HOLES,
		NEST_MAP_REPLACE | NEST_SKIP_HOLES,
		NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED,
		NEST_MAP_MAX_LEVEL(NEST_MAX_LEVELS),
		NEST_HARVEST_KEEP,
		(uint32_t)1 << 31,
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tcase c = tcase_of(rows[i].format, 0, rows[i].ia_bits, 0);
		uint64_t tables = 77;
		struct fix f;

		fix_open(&f, &c);
		snprintf(test_case, sizeof(test_case), "row %u", i);
		for (unsigned n = 0; n < sizeof(refused) / sizeof(*refused); n++)
			CHECK_RC(nest_pt_tables_for(&f.pt, 0x1000, g, refused[n], &tables),
				 NEST_E_INVAL);
		CHECK_RC(nest_pt_tables_for(&f.pt, 0x1000, 0, rows[i].flags, &tables),
			 NEST_E_RANGE);
		CHECK_RC(nest_pt_tables_for(&f.pt, 0x800, g, rows[i].flags, &tables), NEST_E_ALIGN);
		CHECK_EQ(tables, 77);
		CHECK_OK(nest_pt_tables_for(&f.pt, 0x1000, end - 0x1000, rows[i].flags, &tables));
		CHECK_EQ(tables, rows[i].want);
		/* A whole entry of the root needs nothing to be cut. */
		CHECK_OK(nest_pt_tables_for(&f.pt, 0, 1ull << 39, SPARSE, &tables));
		CHECK_EQ(tables, 0);
		fix_close(&f);
	}
}

/* A reserve of that many tables is enough without the host's allocator. */
static void reserves(const struct tcase *c)
{
	struct fix f;
	struct nest_reserve r;
	struct snap empty;
	uint64_t p, ia, size, need, had;

	fix_open(&f, c);
	p = f.page;
	empty = snap_take(&f);
	ia = place(&f, PLACE_MID, 64 * p) + p;
	size = 33 * p;
	CHECK_OK(nest_pt_tables_for(&f.pt, ia, size, 0, &need));
	nest_reserve_init(&r);
	if (need) {
		/* One too few: that one comes from the host. */
		CHECK_OK(nest_reserve_fill(&r, &f.pt, need - 1));
		nest_pt_use_reserve(&f.pt, &r);
		arena_fail(&f.a, 2, true);
		CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, size, f.attr, 0, NULL));
		CHECK_OK(nest_pt_unmap(&f.pt, ia, size, 0, NULL));
		arena_fail(&f.a, 0, false);
		CHECK_EQ(r.count, 0);
		nest_pt_use_reserve(&f.pt, NULL);
	}
	CHECK_OK(nest_reserve_fill(&r, &f.pt, need));
	CHECK_OK(nest_reserve_fill(&r, &f.pt, need));
	CHECK_EQ(f.a.outstanding, f.tables0 + need);
	nest_pt_use_reserve(&f.pt, &r);
	arena_fail(&f.a, 1, true);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x8000000, size, f.attr, 0, NULL));
	check_range(&f, ia, 0x8000000, size, f.attr);
	had = f.a.outstanding;
	CHECK_EQ(had, f.tables0 + need);
	if (f.top > 0) {
		/* Another map, far away, finds the reserve empty and the host without memory. */
		struct snap before;

		nest_reserve_drain(&r, &f.pt);
		before = snap_take(&f);
		CHECK_RC(nest_pt_map(&f.pt, place(&f, PLACE_LOW, p), 0, p, f.attr, 0, NULL),
			 NEST_E_NOMEM);
		check_unchanged(&f, &before);
		snap_free(&before);
	}
	nest_pt_use_reserve(&f.pt, NULL);
	arena_fail(&f.a, 3, true);
	CHECK_RC(nest_reserve_fill(&r, &f.pt, 5), NEST_E_NOMEM);
	had = f.a.outstanding;
	arena_fail(&f.a, 0, false);
	nest_reserve_drain(&r, &f.pt);
	CHECK_EQ(f.a.outstanding, had - 2);
	nest_reserve_drain(&r, &f.pt);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, size, 0, NULL));
	check_unchanged(&f, &empty);
	snap_free(&empty);
	fix_close(&f);
}

/* Whether the table uses it or not, nothing is lost with the table. */
static void a_reserve_outlives_its_table(void **state)
{
	(void)state;
	for (unsigned used = 0; used < 2; used++) {
		const struct tcase c = tcase_of(&nest_fmt_ept, 0, 0, 0);
		static struct fix f;
		struct nest_reserve r;
		struct nest_host host;
		struct nest_pt other;
		struct nest_pt_config cfg = { .format = &nest_fmt_ept, .host = &host };
		uint64_t had;

		fix_open(&f, &c);
		had = f.a.outstanding;
		host = f.a.host;
		cfg.ctx = &f.a;
		nest_reserve_init(&r);
		CHECK_OK(nest_reserve_fill(&r, &f.pt, 5));
		if (used)
			nest_pt_use_reserve(&f.pt, &r);
		/* It serves one host. */
		CHECK_OK(nest_pt_init(&other, &cfg));
		CHECK_RC(nest_reserve_fill(&r, &other, 6), NEST_E_INVAL);
		nest_pt_destroy(&other);
		CHECK_EQ(f.a.outstanding, had + 5);
		f.a.watch = NULL; /* no flush comes at the end */
		nest_pt_destroy(&f.pt);
		CHECK_EQ(f.a.outstanding, 5);
		nest_reserve_drain(&r, used ? &f.pt : NULL);
		CHECK_EQ(f.a.outstanding, 0);
		nest_reserve_drain(&r, NULL);
		CHECK_OK(nest_pt_init(&f.pt, &(struct nest_pt_config){ .format = &nest_fmt_ept,
								       .host = &f.a.host,
								       .ctx = &f.a }));
		CHECK_OK(nest_reserve_fill(&r, &f.pt, 1));
		nest_reserve_drain(&r, &f.pt);
		fix_close(&f);
	}
}

static void a_reserve_stands_in_for_the_allocator(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, reserves);
}

static bool no_low_frames(nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	(void)size;
	(void)attr;
	return pa >= 0x100000;
}

/* A table of the engine's own must not be mapped, says this policy. */
static struct fix *owner;

static bool not_the_tables(nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	(void)attr;
	return pa + size <= ARENA_BASE || pa >= ARENA_BASE + owner->a.size;
}

static void policy(const struct tcase *c)
{
	struct fix f;
	struct snap before;
	uint64_t ia;
	nest_pa_t root;

	fix_open(&f, c);
	owner = &f;
	ia = place(&f, PLACE_MID, 4 * f.page);
	root = nest_pt_root(&f.pt);
	before = snap_take(&f);
	f.a.policy = no_low_frames;
	CHECK_RC(nest_pt_map(&f.pt, ia, 0, f.page, f.attr, 0, NULL), NEST_E_DENIED);
	CHECK_EQ(f.a.policy_calls, 1);
	f.a.policy = not_the_tables;
	CHECK_RC(nest_pt_map(&f.pt, ia, root, f.page, f.attr, 0, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_map(&f.pt, ia, ARENA_BASE - f.page, 2 * f.page, f.attr, 0, NULL),
		 NEST_E_DENIED);
	check_unchanged(&f, &before);
	CHECK_EQ(f.a.nr_flush, 0);
	CHECK_EQ(arena_count(&f.a, EV_ALLOC), 0);
	CHECK_OK(nest_pt_map(&f.pt, ia, ARENA_BASE - f.page, f.page, f.attr, 0, NULL));
	snap_free(&before);
	fix_close(&f);
}

static void the_host_may_refuse_frames(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, policy);
}

struct text {
	char s[8192];
	size_t n;
};

static void put_text(void *ctx, char ch)
{
	struct text *t = ctx;

	CHECK(t->n + 1 < sizeof(t->s));
	t->s[t->n++] = ch;
	t->s[t->n] = 0;
}

static void dumps(const struct tcase *c)
{
	struct fix f;
	struct text empty = { .n = 0 }, some = { .n = 0 }, again = { .n = 0 };
	unsigned lines = 0;

	fix_open(&f, c);
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &empty));
	CHECK(strstr(empty.s, c->name) != NULL);
	put_some(&f, place(&f, PLACE_MID, 8 * f.page));
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &some));
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &again));
	CHECK(!strcmp(some.s, again.s));
	CHECK(some.n > empty.n && some.s[some.n - 1] == '\n');
	for (const char *s = some.s; *s; s++)
		lines += *s == '\n';
	/* A line a run: 512 more equal pages add a line at most, not 512. */
	CHECK_OK(nest_pt_unmap(&f.pt, place(&f, PLACE_MID, 8 * f.page), 8 * f.page, NEST_SKIP_HOLES,
			       NULL));
	CHECK_OK(nest_pt_map(&f.pt, place(&f, PLACE_MID, 8 * f.page), 0x10000000, 300 * f.page,
			     f.attr, NEST_MAP_NO_HUGE, NULL));
	again.n = 0;
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &again));
	for (const char *s = again.s; *s; s++)
		lines -= *s == '\n';
	CHECK((int)lines >= 0);
	fix_close(&f);
}

static void dump_collapses_runs(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, dumps);
}

/*
 * The whole text, of one table of each kind of address:
 *
 *	root - pointers - table of pages      page 0 .. 3, hole, marks 6 and 7
 *	               `- block               2 MiB
 */
static void dump_draws_pages_blocks_and_marks(void **state)
{
	static const char want[] =
		"npt: 48-bit input, 4 levels, root 0000040000000, 4 tables\n"
		"  0000000000000-0000000003fff -> 0000010000000 rwxad wb  4 x 4K\n"
		"  0000000006000-0000000007fff mark 99  2 x 4K\n"
		"  0000000008000-0000000008fff -> 0000010004000 r--ad wb  1 x 4K\n"
		"  0000000200000-00000003fffff -> 0000000600000 r-xad uc  1 x 2M\n";
	struct tcase c = tcase_of(&nest_fmt_npt, 0, 48, 0);
	struct text t = { .n = 0 };
	struct fix f;
	nest_attr_t ad = NEST_ACCESSED | NEST_DIRTY;

	(void)state;
	fix_open(&f, &c);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x10000000, 0x4000, NEST_RWX | ad, 0, NULL));
	CHECK_OK(nest_pt_mark(&f.pt, 0x6000, 0x2000, 99, NULL));
	CHECK_OK(nest_pt_map(&f.pt, 0x8000, 0x10004000, 0x1000, NEST_R | ad, 0, NULL));
	CHECK_OK(nest_pt_map(&f.pt, 0x200000, 0x600000, 0x200000, NEST_RX | NEST_MT_UC | ad, 0,
			     NULL));
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &t));
	assert_string_equal(t.s, want);
	fix_close(&f);
}

/* Groups of 16 pages are lines of their own, and negative addresses have all their digits. */
static void dump_draws_groups_and_negative_addresses(void **state)
{
	static const char groups[] =
		"aarch64-s2-4k: 40-bit input, 3 levels, root 000040000000, 3 tables\n"
		"  00000000f000-00000000ffff -> 00000008f000 rwx wb  1 x 4K\n"
		"  000000010000-00000002ffff -> 000000090000 rwx wb  2 x 64K contiguous\n"
		"  000000030000-000000030fff -> 0000000b0000 rwx wb  1 x 4K\n";
	static const char negative[] =
		"riscv-sv: 39-bit input, 3 levels, root 0000000040000000, 5 tables\n"
		"  0000000000000000-0000000000000fff -> 0000000080000000 rw- wb  1 x 4K\n"
		"  ffffffffffffe000-ffffffffffffffff -> 0000000080002000 r-- wb  2 x 4K\n";
	struct tcase c = tcase_of(&nest_fmt_aarch64_s2_4k, NEST_FEAT_CONTIG, 40, 0);
	struct text t = { .n = 0 };
	struct fix f;

	(void)state;
	fix_open(&f, &c);
	CHECK_OK(nest_pt_map(&f.pt, 0xf000, 0x8f000, 0x22000, NEST_RWX, 0, NULL));
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &t));
	assert_string_equal(t.s, groups);
	fix_close(&f);
	c = tcase_of(&nest_fmt_riscv_sv, 0, 39, 0);
	t.n = 0;
	fix_open(&f, &c);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x80000000, 0x1000, NEST_RW, 0, NULL));
	CHECK_OK(nest_pt_map(&f.pt, 0 - (uint64_t)0x2000, 0x80002000, 0x2000, NEST_R, 0, NULL));
	CHECK_OK(nest_pt_dump(&f.pt, put_text, &t));
	assert_string_equal(t.s, negative);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk_tells_leaves_in_order),
		cmocka_unit_test(stats_count_what_is_there),
		cmocka_unit_test(tables_for_is_an_upper_bound),
		cmocka_unit_test(tables_for_takes_the_flags_of_each_call),
		cmocka_unit_test(a_reserve_outlives_its_table),
		cmocka_unit_test(a_reserve_stands_in_for_the_allocator),
		cmocka_unit_test(the_host_may_refuse_frames),
		cmocka_unit_test(dump_collapses_runs),
		cmocka_unit_test(dump_draws_pages_blocks_and_marks),
		cmocka_unit_test(dump_draws_groups_and_negative_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
