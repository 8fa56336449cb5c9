/* SPDX-License-Identifier: MIT */
/*
 * What the files of core/ share: the request that a public call becomes, access to table memory,
 * and the functions that are too rare to be specialised per format.
 *
 * Inside the engine an address is an offset: 0 .. 2^ia_bits - 1, whatever half it came from, and a
 * range is [first, last], so that nothing ever wraps.
 */
#ifndef NEST_CORE_INTERNAL_H
#define NEST_CORE_INTERNAL_H

#include <nest/pt.h>

#include "core/fmt.h"

enum nest_op {
	NEST_OP_MAP,
	NEST_OP_MARK,
	NEST_OP_REVOKE, /* unmap, and leave a mark */
	NEST_OP_UNMARK, /* remove marks alone */
	NEST_OP_UNMAP,
	NEST_OP_PROTECT,
	NEST_OP_SPLIT,
	/* These have passes of their own. */
	NEST_OP_MERGE,
	NEST_OP_HARVEST
};

/* One call, validated. */
struct nest_request {
	uint64_t first, last; /* offsets, both inclusive */
	uint64_t delta;       /* map: pa = offset + delta, modulo 2^64 */
	nest_attr_t attr;     /* map */
	nest_attr_t set, clear;
	nest_attr_t only_with; /* protect: what each page must have (NEST_IF_SET) */
	nest_pte_t word;       /* mark, revoke */
	uint32_t flags;
	enum nest_op op;
	uint8_t cap; /* no entry of the operation stands above this level */
	bool groups; /* map: contiguous groups may be made */
	struct nest_gather *gather;
	uint64_t *bitmap; /* harvest */
	uint64_t *done;   /* or NULL; shared mode: bytes finished, if an error comes in the midst */
};

typedef int (*nest_operation)(struct nest_pt *pt, const struct nest_request *rq);

/* A format with the engine specialised for it; where size comes first the descriptor is all. */
struct nest_format {
	const struct nest_fmt *fmt; /* nest_descriptor() tells it */
	nest_operation map, unmap, protect;
	/* nest_walk() by nest_host.to_virt. */
	unsigned (*walk)(const struct nest_pt *pt, uint64_t off, nest_pte_t **p, nest_pte_t *e);
	/* The public calls; nest_map_any() and nest_unmap_any(), or a quick way (core/page.h). */
	int (*query)(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out);
	int (*pt_map)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size,
		      nest_attr_t attr, uint32_t flags, struct nest_gather *gather);
	int (*pt_unmap)(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
			struct nest_gather *gather);
	/* Free a detached table and all below it (core/drop.h). */
	void (*drop)(struct nest_pt *pt, struct nest_gather *g, const struct nest_gather_item *item,
		     nest_pa_t table, unsigned level, uint64_t off);
};

#ifdef NEST_ONLY
extern const struct nest_fmt NEST_DESCRIPTOR(NEST_ONLY);
#endif

/* NULL: this build has not got it. */
NEST_INLINE const struct nest_fmt *nest_descriptor(const struct nest_format *format)
{
#ifdef NEST_ONLY
	return format == &NEST_ONLY ? &NEST_DESCRIPTOR(NEST_ONLY) : NULL;
#else
	return format->fmt;
#endif
}

/* That of a live table. */
NEST_INLINE const struct nest_fmt *nest_fmt_of(const struct nest_pt *pt)
{
#ifdef NEST_ONLY
	(void)pt;
	return &NEST_DESCRIPTOR(NEST_ONLY);
#else
	return pt->format->fmt;
#endif
}

/* ---- Table memory ---- */

/*
 * A walker reads entries as little-endian 64-bit words, each at once. So must the CPU that runs the
 * library store them: in its own byte order, by single instructions. Library calls (libatomic)
 * would take locks that no walker knows.
 */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "libnest needs a little-endian host: page table walkers read little-endian entries");
struct nest_pte_aligned {
	char before;
	nest_pte_t e;
};
_Static_assert(__GCC_ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(struct nest_pte_aligned) == 16,
	       "libnest needs a host whose 8-byte atomics are instructions and whose 8-byte "
	       "integers are aligned to 8: a 64-bit one, or ARMv7, but not i686");

/* How addresses of tables become pointers, read once by a walk: loads of entries are barriers. */
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

/*
 * A build of the tests looks at memory after every store that a walker could see, and plays
 * hardware before it (NEST_BEFORE_STORE_HOOK): the hooks are told which entry it is. Defined there
 * as names of functions; nothing anywhere else.
 */
#ifdef NEST_STORE_HOOK
void NEST_STORE_HOOK(const nest_pte_t *p);
#define nest_stored(p) NEST_STORE_HOOK(p)
#else
#define nest_stored(p) ((void)(p))
#endif
#ifdef NEST_BEFORE_STORE_HOOK
void NEST_BEFORE_STORE_HOOK(const nest_pte_t *p);
#define nest_storing(p) NEST_BEFORE_STORE_HOOK(p)
#else
#define nest_storing(p) ((void)(p))
#endif

/* An entry of a table that walkers may see: a single-copy atomic access. */
NEST_INLINE nest_pte_t nest_load(const nest_pte_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

NEST_INLINE void nest_store(nest_pte_t *p, nest_pte_t v)
{
	nest_storing(p);
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
	nest_stored(p);
}

/* As nest_store(), for a value that publishes nothing: absent, a mark, the same page's rights. */
NEST_INLINE void nest_store_relaxed(nest_pte_t *p, nest_pte_t v)
{
	nest_storing(p);
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
	nest_stored(p);
}

NEST_INLINE nest_pte_t nest_exchange(nest_pte_t *p, nest_pte_t v)
{
	nest_storing(p);
	v = __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
	nest_stored(p);
	return v;
}

/* On failure *expected is what is there. */
NEST_INLINE bool nest_cas(nest_pte_t *p, nest_pte_t *expected, nest_pte_t v)
{
	bool done;

	nest_storing(p);
	done = __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
	nest_stored(p);
	return done;
}

/* ---- What is called from many places (once.h) ---- */

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
/* What an entry that the engine wrote is. A LoongArch directory is never simply invalid. */
NEST_ONCE NEST_PURE enum nest_pte_kind nest_kind(const struct nest_fmt *f, const struct nest_pt *pt,
						 unsigned level, nest_pte_t e);
/* Such a word, or one that another CPU has put in an entry while it changes it. */
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
 * Without a callback, here; by a callback, by a function of the format's, since calls in the midst
 * of it would cost every walk its registers.
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

/* Two entries side by side, for vector instructions where the compiler may use them. */
typedef nest_pte_t nest_pte_pair __attribute__((vector_size(16), aligned(8), may_alias));

/*
 * How many of the n entries from *t on equal `e` in the bits of `mask`? By plain loads: only where
 * nobody but hardware writes meanwhile, and what it may set does not matter or is looked at again
 * by whoever stores.
 */
NEST_INLINE uint64_t nest_like(const nest_pte_t *t, uint64_t n, nest_pte_t e, nest_pte_t mask)
{
	uint64_t k = 0;

	for (; !NEST_SMALL && k + 8 <= n; k += 8) {
		const nest_pte_pair *at = (const nest_pte_pair *)&t[k];
		const nest_pte_pair all = { e, e };
		const nest_pte_pair d = ((at[0] ^ all) | (at[1] ^ all)) |
					((at[2] ^ all) | (at[3] ^ all));

		if ((d[0] | d[1]) & mask)
			break;
	}
	while (k < n && !((t[k] ^ e) & mask))
		k++;
	return k;
}

/* Level of the root's entries for an input width. */
unsigned nest_top_level(const struct nest_fmt *f, unsigned ia_bits);
/* A word of a table that waits for its grace period: whoever meets it starts again at the root. */
NEST_INLINE bool nest_is_limbo(const struct nest_fmt *f, unsigned level, nest_pte_t e)
{
	return nest_soft_tag_of(e) == NEST_SOFT_LIMBO && !f->is_leaf(level, e) &&
	       !f->is_table(level, e);
}

/*
 * Is it enough to flush leaves where a page is fresh? Not in shared mode where a hole is a way
 * through a table of nothing: the call that has linked another table there may not have flushed
 * yet, and walkers may still take the old way.
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
 * The smallest pages as which a TLB may hold what stood at `level`: a hole that is walked down to a
 * table of nothing (LoongArch directories) is remembered at level 0.
 */
NEST_INLINE unsigned nest_cached_level(const struct nest_fmt *f, uint32_t features, unsigned level)
{
	return nest_fresh_flush(f, features) && nest_absent_is_table(f) ? 0 : level;
}

/* Must another frame at the same place wait for a break? */
NEST_INLINE bool nest_frames_break(const struct nest_fmt *f, uint32_t features)
{
	nest_pte_t leaf;

	return f->leaf(features, 0, NEST_R, &leaf) == NEST_OK &&
	       nest_needs_break(f, features, 0, leaf,
				leaf | f->pa_bits(0, NEST_BIT(f->page_shift)));
}

/*
 * Does the change need a break? FEAT_BBM level 2 spares it only where frames and memory types stay
 * the same, so that it does not matter which entry the TLB has kept.
 */
NEST_INLINE bool nest_breaks(const struct nest_pt *pt, unsigned level, nest_pte_t from,
			     nest_pte_t to, bool same)
{
	uint32_t features = same ? pt->features : pt->features & ~NEST_FEAT_BBM2;

	return nest_needs_break(nest_fmt_of(pt), features, level, from, to);
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
 * Tables needed below one entry of `level` so that [first, last] inside it can get entries of its
 * own of at most level `cap`; closed form, also for a range of many entries.
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

/*
 * Of the n new leaves from index i on, how many form whole contiguous groups, and after how many
 * single ones do these begin?
 */
NEST_INLINE uint64_t nest_groups(const struct nest_fmt *f, const struct nest_pt *pt,
				 const struct nest_request *rq, unsigned level, uint64_t i,
				 uint64_t n, uint64_t *head)
{
	unsigned cs = rq->groups ? nest_contig_shift(f, pt->features, level) : 0;
	uint64_t members = (uint64_t)1 << cs;

	*head = -i & (members - 1);
	if (!cs || (rq->delta & ((members << nest_shift(f, level)) - 1)) || *head + members > n)
		return 0;
	return (n - *head) & ~(members - 1);
}

/*
 * n entries, whole units: e, e + step, and so on; the next unit begins with e + jump. By plain
 * stores, unless walkers may see them (fill.c).
 */
void nest_fill_words(nest_pte_t *t, uint64_t n, uint64_t unit, nest_pte_t e, nest_pte_t step,
		     nest_pte_t jump, bool live);

/* ---- Tables (reserve.c) ---- */

/* Prepare `n` tables in *r, from the table's reserve first. All or NEST_E_NOMEM and none. */
int nest_prepare(struct nest_pt *pt, struct nest_reserve *r, uint64_t n);
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

/* ---- Gather (gather.c) ---- */

/* [first, last] must be flushed; something at `level` changed. */
void nest_gather_range(struct nest_gather *g, uint64_t first, uint64_t last, unsigned level);
/* Removed leaves to report: whole pages of `level`, alike, one after the other. */
void nest_gather_leaves(struct nest_gather *g, unsigned level, uint64_t off, uint64_t size,
			nest_pa_t pa, nest_attr_t attr, bool contiguous);
/* Before something new is mapped there: sync what the gather holds of [first, last], if need be. */
void nest_gather_settle(struct nest_gather *g, uint64_t first, uint64_t last);
/*
 * A table (with entries of `level`) that was unlinked, freed after the flush of its range, which
 * the caller gathers. Leaves in it with pa - offset == *keep are not reported: they are still
 * mapped.
 */
void nest_gather_table(struct nest_gather *g, nest_pa_t table, unsigned level, uint64_t off,
		       const uint64_t *keep);
/* Report a leaf in a detached table, unless it is among those that stay mapped. */
void nest_report_lost(struct nest_gather *g, const struct nest_gather_item *item, unsigned level,
		      uint64_t off, nest_pte_t e);
/* The flush inside a break-before-make: now, whatever is gathered. */
void nest_flush_now(struct nest_pt *pt, uint64_t first, uint64_t last, unsigned level,
		    bool leaf_only);

/* ---- Rare changes of live entries (change.c) ---- */

/* Output address of a leaf for the offset where its entry begins; its membership in a group. */
nest_pa_t nest_entry_pa(const struct nest_pt *pt, unsigned level, uint64_t off, nest_pte_t pte);
bool nest_is_contig(const struct nest_pt *pt, unsigned level, nest_pte_t pte);
/* Attributes of a live leaf; what cannot be decoded was not written by the engine: no rights. */
nest_attr_t nest_leaf_attr(const struct nest_pt *pt, unsigned level, nest_pte_t pte);
/* What protect makes of attributes. */
nest_attr_t nest_new_attr(nest_attr_t attr, nest_attr_t set, nest_attr_t clear);
/* A leaf of `level` for pa with attr. NEST_E_UNSUPPORTED. */
int nest_build(const struct nest_pt *pt, unsigned level, nest_pa_t pa, nest_attr_t attr,
	       nest_pte_t *out);
/* A leaf with other attributes at the same address. NEST_E_UNSUPPORTED. */
int nest_recode(const struct nest_pt *pt, unsigned level, nest_pte_t pte, nest_attr_t set,
		nest_attr_t clear, nest_pte_t *out);
/* protect: the same for one of the request's leaves. NEST_E_NOTMAPPED: it lacks rq->only_with. */
int nest_protected(const struct nest_pt *pt, const struct nest_request *rq, unsigned level,
		   nest_pte_t pte, nest_pte_t *out);
/*
 * The entry `index` of the table one level down that stands for the same as `old` at `level` + 1.
 */
nest_pte_t nest_derive(const struct nest_pt *pt, unsigned level, nest_pte_t old, uint64_t index);

/*
 * Replace the live entry t[i] of `level` (any kind) by `to`, breaking first where the format asks
 * for it; `same`: no frame and no memory type changes. Returns the last value of the old entry,
 * with what hardware had set in it. Does not gather; *flushed: nor is there anything to flush.
 */
nest_pte_t nest_change(struct nest_pt *pt, nest_pte_t *t, uint64_t i, unsigned level, uint64_t off,
		       nest_pte_t to, bool same, bool *flushed);
/*
 * A map puts `to` in place of `from`, a leaf that maps the same frame: `to` with what is accessed
 * and dirty.
 */
nest_pte_t nest_keep_ad(const struct nest_pt *pt, unsigned level, nest_pte_t to, nest_pte_t from);
/*
 * The same in place of a table (with entries of `level`, the first of which is for `off`), for what
 * of it maps the same frames.
 */
nest_pte_t nest_keep_table_ad(const struct nest_request *rq, unsigned level, uint64_t off,
			      nest_pte_t to, nest_pa_t table);
/* Hardware set something in an entry between `before` and `was`, which is gone: set it in *p. */
void nest_carry_ad(struct nest_pt *pt, nest_pte_t *p, unsigned level, nest_pte_t was,
		   nest_pte_t before);
/*
 * Link the private table `child` in place of t[i], which was `old` when the table was derived from
 * it; `same` as above. What hardware has set in `old` since then goes into the new leaves.
 */
void nest_link(const struct nest_request *rq, nest_pte_t *t, uint64_t i, unsigned level,
	       uint64_t off, nest_pa_t child, nest_pte_t old, bool same);
/*
 * Write the whole group that t[i] belongs to again: with other attributes, and as members of a
 * contiguous group or as single pages.
 */
void nest_rewrite_group(struct nest_gather *g, nest_pte_t *t, uint64_t i, unsigned level,
			uint64_t off, nest_attr_t set, nest_attr_t clear, bool contiguous);
/*
 * Live leaves among t[i .. i + n) are about to be overwritten by a map with NEST_MAP_REPLACE. True:
 * the new ones are stored already. False: where the format asks for it the old ones have been
 * broken, and *proto has what was accessed and dirty in any that the map puts there again.
 */
bool nest_replace_leaves(const struct nest_request *rq, nest_pte_t *t, uint64_t i, uint64_t n,
			 unsigned level, uint64_t off, nest_pte_t *proto);
/*
 * Take a live leaf, or the whole contiguous group that begins there, out of its table, and then
 * report it. Returns the number of entries.
 */
uint64_t nest_remove_leaf(struct nest_gather *g, nest_pte_t *t, uint64_t i, unsigned level,
			  uint64_t off);
/* Accessed and dirty of a leaf; of all members together, if it is one of a group. */
nest_attr_t nest_group_status(const struct nest_pt *pt, const nest_pte_t *t, uint64_t i,
			      unsigned level);
/* Is the root entry i linked to another table, from it or by it? */
bool nest_is_borrowed(const struct nest_pt *pt, uint64_t i);
bool nest_is_pinned(const struct nest_pt *pt, uint64_t i);

/* ---- Public calls, whatever they are for (pt.c) ---- */

int nest_map_any(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr,
		 uint32_t flags, struct nest_gather *gather);
int nest_unmap_any(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		   struct nest_gather *gather);

/* ---- Operations with a run-time descriptor (rare.c, walk.c, shared.c) ---- */

/* Shared mode: map, mark, unmap, protect, split. */
int nest_operate_shared(struct nest_pt *pt, const struct nest_request *rq);
/* The engine for any format and rq->op; the query. */
int nest_operate_any(struct nest_pt *pt, const struct nest_request *rq);
int nest_query_any(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out);
void nest_drop_any(struct nest_pt *pt, struct nest_gather *g, const struct nest_gather_item *item,
		   nest_pa_t table, unsigned level, uint64_t off);
int nest_operate_merge(struct nest_pt *pt, const struct nest_request *rq);
/* Tell and clear rq->clear, one of NEST_ACCESSED and NEST_DIRTY (harvest.c). */
int nest_operate_harvest(struct nest_pt *pt, const struct nest_request *rq);
/* Does the range touch root entries that another table owns? (rare.c) */
bool nest_range_is_borrowed(const struct nest_pt *pt, const struct nest_request *rq);
/*
 * Visit a range. Without fn, ctx points to a number of entries (uint64_t): when so many (tables
 * aside) have been read and there are more, NEST_E_AGAIN; *stopped is the last offset before the
 * next.
 */
int nest_walk_range(const struct nest_pt *pt, uint64_t first, uint64_t last, uint32_t flags,
		    nest_visit_fn fn, void *ctx, uint64_t *stopped);

/* What changes and reads the table. */
NEST_INLINE const struct nest_format *nest_ops(const struct nest_pt *pt)
{
#if NEST_SMALL
	static const struct nest_format any = {
		.map = nest_operate_any,
		.unmap = nest_operate_any,
		.protect = nest_operate_any,
		.query = nest_query_any,
		.pt_map = nest_map_any,
		.pt_unmap = nest_unmap_any,
		.drop = nest_drop_any,
	};

	(void)pt;
	return &any;
#else
	return pt->format;
#endif
}

/* Where size comes first, once.c has the one copy of them. */
#if !NEST_SMALL
#include "core/once.h"
#endif

#endif
