/* SPDX-License-Identifier: MIT */
/*
 * NEST_MAP_ATOMIC: which ranges it takes, and that a block is mapped by one store or not at all
 * while other CPUs unmap and map pages in its place. These CPUs are played from within the host's
 * callbacks: `sync` is called after each change of an entry, `alloc` between the two passes.
 */
#include "support.h"

static struct fix f;

/* ---- Ranges ---- */

static void take(uint64_t ia, nest_pa_t pa, uint64_t size, uint32_t flags, int want)
{
	const uint64_t allocs = f.a.allocs;
	struct nest_mapping m;

	flags |= NEST_MAP_ATOMIC;
	CHECK_RC(nest_pt_map(&f.pt, ia, pa, size, f.attr, flags, NULL), want);
	if (want) {
		CHECK_EQ(f.a.allocs, allocs);
		check_none(&f, ia);
		return;
	}
	CHECK_OK(nest_pt_query(&f.pt, ia + size - f.page, &m));
	CHECK_EQ(m.size, size);
	CHECK_EQ(m.pa, pa + size - f.page);
	CHECK_RC(nest_pt_map(&f.pt, ia, pa, size, f.attr, flags, NULL), NEST_E_MAPPED);
	CHECK_OK(nest_pt_unmap(&f.pt, ia, size, 0, NULL));
}

static void ranges(const struct tcase *c)
{
	fix_open(&f, c);
	take(0, 0, 2 * f.page, 0, NEST_E_INVAL);
	take(2 * f.page, f.page, f.page, 0, NEST_OK);
	take(2 * f.page, f.page, f.page, NEST_MAP_NO_HUGE, NEST_OK);
	take(0, 0, f.page + 1, 0, NEST_E_ALIGN);
	for (unsigned level = 1; level <= f.max_leaf && level <= 2; level++) {
		const uint64_t size = span(&f, level);

		take(0, 0, size, 0, NEST_OK);
		take(0, 0, size, NEST_MAP_MAX_LEVEL(level), NEST_OK);
		take(0, 0, size, NEST_MAP_MAX_LEVEL(level - 1), NEST_E_INVAL);
		take(0, f.page, size, 0, NEST_E_INVAL);
		take(f.page, 0, size, 0, NEST_E_INVAL);
		take(f.page, f.page, size, 0, NEST_E_INVAL);
		take(0, 0, size - f.page, 0, NEST_E_INVAL);
		take(0, 0, 3 * size, 0, NEST_E_INVAL);
	}
	if (group(&f, 0)) {
		take(group(&f, 0), 0, group(&f, 0), 0, NEST_OK);
		take(group(&f, 0), 0, group(&f, 0), NEST_MAP_NO_HUGE, NEST_E_INVAL);
		take(f.page, 0, group(&f, 0), 0, NEST_E_INVAL);
		take(0, f.page, group(&f, 0), 0, NEST_E_INVAL);
		take(0, 0, group(&f, 0) / 2, 0, NEST_E_INVAL);
	}
	fix_close(&f);
}

static void it_takes_one_page_block_or_group(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, ranges);
}

static void a_block_takes_the_place_of_pages(void **state)
{
	const nest_pa_t pa = (nest_pa_t)1 << 30;
	struct nest_mapping m;

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		const struct tcase c = tcase_of(nest_formats[n], 0, 0, 0);

		fix_open(&f, &c);
		CHECK_OK(nest_pt_map(&f.pt, f.page, 0, f.page, f.attr, 0, NULL));
		CHECK_RC(nest_pt_map(&f.pt, 0, pa, span(&f, 1), f.attr, NEST_MAP_ATOMIC, NULL),
			 NEST_E_MAPPED);
		check_none(&f, 0);
		CHECK_OK(nest_pt_map(&f.pt, 0, pa, span(&f, 1), f.attr,
				     NEST_MAP_ATOMIC | NEST_MAP_REPLACE, NULL));
		CHECK_OK(nest_pt_query(&f.pt, 0, &m));
		CHECK_EQ(m.pa, pa);
		fix_close(&f);
	}
}

/* ---- Other CPUs ---- */

static void (*true_sync)(void *ctx, const void *va, size_t len);
static nest_pa_t (*true_alloc)(void *ctx, size_t size);
static uint32_t flags;      /* of the map of a block */
static bool begun, runs;    /* it has begun; it has not ended */
static unsigned pages, met; /* that it has mapped; third CPUs that came */
static int got;             /* its result */

static void open_shared(const struct nest_format *format)
{
	const struct tcase c = tcase_of(format, 0, 0, NEST_PT_SHARED);

	fix_open(&f, &c);
	true_sync = f.a.host.sync;
	true_alloc = f.a.host.alloc;
	begun = runs = false;
	pages = met = 0;
}

static void close_shared(void)
{
	f.a.host.sync = true_sync;
	f.a.host.alloc = true_alloc;
	arena_run_deferred(&f.a);
	fix_close(&f);
}

static int map_block(void)
{
	int err;

	begun = runs = true;
	err = nest_pt_map(&f.pt, 0, (nest_pa_t)1 << 30, span(&f, 1), f.attr, flags, NULL);
	runs = false;
	return err;
}

/*
 * The first CPU unmaps the only page of a table. When that page is gone and its table still there,
 * a second CPU maps a block; when it has mapped three pages of it, a third one maps the sixth.
 */
static void between_page_and_table(void *ctx, const void *va, size_t len)
{
	struct nest_mapping m;

	true_sync(ctx, va, len);
	if (!begun && nest_pt_query(&f.pt, 0, &m) == NEST_E_NOTMAPPED)
		got = map_block();
	else if (runs && ++pages == 3)
		CHECK_OK(nest_pt_map(&f.pt, 5 * f.page, 0x3000000, f.page, f.attr, 0, NULL));
}

static void a_block_over_an_empty_table_is_not_begun(void **state)
{
	struct nest_mapping m;

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		open_shared(nest_formats[n]);
		flags = NEST_MAP_ATOMIC;
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, f.page, f.attr, 0, NULL));
		f.a.host.sync = between_page_and_table;
		CHECK_OK(nest_pt_unmap(&f.pt, 0, f.page, 0, NULL));
		f.a.host.sync = true_sync;
		CHECK(begun);
		CHECK_RC(got, NEST_E_BUSY);
		for (unsigned i = 0; i < 8; i++)
			check_none(&f, i * f.page);
		/* The table has gone, and the block can come. */
		CHECK_OK(map_block());
		CHECK_OK(nest_pt_query(&f.pt, 0, &m));
		CHECK_EQ(m.size, span(&f, 1));
		close_shared();
	}
}

static void without_the_flag_it_is_a_range(void **state)
{
	(void)state;
	open_shared(&nest_fmt_ept);
	flags = 0;
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, f.page, f.attr, 0, NULL));
	f.a.host.sync = between_page_and_table;
	CHECK_OK(nest_pt_unmap(&f.pt, 0, f.page, 0, NULL));
	f.a.host.sync = true_sync;
	CHECK_RC(got, NEST_E_MAPPED);
	check_range(&f, 0, (nest_pa_t)1 << 30, 3 * f.page, f.attr);
	check_maps(&f, 5 * f.page, 0x3000000, f.attr);
	close_shared();
}

/* Between the passes another CPU maps a page, so that a table comes. */
static nest_pa_t a_page_comes(void *ctx, size_t size)
{
	f.a.host.alloc = true_alloc;
	met++;
	CHECK_OK(nest_pt_map(&f.pt, 5 * f.page, 0x3000000, f.page, f.attr, 0, NULL));
	return true_alloc(ctx, size);
}

static void a_block_over_a_new_table_is_not_begun(void **state)
{
	static const uint32_t all[] = { 0, NEST_MAP_ATOMIC, NEST_MAP_ATOMIC | NEST_MAP_REPLACE,
					NEST_MAP_ATOMIC | NEST_MAP_SKIP_MAPPED };

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
			open_shared(nest_formats[n]);
			flags = all[i];
			f.a.host.alloc = a_page_comes;
			/* A block at the top needs no table. */
			if (f.top < 2) {
				close_shared();
				continue;
			}
			CHECK_RC(map_block(), NEST_E_BUSY);
			CHECK_EQ(met, 1);
			for (unsigned k = 0; k < 8; k++) {
				if (k == 5)
					check_maps(&f, k * f.page, 0x3000000, f.attr);
				else
					check_none(&f, k * f.page);
			}
			/* That table stays; so does the answer. */
			CHECK_RC(nest_pt_map(&f.pt, 0, 0, span(&f, 1), f.attr,
					     flags | NEST_MAP_ATOMIC, NULL),
				 NEST_E_BUSY);
			close_shared();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_takes_one_page_block_or_group),
		cmocka_unit_test(a_block_takes_the_place_of_pages),
		cmocka_unit_test(a_block_over_an_empty_table_is_not_begun),
		cmocka_unit_test(without_the_flag_it_is_a_range),
		cmocka_unit_test(a_block_over_a_new_table_is_not_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
