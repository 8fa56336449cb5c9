/* SPDX-License-Identifier: MIT */
/*
 * The world of `stress`: areas of pages, whose owners are workers, and readers that only walk.
 */
#ifndef NEST_TESTS_STRESS_WORLD_H
#define NEST_TESTS_STRESS_WORLD_H

#include "common.h"

enum { MOST_WORKERS = 8, READERS = 2, CPUS = MOST_WORKERS + 1 };
enum { WINDOW = 1024, RUN = 4, GENERATIONS = 4 };
/*
 * The window: pages of many owners, across the border of two tables. Few: so few pages in each of
 * some tables that these come and go all the time. Blocks: of one owner each, mapped as a whole and
 * in parts.
 */
enum { DENSE, FEW, FIRST_BLOCK, AREAS = FIRST_BLOCK + 3, FEW_TABLES = 4, FEW_PAGES = 8 };
/* Frames of one generation lie at the address plus generation << this. */
enum { GENERATION_SHIFT = 37 };

/* What the owner of a page knows of it. */
struct cell {
	enum nest_pte_kind kind;
	unsigned generation;
	nest_attr_t attr;
	uint64_t mark;
};

struct area {
	nest_ia_t base;
	uint64_t pages;
	uint64_t in_table; /* pages side by side; the next are in the next table of level 0 */
	struct cell *cell;
	/* By page and generation: the rights that a reader may find; 0: the frame is dead. */
	atomic_uint *may;
	/*
	 * By page: odd while it is mapped and its owner leaves it alone. In FEW only: pages of a
	 * block go away for a moment when others split it.
	 */
	atomic_uint *steady;
};

/* A CPU that only walks. */
struct reader {
	struct tlb tlb;
	uint64_t walks, found;
};

struct worker {
	unsigned id;
	uint64_t random, calls, busy;
};

struct world {
	const struct nest_format *format;
	uint64_t page, span;
	unsigned workers;
	struct nest_pt pt;
	struct nest_epoch epoch;
	struct nest_epoch_slot slot[CPUS];
	struct area area[AREAS];
	struct reader reader[READERS];
	struct worker worker[MOST_WORKERS];
	nest_attr_t attr;
	uint64_t calls_each;
	atomic_uint running;
};
extern struct world w;

static inline nest_ia_t ia_of(const struct area *a, uint64_t page)
{
	return a->base + page / a->in_table * w.span + page % a->in_table * w.page;
}

static inline atomic_uint *may_of(struct area *a, uint64_t page, unsigned generation)
{
	return &a->may[page * GENERATIONS + generation];
}

static inline nest_pa_t frame_of(const struct area *a, uint64_t page, unsigned generation)
{
	return ia_of(a, page) + ((nest_pa_t)generation << GENERATION_SHIFT);
}

static const nest_attr_t RIGHTS = NEST_RWX;

/* ---- calls.c ---- */

/* Pages [from, from + n) of one owner. */
struct range {
	struct area *a;
	uint64_t from, n;
};

/* A call has to have this status. */
void must(const struct range *r, const char *what, int err, int want);
/* Are these pages what their owner has made of them? */
void check(struct worker *k, const struct range *r);
/* A thread that makes w.calls_each calls on its own pages, and looks at them. */
void *worker_main(void *arg);

#endif
