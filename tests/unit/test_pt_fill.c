/* SPDX-License-Identifier: MIT */
/*
 * Runs of entries that one nest_pt_map() writes: each page of a run has its own frame. The loop
 * that writes a run (core/bulk.c) is one that compilers unroll and turn into vectors, so runs of
 * every length up to a few vectors are read back page by page. The frames come from an array that
 * holds one address for each page, not from the run's step.
 */
#include "support.h"

enum { LONGEST = 40 };

/* Maps `n` pages in one call and reads each back, by the engine and by the raw walker. */
static void map_and_read_back(struct fix *f, uint64_t ia, unsigned n, uint32_t flags)
{
	nest_pa_t frame[LONGEST] = { 0x12340000 };
	size_t len = strlen(test_case);

	for (unsigned k = 1; k < n; k++)
		frame[k] = frame[k - 1] + f->page;
	snprintf(test_case + len, sizeof(test_case) - len, ", %u pages", n);
	CHECK_OK(nest_pt_map(&f->pt, ia, frame[0], n * f->page, f->attr, flags, NULL));
	for (unsigned k = 0; k < n; k++)
		check_maps(f, ia + k * f->page, frame[k], f->attr);
	check_none(f, ia + n * f->page);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, n * f->page, 0, NULL));
	arena_mark(&f->a);
	test_case[len] = 0;
}

/* A table that is filled before it is linked. */
static void runs_in_a_new_table(const struct tcase *c)
{
	static struct fix f;

	fix_open(&f, c);
	for (unsigned n = 1; n <= LONGEST; n++)
		map_and_read_back(&f, place(&f, PLACE_MID, LONGEST * f.page), n, 0);
	fix_close(&f);
}

/* A table that a walker reads while it is filled; the first page of the run is at each alignment.
 */
static void runs_in_a_live_table(const struct tcase *c)
{
	static struct fix f;
	uint64_t ia;

	fix_open(&f, c);
	ia = place(&f, PLACE_MID, 4 * LONGEST * f.page);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0x80000000, f.page, f.attr, 0, NULL));
	for (unsigned n = 1; n <= LONGEST; n++)
		map_and_read_back(&f, ia + (1 + n % 8) * f.page, n, 0);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, f.page, 0, NULL));
	fix_close(&f);
}

static void each_page_of_a_new_table_has_its_own_frame(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, runs_in_a_new_table);
}

static void each_page_of_a_live_table_has_its_own_frame(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, runs_in_a_live_table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_page_of_a_new_table_has_its_own_frame),
		cmocka_unit_test(each_page_of_a_live_table_has_its_own_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
