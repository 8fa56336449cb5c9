/* SPDX-License-Identifier: MIT */
/*
 * RISC-V page table entries, for the first stage and the G-stage: they differ in the U and G bits
 * only, which the constant `g_stage` tells. Privileged spec 10.3.1 (first stage), 15.5.1 (G-stage),
 * Svnapot, Svpbmt, Svadu, Svvptc.
 *
 * Every word with V that is not is_reserved() is legal; attr_of() looks only at those.
 */
#ifndef NEST_ARCH_RISCV_PTE_H
#define NEST_ARCH_RISCV_PTE_H

#include "core/engine.h"

_Static_assert(NEST_HAS_FRESH, "RISC-V needs flushes of what is fresh");

#define RV_V         NEST_BIT(0)
#define RV_R         NEST_BIT(1)
#define RV_W         NEST_BIT(2)
#define RV_X         NEST_BIT(3)
#define RV_U         NEST_BIT(4)
#define RV_G         NEST_BIT(5)
#define RV_A         NEST_BIT(6)
#define RV_D         NEST_BIT(7)
#define RV_RIGHTS    (RV_R | RV_W | RV_X)
#define RV_SW_SHIFT  8
#define RV_PPN       NEST_BITS(53, 10)
#define RV_RESERVED  NEST_BITS(60, 54)
#define RV_PBMT      NEST_BITS(62, 61)
#define RV_PBMT_NC   NEST_BIT(61)
#define RV_PBMT_IO   NEST_BIT(62)
#define RV_N         NEST_BIT(63)
#define RV_NAPOT     NEST_BITS(13, 10) /* PPN[3:0]; 1000 with N: 16 pages, the only size there is */
#define RV_NAPOT_64K NEST_BIT(13)

enum {
	RV_FEATURES = NEST_FEAT_HW_AD | NEST_FEAT_SW_AD | NEST_FEAT_CONTIG | NEST_FEAT_PBMT |
		      NEST_FEAT_SVVPTC,
	RV_ATTRS = NEST_RWX | NEST_ACCESSED | NEST_DIRTY | NEST_SW0 | NEST_SW1
};

NEST_INLINE bool rv_tracks_a(uint32_t features)
{
	return (features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD)) != 0;
}

NEST_INLINE bool rv_tracks_d(uint32_t features)
{
	return (features & (NEST_FEAT_HW_D | NEST_FEAT_SW_AD)) != 0;
}

/* ---- Attributes ---- */

static inline int rv_memory_type(uint32_t features, nest_attr_t mt, nest_pte_t *out)
{
	if (mt == NEST_MT_WT || (mt != NEST_MT_WB && !(features & NEST_FEAT_PBMT)))
		return NEST_E_UNSUPPORTED;
	*out = mt == NEST_MT_WB ? 0 : mt == NEST_MT_WC ? RV_PBMT_NC : RV_PBMT_IO;
	return NEST_OK;
}

static inline int rv_leaf(bool g_stage, uint32_t features, nest_attr_t attr, nest_pte_t *out)
{
	nest_pte_t e;
	int err;

	if (!(attr & NEST_RWX) || ((attr & NEST_W) && !(attr & NEST_R)))
		return NEST_E_UNSUPPORTED;
	err = rv_memory_type(features, attr & NEST_MT_MASK, &e);
	if (err)
		return err;
	/* R, W and X stand in the same order. */
	e |= RV_V | (nest_pte_t)(attr & NEST_RWX) << 1;
	if (g_stage || (attr & NEST_U))
		e |= RV_U;
	if (attr & NEST_G)
		e |= RV_G;
	if (!rv_tracks_a(features) || (attr & NEST_ACCESSED))
		e |= RV_A;
	if (!rv_tracks_d(features) || (attr & NEST_DIRTY))
		e |= RV_D;
	*out = e | (nest_pte_t)(attr / NEST_SW0 & 3) << RV_SW_SHIFT;
	return NEST_OK;
}

static inline int rv_attr(bool g_stage, uint32_t features, nest_pte_t pte, nest_attr_t *out)
{
	nest_attr_t attr = (nest_attr_t)(pte >> 1) & NEST_RWX;

	/* The G-stage checks every access as one of user mode. */
	if (g_stage && !(pte & RV_U))
		return NEST_E_INVAL;
	if (!rv_tracks_a(features) && !(pte & RV_A))
		return NEST_E_INVAL;
	if (!rv_tracks_d(features) && !(pte & RV_D))
		attr &= ~NEST_W;
	if (g_stage && (pte & RV_G))
		return NEST_E_UNSUPPORTED;
	if (!g_stage && (pte & RV_U))
		attr |= NEST_U;
	if (pte & RV_G)
		attr |= NEST_G;
	if (rv_tracks_a(features) && (pte & RV_A))
		attr |= NEST_ACCESSED;
	if (rv_tracks_d(features) && (pte & RV_D))
		attr |= NEST_DIRTY;
	if (pte & RV_PBMT)
		attr |= pte & RV_PBMT_NC ? NEST_MT_WC : NEST_MT_UC;
	*out = attr | (nest_attr_t)(pte >> RV_SW_SHIFT & 3) * NEST_SW0;
	return NEST_OK;
}

NEST_INLINE nest_pte_t rv_set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)features, (void)level;
	if (ad & NEST_ACCESSED)
		pte |= RV_A;
	return ad & NEST_DIRTY ? pte | RV_D : pte;
}

/* ---- Kinds ---- */

NEST_INLINE bool rv_is_leaf(unsigned level, nest_pte_t pte)
{
	(void)level;
	return (pte & RV_V) && (pte & RV_RIGHTS);
}

NEST_INLINE bool rv_is_table(unsigned level, nest_pte_t pte)
{
	return level && (pte & (RV_V | RV_RIGHTS)) == RV_V;
}

static inline bool rv_is_reserved(uint32_t features, unsigned level, nest_pte_t pte)
{
	nest_pte_t pbmt = pte & RV_PBMT;

	if (!(pte & RV_V))
		return false;
	if ((pte & RV_RESERVED) || (pte & (RV_R | RV_W)) == RV_W)
		return true;
	if (!(pte & RV_RIGHTS))
		return !level || (pte & (RV_A | RV_D | RV_U | RV_PBMT | RV_N));
	if (pbmt && (pbmt == RV_PBMT || !(features & NEST_FEAT_PBMT)))
		return true;
	/* Bits of the page number below what the entry maps. */
	if (level)
		return (pte & (RV_N | NEST_BITS(9 + 9 * level, 10))) != 0;
	if (!(pte & RV_N))
		return false;
	return !(features & NEST_FEAT_CONTIG) || (pte & RV_NAPOT) != RV_NAPOT_64K;
}

/* ---- Addresses ---- */

NEST_INLINE nest_pte_t rv_pa_bits(unsigned level, nest_pa_t pa)
{
	(void)level;
	return pa >> 2 & RV_PPN;
}

NEST_INLINE nest_pte_t rv_pa_mask(uint32_t features, unsigned level)
{
	(void)features;
	return level > 4 ? 0 : NEST_BITS(53, 10 + 9 * level);
}

NEST_INLINE nest_pa_t rv_leaf_pa(uint32_t features, unsigned level, nest_pte_t pte)
{
	(void)features, (void)level;
	return (pte & RV_N ? pte & RV_PPN & ~RV_NAPOT : pte & RV_PPN) << 2;
}

static inline nest_pte_t rv_table(uint32_t features, nest_pa_t pa)
{
	(void)features;
	return rv_pa_bits(0, pa) | RV_V;
}

NEST_INLINE nest_pa_t rv_table_pa(nest_pte_t pte)
{
	return (pte & RV_PPN) << 2;
}

/* ---- Svnapot ---- */

NEST_INLINE uint8_t rv_contig_shift(uint32_t features, unsigned level)
{
	return features & NEST_FEAT_CONTIG && level == 0 ? 4 : 0;
}

NEST_INLINE bool rv_is_contig(unsigned level, nest_pte_t pte)
{
	return level == 0 && (pte & RV_N);
}

NEST_INLINE nest_pte_t rv_contig(unsigned level, nest_pte_t leaf)
{
	(void)level;
	return (leaf & ~RV_NAPOT) | RV_NAPOT_64K | RV_N;
}

static inline nest_pte_t rv_uncontig(unsigned level, nest_pte_t pte, unsigned index)
{
	(void)level;
	return (pte & ~(RV_NAPOT | RV_N)) | ((nest_pte_t)index << 10 & RV_NAPOT);
}

/* ---- The rest ---- */

static inline uint8_t rv_oa_max(uint32_t features)
{
	(void)features;
	return 56;
}

static inline uint8_t rv_leaf_levels(uint32_t features)
{
	(void)features;
	return 0x1f;
}

NEST_INLINE bool rv_fresh_flush(uint32_t features)
{
	return !(features & NEST_FEAT_SVVPTC);
}

/*
 * The part of a descriptor that both stages share. Nothing needs a break: old and new may both be
 * used until the fence, whatever was changed; nothing worse can happen.
 */
#define RV_COMMON                                                                                  \
	.dirty_needs_accessed = true, .page_shift = 12, .index_bits = 9,                           \
	.mark_levels = NEST_MAX_LEVELS, .features = RV_FEATURES, .oa_max = rv_oa_max,              \
	.oa_default = rv_oa_max, .leaf_levels = rv_leaf_levels, .contig_shift = rv_contig_shift,   \
	.fresh_flush = rv_fresh_flush, .pa_bits = rv_pa_bits, .pa_mask = rv_pa_mask,               \
	.leaf_pa = rv_leaf_pa, .is_contig = rv_is_contig, .contig = rv_contig,                     \
	.uncontig = rv_uncontig, .table = rv_table, .table_pa = rv_table_pa,                       \
	.is_leaf = rv_is_leaf, .is_table = rv_is_table, .is_reserved = rv_is_reserved,             \
	.set_ad = rv_set_ad

/*
 * hgatp and satp: MODE 63:60 is 8 for three levels, 9 for four, 10 for five; `id` stands in bits
 * n:44.
 */
static inline int rv_atp(const struct nest_pt *pt, const struct nest_format *format,
			 unsigned id_bits, uint64_t *out)
{
	if (!out)
		return NEST_E_INVAL;
	if (!nest_is_live(pt) || pt->format != format)
		return NEST_E_UNSUPPORTED;
	if (pt->vmid >> id_bits)
		return NEST_E_RANGE;
	*out = (uint64_t)(pt->top + 6u) << 60 | (uint64_t)pt->vmid << 44 | pt->root >> 12;
	return NEST_OK;
}

#endif
