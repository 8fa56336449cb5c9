/* SPDX-License-Identifier: MIT */
/*
 * AArch64 stage 2, at the 4, 16 and 64 KiB granules: descriptors, VTCR_EL2 and VTTBR_EL2, and the
 * faults that a guest takes to EL2. Arm ARM D8.3.2 (descriptors), D8.6.6 (memory types), D19.2.
 *
 * The engine prefers up to 16 concatenated root tables to one level more. Every width from 32 bits
 * up then has a legal VTCR_EL2.SL0; 4K tables need no level -1, even for 52 bits (concatenation at
 * level 0 comes with FEAT_LPA2).
 */
#include <nest/arch/aarch64.h>
#include <nest/fault.h>

#include "arch/aarch64/pte.h"

#define S2AP_R     NEST_BIT(6)
#define S2AP_W     NEST_BIT(7)
#define MEMATTR(n) ((nest_pte_t)(n) << 2)
#define XN_MASK    NEST_BITS(54, 53)
#define XN_NONE    ((nest_pte_t)2 << 53) /* no execution; the only other value without XNX is 0 */
#define XN_EL0     ((nest_pte_t)1 << 53) /* XNX: at EL0 only */
#define XN_EL1     ((nest_pte_t)3 << 53) /* XNX: at EL1 only */

/* MemAttr. With HCR_EL2.FWB it overrides stage 1, and there is no write-through. */
static inline int memattr(uint32_t features, nest_attr_t mt, nest_pte_t *out)
{
	bool fwb = (features & NEST_FEAT_S2FWB) != 0;

	switch (mt) {
	case NEST_MT_WB:
		*out = fwb ? MEMATTR(6) : MEMATTR(15);
		return NEST_OK;
	case NEST_MT_WT:
		*out = MEMATTR(10);
		return fwb ? NEST_E_UNSUPPORTED : NEST_OK;
	case NEST_MT_WC:
		*out = MEMATTR(5);
		return NEST_OK;
	case NEST_MT_DEVICE:
		*out = MEMATTR(1);
		return NEST_OK;
	default:
		*out = MEMATTR(0);
		return NEST_OK;
	}
}

/* A wrong guess for a value without a name does not encode to it again. */
static inline nest_attr_t memory_type(nest_pte_t pte)
{
	switch (pte >> 2 & 15) {
	case 0:
		return NEST_MT_DEVICE_STRICT;
	case 1:
		return NEST_MT_DEVICE;
	case 5:
		return NEST_MT_WC;
	case 10:
		return NEST_MT_WT;
	default:
		return NEST_MT_WB;
	}
}

static inline nest_pte_t execute_never(nest_attr_t attr, bool xnx)
{
	switch (attr & (NEST_X | NEST_XU)) {
	case NEST_X:
		return xnx ? XN_EL1 : 0;
	case NEST_XU:
		return XN_EL0;
	case NEST_X | NEST_XU:
		return 0;
	default:
		return XN_NONE;
	}
}

static inline int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	bool xnx = (features & NEST_FEAT_XNX) != 0, writable;
	nest_attr_t mt = attr & NEST_MT_MASK;
	nest_pte_t e, type;
	int err;

	if ((attr & NEST_XU) && !xnx)
		return NEST_E_UNSUPPORTED;
	err = memattr(features, mt, &type);
	if (!err)
		err = a64_status(features, level, attr, &e, &writable);
	if (err)
		return err;
	e |= type | a64_shareability(features, mt) | execute_never(attr, xnx);
	if (attr & NEST_R)
		e |= S2AP_R;
	if (writable)
		e |= S2AP_W;
	*out = e;
	return NEST_OK;
}

static inline int attr_of(uint32_t features, nest_pte_t pte, nest_attr_t *out)
{
	bool xnx = (features & NEST_FEAT_XNX) != 0;
	nest_pte_t xn = pte & XN_MASK;
	nest_attr_t attr;
	int err = a64_status_of(features, pte, (pte & S2AP_W) != 0, &attr);

	if (err)
		return err;
	attr |= memory_type(pte);
	if (pte & S2AP_R)
		attr |= NEST_R;
	if (xn == 0)
		attr |= xnx ? NEST_X | NEST_XU : NEST_X;
	else if (xn != XN_NONE)
		attr |= xn == XN_EL1 ? NEST_X : NEST_XU;
	*out = attr;
	return NEST_OK;
}

NEST_INLINE bool needs_break(unsigned ps, uint32_t features, unsigned level, nest_pte_t from,
			     nest_pte_t to)
{
	return a64_needs_break(ps, features, level, from, to, 0);
}

NEST_INLINE nest_pte_t set_ad(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t ad)
{
	(void)level;
	return a64_set_ad(features, pte, ad, (pte & S2AP_W) != 0, S2AP_W, 0);
}

/* `large`: the feature that widens this granule's addresses to 52 bits. */
#define S2_FORMAT(id, text, ps, large)                                                             \
	A64_GRANULE(id, ps)                                                                        \
	static const struct nest_fmt id = {                                                        \
		.name = (text),                                                                    \
		.stage2 = true,                                                                    \
		.ia_kind = NEST_IA_PLAIN,                                                          \
		.root_extra_bits = 4,                                                              \
		.features = A64_FEATURES | NEST_FEAT_S2FWB | NEST_FEAT_XNX | (large),              \
		.attrs = NEST_RWX | NEST_XU | NEST_ACCESSED | NEST_DIRTY | NEST_DBM |              \
			 NEST_SW_MASK,                                                             \
		.ia_min = 32,                                                                      \
		.ia_default = 40,                                                                  \
		.leaf = leaf,                                                                      \
		.set_ad = set_ad,                                                                  \
		A64_COMMON(id, ps),                                                                \
	}

/* A build may leave granules out (cmake/sources.cmake). */
#ifndef NEST_OMIT_nest_fmt_aarch64_s2_4k
S2_FORMAT(s2_4k, "aarch64-s2-4k", 12, NEST_FEAT_LPA2);
#define NEST_NAME nest_fmt_aarch64_s2_4k
#define NEST_DESC s2_4k
#include "core/instance.h"
#endif
#ifndef NEST_OMIT_nest_fmt_aarch64_s2_16k
S2_FORMAT(s2_16k, "aarch64-s2-16k", 14, NEST_FEAT_LPA2);
#define NEST_NAME nest_fmt_aarch64_s2_16k
#define NEST_DESC s2_16k
#include "core/instance.h"
#endif
#ifndef NEST_OMIT_nest_fmt_aarch64_s2_64k
S2_FORMAT(s2_64k, "aarch64-s2-64k", 16, NEST_FEAT_LPA);
#define NEST_NAME nest_fmt_aarch64_s2_64k
#define NEST_DESC s2_64k
#include "core/instance.h"
#endif

/* ---- Registers ---- */

/* Formats are not named here: a program links the engine of each format that it names. */
static bool is_stage2_table(const struct nest_pt *pt)
{
	return nest_is_live(pt) && nest_fmt_of(pt)->leaf == leaf;
}

/* SL0: 4K counts from Arm's level 2 up (3 needs FEAT_TTST and is not used), 16K and 64K from 3. */
static uint64_t starting_level(const struct nest_pt *pt)
{
	return nest_fmt_of(pt)->page_shift == 12 ? pt->top - 1u : pt->top;
}

int nest_aarch64_vtcr(const struct nest_pt *pt, uint32_t flags, uint64_t *out)
{
	uint64_t v = NEST_BIT(31) | A64_WALKS;

	if (!out || (flags & ~NEST_AARCH64_ID16))
		return NEST_E_INVAL;
	if (!is_stage2_table(pt))
		return NEST_E_UNSUPPORTED;
	if (pt->ia_bits > pt->oa_bits)
		return NEST_E_RANGE;
	v |= 64u - pt->ia_bits;
	v |= starting_level(pt) << 6;
	v |= a64_tg0(pt) << 14;
	v |= a64_ps(pt->oa_bits) << 16;
	if (flags & NEST_AARCH64_ID16)
		v |= NEST_BIT(19);
	/* HD does nothing without HA; where the access flag is not tracked it is set already. */
	if (pt->features & NEST_FEAT_HW_AD)
		v |= NEST_BIT(21);
	if (pt->features & NEST_FEAT_HW_D)
		v |= NEST_BIT(22);
	if (pt->features & NEST_FEAT_LPA2)
		v |= NEST_BIT(32);
	*out = v;
	return NEST_OK;
}

int nest_aarch64_vttbr(const struct nest_pt *pt, uint64_t *out)
{
	if (!out)
		return NEST_E_INVAL;
	if (!is_stage2_table(pt))
		return NEST_E_UNSUPPORTED;
	if (pt->vmid > 0xffff)
		return NEST_E_RANGE;
	*out = a64_ttbr(pt);
	return NEST_OK;
}

/* ---- Faults ---- */

enum {
	EC_INSTRUCTION_ABORT = 0x20, /* from a lower exception level */
	EC_DATA_ABORT = 0x24,
	ISS_WNR = 1 << 6,
	ISS_S1PTW = 1 << 7,
	ISS_CM = 1 << 8,
	ISS_FNV = 1 << 10
};

/* The fault status code: kind and Arm's level, or 4 where it tells none. ISS encoding, D19.2.37. */
static enum nest_fault_kind fault_kind(unsigned fsc, int *level)
{
	static const uint8_t kinds[] = { NEST_FAULT_ADDRESS_SIZE, NEST_FAULT_TRANSLATION,
					 NEST_FAULT_ACCESS_FLAG,  NEST_FAULT_PERMISSION,
					 NEST_FAULT_OTHER,        NEST_FAULT_EXTERNAL,
					 NEST_FAULT_OTHER,        NEST_FAULT_EXTERNAL };

	*level = 4;
	switch (fsc) {
	case 0x29:
		*level = -1;
		return NEST_FAULT_ADDRESS_SIZE;
	case 0x2b:
		*level = -1;
		return NEST_FAULT_TRANSLATION;
	case 0x13: /* external abort and parity error on a walk, level -1 */
	case 0x1b:
		*level = -1;
		return NEST_FAULT_EXTERNAL;
	case 0x10: /* external abort and parity error, not on a walk */
	case 0x18:
		return NEST_FAULT_EXTERNAL;
	case 0x30:
		return NEST_FAULT_CONFLICT;
	default:
		break;
	}
	if (fsc >= 0x20 || kinds[fsc >> 2] == NEST_FAULT_OTHER)
		return NEST_FAULT_OTHER;
	*level = (int)(fsc & 3);
	return (enum nest_fault_kind)kinds[fsc >> 2];
}

/*
 * What was tried. A guest's walk reads, and writes only to set its access flag or dirty state,
 * which shows as a permission fault. Cache maintenance sets WnR though it needs no more than to
 * read, unless it is refused as a write.
 */
static nest_attr_t access_of(uint64_t esr, bool fetch, enum nest_fault_kind kind)
{
	if (esr & ISS_S1PTW)
		return kind == NEST_FAULT_PERMISSION ? NEST_W : NEST_R;
	if (fetch)
		return NEST_X;
	if ((esr & ISS_CM) && kind != NEST_FAULT_PERMISSION)
		return NEST_R;
	return esr & ISS_WNR ? NEST_W : NEST_R;
}

/* HPFAR_EL2 is unknown for the other kinds. Arm ARM D19.2.62. */
static bool tells_ipa(enum nest_fault_kind kind)
{
	return kind == NEST_FAULT_TRANSLATION || kind == NEST_FAULT_PERMISSION ||
	       kind == NEST_FAULT_ADDRESS_SIZE || kind == NEST_FAULT_ACCESS_FLAG;
}

int nest_fault_aarch64(uint64_t esr, uint64_t far_el2, uint64_t hpfar, struct nest_fault *out)
{
	unsigned ec = (unsigned)(esr >> 26) & 0x3f;
	bool walk = (esr & ISS_S1PTW) != 0;
	struct nest_fault f = { .on_table_walk = walk };
	int level;

	if (!out)
		return NEST_E_INVAL;
	if (ec != EC_INSTRUCTION_ABORT && ec != EC_DATA_ABORT)
		return NEST_E_UNSUPPORTED;
	f.kind = fault_kind((unsigned)esr & 0x3f, &level);
	f.level = level == 4 ? NEST_FAULT_LEVEL_UNKNOWN : (unsigned)(3 - level);
	f.access = access_of(esr, ec == EC_INSTRUCTION_ABORT, f.kind);
	f.gva_valid = !(esr & ISS_FNV);
	f.gva = f.gva_valid ? far_el2 : 0;
	/* HPFAR_EL2.FIPA, 43:4, is IPA[51:12]. FAR_EL2 completes it unless the IPA is a table's. */
	f.gpa_valid = tells_ipa(f.kind);
	f.gpa = f.gpa_valid ? (hpfar & NEST_BITS(43, 4)) << 8 : 0;
	f.gpa_exact = f.gpa_valid && f.gva_valid && !walk;
	if (f.gpa_exact)
		f.gpa |= far_el2 & 0xfff;
	*out = f;
	return NEST_OK;
}
