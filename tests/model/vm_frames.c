/* SPDX-License-Identifier: MIT */
/*
 * The pool of frames, its ledger, and the providers. A provider checks every question, gives what
 * its kind gives, and plans what the page is to be. A frame that comes back must be out, must have
 * been unmapped, and may be reached by no TLB of any VM.
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "vm_world.h"

#define POOL_BASE ((nest_pa_t)1 << 32)

static uint64_t pool_size(const struct vm_world *w)
{
	return w->frames * w->page;
}

bool frames_is_one(const struct vm_world *w, nest_pa_t pa)
{
	return pa >= POOL_BASE && pa - POOL_BASE < pool_size(w);
}

static unsigned index_of(const struct vm_world *w, nest_pa_t pa)
{
	return (unsigned)((pa - POOL_BASE) / w->page);
}

unsigned frames_out(const struct vm_world *w, nest_pa_t pa)
{
	unsigned n = w->refs[index_of(w, pa)];

	return n == VM_FIXED_FRAME ? 1 : n;
}

void *frames_pointer(const struct vm_world *w, nest_pa_t pa)
{
	return w->memory + (pa - POOL_BASE);
}

void frames_open(struct vm_world *w)
{
	static uint8_t *memory;
	static uint64_t mapped;

	w->frames = (unsigned)(VM_POOL_BLOCKS * (w->block / w->page));
	if (mapped)
		(void)munmap(memory, mapped);
	mapped = pool_size(w);
	memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		vm_fail(w, "no memory for frames");
	w->memory = memory;
}

static bool is_free(const struct vm_world *w, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		if (w->refs[first + i])
			return false;
	}
	return true;
}

/* The frame that came back last goes out again first, so that whatever still leads to it shows. */
nest_pa_t frames_take(struct vm_world *w, uint64_t size, uint64_t align, uint64_t phase)
{
	uint64_t n = size / w->page, step = align / w->page, off = phase % align / w->page;
	uint64_t places = w->frames / step;
	uint64_t from = dice_throw(&w->dice, 2) ? w->last_put : dice_throw(&w->dice, w->frames);

	for (uint64_t i = 0; i < places; i++) {
		uint64_t at = (from / step + i) % places * step + off;

		if (at + n <= w->frames && is_free(w, at, n))
			return POOL_BASE + at * w->page;
	}
	return NEST_PA_NONE;
}

void frames_fix(struct vm_world *w, nest_pa_t pa, uint64_t size, bool fixed)
{
	memset(&w->refs[index_of(w, pa)], fixed ? VM_FIXED_FRAME : 0, size / w->page);
}

void frames_hold(struct vm *v, nest_pa_t pa, uint64_t size)
{
	struct vm_world *w = v->w;

	for (unsigned i = index_of(w, pa), n = (unsigned)(size / w->page); n; n--, i++) {
		w->refs[i]++;
		w->owner[i] = (uint8_t)v->id;
	}
}

void frames_drop(struct vm *v, nest_pa_t pa)
{
	struct vm_world *w = v->w;
	unsigned i = index_of(w, pa);

	if (!frames_is_one(w, pa) || w->refs[i] == VM_FIXED_FRAME)
		return;
	if (!w->refs[i] || w->owner[i] != v->id)
		vm_fail(w, "the frame %#lx is given back twice", (unsigned long)pa);
	w->refs[i]--;
	w->last_put = i;
}

void frames_check(struct vm_world *w)
{
	static uint8_t seen[VM_FRAMES];

	memset(seen, 0, w->frames);
	for (unsigned k = 0; k < VM_COUNT; k++) {
		for (unsigned i = 0; i < w->pages; i++) {
			const struct cell *c = &w->vm[k].is[i];

			if (c->kind == NEST_PTE_LEAF && frames_is_one(w, c->value))
				seen[index_of(w, c->value)]++;
		}
	}
	for (unsigned i = 0; i < w->frames; i++) {
		if (w->refs[i] != VM_FIXED_FRAME && w->refs[i] != seen[i])
			vm_fail(w, "the frame %#lx is mapped %u times and out %u times",
				(unsigned long)(POOL_BASE + i * w->page), seen[i], w->refs[i]);
	}
}

static bool overlaps(const struct nest_range *r, nest_pa_t pa, uint64_t size)
{
	return pa < r->base + r->size && pa + (size - 1) >= r->base;
}

bool frames_may_map(const struct vm *v, nest_pa_t pa, uint64_t size)
{
	const struct nest_range forbidden = { v->w->forbidden, v->w->page };

	return !overlaps(&v->protect[0], pa, size) && !overlaps(&v->protect[1], pa, size) &&
	       !overlaps(&forbidden, pa, size);
}

/* ---- What fits ---- */

struct zone *zone_at(struct vm *v, unsigned page)
{
	for (unsigned i = 0; i < VM_ZONES; i++) {
		struct zone *z = &v->zone[i];

		if (z->used && page >= z->a && page < z->b)
			return z;
	}
	return NULL;
}

nest_attr_t zone_attr(const struct vm *v, const struct zone *z, uint64_t size)
{
	const nest_attr_t exec = z->attr & (NEST_X | NEST_XU);

	return z->exec_small && exec && size > v->w->page ? (z->attr & ~exec) | NEST_SW0 : z->attr;
}

uint64_t zone_limit(const struct vm *v, const struct zone *z)
{
	if (z->exec_small && v->call.fetches)
		return v->w->page;
	uint64_t limit = z->provider ? z->provider->backing.max_size : (z->b - z->a) * v->w->page;

	return limit < v->w->page ? v->w->page : limit;
}

static bool is_empty(const struct vm *v, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		if (v->next[first + i].kind != NEST_PTE_NONE)
			return false;
	}
	return true;
}

/* The block of that size around the page. False: it is not whole within the zone. */
static bool block_in(const struct vm *v, const struct zone *z, unsigned page, uint64_t size,
		     nest_ia_t *base)
{
	nest_ia_t first = vm_gpa(v->w, z->a), end = vm_gpa(v->w, z->b);

	*base = vm_gpa(v->w, page) & ~(size - 1);
	return *base >= first && size <= end - first && *base <= end - size;
}

uint64_t zone_fit(const struct vm *v, const struct zone *z, unsigned page, uint64_t limit)
{
	const struct vm_world *w = v->w;
	/* The sizes of pages and groups, from the largest; twice: also groups of blocks. */
	const struct nest_format_info *f = &w->setup.info;

	for (unsigned l = 2; l-- > 0;) {
		uint64_t unit = (uint64_t)1 << (f->page_shift + l * f->index_bits);
		uint64_t size[] = { unit << f->contig_shift[l], unit };

		for (unsigned k = 0; k < 2; k++) {
			nest_ia_t base;

			if (size[k] > limit || !block_in(v, z, page, size[k], &base))
				continue;
			if (!z->provider && (z->hpa + (base - vm_gpa(w, z->a))) & (size[k] - 1))
				continue;
			if (is_empty(v, (base - w->origin) / w->page, size[k] / w->page))
				return size[k];
		}
	}
	return 0;
}

/* ---- Providers ---- */

/*
 * The page that a provider is to be asked for next, by a call that goes from page to page. Fixed
 * memory on the way needs no question.
 */
static unsigned wanted_page(struct vm *v)
{
	unsigned i = v->call.from;

	for (; i < v->call.to; i++) {
		const struct zone *z = v->call.adding ? v->call.adding : zone_at(v, i);

		if (v->next[i].kind == NEST_PTE_NONE && !(z && !z->provider))
			break;
	}
	return i;
}

/* Is it the right question? */
static void check_question(struct vm *v, const struct provider *p, nest_ia_t gpa, uint64_t size)
{
	struct vm_world *w = v->w;
	struct vm_call *c = &v->call;
	unsigned page = wanted_page(v);
	const struct zone *z = c->adding ? c->adding : zone_at(v, page);
	uint64_t limit, best;
	nest_ia_t base;

	if (!c->populates || page == c->to || !z || z->provider != p)
		vm_fail(w, "a frame of %#lx bytes is asked for at %#lx, the page is %#lx",
			(unsigned long)size, (unsigned long)gpa, (unsigned long)vm_gpa(w, page));
	if (c->failed)
		vm_fail(w, "asked for a frame after \"%s\"", nest_strerror(c->failed));
	limit = c->was_asked && c->asked_for == page ? c->asked_size - 1 : zone_limit(v, z);
	best = zone_fit(v, z, page, limit);
	/* In shared mode a block needs an entry of its own: where a table stands, there is none. */
	while (best > size && w->shared) {
		struct mmu_step s = vm_walk(v, vm_gpa(w, page));

		if (best > (uint64_t)1 << nest_pt_shift(&v->vm.pt, s.level))
			best = zone_fit(v, z, page, best - 1);
		else
			break;
	}
	if (size != best || !block_in(v, z, page, size, &base) || gpa != base)
		vm_fail(w, "asked for %#lx bytes at %#lx, not for %#lx around %#lx",
			(unsigned long)size, (unsigned long)gpa, (unsigned long)best,
			(unsigned long)vm_gpa(w, page));
	c->was_asked = true;
	c->asked_for = page;
	c->asked_size = size;
}

/* A page of this VM that is mapped elsewhere, once. */
static nest_pa_t mapped_elsewhere(struct vm *v)
{
	struct vm_world *w = v->w;
	unsigned from = (unsigned)dice_throw(&w->dice, w->pages);

	for (unsigned i = 0; i < w->pages; i++) {
		const struct cell *c = &v->next[(from + i) % w->pages];

		if (c->kind == NEST_PTE_LEAF && frames_is_one(w, c->value) &&
		    w->refs[index_of(w, c->value)] == 1)
			return c->value;
	}
	return NEST_PA_NONE;
}

/* What this provider gives; *status: what must come of it. */
static nest_pa_t choose(struct vm *v, const struct provider *p, nest_ia_t gpa, uint64_t size,
			int *status)
{
	struct vm_world *w = v->w;
	bool bad = dice_draw(&w->dice, 3) == 0;
	nest_pa_t pa;

	*status = NEST_OK;
	switch (bad ? p->kind : PROVIDE_SMALL) {
	case PROVIDE_EMPTY:
		return NEST_PA_NONE;
	case PROVIDE_MISALIGNED:
		*status = NEST_E_ALIGN;
		return POOL_BASE + (dice_draw(&w->dice, 2) ? w->page / 2 : size / 2);
	case PROVIDE_BEYOND:
		*status = NEST_E_RANGE;
		return (nest_pa_t)1 << v->vm.pt.oa_bits;
	case PROVIDE_FORBIDDEN:
		*status = NEST_E_DENIED;
		return (dice_draw(&w->dice, 2) ? w->forbidden : v->protect[0].base) & ~(size - 1);
	case PROVIDE_REPEATED:
		pa = size == w->page ? mapped_elsewhere(v) : NEST_PA_NONE;
		if (pa != NEST_PA_NONE)
			return pa;
		break;
	default:
		break;
	}
	pa = frames_take(w, size, size, 0);
	if (pa != NEST_PA_NONE)
		memset(frames_pointer(w, pa), 0, w->page);
	(void)gpa;
	return pa;
}

static nest_pa_t provider_get(void *ctx, nest_ia_t gpa, uint64_t size)
{
	const struct provider *p = ctx;
	struct vm *v = p->vm;
	struct vm_world *w = v->w;
	struct vm_call *c = &v->call;
	const struct zone *z;
	unsigned first;
	nest_pa_t pa;

	check_question(v, p, gpa, size);
	z = c->adding ? c->adding : zone_at(v, c->asked_for);
	pa = choose(v, p, gpa, size, &c->failed);
	if (pa == NEST_PA_NONE) {
		w->count.refused++;
		if (!zone_fit(v, z, c->asked_for, size - 1))
			c->failed = NEST_E_NOMEM;
		return pa;
	}
	if (c->failed) {
		w->count.bad++;
		c->bad = pa;
		c->bad_size = c->bad_left = size;
		return pa;
	}
	w->count.given++;
	w->count.larger += size > w->page;
	frames_hold(v, pa, size);
	first = (unsigned)((gpa - w->origin) / w->page);
	for (unsigned i = 0; i < size / w->page; i++)
		v->next[first + i] = (struct cell){ .kind = NEST_PTE_LEAF,
						    .attr = zone_attr(v, z, size),
						    .value = pa + i * w->page };
	return pa;
}

/* No TLB of any VM may lead to it. */
static void check_unreachable(struct vm_world *w, nest_pa_t pa, uint64_t size)
{
	for (unsigned k = 0; k < VM_COUNT; k++) {
		struct vm *v = &w->vm[k];

		for (unsigned i = 0; v->running && i < v->tlb.probes; i++) {
			const struct tlb_probe *p = &v->tlb.probe[i];

			for (unsigned n = 0; n < p->count; n++) {
				const struct mmu_step *s = &p->kept[n];

				if (s->kind == MMU_PAGE && s->pa >= pa && s->pa - pa < size)
					vm_fail(w,
						"the frame %#lx is put back, and VM %u can reach "
						"it by %#lx",
						(unsigned long)pa, k, (unsigned long)p->ia);
			}
		}
	}
}

/* One page of a frame that comes back. */
static void put_page(struct vm *v, unsigned page, nest_pa_t pa)
{
	struct vm_world *w = v->w;
	struct cell *is = &v->is[page], *next = &v->next[page];
	bool was_mapped = is->kind == NEST_PTE_LEAF && is->value == pa;
	bool given_now = v->call.populates && next->kind == NEST_PTE_LEAF && next->value == pa &&
			 !was_mapped;

	if (given_now) {
		w->count.put_at_once++;
		*next = *is;
	} else if (!was_mapped || next->kind == NEST_PTE_LEAF) {
		vm_fail(w, "the frame %#lx of %#lx is put back", (unsigned long)pa,
			(unsigned long)vm_gpa(w, page));
	}
	frames_drop(v, pa);
	if (!w->refs[index_of(w, pa)])
		check_unreachable(w, pa, w->page);
	w->count.put++;
}

static void provider_put(void *ctx, nest_ia_t gpa, nest_pa_t pa, uint64_t size)
{
	const struct provider *p = ctx;
	struct vm *v = p->vm;
	struct vm_world *w = v->w;
	struct vm_call *c = &v->call;

	if (!v->running && !v->flushed_all)
		vm_fail(w, "the frame %#lx is put back before the flush", (unsigned long)pa);
	if (c->bad_left && pa >= c->bad && pa - c->bad < c->bad_size) {
		if (size > c->bad_left)
			vm_fail(w, "the frame %#lx is put back twice", (unsigned long)pa);
		c->bad_left -= size;
		return;
	}
	if (!size || (gpa | pa | size) & (w->page - 1) || gpa < w->origin ||
	    (gpa - w->origin) / w->page + size / w->page > w->pages || !frames_is_one(w, pa))
		vm_fail(w, "%#lx bytes at %#lx are put back for %#lx", (unsigned long)size,
			(unsigned long)pa, (unsigned long)gpa);
	for (uint64_t done = 0; done < size; done += w->page)
		put_page(v, (unsigned)((gpa + done - w->origin) / w->page), pa + done);
}

void providers_open(struct vm *v)
{
	const uint64_t max[PROVIDE_KINDS] = {
		[PROVIDE_SMALL] = 0,
		[PROVIDE_GROUP] = v->w->group ? v->w->group : v->w->page,
		[PROVIDE_LARGE] = v->w->block,
		[PROVIDE_EMPTY] = v->w->block,
		[PROVIDE_MISALIGNED] = v->w->block,
		[PROVIDE_BEYOND] = v->w->block,
		[PROVIDE_FORBIDDEN] = v->w->block,
		[PROVIDE_REPEATED] = v->w->page,
	};

	for (unsigned i = 0; i < VM_PROVIDERS; i++) {
		struct provider *p = &v->provider[i];

		*p = (struct provider){ .vm = v, .kind = (enum provide)i };
		p->backing = (struct nest_backing){
			.get = provider_get, .put = provider_put, .ctx = p, .max_size = max[i]
		};
		/* Its caller keeps no books. */
		if (p->kind == PROVIDE_GROUP && vm_random(v->w, 2))
			p->backing.put = NULL;
	}
}
