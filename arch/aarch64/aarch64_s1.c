/* SPDX-License-Identifier: MIT */
/*
 * AArch64 stage 1, at the 4, 16 and 64 KiB granules: EL1&0, or EL2 without VHE (NEST_FEAT_EL2),
 * with TCR and TTBR. Arm ARM D8.3.1 (descriptors), D8.4 (permissions).
 *
 * AttrIndx is an index into NEST_AARCH64_MAIR: the memory types hold only with that value loaded.
 */
#include <nest/arch/aarch64.h>

#include "arch/aarch64/pte.h"

#define ATTR_INDEX(n) ((nest_pte_t)(n) << 2)
#define AP_EL0        NEST_BIT(6) /* AP[1]; RES1 where there is no EL0 */
#define AP_READ_ONLY  NEST_BIT(7) /* AP[2] */
#define NOT_GLOBAL    NEST_BIT(11)
#define PXN           NEST_BIT(53)
#define UXN           NEST_BIT(54) /* XN of EL2 */

/* The fields of NEST_AARCH64_MAIR. */
enum { INDEX_WB, INDEX_WT, INDEX_NC, INDEX_NGNRNE, INDEX_NGNRE };

static inline nest_pte_t attr_index(nest_attr_t mt)
{
	switch (mt) {
	case NEST_MT_WB:
		return ATTR_INDEX(INDEX_WB);
	case NEST_MT_WT:
		return ATTR_INDEX(INDEX_WT);
	case NEST_MT_WC:
		return ATTR_INDEX(INDEX_NC);
	case NEST_MT_DEVICE:
		return ATTR_INDEX(INDEX_NGNRE);
	default:
		return ATTR_INDEX(INDEX_NGNRNE);
	}
}

/* A wrong guess for an index that MAIR does not fill does not encode to it again. */
static inline nest_attr_t memory_type(nest_pte_t pte)
{
	switch (pte >> 2 & 7) {
	case INDEX_WT:
		return NEST_MT_WT;
	case INDEX_NC:
		return NEST_MT_WC;
	case INDEX_NGNRNE:
		return NEST_MT_DEVICE_STRICT;
	case INDEX_NGNRE:
		return NEST_MT_DEVICE;
	default:
		return NEST_MT_WB;
	}
}

/* Two exception levels, each with its own execute-never bit: the page's own mode, and the other. */
static inline int el1_bits(nest_attr_t attr, nest_pte_t *out)
{
	bool user = (attr & NEST_U) != 0;
	nest_pte_t e = user ? AP_EL0 : 0;

	/* Whatever PXN says, EL1 does not execute what EL0 may write to. */
	if (user && (attr & NEST_W) && (attr & NEST_XU))
		return NEST_E_UNSUPPORTED;
	if (!(attr & NEST_X))
		e |= user ? UXN : PXN;
	if (!(attr & NEST_XU))
		e |= user ? PXN : UXN;
	if (!(attr & NEST_G))
		e |= NOT_GLOBAL;
	*out = e;
	return NEST_OK;
}

static inline int el2_bits(nest_attr_t attr, nest_pte_t *out)
{
	if (attr & (NEST_U | NEST_XU | NEST_G))
		return NEST_E_UNSUPPORTED;
	*out = attr & NEST_X ? AP_EL0 : AP_EL0 | UXN;
	return NEST_OK;
}

static inline int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	nest_attr_t mt = attr & NEST_MT_MASK;
	nest_pte_t e, rights;
	bool writable;
	int err;

	if (!(attr & NEST_R))
		return NEST_E_UNSUPPORTED;
	err = features & NEST_FEAT_EL2 ? el2_bits(attr, &rights) : el1_bits(attr, &rights);
	if (!err)
		err = a64_status(features, level, attr, &e, &writable);
	if (err)
		return err;
	e |= rights | attr_index(mt) | a64_shareability(features, mt);
	if (!writable)
		e |= AP_READ_ONLY;
	*out = e;
	return NEST_OK;
}

static inline nest_attr_t rights_of(uint32_t features, nest_pte_t pte)
{
	bool user = (pte & AP_EL0) != 0;
	nest_attr_t attr = NEST_R;

	if (features & NEST_FEAT_EL2)
		return pte & UXN ? attr : attr | NEST_X;
	if (user)
		attr |= NEST_U;
	if (!(pte & (user ? UXN : PXN)))
		attr |= NEST_X;
	if (!(pte & (user ? PXN : UXN)))
		attr |= NEST_XU;
	return pte & NOT_GLOBAL ? attr : attr | NEST_G;
}

static inline int attr_of(uint32_t features, nest_pte_t pte, nest_attr_t *out)
{
	nest_attr_t attr;
	int err = a64_status_of(features, pte, !(pte & AP_READ_ONLY), &attr);

	if (err)
		return err;
	attr |= rights_of(features, pte) | memory_type(pte);
	*out = attr;
	return NEST_OK;
}

/* A global entry must not appear while a TLB may hold one that is not. */
NEST_INLINE bool needs_break(unsigned ps, uint32_t features, unsigned level, nest_pte_t from,
			     nest_pte_t to)
{
	return a64_needs_break(ps, features, level, from, to, NOT_GLOBAL);
}

NEST_INLINE nest_pte_t set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)level;
	return a64_set_ad(features, pte, ad, !(pte & AP_READ_ONLY), 0, AP_READ_ONLY);
}

/* `large`: the feature that widens this granule's addresses to 52 bits. */
#define S1_FORMAT(id, text, ps, large)                                                             \
	A64_GRANULE(id, ps)                                                                        \
	static const struct nest_fmt id = {                                                        \
		.name = (text),                                                                    \
		.ia_kind = NEST_IA_SPLIT,                                                          \
		.features = A64_FEATURES | NEST_FEAT_EL2 | (large),                                \
		.attrs = NEST_RWX | NEST_XU | NEST_U | NEST_G | NEST_ACCESSED | NEST_DIRTY |       \
			 NEST_DBM | NEST_SW_MASK,                                                  \
		.ia_min = 25,                                                                      \
		.ia_default = 48,                                                                  \
		.leaf = leaf,                                                                      \
		.set_ad = set_ad,                                                                  \
		A64_COMMON(id, ps),                                                                \
	}

/* A build may leave granules out (cmake/sources.cmake). */
#ifndef NEST_OMIT_nest_fmt_aarch64_s1_4k
S1_FORMAT(s1_4k, "aarch64-s1-4k", 12, NEST_FEAT_LPA2);
#define NEST_NAME nest_fmt_aarch64_s1_4k
#define NEST_DESC s1_4k
#include "core/instance.h"
#endif
#ifndef NEST_OMIT_nest_fmt_aarch64_s1_16k
S1_FORMAT(s1_16k, "aarch64-s1-16k", 14, NEST_FEAT_LPA2);
#define NEST_NAME nest_fmt_aarch64_s1_16k
#define NEST_DESC s1_16k
#include "core/instance.h"
#endif
#ifndef NEST_OMIT_nest_fmt_aarch64_s1_64k
S1_FORMAT(s1_64k, "aarch64-s1-64k", 16, NEST_FEAT_LPA);
#define NEST_NAME nest_fmt_aarch64_s1_64k
#define NEST_DESC s1_64k
#include "core/instance.h"
#endif

/* ---- Registers ---- */

/* Formats are not named here: a program links the engine of each format that it names. */
static bool is_stage1_table(const struct nest_pt *pt)
{
	return nest_is_live(pt) && nest_fmt_of(pt)->leaf == leaf;
}

/* A table of EL1&0, for the half it is given for. */
static bool is_half(const struct nest_pt *pt, bool upper)
{
	return is_stage1_table(pt) && !(pt->features & NEST_FEAT_EL2) &&
	       !(pt->flags & NEST_PT_UPPER) == !upper;
}

/* TG1: 16K 1, 4K 2, 64K 3. */
static uint64_t tg1(const struct nest_pt *pt)
{
	uint64_t tg0 = a64_tg0(pt);

	return tg0 == 0 ? 2 : tg0 == 1 ? 3 : 1;
}

int nest_aarch64_tcr_el1(const struct nest_pt *lower, const struct nest_pt *upper, uint32_t flags,
			 uint64_t *out)
{
	const uint32_t common = NEST_FEAT_HW_AD | NEST_FEAT_LPA2;
	const struct nest_pt *lo = lower ? lower : upper, *hi = upper ? upper : lower;
	uint64_t v = A64_WALKS | A64_WALKS << 16;

	if (!out || !lo || (flags & ~NEST_AARCH64_ID16))
		return NEST_E_INVAL;
	if ((lower && !is_half(lower, false)) || (upper && !is_half(upper, true)))
		return NEST_E_UNSUPPORTED;
	if (((lo->features ^ hi->features) & common) || lo->oa_bits != hi->oa_bits)
		return NEST_E_INVAL;
	v |= 64u - lo->ia_bits;
	v |= (uint64_t)(64u - hi->ia_bits) << 16;
	v |= a64_tg0(lo) << 14;
	v |= tg1(hi) << 30;
	v |= a64_ps(lo->oa_bits) << 32;
	/* EPD0, EPD1: no walks where there is no table. */
	if (!lower)
		v |= NEST_BIT(7);
	if (!upper)
		v |= NEST_BIT(23);
	if (flags & NEST_AARCH64_ID16)
		v |= NEST_BIT(36);
	if (lo->features & NEST_FEAT_HW_AD)
		v |= NEST_BIT(39);
	if (lo->features & NEST_FEAT_HW_D)
		v |= NEST_BIT(40);
	if (lo->features & NEST_FEAT_LPA2)
		v |= NEST_BIT(59);
	*out = v;
	return NEST_OK;
}

int nest_aarch64_tcr_el2(const struct nest_pt *pt, uint64_t *out)
{
	uint64_t v = NEST_BIT(31) | NEST_BIT(23) | A64_WALKS; /* two RES1 bits */

	if (!out)
		return NEST_E_INVAL;
	if (!is_stage1_table(pt) || !(pt->features & NEST_FEAT_EL2) || (pt->flags & NEST_PT_UPPER))
		return NEST_E_UNSUPPORTED;
	v |= 64u - pt->ia_bits;
	v |= a64_tg0(pt) << 14;
	v |= a64_ps(pt->oa_bits) << 16;
	if (pt->features & NEST_FEAT_HW_AD)
		v |= NEST_BIT(21);
	if (pt->features & NEST_FEAT_HW_D)
		v |= NEST_BIT(22);
	if (pt->features & NEST_FEAT_LPA2)
		v |= NEST_BIT(32);
	*out = v;
	return NEST_OK;
}

int nest_aarch64_ttbr(const struct nest_pt *pt, uint64_t *out)
{
	if (!out)
		return NEST_E_INVAL;
	if (!is_stage1_table(pt))
		return NEST_E_UNSUPPORTED;
	if (pt->vmid > 0xffff)
		return NEST_E_RANGE;
	*out = a64_ttbr(pt);
	return NEST_OK;
}
