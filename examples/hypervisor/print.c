/* SPDX-License-Identifier: MIT */
/* print() on top of put_char(); see print.h. */
#include <stdarg.h>
#include <stddef.h>

#include "print.h"

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
