/* SPDX-License-Identifier: MIT */
/*
 * Intel extended page tables (SDM vol. 3C, 29.3).
 *
 *   0 R   1 W   2 X   5:3 memory type   6 ignore guest PAT   7 leaf, above level 0
 *   8 accessed   9 dirty   10 user execute (MBEC)   51:12 address   54:52 software
 *   63 suppress #VE
 *
 * Hardware takes an entry for present by bits 2:0, and 10 with MBEC, and then looks for forbidden
 * combinations at every level: none may ever be stored, not even for a moment.
 */
#include <nest/arch/x86.h>
#include <nest/fault.h>

#include "arch/x86_64/geometry.h"
#include "core/engine.h"

#define EPT_R           NEST_BIT(0)
#define EPT_W           NEST_BIT(1)
#define EPT_X           NEST_BIT(2)
#define EPT_IPAT        NEST_BIT(6)
#define EPT_A           NEST_BIT(8)
#define EPT_D           NEST_BIT(9)
#define EPT_XU          NEST_BIT(10)
#define EPT_SUPPRESS_VE NEST_BIT(63)
#define EPT_RIGHTS      (EPT_R | EPT_W | EPT_X | EPT_XU)

enum { EPT_TYPE_SHIFT = 3, EPT_UC = 0, EPT_WC = 1, EPT_WT = 4, EPT_WP = 5, EPT_WB = 6 };

/* Entries' memory types by that of attributes, a nibble each; what is not here is uncached. */
static inline nest_pte_t type_to_pte(nest_attr_t attr)
{
	unsigned of = EPT_WB | EPT_WT << 4 | EPT_WC << 8, nibble = (attr & NEST_MT_MASK) >> 8;

	return (nest_pte_t)(of >> nibble * 4 & 7) << EPT_TYPE_SHIFT;
}

/* What the features lack, and rights that are a misconfiguration or look absent. */
static inline bool is_expressible(uint32_t features, nest_attr_t attr)
{
	if (((attr & NEST_XU) && !(features & NEST_FEAT_MBEC)) ||
	    ((attr & NEST_ACCESSED) && !(features & NEST_FEAT_HW_A)) ||
	    ((attr & NEST_DIRTY) && !(features & NEST_FEAT_HW_D)))
		return false;
	if (attr & NEST_R)
		return true;
	return !(attr & NEST_W) && (attr & (NEST_X | NEST_XU)) && (features & NEST_FEAT_XO);
}

/* Attributes whose bits stand in the same order in an entry. */
_Static_assert(NEST_RWX == (EPT_R | EPT_W | EPT_X), "rights");
_Static_assert((NEST_ACCESSED | NEST_DIRTY) >> 4 == (EPT_A | EPT_D), "status");

static inline int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	if (!is_expressible(features, attr))
		return NEST_E_UNSUPPORTED;
	*out = type_to_pte(attr) | x86_sw_to_pte(attr) | (level ? X86_PS : 0) | (attr & NEST_RWX) |
	       (attr & (NEST_ACCESSED | NEST_DIRTY)) >> 4 | (attr & NEST_XU ? EPT_XU : 0) |
	       (features & NEST_FEAT_VE ? EPT_SUPPRESS_VE : 0);
	return NEST_OK;
}

static inline int type_from_pte(nest_pte_t pte, nest_attr_t *out)
{
	switch (pte >> EPT_TYPE_SHIFT & 7) {
	case EPT_WB:
		*out = NEST_MT_WB;
		return NEST_OK;
	case EPT_WT:
		*out = NEST_MT_WT;
		return NEST_OK;
	case EPT_WC:
		*out = NEST_MT_WC;
		return NEST_OK;
	case EPT_UC:
		*out = NEST_MT_UC;
		return NEST_OK;
	case EPT_WP:
		return NEST_E_UNSUPPORTED;
	default:
		return NEST_E_INVAL;
	}
}

static inline int attr_of(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	nest_attr_t type;
	int err = type_from_pte(pte, &type);

	(void)level;
	if (err)
		return err;
	if (pte & EPT_IPAT)
		return NEST_E_UNSUPPORTED;
	*out = type | x86_sw_from_pte(pte) | (pte & EPT_R ? NEST_R : 0) |
	       (pte & EPT_W ? NEST_W : 0) | (pte & EPT_X ? NEST_X : 0);
	if ((features & NEST_FEAT_MBEC) && (pte & EPT_XU))
		*out |= NEST_XU;
	if ((features & NEST_FEAT_HW_A) && (pte & EPT_A))
		*out |= NEST_ACCESSED;
	if ((features & NEST_FEAT_HW_D) && (pte & EPT_D))
		*out |= NEST_DIRTY;
	return NEST_OK;
}

static inline nest_pte_t table(uint32_t features, nest_pa_t pa)
{
	return pa | EPT_R | EPT_W | EPT_X | (features & NEST_FEAT_MBEC ? EPT_XU : 0);
}

/* Also what software words need, so that a fault there comes to the hypervisor. */
NEST_INLINE nest_pte_t soft_bits(uint32_t features, unsigned level)
{
	(void)level;
	return features & NEST_FEAT_VE ? EPT_SUPPRESS_VE : 0;
}

static inline nest_pte_t absent(uint32_t features, unsigned level, nest_pa_t invalid)
{
	(void)invalid;
	return soft_bits(features, level);
}

NEST_INLINE bool is_leaf(unsigned level, nest_pte_t pte)
{
	return (pte & EPT_RIGHTS) && (level == 0 || (pte & X86_PS));
}

NEST_INLINE bool is_table(unsigned level, nest_pte_t pte)
{
	return level > 0 && (pte & EPT_RIGHTS) && !(pte & X86_PS);
}

/*
 * EPT misconfigurations (29.3.3.1). Memory types are attr_of()'s. An entry with only bit 10 set and
 * no MBEC counts too: hardware has it absent, but it is nobody's absent entry.
 */
static bool is_reserved(uint32_t features, unsigned level, nest_pte_t pte)
{
	if (!(pte & EPT_RIGHTS))
		return false;
	if (!(pte & (EPT_R | EPT_W | EPT_X)) && !(features & NEST_FEAT_MBEC))
		return true;
	if (!(pte & EPT_R) && ((pte & EPT_W) || !(features & NEST_FEAT_XO)))
		return true;
	if (is_table(level, pte))
		return (pte & NEST_BITS(6, 3)) != 0;
	return !(x86_leaf_levels(features) >> level & 1) ||
	       (pte & X86_ADDRESS & ~x86_pa_mask(features, level));
}

NEST_INLINE nest_pte_t set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)level;
	return pte | (ad & NEST_ACCESSED && features & NEST_FEAT_HW_A ? EPT_A : 0) |
	       (ad & NEST_DIRTY && features & NEST_FEAT_HW_D ? EPT_D : 0);
}

static const struct nest_fmt ept_fmt = {
	.name = "ept",
	.stage2 = true,
	.ia_kind = NEST_IA_PLAIN,
	.features = NEST_FEAT_1G | NEST_FEAT_XO | NEST_FEAT_MBEC | NEST_FEAT_VE | NEST_FEAT_LA57 |
		    NEST_FEAT_HW_AD,
	.attrs = NEST_RWX | NEST_XU | NEST_ACCESSED | NEST_DIRTY | NEST_SW_MASK,
	.leaf = leaf,
	.attr = attr_of,
	.table = table,
	.absent = absent,
	.is_leaf = is_leaf,
	.is_table = is_table,
	.is_reserved = is_reserved,
	.soft_bits = soft_bits,
	.set_ad = set_ad,
	X86_GEOMETRY,
};

#define NEST_NAME nest_fmt_ept
#define NEST_DESC ept_fmt
#include "core/instance.h"

int nest_ept_eptp(const struct nest_pt *pt, uint64_t *out)
{
	if (!pt || pt->format != &nest_fmt_ept || !out)
		return NEST_E_INVAL;
	*out = nest_pt_root(pt) | EPT_WB | (uint64_t)(nest_pt_levels(pt) - 1) << 3;
	if (pt->features & NEST_FEAT_HW_AD)
		*out |= NEST_BIT(6);
	return NEST_OK;
}

int nest_ept_pml_drain(const uint64_t log[NEST_PML_ENTRIES], uint16_t index, nest_ia_t ia,
		       uint64_t size, uint64_t *bitmap, uint64_t *outside)
{
	const uint16_t full = 0xffff; /* what the index becomes below entry 0 */
	const uint64_t page = (uint64_t)1 << X86_PAGE_SHIFT;
	unsigned first = index == full ? 0 : index + 1u;

	if (!log || !bitmap || !outside || first > NEST_PML_ENTRIES)
		return NEST_E_INVAL;
	if ((ia | size) & (page - 1))
		return NEST_E_ALIGN;
	if (!size || ia + (size - 1) < ia)
		return NEST_E_RANGE;
	for (unsigned i = first; i < NEST_PML_ENTRIES; i++) {
		/*
		 * Bits 11:0 should be 0, but some CPUs (Bochs') leave the address's own there. With
		 * ia and size whole pages they make no difference.
		 */
		uint64_t offset = log[i] - ia, n = offset / page;

		if (offset < size)
			bitmap[n / 64] |= NEST_BIT(n % 64);
		else
			++*outside;
	}
	return (int)(NEST_PML_ENTRIES - first);
}

/* The exit qualification of an EPT violation. */
#define EQ_READ        NEST_BIT(0)
#define EQ_WRITE       NEST_BIT(1)
#define EQ_FETCH       NEST_BIT(2)
#define EQ_PERMITTED   NEST_BITS(6, 3) /* R, W, X, user X of the translation, all levels together */
#define EQ_GLA_VALID   NEST_BIT(7)
#define EQ_TRANSLATION NEST_BIT(8) /* with GLA_VALID: the access itself, not the guest's walk */

int nest_fault_ept(uint64_t qualification, uint64_t gpa, uint64_t gla, bool misconfig,
		   struct nest_fault *out)
{
	struct nest_fault f = {
		.gpa = gpa,
		.gpa_valid = true,
		.gpa_exact = true,
		.kind = NEST_FAULT_MISCONFIG,
		.level = NEST_FAULT_LEVEL_UNKNOWN,
	};

	if (!out)
		return NEST_E_INVAL;
	if (!misconfig) {
		f.access = (qualification & EQ_READ ? NEST_R : 0) |
			   (qualification & EQ_WRITE ? NEST_W : 0) |
			   (qualification & EQ_FETCH ? NEST_X : 0);
		/* An access is a fetch or one of data, and no CPU tells of both at once. */
		if (!f.access || ((f.access & NEST_X) && f.access != NEST_X))
			return NEST_E_UNSUPPORTED;
		f.kind = qualification & EQ_PERMITTED ? NEST_FAULT_PERMISSION
						      : NEST_FAULT_TRANSLATION;
		f.gva_valid = (qualification & EQ_GLA_VALID) != 0;
		f.gva = f.gva_valid ? gla : 0;
		f.on_table_walk = f.gva_valid && !(qualification & EQ_TRANSLATION);
	}
	*out = f;
	return NEST_OK;
}
