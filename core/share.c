/* SPDX-License-Identifier: MIT */
/*
 * Share: top-level entries of one table that lead to tables of another.
 */
#include "core/operate.h"

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
	pt->generation++;
	nest_set_quick(pt);
	return NEST_OK;
}

static void undo_root_flags(struct nest_pt *pt, bool made)
{
	if (!made)
		return;
	pt->host->free(pt->ctx, pt->pinned, (size_t)nest_table_size(pt));
	pt->pinned = NEST_PA_NONE;
	nest_set_quick(pt);
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
	const nest_pa_t table = nest_take(src, spare);
	nest_pte_t *t = nest_va(src, table);
	struct nest_at at = { .t = nest_va(src, src->root), .i = i, .level = src->top };

	at.off = i << nest_shift(f, src->top);
	at.stop = at.off | nest_span_mask(f, src->top);
	if (nest_is_contig(src, src->top, nest_load(&at.t[i])))
		nest_rewrite_group(g, &at, 0, 0, false);
	do {
		at.e = nest_load(&at.t[i]);
		for (uint64_t k = 0; k < (uint64_t)1 << f->index_bits; k++)
			t[k] = nest_derive(src, src->top - 1u, at.e, k);
		nest_sync_entries(src, t, (uint64_t)1 << f->index_bits);
	} while (!nest_link(g, &at, f->table(src->features, table), true));
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
	g.writes_only = false;
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
