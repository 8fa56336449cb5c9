/* SPDX-License-Identifier: MIT */
/* See common.h. */
#include "common.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *stress_program, *stress_format;
unsigned stress_step_pause;
atomic_long stress_tables;

void stress_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s: %s: ", stress_program, stress_format);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	fflush(NULL);
	/* Other threads still use what exit() would take down. */
	_Exit(1);
}

uint64_t stress_below(uint64_t *random, uint64_t n)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (*random >> 16) % n;
}

void stress_storing(const nest_pte_t *p)
{
	static _Thread_local uint64_t random;
	static _Thread_local uintptr_t last;
	/* Most steps of the protocol begin at an entry that is not the next one. */
	const bool step = (uintptr_t)p != last + sizeof(*p);

	if (!random)
		random = (uint64_t)(uintptr_t)&random;
	last = (uintptr_t)p;
	if (stress_step_pause && step && stress_below(&random, 4) == 0)
		stress_pause(&random, stress_step_pause);
	else if (stress_below(&random, 32) == 0)
		sched_yield();
	else if (stress_below(&random, 1024) == 0)
		stress_pause(&random, 20);
}

void stress_pause(uint64_t *random, unsigned microseconds)
{
	nanosleep(&(struct timespec){ .tv_nsec = (long)stress_below(random, microseconds * 1000) },
		  NULL);
}

nest_pa_t stress_alloc(void *ctx, size_t size)
{
	void *p = aligned_alloc(size, size);

	(void)ctx;
	if (!p)
		return NEST_PA_NONE;
	atomic_fetch_add(&stress_tables, 1);
	return (nest_pa_t)(uintptr_t)p;
}

void stress_free(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx;
	atomic_fetch_sub(&stress_tables, 1);
	/* No walker accepts these. */
	memset((void *)(uintptr_t)pa, 0xff, size);
	free((void *)(uintptr_t)pa);
}

bool tlb_walk(struct tlb *t, const struct nest_pt *pt, nest_ia_t ia, struct walk *out)
{
	const unsigned levels = nest_pt_levels(pt);
	const uint64_t span = (uint64_t)1 << nest_pt_shift(pt, 1);
	unsigned from = levels, n = t ? (unsigned)stress_below(&t->random, TLB_KEPT) : 0;
	nest_pa_t table = nest_pt_root(pt);

	if (t && t->near[n].table && ia - t->near[n].ia < span) {
		table = t->near[n].table;
		from = 1;
	}
	for (unsigned level = from; level-- > 0;) {
		unsigned shift = nest_pt_shift(pt, level);
		uint64_t i = ia >> shift;

		if (level + 1 != levels)
			i &= ((uint64_t)1 << (nest_pt_shift(pt, level + 1) - shift)) - 1;
		out->p = (nest_pte_t *)(uintptr_t)table + i;
		out->e = __atomic_load_n(out->p, __ATOMIC_ACQUIRE);
		out->level = level;
		if (nest_pte_decode(pt->format, level, pt->features, out->e, &out->info) != NEST_OK)
			stress_fail("%#lx: no walker knows %#lx at level %u", (unsigned long)ia,
				    (unsigned long)out->e, level);
		if (out->info.kind == NEST_PTE_RESERVED)
			stress_fail("%#lx: %#lx at level %u is misconfigured", (unsigned long)ia,
				    (unsigned long)out->e, level);
		if (out->info.kind == NEST_PTE_LEAF)
			return true;
		if (out->info.kind != NEST_PTE_TABLE)
			return false;
		table = out->info.pa;
		if (t && level == 1) {
			t->near[n].table = table;
			t->near[n].ia = ia & ~(span - 1);
		}
	}
	return false;
}

void tlb_keep(struct tlb *t, unsigned i, const struct nest_pt *pt, nest_ia_t ia,
	      const struct walk *leaf)
{
	const uint64_t size = (uint64_t)1 << nest_pt_shift(pt, leaf->level);

	t->kept[i].ia = ia & ~(size - 1);
	t->kept[i].pa = leaf->info.pa;
	t->kept[i].size = size;
	t->kept[i].attr = leaf->info.attr;
	t->kept[i].level = leaf->level;
}

static bool touches(const struct nest_flush *what, nest_ia_t ia, uint64_t size)
{
	return what->all || (ia < what->ia + what->size && what->ia < ia + size);
}

void tlb_flush(struct tlb *t, const struct nest_pt *pt, const struct nest_flush *what)
{
	const uint64_t span = (uint64_t)1 << nest_pt_shift(pt, 1);

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < TLB_KEPT; i++) {
		if (touches(what, t->kept[i].ia, t->kept[i].size) &&
		    (what->level_mask >> t->kept[i].level & 1))
			t->kept[i].size = 0;
		if (touches(what, t->near[i].ia, span) && !what->leaf_only)
			t->near[i].table = 0;
	}
	pthread_mutex_unlock(&t->lock);
}
