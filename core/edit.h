/* SPDX-License-Identifier: MIT */
/*
 * The engine: one loop over a range, run twice.
 *
 * The first pass, dry, stores nothing: it finds every reason to refuse, and counts the tables that
 * the second pass will need. These are allocated in between. So an error leaves everything as it
 * was; in shared mode unless another CPU changes the very same pages between the two passes.
 *
 * A visit begins at the root (or at the lowest table that holds the whole range), goes down to the
 * entries that the operation treats one by one, and does what it can do in that one table.
 * rules.h says what becomes of an entry. Where that is a table of smaller pages, build_table.c
 * makes the table with all that is to be in it, off-line, and one store puts it in place. The other
 * stores are those of runs.h where the caller sees to it that nobody else changes the table, and
 * those of shared.c where many CPUs do.
 *
 * These functions are templates: `h` is a constant in each of the places they are inlined into.
 */
#ifndef NEST_CORE_EDIT_H
#define NEST_CORE_EDIT_H

#include "core/fast.h"
#include "core/runs.h"

/*
 * The lowest table that holds the whole range; not below root entries that are shared with another
 * table, nor below an entry of which the range is all.
 */
NEST_INLINE void nest_edit_begin(struct nest_how h, struct nest_edit *s)
{
	const struct nest_fmt *f = nest_f(h, s);
	const struct nest_pt *pt = s->pt;
	const struct nest_request *rq = s->rq;

	s->base = nest_va(pt, pt->root);
	s->base_level = pt->top;
	if (!nest_has_runs(h) || pt->pinned != NEST_PA_NONE)
		return;
	while (s->base_level > 0 && !((rq->first ^ rq->last) >> nest_shift(f, s->base_level)) &&
	       rq->last - rq->first != nest_span_mask(f, s->base_level)) {
		const uint64_t i = nest_index(f, pt, s->base_level, rq->first);
		const nest_pte_t e = nest_load(&s->base[i]);

		if (nest_kind(f, pt, s->base_level, e) != NEST_PTE_TABLE)
			return;
		s->base = nest_va(pt, f->table_pa(e));
		s->base_level--;
	}
}

/* The entry for `off` that is treated by itself: no table, or one that is treated as a whole. */
NEST_INLINE void nest_edit_find(struct nest_how h, const struct nest_edit *s, uint64_t off,
				struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	const struct nest_pt *pt = s->pt;

	at->off = off;
	if (!nest_has_runs(h)) {
		nest_pte_t *p;

		at->level = nest_walk_to(f, pt, off, 0, &p, &at->e);
		at->t = &p[-(ptrdiff_t)nest_index(f, pt, at->level, off)];
		return;
	}
	at->t = s->base;
	for (at->level = s->base_level; at->level > 0; at->level--) {
		at->e = nest_load(&at->t[nest_index(f, pt, at->level, off)]);
		if (nest_kind(f, pt, at->level, at->e) != NEST_PTE_TABLE ||
		    nest_takes_table(h, s, at))
			return;
		at->t = nest_va(pt, f->table_pa(at->e));
	}
}

/* Do what the operation does to one entry, of which the range covers [at->off, at->stop]. */
NEST_INLINE int nest_edit_entry(struct nest_how h, struct nest_edit *s, struct nest_at *at,
				enum nest_pte_kind kind)
{
	int rule = nest_rule(h, s, at, kind);

	if (rule == NEST_OPEN) {
		if (s->dry) {
			s->need += nest_tables_for_entry(h, s, at);
			return NEST_OK;
		}
		nest_open_group(h, s, at);
		return nest_open_entry(s, at);
	}
	if (s->dry || rule != NEST_WRITE)
		return rule < 0 ? rule : NEST_OK;
	if (!nest_has_runs(h))
		return nest_write_shared(s, at, kind);
	nest_write_alone(h, s, at, kind);
	return NEST_OK;
}

/*
 * Do as many entries of the table that holds `off` as can be done at one go. *stop: the last offset
 * that is done. NEST_ANEW, NEST_E_BUSY: begin again behind it, from the root.
 */
NEST_INLINE int nest_visit(struct nest_how h, struct nest_edit *s, uint64_t off, uint64_t *stop)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	struct nest_pt *pt = s->pt;
	struct nest_at at;
	uint64_t end;
	int err = NEST_OK;

	*stop = off - 1;
	nest_edit_find(h, s, off, &at);
	end = nest_table_last(f, pt, at.level, off);
	end = end < s->rq->last ? end : s->rq->last;
	if (nest_has_runs(h) && at.level == 0) {
		at.i = nest_index(f, pt, 0, off);
		at.stop = end;
		if (s->dry)
			err = nest_look_at_pages(h, s, &at);
		else
			nest_write_pages(h, s, &at);
		*stop = end;
	} else if (!nest_has_runs(h)) {
		err = nest_begin_shared(s, &at, end);
		*stop = at.off - 1;
	}
	while (!err && *stop != end) {
		enum nest_pte_kind kind;

		at.i = nest_index(f, pt, at.level, at.off);
		at.e = nest_load(&at.t[at.i]);
		at.stop = at.off | nest_span_mask(f, at.level);
		at.stop = at.stop < end ? at.stop : end;
		kind = nest_kind(f, pt, at.level, at.e);
		if (kind == NEST_PTE_TABLE && nest_takes_table(h, s, &at))
			nest_take_table(h, s, &at);
		else if (kind == NEST_PTE_TABLE)
			err = NEST_ANEW;
		else if (!nest_is_alone(h, s) && kind == NEST_PTE_NONE &&
			 nest_is_busy(f, pt, at.level, at.e))
			err = NEST_E_BUSY;
		else
			err = nest_edit_entry(h, s, &at, kind);
		if (!err && !nest_has_runs(h) && kind == NEST_PTE_LEAF)
			nest_protect_alike_shared(s, &at, end);
		if (!err)
			*stop = at.stop;
		at.off = at.stop + 1;
	}
	if (!nest_has_runs(h))
		nest_give_all(s);
	if (!s->dry && op != NEST_OP_MAP && nest_frees_tables(s->rq))
		nest_remove_tables(pt, s->rq->gather, at.level, off);
	return err;
}

/* The whole range. *done: bytes from its beginning that are seen to, error or not. */
NEST_INLINE int nest_pass(struct nest_how h, struct nest_edit *s, uint64_t *done)
{
	const struct nest_request *rq = s->rq;
	uint64_t off = rq->first, stop;
	unsigned tries = 0;

	for (;; off = stop + 1) {
		const int err = nest_visit(h, s, off, &stop);

		if (stop + 1 != off)
			tries = 0;
		*done = stop + 1 - rq->first;
		if (err == NEST_OK && stop == rq->last)
			return NEST_OK;
		if (err < 0 && err != NEST_E_BUSY)
			return err;
		if (nest_is_alone(h, s))
			continue;
		if (s->lost || (err && ++tries == NEST_TRIES))
			return NEST_E_BUSY;
		if (err == NEST_E_BUSY)
			nest_relax(s->pt);
	}
}

NEST_INLINE int nest_edit(struct nest_how h, struct nest_pt *pt, const struct nest_request *rq)
{
	const struct nest_fmt *f = NEST_SMALL ? nest_fmt_of(pt) : h.f;
	const enum nest_op op = NEST_SMALL ? rq->op : h.op;
	struct nest_edit s;
	uint64_t done;
	int err = NEST_OK;

	s.pt = pt;
	s.rq = rq;
	s.dry = s.alike = true;
	s.lost = s.taken.any = false;
	s.need = 0;
	s.recoded_level = NEST_MAX_LEVELS;
	s.single = 0;
	for (unsigned l = 0; nest_op_maps(op) && l <= rq->cap && !err; l++) {
		if (l == 0 && !NEST_SMALL && nest_page_leaf(f, pt, rq->attr, &s.proto[0]))
			continue;
		err = f->leaf(pt->features, l, rq->attr, &s.proto[l]);
	}
	/* The cap of a map is the largest level whose entries are aligned like its frames. */
	if (!nest_is_alone(h, &s) && op == NEST_OP_MAP &&
	    !(rq->first & nest_span_mask(f, rq->cap)) &&
	    rq->last - rq->first == nest_span_mask(f, rq->cap))
		s.single = rq->cap;
	if (!err && nest_is_alone(h, &s) && nest_range_is_borrowed(pt, rq))
		err = NEST_E_DENIED;
	if (err)
		return err;
	nest_edit_begin(h, &s);
	err = nest_pass(h, &s, &done);
	if (!err)
		err = nest_prepare(pt, &s.spare, s.need);
	if (err)
		return err;
	s.dry = false;
	err = nest_pass(h, &s, &done);
	if (rq->done)
		*rq->done = done;
	nest_unprepare(pt, &s.spare);
	return err;
}

#endif
