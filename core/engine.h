/* SPDX-License-Identifier: MIT */
/*
 * The engine, as a template: every function takes the format's descriptor and is inlined into the
 * one place where that descriptor is a compile-time constant, NEST_FORMAT() in the format's file
 * (and once with a run-time descriptor, for the rare operations, in rare.c).
 *
 * An operation has two passes. plan() reads: it finds every reason to refuse and counts the tables
 * that will be needed. Those are allocated; then commit() stores, and cannot fail. Both go over the
 * range from left to right with one frame a level, starting at the lowest table that holds the whole
 * range, to which there is one descent.
 *
 * A frame is live (walkers may see the table: single-copy atomic stores, each leaving a legal state)
 * or private (a new table, off-line: it stands for the entry `old` of the level above until it is
 * complete and replaces that entry by one store). What a reader must not break: a private table
 * is linked only when every entry in it has been written, and a table leaves its place only through
 * the gather, which frees it after the flush.
 */
#ifndef NEST_CORE_ENGINE_H
#define NEST_CORE_ENGINE_H

#include "core/internal.h"

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
	uint64_t need;	/* tables */
	struct nest_reserve spare;
	struct nest_frame frame[NEST_MAX_LEVELS];
	nest_pte_t proto[NEST_MAX_LEVELS];    /* map: leaf for address 0, by level */
	nest_pte_t from, to;		      /* protect: the last recoding, without address */
	unsigned recoded_level;
};

/* ---- Small questions ---- */

/* May the table at root index i be unlinked? Not when another nest_pt is linked to it. */
NEST_INLINE bool nest_may_detach(const struct nest_pt *pt, unsigned level, uint64_t i)
{
	return level != pt->top || pt->pinned == NEST_PA_NONE || !nest_is_pinned(pt, i);
}

/* Is the contiguous group around `off` inside the range? */
NEST_INLINE bool nest_group_inside(const struct nest_fmt *f, const struct nest_request *rq,
				   uint32_t features, unsigned level, uint64_t off)
{
	uint64_t mask = (nest_span_mask(f, level) + 1) << f->contig_shift(features, level);

	mask -= 1;
	return (off & ~mask) >= rq->first && (off | mask) <= rq->last;
}

/* Contiguous, and the operation is going to treat its group's entries differently from each other. */
NEST_INLINE bool nest_must_open(const struct nest_fmt *f, const struct nest_job *job, enum nest_op op,
				unsigned level, uint64_t off, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;

	if (!f->contig_shift(job->pt->features, level) || !f->is_contig(level, e))
		return false;
	if (op == NEST_OP_SPLIT || (op == NEST_OP_MAP && level > rq->cap))
		return true;
	return !nest_group_inside(f, rq, job->pt->features, level, off);
}

/* ---- Plan ---- */

/* One leaf that the operation meets: may it, and what does it cost? */
NEST_INLINE int nest_plan_leaf(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
			       unsigned level, uint64_t off, uint64_t last, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;
	const struct nest_pt *pt = job->pt;
	uint64_t mask = nest_span_mask(f, level);
	bool covered = (off & mask) == 0 && (last & mask) == mask;
	unsigned cap = rq->cap;

	if (op == NEST_OP_MARK)
		return NEST_E_MAPPED;
	if (op == NEST_OP_MAP) {
		if (rq->flags & NEST_MAP_SKIP_MAPPED)
			return NEST_OK;
		if (!(rq->flags & NEST_MAP_REPLACE))
			return NEST_E_MAPPED;
	}
	if ((rq->flags & NEST_NO_SPLIT) &&
	    (!covered || (f->contig_shift(pt->features, level) && f->is_contig(level, e) &&
			  !nest_group_inside(f, rq, pt->features, level, off))))
		return NEST_E_HUGE;
	if (op == NEST_OP_PROTECT) {
		nest_pte_t to;
		uint64_t size = last - off + 1;

		if (job->recoded_level != level || ((e ^ job->from) & ~f->pa_mask(pt->features, level))) {
			int err = nest_recode(pt, level, e, rq->set, rq->clear, &to);

			if (err)
				return err;
			job->from = e;
			job->to = to;
			job->recoded_level = level;
		}
		if (rq->set && pt->host->allow &&
		    !pt->host->allow(pt->ctx, f->leaf_pa(pt->features, level, e) + (off & mask),
				     size,
				     nest_new_attr(nest_leaf_attr(pt, level, e), rq->set, rq->clear)))
			return NEST_E_DENIED;
	}
	job->need += nest_tables_below(f, level, off, last, cap);
	return NEST_OK;
}

/* Entries i .. i + n - 1 of a level 0 table, all inside the range. */
NEST_INLINE int nest_plan_pages(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
				const nest_pte_t *t, uint64_t i, uint64_t n, uint64_t off)
{
	const struct nest_request *rq = job->rq;

	if (op == NEST_OP_SPLIT)
		return NEST_OK;
	if (op == NEST_OP_MARK ||
	    (op == NEST_OP_MAP && !(rq->flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED)))) {
		bool leaf = false;

		for (uint64_t k = 0; k < n; k++)
			leaf |= f->is_leaf(0, nest_load(&t[i + k]));
		return leaf ? NEST_E_MAPPED : NEST_OK;
	}
	if (op == NEST_OP_UNMAP && !(rq->flags & (NEST_UNMAP_SPARSE | NEST_NO_SPLIT))) {
		bool leaf = true;

		for (uint64_t k = 0; k < n; k++)
			leaf &= f->is_leaf(0, nest_load(&t[i + k]));
		return leaf ? NEST_OK : NEST_E_NOTMAPPED;
	}
	if (op == NEST_OP_MAP && !(rq->flags & NEST_NO_SPLIT))
		return NEST_OK;
	for (uint64_t k = 0; k < n; k++, off += nest_span_mask(f, 0) + 1) {
		nest_pte_t e = nest_load(&t[i + k]);
		int err = NEST_OK;

		if (f->is_leaf(0, e))
			err = nest_plan_leaf(f, job, op, 0, off, off | nest_span_mask(f, 0), e);
		else if (op != NEST_OP_MAP && !(rq->flags & NEST_UNMAP_SPARSE))
			err = NEST_E_NOTMAPPED;
		if (err)
			return err;
	}
	return NEST_OK;
}

/* What plan() has to do with a table below an entry that the range covers. */
NEST_INLINE bool nest_plan_skips(const struct nest_job *job, enum nest_op op, unsigned level)
{
	const struct nest_request *rq = job->rq;

	if (op == NEST_OP_UNMAP)
		return (rq->flags & NEST_UNMAP_SPARSE) != 0;
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
				if (level == pt->top && pt->pinned != NEST_PA_NONE &&
				    nest_is_borrowed(pt, i))
					return NEST_E_DENIED;
				if (stop - off == nest_span_mask(f, level) &&
				    nest_plan_skips(job, op, level) && nest_may_detach(pt, level, i))
					break;
				table[--level] = nest_va(pt, f->table_pa(e));
				stop = off - 1;
				continue;
			case NEST_PTE_LEAF:
				err = nest_plan_leaf(f, job, op, level, off, stop, e);
				break;
			default:
				if (op == NEST_OP_MAP || op == NEST_OP_MARK ||
				    (op == NEST_OP_UNMAP && kind == NEST_PTE_MARK))
					job->need += nest_tables_below(f, level, off, stop, rq->cap);
				if ((op == NEST_OP_UNMAP || op == NEST_OP_PROTECT) &&
				    !(rq->flags & NEST_UNMAP_SPARSE))
					return NEST_E_NOTMAPPED;
			}
		}
		if (err || stop == rq->last)
			return err;
		while (level < job->level && stop == nest_table_last(f, pt, level, off))
			level++;
	}
}

/* ---- Commit: runs of entries of one table ---- */

/* New leaves over whatever t[i .. i + n) hold; contiguous groups where a whole one fits. */
NEST_INLINE void nest_fill(const struct nest_fmt *f, const struct nest_job *job, unsigned level,
			   nest_pte_t *t, uint64_t i, uint64_t n, nest_pa_t pa, bool live)
{
	nest_pte_t proto = job->proto[level];
	uint64_t head, body = nest_groups(f, job->pt, job->rq, level, i, n, &head);

	for (uint64_t k = 0; k < n; k++) {
		nest_pte_t e = proto | f->pa_bits(level, pa + (k << nest_shift(f, level)));

		if (k - head < body)
			e = f->contig(level, e);
		if (live)
			nest_store_relaxed(&t[i + k], e);
		else
			t[i + k] = e;
	}
}

/*
 * Map t[i .. i + n), entries of `level` that hold no table. In a live table the old leaves among them
 * are skipped or replaced, as the flags say (plan() has seen to the rest).
 */
NEST_INLINE void nest_map_run(const struct nest_fmt *f, struct nest_job *job, unsigned level,
			      uint64_t i, uint64_t n, uint64_t off)
{
	const struct nest_request *rq = job->rq;
	struct nest_frame *fr = &job->frame[level];
	struct nest_pt *pt = job->pt;

	if (fr->is_private) {
		nest_fill(f, job, level, fr->t, i, n, off + rq->delta, false);
		return;
	}
	if ((rq->flags & NEST_MAP_REPLACE) &&
	    nest_replace_leaves(rq, fr->t, i, n, level, off, job->proto[level]))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	nest_fill(f, job, level, fr->t, i, n, off + rq->delta, true);
	nest_sync_entries(pt, &fr->t[i], n);
	if (f->fresh_flush(pt->features))
		nest_gather_range(rq->gather, off, off + (n << nest_shift(f, level)) - 1, level);
}

/* How many of the n entries from t[i] on one nest_map_run() can take; 0: none, look at the first. */
NEST_INLINE uint64_t nest_map_length(const struct nest_fmt *f, const struct nest_job *job,
				     unsigned level, uint64_t i, uint64_t n)
{
	const struct nest_frame *fr = &job->frame[level];
	bool skip = (job->rq->flags & NEST_MAP_SKIP_MAPPED) != 0;
	uint64_t k = 0;

	if (fr->is_private || (level == 0 && !skip))
		return n;
	for (; k < n; k++) {
		enum nest_pte_kind kind = nest_kind(f, job->pt, level, nest_load(&fr->t[i + k]));

		if (kind == NEST_PTE_TABLE || (skip && kind == NEST_PTE_LEAF))
			break;
	}
	return k;
}

/* Clear one live entry that holds a leaf, a mark or nothing. Tells whether walkers could see it. */
NEST_INLINE bool nest_clear_one(const struct nest_fmt *f, struct nest_job *job, unsigned level,
				nest_pte_t *p, uint64_t off, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	bool leaf = f->is_leaf(level, e);

	if (leaf && rq->gather->release && nest_hw_updates(f, pt->features))
		e = nest_exchange(p, pt->absent[level]);
	else
		nest_store_relaxed(p, pt->absent[level]);
	if (leaf && rq->gather->release)
		nest_gather_leaf(rq->gather, level, off, e);
	return leaf;
}

/* Recode one live leaf. Tells whether it changed and must be flushed. */
NEST_INLINE bool nest_protect_one(const struct nest_fmt *f, struct nest_job *job, unsigned level,
				  nest_pte_t *t, uint64_t i, uint64_t off, nest_pte_t e)
{
	struct nest_pt *pt = job->pt;
	nest_pte_t address = f->pa_mask(pt->features, level);

	for (;;) {
		nest_pte_t to;
		bool flushed = false;

		if (job->recoded_level != level || ((e ^ job->from) & ~address)) {
			/* Cannot fail: plan() has done the same; hardware adds only accessed, dirty. */
			if (nest_recode(pt, level, e, job->rq->set, job->rq->clear, &to))
				return false;
			job->from = e;
			job->to = to;
			job->recoded_level = level;
		}
		to = (job->to & ~address) | (e & address);
		if (to == e)
			return false;
		if (f->needs_break(pt->features, level, e, to)) {
			nest_change(pt, t, i, level, off, to, &flushed);
			return !flushed;
		}
		if (!nest_hw_updates(f, pt->features)) {
			nest_store_relaxed(&t[i], to);
			return true;
		}
		if (nest_cas(&t[i], &e, to))
			return true;
	}
}

/* Unmap, protect or split the n live pages from t[i] on, in a table of level 0. */
NEST_INLINE void nest_change_pages(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
				   uint64_t i, uint64_t n, uint64_t off)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	nest_pte_t *t = job->frame[0].t;
	unsigned shift = nest_shift(f, 0);
	uint64_t dirty_first = ~(uint64_t)0, dirty_last = 0;

	for (uint64_t k = 0; k < n; k++) {
		uint64_t at = off + (k << shift);
		nest_pte_t e = nest_load(&t[i + k]);
		bool changed = false;

		if (op != NEST_OP_UNMAP && !f->is_leaf(0, e))
			continue;
		if (nest_must_open(f, job, op, 0, at, e)) {
			nest_rewrite_group(rq->gather, t, i + k, 0, at, 0, 0, false);
			e = nest_load(&t[i + k]);
		}
		if (op == NEST_OP_UNMAP) {
			changed = nest_clear_one(f, job, 0, &t[i + k], at, e);
		} else if (op == NEST_OP_PROTECT && f->contig_shift(pt->features, 0) &&
			   f->is_contig(0, e)) {
			nest_rewrite_group(rq->gather, t, i + k, 0, at, rq->set, rq->clear, true);
			k += ((uint64_t)1 << f->contig_shift(pt->features, 0)) - 1;
		} else if (op == NEST_OP_PROTECT) {
			changed = nest_protect_one(f, job, 0, t, i + k, at, e);
		}
		if (changed) {
			dirty_first = dirty_first < at ? dirty_first : at;
			dirty_last = at | nest_span_mask(f, 0);
		}
	}
	if (op != NEST_OP_SPLIT)
		nest_sync_entries(pt, &t[i], n);
	if (dirty_first <= dirty_last)
		nest_gather_range(rq->gather, dirty_first, dirty_last, 0);
}

/* What the operation makes of a whole entry of a private table: the derived one, changed. */
NEST_INLINE nest_pte_t nest_private_entry(const struct nest_fmt *f, const struct nest_job *job,
					  enum nest_op op, unsigned level, nest_pte_t e)
{
	const struct nest_request *rq = job->rq;
	nest_pte_t to;

	if (op == NEST_OP_UNMAP)
		return job->pt->absent[level];
	if (op == NEST_OP_MARK)
		return rq->word;
	if (op == NEST_OP_PROTECT && f->is_leaf(level, e) &&
	    !nest_recode(job->pt, level, e, rq->set, rq->clear, &to))
		return to;
	return e;
}

NEST_INLINE void nest_private_run(const struct nest_fmt *f, const struct nest_job *job,
				  enum nest_op op, unsigned level, uint64_t i, uint64_t n)
{
	const struct nest_frame *fr = &job->frame[level];
	nest_pte_t e = nest_private_entry(f, job, op, level, nest_derive(job->pt, level, fr->old, i));
	nest_pa_t pa = f->leaf_pa(job->pt->features, level, e);
	bool leaf = f->is_leaf(level, e);

	e = leaf ? e & ~f->pa_mask(job->pt->features, level) : e;
	for (uint64_t k = 0; k < n; k++)
		fr->t[i + k] = leaf ? e | f->pa_bits(level, pa + (k << nest_shift(f, level))) : e;
}

/* A run of pages in the level 0 table of the current frame, all inside the range. */
NEST_INLINE void nest_commit_pages(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
				   uint64_t i, uint64_t n, uint64_t off)
{
	struct nest_frame *fr = &job->frame[0];

	if (op == NEST_OP_MAP) {
		for (uint64_t k = 0; k < n;) {
			uint64_t run = nest_map_length(f, job, 0, i + k, n - k);

			if (run)
				nest_map_run(f, job, 0, i + k, run, off + (k << nest_shift(f, 0)));
			k += run ? run : 1;
		}
	} else if (fr->is_private) {
		nest_private_run(f, job, op, 0, i, n);
	} else if (op == NEST_OP_MARK) {
		for (uint64_t k = 0; k < n; k++)
			nest_store_relaxed(&fr->t[i + k], job->rq->word);
		nest_sync_entries(job->pt, &fr->t[i], n);
	} else {
		nest_change_pages(f, job, op, i, n, off);
	}
}

/* ---- Commit: one entry above level 0 ---- */

/* Go down to a new private table that is to replace entry i, now `old`; [off, stop] will be written. */
NEST_INLINE void nest_descend_private(const struct nest_fmt *f, struct nest_job *job,
				      unsigned level, nest_pte_t old, uint64_t off, uint64_t stop)
{
	struct nest_pt *pt = job->pt;
	struct nest_frame *fr = &job->frame[level - 1];
	uint64_t entries = (uint64_t)1 << f->index_bits;
	uint64_t i = nest_index(f, pt, level - 1, off), j = nest_index(f, pt, level - 1, stop);

	fr->pa = nest_take(pt, &job->spare);
	fr->t = nest_va(pt, fr->pa);
	fr->old = old;
	fr->is_private = true;
	/* What the range leaves alone in it stands for the same as before. */
	if (i > 0)
		nest_private_run(f, job, NEST_OP_SPLIT, level - 1, 0, i);
	if (j + 1 < entries)
		nest_private_run(f, job, NEST_OP_SPLIT, level - 1, j + 1, entries - j - 1);
}

/* Put `to` (an absent entry, a mark or a leaf) in place of the table that live entry i points to. */
NEST_INLINE void nest_detach(const struct nest_fmt *f, struct nest_job *job, unsigned level,
			     uint64_t i, uint64_t off, nest_pte_t e, nest_pte_t to)
{
	struct nest_frame *fr = &job->frame[level];
	uint64_t last = off | nest_span_mask(f, level);
	bool flushed = false;

	off &= ~nest_span_mask(f, level);
	nest_change(job->pt, fr->t, i, level, off, to, &flushed);
	if (!flushed)
		nest_gather_range(job->rq->gather, off, last, level);
	nest_gather_table(job->rq->gather, f->table_pa(e), level - 1, off,
			  f->is_leaf(level, to) ? &job->rq->delta : NULL);
}

/*
 * Do what the operation does to entry i of a table above level 0, of which the range covers
 * [off, stop]. True: go down a level first, into the frame that has been set up.
 */
NEST_INLINE bool nest_step(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
			   unsigned level, uint64_t i, uint64_t off, uint64_t *stop)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	struct nest_frame *fr = &job->frame[level];
	bool covered = *stop - off == nest_span_mask(f, level);
	bool fits = covered && level <= rq->cap;
	nest_pte_t e = fr->is_private ? nest_derive(pt, level, fr->old, i) : nest_load(&fr->t[i]);
	enum nest_pte_kind kind = nest_kind(f, pt, level, e);

	if (kind == NEST_PTE_TABLE) {
		bool whole = op == NEST_OP_UNMAP ? covered
						 : (op == NEST_OP_MAP || op == NEST_OP_MARK) && fits;

		if (whole && !(rq->flags & NEST_MAP_SKIP_MAPPED) && nest_may_detach(pt, level, i)) {
			nest_pte_t to = pt->absent[level];

			if (op == NEST_OP_MAP)
				to = job->proto[level] | f->pa_bits(level, off + rq->delta);
			else if (op == NEST_OP_MARK)
				to = rq->word;
			nest_detach(f, job, level, i, off, e, to);
			return false;
		}
		job->frame[level - 1] = (struct nest_frame){ .t = nest_va(pt, f->table_pa(e)),
							     .pa = f->table_pa(e) };
		return true;
	}
	if (op == NEST_OP_MAP && fits) {
		uint64_t end = nest_table_last(f, pt, level, off);
		uint64_t n = ((end < rq->last ? end : rq->last) - off + 1) >> nest_shift(f, level);

		n = nest_map_length(f, job, level, i, n);
		if (n) {
			nest_map_run(f, job, level, i, n, off);
			*stop = off + (n << nest_shift(f, level)) - 1;
		}
		return false;
	}
	if (kind != NEST_PTE_LEAF) {
		/* A mark may be larger than what is taken out of it. */
		if (op == NEST_OP_MAP || op == NEST_OP_MARK
			    ? !fits
			    : op == NEST_OP_UNMAP && kind == NEST_PTE_MARK && !covered) {
			nest_descend_private(f, job, level, e, off, *stop);
			return true;
		}
	} else if (op == NEST_OP_MAP ? !(rq->flags & NEST_MAP_SKIP_MAPPED)
				     : (op == NEST_OP_SPLIT ? level > rq->cap : !covered)) {
		if (!fr->is_private && nest_must_open(f, job, op, level, off, e)) {
			nest_rewrite_group(rq->gather, fr->t, i, level, off, 0, 0, false);
			e = nest_load(&fr->t[i]);
		}
		nest_descend_private(f, job, level, e, off, *stop);
		return true;
	}
	if (fr->is_private) {
		fr->t[i] = nest_private_entry(f, job, op, level, e);
		return false;
	}
	if (op == NEST_OP_MAP)
		return false;
	if (op == NEST_OP_MARK) {
		nest_store(&fr->t[i], rq->word);
		nest_sync_entries(pt, &fr->t[i], 1);
		return false;
	}
	if (kind == NEST_PTE_LEAF && nest_must_open(f, job, op, level, off, e)) {
		nest_rewrite_group(rq->gather, fr->t, i, level, off, 0, 0, false);
		e = nest_load(&fr->t[i]);
	}
	if (op == NEST_OP_PROTECT && kind == NEST_PTE_LEAF &&
	    f->contig_shift(pt->features, level) && f->is_contig(level, e)) {
		nest_rewrite_group(rq->gather, fr->t, i, level, off, rq->set, rq->clear, true);
		*stop = off + (((nest_span_mask(f, level) + 1)
				<< f->contig_shift(pt->features, level)) - 1);
		return false;
	}
	if ((op == NEST_OP_UNMAP && nest_clear_one(f, job, level, &fr->t[i], off, e)) ||
	    (op == NEST_OP_PROTECT && kind == NEST_PTE_LEAF &&
	     nest_protect_one(f, job, level, fr->t, i, off, e)))
		nest_gather_range(rq->gather, off, *stop, level);
	nest_sync_entries(pt, &fr->t[i], 1);
	return false;
}

/*
 * Has t no entry left but absent ones? Those between i and j have just been cleared, i and j
 * themselves perhaps not; the nearest neighbours are the likeliest to be there.
 */
NEST_INLINE bool nest_is_empty(const struct nest_fmt *f, const struct nest_pt *pt, unsigned level,
			       const nest_pte_t *t, uint64_t i, uint64_t j)
{
	uint64_t n = nest_entries(f, pt, level);
	nest_pte_t absent = pt->absent[level];

	if (nest_load(&t[i]) != absent || nest_load(&t[j]) != absent)
		return false;
	while (i > 0 || j + 1 < n) {
		if (j + 1 < n && nest_load(&t[++j]) != absent)
			return false;
		if (i > 0 && nest_load(&t[--i]) != absent)
			return false;
	}
	return true;
}

/*
 * The table of `level` that holds `stop` is done: link it if it is private, unlink it if it has
 * become empty.
 */
NEST_INLINE void nest_ascend(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
			     unsigned level, uint64_t stop)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	struct nest_frame *fr = &job->frame[level], *up = &job->frame[level + 1];
	uint64_t base = stop & ~nest_span_mask(f, level + 1);
	uint64_t i = nest_index(f, pt, level + 1, stop);

	if (fr->is_private) {
		if (up->is_private) {
			nest_sync_entries(pt, fr->t, (uint64_t)1 << f->index_bits);
			up->t[i] = f->table(pt->features, fr->pa);
		} else {
			nest_link(rq, up->t, i, level + 1, base, fr->pa, fr->old);
		}
	} else if (op == NEST_OP_UNMAP && nest_may_detach(pt, level + 1, i)) {
		uint64_t from = nest_index(f, pt, level, rq->first > base ? rq->first : base);

		if (nest_is_empty(f, pt, level, fr->t, from, nest_index(f, pt, level, stop)))
			nest_detach(f, job, level + 1, i, stop, nest_load(&up->t[i]),
				    pt->absent[level + 1]);
	}
}

NEST_INLINE void nest_commit(const struct nest_fmt *f, struct nest_job *job, enum nest_op op)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	unsigned level = job->level;
	/* Emptied tables may lie on the way down to the first frame, too. */
	unsigned end_level = op == NEST_OP_UNMAP ? pt->top : job->level;
	uint64_t off = rq->first, stop;

	for (;; off = stop + 1) {
		uint64_t i = nest_index(f, pt, level, off);

		if (level == 0) {
			stop = nest_table_last(f, pt, 0, off);
			stop = stop < rq->last ? stop : rq->last;
			nest_commit_pages(f, job, op, i, ((stop - off) >> nest_shift(f, 0)) + 1,
					  off);
		} else {
			stop = off | nest_span_mask(f, level);
			stop = stop < rq->last ? stop : rq->last;
			if (nest_step(f, job, op, level, i, off, &stop)) {
				level--;
				stop = off - 1;
				continue;
			}
		}
		while (level < end_level &&
		       (stop == rq->last || stop == nest_table_last(f, pt, level, off)))
			nest_ascend(f, job, op, level++, stop);
		if (stop == rq->last)
			return;
	}
}

/* ---- The operation ---- */

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
	if (op == NEST_OP_MAP) {
		for (unsigned l = 0; l <= rq->cap; l++) {
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

/* ---- Query ---- */

/* Describe entry `e` of `level` as seen from `off`, which lies in it. */
NEST_INLINE void nest_describe(const struct nest_fmt *f, const struct nest_pt *pt, unsigned level,
			       uint64_t off, nest_pte_t e, struct nest_mapping *out)
{
	uint64_t mask = nest_span_mask(f, level);

	*out = (struct nest_mapping){ .ia = nest_off_to_ia(pt, off), .level = level };
	out->kind = nest_kind(f, pt, level, e);
	if (out->kind == NEST_PTE_LEAF) {
		out->contiguous = f->contig_shift(pt->features, level) && f->is_contig(level, e);
		if (out->contiguous)
			mask = ((mask + 1) << f->contig_shift(pt->features, level)) - 1;
		out->pa = (f->leaf_pa(pt->features, level, e) & ~mask) | (off & mask);
		if (f->attr(pt->features, level, e, &out->attr) != NEST_OK)
			out->attr = 0;
	} else if (out->kind == NEST_PTE_MARK) {
		out->mark = nest_soft_value(e);
	}
	out->size = mask + 1;
}

NEST_INLINE int nest_lookup(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
			    struct nest_mapping *out)
{
	unsigned level = pt->top;
	nest_pa_t pa = pt->root;
	nest_pte_t e;

	for (;; level--) {
		const nest_pte_t *t = nest_va(pt, pa);

		e = nest_load(&t[nest_index(f, pt, level, off)]);
		if (level == 0 || nest_kind(f, pt, level, e) != NEST_PTE_TABLE)
			break;
		pa = f->table_pa(e);
	}
	nest_describe(f, pt, level, off, e, out);
	return out->kind == NEST_PTE_LEAF ? NEST_OK : NEST_E_NOTMAPPED;
}

/* Instantiate the engine for the descriptor `desc` and define the public format `name`. */
#define NEST_FORMAT(name, desc)                                                                   \
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
	static int name##_query(const struct nest_pt *pt, uint64_t off, struct nest_mapping *out)  \
	{                                                                                          \
		return nest_lookup(&(desc), pt, off, out);                                         \
	}                                                                                          \
	const struct nest_format name = { .fmt = &(desc),                                          \
					  .map = name##_map,                                       \
					  .unmap = name##_unmap,                                   \
					  .protect = name##_protect,                               \
					  .query = name##_query }

#endif
