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

/* Told each removed leaf, after the flush that covers it. `leaf` lives only during the call. */
typedef void (*nest_release_fn)(void *ctx, const struct nest_mapping *leaf);

enum { NEST_GATHER_RANGES = 4, NEST_GATHER_ITEMS = 8 };

/* Fields are the library's; use the functions. */
struct nest_gather {
	struct nest_pt *pt;
	nest_release_fn release;
	void *release_ctx;
	uint8_t nr_ranges, nr_items;
	bool leaf_only;
	bool all;
	uint8_t level_mask;
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

#ifdef __cplusplus
}
#endif
#endif
