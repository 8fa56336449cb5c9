/* SPDX-License-Identifier: MIT */
/*
 * AArch64 stage-1 descriptors against words put together by hand from Arm ARM D8.3.1:
 *
 *   63  59 58 56 55 54  53  52     51  50 49          12 11 10 9  8  7     6   5  4    2 1   0
 *   |     | SW  |  |UXN|PXN|Contig|DBM|GP|   address   |nG|AF| SH  |AP[2] AP[1]|NS|AttrIdx|type|
 *
 *   0x003 page, 0x001 block   0x040 EL0 may access   0x080 read-only   0x400 AF   0x800 not global
 *   AttrIndx by NEST_AARCH64_MAIR: 0x00 WB 0x04 WT 0x08 NC 0x0c nGnRnE 0x10 nGnRE
 *   SH: 0x300 inner, 0x200 outer; with LPA2 OA[51:50]
 */
#include "core/operate.h"
#include "encode.h"

#define F4  (&nest_fmt_aarch64_s1_4k)
#define F16 (&nest_fmt_aarch64_s1_16k)
#define F64 (&nest_fmt_aarch64_s1_64k)

#define RW_G  (NEST_RW | NEST_G)
#define RWX_G (NEST_RWX | NEST_G)

static const struct leaf_row leaves_4k[] = {
	/* Levels. */
	LEAF(0, 0, 0x40001000, RWX_G, 0x0040000040001703),
	LEAF(1, 0, 0x40200000, RWX_G, 0x0040000040200701),
	LEAF(2, 0, 0x40000000, RWX_G, 0x0040000040000701),
	LEAF(3, NEST_FEAT_LPA2, 0x8000000000, RWX_G, 0x0040008000000401),
	LEAF(0, 0, 0xfffffffff000, RWX_G, 0x0040fffffffff703),
	/* A privileged page: X is EL1's, XU EL0's. */
	LEAF(0, 0, 0, NEST_RWX, 0x0040000000000f03),
	LEAF(0, 0, 0, RW_G, 0x0060000000000703),
	LEAF(0, 0, 0, NEST_R | NEST_G, 0x0060000000000783),
	LEAF(0, 0, 0, NEST_RX | NEST_G, 0x0040000000000783),
	LEAF(0, 0, 0, NEST_R | NEST_XU | NEST_G, 0x0020000000000783),
	LEAF(0, 0, 0, RWX_G | NEST_XU, 0x0000000000000703),
	/* A user page: X is EL0's, XU EL1's. */
	LEAF(0, 0, 0, NEST_U | NEST_R, 0x0060000000000fc3),
	LEAF(0, 0, 0, NEST_U | NEST_RW, 0x0060000000000f43),
	LEAF(0, 0, 0, NEST_U | NEST_RX, 0x0020000000000fc3),
	LEAF(0, 0, 0, NEST_U | NEST_RWX, 0x0020000000000f43),
	LEAF(0, 0, 0, NEST_U | NEST_R | NEST_XU, 0x0040000000000fc3),
	LEAF(0, 0, 0, NEST_U | NEST_RX | NEST_XU, 0x0000000000000fc3),
	LEAF(0, 0, 0, NEST_U | NEST_RW | NEST_G, 0x0060000000000743),
	/* EL2: AP[1] is RES1, one XN, no nG. */
	LEAF(0, NEST_FEAT_EL2, 0, NEST_RWX, 0x0000000000000743),
	LEAF(0, NEST_FEAT_EL2, 0, NEST_RW, 0x0040000000000743),
	LEAF(0, NEST_FEAT_EL2, 0, NEST_RX, 0x00000000000007c3),
	LEAF(0, NEST_FEAT_EL2, 0, NEST_R, 0x00400000000007c3),
	/* Memory types. */
	LEAF(0, 0, 0, RW_G | NEST_MT_WT, 0x0060000000000707),
	LEAF(0, 0, 0, RW_G | NEST_MT_WC, 0x006000000000060b),
	LEAF(0, 0, 0, RW_G | NEST_MT_DEVICE_STRICT, 0x006000000000060f),
	LEAF(0, 0, 0, RW_G | NEST_MT_DEVICE, 0x0060000000000613),
	LEAF_AS(0, 0, 0, RW_G | NEST_MT_UC, 0x006000000000060f, RW_G | NEST_MT_DEVICE_STRICT),
	LEAF(1, 0, 0x9000000, RW_G | NEST_MT_DEVICE, 0x0060000009000611),
	/* Accessed and dirty. */
	LEAF_AS(0, 0, 0, RW_G | NEST_ACCESSED | NEST_DIRTY, 0x0060000000000703, RW_G),
	LEAF(0, NEST_FEAT_HW_A, 0, RW_G, 0x0060000000000303),
	LEAF(0, NEST_FEAT_SW_AD, 0, RW_G | NEST_ACCESSED, 0x0060000000000703),
	LEAF(0, NEST_FEAT_HW_AD, 0, RW_G | NEST_DBM | NEST_ACCESSED, 0x0068000000000783),
	LEAF(0, NEST_FEAT_HW_AD, 0, RW_G | NEST_DBM | NEST_DIRTY | NEST_ACCESSED,
	     0x0068000000000703),
	LEAF_AS(0, NEST_FEAT_HW_AD, 0, RW_G | NEST_DIRTY | NEST_ACCESSED, 0x0060000000000703,
		RW_G | NEST_ACCESSED),
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_R | NEST_G | NEST_DIRTY | NEST_ACCESSED,
	     0x00e0000000000783),
	/* Software bits. */
	LEAF(0, 0, 0, RW_G | NEST_SW0, 0x0160000000000703),
	LEAF(0, 0, 0, RW_G | NEST_SW1, 0x0260000000000703),
	LEAF(0, 0, 0, RW_G | NEST_SW2, 0x0460000000000703),
	/* 52 bits. */
	LEAF(0, NEST_FEAT_LPA2, 0xffffffffff000, RWX_G, 0x0043fffffffff703),
	LEAF(0, NEST_FEAT_LPA2, 0x8000000001000, RWX_G, 0x0040000000001603),
	/* Contiguous. */
	GROUP(0, NEST_FEAT_CONTIG, 0x11000, RWX_G, 0x0050000000011703, 0x11000),
	GROUP(2, NEST_FEAT_CONTIG, 0x40000000, RWX_G, 0x0050000040000701, 0x40000000),
};

static const struct leaf_row leaves_16k[] = {
	LEAF(0, 0, 0x4000, RWX_G, 0x0040000000004703),
	LEAF(1, 0, 0x2000000, RWX_G, 0x0040000002000701),
	LEAF(2, NEST_FEAT_LPA2, 0x1000000000, RWX_G, 0x0040001000000401),
	GROUP(0, NEST_FEAT_CONTIG, 0x200000, RWX_G, 0x0050000000200703, 0x200000),
};

static const struct leaf_row leaves_64k[] = {
	LEAF(0, 0, 0x10000, RWX_G, 0x0040000000010703),
	LEAF(1, 0, 0x20000000, RWX_G, 0x0040000020000701),
	LEAF(0, NEST_FEAT_LPA, 0xfffffffff0000, RWX_G, 0x0040fffffffff703),
	LEAF(2, NEST_FEAT_LPA, 0x8040000000000, RWX_G, 0x0040040000008701),
	GROUP(1, NEST_FEAT_CONTIG, 0x400000000, RWX_G, 0x0050000400000701, 0x400000000),
};

static void leaf_words_are_those_of_the_manual(void **state)
{
	(void)state;
	check_leaves(F4, leaves_4k, COUNT(leaves_4k));
	check_leaves(F16, leaves_16k, COUNT(leaves_16k));
	check_leaves(F64, leaves_64k, COUNT(leaves_64k));
}

static const struct refused_row refused[] = {
	/* No page without read. */
	REFUSED(0, 0, 0),
	REFUSED(0, 0, NEST_W),
	REFUSED(0, 0, NEST_X),
	REFUSED(0, 0, NEST_U | NEST_X),
	/* EL1 does not execute what EL0 may write to. */
	REFUSED(0, 0, NEST_U | NEST_RW | NEST_XU),
	REFUSED(0, 0, NEST_U | NEST_RWX | NEST_XU),
	REFUSED(0, NEST_FEAT_HW_AD, NEST_U | NEST_RW | NEST_DBM | NEST_XU),
	/* EL2 knows no EL0. */
	REFUSED(0, NEST_FEAT_EL2, NEST_RW | NEST_U),
	REFUSED(0, NEST_FEAT_EL2, NEST_RW | NEST_G),
	REFUSED(0, NEST_FEAT_EL2, NEST_RW | NEST_XU),
	REFUSED(0, 0, NEST_RW | NEST_DBM),
	REFUSED(0, NEST_FEAT_HW_AD, NEST_R | NEST_DBM),
	/* Features of the other stage. */
	REFUSED(0, NEST_FEAT_S2FWB, NEST_RW),
	REFUSED(0, NEST_FEAT_XNX, NEST_RW),
	REFUSED(3, 0, NEST_RW),
	REFUSED_PA(0, 0, 0x1000000000000, NEST_E_RANGE),
	/* Unknown bits. */
	{ __LINE__, 0, 0, 0, NEST_R | (nest_attr_t)1 << 31, NEST_E_INVAL },
	{ __LINE__, 0, 0, 0, NEST_R | NEST_MT_MASK, NEST_E_INVAL },
	{ __LINE__, 0, (uint32_t)1 << 31, 0, NEST_RW, NEST_E_INVAL },
};

static void what_hardware_or_features_lack_is_refused(void **state)
{
	(void)state;
	check_refused(F4, refused, COUNT(refused));
	check_refused(F16, refused, COUNT(refused));
	check_refused(F64, refused, COUNT(refused));
}

static void groups_need_the_feature_and_are_not_of_the_largest_blocks(void **state)
{
	static const struct {
		const struct nest_format *format;
		unsigned level;
		uint32_t features;
		nest_pa_t pa;
		int rc;
	} rows[] = {
		{ F4, 0, 0, 0, NEST_E_UNSUPPORTED },
		{ F4, 3, NEST_FEAT_CONTIG | NEST_FEAT_LPA2, 0, NEST_E_UNSUPPORTED },
		{ F4, 0, NEST_FEAT_CONTIG, 0x800, NEST_E_ALIGN },
		{ F4, 0, NEST_FEAT_CONTIG, 0x1000000000000, NEST_E_RANGE },
		{ F16, 0, 0, 0, NEST_E_UNSUPPORTED },
		{ F16, 2, NEST_FEAT_CONTIG | NEST_FEAT_LPA2, 0, NEST_E_UNSUPPORTED },
		{ F16, 0, NEST_FEAT_CONTIG, 0x1000, NEST_E_ALIGN },
		{ F16, 0, NEST_FEAT_CONTIG, 0x1000000000000, NEST_E_RANGE },
		{ F64, 0, 0, 0, NEST_E_UNSUPPORTED },
		{ F64, 2, NEST_FEAT_CONTIG | NEST_FEAT_LPA, 0, NEST_E_UNSUPPORTED },
		{ F64, 0, NEST_FEAT_CONTIG, 0x4000, NEST_E_ALIGN },
		{ F64, 0, NEST_FEAT_CONTIG, 0x1000000000000, NEST_E_RANGE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		nest_pte_t e = 0x5a5a;
		int rc = nest_pte_leaf_contiguous(rows[i].format, rows[i].level, rows[i].features,
						  rows[i].pa, RWX_G, &e);

		if (rc != rows[i].rc || e != 0x5a5a)
			fail_msg("row %zu: rc %d", i, rc);
	}
}

static const struct word_row words_4k[] = {
	NOTHING(0, 0, 0),
	TABLE(1, 0, 0x0000000040001003, 0x40001000),
	TABLE(1, 0, 0x1800000040001003,
	      0x40001000), /* APTable, UXNTable, PXNTable are no address */
	TABLE(4, NEST_FEAT_LPA2, 0x0003fffffffff303, 0xffffffffff000),
	MARK(0, 0, 0x0000000000001008, 1),
	RESERVED(0, 0, 0x0040000000000701),
	RESERVED(3, 0, 0x0040000000000701),
	RESERVED(4, NEST_FEAT_LPA2, 0x0040000000000401),
	RESERVED(1, 0, 0x0040000000001701),
	RESERVED(0, 0, 0x0040000000000303),
	/* Attributes 5 to 7, guarded pages, NS, PXN that hardware assumes anyway. */
	NAMELESS(0, 0, 0x0040000000001717, 0x1000),
	NAMELESS(0, 0, 0x004000000000171f, 0x1000),
	NAMELESS(0, 0, 0x0044000000001703, 0x1000),
	NAMELESS(0, 0, 0x0040000000001723, 0x1000),
	NAMELESS(0, 0, 0x0000000000001f43, 0x1000),
	NAMELESS(0, NEST_FEAT_EL2, 0x0020000000001743, 0x1000),
	NAMELESS(0, NEST_FEAT_EL2, 0x0000000000001703, 0x1000),
	NAMELESS(0, NEST_FEAT_EL2, 0x0000000000001f43, 0x1000),
};

static void other_words_decode_to_what_hardware_makes_of_them(void **state)
{
	(void)state;
	check_words(F4, words_4k, COUNT(words_4k));
}

static void tables_marks_and_absent_entries(void **state)
{
	nest_pte_t e = 1;

	(void)state;
	assert_int_equal(nest_pte_table(F4, 0, 0x40001000, &e), NEST_OK);
	assert_true(e == 0x0000000040001003);
	assert_int_equal(nest_pte_table(F16, 0, 0xffffffffc000, &e), NEST_OK);
	assert_true(e == 0x0000ffffffffc003);
	assert_int_equal(nest_pte_table(F64, 0, 0x40010000, &e), NEST_OK);
	assert_true(e == 0x0000000040010003);
	assert_int_equal(nest_pte_table(F4, 0, 0x800, &e), NEST_E_ALIGN);
	assert_int_equal(nest_pte_table(F16, 0, 0x1000, &e), NEST_E_ALIGN);
	assert_int_equal(nest_pte_table(F64, 0, 0x4000, &e), NEST_E_ALIGN);
	assert_int_equal(nest_pte_table(F4, 0, 0x1000000000000, &e), NEST_E_RANGE);
	assert_int_equal(nest_pte_mark(F4, 0, 0x123456789abc, &e), NEST_OK);
	assert_true(e == 0x0123456789abc008);
	assert_int_equal(nest_pte_mark(F64, 0, 1, &e), NEST_OK);
	assert_true(e == 0x0000000000001008);
	assert_int_equal(nest_pte_mark(F16, 0, 0x1000000000000, &e), NEST_E_RANGE);
	assert_int_equal(nest_pte_absent(F4, 0, 0, 0x40001000, &e), NEST_OK);
	assert_true(e == 0);
	e = 1;
	assert_int_equal(nest_pte_absent(F64, 2, NEST_FEAT_LPA, 0, &e), NEST_OK);
	assert_true(e == 0);
	assert_int_equal(nest_pte_absent(F4, 5, 0, 0, &e), NEST_E_UNSUPPORTED);
}

/* What attr.h promises, worked out again. */
static bool expect(uint32_t features, nest_attr_t attr, nest_attr_t *back)
{
	bool tracked = features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD);
	bool hw_d = features & NEST_FEAT_HW_D;

	if (!(attr & NEST_R))
		return false;
	if ((features & NEST_FEAT_EL2) && (attr & (NEST_U | NEST_XU | NEST_G)))
		return false;
	if ((attr & NEST_U) && (attr & NEST_W) && (attr & NEST_XU))
		return false;
	if ((attr & NEST_DBM) && (!hw_d || !(attr & NEST_W)))
		return false;
	if ((attr & NEST_MT_MASK) == NEST_MT_UC)
		*back = (attr & ~NEST_MT_MASK) | NEST_MT_DEVICE_STRICT;
	if (!tracked)
		*back &= ~NEST_ACCESSED;
	if (!hw_d || ((attr & NEST_W) && !(attr & NEST_DBM)))
		*back &= ~NEST_DIRTY;
	return true;
}

static void encode_and_decode_are_inverse(void **state)
{
	const uint32_t all = NEST_FEAT_HW_AD | NEST_FEAT_SW_AD | NEST_FEAT_EL2;

	(void)state;
	check_all_features(F4, all | NEST_FEAT_LPA2, expect);
	check_all_features(F16, all | NEST_FEAT_LPA2, expect);
	check_all_features(F64, all | NEST_FEAT_LPA, expect);
}

static void geometry_by_granule_and_feature(void **state)
{
	struct nest_format_info i;

	(void)state;
	assert_int_equal(nest_format_describe(F4, 0, &i), NEST_OK);
	assert_string_equal(i.name, "aarch64-s1-4k");
	assert_true(!i.stage2 && !i.sign_extended && !i.fresh_needs_flush && i.break_before_make);
	assert_int_equal(i.ia_min, 25);
	assert_int_equal(i.ia_max, 48);
	assert_int_equal(i.ia_default, 48);
	assert_int_equal(i.oa_default, 48);
	assert_int_equal(i.root_extra_bits, 0);
	assert_int_equal(i.leaf_levels, 7);
	assert_int_equal(nest_format_describe(F16, NEST_FEAT_LPA2, &i), NEST_OK);
	assert_string_equal(i.name, "aarch64-s1-16k");
	assert_int_equal(i.ia_max, 52);
	assert_int_equal(i.ia_default, 48);
	assert_int_equal(i.oa_default, 52);
	assert_int_equal(nest_format_describe(F64, NEST_FEAT_LPA, &i), NEST_OK);
	assert_string_equal(i.name, "aarch64-s1-64k");
	assert_int_equal(i.leaf_levels, 7);
}

/* As in stage 2; and nG, bit 11. */
static void changes_that_need_break_before_make(void **state)
{
	const nest_pte_t page = 0x0060000000000f03;

	(void)state;
	assert_false(F4->fmt->needs_break(0, 0, page, 0x0020000000000b83)); /* rights, AF */
	assert_true(F4->fmt->needs_break(0, 0, page, 0x0060000000000703));
	assert_true(F4->fmt->needs_break(0, 0, page, 0x0060000000000e0b));
	assert_true(F4->fmt->needs_break(0, 0, page, 0x0060000000001f03));
	assert_true(F4->fmt->needs_break(0, 1, 0x0060000000000f01, 0x0000000000001003));
	assert_false(F4->fmt->needs_break(NEST_FEAT_BBM2, 1, 0x0060000000000f01, 0x1003));
}

static void accessed_and_dirty_can_be_added(void **state)
{
	const uint32_t hw = NEST_FEAT_HW_AD;
	const nest_attr_t a = NEST_ACCESSED, d = NEST_DIRTY;

	(void)state;
	assert_true(F4->fmt->set_ad(hw, 0, 0x0068000000000383, a) == 0x0068000000000783);
	assert_true(F4->fmt->set_ad(hw, 0, 0x0068000000000783, d) == 0x0068000000000703);
	assert_true(F4->fmt->set_ad(hw, 0, 0x0060000000000703, d) == 0x0060000000000703);
	assert_true(F4->fmt->set_ad(hw, 0, 0x0060000000000783, d) == 0x00e0000000000783);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_words_are_those_of_the_manual),
		cmocka_unit_test(what_hardware_or_features_lack_is_refused),
		cmocka_unit_test(groups_need_the_feature_and_are_not_of_the_largest_blocks),
		cmocka_unit_test(other_words_decode_to_what_hardware_makes_of_them),
		cmocka_unit_test(tables_marks_and_absent_entries),
		cmocka_unit_test(encode_and_decode_are_inverse),
		cmocka_unit_test(geometry_by_granule_and_feature),
		cmocka_unit_test(changes_that_need_break_before_make),
		cmocka_unit_test(accessed_and_dirty_can_be_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
