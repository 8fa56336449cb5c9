/* SPDX-License-Identifier: MIT */
/*
 * Harvest: tell which pages are dirty or accessed, and make them clean again. One pass over the
 * tables of the range, with a run-time descriptor; entries that differ only in their address are
 * decoded once.
 *
 * Keep this: a leaf is changed in place, by compare-and-exchange, to the same leaf without the one
 * status, and only after the status has been told. So whatever hardware sets is told by this call
 * or is still there for the next one. A leaf that can be written to without showing it is told
 * every time.
 */
#include "core/operate.h"

struct harvest {
	struct nest_pt *pt;
	const struct nest_request *rq;
	nest_pte_t clean; /* a word of level 0 with nothing to tell, */
	nest_pte_t alike; /* and the bits in which another has to equal it to be one too */
};

/* The bits by which a writable leaf shows that it has `which`; 0: it is not tracked. */
static nest_pte_t status_bits(const struct nest_pt *pt, nest_attr_t which)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_attr_t attr = (NEST_RW | NEST_DBM) & f->attrs;
	nest_pte_t without, with;

	if (f->leaf(pt->features, 0, attr, &without) != NEST_OK)
		attr &= ~NEST_DBM;
	if (f->leaf(pt->features, 0, attr, &without) != NEST_OK ||
	    f->leaf(pt->features, 0, attr | (which & f->attrs), &with) != NEST_OK)
		return 0;
	return without ^ with;
}

/*
 * May the leaf be written to without its entry showing it? Where a format has NEST_DBM, only pages
 * with it show. (Every leaf of a table that tracks accessed shows that.)
 */
static bool is_blind(const struct harvest *h, nest_attr_t attr)
{
	return (h->rq->clear & NEST_DIRTY) && (nest_fmt_of(h->pt)->attrs & NEST_DBM) &&
	       (attr & (NEST_W | NEST_DBM)) == NEST_W;
}

static bool is_alike(const struct harvest *h, nest_pte_t e)
{
	return !((e ^ h->clean) & h->alike);
}

/* Is there something to tell? *blind: and will be the next time. */
static bool is_marked(struct harvest *h, unsigned level, nest_pte_t e, bool *blind)
{
	if (level == 0 && is_alike(h, e))
		return false;
	if (nest_fmt_of(h->pt)->is_leaf(level, e)) {
		const nest_attr_t attr = nest_leaf_attr(h->pt, level, e);

		*blind = is_blind(h, attr);
		if (*blind || (attr & h->rq->clear))
			return true;
	}
	if (level == 0)
		h->clean = e;
	return false;
}

/* In shared mode another CPU may harvest into the same bitmap: neither loses the other's bits. */
static void add_bits(uint64_t *word, uint64_t bits, bool shared)
{
	if (shared)
		(void)__atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
	else
		*word |= bits;
}

/* Bits a .. b, inclusive. */
static void set_bits(uint64_t *bitmap, uint64_t a, uint64_t b, bool shared)
{
	for (; a / 64 < b / 64; a = (a | 63) + 1)
		add_bits(&bitmap[a / 64], ~(uint64_t)0 << a % 64, shared);
	add_bits(&bitmap[a / 64], NEST_BITS(b % 64, a % 64), shared);
}

/* What the range has of [first, last]. */
static void tell(const struct harvest *h, uint64_t first, uint64_t last)
{
	const struct nest_request *rq = h->rq;
	unsigned shift = nest_fmt_of(h->pt)->page_shift;

	if (!rq->bitmap)
		return;
	first = first > rq->first ? first - rq->first : 0;
	last = (last < rq->last ? last : rq->last) - rq->first;
	set_bits(rq->bitmap, first >> shift, last >> shift, nest_is_shared(h->pt));
}

static void clear(const struct harvest *h, nest_pte_t *p, unsigned level)
{
	const struct nest_fmt *f = nest_fmt_of(h->pt);
	nest_pte_t e = nest_load(p), to;

	do {
		/* Every format can build a leaf that is clean; one left as it is loses nothing. */
		if (!(nest_leaf_attr(h->pt, level, e) & h->rq->clear) ||
		    nest_recode(h->pt, level, e, 0, h->rq->clear, &to))
			return;
		if (nest_is_contig(h->pt, level, e))
			to = f->contig(level, to);
	} while (!nest_cas(p, &e, to));
}

/*
 * Look at entry i of a table, no pointer, which covers `off`; if it is one of a group, at the whole
 * group, which has one state, whichever member hardware has set it in. Returns the last offset that
 * has been seen to; *changed: has it been made clean?
 */
static uint64_t take(struct harvest *h, nest_pte_t *t, uint64_t i, unsigned level, uint64_t off,
		     bool *changed)
{
	const struct nest_fmt *f = nest_fmt_of(h->pt);
	const struct nest_request *rq = h->rq;
	bool contiguous = nest_is_contig(h->pt, level, nest_load(&t[i])), blind = false;
	uint64_t n = (uint64_t)1 << (contiguous ? nest_contig_shift(f, h->pt->features, level) : 0);
	uint64_t mask = (n << nest_shift(f, level)) - 1, k = 0;
	uint64_t first = off & ~mask, last = off | mask;

	i &= ~(n - 1);
	while (k < n && !is_marked(h, level, nest_load(&t[i + k]), &blind))
		k++;
	if (k == n)
		return last;
	tell(h, first, last);
	/* Of what lies outside the range nobody has been told. */
	if (blind || (rq->flags & NEST_HARVEST_KEEP) || first < rq->first || last > rq->last)
		return last;
	for (k = 0; k < n; k++)
		clear(h, &t[i + k], level);
	nest_gather_range(rq->gather, first, last, level);
	*changed = true;
	return last;
}

/*
 * The part [first, last] of a table of level 0. Alike entries are skipped, but never the first and
 * the last: a group that reaches beyond the range may be marked there.
 */
static void scan_pages(struct harvest *h, nest_pte_t *t, uint64_t first, uint64_t last)
{
	const struct nest_fmt *f = nest_fmt_of(h->pt);
	unsigned shift = nest_shift(f, 0);
	uint64_t i = nest_index(f, h->pt, 0, first), n = ((last - first) >> shift) + 1, k = 0;
	bool changed = false;

	while (k < n) {
		uint64_t stop = take(h, t, i + k, 0, first + (k << shift), &changed);

		k = (stop - first + 1) >> shift;
		/* In shared mode others store, too. */
		if (k + 1 < n && !nest_is_shared(h->pt))
			k += nest_like(&t[i + k], n - k - 1, h->clean, h->alike);
		while (k + 1 < n && is_alike(h, nest_load(&t[i + k])))
			k++;
	}
	if (changed)
		nest_sync_entries(h->pt, &t[i], n);
}

/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static void scan(struct harvest *h, nest_pte_t *t, unsigned level, uint64_t first, uint64_t last)
{
	struct nest_pt *pt = h->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t mask = nest_span_mask(f, level), a = nest_index(f, pt, level, first);
	uint64_t off = first, stop;
	bool changed = false;

	if (level == 0) {
		scan_pages(h, t, first, last);
		return;
	}
	for (;; off = stop + 1) {
		uint64_t i = nest_index(f, pt, level, off);
		nest_pte_t e = nest_load(&t[i]);

		stop = (off | mask) < last ? off | mask : last;
		if (nest_kind(f, pt, level, e) == NEST_PTE_TABLE)
			scan(h, nest_va(pt, f->table_pa(e)), level - 1, off, stop);
		else
			stop = take(h, t, i, level, off, &changed);
		if (stop >= last)
			break;
	}
	if (changed)
		nest_sync_entries(pt, &t[a], nest_index(f, pt, level, last) - a + 1);
}

int nest_operate_harvest(struct nest_pt *pt, const struct nest_request *rq)
{
	const nest_attr_t other = rq->clear ^ (NEST_ACCESSED | NEST_DIRTY);
	struct harvest h = { .pt = pt, .rq = rq, .clean = pt->absent[0] };

	if (((rq->clear & NEST_DIRTY) && !status_bits(pt, NEST_DIRTY)) ||
	    ((rq->clear & NEST_ACCESSED) && !status_bits(pt, NEST_ACCESSED)))
		return NEST_E_UNSUPPORTED;
	if (!(rq->flags & NEST_HARVEST_KEEP) && nest_range_is_borrowed(pt, rq))
		return NEST_E_DENIED;
	h.alike = ~(nest_fmt_of(pt)->pa_mask(pt->features, 0) | status_bits(pt, other));
	scan(&h, nest_va(pt, pt->root), pt->top, rq->first, rq->last);
	return NEST_OK;
}
