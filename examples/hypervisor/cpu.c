/* SPDX-License-Identifier: MIT */
/*
 * EL2's registers; see cpu.h. What a later CPU has beyond ARMv8.0 is looked up before its registers
 * are touched, and given to the guest as it is.
 */
#include <nest/arch/aarch64.h>

#include "console.h"
#include "cpu.h"

/* HCR_EL2 */
#define HCR_VM  ((uint64_t)1 << 0)  /* second stage on */
#define HCR_TSC ((uint64_t)1 << 19) /* SMC comes to EL2 */
#define HCR_RW  ((uint64_t)1 << 31) /* EL1 is AArch64 */
#define HCR_APK ((uint64_t)1 << 40) /* pointer authentication is not trapped */
#define HCR_API ((uint64_t)1 << 41)
#define HCR_FWB ((uint64_t)1 << 46) /* MemAttr as FEAT_S2FWB has it */

#define CPTR_RES1     ((uint64_t)0x22ff)     /* no traps of FP, SVE, SME */
#define SCTLR_EL1_OFF ((uint64_t)0x30d00800) /* MMU and caches off; RES1 bits */
#define SCTLR_EL2_ON  ((uint64_t)0x30c51835) /* MMU, data and instruction caches; RES1 bits */
#define CNTHCTL_FREE  ((uint64_t)3)          /* physical counter and timer are not trapped */
#define ICC_SRE_FREE  ((uint64_t)0xf)        /* GICv3 by system registers, at EL1 too */

static unsigned field(uint64_t reg, unsigned shift)
{
	return (unsigned)(reg >> shift) & 15;
}

uint64_t cpu_affinity(void)
{
	return NEST_AARCH64_READ(mpidr_el1) & 0xff00ffffff;
}

int cpu_start_mmu(const struct nest_pt *pt)
{
	uint64_t tcr, ttbr;
	int err = nest_aarch64_tcr_el2(pt, &tcr);

	if (!err)
		err = nest_aarch64_ttbr(pt, &ttbr);
	if (err)
		return err;
	NEST_AARCH64_WRITE(mair_el2, NEST_AARCH64_MAIR);
	NEST_AARCH64_WRITE(tcr_el2, tcr);
	NEST_AARCH64_WRITE(ttbr0_el2, ttbr);
	NEST_AARCH64_ISB();
	nest_aarch64_s1_flush(&(struct nest_flush){ .all = true }, 12, true);
	NEST_AARCH64_WRITE(sctlr_el2, SCTLR_EL2_ON);
	NEST_AARCH64_ISB();
	return NEST_OK;
}

/* What the guest may use of the CPU, and the values that it finds in registers of EL1. */
static void start_el1(void)
{
	NEST_AARCH64_WRITE(cptr_el2, CPTR_RES1);
	NEST_AARCH64_ISB();
	if (field(NEST_AARCH64_READ(id_aa64pfr0_el1), 32)) /* SVE: the longest vectors, ZCR_EL2 */
		NEST_AARCH64_WRITE(s3_4_c1_c2_0, 0xf);
	if (field(NEST_AARCH64_READ(id_aa64pfr1_el1), 24)) /* SME: likewise, SMCR_EL2 */
		NEST_AARCH64_WRITE(s3_4_c1_c2_6, 0x8000000f);
	NEST_AARCH64_WRITE(s3_4_c12_c9_5, ICC_SRE_FREE); /* ICC_SRE_EL2 */
	NEST_AARCH64_WRITE(cnthctl_el2, CNTHCTL_FREE);
	NEST_AARCH64_WRITE(cntvoff_el2, 0);
	NEST_AARCH64_WRITE(vpidr_el2, NEST_AARCH64_READ(midr_el1));
	NEST_AARCH64_WRITE(vmpidr_el2, NEST_AARCH64_READ(mpidr_el1));
	NEST_AARCH64_WRITE(sctlr_el1, SCTLR_EL1_OFF);
}

int cpu_start_guest(const struct nest_pt *pt, uint32_t features)
{
	const struct nest_aarch64_id id = nest_aarch64_read_id();
	uint32_t flags = nest_aarch64_has_vmid16(&id) ? NEST_AARCH64_ID16 : 0;
	uint64_t vtcr, vttbr, hcr = HCR_VM | HCR_TSC | HCR_RW | HCR_APK | HCR_API;
	int err = nest_aarch64_vtcr(pt, flags, &vtcr);

	if (!err)
		err = nest_aarch64_vttbr(pt, &vttbr);
	if (err)
		return err;
	print("host: VTCR_EL2 %lx, VTTBR_EL2 %lx\n", vtcr, vttbr);
	if (features & NEST_FEAT_S2FWB)
		hcr |= HCR_FWB;
	start_el1();
	NEST_AARCH64_WRITE(vtcr_el2, vtcr);
	NEST_AARCH64_WRITE(vttbr_el2, vttbr);
	NEST_AARCH64_WRITE(hcr_el2, hcr);
	NEST_AARCH64_ISB();
	/* Whatever the TLB and the instruction cache hold is from before. */
	nest_aarch64_tlbi_vmalls12e1is();
	__asm__ volatile("ic ialluis" : : : "memory");
	NEST_AARCH64_DSB(ish);
	NEST_AARCH64_ISB();
	return NEST_OK;
}

void cpu_stop_guest(void)
{
	NEST_AARCH64_WRITE(hcr_el2, HCR_RW);
	NEST_AARCH64_ISB();
}
