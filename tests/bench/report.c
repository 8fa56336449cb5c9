/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

static const char *name_of(const struct result *r)
{
	return r->subject->info.name;
}

void report_table(const struct result *r, unsigned n)
{
	unsigned met = 0;

	printf("%-17s %-19s %9s %9s  %-6s %7s %15s %7s  %-13s\n", "format", "workload", "ns",
	       "limit ns", "per", "ratio", "80 % of rounds", "to SEED", "goal");
	for (unsigned i = 0; i < n; i++, r++) {
		char goal[32], seed[32] = "-";

		if (r->workload->seed)
			snprintf(seed, sizeof(seed), "%.2f", r->seed);
		snprintf(goal, sizeof(goal), r->workload->goal_ns > 0 ? "%.1f ns" : "%.2f",
			 r->target);
		printf("%-17s %-19s %9.3f %9.3f  %-6s %7.2f %7.2f-%-7.2f %7s  %-7s %s\n",
		       name_of(r), r->workload->name, r->ns[ENGINE], r->ns[LIMIT],
		       r->workload->unit, r->ratio, r->least, r->most, seed, goal,
		       r->met ? "met" : "MISSED");
		met += r->met;
	}
	printf("\n%u of %u goals met\n", met, n);
}

static FILE *begin(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		fprintf(stderr, "nest_bench: %s: %s\n", path, strerror(errno));
	return f;
}

static bool finish(FILE *f, const char *path)
{
	bool ok = !ferror(f);

	if (fclose(f) == 0 && ok)
		return true;
	fprintf(stderr, "nest_bench: %s: %s\n", path, strerror(errno));
	return false;
}

bool report_csv(const char *path, const struct result *r, unsigned n)
{
	FILE *f = begin(path);

	if (!f)
		return false;
	fprintf(f,
		"format,workload,unit,ns,limit_ns,ratio,ratio_10,ratio_90,to_seed,value,goal,met,rounds\n");
	for (unsigned i = 0; i < n; i++, r++)
		fprintf(f, "%s,%s,%s,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.2f,%d,%u\n", name_of(r),
			r->workload->name, r->workload->unit, r->ns[ENGINE], r->ns[LIMIT], r->ratio,
			r->least, r->most, r->seed, r->value, r->target, r->met, r->rounds);
	return finish(f, path);
}

bool report_json(const char *path, const struct result *r, unsigned n)
{
	FILE *f = begin(path);

	if (!f)
		return false;
	fprintf(f, "[\n");
	for (unsigned i = 0; i < n; i++, r++)
		fprintf(f,
			"  {\"format\": \"%s\", \"workload\": \"%s\", \"what\": \"%s\", \"unit\": "
			"\"%s\", \"limit\": \"%s\", \"ns\": %.4f, \"limit_ns\": %.4f, \"ratio\": %.4f, "
			"\"ratio_10\": %.4f, \"ratio_90\": %.4f, \"to_seed\": %.4f, \"value\": %.4f, \"goal\": %.2f, "
			"\"met\": %s, \"rounds\": %u}%s\n",
			name_of(r), r->workload->name, r->workload->what, r->workload->unit,
			r->workload->limit, r->ns[ENGINE], r->ns[LIMIT], r->ratio, r->least,
			r->most, r->seed, r->value, r->target, r->met ? "true" : "false", r->rounds,
			i + 1 < n ? "," : "");
	fprintf(f, "]\n");
	return finish(f, path);
}

/* ---- A plot: for each result how far it is on the way to its goal ---- */

enum { ROW = 18, LEFT = 240, WIDTH = 560, TOP = 56 };

/* The goal is in the middle; twice the goal, or more, at the right end. */
static double place(double value)
{
	double width = WIDTH, x = value / 2 * width;

	return x < 2 ? 2 : x > width ? width : x;
}

bool report_svg(const char *path, const struct result *r, unsigned n)
{
	FILE *f = begin(path);
	unsigned height = TOP + ROW * n + 24;

	if (!f)
		return false;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"8\" y=\"20\" font-size=\"15\">libnest beside code written by hand</text>\n"
		"<text x=\"8\" y=\"40\" fill=\"#555\">bar: the median; line in the middle: the goal; "
		"right end: twice the goal or more</text>\n",
		LEFT + WIDTH + 150u, height);
	for (unsigned i = 0; i < n; i++, r++) {
		unsigned y = TOP + ROW * i;

		fprintf(f,
			"<text x=\"8\" y=\"%u\">%s %s</text>"
			"<rect x=\"%u\" y=\"%u\" width=\"%.1f\" height=\"%u\" fill=\"%s\">"
			"<title>%s: %.3f ns, limit %.3f ns a %s</title></rect>"
			"<text x=\"%u\" y=\"%u\">%.2f%s, goal %.2f</text>\n",
			y + 13, name_of(r), r->workload->name, (unsigned)LEFT, y + 3,
			place(r->value / r->target), ROW - 5u, r->met ? "#3b8f4f" : "#c8553d",
			r->workload->what, r->ns[ENGINE], r->ns[LIMIT], r->workload->unit,
			LEFT + WIDTH + 8u, y + 13, r->value, r->workload->goal_ns > 0 ? " ns" : "",
			r->target);
	}
	fprintf(f, "<line x1=\"%u\" y1=\"%u\" x2=\"%u\" y2=\"%u\" stroke=\"black\"/>\n</svg>\n",
		LEFT + WIDTH / 2u, (unsigned)TOP, LEFT + WIDTH / 2u, TOP + ROW * n);
	return finish(f, path);
}
