/* SPDX-License-Identifier: MIT */
/*
 * QEMU's virt machine for LoongArch: registers of the CPU, running code to its first exception, and
 * what extra.c asks of port.c.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "csr.h"
#include "walker.h"

#define CSR_READ(csr)                                                                              \
	__extension__({                                                                            \
		uint64_t value_;                                                                   \
		__asm__ volatile("csrrd %0, %1" : "=r"(value_) : "i"(csr) : "memory");             \
		value_;                                                                            \
	})
#define CSR_WRITE(csr, value)                                                                      \
	do {                                                                                       \
		uint64_t value_ = (value);                                                         \
		__asm__ volatile("csrwr %0, %1" : "+r"(value_) : "i"(csr) : "memory");             \
	} while (0)

/* Bits of a TLB entry, as of a small page (7.5.3). */
#define TLB_V    ((uint64_t)1 << 0)
#define TLB_D    ((uint64_t)1 << 1)
#define TLB_PLV  ((uint64_t)3 << 2)
#define TLB_MAT  ((uint64_t)3 << 4)
#define TLB_PPN  ((uint64_t)0xfffffffff000)
#define TLB_NR   ((uint64_t)1 << 61)
#define TLB_NX   ((uint64_t)1 << 62)
#define TLB_RPLV ((uint64_t)1 << 63)

/* Exception codes (7.4.6, table 21). */
enum {
	ECODE_PIL = 1,
	ECODE_PIS = 2,
	ECODE_PIF = 3,
	ECODE_PME = 4,
	ECODE_PNR = 5,
	ECODE_PNX = 6,
	ECODE_PPI = 7,
	ECODE_ADE = 8,
	ECODE_BRK = 12
};

#define CPUCFG2_LVZ  ((uint32_t)1 << 10)
#define CPUCFG2_HPTW ((uint32_t)1 << 24)

/* The ASID that everything is translated with. */
enum { LOADED_ASID = 5 };

/* What an exception left behind. */
struct trap {
	uint64_t a0, estat, badv, badi, era;
};

static inline unsigned ecode_of(const struct trap *t)
{
	return (unsigned)(t->estat >> 16 & 0x3f);
}

/* start.S */
void enter(struct trap *trap, uint64_t pc, uint64_t plv, uint64_t a0, uint64_t a1);
extern const uint8_t access_read[], access_write[], access_rmw[], invalidate_guest[];
extern const uint8_t refill_dir3_dir1[], refill_dir3_dir2_dir1[], refill_dir4_dir3_dir1[],
	refill_loads[];
extern uint64_t refill_steps[];

/* One page of the TLB's pair that holds ia. */
struct tlb_page {
	uint64_t entry;
	unsigned shift;
};
/* Search the TLB as TLBSRCH does. False: neither a valid nor an invalid entry is there. */
bool tlb_find(nest_ia_t ia, struct tlb_page *out);
/* One access to `ia`, whatever comes of it. */
void try_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		struct trap *trap);
/* Does this configuration refill by plain loads? */
bool refills_by_loads(const struct walker_config *config);

#endif
