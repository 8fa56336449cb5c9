/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the benchmark share. A workload is done twice in one process, by the engine and
 * by code written by hand for the same geometry without checks (limit.h), one after the other, as
 * often as there are rounds; what counts is the ratio.
 */
#ifndef BENCH_H
#define BENCH_H

#include <nest/nest.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOST_ROUNDS = 101 };

/* ---- Memory for tables: taken once, and touched once ---- */

struct pool {
	uint8_t *memory;
	uint64_t size;
	uint64_t unit;     /* bytes of a table */
	uint64_t next;     /* bytes that have ever been given */
	uint32_t *free_at; /* units that came back, the last is the next given */
	uint64_t nr_free;
};

/* Memory for so many bytes of tables, written to once; false: there is none. */
bool pool_make(struct pool *p, uint64_t size);
/* All of it is free, in order, and cut into units of so many bytes. */
static inline void pool_reset(struct pool *p, uint64_t unit)
{
	p->unit = unit;
	p->next = p->nr_free = 0;
}

static inline nest_pa_t pool_alloc(struct pool *p)
{
	nest_pa_t pa = p->next;

	if (p->nr_free)
		return p->free_at[--p->nr_free] * p->unit;
	if (pa + p->unit > p->size)
		return NEST_PA_NONE;
	p->next += p->unit;
	return pa;
}

static inline void pool_free(struct pool *p, nest_pa_t pa)
{
	p->free_at[p->nr_free++] = (uint32_t)(pa / p->unit);
}

/* ---- A format at work ---- */

struct subject {
	const struct nest_format *format;
	struct nest_format_info info;
	uint32_t features;
	unsigned ia_bits, levels;
	nest_attr_t attr;
	nest_pte_t leaf[NEST_MAX_LEVELS]; /* of frame 0 */
	nest_pte_t table, absent[NEST_MAX_LEVELS];
	nest_pte_t writable, dirty; /* bits of a leaf of level 0 */
	nest_pte_t other;           /* what a protect makes of these bits */
	uint64_t page;              /* smallest */
	unsigned huge;              /* largest level of leaves up to 1 GiB */
	struct pool *pool;
	struct nest_host host;
	struct nest_pt pt;
	nest_pa_t root;
};

/* What does not change; false: the format has not got these features, on top of its own. */
bool subject_make(struct subject *s, const struct nest_format *format, uint32_t features,
		  struct pool *pool);
/* An empty table of it, in a pool that is all free; `mode`: NEST_PT_SHARED, or 0. */
void subject_open_mode(struct subject *s, uint32_t mode);
static inline void subject_open(struct subject *s)
{
	subject_open_mode(s, 0);
}

/* ---- Workloads ---- */

enum side { ENGINE, LIMIT, SEED, SIDES };

struct workload {
	const char *name, *what;
	const char *unit; /* what `count` counts */
	const char *limit;
	double goal;       /* ratio to the limit */
	double goal_ns;    /* ns a unit, if that is the goal instead */
	uint32_t features; /* NEST_FEAT_* that it is about: left out where they are not */
	/* Do it; returns ns, and how many units that were. */
	double (*run)(struct subject *s, enum side side, uint64_t *count);
	bool large; /* needs LARGE_POOL */
	bool seed;  /* SEED does it, too, and the engine has to be ahead of it */
	/* Locked instructions that shared mode needs: 8 ns each on top of the goal. */
	unsigned locks;
};

/* pages.c: each in exclusive and in shared mode */
/* clang-format off */
#define BENCH_PAGES(F)                                           \
	F(page_map)                                              \
	F(page_map_random)                                       \
	F(page_first)                                            \
	F(page_unmap)                                            \
	F(page_balloon)                                          \
	F(page_protect)                                          \
	F(page_translate)                                        \
	F(page_translate_random)                                 \
	F(page_query)                                            \
	F(cursor_map)                                            \
	F(cursor_unmap)                                          \
	F(cursor_translate)                                      \
	F(frames_list)
/* clang-format on */
#define BENCH_DECLARE(name)                                                                        \
	double name(struct subject *s, enum side side, uint64_t *count);                           \
	double name##_shared(struct subject *s, enum side side, uint64_t *count);
BENCH_PAGES(BENCH_DECLARE)
extern volatile uint64_t sink; /* what is computed and not used */

/* shared.c */
double shared_one(struct subject *s, enum side side, uint64_t *count);
double shared_apart(struct subject *s, enum side side, uint64_t *count);
double shared_near(struct subject *s, enum side side, uint64_t *count);
/* Print what faults cost by 1 to so many threads, of so many rounds the best. */
void scaling(struct subject *s, unsigned threads, unsigned rounds);
/* Print the longest step of a resumable unmap. */
void latency(struct subject *s, uint64_t size, uint64_t budget);

extern const struct workload workloads[];
extern const unsigned nr_workloads;

struct result {
	const struct subject *subject;
	const struct workload *workload;
	unsigned rounds;
	double ns[SIDES];     /* medians, a unit */
	double ratio;         /* median of each round's */
	double seed;          /* the same to SEED; 0: none */
	double least, most;   /* of the ratios, without a tenth at either end */
	double value, target; /* what is held against the goal */
	bool met;
};

double now_ns(void);
/* Differs from one call to the next, and is the same in every run. */
uint64_t random_below(uint64_t n);

/* ---- Reports ---- */

void report_table(const struct result *r, unsigned n);
bool report_csv(const char *path, const struct result *r, unsigned n);
bool report_json(const char *path, const struct result *r, unsigned n);
bool report_svg(const char *path, const struct result *r, unsigned n);

#endif
