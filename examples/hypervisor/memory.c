/* SPDX-License-Identifier: MIT */
/*
 * The machine's memory; see memory.h. Up to cpu_start_mmu() no access goes through the caches, and
 * afterwards each does: stale lines of what was written before must have left them at that point.
 */
#include <string.h>

#include <nest/arch/aarch64.h>

#include "console.h"
#include "cpu.h"
#include "memory.h"

enum { OWN_POOL = 1 << 20, TABLE_POOL = 4 << 20, MAX_RANGES = 16 };

extern char __image_start[], __image_end[];

void check(int status, const char *doing)
{
	if (status != NEST_OK)
		die("%s: %s", doing, nest_strerror(status));
}

nest_pa_t memory_get_table(void *pool, size_t size)
{
	return pool_get(pool, size);
}

void memory_put_table(void *pool, nest_pa_t pa, size_t size)
{
	pool_put(pool, pa, size);
}

void memory_publish(void *unused, const void *va, size_t len)
{
	(void)unused, (void)va, (void)len;
	nest_aarch64_publish();
}

nest_pa_t memory_get_frame(void *pool, nest_ia_t gpa, uint64_t size)
{
	nest_pa_t pa = pool_get(pool, size);

	(void)gpa;
	if (pa == NEST_PA_NONE)
		return pa;
	memset((void *)pa, 0, size);
	/* The guest begins with its caches off: it must not find what was there before. */
	nest_aarch64_clean_invalidate((void *)pa, size);
	return pa;
}

void memory_put_frame(void *pool, nest_ia_t gpa, nest_pa_t pa, uint64_t size)
{
	(void)gpa;
	pool_put(pool, pa, size);
}

static void flush_own(void *unused, const struct nest_flush *what)
{
	(void)unused;
	nest_aarch64_s1_flush(what, 12, true);
}

static unsigned find_memory(const void *tree, struct nest_range *out)
{
	unsigned count = MAX_RANGES;

	check(nest_fdt_memory(tree, BLOCK, out, &count), "looking for memory");
	return count;
}

/* From the largest piece that is not in use: the guest's frames, and the hypervisor's own. */
static void divide(struct memory *memory, void *tree, const struct nest_range *machine_tree,
		   const struct boot_args *args)
{
	static uint64_t own_map[OWN_POOL / POOL_PAGE / 64], table_map[TABLE_POOL / POOL_PAGE / 64];
	struct nest_range free[MAX_RANGES], *most = free, own, tables, frames, map;
	unsigned count;

	tree_reserve(tree, &memory->kept[0]);
	tree_reserve(tree, machine_tree);
	tree_reserve(tree, &args->kernel);
	tree_reserve(tree, &args->initrd);
	count = find_memory(tree, free);
	for (unsigned i = 0; i < count; i++) {
		if (most->size < free[i].size)
			most = &free[i];
	}
	/* In this order, so that the frames begin and end at a block. */
	frames = (struct nest_range){ most->base, args->ram };
	own = (struct nest_range){ frames.base + frames.size, OWN_POOL };
	tables = (struct nest_range){ own.base + own.size, TABLE_POOL };
	map = (struct nest_range){ tables.base + tables.size, pool_map_size(args->ram) };
	if (!count || most->size < map.base + map.size - most->base)
		die("no room for a guest of %lu MiB", args->ram >> 20);
	pool_init(&memory->own, own, own_map);
	pool_init(&memory->tables, tables, table_map);
	pool_init(&memory->frames, frames, (uint64_t *)map.base);
	memory->kept[1] = (struct nest_range){ own.base, map.base + map.size - own.base };
	print("host: %lu MiB of frames for the guest at %lx\n", frames.size >> 20, frames.base);
}

/* All memory and the UART one to one; only the image may be executed. */
static void make_map(struct memory *memory, const struct nest_range *ram, unsigned count)
{
	static const struct nest_host host = {
		.alloc = memory_get_table,
		.free = memory_put_table,
		.tlb_flush = flush_own,
		.sync = memory_publish,
	};
	const struct nest_aarch64_id id = nest_aarch64_read_id();
	const struct nest_pt_config config = {
		.format = &nest_fmt_aarch64_s1_4k,
		.ia_bits = 40,
		.oa_bits = 40,
		.features = NEST_FEAT_EL2 | (nest_aarch64_features(&nest_fmt_aarch64_s1_4k, &id) &
					     (NEST_FEAT_CONTIG | NEST_FEAT_BBM2)),
		.host = &host,
		.ctx = &memory->own,
	};

	check(nest_pt_init(&memory->map, &config), "making EL2's address space");
	for (unsigned i = 0; i < count; i++)
		check(nest_pt_map(&memory->map, ram[i].base, ram[i].base, ram[i].size, NEST_RW, 0,
				  NULL),
		      "mapping RAM");
	check(nest_pt_protect(&memory->map, memory->kept[0].base, memory->kept[0].size, NEST_X, 0,
			      0, NULL),
	      "mapping the image");
	check(nest_pt_map(&memory->map, UART_BASE, UART_BASE, POOL_PAGE, NEST_RW | NEST_MT_DEVICE,
			  0, NULL),
	      "mapping the UART");
}

void memory_start(struct memory *memory, void *tree, const struct nest_range *machine_tree,
		  const struct boot_args *args)
{
	struct nest_range ram[MAX_RANGES];
	unsigned count = find_memory(tree, ram);

	for (unsigned i = 0; i < count; i++)
		print("host: RAM: %lx + %lx\n", ram[i].base, ram[i].size);
	memory->kept[0] = (struct nest_range){ (uintptr_t)__image_start,
					       (uintptr_t)(__image_end - __image_start) };
	divide(memory, tree, machine_tree, args);
	make_map(memory, ram, count);
	for (unsigned i = 0; i < sizeof(memory->kept) / sizeof(memory->kept[0]); i++)
		nest_aarch64_clean_invalidate((void *)memory->kept[i].base, memory->kept[i].size);
	check(cpu_start_mmu(&memory->map), "turning the MMU on");
	print("host: EL2's own layout:\n");
	check(nest_pt_dump(&memory->map, put_char, NULL), "dumping");
}
