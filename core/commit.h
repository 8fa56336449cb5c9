/* SPDX-License-Identifier: MIT */
/*
 * The second pass of an operation: store, and never fail. It goes over the range from left to right
 * with one frame a level.
 *
 * What a reader must not break: a private table is linked only when every entry in it has been
 * written, and a table leaves its place only through the gather, which frees it after the flush.
 */
#ifndef NEST_CORE_COMMIT_H
#define NEST_CORE_COMMIT_H

#include "core/bulk.h"
#include "core/passes.h"

/* ---- Commit: runs of entries of one table ---- */

/* New leaves over whatever t[i .. i + n) hold; contiguous groups where a whole one fits. */
NEST_INLINE void nest_fill(const struct nest_fmt *f, const struct nest_job *job, unsigned level,
			   nest_pte_t *t, uint64_t i, uint64_t n, nest_pa_t pa, nest_pte_t proto,
			   bool live)
{
	unsigned shift = nest_shift(f, level);
	uint64_t head, body = nest_groups(f, job->pt, job->rq, level, i, n, &head), tail;

	t = &t[i];
	if (!body) {
		nest_fill_run(f, level, t, n, pa, proto, 1, live);
		return;
	}
	tail = head + body;
	nest_fill_run(f, level, t, head, pa, proto, 1, live);
	nest_fill_run(f, level, &t[head], body, pa + (head << shift), proto,
		      (uint64_t)1 << nest_contig_shift(f, job->pt->features, level), live);
	nest_fill_run(f, level, &t[tail], n - tail, pa + (tail << shift), proto, 1, live);
}

/* In place of a part of a leaf: where frames stay, they are as accessed and dirty as it is. */
NEST_INLINE nest_pte_t nest_private_proto(const struct nest_fmt *f, const struct nest_job *job,
					  unsigned level, uint64_t i, uint64_t off)
{
	const nest_pte_t e = nest_derive(job->pt, level, job->frame[level].old, i);

	if (f->is_leaf(level, e) && f->leaf_pa(job->pt->features, level, e) == off + job->rq->delta)
		return nest_keep_ad(job->pt, level, job->proto[level], e);
	return job->proto[level];
}

/*
 * Map t[i .. i + n), entries of `level` that hold no table. In a live table the old leaves among
 * them are skipped or replaced, as the flags say (plan() has seen to the rest).
 */
NEST_INLINE void nest_map_run(const struct nest_fmt *f, struct nest_job *job, unsigned level,
			      uint64_t i, uint64_t n, uint64_t off)
{
	const struct nest_request *rq = job->rq;
	struct nest_frame *fr = &job->frame[level];
	struct nest_pt *pt = job->pt;
	nest_pte_t proto = job->proto[level];

	if (fr->is_private) {
		if (rq->flags & NEST_MAP_REPLACE)
			proto = nest_private_proto(f, job, level, i, off);
		nest_fill(f, job, level, fr->t, i, n, off + rq->delta, proto, false);
		return;
	}
	if ((rq->flags & NEST_MAP_REPLACE) &&
	    nest_replace_leaves(rq, fr->t, i, n, level, off, &proto))
		return;
	nest_fill(f, job, level, fr->t, i, n, off + rq->delta, proto, true);
	nest_sync_entries(pt, &fr->t[i], n);
	if (nest_fresh_flush(f, pt->features))
		nest_gather_range(rq->gather, off, off + (n << nest_shift(f, level)) - 1,
				  nest_cached_level(f, pt->features, level));
}

/*
 * How many of the n entries from t[i] on one nest_map_run() can take; 0: none, look at the first.
 */
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

/* What is left where something was removed: nothing, or the mark of a revocation. */
NEST_INLINE nest_pte_t nest_emptied(const struct nest_job *job, unsigned level)
{
	return job->rq->op == NEST_OP_REVOKE ? job->rq->word : job->pt->absent[level];
}

/*
 * Clear one live entry that holds a leaf, a mark or nothing; with somebody to report to, a whole
 * group that begins there. Returns the entries; *changed: could walkers see it?
 */
NEST_INLINE uint64_t nest_clear(const struct nest_fmt *f, const struct nest_job *job,
				unsigned level, nest_pte_t *t, uint64_t i, uint64_t off,
				nest_pte_t e, bool *changed)
{
	uint64_t n;

	*changed = f->is_leaf(level, e);
	if (*changed && job->rq->gather->release) {
		*changed = false; /* its flush is gathered with it */
		n = nest_remove_leaf(job->rq->gather, t, i, level, off);
		for (uint64_t k = 0; job->rq->op == NEST_OP_REVOKE && k < n; k++)
			nest_store_relaxed(&t[i + k], job->rq->word);
		return n;
	}
	nest_store_relaxed(&t[i], nest_emptied(job, level));
	return 1;
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
			/*
			 * Cannot fail: plan() has done the same; hardware adds only accessed,
			 * dirty.
			 */
			if (nest_recode(pt, level, e, job->rq->set, job->rq->clear, &to))
				return false;
			job->from = e;
			job->to = to;
			job->recoded_level = level;
		}
		to = (job->to & ~address) | (e & address);
		if (to == e)
			return false;
		if (nest_needs_break(f, pt->features, level, e, to)) {
			nest_pte_t was = nest_change(pt, t, i, level, off, to, false, &flushed);

			if (was != e)
				nest_carry_ad(pt, &t[i], level, was, e);
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

/*
 * Recode, of the n live pages from t[k] on, those that follow at once and are like the one recoded
 * last in all but their address. Only plain stores: nothing needs a break, and hardware has nothing
 * left to set in them. Returns how many they are.
 */
NEST_INLINE uint64_t nest_protect_alike(const struct nest_fmt *f, const struct nest_job *job,
					nest_pte_t *t, uint64_t n)
{
	const struct nest_pt *pt = job->pt;
	nest_pte_t same = ~f->pa_mask(pt->features, 0), from = job->from, flip;
	const bool alike = job->alike;
	uint64_t k;

	if (NEST_SMALL || job->recoded_level != 0)
		return 0;
	flip = (from ^ job->to) & same;
	if (nest_needs_break(f, pt->features, 0, from, from ^ flip) ||
	    !nest_is_settled(f, pt, from))
		return 0;
	if (!flip)
		return nest_alike(f, pt, from, t, n);
	/* A few at a time, as nest_like() looks at them. */
	for (k = 0; k + 4 <= n; k += 4) {
		const nest_pte_t a = nest_load(&t[k]), b = nest_load(&t[k + 1]);
		const nest_pte_t c = nest_load(&t[k + 2]), d = nest_load(&t[k + 3]);

		if (!alike && (((a ^ from) | (b ^ from) | (c ^ from) | (d ^ from)) & same))
			break;
		nest_store_relaxed(&t[k], a ^ flip);
		nest_store_relaxed(&t[k + 1], b ^ flip);
		nest_store_relaxed(&t[k + 2], c ^ flip);
		nest_store_relaxed(&t[k + 3], d ^ flip);
	}
	for (; k < n && (alike || !((nest_load(&t[k]) ^ from) & same)); k++)
		nest_store_relaxed(&t[k], nest_load(&t[k]) ^ flip);
	return k;
}

/* A group that the range cuts is broken up; the operation may then treat its members apart. */
NEST_INLINE void nest_open(const struct nest_fmt *f, const struct nest_job *job, enum nest_op op,
			   unsigned level, nest_pte_t *t, uint64_t i, uint64_t off)
{
	if (nest_must_open(f, job, op, level, off, nest_load(&t[i])))
		nest_rewrite_group(job->rq->gather, t, i, level, off, 0, 0, false);
}

/* Unmap the n live pages from t[i] on, in a table of level 0, with nobody to report to. */
NEST_INLINE void nest_clear_pages(const struct nest_fmt *f, struct nest_job *job, uint64_t i,
				  uint64_t n, uint64_t off)
{
	const nest_pte_t absent = job->pt->absent[0];
	nest_pte_t *t = job->frame[0].t;
	const uint64_t last = off + (n << nest_shift(f, 0)) - 1;
	bool changed = false;

	nest_open(f, job, NEST_OP_UNMAP, 0, t, i, off);
	nest_open(f, job, NEST_OP_UNMAP, 0, t, i + n - 1, last);
	for (uint64_t k = i; k < i + n; k++) {
		changed |= f->is_leaf(0, nest_load(&t[k]));
		nest_store_relaxed(&t[k], absent);
	}
	nest_sync_entries(job->pt, &t[i], n);
	if (changed)
		nest_gather_range(job->rq->gather, off, last, 0);
}

/* Unmap, revoke, unmark, protect or split the n live pages from t[i] on, in a table of level 0. */
NEST_INLINE void nest_change_pages(const struct nest_fmt *f, struct nest_job *job, enum nest_op op,
				   uint64_t i, uint64_t n, uint64_t off)
{
	const struct nest_request *rq = job->rq;
	struct nest_pt *pt = job->pt;
	nest_pte_t *t = job->frame[0].t;
	unsigned shift = nest_shift(f, 0);
	uint64_t dirty_first = ~(uint64_t)0, dirty_last = 0;

	for (uint64_t k = 0, step; k < n; k += step) {
		uint64_t at = off + (k << shift);
		nest_pte_t e = nest_load(&t[i + k]);
		bool changed = false;

		step = 1;
		if (op == NEST_OP_UNMARK ? f->is_leaf(0, e)
					 : !nest_op_removes(op) && !f->is_leaf(0, e))
			continue;
		nest_open(f, job, op, 0, t, i + k, at);
		e = nest_load(&t[i + k]);
		if (nest_op_removes(op) || op == NEST_OP_UNMARK) {
			step = nest_clear(f, job, 0, t, i + k, at, e, &changed);
		} else if (op == NEST_OP_PROTECT && nest_is_member(f, pt->features, 0, e)) {
			nest_rewrite_group(rq->gather, t, i + k, 0, at, rq->set, rq->clear, true);
			step = (uint64_t)1 << nest_contig_shift(f, pt->features, 0);
		} else if (op == NEST_OP_PROTECT) {
			changed = nest_protect_one(f, job, 0, t, i + k, at, e);
			step += nest_protect_alike(f, job, &t[i + k + 1], n - k - 1);
		}
		if (changed) {
			dirty_first = dirty_first < at ? dirty_first : at;
			dirty_last = at + (step << shift) - 1;
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

	if (op == NEST_OP_UNMAP || (op == NEST_OP_UNMARK && !f->is_leaf(level, e)))
		return job->pt->absent[level];
	if (nest_op_marks(op))
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
	nest_pte_t e = nest_private_entry(f, job, op, level,
					  nest_derive(job->pt, level, fr->old, i));
	nest_pa_t pa = f->leaf_pa(job->pt->features, level, e);
	bool leaf = f->is_leaf(level, e);

	if (leaf) {
		e &= ~f->pa_mask(job->pt->features, level);
		nest_fill_run(f, level, &fr->t[i], n, pa, e, 1, false);
		return;
	}
	nest_fill_same(&fr->t[i], n, e);
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
	} else if (!NEST_SMALL && op == NEST_OP_UNMAP && !job->rq->gather->release) {
		nest_clear_pages(f, job, i, n, off);
	} else {
		nest_change_pages(f, job, op, i, n, off);
	}
}

/* ---- Commit: one entry above level 0 ---- */

/*
 * Go down to a new private table that is to replace entry i, now `old`; [off, stop] will be
 * written.
 */
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

/*
 * Put `to` (an absent entry, a mark or a leaf) in place of the table that live entry i points to.
 */
NEST_INLINE void nest_detach(const struct nest_fmt *f, struct nest_job *job, unsigned level,
			     uint64_t i, uint64_t off, nest_pte_t e, nest_pte_t to)
{
	struct nest_frame *fr = &job->frame[level];
	uint64_t last = off | nest_span_mask(f, level);
	bool flushed = false;

	off &= ~nest_span_mask(f, level);
	(void)nest_change(job->pt, fr->t, i, level, off, to, false, &flushed);
	if (!flushed)
		nest_gather_range(job->rq->gather, off, last, level);
	nest_gather_table(job->rq->gather, f->table_pa(e), level - 1, off,
			  f->is_leaf(level, to) ? &job->rq->delta : NULL);
}

/* Does the operation take a table out as a whole, instead of what is in it? */
NEST_INLINE bool nest_takes_table(const struct nest_request *rq, enum nest_op op, bool covered,
				  bool fits)
{
	const bool replaces = (op == NEST_OP_MAP || nest_op_marks(op)) && fits &&
			      !(rq->flags & NEST_MAP_SKIP_MAPPED);

	return op == NEST_OP_UNMAP ? covered && !(rq->flags & NEST_KEEP_TABLES) : replaces;
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
	bool changed = false;

	if (kind == NEST_PTE_TABLE) {
		if (nest_takes_table(rq, op, covered, fits) && nest_may_detach(pt, level, i)) {
			nest_pte_t to = pt->absent[level];

			if (op == NEST_OP_MAP)
				to = nest_keep_table_ad(rq, level - 1, off,
							job->proto[level] |
								f->pa_bits(level, off + rq->delta),
							f->table_pa(e));
			else if (nest_op_marks(op))
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
		if (op == NEST_OP_MAP || nest_op_marks(op)
			    ? !fits
			    : nest_op_empties(op) && kind == NEST_PTE_MARK && !covered) {
			nest_descend_private(f, job, level, e, off, *stop);
			return true;
		}
	} else if (op == NEST_OP_MAP      ? !(rq->flags & NEST_MAP_SKIP_MAPPED)
		   : op == NEST_OP_SPLIT  ? level > rq->cap
		   : op == NEST_OP_REVOKE ? !fits
					  : op != NEST_OP_UNMARK && !covered) {
		if (!fr->is_private) {
			nest_open(f, job, op, level, fr->t, i, off);
			e = nest_load(&fr->t[i]);
		}
		nest_descend_private(f, job, level, e, off, *stop);
		return true;
	}
	if (fr->is_private) {
		fr->t[i] = nest_private_entry(f, job, op, level, e);
		return false;
	}
	if (op == NEST_OP_MAP || (op == NEST_OP_UNMARK && kind == NEST_PTE_LEAF))
		return false;
	if (op == NEST_OP_MARK) {
		nest_store(&fr->t[i], rq->word);
		nest_sync_entries(pt, &fr->t[i], 1);
		return false;
	}
	nest_open(f, job, op, level, fr->t, i, off);
	e = nest_load(&fr->t[i]);
	if (op == NEST_OP_PROTECT && kind == NEST_PTE_LEAF &&
	    nest_is_member(f, pt->features, level, e)) {
		nest_rewrite_group(rq->gather, fr->t, i, level, off, rq->set, rq->clear, true);
		*stop = off + (((nest_span_mask(f, level) + 1)
				<< nest_contig_shift(f, pt->features, level)) -
			       1);
		return false;
	}
	if (nest_op_removes(op) || op == NEST_OP_UNMARK) {
		uint64_t n = nest_clear(f, job, level, fr->t, i, off, e, &changed);

		if (n > 1)
			*stop = off + (n << nest_shift(f, level)) - 1;
	} else if (op == NEST_OP_PROTECT && kind == NEST_PTE_LEAF) {
		changed = nest_protect_one(f, job, level, fr->t, i, off, e);
	}
	if (changed)
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
	const uint64_t n = nest_entries(f, pt, level);
	const nest_pte_t absent = pt->absent[level];

	if (nest_load(&t[i]) != absent || nest_load(&t[j]) != absent)
		return false;
	if ((i > 0 && nest_load(&t[i - 1]) != absent) ||
	    (j + 1 < n && nest_load(&t[j + 1]) != absent))
		return false;
	return nest_like(&t[j], n - j, absent, ~(nest_pte_t)0) == n - j &&
	       nest_like(t, i, absent, ~(nest_pte_t)0) == i;
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
			nest_link(rq, up->t, i, level + 1, base, fr->pa, fr->old,
				  op != NEST_OP_MAP && !(rq->clear & NEST_MT_MASK));
		}
	} else if (nest_op_empties(op) && !(rq->flags & NEST_KEEP_TABLES) &&
		   nest_may_detach(pt, level + 1, i)) {
		uint64_t to = nest_index(f, pt, level, stop), from = to;

		/* Pages between the marks that unmark has removed are still there. */
		if (op == NEST_OP_UNMAP)
			from = nest_index(f, pt, level, rq->first > base ? rq->first : base);
		if (nest_is_empty(f, pt, level, fr->t, from, to))
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
	unsigned end_level = nest_op_empties(op) ? pt->top : job->level;
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

#endif
