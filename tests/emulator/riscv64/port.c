/* SPDX-License-Identifier: MIT */
/*
 * RISC-V: the G-stage and the first stage on QEMU's virt machine, from HS-mode.
 *
 * G-stage: HLV and HSV access guest-physical addresses, vsatp being off, without leaving HS-mode;
 * fetches and atomics are made by a guest in VS- or VU-mode. First stage: HS-mode itself runs on
 * the table under test, which maps all RAM to itself, and a stub makes the accesses of U-mode.
 *
 * QEMU 7.2 empties the TLB only when a guest is entered or left, and by fences; but any fence
 * empties all of it, and a walk that found nothing is not remembered. So this machine shows that a
 * fence is missing altogether, for the G-stage where HLV and HSV are the only accesses, and not
 * that its address or VMID is wrong; those are checked in the compiled instructions, and by the
 * suite's own account of flushes.
 */
#include <string.h>

#include <nest/arch/riscv.h>

#include "../model.h"

/* Registers that HS-mode saves while an access is made; known to start.S. */
struct access {
	uint64_t saved[14];
	uint64_t a0, scause, stval, htval, htinst, sepc;
};

void access_hlv(struct access *a, uint64_t address, uint64_t value);
void access_hsv(struct access *a, uint64_t address, uint64_t value);
void access_load(struct access *a, uint64_t address, uint64_t value);
void access_store(struct access *a, uint64_t address, uint64_t value);
void access_add(struct access *a, uint64_t address, uint64_t value);
void access_jump(struct access *a, uint64_t address, uint64_t value);
void access_enter(struct access *a, uint64_t pc, uint64_t a0, uint64_t a1);
extern const uint8_t stubs[], stub_load[], stub_store[], stub_add[], stub_jump[];
extern uint8_t __image_end[];
void main(void);
_Noreturn void fatal_trap(uint64_t cause, uint64_t epc, uint64_t tval);

const uint64_t port_linear_offset;

#define READ_CSR(name)                                                                             \
	__extension__({                                                                            \
		uint64_t value_;                                                                   \
		__asm__ volatile("csrr %0, " #name : "=r"(value_) : : "memory");                   \
		value_;                                                                            \
	})
#define WRITE_CSR(name, value)                                                                     \
	__asm__ volatile("csrw " #name ", %0" : : "r"((uint64_t)(value)) : "memory")

#define HSTATUS_SPV  ((uint64_t)1 << 7)
#define HSTATUS_SPVP ((uint64_t)1 << 8)
#define SSTATUS_SPP  ((uint64_t)1 << 8)
#define SSTATUS_SUM  ((uint64_t)1 << 18)

enum {
	NOT_TRAPPED = -1,
	CAUSE_BREAKPOINT = 3,
	CAUSE_FETCH = 12,
	CAUSE_LOAD = 13,
	CAUSE_STORE = 15
};
enum { GUEST_VMID = 5, OWN_ASID = 3 };

/* ---- Configurations ---- */

/* G-stage: every access counts as one of U-mode (privileged spec, 18.5.1). */
static const struct walker_attr g_attrs[] = {
	{ NEST_RWX, BOTH(CAN_RW | CAN_X) },
	{ NEST_R, BOTH(CAN_R) },
	{ NEST_RW, BOTH(CAN_RW) },
	{ NEST_RX, BOTH(CAN_R | CAN_X) },
	{ NEST_X, BOTH(CAN_X) },
	{ NEST_RW | NEST_SW0 | NEST_SW1, BOTH(CAN_RW) },
	{ NEST_RWX | NEST_MT_WC, BOTH(CAN_RW | CAN_X) }, /* the last two: with Svpbmt */
	{ NEST_RW | NEST_MT_UC, BOTH(CAN_RW) },
};

/* First stage: S-mode never executes a user's pages, and reads them since SUM is set (10.3.1). */
static const struct walker_attr sv_attrs[] = {
	{ NEST_RWX | NEST_U, { CAN_RW, CAN_RW | CAN_X } },
	{ NEST_R | NEST_U, BOTH(CAN_R) },
	{ NEST_RW | NEST_U, BOTH(CAN_RW) },
	{ NEST_RX | NEST_U, { CAN_R, CAN_R | CAN_X } },
	{ NEST_X | NEST_U, { 0, CAN_X } },
	{ NEST_RWX, { CAN_RW | CAN_X, 0 } },
	{ NEST_R, { CAN_R, 0 } },
	{ NEST_RW, { CAN_RW, 0 } },
	{ NEST_RX | NEST_G, { CAN_R | CAN_X, 0 } },
	{ NEST_X, { CAN_X, 0 } },
	{ NEST_RW | NEST_U | NEST_SW1, BOTH(CAN_RW) },
	{ NEST_RW | NEST_U | NEST_MT_WC, BOTH(CAN_RW) }, /* the last two: with Svpbmt */
	{ NEST_RWX | NEST_MT_UC, { CAN_RW | CAN_X, 0 } },
};

static const struct {
	const char *name;
	bool g_stage;
	unsigned ia_bits;
	uint32_t features;
	bool svinval;
	bool hlv_alone; /* no guest is entered, which would empty the TLB between accesses */
} wishes[] = {
	{ "g-sv39x4", true, 41, 0, false, false },
	{ "g-sv39x4-napot", true, 41, NEST_FEAT_CONTIG | NEST_FEAT_PBMT, false, false },
	{ "g-sv39x4-svinval", true, 41, NEST_FEAT_CONTIG, true, false },
	{ "g-sv39x4-hlv", true, 41, NEST_FEAT_CONTIG, false, true },
	{ "g-sv48x4", true, 50, NEST_FEAT_CONTIG | NEST_FEAT_PBMT, false, false },
	{ "g-sv48x4-ad", true, 50, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD, false, false },
	{ "g-sv48x4-hlv", true, 50, NEST_FEAT_CONTIG | NEST_FEAT_PBMT, true, true },
	{ "g-sv57x4", true, 59, NEST_FEAT_PBMT, false, false },
	{ "g-sv57x4-ad", true, 59, NEST_FEAT_PBMT | NEST_FEAT_HW_AD, false, false },
	{ "g-sv57x4-hlv", true, 59, 0, false, true },
	{ "sv39", false, 39, 0, false, false },
	{ "sv39-ad", false, 39, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD, false, false },
	{ "sv48", false, 48, NEST_FEAT_CONTIG | NEST_FEAT_PBMT, false, false },
	{ "sv57", false, 57, NEST_FEAT_PBMT, false, false },
	{ "sv57-ad", false, 57, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD, false, false },
};
static struct walker_config configs[COUNT(wishes)];
static unsigned config_count;

/* RAM, all of which the first stage maps to itself, and the page after it, for U-mode's stubs. */
#define RAM        ((nest_pa_t)0x80000000)
#define RAM_SIZE   ((uint64_t)0x10000000)
#define USER_STUBS (RAM + RAM_SIZE)

/* A guest's pages: stubs, two levels of its own tables, and data. */
enum { HOME_L2 = 0x1000, HOME_L1 = 0x2000, HOME_DATA = 0x3000, HOME_SIZE = 0x4000 };
static _Alignas(4096) uint8_t home[HOME_SIZE];

/* ---- What the CPU has ---- */

#define PTE_POINTER  ((uint64_t)0x01)
#define PTE_RW       ((uint64_t)0xc7) /* V, R, W, A, D */
#define PTE_RWX      ((uint64_t)0xcf)
#define PTE_LEAF     ((uint64_t)0x0e)
#define PTE_UX       ((uint64_t)0x18)
#define PTE_A        ((uint64_t)0x40)
#define PTE_NAPOT    ((uint64_t)1 << 63 | (uint64_t)8 << 10) /* 64 KiB */
#define PTE_NC       ((uint64_t)1 << 61)
#define PTE_PBMT     ((uint64_t)3 << 61)
#define PTE_RESERVED ((uint64_t)0x7f << 54)
#define SATP_SV39    ((uint64_t)8 << 60)

static uint32_t cpu; /* MMU_CPU_* */

static uint64_t pte(uint64_t address, uint64_t bits)
{
	return address >> 12 << 10 | bits;
}

/*
 * Can it load by an entry with these bits? One table serves all levels: its second entry points to
 * itself, the third one is RAM, and the ninth one is tried.
 */
static bool loads_by(uint64_t bits)
{
	static uint64_t table[512] __attribute__((aligned(4096)));
	struct access a;

	table[1] = pte((uintptr_t)table, PTE_POINTER);
	table[2] = pte(RAM, PTE_RWX);
	table[8] = pte(RAM, bits);
	WRITE_CSR(satp, SATP_SV39 | (uintptr_t)table >> 12);
	nest_riscv_sfence_vma_all();
	access_load(&a, (uint64_t)1 << 30 | (uint64_t)1 << 21 | (uint64_t)8 << 12, 0);
	WRITE_CSR(satp, 0);
	nest_riscv_sfence_vma_all();
	return a.scause == (uint64_t)NOT_TRAPPED;
}

static void probe_cpu(void)
{
	cpu = (loads_by(PTE_RW | PTE_NAPOT) ? MMU_CPU_SVNAPOT : 0) |
	      (loads_by(PTE_RW | PTE_NC) ? MMU_CPU_SVPBMT : 0) |
	      (loads_by(PTE_RW & ~PTE_A) ? MMU_CPU_SVADU : 0);
}

static void add_config(unsigned wish, unsigned widest)
{
	struct walker_config *c = &configs[config_count];
	bool g = wishes[wish].g_stage, pbmt = (wishes[wish].features & NEST_FEAT_PBMT) != 0;

	if (g && wishes[wish].ia_bits > widest)
		return;
	*c = (struct walker_config){
		.name = wishes[wish].name,
		.format = g ? &nest_fmt_riscv_g : &nest_fmt_riscv_sv,
		.ia_bits = wishes[wish].ia_bits,
		.oa_bits = 56,
		.features = wishes[wish].features,
		.attrs = g ? g_attrs : sv_attrs,
		.nr_attrs = (g ? COUNT(g_attrs) : COUNT(sv_attrs)) - (pbmt ? 0 : 2),
		.modes = 3,
		.accesses = wishes[wish].hlv_alone ? CAN_R | WALKER_CAN(WALKER_WRITE)
						   : CAN_RW | CAN_X,
		.home_pa = g ? (uintptr_t)home : RAM,
		.home_size = g ? HOME_SIZE : RAM_SIZE,
		.home_attr = NEST_RWX | NEST_ACCESSED | NEST_DIRTY,
		.home_fixed = !g,
		.home_ia = RAM,
		.hw_ad = wishes[wish].features & NEST_FEAT_HW_AD ? NEST_ACCESSED | NEST_DIRTY : 0,
		.one_fault_kind = true,
		.port_index = wish,
	};
	if (g)
		c->reach_bits = c->ia_bits - 1; /* QEMU_RISCV_TOP_GPA_BIT */
	config_count++;
}

void port_start(void)
{
	unsigned widest = nest_riscv_probe_ia_bits();

	print("probed: guest-physical addresses of %u bits, VMIDs of %u bits\n", widest,
	      nest_riscv_probe_vmid_bits());
	memcpy(home, stubs, 0x1000);
	WRITE_CSR(hedeleg, 0);
	WRITE_CSR(hideleg, 0);
	WRITE_CSR(hgatp, 0);
	WRITE_CSR(vsatp, 0);
	__asm__ volatile("csrs sstatus, %0" : : "r"(SSTATUS_SUM));
	probe_cpu();
	for (unsigned i = 0; i < COUNT(wishes); i++)
		add_config(i, widest);
}

const struct walker_config *port_configs(unsigned *count)
{
	*count = config_count;
	return configs;
}

void port_ram(nest_pa_t *base, uint64_t *size)
{
	*base = ((uintptr_t)__image_end + 0x1fffff) & ~(uint64_t)0x1fffff;
	*size = RAM + RAM_SIZE - *base;
}

/* ---- The loaded table ---- */

static struct {
	const struct walker_config *config;
	struct nest_pt *pt;
	bool g_stage, svinval;
	uint64_t home;
} loaded;

int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t where)
{
	bool g = wishes[config->port_index].g_stage;
	uint64_t root;
	int err;

	nest_pt_set_vmid(pt, g ? GUEST_VMID : OWN_ASID);
	if (g) {
		err = nest_riscv_hgatp(pt, &root);
	} else {
		err = nest_pt_map(pt, USER_STUBS, (uintptr_t)stubs, 0x1000,
				  NEST_RX | NEST_U | NEST_ACCESSED, 0, NULL);
		if (!err)
			err = nest_riscv_satp(pt, &root);
	}
	if (err)
		return err;
	loaded.config = config;
	loaded.pt = pt;
	loaded.g_stage = g;
	loaded.svinval = wishes[config->port_index].svinval;
	loaded.home = where;
	nest_riscv_fence();
	if (g) {
		WRITE_CSR(hgatp, root);
		nest_riscv_hfence_gvma_all();
		CHECK(READ_CSR(hgatp) == root, "hgatp %lx reads as %lx", root, READ_CSR(hgatp));
	} else {
		WRITE_CSR(satp, root);
		nest_riscv_sfence_vma_all();
		CHECK(READ_CSR(satp) == root, "satp %lx reads as %lx", root, READ_CSR(satp));
	}
	return NEST_OK;
}

void port_unload(void)
{
	WRITE_CSR(satp, 0);
	nest_riscv_sfence_vma_all();
	WRITE_CSR(hgatp, 0);
	nest_riscv_hfence_gvma_all();
	loaded.pt = NULL;
}

void port_flush(const struct nest_flush *what)
{
	if (!loaded.pt)
		return; /* nothing can have been translated */
	if (!loaded.g_stage)
		nest_riscv_sv_flush(what);
	else if (loaded.svinval)
		nest_riscv_g_flush_svinval(what);
	else
		nest_riscv_g_flush(what);
}

void port_sync(const void *va, size_t len)
{
	(void)va;
	(void)len;
	nest_riscv_fence();
}

/* ---- The reference MMU ---- */

const struct mmu *port_mmu(const struct walker_config *config, struct mmu_regs *regs)
{
	(void)config;
	*regs = (struct mmu_regs){ .root = loaded.g_stage ? READ_CSR(hgatp) : READ_CSR(satp),
				   .control2 = READ_CSR(sstatus),
				   .cpu = cpu,
				   .pa_bits = 44 + 12 }; /* a PPN of an entry, an offset */
	return loaded.g_stage ? &mmu_riscv_g : &mmu_riscv_sv;
}

static bool is_ram(uint64_t pa)
{
	return pa >= RAM && pa - RAM <= RAM_SIZE - sizeof(uint64_t);
}

/* What a walk has met: an address where there is no memory, or anything reserved. */
struct met {
	bool outside, reserved;
};

/* An entry as QEMU_RISCV_RESERVED reads it. */
static uint64_t load_unreserved(void *ctx, uint64_t pa)
{
	struct met *met = ctx;
	uint64_t word;

	if (!is_ram(pa)) {
		met->outside = true;
		return 0;
	}
	word = *(volatile uint64_t *)walker_va(pa);
	met->reserved |= (word & PTE_RESERVED) || (word & PTE_PBMT) == PTE_PBMT;
	word &= ~PTE_RESERVED;
	return (word & PTE_LEAF) && (word & PTE_PBMT) == PTE_PBMT ? word & ~PTE_PBMT : word;
}

/* What comes of an access if reserved bits are not looked at; OUTSIDE: the bus says. */
enum unreserved { REFUSED, LET, OUTSIDE };

static enum unreserved without_reserved(nest_ia_t ia, enum walker_access access,
					enum walker_mode mode, uint64_t *pa)
{
	static const uint8_t needs[] = { MMU_R, MMU_W, MMU_X, MMU_R | MMU_W };
	unsigned rights = needs[access];
	struct met met = { 0 };
	struct mmu_regs regs;
	const struct mmu *mmu = port_mmu(loaded.config, &regs);
	struct mmu_step s = mmu_walk(mmu, &regs, ia, load_unreserved, &met);

	*pa = s.pa;
	if (met.outside)
		return OUTSIDE;
	/* A read-modify-write reads before it is refused. */
	if (access == WALKER_RMW && !is_ram(s.pa))
		rights = MMU_R;
	/* It may be let by QEMU_RISCV_SUM_EXECUTES, too. */
	if (met.reserved && s.kind == MMU_PAGE && access == WALKER_EXEC &&
	    mode == WALKER_PRIVILEGED && (s.word & PTE_UX) == PTE_UX)
		return is_ram(s.pa) ? LET : OUTSIDE;
	if (s.kind != MMU_PAGE || mmu_access(mmu, &s, rights, mode) != MMU_DONE)
		return REFUSED;
	return is_ram(s.pa) ? LET : OUTSIDE;
}

/* ---- Accesses ---- */

/* Where SRET goes: a guest or, for the first stage, a user. */
static void set_mode(bool guest, enum walker_mode mode)
{
	uint64_t hstatus = READ_CSR(hstatus) & ~(HSTATUS_SPV | HSTATUS_SPVP);

	if (mode == WALKER_PRIVILEGED) {
		hstatus |= HSTATUS_SPVP;
		__asm__ volatile("csrs sstatus, %0" : : "r"(SSTATUS_SPP));
	} else {
		__asm__ volatile("csrc sstatus, %0" : : "r"(SSTATUS_SPP));
	}
	WRITE_CSR(hstatus, hstatus | (guest ? HSTATUS_SPV : 0));
}

/* What a first-stage fault says, in the words of nest/fault.h. Privileged spec, 10.1.9. */
static void decode_own(const struct access *a, struct nest_fault *f)
{
	*f = (struct nest_fault){ .gpa = a->stval,
				  .gpa_valid = true,
				  .gpa_exact = true,
				  .kind = NEST_FAULT_TRANSLATION,
				  .level = NEST_FAULT_LEVEL_UNKNOWN };
	switch (a->scause) {
	case CAUSE_FETCH:
		f->access = NEST_X;
		break;
	case CAUSE_LOAD:
		f->access = NEST_R;
		break;
	case CAUSE_STORE:
		f->access = NEST_W;
		break;
	default:
		f->kind = NEST_FAULT_OTHER;
	}
}

static void judge(const struct access *a, nest_ia_t ia, bool by_stub, enum walker_access access,
		  struct walker_outcome *out)
{
	bool breakpoint = a->scause == CAUSE_BREAKPOINT;

	*out = (struct walker_outcome){ .value = a->a0 };
	if (access == WALKER_EXEC)
		out->done = breakpoint && a->sepc == ia;
	else
		out->done = by_stub ? breakpoint : a->scause == (uint64_t)NOT_TRAPPED;
	if (out->done)
		return;
	if (!loaded.g_stage)
		decode_own(a, &out->fault);
	else if (nest_fault_riscv(a->scause, a->stval, a->htval, a->htinst, &out->fault) != NEST_OK)
		out->fault.kind = NEST_FAULT_OTHER;
}

static const uint32_t code[] = { 0x00100073, 0x00100073 }; /* EBREAK */

/* Would a fetch run what is no port_code(), because of QEMU_RISCV_RESERVED? */
static bool runs_other_code(nest_ia_t ia, enum walker_mode mode)
{
	uint64_t pa;

	return without_reserved(ia, WALKER_EXEC, mode, &pa) == LET &&
	       *(volatile uint32_t *)walker_va(pa) != code[0];
}

void port_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		 struct walker_outcome *out)
{
	static const uint8_t *const stub[] = { stub_load, stub_store, stub_jump, stub_add };
	bool guest = loaded.g_stage;
	struct access a;

	if (access == WALKER_EXEC && runs_other_code(ia, mode)) {
		*out = (struct walker_outcome){ .fault.kind = NEST_FAULT_OTHER };
		return;
	}
	if (guest && access <= WALKER_WRITE) {
		set_mode(false, mode);
		if (access == WALKER_READ)
			access_hlv(&a, ia, 0);
		else
			access_hsv(&a, ia, value);
		judge(&a, ia, false, access, out);
	} else if (guest || mode == WALKER_USER) {
		uint64_t where = guest ? loaded.home : USER_STUBS;

		set_mode(guest, mode);
		access_enter(&a, where + (uint64_t)(stub[access] - stubs), ia, value);
		judge(&a, ia, true, access, out);
	} else {
		static void (*const direct[])(struct access *, uint64_t,
					      uint64_t) = { access_load, access_store, access_jump,
							    access_add };

		direct[access](&a, ia, value);
		judge(&a, ia, false, access, out);
	}
}

const void *port_code(size_t *len)
{
	*len = sizeof(code);
	return code;
}

void port_code_written(void *va, size_t len)
{
	(void)va;
	(void)len;
	__asm__ volatile("fence.i" : : : "memory");
}

/* ---- The guest's own first stage ---- */

#define WALK_VA ((nest_ia_t)1 << 30)

/* Sv39: the second GiB begins with a page whose entry is the first of `table`. */
bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out)
{
	struct access a;

	if (!loaded.g_stage || (table | loaded.home) >> 56)
		return false; /* a guest's entry names 56 bits */
	((uint64_t *)(home + HOME_L2))[1] = pte(loaded.home + HOME_L1, PTE_POINTER);
	((uint64_t *)(home + HOME_L1))[0] = pte(table, PTE_POINTER);
	if (frame != NEST_PA_NONE)
		*(volatile uint64_t *)walker_va(frame) = pte(loaded.home + HOME_DATA, PTE_RW);
	WRITE_CSR(vsatp, (uint64_t)8 << 60 | (loaded.home + HOME_L2) >> 12);
	nest_riscv_hfence_gvma_all();
	set_mode(false, WALKER_PRIVILEGED);
	if (access == WALKER_WRITE)
		access_hsv(&a, WALK_VA, 1);
	else
		access_hlv(&a, WALK_VA, 0);
	judge(&a, WALK_VA, false, access, out);
	WRITE_CSR(vsatp, 0);
	nest_riscv_hfence_gvma_all();
	return true;
}

bool port_translate(nest_ia_t ia, enum walker_access access, nest_pa_t *pa, nest_attr_t *type)
{
	(void)ia;
	(void)access;
	(void)pa;
	(void)type;
	return false; /* RISC-V has no such instruction */
}

/* runs_other_code() has kept the CPU from it. */
static bool was_not_run(const struct walker_outcome *out)
{
	return !out->done && out->fault.kind == NEST_FAULT_OTHER && !out->fault.gpa;
}

/* A walk that should have ended at a reserved encoding has gone on as if it were none. */
static bool ignored_reserved(const struct walker_probe *probe, const struct walker_outcome *outcome)
{
	uint64_t pa;

	if (!probe->step || probe->step->kind != MMU_MISCONFIG)
		return false;
	switch (without_reserved(probe->ia, probe->access, probe->mode, &pa)) {
	case LET:
		return outcome->done || (probe->access == WALKER_EXEC && was_not_run(outcome));
	case OUTSIDE:
		return outcome->done || outcome->fault.kind == NEST_FAULT_OTHER;
	default:
		return false;
	}
}

static bool is_user_code(const struct walker_probe *probe)
{
	const nest_attr_t user_code = NEST_U | NEST_X;

	return probe->step ? (probe->step->word & PTE_UX) == PTE_UX
			   : (probe->attr & user_code) == user_code;
}

enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome)
{
	if (config->format == &nest_fmt_riscv_sv && probe->mode == WALKER_PRIVILEGED &&
	    probe->access == WALKER_EXEC && probe->mapped && is_user_code(probe) && outcome->done)
		return QEMU_RISCV_SUM_EXECUTES;
	return ignored_reserved(probe, outcome) ? QEMU_RISCV_RESERVED : WALKER_NO_DEVIATION;
}

/* ---- Of this machine ---- */

static bool forgetful;

static void flush_or_not(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	if (!forgetful)
		port_flush(what);
}

static bool reads(nest_ia_t ia, uint64_t expected)
{
	struct walker_outcome out;

	port_access(ia, WALKER_READ, WALKER_PRIVILEGED, 0, &out);
	return out.done && out.value == expected;
}

/* A table of the configuration, loaded, with the port's area in its place and a page at `ia`. */
static bool load_page(const struct walker_config *c, const struct nest_host *host,
		      struct nest_pt *pt, nest_ia_t ia, nest_pa_t frame)
{
	const struct nest_pt_config config = { .format = c->format,
					       .ia_bits = c->ia_bits,
					       .oa_bits = c->oa_bits,
					       .features = c->features,
					       .host = host };
	int err = nest_pt_init(pt, &config);

	if (!err)
		err = nest_pt_map(pt, RAM, c->home_pa, c->home_size, c->home_attr, 0, NULL);
	if (!err)
		err = nest_pt_map(pt, ia, frame, 0x1000, NEST_RW | NEST_ACCESSED | NEST_DIRTY, 0,
				  NULL);
	if (!err)
		err = port_load(c, pt, RAM);
	CHECK(err == NEST_OK, "%s", nest_strerror(err));
	return err == NEST_OK;
}

/*
 * Can this machine show a missing fence at all? A page that was unmapped without one is still
 * there, and gone after it.
 */
static void staleness(const struct walker_config *c, nest_pa_t frame)
{
	struct nest_host host = walker_host;
	const nest_ia_t page = 0x40000000;
	struct nest_pt pt;

	host.tlb_flush = flush_or_not;
	if (!load_page(c, &host, &pt, page, frame))
		return;
	*(volatile uint64_t *)walker_va(frame) = 0x1234;
	CHECK(reads(page, 0x1234), "the page does not read");
	forgetful = true;
	CHECK(nest_pt_unmap(&pt, page, 0x1000, 0, NULL) == NEST_OK, "unmap");
	CHECK(reads(page, 0x1234), "this machine does not show that a fence is missing");
	forgetful = false;
	port_flush(&(struct nest_flush){
		.ia = page, .size = 0x1000, .level_mask = 1, .vmid = GUEST_VMID });
	CHECK(!reads(page, 0x1234), "the page that was unmapped still reads after the fence");
	port_unload();
	nest_pt_destroy(&pt);
}

/* The half of the addresses that reach_bits leaves out: translated, or refused as is known. */
static void top_gpa_bit(const struct walker_config *c, nest_pa_t frame)
{
	const nest_ia_t page = (nest_ia_t)1 << (c->ia_bits - 1);
	struct walker_outcome out;
	struct nest_pt pt;

	if (!load_page(c, &walker_host, &pt, page, frame))
		return;
	*(volatile uint64_t *)walker_va(frame) = 0x5678;
	port_access(page, WALKER_READ, WALKER_PRIVILEGED, 0, &out);
	if (!out.done && out.fault.kind == NEST_FAULT_TRANSLATION && !out.fault.on_table_walk &&
	    out.fault.access == NEST_R && out.fault.gpa == page)
		walker_tolerated(QEMU_RISCV_TOP_GPA_BIT);
	else
		CHECK(out.done && out.value == 0x5678, "%lx: done %u, kind %u at %lx", page,
		      (unsigned)out.done, (unsigned)out.fault.kind, out.fault.gpa);
	port_unload();
	nest_pt_destroy(&pt);
}

/* Which fences a flush takes. Any fence empties this machine's TLB, so none would be missed. */
static void fence_plans(void)
{
	static const struct {
		struct nest_flush what;
		unsigned shift, count; /* written by hand; 0: a fence for everything */
	} plans[] = {
		{ { .ia = 0x5000, .size = 0x1000, .level_mask = 1, .leaf_only = true }, 12, 1 },
		{ { .ia = 0x5000, .size = 0x40000, .level_mask = 1, .leaf_only = true }, 12, 64 },
		{ { .ia = 0x5000, .size = 0x41000, .level_mask = 1, .leaf_only = true }, 12, 0 },
		/* By 2 MiB, and not from the start of one: both that it touches. */
		{ { .ia = 0x3ff000, .size = 0x2000, .level_mask = 2, .leaf_only = true }, 21, 2 },
		{ { .ia = 0x40000000, .size = 0x80000000, .level_mask = 4, .leaf_only = true },
		  30,
		  2 },
		/* Pages of both sizes were there: by the smaller. */
		{ { .ia = 0x200000, .size = 0x200000, .level_mask = 3, .leaf_only = true }, 12, 0 },
		/* A pointer was changed, or nobody can tell what was. */
		{ { .ia = 0x5000, .size = 0x1000, .level_mask = 1 }, 0, 0 },
		{ { .ia = 0x5000, .size = 0x1000, .leaf_only = true }, 0, 0 },
		{ { .all = true, .level_mask = 1, .leaf_only = true }, 0, 0 },
	};

	for (unsigned i = 0; i < COUNT(plans); i++) {
		unsigned shift = nest_riscv_flush_shift(&plans[i].what);
		uint64_t count = nest_riscv_flush_count(&plans[i].what);

		CHECK(shift == plans[i].shift && count == plans[i].count,
		      "fence plan %u: %lu of 2^%u, not %u of 2^%u", i, count, shift, plans[i].count,
		      plans[i].shift);
	}
}

void port_extra(const struct walker_config *config)
{
	nest_pa_t frame = walker_alloc(0x1000);

	CHECK(frame != NEST_PA_NONE, "no memory");
	if (frame == NEST_PA_NONE)
		return;
	staleness(config, frame);
	if (config->reach_bits)
		top_gpa_bit(config, frame);
	fence_plans();
	walker_free(frame, 0x1000);
}

/* ---- Console, start and end ---- */

#define UART         ((volatile uint8_t *)0x10000000)
#define SIFIVE_TEST  ((volatile uint32_t *)0x100000)
#define TEST_PASS    0x5555u
#define TEST_FAIL(n) ((uint32_t)(n) << 16 | 0x3333u)

/* Devices are not mapped by the tables under test. RAM is where it is either way. */
void put_char(void *unused, char c)
{
	uint64_t satp = READ_CSR(satp);

	(void)unused;
	if (satp) {
		WRITE_CSR(satp, 0);
		nest_riscv_sfence_vma_all();
	}
	if (c == '\n')
		*UART = '\r';
	*UART = (uint8_t)c;
	if (satp) {
		WRITE_CSR(satp, satp);
		nest_riscv_sfence_vma_all();
	}
}

void port_exit(bool ok)
{
	WRITE_CSR(satp, 0);
	nest_riscv_sfence_vma_all();
	*SIFIVE_TEST = ok ? TEST_PASS : TEST_FAIL(1);
	for (;;)
		;
}

void fatal_trap(uint64_t cause, uint64_t epc, uint64_t tval)
{
	print("walker: trap %lx at %lx, value %lx\n", cause, epc, tval);
	port_exit(false);
}

void main(void)
{
	walker_main();
}
