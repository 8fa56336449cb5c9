/* SPDX-License-Identifier: MIT */
/*
 * Changes of live entries that are too rare, or too delicate, to be inlined: break-before-make,
 * linking a table in place of a leaf, contiguous groups.
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

nest_pte_t nest_change(struct nest_pt *pt, nest_pte_t *t, uint64_t i, unsigned level, uint64_t off,
		       nest_pte_t to, bool same, bool *flushed)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_pte_t e = nest_load(&t[i]);
	enum nest_pte_kind from_kind = nest_kind(f, pt, level, e);
	enum nest_pte_kind to_kind = nest_kind(f, pt, level, to);
	bool from_valid = from_kind == NEST_PTE_LEAF || from_kind == NEST_PTE_TABLE;
	bool to_valid = to_kind == NEST_PTE_LEAF || to_kind == NEST_PTE_TABLE;

	*flushed = false;
	if (from_valid && to_valid && nest_breaks(pt, level, e, to, same)) {
		off &= ~nest_span_mask(f, level);
		e = nest_exchange(&t[i], pt->absent[level]);
		nest_sync_entries(pt, &t[i], 1);
		nest_flush_now(pt, off, off | nest_span_mask(f, level), level,
			       from_kind == NEST_PTE_LEAF);
		nest_store(&t[i], to);
		/* What was invalid for that moment may be remembered. */
		*flushed = !nest_fresh_flush(f, pt->features);
	} else {
		e = nest_exchange(&t[i], to);
	}
	nest_sync_entries(pt, &t[i], 1);
	return e;
}

/* Set accessed or dirty in every leaf of a private subtree. */
/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static void add_ad(struct nest_pt *pt, nest_pa_t table, unsigned level, nest_attr_t ad)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_pte_t *t = nest_va(pt, table);

	for (uint64_t i = 0; i < (uint64_t)1 << f->index_bits; i++) {
		enum nest_pte_kind kind = nest_kind(f, pt, level, t[i]);

		if (kind == NEST_PTE_TABLE)
			add_ad(pt, f->table_pa(t[i]), level - 1, ad);
		else if (kind == NEST_PTE_LEAF)
			t[i] = f->set_ad(pt->features, level, t[i], ad);
	}
	nest_sync_entries(pt, t, (uint64_t)1 << f->index_bits);
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

/*
 * Report what of `old`, a leaf of `level` that stood for `off` on, what has taken its place maps no
 * longer, or maps to other frames.
 */
static void report_lost(struct nest_gather *g, unsigned level, uint64_t off, nest_pte_t old)
{
	const struct nest_pt *pt = g->pt;
	const nest_pa_t pa = nest_entry_pa(pt, level, off, old);
	const nest_attr_t attr = nest_leaf_attr(pt, level, old);
	struct nest_mapping m;

	for (uint64_t d = 0; d <= nest_span_mask(nest_fmt_of(pt), level); d += m.size) {
		(void)nest_ops(pt)->query(pt, nest_off_to_ia(pt, off + d), &m);
		if (m.kind != NEST_PTE_LEAF || m.pa != pa + d)
			nest_gather_leaves(g, m.level, off + d, m.size, pa + d, attr, false);
	}
}

void nest_link(const struct nest_request *rq, nest_pte_t *t, uint64_t i, unsigned level,
	       uint64_t off, nest_pa_t child, nest_pte_t old, bool same)
{
	struct nest_gather *g = rq->gather;
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t last = off | nest_span_mask(f, level);
	nest_pte_t to = f->table(pt->features, child), was = old;

	nest_sync_entries(pt, nest_va(pt, child), (uint64_t)1 << f->index_bits);
	if (nest_kind(f, pt, level, old) != NEST_PTE_LEAF) {
		nest_store(&t[i], to);
		if (nest_fresh_flush(f, pt->features)) {
			/*
			 * A walker may have kept the invalid entry for any address below it; or,
			 * where holes are walked down to a table of nothing, only for the single
			 * pages.
			 */
			g->leaf_only = false;
			if (nest_absent_is_table(f)) {
				off = off > rq->first ? off : rq->first;
				last = last < rq->last ? last : rq->last;
			}
			nest_gather_range(g, off, last, nest_cached_level(f, pt->features, level));
		}
	} else if (nest_breaks(pt, level, old, to, same)) {
		was = nest_exchange(&t[i], pt->absent[level]);
		nest_sync_entries(pt, &t[i], 1);
		nest_flush_now(pt, off, last, level, true);
		if (was != old)
			add_ad(pt, child, level - 1, gained(pt, level, was, old));
		nest_store(&t[i], to);
	} else {
		while (!nest_cas(&t[i], &was, to))
			add_ad(pt, child, level - 1, gained(pt, level, was, old));
		nest_gather_range(g, off, last, level);
	}
	nest_sync_entries(pt, &t[i], 1);
	if (g->release && nest_kind(f, pt, level, old) == NEST_PTE_LEAF)
		report_lost(g, level, off, was);
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

/* What a map puts over live leaves. */
struct replacement {
	const struct nest_request *rq;
	uint64_t i, n; /* the run of new leaves */
	nest_pa_t pa;
	nest_pte_t proto;
};

static nest_pte_t new_leaf(const struct replacement *r, unsigned level, uint64_t k)
{
	const struct nest_pt *pt = r->rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t head, body = nest_groups(f, pt, r->rq, level, r->i, r->n, &head);
	nest_pte_t e = r->proto | f->pa_bits(level, r->pa + (k << nest_shift(f, level)));

	return k - head < body ? f->contig(level, e) : e;
}

/* Is the frame that a leaf for `off` maps the one that the map puts there? */
static bool stays(const struct nest_request *rq, unsigned level, uint64_t off, nest_pte_t e)
{
	return nest_entry_pa(rq->gather->pt, level, off, e) == off + rq->delta;
}

/* What is accessed and dirty of the leaf, or group, that begins at t[i], if its frame stays. */
static nest_attr_t kept_status(const struct nest_request *rq, const nest_pte_t *t, uint64_t i,
			       unsigned level, uint64_t off)
{
	const struct nest_pt *pt = rq->gather->pt;
	const nest_pte_t e = nest_load(&t[i]);

	if (!nest_fmt_of(pt)->is_leaf(level, e) || !stays(rq, level, off, e))
		return 0;
	return nest_group_status(pt, t, i, level);
}

/*
 * Put absent entries, or new leaves from k on, over the live leaf t[i] or the whole group that it
 * begins; only then report what is gone, if `report` says so. A group has one accessed and one
 * dirty state, whichever member hardware has set it in. Returns the entries; *ad gains accessed
 * and dirty. New leaves of the same frames, `kept`, are as accessed and dirty as the old ones.
 */
static uint64_t take_unit(struct nest_gather *g, nest_pte_t *t, uint64_t i, unsigned level,
			  uint64_t off, const struct replacement *by, uint64_t k, bool report,
			  bool kept, nest_attr_t *ad)
{
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_pte_t first = nest_load(&t[i]);
	bool contiguous = nest_is_contig(pt, level, first);
	uint64_t n = contiguous ? (uint64_t)1 << nest_contig_shift(f, pt->features, level) : 1;
	nest_pa_t pa = nest_entry_pa(pt, level, off, first);
	const nest_attr_t known = kept && by ? nest_group_status(pt, t, i, level) : 0;
	nest_attr_t status = 0;

	for (uint64_t m = 0; m < n; m++) {
		nest_pte_t to = pt->absent[level];

		if (by)
			to = add_status(pt, level, new_leaf(by, level, k + m), known);
		status |= nest_leaf_attr(pt, level, nest_exchange(&t[i + m], to)) & AD;
	}
	for (uint64_t m = 0; m < n && known != status && kept && by; m++)
		add_to_live(pt, &t[i + m], level, status);
	nest_sync_entries(pt, &t[i], n);
	*ad |= status;
	if (report && g->release)
		nest_gather_leaves(g, level, off, n << nest_shift(f, level), pa,
				   nest_leaf_attr(pt, level, first) | status, contiguous);
	return n;
}

uint64_t nest_remove_leaf(struct nest_gather *g, nest_pte_t *t, uint64_t i, unsigned level,
			  uint64_t off)
{
	nest_attr_t ad = 0;

	return take_unit(g, t, i, level, off, NULL, 0, true, false, &ad);
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

/*
 * Make the live leaves among t[i .. i + n) invalid, and flush. Returns accessed and dirty of all,
 * for a map those whose frames stay.
 */
static nest_attr_t break_leaves(struct nest_gather *g, nest_pte_t *t, uint64_t i, uint64_t n,
				unsigned level, uint64_t off, const struct nest_request *rq)
{
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_attr_t ad = 0, unused = 0;

	for (uint64_t k = 0; k < n;) {
		uint64_t at = off + (k << nest_shift(f, level));
		nest_pte_t e = nest_load(&t[i + k]);
		bool gone;

		if (!f->is_leaf(level, e)) {
			k++;
			continue;
		}
		gone = rq && !stays(rq, level, at, e);
		k += take_unit(g, t, i + k, level, at, NULL, 0, gone, false, gone ? &unused : &ad);
	}
	nest_flush_now(pt, off, off + (n << nest_shift(f, level)) - 1, level, true);
	return ad;
}

/* Does changing the members of a group one after the other need them all invalid in between? */
static bool group_breaks(const struct nest_pt *pt, unsigned level, nest_pte_t e, bool same)
{
	const struct nest_fmt *f = nest_fmt_of(pt);

	return nest_breaks(pt, level, f->contig(level, e), f->uncontig(level, e, 0), same);
}

void nest_rewrite_group(struct nest_gather *g, nest_pte_t *t, uint64_t i, unsigned level,
			uint64_t off, nest_attr_t set, nest_attr_t clear, bool contiguous)
{
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t n = (uint64_t)1 << nest_contig_shift(f, pt->features, level);
	uint64_t size = n << nest_shift(f, level);
	nest_attr_t ad, attr, seen;
	nest_pte_t first, to;
	nest_pa_t pa;
	bool broken, changes = false;

	i &= ~(n - 1);
	off &= ~(size - 1);
	first = nest_load(&t[i]);
	pa = nest_entry_pa(pt, level, off, first);
	/* By words: attributes may have two names (NEST_MT_UC and NEST_MT_DEVICE_STRICT on Arm). */
	for (uint64_t k = 0; k < n; k++) {
		nest_pte_t e = nest_load(&t[i + k]);

		if (nest_recode(pt, level, e, set, clear, &to))
			return; /* plan() has built the same */
		changes |= e != (nest_is_contig(pt, level, e) ? f->contig(level, to) : to);
	}
	if (!changes && contiguous == nest_is_contig(pt, level, first))
		return;
	ad = nest_group_status(pt, t, i, level);
	attr = nest_new_attr(nest_leaf_attr(pt, level, first) | ad, set, clear);
	if (nest_build(pt, level, pa, attr, &to))
		return; /* plan() has built the same */
	broken = group_breaks(pt, level, to, !(clear & NEST_MT_MASK));
	if (broken)
		ad |= break_leaves(g, t, i, n, level, off, NULL);
	/* Until nothing new has been set meanwhile; each turn adds one of two bits. */
	do {
		seen = ad;
		attr = nest_new_attr(nest_leaf_attr(pt, level, first) | ad, set, clear);
		for (uint64_t k = 0; k < n; k++) {
			if (nest_build(pt, level, pa + (k << nest_shift(f, level)), attr, &to))
				return;
			to = nest_exchange(&t[i + k], contiguous ? f->contig(level, to) : to);
			if (f->is_leaf(level, to))
				ad |= nest_leaf_attr(pt, level, to) & AD;
		}
		ad &= ~clear;
	} while (ad & ~seen);
	nest_sync_entries(pt, &t[i], n);
	if (!broken || nest_fresh_flush(f, pt->features))
		nest_gather_range(g, off, off + size - 1, level);
}

bool nest_replace_leaves(const struct nest_request *rq, nest_pte_t *t, uint64_t i, uint64_t n,
			 unsigned level, uint64_t off, nest_pte_t *proto)
{
	struct nest_gather *g = rq->gather;
	struct nest_pt *pt = g->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t members = (uint64_t)1 << nest_contig_shift(f, pt->features, level);
	uint64_t last = off + (n << nest_shift(f, level)) - 1;
	const struct replacement by = {
		.rq = rq, .i = i, .n = n, .pa = off + rq->delta, .proto = *proto
	};
	bool any = false, needs_break = false, changed = false;
	nest_attr_t ad = 0;

	/* Groups that reach beyond the run keep their other members. */
	if ((i & (members - 1)) && nest_is_contig(pt, level, nest_load(&t[i])))
		nest_rewrite_group(g, t, i, level, off, 0, 0, false);
	if (((i + n) & (members - 1)) && nest_is_contig(pt, level, nest_load(&t[i + n - 1])))
		nest_rewrite_group(g, t, i + n - 1, level, last, 0, 0, false);
	for (uint64_t k = 0; k < n; k++) {
		nest_pte_t e = nest_load(&t[i + k]);
		nest_pte_t to = new_leaf(&by, level, k);

		if (!f->is_leaf(level, e))
			continue;
		any = true;
		needs_break |= e != to && (nest_breaks(pt, level, e, to, false) ||
					   (nest_is_contig(pt, level, e) &&
					    group_breaks(pt, level, e, false)));
	}
	/* It is not kept for each page: too much is safe, too little is not. */
	if (needs_break)
		*proto = add_status(pt, level, *proto, break_leaves(g, t, i, n, level, off, rq));
	if (!any || needs_break)
		return false;
	for (uint64_t k = 0; k < n;) {
		uint64_t at = off + (k << nest_shift(f, level));
		nest_pte_t e = nest_load(&t[i + k]);
		uint64_t unit = nest_is_contig(pt, level, e) ? members : 1, same = 0;
		bool leaf = f->is_leaf(level, e);
		const nest_attr_t kept = kept_status(rq, t, i + k, level, at);

		while (same < unit &&
		       nest_load(&t[i + k + same]) ==
			       add_status(pt, level, new_leaf(&by, level, k + same), kept))
			same++;
		if (same == unit) {
			k += unit;
			continue;
		}
		changed |= leaf || nest_fresh_flush(f, pt->features);
		k += take_unit(g, t, i + k, level, at, &by, k, leaf && !stays(rq, level, at, e),
			       leaf && stays(rq, level, at, e), &ad);
	}
	if (changed) {
		nest_gather_range(g, off, last, level);
		nest_gather_range(g, off, last, nest_cached_level(f, pt->features, level));
	}
	return true;
}
