/* SPDX-License-Identifier: MIT */
/*
 * Changes of live entries: two verbs, and what is made of them: break-before-make, linking a table
 * in place of a leaf, contiguous groups.
 *
 * Hardware may set accessed and dirty in a live leaf at any moment. So an old value is final only
 * when an exchange or compare-and-exchange has taken it away; what it had gained until then is
 * carried over to the entries that stand for it from now on.
 */
#include "core/bulk.h"
#include "core/operate.h"

enum { AD = NEST_ACCESSED | NEST_DIRTY };

nest_pa_t nest_entry_pa(const struct nest_pt *pt, unsigned level, uint64_t off, nest_pte_t pte)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_pa_t pa = f->leaf_pa(pt->features, level, pte);

	/* Svnapot tells the group's address, Contiguous the entry's own: both are aligned alike. */
	if (nest_is_contig(pt, level, pte)) {
		uint64_t mask = nest_span_mask(f, level) + 1;

		mask = (mask << nest_contig_shift(f, pt->features, level)) - 1;
		pa = (pa & ~mask) | (off & mask);
	}
	return pa;
}

bool nest_is_contig(const struct nest_pt *pt, unsigned level, nest_pte_t pte)
{
	return nest_is_member(nest_fmt_of(pt), pt->features, level, pte);
}

NEST_APART bool nest_breaks(const struct nest_pt *pt, unsigned level, nest_pte_t from,
			    nest_pte_t to, bool same)
{
	uint32_t features = same ? pt->features : pt->features & ~NEST_FEAT_BBM2;

	return nest_needs_break(nest_fmt_of(pt), features, level, from, to);
}

NEST_APART nest_attr_t nest_leaf_attr(const struct nest_pt *pt, unsigned level, nest_pte_t pte)
{
	nest_attr_t attr;

	if (nest_fmt_of(pt)->attr(pt->features, level, pte, &attr) != NEST_OK)
		return 0;
	return attr;
}

nest_attr_t nest_new_attr(nest_attr_t attr, nest_attr_t set, nest_attr_t clear)
{
	if (clear & NEST_W)
		clear |= NEST_DBM;
	return (attr & ~clear) | set;
}

NEST_APART int nest_build(const struct nest_pt *pt, unsigned level, nest_pa_t pa, nest_attr_t attr,
			  nest_pte_t *out)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	int err = f->leaf(pt->features, level, attr, out);

	if (!err)
		*out |= f->pa_bits(level, pa);
	return err;
}

/* The leaf of `level` for what begins `offset` bytes into the leaf `pte` of level `from`. */
NEST_APART static int rebuild(const struct nest_pt *pt, unsigned from, nest_pte_t pte,
			      unsigned level, uint64_t offset, nest_attr_t set, nest_attr_t clear,
			      nest_pte_t *out)
{
	return nest_build(pt, level, nest_fmt_of(pt)->leaf_pa(pt->features, from, pte) + offset,
			  nest_new_attr(nest_leaf_attr(pt, from, pte), set, clear), out);
}

int nest_recode(const struct nest_pt *pt, unsigned level, nest_pte_t pte, nest_attr_t set,
		nest_attr_t clear, nest_pte_t *out)
{
	return rebuild(pt, level, pte, level, 0, set, clear, out);
}

int nest_protected(const struct nest_pt *pt, const struct nest_request *rq, unsigned level,
		   nest_pte_t pte, nest_pte_t *out)
{
	if (rq->only_with & ~nest_leaf_attr(pt, level, pte))
		return NEST_E_NOTMAPPED;
	return nest_recode(pt, level, pte, rq->set, rq->clear, out);
}

nest_pte_t nest_derive(const struct nest_pt *pt, unsigned level, nest_pte_t old, uint64_t index)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const enum nest_pte_kind kind = nest_kind(f, pt, level + 1, old);
	nest_pte_t out;

	if (kind == NEST_PTE_MARK)
		return old;
	if (kind == NEST_PTE_LEAF && rebuild(pt, level + 1, old, level,
					     index << nest_shift(f, level), 0, 0, &out) == NEST_OK)
		return out;
	return pt->absent[level];
}

/* ---- The two verbs ---- */

NEST_APART bool nest_swap(const struct nest_pt *pt, const struct nest_at *at, nest_pte_t to)
{
	nest_pte_t e = at->e;

	if (!nest_cas(&at->t[at->i], &e, to))
		return false;
	nest_sync_entries(pt, &at->t[at->i], 1);
	return true;
}

NEST_APART void nest_give(const struct nest_pt *pt, const struct nest_at *at, nest_pte_t to)
{
	nest_store(&at->t[at->i], to);
	nest_sync_entries(pt, &at->t[at->i], 1);
}

NEST_APART bool nest_replace(struct nest_pt *pt, const struct nest_at *at, nest_pte_t to,
			     bool broken)
{
	const uint64_t mask = nest_span_mask(nest_fmt_of(pt), at->level);

	if (!nest_swap(pt, at, broken ? nest_invalid(pt, at->level) : to))
		return false;
	if (broken) {
		nest_flush_now(pt, at->off & ~mask, at->off | mask, at->level, true);
		nest_give(pt, at, to);
	}
	return true;
}

/* ---- One entry in place of another ---- */

bool nest_link(struct nest_gather *g, const struct nest_at *at, nest_pte_t to, bool same)
{
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const bool alone = !nest_is_shared(pt), leaf = f->is_leaf(at->level, at->e);
	const bool broken = leaf && (!alone || nest_breaks(pt, at->level, at->e, to, same));
	uint64_t first = at->off & ~nest_span_mask(f, at->level);
	uint64_t last = at->off | nest_span_mask(f, at->level);

	if (!nest_replace(pt, at, to, broken))
		return false;
	if (leaf && !broken)
		nest_gather_range(g, first, last, at->level);
	if ((leaf && !broken) || !nest_fresh_flush(f, pt->features))
		return true;
	/*
	 * A walker may have kept the invalid entry for any address below it; or, where holes are
	 * walked down to a table of nothing, only for the single pages.
	 */
	g->leaf_only = false;
	if (alone && !leaf && nest_absent_is_table(f)) {
		first = at->off;
		last = at->stop;
	}
	nest_gather_range(g, first, last, nest_cached_level(f, pt->features, at->level));
	return true;
}

nest_pte_t nest_change(struct nest_pt *pt, const struct nest_at *at, nest_pte_t to, bool same,
		       bool *flushed)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const unsigned level = at->level;
	nest_pte_t *p = &at->t[at->i], e = nest_load(p);
	enum nest_pte_kind from_kind = nest_kind(f, pt, level, e);
	enum nest_pte_kind to_kind = nest_kind(f, pt, level, to);
	bool from_valid = from_kind == NEST_PTE_LEAF || from_kind == NEST_PTE_TABLE;
	bool to_valid = to_kind == NEST_PTE_LEAF || to_kind == NEST_PTE_TABLE;

	*flushed = false;
	if (from_valid && to_valid && nest_breaks(pt, level, e, to, same)) {
		const uint64_t mask = nest_span_mask(f, level);

		e = nest_exchange(p, pt->absent[level]);
		nest_sync_entries(pt, p, 1);
		nest_flush_now(pt, at->off & ~mask, at->off | mask, level,
			       from_kind == NEST_PTE_LEAF);
		nest_store(p, to);
		/* What was invalid for that moment may be remembered. */
		*flushed = !nest_fresh_flush(f, pt->features);
	} else {
		e = nest_exchange(p, to);
	}
	nest_sync_entries(pt, p, 1);
	return e;
}

void nest_replace_table(struct nest_gather *g, const struct nest_at *at, nest_pte_t to, bool same,
			const uint64_t *keep)
{
	const struct nest_fmt *f = nest_fmt_of(g->pt);
	const uint64_t first = at->off & ~nest_span_mask(f, at->level);
	bool flushed = false;

	(void)nest_change(g->pt, at, to, same, &flushed);
	if (!flushed)
		nest_gather_range(g, first, first | nest_span_mask(f, at->level), at->level);
	nest_gather_table(g, f->table_pa(at->e), at->level - 1, first, keep);
}

static nest_pte_t add_status(const struct nest_pt *pt, unsigned level, nest_pte_t e, nest_attr_t ad)
{
	return nest_fmt_of(pt)->set_ad(pt->features, level, e, ad & AD);
}

nest_pte_t nest_keep_ad(const struct nest_pt *pt, unsigned level, nest_pte_t to, nest_pte_t from)
{
	return add_status(pt, level, to, nest_leaf_attr(pt, level, from));
}

/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
nest_pte_t nest_keep_table_ad(const struct nest_request *rq, unsigned level, uint64_t off,
			      nest_pte_t to, nest_pa_t table)
{
	const struct nest_pt *pt = rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const nest_pte_t *t = nest_va(pt, table);

	for (uint64_t i = 0; i < NEST_BIT(f->index_bits);
	     i++, off += nest_span_mask(f, level) + 1) {
		const nest_pte_t e = nest_load(&t[i]);
		const enum nest_pte_kind kind = nest_kind(f, pt, level, e);
		nest_attr_t ad = AD;

		/* Nothing more to learn. */
		if (add_status(pt, level + 1, to, AD) == to)
			break;
		if (kind == NEST_PTE_TABLE)
			to = nest_keep_table_ad(rq, level - 1, off, to, f->table_pa(e));
		if (kind != NEST_PTE_LEAF || nest_entry_pa(pt, level, off, e) != off + rq->delta)
			continue;
		/* Hardware may set more until the flush: too much is safe, too little is not. */
		if (!nest_hw_updates(f, pt->features))
			ad = nest_leaf_attr(pt, level, e);
		to = add_status(pt, level + 1, to, ad);
	}
	return to;
}

/* What of accessed and dirty `now` has and `before` had not. */
static nest_attr_t gained(const struct nest_pt *pt, unsigned level, nest_pte_t now,
			  nest_pte_t before)
{
	return nest_leaf_attr(pt, level, now) & ~nest_leaf_attr(pt, level, before) & AD;
}

static void add_to_live(const struct nest_pt *pt, nest_pte_t *p, unsigned level, nest_attr_t ad)
{
	nest_pte_t e = nest_load(p);

	while (!nest_cas(p, &e, add_status(pt, level, e, ad)))
		;
}

void nest_carry_ad(struct nest_pt *pt, nest_pte_t *p, unsigned level, nest_pte_t was,
		   nest_pte_t before)
{
	add_to_live(pt, p, level, gained(pt, level, was, before));
}

int nest_first_page(struct nest_pt *pt, uint64_t off, nest_pte_t leaf)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_pte_t *p, *t, e, to;
	nest_pa_t table;
	int err;

	if (nest_fresh_flush(f, pt->features) || pt->reserve || pt->top == 0 ||
	    nest_walk_to(f, pt, off, 1, &p, &e) != 1 || e != pt->absent[1])
		return NEST_SLOW;
	err = nest_alloc(pt, nest_table_size(pt), &table);
	if (err)
		return err;
	t = nest_va(pt, table);
	nest_fill_same(t, NEST_BIT(f->index_bits), pt->absent[0]);
	t[nest_index(f, pt, 0, off)] = leaf;
	nest_sync_entries(pt, t, NEST_BIT(f->index_bits));
	to = f->table(pt->features, table);
	if (!nest_is_shared(pt)) {
		nest_store(p, to);
	} else if (!nest_cas(p, &e, to)) {
		/* Nobody has seen it. */
		pt->host->free(pt->ctx, table, (size_t)nest_table_size(pt));
		return NEST_SLOW;
	}
	nest_sync_entries(pt, p, 1);
	nest_count_tables(pt, 1);
	return NEST_OK;
}

/* What a map puts over live leaves: n from `at` on. */
struct replacement {
	const struct nest_request *rq;
	const struct nest_at *at;
	uint64_t n;
	nest_pte_t proto;
};

/* The k-th of them. */
static nest_pte_t new_leaf(const struct replacement *r, uint64_t k)
{
	const struct nest_at *at = r->at;
	const struct nest_fmt *f = nest_fmt_of(r->rq->gather->pt);
	const uint64_t off = at->off + (k << nest_shift(f, at->level));
	uint64_t head, body = nest_groups(f, r->rq, at, r->n, &head);
	nest_pte_t e = r->proto | f->pa_bits(at->level, off + r->rq->delta);

	return k - head < body ? f->contig(at->level, e) : e;
}

/* Is the frame that the leaf at->e maps the one that the map puts there? */
static bool stays(const struct nest_request *rq, const struct nest_at *at)
{
	return nest_entry_pa(rq->gather->pt, at->level, at->off, at->e) == at->off + rq->delta;
}

/* What is accessed and dirty of the leaf, or group, that begins there, if its frame stays. */
static nest_attr_t kept_status(const struct nest_request *rq, const struct nest_at *at)
{
	const struct nest_pt *pt = rq->gather->pt;

	if (!nest_fmt_of(pt)->is_leaf(at->level, at->e) || !stays(rq, at))
		return 0;
	return nest_group_status(pt, at->t, at->i, at->level);
}

/* A leaf, or a whole contiguous group that begins there. */
static uint64_t members(const struct nest_pt *pt, const struct nest_at *at)
{
	if (!nest_is_contig(pt, at->level, at->e))
		return 1;
	return NEST_BIT(nest_contig_shift(nest_fmt_of(pt), pt->features, at->level));
}

/* It is gone from its place, with these accessed and dirty: report it, if somebody asks. */
static void gather_unit(struct nest_gather *g, const struct nest_at *at, nest_attr_t status)
{
	const struct nest_pt *pt = g->pt;

	if (g->release)
		nest_gather_leaves(g, at->level, at->off,
				   members(pt, at) << nest_shift(nest_fmt_of(pt), at->level),
				   nest_entry_pa(pt, at->level, at->off, at->e),
				   nest_leaf_attr(pt, at->level, at->e) | status,
				   nest_is_contig(pt, at->level, at->e));
}

/*
 * Put absent entries over the leaf or group. A group has one accessed and one dirty state,
 * whichever member hardware has set it in: returns that of all.
 */
static nest_attr_t take_unit(struct nest_pt *pt, const struct nest_at *at)
{
	const uint64_t n = members(pt, at);
	nest_pte_t *t = &at->t[at->i];
	nest_attr_t status = 0;

	for (uint64_t m = 0; m < n; m++) {
		const nest_pte_t e = nest_exchange(&t[m], pt->absent[at->level]);

		status |= nest_leaf_attr(pt, at->level, e) & AD;
	}
	nest_sync_entries(pt, t, n);
	return status;
}

/* Put the new leaves from the k-th on over it. Of a frame that stays, they are as accessed. */
static nest_attr_t swap_unit(struct nest_pt *pt, const struct nest_at *at,
			     const struct replacement *by, uint64_t k)
{
	const uint64_t n = members(pt, at);
	const bool kept = nest_fmt_of(pt)->is_leaf(at->level, at->e) && stays(by->rq, at);
	const nest_attr_t known = kept ? nest_group_status(pt, at->t, at->i, at->level) : 0;
	nest_pte_t *t = &at->t[at->i];
	nest_attr_t status = 0;

	for (uint64_t m = 0; m < n; m++) {
		const nest_pte_t to = add_status(pt, at->level, new_leaf(by, k + m), known);

		status |= nest_leaf_attr(pt, at->level, nest_exchange(&t[m], to)) & AD;
	}
	for (uint64_t m = 0; m < n && known != status && kept; m++)
		add_to_live(pt, &t[m], at->level, status);
	nest_sync_entries(pt, t, n);
	return status;
}

uint64_t nest_remove_leaf(struct nest_gather *g, const struct nest_at *at)
{
	gather_unit(g, at, take_unit(g->pt, at));
	return members(g->pt, at);
}

nest_attr_t nest_group_status(const struct nest_pt *pt, const nest_pte_t *t, uint64_t i,
			      unsigned level)
{
	uint64_t n = 1;
	nest_attr_t ad = 0;

	if (nest_is_contig(pt, level, nest_load(&t[i])))
		n <<= nest_contig_shift(nest_fmt_of(pt), pt->features, level);
	i &= ~(n - 1);
	for (uint64_t m = 0; m < n; m++)
		ad |= nest_leaf_attr(pt, level, nest_load(&t[i + m])) & AD;
	return ad;
}

/* The place of the k-th entry from `at` on. */
static struct nest_at at_entry(const struct nest_pt *pt, const struct nest_at *at, uint64_t k)
{
	struct nest_at one = *at;

	one.i += k;
	one.off += k << nest_shift(nest_fmt_of(pt), at->level);
	one.e = nest_load(&one.t[one.i]);
	return one;
}

/*
 * Make the live leaves among the n entries from `at` on invalid, and flush. Returns accessed and
 * dirty of all, for a map (or NULL) those whose frames stay.
 */
static nest_attr_t break_leaves(struct nest_gather *g, const struct nest_at *at, uint64_t n,
				const struct nest_request *map)
{
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_attr_t ad = 0;

	for (uint64_t k = 0, step; k < n; k += step) {
		const struct nest_at one = at_entry(pt, at, k);
		nest_attr_t status;

		step = 1;
		if (!f->is_leaf(at->level, one.e))
			continue;
		step = members(pt, &one);
		status = take_unit(pt, &one);
		if (map && !stays(map, &one))
			gather_unit(g, &one, status);
		else
			ad |= status;
	}
	nest_flush_now(pt, at->off, at->off + (n << nest_shift(f, at->level)) - 1, at->level, true);
	return ad;
}

/* Does changing the members of a group one after the other need them all invalid in between? */
static bool group_breaks(const struct nest_pt *pt, unsigned level, nest_pte_t e, bool same)
{
	const struct nest_fmt *f = nest_fmt_of(pt);

	return nest_breaks(pt, level, f->contig(level, e), f->uncontig(level, e, 0), same);
}

void nest_rewrite_group(struct nest_gather *g, const struct nest_at *in, nest_attr_t set,
			nest_attr_t clear, bool contiguous)
{
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const unsigned level = in->level;
	const uint64_t n = (uint64_t)1 << nest_contig_shift(f, pt->features, level);
	const uint64_t size = n << nest_shift(f, level);
	nest_pte_t *t = &in->t[in->i & ~(n - 1)], to;
	const nest_pte_t first = nest_load(t);
	const struct nest_at at = { .t = in->t,
				    .i = in->i & ~(n - 1),
				    .off = in->off & ~(size - 1),
				    .level = level,
				    .e = first };
	const nest_pa_t pa = nest_entry_pa(pt, level, at.off, first);
	nest_attr_t ad, attr, seen;
	bool broken, changes = false;

	/* By words: attributes may have two names (NEST_MT_UC and NEST_MT_DEVICE_STRICT on Arm). */
	for (uint64_t k = 0; k < n; k++) {
		nest_pte_t e = nest_load(&t[k]);

		if (nest_recode(pt, level, e, set, clear, &to))
			return; /* the first pass has built the same */
		changes |= e != (nest_is_contig(pt, level, e) ? f->contig(level, to) : to);
	}
	if (!changes && contiguous == nest_is_contig(pt, level, first))
		return;
	ad = nest_group_status(pt, at.t, at.i, level);
	attr = nest_new_attr(nest_leaf_attr(pt, level, first) | ad, set, clear);
	if (nest_build(pt, level, pa, attr, &to))
		return; /* the first pass has built the same */
	broken = group_breaks(pt, level, to, !(clear & NEST_MT_MASK));
	if (broken)
		ad |= break_leaves(g, &at, n, NULL);
	/* Until nothing new has been set meanwhile; each turn adds one of two bits. */
	do {
		seen = ad;
		attr = nest_new_attr(nest_leaf_attr(pt, level, first) | ad, set, clear);
		for (uint64_t k = 0; k < n; k++) {
			if (nest_build(pt, level, pa + (k << nest_shift(f, level)), attr, &to))
				return;
			to = nest_exchange(&t[k], contiguous ? f->contig(level, to) : to);
			if (f->is_leaf(level, to))
				ad |= nest_leaf_attr(pt, level, to) & AD;
		}
		ad &= ~clear;
	} while (ad & ~seen);
	nest_sync_entries(pt, t, n);
	if (!broken || nest_fresh_flush(f, pt->features))
		nest_gather_range(g, at.off, at.off + size - 1, level);
}

/* A group that is cut by the n entries from `at` on keeps its other members. */
static void open_cut_groups(struct nest_gather *g, const struct nest_at *at, uint64_t n)
{
	const struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const uint64_t mask = NEST_BIT(nest_contig_shift(f, pt->features, at->level)) - 1;
	struct nest_at one = at_entry(pt, at, 0);

	if ((one.i & mask) && nest_is_contig(pt, at->level, one.e))
		nest_rewrite_group(g, &one, 0, 0, false);
	one = at_entry(pt, at, n - 1);
	if (((one.i + 1) & mask) && nest_is_contig(pt, at->level, one.e))
		nest_rewrite_group(g, &one, 0, 0, false);
}

bool nest_replace_leaves(const struct nest_request *rq, const struct nest_at *at, uint64_t n,
			 nest_pte_t *proto)
{
	struct nest_gather *g = rq->gather;
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const unsigned level = at->level;
	const uint64_t last = at->off + (n << nest_shift(f, level)) - 1;
	const struct replacement by = { .rq = rq, .at = at, .n = n, .proto = *proto };
	bool any = false, needs_break = false, changed = false;

	open_cut_groups(g, at, n);
	for (uint64_t k = 0; k < n; k++) {
		const nest_pte_t e = nest_load(&at->t[at->i + k]), to = new_leaf(&by, k);

		if (!f->is_leaf(level, e))
			continue;
		any = true;
		needs_break |= e != to && (nest_breaks(pt, level, e, to, false) ||
					   (nest_is_contig(pt, level, e) &&
					    group_breaks(pt, level, e, false)));
	}
	/* It is not kept for each page: too much is safe, too little is not. */
	if (needs_break)
		*proto = add_status(pt, level, *proto, break_leaves(g, at, n, rq));
	if (!any || needs_break)
		return false;
	for (uint64_t k = 0, step; k < n; k += step) {
		const struct nest_at one = at_entry(pt, at, k);
		const bool leaf = f->is_leaf(level, one.e);
		const nest_attr_t kept = kept_status(rq, &one);
		nest_attr_t status;
		uint64_t same = 0;

		step = members(pt, &one);
		while (same < step && nest_load(&one.t[one.i + same]) ==
					      add_status(pt, level, new_leaf(&by, k + same), kept))
			same++;
		if (same == step)
			continue;
		changed |= leaf || nest_fresh_flush(f, pt->features);
		status = swap_unit(pt, &one, &by, k);
		if (leaf && !stays(rq, &one))
			gather_unit(g, &one, status);
	}
	if (changed) {
		nest_gather_range(g, at->off, last, level);
		nest_gather_range(g, at->off, last, nest_cached_level(f, pt->features, level));
	}
	return true;
}
