/* SPDX-License-Identifier: MIT */
/*
 * Shared mode: changes by many CPUs at once, without a lock around them. In builds for size without
 * contiguous groups also exclusive mode, where nobody else changes anything: then nothing need be
 * locked but what the format asks to break, and flushes are gathered.
 *
 * An entry changes by compare-and-exchange, from what the decision was made on. Where it must be
 * invalid meanwhile (a page goes, its size changes, the format asks for break-before-make) it is
 * locked: it holds pt->busy[level], which walkers take for absent, until the flush is over and the
 * CPU that locked it stores the new value. Who meets that word goes back to the root, and after
 * some turns gives up with NEST_E_BUSY. So no CPU installs anything where a TLB may still hold what
 * was there.
 *
 * A table is removed when it is empty: each of its entries, which are absent, is locked for good;
 * if one is not absent, all is put back, and no walk has noticed. Then nobody but the CPU that
 * locked them changes the entry above, which is locked until the flush is over. Whoever is still on
 * the way through the table meets locked entries only. It is freed after a grace period of the
 * host's.
 *
 * A call makes two passes by the same code. The first stores nothing: it finds every reason to
 * refuse and counts tables, so that an error leaves everything as it was, unless another CPU
 * changes the very same pages between the two.
 */
#include "core/commit.h"

/* As many as a table of 4 KiB has. */
enum { LOCKS = 512 };

/* A status inside this file: begin again behind what is done, from the root. */
enum { AGAIN = 1 };

struct shared {
	struct nest_pt *pt;
	const struct nest_request *rq;
	bool dry;                          /* the first pass */
	uint64_t need;                     /* tables that it has counted */
	nest_pte_t proto[NEST_MAX_LEVELS]; /* map: leaf for address 0, by level */
	nest_pte_t from, to;               /* protect: the last recoding, without address */
	unsigned recoded_level;
	/*
	 * The range is one entry of this level, and is mapped by one store or not at all. 0: no, or
	 * the level is the lowest, where that is always so.
	 */
	unsigned single;
	bool lost; /* a table is in the way: NEST_E_BUSY */
	struct nest_reserve spare;
	/* What of one table this call has locked: entries from `base` on, the first for base_off.
	 */
	nest_pte_t *t;
	unsigned level;
	uint64_t base, base_off;
	uint64_t locked[LOCKS / 64];
	bool any;
};

/* One entry, and the part [off, stop] of it that is in the range. */
struct place {
	nest_pte_t *t;
	uint64_t i;
	unsigned level;
	uint64_t off, stop;
	nest_pte_t e;
};

static const struct nest_fmt *fmt(const struct shared *s)
{
	return nest_fmt_of(s->pt);
}

static bool is_whole(const struct shared *s, const struct place *at)
{
	return at->stop - at->off == nest_span_mask(fmt(s), at->level);
}

NEST_APART static nest_pte_t new_leaf(const struct shared *s, unsigned level, uint64_t off)
{
	return s->proto[level] | fmt(s)->pa_bits(level, off + s->rq->delta);
}

/* Does a map put the frame there that is there? */
NEST_APART static bool is_same_frame(const struct shared *s, const struct place *at)
{
	return s->rq->op == NEST_OP_MAP &&
	       nest_entry_pa(s->pt, at->level, at->off, at->e) == at->off + s->rq->delta;
}

/* Does the caller see to it that nobody else changes the table? */
static bool is_exclusive(const struct shared *s)
{
	return NEST_ENTRYWISE && !nest_is_shared(s->pt);
}

/*
 * As nest_breaks(): in the end, a map has put other frames there and a protect may have changed the
 * memory type. What spares a break relies on one CPU's order of changes.
 */
static bool breaks(const struct shared *s, const struct place *at, nest_pte_t to)
{
	const bool same = s->rq->op != NEST_OP_MAP && !(s->rq->clear & NEST_MT_MASK);

	return nest_breaks(s->pt, at->level, at->e, to, is_exclusive(s) && same);
}

/* What was invalid until now may be in a TLB as such. */
static void gather_fresh(const struct shared *s, uint64_t first, uint64_t last, unsigned level)
{
	if (!nest_fresh_flush(fmt(s), s->pt->features))
		return;
	if (!nest_fresh_is_leaf(fmt(s), s->pt))
		s->rq->gather->leaf_only = false;
	nest_gather_range(s->rq->gather, first, last,
			  nest_cached_level(fmt(s), s->pt->features, level));
}

/* ---- Locks ---- */

/* Put `to` in place of what the decision was made on; false: it has changed meanwhile. */
NEST_APART static bool swap(const struct shared *s, const struct place *at, nest_pte_t to)
{
	nest_pte_t e = at->e;

	if (!nest_cas(&at->t[at->i], &e, to))
		return false;
	nest_sync_entries(s->pt, &at->t[at->i], 1);
	return true;
}

static bool lock(const struct shared *s, const struct place *at)
{
	return swap(s, at, s->pt->busy[at->level]);
}

NEST_APART static void unlock(const struct shared *s, const struct place *at, nest_pte_t to)
{
	nest_store(&at->t[at->i], to);
	nest_sync_entries(s->pt, &at->t[at->i], 1);
}

/* The k-th of the entries that may be locked. */
static void unlock_one(const struct shared *s, uint64_t k)
{
	const struct place at = { .t = s->t, .i = s->base + k, .level = s->level };
	const uint64_t off = s->base_off + (k << nest_shift(fmt(s), s->level));

	if (s->rq->op != NEST_OP_MAP) {
		unlock(s, &at, s->rq->op == NEST_OP_REVOKE ? s->rq->word : s->pt->absent[s->level]);
		return;
	}
	unlock(s, &at, new_leaf(s, s->level, off));
	gather_fresh(s, off, off | nest_span_mask(fmt(s), s->level), s->level);
}

/* Flush and report what was locked, and give each entry the value that it is to have. */
static void unlock_all(struct shared *s)
{
	const struct nest_request *rq = s->rq;

	if (is_exclusive(s) || !s->any)
		return;
	nest_gather_sync(rq->gather);
	for (unsigned w = 0; w < LOCKS / 64; w++) {
		uint64_t k = (uint64_t)w * 64;

		for (uint64_t left = s->locked[w]; left; left >>= 1, k++) {
			if (left & 1)
				unlock_one(s, k);
		}
	}
	s->any = false;
}

/* A leaf has been taken out of its place, for good or for unlock_all() to put another there. */
static void gather_old(const struct shared *s, const struct place *at)
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

/* Take a leaf out, until unlock_all(). */
static bool take(struct shared *s, const struct place *at)
{
	uint64_t k;

	if (s->any && at->i - s->base >= LOCKS)
		unlock_all(s);
	if (!(is_exclusive(s) && s->rq->op == NEST_OP_REVOKE ? swap(s, at, s->rq->word)
							     : lock(s, at)))
		return false;
	if (!is_exclusive(s)) {
		if (!s->any) {
			for (unsigned w = 0; w < LOCKS / 64; w++)
				s->locked[w] = 0;
			s->t = at->t;
			s->level = at->level;
			s->base = at->i;
			s->base_off = at->off;
			s->any = true;
		}
		k = at->i - s->base;
		s->locked[k / 64] |= NEST_BIT(k % 64);
	}
	gather_old(s, at);
	return true;
}

/* ---- One entry ---- */

/* Put `to` in place of nothing, or of a mark. */
static int install(const struct shared *s, const struct place *at, nest_pte_t to)
{
	if (s->dry || at->e == to)
		return NEST_OK;
	if (!swap(s, at, to))
		return AGAIN;
	if (fmt(s)->is_leaf(at->level, to))
		gather_fresh(s, at->off, at->stop, at->level);
	return NEST_OK;
}

/* The same by a constant step: n leaves to map from `first` on, the others for what stood there. */
static void fill_by_steps(const struct shared *s, const struct place *at, nest_pte_t *t,
			  uint64_t first, uint64_t n)
{
	const struct nest_fmt *f = fmt(s);
	const uint32_t features = s->pt->features;
	const unsigned level = at->level - 1;
	const uint64_t entries = NEST_BIT(f->index_bits);
	const nest_pte_t e = nest_derive(s->pt, level, at->e, 0);

	if (f->is_leaf(level, e)) {
		nest_fill_run(f, level, t, entries, f->leaf_pa(features, level, e),
			      e & ~f->pa_mask(features, level), 1, false);
	} else {
		nest_fill_same(t, entries, e);
	}
	if (n)
		nest_fill_run(f, level, &t[first], n, at->off + s->rq->delta, s->proto[level], 1,
			      false);
}

/* The new table's entries: what the old one stands for, and a first run of the leaves to map. */
static void fill_table(const struct shared *s, struct place *at, nest_pte_t *t)
{
	const unsigned level = at->level - 1, shift = nest_shift(fmt(s), level);
	const uint64_t entries = NEST_BIT(fmt(s)->index_bits), off = at->off;
	const uint64_t first = nest_index(fmt(s), s->pt, level, off);
	uint64_t n = 0;

	if (s->rq->op == NEST_OP_MAP && level <= s->rq->cap &&
	    !(off & nest_span_mask(fmt(s), level)) && !fmt(s)->is_leaf(at->level, at->e))
		n = (at->stop - off + 1) >> shift;
	if (!NEST_SMALL)
		fill_by_steps(s, at, t, first, n);
	for (uint64_t k = 0; NEST_SMALL && k < entries; k++) {
		if (k >= first && k - first < n)
			t[k] = new_leaf(s, level, off + ((k - first) << shift));
		else
			t[k] = nest_derive(s->pt, level, at->e, k);
	}
	at->stop = off + (n << shift) - 1;
	nest_sync_entries(s->pt, t, entries);
}

/*
 * Fill the table t and put `to`, that points to it, in place; false: the entry has changed. What
 * hardware sets in an old leaf meanwhile is such a change: the next attempt has it in the new
 * leaves. A guest faults there only as long as the flush takes.
 */
static bool link_table(const struct shared *s, struct place *at, nest_pte_t *t, nest_pte_t to)
{
	const bool leaf = fmt(s)->is_leaf(at->level, at->e);
	const bool broken = leaf && (!is_exclusive(s) || breaks(s, at, to));
	const uint64_t first = at->off & ~nest_span_mask(fmt(s), at->level);
	const uint64_t last = at->off | nest_span_mask(fmt(s), at->level);

	fill_table(s, at, t);
	if (broken ? !lock(s, at) : !swap(s, at, to))
		return false;
	if (broken) {
		nest_flush_now(s->pt, first, last, at->level, true);
		unlock(s, at, to);
	} else if (leaf) {
		nest_gather_range(s->rq->gather, first, last, at->level);
	}
	if (nest_fresh_flush(fmt(s), s->pt->features)) {
		s->rq->gather->leaf_only = false;
		gather_fresh(s, first, last, at->level);
	}
	return true;
}

/* A table in place of an entry that is treated in parts. */
static int open_entry(struct shared *s, struct place *at)
{
	const struct nest_request *rq = s->rq;
	nest_pa_t table;
	int err = NEST_OK;

	if (s->dry) {
		uint64_t a = at->off, b = at->stop;

		if (rq->op == NEST_OP_SPLIT) {
			a &= ~nest_span_mask(fmt(s), rq->cap);
			b |= nest_span_mask(fmt(s), rq->cap);
		}
		s->need += nest_tables_below(fmt(s), at->level, a, b, rq->cap);
		return NEST_OK;
	}
	/* Another CPU may have taken out a table that was there when they were counted. */
	if (!is_exclusive(s) && !s->spare.count)
		err = nest_prepare(s->pt, &s->spare, 1);
	if (err)
		return err;
	table = nest_take(s->pt, &s->spare);
	if (!link_table(s, at, nest_va(s->pt, table), fmt(s)->table(s->pt->features, table))) {
		nest_put(s->pt, &s->spare, table);
		return AGAIN;
	}
	return at->stop + 1 == at->off ? AGAIN : NEST_OK;
}

/* What becomes of a leaf? Most are like the one before. */
static int recode(struct shared *s, const struct place *at, nest_pte_t *to)
{
	const struct nest_request *rq = s->rq;
	const struct nest_fmt *f = fmt(s);
	const uint32_t features = s->pt->features;
	const nest_pte_t address = f->pa_mask(features, at->level);
	nest_pte_t unused;
	int err = NEST_OK;

	if (NEST_SMALL || s->recoded_level != at->level || ((at->e ^ s->from) & ~address)) {
		s->recoded_level = NEST_MAX_LEVELS;
		err = nest_protected(s->pt, rq, at->level, at->e, &s->to);
		/* Hardware may mark it before the second pass comes to it. */
		if (!err && s->dry && nest_hw_updates(f, features) &&
		    nest_recode(s->pt, at->level,
				f->set_ad(features, at->level, at->e, NEST_ACCESSED | NEST_DIRTY),
				rq->set, rq->clear, &unused))
			err = NEST_E_UNSUPPORTED;
		if (err)
			return err;
		s->from = at->e;
		s->recoded_level = at->level;
	}
	*to = NEST_SMALL ? s->to : (s->to & ~address) | (at->e & address);
	return NEST_OK;
}

/* Does the host allow it? */
static bool is_allowed(const struct shared *s, const struct place *at)
{
	const struct nest_pt *pt = s->pt;
	const struct nest_request *rq = s->rq;

	return !s->dry || !pt->host->allow || !(rq->set || (rq->clear & NEST_MT_MASK)) ||
	       pt->host->allow(
		       pt->ctx,
		       nest_entry_pa(pt, at->level, at->off, at->e) +
			       (at->off & nest_span_mask(fmt(s), at->level)),
		       at->stop - at->off + 1,
		       nest_new_attr(nest_leaf_attr(pt, at->level, at->e), rq->set, rq->clear));
}

/* One leaf in place of another: the same frame's, or, in exclusive mode, any. */
static int change(const struct shared *s, const struct place *at, nest_pte_t to)
{
	if (s->dry || to == at->e)
		return NEST_OK;
	if (!breaks(s, at, to)) {
		if (!swap(s, at, to))
			return AGAIN;
	} else {
		if (!lock(s, at))
			return AGAIN;
		nest_flush_now(s->pt, at->off, at->stop, at->level, true);
		unlock(s, at, to);
		gather_fresh(s, at->off, at->stop, at->level);
		if (s->rq->op == NEST_OP_PROTECT)
			return NEST_OK;
	}
	gather_old(s, at);
	return NEST_OK;
}

/* What the operation does to a leaf. */
static int do_leaf(struct shared *s, struct place *at)
{
	const struct nest_request *rq = s->rq;
	const bool whole = is_whole(s, at), same = is_same_frame(s, at);
	nest_pte_t to = at->e;
	int err;

	if (rq->op == NEST_OP_SPLIT)
		return at->level > rq->cap ? open_entry(s, at) : NEST_OK;
	if (rq->op == NEST_OP_UNMARK ||
	    (rq->op == NEST_OP_MAP && (rq->flags & NEST_MAP_SKIP_MAPPED)))
		return NEST_OK;
	if (rq->op == NEST_OP_MARK || (rq->op == NEST_OP_MAP && !(rq->flags & NEST_MAP_REPLACE)))
		return NEST_E_MAPPED;
	if (!whole && (rq->flags & NEST_NO_SPLIT))
		return NEST_E_HUGE;
	if (rq->op == NEST_OP_PROTECT) {
		err = recode(s, at, &to);
		if (!err && !is_allowed(s, at))
			err = NEST_E_DENIED;
		if (err)
			return err;
	}
	if (!whole || at->level > rq->cap)
		return open_entry(s, at);
	if (rq->op == NEST_OP_MAP)
		to = new_leaf(s, at->level, at->off);
	if (same)
		to = nest_keep_ad(s->pt, at->level, to, at->e);
	if (same || rq->op == NEST_OP_PROTECT || (rq->op == NEST_OP_MAP && is_exclusive(s)))
		return change(s, at, to);
	if (s->dry)
		return NEST_OK;
	return take(s, at) ? NEST_OK : AGAIN;
}

/* What it does to nothing, or to a mark. */
static int do_hole(struct shared *s, struct place *at, bool mark)
{
	const struct nest_request *rq = s->rq;
	const bool whole = is_whole(s, at);

	if (rq->op == NEST_OP_MAP && mark && (rq->flags & NEST_MAP_KEEP_MARKS))
		return NEST_E_MAPPED;
	/* A split is sparse. */
	if (rq->op != NEST_OP_MAP && rq->op != NEST_OP_MARK && !(rq->flags & NEST_SKIP_HOLES))
		return NEST_E_NOTMAPPED;
	if (rq->op == NEST_OP_MAP || nest_op_marks(rq->op)) {
		if (!whole || at->level > rq->cap)
			return open_entry(s, at);
		return install(s, at,
			       nest_op_marks(rq->op) ? rq->word : new_leaf(s, at->level, at->off));
	}
	if (!nest_op_empties(rq->op) || !mark)
		return NEST_OK;
	return whole ? install(s, at, s->pt->absent[at->level]) : open_entry(s, at);
}

/* ---- Tables that have become empty ---- */

/* Lock all entries of a table that holds nothing, for good; false: it does, all is as before. */
static bool freeze(const struct shared *s, nest_pte_t *t, unsigned level)
{
	const uint64_t n = (uint64_t)1 << fmt(s)->index_bits;
	const nest_pte_t absent = s->pt->absent[level];
	uint64_t k = 0;

	for (; k < n; k++) {
		nest_pte_t e = absent;

		if (!nest_cas(&t[k], &e, s->pt->busy[level]))
			break;
	}
	if (k == n)
		return true;
	while (k-- > 0)
		nest_store(&t[k], absent);
	return false;
}

/* What this CPU has stored in a table comes before what it is going to read of it. */
static void before_looking(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Does t look as if it held nothing? Entry i's neighbours are the likeliest to be there. */
static bool looks_empty(const struct shared *s, const nest_pte_t *t, unsigned level, uint64_t i)
{
	const uint64_t n = NEST_BIT(fmt(s)->index_bits);

	for (uint64_t k = 0; k < n; k++) {
		if (nest_load(&t[(i + k) & (n - 1)]) != s->pt->absent[level])
			return false;
	}
	return true;
}

/*
 * Take out the table that *up points to, which is frozen, flush what it stood for, and free it.
 * Only hardware is left to change *up, that has accessed it now.
 */
static void take_table_out(const struct shared *s, struct place *up, uint64_t off)
{
	struct nest_pt *pt = s->pt;

	while (!lock(s, up))
		up->e = nest_load(up->t);
	nest_flush_now(pt, off & ~nest_span_mask(fmt(s), up->level),
		       off | nest_span_mask(fmt(s), up->level), up->level, false);
	unlock(s, up, pt->absent[up->level]);
	nest_free_table(pt, fmt(s)->table_pa(up->e), up->level - 1);
}

/* Remove the table of `level` that holds `off` if nothing is in it. True: it is gone. */
static bool remove_table(const struct shared *s, unsigned level, uint64_t off)
{
	struct nest_pt *pt = s->pt;
	const uint64_t first = off & ~nest_span_mask(fmt(s), level + 1);
	const uint64_t last = off | nest_span_mask(fmt(s), level + 1);
	struct place up = { .level = level + 1 };
	const uint64_t i = nest_index(fmt(s), pt, level, off);
	nest_pte_t *t;

	/* Something else may stand above it, or be changing. */
	if (nest_walk_to(fmt(s), pt, off, level + 1, &up.t, &up.e) != level + 1 ||
	    nest_kind(fmt(s), pt, level + 1, up.e) != NEST_PTE_TABLE)
		return false;
	t = nest_va(pt, fmt(s)->table_pa(up.e));
	if (is_exclusive(s)) {
		if (!looks_empty(s, t, level, i) ||
		    !nest_may_detach(pt, level + 1, nest_index(fmt(s), pt, level + 1, off)))
			return false;
		unlock(s, &up, pt->absent[level + 1]);
		nest_gather_range(s->rq->gather, first, last, level + 1);
		nest_gather_table(s->rq->gather, fmt(s)->table_pa(up.e), level, first, NULL);
		return true;
	}
	/*
	 * Who finds something leaves the table to the CPU that takes that out. So a CPU stores its
	 * own entry before it reads those of the others; and one that could not lock all entries
	 * looks again, since another may have met its locks meanwhile.
	 */
	do {
		before_looking();
		if (!looks_empty(s, t, level, i))
			return false;
	} while (!freeze(s, t, level));
	take_table_out(s, &up, off);
	return true;
}

bool nest_take_page(struct nest_pt *pt, nest_pte_t *p, nest_pte_t e, uint64_t off, bool keep_tables)
{
	const struct shared s = { .pt = pt };
	const nest_pte_t absent = pt->absent[0];
	const uint64_t last = NEST_BIT(fmt(&s)->index_bits) - 1,
		       i = nest_index(fmt(&s), pt, 0, off);

	if (!nest_cas(p, &e, pt->busy[0]))
		return false;
	nest_flush_now(pt, off, off | nest_span_mask(fmt(&s), 0), 0, true);
	nest_store(p, absent);
	if (keep_tables)
		return true;
	before_looking();
	if ((i < last && nest_load(&p[1]) != absent) || (i > 0 && nest_load(&p[-1]) != absent))
		return true;
	for (unsigned l = 0; l < pt->top && remove_table(&s, l, off); l++)
		;
	return true;
}

/* ---- Runs of pages ---- */

/* Lock an entry that an unmap makes absent. Hardware may mark it meanwhile. */
static bool lock_page(const struct shared *s, nest_pte_t *p)
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
 * Lock every entry of a table of pages that a call unmaps as a whole: what is absent, too, if holes
 * are allowed. Then the table is frozen, and needs no second look. Returns how many entries from
 * the first on are locked; if not all, unlock_all() is to make them absent.
 */
static uint64_t lock_pages(struct shared *s, const struct place *at, uint64_t n)
{
	const struct nest_fmt *f = fmt(s);
	uint64_t k = 0;

	while (k < n && lock_page(s, &at->t[k]))
		k++;
	if (!k)
		return 0;
	s->t = at->t;
	s->level = 0;
	s->base = 0;
	s->base_off = at->off;
	s->any = true;
	for (uint64_t w = 0; w < LOCKS / 64; w++)
		s->locked[w] = k >= 64 * (w + 1) ? ~(uint64_t)0
			       : k > 64 * w      ? NEST_BIT(k % 64) - 1
						 : 0;
	nest_sync_entries(s->pt, at->t, k);
	/* All of a table is flushed when it is taken out. */
	if (k < n)
		nest_gather_range(s->rq->gather, at->off, at->off + (k << f->page_shift) - 1, 0);
	return k;
}

/*
 * Does the call unmap all of the table of pages that at->off begins, and report nothing? *n: its
 * entries.
 */
static bool empties_table(const struct shared *s, const struct place *at, uint64_t end, uint64_t *n)
{
	*n = NEST_BIT(fmt(s)->index_bits);
	return !NEST_SMALL && !is_exclusive(s) && !s->dry && s->rq->op == NEST_OP_UNMAP &&
	       !(s->rq->flags & NEST_KEEP_TABLES) && !s->rq->gather->release && at->level == 0 &&
	       s->pt->top > 0 && *n <= LOCKS && end - at->off == nest_span_mask(fmt(s), 1);
}

/* Take the table of pages out that holds `off`, and is frozen. */
static void remove_frozen(struct shared *s, uint64_t off)
{
	struct nest_pt *pt = s->pt;
	struct place up = { .level = 1 };

	/* Nobody else changes the entry above a table that is frozen; hardware may mark it. */
	(void)nest_walk_to(fmt(s), pt, off, 1, &up.t, &up.e);
	s->any = false;
	take_table_out(s, &up, off);
}

/*
 * The first pass of an unmap that begins with at->off in a table of pages: how far is there nothing
 * to refuse? Returns the offset at which to look on.
 */
static uint64_t skip_pages(const struct shared *s, const struct place *at, uint64_t end)
{
	const struct nest_fmt *f = fmt(s);
	uint64_t first, n, k = 0;

	if (NEST_SMALL || !s->dry || s->rq->op != NEST_OP_UNMAP || at->level)
		return at->off;
	first = nest_index(f, s->pt, 0, at->off);
	n = ((end - at->off) >> f->page_shift) + 1;
	if (s->rq->flags & NEST_SKIP_HOLES)
		k = n;
	while (k < n && f->is_leaf(0, nest_load(&at->t[first + k])))
		k++;
	return at->off + (k << f->page_shift);
}

/*
 * The pages behind `at` that are like the one that was recoded last, in all but their address: as
 * many as follow at once, up to `end`.
 */
static void protect_alike(const struct shared *s, struct place *at, uint64_t end)
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

/* ---- The passes ---- */

/*
 * Do as many entries of the table that holds `off` as can be done at one go. *stop: the last offset
 * that is done. AGAIN, NEST_E_BUSY: begin again behind it, from the root.
 */
static int visit(struct shared *s, uint64_t off, uint64_t *stop)
{
	struct nest_pt *pt = s->pt;
	struct place at;
	nest_pte_t *found;
	uint64_t end, n;
	int err = NEST_OK;

	*stop = off - 1;
	at.level = nest_walk_to(fmt(s), pt, off, 0, &found, &at.e);
	at.t = &found[-(ptrdiff_t)nest_index(fmt(s), pt, at.level, off)];
	if (!is_exclusive(s) && at.level < s->single) {
		s->lost = !s->dry || (s->rq->flags & NEST_MAP_ATOMIC);
		if (s->lost)
			return NEST_E_BUSY;
		/* A table stands there from the beginning: page by page. */
		s->single = 0;
	}
	end = nest_table_last(fmt(s), pt, at.level, off);
	end = end < s->rq->last ? end : s->rq->last;
	at.off = off;
	if (!NEST_SMALL) {
		at.off = skip_pages(s, &at, end);
		*stop = at.off - 1;
		if (*stop == end)
			return NEST_OK;
	}
	if (empties_table(s, &at, end, &n)) {
		const uint64_t locked = lock_pages(s, &at, n);

		if (locked == n) {
			remove_frozen(s, off);
			*stop = end;
			for (unsigned l = 1; l < pt->top && remove_table(s, l, off); l++)
				;
			return NEST_OK;
		}
		at.off += locked << fmt(s)->page_shift;
		*stop = at.off - 1;
	}
	do {
		enum nest_pte_kind kind;

		at.i = nest_index(fmt(s), pt, at.level, at.off);
		at.e = nest_load(&at.t[at.i]);
		at.stop = at.off | nest_span_mask(fmt(s), at.level);
		at.stop = at.stop < end ? at.stop : end;
		kind = nest_kind(fmt(s), pt, at.level, at.e);
		if (kind == NEST_PTE_LEAF)
			err = do_leaf(s, &at);
		else if (kind == NEST_PTE_TABLE)
			err = AGAIN;
		else if (!is_exclusive(s) && nest_is_busy(fmt(s), pt, at.level, at.e))
			err = NEST_E_BUSY;
		else
			err = do_hole(s, &at, kind == NEST_PTE_MARK);
		if (!err && kind == NEST_PTE_LEAF)
			protect_alike(s, &at, end);
		if (!err)
			*stop = at.stop;
		at.off = at.stop + 1;
	} while (!err && *stop != end);
	unlock_all(s);
	if (!s->dry && nest_frees_tables(s->rq)) {
		for (unsigned l = at.level; l < pt->top && remove_table(s, l, off); l++)
			;
	}
	return err;
}

/* The whole range. *done: bytes from its beginning that are seen to, error or not. */
static int pass(struct shared *s, uint64_t *done)
{
	const struct nest_request *rq = s->rq;
	uint64_t off = rq->first, stop;
	unsigned tries = 0;

	for (;;) {
		int err = visit(s, off, &stop);

		if (stop + 1 != off)
			tries = 0;
		*done = stop + 1 - rq->first;
		if (err == NEST_OK && stop == rq->last)
			return NEST_OK;
		if (err < 0 && err != NEST_E_BUSY)
			return err;
		if ((!is_exclusive(s) && s->lost) || (err && ++tries == NEST_TRIES))
			return NEST_E_BUSY;
		if (!is_exclusive(s) && err == NEST_E_BUSY)
			nest_relax(s->pt);
		off = stop + 1;
	}
}

int nest_operate_shared(struct nest_pt *pt, const struct nest_request *rq)
{
	struct shared s;
	uint64_t done;
	int err = NEST_OK;

	s.pt = pt;
	s.rq = rq;
	s.dry = true;
	s.need = 0;
	s.single = 0;
	s.recoded_level = NEST_MAX_LEVELS;
	s.lost = s.any = false;

	for (unsigned l = 0; rq->op == NEST_OP_MAP && l <= rq->cap && !err; l++)
		err = nest_build(pt, l, 0, rq->attr, &s.proto[l]);
	/* The cap of a map is the largest level whose entries are aligned like its frames. */
	if (!is_exclusive(&s) && rq->op == NEST_OP_MAP &&
	    !(rq->first & nest_span_mask(fmt(&s), rq->cap)) &&
	    rq->last - rq->first == nest_span_mask(fmt(&s), rq->cap))
		s.single = rq->cap;
	if (!err && is_exclusive(&s) && nest_range_is_borrowed(pt, rq))
		err = NEST_E_DENIED;
	if (!err)
		err = pass(&s, &done);
	if (!err)
		err = nest_prepare(pt, &s.spare, s.need);
	if (err)
		return err;
	s.dry = false;
	err = pass(&s, &done);
	if (rq->done)
		*rq->done = done;
	nest_unprepare(pt, &s.spare);
	return err;
}

int nest_trim_shared(struct nest_pt *pt, const struct nest_request *rq)
{
	const struct shared s = { .pt = pt, .rq = rq };
	uint64_t off = rq->first, end;

	if (nest_range_is_borrowed(pt, rq))
		return NEST_E_DENIED;
	for (;; off = end + 1) {
		nest_pte_t *p, e;
		unsigned level = nest_walk_to(fmt(&s), pt, off, 0, &p, &e);

		end = level ? off | nest_span_mask(fmt(&s), level)
			    : nest_table_last(fmt(&s), pt, 0, off);
		for (; level < pt->top && remove_table(&s, level, off); level++)
			;
		if (end >= rq->last)
			return NEST_OK;
	}
}
