/* SPDX-License-Identifier: MIT */
/*
 * A debug build (NEST_DEBUG): a gather that was never synced is counted, and the end of its table
 * traps.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static struct fix f;

static void open_ept(void)
{
	const struct tcase c = tcase_of(&nest_fmt_ept, 0, 0, 0);

	fix_open(&f, &c);
	/* Two tables of level 0, in one of which a page stays. */
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, 2 * f.page, f.attr, 0, NULL));
	CHECK_OK(nest_pt_map(&f.pt, 0x200000, 0x2000000, f.page, f.attr, 0, NULL));
	CHECK_EQ(nest_pt_unsynced(&f.pt), 0);
}

static void gathers_are_counted_until_they_are_synced(void **state)
{
	struct nest_gather a, b, empty;

	(void)state;
	open_ept();
	nest_gather_init(&a, &f.pt);
	nest_gather_init(&b, &f.pt);
	nest_gather_init(&empty, &f.pt);
	CHECK_OK(nest_pt_unmap(&f.pt, 0, f.page, 0, &a)); /* a range to flush */
	CHECK_EQ(nest_pt_unsynced(&f.pt), 1);
	CHECK_OK(nest_pt_unmap(&f.pt, 0x200000, f.page, 0, &b)); /* a table to free */
	CHECK_EQ(nest_pt_unsynced(&f.pt), 2);
	CHECK_OK(nest_pt_unmap(&f.pt, f.page, f.page, 0, &a));
	CHECK_EQ(nest_pt_unsynced(&f.pt), 2);
	nest_gather_sync(&empty);
	CHECK_EQ(nest_pt_unsynced(&f.pt), 2);
	nest_gather_sync(&a);
	nest_gather_sync(&a);
	CHECK_EQ(nest_pt_unsynced(&f.pt), 1);
	nest_gather_sync(&b);
	CHECK_EQ(nest_pt_unsynced(&f.pt), 0);
	fix_close(&f);
	CHECK_EQ(nest_pt_unsynced(&f.pt), 0);
	CHECK_EQ(nest_pt_unsynced(NULL), 0);
}

/* A gather that is full is synced early: it holds something again right after. */
static void a_full_gather_is_one(void **state)
{
	struct nest_gather g;

	(void)state;
	open_ept();
	nest_gather_init(&g, &f.pt);
	for (unsigned i = 0; i < 3 * NEST_GATHER_ITEMS; i++) {
		CHECK_OK(nest_pt_map(&f.pt, 0x40000000, 0x2000000, f.page, f.attr, 0, NULL));
		CHECK_OK(nest_pt_unmap(&f.pt, 0x40000000, f.page, 0, &g));
		CHECK_EQ(nest_pt_unsynced(&f.pt), 1);
	}
	nest_gather_sync(&g);
	CHECK_EQ(nest_pt_unsynced(&f.pt), 0);
	fix_close(&f);
}

/* Does the end of the table trap? In a process of its own. */
static bool destroy_traps(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		for (int i = 1; i < 32; i++)
			(void)signal(i, SIG_DFL);
		f.a.watch = NULL; /* no flush comes at the end */
		nest_pt_destroy(&f.pt);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status);
}

static void the_end_of_a_table_traps(void **state)
{
	struct nest_gather g;

	(void)state;
	open_ept();
	CHECK(!destroy_traps());
	nest_gather_init(&g, &f.pt);
	CHECK_OK(nest_pt_unmap(&f.pt, 0x200000, f.page, 0, &g));
	CHECK(destroy_traps());
	nest_gather_sync(&g);
	CHECK(!destroy_traps());
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gathers_are_counted_until_they_are_synced),
		cmocka_unit_test(a_full_gather_is_one),
		cmocka_unit_test(the_end_of_a_table_traps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
