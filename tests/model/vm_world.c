/* SPDX-License-Identifier: MIT */
#include "vm_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t vm_random(struct vm_world *w, uint64_t n)
{
	return dice_draw(&w->dice, n);
}

/* ---- Telling what is wrong ---- */

void vm_fail(struct vm_world *w, const char *format, ...)
{
	char name[128];
	va_list args;

	setup_name(&w->setup, name, sizeof(name));
	fprintf(stderr, "FAIL vm %s, seed %#lx, call %lu (%s): ", name, (unsigned long)w->seed,
		(unsigned long)w->operations, w->doing);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	/* What a fuzzer has found can be had again from its input. */
	if (w->dice.input)
		abort();
	fprintf(stderr, "repeat with: --vm --case '%s' --seed %#lx\n", name,
		(unsigned long)w->seed);
	exit(1);
}

static void print_cell(const char *label, const struct cell *c)
{
	static const char *const kinds[] = {
		[NEST_PTE_NONE] = "nothing", [NEST_PTE_LEAF] = "page", [NEST_PTE_MARK] = "mark"
	};

	fprintf(stderr, "  %s: %s %#lx attr %#x\n", label, kinds[c->kind], (unsigned long)c->value,
		c->attr);
}

static void print_step(const struct mmu_step *s)
{
	fprintf(stderr, "  walk: kind %u level %u", (unsigned)s->kind, s->level);
	if (s->kind == MMU_PAGE)
		fprintf(stderr, " to %#lx shift %u rights %x/%x type %u flags %x",
			(unsigned long)s->pa, s->shift, s->rights[0], s->rights[1],
			(unsigned)s->type, s->flag_fault);
	fprintf(stderr, " (entry %#lx at %#lx)\n", (unsigned long)s->word, (unsigned long)s->at);
}

static void wrong_page(struct vm *v, unsigned page, nest_ia_t gpa, const struct mmu_step *s,
		       const char *what)
{
	fprintf(stderr, "VM %u, address %#lx\n", v->id, (unsigned long)gpa);
	print_cell("was", &v->is[page]);
	print_cell("is to be", &v->next[page]);
	if (s)
		print_step(s);
	vm_fail(v->w, "%s", what);
}

static void wrong(void *ctx, unsigned i, const char *what, const struct mmu_step *a,
		  const struct mmu_step *b)
{
	struct vm *v = ctx;

	if (b)
		print_step(b);
	wrong_page(v, v->page_of[i], v->tlb.probe[i].ia, a, what);
}

/* ---- Judging what a guest may meet ---- */

bool vm_matches(const struct vm *v, const struct cell *c, nest_ia_t gpa, const struct mmu_step *r)
{
	const struct vm_world *w = v->w;
	struct expectation e;

	if (c->kind != NEST_PTE_LEAF)
		return r->kind == MMU_TRANSLATION;
	/* LoongArch: a page that was not accessed is not valid, and its entry is not empty. */
	if (w->by_valid && r->kind == MMU_TRANSLATION)
		return r->word & ~mmu_mask(w->setup.info.page_shift);
	if (r->kind != MMU_PAGE || r->pa != c->value + (gpa & (w->page - 1)) || r->global ||
	    (r->flag_fault && !w->by_software))
		return false;
	e = setup_expect(&w->setup, c->attr);
	for (unsigned m = 0; m < MMU_MODES; m++) {
		/* And one that was not written to has not the right to it. */
		uint8_t clear = w->by_valid ? e.rights[m] & MMU_W : 0;

		if ((w->setup.modes >> m & 1) && e.rights[m] != (r->rights[m] | clear))
			return false;
	}
	return e.type == r->type;
}

/* Fixed memory comes into a page that holds nothing while a call populates. */
static bool is_fixed_coming(struct vm *v, unsigned page, nest_ia_t gpa, const struct mmu_step *r)
{
	const struct zone *z = v->call.adding ? v->call.adding : zone_at(v, page);
	struct cell c;

	if (!v->call.populates || !z || z->provider || z->type == NEST_REGION_MMIO || page < z->a ||
	    page >= z->b || v->is[page].kind != NEST_PTE_NONE)
		return false;
	c = (struct cell){ .kind = NEST_PTE_LEAF,
			   .attr = zone_attr(v, z,
					     r->kind == MMU_PAGE ? (uint64_t)1 << r->shift : 0),
			   .value = z->hpa + (page - z->a) * v->w->page };
	return vm_matches(v, &c, gpa, r);
}

static void judge(void *ctx, unsigned i, const struct mmu_step *r)
{
	struct vm *v = ctx;
	unsigned page = v->page_of[i];
	nest_ia_t gpa = v->tlb.probe[i].ia;

	if (vm_matches(v, &v->is[page], gpa, r) || vm_matches(v, &v->next[page], gpa, r) ||
	    (r->kind == MMU_TRANSLATION && v->call.may_break) || is_fixed_coming(v, page, gpa, r))
		return;
	wrong(v, i, "neither what was nor what is to be", r, NULL);
}

/* ---- The host ---- */

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	struct vm *v = ctx;
	uint64_t pa = ram_alloc(&v->w->ram, size);

	return pa == RAM_NONE ? NEST_PA_NONE : pa;
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct vm *v = ctx;

	v->w->count.freed++;
	for (unsigned k = 0; k < VM_COUNT; k++) {
		if (v->w->vm[k].running)
			tlb_freed(&v->w->vm[k].tlb, pa, size);
	}
	ram_free(&v->w->ram, pa, size);
}

static void *host_to_virt(void *ctx, nest_pa_t pa)
{
	struct vm *v = ctx;

	return frames_is_one(v->w, pa) ? frames_pointer(v->w, pa) : ram_pointer(&v->w->ram, pa);
}

static void host_flush(void *ctx, const struct nest_flush *what)
{
	struct vm *v = ctx;
	struct vm_world *w = v->w;

	w->count.flushes++;
	if (what->vmid != v->id + 1)
		vm_fail(w, "VM %u flushes the VMID %u", v->id, what->vmid);
	if (!what->all && (!what->size || (what->ia & (w->page - 1))))
		vm_fail(w, "a flush of %#lx bytes at %#lx", (unsigned long)what->size,
			(unsigned long)what->ia);
	if (v->running)
		tlb_flush(&v->tlb, what->ia, what->all ? 0 : what->size, what->level_mask,
			  what->leaf_only);
	else
		v->flushed_all |= what->all;
}

static void host_sync(void *ctx, const void *va, size_t len)
{
	struct vm *v = ctx;

	ram_sync(&v->w->ram, va, len);
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	struct vm_world *w = ((struct vm *)ctx)->w;

	if (w->nr_deferred == VM_DEFERRED)
		vm_run_deferred(w);
	w->deferred[w->nr_deferred].fn = fn;
	w->deferred[w->nr_deferred++].arg = arg;
}

void vm_run_deferred(struct vm_world *w)
{
	for (unsigned i = 0; i < w->nr_deferred; i++)
		w->deferred[i].fn(w->deferred[i].arg);
	w->nr_deferred = 0;
}

static bool host_allow(void *ctx, nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	struct vm *v = ctx;
	struct vm_world *w = v->w;

	(void)attr;
	/* One question may be asked twice: the answer stays the same for the rest of the call. */
	if (w->refuse_in && --w->refuse_in == 0) {
		w->refuse_in = 1;
		w->refused = true;
		return false;
	}
	return frames_may_map(v, pa, size);
}

/* ---- Hooks of the library's stores ---- */

static void storing(void *ctx, const nest_pte_t *p)
{
	struct vm_world *w = ctx;
	struct vm *v = &w->vm[dice_throw(&w->dice, VM_COUNT)];

	if (w->hardware_writes && dice_throw(&w->dice, v->is_near ? 4 : 256) == 0)
		vm_access(v, ram_address(&w->ram, p));
}

static void stored(void *ctx, const nest_pte_t *p)
{
	struct vm_world *w = ctx;
	uint64_t pa = ram_address(&w->ram, p);
	bool near = false;

	w->count.stores++;
	for (unsigned k = 0; k < VM_COUNT; k++) {
		struct vm *v = &w->vm[k];

		v->is_near = v->running && tlb_stored(&v->tlb, pa) > 0;
		near |= v->is_near;
		if (v->is_near && w->hardware_writes && dice_throw(&w->dice, 16) == 0)
			vm_access(v, 0);
	}
	w->count.looked_at += near;
}

/* ---- Walks and accesses of hardware ---- */

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

struct mmu_step vm_walk(struct vm *v, nest_ia_t gpa)
{
	struct look l = { &v->w->ram, false };
	struct mmu_step s = mmu_walk(v->tlb.mmu, &v->tlb.regs, gpa, load_now, &l);

	if (l.unsure)
		s.kind = MMU_FORBIDDEN;
	return s;
}

void vm_access(struct vm *v, uint64_t pa)
{
	struct vm_world *w = v->w;
	unsigned first = (unsigned)dice_throw(&w->dice, v->tlb.probes);
	bool writes = dice_throw(&w->dice, 3) > 0;

	for (unsigned k = 0; v->running && k < v->tlb.probes; k++) {
		unsigned i = (first + k) % v->tlb.probes, page = v->page_of[i];
		struct mmu_step s = vm_walk(v, v->tlb.probe[i].ia);

		if (s.kind != MMU_PAGE || (pa && s.at != pa)) {
			if (pa)
				continue;
			return;
		}
		writes = writes && (s.rights[MMU_PRIVILEGED] & MMU_W);
		if (!ram_update(&w->ram, s.at, s.word, writes ? s.when_written : s.when_read))
			return;
		w->count.accesses++;
		if (writes) {
			v->is[page].dirty |= vm_matches(v, &v->is[page], v->tlb.probe[i].ia, &s);
			v->next[page].dirty |= vm_matches(v, &v->next[page], v->tlb.probe[i].ia,
							  &s);
		}
		return;
	}
}

/* ---- Before and after a call ---- */

void vm_begin(struct vm *v)
{
	v->w->ram.failed = v->w->refused = false;
}

static bool same_pages(const struct vm *v, unsigned first, uint64_t n)
{
	const struct cell *c = &v->is[first];

	for (unsigned i = 1; i < n; i++) {
		const struct cell *d = &v->is[first + i];

		if (d->kind != c->kind || d->attr != c->attr ||
		    d->value != c->value + (c->kind == NEST_PTE_LEAF ? i * v->w->page : 0))
			return false;
	}
	return true;
}

/* What the library says of the pages that one query answers for. */
static bool is_answer(struct vm *v, unsigned page, const struct nest_mapping *m, int err,
		      const struct mmu_step *walk)
{
	const struct cell *c = &v->is[page];
	struct expectation is, want;

	if (m->kind != c->kind || m->ia != vm_gpa(v->w, page))
		return false;
	if (c->kind != NEST_PTE_LEAF)
		return err == NEST_E_NOTMAPPED && m->size && m->mark == c->value;
	is = setup_expect(&v->w->setup, m->attr);
	want = setup_expect(&v->w->setup, c->attr);
	for (unsigned k = 0; k < MMU_MODES; k++) {
		if ((v->w->setup.modes >> k & 1) && is.rights[k] != want.rights[k])
			return false;
	}
	return err == NEST_OK && m->pa == c->value &&
	       (walk->kind != MMU_PAGE || m->size == (uint64_t)1 << walk->shift) &&
	       is.type == want.type;
}

/* Every page: what the walker finds, and what the library says. */
static void audit(struct vm *v)
{
	struct vm_world *w = v->w;
	uint64_t n;

	for (unsigned page = 0; page < w->pages; page += (unsigned)n) {
		nest_ia_t gpa = vm_gpa(w, page), end;
		struct mmu_step s = vm_walk(v, gpa);
		struct nest_mapping m;
		int err = nest_pt_query(&v->vm.pt, gpa, &m);

		if (!vm_matches(v, &v->is[page], gpa, &s))
			wrong_page(v, page, gpa, &s, "the walker finds something else");
		if (!is_answer(v, page, &m, err, &s)) {
			fprintf(stderr,
				"  query: \"%s\" kind %u pa %#lx size %#lx attr %#x mark %#lx\n",
				nest_strerror(err), (unsigned)m.kind, (unsigned long)m.pa,
				(unsigned long)m.size, m.attr, (unsigned long)m.mark);
			wrong_page(v, page, gpa, &s, "a query says something else");
		}
		end = (gpa & ~(m.size - 1)) + (m.size - 1);
		n = (end - gpa) / w->page + 1;
		if (n > w->pages - page)
			n = w->pages - page;
		if (!same_pages(v, page, n))
			wrong_page(v, page, gpa, &s, "one entry for pages that differ");
		w->count.audited++;
	}
}

void vm_end(struct vm *v)
{
	struct vm_world *w = v->w;

	if (v->call.bad_left)
		vm_fail(w, "%#lx bytes of a frame that could not be mapped are not put back",
			(unsigned long)v->call.bad_left);
	memcpy(v->is, v->next, w->pages * sizeof(*v->is));
	v->call = (struct vm_call){ .populates = false };
	tlb_pause(&v->tlb);
	/* Of the other VM nothing has changed at all. */
	for (unsigned k = 0; k < VM_COUNT; k++) {
		if (w->vm[k].running)
			tlb_judge(&w->vm[k].tlb);
	}
	audit(v);
	frames_check(w);
}

/* ---- Making it ---- */

static int by_number(const void *a, const void *b)
{
	const unsigned *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Two blocks and a few pages at each side, at some place of the address space. */
static void choose_place(struct vm_world *w, unsigned levels)
{
	const struct nest_format_info *f = &w->setup.info;
	uint64_t end = (uint64_t)1 << w->setup.ia_bits, table, base;
	unsigned low, high, n = (unsigned)(w->block / w->page);

	table = levels > 2 ? w->block << f->index_bits : end;
	switch (vm_random(w, 4)) {
	case 0:
		base = 0;
		break;
	case 1:
		base = end - 2 * w->block;
		break;
	case 2:
		/* Across two tables. */
		base = (table < end ? table : end / 2) - w->block;
		break;
	default:
		base = 2 * w->block * (1 + vm_random(w, 3));
	}
	low = base ? VM_MARGIN : 0;
	high = base == end - 2 * w->block ? 0 : VM_MARGIN;
	w->origin = base - low * w->page;
	w->pages = low + 2 * n + high;
	w->cut[w->cuts++] = 0;
	w->cut[w->cuts++] = low + n;
	w->cut[w->cuts++] = w->pages;
	for (unsigned tries = 0; tries < 24 && w->cuts < VM_CUTS; tries++) {
		unsigned g = (unsigned)(w->group / w->page);
		unsigned far[] = { 0, 1, 2, g, g + 1, n / 2 };
		unsigned from = low + n * (unsigned)vm_random(w, 3);
		unsigned d = far[vm_random(w, 6)];
		unsigned to = vm_random(w, 2) ? from + d : from - d;
		bool known = to > w->pages;

		for (unsigned i = 0; i < w->cuts; i++)
			known |= w->cut[i] == to;
		if (!known)
			w->cut[w->cuts++] = to;
	}
	qsort(w->cut, w->cuts, sizeof(*w->cut), by_number);
}

static void add_probes(struct vm *v)
{
	struct vm_world *w = v->w;

	v->tlb.probes = 0;
	for (unsigned k = 0; k + 1 < w->cuts; k++) {
		unsigned first = w->cut[k], last = w->cut[k + 1] - 1;
		unsigned at[] = { first, last, first + (unsigned)vm_random(w, last - first + 1) };

		for (unsigned i = 0; i < 3; i++) {
			if (i && at[i] == first)
				continue;
			v->page_of[v->tlb.probes] = at[i];
			tlb_add(&v->tlb, vm_gpa(w, at[i]) + 8 * vm_random(w, w->page / 8));
		}
	}
}

/* For raw maps and devices: what this format takes. */
static void choose_attrs(struct vm_world *w)
{
	static const nest_attr_t rights[] = { NEST_RWX | NEST_XU, NEST_RW,         NEST_RX, NEST_R,
					      NEST_RWX,           NEST_R | NEST_XU };
	static const nest_attr_t types[] = { NEST_MT_WB, NEST_MT_WB, NEST_MT_WB, NEST_MT_UC,
					     NEST_MT_DEVICE };
	nest_attr_t status = w->by_software ? NEST_ACCESSED | NEST_DIRTY : 0;

	for (unsigned tries = 0; tries < 200 && w->attrs < VM_ATTRS; tries++) {
		nest_attr_t attr = rights[vm_random(w, 6)] | types[vm_random(w, 5)];
		nest_pte_t e;

		attr |= attr & NEST_W ? status : status & NEST_ACCESSED;
		if (nest_pte_leaf(w->setup.format, 0, w->setup.features, 0, attr, &e) == NEST_OK)
			w->attr[w->attrs++] = attr;
	}
}

int vm_start(struct vm *v)
{
	struct vm_world *w = v->w;
	struct nest_vm_config config = {
		.pt = { .format = w->setup.format,
			.ia_bits = w->setup.ia_bits,
			.features = w->setup.features,
			.flags = w->setup.flags,
			.host = &v->host,
			.ctx = v },
		.vmid = v->id + 1,
		.regions = v->regions,
		.max_regions = VM_ZONES,
		.protect = v->protect,
		.nr_protect = 2,
	};
	int err = nest_vm_init(&v->vm, &config);

	if (err)
		return err;
	v->exec_small = false;
	memset(v->zone, 0, sizeof(v->zone));
	for (unsigned i = 0; i < w->pages; i++)
		v->is[i] = v->next[i] = (struct cell){ .kind = NEST_PTE_NONE };
	v->tlb.mmu = setup_mmu(&w->setup, &v->vm.pt, &v->tlb.regs);
	if (!v->tlb.mmu)
		vm_fail(w, "no register values for it");
	for (unsigned i = 0; i < v->tlb.probes; i++)
		v->tlb.probe[i].count = 0;
	memset(v->tlb.watched, 0, sizeof(v->tlb.watched));
	v->live = v->running = true;
	v->flushed_all = false;
	tlb_judge(&v->tlb);
	return NEST_OK;
}

/* Every frame that a provider gave must come back, and every table. */
void vm_stop(struct vm *v)
{
	struct vm_world *w = v->w;

	if (!v->live)
		return;
	v->running = false;
	for (unsigned i = 0; i < w->pages; i++)
		v->next[i] = (struct cell){ .kind = NEST_PTE_NONE };
	nest_vm_destroy(&v->vm);
	if (!v->flushed_all)
		vm_fail(w, "destroyed without a flush");
	for (unsigned i = 0; i < w->pages; i++) {
		const struct zone *z = zone_at(v, i);

		if (v->is[i].kind == NEST_PTE_LEAF &&
		    !(z && z->provider && z->provider->backing.put))
			frames_drop(v, v->is[i].value);
	}
	for (unsigned i = 0; i < VM_ZONES; i++) {
		struct zone *z = &v->zone[i];

		if (z->used && !z->provider && z->type != NEST_REGION_MMIO)
			frames_fix(w, z->hpa, (z->b - z->a) * w->page, false);
		z->used = false;
	}
	memcpy(v->is, v->next, w->pages * sizeof(*v->is));
	frames_check(w);
	v->live = false;
	w->count.walks += v->tlb.walks;
	v->tlb.walks = 0;
	/* Harmless twice. */
	nest_vm_destroy(&v->vm);
}

bool vm_world_open(struct vm_world *w, const struct setup *setup, uint64_t seed)
{
	struct vm_counts count = w->count;
	const struct nest_format_info *f = &setup->info;
	bool coherent, defers;
	nest_pa_t mine;

	memset(w, 0, sizeof(*w));
	w->count = count;
	w->setup = *setup;
	w->seed = seed;
	w->dice = dice_of(seed);
	snprintf(w->doing, sizeof(w->doing), "init");
	w->page = (uint64_t)1 << f->page_shift;
	w->group = f->contig_shift[0] ? w->page << f->contig_shift[0] : 0;
	w->block = w->page << f->index_bits;
	w->shared = setup->flags & NEST_PT_SHARED;
	w->by_software = setup->features & NEST_FEAT_SW_AD;
	w->by_valid = w->by_software && !strncmp(f->name, "loong", 5);
	w->hardware_writes = setup->features & NEST_FEAT_HW_AD || !strcmp(f->name, "npt");
	coherent = w->hardware_writes || vm_random(w, 2);
	defers = w->shared || !vm_random(w, 3);
	ram_open(&w->ram, coherent);
	frames_open(w);
	choose_attrs(w);
	w->hooks = (struct hooks){ .storing = storing, .stored = stored, .ctx = w };
	for (unsigned k = 0; k < VM_COUNT; k++) {
		struct vm *v = &w->vm[k];

		v->w = w;
		v->id = k;
		v->host = (struct nest_host){ .alloc = host_alloc,
					      .free = host_free,
					      .to_virt = host_to_virt,
					      .tlb_flush = host_flush,
					      .sync = coherent ? NULL : host_sync,
					      .defer = defers ? host_defer : NULL,
					      .allow = host_allow };
		v->tlb.ram = &w->ram;
		v->tlb.judge = judge;
		v->tlb.wrong = wrong;
		v->tlb.ctx = v;
		providers_open(v);
	}
	/* A page that the host refuses, and one that is protected. */
	w->forbidden = frames_take(w, w->page, w->page, 0);
	frames_fix(w, w->forbidden, w->page, true);
	mine = frames_take(w, w->page, w->page, 0);
	frames_fix(w, mine, w->page, true);
	for (unsigned k = 0; k < VM_COUNT; k++) {
		struct vm *v = &w->vm[k];

		v->protect[0] = (struct nest_range){ mine, w->page };
		v->protect[1] = (struct nest_range){ RAM_BASE, RAM_SIZE };
		if (!k) {
			struct nest_pt_config config = { .format = setup->format,
							 .ia_bits = setup->ia_bits,
							 .features = setup->features,
							 .flags = setup->flags,
							 .host = &v->host,
							 .ctx = v };
			struct nest_pt pt;

			/* Geometry first. */
			if (nest_pt_init(&pt, &config) != NEST_OK)
				return false;
			choose_place(w, nest_pt_levels(&pt));
			nest_pt_destroy(&pt);
			vm_run_deferred(w);
		}
		add_probes(v);
		if (vm_start(v) != NEST_OK)
			return false;
	}
	hooks_set(&w->hooks);
	return true;
}

void vm_world_close(struct vm_world *w)
{
	w->count.rounds++;
	for (unsigned k = 0; k < VM_COUNT; k++) {
		snprintf(w->doing, sizeof(w->doing), "destroy VM %u", k);
		vm_stop(&w->vm[k]);
	}
	hooks_set(NULL);
	vm_run_deferred(w);
	if (w->ram.outstanding)
		vm_fail(w, "%lu tables are not given back", (unsigned long)w->ram.outstanding);
}
