/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's way to speak (the PL011 that the guest has too) and to end: QEMU's semihosting
 * call, which carries an exit status.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include "print.h"

#define UART_BASE 0x09000000u

/* End the machine with this exit status. */
_Noreturn void exit_with(uint64_t status);

/* Print "host: FAILED: ..." and end with status 1. */
#define die(...)                                                                                   \
	do {                                                                                       \
		print("host: FAILED: " __VA_ARGS__);                                               \
		print("\n");                                                                       \
		exit_with(1);                                                                      \
	} while (0)

#endif
