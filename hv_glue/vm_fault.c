/* SPDX-License-Identifier: MIT */
/*
 * Second-stage faults, and RAM that comes with the first touch.
 *
 * The table decides before the region does: what is mapped with the right that was asked for is
 * never mapped again, since another CPU may have been first and its frame holds the guest's data.
 * With NEST_PT_SHARED faults run on many CPUs at once: a block is then mapped by one store, and who
 * comes second gives its frame back.
 */
#include "hv_glue/vm_internal.h"

/* The largest page or contiguous group of at most `limit` bytes; 0: none. */
static uint64_t page_size_below(const struct nest_vm *vm, uint64_t limit)
{
	uint64_t best = 0;

	for (unsigned l = 0; l < nest_pt_levels(&vm->pt) && (vm->info.leaf_levels >> l & 1); l++) {
		uint64_t page = (uint64_t)1 << nest_pt_shift(&vm->pt, l);

		if (page <= limit)
			best = page;
		if (page << vm->info.contig_shift[l] <= limit)
			best = page << vm->info.contig_shift[l];
	}
	return best;
}

static bool fits(const struct nest_vm *vm, const struct nest_vm_region *r,
		 const struct nest_range *block)
{
	struct nest_range found;
	struct nest_mapping m;

	if (block->base < r->gpa || block->base + (block->size - 1) > nest_vm_region_last(r))
		return false;
	if (!r->backing.get && ((r->backing.hpa + (block->base - r->gpa)) & (block->size - 1)))
		return false;
	/* With others at work, only what one entry holds comes whole or not at all. */
	if (nest_vm_is_shared(vm) &&
	    (nest_pt_query(&vm->pt, block->base, &m) != NEST_E_NOTMAPPED || m.size < block->size))
		return false;
	return !nest_vm_is_mapped(vm, block->base, block->size, &found);
}

static nest_attr_t status_after(const struct nest_vm *vm, nest_attr_t access)
{
	nest_attr_t status = access ? NEST_ACCESSED : 0;

	if (access & NEST_W)
		status |= NEST_DIRTY;
	return status & vm->tracked;
}

int nest_vm_populate(struct nest_vm *vm, const struct nest_vm_region *r, nest_ia_t gpa,
		     nest_attr_t access, struct nest_range *block)
{
	const struct nest_backing *b = &r->backing;
	uint64_t smallest = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);
	uint64_t limit = b->get ? b->max_size : r->size;

	if (limit < smallest)
		limit = smallest;
	for (; (block->size = page_size_below(vm, limit)) != 0; limit = block->size - 1) {
		nest_pa_t pa;
		int err;

		block->base = gpa & ~(block->size - 1);
		if (!fits(vm, r, block))
			continue;
		pa = b->get ? b->get(b->ctx, block->base, block->size)
			    : b->hpa + (block->base - r->gpa);
		if (pa == NEST_PA_NONE)
			continue;
		err = nest_pt_map(&vm->pt, block->base, pa, block->size,
				  r->attr | status_after(vm, access), 0, NULL);
		if (err && b->get && b->put)
			b->put(b->ctx, block->base, pa, block->size);
		return err;
	}
	/* No size fits where another CPU has mapped the page meanwhile. */
	return nest_vm_is_mapped(vm, gpa & ~(smallest - 1), smallest, block) ? NEST_E_MAPPED
									     : NEST_E_NOMEM;
}

int nest_vm_touch(struct nest_vm *vm, nest_ia_t gpa, const struct nest_mapping *m,
		  nest_attr_t access)
{
	nest_attr_t missing = status_after(vm, access) & ~m->attr;

	if (!missing)
		return NEST_OK;
	return nest_pt_protect(&vm->pt, gpa & ~(m->size - 1), m->size, missing, 0, 0, NULL);
}

/*
 * The page is there with the right: its status bits were clear, another CPU was first, or this
 * one's TLB holds what was there before.
 */
static int refresh(struct nest_vm *vm, const struct nest_fault *fault, const struct nest_mapping *m,
		   nest_attr_t access)
{
	struct nest_flush stale = { .ia = fault->gpa & ~(m->size - 1),
				    .size = m->size,
				    .level_mask = 1u << m->level,
				    .leaf_only = true,
				    .vmid = vm->pt.vmid };

	if (fault->kind != NEST_FAULT_TRANSLATION || vm->info.fresh_needs_flush)
		vm->outer->tlb_flush(vm->outer_ctx, &stale);
	return nest_vm_touch(vm, fault->gpa, m, access);
}

/* What no table entry can mend. */
static int hopeless(const struct nest_vm *vm, const struct nest_fault *fault)
{
	switch (fault->kind) {
	case NEST_FAULT_TRANSLATION:
	case NEST_FAULT_PERMISSION:
	case NEST_FAULT_ACCESS_FLAG:
		return fault->gpa >> vm->pt.ia_bits ? NEST_E_RANGE : NEST_OK;
	case NEST_FAULT_ADDRESS_SIZE:
		return NEST_E_RANGE;
	default:
		return NEST_E_UNSUPPORTED;
	}
}

/*
 * In shared mode another CPU may have mapped the page meanwhile, or be about to: the guest tries
 * again and finds out.
 */
static int settled(const struct nest_vm *vm, int err)
{
	const bool race = err == NEST_E_BUSY || err == NEST_E_MAPPED || err == NEST_E_NOTMAPPED;

	return race && nest_vm_is_shared(vm) ? NEST_OK : err;
}

/* A fault that a table entry may mend: the kind of exit, or ERROR with *status set. */
static enum nest_exit_kind handle(struct nest_vm *vm, const struct nest_fault *fault,
				  const struct nest_vm_region *r, int *status)
{
	nest_attr_t access = fault->access & NEST_RWX, need = access;
	struct nest_range block;
	struct nest_mapping m;
	int err = nest_pt_query(&vm->pt, fault->gpa, &m);
	bool present = err == NEST_OK;

	if (err == NEST_E_BUSY)
		return NEST_EXIT_RESUME;
	if (access & NEST_X)
		need |= nest_vm_exec(vm);
	if (present && !(need & ~m.attr)) {
		*status = settled(vm, refresh(vm, fault, &m, access));
		return *status ? NEST_EXIT_ERROR : NEST_EXIT_RESUME;
	}
	if (r && r->type == NEST_REGION_MMIO)
		return NEST_EXIT_MMIO;
	if (r && r->type == NEST_REGION_ROM && (access & NEST_W))
		return NEST_EXIT_ROM_WRITE;
	if (!r && !present)
		return NEST_EXIT_UNMAPPED;
	*status = NEST_E_DENIED;
	if (!present && r->type != NEST_REGION_DEVICE && !(need & ~r->attr))
		*status = settled(vm, nest_vm_populate(vm, r, fault->gpa, access, &block));
	return *status ? NEST_EXIT_ERROR : NEST_EXIT_RESUME;
}

int nest_vm_fault(struct nest_vm *vm, const struct nest_fault *fault, struct nest_exit *out)
{
	const struct nest_vm_region *r;

	if (!nest_vm_is_live(vm) || !fault || !out)
		return NEST_E_INVAL;
	r = nest_vm_region_at(vm, fault->gpa);
	*out = (struct nest_exit){
		.kind = NEST_EXIT_ERROR, .gpa = fault->gpa, .access = fault->access, .region = r
	};
	if (r) {
		out->offset = fault->gpa - r->gpa;
		out->cookie = r->cookie;
	}
	out->status = hopeless(vm, fault);
	if (!out->status)
		out->kind = handle(vm, fault, r, &out->status);
	return NEST_OK;
}
