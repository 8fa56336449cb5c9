/* SPDX-License-Identifier: MIT */
/*
 * Tables that hold nothing are taken out: when their last page goes, or by trim.
 *
 * In shared mode a table is frozen first: each of its entries, which are absent, is taken for good;
 * if one is not absent, all is put back, and no walk has noticed. Then nobody but the CPU that
 * froze it changes the entry above, which is invalid until the flush is over. Whoever is still on
 * the way through the table meets words that send it back to the root. The table is freed after a
 * grace period of the host's.
 */
#include "core/rules.h"

/* Does t look as if it held nothing? Entry i and its neighbours are the likeliest to be there. */
static bool looks_empty(const struct nest_pt *pt, const nest_pte_t *t, unsigned level, uint64_t i)
{
	const uint64_t n = NEST_BIT(nest_fmt_of(pt)->index_bits);
	const nest_pte_t absent = pt->absent[level], all = ~(nest_pte_t)0;
	uint64_t k = i ? i - 1 : 0;

	if (!NEST_SMALL && !nest_is_shared(pt))
		return nest_load(&t[i]) == absent && nest_load(&t[k]) == absent &&
		       nest_like(&t[i], n - i, absent, all) == n - i &&
		       nest_like(t, i, absent, all) == i;
	for (uint64_t left = n; left; left--, k++) {
		if (nest_load(&t[k & (n - 1)]) != absent)
			return false;
	}
	return true;
}

/* ---- Shared mode ---- */

/* Take all entries of a table that holds nothing, for good; false: it does, all is as before. */
static bool freeze(const struct nest_pt *pt, nest_pte_t *t, unsigned level)
{
	const uint64_t n = NEST_BIT(nest_fmt_of(pt)->index_bits);
	const nest_pte_t absent = pt->absent[level];
	uint64_t k = 0;

	for (; k < n; k++) {
		nest_pte_t e = absent;

		if (!nest_cas(&t[k], &e, pt->busy[level]))
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

void nest_take_out_frozen(struct nest_pt *pt, struct nest_at *up)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const uint64_t mask = nest_span_mask(f, up->level);

	/* Only hardware is left to change the entry, that has accessed it now. */
	while (!nest_swap(pt, up, pt->busy[up->level]))
		up->e = nest_load(&up->t[up->i]);
	nest_flush_now(pt, up->off & ~mask, up->off | mask, up->level, false);
	nest_give(pt, up, pt->absent[up->level]);
	nest_free_table(pt, f->table_pa(up->e), up->level - 1);
}

/*
 * Who finds something leaves the table to the CPU that takes that out. So a CPU stores its own
 * entry before it reads those of the others; and one that could not take all entries looks again,
 * since another may have met its words meanwhile.
 */
static bool remove_shared(struct nest_pt *pt, struct nest_at *up, nest_pte_t *t, uint64_t i)
{
	do {
		before_looking();
		if (!looks_empty(pt, t, up->level - 1, i))
			return false;
	} while (!freeze(pt, t, up->level - 1));
	nest_take_out_frozen(pt, up);
	return true;
}

/* ---- Both modes ---- */

/* Remove the table of `level` that holds `off` if nothing is in it. True: it is gone. */
static bool remove_table(struct nest_pt *pt, struct nest_gather *g, unsigned level, uint64_t off)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const uint64_t mask = nest_span_mask(f, level + 1), i = nest_index(f, pt, level, off);
	struct nest_at up = { .off = off };
	nest_pte_t *t;

	up.level = nest_walk_to(f, pt, off, level + 1, &up.t, &up.e);
	/* Something else may stand above it, or be changing. */
	if (up.level != level + 1 || nest_kind(f, pt, level + 1, up.e) != NEST_PTE_TABLE)
		return false;
	t = nest_va(pt, f->table_pa(up.e));
	if (nest_is_shared(pt))
		return remove_shared(pt, &up, t, i);
	if (!looks_empty(pt, t, level, i) ||
	    !nest_may_detach(pt, level + 1, nest_index(f, pt, level + 1, off)))
		return false;
	nest_give(pt, &up, pt->absent[level + 1]);
	nest_gather_range(g, off & ~mask, off | mask, level + 1);
	nest_gather_table(g, f->table_pa(up.e), level, off & ~mask, NULL);
	return true;
}

void nest_remove_tables(struct nest_pt *pt, struct nest_gather *g, unsigned level, uint64_t off)
{
	while (level < pt->top && remove_table(pt, g, level, off))
		level++;
}

/* Every lowest table of the range, and what becomes empty above it. */
int nest_operate_trim(struct nest_pt *pt, const struct nest_request *rq)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t off = rq->first, end;

	if (nest_range_is_borrowed(pt, rq))
		return NEST_E_DENIED;
	for (;; off = end + 1) {
		nest_pte_t *p, e;
		const unsigned level = nest_walk_to(f, pt, off, 0, &p, &e);

		end = level ? off | nest_span_mask(f, level) : nest_table_last(f, pt, 0, off);
		nest_remove_tables(pt, rq->gather, level, off);
		if (end >= rq->last)
			return NEST_OK;
	}
}
