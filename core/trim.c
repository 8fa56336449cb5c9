/* SPDX-License-Identifier: MIT */
/*
 * Trim: free tables that hold nothing, which an unmap with NEST_KEEP_TABLES has left.
 */
#include "core/operate.h"
#include "core/passes.h"

static bool is_empty(const struct nest_pt *pt, const nest_pte_t *t, unsigned level)
{
	const uint64_t n = NEST_BIT(nest_fmt_of(pt)->index_bits);

	return nest_like(t, n, pt->absent[level], ~(nest_pte_t)0) == n;
}

/* What of the range hangs below one table, from the leaves up. */
/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static void trim_below(const struct nest_request *rq, nest_pte_t *t, unsigned level, uint64_t first,
		       uint64_t last)
{
	struct nest_pt *pt = rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const uint64_t mask = nest_span_mask(f, level);

	for (uint64_t off = first, stop;; off = stop + 1) {
		const uint64_t i = nest_index(f, pt, level, off), begin = off & ~mask;
		const nest_pte_t e = nest_load(&t[i]);

		stop = (off | mask) < last ? off | mask : last;
		if (level > 0 && nest_kind(f, pt, level, e) == NEST_PTE_TABLE) {
			nest_pte_t *child = nest_va(pt, f->table_pa(e));
			bool flushed;

			trim_below(rq, child, level - 1, off, stop);
			if (is_empty(pt, child, level - 1) && nest_may_detach(pt, level, i)) {
				(void)nest_change(pt, t, i, level, begin, pt->absent[level], false,
						  &flushed);
				nest_gather_range(rq->gather, begin, begin | mask, level);
				nest_gather_table(rq->gather, f->table_pa(e), level - 1, begin,
						  NULL);
			}
		}
		if (stop == last)
			return;
	}
}

int nest_operate_trim(struct nest_pt *pt, const struct nest_request *rq)
{
	if (NEST_ENTRYWISE || nest_is_shared(pt))
		return nest_trim_shared(pt, rq);
	if (nest_range_is_borrowed(pt, rq))
		return NEST_E_DENIED;
	trim_below(rq, nest_va(pt, pt->root), pt->top, rq->first, rq->last);
	return NEST_OK;
}
