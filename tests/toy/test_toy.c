/* SPDX-License-Identifier: MIT */
/*
 * The engine on the toy format: every sequence of two operations out of a few hundred (map,
 * replace, skip, unmap, protect, mark, split, merge over ranges that begin and end at, before and
 * after boundaries), then random sequences, each against a flat array. Longer sequences, of aligned
 * ranges, are explore.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "toy_world.h"

static unsigned make_steps(struct step *out, const unsigned *edges, unsigned nr_edges)
{
	unsigned n = 0;

	for (unsigned k = 0; k < KINDS; k++)
		for (unsigned a = 0; a < nr_edges; a++)
			for (unsigned b = a + 1; b < nr_edges; b++)
				for (unsigned v = 0; v < (k <= SMALL     ? 3u
							  : k == PROTECT ? 2u
									 : 1u);
				     v++)
					out[n++] = (struct step){ .kind = (enum kind)k,
								  .first = edges[a],
								  .count = edges[b] - edges[a],
								  .shift = v == 2 ? 17 : 0,
								  .attr = v == 1 ? NEST_R
										 : NEST_RWX };
	return n;
}

static struct step all_steps[4096];

/* Boundaries of every level, and one page to either side of some. */
static const unsigned edges[] = { 0, 1, 4, 7, 15, 16, 32, 63, 64 };

static void every_store_of_every_pair_of_operations_is_legal(void **state)
{
	unsigned n = make_steps(all_steps, edges, sizeof(edges) / sizeof(edges[0]));

	(void)state;
	for (unsigned v = 0; v < TOY_VARIANTS; v++) {
		static struct world empty, first, second;

		world_start(&empty, &toy_variants[v]);
		for (unsigned i = 0; i < n; i++) {
			world_copy(&first, &empty);
			world_step_failing(&first, &all_steps[i]);
			for (unsigned j = 0; j < n; j++) {
				world_copy(&second, &first);
				world_step(&second, &all_steps[j]);
			}
		}
	}
	print_message("%lu steps and %lu stores checked\n", world_steps, world_stores);
}

static void random_sequences_with_failures(void **state)
{
	unsigned n = make_steps(all_steps, edges, sizeof(edges) / sizeof(edges[0]));
	unsigned seed = 1;

	(void)state;
	if (getenv("NEST_SEED"))
		seed = (unsigned)strtoul(getenv("NEST_SEED"), NULL, 0);
	print_message("NEST_SEED=%u\n", seed);
	srand(seed);
	for (unsigned round = 0; round < 4000; round++) {
		static struct world w;

		world_start(&w, &toy_variants[round % TOY_VARIANTS]);
		for (unsigned k = 0; k < 8; k++)
			world_step_failing(&w, &all_steps[(unsigned)rand() % n]);
		nest_pt_destroy(&w.pt);
		assert_int_equal(w.live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_store_of_every_pair_of_operations_is_legal),
		cmocka_unit_test(random_sequences_with_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
