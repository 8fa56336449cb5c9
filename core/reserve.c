/* SPDX-License-Identifier: MIT */
/*
 * Where tables come from and go to: the host's allocator, an embedder's reserve, and the host's
 * grace period.
 *
 * Spare tables are chained through their own first word. A table that has been published is never
 * written for that purpose before its flush; see nest_free_table().
 */
#include "core/internal.h"

static void push(struct nest_pt *pt, struct nest_reserve *r, nest_pa_t table)
{
	*(nest_pa_t *)nest_va(pt, table) = r->head;
	r->head = table;
	r->count++;
}

static nest_pa_t pop(struct nest_pt *pt, struct nest_reserve *r)
{
	nest_pa_t table = r->head;

	r->head = *(nest_pa_t *)nest_va(pt, table);
	r->count--;
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

static int fill(struct nest_pt *pt, struct nest_reserve *r, uint64_t count)
{
	while (r->count < count) {
		nest_pa_t table;
		int err = nest_alloc(pt, nest_table_size(pt), &table);

		if (err)
			return err;
		push(pt, r, table);
	}
	return NEST_OK;
}

static void drain(struct nest_pt *pt, struct nest_reserve *r)
{
	while (r->count)
		pt->host->free(pt->ctx, pop(pt, r), (size_t)nest_table_size(pt));
}

int nest_prepare(struct nest_pt *pt, struct nest_reserve *r, uint64_t n)
{
	uint64_t have = pt->reserve ? pt->reserve->count : 0;
	int err;

	nest_reserve_init(r);
	err = n > have ? fill(pt, r, n - have) : NEST_OK;
	if (err)
		drain(pt, r);
	return err;
}

nest_pa_t nest_take(struct nest_pt *pt, struct nest_reserve *r)
{
	pt->nr_tables++;
	return pop(pt, pt->reserve && pt->reserve->count ? pt->reserve : r);
}

void nest_unprepare(struct nest_pt *pt, struct nest_reserve *r)
{
	drain(pt, r);
}

/*
 * A table in its grace period may still be read by queries, but by no walker. It holds what is
 * needed to free it in its first entries, so that a list needs no memory; a query that meets such a
 * word begins again at the root, and elsewhere in the table still finds what was mapped.
 */
enum { LIMBO_HOST = 0, LIMBO_CTX = 2, LIMBO_PA = 4, LIMBO_SIZE = 6, LIMBO_WORDS = 8 };

static uint64_t limbo_value(const nest_pte_t *t, unsigned i)
{
	return nest_soft_value(t[i]) | nest_soft_value(t[i + 1]) << 32;
}

static void limbo_end(void *arg)
{
	const nest_pte_t *t = arg;
	const struct nest_host *host = (const struct nest_host *)(uintptr_t)limbo_value(t,
											LIMBO_HOST);

	host->free((void *)(uintptr_t)limbo_value(t, LIMBO_CTX), limbo_value(t, LIMBO_PA),
		   (size_t)limbo_value(t, LIMBO_SIZE));
}

/* Let the host have it when nobody reads it any more. */
static void defer_free(struct nest_pt *pt, nest_pa_t table, unsigned level)
{
	const uint64_t word[LIMBO_WORDS] = { [LIMBO_HOST] = (uintptr_t)pt->host,
					     [LIMBO_CTX] = (uintptr_t)pt->ctx,
					     [LIMBO_PA] = table,
					     [LIMBO_SIZE] = nest_table_size(pt) };
	nest_pte_t *t = nest_va(pt, table);

	for (unsigned i = 0; i < LIMBO_WORDS; i++) {
		uint64_t half = (uint32_t)(i % 2 ? word[i - 1] >> 32 : word[i]);

		nest_store(&t[i], nest_soft_word(NEST_SOFT_LIMBO, half) |
					  pt->format->fmt->soft_bits(pt->features, level));
	}
	pt->host->defer(pt->ctx, limbo_end, t);
}

void nest_free_table(struct nest_pt *pt, nest_pa_t table, unsigned level)
{
	pt->nr_tables--;
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
	return fill(pt, r, count);
}

void nest_reserve_drain(struct nest_reserve *r, struct nest_pt *pt)
{
	if (r && nest_is_live(pt))
		drain(pt, r);
}

void nest_pt_use_reserve(struct nest_pt *pt, struct nest_reserve *r)
{
	if (nest_is_live(pt))
		pt->reserve = r;
}
