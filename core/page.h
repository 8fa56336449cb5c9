/* SPDX-License-Identifier: MIT */
/*
 * Smallest pages of one table a call, where nothing is out of the ordinary: the way that a fault
 * goes. What is not plain here (a missing table, something mapped already, a callback to ask, an
 * argument to refuse) is left, untouched, to the operation that can do everything and knows the
 * errors.
 */
#ifndef NEST_CORE_PAGE_H
#define NEST_CORE_PAGE_H

#include "core/commit.h"

/*
 * Are these whole pages of this address space, fewer than one table of level 0 holds and all in
 * one? Then *off is where they begin.
 */
NEST_INLINE bool nest_is_few(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
			     uint64_t size, uint64_t *off)
{
	if (((ia | size) & nest_span_mask(f, 0)) || !size || size >> nest_shift(f, 1))
		return false;
	/* The only table of a small address space may hold fewer than others. */
	return pt->top > 0 && nest_fmt_ia_to_off(f, pt, ia, off) == NEST_OK &&
	       (*off & nest_span_mask(f, 1)) + size <= nest_span_mask(f, 1) + 1 &&
	       pt->pinned == NEST_PA_NONE;
}

/* The flush of pages that stood in entries of level 0. */
NEST_INLINE void nest_flush_pages(const struct nest_pt *pt, nest_ia_t ia, uint64_t size)
{
	const struct nest_flush what = {
		.ia = ia, .size = size, .vmid = pt->vmid, .level_mask = 1, .leaf_only = true
	};

	pt->host->tlb_flush(pt->ctx, &what);
}

/*
 * A leaf of level 0 with these attributes; one call is often like the one before. In shared mode
 * the first that are not zero are kept for good: one CPU wins, and writes the leaf after them.
 */
NEST_INLINE bool nest_page_leaf(const struct nest_fmt *f, struct nest_pt *pt, nest_attr_t attr,
				nest_pte_t *out)
{
	nest_attr_t none = 0;

	*out = __atomic_load_n(&pt->page_leaf, __ATOMIC_ACQUIRE);
	if (*out && attr == __atomic_load_n(&pt->page_attr, __ATOMIC_RELAXED))
		return true;
	if ((attr & ~(f->attrs | NEST_MT_MASK)) || (attr & NEST_MT_MASK) > NEST_MT_DEVICE_STRICT ||
	    f->leaf(pt->features, 0, attr, out) != NEST_OK)
		return false;
	if (!nest_is_shared(pt))
		pt->page_attr = attr;
	else if (!attr || !__atomic_compare_exchange_n(&pt->page_attr, &none, attr, false,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return true;
	__atomic_store_n(&pt->page_leaf, *out, __ATOMIC_RELEASE);
	return true;
}

/* Map pages that are absent, or marks, in a table that is there. */
NEST_INLINE bool nest_map_few(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
			      nest_pa_t pa, uint64_t size, nest_attr_t attr, uint32_t flags,
			      struct nest_gather *gather)
{
	const uint32_t features = pt->features;
	const uint64_t n = size >> f->page_shift;
	nest_pte_t proto, e, *p;
	bool mapped = false;
	uint64_t off;

	if ((flags & ~NEST_MAP_NO_HUGE) || !nest_is_few(f, pt, ia, size, &off) ||
	    (pa & nest_span_mask(f, 0)) || (pa | (pa + size - 1)) >> pt->oa_bits ||
	    !nest_page_leaf(f, pt, attr, &proto))
		return false;
	/* They may make a group. */
	if (!flags && nest_contig_shift(f, features, 0) && n >> nest_contig_shift(f, features, 0))
		return false;
	/* What the gather holds of these pages may have to be flushed before. */
	if (gather && (gather->pt != pt || gather->nr_ranges || gather->all))
		return false;
	if (nest_walk(f, pt, off, &p, &e) || f->is_leaf(0, e))
		return false;
	for (uint64_t k = 1; k < n; k++)
		mapped |= f->is_leaf(0, nest_load(&p[k]));
	if (mapped || (pt->host->allow && !pt->host->allow(pt->ctx, pa, size, attr)))
		return false;
	if (nest_is_shared(pt)) {
		if (n > 1 || nest_is_busy(f, pt, 0, e) ||
		    !nest_cas(p, &e, proto | f->pa_bits(0, pa)))
			return false;
	} else if (n == 1) {
		nest_store(p, proto | f->pa_bits(0, pa));
	} else {
		nest_fill_run(f, 0, p, n, pa, proto, 1, true);
	}
	nest_sync_entries(pt, p, n);
	if (nest_fresh_flush(f, features)) {
		if (gather && !nest_is_shared(pt))
			nest_gather_range(gather, off, off + size - 1, 0);
		else
			nest_flush_pages(pt, ia, size);
	}
	return true;
}

/* Unmap pages beside which another one keeps their table in use; nobody waits for their release. */
NEST_INLINE bool nest_unmap_few(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
				uint64_t size, uint32_t flags, struct nest_gather *gather)
{
	const nest_pte_t absent = pt->absent[0];
	const uint64_t n = size >> f->page_shift;
	nest_pte_t *p, e;
	uint64_t off, i;

	if ((flags & ~(NEST_UNMAP_SPARSE | NEST_NO_SPLIT)) || !nest_is_few(f, pt, ia, size, &off) ||
	    nest_is_shared(pt))
		return false;
	if (gather && (gather->pt != pt || gather->release))
		return false;
	if (nest_walk(f, pt, off, &p, &e))
		return false;
	for (uint64_t k = 0; k < n; k++) {
		e = nest_load(&p[k]);
		if (!f->is_leaf(0, e) || nest_is_member(f, pt->features, 0, e))
			return false;
	}
	i = off >> f->page_shift & (NEST_BIT(f->index_bits) - 1);
	if ((i + n == NEST_BIT(f->index_bits) || nest_load(&p[n]) == absent) &&
	    (i == 0 || nest_load(&p[-1]) == absent))
		return false;
	for (uint64_t k = 0; k < n; k++)
		nest_store_relaxed(&p[k], absent);
	nest_sync_entries(pt, p, n);
	if (gather)
		nest_gather_range(gather, off, off + size - 1, 0);
	else
		nest_flush_pages(pt, ia, size);
	return true;
}

#endif
