/* SPDX-License-Identifier: MIT */
/*
 * Control and status registers that nest/arch/loongarch.h does not need, for C and assembly; and
 * what start.S and port.c share. LoongArch manual, vol. 1, chapter 7.
 */
#ifndef CSR_H
#define CSR_H

#define CSR_CRMD      0x0
#define CSR_PRMD      0x1
#define CSR_EUEN      0x2
#define CSR_ECFG      0x4
#define CSR_ESTAT     0x5
#define CSR_ERA       0x6
#define CSR_BADV      0x7
#define CSR_BADI      0x8
#define CSR_EENTRY    0xc
#define CSR_TLBIDX    0x10
#define CSR_TLBEHI    0x11
#define CSR_TLBELO0   0x12
#define CSR_TLBELO1   0x13
#define CSR_ASID      0x18
#define CSR_PGD       0x1b
#define CSR_STLBPS    0x1e
#define CSR_PRCFG2    0x22
#define CSR_TLBRENTRY 0x88
#define CSR_TLBRBADV  0x89
#define CSR_TLBRERA   0x8a
#define CSR_TLBRSAVE  0x8b
#define CSR_TLBRELO0  0x8c
#define CSR_TLBRELO1  0x8d
#define CSR_TLBREHI   0x8e
#define CSR_DMW0      0x180
#define CSR_DMW1      0x181
#define CSR_DMW2      0x182
#define CSR_DMW3      0x183

/* Software's own: the frame of enter(), and what the handlers put aside. */
#define CSR_SAVE_FRAME 0x31
#define CSR_SAVE_T1    0x34
#define CSR_SAVE_T2    0x35
#define CSR_SAVE_T3    0x36

/* PLV 0, translation by windows and pages; MAT of fetches and accesses coherent (7.4.1). */
#define CRMD_PAGING 0xb0

/*
 * Direct-mapped windows (7.5.18), by bits 63:60 of an address, out of the way of every canonical
 * one: memory for the image, the same for code at PLV3, and devices.
 */
#define DMW_KERNEL 0x9000000000000011
#define DMW_USER   0xa000000000000018
#define DMW_DEVICE 0x8000000000000001

#define PTE_HUGE 0x40

#define BREAK_ACCESS   1
#define BREAK_EXECUTED 0x5a5

/* struct trap */
#define TRAP_A0    0
#define TRAP_ESTAT 8
#define TRAP_BADV  16
#define TRAP_BADI  24
#define TRAP_ERA   32

#define FRAME_SIZE 112

#endif
