/* SPDX-License-Identifier: MIT */
/*
 * Epochs where a CPU has a store buffer: core/epoch.c once more, with its loads and fences seen by
 * the test. CPU 0 takes a table out of the tree; its store may become visible to other CPUs only at
 * its next full fence. At each point where that matters, the others do what they can.
 */
#include "support.h"

static void loaded(const void *p);
static void fenced(void);

#define nest_epoch_init              litmus_init
#define nest_epoch_enter             litmus_enter
#define nest_epoch_exit              litmus_exit
#define nest_epoch_defer             litmus_defer
#define nest_epoch_poll              litmus_poll
#define __atomic_thread_fence(order) (fenced(), __atomic_thread_fence(order))
#define __atomic_load_n(p, order)                                                                  \
	__extension__({                                                                            \
		__typeof__(*(p)) seen_ = __atomic_load_n(p, order);                                \
		loaded(p);                                                                         \
		seen_;                                                                             \
	})

#include "core/epoch.c"

enum { READER = 1, POLLER = 2, CPUS = 3 };

static struct nest_epoch_slot slot[CPUS];
static struct nest_epoch epoch;

static struct {
	bool unlinking;         /* CPU 0 has stored; nobody else sees it yet */
	bool at_load, at_fence; /* when do the others run? */
	bool visible;           /* does the tree still lead to the table? */
	bool held, freed;       /* the reader has found it; it has been freed */
} world;

/* The epoch moves on if it may, and a reader comes in. */
static void others_run(void)
{
	world.at_load = world.at_fence = false;
	(void)litmus_poll(&epoch, POLLER);
	litmus_enter(&epoch, READER);
	world.held = world.visible;
}

static void loaded(const void *p)
{
	if (world.at_load && p == &epoch.now)
		others_run();
}

static void fenced(void)
{
	const bool is_cpu0 = world.unlinking && (world.at_load || world.at_fence);

	if (!is_cpu0)
		return;
	if (world.at_fence)
		others_run();
	world.unlinking = world.visible = false;
}

static void note_free(void *table)
{
	(void)table;
	world.freed = true;
}

static void unlink_one(bool at_load)
{
	static nest_pte_t table[512];

	memset(table, 0, sizeof(table));
	memset(&world, 0, sizeof(world));
	CHECK_OK(litmus_init(&epoch, slot, CPUS));
	litmus_enter(&epoch, 0);
	world.visible = world.unlinking = true;
	world.at_load = at_load;
	world.at_fence = !at_load;
	litmus_defer(&epoch, note_free, table);
	world.visible = false; /* at last */
	litmus_exit(&epoch, 0);
	CHECK(!world.at_load && !world.at_fence);
	for (unsigned i = 0; i < 10; i++)
		(void)litmus_poll(&epoch, POLLER);
	CHECK(!(world.held && world.freed));
	litmus_exit(&epoch, READER);
	for (unsigned i = 0; i < 3; i++)
		(void)litmus_poll(&epoch, POLLER);
	CHECK(world.freed);
}

/* The epoch is not read before the table is out of everybody's reach. */
static void test_a_late_reader_has_not_found_the_table(void **state)
{
	(void)state;
	unlink_one(true);
	CHECK(!world.held);
}

/* A reader that has found the table came in an epoch that is waited for. */
static void test_an_early_reader_is_waited_for(void **state)
{
	(void)state;
	unlink_one(false);
	CHECK(world.held);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_late_reader_has_not_found_the_table),
		cmocka_unit_test(test_an_early_reader_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
