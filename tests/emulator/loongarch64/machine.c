/* SPDX-License-Identifier: MIT */
/*
 * QEMU's virt machine: the UART, and the two ways to end. A bad end is told by the pvpanic device,
 * which the emulator must have been started with (-device pvpanic-pci -action panic=exit-failure).
 */
#include "machine.h"

#define UART         ((uintptr_t)0x1fe001e0)
#define POWER        ((uintptr_t)0x100e001c) /* sleep control of the generic event device */
#define PCI_CONFIG   ((uintptr_t)0x20000000)
#define PCI_MEMORY   0x40000000u
#define PVPANIC_ID   0x00111b36u
#define POWER_OFF    0x34 /* S5, enter */
#define PCI_DEVICES  32
#define DEVICE(addr) ((addr) + DMW_DEVICE - 1)

static void write32(uintptr_t address, uint32_t value)
{
	*(volatile uint32_t *)DEVICE(address) = value;
}

static void write8(uintptr_t address, uint8_t value)
{
	*(volatile uint8_t *)DEVICE(address) = value;
}

void put_char(void *unused, char c)
{
	(void)unused;
	if (c == '\n')
		write8(UART, '\r');
	write8(UART, (uint8_t)c);
}

static void panic(void)
{
	for (uintptr_t slot = 0; slot < PCI_DEVICES; slot++) {
		uintptr_t config = PCI_CONFIG + (slot << 15);

		if (*(volatile uint32_t *)DEVICE(config) != PVPANIC_ID)
			continue;
		write32(config + 0x10, PCI_MEMORY); /* BAR 0 */
		write32(config + 0x04, 2);          /* memory space on */
		write8(PCI_MEMORY, 1);              /* panicked */
	}
}

_Noreturn void port_exit(bool ok)
{
	if (!ok)
		panic();
	write8(POWER, POWER_OFF);
	for (;;)
		__asm__ volatile("idle 0");
}

_Noreturn void fatal_exception(uint64_t estat, uint64_t era, uint64_t badv);
_Noreturn void fatal_exception(uint64_t estat, uint64_t era, uint64_t badv)
{
	print("\nwalker: exception of the image itself: ESTAT %lx, ERA %lx, BADV %lx\n", estat, era,
	      badv);
	port_exit(false);
}
