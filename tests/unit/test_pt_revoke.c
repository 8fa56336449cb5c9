/* SPDX-License-Identifier: MIT */
/*
 * Revoking pages, removing marks, and maps that stop at marks.
 */
#include "support.h"

static struct fix f;

static void check_mark(nest_ia_t ia, uint64_t value)
{
	struct nest_mapping m;

	CHECK_RC(nest_pt_query(&f.pt, ia, &m), NEST_E_NOTMAPPED);
	CHECK_EQ(m.kind, NEST_PTE_MARK);
	CHECK_EQ(m.mark, value);
}

/* Every case of the sweep, and every format in shared mode. */
static void everywhere(void (*fn)(void))
{
	for (unsigned n = 0; nest_formats[n]; n++) {
		const struct tcase shared = tcase_of(nest_formats[n], 0, 0, NEST_PT_SHARED);
		const struct tcase alone = tcase_of(nest_formats[n], 0, 0, 0);

		fix_open(&f, &alone);
		fn();
		fix_close(&f);
		fix_open(&f, &shared);
		fn();
		arena_run_deferred(&f.a);
		fix_close(&f);
	}
}

/*
 *   before:  [ two large pages, or one table of small ones ]   nothing   mark 3
 *   revoke:      the middle of them, by ends that cut pages
 */
static void middle(void)
{
	const uint64_t p = f.page, large = f.max_leaf ? span(&f, 1) : 32 * p;
	const nest_ia_t ia = place(&f, PLACE_MID, 4 * large);
	const nest_pa_t pa = 8 * large;
	struct snap before;

	CHECK_OK(nest_pt_map(&f.pt, ia, pa, 2 * large, f.attr, 0, NULL));
	CHECK_OK(nest_pt_mark(&f.pt, ia + 3 * large, p, 3, NULL));
	before = snap_take(&f);
	CHECK_RC(nest_pt_revoke(&f.pt, ia, 2 * large + p, 7, 0, NULL), NEST_E_NOTMAPPED);
	CHECK_RC(nest_pt_revoke(&f.pt, ia + 3 * large, p, 7, 0, NULL), NEST_E_NOTMAPPED);
	CHECK_RC(nest_pt_revoke(&f.pt, ia, p, NEST_MARK_MAX + 1, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_revoke(&f.pt, ia, p, 7, NEST_MAP_REPLACE, NULL), NEST_E_INVAL);
	check_unchanged(&f, &before);
	snap_free(&before);
	arena_mark(&f.a);
	CHECK_OK(nest_pt_revoke(&f.pt, ia + p, 2 * large - 2 * p, 7, 0, NULL));
	CHECK(arena_flushed(&f.a, ia + p, ia + 2 * large - p - 1));
	check_maps(&f, ia, pa, f.attr);
	check_maps(&f, ia + 2 * large - p, pa + 2 * large - p, f.attr);
	check_mark(ia + p, 7);
	check_mark(ia + large - p, 7);
	check_mark(ia + large, 7);
	check_mark(ia + 2 * large - 2 * p, 7);
	check_none(&f, ia + p);
	check_none(&f, ia + large);
	check_consistent(&f);

	/* Sparse: holes and older marks, too. */
	CHECK_OK(nest_pt_revoke(&f.pt, ia, 4 * large, 9, NEST_SKIP_HOLES, NULL));
	for (uint64_t at = 0; at < 4 * large; at += large / 2) {
		check_mark(ia + at, 9);
		check_none(&f, ia + at);
	}
	check_mark(ia + 4 * large - p, 9);
	check_consistent(&f);

	/* A mark is in the way only of those who ask for it. */
	CHECK_RC(nest_pt_map(&f.pt, ia, pa, p, f.attr, NEST_MAP_KEEP_MARKS, NULL), NEST_E_MAPPED);
	CHECK_RC(nest_pt_map(&f.pt, ia, pa, 4 * large, f.attr, NEST_MAP_KEEP_MARKS, NULL),
		 NEST_E_MAPPED);
	CHECK_RC(
		nest_pt_map(&f.pt, ia, pa, p, f.attr, NEST_MAP_KEEP_MARKS | NEST_MAP_REPLACE, NULL),
		NEST_E_INVAL);
	check_mark(ia, 9);
	CHECK_OK(nest_pt_map(&f.pt, ia, pa, p, f.attr, 0, NULL));

	/* Marks go, in part; the page stays, also between two of them. */
	CHECK_OK(nest_pt_map(&f.pt, ia + large + 4 * p, pa, p, f.attr, 0, NULL));
	CHECK_OK(nest_pt_unmark(&f.pt, ia + large, large, NULL));
	check_maps(&f, ia + large + 4 * p, pa, f.attr);
	check_none(&f, ia + large + 3 * p);
	CHECK_OK(nest_pt_unmark(&f.pt, ia, 3 * large + p, NULL));
	check_maps(&f, ia, pa, f.attr);
	check_none(&f, ia + p);
	CHECK_OK(nest_pt_map(&f.pt, ia + p, pa + p, p, f.attr, NEST_MAP_KEEP_MARKS, NULL));
	check_mark(ia + 3 * large + p, 9);
	CHECK_RC(nest_pt_map(&f.pt, ia + 3 * large, pa, 2 * p, f.attr, NEST_MAP_KEEP_MARKS, NULL),
		 NEST_E_MAPPED);
	CHECK_OK(nest_pt_unmark(&f.pt, ia, 4 * large, NULL));
	CHECK_OK(nest_pt_map(&f.pt, ia + 2 * large, pa + 2 * large, 2 * large, f.attr,
			     NEST_MAP_KEEP_MARKS, NULL));
	CHECK_OK(nest_pt_unmap(&f.pt, ia, 4 * large, NEST_SKIP_HOLES, NULL));
	check_consistent(&f);
}

static void a_revoked_page_is_a_mark_and_nothing_else(void **state)
{
	(void)state;
	everywhere(middle);
}

/* What is removed is reported once, with its frame, after the flush. */
static uint64_t reported;

static void on_release(void *ctx, const struct nest_mapping *leaf)
{
	CHECK(arena_flushed_at(ctx, leaf->ia, leaf->ia + (leaf->size - 1), leaf->level));
	reported += leaf->size;
}

static void reports(void)
{
	const uint64_t large = f.max_leaf ? span(&f, 1) : 32 * f.page;
	const nest_ia_t ia = place(&f, PLACE_LOW, 4 * large);
	struct nest_gather g;

	CHECK_OK(nest_pt_map(&f.pt, ia, 8 * large, 2 * large, f.attr, 0, NULL));
	nest_gather_init(&g, &f.pt);
	nest_gather_on_release(&g, on_release, &f.a);
	arena_mark(&f.a);
	reported = 0;
	CHECK_OK(nest_pt_revoke(&f.pt, ia + f.page, large, 1, 0, &g));
	CHECK_OK(nest_pt_revoke(&f.pt, ia, 4 * large, 2, NEST_SKIP_HOLES, &g));
	nest_gather_sync(&g);
	CHECK_EQ(reported, 2 * large);
	check_mark(ia, 2);
	check_mark(ia + 4 * large - f.page, 2);
	CHECK_OK(nest_pt_unmark(&f.pt, ia, 4 * large, NULL));
	CHECK_OK(nest_pt_revoke(&f.pt, ia, f.page, 2, NEST_SKIP_HOLES, NULL));
	CHECK_OK(nest_pt_unmark(&f.pt, ia, f.page, NULL));
	check_consistent(&f);
}

static void what_is_revoked_is_reported_once(void **state)
{
	(void)state;
	everywhere(reports);
}

/* No moment at which another CPU finds the page absent: it is mapped, on its way out, or marked. */
static unsigned met;

static void while_revoked(struct arena *a, const struct nest_flush *what)
{
	struct nest_mapping m;

	(void)what;
	a->on_flush = NULL;
	met++;
	CHECK_RC(nest_pt_map(&f.pt, 0, 0x3000000, f.page, f.attr, NEST_MAP_KEEP_MARKS, NULL),
		 NEST_E_BUSY);
	CHECK_RC(nest_pt_query(&f.pt, 0, &m), NEST_E_BUSY);
}

static void another_cpu_cannot_map_a_page_that_is_being_revoked(void **state)
{
	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		const struct tcase c = tcase_of(nest_formats[n], 0, 0, NEST_PT_SHARED);

		fix_open(&f, &c);
		met = 0;
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, 2 * f.page, f.attr, 0, NULL));
		f.a.on_flush = while_revoked;
		CHECK_OK(nest_pt_revoke(&f.pt, 0, f.page, 4, 0, NULL));
		CHECK_EQ(met, 1);
		check_mark(0, 4);
		arena_run_deferred(&f.a);
		fix_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_revoked_page_is_a_mark_and_nothing_else),
		cmocka_unit_test(what_is_revoked_is_reported_once),
		cmocka_unit_test(another_cpu_cannot_map_a_page_that_is_being_revoked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
