/* SPDX-License-Identifier: MIT */
/*
 * Memory for tables, and the host callbacks. What is given out and what comes back is filled with
 * words that no table of the library holds, so that an entry read too early or too late is seen.
 */
#include <string.h>

#include "model.h"

enum { SHIFTS = 40, POISON_FRESH = 0xdd, POISON_FREED = 0xef };

static nest_pa_t next, limit;
static nest_pa_t freed[SHIFTS]; /* lists by log2 of the size, linked through the second word */
static uint64_t outstanding, fail_after;
static bool was_short;

void memory_reset(nest_pa_t base, uint64_t size)
{
	next = base;
	limit = base + size;
	outstanding = 0;
	memory_fail_after(0);
	for (unsigned i = 0; i < SHIFTS; i++)
		freed[i] = NEST_PA_NONE;
}

void memory_fail_after(uint64_t n)
{
	fail_after = n;
	was_short = false;
}

bool memory_was_short(void)
{
	return was_short;
}

uint64_t memory_outstanding(void)
{
	return outstanding;
}

static unsigned log2_of(uint64_t size)
{
	unsigned shift = 0;

	while (shift < SHIFTS - 1 && (uint64_t)1 << shift < size)
		shift++;
	return shift;
}

nest_pa_t walker_alloc(uint64_t size)
{
	unsigned shift = log2_of(size);
	nest_pa_t pa = freed[shift];

	if (pa != NEST_PA_NONE) {
		freed[shift] = ((const nest_pa_t *)walker_va(pa))[1];
	} else {
		pa = (next + size - 1) & ~(size - 1);
		if (size > limit || pa > limit - size)
			return NEST_PA_NONE;
		next = pa + size;
	}
	memset(walker_va(pa), POISON_FRESH, size);
	return pa;
}

void walker_free(nest_pa_t pa, uint64_t size)
{
	unsigned shift = log2_of(size);

	memset(walker_va(pa), POISON_FREED, size);
	((nest_pa_t *)walker_va(pa))[1] = freed[shift];
	freed[shift] = pa;
}

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	nest_pa_t pa;

	(void)ctx;
	if (fail_after && --fail_after == 0) {
		fail_after = 1; /* and so do those that follow */
		was_short = true;
		return NEST_PA_NONE;
	}
	pa = walker_alloc(size);
	if (pa == NEST_PA_NONE)
		was_short = true;
	else
		outstanding++;
	return pa;
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx;
	outstanding--;
	walker_free(pa, size);
}

static void window_flushed(struct window *w, const struct nest_flush *what)
{
	uint64_t begin = model_offset(what->ia), end = begin + what->size;
	uint64_t span = (uint64_t)1 << w->shift;
	unsigned i = w->stale_first, last = w->stale_end;

	if (what->all) {
		begin = 0;
		end = ~(uint64_t)0;
	} else {
		uint64_t base = w->first;

		if (begin > base && (begin - base) >> w->shift > i)
			i = (begin - base) >> w->shift < last
				    ? (unsigned)((begin - base) >> w->shift)
				    : last;
		if (end <= base)
			last = i;
		else if ((end - base - 1) >> w->shift < last)
			last = (unsigned)((end - base - 1) >> w->shift) + 1;
	}
	for (; i < last; i++) {
		struct cell *c = &w->cell[i];
		uint64_t from = w->first + ((uint64_t)i << w->shift), to = from + span;
		uint64_t covered = (to < end ? to : end) - (from > begin ? from : begin);

		c->stale -= covered < c->stale ? covered : c->stale;
	}
}

/* A flush reaches the CPU, and the model: what it covers is not stale any more. */
static void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	for (unsigned i = 0; i < model.windows; i++)
		window_flushed(&model.window[i], what);
	port_flush(what);
}

static void host_sync(void *ctx, const void *va, size_t len)
{
	(void)ctx;
	port_sync(va, len);
}

static void *host_to_virt(void *ctx, nest_pa_t pa)
{
	(void)ctx;
	return walker_va(pa);
}

const struct nest_host walker_host = {
	.alloc = host_alloc,
	.free = host_free,
	.to_virt = host_to_virt,
	.tlb_flush = host_flush,
	.sync = host_sync,
};
