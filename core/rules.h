/* SPDX-License-Identifier: MIT */
/*
 * One call under way, and its rules: what becomes of an entry that the operation meets? They store
 * nothing, and both passes ask them.
 */
#ifndef NEST_CORE_RULES_H
#define NEST_CORE_RULES_H

#include "core/operate.h"

/* What is constant in each instance of the engine. */
struct nest_how {
	const struct nest_fmt *f;
	enum nest_op op; /* the request's */
	bool alone;      /* exclusive mode: nobody but the caller changes the table */
};

/* As many as a table of 4 KiB has. */
enum { NEST_TAKEN = 512 };

/* Entries of one table that shared mode has taken, until they are flushed and given their value. */
struct nest_taken {
	nest_pte_t *t;
	uint64_t i, off; /* of the first that may be among them */
	unsigned level;
	bool any;
	uint64_t bits[NEST_TAKEN / 64];
};

struct nest_edit {
	struct nest_pt *pt;
	const struct nest_request *rq;
	nest_pte_t *base; /* the table at which a visit begins */
	unsigned base_level;
	bool dry;      /* the first pass */
	uint64_t need; /* tables that it has counted */
	struct nest_reserve spare;
	nest_pte_t proto[NEST_MAX_LEVELS]; /* map: leaf for address 0, by level */
	nest_pte_t from, to;               /* protect: the last recoding, without address */
	unsigned recoded_level;
	/*
	 * Protect: in every table of pages, those in the range are alike but for their address, and
	 * stay so: no groups, nothing left for hardware to set.
	 */
	bool alike;
	/*
	 * Shared mode: the range is one entry of this level, and is mapped by one store or not at
	 * all. 0: no, or the level is the lowest, where that is always so.
	 */
	unsigned single;
	bool lost; /* shared mode: a table is in the way: NEST_E_BUSY */
	struct nest_taken taken;
};

/* A rule's answer, unless it is an error; and a status: begin again, from the root. */
enum { NEST_LEAVE = 0, NEST_WRITE = 1, NEST_OPEN = 2, NEST_ANEW = 1 };

/* The small engine, of which there is one copy, looks them up. */
NEST_INLINE const struct nest_fmt *nest_f(struct nest_how h, const struct nest_edit *s)
{
	return NEST_SMALL ? nest_fmt_of(s->pt) : h.f;
}

NEST_INLINE enum nest_op nest_op(struct nest_how h, const struct nest_edit *s)
{
	return NEST_SMALL ? s->rq->op : h.op;
}

/* Nobody else changes the table. The small engine is one for both modes. */
NEST_INLINE bool nest_is_alone(struct nest_how h, const struct nest_edit *s)
{
	return NEST_ENTRYWISE ? !nest_is_shared(s->pt) : h.alone;
}

/* Runs of entries are changed together, and tables taken out as a whole. */
NEST_INLINE bool nest_has_runs(struct nest_how h)
{
	return !NEST_ENTRYWISE && h.alone;
}

NEST_INLINE bool nest_is_whole(const struct nest_fmt *f, const struct nest_at *at)
{
	return at->stop - at->off == nest_span_mask(f, at->level);
}

/* May the table at root index i be unlinked? Not when another nest_pt is linked to it. */
NEST_INLINE bool nest_may_detach(const struct nest_pt *pt, unsigned level, uint64_t i)
{
	return level != pt->top || !nest_is_pinned(pt, i);
}

/* ---- Contiguous groups ---- */

/* Is the contiguous group around `off` inside the range? */
NEST_INLINE bool nest_group_inside(struct nest_how h, const struct nest_edit *s, unsigned level,
				   uint64_t off)
{
	const struct nest_fmt *f = nest_f(h, s);
	const unsigned cs = nest_contig_shift(f, s->pt->features, level);
	const uint64_t mask = ((nest_span_mask(f, level) + 1) << cs) - 1;

	return (off & ~mask) >= s->rq->first && (off | mask) <= s->rq->last;
}

/* A member of a group, and the operation is going to treat the members differently. */
NEST_INLINE bool nest_must_open(struct nest_how h, const struct nest_edit *s, unsigned level,
				uint64_t off, nest_pte_t e)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);

	if (!nest_is_member(f, s->pt->features, level, e))
		return false;
	if (op == NEST_OP_SPLIT || (op == NEST_OP_MAP && level > s->rq->cap))
		return true;
	return !nest_group_inside(h, s, level, off);
}

/* ---- Rules ---- */

/*
 * Does the pass take the table that stands at at->off, of which the range covers all, as a whole?
 * The first one where nothing in it can be refused; the second one where all of it goes.
 */
NEST_INLINE bool nest_takes_table(struct nest_how h, const struct nest_edit *s,
				  const struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	const uint64_t mask = nest_span_mask(f, at->level);
	const bool fits = at->level <= rq->cap, holes = (rq->flags & NEST_SKIP_HOLES) != 0;
	bool takes;

	if (!nest_has_runs(h) || (at->off & mask) || rq->last - at->off < mask)
		return false;
	if (op == NEST_OP_UNMAP)
		takes = s->dry ? holes : !(rq->flags & NEST_KEEP_TABLES);
	else if (op == NEST_OP_MAP)
		takes = fits && (s->dry ? (rq->flags & NEST_MAP_REPLACE) != 0
					: !(rq->flags & NEST_MAP_SKIP_MAPPED));
	else
		takes = fits &&
			(op == NEST_OP_REVOKE ? !s->dry || holes : op == NEST_OP_MARK && !s->dry);
	return takes && nest_may_detach(s->pt, at->level, nest_index(f, s->pt, at->level, at->off));
}

/* May these rights be given, or this memory type? The first pass asks the host. */
NEST_INLINE bool nest_is_allowed(const struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_pt *pt = s->pt;
	const struct nest_request *rq = s->rq;
	const uint64_t inside = at->off & nest_span_mask(nest_fmt_of(pt), at->level);

	return !pt->host->allow || !(rq->set || (rq->clear & NEST_MT_MASK)) ||
	       pt->host->allow(
		       pt->ctx, nest_entry_pa(pt, at->level, at->off - inside, at->e) + inside,
		       at->stop - at->off + 1,
		       nest_new_attr(nest_leaf_attr(pt, at->level, at->e), rq->set, rq->clear));
}

/*
 * protect: s->to is what becomes of leaves like at->e, address aside. Most are like the one before.
 * NEST_E_NOTMAPPED: it lacks what it must have. NEST_E_UNSUPPORTED.
 */
NEST_INLINE int nest_recode_like(struct nest_how h, struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	const uint32_t features = s->pt->features;
	nest_pte_t unused;
	int err;

	if (!NEST_SMALL && s->recoded_level == at->level &&
	    !((at->e ^ s->from) & ~f->pa_mask(features, at->level)))
		return NEST_OK;
	s->recoded_level = NEST_MAX_LEVELS;
	err = nest_protected(s->pt, s->rq, at->level, at->e, &s->to);
	/* Hardware may mark it before the second pass comes to it. */
	if (!err && s->dry && nest_hw_updates(f, features) &&
	    nest_recode(s->pt, at->level,
			f->set_ad(features, at->level, at->e, NEST_ACCESSED | NEST_DIRTY),
			s->rq->set, s->rq->clear, &unused))
		err = NEST_E_UNSUPPORTED;
	if (err)
		return err;
	s->from = at->e;
	s->recoded_level = at->level;
	return NEST_OK;
}

/* Does a list of frames name one for what is in the range of this entry? */
NEST_INLINE bool nest_names_frame(const struct nest_fmt *f, const struct nest_request *rq,
				  const struct nest_at *at)
{
	const nest_pa_t *frame = nest_frame_of(f, rq, at->off);

	for (uint64_t n = ((at->stop - at->off) >> f->page_shift) + 1; n; n--, frame = &frame[1]) {
		if (*frame != NEST_PA_NONE)
			return true;
	}
	return false;
}

NEST_INLINE int nest_rule_for_leaf(struct nest_how h, struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	const bool whole = nest_is_whole(f, at);
	const uint32_t flags = rq->flags;

	/* A group of the smallest that it makes is opened. */
	if (op == NEST_OP_SPLIT)
		return at->level > rq->cap                                    ? NEST_OPEN
		       : nest_is_member(f, s->pt->features, at->level, at->e) ? NEST_WRITE
									      : NEST_LEAVE;
	if (op == NEST_OP_UNMARK || (nest_op_maps(op) && (flags & NEST_MAP_SKIP_MAPPED)))
		return NEST_LEAVE;
	if (op == NEST_OP_MARK || (nest_op_maps(op) && !(flags & NEST_MAP_REPLACE)))
		return NEST_E_MAPPED;
	if ((flags & NEST_NO_SPLIT) &&
	    (!whole || (nest_is_member(f, s->pt->features, at->level, at->e) &&
			!nest_group_inside(h, s, at->level, at->off))))
		return NEST_E_HUGE;
	if (op == NEST_OP_PROTECT && (s->dry || !nest_has_runs(h))) {
		const int err = nest_recode_like(h, s, at);

		if (err)
			return err;
		if (s->dry && !nest_is_allowed(s, at))
			return NEST_E_DENIED;
	}
	return whole && at->level <= rq->cap ? NEST_WRITE : NEST_OPEN;
}

/* Nothing, or a mark. */
NEST_INLINE int nest_rule_for_hole(struct nest_how h, const struct nest_edit *s,
				   const struct nest_at *at, bool mark)
{
	const enum nest_op op = nest_op(h, s);
	const struct nest_request *rq = s->rq;
	const bool whole = nest_is_whole(nest_f(h, s), at);

	if (nest_op_maps(op) && mark && (rq->flags & NEST_MAP_KEEP_MARKS))
		return NEST_E_MAPPED;
	/* Unmark and split have that flag. */
	if (!nest_op_maps(op) && op != NEST_OP_MARK && !(rq->flags & NEST_SKIP_HOLES))
		return NEST_E_NOTMAPPED;
	if (nest_op_maps(op) || nest_op_marks(op))
		return whole && at->level <= rq->cap ? NEST_WRITE : NEST_OPEN;
	if (!nest_op_empties(op) || !mark)
		return NEST_LEAVE;
	return whole ? NEST_WRITE : NEST_OPEN;
}

/* For an entry that is no pointer to a table. */
NEST_INLINE int nest_rule(struct nest_how h, struct nest_edit *s, const struct nest_at *at,
			  enum nest_pte_kind kind)
{
	if (nest_op(h, s) == NEST_OP_FRAMES && !nest_names_frame(nest_f(h, s), s->rq, at))
		return NEST_LEAVE;
	if (kind == NEST_PTE_LEAF)
		return nest_rule_for_leaf(h, s, at);
	return nest_rule_for_hole(h, s, at, kind == NEST_PTE_MARK);
}

/* Tables that NEST_OPEN takes. A split stops at its level: what it cuts there stays whole. */
NEST_INLINE uint64_t nest_tables_for_entry(struct nest_how h, const struct nest_edit *s,
					   const struct nest_at *at)
{
	const struct nest_fmt *f = nest_f(h, s);
	const enum nest_op op = nest_op(h, s);
	const uint64_t mask = op == NEST_OP_SPLIT ? nest_span_mask(f, s->rq->cap) : 0;

	return nest_tables_below(f, at->level, at->off & ~mask, at->stop | mask, s->rq->cap);
}

/* ---- What follows from them (build_table.c, empty.c, shared.c) ---- */

/*
 * A table in place of an entry that is treated in parts, with all that the operation puts into it.
 * NEST_ANEW: the entry has changed. Shared mode: NEST_E_NOMEM.
 */
int nest_open_entry(struct nest_edit *s, const struct nest_at *at);
/* Free the table of `level` that holds `off`, and those above it, as far as they hold nothing. */
void nest_remove_tables(struct nest_pt *pt, struct nest_gather *g, unsigned level, uint64_t off);
/* Shared mode: the table that up->e points to is frozen. Take it out, flush, and free it. */
void nest_take_out_frozen(struct nest_pt *pt, struct nest_at *up);

/* Shared mode, and the small engine: one entry is written. NEST_ANEW: it has changed. */
int nest_write_shared(struct nest_edit *s, const struct nest_at *at, enum nest_pte_kind kind);
/* At the beginning of a visit: do, or look at, whole runs at once; at->off is where to go on. */
int nest_begin_shared(struct nest_edit *s, struct nest_at *at, uint64_t end);
/* Pages behind `at` become what it has become, up to `end`; at->stop moves on. */
void nest_protect_alike_shared(struct nest_edit *s, struct nest_at *at, uint64_t end);
/* Flush and report what was taken, and give each entry the value that it is to have. */
void nest_give_all(struct nest_edit *s);

#endif
