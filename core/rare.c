/* SPDX-License-Identifier: MIT */
/*
 * Operations that are not worth a specialised copy of the engine: mark and split run the same
 * template with a run-time descriptor; merge and share have their own passes.
 */
#include "core/engine.h"

int nest_operate_any(struct nest_pt *pt, const struct nest_request *rq)
{
	if (NEST_ENTRYWISE)
		return nest_operate_shared(pt, rq);
	return nest_operate(nest_fmt_of(pt), pt, rq, rq->op);
}

int nest_query_any(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out)
{
	return nest_lookup(nest_fmt_of(pt), pt, ia, out);
}

#if NEST_SMALL
void nest_drop_any(struct nest_pt *pt, struct nest_gather *g, const struct nest_gather_item *item,
		   nest_pa_t table, unsigned level, uint64_t off)
{
	nest_drop(nest_fmt_of(pt), pt, NEST_ENTRYWISE ? NULL : g, item, table, level, off);
}
#endif

/* ---- Merge ---- */

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

/* ---- Share ---- */

/* Two bits a root entry: linked with another table; and owned by that one. */
enum { PINNED = 1, BORROWED = 2 };

NEST_APART static bool root_flag(const struct nest_pt *pt, uint64_t i, unsigned flag)
{
	const uint8_t *map;

	if (pt->pinned == NEST_PA_NONE)
		return false;
	map = nest_va(pt, pt->pinned);
	return ((unsigned)map[i / 4] >> (i % 4 * 2) & flag) != 0;
}

static void set_root_flags(struct nest_pt *pt, uint64_t i, unsigned flags)
{
	uint8_t *map = nest_va(pt, pt->pinned);

	map[i / 4] = (uint8_t)(map[i / 4] | flags << (i % 4 * 2));
}

bool nest_is_pinned(const struct nest_pt *pt, uint64_t i)
{
	return root_flag(pt, i, PINNED);
}

bool nest_is_borrowed(const struct nest_pt *pt, uint64_t i)
{
	return root_flag(pt, i, BORROWED);
}

bool nest_range_is_borrowed(const struct nest_pt *pt, const struct nest_request *rq)
{
	const unsigned shift = nest_shift(nest_fmt_of(pt), pt->top);

	if (pt->pinned == NEST_PA_NONE)
		return false;
	for (uint64_t i = rq->first >> shift; i <= rq->last >> shift; i++) {
		if (nest_is_borrowed(pt, i))
			return true;
	}
	return false;
}

/* Make the map of root flags where there is none. *made: undo it when the operation fails. */
static int need_root_flags(struct nest_pt *pt, bool *made)
{
	struct nest_reserve one;
	uint64_t *map;
	int err;

	*made = false;
	if (pt->pinned != NEST_PA_NONE)
		return NEST_OK;
	err = nest_prepare(pt, &one, 1);
	if (err)
		return err;
	pt->pinned = nest_take(pt, &one);
	pt->nr_tables--; /* it is none */
	map = nest_va(pt, pt->pinned);
	for (uint64_t i = 0; i < nest_table_size(pt) / sizeof(*map); i++)
		map[i] = 0;
	*made = true;
	return NEST_OK;
}

static void undo_root_flags(struct nest_pt *pt, bool made)
{
	if (!made)
		return;
	pt->host->free(pt->ctx, pt->pinned, (size_t)nest_table_size(pt));
	pt->pinned = NEST_PA_NONE;
}

static bool same_geometry(const struct nest_pt *a, const struct nest_pt *b)
{
	return a->format == b->format && a->ia_bits == b->ia_bits && a->oa_bits == b->oa_bits &&
	       a->features == b->features && a->flags == b->flags && a->host == b->host;
}

/* Everything that can fail. *need: tables to be made in src. */
static int share_check(struct nest_pt *dst, struct nest_pt *src, uint64_t a, uint64_t b,
		       uint64_t *need)
{
	const struct nest_fmt *f = nest_fmt_of(src);
	const nest_pte_t *to = nest_va(dst, dst->root), *from = nest_va(src, src->root);

	*need = 0;
	for (uint64_t i = a; i <= b; i++) {
		if (nest_load(&to[i]) != dst->absent[dst->top])
			return NEST_E_MAPPED;
		if (nest_is_borrowed(src, i))
			return NEST_E_DENIED;
		*need += nest_kind(f, src, src->top, nest_load(&from[i])) != NEST_PTE_TABLE;
	}
	return NEST_OK;
}

/* A table in src's root entry i, standing for what is there: nothing, a mark or a block. */
static void make_root_table(struct nest_pt *src, struct nest_gather *g, struct nest_reserve *spare,
			    uint64_t i)
{
	const struct nest_fmt *f = nest_fmt_of(src);
	nest_pte_t *root = nest_va(src, src->root);
	nest_pa_t table = nest_take(src, spare);
	uint64_t first = i << nest_shift(f, src->top);
	struct nest_request rq = { .gather = g, .first = first };
	nest_pte_t old, *t = nest_va(src, table);

	rq.last = first | nest_span_mask(f, src->top);
	if (nest_is_contig(src, src->top, nest_load(&root[i])))
		nest_rewrite_group(g, root, i, src->top, first, 0, 0, false);
	old = nest_load(&root[i]);
	for (uint64_t k = 0; k < (uint64_t)1 << f->index_bits; k++)
		t[k] = nest_derive(src, src->top - 1u, old, k);
	nest_link(&rq, root, i, src->top, first, table, old, true);
}

int nest_pt_share(struct nest_pt *dst, struct nest_pt *src, nest_ia_t ia, uint64_t size)
{
	struct nest_reserve spare;
	struct nest_gather g;
	nest_pte_t *to, *from;
	uint64_t first, last, a, b, need;
	bool dst_made = false, src_made = false;
	int err;

	if (!nest_is_live(dst) || !nest_is_live(src) || dst == src || !same_geometry(dst, src))
		return NEST_E_INVAL;
	err = nest_range(src, ia, size, &first, &last);
	if (err)
		return err;
	if ((first | size) & nest_span_mask(nest_fmt_of(src), src->top))
		return NEST_E_ALIGN;
	if (src->top == 0 || nest_is_shared(src) ||
	    (dst->lent[dst->top] != dst->absent[dst->top] &&
	     dst->lent[dst->top] != src->absent[src->top]))
		return NEST_E_UNSUPPORTED;
	a = first >> nest_shift(nest_fmt_of(src), src->top);
	b = last >> nest_shift(nest_fmt_of(src), src->top);
	err = share_check(dst, src, a, b, &need);
	if (!err)
		err = need_root_flags(dst, &dst_made);
	if (!err)
		err = need_root_flags(src, &src_made);
	if (!err)
		err = nest_prepare(src, &spare, need);
	if (err) {
		undo_root_flags(dst, dst_made);
		undo_root_flags(src, src_made);
		return err;
	}

	to = nest_va(dst, dst->root);
	from = nest_va(src, src->root);
	nest_gather_init(&g, src);
	for (uint64_t i = a; i <= b; i++) {
		if (nest_kind(nest_fmt_of(src), src, src->top, nest_load(&from[i])) !=
		    NEST_PTE_TABLE)
			make_root_table(src, &g, &spare, i);
		set_root_flags(src, i, PINNED);
		set_root_flags(dst, i, PINNED | BORROWED);
	}
	nest_unprepare(src, &spare);
	nest_gather_sync(&g);
	for (unsigned l = 0; l <= dst->top; l++)
		dst->lent[l] = src->absent[l];
	for (uint64_t i = a; i <= b; i++)
		nest_store(&to[i], nest_load(&from[i]));
	nest_sync_entries(dst, &to[a], b - a + 1);
	if (nest_fresh_flush(nest_fmt_of(dst), dst->features))
		nest_flush_now(dst, first, last, dst->top, false);
	return NEST_OK;
}
