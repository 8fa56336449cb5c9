/* SPDX-License-Identifier: MIT */
/*
 * From M-mode to HS-mode, the accesses, and the traps that end them.
 *
 * An access is begun by one of the functions below, which leave the callee-saved registers in a
 * struct access and its address in sscratch; whatever trap comes next returns from that function.
 * A trap with sscratch 0 is fatal.
 */

/* struct access (port.c): ra, sp, s0 to s11, then these. */
#define ACCESS_A0	0x70
#define ACCESS_SCAUSE	0x78
#define ACCESS_STVAL	0x80
#define ACCESS_HTVAL	0x88
#define ACCESS_HTINST	0x90
#define ACCESS_SEPC	0x98

	.section .head, "ax"
	.global _start
_start:
	csrr	t0, mhartid
1:	bnez	t0, 1b			/* one hart is enough */
	la	sp, __stack_top
	la	t1, machine_trap
	csrw	mtvec, t1
	li	t1, -1			/* PMP: S-mode may use everything */
	csrw	pmpaddr0, t1
	li	t1, 0x1f
	csrw	pmpcfg0, t1
	li	t1, -1
	csrw	medeleg, t1
	csrw	mcounteren, t1
	csrw	mideleg, zero
	csrw	mie, zero
	li	t1, 1 << 62		/* menvcfg.PBMTE: Svpbmt for S-mode and the G-stage */
	csrw	0x30a, t1
	la	t1, __bss_start
	la	t2, __bss_end
2:	bgeu	t1, t2, 3f
	sd	zero, 0(t1)
	addi	t1, t1, 8
	j	2b
3:	la	t1, supervisor_trap
	csrw	stvec, t1
	csrw	sscratch, zero
	csrw	satp, zero
	li	t1, 3 << 11		/* mstatus.MPP = S */
	csrc	mstatus, t1
	li	t1, 1 << 11
	csrs	mstatus, t1
	la	t1, main
	csrw	mepc, t1
	mret

	.balign	4
machine_trap:				/* none is expected */
	csrr	a0, mcause
	csrr	a1, mepc
	csrr	a2, mtval
	la	sp, __stack_top
	call	fatal_trap
	j	.

	.text
.macro each_saved op
	\op	ra, 0x00(a0)
	\op	sp, 0x08(a0)
	\op	s0, 0x10(a0)
	\op	s1, 0x18(a0)
	\op	s2, 0x20(a0)
	\op	s3, 0x28(a0)
	\op	s4, 0x30(a0)
	\op	s5, 0x38(a0)
	\op	s6, 0x40(a0)
	\op	s7, 0x48(a0)
	\op	s8, 0x50(a0)
	\op	s9, 0x58(a0)
	\op	s10, 0x60(a0)
	\op	s11, 0x68(a0)
.endm

	.balign	4
supervisor_trap:
	csrrw	a0, sscratch, a0
	beqz	a0, 1f
	sd	a1, ACCESS_SCAUSE(a0)	/* for a moment */
	csrrw	a1, sscratch, zero
	sd	a1, ACCESS_A0(a0)
	csrr	a1, stval
	sd	a1, ACCESS_STVAL(a0)
	csrr	a1, htval
	sd	a1, ACCESS_HTVAL(a0)
	csrr	a1, htinst
	sd	a1, ACCESS_HTINST(a0)
	csrr	a1, sepc
	sd	a1, ACCESS_SEPC(a0)
	csrr	a1, scause
	sd	a1, ACCESS_SCAUSE(a0)
	each_saved ld
	ret
1:	csrr	a0, scause
	csrr	a1, sepc
	csrr	a2, stval
	la	sp, __stack_top
	call	fatal_trap
	j	.

/* void access_NAME(struct access *a, uint64_t address, uint64_t value): one instruction from HS-mode. */
.macro access name, instruction:vararg
	.global	access_\name
access_\name:
	each_saved sd
	csrw	sscratch, a0
	\instruction
	csrw	sscratch, zero
	sd	a2, ACCESS_A0(a0)
	li	a1, -1
	sd	a1, ACCESS_SCAUSE(a0)
	ret
.endm
	access	hlv,	hlv.d a2, (a1)
	access	hsv,	hsv.d a2, (a1)
	access	load,	ld a2, 0(a1)
	access	store,	sd a2, 0(a1)
	access	add,	amoadd.d a2, a2, (a1)
	access	jump,	jr a1

/* void access_enter(struct access *a, uint64_t pc, uint64_t a0, uint64_t a1): SRET; a trap returns. */
	.global	access_enter
access_enter:
	each_saved sd
	csrw	sscratch, a0
	csrw	sepc, a1
	mv	a0, a2
	mv	a1, a3
	sret

/* Code for a guest or user: one access, then EBREAK with what was read in a0. */
	.section .rodata, "a"
	.balign	4096
	.global	stubs, stub_load, stub_store, stub_add, stub_jump
stubs:
stub_load:
	ld	a0, 0(a0)
	ebreak
stub_store:
	sd	a1, 0(a0)
	ebreak
stub_add:
	amoadd.d a0, a1, (a0)
	ebreak
stub_jump:
	jr	a0
	.balign	4096
