/* SPDX-License-Identifier: MIT */
/*
 * The second CPU, started at EL2 and stopped by PSCI (Arm DEN 0022, 5), which QEMU answers to SMC.
 */
#include <nest/arch/aarch64.h>

#include "port.h"

#define PSCI_CPU_OFF       ((uint64_t)0x84000002)
#define PSCI_CPU_ON        ((uint64_t)0xc4000003)
#define PSCI_AFFINITY_INFO ((uint64_t)0xc4000004)

enum { PSCI_IS_OFF = 1, SECOND = 1 /* its affinity */ };

/* What second_entry loads; its address is the argument of CPU_ON. */
static struct {
	uint64_t stack, vectors;
	void (*fn)(void);
} start;

static _Alignas(16) uint8_t stack[0x4000];

void second_entry(void);
void second_main(void);

static int64_t psci(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;

	__asm__ volatile("smc #0"
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
			 :
			 : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
			   "x15", "x16", "x17", "memory");
	return (int64_t)x0;
}

bool port_has_second(const struct walker_config *config)
{
	/* One that is not there is no valid argument; at EL2 the CPU itself would walk the table.
	 */
	return !(config->features & NEST_FEAT_EL2) &&
	       psci(PSCI_AFFINITY_INFO, SECOND, 0, 0) == PSCI_IS_OFF;
}

bool port_second_start(void (*fn)(void))
{
	start.stack = (uintptr_t)&stack[sizeof(stack)];
	start.vectors = NEST_AARCH64_READ(vbar_el2);
	start.fn = fn;
	NEST_AARCH64_DSB(ish);
	return psci(PSCI_CPU_ON, SECOND, (uintptr_t)second_entry, (uintptr_t)&start) == 0;
}

void second_main(void)
{
	if (load_again())
		start.fn();
	(void)psci(PSCI_CPU_OFF, 0, 0, 0);
}

void port_second_wait(void)
{
	while (psci(PSCI_AFFINITY_INFO, SECOND, 0, 0) != PSCI_IS_OFF)
		;
}
