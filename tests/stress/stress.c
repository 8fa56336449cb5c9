/* SPDX-License-Identifier: MIT */
/*
 * Shared mode under real threads. Workers change one table without a lock; every page belongs to
 * one of them, and neighbours to different ones, so each knows exactly what its pages must be,
 * while the tables above are everybody's. Meanwhile readers do what hardware does: they walk the
 * raw tables from the root, at any moment, keep what they have found until a flush covers it, and
 * use it. What they use must be alive, must belong to the page, and must have no right that has
 * been taken away.
 *
 * Before every store to a live table a thread may lose its CPU, so that others come between. ASan
 * sees who still reads a table that is free; TSan sees what is not atomic.
 */
#include "common.h"
#include "tests/steps.h"

#include <nest/page.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORKERS = 8, READERS = 2, CPUS = MOST_WORKERS + 1 };
enum { WINDOW = 1024, RUN = 4, GENERATIONS = 4 };
/*
 * The window: pages of many owners, across the border of two tables. Few: so few pages in each of
 * some tables that these come and go all the time. Blocks: of one owner each, mapped as a whole and
 * in parts.
 */
enum { DENSE, FEW, FIRST_BLOCK, AREAS = FIRST_BLOCK + 3, FEW_TABLES = 4, FEW_PAGES = 8 };
/* Frames of one generation lie at the address plus generation << this. */
enum { GENERATION_SHIFT = 37 };

/* What the owner of a page knows of it. */
struct cell {
	enum nest_pte_kind kind;
	unsigned generation;
	nest_attr_t attr;
	uint64_t mark;
};

struct area {
	nest_ia_t base;
	uint64_t pages;
	uint64_t in_table; /* pages side by side; the next are in the next table of level 0 */
	struct cell *cell;
	/* By page and generation: the rights that a reader may find; 0: the frame is dead. */
	atomic_uint *may;
	/*
	 * By page: odd while it is mapped and its owner leaves it alone. In FEW only: pages of a
	 * block go away for a moment when others split it.
	 */
	atomic_uint *steady;
};

/* A CPU that only walks. */
struct reader {
	struct tlb tlb;
	uint64_t walks, found;
};

struct worker {
	unsigned id;
	uint64_t random, calls, busy;
};

static struct {
	const struct nest_format *format;
	uint64_t page, span;
	unsigned workers;
	struct nest_pt pt;
	struct nest_epoch epoch;
	struct nest_epoch_slot slot[CPUS];
	struct area area[AREAS];
	struct reader reader[READERS];
	struct worker worker[MOST_WORKERS];
	nest_attr_t attr;
	uint64_t calls_each;
	atomic_uint running;
} w;

/* ---- The host ---- */

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	nest_epoch_defer(&w.epoch, fn, arg);
}

static void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	sched_yield();
	for (unsigned r = 0; r < READERS; r++)
		tlb_flush(&w.reader[r].tlb, &w.pt, what);
}

static const struct nest_host host = {
	.alloc = stress_alloc, .free = stress_free, .tlb_flush = host_flush, .defer = host_defer
};

/* ---- Readers ---- */

static nest_ia_t ia_of(const struct area *a, uint64_t page)
{
	return a->base + page / a->in_table * w.span + page % a->in_table * w.page;
}

static struct area *area_of(nest_ia_t ia, uint64_t *page)
{
	for (unsigned k = 0; k < AREAS; k++) {
		struct area *a = &w.area[k];
		uint64_t off = ia - a->base;

		*page = a->in_table == a->pages
				? off / w.page
				: off / w.span * a->in_table + off % w.span / w.page;
		if (ia >= a->base && *page < a->pages && ia_of(a, *page) == ia)
			return a;
	}
	stress_fail("%#lx is nobody's", (unsigned long)ia);
}

static atomic_uint *may_of(struct area *a, uint64_t page, unsigned generation)
{
	return &a->may[page * GENERATIONS + generation];
}

static nest_pa_t frame_of(const struct area *a, uint64_t page, unsigned generation)
{
	return ia_of(a, page) + ((nest_pa_t)generation << GENERATION_SHIFT);
}

static unsigned steady(nest_ia_t ia)
{
	uint64_t page;
	struct area *a = area_of(ia, &page);

	return atomic_load(&a->steady[page]);
}

static const nest_attr_t RIGHTS = NEST_RWX;

/* The guest uses what a walk, now or earlier, has given. */
static void use(nest_ia_t ia, nest_pa_t pa, nest_attr_t attr)
{
	uint64_t page;
	struct area *a = area_of(ia, &page);
	unsigned generation = (unsigned)((pa - ia) >> GENERATION_SHIFT), may;

	if (generation >= GENERATIONS || frame_of(a, page, generation) != pa)
		stress_fail("%#lx leads to %#lx, which was never mapped there", (unsigned long)ia,
			    (unsigned long)pa);
	may = atomic_load(may_of(a, page, generation));
	if (!may)
		stress_fail("%#lx leads to %#lx after that was released", (unsigned long)ia,
			    (unsigned long)pa);
	if (attr & RIGHTS & ~may)
		stress_fail("%#lx has rights %#x, of which %#x were taken away", (unsigned long)ia,
			    attr & RIGHTS, attr & RIGHTS & ~may);
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	struct tlb *t = &r->tlb;

	while (atomic_load(&w.running)) {
		struct area *a = &w.area[stress_below(&t->random, AREAS)];
		nest_ia_t ia = ia_of(a, stress_below(&t->random, a->pages));
		unsigned i = (unsigned)stress_below(&t->random, TLB_KEPT), since = steady(ia);
		struct walk at;

		pthread_mutex_lock(&t->lock);
		if (t->kept[i].size && stress_below(&t->random, 2)) {
			uint64_t off = stress_below(&t->random, t->kept[i].size / w.page) * w.page;

			use(t->kept[i].ia + off, t->kept[i].pa + off, t->kept[i].attr);
		} else if (r->walks++, tlb_walk(t, &w.pt, ia, &at)) {
			r->found++;
			tlb_keep(t, i, &w.pt, ia, &at);
			use(ia, at.info.pa + (ia - t->kept[i].ia), at.info.attr);
		} else if ((since & 1) && steady(ia) == since) {
			stress_fail("%#lx faults, and nobody unmaps it", (unsigned long)ia);
		}
		pthread_mutex_unlock(&t->lock);
		if (!(r->walks % 64))
			sched_yield();
	}
	return NULL;
}

/* ---- Workers ---- */

/* Pages [from, from + n) of one owner. */
struct range {
	struct area *a;
	uint64_t from, n;
};

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

static void must(const struct range *r, const char *what, int err, int want)
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

static void check(struct worker *k, const struct range *r)
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

static void *worker_main(void *arg)
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

/* ---- One run ---- */

static void open_area(struct area *a, nest_ia_t base, uint64_t pages, uint64_t in_table)
{
	a->base = base;
	a->pages = pages;
	a->in_table = in_table;
	a->cell = calloc(pages, sizeof(*a->cell));
	a->may = calloc(pages * GENERATIONS, sizeof(*a->may));
	a->steady = calloc(pages, sizeof(*a->steady));
	if (!a->cell || !a->may || !a->steady)
		stress_fail("no memory");
}

static void run(const struct nest_format *format, uint32_t features, unsigned workers,
		uint64_t calls, uint64_t seed)
{
	struct nest_pt_config config = {
		.format = format, .features = features, .flags = NEST_PT_SHARED, .host = &host
	};
	pthread_t reader[READERS], worker[MOST_WORKERS];
	uint64_t made = 0, busy = 0, walks = 0, found = 0;
	struct nest_format_info info;
	nest_pte_t e;
	long empty;

	memset(&w, 0, sizeof(w));
	w.format = format;
	stress_format = nest_format_name(format);
	w.workers = workers;
	w.calls_each = calls / workers;
	if (nest_format_describe(format, features, &info) != NEST_OK ||
	    nest_epoch_init(&w.epoch, w.slot, CPUS) != NEST_OK ||
	    nest_pt_init(&w.pt, &config) != NEST_OK)
		stress_fail("init");
	empty = atomic_load(&stress_tables);
	w.page = (uint64_t)1 << info.page_shift;
	w.span = (uint64_t)1 << nest_pt_shift(&w.pt, 1);
	w.attr = NEST_RWX | NEST_ACCESSED | NEST_DIRTY;
	if (nest_pte_leaf(format, 0, features, 0, w.attr, &e) != NEST_OK)
		w.attr = NEST_RWX;
	open_area(&w.area[DENSE], w.span - WINDOW / 2 * w.page, WINDOW, WINDOW);
	open_area(&w.area[FEW], 8 * w.span, FEW_TABLES * FEW_PAGES, FEW_PAGES);
	for (unsigned b = FIRST_BLOCK; b < AREAS; b++)
		open_area(&w.area[b], (2 + b) * w.span, w.span / w.page, w.span / w.page);
	atomic_store(&w.running, 1);
	for (unsigned i = 0; i < READERS; i++) {
		w.reader[i].tlb.random = seed * 77 + i + 1;
		pthread_mutex_init(&w.reader[i].tlb.lock, NULL);
		if (pthread_create(&reader[i], NULL, reader_main, &w.reader[i]))
			stress_fail("no thread");
	}
	for (unsigned i = 0; i < workers; i++) {
		w.worker[i].id = i;
		w.worker[i].random = seed * 131 + i + 1;
		if (pthread_create(&worker[i], NULL, worker_main, &w.worker[i]))
			stress_fail("no thread");
	}
	for (unsigned i = 0; i < workers; i++) {
		pthread_join(worker[i], NULL);
		made += w.worker[i].calls;
		busy += w.worker[i].busy;
	}
	atomic_store(&w.running, 0);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(reader[i], NULL);
		walks += w.reader[i].walks;
		found += w.reader[i].found;
	}
	for (unsigned a = 0; a < AREAS; a++) {
		struct range all = { &w.area[a], 0, w.area[a].pages };

		for (uint64_t i = 0; i < all.n; i++) {
			struct range one = { &w.area[a], i, 1 };

			check(&w.worker[0], &one);
		}
		nest_epoch_enter(&w.epoch, 0);
		must(&all, "unmap at the end",
		     nest_pt_unmap(&w.pt, all.a->base,
				   ia_of(all.a, all.n - 1) + w.page - all.a->base, NEST_SKIP_HOLES,
				   NULL),
		     NEST_OK);
		nest_epoch_exit(&w.epoch, 0);
		free(w.area[a].cell);
		free(w.area[a].may);
		free(w.area[a].steady);
	}
	for (unsigned i = 0; i < 3; i++)
		(void)nest_epoch_poll(&w.epoch, 0);
	if (atomic_load(&stress_tables) != empty)
		stress_fail("%ld tables are left, not %ld", atomic_load(&stress_tables), empty);
	nest_pt_destroy(&w.pt);
	if (atomic_load(&stress_tables))
		stress_fail("%ld tables are not given back", atomic_load(&stress_tables));
	printf("%-17s features 0x%-6x %u workers: %8lu calls, %6lu had to wait; %9lu walks, %8lu "
	       "found a page\n",
	       nest_format_name(format), features, workers, (unsigned long)made,
	       (unsigned long)busy, (unsigned long)walks, (unsigned long)found);
	fflush(stdout);
}

static void usage(void)
{
	puts("usage: stress [OPTION...]\n"
	     "\n"
	     "Change one shared table on many threads at once, under readers that walk it.\n"
	     "\n"
	     "  --calls N     calls for each format (default 6000)\n"
	     "  --workers N   so many threads that change it, 1 to 8 (default: 2, 4, 8 in turn)\n"
	     "  --format NAME one format alone\n"
	     "  --seed N      other random numbers (default 1)\n"
	     "  --help        this text");
}

int main(int argc, char **argv)
{
	static const uint32_t feature_sets[] = { 0, NEST_FEAT_HW_AD, NEST_FEAT_BBM2 };
	uint64_t calls = 6000, seed = 1;
	unsigned workers = 0, runs = 0;
	const char *only = NULL;

	stress_program = "stress";
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			usage();
			return 0;
		}
		if (i + 1 == argc) {
			fprintf(stderr, "stress: %s: what of it? --help tells\n", argv[i]);
			return 2;
		}
		if (!strcmp(argv[i], "--calls"))
			calls = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--workers"))
			workers = (unsigned)strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--format"))
			only = argv[++i];
		else {
			fprintf(stderr, "stress: %s: no such option; --help tells\n", argv[i]);
			return 2;
		}
	}
	if (workers > MOST_WORKERS) {
		fprintf(stderr, "stress: 1 to %u workers\n", MOST_WORKERS);
		return 2;
	}
	for (unsigned f = 0; nest_formats[f]; f++) {
		for (unsigned i = 0; i < sizeof(feature_sets) / sizeof(*feature_sets); i++) {
			struct nest_format_info info;

			if ((only && strcmp(nest_format_name(nest_formats[f]), only)) ||
			    nest_format_describe(nest_formats[f], feature_sets[i], &info) !=
				    NEST_OK)
				continue;
			run(nest_formats[f], feature_sets[i], workers ? workers : 2u << runs % 3,
			    calls, seed);
			runs++;
		}
	}
	if (!runs) {
		fprintf(stderr, "stress: no format \"%s\"\n", only);
		return 2;
	}
	return 0;
}
