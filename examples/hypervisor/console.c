/* SPDX-License-Identifier: MIT */
/*
 * Console and exit; see console.h. The UART is that of QEMU's virt machine, at a fixed place, so
 * that a message gets out even when the device tree cannot be read.
 */
#include <stdarg.h>
#include <stddef.h>

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

static void put_string(const char *s)
{
	while (*s)
		put_char(NULL, *s++);
}

static void put_number(uint64_t value, unsigned base)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put_char(NULL, digits[--n]);
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (const char *p = format; *p; p++) {
		if (*p != '%') {
			put_char(NULL, *p);
			continue;
		}
		switch (*++p) {
		case 's':
			put_string(va_arg(args, const char *));
			break;
		case 'c':
			put_char(NULL, (char)va_arg(args, int));
			break;
		case 'u':
			put_number(va_arg(args, unsigned), 10);
			break;
		case 'l':
			put_number(va_arg(args, unsigned long), *++p == 'x' ? 16 : 10);
			break;
		default:
			put_char(NULL, *p);
		}
	}
	va_end(args);
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
