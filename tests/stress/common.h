/* SPDX-License-Identifier: MIT */
/*
 * What the programs of tests/stress share: random numbers, memory for tables, a way to fail, and a
 * CPU that walks the raw tables and keeps what it has found.
 *
 * A TLB drops what a flush names and nothing else: leaves of the levels in the mask, and pointers
 * to tables only if the flush is not for leaves alone. So a flush that is too small leaves a stale
 * translation, and the test uses it.
 */
#ifndef NEST_STRESS_COMMON_H
#define NEST_STRESS_COMMON_H

#include <nest/nest.h>

#include <pthread.h>
#include <stdatomic.h>

/* End the program with "PROGRAM: FORMAT: message". */
__attribute__((noreturn, format(printf, 1, 2))) void stress_fail(const char *format, ...);
/* Set before the first thread starts. */
extern const char *stress_program, *stress_format;

/* A random number below n. */
uint64_t stress_below(uint64_t *random, uint64_t n);
/* Sleep for less than this. */
void stress_pause(uint64_t *random, unsigned microseconds);
/*
 * NEST_BEFORE_STORE_HOOK: now and then the thread loses its CPU before a store; more often where
 * the store does not go on with a run of entries, if stress_step_pause (in microseconds) is set.
 */
void stress_storing(const nest_pte_t *p);
extern unsigned stress_step_pause;

/* nest_host.alloc and .free. Each table is one heap block, freed for good: ASan sees late reads. */
nest_pa_t stress_alloc(void *ctx, size_t size);
void stress_free(void *ctx, nest_pa_t pa, size_t size);
extern atomic_long stress_tables; /* in use */

enum { TLB_KEPT = 32 };

struct tlb {
	pthread_mutex_t lock; /* held while a translation is made and used: a flush waits for it */
	struct {
		nest_ia_t ia;
		uint64_t size; /* 0: unused */
		nest_pa_t pa;
		nest_attr_t attr;
		unsigned level;
	} kept[TLB_KEPT];
	/* Walk cache: tables of level 0. */
	struct {
		nest_ia_t ia;
		nest_pa_t table; /* 0: none */
	} near[TLB_KEPT];
	uint64_t random;
};

/* The end of a walk: entry `e`, read at *p. */
struct walk {
	nest_pte_t *p, e;
	struct nest_pte_info info;
	unsigned level;
};

/*
 * Walk from the root, or from a table of level 0 that `t` has found before (t NULL: from the root).
 * True: *out is a leaf. An entry that no CPU accepts ends the program.
 */
bool tlb_walk(struct tlb *t, const struct nest_pt *pt, nest_ia_t ia, struct walk *out);
/* Keep the leaf in slot i. */
void tlb_keep(struct tlb *t, unsigned i, const struct nest_pt *pt, nest_ia_t ia,
	      const struct walk *leaf);
/* Takes the lock. */
void tlb_flush(struct tlb *t, const struct nest_pt *pt, const struct nest_flush *what);

#endif
