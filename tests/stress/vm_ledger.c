/* SPDX-License-Identifier: MIT */
/*
 * The ledger of frames, which is also the provider of guest memory.
 *
 * A frame is given for one page, and given back once. When it comes back, no walk of the tables and
 * no TLB may lead to it. It is zeroed and given again as soon as possible, so that whoever still
 * reaches it meets another page's memory.
 */
#include "vm.h"

#include <stdlib.h>

/* Frames lie in chunks of the size of a block. */
enum { CHUNKS = 24, CHUNK_FIXED = 0, CHUNK_SMALL = 1, CHUNK_FIRST = 2 };

static struct {
	struct frame *frame;
	pthread_mutex_t lock; /* over `used`, and the search for free frames */
	uint64_t used[CHUNKS];
	nest_pa_t base;
} ledger;

static uint64_t number_of(nest_pa_t pa)
{
	uint64_t f = (pa - ledger.base) / w.page;

	if (pa < ledger.base || f >= CHUNKS * w.n)
		stress_fail("%#lx is no frame of the provider's", (unsigned long)pa);
	return f;
}

static nest_pa_t pa_of(uint64_t f)
{
	return ledger.base + f * w.page;
}

struct frame *ledger_frame(nest_pa_t pa)
{
	return &ledger.frame[number_of(pa)];
}

nest_pa_t ledger_fixed_pa(uint64_t page)
{
	return pa_of(CHUNK_FIXED * w.n + page % w.n);
}

void ledger_open(void)
{
	ledger.base = w.span * 16;
	ledger.frame = calloc(CHUNKS * w.n, sizeof(*ledger.frame));
	if (!ledger.frame)
		stress_fail("no memory");
	pthread_mutex_init(&ledger.lock, NULL);
	for (uint64_t i = 0; i < w.n; i++)
		atomic_store(&ledger.frame[CHUNK_FIXED * w.n + i].owner, FIXED * w.n + i + 1);
	for (unsigned c = 0; c < CHUNKS; c++)
		ledger.used[c] = 0;
}

void ledger_close(void)
{
	pthread_mutex_destroy(&ledger.lock);
	free(ledger.frame);
}

/* n free frames side by side become those of the pages from `page` on. Under the lock. */
static void give(uint64_t f, uint64_t page, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		atomic_store(&ledger.frame[f + i].content, 0);
		if (atomic_exchange(&ledger.frame[f + i].owner, page + i + 1) != FRAME_FREE)
			stress_fail("frame %#lx was not free", (unsigned long)pa_of(f + i));
	}
	ledger.used[f / w.n] += n;
	self->count.given += n;
}

/* A run of n free small frames. Under the lock. */
static uint64_t find_small(uint64_t n)
{
	uint64_t first = CHUNK_SMALL * w.n, run = 0;

	for (uint64_t i = 0; i < w.n; i++) {
		run = atomic_load(&ledger.frame[first + i].owner) == FRAME_FREE ? run + 1 : 0;
		if (run == n)
			return first + i + 1 - n;
	}
	stress_fail("frames are lost: all small ones are in use");
}

nest_pa_t ledger_get(void *ctx, nest_ia_t gpa, uint64_t size)
{
	const uint64_t page = gpa / w.page;
	nest_pa_t pa = NEST_PA_NONE;

	(void)ctx;
	if (page / w.n == HOLE || page / w.n >= FIXED || gpa % size ||
	    (size != w.page && size != w.span))
		stress_fail("get(%#lx, %#lx)", (unsigned long)gpa, (unsigned long)size);
	/* Now and then there is no large one for a thread, while another gets one. */
	if (size == w.span && below(2))
		return NEST_PA_NONE;
	pthread_mutex_lock(&ledger.lock);
	if (size == w.page) {
		uint64_t f = find_small(1);

		give(f, page, 1);
		pa = pa_of(f);
	}
	for (uint64_t c = CHUNK_FIRST; c < CHUNKS && size == w.span; c++) {
		if (ledger.used[c])
			continue;
		give(c * w.n, page, w.n);
		pa = pa_of(c * w.n);
		self->count.blocks++;
		break;
	}
	pthread_mutex_unlock(&ledger.lock);
	/* Time for others to change the tables after the library has looked at them. */
	if (size == w.span)
		stress_pause(&self->random, 600);
	else if (below(4) == 0)
		stress_pause(&self->random, 300);
	return pa;
}

/* Who still reaches [pa, pa + size), given for the pages from `page` on, although it is given back?
 */
static void must_be_unreachable(uint64_t page, nest_pa_t pa, uint64_t size, const char *after)
{
	if (atomic_load(&w.ending))
		return;
	for (uint64_t i = 0; i < size / w.page; i++) {
		struct walk at;

		if (!tlb_walk(NULL, nest_vm_pt(&w.vm), gpa_of(page + i), &at))
			continue;
		at.info.pa += gpa_of(page + i) &
			      (((uint64_t)1 << nest_pt_shift(&w.vm.pt, at.level)) - 1);
		if (at.info.pa == pa + i * w.page)
			stress_fail(
				"frame %#lx of %#lx was given back (%s), page %lu of %lu, and is still "
				"mapped",
				(unsigned long)at.info.pa, (unsigned long)gpa_of(page + i), after,
				(unsigned long)i, (unsigned long)(size / w.page));
	}
	for (unsigned c = 0; c < CPUS; c++) {
		struct tlb *t = &w.tlb[c];

		pthread_mutex_lock(&t->lock);
		for (unsigned i = 0; i < TLB_KEPT; i++) {
			if (t->kept[i].size && t->kept[i].pa < pa + size &&
			    pa < t->kept[i].pa + t->kept[i].size)
				stress_fail(
					"frame %#lx of %#lx was given back (%s), and a TLB holds it as %#lx",
					(unsigned long)pa, (unsigned long)gpa_of(page), after,
					(unsigned long)t->kept[i].ia);
		}
		pthread_mutex_unlock(&t->lock);
	}
}

static void free_frames(uint64_t page, nest_pa_t pa, uint64_t size, const char *after)
{
	uint64_t f = number_of(pa), n = size / w.page;

	must_be_unreachable(page, pa, size, after);
	pthread_mutex_lock(&ledger.lock);
	for (uint64_t i = 0; i < n; i++) {
		unsigned long owner = atomic_load(&ledger.frame[f + i].owner);

		if (owner != page + i + 1)
			stress_fail("frame %#lx comes back (%s) for page %#lx, but %s",
				    (unsigned long)pa_of(f + i), after,
				    (unsigned long)gpa_of(page + i),
				    owner == FRAME_FREE ? "it is free" : "it is another page's");
		atomic_store(&ledger.frame[f + i].content, 0);
		atomic_store(&ledger.frame[f + i].owner, FRAME_FREE);
	}
	ledger.used[f / w.n] -= n;
	pthread_mutex_unlock(&ledger.lock);
	self->count.put += n;
}

void ledger_put(void *ctx, nest_ia_t gpa, nest_pa_t pa, uint64_t size)
{
	(void)ctx;
	self->count.second += !atomic_load(&w.ending);
	free_frames(gpa / w.page, pa, size, "put");
}

void ledger_released(void *ctx, const struct nest_mapping *leaf)
{
	const uint64_t page = leaf->ia / w.page;

	(void)ctx;
	if (!is_fixed(page))
		free_frames(page, leaf->pa, leaf->size, "released");
	else if (leaf->pa != ledger_fixed_pa(page))
		stress_fail("fixed page %#lx was mapped to %#lx", (unsigned long)leaf->ia,
			    (unsigned long)leaf->pa);
}

nest_pa_t ledger_take(uint64_t page, uint64_t n, unsigned long serial)
{
	uint64_t f;

	pthread_mutex_lock(&ledger.lock);
	f = find_small(n);
	give(f, page, n);
	for (uint64_t i = 0; i < n; i++)
		atomic_store(&ledger.frame[f + i].content, content_of(page + i, serial));
	pthread_mutex_unlock(&ledger.lock);
	return pa_of(f);
}

void ledger_drop(uint64_t page, nest_pa_t pa, const char *after)
{
	if (!is_fixed(page)) {
		free_frames(page, pa, w.page, after);
		return;
	}
	must_be_unreachable(page, pa, w.page, after);
	atomic_store(&ledger_frame(pa)->owner, FRAME_TAKEN);
}

void ledger_give_fixed(uint64_t page, uint64_t n)
{
	for (uint64_t p = page; p < page + n && is_fixed(p); p++)
		atomic_store(&ledger_frame(ledger_fixed_pa(p))->owner, p + 1);
}

void ledger_audit(void)
{
	uint64_t mapped = 0, given = 0;

	for (uint64_t p = 0; p < BLOCKS * w.n; p++) {
		struct nest_mapping m;

		if (nest_pt_query(nest_vm_pt(&w.vm), gpa_of(p), &m) != NEST_OK)
			continue;
		if (atomic_load(&ledger_frame(m.pa)->owner) != p + 1)
			stress_fail("at the end %#lx leads to %#lx, which is not its frame",
				    (unsigned long)gpa_of(p), (unsigned long)m.pa);
		mapped += !is_fixed(p);
	}
	for (uint64_t f = CHUNK_SMALL * w.n; f < CHUNKS * w.n; f++)
		given += atomic_load(&ledger.frame[f].owner) != FRAME_FREE;
	if (mapped != given)
		stress_fail("at the end %lu pages are mapped, and %lu frames are out",
			    (unsigned long)mapped, (unsigned long)given);
}

void ledger_all_free(void)
{
	for (uint64_t f = CHUNK_SMALL * w.n; f < CHUNKS * w.n; f++) {
		if (atomic_load(&ledger.frame[f].owner) != FRAME_FREE)
			stress_fail("nest_vm_destroy() has not given frame %#lx back",
				    (unsigned long)pa_of(f));
	}
}
