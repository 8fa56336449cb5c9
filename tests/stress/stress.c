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
#include "world.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world w;

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

static unsigned steady(nest_ia_t ia)
{
	uint64_t page;
	struct area *a = area_of(ia, &page);

	return atomic_load(&a->steady[page]);
}

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
