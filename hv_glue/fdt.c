/* SPDX-License-Identifier: MIT */
/*
 * Reading a device tree, by libfdt: the memory that a machine has, and how its CPUs translate.
 *
 * No function reads a tree that fdt_check_full() has not accepted, and none assumes more of one
 * than that: depth, cells and lengths are checked where they are used. Nothing is allocated: what
 * has to be sorted is found in order by scanning again.
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

static bool is_enabled(const void *fdt, int node)
{
	return !fdt_getprop(fdt, node, "status", NULL) ||
	       nest_fdt_has_string(fdt, node, "status", "okay") ||
	       nest_fdt_has_string(fdt, node, "status", "ok");
}

/* To the next node that is enabled, with all above it. NEST_E_NOTMAPPED: that was the last. */
int nest_fdt_next(struct nest_fdt_cursor *c)
{
	int off_below = NEST_FDT_DEPTH;

	do {
		c->node = fdt_next_node(c->fdt, c->node, &c->depth);
		if (c->node < 0 || c->depth < 0)
			return NEST_E_NOTMAPPED;
		if (c->depth >= NEST_FDT_DEPTH)
			return NEST_E_INVAL;
		c->path[c->depth] = c->node;
		if (c->depth <= off_below)
			off_below = is_enabled(c->fdt, c->node) ? NEST_FDT_DEPTH : c->depth;
	} while (off_below < NEST_FDT_DEPTH);
	return NEST_OK;
}

bool nest_fdt_is_memory(const struct nest_fdt_cursor *c)
{
	return c->depth == 1 && nest_fdt_has_string(c->fdt, c->node, "device_type", "memory");
}

/* A child of the root's child of that name. */
static bool is_in(const struct nest_fdt_cursor *c, const char *parent)
{
	const char *name;
	int len;

	if (c->depth != 2)
		return false;
	name = fdt_get_name(c->fdt, c->path[1], &len);
	return name && fdt_stringlist_contains(name, len + 1, parent);
}

bool nest_fdt_is_reserved(const struct nest_fdt_cursor *c)
{
	return is_in(c, "reserved-memory");
}

/* ---- Addresses ---- */

/* NEST_E_UNSUPPORTED: no plain numbers, as on a PCI bus, or (size) of a bus without memory. */
static int read_list(const struct nest_fdt_cursor *c, int node, const char *name,
		     struct nest_fdt_list *l)
{
	int len, entry = 0;

	l->count = 0;
	l->cell = fdt_getprop(c->fdt, node, name, &len);
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
	int bus = c->path[c->depth - 1];

	l->width[0] = 0;
	l->width[1] = fdt_address_cells(c->fdt, bus);
	l->width[2] = fdt_size_cells(c->fdt, bus);
	return read_list(c, c->node, "reg", l);
}

static bool wraps(const struct nest_range *r)
{
	return r->base + (r->size - 1) < r->base;
}

/* From the addresses of the bus at path[depth] to those of the one above; no ranges: none are. */
static int translate(const struct nest_fdt_cursor *c, int depth, struct nest_range *r)
{
	struct nest_fdt_list l = { .width = { fdt_address_cells(c->fdt, c->path[depth]),
					      fdt_address_cells(c->fdt, c->path[depth - 1]),
					      fdt_size_cells(c->fdt, c->path[depth]) } };
	int err = read_list(c, c->path[depth], "ranges", &l);

	if (err || !l.cell)
		return err ? err : NEST_E_UNSUPPORTED;
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
	if (nest_fdt_is_reserved(c) && !fdt_getprop(c->fdt, c->path[1], "ranges", NULL))
		return NEST_OK;
	for (int bus = c->depth - 1; bus > 0 && out->size && !err; bus--)
		err = translate(c, bus, out);
	return err;
}

/* ---- Memory ---- */

/* Goes over the ranges of memory nodes, or of what is reserved. */
struct scan {
	struct nest_fdt_cursor at;
	struct nest_fdt_list reg;
	bool reserved, more_rsv;
	int next_reg, next_rsv;
};

static int next_range(struct scan *s, struct nest_range *out)
{
	int err;

	/* The list ends with an entry of size 0. */
	if (s->more_rsv && !fdt_get_mem_rsv(s->at.fdt, s->next_rsv, &out->base, &out->size) &&
	    out->size) {
		s->next_rsv++;
		return wraps(out) ? NEST_E_RANGE : NEST_OK;
	}
	s->more_rsv = false;
	while (s->next_reg == s->reg.count) {
		err = nest_fdt_next(&s->at);
		if (err)
			return err;
		if (s->reserved ? !nest_fdt_is_reserved(&s->at) : !nest_fdt_is_memory(&s->at))
			continue;
		s->next_reg = 0;
		err = nest_fdt_reg(&s->at, &s->reg);
		if (err)
			return NEST_E_INVAL;
	}
	err = nest_fdt_reg_range(&s->at, &s->reg, s->next_reg++, out);
	return err == NEST_E_UNSUPPORTED ? NEST_E_INVAL : err;
}

static struct scan scan_of(const void *fdt, bool reserved)
{
	return (struct scan){ .at = nest_fdt_start(fdt),
			      .reserved = reserved,
			      .more_rsv = reserved };
}

/* Both ends inclusive. */
struct span {
	uint64_t first, last;
};

/* The first run of memory at or above `from`: where it begins, and as far as it goes on. */
static int find_ram(const void *fdt, uint64_t from, struct span *out)
{
	bool found = false, grown;
	struct nest_range r;
	int err;

	do {
		struct scan s = scan_of(fdt, false);

		grown = false;
		while (!(err = next_range(&s, &r))) {
			struct span ram = { r.base, r.base + (r.size - 1) };

			if (!r.size || ram.last < from)
				continue;
			if (ram.first < from)
				ram.first = from;
			if (!found || ram.first < out->first) {
				*out = ram;
				found = grown = true;
			} else if (ram.last > out->last && ram.first <= out->last + 1) {
				out->last = ram.last;
				grown = true;
			}
		}
	} while (grown && err == NEST_E_NOTMAPPED);
	return found && err == NEST_E_NOTMAPPED ? NEST_OK : err;
}

/* Cut from run the reservation at its beginning, or what the first one leaves. */
static int cut_reserved(const void *fdt, struct span *run, bool *all)
{
	struct scan s = scan_of(fdt, true);
	struct nest_range r;
	int err;

	*all = false;
	while (!(err = next_range(&s, &r))) {
		uint64_t last = r.base + (r.size - 1);

		if (!r.size || r.base > run->last || last < run->first)
			continue;
		if (r.base > run->first) {
			run->last = r.base - 1;
			continue;
		}
		*all = true;
		run->last = last;
	}
	return err == NEST_E_NOTMAPPED ? NEST_OK : err;
}

/*
 * The next free memory at or above *from, in whole aligned pages, and *from past it; size 0: none.
 */
int nest_fdt_next_free(const void *fdt, uint64_t align, uint64_t *from, bool *more,
		       struct nest_range *out)
{
	out->size = 0;
	while (*more && !out->size) {
		struct span run = { 0, 0 };
		bool reserved;
		int err = find_ram(fdt, *from, &run);

		*more = err != NEST_E_NOTMAPPED;
		if (!*more)
			break;
		if (!err)
			err = cut_reserved(fdt, &run, &reserved);
		if (err)
			return err;
		*from = run.last + 1;
		*more = *from != 0;
		out->base = (run.first + (align - 1)) & ~(align - 1);
		if (reserved || out->base < run.first || out->base > run.last)
			continue;
		out->size = run.last - out->base + 1;
		if (!out->size)
			return NEST_E_RANGE;
		out->size &= ~(align - 1);
	}
	return NEST_OK;
}

int nest_fdt_has_memory(const void *fdt)
{
	struct scan s = scan_of(fdt, false);
	struct nest_range r;

	return next_range(&s, &r);
}

int nest_fdt_memory(const void *fdt, uint64_t align, struct nest_range *out, unsigned *count)
{
	unsigned room = count ? *count : 0;
	struct nest_range r;
	uint64_t from = 0;
	bool more = true;
	int err;

	if (!count)
		return NEST_E_INVAL;
	*count = 0;
	if ((room && !out) || !align || (align & (align - 1)))
		return NEST_E_INVAL;
	err = nest_fdt_check_whole(fdt);
	if (!err)
		err = nest_fdt_has_memory(fdt);
	while (!err && more) {
		err = nest_fdt_next_free(fdt, align, &from, &more, &r);
		if (err || !r.size)
			break;
		if (*count == room)
			return NEST_E_NOMEM;
		out[(*count)++] = r;
	}
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
		if (!is_in(&c, "cpus") || !nest_fdt_has_string(fdt, c.node, "device_type", "cpu"))
			continue;
		err = mmu_bits(fdt, c.node, &bits);
		if (err == NEST_E_UNSUPPORTED)
			return err;
		if (!err && bits < smallest)
			smallest = bits;
	}
	return err == NEST_E_NOTMAPPED && smallest < 64 ? (int)smallest : err;
}
