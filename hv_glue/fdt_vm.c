/* SPDX-License-Identifier: MIT */
/*
 * A VM's layout from a device tree, and a guest's memory nodes from a VM.
 *
 * A guest's tree is written to only after every error has been ruled out.
 */
#include <libfdt.h>

#include <nest/fdt.h>

#include "hv_glue/fdt_internal.h"
#include "hv_glue/vm_internal.h"

/* ---- A VM's layout ---- */

/* The regions that are not there yet are room to sort in. */
static int add_ram(struct nest_vm *vm, const void *fdt, const struct nest_fdt_policy *policy)
{
	struct nest_backing ram = policy->ram;
	struct nest_fdt_sweep s;
	struct nest_range r;
	int err = NEST_OK;

	nest_fdt_sweep_init(&s, fdt, (uint64_t)1 << nest_pt_shift(&vm->pt, 0));
	s.stride = sizeof(*vm->regions);
	while (!err) {
		s.slot = &vm->regions[vm->nr_regions];
		s.room = vm->max_regions - vm->nr_regions;
		err = nest_fdt_next_free(&s, &r);
		if (err || !r.size)
			break;
		ram.hpa = r.base;
		err = nest_vm_add_ram(vm, r.base, r.size, &ram, policy->ram_flags);
	}
	return err;
}

/* What the policy makes of one device. */
struct choice {
	struct nest_range range;
	enum nest_region_type type;
	nest_attr_t attr;
	void *cookie;
};

/* Devices that share a page are one region, if they are wanted alike. */
static int add_device(struct nest_vm *vm, const struct choice *want)
{
	uint64_t page = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);
	nest_ia_t first = want->range.base & ~(page - 1);
	nest_ia_t last = (want->range.base + (want->range.size - 1)) | (page - 1);
	unsigned i;
	int err;

	while ((i = nest_vm_index(vm, first)) < vm->nr_regions && vm->regions[i].gpa <= last) {
		const struct nest_vm_region *r = &vm->regions[i];
		nest_ia_t r_first = r->gpa, r_last = nest_vm_region_last(r);

		if (r->type != want->type || r->attr != want->attr || r->cookie != want->cookie)
			break;
		if (r_first <= first && r_last >= last)
			return NEST_OK;
		err = nest_vm_remove(vm, r->gpa, r->size, 0);
		if (err)
			return err;
		first = r_first < first ? r_first : first;
		last = r_last > last ? r_last : last;
	}
	if (want->type == NEST_REGION_MMIO)
		return nest_vm_add_mmio(vm, first, last - first + 1, want->cookie);
	return nest_vm_add_device(vm, first, first, last - first + 1, want->attr);
}

static int add_node(struct nest_vm *vm, const struct nest_fdt_cursor *c, const char *compatible,
		    const struct nest_fdt_policy *policy)
{
	struct nest_fdt_list reg;
	int err = nest_fdt_reg(c, &reg);

	if (err)
		return err == NEST_E_UNSUPPORTED ? NEST_OK : err;
	for (int i = 0; i < reg.count && !err; i++) {
		struct choice want = { .attr = NEST_R | NEST_W | NEST_MT_DEVICE };
		int seen = nest_fdt_reg_range(c, &reg, i, &want.range);

		if (seen == NEST_E_UNSUPPORTED || !want.range.size)
			continue;
		if (seen)
			return seen;
		switch (policy->device(policy->ctx, c->fdt, c->node, compatible, &want.range,
				       &want.attr, &want.cookie)) {
		case NEST_FDT_SKIP:
			break;
		case NEST_FDT_DEVICE:
			want.type = NEST_REGION_DEVICE;
			want.cookie = NULL;
			err = add_device(vm, &want);
			break;
		case NEST_FDT_MMIO:
			want.type = NEST_REGION_MMIO;
			want.attr = 0;
			err = add_device(vm, &want);
			break;
		default:
			err = NEST_E_INVAL;
			break;
		}
	}
	return err;
}

static int add_devices(struct nest_vm *vm, const void *fdt, const struct nest_fdt_policy *policy)
{
	struct nest_fdt_cursor c = nest_fdt_start(fdt);
	int err;

	if (!policy->device)
		return NEST_OK;
	while (!(err = nest_fdt_next(&c))) {
		const char *compatible;
		int len;

		compatible = fdt_stringlist_get(fdt, c.node, "compatible", 0, &len);
		if (!c.depth || nest_fdt_is_memory(&c) || nest_fdt_is_reserved(&c) ||
		    len == -FDT_ERR_NOTFOUND)
			continue;
		err = compatible ? add_node(vm, &c, compatible, policy) : NEST_E_INVAL;
		if (err)
			return err;
	}
	return err == NEST_E_NOTMAPPED ? NEST_OK : err;
}

int nest_vm_from_fdt(struct nest_vm *vm, const void *fdt, const struct nest_fdt_policy *policy)
{
	int err = nest_fdt_check_whole(fdt);

	if (!nest_vm_is_live(vm) || !policy)
		return NEST_E_INVAL;
	if (err || vm->nr_regions)
		return err ? err : NEST_E_MAPPED;
	err = add_ram(vm, fdt, policy);
	if (!err)
		err = add_devices(vm, fdt, policy);
	for (unsigned n = vm->nr_regions; err && n > 0; n--)
		(void)nest_vm_remove(vm, vm->regions[n - 1].gpa, vm->regions[n - 1].size, 0);
	return err;
}

/* ---- A guest's memory nodes ---- */

enum { NAME_SIZE = sizeof("memory@") + 16 };

static void memory_name(char name[NAME_SIZE], uint64_t base)
{
	unsigned shift = 60, n = 0;

	for (const char *p = "memory@"; *p; p++)
		name[n++] = *p;
	while (shift && !(base >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		name[n++] = "0123456789abcdef"[base >> shift & 15];
		if (!shift)
			break;
	}
	name[n] = '\0';
}

/* Bytes of the structure block that a node and all in it takes. */
static int node_size(const void *fdt, int node)
{
	int next = node, depth = 0;

	do {
		uint32_t tag = fdt_next_tag(fdt, next, &next);

		depth += (tag == FDT_BEGIN_NODE) - (tag == FDT_END_NODE);
	} while (depth > 0);
	return next - node;
}

static int first_memory_node(const void *fdt)
{
	int node = fdt_first_subnode(fdt, 0);

	while (node >= 0 && !nest_fdt_has_string(fdt, node, "device_type", "memory"))
		node = fdt_next_subnode(fdt, node);
	return node;
}

/* How the root writes addresses and sizes. */
struct cells {
	int address, size;
};

static bool has_cells(uint64_t value, int cells)
{
	return cells >= 2 || !(value >> (32 * cells));
}

static void put_number(fdt32_t **at, uint64_t value, int cells)
{
	for (int i = cells - 1; i >= 0; i--)
		fdt32_st((*at)++, i > 1 ? 0 : (uint32_t)(value >> (32 * i)));
}

/* Can the node be written, and how many bytes does it need? */
static int check_memory_node(const void *fdt, const struct nest_vm_region *r,
			     const struct cells *cells, uint64_t *need)
{
	char name[NAME_SIZE];
	int node;

	if (!has_cells(r->gpa, cells->address) || !has_cells(r->size, cells->size))
		return NEST_E_RANGE;
	memory_name(name, r->gpa);
	node = fdt_subnode_offset(fdt, 0, name);
	if (node >= 0 && !nest_fdt_has_string(fdt, node, "device_type", "memory"))
		return NEST_E_INVAL;
	/* Begin, name and end; two properties, of 8 bytes and of the cells. */
	*need += 4 + ((NAME_SIZE + 3) & ~3) + 4 + 12 + 8 + 12;
	*need += 4 * (uint64_t)(cells->address + cells->size);
	return NEST_OK;
}

static int add_memory_node(void *fdt, const struct nest_vm_region *r, const struct cells *cells)
{
	fdt32_t reg[2 * FDT_MAX_NCELLS], *end = reg;
	char name[NAME_SIZE];
	int node;

	memory_name(name, r->gpa);
	node = fdt_add_subnode(fdt, 0, name);
	put_number(&end, r->gpa, cells->address);
	put_number(&end, r->size, cells->size);
	if (node < 0 || fdt_setprop(fdt, node, "reg", reg, (int)(end - reg) * 4) ||
	    fdt_setprop(fdt, node, "device_type", "memory", sizeof("memory")))
		return NEST_E_INVAL;
	return NEST_OK;
}

/* Room for every new node, with that of the old ones, and for the names of the properties. */
static int check_room(const void *fdt, const struct nest_vm *vm, const struct cells *cells)
{
	uint64_t used = (uint64_t)fdt_off_dt_strings(fdt) + fdt_size_dt_strings(fdt);
	uint64_t need = sizeof("device_type") + sizeof("reg");
	int node, err = NEST_OK;

	for (unsigned i = 0; i < vm->nr_regions && !err; i++) {
		if (vm->regions[i].type == NEST_REGION_RAM)
			err = check_memory_node(fdt, &vm->regions[i], cells, &need);
	}
	fdt_for_each_subnode(node, fdt, 0)
	{
		if (nest_fdt_has_string(fdt, node, "device_type", "memory"))
			used -= (unsigned)node_size(fdt, node);
	}
	return err || used + need <= fdt_totalsize(fdt) ? err : NEST_E_NOMEM;
}

int nest_fdt_add_memory(void *fdt, const struct nest_vm *vm)
{
	int err = nest_fdt_check_whole(fdt), node;
	struct cells cells;

	if (err || !nest_vm_is_live(vm))
		return NEST_E_INVAL;
	cells.address = fdt_address_cells(fdt, 0);
	cells.size = fdt_size_cells(fdt, 0);
	/* Deleting what is not there tells whether libfdt would write to this tree. */
	if (cells.address < 0 || cells.size < 0 ||
	    fdt_del_mem_rsv(fdt, fdt_num_mem_rsv(fdt)) != -FDT_ERR_NOTFOUND)
		return NEST_E_INVAL;
	err = check_room(fdt, vm, &cells);
	if (err)
		return err;
	while ((node = first_memory_node(fdt)) >= 0)
		fdt_del_node(fdt, node);
	/* libfdt puts a node in front of those that are there. */
	for (unsigned i = vm->nr_regions; i > 0 && !err; i--) {
		if (vm->regions[i - 1].type == NEST_REGION_RAM)
			err = add_memory_node(fdt, &vm->regions[i - 1], &cells);
	}
	return err;
}
