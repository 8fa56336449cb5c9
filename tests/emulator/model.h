/* SPDX-License-Identifier: MIT */
/*
 * What the tables must mean: windows of the input address space as plain arrays of pages, changed
 * by the same calls as the tables, and never read from them. The arrays also know which pages a
 * TLB may still hold although they changed, until a flush covers them.
 */
#ifndef MODEL_H
#define MODEL_H

#include "walker.h"

enum { MODEL_WINDOWS = 5, MODEL_CELLS = 16384 };

enum cell_state { CELL_HOLE, CELL_MAPPED, CELL_MARK };

struct cell {
	nest_pa_t pa;  /* MAPPED */
	uint64_t mark; /* MARK */
	uint8_t state; /* enum cell_state */
	uint8_t attr;  /* index in the configuration's attrs */
	/*
	 * NEST_ACCESSED and NEST_DIRTY: what hardware, or software where that keeps them
	 * (walker_config.sw_ad), has set for sure; and what else may be set, since all of a larger
	 * page shares them.
	 */
	nest_attr_t ad, ad_maybe;
	uint64_t stale; /* bytes of which a TLB may hold what they were */
};

/* `cells` cells of 2^shift bytes from offset `first` on; an offset is ia without its sign. */
struct window {
	uint64_t first;
	unsigned shift; /* that of `level` */
	unsigned level;
	unsigned cells;
	struct cell *cell;
	unsigned stale_first, stale_end; /* no cell outside of these is stale */
};

/* The table under test and what belongs to it. */
struct model {
	const struct walker_config *config;
	struct nest_pt pt;
	struct nest_format_info info;
	unsigned top;        /* level of the root's entries */
	uint64_t reach;      /* offsets below it can be issued... */
	uint64_t upper;      /* ...and, where addresses have a sign, from here on */
	uint64_t page;       /* bytes of the smallest page */
	nest_pa_t frames;    /* memory to map: where it begins... */
	uint64_t frame_size; /* ...and its bytes */
	unsigned windows;
	struct window window[MODEL_WINDOWS];
	uint64_t home; /* offset of the port's area */
};
extern struct model model;

/* Make the table and the windows of a configuration, map the port's area and load the root. */
bool model_open(const struct walker_config *config);
void model_close(void);

/* A random range of a window: mostly a few cells, sometimes many. */
struct range {
	struct window *window;
	unsigned first, count;
};
struct range model_range(void);
nest_ia_t model_ia(uint64_t offset);
uint64_t model_offset(nest_ia_t ia);
static inline uint64_t range_offset(const struct range *r)
{
	return r->window->first + ((uint64_t)r->first << r->window->shift);
}
static inline uint64_t range_size(const struct range *r)
{
	return (uint64_t)r->count << r->window->shift;
}

/* An address to map `size` bytes at `offset` to, with so many pages in memory as can be. */
nest_pa_t model_frame(uint64_t offset, uint64_t size);
/* Is there memory to read and write at [pa, pa + 8)? */
bool model_is_memory(nest_pa_t pa);

/* ---- The calls: on the table, and on the arrays ---- */

int model_map(const struct range *r, nest_pa_t pa, unsigned attr, uint32_t flags,
	      struct nest_gather *gather);
int model_unmap(const struct range *r, uint32_t flags, struct nest_gather *gather);
/* Status bits are kept, and those of `ad` set, as software that keeps them would. */
int model_protect(const struct range *r, unsigned attr, nest_attr_t ad, struct nest_gather *gather);
int model_mark(const struct range *r, uint64_t value, struct nest_gather *gather);
int model_split(const struct range *r, unsigned level, struct nest_gather *gather);
int model_merge(const struct range *r, struct nest_gather *gather);
/*
 * Compare what the table says was written (which: NEST_DIRTY) or touched (NEST_ACCESSED) with what
 * was, and begin anew.
 */
void model_harvest(const struct range *r, nest_attr_t which, struct nest_gather *gather);
/* The most cells that model_harvest() takes. */
unsigned model_harvest_limit(const struct window *w);
/* What a query of the cell's first byte tells must be what the array says. */
void model_query(const struct window *w, unsigned cell);
/* Every change is synced: check that no flush was forgotten. */
void model_settled(void);
/* The n-th allocation from now on fails, and all after it; 0: none. */
void memory_fail_after(uint64_t n);
/* Has an allocation failed since? */
bool memory_was_short(void);
/* Tables that the library has and has not given back. */
uint64_t memory_outstanding(void);
void memory_reset(nest_pa_t base, uint64_t size);

/* Hardware has seen an access to a mapped cell (`done`), or has refused it. */
void model_touched(struct window *w, unsigned cell, bool done, bool writes);

/* ---- Probes: make an access and compare it with what must come of it ---- */

/* True: it was made, and what was expected came of it. */
bool probe(const struct walker_probe *what);
/* What this CPU makes of a kind of fault. */
enum nest_fault_kind fault_kind(enum nest_fault_kind kind);
/* One access to a byte offset in a window's cell. */
void probe_cell(struct window *w, unsigned cell, uint64_t offset, enum walker_access access,
		enum walker_mode mode);
/* Random accesses to random words of a cell. */
void probe_random(struct window *w, unsigned cell);
extern uint64_t walker_probes;

/* The suites on the open model; each leaves the table empty. */
void suites(void);
/* Unmap everything and see that it is gone. */
void leave_nothing(void);
/* Random tables: does this CPU walk them as the reference MMU does? */
void reference(uint64_t probes);
/* The random campaign on the open model. */
void campaign(uint64_t operations, uint64_t probes);

/* About so many changes of one table that two CPUs walk, by one of them or (shared) by both. */
void two_cpus(bool shared, uint64_t changes);

/* What the runner has written into the image. */
struct walker_parameters {
	char magic[8];
	uint64_t seed, operations, probes;
	char only[40]; /* the name of the one configuration to run; empty: all */
};
extern const volatile struct walker_parameters walker_parameters;

#endif
