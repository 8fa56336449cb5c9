/* SPDX-License-Identifier: MIT */
/*
 * Small answers that are asked for everywhere: inlined, or, where size comes first, one function
 * each. table.h says what they are.
 */
#ifndef NEST_CORE_TABLE_INLINE_H
#define NEST_CORE_TABLE_INLINE_H

NEST_ONCE void *nest_va(const struct nest_pt *pt, nest_pa_t pa)
{
	const struct nest_view v = nest_view(pt);

	return nest_view_va(&v, pa);
}

NEST_ONCE void nest_sync_entries(const struct nest_pt *pt, const nest_pte_t *p, uint64_t n)
{
	if (pt->host->sync)
		pt->host->sync(pt->ctx, p, (size_t)(n * sizeof(*p)));
}

NEST_ONCE NEST_PURE uint64_t nest_span_mask(const struct nest_fmt *f, unsigned level)
{
	return ((uint64_t)1 << nest_shift(f, level)) - 1;
}

NEST_ONCE NEST_PURE uint64_t nest_index(const struct nest_fmt *f, const struct nest_pt *pt,
					unsigned level, uint64_t off)
{
	uint64_t i = off >> nest_shift(f, level);

	return level == pt->top ? i : i & (((uint64_t)1 << f->index_bits) - 1);
}

NEST_ONCE NEST_PURE uint64_t nest_table_last(const struct nest_fmt *f, const struct nest_pt *pt,
					     unsigned level, uint64_t off)
{
	if (level == pt->top)
		return ((uint64_t)1 << pt->ia_bits) - 1;
	return off | nest_span_mask(f, level + 1);
}

NEST_ONCE NEST_PURE enum nest_pte_kind nest_kind(const struct nest_fmt *f, const struct nest_pt *pt,
						 unsigned level, nest_pte_t e)
{
	if (level > 0 && f->is_table(level, e)) {
		if (nest_absent_is_table(f) &&
		    (e == pt->absent[level] || e == pt->lent[level] || e == pt->busy[level]))
			return NEST_PTE_NONE;
		return NEST_PTE_TABLE;
	}
	if (f->is_leaf(level, e))
		return NEST_PTE_LEAF;
	return nest_soft_tag_of(e) == NEST_SOFT_MARK ? NEST_PTE_MARK : NEST_PTE_NONE;
}

NEST_ONCE unsigned nest_walk_to(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
				unsigned lowest, nest_pte_t **p, nest_pte_t *e)
{
	nest_pa_t table = pt->root;
	unsigned level = pt->top;

	for (;; level--) {
		nest_pte_t *t = nest_va(pt, table);

		*p = &t[nest_index(f, pt, level, off)];
		*e = nest_load(*p);
		if (level == lowest || nest_kind(f, pt, level, *e) != NEST_PTE_TABLE)
			return level;
		table = f->table_pa(*e);
	}
}

NEST_ONCE NEST_PURE bool nest_is_busy(const struct nest_fmt *f, const struct nest_pt *pt,
				      unsigned level, nest_pte_t e)
{
	return nest_is_limbo(f, level, e) ||
	       (nest_absent_is_table(f) && nest_is_shared(pt) && e == pt->busy[level]);
}

NEST_ONCE NEST_PURE uint64_t nest_fmt_off_to_ia(const struct nest_fmt *f, const struct nest_pt *pt,
						uint64_t off)
{
	switch (f->ia_kind) {
	case NEST_IA_SIGNED:
		return off >> (pt->ia_bits - 1) & 1 ? off | nest_upper_bits(pt) : off;
	case NEST_IA_SPLIT:
		return pt->flags & NEST_PT_UPPER ? off | nest_upper_bits(pt) : off;
	default:
		return off;
	}
}

NEST_ONCE int nest_fmt_ia_to_off(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
				 uint64_t *off)
{
	*off = ia & ~nest_upper_bits(pt);
	return nest_fmt_off_to_ia(f, pt, *off) == ia ? NEST_OK : NEST_E_RANGE;
}

NEST_ONCE int nest_range(const struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t *first,
			 uint64_t *last)
{
	uint64_t page = nest_table_size(pt) - 1;

	if ((ia | size) & page)
		return NEST_E_ALIGN;
	if (!size || ia + (size - 1) < ia)
		return NEST_E_RANGE;
	if (nest_ia_to_off(pt, ia, first) || nest_ia_to_off(pt, ia + (size - 1), last) ||
	    *last - *first != size - 1)
		return NEST_E_RANGE;
	return NEST_OK;
}

#endif
