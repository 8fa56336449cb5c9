/* SPDX-License-Identifier: MIT */
/*
 * The whole duty of a format: one constant struct of geometry and small entry functions.
 *
 * A format file defines its entry functions as static inlines, fills one `static const struct
 * nest_fmt`, and instantiates the engine on it by including core/instance.h. The descriptor is a
 * compile-time constant there, so the compiler inlines every call through it.
 *
 * Rules for entry functions: total (any argument), pure, no division, no memory. `level` counts
 * from the leaf.
 */
#ifndef NEST_CORE_FORMAT_H
#define NEST_CORE_FORMAT_H

#include <nest/page.h>

#include "core/build.h"

/* How input addresses relate to the table's own 0 .. 2^ia_bits - 1. */
enum nest_ia_kind {
	NEST_IA_PLAIN,  /* they are the same (guest-physical) */
	NEST_IA_SIGNED, /* canonical: bits above are copies of the top bit; both halves in one table
			 */
	NEST_IA_SPLIT   /* bits above are all 0, or (NEST_PT_UPPER) all 1: one table a half */
};

/* Software's words in entries that the hardware takes for invalid; the same in every format. */
enum nest_soft_tag {
	NEST_SOFT_MARK = 1, /* the embedder's value */
	NEST_SOFT_LIMBO = 2 /* a table page that waits for its grace period */
};

struct nest_fmt {
	const char *name;
	bool stage2;
	bool ad_always; /* accessed and dirty are kept by hardware whatever the features (NPT) */
	bool dirty_needs_accessed; /* one switch of the CPU: no HW_D without HW_A */
	bool absent_is_table;      /* a directory that holds nothing points to a table of nothing */
	enum nest_ia_kind ia_kind;
	uint8_t page_shift;      /* log2 of the smallest page and of a table */
	uint8_t index_bits;      /* log2 of a table's entries; page_shift - 3 */
	uint8_t root_extra_bits; /* the root may be wider by so many index bits */
	uint8_t mark_levels;     /* marks may stand at levels 0 .. mark_levels - 1 */
	bool exact;              /* attr() does not look at every bit */
	uint32_t features;       /* every NEST_FEAT_* that it knows */
	nest_attr_t attrs; /* every attribute bit that any feature could make legal (memory types
			      aside) */

	/*
	 * Input width: smallest, default, and with these features largest number of bits, and
	 * whether `bits` in that range is legal; NULL: it is.
	 */
	uint8_t ia_min, ia_default;
	uint8_t (*ia_max)(uint32_t features);
	bool (*ia_ok)(uint32_t features, unsigned bits);
	/* Output width: largest, and the default. */
	uint8_t (*oa_max)(uint32_t features);
	uint8_t (*oa_default)(uint32_t features);
	/* Bit n: leaves may stand at level n. Always a run from bit 0. */
	uint8_t (*leaf_levels)(uint32_t features);
	/* log2 of the entries of a contiguous group at that level; 0, or NULL: none. */
	uint8_t (*contig_shift)(uint32_t features, unsigned level);
	/* Invalid to valid must be flushed, since the TLB may hold invalid entries. NULL: never. */
	bool (*fresh_flush)(uint32_t features);
	/*
	 * Must the change from one live entry to another go through an invalid one
	 * (break-before-make)? Both are valid leaves or tables of `level`. The engine leaves
	 * NEST_FEAT_BBM2 out of the features where frames or memory types change. NULL: never.
	 */
	bool (*needs_break)(uint32_t features, unsigned level, nest_pte_t from, nest_pte_t to);

	/*
	 * Build a leaf that maps address 0 at `level` with `attr`; pa_bits() is or-ed to it later.
	 * NEST_OK or NEST_E_UNSUPPORTED. `attr` has no bit outside `attrs` and NEST_MT_MASK;
	 * features are known ones; leaves exist at `level`.
	 */
	int (*leaf)(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out);
	/* The bits that hold the address `pa` in a leaf of `level` that is not contiguous. */
	nest_pte_t (*pa_bits)(unsigned level, nest_pa_t pa);
	/*
	 * All bits that pa_bits() may set: two leaves that are equal outside it have equal
	 * attributes.
	 */
	nest_pte_t (*pa_mask)(uint32_t features, unsigned level);
	/* The output address of a leaf; of a contiguous Svnapot entry that of its group. */
	nest_pa_t (*leaf_pa)(uint32_t features, unsigned level, nest_pte_t pte);
	/*
	 * Attributes of a leaf. NEST_OK; NEST_E_UNSUPPORTED when legal but nest_attr_t has no name
	 * for it; NEST_E_INVAL when hardware would fault on any access (NEST_PTE_RESERVED).
	 *
	 * With `exact` it may take a leaf for one that leaf() has made: for words of other origin
	 * nest_pte_decode() sees whether leaf() makes the same again.
	 */
	int (*attr)(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out);
	/*
	 * Is it a member of a contiguous group? Make it one; make entry `index` of a group a leaf
	 * of its own. NULL where there are none.
	 */
	bool (*is_contig)(unsigned level, nest_pte_t pte);
	nest_pte_t (*contig)(unsigned level, nest_pte_t leaf);
	nest_pte_t (*uncontig)(unsigned level, nest_pte_t pte, unsigned index);

	/* A pointer to a table, and back. The address is a whole table or root piece, in range. */
	nest_pte_t (*table)(uint32_t features, nest_pa_t pa);
	nest_pa_t (*table_pa)(nest_pte_t pte);
	/*
	 * Nothing at `level`; `invalid` is an all-absent table one level down where the format
	 * needs one. NULL: 0.
	 */
	nest_pte_t (*absent)(uint32_t features, unsigned level, nest_pa_t invalid);
	/*
	 * Tell leaf, table and neither apart, for entries that the engine wrote (an absent
	 * LoongArch directory counts as TABLE here: the engine compares with its own absent value
	 * first).
	 */
	bool (*is_leaf)(unsigned level, nest_pte_t pte);
	bool (*is_table)(unsigned level, nest_pte_t pte);
	/*
	 * Is a word that came from anywhere one that hardware would refuse at `level` with these
	 * features (reserved bits, forbidden combinations), although is_leaf() or is_table() holds,
	 * or, neither holding, is it not simply invalid? `oa_bits` is the largest width.
	 */
	bool (*is_reserved)(uint32_t features, unsigned level, nest_pte_t pte);
	/*
	 * Added to every software word so that hardware leaves it alone (EPT: suppress #VE). NULL:
	 * 0.
	 */
	nest_pte_t (*soft_bits)(uint32_t features, unsigned level);
	/*
	 * The leaf with these of accessed and dirty also set, where they are tracked (ad_always or
	 * NEST_FEAT_HW_A, HW_D, SW_AD); else as it is.
	 */
	nest_pte_t (*set_ad)(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad);
};

/* Every feature of the format that this build has. */
static inline uint32_t nest_known_features(const struct nest_fmt *f)
{
	return f->features & ~(NEST_HAS_CONTIG ? 0u : (uint32_t)NEST_FEAT_CONTIG);
}

/* Can a table or an entry of this format have these features? The one place that decides it. */
static inline bool nest_features_ok(const struct nest_fmt *f, uint32_t features)
{
	return !(features & ~nest_known_features(f)) &&
	       (!f->dirty_needs_accessed || (features & NEST_FEAT_HW_AD) != NEST_FEAT_HW_D);
}

NEST_INLINE uint8_t nest_contig_shift(const struct nest_fmt *f, uint32_t features, unsigned level)
{
	return NEST_HAS_CONTIG && f->contig_shift ? f->contig_shift(features, level) : 0;
}

/* Is it a leaf and a member of a contiguous group? */
NEST_INLINE bool nest_is_member(const struct nest_fmt *f, uint32_t features, unsigned level,
				nest_pte_t e)
{
	return nest_contig_shift(f, features, level) && f->is_leaf(level, e) &&
	       f->is_contig(level, e);
}

NEST_INLINE bool nest_needs_break(const struct nest_fmt *f, uint32_t features, unsigned level,
				  nest_pte_t from, nest_pte_t to)
{
	return NEST_HAS_BREAK && f->needs_break && f->needs_break(features, level, from, to);
}

NEST_INLINE bool nest_fresh_flush(const struct nest_fmt *f, uint32_t features)
{
	return NEST_HAS_FRESH && f->fresh_flush && f->fresh_flush(features);
}

NEST_INLINE nest_pte_t nest_absent_word(const struct nest_fmt *f, uint32_t features, unsigned level,
					nest_pa_t invalid)
{
	return f->absent ? f->absent(features, level, invalid) : 0;
}

/* What keeps hardware from a word for software at `level`. */
NEST_INLINE nest_pte_t nest_soft_bits(const struct nest_fmt *f, uint32_t features, unsigned level)
{
	return f->soft_bits ? f->soft_bits(features, level) : 0;
}

NEST_INLINE bool nest_absent_is_table(const struct nest_fmt *f)
{
	return NEST_HAS_FRESH && f->absent_is_table;
}

/* Does hardware write to leaves on its own, so that a change must not lose what it sets? */
static inline bool nest_hw_updates(const struct nest_fmt *f, uint32_t features)
{
	return f->ad_always || (features & NEST_FEAT_HW_AD) != 0;
}

/*
 * Software words: bit 0 clear, tag in 4:3, value in 59:12. No format takes that for present: x86,
 * AArch64, RISC-V and LoongArch pages need bit 0, EPT one of bits 2:0 and 10.
 */
static inline nest_pte_t nest_soft_word(enum nest_soft_tag tag, uint64_t value)
{
	return value << 12 | (nest_pte_t)tag << 3;
}

static inline unsigned nest_soft_tag_of(nest_pte_t pte)
{
	return (unsigned)(pte >> 3 & 3);
}

static inline uint64_t nest_soft_value(nest_pte_t pte)
{
	return pte >> 12 & NEST_MARK_MAX;
}

/* What one entry of `level` covers, as a shift; the format's constant when inlined. */
static inline unsigned nest_fmt_shift(const struct nest_fmt *f, unsigned level)
{
	return f->page_shift + level * f->index_bits;
}

/* ---- What the engine makes of it ---- */

struct nest_request;
struct nest_gather_item;

typedef int (*nest_operation)(struct nest_pt *pt, const struct nest_request *rq);

/* A format with the engine specialised for it; where size comes first the descriptor is all. */
struct nest_format {
	const struct nest_fmt *fmt; /* nest_descriptor() tells it */
	nest_operation map, unmap, protect;
	/* nest_walk() by nest_host.to_virt. */
	unsigned (*walk)(const struct nest_pt *pt, uint64_t off, nest_pte_t **p, nest_pte_t *e);
	/* The public calls, by the shortest way (core/fast.h) where there is one. */
	int (*query)(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out);
	int (*pt_map)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size,
		      nest_attr_t attr, uint32_t flags, struct nest_gather *gather);
	int (*pt_unmap)(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
			struct nest_gather *gather);
	int (*pt_protect)(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
			  nest_attr_t clear, uint32_t flags, struct nest_gather *gather);
	/* Free a detached table and all below it (core/drop.h). */
	void (*drop)(struct nest_pt *pt, struct nest_gather *g, const struct nest_gather_item *item,
		     nest_pa_t table, unsigned level, uint64_t off);
#if !NEST_SMALL
	/* nest/page.h */
	int (*map_page)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, nest_attr_t attr);
	int (*unmap_page)(struct nest_pt *pt, nest_ia_t ia);
	int (*translate)(const struct nest_pt *pt, nest_ia_t ia, nest_pa_t *pa, nest_attr_t *attr);
	int (*cursor_map)(struct nest_cursor *c, nest_pa_t pa, nest_attr_t attr);
	int (*cursor_unmap)(struct nest_cursor *c, struct nest_gather *gather);
	int (*cursor_translate)(struct nest_cursor *c, nest_pa_t *pa, nest_attr_t *attr);
	/* n pages in a table of level 0, where none is. */
	void (*fill_frames)(nest_pte_t *t, const nest_pa_t *frames, uint64_t n, nest_pte_t proto);
#endif
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

#endif
