/* SPDX-License-Identifier: MIT */
/*
 * One VM on real threads. 2 to 8 of them run a guest and its VMM at once: they fault pages in, map,
 * replace, unmap, protect, mark, translate, harvest and split, without a lock, while flushes take
 * up to 3 ms. Two CPUs more only walk the tables and use what they find.
 *
 * What must hold: a frame of the provider's comes back once, and nothing reaches it then; no page
 * shows another page's memory; a page keeps what its owner wrote; no legal fault ends in anything
 * but RESUME, and RESUMEs lead to the page; a call that returns NEST_OK has done what it says; a
 * mark stays; a write is told as dirty. Each failed check ends the program with one line.
 *
 * vm_cpu.c has the guest's CPUs, vm_ledger.c the frames, vm_calls.c what the threads do.
 */
#include "vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
enum { DEFAULT_CALLS = 300 };
#define HAS_DEFAULT_CALLS
#endif
#endif
#ifndef HAS_DEFAULT_CALLS
enum { DEFAULT_CALLS = 1500 };
#endif

struct world w;
_Thread_local struct worker *self;

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	nest_epoch_defer(&w.epoch, fn, arg);
}

/* A walk asks for a few tables: so others come between two walks of a call, and into one. */
static void *host_to_virt(void *ctx, nest_pa_t pa)
{
	(void)ctx;
	if (self->pause_in && --self->pause_in == 0)
		stress_pause(&self->random, 300);
	return (void *)(uintptr_t)pa;
}

static const struct nest_host host = { .alloc = stress_alloc,
				       .free = stress_free,
				       .to_virt = host_to_virt,
				       .tlb_flush = host_flush,
				       .defer = host_defer };

/* Which of accessed and dirty the entries tell, and how. */
static void find_status(void)
{
	const nest_attr_t both = NEST_ACCESSED | NEST_DIRTY;
	struct nest_pte_info info = { .attr = 0 };
	nest_pte_t e;

	w.exec = NEST_X | (w.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX) ? NEST_XU : 0);
	w.by_hardware = !(w.features & NEST_FEAT_SW_AD);
	w.is_riscv = !strncmp(stress_format, "riscv", 5);
	w.is_aarch64 = !strncmp(stress_format, "aarch64", 7);
	w.has_dbm = nest_pte_leaf(w.format, 0, w.features, 0, NEST_RW | NEST_DBM | both, &e) ==
		    NEST_OK;
	if (!w.has_dbm && nest_pte_leaf(w.format, 0, w.features, 0, NEST_RW | both, &e))
		return;
	if (nest_pte_decode(w.format, 0, w.features, e, &info) == NEST_OK)
		w.tracked = info.attr & both;
	w.dirty_needs_write = (w.tracked & NEST_DIRTY) &&
			      nest_pte_leaf(w.format, 0, w.features, 0, NEST_R | both, &e);
}

static void add(int err, const char *what)
{
	if (err)
		stress_fail("adding %s: %s", what, nest_strerror(err));
}

static void open_vm(void)
{
	struct nest_vm_config config = { .pt = { .format = w.format,
						 .features = w.features,
						 .flags = NEST_PT_SHARED,
						 .host = &host },
					 .regions = w.region,
					 .max_regions = 4 };
	struct nest_backing backing = { .get = ledger_get, .put = ledger_put },
			    fixed = { .hpa = 0 };

	if (nest_epoch_init(&w.epoch, w.slot, MOST_THREADS) || nest_vm_init(&w.vm, &config))
		stress_fail("init");
	w.page = (uint64_t)1 << nest_pt_shift(nest_vm_pt(&w.vm), 0);
	w.span = (uint64_t)1 << nest_pt_shift(nest_vm_pt(&w.vm), 1);
	w.n = w.span / w.page;
	/* A call on a block of larger pages is longer. */
	w.calls_each = w.calls_each * 512 / (w.n < 2048 ? w.n : 2048);
	w.pages = calloc(BLOCKS * w.n, sizeof(*w.pages));
	if (!w.pages)
		stress_fail("no memory");
	for (uint64_t p = 0; p < BLOCKS * w.n; p++) {
		atomic_store(&w.pages[p].may_write, 1);
		atomic_store(&w.pages[p].may_exec, 1);
	}
	ledger_open();
	fixed.hpa = ledger_fixed_pa(FIXED * w.n);
	backing.max_size = 0;
	add(nest_vm_add_ram(&w.vm, SMALL * w.span, SMALL_BLOCKS * w.span, &backing, 0), "RAM");
	backing.max_size = w.span;
	add(nest_vm_add_ram(&w.vm, LARGE * w.span, LARGE_BLOCKS * w.span, &backing,
			    NEST_VM_EXEC_SMALL),
	    "RAM");
	add(nest_vm_add_ram(&w.vm, FIXED * w.span, w.span, &fixed, 0), "fixed RAM");
	add(nest_vm_add_mmio(&w.vm, MMIO * w.span, w.span, NULL), "a device");
}

/* Nothing runs any more: everything must be where it belongs, and come back. */
static void close_vm(void)
{
	struct worker *k = &w.worker[0];

	for (unsigned b = 0; b < BLOCKS; b++) {
		for (unsigned i = 0; i < SEGMENTS * PLAY; i++)
			check_page(k, b * w.n + i / PLAY * (w.n / SEGMENTS) + i % PLAY);
	}
	ledger_audit();
	for (unsigned i = 0; i < 3; i++)
		(void)nest_epoch_poll(&w.epoch, 0);
	atomic_store(&w.ending, true);
	nest_vm_destroy(&w.vm);
	ledger_all_free();
	if (atomic_load(&stress_tables))
		stress_fail("%ld tables are not given back", atomic_load(&stress_tables));
	ledger_close();
	free(w.pages);
}

static void sum_up(struct count *to, const struct count *from)
{
	for (unsigned i = 0; i < CALL_KINDS; i++) {
		to->tried[i] += from->tried[i];
		to->done[i] += from->done[i];
	}
	to->busy += from->busy;
	to->hits += from->hits;
	to->resumed += from->resumed;
	to->denied += from->denied;
	to->marked += from->marked;
	to->mmio += from->mmio;
	to->unmapped += from->unmapped;
	to->blocks += from->blocks;
	to->given += from->given;
	to->put += from->put;
	to->second += from->second;
	to->late += from->late;
	if (from->deepest > to->deepest)
		to->deepest = from->deepest;
}

static void run_threads(void)
{
	pthread_t reader[READERS], worker[MOST_THREADS];

	atomic_store(&w.running, 1);
	for (unsigned i = 0; i < READERS; i++) {
		if (pthread_create(&reader[i], NULL, reader_main, &w.tlb[MOST_THREADS + i]))
			stress_fail("no thread");
	}
	for (unsigned i = 0; i < w.threads; i++) {
		if (pthread_create(&worker[i], NULL, worker_main, &w.worker[i]))
			stress_fail("no thread");
	}
	for (unsigned i = 0; i < w.threads; i++)
		pthread_join(worker[i], NULL);
	atomic_store(&w.running, 0);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
}

static void run(const struct nest_format *format, uint32_t features, struct count *total)
{
	struct count count = { .busy = 0 };

	w.format = format;
	w.features = features;
	stress_format = nest_format_name(format);
	for (unsigned i = 0; i < MOST_THREADS; i++) {
		w.worker[i] = (struct worker){ .id = i, .random = w.seed * 131 + i + 1 };
		w.tlb[i].random = w.seed * 77 + i + 1;
	}
	for (unsigned i = 0; i < CPUS; i++) {
		memset(&w.tlb[i], 0, sizeof(w.tlb[i]));
		w.tlb[i].random = w.seed * 77 + i + 1;
		pthread_mutex_init(&w.tlb[i].lock, NULL);
	}
	pthread_mutex_init(&w.harvest, NULL);
	self = &w.worker[0];
	find_status();
	if (!(w.tracked & NEST_DIRTY))
		w.without |= 1u << CALL_HARVEST;
	if (!(w.tracked & NEST_ACCESSED))
		w.without |= 1u << CALL_AGE;
	open_vm();
	run_threads();
	for (unsigned i = 0; i < w.threads; i++)
		sum_up(&count, &w.worker[i].count);
	printf("%-17s features 0x%-6x %u threads: faults %lu, RESUME %lu (deepest %lu), denied %lu, "
	       "marked %lu; busy %lu; blocks %lu; frames %lu given, %lu put\n",
	       stress_format, features, w.threads, count.tried[CALL_FAULT], count.resumed,
	       count.deepest, count.denied, count.marked, count.busy, count.blocks, count.given,
	       count.put);
	fflush(stdout);
	sum_up(total, &count);
	close_vm();
}

/* Does the total show that the test tests? */
static int judge(const struct count *c, unsigned without)
{
	int bad = 0;

	printf("all: %lu accesses; exits: RESUME %lu (deepest %lu), denied %lu, marked %lu, MMIO %lu, "
	       "unmapped %lu; busy %lu; blocks %lu; frames %lu given, %lu came second; %lu dirty told late\n",
	       c->hits, c->resumed, c->deepest, c->denied, c->marked, c->mmio, c->unmapped, c->busy,
	       c->blocks, c->given, c->second, c->late);
	for (unsigned i = 0; i < CALL_KINDS; i++) {
		printf("  %-9s %8lu calls, %8lu done\n", call_names[i], c->tried[i], c->done[i]);
		if (!c->done[i] && (c->tried[i] || !(without >> i & 1))) {
			fprintf(stderr, "stress_vm: %s never succeeded\n", call_names[i]);
			bad = 1;
		}
	}
	if (!c->busy || !c->blocks || !c->put) {
		fprintf(stderr, "stress_vm: never busy, no block, or no frame put\n");
		bad = 1;
	}
	return bad;
}

static void usage(void)
{
	puts("usage: stress_vm [OPTION...]\n"
	     "\n"
	     "Fault, map, unmap, protect, mark and harvest on one shared VM by many threads at once.\n"
	     "\n"
	     "  --calls N       steps for each format and set of features (default 1500;\n"
	     "                  300 under the thread sanitizer)\n"
	     "  --threads N     1 to 8 (default: 2, 4, 8 in turn)\n"
	     "  --format NAME   one format alone\n"
	     "  --without KIND  no such calls: translate map replace take restore discard protect\n"
	     "                  forbid"
	     "                  mark harvest age split; may be given again\n"
	     "  --seed N        other random numbers (default 1)\n"
	     "  --help          this text");
}

static bool leave_out(const char *name, unsigned *without)
{
	for (unsigned i = 0; i < CALL_KINDS; i++) {
		if (!strcmp(name, call_names[i])) {
			*without |= 1u << i;
			return true;
		}
	}
	return false;
}

static const uint32_t feature_sets[] = {
	0,
	NEST_FEAT_HW_AD,
	NEST_FEAT_SW_AD,
	NEST_FEAT_HW_A,
	NEST_FEAT_HW_AD | NEST_FEAT_PTW,
	NEST_FEAT_HW_AD | NEST_FEAT_MBEC,
	NEST_FEAT_HW_AD | NEST_FEAT_BBM2 | NEST_FEAT_XNX,
	NEST_FEAT_SW_AD | NEST_FEAT_SVVPTC,
};

int main(int argc, char **argv)
{
	unsigned long calls = DEFAULT_CALLS;
	unsigned threads = 0, runs = 0, without = 0;
	struct count total = { .busy = 0 };
	const char *only = NULL;
	uint64_t seed = 1;

	stress_program = "stress_vm";
	stress_step_pause = 100;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			usage();
			return 0;
		}
		if (i + 1 == argc) {
			fprintf(stderr, "stress_vm: %s needs a value; see --help\n", argv[i]);
			return 2;
		}
		if (!strcmp(argv[i], "--calls"))
			calls = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--threads"))
			threads = (unsigned)strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--format"))
			only = argv[++i];
		else if (strcmp(argv[i], "--without") || !leave_out(argv[++i], &without)) {
			fprintf(stderr, "stress_vm: %s: unknown; see --help\n", argv[i]);
			return 2;
		}
	}
	if (threads > MOST_THREADS) {
		fprintf(stderr, "stress_vm: 1 to %d threads\n", MOST_THREADS);
		return 2;
	}
	for (unsigned f = 0; nest_formats[f]; f++) {
		for (unsigned i = 0; i < sizeof(feature_sets) / sizeof(*feature_sets); i++) {
			struct nest_format_info info;

			if ((only && strcmp(nest_format_name(nest_formats[f]), only)) ||
			    nest_format_describe(nest_formats[f], feature_sets[i], &info) ||
			    !info.stage2)
				continue;
			memset(&w, 0, sizeof(w));
			w.threads = threads ? threads : 2u << runs % 3;
			w.calls_each = calls / w.threads;
			w.without = without;
			w.seed = seed * 1000 + runs++;
			run(nest_formats[f], feature_sets[i], &total);
		}
	}
	if (!runs) {
		fprintf(stderr, "stress_vm: no second-stage format \"%s\"\n", only ? only : "");
		return 2;
	}
	return judge(&total, without);
}
