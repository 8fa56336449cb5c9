/* SPDX-License-Identifier: MIT */
/*
 * Works for the tests of resumable calls: their scenes and calls. Addresses are at the top of the
 * address space and frames in step with them, so that every page could be as large as its place
 * allows.
 */
#include "resume.h"
#include "tests/steps.h"

enum { A = NEST_ACCESSED, D = NEST_DIRTY };

const struct work works[] = {
	{ "map", EMPTY, MAP, 0, 0, false },
	{ "map in place of pages", PAGES, MAP, NEST_MAP_REPLACE, 0, false },
	{ "map in place of blocks", BLOCKS, MAP, NEST_MAP_REPLACE, 0, false },
	{ "map what is not", RAGGED, MAP, NEST_MAP_SKIP_MAPPED, 0, false },
	{ "unmap pages", PAGES, UNMAP, 0, 0, false },
	{ "unmap blocks", BLOCKS, UNMAP, 0, 0, false },
	{ "unmap what is", RAGGED, UNMAP, NEST_SKIP_HOLES, 0, false },
	{ "protect", BLOCKS, PROTECT, 0, 0, false },
	{ "protect what is", RAGGED, PROTECT, NEST_SKIP_HOLES, 0, false },
	{ "another type", BLOCKS, PROTECT, 0, 0, true },
	{ "mark", EMPTY, MARK, 0, 0, false },
	{ "mark what is marked", HOLES, MARK, 0, 0, false },
	{ "split", RAGGED, SPLIT, 0, 0, false },
	{ "split to blocks", HUGE, SPLIT, 0, 1, false },
	{ "split to pages", HUGE, SPLIT, 0, 0, false },
	{ "merge", FINE, MERGE, 0, 0, false },
	{ "harvest", STATUS, HARVEST, 0, 0, false },
	{ "age", STATUS, AGE, 0, 0, false },
	{ "look at age", STATUS, AGE, NEST_HARVEST_KEEP, 0, false },
};

const unsigned nr_works = sizeof(works) / sizeof(*works);

bool harvests(const struct work *w)
{
	return w->kind == HARVEST || w->kind == AGE;
}

bool needs_no_memory(const struct work *w)
{
	return w->kind == MERGE || harvests(w);
}

/* ---- Scenes ---- */

/* A page of that status, as far as the format tells it from others. */
static nest_attr_t status_attr(const struct fix *f, nest_attr_t status)
{
	bool dbm = !strncmp(f->c.name, "aarch64", 7) && (f->c.features & NEST_FEAT_HW_D);
	nest_attr_t attr = NEST_RWX | (dbm ? NEST_DBM : 0);
	nest_pte_t e;

	if (nest_pte_leaf(f->c.format, 0, f->c.features, 0, attr | status, &e) == NEST_OK)
		attr |= status;
	return attr;
}

/* The largest page, or group of them. */
static uint64_t largest(const struct fix *f)
{
	uint64_t g = group(f, f->max_leaf);

	return g ? g : span(f, f->max_leaf);
}

static void paint_pages(struct run *r, bool ragged, uint64_t more)
{
	struct fix *f = &r->f;
	uint64_t p = f->page, b = r->p.block;
	nest_ia_t middle = r->p.ia + r->p.margin;

	CHECK_OK(nest_pt_map(&f->pt, middle - more, 0x80000000u - more, 2 * more + b, f->attr, 0,
			     NULL));
	if (!ragged)
		return;
	CHECK_OK(nest_pt_unmap(&f->pt, r->p.ia + p, p, 0, NULL));
	CHECK_OK(nest_pt_unmap(&f->pt, middle + b, 2 * p, 0, NULL));
	CHECK_OK(nest_pt_mark(&f->pt, middle + b + p, p, 5, NULL));
}

static void paint_huge(struct run *r)
{
	struct fix *f = &r->f;
	uint64_t s = span(f, 2);

	CHECK_OK(nest_pt_map(&f->pt, r->p.ia & ~(s - 1), s, s, f->attr, 0, NULL));
}

/* Marks on a page and on half a block, or all of it, and something mapped beside the range. */
static void paint_holes(struct run *r)
{
	struct fix *f = &r->f;
	uint64_t p = f->page, b = r->p.block;
	nest_ia_t middle = r->p.ia + r->p.margin;

	CHECK_OK(nest_pt_map(&f->pt, r->p.ia - p, 0, p, f->attr, 0, NULL));
	CHECK_OK(nest_pt_mark(&f->pt, r->p.ia + p, p, 5, NULL));
	CHECK_OK(nest_pt_mark(&f->pt, middle, b + 2 * p, 6, NULL));
	CHECK_OK(nest_pt_map(&f->pt, r->p.ia + r->p.size, p, p, f->attr, 0, NULL));
}

/* From `from` bytes behind the middle on: runs of one to three pages with each status. */
static void paint_status_pages(struct run *r, uint64_t from, uint64_t pages)
{
	static const nest_attr_t status[] = { 0, D, A | D, A };
	struct fix *f = &r->f;
	uint64_t p = f->page, n;

	for (uint64_t k = 0; k < pages; k += n) {
		uint64_t at = from + k * p;

		n = 1 + k % 3;
		n = n < pages - k ? n : pages - k;
		CHECK_OK(nest_pt_map(&f->pt, r->p.ia + r->p.margin + at, 0x80000000u + at, n * p,
				     status_attr(f, status[k / 3 % 4]), 0, NULL));
	}
}

/*
 *   0   margin      block                     2 blocks      3 blocks
 *   | pages, group  | block | groups, pages    hole   pages | block
 *                                                            ^ the range ends a margin behind
 */
static void paint_status(struct run *r)
{
	struct fix *f = &r->f;
	uint64_t p = f->page, b = r->p.block, m = r->p.margin, g = 2 * group(f, 0), n;
	nest_attr_t both = status_attr(f, A | D);
	nest_ia_t middle = r->p.ia + m;

	if (g > b / 2)
		g = 0;
	paint_status_pages(r, 0 - m, 3);
	if (m > 3 * p)
		CHECK_OK(nest_pt_map(&f->pt, r->p.ia + 3 * p, 0x80000000u - (m - 3 * p), m - 3 * p,
				     both, 0, NULL));
	CHECK_OK(nest_pt_map(&f->pt, middle, 0x80000000u, b, both, 0, NULL));
	if (g)
		CHECK_OK(nest_pt_map(&f->pt, middle + b, 0x80000000u + b, g, both, 0, NULL));
	n = (b - g) / p / 2 < 150 ? (b - g) / p / 2 : 150;
	paint_status_pages(r, b + g, n);
	CHECK_OK(nest_pt_mark(&f->pt, middle + b + g + n * p, p, 7, NULL));
	paint_status_pages(r, 2 * b - 3 * p, 3);
	CHECK_OK(nest_pt_map(&f->pt, middle + 2 * b, 0x80000000u + 2 * b, b, both, 0, NULL));
}

/*
 *             x                 x + largest
 *   | block   | leaves that     | block, pages
 *   | in pages| make up one     | in pages, some of another status
 */
static void paint_fine(struct run *r)
{
	struct fix *f = &r->f;
	uint64_t p = f->page, b = r->p.block, m = r->p.margin, l = largest(f), s;
	nest_ia_t x = r->p.ia + m + b;
	nest_attr_t attr = status_attr(f, A);

	CHECK_OK(nest_pt_map(&f->pt, r->p.ia, 2 * l - m - b, m + b, attr, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_unmap(&f->pt, r->p.ia + p, p, 0, NULL));
	s = group(f, f->max_leaf) ? span(f, f->max_leaf) : l;
	for (uint64_t at = 0; at < l; at += s)
		CHECK_OK(nest_pt_map(&f->pt, x + at, 2 * l + at, s, attr,
				     s < l ? 0 : NEST_MAP_MAX_LEVEL(f->max_leaf - (s > p)), NULL));
	CHECK_OK(nest_pt_map(&f->pt, x + l, 3 * l, b / 2, attr, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_map(&f->pt, x + l + b / 2, 3 * l + b / 2, b / 2 + m, status_attr(f, A | D),
			     NEST_MAP_NO_HUGE, NULL));
}

static void paint(struct run *r, enum scene scene)
{
	/* Nothing of it is looked at before it stands. */
	r->f.a.watch = NULL;
	switch (scene) {
	case PAGES:
	case RAGGED:
		paint_pages(r, scene == RAGGED, r->p.margin);
		break;
	case BLOCKS:
		paint_pages(r, false, r->p.block);
		break;
	case HUGE:
		paint_huge(r);
		break;
	case HOLES:
		paint_holes(r);
		break;
	case STATUS:
		paint_status(r);
		break;
	case FINE:
		paint_fine(r);
		break;
	default:
		break;
	}
	r->f.a.watch = &r->f.geo;
}

static void set_part(struct run *r, enum scene scene)
{
	struct fix *f = &r->f;
	struct part *p = &r->p;

	*p = (struct part){ .block = f->max_leaf > 0 ? span(f, 1) : 8 * f->page };
	p->margin = 3 * f->page + group(f, 0);
	if (p->margin >= p->block)
		p->margin = 3 * f->page;
	if (scene == FINE) {
		uint64_t l = largest(f);

		p->ia = place(f, PLACE_TOP, 4 * l) + l - p->block - p->margin;
		p->size = 2 * (p->margin + p->block) + l;
	} else {
		p->ia = place(f, PLACE_TOP, 8 * p->block) + 2 * p->block - p->margin;
		p->size = 2 * p->margin + (scene == STATUS ? 2 : 1) * p->block;
	}
	/* In step with the addresses; other frames than those of the scene. */
	p->pa = 0x40000000u + (p->ia & (p->block - 1));
}

/* ---- Runs ---- */

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

struct nest_gather *gather_of(struct run *r)
{
	return r->gathers ? &r->gather : NULL;
}

bool can(const struct tcase *c, const struct work *w)
{
	static struct fix f;
	uint64_t half = (uint64_t)1 << (c->ia_bits - 1);
	bool yes = true;
	nest_pte_t e;

	if (w->type)
		yes = nest_pte_leaf(c->format, 0, c->features, 0, NEST_RW | NEST_MT_UC, &e) ==
		      NEST_OK;
	fix_open(&f, c);
	if (w->scene == HUGE)
		yes = f.max_leaf >= 2;
	if (w->scene == FINE)
		yes = f.max_leaf > 0 && 4 * largest(&f) <= half &&
		      5 * largest(&f) >> f.pt.oa_bits == 0;
	if (w->kind == HARVEST)
		yes = nest_pt_harvest(&f.pt, 0, f.page, NEST_DIRTY, NULL, 0, NULL) == NEST_OK;
	if (w->kind == AGE)
		yes = nest_pt_harvest(&f.pt, 0, f.page, NEST_ACCESSED, NULL, 0, NULL) == NEST_OK;
	fix_close(&f);
	return yes;
}

void open_run(struct run *r, const struct tcase *c, const struct work *w, bool gathers)
{
	fix_open(&r->f, c);
	set_part(r, w->scene);
	r->gathers = gathers;
	r->released = r->released_bytes = 0;
	/* Bits are only ever added. */
	for (unsigned i = 0; i < RUN_WORDS; i++)
		r->told[i] = (uint64_t)1 << i % 64;
	CHECK(!harvests(w) || r->p.size / r->f.page <= 64 * (RUN_WORDS - 1));
	paint(r, w->scene);
	arena_mark(&r->f.a);
	nest_gather_init(&r->gather, &r->f.pt);
	nest_gather_on_release(&r->gather, on_release, r);
}

void sync_run(struct run *r)
{
	nest_gather_sync(&r->gather);
	arena_mark(&r->f.a);
}

void close_run(struct run *r)
{
	nest_gather_sync(&r->gather);
	fix_close(&r->f);
}

/* ---- Calls ---- */

static const uint64_t mark_value = 0x123456789;

static nest_attr_t other_type(const struct run *r)
{
	return r->f.c.info.stage2 && !strcmp(r->f.c.name, "riscv-g") ? 0 : NEST_MT_UC;
}

static uint64_t *told_from(struct run *r, uint64_t from)
{
	return &r->told[from / r->f.page / 64];
}

int one_shot(struct run *r, const struct work *w, uint64_t from, uint64_t size)
{
	struct nest_gather *g = gather_of(r);
	struct nest_pt *pt = &r->f.pt;
	nest_ia_t ia = r->p.ia + from;

	switch (w->kind) {
	case MAP:
		return nest_pt_map(pt, ia, r->p.pa + from, size, r->f.attr, w->flags, g);
	case UNMAP:
		return nest_pt_unmap(pt, ia, size, w->flags, g);
	case PROTECT:
		return nest_pt_protect(pt, ia, size, w->type ? other_type(r) : 0,
				       w->type ? NEST_MT_MASK : r->f.w, w->flags, g);
	case MARK:
		return nest_pt_mark(pt, ia, size, mark_value, g);
	case SPLIT:
		return nest_pt_split(pt, ia, size, w->level, g);
	case MERGE:
		return nest_pt_merge(pt, ia, size, g);
	case HARVEST:
		return nest_pt_harvest(pt, ia, size, NEST_DIRTY, told_from(r, from), w->flags, g);
	default:
		return nest_pt_harvest(pt, ia, size, NEST_ACCESSED, told_from(r, from), w->flags,
				       g);
	}
}

int step(struct run *r, const struct work *w, uint64_t from, uint64_t budget, uint64_t *done)
{
	struct steps st;
	struct nest_gather *g = gather_of(r);
	struct nest_pt *pt = &r->f.pt;
	nest_ia_t ia = r->p.ia + from;
	uint64_t size = r->p.size - from;

	*done = ~(uint64_t)0;
	switch (w->kind) {
	case MAP:
		return steps_end(&st,
				 nest_pt_map(pt, ia, r->p.pa + from, size, r->f.attr, w->flags,
					     steps_begin(&st, pt, g, budget)),
				 done);
	case UNMAP:
		return steps_end(
			&st, nest_pt_unmap(pt, ia, size, w->flags, steps_begin(&st, pt, g, budget)),
			done);
	case PROTECT:
		return steps_end(&st,
				 nest_pt_protect(pt, ia, size, w->type ? other_type(r) : 0,
						 w->type ? NEST_MT_MASK : r->f.w, w->flags,
						 steps_begin(&st, pt, g, budget)),
				 done);
	case MARK:
		return steps_end(
			&st,
			nest_pt_mark(pt, ia, size, mark_value, steps_begin(&st, pt, g, budget)),
			done);
	case SPLIT:
		return steps_end(
			&st, nest_pt_split(pt, ia, size, w->level, steps_begin(&st, pt, g, budget)),
			done);
	case MERGE:
		return steps_end(&st, nest_pt_merge(pt, ia, size, steps_begin(&st, pt, g, budget)),
				 done);
	case HARVEST:
		return steps_end(&st,
				 nest_pt_harvest(pt, ia, size, NEST_DIRTY, told_from(r, from),
						 w->flags, steps_begin(&st, pt, g, budget)),
				 done);
	default:
		return steps_end(&st,
				 nest_pt_harvest(pt, ia, size, NEST_ACCESSED, told_from(r, from),
						 w->flags, steps_begin(&st, pt, g, budget)),
				 done);
	}
}
