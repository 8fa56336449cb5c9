/* SPDX-License-Identifier: MIT */
/*
 * The resumable forms of mark, split, merge, harvest and age: by steps of any budget, the largest
 * too, they do what the call does at once. (All of them with small budgets and other calls in
 * between: test_pt_resume.c.)
 */
#include "support.h"
#include "tests/steps.h"

static struct fix f;

enum other { MARK, SPLIT, MERGE, HARVEST, AGE, OTHERS };

static uint64_t told[2][1 << 12];

static int other_step(enum other how, nest_ia_t ia, uint64_t at, uint64_t size, uint64_t budget,
		      uint64_t *done)
{
	struct steps st;
	uint64_t *map = told[1] + at / f.page / 64;

	switch (how) {
	case MARK:
		return steps_end(&st,
				 nest_pt_mark(&f.pt, ia + at, size - at, 99,
					      steps_begin(&st, &f.pt, NULL, budget)),
				 done);
	case SPLIT:
		return steps_end(&st,
				 nest_pt_split(&f.pt, ia + at, size - at, 0,
					       steps_begin(&st, &f.pt, NULL, budget)),
				 done);
	case MERGE:
		return steps_end(&st,
				 nest_pt_merge(&f.pt, ia + at, size - at,
					       steps_begin(&st, &f.pt, NULL, budget)),
				 done);
	case HARVEST:
		return steps_end(&st,
				 nest_pt_harvest(&f.pt, ia + at, size - at, NEST_DIRTY, map, 0,
						 steps_begin(&st, &f.pt, NULL, budget)),
				 done);
	default:
		return steps_end(&st,
				 nest_pt_harvest(&f.pt, ia + at, size - at, NEST_ACCESSED, map, 0,
						 steps_begin(&st, &f.pt, NULL, budget)),
				 done);
	}
}

static int other_whole(enum other how, nest_ia_t ia, uint64_t size)
{
	switch (how) {
	case MARK:
		return nest_pt_mark(&f.pt, ia, size, 99, NULL);
	case SPLIT:
		return nest_pt_split(&f.pt, ia, size, 0, NULL);
	case MERGE:
		return nest_pt_merge(&f.pt, ia, size, NULL);
	case HARVEST:
		return nest_pt_harvest(&f.pt, ia, size, NEST_DIRTY, told[0], 0, NULL);
	default:
		return nest_pt_harvest(&f.pt, ia, size, NEST_ACCESSED, told[0], 0, NULL);
	}
}

/* Something for each to do: small pages that make up a block, a block, and a hole. */
static uint64_t prepare_others(const struct tcase *c, enum other how)
{
	uint64_t block, size;

	fix_open(&f, c);
	block = f.max_leaf ? span(&f, 1) : 64 * f.page;
	size = 3 * block;
	if (how != MARK) {
		CHECK_OK(nest_pt_map(&f.pt, 0, 0, block, f.attr, NEST_MAP_NO_HUGE, NULL));
		CHECK_OK(nest_pt_map(&f.pt, block, block, block, f.attr, 0, NULL));
	}
	return size;
}

static void others_in_steps(const struct tcase *c)
{
	for (enum other how = MARK; how < OTHERS; how++) {
		static const uint64_t budgets[] = { 1, 7, 300, 1 << 20 };
		uint64_t size = prepare_others(c, how);
		struct snap want;
		int err;

		if (size / f.page / 64 > 1 << 12) {
			fix_close(&f);
			return;
		}
		memset(told[0], 0, sizeof(told[0]));
		err = other_whole(how, 0, size);
		want = snap_take(&f);
		fix_close(&f);
		for (unsigned b = 0; b < sizeof(budgets) / sizeof(*budgets); b++) {
			uint64_t at = 0, done, steps = 0;
			struct snap have;
			int rc;

			if (b == 0 && size / f.page > 4096)
				continue;
			(void)prepare_others(c, how);
			memset(told[1], 0, sizeof(told[1]));
			do {
				rc = other_step(how, 0, at, size, budgets[b], &done);
				at += done;
				steps++;
				CHECK(rc != NEST_E_AGAIN || done > 0);
			} while (rc == NEST_E_AGAIN);
			CHECK_RC(rc, err);
			CHECK_EQ(at, err ? 0 : size);
			CHECK(err || how == MERGE || budgets[b] > 1 || steps > 1);
			have = snap_take(&f);
			CHECK_EQ(have.n, want.n);
			for (size_t i = 0; i < want.n && have.n == want.n; i++) {
				CHECK_EQ(have.m[i].ia, want.m[i].ia);
				CHECK_EQ(have.m[i].size, want.m[i].size);
				CHECK_EQ(have.m[i].attr, want.m[i].attr);
				CHECK_EQ(have.m[i].mark, want.m[i].mark);
			}
			CHECK(!memcmp(told[0], told[1], sizeof(told[0])));
			snap_free(&have);
			fix_close(&f);
		}
		snap_free(&want);
	}
}

static void every_call_on_a_range_has_steps(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, others_in_steps);
}

/*
 * Dirty pages, a dirty block or group, and a page, placed so that a word of the bitmap ends in the
 * midst of the large one: a step takes it whole, and *done is whole words nevertheless.
 */
static void clean_in_steps(const struct nest_format *format, uint32_t features, uint64_t large)
{
	struct tcase c = tcase_of(format, features, 0, 0);
	const nest_attr_t attr = NEST_RW | NEST_ACCESSED | NEST_DIRTY;
	uint64_t p, ia, before, size, at = 0, done, steps = 0;
	struct nest_mapping q;
	int rc;

	fix_open(&f, &c);
	p = f.page;
	ia = 512 * p;
	before = large > 64 * p ? 3 * p : 56 * p;
	size = before + large + p;
	CHECK_OK(
		nest_pt_map(&f.pt, ia - before, ia - before, before, attr, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_map(&f.pt, ia, ia, large + p, attr, 0, NULL));
	CHECK_OK(nest_pt_query(&f.pt, ia, &q));
	CHECK_EQ(q.size, large);
	memset(told[1], 0, sizeof(told[1]));
	do {
		rc = other_step(HARVEST, ia - before, at, size, 1, &done);
		at += done;
		CHECK_RC(rc, steps++ ? NEST_OK : NEST_E_AGAIN);
		CHECK(rc == NEST_OK || done == (before + large) / p / 64 * 64 * p);
	} while (rc == NEST_E_AGAIN);
	CHECK_EQ(at, size);
	for (uint64_t i = 0; i < sizeof(told[1]) / sizeof(*told[1]) * 64; i++)
		CHECK_EQ(told[1][i / 64] >> i % 64 & 1, i < size / p);
	CHECK_OK(nest_pt_query(&f.pt, ia, &q));
	CHECK_EQ(q.size, large);
	CHECK_EQ(q.attr, attr & ~NEST_DIRTY);
	fix_close(&f);
}

static void a_step_that_ends_in_a_block_or_group_makes_it_clean(void **state)
{
	(void)state;
	clean_in_steps(&nest_fmt_npt, 0, 512 * 4096);
	clean_in_steps(&nest_fmt_riscv_g, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD, 16 * 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_on_a_range_has_steps),
		cmocka_unit_test(a_step_that_ends_in_a_block_or_group_makes_it_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
