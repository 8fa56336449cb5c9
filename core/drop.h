/* SPDX-License-Identifier: MIT */
/*
 * Free tables that no walker reaches any more, with all tables below them.
 */
#ifndef NEST_CORE_DROP_H
#define NEST_CORE_DROP_H

#include "core/operate.h"

/* Without a gather the caller is nest_pt_destroy(): nobody reads the table, so no grace period. */
NEST_INLINE void nest_drop_one(const struct nest_fmt *f, struct nest_pt *pt,
			       const struct nest_gather *g, nest_pa_t table, unsigned level)
{
	if (g)
		nest_free_table(pt, table, level);
	else
		pt->host->free(pt->ctx, table, (size_t)NEST_BIT(f->page_shift));
}

/* Free the tables of level 0 that t points to, without reading them: they are most of all tables.
 */
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

/*
 * Free a table of `level`, whose first entry stands for `off`, and all below it, from left to
 * right; report what leaves are lost. One call a level.
 */
NEST_INLINE void nest_drop(const struct nest_fmt *f, struct nest_pt *pt, struct nest_gather *g,
			   const struct nest_gather_item *item, nest_pa_t table, unsigned level,
			   uint64_t off)
{
	const bool reports = g && g->release;
	const nest_pte_t *t = nest_va(pt, table);
	/* Without somebody to report to, nobody reads leaves. */
	uint64_t n = level || reports ? NEST_BIT(f->index_bits) : 0;

	if (level == 1 && !reports && !NEST_SMALL) {
		nest_drop_leaf_tables(f, pt, g, t);
		n = 0;
	}
	for (uint64_t i = 0; i < n; i++, off += nest_span_mask(f, level) + 1) {
		const nest_pte_t e = nest_load(&t[i]);
		const enum nest_pte_kind kind = nest_kind(f, pt, level, e);

		if (kind == NEST_PTE_TABLE)
			nest_ops(pt)->drop(pt, g, item, f->table_pa(e), level - 1, off);
		else if (reports && kind == NEST_PTE_LEAF)
			nest_report_lost(g, item, level, off, e);
	}
	nest_drop_one(f, pt, g, table, level);
}

#endif
