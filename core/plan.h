/* SPDX-License-Identifier: MIT */
/*
 * The first pass of an operation: read every entry that matters, find every reason to refuse, count
 * the tables that the second pass will take. It stores nothing; what it has let through cannot
 * fail.
 */
#ifndef NEST_CORE_PLAN_H
#define NEST_CORE_PLAN_H

#include "core/passes.h"

/* One leaf that the operation meets: may it, and what does it cost? */
NEST_INLINE int nest_plan_leaf(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
			       unsigned level, uint64_t off, uint64_t last, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;
	const struct nest_pt *pt = job->pt;
	uint64_t mask = nest_span_mask(f, level);
	bool covered = (off & mask) == 0 && (last & mask) == mask;
	unsigned cap = rq->cap;

	if (op == NEST_OP_UNMARK || (op == NEST_OP_SPLIT && level <= cap))
		return NEST_OK;
	if (op == NEST_OP_MARK)
		return NEST_E_MAPPED;
	if (op == NEST_OP_MAP) {
		if (rq->flags & NEST_MAP_SKIP_MAPPED)
			return NEST_OK;
		if (!(rq->flags & NEST_MAP_REPLACE))
			return NEST_E_MAPPED;
	}
	if ((rq->flags & NEST_NO_SPLIT) &&
	    (!covered || (nest_is_member(f, pt->features, level, e) &&
			  !nest_group_inside(f, rq, pt->features, level, off))))
		return NEST_E_HUGE;
	if (op == NEST_OP_PROTECT) {
		nest_pte_t to;
		uint64_t size = last - off + 1;

		if (job->recoded_level != level ||
		    ((e ^ job->from) & ~f->pa_mask(pt->features, level))) {
			int err = nest_protected(pt, rq, level, e, &to);

			if (err)
				return err;
			job->from = e;
			job->to = to;
			job->recoded_level = level;
		}
		/* Hardware may make it dirty before commit() comes to it. */
		if (nest_hw_updates(f, pt->features) &&
		    nest_recode(pt, level,
				f->set_ad(pt->features, level, e, NEST_ACCESSED | NEST_DIRTY),
				rq->set, rq->clear, &to))
			return NEST_E_UNSUPPORTED;
		if ((rq->set || (rq->clear & NEST_MT_MASK)) && pt->host->allow &&
		    !pt->host->allow(
			    pt->ctx, nest_entry_pa(pt, level, off & ~mask, e) + (off & mask), size,
			    nest_new_attr(nest_leaf_attr(pt, level, e), rq->set, rq->clear)))
			return NEST_E_DENIED;
	}
	/* A split stops at its level: what it cuts there stays whole. */
	if (op == NEST_OP_SPLIT) {
		off &= ~nest_span_mask(f, cap);
		last |= nest_span_mask(f, cap);
	}
	job->need += nest_tables_below(f, level, off, last, cap);
	return NEST_OK;
}

/* An entry that holds nothing, or a mark: may the operation meet it? */
NEST_INLINE int nest_plan_hole(const struct nest_fmt *f, const struct nest_job *job,
			       enum nest_op op, unsigned level, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;

	if ((nest_op_removes(op) || op == NEST_OP_PROTECT) && !(rq->flags & NEST_SKIP_HOLES))
		return NEST_E_NOTMAPPED;
	if (op == NEST_OP_MAP && (rq->flags & NEST_MAP_KEEP_MARKS) &&
	    nest_kind(f, job->pt, level, e) == NEST_PTE_MARK)
		return NEST_E_MAPPED;
	return NEST_OK;
}

/* Entries i .. i + n - 1 of a level 0 table, all inside the range. */
NEST_INLINE int nest_plan_pages(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
				const nest_pte_t *t, uint64_t i, uint64_t n, uint64_t off)
{
	const struct nest_request *rq = job->rq;

	if (op == NEST_OP_SPLIT)
		return NEST_OK;
	if (!NEST_SMALL &&
	    (op == NEST_OP_MARK ||
	     (op == NEST_OP_MAP &&
	      !(rq->flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED | NEST_MAP_KEEP_MARKS))))) {
		bool leaf = false;

		for (uint64_t k = 0; k < n; k++)
			leaf |= f->is_leaf(0, nest_load(&t[i + k]));
		return leaf ? NEST_E_MAPPED : NEST_OK;
	}
	if (!NEST_SMALL && op == NEST_OP_UNMAP &&
	    !(rq->flags & (NEST_SKIP_HOLES | NEST_NO_SPLIT))) {
		bool leaf = true;

		for (uint64_t k = 0; k < n; k++)
			leaf &= f->is_leaf(0, nest_load(&t[i + k]));
		return leaf ? NEST_OK : NEST_E_NOTMAPPED;
	}
	if (op == NEST_OP_MAP && (rq->flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED)) &&
	    !(rq->flags & NEST_NO_SPLIT))
		return NEST_OK;
	for (uint64_t k = 0, step; k < n; k += step) {
		nest_pte_t e = nest_load(&t[i + k]);
		uint64_t at = off + (k << nest_shift(f, 0));
		int err = NEST_OK;

		step = 1;
		if (f->is_leaf(0, e))
			err = nest_plan_leaf(f, job, op, 0, at, at | nest_span_mask(f, 0), e);
		else
			err = nest_plan_hole(f, job, op, 0, e);
		if (err)
			return err;
		/* What is like it can be recoded like it, unless there is more to ask for each. */
		if (op == NEST_OP_PROTECT && !job->pt->host->allow && !(rq->flags & NEST_NO_SPLIT))
			step += nest_alike(f, job->pt, e, &t[i + k + 1], n - k - 1);
		if (!NEST_SMALL && op == NEST_OP_PROTECT)
			job->alike &= step == n && !nest_is_member(f, job->pt->features, 0, e) &&
				      nest_is_settled(f, job->pt, e);
	}
	return NEST_OK;
}

/* What plan() has to do with a table below an entry that the range covers. */
NEST_INLINE bool nest_plan_skips(const struct nest_job *job, enum nest_op op, unsigned level)
{
	const struct nest_request *rq = job->rq;

	if (op == NEST_OP_UNMAP)
		return (rq->flags & NEST_SKIP_HOLES) != 0;
	if (op == NEST_OP_REVOKE)
		return (rq->flags & NEST_SKIP_HOLES) != 0 && level <= rq->cap;
	return op == NEST_OP_MAP && (rq->flags & NEST_MAP_REPLACE) != 0 && level <= rq->cap;
}

NEST_INLINE int nest_plan(const struct nest_fmt *f, struct nest_job *job, enum nest_op op)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	const nest_pte_t *table[NEST_MAX_LEVELS];
	unsigned level = job->level;
	uint64_t off = rq->first, stop;

	table[level] = job->frame[level].t;
	for (;; off = stop + 1) {
		uint64_t i = nest_index(f, pt, level, off);
		enum nest_pte_kind kind;
		nest_pte_t e;
		int err = NEST_OK;

		if (level == 0) {
			stop = nest_table_last(f, pt, 0, off);
			stop = stop < rq->last ? stop : rq->last;
			err = nest_plan_pages(f, job, op, table[0], i,
					      ((stop - off) >> nest_shift(f, 0)) + 1, off);
		} else {
			stop = off | nest_span_mask(f, level);
			stop = stop < rq->last ? stop : rq->last;
			e = nest_load(&table[level][i]);
			kind = nest_kind(f, pt, level, e);
			switch (kind) {
			case NEST_PTE_TABLE:
				if (level == pt->top && nest_is_borrowed(pt, i))
					return NEST_E_DENIED;
				if (stop - off == nest_span_mask(f, level) &&
				    nest_plan_skips(job, op, level) &&
				    nest_may_detach(pt, level, i))
					break;
				table[--level] = nest_va(pt, f->table_pa(e));
				stop = off - 1;
				continue;
			case NEST_PTE_LEAF:
				err = nest_plan_leaf(f, job, op, level, off, stop, e);
				break;
			default:
				if (op == NEST_OP_MAP || nest_op_marks(op) ||
				    (nest_op_empties(op) && kind == NEST_PTE_MARK))
					job->need += nest_tables_below(f, level, off, stop,
								       rq->cap);
				err = nest_plan_hole(f, job, op, level, e);
			}
		}
		if (err || stop == rq->last)
			return err;
		while (level < job->level && stop == nest_table_last(f, pt, level, off))
			level++;
	}
}

#endif
