/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t world_chance(struct world *w, uint64_t n)
{
	return dice_throw(&w->dice, n);
}

uint64_t world_random(struct world *w, uint64_t n)
{
	return dice_draw(&w->dice, n);
}

nest_ia_t world_ia(const struct world *w, uint64_t offset)
{
	uint64_t high = ~(uint64_t)0 << w->setup.ia_bits;

	if (w->setup.flags & NEST_PT_UPPER)
		return offset | high;
	if (w->setup.info.sign_extended && offset >> (w->setup.ia_bits - 1) & 1)
		return offset | high;
	return offset;
}

uint64_t world_offset(const struct world *w, nest_ia_t ia)
{
	return ia & (((uint64_t)1 << w->setup.ia_bits) - 1);
}

/* ---- Telling what is wrong ---- */

static void print_state(const char *label, const struct state *s, uint64_t offset)
{
	if (s->kind == NEST_PTE_LEAF)
		fprintf(stderr, "  %s: mapped to %#lx attr %#x\n", label,
			(unsigned long)(offset + s->delta), s->attr);
	else
		fprintf(stderr, "  %s: %s\n", label, s->kind == NEST_PTE_MARK ? "mark" : "nothing");
}

static void print_step(const struct mmu_step *s)
{
	static const char *const kinds[] = { "table",         "page",         "invalid",
					     "misconfigured", "out of range", "forbidden" };

	fprintf(stderr, "  walk: %s level %u", kinds[s->kind], s->level);
	if (s->kind == MMU_PAGE)
		fprintf(stderr, " to %#lx shift %u rights %x/%x type %u%s%s", (unsigned long)s->pa,
			s->shift, s->rights[0], s->rights[1], (unsigned)s->type,
			s->contiguous ? " contiguous" : "", s->flag_fault ? " flag clear" : "");
	if (s->kind == MMU_TABLE)
		fprintf(stderr, " at %#lx", (unsigned long)s->table);
	fprintf(stderr, " (entry %#lx at %#lx)\n", (unsigned long)s->word, (unsigned long)s->at);
}

void world_fail(struct world *w, const char *format, ...)
{
	char name[128];
	va_list args;

	setup_name(&w->setup, name, sizeof(name));
	fprintf(stderr, "FAIL %s, seed %#lx, operation %lu (%s), store %lu: ", name,
		(unsigned long)w->seed, (unsigned long)w->count.operations, w->doing,
		(unsigned long)w->count.stores);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	/* What a fuzzer has found can be had again from its input. */
	if (w->dice.input)
		abort();
	fprintf(stderr, "repeat with: --case '%s' --seed %#lx\n", name, (unsigned long)w->seed);
	exit(1);
}

static void tell_probe(struct world *w, unsigned i, const struct mmu_step *a,
		       const struct mmu_step *b)
{
	const struct segment *s = &w->segment[w->segment_of[i]];
	uint64_t offset = world_offset(w, w->tlb.probe[i].ia);

	fprintf(stderr, "address %#lx\n", (unsigned long)w->tlb.probe[i].ia);
	print_state("is to be", &s->state, offset);
	for (unsigned k = 0; k < s->nr_seen; k++)
		print_state("may be", &s->seen[k], offset);
	if (a)
		print_step(a);
	if (b)
		print_step(b);
}

void world_wrong(void *ctx, unsigned i, const char *what, const struct mmu_step *a,
		 const struct mmu_step *b)
{
	struct world *w = ctx;

	tell_probe(w, i, a, b);
	world_fail(w, "%s", what);
}

/* ---- Judging what a probe may meet ---- */

static bool matches(const struct world *w, const struct state *s, uint64_t ia,
		    const struct mmu_step *r)
{
	struct expectation e;

	if (s->kind != NEST_PTE_LEAF)
		return r->kind == MMU_TRANSLATION;
	if (r->kind != MMU_PAGE || r->flag_fault || r->pa != world_offset(w, ia) + s->delta)
		return false;
	e = setup_expect(&w->setup, s->attr);
	for (unsigned m = 0; m < MMU_MODES; m++) {
		if ((w->setup.modes >> m & 1) && e.rights[m] != r->rights[m])
			return false;
	}
	return e.type == r->type && r->global == ((s->attr & NEST_G) != 0);
}

void world_judge(void *ctx, unsigned i, const struct mmu_step *r)
{
	struct world *w = ctx;
	const struct segment *s = &w->segment[w->segment_of[i]];

	for (unsigned k = 0; k < s->nr_seen; k++) {
		if (matches(w, &s->seen[k], w->tlb.probe[i].ia, r))
			return;
	}
	if (r->kind == MMU_TRANSLATION && w->breaking) {
		/* Whether it had to be is seen when there is something again. */
		w->gone_at[i] = w->count.stores;
		return;
	}
	if (r->kind == MMU_TRANSLATION && w->may_be_gone[i])
		return;
	world_wrong(w, i, "neither what was nor what is to be", r, NULL);
}

/* ---- The host ---- */

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	struct world *w = ctx;
	uint64_t pa = ram_alloc(&w->ram, size);

	return pa == RAM_NONE ? NEST_PA_NONE : pa;
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct world *w = ctx;

	w->count.freed++;
	if (!w->closing) {
		tlb_freed(&w->tlb, pa, size);
		share_freed(w, pa, size);
	}
	ram_free(&w->ram, pa, size);
}

static void *host_to_virt(void *ctx, nest_pa_t pa)
{
	const struct world *w = ctx;

	return ram_pointer(&w->ram, pa);
}

static void host_flush(void *ctx, const struct nest_flush *what)
{
	struct world *w = ctx;

	w->count.flushes++;
	if (!what->all && (!what->size || (what->ia & (w->page - 1))))
		world_fail(w, "a flush of %#lx bytes at %#lx", (unsigned long)what->size,
			   (unsigned long)what->ia);
	share_flush(w, what);
	if (what->vmid == w->pt.vmid)
		tlb_flush(&w->tlb, what->ia, what->all ? 0 : what->size, what->level_mask,
			  what->leaf_only);
}

static void host_sync(void *ctx, const void *va, size_t len)
{
	struct world *w = ctx;

	ram_sync(&w->ram, va, len);
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	struct world *w = ctx;

	if (w->nr_deferred == WORLD_DEFERRED)
		world_run_deferred(w);
	w->deferred[w->nr_deferred].fn = fn;
	w->deferred[w->nr_deferred++].arg = arg;
}

void world_run_deferred(struct world *w)
{
	for (unsigned i = 0; i < w->nr_deferred; i++)
		w->deferred[i].fn(w->deferred[i].arg);
	w->nr_deferred = 0;
}

/* ---- Hooks of the library's stores ---- */

static void storing(void *ctx, const nest_pte_t *p)
{
	struct world *w = ctx;

	/* Far from every probe there is nothing to be seen of it. */
	if (w->hardware_writes && world_chance(w, w->is_near ? 4 : 256) == 0)
		world_access(w, ram_address(&w->ram, p));
}

static void stored(void *ctx, const nest_pte_t *p)
{
	struct world *w = ctx;

	w->count.stores++;
	w->is_near = tlb_stored(&w->tlb, ram_address(&w->ram, p)) > 0;
	w->is_near |= share_stored(w, ram_address(&w->ram, p));
	w->count.looked_at += w->is_near;
	if (w->is_near && w->hardware_writes && world_chance(w, 16) == 0)
		world_access(w, 0);
}

/* ---- Hardware that writes ---- */

struct look {
	struct ram *ram;
	bool unsure;
};

static uint64_t load_now(void *ctx, uint64_t pa)
{
	struct look *l = ctx;
	uint64_t value[2] = { 0, 0 };

	if (ram_load(l->ram, pa, value) != 1)
		l->unsure = true;
	return value[0];
}

static struct mmu_step walk_now(struct world *w, unsigned i)
{
	struct look l = { &w->ram, false };
	struct mmu_step s = mmu_walk(w->tlb.mmu, &w->tlb.regs, w->tlb.probe[i].ia, load_now, &l);

	if (l.unsure)
		s.kind = MMU_FORBIDDEN;
	return s;
}

void world_access(struct world *w, uint64_t pa)
{
	unsigned first = (unsigned)world_chance(w, w->tlb.probes);
	bool writes = world_chance(w, 3) > 0;

	for (unsigned k = 0; k < w->tlb.probes; k++) {
		unsigned i = (first + k) % w->tlb.probes;
		struct mmu_step s = walk_now(w, i);

		if (s.kind != MMU_PAGE || (pa && s.at != pa)) {
			if (pa)
				continue;
			return;
		}
		writes = writes && (s.rights[MMU_PRIVILEGED] & MMU_W);
		if (!ram_update(&w->ram, s.at, s.word, writes ? s.when_written : s.when_read))
			return;
		w->count.accesses++;
		if (writes && s.when_written != s.when_read)
			w->written[i] = (struct written){ .is = true, .pa = s.pa };
		return;
	}
}

/* What stays the same whatever hardware does, and is not what an MMU sees. */
static bool same_bits(const struct world *w, nest_attr_t a, nest_attr_t b)
{
	nest_attr_t bits = NEST_G | NEST_DBM | NEST_SW_MASK;

	if (w->setup.features & NEST_FEAT_SW_AD)
		bits |= NEST_ACCESSED;
	return !((a ^ b) & bits);
}

static bool is_answer(const struct world *w, const struct nest_mapping *m, int err,
		      const struct state *s, const struct mmu_step *walk, nest_ia_t ia)
{
	struct expectation is, want;

	if (m->ia != ia || m->kind != s->kind || m->mark != s->mark)
		return false;
	if (s->kind != NEST_PTE_LEAF)
		return err == NEST_E_NOTMAPPED && m->size;
	is = setup_expect(&w->setup, m->attr);
	want = setup_expect(&w->setup, s->attr);
	for (unsigned k = 0; k < MMU_MODES; k++) {
		if ((w->setup.modes >> k & 1) && is.rights[k] != want.rights[k])
			return false;
	}
	return err == NEST_OK && m->pa == world_offset(w, ia) + s->delta &&
	       m->size == (uint64_t)1 << walk->shift && m->level == walk->level &&
	       m->contiguous == walk->contiguous && is.type == want.type &&
	       same_bits(w, m->attr, s->attr);
}

/* What the library says of each probe. */
static void check_queries(struct world *w)
{
	for (unsigned i = 0; i < w->tlb.probes; i++) {
		const struct state *s = &w->segment[w->segment_of[i]].state;
		nest_ia_t ia = w->tlb.probe[i].ia;
		struct mmu_step walk = walk_now(w, i);
		struct nest_mapping m;
		nest_attr_t attr = 0;
		nest_pa_t pa = 0;
		int err = nest_pt_query(&w->pt, ia, &m);

		if (nest_pt_translate(&w->pt, ia, &pa, &attr) != err ||
		    (err == NEST_OK && (pa != m.pa || attr != m.attr)))
			world_fail(w, "translate says %#lx attr %#x, a query %#lx attr %#x: \"%s\"",
				   (unsigned long)pa, attr, (unsigned long)m.pa, m.attr,
				   nest_strerror(err));
		if (!is_answer(w, &m, err, s, &walk, ia)) {
			tell_probe(w, i, &walk, NULL);
			world_fail(w, "a query says \"%s\": kind %u pa %#lx size %#lx attr %#x",
				   nest_strerror(err), (unsigned)m.kind, (unsigned long)m.pa,
				   (unsigned long)m.size, m.attr);
		}
	}
}

/* A probe that was written to: does the library know, as long as the page is there? */
static void check_written(struct world *w)
{
	for (unsigned i = 0; i < w->tlb.probes; i++) {
		struct written *d = &w->written[i];
		struct nest_mapping m;

		if (!d->is || d->gone)
			continue;
		if (nest_pt_query(&w->pt, w->tlb.probe[i].ia, &m) != NEST_OK || m.pa != d->pa ||
		    !(m.attr & NEST_DIRTY)) {
			tell_probe(w, i, NULL, NULL);
			world_fail(w, "a write to %#lx is not told", (unsigned long)d->pa);
		}
	}
}

void world_release(void *ctx, const struct nest_mapping *leaf)
{
	struct world *w = ctx;

	for (unsigned i = 0; i < w->tlb.probes; i++) {
		struct tlb_probe *p = &w->tlb.probe[i];
		const struct segment *s = &w->segment[w->segment_of[i]];
		nest_pa_t pa = leaf->pa + (p->ia - leaf->ia);
		bool mapped = s->state.kind == NEST_PTE_LEAF &&
			      world_offset(w, p->ia) + s->state.delta == pa;

		if (p->ia < leaf->ia || p->ia - leaf->ia >= leaf->size)
			continue;
		for (unsigned k = 0; k < p->count && !mapped; k++) {
			if (p->kept[k].kind == MMU_PAGE && p->kept[k].pa == pa)
				world_wrong(w, i, "a frame is given back that can still be reached",
					    &p->kept[k], NULL);
		}
		if (w->written[i].is && w->written[i].pa == pa && (leaf->attr & NEST_DIRTY))
			w->written[i].told = true;
	}
}

/* ---- Operations ---- */

static bool same_state(const struct state *a, const struct state *b)
{
	return a->kind == b->kind && a->mark == b->mark && a->delta == b->delta &&
	       a->attr == b->attr;
}

/*
 * Had the page to be taken away for what is there now? A group whose rights change goes as a whole,
 * where it would go if it were broken up: not needed, but so it is.
 */
static bool had_to_break(const struct world *w, unsigned i, const struct mmu_step *is,
			 bool in_range)
{
	const struct mmu_step *was = &w->was[i];
	const struct segment *s = &w->segment[w->segment_of[i]];
	bool resized = was->shift != is->shift || was->contiguous != is->contiguous;
	bool frames = w->setup.info.break_before_make;

	if (was->kind != MMU_PAGE || is->kind != MMU_PAGE)
		return false;
	if (!w->tlb.mmu->may_coexist(&w->tlb.regs, was, is))
		return true;
	if (!w->shared && !frames)
		return false;
	if (w->breaking >= BREAK_RESIZED && resized)
		return true;
	if (w->breaking == BREAK_RANGE && in_range)
		return true;
	return was->contiguous && in_range && !(w->setup.features & NEST_FEAT_BBM2) &&
	       !same_state(&s->before, &s->state);
}

static void check_breaks(struct world *w, unsigned a, unsigned b)
{
	bool kept = w->tlb.mmu->keeps_invalid(&w->tlb.regs);

	for (unsigned i = 0; i < w->tlb.probes; i++) {
		unsigned k = w->segment_of[i];
		struct mmu_step is;

		if (!w->gone_at[i])
			continue;
		is = walk_now(w, i);
		if (!had_to_break(w, i, &is, k >= a && k < b)) {
			tell_probe(w, i, &w->was[i], &is);
			world_fail(w, "at store %lu it was gone, and need not have been",
				   (unsigned long)w->gone_at[i]);
		}
		w->may_be_gone[i] |= kept;
	}
	memset(w->gone_at, 0, sizeof(w->gone_at));
	w->breaking = BREAK_NEVER;
}

void world_expect(struct world *w, unsigned a, unsigned b, const struct state *next,
		  enum breaking breaking)
{
	for (unsigned k = a; k < b; k++) {
		struct segment *s = &w->segment[k];

		s->before = s->state;
		s->state = next[k - a];
		s->is_new = !same_state(&s->seen[s->nr_seen - 1], &s->state);
		if (s->is_new)
			s->seen[s->nr_seen++] = s->state;
	}
	w->breaking = breaking;
	for (unsigned i = 0; i < w->tlb.probes; i++)
		w->was[i] = walk_now(w, i);
}

void world_done(struct world *w, unsigned a, unsigned b, int err, uint64_t looked_at)
{
	tlb_pause(&w->tlb);
	check_breaks(w, a, b);
	for (unsigned k = a; k < b && err; k++) {
		struct segment *s = &w->segment[k];

		/* Nothing has changed: what it was is what it is. */
		s->nr_seen -= s->is_new;
		s->state = s->before;
	}
	/* Stores elsewhere are those of an early sync, into tables that are on their way out. */
	if (err && w->count.looked_at != looked_at)
		world_fail(w, "%lu stores, and then: %s",
			   (unsigned long)(w->count.looked_at - looked_at), nest_strerror(err));
	tlb_judge(&w->tlb);
	share_judge(w);
	for (unsigned i = 0; i < w->tlb.probes; i++) {
		unsigned k = w->segment_of[i];
		const struct state *s = &w->segment[k].state;
		struct written *d = &w->written[i];

		if (err || !d->is || d->gone || k < a || k >= b)
			continue;
		d->gone = s->kind != NEST_PTE_LEAF ||
			  world_offset(w, w->tlb.probe[i].ia) + s->delta != d->pa;
	}
	check_queries(w);
	check_written(w);
}

void world_synced(struct world *w)
{
	w->count.syncs++;
	memset(w->may_be_gone, 0, sizeof(w->may_be_gone));
	for (unsigned k = 0; k < w->segments; k++) {
		struct segment *s = &w->segment[k];

		s->seen[0] = s->state;
		s->nr_seen = 1;
	}
	tlb_pause(&w->tlb);
	tlb_judge(&w->tlb);
	share_judge(w);
	for (unsigned i = 0; i < w->tlb.probes; i++) {
		struct written *d = &w->written[i];

		if (d->gone && w->reporting && !d->told) {
			tell_probe(w, i, NULL, NULL);
			world_fail(w, "the frame %#lx is given back as clean, and was written",
				   (unsigned long)d->pa);
		}
		if (d->gone)
			*d = (struct written){ 0 };
	}
}

/* ---- Making a world ---- */

/* Some attributes that this format with these features takes. */
static void choose_attrs(struct world *w)
{
	static const nest_attr_t rights[] = { NEST_RWX, NEST_RW, NEST_RX, NEST_R, NEST_RWX };
	static const nest_attr_t more[] = { 0,       0,      0,        NEST_U,
					    NEST_XU, NEST_G, NEST_SW0, NEST_U | NEST_XU };
	static const nest_attr_t types[] = { NEST_MT_WB, NEST_MT_WB, NEST_MT_WC, NEST_MT_UC,
					     NEST_MT_DEVICE };
	nest_attr_t status = w->setup.features & NEST_FEAT_SW_AD ? NEST_ACCESSED | NEST_DIRTY : 0;

	for (unsigned tries = 0; tries < 400 && w->attrs < WORLD_ATTRS; tries++) {
		nest_attr_t attr = status;
		nest_pte_t e;

		attr |= rights[world_random(w, 5)];
		attr |= more[world_random(w, 8)];
		attr |= types[world_random(w, 5)];
		if (tries == 0)
			attr = NEST_RWX | status;
		if ((w->setup.features & NEST_FEAT_HW_D) && (attr & NEST_W) && world_random(w, 2))
			attr |= NEST_DBM;
		if (nest_pte_leaf(w->setup.format, 0, w->setup.features, 0, attr, &e) == NEST_OK)
			w->attr[w->attrs++] = attr;
	}
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Cuts of the address space around `at`, in [low, high]; the segments between them. */
static void add_segments(struct world *w, uint64_t at, uint64_t low, uint64_t high)
{
	const struct nest_format_info *f = &w->setup.info;
	uint64_t far[16], cut[2 * 16 + 1];
	unsigned n = 0, near = 0, cuts = 0, top = nest_pt_levels(&w->pt) - 1;

	far[n++] = w->page;
	far[n++] = 2 * w->page;
	for (unsigned l = 0; l <= 2 && l <= top; l++) {
		uint64_t size = (uint64_t)1 << nest_pt_shift(&w->pt, l);

		if (f->contig_shift[l]) {
			far[n++] = size << f->contig_shift[l];
			far[n++] = (size << f->contig_shift[l]) + (l ? size : w->page);
		}
		if (l) {
			far[n++] = size;
			far[n++] = size + w->page;
			far[n++] = 2 * size;
		}
		near = l < 2 ? n : near;
	}
	cut[cuts++] = at;
	for (unsigned i = 0; i < 20; i++) {
		uint64_t d = far[world_random(w, world_random(w, 4) ? near : n)];
		bool up = world_random(w, 2);
		uint64_t to = up ? at + d : at - d;
		bool known = up ? to < at || to > high : to > at || to < low;

		for (unsigned k = 0; k < cuts; k++)
			known |= cut[k] == to;
		if (!known && cuts < 12)
			cut[cuts++] = to;
	}
	qsort(cut, cuts, sizeof(*cut), by_number);
	for (unsigned i = 0; i + 1 < cuts; i++)
		w->segment[w->segments++] =
			(struct segment){ .first = cut[i], .end = cut[i + 1], .nr_seen = 1 };
}

/* Some boundary of some level, or an end, of one half of the address space. */
static void add_neighbourhood(struct world *w)
{
	uint64_t end = (uint64_t)1 << w->setup.ia_bits, low = 0, high = end, at;
	unsigned level = (unsigned)world_random(w, nest_pt_levels(&w->pt));
	uint64_t step = (uint64_t)1 << nest_pt_shift(&w->pt, level);

	if (w->setup.info.sign_extended) {
		if (world_random(w, 2))
			high = end / 2;
		else
			low = end / 2;
	}
	switch (world_random(w, 6)) {
	case 0:
		at = low;
		break;
	case 1:
		at = high;
		break;
	default:
		at = low + step * (1 + world_random(w, 4));
		if (at > high)
			at = high;
	}
	/* Where another neighbourhood is, there is no room for this one. */
	for (unsigned k = 0; k < w->segments; k++) {
		uint64_t reach = (uint64_t)8
				 << (w->setup.info.page_shift + 2 * w->setup.info.index_bits);

		if (at + reach > w->segment[k].first && at < w->segment[k].end + reach)
			return;
	}
	w->second = w->segments;
	add_segments(w, at, low, high);
}

static void add_probes(struct world *w)
{
	for (unsigned k = 0; k < w->segments; k++) {
		const struct segment *s = &w->segment[k];
		uint64_t pages = (s->end - s->first) / w->page;
		uint64_t at[3] = { 0, pages - 1, world_random(w, pages) };

		for (unsigned i = 0; i < 3; i++) {
			if (i && at[i] == at[0])
				continue;
			w->segment_of[w->tlb.probes] = (uint8_t)k;
			tlb_add(&w->tlb, world_ia(w, s->first + at[i] * w->page +
							     8 * world_random(w, w->page / 8)));
		}
	}
}

bool world_open(struct world *w, const struct setup *setup, uint64_t seed)
{
	struct nest_pt_config config = { .format = setup->format,
					 .ia_bits = setup->ia_bits,
					 .features = setup->features,
					 .flags = setup->flags,
					 .host = &w->host,
					 .ctx = w };
	struct counts count = w->count;
	bool coherent;

	memset(w, 0, sizeof(*w));
	w->count = count;
	w->setup = *setup;
	w->seed = seed;
	w->dice = dice_of(seed);
	w->page = (uint64_t)1 << setup->info.page_shift;
	w->hardware_writes = setup->features & NEST_FEAT_HW_AD ||
			     !strcmp(setup->info.name, "npt") ||
			     !strcmp(setup->info.name, "x86-64");
	w->shared = setup->flags & NEST_PT_SHARED;
	/* Hardware that updates entries does so in memory that is coherent. */
	coherent = w->hardware_writes || world_random(w, 2);
	w->host = (struct nest_host){ .alloc = host_alloc,
				      .free = host_free,
				      .to_virt = host_to_virt,
				      .tlb_flush = host_flush,
				      .sync = coherent ? NULL : host_sync,
				      .defer = !w->shared && world_random(w, 3) ? NULL
										: host_defer };
	ram_open(&w->ram, coherent);
	if (world_random(w, 2)) {
		w->host.to_virt = NULL;
		w->host.linear_offset = (uint64_t)(uintptr_t)w->ram.now - RAM_BASE;
	}
	snprintf(w->doing, sizeof(w->doing), "init");
	if (nest_pt_init(&w->pt, &config) != NEST_OK)
		return false;
	nest_pt_set_vmid(&w->pt, setup->info.stage2 || setup->ia_bits < 64 ? 7 : 0);
	w->tlb.mmu = setup_mmu(setup, &w->pt, &w->tlb.regs);
	if (!w->tlb.mmu)
		world_fail(w, "no register values for it");
	w->tlb.ram = &w->ram;
	w->tlb.judge = world_judge;
	w->tlb.wrong = world_wrong;
	w->tlb.ctx = w;
	choose_attrs(w);
	add_neighbourhood(w);
	add_neighbourhood(w);
	for (unsigned k = 0; k < w->segments; k++)
		w->segment[k].seen[0] = w->segment[k].state;
	add_probes(w);
	w->hooks = (struct hooks){ .storing = storing, .stored = stored, .ctx = w };
	hooks_set(&w->hooks);
	tlb_judge(&w->tlb);
	share_open(w);
	return true;
}

void world_close(struct world *w)
{
	w->count.rounds++;
	w->count.walks += w->tlb.walks;
	w->closing = true;
	hooks_set(NULL);
	world_run_deferred(w);
	share_close(w);
	nest_pt_destroy(&w->pt);
	world_run_deferred(w);
	if (w->ram.outstanding)
		world_fail(w, "%lu tables are not given back", (unsigned long)w->ram.outstanding);
}
