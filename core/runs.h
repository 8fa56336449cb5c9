/* SPDX-License-Identifier: MIT */
/*
 * Exclusive mode: entries of a live table that are looked at and changed together. Nobody else
 * changes the table, so plain stores do where hardware writes nothing; flushes are gathered.
 */
#ifndef NEST_CORE_RUNS_H
#define NEST_CORE_RUNS_H

#include "core/bulk.h"
#include "core/rules.h"

/* ---- Pages that are alike ---- */

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

/* ---- The first pass: a run of pages in a table of level 0 ---- */

/* Do all n entries from *t on hold a leaf; do any? */
NEST_INLINE bool nest_all_leaves(const struct nest_fmt *f, const nest_pte_t *t, uint64_t n)
{
	bool leaf = true;

	for (uint64_t k = 0; k < n; k++)
		leaf &= f->is_leaf(0, nest_load(&t[k]));
	return leaf;
}

NEST_INLINE bool nest_any_leaf(const struct nest_fmt *f, const nest_pte_t *t, uint64_t n)
{
	bool leaf = false;

	for (uint64_t k = 0; k < n; k++)
		leaf |= f->is_leaf(0, nest_load(&t[k]));
	return leaf;
}

NEST_INLINE int nest_look_at_pages(struct nest_how h, struct nest_edit *s,
				   const struct nest_at *run)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	const uint32_t flags = rq->flags;
	const uint64_t n = ((run->stop - run->off) >> nest_shift(f, 0)) + 1;
	const nest_pte_t *t = &run->t[run->i];
	struct nest_at at = *run;
	int err;

	if (op == NEST_OP_SPLIT)
		return NEST_OK;
	if (!NEST_SMALL &&
	    (op == NEST_OP_MARK ||
	     (op == NEST_OP_MAP &&
	      !(flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED | NEST_MAP_KEEP_MARKS)))))
		return nest_any_leaf(f, t, n) ? NEST_E_MAPPED : NEST_OK;
	if (!NEST_SMALL && op == NEST_OP_UNMAP && !(flags & (NEST_SKIP_HOLES | NEST_NO_SPLIT)))
		return nest_all_leaves(f, t, n) ? NEST_OK : NEST_E_NOTMAPPED;
	if (op == NEST_OP_MAP && (flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED)) &&
	    !(flags & NEST_NO_SPLIT))
		return NEST_OK;
	for (uint64_t k = 0, step; k < n; k += step) {
		const nest_pte_t e = nest_load(&t[k]);

		step = 1;
		if (op == NEST_OP_FRAMES && e == s->pt->absent[0])
			continue;
		at.i = run->i + k;
		at.e = e;
		at.off = run->off + (k << nest_shift(f, 0));
		at.stop = at.off | nest_span_mask(f, 0);
		err = nest_rule(h, s, &at, nest_kind(f, s->pt, 0, e));
		if (err < 0)
			return err;
		/* What is like it can be recoded like it, unless there is more to ask for each. */
		if (op == NEST_OP_PROTECT && !s->pt->host->allow && !(flags & NEST_NO_SPLIT))
			step += nest_alike(f, s->pt, e, &t[k + 1], n - k - 1);
		if (!NEST_SMALL && op == NEST_OP_PROTECT)
			s->alike &= step == n && !nest_is_member(f, s->pt->features, 0, e) &&
				    nest_is_settled(f, s->pt, e);
	}
	return NEST_OK;
}

/* ---- The second pass: map ---- */

/*
 * Map t[i .. i + n), entries of `level` that hold no table. Old leaves among them are replaced, if
 * the flags say so: the first pass has seen to the rest.
 */
NEST_INLINE void nest_map_run(struct nest_how h, const struct nest_edit *s,
			      const struct nest_at *at, uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	const struct nest_request *rq = s->rq;
	struct nest_pt *pt = s->pt;
	struct nest_leaves l = { .live = true, .proto = s->proto[at->level] };

	if ((rq->flags & NEST_MAP_REPLACE) && nest_replace_leaves(rq, at, n, &l.proto))
		return;
	nest_fill(f, rq, at, l, n);
	nest_sync_entries(pt, &at->t[at->i], n);
	if (nest_fresh_flush(f, pt->features))
		nest_gather_range(rq->gather, at->off,
				  at->off + (n << nest_shift(f, at->level)) - 1,
				  nest_cached_level(f, pt->features, at->level));
}

/*
 * How many of the n entries from at->i on can nest_map_run() take; 0: none, look at the first.
 */
NEST_INLINE uint64_t nest_map_length(struct nest_how h, const struct nest_edit *s,
				     const struct nest_at *at, uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	const bool skip = (s->rq->flags & NEST_MAP_SKIP_MAPPED) != 0;
	uint64_t k = 0;

	if (at->level == 0 && !skip)
		return n;
	for (; k < n; k++) {
		const nest_pte_t e = nest_load(&at->t[at->i + k]);
		const enum nest_pte_kind kind = nest_kind(f, s->pt, at->level, e);

		if (kind == NEST_PTE_TABLE || (skip && kind == NEST_PTE_LEAF))
			break;
	}
	return k;
}

/* Map the n pages of a run, those that are mapped aside if they are to be skipped. */
NEST_INLINE void nest_map_pages(struct nest_how h, const struct nest_edit *s,
				const struct nest_at *run, uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	struct nest_at at = *run;

	for (uint64_t k = 0, step; k < n; k += step) {
		at.i = run->i + k;
		at.off = run->off + (k << nest_shift(f, 0));
		step = nest_map_length(h, s, &at, n - k);
		if (step)
			nest_map_run(h, s, &at, step);
		else
			step = 1;
	}
}

/* The same to a list of frames, by a loop of the format's. */
NEST_INLINE void nest_map_frames(struct nest_how h, const struct nest_edit *s,
				 const struct nest_at *run, uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	const struct nest_request *rq = s->rq;
	const nest_pa_t *frames = nest_frame_of(f, rq, run->off);
	nest_pte_t *t = &run->t[run->i];
	const bool skip = (rq->flags & NEST_MAP_SKIP_MAPPED) != 0;

	for (uint64_t k = 0, free; k < n; k += free + 1) {
		for (free = 0; k + free < n && !(skip && f->is_leaf(0, nest_load(&t[k + free])));)
			free++;
		nest_fill_list(s->pt, &t[k], &frames[k], free, s->proto[0]);
	}
	nest_sync_entries(s->pt, t, n);
	if (nest_fresh_flush(f, s->pt->features) && nest_names_frame(f, rq, run))
		nest_gather_range(rq->gather, run->off, run->stop, 0);
}

/* ---- The second pass: take away, and protect ---- */

/* A group that the range cuts is broken up; the operation may then treat its members apart. */
NEST_INLINE void nest_open_group(struct nest_how h, const struct nest_edit *s, struct nest_at *at)
{
	if (!nest_has_runs(h) || !nest_must_open(h, s, at->level, at->off, at->e))
		return;
	nest_rewrite_group(s->rq->gather, at, 0, 0, false);
	at->e = nest_load(&at->t[at->i]);
}

/*
 * Clear one live entry that holds a leaf, a mark or nothing; with somebody to report to, a whole
 * group that begins there. Returns the entries; *changed: could walkers see it?
 */
NEST_INLINE uint64_t nest_clear(struct nest_how h, const struct nest_edit *s,
				const struct nest_at *at, bool *changed)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	const nest_pte_t to = op == NEST_OP_REVOKE ? rq->word : s->pt->absent[at->level];
	nest_pte_t *t = &at->t[at->i];
	uint64_t n;

	*changed = f->is_leaf(at->level, at->e);
	if (*changed && rq->gather->release) {
		*changed = false; /* its flush is gathered with it */
		n = nest_remove_leaf(rq->gather, at);
		for (uint64_t k = 0; op == NEST_OP_REVOKE && k < n; k++)
			nest_store_relaxed(&t[k], to);
		return n;
	}
	nest_store_relaxed(t, to);
	return 1;
}

/* Recode one live leaf. Tells whether it changed and must be flushed. */
NEST_INLINE bool nest_protect_one(struct nest_how h, struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	struct nest_pt *pt = s->pt;
	const nest_pte_t address = f->pa_mask(pt->features, at->level);
	struct nest_at now = *at;

	for (;;) {
		nest_pte_t to, was;
		bool flushed = false;

		/* It cannot fail: the first pass has seen to it; hardware adds only accessed,
		 * dirty. */
		if (nest_recode_like(h, s, &now))
			return false;
		to = (s->to & ~address) | (now.e & address);
		if (to == now.e)
			return false;
		if (nest_needs_break(f, pt->features, at->level, now.e, to)) {
			was = nest_change(pt, at, to, false, &flushed);
			if (was != now.e)
				nest_carry_ad(pt, &at->t[at->i], at->level, was, now.e);
			return !flushed;
		}
		if (!nest_hw_updates(f, pt->features)) {
			nest_store_relaxed(&at->t[at->i], to);
			return true;
		}
		if (nest_cas(&at->t[at->i], &now.e, to))
			return true;
	}
}

/*
 * Recode, of the n live pages from *t on, those that follow at once and are like the one recoded
 * last in all but their address. Only plain stores: nothing needs a break, and hardware has nothing
 * left to set in them. Returns how many they are.
 */
NEST_INLINE uint64_t nest_protect_alike(struct nest_how h, const struct nest_edit *s, nest_pte_t *t,
					uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	const struct nest_pt *pt = s->pt;
	const nest_pte_t same = ~f->pa_mask(pt->features, 0), from = s->from;
	const bool alike = s->alike;
	nest_pte_t flip;
	uint64_t k;

	if (NEST_SMALL || s->recoded_level != 0)
		return 0;
	flip = (from ^ s->to) & same;
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

/* Unmap the n pages of a run, with nobody to report to. */
NEST_INLINE void nest_clear_pages(struct nest_how h, const struct nest_edit *s,
				  const struct nest_at *run, uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	const nest_pte_t absent = s->pt->absent[0];
	nest_pte_t *t = &run->t[run->i];
	struct nest_at at = *run;
	bool changed = false;

	at.e = nest_load(t);
	nest_open_group(h, s, &at);
	at.i += n - 1;
	at.off = run->stop;
	at.e = nest_load(&t[n - 1]);
	nest_open_group(h, s, &at);
	for (uint64_t k = 0; k < n; k++) {
		changed |= f->is_leaf(0, nest_load(&t[k]));
		nest_store_relaxed(&t[k], absent);
	}
	nest_sync_entries(s->pt, t, n);
	if (changed)
		nest_gather_range(s->rq->gather, run->off, run->stop, 0);
}

/*
 * What the operation does to a leaf that it writes, or to a mark or nothing, unless it maps or
 * marks; a split opens groups. Returns the number of entries; *changed: they must be flushed.
 */
NEST_INLINE uint64_t nest_change_entry(struct nest_how h, struct nest_edit *s, struct nest_at *at,
				       bool *changed)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;

	nest_open_group(h, s, at);
	if (op == NEST_OP_SPLIT)
		return 1;
	if (op != NEST_OP_PROTECT)
		return nest_clear(h, s, at, changed);
	if (nest_is_member(f, s->pt->features, at->level, at->e)) {
		nest_rewrite_group(rq->gather, at, rq->set, rq->clear, true);
		return NEST_BIT(nest_contig_shift(f, s->pt->features, at->level));
	}
	*changed = nest_protect_one(h, s, at);
	return 1;
}

/* Unmap, revoke, unmark, protect or split the n pages of a run. */
NEST_INLINE void nest_change_pages(struct nest_how h, struct nest_edit *s,
				   const struct nest_at *run, uint64_t n)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	nest_pte_t *t = &run->t[run->i];
	uint64_t first = ~(uint64_t)0, last = 0;
	struct nest_at at = *run;

	for (uint64_t k = 0, step; k < n; k += step) {
		bool changed = false, leaf;

		at.i = run->i + k;
		at.off = run->off + (k << nest_shift(f, 0));
		at.stop = at.off | nest_span_mask(f, 0);
		at.e = nest_load(&t[k]);
		leaf = f->is_leaf(0, at.e);
		step = 1;
		if (op == NEST_OP_UNMARK ? !leaf : leaf || nest_op_removes(op))
			step = nest_change_entry(h, s, &at, &changed);
		if (op == NEST_OP_PROTECT && leaf && step == 1)
			step += nest_protect_alike(h, s, &t[k + 1], n - k - 1);
		if (changed) {
			first = first < at.off ? first : at.off;
			last = at.off + (step << nest_shift(f, 0)) - 1;
		}
	}
	if (op != NEST_OP_SPLIT)
		nest_sync_entries(s->pt, t, n);
	if (first <= last)
		nest_gather_range(s->rq->gather, first, last, 0);
}

/* A run of pages in a table of level 0. */
NEST_INLINE void nest_write_pages(struct nest_how h, struct nest_edit *s, const struct nest_at *run)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const uint64_t n = ((run->stop - run->off) >> nest_shift(f, 0)) + 1;
	nest_pte_t *t = &run->t[run->i];

	if (op == NEST_OP_MAP) {
		nest_map_pages(h, s, run, n);
	} else if (op == NEST_OP_FRAMES) {
		nest_map_frames(h, s, run, n);
	} else if (op == NEST_OP_MARK) {
		for (uint64_t k = 0; k < n; k++)
			nest_store_relaxed(&t[k], s->rq->word);
		nest_sync_entries(s->pt, t, n);
	} else if (!NEST_SMALL && op == NEST_OP_UNMAP && !s->rq->gather->release) {
		nest_clear_pages(h, s, run, n);
	} else {
		nest_change_pages(h, s, run, n);
	}
}

/* ---- The second pass: above level 0 ---- */

/* One entry that rules.h lets the operation write; a map goes on as far as it can. */
NEST_INLINE void nest_write_alone(struct nest_how h, struct nest_edit *s, struct nest_at *at,
				  enum nest_pte_kind kind)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	const unsigned shift = nest_shift(f, at->level);
	nest_pte_t *p = &at->t[at->i];
	bool changed = false;
	uint64_t n = 1;

	if (op == NEST_OP_MAP) {
		uint64_t end = nest_table_last(f, s->pt, at->level, at->off);

		end = end < rq->last ? end : rq->last;
		n = nest_map_length(h, s, at, (end - at->off + 1) >> shift);
		nest_map_run(h, s, at, n);
	} else if (op == NEST_OP_MARK || (op == NEST_OP_REVOKE && kind != NEST_PTE_LEAF)) {
		nest_store(p, rq->word);
		nest_sync_entries(s->pt, p, 1);
	} else {
		n = nest_change_entry(h, s, at, &changed);
		nest_sync_entries(s->pt, p, n);
	}
	if (n > 1)
		at->stop = at->off + (n << shift) - 1;
	if (changed)
		nest_gather_range(rq->gather, at->off, at->stop, at->level);
}

/*
 * The table that at->e points to goes, with all that is in it: nothing, a mark or a leaf takes its
 * place. The first pass passes it by.
 */
NEST_INLINE void nest_take_table(struct nest_how h, const struct nest_edit *s,
				 const struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	nest_pte_t to = s->pt->absent[at->level];

	if (s->dry)
		return;
	if (op == NEST_OP_MAP)
		to = nest_keep_table_ad(rq, at->level - 1, at->off,
					s->proto[at->level] |
						f->pa_bits(at->level, at->off + rq->delta),
					f->table_pa(at->e));
	else if (nest_op_marks(op))
		to = rq->word;
	nest_replace_table(rq->gather, at, to, false, op == NEST_OP_MAP ? &rq->delta : NULL);
}

#endif
