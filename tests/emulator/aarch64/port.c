/* SPDX-License-Identifier: MIT */
/*
 * AArch64: stage 2 and the first stages of EL1&0 and of EL2, on QEMU's virt machine, from EL2.
 *
 * A guest at EL1 or EL0 makes one access and comes back by SVC or by a fault. For stage 2 its own
 * first stage is off, with HCR_EL2.DC set so that its accesses are write-back and the memory type
 * of the page decides (Arm ARM D8.6.5); for the first stage of EL1&0, stage 2 is off. EL2 itself
 * makes the accesses through its own first stage. QEMU keeps what it has translated until it is
 * told to forget it, so a missing invalidation shows.
 */
#include <string.h>

#include <nest/arch/aarch64.h>

#include "../model.h"
#include "console.h"
#include "cpu.h"
#include "port.h"

/* HCR_EL2, Arm ARM D19.2.48 */
#define HCR_VM        ((uint64_t)1 << 0)
#define HCR_DC        ((uint64_t)1 << 12)
#define HCR_RW        ((uint64_t)1 << 31)
#define HCR_FWB       ((uint64_t)1 << 46)
/* SCTLR_EL1: RES1 bits and SPAN; with the MMU and caches. */
#define SCTLR_OFF     ((uint64_t)0x30d00800)
#define SCTLR_ON      (SCTLR_OFF | 0x1005)
#define SCTLR_EL2_OFF ((uint64_t)0x30c50830)

#define HPFAR_POISON    ((uint64_t)0x5a5a5a5a0)
#define SPSR_EL0_MASKED ((uint64_t)0x3c0)

enum { EC_SVC = 0x15, EC_INSTRUCTION_SAME = 0x21, EC_DATA_SAME = 0x25 };
enum { SVC_ACCESS = 1, SVC_EXECUTED = 0x5a5 };
enum { VECTOR_EL1 = 4, VECTOR_EL0 = 8 }; /* synchronous, from EL1 and from EL0 */
enum { STAGE1_ASID = 3 };
#define RAM_BASE ((uint64_t)0x40000000)
#define RAM_END  ((uint64_t)0x80000000)

const uint64_t port_linear_offset;

extern const uint8_t guest_begin[], guest_read[], guest_write[], guest_rmw[], guest_exec[],
	guest_end[];
extern uint8_t __image_end[];
/* Run one of the stubs at EL2, until it takes an exception: x0 then. */
uint64_t run_at_el2(nest_ia_t ia, uint64_t value, const uint8_t *code);
void main(void);
_Noreturn void fatal_exception(uint64_t vector);

/* ---- Configurations ---- */

/* Stage 2: S2AP and XN, Arm ARM D8.4.4; the same for EL1 and EL0. */
static const struct walker_attr s2_attrs[] = {
	{ NEST_RWX, BOTH(CAN_RW | CAN_X) },
	{ NEST_R, BOTH(CAN_R) },
	{ NEST_RW, BOTH(CAN_RW) },
	{ NEST_RX, BOTH(CAN_R | CAN_X) },
	{ NEST_X, BOTH(CAN_X) },
	{ NEST_W, BOTH(CAN_W) },
	{ NEST_RW | NEST_SW0 | NEST_SW2, BOTH(CAN_RW) },
	{ NEST_RWX | NEST_MT_WC, BOTH(CAN_RW | CAN_X) },
	{ NEST_RW | NEST_MT_DEVICE, BOTH(CAN_RW) },
	{ NEST_R | NEST_MT_DEVICE_STRICT, BOTH(CAN_R) },
	{ NEST_RW | NEST_MT_WT, BOTH(CAN_RW) }, /* the last: not with FWB */
};

/* With FEAT_XNX execution is granted for each exception level. */
static const struct walker_attr xnx_attrs[] = {
	{ NEST_RWX | NEST_XU, BOTH(CAN_RW | CAN_X) },
	{ NEST_RWX, { CAN_RW | CAN_X, CAN_RW } },
	{ NEST_RW | NEST_XU, { CAN_RW, CAN_RW | CAN_X } },
	{ NEST_RX, { CAN_R | CAN_X, CAN_R } },
	{ NEST_R | NEST_XU, { CAN_R, CAN_R | CAN_X } },
	{ NEST_XU, { 0, CAN_X } },
	{ NEST_R, BOTH(CAN_R) },
	{ NEST_RW | NEST_MT_WC, BOTH(CAN_RW) },
};

/*
 * First stage: AP, UXN and PXN, Arm ARM D8.4.1. What EL0 may write, EL1 does not execute. EL1
 * reads and writes EL0's pages, since PSTATE.PAN stays clear.
 */
static const struct walker_attr s1_attrs[] = {
	{ NEST_RWX | NEST_U, { CAN_RW, CAN_RW | CAN_X } },
	{ NEST_RX | NEST_XU | NEST_U, BOTH(CAN_R | CAN_X) },
	{ NEST_R | NEST_U, BOTH(CAN_R) },
	{ NEST_RW | NEST_U, BOTH(CAN_RW) },
	{ NEST_RWX, { CAN_RW | CAN_X, 0 } },
	{ NEST_RX, { CAN_R | CAN_X, 0 } },
	{ NEST_R, { CAN_R, 0 } },
	{ NEST_RW, { CAN_RW, 0 } },
	{ NEST_R | NEST_XU, { CAN_R, CAN_X } },
	{ NEST_RW | NEST_G, { CAN_RW, 0 } },
	{ NEST_RW | NEST_U | NEST_SW1, BOTH(CAN_RW) },
	{ NEST_RW | NEST_U | NEST_MT_WC, BOTH(CAN_RW) },
	{ NEST_RW | NEST_U | NEST_MT_WT, BOTH(CAN_RW) },
	{ NEST_RW | NEST_MT_DEVICE, { CAN_RW, 0 } },
	{ NEST_R | NEST_U | NEST_MT_DEVICE_STRICT, BOTH(CAN_R) },
};

/* EL2's own: no EL0, and nothing that is not global. */
static const struct walker_attr el2_attrs[] = {
	{ NEST_RWX, { CAN_RW | CAN_X, 0 } },
	{ NEST_RX, { CAN_R | CAN_X, 0 } },
	{ NEST_R, { CAN_R, 0 } },
	{ NEST_RW, { CAN_RW, 0 } },
	{ NEST_RW | NEST_SW0, { CAN_RW, 0 } },
	{ NEST_RW | NEST_MT_WC, { CAN_RW, 0 } },
	{ NEST_RW | NEST_MT_WT, { CAN_RW, 0 } },
	{ NEST_RW | NEST_MT_DEVICE, { CAN_RW, 0 } },
	{ NEST_R | NEST_MT_DEVICE_STRICT, { CAN_R, 0 } },
};

/* What a configuration asks of the CPU beyond its granule. */
struct wish {
	const char *name;
	const struct nest_format *format;
	unsigned ia_bits;
	uint32_t features;
	uint32_t flags;
};

static const struct wish wishes[] = {
	{ "s2-4k-40", &nest_fmt_aarch64_s2_4k, 40, NEST_FEAT_CONTIG, 0 },
	{ "s2-4k-36", &nest_fmt_aarch64_s2_4k, 36, 0, 0 },
	{ "s2-4k-48", &nest_fmt_aarch64_s2_4k, 48, NEST_FEAT_CONTIG, 0 },
	{ "s2-4k-xnx", &nest_fmt_aarch64_s2_4k, 42, NEST_FEAT_XNX, 0 },
	{ "s2-4k-fwb", &nest_fmt_aarch64_s2_4k, 44, NEST_FEAT_S2FWB | NEST_FEAT_CONTIG, 0 },
	{ "s2-4k-ad", &nest_fmt_aarch64_s2_4k, 40, NEST_FEAT_HW_AD | NEST_FEAT_CONTIG, 0 },
	{ "s2-4k-sw", &nest_fmt_aarch64_s2_4k, 40, NEST_FEAT_SW_AD, 0 },
	{ "s2-4k-bbm2", &nest_fmt_aarch64_s2_4k, 40, NEST_FEAT_BBM2 | NEST_FEAT_CONTIG, 0 },
	{ "s2-4k-52", &nest_fmt_aarch64_s2_4k, 52, NEST_FEAT_LPA2 | NEST_FEAT_CONTIG, 0 },
	{ "s2-16k-40", &nest_fmt_aarch64_s2_16k, 40, NEST_FEAT_CONTIG, 0 },
	{ "s2-16k-48", &nest_fmt_aarch64_s2_16k, 48, 0, 0 },
	{ "s2-16k-ad", &nest_fmt_aarch64_s2_16k, 40, NEST_FEAT_HW_AD | NEST_FEAT_CONTIG, 0 },
	/* 52 bits begin at level 0, which QEMU does not: see level_zero_of_16k() */
	{ "s2-16k-51", &nest_fmt_aarch64_s2_16k, 51, NEST_FEAT_LPA2 | NEST_FEAT_CONTIG, 0 },
	{ "s2-64k-40", &nest_fmt_aarch64_s2_64k, 40, NEST_FEAT_CONTIG, 0 },
	{ "s2-64k-48", &nest_fmt_aarch64_s2_64k, 48, NEST_FEAT_XNX, 0 },
	{ "s2-64k-52", &nest_fmt_aarch64_s2_64k, 52, NEST_FEAT_LPA | NEST_FEAT_CONTIG, 0 },
	{ "s2-64k-sw", &nest_fmt_aarch64_s2_64k, 40, NEST_FEAT_SW_AD, 0 },
	{ "s1-4k-48", &nest_fmt_aarch64_s1_4k, 48, NEST_FEAT_CONTIG, 0 },
	{ "s1-4k-39-upper", &nest_fmt_aarch64_s1_4k, 39, 0, NEST_PT_UPPER },
	{ "s1-4k-ad", &nest_fmt_aarch64_s1_4k, 48, NEST_FEAT_HW_AD | NEST_FEAT_CONTIG, 0 },
	{ "s1-4k-sw", &nest_fmt_aarch64_s1_4k, 42, NEST_FEAT_SW_AD, 0 },
	{ "s1-4k-52", &nest_fmt_aarch64_s1_4k, 52, NEST_FEAT_LPA2, 0 },
	{ "s1-16k-47", &nest_fmt_aarch64_s1_16k, 47, NEST_FEAT_CONTIG, 0 },
	{ "s1-el2-4k-48", &nest_fmt_aarch64_s1_4k, 48, NEST_FEAT_EL2 | NEST_FEAT_CONTIG, 0 },
	{ "s1-64k-48-upper", &nest_fmt_aarch64_s1_64k, 48, NEST_FEAT_CONTIG, NEST_PT_UPPER },
};

static struct walker_config configs[COUNT(wishes)];
static unsigned config_count;
static struct nest_aarch64_id id;

_Alignas(HOME_SIZE) uint8_t home[HOME_SIZE];

static bool add_config(const struct wish *w)
{
	struct walker_config *c = &configs[config_count];
	uint32_t offered = nest_aarch64_features(w->format, &id);
	struct nest_format_info info;

	/* QEMU's TLB holds single pages: it has level 2 and takes no conflict abort. */
	if (offered && mmu_bits(id.mmfr2, 55, 52) == 2)
		offered |= NEST_FEAT_BBM2;
	/* Software's tracking needs nothing of the CPU, and EL2 is where this runs. */
	if (!offered || (w->features & ~(NEST_FEAT_SW_AD | NEST_FEAT_EL2) & ~offered))
		return false;
	nest_format_describe(w->format, w->features, &info);
	*c = (struct walker_config){
		.name = w->name,
		.format = w->format,
		.ia_bits = w->ia_bits,
		.oa_bits = nest_aarch64_oa_bits(&id, w->features),
		.features = w->features,
		.flags = w->flags,
		.attrs = s1_attrs,
		.nr_attrs = COUNT(s1_attrs),
		.modes = 3,
		.accesses = CAN_RW | CAN_X,
		.home_pa = (uintptr_t)home,
		.home_size = HOME_SIZE,
		.home_attr = NEST_RX | NEST_XU | NEST_U | NEST_ACCESSED,
		.port_index = config_count,
	};
	if (w->features & NEST_FEAT_HW_AD) {
		c->hw_ad = NEST_ACCESSED | NEST_DIRTY;
		c->clean_attr = NEST_DBM;
	}
	if (w->features & NEST_FEAT_SW_AD) {
		c->sw_ad = NEST_ACCESSED;
		c->ad_before_rights = true; /* Arm ARM D8.15.3 */
	}
	if (info.stage2) {
		if (w->ia_bits > c->oa_bits)
			return false; /* an IPA may not be wider than PARange */
		c->attrs = w->features & NEST_FEAT_XNX ? xnx_attrs : s2_attrs;
		c->nr_attrs = w->features & NEST_FEAT_XNX ? COUNT(xnx_attrs) : COUNT(s2_attrs);
		c->nr_attrs -= (w->features & NEST_FEAT_S2FWB) != 0;
		c->home_attr = NEST_RWX | NEST_ACCESSED | NEST_DIRTY |
			       (w->features & NEST_FEAT_XNX ? NEST_XU : 0);
	}
	if (w->features & NEST_FEAT_EL2) {
		c->attrs = el2_attrs;
		c->nr_attrs = COUNT(el2_attrs);
		c->modes = 1 << WALKER_PRIVILEGED;
		/* All that EL2 runs on, where it is without a first stage. */
		c->home_pa = RAM_BASE;
		c->home_size = RAM_END - RAM_BASE;
		c->home_attr = NEST_RWX | NEST_ACCESSED | NEST_DIRTY;
		c->home_fixed = true;
		c->home_ia = RAM_BASE;
	}
	config_count++;
	return true;
}

void port_start(void)
{
	static const struct nest_format *const stage2[] = { &nest_fmt_aarch64_s2_4k,
							    &nest_fmt_aarch64_s2_16k,
							    &nest_fmt_aarch64_s2_64k };

	id = nest_aarch64_read_id();
	print("probed: ID_AA64MMFR0 %lx, 1 %lx, 2 %lx; output %u bits; "
	      "16-bit VMIDs %s; TLBI by range %s\n",
	      id.mmfr0, id.mmfr1, id.mmfr2, nest_aarch64_pa_range(&id),
	      nest_aarch64_has_vmid16(&id) ? "yes" : "no",
	      nest_aarch64_has_tlbi_range() ? "yes" : "no");
	for (unsigned i = 0; i < COUNT(stage2); i++)
		print("probed: %s: features %lx\n", nest_format_name(stage2[i]),
		      (uint64_t)nest_aarch64_features(stage2[i], &id));
	memcpy(home, guest_begin, (size_t)(guest_end - guest_begin));
	for (unsigned i = 0; i < COUNT(wishes); i++) {
		if (!add_config(&wishes[i]))
			print("probed: no %s on this CPU\n", wishes[i].name);
	}
	NEST_AARCH64_WRITE(hcr_el2, HCR_RW);
	NEST_AARCH64_ISB();
}

const struct walker_config *port_configs(unsigned *count)
{
	*count = config_count;
	return configs;
}

void port_ram(nest_pa_t *base, uint64_t *size)
{
	*base = ((uintptr_t)__image_end + 0xfffff) & ~(uint64_t)0xfffff;
	*size = RAM_END - *base;
}

/* ---- The loaded table ---- */

enum regime { STAGE2, STAGE1_EL1, STAGE1_EL2 };

static struct {
	struct nest_pt *pt;
	enum regime regime;
	uint64_t home; /* where the guest finds it */
	bool strange;  /* entries are not the library's alone */
} loaded;

static void forget_all(void)
{
	NEST_AARCH64_DSB(ish);
	nest_aarch64_tlbi_vmalls12e1is();
	NEST_AARCH64_DSB(ish);
	NEST_AARCH64_ISB();
}

int load_stage2(struct nest_pt *pt)
{
	uint32_t flags = nest_aarch64_has_vmid16(&id) ? NEST_AARCH64_ID16 : 0;
	uint64_t vtcr, vttbr, hcr = HCR_RW | HCR_VM | HCR_DC;
	int err = nest_aarch64_vtcr(pt, flags, &vtcr);

	if (!err)
		err = nest_aarch64_vttbr(pt, &vttbr);
	if (err)
		return err;
	if (pt->features & NEST_FEAT_S2FWB)
		hcr |= HCR_FWB;
	NEST_AARCH64_WRITE(vtcr_el2, vtcr);
	NEST_AARCH64_WRITE(vttbr_el2, vttbr);
	NEST_AARCH64_WRITE(sctlr_el1, SCTLR_OFF);
	NEST_AARCH64_WRITE(hcr_el2, hcr);
	return NEST_OK;
}

static int load_stage1(struct nest_pt *pt)
{
	bool upper = (pt->flags & NEST_PT_UPPER) != 0;
	uint64_t tcr, ttbr;
	int err = nest_aarch64_tcr_el1(upper ? NULL : pt, upper ? pt : NULL, 0, &tcr);

	if (!err)
		err = nest_aarch64_ttbr(pt, &ttbr);
	if (err)
		return err;
	NEST_AARCH64_WRITE(hcr_el2, HCR_RW);
	NEST_AARCH64_WRITE(mair_el1, NEST_AARCH64_MAIR);
	NEST_AARCH64_WRITE(tcr_el1, tcr);
	/* TCR_EL1.A1 is clear: the ASID is that of TTBR0 */
	NEST_AARCH64_WRITE(ttbr0_el1, upper ? (uint64_t)STAGE1_ASID << 48 : ttbr);
	NEST_AARCH64_WRITE(ttbr1_el1, upper ? ttbr : 0);
	NEST_AARCH64_WRITE(sctlr_el1, SCTLR_ON);
	return NEST_OK;
}

/* From here on EL2 itself runs on `pt`, which needs the UART too. */
static int load_el2(struct nest_pt *pt)
{
	int err = nest_pt_map(pt, UART_BASE, UART_BASE, 0x1000,
			      NEST_RW | NEST_MT_DEVICE | NEST_ACCESSED | NEST_DIRTY, 0, NULL);

	return err ? err : cpu_start_mmu(pt);
}

static enum regime regime_of(const struct walker_config *config)
{
	struct nest_format_info info;

	nest_format_describe(config->format, config->features, &info);
	if (info.stage2)
		return STAGE2;
	return config->features & NEST_FEAT_EL2 ? STAGE1_EL2 : STAGE1_EL1;
}

bool is_stage2(const struct walker_config *config)
{
	return regime_of(config) == STAGE2;
}

static int (*const load[])(struct nest_pt *) = { load_stage2, load_stage1, load_el2 };

bool load_again(void)
{
	NEST_AARCH64_WRITE(vbar_el1, loaded.home);
	if (load[loaded.regime](loaded.pt) != NEST_OK)
		return false;
	NEST_AARCH64_ISB();
	return true;
}

int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t where)
{
	static const uint32_t ids[] = { STAGE2_VMID, STAGE1_ASID, 0 };
	enum regime regime = regime_of(config);
	int err;

	nest_pt_set_vmid(pt, ids[regime]);
	err = load[regime](pt);
	if (err)
		return err;
	loaded.pt = pt;
	loaded.regime = regime;
	loaded.home = where;
	loaded.strange = false;
	NEST_AARCH64_WRITE(vbar_el1, where);
	forget_all();
	return NEST_OK;
}

void port_unload(void)
{
	if (loaded.regime == STAGE1_EL2)
		NEST_AARCH64_WRITE(sctlr_el2, SCTLR_EL2_OFF);
	NEST_AARCH64_WRITE(hcr_el2, HCR_RW);
	NEST_AARCH64_WRITE(sctlr_el1, SCTLR_OFF);
	forget_all();
	loaded.pt = NULL;
}

void port_flush(const struct nest_flush *what)
{
	if (!loaded.pt)
		return; /* nothing can have been translated */
	if (loaded.regime == STAGE2)
		nest_aarch64_s2_flush(what);
	else
		nest_aarch64_s1_flush(what, nest_pt_shift(loaded.pt, 0),
				      loaded.regime == STAGE1_EL2);
}

void port_sync(const void *va, size_t len)
{
	(void)va;
	(void)len;
	nest_aarch64_publish();
}

/* ---- The reference MMU ---- */

/*
 * ID_AA64MMFR0_EL1: has the granule of the loaded table 52-bit addresses by FEAT_LPA2? Stage 2 has
 * fields of its own, TGran4_2 and TGran16_2, where 0 says "as the first stage".
 */
static bool has_lpa2(void)
{
	const unsigned page_shift = nest_pt_shift(loaded.pt, 0);
	const uint64_t r = NEST_AARCH64_READ(id_aa64mmfr0_el1);
	const uint64_t gran4 = mmu_bits(r, 31, 28), gran4_2 = mmu_bits(r, 43, 40);
	const uint64_t gran16 = mmu_bits(r, 23, 20), gran16_2 = mmu_bits(r, 35, 32);
	const bool own = loaded.regime == STAGE2;

	if (page_shift == 12)
		return own && gran4_2 ? gran4_2 == 3 : gran4 == 1;
	return page_shift == 14 && (own && gran16_2 ? gran16_2 == 3 : gran16 == 2);
}

/* ID_AA64MMFR0_EL1 to ID_AA64MMFR2_EL1, Arm ARM D19.2. */
static uint32_t mmu_cpu(void)
{
	const uint64_t r0 = NEST_AARCH64_READ(id_aa64mmfr0_el1);
	const uint64_t r1 = NEST_AARCH64_READ(id_aa64mmfr1_el1);
	const uint64_t r2 = NEST_AARCH64_READ(id_aa64mmfr2_el1);

	return (mmu_bits(r1, 31, 28) ? MMU_CPU_XNX : 0) |
	       (mmu_bits(r1, 3, 0) >= 2 ? MMU_CPU_HAFDBS : 0) |
	       (mmu_bits(r0, 3, 0) == 6 ? MMU_CPU_LPA : 0) | (has_lpa2() ? MMU_CPU_LPA2 : 0) |
	       (mmu_bits(r2, 55, 52) >= 2 ? MMU_CPU_BBM2 : 0);
}

const struct mmu *port_mmu(const struct walker_config *config, struct mmu_regs *regs)
{
	static const uint8_t widths[] = { 32, 36, 40, 42, 44, 48, 52 };
	uint64_t range = mmu_bits(NEST_AARCH64_READ(id_aa64mmfr0_el1), 3, 0);

	(void)config;
	loaded.strange = true;
	*regs = (struct mmu_regs){ .control2 = NEST_AARCH64_READ(hcr_el2),
				   .cpu = mmu_cpu(),
				   .pa_bits = range < COUNT(widths) ? widths[range] : 0 };
	switch (loaded.regime) {
	case STAGE2:
		regs->root = NEST_AARCH64_READ(vttbr_el2);
		regs->control = NEST_AARCH64_READ(vtcr_el2);
		return &mmu_aarch64_s2;
	case STAGE1_EL1:
		regs->root = NEST_AARCH64_READ(ttbr0_el1);
		regs->root_upper = NEST_AARCH64_READ(ttbr1_el1);
		regs->control = NEST_AARCH64_READ(tcr_el1);
		regs->types = NEST_AARCH64_READ(mair_el1);
		return &mmu_aarch64_el1;
	default:
		regs->root = NEST_AARCH64_READ(ttbr0_el2);
		regs->control = NEST_AARCH64_READ(tcr_el2);
		regs->types = NEST_AARCH64_READ(mair_el2);
		return &mmu_aarch64_el2;
	}
}

/* What the reference MMU reads, less some bits of every entry. */
struct reading {
	uint64_t without;
	bool outside; /* an entry was to be read where no memory is */
};

static uint64_t load_less(void *ctx, uint64_t pa)
{
	struct reading *r = ctx;

	if (pa < RAM_BASE || pa > RAM_END - sizeof(uint64_t)) {
		r->outside = true;
		return 0;
	}
	return *(const volatile uint64_t *)walker_va(pa) & ~r->without;
}

static bool is_block_without_level(const struct mmu_step *s)
{
	return s->kind == MMU_TRANSLATION && (s->word & 3) == 1 && s->level > 0 &&
	       !(model.info.leaf_levels >> s->level & 1);
}

/*
 * By QEMU_AARCH64_BLOCK_LEVEL, would the access reach memory anywhere, or end QEMU? Only reads are
 * made then.
 */
static bool is_dangerous(nest_ia_t ia, enum walker_access access)
{
	struct reading all = { 0 };
	const struct mmu *mmu;
	struct mmu_regs regs;
	struct mmu_step s;

	if (!loaded.strange)
		return false;
	mmu = port_mmu(NULL, &regs);
	s = mmu_walk(mmu, &regs, ia, load_less, &all);
	return !all.outside && is_block_without_level(&s) && (access != WALKER_READ || s.level > 3);
}

/* ---- Accesses ---- */

static uint64_t in_home(const uint8_t *symbol)
{
	return loaded.home + (uint64_t)(symbol - guest_begin);
}

/* The first stage's faults, as the library decodes those of stage 2: Arm ARM D19.2.37, ISS. */
static void decode_stage1(uint64_t esr, uint64_t far, struct nest_fault *f)
{
	unsigned status = (unsigned)esr & 0x3f, ec = (unsigned)(esr >> 26);
	bool fetch = ec == EC_INSTRUCTION_ABORT || ec == EC_INSTRUCTION_SAME;

	*f = (struct nest_fault){
		.gpa = far, .gpa_valid = true, .gpa_exact = true, .level = 3 - (status & 3)
	};
	f->access = fetch ? NEST_X : esr & 0x40 ? NEST_W : NEST_R;
	f->kind = status >> 2 == 1   ? NEST_FAULT_TRANSLATION
		  : status >> 2 == 2 ? NEST_FAULT_ACCESS_FLAG
		  : status >> 2 == 3 ? NEST_FAULT_PERMISSION
		  : status >> 2 == 0 ? NEST_FAULT_ADDRESS_SIZE
				     : NEST_FAULT_OTHER;
	if (status == 0x29 || status == 0x2b) { /* level -1, which comes with LPA2 */
		f->kind = status == 0x2b ? NEST_FAULT_TRANSLATION : NEST_FAULT_ADDRESS_SIZE;
		f->level = 4;
	}
}

static void stage2_fault(const struct guest_context *ctx, struct walker_outcome *out)
{
	bool permission = (ctx->esr & 0x3c) == 0x0c, s1ptw = (ctx->esr & 0x80) != 0;
	uint64_t hpfar;

	/* Unknown then by the manual, though QEMU fills it in: nobody may rely on it. */
	if (permission && !s1ptw)
		NEST_AARCH64_WRITE(hpfar_el2, HPFAR_POISON);
	if (!nest_aarch64_fault_hpfar(ctx->esr, ctx->far, &hpfar) ||
	    nest_fault_aarch64(ctx->esr, ctx->far, hpfar, &out->fault) != NEST_OK)
		out->fault.kind = NEST_FAULT_OTHER;
}

/* The SVC that ends an access, or a fault of the first stage. */
static void end_access(uint64_t esr, uint64_t elr, uint64_t far, uint64_t value,
		       const uint8_t *code, nest_ia_t ia, struct walker_outcome *out)
{
	unsigned ec = (unsigned)(esr >> 26);

	out->fault.kind = NEST_FAULT_OTHER;
	if (ec == EC_SVC) {
		out->done = code == guest_exec ? (esr & 0xffff) == SVC_EXECUTED && elr == ia + 4
					       : (esr & 0xffff) == SVC_ACCESS;
		out->value = value;
	} else if (ec == EC_DATA_ABORT || ec == EC_DATA_SAME || ec == EC_INSTRUCTION_ABORT ||
		   ec == EC_INSTRUCTION_SAME) {
		decode_stage1(esr, far, &out->fault);
	}
}

static void run_guest(const uint8_t *code, nest_ia_t ia, enum walker_mode mode, uint64_t value,
		      struct walker_outcome *out)
{
	struct guest_context ctx = { .x = { ia, value },
				     .elr = in_home(code),
				     .spsr = mode == WALKER_USER ? SPSR_EL0_MASKED
								 : SPSR_EL1H_MASKED };
	const unsigned vector = mode == WALKER_USER ? VECTOR_EL0 : VECTOR_EL1;

	*out = (struct walker_outcome){ 0 };
	enter_guest(&ctx);
	if (ctx.esr >> 26 != EC_HVC)
		stage2_fault(&ctx, out);
	else if ((ctx.esr & 0xffff) == vector)
		end_access(NEST_AARCH64_READ(esr_el1), NEST_AARCH64_READ(elr_el1),
			   NEST_AARCH64_READ(far_el1), ctx.x[0], code, ia, out);
	else
		out->fault.kind = NEST_FAULT_OTHER;
}

void port_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		 struct walker_outcome *out)
{
	static const uint8_t *const code[] = { guest_read, guest_write, guest_exec, guest_rmw };

	*out = (struct walker_outcome){ .fault.kind = NEST_FAULT_OTHER };
	if (is_dangerous(ia, access))
		return;
	if (loaded.regime != STAGE1_EL2) {
		run_guest(code[access], ia, mode, value, out);
		return;
	}
	*out = (struct walker_outcome){ 0 };
	value = run_at_el2(ia, value, code[access]);
	end_access(NEST_AARCH64_READ(esr_el2), NEST_AARCH64_READ(elr_el2),
		   NEST_AARCH64_READ(far_el2), value, code[access], ia, out);
}

const void *port_code(size_t *len)
{
	static const uint32_t code[] = { 0xd4000001 | SVC_EXECUTED << 5, 0xd4000001, 0, 0 };

	*len = sizeof(code);
	return code;
}

void port_code_written(void *va, size_t len)
{
	nest_aarch64_clean(va, len);
	__asm__ volatile("ic ialluis" : : : "memory");
	NEST_AARCH64_DSB(ish);
	NEST_AARCH64_ISB();
}

/* ---- The guest's own first stage ---- */

/*
 * 4 KiB granule, 39-bit addresses by TTBR0: the first GiB is that of the home area, and the second
 * begins with a page whose entry is the first of `table`. Arm ARM D8.3.1.
 */
#define WALK_TCR ((uint64_t)25 | 1 << 8 | 1 << 10 | 3 << 12 | (uint64_t)1 << 23 | (uint64_t)5 << 32)
#define WALK_VA  ((uint64_t)1 << 30)

#define S1_BLOCK ((uint64_t)0x701) /* AF, inner shareable, MAIR index 0: write-back */
#define S1_PAGE  ((uint64_t)0x703)
#define S1_TABLE ((uint64_t)3)

void begin_walks(nest_ia_t table)
{
	const uint64_t gib = (uint64_t)1 << 30;

	((uint64_t *)(home + HOME_L1))[0] = (loaded.home & ~(gib - 1)) | S1_BLOCK;
	((uint64_t *)(home + HOME_L1))[1] = (loaded.home + HOME_L2) | S1_TABLE;
	((uint64_t *)(home + HOME_L2))[0] = table | S1_TABLE;
	NEST_AARCH64_WRITE(mair_el1, NEST_AARCH64_MAIR);
	NEST_AARCH64_WRITE(tcr_el1, WALK_TCR);
	NEST_AARCH64_WRITE(ttbr0_el1, loaded.home + HOME_L1);
	NEST_AARCH64_WRITE(vbar_el1, loaded.home & (gib - 1));
	NEST_AARCH64_WRITE(sctlr_el1, SCTLR_ON);
	NEST_AARCH64_WRITE(hcr_el2, NEST_AARCH64_READ(hcr_el2) & ~HCR_DC);
	forget_all();
}

void end_walks(void)
{
	NEST_AARCH64_WRITE(vbar_el1, loaded.home);
	NEST_AARCH64_WRITE(sctlr_el1, SCTLR_OFF);
	NEST_AARCH64_WRITE(hcr_el2, NEST_AARCH64_READ(hcr_el2) | HCR_DC);
	forget_all();
}

void lead_to(nest_pa_t frame, unsigned data)
{
	*(volatile uint64_t *)walker_va(frame) = (loaded.home + data) | S1_PAGE;
	nest_aarch64_publish();
}

void walk_access(enum walker_access access, struct walker_outcome *out)
{
	const uint64_t home_ipa = loaded.home;

	/* Within its first GiB, where the code runs now. */
	loaded.home &= ((uint64_t)1 << 30) - 1;
	run_guest(access == WALKER_WRITE ? guest_write : guest_read, WALK_VA, WALKER_PRIVILEGED, 1,
		  out);
	loaded.home = home_ipa;
}

bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out)
{
	/* A first stage of 4 KiB pages without LPA2 cannot name more than 48 bits. */
	if (loaded.regime != STAGE2 || (table | loaded.home) >> 48)
		return false;
	if (frame != NEST_PA_NONE)
		lead_to(frame, HOME_DATA);
	begin_walks(table);
	walk_access(access, out);
	end_walks();
	return true;
}

static void ask(nest_ia_t ia, bool write)
{
	switch (loaded.regime) {
	case STAGE2:
		if (write)
			__asm__ volatile("at s12e1w, %0" : : "r"(ia) : "memory");
		else
			__asm__ volatile("at s12e1r, %0" : : "r"(ia) : "memory");
		break;
	case STAGE1_EL1:
		if (write)
			__asm__ volatile("at s1e1w, %0" : : "r"(ia) : "memory");
		else
			__asm__ volatile("at s1e1r, %0" : : "r"(ia) : "memory");
		break;
	default:
		if (write)
			__asm__ volatile("at s1e2w, %0" : : "r"(ia) : "memory");
		else
			__asm__ volatile("at s1e2r, %0" : : "r"(ia) : "memory");
	}
	NEST_AARCH64_ISB();
}

/*
 * AT and PAR_EL1, Arm ARM D19.2.117. They set the access flag, and the dirty state. The type is
 * that of the page in every configuration: a first stage that is off, with HCR_EL2.DC, is
 * write-back and so leaves it to stage 2, with HCR_EL2.FWB or without.
 */
bool port_translate(nest_ia_t ia, enum walker_access access, nest_pa_t *pa, nest_attr_t *type)
{
	static const struct {
		uint8_t mair;
		nest_attr_t type;
	} types[] = { { 0xff, NEST_MT_WB },
		      { 0xbb, NEST_MT_WT },
		      { 0x44, NEST_MT_WC },
		      { 0x04, NEST_MT_DEVICE },
		      { 0x00, NEST_MT_DEVICE_STRICT } };
	uint64_t par;

	ask(ia, access == WALKER_WRITE);
	par = NEST_AARCH64_READ(par_el1);
	if (par & 1)
		return false;
	*pa = (par & 0x000ffffffffff000) | (ia & 0xfff);
	for (unsigned i = 0; i < COUNT(types); i++) {
		if (types[i].mair == par >> 56) {
			*type = types[i].type;
			return true;
		}
	}
	*type = NEST_MT_MASK; /* none of ours */
	return true;
}

/* Was the access made, to memory or to none? What was fetched may be no code, and fault itself. */
static bool got_through(const struct walker_probe *probe, const struct walker_outcome *outcome)
{
	return outcome->done || outcome->fault.kind == NEST_FAULT_OTHER ||
	       (probe->access == WALKER_EXEC && !(outcome->fault.access & NEST_X));
}

/* Is it EL0's, and PXN only by what DBM makes of AP[2]? */
static bool is_clean_code(const struct walker_probe *probe)
{
	const uint64_t pxn = (uint64_t)1 << 53, clean = (uint64_t)1 << 51 | 1 << 7 | 1 << 6;
	const struct mmu_step *step = probe->step;

	return loaded.regime == STAGE1_EL1 && step->kind == MMU_PAGE &&
	       probe->access == WALKER_EXEC && probe->mode == WALKER_PRIVILEGED &&
	       (step->word & (clean | pxn)) == clean;
}

/* Is it what the same walk comes to by entries without bits 15:12? */
static bool ignores_top_bits(const struct walker_config *config, const struct walker_probe *probe,
			     const struct walker_outcome *outcome)
{
	static const uint8_t needs[] = { MMU_R, MMU_W, MMU_X, MMU_R | MMU_W };
	struct reading less = { .without = (uint64_t)0xf << 12 };
	enum nest_fault_kind kind = NEST_FAULT_TRANSLATION;
	struct mmu_regs regs;
	const struct mmu *mmu = port_mmu(config, &regs);
	struct mmu_step s = mmu_walk(mmu, &regs, probe->ia, load_less, &less);
	unsigned rights = needs[probe->access];

	/* A read-modify-write reads first, and may find no memory. */
	if (probe->access == WALKER_RMW && !outcome->done && got_through(probe, outcome))
		rights = MMU_R;
	if (less.outside || s.kind == MMU_FORBIDDEN)
		return true;
	if (s.kind == MMU_PAGE) {
		switch (mmu_access(mmu, &s, rights, (unsigned)probe->mode)) {
		case MMU_DONE:
			return got_through(probe, outcome);
		case MMU_NO_RIGHT:
			kind = NEST_FAULT_PERMISSION;
			break;
		default:
			kind = NEST_FAULT_ACCESS_FLAG;
		}
	} else if (s.kind == MMU_ADDRESS_SIZE) {
		kind = NEST_FAULT_ADDRESS_SIZE;
	}
	return !outcome->done && outcome->fault.kind == kind && outcome->fault.level == s.level;
}

enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome)
{
	const struct mmu_step *step = probe->step;

	if (!step)
		return WALKER_NO_DEVIATION;
	if (is_block_without_level(step))
		return QEMU_AARCH64_BLOCK_LEVEL;
	if (is_clean_code(probe) && got_through(probe, outcome))
		return QEMU_AARCH64_CLEAN_EXECUTES;
	if (step->kind == MMU_ADDRESS_SIZE && nest_pt_shift(loaded.pt, 0) == 16 &&
	    mmu_bits(step->word, 15, 12) && ignores_top_bits(config, probe, outcome))
		return QEMU_AARCH64_64K_TOP_BITS;
	return WALKER_NO_DEVIATION;
}

/* ---- Start and end ---- */

void port_exit(bool ok)
{
	exit_with(ok ? 0 : 1);
}

void fatal_exception(uint64_t vector)
{
	print("walker: exception %lu at EL2: ESR %lx FAR %lx ELR %lx\n", vector,
	      NEST_AARCH64_READ(esr_el2), NEST_AARCH64_READ(far_el2), NEST_AARCH64_READ(elr_el2));
	exit_with(1);
}

void main(void)
{
	walker_main();
}
