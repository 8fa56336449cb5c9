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

/*
 * May one block take all of *block? NEST_E_MAPPED: something in it is mapped or marked, or others
 * may be mapping there; NEST_E_ALIGN: the region is too small, or its memory not aligned;
 * NEST_E_BUSY: that cannot be told at the moment.
 */
static int check_block(const struct nest_vm *vm, const struct nest_vm_region *r,
		       const struct nest_range *block)
{
	struct nest_mapping m;
	int err;

	if (block->base < r->gpa || block->base + (block->size - 1) > nest_vm_region_last(r) ||
	    (!r->backing.get && ((r->backing.hpa + (block->base - r->gpa)) & (block->size - 1))))
		return NEST_E_ALIGN;
	/* With others at work, only what one entry holds comes whole or not at all. */
	if (nest_vm_is_shared(vm)) {
		err = nest_pt_query(&vm->pt, block->base, &m);
		if (err == NEST_E_NOTMAPPED && (m.kind != NEST_PTE_NONE || m.size < block->size))
			err = NEST_OK;
	} else {
		err = nest_vm_find(vm, block->base, block->size, NEST_WALK_MARKS, &m);
	}
	if (err == NEST_E_NOTMAPPED)
		return NEST_OK;
	return err == NEST_OK ? NEST_E_MAPPED : err;
}

static nest_attr_t status_after(const struct nest_vm *vm, nest_attr_t access)
{
	nest_attr_t status = access ? NEST_ACCESSED : 0;

	if (access & NEST_W)
		status |= NEST_DIRTY;
	return status & vm->tracked;
}

/* The attributes of a page of `size` bytes of the region. */
static nest_attr_t attr_of(const struct nest_vm *vm, const struct nest_vm_region *r, uint64_t size)
{
	const nest_attr_t exec = r->attr & nest_vm_exec(vm);
	const bool smallest = size >> nest_pt_shift(&vm->pt, 0) == 1;

	if (!(r->flags & NEST_VM_EXEC_SMALL) || !exec || smallest)
		return r->attr;
	return (r->attr & ~exec) | NEST_VM_LATE_EXEC;
}

/* Map one block: by one store in shared mode, and never over a mark. */
static int map_block(struct nest_vm *vm, const struct nest_vm_region *r,
		     const struct nest_range *block, nest_pa_t pa, nest_attr_t access)
{
	const uint32_t flags = NEST_MAP_KEEP_MARKS | NEST_MAP_ATOMIC;

	if (pa & (block->size - 1))
		return NEST_E_ALIGN;
	return nest_pt_map(&vm->pt, block->base, pa, block->size,
			   attr_of(vm, r, block->size) | status_after(vm, access), flags, NULL);
}

int nest_vm_populate(struct nest_vm *vm, const struct nest_vm_region *r, nest_ia_t gpa,
		     nest_attr_t access, struct nest_range *block)
{
	const struct nest_backing *b = &r->backing;
	uint64_t smallest = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);
	uint64_t limit = b->get ? b->max_size : r->size;
	int err = NEST_E_NOMEM;

	if (limit < smallest || ((r->flags & NEST_VM_EXEC_SMALL) && (access & NEST_X)))
		limit = smallest;
	for (; (block->size = page_size_below(vm, limit)) != 0; limit = block->size - 1) {
		nest_pa_t pa;

		block->base = gpa & ~(block->size - 1);
		err = check_block(vm, r, block);
		if (err == NEST_E_BUSY)
			return err;
		if (err)
			continue;
		pa = b->get ? b->get(b->ctx, block->base, block->size)
			    : b->hpa + (block->base - r->gpa);
		err = NEST_E_NOMEM;
		if (pa == NEST_PA_NONE)
			continue;
		err = map_block(vm, r, block, pa, access);
		if (err && b->get && b->put)
			b->put(b->ctx, block->base, pa, block->size);
		return err;
	}
	return err;
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
				    .vmid = vm->pt.vmid,
				    .pt = &vm->pt };

	if (fault->kind != NEST_FAULT_TRANSLATION || vm->info.fresh_needs_flush)
		vm->outer->tlb_flush(vm->outer_ctx, &stale);
	return nest_vm_touch(vm, fault->gpa, m, access);
}

/* Faults that mapping cannot fix; else NEST_OK. */
static int unfixable_status(const struct nest_fault *fault)
{
	switch (fault->kind) {
	case NEST_FAULT_TRANSLATION:
	case NEST_FAULT_PERMISSION:
	case NEST_FAULT_ACCESS_FLAG:
		/* Without an access nothing can be judged: to resume could go on for ever. */
		return fault->access & NEST_RWX ? NEST_OK : NEST_E_UNSUPPORTED;
	case NEST_FAULT_CONFLICT:
		return NEST_OK;
	case NEST_FAULT_ADDRESS_SIZE:
		return NEST_E_RANGE;
	default:
		return NEST_E_UNSUPPORTED;
	}
}

/*
 * In shared mode another CPU may have mapped or marked the page meanwhile, or be about to: the
 * guest tries again and finds out.
 */
static int without_races(const struct nest_vm *vm, int err)
{
	const bool race = err == NEST_E_BUSY || err == NEST_E_MAPPED || err == NEST_E_NOTMAPPED;

	return race && nest_vm_is_shared(vm) ? NEST_OK : err;
}

/*
 * Does a page with `attr` allow the access? Where user and privileged execution are apart, the
 * fault does not tell which one was tried. After a permission fault it may be either. After any
 * other fault one of the two is enough to try again, since the wrong one ends in a permission
 * fault.
 */
static bool allows(const struct nest_vm *vm, const struct nest_fault *fault, nest_attr_t attr)
{
	const nest_attr_t exec = nest_vm_exec(vm);

	if (fault->access & NEST_X) {
		if (fault->kind == NEST_FAULT_PERMISSION ? (exec & ~attr) != 0 : !(exec & attr))
			return false;
	}
	return !(fault->access & NEST_RW & ~attr);
}

/* May the page of *m get the right to execute now, and is that what the guest needs? */
static bool waits_for_exec(const struct nest_vm *vm, const struct nest_fault *fault,
			   const struct nest_mapping *m)
{
	return vm->exec_small && (m->attr & NEST_VM_LATE_EXEC) && (fault->access & NEST_X) &&
	       allows(vm, fault, m->attr | nest_vm_exec(vm));
}

/*
 * Give the smallest page at fault->gpa the right to execute. A call on another CPU that forbids it
 * takes NEST_VM_LATE_EXEC away, too: then the page stays as it is.
 */
static int give_exec(struct nest_vm *vm, const struct nest_fault *fault)
{
	const uint64_t page = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);

	return nest_pt_protect(&vm->pt, fault->gpa & ~(page - 1), page,
			       nest_vm_exec(vm) | status_after(vm, fault->access & NEST_RWX),
			       NEST_VM_LATE_EXEC, NEST_IF_SET, NULL);
}

/* The mapping at fault->gpa allows the access, or may allow it: what did the guest fault for? */
static int resume_mapped(struct nest_vm *vm, const struct nest_fault *fault,
			 const struct nest_mapping *m)
{
	int err = waits_for_exec(vm, fault, m) ? give_exec(vm, fault)
					       : refresh(vm, fault, m, fault->access & NEST_RWX);

	/* The page has changed since it was looked at: that shows at the next fault. */
	if (nest_vm_is_shared(vm) && err != NEST_E_NOMEM && err != NEST_E_DENIED)
		err = NEST_OK;
	return err;
}

/* A fault that a table entry may fix: the kind of exit, and out->status with ERROR. */
static enum nest_exit_kind handle(struct nest_vm *vm, const struct nest_fault *fault,
				  struct nest_exit *out)
{
	const struct nest_vm_region *r = out->region;
	struct nest_range block;
	struct nest_mapping m;
	int err = nest_pt_query(&vm->pt, fault->gpa, &m);

	if (err == NEST_E_BUSY)
		return NEST_EXIT_RESUME;
	if (m.kind == NEST_PTE_MARK) {
		out->mark = m.mark;
		return NEST_EXIT_MARKED;
	}
	if (err == NEST_OK && (allows(vm, fault, m.attr) || waits_for_exec(vm, fault, &m))) {
		out->status = resume_mapped(vm, fault, &m);
		return out->status ? NEST_EXIT_ERROR : NEST_EXIT_RESUME;
	}
	if (r && r->type == NEST_REGION_MMIO)
		return NEST_EXIT_MMIO;
	if (r && r->type == NEST_REGION_ROM && (fault->access & NEST_W))
		return NEST_EXIT_ROM_WRITE;
	if (!r && err)
		return NEST_EXIT_UNMAPPED;
	out->status = NEST_E_DENIED;
	if (err && r->type != NEST_REGION_DEVICE && allows(vm, fault, r->attr))
		out->status = without_races(
			vm, nest_vm_populate(vm, r, fault->gpa, fault->access, &block));
	return out->status ? NEST_EXIT_ERROR : NEST_EXIT_RESUME;
}

/* The TLB holds two translations for one address: none of them may stay. */
static void flush_all(struct nest_vm *vm)
{
	const struct nest_flush all = { .all = true,
					.level_mask = (1u << nest_pt_levels(&vm->pt)) - 1,
					.vmid = vm->pt.vmid,
					.pt = &vm->pt };

	vm->outer->tlb_flush(vm->outer_ctx, &all);
}

int nest_vm_fault(struct nest_vm *vm, const struct nest_fault *fault, struct nest_exit *out)
{
	if (!nest_vm_is_live(vm) || !fault || !out)
		return NEST_E_INVAL;
	*out = (struct nest_exit){ .kind = NEST_EXIT_ERROR,
				   .access = fault->access,
				   .status = unfixable_status(fault) };
	if (fault->gpa_valid) {
		out->gpa = fault->gpa;
		out->region = nest_vm_region_at(vm, fault->gpa);
	}
	if (out->region) {
		out->offset = fault->gpa - out->region->gpa;
		out->cookie = out->region->cookie;
	}
	if (out->status)
		return NEST_OK;
	if (fault->kind == NEST_FAULT_CONFLICT) {
		flush_all(vm);
		out->kind = NEST_EXIT_RESUME;
	} else if (!fault->gpa_valid) {
		out->kind = NEST_EXIT_NO_ADDRESS;
	} else if (fault->gpa >> vm->pt.ia_bits) {
		out->status = NEST_E_RANGE;
	} else {
		out->kind = handle(vm, fault, out);
	}
	return NEST_OK;
}
