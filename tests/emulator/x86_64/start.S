/* SPDX-License-Identifier: MIT */
/*
 * Entry of the x86-64 images, exceptions, and the code that makes the accesses.
 *
 * Entered at 1 MiB in 32-bit protected mode without paging, by QEMU's -kernel (PVH note) or by
 * rom.S. walker_main() then runs in long mode at CPL 0, with the first 4 GiB mapped to themselves,
 * EFER.NXE, CR0.WP and CR4.PGE set, SMEP and SMAP clear, and CR4.LA57 set where the CPU has it.
 */

#define SEL_CODE 0x08		/* machine.h has these too */
#define SEL_DATA 0x10
#define SEL_TSS  0x28

#define CR0_ON   0x80010021	/* PG, WP, NE, PE */
#define CR0_OFF  0x9fffffff	/* not CD, NW */
#define CR4_ON   0x000006a0	/* PAE, PGE, OSFXSR, OSXMMEXCPT */
#define CR4_LA57 0x00001000
#define EFER     0xc0000080
#define EFER_ON  0x00000900	/* LME, NXE */

	.section .head, "ax"
	.code32
	.global _start
_start:
	cli
	cld
	movl	$__bss_start, %edi
	movl	$__bss_end, %ecx
	subl	%edi, %ecx
	shrl	$2, %ecx
	xorl	%eax, %eax
	rep stosl
	movl	$__stack_top, %esp
	inb	$0x92, %al		/* address line 20 on */
	orb	$2, %al
	andb	$0xfe, %al
	outb	%al, $0x92
	movb	$0xff, %al		/* no interrupts from the PICs */
	outb	%al, $0x21
	outb	%al, $0xa1

	/* Four tables of 2 MiB pages (P, RW, PS), and above each table one more (P, RW). */
	movl	$0x83, %eax
	xorl	%edx, %edx
	movl	$boot_level1, %edi
	movl	$2048, %ecx
1:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	1b
	movl	$boot_level1 + 3, %eax
	movl	$boot_level2, %edi
	movl	$4, %ecx
2:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	2b
	movl	$boot_level2 + 3, boot_level3
	movl	$boot_level3 + 3, boot_level4

	movl	$7, %eax
	xorl	%ecx, %ecx
	cpuid
	movl	$boot_level3, %eax
	movl	$CR4_ON, %edx
	btl	$16, %ecx		/* LA57 */
	jnc	3f
	movl	$boot_level4, %eax
	orl	$CR4_LA57, %edx
3:	movl	%eax, %cr3
	movl	%edx, %cr4
	movl	$EFER, %ecx
	rdmsr
	orl	$EFER_ON, %eax
	wrmsr
	movl	%cr0, %eax
	andl	$CR0_OFF, %eax
	orl	$CR0_ON, %eax
	movl	%eax, %cr0
	lgdt	gdt_register
	ljmpl	$SEL_CODE, $start64

	.code64
start64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	$__stack_top, %rsp
	movq	$exception_stack_top, tss + 4	/* RSP0 */
	movq	$tss, %rax
	movw	%ax, gdt_tss + 2
	shrq	$16, %rax
	movb	%al, gdt_tss + 4
	movb	%ah, gdt_tss + 7
	movl	$SEL_TSS, %eax
	ltr	%ax
	xorl	%ebp, %ebp
	call	walker_main

	.text

/* Vector n is at exception_entries + 16 * n. */
	.global exception_entries
	.balign	16
exception_entries:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	(vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21)
	.else
	pushq	$0			/* no error code */
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

/* struct stub_run, machine.h */
#define RUN_RIP    0
#define RUN_CS     8
#define RUN_SS     16
#define RUN_RDI    24
#define RUN_RSI    32
#define RUN_RAX    40
#define RUN_VECTOR 48
#define RUN_ERROR  56
#define RUN_CR2    64

/*
 * void run_stub(struct stub_run *run): run code at any privilege level until it takes an exception;
 * *run then says which.
 */
	.global run_stub
run_stub:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rdi, current_run
	movq	%rsp, current_stack
	movq	%rsp, %rax
	pushq	RUN_SS(%rdi)
	pushq	%rax
	pushq	$2			/* RFLAGS */
	pushq	RUN_CS(%rdi)
	pushq	RUN_RIP(%rdi)
	movq	RUN_RSI(%rdi), %rsi
	movq	RUN_RAX(%rdi), %rax
	movq	RUN_RDI(%rdi), %rdi
	iretq

/* On the stack: vector, error code, RIP, CS, RFLAGS, RSP, SS. */
exception:
	cmpq	$0, current_run
	je	1f
	pushq	%rax
	movq	current_run, %rax
	movq	$0, current_run
	popq	RUN_RAX(%rax)
	popq	RUN_VECTOR(%rax)
	popq	RUN_ERROR(%rax)
	popq	RUN_RIP(%rax)
	movq	%cr2, %rcx
	movq	%rcx, RUN_CR2(%rax)
	movq	current_stack, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
1:	popq	%rdi
	popq	%rsi
	popq	%rdx
	andq	$-16, %rsp
	call	fatal_exception		/* (vector, error, rip) */

/*
 * The accesses, in the order of enum walker_access: at the address in RDI, of the value in RSI;
 * what was there is left in RAX. Each has 16 bytes and ends in UD2, which is an exception in both
 * rings, and an exit from a guest.
 */
	.global stubs, stubs_end
	.balign	16
stubs:
	movq	(%rdi), %rax
	ud2
	.balign	16
	movq	%rsi, (%rdi)
	ud2
	.balign	16
	jmpq	*%rdi			/* to a copy of landing */
	.balign	16
	lock xaddq %rsi, (%rdi)
	movq	%rsi, %rax
	ud2
	.balign	16
stubs_end:

	.section .rodata
	.global landing, landing_end
landing:
	movl	$0x600dc0de, %eax	/* LANDED, machine.h */
	ud2
landing_end:

	.data
	.balign	16
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 64-bit code */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00cff3000000ffff	/* data, ring 3 */
	.quad	0x00affb000000ffff	/* 64-bit code, ring 3 */
gdt_tss:
	.quad	0x0000890000000067, 0	/* its base is filled in */
gdt_end:
gdt_register:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.bss
	.balign	4096
boot_level4:
	.skip	4096
boot_level3:
	.skip	4096
boot_level2:
	.skip	4096
boot_level1:
	.skip	4 * 4096
exception_stack:
	.skip	8192
exception_stack_top:
	.balign	16
tss:	.skip	104
current_run:
	.skip	8
current_stack:
	.skip	8

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18		/* sizes of name and value; XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	_start

	.section .note.GNU-stack, "", @progbits
