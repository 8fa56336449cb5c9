/* SPDX-License-Identifier: MIT */
/*
 * What the files of hv_glue/ share.
 *
 * The nest_pt of a VM has the VM as its host's context, so that no map, by whatever call, gets past
 * the protected ranges; a mapping of the library's own lies within one region.
 */
#ifndef NEST_HV_GLUE_VM_INTERNAL_H
#define NEST_HV_GLUE_VM_INTERNAL_H

#include <nest/vm.h>

/* Has init succeeded and destroy not been called? */
bool nest_vm_is_live(const struct nest_vm *vm);
/* May faults come on many CPUs at once? */
static inline bool nest_vm_is_shared(const struct nest_vm *vm)
{
	return (vm->pt.flags & NEST_PT_SHARED) != 0;
}
/* Index of the first region that does not end before gpa. */
unsigned nest_vm_index(const struct nest_vm *vm, nest_ia_t gpa);
/* NEST_E_ALIGN and NEST_E_RANGE for a range of guest pages. */
int nest_vm_check_range(const struct nest_vm *vm, nest_ia_t gpa, uint64_t size);
/* May the host memory be mapped? Remembers why not. */
bool nest_vm_allow(struct nest_vm *vm, nest_pa_t pa, uint64_t size, nest_attr_t attr);
/*
 * The first page in [gpa, gpa + size) that is mapped or (flags: NEST_WALK_MARKS) marked. NEST_OK:
 * *found is it; NEST_E_NOTMAPPED: there is none; NEST_E_BUSY.
 */
int nest_vm_find(const struct nest_vm *vm, nest_ia_t gpa, uint64_t size, uint32_t flags,
		 struct nest_mapping *found);
/* Where the CPU that runs the library reaches physical memory. */
void *nest_vm_host_ptr(const struct nest_vm *vm, nest_pa_t pa);

static inline nest_ia_t nest_vm_region_last(const struct nest_vm_region *r)
{
	return r->gpa + (r->size - 1);
}

/* What it takes to execute in either mode of the guest. */
static inline nest_attr_t nest_vm_exec(const struct nest_vm *vm)
{
	return vm->pt.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX) ? NEST_X | NEST_XU : NEST_X;
}

/* A page gets the right to execute with the guest's first fetch (NEST_VM_EXEC_SMALL). */
#define NEST_VM_LATE_EXEC NEST_SW0

/*
 * Map the page of RAM at gpa, where nothing is mapped, in the largest block that the region's
 * backing gives, as if `access` had been made. *block is what was mapped. NEST_E_NOMEM: no frame or
 * table; NEST_E_ALIGN, NEST_E_RANGE: the provider's frame is no good; NEST_E_DENIED: a protected
 * frame; NEST_E_MAPPED: the page has a mapping or a mark; NEST_E_BUSY. The provider has got its
 * frame back then.
 */
int nest_vm_populate(struct nest_vm *vm, const struct nest_vm_region *r, nest_ia_t gpa,
		     nest_attr_t access, struct nest_range *block);
/* Unmap a part of one region, and give the provider its frames back after the flush. */
int nest_vm_release(struct nest_vm *vm, const struct nest_vm_region *r, nest_ia_t gpa,
		    uint64_t size);
/* Set the accessed and dirty status that `access` leaves in the page, where it is tracked. */
int nest_vm_touch(struct nest_vm *vm, nest_ia_t gpa, const struct nest_mapping *m,
		  nest_attr_t access);

#endif
