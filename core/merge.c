/* SPDX-License-Identifier: MIT */
/*
 * Merge: one larger page or contiguous group in place of a run of pages.
 */
#include "core/operate.h"
#include "core/passes.h"

/*
 * Do the n leaves from t[i] on map consecutive frames, the first aligned to all of them together,
 * alike but for accessed and dirty? Then *attr is what one leaf for all has and *pa where it leads.
 */
static bool is_run(const struct nest_pt *pt, const nest_pte_t *t, uint64_t i, uint64_t n,
		   unsigned level, uint64_t off, nest_pa_t *pa, nest_attr_t *attr)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const nest_attr_t ad = NEST_ACCESSED | NEST_DIRTY;
	uint64_t size = nest_span_mask(f, level) + 1;
	nest_attr_t any = 0, same = 0;

	for (uint64_t k = 0; k < n; k++) {
		nest_pte_t e = nest_load(&t[i + k]);
		nest_attr_t a;

		if (!f->is_leaf(level, e) || f->attr(pt->features, level, e, &a) != NEST_OK)
			return false;
		if (k == 0) {
			*pa = nest_entry_pa(pt, level, off, e);
			same = a & ~ad;
		}
		if ((a & ~ad) != same ||
		    nest_entry_pa(pt, level, off + k * size, e) != *pa + k * size)
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
		uint64_t i = nest_index(f, pt, level, off);

		if (!nest_is_contig(pt, level, nest_load(&t[i])) &&
		    is_run(pt, t, i, (uint64_t)1 << cs, level, off, &pa, &attr))
			nest_rewrite_group(rq->gather, t, i, level, off, 0, 0, true);
	}
}

/* Put one leaf in place of the table that t[i] points to, if all it holds is one run. */
static bool fold(const struct nest_request *rq, nest_pte_t *t, uint64_t i, unsigned level,
		 uint64_t off, nest_pa_t child)
{
	struct nest_pt *pt = rq->gather->pt;
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_attr_t attr;
	nest_pte_t leaf;
	nest_pa_t pa;
	uint64_t delta;
	bool flushed;

	if (level > pt->max_leaf || !nest_may_detach(pt, level, i) ||
	    !is_run(pt, nest_va(pt, child), 0, (uint64_t)1 << f->index_bits, level - 1, off, &pa,
		    &attr) ||
	    f->leaf(pt->features, level, attr, &leaf) != NEST_OK)
		return false;
	delta = pa - off;
	(void)nest_change(pt, t, i, level, off, leaf | f->pa_bits(level, pa), true, &flushed);
	if (!flushed)
		nest_gather_range(rq->gather, off, off | nest_span_mask(f, level), level);
	nest_gather_table(rq->gather, child, level - 1, off, &delta);
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
		uint64_t i = nest_index(f, pt, level, off);
		nest_pte_t e = nest_load(&t[i]);

		stop = (off | mask) < last ? off | mask : last;
		if (nest_kind(f, pt, level, e) == NEST_PTE_TABLE) {
			nest_pte_t *child = nest_va(pt, f->table_pa(e));

			merge_below(rq, child, level - 1, off, stop);
			if (stop - off != mask || !fold(rq, t, i, level, off, f->table_pa(e)))
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
