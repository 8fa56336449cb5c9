/* SPDX-License-Identifier: MIT */
/*
 * Resumable calls, stopped after every step there is: resumed at once, with other calls in between,
 * after an allocation that failed, or never. What comes of it is what the one-shot makes: the same
 * leaves of the same sizes, the same tables, the same bitmap, and the same pages released, each
 * once.
 */
#include "resume.h"
#include "tests/steps.h"

enum between {
	NOTHING,
	ELSEWHERE,    /* another part of the address space */
	DONE_CUT,     /* a page of what is done is unmapped */
	DONE_PROTECT, /* all that is done loses a right; or is used again, when that is harvested */
	COMING_GONE,  /* a page of what is to come is unmapped, or was not there; or is, for a mark
		       */
	COMING_MARK,  /* it is unmapped and marked */
	NO_MEMORY,    /* the step fails for want of memory, and is tried again */
	ABANDON,
	NR_BETWEEN
};

static uint64_t stops[NR_KINDS], refusals;

/* ---- Steps ---- */

/* One step, and what may be said of any. */
static int checked_step(struct run *r, const struct work *w, uint64_t *at, uint64_t budget)
{
	uint64_t done, left = r->p.size - *at;
	int rc = step(r, w, *at, budget, &done);

	CHECK(done <= left && done % r->f.page == 0);
	if (rc == NEST_OK)
		CHECK_EQ(done, left);
	else if (rc == NEST_E_AGAIN)
		CHECK(done && done < left && (!harvests(w) || done / r->f.page % 64 == 0));
	else
		CHECK_EQ(done, 0);
	*at += done;
	return rc;
}

/* ---- What comes in between ---- */

/* The page in the middle of what is to come, or of what is done. */
static uint64_t middle(const struct run *r, uint64_t from, uint64_t to)
{
	return from + (to - from) / 2 / r->f.page * r->f.page;
}

/* The same calls, whether `at` bytes are done or (of the one-shot) all are. */
static void other_call(struct run *r, const struct work *w, enum between what, uint64_t at)
{
	nest_attr_t used = harvests(w) ? NEST_ACCESSED | NEST_DIRTY : 0;
	struct fix *f = &r->f;
	nest_ia_t ia = r->p.ia;
	uint64_t p = f->page;

	switch (what) {
	case ELSEWHERE:
		ia = place(f, PLACE_LOW, 8 * p);
		CHECK_OK(nest_pt_map(&f->pt, ia, 0, 3 * p, f->attr, 0, gather_of(r)));
		CHECK_OK(nest_pt_unmap(&f->pt, ia, p, 0, gather_of(r)));
		break;
	case DONE_CUT:
		if (at)
			CHECK_OK(nest_pt_unmap(&f->pt, ia + middle(r, 0, at), p, NEST_SKIP_HOLES,
					       gather_of(r)));
		break;
	case DONE_PROTECT:
		if (at)
			CHECK_OK(nest_pt_protect(&f->pt, ia, at, used, used ? 0 : NEST_X,
						 NEST_SKIP_HOLES, gather_of(r)));
		break;
	case COMING_GONE:
	case COMING_MARK:
		ia += middle(r, at, r->p.size);
		if (w->kind == MARK && what == COMING_GONE) {
			CHECK_OK(nest_pt_map(&f->pt, ia, 0, p, f->attr, 0, gather_of(r)));
			break;
		}
		CHECK_OK(nest_pt_unmap(&f->pt, ia, p, NEST_SKIP_HOLES, gather_of(r)));
		if (what == COMING_MARK)
			CHECK_OK(nest_pt_mark(&f->pt, ia, p, 9, gather_of(r)));
		break;
	default:
		break;
	}
}

/* Every allocation of the step fails once: nothing of it is done then. */
static void without_memory(struct run *r, const struct work *w, uint64_t *at, uint64_t budget)
{
	struct snap before = snap_take(&r->f);
	int rc = NEST_E_NOMEM;

	for (uint64_t n = 1; rc == NEST_E_NOMEM; n++) {
		uint64_t released = r->released;

		arena_fail(&r->f.a, n, true);
		rc = checked_step(r, w, at, budget);
		arena_fail(&r->f.a, 0, false);
		if (rc != NEST_E_NOMEM)
			break;
		CHECK(!needs_no_memory(w));
		refusals++;
		sync_run(r);
		CHECK(n > 1 || r->gathers || r->released == released);
		check_unchanged(&r->f, &before);
	}
	CHECK(rc == NEST_OK || rc == NEST_E_AGAIN);
	snap_free(&before);
}

/* ---- One stop ---- */

/* What the call says when it comes to what other_call() has made of a page. */
static int refusal(const struct work *w, enum between what)
{
	switch (w->kind) {
	case UNMAP:
	case PROTECT:
		return w->flags & NEST_SKIP_HOLES ? NEST_OK : NEST_E_NOTMAPPED;
	case MARK:
		return what == COMING_GONE ? NEST_E_MAPPED : NEST_OK;
	default:
		return NEST_OK;
	}
}

/* The raw walker takes a LoongArch page that was never accessed for absent. */
static void look_closely(struct run *r, const struct work *w)
{
	if (harvests(w))
		CHECK_OK(nest_pt_protect(&r->f.pt, r->p.ia, r->p.size, NEST_ACCESSED, 0,
					 NEST_SKIP_HOLES, NULL));
	check_consistent(&r->f);
}

static void compare(struct run *x, struct run *y)
{
	struct snap a, b;

	sync_run(x);
	sync_run(y);
	a = snap_take(&x->f);
	b = snap_take(&y->f);
	CHECK_EQ(b.n, a.n);
	CHECK_EQ(b.outstanding, a.outstanding);
	CHECK_EQ(b.raw, a.raw);
	CHECK(snap_same(&a, &b));
	CHECK_EQ(y->released_bytes, x->released_bytes);
	CHECK_EQ(y->released, x->released);
	snap_free(&a);
	snap_free(&b);
}

/*
 * The bitmaps are the same, but for the page that was taken away in between: a step that ends in
 * the midst of a block or group tells all of it, and so may have told a page of what was to come,
 * which the one-shot never met.
 */
static void compare_told(const struct run *x, const struct run *y, enum between what, uint64_t at)
{
	uint64_t gone = middle(x, at, x->p.size) / x->f.page;

	for (uint64_t i = 0; i < RUN_WORDS; i++) {
		bool taken = (what == COMING_GONE || what == COMING_MARK) && i == gone / 64;
		uint64_t more = taken ? (uint64_t)1 << gone % 64 : 0;

		CHECK_EQ(y->told[i], x->told[i] | (y->told[i] & more));
	}
}

static void name_stop(const struct work *w, uint64_t budget, unsigned steps, enum between what)
{
	size_t used = strlen(test_case);

	snprintf(test_case + used, sizeof(test_case) - used,
		 ", %s, budget %lu, after %u steps in-between call %u", w->name,
		 (unsigned long)budget, steps, (unsigned)what);
}

/* The one-shot: what is done, the other call, and the rest. */
static void whole(struct run *x, const struct work *w, enum between what, uint64_t stopped,
		  uint64_t at)
{
	int want = refusal(w, what);

	if (what != COMING_GONE && what != COMING_MARK) {
		CHECK_OK(one_shot(x, w, 0, x->p.size));
		other_call(x, w, what, stopped);
		return;
	}
	other_call(x, w, what, stopped);
	CHECK_RC(one_shot(x, w, 0, x->p.size), want);
	/* The unit of a call that fails is not done; what came before it is. */
	if (want) {
		CHECK(at <= middle(x, stopped, x->p.size));
		CHECK_OK(at ? one_shot(x, w, 0, at) : NEST_OK);
	}
}

/* Stop after `steps` steps. False: the call is over before. */
static bool stop(const struct tcase *c, const struct work *w, uint64_t budget, unsigned steps,
		 enum between what, bool gathers)
{
	static struct run x, y;
	uint64_t at = 0, stopped, calls = 0;
	int rc = NEST_E_AGAIN, want = NEST_OK;

	open_run(&y, c, w, gathers);
	name_stop(w, budget, steps, what);
	for (unsigned i = 0; i < steps && rc == NEST_E_AGAIN; i++)
		rc = checked_step(&y, w, &at, budget);
	CHECK(rc == NEST_E_AGAIN || rc == NEST_OK);
	if (rc == NEST_OK || what == ABANDON) {
		close_run(&y);
		return rc == NEST_E_AGAIN;
	}
	stopped = at;
	other_call(&y, w, what, at);
	if (what == NO_MEMORY)
		without_memory(&y, w, &at, budget);
	for (rc = at < y.p.size ? NEST_E_AGAIN : NEST_OK; rc == NEST_E_AGAIN;) {
		rc = checked_step(&y, w, &at, budget);
		CHECK(++calls < 100000);
	}
	open_run(&x, c, w, gathers);
	name_stop(w, budget, steps, what);
	whole(&x, w, what, stopped, at);
	if (what == COMING_GONE || what == COMING_MARK)
		want = refusal(w, what);
	CHECK_RC(rc, want);
	compare(&x, &y);
	compare_told(&x, &y, what, stopped);
	if (stops[w->kind] % 8 == 0)
		look_closely(&y, w);
	close_run(&x);
	close_run(&y);
	stops[w->kind]++;
	return true;
}

/* May it take a step for every page of a block? */
static bool is_long(const struct work *w)
{
	return w->kind == MARK || w->kind == SPLIT;
}

/*
 * All that may come in between at the first stops; then one after the other, with the stops. What
 * is long stops after some steps only: ever fewer from the 32nd on.
 */
static bool is_due(const struct work *w, unsigned steps, enum between what)
{
	unsigned apart = 1;

	while (is_long(w) && steps / apart >= 32)
		apart *= 2;
	return steps < 2 || (steps % apart == 0 && steps / apart % NR_BETWEEN == what);
}

static void every_stop_of(const struct tcase *c, const struct work *w, uint64_t budget)
{
	bool more = can(c, w);

	for (unsigned n = 0; more; n++) {
		unsigned steps = n / NR_BETWEEN;
		enum between what = (enum between)(n % NR_BETWEEN);

		if (is_due(w, steps, what))
			more = stop(c, w, budget, steps, what, (steps + what) & 1);
	}
}

static void every_stop(const struct tcase *c)
{
	/* As many steps a table with 2048 or 8192 entries as with 512. */
	uint64_t larger = (uint64_t)1 << (c->info.index_bits - 9);

	for (unsigned i = 0; i < nr_works; i++) {
		const struct work *w = &works[i];

		every_stop_of(c, w, is_long(w) ? larger : 1);
		/* A harvest takes 64 pages, the bits of a word, as one step at least. */
		every_stop_of(c, w, harvests(w) ? 150 : is_long(w) ? 24 * larger : 24);
	}
}

/* What the sweep leaves out: groups whose status is kept, in every format that has them. */
static void groups_with_status(void)
{
	static const uint32_t more[] = { NEST_FEAT_CONTIG | NEST_FEAT_HW_AD,
					 NEST_FEAT_CONTIG | NEST_FEAT_SW_AD };

	for (unsigned n = 0; nest_formats[n]; n++) {
		uint32_t known = tcase_of(nest_formats[n], 0, 0, 0).info.features;

		for (unsigned i = 0; i < 2; i++) {
			struct tcase c;

			if (more[i] & ~known)
				continue;
			c = tcase_of(nest_formats[n], more[i], 0, 0);
			for (unsigned k = 0; k < nr_works; k++) {
				if (needs_no_memory(&works[k]))
					every_stop_of(&c, &works[k], 1);
			}
		}
	}
}

static void a_stop_makes_no_difference(void **state)
{
	static const char *const names[NR_KINDS] = { "map",   "unmap", "protect", "mark",
						     "split", "merge", "harvest", "age" };
	static const uint64_t floors[NR_KINDS] = {
		8000, 5500, 5000, 7000, 13000, 2000, 1600, 4500
	};
	uint64_t sum = 0;

	(void)state;
	memset(stops, 0, sizeof(stops));
	refusals = 0;
	sweep(SWEEP_DEFAULT_WIDTH, every_stop);
	groups_with_status();
	for (unsigned i = 0; i < NR_KINDS; i++) {
		printf("%s %lu, ", names[i], (unsigned long)stops[i]);
		sum += stops[i];
	}
	printf("%lu stops, %lu steps without memory\n", (unsigned long)sum,
	       (unsigned long)refusals);
	if (!sweep_is_whole())
		return;
	for (unsigned i = 0; i < NR_KINDS; i++)
		CHECK(stops[i] > floors[i]);
	CHECK(refusals > 1700);
}

/* On an error *done tells what the earlier steps did; and nothing of the failing step is left. */
static void a_failing_step_leaves_the_earlier_ones(void **state)
{
	struct steps st;
	struct tcase c = tcase_of(&nest_fmt_npt, 0, 0, 0);
	struct fix f;
	uint64_t done = 0, p, at;

	(void)state;
	fix_open(&f, &c);
	p = f.page;
	CHECK_OK(nest_pt_map(&f.pt, 40 * p, 0, p, f.attr, 0, NULL));
	CHECK_RC(steps_end(&st,
			   nest_pt_map(&f.pt, 0, 0x8000000, 64 * p, f.attr, 0,
				       steps_begin(&st, &f.pt, NULL, 8)),
			   &done),
		 NEST_E_AGAIN);
	CHECK(done > 0 && done <= 40 * p);
	for (at = done; steps_end(&st,
				  nest_pt_map(&f.pt, at, 0x8000000 + at, 64 * p - at, f.attr, 0,
					      steps_begin(&st, &f.pt, NULL, 8)),
				  &done) == NEST_E_AGAIN;)
		at += done;
	at += done;
	CHECK(at <= 40 * p);
	if (at)
		check_range(&f, 0, 0x8000000, at, f.attr);
	check_none(&f, at == 40 * p ? 41 * p : at);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stop_makes_no_difference),
		cmocka_unit_test(a_failing_step_leaves_the_earlier_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
