/* SPDX-License-Identifier: MIT */
/*
 * Entries of the x86-64 page tables, which AMD's nested paging uses as they are (APM vol. 2, 5.3
 * and 15.25). Needs EFER.NXE.
 *
 *   0 P   1 RW   2 US   3 PWT   4 PCD   5 A   6 D   7 PS, or PAT at level 0   8 G
 *   12 PAT of a large page   51:12 address   54:52 software   63 NX
 *
 * Bit 12 of a large page is never address. A pointer allows everything: rights are the leaf's.
 */
#ifndef NEST_ARCH_X86_64_PTE_H
#define NEST_ARCH_X86_64_PTE_H

#include "arch/x86_64/geometry.h"

#define X86_P         NEST_BIT(0)
#define X86_RW        NEST_BIT(1)
#define X86_US        NEST_BIT(2)
#define X86_PWT       NEST_BIT(3)
#define X86_PCD       NEST_BIT(4)
#define X86_A         NEST_BIT(5)
#define X86_D         NEST_BIT(6)
#define X86_G         NEST_BIT(8)
#define X86_NX        NEST_BIT(63)
#define X86_PAT_SMALL NEST_BIT(7)
#define X86_PAT_LARGE NEST_BIT(12)

/* PAT entries 0, 1 and 3 as after reset; entry 5 is write-combining with NEST_FEAT_PAT. */
static inline int x86_type_to_pte(uint32_t features, unsigned level, nest_attr_t attr,
				  nest_pte_t *out)
{
	switch (attr & NEST_MT_MASK) {
	case NEST_MT_WB:
		*out = 0;
		return NEST_OK;
	case NEST_MT_WT:
		*out = X86_PWT;
		return NEST_OK;
	case NEST_MT_WC:
		*out = (level ? X86_PAT_LARGE : X86_PAT_SMALL) | X86_PWT;
		return features & NEST_FEAT_PAT ? NEST_OK : NEST_E_UNSUPPORTED;
	default:
		*out = X86_PCD | X86_PWT;
		return NEST_OK;
	}
}

static inline int x86_type_from_pte(uint32_t features, unsigned level, nest_pte_t pte,
				    nest_attr_t *out)
{
	unsigned entry = (unsigned)(pte >> 3 & 3);

	if (pte & (level ? X86_PAT_LARGE : X86_PAT_SMALL))
		entry |= 4;
	switch (entry) {
	case 0:
		*out = NEST_MT_WB;
		return NEST_OK;
	case 1:
		*out = NEST_MT_WT;
		return NEST_OK;
	case 3:
		*out = NEST_MT_UC;
		return NEST_OK;
	case 5:
		*out = NEST_MT_WC;
		return features & NEST_FEAT_PAT ? NEST_OK : NEST_E_UNSUPPORTED;
	default:
		return NEST_E_UNSUPPORTED;
	}
}

static inline int x86_leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	nest_pte_t type;

	if (!(attr & NEST_R) || x86_type_to_pte(features, level, attr, &type))
		return NEST_E_UNSUPPORTED;
	*out = X86_P | type | x86_sw_to_pte(attr) | (level ? X86_PS : 0) |
	       (attr & NEST_W ? X86_RW : 0) | (attr & NEST_X ? 0 : X86_NX) |
	       (attr & NEST_U ? X86_US : 0) | (attr & NEST_G ? X86_G : 0) |
	       (attr & NEST_ACCESSED ? X86_A : 0) | (attr & NEST_DIRTY ? X86_D : 0);
	return NEST_OK;
}

static inline int x86_attr(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	nest_attr_t type;

	if (x86_type_from_pte(features, level, pte, &type))
		return NEST_E_UNSUPPORTED;
	*out = NEST_R | type | x86_sw_from_pte(pte) | (pte & X86_RW ? NEST_W : 0) |
	       (pte & X86_NX ? 0 : NEST_X) | (pte & X86_US ? NEST_U : 0) |
	       (pte & X86_G ? NEST_G : 0) | (pte & X86_A ? NEST_ACCESSED : 0) |
	       (pte & X86_D ? NEST_DIRTY : 0);
	return NEST_OK;
}

static inline nest_pte_t x86_table(uint32_t features, nest_pa_t pa)
{
	(void)features;
	return pa | X86_P | X86_RW | X86_US;
}

NEST_INLINE bool x86_is_leaf(unsigned level, nest_pte_t pte)
{
	return (pte & X86_P) && (level == 0 || (pte & X86_PS));
}

NEST_INLINE bool x86_is_table(unsigned level, nest_pte_t pte)
{
	return level > 0 && (pte & (X86_P | X86_PS)) == X86_P;
}

/* PS where no large page exists, or address bits below a large page's size (12 is its PAT). */
static inline bool x86_is_reserved(uint32_t features, unsigned level, nest_pte_t pte)
{
	if (level == 0 || !x86_is_leaf(level, pte))
		return false;
	return !(x86_leaf_levels(features) >> level & 1) ||
	       (pte & NEST_BITS(x86_shift(level) - 1, 13));
}

NEST_INLINE nest_pte_t x86_set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)features, (void)level;
	return pte | (ad & NEST_ACCESSED ? X86_A : 0) | (ad & NEST_DIRTY ? X86_D : 0);
}

/* The part of a descriptor that is the same in the first stage and in NPT. */
#define X86_ENTRIES                                                                                \
	X86_GEOMETRY, .ad_always = true, .table = x86_table, .is_leaf = x86_is_leaf,               \
		.is_table = x86_is_table, .set_ad = x86_set_ad,                                    \
		.features = NEST_FEAT_1G | NEST_FEAT_LA57 | NEST_FEAT_PAT

#endif
