/* SPDX-License-Identifier: MIT */
/*
 * Two threads harvest one table into one bitmap. Every page is dirty when they begin, and each is
 * told by the thread that makes it clean: at the end every bit is set, or a write has been lost.
 */
#include <nest/nest.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 2, PAGES = 32768, ROUNDS = 100, PAGE = 4096 };

static struct {
	struct nest_pt pt;
	struct nest_epoch epoch;
	struct nest_epoch_slot slot[THREADS];
	uint64_t bitmap[PAGES / 64];
	pthread_barrier_t begin, end;
} w;

static void check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "harvest: %s: %s\n", what, nest_strerror(err));
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
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	nest_epoch_defer(&w.epoch, fn, arg);
}

static const struct nest_host host = {
	.alloc = host_alloc, .free = host_free, .tlb_flush = host_flush, .defer = host_defer
};

static void *thread_main(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&w.begin);
		nest_epoch_enter(&w.epoch, id);
		check(nest_pt_harvest(&w.pt, 0, PAGES * PAGE, NEST_DIRTY, w.bitmap, 0, NULL),
		      "harvest");
		nest_epoch_exit(&w.epoch, id);
		pthread_barrier_wait(&w.end);
	}
	return NULL;
}

int main(void)
{
	const struct nest_pt_config config = { .format = &nest_fmt_ept,
					       .features = NEST_FEAT_HW_AD,
					       .flags = NEST_PT_SHARED,
					       .host = &host };
	pthread_t thread[THREADS];

	check(nest_epoch_init(&w.epoch, w.slot, THREADS), "epoch");
	check(nest_pt_init(&w.pt, &config), "init");
	check(nest_pt_map(&w.pt, 0, 0x1000, PAGES * PAGE, NEST_RW, 0, NULL), "map");
	check(pthread_barrier_init(&w.begin, NULL, THREADS + 1), "barrier");
	check(pthread_barrier_init(&w.end, NULL, THREADS + 1), "barrier");
	for (unsigned i = 0; i < THREADS; i++)
		check(pthread_create(&thread[i], NULL, thread_main, (void *)(uintptr_t)i),
		      "thread");
	for (unsigned round = 0; round < ROUNDS; round++) {
		check(nest_pt_protect(&w.pt, 0, PAGES * PAGE, NEST_DIRTY, 0, 0, NULL), "protect");
		memset(w.bitmap, 0, sizeof(w.bitmap));
		pthread_barrier_wait(&w.begin);
		pthread_barrier_wait(&w.end);
		for (unsigned i = 0; i < PAGES / 64; i++) {
			if (~w.bitmap[i]) {
				fprintf(stderr,
					"harvest: round %u: bits %#lx of word %u are lost\n", round,
					(unsigned long)~w.bitmap[i], i);
				return 1;
			}
		}
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	nest_pt_destroy(&w.pt);
	return 0;
}
