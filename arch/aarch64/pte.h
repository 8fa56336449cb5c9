/* SPDX-License-Identifier: MIT */
/*
 * What the VMSAv8-64 descriptors of both stages and all three granules share: geometry, address
 * bits, status bits, break-before-make. Arm ARM D8.3 (descriptors), D8.16 (TLB maintenance).
 *
 * Everything takes the granule (`ps`, log2 of its bytes) as a constant; A64_GRANULE() makes the
 * one-line functions that a descriptor points to. A file that includes this defines attr_of() and,
 * with that first parameter, needs_break() for its stage.
 *
 * A leaf of other origin decodes only if its attributes encode to the same word again (`exact`).
 */
#ifndef NEST_ARCH_AARCH64_PTE_H
#define NEST_ARCH_AARCH64_PTE_H

#include "core/engine.h"

_Static_assert(NEST_HAS_BREAK, "AArch64 needs break-before-make");

#define A64_VALID      NEST_BIT(0)
#define A64_TABLE      NEST_BITS(1, 0) /* above level 0; at level 0 the same bits say page */
#define A64_MEMATTR    NEST_BITS(5, 2) /* stage 1: AttrIndx 4:2 and NS */
#define A64_SH         NEST_BITS(9, 8) /* with LPA2: OA[51:50] */
#define A64_SH_OUTER   ((nest_pte_t)2 << 8)
#define A64_SH_INNER   ((nest_pte_t)3 << 8)
#define A64_AF         NEST_BIT(10)
#define A64_NT         NEST_BIT(16) /* blocks, with FEAT_BBM */
#define A64_DBM        NEST_BIT(51)
#define A64_CONTIG     NEST_BIT(52)
#define A64_SOFT_DIRTY NEST_BIT(55) /* software's: dirty, though not writable any more */
#define A64_SW_SHIFT   56

enum {
	A64_FEATURES = NEST_FEAT_HW_AD | NEST_FEAT_SW_AD | NEST_FEAT_CONTIG | NEST_FEAT_BBM2,
	/* One format knows only one of the two. */
	A64_LARGE = NEST_FEAT_LPA2 | NEST_FEAT_LPA
};

/* ---- Geometry ---- */

NEST_INLINE uint8_t a64_width(uint32_t features)
{
	return features & A64_LARGE ? 52 : 48;
}

NEST_INLINE bool a64_is_64k(unsigned ps)
{
	return ps == 16;
}

/* Blocks of 4K: 2 MiB, 1 GiB (512 GiB); of 16K: 32 MiB (64 GiB); of 64K: 512 MiB (4 TiB). */
static inline uint8_t a64_leaf_levels(unsigned ps, uint32_t features)
{
	unsigned blocks = ps == 12 ? 2 : 1;

	if (features & A64_LARGE)
		blocks++;
	return (uint8_t)((2u << blocks) - 1);
}

/*
 * Arm ARM D8.7.1: 4K 16 entries, 16K 128 pages or 32 blocks, 64K 32; never in the largest blocks.
 */
NEST_INLINE uint8_t a64_contig_shift(unsigned ps, uint32_t features, unsigned level)
{
	if (!(features & NEST_FEAT_CONTIG) || level > (ps == 12 ? 2 : 1))
		return 0;
	if (ps == 12)
		return 4;
	return ps == 14 && level == 0 ? 7 : 5;
}

/* ---- Addresses ---- */

NEST_INLINE nest_pte_t a64_pa_bits(unsigned ps, nest_pa_t pa)
{
	if (a64_is_64k(ps))
		return (pa & NEST_BITS(47, 16)) | (pa >> 36 & NEST_BITS(15, 12));
	return (pa & NEST_BITS(49, ps)) | (pa >> 42 & NEST_BITS(9, 8));
}

NEST_INLINE nest_pa_t a64_pa(unsigned ps, nest_pte_t bits)
{
	if (a64_is_64k(ps))
		return (bits & NEST_BITS(47, 16)) | (bits & NEST_BITS(15, 12)) << 36;
	return (bits & NEST_BITS(49, ps)) | (bits & NEST_BITS(9, 8)) << 42;
}

/* The bits that hold an address aligned to what an entry of `level` maps. */
NEST_INLINE nest_pte_t a64_pa_mask(unsigned ps, uint32_t features, unsigned level)
{
	unsigned low = ps + level * (ps - 3);

	if (low > 63)
		return 0;
	return a64_pa_bits(ps, NEST_BITS(a64_width(features) - 1u, low));
}

/* ---- Kinds ---- */

NEST_INLINE bool a64_is_leaf(unsigned level, nest_pte_t pte)
{
	return (pte & A64_TABLE) == (level ? A64_VALID : A64_TABLE);
}

NEST_INLINE bool a64_is_table(unsigned level, nest_pte_t pte)
{
	return level && (pte & A64_TABLE) == A64_TABLE;
}

/*
 * Bits that only wider addresses use are RES0 without them. In a pointer 9:8 are ignored then; such
 * a word is called reserved too, since table_pa(), which is told no features, would read them.
 */
static inline bool a64_is_reserved(unsigned ps, uint32_t features, unsigned level, nest_pte_t pte)
{
	nest_pte_t res0 = NEST_BITS(49, 12);

	if (!(pte & A64_VALID))
		return false;
	if (a64_is_table(level, pte)) {
		if (!a64_is_64k(ps))
			res0 |= NEST_BITS(9, 8);
		return (pte & res0 & ~a64_pa_mask(ps, features, 0)) != 0;
	}
	if (!a64_is_leaf(level, pte) || !(a64_leaf_levels(ps, features) >> level & 1))
		return true;
	if (level && (features & NEST_FEAT_BBM2))
		res0 &= ~A64_NT;
	return (pte & res0 & ~a64_pa_mask(ps, features, level)) != 0;
}

/*
 * Arm ARM D8.16.1: the size of a block, its address, memory type and shareability, and Contiguous.
 * `more`: bits that matter in this stage beside.
 */
NEST_INLINE bool a64_needs_break(unsigned ps, uint32_t features, unsigned level, nest_pte_t from,
				 nest_pte_t to, nest_pte_t more)
{
	nest_pte_t mask = a64_pa_mask(ps, features, level) | A64_MEMATTR | A64_SH | more;

	if (a64_is_table(level, from) != a64_is_table(level, to))
		return !(features & NEST_FEAT_BBM2);
	if (a64_is_table(level, from))
		return a64_pa(ps, from ^ to) != 0;
	if (!(features & NEST_FEAT_BBM2))
		mask |= A64_CONTIG;
	return ((from ^ to) & mask) != 0;
}

/* ---- Status ---- */

NEST_INLINE bool a64_tracks_a(uint32_t features)
{
	return (features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD)) != 0;
}

/*
 * Shape, access flag, dirty state and software's bits of a leaf. *writable: may it be written to
 * now?
 *
 * There is no dirty bit: with DBM set, "may be written to" says dirty, and hardware sets it.
 * Without DBM a writable page is taken for dirty. So software that keeps dirty itself
 * (NEST_FEAT_SW_AD without NEST_FEAT_HW_D) takes NEST_W away; NEST_DIRTY means nothing then.
 */
static inline int a64_status(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out,
			     bool *writable)
{
	nest_pte_t e = level ? A64_VALID : A64_TABLE;
	bool hw_d = (features & NEST_FEAT_HW_D) != 0;

	if ((attr & NEST_DBM) && !(hw_d && (attr & NEST_W)))
		return NEST_E_UNSUPPORTED;
	if (!a64_tracks_a(features) || (attr & NEST_ACCESSED))
		e |= A64_AF;
	if (attr & NEST_DBM)
		e |= A64_DBM;
	else if (hw_d && (attr & NEST_DIRTY) && !(attr & NEST_W))
		e |= A64_SOFT_DIRTY;
	*writable = (attr & NEST_W) && (!(attr & NEST_DBM) || (attr & NEST_DIRTY));
	*out = e | (nest_pte_t)(attr / NEST_SW0 & 7) << A64_SW_SHIFT;
	return NEST_OK;
}

/* And back. NEST_E_INVAL: the access flag is clear and nobody would set it. */
static inline int a64_status_of(uint32_t features, nest_pte_t pte, bool writable, nest_attr_t *out)
{
	nest_attr_t attr = (nest_attr_t)(pte >> A64_SW_SHIFT & 7) * NEST_SW0;

	if (a64_tracks_a(features)) {
		if (pte & A64_AF)
			attr |= NEST_ACCESSED;
	} else if (!(pte & A64_AF)) {
		return NEST_E_INVAL;
	}
	if (pte & A64_DBM)
		attr |= writable ? NEST_W | NEST_DBM | NEST_DIRTY : NEST_W | NEST_DBM;
	else if (writable)
		attr |= NEST_W;
	else if (pte & A64_SOFT_DIRTY)
		attr |= NEST_DIRTY;
	*out = attr;
	return NEST_OK;
}

/*
 * Accessed and dirty added; `grant` and `deny` are what the stage's write permission sets and
 * clears.
 */
NEST_INLINE nest_pte_t a64_set_ad(uint32_t features, nest_pte_t pte, nest_attr_t ad, bool writable,
				  nest_pte_t grant, nest_pte_t deny)
{
	if (ad & NEST_ACCESSED)
		pte |= A64_AF;
	if (!(ad & NEST_DIRTY) || !(features & NEST_FEAT_HW_D) || writable)
		return pte;
	return pte & A64_DBM ? (pte | grant) & ~deny : pte | A64_SOFT_DIRTY;
}

/*
 * Device and Normal Non-cacheable are outer shareable whatever the field says: so let it say that.
 */
static inline nest_pte_t a64_shareability(uint32_t features, nest_attr_t mt)
{
	if (features & NEST_FEAT_LPA2)
		return 0;
	return mt == NEST_MT_WB || mt == NEST_MT_WT ? A64_SH_INNER : A64_SH_OUTER;
}

/* ---- What does not depend on the granule ---- */

NEST_INLINE bool a64_is_contig(unsigned level, nest_pte_t pte)
{
	(void)level;
	return (pte & A64_CONTIG) != 0;
}

NEST_INLINE nest_pte_t a64_contig(unsigned level, nest_pte_t leaf)
{
	(void)level;
	return leaf | A64_CONTIG;
}

static inline nest_pte_t a64_uncontig(unsigned level, nest_pte_t pte, unsigned index)
{
	(void)level, (void)index;
	return pte & ~A64_CONTIG;
}

/* ---- One granule ---- */

#define A64_GRANULE(id, ps)                                                                        \
	static inline uint8_t id##_leaf_levels(uint32_t features)                                  \
	{                                                                                          \
		return a64_leaf_levels(ps, features);                                              \
	}                                                                                          \
	NEST_INLINE uint8_t id##_contig_shift(uint32_t features, unsigned level)                   \
	{                                                                                          \
		return a64_contig_shift(ps, features, level);                                      \
	}                                                                                          \
	NEST_INLINE bool id##_needs_break(uint32_t features, unsigned level, nest_pte_t from,      \
					  nest_pte_t to)                                           \
	{                                                                                          \
		return needs_break(ps, features, level, from, to);                                 \
	}                                                                                          \
	NEST_INLINE nest_pte_t id##_pa_bits(unsigned level, nest_pa_t pa)                          \
	{                                                                                          \
		(void)level;                                                                       \
		return a64_pa_bits(ps, pa);                                                        \
	}                                                                                          \
	NEST_INLINE nest_pte_t id##_pa_mask(uint32_t features, unsigned level)                     \
	{                                                                                          \
		return a64_pa_mask(ps, features, level);                                           \
	}                                                                                          \
	NEST_INLINE nest_pa_t id##_leaf_pa(uint32_t features, unsigned level, nest_pte_t pte)      \
	{                                                                                          \
		return a64_pa(ps, pte & a64_pa_mask(ps, features, level));                         \
	}                                                                                          \
	static inline int id##_attr(uint32_t features, unsigned level, nest_pte_t pte,             \
				    nest_attr_t *out)                                              \
	{                                                                                          \
		(void)level;                                                                       \
		return attr_of(features, pte, out);                                                \
	}                                                                                          \
	static inline nest_pte_t id##_table(uint32_t features, nest_pa_t pa)                       \
	{                                                                                          \
		(void)features;                                                                    \
		return a64_pa_bits(ps, pa) | A64_TABLE;                                            \
	}                                                                                          \
	NEST_INLINE nest_pa_t id##_table_pa(nest_pte_t pte)                                        \
	{                                                                                          \
		return a64_pa(ps, pte);                                                            \
	}                                                                                          \
	static inline bool id##_is_reserved(uint32_t features, unsigned level, nest_pte_t pte)     \
	{                                                                                          \
		return a64_is_reserved(ps, features, level, pte);                                  \
	}

/* The part of a descriptor that both stages share. */
#define A64_COMMON(id, ps)                                                                         \
	.page_shift = (ps), .index_bits = (ps) - 3, .mark_levels = NEST_MAX_LEVELS, .exact = true, \
	.ia_max = a64_width, .oa_max = a64_width, .oa_default = a64_width,                         \
	.leaf_levels = id##_leaf_levels, .contig_shift = id##_contig_shift,                        \
	.needs_break = id##_needs_break, .pa_bits = id##_pa_bits, .pa_mask = id##_pa_mask,         \
	.leaf_pa = id##_leaf_pa, .attr = id##_attr, .is_contig = a64_is_contig,                    \
	.contig = a64_contig, .uncontig = a64_uncontig, .table = id##_table,                       \
	.table_pa = id##_table_pa, .is_leaf = a64_is_leaf, .is_table = a64_is_table,               \
	.is_reserved = id##_is_reserved

/* ---- Registers ---- */

/* PS, IPS: 32, 36, 40, 42, 44, 48, 52 bits. */
static inline uint64_t a64_ps(unsigned oa_bits)
{
	static const uint8_t width[] = { 32, 36, 40, 42, 44, 48 };
	unsigned i = 0;

	while (i < sizeof(width) && width[i] < oa_bits)
		i++;
	return i;
}

/* IRGN, ORGN: write-back, write-allocate; SH: inner shareable. For walks. */
#define A64_WALKS ((uint64_t)0x35 << 8)

/* TG0: 4K 0, 64K 1, 16K 2. */
static inline uint64_t a64_tg0(const struct nest_pt *pt)
{
	unsigned ps = nest_fmt_of(pt)->page_shift;

	return ps == 12 ? 0 : ps == 16 ? 1 : 2;
}

/* A translation table base register: 63:48 VMID or ASID, 47:1 address, of which 51:48 in 5:2. */
static inline uint64_t a64_ttbr(const struct nest_pt *pt)
{
	return (uint64_t)pt->vmid << 48 | (pt->root & NEST_BITS(47, 6)) |
	       (pt->root >> 46 & NEST_BITS(5, 2));
}

#endif
