/* SPDX-License-Identifier: MIT */
/*
 * AMD's nested paging, by guests that make one access each; and the port's choice between that and
 * the first stage (stage1.c).
 *
 * VMRUN flushes when the library has asked for it, by its TLB control, and INVLPGA follows a change
 * of the window. The emulators flush everything at each VMRUN, so the CPU does not show a flush too
 * few here; only the suite's own account of flushes does.
 */
#include <string.h>

#include <nest/arch/x86.h>

#include "guest.h"
#include "machine.h"
#include "stage1.h"

/*
 * APM vol. 2, 15.25.5: an access needs both stages' rights; the guest's own allow everything here.
 * The nested walk is a user access whatever the guest's mode.
 */
static const struct walker_attr npt_attrs[] = {
	{ NEST_RWX, { CAN_RWX } },
	{ NEST_RX, { CAN_RX } },
	{ NEST_RW, { CAN_RW } },
	{ NEST_R, { CAN_R } },
	{ NEST_RWX | NEST_SW1, { CAN_RWX } },
	{ NEST_RX | NEST_SW0 | NEST_SW2, { CAN_RX } },
	{ NEST_RX | NEST_MT_WT, { CAN_RX } },
	{ NEST_RW | NEST_MT_UC, { CAN_RW } },
	{ NEST_RWX | NEST_MT_UC, { CAN_RWX } },
	{ NEST_R | NEST_MT_WT, { CAN_R } },
	{ NEST_RWX | NEST_MT_WC, { CAN_RWX } }, /* the last: takes NEST_FEAT_PAT */
};
enum { NPT_ATTRS = sizeof(npt_attrs) / sizeof(*npt_attrs) };

/* ---- SVM: MSRs, the VMCB (APM vol. 2, appendix B) ---- */

#define MSR_VM_HSAVE_PA 0xc0010117u
#define EFER_SVME       ((uint64_t)1 << 12)
#define EFER_LME_LMA    ((uint64_t)5 << 8)

#define INTERCEPT1_SHUTDOWN ((uint32_t)1 << 31)
#define INTERCEPT1_HLT      ((uint32_t)1 << 24)
#define INTERCEPT2_VMRUN    ((uint32_t)1 << 0)

#define EXIT_EXCEPTION ((uint64_t)0x40) /* and the vector */
#define EXIT_NPF       ((uint64_t)0x400)
#define EXIT_INVALID   (~(uint64_t)0)

#define CODE_SEGMENT 0x0a9b /* present, 64-bit code */
#define DATA_SEGMENT 0x0c93 /* present, read and written */

struct segment {
	uint16_t selector, attributes;
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	uint32_t intercept_cr, intercept_dr, intercept_exceptions, intercept1, intercept2;
	uint8_t unused0[0x58 - 0x14];
	uint32_t asid;
	uint8_t tlb_control;
	uint8_t unused1[0x70 - 0x5d];
	uint64_t exit_code, exit_info1, exit_info2, exit_int_info;
	uint64_t nested_paging;
	uint8_t unused2[0xb0 - 0x98];
	uint64_t ncr3;
	uint8_t unused3[0x400 - 0xb8];
	struct segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t unused4[0x4d0 - 0x4a0];
	uint64_t efer;
	uint8_t unused5[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t unused6[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t unused7[0x5f8 - 0x5e0];
	uint64_t rax;
	uint8_t unused8[0x668 - 0x600];
	uint64_t pat;
	uint8_t unused9[0x1000 - 0x670];
};
_Static_assert(sizeof(struct vmcb) == 0x1000, "a page");

enum { ASID = 1 };

static _Alignas(4096) struct vmcb vmcb;
static _Alignas(4096) uint8_t host_save[4096];
static uint64_t ncr3;
static enum nest_svm_tlb_control flush_asid, next_flush;

/* ---- The guest ---- */

static void make_vmcb(void)
{
	const struct segment code = { SEL_CODE, CODE_SEGMENT, 0xffffffff, 0 };
	const struct segment data = { SEL_DATA, DATA_SEGMENT, 0xffffffff, 0 };

	memset(&vmcb, 0, sizeof(vmcb));
	vmcb.intercept_exceptions = 0xffffffff;
	vmcb.intercept1 = INTERCEPT1_SHUTDOWN | INTERCEPT1_HLT;
	vmcb.intercept2 = INTERCEPT2_VMRUN;
	vmcb.asid = ASID;
	vmcb.nested_paging = 1;
	vmcb.ncr3 = ncr3;
	vmcb.cs = code;
	vmcb.ss = vmcb.ds = vmcb.es = data;
	vmcb.efer = read_msr(MSR_EFER) | EFER_LME_LMA;
	vmcb.cr4 = CR4_GUEST;
	vmcb.cr3 = guest_cr3();
	vmcb.cr0 = CR0_GUEST;
	vmcb.dr7 = 0x400;
	vmcb.dr6 = 0xffff0ff0;
	vmcb.pat = NEST_X86_PAT;
	next_flush = flush_asid;
}

/* VMRUN keeps RAX and RSP in the VMCB; the other registers are the guest's and the host's. */
static void vmrun(uint64_t rdi, uint64_t rsi)
{
	vmcb.tlb_control = (uint8_t)next_flush;
	__asm__ volatile("vmrun %%rax" : "+S"(rsi) : "a"(&vmcb), "D"(rdi) : "memory", "cc");
	next_flush = NEST_SVM_TLB_KEEP;
}

/* Run the stub of an access to a guest-virtual address. */
static void run_guest(uint64_t gva, enum walker_access access, uint64_t value,
		      struct walker_outcome *out)
{
	uint64_t stub = guest_stub(access);
	struct stub_end end;

	nest_x86_invlpga(gva, ASID);
	vmcb.rip = stub;
	vmcb.rflags = 2;
	vmcb.rax = 0;
	vmrun(gva, value);
	end = (struct stub_end){ vmcb.rip, vmcb.rax, vmcb.exit_code == EXIT_EXCEPTION + VECTOR_UD };
	out->done = stub_succeeded(access, stub, gva, &end);
	out->value = vmcb.rax;
	if (out->done)
		return;
	if (vmcb.exit_code == EXIT_NPF &&
	    nest_fault_npt(vmcb.exit_info1, vmcb.exit_info2, &out->fault) == NEST_OK)
		return;
	print("exit %lx, information %lx %lx, at %lx\n", vmcb.exit_code, vmcb.exit_info1,
	      vmcb.exit_info2, vmcb.rip);
	out->fault = (struct nest_fault){ .kind = NEST_FAULT_OTHER };
	if (vmcb.exit_code == EXIT_INVALID)
		make_vmcb();
}

/* ---- The port ---- */

enum { NPT, STAGE1 };

static bool in_stage1;

static void start_svm(void)
{
	struct nest_x86_cpuid svm = nest_x86_read_cpuid(0x8000000a, 0);

	if (!(nest_x86_read_cpuid(0x80000001, 0).ecx >> 2 & 1) || !(svm.edx & 1))
		walker_die("this CPU has no nested paging");
	flush_asid = svm.edx >> 6 & 1 ? NEST_SVM_TLB_FLUSH_ASID : NEST_SVM_TLB_FLUSH_ALL;
	print("probed: SVM: %u ASIDs, flush by ASID: %s\n", svm.ebx,
	      svm.edx >> 6 & 1 ? "yes" : "no");
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SVME);
	write_msr(MSR_VM_HSAVE_PA, (uint64_t)host_save);
	write_msr(MSR_PAT, NEST_X86_PAT);
}

void port_start(void)
{
	machine_start();
	start_svm();
}

/* Each feature on and off. As many levels as the host has, CR4.LA57 (APM vol. 2, 15.25.3). */
static const struct {
	const char *name[2]; /* with 4 levels, with 5 */
	unsigned stage;
	uint32_t features;
} variants[] = {
	{ { "npt-48", "npt-57" }, NPT, NEST_FEAT_1G },
	{ { "npt-48-2m-pat", "npt-57-2m-pat" }, NPT, NEST_FEAT_PAT },
	{ { "x86-48", "x86-57" }, STAGE1, NEST_FEAT_1G },
	{ { "x86-48-2m-pat", "x86-57-2m-pat" }, STAGE1, NEST_FEAT_PAT },
};
enum { VARIANTS = sizeof(variants) / sizeof(*variants) };

static struct walker_config npt_config(void)
{
	struct walker_config config = guest_config();

	config.format = &nest_fmt_npt;
	config.attrs = npt_attrs;
	config.nr_attrs = NPT_ATTRS;
	config.walk_writes = true;
	return config;
}

static struct walker_config stage1_config(void)
{
	nest_pa_t ram;
	uint64_t size;

	port_ram(&ram, &size);
	return (struct walker_config){
		.format = &nest_fmt_x86_64,
		.attrs = stage1_attrs,
		.nr_attrs = stage1_nr_attrs,
		.modes = 1u << WALKER_PRIVILEGED | 1u << WALKER_USER,
		.home_size = ram + size,
		.home_attr = NEST_RWX | NEST_U,
		.home_fixed = true,
	};
}

const struct walker_config *port_configs(unsigned *count)
{
	static struct walker_config configs[VARIANTS];
	bool la57 = read_cr4() & CR4_LA57;
	uint32_t probed = nest_x86_probe() | NEST_FEAT_PAT;

	for (unsigned i = 0; i < VARIANTS; i++) {
		struct walker_config *c = &configs[i];

		*c = variants[i].stage == NPT ? npt_config() : stage1_config();
		c->name = variants[i].name[la57];
		c->ia_bits = la57 ? 57 : 48;
		c->oa_bits = nest_x86_phys_bits();
		c->features = probed & (variants[i].features | (la57 ? NEST_FEAT_LA57 : 0));
		c->nr_attrs -= !(c->features & NEST_FEAT_PAT);
		c->accesses = CAN_RWX;
		c->hw_ad = NEST_ACCESSED | NEST_DIRTY;
		c->port_index = variants[i].stage;
	}
	*count = VARIANTS;
	return configs;
}

int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t at)
{
	int err;

	in_stage1 = config->port_index == STAGE1;
	if (in_stage1)
		return stage1_load(pt);
	err = nest_npt_ncr3(pt, &ncr3);
	if (err)
		return err;
	guest_make(at);
	make_vmcb();
	return NEST_OK;
}

void port_unload(void)
{
	if (in_stage1)
		stage1_unload();
	in_stage1 = false;
}

void port_flush(const struct nest_flush *what)
{
	if (in_stage1)
		nest_x86_flush(what);
	else
		next_flush = flush_asid;
}

void port_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		 struct walker_outcome *out)
{
	if (in_stage1) {
		stage1_access(ia, access, mode, value, out);
		return;
	}
	run_guest(guest_window(ia), access, value, out);
}

bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out)
{
	if (in_stage1)
		return false;
	run_guest(guest_walk(table, frame), access, 0, out);
	return true;
}

const struct mmu *port_mmu(const struct walker_config *config, struct mmu_regs *regs)
{
	*regs = cpu_registers();
	regs->root = config->port_index == STAGE1 ? nest_x86_read_cr3() : vmcb.ncr3;
	return config->port_index == STAGE1 ? &mmu_x86_64 : &mmu_npt;
}

enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome)
{
	(void)config, (void)probe, (void)outcome;
	return WALKER_NO_DEVIATION;
}

/*
 * Every bit of an output address in pages of every size: those that nest_x86_phys_bits() counts are
 * addresses to the CPU, and those above them are reserved (APM vol. 2, 5.3.3).
 */
static void check_address_bits(const struct walker_config *config, struct nest_pt *pt,
			       unsigned level)
{
	const nest_ia_t ia = (nest_ia_t)1 << 38; /* far from the home area at 0 */
	uint64_t size = (uint64_t)1 << nest_pt_shift(pt, level);

	for (unsigned bit = nest_pt_shift(pt, level); bit < pt->oa_bits; bit++) {
		bool is_address = bit < nest_x86_phys_bits();
		struct walker_outcome out = { 0 };
		int err = nest_pt_map(pt, ia, (nest_pa_t)1 << bit, size, config->attrs[0].attr,
				      NEST_MAP_MAX_LEVEL(level), NULL);

		CHECK(err == NEST_OK, "mapping with address bit %u: %s", bit, nest_strerror(err));
		port_access(ia, WALKER_READ, WALKER_PRIVILEGED, 0, &out);
		CHECK(out.done == is_address &&
			      (out.done ||
			       (out.fault.kind == NEST_FAULT_MISCONFIG && out.fault.gpa == ia)),
		      "address bit %u of a page of level %u: done %u, fault %u at %lx", bit, level,
		      (unsigned)out.done, (unsigned)out.fault.kind, out.fault.gpa);
		err = nest_pt_unmap(pt, ia, size, 0, NULL);
		CHECK(err == NEST_OK, "unmapping again: %s", nest_strerror(err));
	}
}

void port_extra(const struct walker_config *config)
{
	/* As wide as entries can be, whatever the CPU has. */
	const struct nest_pt_config wide = { .format = config->format,
					     .ia_bits = config->ia_bits,
					     .features = config->features,
					     .host = &walker_host };
	const unsigned large = config->features & NEST_FEAT_1G ? 2 : 1;
	struct nest_pt pt;
	int err = nest_pt_init(&pt, &wide);

	if (!err)
		err = nest_pt_map(&pt, 0, config->home_pa, config->home_size, config->home_attr, 0,
				  NULL);
	if (!err)
		err = port_load(config, &pt, 0);
	CHECK(err == NEST_OK, "a table for every address bit: %s", nest_strerror(err));
	for (unsigned level = 0; !err && level <= large; level++)
		check_address_bits(config, &pt, level);
	port_unload();
	nest_pt_destroy(&pt);
}
