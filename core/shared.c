/* SPDX-License-Identifier: MIT */
/*
 * Shared mode: changes by many CPUs at once, without a lock around them. In builds for size without
 * contiguous groups also exclusive mode, where nobody else changes anything: then nothing need be
 * taken but what the format asks to break, and flushes are gathered.
 *
 * An entry changes by compare-and-exchange, from what the decision was made on. Where it must be
 * invalid meanwhile (a page goes, its size changes, the format asks for break-before-make) it is
 * taken: it holds pt->busy[level], which walkers take for absent, until the flush is over and the
 * CPU that took it stores the new value. Who meets that word goes back to the root, and after some
 * turns gives up with NEST_E_BUSY. So no CPU installs anything where a TLB may still hold what was
 * there.
 */
#include "core/edit.h"

static const struct nest_fmt *fmt(const struct nest_edit *s)
{
	return nest_fmt_of(s->pt);
}

/* Does the caller see to it that nobody else changes the table? */
static bool is_exclusive(const struct nest_edit *s)
{
	return NEST_ENTRYWISE && !nest_is_shared(s->pt);
}

NEST_APART static nest_pte_t new_leaf(const struct nest_edit *s, unsigned level, uint64_t off)
{
	return s->proto[level] | fmt(s)->pa_bits(level, off + s->rq->delta);
}

/* Does a map put the frame there that is there? */
NEST_APART static bool is_same_frame(const struct nest_edit *s, const struct nest_at *at)
{
	return s->rq->op == NEST_OP_MAP &&
	       nest_entry_pa(s->pt, at->level, at->off, at->e) == at->off + s->rq->delta;
}

/* What was invalid until now may be in a TLB as such. */
static void gather_fresh(const struct nest_edit *s, uint64_t first, uint64_t last, unsigned level)
{
	if (!nest_fresh_flush(fmt(s), s->pt->features))
		return;
	if (!nest_fresh_is_leaf(fmt(s), s->pt))
		s->rq->gather->leaf_only = false;
	nest_gather_range(s->rq->gather, first, last,
			  nest_cached_level(fmt(s), s->pt->features, level));
}

/* ---- Entries that are taken ---- */

/* The k-th of the entries that may be. */
static void give_one(const struct nest_edit *s, uint64_t k)
{
	const struct nest_taken *w = &s->taken;
	const struct nest_at at = { .t = w->t, .i = w->i + k, .level = w->level };
	const uint64_t off = w->off + (k << nest_shift(fmt(s), w->level));

	if (s->rq->op != NEST_OP_MAP) {
		nest_give(s->pt, &at,
			  s->rq->op == NEST_OP_REVOKE ? s->rq->word : s->pt->absent[w->level]);
		return;
	}
	nest_give(s->pt, &at, new_leaf(s, w->level, off));
	gather_fresh(s, off, off | nest_span_mask(fmt(s), w->level), w->level);
}

void nest_give_all(struct nest_edit *s)
{
	if (is_exclusive(s) || !s->taken.any)
		return;
	nest_gather_sync(s->rq->gather);
	for (unsigned w = 0; w < NEST_TAKEN / 64; w++) {
		uint64_t k = (uint64_t)w * 64;

		for (uint64_t left = s->taken.bits[w]; left; left >>= 1, k++) {
			if (left & 1)
				give_one(s, k);
		}
	}
	s->taken.any = false;
}

/* A leaf has been taken out of its place, for good or for nest_give_all() to put another there. */
static void gather_old(const struct nest_edit *s, const struct nest_at *at)
{
	const struct nest_request *rq = s->rq;

	if (rq->gather->release && rq->op != NEST_OP_PROTECT && !is_same_frame(s, at))
		nest_gather_leaves(rq->gather, at->level, at->off,
				   nest_span_mask(fmt(s), at->level) + 1,
				   nest_entry_pa(s->pt, at->level, at->off, at->e),
				   nest_leaf_attr(s->pt, at->level, at->e), false);
	else
		nest_gather_range(rq->gather, at->off, at->stop, at->level);
}

/* Remember that the entry is taken; the first one says where the others may be. */
static void note_taken(struct nest_taken *w, const struct nest_at *at)
{
	if (!w->any) {
		for (unsigned k = 0; k < NEST_TAKEN / 64; k++)
			w->bits[k] = 0;
		w->t = at->t;
		w->level = at->level;
		w->i = at->i;
		w->off = at->off;
		w->any = true;
	}
	w->bits[(at->i - w->i) / 64] |= NEST_BIT((at->i - w->i) % 64);
}

/* Take a leaf out, until nest_give_all(). */
static int take(struct nest_edit *s, const struct nest_at *at)
{
	const bool exclusive = is_exclusive(s);

	if (!exclusive && s->taken.any && at->i - s->taken.i >= NEST_TAKEN)
		nest_give_all(s);
	if (!nest_swap(s->pt, at,
		       exclusive && s->rq->op == NEST_OP_REVOKE ? s->rq->word
								: nest_invalid(s->pt, at->level)))
		return NEST_ANEW;
	if (!exclusive)
		note_taken(&s->taken, at);
	gather_old(s, at);
	return NEST_OK;
}

/* ---- One entry ---- */

/* Put `to` in place of nothing, or of a mark. */
static int install(const struct nest_edit *s, const struct nest_at *at, nest_pte_t to)
{
	if (at->e == to)
		return NEST_OK;
	if (!nest_swap(s->pt, at, to))
		return NEST_ANEW;
	if (fmt(s)->is_leaf(at->level, to))
		gather_fresh(s, at->off, at->stop, at->level);
	return NEST_OK;
}

/* One leaf in place of another: the same frame's, or, in exclusive mode, any. */
static int change(const struct nest_edit *s, const struct nest_at *at, nest_pte_t to)
{
	const bool broken = nest_breaks(s->pt, at->level, at->e, to,
					is_exclusive(s) && nest_op_keeps(s->rq));

	if (to == at->e)
		return NEST_OK;
	if (!nest_replace(s->pt, at, to, broken))
		return NEST_ANEW;
	if (broken)
		gather_fresh(s, at->off, at->stop, at->level);
	if (!broken || s->rq->op != NEST_OP_PROTECT)
		gather_old(s, at);
	return NEST_OK;
}

static int write_leaf(struct nest_edit *s, const struct nest_at *at)
{
	const bool same = is_same_frame(s, at);
	const nest_pte_t address = fmt(s)->pa_mask(s->pt->features, at->level);
	nest_pte_t to;

	if (s->rq->op == NEST_OP_PROTECT)
		return change(s, at, NEST_SMALL ? s->to : (s->to & ~address) | (at->e & address));
	if (s->rq->op == NEST_OP_MAP && (same || is_exclusive(s))) {
		to = new_leaf(s, at->level, at->off);
		if (same)
			to = nest_keep_ad(s->pt, at->level, to, at->e);
		return change(s, at, to);
	}
	return take(s, at);
}

int nest_write_shared(struct nest_edit *s, const struct nest_at *at, enum nest_pte_kind kind)
{
	if (kind == NEST_PTE_LEAF)
		return write_leaf(s, at);
	if (s->rq->op == NEST_OP_MAP)
		return install(s, at, new_leaf(s, at->level, at->off));
	if (s->rq->op == NEST_OP_FRAMES)
		return install(s, at,
			       s->proto[0] |
				       fmt(s)->pa_bits(0, *nest_frame_of(fmt(s), s->rq, at->off)));
	return install(s, at, nest_op_marks(s->rq->op) ? s->rq->word : s->pt->absent[at->level]);
}

/* ---- Runs of pages ---- */

/* Take an entry that an unmap makes absent. Hardware may mark it meanwhile. */
static bool take_page(const struct nest_edit *s, nest_pte_t *p)
{
	const struct nest_fmt *f = fmt(s);
	const bool holes = (s->rq->flags & NEST_SKIP_HOLES) != 0;
	nest_pte_t e = nest_load(p);

	do {
		if (!f->is_leaf(0, e) && (!holes || nest_is_busy(f, s->pt, 0, e)))
			return false;
	} while (!nest_cas(p, &e, s->pt->busy[0]));
	return true;
}

/*
 * Take every entry of a table of pages that a call unmaps as a whole: what is absent, too, if holes
 * are allowed. Then the table is frozen, and needs no second look. Returns how many entries from
 * the first on have been taken; if not all, they are flushed and absent.
 */
static uint64_t take_pages(const struct nest_edit *s, const struct nest_at *at, uint64_t n)
{
	uint64_t k = 0;

	while (k < n && take_page(s, &at->t[k]))
		k++;
	nest_sync_entries(s->pt, at->t, k);
	if (k == n || !k)
		return k;
	nest_flush_now(s->pt, at->off, at->off + (k << fmt(s)->page_shift) - 1, 0, true);
	for (uint64_t i = 0; i < k; i++)
		nest_store(&at->t[i], s->pt->absent[0]);
	nest_sync_entries(s->pt, at->t, k);
	return k;
}

/* Does the call unmap all of the table of pages that at->off begins, and report nothing? */
static bool empties_table(const struct nest_edit *s, const struct nest_at *at, uint64_t end)
{
	return !s->dry && s->rq->op == NEST_OP_UNMAP && !(s->rq->flags & NEST_KEEP_TABLES) &&
	       !s->rq->gather->release && at->level == 0 && s->pt->top > 0 &&
	       end - at->off == nest_span_mask(fmt(s), 1);
}

/* Take the table of pages out that holds `off`, and is frozen, and what becomes empty above it. */
static void remove_frozen(const struct nest_edit *s, uint64_t off)
{
	struct nest_at up = { .off = off, .level = 1 };

	/* Nobody else changes the entry above a table that is frozen; hardware may mark it. */
	(void)nest_walk_to(fmt(s), s->pt, off, 1, &up.t, &up.e);
	nest_take_out_frozen(s->pt, &up);
	nest_remove_tables(s->pt, s->rq->gather, 1, off);
}

/*
 * The first pass of an unmap that begins with at->off in a table of pages: how far is there nothing
 * to refuse? Returns the offset at which to look on.
 */
static uint64_t skip_pages(const struct nest_edit *s, const struct nest_at *at, uint64_t end)
{
	const struct nest_fmt *f = fmt(s);
	uint64_t first, n, k = 0;

	if (!s->dry || s->rq->op != NEST_OP_UNMAP || at->level)
		return at->off;
	first = nest_index(f, s->pt, 0, at->off);
	n = ((end - at->off) >> f->page_shift) + 1;
	if (s->rq->flags & NEST_SKIP_HOLES)
		k = n;
	while (k < n && f->is_leaf(0, nest_load(&at->t[first + k])))
		k++;
	return at->off + (k << f->page_shift);
}

int nest_begin_shared(struct nest_edit *s, struct nest_at *at, uint64_t end)
{
	const uint64_t n = NEST_BIT(fmt(s)->index_bits), off = at->off;
	uint64_t taken;

	if (is_exclusive(s))
		return NEST_OK;
	if (at->level < s->single) {
		s->lost = !s->dry || (s->rq->flags & NEST_MAP_ATOMIC);
		if (s->lost)
			return NEST_E_BUSY;
		/* A table stands there from the beginning: page by page. */
		s->single = 0;
	}
	if (NEST_SMALL)
		return NEST_OK;
	at->off = skip_pages(s, at, end);
	if (!empties_table(s, at, end))
		return NEST_OK;
	taken = take_pages(s, at, n);
	at->off += taken << fmt(s)->page_shift;
	if (taken == n)
		remove_frozen(s, off);
	return NEST_OK;
}

void nest_protect_alike_shared(struct nest_edit *s, struct nest_at *at, uint64_t end)
{
	const struct nest_fmt *f = fmt(s);
	const nest_pte_t same = ~f->pa_mask(s->pt->features, 0), flip = (s->from ^ s->to) & same;
	const uint64_t most = (end - at->stop) >> f->page_shift;
	nest_pte_t *t = &at->t[at->i + 1];
	uint64_t k = 0;

	if (NEST_SMALL || s->rq->op != NEST_OP_PROTECT || at->level || s->recoded_level ||
	    s->pt->host->allow || nest_needs_break(f, s->pt->features, 0, s->from, s->from ^ flip))
		return;
	for (; k < most; k++) {
		nest_pte_t e = nest_load(&t[k]);

		if (((e ^ s->from) & same) || (!s->dry && flip && !nest_cas(&t[k], &e, e ^ flip)))
			break;
	}
	if (k && !s->dry && flip) {
		nest_sync_entries(s->pt, t, k);
		nest_gather_range(s->rq->gather, at->stop + 1, at->stop + (k << f->page_shift), 0);
	}
	at->stop += k << f->page_shift;
}

/* ---- The calls ---- */

int nest_operate_shared(struct nest_pt *pt, const struct nest_request *rq)
{
	return nest_edit((struct nest_how){ nest_fmt_of(pt), rq->op, false }, pt, rq);
}

bool nest_take_page(struct nest_pt *pt, nest_pte_t *p, nest_pte_t e, uint64_t off, bool keep_tables)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const nest_pte_t absent = pt->absent[0];
	const uint64_t last = NEST_BIT(f->index_bits) - 1, i = nest_index(f, pt, 0, off);

	if (!nest_cas(p, &e, pt->busy[0]))
		return false;
	nest_flush_now(pt, off, off | nest_span_mask(f, 0), 0, true);
	nest_store(p, absent);
	if (keep_tables)
		return true;
	/* What this CPU has stored comes before what it is going to read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((i < last && nest_load(&p[1]) != absent) || (i > 0 && nest_load(&p[-1]) != absent))
		return true;
	nest_remove_tables(pt, NULL, 0, off);
	return true;
}
