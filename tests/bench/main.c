/* SPDX-License-Identifier: MIT */
/*
 * nest_bench: every workload for every second-stage format, beside its limit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* The tables of 1 TiB of 4 KiB pages, and the tables above them. */
#define LARGE_POOL ((uint64_t)2200 << 20)
#define SMALL_POOL ((uint64_t)256 << 20)

struct options {
	unsigned rounds;
	const char *filter, *csv, *json, *svg;
	bool list, small;
};

double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

uint64_t random_below(uint64_t n)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double quantile(double *v, unsigned n, double q)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(unsigned)(q * (n - 1) + 0.5)];
}

static void measure(struct subject *s, const struct workload *w, unsigned rounds, struct result *r)
{
	double ns[SIDES][MOST_ROUNDS], ratio[MOST_ROUNDS], seed[MOST_ROUNDS];
	const unsigned sides = w->seed ? SIDES : SEED;

	for (unsigned i = 0; i < rounds; i++) {
		for (unsigned side = 0; side < sides; side++) {
			/* Each goes first in its turn. */
			enum side now = (enum side)((side + i) % sides);
			uint64_t count = 1;
			double t = w->run(s, now, &count);

			ns[now][i] = t / (double)count;
		}
		ratio[i] = ns[ENGINE][i] / ns[LIMIT][i];
		seed[i] = w->seed ? ns[ENGINE][i] / ns[SEED][i] : 0;
	}
	*r = (struct result){ .subject = s,
			      .workload = w,
			      .rounds = rounds,
			      .ratio = quantile(ratio, rounds, 0.5),
			      .seed = quantile(seed, rounds, 0.5),
			      .least = quantile(ratio, rounds, 0.1),
			      .most = quantile(ratio, rounds, 0.9) };
	for (unsigned side = 0; side < sides; side++)
		r->ns[side] = quantile(ns[side], rounds, 0.5);
	r->value = w->goal_ns > 0 ? r->ns[ENGINE] : r->ratio;
	r->target = w->goal_ns > 0 ? w->goal_ns : w->goal + 8.0 * w->locks / r->ns[LIMIT];
	r->met = r->value <= r->target && (!w->seed || r->seed < 1);
}

/* Before pin(). */
static unsigned bench_cpus(void)
{
	cpu_set_t all;

	return sched_getaffinity(0, sizeof(all), &all) ? 1 : (unsigned)CPU_COUNT(&all);
}

static bool pin(void)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu < 0 ? 0u : (unsigned)cpu, &one);
	return !sched_setaffinity(0, sizeof(one), &one);
}

static bool is_chosen(const struct options *o, const struct nest_format_info *info,
		      const struct workload *w)
{
	char name[96];

	snprintf(name, sizeof(name), "%s/%s", info->name, w->name);
	return strstr(name, o->filter) && !(o->small && w->large);
}

static unsigned run(const struct options *o, struct pool *pool, struct result *results)
{
	unsigned n = 0;

	for (unsigned f = 0; nest_formats[f]; f++) {
		for (unsigned i = 0; i < nr_workloads; i++) {
			const struct workload *w = &workloads[i];
			struct subject *s = malloc(sizeof(*s));

			if (!s)
				abort();
			if (!subject_make(s, nest_formats[f], w->features, pool) ||
			    !s->info.stage2 || !is_chosen(o, &s->info, w)) {
				free(s);
				continue;
			}
			if (o->list) {
				printf("%s/%s\n", s->info.name, w->name);
				free(s);
				continue;
			}
			if (isatty(STDERR_FILENO))
				fprintf(stderr, "\r\033[K%s/%s", s->info.name, w->name);
			measure(s, w, o->rounds, &results[n++]);
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	return n;
}

/* Where the growth to 1 TiB is measured, too. */
static void print_latencies(const struct options *o, struct pool *pool)
{
	const uint64_t size = (uint64_t)1 << 40, budget = 512;

	for (unsigned f = 0; nest_formats[f] && !o->small; f++) {
		struct subject s;

		if (!subject_make(&s, nest_formats[f], 0, pool) || !s.info.stage2 ||
		    !strstr("latency", o->filter))
			continue;
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r\033[K%s/latency", s.info.name);
		latency(&s, size, budget);
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* From one thread to as many as there are CPUs. */
static void print_scaling(const struct options *o, struct pool *pool, unsigned cpus)
{
	for (unsigned f = 0; nest_formats[f]; f++) {
		struct subject s;

		if (!subject_make(&s, nest_formats[f], 0, pool) || !s.info.stage2 ||
		    !strstr("scaling", o->filter))
			continue;
		scaling(&s, cpus, o->rounds < 3 ? 1 : 3);
	}
}

static void usage(FILE *to)
{
	fprintf(to,
		"usage: nest_bench [OPTION...]\n\n"
		"Every workload for every second-stage format, beside the limit: code written by hand\n"
		"for the same tables. Both run in turn, pinned to one CPU; the median counts.\n\n"
		"  --filter TEXT  only what has TEXT in \"FORMAT/WORKLOAD\"\n"
		"  --list         name them, and end\n"
		"  --rounds N     of each (11; at most %d)\n"
		"  --small        without what fills 1 TiB, which needs 2.2 GiB of memory\n"
		"  --quick        the same by 3 rounds: about a minute\n"
		"  --csv FILE, --json FILE, --svg FILE\n"
		"                 write the figures, or a plot of them, too\n",
		MOST_ROUNDS);
}

static bool parse(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *value = argv[i + 1];

		if (!strcmp(a, "--list")) {
			o->list = true;
		} else if (!strcmp(a, "--small")) {
			o->small = true;
		} else if (!strcmp(a, "--quick")) {
			o->small = true;
			o->rounds = 3;
		} else if (!value) {
			fprintf(stderr, "nest_bench: what is \"%s\"?\n", a);
			return false;
		} else if (!strcmp(a, "--filter")) {
			o->filter = argv[++i];
		} else if (!strcmp(a, "--csv")) {
			o->csv = argv[++i];
		} else if (!strcmp(a, "--json")) {
			o->json = argv[++i];
		} else if (!strcmp(a, "--svg")) {
			o->svg = argv[++i];
		} else if (!strcmp(a, "--rounds")) {
			char *end;
			unsigned long n = strtoul(argv[++i], &end, 10);

			if (*end || n < 1 || n > MOST_ROUNDS) {
				fprintf(stderr, "nest_bench: rounds: 1 to %d, not \"%s\"\n",
					MOST_ROUNDS, argv[i]);
				return false;
			}
			o->rounds = (unsigned)n;
		} else {
			fprintf(stderr, "nest_bench: what is \"%s\"?\n", a);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options o = { .rounds = 11, .filter = "" };
	static struct result results[1024];
	static struct pool pool;
	const unsigned cpus = bench_cpus();
	unsigned n;
	bool ok = true;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			usage(stdout);
			return 0;
		}
	}
	if (!parse(argc, argv, &o)) {
		usage(stderr);
		return 2;
	}
	if (!o.list && !pin())
		fprintf(stderr, "nest_bench: not pinned to one CPU: %s\n", strerror(errno));
	if (!o.list && !pool_make(&pool, o.small ? SMALL_POOL : LARGE_POOL)) {
		fprintf(stderr, "nest_bench: no memory for tables; try --small\n");
		return 2;
	}
	n = run(&o, &pool, results);
	if (o.list)
		return 0;
	if (!n && strcmp(o.filter, "latency") != 0 && strcmp(o.filter, "scaling") != 0) {
		fprintf(stderr, "nest_bench: nothing has \"%s\" in its name; try --list\n",
			o.filter);
		return 2;
	}
	report_table(results, n);
	print_latencies(&o, &pool);
	print_scaling(&o, &pool, cpus);
	ok &= !o.csv || report_csv(o.csv, results, n);
	ok &= !o.json || report_json(o.json, results, n);
	ok &= !o.svg || report_svg(o.svg, results, n);
	return ok ? 0 : 1;
}
