/* SPDX-License-Identifier: MIT */
/*
 * EPT entries against words written from SDM vol. 3C, tables 29-1 to 29-7:
 * R 0, W 1, X 2, memory type 5:3 (UC 0, WC 1, WT 4, WP 5, WB 6), ignore PAT 6, leaf 7, A 8, D 9,
 * user execute 10, address 51:12, suppress #VE 63. The library keeps SW0..2 in 54:52.
 */
#include "entries.h"

#define EPT    (&nest_fmt_ept)
#define G1     NEST_FEAT_1G
#define XO     NEST_FEAT_XO
#define MBEC   NEST_FEAT_MBEC
#define VE     NEST_FEAT_VE
#define AD     NEST_FEAT_HW_AD
#define LA57   NEST_FEAT_LA57
#define EVERY  (G1 | XO | MBEC | VE | AD | LA57)
#define SW_ALL (NEST_SW0 | NEST_SW1 | NEST_SW2)

static void leaves_have_the_manuals_words(void **state)
{
	static const struct leaf_case cases[] = {
		/* sizes and addresses */
		LEAF(0, 0, 0x12345000, NEST_RWX, 0x12345037),
		LEAF(1, 0, 0x40200000, NEST_RWX, 0x402000b7),
		LEAF(2, G1, 0x8040000000, NEST_RWX, 0x80400000b7),
		LEAF(0, 0, 0xffffffffff000, NEST_RWX, 0xffffffffff037),
		LEAF(1, 0, 0xfffffffe00000, NEST_RWX, 0xfffffffe000b7),
		LEAF(2, G1, 0xfffffc0000000, NEST_RWX, 0xfffffc00000b7),
		LEAF(0, 0, 0, NEST_RWX, 0x37),
		/* rights */
		LEAF(0, 0, 0, NEST_R, 0x31),
		LEAF(0, 0, 0, NEST_RW, 0x33),
		LEAF(0, 0, 0, NEST_RX, 0x35),
		LEAF(0, XO, 0, NEST_X, 0x34),
		LEAF(1, XO, 0, NEST_X, 0xb4),
		LEAF(0, MBEC, 0, NEST_RX, 0x35),
		LEAF(0, MBEC, 0, NEST_R | NEST_XU, 0x431),
		LEAF(0, MBEC, 0, NEST_RWX | NEST_XU, 0x437),
		LEAF(0, MBEC | XO, 0, NEST_XU, 0x430),
		LEAF(1, MBEC | XO, 0, NEST_X | NEST_XU, 0x4b4),
		/* memory types */
		LEAF(0, 0, 0, NEST_RW | NEST_MT_WT, 0x23),
		LEAF(0, 0, 0, NEST_RW | NEST_MT_WC, 0x0b),
		LEAF(0, 0, 0, NEST_RW | NEST_MT_UC, 0x03),
		LEAF(1, 0, 0, NEST_RW | NEST_MT_WT, 0xa3),
		LEAF(2, G1, 0, NEST_RW | NEST_MT_WC, 0x8b),
		ALIAS(0, 0, 0, NEST_RW | NEST_MT_DEVICE, 0x03, NEST_RW | NEST_MT_UC),
		ALIAS(0, 0, 0, NEST_RW | NEST_MT_DEVICE_STRICT, 0x03, NEST_RW | NEST_MT_UC),
		/* accessed and dirty */
		LEAF(0, AD, 0, NEST_RW, 0x33),
		LEAF(0, AD, 0, NEST_RW | NEST_ACCESSED, 0x133),
		LEAF(0, AD, 0, NEST_RW | NEST_DIRTY, 0x233),
		LEAF(1, AD, 0, NEST_RW | NEST_ACCESSED | NEST_DIRTY, 0x3b3),
		LEAF(0, NEST_FEAT_HW_A, 0, NEST_R | NEST_ACCESSED, 0x131),
		LEAF(0, NEST_FEAT_HW_D, 0, NEST_R | NEST_DIRTY, 0x231),
		/* software bits */
		LEAF(0, 0, 0, NEST_R | NEST_SW0, 0x0010000000000031),
		LEAF(0, 0, 0, NEST_R | NEST_SW1, 0x0020000000000031),
		LEAF(0, 0, 0, NEST_R | NEST_SW2, 0x0040000000000031),
		LEAF(1, 0, 0, NEST_R | SW_ALL, 0x00700000000000b1),
		/* suppress #VE */
		LEAF(0, VE, 0, NEST_RWX, 0x8000000000000037),
		LEAF(1, VE, 0, NEST_R, 0x80000000000000b1),
		/* all at once */
		LEAF(2, EVERY, 0x40000000,
		     NEST_RWX | NEST_XU | NEST_MT_WC | NEST_ACCESSED | NEST_DIRTY | SW_ALL,
		     0x807000004000078f),
	};

	(void)state;
	check_leaves(EPT, cases, LENGTH(cases));
}

static void what_hardware_would_reject_is_refused(void **state)
{
	static const struct refused_case cases[] = {
		REFUSED(0, 0, 0, 0, UNSUPPORTED),
		REFUSED(0, EVERY, 0, 0, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_W, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_W | NEST_X, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_W | NEST_XU, UNSUPPORTED),
		REFUSED(0, EVERY & ~XO, 0, NEST_X, UNSUPPORTED),
		REFUSED(0, EVERY & ~XO, 0, NEST_XU, UNSUPPORTED),
		REFUSED(0, EVERY & ~MBEC, 0, NEST_RX | NEST_XU, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_R | NEST_U, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_R | NEST_G, UNSUPPORTED),
		REFUSED(0, EVERY, 0, NEST_RW | NEST_DBM, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_R | NEST_ACCESSED, UNSUPPORTED),
		REFUSED(0, 0, 0, NEST_RW | NEST_DIRTY, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_HW_A, 0, NEST_RW | NEST_DIRTY, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_HW_D, 0, NEST_R | NEST_ACCESSED, UNSUPPORTED),
		REFUSED(2, 0, 0, NEST_R, UNSUPPORTED),
		REFUSED(3, EVERY, 0, NEST_R, UNSUPPORTED),
		REFUSED(4, EVERY, 0, NEST_R, UNSUPPORTED),
		REFUSED(5, 0, 0, NEST_R, UNSUPPORTED),
		REFUSED(64, 0, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_PAT, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, NEST_FEAT_SW_AD, 0, NEST_R, UNSUPPORTED),
		REFUSED(0, 0x80000000, 0, NEST_R, INVAL),
		REFUSED(0, 0, 0, NEST_R | 1u << 31, INVAL),
		REFUSED(0, 0, 0, NEST_R | 6u << 8, INVAL),
		REFUSED(0, 0, 0x1001, NEST_R, ALIGN),
		REFUSED(1, 0, 0x1000, NEST_R, ALIGN),
		REFUSED(2, G1, 0x200000, NEST_R, ALIGN),
		REFUSED(0, 0, 0x10000000000000, NEST_R, RANGE),
		REFUSED(1, 0, 0x8000000000000000, NEST_R, RANGE),
	};

	(void)state;
	check_refused(EPT, cases, LENGTH(cases));
}

static void tables_marks_and_nothing(void **state)
{
	static const struct word_case cases[] = {
		WORD(0, 0, 0, NONE, 0, 0),
		WORD(3, 0, 0, NONE, 0, 0),
		WORD(4, LA57, 0, NONE, 0, 0),
		WORD(1, VE, 0x8000000000000000, NONE, 0, 0),
		/* not present, whatever else */
		WORD(0, EVERY, 0xfffffffffffff3f8, NONE, 0, 0),
		/* a pointer that hardware has accessed; one with fewer rights; ignored bits */
		WORD(1, AD, 0x1107, TABLE, 0x1000, 0),
		WORD(2, 0, 0x2001, TABLE, 0x2000, 0),
		WORD(3, XO, 0x2004, TABLE, 0x2000, 0),
		WORD(3, 0, 0xfff0000000002a07, TABLE, 0x2000, 0),
		WORD(1, MBEC, 0x3407, TABLE, 0x3000, 0),
		WORD(1, MBEC | XO, 0x3400, TABLE, 0x3000, 0),
		/* marks stand anywhere, also with suppress #VE; other software words are nothing */
		WORD(3, 0, 0x1234008, MARK, 0x1234, 0),
		WORD(1, EVERY, 0x8000000001234008, MARK, 0x1234, 0),
		WORD(1, 0, 0x1234010, NONE, 0, 0),
	};
	nest_pte_t e = 1;

	(void)state;
	check_words(EPT, cases, LENGTH(cases));
	check_table(EPT, 4, 0, 0x1000, 0x1007);
	check_table(EPT, 5, LA57, 0xffffffffff000, 0xffffffffff007);
	/* With mode-based execute control a pointer has to allow user execution too: bit 10. */
	check_table(EPT, 4, MBEC, 0x1000, 0x1407);
	check_mark(EPT, 0, 0, 0x8);
	check_mark(EPT, 0, 0x1234, 0x1234008);
	check_mark(EPT, 0, 0xffffffffffff, 0x0ffffffffffff008);
	/* Without "suppress #VE", bit 63, a fault at the mark would go to the guest. */
	check_mark(EPT, VE, 0x1234, 0x8000000001234008);
	check_mark(EPT, EVERY, 0xffffffffffff, 0x8ffffffffffff008);
	CHECK_RC(nest_pte_mark(EPT, 0, 0x1000000000000, &e), NEST_E_RANGE);
	CHECK_RC(nest_pte_table(EPT, 0, 0x1008, &e), NEST_E_ALIGN);
	CHECK_RC(nest_pte_table(EPT, 0, 0x10000000000000, &e), NEST_E_RANGE);
	CHECK_OK(nest_pte_absent(EPT, 3, 0, 0x5000, &e));
	CHECK_EQ(e, 0);
	for (unsigned level = 0; level < 5; level++) {
		CHECK_OK(nest_pte_absent(EPT, level, VE | LA57, 0, &e));
		CHECK_EQ(e, 0x8000000000000000);
	}
	CHECK_RC(nest_pte_absent(EPT, 4, 0, 0, &e), NEST_E_UNSUPPORTED);
}

static void misconfigurations_are_reserved(void **state)
{
	static const struct word_case cases[] = {
		/* rights, in leaves and in pointers */
		WORD(0, EVERY, 0x32, RESERVED, 0, 0),
		WORD(0, EVERY, 0x36, RESERVED, 0, 0),
		WORD(0, EVERY & ~XO, 0x34, RESERVED, 0, 0),
		WORD(0, EVERY & ~XO, 0x430, RESERVED, 0, 0),
		WORD(0, EVERY, 0x432, RESERVED, 0, 0),
		WORD(0, XO, 0x400, RESERVED, 0, 0),
		WORD(1, EVERY, 0x1002, RESERVED, 0, 0),
		WORD(1, 0, 0x1004, RESERVED, 0, 0),
		/* memory types */
		WORD(0, 0, 0x17, RESERVED, 0, 0),
		WORD(0, 0, 0x1f, RESERVED, 0, 0),
		WORD(1, 0, 0xbf, RESERVED, 0, 0),
		/* bits 6:3 of a pointer */
		WORD(1, 0, 0x100f, RESERVED, 0, 0),
		WORD(2, 0, 0x1017, RESERVED, 0, 0),
		WORD(3, 0, 0x1027, RESERVED, 0, 0),
		WORD(1, 0, 0x1047, RESERVED, 0, 0),
		/* bit 7 where no page is so large */
		WORD(2, EVERY & ~G1, 0x400000b7, RESERVED, 0, 0),
		WORD(3, EVERY, 0xb7, RESERVED, 0, 0),
		WORD(4, EVERY, 0x87, RESERVED, 0, 0),
		/* address bits below the page */
		WORD(1, 0, 0x402010b7, RESERVED, 0, 0),
		WORD(1, 0, 0x403000b7, RESERVED, 0, 0),
		WORD(2, G1, 0x402000b7, RESERVED, 0, 0),
		WORD(2, G1, 0x600000b7, RESERVED, 0, 0),
	};

	(void)state;
	check_words(EPT, cases, LENGTH(cases));
}

static void ignored_bits_are_ignored(void **state)
{
	static const struct word_case cases[] = {
		/* bit 7 at level 0; 11, 55, 62 */
		WORD(0, 0, 0x123450b7, LEAF, 0x12345000, NEST_RWX),
		WORD(0, 0, 0x4080000012345837, LEAF, 0x12345000, NEST_RWX),
		/* A, D, user execute and suppress #VE without their features */
		WORD(0, 0, 0x8000000000000737, LEAF, 0, NEST_RWX),
	};

	(void)state;
	check_words(EPT, cases, LENGTH(cases));
}

static void write_protect_memory_and_ignore_pat_have_no_name(void **state)
{
	static const struct word_case cases[] = {
		WORD(0, 0, 0x1234502f, LEAF, 0x12345000, 0),
		WORD(1, 0, 0x402000af, LEAF, 0x40200000, 0),
		WORD(0, 0, 0x12345077, LEAF, 0x12345000, 0),
		WORD(1, 0, 0x402000f7, LEAF, 0x40200000, 0),
	};

	(void)state;
	check_nameless(EPT, cases, LENGTH(cases));
}

static int expect(uint32_t features, nest_attr_t attr, nest_attr_t *reads)
{
	bool r = attr & NEST_R, w = attr & NEST_W, x = attr & (NEST_X | NEST_XU);

	*reads = devices_are_uc(attr);
	if ((attr & (NEST_U | NEST_G | NEST_DBM)) || (!r && (w || !x || !(features & XO))) ||
	    ((attr & NEST_XU) && !(features & MBEC)) ||
	    ((attr & NEST_ACCESSED) && !(features & NEST_FEAT_HW_A)) ||
	    ((attr & NEST_DIRTY) && !(features & NEST_FEAT_HW_D)))
		return NEST_E_UNSUPPORTED;
	return NEST_OK;
}

static void decoding_undoes_encoding(void **state)
{
	static const uint32_t features[] = { 0, XO, MBEC, XO | MBEC, VE, AD, NEST_FEAT_HW_A };

	(void)state;
	for (size_t i = 0; i < LENGTH(features); i++)
		check_every_attribute(EPT, 3, features[i], 0xaaaaaaaa00000, expect);
	check_every_attribute(EPT, 7, EVERY, 0x5555540000000, expect);
}

/* The word of the root's first entry when one page is mapped at 0. */
static nest_pte_t first_pointer(uint32_t features)
{
	struct tcase c = tcase_of(EPT, features, 48, 0);
	struct fix f;
	nest_pte_t e;

	fix_open(&f, &c);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, 4096, NEST_R, 0, NULL));
	e = *(const nest_pte_t *)arena_ptr(&f.a, nest_pt_root(&f.pt)) & ~0xffffffffff000ull;
	fix_close(&f);
	return e;
}

static void pointers_allow_everything(void **state)
{
	(void)state;
	CHECK_EQ(first_pointer(0), 0x7);
	CHECK_EQ(first_pointer(MBEC), 0x407);
	CHECK_EQ(first_pointer(MBEC | VE | XO | AD), 0x407);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_have_the_manuals_words),
		cmocka_unit_test(what_hardware_would_reject_is_refused),
		cmocka_unit_test(tables_marks_and_nothing),
		cmocka_unit_test(misconfigurations_are_reserved),
		cmocka_unit_test(ignored_bits_are_ignored),
		cmocka_unit_test(write_protect_memory_and_ignore_pat_have_no_name),
		cmocka_unit_test(decoding_undoes_encoding),
		cmocka_unit_test(pointers_allow_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
