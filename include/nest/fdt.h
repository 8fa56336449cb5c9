/* SPDX-License-Identifier: MIT */
/*
 * Device trees: what memory a machine has, and what a guest is told. The only header that needs
 * libfdt; the application brings it.
 *
 * A tree that is malformed, older than version 16, deeper than 32 nodes or not 8-byte aligned is
 * NEST_E_INVAL. As many bytes may be read as its header says: call nest_fdt_check() first on bytes
 * from elsewhere. Nodes whose status is neither "okay" nor "ok" are passed over, with all below
 * them.
 */
#ifndef NEST_FDT_H
#define NEST_FDT_H

#include <nest/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Is this a tree that the other functions can read, within fdt_len bytes? Any bytes will do.
 * NEST_E_INVAL: no, or NULL.
 */
int nest_fdt_check(const void *fdt, size_t fdt_len);

/*
 * RAM of the machine less its reservations: /memreserve/ entries and /reserved-memory nodes
 * (static ones, whatever their no-map). Sorted, disjoint, not adjacent, shrunk to whole `align`
 * (a power of two) pages. *count: in, the room in `out`; out, how many were written, also on an
 * error. The rest of `out` is written to, too: ranges are sorted there. NEST_E_NOMEM: not enough
 * room for the result; NEST_E_NOTMAPPED: no memory node; NEST_E_INVAL: malformed (addresses or
 * sizes of other than one or two cells, too, or more than 32 `ranges` of /reserved-memory), NULL,
 * align; NEST_E_RANGE: a range wraps, or there are 2^64 bytes.
 *
 * Cost: one walk over the tree and a sort, if `out` has room for four times the ranges of memory
 * and four times the reservations. With less room the tree is walked again for each part that can
 * be sorted: at most 2 + N / 32 times for N ranges and reservations, and in practice a few times
 * where the room is that of the result. A walk takes time in proportion to the tree's bytes. About
 * 2 KiB of stack are needed.
 */
int nest_fdt_memory(const void *fdt, uint64_t align, struct nest_range *out, unsigned *count);

enum nest_fdt_action {
	NEST_FDT_SKIP,   /* leave it out */
	NEST_FDT_DEVICE, /* pass the device through at its own address */
	NEST_FDT_MMIO    /* emulate it */
};

/* How a VM is made from a tree. */
struct nest_fdt_policy {
	/*
	 * Backing of each RAM range: fixed memory one to one with the guest (get NULL, hpa ignored)
	 * or a provider.
	 */
	struct nest_backing ram;
	uint32_t ram_flags;
	/*
	 * Asked for each `reg` range, as the CPU sees it, of each node with a compatible string
	 * (the first is told), memory and reservations aside. A range that no `ranges` of the buses
	 * above brings to the CPU is left out. node: offset in fdt. *attr may be changed (NEST_R |
	 * NEST_W | NEST_MT_DEVICE before); *cookie is for MMIO. NULL: everything is skipped.
	 */
	enum nest_fdt_action (*device)(void *ctx, const void *fdt, int node, const char *compatible,
				       const struct nest_range *reg, nest_attr_t *attr,
				       void **cookie);
	void *ctx;
};

/*
 * Build the layout of an empty VM from a tree: RAM less reservations, and the devices that the
 * policy picks, widened to whole pages; ranges that share a page and are wanted alike are one
 * region. On an error the VM is empty again. Errors of nest_fdt_memory and nest_vm_add_*;
 * NEST_E_MAPPED when the VM was not empty; NEST_E_INVAL: NULL, or an action that is none.
 *
 * Cost: RAM as for nest_fdt_memory(), with the free regions of the VM as its room; for each range
 * of a device, a look at the `ranges` of the buses above it, and a place among the regions.
 */
int nest_vm_from_fdt(struct nest_vm *vm, const void *fdt, const struct nest_fdt_policy *policy);

/*
 * Write the VM's RAM regions into a guest's tree as memory nodes (one a region), removing the
 * memory nodes it has. The tree must have been opened with room (fdt_open_into). On an error it is
 * unchanged. NEST_E_NOMEM: no room left; NEST_E_RANGE: an address does not fit the root's
 * #address-cells or #size-cells; NEST_E_INVAL: NULL, malformed, not opened, or another node has the
 * name.
 */
int nest_fdt_add_memory(void *fdt, const struct nest_vm *vm);

/*
 * First-stage input address bits of the "mmu-type" of a RISC-V tree's cpu nodes: the smallest of
 * 39, 48 and 57 is returned. The G-stage has two more. NEST_E_UNSUPPORTED: one has riscv,none, sv32
 * or another; NEST_E_NOTMAPPED: no cpu node says; NEST_E_INVAL: malformed, NULL.
 */
int nest_fdt_riscv_mmu(const void *fdt);

#ifdef __cplusplus
}
#endif
#endif
