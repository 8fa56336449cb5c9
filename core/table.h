/* SPDX-License-Identifier: MIT */
/*
 * Tables: where they are in memory, what their entries stand for, and where they come from.
 *
 * Inside the engine an address is an offset: 0 .. 2^ia_bits - 1, whatever half it came from, and a
 * range is [first, last], so that nothing ever wraps.
 */
#ifndef NEST_CORE_TABLE_H
#define NEST_CORE_TABLE_H

#include "core/entry.h"

/* ---- Places ---- */

/* An entry, or in a table of pages a run of them, and [off, stop] of it in a range. */
struct nest_at {
	nest_pte_t *t; /* the table's first entry */
	uint64_t i;
	uint64_t off, stop;
	nest_pte_t e; /* what the entry held, when it was looked at */
	unsigned level;
};

/* ---- Table memory ---- */

/*
 * How the address of a table becomes a pointer. A walk copies this first: the loads of entries are
 * barriers, after which the compiler would have to read the fields again.
 */
struct nest_view {
	void *(*to_virt)(void *ctx, nest_pa_t pa);
	void *ctx;
	uint64_t linear_offset;
};

NEST_INLINE struct nest_view nest_view(const struct nest_pt *pt)
{
	return (struct nest_view){ pt->host->to_virt, pt->ctx, pt->host->linear_offset };
}

NEST_INLINE void *nest_view_va(const struct nest_view *v, nest_pa_t pa)
{
	if (v->to_virt)
		return v->to_virt(v->ctx, pa);
	return (void *)(uintptr_t)(pa + v->linear_offset);
}

/* ---- Small helpers (table_inline.h) ---- */

NEST_ONCE void *nest_va(const struct nest_pt *pt, nest_pa_t pa);
NEST_ONCE void nest_sync_entries(const struct nest_pt *pt, const nest_pte_t *p, uint64_t n);
NEST_ONCE NEST_PURE uint64_t nest_span_mask(const struct nest_fmt *f, unsigned level);
/* Index of the entry for `off` in the table of `level` that holds it. */
NEST_ONCE NEST_PURE uint64_t nest_index(const struct nest_fmt *f, const struct nest_pt *pt,
					unsigned level, uint64_t off);
/* Last offset that the table of `level` holding `off` translates. */
NEST_ONCE NEST_PURE uint64_t nest_table_last(const struct nest_fmt *f, const struct nest_pt *pt,
					     unsigned level, uint64_t off);
/*
 * Down to the entry for `off` that is no pointer, or of level `lowest`. Returns its level; it
 * stands at *p and was *e.
 */
NEST_ONCE unsigned nest_walk_to(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
				unsigned lowest, nest_pte_t **p, nest_pte_t *e);
/*
 * The kind of an entry that the engine wrote. An empty LoongArch directory entry, which points to a
 * table of nothing, is NEST_PTE_NONE.
 */
NEST_ONCE NEST_PURE enum nest_pte_kind nest_kind(const struct nest_fmt *f, const struct nest_pt *pt,
						 unsigned level, nest_pte_t e);
/*
 * Has another CPU taken this entry while it changes it, or does its table wait to be freed? Then
 * begin again at the root.
 */
NEST_ONCE NEST_PURE bool nest_is_busy(const struct nest_fmt *f, const struct nest_pt *pt,
				      unsigned level, nest_pte_t e);
/* Offset to caller's address and back; NEST_E_RANGE for an address that the table does not hold. */
NEST_ONCE NEST_PURE uint64_t nest_fmt_off_to_ia(const struct nest_fmt *f, const struct nest_pt *pt,
						uint64_t off);
NEST_ONCE int nest_fmt_ia_to_off(const struct nest_fmt *f, const struct nest_pt *pt, nest_ia_t ia,
				 uint64_t *off);
/* A validated range of whole pages, or the error that the public call returns. */
NEST_ONCE int nest_range(const struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t *first,
			 uint64_t *last);

/* ---- Geometry ---- */

/* log2 of what one entry of `level` covers; the whole table's for level top + 1. */
NEST_INLINE unsigned nest_shift(const struct nest_fmt *f, unsigned level)
{
	return nest_fmt_shift(f, level);
}

NEST_INLINE uint64_t nest_entries(const struct nest_fmt *f, const struct nest_pt *pt,
				  unsigned level)
{
	if (level == pt->top)
		return (uint64_t)1 << (pt->ia_bits - nest_shift(f, level));
	return (uint64_t)1 << f->index_bits;
}

/*
 * The walk of a reader: down to the entry for `off` that is no pointer. Levels are constants here,
 * so that no shift in a specialised walk is by a variable.
 */
NEST_INLINE bool nest_walk_step(const struct nest_fmt *f, const struct nest_pt *pt,
				const struct nest_view *v, uint64_t off, unsigned level,
				nest_pte_t **p, nest_pte_t *e)
{
	nest_pte_t *t;

	*e = nest_load(*p);
	if (level == 0 || nest_kind(f, pt, level, *e) != NEST_PTE_TABLE)
		return false;
	t = nest_view_va(v, f->table_pa(*e));
	*p = &t[off >> nest_shift(f, level - 1) & (NEST_BIT(f->index_bits) - 1)];
	return true;
}

NEST_INLINE unsigned nest_walk_by(const struct nest_fmt *f, const struct nest_pt *pt,
				  const struct nest_view *v, uint64_t off, nest_pte_t **p,
				  nest_pte_t *e)
{
	const unsigned top = pt->top;
	nest_pte_t *root = nest_view_va(v, pt->root);

	*p = &root[off >> nest_shift(f, top)];
	if (top >= 4 && !nest_walk_step(f, pt, v, off, 4, p, e))
		return 4;
	if (top >= 3 && !nest_walk_step(f, pt, v, off, 3, p, e))
		return 3;
	if (top >= 2 && !nest_walk_step(f, pt, v, off, 2, p, e))
		return 2;
	if (top >= 1 && !nest_walk_step(f, pt, v, off, 1, p, e))
		return 1;
	(void)nest_walk_step(f, pt, v, off, 0, p, e);
	return 0;
}

/*
 * Without host.to_virt the walk is inlined. With it a function of the format does the walk: calls
 * of to_virt in the middle would cost the caller its registers.
 */
NEST_INLINE unsigned nest_walk(const struct nest_fmt *f, const struct nest_pt *pt, uint64_t off,
			       nest_pte_t **p, nest_pte_t *e)
{
	const struct nest_view v = nest_view(pt), linear = { .linear_offset = v.linear_offset };
	nest_pte_t *at, found;
	unsigned level;

	if (NEST_SMALL)
		return nest_walk_to(f, pt, off, 0, p, e);
	if (!v.to_virt)
		return nest_walk_by(f, pt, &linear, off, p, e);
	level = pt->format->walk(pt, off, &at, &found);
	*p = at;
	*e = found;
	return level;
}

NEST_INLINE bool nest_is_shared(const struct nest_pt *pt)
{
	return NEST_HAS_SHARED && (pt->flags & NEST_PT_SHARED) != 0;
}

/* Has init succeeded and destroy not been called? */
NEST_INLINE bool nest_is_live(const struct nest_pt *pt)
{
	return pt && pt->format;
}

/*
 * nest_pt.quick: what core/fast.h may do. READ: tables are in the linear map. TAKE: also, entries
 * can be changed without host.sync, and no root entry is shared with another table. CHANGE: also,
 * pages can be mapped and rights given without host.allow.
 */
#define NEST_QUICK_READ   ((uint8_t)1)
#define NEST_QUICK_TAKE   ((uint8_t)2)
#define NEST_QUICK_CHANGE ((uint8_t)4)
/* After init, and after each change of pt->pinned. */
void nest_set_quick(struct nest_pt *pt);
/* Does the table of the page at *p, for `off`, hold anything else? In exclusive mode. */
bool nest_has_others(const struct nest_pt *pt, const nest_pte_t *p, uint64_t off);

/* Level of the root's entries for an input width. */
unsigned nest_top_level(const struct nest_fmt *f, unsigned ia_bits);
/* A word of a table that waits for its grace period: whoever meets it starts again at the root. */
NEST_INLINE bool nest_is_limbo(const struct nest_fmt *f, unsigned level, nest_pte_t e)
{
	return nest_soft_tag_of(e) == NEST_SOFT_LIMBO && !f->is_leaf(level, e) &&
	       !f->is_table(level, e);
}

/*
 * Where a fresh page has to be flushed, is a flush of leaves enough? Not in shared mode where an
 * empty directory entry leads to a table of nothing: another CPU may have linked a table there and
 * not have flushed yet, so a TLB may still hold the old directory entry.
 */
NEST_INLINE bool nest_fresh_is_leaf(const struct nest_fmt *f, const struct nest_pt *pt)
{
	return !nest_is_shared(pt) || !nest_absent_is_table(f);
}

/* So often a call goes back to the root before it gives up with NEST_E_BUSY. */
enum { NEST_TRIES = 1024 };

/* Before each new attempt. */
NEST_INLINE void nest_relax(const struct nest_pt *pt)
{
	if (NEST_HAS_SHARED && pt->host->relax)
		pt->host->relax(pt->ctx);
}

/*
 * The lowest level at which a TLB may hold what stood at `level`. Where an empty directory entry
 * leads to a table of nothing (LoongArch), a TLB remembers the hole as pages of level 0.
 */
NEST_INLINE unsigned nest_cached_level(const struct nest_fmt *f, uint32_t features, unsigned level)
{
	return nest_fresh_flush(f, features) && nest_absent_is_table(f) ? 0 : level;
}

/* Bytes of a table, which are those of the smallest page. */
NEST_INLINE uint64_t nest_table_size(const struct nest_pt *pt)
{
	return (uint64_t)1 << nest_fmt_of(pt)->page_shift;
}

/* The bits above the table's own, as they are in the upper half. */
NEST_INLINE uint64_t nest_upper_bits(const struct nest_pt *pt)
{
	return ~(uint64_t)0 << pt->ia_bits;
}

NEST_INLINE uint64_t nest_off_to_ia(const struct nest_pt *pt, uint64_t off)
{
	return nest_fmt_off_to_ia(nest_fmt_of(pt), pt, off);
}

NEST_INLINE int nest_ia_to_off(const struct nest_pt *pt, nest_ia_t ia, uint64_t *off)
{
	return nest_fmt_ia_to_off(nest_fmt_of(pt), pt, ia, off);
}

/*
 * How many tables are needed below entries of `level`, so that all of [first, last] can be written
 * as entries of level `cap` or lower. Computed without a loop over the range.
 */
NEST_INLINE uint64_t nest_tables_below(const struct nest_fmt *f, unsigned level, uint64_t first,
				       uint64_t last, unsigned cap)
{
	uint64_t n = 0;

	for (unsigned l = level; l > 0; l--) {
		uint64_t mask = nest_span_mask(f, l);
		uint64_t a = first >> nest_shift(f, l), b = last >> nest_shift(f, l);
		bool head = (first & mask) != 0, tail = (last & mask) != mask;

		if (l > cap)
			n += b - a + 1;
		else if (a == b)
			n += head || tail;
		else
			n += (uint64_t)head + (uint64_t)tail;
	}
	return n;
}

/* ---- Where tables come from and go to (table.c) ---- */

/* So many tables more; on many CPUs at once in shared mode. */
void nest_count_tables(struct nest_pt *pt, uint64_t n);
/* Prepare `n` tables in *r, from the table's reserve first. All or NEST_E_NOMEM and none. */
int nest_prepare(struct nest_pt *pt, struct nest_reserve *r, uint64_t n);
/* Shared mode: so many at least are prepared. NEST_E_NOMEM: what there is stays. */
int nest_prepare_more(struct nest_pt *pt, struct nest_reserve *r, uint64_t n);
/* Take one prepared table; there is one by construction. */
nest_pa_t nest_take(struct nest_pt *pt, struct nest_reserve *r);
/* Put one back that was taken and never linked. */
void nest_put(struct nest_pt *pt, struct nest_reserve *r, nest_pa_t table);
/* Give back what was not taken. */
void nest_unprepare(struct nest_pt *pt, struct nest_reserve *r);
/*
 * Free a table (with entries of `level`) that no walker can reach any more, by way of the host's
 * grace period where it has one.
 */
void nest_free_table(struct nest_pt *pt, nest_pa_t table, unsigned level);
/*
 * The i-th of the 64-bit values that a table holds which waits for its end, two entries each. The
 * first NEST_LIMBO_OWN are nest_free_table()'s.
 */
enum { NEST_LIMBO_OWN = 4 };
uint64_t nest_limbo_get(const nest_pte_t *t, unsigned i);
void nest_limbo_set(nest_pte_t *t, unsigned i, uint64_t value, nest_pte_t soft_bits);
/*
 * Ask the host for `size` bytes. NEST_E_NOMEM; NEST_E_ALIGN, NEST_E_RANGE: what it gave is no use.
 */
int nest_alloc(struct nest_pt *pt, uint64_t size, nest_pa_t *out);

/* In a build for size, table.c has the one copy of them. */
#if !NEST_SMALL
#include "core/table_inline.h"
#endif

#endif
