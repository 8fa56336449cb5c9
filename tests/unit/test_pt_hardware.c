/* SPDX-License-Identifier: MIT */
/*
 * Hardware that sets accessed and dirty at the worst moment: after the engine has read a leaf and
 * before it replaces it. What is called in between plays the walker: it writes to the leaf as
 * hardware would, by a literal of the format's bits. For a split that is the host's sync callback,
 * for a protect, which calls nobody, a signal handler: the table cannot be written to, so the
 * engine's first store traps. What hardware sets must not be lost.
 */
#include <signal.h>
#include <sys/mman.h>

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
	{ &nest_fmt_riscv_g, NEST_FEAT_HW_AD | NEST_FEAT_PBMT, NEST_RWX, 0xc0 },
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

static void start(size_t machine, struct arena *a, struct nest_pt *pt)
{
	struct nest_pt_config config = { .format = machines[machine].format,
					 .features = machines[machine].features };

	arena_open(a, 1 << 20);
	config.host = &a->host;
	config.ctx = a;
	assert_int_equal(nest_pt_init(pt, &config), NEST_OK);
}

static void end(struct arena *a, struct nest_pt *pt)
{
	nest_pt_destroy(pt);
	assert_int_equal(a->outstanding, 0);
	arena_close(a);
}

/* Entry 0 of every table down to `level`; bits 47:12 or 53:10 of a pointer lead on. */
static uint64_t *first_entry(size_t machine, struct arena *a, const struct nest_pt *pt,
			     unsigned level)
{
	uint64_t table = nest_pt_root(pt);

	for (unsigned l = nest_pt_levels(pt) - 1; l > level; l--) {
		uint64_t e = *(uint64_t *)arena_ptr(a, table);

		table = machines[machine].format == &nest_fmt_riscv_g
				? (e >> 10 & 0xfffffffffff) << 12
				: e & 0xfffffffff000;
	}
	return arena_ptr(a, table);
}

static void what_hardware_sets_during_a_split_is_kept(void **state)
{
	const uint64_t block = 2 << 20, page = 4096;

	(void)state;
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		struct nest_mapping m;
		struct nest_pt pt;
		struct arena a;

		start(i, &a, &pt);
		a.host.sync = hardware;
		assert_int_equal(nest_pt_map(&pt, 0, 0x80000000, block, machines[i].attr, 0, NULL),
				 NEST_OK);
		assert_int_equal(nest_pt_query(&pt, 0, &m), NEST_OK);
		assert_int_equal(m.size, block);
		assert_false(m.attr & (NEST_ACCESSED | NEST_DIRTY));
		victim = first_entry(i, &a, &pt, 1);
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
		end(&a, &pt);
	}
}

enum { GUARD = 64 << 10 }; /* a page of any host; the arena's memory is aligned to more */

static void *guarded(uint64_t *entry)
{
	return (void *)((uintptr_t)entry & ~(uintptr_t)(GUARD - 1));
}

/* The engine stores, and hardware is a moment earlier. A trap that is not the guard's is fatal. */
static void trapped(int signal)
{
	uint64_t *entry = victim;

	if (!entry || mprotect(guarded(entry), GUARD, PROT_READ | PROT_WRITE))
		abort();
	(void)signal;
	hardware(NULL, NULL, 0);
}

/*
 * Rights change, or the memory type, which on AArch64 needs a break, or the status. Pages beside
 * it, which were like it until then, get what is asked for, and no more.
 */
static void what_hardware_sets_during_a_protect_is_kept(void **state)
{
	static const struct {
		nest_attr_t set, clear;
	} changes[] = { { 0, NEST_X },
			{ NEST_MT_UC, NEST_MT_MASK },
			{ 0, NEST_X | NEST_ACCESSED | NEST_DIRTY } };
	const nest_attr_t ad = NEST_ACCESSED | NEST_DIRTY;
	const uint64_t page = 4096, size = 16 * page;
	const size_t kinds = sizeof(changes) / sizeof(changes[0]);
	struct sigaction action = { .sa_handler = trapped }, old;

	(void)state;
	assert_int_equal(sigaction(SIGSEGV, &action, &old), 0);
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]) * kinds; i++) {
		nest_attr_t set = changes[i % kinds].set, clear = changes[i % kinds].clear;
		struct nest_mapping m;
		struct nest_pt pt;
		struct arena a;
		uint64_t *leaf;

		start(i / kinds, &a, &pt);
		a.host.allow = NULL;
		assert_int_equal(
			nest_pt_map(&pt, 0, 0x80000000, size, machines[i / kinds].attr, 0, NULL),
			NEST_OK);
		leaf = victim = first_entry(i / kinds, &a, &pt, 0);
		to_set = machines[i / kinds].set;
		assert_int_equal(mprotect(guarded(leaf), GUARD, PROT_READ), 0);
		assert_int_equal(nest_pt_protect(&pt, 0, size, set, clear, 0, NULL), NEST_OK);
		assert_null(victim);
		for (uint64_t ia = 0; ia < size; ia += page) {
			assert_int_equal(nest_pt_query(&pt, ia, &m), NEST_OK);
			assert_int_equal(m.attr & (NEST_RWX | ad),
					 (NEST_RWX | (ia ? 0 : ad)) & ~clear);
		}
		end(&a, &pt);
	}
	assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_hardware_sets_during_a_split_is_kept),
		cmocka_unit_test(what_hardware_sets_during_a_protect_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
