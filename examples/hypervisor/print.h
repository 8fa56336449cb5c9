/* SPDX-License-Identifier: MIT */
/*
 * Formatted output, over a put_char() that the machine's own code provides.
 */
#ifndef PRINT_H
#define PRINT_H

#include <stdint.h>

/* One character; a newline becomes CR LF. The signature is nest_putc_fn's. */
void put_char(void *unused, char c);

/* %s, %c, %u (unsigned), %lu and %lx (unsigned long), %%. No widths. */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

#endif
