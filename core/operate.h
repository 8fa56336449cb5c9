/* SPDX-License-Identifier: MIT */
/*
 * The operations, by whatever engine the build has.
 */
#ifndef NEST_CORE_OPERATE_H
#define NEST_CORE_OPERATE_H

#include "core/live.h"

/* ---- Public calls, whatever they are for (pt.c) ---- */

/* NEST_E_INVAL, NEST_E_UNSUPPORTED: attributes that a map or protect refuses. */
int nest_check_attr(const struct nest_pt *pt, nest_attr_t attr);
int nest_map_any(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr,
		 uint32_t flags, struct nest_gather *gather);
int nest_unmap_any(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		   struct nest_gather *gather);
int nest_protect_any(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
		     nest_attr_t clear, uint32_t flags, struct nest_gather *gather);

/* ---- Operations with a run-time descriptor (generic.c, merge.c, harvest.c, walk.c, shared.c) ----
 */

/* Shared mode: map, mark, unmap, protect, split. */
int nest_operate_shared(struct nest_pt *pt, const struct nest_request *rq);
/*
 * Shared mode: take out the page e at *p, for `off`, flush it, and free tables that this empties.
 * False, with nothing changed: the entry is e no longer.
 */
bool nest_take_page(struct nest_pt *pt, nest_pte_t *p, nest_pte_t e, uint64_t off,
		    bool keep_tables);
/* Free the tables of the range that are empty (empty.c). */
int nest_operate_trim(struct nest_pt *pt, const struct nest_request *rq);
/*
 * The first page of a table: map the leaf of level 0 at `off` in a new one, by one store to the
 * entry above, which holds nothing. NEST_SLOW, with nothing changed: there is more to it.
 * NEST_E_NOMEM, NEST_E_ALIGN, NEST_E_RANGE: the allocator.
 */
enum { NEST_SLOW = 1 };
int nest_first_page(struct nest_pt *pt, uint64_t off, nest_pte_t leaf);
/* The engine for any format and rq->op; the query. */
int nest_operate_any(struct nest_pt *pt, const struct nest_request *rq);
int nest_query_any(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out);
void nest_drop_any(struct nest_pt *pt, struct nest_gather *g, const struct nest_gather_item *item,
		   nest_pa_t table, unsigned level, uint64_t off);
int nest_operate_merge(struct nest_pt *pt, const struct nest_request *rq);
/* Tell and clear rq->clear: NEST_ACCESSED, NEST_DIRTY or both (harvest.c). */
int nest_operate_harvest(struct nest_pt *pt, const struct nest_request *rq);
/* Does the range touch root entries that another table owns? (share.c) */
bool nest_range_is_borrowed(const struct nest_pt *pt, const struct nest_request *rq);
/*
 * Visit a range. Without fn, ctx points to a number of entries (uint64_t): when so many (tables
 * aside) have been read and there are more, NEST_E_AGAIN; *stopped is the last offset before the
 * next.
 */
int nest_walk_range(const struct nest_pt *pt, uint64_t first, uint64_t last, uint32_t flags,
		    nest_visit_fn fn, void *ctx, uint64_t *stopped);

/* What changes and reads the table. */
NEST_INLINE const struct nest_format *nest_ops(const struct nest_pt *pt)
{
#if NEST_SMALL
	static const struct nest_format any = {
		.map = nest_operate_any,
		.unmap = nest_operate_any,
		.protect = nest_operate_any,
		.query = nest_query_any,
		.pt_map = nest_map_any,
		.pt_unmap = nest_unmap_any,
		.pt_protect = nest_protect_any,
		.drop = nest_drop_any,
	};

	(void)pt;
	return &any;
#else
	return pt->format;
#endif
}

#endif
