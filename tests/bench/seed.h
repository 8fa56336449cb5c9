/* SPDX-License-Identifier: MIT */
/*
 * SEED: a page table engine as short as one can be, the way the Rust library page_table_multiarch
 * works: a loop over levels, tables made on the way and cleared, one page not checked for
 * alignment, a table never given back by an unmap, the flush a call through a pointer. It is what a
 * user would have without libnest, and a second yardstick for one page a call. The geometry is a
 * compile-time constant, as Rust's generics make it.
 */
#ifndef BENCH_SEED_H
#define BENCH_SEED_H

#include <string.h>

#include "limit.h"

/* The entry of level 0; NULL: no table, and none may or can be made. */
ALWAYS uint64_t *seed_entry(struct geo g, const struct subject *s, uint64_t ia, bool making)
{
	uint64_t *t = table_at(s->pool, s->root);

	for (unsigned level = g.levels - 1; level > 0; level--) {
		uint64_t *e = &t[index_of(g, ia, level)];

		if (*e == s->absent[level] || !*e) {
			nest_pa_t pa = making ? s->host.alloc(s->pool, (size_t)1 << g.page_shift)
					      : NEST_PA_NONE;

			if (pa == NEST_PA_NONE)
				return NULL;
			memset(table_at(s->pool, pa), 0, (size_t)1 << g.page_shift);
			*e = s->table | address_bits(g, pa);
		} else if (level <= s->huge && (*e & s->leaf[level]) == s->leaf[level]) {
			return NULL; /* a huge page */
		}
		t = table_at(s->pool, address_in(g, *e));
	}
	return &t[index_of(g, ia, 0)];
}

ALWAYS void seed_flush(struct geo g, const struct subject *s, uint64_t ia)
{
	const struct nest_flush what = { .ia = ia, .size = (uint64_t)1 << g.page_shift };

	s->host.tlb_flush(s->pool, &what);
}

ALWAYS int seed_map(struct geo g, const struct subject *s, uint64_t ia, nest_pa_t pa)
{
	uint64_t *e = seed_entry(g, s, ia, true);

	if (!e)
		return NEST_E_NOMEM;
	if (*e)
		return NEST_E_MAPPED;
	*e = s->leaf[0] | address_bits(g, pa);
	return NEST_OK;
}

ALWAYS int seed_unmap(struct geo g, const struct subject *s, uint64_t ia)
{
	uint64_t *e = seed_entry(g, s, ia, false);

	if (!e || !*e)
		return NEST_E_NOTMAPPED;
	*e = 0;
	seed_flush(g, s, ia);
	return NEST_OK;
}

ALWAYS int seed_protect(struct geo g, const struct subject *s, uint64_t ia)
{
	uint64_t *e = seed_entry(g, s, ia, false);

	if (!e || !*e)
		return NEST_E_NOTMAPPED;
	*e = (*e & ~s->writable) | s->other;
	seed_flush(g, s, ia);
	return NEST_OK;
}

ALWAYS int seed_query(struct geo g, const struct subject *s, uint64_t ia, nest_pa_t *pa)
{
	const uint64_t *e = seed_entry(g, s, ia, false);

	if (!e || !*e)
		return NEST_E_NOTMAPPED;
	*pa = address_in(g, *e) | (ia & (((uint64_t)1 << g.page_shift) - 1));
	return NEST_OK;
}

#endif
