/* SPDX-License-Identifier: MIT */
/*
 * A table in place of one entry, complete before any walker can see it: what the entry stood for,
 * and what the operation makes of the part in its range. Where size comes first only what it stood
 * for: the operation then goes on in it, entry by entry.
 */
#include "core/runs.h"

static const struct nest_fmt *fmt(const struct nest_edit *s)
{
	return nest_fmt_of(s->pt);
}

static bool is_alone(const struct nest_edit *s)
{
	return !nest_is_shared(s->pt);
}

/* ---- Off-line ---- */

/* The i-th entry of a table of `level` whose first one is `e`, and that stands for one entry. */
static nest_pte_t nth(const struct nest_edit *s, unsigned level, nest_pte_t e, uint64_t i)
{
	const struct nest_fmt *f = fmt(s);
	nest_pa_t pa;

	if (!f->is_leaf(level, e))
		return e;
	pa = f->leaf_pa(s->pt->features, level, e) + (i << nest_shift(f, level));
	return (e & ~f->pa_mask(s->pt->features, level)) | f->pa_bits(level, pa);
}

/* n entries like `e`; leaves lead to the frames that follow. */
static void put_run(const struct nest_edit *s, const struct nest_at *at, nest_pte_t e, uint64_t n)
{
	const struct nest_fmt *f = fmt(s);
	const uint32_t features = s->pt->features;
	struct nest_leaves l = { .level = at->level };

	if (!f->is_leaf(at->level, e)) {
		nest_fill_same(&at->t[at->i], n, e);
		return;
	}
	l.pa = f->leaf_pa(features, at->level, e);
	l.proto = e & ~f->pa_mask(features, at->level);
	nest_fill_run(f, l, &at->t[at->i], n);
}

/* The leaves that a map puts there: of a frame that stays, what is accessed and dirty is kept. */
static void map_run(const struct nest_edit *s, const struct nest_at *at, uint64_t n)
{
	struct nest_leaves l = { .proto = s->proto[at->level] };

	if (fmt(s)->is_leaf(at->level, at->e) &&
	    nest_entry_pa(s->pt, at->level, at->off, at->e) == at->off + s->rq->delta)
		l.proto = nest_keep_ad(s->pt, at->level, l.proto, at->e);
	nest_fill(fmt(s), s->rq, at, l, n);
}

/* n whole entries that the operation writes: at->e is what the first one would be without it. */
static void write_run(const struct nest_edit *s, const struct nest_at *at, uint64_t n)
{
	const struct nest_request *rq = s->rq;
	const bool leaf = fmt(s)->is_leaf(at->level, at->e);
	nest_pte_t to = at->e;

	if (rq->op == NEST_OP_MAP) {
		map_run(s, at, n);
		return;
	}
	if (rq->op == NEST_OP_FRAMES) {
		put_run(s, at, to, n);
		nest_fill_list(s->pt, &at->t[at->i], nest_frame_of(fmt(s), rq, at->off), n,
			       s->proto[0]);
		return;
	}
	if (nest_op_marks(rq->op))
		to = rq->word;
	else if (rq->op == NEST_OP_UNMAP || (rq->op == NEST_OP_UNMARK && !leaf))
		to = s->pt->absent[at->level];
	else if (rq->op == NEST_OP_PROTECT && leaf)
		(void)nest_recode(s->pt, at->level, at->e, rq->set, rq->clear, &to);
	put_run(s, at, to, n);
}

static nest_pa_t build(struct nest_edit *s, unsigned level, nest_pte_t old, uint64_t off,
		       uint64_t stop);

/*
 * The entries of the new table that [at->off, stop] touches, from at->i on: whole ones are written,
 * and for what is left there are tables below. `base`: what its first entry is without that.
 */
/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static void build_range(struct nest_edit *s, struct nest_at *at, nest_pte_t base, uint64_t stop)
{
	const struct nest_fmt *f = fmt(s);
	const uint64_t mask = nest_span_mask(f, at->level);
	uint64_t n;

	for (;; at->i += n, at->off = at->stop + 1) {
		at->e = nth(s, at->level, base, at->i);
		at->stop = (at->off | mask) < stop ? at->off | mask : stop;
		n = 1;
		if (s->rq->op == NEST_OP_SPLIT && at->level <= s->rq->cap) {
			/* What it cuts there stays whole. */
			at->stop = stop;
			put_run(s, at, at->e, nest_index(f, s->pt, at->level, stop) - at->i + 1);
		} else if (at->level <= s->rq->cap && at->stop - at->off == mask) {
			n = (stop - at->off + 1) >> nest_shift(f, at->level);
			at->stop = at->off + (n << nest_shift(f, at->level)) - 1;
			write_run(s, at, n);
		} else if (s->rq->op == NEST_OP_FRAMES && !nest_names_frame(f, s->rq, at)) {
			at->t[at->i] = at->e;
		} else {
			nest_pa_t table = build(s, at->level - 1, at->e, at->off, at->stop);

			at->t[at->i] = f->table(s->pt->features, table);
		}
		if (at->stop == stop)
			return;
	}
}

/* A table with entries of `level` in place of `old`, of which [off, stop] is in the range. */
/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static nest_pa_t build(struct nest_edit *s, unsigned level, nest_pte_t old, uint64_t off,
		       uint64_t stop)
{
	const struct nest_fmt *f = fmt(s);
	const uint64_t entries = NEST_BIT(f->index_bits);
	const nest_pte_t base = nest_derive(s->pt, level, old, 0);
	const nest_pa_t table = nest_take(s->pt, &s->spare);
	struct nest_at at = { .t = nest_va(s->pt, table), .level = level, .off = off };
	const uint64_t first = nest_index(f, s->pt, level, off);
	const uint64_t last = nest_index(f, s->pt, level, stop);

	if (NEST_ENTRYWISE) {
		for (; at.i < entries; at.i++)
			at.t[at.i] = nest_derive(s->pt, level, old, at.i);
	} else {
		/* What the range leaves alone in it stands for the same as before. */
		if (first > 0)
			put_run(s, &at, base, first);
		at.i = last + 1;
		if (at.i < entries)
			put_run(s, &at, nth(s, level, base, at.i), entries - at.i);
		at.i = first;
		build_range(s, &at, base, stop);
	}
	nest_sync_entries(s->pt, at.t, entries);
	return table;
}

/* Nobody has seen the table: back with it, and with all below it. */
/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static void put_back(struct nest_edit *s, nest_pa_t table, unsigned level)
{
	const struct nest_fmt *f = fmt(s);
	const nest_pte_t *t = nest_va(s->pt, table);

	for (uint64_t i = 0; !NEST_ENTRYWISE && level && i < NEST_BIT(f->index_bits); i++) {
		if (nest_kind(f, s->pt, level, t[i]) == NEST_PTE_TABLE)
			put_back(s, f->table_pa(t[i]), level - 1);
	}
	nest_put(s->pt, &s->spare, table);
}

/* ---- Its place ---- */

/* The part of the old leaf that is mapped no longer, or to other frames, has to be reported. */
static void report_lost(const struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_fmt *f = fmt(s);
	const struct nest_request *rq = s->rq;
	const uint64_t base = at->off & ~nest_span_mask(f, at->level);
	const nest_pa_t delta = nest_entry_pa(s->pt, at->level, base, at->e) - base;
	const nest_attr_t attr = nest_leaf_attr(s->pt, at->level, at->e);
	unsigned level;

	if (!rq->gather->release || !f->is_leaf(at->level, at->e) ||
	    !(nest_op_removes(rq->op) || (rq->op == NEST_OP_MAP && rq->delta != delta)))
		return;
	for (uint64_t off = at->off; off <= at->stop; off += nest_span_mask(f, level) + 1) {
		level = at->level - 1;
		while (level && (level > rq->cap || (off & nest_span_mask(f, level)) ||
				 at->stop - off < nest_span_mask(f, level)))
			level--;
		nest_gather_leaves(rq->gather, level, off, nest_span_mask(f, level) + 1,
				   off + delta, attr, false);
	}
}

int nest_open_entry(struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_how h = { fmt(s), s->rq->op, is_alone(s) };
	nest_pa_t table;
	int err = NEST_OK;

	/* Another CPU may have taken out tables that were there when they were counted. */
	if (!is_alone(s))
		err = nest_prepare_more(s->pt, &s->spare, nest_tables_for_entry(h, s, at));
	if (err)
		return err;
	table = build(s, at->level - 1, at->e, at->off, at->stop);
	if (!nest_link(s->rq->gather, at, h.f->table(s->pt->features, table),
		       nest_op_keeps(s->rq))) {
		put_back(s, table, at->level - 1);
		return NEST_ANEW;
	}
	if (NEST_ENTRYWISE)
		return NEST_ANEW;
	report_lost(s, at);
	return NEST_OK;
}
