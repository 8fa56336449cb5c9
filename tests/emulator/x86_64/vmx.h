/* SPDX-License-Identifier: MIT */
/*
 * VMX as vmx.c and ept_extra.c use it: fields and values (SDM vol. 3D, appendices A, B and C) of
 * the one VMCS that there is.
 */
#ifndef VMX_H
#define VMX_H

#include "machine.h"

#define MSR_VMX_SECONDARY 0x48bu

#define SECONDARY_EPT  ((uint32_t)1 << 1)
#define SECONDARY_VPID ((uint32_t)1 << 5)
#define SECONDARY_PML  ((uint32_t)1 << 17)
#define SECONDARY_VE   ((uint32_t)1 << 18)

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

/* Basic exit reasons, appendix C. */
enum {
	EXIT_EXCEPTION = 0,
	EXIT_EPT_VIOLATION = 48,
	EXIT_EPT_MISCONFIGURATION = 49,
	EXIT_PML_FULL = 62
};
enum { VECTOR_VE = 20 };

/* What a virtualization exception tells, 26.5.7.2; while `busy` is not 0 there is none. */
struct ve_information {
	uint32_t reason, busy;
	uint64_t qualification, gla, gpa;
	uint8_t unused[4096 - 32];
};
extern struct ve_information ve_information;

static inline uint64_t vmread(enum field field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0" : "=r"(value) : "r"((uint64_t)field) : "cc");
	return value;
}

void vmwrite(unsigned field, uint64_t value);

static inline bool secondary_has(uint32_t control)
{
	return read_msr(MSR_VMX_SECONDARY) >> 32 & control;
}

/* Controls: those wanted, and those that must be 1 (appendix A.2). */
void write_controls(enum field field, uint32_t msr, uint32_t wanted);

/* Was the last exit that exception's? */
bool exception_is(uint8_t vector);

#endif
