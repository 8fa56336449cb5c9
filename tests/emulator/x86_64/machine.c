/* SPDX-License-Identifier: MIT */
/*
 * The PC: COM1 or Bochs' port E9 for the console, QEMU's isa-debug-exit or Bochs' debugger for the
 * end; and the parts of the port that every image has in common.
 */
#include <nest/arch/x86.h>

#include "machine.h"

/* What landing (start.S) leaves in EAX. */
#define LANDED 0x600dc0deu

extern const char landing[], landing_end[], exception_entries[];
extern char __image_end[], __ram_end[];

const uint64_t port_linear_offset = 0;

/* ---- Console ---- */

enum { COM1 = 0x3f8, E9 = 0xe9 };

static bool has_e9;

/* 115200 baud, 8 bits, no parity, no interrupts. */
static void start_console(void)
{
	has_e9 = inb(E9) == E9; /* it reads as its own number */
	if (has_e9)
		return;
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x80);
	outb(COM1 + 0, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3);
}

void put_char(void *unused, char c)
{
	if (c == '\n')
		put_char(unused, '\r');
	if (has_e9) {
		outb(E9, (uint8_t)c);
		return;
	}
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (uint8_t)c);
}

/*
 * QEMU ends with status 2 * value + 1: 33 is success, which nothing else ends it with. Bochs' magic
 * break ends a run in its debugger, whose next command ends Bochs with status 0.
 */
void port_exit(bool ok)
{
	outb(0xf4, ok ? 0x10 : 1);
	if (ok)
		__asm__ volatile("xchg %bx, %bx");
	for (const char *s = "Shutdown"; *s; s++)
		outb(0x8900, (uint8_t)*s);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* ---- Exceptions ---- */

struct gate {
	uint16_t offset_low, selector, type, offset_middle;
	uint32_t offset_high, zero;
};

_Noreturn void fatal_exception(uint64_t vector, uint64_t error, uint64_t rip);

void fatal_exception(uint64_t vector, uint64_t error, uint64_t rip)
{
	print("\nexception %lu, error code %lx, at %lx\n", vector, error, rip);
	port_exit(false);
}

static void start_exceptions(void)
{
	static struct gate idt[32];
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idt_register = { sizeof(idt) - 1, (uint64_t)idt };

	for (unsigned i = 0; i < 32; i++) {
		uint64_t entry = (uint64_t)exception_entries + 16 * i;

		idt[i] = (struct gate){ .offset_low = (uint16_t)entry,
					.selector = SEL_CODE,
					.type = 0x8e00, /* present, interrupt gate */
					.offset_middle = (uint16_t)(entry >> 16),
					.offset_high = (uint32_t)(entry >> 32) };
	}
	__asm__ volatile("lidt %0" : : "m"(idt_register));
}

void machine_start(void)
{
	uint32_t features = nest_x86_probe();

	start_console();
	start_exceptions();
	print("probed: %u physical address bits, %u levels, 1 GiB pages: %s\n",
	      nest_x86_phys_bits(), read_cr4() & CR4_LA57 ? 5u : 4u,
	      features & NEST_FEAT_1G ? "yes" : "no");
}

/* ---- The common part of the port ---- */

struct mmu_regs cpu_registers(void)
{
	return (struct mmu_regs){
		.control = read_cr4(),
		.control2 = read_msr(MSR_EFER),
		.types = read_msr(MSR_PAT),
		.cpu = nest_x86_read_cpuid(0x80000001, 0).edx >> 26 & 1 ? MMU_CPU_1G : 0,
		.pa_bits = nest_x86_read_cpuid(0x80000008, 0).eax & 0xff,
	};
}

void port_ram(nest_pa_t *base, uint64_t *size)
{
	*base = (uint64_t)__image_end;
	*size = (uint64_t)__ram_end - *base;
}

/* Walkers are coherent with caches, and so are fetches once IRET or a guest's entry serialises. */
void port_sync(const void *va, size_t len)
{
	(void)va, (void)len;
}

void port_code_written(void *va, size_t len)
{
	(void)va, (void)len;
}

const void *port_code(size_t *len)
{
	*len = (size_t)(landing_end - landing);
	return landing;
}

bool stub_succeeded(enum walker_access access, uint64_t stub, uint64_t target,
		    const struct stub_end *end)
{
	const uint64_t ud2_size = 2;

	if (!end->ud2)
		return false;
	if (access == WALKER_EXEC)
		return end->rax == LANDED &&
		       end->rip == target + (uint64_t)(landing_end - landing) - ud2_size;
	return end->rip >= stub && end->rip < stub + STUB_SIZE;
}
