/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as the VMM reaches it: by the same entries, and with the same rights, as the guest.
 *
 * A region says what may be faulted in; whether a byte may be copied is decided by its mapping.
 */
#include "hv_glue/vm_internal.h"

int nest_vm_translate(const struct nest_vm *vm, nest_ia_t gpa, nest_attr_t access,
		      struct nest_mapping *out)
{
	int err;

	if (!nest_vm_is_live(vm) || !out || (access & ~NEST_RWX))
		return NEST_E_INVAL;
	err = nest_pt_query(&vm->pt, gpa, out);
	if (err)
		return err;
	return access & ~out->attr ? NEST_E_DENIED : NEST_OK;
}

/* The mapping of gpa, faulted in if it is untouched RAM, with its rights checked and status set. */
static int reach(struct nest_vm *vm, nest_ia_t gpa, nest_attr_t access, struct nest_mapping *m)
{
	const struct nest_vm_region *r = nest_vm_region_at(vm, gpa);
	int err = nest_pt_query(&vm->pt, gpa, m);
	struct nest_range block;

	if (r && r->type == NEST_REGION_DEVICE)
		return NEST_E_DENIED;
	/* A page with a mark stays away. */
	if (err == NEST_E_NOTMAPPED && m->kind == NEST_PTE_NONE && r &&
	    r->type != NEST_REGION_MMIO) {
		if (access & ~r->attr)
			return NEST_E_DENIED;
		err = nest_vm_populate(vm, r, gpa, access, &block);
		if (!err)
			err = nest_pt_query(&vm->pt, gpa, m);
	}
	if (err)
		return err;
	if ((access & ~m->attr) || (m->attr & NEST_MT_MASK) != NEST_MT_WB)
		return NEST_E_DENIED;
	return nest_vm_touch(vm, gpa, m, access);
}

/* One of `to` and `from` is set. *done: bytes copied, error or not. */
static int copy(struct nest_vm *vm, nest_ia_t gpa, uint8_t *to, const uint8_t *from, size_t len,
		size_t *done)
{
	*done = 0;
	if (!nest_vm_is_live(vm))
		return NEST_E_INVAL;
	if (!len)
		return NEST_OK;
	if (!to && !from)
		return NEST_E_INVAL;
	if (gpa + (len - 1) < gpa || (gpa + (len - 1)) >> vm->pt.ia_bits)
		return NEST_E_RANGE;
	while (*done < len) {
		struct nest_mapping m;
		int err = reach(vm, gpa + *done, to ? NEST_R : NEST_W, &m);
		uint64_t n;
		void *mem;

		if (err)
			return err;
		n = m.size - ((gpa + *done) & (m.size - 1));
		if (n > len - *done)
			n = len - *done;
		mem = nest_vm_host_ptr(vm, m.pa);
		if (to)
			__builtin_memcpy(&to[*done], mem, (size_t)n);
		else
			__builtin_memcpy(mem, &from[*done], (size_t)n);
		*done += (size_t)n;
	}
	return NEST_OK;
}

int nest_vm_read(struct nest_vm *vm, nest_ia_t gpa, void *buf, size_t len, size_t *copied)
{
	size_t own;

	return copy(vm, gpa, buf, NULL, len, copied ? copied : &own);
}

int nest_vm_write(struct nest_vm *vm, nest_ia_t gpa, const void *buf, size_t len, size_t *copied)
{
	size_t own;

	return copy(vm, gpa, NULL, buf, len, copied ? copied : &own);
}
