/* SPDX-License-Identifier: MIT */
/*
 * What plan.h and commit.h share: the state of one operation, and the questions both ask.
 *
 * A frame is live (walkers may see the table: single-copy atomic stores, each leaving a legal
 * state) or private (a new table, off-line: it stands for the entry `old` of the level above until
 * it is complete and replaces that entry by one store).
 */
#ifndef NEST_CORE_PASSES_H
#define NEST_CORE_PASSES_H

#include "core/operate.h"

struct nest_frame {
	nest_pte_t *t;
	nest_pa_t pa;
	nest_pte_t old; /* private: the entry of the level above that the table stands for */
	bool is_private;
};

struct nest_job {
	struct nest_pt *pt;
	const struct nest_request *rq;
	unsigned level; /* of the lowest table that holds the whole range */
	uint64_t need;  /* tables */
	struct nest_reserve spare;
	struct nest_frame frame[NEST_MAX_LEVELS];
	nest_pte_t proto[NEST_MAX_LEVELS]; /* map: leaf for address 0, by level */
	nest_pte_t from, to;               /* protect: the last recoding, without address */
	unsigned recoded_level;
	/*
	 * Protect: in every table of pages, those in the range are alike but for their address, and
	 * stay so: no groups, nothing left for hardware to set.
	 */
	bool alike;
};

/* How many of the n pages from *t on are like `e`, address apart? */
NEST_INLINE uint64_t nest_alike(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t e,
				const nest_pte_t *t, uint64_t n)
{
	return nest_like(t, n, e, ~f->pa_mask(pt->features, 0));
}

/* Has hardware nothing left to set in this leaf of level 0? */
NEST_INLINE bool nest_is_settled(const struct nest_fmt *f, const struct nest_pt *pt, nest_pte_t e)
{
	return !nest_hw_updates(f, pt->features) ||
	       f->set_ad(pt->features, 0, e, NEST_ACCESSED | NEST_DIRTY) == e;
}

/* May the table at root index i be unlinked? Not when another nest_pt is linked to it. */
NEST_INLINE bool nest_may_detach(const struct nest_pt *pt, unsigned level, uint64_t i)
{
	return level != pt->top || !nest_is_pinned(pt, i);
}

/* Is the contiguous group around `off` inside the range? */
NEST_INLINE bool nest_group_inside(const struct nest_fmt *f, const struct nest_request *rq,
				   uint32_t features, unsigned level, uint64_t off)
{
	uint64_t mask = (nest_span_mask(f, level) + 1) << nest_contig_shift(f, features, level);

	mask -= 1;
	return (off & ~mask) >= rq->first && (off | mask) <= rq->last;
}

/*
 * Contiguous, and the operation is going to treat its group's entries differently from each other.
 */
NEST_INLINE bool nest_must_open(const struct nest_fmt *f, const struct nest_job *job,
				enum nest_op op, unsigned level, uint64_t off, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;

	if (!nest_is_member(f, job->pt->features, level, e))
		return false;
	if (op == NEST_OP_SPLIT || (op == NEST_OP_MAP && level > rq->cap))
		return true;
	return !nest_group_inside(f, rq, job->pt->features, level, off);
}

#endif
