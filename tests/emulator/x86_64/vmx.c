/* SPDX-License-Identifier: MIT */
/*
 * Intel's extended page tables, by guests that make one access each.
 *
 * The guest has a VPID, so that the TLB may keep guest-physical mappings from one access to the
 * next: INVEPT follows when the library asks for a flush, INVVPID a change of the window. Bochs
 * flushes everything at each VM entry, so the CPU does not show a flush too few here; only the
 * suite's own account of flushes does.
 */
#include <string.h>

#include <nest/arch/x86.h>
#include <nest/fault.h>

#include "guest.h"
#include "machine.h"
#include "vmx.h"

/*
 * SDM vol. 3C, 29.3.3: an access needs both stages' rights, and the guest's own allow everything
 * here. Fetches need X alone. The memory type changes nothing of that.
 */
static const struct walker_attr attrs[] = {
	{ NEST_RWX, { CAN_RWX } },
	{ NEST_RX, { CAN_RX } },
	{ NEST_RW, { CAN_RW } },
	{ NEST_R, { CAN_R } },
	{ NEST_RWX | NEST_SW1, { CAN_RWX } },
	{ NEST_RX | NEST_SW0 | NEST_SW2, { CAN_RX } },
	{ NEST_RX | NEST_MT_WT, { CAN_RX } },
	{ NEST_RW | NEST_MT_UC, { CAN_RW } },
	{ NEST_RWX | NEST_MT_UC, { CAN_RWX } },
	{ NEST_R | NEST_MT_WC, { CAN_R } },
	{ NEST_RX | NEST_MT_UC, { CAN_RX } },
	{ NEST_R | NEST_MT_WT, { CAN_R } },
	{ NEST_RWX | NEST_MT_WC, { CAN_RWX } },
	{ NEST_RWX | NEST_MT_WT, { CAN_RWX } },
	/* These take NEST_FEAT_XO. */
	{ NEST_X, { WALKER_CAN(WALKER_EXEC) } },
	{ NEST_X | NEST_SW2, { WALKER_CAN(WALKER_EXEC) } },
	{ NEST_X | NEST_MT_UC, { WALKER_CAN(WALKER_EXEC) } },
};
enum { XO_ATTRS = 3, ATTRS = sizeof(attrs) / sizeof(*attrs) };

/* ---- VMX: MSRs and values (SDM vol. 3D, appendix A) ---- */

#define MSR_FEATURE_CONTROL  0x3au /* 0 locked, 2 VMX outside SMX */
#define MSR_VMX_BASIC        0x480u
#define MSR_VMX_CR0_FIXED0   0x486u
#define MSR_VMX_CR4_FIXED0   0x488u
#define MSR_VMX_EPT_VPID_CAP 0x48cu
#define MSR_VMX_TRUE_PIN     0x48du
#define MSR_VMX_TRUE_PRIMARY 0x48eu
#define MSR_VMX_TRUE_EXIT    0x48fu
#define MSR_VMX_TRUE_ENTRY   0x490u

#define BASIC_REVISION     0x7fffffffu
#define BASIC_HAS_TRUE     ((uint64_t)1 << 55)
#define CAP_INVEPT_CONTEXT ((uint64_t)1 << 25)

#define PRIMARY_HLT       ((uint32_t)1 << 7)
#define PRIMARY_SECONDARY ((uint32_t)1 << 31)
#define EXIT_HOST_64      ((uint32_t)1 << 9)
#define ENTRY_GUEST_64    ((uint32_t)1 << 9)

enum { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGMENTS, TABLE_REGISTERS = SEGMENTS + 2 };

/* Access rights of segments, 25.4.1. */
#define CODE_SEGMENT 0xa09bu  /* present, 64-bit code */
#define DATA_SEGMENT 0xc093u  /* present, read and written */
#define TASK_SEGMENT 0x008bu  /* present, busy */
#define NO_SEGMENT   0x10000u /* unusable */

enum { GUEST_VPID = 1 };

#define EPTP_AD  ((uint64_t)1 << 6)
#define CR4_VMXE ((uint64_t)1 << 13)

static _Alignas(4096) uint8_t vmxon_region[4096], vmcs[4096];
_Alignas(4096) struct ve_information ve_information;

static uint64_t ept_vpid_cap, eptp;
static enum nest_invept invept_type;
static bool launched;

void vmwrite(unsigned field, uint64_t value)
{
	bool failed;

	__asm__ volatile("vmwrite %1, %2"
			 : "=@ccbe"(failed)
			 : "r"(value), "r"((uint64_t)field)
			 : "memory");
	if (failed)
		walker_die("no VMCS field %lx", (uint64_t)field);
}

/* VMXON, VMCLEAR and VMPTRLD take the address of a region's address. */
#define VMX_REGION(instruction, region)                                                            \
	do {                                                                                       \
		uint64_t region_pa = (uint64_t)(region);                                           \
		bool failed;                                                                       \
                                                                                                   \
		__asm__ volatile(instruction " %1"                                                 \
				 : "=@ccbe"(failed)                                                \
				 : "m"(region_pa)                                                  \
				 : "memory");                                                      \
		if (failed)                                                                        \
			walker_die(instruction " fails");                                          \
	} while (0)

void write_controls(enum field field, uint32_t msr, uint32_t wanted)
{
	uint64_t allowed = read_msr(msr);

	if (wanted & ~(uint32_t)(allowed >> 32))
		walker_die("this CPU has not all controls %lx of VMCS field %lx", (uint64_t)wanted,
			   (uint64_t)field);
	vmwrite(field, wanted | (uint32_t)allowed);
}

static void start_vmx(void)
{
	uint64_t basic;
	uint32_t revision;

	if (!(nest_x86_read_cpuid(1, 0).ecx >> 5 & 1))
		walker_die("this CPU has no VMX");
	if (!(read_msr(MSR_FEATURE_CONTROL) & 1))
		write_msr(MSR_FEATURE_CONTROL, 5);
	basic = read_msr(MSR_VMX_BASIC);
	revision = (uint32_t)basic & BASIC_REVISION;
	if (!(basic & BASIC_HAS_TRUE) || !secondary_has(SECONDARY_EPT))
		walker_die("this CPU has no EPT");
	ept_vpid_cap = read_msr(MSR_VMX_EPT_VPID_CAP);
	invept_type = ept_vpid_cap & CAP_INVEPT_CONTEXT ? NEST_INVEPT_CONTEXT : NEST_INVEPT_ALL;
	print("probed: VMX: EPT and VPID capabilities %lx, EPT features %lx, PML: %s, #VE: %s\n",
	      ept_vpid_cap, (uint64_t)nest_ept_features(ept_vpid_cap),
	      secondary_has(SECONDARY_PML) ? "yes" : "no",
	      secondary_has(SECONDARY_VE) ? "yes" : "no");
	write_cr4(read_cr4() | CR4_VMXE);
	memcpy(vmxon_region, &revision, sizeof(revision));
	memcpy(vmcs, &revision, sizeof(revision));
	VMX_REGION("vmxon", vmxon_region);
	VMX_REGION("vmclear", vmcs);
	VMX_REGION("vmptrld", vmcs);
}

/* ---- The guest ---- */

static void write_guest_segments(void)
{
	static const struct {
		uint16_t selector;
		uint32_t limit, rights;
	} segments[SEGMENTS] = {
		[ES] = { SEL_DATA, 0xffffffff, DATA_SEGMENT },
		[CS] = { SEL_CODE, 0xffffffff, CODE_SEGMENT },
		[SS] = { SEL_DATA, 0xffffffff, DATA_SEGMENT },
		[DS] = { SEL_DATA, 0xffffffff, DATA_SEGMENT },
		[FS] = { 0, 0, NO_SEGMENT },
		[GS] = { 0, 0, NO_SEGMENT },
		[LDTR] = { 0, 0, NO_SEGMENT },
		[TR] = { SEL_TSS, 0x67, TASK_SEGMENT },
	};

	for (unsigned i = 0; i < SEGMENTS; i++) {
		vmwrite(GUEST_SELECTORS + 2 * i, segments[i].selector);
		vmwrite(GUEST_RIGHTS + 2 * i, segments[i].rights);
	}
	for (unsigned i = 0; i < TABLE_REGISTERS; i++) {
		vmwrite(GUEST_LIMITS + 2 * i, i < SEGMENTS ? segments[i].limit : 0);
		vmwrite(GUEST_BASES + 2 * i, 0);
	}
}

static void write_guest(void)
{
	static const enum field zero[] = {
		GUEST_DEBUGCTL,      GUEST_INTERRUPTIBILITY, GUEST_ACTIVITY,     GUEST_SYSENTER_CS,
		GUEST_PENDING_DEBUG, GUEST_SYSENTER_ESP,     GUEST_SYSENTER_EIP, GUEST_RSP,
	};

	write_guest_segments();
	for (unsigned i = 0; i < sizeof(zero) / sizeof(*zero); i++)
		vmwrite(zero[i], 0);
	vmwrite(VMCS_LINK, ~(uint64_t)0);
	vmwrite(GUEST_CR0, CR0_GUEST | read_msr(MSR_VMX_CR0_FIXED0));
	vmwrite(GUEST_CR3, guest_cr3());
	vmwrite(GUEST_CR4, CR4_GUEST | read_msr(MSR_VMX_CR4_FIXED0));
	vmwrite(GUEST_DR7, 0x400);
}

static void write_host(void)
{
	static const enum field zero[] = {
		HOST_SYSENTER_CS, HOST_FS_BASE, HOST_GS_BASE, HOST_SYSENTER_ESP, HOST_SYSENTER_EIP,
	};
	static const uint16_t selectors[] = {
		SEL_DATA, SEL_CODE, SEL_DATA, SEL_DATA, 0, 0, SEL_TSS
	};
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} gdtr, idtr;
	const uint64_t *tss;

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	__asm__ volatile("sidt %0" : "=m"(idtr));
	tss = (const uint64_t *)(gdtr.base + SEL_TSS);
	for (unsigned i = 0; i < sizeof(selectors) / sizeof(*selectors); i++)
		vmwrite(HOST_SELECTORS + 2 * i, selectors[i]);
	for (unsigned i = 0; i < sizeof(zero) / sizeof(*zero); i++)
		vmwrite(zero[i], 0);
	vmwrite(HOST_CR0, read_cr0());
	vmwrite(HOST_CR3, nest_x86_read_cr3());
	vmwrite(HOST_CR4, read_cr4());
	vmwrite(HOST_TR_BASE, (tss[0] >> 16 & 0xffffff) | (tss[0] >> 56 << 24) | tss[1] << 32);
	vmwrite(HOST_GDTR_BASE, gdtr.base);
	vmwrite(HOST_IDTR_BASE, idtr.base);
}

/* Every exception is an exit: the two page-fault fields let those through whatever their error. */
static void write_all_controls(uint32_t secondary)
{
	static const enum field zero[] = {
		PAGE_FAULT_MASK, PAGE_FAULT_MATCH,   CR3_TARGETS, EXIT_MSR_STORES, EXIT_MSR_LOADS,
		ENTRY_MSR_LOADS, ENTRY_INTERRUPTION, CR0_MASK,    CR4_MASK,
	};

	write_controls(PIN_CONTROLS, MSR_VMX_TRUE_PIN, 0);
	write_controls(PRIMARY_CONTROLS, MSR_VMX_TRUE_PRIMARY, PRIMARY_HLT | PRIMARY_SECONDARY);
	write_controls(SECONDARY_CONTROLS, MSR_VMX_SECONDARY,
		       SECONDARY_EPT | SECONDARY_VPID | secondary);
	write_controls(EXIT_CONTROLS, MSR_VMX_TRUE_EXIT, EXIT_HOST_64);
	write_controls(ENTRY_CONTROLS, MSR_VMX_TRUE_ENTRY, ENTRY_GUEST_64);
	for (unsigned i = 0; i < sizeof(zero) / sizeof(*zero); i++)
		vmwrite(zero[i], 0);
	vmwrite(EXCEPTIONS, 0xffffffff);
	vmwrite(VPID, GUEST_VPID);
	vmwrite(EPTP, eptp);
}

/*
 * VM entry, until the next exit. The stubs change RAX and RSI alone; RAX is what the guest leaves.
 * An exit clears the flags (28.5.3), a failed entry sets CF or ZF and goes on with the next
 * instruction: the same one.
 */
static uint64_t enter_guest(uint64_t rdi, uint64_t rsi)
{
	uint64_t rax = launched;
	bool failed;

	__asm__ volatile("movl %[host_rsp], %%ecx\n\t"
			 "vmwrite %%rsp, %%rcx\n\t"
			 "movl %[host_rip], %%ecx\n\t"
			 "leaq 1f(%%rip), %%rdx\n\t"
			 "vmwrite %%rdx, %%rcx\n\t"
			 "testl %%eax, %%eax\n\t"
			 "jnz 2f\n\t"
			 "vmlaunch\n\t"
			 "jmp 1f\n"
			 "2:\tvmresume\n"
			 "1:"
			 : "=@ccbe"(failed), "+a"(rax), "+D"(rdi), "+S"(rsi)
			 : [host_rsp] "i"(HOST_RSP), [host_rip] "i"(HOST_RIP)
			 : "rcx", "rdx", "memory");
	if (failed)
		walker_die("VM entry fails with error %lu", vmread(INSTRUCTION_ERROR));
	launched = true;
	return rax;
}

bool exception_is(uint8_t vector)
{
	return vmread(EXIT_REASON) == EXIT_EXCEPTION &&
	       (vmread(EXIT_INTERRUPTION) & 0xff) == vector;
}

/* What an exit without success tells. */
static void decode(uint64_t gva, struct nest_fault *fault)
{
	uint64_t reason = vmread(EXIT_REASON), qualification = vmread(QUALIFICATION);
	bool misconfig = reason == EXIT_EPT_MISCONFIGURATION;
	int err = NEST_E_UNSUPPORTED;

	if (misconfig || reason == EXIT_EPT_VIOLATION)
		err = nest_fault_ept(qualification, vmread(EXIT_GPA), vmread(EXIT_GLA), misconfig,
				     fault);
	if (!err) {
		CHECK(misconfig || (fault->gva_valid && fault->gva == gva),
		      "a violation by an access to %lx tells of the linear address %lx", gva,
		      fault->gva);
		return;
	}
	*fault = (struct nest_fault){ .kind = NEST_FAULT_OTHER };
	if (reason != EXIT_PML_FULL && !exception_is(VECTOR_VE))
		print("exit %lx, qualification %lx, interruption %lx, at %lx\n", reason,
		      qualification, vmread(EXIT_INTERRUPTION), vmread(GUEST_RIP));
}

/* Run the stub of an access to a guest-virtual address. */
static void run_guest(uint64_t gva, enum walker_access access, uint64_t value,
		      struct walker_outcome *out)
{
	uint64_t stub = guest_stub(access);
	struct stub_end end;

	if (!nest_x86_invvpid(NEST_INVVPID_ADDRESS, GUEST_VPID, gva))
		walker_die("INVVPID fails");
	vmwrite(GUEST_RIP, stub);
	vmwrite(GUEST_RFLAGS, 2);
	end.rax = enter_guest(gva, value);
	end.rip = vmread(GUEST_RIP);
	end.ud2 = exception_is(VECTOR_UD);
	out->done = stub_succeeded(access, stub, gva, &end);
	out->value = end.rax;
	if (!out->done)
		decode(gva, &out->fault);
}

/* ---- The port ---- */

void port_start(void)
{
	machine_start();
	start_vmx();
}

static const struct {
	const char *name;
	uint32_t features;
} variants[] = {
	{ "ept-48", NEST_FEAT_1G },
	{ "ept-48-2m", 0 },
	{ "ept-48-xo", NEST_FEAT_1G | NEST_FEAT_XO },
	{ "ept-48-ad", NEST_FEAT_1G | NEST_FEAT_HW_AD },
	{ "ept-48-ve", NEST_FEAT_1G | NEST_FEAT_VE },
	{ "ept-48-ad-xo-ve", NEST_FEAT_1G | NEST_FEAT_HW_AD | NEST_FEAT_XO | NEST_FEAT_VE },
};
enum { VARIANTS = sizeof(variants) / sizeof(*variants) };

const struct walker_config *port_configs(unsigned *count)
{
	static struct walker_config configs[VARIANTS];
	uint32_t probed = nest_ept_features(ept_vpid_cap) |
			  (secondary_has(SECONDARY_VE) ? NEST_FEAT_VE : 0);

	for (unsigned i = 0; i < VARIANTS; i++) {
		struct walker_config *c = &configs[i];

		*c = guest_config();
		c->name = variants[i].name;
		c->format = &nest_fmt_ept;
		c->ia_bits = 48;
		c->oa_bits = nest_x86_phys_bits();
		c->features = probed & variants[i].features;
		c->attrs = attrs;
		c->nr_attrs = ATTRS - (c->features & NEST_FEAT_XO ? 0 : XO_ATTRS);
		c->accesses = CAN_RWX;
		c->walk_writes = c->features & NEST_FEAT_HW_AD;
		c->hw_ad = c->walk_writes ? NEST_ACCESSED | NEST_DIRTY : 0;
	}
	*count = VARIANTS;
	return configs;
}

int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t at)
{
	int err = nest_ept_eptp(pt, &eptp);

	if (err)
		return err;
	guest_make(at);
	write_guest();
	write_host();
	vmwrite(VE_INFORMATION, (uint64_t)&ve_information);
	write_all_controls(config->features & NEST_FEAT_VE ? SECONDARY_VE : 0);
	port_flush(NULL);
	return NEST_OK;
}

void port_unload(void)
{
	eptp = 0;
}

/* INVEPT knows no addresses: it is the same for every flush. */
void port_flush(const struct nest_flush *what)
{
	(void)what;
	if (eptp && !nest_x86_invept(invept_type, eptp))
		walker_die("INVEPT fails");
}

void port_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		 struct walker_outcome *out)
{
	(void)mode; /* EPT has none without mode-based execute control */
	run_guest(guest_window(ia), access, value, out);
}

/* None with #VE: then a violation of an entry without bit 63 never leaves the guest. */
const struct mmu *port_mmu(const struct walker_config *config, struct mmu_regs *regs)
{
	*regs = cpu_registers();
	regs->root = vmread(EPTP);
	regs->cpu = (ept_vpid_cap & 1 ? MMU_CPU_XO : 0) |
		    (ept_vpid_cap >> 7 & 1 ? MMU_CPU_LA57 : 0) |
		    (ept_vpid_cap >> 17 & 1 ? MMU_CPU_1G : 0);
	return config->features & NEST_FEAT_VE ? NULL : &mmu_ept;
}

enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome)
{
	const struct mmu_step *step = probe->step;
	const uint64_t leaf = 1u << 7, bit_12 = 1u << 12;

	(void)config, (void)outcome;
	if (step && step->kind == MMU_MISCONFIG && step->level > 0 && (step->word & leaf) &&
	    (step->word & bit_12))
		return BOCHS_EPT_LARGE_BIT_12;
	return WALKER_NO_DEVIATION;
}

/*
 * With accessed and dirty flags the walk is a write as well as a read, and a violation by it sets
 * both bits of the qualification.
 */
bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out)
{
	nest_attr_t walk = eptp & EPTP_AD ? NEST_RW : NEST_R;

	run_guest(guest_walk(table, frame), access, 0, out);
	if (!out->done && walk == NEST_RW && out->fault.access == NEST_W)
		walker_tolerated(BOCHS_EPT_WALK_ONLY_WRITES);
	else
		CHECK(out->done || out->fault.access == walk,
		      "a guest's walk is told as access %lx", (uint64_t)out->fault.access);
	return true;
}
