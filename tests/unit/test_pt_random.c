/* SPDX-License-Identifier: MIT */
/*
 * Random operations against a flat model: one record a page over windows at the low, middle and top
 * end of the address space. The model knows pages and nothing of tables; the engine must agree
 * with it after every operation, failed ones included, and report each removed frame once.
 *
 * Replay with NEST_SEED; NEST_OPS sets the number of operations for each format. For each format a
 * line "counts" has the sums of their results: the same with every build of the library.
 */
#include "support.h"

enum { WINDOWS = 3 };

struct cell {
	enum nest_pte_kind kind;
	nest_pa_t pa;
	nest_attr_t attr;
	uint64_t mark;
};

/* What a format's operations came to. */
struct counts {
	const char *name;
	uint64_t ok, refused, no_memory, tables;
	uint64_t digest; /* of all results, and of the contents in the end */
};

struct world {
	struct fix f;
	uint64_t pages; /* of a window */
	uint64_t base[WINDOWS];
	struct cell *cell[WINDOWS];
	uint64_t seed;
	uint64_t must, told; /* digests of the pages that are to be released, and were */
	bool gathering;
	struct nest_gather gather;
};

static struct counts counts;

static void print_counts(void)
{
	if (counts.name)
		print_message("counts %s: %llu ok, %llu refused, %llu out of memory, %llu tables, "
			      "digest %016llx\n",
			      counts.name, (unsigned long long)counts.ok,
			      (unsigned long long)counts.refused,
			      (unsigned long long)counts.no_memory,
			      (unsigned long long)counts.tables, (unsigned long long)counts.digest);
	memset(&counts, 0, sizeof(counts));
}

static void add_to_digest(uint64_t value)
{
	counts.digest = (counts.digest ^ value) * 0x100000001b3u;
}

/* The status of a call; which one it must be, the caller checks. */
static int counted(int rc)
{
	counts.ok += rc == NEST_OK;
	counts.no_memory += rc == NEST_E_NOMEM;
	counts.refused += rc != NEST_OK && rc != NEST_E_NOMEM;
	add_to_digest((uint64_t)(int64_t)rc);
	return rc;
}

/* Order does not matter, so digests are sums. */
static uint64_t page_digest(uint64_t ia, nest_pa_t pa)
{
	uint64_t s = ia * 31 ^ pa;

	return rnd(&s);
}

static void on_release(void *ctx, const struct nest_mapping *leaf)
{
	struct world *w = ctx;

	CHECK_EQ(leaf->kind, NEST_PTE_LEAF);
	CHECK(arena_flushed_at(&w->f.a, leaf->ia, leaf->ia + (leaf->size - 1), leaf->level));
	for (uint64_t at = 0; at < leaf->size; at += w->f.page)
		w->told += page_digest(leaf->ia + at, leaf->pa + at);
}

struct request {
	unsigned win;
	uint64_t from, n; /* pages */
	uint64_t ia, size;
	nest_pa_t pa;
	nest_attr_t attr;
	uint32_t flags;
};

static uint64_t below(struct world *w, uint64_t n)
{
	return rnd(&w->seed) % n;
}

/* Ranges of single pages, of whole groups and blocks, and ranges that are off by a page. */
static struct request draw(struct world *w)
{
	const nest_attr_t less[] = { 0, 0, w->f.w, NEST_X, w->f.w | NEST_X };
	struct request r = { .win = (unsigned)below(w, WINDOWS) };
	uint64_t unit = 1;

	switch (below(w, 4)) {
	case 0:
		unit = w->f.max_leaf > 0 ? span(&w->f, 1) / w->f.page : 64;
		break;
	case 1:
		unit = w->f.page == 16384 ? 128 : w->f.page == 65536 ? 32 : 16;
		break;
	}
	r.from = below(w, w->pages / unit) * unit;
	r.n = unit == 1 ? 1 + below(w, below(w, 2) ? 1 : 40) : unit * (1 + below(w, 4));
	if (below(w, 8) == 0)
		r.from++, r.n++;
	if (r.from + r.n > w->pages)
		r.n = w->pages - r.from;
	if (!r.n)
		r.from = 0, r.n = 1;
	r.ia = w->base[r.win] + r.from * w->f.page;
	r.size = r.n * w->f.page;
	/* Mostly frames that fall in step with the address, so that large pages arise and merge. */
	r.pa = ((8 + below(w, 2)) * w->pages + r.from) * w->f.page;
	if (below(w, 4) == 0)
		r.pa += below(w, 64) * w->f.page;
	r.attr = w->f.attr & ~less[below(w, 5)];
	return r;
}

static struct cell *cells(struct world *w, const struct request *r)
{
	return w->cell[r->win] + r->from;
}

static uint64_t count(struct world *w, const struct request *r, enum nest_pte_kind kind)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < r->n; i++)
		n += cells(w, r)[i].kind == kind;
	return n;
}

static void set_cell(struct world *w, const struct request *r, uint64_t i, struct cell to)
{
	struct cell *c = &cells(w, r)[i];

	if (c->kind == NEST_PTE_LEAF && (to.kind != NEST_PTE_LEAF || to.pa != c->pa) &&
	    w->gathering)
		w->must += page_digest(r->ia + i * w->f.page, c->pa);
	*c = to;
}

/* Does a larger page stick out of the range? */
static bool cuts(struct world *w, const struct request *r)
{
	uint64_t ends[2] = { r->ia, r->ia + (r->size - w->f.page) };

	for (unsigned i = 0; i < 2; i++) {
		struct nest_mapping m;
		uint64_t first;

		if (nest_pt_query(&w->f.pt, ends[i], &m) != NEST_OK)
			continue;
		first = m.ia & ~(m.size - 1);
		if (first < r->ia || first + (m.size - 1) > r->ia + (r->size - 1))
			return true;
	}
	return false;
}

static void random_map(struct world *w, struct request *r, struct nest_gather *g)
{
	static const uint32_t how[] = { 0, NEST_MAP_REPLACE, NEST_MAP_REPLACE,
					NEST_MAP_SKIP_MAPPED };
	static const uint32_t limit[] = { 0, 0, NEST_MAP_NO_HUGE, NEST_MAP_MAX_LEVEL(1) };
	int want = NEST_OK, rc;

	r->flags = how[below(w, 4)] | limit[below(w, 4)];
	if (below(w, 8) == 0)
		r->flags |= NEST_NO_SPLIT;
	if (!(r->flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED)) && count(w, r, NEST_PTE_LEAF))
		want = NEST_E_MAPPED;
	else if ((r->flags & NEST_NO_SPLIT) && (r->flags & NEST_MAP_REPLACE) && cuts(w, r))
		want = NEST_E_HUGE;
	rc = counted(nest_pt_map(&w->f.pt, r->ia, r->pa, r->size, r->attr, r->flags, g));
	if (rc == NEST_E_NOMEM && w->f.a.fail_rest)
		return;
	CHECK_RC(rc, want);
	for (uint64_t i = 0; rc == NEST_OK && i < r->n; i++) {
		if (cells(w, r)[i].kind == NEST_PTE_LEAF && (r->flags & NEST_MAP_SKIP_MAPPED))
			continue;
		set_cell(w, r, i,
			 (struct cell){ NEST_PTE_LEAF, r->pa + i * w->f.page, r->attr, 0 });
	}
}

static void random_unmap(struct world *w, struct request *r, struct nest_gather *g)
{
	uint64_t holes = r->n - count(w, r, NEST_PTE_LEAF);
	bool sparse = below(w, 2), hole, cut;
	int rc;

	r->flags = (sparse ? NEST_SKIP_HOLES : 0) | (below(w, 8) ? 0 : NEST_NO_SPLIT);
	hole = !sparse && holes;
	cut = (r->flags & NEST_NO_SPLIT) && cuts(w, r);
	rc = counted(nest_pt_unmap(&w->f.pt, r->ia, r->size, r->flags, g));
	if (rc == NEST_E_NOMEM && w->f.a.fail_rest)
		return;
	CHECK((rc == NEST_OK && !hole && !cut) || (rc == NEST_E_NOTMAPPED && hole) ||
	      (rc == NEST_E_HUGE && cut));
	for (uint64_t i = 0; rc == NEST_OK && i < r->n; i++)
		set_cell(w, r, i, (struct cell){ NEST_PTE_NONE, 0, 0, 0 });
}

/* Is a page of the range without this right? */
static bool lacks(struct world *w, const struct request *r, nest_attr_t bit)
{
	for (uint64_t i = 0; i < r->n; i++) {
		const struct cell *c = &cells(w, r)[i];

		if (c->kind == NEST_PTE_LEAF && (bit & ~c->attr))
			return true;
	}
	return false;
}

static void random_protect(struct world *w, struct request *r, struct nest_gather *g)
{
	nest_attr_t bit = below(w, 2) ? w->f.w : NEST_X, set = below(w, 2) ? bit : 0;
	bool hole = count(w, r, NEST_PTE_LEAF) < r->n, sparse = below(w, 2), cut;
	int rc;

	r->flags = (sparse ? NEST_SKIP_HOLES : 0) | (below(w, 8) ? 0 : NEST_NO_SPLIT);
	if (bit == NEST_X && below(w, 3) == 0)
		r->flags |= NEST_IF_SET;
	cut = (r->flags & NEST_NO_SPLIT) && cuts(w, r);
	rc = counted(nest_pt_protect(&w->f.pt, r->ia, r->size, set, bit & ~set, r->flags, g));
	if (rc == NEST_E_NOMEM && w->f.a.fail_rest)
		return;
	hole = hole && !sparse;
	if (r->flags & NEST_IF_SET)
		hole |= lacks(w, r, bit & ~set);
	/* A cut page that has these rights already may be left alone. */
	CHECK((rc == NEST_OK && !hole) || (rc == NEST_E_NOTMAPPED && hole) ||
	      (rc == NEST_E_HUGE && cut));
	for (uint64_t i = 0; rc == NEST_OK && i < r->n; i++) {
		struct cell *c = &cells(w, r)[i];

		if (c->kind == NEST_PTE_LEAF)
			c->attr = (c->attr & ~bit) | set;
	}
}

static void random_mark(struct world *w, struct request *r, struct nest_gather *g)
{
	uint64_t value = rnd(&w->seed) & NEST_MARK_MAX;
	int rc = counted(nest_pt_mark(&w->f.pt, r->ia, r->size, value, g));

	if (rc == NEST_E_NOMEM && w->f.a.fail_rest)
		return;
	CHECK_RC(rc, count(w, r, NEST_PTE_LEAF) ? NEST_E_MAPPED : NEST_OK);
	for (uint64_t i = 0; rc == NEST_OK && i < r->n; i++)
		set_cell(w, r, i, (struct cell){ NEST_PTE_MARK, 0, 0, value });
}

static void check_pages(struct world *w, unsigned win, uint64_t from, uint64_t to, uint64_t step)
{
	for (uint64_t i = from; i < to; i += step) {
		const struct cell *c = &w->cell[win][i];
		struct nest_mapping m;
		struct raw_leaf l;
		uint64_t ia = w->base[win] + i * w->f.page;
		int rc = nest_pt_query(&w->f.pt, ia, &m);

		CHECK_EQ(m.kind, c->kind);
		CHECK_RC(rc, c->kind == NEST_PTE_LEAF ? NEST_OK : NEST_E_NOTMAPPED);
		CHECK_EQ(m.mark, c->mark);
		CHECK_EQ(raw_translate(&w->f.geo, ia, &l), rc == NEST_OK);
		if (rc)
			continue;
		CHECK_EQ(m.pa, c->pa);
		CHECK_EQ(l.pa, c->pa);
		CHECK_EQ(plain_attr(m.attr), plain_attr(c->attr));
	}
}

static bool shared(const struct world *w)
{
	return w->f.c.flags & NEST_PT_SHARED;
}

static void sync_now(struct world *w)
{
	nest_gather_sync(&w->gather);
	if (below(w, 2))
		arena_run_deferred(&w->f.a);
	CHECK_EQ(w->told, w->must);
	w->gathering = false;
	arena_mark(&w->f.a);
}

/* As a guest faults: one page a call, mapped where none is, with rights of its own; or taken out.
 */
static void random_pages(struct world *w, const struct request *range, struct nest_gather *g)
{
	const nest_attr_t less[] = { 0, w->f.w, NEST_X };

	for (unsigned k = 0; k < 16; k++) {
		const uint64_t i = below(w, range->n < 16 ? range->n : 16);
		const uint64_t ia = range->ia + i * w->f.page;
		struct cell *c = &cells(w, range)[i];
		struct cell to = { NEST_PTE_LEAF, range->pa + i * w->f.page,
				   w->f.attr & ~less[below(w, 3)], 0 };
		int rc;

		if (c->kind == NEST_PTE_LEAF) {
			to = (struct cell){ NEST_PTE_NONE, 0, 0, 0 };
			rc = counted(nest_pt_unmap(&w->f.pt, ia, w->f.page, 0, g));
		} else {
			rc = counted(nest_pt_map(&w->f.pt, ia, to.pa, w->f.page, to.attr, 0, g));
		}
		if (rc == NEST_E_NOMEM && w->f.a.fail_rest)
			continue;
		CHECK_OK(rc);
		set_cell(w, range, i, to);
	}
}

static void step(struct world *w)
{
	struct request r = draw(w);
	struct nest_gather *g = w->gathering ? &w->gather : NULL;
	uint64_t a = r.from ? r.from - 1 : 0, b = r.from + r.n;

	if (below(w, 6) == 0)
		arena_fail(&w->f.a, 1 + below(w, 4), true);
	switch (below(w, 16)) {
	default:
		random_map(w, &r, g);
		break;
	case 6:
		random_pages(w, &r, g);
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		random_unmap(w, &r, g);
		break;
	case 11:
	case 12:
		random_protect(w, &r, g);
		break;
	case 13:
		random_mark(w, &r, g);
		break;
	case 14:
		if (counted(nest_pt_split(&w->f.pt, r.ia, r.size, 0, g)) != NEST_OK)
			CHECK(w->f.a.fail_rest);
		break;
	case 15:
		CHECK_RC(counted(nest_pt_merge(&w->f.pt, r.ia, r.size, g)),
			 shared(w) ? NEST_E_UNSUPPORTED : NEST_OK);
		break;
	}
	arena_fail(&w->f.a, 0, false);
	check_pages(w, r.win, a, b < w->pages ? b + 1 : b, r.n > 64 ? r.n / 29 : 1);
	check_pages(w, r.win, b - 1, b < w->pages ? b + 1 : b, 1);
}

static void check_all(struct world *w)
{
	for (unsigned i = 0; i < WINDOWS; i++)
		check_pages(w, i, 0, w->pages, 1);
	/* Shared mode keeps a table where a map puts pages that one entry could hold. */
	if (!shared(w))
		check_consistent(&w->f);
}

/* As the table says, not the model: that they agree has been checked. */
static void add_contents(struct world *w)
{
	struct snap s = snap_take(&w->f);

	for (size_t i = 0; i < s.n; i++) {
		add_to_digest(s.m[i].ia ^ s.m[i].size);
		add_to_digest(s.m[i].pa ^ plain_attr(s.m[i].attr) ^ s.m[i].mark);
	}
	counts.tables += s.outstanding;
	snap_free(&s);
}

static unsigned nr_ops = 1000;
static uint64_t seed0;

static void run(const struct tcase *c)
{
	static struct world w;
	unsigned i;

	if (!counts.name || strcmp(counts.name, c->name) != 0)
		print_counts();
	counts.name = c->name;
	memset(&w, 0, sizeof(w));
	fix_open(&w.f, c);
	w.seed = seed0;
	w.pages = w.f.max_leaf > 0 ? 4 * span(&w.f, 1) / w.f.page : 512;
	while (w.pages > 4096 && w.pages > (w.f.max_leaf ? 2 * span(&w.f, 1) / w.f.page : 512))
		w.pages /= 2;
	for (i = 0; i < WINDOWS; i++) {
		static const enum place where[] = { PLACE_LOW, PLACE_LOW_TOP, PLACE_TOP };

		w.base[i] = place(&w.f, where[i], w.pages * w.f.page);
		w.cell[i] = calloc(w.pages, sizeof(struct cell));
	}
	if (c->features & NEST_FEAT_CONTIG)
		arena_use_defer(&w.f.a);
	/* Half of them in each mode, where there are two. */
	for (i = 0; i < (c->features & NEST_FEAT_CONTIG ? nr_ops : nr_ops / 2); i++) {
		size_t len = strlen(test_case);

		snprintf(test_case + len, sizeof(test_case) - len, ", operation %u", i);
		if (!w.gathering && below(&w, 2)) {
			w.gathering = true;
			nest_gather_init(&w.gather, &w.f.pt);
			nest_gather_on_release(&w.gather, on_release, &w);
		}
		step(&w);
		/* There, no call leaves anything to be synced. */
		if (shared(&w))
			CHECK_EQ(w.told, w.must);
		if (shared(&w))
			arena_run_deferred(&w.f.a);
		if (!w.gathering)
			arena_mark(&w.f.a);
		else if (below(&w, 4) == 0)
			sync_now(&w);
		if (i % 100 == 99) {
			if (w.gathering)
				sync_now(&w);
			arena_run_deferred(&w.f.a);
			check_all(&w);
		}
		test_case[len] = 0;
	}
	if (w.gathering)
		sync_now(&w);
	arena_run_deferred(&w.f.a);
	check_all(&w);
	add_contents(&w);
	for (i = 0; i < WINDOWS; i++) {
		CHECK_OK(nest_pt_unmap(&w.f.pt, w.base[i], w.pages * w.f.page, NEST_SKIP_HOLES,
				       NULL));
		arena_run_deferred(&w.f.a);
		free(w.cell[i]);
	}
	arena_run_deferred(&w.f.a);
	CHECK_EQ(w.f.a.outstanding, w.f.tables0);
	fix_close(&w.f);
}

static void random_operations_agree_with_a_flat_model(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, run);
	print_counts();
}

static void run_shared(const struct tcase *c)
{
	struct tcase with = *c;

	if (c->features & NEST_FEAT_CONTIG)
		return;
	with.flags |= NEST_PT_SHARED;
	run(&with);
}

static void so_they_do_in_shared_mode(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, run_shared);
	print_counts();
}

static void run_plain(const struct tcase *c)
{
	struct tcase with = *c;

	with.plain = true;
	run(&with);
}

/* What changes by one store, without a callback, goes a way of its own (core/fast.h). */
static void so_they_do_where_the_host_asks_for_nothing(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, run_plain);
	print_counts();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_a_flat_model),
		cmocka_unit_test(so_they_do_in_shared_mode),
		cmocka_unit_test(so_they_do_where_the_host_asks_for_nothing),
	};
	const char *ops = getenv("NEST_OPS");

	if (ops)
		nr_ops = (unsigned)strtoul(ops, NULL, 0);
	seed0 = test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
