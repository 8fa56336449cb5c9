/* SPDX-License-Identifier: MIT */
/*
 * Entries of the LoongArch page tables (vol. 1, 5.4.5), for the first stage and for LVZ's second
 * level, which the root walks in the same way.
 *
 *   0 V   1 D   3:2 PLV   5:4 MAT   6 G at level 0, H (a leaf) above   7 P   8 W   11:9 software
 *   12 G of a huge entry   47:12 address   61 NR   62 NX   63 RPLV
 *
 * A pointer is the bare address of a table. So an empty directory entry points to a table that
 * holds nothing, and above level 0 no other word is harmless: lddir follows whatever has H clear.
 * Bits 14:13 of a huge entry are lddir's own and stay 0.
 *
 * D is the right to write that the TLB looks at; W is what software, or the hardware walker, may
 * turn into D. D without W would be a right that nobody granted: it is never made.
 */
#ifndef NEST_ARCH_LOONGARCH_PTE_H
#define NEST_ARCH_LOONGARCH_PTE_H

#include "core/format.h"

_Static_assert(NEST_HAS_BREAK &&NEST_HAS_FRESH,
	       "LoongArch needs breaks, and flushes of what is fresh");

#define LA_V         NEST_BIT(0)
#define LA_D         NEST_BIT(1)
#define LA_PLV       NEST_BITS(3, 2)
#define LA_MAT       NEST_BITS(5, 4)
#define LA_SUC       0
#define LA_CC        NEST_BIT(4)
#define LA_WUC       NEST_BIT(5)
#define LA_G_SMALL   NEST_BIT(6)
#define LA_HUGE      NEST_BIT(6)
#define LA_P         NEST_BIT(7)
#define LA_W         NEST_BIT(8)
#define LA_G_HUGE    NEST_BIT(12)
#define LA_NR        NEST_BIT(61)
#define LA_NX        NEST_BIT(62)
#define LA_BEYOND    NEST_BITS(60, 48)
#define LA_SMALL_PPN NEST_BITS(47, 12)
#define LA_HUGE_PPN  NEST_BITS(47, 13)

enum {
	LA_ATTRS = NEST_RWX | NEST_ACCESSED | NEST_DIRTY | NEST_SW_MASK,
	LA_SW_SHIFT = 7 /* NEST_SW0 is bit 16, the entry's bit 9 */
};

/* Without these, entries are built accessed, and dirty where writable: no access faults. */
NEST_INLINE bool la_tracks_a(uint32_t features)
{
	return (features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD)) != 0;
}

NEST_INLINE bool la_tracks_d(uint32_t features)
{
	return (features & (NEST_FEAT_HW_D | NEST_FEAT_SW_AD)) != 0;
}

/* Two levels of directories at least, and a bit of the third. */
enum { la_ia_min_4k = 12 + 2 * 9 + 1, la_ia_min_16k = 14 + 2 * 11 + 1 };

NEST_INLINE uint8_t la_width(uint32_t features)
{
	(void)features;
	return 48;
}

/* 2 MiB and 1 GiB. A huge entry is a pair of TLB pages of half its size; PRCFG2 lists those. */
static inline uint8_t la_leaf_levels_4k(uint32_t features)
{
	(void)features;
	return 7;
}

/* 32 MiB; no CPU has pages for 64 GiB. */
static inline uint8_t la_leaf_levels_16k(uint32_t features)
{
	(void)features;
	return 3;
}

/* A refill by software puts invalid entries into the TLB; the hardware walker does not. */
NEST_INLINE bool la_fresh_flush(uint32_t features)
{
	return !(features & NEST_FEAT_PTW);
}

static inline int la_type_to_pte(nest_attr_t attr, nest_pte_t *out)
{
	switch (attr & NEST_MT_MASK) {
	case NEST_MT_WB:
		*out = LA_CC;
		return NEST_OK;
	case NEST_MT_WC:
		*out = LA_WUC;
		return NEST_OK;
	case NEST_MT_WT:
		return NEST_E_UNSUPPORTED;
	default:
		*out = LA_SUC;
		return NEST_OK;
	}
}

static inline int la_leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	bool accessed = !la_tracks_a(features) || (attr & NEST_ACCESSED);
	bool dirty = la_tracks_d(features) ? (attr & NEST_DIRTY) != 0 : (attr & NEST_W) != 0;
	nest_pte_t type;

	if (!(attr & NEST_RWX) || (dirty && !(attr & NEST_W)) || la_type_to_pte(attr, &type))
		return NEST_E_UNSUPPORTED;
	*out = LA_P | type | (nest_pte_t)(attr & NEST_SW_MASK) >> LA_SW_SHIFT |
	       (level ? LA_HUGE : 0) | (accessed ? LA_V : 0) | (dirty ? LA_D : 0) |
	       (attr & NEST_R ? 0 : LA_NR) | (attr & NEST_W ? LA_W : 0) |
	       (attr & NEST_X ? 0 : LA_NX) | (attr & NEST_U ? LA_PLV : 0) |
	       (attr & NEST_G ? (level ? LA_G_HUGE : LA_G_SMALL) : 0);
	return NEST_OK;
}

NEST_INLINE nest_pte_t la_pa_bits(unsigned level, nest_pa_t pa)
{
	(void)level;
	return pa;
}

NEST_INLINE nest_pte_t la_pa_mask(uint32_t features, unsigned level)
{
	(void)features;
	return level ? LA_HUGE_PPN : LA_SMALL_PPN;
}

NEST_INLINE nest_pa_t la_leaf_pa(uint32_t features, unsigned level, nest_pte_t pte)
{
	return pte & la_pa_mask(features, level);
}

/*
 * Much can stand in an entry that has no name here (PLV 1 and 2, RPLV, D that differs from W, V
 * without P): named is what la_leaf() would build again (`exact`).
 */
NEST_INLINE int la_attr(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	nest_pte_t type = pte & LA_MAT;
	nest_attr_t attr = type == LA_CC ? NEST_MT_WB : type == LA_WUC ? NEST_MT_WC : NEST_MT_UC;

	attr |= (nest_attr_t)(pte << LA_SW_SHIFT) & NEST_SW_MASK;
	attr |= (pte & LA_NR ? 0 : NEST_R) | (pte & LA_W ? NEST_W : 0) |
		(pte & LA_NX ? 0 : NEST_X) | (pte & LA_PLV ? NEST_U : 0) |
		(pte & (level ? LA_G_HUGE : LA_G_SMALL) ? NEST_G : 0);
	if (la_tracks_a(features) && (pte & LA_V))
		attr |= NEST_ACCESSED;
	if (la_tracks_d(features) && (pte & LA_D))
		attr |= NEST_DIRTY;
	*out = attr;
	return NEST_OK;
}

static inline nest_pte_t la_table(uint32_t features, nest_pa_t pa)
{
	(void)features;
	return pa;
}

NEST_INLINE nest_pa_t la_table_pa(nest_pte_t pte)
{
	return pte & LA_SMALL_PPN;
}

static inline nest_pte_t la_absent(uint32_t features, unsigned level, nest_pa_t invalid)
{
	(void)features;
	return level ? invalid : 0;
}

NEST_INLINE bool la_is_leaf(unsigned level, nest_pte_t pte)
{
	return (pte & (LA_P | LA_V)) && (level == 0 || (pte & LA_HUGE));
}

NEST_INLINE bool la_is_table(unsigned level, nest_pte_t pte)
{
	return level > 0 && !(pte & LA_HUGE);
}

/*
 * A search that hits twice is undefined (5.4.4). A large page covers whatever comes below it, so
 * nothing smaller is filled while the TLB holds it; but where smaller pages give way to a large
 * one, an access beside them would bring it in while they are there.
 */
NEST_INLINE bool la_needs_break(uint32_t features, unsigned level, nest_pte_t from, nest_pte_t to)
{
	(void)features;
	return la_is_table(level, from) && la_is_leaf(level, to);
}

/*
 * A leaf that cannot be accessed (absent to the hardware walker, or not valid where V is not
 * tracked), MAT 3, an address that is too wide or not aligned; a pointer with anything but an
 * address.
 */
static inline bool la_is_reserved(unsigned page_shift, uint8_t leaf_levels, uint32_t features,
				  unsigned level, nest_pte_t pte)
{
	unsigned shift = page_shift + level * (page_shift - 3);
	nest_pte_t needed = (features & NEST_FEAT_PTW ? LA_P : 0) |
			    (la_tracks_a(features) ? 0 : LA_V);

	if (la_is_table(level, pte))
		return (pte & ~NEST_BITS(47, page_shift)) != 0;
	if (!la_is_leaf(level, pte))
		return level > 0;
	return !(leaf_levels >> level & 1) || (pte & needed) != needed ||
	       (pte & LA_MAT) == LA_MAT || (pte & LA_BEYOND) ||
	       (pte & la_pa_mask(features, level) & (NEST_BIT(shift) - 1));
}

static inline bool la_is_reserved_4k(uint32_t features, unsigned level, nest_pte_t pte)
{
	return la_is_reserved(12, la_leaf_levels_4k(features), features, level, pte);
}

static inline bool la_is_reserved_16k(uint32_t features, unsigned level, nest_pte_t pte)
{
	return la_is_reserved(14, la_leaf_levels_16k(features), features, level, pte);
}

NEST_INLINE nest_pte_t la_soft_bits(uint32_t features, unsigned level)
{
	(void)features;
	return level ? LA_HUGE : 0; /* a huge page that is not there, not a pointer */
}

NEST_INLINE nest_pte_t la_set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)features, (void)level;
	return pte | (ad & NEST_ACCESSED ? LA_V : 0) |
	       ((ad & NEST_DIRTY) && (pte & LA_W) ? LA_D : 0);
}

/* The parts of a descriptor that are the same in both stages; LA_FORMAT(4k) or LA_FORMAT(16k). */
#define LA_FORMAT(size)                                                                            \
	.absent_is_table = true, .dirty_needs_accessed = true, .page_shift = LA_PAGE_SHIFT_##size, \
	.index_bits = LA_PAGE_SHIFT_##size - 3, .mark_levels = 1, .exact = true,                   \
	.features = NEST_FEAT_HW_AD | NEST_FEAT_SW_AD | NEST_FEAT_PTW, .ia_min = la_ia_min_##size, \
	.ia_max = la_width, .ia_default = 48, .oa_max = la_width, .oa_default = la_width,          \
	.leaf_levels = la_leaf_levels_##size, .fresh_flush = la_fresh_flush,                       \
	.needs_break = la_needs_break, .leaf = la_leaf, .pa_bits = la_pa_bits,                     \
	.pa_mask = la_pa_mask, .leaf_pa = la_leaf_pa, .table = la_table, .table_pa = la_table_pa,  \
	.absent = la_absent, .is_leaf = la_is_leaf, .is_table = la_is_table,                       \
	.is_reserved = la_is_reserved_##size, .soft_bits = la_soft_bits, .set_ad = la_set_ad

enum { LA_PAGE_SHIFT_4k = 12, LA_PAGE_SHIFT_16k = 14 };

#endif
