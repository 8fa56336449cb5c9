/* SPDX-License-Identifier: MIT */
#include "setup.h"

#include <nest/arch/aarch64.h>
#include <nest/arch/loongarch.h>
#include <nest/arch/riscv.h>
#include <nest/arch/x86.h>
#include <stdio.h>
#include <string.h>

enum family { EPT, NPT, X86, ARM_S2, ARM_EL1, ARM_EL2, RISCV_G, RISCV_SV, LOONGARCH };

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static enum family family_of(const struct setup *s)
{
	const char *name = s->info.name;

	if (begins(name, "ept"))
		return EPT;
	if (begins(name, "npt"))
		return NPT;
	if (begins(name, "x86"))
		return X86;
	if (begins(name, "aarch64-s2"))
		return ARM_S2;
	if (begins(name, "aarch64"))
		return s->features & NEST_FEAT_EL2 ? ARM_EL2 : ARM_EL1;
	if (begins(name, "riscv-g"))
		return RISCV_G;
	return begins(name, "riscv") ? RISCV_SV : LOONGARCH;
}

static bool is_arm(const struct setup *s)
{
	return begins(s->info.name, "aarch64");
}

/* ---- Cases ---- */

static const uint32_t feature_sets[] = {
	0,
	NEST_FEAT_1G,
	NEST_FEAT_1G | NEST_FEAT_LA57,
	NEST_FEAT_1G | NEST_FEAT_LA57 | NEST_FEAT_PAT,
	NEST_FEAT_1G | NEST_FEAT_XO | NEST_FEAT_MBEC | NEST_FEAT_VE,
	NEST_FEAT_1G | NEST_FEAT_HW_AD,
	NEST_FEAT_HW_A,
	NEST_FEAT_HW_AD,
	NEST_FEAT_SW_AD,
	NEST_FEAT_CONTIG,
	NEST_FEAT_CONTIG | NEST_FEAT_HW_A,
	NEST_FEAT_CONTIG | NEST_FEAT_HW_AD,
	NEST_FEAT_CONTIG | NEST_FEAT_XNX | NEST_FEAT_S2FWB,
	NEST_FEAT_CONTIG | NEST_FEAT_BBM2,
	NEST_FEAT_CONTIG | NEST_FEAT_LPA2,
	NEST_FEAT_CONTIG | NEST_FEAT_LPA,
	NEST_FEAT_CONTIG | NEST_FEAT_PBMT,
	NEST_FEAT_CONTIG | NEST_FEAT_PBMT | NEST_FEAT_SVVPTC | NEST_FEAT_HW_AD,
	NEST_FEAT_EL2,
	NEST_FEAT_EL2 | NEST_FEAT_CONTIG | NEST_FEAT_HW_AD,
	NEST_FEAT_PTW | NEST_FEAT_HW_AD,
	/* What CPUs report, and what an embedder may leave out of it: groups, for one. */
	NEST_FEAT_BBM2,
	NEST_FEAT_BBM2 | NEST_FEAT_HW_AD,
	NEST_FEAT_CONTIG | NEST_FEAT_BBM2 | NEST_FEAT_HW_AD,
	NEST_FEAT_XNX | NEST_FEAT_HW_AD,
	/* Cortex-A76, Neoverse N1; before them (Cortex-A53, A72) groups alone. */
	NEST_FEAT_CONTIG | NEST_FEAT_XNX | NEST_FEAT_HW_AD,
	/* Neoverse V1, V2, Apple's; with 52-bit addresses. */
	NEST_FEAT_XNX | NEST_FEAT_HW_AD | NEST_FEAT_S2FWB | NEST_FEAT_BBM2,
	NEST_FEAT_CONTIG | NEST_FEAT_XNX | NEST_FEAT_HW_AD | NEST_FEAT_S2FWB | NEST_FEAT_BBM2,
	NEST_FEAT_CONTIG | NEST_FEAT_XNX | NEST_FEAT_HW_AD | NEST_FEAT_S2FWB | NEST_FEAT_BBM2 |
		NEST_FEAT_LPA2,
	NEST_FEAT_CONTIG | NEST_FEAT_XNX | NEST_FEAT_HW_AD | NEST_FEAT_S2FWB | NEST_FEAT_BBM2 |
		NEST_FEAT_LPA,
	/* Nehalem; Haswell; Skylake-SP; Ice Lake-SP. */
	NEST_FEAT_XO,
	NEST_FEAT_1G | NEST_FEAT_XO | NEST_FEAT_HW_AD,
	NEST_FEAT_1G | NEST_FEAT_XO | NEST_FEAT_HW_AD | NEST_FEAT_MBEC | NEST_FEAT_VE,
	NEST_FEAT_1G | NEST_FEAT_XO | NEST_FEAT_HW_AD | NEST_FEAT_MBEC | NEST_FEAT_VE |
		NEST_FEAT_LA57,
	/* AMD Zen; Zen 4 has LA57, too. */
	NEST_FEAT_1G | NEST_FEAT_PAT,
	/* SpacemiT X60, whose software keeps the flags; RVA23; without Svnapot. */
	NEST_FEAT_CONTIG | NEST_FEAT_PBMT | NEST_FEAT_SW_AD,
	NEST_FEAT_CONTIG | NEST_FEAT_PBMT | NEST_FEAT_HW_AD,
	NEST_FEAT_PBMT | NEST_FEAT_HW_AD,
};

static nest_pa_t no_memory(void *ctx, size_t size)
{
	(void)ctx, (void)size;
	return NEST_PA_NONE;
}

static void no_free(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx, (void)pa, (void)size;
}

static void no_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
}

static void no_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx, (void)fn, (void)arg;
}

/* Init comes as far as asking for memory when it has found nothing wrong. */
static bool is_legal(const struct setup *s)
{
	const struct nest_host host = {
		.alloc = no_memory, .free = no_free, .tlb_flush = no_flush, .defer = no_defer
	};
	const struct nest_pt_config config = { .format = s->format,
					       .ia_bits = s->ia_bits,
					       .features = s->features,
					       .flags = s->flags,
					       .host = &host };
	struct nest_pt pt;

	return nest_pt_init(&pt, &config) == NEST_E_NOMEM;
}

static unsigned add(struct setup *list, unsigned n, const struct setup *s)
{
	if (n < SETUP_MOST && is_legal(s))
		list[n++] = *s;
	return n;
}

/* EL2 has one mode; LVZ's second level has entries of the root's own, PLV 0. */
static uint64_t modes_of(const struct setup *s)
{
	bool one = family_of(s) == ARM_EL2 || (family_of(s) == LOONGARCH && s->info.stage2);

	return one ? 1u << MMU_PRIVILEGED : 1u << MMU_PRIVILEGED | 1u << MMU_USER;
}

unsigned setup_all(struct setup *list)
{
	unsigned n = 0;

	for (unsigned f = 0; nest_formats[f]; f++) {
		for (unsigned i = 0; i < sizeof(feature_sets) / sizeof(*feature_sets); i++) {
			struct setup s = { .format = nest_formats[f], .features = feature_sets[i] };

			if (nest_format_describe(s.format, s.features, &s.info) != NEST_OK)
				continue;
			/* Only the hardware walker sets them. */
			if (family_of(&s) == LOONGARCH && (s.features & NEST_FEAT_HW_AD) &&
			    !(s.features & NEST_FEAT_PTW))
				continue;
			/* Elsewhere hardware sets both. */
			if (!is_arm(&s) && (s.features & NEST_FEAT_HW_AD) == NEST_FEAT_HW_A)
				continue;
			for (unsigned bits = s.info.ia_min; bits <= s.info.ia_max; bits++) {
				if (bits != s.info.ia_min && bits != s.info.ia_default &&
				    bits != s.info.ia_max)
					continue;
				s.ia_bits = bits;
				s.flags = 0;
				s.modes = modes_of(&s);
				n = add(list, n, &s);
				s.flags = NEST_PT_SHARED;
				if (bits == s.info.ia_default)
					n = add(list, n, &s);
				s.flags = NEST_PT_UPPER;
				if (family_of(&s) == ARM_EL1)
					n = add(list, n, &s);
			}
		}
	}
	return n;
}

void setup_name(const struct setup *s, char *text, size_t size)
{
	snprintf(text, size, "%s ia %u features 0x%x%s%s", s->info.name, s->ia_bits, s->features,
		 s->flags & NEST_PT_UPPER ? " upper" : "",
		 s->flags & NEST_PT_SHARED ? " shared" : "");
}

/* ---- Registers ---- */

/* HCR_EL2.FWB; EFER.NXE; PWCH has its own. */
enum { HCR_FWB = 46, EFER_NXE = 11, CR4_LA57 = 12 };

static int arm_registers(const struct setup *s, const struct nest_pt *pt, struct mmu_regs *r)
{
	int err;

	r->types = NEST_AARCH64_MAIR;
	r->cpu = (s->features & NEST_FEAT_XNX ? MMU_CPU_XNX : 0) |
		 (s->features & NEST_FEAT_HW_AD ? MMU_CPU_HAFDBS : 0) |
		 (s->features & NEST_FEAT_LPA2 ? MMU_CPU_LPA2 : 0) |
		 (s->features & NEST_FEAT_LPA ? MMU_CPU_LPA : 0) |
		 (s->features & NEST_FEAT_BBM2 ? MMU_CPU_BBM2 : 0);
	if (family_of(s) == ARM_S2) {
		r->control2 = (uint64_t)(s->features & NEST_FEAT_S2FWB ? 1 : 0) << HCR_FWB;
		err = nest_aarch64_vtcr(pt, 0, &r->control);
		return err ? err : nest_aarch64_vttbr(pt, &r->root);
	}
	if (family_of(s) == ARM_EL2) {
		err = nest_aarch64_tcr_el2(pt, &r->control);
		return err ? err : nest_aarch64_ttbr(pt, &r->root);
	}
	if (s->flags & NEST_PT_UPPER) {
		err = nest_aarch64_tcr_el1(NULL, pt, 0, &r->control);
		return err ? err : nest_aarch64_ttbr(pt, &r->root_upper);
	}
	err = nest_aarch64_tcr_el1(pt, NULL, 0, &r->control);
	return err ? err : nest_aarch64_ttbr(pt, &r->root);
}

static int x86_registers(const struct setup *s, const struct nest_pt *pt, struct mmu_regs *r)
{
	r->cpu = (s->features & NEST_FEAT_1G ? MMU_CPU_1G : 0) |
		 (s->features & NEST_FEAT_XO ? MMU_CPU_XO : 0) |
		 (s->features & NEST_FEAT_MBEC ? MMU_CPU_MBEC : 0) |
		 (s->features & NEST_FEAT_LA57 ? MMU_CPU_LA57 : 0);
	r->types = NEST_X86_PAT;
	r->control = (uint64_t)(s->ia_bits > 48) << CR4_LA57;
	r->control2 = (uint64_t)1 << EFER_NXE;
	if (family_of(s) == EPT)
		return nest_ept_eptp(pt, &r->root);
	if (family_of(s) == NPT)
		return nest_npt_ncr3(pt, &r->root);
	return nest_x86_cr3(pt, 0, &r->root);
}

static int riscv_registers(const struct setup *s, const struct nest_pt *pt, struct mmu_regs *r)
{
	r->cpu = (s->features & NEST_FEAT_CONTIG ? MMU_CPU_SVNAPOT : 0) |
		 (s->features & NEST_FEAT_PBMT ? MMU_CPU_SVPBMT : 0) |
		 (s->features & NEST_FEAT_HW_AD ? MMU_CPU_SVADU : 0) |
		 (s->features & NEST_FEAT_SVVPTC ? MMU_CPU_SVVPTC : 0);
	return family_of(s) == RISCV_G ? nest_riscv_hgatp(pt, &r->root)
				       : nest_riscv_satp(pt, &r->root);
}

static int loongarch_registers(const struct setup *s, const struct nest_pt *pt, struct mmu_regs *r)
{
	int err = nest_loongarch_pgd(pt, &r->root);

	r->root_upper = r->root;
	r->cpu = s->features & NEST_FEAT_PTW ? MMU_CPU_PTW : 0;
	if (!err)
		err = nest_loongarch_pwcl(pt, &r->control);
	return err ? err : nest_loongarch_pwch(pt, &r->control2);
}

const struct mmu *setup_mmu(const struct setup *s, const struct nest_pt *pt, struct mmu_regs *regs)
{
	static const struct {
		const struct mmu *mmu;
		int (*registers)(const struct setup *s, const struct nest_pt *pt,
				 struct mmu_regs *r);
	} of[] = {
		[EPT] = { &mmu_ept, x86_registers },
		[NPT] = { &mmu_npt, x86_registers },
		[X86] = { &mmu_x86_64, x86_registers },
		[ARM_S2] = { &mmu_aarch64_s2, arm_registers },
		[ARM_EL1] = { &mmu_aarch64_el1, arm_registers },
		[ARM_EL2] = { &mmu_aarch64_el2, arm_registers },
		[RISCV_G] = { &mmu_riscv_g, riscv_registers },
		[RISCV_SV] = { &mmu_riscv_sv, riscv_registers },
		[LOONGARCH] = { &mmu_loongarch, loongarch_registers },
	};
	enum family f = family_of(s);

	*regs = (struct mmu_regs){ .pa_bits = pt->oa_bits };
	return of[f].registers(s, pt, regs) == NEST_OK ? of[f].mmu : NULL;
}

/* ---- What attributes mean ---- */

static uint8_t rights_of(nest_attr_t attr, bool read, bool write, bool execute)
{
	return (uint8_t)((read && (attr & NEST_R) ? MMU_R : 0) |
			 (write && (attr & NEST_W) ? MMU_W : 0) | (execute ? MMU_X : 0));
}

static void rights(const struct setup *s, nest_attr_t attr, uint8_t out[MMU_MODES])
{
	bool user = attr & NEST_U, x = attr & NEST_X, xu = attr & NEST_XU;
	bool separate = s->features & (NEST_FEAT_MBEC | NEST_FEAT_XNX);

	switch (family_of(s)) {
	case ARM_EL1:
		/* D8.4.1: what EL0 may write, EL1 never executes. */
		out[MMU_USER] = rights_of(attr, user, user, user ? x : xu);
		out[MMU_PRIVILEGED] = rights_of(attr, true, true,
						user ? xu && !(attr & NEST_W) : x);
		break;
	case ARM_EL2:
		out[MMU_PRIVILEGED] = rights_of(attr, true, true, x);
		out[MMU_USER] = 0;
		break;
	case X86:
	case LOONGARCH:
		out[MMU_PRIVILEGED] = rights_of(attr, true, true, x);
		out[MMU_USER] = user ? out[MMU_PRIVILEGED] : 0;
		break;
	case RISCV_SV:
		/* 10.3.1: a page is the user's or the supervisor's (sstatus.SUM is clear). */
		out[user ? MMU_USER : MMU_PRIVILEGED] = rights_of(attr, true, true, x);
		out[user ? MMU_PRIVILEGED : MMU_USER] = 0;
		break;
	default:
		out[MMU_PRIVILEGED] = rights_of(attr, true, true, x);
		out[MMU_USER] = rights_of(attr, true, true, separate ? xu : x);
	}
}

struct expectation setup_expect(const struct setup *s, nest_attr_t attr)
{
	struct expectation e;
	bool arm = is_arm(s);

	rights(s, attr, e.rights);
	switch (attr & NEST_MT_MASK) {
	case NEST_MT_WB:
		e.type = MMU_WB;
		break;
	case NEST_MT_WT:
		e.type = MMU_WT;
		break;
	case NEST_MT_WC:
		e.type = MMU_WC;
		break;
	case NEST_MT_DEVICE:
		e.type = arm ? MMU_DEVICE : MMU_UC;
		break;
	default:
		e.type = MMU_UC;
	}
	return e;
}
