/* SPDX-License-Identifier: MIT */
/*
 * The fast path: one smallest page a call, as a fault needs it. A function here does the whole
 * call, or it changes nothing and returns false. Everything unusual (a missing table, a page that
 * is mapped already, a callback to ask, an argument to refuse) is left to the engine, which can do
 * everything and knows the errors.
 *
 * nest_pt.quick says in one byte what the host allows here. At the end of the file are calls on a
 * few pages of one table, for hosts with more callbacks and for callers with a gather.
 */
#ifndef NEST_CORE_FAST_H
#define NEST_CORE_FAST_H

#include "core/bulk.h"
#include "core/operate.h"

/* ---- The entry of a page ---- */

/* Is this entry of a level above 0 a pointer to a table? */
NEST_INLINE bool nest_is_pointer(const struct nest_fmt *f, const struct nest_pt *pt, unsigned level,
				 nest_pte_t e)
{
	return nest_kind(f, pt, level, e) == NEST_PTE_TABLE;
}

NEST_INLINE nest_pte_t *nest_linear(const struct nest_pt *pt, nest_pa_t pa)
{
	return (nest_pte_t *)(uintptr_t)(pa + pt->linear_offset);
}

/*
 * The entry of level 0 for `off`, by the linear map, of a table of at least two levels; NULL: there
 * is no table for it. One compare a table: every level is a constant here.
 */
NEST_INLINE nest_pte_t *nest_page_entry(const struct nest_fmt *f, const struct nest_pt *pt,
					uint64_t off)
{
	const uint64_t mask = NEST_BIT(f->index_bits) - 1;
	nest_pte_t e = nest_load(&nest_linear(pt, pt->root)[off >> pt->top_shift]);

	/* The compiler leaves out the tests of `top` that one before has decided. */
	if (pt->top >= 4) {
		if (!nest_is_pointer(f, pt, 4, e))
			return NULL;
		e = nest_load(&nest_linear(pt, f->table_pa(e))[off >> nest_shift(f, 3) & mask]);
	}
	if (pt->top >= 3) {
		if (!nest_is_pointer(f, pt, 3, e))
			return NULL;
		e = nest_load(&nest_linear(pt, f->table_pa(e))[off >> nest_shift(f, 2) & mask]);
	}
	if (pt->top >= 2) {
		if (!nest_is_pointer(f, pt, 2, e))
			return NULL;
		e = nest_load(&nest_linear(pt, f->table_pa(e))[off >> nest_shift(f, 1) & mask]);
	}
	if (!nest_is_pointer(f, pt, 1, e))
		return NULL;
	return &nest_linear(pt, f->table_pa(e))[off >> nest_shift(f, 0) & mask];
}

/* Is ia the address of a smallest page of this table? Then *off is its offset. */
NEST_INLINE bool nest_page_off(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
			       uint64_t *off)
{
	if (f->ia_kind == NEST_IA_PLAIN) {
		*off = ia;
		return !(ia & pt->ia_outside);
	}
	return !(ia & nest_span_mask(f, 0)) && nest_fmt_ia_to_off(f, pt, ia, off) == NEST_OK;
}

/* Is it a smallest page that belongs to no group? */
NEST_INLINE bool nest_is_page(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t e)
{
	return f->is_leaf(0, e) && !nest_is_member(f, pt->features, 0, e);
}

/* The flush of pages that stood in entries of level 0. */
NEST_INLINE void nest_flush_pages(const struct nest_pt *pt, nest_ia_t ia, uint64_t size,
				  bool leaf_only, bool writes_only)
{
	const struct nest_flush what = { .ia = ia,
					 .size = size,
					 .vmid = pt->vmid,
					 .level_mask = 1,
					 .leaf_only = leaf_only,
					 .writes_only = writes_only,
					 .pt = pt };

	pt->host->tlb_flush(pt->ctx, &what);
}

/* ---- What is kept of the page before ---- */

/*
 * Pages that follow one another mostly have the same attributes. So the last leaf is remembered:
 * the bits of its entry outside the address, and in place of the address the attributes that they
 * stand for. One word holds both, so any CPU may read and write it. A leaf that has attributes in
 * bits 47:16 is not remembered.
 */
#define NEST_MEMO_BITS (NEST_BITS(63, 48) | NEST_BITS(15, 0))

NEST_INLINE uint64_t nest_memo(nest_pte_t bits, nest_attr_t attr)
{
	return bits | (uint64_t)attr << 16;
}

NEST_INLINE nest_attr_t nest_memo_attr(uint64_t memo)
{
	return (nest_attr_t)(memo >> 16);
}

NEST_INLINE nest_pte_t nest_memo_bits(uint64_t memo)
{
	return memo & NEST_MEMO_BITS;
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
	/* In shared mode the first one stays: CPUs would overwrite each other's. */
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

	*attr = nest_memo_attr(told);
	return (e & ~f->pa_mask(pt->features, 0)) == nest_memo_bits(told);
}

/* ---- One page, at its entry ---- */

/* Store a page in place of e, which is no page; false: another CPU has changed the entry. */
NEST_INLINE bool nest_put_page(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t *p,
			       nest_pte_t e, nest_pte_t to)
{
	if (nest_is_shared(pt))
		return !nest_is_busy(f, pt, 0, e) && nest_cas(p, &e, to);
	nest_store(p, to);
	return true;
}

/* Map a page like the one before, where none is. */
NEST_INLINE bool nest_map_entry(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t *p,
				nest_ia_t ia, nest_pa_t pa, nest_attr_t attr)
{
	const uint64_t memo = __atomic_load_n(&pt->page_made, __ATOMIC_RELAXED);
	const nest_pte_t e = nest_load(p);

	if (attr != nest_memo_attr(memo) || !nest_memo_bits(memo) || (pa & pt->pa_outside))
		return false;
	if (f->is_leaf(0, e) ||
	    !nest_put_page(f, pt, p, e, nest_memo_bits(memo) | f->pa_bits(0, pa)))
		return false;
	if (nest_fresh_flush(f, pt->features))
		nest_flush_pages(pt, ia, nest_span_mask(f, 0) + 1, nest_fresh_is_leaf(f, pt),
				 false);
	return true;
}

/* Are the n pages from `off` on, at *p, without a neighbour? Then their table may become empty. */
NEST_INLINE bool nest_stands_alone(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
				   const nest_pte_t *p, uint64_t n)
{
	const uint64_t i = off >> f->page_shift & (NEST_BIT(f->index_bits) - 1);

	return (i + n == NEST_BIT(f->index_bits) || nest_load(&p[n]) == pt->absent[0]) &&
	       (i == 0 || nest_load(&p[-1]) == pt->absent[0]);
}

/*
 * Take a page out and flush it. In exclusive mode only if its table keeps another page: then the
 * flush is the only call, and nothing has to be saved across another one.
 */
NEST_INLINE bool nest_unmap_entry(const struct nest_fmt *f, struct nest_pt *pt, nest_pte_t *p,
				  nest_ia_t ia, uint64_t off, bool keep_tables)
{
	const nest_pte_t e = nest_load(p);

	if (!nest_is_page(f, pt, e))
		return false;
	if (nest_is_shared(pt))
		return nest_take_page(pt, p, e, off, keep_tables);
	if (!keep_tables && nest_stands_alone(f, pt, off, p, 1) && !nest_has_others(pt, p, off))
		return false;
	nest_store_relaxed(p, pt->absent[0]);
	nest_flush_pages(pt, ia, nest_span_mask(f, 0) + 1, true, false);
	return true;
}

/*
 * What becomes of e, a page, with other attributes? False: that cannot be told here, or it takes
 * more than one store.
 */
NEST_INLINE bool nest_protected_page(const struct nest_fmt *f, const struct nest_pt *pt,
				     nest_pte_t e, nest_attr_t set, nest_attr_t clear,
				     nest_pte_t *to)
{
	const nest_pte_t address = f->pa_mask(pt->features, 0);
	nest_attr_t attr;

	if (((set | clear) & ~(f->attrs & ~NEST_MT_MASK)) || (set & clear))
		return false;
	if (!nest_page_attr(f, pt, e, &attr) && f->attr(pt->features, 0, e, &attr) != NEST_OK)
		return false;
	/* Hardware may make it dirty: then that has to be possible, too. */
	if (nest_hw_updates(f, pt->features) && (clear & NEST_W) &&
	    f->leaf(pt->features, 0, nest_new_attr(attr | NEST_ACCESSED | NEST_DIRTY, set, clear),
		    to))
		return false;
	if (f->leaf(pt->features, 0, nest_new_attr(attr, set, clear), to) != NEST_OK)
		return false;
	*to |= e & address;
	return !nest_needs_break(f, pt->features, 0, e, *to);
}

/*
 * Change the attributes of a page by one store, and flush it. In exclusive mode what became of the
 * page before is kept, since many pages change in the same way.
 */
NEST_INLINE bool nest_protect_entry(const struct nest_fmt *f, struct nest_pt *pt, nest_pte_t *p,
				    nest_ia_t ia, nest_attr_t set, nest_attr_t clear)
{
	const nest_pte_t address = f->pa_mask(pt->features, 0);
	const uint64_t rights = (uint64_t)set << 32 | clear;
	nest_pte_t e = nest_load(p), to;

	if (!nest_is_page(f, pt, e))
		return false;
	if (!nest_is_shared(pt) && pt->change == rights && pt->change_from == (e & ~address)) {
		to = pt->change_to | (e & address);
	} else {
		if (!nest_protected_page(f, pt, e, set, clear, &to))
			return false;
		if (!nest_is_shared(pt)) {
			pt->change = rights;
			pt->change_from = e & ~address;
			pt->change_to = to & ~address;
		}
	}
	if (to == e)
		return true;
	if (!nest_is_shared(pt) && !nest_hw_updates(f, pt->features))
		nest_store_relaxed(p, to);
	else if (!nest_cas(p, &e, to))
		return false;
	nest_flush_pages(pt, ia, nest_span_mask(f, 0) + 1, true,
			 !(set | (clear & ~(NEST_W | NEST_DBM | NEST_DIRTY))));
	return true;
}

/* Where does a page lead to? ia: any byte of it. */
NEST_INLINE bool nest_translate_entry(const struct nest_fmt *f, const struct nest_pt *pt,
				      const nest_pte_t *p, nest_ia_t ia, nest_pa_t *pa,
				      nest_attr_t *attr)
{
	const uint64_t mask = nest_span_mask(f, 0);
	const nest_pte_t e = nest_load(p);

	if (!nest_is_page(f, pt, e))
		return false;
	if (!nest_page_attr(f, pt, e, attr) && f->attr(pt->features, 0, e, attr) != NEST_OK)
		return false;
	*pa = (f->leaf_pa(pt->features, 0, e) & ~mask) | (ia & mask);
	return true;
}

/* ---- One page a call ---- */

NEST_INLINE bool nest_fast_map(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
			       nest_pa_t pa, nest_attr_t attr)
{
	nest_pte_t *p;
	uint64_t off;

	if (!(pt->quick & NEST_QUICK_CHANGE) || !nest_page_off(f, pt, ia, &off))
		return false;
	p = nest_page_entry(f, pt, off);
	return p && nest_map_entry(f, pt, p, ia, pa, attr);
}

/* The first page of a table, where nothing is. NEST_SLOW, an error, or done. */
NEST_INLINE int nest_fast_first(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
				nest_pa_t pa, nest_attr_t attr)
{
	nest_pte_t leaf;
	uint64_t off;

	if (!(pt->quick & NEST_QUICK_CHANGE) || !nest_page_off(f, pt, ia, &off) ||
	    (pa & pt->pa_outside) || !nest_page_leaf(f, pt, attr, &leaf))
		return NEST_SLOW;
	return nest_first_page(pt, off, leaf | f->pa_bits(0, pa));
}

NEST_INLINE bool nest_fast_unmap(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
				 bool keep_tables)
{
	nest_pte_t *p;
	uint64_t off;

	if (!(pt->quick & NEST_QUICK_TAKE) || !nest_page_off(f, pt, ia, &off))
		return false;
	p = nest_page_entry(f, pt, off);
	return p && nest_unmap_entry(f, pt, p, ia, off, keep_tables);
}

NEST_INLINE bool nest_fast_protect(const struct nest_fmt *f, struct nest_pt *pt, nest_ia_t ia,
				   nest_attr_t set, nest_attr_t clear)
{
	nest_pte_t *p;
	uint64_t off;

	if (!(pt->quick & (set ? NEST_QUICK_CHANGE : NEST_QUICK_TAKE)) ||
	    !nest_page_off(f, pt, ia, &off))
		return false;
	p = nest_page_entry(f, pt, off);
	return p && nest_protect_entry(f, pt, p, ia, set, clear);
}

NEST_INLINE bool nest_fast_translate(const struct nest_fmt *f, const struct nest_pt *pt,
				     nest_ia_t ia, nest_pa_t *pa, nest_attr_t *attr)
{
	const nest_pte_t *p;
	uint64_t off;

	if (!pt->quick || !nest_page_off(f, pt, ia & ~nest_span_mask(f, 0), &off))
		return false;
	p = nest_page_entry(f, pt, off);
	return p && nest_translate_entry(f, pt, p, ia, pa, attr);
}

/* What a smallest page is, whose attributes were kept. */
NEST_INLINE bool nest_fast_query(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
				 struct nest_mapping *out)
{
	nest_attr_t attr;

	if (!nest_fast_translate(f, pt, ia, &out->pa, &attr))
		return false;
	/* One by one: what lies between them need not be written. */
	out->ia = ia;
	out->size = nest_span_mask(f, 0) + 1;
	out->attr = attr;
	out->level = 0;
	out->contiguous = false;
	out->mark = 0;
	out->kind = NEST_PTE_LEAF;
	return true;
}

/* ---- By a cursor: the entry of the next page is known ---- */

/* Does the cursor stand in a table that is still in its place? */
NEST_INLINE bool nest_cursor_stands(const struct nest_cursor *c)
{
	return c->left && c->generation == c->pt->generation;
}

/* On to the next page. */
NEST_INLINE void nest_cursor_step(const struct nest_fmt *f, struct nest_cursor *c)
{
	c->ia += nest_span_mask(f, 0) + 1;
	c->entry = &((nest_pte_t *)c->entry)[1];
	c->left--;
	c->past = !c->ia;
}

/* On to the next page, and take a stand in the table that holds it, if there is one. */
NEST_INLINE void nest_cursor_stand_next(const struct nest_fmt *f, struct nest_cursor *c)
{
	const struct nest_pt *pt = c->pt;
	uint64_t off;

	c->ia += nest_span_mask(f, 0) + 1;
	c->past = !c->ia;
	c->left = 0;
	if (c->past || !(pt->quick & NEST_QUICK_CHANGE) || !nest_page_off(f, pt, c->ia, &off))
		return;
	c->entry = nest_page_entry(f, pt, off);
	if (!c->entry)
		return;
	c->left = (uint32_t)(NEST_BIT(f->index_bits) -
			     (off >> f->page_shift & (NEST_BIT(f->index_bits) - 1)));
	c->generation = pt->generation;
}

NEST_INLINE bool nest_cursor_maps(const struct nest_fmt *f, struct nest_cursor *c, nest_pa_t pa,
				  nest_attr_t attr)
{
	if (!nest_cursor_stands(c) || !nest_map_entry(f, c->pt, c->entry, c->ia, pa, attr))
		return false;
	nest_cursor_step(f, c);
	return true;
}

NEST_INLINE bool nest_cursor_unmaps(const struct nest_fmt *f, struct nest_cursor *c,
				    struct nest_gather *gather)
{
	const uint64_t off = c->ia & ~nest_upper_bits(c->pt);
	nest_pte_t *p = c->entry;

	if (!nest_cursor_stands(c) ||
	    (gather && (gather->pt != c->pt || gather->release || gather->limit)))
		return false;
	if (!gather || nest_is_shared(c->pt)) {
		if (!nest_unmap_entry(f, c->pt, p, c->ia, off, false))
			return false;
	} else {
		if (!nest_is_page(f, c->pt, nest_load(p)) ||
		    (nest_stands_alone(f, c->pt, off, p, 1) && !nest_has_others(c->pt, p, off)))
			return false;
		nest_store_relaxed(p, c->pt->absent[0]);
		gather->writes_only = false;
		nest_gather_range(gather, off, off | nest_span_mask(f, 0), 0);
	}
	nest_cursor_step(f, c);
	return true;
}

NEST_INLINE bool nest_cursor_translates(const struct nest_fmt *f, struct nest_cursor *c,
					nest_pa_t *pa, nest_attr_t *attr)
{
	if (!nest_cursor_stands(c) || !nest_translate_entry(f, c->pt, c->entry, c->ia, pa, attr))
		return false;
	nest_cursor_step(f, c);
	return true;
}

/* ---- A few pages of one table a call ---- */

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
	if (gather && (gather->pt != pt || gather->nr_ranges || gather->all || gather->limit))
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
		nest_fill_run(f, (struct nest_leaves){ .live = true, .pa = pa, .proto = proto }, p,
			      n);
	}
	nest_sync_entries(pt, p, n);
	if (nest_fresh_flush(f, features)) {
		if (gather && !nest_is_shared(pt)) {
			gather->writes_only = false;
			nest_gather_range(gather, off, off + size - 1, 0);
		} else
			nest_flush_pages(pt, ia, size, nest_fresh_is_leaf(f, pt), false);
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

	if ((flags & ~(NEST_SKIP_HOLES | NEST_NO_SPLIT)) || !nest_is_few(f, pt, ia, size, &off) ||
	    nest_is_shared(pt))
		return false;
	if (gather && (gather->pt != pt || gather->release || gather->limit))
		return false;
	if (nest_walk(f, pt, off, &p, &e))
		return false;
	for (uint64_t k = 0; k < n; k++) {
		e = nest_load(&p[k]);
		if (!f->is_leaf(0, e) || nest_is_member(f, pt->features, 0, e))
			return false;
	}
	if (nest_stands_alone(f, pt, off, p, n))
		return false;
	for (uint64_t k = 0; k < n; k++)
		nest_store_relaxed(&p[k], absent);
	nest_sync_entries(pt, p, n);
	if (gather) {
		gather->writes_only = false;
		nest_gather_range(gather, off, off + size - 1, 0);
	} else
		nest_flush_pages(pt, ia, size, true, false);
	return true;
}

#endif
