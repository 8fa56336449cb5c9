/* SPDX-License-Identifier: MIT */
/*
 * Smallest pages of one table a call, where nothing is out of the ordinary: the way that a fault
 * goes. What is not plain here (a missing table, something mapped already, a callback to ask, an
 * argument to refuse) is left, untouched, to the operation that can do everything and knows the
 * errors.
 *
 * Of these, one page by a host that has no more to say than a flush goes first: what makes no call,
 * or one at its end, has all it needs in registers.
 */
#ifndef NEST_CORE_FAST_H
#define NEST_CORE_FAST_H

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
NEST_INLINE void nest_flush_pages(const struct nest_pt *pt, nest_ia_t ia, uint64_t size,
				  bool leaf_only)
{
	const struct nest_flush what = {
		.ia = ia, .size = size, .vmid = pt->vmid, .level_mask = 1, .leaf_only = leaf_only
	};

	pt->host->tlb_flush(pt->ctx, &what);
}

/*
 * One page is mostly like the one before: what bits its entry has beside the address, and what
 * attributes they stand for, is kept in one word, which any CPU may read and write. Of the entry's
 * bits there is room for those at the ends; where one lies between, nothing is kept.
 */
#define NEST_MEMO_BITS (NEST_BITS(63, 48) | NEST_BITS(15, 0))

NEST_INLINE uint64_t nest_memo(nest_pte_t bits, nest_attr_t attr)
{
	return (uint64_t)attr << 32 | (uint32_t)(bits >> 48 | bits << 16);
}

NEST_INLINE nest_attr_t nest_memo_attr(uint64_t memo)
{
	return (nest_attr_t)(memo >> 32);
}

NEST_INLINE nest_pte_t nest_memo_bits(uint64_t memo)
{
	return (memo & 0xffff) << 48 | (memo >> 16 & 0xffff);
}

/* A leaf of level 0 with these attributes. */
NEST_INLINE bool nest_page_leaf(const struct nest_fmt *f, struct nest_pt *pt, nest_attr_t attr,
				nest_pte_t *out)
{
	const uint64_t memo = __atomic_load_n(&pt->page_made, __ATOMIC_RELAXED);
	nest_attr_t told;

	*out = nest_memo_bits(memo);
	if (*out && attr == nest_memo_attr(memo))
		return true;
	if ((attr & ~(f->attrs | NEST_MT_MASK)) || (attr & NEST_MT_MASK) > NEST_MT_DEVICE_STRICT ||
	    f->leaf(pt->features, 0, attr, out) != NEST_OK)
		return false;
	/* In shared mode the first is kept, so that CPUs do not take turns. */
	if ((*out & ~NEST_MEMO_BITS) || (nest_is_shared(pt) && memo))
		return true;
	__atomic_store_n(&pt->page_made, nest_memo(*out, attr), __ATOMIC_RELAXED);
	if (f->attr(pt->features, 0, *out, &told) == NEST_OK)
		__atomic_store_n(&pt->page_told, nest_memo(*out, told), __ATOMIC_RELAXED);
	return true;
}

/* Are the attributes of `e`, a leaf of level 0, those that were kept? */
NEST_INLINE bool nest_page_attr(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t e,
				nest_attr_t *attr)
{
	const uint64_t told = __atomic_load_n(&pt->page_told, __ATOMIC_RELAXED);
	const nest_pte_t bits = e & ~f->pa_mask(pt->features, 0);

	*attr = nest_memo_attr(told);
	return !(bits & ~NEST_MEMO_BITS) && (uint32_t)nest_memo(bits, 0) == (uint32_t)told;
}

/* The entry of level 0 for `off`, at *p; false: no table, or a callback has to say. */
NEST_INLINE bool nest_find_page(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
				nest_pte_t **p, nest_pte_t *e)
{
	const struct nest_view v = { .linear_offset = pt->host->linear_offset };

	return !pt->host->to_virt && nest_walk_by(f, pt, &v, off, p, e) == 0;
}

/* Does a smallest page stand there that belongs to no group? */
NEST_INLINE bool nest_find_leaf(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
				nest_pte_t **p, nest_pte_t *e)
{
	return nest_find_page(f, pt, off, p, e) && f->is_leaf(0, *e) &&
	       !nest_is_member(f, pt->features, 0, *e);
}

/* Is this one page, at *off, of a host that has no more to say than a flush? */
NEST_INLINE bool nest_is_plain(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
			       uint64_t size, uint64_t *off)
{
	return size == nest_span_mask(f, 0) + 1 && !(ia & nest_span_mask(f, 0)) &&
	       nest_fmt_ia_to_off(f, pt, ia, off) == NEST_OK && pt->pinned == NEST_PA_NONE &&
	       !pt->host->sync && !pt->host->allow;
}

/* Put a page in place of e, which is none; false: another CPU has been there. */
NEST_INLINE bool nest_put_page(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t *p,
			       nest_pte_t e, nest_pte_t to)
{
	if (nest_is_shared(pt))
		return !nest_is_busy(f, pt, 0, e) && nest_cas(p, &e, to);
	nest_store(p, to);
	return true;
}

/* Map a page like the one before. */
NEST_INLINE bool nest_map_page(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
			       nest_pa_t pa, uint64_t size, nest_attr_t attr, uint32_t flags,
			       const struct nest_gather *gather)
{
	const uint64_t memo = __atomic_load_n(&pt->page_made, __ATOMIC_RELAXED);
	nest_pte_t *p, e;
	uint64_t off;

	if (gather || (flags & ~(NEST_MAP_NO_HUGE | NEST_MAP_ATOMIC)) ||
	    !nest_is_plain(f, pt, ia, size, &off))
		return false;
	if (attr != nest_memo_attr(memo) || !nest_memo_bits(memo) || (pa & nest_span_mask(f, 0)) ||
	    pa >> pt->oa_bits)
		return false;
	if (!nest_find_page(f, pt, off, &p, &e) || f->is_leaf(0, e) ||
	    !nest_put_page(f, pt, p, e, nest_memo_bits(memo) | f->pa_bits(0, pa)))
		return false;
	if (nest_fresh_flush(f, pt->features))
		nest_flush_pages(pt, ia, size, nest_fresh_is_leaf(f, pt));
	return true;
}

/* Are the n pages from `off` on, at *p, without a neighbour? Then their table may become empty. */
NEST_INLINE bool nest_is_alone(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
			       const nest_pte_t *p, uint64_t n)
{
	const uint64_t i = off >> f->page_shift & (NEST_BIT(f->index_bits) - 1);

	return (i + n == NEST_BIT(f->index_bits) || nest_load(&p[n]) == pt->absent[0]) &&
	       (i == 0 || nest_load(&p[-1]) == pt->absent[0]);
}

/* Unmap a page beside which another one keeps its table in use. */
NEST_INLINE bool nest_unmap_page(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
				 uint64_t size, uint32_t flags, const struct nest_gather *gather)
{
	nest_pte_t *p, e;
	uint64_t off;

	if (gather || (flags & ~(NEST_UNMAP_SPARSE | NEST_NO_SPLIT)) || pt->top == 0 ||
	    nest_is_shared(pt) || !nest_is_plain(f, pt, ia, size, &off))
		return false;
	if (!nest_find_leaf(f, pt, off, &p, &e) || nest_is_alone(f, pt, off, p, 1))
		return false;
	nest_store_relaxed(p, pt->absent[0]);
	nest_flush_pages(pt, ia, size, true);
	return true;
}

/* What a smallest page is, whose attributes were kept. Else *p says if its entry *e was found. */
NEST_INLINE bool nest_query_page(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
				 struct nest_mapping *out, uint64_t *off, nest_pte_t **p,
				 nest_pte_t *e)
{
	const uint64_t mask = nest_span_mask(f, 0);
	nest_attr_t attr;

	if (nest_fmt_ia_to_off(f, pt, ia, off) || !nest_find_leaf(f, pt, *off, p, e)) {
		*p = NULL;
		return false;
	}
	if (!nest_page_attr(f, pt, *e, &attr))
		return false;
	/* One by one: what lies between them need not be written. */
	out->ia = ia;
	out->pa = (f->leaf_pa(pt->features, 0, *e) & ~mask) | (*off & mask);
	out->size = mask + 1;
	out->attr = attr;
	out->level = 0;
	out->contiguous = false;
	out->mark = 0;
	out->kind = NEST_PTE_LEAF;
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

	if ((flags & ~(NEST_MAP_NO_HUGE | NEST_MAP_KEEP_MARKS | NEST_MAP_ATOMIC)) ||
	    !nest_is_few(f, pt, ia, size, &off) || (pa & nest_span_mask(f, 0)) ||
	    (pa | (pa + size - 1)) >> pt->oa_bits || !nest_page_leaf(f, pt, attr, &proto))
		return false;
	/* They may make a group. */
	if (!(flags & NEST_MAP_NO_HUGE) && nest_contig_shift(f, features, 0) &&
	    n >> nest_contig_shift(f, features, 0))
		return false;
	/* What the gather holds of these pages may have to be flushed before. */
	if (gather && (gather->pt != pt || gather->nr_ranges || gather->all))
		return false;
	if (nest_walk(f, pt, off, &p, &e) || f->is_leaf(0, e))
		return false;
	if ((flags & ~NEST_MAP_NO_HUGE) && n > 1)
		return false;
	if ((flags & NEST_MAP_KEEP_MARKS) && e != pt->absent[0])
		return false;
	for (uint64_t k = 1; k < n; k++)
		mapped |= f->is_leaf(0, nest_load(&p[k]));
	if (mapped || (pt->host->allow && !pt->host->allow(pt->ctx, pa, size, attr)))
		return false;
	if (n == 1) {
		if (!nest_put_page(f, pt, p, e, proto | f->pa_bits(0, pa)))
			return false;
	} else if (nest_is_shared(pt)) {
		return false;
	} else {
		nest_fill_run(f, 0, p, n, pa, proto, 1, true);
	}
	nest_sync_entries(pt, p, n);
	if (nest_fresh_flush(f, features)) {
		if (gather && !nest_is_shared(pt))
			nest_gather_range(gather, off, off + size - 1, 0);
		else
			nest_flush_pages(pt, ia, size, nest_fresh_is_leaf(f, pt));
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
	uint64_t off;

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
	if (nest_is_alone(f, pt, off, p, n))
		return false;
	for (uint64_t k = 0; k < n; k++)
		nest_store_relaxed(&p[k], absent);
	nest_sync_entries(pt, p, n);
	if (gather)
		nest_gather_range(gather, off, off + size - 1, 0);
	else
		nest_flush_pages(pt, ia, size, true);
	return true;
}

#endif
