/* SPDX-License-Identifier: MIT */
/*
 * Tables that no walker reaches any more, given back with all below them.
 */
#ifndef NEST_CORE_DROP_H
#define NEST_CORE_DROP_H

#include "core/internal.h"

/* Without a gather, destroy() asks: nobody reads on, so nothing waits. */
NEST_INLINE void nest_drop_one(const struct nest_fmt *f, struct nest_pt *pt,
			       const struct nest_gather *g, nest_pa_t table, unsigned level)
{
	if (g)
		nest_free_table(pt, table, level);
	else
		pt->host->free(pt->ctx, table, (size_t)NEST_BIT(f->page_shift));
}

/* The tables of leaves that t, one of level 1, points to, unread: most of what there is to free. */
NEST_INLINE void nest_drop_leaf_tables(const struct nest_fmt *f, struct nest_pt *pt,
				       const struct nest_gather *g, const nest_pte_t *t)
{
	const uint64_t n = NEST_BIT(f->index_bits);
	const nest_pte_t absent = pt->absent[1];

	for (uint64_t i = 0; i < n; i++) {
		const nest_pte_t e = nest_load(&t[i]);

		if (e == absent)
			i += nest_like(&t[i], n - i, e, ~(nest_pte_t)0) - 1;
		else if (nest_kind(f, pt, 1, e) == NEST_PTE_TABLE)
			nest_drop_one(f, pt, g, f->table_pa(e), 0);
	}
}

/* Free the item's table and all below it, from left to right; report what leaves are lost. */
NEST_INLINE void nest_drop(const struct nest_fmt *f, struct nest_pt *pt, struct nest_gather *g,
			   const struct nest_gather_item *item)
{
	const bool reports = g && g->release;
	const uint64_t n = (uint64_t)1 << f->index_bits;
	struct {
		nest_pa_t table;
		uint64_t i;
	} at[NEST_MAX_LEVELS];
	unsigned level = item->level;
	uint64_t base = item->ia;

	at[level].table = item->pa;
	at[level].i = 0;
	for (;;) {
		const nest_pte_t *t = nest_va(pt, at[level].table);
		uint64_t i = at[level].i, off = 0;
		enum nest_pte_kind kind = NEST_PTE_NONE;
		nest_pte_t e = 0;

		/* Without somebody to report to, nobody reads leaves. */
		if (level <= (NEST_SMALL ? 0 : 1) && !reports) {
			if (level == 1)
				nest_drop_leaf_tables(f, pt, g, t);
			i = n;
		}
		for (; i < n; i++) {
			e = nest_load(&t[i]);
			if (e == pt->absent[level]) {
				i += nest_like(&t[i], n - i, e, ~(nest_pte_t)0) - 1;
				continue;
			}
			kind = nest_kind(f, pt, level, e);
			if ((kind == NEST_PTE_TABLE && level > 0) ||
			    (kind == NEST_PTE_LEAF && reports))
				break;
		}
		if (i == n) {
			nest_drop_one(f, pt, g, at[level].table, level);
			if (level == item->level)
				return;
			level++;
			base &= ~nest_span_mask(f, level + 1);
			continue;
		}
		at[level].i = i + 1;
		off = base + (i << nest_shift(f, level));
		if (kind == NEST_PTE_TABLE) {
			base = off;
			level--;
			at[level].table = f->table_pa(e);
			at[level].i = 0;
		} else {
			nest_report_lost(g, item, level, off, e);
		}
	}
}

#endif
