/* SPDX-License-Identifier: MIT */
/*
 * NEST_MAP_REPLACE onto the frames that are there: pages stay accessed and dirty, whatever the size
 * of the old and the new page, in every format that tracks it; other frames begin clean.
 */
#include "support.h"

static struct fix f;

static const struct {
	const struct nest_format *format;
	uint32_t features;
	nest_attr_t attr;
} tracks[] = {
	{ &nest_fmt_ept, NEST_FEAT_HW_AD, NEST_RW },
	{ &nest_fmt_npt, 0, NEST_RW },
	{ &nest_fmt_x86_64, 0, NEST_RW },
	{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD, NEST_RW | NEST_DBM },
	{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD | NEST_FEAT_CONTIG, NEST_RW | NEST_DBM },
	{ &nest_fmt_aarch64_s2_16k, NEST_FEAT_HW_AD, NEST_RW | NEST_DBM },
	{ &nest_fmt_aarch64_s1_4k, NEST_FEAT_HW_AD | NEST_FEAT_CONTIG, NEST_RW | NEST_DBM },
	{ &nest_fmt_riscv_g, NEST_FEAT_HW_AD, NEST_RW },
	{ &nest_fmt_riscv_g, NEST_FEAT_HW_AD | NEST_FEAT_CONTIG, NEST_RW },
	{ &nest_fmt_riscv_sv, NEST_FEAT_HW_AD, NEST_RW },
	{ &nest_fmt_loongarch_s2_16k, NEST_FEAT_HW_AD | NEST_FEAT_PTW, NEST_RW },
	{ &nest_fmt_loongarch_s1_4k, NEST_FEAT_HW_AD | NEST_FEAT_PTW, NEST_RW },
};

enum { AD = NEST_ACCESSED | NEST_DIRTY };
static const nest_pa_t base = (nest_pa_t)1 << 30;
static nest_attr_t attr;

static nest_attr_t status_of(uint64_t ia)
{
	struct nest_mapping m;

	CHECK_OK(nest_pt_query(&f.pt, ia, &m));
	return m.attr & AD;
}

static void map(uint64_t ia, nest_pa_t pa, uint64_t size, uint32_t flags)
{
	CHECK_OK(nest_pt_map(&f.pt, ia, pa, size, attr, flags, NULL));
}

/* As hardware does. */
static void write_to(uint64_t ia, uint64_t size)
{
	CHECK_OK(nest_pt_protect(&f.pt, ia, size, AD, 0, 0, NULL));
	CHECK_EQ(status_of(ia), AD);
}

static void pages(void)
{
	const uint64_t p = f.page;

	map(0, base, 4 * p, NEST_MAP_NO_HUGE);
	write_to(p, p);
	attr |= NEST_X;
	map(0, base, 4 * p, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	attr &= ~NEST_X;
	CHECK_EQ(status_of(p), AD);
	CHECK(!(status_of(0) & NEST_DIRTY));
	map(p, base + 9 * p, p, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	CHECK(!(status_of(p) & NEST_DIRTY));
	CHECK_OK(nest_pt_unmap(&f.pt, 0, 4 * p, 0, NULL));
}

/* A block by a block, some of its pages, and all of them by a block again. */
static void blocks(void)
{
	const uint64_t p = f.page, size = span(&f, 1);

	map(0, base, size, NEST_MAP_MAX_LEVEL(1));
	write_to(0, size);
	attr |= NEST_X;
	map(0, base, size, NEST_MAP_MAX_LEVEL(1) | NEST_MAP_REPLACE);
	attr &= ~NEST_X;
	CHECK_EQ(status_of(7 * p), AD);
	map(p, base + p, 2 * p, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	map(4 * p, base + 9 * p, 2 * p, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	CHECK_EQ(status_of(0), AD);
	CHECK_EQ(status_of(p), AD);
	CHECK_EQ(status_of(2 * p), AD);
	CHECK_EQ(status_of(3 * p), AD);
	map(4 * p, base + 4 * p, 2 * p, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	map(0, base, size, NEST_MAP_MAX_LEVEL(1) | NEST_MAP_REPLACE);
	CHECK_EQ(status_of(0), AD);
	map(0, base, p, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	map(0, 3 * base, size, NEST_MAP_MAX_LEVEL(1) | NEST_MAP_REPLACE);
	CHECK(!(status_of(0) & NEST_DIRTY));
	CHECK_OK(nest_pt_unmap(&f.pt, 0, size, 0, NULL));
}

/* One member of a group, then the whole as a group and as pages. */
static void groups(void)
{
	const uint64_t size = group(&f, 0), p = f.page;

	map(0, base, size, 0);
	write_to(0, size);
	attr |= NEST_X;
	map(0, base, size, NEST_MAP_REPLACE);
	CHECK_EQ(status_of(p), AD);
	attr &= ~NEST_X;
	map(0, base, size, NEST_MAP_NO_HUGE | NEST_MAP_REPLACE);
	for (uint64_t ia = 0; ia < size; ia += p)
		CHECK_EQ(status_of(ia), AD);
	map(0, base, size, NEST_MAP_REPLACE);
	CHECK_EQ(status_of(p), AD);
	CHECK_OK(nest_pt_unmap(&f.pt, 0, size, 0, NULL));
}

/* Other memory, which on AArch64 needs a break. */
static void types(void)
{
	map(0, base, f.page, 0);
	write_to(0, f.page);
	attr |= NEST_MT_UC;
	if (nest_pt_map(&f.pt, 0, base, f.page, attr, NEST_MAP_REPLACE, NULL) == NEST_OK)
		CHECK_EQ(status_of(0), AD);
	attr &= ~NEST_MT_MASK;
	CHECK_OK(nest_pt_unmap(&f.pt, 0, f.page, 0, NULL));
}

static void all(uint32_t flags)
{
	for (unsigned n = 0; n < sizeof(tracks) / sizeof(tracks[0]); n++) {
		struct tcase c;

		if (flags && (tracks[n].features & NEST_FEAT_CONTIG))
			continue;
		c = tcase_of(tracks[n].format, tracks[n].features, 0, flags);
		fix_open(&f, &c);
		attr = tracks[n].attr;
		pages();
		blocks();
		types();
		if (group(&f, 0))
			groups();
		arena_run_deferred(&f.a);
		fix_close(&f);
	}
}

static void replacing_keeps_what_is_dirty(void **state)
{
	(void)state;
	all(0);
}

static void in_shared_mode_too(void **state)
{
	(void)state;
	all(NEST_PT_SHARED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replacing_keeps_what_is_dirty),
		cmocka_unit_test(in_shared_mode_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
