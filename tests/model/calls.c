/* SPDX-License-Identifier: MIT */
/*
 * Calls of every kind on a world: what is to come of each is worked out from the flat list of
 * segments (world.h) before it is made.
 */
#include "calls.h"
#include "tests/steps.h"

#include <stdio.h>
#include <string.h>

/* Of a list that is mapped by one call. */
enum { MOST_FRAMES = 64 };

enum operation { MAP, UNMAP, PROTECT, MARK, REVOKE, UNMARK, SPLIT, MERGE, TRIM, HARVEST, AGE, BAD };

static const char *const operation_names[] = { "map",    "unmap",   "protect", "mark",
					       "revoke", "unmark",  "split",   "merge",
					       "trim",   "harvest", "age",     "mistake" };

/* One call on segments [a, b), and what is to come of it. */
struct call {
	enum operation operation;
	unsigned a, b;
	uint64_t first, size; /* offset and bytes */
	uint32_t flags;
	nest_pa_t pa;
	nest_attr_t attr, set, clear;
	uint64_t mark;
	unsigned level;
	struct state next[WORLD_SEGMENTS];
	uint64_t budget;   /* in parts of so many entries; 0: at once */
	int want, or_else; /* the status; where two things are wrong, either */
};

static unsigned of_kind(const struct world *w, const struct call *c, enum nest_pte_kind kind)
{
	unsigned n = 0;

	for (unsigned k = c->a; k < c->b; k++)
		n += w->segment[k].state.kind == kind;
	return n;
}

/* Smallest pages over a large range cost time and show little that is new. */
static bool is_small(struct world *w, const struct call *c)
{
	uint64_t pages = c->size / w->page, most = w->dice.input ? 2000 : 20000;

	return pages <= 40 || (pages <= most && world_chance(w, 32) == 0);
}

static bool is_encodable(const struct world *w, nest_attr_t attr)
{
	nest_pte_t e;

	return nest_pte_leaf(w->setup.format, 0, w->setup.features, 0, attr, &e) == NEST_OK;
}

/* ---- What a call is to do ---- */

/*
 * Frames that are not in use, in step with addresses, so that large pages arise and merge; or a
 * little off.
 */
static nest_pa_t fresh_frames(struct world *w, uint64_t first)
{
	uint64_t off[] = { 0, 0, w->page, 16 * w->page, w->page << w->setup.info.index_bits };
	unsigned bits = w->pt.oa_bits - 6u;

	w->generation++;
	return ((w->generation % 63) << bits) + (first & mmu_mask(bits)) + off[world_random(w, 5)];
}

static void plan_map(struct world *w, struct call *c)
{
	static const uint32_t how[] = { 0, NEST_MAP_REPLACE, NEST_MAP_REPLACE, NEST_MAP_SKIP_MAPPED,
					NEST_MAP_KEEP_MARKS };
	static const uint32_t limit[] = {
		0, 0, 0, NEST_MAP_NO_HUGE, NEST_MAP_MAX_LEVEL(1), NEST_MAP_MAX_LEVEL(0)
	};
	const struct state *here = &w->segment[c->a].state;

	c->attr = w->attr[world_random(w, w->attrs)];
	c->pa = fresh_frames(w, c->first);
	/* The frames that are there again, with other attributes; never any that are on their way
	 * out. */
	if (here->kind == NEST_PTE_LEAF && world_random(w, 3) == 0)
		c->pa = c->first + here->delta;
	c->flags = how[world_random(w, 5)];
	if (is_small(w, c))
		c->flags |= limit[world_random(w, 6)];
	for (unsigned k = 0; k < c->b - c->a; k++) {
		if (c->next[k].kind == NEST_PTE_LEAF && (c->flags & NEST_MAP_SKIP_MAPPED))
			continue;
		c->next[k] = (struct state){ .kind = NEST_PTE_LEAF,
					     .delta = c->pa - c->first,
					     .attr = c->attr };
	}
	if (of_kind(w, c, NEST_PTE_LEAF) && !(c->flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED)))
		c->want = NEST_E_MAPPED;
	if (of_kind(w, c, NEST_PTE_MARK) && (c->flags & NEST_MAP_KEEP_MARKS))
		c->want = NEST_E_MAPPED;
}

static void plan_unmap(struct world *w, struct call *c)
{
	c->flags = world_random(w, 2) ? NEST_SKIP_HOLES : 0;
	if (!c->flags && of_kind(w, c, NEST_PTE_LEAF) < c->b - c->a)
		c->want = NEST_E_NOTMAPPED;
	if (world_random(w, 4) == 0)
		c->flags |= NEST_KEEP_TABLES;
	memset(c->next, 0, sizeof(c->next));
}

/* Give or take a right, or change the memory type. */
static void plan_protect(struct world *w, struct call *c)
{
	static const nest_attr_t types[] = { NEST_MT_WB, NEST_MT_WC, NEST_MT_UC, NEST_MT_DEVICE };
	bool by_software = w->setup.features & NEST_FEAT_SW_AD, refused;
	/* A LoongArch page cannot be dirty and not writable. */
	nest_attr_t write = NEST_W | (by_software ? NEST_DIRTY : 0);

	switch (world_random(w, 5)) {
	case 0:
		c->set = write;
		break;
	case 1:
		c->clear = NEST_W | (strstr(w->setup.info.name, "loong") ? NEST_DIRTY : 0);
		break;
	case 2:
		c->set = NEST_X;
		break;
	case 3:
		c->clear = NEST_X;
		break;
	default:
		c->clear = NEST_MT_MASK;
		c->set = types[world_random(w, 4)];
	}
	c->flags = world_random(w, 2) ? NEST_SKIP_HOLES : 0;
	refused = !c->flags && of_kind(w, c, NEST_PTE_LEAF) < c->b - c->a;
	if (!(c->clear & (NEST_MT_MASK | NEST_DIRTY)) && world_random(w, 3) == 0)
		c->flags |= NEST_IF_SET;
	for (unsigned k = 0; k < c->b - c->a; k++) {
		struct state *s = &c->next[k];

		if (s->kind != NEST_PTE_LEAF)
			continue;
		refused |= (c->flags & NEST_IF_SET) && (c->clear & ~s->attr);
		s->attr = (s->attr & ~c->clear) | c->set;
		if (c->clear & NEST_W)
			s->attr &= ~NEST_DBM;
		if (!is_encodable(w, s->attr))
			c->want = c->or_else = NEST_E_UNSUPPORTED;
	}
	if (refused)
		c->want = NEST_E_NOTMAPPED;
}

static void plan_mark(struct world *w, struct call *c)
{
	c->mark = world_random(w, NEST_MARK_MAX);
	for (unsigned k = 0; k < c->b - c->a; k++)
		c->next[k] = (struct state){ .kind = NEST_PTE_MARK, .mark = c->mark };
	if (of_kind(w, c, NEST_PTE_LEAF))
		c->want = NEST_E_MAPPED;
}

/* As unmap, and every page is marked afterwards. */
static void plan_revoke(struct world *w, struct call *c)
{
	plan_unmap(w, c);
	c->flags &= ~NEST_KEEP_TABLES;
	c->mark = world_random(w, NEST_MARK_MAX);
	for (unsigned k = 0; k < c->b - c->a; k++)
		c->next[k] = (struct state){ .kind = NEST_PTE_MARK, .mark = c->mark };
}

static void plan_unmark(struct call *c)
{
	for (unsigned k = 0; k < c->b - c->a; k++) {
		if (c->next[k].kind == NEST_PTE_MARK)
			c->next[k] = (struct state){ .kind = NEST_PTE_NONE };
	}
}

/* A range of neighbouring segments, more often a short one, and something to do there. */
static struct call draw(struct world *w)
{
	static const enum operation often[] = { MAP,   MAP,   MAP,    MAP,     MAP,
						UNMAP, UNMAP, UNMAP,  PROTECT, PROTECT,
						MARK,  SPLIT, MERGE,  MERGE,   HARVEST,
						AGE,   BAD,   REVOKE, UNMARK,  TRIM };
	bool second = w->second && world_random(w, 2);
	unsigned from = second ? w->second : 0;
	unsigned to = second || !w->second ? w->segments : w->second;
	struct call c = { .operation = often[world_random(w, sizeof(often) / sizeof(*often))] };

	c.a = from + (unsigned)world_random(w, to - from);
	c.b = c.a + 1 + (unsigned)world_random(w, world_random(w, 2) ? to - c.a : 1);
	c.first = w->segment[c.a].first;
	c.size = w->segment[c.b - 1].end - c.first;
	for (unsigned k = c.a; k < c.b; k++)
		c.next[k - c.a] = w->segment[k].state;
	switch (c.operation) {
	case MAP:
		plan_map(w, &c);
		break;
	case UNMAP:
		plan_unmap(w, &c);
		break;
	case PROTECT:
		plan_protect(w, &c);
		break;
	case MARK:
		plan_mark(w, &c);
		break;
	case REVOKE:
		plan_revoke(w, &c);
		break;
	case UNMARK:
		plan_unmark(&c);
		break;
	case SPLIT:
		/* A few pages, too, may be a part of what stays whole at level 1. */
		c.level = is_small(w, &c) ? (unsigned)world_random(w, 2) : 1;
		if (!(w->setup.info.leaf_levels >> c.level & 1) ||
		    c.level >= nest_pt_levels(&w->pt))
			c.want = NEST_E_UNSUPPORTED;
		break;
	case MERGE:
		if (w->shared)
			c.want = NEST_E_UNSUPPORTED;
		break;
	default:
		break;
	}
	if (c.operation != BAD && c.operation != TRIM && c.operation != REVOKE &&
	    c.operation != UNMARK && !c.want && is_small(w, &c) && world_random(w, 3) == 0)
		c.budget = 1 + world_random(w, 64);
	return c;
}

/* ---- Making it ---- */

enum { BITMAP_PAGES = 1 << 20 };
static uint64_t bitmap[BITMAP_PAGES / 64]; /* of a harvest */

/* One step of the resumable form, of what is left from `at` on. */
static int make_part(struct world *w, const struct call *c, nest_ia_t ia, uint64_t at,
		     struct nest_gather *g, uint64_t *done)
{
	struct steps st;
	uint64_t left = c->size - at, *words = &bitmap[at / w->page / 64];

	ia += at;
	switch (c->operation) {
	case MAP:
		return steps_end(&st,
				 nest_pt_map(&w->pt, ia, c->pa + at, left, c->attr, c->flags,
					     steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	case UNMAP:
		return steps_end(&st,
				 nest_pt_unmap(&w->pt, ia, left, c->flags,
					       steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	case PROTECT:
		return steps_end(&st,
				 nest_pt_protect(&w->pt, ia, left, c->set, c->clear, c->flags,
						 steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	case MARK:
		return steps_end(&st,
				 nest_pt_mark(&w->pt, ia, left, c->mark,
					      steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	case SPLIT:
		return steps_end(&st,
				 nest_pt_split(&w->pt, ia, left, c->level,
					       steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	case MERGE:
		return steps_end(
			&st,
			nest_pt_merge(&w->pt, ia, left, steps_begin(&st, &w->pt, g, c->budget)),
			done);
	case HARVEST:
		return steps_end(&st,
				 nest_pt_harvest(&w->pt, ia, left, NEST_DIRTY, words, 0,
						 steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	default:
		return steps_end(&st,
				 nest_pt_harvest(&w->pt, ia, left, NEST_ACCESSED, words, 0,
						 steps_begin(&st, &w->pt, g, c->budget)),
				 done);
	}
}

/* By the resumable form, to the end. */
static int make_in_parts(struct world *w, const struct call *c, nest_ia_t ia, struct nest_gather *g)
{
	int err = NEST_E_AGAIN;

	for (uint64_t at = 0, done = 0; err == NEST_E_AGAIN; at += done) {
		err = make_part(w, c, ia, at, g, &done);
		if (err == NEST_E_AGAIN ? !done || done >= c->size - at
					: !err && done != c->size - at)
			world_fail(w, "%s, and %#lx of %#lx bytes are done", nest_strerror(err),
				   (unsigned long)done, (unsigned long)(c->size - at));
	}
	return err;
}

/* What was written must be told, or be there to be told; hardware goes on while it is collected. */
static int harvest(struct world *w, const struct call *c, nest_ia_t ia, struct nest_gather *g)
{
	uint64_t pages = c->size / w->page;
	uint32_t features = w->setup.features & NEST_FEAT_HW_AD;
	/* AArch64 may have no more than the access flag. */
	bool tracked = w->hardware_writes && (c->operation == AGE || features != NEST_FEAT_HW_A);
	int err;

	if (pages > BITMAP_PAGES)
		return NEST_OK;
	memset(bitmap, 0, (pages + 63) / 64 * sizeof(*bitmap));
	if (c->budget)
		err = make_in_parts(w, c, ia, g);
	else if (c->operation == AGE)
		err = nest_pt_harvest(&w->pt, ia, c->size, NEST_ACCESSED, bitmap, 0, g);
	else
		err = nest_pt_harvest(&w->pt, ia, c->size, NEST_DIRTY, bitmap, 0, g);
	for (unsigned i = 0; i < w->tlb.probes && c->operation == HARVEST; i++) {
		unsigned k = w->segment_of[i];
		uint64_t n = (w->tlb.probe[i].ia - ia) / w->page;

		if (k < c->a || k >= c->b)
			continue;
		/* What may be written to and cannot show it is dirty. */
		if (!err && !strncmp(nest_format_name(w->pt.format), "aarch64", 7) &&
		    w->segment[k].state.kind == NEST_PTE_LEAF &&
		    (w->segment[k].state.attr & (NEST_W | NEST_DBM)) == NEST_W &&
		    !(bitmap[n / 64] >> n % 64 & 1))
			world_fail(w,
				   "%#lx can be written to unseen, and harvesting does not tell it",
				   (unsigned long)w->tlb.probe[i].ia);
		if (bitmap[n / 64] >> n % 64 & 1) {
			w->count.harvested++;
			w->written[i].is = w->written[i].gone;
		}
	}
	/* Where the format does not track it, nothing is to be had. */
	return err == NEST_E_UNSUPPORTED && !tracked ? NEST_OK : err;
}

/* Arguments that no caller may pass: refused, whatever is there. */
static int make_bad(struct world *w, const struct call *c, nest_ia_t ia, struct nest_gather *g)
{
	const uint32_t unknown = (uint32_t)1 << 31;
	nest_ia_t odd = ia + 1 + world_random(w, w->page - 1);
	uint64_t most = ~(uint64_t)0 & ~(w->page - 1);
	struct nest_pt *pt = &w->pt;

	switch (world_random(w, 16)) {
	case 0:
		return nest_pt_map(pt, odd, c->pa, c->size, NEST_R, NEST_MAP_REPLACE, g);
	case 1:
		return nest_pt_map(pt, ia, w->page / 2, c->size, NEST_R, NEST_MAP_REPLACE, g);
	case 2:
		return nest_pt_map(pt, ia, 0, c->size + 1, NEST_R, NEST_MAP_REPLACE, g);
	case 3:
		return nest_pt_map(pt, ia, 0, 0, NEST_R, NEST_MAP_REPLACE, g);
	case 4:
		return nest_pt_map(pt, ia, 0, most, NEST_R, NEST_MAP_REPLACE, g);
	case 5:
		return nest_pt_map(pt, ia, most, 2 * w->page, NEST_R, NEST_MAP_REPLACE, g);
	case 6:
		return nest_pt_map(pt, ia, 0, c->size, NEST_R, NEST_MAP_REPLACE | unknown, g);
	case 7:
		return nest_pt_map(pt, ia, 0, c->size, NEST_R | unknown, NEST_MAP_REPLACE, g);
	case 8:
		return nest_pt_map(pt, ia, 0, c->size, NEST_R,
				   NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED, g);
	case 9:
		return nest_pt_unmap(pt, ia, c->size, NEST_MAP_REPLACE, g);
	case 10:
		return nest_pt_unmap(pt, odd, c->size, NEST_SKIP_HOLES, g);
	case 11:
		return nest_pt_protect(pt, ia, c->size, NEST_W, NEST_W, NEST_SKIP_HOLES, g);
	case 12:
		return nest_pt_protect(pt, ia, most, 0, NEST_W, NEST_SKIP_HOLES, g);
	case 13:
		return nest_pt_mark(pt, ia, c->size, NEST_MARK_MAX + 1, g);
	case 14:
		return nest_pt_split(pt, ia, c->size, NEST_MAX_LEVELS, g);
	default:
		return nest_pt_harvest(pt, ia, c->size, NEST_DIRTY | NEST_W, NULL, 0, g);
	}
}

/*
 * The cursor, at ia; mostly it stands there, or has been there before the table changed. In shared
 * mode it must not outlive a grace period.
 */
static struct nest_cursor *cursor_at(struct world *w, nest_ia_t ia)
{
	if (w->cursor.pt != &w->pt)
		nest_cursor_init(&w->cursor, &w->pt, ia);
	else if (w->shared || w->cursor.ia != ia)
		nest_cursor_seek(&w->cursor, ia);
	return &w->cursor;
}

/* The same call by nest/page.h, where that has one. False: it has not, or the dice are against. */
static bool make_by_pages(struct world *w, const struct call *c, nest_ia_t ia,
			  struct nest_gather *g, int *err)
{
	const uint64_t n = c->size / w->page;
	const bool one = n == 1 && !(c->flags & ~NEST_MAP_NO_HUGE);
	const uint64_t way = world_random(w, 3);
	nest_pa_t frames[MOST_FRAMES];

	if (c->operation == MAP && one && !g && way < 2) {
		*err = way ? nest_cursor_map(cursor_at(w, ia), c->pa, c->attr)
			   : nest_pt_map_page(&w->pt, ia, c->pa, c->attr);
	} else if (c->operation == MAP && n <= MOST_FRAMES && way == 2 &&
		   !(c->flags & ~(NEST_MAP_NO_HUGE | NEST_MAP_SKIP_MAPPED | NEST_MAP_KEEP_MARKS))) {
		for (uint64_t k = 0; k < n; k++)
			frames[k] = c->pa + k * w->page;
		*err = nest_pt_map_frames(&w->pt, ia, frames, n, c->attr, c->flags, g);
	} else if (c->operation == UNMAP && one && way) {
		if (way == 2)
			*err = nest_cursor_unmap(cursor_at(w, ia), g);
		else if (!g)
			*err = nest_pt_unmap_page(&w->pt, ia);
		else
			return false;
	} else if (c->operation == PROTECT && one && !g && way) {
		*err = nest_pt_protect_page(&w->pt, ia, c->set, c->clear);
	} else {
		return false;
	}
	return true;
}

static int make(struct world *w, const struct call *c)
{
	nest_ia_t ia = world_ia(w, c->first);
	struct nest_gather *g = w->gathering ? &w->gather : NULL;
	int err;

	if (c->operation == HARVEST || c->operation == AGE)
		return harvest(w, c, ia, g);
	if (c->budget)
		return make_in_parts(w, c, ia, g);
	if (make_by_pages(w, c, ia, g, &err)) {
		w->count.by_pages++;
		return err;
	}
	switch (c->operation) {
	case MAP:
		return nest_pt_map(&w->pt, ia, c->pa, c->size, c->attr, c->flags, g);
	case UNMAP:
		return nest_pt_unmap(&w->pt, ia, c->size, c->flags, g);
	case PROTECT:
		return nest_pt_protect(&w->pt, ia, c->size, c->set, c->clear, c->flags, g);
	case MARK:
		return nest_pt_mark(&w->pt, ia, c->size, c->mark, g);
	case REVOKE:
		return nest_pt_revoke(&w->pt, ia, c->size, c->mark, c->flags, g);
	case UNMARK:
		return nest_pt_unmark(&w->pt, ia, c->size, g);
	case SPLIT:
		return nest_pt_split(&w->pt, ia, c->size, c->level, g);
	case MERGE:
		return nest_pt_merge(&w->pt, ia, c->size, g);
	case TRIM:
		return nest_pt_trim(&w->pt, ia, c->size, g);
	default:
		return make_bad(w, c, ia, g);
	}
}

/*
 * Which pages may be gone for a moment? Only a map over others cares for more than each page: where
 * one entry of a table needs a break, all of them that it replaces get it. FEAT_BBM level 2 spares
 * a break only where frames and memory type stay, and not in shared mode.
 */
static enum breaking breaking(const struct world *w, const struct call *c)
{
	switch (c->operation) {
	case MAP:
		return c->flags & NEST_MAP_REPLACE ? BREAK_RANGE : BREAK_NEVER;
	case PROTECT:
		return w->shared || (c->clear & NEST_MT_MASK) ? BREAK_RESIZED : BREAK_NEEDED;
	case UNMAP:
	case REVOKE:
	case UNMARK:
	case SPLIT:
	case MERGE:
		return w->shared ? BREAK_RESIZED : BREAK_NEEDED;
	default:
		return BREAK_NEVER;
	}
}

/* An AArch64 or LoongArch entry without NEST_W cannot say that it was written to. */
static void forget_readonly(struct world *w, const struct call *c)
{
	bool arm = strstr(w->setup.info.name, "aarch64") != NULL;
	bool loong = strstr(w->setup.info.name, "loong") != NULL;
	nest_attr_t lost = NEST_DIRTY | (arm ? NEST_W : 0);
	nest_attr_t needed = (arm || loong ? NEST_W : 0) | (arm ? NEST_DBM : 0);

	for (unsigned i = 0; i < w->tlb.probes; i++) {
		unsigned k = w->segment_of[i];
		bool mapped = c->operation == MAP && (c->attr & needed) != needed &&
			      !(c->flags & NEST_MAP_SKIP_MAPPED);

		if (k >= c->a && k < c->b && (mapped || (c->clear & lost)))
			w->written[i].is = w->written[i].gone;
	}
}

/* nest_pt_tables_for() answers for these. */
static bool needs_tables(const struct call *c)
{
	return c->operation == MAP || c->operation == UNMAP || c->operation == PROTECT ||
	       c->operation == MARK;
}

static void one_call(struct world *w)
{
	struct call c = draw(w);
	uint64_t stores = w->count.looked_at, allocated;
	bool enough;
	int err;

	/* Software that keeps the bits itself would take the faults that harvesting makes. */
	if ((c.operation == HARVEST || c.operation == AGE) && (w->setup.features & NEST_FEAT_SW_AD))
		return;
	w->count.operations++;
	snprintf(w->doing, sizeof(w->doing),
		 "%s %#lx + %#lx flags %#x pa %#lx attr %#x set %#x clear %#x level %u%s",
		 operation_names[c.operation], (unsigned long)world_ia(w, c.first),
		 (unsigned long)c.size, c.flags, (unsigned long)c.pa, c.attr, c.set, c.clear,
		 c.level, w->gathering ? ", gathered" : "");
	w->ram.failed = false;
	/* A call in parts would be left half done, which is right, and not in the list. */
	if (!c.budget && world_random(w, 8) == 0)
		w->ram.fail_in = 1 + world_random(w, 5);
	world_expect(w, c.a, c.b, c.next, breaking(w, &c));
	enough = needs_tables(&c) && share_has_enough(w, world_ia(w, c.first), c.size, c.flags);
	allocated = w->ram.allocated;
	err = make(w, &c);
	w->ram.fail_in = 0;
	if (enough && (w->ram.allocated != allocated || err == NEST_E_NOMEM))
		world_fail(w, "the reserve is not used (%s)", nest_strerror(err));
	w->count.from_reserve += enough;
	if (err == NEST_E_NOMEM && w->ram.failed)
		w->count.short_of_memory++;
	else if (c.operation == BAD ? !err : err != c.want && !(c.want && err == c.or_else))
		world_fail(w, "returned \"%s\", not \"%s\"", nest_strerror(err),
			   nest_strerror(c.want));
	else if (err)
		w->count.refused++;
	if (!err)
		forget_readonly(w, &c);
	world_done(w, c.a, c.b, err, stores);
	if (!w->gathering || w->shared)
		world_synced(w);
}

void calls_make(struct world *w)
{
	unsigned n = 1 + (unsigned)world_random(w, 6);

	w->gathering = world_random(w, 2);
	w->reporting = w->gathering && world_random(w, 2);
	nest_gather_init(&w->gather, &w->pt);
	if (w->reporting)
		nest_gather_on_release(&w->gather, world_release, w);
	while (n--) {
		for (unsigned i = 0; i < 3 && w->hardware_writes; i++)
			world_access(w, 0);
		one_call(w);
	}
	if (w->gathering) {
		snprintf(w->doing, sizeof(w->doing), "sync");
		nest_gather_sync(&w->gather);
		world_synced(w);
	}
	w->gathering = w->reporting = false;
	if (world_random(w, 2))
		world_run_deferred(w);
	share_make(w);
}
