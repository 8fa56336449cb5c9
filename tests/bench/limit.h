/* SPDX-License-Identifier: MIT */
/*
 * The limits: what the same work costs without an engine, by code that knows the geometry at
 * compile time and checks nothing. Works on the same tables as the engine does, entry for entry.
 */
#ifndef BENCH_LIMIT_H
#define BENCH_LIMIT_H

#include "bench.h"

#define ALWAYS static inline __attribute__((always_inline))

/* A geometry: compile-time constants wherever it is passed. */
struct geo {
	unsigned page_shift, index_bits, levels;
	unsigned pa_shift; /* of addresses in entries: RISC-V has them two bits lower */
};

ALWAYS unsigned shift_of(struct geo g, unsigned level)
{
	return g.page_shift + g.index_bits * level;
}

ALWAYS uint64_t *table_at(const struct pool *p, nest_pa_t pa)
{
	return (uint64_t *)(void *)(p->memory + pa);
}

ALWAYS nest_pa_t address_in(struct geo g, nest_pte_t e)
{
	return ((e << g.pa_shift) & 0x0000ffffffffffff) >> g.page_shift << g.page_shift;
}

ALWAYS nest_pte_t address_bits(struct geo g, nest_pa_t pa)
{
	return pa >> g.pa_shift;
}

ALWAYS uint64_t index_of(struct geo g, uint64_t ia, unsigned level)
{
	uint64_t i = ia >> shift_of(g, level);

	return level + 1 == g.levels ? i : i & (((uint64_t)1 << g.index_bits) - 1);
}

/* Dependent loads, down to the table of `to`. */
ALWAYS uint64_t *walk(struct geo g, const struct subject *s, uint64_t ia, unsigned to)
{
	uint64_t *t = table_at(s->pool, s->root);

	for (unsigned level = g.levels - 1; level > to; level--)
		t = table_at(s->pool, address_in(g, t[index_of(g, ia, level)]));
	return t;
}

/* The same, with tables made where there are none. */
ALWAYS uint64_t *walk_making(struct geo g, const struct subject *s, uint64_t ia, unsigned to)
{
	uint64_t *t = table_at(s->pool, s->root);

	for (unsigned level = g.levels - 1; level > to; level--) {
		uint64_t *e = &t[index_of(g, ia, level)];

		if (*e == s->absent[level]) {
			nest_pa_t pa = pool_alloc(s->pool);

			t = table_at(s->pool, pa);
			for (unsigned i = 0; i < 1u << g.index_bits; i++)
				t[i] = s->absent[level - 1];
			__atomic_store_n(e, s->table | address_bits(g, pa), __ATOMIC_RELEASE);
		} else {
			t = table_at(s->pool, address_in(g, *e));
		}
	}
	return t;
}

/* `n` leaves of `level` into a table, from frame pa on. */
ALWAYS void fill(struct geo g, const struct subject *s, uint64_t *t, uint64_t n, unsigned level,
		 nest_pa_t pa)
{
	nest_pte_t e = s->leaf[level] | address_bits(g, pa);
	nest_pte_t step = address_bits(g, (nest_pa_t)1 << shift_of(g, level));

	for (uint64_t i = 0; i < n; i++, e += step)
		t[i] = e;
}

/* L1: whole tables of leaves. */
ALWAYS void limit_map(struct geo g, const struct subject *s, uint64_t ia, nest_pa_t pa,
		      uint64_t size)
{
	uint64_t span = (uint64_t)1 << shift_of(g, 1);

	for (uint64_t at = 0; at < size; at += span) {
		uint64_t *dir = walk_making(g, s, ia + at, 1);
		nest_pa_t table = pool_alloc(s->pool);

		fill(g, s, table_at(s->pool, table), (uint64_t)1 << g.index_bits, 0, pa + at);
		__atomic_store_n(&dir[index_of(g, ia + at, 1)], s->table | address_bits(g, table),
				 __ATOMIC_RELEASE);
	}
}

/* Leaves as large as addresses and `most` allow, run by run. */
ALWAYS uint64_t limit_map_sizes(struct geo g, const struct subject *s, uint64_t ia, nest_pa_t pa,
				uint64_t size, unsigned most)
{
	uint64_t entries = 0;

	for (uint64_t at = 0; at < size;) {
		unsigned level = 0;
		uint64_t n, room, unit;

		while (level < most &&
		       !((ia + at) & (((uint64_t)1 << shift_of(g, level + 1)) - 1)) &&
		       size - at >= (uint64_t)1 << shift_of(g, level + 1))
			level++;
		unit = (uint64_t)1 << shift_of(g, level);
		n = (size - at) / unit;
		/* To the end of the table, where larger ones may begin. */
		room = ((uint64_t)1 << g.index_bits) -
		       (((ia + at) / unit) & (((uint64_t)1 << g.index_bits) - 1));
		if (n > room)
			n = room;
		fill(g, s, walk_making(g, s, ia + at, level) + index_of(g, ia + at, level), n,
		     level, pa + at);
		at += n * unit;
		entries += n;
	}
	return entries;
}

/* L3: a walk and one store, a page. */
ALWAYS void limit_store(struct geo g, const struct subject *s, const uint64_t *ia, uint64_t n,
			nest_pte_t bits)
{
	for (uint64_t k = 0; k < n; k++) {
		uint64_t *t = walk_making(g, s, ia[k], 0);

		__atomic_store_n(&t[index_of(g, ia[k], 0)], bits | address_bits(g, ia[k]),
				 __ATOMIC_RELAXED);
	}
}

/* L4: load, change, store, each entry. */
ALWAYS void limit_protect(struct geo g, const struct subject *s, uint64_t ia, uint64_t size)
{
	uint64_t span = (uint64_t)1 << shift_of(g, 1);
	nest_pte_t keep = ~s->writable, to = s->other;

	for (uint64_t at = 0; at < size; at += span) {
		uint64_t *t = walk(g, s, ia + at, 0);

		for (unsigned i = 0; i < 1u << g.index_bits; i++)
			__atomic_store_n(&t[i],
					 (__atomic_load_n(&t[i], __ATOMIC_RELAXED) & keep) | to,
					 __ATOMIC_RELAXED);
	}
}

/* L5: a directory's entries go, and each table back to the allocator. */
ALWAYS void limit_drop(struct geo g, const struct subject *s, uint64_t ia, uint64_t size)
{
	uint64_t span = (uint64_t)1 << shift_of(g, 1);

	for (uint64_t at = 0; at < size; at += span) {
		uint64_t *e = &walk(g, s, ia + at, 1)[index_of(g, ia + at, 1)];
		nest_pa_t table = address_in(g, *e);

		__atomic_store_n(e, s->absent[1], __ATOMIC_RELAXED);
		pool_free(s->pool, table);
	}
}

/* A leaf of level 1 becomes a table, in which one page has other rights. */
ALWAYS void limit_split(struct geo g, const struct subject *s, const uint64_t *ia, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++) {
		uint64_t *e = &walk(g, s, ia[k], 1)[index_of(g, ia[k], 1)];
		nest_pa_t table = pool_alloc(s->pool), pa = address_in(g, *e);
		uint64_t *t = table_at(s->pool, table);

		pa = pa >> shift_of(g, 1) << shift_of(g, 1);
		fill(g, s, t, (uint64_t)1 << g.index_bits, 0, pa);
		t[index_of(g, ia[k], 0)] = (t[index_of(g, ia[k], 0)] & ~s->writable) | s->other;
		__atomic_store_n(e, s->table | address_bits(g, table), __ATOMIC_RELEASE);
	}
}

/* Every entry is looked at; the dirty ones become clean, and a bit in the bitmap. */
ALWAYS void limit_harvest(struct geo g, const struct subject *s, uint64_t ia, uint64_t size,
			  uint64_t *bitmap)
{
	uint64_t span = (uint64_t)1 << shift_of(g, 1), bit = 0;

	for (uint64_t at = 0; at < size; at += span) {
		uint64_t *t = walk(g, s, ia + at, 0);

		for (unsigned i = 0; i < 1u << g.index_bits; i++, bit++) {
			nest_pte_t e = __atomic_load_n(&t[i], __ATOMIC_RELAXED);

			if ((e & s->dirty) != (s->leaf[0] & s->dirty))
				continue;
			bitmap[bit / 64] |= (uint64_t)1 << bit % 64;
			(void)__atomic_fetch_xor(&t[i], s->dirty, __ATOMIC_RELAXED);
		}
	}
}

/* ---- One copy of each for each geometry ---- */

/* Calls F(geometry, ...) with the subject's geometry as constants. */
#define WITH_GEO(s, F, ...)                                                                        \
	do {                                                                                       \
		unsigned pa_shift_ = (s)->format == &nest_fmt_riscv_g ? 2 : 0;                     \
		switch ((s)->info.page_shift * 100 + (s)->levels * 10 + pa_shift_) {               \
		case 1230:                                                                         \
			F(((struct geo){ 12, 9, 3, 0 }), __VA_ARGS__);                             \
			break;                                                                     \
		case 1240:                                                                         \
			F(((struct geo){ 12, 9, 4, 0 }), __VA_ARGS__);                             \
			break;                                                                     \
		case 1242:                                                                         \
			F(((struct geo){ 12, 9, 4, 2 }), __VA_ARGS__);                             \
			break;                                                                     \
		case 1430:                                                                         \
			F(((struct geo){ 14, 11, 3, 0 }), __VA_ARGS__);                            \
			break;                                                                     \
		case 1440:                                                                         \
			F(((struct geo){ 14, 11, 4, 0 }), __VA_ARGS__);                            \
			break;                                                                     \
		case 1630:                                                                         \
			F(((struct geo){ 16, 13, 3, 0 }), __VA_ARGS__);                            \
			break;                                                                     \
		default:                                                                           \
			__builtin_trap();                                                          \
		}                                                                                  \
	} while (0)

#endif
