/* SPDX-License-Identifier: MIT */
/*
 * What the workers of `stress` do: calls on pages of their own, after which each knows what its
 * pages must be.
 */
#include "tests/steps.h"
#include "world.h"

#include <nest/page.h>
#include <sched.h>

static struct range draw(struct worker *k)
{
	struct range r = { .a = &w.area[DENSE] };
	unsigned which = (unsigned)stress_below(&k->random, 8);

	if (which == 0 && FIRST_BLOCK + k->id < AREAS) {
		r.a = &w.area[FIRST_BLOCK + k->id];
		r.n = 1 + stress_below(&k->random, 24);
		r.from = stress_below(&k->random, r.a->pages - r.n);
		if (stress_below(&k->random, 2) == 0)
			r.from = 0, r.n = r.a->pages;
		return r;
	}
	if (which < 6) {
		r.a = &w.area[FEW];
		r.from = stress_below(&k->random, r.a->pages / w.workers) * w.workers + k->id;
		r.n = 1;
		return r;
	}
	r.from = (stress_below(&k->random, WINDOW / RUN / w.workers) * w.workers + k->id) * RUN;
	r.n = 1 + stress_below(&k->random, RUN);
	return r;
}

static unsigned kinds(const struct range *r, enum nest_pte_kind kind)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < r->n; i++)
		n += r->a->cell[r->from + i].kind == kind;
	return n;
}

static void let(const struct range *r, uint64_t i, nest_attr_t rights)
{
	const struct cell *c = &r->a->cell[r->from + i];

	if (c->kind == NEST_PTE_LEAF)
		atomic_store(may_of(r->a, r->from + i, c->generation), rights & RIGHTS);
}

enum call { MAP, UNMAP, PROTECT, MARK };
/* The call on a range, or one of nest/page.h. */
enum form { RANGE, PAGE, CURSOR, FRAMES };
enum { MOST_FRAMES = 64 };

struct arguments {
	enum call call;
	enum form form;
	nest_pa_t pa;
	nest_attr_t attr, set, clear;
	uint32_t flags;
	uint64_t mark;
};

/* A form that the call has, for so many pages of which none is refused. */
static enum form any_form(struct worker *k, const struct arguments *x, uint64_t pages)
{
	const enum form form = (enum form)stress_below(&k->random, 4);

	if (x->call == MAP && x->flags == NEST_MAP_SKIP_MAPPED && pages <= MOST_FRAMES)
		return form ? FRAMES : RANGE;
	if (x->flags || form == FRAMES || (form == CURSOR && x->call == PROTECT) ||
	    (form == PAGE && pages > 1))
		return RANGE;
	return form;
}

static int one_page(const struct arguments *x, nest_ia_t ia, nest_pa_t pa)
{
	switch (x->call) {
	case MAP:
		return nest_pt_map_page(&w.pt, ia, pa, x->attr);
	case UNMAP:
		return nest_pt_unmap_page(&w.pt, ia);
	default:
		return nest_pt_protect_page(&w.pt, ia, x->set, x->clear);
	}
}

static int by_cursor(const struct arguments *x, nest_ia_t ia, nest_pa_t pa, uint64_t size,
		     uint64_t *done)
{
	struct nest_cursor c;
	int err = NEST_OK;

	nest_cursor_init(&c, &w.pt, ia);
	while (*done < size && !err) {
		if (x->call == MAP)
			err = nest_cursor_map(&c, pa + *done, x->attr);
		else
			err = nest_cursor_unmap(&c, NULL);
		if (!err)
			*done += w.page;
	}
	return err;
}

static int by_frames(const struct arguments *x, nest_ia_t ia, nest_pa_t pa, uint64_t size)
{
	nest_pa_t frames[MOST_FRAMES];

	for (uint64_t i = 0; i < size / w.page; i++)
		frames[i] = pa + i * w.page;
	return nest_pt_map_frames(&w.pt, ia, frames, size / w.page, x->attr, x->flags, NULL);
}

static int call(const struct arguments *x, nest_ia_t ia, uint64_t at, uint64_t size, uint64_t *done)
{
	struct steps st;
	*done = 0;
	switch (x->form) {
	case PAGE:
		return one_page(x, ia + at, x->pa + at);
	case CURSOR:
		return by_cursor(x, ia + at, x->pa + at, size, done);
	case FRAMES:
		return by_frames(x, ia + at, x->pa + at, size);
	default:
		break;
	}
	switch (x->call) {
	case MAP:
		/* Single pages by the plain call: that is what a fault makes. */
		if (size == w.page)
			return nest_pt_map(&w.pt, ia + at, x->pa + at, size, x->attr, x->flags,
					   NULL);
		return steps_end(&st,
				 nest_pt_map(&w.pt, ia + at, x->pa + at, size, x->attr, x->flags,
					     steps_begin(&st, &w.pt, NULL, UINT64_MAX)),
				 done);
	case UNMAP:
		return steps_end(&st,
				 nest_pt_unmap(&w.pt, ia + at, size, x->flags,
					       steps_begin(&st, &w.pt, NULL, UINT64_MAX)),
				 done);
	case PROTECT:
		return steps_end(&st,
				 nest_pt_protect(&w.pt, ia + at, size, x->set, x->clear, x->flags,
						 steps_begin(&st, &w.pt, NULL, UINT64_MAX)),
				 done);
	default:
		return nest_pt_mark(&w.pt, ia + at, size, x->mark, NULL);
	}
}

/* Until nobody is in the way any more. */
static int insist(struct worker *k, const struct range *r, const struct arguments *x)
{
	nest_ia_t ia = ia_of(r->a, r->from);
	uint64_t size = r->n * w.page, at = 0, done;
	int err;

	for (;;) {
		nest_epoch_enter(&w.epoch, k->id);
		err = call(x, ia, at, size - at, &done);
		nest_epoch_exit(&w.epoch, k->id);
		k->calls++;
		if (err != NEST_E_BUSY && err != NEST_E_AGAIN)
			return err;
		k->busy++;
		at += done;
		if (at == size)
			return NEST_OK;
		sched_yield();
	}
}

void must(const struct range *r, const char *what, int err, int want)
{
	if (err != want)
		stress_fail("%s of %lu pages at %#lx: \"%s\", not \"%s\"", what,
			    (unsigned long)r->n, (unsigned long)ia_of(r->a, r->from),
			    nest_strerror(err), nest_strerror(want));
}

static void do_map(struct worker *k, const struct range *r)
{
	static const uint32_t how[] = { 0, 0, NEST_MAP_REPLACE, NEST_MAP_SKIP_MAPPED };
	struct arguments x = { .call = MAP,
			       .attr = w.attr,
			       .flags = how[stress_below(&k->random, 4)] };
	unsigned generation = (unsigned)stress_below(&k->random, GENERATIONS);
	bool refused = !x.flags && kinds(r, NEST_PTE_LEAF);
	int err;

	if (stress_below(&k->random, 2))
		x.attr &= ~NEST_X;
	/* Frames that none of these pages has now: that of a page must die with it. */
	for (uint64_t i = 0; i < r->n && !refused; i++) {
		const struct cell *c = &r->a->cell[r->from + i];

		if (c->kind == NEST_PTE_LEAF && c->generation == generation)
			return;
	}
	x.pa = frame_of(r->a, r->from, generation);
	if (!refused)
		x.form = any_form(k, &x, r->n);
	for (uint64_t i = 0; i < r->n && !refused; i++)
		atomic_store(may_of(r->a, r->from + i, generation), x.attr & RIGHTS);
	err = insist(k, r, &x);
	must(r, "map", err, refused ? NEST_E_MAPPED : NEST_OK);
	for (uint64_t i = 0; i < r->n && !err; i++) {
		struct cell *c = &r->a->cell[r->from + i];

		if (c->kind == NEST_PTE_LEAF && (x.flags & NEST_MAP_SKIP_MAPPED)) {
			atomic_store(may_of(r->a, r->from + i, generation), 0);
			continue;
		}
		let(r, i, 0);
		*c = (struct cell){ NEST_PTE_LEAF, generation, x.attr, 0 };
	}
}

static void do_unmap(struct worker *k, const struct range *r)
{
	static const uint32_t how[] = { 0, 0, NEST_SKIP_HOLES, NEST_SKIP_HOLES | NEST_KEEP_TABLES };
	struct arguments x = { .call = UNMAP, .flags = how[stress_below(&k->random, 4)] };
	bool refused = !x.flags && kinds(r, NEST_PTE_LEAF) < r->n;
	int err;

	if (!refused)
		x.form = any_form(k, &x, r->n);
	err = insist(k, r, &x);
	must(r, "unmap", err, refused ? NEST_E_NOTMAPPED : NEST_OK);
	for (uint64_t i = 0; i < r->n && !err; i++) {
		let(r, i, 0);
		r->a->cell[r->from + i] = (struct cell){ .kind = NEST_PTE_NONE };
	}
}

static void do_protect(struct worker *k, const struct range *r)
{
	struct arguments x = { .call = PROTECT,
			       .flags = stress_below(&k->random, 2) ? NEST_SKIP_HOLES : 0 };
	bool refused = !x.flags && kinds(r, NEST_PTE_LEAF) < r->n;
	int err;

	if (stress_below(&k->random, 2))
		x.set = NEST_X;
	else
		x.clear = NEST_X;
	if (!refused)
		x.form = any_form(k, &x, r->n);
	for (uint64_t i = 0; i < r->n && !refused && x.set; i++)
		let(r, i, r->a->cell[r->from + i].attr | x.set);
	err = insist(k, r, &x);
	must(r, "protect", err, refused ? NEST_E_NOTMAPPED : NEST_OK);
	for (uint64_t i = 0; i < r->n && !err; i++) {
		struct cell *c = &r->a->cell[r->from + i];

		c->attr = (c->attr & ~x.clear) | x.set;
		let(r, i, c->attr);
	}
}

static void do_mark(struct worker *k, const struct range *r)
{
	struct arguments x = { .call = MARK, .mark = stress_below(&k->random, NEST_MARK_MAX) };
	bool refused = kinds(r, NEST_PTE_LEAF);
	int err = insist(k, r, &x);

	must(r, "mark", err, refused ? NEST_E_MAPPED : NEST_OK);
	for (uint64_t i = 0; i < r->n && !err; i++)
		r->a->cell[r->from + i] = (struct cell){ .kind = NEST_PTE_MARK, .mark = x.mark };
}

static int query(struct worker *k, nest_ia_t ia, struct nest_mapping *m)
{
	int err;

	do {
		nest_epoch_enter(&w.epoch, k->id);
		err = nest_pt_query(&w.pt, ia, m);
		nest_epoch_exit(&w.epoch, k->id);
		k->calls++;
		if (err == NEST_E_BUSY)
			sched_yield();
	} while (err == NEST_E_BUSY);
	return err;
}

static int translate(struct worker *k, nest_ia_t ia, struct nest_mapping *m)
{
	int err;

	do {
		nest_epoch_enter(&w.epoch, k->id);
		err = nest_pt_translate(&w.pt, ia, &m->pa, &m->attr);
		nest_epoch_exit(&w.epoch, k->id);
	} while (err == NEST_E_BUSY);
	return err;
}

void check(struct worker *k, const struct range *r)
{
	for (uint64_t i = 0; i < r->n; i += r->n > 64 ? 37 : 1) {
		const struct cell *c = &r->a->cell[r->from + i];
		nest_ia_t ia = ia_of(r->a, r->from + i);
		struct nest_mapping m;
		int err = query(k, ia, &m);

		if ((err == NEST_OK) != (c->kind == NEST_PTE_LEAF) || m.kind != c->kind ||
		    m.mark != c->mark)
			stress_fail("%#lx is of kind %u, not %u", (unsigned long)ia, m.kind,
				    c->kind);
		if (!err && stress_below(&k->random, 2))
			err = translate(k, ia, &m);
		if (err != NEST_OK && c->kind == NEST_PTE_LEAF)
			stress_fail("%#lx is not translated", (unsigned long)ia);
		if (!err && (m.pa != frame_of(r->a, r->from + i, c->generation) ||
			     ((m.attr ^ c->attr) & RIGHTS)))
			stress_fail("%#lx leads to %#lx with %#x, not to generation %u with %#x",
				    (unsigned long)ia, (unsigned long)m.pa, m.attr, c->generation,
				    c->attr);
	}
}

/* What changes no translation may be done to anybody's pages. */
static void meddle(struct worker *k)
{
	struct area *a = &w.area[stress_below(&k->random, AREAS)];
	uint64_t n = 1 + stress_below(&k->random, a->in_table < 64 ? a->in_table : 64);
	nest_ia_t ia = ia_of(a, stress_below(&k->random, a->pages / a->in_table) * a->in_table +
					stress_below(&k->random, a->in_table - n + 1));
	int err = NEST_OK;

	nest_epoch_enter(&w.epoch, k->id);
	switch (stress_below(&k->random, 5)) {
	case 0:
		err = nest_pt_split(&w.pt, ia, n * w.page, 0, NULL);
		break;
	case 1:
		err = nest_pt_harvest(&w.pt, ia, n * w.page, NEST_ACCESSED, NULL, 0, NULL);
		break;
	case 2:
		err = nest_pt_harvest(&w.pt, ia, n * w.page, NEST_DIRTY, NULL, 0, NULL);
		break;
	case 3:
		err = nest_pt_trim(&w.pt, ia, n * w.page, NULL);
		break;
	default:
		for (uint64_t i = 0; i < n; i++) {
			struct nest_mapping m;

			if (nest_pt_query(&w.pt, ia + i * w.page, &m) == NEST_OK &&
			    (m.pa & (((nest_pa_t)1 << GENERATION_SHIFT) - 1)) != ia + i * w.page)
				stress_fail("%#lx leads to %#lx", (unsigned long)(ia + i * w.page),
					    (unsigned long)m.pa);
		}
	}
	nest_epoch_exit(&w.epoch, k->id);
	k->calls++;
	if (err && err != NEST_E_BUSY && err != NEST_E_UNSUPPORTED)
		stress_fail("a call on others' pages: \"%s\"", nest_strerror(err));
}

/* The owner of these pages begins to change them; it has done so. */
static void unsettle(const struct range *r)
{
	for (uint64_t i = r->from; i < r->from + r->n; i++)
		atomic_fetch_add(&r->a->steady[i], atomic_load(&r->a->steady[i]) & 1);
}

static void settle(const struct range *r)
{
	for (uint64_t i = r->from; i < r->from + r->n && r->a == &w.area[FEW]; i++) {
		if (r->a->cell[i].kind == NEST_PTE_LEAF)
			atomic_fetch_add(&r->a->steady[i], 1);
	}
}

void *worker_main(void *arg)
{
	struct worker *k = arg;

	for (uint64_t i = 0; i < w.calls_each; i++) {
		struct range r = draw(k);

		unsettle(&r);
		/* More goes than comes, so that tables become empty. */
		switch (stress_below(&k->random, 16)) {
		case 0:
		case 1:
		case 2:
		case 3:
			do_map(k, &r);
			break;
		case 4:
		case 5:
		case 6:
			do_protect(k, &r);
			break;
		case 7:
			do_mark(k, &r);
			break;
		case 8:
		case 9:
			meddle(k);
			break;
		default:
			do_unmap(k, &r);
		}
		settle(&r);
		check(k, &r);
		if (i % 2 == 0)
			(void)nest_epoch_poll(&w.epoch, k->id);
	}
	return NULL;
}
