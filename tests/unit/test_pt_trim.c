/* SPDX-License-Identifier: MIT */
/*
 * Tables that an unmap leaves (NEST_KEEP_TABLES), and nest_pt_trim(), which frees them.
 */
#include "support.h"

enum { PAGES = 6 };

/* One page in each of several tables, with larger gaps from one to the next. */
static uint64_t page_of(const struct fix *f, unsigned n)
{
	return n * span(f, 1) + (n * 7 % 5) * f->page;
}

static void keep_and_trim(const struct tcase *c)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct tcase with = *c;
		uint64_t ia, size, tables;
		struct nest_gather g;
		struct fix f;

		with.plain = kind & 1;
		if (kind & 2) {
			with.flags |= NEST_PT_SHARED;
			with.features &= ~(uint32_t)NEST_FEAT_CONTIG;
		}
		fix_open(&f, &with);
		size = PAGES * span(&f, 1);
		ia = f.top ? place(&f, PLACE_MID, 8 * span(&f, 1)) : 0;
		if (!f.top) {
			fix_close(&f);
			continue;
		}
		for (unsigned n = 0; n < PAGES; n++)
			CHECK_OK(nest_pt_map(&f.pt, ia + page_of(&f, n), n * f.page, f.page, f.attr,
					     0, NULL));
		tables = f.a.outstanding;
		/* One page a call, and the rest by one. */
		arena_mark(&f.a);
		CHECK_OK(nest_pt_unmap(&f.pt, ia + page_of(&f, 0), f.page, NEST_KEEP_TABLES, NULL));
		CHECK(arena_flushed(&f.a, ia + page_of(&f, 0), ia + page_of(&f, 0)));
		CHECK_OK(nest_pt_unmap(&f.pt, ia, size, NEST_SKIP_HOLES | NEST_KEEP_TABLES, NULL));
		for (unsigned n = 0; n < PAGES; n++) {
			check_none(&f, ia + page_of(&f, n));
			CHECK(arena_flushed(&f.a, ia + page_of(&f, n), ia + page_of(&f, n)));
		}
		CHECK_EQ(f.a.outstanding, tables);
		/* They serve the next maps, which need no memory; a mark keeps its table. */
		arena_fail(&f.a, 1, true);
		CHECK_OK(nest_pt_map(&f.pt, ia + page_of(&f, 2), 0, f.page, f.attr, 0, NULL));
		CHECK_OK(nest_pt_mark(&f.pt, ia + page_of(&f, 3), f.page, 9, NULL));
		arena_fail(&f.a, 0, false);
		nest_gather_init(&g, &f.pt);
		CHECK_OK(nest_pt_trim(&f.pt, ia, size, &g));
		nest_gather_sync(&g);
		arena_run_deferred(&f.a);
		check_consistent(&f);
		check_maps(&f, ia + page_of(&f, 2), 0, f.attr);
		/* Only what the range touches. */
		CHECK_OK(nest_pt_unmap(&f.pt, ia, size, NEST_SKIP_HOLES | NEST_KEEP_TABLES, NULL));
		tables = f.a.outstanding;
		CHECK_OK(nest_pt_trim(&f.pt, ia, span(&f, 1), NULL));
		CHECK_EQ(f.a.outstanding, tables);
		CHECK_OK(nest_pt_trim(&f.pt, ia + 2 * span(&f, 1), f.page, NULL));
		arena_run_deferred(&f.a);
		CHECK_EQ(f.a.outstanding, tables - 1);
		CHECK_OK(nest_pt_trim(&f.pt, ia, size, NULL));
		arena_run_deferred(&f.a);
		CHECK_EQ(f.a.outstanding, f.tables0);
		CHECK_RC(nest_pt_trim(&f.pt, ia + 1, size, NULL), NEST_E_ALIGN);
		CHECK_RC(nest_pt_trim(&f.pt, ia, 0, NULL), NEST_E_RANGE);
		CHECK_RC(nest_pt_trim(NULL, ia, size, NULL), NEST_E_INVAL);
		fix_close(&f);
	}
}

static void tables_stay_until_they_are_trimmed(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, keep_and_trim);
}

/* Other calls refuse the flag; what another table owns is left alone. */
static void only_unmap_keeps_tables(void **state)
{
	struct tcase c = tcase_of(nest_formats[0], 0, 0, 0);
	struct fix f;

	(void)state;
	fix_open(&f, &c);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, f.page, f.attr, 0, NULL));
	CHECK_RC(nest_pt_protect(&f.pt, 0, f.page, 0, f.w, NEST_KEEP_TABLES, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_map(&f.pt, f.page, 0, f.page, f.attr, NEST_KEEP_TABLES, NULL),
		 NEST_E_INVAL);
	CHECK_RC(nest_pt_revoke(&f.pt, 0, f.page, 1, NEST_KEEP_TABLES, NULL), NEST_E_INVAL);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_stay_until_they_are_trimmed),
		cmocka_unit_test(only_unmap_keeps_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
