/* SPDX-License-Identifier: MIT */
/*
 * One suite for every format, feature set, level, page size and extreme address: map, unmap,
 * protect, replace, skip, split, merge, contiguous groups, marks.
 *
 * Each scenario works on two adjacent pages of one size (a block, a group or a smallest page) and
 * cuts a range out of them. What must come out is known from the range alone.
 */
#include "support.h"

/* One page size of a format. */
struct size_class {
	unsigned level;
	bool contiguous;
	uint64_t size; /* of the page or group */
	uint64_t sub;  /* of what it falls into when it is cut */
};

typedef void (*class_fn)(struct fix *f, const struct size_class *k, uint64_t ia);
static class_fn class_body;

/* Smallest pages first; a level's groups after its pages. */
static unsigned classes(const struct fix *f, struct size_class out[2 * NEST_MAX_LEVELS])
{
	unsigned n = 0;

	for (unsigned l = 0; l <= f->max_leaf; l++) {
		uint64_t s = span(f, l);

		out[n++] = (struct size_class){ l, false, s, l ? span(f, l - 1) : s };
		if (group(f, l))
			out[n++] = (struct size_class){ l, true, group(f, l), s };
	}
	return n;
}

static void each_class(const struct tcase *c)
{
	struct size_class k[2 * NEST_MAX_LEVELS];
	unsigned n;
	struct fix f;

	fix_open(&f, c);
	n = classes(&f, k);
	for (unsigned i = 0; i < n; i++) {
		/* Two places a class, in turn all of them: large tables cost time. */
		for (unsigned turn = 0; turn < 2; turn++) {
			unsigned where = turn ? PLACE_TOP : (i + c->ia_bits) % PLACE_TOP;
			size_t len = strlen(test_case);

			/*
			 * Two pages and as much on both sides must fit in half the width and the
			 * output.
			 */
			if (4 * k[i].size > (uint64_t)1 << (c->ia_bits - 1) ||
			    16 * k[i].size > (uint64_t)1 << c->info.oa_default)
				continue;
			snprintf(test_case + len, sizeof(test_case) - len, ", level %u%s, place %u",
				 k[i].level, k[i].contiguous ? " group" : "", where);
			class_body(&f, &k[i], place(&f, where, 2 * k[i].size));
			CHECK_EQ(f.a.outstanding, f.tables0);
			test_case[len] = 0;
			arena_mark(&f.a);
		}
	}
	fix_close(&f);
}

static void sweep_classes(enum sweep_widths widths, class_fn fn)
{
	class_body = fn;
	sweep(widths, each_class);
}

/* The largest page of the class only, for layouts that must consist of it. */
static uint32_t cap(const struct size_class *k)
{
	if (k->level == 0)
		return k->contiguous ? NEST_MAP_MAX_LEVEL(1) : NEST_MAP_NO_HUGE;
	return NEST_MAP_MAX_LEVEL(k->level);
}

/* A frame that is aligned to the class but to nothing larger. */
static nest_pa_t frame(const struct size_class *k, unsigned i)
{
	return (2 * i + 1) * k->size;
}

/* Two pages of the class, whatever larger ones their place would allow. */
static void map_two(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct nest_mapping q;

	CHECK_OK(nest_pt_map(&f->pt, ia, frame(k, 0), 2 * k->size, f->attr, cap(k), NULL));
	CHECK_OK(nest_pt_query(&f->pt, ia + k->size, &q));
	CHECK_EQ(q.level, k->level);
	CHECK_EQ(q.contiguous, k->contiguous);
	CHECK_EQ(q.size, k->size);
}

static void unmap_all(struct fix *f, const struct size_class *k, uint64_t ia)
{
	CHECK_OK(nest_pt_unmap(&f->pt, ia, 2 * k->size, NEST_SKIP_HOLES, NULL));
	check_none(f, ia);
	check_none(f, ia + 2 * k->size - 1);
}

/* Cuts of the area of two pages: [from, to). */
struct cut {
	uint64_t from, to;
};

static unsigned cuts(const struct fix *f, const struct size_class *k, struct cut out[16])
{
	uint64_t s = k->size, u = k->sub, p = f->page;
	const struct cut all[] = {
		{ 0, s },
		{ s, 2 * s },
		{ 0, 2 * s },
		{ 0, u },
		{ s - u, s },
		{ s - u, s + u },
		{ s / 2, s / 2 + u },
		{ 0, p },
		{ s - p, s },
		{ s - p, s + p },
		{ s / 2, s / 2 + p },
		{ 2 * s - p, 2 * s },
		{ p, 2 * s - p },
		{ 0, 2 * s - p },
		{ s / 2 + p, s + s / 2 - p },
	};
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (all[i].from < all[i].to && !(all[i].from % p) && !(all[i].to % p))
			out[n++] = all[i];
	}
	return n;
}

static bool cuts_a_page(const struct size_class *k, const struct cut *c)
{
	return c->from % k->size || c->to % k->size;
}

/* Every address around the edges of the cut: before, in, behind. */
static void check_cut(struct fix *f, const struct size_class *k, uint64_t ia, const struct cut *c,
		      void (*inside)(struct fix *f, const struct size_class *k, uint64_t ia,
				     uint64_t at))
{
	const uint64_t at[] = { 0,
				c->from - 1,
				c->from,
				c->from + f->page - 1,
				(c->from + c->to) / 2,
				c->to - 1,
				c->to,
				k->size - 1,
				k->size,
				2 * k->size - 1 };

	for (unsigned i = 0; i < sizeof(at) / sizeof(*at); i++) {
		if (at[i] >= 2 * k->size)
			continue;
		if (at[i] >= c->from && at[i] < c->to)
			inside(f, k, ia, at[i]);
		else
			check_maps(f, ia + at[i], frame(k, 0) + at[i], f->attr);
	}
	check_consistent(f);
}

static void is_hole(struct fix *f, const struct size_class *k, uint64_t ia, uint64_t at)
{
	(void)k;
	check_none(f, ia + at);
}

static void is_read_only(struct fix *f, const struct size_class *k, uint64_t ia, uint64_t at)
{
	check_maps(f, ia + at, frame(k, 0) + at, f->attr & ~f->w);
}

static void is_elsewhere(struct fix *f, const struct size_class *k, uint64_t ia, uint64_t at)
{
	check_maps(f, ia + at, frame(k, 4) + at, f->attr & ~NEST_X);
}

static void is_as_before(struct fix *f, const struct size_class *k, uint64_t ia, uint64_t at)
{
	check_maps(f, ia + at, frame(k, 0) + at, f->attr);
}

static uint64_t bytes_mapped(const struct fix *f)
{
	struct nest_pt_stats st;

	CHECK_OK(nest_pt_stats(&f->pt, &st));
	return st.mapped;
}

static void unmap_cuts(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct cut c[16];
	unsigned n = cuts(f, k, c);

	for (unsigned i = 0; i < n; i++) {
		uint64_t size = c[i].to - c[i].from;

		map_two(f, k, ia);
		CHECK_OK(nest_pt_unmap(&f->pt, ia + c[i].from, size, 0, NULL));
		CHECK(arena_flushed(&f->a, ia + c[i].from, ia + c[i].to - 1));
		CHECK_EQ(bytes_mapped(f), 2 * k->size - size);
		check_cut(f, k, ia, &c[i], is_hole);
		CHECK_RC(nest_pt_unmap(&f->pt, ia + c[i].from, size, 0, NULL), NEST_E_NOTMAPPED);
		CHECK_RC(nest_pt_unmap(&f->pt, ia, 2 * k->size, 0, NULL), NEST_E_NOTMAPPED);
		CHECK_RC(nest_pt_protect(&f->pt, ia, 2 * k->size, 0, f->w, 0, NULL),
			 NEST_E_NOTMAPPED);
		check_cut(f, k, ia, &c[i], is_hole);
		unmap_all(f, k, ia);
		CHECK_EQ(f->a.outstanding, f->tables0);
		arena_mark(&f->a);
	}
}

static void unmap_removes_exactly_the_range(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, unmap_cuts);
}

static void protect_cuts(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct cut c[16];
	unsigned n = cuts(f, k, c);

	for (unsigned i = 0; i < n; i++) {
		uint64_t size = c[i].to - c[i].from;

		map_two(f, k, ia);
		CHECK_OK(nest_pt_protect(&f->pt, ia + c[i].from, size, 0, f->w, 0, NULL));
		CHECK(arena_flushed(&f->a, ia + c[i].from, ia + c[i].to - 1));
		CHECK_EQ(bytes_mapped(f), 2 * k->size);
		check_cut(f, k, ia, &c[i], is_read_only);
		CHECK_OK(nest_pt_protect(&f->pt, ia + c[i].from, size, f->w, 0, 0, NULL));
		check_cut(f, k, ia, &c[i], is_as_before);
		unmap_all(f, k, ia);
		arena_mark(&f->a);
	}
}

static void protect_changes_exactly_the_range(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, protect_cuts);
}

static void replace_cuts(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct cut c[16];
	unsigned n = cuts(f, k, c);
	nest_attr_t attr = f->attr & ~NEST_X;

	for (unsigned i = 0; i < n; i++) {
		uint64_t size = c[i].to - c[i].from;
		nest_pa_t to = frame(k, 4) + c[i].from;
		struct snap before;

		map_two(f, k, ia);
		before = snap_take(f);
		CHECK_RC(nest_pt_map(&f->pt, ia + c[i].from, to, size, attr, 0, NULL),
			 NEST_E_MAPPED);
		check_unchanged(f, &before);
		snap_free(&before);
		CHECK_OK(nest_pt_map(&f->pt, ia + c[i].from, to, size, attr,
				     NEST_MAP_SKIP_MAPPED | cap(k), NULL));
		check_cut(f, k, ia, &c[i], is_as_before);
		CHECK_OK(nest_pt_map(&f->pt, ia + c[i].from, to, size, attr,
				     NEST_MAP_REPLACE | cap(k), NULL));
		CHECK(arena_flushed(&f->a, ia + c[i].from, ia + c[i].to - 1));
		check_cut(f, k, ia, &c[i], is_elsewhere);
		unmap_all(f, k, ia);
		arena_mark(&f->a);
	}
}

static void replace_and_skip_respect_the_range(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, replace_cuts);
}

static void skip_fills_holes(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct cut c[16];
	unsigned n = cuts(f, k, c);
	nest_attr_t attr = f->attr & ~NEST_X;

	for (unsigned i = 0; i < n; i++) {
		map_two(f, k, ia);
		CHECK_OK(nest_pt_unmap(&f->pt, ia + c[i].from, c[i].to - c[i].from, 0, NULL));
		CHECK_RC(nest_pt_map(&f->pt, ia, frame(k, 4), 2 * k->size, attr, 0, NULL),
			 c[i].to - c[i].from == 2 * k->size ? NEST_OK : NEST_E_MAPPED);
		CHECK_OK(nest_pt_map(&f->pt, ia, frame(k, 4), 2 * k->size, attr,
				     NEST_MAP_SKIP_MAPPED, NULL));
		check_cut(f, k, ia, &c[i], is_elsewhere);
		unmap_all(f, k, ia);
		arena_mark(&f->a);
	}
}

static void skip_mapped_fills_exactly_the_holes(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, skip_fills_holes);
}

static void no_split_cuts(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct cut c[16];
	unsigned n = cuts(f, k, c);

	map_two(f, k, ia);
	for (unsigned i = 0; i < n; i++) {
		uint64_t size = c[i].to - c[i].from, at = ia + c[i].from;
		struct snap before = snap_take(f);
		uint64_t flushes = f->a.nr_flush;
		bool cut = cuts_a_page(k, &c[i]);

		if (cut) {
			CHECK_RC(nest_pt_unmap(&f->pt, at, size, NEST_NO_SPLIT, NULL), NEST_E_HUGE);
			CHECK_RC(nest_pt_protect(&f->pt, at, size, 0, f->w, NEST_NO_SPLIT, NULL),
				 NEST_E_HUGE);
			CHECK_RC(nest_pt_map(&f->pt, at, frame(k, 4) + c[i].from, size, f->attr,
					     NEST_NO_SPLIT | NEST_MAP_REPLACE, NULL),
				 NEST_E_HUGE);
			CHECK_EQ(f->a.nr_flush, flushes);
		} else {
			CHECK_OK(nest_pt_protect(&f->pt, at, size, 0, f->w, NEST_NO_SPLIT, NULL));
			check_cut(f, k, ia, &c[i], is_read_only);
			CHECK_OK(nest_pt_protect(&f->pt, at, size, f->w, 0, NEST_NO_SPLIT, NULL));
			CHECK_OK(nest_pt_unmap(&f->pt, at, size, NEST_NO_SPLIT, NULL));
			check_cut(f, k, ia, &c[i], is_hole);
			CHECK_OK(nest_pt_map(&f->pt, at, frame(k, 0) + c[i].from, size, f->attr,
					     cap(k), NULL));
		}
		check_unchanged(f, &before);
		snap_free(&before);
		arena_mark(&f->a);
	}
	unmap_all(f, k, ia);
}

static void no_split_refuses_to_cut_a_larger_page(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, no_split_cuts);
}

/* Map, compare with the list worked out by hand, unmap. */
static void check_layout(struct fix *f, uint64_t ia, nest_pa_t pa, uint64_t size, uint32_t flags)
{
	static struct nest_mapping want[70000];
	size_t n = expect_pages(f, ia, pa, size, flags, want, 70000);
	struct snap s;

	CHECK_OK(nest_pt_map(&f->pt, ia, pa, size, f->attr, flags, NULL));
	s = snap_take(f);
	CHECK_EQ(s.n, n);
	for (size_t i = 0; i < n; i++) {
		CHECK_EQ(s.m[i].ia, want[i].ia);
		CHECK_EQ(s.m[i].pa, want[i].pa);
		CHECK_EQ(s.m[i].size, want[i].size);
		CHECK_EQ(s.m[i].level, want[i].level);
		CHECK_EQ(s.m[i].contiguous, want[i].contiguous);
		CHECK_EQ(plain_attr(s.m[i].attr), plain_attr(f->attr));
	}
	snap_free(&s);
	check_consistent(f);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, size, 0, NULL));
	CHECK_EQ(f->a.outstanding, f->tables0);
	arena_mark(&f->a);
}

static void largest_pages(struct fix *f, const struct size_class *k, uint64_t ia)
{
	uint64_t s = k->size, u = k->sub, p = f->page;

	check_layout(f, ia, frame(k, 0), 2 * s, 0);
	check_layout(f, ia, 4 * s, 2 * s, 0);
	check_layout(f, ia, frame(k, 0), 2 * s, cap(k));
	check_layout(f, ia + s - p, frame(k, 0) + s - p, s + p, 0);
	if (u >= s)
		return;
	check_layout(f, ia + s - u, frame(k, 0) + s - u, u + p, 0);
	check_layout(f, ia + u, frame(k, 0) + u, 2 * s - 2 * u, 0);
	/* A frame that is out of step by a smaller page keeps the larger one from being used. */
	check_layout(f, ia, frame(k, 0) + u, 2 * s, 0);
	if (k->level > 0 && !k->contiguous)
		check_layout(f, ia, frame(k, 0), 2 * s, NEST_MAP_MAX_LEVEL(k->level - 1));
	if (s / p <= 2048)
		check_layout(f, ia, frame(k, 0), 2 * s, NEST_MAP_NO_HUGE);
}

static void map_picks_the_largest_pages(void **state)
{
	(void)state;
	sweep_classes(SWEEP_SOME_WIDTHS, largest_pages);
}

static void split_and_merge(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct nest_mapping q;
	struct snap before, after;
	unsigned to = k->contiguous ? k->level : k->level ? k->level - 1 : 0;

	map_two(f, k, ia);
	before = snap_take(f);
	/* The second page alone, from one byte-page in its middle. */
	CHECK_OK(nest_pt_split(&f->pt, ia + k->size + (k->size / 2 & ~(f->page - 1)), f->page, to,
			       NULL));
	CHECK_OK(nest_pt_query(&f->pt, ia + k->size, &q));
	CHECK_EQ(q.level, to);
	CHECK(!q.contiguous || k->size == f->page);
	CHECK_OK(nest_pt_query(&f->pt, ia, &q));
	CHECK_EQ(q.size, k->size);
	check_range(f, ia, frame(k, 0), 2 * k->size, f->attr);
	check_consistent(f);
	/* Holes are allowed, and what is small enough stays. */
	CHECK_OK(nest_pt_split(&f->pt, place(f, PLACE_LOW, f->page), f->page, to, NULL));
	CHECK_OK(nest_pt_split(&f->pt, ia, 2 * k->size, to, NULL));
	CHECK_OK(nest_pt_split(&f->pt, ia, 2 * k->size, to, NULL));
	after = snap_take(f);
	CHECK_EQ(after.n, 2 * (k->size / span(f, to)));
	snap_free(&after);
	check_consistent(f);
	CHECK_OK(nest_pt_merge(&f->pt, ia, k->size, NULL));
	CHECK_OK(nest_pt_query(&f->pt, ia, &q));
	CHECK_EQ(q.size, k->size);
	CHECK_OK(nest_pt_query(&f->pt, ia + k->size, &q));
	CHECK_EQ(q.level, to);
	check_consistent(f);
	CHECK_OK(nest_pt_merge(&f->pt, ia, 2 * k->size, NULL));
	check_unchanged(f, &before);
	snap_free(&before);
	unmap_all(f, k, ia);
}

static void merge_undoes_split(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, split_and_merge);
}

/* Each of these keeps a whole run of `sub` pages from becoming one page. */
static void no_merge(struct fix *f, const struct size_class *k, uint64_t ia)
{
	uint64_t s = k->size, u = k->sub;
	uint32_t small = k->contiguous && k->level == 0 ? NEST_MAP_NO_HUGE : 0;
	struct nest_mapping q;

	if (u >= s)
		return;
	for (unsigned why = 0; why < 3; why++) {
		CHECK_OK(nest_pt_map(&f->pt, ia, frame(k, 0), s - u, f->attr, small, NULL));
		if (why == 0)
			CHECK_OK(nest_pt_map(&f->pt, ia + s - u, frame(k, 0) + s - u, u,
					     f->attr & ~f->w, 0, NULL));
		else if (why == 1)
			CHECK_OK(nest_pt_map(&f->pt, ia + s - u, frame(k, 2), u, f->attr, 0, NULL));
		CHECK_OK(nest_pt_merge(&f->pt, ia, s, NULL));
		CHECK_OK(nest_pt_query(&f->pt, ia, &q));
		CHECK(q.size < s);
		check_range(f, ia, frame(k, 0), s - u, f->attr);
		if (why == 2)
			check_none(f, ia + s - u);
		check_consistent(f);
		unmap_all(f, k, ia);
	}
	/* Two halves that together are no aligned frame. */
	CHECK_OK(nest_pt_map(&f->pt, ia, frame(k, 0) + u, s, f->attr, 0, NULL));
	CHECK_OK(nest_pt_merge(&f->pt, ia, s, NULL));
	CHECK_OK(nest_pt_query(&f->pt, ia, &q));
	CHECK(q.size < s);
	check_range(f, ia, frame(k, 0) + u, s, f->attr);
	unmap_all(f, k, ia);
}

static void merge_leaves_what_is_no_whole_run(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, no_merge);
}

static void mark_range(struct fix *f, const struct size_class *k, uint64_t ia)
{
	uint64_t size = k->sub < k->size ? 2 * k->sub : 2 * k->size, p = f->page;
	static const uint64_t values[] = { 0, 1, 0x123456789abc, NEST_MARK_MAX };
	struct nest_mapping q;

	if (size / p > 1024)
		return;
	for (unsigned i = 0; i < 4; i++) {
		CHECK_OK(nest_pt_mark(&f->pt, ia, size, values[i], NULL));
		for (uint64_t at = 0; at < size; at += p) {
			CHECK_RC(nest_pt_query(&f->pt, ia + at + p - 1, &q), NEST_E_NOTMAPPED);
			CHECK_EQ(q.kind, NEST_PTE_MARK);
			CHECK_EQ(q.mark, values[i]);
			check_none(f, ia + at);
		}
		CHECK_EQ(bytes_mapped(f), 0);
		check_consistent(f);
	}
	CHECK_RC(nest_pt_unmap(&f->pt, ia, p, 0, NULL), NEST_E_NOTMAPPED);
	CHECK_RC(nest_pt_protect(&f->pt, ia, p, 0, f->w, 0, NULL), NEST_E_NOTMAPPED);
	/* A map takes marks as holes, skipping or not. */
	CHECK_OK(nest_pt_map(&f->pt, ia, frame(k, 0), p, f->attr, 0, NULL));
	CHECK_OK(nest_pt_map(&f->pt, ia + size - p, frame(k, 0), p, f->attr, NEST_MAP_SKIP_MAPPED,
			     NULL));
	check_maps(f, ia, frame(k, 0), f->attr);
	check_maps(f, ia + size - p, frame(k, 0), f->attr);
	CHECK_RC(nest_pt_mark(&f->pt, ia, size, 3, NULL), NEST_E_MAPPED);
	CHECK_OK(nest_pt_protect(&f->pt, ia, size, 0, f->w, NEST_SKIP_HOLES, NULL));
	check_maps(f, ia, frame(k, 0), f->attr & ~f->w);
	if (size > 2 * p) {
		CHECK_RC(nest_pt_query(&f->pt, ia + p, &q), NEST_E_NOTMAPPED);
		CHECK_EQ(q.kind, NEST_PTE_MARK);
		CHECK_EQ(q.mark, NEST_MARK_MAX);
	}
	CHECK_OK(nest_pt_unmap(&f->pt, ia, size, NEST_SKIP_HOLES, NULL));
	CHECK_RC(nest_pt_query(&f->pt, ia, &q), NEST_E_NOTMAPPED);
	CHECK_EQ(q.kind, NEST_PTE_NONE);
	CHECK_EQ(q.mark, 0);
}

static void marks_are_kept_and_told(void **state)
{
	(void)state;
	sweep_classes(SWEEP_DEFAULT_WIDTH, mark_range);
}

/* The size of a hole: nothing in [ia & -size, + size) is mapped, and it is as large as an entry. */
static void hole_sizes(struct fix *f, const struct size_class *k, uint64_t ia)
{
	struct nest_mapping q;

	map_two(f, k, ia);
	CHECK_OK(nest_pt_unmap(&f->pt, ia, k->size, 0, NULL));
	CHECK_RC(nest_pt_query(&f->pt, ia + k->size / 2, &q), NEST_E_NOTMAPPED);
	CHECK_EQ(q.kind, NEST_PTE_NONE);
	CHECK(q.size >= f->page && (q.size & (q.size - 1)) == 0);
	CHECK(q.size <= 2 * k->size);
	unmap_all(f, k, ia);
	CHECK_RC(nest_pt_query(&f->pt, ia, &q), NEST_E_NOTMAPPED);
	CHECK_EQ(q.size, span(f, f->top));
}

static void query_tells_the_size_of_a_hole(void **state)
{
	(void)state;
	sweep_classes(SWEEP_SOME_WIDTHS, hole_sizes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unmap_removes_exactly_the_range),
		cmocka_unit_test(protect_changes_exactly_the_range),
		cmocka_unit_test(replace_and_skip_respect_the_range),
		cmocka_unit_test(skip_mapped_fills_exactly_the_holes),
		cmocka_unit_test(no_split_refuses_to_cut_a_larger_page),
		cmocka_unit_test(map_picks_the_largest_pages),
		cmocka_unit_test(merge_undoes_split),
		cmocka_unit_test(merge_leaves_what_is_no_whole_run),
		cmocka_unit_test(marks_are_kept_and_told),
		cmocka_unit_test(query_tells_the_size_of_a_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
