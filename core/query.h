/* SPDX-License-Identifier: MIT */
/*
 * What stands at an address.
 */
#ifndef NEST_CORE_QUERY_H
#define NEST_CORE_QUERY_H

#include "core/live.h"

/* Describe entry `e`, read from *p, of `level` as seen from `off`, which lies in it. */
NEST_INLINE int nest_describe(const struct nest_fmt *f, const struct nest_pt *pt, unsigned level,
			      uint64_t off, const nest_pte_t *p, nest_pte_t e,
			      struct nest_mapping *out)
{
	uint64_t mask = nest_span_mask(f, level);

	*out = (struct nest_mapping){ .ia = nest_fmt_off_to_ia(f, pt, off), .level = level };
	out->kind = nest_kind(f, pt, level, e);
	if (out->kind == NEST_PTE_LEAF) {
		out->contiguous = nest_is_member(f, pt->features, level, e);
		if (out->contiguous)
			mask = ((mask + 1) << nest_contig_shift(f, pt->features, level)) - 1;
		out->pa = (f->leaf_pa(pt->features, level, e) & ~mask) | (off & mask);
		if (NEST_SMALL)
			out->attr = nest_leaf_attr(pt, level, e);
		else if (f->attr(pt->features, level, e, &out->attr) != NEST_OK)
			out->attr = 0;
		if (out->contiguous) {
			const uint64_t i = nest_index(f, pt, level, off);

			out->attr |= nest_group_status(pt, &p[-(ptrdiff_t)i], i, level);
		}
	} else if (out->kind == NEST_PTE_MARK) {
		out->mark = nest_soft_value(e);
	}
	out->size = mask + 1;
	return out->kind == NEST_PTE_LEAF ? NEST_OK : NEST_E_NOTMAPPED;
}

/* By constants at level 0, where most pages are. */
NEST_INLINE int nest_lookup(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
			    struct nest_mapping *out)
{
	nest_pte_t *p, e;
	uint64_t off;

	if (nest_fmt_ia_to_off(f, pt, ia, &off))
		return NEST_E_RANGE;
	for (unsigned tries = 0; tries < NEST_TRIES; tries++) {
		unsigned level = nest_walk(f, pt, off, &p, &e);

		if (!f->is_leaf(level, e) && nest_is_busy(f, pt, level, e)) {
			nest_relax(pt);
			continue;
		}
		if (level == 0 && !NEST_SMALL)
			return nest_describe(f, pt, 0, off, p, e, out);
		return nest_describe(f, pt, level, off, p, e, out);
	}
	*out = (struct nest_mapping){ .ia = ia, .size = NEST_BIT(f->page_shift) };
	return NEST_E_BUSY;
}

#endif
