/* SPDX-License-Identifier: MIT */
/*
 * Every failing allocation: each operation is tried with its first, second, ... allocation failing,
 * until it succeeds. After each failure the entries, the translations and the pool are as before.
 */
#include "support.h"
#include "tests/steps.h"

struct scene {
	uint64_t ia;   /* two large pages (or 64 smallest ones), and as much room before them */
	uint64_t page; /* smallest */
	uint64_t large;
	nest_pa_t pa;
};

static void set_scene(struct fix *f, struct scene *s)
{
	bool large = f->max_leaf > 0;

	s->page = f->page;
	s->large = large ? span(f, f->max_leaf) : 32 * f->page;
	if (8 * s->large > (uint64_t)1 << (f->c.ia_bits - 1))
		s->large = span(f, f->max_leaf > 1 ? f->max_leaf - 1 : 0) *
			   (f->max_leaf > 1 ? 1 : 32);
	s->ia = place(f, PLACE_TOP, 2 * s->large);
	s->pa = 3 * s->large;
	CHECK_OK(nest_pt_map(&f->pt, s->ia, s->pa, 2 * s->large, f->attr, 0, NULL));
}

typedef int (*op_fn)(struct fix *f, const struct scene *s, struct nest_gather *g);

static int map_fresh(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	uint64_t size = s->large / 2 < 2 * span(f, 1) ? s->large / 2 : 2 * span(f, 1);

	return nest_pt_map(&f->pt, s->ia - s->large + s->page, s->pa + 9 * s->page, size, f->attr,
			   NEST_MAP_MAX_LEVEL(1), g);
}

static int map_over_two_blocks(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_map(&f->pt, s->ia + s->large - s->page, s->page, 2 * s->page, f->attr,
			   NEST_MAP_REPLACE, g);
}

static int map_into_holes(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_map(&f->pt, s->ia - 3 * s->page, 0, s->large, f->attr, NEST_MAP_SKIP_MAPPED,
			   g);
}

static int unmap_across(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_unmap(&f->pt, s->ia + s->large - s->page, 2 * s->page, 0, g);
}

static int unmap_middle(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_unmap(&f->pt, s->ia + s->page, s->large - 2 * s->page, 0, g);
}

static int unmap_sparse(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_unmap(&f->pt, s->ia - s->page, s->large, NEST_SKIP_HOLES, g);
}

static int protect_across(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_protect(&f->pt, s->ia + s->large - s->page, 2 * s->page, 0, f->w, 0, g);
}

static int mark_fresh(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_mark(&f->pt, s->ia - s->large + s->page, 9 * s->page, 77, g);
}

static int revoke_across(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_revoke(&f->pt, s->ia + s->large - s->page, 2 * s->page, 77, 0, g);
}

static int revoke_sparse(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_revoke(&f->pt, s->ia - s->page, s->large, 77, NEST_SKIP_HOLES, g);
}

static int split_both(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	unsigned level = f->max_leaf > 1 ? f->max_leaf - 1 : 0;

	return nest_pt_split(&f->pt, s->ia, 2 * s->large, level, g);
}

static int split_deep(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	return nest_pt_split(&f->pt, s->ia + s->large - s->page, 2 * s->page, 0, g);
}

static int map_in_one_step(struct fix *f, const struct scene *s, struct nest_gather *g)
{
	struct steps st;
	uint64_t done = 0;
	int rc = steps_end(&st,
			   nest_pt_map(&f->pt, s->ia - 9 * s->page, 0, 9 * s->page, f->attr, 0,
				       steps_begin(&st, &f->pt, g, ~(uint64_t)0)),
			   &done);

	CHECK_EQ(done, rc ? 0 : 9 * s->page);
	return rc;
}

static const struct {
	const char *name;
	op_fn fn;
} ops[] = {
	{ "map", map_fresh },
	{ "map over two blocks", map_over_two_blocks },
	{ "map into holes", map_into_holes },
	{ "unmap across two blocks", unmap_across },
	{ "unmap the middle", unmap_middle },
	{ "sparse unmap", unmap_sparse },
	{ "protect across two blocks", protect_across },
	{ "mark", mark_fresh },
	{ "revoke across two blocks", revoke_across },
	{ "sparse revoke", revoke_sparse },
	{ "split", split_both },
	{ "split deep", split_deep },
	{ "map in one step", map_in_one_step },
};

static uint64_t failures;

static void count_release(void *ctx, const struct nest_mapping *leaf)
{
	(void)leaf;
	++*(unsigned *)ctx;
}

/* Until success: n-th allocation fails, alone or with all after it. */
static void until_success(const struct tcase *c, unsigned op, bool rest, bool gathered)
{
	struct fix f;
	struct scene s;
	struct snap before;
	struct nest_gather g;
	unsigned released = 0;
	int rc = NEST_E_NOMEM;

	fix_open(&f, c);
	strncat(test_case, ", ", sizeof(test_case) - strlen(test_case) - 1);
	strncat(test_case, ops[op].name, sizeof(test_case) - strlen(test_case) - 1);
	set_scene(&f, &s);
	nest_gather_init(&g, &f.pt);
	nest_gather_on_release(&g, count_release, &released);
	before = snap_take(&f);
	arena_mark(&f.a);
	for (uint64_t n = 1; rc != NEST_OK; n++) {
		uint64_t flushes = f.a.nr_flush;

		CHECK(n < 5000);
		arena_fail(&f.a, n, rest);
		rc = ops[op].fn(&f, &s, gathered ? &g : NULL);
		arena_fail(&f.a, 0, false);
		if (rc == NEST_OK)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		CHECK_EQ(f.a.nr_flush, flushes);
		check_unchanged(&f, &before);
		nest_gather_sync(&g);
		CHECK_EQ(released, 0);
		check_unchanged(&f, &before);
		arena_mark(&f.a);
		failures++;
	}
	nest_gather_sync(&g);
	check_consistent(&f);
	snap_free(&before);
	fix_close(&f);
}

static void all_operations(const struct tcase *c)
{
	for (unsigned op = 0; op < sizeof(ops) / sizeof(*ops); op++) {
		for (unsigned how = 0; how < 4; how++)
			until_success(c, op, how & 1, how & 2);
	}
}

static void a_failed_allocation_changes_nothing(void **state)
{
	(void)state;
	failures = 0;
	sweep(SWEEP_DEFAULT_WIDTH, all_operations);
	CHECK(failures > (nest_formats[1] ? 500 : 30));
}

static void merges(const struct tcase *c)
{
	struct fix f;
	struct scene s;
	struct snap before;

	fix_open(&f, c);
	set_scene(&f, &s);
	before = snap_take(&f);
	CHECK_OK(split_both(&f, &s, NULL));
	arena_fail(&f.a, 1, true);
	CHECK_OK(nest_pt_merge(&f.pt, s.ia, 2 * s.large, NULL));
	check_range(&f, s.ia, s.pa, 2 * s.large, f.attr);
	check_unchanged(&f, &before);
	/* Nor does taking away whole pages, or changing their rights. */
	CHECK_OK(nest_pt_protect(&f.pt, s.ia, 2 * s.large, 0, f.w, 0, NULL));
	CHECK_OK(nest_pt_unmap(&f.pt, s.ia, 2 * s.large, 0, NULL));
	CHECK_EQ(f.a.outstanding, f.tables0);
	arena_fail(&f.a, 0, false);
	snap_free(&before);
	fix_close(&f);
}

static void merge_and_whole_pages_need_no_memory(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, merges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_allocation_changes_nothing),
		cmocka_unit_test(merge_and_whole_pages_need_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
