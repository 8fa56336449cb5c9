/* SPDX-License-Identifier: MIT */
/*
 * What is told to others, and when: releases only after the whole unit is gone and synced, allow
 * for every way to a right, status of groups, deferred frees. Each test is a mistake that was made
 * once.
 */
#include "support.h"

static const uint64_t page = 4096, whole = 16 * 4096, frames = 0x80000000;

static struct arena a;
static struct nest_pt pt;

static void start(const struct nest_format *format, uint32_t features)
{
	struct nest_pt_config config = { .format = format, .features = features };

	arena_open(&a, 4 << 20);
	config.host = &a.host;
	config.ctx = &a;
	assert_int_equal(nest_pt_init(&pt, &config), NEST_OK);
}

static void end(void)
{
	nest_pt_destroy(&pt);
	assert_int_equal(a.outstanding, 0);
	arena_close(&a);
}

/* The level 0 table of low addresses of an AArch64 4K or RISC-V table: entry 0 all the way down. */
static uint64_t *leaf_table(bool riscv)
{
	uint64_t table = nest_pt_root(&pt);

	for (unsigned level = nest_pt_levels(&pt) - 1; level; level--) {
		uint64_t e = *(uint64_t *)arena_ptr(&a, table);

		table = riscv ? (e >> 10 & 0xfffffffffff) << 12 : e & 0xfffffffff000;
	}
	return arena_ptr(&a, table);
}

static uint64_t *watched;
static unsigned released, too_early;

/* No member of the group may still be valid (bit 0) and contiguous (bit 52) to the old frames. */
static void release(void *ctx, const struct nest_mapping *leaf)
{
	(void)ctx, (void)leaf;
	released++;
	for (unsigned i = 0; i < 16; i++)
		too_early += (watched[i] & 1) && (watched[i] & 0xfffffff00000) == frames;
}

static void a_group_is_gone_before_a_member_is_released(void **state)
{
	(void)state;
	for (unsigned replace = 0; replace < 2; replace++) {
		struct nest_gather g;

		start(&nest_fmt_aarch64_s2_4k, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD);
		assert_int_equal(nest_pt_map(&pt, 0, frames, whole, NEST_RW | NEST_DBM, 0, NULL),
				 NEST_OK);
		/* Keeps the table. */
		assert_int_equal(nest_pt_map(&pt, 64 * page, frames, page, NEST_R, 0, NULL),
				 NEST_OK);
		watched = leaf_table(false);
		/* Hardware makes every second member dirty (S2AP write, bit 7): no two are alike.
		 */
		for (unsigned i = 0; i < 16; i += 2)
			watched[i] |= 0x80;
		released = too_early = 0;
		nest_gather_init(&g, &pt);
		nest_gather_on_release(&g, release, NULL);
		if (replace)
			assert_int_equal(nest_pt_map(&pt, 0, 2 * frames, whole, NEST_RW,
						     NEST_MAP_REPLACE, &g),
					 NEST_OK);
		else
			assert_int_equal(nest_pt_unmap(&pt, 0, whole, 0, &g), NEST_OK);
		nest_gather_sync(&g);
		assert_int_equal(released, 16);
		assert_int_equal(too_early, 0);
		end();
	}
}

static uint64_t seen[512];

static void take_note(void *ctx, const void *va, size_t len)
{
	uint8_t *copy = (uint8_t *)seen;
	size_t at = (size_t)((const uint8_t *)va - (const uint8_t *)watched);

	(void)ctx;
	if (watched && at < sizeof(seen))
		memcpy(copy + at, va, len);
}

static void release_seen(void *ctx, const struct nest_mapping *leaf)
{
	(void)ctx;
	released++;
	too_early += (unsigned)(seen[leaf->ia / page] & 1);
}

/* A walker that is not coherent sees only what sync() was called for. */
static void an_entry_is_synced_before_its_leaf_is_released(void **state)
{
	struct nest_gather g;

	(void)state;
	watched = NULL;
	start(&nest_fmt_ept, 0);
	a.host.sync = take_note;
	/* Frames that do not follow each other, so that the gather is full soon. */
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(
			nest_pt_map(&pt, i * page, frames + 2 * i * page, page, NEST_RW, 0, NULL),
			NEST_OK);
	watched = leaf_table(false);
	memcpy(seen, watched, sizeof(seen));
	released = too_early = 0;
	nest_gather_init(&g, &pt);
	nest_gather_on_release(&g, release_seen, NULL);
	assert_int_equal(nest_pt_unmap(&pt, 0, 20 * page, 0, &g), NEST_OK);
	nest_gather_sync(&g);
	assert_int_equal(released, 20);
	assert_int_equal(too_early, 0);
	watched = NULL;
	end();
}

static bool no_write_back(nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	(void)pa, (void)size;
	return (attr & NEST_MT_MASK) != NEST_MT_WB;
}

/* Page 5 of the group may not be written. */
static bool not_page_5(nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	return !(attr & NEST_W) || pa > frames + 5 * page || pa + size <= frames + 5 * page;
}

static void protect_asks_for_every_right_and_for_the_right_frame(void **state)
{
	(void)state;
	start(&nest_fmt_ept, 0);
	a.policy = no_write_back;
	assert_int_equal(nest_pt_map(&pt, 0, frames, page, NEST_RW | NEST_MT_UC, 0, NULL), NEST_OK);
	assert_int_equal(nest_pt_protect(&pt, 0, page, NEST_MT_WB, NEST_MT_MASK, 0, NULL),
			 NEST_E_DENIED);
	end();
	start(&nest_fmt_riscv_g, NEST_FEAT_CONTIG);
	a.policy = not_page_5;
	assert_int_equal(nest_pt_map(&pt, 0, frames, whole, NEST_R, 0, NULL), NEST_OK);
	assert_int_equal(nest_pt_protect(&pt, 5 * page, page, NEST_W, 0, 0, NULL), NEST_E_DENIED);
	assert_int_equal(nest_pt_protect(&pt, 6 * page, page, NEST_W, 0, 0, NULL), NEST_OK);
	end();
}

static void status_of_one_member_is_that_of_the_group(void **state)
{
	const nest_attr_t ad = NEST_ACCESSED | NEST_DIRTY;
	struct nest_mapping m;

	(void)state;
	start(&nest_fmt_riscv_g, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD);
	assert_int_equal(nest_pt_map(&pt, 0, frames, whole, NEST_RW, 0, NULL), NEST_OK);
	leaf_table(true)[5] |= 0xc0; /* A, D */
	assert_int_equal(nest_pt_query(&pt, 0, &m), NEST_OK);
	assert_true(m.contiguous && (m.attr & ad) == ad);
	assert_int_equal(nest_pt_protect(&pt, 0, whole, 0, ad, 0, NULL), NEST_OK);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(leaf_table(true)[i] & 0xc0, 0);
	leaf_table(true)[0] |= 0xc0;
	assert_int_equal(nest_pt_protect(&pt, 0, whole, ad, 0, 0, NULL), NEST_OK);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(leaf_table(true)[i] & 0xc0, 0xc0);
	end();
}

/* On Arm NEST_MT_UC is nGnRnE, which a query calls NEST_MT_DEVICE_STRICT. */
static void a_group_stays_when_its_memory_type_is_given_by_another_name(void **state)
{
	(void)state;
	start(&nest_fmt_aarch64_s2_4k, NEST_FEAT_CONTIG);
	assert_int_equal(nest_pt_map(&pt, 0, frames, whole, NEST_RW | NEST_MT_UC, 0, NULL),
			 NEST_OK);
	assert_int_equal(nest_pt_protect(&pt, 0, whole, NEST_MT_UC, NEST_MT_MASK, 0, NULL),
			 NEST_OK);
	assert_int_equal(a.nr_flush, 0);
	end();
}

/* D8.7.1: members that differ in rights may not be contiguous (bit 52). S2AP write is bit 7. */
static void groups_that_a_range_cuts_are_broken_up_at_both_ends(void **state)
{
	(void)state;
	start(&nest_fmt_aarch64_s2_4k, NEST_FEAT_CONTIG);
	/* With nobody to ask about each, pages that are alike are changed together. */
	a.host.allow = NULL;
	assert_int_equal(nest_pt_map(&pt, 0, frames, 4 * whole, NEST_RW, 0, NULL), NEST_OK);
	assert_int_equal(nest_pt_protect(&pt, 8 * page, 32 * page, 0, NEST_W, 0, NULL), NEST_OK);
	for (unsigned i = 0; i < 64; i++) {
		const uint64_t e = leaf_table(false)[i];

		assert_int_equal(e >> 7 & 1, i < 8 || i >= 40);
		assert_int_equal(e >> 52 & 1, i / 16 == 1 || i / 16 == 3);
	}
	end();
}

static void a_deferred_free_outlives_the_table(void **state)
{
	(void)state;
	start(&nest_fmt_ept, 0);
	arena_use_defer(&a);
	assert_int_equal(nest_pt_map(&pt, 0, frames, page, NEST_RW, 0, NULL), NEST_OK);
	assert_int_equal(nest_pt_unmap(&pt, 0, page, 0, NULL), NEST_OK);
	nest_pt_destroy(&pt);
	assert_int_equal(a.nr_deferred, 3);
	arena_run_deferred(&a);
	assert_int_equal(a.outstanding, 0);
	arena_close(&a);
}

static void a_dirty_page_that_cannot_be_write_protected_is_refused(void **state)
{
	struct nest_mapping m;

	(void)state;
	start(&nest_fmt_loongarch_s2_4k, NEST_FEAT_PTW | NEST_FEAT_HW_AD);
	assert_int_equal(nest_pt_map(&pt, 0, frames, page, NEST_RW, 0, NULL), NEST_OK);
	/* Clean now, but hardware may make it dirty at any moment. */
	assert_int_equal(nest_pt_protect(&pt, 0, page, 0, NEST_W, 0, NULL), NEST_E_UNSUPPORTED);
	assert_int_equal(nest_pt_protect(&pt, 0, page, 0, NEST_W | NEST_DIRTY, 0, NULL), NEST_OK);
	assert_int_equal(nest_pt_query(&pt, 0, &m), NEST_OK);
	assert_false(m.attr & NEST_W);
	end();
}

static void another_frame_waits_for_the_flush_of_the_first(void **state)
{
	struct nest_gather g;

	(void)state;
	start(&nest_fmt_aarch64_s2_4k, 0);
	assert_int_equal(nest_pt_map(&pt, 0, frames, 2 * page, NEST_RW, 0, NULL), NEST_OK);
	nest_gather_init(&g, &pt);
	assert_int_equal(nest_pt_unmap(&pt, 0, page, 0, &g), NEST_OK);
	assert_int_equal(a.nr_flush, 0);
	assert_int_equal(nest_pt_map(&pt, 0, 2 * frames, page, NEST_RW, 0, &g), NEST_OK);
	assert_int_equal(a.nr_flush, 1);
	nest_gather_sync(&g);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_is_gone_before_a_member_is_released),
		cmocka_unit_test(an_entry_is_synced_before_its_leaf_is_released),
		cmocka_unit_test(protect_asks_for_every_right_and_for_the_right_frame),
		cmocka_unit_test(status_of_one_member_is_that_of_the_group),
		cmocka_unit_test(a_group_stays_when_its_memory_type_is_given_by_another_name),
		cmocka_unit_test(groups_that_a_range_cuts_are_broken_up_at_both_ends),
		cmocka_unit_test(a_deferred_free_outlives_the_table),
		cmocka_unit_test(a_dirty_page_that_cannot_be_write_protected_is_refused),
		cmocka_unit_test(another_frame_waits_for_the_flush_of_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
