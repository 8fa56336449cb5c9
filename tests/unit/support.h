/* SPDX-License-Identifier: MIT */
/*
 * What every engine test stands on: an arena that plays physical memory and the embedder's
 * callbacks, a sweep over formats, widths and features, and checks that name the case they fail in.
 *
 * The arena's physical addresses never equal its pointers, freed tables are poisoned, and a table
 * that was reachable by a walker may be freed only after a flush that came when it no longer was.
 */
#ifndef NEST_TEST_SUPPORT_H
#define NEST_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <nest/page.h>

#include "raw_walk.h"

/* The case at hand; printed by a failing check. */
extern char test_case[256];
void check_at(bool ok, const char *what, const char *file, int line);
void check_eq_at(uint64_t a, uint64_t b, const char *what, const char *file, int line);
#define CHECK(c)       check_at((c), #c, __FILE__, __LINE__)
#define CHECK_EQ(a, b) check_eq_at((uint64_t)(a), (uint64_t)(b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_OK(c)    check_eq_at((uint64_t)(int64_t)(c), 0, #c, __FILE__, __LINE__)
#define CHECK_RC(c, rc)                                                                            \
	check_eq_at((uint64_t)(int64_t)(c), (uint64_t)(int64_t)(rc), #c " -> " #rc, __FILE__,      \
		    __LINE__)

/* Reproducible numbers: NEST_SEED in the environment, or a fixed seed. */
uint64_t test_seed(void);
uint64_t rnd(uint64_t *state);

enum event_kind { EV_ALLOC, EV_FREE, EV_FLUSH, EV_RELEASE };

struct event {
	enum event_kind kind;
	nest_pa_t pa;
	uint64_t ia, size;
	struct nest_flush flush;
	struct nest_mapping leaf;
};

enum { ARENA_UNIT = 4096, ARENA_EVENTS = 16384, ARENA_DEFERRED = 1024 };
#define ARENA_BASE ((nest_pa_t)0x40000000)

/* What the arena knows of one 4 KiB unit at which a table begins. */
struct unit {
	uint32_t size; /* units of the allocation that begins here; 0: none */
	bool used;     /* part of some allocation */
	bool linked;   /* seen reachable from the root */
	bool flushed;  /* a flush that covers it came when it was reachable no longer */
	unsigned level;
	uint64_t ia;
};

struct arena {
	struct nest_host host;
	uint8_t *block;
	uint8_t *mem;
	uint64_t size;
	struct unit *unit;
	uint64_t hint;
	uint64_t outstanding; /* allocations not given back */
	uint64_t allocs;      /* all that ever succeeded */
	uint64_t fail_in;     /* the n-th allocation from now fails; 0: none */
	bool fail_rest;       /* and all after it */
	bool misalign;        /* give memory that is not aligned to its size */
	bool (*policy)(nest_pa_t pa, uint64_t size, nest_attr_t attr);
	uint64_t policy_calls;
	void (*on_flush)(struct arena *a, const struct nest_flush *what);
	void *user;
	struct event *ev;
	unsigned nr_ev;
	uint64_t nr_flush, nr_sync;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} deferred[ARENA_DEFERRED];
	unsigned nr_deferred;
	const struct raw_geo *watch; /* tables are checked against the flushes, if set */
};

void arena_open(struct arena *a, uint64_t size);
void arena_close(struct arena *a);
void *arena_ptr(struct arena *a, nest_pa_t pa);
bool arena_owns(const struct arena *a, nest_pa_t pa);
void arena_use_linear(struct arena *a);
/* Linear, and neither sync nor allow is asked; before the table is made. */
void arena_use_plain(struct arena *a);
void arena_use_defer(struct arena *a);
void arena_run_deferred(struct arena *a);
void arena_fail(struct arena *a, uint64_t nth, bool rest);
/* Forget the events so far and learn which tables are reachable now. */
void arena_mark(struct arena *a);
/* Do the flushes since arena_mark() cover [ia, last]? */
bool arena_flushed(const struct arena *a, uint64_t ia, uint64_t last);
/* The same, by flushes that speak of leaves of that level. */
bool arena_flushed_at(const struct arena *a, uint64_t ia, uint64_t last, unsigned level);
/* A release callback; ctx is the arena. It checks that the leaf has been flushed. */
void arena_release(void *ctx, const struct nest_mapping *leaf);
unsigned arena_count(const struct arena *a, enum event_kind kind);

/* One format with features and a width, and what it is. */
struct tcase {
	const struct nest_format *format;
	const char *name;
	uint32_t features, flags;
	unsigned ia_bits;
	bool plain; /* a host without to_virt, sync and allow */
	struct nest_format_info info;
};

enum sweep_widths { SWEEP_ALL_WIDTHS, SWEEP_SOME_WIDTHS, SWEEP_DEFAULT_WIDTH };
/* Every format, feature set and width that it allows; or a part of them (NEST_SWEEP_PART). */
void sweep(enum sweep_widths widths, void (*fn)(const struct tcase *c));
/* All of them, and not in a build of one format. */
bool sweep_is_whole(void);
struct tcase tcase_of(const struct nest_format *format, uint32_t features, unsigned ia_bits,
		      uint32_t flags);

/* That format. A build of one format that lacks it skips the test. */
const struct nest_format *format_or_skip(const char *name);

/* A table on its arena. */
struct fix {
	struct arena a;
	struct nest_pt pt;
	struct tcase c;
	struct raw_geo geo;
	nest_attr_t attr;  /* read, write, execute, accessed, dirty as far as the format has them */
	nest_attr_t w;     /* write, and dirty, which not every format has without it */
	uint64_t page;     /* smallest page */
	unsigned top;      /* level of the root's entries */
	unsigned max_leaf; /* largest level at which leaves stand */
	uint64_t tables0;  /* allocations of the empty table */
};

void fix_open(struct fix *f, const struct tcase *c);
/* Destroys the table and checks that everything came back. */
void fix_close(struct fix *f);
/* Bytes of an entry of `level`; of a contiguous group there (0: none). */
uint64_t span(const struct fix *f, unsigned level);
uint64_t group(const struct fix *f, unsigned level);
nest_attr_t plain_attr(nest_attr_t attr); /* less accessed and dirty */

/* Address ranges that can be mapped: one, or the two canonical halves. */
unsigned halves(const struct fix *f, uint64_t base[2], uint64_t *size);
/* A legal range of `size` bytes at an extreme place; aligned to size if that is a power of two. */
enum place { PLACE_LOW, PLACE_LOW_TOP, PLACE_MID, PLACE_TOP, NR_PLACES };
uint64_t place(const struct fix *f, enum place where, uint64_t size);

/* All leaves, and marks, as the walk gives them. */
struct snap {
	struct nest_mapping *m;
	size_t n;
	uint64_t outstanding;
	uint64_t raw; /* digest of what the raw walker sees */
};
struct snap snap_take(struct fix *f);
void snap_free(struct snap *s);
bool snap_same(const struct snap *a, const struct snap *b);
void check_unchanged(struct fix *f, const struct snap *before);
/* Tables that the leaves and marks need, beyond those of the empty table. */
uint64_t tables_needed(const struct fix *f, const struct snap *s);
/* Walk, query and raw walker agree; no empty table; nothing leaked. */
void check_consistent(struct fix *f);
/* The page at ia is mapped to pa (with these rights) by query and by the raw walker; or is not. */
void check_maps(struct fix *f, uint64_t ia, nest_pa_t pa, nest_attr_t attr);
void check_none(struct fix *f, uint64_t ia);
void check_range(struct fix *f, uint64_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr);

/* The largest pages for a mapping, worked out from the geometry alone. */
size_t expect_pages(const struct fix *f, uint64_t ia, nest_pa_t pa, uint64_t size, uint32_t flags,
		    struct nest_mapping *out, size_t room);

#endif
