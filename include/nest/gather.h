/* SPDX-License-Identifier: MIT */
/*
 * A gather collects what changes leave behind: ranges to flush, tables to free, leaves to report.
 * nest_gather_sync() flushes first, then frees and reports; nothing is freed before its flush.
 *
 * A gather is the caller's memory (a local variable will do), belongs to one table and one thread,
 * and is full after a few items: then it is synced early, which is always allowed. What one gather
 * still holds of an address must be synced before another call maps something else there (with the
 * same gather the library sees to it).
 */
#ifndef NEST_GATHER_H
#define NEST_GATHER_H

#include <nest/host.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nest_pt;
struct nest_mapping;
struct nest_request; /* the library's */

/* Told each removed leaf, after the flush that covers it. `leaf` lives only during the call. */
typedef void (*nest_release_fn)(void *ctx, const struct nest_mapping *leaf);

enum { NEST_GATHER_RANGES = 4, NEST_GATHER_ITEMS = 8 };

/* Fields are the library's; use the functions. */
struct nest_gather {
	struct nest_pt *pt;
	nest_release_fn release;
	void *release_ctx;
	uint8_t nr_ranges, nr_items;
	bool leaf_only, writes_only;
	bool all;
	uint8_t level_mask;
	uint64_t limit, done; /* nest_gather_limit() */
	int (*run)(struct nest_pt *pt,
		   int (*operation)(struct nest_pt *pt, const struct nest_request *rq),
		   struct nest_request *rq);
	struct {
		uint64_t first, last;
	} range[NEST_GATHER_RANGES];
	/* For after the flush: tables to free, removed leaves to report. */
	struct nest_gather_item {
		uint64_t ia;
		nest_pa_t pa;  /* the table's; the first leaf's */
		uint64_t size; /* leaves: bytes; a table that leaves stay of: their pa - ia */
		nest_attr_t attr;
		uint8_t level; /* of the table's entries; of the leaves */
		uint8_t kind;  /* the library's */
		bool contiguous;
	} item[NEST_GATHER_ITEMS];
};

/* Start an empty gather for changes to `pt`. An empty gather needs no cleanup. */
void nest_gather_init(struct nest_gather *g, struct nest_pt *pt);

/* Have every leaf that is removed from now on reported. To be called on an empty gather. */
void nest_gather_on_release(struct nest_gather *g, nest_release_fn fn, void *ctx);

/*
 * Flush what was changed, then free the detached tables (through nest_host.defer where given) and
 * report the removed leaves. The gather is empty again. Must be called before the nest_pt is
 * destroyed; a debug build of the library finds a gather that was forgotten (nest_pt_unsynced()).
 */
void nest_gather_sync(struct nest_gather *g);

/*
 * Have every call on a range that is given this gather stop after about so many entries, at least
 * one page, and return NEST_E_AGAIN; 0 (as after init): go on to the end. nest_gather_done() then
 * tells the bytes that are finished: call again for the rest (ia + done, pa + done, size - done).
 * NEST_OK: that was all of it.
 *
 * A step is all or nothing, as a call without a limit is. After any other error nothing is done,
 * or, in shared mode, what was finished when another CPU came between. A merge goes by whole
 * largest pages, so that it finds the same as without a limit. A harvest goes by whole words of the
 * bitmap: the next step gets the bitmap from word done / page / 64 on. The page, block or group in
 * which a step ends is told and made clean as a whole, so bits behind that may be set already: the
 * bitmap is one for all of the range.
 */
void nest_gather_limit(struct nest_gather *g, uint64_t entries);
/* Bytes that the last call with this gather has finished. NULL: 0. */
uint64_t nest_gather_done(const struct nest_gather *g);

#ifdef __cplusplus
}
#endif
#endif
