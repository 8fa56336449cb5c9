/* SPDX-License-Identifier: MIT */
/*
 * One smallest page a call, where nothing is out of the ordinary: the way that a fault goes. What
 * is not plain here (a missing table, something mapped already, a callback to ask, an argument to
 * refuse) is left, untouched, to the operation that can do everything and knows the errors.
 */
#ifndef NEST_CORE_PAGE_H
#define NEST_CORE_PAGE_H

#include "core/internal.h"

/* The entry of level 0 for `off`; NULL: there is no table, or one that is shared at the root. */
NEST_INLINE nest_pte_t *nest_page_entry(const struct nest_fmt *f, const struct nest_pt *pt,
					uint64_t off, nest_pte_t *e)
{
	nest_pte_t *p;

	if (pt->pinned != NEST_PA_NONE || nest_walk(f, pt, off, &p, e))
		return NULL;
	return p;
}

/* Is it one page, whole, of this table? Then *off is where. */
NEST_INLINE bool nest_is_page(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
			      uint64_t size, uint64_t *off)
{
	if (size != NEST_BIT(f->page_shift) || (ia & (size - 1)))
		return false;
	return nest_fmt_ia_to_off(f, pt, ia, off) == NEST_OK;
}

/* Map a page that is absent, or a mark, in a table that is there. */
NEST_INLINE bool nest_map_page(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
			       nest_pa_t pa, uint64_t size, nest_attr_t attr,
			       struct nest_gather *gather)
{
	const uint32_t features = pt->features;
	nest_pte_t leaf, old, *p;
	uint64_t off;

	if (!nest_is_page(f, pt, ia, size, &off) || (pa & (size - 1)) || pa >> pt->oa_bits ||
	    (attr & ~(f->attrs | NEST_MT_MASK)) || (attr & NEST_MT_MASK) > NEST_MT_DEVICE_STRICT ||
	    f->leaf(features, 0, attr, &leaf) != NEST_OK || pt->host->allow)
		return false;
	/* What the gather holds of this page may have to be flushed before. */
	if (gather && (gather->pt != pt || gather->nr_ranges || gather->all))
		return false;
	leaf |= f->pa_bits(0, pa);
	p = nest_page_entry(f, pt, off, &old);
	if (!p || f->is_leaf(0, old))
		return false;
	nest_store(p, leaf);
	nest_sync_entries(pt, p, 1);
	if (f->fresh_flush(features)) {
		if (gather)
			nest_gather_range(gather, off, off + size - 1, 0);
		else
			nest_flush_now(pt, off, off + size - 1, 0, true);
	}
	return true;
}

/* Unmap a page beside which another one keeps its table in use; nobody waits for its release. */
NEST_INLINE bool nest_unmap_page(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
				 uint64_t size, struct nest_gather *gather)
{
	const nest_pte_t absent = pt->absent[0];
	nest_pte_t *p, e;
	uint64_t off, i;

	if (!nest_is_page(f, pt, ia, size, &off) || pt->top == 0)
		return false;
	if (gather && (gather->pt != pt || gather->release))
		return false;
	p = nest_page_entry(f, pt, off, &e);
	if (!p || !f->is_leaf(0, e) || (f->contig_shift(pt->features, 0) && f->is_contig(0, e)))
		return false;
	i = off >> f->page_shift & (NEST_BIT(f->index_bits) - 1);
	if ((i + 1 == NEST_BIT(f->index_bits) || nest_load(p + 1) == absent) &&
	    (i == 0 || nest_load(p - 1) == absent))
		return false;
	nest_store_relaxed(p, absent);
	nest_sync_entries(pt, p, 1);
	if (gather)
		nest_gather_range(gather, off, off + size - 1, 0);
	else
		nest_flush_now(pt, off, off + size - 1, 0, true);
	return true;
}

#endif
