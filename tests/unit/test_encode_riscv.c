/* SPDX-License-Identifier: MIT */
/*
 * RISC-V entries against words put together by hand from the privileged spec, 10.3.1 and 10.4.1:
 *
 *   63 62  61 60     54 53            10 9 8 7 6 5 4 3 2 1 0
 *   |N| PBMT | reserved|      PPN       |RSW|D|A|G|U|X|W|R|V|
 *
 *   0x01 V  0x02 R  0x04 W  0x08 X  0x10 U  0x20 G  0x40 A  0x80 D; the PPN is the address >> 2.
 */
#include "core/operate.h"
#include "encode.h"

#define FG (&nest_fmt_riscv_g)
#define FS (&nest_fmt_riscv_sv)

static const struct leaf_row leaves_g[] = {
	/* Levels. */
	LEAF(0, 0, 0x80001000, NEST_RWX, 0x00000000200004df),
	LEAF(1, 0, 0x80200000, NEST_RWX, 0x00000000200800df),
	LEAF(2, 0, 0x40000000, NEST_RWX, 0x00000000100000df),
	LEAF(3, 0, 0x8000000000, NEST_RWX, 0x00000020000000df),
	LEAF(4, 0, 0x1000000000000, NEST_RWX, 0x00004000000000df),
	LEAF(0, 0, 0, NEST_RWX, 0x00000000000000df),
	LEAF(0, 0, 0xfffffffffff000, NEST_RWX, 0x003ffffffffffcdf),
	/* Rights. */
	LEAF(0, 0, 0, NEST_R, 0x00000000000000d3),
	LEAF(0, 0, 0, NEST_RW, 0x00000000000000d7),
	LEAF(0, 0, 0, NEST_X, 0x00000000000000d9),
	LEAF(0, 0, 0, NEST_RX, 0x00000000000000db),
	/* Accessed and dirty: preset, or as they are where hardware or software keeps them. */
	LEAF_AS(0, 0, 0, NEST_RW | NEST_ACCESSED | NEST_DIRTY, 0x00000000000000d7, NEST_RW),
	LEAF(0, NEST_FEAT_SW_AD, 0, NEST_RWX, 0x000000000000001f),
	LEAF(0, NEST_FEAT_SW_AD, 0, NEST_RWX | NEST_ACCESSED, 0x000000000000005f),
	LEAF(0, NEST_FEAT_SW_AD, 0, NEST_RWX | NEST_DIRTY, 0x000000000000009f),
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_RWX | NEST_ACCESSED | NEST_DIRTY, 0x00000000000000df),
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_RWX, 0x000000000000001f),
	LEAF(0, NEST_FEAT_HW_A, 0, NEST_RWX, 0x000000000000009f),
	/* Software bits. */
	LEAF(0, 0, 0, NEST_RWX | NEST_SW0, 0x00000000000001df),
	LEAF(0, 0, 0, NEST_RWX | NEST_SW1, 0x00000000000002df),
	/* Svpbmt. */
	LEAF(0, NEST_FEAT_PBMT, 0, NEST_RWX, 0x00000000000000df),
	LEAF(0, NEST_FEAT_PBMT, 0, NEST_RW | NEST_MT_WC, 0x20000000000000d7),
	LEAF(0, NEST_FEAT_PBMT, 0, NEST_RW | NEST_MT_UC, 0x40000000000000d7),
	LEAF_AS(0, NEST_FEAT_PBMT, 0, NEST_RW | NEST_MT_DEVICE, 0x40000000000000d7,
		NEST_RW | NEST_MT_UC),
	LEAF_AS(0, NEST_FEAT_PBMT, 0, NEST_RW | NEST_MT_DEVICE_STRICT, 0x40000000000000d7,
		NEST_RW | NEST_MT_UC),
	LEAF(1, NEST_FEAT_PBMT, 0x80200000, NEST_RW | NEST_MT_UC, 0x40000000200800d7),
	/* Svnapot: 16 entries alike, that tell the group's address. */
	GROUP(0, NEST_FEAT_CONTIG, 0x80010000, NEST_RWX, 0x80000000200060df, 0x80010000),
	GROUP(0, NEST_FEAT_CONTIG, 0x80013000, NEST_RWX, 0x80000000200060df, 0x80010000),
	GROUP(0, NEST_FEAT_CONTIG, 0x8001f000, NEST_RWX, 0x80000000200060df, 0x80010000),
	GROUP(0, NEST_FEAT_CONTIG | NEST_FEAT_PBMT, 0, NEST_RW | NEST_MT_WC, 0xa0000000000020d7, 0),
};

static const struct leaf_row leaves_sv[] = {
	LEAF(0, 0, 0x80001000, NEST_RWX, 0x00000000200004cf),
	LEAF(1, 0, 0x80200000, NEST_RWX | NEST_G, 0x00000000200800ef),
	LEAF(2, 0, 0x40000000, NEST_RWX | NEST_U, 0x00000000100000df),
	LEAF(3, 0, 0x8000000000, NEST_RX | NEST_U | NEST_G, 0x00000020000000fb),
	LEAF(4, 0, 0x1000000000000, NEST_R, 0x00004000000000c3),
	LEAF(0, NEST_FEAT_HW_AD, 0, NEST_RW | NEST_ACCESSED, 0x0000000000000047),
	LEAF(0, NEST_FEAT_PBMT, 0, NEST_RW | NEST_MT_UC, 0x40000000000000c7),
	GROUP(0, NEST_FEAT_CONTIG, 0x80015000, NEST_RWX, 0x80000000200060cf, 0x80010000),
};

static void leaf_words_are_those_of_the_manual(void **state)
{
	(void)state;
	check_leaves(FG, leaves_g, COUNT(leaves_g));
	check_leaves(FS, leaves_sv, COUNT(leaves_sv));
}

static const struct refused_row refused[] = {
	REFUSED(0, 0, 0),
	REFUSED(0, 0, NEST_W),
	REFUSED(0, 0, NEST_W | NEST_X),
	REFUSED(0, 0, NEST_RW | NEST_XU),
	REFUSED(0, 0, NEST_RW | NEST_SW2),
	REFUSED(0, 0, NEST_RW | NEST_DBM),
	REFUSED(0, NEST_FEAT_HW_AD, NEST_RW | NEST_DBM),
	REFUSED(0, 0, NEST_RW | NEST_MT_WT),
	REFUSED(0, 0, NEST_RW | NEST_MT_WC),
	REFUSED(0, 0, NEST_RW | NEST_MT_UC),
	REFUSED(0, 0, NEST_RW | NEST_MT_DEVICE),
	REFUSED(0, 0, NEST_RW | NEST_MT_DEVICE_STRICT),
	REFUSED(0, NEST_FEAT_PBMT, NEST_RW | NEST_MT_WT),
	REFUSED(5, 0, NEST_RW),
	REFUSED(0, NEST_FEAT_1G, NEST_RW),
	REFUSED_PA(0, 0, 0x800, NEST_E_ALIGN),
	REFUSED_PA(1, 0, 0x1000, NEST_E_ALIGN),
	REFUSED_PA(4, 0, 0x8000000000, NEST_E_ALIGN),
	REFUSED_PA(0, 0, 0x100000000000000, NEST_E_RANGE),
	/* Unknown bits. */
	{ __LINE__, 0, 0, 0, NEST_R | (nest_attr_t)1 << 31, NEST_E_INVAL },
	{ __LINE__, 0, (uint32_t)1 << 31, 0, NEST_RW, NEST_E_INVAL },
};

static const struct refused_row refused_g[] = {
	REFUSED(0, 0, NEST_RW | NEST_U),
	REFUSED(0, 0, NEST_RW | NEST_G),
};

static void what_hardware_or_features_lack_is_refused(void **state)
{
	nest_pte_t e = 0;

	(void)state;
	check_refused(FG, refused, COUNT(refused));
	check_refused(FS, refused, COUNT(refused));
	check_refused(FG, refused_g, COUNT(refused_g));
	assert_int_equal(nest_pte_leaf_contiguous(FG, 0, 0, 0, NEST_RW, &e), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pte_leaf_contiguous(FG, 1, NEST_FEAT_CONTIG, 0, NEST_RW, &e),
			 NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pte_leaf_contiguous(FS, 0, 0, 0, NEST_RW, &e), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pte_leaf_contiguous(FS, 1, NEST_FEAT_CONTIG, 0, NEST_RW, &e),
			 NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pte_leaf_contiguous(FS, 0, NEST_FEAT_CONTIG, 0x800, NEST_RW, &e),
			 NEST_E_ALIGN);
	assert_true(e == 0);
}

static const struct word_row words[] = {
	NOTHING(0, 0, 0),
	NOTHING(3, 0, 0),
	NOTHING(0, 0, 0x00000000200004de), /* without V */
	TABLE(1, 0, 0x0000000020000401, 0x80001000),
	TABLE(4, 0, 0x003ffffffffffc01, 0xfffffffffff000),
	TABLE(1, 0, 0x0000000020000701, 0x80001000), /* RSW is software's in a pointer too */
	MARK(0, 0, 0x0000000000001008, 1),
	MARK(4, 0, 0x0ffffffffffff008, 0xffffffffffff),
	/* W without R. */
	RESERVED(0, 0, 0x00000000000000d5),
	RESERVED(0, 0, 0x00000000000000dd),
	RESERVED(1, 0, 0x0000000000000005),
	/* A pointer at level 0, and with A, D, U, PBMT, N. */
	RESERVED(0, 0, 0x0000000020000401),
	RESERVED(1, 0, 0x0000000020000441),
	RESERVED(1, 0, 0x0000000020000481),
	RESERVED(1, 0, 0x0000000020000411),
	RESERVED(1, NEST_FEAT_PBMT, 0x2000000020000401),
	RESERVED(1, NEST_FEAT_CONTIG, 0x8000000020000401),
	/* Reserved bits, each end of them, in a leaf and a pointer. */
	RESERVED(0, 0, 0x00400000000000df),
	RESERVED(0, 0, 0x10000000000000df),
	RESERVED(1, 0, 0x0040000020000401),
	/* Large pages that are not aligned. */
	RESERVED(1, 0, 0x00000000200004df),
	RESERVED(1, 0, 0x00000000200400df),
	RESERVED(2, 0, 0x00000000200800df),
	RESERVED(4, 0, 0x00000020000000df),
	/* PBMT without Svpbmt, and its value 3. */
	RESERVED(0, 0, 0x20000000000000df),
	RESERVED(0, 0, 0x40000000000000df),
	RESERVED(0, NEST_FEAT_PBMT, 0x60000000000000df),
	/* N without Svnapot, above level 0, and with other sizes than 64 KiB. */
	RESERVED(0, 0, 0x80000000200060df),
	RESERVED(1, NEST_FEAT_CONTIG, 0x80000000200800df),
	RESERVED(0, NEST_FEAT_CONTIG, 0x80000000200040df),
	RESERVED(0, NEST_FEAT_CONTIG, 0x80000000200064df),
	/* A clear, and nobody sets it. */
	RESERVED(0, 0, 0x000000000000009f),
};

static const struct word_row words_g[] = {
	RESERVED(0, 0, 0x00000000000000cf), /* U clear: no access is user's */
	/* D clear, and nobody sets it: no right to write. */
	READS(0, 0, 0x000000000000005f, NEST_RX),
	READS(0, NEST_FEAT_HW_A, 0x000000000000005f, NEST_RX | NEST_ACCESSED),
	NAMELESS(0, 0, 0x00000000200004ff, 0x80001000), /* G */
};

static const struct word_row words_sv[] = {
	READS(0, 0, 0x00000000000000ff, NEST_RWX | NEST_U | NEST_G),
	READS(0, 0, 0x000000000000004f, NEST_RX),
	READS(0, NEST_FEAT_HW_A, 0x000000000000000f, NEST_RX),
	TABLE(1, 0, 0x0000000020000421, 0x80001000), /* a global pointer */
};

static void other_words_decode_to_what_hardware_makes_of_them(void **state)
{
	(void)state;
	check_words(FG, words, COUNT(words));
	check_words(FS, words, COUNT(words));
	check_words(FG, words_g, COUNT(words_g));
	check_words(FS, words_sv, COUNT(words_sv));
}

static void tables_marks_and_absent_entries(void **state)
{
	nest_pte_t e = 1;

	(void)state;
	assert_int_equal(nest_pte_table(FG, 0, 0x80001000, &e), NEST_OK);
	assert_true(e == 0x0000000020000401);
	assert_int_equal(nest_pte_table(FS, 0, 0xfffffffffff000, &e), NEST_OK);
	assert_true(e == 0x003ffffffffffc01);
	assert_int_equal(nest_pte_table(FG, 0, 0x800, &e), NEST_E_ALIGN);
	assert_int_equal(nest_pte_table(FG, 0, 0x100000000000000, &e), NEST_E_RANGE);
	assert_int_equal(nest_pte_mark(FG, 0, 0x123456789abc, &e), NEST_OK);
	assert_true(e == 0x0123456789abc008);
	assert_int_equal(nest_pte_absent(FG, 4, 0, 0, &e), NEST_OK);
	assert_true(e == 0);
	assert_int_equal(nest_pte_mark(FS, 0, 0xffffffffffff, &e), NEST_OK);
	assert_true(e == 0x0ffffffffffff008);
	assert_int_equal(nest_pte_mark(FS, 0, 0x1000000000000, &e), NEST_E_RANGE);
	assert_int_equal(nest_pte_absent(FS, 1, 0, 0x80001000, &e), NEST_OK);
	assert_true(e == 0);
	assert_int_equal(nest_pte_absent(FS, 5, 0, 0, &e), NEST_E_UNSUPPORTED);
}

/* What attr.h promises, worked out again. */
static bool expect_both(uint32_t features, nest_attr_t attr, nest_attr_t *back)
{
	nest_attr_t mt = attr & NEST_MT_MASK;
	bool a = features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD);
	bool d = features & (NEST_FEAT_HW_D | NEST_FEAT_SW_AD);

	if (attr & (NEST_XU | NEST_DBM | NEST_SW2))
		return false;
	if (!(attr & (NEST_R | NEST_X)) || ((attr & NEST_W) && !(attr & NEST_R)))
		return false;
	if (mt == NEST_MT_WT || (mt != NEST_MT_WB && !(features & NEST_FEAT_PBMT)))
		return false;
	if (mt == NEST_MT_DEVICE || mt == NEST_MT_DEVICE_STRICT)
		*back = (attr & ~NEST_MT_MASK) | NEST_MT_UC;
	if (!a)
		*back &= ~NEST_ACCESSED;
	if (!d)
		*back &= ~NEST_DIRTY;
	return true;
}

static bool expect_g(uint32_t features, nest_attr_t attr, nest_attr_t *back)
{
	return !(attr & (NEST_U | NEST_G)) && expect_both(features, attr, back);
}

/* Svadu is one switch for accessed and dirty (privileged spec 12.5, menvcfg.ADUE). */
static void no_hart_sets_dirty_without_accessed(void **state)
{
	const struct nest_format *const formats[] = { FG, FS };
	struct nest_format_info i;
	nest_pte_t e = 0x5a;

	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		const uint32_t d = NEST_FEAT_HW_D;

		assert_int_equal(nest_format_describe(formats[n], d, &i), NEST_E_UNSUPPORTED);
		assert_int_equal(nest_pte_leaf(formats[n], 0, d, 0, NEST_RWX, &e),
				 NEST_E_UNSUPPORTED);
		assert_int_equal(nest_pte_mark(formats[n], d | NEST_FEAT_SW_AD, 1, &e),
				 NEST_E_UNSUPPORTED);
		assert_true(e == 0x5a);
		assert_int_equal(nest_format_describe(formats[n], NEST_FEAT_HW_AD, &i), NEST_OK);
		assert_int_equal(nest_format_describe(formats[n], NEST_FEAT_HW_A, &i), NEST_OK);
	}
}

static void encode_and_decode_are_inverse(void **state)
{
	const uint32_t all = NEST_FEAT_HW_AD | NEST_FEAT_SW_AD | NEST_FEAT_PBMT | NEST_FEAT_CONTIG;

	(void)state;
	check_all_features(FG, all, expect_g);
	check_all_features(FS, all, expect_both);
}

static void geometry_and_flushing(void **state)
{
	struct nest_format_info i;

	(void)state;
	assert_int_equal(nest_format_describe(FG, NEST_FEAT_CONTIG, &i), NEST_OK);
	assert_string_equal(i.name, "riscv-g");
	assert_true(i.stage2 && !i.sign_extended && i.fresh_needs_flush && !i.break_before_make);
	assert_int_equal(i.ia_min, 41);
	assert_int_equal(i.ia_max, 59);
	assert_int_equal(i.ia_default, 50);
	assert_int_equal(i.oa_max, 56);
	assert_int_equal(i.root_extra_bits, 2);
	assert_int_equal(i.leaf_levels, 31);
	assert_int_equal(i.contig_shift[0], 4);
	assert_int_equal(i.contig_shift[1], 0);
	assert_int_equal(nest_format_describe(FS, NEST_FEAT_SVVPTC, &i), NEST_OK);
	assert_string_equal(i.name, "riscv-sv");
	assert_true(!i.stage2 && i.sign_extended && !i.fresh_needs_flush);
	assert_int_equal(i.ia_min, 39);
	assert_int_equal(i.ia_max, 57);
	assert_int_equal(i.ia_default, 48);
	assert_int_equal(i.root_extra_bits, 0);
	assert_int_equal(i.contig_shift[0], 0);
}

static void no_change_needs_break_and_status_can_be_added(void **state)
{
	const nest_attr_t a = NEST_ACCESSED, d = NEST_DIRTY;

	(void)state;
	assert_false(nest_needs_break(FG->fmt, 0, 1, 0x200800df, 0x20000401));
	assert_true(FG->fmt->set_ad(NEST_FEAT_SW_AD, 0, 0x1f, a) == 0x5f);
	assert_true(FG->fmt->set_ad(NEST_FEAT_SW_AD, 0, 0x1f, d) == 0x9f);
	assert_true(FG->fmt->set_ad(NEST_FEAT_SW_AD, 0, 0x1f, a | d) == 0xdf);
	/* An entry of a group on its own again: the 16 pages at 0x80010000. */
	assert_true(FG->fmt->uncontig(0, 0x80000000200060df, 0) == 0x00000000200040df);
	assert_true(FG->fmt->uncontig(0, 0x80000000200060df, 15) == 0x0000000020007cdf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_words_are_those_of_the_manual),
		cmocka_unit_test(what_hardware_or_features_lack_is_refused),
		cmocka_unit_test(other_words_decode_to_what_hardware_makes_of_them),
		cmocka_unit_test(tables_marks_and_absent_entries),
		cmocka_unit_test(no_hart_sets_dirty_without_accessed),
		cmocka_unit_test(encode_and_decode_are_inverse),
		cmocka_unit_test(geometry_and_flushing),
		cmocka_unit_test(no_change_needs_break_and_status_can_be_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
