/* SPDX-License-Identifier: MIT */
/*
 * Three threads each take their page out of one table at the same time. Whoever is last removes the
 * table. Each of them may see the others' pages as they were, and leave the table to them: the test
 * sees that none is left behind.
 */
#include "common.h"

#include <sched.h>

enum { THREADS = 3, ROUNDS = 50, TURNS = 4 };

static struct {
	struct nest_pt pt;
	struct nest_epoch epoch;
	struct nest_epoch_slot slot[THREADS];
	nest_ia_t page;
	pthread_barrier_t unmapped, seen;
} w;

static void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	nest_epoch_defer(&w.epoch, fn, arg);
}

static void host_relax(void *ctx)
{
	(void)ctx;
	sched_yield();
}

static const struct nest_host host = { .alloc = stress_alloc,
				       .free = stress_free,
				       .tlb_flush = host_flush,
				       .relax = host_relax,
				       .defer = host_defer };

/* Until no other CPU is in the way. */
static void must_map(nest_ia_t ia)
{
	int err;

	do
		err = nest_pt_map(&w.pt, ia, ia, w.page, NEST_R, NEST_MAP_NO_HUGE, NULL);
	while (err == NEST_E_BUSY);
	if (err)
		stress_fail("map: %s", nest_strerror(err));
}

static void must_unmap(nest_ia_t ia)
{
	int err;

	do
		err = nest_pt_unmap(&w.pt, ia, w.page, 0, NULL);
	while (err == NEST_E_BUSY);
	if (err)
		stress_fail("unmap: %s", nest_strerror(err));
}

static void *thread_main(void *arg)
{
	const unsigned id = (unsigned)(uintptr_t)arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		/* Neighbours in one round, far apart in the next. */
		const nest_ia_t ia = (round & 1 ? 7 + 150 * id : 3 + id) * w.page;

		for (unsigned turn = 0; turn < TURNS; turn++) {
			nest_epoch_enter(&w.epoch, id);
			must_map(ia);
			must_unmap(ia);
			nest_epoch_exit(&w.epoch, id);
		}
		pthread_barrier_wait(&w.unmapped);
		if (id == 0) {
			struct nest_pt_stats stats;
			int err = nest_pt_stats(&w.pt, &stats);

			if (err || stats.tables != 1)
				stress_fail("round %u: %lu tables hold nothing", round,
					    (unsigned long)stats.tables - 1);
		}
		pthread_barrier_wait(&w.seen);
	}
	return NULL;
}

static void run(const struct nest_format *format)
{
	const struct nest_pt_config config = { .format = format,
					       .flags = NEST_PT_SHARED,
					       .host = &host };
	pthread_t thread[THREADS];

	stress_format = nest_format_name(format);
	if (nest_epoch_init(&w.epoch, w.slot, THREADS) || nest_pt_init(&w.pt, &config))
		stress_fail("init");
	w.page = (nest_ia_t)1 << nest_pt_shift(&w.pt, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		if (pthread_create(&thread[i], NULL, thread_main, (void *)(uintptr_t)i))
			stress_fail("thread");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	nest_pt_destroy(&w.pt);
	while (nest_epoch_poll(&w.epoch, 0))
		;
	if (atomic_load(&stress_tables))
		stress_fail("%ld tables are not given back", atomic_load(&stress_tables));
}

int main(void)
{
	pthread_barrier_t *const barriers[] = { &w.unmapped, &w.seen };

	stress_program = "stress_empty";
	for (unsigned i = 0; i < 2; i++)
		pthread_barrier_init(barriers[i], NULL, THREADS);
	for (unsigned n = 0; nest_formats[n]; n++) {
		/* Threads that run at full speed read what others have not made visible yet... */
		stress_step_pause = 0;
		run(nest_formats[n]);
		/* ...and slow ones meet each other in the middle of a step. */
		stress_step_pause = 20;
		run(nest_formats[n]);
	}
	return 0;
}
