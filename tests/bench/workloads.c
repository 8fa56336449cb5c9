/* SPDX-License-Identifier: MIT */
#include "limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
enum { TABLES = 512, MOST_PAGES = 1 << 18 };

/* Frames begin here: in step with the largest pages, and beyond what is mapped. */
static const nest_pa_t frames = (uint64_t)1 << 46;

static uint64_t order[MOST_PAGES];
volatile uint64_t sink;

static void must(int err, const char *what)
{
	if (err == NEST_OK)
		return;
	fprintf(stderr, "nest_bench: %s: %s\n", what, nest_strerror(err));
	exit(1);
}

static void map(struct subject *s, nest_ia_t ia, nest_pa_t pa, uint64_t size, uint32_t flags)
{
	must(nest_pt_map(&s->pt, ia, pa, size, s->attr, flags, NULL), "map");
}

/* Addresses of n pages, `step` apart, in order or shuffled. */
static void draw(uint64_t n, uint64_t step, bool shuffled)
{
	for (uint64_t i = 0; i < n; i++)
		order[i] = i * step;
	for (uint64_t i = n; shuffled && i > 1; i--) {
		uint64_t k = random_below(i), a = order[k];

		order[k] = order[i - 1];
		order[i - 1] = a;
	}
}

/* Of the tables that the next workload opens: 0, or NEST_PT_SHARED. */
static uint32_t mode;

static double in_shared_mode(double (*run)(struct subject *s, enum side side, uint64_t *count),
			     struct subject *s, enum side side, uint64_t *count)
{
	double ns;

	mode = NEST_PT_SHARED;
	ns = run(s, side, count);
	mode = 0;
	return ns;
}

/* ---- Whole ranges of smallest pages ---- */

static double map_all(struct subject *s, enum side side, uint64_t *count, uint64_t size)
{
	double begin;

	subject_open_mode(s, mode);
	*count = size / s->page;
	begin = now_ns();
	if (side == ENGINE)
		map(s, 0, frames, size, NEST_MAP_NO_HUGE);
	else
		WITH_GEO(s, limit_map, s, 0, frames, size);
	return now_ns() - begin;
}

static double map_range(struct subject *s, enum side side, uint64_t *count)
{
	return map_all(s, side, count, GIB);
}

static double map_large(struct subject *s, enum side side, uint64_t *count)
{
	return map_all(s, side, count, TIB);
}

/*
 * What is freed is tables: as many for every granule as 1 GiB of 4 KiB pages has. (1 GiB of 64 KiB
 * pages has two, which cost less than to see that the table above them is empty.)
 */
static uint64_t whole_tables(const struct subject *s)
{
	return (uint64_t)TABLES << (s->info.page_shift + s->info.index_bits);
}

static double unmap_range(struct subject *s, enum side side, uint64_t *count)
{
	const uint64_t size = whole_tables(s);
	double begin;

	subject_open_mode(s, mode);
	*count = size / s->page;
	map(s, 0, frames, size, NEST_MAP_NO_HUGE);
	begin = now_ns();
	/* That every page is mapped could be seen in the leaf tables alone. */
	if (side == ENGINE)
		must(nest_pt_unmap(&s->pt, 0, size, NEST_SKIP_HOLES, NULL), "unmap");
	else
		WITH_GEO(s, limit_drop, s, 0, size);
	return now_ns() - begin;
}

static double protect_all(struct subject *s, enum side side, uint64_t *count, uint64_t size)
{
	double begin;

	subject_open_mode(s, mode);
	*count = size / s->page;
	map(s, 0, frames, size, NEST_MAP_NO_HUGE);
	begin = now_ns();
	if (side == ENGINE)
		must(nest_pt_protect(&s->pt, 0, size, 0, NEST_W, 0, NULL), "protect");
	else
		WITH_GEO(s, limit_protect, s, 0, size);
	return now_ns() - begin;
}

static double protect_range(struct subject *s, enum side side, uint64_t *count)
{
	return protect_all(s, side, count, GIB);
}

static double protect_large(struct subject *s, enum side side, uint64_t *count)
{
	return protect_all(s, side, count, TIB);
}

static double destroy(struct subject *s, enum side side, uint64_t *count)
{
	const uint64_t size = whole_tables(s);
	double begin;

	subject_open(s);
	*count = size / s->page;
	map(s, 0, frames, size, NEST_MAP_NO_HUGE);
	begin = now_ns();
	if (side == ENGINE)
		nest_pt_destroy(&s->pt);
	else
		WITH_GEO(s, limit_drop, s, 0, size);
	return now_ns() - begin;
}

/* ---- Short ranges in tables that are there ---- */

/* ns of TABLES calls (or fills) of n pages each. */
static double fill_tables(struct subject *s, enum side side, uint64_t n)
{
	uint64_t span = (uint64_t)1 << nest_pt_shift(&s->pt, 1);
	double begin;

	for (unsigned i = 0; i < TABLES; i++)
		map(s, (i + 1) * span - s->page, frames, s->page, 0);
	begin = now_ns();
	for (unsigned i = 0; i < TABLES; i++) {
		if (side == ENGINE)
			map(s, i * span, frames + i * span, n * s->page, NEST_MAP_NO_HUGE);
		else
			WITH_GEO(s, limit_map_sizes, s, i * span, frames + i * span, n * s->page,
				 0);
	}
	return now_ns() - begin;
}

enum { SHORT = 16, LONG = 256 };

static void short_and_long(struct subject *s, enum side side, double *few, double *many)
{
	subject_open(s);
	*few = fill_tables(s, side, SHORT);
	subject_open(s);
	*many = fill_tables(s, side, LONG);
}

static double map_entry(struct subject *s, enum side side, uint64_t *count)
{
	double few, many;

	short_and_long(s, side, &few, &many);
	*count = (uint64_t)TABLES * (LONG - SHORT);
	return many - few;
}

static double map_fixed(struct subject *s, enum side side, uint64_t *count)
{
	double few, many;

	short_and_long(s, side, &few, &many);
	*count = TABLES;
	return few - (many - few) * ((double)SHORT / (LONG - SHORT));
}

/* ---- One page a call, far apart ---- */

static double map_at_random(struct subject *s, enum side side, uint64_t *count)
{
	double begin;

	subject_open(s);
	*count = MOST_PAGES;
	draw(MOST_PAGES, TIB / MOST_PAGES, true);
	for (unsigned i = 0; i < MOST_PAGES; i++)
		order[i] += random_below(TIB / MOST_PAGES / s->page) * s->page;
	begin = now_ns();
	if (side == ENGINE) {
		for (unsigned i = 0; i < MOST_PAGES; i++)
			map(s, order[i], order[i], s->page, 0);
	} else {
		WITH_GEO(s, limit_store, s, order, MOST_PAGES, s->leaf[0]);
	}
	return now_ns() - begin;
}

/* ---- Large pages ---- */

static double map_sizes(struct subject *s, enum side side, uint64_t *count, uint64_t offset,
			uint64_t size)
{
	double begin, end;
	uint64_t n = 0;

	/* How many entries that are, the limit tells. */
	subject_open(s);
#define COUNT_ENTRIES(g, ...) n = limit_map_sizes(g, __VA_ARGS__)
	if (side == ENGINE) {
		begin = now_ns();
		map(s, offset, frames + offset, size, NEST_MAP_MAX_LEVEL(s->huge));
		end = now_ns();
		subject_open(s);
		WITH_GEO(s, COUNT_ENTRIES, s, offset, frames + offset, size, s->huge);
	} else {
		begin = now_ns();
		WITH_GEO(s, COUNT_ENTRIES, s, offset, frames + offset, size, s->huge);
		end = now_ns();
	}
	*count = n;
	return end - begin;
}

static double map_huge(struct subject *s, enum side side, uint64_t *count)
{
	return map_sizes(s, side, count, 0, 512 * GIB);
}

static double map_off(struct subject *s, enum side side, uint64_t *count)
{
	return map_sizes(s, side, count, s->page, 64 * GIB);
}

static double split(struct subject *s, enum side side, uint64_t *count)
{
	uint64_t span = (uint64_t)1 << s->info.page_shift << s->info.index_bits;
	double begin;

	subject_open_mode(s, mode);
	/* Blocks of 512 MiB: as many as make the tables of the others. */
	*count = s->info.index_bits > 9 ? TABLES / 16 : TABLES;
	map(s, 0, frames, *count * span, NEST_MAP_MAX_LEVEL(1));
	draw(*count, span, false);
	for (uint64_t i = 0; i < *count; i++)
		order[i] += random_below(span / s->page) * s->page;
	begin = now_ns();
	if (side == ENGINE) {
		for (uint64_t i = 0; i < *count; i++)
			must(nest_pt_protect(&s->pt, order[i], s->page, 0, NEST_W, 0, NULL),
			     "split");
	} else {
		WITH_GEO(s, limit_split, s, order, *count);
	}
	return now_ns() - begin;
}

#define IN_SHARED_MODE(name)                                                                       \
	static double name##_shared(struct subject *s, enum side side, uint64_t *count)            \
	{                                                                                          \
		return in_shared_mode(name, s, side, count);                                       \
	}
IN_SHARED_MODE(map_range)
IN_SHARED_MODE(unmap_range)
IN_SHARED_MODE(protect_range)
IN_SHARED_MODE(split)

/* ---- Against itself ---- */

/* With groups, against the same without them. */
static void maybe_group(struct subject *s, enum side side)
{
	if (side == LIMIT)
		s->features &= ~NEST_FEAT_CONTIG;
	subject_open(s);
}

static double map_groups(struct subject *s, enum side side, uint64_t *count)
{
	struct subject own = *s;
	double begin;

	maybe_group(&own, side);
	*count = GIB / s->page;
	begin = now_ns();
	/* Frames that are off by half a block: no page is larger than a group. */
	map(&own, 0, frames + ((uint64_t)1 << (nest_pt_shift(&own.pt, 1) - 1)), GIB, 0);
	return now_ns() - begin;
}

static double unmap_groups(struct subject *s, enum side side, uint64_t *count)
{
	struct subject own = *s;
	uint64_t n = GIB / s->page, skip = s->page;
	double begin;

	maybe_group(&own, side);
	map(&own, 0, frames + ((uint64_t)1 << (nest_pt_shift(&own.pt, 1) - 1)), GIB, 0);
	*count = n;
	begin = now_ns();
	must(nest_pt_unmap(&own.pt, 0, GIB - skip, 0, NULL), "unmap");
	return now_ns() - begin;
}

/* ---- Dirty pages ---- */

static double harvest(struct subject *s, enum side side, uint64_t *count)
{
	static uint64_t bitmap[MOST_PAGES / 64];
	uint64_t n = GIB / s->page, made = 0, told = 0;
	double begin, end;

	subject_open(s);
	*count = n;
	map(s, 0, frames, GIB, NEST_MAP_NO_HUGE);
	memset(bitmap, 0, sizeof(bitmap));
	draw(n, s->page, true);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t *t = NULL;
		uint64_t index = order[i] / s->page & (((uint64_t)1 << s->info.index_bits) - 1);

#define FIND(g, ...) t = walk(g, __VA_ARGS__)
		WITH_GEO(s, FIND, s, order[i], 0);
		/* Mapped as dirty: all but one in a hundred become clean. */
		if (i >= n / 100)
			t[index] ^= s->dirty;
		else
			made++;
	}
	begin = now_ns();
	if (side == ENGINE)
		must(nest_pt_harvest(&s->pt, 0, GIB, NEST_DIRTY, bitmap, 0, NULL), "harvest");
	else
		WITH_GEO(s, limit_harvest, s, 0, GIB, bitmap);
	end = now_ns();
	for (uint64_t i = 0; i < n / 64; i++)
		told += (unsigned)__builtin_popcountll(bitmap[i]);
	if (told != made) {
		fprintf(stderr, "nest_bench: %lu pages are dirty, not %lu\n", (unsigned long)told,
			(unsigned long)made);
		exit(1);
	}
	return end - begin;
}

/* ---- Growth: against the same on a small guest ---- */

enum what { MAP, PROTECT, UNMAP };

static double grow(struct subject *s, uint64_t *count, enum what what, uint64_t size,
		   uint32_t flags, uint64_t unit)
{
	double begin;

	subject_open(s);
	*count = size / unit;
	begin = now_ns();
	map(s, 0, 0, size, flags);
	if (what == MAP)
		return now_ns() - begin;
	begin = now_ns();
	if (what == PROTECT)
		must(nest_pt_protect(&s->pt, 0, size, 0, NEST_W, 0, NULL), "protect");
	else
		must(nest_pt_unmap(&s->pt, 0, size, NEST_SKIP_HOLES, NULL), "unmap");
	return now_ns() - begin;
}

static double grow_map(struct subject *s, enum side side, uint64_t *count)
{
	return grow(s, count, MAP, side == ENGINE ? TIB : GIB, NEST_MAP_NO_HUGE, s->page);
}

static double grow_protect(struct subject *s, enum side side, uint64_t *count)
{
	return grow(s, count, PROTECT, side == ENGINE ? TIB : GIB, NEST_MAP_NO_HUGE, s->page);
}

static double grow_unmap(struct subject *s, enum side side, uint64_t *count)
{
	return grow(s, count, UNMAP, side == ENGINE ? TIB : GIB, NEST_MAP_NO_HUGE, s->page);
}

static double grow_huge(struct subject *s, enum side side, uint64_t *count)
{
	uint64_t all = (uint64_t)1 << (s->ia_bits < 48 ? s->ia_bits : 48);

	return grow(s, count, MAP, side == ENGINE ? all : all / 16, NEST_MAP_MAX_LEVEL(s->huge),
		    (uint64_t)1 << (s->info.page_shift + s->info.index_bits * s->huge));
}

#define PAGE_LINE(name, what, fn, goal, seed, locks)                                               \
	{ name, what, "page", "walk, look, store", goal, 0, 0, fn, false, seed, 0 },               \
	{                                                                                          \
		name "/sh", what ", shared mode", "page", "walk, look, store", goal, 0, 0,         \
			fn##_shared, false, false, locks                                           \
	}

const struct workload workloads[] = {
	PAGE_LINE("page-map", "map one page a call, in order", page_map, 1.5, true, 1),
	PAGE_LINE("page-random", "map one page a call, at random, over tables", page_map_random,
		  1.8, true, 1),
	PAGE_LINE("page-first", "map the first page of a table", page_first, 1.3, true, 2),
	PAGE_LINE("page-unmap", "unmap one page a call, in order", page_unmap, 2.5, true, 2),
	PAGE_LINE("page-balloon", "unmap at random until nothing is left", page_balloon, 8.0, false,
		  2),
	PAGE_LINE("page-protect", "protect one page a call, at random", page_protect, 2.0, true, 1),
	PAGE_LINE("page-translate", "translate in order", page_translate, 1.8, true, 0),
	PAGE_LINE("page-translate-r", "translate at random", page_translate_random, 1.6, true, 0),
	PAGE_LINE("page-query", "query at random", page_query, 2.5, false, 0),
	PAGE_LINE("cursor-map", "by a cursor: map", cursor_map, 0.8, false, 1),
	PAGE_LINE("cursor-unmap", "by a cursor: unmap", cursor_unmap, 0.8, false, 2),
	PAGE_LINE("cursor-translate", "by a cursor: translate", cursor_translate, 0.8, false, 0),
	PAGE_LINE("frames", "map 512 scattered frames a call", frames_list, 0.4, false, 1),
	{ "map-1g", "map 1 GiB of smallest pages, one call", "page", "L1: fill the tables", 1.3, 0,
	  0, map_range, false, false, 0 },
	{ "map-256", "map 256 pages into a table that is there", "entry", "fill", 0, 1.0, 0,
	  map_entry, false, false, 0 },
	{ "map-fixed", "the fixed part of that", "call", "walk", 0, 30, 0, map_fixed, false, false,
	  0 },
	{ "map-random", "map 262,144 pages at random in 1 TiB, one a call", "page",
	  "L3: walk and store", 1.3, 0, 0, map_at_random, true, false, 0 },
	{ "unmap-1g", "unmap 512 tables of smallest pages, one call", "page", "L5: free the tables",
	  1.5, 0, 0, unmap_range, false, false, 0 },
	{ "protect-1g", "protect 1 GiB of smallest pages, one call", "page", "L4: load and store",
	  1.3, 0, 0, protect_range, false, false, 0 },
	{ "map-huge", "map 512 GiB of pages of up to 1 GiB", "entry", "store, allocate", 1.3, 0, 0,
	  map_huge, false, false, 0 },
	{ "map-off", "map 64 GiB off by a page: every size", "entry", "store, allocate", 1.3, 0, 0,
	  map_off, false, false, 0 },
	{ "split", "one page out of each of 512 large pages", "split", "fill, allocate", 1.3, 0, 0,
	  split, false, false, 0 },
	{ "map-groups", "map 1 GiB in contiguous groups", "page", "without groups", 1.0, 0,
	  NEST_FEAT_CONTIG, map_groups, false, false, 0 },
	{ "unmap-groups", "unmap 1 GiB less a page, in groups", "page", "without groups", 1.0, 0,
	  NEST_FEAT_CONTIG, unmap_groups, false, false, 0 },
	{ "destroy", "destroy 512 tables of smallest pages", "page", "L5: free the tables", 1.5, 0,
	  0, destroy, false, false, 0 },
	{ "harvest", "harvest 1 GiB, 1 % dirty", "page", "scan the entries", 1.3, 0,
	  NEST_FEAT_HW_AD, harvest, false, false, 0 },
	{ "map-1t", "map 1 TiB of smallest pages, one call", "page", "L1: fill the tables", 1.3, 0,
	  0, map_large, true, false, 0 },
	{ "protect-1t", "protect 1 TiB of smallest pages, one call", "page", "L4: load and store",
	  1.3, 0, 0, protect_large, true, false, 0 },
	{ "grow-map", "map 1 TiB of smallest pages", "page", "1 GiB of them", 1.2, 0, 0, grow_map,
	  true, false, 0 },
	{ "grow-protect", "protect 1 TiB of smallest pages", "page", "1 GiB of them", 1.2, 0, 0,
	  grow_protect, true, false, 0 },
	{ "grow-unmap", "unmap 1 TiB of smallest pages", "page", "1 GiB of them", 1.2, 0, 0,
	  grow_unmap, true, false, 0 },
	{ "grow-huge", "map up to 256 TiB of pages of up to 1 GiB", "entry", "a sixteenth of it",
	  1.2, 0, 0, grow_huge, true, false, 0 },
	{ "map-1g/sh", "map 1 GiB, one call, shared mode", "page", "L1: fill the tables", 1.0, 0, 0,
	  map_range_shared, false, false, 1 },
	{ "unmap-1g/sh", "unmap 512 tables, one call, shared mode", "page", "L5: free the tables",
	  0, 10.0, 0, unmap_range_shared, false, false, 0 },
	{ "protect-1g/sh", "protect 1 GiB, one call, shared mode", "page", "L4: load and store", 0,
	  10.0, 0, protect_range_shared, false, false, 0 },
	{ "split/sh", "one page out of each of 512, shared mode", "split", "fill, allocate", 2.6, 0,
	  0, split_shared, false, false, 0 },
	{ "shared-one", "shared mode: faults at random, 1 thread", "fault", "exclusive mode", 1.15,
	  0, 0, shared_one, false, false, 0 },
	{ "shared-apart", "by 2 threads, in subtrees of their own", "fault", "1 thread", 1 / 1.8, 0,
	  0, shared_apart, false, false, 0 },
	{ "shared-near", "by 2 threads, in one subtree", "fault", "1 thread", 1 / 1.4, 0, 0,
	  shared_near, false, false, 0 },
};
const unsigned nr_workloads = sizeof(workloads) / sizeof(*workloads);
