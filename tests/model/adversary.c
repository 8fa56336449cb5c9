/* SPDX-License-Identifier: MIT */
/*
 * Random operations on every format, under the worst TLB that its manual allows: after every single
 * store, flush and free that an operation performs, each probed address must translate to what it
 * was or to what it is to be, or (where the architecture demands break-before-make) to nothing; and
 * once the gather is synced, only to what it is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calls.h"
#include "vm_report.h"

struct options {
	uint64_t stores, seed, expect, part, parts;
	const char *only;
	bool list, vm;
};

/* The cases of the tables, or of the VMs. */
static unsigned all_cases(const struct options *o, struct setup *list)
{
	return o->vm ? vm_report_cases(list) : setup_all(list);
}

static void add_counts(struct counts *sum, const struct counts *c)
{
	sum->rounds += c->rounds;
	sum->operations += c->operations;
	sum->refused += c->refused;
	sum->short_of_memory += c->short_of_memory;
	sum->stores += c->stores;
	sum->looked_at += c->looked_at;
	sum->flushes += c->flushes;
	sum->freed += c->freed;
	sum->syncs += c->syncs;
	sum->walks += c->walks;
	sum->accesses += c->accesses;
	sum->harvested += c->harvested;
	sum->peers += c->peers;
	sum->shares += c->shares;
	sum->refused_peer += c->refused_peer;
	sum->reserve_changes += c->reserve_changes;
	sum->from_reserve += c->from_reserve;
	sum->by_pages += c->by_pages;
}

static void print_counts(const char *name, const struct counts *c)
{
	printf("%-18s %9lu %8lu %8lu %9lu %9lu %8lu %8lu %11lu %9lu %9lu\n", name,
	       (unsigned long)c->operations, (unsigned long)c->refused,
	       (unsigned long)c->short_of_memory, (unsigned long)c->stores,
	       (unsigned long)c->looked_at, (unsigned long)c->flushes, (unsigned long)c->freed,
	       (unsigned long)c->walks, (unsigned long)c->accesses, (unsigned long)c->harvested);
}

static void run_case(const struct setup *s, uint64_t seed, uint64_t stores, struct counts *sum)
{
	static struct world w;

	memset(&w.count, 0, sizeof(w.count));
	do {
		if (!world_open(&w, s, seed++))
			world_fail(&w, "no table");
		for (unsigned i = 0; i < 24; i++)
			calls_make(&w);
		world_close(&w);
	} while (w.count.looked_at < stores);
	add_counts(sum, &w.count);
}

/* What should have come about in a run of all cases, if it has shown anything. */
static bool is_complete(const struct counts *c)
{
	const struct {
		const char *what;
		uint64_t count;
	} all[] = {
		{ "refused call", c->refused },
		{ "failed allocation", c->short_of_memory },
		{ "flush", c->flushes },
		{ "freed table", c->freed },
		{ "access by hardware", c->accesses },
		{ "harvested page", c->harvested },
		{ "share", c->shares },
		{ "refused change of what is shared", c->refused_peer },
		{ "change of a reserve", c->reserve_changes },
		{ "call that its reserve is enough for", c->from_reserve },
		{ "call of nest/page.h", c->by_pages },
	};
	bool complete = true;

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (!all[i].count)
			fprintf(stderr, "adversary: not one %s\n", all[i].what);
		complete &= all[i].count != 0;
	}
	return complete;
}

static bool is_chosen(const struct options *o, unsigned i, const char *name)
{
	return i % o->parts == o->part && strstr(name, o->only) != NULL;
}

static int run(const struct options *o)
{
	static struct setup list[SETUP_MOST];
	unsigned n = all_cases(o, list), chosen = 0;
	struct counts all = { 0 }, of_format = { 0 };
	char name[128];

	if (o->expect && n != o->expect) {
		fprintf(stderr, "adversary: %u cases, not %lu: what is refused? See --list\n", n,
			(unsigned long)o->expect);
		return 1;
	}
	for (unsigned i = 0; i < n; i++) {
		setup_name(&list[i], name, sizeof(name));
		if (!is_chosen(o, i, name))
			continue;
		if (o->vm)
			list[chosen] = list[i];
		chosen++;
	}
	if (!chosen) {
		fprintf(stderr, "adversary: no such case has \"%s\" in its name; try --list\n",
			o->only);
		return 2;
	}
	printf("%u of %u cases, seed %lu\n", chosen, n, (unsigned long)o->seed);
	if (o->vm)
		return vm_report(list, chosen, chosen == n, o->seed,
				 (o->stores + chosen - 1) / chosen);
	printf("%-18s %9s %8s %8s %9s %9s %8s %8s %11s %9s %9s\n", "format", "calls", "refused",
	       "no mem", "stores", "checked", "flushes", "freed", "walks", "accesses", "harvested");
	for (unsigned i = 0; i < n; i++) {
		setup_name(&list[i], name, sizeof(name));
		if (is_chosen(o, i, name)) {
			if (isatty(STDERR_FILENO))
				fprintf(stderr, "\r%-70s\r", name);
			run_case(&list[i], o->seed, (o->stores + chosen - 1) / chosen, &of_format);
		}
		if (i + 1 == n || list[i + 1].format != list[i].format) {
			if (of_format.rounds)
				print_counts(list[i].info.name, &of_format);
			add_counts(&all, &of_format);
			of_format = (struct counts){ 0 };
		}
	}
	print_counts("all", &all);
	printf("%lu second tables, %lu shares, %lu changes refused to them; %lu changes of "
	       "reserves, %lu calls by a reserve alone\n",
	       (unsigned long)all.peers, (unsigned long)all.shares, (unsigned long)all.refused_peer,
	       (unsigned long)all.reserve_changes, (unsigned long)all.from_reserve);
	return chosen < n || is_complete(&all) ? 0 : 1;
}

static void usage(FILE *to)
{
	fprintf(to,
		"usage: adversary [--vm] [--stores N] [--seed N] [--case TEXT] [--part K/N]\n"
		"                 [--expect N] [--list]\n\n"
		"Random operations on every format and feature set under the worst TLB that the\n"
		"manuals allow; each store is followed by every walk that could come of it.\n\n"
		"  --vm         calls of nest/vm.h on two VMs, instead of calls on a table\n"
		"  --stores N   stores to check, of all cases together (50000); each case runs once\n"
		"               at least\n"
		"  --seed N     of the random numbers (1); a failure prints the seed that repeats it\n"
		"  --case TEXT  only cases with TEXT in their name\n"
		"  --part K/N   only every N-th case, from the K-th on (K from 0)\n"
		"  --expect N   fail unless there are N cases, chosen or not\n"
		"  --list       name the cases and end\n");
}

static bool number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = text ? strtoull(text, &end, 0) : 0;
	return text && *text && *text != '-' && !*end && !errno;
}

static bool part(const char *text, struct options *o)
{
	char *end;

	o->part = text ? strtoull(text, &end, 10) : 0;
	o->parts = text && *end == '/' ? strtoull(end + 1, &end, 10) : 0;
	return o->part < o->parts && !*end;
}

int main(int argc, char **argv)
{
	struct options o = { .stores = 50000, .seed = 1, .only = "", .parts = 1 };

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			usage(stdout);
			return 0;
		}
		if (!strcmp(argv[i], "--list")) {
			o.list = true;
		} else if (!strcmp(argv[i], "--vm")) {
			o.vm = true;
		} else if (!strcmp(argv[i], "--case") && argv[i + 1]) {
			o.only = argv[++i];
		} else if (!(!strcmp(argv[i], "--stores") && number(argv[i + 1], &o.stores)) &&
			   !(!strcmp(argv[i], "--seed") && number(argv[i + 1], &o.seed)) &&
			   !(!strcmp(argv[i], "--part") && part(argv[i + 1], &o)) &&
			   !(!strcmp(argv[i], "--expect") && number(argv[i + 1], &o.expect))) {
			fprintf(stderr, "adversary: what is \"%s\"?\n", argv[i]);
			usage(stderr);
			return 2;
		} else {
			i++;
		}
	}
	if (o.list) {
		static struct setup list[SETUP_MOST];
		unsigned n = all_cases(&o, list);
		char name[128];

		for (unsigned i = 0; i < n; i++) {
			setup_name(&list[i], name, sizeof(name));
			puts(name);
		}
		return 0;
	}
	return run(&o);
}
