/* SPDX-License-Identifier: MIT */
/*
 * What a change leaves behind, to be flushed, freed and reported (gather.c).
 */
#ifndef NEST_CORE_GATHER_H
#define NEST_CORE_GATHER_H

#include "core/request.h"

/* [first, last] must be flushed; something at `level` changed. */
void nest_gather_range(struct nest_gather *g, uint64_t first, uint64_t last, unsigned level);
/* Removed leaves to report: whole pages of `level`, alike, one after the other. */
void nest_gather_leaves(struct nest_gather *g, unsigned level, uint64_t off, uint64_t size,
			nest_pa_t pa, nest_attr_t attr, bool contiguous);
/* Before something new is mapped there: sync what the gather holds of [first, last], if need be. */
void nest_gather_settle(struct nest_gather *g, uint64_t first, uint64_t last);
/*
 * A table (with entries of `level`) that was unlinked, freed after the flush of its range, which
 * the caller gathers. Leaves in it with pa - offset == *keep are not reported: they are still
 * mapped.
 */
void nest_gather_table(struct nest_gather *g, nest_pa_t table, unsigned level, uint64_t off,
		       const uint64_t *keep);
/* Report a leaf in a detached table, unless it is among those that stay mapped. */
void nest_report_lost(struct nest_gather *g, const struct nest_gather_item *item, unsigned level,
		      uint64_t off, nest_pte_t e);
/* The flush inside a break-before-make: now, whatever is gathered. */
void nest_flush_now(struct nest_pt *pt, uint64_t first, uint64_t last, unsigned level,
		    bool leaf_only);

#endif
