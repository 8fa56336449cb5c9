/* SPDX-License-Identifier: MIT */
/*
 * Resumable calls, stopped after every step there is: resumed at once, with other calls in between,
 * after an allocation that failed, or never. What comes of it is what the one-shot makes: the same
 * leaves of the same sizes, the same tables, and the same pages released, each once.
 */
#include "support.h"

/*
 * A level-1 span, and small pages before and behind it: a few, and a group where there are groups.
 * PAGES: a block, and small pages that are mapped one by one; RAGGED: with holes and marks;
 * BLOCKS: small pages that are parts of blocks, and have to be split off; EMPTY: nothing.
 */
enum scene { EMPTY, PAGES, RAGGED, BLOCKS };
enum kind { MAP, UNMAP, PROTECT };

struct part {
	uint64_t ia, size; /* the call's range */
	uint64_t block;    /* bytes of a level-1 span, or what stands in for it */
	uint64_t margin;   /* small pages before and behind */
	nest_pa_t pa;
};

struct work {
	const char *name;
	enum scene scene;
	enum kind kind;
	uint32_t flags;
	bool type; /* protect: another memory type */
};

static const struct work works[] = {
	{ "map", EMPTY, MAP, 0, false },
	{ "map in place of pages", PAGES, MAP, NEST_MAP_REPLACE, false },
	{ "map in place of blocks", BLOCKS, MAP, NEST_MAP_REPLACE, false },
	{ "map what is not", RAGGED, MAP, NEST_MAP_SKIP_MAPPED, false },
	{ "unmap pages", PAGES, UNMAP, 0, false },
	{ "unmap blocks", BLOCKS, UNMAP, 0, false },
	{ "unmap what is", RAGGED, UNMAP, NEST_UNMAP_SPARSE, false },
	{ "protect", BLOCKS, PROTECT, 0, false },
	{ "protect what is", RAGGED, PROTECT, NEST_UNMAP_SPARSE, false },
	{ "another type", BLOCKS, PROTECT, 0, true },
};

enum between {
	NOTHING,
	ELSEWHERE,    /* another part of the address space */
	DONE_CUT,     /* a page of what is done is unmapped */
	DONE_PROTECT, /* all that is done loses a right */
	COMING_GONE,  /* a page of what is to come is unmapped, or was not there */
	COMING_MARK,  /* and then marked */
	NO_MEMORY,    /* the step fails for want of memory, and is tried again */
	ABANDON,
	NR_BETWEEN
};

struct run {
	struct fix f;
	struct part p;
	struct nest_gather gather;
	bool gathers;
	uint64_t released; /* a digest that does not know the order */
	uint64_t released_bytes;
};

static uint64_t stops, refusals;

/* ---- Scenes ---- */

static void on_release(void *ctx, const struct nest_mapping *leaf)
{
	struct run *r = ctx;

	arena_release(&r->f.a, leaf);
	for (uint64_t at = 0; at < leaf->size; at += r->f.page) {
		uint64_t h = (leaf->ia + at) * 0x9e3779b97f4a7c15u ^ (leaf->pa + at);

		r->released += (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
	}
	r->released_bytes += leaf->size;
}

static struct nest_gather *gather_of(struct run *r)
{
	return r->gathers ? &r->gather : NULL;
}

static void paint(struct run *r, enum scene scene)
{
	struct fix *f = &r->f;
	uint64_t p = f->page, b = r->p.block, more = scene == BLOCKS ? b : r->p.margin;
	nest_ia_t middle = r->p.ia + r->p.margin;

	if (scene == EMPTY)
		return;
	CHECK_OK(nest_pt_map(&f->pt, middle - more, 0x80000000u - more, 2 * more + b, f->attr, 0,
			     NULL));
	if (scene != RAGGED)
		return;
	CHECK_OK(nest_pt_unmap(&f->pt, r->p.ia + p, p, 0, NULL));
	CHECK_OK(nest_pt_unmap(&f->pt, middle + b, 2 * p, 0, NULL));
	CHECK_OK(nest_pt_mark(&f->pt, middle + b + p, p, 5, NULL));
}

static void open_run(struct run *r, const struct tcase *c, const struct work *w, bool gathers)
{
	struct fix *f = &r->f;
	struct part *p = &r->p;

	fix_open(f, c);
	*p = (struct part){ .block = f->max_leaf > 0 ? span(f, 1) : 8 * f->page };
	p->margin = 3 * f->page + group(f, 0);
	if (p->margin >= p->block)
		p->margin = 3 * f->page;
	p->ia = place(f, PLACE_TOP, 8 * p->block) + 2 * p->block - p->margin;
	p->size = 2 * p->margin + p->block;
	r->gathers = gathers;
	r->released = r->released_bytes = 0;
	paint(r, w->scene);
	/* In step with the addresses; other frames than those of the scene. */
	p->pa = 0x40000000u + (p->ia & (p->block - 1));
	arena_mark(&f->a);
	nest_gather_init(&r->gather, &f->pt);
	nest_gather_on_release(&r->gather, on_release, r);
}

static void sync_run(struct run *r)
{
	nest_gather_sync(&r->gather);
	arena_mark(&r->f.a);
}

static void close_run(struct run *r)
{
	nest_gather_sync(&r->gather);
	fix_close(&r->f);
}

/* ---- Calls ---- */

static nest_attr_t other_type(const struct run *r)
{
	return r->f.c.info.stage2 && !strcmp(r->f.c.name, "riscv-g") ? 0 : NEST_MT_UC;
}

static int one_shot(struct run *r, const struct work *w, uint64_t from, uint64_t size)
{
	struct fix *f = &r->f;
	nest_ia_t ia = r->p.ia + from;

	switch (w->kind) {
	case MAP:
		return nest_pt_map(&f->pt, ia, r->p.pa + from, size, f->attr, w->flags,
				   gather_of(r));
	case UNMAP:
		return nest_pt_unmap(&f->pt, ia, size, w->flags, gather_of(r));
	default:
		return nest_pt_protect(&f->pt, ia, size, w->type ? other_type(r) : 0,
				       w->type ? NEST_MT_MASK : f->w, w->flags, gather_of(r));
	}
}

static int step(struct run *r, const struct work *w, uint64_t from, uint64_t budget, uint64_t *done)
{
	struct fix *f = &r->f;
	nest_ia_t ia = r->p.ia + from;
	uint64_t size = r->p.size - from;

	*done = ~(uint64_t)0;
	switch (w->kind) {
	case MAP:
		return nest_pt_map_some(&f->pt, ia, r->p.pa + from, size, f->attr, w->flags,
					gather_of(r), budget, done);
	case UNMAP:
		return nest_pt_unmap_some(&f->pt, ia, size, w->flags, gather_of(r), budget, done);
	default:
		return nest_pt_protect_some(&f->pt, ia, size, w->type ? other_type(r) : 0,
					    w->type ? NEST_MT_MASK : f->w, w->flags, gather_of(r),
					    budget, done);
	}
}

/* One step, and what may be said of any. */
static int checked_step(struct run *r, const struct work *w, uint64_t *at, uint64_t budget)
{
	uint64_t done, left = r->p.size - *at;
	int rc = step(r, w, *at, budget, &done);

	CHECK(done <= left && done % r->f.page == 0);
	if (rc == NEST_OK)
		CHECK_EQ(done, left);
	else if (rc == NEST_E_AGAIN)
		CHECK(done && done < left);
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
static void other_call(struct run *r, enum between what, uint64_t at)
{
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
			CHECK_OK(nest_pt_unmap(&f->pt, ia + middle(r, 0, at), p, NEST_UNMAP_SPARSE,
					       gather_of(r)));
		break;
	case DONE_PROTECT:
		if (at)
			CHECK_OK(nest_pt_protect(&f->pt, ia, at, 0, NEST_X, NEST_UNMAP_SPARSE,
						 gather_of(r)));
		break;
	case COMING_GONE:
	case COMING_MARK:
		ia += middle(r, at, r->p.size);
		CHECK_OK(nest_pt_unmap(&f->pt, ia, p, NEST_UNMAP_SPARSE, gather_of(r)));
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
		refusals++;
		sync_run(r);
		CHECK(n > 1 || r->gathers || r->released == released);
		check_unchanged(&r->f, &before);
	}
	CHECK(rc == NEST_OK || rc == NEST_E_AGAIN);
	snap_free(&before);
}

/* ---- One stop ---- */

/* The unit of a strict call that finds a hole is not done; what came before it is. */
static bool needs_all(const struct work *w)
{
	return w->kind != MAP && !(w->flags & NEST_UNMAP_SPARSE);
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
	if (stops % 8 == 0)
		check_consistent(&y->f);
	snap_free(&a);
	snap_free(&b);
}

static void name_stop(const struct work *w, uint64_t budget, unsigned steps, enum between what)
{
	size_t used = strlen(test_case);

	snprintf(test_case + used, sizeof(test_case) - used,
		 ", %s, budget %lu, after %u steps in-between call %u", w->name,
		 (unsigned long)budget, steps, (unsigned)what);
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
	other_call(&y, what, at);
	if (what == NO_MEMORY)
		without_memory(&y, w, &at, budget);
	for (rc = at < y.p.size ? NEST_E_AGAIN : NEST_OK; rc == NEST_E_AGAIN;) {
		rc = checked_step(&y, w, &at, budget);
		CHECK(++calls < 100000);
	}
	/* The one-shot: what is done, the other call, and the rest. */
	open_run(&x, c, w, gathers);
	name_stop(w, budget, steps, what);
	if (what == COMING_GONE || what == COMING_MARK) {
		other_call(&x, what, stopped);
		want = needs_all(w) ? NEST_E_NOTMAPPED : NEST_OK;
		CHECK_RC(one_shot(&x, w, 0, x.p.size), want);
		if (want)
			CHECK_OK(at ? one_shot(&x, w, 0, at) : NEST_OK);
	} else {
		CHECK_OK(one_shot(&x, w, 0, x.p.size));
		other_call(&x, what, stopped);
	}
	CHECK_RC(rc, want);
	CHECK(want == NEST_OK || at <= middle(&x, stopped, x.p.size));
	compare(&x, &y);
	close_run(&x);
	close_run(&y);
	stops++;
	return true;
}

static bool can(const struct tcase *c, const struct work *w)
{
	nest_pte_t e;

	return !w->type ||
	       nest_pte_leaf(c->format, 0, c->features, 0, NEST_RW | NEST_MT_UC, &e) == NEST_OK;
}

/* All that may come in between at the first stops; then one after the other, with the stops. */
static bool is_due(unsigned steps, enum between what)
{
	return steps < 2 || steps % NR_BETWEEN == what;
}

static void every_stop(const struct tcase *c)
{
	static const uint64_t budgets[] = { 1, 24 };

	for (unsigned i = 0; i < 2 * sizeof(works) / sizeof(*works); i++) {
		const struct work *w = &works[i / 2];
		bool more = can(c, w);

		for (unsigned n = 0; more; n++) {
			unsigned steps = n / NR_BETWEEN;
			enum between what = (enum between)(n % NR_BETWEEN);

			if (!is_due(steps, what))
				continue;
			more = stop(c, w, budgets[i % 2], steps, what, (steps + what) & 1);
		}
	}
}

static void a_stop_makes_no_difference(void **state)
{
	(void)state;
	stops = refusals = 0;
	sweep(SWEEP_DEFAULT_WIDTH, every_stop);
	printf("%lu stops, %lu steps without memory\n", (unsigned long)stops,
	       (unsigned long)refusals);
	CHECK(stops > 10000 && refusals > 500);
}

/* On an error *done tells what the earlier steps did; and nothing of the failing step is left. */
static void a_failing_step_leaves_the_earlier_ones(void **state)
{
	struct tcase c = tcase_of(&nest_fmt_npt, 0, 0, 0);
	struct fix f;
	uint64_t done = 0, p, at;

	(void)state;
	fix_open(&f, &c);
	p = f.page;
	CHECK_OK(nest_pt_map(&f.pt, 40 * p, 0, p, f.attr, 0, NULL));
	CHECK_RC(nest_pt_map_some(&f.pt, 0, 0x8000000, 64 * p, f.attr, 0, NULL, 8, &done),
		 NEST_E_AGAIN);
	CHECK(done > 0 && done <= 40 * p);
	for (at = done; nest_pt_map_some(&f.pt, at, 0x8000000 + at, 64 * p - at, f.attr, 0, NULL, 8,
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
