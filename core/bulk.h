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

/* Leaves of one level with equal attributes, to frames that follow one another. */
struct nest_leaves {
	unsigned level;
	bool live; /* walkers may see the table */
	nest_pa_t pa;
	nest_pte_t proto; /* the leaf for address 0 */
	uint64_t unit;    /* how many make a contiguous group; 0: none do */
};

/* The leaf at `offset` from the first. */
NEST_INLINE nest_pte_t nest_leaf_at(const struct nest_fmt *f, struct nest_leaves l, uint64_t offset)
{
	const nest_pte_t e = l.proto | f->pa_bits(l.level, l.pa + offset);

	return l.unit ? f->contig(l.level, e) : e;
}

/*
 * Write n of them, whole groups if they make groups, from *t on. From one to the next is a constant
 * step, if it leads from the first to the last: not where all of a group hold one address, nor
 * where high address bits stand elsewhere in an entry and the run carries into them. Then it is one
 * within each unit, and mostly one from unit to unit.
 */
NEST_INLINE void nest_fill_run(const struct nest_fmt *f, struct nest_leaves l, nest_pte_t *t,
			       uint64_t n)
{
	const unsigned shift = nest_shift(f, l.level);
	const uint64_t unit = l.unit ? l.unit : 1;
	const nest_pte_t e = nest_leaf_at(f, l, 0), last = nest_leaf_at(f, l, (n - 1) << shift);
	nest_pte_t step = f->pa_bits(l.level, NEST_BIT(shift)), jump;

	if (NEST_SMALL) {
		for (uint64_t k = 0; k < n; k++)
			nest_store(&t[k], nest_leaf_at(f, l, k << shift));
		return;
	}
	if (last - e == (n - 1) * step) {
		nest_fill_words(t, n, n, e, step, 0, l.live);
		return;
	}
	jump = nest_leaf_at(f, l, unit << shift) - e;
	step = nest_leaf_at(f, l, NEST_BIT(shift)) - e;
	if (last - e == (n - unit) / unit * jump + (unit - 1) * step) {
		nest_fill_words(t, n, unit, e, step, jump, l.live);
		return;
	}
	for (uint64_t k = 0; k < n; k += unit)
		nest_fill_words(&t[k], unit, unit, nest_leaf_at(f, l, k << shift), step, 0, l.live);
}

/*
 * Of the n new leaves from at->i on, how many form whole contiguous groups, and after how many
 * single ones do these begin?
 */
NEST_INLINE uint64_t nest_groups(const struct nest_fmt *f, const struct nest_request *rq,
				 const struct nest_at *at, uint64_t n, uint64_t *head)
{
	const uint32_t features = rq->gather->pt->features;
	const unsigned cs = rq->groups ? nest_contig_shift(f, features, at->level) : 0;
	const uint64_t members = (uint64_t)1 << cs;

	*head = -at->i & (members - 1);
	if (!cs || (rq->delta & ((members << nest_shift(f, at->level)) - 1)) || *head + members > n)
		return 0;
	return (n - *head) & ~(members - 1);
}

/*
 * A map's n leaves like `l`, to the frames for at->off and what follows, over whatever the entries
 * from at->i on hold; contiguous groups where a whole one fits.
 */
NEST_INLINE void nest_fill(const struct nest_fmt *f, const struct nest_request *rq,
			   const struct nest_at *at, struct nest_leaves l, uint64_t n)
{
	const unsigned shift = nest_shift(f, at->level);
	uint64_t head, body = nest_groups(f, rq, at, n, &head), tail;
	nest_pte_t *t = &at->t[at->i];

	l.level = at->level;
	l.pa = at->off + rq->delta;
	if (!body) {
		nest_fill_run(f, l, t, n);
		return;
	}
	tail = head + body;
	if (head)
		nest_fill_run(f, l, t, head);
	l.pa += head << shift;
	l.unit = NEST_BIT(nest_contig_shift(f, rq->gather->pt->features, at->level));
	nest_fill_run(f, l, &t[head], body);
	l.pa += body << shift;
	l.unit = 0;
	if (tail < n)
		nest_fill_run(f, l, &t[tail], n - tail);
}

/* ---- A list of frames ---- */

/* n pages in one table, where none is; NEST_PA_NONE leaves an entry alone. */
NEST_INLINE void nest_fill_frames(const struct nest_fmt *f, nest_pte_t *t, const nest_pa_t *frames,
				  uint64_t n, nest_pte_t proto)
{
	for (uint64_t k = 0; k < n; k++) {
		if (frames[k] != NEST_PA_NONE)
			nest_store(&t[k], proto | f->pa_bits(0, frames[k]));
	}
}

/* By the loop of the table's format. */
NEST_INLINE void nest_fill_list(const struct nest_pt *pt, nest_pte_t *t, const nest_pa_t *frames,
				uint64_t n, nest_pte_t proto)
{
#if NEST_SMALL
	nest_fill_frames(nest_fmt_of(pt), t, frames, n, proto);
#else
	pt->format->fill_frames(t, frames, n, proto);
#endif
}

#endif
