/* SPDX-License-Identifier: MIT */
/*
 * Shared mode: single faults at random, by one thread, two, or more. What they cost is held against
 * the same by one thread, or in exclusive mode. The limit of these is the engine itself.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

enum { FAULTS = 1 << 19, MOST_PARTS = 64 };

static uint64_t at[FAULTS];

struct part {
	struct subject *s;
	const uint64_t *at;
	uint64_t n, base;
	int cpu;         /* -1: where the caller runs */
	unsigned *ready; /* threads that wait for the others; NULL: there are none */
	unsigned parts;
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
	while (p->ready && __atomic_load_n(p->ready, __ATOMIC_SEQ_CST) < p->parts)
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

/* How the faults are shared out. */
struct way {
	unsigned parts;
	bool apart; /* each part has its own piece of the address space; else every parts-th page */
	bool threads; /* one a part; else one part after the other */
	uint32_t mode;
};

static void share_out(struct subject *s, const struct way *w, struct part *part)
{
	const uint64_t far = (uint64_t)1 << (s->ia_bits - 7), n = FAULTS / w->parts;

	for (unsigned t = 0; t < w->parts; t++) {
		uint64_t *mine = &at[t * n];

		for (uint64_t i = 0; i < n; i++)
			mine[i] = (w->apart ? i : i * w->parts + t) * s->page;
		for (uint64_t i = n - 1; i > 0; i--) {
			uint64_t k = random_below(i + 1), a = mine[k];

			mine[k] = mine[i];
			mine[i] = a;
		}
		part[t] = (struct part){ .s = s,
					 .at = mine,
					 .n = n,
					 .parts = w->parts,
					 .base = w->apart ? t * far : 0,
					 .cpu = w->threads ? (int)t : -1 };
	}
}

static double faults(struct subject *s, const struct way *w, uint64_t *count)
{
	struct part part[MOST_PARTS];
	pthread_t thread[MOST_PARTS];
	unsigned ready = 0;
	double begin, end;

	subject_open_mode(s, w->mode);
	*count = FAULTS / w->parts * w->parts;
	share_out(s, w, part);
	begin = now_ns();
	for (unsigned t = 0; t < w->parts; t++) {
		if (!w->threads) {
			(void)fault_in(&part[t]);
			continue;
		}
		part[t].ready = &ready;
		if (pthread_create(&thread[t], NULL, fault_in, &part[t])) {
			perror("nest_bench: a thread");
			exit(1);
		}
	}
	end = now_ns();
	for (unsigned t = 0; t < w->parts && w->threads; t++) {
		pthread_join(thread[t], NULL);
		begin = t && begin < part[t].begin ? begin : part[t].begin;
		end = t && end > part[t].end ? end : part[t].end;
	}
	return end - begin;
}

double shared_one(struct subject *s, enum side side, uint64_t *count)
{
	const struct way w = { 2, true, false, side == ENGINE ? NEST_PT_SHARED : 0 };

	return faults(s, &w, count);
}

double shared_apart(struct subject *s, enum side side, uint64_t *count)
{
	return faults(s, &(struct way){ 2, true, side == ENGINE, NEST_PT_SHARED }, count);
}

double shared_near(struct subject *s, enum side side, uint64_t *count)
{
	return faults(s, &(struct way){ 2, false, side == ENGINE, NEST_PT_SHARED }, count);
}

/* ---- From one CPU to all ---- */

/* Million faults a second. */
static double rate(struct subject *s, unsigned threads, bool apart, unsigned rounds)
{
	const struct way w = { threads, apart, true, NEST_PT_SHARED };
	double best = 0;

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t count;
		const double ns = faults(s, &w, &count), now = (double)count * 1000 / ns;

		best = now > best ? now : best;
	}
	return best;
}

void scaling(struct subject *s, unsigned threads, unsigned rounds)
{
	double alone[2] = { 0, 0 };

	threads = threads < MOST_PARTS ? threads : MOST_PARTS;
	for (unsigned n = 1; n <= threads; n = n < threads && 2 * n > threads ? threads : 2 * n) {
		printf("%-17s %2u threads:", s->info.name, n);
		for (unsigned near = 0; near < 2; near++) {
			const double now = rate(s, n, !near, rounds);

			alone[near] = n == 1 ? now : alone[near];
			printf(" %s %6.2f million faults a second (%.2f of one thread's)%s",
			       near ? "in one" : "in subtrees of their own", now, now / alone[near],
			       near ? "\n" : ";");
		}
	}
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
