/* SPDX-License-Identifier: MIT */
/*
 * Shared mode: single faults at random, by one thread or two. What they cost is held against the
 * same by one thread, or in exclusive mode. The limit of these is the engine itself.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

enum { FAULTS = 1 << 19, PARTS = 2 };

static uint64_t at[FAULTS];

struct part {
	struct subject *s;
	const uint64_t *at;
	uint64_t n, base;
	int cpu;         /* -1: where the caller runs */
	unsigned *ready; /* threads that wait for the others; NULL: there are none */
	double begin, end;
};

static void *fault_in(void *arg)
{
	struct part *p = arg;
	cpu_set_t one;

	if (p->cpu >= 0) {
		CPU_ZERO(&one);
		CPU_SET((unsigned)p->cpu, &one);
		(void)sched_setaffinity(0, sizeof(one), &one);
	}
	/* Not asleep: to wake up takes longer than the work. */
	if (p->ready)
		(void)__atomic_add_fetch(p->ready, 1, __ATOMIC_SEQ_CST);
	while (p->ready && __atomic_load_n(p->ready, __ATOMIC_SEQ_CST) < PARTS)
		;
	p->begin = now_ns();
	for (uint64_t i = 0; i < p->n; i++) {
		int err = nest_pt_map(&p->s->pt, p->base + p->at[i], p->at[i], p->s->page,
				      p->s->attr, 0, NULL);

		if (err) {
			fprintf(stderr, "nest_bench: a fault: %s\n", nest_strerror(err));
			exit(1);
		}
	}
	p->end = now_ns();
	return NULL;
}

/* Pages of one thread are even, of the other odd, or lie in another half of the address space. */
static double faults(struct subject *s, unsigned threads, bool apart, uint32_t mode,
		     uint64_t *count)
{
	uint64_t far = (uint64_t)1 << (s->ia_bits - 2);
	struct part part[PARTS];
	pthread_t thread[PARTS];
	unsigned ready = 0;
	double begin;

	subject_open_mode(s, mode);
	*count = FAULTS;
	for (uint64_t i = 0; i < FAULTS; i++)
		at[i] = apart ? i / 2 * s->page : i * s->page;
	/* Each thread has its half of the list. */
	for (unsigned t = 0; t < PARTS; t++) {
		uint64_t *mine = &at[t * (FAULTS / PARTS)];

		for (uint64_t i = 0; i < FAULTS / PARTS; i++)
			mine[i] = (apart ? i : i * PARTS + t) * s->page;
		for (uint64_t i = FAULTS / PARTS - 1; i > 0; i--) {
			uint64_t k = random_below(i + 1), a = mine[k];

			mine[k] = mine[i];
			mine[i] = a;
		}
		part[t] = (struct part){ .s = s,
					 .at = mine,
					 .n = FAULTS / PARTS,
					 .base = apart ? t * far : 0,
					 .cpu = threads > 1 ? (int)t : -1,
					 .ready = threads > 1 ? &ready : NULL };
	}
	if (threads == 1) {
		begin = now_ns();
		(void)fault_in(&part[0]);
		(void)fault_in(&part[1]);
		return now_ns() - begin;
	}
	for (unsigned t = 0; t < PARTS; t++) {
		if (pthread_create(&thread[t], NULL, fault_in, &part[t]))
			exit(1);
	}
	for (unsigned t = 0; t < PARTS; t++)
		pthread_join(thread[t], NULL);
	begin = part[0].begin < part[1].begin ? part[0].begin : part[1].begin;
	return (part[0].end > part[1].end ? part[0].end : part[1].end) - begin;
}

double shared_one(struct subject *s, enum side side, uint64_t *count)
{
	return faults(s, 1, true, side == ENGINE ? NEST_PT_SHARED : 0, count);
}

double shared_apart(struct subject *s, enum side side, uint64_t *count)
{
	return faults(s, side == ENGINE ? 2 : 1, true, NEST_PT_SHARED, count);
}

double shared_near(struct subject *s, enum side side, uint64_t *count)
{
	return faults(s, side == ENGINE ? 2 : 1, false, NEST_PT_SHARED, count);
}

/* ---- The longest step ---- */

enum { MOST_STEPS = 1 << 20 };

static int by_time(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

void latency(struct subject *s, uint64_t size, uint64_t budget)
{
	struct nest_gather g;
	static double time[MOST_STEPS];
	uint64_t steps = 0, done, most = 0;
	int err;

	subject_open(s);
	nest_gather_init(&g, &s->pt);
	nest_gather_limit(&g, budget);
	err = nest_pt_map(&s->pt, 0, 0, size, s->attr, NEST_MAP_NO_HUGE, NULL);
	for (uint64_t off = 0; !err && off < size && steps < MOST_STEPS; off += done) {
		double begin = now_ns();

		err = nest_pt_unmap(&s->pt, off, size - off, 0, &g);
		nest_gather_sync(&g);
		done = nest_gather_done(&g);
		time[steps++] = now_ns() - begin;
		most = done > most ? done : most;
		if (err == NEST_E_AGAIN)
			err = NEST_OK;
	}
	qsort(time, steps, sizeof(*time), by_time);
	if (err)
		printf("%-17s latency: %s\n", s->info.name, nest_strerror(err));
	else
		printf("%-17s unmap of %lu GiB by a budget of %lu entries: %lu steps, of at most "
		       "%lu entries; half take %.1f us, all but one in 10,000 %.1f us, the longest "
		       "%.1f us (with what else the machine did)\n",
		       s->info.name, (unsigned long)(size >> 30), (unsigned long)budget,
		       (unsigned long)steps, (unsigned long)(most / s->page),
		       time[steps / 2] / 1000, time[steps - 1 - steps / 10000] / 1000,
		       time[steps - 1] / 1000);
}
