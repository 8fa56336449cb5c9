/* SPDX-License-Identifier: MIT */
/*
 * Reading a device tree, by libfdt: its nodes, their addresses, and how its CPUs translate.
 *
 * No function reads a tree that fdt_check_full() has not accepted, and none assumes more of one
 * than that: depth, cells and lengths are checked where they are used. A lookup by name or path
 * would search the tree from its beginning: the walk notes what it needs as it passes.
 */
#include <libfdt.h>

#include <nest/fdt.h>

#include "hv_glue/fdt_internal.h"

/* ---- Walking ---- */

/*
 * Before version 16 nodes have paths for names, and fdt_check_full() of libfdt 1.6 follows the
 * missing name of a root that has none. No kernel of today writes or reads such trees.
 */
enum { OLDEST_VERSION = 16 };

/*
 * Does each tag lead on? The length of a property is added to an int: in libfdt 1.6 a large one
 * leads back, and fdt_check_full() goes round for ever.
 */
static bool tags_lead_on(const void *fdt)
{
	int offset = 0, next = 0;

	while (fdt_next_tag(fdt, offset, &next) != FDT_END) {
		if (next <= offset)
			return false;
		offset = next;
	}
	return true;
}

int nest_fdt_check(const void *fdt, size_t fdt_len)
{
	if (!fdt || ((uintptr_t)fdt & 7) || fdt_len < sizeof(struct fdt_header) ||
	    fdt_version(fdt) < OLDEST_VERSION || fdt_check_header(fdt) ||
	    fdt_len < fdt_totalsize(fdt) || !tags_lead_on(fdt) || fdt_check_full(fdt, fdt_len))
		return NEST_E_INVAL;
	return NEST_OK;
}

int nest_fdt_check_whole(const void *fdt)
{
	return fdt ? nest_fdt_check(fdt, fdt_totalsize(fdt)) : NEST_E_INVAL;
}

struct nest_fdt_cursor nest_fdt_start(const void *fdt)
{
	return (struct nest_fdt_cursor){ .fdt = fdt, .node = -1, .depth = -1 };
}

bool nest_fdt_has_string(const void *fdt, int node, const char *name, const char *value)
{
	int len;
	const char *list = fdt_getprop(fdt, node, name, &len);

	return list && fdt_stringlist_contains(list, len, value);
}

/* The same for a property that the walk has found. */
static bool has_string(const struct nest_fdt_cursor *c, enum nest_fdt_prop prop, const char *value)
{
	int len;
	const char *list;

	if (c->prop[prop] < 0)
		return false;
	list = fdt_getprop_by_offset(c->fdt, c->prop[prop], NULL, &len);
	return list && fdt_stringlist_contains(list, len, value);
}

/* Every name ends within the tree: fdt_check_full() has seen to that. */
static bool is_named(const void *fdt, const struct fdt_property *p, const char *name)
{
	const char *tree = fdt, *s = &tree[fdt_off_dt_strings(fdt) + fdt32_ld(&p->nameoff)];

	for (; *name && *s == *name; s++)
		name++;
	return *s == *name;
}

/* The property at this offset is the node's; the first of a name counts, as for fdt_getprop(). */
static void note_property(struct nest_fdt_cursor *c, int offset)
{
	static const char names[NEST_FDT_PROPS][16] = {
		[NEST_FDT_STATUS] = "status",
		[NEST_FDT_DEVICE_TYPE] = "device_type",
		[NEST_FDT_REG] = "reg",
		[NEST_FDT_ADDRESS_CELLS] = "#address-cells",
		[NEST_FDT_SIZE_CELLS] = "#size-cells",
		[NEST_FDT_RANGES] = "ranges",
	};
	const struct fdt_property *p = fdt_offset_ptr(c->fdt, offset, sizeof(*p));

	for (unsigned i = 0; p && i < NEST_FDT_PROPS; i++) {
		if (c->prop[i] < 0 && is_named(c->fdt, p, names[i]))
			c->prop[i] = offset;
	}
}

/* Cells of addresses (at least one) or sizes, or what they are where no property says; -1. */
static int16_t cells(const struct nest_fdt_cursor *c, enum nest_fdt_prop prop, uint32_t least,
		     int16_t missing)
{
	const fdt32_t *value;
	int len;

	if (c->prop[prop] < 0)
		return missing;
	value = fdt_getprop_by_offset(c->fdt, c->prop[prop], NULL, &len);
	if (!value || len != 4 || fdt32_ld(value) < least || fdt32_ld(value) > FDT_MAX_NCELLS)
		return -1;
	return (int16_t)fdt32_ld(value);
}

/* Into the next node; its properties come next. */
static int enter_node(struct nest_fdt_cursor *c)
{
	for (;;) {
		c->node = c->next;
		switch (fdt_next_tag(c->fdt, c->node, &c->next)) {
		case FDT_BEGIN_NODE:
			c->depth++;
			return c->depth < NEST_FDT_DEPTH ? NEST_OK : NEST_E_INVAL;
		case FDT_END_NODE:
			c->depth--;
			if (c->depth < 0)
				return NEST_E_NOTMAPPED;
			break;
		case FDT_END:
			return NEST_E_NOTMAPPED;
		default:
			break;
		}
	}
}

static void read_properties(struct nest_fdt_cursor *c)
{
	struct nest_fdt_bus *bus = &c->path[c->depth];

	for (unsigned i = 0; i < NEST_FDT_PROPS; i++)
		c->prop[i] = -1;
	for (;;) {
		int next;
		uint32_t tag = fdt_next_tag(c->fdt, c->next, &next);

		if (tag == FDT_PROP)
			note_property(c, c->next);
		else if (tag != FDT_NOP)
			break;
		c->next = next;
	}
	bus->ranges = c->prop[NEST_FDT_RANGES];
	bus->address = cells(c, NEST_FDT_ADDRESS_CELLS, 1, 2);
	bus->size = cells(c, NEST_FDT_SIZE_CELLS, 0, 1);
}

/* Which child of the root has been entered? */
static void read_name(struct nest_fdt_cursor *c)
{
	int len;
	const char *name = fdt_get_name(c->fdt, c->node, &len);

	c->in_reserved_memory = name && fdt_stringlist_contains(name, len + 1, "reserved-memory");
	c->in_cpus = name && fdt_stringlist_contains(name, len + 1, "cpus");
}

static bool is_enabled(const struct nest_fdt_cursor *c)
{
	return c->prop[NEST_FDT_STATUS] < 0 || has_string(c, NEST_FDT_STATUS, "okay") ||
	       has_string(c, NEST_FDT_STATUS, "ok");
}

/* To the next node that is enabled, with all above it. NEST_E_NOTMAPPED: that was the last. */
int nest_fdt_next(struct nest_fdt_cursor *c)
{
	int off_below = NEST_FDT_DEPTH, err;

	do {
		err = enter_node(c);
		if (err)
			return err;
		read_properties(c);
		if (c->depth == 1)
			read_name(c);
		if (c->depth <= off_below)
			off_below = is_enabled(c) ? NEST_FDT_DEPTH : c->depth;
	} while (off_below < NEST_FDT_DEPTH);
	return NEST_OK;
}

bool nest_fdt_is_memory(const struct nest_fdt_cursor *c)
{
	return c->depth == 1 && has_string(c, NEST_FDT_DEVICE_TYPE, "memory");
}

bool nest_fdt_is_reserved(const struct nest_fdt_cursor *c)
{
	return c->depth == 2 && c->in_reserved_memory;
}

/* ---- Addresses ---- */

enum { RESERVED_RANGES = 32 };

/* NEST_E_UNSUPPORTED: no plain numbers, as on a PCI bus, or (size) of a bus without memory. */
static int read_list(const struct nest_fdt_cursor *c, int prop, struct nest_fdt_list *l)
{
	int len = 0, entry = 0;

	l->count = 0;
	l->cell = prop < 0 ? NULL : fdt_getprop_by_offset(c->fdt, prop, NULL, &len);
	for (int i = 0; i < 3; i++) {
		if (l->width[i] < 0)
			return NEST_E_INVAL;
		entry += l->width[i] * 4;
	}
	if (!l->cell)
		return NEST_OK;
	if (l->width[0] > 2 || l->width[1] > 2 || l->width[2] > 2 || !l->width[2])
		return NEST_E_UNSUPPORTED;
	if (len % entry)
		return NEST_E_INVAL;
	l->count = len / entry;
	return NEST_OK;
}

static uint64_t number(const struct nest_fdt_list *l, int entry, int field)
{
	int at = entry * (l->width[0] + l->width[1] + l->width[2]);
	uint64_t value = 0;

	for (int i = 0; i < field; i++)
		at += l->width[i];
	for (int i = 0; i < l->width[field]; i++)
		value = value << 32 | fdt32_ld(&l->cell[at + i]);
	return value;
}

int nest_fdt_reg(const struct nest_fdt_cursor *c, struct nest_fdt_list *l)
{
	const struct nest_fdt_bus *bus = &c->path[c->depth - 1];

	l->width[0] = 0;
	l->width[1] = bus->address;
	l->width[2] = bus->size;
	return read_list(c, c->prop[NEST_FDT_REG], l);
}

static bool wraps(const struct nest_range *r)
{
	return r->base + (r->size - 1) < r->base;
}

/* From the addresses of the bus at path[depth] to those of the one above; no ranges: none are. */
static int translate(const struct nest_fdt_cursor *c, int depth, struct nest_range *r)
{
	const struct nest_fdt_bus *bus = &c->path[depth];
	struct nest_fdt_list l = { .width = { bus->address, c->path[depth - 1].address,
					      bus->size } };
	int err = read_list(c, bus->ranges, &l);

	if (err || !l.cell)
		return err ? err : NEST_E_UNSUPPORTED;
	/* It should be empty. A long list would be gone through for each reservation. */
	if (nest_fdt_is_reserved(c) && l.count > RESERVED_RANGES)
		return NEST_E_INVAL;
	for (int i = 0; i < l.count; i++) {
		uint64_t base = number(&l, i, 0), size = number(&l, i, 2);

		if (r->base < base || r->size > size || r->base - base > size - r->size)
			continue;
		r->base += number(&l, i, 1) - base;
		return wraps(r) ? NEST_E_RANGE : NEST_OK;
	}
	return l.count ? NEST_E_UNSUPPORTED : NEST_OK;
}

/*
 * Range `i` of a node's reg as the CPU sees it. NEST_E_UNSUPPORTED: the CPU does not see it. Memory
 * is reserved whether /reserved-memory says how to see it or not.
 */
int nest_fdt_reg_range(const struct nest_fdt_cursor *c, const struct nest_fdt_list *reg, int i,
		       struct nest_range *out)
{
	int err = NEST_OK;

	out->base = number(reg, i, 1);
	out->size = number(reg, i, 2);
	if (out->size && wraps(out))
		return NEST_E_RANGE;
	if (nest_fdt_is_reserved(c) && c->path[1].ranges < 0)
		return NEST_OK;
	for (int bus = c->depth - 1; bus > 0 && out->size && !err; bus--)
		err = translate(c, bus, out);
	return err;
}

/* ---- CPUs ---- */

/* NEST_E_NOTMAPPED: no mmu-type. */
static int mmu_bits(const void *fdt, int cpu, unsigned *bits)
{
	static const struct {
		char type[12];
		uint8_t bits;
	} types[] = { { "riscv,sv39", 39 }, { "riscv,sv48", 48 }, { "riscv,sv57", 57 } };

	if (!fdt_getprop(fdt, cpu, "mmu-type", NULL))
		return NEST_E_NOTMAPPED;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!nest_fdt_has_string(fdt, cpu, "mmu-type", types[i].type))
			continue;
		*bits = types[i].bits;
		return NEST_OK;
	}
	return NEST_E_UNSUPPORTED;
}

int nest_fdt_riscv_mmu(const void *fdt)
{
	struct nest_fdt_cursor c = nest_fdt_start(fdt);
	unsigned smallest = 64, bits;
	int err;

	if (nest_fdt_check_whole(fdt))
		return NEST_E_INVAL;
	while (!(err = nest_fdt_next(&c))) {
		if (c.depth != 2 || !c.in_cpus || !has_string(&c, NEST_FDT_DEVICE_TYPE, "cpu"))
			continue;
		err = mmu_bits(fdt, c.node, &bits);
		if (err == NEST_E_UNSUPPORTED)
			return err;
		if (!err && bits < smallest)
			smallest = bits;
	}
	return err == NEST_E_NOTMAPPED && smallest < 64 ? (int)smallest : err;
}
