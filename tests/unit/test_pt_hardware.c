/* SPDX-License-Identifier: MIT */
/*
 * Hardware that sets accessed and dirty at the worst moment: after the engine has read a leaf and
 * before it replaces it. The host's sync callback, which is called in between, plays the walker:
 * it writes to the leaf as hardware would, by a literal of the format's bits. What it sets must not
 * be lost.
 */
#include "support.h"

static const struct {
	const struct nest_format *format;
	uint32_t features;
	nest_attr_t attr;
	uint64_t set; /* what hardware or-s to the leaf */
} machines[] = {
	/* A 5, D 6 */
	{ &nest_fmt_npt, 0, NEST_RWX, 0x60 },
	{ &nest_fmt_x86_64, 0, NEST_RWX, 0x60 },
	/* A 8, D 9 */
	{ &nest_fmt_ept, NEST_FEAT_HW_AD, NEST_RWX, 0x300 },
	/* A 6, D 7 */
	{ &nest_fmt_riscv_g, NEST_FEAT_HW_AD, NEST_RWX, 0xc0 },
	/* AF 10, S2AP write 7: needs a break */
	{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD, NEST_RWX | NEST_DBM, 0x480 },
	/* and without one */
	{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD | NEST_FEAT_BBM2, NEST_RWX | NEST_DBM, 0x480 },
};

static uint64_t *victim;
static uint64_t to_set;

/* One write of the hardware's, as soon as the engine has begun. */
static void hardware(void *ctx, const void *va, size_t len)
{
	(void)ctx, (void)va, (void)len;
	if (victim)
		*victim |= to_set;
	victim = NULL;
}

static void what_hardware_sets_during_a_split_is_kept(void **state)
{
	const uint64_t block = 2 << 20, page = 4096;

	(void)state;
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		struct nest_pt_config config = { .format = machines[i].format,
						 .features = machines[i].features };
		struct nest_mapping m;
		struct nest_pt pt;
		struct arena a;
		uint64_t table;

		arena_open(&a, 1 << 20);
		a.host.sync = hardware;
		config.host = &a.host;
		config.ctx = &a;
		assert_int_equal(nest_pt_init(&pt, &config), NEST_OK);
		assert_int_equal(nest_pt_map(&pt, 0, 0x80000000, block, machines[i].attr, 0, NULL),
				 NEST_OK);
		assert_int_equal(nest_pt_query(&pt, 0, &m), NEST_OK);
		assert_int_equal(m.size, block);
		assert_false(m.attr & (NEST_ACCESSED | NEST_DIRTY));
		/*
		 * The leaf: entry 0 of every table down to level 1; bits 47:12 or 53:10 lead there.
		 */
		table = nest_pt_root(&pt);
		for (unsigned level = nest_pt_levels(&pt) - 1; level > 1; level--) {
			uint64_t e = *(uint64_t *)arena_ptr(&a, table);

			table = config.format == &nest_fmt_riscv_g ? (e >> 10 & 0xfffffffffff) << 12
								   : e & 0xfffffffff000;
		}
		victim = arena_ptr(&a, table);
		to_set = machines[i].set;
		assert_int_equal(nest_pt_unmap(&pt, 3 * page, page, 0, NULL), NEST_OK);
		assert_null(victim);
		for (uint64_t ia = 0; ia < block; ia += page) {
			int want = ia == 3 * page ? NEST_E_NOTMAPPED : NEST_OK;

			assert_int_equal(nest_pt_query(&pt, ia, &m), want);
			if (!want)
				assert_int_equal(m.attr,
						 machines[i].attr | NEST_ACCESSED | NEST_DIRTY);
		}
		nest_pt_destroy(&pt);
		assert_int_equal(a.outstanding, 0);
		arena_close(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_hardware_sets_during_a_split_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
