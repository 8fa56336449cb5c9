/* SPDX-License-Identifier: MIT */
/*
 * Register values: EPTP (SDM vol. 3C table 25-9), nCR3 and CR3 (APM vol. 2 5.3.2, 15.25.3), PWCL
 * and PWCH (LoongArch vol. 1 7.5.9, 7.5.10), features from capability registers, flush plans,
 * page-modification logs (SDM vol. 3C 29.3.6).
 */
#include "support.h"

#include <nest/arch/loongarch.h>
#include <nest/arch/x86.h>

static void open_table(struct fix *f, const struct nest_format *fmt, uint32_t features,
		       unsigned ia_bits)
{
	struct tcase c = tcase_of(fmt, features, ia_bits, 0);

	fix_open(f, &c);
}

static uint64_t eptp_less_root(uint32_t features, unsigned ia_bits)
{
	struct fix f;
	uint64_t v = 0;

	open_table(&f, &nest_fmt_ept, features, ia_bits);
	CHECK_OK(nest_ept_eptp(&f.pt, &v));
	CHECK_EQ(v & ~(uint64_t)0xfff, nest_pt_root(&f.pt));
	fix_close(&f);
	return v & 0xfff;
}

static void eptp_has_levels_type_and_flags(void **state)
{
	(void)state;
	CHECK_EQ(eptp_less_root(0, 48), 0x1e);
	CHECK_EQ(eptp_less_root(NEST_FEAT_HW_AD, 48), 0x5e);
	CHECK_EQ(eptp_less_root(NEST_FEAT_LA57, 48), 0x1e);
	CHECK_EQ(eptp_less_root(NEST_FEAT_LA57, 57), 0x26);
	CHECK_EQ(eptp_less_root(NEST_FEAT_LA57 | NEST_FEAT_HW_AD, 57), 0x66);
}

static void ncr3_and_cr3_have_the_root(void **state)
{
	struct fix f;
	uint64_t v = 0;

	(void)state;
	open_table(&f, &nest_fmt_npt, 0, 48);
	CHECK_OK(nest_npt_ncr3(&f.pt, &v));
	CHECK_EQ(v, nest_pt_root(&f.pt));
	CHECK_RC(nest_x86_cr3(&f.pt, 0, &v), NEST_E_INVAL);
	CHECK_RC(nest_ept_eptp(&f.pt, &v), NEST_E_INVAL);
	CHECK_RC(nest_loongarch_pwcl(&f.pt, &v), NEST_E_INVAL);
	CHECK_RC(nest_loongarch_pwch(&f.pt, &v), NEST_E_INVAL);
	CHECK_RC(nest_loongarch_pgd(&f.pt, &v), NEST_E_INVAL);
	CHECK_RC(nest_npt_ncr3(&f.pt, NULL), NEST_E_INVAL);
	CHECK_EQ(v, nest_pt_root(&f.pt));
	fix_close(&f);
	CHECK_RC(nest_npt_ncr3(&f.pt, &v), NEST_E_INVAL); /* no longer live */

	open_table(&f, &nest_fmt_x86_64, 0, 48);
	CHECK_OK(nest_x86_cr3(&f.pt, 0, &v));
	CHECK_EQ(v, nest_pt_root(&f.pt));
	CHECK_OK(nest_x86_cr3(&f.pt, 0xfff, &v));
	CHECK_EQ(v, nest_pt_root(&f.pt) | 0xfff);
	CHECK_EQ(v | NEST_X86_CR3_NOFLUSH, nest_pt_root(&f.pt) | 0x8000000000000fff);
	CHECK_RC(nest_x86_cr3(&f.pt, 0x1000, &v), NEST_E_RANGE);
	CHECK_RC(nest_x86_cr3(&f.pt, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_npt_ncr3(&f.pt, &v), NEST_E_INVAL);
	fix_close(&f);

	CHECK_RC(nest_ept_eptp(NULL, &v), NEST_E_INVAL);
	CHECK_RC(nest_npt_ncr3(NULL, &v), NEST_E_INVAL);
	CHECK_RC(nest_x86_cr3(NULL, 0, &v), NEST_E_INVAL);
	CHECK_RC(nest_loongarch_pwcl(NULL, &v), NEST_E_INVAL);
	CHECK_RC(nest_loongarch_pwch(NULL, &v), NEST_E_INVAL);
	CHECK_RC(nest_loongarch_pgd(NULL, &v), NEST_E_INVAL);
}

static void page_walk_registers_describe_the_directories(void **state)
{
	/*
	 * PWCL: PT 4:0/9:5, DIR1 14:10/19:15, DIR2 24:20/29:25. PWCH: DIR3 5:0/11:6, DIR4
	 * 17:12/23:18
	 */
	static const struct {
		const struct nest_format *fmt;
		uint32_t features;
		unsigned ia_bits;
		uint64_t pwcl, pwch;
	} cases[] = {
		{ &nest_fmt_loongarch_s2_4k, 0, 48, 0x13e4d52c, 0x267 }, /* 39:9 30:9 21:9 12:9 */
		{ &nest_fmt_loongarch_s2_4k, 0, 40, 0x13e4d52c, 0x067 }, /* 39:1 */
		{ &nest_fmt_loongarch_s2_4k, 0, 39, 0x0004d52c, 0x25e }, /* 30:9 21:9 12:9 */
		{ &nest_fmt_loongarch_s2_4k, 0, 31, 0x0004d52c, 0x05e }, /* 30:1 */
		{ &nest_fmt_loongarch_s1_4k, 0, 48, 0x13e4d52c, 0x267 },
		{ &nest_fmt_loongarch_s1_4k, NEST_FEAT_PTW, 48, 0x13e4d52c, 0x1000267 },
		{ &nest_fmt_loongarch_s2_16k, 0, 48, 0x0005e56e,
		  0x6f2e4 }, /* 47:1 36:11 25:11 14:11 */
		{ &nest_fmt_loongarch_s1_16k, 0, 47, 0x0005e56e, 0x2e4 }, /* 36:11 25:11 14:11 */
		{ &nest_fmt_loongarch_s1_16k, NEST_FEAT_PTW, 37, 0x0005e56e, 0x1000064 },
	};
	struct fix f;
	uint64_t v = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		open_table(&f, cases[i].fmt, cases[i].features, cases[i].ia_bits);
		CHECK_OK(nest_loongarch_pwcl(&f.pt, &v));
		CHECK_EQ(v, cases[i].pwcl);
		CHECK_OK(nest_loongarch_pwch(&f.pt, &v));
		CHECK_EQ(v, cases[i].pwch);
		CHECK_OK(nest_loongarch_pgd(&f.pt, &v));
		CHECK_EQ(v, nest_pt_root(&f.pt));
		CHECK_RC(nest_loongarch_pwcl(&f.pt, NULL), NEST_E_INVAL);
		CHECK_RC(nest_loongarch_pwch(&f.pt, NULL), NEST_E_INVAL);
		CHECK_RC(nest_loongarch_pgd(&f.pt, NULL), NEST_E_INVAL);
		CHECK_RC(nest_ept_eptp(&f.pt, &v), NEST_E_INVAL);
		fix_close(&f);
	}
}

static void guest_registers_of_loongarch(void **state)
{
	(void)state;
	CHECK_EQ(nest_loongarch_gtlbc_guest(0xffff003f, 0x12), 0xff12103f);
	CHECK_EQ(nest_loongarch_gtlbc_guest(0, 0xff), 0xff1000);
	CHECK_EQ(nest_loongarch_gtlbc_root(0xff12103f), 0xff00003f);
	CHECK_EQ(nest_loongarch_gstat(0x00ff0083, 0x05), 0x00050083);
}

static void features_come_from_the_capability_registers(void **state)
{
	(void)state;
	/* 0 XO, 6 four levels, 7 five, 8 UC, 14 WB, 16 2M, 17 1G, 20 INVEPT, 21 A/D */
	CHECK_EQ(nest_ept_features(0), 0);
	CHECK_EQ(nest_ept_features(0x114140), 0);
	CHECK_EQ(nest_ept_features(0x1), NEST_FEAT_XO);
	CHECK_EQ(nest_ept_features(0x80), NEST_FEAT_LA57);
	CHECK_EQ(nest_ept_features(0x20000), NEST_FEAT_1G);
	CHECK_EQ(nest_ept_features(0x200000), NEST_FEAT_HW_A | NEST_FEAT_HW_D);
	CHECK_EQ(nest_x86_features(0x04000000, 0), NEST_FEAT_1G);
	CHECK_EQ(nest_x86_features(0, 0x10000), NEST_FEAT_LA57);
	CHECK_EQ(nest_x86_features(0xfbffffff, 0xfffeffff), 0);
	CHECK_EQ(nest_loongarch_features(0x01000000),
		 NEST_FEAT_PTW | NEST_FEAT_HW_A | NEST_FEAT_HW_D);
	CHECK_EQ(nest_loongarch_features(0xfeffffff), 0);
	/* PALEN - 1 in 11:4, VALEN - 1 in 19:12 of a 48-bit CPU */
	CHECK_EQ(nest_loongarch_palen(0x03f2f2fe), 48);
	CHECK_EQ(nest_loongarch_valen(0x03f2f2fe), 48);
	CHECK_EQ(nest_loongarch_palen(0x03f2f1fe), 32);
	CHECK_EQ(nest_loongarch_valen(0x03f272fe), 40);
}

static void the_pat_has_write_combining_at_entry_5_alone(void **state)
{
	(void)state;
	/* a byte an entry; after reset 0x0007040600070406; write-combining is 1 */
	CHECK_EQ(NEST_X86_PAT, 0x0007010600070406);
}

/* A log whose entries from `first` on are as told, and the others poison that must not be read. */
static void fill_log(uint64_t *log, unsigned first, const uint64_t *entries)
{
	for (unsigned i = 0; i < 512; i++)
		log[i] = i < first ? 0x40000000 : entries[i - first];
}

static void a_page_log_is_drained_from_the_index_up(void **state)
{
	/* entries 509, 510, 511: the second page, the second once more, the last with low bits */
	static const uint64_t entries[] = { 0x40001000, 0x40001000, 0x40081fff };
	uint64_t log[512], bitmap[3] = { 0x8000, 0, 0 }, outside = 7;

	(void)state;
	fill_log(log, 509, entries);
	/* nothing logged yet; nothing of the bitmap is cleared */
	CHECK_EQ(nest_ept_pml_drain(log, 511, 0x40000000, 0x82000, bitmap, &outside), 0);
	CHECK_EQ(bitmap[0], 0x8000);
	CHECK_EQ(nest_ept_pml_drain(log, 510, 0x40000000, 0x82000, bitmap, &outside), 1);
	CHECK_EQ(bitmap[0], 0x8000);
	CHECK_EQ(bitmap[1], 0);
	CHECK_EQ(bitmap[2], 2); /* 0x81 = 2 * 64 + 1 */
	CHECK_EQ(nest_ept_pml_drain(log, 508, 0x40000000, 0x82000, bitmap, &outside), 3);
	CHECK_EQ(bitmap[0], 0x8002);
	CHECK_EQ(bitmap[1], 0);
	CHECK_EQ(bitmap[2], 2);
	CHECK_EQ(outside, 7);
}

static void a_full_page_log_has_all_entries(void **state)
{
	uint64_t log[512], bitmap[9] = { 0 }, outside = 0;

	(void)state;
	for (unsigned i = 0; i < 512; i++)
		log[i] = 0x200000 + 0x1000 * (uint64_t)i;
	CHECK_EQ(nest_ept_pml_drain(log, 0xffff, 0x200000, 0x200000, bitmap, &outside), 512);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(bitmap[i], 0xffffffffffffffff);
	CHECK_EQ(bitmap[8], 0);
	CHECK_EQ(outside, 0);
	/* one short of that */
	memset(bitmap, 0, sizeof(bitmap));
	CHECK_EQ(nest_ept_pml_drain(log, 0, 0x200000, 0x200000, bitmap, &outside), 511);
	CHECK_EQ(bitmap[0], 0xfffffffffffffffe);
	CHECK_EQ(bitmap[7], 0xffffffffffffffff);
	CHECK_EQ(outside, 0);
}

static void pages_outside_the_range_of_a_page_log_are_counted(void **state)
{
	/* both neighbours, far ones, the top of the address space, and one inside */
	static const uint64_t entries[] = { 0x40fff, 0x44000, 0, 0x100041000, 0xfffffffffffff000,
					    0x43008 };
	uint64_t log[512], bitmap[2] = { 0, 0 }, outside = 100;

	(void)state;
	fill_log(log, 506, entries);
	CHECK_EQ(nest_ept_pml_drain(log, 505, 0x41000, 0x3000, bitmap, &outside), 6);
	CHECK_EQ(bitmap[0], 4);
	CHECK_EQ(bitmap[1], 0);
	CHECK_EQ(outside, 105);
	/* a range that ends at the very top */
	CHECK_EQ(nest_ept_pml_drain(log, 509, 0xffffffffffffe000, 0x2000, bitmap, &outside), 2);
	CHECK_EQ(bitmap[0], 6);
	CHECK_EQ(outside, 106);
}

static void arguments_that_make_no_page_log_are_refused(void **state)
{
	static const uint64_t entries[] = { 0x1000 };
	uint64_t log[512], bitmap = 0, outside = 0;

	(void)state;
	fill_log(log, 511, entries);
	CHECK_RC(nest_ept_pml_drain(NULL, 510, 0, 0x4000, &bitmap, &outside), NEST_E_INVAL);
	CHECK_RC(nest_ept_pml_drain(log, 510, 0, 0x4000, NULL, &outside), NEST_E_INVAL);
	CHECK_RC(nest_ept_pml_drain(log, 510, 0, 0x4000, &bitmap, NULL), NEST_E_INVAL);
	CHECK_RC(nest_ept_pml_drain(log, 512, 0, 0x4000, &bitmap, &outside), NEST_E_INVAL);
	CHECK_RC(nest_ept_pml_drain(log, 0xfffe, 0, 0x4000, &bitmap, &outside), NEST_E_INVAL);
	CHECK_RC(nest_ept_pml_drain(log, 510, 0x800, 0x4000, &bitmap, &outside), NEST_E_ALIGN);
	CHECK_RC(nest_ept_pml_drain(log, 510, 0, 0x3800, &bitmap, &outside), NEST_E_ALIGN);
	CHECK_RC(nest_ept_pml_drain(log, 510, 0, 0, &bitmap, &outside), NEST_E_RANGE);
	CHECK_RC(nest_ept_pml_drain(log, 510, 0xffffffffffffe000, 0x3000, &bitmap, &outside),
		 NEST_E_RANGE);
	CHECK_EQ(bitmap, 0);
	CHECK_EQ(outside, 0);
	CHECK_EQ(nest_ept_pml_drain(log, 510, 0, 0x4000, &bitmap, &outside), 1);
	CHECK_EQ(bitmap, 2);
}

struct plan {
	struct nest_flush what;
	unsigned n;
	uint64_t first, step;
};

static void x86_flushes_by_page_up_to_a_point(void **state)
{
	static const struct plan cases[] = {
		{ { .ia = 0x5000, .size = 0x1000, .level_mask = 1, .leaf_only = true },
		  1,
		  0x5000,
		  0x1000 },
		{ { .ia = 0x5000, .size = 0x20000, .level_mask = 1, .leaf_only = true },
		  32,
		  0x5000,
		  0x1000 },
		{ { .ia = 0x5000, .size = 0x21000, .level_mask = 1, .leaf_only = true },
		  0,
		  0x5000,
		  0x1000 },
		/* large pages by their own size, also when the range begins inside one */
		{ { .ia = 0x200000, .size = 0x400000, .level_mask = 2, .leaf_only = true },
		  2,
		  0x200000,
		  0x200000 },
		{ { .ia = 0x3ff000, .size = 0x2000, .level_mask = 2, .leaf_only = true },
		  2,
		  0x200000,
		  0x200000 },
		{ { .ia = 0x40000000, .size = 0x40000000, .level_mask = 4, .leaf_only = true },
		  1,
		  0x40000000,
		  0x40000000 },
		/* the smallest of several; any size below a removed table */
		{ { .ia = 0x200000, .size = 0x2000, .level_mask = 3, .leaf_only = true },
		  2,
		  0x200000,
		  0x1000 },
		{ { .ia = 0x200000, .size = 0x200000, .level_mask = 2 }, 0, 0x200000, 0x1000 },
		{ { .ia = 0x200000, .size = 0x3000, .level_mask = 2 }, 3, 0x200000, 0x1000 },
		{ { .ia = 0x1000, .size = 0x1000, .leaf_only = true }, 1, 0x1000, 0x1000 },
		/* the last page of all; everything */
		{ { .ia = 0xfffffffffffff000, .size = 0x1000, .level_mask = 1, .leaf_only = true },
		  1,
		  0xfffffffffffff000,
		  0x1000 },
		{ { .ia = 0x1000, .size = 0x1000, .level_mask = 1, .all = true },
		  0,
		  0x1000,
		  0x1000 },
		{ { .all = true }, 0, 0, 0x1000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t first = 1, step = 1;

		snprintf(test_case, sizeof(test_case), "plan %u", (unsigned)i);
		CHECK_EQ(nest_x86_flush_plan(&cases[i].what, &first, &step), cases[i].n);
		CHECK_EQ(first, cases[i].first);
		CHECK_EQ(step, cases[i].step);
	}
}

static void loongarch_flushes_by_pair_up_to_a_point(void **state)
{
	static const struct {
		unsigned page_shift;
		struct plan plan;
	} cases[] = {
		{ 12,
		  { { .ia = 0x4000, .size = 0x1000, .level_mask = 1, .leaf_only = true },
		    1,
		    0x4000,
		    0x2000 } },
		{ 12,
		  { { .ia = 0x5000, .size = 0x1000, .level_mask = 1, .leaf_only = true },
		    1,
		    0x4000,
		    0x2000 } },
		{ 12,
		  { { .ia = 0x5000, .size = 0x2000, .level_mask = 1, .leaf_only = true },
		    2,
		    0x4000,
		    0x2000 } },
		{ 12,
		  { { .ia = 0, .size = 0x40000, .level_mask = 1, .leaf_only = true },
		    32,
		    0,
		    0x2000 } },
		{ 12,
		  { { .ia = 0, .size = 0x41000, .level_mask = 1, .leaf_only = true },
		    0,
		    0,
		    0x2000 } },
		{ 12,
		  { { .ia = 0x200000, .size = 0x400000, .level_mask = 2, .leaf_only = true },
		    2,
		    0x200000,
		    0x200000 } },
		{ 12,
		  { { .ia = 0x200000, .size = 0x200000, .level_mask = 2 }, 0, 0x200000, 0x2000 } },
		{ 14,
		  { { .ia = 0xc000, .size = 0x4000, .level_mask = 1, .leaf_only = true },
		    1,
		    0x8000,
		    0x8000 } },
		{ 14,
		  { { .ia = 0x2000000, .size = 0x2000000, .level_mask = 2, .leaf_only = true },
		    1,
		    0x2000000,
		    0x2000000 } },
		{ 14, { { .all = true }, 0, 0, 0x8000 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct plan *p = &cases[i].plan;
		uint64_t first = 1, step = 1;

		snprintf(test_case, sizeof(test_case), "plan %u", (unsigned)i);
		CHECK_EQ(nest_loongarch_flush_plan(&p->what, cases[i].page_shift, &first, &step),
			 p->n);
		CHECK_EQ(first, p->first);
		CHECK_EQ(step, p->step);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eptp_has_levels_type_and_flags),
		cmocka_unit_test(ncr3_and_cr3_have_the_root),
		cmocka_unit_test(page_walk_registers_describe_the_directories),
		cmocka_unit_test(guest_registers_of_loongarch),
		cmocka_unit_test(features_come_from_the_capability_registers),
		cmocka_unit_test(the_pat_has_write_combining_at_entry_5_alone),
		cmocka_unit_test(a_page_log_is_drained_from_the_index_up),
		cmocka_unit_test(a_full_page_log_has_all_entries),
		cmocka_unit_test(pages_outside_the_range_of_a_page_log_are_counted),
		cmocka_unit_test(arguments_that_make_no_page_log_are_refused),
		cmocka_unit_test(x86_flushes_by_page_up_to_a_point),
		cmocka_unit_test(loongarch_flushes_by_pair_up_to_a_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
