/* SPDX-License-Identifier: MIT */
/*
 * Console and exit; see console.h. The UART is that of QEMU's virt machine, at a fixed place, so
 * that a message gets out even when the device tree cannot be read.
 */
#include "console.h"

enum { UART_DR = 0, UART_FR = 0x18 / 4, UART_FR_TXFF = 1 << 5 };

static void put_raw(char c)
{
	volatile uint32_t *uart = (volatile uint32_t *)(uintptr_t)UART_BASE;

	while (uart[UART_FR] & UART_FR_TXFF)
		;
	uart[UART_DR] = (unsigned char)c;
}

void put_char(void *unused, char c)
{
	(void)unused;
	if (c == '\n')
		put_raw('\r');
	put_raw(c);
}

_Noreturn void exit_with(uint64_t status)
{
	/* SYS_EXIT_EXTENDED with ADP_Stopped_ApplicationExit. */
	uint64_t block[2] = { 0x20026, status };
	register uint64_t operation __asm__("x0") = 0x20;
	register uint64_t *argument __asm__("x1") = block;

	__asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(argument) : "memory");
	for (;;)
		;
}

/* Debian's libfdt.a is built with a stack protector. */
uintptr_t __stack_chk_guard = 0x6e65737400ff0a0d;

_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void)
{
	die("stack overflow");
}
