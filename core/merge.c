/* SPDX-License-Identifier: MIT */
/*
 * Merge: one larger page or contiguous group in place of a run of pages.
 */
#include "core/rules.h"

/*
 * Do the n leaves from `at` on map consecutive frames, the first aligned to all of them together,
 * alike but for accessed and dirty? Then *attr is what one leaf for all has and *pa where it leads.
 */
static bool is_run(const struct nest_pt *pt, const struct nest_at *at, uint64_t n, nest_pa_t *pa,
		   nest_attr_t *attr)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const unsigned level = at->level;
	const nest_attr_t ad = NEST_ACCESSED | NEST_DIRTY;
	uint64_t size = nest_span_mask(f, level) + 1;
	nest_attr_t any = 0, same = 0;

	for (uint64_t k = 0; k < n; k++) {
		nest_pte_t e = nest_load(&at->t[at->i + k]);
		nest_attr_t a;

		if (!f->is_leaf(level, e) || f->attr(pt->features, level, e, &a) != NEST_OK)
			return false;
		if (k == 0) {
			*pa = nest_entry_pa(pt, level, at->off, e);
			same = a & ~ad;
		}
		if ((a & ~ad) != same ||
		    nest_entry_pa(pt, level, at->off + k * size, e) != *pa + k * size)
			return false;
		any |= a & ad;
	}
	/* Hardware may be setting more at this moment: too much is safe, too little is not. */
	if (nest_hw_updates(f, pt->features)) {
		nest_pte_t e;

		if (f->leaf(pt->features, level, same | NEST_ACCESSED, &e) == NEST_OK)
			any |= NEST_ACCESSED;
		if ((same & NEST_W) &&
		    f->leaf(pt->features, level, same | NEST_DIRTY, &e) == NEST_OK)
			any |= NEST_DIRTY;
	}
	*attr = same | any;
	return !(*pa & (n * size - 1));
}

/* Make groups of the single leaves among the entries of one table that the range covers. */
static void make_groups(const struct nest_request *rq, nest_pte_t *t, unsigned level,
			uint64_t first, uint64_t last)
{
	struct nest_pt *pt = rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	unsigned cs = nest_contig_shift(f, pt->features, level);
	uint64_t size = (nest_span_mask(f, level) + 1) << cs;
	nest_attr_t attr;
	nest_pa_t pa;

	if (!cs)
		return;
	for (uint64_t off = (first + size - 1) & ~(size - 1); off <= last && last - off >= size - 1;
	     off += size) {
		const struct nest_at at = {
			.t = t, .i = nest_index(f, pt, level, off), .off = off, .level = level
		};

		if (!nest_is_contig(pt, level, nest_load(&t[at.i])) &&
		    is_run(pt, &at, (uint64_t)1 << cs, &pa, &attr))
			nest_rewrite_group(rq->gather, &at, 0, 0, true);
	}
}

/* Put one leaf in place of the table at `at`, if all it holds is one run. */
static bool fold(const struct nest_request *rq, const struct nest_at *at)
{
	struct nest_pt *pt = rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	const struct nest_at child = { .t = nest_va(pt, f->table_pa(at->e)),
				       .off = at->off,
				       .level = at->level - 1 };
	nest_attr_t attr;
	nest_pte_t leaf;
	nest_pa_t pa;
	uint64_t delta;

	if (at->level > pt->max_leaf || !nest_may_detach(pt, at->level, at->i) ||
	    !is_run(pt, &child, (uint64_t)1 << f->index_bits, &pa, &attr) ||
	    f->leaf(pt->features, at->level, attr, &leaf) != NEST_OK)
		return false;
	delta = pa - at->off;
	nest_replace_table(rq->gather, at, leaf | f->pa_bits(at->level, pa), true, &delta);
	return true;
}

/* The range's part of what hangs below one table, from the leaves up. */
/* NOLINTNEXTLINE(misc-no-recursion): one call per level */
static void merge_below(const struct nest_request *rq, nest_pte_t *t, unsigned level,
			uint64_t first, uint64_t last)
{
	struct nest_pt *pt = rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t mask = nest_span_mask(f, level), off = first, stop;

	if (level == 0)
		return;
	for (;; off = stop + 1) {
		struct nest_at at = { .t = t, .off = off, .level = level };

		at.i = nest_index(f, pt, level, off);
		at.e = nest_load(&t[at.i]);
		stop = (off | mask) < last ? off | mask : last;
		if (nest_kind(f, pt, level, at.e) == NEST_PTE_TABLE) {
			nest_pte_t *child = nest_va(pt, f->table_pa(at.e));

			merge_below(rq, child, level - 1, off, stop);
			if (stop - off != mask || !fold(rq, &at))
				make_groups(rq, child, level - 1, off, stop);
		}
		if (stop == last)
			return;
	}
}

int nest_operate_merge(struct nest_pt *pt, const struct nest_request *rq)
{
	if (nest_range_is_borrowed(pt, rq))
		return NEST_E_DENIED;
	merge_below(rq, nest_va(pt, pt->root), pt->top, rq->first, rq->last);
	make_groups(rq, nest_va(pt, pt->root), pt->top, rq->first, rq->last);
	return NEST_OK;
}
