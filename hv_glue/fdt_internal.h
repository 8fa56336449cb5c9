/* SPDX-License-Identifier: MIT */
/*
 * Walking a device tree, and its free memory in order of address.
 *
 * The tree has been accepted by nest_fdt_check(); nothing else is taken for granted. A walk looks
 * at each tag once and never searches the tree, so that one walk costs time in proportion to the
 * tree's size, whatever its shape.
 */
#ifndef NEST_HV_GLUE_FDT_INTERNAL_H
#define NEST_HV_GLUE_FDT_INTERNAL_H

#include <libfdt.h>

#include <nest/fdt.h>

/* NEST_FDT_BATCH: ranges of each kind that are kept on the stack (fdt_memory.c). */
enum { NEST_FDT_DEPTH = 32, NEST_FDT_BATCH = 32 };

/* The properties that a walk looks for. */
enum nest_fdt_prop {
	NEST_FDT_STATUS,
	NEST_FDT_DEVICE_TYPE,
	NEST_FDT_REG,
	NEST_FDT_ADDRESS_CELLS,
	NEST_FDT_SIZE_CELLS,
	NEST_FDT_RANGES,
	NEST_FDT_PROPS
};

/* A node of the path, as its children need it. */
struct nest_fdt_bus {
	int ranges;            /* offset of that property; -1: none */
	int16_t address, size; /* cells of the children's addresses and sizes; -1: malformed */
};

/* A node, and the nodes above it; path[0] is the root, path[depth] the node itself. */
struct nest_fdt_cursor {
	const void *fdt;
	int node, depth;
	int next;                         /* offset of the first tag after the node's properties */
	int prop[NEST_FDT_PROPS];         /* offsets of the node's properties; -1: none */
	bool in_reserved_memory, in_cpus; /* which child of the root the node is, or is below */
	struct nest_fdt_bus path[NEST_FDT_DEPTH];
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

/* ---- Free memory (fdt_memory.c) ---- */

/* Both ends inclusive. */
struct nest_fdt_span {
	uint64_t first, last;
};

/* The next ranges of one kind, in order; fields are fdt_memory.c's. */
struct nest_fdt_batch {
	unsigned char *slot;
	size_t stride;
	unsigned room, n, next;
	bool more; /* the tree has ranges behind these */
	bool any;  /* has one been taken? */
	struct nest_fdt_span taken;
};

/* What is free, from the bottom up. */
struct nest_fdt_sweep {
	const void *fdt;
	uint64_t align;
	/*
	 * Memory of the caller's, to sort in: `room` slots of `stride` bytes (at least 16). They
	 * are written to. One may be taken away at the front for each result.
	 */
	void *slot;
	size_t stride;
	unsigned room;
	struct nest_fdt_batch memory, reserved;
	struct nest_fdt_span run; /* memory not given out yet */
	bool in_run;
	struct nest_fdt_span spare[2 * NEST_FDT_BATCH];
};

void nest_fdt_sweep_init(struct nest_fdt_sweep *s, const void *fdt, uint64_t align);
/*
 * The next free memory, in whole aligned pages; size 0: there is no more. NEST_E_NOTMAPPED: the
 * tree has no memory node; NEST_E_INVAL, NEST_E_RANGE.
 */
int nest_fdt_next_free(struct nest_fdt_sweep *s, struct nest_range *out);

#endif
