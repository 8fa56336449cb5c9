/* SPDX-License-Identifier: MIT */
/*
 * NPT and x86-64 entries against words written from APM vol. 2, 5.3 and 7.8: P 0, RW 1, US 2,
 * PWT 3, PCD 4, A 5, D 6, PS 7 or (level 0) PAT 7, G 8, PAT of a large page 12, address 51:12,
 * NX 63. PAT entry = 4 * PAT + 2 * PCD + PWT. The library keeps SW0..2 in 54:52.
 */
#include "entries.h"

#define NPT    (&nest_fmt_npt)
#define X86    (&nest_fmt_x86_64)
#define G1     NEST_FEAT_1G
#define PAT    NEST_FEAT_PAT
#define LA57   NEST_FEAT_LA57
#define EVERY  (G1 | PAT | LA57)
#define SW_ALL (NEST_SW0 | NEST_SW1 | NEST_SW2)

static void npt_leaves_are_user_pages(void **state)
{
	static const struct leaf_case cases[] = {
		/* sizes and addresses */
		LEAF(0, 0, 0x12345000, NEST_RWX, 0x12345007),
		LEAF(1, 0, 0x40200000, NEST_RWX, 0x40200087),
		LEAF(2, G1, 0x8040000000, NEST_RWX, 0x8040000087),
		LEAF(0, 0, 0xffffffffff000, NEST_RWX, 0xffffffffff007),
		LEAF(1, 0, 0xfffffffe00000, NEST_RWX, 0xfffffffe00087),
		LEAF(2, G1, 0xfffffc0000000, NEST_RWX, 0xfffffc0000087),
		/* rights */
		LEAF(0, 0, 0, NEST_R, 0x8000000000000005),
		LEAF(0, 0, 0, NEST_RW, 0x8000000000000007),
		LEAF(0, 0, 0, NEST_RX, 0x0000000000000005),
		LEAF(1, 0, 0, NEST_R, 0x8000000000000085),
		/* accessed and dirty */
		LEAF(0, 0, 0, NEST_RWX | NEST_ACCESSED, 0x27),
		LEAF(0, 0, 0, NEST_RWX | NEST_DIRTY, 0x47),
		LEAF(1, 0, 0, NEST_RWX | NEST_ACCESSED | NEST_DIRTY, 0xe7),
		LEAF(0, 0, 0, NEST_RX | NEST_DIRTY, 0x45),
		/* memory types; PAT moves to bit 12 in a large page and is not address there */
		LEAF(0, 0, 0, NEST_RWX | NEST_MT_WT, 0x0f),
		LEAF(0, 0, 0, NEST_RWX | NEST_MT_UC, 0x1f),
		LEAF(0, PAT, 0, NEST_RWX | NEST_MT_WC, 0x8f),
		LEAF(1, 0, 0, NEST_RWX | NEST_MT_WT, 0x8f),
		LEAF(1, 0, 0, NEST_RWX | NEST_MT_UC, 0x9f),
		LEAF(1, PAT, 0x40200000, NEST_RWX | NEST_MT_WC, 0x4020108f),
		LEAF(2, EVERY, 0x40000000, NEST_RWX | NEST_MT_WC, 0x4000108f),
		ALIAS(0, 0, 0, NEST_RWX | NEST_MT_DEVICE, 0x1f, NEST_RWX | NEST_MT_UC),
		ALIAS(0, 0, 0, NEST_RWX | NEST_MT_DEVICE_STRICT, 0x1f, NEST_RWX | NEST_MT_UC),
		/* software bits */
		LEAF(0, 0, 0, NEST_RWX | NEST_SW0, 0x0010000000000007),
		LEAF(0, 0, 0, NEST_RWX | NEST_SW1, 0x0020000000000007),
		LEAF(0, 0, 0, NEST_RWX | NEST_SW2, 0x0040000000000007),
		LEAF(1, 0, 0, NEST_R | SW_ALL, 0x8070000000000085),
	};

	(void)state;
	check_leaves(NPT, cases, LENGTH(cases));
}

static void x86_leaves_say_user_and_global(void **state)
{
	static const struct leaf_case cases[] = {
		LEAF(0, 0, 0x12345000, NEST_RWX, 0x12345003),
		LEAF(1, 0, 0x40200000, NEST_RWX, 0x40200083),
		LEAF(2, G1, 0x8040000000, NEST_RWX, 0x8040000083),
		LEAF(0, 0, 0, NEST_R, 0x8000000000000001),
		LEAF(0, 0, 0, NEST_RX, 0x1),
		LEAF(0, 0, 0, NEST_RW, 0x8000000000000003),
		LEAF(0, 0, 0, NEST_RWX | NEST_U, 0x7),
		LEAF(0, 0, 0, NEST_RWX | NEST_G, 0x103),
		LEAF(1, 0, 0, NEST_R | NEST_U | NEST_G, 0x8000000000000185),
		LEAF(0, 0, 0, NEST_RW | NEST_ACCESSED, 0x8000000000000023),
		LEAF(0, 0, 0, NEST_RW | NEST_DIRTY, 0x8000000000000043),
		LEAF(0, 0, 0, NEST_RX | NEST_MT_WT, 0x09),
		LEAF(0, 0, 0, NEST_RX | NEST_MT_UC, 0x19),
		LEAF(0, PAT, 0, NEST_RX | NEST_MT_WC, 0x89),
		LEAF(1, PAT, 0x200000, NEST_RX | NEST_MT_WC, 0x201089),
		LEAF(2, EVERY, 0xfffffc0000000,
		     NEST_RW | NEST_U | NEST_G | NEST_MT_WC | NEST_ACCESSED | NEST_DIRTY | SW_ALL,
		     0x807fffffc00011ef),
	};

	(void)state;
	check_leaves(X86, cases, LENGTH(cases));
}

static void what_hardware_has_not_is_refused(void **state)
{
	static const struct refused_case both[] = {
		REFUSED(0, EVERY, 0, 0, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_W, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_X, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_W | NEST_X, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_RX | NEST_XU, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_RW | NEST_DBM, UNSUPPORTED),
		REFUSED(0, EVERY & ~PAT, 0, NEST_RW | NEST_MT_WC, UNSUPPORTED),
		REFUSED(2, EVERY & ~G1, 0, NEST_R, UNSUPPORTED),
		REFUSED(3, EVERY, 0, NEST_R, UNSUPPORTED),
		REFUSED(4, EVERY, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_XO, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_HW_A, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_R | 1u << 15, INVAL),
		REFUSED(0, 0, 0, NEST_R | 7u << 8, INVAL),
		REFUSED(0, 0, 0x800, NEST_R, ALIGN),
		REFUSED(1, 0, 0x1000, NEST_R, ALIGN),
		REFUSED(2, G1, 0x20000000, NEST_R, ALIGN),
		REFUSED(0, 0, 0x10000000000000, NEST_R, RANGE),
	};
	static const struct refused_case npt[] = {
		REFUSED(0, EVERY, 0, NEST_R | NEST_U, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_R | NEST_G, UNSUPPORTED),
	};

	(void)state;
	check_refused(NPT, both, LENGTH(both));
	check_refused(X86, both, LENGTH(both));
	check_refused(NPT, npt, LENGTH(npt));
}

static void tables_marks_and_nothing(void **state)
{
	static const struct word_case both[] = {
		WORD(0, 0, 0, NONE, 0, 0),
		WORD(3, 0, 0, NONE, 0, 0),
		WORD(4, LA57, 0, NONE, 0, 0),
		WORD(0, 0, 0xfffffffffffffffe, NONE, 0, 0),
		WORD(2, 0, 0xfffffffffffffffe, NONE, 0, 0),
		WORD(1, 0, 0x1027, TABLE, 0x1000, 0),
		WORD(3, 0, 0xfff0000000002e65, TABLE, 0x2000, 0),
		WORD(1, 0, 0x1107, TABLE, 0x1000, 0),
		WORD(3, 0, 0x1234008, MARK, 0x1234, 0),
		WORD(1, 0, 0x1234010, NONE, 0, 0),
	};
	nest_pte_t e = 1;

	(void)state;
	check_words(NPT, both, LENGTH(both));
	check_words(X86, both, LENGTH(both));
	for (int i = 0; i < 2; i++) {
		const struct nest_format *fmt = i ? X86 : NPT;

		check_table(fmt, 4, 0, 0x1000, 0x1007);
		check_table(fmt, 5, LA57, 0xffffffffff000, 0xffffffffff007);
		check_mark(fmt, 0, 0, 0x8);
		check_mark(fmt, 0, 0xffffffffffff, 0x0ffffffffffff008);
		CHECK_OK(nest_pte_absent(fmt, 4, LA57, 0x5000, &e));
		CHECK_EQ(e, 0);
		CHECK_RC(nest_pte_absent(fmt, 4, 0, 0, &e), NEST_E_UNSUPPORTED);
		CHECK_RC(nest_pte_table(fmt, 0, 0x10000000000000, &e), NEST_E_RANGE);
	}
}

static void reserved_bits_are_reserved(void **state)
{
	static const struct word_case both[] = {
		/* PS where no page is so large */
		WORD(2, EVERY & ~G1, 0x40000087, RESERVED, 0, 0),
		WORD(3, EVERY, 0x87, RESERVED, 0, 0),
		WORD(4, EVERY, 0x87, RESERVED, 0, 0),
		/* address bits below the page, bit 12 aside */
		WORD(1, 0, 0x40202087, RESERVED, 0, 0),
		WORD(1, 0, 0x40300087, RESERVED, 0, 0),
		WORD(2, G1, 0x40200087, RESERVED, 0, 0),
		WORD(2, G1, 0x60000087, RESERVED, 0, 0),
	};
	/* the nested walk is a user access; bit 8 of the upper pointers must be 0 */
	static const struct word_case npt[] = {
		WORD(0, 0, 0x12345003, RESERVED, 0, 0), WORD(1, 0, 0x40200083, RESERVED, 0, 0),
		WORD(1, 0, 0x1003, RESERVED, 0, 0),     WORD(2, 0, 0x1107, RESERVED, 0, 0),
		WORD(3, 0, 0x1107, RESERVED, 0, 0),
	};
	static const struct word_case x86[] = {
		WORD(0, 0, 0x12345003, LEAF, 0x12345000, NEST_RWX),
		WORD(1, 0, 0x1003, TABLE, 0x1000, 0),
		WORD(2, 0, 0x1107, TABLE, 0x1000, 0),
	};

	(void)state;
	check_words(NPT, both, LENGTH(both));
	check_words(X86, both, LENGTH(both));
	check_words(NPT, npt, LENGTH(npt));
	check_words(X86, x86, LENGTH(x86));
}

static void ignored_bits_are_ignored(void **state)
{
	static const struct word_case npt[] = {
		WORD(0, 0, 0x7f8f000012345f07, LEAF, 0xf000012345000, NEST_RWX),
	};

	(void)state;
	check_words(NPT, npt, LENGTH(npt));
}

static void other_pat_entries_have_no_name(void **state)
{
	static const struct word_case cases[] = {
		WORD(0, PAT, 0x12345017, LEAF, 0x12345000, 0), /* 2: UC- */
		WORD(0, PAT, 0x12345087, LEAF, 0x12345000, 0), /* 4 */
		WORD(0, PAT, 0x12345097, LEAF, 0x12345000, 0), /* 6 */
		WORD(0, PAT, 0x1234509f, LEAF, 0x12345000, 0), /* 7 */
		WORD(0, 0, 0x1234508f, LEAF, 0x12345000, 0),   /* 5, not known to be WC */
		WORD(1, PAT, 0x40200097, LEAF, 0x40200000, 0),
		WORD(1, PAT, 0x40201087, LEAF, 0x40200000, 0),
		WORD(1, 0, 0x4020108f, LEAF, 0x40200000, 0),
	};

	(void)state;
	check_nameless(NPT, cases, LENGTH(cases));
	check_nameless(X86, cases, LENGTH(cases));
}

static int expect_x86(uint32_t features, nest_attr_t attr, nest_attr_t *reads)
{
	*reads = devices_are_uc(attr);
	if (!(attr & NEST_R) || (attr & (NEST_XU | NEST_DBM)) ||
	    ((attr & NEST_MT_MASK) == NEST_MT_WC && !(features & PAT)))
		return NEST_E_UNSUPPORTED;
	return NEST_OK;
}

static int expect_npt(uint32_t features, nest_attr_t attr, nest_attr_t *reads)
{
	return attr & (NEST_U | NEST_G) ? NEST_E_UNSUPPORTED : expect_x86(features, attr, reads);
}

static void decoding_undoes_encoding(void **state)
{
	(void)state;
	check_every_attribute(NPT, 3, 0, 0xaaaaaaaa00000, expect_npt);
	check_every_attribute(NPT, 7, EVERY, 0x5555540000000, expect_npt);
	check_every_attribute(X86, 3, 0, 0xaaaaaaaa00000, expect_x86);
	check_every_attribute(X86, 7, EVERY, 0x5555540000000, expect_x86);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(npt_leaves_are_user_pages),
		cmocka_unit_test(x86_leaves_say_user_and_global),
		cmocka_unit_test(what_hardware_has_not_is_refused),
		cmocka_unit_test(tables_marks_and_nothing),
		cmocka_unit_test(reserved_bits_are_reserved),
		cmocka_unit_test(ignored_bits_are_ignored),
		cmocka_unit_test(other_pat_entries_have_no_name),
		cmocka_unit_test(decoding_undoes_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
