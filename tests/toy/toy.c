/* SPDX-License-Identifier: MIT */
/*
 * The toy formats. An entry: bit 0 valid, bit 1 leaf, address 47:5, R 60, W 61, X 62,
 * contiguous 63. They show, too, all that a format file has to contain.
 */
#include "toy.h"
#include "core/engine.h"

enum { TOY_PAGE_SHIFT = 5 };

#define VALID      NEST_BIT(0)
#define LEAF       NEST_BIT(1)
#define ADDRESS    NEST_BITS(47, 5)
#define CONTIGUOUS NEST_BIT(63)

static uint8_t ia_bits(uint32_t features)
{
	(void)features;
	return TOY_IA_BITS;
}

static uint8_t oa_bits(uint32_t features)
{
	(void)features;
	return 48;
}

static uint8_t leaf_levels(uint32_t features)
{
	(void)features;
	return 7;
}

static uint8_t contig_shift(uint32_t features, unsigned level)
{
	(void)level;
	return features & NEST_FEAT_CONTIG ? 1 : 0;
}

static bool yes(uint32_t features)
{
	(void)features;
	return true;
}

static bool break_for_shape(uint32_t features, unsigned level, nest_pte_t from, nest_pte_t to)
{
	(void)features, (void)level;
	return ((from ^ to) & (LEAF | ADDRESS | CONTIGUOUS)) != 0;
}

static int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	(void)features, (void)level;
	if (!(attr & NEST_R) || (attr & NEST_MT_MASK))
		return NEST_E_UNSUPPORTED;
	*out = VALID | LEAF | (nest_pte_t)(attr & NEST_RWX) << 60;
	return NEST_OK;
}

static int attr_of(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	(void)features, (void)level;
	*out = (nest_attr_t)(pte >> 60) & NEST_RWX;
	return NEST_OK;
}

static nest_pte_t pa_bits(unsigned level, nest_pa_t pa)
{
	(void)level;
	return pa;
}

static nest_pte_t pa_mask(uint32_t features, unsigned level)
{
	(void)features, (void)level;
	return ADDRESS;
}

static nest_pa_t leaf_pa(uint32_t features, unsigned level, nest_pte_t pte)
{
	(void)features, (void)level;
	return pte & ADDRESS;
}

static bool is_contig(unsigned level, nest_pte_t pte)
{
	(void)level;
	return (pte & CONTIGUOUS) != 0;
}

static nest_pte_t contig(unsigned level, nest_pte_t pte)
{
	(void)level;
	return pte | CONTIGUOUS;
}

static nest_pte_t uncontig(unsigned level, nest_pte_t pte, unsigned index)
{
	(void)level, (void)index;
	return pte & ~CONTIGUOUS;
}

static nest_pte_t table(uint32_t features, nest_pa_t pa)
{
	(void)features;
	return pa | VALID;
}

static nest_pa_t table_pa(nest_pte_t pte)
{
	return pte & ADDRESS;
}

static bool is_leaf(unsigned level, nest_pte_t pte)
{
	(void)level;
	return (pte & (VALID | LEAF)) == (VALID | LEAF);
}

static bool is_table(unsigned level, nest_pte_t pte)
{
	(void)level;
	return (pte & (VALID | LEAF)) == VALID;
}

static bool is_reserved(uint32_t features, unsigned level, nest_pte_t pte)
{
	(void)features;
	return level == 0 && is_table(level, pte);
}

static nest_pte_t set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)features, (void)level, (void)ad;
	return pte;
}

#define TOY(text, fresh, needs)                                                                    \
	{ .name = (text),                                                                          \
	  .stage2 = true,                                                                          \
	  .ia_kind = NEST_IA_PLAIN,                                                                \
	  .page_shift = TOY_PAGE_SHIFT,                                                            \
	  .index_bits = 2,                                                                         \
	  .mark_levels = 3,                                                                        \
	  .features = NEST_FEAT_CONTIG,                                                            \
	  .attrs = NEST_RWX,                                                                       \
	  .ia_min = TOY_IA_BITS,                                                                   \
	  .ia_max = ia_bits,                                                                       \
	  .ia_default = TOY_IA_BITS,                                                               \
	  .oa_max = oa_bits,                                                                       \
	  .oa_default = oa_bits,                                                                   \
	  .leaf_levels = leaf_levels,                                                              \
	  .contig_shift = contig_shift,                                                            \
	  .fresh_flush = (fresh),                                                                  \
	  .needs_break = (needs),                                                                  \
	  .leaf = leaf,                                                                            \
	  .pa_bits = pa_bits,                                                                      \
	  .pa_mask = pa_mask,                                                                      \
	  .leaf_pa = leaf_pa,                                                                      \
	  .attr = attr_of,                                                                         \
	  .is_contig = is_contig,                                                                  \
	  .contig = contig,                                                                        \
	  .uncontig = uncontig,                                                                    \
	  .table = table,                                                                          \
	  .table_pa = table_pa,                                                                    \
	  .is_leaf = is_leaf,                                                                      \
	  .is_table = is_table,                                                                    \
	  .is_reserved = is_reserved,                                                              \
	  .set_ad = set_ad }

static const struct nest_fmt plain = TOY("toy-plain", yes, NULL);
static const struct nest_fmt broken = TOY("toy-break", NULL, break_for_shape);

const bool toy_is_small = NEST_SMALL;

#define NEST_NAME toy_plain
#define NEST_DESC plain
#include "core/instance.h"
#define NEST_NAME toy_break
#define NEST_DESC broken
#include "core/instance.h"
