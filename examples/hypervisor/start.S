/* SPDX-License-Identifier: MIT */
/*
 * Entry of the EL2 image, the way into the guest and the way back.
 *
 * The image begins with the 64-byte header of an arm64 Linux Image, so that a boot loader (QEMU's
 * -kernel) puts it 2 MiB into RAM and passes the device tree's address in x0. An exit from the guest
 * is the return of enter_guest(); any exception taken from EL2 itself is fatal.
 */

/* struct guest_context (cpu.h): x0 to x30, then these. */
#define CTX_X30 240
#define CTX_ELR 248
#define CTX_ESR 264

	.section .head, "ax"
	.global _start
_start:
	b	start
	nop
	.quad	0x200000		/* offset from the start of RAM */
	.quad	__image_size
	.quad	2			/* little-endian, 4 KiB pages */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.word	0

start:
	msr	daifset, #0xf
	ldr	x1, =__stack_top
	mov	sp, x1
	ldr	x1, =__bss_start
	ldr	x2, =__bss_end
1:	cmp	x1, x2
	b.hs	2f
	stp	xzr, xzr, [x1], #16
	b	1b
2:	ldr	x1, =vectors
	msr	vbar_el2, x1
	isb
	bl	main			/* x0: the device tree */
	b	.

/* x0 to x29, by way of x30. */
.macro each_register op
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29
	\op	x\n, [x30, #8 * \n]
	.endr
.endm

/*
 * void enter_guest(struct guest_context *ctx): run the guest until it traps to EL2; ctx then holds
 * its registers and the syndrome.
 */
	.global enter_guest
enter_guest:
	stp	x29, x30, [sp, #-96]!
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	msr	tpidr_el2, x0
	ldp	x1, x2, [x0, #CTX_ELR]
	msr	elr_el2, x1
	msr	spsr_el2, x2
	mov	x30, x0
	each_register ldr
	ldr	x30, [x30, #CTX_X30]
	eret

guest_exit:
	str	x30, [sp, #-16]!
	mrs	x30, tpidr_el2
	each_register str
	mov	x0, x30
	ldr	x30, [sp], #16
	str	x30, [x0, #CTX_X30]
	mrs	x1, elr_el2
	mrs	x2, spsr_el2
	stp	x1, x2, [x0, #CTX_ELR]
	mrs	x1, esr_el2
	mrs	x2, far_el2
	stp	x1, x2, [x0, #CTX_ESR]
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	x29, x30, [sp], #96
	ret

fatal:
	ldr	x1, =__stack_top
	mov	sp, x1
	bl	fatal_exception		/* x0: which vector */
	b	.

/* Sixteen vectors; number 8 is a synchronous exception from a lower level in AArch64 state. */
	.balign	2048
vectors:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	.balign	128
	mov	x0, #\n
	b	fatal
	.endr
	.balign	128
	b	guest_exit
	.irp	n, 9, 10, 11, 12, 13, 14, 15
	.balign	128
	mov	x0, #\n
	b	fatal
	.endr
