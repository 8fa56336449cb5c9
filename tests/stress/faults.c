/* SPDX-License-Identifier: MIT */
/*
 * Faults of one guest on many threads at once. RAM comes with the first touch, in blocks where
 * nothing is there yet. Once a thread has seen which frame a page has, the guest may have written
 * to it: from then on every thread must see that frame. What the provider has given and not got
 * back must be what is mapped.
 */
#include <nest/nest.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, BLOCKS = 96, ROUNDS = 60 };

static struct {
	const struct nest_format *format;
	struct nest_vm vm;
	struct nest_vm_region region[2];
	struct nest_epoch epoch;
	struct nest_epoch_slot slot[THREADS];
	uint64_t page, span;
	atomic_ulong next, held; /* bytes of frames: given from, and out */
	_Atomic(nest_pa_t) *seen;
	atomic_ulong asked;
	atomic_ulong second; /* frames that came second */
} w;

static void fail(const char *what, uint64_t where)
{
	fprintf(stderr, "faults: %s: %s at %#lx\n", nest_format_name(w.format), what,
		(unsigned long)where);
	exit(1);
}

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	void *p = aligned_alloc(size, size);

	(void)ctx;
	return p ? (nest_pa_t)(uintptr_t)p : NEST_PA_NONE;
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx, (void)size;
	free((void *)(uintptr_t)pa);
}

static void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
	sched_yield();
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	nest_epoch_defer(&w.epoch, fn, arg);
}

static const struct nest_host host = {
	.alloc = host_alloc, .free = host_free, .tlb_flush = host_flush, .defer = host_defer
};

static nest_pa_t get(void *ctx, nest_ia_t gpa, uint64_t size)
{
	(void)ctx, (void)gpa;
	/* Now and then there is no large one for a thread, while another gets one. */
	if (size > w.page && atomic_fetch_add(&w.asked, 1) % 3 == 0)
		return NEST_PA_NONE;
	atomic_fetch_add(&w.held, size);
	sched_yield();
	/* Aligned to the largest, and never the same. */
	return atomic_fetch_add(&w.next, w.span);
}

static void put(void *ctx, nest_ia_t gpa, nest_pa_t pa, uint64_t size)
{
	(void)ctx, (void)gpa, (void)pa;
	atomic_fetch_add(&w.second, 1);
	atomic_fetch_sub(&w.held, size);
}

static uint64_t random_below(uint64_t *random, uint64_t n)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (*random >> 33) % n;
}

static void touch(unsigned id, nest_ia_t gpa)
{
	struct nest_fault fault = {
		.kind = NEST_FAULT_TRANSLATION, .gpa = gpa, .gpa_valid = true, .access = NEST_W
	};
	struct nest_mapping m;
	struct nest_exit out;
	nest_pa_t none = NEST_PA_NONE;
	int err;

	for (;;) {
		nest_epoch_enter(&w.epoch, id);
		err = nest_vm_translate(&w.vm, gpa, NEST_W, &m);
		if (err == NEST_E_NOTMAPPED) {
			if (nest_vm_fault(&w.vm, &fault, &out) || out.kind != NEST_EXIT_RESUME)
				fail(nest_strerror(out.status), gpa);
		}
		nest_epoch_exit(&w.epoch, id);
		if (err == NEST_OK)
			break;
		if (err != NEST_E_NOTMAPPED && err != NEST_E_BUSY)
			fail(nest_strerror(err), gpa);
	}
	/* The guest writes. Whoever was first to do so has said where. */
	if (!atomic_compare_exchange_strong(&w.seen[gpa / w.page], &none, m.pa) && none != m.pa)
		fail("a page with the guest's data has another frame", gpa);
}

static void *thread_main(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	uint64_t random = id + 1;

	/* All over the same blocks in the same order, so that they meet. */
	for (unsigned b = 0; b < BLOCKS; b++) {
		for (unsigned i = 0; i < ROUNDS; i++)
			touch(id, b * w.span + random_below(&random, w.span / w.page) * w.page);
		(void)nest_epoch_poll(&w.epoch, id);
	}
	return NULL;
}

static void run(const struct nest_format *format, uint32_t features)
{
	struct nest_vm_config config = { .pt = { .format = format,
						 .features = features,
						 .flags = NEST_PT_SHARED,
						 .host = &host },
					 .regions = w.region,
					 .max_regions = 2 };
	struct nest_backing backing = { .get = get, .put = put };
	pthread_t thread[THREADS];
	struct nest_pt_stats stats;
	uint64_t pages;

	memset(&w, 0, sizeof(w));
	w.format = format;
	if (nest_epoch_init(&w.epoch, w.slot, THREADS) || nest_vm_init(&w.vm, &config))
		fail("init", 0);
	w.page = (uint64_t)1 << nest_pt_shift(nest_vm_pt(&w.vm), 0);
	w.span = (uint64_t)1 << nest_pt_shift(nest_vm_pt(&w.vm), 1);
	pages = BLOCKS * w.span / w.page;
	backing.max_size = w.span;
	w.seen = malloc(pages * sizeof(*w.seen));
	if (!w.seen)
		fail("no memory", 0);
	for (uint64_t i = 0; i < pages; i++)
		atomic_init(&w.seen[i], NEST_PA_NONE);
	if (nest_vm_add_ram(&w.vm, 0, BLOCKS * w.span, &backing, 0))
		fail("adding RAM", 0);
	for (unsigned i = 0; i < THREADS; i++) {
		if (pthread_create(&thread[i], NULL, thread_main, (void *)(uintptr_t)i))
			fail("no thread", i);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	if (nest_pt_stats(nest_vm_pt(&w.vm), &stats) || stats.mapped != atomic_load(&w.held))
		fail("what is mapped is not what was given", stats.mapped);
	printf("%-17s features 0x%-6x %lu pages of %lu KiB and %lu of %lu MiB; %lu frames came "
	       "second\n",
	       nest_format_name(format), features, (unsigned long)stats.leaves[0],
	       (unsigned long)(w.page >> 10), (unsigned long)stats.leaves[1],
	       (unsigned long)(w.span >> 20), (unsigned long)atomic_load(&w.second));
	nest_vm_destroy(&w.vm);
	if (atomic_load(&w.held))
		fail("not all was put back", atomic_load(&w.held));
	free(w.seen);
}

int main(void)
{
	static const uint32_t feature_sets[] = { 0, NEST_FEAT_HW_AD };

	for (unsigned f = 0; nest_formats[f]; f++) {
		for (unsigned i = 0; i < sizeof(feature_sets) / sizeof(*feature_sets); i++) {
			struct nest_format_info info;

			if (nest_format_describe(nest_formats[f], feature_sets[i], &info) ||
			    !info.stage2)
				continue;
			run(nest_formats[f], feature_sets[i]);
		}
	}
	return 0;
}
