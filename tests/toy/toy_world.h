/* SPDX-License-Identifier: MIT */
/*
 * The toy format's whole world: memory for its tables, a flat array of what each page must be, and
 * steps (one call each) that change both. After every store that a walker could see, the raw words
 * in memory are walked, by this file's own reading of them.
 *
 * Beside them stands what a TLB may have kept until it is flushed: a page may not change its frame
 * or size while it is there, where the format breaks before it makes, nor a table be freed that was
 * on the way.
 *
 * Memory is an arena whose addresses are not the pointers; a freed table is poisoned.
 */
#ifndef NEST_TEST_TOY_WORLD_H
#define NEST_TEST_TOY_WORLD_H

#include <nest/nest.h>

#include "toy.h"

enum { TOY_TABLES = 64, TOY_BASE = 0x40000 };

struct page {
	bool mapped;
	bool marked;
	uint64_t pa;
	nest_attr_t attr;
	uint8_t level; /* as seen in memory: of the entry, and whether it is one of a group */
	bool grouped;
};

struct world {
	struct nest_pt pt;
	struct nest_host host;
	_Alignas(32) uint64_t memory[TOY_TABLES][4];
	bool used[TOY_TABLES];
	unsigned live;
	long fail_in; /* the allocation that fails, counted down; below 0: none */
	struct page flat[TOY_PAGES];
	struct page before[TOY_PAGES]; /* flat, before the step at hand */
};

enum kind { MAP, REPLACE, SKIP, SMALL, UNMAP, SPARSE, PROTECT, MARK, SPLIT0, SPLIT1, MERGE, KINDS };

struct step {
	enum kind kind;
	unsigned first, count; /* pages */
	unsigned shift;        /* frames: off by so many pages */
	nest_attr_t attr;
};

/* The formats, with and without groups. */
struct toy_variant {
	const char *name;
	const struct nest_format *format;
	uint32_t features;
};
enum { TOY_VARIANTS = 4 };
extern const struct toy_variant toy_variants[TOY_VARIANTS];

/* An empty table. */
void world_start(struct world *w, const struct toy_variant *variant);
/* The table holds pointers to its host and context: a copy lives at one place. */
void world_copy(struct world *to, const struct world *from);
/* Table memory by its address. */
uint64_t *world_table(struct world *w, uint64_t pa);
/* Make a step; status, tables, every page and every store in between must be right. */
void world_step(struct world *w, const struct step *s);
/* Before that with every allocation failing once: nothing changes, not even between two stores. */
void world_step_failing(struct world *w, const struct step *s);
/* Make a step without looking, for where it leads. */
void world_go(struct world *w, const struct step *s);
/* What there is must be what the flat array says. */
void world_check(struct world *w, const char *what);

extern unsigned long world_steps, world_stores;

#endif
