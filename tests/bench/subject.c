/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

/* Tables of the smallest unit there is. */
enum { LEAST_UNIT = 4096 };

bool pool_make(struct pool *p, uint64_t size)
{
	void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 0, sizeof(*p));
	p->free_at = malloc(size / LEAST_UNIT * sizeof(*p->free_at));
	if (m == MAP_FAILED || !p->free_at)
		return false;
	memset(m, 1, size);
	memset(p->free_at, 1, size / LEAST_UNIT * sizeof(*p->free_at));
	p->memory = m;
	p->size = size;
	return true;
}

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	struct pool *p = ctx;
	nest_pa_t pa;

	if (size == p->unit)
		return pool_alloc(p);
	/* A root of several tables side by side. */
	pa = (p->next + size - 1) & ~(uint64_t)(size - 1);
	if (pa + size > p->size)
		return NEST_PA_NONE;
	p->next = pa + size;
	return pa;
}

/* The same for many threads; nothing comes back. */
static nest_pa_t host_alloc_shared(void *ctx, size_t size)
{
	struct pool *p = ctx;
	nest_pa_t pa = __atomic_fetch_add(&p->next, 2 * size, __ATOMIC_RELAXED);

	pa = (pa + size - 1) & ~(uint64_t)(size - 1);
	return pa + size > p->size ? NEST_PA_NONE : pa;
}

static void host_free_shared(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx, (void)pa, (void)size;
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx, (void)fn, (void)arg;
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct pool *p = ctx;

	if (size == p->unit)
		pool_free(p, pa);
}

static void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
}

bool subject_make(struct subject *s, const struct nest_format *format, uint32_t features,
		  struct pool *pool)
{
	nest_attr_t dirty_attr, clean_attr;
	nest_pte_t dirty = 0, clean = 0, plain;

	*s = (struct subject){ .format = format, .features = features, .pool = pool };
	/* Pages of 1 GiB, where they have to be asked for. */
	if (nest_format_describe(format, features | NEST_FEAT_1G, &s->info) == NEST_OK)
		s->features |= NEST_FEAT_1G;
	else if (nest_format_describe(format, features, &s->info) != NEST_OK)
		return false;
	s->ia_bits = s->info.ia_max < 48   ? s->info.ia_max
		     : s->info.ia_min > 48 ? s->info.ia_min
					   : 48;
	if (s->info.ia_default > 48 || !strcmp(s->info.name, "riscv-g"))
		s->ia_bits = 50;
	s->page = (uint64_t)1 << s->info.page_shift;
	for (unsigned l = 0;
	     l < NEST_MAX_LEVELS && s->info.page_shift + l * s->info.index_bits <= 30; l++) {
		if (s->info.leaf_levels >> l & 1)
			s->huge = l;
	}
	/* As an embedder maps that does not track them. */
	s->attr = NEST_RWX | NEST_ACCESSED | NEST_DIRTY;
	if (nest_pte_leaf(format, 0, s->features, 0, s->attr, &plain) != NEST_OK)
		s->attr = NEST_RWX;
	clean_attr = s->attr & ~NEST_DIRTY;
	dirty_attr = s->attr;
	if (nest_pte_leaf(format, 0, s->features, 0, s->attr | NEST_DBM, &plain) == NEST_OK) {
		s->attr |= NEST_DBM;
		clean_attr |= NEST_DBM;
		dirty_attr |= NEST_DBM;
	}
	for (unsigned l = 0; l <= s->huge; l++) {
		if ((s->info.leaf_levels >> l & 1) &&
		    nest_pte_leaf(format, l, s->features, 0, s->attr, &s->leaf[l]) != NEST_OK)
			return false;
	}
	if (nest_pte_table(format, s->features, 0, &s->table) != NEST_OK)
		return false;
	if (s->features & NEST_FEAT_HW_AD) {
		if (nest_pte_leaf(format, 0, s->features, 0, dirty_attr, &dirty) ||
		    nest_pte_leaf(format, 0, s->features, 0, clean_attr, &clean))
			return false;
	}
	s->dirty = dirty ^ clean;
	return true;
}

void subject_open_mode(struct subject *s, uint32_t mode)
{
	struct nest_pt_config config = { .format = s->format,
					 .ia_bits = s->ia_bits,
					 .features = s->features,
					 .flags = mode,
					 .host = &s->host,
					 .ctx = s->pool };
	nest_pte_t read_only;
	int err;

	pool_reset(s->pool, s->page);
	s->host = (struct nest_host){ .alloc = host_alloc,
				      .free = host_free,
				      .linear_offset = (uint64_t)(uintptr_t)s->pool->memory,
				      .tlb_flush = host_flush };
	if (mode & NEST_PT_SHARED) {
		s->host.alloc = host_alloc_shared;
		s->host.free = host_free_shared;
		s->host.defer = host_defer;
	}
	err = nest_pt_init(&s->pt, &config);
	if (err) {
		fprintf(stderr, "nest_bench: %s: %s\n", s->info.name, nest_strerror(err));
		exit(1);
	}
	s->root = s->pt.root;
	s->levels = nest_pt_levels(&s->pt);
	memcpy(s->absent, s->pt.absent, sizeof(s->absent));
	if (nest_pte_leaf(s->format, 0, s->features, 0, s->attr & ~(NEST_W | NEST_DBM),
			  &read_only) == NEST_OK) {
		s->writable = s->leaf[0] ^ read_only;
		s->other = read_only & s->writable;
	}
}
