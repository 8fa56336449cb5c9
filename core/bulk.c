/* SPDX-License-Identifier: MIT */
/*
 * The loop that most entries are written by. It needs no format: two neighbouring leaves differ by
 * a constant.
 *
 * Where entries differ, every store is an atomic store of one entry, also into a table that no
 * walker can see yet. A compiler may neither join these stores nor turn them into vectors. Keep it
 * so: gcc 12's vectoriser made wrong frames of plain stores from four chains of additions.
 */
#include "core/bulk.h"

/* The compiler knows nothing about the value of x after this. */
#define OPAQUE(x) __asm__("" : "+r"(x))

NEST_INLINE void put(nest_pte_t *p, nest_pte_t e, bool live)
{
	if (live)
		nest_store(p, e);
	else
		__atomic_store_n(p, e, __ATOMIC_RELAXED);
}

/*
 * Four entries are computed from one start value, so that only one addition of four waits for
 * another. From opaque steps, because gcc would compute each entry from the one before.
 */
NEST_INLINE void fill_unit(nest_pte_t *t, uint64_t n, nest_pte_t e, nest_pte_t step, bool live)
{
	nest_pte_t step2 = 2 * step, step3 = 3 * step;

	OPAQUE(step2);
	OPAQUE(step3);
	for (; n >= 4; n -= 4, t = &t[4], e += 4 * step) {
		put(&t[0], e, live);
		put(&t[1], e + step, live);
		put(&t[2], e + step2, live);
		put(&t[3], e + step3, live);
	}
	for (; n; n--, t = &t[1], e += step)
		put(t, e, live);
}

void nest_fill_words(nest_pte_t *t, uint64_t n, uint64_t unit, nest_pte_t e, nest_pte_t step,
		     nest_pte_t jump, bool live)
{
	for (uint64_t k = 0; k < n; k += unit, e += jump) {
		if (live)
			fill_unit(&t[k], unit, e, step, true);
		else
			fill_unit(&t[k], unit, e, step, false);
	}
}

void nest_fill_same(nest_pte_t *t, uint64_t n, nest_pte_t e)
{
	const nest_pte_pair pair = { e, e };

	for (; !NEST_SMALL && n >= 8; n -= 8, t = &t[8]) {
		nest_pte_pair *to = (nest_pte_pair *)t;

		to[0] = pair;
		to[1] = pair;
		to[2] = pair;
		to[3] = pair;
	}
	for (; n; n--, t = &t[1])
		*t = e;
}
