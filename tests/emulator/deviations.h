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
	D(BOCHS_EPT_LARGE_BIT_12,                                                                  \
	  "Bochs 2.7: bit 12 of an entry for a large page is not looked at",                       \
	  "SDM vol. 3C, tables 29-3 and 29-5: bits 29:12 and 20:12 are reserved")                  \
	D(BOCHS_PML_UNALIGNED,                                                                     \
	  "Bochs 2.7: logs the address that was written, not its page's",                          \
	  "SDM vol. 3C, 29.3.6: the entry is the GPA of the access with bits 11:0 zero")           \
	D(BOCHS_PML_FULL_AT_ONCE,                                                                  \
	  "Bochs 2.7: a full log stops the next access, also one that sets no flag",               \
	  "SDM vol. 3C, 29.3.6: the index is examined when a flag has to be set")                  \
	D(QEMU_AARCH64_16K_LEVEL_0,                                                                \
	  "QEMU 7.2: no stage-2 walk of 16 KiB pages begins at level 0: 51 bits can be reached",   \
	  "Arm ARM D8.2, VTCR_EL2.SL0: 3 begins at level 0, with FEAT_LPA2 and DS")                \
	D(QEMU_AARCH64_BLOCK_LEVEL,                                                                \
	  "QEMU 7.2: a block is one at every level but the last, and ends QEMU at level -1",       \
	  "Arm ARM D8.3: at levels without blocks the encoding is reserved: a translation fault")  \
	D(QEMU_AARCH64_CLEAN_EXECUTES,                                                             \
	  "QEMU 7.2: EL1 executes a page that EL0 may write, as long as it is writable-clean",     \
	  "Arm ARM D8.4, D8.5: with DBM and HD, AP[2] counts as clear: so EL1 never executes")     \
	D(QEMU_AARCH64_64K_TOP_BITS,                                                               \
	  "QEMU 7.2: with less than 52 bits in PS, bits 15:12 of 64 KiB descriptors are ignored",  \
	  "Arm ARM D8.3, FEAT_LPA: they are bits 51:48, an address beyond PS is a fault")          \
	D(QEMU_RISCV_SUM_EXECUTES,                                                                 \
	  "QEMU 7.2: with sstatus.SUM, S-mode executes a user's page that it has accessed before", \
	  "Privileged spec 10.1.1.2: S-mode never executes from user pages, whatever SUM is")      \
	D(QEMU_RISCV_TOP_GPA_BIT,                                                                  \
	  "QEMU 7.2: the top GPA bit is taken for a sign, so half of the addresses can be reached", \
	  "Privileged spec 18.5.1: GPAs have 41, 50 or 59 bits, and bits above them are zero")     \
	D(QEMU_RISCV_RESERVED,                                                                     \
	  "QEMU 7.2: with Svnapot or Svpbmt, bits 60:54 of an entry are ignored, and PBMT 3 is 0",  \
	  "Privileged spec 10.4.1 and Svpbmt: these are reserved, and raise a page fault")          \
	D(QEMU_LOONGARCH_INHIBIT,                                                                  \
	  "QEMU 7.2: LDPTE and LDDIR drop bits 63:48, so NR, NX and RPLV never reach the TLB",     \
	  "LoongArch vol. 1, 4.2.5.2, 5.4.5: LDPTE writes the page table entry to TLBRELO0 or 1")  \
	D(QEMU_LOONGARCH_16K_CACHE,                                                                \
	  "QEMU 7.2: a cached translation covers 16 KiB, so that bits 13:12 are not translated",   \
	  "LoongArch vol. 1, 5.4.4: the page size of the TLB's entry says what is translated")     \
	D(QEMU_LOONGARCH_READ_CACHE,                                                               \
	  "QEMU 7.2: once a store or fetch was translated, loads are allowed, NR or not",          \
	  "LoongArch vol. 1, 5.4.4: a load from a page with NR raises PNR")                        \
	D(QEMU_LOONGARCH_FETCH_LOOP,                                                               \
	  "QEMU 7.2: a fetch that NX or PLV forbids raises its exception again for ever",          \
	  "LoongArch vol. 1, 6.3.3: the exception's entry is where fetching goes on")              \
	D(QEMU_LOONGARCH_HUGE_LEVEL,                                                               \
	  "QEMU 7.2: LDPTE takes a huge page of level 2 for one of level 1",                       \
	  "LoongArch vol. 1, 5.4.5: a huge page is split in half, whatever its level")             \
	D(QEMU_LOONGARCH_SIGN,                                                                     \
	  "QEMU 7.2: an address with bit 47 set and 63:48 clear is translated",                    \
	  "LoongArch vol. 1, 5.2: bits above the highest one must be the same, else ADE is raised")
/* clang-format on */

#define WALKER_DEVIATION_NAME(name, what, rule) name,
enum walker_deviation {
	WALKER_NO_DEVIATION,
	WALKER_DEVIATIONS(WALKER_DEVIATION_NAME) WALKER_DEVIATION_COUNT
};
#undef WALKER_DEVIATION_NAME

#endif
