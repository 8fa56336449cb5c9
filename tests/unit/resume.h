/* SPDX-License-Identifier: MIT */
/*
 * What the tests of resumable calls make in steps: works, each a call over a scene, as one-shot and
 * as step. The same work always begins with the same table, so that two runs can be compared.
 */
#ifndef NEST_TEST_RESUME_H
#define NEST_TEST_RESUME_H

#include "support.h"

/*
 * A level-1 span, and small pages before and behind it: a few, and a group where there are groups.
 * PAGES: a block, and small pages that are mapped one by one; RAGGED: with holes and marks;
 * BLOCKS: small pages that are parts of blocks, and have to be split off; HUGE: everything is part
 * of one level-2 page; HOLES: nothing but marks, here and there; EMPTY: nothing.
 * STATUS: two such spans, with pages, groups and blocks of which some are accessed, some dirty.
 * FINE: around a largest page, or group of them, that is in pieces.
 */
enum scene { EMPTY, PAGES, RAGGED, BLOCKS, HUGE, HOLES, STATUS, FINE };
enum kind { MAP, UNMAP, PROTECT, MARK, SPLIT, MERGE, HARVEST, AGE, NR_KINDS };

struct work {
	const char *name;
	enum scene scene;
	enum kind kind;
	uint32_t flags;
	unsigned level; /* split */
	bool type;      /* protect: another memory type */
};

extern const struct work works[];
extern const unsigned nr_works;

struct part {
	uint64_t ia, size; /* the call's range */
	uint64_t block;    /* bytes of a level-1 span, or what stands in for it */
	uint64_t margin;   /* small pages before and behind */
	nest_pa_t pa;
};

enum { RUN_WORDS = 288 };

struct run {
	struct fix f;
	struct part p;
	struct nest_gather gather;
	bool gathers;
	uint64_t released; /* a digest that does not know the order */
	uint64_t released_bytes;
	uint64_t told[RUN_WORDS]; /* the bitmap, and words behind it that are none of its own */
};

/* Does the format have what the work is about? */
bool can(const struct tcase *c, const struct work *w);

void open_run(struct run *r, const struct tcase *c, const struct work *w, bool gathers);
void sync_run(struct run *r);
void close_run(struct run *r);
struct nest_gather *gather_of(struct run *r);

bool harvests(const struct work *w);
/* Never short of memory, since it takes none. */
bool needs_no_memory(const struct work *w);

/* The call from p.ia + from on: `size` bytes at once; or a step of all that is left. */
int one_shot(struct run *r, const struct work *w, uint64_t from, uint64_t size);
int step(struct run *r, const struct work *w, uint64_t from, uint64_t budget, uint64_t *done);

#endif
