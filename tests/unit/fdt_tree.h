/* SPDX-License-Identifier: MIT */
/*
 * Device trees for tests: those that QEMU prints, and small ones written here.
 */
#ifndef NEST_TEST_FDT_TREE_H
#define NEST_TEST_FDT_TREE_H

#include <libfdt.h>

#include <nest/fdt.h>

#include "support.h"

enum { TREE_SIZE = 4 << 20 };

/* A tree being written: node by node, in the order of the calls. */
struct tree {
	_Alignas(8) uint8_t blob[TREE_SIZE];
};

/* What QEMU prints for that machine, packed. */
static inline void tree_load(struct tree *t, const char *machine)
{
	static _Alignas(8) uint8_t raw[2 << 20];
	char path[512];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dtb", NEST_TEST_DTB_DIR, machine);
	f = fopen(path, "rb");
	CHECK(f != NULL);
	n = fread(raw, 1, sizeof(raw), f);
	fclose(f);
	CHECK(n > 0 && n < sizeof(raw));
	CHECK_EQ(fdt_pack(raw), 0);
	CHECK(fdt_totalsize(raw) <= TREE_SIZE);
	memcpy(t->blob, raw, fdt_totalsize(raw));
}

/* Begin a tree: its memory reservations, and the cells of its root. */
static inline void tree_begin(struct tree *t, const struct nest_range *rsv, unsigned nr_rsv,
			      uint32_t address_cells, uint32_t size_cells)
{
	CHECK_EQ(fdt_create(t->blob, TREE_SIZE), 0);
	for (unsigned i = 0; i < nr_rsv; i++)
		CHECK_EQ(fdt_add_reservemap_entry(t->blob, rsv[i].base, rsv[i].size), 0);
	CHECK_EQ(fdt_finish_reservemap(t->blob), 0);
	CHECK_EQ(fdt_begin_node(t->blob, ""), 0);
	CHECK_EQ(fdt_property_u32(t->blob, "#address-cells", address_cells), 0);
	CHECK_EQ(fdt_property_u32(t->blob, "#size-cells", size_cells), 0);
}

static inline void tree_node(struct tree *t, const char *name)
{
	CHECK_EQ(fdt_begin_node(t->blob, name), 0);
}

static inline void tree_string(struct tree *t, const char *name, const char *value)
{
	CHECK_EQ(fdt_property(t->blob, name, value, (int)strlen(value) + 1), 0);
}

static inline void tree_cells(struct tree *t, const char *name, const uint32_t *cell, unsigned n)
{
	fdt32_t be[64];

	for (unsigned i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(cell[i]);
	CHECK_EQ(fdt_property(t->blob, name, be, (int)(n * 4)), 0);
}

#define TREE_CELLS(t, name, ...)                                                                   \
	tree_cells((t), (name), (const uint32_t[]){ __VA_ARGS__ },                                 \
		   sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

static inline void tree_end(struct tree *t)
{
	CHECK_EQ(fdt_end_node(t->blob), 0);
}

static inline void tree_finish(struct tree *t)
{
	tree_end(t);
	CHECK_EQ(fdt_finish(t->blob), 0);
}

static inline size_t tree_len(const struct tree *t)
{
	return fdt_totalsize(t->blob);
}

#endif
