/* SPDX-License-Identifier: MIT */
/*
 * Loops over runs of pages.
 */
#ifndef NEST_CORE_BULK_H
#define NEST_CORE_BULK_H

#include "core/request.h"

/*
 * n entries, whole units: e, e + step, and so on; the next unit begins with e + jump. By plain
 * stores, unless walkers may see them (bulk.c).
 */
void nest_fill_words(nest_pte_t *t, uint64_t n, uint64_t unit, nest_pte_t e, nest_pte_t step,
		     nest_pte_t jump, bool live);

/* n times the same word, in a table that no walker can see. */
void nest_fill_same(nest_pte_t *t, uint64_t n, nest_pte_t e);

NEST_INLINE nest_pte_t nest_leaf_for(const struct nest_fmt *f, unsigned level, nest_pa_t pa,
				     nest_pte_t proto, bool contiguous)
{
	nest_pte_t e = proto | f->pa_bits(level, pa);

	return contiguous ? f->contig(level, e) : e;
}

/*
 * n leaves to the frames from pa on; in contiguous groups of `unit`, if that is not 1. From one to
 * the next is a constant step, if it leads from the first to the last: not where all of a group
 * hold one address, nor where high address bits stand elsewhere in an entry and the run carries
 * into them. Then it is one within each unit, and mostly one from unit to unit.
 */
NEST_INLINE void nest_fill_run(const struct nest_fmt *f, unsigned level, nest_pte_t *t, uint64_t n,
			       nest_pa_t pa, nest_pte_t proto, uint64_t unit, bool live)
{
	const bool contiguous = unit > 1;
	const uint64_t size = nest_span_mask(f, level) + 1;
	const nest_pte_t e = nest_leaf_for(f, level, pa, proto, contiguous);
	const nest_pte_t last = nest_leaf_for(f, level, pa + (n - 1) * size, proto, contiguous);
	nest_pte_t step = f->pa_bits(level, size), jump;

	if (NEST_SMALL) {
		for (uint64_t k = 0; k < n; k++, pa += size)
			nest_store(&t[k], nest_leaf_for(f, level, pa, proto, contiguous));
		return;
	}
	if (last - e == (n - 1) * step) {
		nest_fill_words(t, n, n, e, step, 0, live);
		return;
	}
	jump = nest_leaf_for(f, level, pa + unit * size, proto, contiguous) - e;
	step = nest_leaf_for(f, level, pa + size, proto, contiguous) - e;
	if (last - e == (n - unit) / unit * jump + (unit - 1) * step) {
		nest_fill_words(t, n, unit, e, step, jump, live);
		return;
	}
	for (uint64_t k = 0; k < n; k += unit, pa += unit * size)
		nest_fill_words(&t[k], unit, unit, nest_leaf_for(f, level, pa, proto, contiguous),
				step, 0, live);
}

/*
 * Of the n new leaves from index i on, how many form whole contiguous groups, and after how many
 * single ones do these begin?
 */
NEST_INLINE uint64_t nest_groups(const struct nest_fmt *f, const struct nest_pt *pt,
				 const struct nest_request *rq, unsigned level, uint64_t i,
				 uint64_t n, uint64_t *head)
{
	unsigned cs = rq->groups ? nest_contig_shift(f, pt->features, level) : 0;
	uint64_t members = (uint64_t)1 << cs;

	*head = -i & (members - 1);
	if (!cs || (rq->delta & ((members << nest_shift(f, level)) - 1)) || *head + members > n)
		return 0;
	return (n - *head) & ~(members - 1);
}

#endif
