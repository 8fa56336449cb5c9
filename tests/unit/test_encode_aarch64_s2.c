/* SPDX-License-Identifier: MIT */
/*
 * AArch64 stage-2 descriptors against words put together by hand from Arm ARM D8.3.2:
 *
 *   63  59 58 56 55 54 53 52     51  50 49          12 11 10 9  8 7  6    5     2 1   0
 *   |     | SW  |  | XN  |Contig|DBM|  |   address   |  |AF| SH  |W  R   | MemAttr|type|
 *
 *   0x003 page, 0x001 block        0x040 read   0x080 write   0x400 AF
 *   MemAttr: 0x3c WB 0x28 WT 0x14 NC 0x04 nGnRE 0x00 nGnRnE; with FWB 0x18 WB
 *   SH: 0x300 inner, 0x200 outer; with LPA2 OA[51:50]
 *   XN: bit 54 none, bit 53 EL0 only, both EL1 only
 */
#include "core/operate.h"
#include "encode.h"

#define F4  (&nest_fmt_aarch64_s2_4k)
#define F16 (&nest_fmt_aarch64_s2_16k)
#define F64 (&nest_fmt_aarch64_s2_64k)

static const struct leaf_row leaves_4k[] = {
	/* Levels. */
	LEAF(0, 0, 0x40001000, NEST_RWX, 0x00000000400017ff),
	LEAF(1, 0, 0x40200000, NEST_RWX, 0x00000000402007fd),
	LEAF(2, 0, 0x40000000, NEST_RWX, 0x00000000400007fd),
	LEAF(3, NEST_FEAT_LPA2, 0x8000000000, NEST_RWX, 0x00000080000004fd),
	LEAF(0, 0, 0, NEST_RWX, 0x00000000000007ff),
	LEAF(0, 0, 0xfffffffff000, NEST_RWX, 0x0000fffffffff7ff),
	/* Rights. */
	LEAF(0, 0, 0x1000, 0, 0x004000000000173f),
	LEAF(0, 0, 0x1000, NEST_R, 0x004000000000177f),
	LEAF(0, 0, 0x1000, NEST_W, 0x00400000000017bf),
	LEAF(0, 0, 0x1000, NEST_X, 0x000000000000173f),
	LEAF(0, 0, 0x1000, NEST_RW, 0x00400000000017ff),
	LEAF(0, 0, 0x1000, NEST_RX, 0x000000000000177f),
	LEAF(0, 0, 0x1000, NEST_W | NEST_X, 0x00000000000017bf),
	/* Execution by exception level. */
	LEAF(0, NEST_FEAT_XNX, 0x1000, NEST_RW, 0x00400000000017ff),
	LEAF(0, NEST_FEAT_XNX, 0x1000, NEST_RWX, 0x00600000000017ff),
	LEAF(0, NEST_FEAT_XNX, 0x1000, NEST_RW | NEST_XU, 0x00200000000017ff),
	LEAF(0, NEST_FEAT_XNX, 0x1000, NEST_RWX | NEST_XU, 0x00000000000017ff),
	/* Memory types. */
	LEAF(0, 0, 0, NEST_RW | NEST_MT_WT, 0x00400000000007eb),
	LEAF(0, 0, 0, NEST_RW | NEST_MT_WC, 0x00400000000006d7),
	LEAF(0, 0, 0, NEST_RW | NEST_MT_DEVICE, 0x00400000000006c7),
	LEAF(0, 0, 0, NEST_RW | NEST_MT_DEVICE_STRICT, 0x00400000000006c3),
	LEAF_AS(0, 0, 0, NEST_RW | NEST_MT_UC, 0x00400000000006c3, NEST_RW | NEST_MT_DEVICE_STRICT),
	LEAF(1, 0, 0x9000000, NEST_RW | NEST_MT_DEVICE, 0x00400000090006c5),
	LEAF(0, NEST_FEAT_S2FWB, 0, NEST_RWX, 0x00000000000007db),
	LEAF(0, NEST_FEAT_S2FWB, 0, NEST_RW | NEST_MT_WC, 0x00400000000006d7),
	LEAF(0, NEST_FEAT_S2FWB, 0, NEST_RW | NEST_MT_DEVICE, 0x00400000000006c7),
	LEAF(0, NEST_FEAT_S2FWB, 0, NEST_RW | NEST_MT_DEVICE_STRICT, 0x00400000000006c3),
	/* Accessed: nothing to track, by hardware, by software. */
	LEAF_AS(0, 0, 0, NEST_RWX | NEST_ACCESSED | NEST_DIRTY, 0x00000000000007ff, NEST_RWX),
	LEAF(0, NEST_FEAT_HW_A, 0, NEST_RWX, 0x00000000000003ff),
	LEAF(0, NEST_FEAT_HW_A, 0, NEST_RWX | NEST_ACCESSED, 0x00000000000007ff),
	LEAF(0, NEST_FEAT_SW_AD, 0, NEST_RWX, 0x00000000000003ff),
	LEAF(0, NEST_FEAT_SW_AD, 0, NEST_RWX | NEST_ACCESSED, 0x00000000000007ff),
	LEAF_AS(0, NEST_FEAT_SW_AD, 0, NEST_RWX | NEST_ACCESSED | NEST_DIRTY, 0x00000000000007ff,
		NEST_RWX | NEST_ACCESSED),
	/* Dirty: writable-clean, dirty, always writable, dirty but read-only now. */
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_RWX | NEST_DBM | NEST_ACCESSED, 0x000800000000077f),
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_RWX | NEST_DBM | NEST_DIRTY | NEST_ACCESSED,
	     0x00080000000007ff),
	LEAF_AS(0, NEST_FEAT_HW_AD, 0, NEST_RWX | NEST_DIRTY | NEST_ACCESSED, 0x00000000000007ff,
		NEST_RWX | NEST_ACCESSED),
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_RX | NEST_DIRTY | NEST_ACCESSED, 0x008000000000077f),
	LEAF(0, NEST_FEAT_HW_D, 0, NEST_RWX | NEST_DBM, 0x000800000000077f),
	/* Software bits. */
	LEAF(0, 0, 0, NEST_RWX | NEST_SW0, 0x01000000000007ff),
	LEAF(0, 0, 0, NEST_RWX | NEST_SW1, 0x02000000000007ff),
	LEAF(0, 0, 0, NEST_RWX | NEST_SW2, 0x04000000000007ff),
	/* 52 bits: OA[51:50] in 9:8. */
	LEAF(0, NEST_FEAT_LPA2, 0xffffffffff000, NEST_RWX, 0x0003fffffffff7ff),
	LEAF(0, NEST_FEAT_LPA2, 0x4000000000000, NEST_RWX, 0x00000000000005ff),
	LEAF(1, NEST_FEAT_LPA2, 0x8000000200000, NEST_RWX, 0x00000000002006fd),
	LEAF(0, NEST_FEAT_LPA2, 0x1000, NEST_RW | NEST_MT_DEVICE, 0x00400000000014c7),
	/* Contiguous: an entry tells its own address. */
	GROUP(0, NEST_FEAT_CONTIG, 0x11000, NEST_RWX, 0x00100000000117ff, 0x11000),
	GROUP(1, NEST_FEAT_CONTIG, 0x2000000, NEST_RWX, 0x00100000020007fd, 0x2000000),
	GROUP(2, NEST_FEAT_CONTIG, 0x40000000, NEST_RWX, 0x00100000400007fd, 0x40000000),
};

static const struct leaf_row leaves_16k[] = {
	LEAF(0, 0, 0x4000, NEST_RWX, 0x00000000000047ff),
	LEAF(1, 0, 0x2000000, NEST_RWX, 0x00000000020007fd),
	LEAF(2, NEST_FEAT_LPA2, 0x1000000000, NEST_RWX, 0x00000010000004fd),
	LEAF(0, NEST_FEAT_LPA2, 0xfffffffffc000, NEST_RWX, 0x0003ffffffffc7ff),
	LEAF(0, 0, 0xffffffffc000, NEST_R | NEST_MT_WC, 0x0040ffffffffc657),
	GROUP(0, NEST_FEAT_CONTIG, 0x200000, NEST_RWX, 0x00100000002007ff, 0x200000),
	GROUP(1, NEST_FEAT_CONTIG, 0x40000000, NEST_RWX, 0x00100000400007fd, 0x40000000),
};

static const struct leaf_row leaves_64k[] = {
	LEAF(0, 0, 0x10000, NEST_RWX, 0x00000000000107ff),
	LEAF(1, 0, 0x20000000, NEST_RWX, 0x00000000200007fd),
	LEAF(2, NEST_FEAT_LPA, 0x40000000000, NEST_RWX, 0x00000400000007fd),
	/* 52 bits: OA[51:48] in 15:12, and SH stays. */
	LEAF(0, NEST_FEAT_LPA, 0xfffffffff0000, NEST_RWX, 0x0000fffffffff7ff),
	LEAF(0, NEST_FEAT_LPA, 0x5000000000000, NEST_RWX, 0x00000000000057ff),
	LEAF(1, NEST_FEAT_LPA, 0x8000020000000, NEST_RW | NEST_MT_DEVICE, 0x00400000200086c5),
	GROUP(0, NEST_FEAT_CONTIG, 0x200000, NEST_RWX, 0x00100000002007ff, 0x200000),
	GROUP(1, NEST_FEAT_CONTIG, 0x400000000, NEST_RWX, 0x00100004000007fd, 0x400000000),
};

static void leaf_words_are_those_of_the_manual(void **state)
{
	(void)state;
	check_leaves(F4, leaves_4k, COUNT(leaves_4k));
	check_leaves(F16, leaves_16k, COUNT(leaves_16k));
	check_leaves(F64, leaves_64k, COUNT(leaves_64k));
}

static const struct refused_row refused[] = {
	REFUSED(0, 0, NEST_RW | NEST_XU),
	REFUSED(0, 0, NEST_RW | NEST_U),
	REFUSED(0, 0, NEST_RW | NEST_G),
	REFUSED(0, NEST_FEAT_S2FWB, NEST_RW | NEST_MT_WT),
	REFUSED(0, 0, NEST_RW | NEST_DBM),
	REFUSED(0, NEST_FEAT_HW_A, NEST_RW | NEST_DBM),
	REFUSED(0, NEST_FEAT_SW_AD, NEST_RW | NEST_DBM),
	REFUSED(0, NEST_FEAT_HW_AD, NEST_R | NEST_DBM),
	REFUSED(0, NEST_FEAT_HW_AD, NEST_R | NEST_DBM | NEST_DIRTY),
	REFUSED(5, 0, NEST_RW),
	/* Features of other formats. */
	REFUSED(0, NEST_FEAT_1G, NEST_RW),
	REFUSED(0, NEST_FEAT_EL2, NEST_RW),
	/* Unknown bits. */
	{ __LINE__, 0, 0, 0, (nest_attr_t)1 << 31, NEST_E_INVAL },
	{ __LINE__, 0, 0, 0, NEST_MT_MASK, NEST_E_INVAL },
	{ __LINE__, 0, (uint32_t)1 << 31, 0, NEST_RW, NEST_E_INVAL },
};

static const struct refused_row refused_4k[] = {
	REFUSED(3, 0, NEST_RW),
	REFUSED(4, NEST_FEAT_LPA2, NEST_RW),
	REFUSED(0, NEST_FEAT_LPA, NEST_RW),
	REFUSED_PA(0, 0, 0x800, NEST_E_ALIGN),
	REFUSED_PA(1, 0, 0x1000, NEST_E_ALIGN),
	REFUSED_PA(2, 0, 0x200000, NEST_E_ALIGN),
	REFUSED_PA(0, 0, 0x1000000000000, NEST_E_RANGE),
	REFUSED_PA(0, NEST_FEAT_LPA2, 0x10000000000000, NEST_E_RANGE),
};

static const struct refused_row refused_16k[] = {
	REFUSED(2, 0, NEST_RW),
	REFUSED(3, NEST_FEAT_LPA2, NEST_RW),
	REFUSED(0, NEST_FEAT_LPA, NEST_RW),
	REFUSED_PA(0, 0, 0x1000, NEST_E_ALIGN),
	REFUSED_PA(1, 0, 0x4000, NEST_E_ALIGN),
	REFUSED_PA(0, 0, 0x1000000000000, NEST_E_RANGE),
};

static const struct refused_row refused_64k[] = {
	REFUSED(2, 0, NEST_RW),
	REFUSED(3, NEST_FEAT_LPA, NEST_RW),
	REFUSED(0, NEST_FEAT_LPA2, NEST_RW),
	REFUSED_PA(0, 0, 0x4000, NEST_E_ALIGN),
	REFUSED_PA(1, 0, 0x10000, NEST_E_ALIGN),
	REFUSED_PA(0, 0, 0x1000000000000, NEST_E_RANGE),
	REFUSED_PA(0, NEST_FEAT_LPA, 0x10000000000000, NEST_E_RANGE),
};

static void what_hardware_or_features_lack_is_refused(void **state)
{
	nest_pte_t e = 0;

	(void)state;
	check_refused(F4, refused, COUNT(refused));
	check_refused(F16, refused, COUNT(refused));
	check_refused(F64, refused, COUNT(refused));
	check_refused(F4, refused_4k, COUNT(refused_4k));
	check_refused(F16, refused_16k, COUNT(refused_16k));
	check_refused(F64, refused_64k, COUNT(refused_64k));
	/* No groups without the feature, nor of the largest blocks. */
	assert_int_equal(nest_pte_leaf_contiguous(F4, 0, 0, 0, NEST_RW, &e), NEST_E_UNSUPPORTED);
	assert_int_equal(
		nest_pte_leaf_contiguous(F4, 3, NEST_FEAT_CONTIG | NEST_FEAT_LPA2, 0, NEST_RW, &e),
		NEST_E_UNSUPPORTED);
	assert_int_equal(
		nest_pte_leaf_contiguous(F16, 2, NEST_FEAT_CONTIG | NEST_FEAT_LPA2, 0, NEST_RW, &e),
		NEST_E_UNSUPPORTED);
	assert_int_equal(
		nest_pte_leaf_contiguous(F64, 2, NEST_FEAT_CONTIG | NEST_FEAT_LPA, 0, NEST_RW, &e),
		NEST_E_UNSUPPORTED);
}

static const struct word_row words_4k[] = {
	NOTHING(0, 0, 0),
	NOTHING(1, 0, 0),
	NOTHING(0, 0, 0x00000000400007fe), /* a page without its valid bit */
	TABLE(1, 0, 0x0000000040001003, 0x40001000),
	TABLE(3, 0, 0x0000fffffffff003, 0xfffffffff000),
	TABLE(1, 0, 0x0000000040001c03, 0x40001000), /* 11:10 are ignored */
	TABLE(3, NEST_FEAT_LPA2, 0x0003fffffffff303, 0xffffffffff000),
	MARK(0, 0, 0x0000000000001008, 1),
	MARK(2, 0, 0x0ffffffffffff008, 0xffffffffffff),
	/* Reserved: a block at level 0 and above the largest, address bits that are RES0. */
	RESERVED(0, 0, 0x00000000000007fd),
	RESERVED(3, 0, 0x00000000000007fd),
	RESERVED(1, 0, 0x00000000402017fd),
	RESERVED(1, 0, 0x00000000402107fd), /* nT without FEAT_BBM */
	RESERVED(2, 0, 0x00000000402007fd),
	RESERVED(0, 0, 0x00010000000007ff),
	RESERVED(1, 0, 0x0001000040001003),
	RESERVED(1, 0, 0x0000000040001203), /* a pointer with OA[51] without LPA2 */
	/* The access flag is clear, and nothing would set it. */
	RESERVED(0, 0, 0x00000000000003ff),
	/* Legal, but without a name: mixed cacheability, GRE, no XNX, other sharing, PBHA, nT. */
	NAMELESS(0, 0, 0x00000000000017f7, 0x1000),
	NAMELESS(0, 0, 0x00000000000017cf, 0x1000),
	NAMELESS(0, 0, 0x00200000000017ff, 0x1000),
	NAMELESS(0, 0, 0x00600000000017ff, 0x1000),
	NAMELESS(0, 0, 0x00000000000014ff, 0x1000),
	NAMELESS(0, 0, 0x00000000000016ff, 0x1000),
	NAMELESS(0, 0, 0x08000000000017ff, 0x1000),
	NAMELESS(0, 0, 0x00080000000017ff, 0x1000),
	NAMELESS(0, 0, 0x00800000000017ff, 0x1000),
	NAMELESS(1, NEST_FEAT_BBM2, 0x00000000402107fd, 0x40200000),
	NAMELESS(0, NEST_FEAT_S2FWB, 0x00000000000017ff, 0x1000), /* "as stage 1" */
	NAMELESS(0, NEST_FEAT_S2FWB, 0x00000000000017df, 0x1000),
	NAMELESS(0, NEST_FEAT_HW_AD, 0x00880000000017ff, 0x1000),
};

static const struct word_row words_16k[] = {
	TABLE(1, 0, 0x0000000040004003, 0x40004000),
	TABLE(3, NEST_FEAT_LPA2, 0x0003ffffffffc303, 0xfffffffffc000),
	RESERVED(1, 0, 0x0000000040001003),
	RESERVED(0, 0, 0x00000000000017ff),
	RESERVED(2, 0, 0x00000000000007fd),
	RESERVED(1, 0, 0x00000000000047fd),
};

static const struct word_row words_64k[] = {
	TABLE(1, 0, 0x0000000040010003, 0x40010000),
	TABLE(2, NEST_FEAT_LPA, 0x0000fffffffff003, 0xfffffffff0000),
	TABLE(1, 0, 0x0000000040010303, 0x40010000),
	RESERVED(1, 0, 0x0000000040018003),
	RESERVED(0, 0, 0x00000000000187ff),
	RESERVED(2, 0, 0x00000000000007fd),
	RESERVED(1, NEST_FEAT_LPA, 0x00010000200007fd),
};

static void other_words_decode_to_what_hardware_makes_of_them(void **state)
{
	(void)state;
	check_words(F4, words_4k, COUNT(words_4k));
	check_words(F16, words_16k, COUNT(words_16k));
	check_words(F64, words_64k, COUNT(words_64k));
}

static void tables_marks_and_absent_entries(void **state)
{
	nest_pte_t e = 0;

	(void)state;
	assert_int_equal(nest_pte_table(F4, 0, 0x40001000, &e), NEST_OK);
	assert_true(e == 0x0000000040001003);
	assert_int_equal(nest_pte_table(F16, 0, 0xffffffffc000, &e), NEST_OK);
	assert_true(e == 0x0000ffffffffc003);
	assert_int_equal(nest_pte_table(F64, 0, 0x40010000, &e), NEST_OK);
	assert_true(e == 0x0000000040010003);
	assert_int_equal(nest_pte_table(F64, 0, 0x1000, &e), NEST_E_ALIGN);
	assert_int_equal(nest_pte_table(F4, 0, 0x1000000000000, &e), NEST_E_RANGE);
	/* 52 bits: OA[51:50] in 9:8 with LPA2, OA[51:48] in 15:12 with LPA. */
	assert_int_equal(nest_pte_table(F4, NEST_FEAT_LPA2, 0xf000000001000, &e), NEST_OK);
	assert_true(e == 0x0003000000001303);
	assert_int_equal(nest_pte_table(F64, NEST_FEAT_LPA, 0xf000000010000, &e), NEST_OK);
	assert_true(e == 0x000000000001f003);
	assert_int_equal(nest_pte_table(F4, NEST_FEAT_LPA, 0, &e), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pte_table(F4, 0x80000000, 0, &e), NEST_E_INVAL);
	assert_int_equal(nest_pte_mark(F4, NEST_FEAT_LPA, 1, &e), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pte_mark(F4, 0x80000000, 1, &e), NEST_E_INVAL);
	assert_true(e == 0x000000000001f003);
	assert_int_equal(nest_pte_mark(F4, 0, 0x123456789abc, &e), NEST_OK);
	assert_true(e == 0x0123456789abc008);
	assert_int_equal(nest_pte_absent(F4, 2, 0, 0, &e), NEST_OK);
	assert_true(e == 0);
}

/* What attr.h promises, worked out again. */
static bool expect(uint32_t features, nest_attr_t attr, nest_attr_t *back)
{
	nest_attr_t mt = attr & NEST_MT_MASK;
	bool tracked = features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD);
	bool hw_d = features & NEST_FEAT_HW_D;

	if (attr & (NEST_U | NEST_G))
		return false;
	if ((attr & NEST_XU) && !(features & NEST_FEAT_XNX))
		return false;
	if (mt == NEST_MT_WT && (features & NEST_FEAT_S2FWB))
		return false;
	if ((attr & NEST_DBM) && (!hw_d || !(attr & NEST_W)))
		return false;
	if (mt == NEST_MT_UC)
		*back = (attr & ~NEST_MT_MASK) | NEST_MT_DEVICE_STRICT;
	if (!tracked)
		*back &= ~NEST_ACCESSED;
	if (!hw_d || ((attr & NEST_W) && !(attr & NEST_DBM)))
		*back &= ~NEST_DIRTY;
	return true;
}

static void encode_and_decode_are_inverse(void **state)
{
	const uint32_t all = NEST_FEAT_HW_AD | NEST_FEAT_SW_AD | NEST_FEAT_S2FWB | NEST_FEAT_XNX;

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
	assert_string_equal(i.name, "aarch64-s2-4k");
	assert_true(i.stage2 && !i.sign_extended && !i.fresh_needs_flush && i.break_before_make);
	assert_int_equal(i.page_shift, 12);
	assert_int_equal(i.index_bits, 9);
	assert_int_equal(i.ia_min, 32);
	assert_int_equal(i.ia_max, 48);
	assert_int_equal(i.ia_default, 40);
	assert_int_equal(i.oa_max, 48);
	assert_int_equal(i.oa_default, 48);
	assert_int_equal(i.root_extra_bits, 4);
	assert_int_equal(i.leaf_levels, 7);
	assert_int_equal(i.contig_shift[0], 0);
	assert_int_equal(nest_format_describe(F4, NEST_FEAT_LPA2 | NEST_FEAT_CONTIG, &i), NEST_OK);
	assert_int_equal(i.ia_max, 52);
	assert_int_equal(i.oa_max, 52);
	assert_int_equal(i.leaf_levels, 15);
	assert_int_equal(i.contig_shift[0], 4);
	assert_int_equal(i.contig_shift[1], 4);
	assert_int_equal(i.contig_shift[2], 4);
	assert_int_equal(i.contig_shift[3], 0);
	assert_int_equal(nest_format_describe(F16, NEST_FEAT_LPA2 | NEST_FEAT_CONTIG, &i), NEST_OK);
	assert_string_equal(i.name, "aarch64-s2-16k");
	assert_int_equal(i.page_shift, 14);
	assert_int_equal(i.index_bits, 11);
	assert_int_equal(i.leaf_levels, 7);
	assert_int_equal(i.contig_shift[0], 7);
	assert_int_equal(i.contig_shift[1], 5);
	assert_int_equal(i.contig_shift[2], 0);
	assert_int_equal(nest_format_describe(F64, NEST_FEAT_CONTIG | NEST_FEAT_BBM2, &i), NEST_OK);
	assert_string_equal(i.name, "aarch64-s2-64k");
	assert_true(i.break_before_make); /* for an address still */
	assert_int_equal(i.page_shift, 16);
	assert_int_equal(i.index_bits, 13);
	assert_int_equal(i.leaf_levels, 3);
	assert_int_equal(i.contig_shift[0], 5);
	assert_int_equal(i.contig_shift[1], 5);
	assert_int_equal(nest_format_describe(F64, NEST_FEAT_LPA, &i), NEST_OK);
	assert_int_equal(i.leaf_levels, 7);
}

/* Arm ARM D8.16.1. From a 2 MiB block of 0x40200000, read-write, write-back. */
static void changes_that_need_break_before_make(void **state)
{
	const nest_pte_t block = 0x00400000402007fd;
	static const struct {
		uint32_t features;
		nest_pte_t to;
		bool broken;
	} rows[] = {
		{ 0, 0x00400000402007fd, false },
		/* Rights, access flag, DBM, software's bits. */
		{ 0, 0x000000004020077d, false },
		{ 0, 0x00400000402003fd, false },
		{ 0, 0x07c80000402007fd, false },
		/* Address, memory type, shareability. */
		{ 0, 0x00400000404007fd, true },
		{ 0, 0x00400000402006d5, true },
		{ 0, 0x00400000402006fd, true },
		/* Size, and Contiguous. */
		{ 0, 0x0000000040201003, true },
		{ NEST_FEAT_BBM2, 0x0000000040201003, false },
		{ 0, 0x00500000402007fd, true },
		{ NEST_FEAT_BBM2, 0x00500000402007fd, false },
		{ NEST_FEAT_BBM2, 0x00400000404007fd, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (F4->fmt->needs_break(rows[i].features, 1, block, rows[i].to) !=
			    rows[i].broken ||
		    F4->fmt->needs_break(rows[i].features, 1, rows[i].to, block) != rows[i].broken)
			fail_msg("row %zu", i);
	}
	/* A pointer to another table. */
	assert_true(F4->fmt->needs_break(0, 1, 0x40001003, 0x40002003));
	assert_false(F4->fmt->needs_break(0, 1, 0x40001003, 0x40001003));
	/* OA[51:50] and OA[51:48]. */
	assert_true(F4->fmt->needs_break(NEST_FEAT_LPA2, 0, 0x4ff, 0x5ff));
	assert_true(F64->fmt->needs_break(NEST_FEAT_LPA, 0, 0x7ff, 0x17ff));
}

static void accessed_and_dirty_can_be_added(void **state)
{
	const uint32_t hw = NEST_FEAT_HW_AD;
	const nest_attr_t a = NEST_ACCESSED, d = NEST_DIRTY;

	(void)state;
	assert_true(F4->fmt->set_ad(hw, 0, 0x000800000000033f, a) == 0x000800000000073f);
	/* Writable-clean, always writable, read-only. */
	assert_true(F4->fmt->set_ad(hw, 0, 0x000800000000077f, d) == 0x00080000000007ff);
	assert_true(F4->fmt->set_ad(hw, 0, 0x00000000000007ff, d) == 0x00000000000007ff);
	assert_true(F4->fmt->set_ad(hw, 0, 0x000000000000077f, d) == 0x008000000000077f);
	assert_true(F4->fmt->set_ad(NEST_FEAT_SW_AD, 0, 0x37f, a | d) == 0x77f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_words_are_those_of_the_manual),
		cmocka_unit_test(what_hardware_or_features_lack_is_refused),
		cmocka_unit_test(other_words_decode_to_what_hardware_makes_of_them),
		cmocka_unit_test(tables_marks_and_absent_entries),
		cmocka_unit_test(encode_and_decode_are_inverse),
		cmocka_unit_test(geometry_by_granule_and_feature),
		cmocka_unit_test(changes_that_need_break_before_make),
		cmocka_unit_test(accessed_and_dirty_can_be_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
