/* SPDX-License-Identifier: MIT */
/*
 * The engine, as a template: every function takes the format's descriptor and is inlined into the
 * one place where that descriptor is a compile-time constant, NEST_FORMAT() in the format's file
 * (and once with a run-time descriptor, for the rare operations, in generic.c).
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

/* Instantiate the engine for the descriptor `desc` and define the public format `name`. */
#if NEST_SMALL
#define NEST_FORMAT(name, desc)                                                                    \
	NEST_SHOW(name, desc)                                                                      \
	const struct nest_format name = { .fmt = NEST_ONE_FORMAT ? NULL : &(desc) }
#else
#define NEST_FORMAT(name, desc)                                                                    \
	NEST_SHOW(name, desc)                                                                      \
	static int name##_map(struct nest_pt *pt, const struct nest_request *rq)                   \
	{                                                                                          \
		return nest_operate(&(desc), pt, rq, NEST_OP_MAP);                                 \
	}                                                                                          \
	static int name##_unmap(struct nest_pt *pt, const struct nest_request *rq)                 \
	{                                                                                          \
		return nest_operate(&(desc), pt, rq, NEST_OP_UNMAP);                               \
	}                                                                                          \
	static int name##_protect(struct nest_pt *pt, const struct nest_request *rq)               \
	{                                                                                          \
		return nest_operate(&(desc), pt, rq, NEST_OP_PROTECT);                             \
	}                                                                                          \
	static unsigned name##_walk(const struct nest_pt *pt, uint64_t off, nest_pte_t **p,        \
				    nest_pte_t *e)                                                 \
	{                                                                                          \
		const struct nest_view v = nest_view(pt);                                          \
                                                                                                   \
		return nest_walk_by(&(desc), pt, &v, off, p, e);                                   \
	}                                                                                          \
	NEST_APART static int name##_query_any(const struct nest_pt *pt, nest_ia_t ia,             \
					       struct nest_mapping *out)                           \
	{                                                                                          \
		return nest_lookup(&(desc), pt, ia, out);                                          \
	}                                                                                          \
	NEST_APART static int name##_describe(const struct nest_pt *pt, uint64_t off,              \
					      const nest_pte_t *p, nest_pte_t e,                   \
					      struct nest_mapping *out)                            \
	{                                                                                          \
		return nest_describe(&(desc), pt, 0, off, p, e, out);                              \
	}                                                                                          \
	static int name##_query(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out)  \
	{                                                                                          \
		nest_pte_t *p, e;                                                                  \
		uint64_t off;                                                                      \
                                                                                                   \
		if (nest_query_page(&(desc), pt, ia, out, &off, &p, &e))                           \
			return NEST_OK;                                                            \
		if (p)                                                                             \
			return name##_describe(pt, off, p, e, out);                                \
		return name##_query_any(pt, ia, out);                                              \
	}                                                                                          \
	NEST_APART static int name##_map_few(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa,       \
					     uint64_t size, nest_attr_t attr, uint32_t flags,      \
					     struct nest_gather *gather)                           \
	{                                                                                          \
		if (nest_map_few(&(desc), pt, ia, pa, size, attr, flags, gather))                  \
			return NEST_OK;                                                            \
		return nest_map_any(pt, ia, pa, size, attr, flags, gather);                        \
	}                                                                                          \
	static int name##_pt_map(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size,    \
				 nest_attr_t attr, uint32_t flags, struct nest_gather *gather)     \
	{                                                                                          \
		if (nest_map_page(&(desc), pt, ia, pa, size, attr, flags, gather))                 \
			return NEST_OK;                                                            \
		return name##_map_few(pt, ia, pa, size, attr, flags, gather);                      \
	}                                                                                          \
	NEST_APART static int name##_unmap_few(struct nest_pt *pt, nest_ia_t ia, uint64_t size,    \
					       uint32_t flags, struct nest_gather *gather)         \
	{                                                                                          \
		if (nest_unmap_few(&(desc), pt, ia, size, flags, gather))                          \
			return NEST_OK;                                                            \
		return nest_unmap_any(pt, ia, size, flags, gather);                                \
	}                                                                                          \
	static int name##_pt_unmap(struct nest_pt *pt, nest_ia_t ia, uint64_t size,                \
				   uint32_t flags, struct nest_gather *gather)                     \
	{                                                                                          \
		if (nest_unmap_page(&(desc), pt, ia, size, flags, gather))                         \
			return NEST_OK;                                                            \
		return name##_unmap_few(pt, ia, size, flags, gather);                              \
	}                                                                                          \
	static void name##_drop(struct nest_pt *pt, struct nest_gather *g,                         \
				const struct nest_gather_item *item, nest_pa_t table,              \
				unsigned level, uint64_t off)                                      \
	{                                                                                          \
		nest_drop(&(desc), pt, g, item, table, level, off);                                \
	}                                                                                          \
	const struct nest_format name = { .fmt = &(desc),                                          \
					  .map = name##_map,                                       \
					  .unmap = name##_unmap,                                   \
					  .protect = name##_protect,                               \
					  .walk = name##_walk,                                     \
					  .query = name##_query,                                   \
					  .pt_map = name##_pt_map,                                 \
					  .pt_unmap = name##_pt_unmap,                             \
					  .drop = name##_drop }
#endif

#endif
