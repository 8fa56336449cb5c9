/* SPDX-License-Identifier: MIT */
/*
 * The CPU at EL2: entering the guest, and the registers that decide what it may do.
 *
 * The guest has the physical interrupts and the virtual timer to itself; only stage-2 faults and
 * calls (HVC, SMC) come back.
 */
#ifndef CPU_H
#define CPU_H

#include <nest/pt.h>

/* Offsets are known to start.S. */
struct guest_context {
	uint64_t x[31];
	uint64_t elr, spsr; /* where the guest goes on, and in what state */
	uint64_t esr, far;  /* why it came back */
};

/* Exception classes of ESR_EL2[31:26]. */
enum { EC_HVC = 0x16, EC_SMC = 0x17, EC_INSTRUCTION_ABORT = 0x20, EC_DATA_ABORT = 0x24 };

enum { SPSR_EL1H_MASKED = 0x3c5 }; /* EL1 with its own stack pointer; D, A, I and F masked */

void enter_guest(struct guest_context *ctx);

/* MPIDR_EL1's affinity fields: the "reg" of the boot CPU's node. */
uint64_t cpu_affinity(void);
/*
 * Turn EL2's MMU and caches on. Nothing that is in use may be in the caches. Errors of
 * nest_aarch64_tcr_el2() and nest_aarch64_ttbr().
 */
int cpu_start_mmu(const struct nest_pt *pt);

/*
 * Load the second stage `pt`, made with `features`, and what else the guest needs, for the next
 * enter_guest(). Errors of nest_aarch64_vtcr() and nest_aarch64_vttbr().
 */
int cpu_start_guest(const struct nest_pt *pt, uint32_t features);
/* Turn the second stage off. Its VMID stays loaded, so that it can still be flushed. */
void cpu_stop_guest(void);

#endif
