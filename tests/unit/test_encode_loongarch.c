/* SPDX-License-Identifier: MIT */
/*
 * LoongArch entries against words written from the manual, vol. 1, 5.4.5: V 0, D 1, PLV 3:2,
 * MAT 5:4 (SUC 0, CC 1, WUC 2), G 6 or (directory) H 6, P 7, W 8, software 11:9, G of a huge entry
 * 12, address 47:12, NR 61, NX 62, RPLV 63. The second level uses the same entries.
 */
#include "core/operate.h"
#include "entries.h"

#define S1_4K  (&nest_fmt_loongarch_s1_4k)
#define S1_16K (&nest_fmt_loongarch_s1_16k)
#define S2_4K  (&nest_fmt_loongarch_s2_4k)
#define S2_16K (&nest_fmt_loongarch_s2_16k)
#define SW     NEST_FEAT_SW_AD
#define HW     NEST_FEAT_HW_AD
#define PTW    NEST_FEAT_PTW
#define SW_ALL (NEST_SW0 | NEST_SW1 | NEST_SW2)

static const struct nest_format *const all[] = {
	&nest_fmt_loongarch_s1_4k,
	&nest_fmt_loongarch_s1_16k,
	&nest_fmt_loongarch_s2_4k,
	&nest_fmt_loongarch_s2_16k,
};

static void leaves_have_the_manuals_words(void **state)
{
	static const struct leaf_case cases[] = {
		/* addresses */
		LEAF(0, 0, 0x12344000, NEST_RWX, 0x12344193),
		LEAF(1, 0, 0x42000000, NEST_RWX, 0x420001d3),
		LEAF(0, 0, 0xffffffffc000, NEST_RWX, 0xffffffffc193),
		LEAF(1, 0, 0xfffffe000000, NEST_RWX, 0xfffffe0001d3),
		/* rights: NR and NX forbid, so all but none exist */
		LEAF(0, 0, 0, NEST_R, 0x4000000000000091),
		LEAF(0, 0, 0, NEST_W, 0x6000000000000193),
		LEAF(0, 0, 0, NEST_X, 0x2000000000000091),
		LEAF(0, 0, 0, NEST_RW, 0x4000000000000193),
		LEAF(0, 0, 0, NEST_RX, 0x0000000000000091),
		LEAF(0, 0, 0, NEST_W | NEST_X, 0x2000000000000193),
		LEAF(1, 0, 0, NEST_R, 0x40000000000000d1),
		/* memory types */
		LEAF(0, 0, 0, NEST_RWX | NEST_MT_WC, 0x1a3),
		LEAF(0, 0, 0, NEST_RWX | NEST_MT_UC, 0x183),
		LEAF(1, 0, 0, NEST_RWX | NEST_MT_WC, 0x1e3),
		LEAF(1, 0, 0, NEST_RWX | NEST_MT_UC, 0x1c3),
		ALIAS(0, 0, 0, NEST_RWX | NEST_MT_DEVICE, 0x183, NEST_RWX | NEST_MT_UC),
		ALIAS(0, 0, 0, NEST_RWX | NEST_MT_DEVICE_STRICT, 0x183, NEST_RWX | NEST_MT_UC),
		/* software bits */
		LEAF(0, 0, 0, NEST_RWX | NEST_SW0, 0x393),
		LEAF(0, 0, 0, NEST_RWX | NEST_SW1, 0x593),
		LEAF(0, 0, 0, NEST_RWX | NEST_SW2, 0x993),
		LEAF(1, 0, 0, NEST_RWX | SW_ALL, 0xfd3),
		/* accessed and dirty untracked: preset, and not reported */
		ALIAS(0, 0, 0, NEST_RWX | NEST_ACCESSED | NEST_DIRTY, 0x193, NEST_RWX),
		ALIAS(0, 0, 0, NEST_RX | NEST_DIRTY, 0x91, NEST_RX),
		LEAF(0, PTW, 0, NEST_RWX, 0x193),
		/* tracked: V is accessed, D is dirty */
		LEAF(0, SW, 0, NEST_RWX, 0x190),
		LEAF(0, SW, 0, NEST_RWX | NEST_ACCESSED, 0x191),
		LEAF(0, SW, 0, NEST_RWX | NEST_DIRTY, 0x192),
		LEAF(0, SW, 0, NEST_RWX | NEST_ACCESSED | NEST_DIRTY, 0x193),
		LEAF(0, HW | PTW, 0, NEST_R, 0x4000000000000090),
		LEAF(1, HW | PTW, 0, NEST_RWX | NEST_ACCESSED, 0x1d1),
		LEAF(0, NEST_FEAT_HW_A, 0, NEST_RWX, 0x192),
	};
	static const struct leaf_case small[] = {
		LEAF(0, 0, 0x12345000, NEST_RWX, 0x12345193),
		LEAF(1, 0, 0x40200000, NEST_RWX, 0x402001d3),
		LEAF(2, 0, 0x8040000000, NEST_RWX, 0x80400001d3),
		LEAF(2, 0, 0xffffc0000000, NEST_RX, 0xffffc00000d1),
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++)
		check_leaves(all[i], cases, LENGTH(cases));
	check_leaves(S1_4K, small, LENGTH(small));
	check_leaves(S2_4K, small, LENGTH(small));
}

static void the_first_stage_has_user_and_global_pages(void **state)
{
	static const struct leaf_case cases[] = {
		LEAF(0, 0, 0, NEST_RWX | NEST_U, 0x19f),
		LEAF(0, 0, 0, NEST_RWX | NEST_G, 0x1d3),
		LEAF(0, 0, 0, NEST_RX | NEST_U | NEST_G, 0xdd),
		/* G moves to bit 12 in a huge entry and is not address there */
		LEAF(1, 0, 0x42000000, NEST_RWX | NEST_G, 0x420011d3),
		LEAF(1, 0, 0x42000000, NEST_RWX | NEST_U | NEST_G, 0x420011df),
	};

	(void)state;
	check_leaves(S1_4K, cases, LENGTH(cases));
	check_leaves(S1_16K, cases, LENGTH(cases));
}

static void what_the_format_has_not_is_refused(void **state)
{
	static const struct refused_case cases[] = {
		REFUSED(0, 0, 0, 0, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_ACCESSED | NEST_DIRTY, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_RW | NEST_MT_WT, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_RX | NEST_XU, UNSUPPORTED),
		REFUSED(0, HW | PTW, 0, NEST_RW | NEST_DBM, UNSUPPORTED),
		/* D would be a right to write */
		REFUSED(0, SW, 0, NEST_RX | NEST_DIRTY, UNSUPPORTED),
		REFUSED(0, HW | PTW, 0, NEST_RX | NEST_DIRTY, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_1G, 0, NEST_R, UNSUPPORTED),
		REFUSED(3, 0, 0, NEST_R, UNSUPPORTED),
		REFUSED(4, 0, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_R | 6u << 8, INVAL),
		REFUSED(0, 0, 0, NEST_R | 1u << 31, INVAL),
		REFUSED(0, 1u << 31, 0, NEST_R, INVAL),
		REFUSED(0, 0, 0x800, NEST_R, ALIGN),
		REFUSED(1, 0, 0x4000, NEST_R, ALIGN),
		REFUSED(0, 0, 0x1000000000000, NEST_R, RANGE),
		REFUSED(1, 0, 0x1000000000000, NEST_R, RANGE),
	};
	static const struct refused_case large[] = {
		REFUSED(2, 0, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, 0, 0x1000, NEST_R, ALIGN),
		REFUSED(1, 0, 0x200000, NEST_R, ALIGN),
	};
	static const struct refused_case second[] = {
		REFUSED(0, 0, 0, NEST_R | NEST_U, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_R | NEST_G, UNSUPPORTED),
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++)
		check_refused(all[i], cases, LENGTH(cases));
	check_refused(S1_16K, large, LENGTH(large));
	check_refused(S2_16K, large, LENGTH(large));
	check_refused(S2_4K, second, LENGTH(second));
	check_refused(S2_16K, second, LENGTH(second));
}

static void a_pointer_is_the_bare_address(void **state)
{
	static const struct word_case cases[] = {
		/* no word of a directory is nothing: 0 is the table at address 0 */
		WORD(1, 0, 0, TABLE, 0, 0),
		WORD(3, 0, 0xffffffffc000, TABLE, 0xffffffffc000, 0),
		WORD(1, 0, 0x8001, RESERVED, 0, 0),
		WORD(1, 0, 0x8800, RESERVED, 0, 0),
		WORD(2, 0, 0x1000000008000, RESERVED, 0, 0),
		WORD(2, 0, 0x8000000000008000, RESERVED, 0, 0),
		WORD(1, 0, 0x1234008, RESERVED, 0, 0), /* a mark stands at level 0 only */
	};
	static const struct word_case large[] = {
		WORD(1, 0, 0x9000, RESERVED, 0, 0),
		WORD(2, 0, 0xa000, RESERVED, 0, 0),
	};
	nest_pte_t e = 1;

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++) {
		check_words(all[i], cases, LENGTH(cases));
		check_table(all[i], 4, 0, 0x8000, 0x8000);
		check_table(all[i], 4, PTW, 0xffffffffc000, 0xffffffffc000);
		CHECK_RC(nest_pte_table(all[i], 0, 0x1000000000000, &e), NEST_E_RANGE);
	}
	check_words(S1_16K, large, LENGTH(large));
	check_words(S2_16K, large, LENGTH(large));
	CHECK_RC(nest_pte_table(S2_16K, 0, 0x1000, &e), NEST_E_ALIGN);
	CHECK_OK(nest_pte_table(S2_4K, 0, 0x1000, &e));
	CHECK_EQ(e, 0x1000);
}

static void an_empty_directory_entry_points_to_an_empty_table(void **state)
{
	nest_pte_t e = 1;

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++) {
		CHECK_OK(nest_pte_absent(all[i], 0, 0, 0x8000, &e));
		CHECK_EQ(e, 0);
		for (unsigned level = 1; level < 4; level++) {
			CHECK_OK(nest_pte_absent(all[i], level, 0, 0x8000, &e));
			CHECK_EQ(e, 0x8000);
		}
		CHECK_RC(nest_pte_absent(all[i], 4, 0, 0x8000, &e), NEST_E_UNSUPPORTED);
		CHECK_RC(nest_pte_absent(all[i], 1, 0, 0x8008, &e), NEST_E_ALIGN);
		CHECK_RC(nest_pte_absent(all[i], 1, 0, 0x1000000000000, &e), NEST_E_RANGE);
	}
	CHECK_RC(nest_pte_absent(S1_16K, 1, 0, 0x1000, &e), NEST_E_ALIGN);
}

static void marks_are_invalid_pages(void **state)
{
	static const struct word_case cases[] = {
		WORD(0, 0, 0, NONE, 0, 0), WORD(0, PTW | HW, 0x1234008, MARK, 0x1234, 0),
		WORD(0, 0, 0x1234010, NONE, 0, 0),
		WORD(0, 0, 0xffffffffffffff7e, NONE, 0, 0), /* neither P nor V */
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++) {
		check_words(all[i], cases, LENGTH(cases));
		check_mark(all[i], 0, 0, 0x8);
		check_mark(all[i], 0, 0xffffffffffff, 0x0ffffffffffff008);
	}
}

/* The hardware walker, PWCH bit 24, is one switch for V and D. */
static void no_walker_sets_dirty_without_accessed(void **state)
{
	struct nest_format_info info;

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++) {
		CHECK_RC(nest_format_describe(all[i], PTW | NEST_FEAT_HW_D, &info),
			 NEST_E_UNSUPPORTED);
		CHECK_OK(nest_format_describe(all[i], PTW | HW, &info));
	}
}

static void leaves_that_hardware_refuses_are_reserved(void **state)
{
	static const struct word_case cases[] = {
		WORD(0, 0, 0x1b3, RESERVED, 0, 0), /* MAT 3 */
		WORD(1, 0, 0x1f3, RESERVED, 0, 0),
		WORD(0, 0, 0x190, RESERVED, 0, 0),   /* V clear, not tracked */
		WORD(0, PTW, 0x113, RESERVED, 0, 0), /* P clear */
		WORD(1, PTW | HW, 0x153, RESERVED, 0, 0),
		WORD(1, SW, 0x40, RESERVED, 0, 0),           /* neither P nor V */
		WORD(0, 0, 0x1000000000193, RESERVED, 0, 0), /* address above 47 */
		WORD(0, 0, 0x1000000000000193, RESERVED, 0, 0),
		WORD(1, 0, 0x420021d3, RESERVED, 0, 0), /* bits 14:13 */
		WORD(1, 0, 0x420041d3, RESERVED, 0, 0),
		WORD(3, 0, 0x1d3, RESERVED, 0, 0), /* no page so large */
	};
	static const struct word_case large[] = {
		WORD(0, 0, 0x12345193, RESERVED, 0, 0),
		WORD(0, 0, 0x12346193, RESERVED, 0, 0),
		WORD(1, 0, 0x430001d3, RESERVED, 0, 0),
		WORD(2, 0, 0x1d3, RESERVED, 0, 0),
	};
	static const struct word_case small[] = {
		WORD(1, 0, 0x403001d3, RESERVED, 0, 0),
		WORD(2, 0, 0x600001d3, RESERVED, 0, 0),
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++)
		check_words(all[i], cases, LENGTH(cases));
	check_words(S1_16K, large, LENGTH(large));
	check_words(S2_16K, large, LENGTH(large));
	check_words(S1_4K, small, LENGTH(small));
	check_words(S2_4K, small, LENGTH(small));
}

static void what_attributes_cannot_say_has_no_name(void **state)
{
	static const struct word_case cases[] = {
		WORD(0, 0, 0x8000000012344193, LEAF, 0x12344000, 0), /* RPLV */
		WORD(0, 0, 0x12344197, LEAF, 0x12344000, 0),         /* PLV 1 */
		WORD(0, 0, 0x1234419b, LEAF, 0x12344000, 0),         /* PLV 2 */
		WORD(0, 0, 0x12344191, LEAF, 0x12344000, 0),         /* W without D, not tracked */
		WORD(0, 0, 0x12344093, LEAF, 0x12344000, 0),         /* D without W */
		WORD(0, SW, 0x12344093, LEAF, 0x12344000, 0),
		WORD(0, 0, 0x12344113, LEAF, 0x12344000, 0), /* V without P, software refill */
		WORD(0, 0, 0x6000000012344091, LEAF, 0x12344000, 0), /* no right */
		WORD(1, 0, 0x80000000420001d3, LEAF, 0x42000000, 0),
	};
	static const struct word_case second[] = {
		WORD(0, 0, 0x1234419f, LEAF, 0x12344000, 0),
		WORD(0, 0, 0x123441d3, LEAF, 0x12344000, 0),
		WORD(1, 0, 0x420011d3, LEAF, 0x42000000, 0),
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++)
		check_nameless(all[i], cases, LENGTH(cases));
	check_nameless(S2_4K, second, LENGTH(second));
	check_nameless(S2_16K, second, LENGTH(second));
}

static int expect_first(uint32_t features, nest_attr_t attr, nest_attr_t *reads)
{
	bool a = features & (SW | NEST_FEAT_HW_A), d = features & (SW | NEST_FEAT_HW_D);

	*reads = devices_are_uc(attr) & ~((a ? 0 : NEST_ACCESSED) | (d ? 0 : NEST_DIRTY));
	if (!(attr & NEST_RWX) || (attr & (NEST_XU | NEST_DBM)) ||
	    (attr & NEST_MT_MASK) == NEST_MT_WT || (d && (attr & NEST_DIRTY) && !(attr & NEST_W)))
		return NEST_E_UNSUPPORTED;
	return NEST_OK;
}

static int expect_second(uint32_t features, nest_attr_t attr, nest_attr_t *reads)
{
	return attr & (NEST_U | NEST_G) ? NEST_E_UNSUPPORTED : expect_first(features, attr, reads);
}

static void decoding_undoes_encoding(void **state)
{
	static const uint32_t features[] = { 0, SW, NEST_FEAT_HW_A, HW | PTW };

	(void)state;
	for (size_t i = 0; i < LENGTH(features); i++) {
		check_every_attribute(S1_4K, 7, features[i], 0xaaaa80000000, expect_first);
		check_every_attribute(S2_4K, 7, features[i], 0x555540000000, expect_second);
		check_every_attribute(S1_16K, 3, features[i], 0xaaaaaa000000, expect_first);
		check_every_attribute(S2_16K, 3, features[i], 0x555554000000, expect_second);
	}
}

/* A refill handler puts invalid entries into the TLB; the hardware walker does not (5.4.5). */
static void a_fresh_page_is_flushed_unless_hardware_walks(void **state)
{
	static const struct nest_format *const formats[] = { S1_4K, S2_4K, S1_16K, S2_16K };
	struct nest_format_info info;

	(void)state;
	for (size_t i = 0; i < LENGTH(formats); i++) {
		assert_int_equal(nest_format_describe(formats[i], SW, &info), NEST_OK);
		assert_true(info.fresh_needs_flush && !info.break_before_make);
		assert_int_equal(nest_format_describe(formats[i], HW | PTW, &info), NEST_OK);
		assert_true(!info.fresh_needs_flush && !info.break_before_make);
	}
}

/*
 * A search that hits twice is undefined (5.4.4): smaller pages have to go before a huge page that
 * covers them can be filled. Nothing else needs an invalid entry between.
 */
static void only_a_table_that_becomes_a_huge_page_is_broken(void **state)
{
	const nest_pte_t table = 0x80001000, other = 0x80002000, huge = 0x402001d3,
			 moved = 0x404001d3, read_only = 0x402000d1;

	(void)state;
	for (size_t i = 0; i < LENGTH(all); i++) {
		const struct nest_fmt *f = all[i]->fmt;

		assert_true(f->needs_break(0, 1, table, huge));
		assert_true(f->needs_break(HW | PTW, 1, table, huge));
		assert_false(f->needs_break(0, 1, huge, table));
		assert_false(f->needs_break(0, 1, huge, moved));
		assert_false(f->needs_break(0, 1, huge, read_only));
		assert_false(f->needs_break(0, 1, table, other));
		assert_false(f->needs_break(0, 0, 0x40200193, 0x40400193));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_have_the_manuals_words),
		cmocka_unit_test(the_first_stage_has_user_and_global_pages),
		cmocka_unit_test(what_the_format_has_not_is_refused),
		cmocka_unit_test(a_pointer_is_the_bare_address),
		cmocka_unit_test(an_empty_directory_entry_points_to_an_empty_table),
		cmocka_unit_test(marks_are_invalid_pages),
		cmocka_unit_test(no_walker_sets_dirty_without_accessed),
		cmocka_unit_test(leaves_that_hardware_refuses_are_reserved),
		cmocka_unit_test(what_attributes_cannot_say_has_no_name),
		cmocka_unit_test(decoding_undoes_encoding),
		cmocka_unit_test(a_fresh_page_is_flushed_unless_hardware_walks),
		cmocka_unit_test(only_a_table_that_becomes_a_huge_page_is_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
