/* SPDX-License-Identifier: MIT */
#include "toy_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct toy_variant toy_variants[TOY_VARIANTS] = {
	{ "plain", &toy_plain, 0 },
	{ "plain, groups", &toy_plain, NEST_FEAT_CONTIG },
	{ "break-before-make", &toy_break, 0 },
	{ "break-before-make, groups", &toy_break, NEST_FEAT_CONTIG },
};

/*
 * The world that is looked at while a step runs, and what a TLB may hold of it; whether a page has
 * been other than before the step.
 */
static struct world *watched;
static bool has_changed;
static struct {
	struct page leaf[TOY_PAGES];
	uint64_t way[TOY_TABLES]; /* a bit for each page whose walk has come by the table */
} held;

static nest_pa_t toy_alloc(void *ctx, size_t size)
{
	struct world *w = ctx;

	assert_int_equal(size, TOY_PAGE);
	if (w->fail_in >= 0 && w->fail_in-- == 0)
		return NEST_PA_NONE;
	for (unsigned i = 0; i < TOY_TABLES; i++) {
		if (w->used[i])
			continue;
		w->used[i] = true;
		w->live++;
		memset(w->memory[i], 0xa5, TOY_PAGE);
		return TOY_BASE + i * (nest_pa_t)TOY_PAGE;
	}
	return NEST_PA_NONE;
}

static void toy_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct world *w = ctx;
	uint64_t i = (pa - TOY_BASE) / TOY_PAGE;

	assert_int_equal(size, TOY_PAGE);
	assert_true(pa >= TOY_BASE && i < TOY_TABLES && w->used[i]);
	if (w == watched && held.way[i])
		fail_msg("a table is freed that a walker may still go by");
	w->used[i] = false;
	w->live--;
	memset(w->memory[i], 0x5a, TOY_PAGE);
}

static void *toy_virt(void *ctx, nest_pa_t pa)
{
	struct world *w = ctx;

	assert_true(pa >= TOY_BASE && pa < TOY_BASE + TOY_TABLES * TOY_PAGE && !(pa % TOY_PAGE));
	return w->memory[(pa - TOY_BASE) / TOY_PAGE];
}

uint64_t *world_table(struct world *w, uint64_t pa)
{
	return toy_virt(w, pa);
}

static void toy_flush(void *ctx, const struct nest_flush *what);

void world_start(struct world *w, const struct toy_variant *variant)
{
	struct nest_pt_config config = { .format = variant->format,
					 .features = variant->features,
					 .ctx = w };

	memset(w, 0, sizeof(*w));
	w->fail_in = -1;
	w->host = (struct nest_host){
		.alloc = toy_alloc, .free = toy_free, .to_virt = toy_virt, .tlb_flush = toy_flush
	};
	config.host = &w->host;
	assert_int_equal(nest_pt_init(&w->pt, &config), NEST_OK);
}

static struct page decode(uint64_t e, unsigned page, unsigned level)
{
	unsigned within = page & ((1u << (2 * level)) - 1);

	if ((e & 3) != 3)
		return (struct page){ .marked = e != 0 };
	return (struct page){ .mapped = true,
			      .pa = (e & 0xffffffffffe0) + (uint64_t)within * TOY_PAGE,
			      .attr = (nest_attr_t)(e >> 60) & NEST_RWX,
			      .level = (uint8_t)level,
			      .grouped = e >> 63 };
}

/*
 * What hardware would see for a page: three dependent loads, by the bits that toy.c documents.
 * *other: what it would see by way of the other member of its contiguous group, if that says that
 * there is one.
 */
static struct page look(struct world *w, unsigned page, struct page *other)
{
	uint64_t table = nest_pt_root(&w->pt), e = 0, neighbour = 0;
	unsigned level = 3, i = 0;

	while (level--) {
		i = page >> (2 * level) & 3;
		if (w == watched)
			held.way[(table - TOY_BASE) / TOY_PAGE] |= (uint64_t)1 << page;
		e = (world_table(w, table))[i];
		neighbour = (world_table(w, table))[i ^ 1];
		if ((e & 3) != 1)
			break;
		table = e & 0xffffffffffe0;
	}
	*other = decode(e, page, level);
	if ((neighbour & 3) == 3 && neighbour >> 63) {
		uint64_t step = (uint64_t)TOY_PAGE << (2 * level);

		*other = decode(i & 1 ? neighbour + step : neighbour - step, page, level);
	}
	return decode(e, page, level);
}

/* Look at a page as a TLB does. */
static void hold(struct world *w, unsigned page)
{
	struct page other, p = look(w, page, &other), *had = &held.leaf[page];

	if (!p.mapped)
		return;
	if (had->mapped && w->pt.format == &toy_break &&
	    (had->pa != p.pa || had->level != p.level || had->grouped != p.grouped))
		fail_msg("page %u is at %#lx, level %u, and is not flushed from %#lx, level %u",
			 page, (unsigned long)p.pa, p.level, (unsigned long)had->pa, had->level);
	*had = p;
}

static void toy_flush(void *ctx, const struct nest_flush *what)
{
	struct world *w = ctx;

	assert_true(what->all || what->size);
	for (unsigned i = 0; i < TOY_PAGES && w == watched; i++) {
		if (!what->all && (uint64_t)i * TOY_PAGE - what->ia >= what->size)
			continue;
		if (what->level_mask >> held.leaf[i].level & 1)
			held.leaf[i].mapped = false;
		for (unsigned t = 0; t < TOY_TABLES && !what->leaf_only; t++)
			held.way[t] &= ~((uint64_t)1 << i);
		/* At once it may be there again. */
		hold(w, i);
	}
}

static bool same_page(const struct page *a, const struct page *b)
{
	return a->mapped == b->mapped && a->marked == b->marked &&
	       (!a->mapped || (a->pa == b->pa && a->attr == b->attr));
}

/* Tables that hang together, and none of them empty but the root. */
static unsigned count_tables(struct world *w, uint64_t table, unsigned level)
{
	const uint64_t *t = world_table(w, table);
	unsigned n = 1, filled = 0;

	for (unsigned i = 0; i < 4; i++) {
		filled += t[i] != 0;
		if (level && (t[i] & 3) == 1)
			n += count_tables(w, t[i] & 0xffffffffffe0, level - 1);
	}
	assert_true(filled || level == 2);
	return n;
}

void world_check(struct world *w, const char *what)
{
	for (unsigned i = 0; i < TOY_PAGES; i++) {
		struct page other, p = look(w, i, &other), *f = &w->flat[i];

		if (!same_page(&p, f) || !same_page(&other, f))
			fail_msg("%s: page %u: is %d%d %#lx %x, should be %d%d %#lx %x", what, i,
				 p.mapped, p.marked, (unsigned long)p.pa, p.attr, f->mapped,
				 f->marked, (unsigned long)f->pa, f->attr);
	}
	assert_int_equal(w->live, count_tables(w, nest_pt_root(&w->pt), 2));
}

/*
 * Called by the engine after every store: each page must be what it was or what it is going to be,
 * whichever member of a group the hardware goes by; or nothing, where the format breaks before it
 * makes.
 */
unsigned long world_stores;

static void check_between(struct world *w, unsigned i, const struct page *p)
{
	if (same_page(p, &w->before[i]))
		return;
	has_changed = true;
	if (same_page(p, &w->flat[i]))
		return;
	if (!p->mapped && !p->marked && w->pt.format == &toy_break)
		return;
	fail_msg("between two stores page %u is %d%d %#lx %x", i, p->mapped, p->marked,
		 (unsigned long)p->pa, p->attr);
}

void toy_after_store(const nest_pte_t *entry);
void toy_after_store(const nest_pte_t *entry)
{
	(void)entry;
	if (!watched)
		return;
	world_stores++;
	for (unsigned i = 0; i < TOY_PAGES; i++) {
		struct page other, p = look(watched, i, &other);

		check_between(watched, i, &p);
		check_between(watched, i, &other);
		hold(watched, i);
	}
}

static const uint32_t flags_of[KINDS] = { [REPLACE] = NEST_MAP_REPLACE,
					  [SKIP] = NEST_MAP_SKIP_MAPPED,
					  [SMALL] = NEST_MAP_NO_HUGE | NEST_MAP_REPLACE,
					  [SPARSE] = NEST_SKIP_HOLES,
					  [PROTECT] = NEST_SKIP_HOLES };

static uint64_t frame(const struct step *s, unsigned page)
{
	return 0x100000 + (uint64_t)(page + s->shift) * TOY_PAGE;
}

static int run(struct world *w, const struct step *s)
{
	uint64_t ia = (uint64_t)s->first * TOY_PAGE, size = (uint64_t)s->count * TOY_PAGE;

	switch (s->kind) {
	case MAP:
	case REPLACE:
	case SKIP:
	case SMALL:
		return nest_pt_map(&w->pt, ia, frame(s, s->first), size, s->attr, flags_of[s->kind],
				   NULL);
	case UNMAP:
	case SPARSE:
		return nest_pt_unmap(&w->pt, ia, size, flags_of[s->kind], NULL);
	case PROTECT:
		return nest_pt_protect(&w->pt, ia, size, s->attr, NEST_RWX & ~s->attr,
				       flags_of[s->kind], NULL);
	case MARK:
		return nest_pt_mark(&w->pt, ia, size, 7, NULL);
	case SPLIT0:
		return nest_pt_split(&w->pt, ia, size, 0, NULL);
	case SPLIT1:
		return nest_pt_split(&w->pt, ia, size, 1, NULL);
	default:
		return nest_pt_merge(&w->pt, ia, size, NULL);
	}
}

/* What the step means for the flat array, and whether it is to succeed. */
static int expect(struct world *w, const struct step *s)
{
	struct page next[TOY_PAGES];

	memcpy(next, w->flat, sizeof(next));
	for (unsigned i = s->first; i < s->first + s->count; i++) {
		struct page *p = &next[i];

		switch (s->kind) {
		case MAP:
		case MARK:
			if (p->mapped)
				return NEST_E_MAPPED;
			break;
		case UNMAP:
			if (!p->mapped)
				return NEST_E_NOTMAPPED;
			break;
		case SKIP:
			if (p->mapped)
				continue;
			break;
		case PROTECT:
			if (p->mapped)
				p->attr = s->attr;
			continue;
		case SPLIT0:
		case SPLIT1:
		case MERGE:
			continue;
		default:
			break;
		}
		*p = (struct page){ .mapped = s->kind <= SMALL, .marked = s->kind == MARK };
		if (p->mapped) {
			p->pa = frame(s, i);
			p->attr = s->attr;
		}
	}
	memcpy(w->flat, next, sizeof(next));
	return NEST_OK;
}

/*
 * Make a step under watch. True: the allocation that was to fail has failed, which every operation
 * that allocates must tell; then no store may have been seen.
 */
static bool watch(struct world *w, const struct step *s, long fail_in)
{
	char what[80];
	int want, got;
	bool failed;

	memcpy(w->before, w->flat, sizeof(w->before));
	want = expect(w, s);

	snprintf(what, sizeof(what), "kind %d pages %u+%u shift %u attr %x%s", (int)s->kind,
		 s->first, s->count, s->shift, s->attr, fail_in < 0 ? "" : ", out of memory");
	memset(&held, 0, sizeof(held));
	has_changed = false;
	watched = w;
	for (unsigned i = 0; i < TOY_PAGES; i++)
		hold(w, i);
	w->fail_in = fail_in;
	got = run(w, s);
	failed = fail_in >= 0 && w->fail_in < 0;
	w->fail_in = -1;
	watched = NULL;
	if (failed) {
		want = NEST_E_NOMEM;
		memcpy(w->flat, w->before, sizeof(w->flat));
	}
	if (got != want)
		fail_msg("%s: %s, should be %s", what, nest_strerror(got), nest_strerror(want));
	if (failed && has_changed)
		fail_msg("%s: a page has changed meanwhile", what);
	world_check(w, what);
	return failed;
}

unsigned long world_steps;

void world_step(struct world *w, const struct step *s)
{
	(void)watch(w, s, -1);
	world_steps++;
}

void world_step_failing(struct world *w, const struct step *s)
{
	unsigned live = w->live;

	/* The last of them is the step itself: it has come to its end before that allocation. */
	for (long n = 0; watch(w, s, n); n++)
		assert_int_equal(w->live, live);
	world_steps++;
}

void world_go(struct world *w, const struct step *s)
{
	if (expect(w, s) == NEST_OK && run(w, s) != NEST_OK)
		fail_msg("a step that was made before fails now");
}

void world_copy(struct world *to, const struct world *from)
{
	*to = *from;
	to->pt.host = &to->host;
	to->pt.ctx = to;
}
