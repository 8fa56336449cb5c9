/* SPDX-License-Identifier: MIT */
/*
 * The engine, as a template: every function takes the format's descriptor and is inlined into the
 * one place where that descriptor is a compile-time constant, core/instance.h (and once with a
 * run-time descriptor, for the rare operations, in generic.c).
 *
 * An operation makes one descent, to the lowest table that holds the whole range. From there plan.h
 * reads: it finds every reason to refuse and counts the tables that will be needed. Those are
 * allocated; then commit.h stores, and cannot fail.
 */
#ifndef NEST_CORE_ENGINE_H
#define NEST_CORE_ENGINE_H

#include "core/commit.h"
#include "core/drop.h"
#include "core/fast.h"
#include "core/plan.h"
#include "core/query.h"

/* The one descent: to the lowest table that holds the whole range. */
NEST_INLINE void nest_descend(const struct nest_fmt *f, struct nest_job *job)
{
	struct nest_pt *pt = job->pt;
	const struct nest_request *rq = job->rq;
	unsigned level = pt->top;
	nest_pa_t pa = pt->root;

	for (;;) {
		nest_pte_t *t = nest_va(pt, pa);
		nest_pte_t e;

		job->frame[level] = (struct nest_frame){ .t = t, .pa = pa };
		job->level = level;
		if (level == 0 || (rq->first ^ rq->last) >> nest_shift(f, level))
			return;
		/* Root entries shared with another table are looked at by plan() and commit(). */
		if (level == pt->top && pt->pinned != NEST_PA_NONE)
			return;
		if (rq->last - rq->first == nest_span_mask(f, level))
			return;
		e = nest_load(&t[nest_index(f, pt, level, rq->first)]);
		if (nest_kind(f, pt, level, e) != NEST_PTE_TABLE)
			return;
		pa = f->table_pa(e);
		level--;
	}
}

NEST_INLINE int nest_operate(const struct nest_fmt *f, struct nest_pt *pt,
			     const struct nest_request *rq, enum nest_op op)
{
	struct nest_job job;
	int err;

	job.pt = pt;
	job.rq = rq;
	job.need = 0;
	job.recoded_level = NEST_MAX_LEVELS;
	job.alike = true;
	if (op == NEST_OP_MAP) {
		for (unsigned l = 0; l <= rq->cap; l++) {
			if (l == 0 && !NEST_SMALL && nest_page_leaf(f, pt, rq->attr, &job.proto[0]))
				continue;
			err = f->leaf(pt->features, l, rq->attr, &job.proto[l]);
			if (err)
				return err;
		}
	}
	nest_descend(f, &job);
	err = nest_plan(f, &job, op);
	if (err)
		return err;
	err = nest_prepare(pt, &job.spare, job.need);
	if (err)
		return err;
	nest_commit(f, &job, op);
	nest_unprepare(pt, &job.spare);
	return NEST_OK;
}

#endif
