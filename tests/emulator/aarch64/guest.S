/* SPDX-License-Identifier: MIT */
/*
 * What runs at EL1 and EL0: one access, then SVC. It is copied into the home area, so it must not
 * matter where it lies. Every exception to EL1 is passed on to EL2, with its vector's number.
 */
	.section .rodata, "a"
	.balign	2048
	.global	guest_begin, guest_read, guest_write, guest_rmw, guest_exec, guest_end
guest_begin:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	.balign	128
	hvc	#\n
	.endr
	.balign	128
guest_read:
	ldr	x0, [x0]
	svc	#1
guest_write:
	str	x1, [x0]
	svc	#1
guest_rmw:
	ldxr	x2, [x0]
	add	x3, x2, x1
	stxr	w4, x3, [x0]
	cbnz	w4, guest_rmw
	mov	x0, x2
	svc	#1
guest_exec:
	ret	x0		/* not BR: the page may be guarded (FEAT_BTI), which lets RET in */
guest_end:

/*
 * uint64_t run_at_el2(ia, value, stub): the stub runs here, on the caller's stack pointer, and any
 * exception brings it back; ESR_EL2, ELR_EL2 and FAR_EL2 tell of it. Stubs leave x5 and up alone.
 */
	.text
	.global	run_at_el2
run_at_el2:
	mrs	x6, vbar_el2
	ldr	x7, =el2_vectors
	msr	vbar_el2, x7
	isb
	br	x2

	.balign	2048
el2_vectors:
	.org	el2_vectors + 0x200	/* synchronous, from EL2 on SP_EL2 */
	msr	vbar_el2, x6
	isb
	ret

/* Where the second CPU begins, with the address of a stack's end and of vectors in x0. */
	.text
	.global	second_entry
second_entry:
	msr	daifset, #0xf
	ldp	x1, x2, [x0]
	mov	sp, x1
	msr	vbar_el2, x2
	isb
	bl	second_main
	b	.
