/* SPDX-License-Identifier: MIT */
/*
 * One page a call: what every fault does. In exclusive and in shared mode, beside two yardsticks:
 * LIMIT, that looks at the entry before it changes it, as anybody must who returns an error; and
 * SEED (seed.h). Where the engine calls the flush through a pointer, so do they.
 */
#include "seed.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGES = 1 << 18, FIRST = 512 };
enum { LIST = 512 }; /* frames a call */

static const nest_pa_t frames = (uint64_t)1 << 46;
static uint64_t at[PAGES];

enum what {
	MAP,
	UNMAP,
	PROTECT,
	TRANSLATE,
	QUERY,
	CURSOR_MAP,
	CURSOR_UNMAP,
	CURSOR_TRANSLATE,
	MAP_FRAMES
};

/* ---- LIMIT: a walk, a look, a store ---- */

ALWAYS uint64_t limit_pages(struct geo g, const struct subject *s, enum what what, uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t k = 0; k < n; k++) {
		uint64_t *t = what == MAP ? walk_making(g, s, at[k], 0) : walk(g, s, at[k], 0);
		uint64_t *p = &t[index_of(g, at[k], 0)];
		const uint64_t e = __atomic_load_n(p, __ATOMIC_RELAXED);

		if ((e == s->absent[0]) != (what == MAP))
			return ~(uint64_t)0;
		if (what == MAP) {
			__atomic_store_n(p, s->leaf[0] | address_bits(g, frames + at[k]),
					 __ATOMIC_RELEASE);
		} else if (what == TRANSLATE) {
			sum += address_in(g, e);
		} else {
			__atomic_store_n(
				p, what == UNMAP ? s->absent[0] : (e & ~s->writable) | s->other,
				__ATOMIC_RELAXED);
			seed_flush(g, s, at[k]);
		}
	}
	return sum;
}

ALWAYS uint64_t seed_pages(struct geo g, const struct subject *s, enum what what, uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t k = 0; k < n; k++) {
		nest_pa_t pa = 0;
		int err = what == MAP         ? seed_map(g, s, at[k], frames + at[k])
			  : what == UNMAP     ? seed_unmap(g, s, at[k])
			  : what == TRANSLATE ? seed_query(g, s, at[k], &pa)
					      : seed_protect(g, s, at[k]);

		if (err)
			return ~(uint64_t)0;
		sum += pa;
	}
	return sum;
}

/* ---- The engine ---- */

ALWAYS uint64_t call_pages(struct subject *s, enum what what, uint64_t n)
{
	struct nest_mapping m = { .pa = 0 };
	struct nest_cursor c;
	nest_attr_t attr;
	nest_pa_t pa = 0;
	uint64_t sum = 0;
	int err = NEST_OK;

	nest_cursor_init(&c, &s->pt, at[0]);
	for (uint64_t k = 0; k < n && !err; k++) {
		switch (what) {
		case MAP:
			err = nest_pt_map_page(&s->pt, at[k], frames + at[k], s->attr);
			break;
		case UNMAP:
			err = nest_pt_unmap_page(&s->pt, at[k]);
			break;
		case PROTECT:
			err = nest_pt_protect_page(&s->pt, at[k], 0, NEST_W);
			break;
		case TRANSLATE:
			err = nest_pt_translate(&s->pt, at[k], &pa, &attr);
			break;
		case QUERY:
			err = nest_pt_query(&s->pt, at[k], &m);
			break;
		case CURSOR_MAP:
			err = nest_cursor_map(&c, frames + at[k], s->attr);
			break;
		case CURSOR_UNMAP:
			err = nest_cursor_unmap(&c, NULL);
			break;
		default:
			err = nest_cursor_translate(&c, &pa, &attr);
		}
		sum += pa + m.pa;
	}
	return err ? ~(uint64_t)0 : sum;
}

/* A loop of its own for each call, as the yardsticks have. */
static uint64_t engine_pages(struct subject *s, enum what what, uint64_t n)
{
	switch (what) {
	case MAP:
		return call_pages(s, MAP, n);
	case UNMAP:
		return call_pages(s, UNMAP, n);
	case PROTECT:
		return call_pages(s, PROTECT, n);
	case TRANSLATE:
		return call_pages(s, TRANSLATE, n);
	case QUERY:
		return call_pages(s, QUERY, n);
	case CURSOR_MAP:
		return call_pages(s, CURSOR_MAP, n);
	case CURSOR_UNMAP:
		return call_pages(s, CURSOR_UNMAP, n);
	default:
		return call_pages(s, CURSOR_TRANSLATE, n);
	}
}

static uint64_t engine_frames(struct subject *s, uint64_t n)
{
	static nest_pa_t list[LIST];
	int err = NEST_OK;

	for (uint64_t k = 0; k < n && !err; k += LIST) {
		for (uint64_t i = 0; i < LIST; i++)
			list[i] = frames + at[k] + (i * 5 % LIST) * s->page;
		err = nest_pt_map_frames(&s->pt, at[k], list, LIST, s->attr, 0, NULL);
	}
	return err ? ~(uint64_t)0 : 0;
}

/* ---- Workloads ---- */

/* What the yardsticks do for the same. */
static enum what single(enum what what)
{
	switch (what) {
	case CURSOR_MAP:
	case MAP_FRAMES:
		return MAP;
	case CURSOR_UNMAP:
		return UNMAP;
	case QUERY:
	case CURSOR_TRANSLATE:
		return TRANSLATE;
	default:
		return what;
	}
}

static double timed(struct subject *s, enum side side, enum what what, uint64_t n)
{
	uint64_t sum = 0;
	double begin = now_ns(), end;

#define SUM_LIMIT(g, ...) sum = limit_pages(g, __VA_ARGS__)
#define SUM_SEED(g, ...)  sum = seed_pages(g, __VA_ARGS__)
	if (side == SEED) {
		switch (single(what)) {
		case MAP:
			WITH_GEO(s, SUM_SEED, s, MAP, n);
			break;
		case UNMAP:
			WITH_GEO(s, SUM_SEED, s, UNMAP, n);
			break;
		case PROTECT:
			WITH_GEO(s, SUM_SEED, s, PROTECT, n);
			break;
		default:
			WITH_GEO(s, SUM_SEED, s, TRANSLATE, n);
		}
	} else if (side == LIMIT) {
		switch (single(what)) {
		case MAP:
			WITH_GEO(s, SUM_LIMIT, s, MAP, n);
			break;
		case UNMAP:
			WITH_GEO(s, SUM_LIMIT, s, UNMAP, n);
			break;
		case PROTECT:
			WITH_GEO(s, SUM_LIMIT, s, PROTECT, n);
			break;
		default:
			WITH_GEO(s, SUM_LIMIT, s, TRANSLATE, n);
		}
	} else if (what == MAP_FRAMES) {
		sum = engine_frames(s, n);
	} else {
		sum = engine_pages(s, what, n);
	}
	end = now_ns();
	if (sum == ~(uint64_t)0) {
		fprintf(stderr, "nest_bench: %s: a page was not as it should be\n", s->info.name);
		exit(1);
	}
	sink = sum;
	return end - begin;
}

static void shuffle(uint64_t n)
{
	for (uint64_t i = n; i > 1; i--) {
		uint64_t k = random_below(i), a = at[k];

		at[k] = at[i - 1];
		at[i - 1] = a;
	}
}

/* n pages in order or shuffled; mapped before, unless they are to be mapped. */
static double pages(struct subject *s, enum side side, uint64_t *count, uint32_t mode,
		    enum what what, bool shuffled)
{
	subject_open_mode(s, side == ENGINE ? mode : 0);
	*count = PAGES;
	for (uint64_t i = 0; i < PAGES; i++)
		at[i] = i * s->page;
	if (single(what) != MAP) {
		(void)timed(s, LIMIT, MAP, PAGES);
		/* The engine keeps what the page before was like. */
		if (side == ENGINE && nest_pt_map_page(&s->pt, PAGES * s->page, frames, s->attr))
			exit(1);
	}
	if (shuffled)
		shuffle(PAGES);
	return timed(s, side, what, PAGES);
}

/* Over tables that are there, at random. */
static double over_tables(struct subject *s, enum side side, uint64_t *count, uint32_t mode)
{
	const uint64_t span = s->page << s->info.index_bits, per = span / s->page;
	uint64_t n = 0;

	subject_open_mode(s, side == ENGINE ? mode : 0);
	for (uint64_t i = 0; i < PAGES; i += per)
		at[n++] = i * s->page;
	(void)timed(s, side, MAP, n);
	for (uint64_t i = n = 0; i < PAGES; i++) {
		if (i % per)
			at[n++] = i * s->page;
	}
	shuffle(n);
	*count = n;
	return timed(s, side, MAP, n);
}

/* Each into a table of its own, which has to be made. */
static double first_pages(struct subject *s, enum side side, uint64_t *count, uint32_t mode)
{
	const uint64_t span = s->page << s->info.index_bits;

	subject_open_mode(s, side == ENGINE ? mode : 0);
	*count = FIRST;
	for (uint64_t i = 0; i < FIRST; i++)
		at[i] = (i + 1) * span;
	/* The tables above, and what a page is like. */
	at[FIRST] = 0;
	if (side == ENGINE ? nest_pt_map_page(&s->pt, 0, frames, s->attr) : 0)
		exit(1);
	return timed(s, side, MAP, FIRST);
}

#define LINE(name, what, shuffled)                                                                 \
	double name(struct subject *s, enum side side, uint64_t *count)                            \
	{                                                                                          \
		return pages(s, side, count, 0, what, shuffled);                                   \
	}                                                                                          \
	double name##_shared(struct subject *s, enum side side, uint64_t *count)                   \
	{                                                                                          \
		return pages(s, side, count, NEST_PT_SHARED, what, shuffled);                      \
	}
LINE(page_map, MAP, false)
LINE(page_unmap, UNMAP, false)
LINE(page_balloon, UNMAP, true)
LINE(page_protect, PROTECT, true)
LINE(page_translate, TRANSLATE, false)
LINE(page_translate_random, TRANSLATE, true)
LINE(page_query, QUERY, true)
LINE(cursor_map, CURSOR_MAP, false)
LINE(cursor_unmap, CURSOR_UNMAP, false)
LINE(cursor_translate, CURSOR_TRANSLATE, false)
LINE(frames_list, MAP_FRAMES, false)

double page_map_random(struct subject *s, enum side side, uint64_t *count)
{
	return over_tables(s, side, count, 0);
}

double page_map_random_shared(struct subject *s, enum side side, uint64_t *count)
{
	return over_tables(s, side, count, NEST_PT_SHARED);
}

double page_first(struct subject *s, enum side side, uint64_t *count)
{
	return first_pages(s, side, count, 0);
}

double page_first_shared(struct subject *s, enum side side, uint64_t *count)
{
	return first_pages(s, side, count, NEST_PT_SHARED);
}
