/* SPDX-License-Identifier: MIT */
/*
 * The device-tree reader: any bytes. They are looked at by nest_fdt_check() first, as the header
 * asks of bytes from elsewhere; what passes is read by everything else, and gives ranges in order,
 * an address space that comes and goes whole, and a guest's tree that can be read again.
 */
#include <libfdt.h>
#include <nest/fdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/ram.h"

enum { RANGES = 512, REGIONS = 256, ROOM = 8192 };

#define ENSURE(c)                                                                                  \
	do {                                                                                       \
		if (!(c)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static struct ram ram;

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return ram_alloc(&ram, size);
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx;
	ram_free(&ram, pa, size);
}

static void *host_to_virt(void *ctx, nest_pa_t pa)
{
	(void)ctx;
	return ram_pointer(&ram, pa);
}

static void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
}

static const struct nest_host host = {
	.alloc = host_alloc, .free = host_free, .to_virt = host_to_virt, .tlb_flush = host_flush
};

/* By the address, so that neighbours differ and a run is repeatable. */
static enum nest_fdt_action pick(void *ctx, const void *fdt, int node, const char *compatible,
				 const struct nest_range *reg, nest_attr_t *attr, void **cookie)
{
	(void)ctx, (void)attr;
	ENSURE(fdt_get_name(fdt, node, NULL) && strlen(compatible) < ((size_t)1 << 20));
	*cookie = NULL;
	return (enum nest_fdt_action)(reg->base >> 12 & 1 ? NEST_FDT_DEVICE : NEST_FDT_MMIO);
}

static void read_memory(const void *fdt)
{
	static const uint64_t aligns[] = { 1, 4096, 1 << 21, (uint64_t)1 << 63 };
	struct nest_range out[RANGES];

	for (unsigned a = 0; a < 4; a++) {
		for (unsigned room = 0; room <= RANGES; room = room ? room * 8 : 1) {
			unsigned n = room;
			int err = nest_fdt_memory(fdt, aligns[a], out, &n);

			ENSURE(n <= room && err <= 0);
			for (unsigned i = 0; i < n && !err; i++) {
				uint64_t last = out[i].base + (out[i].size - 1);

				ENSURE(out[i].size && last >= out[i].base);
				ENSURE(!((out[i].base | out[i].size) & (aligns[a] - 1)));
				ENSURE(!i || out[i - 1].base + out[i - 1].size < out[i].base);
			}
		}
	}
}

static void build(const void *fdt, size_t size)
{
	static struct nest_vm_region regions[REGIONS];
	struct nest_vm_config config = { .pt = { .format = &nest_fmt_aarch64_s2_4k,
						 .ia_bits = 40,
						 .oa_bits = 48,
						 .host = &host },
					 .regions = regions,
					 .max_regions = REGIONS };
	const struct nest_fdt_policy policy = { .device = pick };
	struct nest_vm vm;
	int err;

	ram_open(&ram, true);
	ENSURE(nest_vm_init(&vm, &config) == NEST_OK);
	err = nest_vm_from_fdt(&vm, fdt, &policy);
	ENSURE(err <= 0);
	if (err) {
		ENSURE(vm.nr_regions == 0);
	} else {
		void *copy = malloc(size + ROOM);

		ENSURE(copy);
		if (!fdt_open_into(fdt, copy, (int)(size + ROOM)) &&
		    nest_fdt_add_memory(copy, &vm) == NEST_OK) {
			ENSURE(nest_fdt_check(copy, size + ROOM) == NEST_OK);
			read_memory(copy);
		}
		free(copy);
	}
	nest_vm_destroy(&vm);
	ENSURE(ram.outstanding == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Aligned as libfdt wants it, and of just that size, so that a byte too far is seen. */
	void *fdt = malloc(size ? size : 1);

	ENSURE(fdt);
	memcpy(fdt, data, size);
	if (nest_fdt_check(fdt, size) == NEST_OK) {
		read_memory(fdt);
		(void)nest_fdt_riscv_mmu(fdt);
		build(fdt, size);
	}
	free(fdt);
	return 0;
}
