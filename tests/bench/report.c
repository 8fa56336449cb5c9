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

/* ---- A plot: formats beside one another, each workload in exclusive and in shared mode ---- */

enum { ROW = 17, LEFT = 150, CELL = 55, COLUMN = 2 * CELL + 6, TOP = 76, MOST_ROWS = 128 };

/* The name of the workload, without the mode. */
static size_t stem(const struct result *r)
{
	return strcspn(r->workload->name, "/");
}

static bool is_shared(const struct result *r)
{
	return r->workload->name[stem(r)] != '\0';
}

static bool same_row(const struct result *a, const struct result *b)
{
	return stem(a) == stem(b) && !strncmp(a->workload->name, b->workload->name, stem(a));
}

/* How far beyond its goal it is. */
static const char *colour(double far)
{
	static const struct {
		double most;
		const char *name;
	} steps[] = { { 0.5, "#1a9850" },  { 0.8, "#66bd63" }, { 1, "#a6d96a" },
		      { 1.25, "#fee08b" }, { 1.6, "#fdae61" }, { 2.5, "#f46d43" },
		      { 1e300, "#d73027" } };
	unsigned i = 0;

	while (far > steps[i].most)
		i++;
	return steps[i].name;
}

static void cell(FILE *f, const struct result *r, unsigned x, unsigned y)
{
	const double far = r->value / r->target;

	fprintf(f,
		"<g><title>%s %s: %s. %.3f ns a %s; limit (%s) %.3f ns; %.2f%s, goal %.2f</title>"
		"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\"%s/>"
		"<text x=\"%u\" y=\"%u\" text-anchor=\"middle\">%.2f</text></g>\n",
		name_of(r), r->workload->name, r->workload->what, r->ns[ENGINE], r->workload->unit,
		r->workload->limit, r->ns[LIMIT], r->value, r->workload->goal_ns > 0 ? " ns" : "",
		r->target, x, y, CELL - 2u, ROW - 2u, colour(far), r->met ? "" : " stroke=\"#555\"",
		x + CELL / 2u, y + 12, far);
}

/* The first result of each row, in the order of the workloads; returns how many rows there are. */
static unsigned find_rows(const struct result *r, unsigned n, const struct result **row)
{
	unsigned rows = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;

		while (k < rows && !same_row(row[k], &r[i]))
			k++;
		if (k == rows && rows < MOST_ROWS)
			row[rows++] = &r[i];
	}
	return rows;
}

bool report_svg(const char *path, const struct result *r, unsigned n)
{
	const struct result *row[MOST_ROWS];
	const unsigned rows = find_rows(r, n, row);
	unsigned columns = 0;
	const char *last = "";
	FILE *f = begin(path);

	if (!f)
		return false;
	for (unsigned i = 0; i < n; i++) {
		columns += strcmp(last, name_of(&r[i])) != 0;
		last = name_of(&r[i]);
	}
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"font-family=\"sans-serif\" font-size=\"11\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"8\" y=\"20\" font-size=\"15\">libnest beside code written by hand</text>\n"
		"<text x=\"8\" y=\"38\" fill=\"#555\">time divided by the goal: up to 1.00 (green) the "
		"goal is met; a frame: missed. Left: exclusive mode; right: shared mode</text>\n",
		LEFT + columns * COLUMN + 8, TOP + ROW * rows + 12);
	for (unsigned k = 0; k < rows; k++)
		fprintf(f, "<text x=\"8\" y=\"%u\">%.*s</text>\n", TOP + ROW * k + 12,
			(int)stem(row[k]), row[k]->workload->name);
	columns = 0;
	last = "";
	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0, x;

		if (strcmp(last, name_of(&r[i])) != 0) {
			last = name_of(&r[i]);
			fprintf(f, "<text x=\"%u\" y=\"%u\" font-size=\"12\">%s</text>\n",
				LEFT + columns++ * COLUMN, TOP - 10u, last);
		}
		while (k < rows && !same_row(row[k], &r[i]))
			k++;
		x = LEFT + (columns - 1) * COLUMN + (is_shared(&r[i]) ? CELL : 0u);
		if (k < rows)
			cell(f, &r[i], x, TOP + ROW * k);
	}
	fprintf(f, "</svg>\n");
	return finish(f, path);
}
