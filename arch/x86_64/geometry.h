/* SPDX-License-Identifier: MIT */
/*
 * What EPT, NPT and the x86-64 first stage have in common: the shape of the tree, where an entry
 * keeps its address, the large-page bit, and that an entry which is not present may hold anything.
 *
 * The physical width is the architecture's, 52 bits. A CPU with fewer treats the bits above its own
 * as reserved: the embedder tells it by nest_pt_config.oa_bits.
 */
#ifndef NEST_ARCH_X86_64_GEOMETRY_H
#define NEST_ARCH_X86_64_GEOMETRY_H

#include "core/format.h"

enum { X86_PAGE_SHIFT = 12, X86_INDEX_BITS = 9 };

#define X86_PS      NEST_BIT(7) /* a leaf, above level 0 */
#define X86_ADDRESS NEST_BITS(51, 12)

NEST_INLINE unsigned x86_shift(unsigned level)
{
	return X86_PAGE_SHIFT + level * X86_INDEX_BITS;
}

/* The embedder's three bits are 54:52: no extension, and not VT-d either, has claimed those. */
static inline nest_pte_t x86_sw_to_pte(nest_attr_t attr)
{
	return (nest_pte_t)(attr & NEST_SW_MASK) << 36;
}

static inline nest_attr_t x86_sw_from_pte(nest_pte_t pte)
{
	return (nest_attr_t)(pte >> 36) & NEST_SW_MASK;
}

static inline uint8_t x86_ia_max(uint32_t features)
{
	return features & NEST_FEAT_LA57 ? 57 : 48;
}

static inline bool x86_ia_ok(uint32_t features, unsigned bits)
{
	return bits == 48 || (bits == 57 && (features & NEST_FEAT_LA57));
}

static inline uint8_t x86_oa_bits(uint32_t features)
{
	(void)features;
	return 52;
}

static inline uint8_t x86_leaf_levels(uint32_t features)
{
	return features & NEST_FEAT_1G ? 7 : 3;
}

NEST_INLINE nest_pte_t x86_pa_bits(unsigned level, nest_pa_t pa)
{
	(void)level;
	return pa;
}

NEST_INLINE nest_pte_t x86_pa_mask(uint32_t features, unsigned level)
{
	(void)features;
	return NEST_BITS(51, x86_shift(level));
}

NEST_INLINE nest_pa_t x86_leaf_pa(uint32_t features, unsigned level, nest_pte_t pte)
{
	return pte & x86_pa_mask(features, level);
}

NEST_INLINE nest_pa_t x86_table_pa(nest_pte_t pte)
{
	return pte & X86_ADDRESS;
}

/* The part of a descriptor that is the same in all three. */
#define X86_GEOMETRY                                                                               \
	.page_shift = X86_PAGE_SHIFT, .index_bits = X86_INDEX_BITS,                                \
	.mark_levels = NEST_MAX_LEVELS, .ia_min = 48, .ia_default = 48, .ia_max = x86_ia_max,      \
	.ia_ok = x86_ia_ok, .oa_max = x86_oa_bits, .oa_default = x86_oa_bits,                      \
	.leaf_levels = x86_leaf_levels, .pa_bits = x86_pa_bits, .pa_mask = x86_pa_mask,            \
	.leaf_pa = x86_leaf_pa, .table_pa = x86_table_pa

#endif
