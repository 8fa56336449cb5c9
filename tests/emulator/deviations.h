/* SPDX-License-Identifier: MIT */
/*
 * Every deviation of an emulator from its architecture that the walker suites tolerate: its name,
 * what the emulator does, and the manual's rule. Each one met is counted and printed; nothing else
 * is tolerated.
 */
#ifndef DEVIATIONS_H
#define DEVIATIONS_H

/* clang-format off */
#define WALKER_DEVIATIONS(D)                                                                       \
	D(BOCHS_EPT_WALK_ONLY_WRITES,                                                              \
	  "Bochs 2.7: a violation by a guest's table walk, with A/D, is told as a write alone",    \
	  "SDM vol. 3C, table 28-7: with A/D it sets bits 0 and 1 of the qualification")           \
	D(BOCHS_PML_UNALIGNED,                                                                     \
	  "Bochs 2.7: logs the address that was written, not its page's",                          \
	  "SDM vol. 3C, 29.3.6: the entry is the GPA of the access with bits 11:0 zero")           \
	D(BOCHS_PML_FULL_AT_ONCE,                                                                  \
	  "Bochs 2.7: a full log stops the next access, also one that sets no flag",               \
	  "SDM vol. 3C, 29.3.6: the index is examined when a flag has to be set")                  \
	D(QEMU_AARCH64_16K_LEVEL_0,                                                                \
	  "QEMU 7.2: no stage-2 walk of 16 KiB pages begins at level 0: 51 bits can be reached",   \
	  "Arm ARM D8.2, VTCR_EL2.SL0: 3 begins at level 0, with FEAT_LPA2 and DS")                \
	D(QEMU_RISCV_SUM_EXECUTES,                                                                 \
	  "QEMU 7.2: with sstatus.SUM, S-mode executes a user's page that it has accessed before", \
	  "Privileged spec 10.1.1.2: S-mode never executes from user pages, whatever SUM is")      \
	D(QEMU_RISCV_TOP_GPA_BIT,                                                                  \
	  "QEMU 7.2: the top GPA bit is taken for a sign, so half of the addresses can be reached", \
	  "Privileged spec 18.5.1: GPAs have 41, 50 or 59 bits, and bits above them are zero")     \
	D(QEMU_LOONGARCH_INHIBIT,                                                                  \
	  "QEMU 7.2: LDPTE and LDDIR drop bits 63:48, so NR and NX never reach the TLB",           \
	  "Vol. 1, 4.2.5.2: LDPTE writes the page table entry to TLBRELO0 or TLBRELO1")            \
	D(QEMU_LOONGARCH_16K_CACHE,                                                                \
	  "QEMU 7.2: a cached translation covers 16 KiB, so that bits 13:12 are not translated",   \
	  "Vol. 1, 5.4.3: the page size of the TLB's entry says which bits are translated")        \
	D(QEMU_LOONGARCH_READ_CACHE,                                                               \
	  "QEMU 7.2: once a store or fetch was translated, loads are allowed, NR or not",          \
	  "Vol. 1, 5.4.3: a load from a page with NR raises PNR")                                  \
	D(QEMU_LOONGARCH_FETCH_LOOP,                                                               \
	  "QEMU 7.2: a fetch that NX or PLV forbids raises its exception again for ever",          \
	  "Vol. 1, 5.4.4: PNX and PPI are taken like any other exception")                         \
	D(QEMU_LOONGARCH_LDDIR_LEVEL,                                                              \
	  "QEMU 7.2: LDDIR notes no level in a huge entry, so 1 GiB is taken for 2 MiB",           \
	  "Vol. 1, 4.2.5.1: with H set and bits 14:13 zero, the level goes to bits 14:13")         \
	D(QEMU_LOONGARCH_LDPTE_GLOBAL,                                                             \
	  "QEMU 7.2: LDPTE leaves G of a huge entry in bit 12, too: a wrong address",              \
	  "Vol. 1, 5.4.5: bit 12 of a huge entry is G, and its address begins above")              \
	D(QEMU_LOONGARCH_SIGN,                                                                     \
	  "QEMU 7.2: an address with bit 47 set and 63:48 clear is translated",                    \
	  "Vol. 1, 5.2.1: bits above VALEN - 1 must be copies of it, else ADE is raised")
/* clang-format on */

#define WALKER_DEVIATION_NAME(name, what, rule) name,
enum walker_deviation {
	WALKER_NO_DEVIATION,
	WALKER_DEVIATIONS(WALKER_DEVIATION_NAME) WALKER_DEVIATION_COUNT
};
#undef WALKER_DEVIATION_NAME

#endif
