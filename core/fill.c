/* SPDX-License-Identifier: MIT */
/*
 * The loop that most entries are written by. No format is left in it: encoded, one leaf and the
 * next differ by a constant.
 */
#include "core/internal.h"

NEST_INLINE void put(nest_pte_t *p, nest_pte_t e, bool live)
{
	if (live)
		nest_store(p, e);
	else
		*p = e;
}

/* In four chains of additions, or each store would wait for the one before. */
NEST_INLINE void fill_unit(nest_pte_t *t, uint64_t n, nest_pte_t e, nest_pte_t step, bool live)
{
	uint64_t k = 0;

	if (n >= 4) {
		nest_pte_t a = e, b = a + step, c = b + step, d = c + step;

		for (; k + 4 <= n; k += 4) {
			put(&t[k], a, live);
			put(&t[k + 1], b, live);
			put(&t[k + 2], c, live);
			put(&t[k + 3], d, live);
			a += 4 * step;
			b += 4 * step;
			c += 4 * step;
			d += 4 * step;
		}
		e = a;
	}
	for (; k < n; k++, e += step)
		put(&t[k], e, live);
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
