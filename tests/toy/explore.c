/* SPDX-License-Identifier: MIT */
/*
 * Every sequence of up to N operations on the toy format: map, remap (other frames), unmap,
 * protect, mark, split (to each level) and merge, over every aligned range (1, 2, 4 ... 64 pages at
 * a multiple of its size) and with two attributes. Each is run against a flat array, looked at
 * after every store, and with every single allocation in it failing once.
 *
 * Sequences are not run one by one: states are. A state is what the tables hold, each leaf's frame
 * counted from its address. Breadth first, every operation is made in every state that N - 1
 * operations can lead to. Three things keep that finite:
 *
 *  - Two states are one if they differ only in the order of subtrees that may change places: the
 *    two members of a pair of entries (a group), and the two pairs of a table. Ranges are as
 *    symmetric, so what can be done in one can be done in the other. Lost is the order in which the
 *    engine goes over them, left to right.
 *  - Nor do the names of the two attributes matter: states that differ in them alone are one.
 *  - An operation looks at nothing but its surroundings: what its range holds; the entries on the
 *    way down to it, with the other member of their group; and of each table on the way, whether
 *    anything else is left in it. Where these are as they have been before, with the same place
 *    inside, the same thing would be checked again: the operation is made for where it leads, and
 *    not looked at (--everything: looked at nevertheless).
 *
 * No part of a state is the leaf that a table remembers (nest_pt.page_made): it decides how fast
 * one is made, not which. Every operation finds the same one there, that of the first attribute; so
 * those with it begin with a hit, those with the other one with a replacement.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format.h"
#include "toy_world.h"

/* One byte an entry, a table's entries after its own; the root has none. */
enum { NOTHING, TABLE, MARKED, LEAF = 4, OTHER_ATTR = 1, OTHER_FRAME = 2, GROUPED = 8 };
enum { CODE = 4 * (1 + 4 * (1 + 4)), RANGES = 2 * TOY_PAGES - 1, FRAME_SHIFT = 64 };
static const uint64_t frames_at = 0x100000;

struct code {
	uint8_t length;
	uint8_t at[CODE];
};

/* ---- Sets of 64-bit digests: two that differ are taken for one with a chance of 2^-64 ---- */

struct set {
	uint64_t *slot;
	size_t size, count;
};

static bool set_add(struct set *s, uint64_t key)
{
	size_t i;

	key += !key;
	if (s->count * 2 >= s->size) {
		struct set larger = { .size = s->size ? s->size * 2 : 1024 };

		larger.slot = calloc(larger.size, sizeof(*larger.slot));
		if (!larger.slot)
			fail_msg("no memory for %zu states", larger.size);
		for (size_t k = 0; k < s->size; k++) {
			if (s->slot[k])
				(void)set_add(&larger, s->slot[k]);
		}
		free(s->slot);
		*s = larger;
	}
	for (i = key & (s->size - 1); s->slot[i]; i = (i + 1) & (s->size - 1)) {
		if (s->slot[i] == key)
			return false;
	}
	s->slot[i] = key;
	s->count++;
	return true;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
	h = (h ^ value) * 0x9e3779b97f4a7c15;
	h ^= h >> 32;
	return h * 0xd6e8feb86659fd93 ^ h >> 29;
}

static uint64_t digest(const struct code *c)
{
	uint64_t h = c->length;

	for (unsigned i = 0; i < c->length; i += 8) {
		uint64_t part = 0;

		memcpy(&part, c->at + i, c->length - i < 8 ? c->length - i : 8u);
		h = mix(h, part);
	}
	return h;
}

/* ---- States as codes ---- */

static bool is_table(uint64_t e)
{
	return (e & 3) == 1;
}

static uint64_t table_of(uint64_t e)
{
	return e & 0xffffffffffe0;
}

/* The entry for pages from `page` on; `swap`: with the attributes' names exchanged. */
static uint8_t entry_code(uint64_t e, unsigned page, bool swap)
{
	uint64_t frame = table_of(e) - frames_at;
	bool other = (e >> 60 & 7) == NEST_R;

	if (is_table(e))
		return TABLE;
	if ((e & 3) != 3)
		return e ? MARKED : NOTHING;
	return (uint8_t)(LEAF | (other != swap ? OTHER_ATTR : 0) |
			 (frame != (uint64_t)page * TOY_PAGE ? OTHER_FRAME : 0) |
			 (e >> 63 ? GROUPED : 0));
}

static int compare(const struct code *a, const struct code *b)
{
	return a->length != b->length ? a->length - b->length : memcmp(a->at, b->at, a->length);
}

static void append(struct code *to, const struct code *c)
{
	memcpy(to->at + to->length, c->at, c->length);
	to->length = (uint8_t)(to->length + c->length);
}

/* A table's code: members of a pair, and pairs, in the order of their codes. */
static void table_code(struct world *w, uint64_t table, unsigned level, unsigned page, bool swap,
		       struct code *out)
{
	struct code part[4], pair[2];

	for (unsigned i = 0; i < 4; i++) {
		unsigned at = page + (i << 2 * level);
		uint64_t e = world_table(w, table)[i];

		part[i] = (struct code){ .length = 1, .at = { entry_code(e, at, swap) } };
		if (is_table(e)) {
			struct code below;

			table_code(w, table_of(e), level - 1, at, swap, &below);
			append(&part[i], &below);
		}
	}
	for (unsigned p = 0; p < 2; p++) {
		bool turn = compare(&part[2 * p], &part[2 * p + 1]) > 0;

		pair[p] = part[2 * p + turn];
		append(&pair[p], &part[2 * p + !turn]);
	}
	out->length = 0;
	append(out, &pair[compare(&pair[0], &pair[1]) > 0]);
	append(out, &pair[compare(&pair[0], &pair[1]) <= 0]);
}

static void world_code(struct world *w, struct code *out)
{
	struct code swapped;

	table_code(w, nest_pt_root(&w->pt), 2, 0, false, out);
	table_code(w, nest_pt_root(&w->pt), 2, 0, true, &swapped);
	if (compare(&swapped, out) < 0)
		*out = swapped;
}

/* The tables that a code stands for, and the flat array with them. */
static const uint8_t *fill_table(struct world *w, uint64_t table, unsigned level, unsigned page,
				 const uint8_t *code)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned at = page + (i << 2 * level), c = *code++;
		uint64_t *e = &world_table(w, table)[i];
		uint64_t pa = frames_at +
			      (uint64_t)(at + (c & OTHER_FRAME ? FRAME_SHIFT : 0)) * TOY_PAGE;
		nest_attr_t attr = c & OTHER_ATTR ? NEST_R : NEST_RWX;

		if (c == TABLE) {
			uint64_t below = w->host.alloc(w, TOY_PAGE);

			*e = below | 1;
			w->pt.nr_tables++;
			code = fill_table(w, below, level - 1, at, code);
			continue;
		}
		*e = 0;
		if (c == MARKED)
			*e = 7 << 12 | 1 << 3; /* the value that steps mark with */
		else if (c & LEAF)
			*e = pa | 3 | (uint64_t)attr << 60 | (uint64_t)(c & GROUPED ? 1 : 0) << 63;
		for (unsigned p = 0; p < 1u << 2 * level; p++)
			w->flat[at + p] =
				(struct page){ .mapped = (c & LEAF) != 0,
					       .marked = c == MARKED,
					       .pa = c & LEAF ? pa + (uint64_t)p * TOY_PAGE : 0,
					       .attr = c & LEAF ? attr : 0 };
	}
	return code;
}

/* ---- Surroundings ---- */

/* For every aligned range: has its like not been looked at? In the order of all_ranges[]. */
struct around {
	struct world *w;
	struct set *known;
	bool is_new[RANGES];
};

/* The number of the range of `count` pages at `first`: all of them, then halves, and so on. */
static unsigned range_number(unsigned first, unsigned count)
{
	return TOY_PAGES / count - 1 + first / count;
}

static void note(struct around *a, unsigned first, unsigned count, uint64_t key)
{
	a->is_new[range_number(first, count)] = set_add(a->known, mix(key, count));
}

/* What hangs below an entry. */
static uint64_t subtree(struct world *w, uint64_t e, unsigned level, unsigned page)
{
	uint64_t h = mix(1, entry_code(e, page, false));

	for (unsigned i = 0; i < 4 && is_table(e); i++)
		h = mix(h, subtree(w, world_table(w, table_of(e))[i], level - 1,
				   page + (i << 2 * (level - 1))));
	return h;
}

static void look_around(struct around *a, uint64_t table, unsigned level, unsigned page,
			uint64_t way)
{
	const uint64_t *t = world_table(a->w, table);
	unsigned span = 1u << 2 * level;

	for (unsigned i = 0; i < 4; i++) {
		unsigned at = page + i * span;
		uint64_t others = t[i ^ 1] | t[i ^ 2] | t[i ^ 3];
		uint64_t here = mix(way, level << 1 | (others != 0));

		here = mix(here, entry_code(t[i ^ 1], page + (i ^ 1) * span, false));
		note(a, at, span, mix(mix(here, 2), subtree(a->w, t[i], level, at)));
		if (is_table(t[i])) {
			look_around(a, table_of(t[i]), level - 1, at, mix(here, 3));
			continue;
		}
		/* Parts of a page, of a mark or of nothing. */
		for (unsigned count = span / 2; count; count /= 2) {
			for (unsigned first = 0; first < span; first += count)
				note(a, at + first, count,
				     mix(mix(here, 4 + first), entry_code(t[i], at, false)));
		}
	}
	for (unsigned p = 0; p < 4; p += 2) {
		uint64_t h = mix(way, 5 + (level << 4) + ((t[p ^ 2] | t[p ^ 3]) != 0));

		h = mix(h, subtree(a->w, t[p], level, page + p * span));
		note(a, page + p * span, 2 * span,
		     mix(h, subtree(a->w, t[p + 1], level, page + (p + 1) * span)));
	}
	if (level == 2) {
		for (unsigned i = 0; i < 4; i++)
			way = mix(way, subtree(a->w, t[i], level, i * span));
		note(a, 0, TOY_PAGES, way);
	}
}

/* ---- Exploring ---- */

static const struct step operations[] = {
	{ .kind = MAP, .attr = NEST_RWX },
	{ .kind = MAP, .attr = NEST_R },
	{ .kind = REPLACE, .attr = NEST_RWX, .shift = FRAME_SHIFT },
	{ .kind = REPLACE, .attr = NEST_R, .shift = FRAME_SHIFT },
	{ .kind = SPARSE },
	{ .kind = PROTECT, .attr = NEST_RWX },
	{ .kind = PROTECT, .attr = NEST_R },
	{ .kind = MARK },
	{ .kind = SPLIT0 },
	{ .kind = SPLIT1 },
	{ .kind = MERGE },
};
enum { OPERATIONS = sizeof(operations) / sizeof(*operations) };

struct frontier {
	struct code *code;
	size_t count, room;
};

static void frontier_add(struct frontier *f, const struct code *c)
{
	if (f->count == f->room) {
		f->room = f->room ? f->room * 2 : 1024;
		f->code = realloc(f->code, f->room * sizeof(*f->code));
		if (!f->code)
			fail_msg("no memory for %zu states", f->room);
	}
	f->code[f->count++] = *c;
}

struct exploration {
	const struct toy_variant *variant;
	struct world empty;
	struct set states, surroundings;
	bool everything;
	unsigned long made; /* operations, looked at or not */
};

/* Every operation in one state; where they lead goes to `next`, if that is not NULL. */
static void explore_state(struct exploration *x, const struct code *c, struct frontier *next)
{
	static struct world w, after;
	struct around a = { .w = &w, .known = &x->surroundings };

	world_copy(&w, &x->empty);
	fill_table(&w, nest_pt_root(&w.pt), 2, 0, c->at);
	look_around(&a, nest_pt_root(&w.pt), 2, 0, 0);
	for (unsigned count = 1; count <= TOY_PAGES; count *= 2) {
		for (unsigned first = 0; first < TOY_PAGES; first += count) {
			bool look = a.is_new[range_number(first, count)] || x->everything;

			for (unsigned o = 0; o < OPERATIONS && (look || next); o++) {
				struct step s = operations[o];
				struct code to;

				s.first = first;
				s.count = count;
				world_copy(&after, &w);
				x->made++;
				if (look)
					world_step_failing(&after, &s);
				else
					world_go(&after, &s);
				if (!next)
					continue;
				world_code(&after, &to);
				if (set_add(&x->states, digest(&to)))
					frontier_add(next, &to);
			}
		}
	}
}

/* An empty table that remembers a leaf. */
static void start(struct world *w, const struct toy_variant *variant)
{
	world_start(w, variant);
	world_go(w, &(struct step){ .kind = MAP, .count = 1, .attr = NEST_RWX });
	world_go(w, &(struct step){ .kind = UNMAP, .count = 1 });
	assert_true(toy_is_small || w->pt.page_made);
}

/*
 * States that up to 0, 1, 2, 3 operations lead to, as they were when they were last looked into.
 * Each is checked by itself; but one that is missing tells that an operation no longer does what it
 * did, which no check of a single state can see.
 */
static const size_t recorded[2][4] = { { 1, 21, 796, 26925 }, { 1, 21, 840, 30382 } };

static void compare_states(const struct toy_variant *variant, unsigned d, size_t states)
{
	/* The small engine does not put a block in place of a table. */
	if (d > 4 || (d == 4 && toy_is_small))
		return;
	if (states != recorded[variant->features != 0][d - 1])
		fail_msg("%s: %u operations lead to %zu states, and have led to %zu", variant->name,
			 d - 1, states, recorded[variant->features != 0][d - 1]);
}

static void explore(const struct toy_variant *variant, unsigned depth, bool everything)
{
	static struct exploration x;
	struct frontier now = { 0 };
	struct code first;
	unsigned long steps = world_steps, stores = world_stores;

	x = (struct exploration){ .variant = variant, .everything = everything };
	start(&x.empty, variant);
	world_code(&x.empty, &first);
	(void)set_add(&x.states, digest(&first));
	frontier_add(&now, &first);
	for (unsigned d = 1; d <= depth; d++) {
		struct frontier next = { 0 };

		for (size_t i = 0; i < now.count; i++) {
			explore_state(&x, &now.code[i], d < depth ? &next : NULL);
			if (i % 1024 == 0 && isatty(STDERR_FILENO))
				fprintf(stderr, "\r%s, operation %u: %zu of %zu states ",
					variant->name, d, i, now.count);
		}
		printf("%s, operation %u: from %zu states%s\n", variant->name, d, now.count,
		       d < depth ? "" : ", the last");
		fflush(stdout);
		compare_states(variant, d, now.count);
		free(now.code);
		now = next;
	}
	printf("%s: %zu states, %zu surroundings, %lu operations made, %lu of them looked at, %lu "
	       "stores\n",
	       variant->name, x.states.count, x.surroundings.count, x.made, world_steps - steps,
	       world_stores - stores);
	free(x.states.slot);
	free(x.surroundings.slot);
}

static unsigned depth = 3;
static bool everything;

static void every_sequence_of_operations(void **state)
{
	(void)state;
	for (unsigned v = 0; v < TOY_VARIANTS; v++) {
		if (NEST_HAS_CONTIG || !toy_variants[v].features)
			explore(&toy_variants[v], depth, everything);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_sequence_of_operations) };

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--everything")) {
			everything = true;
		} else if (strlen(argv[i]) == 1 && argv[i][0] >= '1' && argv[i][0] <= '6') {
			depth = (unsigned)(argv[i][0] - '0');
		} else {
			printf("usage: explore [--everything] [N]\n\n"
			       "Every sequence of up to N operations (1 to 6; 3) on the toy format.\n\n"
			       "  --everything  look at each operation, whether its like has been\n"
			       "                looked at or not\n");
			return strcmp(argv[i], "--help") && strcmp(argv[i], "-h") ? 2 : 0;
		}
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
