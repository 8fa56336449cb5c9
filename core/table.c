/* SPDX-License-Identifier: MIT */
/*
 * Where tables come from and go to: the host's allocator, an embedder's reserve, and the host's
 * grace period.
 *
 * Spare tables are chained through their own first word. A table that has been published is never
 * written for that purpose before its flush; see nest_free_table().
 */
#include "core/table.h"

#if NEST_SMALL
#include "core/table_inline.h"
#endif

static void push(struct nest_pt *pt, struct nest_reserve *r, nest_pa_t table)
{
	*(nest_pa_t *)nest_va(pt, table) = r->head;
	r->head = table;
	r->count++;
}

static nest_pa_t pop(const struct nest_view *v, struct nest_reserve *r)
{
	nest_pa_t table = r->head;

	r->head = *(nest_pa_t *)nest_view_va(v, table);
	r->count--;
	/* Long lists are not in the cache: while this table is filled, the next one comes. */
	if (r->count && !NEST_SMALL)
		__builtin_prefetch(nest_view_va(v, r->head), 1);
	return table;
}

int nest_alloc(struct nest_pt *pt, uint64_t size, nest_pa_t *out)
{
	nest_pa_t pa = pt->host->alloc(pt->ctx, (size_t)size);

	if (pa == NEST_PA_NONE)
		return NEST_E_NOMEM;
	if (!(pa & (size - 1)) && !(pa >> pt->oa_bits)) {
		*out = pa;
		return NEST_OK;
	}
	pt->host->free(pt->ctx, pa, (size_t)size);
	return pa & (size - 1) ? NEST_E_ALIGN : NEST_E_RANGE;
}

/* The first that the host gives is the first to be taken: its neighbours are soon wanted, too. */
static int fill(struct nest_pt *pt, struct nest_reserve *r, uint64_t count)
{
	const nest_pa_t rest = r->head;
	nest_pa_t *link = &r->head;
	int err = NEST_OK;

	while (r->count < count && !err) {
		nest_pa_t table;

		err = nest_alloc(pt, nest_table_size(pt), &table);
		if (!err) {
			*link = table;
			link = nest_va(pt, table);
			r->count++;
		}
	}
	*link = rest;
	return err;
}

static void drain(const struct nest_host *host, void *ctx, size_t size, struct nest_reserve *r)
{
	const struct nest_view v = { host->to_virt, ctx, host->linear_offset };

	while (r->count)
		host->free(ctx, pop(&v, r), size);
}

int nest_prepare(struct nest_pt *pt, struct nest_reserve *r, uint64_t n)
{
	uint64_t have = pt->reserve ? pt->reserve->count : 0;
	int err;

	r->head = NEST_PA_NONE;
	r->count = 0;
	err = n > have ? fill(pt, r, n - have) : NEST_OK;
	if (err)
		nest_unprepare(pt, r);
	return err;
}

int nest_prepare_more(struct nest_pt *pt, struct nest_reserve *r, uint64_t n)
{
	return fill(pt, r, n);
}

void nest_count_tables(struct nest_pt *pt, uint64_t n)
{
	if (nest_is_shared(pt))
		(void)__atomic_fetch_add(&pt->nr_tables, n, __ATOMIC_RELAXED);
	else
		pt->nr_tables += n;
}

nest_pa_t nest_take(struct nest_pt *pt, struct nest_reserve *r)
{
	const struct nest_view v = nest_view(pt);

	nest_count_tables(pt, 1);
	return pop(&v, pt->reserve && pt->reserve->count ? pt->reserve : r);
}

void nest_put(struct nest_pt *pt, struct nest_reserve *r, nest_pa_t table)
{
	nest_count_tables(pt, -(uint64_t)1);
	push(pt, r, table);
}

void nest_unprepare(struct nest_pt *pt, struct nest_reserve *r)
{
	drain(pt->host, pt->ctx, (size_t)nest_table_size(pt), r);
}

void nest_set_quick(struct nest_pt *pt)
{
	const struct nest_host *host = pt->host;

	if (NEST_SMALL)
		return;
	pt->quick = 0;
	pt->top_shift = (uint8_t)nest_shift(nest_fmt_of(pt), pt->top);
	pt->linear_offset = host->linear_offset;
	pt->ia_outside = nest_upper_bits(pt) | (nest_table_size(pt) - 1);
	pt->pa_outside = ~(NEST_BIT(pt->oa_bits) - 1) | (nest_table_size(pt) - 1);
	if (host->to_virt || pt->top == 0)
		return;
	pt->quick = NEST_QUICK_READ;
	if (host->sync || pt->pinned != NEST_PA_NONE)
		return;
	pt->quick |= NEST_QUICK_TAKE;
	if (!host->allow)
		pt->quick |= NEST_QUICK_CHANGE;
}

bool nest_has_others(const struct nest_pt *pt, const nest_pte_t *p, uint64_t off)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const nest_pte_t absent = pt->absent[0], all = ~(nest_pte_t)0;
	const uint64_t i = nest_index(f, pt, 0, off), after = NEST_BIT(f->index_bits) - 1 - i;

	return nest_like(&p[1], after, absent, all) != after ||
	       nest_like(&p[-(ptrdiff_t)i], i, absent, all) != i;
}

/*
 * A table in its grace period may still be read by other CPUs, but by no walker. It holds what is
 * needed to free it in its first entries, so that a list needs no memory; who meets such a word
 * begins again at the root. Elsewhere in the table a query still finds what was mapped.
 */
enum { LIMBO_HOST, LIMBO_CTX, LIMBO_PA, LIMBO_SIZE };

uint64_t nest_limbo_get(const nest_pte_t *t, unsigned i)
{
	return nest_soft_value(nest_load(&t[(size_t)2 * i])) |
	       nest_soft_value(nest_load(&t[(size_t)2 * i + 1])) << 32;
}

void nest_limbo_set(nest_pte_t *t, unsigned i, uint64_t value, nest_pte_t soft_bits)
{
	nest_store(&t[(size_t)2 * i], nest_soft_word(NEST_SOFT_LIMBO, (uint32_t)value) | soft_bits);
	nest_store(&t[(size_t)2 * i + 1], nest_soft_word(NEST_SOFT_LIMBO, value >> 32) | soft_bits);
}

static void limbo_end(void *arg)
{
	uint64_t was[NEST_LIMBO_OWN];

	for (unsigned i = 0; i < NEST_LIMBO_OWN; i++)
		was[i] = nest_limbo_get(arg, i);
	((const struct nest_host *)(uintptr_t)was[LIMBO_HOST])
		->free((void *)(uintptr_t)was[LIMBO_CTX], was[LIMBO_PA], (size_t)was[LIMBO_SIZE]);
}

/* Let the host have it when nobody reads it any more. */
static void defer_free(struct nest_pt *pt, nest_pa_t table, unsigned level)
{
	const uint64_t words[NEST_LIMBO_OWN] = { (uintptr_t)pt->host, (uintptr_t)pt->ctx, table,
						 nest_table_size(pt) };
	nest_pte_t *t = nest_va(pt, table);

	for (unsigned i = 0; i < NEST_LIMBO_OWN; i++)
		nest_limbo_set(t, i, words[i],
			       nest_soft_bits(nest_fmt_of(pt), pt->features, level));
	pt->host->defer(pt->ctx, limbo_end, t);
}

void nest_free_table(struct nest_pt *pt, nest_pa_t table, unsigned level)
{
	nest_count_tables(pt, -(uint64_t)1);
	if (pt->host->defer)
		defer_free(pt, table, level);
	else
		pt->host->free(pt->ctx, table, (size_t)nest_table_size(pt));
}

void nest_reserve_init(struct nest_reserve *r)
{
	if (r)
		*r = (struct nest_reserve){ .head = NEST_PA_NONE };
}

int nest_reserve_fill(struct nest_reserve *r, struct nest_pt *pt, uint64_t count)
{
	if (!r || !nest_is_live(pt))
		return NEST_E_INVAL;
	if (r->count &&
	    (r->host != pt->host || r->ctx != pt->ctx || r->size != nest_table_size(pt)))
		return NEST_E_INVAL;
	r->host = pt->host;
	r->ctx = pt->ctx;
	r->size = nest_table_size(pt);
	return fill(pt, r, count);
}

/* The table may be gone: the reserve knows whose its tables are. */
void nest_reserve_drain(struct nest_reserve *r, struct nest_pt *pt)
{
	(void)pt;
	if (r && r->count)
		drain(r->host, r->ctx, (size_t)r->size, r);
}

void nest_pt_use_reserve(struct nest_pt *pt, struct nest_reserve *r)
{
	if (nest_is_live(pt) && !nest_is_shared(pt))
		pt->reserve = r;
}
