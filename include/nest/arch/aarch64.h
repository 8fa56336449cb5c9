/* SPDX-License-Identifier: MIT */
/*
 * AArch64: register values and feature sets, which any machine can compute, and, when compiled for
 * AArch64, the instructions that an embedder's callbacks need.
 *
 * The TLB functions are for EL2 (stage 2, and EL2's own stage 1) or EL1, and reach all CPUs of the
 * inner shareable domain. Those for stage 2 work on the VMID in VTTBR_EL2, as the architecture
 * does: load the guest's before, or use nest_aarch64_s2_flush_as().
 */
#ifndef NEST_ARCH_AARCH64_H
#define NEST_ARCH_AARCH64_H

#include <nest/pt.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * MAIR_ELx for the first-stage formats: WB 0xff, WT 0xbb, non-cacheable 0x44, nGnRnE 0x00,
 * nGnRE 0x04, from the lowest byte on; the rest is not used.
 */
#define NEST_AARCH64_MAIR ((uint64_t)0x000000040044bbff)

/* Flag of the control registers: VMIDs (VTCR_EL2.VS) or ASIDs (TCR_EL1.AS) have 16 bits. */
#define NEST_AARCH64_ID16 ((uint32_t)1 << 0)

/*
 * VTCR_EL2 for a stage-2 table: T0SZ, SL0 and TG0 from its geometry, PS from oa_bits, HA, HD and DS
 * from its features; walks write-back and inner shareable. NEST_E_INVAL: NULL or unknown flag;
 * NEST_E_UNSUPPORTED: not a live AArch64 stage-2 table; NEST_E_RANGE: ia_bits exceed oa_bits, which
 * the CPU does not take. HCR_EL2.FWB has to follow NEST_FEAT_S2FWB.
 */
int nest_aarch64_vtcr(const struct nest_pt *pt, uint32_t flags, uint64_t *out);

/*
 * VTTBR_EL2: the root, and the VMID of nest_pt_set_vmid(). NEST_E_INVAL, NEST_E_UNSUPPORTED;
 * NEST_E_RANGE: the VMID has more than 16 bits.
 */
int nest_aarch64_vttbr(const struct nest_pt *pt, uint64_t *out);

/*
 * TCR_EL1 for the table of TTBR0_EL1 and that of TTBR1_EL1 (made with NEST_PT_UPPER). Either may be
 * NULL: its half then has no walks. NEST_E_INVAL: also when the two disagree in output width,
 * hardware updates or LPA2, which are fields for both. NEST_E_UNSUPPORTED: not live tables of
 * EL1&0, or in the wrong place.
 */
int nest_aarch64_tcr_el1(const struct nest_pt *lower, const struct nest_pt *upper, uint32_t flags,
			 uint64_t *out);

/* TCR_EL2 without VHE, for a table with NEST_FEAT_EL2. NEST_E_INVAL, NEST_E_UNSUPPORTED. */
int nest_aarch64_tcr_el2(const struct nest_pt *pt, uint64_t *out);

/*
 * TTBR0_EL1, TTBR1_EL1 or TTBR0_EL2: the root, and the ASID of nest_pt_set_vmid() (leave it 0 for
 * EL2). Errors as for nest_aarch64_vttbr().
 */
int nest_aarch64_ttbr(const struct nest_pt *pt, uint64_t *out);

/* ---- Features ---- */

/* The identification registers that the features are read from. */
struct nest_aarch64_id {
	uint64_t mmfr0, mmfr1, mmfr2; /* ID_AA64MMFR{0,1,2}_EL1 */
};

/* Has the CPU this granule (12, 14, 16) in this stage? 2: with 52-bit addresses by LPA2 too. */
static inline unsigned nest_aarch64_granule(const struct nest_aarch64_id *id, unsigned page_shift,
					    bool stage2)
{
	unsigned one, two = 0;

	if (page_shift == 12) {
		/* TGran4: 0 yes, 1 LPA2, 15 no. TGran4_2: 0 as TGran4, 1 no, 2 yes, 3 LPA2. */
		one = (unsigned)(id->mmfr0 >> 28) & 15;
		one = one == 15 ? 0 : one + 1;
		two = (unsigned)(id->mmfr0 >> 40) & 15;
	} else if (page_shift == 14) {
		/* TGran16: 0 no, 1 yes, 2 LPA2. TGran16_2 likewise. */
		one = (unsigned)(id->mmfr0 >> 20) & 15;
		two = (unsigned)(id->mmfr0 >> 32) & 15;
	} else {
		/* TGran64: 0 yes, 15 no. */
		one = ((id->mmfr0 >> 24) & 15) == 0;
		two = (unsigned)(id->mmfr0 >> 36) & 15;
	}
	if (stage2 && two)
		one = two - 1;
	return one > 2 ? 2 : one;
}

/* ID_AA64MMFR0_EL1.PARange in bits: the widest output address, and the widest IPA. */
static inline unsigned nest_aarch64_pa_range(const struct nest_aarch64_id *id)
{
	static const uint8_t bits[] = { 32, 36, 40, 42, 44, 48, 52, 52 };

	return bits[id->mmfr0 & 7];
}

/*
 * What a CPU offers to an AArch64 format, as NEST_FEAT_*. Take away what you do not want: tracking
 * of accessed and dirty (NEST_FEAT_HW_AD), and NEST_FEAT_S2FWB when HCR_EL2.FWB stays 0. A CPU
 * without the format's granule: 0, see nest_aarch64_granule(). 64K virtual addresses of more than
 * 48 bits need FEAT_LVA beside.
 *
 * NEST_FEAT_BBM2 is in the answer only with FEAT_BBML3 (ID_AA64MMFR2_EL1.BBM, 55:52, is 3), which
 * promises that no TLB conflict abort comes of a change of size. Level 2 permits the abort, and
 * the registers do not say whether the CPU takes it. You may add NEST_FEAT_BBM2 yourself if every
 * CPU that walks the table is
 *  - one whose maker says that it never takes the abort, whatever BBM says. Linux keeps a list of
 *    such CPUs by MIDR_EL1 (arch/arm64/kernel/cpufeature.c); or
 *  - of level 2, and your handler flushes the VMID and resumes on NEST_FAULT_CONFLICT. This works
 *    for a second stage alone: in a first stage the CPU may take the abort in the handler, too.
 */
static inline uint32_t nest_aarch64_features(const struct nest_format *format,
					     const struct nest_aarch64_id *id)
{
	uint32_t f = NEST_FEAT_CONTIG;
	struct nest_format_info info;
	unsigned granule, hafdbs = (unsigned)id->mmfr1 & 15, bbm = (unsigned)(id->mmfr2 >> 52) & 15;

	if (nest_format_describe(format, 0, &info) != NEST_OK)
		return 0;
	granule = nest_aarch64_granule(id, info.page_shift, info.stage2);
	if (!granule)
		return 0;
	if (granule == 2)
		f |= NEST_FEAT_LPA2;
	if (nest_aarch64_pa_range(id) == 52)
		f |= NEST_FEAT_LPA;
	if (hafdbs >= 1)
		f |= NEST_FEAT_HW_A;
	if (hafdbs >= 2)
		f |= NEST_FEAT_HW_D;
	if ((id->mmfr1 >> 28) & 15)
		f |= NEST_FEAT_XNX;
	if ((id->mmfr2 >> 40) & 15)
		f |= NEST_FEAT_S2FWB;
	if (bbm >= 3)
		f |= NEST_FEAT_BBM2;
	return f & info.features;
}

/* The output width to configure: PARange, or 48 bits without the feature for more. */
static inline unsigned nest_aarch64_oa_bits(const struct nest_aarch64_id *id, uint32_t features)
{
	unsigned bits = nest_aarch64_pa_range(id);

	return bits > 48 && !(features & (NEST_FEAT_LPA | NEST_FEAT_LPA2)) ? 48 : bits;
}

/* Has the CPU 16-bit VMIDs? Then NEST_AARCH64_ID16 may be given for VTCR_EL2. */
static inline bool nest_aarch64_has_vmid16(const struct nest_aarch64_id *id)
{
	return ((id->mmfr1 >> 4) & 15) == 2;
}

/* ---- TLB operands ---- */

/*
 * The operand of one range TLBI (FEAT_TLBIRANGE) that covers as many of the `pages` from `ia` on as
 * one can; *covered tells how many, at least one, and perhaps one too many. `ds`: VTCR_EL2.DS or
 * TCR.DS is set, and `ia` is a multiple of 64 KiB. pages > 0.
 */
static inline uint64_t nest_aarch64_tlbi_range(uint64_t ia, uint64_t pages, unsigned page_shift,
					       bool ds, uint64_t *covered)
{
	uint64_t tg = page_shift == 12 ? 1 : page_shift == 14 ? 2 : 3;
	uint64_t base = (ia >> (ds ? 16 : page_shift)) & (((uint64_t)1 << 37) - 1);
	unsigned scale = 0;
	uint64_t n;

	/* It covers (NUM + 1) << (5 * SCALE + 1) pages, with NUM up to 31 and SCALE up to 3. */
	while (scale < 3 && pages >> (5 * scale + 6))
		scale++;
	n = scale ? pages >> (5 * scale + 1) : (pages + 1) >> 1;
	n = n > 32 ? 32 : n;
	*covered = n << (5 * scale + 1);
	return base | (n - 1) << 39 | (uint64_t)scale << 44 | tg << 46;
}

/*
 * How far apart single invalidations may be: the smallest pages that may have been cached there.
 * Where a table was removed, any size may have hung below it.
 */
static inline unsigned nest_aarch64_flush_shift(const struct nest_flush *what, unsigned page_shift)
{
	unsigned shift = page_shift;

	if (!what->leaf_only || !what->level_mask)
		return shift;
	for (unsigned mask = what->level_mask; !(mask & 1) && shift + page_shift - 3 < 64;
	     mask >>= 1)
		shift += page_shift - 3;
	return shift;
}

/* And how many of them, the first at what->ia. */
static inline uint64_t nest_aarch64_flush_count(const struct nest_flush *what, unsigned shift)
{
	uint64_t offset = what->ia & (((uint64_t)1 << shift) - 1);

	return what->size ? ((offset + what->size - 1) >> shift) + 1 : 0;
}

#if defined(__aarch64__)

/* ---- Barriers, registers ---- */

#define NEST_AARCH64_READ(reg)                                                                     \
	__extension__({                                                                            \
		uint64_t value_;                                                                   \
		__asm__ volatile("mrs %0, " #reg : "=r"(value_));                                  \
		value_;                                                                            \
	})
#define NEST_AARCH64_WRITE(reg, value)                                                             \
	__asm__ volatile("msr " #reg ", %0" : : "r"((uint64_t)(value)) : "memory")
#define NEST_AARCH64_DSB(domain) __asm__ volatile("dsb " #domain : : : "memory")
#define NEST_AARCH64_ISB()       __asm__ volatile("isb" : : : "memory")
/* TLBI by its system encoding, so that any assembler has it; with and without operand. */
#define NEST_AARCH64_TLBI(op1, crm, op2, operand)                                                  \
	__asm__ volatile("sys #" #op1 ", c8, " #crm ", #" #op2 ", %0"                              \
			 :                                                                         \
			 : "r"((uint64_t)(operand))                                                \
			 : "memory")
#define NEST_AARCH64_TLBI_ALL(op1, crm, op2)                                                       \
	__asm__ volatile("sys #" #op1 ", c8, " #crm ", #" #op2 : : : "memory")

static inline struct nest_aarch64_id nest_aarch64_read_id(void)
{
	struct nest_aarch64_id id;

	id.mmfr0 = NEST_AARCH64_READ(id_aa64mmfr0_el1);
	id.mmfr1 = NEST_AARCH64_READ(id_aa64mmfr1_el1);
	id.mmfr2 = NEST_AARCH64_READ(s3_0_c0_c7_2); /* ID_AA64MMFR2_EL1 */
	return id;
}

static inline bool nest_aarch64_has_tlbi_range(void)
{
	return ((NEST_AARCH64_READ(id_aa64isar0_el1) >> 56) & 15) >= 2;
}

/* ---- Caches ---- */

/* Smallest data cache line, in bytes. */
static inline size_t nest_aarch64_line(void)
{
	return (size_t)4 << ((NEST_AARCH64_READ(ctr_el0) >> 16) & 15);
}

/*
 * Clean [va, va + len) to the point of coherency: what a walker that does not look into caches
 * sees.
 */
static inline void nest_aarch64_clean(const void *va, size_t len)
{
	size_t line = nest_aarch64_line();
	uintptr_t end = (uintptr_t)va + len;

	for (uintptr_t p = (uintptr_t)va & ~(uintptr_t)(line - 1); p < end; p += line)
		__asm__ volatile("dc cvac, %0" : : "r"(p) : "memory");
	NEST_AARCH64_DSB(sy);
}

/* Clean and invalidate: before a frame changes its owner or its memory type. */
static inline void nest_aarch64_clean_invalidate(const void *va, size_t len)
{
	size_t line = nest_aarch64_line();
	uintptr_t end = (uintptr_t)va + len;

	for (uintptr_t p = (uintptr_t)va & ~(uintptr_t)(line - 1); p < end; p += line)
		__asm__ volatile("dc civac, %0" : : "r"(p) : "memory");
	NEST_AARCH64_DSB(sy);
}

/*
 * nest_host.sync where walkers are coherent (with the walk attributes of these registers they are):
 * entries are visible to the walkers of all CPUs when it returns.
 */
static inline void nest_aarch64_publish(void)
{
	NEST_AARCH64_DSB(ishst);
	NEST_AARCH64_ISB();
}

/* ---- Stage 2 ---- */

/* More single invalidations than this cost more than to refill the TLB. */
enum { NEST_AARCH64_FLUSH_MAX = 64 };

/* TLBI IPAS2E1IS, or for leaves only IPAS2LE1IS: the operand is IPA[51:12]. */
static inline void nest_aarch64_tlbi_ipa(nest_ia_t ipa, bool leaf_only)
{
	if (leaf_only)
		NEST_AARCH64_TLBI(4, c0, 5, ipa >> 12);
	else
		NEST_AARCH64_TLBI(4, c0, 1, ipa >> 12);
}

/* TLBI RIPAS2E1IS, RIPAS2LE1IS; operands of nest_aarch64_tlbi_range(). */
static inline void nest_aarch64_tlbi_ipa_range(uint64_t operand, bool leaf_only)
{
	if (leaf_only)
		NEST_AARCH64_TLBI(4, c0, 6, operand);
	else
		NEST_AARCH64_TLBI(4, c0, 2, operand);
}

/* TLBI VMALLE1IS: stage 1, and combined entries, of the VMID in use. */
static inline void nest_aarch64_tlbi_vmalle1is(void)
{
	NEST_AARCH64_TLBI_ALL(0, c3, 0);
}

/* TLBI VMALLS12E1IS: both stages of the VMID in use. */
static inline void nest_aarch64_tlbi_vmalls12e1is(void)
{
	NEST_AARCH64_TLBI_ALL(4, c3, 6);
}

/* Stage-2 entries of a range, by IPA. False: that would take too many instructions. */
static inline bool nest_aarch64_s2_flush_ipas(const struct nest_flush *what)
{
	uint64_t vtcr = NEST_AARCH64_READ(vtcr_el2), ia, covered, end = what->ia + what->size;
	unsigned tg = (unsigned)(vtcr >> 14) & 3, page_shift = tg == 0 ? 12 : tg == 1 ? 16 : 14;
	bool ds = ((vtcr >> 32) & 1) != 0, range = nest_aarch64_has_tlbi_range();
	unsigned shift = nest_aarch64_flush_shift(what, page_shift);
	uint64_t n = nest_aarch64_flush_count(what, shift);

	if (n <= (range ? NEST_AARCH64_FLUSH_MAX / 8 : NEST_AARCH64_FLUSH_MAX)) {
		for (uint64_t i = 0; i < n; i++)
			nest_aarch64_tlbi_ipa(what->ia + (i << shift), what->leaf_only);
		return true;
	}
	if (!range || (what->size >> page_shift) > (uint64_t)1 << 21)
		return false;
	ia = ds ? what->ia & ~(uint64_t)0xffff : what->ia;
	for (; ia < end; ia += covered << page_shift)
		nest_aarch64_tlbi_ipa_range(nest_aarch64_tlbi_range(ia, (end - ia) >> page_shift,
								    page_shift, ds, &covered),
					    what->leaf_only);
	return true;
}

/*
 * nest_host.tlb_flush for stage 2, complete on return. VTTBR_EL2 and VTCR_EL2 hold the guest's
 * values. By IPA only stage-2 entries go; the entries combined of both stages then need VMALLE1IS.
 */
static inline void nest_aarch64_s2_flush(const struct nest_flush *what)
{
	NEST_AARCH64_DSB(ishst);
	if (what->all || !nest_aarch64_s2_flush_ipas(what)) {
		nest_aarch64_tlbi_vmalls12e1is();
	} else {
		NEST_AARCH64_DSB(ish);
		nest_aarch64_tlbi_vmalle1is();
	}
	NEST_AARCH64_DSB(ish);
	NEST_AARCH64_ISB();
}

/* The same for a guest that is not loaded: VTTBR_EL2 and VTCR_EL2 are its for the time. */
static inline void nest_aarch64_s2_flush_as(const struct nest_flush *what, uint64_t vttbr,
					    uint64_t vtcr)
{
	uint64_t old_vttbr = NEST_AARCH64_READ(vttbr_el2), old_vtcr = NEST_AARCH64_READ(vtcr_el2);

	NEST_AARCH64_WRITE(vttbr_el2, vttbr);
	NEST_AARCH64_WRITE(vtcr_el2, vtcr);
	NEST_AARCH64_ISB();
	nest_aarch64_s2_flush(what);
	NEST_AARCH64_WRITE(vttbr_el2, old_vttbr);
	NEST_AARCH64_WRITE(vtcr_el2, old_vtcr);
	NEST_AARCH64_ISB();
}

/*
 * HPFAR_EL2 is not valid for a permission fault outside of a guest's table walk (errata aside):
 * find the IPA by AT S1E1R then. To be called before nest_fault_aarch64(), with the guest's EL1
 * state loaded. False: the guest's tables do not translate it any more; let the guest try again.
 */
static inline bool nest_aarch64_fault_hpfar(uint64_t esr, uint64_t far_el2, uint64_t *hpfar)
{
	bool permission = (esr & 0x3c) == 0x0c, s1ptw = (esr & 0x80) != 0;
	uint64_t old_par, par;

	*hpfar = NEST_AARCH64_READ(hpfar_el2);
	if (!permission || s1ptw)
		return true;
	old_par = NEST_AARCH64_READ(par_el1);
	__asm__ volatile("at s1e1r, %0\n\tisb" : : "r"(far_el2) : "memory");
	par = NEST_AARCH64_READ(par_el1);
	NEST_AARCH64_WRITE(par_el1, old_par);
	/* PAR_EL1: F 0, PA[51:12] where it stands; HPFAR_EL2: IPA[51:12] in 43:4. */
	*hpfar = (par >> 8) & 0x00000ffffffffff0;
	return !(par & 1);
}

/* ---- Stage 1 ---- */

/* TLBI VAE1IS, VALE1IS or, for EL2, VAE2IS, VALE2IS: the operand is ASID 63:48, VA[55:12]. */
static inline void nest_aarch64_tlbi_va(uint64_t operand, bool el2, bool leaf_only)
{
	if (el2 && leaf_only)
		NEST_AARCH64_TLBI(4, c3, 5, operand);
	else if (el2)
		NEST_AARCH64_TLBI(4, c3, 1, operand);
	else if (leaf_only)
		NEST_AARCH64_TLBI(0, c3, 5, operand);
	else
		NEST_AARCH64_TLBI(0, c3, 1, operand);
}

/* TLBI ALLE2IS: all that EL2 itself has translated. */
static inline void nest_aarch64_tlbi_alle2is(void)
{
	NEST_AARCH64_TLBI_ALL(4, c3, 0);
}

/*
 * nest_host.tlb_flush for stage 1, complete on return: of EL1&0, to be called on EL1 (or on EL2
 * with the guest's VMID loaded), by VA and the flush's ASID or, for many pages, all of it, global
 * entries too; or of EL2.
 */
static inline void nest_aarch64_s1_flush(const struct nest_flush *what, unsigned page_shift,
					 bool el2)
{
	unsigned shift = nest_aarch64_flush_shift(what, page_shift);
	uint64_t n = nest_aarch64_flush_count(what, shift);
	uint64_t asid = el2 ? 0 : (uint64_t)what->vmid << 48;

	NEST_AARCH64_DSB(ishst);
	if (what->all || n > NEST_AARCH64_FLUSH_MAX) {
		if (el2)
			nest_aarch64_tlbi_alle2is();
		else
			nest_aarch64_tlbi_vmalle1is();
		n = 0;
	}
	for (uint64_t i = 0; i < n; i++)
		nest_aarch64_tlbi_va(asid | (((what->ia + (i << shift)) >> 12) & 0xfffffffffff),
				     el2, what->leaf_only);
	NEST_AARCH64_DSB(ish);
	NEST_AARCH64_ISB();
}

#endif /* __aarch64__ */

#ifdef __cplusplus
}
#endif
#endif
