/* SPDX-License-Identifier: MIT */
/*
 * Making and destroying a table, its geometry, and the arguments that every call refuses. The
 * numbers of levels and root sizes are written from the manuals, not computed.
 */
#include "support.h"
#include "tests/steps.h"

static struct arena arena;

static struct nest_pt_config config(const struct nest_format *format)
{
	return (struct nest_pt_config){ .format = format, .host = &arena.host, .ctx = &arena };
}

/* field: what nest_pt_config_error() names; NULL: nothing is wrong with the configuration. */
static void expect_init(const struct nest_pt_config *cfg, int rc, const char *field)
{
	const char *told = nest_pt_config_error(cfg);
	struct nest_pt pt;

	CHECK((told == NULL) == (field == NULL));
	CHECK(!told || !strcmp(told, field));
	memset(&pt, 0x5a, sizeof(pt));
	CHECK_RC(nest_pt_init(&pt, cfg), rc);
	CHECK_EQ(arena.outstanding == 0, rc != NEST_OK);
	nest_pt_destroy(&pt);
	nest_pt_destroy(&pt);
	CHECK_EQ(arena.outstanding, 0);
}

static void init_refuses_a_bad_configuration(void **state)
{
	struct nest_pt_config ok, cfg;
	struct nest_host host;

	(void)state;
	strcpy(test_case, __func__);
	arena_open(&arena, 1u << 22);
	ok = config(&nest_fmt_ept);
	expect_init(&ok, NEST_OK, NULL);
	CHECK_RC(nest_pt_init(NULL, &ok), NEST_E_INVAL);
	expect_init(NULL, NEST_E_INVAL, "config");
	nest_pt_destroy(NULL);
	cfg = ok, cfg.format = NULL, expect_init(&cfg, NEST_E_INVAL, "format");
	cfg = ok, cfg.host = NULL, expect_init(&cfg, NEST_E_INVAL, "host");
	cfg = ok, cfg.host = &host;
	host = arena.host, host.alloc = NULL, expect_init(&cfg, NEST_E_INVAL, "host.alloc");
	host = arena.host, host.free = NULL, expect_init(&cfg, NEST_E_INVAL, "host.free");
	host = arena.host, host.tlb_flush = NULL, expect_init(&cfg, NEST_E_INVAL, "host.tlb_flush");
	host = arena.host, host.sync = NULL, host.allow = NULL, expect_init(&cfg, NEST_OK, NULL);
	cfg = ok, cfg.flags = 1u << 31, expect_init(&cfg, NEST_E_INVAL, "flags");
	cfg = ok, cfg.flags = 1u << 2, expect_init(&cfg, NEST_E_INVAL, "flags");
	cfg = ok, cfg.flags = NEST_PT_SHARED, expect_init(&cfg, NEST_E_INVAL, "host.defer");
	cfg = ok, cfg.flags = NEST_PT_UPPER, expect_init(&cfg, NEST_E_UNSUPPORTED, "flags");
	cfg = ok, cfg.features = NEST_FEAT_PBMT, expect_init(&cfg, NEST_E_UNSUPPORTED, "features");
	cfg = ok, cfg.features = 1u << 31, expect_init(&cfg, NEST_E_UNSUPPORTED, "features");
	cfg = ok, cfg.ia_bits = 57, expect_init(&cfg, NEST_E_UNSUPPORTED, "ia_bits");
	cfg = ok, cfg.ia_bits = 64, expect_init(&cfg, NEST_E_UNSUPPORTED, "ia_bits");
	cfg = ok, cfg.ia_bits = 0xffffffff, expect_init(&cfg, NEST_E_UNSUPPORTED, "ia_bits");
	cfg = ok, cfg.oa_bits = 53, expect_init(&cfg, NEST_E_RANGE, "oa_bits");
	cfg = ok, cfg.oa_bits = 0x100 + 48, expect_init(&cfg, NEST_E_RANGE, "oa_bits");
	arena.misalign = true;
	expect_init(&ok, NEST_E_ALIGN, NULL);
	arena.misalign = false;
	arena_close(&arena);
}

/* Each of the allocations that init makes fails once. */
static void init_that_fails_gives_everything_back(void **state)
{
	(void)state;
	for (unsigned i = 0; nest_formats[i]; i++) {
		struct nest_pt_config cfg = config(nest_formats[i]);
		struct nest_pt pt;
		uint64_t n = 0;
		int rc = NEST_E_NOMEM;

		snprintf(test_case, sizeof(test_case), "%s", nest_format_name(nest_formats[i]));
		arena_open(&arena, 1u << 22);
		while (rc != NEST_OK) {
			arena_fail(&arena, ++n, false);
			rc = nest_pt_init(&pt, &cfg);
			check_at(rc == NEST_OK || rc == NEST_E_NOMEM, "init", __FILE__, __LINE__);
			if (rc)
				CHECK_EQ(arena.outstanding, 0);
		}
		CHECK(n > 1);
		CHECK_EQ(arena.nr_flush, 0);
		nest_pt_destroy(&pt);
		CHECK_EQ(arena.nr_flush, 0);
		CHECK_EQ(arena.outstanding, 0);
		arena_close(&arena);
	}
}

struct geometry {
	const struct nest_format *format;
	uint32_t features;
	unsigned first, last; /* input address bits */
	unsigned levels;
	unsigned root_kib; /* for `first`; doubles with every bit above `grow` */
	unsigned grow;
};

/*
 * Arm ARM D8.2.5 to D8.2.7: an index takes 9, 11, 13 bits; a second stage concatenates up to 16
 * tables before it adds a level. Others: SDM 29.3.2, APM 5.3, RISC-V 18.5.1, LoongArch 5.4.5.
 */
static const struct geometry geometries[] = {
	{ &nest_fmt_aarch64_s2_4k, 0, 32, 34, 2, 16, 30 },
	{ &nest_fmt_aarch64_s2_4k, 0, 35, 39, 3, 4, 64 },
	{ &nest_fmt_aarch64_s2_4k, 0, 40, 43, 3, 8, 39 },
	{ &nest_fmt_aarch64_s2_4k, 0, 44, 48, 4, 4, 64 },
	{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_LPA2, 49, 52, 4, 8, 48 },
	{ &nest_fmt_aarch64_s2_16k, 0, 32, 36, 2, 16, 64 },
	{ &nest_fmt_aarch64_s2_16k, 0, 37, 40, 2, 32, 36 },
	{ &nest_fmt_aarch64_s2_16k, 0, 41, 47, 3, 16, 64 },
	{ &nest_fmt_aarch64_s2_16k, 0, 48, 48, 3, 32, 64 },
	{ &nest_fmt_aarch64_s2_16k, NEST_FEAT_LPA2, 49, 51, 3, 64, 48 },
	{ &nest_fmt_aarch64_s2_16k, NEST_FEAT_LPA2, 52, 52, 4, 16, 64 },
	{ &nest_fmt_aarch64_s2_64k, 0, 34, 42, 2, 64, 64 },
	{ &nest_fmt_aarch64_s2_64k, 0, 43, 46, 2, 128, 42 },
	{ &nest_fmt_aarch64_s2_64k, 0, 47, 48, 3, 64, 64 },
	{ &nest_fmt_aarch64_s2_64k, NEST_FEAT_LPA, 49, 52, 3, 64, 64 },
	{ &nest_fmt_aarch64_s1_4k, 0, 31, 39, 3, 4, 64 },
	{ &nest_fmt_aarch64_s1_4k, 0, 40, 48, 4, 4, 64 },
	{ &nest_fmt_aarch64_s1_4k, NEST_FEAT_LPA2, 49, 52, 5, 4, 64 },
	{ &nest_fmt_aarch64_s1_16k, 0, 37, 47, 3, 16, 64 },
	{ &nest_fmt_aarch64_s1_16k, 0, 48, 48, 4, 16, 64 },
	{ &nest_fmt_aarch64_s1_64k, 0, 30, 42, 2, 64, 64 },
	{ &nest_fmt_aarch64_s1_64k, 0, 43, 48, 3, 64, 64 },
	{ &nest_fmt_aarch64_s1_64k, NEST_FEAT_LPA, 49, 52, 3, 64, 64 },
	{ &nest_fmt_ept, 0, 48, 48, 4, 4, 64 },
	{ &nest_fmt_ept, NEST_FEAT_LA57, 57, 57, 5, 4, 64 },
	{ &nest_fmt_npt, 0, 48, 48, 4, 4, 64 },
	{ &nest_fmt_npt, NEST_FEAT_LA57, 57, 57, 5, 4, 64 },
	{ &nest_fmt_x86_64, 0, 48, 48, 4, 4, 64 },
	{ &nest_fmt_x86_64, NEST_FEAT_LA57, 57, 57, 5, 4, 64 },
	{ &nest_fmt_riscv_g, 0, 41, 41, 3, 16, 64 },
	{ &nest_fmt_riscv_g, 0, 50, 50, 4, 16, 64 },
	{ &nest_fmt_riscv_g, 0, 59, 59, 5, 16, 64 },
	{ &nest_fmt_riscv_sv, 0, 39, 39, 3, 4, 64 },
	{ &nest_fmt_riscv_sv, 0, 48, 48, 4, 4, 64 },
	{ &nest_fmt_riscv_sv, 0, 57, 57, 5, 4, 64 },
	{ &nest_fmt_loongarch_s2_4k, 0, 39, 39, 3, 4, 64 },
	{ &nest_fmt_loongarch_s2_4k, 0, 48, 48, 4, 4, 64 },
	{ &nest_fmt_loongarch_s2_16k, 0, 47, 47, 3, 16, 64 },
	{ &nest_fmt_loongarch_s1_4k, 0, 39, 39, 3, 4, 64 },
	{ &nest_fmt_loongarch_s1_4k, 0, 48, 48, 4, 4, 64 },
	{ &nest_fmt_loongarch_s1_16k, 0, 47, 47, 3, 16, 64 },
};

static void geometry_is_the_manuals(void **state)
{
	static const unsigned index_bits[] = { 9, 11, 13 };

	(void)state;
	for (unsigned i = 0; i < sizeof(geometries) / sizeof(*geometries); i++) {
		const struct geometry *g = &geometries[i];

		for (unsigned b = g->first; b <= g->last; b++) {
			struct tcase c = tcase_of(g->format, g->features, b, 0);
			struct nest_pt_config cfg = config(g->format);
			uint64_t kib = g->root_kib;
			struct nest_pt pt;

			snprintf(test_case, sizeof(test_case), "%s 0x%x ia %u", c.name, c.features,
				 b);
			if (g->grow < g->first)
				kib <<= b - g->first;
			cfg.features = g->features;
			cfg.ia_bits = b;
			arena_open(&arena, 1u << 23);
			CHECK_OK(nest_pt_init(&pt, &cfg));
			CHECK_EQ(nest_pt_levels(&pt), g->levels);
			CHECK_EQ(nest_pt_root_size(&pt), kib << 10);
			CHECK(nest_pt_root(&pt) >= ARENA_BASE);
			CHECK_EQ(nest_pt_root(&pt) % nest_pt_root_size(&pt), 0);
			CHECK_EQ(c.info.index_bits, index_bits[(c.info.page_shift - 12) / 2]);
			for (unsigned l = 0; l < g->levels; l++)
				CHECK_EQ(nest_pt_shift(&pt, l),
					 c.info.page_shift + l * c.info.index_bits);
			CHECK_EQ(nest_pt_shift(&pt, g->levels), 0);
			CHECK_EQ(nest_pt_shift(&pt, 0xffffffff), 0);
			nest_pt_destroy(&pt);
			CHECK_EQ(arena.outstanding, 0);
			arena_close(&arena);
		}
	}
}

/* The same bad range for every call that takes one; nothing may change. */
static void refuse_range(struct fix *f, uint64_t ia, uint64_t size, int rc)
{
	struct steps st;
	struct nest_pt *pt = &f->pt;
	nest_pa_t pa = 0;
	uint64_t done = 0;

	CHECK_RC(nest_pt_map(pt, ia, pa, size, f->attr, 0, NULL), rc);
	CHECK_RC(nest_pt_unmap(pt, ia, size, NEST_SKIP_HOLES, NULL), rc);
	CHECK_RC(nest_pt_protect(pt, ia, size, 0, f->w, NEST_SKIP_HOLES, NULL), rc);
	CHECK_RC(nest_pt_mark(pt, ia, size, 7, NULL), rc);
	CHECK_RC(nest_pt_split(pt, ia, size, 0, NULL), rc);
	CHECK_RC(nest_pt_merge(pt, ia, size, NULL), rc);
	CHECK_RC(steps_end(&st,
			   nest_pt_map(pt, ia, pa, size, f->attr, 0, steps_begin(&st, pt, NULL, 4)),
			   &done),
		 rc);
	CHECK_RC(steps_end(&st,
			   nest_pt_unmap(pt, ia, size, NEST_SKIP_HOLES,
					 steps_begin(&st, pt, NULL, 4)),
			   &done),
		 rc);
	CHECK_RC(steps_end(&st,
			   nest_pt_protect(pt, ia, size, 0, f->w, 0, steps_begin(&st, pt, NULL, 4)),
			   &done),
		 rc);
	CHECK_EQ(done, 0);
	CHECK_RC(nest_pt_tables_for(pt, ia, size, 0, &done), rc);
	CHECK_EQ(done, 0);
}

static int never(void *ctx, const struct nest_mapping *m)
{
	(void)ctx;
	(void)m;
	fail();
	return 1;
}

static void ranges(const struct tcase *c)
{
	struct fix f;
	struct snap before;
	uint64_t base[2], size, end, big = (uint64_t)1 << c->ia_bits;
	unsigned n;

	fix_open(&f, c);
	n = halves(&f, base, &size);
	end = base[n - 1] + size;
	CHECK_OK(nest_pt_map(&f.pt, place(&f, PLACE_TOP, f.page), 0, f.page, f.attr, 0, NULL));
	before = snap_take(&f);
	CHECK_EQ(before.n, 1);
	CHECK_EQ(before.m[0].ia, (uint64_t)(end - f.page));
	check_maps(&f, end - 1, f.page - 1, f.attr);
	refuse_range(&f, base[0], 0, NEST_E_RANGE);
	refuse_range(&f, base[0] + f.page - 1, f.page, NEST_E_ALIGN);
	refuse_range(&f, base[0] + f.page / 2, f.page, NEST_E_ALIGN);
	refuse_range(&f, base[0], f.page / 2, NEST_E_ALIGN);
	refuse_range(&f, base[0], f.page + 1, NEST_E_ALIGN);
	refuse_range(&f, end - f.page, 2 * f.page, NEST_E_RANGE);
	refuse_range(&f, base[0] + f.page, ~(f.page - 1), NEST_E_RANGE);
	if (!(c->flags & NEST_PT_UPPER)) {
		CHECK_RC(nest_pt_query(&f.pt, base[0] + size, &(struct nest_mapping){ 0 }),
			 NEST_E_RANGE);
		refuse_range(&f, base[0] + size, f.page, NEST_E_RANGE);
		refuse_range(&f, base[0] + size - f.page, 2 * f.page, NEST_E_RANGE);
	}
	if (n == 2) {
		refuse_range(&f, base[1] - f.page, f.page, NEST_E_RANGE);
		refuse_range(&f, base[1] - f.page, 2 * f.page, NEST_E_RANGE);
		refuse_range(&f, 0, big, NEST_E_RANGE);
	} else if (c->flags & NEST_PT_UPPER) {
		refuse_range(&f, 0, f.page, NEST_E_RANGE);
		refuse_range(&f, base[0] - f.page, f.page, NEST_E_RANGE);
		refuse_range(&f, base[0] - f.page, 2 * f.page, NEST_E_RANGE);
	} else {
		refuse_range(&f, ~(uint64_t)0 << c->info.page_shift, f.page, NEST_E_RANGE);
		refuse_range(&f, big * 2, f.page, NEST_E_RANGE);
	}
	/* A walk takes any whole range; the same refusals hold for it. */
	CHECK_RC(nest_pt_walk(&f.pt, base[0], 0, 0, never, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_walk(&f.pt, end - f.page, 2 * f.page, 0, never, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_walk(&f.pt, base[0], f.page, 0, NULL, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_walk(&f.pt, base[0], f.page, 1u << 30, never, NULL), NEST_E_INVAL);
	check_unchanged(&f, &before);
	CHECK_OK(nest_pt_unmap(&f.pt, end - f.page, f.page, 0, NULL));
	check_none(&f, end - f.page);
	CHECK_EQ(f.a.outstanding, f.tables0);
	snap_free(&before);
	fix_close(&f);
}

static void every_call_refuses_bad_ranges(void **state)
{
	(void)state;
	sweep(SWEEP_ALL_WIDTHS, ranges);
}

static void outputs(const struct tcase *c)
{
	struct nest_pt_config cfg = {
		.format = c->format, .features = c->features, .ia_bits = c->ia_bits, .oa_bits = 36
	};
	struct fix f;
	struct nest_pt small;
	uint64_t ia, oa = (uint64_t)1 << c->info.oa_default, page;
	const uint64_t size36 = (uint64_t)1 << 36;

	fix_open(&f, c);
	page = f.page;
	ia = place(&f, PLACE_MID, page);
	CHECK(c->info.oa_default <= c->info.oa_max);
	CHECK_RC(nest_pt_map(&f.pt, ia, oa, page, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, ia, oa - page, 2 * page, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, ia, 0 - page, page, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, ia, 0 - page, 2 * page, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, ia, page / 2, page, f.attr, 0, NULL), NEST_E_ALIGN);
	check_none(&f, ia);
	CHECK_OK(nest_pt_map(&f.pt, ia, oa - page, page, f.attr, 0, NULL));
	check_maps(&f, ia + 5, oa - page + 5, f.attr);
	check_consistent(&f);
	cfg.host = &f.a.host;
	cfg.ctx = &f.a;
	CHECK_OK(nest_pt_init(&small, &cfg));
	CHECK_RC(nest_pt_map(&small, ia, size36, page, f.attr, 0, NULL), NEST_E_RANGE);
	CHECK_OK(nest_pt_map(&small, ia, size36 - page, page, f.attr, 0, NULL));
	nest_pt_destroy(&small);
	cfg.oa_bits = c->info.oa_max + 1;
	CHECK_RC(nest_pt_init(&small, &cfg), NEST_E_RANGE);
	fix_close(&f);
}

static void map_refuses_outputs_beyond_the_width(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, outputs);
}

_Static_assert((NEST_MAP_MAX_LEVEL(1) | NEST_MAP_REPLACE) == 0x12, "one value, in any expression");
_Static_assert(NEST_MAP_MAX_LEVEL(0) == NEST_MAP_NO_HUGE, "smallest pages");

static void arguments(const struct tcase *c)
{
	struct fix f;
	struct nest_mapping q;
	struct nest_pt_stats stats;
	struct steps st;
	struct nest_reserve r;
	struct snap before;
	static const unsigned too_high[] = { 5, 6, 7, 8, 9, 15, 16, 24, 256, 0x80000000 };
	uint64_t ia, done, p, tables = 77;
	nest_attr_t bad = (nest_attr_t)1 << 31;

	fix_open(&f, c);
	p = f.page;
	ia = place(&f, PLACE_LOW, p);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0, p, f.attr, 0, NULL));
	before = snap_take(&f);
	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t flag = 1u << bit;

		if (bit > 9)
			CHECK_RC(nest_pt_map(&f.pt, ia + p, 0, p, f.attr, flag, NULL),
				 NEST_E_INVAL);
		if (flag & ~(NEST_SKIP_HOLES | NEST_NO_SPLIT | NEST_KEEP_TABLES))
			CHECK_RC(nest_pt_unmap(&f.pt, ia, p, flag, NULL), NEST_E_INVAL);
		if (flag & ~(NEST_SKIP_HOLES | NEST_NO_SPLIT | NEST_IF_SET))
			CHECK_RC(nest_pt_protect(&f.pt, ia, p, 0, f.w, flag, NULL), NEST_E_INVAL);
		if (flag & ~NEST_ATTR_MASK) {
			CHECK_RC(nest_pt_map(&f.pt, ia + p, 0, p, f.attr | flag, 0, NULL),
				 NEST_E_INVAL);
			CHECK_RC(nest_pt_protect(&f.pt, ia, p, flag, 0, 0, NULL), NEST_E_INVAL);
			CHECK_RC(nest_pt_protect(&f.pt, ia, p, 0, flag, 0, NULL), NEST_E_INVAL);
		}
	}
	/* No format has these levels; 8 and 16 must not pass for 0. */
	for (unsigned i = 0; i < sizeof(too_high) / sizeof(*too_high); i++) {
		uint32_t flag = NEST_MAP_MAX_LEVEL(too_high[i]);

		CHECK_RC(nest_pt_map(&f.pt, ia + p, 0, p, f.attr, flag, NULL), NEST_E_INVAL);
		CHECK_RC(steps_end(&st,
				   nest_pt_map(&f.pt, ia + p, 0, p, f.attr, flag,
					       steps_begin(&st, &f.pt, NULL, 1)),
				   &done),
			 NEST_E_INVAL);
	}
	CHECK_RC(nest_pt_map(&f.pt, ia + p, 0, p, f.attr, NEST_MAP_MAX_LEVEL(-1), NULL),
		 NEST_E_INVAL);
	CHECK_RC(
		nest_pt_map(&f.pt, ia, 0, p, f.attr, NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED, NULL),
		NEST_E_INVAL);
	CHECK_RC(nest_pt_map(&f.pt, ia + p, 0, p, f.attr, NEST_SKIP_HOLES, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_map(&f.pt, ia + p, 0, p, (nest_attr_t)6 << 8 | NEST_R, 0, NULL),
		 NEST_E_INVAL);
	CHECK_RC(nest_pt_protect(&f.pt, ia, p, NEST_W, NEST_W, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_protect(&f.pt, ia, p, NEST_MT_DEVICE, 0, 0, NULL), NEST_E_INVAL);
	/* What hardware changes, or what is no single attribute, is no condition. */
	for (unsigned i = 0; i < 3; i++) {
		static const nest_attr_t no[] = { NEST_MT_MASK, NEST_ACCESSED, NEST_DIRTY };

		CHECK_RC(nest_pt_protect(&f.pt, ia, p, 0, no[i], NEST_IF_SET, NULL), NEST_E_INVAL);
	}
	CHECK_RC(nest_pt_map(NULL, ia, 0, p, f.attr, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_unmap(NULL, ia, p, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_protect(NULL, ia, p, 0, bad, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_mark(NULL, ia, p, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_mark(&f.pt, ia + p, p, NEST_MARK_MAX + 1, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_split(NULL, ia, p, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_split(&f.pt, ia, p, f.max_leaf + 1, NULL), NEST_E_UNSUPPORTED);
	CHECK_RC(nest_pt_merge(NULL, ia, p, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_query(NULL, ia, &q), NEST_E_INVAL);
	CHECK_RC(nest_pt_query(&f.pt, ia, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_walk(NULL, ia, p, 0, never, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_dump(NULL, NULL, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_dump(&f.pt, NULL, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_stats(NULL, &stats), NEST_E_INVAL);
	CHECK_RC(nest_pt_stats(&f.pt, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_share(NULL, &f.pt, ia, p), NEST_E_INVAL);
	CHECK_RC(nest_pt_share(&f.pt, NULL, ia, p), NEST_E_INVAL);
	CHECK_RC(nest_pt_tables_for(NULL, ia, p, 0, &tables), NEST_E_INVAL);
	CHECK_RC(nest_pt_tables_for(&f.pt, ia, p, 0, NULL), NEST_E_INVAL);
	CHECK_EQ(tables, 77);
	nest_reserve_init(&r);
	CHECK_RC(nest_reserve_fill(NULL, &f.pt, 1), NEST_E_INVAL);
	CHECK_RC(nest_reserve_fill(&r, NULL, 1), NEST_E_INVAL);
	done = 99;
	check_unchanged(&f, &before);
	snap_free(&before);
	fix_close(&f);
}

static void every_call_refuses_bad_arguments(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, arguments);
}

static const struct nest_format *const upper_formats[] = { &nest_fmt_aarch64_s1_4k,
							   &nest_fmt_aarch64_s1_16k,
							   &nest_fmt_aarch64_s1_64k };

/* The upper region of a first stage: addresses with every bit above the width set. */
static void upper_region_has_its_own_addresses(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct tcase c = tcase_of(upper_formats[i], NEST_FEAT_CONTIG, 0, NEST_PT_UPPER);
		struct fix f;
		uint64_t low;

		ranges(&c);
		fix_open(&f, &c);
		low = place(&f, PLACE_LOW, f.page);
		CHECK_EQ(low, ~(uint64_t)0 << c.ia_bits);
		CHECK_OK(nest_pt_map(&f.pt, low, 0x8000000, 4 * f.page, f.attr, 0, NULL));
		CHECK_OK(
			nest_pt_map(&f.pt, 0 - 3 * f.page, 0x9000000, 3 * f.page, f.attr, 0, NULL));
		check_range(&f, low, 0x8000000, 4 * f.page, f.attr);
		check_range(&f, 0 - 3 * f.page, 0x9000000, 3 * f.page, f.attr);
		check_consistent(&f);
		fix_close(&f);
	}
	snprintf(test_case, sizeof(test_case), "EL2 has no upper region");
	for (unsigned i = 0; nest_formats[i]; i++) {
		struct nest_pt_config cfg = config(nest_formats[i]);
		bool split = !strncmp(nest_format_name(nest_formats[i]), "aarch64-s1", 10);

		cfg.flags = NEST_PT_UPPER;
		arena_open(&arena, 1u << 22);
		expect_init(&cfg, split ? NEST_OK : NEST_E_UNSUPPORTED, split ? NULL : "flags");
		arena_close(&arena);
	}
}

/* The library reaches tables by an offset where the host has no to_virt. */
static void a_linear_host_needs_no_translation_callback(void **state)
{
	(void)state;
	for (unsigned i = 0; nest_formats[i]; i++) {
		struct tcase c = tcase_of(nest_formats[i], 0, 0, 0);
		struct fix f;
		uint64_t ia;

		fix_open(&f, &c);
		arena_use_linear(&f.a);
		ia = place(&f, PLACE_MID, 16 * f.page);
		CHECK_OK(nest_pt_map(&f.pt, ia, 0x7000000, 16 * f.page, f.attr, 0, NULL));
		check_range(&f, ia, 0x7000000, 16 * f.page, f.attr);
		check_consistent(&f);
		fix_close(&f);
	}
}

/* One page a call, without a callback on the way (core/fast.h); errors as ever. */
static void single_pages_of_a_plain_host_come_and_go(void **state)
{
	(void)state;
	for (unsigned i = 0; nest_formats[i]; i++) {
		struct tcase c = tcase_of(nest_formats[i], 0, 0, 0);
		const nest_pa_t pa = 0x7000000;
		struct nest_mapping m;
		uint64_t a, b, flushes;
		struct fix f;

		c.plain = true;
		fix_open(&f, &c);
		a = place(&f, PLACE_MID, 16 * f.page);
		b = a + f.page;
		/* The first is one by which the others go. */
		for (unsigned k = 0; k < 3; k++)
			CHECK_OK(nest_pt_map(&f.pt, a + k * f.page, pa + k * f.page, f.page, f.attr,
					     0, NULL));
		check_range(&f, a, pa, 3 * f.page, f.attr);
		check_consistent(&f);
		CHECK_RC(nest_pt_map(&f.pt, b, pa, f.page, f.attr, 0, NULL), NEST_E_MAPPED);
		CHECK_RC(nest_pt_map(&f.pt, b, pa + 8, f.page, f.attr, 0, NULL), NEST_E_ALIGN);
		CHECK_RC(nest_pt_map(&f.pt, b, (nest_pa_t)1 << f.pt.oa_bits, f.page, f.attr, 0,
				     NULL),
			 NEST_E_RANGE);
		CHECK_OK(nest_pt_query(&f.pt, b + 0x123, &m));
		CHECK(m.ia == b + 0x123 && m.pa == pa + f.page + 0x123 && m.size == f.page);
		CHECK(m.kind == NEST_PTE_LEAF && !m.level && !m.contiguous && !m.mark);
		/* A flush of just the page; the table goes with its last. */
		for (unsigned k = 0; k < 3; k++) {
			const struct nest_flush *what = &f.a.ev[0].flush;
			const uint64_t at = a + (k + 1) % 3 * f.page;

			arena_mark(&f.a);
			flushes = f.a.nr_flush;
			CHECK(f.a.outstanding > f.tables0);
			CHECK_OK(nest_pt_unmap(&f.pt, at, f.page, 0, NULL));
			CHECK_EQ(f.a.nr_flush, flushes + 1);
			CHECK(k == 2 || (!what->all && what->ia == at && what->size == f.page &&
					 what->leaf_only && what->level_mask == 1));
			CHECK_RC(nest_pt_unmap(&f.pt, at, f.page, 0, NULL), NEST_E_NOTMAPPED);
			CHECK_RC(nest_pt_query(&f.pt, at, &m), NEST_E_NOTMAPPED);
		}
		CHECK_EQ(f.a.outstanding, f.tables0);
		fix_close(&f);
	}
}

static void a_table_is_small_and_every_status_has_a_phrase(void **state)
{
	(void)state;
	CHECK(sizeof(struct nest_pt) <= 320);
	for (int s = -20; s <= 3; s++) {
		CHECK(nest_strerror(s) != NULL && nest_strerror(s)[0]);
		for (int t = NEST_E_DENIED; t < s && s <= 0; t++)
			CHECK(strcmp(nest_strerror(s), nest_strerror(t)) != 0);
	}
	CHECK(!strcmp(nest_format_name(NULL), "(null)"));
	CHECK(nest_format_by_name("ept") == &nest_fmt_ept);
	CHECK(nest_format_by_name("no-such") == NULL);
	CHECK(nest_format_by_name(NULL) == NULL);
	for (unsigned i = 0; nest_formats[i]; i++)
		CHECK(nest_format_by_name(nest_format_name(nest_formats[i])) == nest_formats[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_refuses_a_bad_configuration),
		cmocka_unit_test(init_that_fails_gives_everything_back),
		cmocka_unit_test(geometry_is_the_manuals),
		cmocka_unit_test(every_call_refuses_bad_ranges),
		cmocka_unit_test(map_refuses_outputs_beyond_the_width),
		cmocka_unit_test(every_call_refuses_bad_arguments),
		cmocka_unit_test(upper_region_has_its_own_addresses),
		cmocka_unit_test(a_linear_host_needs_no_translation_callback),
		cmocka_unit_test(single_pages_of_a_plain_host_come_and_go),
		cmocka_unit_test(a_table_is_small_and_every_status_has_a_phrase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
