/* SPDX-License-Identifier: MIT */
/*
 * What the x86-64 images share: the machine's devices, exceptions, registers, and the code stubs
 * that make the accesses. machine.c also has those of the port_* functions that are the same in
 * every image: memory, code, the end.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "walker.h"

/* Segment selectors; start.S has their descriptors. */
enum {
	SEL_CODE = 0x08,
	SEL_DATA = 0x10,
	SEL_USER_DATA = 0x1b,
	SEL_USER_CODE = 0x23,
	SEL_TSS = 0x28
};

/* What walker_attr.allow[] may hold. */

/* Exceptions */
enum { VECTOR_UD = 6, VECTOR_PF = 14 };

#define MSR_EFER 0xc0000080u
#define MSR_PAT  0x277u

#define CR4_LA57 ((uint64_t)1 << 12)

/* First-stage entries made by hand, for guests. */
#define PTE_P  ((uint64_t)1 << 0)
#define PTE_RW ((uint64_t)1 << 1)
#define PTE_A  ((uint64_t)1 << 5)
#define PTE_D  ((uint64_t)1 << 6)

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static inline uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

static inline void write_cr4(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

/* Console and exceptions. Then print the CPU, as the probing functions of nest/arch/x86.h see it.
 */
void machine_start(void);

/* For the reference MMUs: what walks go by, but for the root. */
struct mmu_regs cpu_registers(void);

/* A run of code until its first exception; start.S knows the layout. */
struct stub_run {
	uint64_t rip, cs, ss; /* at first; then rip is that of the exception */
	uint64_t rdi, rsi, rax;
	uint64_t vector, error, cr2;
};
void run_stub(struct stub_run *run);

/* The stubs: [stubs, stubs_end), less than a page, may be copied anywhere. */
extern const char stubs[], stubs_end[];
enum { STUB_SIZE = 16 };

/* How a run of a stub, or of a guest that runs one, ended. */
struct stub_end {
	uint64_t rip, rax;
	bool ud2; /* by the exception of a UD2 */
};

/*
 * Did the access succeed? `stub`: where the access's stub was; `target`: the address that was given
 * to it.
 */
bool stub_succeeded(enum walker_access access, uint64_t stub, uint64_t target,
		    const struct stub_end *end);

#endif
