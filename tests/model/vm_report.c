/* SPDX-License-Identifier: MIT */
#include "vm_report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vm_calls.h"

enum { CALLS_PER_ROUND = 60 };

unsigned vm_report_cases(struct setup *list)
{
	unsigned n = setup_all(list), kept = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct nest_format_info *f = &list[i].info;

		/* Room for two blocks and what is beside them. */
		if (f->stage2 && list[i].ia_bits > f->page_shift + f->index_bits + 2)
			list[kept++] = list[i];
	}
	return kept;
}

static void run_case(struct vm_world *w, const struct setup *s, uint64_t seed, uint64_t stores)
{
	uint64_t until = w->count.looked_at + stores;

	do {
		if (!vm_world_open(w, s, seed++))
			vm_fail(w, "no VM");
		for (unsigned i = 0; i < CALLS_PER_ROUND; i++)
			vm_calls_make(w);
		vm_world_close(w);
	} while (w->count.looked_at < until);
}

struct named_count {
	const char *what;
	uint64_t count;
	bool may_be_none;
};

/* In a run of all cases each thing that is counted has to come about. */
static bool all_cases;

/* A line of so many of each. False: of one there was none. */
static bool print_counts(const char *title, const struct named_count *c, unsigned n)
{
	bool complete = true;

	printf("%s:", title);
	for (unsigned i = 0; i < n; i++) {
		printf("%s %s %lu", i ? "," : "", c[i].what, (unsigned long)c[i].count);
		if (!c[i].count && !c[i].may_be_none && all_cases) {
			fprintf(stderr, "adversary: %s: not one %s\n", title, c[i].what);
			complete = false;
		}
	}
	printf("\n");
	return complete;
}

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

static bool print_calls(const struct vm_counts *c)
{
	struct named_count calls[VM_OPERATIONS];

	for (unsigned i = 0; i < VM_OPERATIONS; i++)
		calls[i] = (struct named_count){ .what = vm_call_name((enum vm_operation)i),
						 .count = c->calls[i] };
	return print_counts("calls", calls, VM_OPERATIONS);
}

static bool print_statuses(const struct vm_counts *c)
{
	const struct named_count statuses[] = {
		{ "ok", c->status[0], false },
		{ "no memory", c->status[-NEST_E_NOMEM], false },
		{ "not aligned", c->status[-NEST_E_ALIGN], false },
		{ "out of range", c->status[-NEST_E_RANGE], false },
		{ "mapped", c->status[-NEST_E_MAPPED], false },
		{ "not mapped", c->status[-NEST_E_NOTMAPPED], false },
		{ "unsupported", c->status[-NEST_E_UNSUPPORTED], false },
		{ "invalid", c->status[-NEST_E_INVAL], false },
		{ "denied", c->status[-NEST_E_DENIED], false },
		{ "failed allocation", c->short_of_memory, false },
		{ "refused by the host", c->denied_by_host, false },
		{ "half done unmap", c->half_done, true },
	};

	return print_counts("statuses", statuses, LENGTH(statuses));
}

static bool print_exits(const struct vm_counts *c)
{
	const struct named_count exits[] = {
		{ "resume", c->exits[NEST_EXIT_RESUME], false },
		{ "mmio", c->exits[NEST_EXIT_MMIO], false },
		{ "rom write", c->exits[NEST_EXIT_ROM_WRITE], false },
		{ "unmapped", c->exits[NEST_EXIT_UNMAPPED], false },
		{ "marked", c->exits[NEST_EXIT_MARKED], false },
		{ "no address", c->exits[NEST_EXIT_NO_ADDRESS], false },
		{ "error", c->exits[NEST_EXIT_ERROR], false },
	};

	return print_counts("exits", exits, LENGTH(exits));
}

static bool print_frames(const struct vm_counts *c)
{
	const struct named_count frames[] = {
		{ "given", c->given, false },
		{ "larger than a page", c->larger, false },
		{ "none given", c->refused, false },
		{ "given that cannot be mapped", c->bad, false },
		{ "page put", c->put, false },
		{ "page put at once", c->put_at_once, false },
		{ "mark met", c->marks_met, false },
		{ "taken page met", c->taken_met, false },
		{ "page may execute at its fetch", c->late_exec, false },
		{ "dirty page told", c->told_dirty, false },
	};

	return print_counts("frames", frames, LENGTH(frames));
}

static bool print_rest(const struct vm_counts *c)
{
	const struct named_count rest[] = {
		{ "store", c->stores, false },
		{ "store looked at", c->looked_at, false },
		{ "flush", c->flushes, false },
		{ "table freed", c->freed, false },
		{ "walk", c->walks, false },
		{ "access of hardware", c->accesses, false },
		{ "entry audited", c->audited, false },
	};

	return print_counts("tables", rest, LENGTH(rest));
}

int vm_report(const struct setup *list, unsigned n, bool all, uint64_t seed, uint64_t stores)
{
	static struct vm_world w;
	bool complete = true;
	char name[128];

	memset(&w.count, 0, sizeof(w.count));
	all_cases = all;
	for (unsigned i = 0; i < n; i++) {
		setup_name(&list[i], name, sizeof(name));
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%-70s\r", name);
		run_case(&w, &list[i], seed, stores);
	}
	complete &= print_calls(&w.count);
	complete &= print_statuses(&w.count);
	complete &= print_exits(&w.count);
	complete &= print_frames(&w.count);
	complete &= print_rest(&w.count);
	return complete ? 0 : 1;
}
