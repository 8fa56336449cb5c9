/* SPDX-License-Identifier: MIT */
/*
 * Mistakes found in entry encodings elsewhere, by name. Words are the manuals'.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <nest/nest.h>

static nest_pte_t leaf(const struct nest_format *format, nest_attr_t attr)
{
	nest_pte_t e = 0;

	assert_int_equal(nest_pte_leaf(format, 0, 0, 0x1000, attr, &e), NEST_OK);
	return e;
}

/* Arm ARM D8.4: stage 2 says what is allowed, S2AP[0] (6) read, S2AP[1] (7) write. */
static void read_is_s2ap_bit_6_and_write_bit_7(void **state)
{
	(void)state;
	assert_int_equal(leaf(&nest_fmt_aarch64_s2_4k, NEST_R) & 0xc0, 0x40);
	assert_int_equal(leaf(&nest_fmt_aarch64_s2_4k, NEST_W) & 0xc0, 0x80);
	assert_int_equal(leaf(&nest_fmt_aarch64_s2_4k, NEST_RW) & 0xc0, 0xc0);
	assert_int_equal(leaf(&nest_fmt_aarch64_s2_4k, NEST_X) & 0xc0, 0);
	/* Stage 1 says the opposite: AP[2] (7) is read-only. */
	assert_int_equal(leaf(&nest_fmt_aarch64_s1_4k, NEST_R) & 0x80, 0x80);
	assert_int_equal(leaf(&nest_fmt_aarch64_s1_4k, NEST_RW) & 0x80, 0);
}

/* XN 54:53, PXN 53 and UXN 54, NX 63, NX 62; EPT and RISC-V have a bit that allows. */
static void no_execute_is_written(void **state)
{
	(void)state;
	assert_true((leaf(&nest_fmt_aarch64_s2_4k, NEST_RW) >> 53 & 3) == 2);
	assert_true((leaf(&nest_fmt_aarch64_s2_4k, NEST_RWX) >> 53 & 3) == 0);
	assert_true((leaf(&nest_fmt_aarch64_s1_4k, NEST_RW) >> 53 & 3) == 3);
	assert_true((leaf(&nest_fmt_aarch64_s1_4k, NEST_RX) >> 53 & 3) == 2);
	assert_true(leaf(&nest_fmt_npt, NEST_RW) >> 63 == 1);
	assert_true(leaf(&nest_fmt_npt, NEST_RX) >> 63 == 0);
	assert_true((leaf(&nest_fmt_loongarch_s2_4k, NEST_RW) >> 62 & 1) == 1);
	assert_true((leaf(&nest_fmt_loongarch_s2_4k, NEST_RX) >> 62 & 1) == 0);
	assert_true((leaf(&nest_fmt_ept, NEST_RW) & 7) == 3);
	assert_true((leaf(&nest_fmt_riscv_g, NEST_RW) & 0xe) == 6);
}

/* APM vol. 2 15.25.5: the nested walk is a user access; privileged spec 18.5.1: so is a G-stage
 * one. */
static void every_nested_entry_is_a_user_page(void **state)
{
	nest_pte_t e;

	(void)state;
	assert_int_equal(leaf(&nest_fmt_npt, NEST_R) & 4, 4);
	assert_int_equal(nest_pte_table(&nest_fmt_npt, 0, 0x1000, &e), NEST_OK);
	assert_int_equal(e, 0x1007);
	assert_int_equal(leaf(&nest_fmt_riscv_g, NEST_R) & 0x10, 0x10);
}

/* The first stage of each granule: page and block sizes, and widths (Arm ARM D8.2). */
static void each_granule_refuses_what_it_has_not(void **state)
{
	static const struct {
		const struct nest_format *format;
		unsigned level;
		uint32_t features;
		nest_pa_t pa;
		int want;
	} rows[] = {
		/* 4 KiB, 2 MiB, 1 GiB; 512 GiB with LPA2. */
		{ &nest_fmt_aarch64_s1_4k, 0, 0, 0x800, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_4k, 1, 0, 0x100000, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_4k, 2, 0, 0x20000000, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_4k, 3, 0, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_4k, 3, NEST_FEAT_LPA2, 0, NEST_OK },
		{ &nest_fmt_aarch64_s1_4k, 4, NEST_FEAT_LPA2, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_4k, 0, NEST_FEAT_LPA, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_4k, 0, 0, 0x1000000000000, NEST_E_RANGE },
		{ &nest_fmt_aarch64_s1_4k, 0, NEST_FEAT_LPA2, 0x1000000000000, NEST_OK },
		{ &nest_fmt_aarch64_s1_4k, 0, NEST_FEAT_LPA2, 0x10000000000000, NEST_E_RANGE },
		/* 16 KiB, 32 MiB; 64 GiB with LPA2. */
		{ &nest_fmt_aarch64_s1_16k, 0, 0, 0x1000, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_16k, 1, 0, 0x1000000, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_16k, 2, 0, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_16k, 2, NEST_FEAT_LPA2, 0, NEST_OK },
		{ &nest_fmt_aarch64_s1_16k, 0, NEST_FEAT_LPA, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_16k, 0, 0, 0x1000000000000, NEST_E_RANGE },
		/* 64 KiB, 512 MiB; 4 TiB with LPA. */
		{ &nest_fmt_aarch64_s1_64k, 0, 0, 0x4000, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_64k, 1, 0, 0x10000000, NEST_E_ALIGN },
		{ &nest_fmt_aarch64_s1_64k, 2, 0, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_64k, 2, NEST_FEAT_LPA, 0, NEST_OK },
		{ &nest_fmt_aarch64_s1_64k, 0, NEST_FEAT_LPA2, 0, NEST_E_UNSUPPORTED },
		{ &nest_fmt_aarch64_s1_64k, 0, 0, 0x1000000000000, NEST_E_RANGE },
		{ &nest_fmt_aarch64_s1_64k, 0, NEST_FEAT_LPA, 0x10000000000000, NEST_E_RANGE },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		nest_pte_t e;
		int got = nest_pte_leaf(rows[i].format, rows[i].level, rows[i].features, rows[i].pa,
					NEST_RW, &e);

		if (got != rows[i].want)
			fail_msg("row %u: %s", i, nest_strerror(got));
	}
}

/* nest_format_describe(), entries and tables agree on what a format knows in this build. */
static void everything_knows_the_same_features(void **state)
{
	struct nest_format_info base, info;
	nest_pte_t e;

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		const struct nest_format *f = nest_formats[n];

		assert_int_equal(nest_format_describe(f, 0, &base), NEST_OK);
		for (unsigned bit = 0; bit < 20; bit++) {
			/* Some formats have no dirty without accessed. */
			uint32_t one = (uint32_t)1 << bit,
				 with = one == NEST_FEAT_HW_D ? NEST_FEAT_HW_AD : one;
			int want = base.features & one ? NEST_OK : NEST_E_UNSUPPORTED;

			assert_int_equal(nest_format_describe(f, with, &info), want);
			assert_int_equal(nest_pte_leaf(f, 0, with, 0, NEST_R, &e), want);
			assert_int_equal(nest_pte_table(f, with, 0, &e), want);
			assert_int_equal(nest_pte_mark(f, with, 0, &e), want);
			assert_int_equal(nest_pte_absent(f, 0, with, 0, &e), want);
		}
		if (base.features & NEST_FEAT_CONTIG)
			continue;
		for (unsigned l = 0; l < NEST_MAX_LEVELS; l++)
			assert_int_equal(base.contig_shift[l], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_is_s2ap_bit_6_and_write_bit_7),
		cmocka_unit_test(no_execute_is_written),
		cmocka_unit_test(every_nested_entry_is_a_user_page),
		cmocka_unit_test(each_granule_refuses_what_it_has_not),
		cmocka_unit_test(everything_knows_the_same_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
