/* SPDX-License-Identifier: MIT */
/*
 * One page a call, cursors and lists of frames (nest/page.h): they do what the calls on ranges do,
 * with the same errors and flushes, whatever stands in their way.
 */
#include <nest/page.h>

#include "support.h"

enum { PAGES = 12 };

/* A host that has to be asked, one that does not, and many CPUs; without and with groups. */
static void each_kind(const struct tcase *c, void (*fn)(struct fix *f))
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct tcase with = *c;
		struct fix f;

		if (kind & 1)
			with.plain = true;
		if (kind & 2) {
			with.flags |= NEST_PT_SHARED;
			with.features &= ~(uint32_t)NEST_FEAT_CONTIG;
		}
		fix_open(&f, &with);
		if (f.top > 0)
			fn(&f);
		fix_close(&f);
	}
}

static uint64_t seed0;

/* ---- The same as by ranges ---- */

/* One call by its short form and by its long one, on tables in the same state. */
struct twin {
	struct fix *f;
	struct fix other;
	uint64_t ia;
	uint64_t seed;
};

static void same_outcome(const struct twin *t, int a, int b, const char *what)
{
	struct snap x = snap_take(t->f), y = snap_take((struct fix *)&t->other);

	if (a != b)
		snprintf(test_case + strlen(test_case), sizeof(test_case) - strlen(test_case),
			 " (%s: %d, %d)", what, a, b);
	CHECK_EQ(a, b);
	CHECK(snap_same(&x, &y));
	snap_free(&x);
	snap_free(&y);
}

static void both_protect(struct twin *t, uint64_t ia, nest_attr_t set, nest_attr_t clear)
{
	same_outcome(t, nest_pt_protect_page(&t->f->pt, ia, set, clear),
		     nest_pt_protect(&t->other.pt, ia, t->f->page, set, clear, 0, NULL), "protect");
}

static void both(struct twin *t, unsigned what, uint64_t ia, nest_pa_t pa)
{
	struct fix *f = t->f;
	const nest_attr_t attrs[] = { f->attr, f->attr & ~f->w, f->attr & ~NEST_X,
				      (nest_attr_t)1 << 31 };
	const nest_attr_t attr = attrs[rnd(&t->seed) % 16 ? rnd(&t->seed) % 3 : 3];

	switch (what) {
	case 0:
	case 1:
		same_outcome(t, nest_pt_map_page(&f->pt, ia, pa, attr),
			     nest_pt_map(&t->other.pt, ia, pa, f->page, attr, 0, NULL), "map");
		break;
	case 2:
		same_outcome(t, nest_pt_unmap_page(&f->pt, ia),
			     nest_pt_unmap(&t->other.pt, ia, f->page, 0, NULL), "unmap");
		break;
	case 3:
		both_protect(t, ia, f->w, 0);
		break;
	case 4:
		both_protect(t, ia, 0, f->w);
		break;
	case 5:
		both_protect(t, ia, rnd(&t->seed) % 4 ? 0 : NEST_X, NEST_X);
		break;
	case 6:
		both_protect(t, ia, NEST_MT_UC, NEST_MT_MASK);
		break;
	default:
		same_outcome(t, nest_pt_mark(&f->pt, ia, f->page, 5, NULL),
			     nest_pt_mark(&t->other.pt, ia, f->page, 5, NULL), "mark");
	}
}

/* Is what translate says what a query says, for every byte address? */
static void check_translate(struct fix *f, uint64_t ia)
{
	struct nest_mapping m;
	nest_pa_t pa = 77;
	nest_attr_t attr = 78;
	int want = nest_pt_query(&f->pt, ia, &m), rc = nest_pt_translate(&f->pt, ia, &pa, &attr);

	CHECK_RC(rc, want);
	CHECK_EQ(pa, want ? 77 : m.pa);
	CHECK_EQ(attr, want ? 78 : m.attr);
}

static void twins(struct fix *f)
{
	struct twin t = { .f = f, .seed = seed0++ };
	const uint64_t large = f->max_leaf ? span(f, 1) : f->page;

	fix_open(&t.other, &f->c);
	t.ia = place(f, PLACE_MID, 2 * large) + large - PAGES / 2 * f->page;
	/* A larger page on one side, where there is one; so one call splits it. */
	CHECK_OK(nest_pt_map(&f->pt, t.ia + PAGES / 2 * f->page, large, large, f->attr, 0, NULL));
	CHECK_OK(nest_pt_map(&t.other.pt, t.ia + PAGES / 2 * f->page, large, large, f->attr, 0,
			     NULL));
	for (unsigned n = 0; n < 60; n++) {
		uint64_t ia = t.ia + rnd(&t.seed) % PAGES * f->page;
		nest_pa_t pa = (rnd(&t.seed) % 64) * f->page;

		if (rnd(&t.seed) % 16 == 0)
			pa += f->page / 2;
		if (rnd(&t.seed) % 16 == 0)
			pa |= (nest_pa_t)1 << f->pt.oa_bits;
		if (rnd(&t.seed) % 16 == 0)
			ia += f->page / 2;
		if (rnd(&t.seed) % 32 == 0)
			ia ^= (uint64_t)1 << 63;
		both(&t, (unsigned)(rnd(&t.seed) % 8), ia, pa);
		check_translate(f, ia);
		check_translate(f, ia + 0x123);
	}
	check_consistent(f);
	arena_run_deferred(&t.other.a);
	fix_close(&t.other);
}

static void twins_of(const struct tcase *c)
{
	each_kind(c, twins);
}

static void short_forms_do_what_long_ones_do(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, twins_of);
}

/* ---- Cursors ---- */

static void walk_by_cursor(struct fix *f)
{
	const uint64_t p = f->page, n = span(f, 1) / p + 4;
	const uint64_t ia = place(f, PLACE_MID, 4 * span(f, 1)) + span(f, 1) - 2 * p;
	struct nest_cursor c;
	struct nest_gather g;
	nest_attr_t attr;
	nest_pa_t pa;

	/* Across three tables; every entry of one. */
	nest_cursor_init(&c, &f->pt, ia);
	for (uint64_t i = 0; i < n; i++)
		CHECK_OK(nest_cursor_map(&c, (i ^ 5) * p, f->attr));
	for (uint64_t i = 0; i < n; i += n / 7)
		check_maps(f, ia + i * p, (i ^ 5) * p, f->attr);
	nest_cursor_seek(&c, ia);
	for (uint64_t i = 0; i < n; i++) {
		CHECK_OK(nest_cursor_translate(&c, &pa, &attr));
		CHECK_EQ(pa, (i ^ 5) * p);
	}
	/* It stays where it was refused. */
	CHECK_RC(nest_cursor_translate(&c, &pa, &attr), NEST_E_NOTMAPPED);
	CHECK_RC(nest_cursor_unmap(&c, NULL), NEST_E_NOTMAPPED);
	CHECK_OK(nest_cursor_map(&c, 0, f->attr));
	nest_cursor_seek(&c, ia);
	CHECK_RC(nest_cursor_map(&c, 0, f->attr), NEST_E_MAPPED);
	CHECK_RC(nest_cursor_map(&c, 1, f->attr), NEST_E_ALIGN);
	/* Half at once, half gathered. */
	for (uint64_t i = 0; i < n / 2; i++) {
		arena_mark(&f->a);
		CHECK_OK(nest_cursor_unmap(&c, NULL));
		CHECK(arena_flushed(&f->a, ia + i * p, ia + i * p + (p - 1)));
	}
	nest_gather_init(&g, &f->pt);
	arena_mark(&f->a);
	for (uint64_t i = n / 2; i <= n; i++)
		CHECK_OK(nest_cursor_unmap(&c, &g));
	nest_gather_sync(&g);
	CHECK(arena_flushed(&f->a, ia + n / 2 * p, ia + n * p + (p - 1)));
	arena_run_deferred(&f->a);
	CHECK_EQ(f->a.outstanding, f->tables0);
}

/* A gather of another table is refused, wherever the cursor stands; one with a limit is told. */
static void gathers_of_a_cursor(struct fix *f)
{
	const uint64_t p = f->page, ia = place(f, PLACE_MID, 8 * p);
	struct nest_cursor c;
	struct nest_gather g;
	struct fix other;

	fix_open(&other, &f->c);
	CHECK_OK(nest_pt_map(&f->pt, ia, 0, 4 * p, f->attr, NEST_MAP_NO_HUGE, NULL));
	nest_cursor_init(&c, &f->pt, ia);
	CHECK_OK(nest_cursor_unmap(&c, NULL));
	nest_gather_init(&g, &other.pt);
	CHECK_RC(nest_cursor_unmap(&c, &g), NEST_E_INVAL);
	check_maps(f, ia + p, p, f->attr);
	nest_gather_init(&g, &f->pt);
	nest_gather_limit(&g, 8);
	CHECK_OK(nest_cursor_unmap(&c, &g));
	CHECK_EQ(nest_gather_done(&g), p);
	nest_gather_sync(&g);
	check_none(f, ia + p);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, 4 * p, NEST_SKIP_HOLES, NULL));
	fix_close(&other);
}

/* The table below the cursor goes, comes back, or becomes a larger page. */
static void changes_below_a_cursor(struct fix *f)
{
	const uint64_t p = f->page, large = span(f, 1), ia = place(f, PLACE_MID, large);
	struct nest_cursor c;
	nest_attr_t attr;
	nest_pa_t pa;

	nest_cursor_init(&c, &f->pt, ia);
	CHECK_OK(nest_cursor_map(&c, 0, f->attr));
	CHECK_OK(nest_cursor_map(&c, p, f->attr));
	/* The table goes with its last pages, and the cursor may not go on in it. */
	CHECK_OK(nest_pt_unmap(&f->pt, ia, 2 * p, 0, NULL));
	CHECK_OK(nest_cursor_map(&c, 2 * p, f->attr));
	check_maps(f, ia + 2 * p, 2 * p, f->attr);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, large, NEST_SKIP_HOLES, NULL));
	CHECK_RC(nest_cursor_translate(&c, &pa, &attr), NEST_E_NOTMAPPED);
	CHECK_OK(nest_pt_map(&f->pt, ia, large, large, f->attr, 0, NULL));
	CHECK_RC(nest_cursor_map(&c, 0, f->attr), NEST_E_MAPPED);
	CHECK_OK(nest_cursor_translate(&c, &pa, &attr));
	CHECK_EQ(pa, large + 3 * p);
	/* It splits the larger page. */
	CHECK_OK(nest_cursor_unmap(&c, NULL));
	check_none(f, ia + 4 * p);
	check_maps(f, ia + 5 * p, large + 5 * p, f->attr);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, large, NEST_SKIP_HOLES, NULL));
}

static void cursors_of(const struct tcase *c)
{
	each_kind(c, walk_by_cursor);
	each_kind(c, gathers_of_a_cursor);
	each_kind(c, changes_below_a_cursor);
}

static void a_cursor_notices_every_change(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, cursors_of);
}

/* ---- Lists ---- */

static void lists(struct fix *f)
{
	const uint64_t p = f->page, n = span(f, 1) / p;
	const uint64_t ia = place(f, PLACE_MID, 4 * span(f, 1)) + span(f, 1) / 2;
	nest_pa_t *frames = malloc(2 * n * sizeof(*frames));
	struct snap before;

	CHECK(frames != NULL);
	for (uint64_t i = 0; i < 2 * n; i++)
		frames[i] = i % 3 == 2 ? NEST_PA_NONE : (i * 7 % (2 * n)) * p;
	before = snap_take(f);
	/* Nothing changes on any error, and each allocation may fail. */
	for (uint64_t nth = 1;; nth++) {
		int rc;

		arena_fail(&f->a, nth, false);
		rc = nest_pt_map_frames(&f->pt, ia, frames, 2 * n, f->attr, 0, NULL);
		arena_fail(&f->a, 0, false);
		if (rc == NEST_OK)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		check_unchanged(f, &before);
	}
	snap_free(&before);
	for (uint64_t i = 0; i < 2 * n; i += i + 5 < 2 * n ? 5 : 1) {
		if (frames[i] == NEST_PA_NONE)
			check_none(f, ia + i * p);
		else
			check_maps(f, ia + i * p, frames[i], f->attr);
	}
	before = snap_take(f);
	CHECK_RC(nest_pt_map_frames(&f->pt, ia + 2 * p, frames, 2, f->attr, 0, NULL),
		 NEST_E_MAPPED);
	frames[0] |= 8;
	CHECK_RC(nest_pt_map_frames(&f->pt, ia + 2 * p, frames, 1, f->attr, 0, NULL), NEST_E_ALIGN);
	frames[0] = (nest_pa_t)1 << f->pt.oa_bits;
	CHECK_RC(nest_pt_map_frames(&f->pt, ia + 2 * p, frames, 1, f->attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map_frames(&f->pt, ia, frames, 0, f->attr, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map_frames(&f->pt, ia, NULL, 1, f->attr, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_map_frames(&f->pt, ia, frames, 1, f->attr, NEST_MAP_REPLACE, NULL),
		 NEST_E_INVAL);
	CHECK_RC(nest_pt_map_frames(&f->pt, ia + 1, frames, 1, f->attr, 0, NULL), NEST_E_ALIGN);
	check_unchanged(f, &before);
	snap_free(&before);
	/* What is there stays; what is not comes. A mark is in the way only if asked for. */
	CHECK_OK(nest_pt_mark(&f->pt, ia + 5 * p, p, 9, NULL));
	for (uint64_t i = 0; i < 8; i++)
		frames[i] = (100 + i) * p;
	CHECK_RC(nest_pt_map_frames(&f->pt, ia + 5 * p, frames, 1, f->attr, NEST_MAP_KEEP_MARKS,
				    NULL),
		 NEST_E_MAPPED);
	CHECK_OK(nest_pt_map_frames(&f->pt, ia, frames, 8, f->attr, NEST_MAP_SKIP_MAPPED, NULL));
	check_maps(f, ia + 2 * p, 102 * p, f->attr);
	check_maps(f, ia + 5 * p, 105 * p, f->attr);
	check_maps(f, ia + p, 7 % (2 * n) * p, f->attr);
	check_consistent(f);
	free(frames);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, 2 * n * p, NEST_SKIP_HOLES, NULL));
}

static void lists_of(const struct tcase *c)
{
	each_kind(c, lists);
}

static void a_list_of_frames_is_mapped_whole_or_not(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, lists_of);
}

/* ---- Arguments ---- */

static void bad_arguments_are_refused(void **state)
{
	struct tcase c = tcase_of(nest_formats[0], 0, 0, 0);
	const nest_pa_t frame = 0;
	struct nest_cursor at;
	struct fix f;
	nest_attr_t attr;
	nest_pa_t pa;

	(void)state;
	fix_open(&f, &c);
	CHECK_RC(nest_pt_map_page(NULL, 0, 0, NEST_R), NEST_E_INVAL);
	CHECK_RC(nest_pt_unmap_page(NULL, 0), NEST_E_INVAL);
	CHECK_RC(nest_pt_protect_page(NULL, 0, 0, 0), NEST_E_INVAL);
	CHECK_RC(nest_pt_translate(NULL, 0, &pa, &attr), NEST_E_INVAL);
	CHECK_RC(nest_pt_translate(&f.pt, 0, NULL, &attr), NEST_E_INVAL);
	CHECK_RC(nest_pt_translate(&f.pt, 0, &pa, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_map_frames(NULL, 0, &frame, 1, NEST_R, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_map_frames(&f.pt, 0, &frame, ~(size_t)0, NEST_R, 0, NULL), NEST_E_RANGE);
	nest_cursor_init(NULL, &f.pt, 0);
	nest_cursor_seek(NULL, 0);
	nest_cursor_init(&at, NULL, 0);
	CHECK_RC(nest_cursor_map(&at, 0, NEST_R), NEST_E_INVAL);
	CHECK_RC(nest_cursor_unmap(&at, NULL), NEST_E_INVAL);
	CHECK_RC(nest_cursor_translate(&at, &pa, &attr), NEST_E_INVAL);
	CHECK_RC(nest_cursor_map(NULL, 0, NEST_R), NEST_E_INVAL);
	nest_cursor_init(&at, &f.pt, ~(nest_ia_t)0 & ~(f.page - 1));
	CHECK_RC(nest_cursor_translate(&at, NULL, &attr), NEST_E_INVAL);
	fix_close(&f);
}

/* The last page of the address space: a cursor has nowhere to go from there. */
static void a_cursor_ends_with_the_address_space(void **state)
{
	(void)state;
	for (unsigned i = 0; nest_formats[i]; i++) {
		struct tcase c = tcase_of(nest_formats[i], 0, 0, 0);
		struct nest_cursor at;
		struct fix f;
		uint64_t ia;

		c.plain = true;
		fix_open(&f, &c);
		ia = place(&f, PLACE_TOP, 2 * f.page);
		nest_cursor_init(&at, &f.pt, ia);
		CHECK_OK(nest_cursor_map(&at, 0, f.attr));
		CHECK_OK(nest_cursor_map(&at, f.page, f.attr));
		CHECK_RC(nest_cursor_map(&at, 0, f.attr), NEST_E_RANGE);
		check_maps(&f, ia + f.page, f.page, f.attr);
		fix_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_forms_do_what_long_ones_do),
		cmocka_unit_test(a_cursor_notices_every_change),
		cmocka_unit_test(a_list_of_frames_is_mapped_whole_or_not),
		cmocka_unit_test(bad_arguments_are_refused),
		cmocka_unit_test(a_cursor_ends_with_the_address_space),
	};

	seed0 = test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
