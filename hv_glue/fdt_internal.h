/* SPDX-License-Identifier: MIT */
/*
 * Walking a device tree.
 *
 * The tree has been accepted by nest_fdt_check(); nothing else is taken for granted.
 */
#ifndef NEST_HV_GLUE_FDT_INTERNAL_H
#define NEST_HV_GLUE_FDT_INTERNAL_H

#include <libfdt.h>

#include <nest/fdt.h>

enum { NEST_FDT_DEPTH = 32 };

/* A node, and the nodes above it; path[0] is the root, path[depth] the node itself. */
struct nest_fdt_cursor {
	const void *fdt;
	int node, depth;
	int path[NEST_FDT_DEPTH];
};

/* A list of entries: up to three numbers, of so many cells each. */
struct nest_fdt_list {
	const fdt32_t *cell;
	int width[3];
	int count;
};

/* nest_fdt_check() with the size that the header says. */
int nest_fdt_check_whole(const void *fdt);
/* Is `value` one of the strings of a property? */
bool nest_fdt_has_string(const void *fdt, int node, const char *name, const char *value);

struct nest_fdt_cursor nest_fdt_start(const void *fdt);
/* To the next node that is enabled, with all above it. NEST_E_NOTMAPPED: that was the last. */
int nest_fdt_next(struct nest_fdt_cursor *c);
bool nest_fdt_is_memory(const struct nest_fdt_cursor *c);
bool nest_fdt_is_reserved(const struct nest_fdt_cursor *c);

/*
 * The reg of a node. NEST_E_UNSUPPORTED: no plain numbers, as on a PCI bus, or without a size;
 * NEST_E_INVAL.
 */
int nest_fdt_reg(const struct nest_fdt_cursor *c, struct nest_fdt_list *l);
/* Range `i` of a node's reg as the CPU sees it. NEST_E_UNSUPPORTED: it does not; NEST_E_RANGE. */
int nest_fdt_reg_range(const struct nest_fdt_cursor *c, const struct nest_fdt_list *reg, int i,
		       struct nest_range *out);

/* NEST_OK: there is a memory node; NEST_E_NOTMAPPED: none. */
int nest_fdt_has_memory(const void *fdt);
/*
 * The next free memory at or above *from, in whole aligned pages, and *from past it; size 0: none.
 * *more: has the end of the address space not been reached?
 */
int nest_fdt_next_free(const void *fdt, uint64_t align, uint64_t *from, bool *more,
		       struct nest_range *out);

#endif
