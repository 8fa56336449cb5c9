/* SPDX-License-Identifier: MIT */
/*
 * A ROM of 1 MiB in place of a BIOS, which ends at 4 GiB: from the reset vector into 32-bit
 * protected mode, copies the flat image PAYLOAD to 1 MiB and jumps there.
 */

#define ROM_SIZE 0x100000
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define LOAD_AT  0x100000

	.section .rom, "ax"
	.global rom
rom:
payload:
	.incbin	PAYLOAD
payload_end:

	.org	ROM_SIZE - 0x10000	/* the last 64 KiB, which CS reaches after reset */
segment:
	.code32
copy:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	cld
	movl	$payload, %esi
	movl	$LOAD_AT, %edi
	movl	$(payload_end - payload + 3) / 4, %ecx
	rep movsl
	movl	$LOAD_AT, %edx
	jmpl	*%edx

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* 32-bit code */
	.quad	0x00cf93000000ffff	/* data */
gdt_register:
	.word	gdt_register - gdt - 1
	.long	gdt

	.code16
start:
	cli
	lgdtl	%cs:(gdt_register - segment)
	movl	%cr0, %eax
	andl	$0x9fffffff, %eax	/* not CD, NW */
	orl	$1, %eax		/* PE */
	movl	%eax, %cr0
	ljmpl	$SEL_CODE, $copy

	.org	ROM_SIZE - 16
	.byte	0xe9			/* jmp start, around the 64 KiB of the segment */
	.word	start - segment + 0x10000 - 0xfff3
	.org	ROM_SIZE
