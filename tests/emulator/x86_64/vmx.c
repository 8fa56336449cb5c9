/* SPDX-License-Identifier: MIT */
/*
 * Intel's extended page tables, by guests that make one access each.
 *
 * The guest runs in long mode on tables of its own in the home area, which the suite maps somewhere
 * in the table under test. One page of its address space is a window: the host writes the guest's
 * entry for it, and so it reaches every guest-physical address.
 *
 * The guest has a VPID, so that the TLB may keep guest-physical mappings from one access to the
 * next: INVEPT follows when the library asks for a flush, INVVPID a change of the window. Bochs
 * flushes everything at each VM entry, so the CPU does not show a flush too few here; only the
 * suite's own account of flushes does.
 */
#include <string.h>

#include <nest/arch/x86.h>
#include <nest/fault.h>

#include "machine.h"

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

/* ---- VMX: MSRs, fields and values (SDM vol. 3D, appendices A and B) ---- */

#define MSR_FEATURE_CONTROL  0x3au /* 0 locked, 2 VMX outside SMX */
#define MSR_VMX_BASIC        0x480u
#define MSR_VMX_CR0_FIXED0   0x486u
#define MSR_VMX_CR4_FIXED0   0x488u
#define MSR_VMX_SECONDARY    0x48bu
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
#define SECONDARY_EPT     ((uint32_t)1 << 1)
#define SECONDARY_VPID    ((uint32_t)1 << 5)
#define SECONDARY_PML     ((uint32_t)1 << 17)
#define SECONDARY_VE      ((uint32_t)1 << 18)
#define EXIT_HOST_64      ((uint32_t)1 << 9)
#define ENTRY_GUEST_64    ((uint32_t)1 << 9)

enum field {
	VPID = 0x0000,
	GUEST_SELECTORS = 0x0800, /* ES CS SS DS FS GS LDTR TR, 2 apart */
	PML_INDEX = 0x0812,
	HOST_SELECTORS = 0x0c00, /* ES CS SS DS FS GS TR */
	PML_ADDRESS = 0x200e,
	EPTP = 0x201a,
	VE_INFORMATION = 0x202a,
	EXIT_GPA = 0x2400,
	VMCS_LINK = 0x2800,
	GUEST_DEBUGCTL = 0x2802,
	PIN_CONTROLS = 0x4000,
	PRIMARY_CONTROLS = 0x4002,
	EXCEPTIONS = 0x4004,
	PAGE_FAULT_MASK = 0x4006,
	PAGE_FAULT_MATCH = 0x4008,
	CR3_TARGETS = 0x400a,
	EXIT_CONTROLS = 0x400c,
	EXIT_MSR_STORES = 0x400e,
	EXIT_MSR_LOADS = 0x4010,
	ENTRY_CONTROLS = 0x4012,
	ENTRY_MSR_LOADS = 0x4014,
	ENTRY_INTERRUPTION = 0x4016,
	SECONDARY_CONTROLS = 0x401e,
	INSTRUCTION_ERROR = 0x4400,
	EXIT_REASON = 0x4402,
	EXIT_INTERRUPTION = 0x4404,
	GUEST_LIMITS = 0x4800, /* as the selectors; then GDTR, IDTR */
	GUEST_RIGHTS = 0x4814, /* as the selectors */
	GUEST_INTERRUPTIBILITY = 0x4824,
	GUEST_ACTIVITY = 0x4826,
	GUEST_SYSENTER_CS = 0x482a,
	HOST_SYSENTER_CS = 0x4c00,
	CR0_MASK = 0x6000,
	CR4_MASK = 0x6002,
	QUALIFICATION = 0x6400,
	EXIT_GLA = 0x640a,
	GUEST_CR0 = 0x6800,
	GUEST_CR3 = 0x6802,
	GUEST_CR4 = 0x6804,
	GUEST_BASES = 0x6806, /* as the limits */
	GUEST_DR7 = 0x681a,
	GUEST_RSP = 0x681c,
	GUEST_RIP = 0x681e,
	GUEST_RFLAGS = 0x6820,
	GUEST_PENDING_DEBUG = 0x6822,
	GUEST_SYSENTER_ESP = 0x6824,
	GUEST_SYSENTER_EIP = 0x6826,
	HOST_CR0 = 0x6c00,
	HOST_CR3 = 0x6c02,
	HOST_CR4 = 0x6c04,
	HOST_FS_BASE = 0x6c06,
	HOST_GS_BASE = 0x6c08,
	HOST_TR_BASE = 0x6c0a,
	HOST_GDTR_BASE = 0x6c0c,
	HOST_IDTR_BASE = 0x6c0e,
	HOST_SYSENTER_ESP = 0x6c10,
	HOST_SYSENTER_EIP = 0x6c12,
	HOST_RSP = 0x6c14,
	HOST_RIP = 0x6c16
};

enum { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGMENTS, TABLE_REGISTERS = SEGMENTS + 2 };

/* Access rights of segments, 25.4.1. */
#define CODE_SEGMENT 0xa09bu  /* present, 64-bit code */
#define DATA_SEGMENT 0xc093u  /* present, read and written */
#define TASK_SEGMENT 0x008bu  /* present, busy */
#define NO_SEGMENT   0x10000u /* unusable */

/* Basic exit reasons, appendix C. */
enum {
	EXIT_EXCEPTION = 0,
	EXIT_EPT_VIOLATION = 48,
	EXIT_EPT_MISCONFIGURATION = 49,
	EXIT_PML_FULL = 62
};
enum { VECTOR_VE = 20, GUEST_VPID = 1, PML_EMPTY = NEST_PML_ENTRIES - 1 };

#define EPTP_AD   ((uint64_t)1 << 6)
#define CR0_GUEST ((uint64_t)0x80010031) /* PG, WP, NE, ET, PE */
#define CR4_PAE   ((uint64_t)1 << 5)
#define CR4_VMXE  ((uint64_t)1 << 13)

static _Alignas(4096) uint8_t vmxon_region[4096], vmcs[4096];
static _Alignas(4096) uint64_t pml[NEST_PML_ENTRIES];
/* What a virtualization exception tells, 26.5.7.2; while `busy` is not 0 there is none. */
static _Alignas(4096) struct {
	uint32_t reason, busy;
	uint64_t qualification, gla, gpa;
	uint8_t unused[4096 - 32];
} ve_information;

static uint64_t ept_vpid_cap, eptp;
static enum nest_invept invept_type;
static bool launched;

static uint64_t vmread(enum field field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0" : "=r"(value) : "r"((uint64_t)field) : "cc");
	return value;
}

static void vmwrite(unsigned field, uint64_t value)
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

static bool secondary_has(uint32_t control)
{
	return read_msr(MSR_VMX_SECONDARY) >> 32 & control;
}

/* Controls: those wanted, and those that must be 1 (appendix A.2). */
static void write_controls(enum field field, uint32_t msr, uint32_t wanted)
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
	print("VMX: EPT and VPID capabilities %lx, EPT features %lx, PML: %s, #VE: %s\n",
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

enum { ENTRIES = 512 };

/* The home area: the guest's code, tables and data. */
static struct {
	_Alignas(4096) uint8_t code[4096];
	uint64_t level3[ENTRIES], level2[ENTRIES], level1[ENTRIES], level0[ENTRIES];
	uint64_t data[ENTRIES];
} home;

/* The guest's address space: pages by level0, and what level1's second entry covers. */
#define GVA_CODE   ((uint64_t)0x1000)
#define GVA_WINDOW ((uint64_t)0x2000)
#define GVA_WALK   ((uint64_t)0x200000)

static uint64_t guest_entry(nest_ia_t gpa)
{
	return (gpa & ~(uint64_t)0xfff) | PTE_P | PTE_RW | PTE_A | PTE_D;
}

/* Where the suite has mapped a part of the home area. */
static nest_ia_t home_ia;

static nest_ia_t gpa_of(const void *part)
{
	return home_ia + ((uint64_t)part - (uint64_t)&home);
}

static void make_guest(void)
{
	memset(&home, 0, sizeof(home));
	memcpy(home.code, stubs, (size_t)(stubs_end - stubs));
	home.level3[0] = guest_entry(gpa_of(home.level2));
	home.level2[0] = guest_entry(gpa_of(home.level1));
	home.level1[0] = guest_entry(gpa_of(home.level0));
	home.level0[GVA_CODE >> 12] = guest_entry(gpa_of(home.code));
}

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
	vmwrite(GUEST_CR3, gpa_of(home.level3));
	vmwrite(GUEST_CR4, CR4_PAE | read_msr(MSR_VMX_CR4_FIXED0));
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

static bool exception_is(uint8_t vector)
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
	uint64_t stub = GVA_CODE + (uint64_t)access * STUB_SIZE;
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
		uint32_t features = probed & variants[i].features;
		bool ad = features & NEST_FEAT_HW_AD;

		configs[i] = (struct walker_config){
			.name = variants[i].name,
			.format = &nest_fmt_ept,
			.ia_bits = 48,
			.oa_bits = nest_x86_phys_bits(),
			.features = features,
			/* A guest's own entries hold no more. */
			.reach_bits = nest_x86_phys_bits(),
			.attrs = attrs,
			.nr_attrs = ATTRS - (features & NEST_FEAT_XO ? 0 : XO_ATTRS),
			.modes = 1u << WALKER_PRIVILEGED,
			.accesses = CAN_RWX,
			.home_pa = (uint64_t)&home,
			.home_size = sizeof(home),
			.home_attr = NEST_RWX,
			.hw_ad = ad ? NEST_ACCESSED | NEST_DIRTY : 0,
			.walk_writes = ad,
		};
	}
	*count = VARIANTS;
	return configs;
}

int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t at)
{
	int err = nest_ept_eptp(pt, &eptp);

	if (err)
		return err;
	home_ia = at;
	make_guest();
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
	home.level0[GVA_WINDOW >> 12] = guest_entry(ia);
	run_guest(GVA_WINDOW + (ia & 0xfff), access, value, out);
}

/*
 * With accessed and dirty flags the walk is a write as well as a read, and a violation by it sets
 * both bits of the qualification.
 */
bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out)
{
	nest_attr_t walk = eptp & EPTP_AD ? NEST_RW : NEST_R;

	if (frame != NEST_PA_NONE)
		*(uint64_t *)walker_va(frame) = guest_entry(gpa_of(home.data));
	home.level1[1] = guest_entry(table);
	run_guest(GVA_WALK, access, 0, out);
	if (!out->done && walk == NEST_RW && out->fault.access == NEST_W)
		walker_tolerated(BOCHS_EPT_WALK_ONLY_WRITES);
	else
		CHECK(out->done || out->fault.access == walk,
		      "a guest's walk is told as access %lx", (uint64_t)out->fault.access);
	return true;
}

/* The CPU has no instruction for it. */
bool port_translate(nest_ia_t ia, enum walker_access access, nest_pa_t *pa, nest_attr_t *type)
{
	(void)ia, (void)access, (void)pa, (void)type;
	return false;
}

enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome)
{
	(void)config, (void)probe, (void)outcome;
	return WALKER_NO_DEVIATION;
}

/* ---- What only EPT has ---- */

/* Raw entries, 29.3.2. */
#define EPT_R           ((uint64_t)1 << 0)
#define EPT_W           ((uint64_t)1 << 1)
#define EPT_X           ((uint64_t)1 << 2)
#define EPT_TYPE        ((uint64_t)7 << 3)
#define EPT_ACCESSED    ((uint64_t)1 << 8)
#define EPT_DIRTY       ((uint64_t)1 << 9)
#define EPT_ADDRESS     ((uint64_t)0x000ffffffffff000)
#define EPT_SUPPRESS_VE ((uint64_t)1 << 63)

#define EXTRA_IA ((nest_ia_t)1 << 39) /* no table has both it and the home area at 0 */

/* The entry of `level` on the way to ia, by no code of the library. */
static uint64_t *raw_entry(const struct nest_pt *pt, nest_ia_t ia, unsigned level)
{
	uint64_t *table = walker_va(nest_pt_root(pt));

	for (unsigned l = 3; l > level; l--)
		table = walker_va(table[ia >> (12 + 9 * l) & (ENTRIES - 1)] & EPT_ADDRESS);
	return &table[ia >> (12 + 9 * level) & (ENTRIES - 1)];
}

/* A table with the home area alone, loaded. */
static bool open_table(const struct walker_config *config, struct nest_pt *pt)
{
	const struct nest_pt_config c = { .format = config->format,
					  .ia_bits = config->ia_bits,
					  .oa_bits = config->oa_bits,
					  .features = config->features,
					  .host = &walker_host };
	int err = nest_pt_init(pt, &c);

	if (!err)
		err = nest_pt_map(pt, 0, config->home_pa, config->home_size, config->home_attr,
				  NEST_MAP_NO_HUGE, NULL);
	if (!err)
		err = port_load(config, pt, 0);
	CHECK(err == NEST_OK, "a table: %s", nest_strerror(err));
	return err == NEST_OK;
}

static void close_table(struct nest_pt *pt)
{
	port_unload();
	nest_pt_destroy(pt);
}

static void expect_misconfiguration(uint64_t *entry, uint64_t word, unsigned level)
{
	const uint64_t good = *entry;

	*entry = word;
	port_flush(NULL);
	for (unsigned access = 0; access < WALKER_ACCESSES; access++) {
		struct walker_outcome out = { 0 };

		port_access(EXTRA_IA + 0x18, (enum walker_access)access, WALKER_PRIVILEGED, 0,
			    &out);
		CHECK(!out.done && out.fault.kind == NEST_FAULT_MISCONFIG &&
			      out.fault.gpa == EXTRA_IA + 0x18 && out.fault.gpa_exact,
		      "entry %lx of level %u: done %u, fault %u at %lx", word, level,
		      (unsigned)out.done, (unsigned)out.fault.kind, out.fault.gpa);
	}
	*entry = good;
	port_flush(NULL);
}

/* Entries that the library never makes, 29.3.3.1, in the place of one that it has made. */
static void check_misconfigurations(const struct walker_config *config, struct nest_pt *pt)
{
	const struct {
		uint64_t clear, set;
	} leaves[] = {
		{ EPT_R, 0 },
		{ EPT_R | EPT_X, 0 },
		{ EPT_TYPE, 2 << 3 },
		{ EPT_TYPE, 3 << 3 },
		{ EPT_TYPE, 7 << 3 },
		{ 0, (uint64_t)1 << nest_x86_phys_bits() },
		{ 0, EPT_ADDRESS & ~(EPT_ADDRESS >> 1) },
	};
	const unsigned large = config->features & NEST_FEAT_1G ? 2 : 1;

	for (unsigned level = 0; level <= large; level++) {
		uint64_t size = (uint64_t)1 << nest_pt_shift(pt, level);
		int err = nest_pt_map(pt, EXTRA_IA, 0, size, NEST_RWX, NEST_MAP_MAX_LEVEL(level),
				      NULL);
		uint64_t *leaf = raw_entry(pt, EXTRA_IA, level);
		uint64_t *pointer = raw_entry(pt, EXTRA_IA, level + 1);

		CHECK(err == NEST_OK, "mapping a page of level %u: %s", level, nest_strerror(err));
		for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
			expect_misconfiguration(leaf, (*leaf & ~leaves[i].clear) | leaves[i].set,
						level);
		for (unsigned bit = 3; bit <= 6; bit++)
			expect_misconfiguration(pointer, *pointer | (uint64_t)1 << bit, level + 1);
		err = nest_pt_unmap(pt, EXTRA_IA, size, 0, NULL);
		CHECK(err == NEST_OK, "unmapping again: %s", nest_strerror(err));
	}
}

static void extra_access(enum walker_access access)
{
	struct walker_outcome out = { 0 };

	port_access(EXTRA_IA, access, WALKER_PRIVILEGED, 0, &out);
	CHECK(out.done, "an access to a page with all rights faults");
}

/* Accesses set the flags where EPTP says so, and change nothing else; elsewhere nothing at all. */
static void check_flags(const struct walker_config *config, struct nest_pt *pt)
{
	bool ad = config->hw_ad != 0;
	nest_pa_t frame = walker_alloc(4096);
	int err = nest_pt_map(pt, EXTRA_IA, frame, 4096, NEST_RWX, 0, NULL);
	volatile uint64_t *leaf = raw_entry(pt, EXTRA_IA, 0);
	volatile uint64_t *pointer = raw_entry(pt, EXTRA_IA, 1);
	const uint64_t fresh_leaf = *leaf, fresh_pointer = *pointer;
	const uint64_t accessed = ad ? EPT_ACCESSED : 0, dirty = ad ? EPT_DIRTY : 0;

	CHECK(err == NEST_OK && !((fresh_leaf | fresh_pointer) & (EPT_ACCESSED | EPT_DIRTY)),
	      "a fresh page: %s, entries %lx, %lx", nest_strerror(err), fresh_pointer, fresh_leaf);
	extra_access(WALKER_READ);
	CHECK(*leaf == (fresh_leaf | accessed) && *pointer == (fresh_pointer | accessed),
	      "entries %lx, %lx are %lx, %lx after a read", fresh_pointer, fresh_leaf, *pointer,
	      *leaf);
	extra_access(WALKER_WRITE);
	CHECK(*leaf == (fresh_leaf | accessed | dirty) && *pointer == (fresh_pointer | accessed),
	      "entries %lx, %lx are %lx, %lx after a write", fresh_pointer, fresh_leaf, *pointer,
	      *leaf);
	err = nest_pt_unmap(pt, EXTRA_IA, 4096, 0, NULL);
	CHECK(err == NEST_OK, "unmapping again: %s", nest_strerror(err));
	walker_free(frame, 4096);
}

/*
 * A violation is the guest's, as an exception, where bit 63 is clear (26.5.7.1). `suppressed`: it
 * is as the library leaves it.
 */
static void expect_violation(bool suppressed, uint64_t *entry)
{
	struct walker_outcome out = { 0 };

	if (!suppressed)
		*entry &= ~EPT_SUPPRESS_VE;
	port_flush(NULL);
	memset(&ve_information, 0, sizeof(ve_information));
	port_access(EXTRA_IA + 8, WALKER_WRITE, WALKER_PRIVILEGED, 0, &out);
	CHECK(!out.done && exception_is(VECTOR_VE) == !suppressed,
	      "entry %lx: done %u, exit %lx, interruption %lx", *entry, (unsigned)out.done,
	      vmread(EXIT_REASON), vmread(EXIT_INTERRUPTION));
	CHECK(suppressed || (ve_information.gpa == EXTRA_IA + 8 && ve_information.busy),
	      "a virtualization exception tells of %lx", ve_information.gpa);
	*entry |= EPT_SUPPRESS_VE;
}

static void check_virtualization_exceptions(struct nest_pt *pt)
{
	int err = nest_pt_map(pt, EXTRA_IA, 0, 4096, NEST_R, 0, NULL);
	uint64_t *leaf = raw_entry(pt, EXTRA_IA, 0);

	CHECK(err == NEST_OK, "mapping a page to read: %s", nest_strerror(err));
	expect_violation(true, leaf);
	expect_violation(false, leaf);
	/* A mark and a hole, beside a page that keeps the table. */
	err = nest_pt_map(pt, EXTRA_IA + 4096, 0, 4096, NEST_R, 0, NULL);
	if (!err)
		err = nest_pt_unmap(pt, EXTRA_IA, 4096, 0, NULL);
	CHECK(err == NEST_OK, "a hole in its place: %s", nest_strerror(err));
	expect_violation(true, leaf);
	expect_violation(false, leaf);
	err = nest_pt_mark(pt, EXTRA_IA, 4096, 0x5a5a, NULL);
	CHECK(err == NEST_OK, "a mark in its place: %s", nest_strerror(err));
	expect_violation(true, leaf);
	expect_violation(false, leaf);
}

/* ---- The log of modified pages, 29.3.6 ---- */

enum { LOG_PAGES = 1024, LOG_BYTES = LOG_PAGES * 4096 };

/* What was written, by the test's own account and by what the log told. */
static struct {
	bool written[LOG_PAGES];
	uint64_t bitmap[LOG_PAGES / 64];
	uint64_t entries, outside, full;
} log_state;

static void begin_log(void)
{
	memset(&log_state, 0, sizeof(log_state));
	vmwrite(PML_INDEX, PML_EMPTY);
}

static void drain_log(void)
{
	uint16_t index = (uint16_t)vmread(PML_INDEX);
	int n = nest_ept_pml_drain(pml, index, EXTRA_IA, LOG_BYTES, log_state.bitmap,
				   &log_state.outside);

	CHECK(n >= 0, "draining from index %lx: %s", (uint64_t)index, nest_strerror(n));
	log_state.entries += n > 0 ? (unsigned)n : 0;
	for (unsigned i = (uint16_t)(index + 1); i < NEST_PML_ENTRIES; i++) {
		if (pml[i] & 0xfff)
			walker_tolerated(BOCHS_PML_UNALIGNED);
	}
	vmwrite(PML_INDEX, PML_EMPTY);
}

/*
 * A full log ends the guest before an access that would set a flag is made, which is then tried
 * again. The pages are accessed already, and those that were written dirty.
 */
static void access_logged(unsigned page, enum walker_access access)
{
	nest_ia_t ia = EXTRA_IA + 4096 * (nest_ia_t)page + (walker_random() & 0xff8);
	bool sets_flag = access != WALKER_READ && !log_state.written[page];
	struct walker_outcome out = { 0 };

	log_state.written[page] |= access != WALKER_READ;
	port_access(ia, access, WALKER_PRIVILEGED, 1, &out);
	if (!out.done && vmread(EXIT_REASON) == EXIT_PML_FULL) {
		CHECK(vmread(PML_INDEX) == 0xffff, "the log is full at index %lx",
		      vmread(PML_INDEX));
		if (!sets_flag)
			walker_tolerated(BOCHS_PML_FULL_AT_ONCE);
		log_state.full++;
		drain_log();
		port_access(ia, access, WALKER_PRIVILEGED, 1, &out);
	}
	CHECK(out.done, "access %u to %lx fails", (unsigned)access, ia);
}

/* `outside` pages of the guest's own tables were logged, and what was written, each page once. */
static void compare_log(const char *when, uint64_t outside)
{
	uint64_t distinct = 0;

	drain_log();
	for (unsigned page = 0; page < LOG_PAGES; page++) {
		bool told = log_state.bitmap[page / 64] >> page % 64 & 1;

		distinct += log_state.written[page];
		CHECK(told == log_state.written[page], "%s: page %u is%s told", when, page,
		      told ? "" : " not");
	}
	CHECK(log_state.outside == outside, "%s: %lu entries outside of the range, not %lu", when,
	      log_state.outside, outside);
	CHECK(log_state.entries == distinct + outside, "%s: %lu entries, not %lu", when,
	      log_state.entries, distinct + outside);
}

static void write_some(unsigned count)
{
	while (count--) {
		access_logged((unsigned)(walker_random() % LOG_PAGES),
			      walker_random() & 1 ? WALKER_WRITE : WALKER_RMW);
		access_logged((unsigned)(walker_random() % LOG_PAGES), WALKER_READ);
	}
}

/* Clear what is dirty, by either way that the library has, and have it flushed. */
static int clear_dirty(struct nest_pt *pt, bool harvest)
{
	static uint64_t bitmap[LOG_PAGES / 64];
	int err;

	if (!harvest)
		return nest_pt_protect(pt, EXTRA_IA, LOG_BYTES, 0, NEST_DIRTY, 0, NULL);
	memset(bitmap, 0, sizeof(bitmap));
	err = nest_pt_harvest_dirty(pt, EXTRA_IA, LOG_BYTES, bitmap, 0, NULL);
	CHECK(memcmp(bitmap, log_state.bitmap, sizeof(bitmap)) == 0,
	      "the log and the table tell of different pages");
	return err;
}

static void check_log(struct nest_pt *pt, nest_pa_t frames)
{
	const uint64_t guest_tables = 4; /* its walk writes, so its tables are logged: once */
	int err = nest_pt_map(pt, EXTRA_IA, frames, LOG_BYTES, NEST_RWX, NEST_MAP_NO_HUGE, NULL);

	CHECK(err == NEST_OK, "mapping pages to log: %s", nest_strerror(err));
	vmwrite(PML_ADDRESS, (uint64_t)pml);
	write_controls(SECONDARY_CONTROLS, MSR_VMX_SECONDARY,
		       (uint32_t)vmread(SECONDARY_CONTROLS) | SECONDARY_PML);
	begin_log();
	for (unsigned page = 0; page < LOG_PAGES; page++)
		access_logged(page, WALKER_READ);
	compare_log("reads", guest_tables);
	begin_log();
	write_some(2 * LOG_PAGES);
	compare_log("writes", 0);
	CHECK(log_state.full == 1, "the log was full %lu times", log_state.full);
	for (unsigned round = 0; round < 4; round++) {
		err = clear_dirty(pt, round % 2 == 0);
		CHECK(err == NEST_OK, "clearing dirty: %s", nest_strerror(err));
		begin_log();
		write_some(LOG_PAGES / 4);
		compare_log("writes to clean pages", 0);
	}
	/* All are made dirty; what is dirty is not logged. */
	for (unsigned page = 0; page < LOG_PAGES; page++)
		access_logged(page, WALKER_WRITE);
	begin_log();
	write_some(LOG_PAGES / 4);
	drain_log();
	CHECK(log_state.entries == 0, "%lu entries of pages that are dirty", log_state.entries);
}

void port_extra(const struct walker_config *config)
{
	struct nest_pt pt;
	nest_pa_t frames;

	if (open_table(config, &pt)) {
		check_misconfigurations(config, &pt);
		check_flags(config, &pt);
		if (config->features & NEST_FEAT_VE)
			check_virtualization_exceptions(&pt);
	}
	close_table(&pt);
	if (!config->hw_ad || !secondary_has(SECONDARY_PML))
		return;
	frames = walker_alloc(LOG_BYTES);
	if (open_table(config, &pt))
		check_log(&pt, frames);
	close_table(&pt);
	walker_free(frames, LOG_BYTES);
}
