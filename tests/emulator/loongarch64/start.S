/* SPDX-License-Identifier: MIT */
/*
 * Start, TLB refill, exceptions, and the code that makes an access. Numbers of registers and fields
 * are those of the LoongArch manual, vol. 1, chapter 7.
 */
#include "csr.h"

	.section .head, "ax"
	.global _start
_start:
	li.d	$t0, DMW_KERNEL
	csrwr	$t0, CSR_DMW0
	li.d	$t0, DMW_USER
	csrwr	$t0, CSR_DMW1
	li.d	$t0, DMW_DEVICE
	csrwr	$t0, CSR_DMW2
	csrwr	$zero, CSR_DMW3
	csrwr	$zero, CSR_ECFG			# no interrupts, one entry for all exceptions
	csrwr	$zero, CSR_EUEN
	la.pcrel $t0, exception
	csrwr	$t0, CSR_EENTRY
	csrwr	$zero, CSR_SAVE_FRAME
	li.w	$t0, CRMD_PAGING
	csrwr	$t0, CSR_CRMD
	la.pcrel $sp, __stack_top
	la.pcrel $t0, __bss_start
	la.pcrel $t1, __bss_end
1:	bgeu	$t0, $t1, 2f
	st.d	$zero, $t0, 0
	addi.d	$t0, $t0, 8
	b	1b
2:	bl	walker_main

/*
 * TLB refill (6.3.4): entered in direct address mode. LDDIR goes down the directories; LDPTE takes
 * an even and an odd entry, or makes two halves of a huge one (5.4.5).
 *
 * An LDDIR that is given a huge entry should note its level in bits 14:13 for LDPTE, but does not
 * (QEMU_LOONGARCH_HUGE_LEVEL in deviations.h): so the pair of one of level 2 is made here, with bits
 * 63:48 dropped as LDDIR drops them. On hardware that would be needless.
 */
	.macro	REFILL name, first, second
	.balign	4096
	.global	\name
\name:
	csrwr	$t0, CSR_TLBRSAVE
	csrwr	$t1, CSR_SAVE_T1
	csrrd	$t0, CSR_PGD
	lddir	$t0, $t0, \first
	.if	\second
	lddir	$t0, $t0, \second
	.endif
	andi	$t1, $t0, PTE_HUGE
	bnez	$t1, refill_gigapage
	lddir	$t0, $t0, 1
	ldpte	$t0, 0
	ldpte	$t0, 1
	b	refill_done
	.endm

	.text
	REFILL	refill_dir3_dir1, 3, 0
	REFILL	refill_dir3_dir2_dir1, 3, 2
	REFILL	refill_dir4_dir3_dir1, 4, 3

refill_gigapage:
	li.w	$t1, 30
	b	refill_halves

/*
 * The same by plain loads, as refill_steps[] says: shift and mask of the index at each level, then
 * a shift of 0. This way all bits of an entry reach the TLB.
 */
	.balign	4096
	.global	refill_loads
refill_loads:
	csrwr	$t0, CSR_TLBRSAVE
	csrwr	$t1, CSR_SAVE_T1
	csrwr	$t2, CSR_SAVE_T2
	csrwr	$t3, CSR_SAVE_T3
	csrrd	$t0, CSR_PGD
	la.pcrel $t1, refill_steps		# a physical address, as the program counter is
1:	csrrd	$t3, CSR_TLBRBADV
	ld.d	$t2, $t1, 0
	srl.d	$t3, $t3, $t2
	ld.d	$t2, $t1, 8
	and	$t3, $t3, $t2
	slli.d	$t3, $t3, 3
	ld.d	$t2, $t1, 16			# shift of the next level
	beqz	$t2, 2f
	ldx.d	$t0, $t0, $t3
	addi.d	$t1, $t1, 16
	andi	$t3, $t0, PTE_HUGE
	beqz	$t3, 1b
	ld.d	$t1, $t1, -16			# of the level of the huge entry
	csrrd	$t3, CSR_SAVE_T3
	csrrd	$t2, CSR_SAVE_T2
	b	refill_halves
2:	bstrins.d $t3, $zero, 3, 3
	add.d	$t0, $t0, $t3
	ld.d	$t3, $t0, 0
	csrwr	$t3, CSR_TLBRELO0
	ld.d	$t3, $t0, 8
	csrwr	$t3, CSR_TLBRELO1
	ld.d	$t1, $t1, 0
	csrrd	$t0, CSR_TLBREHI
	bstrins.d $t0, $t1, 5, 0
	csrwr	$t0, CSR_TLBREHI
	csrrd	$t3, CSR_SAVE_T3
	csrrd	$t2, CSR_SAVE_T2
	b	refill_done

/* t0: a huge entry; t1: log2 of its size. G goes from bit 12 to bit 6 (5.4.5). */
refill_halves:
	csrwr	$t2, CSR_SAVE_T2
	bstrpick.d $t2, $t0, 12, 12
	bstrins.d $t0, $zero, 12, 12
	bstrins.d $t0, $t2, 6, 6
	addi.d	$t1, $t1, -1
	csrrd	$t2, CSR_TLBREHI
	bstrins.d $t2, $t1, 5, 0
	csrwr	$t2, CSR_TLBREHI
	or	$t2, $t0, $zero
	csrwr	$t2, CSR_TLBRELO0
	addi.w	$t2, $zero, 1
	sll.d	$t2, $t2, $t1
	add.d	$t0, $t0, $t2
	csrwr	$t0, CSR_TLBRELO1
	csrrd	$t2, CSR_SAVE_T2
refill_done:
	tlbfill
	csrrd	$t1, CSR_SAVE_T1
	csrrd	$t0, CSR_TLBRSAVE
	ertn

/*
 * void enter(struct trap *trap, uint64_t pc, uint64_t plv, uint64_t a0, uint64_t a1): run from pc
 * at that privilege level, with two arguments, to the first exception.
 */
	.global	enter
enter:
	addi.d	$sp, $sp, -FRAME_SIZE
	st.d	$ra, $sp, 0
	st.d	$tp, $sp, 8
	st.d	$r21, $sp, 16
	st.d	$fp, $sp, 24
	st.d	$s0, $sp, 32
	st.d	$s1, $sp, 40
	st.d	$s2, $sp, 48
	st.d	$s3, $sp, 56
	st.d	$s4, $sp, 64
	st.d	$s5, $sp, 72
	st.d	$s6, $sp, 80
	st.d	$s7, $sp, 88
	st.d	$s8, $sp, 96
	st.d	$a0, $sp, 104
	or	$t0, $sp, $zero
	csrwr	$t0, CSR_SAVE_FRAME
	csrwr	$a1, CSR_ERA
	csrwr	$a2, CSR_PRMD
	or	$a0, $a3, $zero
	or	$a1, $a4, $zero
	ertn

	.balign	4096
exception:
	csrwr	$t0, CSR_SAVE_T1
	csrrd	$t0, CSR_SAVE_FRAME
	beqz	$t0, 1f
	or	$sp, $t0, $zero
	ld.d	$t0, $sp, 104
	st.d	$a0, $t0, TRAP_A0
	csrrd	$t1, CSR_ESTAT
	st.d	$t1, $t0, TRAP_ESTAT
	csrrd	$t1, CSR_BADV
	st.d	$t1, $t0, TRAP_BADV
	csrrd	$t1, CSR_BADI
	st.d	$t1, $t0, TRAP_BADI
	csrrd	$t1, CSR_ERA
	st.d	$t1, $t0, TRAP_ERA
	ld.d	$ra, $sp, 0
	ld.d	$tp, $sp, 8
	ld.d	$r21, $sp, 16
	ld.d	$fp, $sp, 24
	ld.d	$s0, $sp, 32
	ld.d	$s1, $sp, 40
	ld.d	$s2, $sp, 48
	ld.d	$s3, $sp, 56
	ld.d	$s4, $sp, 64
	ld.d	$s5, $sp, 72
	ld.d	$s6, $sp, 80
	ld.d	$s7, $sp, 88
	ld.d	$s8, $sp, 96
	addi.d	$sp, $sp, FRAME_SIZE
	csrwr	$zero, CSR_SAVE_FRAME
	ret
1:	csrrd	$a0, CSR_ESTAT
	csrrd	$a1, CSR_ERA
	csrrd	$a2, CSR_BADV
	bl	fatal_exception

/* For enter(): a0 is the address, and then what was read; a1 the value. */
	.global	access_read, access_write, access_rmw, invalidate_guest
access_read:
	ld.d	$a0, $a0, 0
	break	BREAK_ACCESS
access_write:
	st.d	$a1, $a0, 0
	break	BREAK_ACCESS
access_rmw:
	amadd.d	$t0, $a1, $a0
	or	$a0, $t0, $zero
	break	BREAK_ACCESS

/* For enter(), too: INVTLB of a guest, with a GID and an address. */
invalidate_guest:
	invtlb	0x16, $a0, $a1
	break	BREAK_ACCESS
