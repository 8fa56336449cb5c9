/* SPDX-License-Identifier: MIT */
/*
 * Control registers of AArch64 and RISC-V against values put together by hand from the manuals, the
 * feature sets read from ID registers, and the operands of TLB maintenance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <nest/arch/aarch64.h>
#include <nest/arch/riscv.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- A host that has one table for each nest_pt, the root, at a chosen physical address ---- */

struct root {
	nest_pa_t base;
	void *mem;
};

static nest_pa_t base;

static nest_pa_t root_alloc(void *ctx, size_t size)
{
	struct root *root = ctx;

	root->base = base;
	root->mem = malloc(size);
	return base;
}

static void root_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct root *root = ctx;

	(void)size;
	assert_true(pa == root->base);
	free(root->mem);
}

static void *root_virt(void *ctx, nest_pa_t pa)
{
	struct root *root = ctx;

	return (char *)root->mem + (pa - root->base);
}

static void no_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
}

static const struct nest_host host = {
	.alloc = root_alloc, .free = root_free, .to_virt = root_virt, .tlb_flush = no_flush
};

struct table {
	struct nest_pt pt;
	struct root root;
};

static void make(struct table *t, const struct nest_format *format, unsigned ia_bits,
		 unsigned oa_bits, uint32_t features, uint32_t flags)
{
	const struct nest_pt_config config = { .format = format,
					       .ia_bits = ia_bits,
					       .oa_bits = oa_bits,
					       .features = features,
					       .flags = flags,
					       .host = &host,
					       .ctx = &t->root };

	assert_int_equal(nest_pt_init(&t->pt, &config), NEST_OK);
}

static int at_1g(void **state)
{
	(void)state;
	base = 0x40000000;
	return 0;
}

/* ---- AArch64 ---- */

#define S2_4K  (&nest_fmt_aarch64_s2_4k)
#define S2_16K (&nest_fmt_aarch64_s2_16k)
#define S2_64K (&nest_fmt_aarch64_s2_64k)
#define S1_4K  (&nest_fmt_aarch64_s1_4k)
#define S1_16K (&nest_fmt_aarch64_s1_16k)
#define S1_64K (&nest_fmt_aarch64_s1_64k)

/*
 * VTCR_EL2: 5:0 T0SZ, 7:6 SL0, 9:8 IRGN, 11:10 ORGN, 13:12 SH, 15:14 TG, 18:16 PS, 19 VS, 21 HA, 22
 * HD, 31 RES1, 32 DS. `tables`: how many are concatenated to the root.
 */
static const struct {
	int line;
	const struct nest_format *const *format;
	unsigned ia_bits, oa_bits;
	uint32_t features, flags;
	uint64_t vtcr;
	unsigned levels, tables;
} vtcrs[] = {
#define F4                                                                                         \
	&(const struct nest_format *const)                                                         \
	{                                                                                          \
		S2_4K                                                                              \
	}
#define F16                                                                                        \
	&(const struct nest_format *const)                                                         \
	{                                                                                          \
		S2_16K                                                                             \
	}
#define F64                                                                                        \
	&(const struct nest_format *const)                                                         \
	{                                                                                          \
		S2_64K                                                                             \
	}
	{ __LINE__, F4, 40, 40, 0, 0, 0x80023558, 3, 2 },
	{ __LINE__, F4, 40, 40, NEST_FEAT_HW_AD, 0, 0x80623558, 3, 2 },
	{ __LINE__, F4, 40, 40, NEST_FEAT_HW_A, 0, 0x80223558, 3, 2 },
	{ __LINE__, F4, 40, 40, NEST_FEAT_SW_AD, 0, 0x80023558, 3, 2 },
	{ __LINE__, F4, 40, 40, 0, NEST_AARCH64_ID16, 0x800a3558, 3, 2 },
	{ __LINE__, F4, 40, 41, 0, 0, 0x80033558, 3, 2 },
	{ __LINE__, F4, 32, 32, 0, 0, 0x80003520, 2, 4 },
	{ __LINE__, F4, 34, 36, 0, 0, 0x8001351e, 2, 16 },
	{ __LINE__, F4, 35, 36, 0, 0, 0x8001355d, 3, 1 },
	{ __LINE__, F4, 39, 40, 0, 0, 0x80023559, 3, 1 },
	{ __LINE__, F4, 43, 44, 0, 0, 0x80043555, 3, 16 },
	{ __LINE__, F4, 44, 44, 0, 0, 0x80043594, 4, 1 },
	{ __LINE__, F4, 48, 48, 0, 0, 0x80053590, 4, 1 },
	{ __LINE__, F4, 48, 48, NEST_FEAT_LPA2, 0, 0x180053590, 4, 1 },
	/* 16 tables at level 0 rather than level -1. */
	{ __LINE__, F4, 52, 52, NEST_FEAT_LPA2, 0, 0x18006358c, 4, 16 },
	{ __LINE__, F16, 40, 40, 0, 0, 0x8002b558, 2, 16 },
	{ __LINE__, F16, 32, 32, 0, 0, 0x8000b560, 2, 1 },
	{ __LINE__, F16, 41, 42, 0, 0, 0x8003b597, 3, 1 },
	{ __LINE__, F16, 48, 48, 0, 0, 0x8005b590, 3, 2 },
	{ __LINE__, F16, 50, 52, NEST_FEAT_LPA2, 0, 0x18006b58e, 3, 8 },
	{ __LINE__, F16, 52, 52, NEST_FEAT_LPA2, 0, 0x18006b5cc, 4, 1 },
	{ __LINE__, F64, 32, 32, 0, 0, 0x80007560, 2, 1 },
	{ __LINE__, F64, 33, 36, 0, 0, 0x8001755f, 2, 1 },
	{ __LINE__, F64, 40, 40, 0, 0, 0x80027558, 2, 1 },
	{ __LINE__, F64, 46, 48, 0, 0, 0x80057552, 2, 16 },
	{ __LINE__, F64, 47, 48, 0, 0, 0x80057591, 3, 1 },
	{ __LINE__, F64, 52, 52, NEST_FEAT_LPA, 0, 0x8006758c, 3, 1 },
};

static void vtcr_for_every_starting_level(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vtcrs); i++) {
		const struct nest_format *format = *vtcrs[i].format;
		struct nest_format_info info;
		struct table t;
		uint64_t v = 0;
		int rc;

		make(&t, format, vtcrs[i].ia_bits, vtcrs[i].oa_bits, vtcrs[i].features, 0);
		assert_int_equal(nest_format_describe(format, 0, &info), NEST_OK);
		rc = nest_aarch64_vtcr(&t.pt, vtcrs[i].flags, &v);
		if (rc || v != vtcrs[i].vtcr || nest_pt_levels(&t.pt) != vtcrs[i].levels ||
		    nest_pt_root_size(&t.pt) != (uint64_t)vtcrs[i].tables << info.page_shift)
			fail_msg("line %d: rc %d 0x%llx, %u levels, root 0x%llx", vtcrs[i].line, rc,
				 (unsigned long long)v, nest_pt_levels(&t.pt),
				 (unsigned long long)nest_pt_root_size(&t.pt));
		nest_pt_destroy(&t.pt);
	}
}

static void vttbr_has_root_and_vmid(void **state)
{
	struct table t;
	uint64_t v = 0;

	(void)state;
	make(&t, S2_4K, 40, 40, 0, 0);
	assert_int_equal(nest_aarch64_vttbr(&t.pt, &v), NEST_OK);
	assert_true(v == 0x0000000040000000);
	nest_pt_set_vmid(&t.pt, 5);
	assert_int_equal(nest_aarch64_vttbr(&t.pt, &v), NEST_OK);
	assert_true(v == 0x0005000040000000);
	nest_pt_set_vmid(&t.pt, 0x10000);
	assert_int_equal(nest_aarch64_vttbr(&t.pt, &v), NEST_E_RANGE);
	nest_pt_destroy(&t.pt);
	/* PA[51:48] in bits 5:2. */
	base = 0x9000040000000;
	make(&t, S2_4K, 52, 52, NEST_FEAT_LPA2, 0);
	nest_pt_set_vmid(&t.pt, 0x1234);
	assert_int_equal(nest_aarch64_vttbr(&t.pt, &v), NEST_OK);
	assert_true(v == 0x1234000040000024);
	nest_pt_destroy(&t.pt);
}

/*
 * TCR_EL1: as VTCR for the lower half, but no SL0; 7 EPD0, 21:16 T1SZ, 23 EPD1, 31:30 TG1, 34:32
 * IPS.
 */
static void tcr_el1_for_one_half_or_both(void **state)
{
	struct table lower, upper;
	uint64_t v = 0;

	(void)state;
	make(&lower, S1_4K, 48, 48, 0, 0);
	assert_int_equal(nest_aarch64_tcr_el1(&lower.pt, NULL, 0, &v), NEST_OK);
	assert_true(v == 0x00000005b5903510);
	assert_int_equal(nest_aarch64_tcr_el1(NULL, &lower.pt, 0, &v), NEST_E_UNSUPPORTED);
	make(&upper, S1_4K, 48, 48, 0, NEST_PT_UPPER);
	assert_int_equal(nest_aarch64_tcr_el1(&lower.pt, &upper.pt, 0, &v), NEST_OK);
	assert_true(v == 0x00000005b5103510);
	assert_int_equal(nest_aarch64_tcr_el1(NULL, &upper.pt, NEST_AARCH64_ID16, &v), NEST_OK);
	assert_true(v == 0x00000015b5103590);
	assert_int_equal(nest_aarch64_tcr_el1(&upper.pt, &lower.pt, 0, &v), NEST_E_UNSUPPORTED);
	nest_pt_destroy(&lower.pt);
	nest_pt_destroy(&upper.pt);
}

static void tcr_el1_granules_and_features(void **state)
{
	struct table lower, upper, other;
	uint64_t v = 0;

	(void)state;
	make(&lower, S1_64K, 42, 48, 0, 0);
	make(&upper, S1_16K, 47, 48, 0, NEST_PT_UPPER);
	assert_int_equal(nest_aarch64_tcr_el1(&lower.pt, &upper.pt, 0, &v), NEST_OK);
	assert_true(v == 0x0000000575117516);
	make(&other, S1_64K, 42, 44, 0, 0);
	assert_int_equal(nest_aarch64_tcr_el1(&other.pt, &upper.pt, 0, &v), NEST_E_INVAL);
	nest_pt_destroy(&other.pt);
	make(&other, S1_4K, 48, 48, NEST_FEAT_HW_AD, 0);
	assert_int_equal(nest_aarch64_tcr_el1(&other.pt, &upper.pt, 0, &v), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_tcr_el1(&other.pt, NULL, 0, &v), NEST_OK);
	assert_true(v == 0x00000185b5903510);
	nest_pt_destroy(&other.pt);
	make(&other, S1_4K, 52, 52, NEST_FEAT_LPA2, 0);
	assert_int_equal(nest_aarch64_tcr_el1(&other.pt, NULL, 0, &v), NEST_OK);
	assert_true(v == 0x08000006b58c350c);
	nest_pt_destroy(&other.pt);
	make(&other, S1_64K, 52, 52, NEST_FEAT_LPA, NEST_PT_UPPER);
	assert_int_equal(nest_aarch64_tcr_el1(NULL, &other.pt, 0, &v), NEST_OK);
	assert_true(v == 0x00000006f50c758c);
	nest_pt_destroy(&other.pt);
	nest_pt_destroy(&lower.pt);
	nest_pt_destroy(&upper.pt);
}

/* TCR_EL2: as VTCR, but no SL0; 23 and 31 are RES1. */
static void tcr_el2_and_ttbr(void **state)
{
	struct table t;
	uint64_t v = 0;

	(void)state;
	make(&t, S1_4K, 48, 48, NEST_FEAT_EL2, 0);
	assert_int_equal(nest_aarch64_tcr_el2(&t.pt, &v), NEST_OK);
	assert_true(v == 0x80853510);
	assert_int_equal(nest_aarch64_tcr_el1(&t.pt, NULL, 0, &v), NEST_E_UNSUPPORTED);
	nest_pt_destroy(&t.pt);
	make(&t, S1_16K, 47, 40, NEST_FEAT_EL2 | NEST_FEAT_HW_AD, 0);
	assert_int_equal(nest_aarch64_tcr_el2(&t.pt, &v), NEST_OK);
	assert_true(v == 0x80e2b511);
	nest_pt_destroy(&t.pt);
	make(&t, S1_4K, 52, 52, NEST_FEAT_EL2 | NEST_FEAT_LPA2, 0);
	assert_int_equal(nest_aarch64_tcr_el2(&t.pt, &v), NEST_OK);
	assert_true(v == 0x18086350c);
	nest_pt_destroy(&t.pt);
	make(&t, S1_4K, 48, 48, 0, 0);
	assert_int_equal(nest_aarch64_tcr_el2(&t.pt, &v), NEST_E_UNSUPPORTED);
	nest_pt_set_vmid(&t.pt, 0xabcd);
	assert_int_equal(nest_aarch64_ttbr(&t.pt, &v), NEST_OK);
	assert_true(v == 0xabcd000040000000);
	nest_pt_set_vmid(&t.pt, 0x10000);
	assert_int_equal(nest_aarch64_ttbr(&t.pt, &v), NEST_E_RANGE);
	nest_pt_destroy(&t.pt);
}

static void wrong_tables_are_refused(void **state)
{
	struct nest_pt dead = { .format = NULL };
	struct table t;
	uint64_t v = 0x5a5a;

	(void)state;
	make(&t, S2_4K, 48, 40, 0, 0);
	assert_int_equal(nest_aarch64_vtcr(&t.pt, 0, &v), NEST_E_RANGE);
	assert_int_equal(nest_aarch64_vtcr(&t.pt, 2, &v), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_vtcr(&t.pt, 0, NULL), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_vttbr(&t.pt, NULL), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_ttbr(&t.pt, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_aarch64_tcr_el1(&t.pt, NULL, 0, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_aarch64_tcr_el2(&t.pt, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_riscv_hgatp(&t.pt, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_riscv_satp(&t.pt, &v), NEST_E_UNSUPPORTED);
	nest_pt_destroy(&t.pt);
	make(&t, S1_4K, 48, 48, 0, 0);
	assert_int_equal(nest_aarch64_vtcr(&t.pt, 0, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_aarch64_vttbr(&t.pt, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_aarch64_ttbr(&t.pt, NULL), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_tcr_el1(&t.pt, NULL, 2, &v), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_tcr_el1(NULL, NULL, 0, &v), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_tcr_el1(&t.pt, NULL, 0, NULL), NEST_E_INVAL);
	assert_int_equal(nest_aarch64_tcr_el2(&t.pt, NULL), NEST_E_INVAL);
	nest_pt_destroy(&t.pt);
	assert_int_equal(nest_aarch64_vtcr(&dead, 0, &v), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_aarch64_vttbr(NULL, &v), NEST_E_UNSUPPORTED);
	assert_true(v == 0x5a5a);
}

static void mair_is_what_the_attribute_indices_mean(void **state)
{
	(void)state;
	assert_true(NEST_AARCH64_MAIR == 0x000000040044bbff);
}

static void aarch64_features_from_id_registers(void **state)
{
	/* A Cortex-A72, a Neoverse N1, and all of it. */
	const struct nest_aarch64_id a72 = { 0x00001124, 0, 0 };
	const struct nest_aarch64_id n1 = { 0x00101125, 0x10212122, 0x1011 };
	const struct nest_aarch64_id all = { 0x32310200006, 0x10212122, 0x0030010000000000 };
	/* 4K and 64K in stage 1 only (TGran_2 is 1), HA without HD, FEAT_BBM level 1. */
	const struct nest_aarch64_id odd = { 0x00000110f0000006, 0x1, 0x0010000000000000 };

	(void)state;
	assert_true(nest_aarch64_features(S2_4K, &a72) == NEST_FEAT_CONTIG);
	assert_true(nest_aarch64_features(S2_16K, &a72) == 0);
	assert_true(nest_aarch64_features(S1_64K, &a72) == NEST_FEAT_CONTIG);
	assert_int_equal(nest_aarch64_oa_bits(&a72, 0), 44);
	assert_false(nest_aarch64_has_vmid16(&a72));
	assert_true(nest_aarch64_features(S2_16K, &n1) ==
		    (NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_XNX));
	assert_true(nest_aarch64_features(S1_16K, &n1) == (NEST_FEAT_CONTIG | NEST_FEAT_HW_AD));
	assert_int_equal(nest_aarch64_oa_bits(&n1, 0), 48);
	assert_true(nest_aarch64_has_vmid16(&n1));
	assert_true(nest_aarch64_features(S2_4K, &all) ==
		    (NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_XNX | NEST_FEAT_S2FWB |
		     NEST_FEAT_BBM2 | NEST_FEAT_LPA2));
	assert_true(nest_aarch64_features(S1_16K, &all) ==
		    (NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_BBM2 | NEST_FEAT_LPA2));
	assert_true(nest_aarch64_features(S1_64K, &all) ==
		    (NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_BBM2 | NEST_FEAT_LPA));
	assert_int_equal(nest_aarch64_oa_bits(&all, NEST_FEAT_LPA2), 52);
	assert_int_equal(nest_aarch64_oa_bits(&all, NEST_FEAT_LPA), 52);
	assert_int_equal(nest_aarch64_oa_bits(&all, 0), 48);
	assert_true(nest_aarch64_features(S2_4K, &odd) == 0);
	assert_true(nest_aarch64_features(S2_64K, &odd) == 0);
	assert_true(nest_aarch64_features(S1_4K, &odd) == 0);
	assert_true(nest_aarch64_features(S1_64K, &odd) ==
		    (NEST_FEAT_CONTIG | NEST_FEAT_HW_A | NEST_FEAT_LPA));
}

/* ID_AA64MMFR2_EL1.BBM, 55:52. Only level 3 (FEAT_BBML3) promises no TLB conflict abort. */
static void bbm_level_2_is_not_switched_on_by_itself(void **state)
{
	static const struct {
		uint64_t mmfr2;
		uint32_t bbm2;
	} rows[] = {
		{ 0x0000000000000000, 0 },
		{ 0x0010000000000000, 0 },
		{ 0x0020000000000000, 0 },
		{ 0x0030000000000000, NEST_FEAT_BBM2 },
		{ 0x0040000000000000, NEST_FEAT_BBM2 }, /* a later level has what 3 has */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nest_aarch64_id id = { 0x00101125, 0x10212122, rows[i].mmfr2 };

		assert_int_equal(nest_aarch64_features(S2_4K, &id) & NEST_FEAT_BBM2, rows[i].bbm2);
		assert_int_equal(nest_aarch64_features(S1_64K, &id) & NEST_FEAT_BBM2, rows[i].bbm2);
	}
}

/* 36:0 base, 43:39 NUM, 45:44 SCALE, 47:46 TG: (NUM + 1) << (5 * SCALE + 1) pages. */
static void range_operands_cover_what_they_say(void **state)
{
	static const struct {
		uint64_t ia, pages;
		unsigned page_shift;
		bool ds;
		uint64_t operand, covered;
	} rows[] = {
		{ 0x40001000, 1, 12, false, 0x0000400000040001, 2 },
		{ 0x40001000, 2, 12, false, 0x0000400000040001, 2 },
		{ 0x40001000, 7, 12, false, 0x0000418000040001, 8 },
		{ 0x40001000, 63, 12, false, 0x00004f8000040001, 64 },
		{ 0x40000000, 512, 12, false, 0x0000538000040000, 512 },
		{ 0x40000000, 513, 12, false, 0x0000538000040000, 512 },
		{ 0x40000000, 4096, 12, false, 0x0000608000040000, 4096 },
		{ 0x40000000, 0x200000, 12, false, 0x00007f8000040000, 0x200000 },
		{ 0x40000000, 0x10000000, 12, false, 0x00007f8000040000, 0x200000 },
		{ 0x40010000, 2, 14, false, 0x0000800000010004, 2 },
		{ 0x40010000, 2, 14, true, 0x0000800000004001, 2 },
		{ 0x40010000, 2, 16, false, 0x0000c00000004001, 2 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t covered = 0;
		uint64_t operand = nest_aarch64_tlbi_range(
			rows[i].ia, rows[i].pages, rows[i].page_shift, rows[i].ds, &covered);

		if (operand != rows[i].operand || covered != rows[i].covered)
			fail_msg("row %zu: 0x%llx covers %llu", i, (unsigned long long)operand,
				 (unsigned long long)covered);
	}
}

static void single_invalidations_step_by_the_smallest_page(void **state)
{
	struct nest_flush f = {
		.ia = 0x40200000, .size = 0x400000, .level_mask = 2, .leaf_only = true
	};

	(void)state;
	assert_int_equal(nest_aarch64_flush_shift(&f, 12), 21);
	assert_int_equal(nest_aarch64_flush_shift(&f, 14), 25);
	assert_int_equal(nest_aarch64_flush_shift(&f, 16), 29);
	assert_int_equal(nest_aarch64_flush_count(&f, 21), 2);
	assert_int_equal(nest_aarch64_flush_count(&f, 12), 1024);
	/* It begins and ends inside larger pages. */
	f.ia = 0x401ff000;
	f.size = 0x2000;
	assert_int_equal(nest_aarch64_flush_count(&f, 21), 2);
	f.level_mask = 3;
	assert_int_equal(nest_aarch64_flush_shift(&f, 12), 12);
	/* A table went: whatever hung below it. */
	f.level_mask = 4;
	f.leaf_only = false;
	assert_int_equal(nest_aarch64_flush_shift(&f, 12), 12);
	/* To the very top. */
	f.ia = 0xfffffffffffff000;
	f.size = 0x1000;
	assert_int_equal(nest_aarch64_flush_count(&f, 12), 1);
}

/* ---- RISC-V ---- */

static void hgatp_and_satp(void **state)
{
	static const struct {
		unsigned g_bits, sv_bits;
		uint64_t hgatp, satp;
	} rows[] = {
		{ 41, 39, 0x8000300000040000, 0x8000300000040000 },
		{ 50, 48, 0x9000300000040000, 0x9000300000040000 },
		{ 59, 57, 0xa000300000040000, 0xa000300000040000 },
	};
	struct table t;
	uint64_t v = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		make(&t, &nest_fmt_riscv_g, rows[i].g_bits, 0, 0, 0);
		nest_pt_set_vmid(&t.pt, 3);
		assert_int_equal(nest_pt_root_size(&t.pt), 16384);
		assert_int_equal(nest_riscv_hgatp(&t.pt, &v), NEST_OK);
		assert_true(v == rows[i].hgatp);
		assert_int_equal(nest_riscv_satp(&t.pt, &v), NEST_E_UNSUPPORTED);
		nest_pt_destroy(&t.pt);
		make(&t, &nest_fmt_riscv_sv, rows[i].sv_bits, 0, 0, 0);
		nest_pt_set_vmid(&t.pt, 3);
		assert_int_equal(nest_pt_root_size(&t.pt), 4096);
		assert_int_equal(nest_riscv_satp(&t.pt, &v), NEST_OK);
		assert_true(v == rows[i].satp);
		assert_int_equal(nest_riscv_hgatp(&t.pt, &v), NEST_E_UNSUPPORTED);
		nest_pt_destroy(&t.pt);
	}
}

static void vmid_has_14_bits_and_asid_16(void **state)
{
	struct table t;
	uint64_t v = 0;

	(void)state;
	/* A root at the top of 56 bits. */
	base = 0xffffffffffc000;
	make(&t, &nest_fmt_riscv_g, 50, 0, 0, 0);
	nest_pt_set_vmid(&t.pt, 0x3fff);
	assert_int_equal(nest_riscv_hgatp(&t.pt, &v), NEST_OK);
	assert_true(v == 0x93fffffffffffffc);
	nest_pt_set_vmid(&t.pt, 0x4000);
	assert_int_equal(nest_riscv_hgatp(&t.pt, &v), NEST_E_RANGE);
	assert_int_equal(nest_riscv_hgatp(&t.pt, NULL), NEST_E_INVAL);
	nest_pt_destroy(&t.pt);
	make(&t, &nest_fmt_riscv_sv, 48, 0, 0, 0);
	nest_pt_set_vmid(&t.pt, 0xffff);
	assert_int_equal(nest_riscv_satp(&t.pt, &v), NEST_OK);
	assert_true(v == 0x9ffffffffffffffc);
	nest_pt_set_vmid(&t.pt, 0x10000);
	assert_int_equal(nest_riscv_satp(&t.pt, &v), NEST_E_RANGE);
	nest_pt_destroy(&t.pt);
}

static void riscv_widths_between_the_modes_are_refused(void **state)
{
	static const unsigned g[] = { 39, 40, 42, 48, 51, 57, 60 }, sv[] = { 38, 40, 41, 50, 59 };
	struct table t;

	(void)state;
	for (size_t i = 0; i < COUNT(g); i++) {
		const struct nest_pt_config c = { .format = &nest_fmt_riscv_g,
						  .ia_bits = g[i],
						  .host = &host };

		assert_int_equal(nest_pt_init(&t.pt, &c), NEST_E_UNSUPPORTED);
	}
	for (size_t i = 0; i < COUNT(sv); i++) {
		const struct nest_pt_config c = { .format = &nest_fmt_riscv_sv,
						  .ia_bits = sv[i],
						  .host = &host };

		assert_int_equal(nest_pt_init(&t.pt, &c), NEST_E_UNSUPPORTED);
	}
}

static void riscv_fences_by_address_are_for_few_leaves(void **state)
{
	struct nest_flush f = {
		.ia = 0x80000000, .size = 0x400000, .level_mask = 2, .leaf_only = true
	};

	(void)state;
	assert_int_equal(nest_riscv_flush_shift(&f), 21);
	assert_int_equal(nest_riscv_flush_count(&f), 2);
	f.level_mask = 1;
	assert_int_equal(nest_riscv_flush_shift(&f), 12);
	assert_int_equal(nest_riscv_flush_count(&f), 0); /* 1024: too many */
	f.size = 0x40000;
	assert_int_equal(nest_riscv_flush_count(&f), 64);
	f.size = 0x41000;
	assert_int_equal(nest_riscv_flush_count(&f), 0);
	/* A pointer changed: a fence by address does not cover it. */
	f.size = 0x1000;
	f.leaf_only = false;
	assert_int_equal(nest_riscv_flush_count(&f), 0);
	f.leaf_only = true;
	assert_int_equal(nest_riscv_flush_count(&f), 1);
	f.all = true;
	assert_int_equal(nest_riscv_flush_count(&f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(vtcr_for_every_starting_level, at_1g),
		cmocka_unit_test_setup(vttbr_has_root_and_vmid, at_1g),
		cmocka_unit_test_setup(tcr_el1_for_one_half_or_both, at_1g),
		cmocka_unit_test_setup(tcr_el1_granules_and_features, at_1g),
		cmocka_unit_test_setup(tcr_el2_and_ttbr, at_1g),
		cmocka_unit_test_setup(wrong_tables_are_refused, at_1g),
		cmocka_unit_test(mair_is_what_the_attribute_indices_mean),
		cmocka_unit_test(aarch64_features_from_id_registers),
		cmocka_unit_test(bbm_level_2_is_not_switched_on_by_itself),
		cmocka_unit_test(range_operands_cover_what_they_say),
		cmocka_unit_test(single_invalidations_step_by_the_smallest_page),
		cmocka_unit_test_setup(hgatp_and_satp, at_1g),
		cmocka_unit_test_setup(vmid_has_14_bits_and_asid_16, at_1g),
		cmocka_unit_test_setup(riscv_widths_between_the_modes_are_refused, at_1g),
		cmocka_unit_test(riscv_fences_by_address_are_for_few_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
