/* SPDX-License-Identifier: MIT */
/*
 * The VM: its regions, and the host that its table sees.
 *
 * The table never talks to the embedder's host directly but through the wrappers below, of which
 * allow() asks the protected ranges first. Regions are kept sorted and disjoint, so that the one at
 * an address is found by bisection.
 */
#include "hv_glue/vm_internal.h"

/* ---- The host that the table sees ---- */

static nest_pa_t host_alloc(void *ctx, size_t size)
{
	struct nest_vm *vm = ctx;

	return vm->outer->alloc(vm->outer_ctx, size);
}

static void host_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct nest_vm *vm = ctx;

	vm->outer->free(vm->outer_ctx, pa, size);
}

static void *host_to_virt(void *ctx, nest_pa_t pa)
{
	struct nest_vm *vm = ctx;

	return vm->outer->to_virt(vm->outer_ctx, pa);
}

static void host_tlb_flush(void *ctx, const struct nest_flush *what)
{
	struct nest_vm *vm = ctx;

	vm->outer->tlb_flush(vm->outer_ctx, what);
}

static void host_sync(void *ctx, const void *va, size_t len)
{
	struct nest_vm *vm = ctx;

	vm->outer->sync(vm->outer_ctx, va, len);
}

static void host_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	struct nest_vm *vm = ctx;

	vm->outer->defer(vm->outer_ctx, fn, arg);
}

void *nest_vm_host_ptr(const struct nest_vm *vm, nest_pa_t pa)
{
	if (vm->outer->to_virt)
		return vm->outer->to_virt(vm->outer_ctx, pa);
	return (void *)(uintptr_t)(pa + vm->outer->linear_offset);
}

/* ---- Conflicts ---- */

static struct nest_range range_of(const struct nest_vm_region *r)
{
	return (struct nest_range){ .base = r->gpa, .size = r->size };
}

/* A protected range that would wrap protects up to the top. */
static bool touches(const struct nest_range *p, nest_pa_t pa, uint64_t size)
{
	uint64_t last = p->base + (p->size - 1);

	if (last < p->base)
		last = ~(uint64_t)0;
	return p->size && pa <= last && pa + (size - 1) >= p->base;
}

/* Is it allowed? If not, *by: the protected range, or the number behind them: the host refused. */
static bool ask(const struct nest_vm *vm, nest_pa_t pa, uint64_t size, nest_attr_t attr,
		unsigned *by)
{
	unsigned i = 0;

	while (i < vm->nr_protect && !touches(&vm->protect[i], pa, size))
		i++;
	*by = i;
	return i == vm->nr_protect &&
	       (!vm->outer->allow || vm->outer->allow(vm->outer_ctx, pa, size, attr));
}

bool nest_vm_allow(struct nest_vm *vm, nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	struct nest_vm_conflict *c = &vm->conflict;
	unsigned by;

	if (ask(vm, pa, size, attr, &by))
		return true;
	*c = (struct nest_vm_conflict){ .wanted = { pa, size }, .host = true };
	c->reason = "refused by the host";
	if (by < vm->nr_protect) {
		c->reason = "protected host memory";
		c->existing = vm->protect[by];
	}
	return false;
}

static bool host_allow(void *ctx, nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	struct nest_vm *vm = ctx;
	unsigned by;

	/* Where many CPUs may ask at once, none leaves a note. */
	return nest_vm_is_shared(vm) ? ask(vm, pa, size, attr, &by)
				     : nest_vm_allow(vm, pa, size, attr);
}

static void host_relax(void *ctx)
{
	struct nest_vm *vm = ctx;

	vm->outer->relax(vm->outer_ctx);
}

static void wrap_host(struct nest_vm *vm, const struct nest_pt_config *pt)
{
	const struct nest_host *outer = pt->host;

	vm->outer = outer;
	vm->outer_ctx = pt->ctx;
	vm->host = *outer;
	vm->host.alloc = outer->alloc ? host_alloc : NULL;
	vm->host.free = outer->free ? host_free : NULL;
	vm->host.to_virt = outer->to_virt ? host_to_virt : NULL;
	vm->host.tlb_flush = outer->tlb_flush ? host_tlb_flush : NULL;
	vm->host.sync = outer->sync ? host_sync : NULL;
	vm->host.defer = outer->defer ? host_defer : NULL;
	vm->host.allow = host_allow;
	vm->host.relax = outer->relax ? host_relax : NULL;
}

static void region_conflict(struct nest_vm *vm, const char *reason, struct nest_range wanted,
			    enum nest_region_type type, const struct nest_vm_region *r)
{
	vm->conflict = (struct nest_vm_conflict){ .reason = reason,
						  .wanted = wanted,
						  .existing = range_of(r),
						  .wanted_type = type,
						  .existing_type = r->type };
}

/*
 * Is something mapped, or (flags: NEST_WALK_MARKS) marked, where the call wants to map? Then
 * NEST_E_MAPPED. Not for shared mode.
 */
static int mapping_conflict(struct nest_vm *vm, struct nest_range wanted,
			    enum nest_region_type type, uint32_t flags)
{
	struct nest_mapping found;

	if (nest_vm_find(vm, wanted.base, wanted.size, flags, &found) != NEST_OK)
		return NEST_OK;
	vm->conflict = (struct nest_vm_conflict){ .reason = found.kind == NEST_PTE_MARK
								    ? "overlaps a mark"
								    : "overlaps a mapping",
						  .wanted = wanted,
						  .existing = { found.ia, found.size },
						  .wanted_type = type,
						  .existing_type = type };
	return NEST_E_MAPPED;
}

const struct nest_vm_conflict *nest_vm_last_conflict(const struct nest_vm *vm)
{
	static const struct nest_vm_conflict none = { .reason = NULL };

	return vm ? &vm->conflict : &none;
}

/* ---- Life ---- */

/*
 * Which of accessed and dirty an entry can tell, says an entry: that of a writable page. AArch64
 * tells dirty of pages with NEST_DBM only.
 */
static void learn_status(struct nest_vm *vm, const struct nest_pt_config *pt)
{
	const nest_attr_t both = NEST_ACCESSED | NEST_DIRTY;
	struct nest_pte_info info = { .attr = 0 };
	nest_pte_t pte;

	if (nest_pte_leaf(pt->format, 0, pt->features, 0, NEST_RW | NEST_DBM | both, &pte) ==
	    NEST_OK)
		vm->writable = NEST_DBM;
	else if (nest_pte_leaf(pt->format, 0, pt->features, 0, NEST_RW | both, &pte))
		return;
	if (nest_pte_decode(pt->format, 0, pt->features, pte, &info) == NEST_OK)
		vm->tracked = info.attr & both;
}

int nest_vm_init(struct nest_vm *vm, const struct nest_vm_config *config)
{
	const struct nest_pt_config *asked = config ? &config->pt : NULL;
	struct nest_pt_config pt;
	int err;

	if (!vm)
		return NEST_E_INVAL;
	*vm = (struct nest_vm){ .nr_regions = 0 };
	if (!config || !asked->format || !asked->host || !config->regions || !config->max_regions ||
	    (config->nr_protect && !config->protect))
		return NEST_E_INVAL;
	err = nest_format_describe(asked->format, asked->features, &vm->info);
	if (err || !vm->info.stage2)
		return err ? err : NEST_E_INVAL;
	wrap_host(vm, asked);
	vm->regions = config->regions;
	vm->max_regions = config->max_regions;
	vm->protect = config->protect;
	vm->nr_protect = config->nr_protect;
	learn_status(vm, asked);
	pt = *asked;
	pt.host = &vm->host;
	pt.ctx = vm;
	err = nest_pt_init(&vm->pt, &pt);
	if (!err)
		nest_pt_set_vmid(&vm->pt, config->vmid);
	return err;
}

bool nest_vm_is_live(const struct nest_vm *vm)
{
	return vm && nest_pt_levels(&vm->pt) != 0;
}

struct nest_pt *nest_vm_pt(struct nest_vm *vm)
{
	return vm ? &vm->pt : NULL;
}

/* Give back what a leaf shows of the region. */
static int give_back(void *ctx, const struct nest_mapping *leaf)
{
	const struct nest_vm_region *r = ctx;
	nest_ia_t first = leaf->ia, last = leaf->ia + (leaf->size - 1);

	if (first < r->gpa)
		first = r->gpa;
	if (last > nest_vm_region_last(r))
		last = nest_vm_region_last(r);
	r->backing.put(r->backing.ctx, first, leaf->pa + (first - leaf->ia), last - first + 1);
	return 0;
}

static void give_back_released(void *ctx, const struct nest_mapping *leaf)
{
	(void)give_back(ctx, leaf);
}

void nest_vm_destroy(struct nest_vm *vm)
{
	struct nest_flush all = { .all = true };

	if (!nest_vm_is_live(vm))
		return;
	all.pt = &vm->pt;
	/* Frames are told from the tables as they stand: nothing here may need memory. */
	all.vmid = vm->pt.vmid;
	all.level_mask = (1u << nest_pt_levels(&vm->pt)) - 1;
	vm->outer->tlb_flush(vm->outer_ctx, &all);
	for (unsigned i = 0; i < vm->nr_regions; i++) {
		struct nest_vm_region *r = &vm->regions[i];

		if (r->backing.get && r->backing.put)
			(void)nest_pt_walk(&vm->pt, r->gpa, r->size, 0, give_back, r);
	}
	vm->nr_regions = 0;
	nest_pt_destroy(&vm->pt);
}

/* ---- Looking up ---- */

unsigned nest_vm_index(const struct nest_vm *vm, nest_ia_t gpa)
{
	unsigned low = 0, high = vm->nr_regions;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (nest_vm_region_last(&vm->regions[mid]) < gpa)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct nest_vm_region *nest_vm_region_at(const struct nest_vm *vm, nest_ia_t gpa)
{
	unsigned i;

	if (!nest_vm_is_live(vm))
		return NULL;
	i = nest_vm_index(vm, gpa);
	return i < vm->nr_regions && vm->regions[i].gpa <= gpa ? &vm->regions[i] : NULL;
}

static int note_first(void *ctx, const struct nest_mapping *m)
{
	*(struct nest_mapping *)ctx = *m;
	return 1;
}

int nest_vm_find(const struct nest_vm *vm, nest_ia_t gpa, uint64_t size, uint32_t flags,
		 struct nest_mapping *found)
{
	int ret = nest_pt_walk(&vm->pt, gpa, size, flags, note_first, found);

	if (ret == 1)
		return NEST_OK;
	return ret == NEST_OK ? NEST_E_NOTMAPPED : ret;
}

int nest_vm_check_range(const struct nest_vm *vm, nest_ia_t gpa, uint64_t size)
{
	uint64_t page = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);
	nest_ia_t last = gpa + (size - 1);

	if ((gpa | size) & (page - 1))
		return NEST_E_ALIGN;
	if (!size || last < gpa || last >> vm->pt.ia_bits)
		return NEST_E_RANGE;
	return NEST_OK;
}

/* ---- Adding ---- */

/* Memory that is mapped only later must be as good as if it were mapped now. */
static int check_fixed(struct nest_vm *vm, const struct nest_vm_region *r)
{
	uint64_t page = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);
	nest_pa_t last = r->backing.hpa + (r->size - 1);

	if (r->backing.hpa & (page - 1))
		return NEST_E_ALIGN;
	if (last < r->backing.hpa || last >> vm->pt.oa_bits)
		return NEST_E_RANGE;
	return nest_vm_allow(vm, r->backing.hpa, r->size, r->attr) ? NEST_OK : NEST_E_DENIED;
}

static int map_now(struct nest_vm *vm, const struct nest_vm_region *r)
{
	/* What a page may do depends on its size, or each page has a frame of its own. */
	const bool by_page = (r->flags & NEST_VM_EXEC_SMALL) || r->backing.get;
	int err = mapping_conflict(vm, range_of(r), r->type, NEST_WALK_MARKS);
	struct nest_range block;

	if (!err && by_page && !r->backing.get)
		err = check_fixed(vm, r);
	if (err || !by_page)
		return err ? err
			   : nest_pt_map(&vm->pt, r->gpa, r->backing.hpa, r->size, r->attr, 0,
					 NULL);
	for (uint64_t done = 0; done < r->size; done += block.size) {
		err = nest_vm_populate(vm, r, r->gpa + done, 0, &block);
		if (!err)
			continue;
		if (done)
			(void)nest_vm_release(vm, r, r->gpa, done);
		return err;
	}
	return NEST_OK;
}

static int add_region(struct nest_vm *vm, const struct nest_vm_region *r)
{
	unsigned at = nest_vm_index(vm, r->gpa);
	int err = nest_vm_check_range(vm, r->gpa, r->size);

	if (err)
		return err;
	if (at < vm->nr_regions && vm->regions[at].gpa <= nest_vm_region_last(r)) {
		region_conflict(vm, "overlaps a region", range_of(r), r->type, &vm->regions[at]);
		return NEST_E_MAPPED;
	}
	if (vm->nr_regions == vm->max_regions)
		return NEST_E_NOMEM;
	if (r->type == NEST_REGION_DEVICE || (r->flags & NEST_VM_EAGER))
		err = map_now(vm, r);
	else if (r->type != NEST_REGION_MMIO && !r->backing.get)
		err = check_fixed(vm, r);
	if (err)
		return err;
	for (unsigned i = vm->nr_regions++; i > at; i--)
		vm->regions[i] = vm->regions[i - 1];
	vm->regions[at] = *r;
	vm->exec_small |= (r->flags & NEST_VM_EXEC_SMALL) != 0;
	return NEST_OK;
}

int nest_vm_add_ram(struct nest_vm *vm, nest_ia_t gpa, uint64_t size,
		    const struct nest_backing *backing, uint32_t flags)
{
	struct nest_vm_region r = { .gpa = gpa, .size = size, .flags = flags };

	if (!nest_vm_is_live(vm) || !backing ||
	    (flags & ~(NEST_VM_READONLY | NEST_VM_EAGER | NEST_VM_NOEXEC | NEST_VM_EXEC_SMALL)))
		return NEST_E_INVAL;
	r.type = flags & NEST_VM_READONLY ? NEST_REGION_ROM : NEST_REGION_RAM;
	r.attr = NEST_MT_WB | (flags & NEST_VM_READONLY ? NEST_R : NEST_RW | vm->writable);
	if (!(flags & NEST_VM_NOEXEC))
		r.attr |= nest_vm_exec(vm);
	r.backing = *backing;
	return add_region(vm, &r);
}

int nest_vm_add_device(struct nest_vm *vm, nest_ia_t gpa, nest_pa_t hpa, uint64_t size,
		       nest_attr_t attr)
{
	struct nest_vm_region r = { .gpa = gpa,
				    .size = size,
				    .type = NEST_REGION_DEVICE,
				    .attr = attr,
				    .backing = { .hpa = hpa } };

	return nest_vm_is_live(vm) ? add_region(vm, &r) : NEST_E_INVAL;
}

int nest_vm_add_mmio(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, void *cookie)
{
	struct nest_vm_region r = {
		.gpa = gpa, .size = size, .type = NEST_REGION_MMIO, .cookie = cookie
	};

	return nest_vm_is_live(vm) ? add_region(vm, &r) : NEST_E_INVAL;
}

/* ---- Removing ---- */

int nest_vm_release(struct nest_vm *vm, const struct nest_vm_region *r, nest_ia_t gpa,
		    uint64_t size)
{
	struct nest_gather gather;
	int err;

	nest_gather_init(&gather, &vm->pt);
	if (r->backing.get && r->backing.put)
		nest_gather_on_release(&gather, give_back_released, (void *)(uintptr_t)r);
	err = nest_pt_unmap(&vm->pt, gpa, size, NEST_SKIP_HOLES, &gather);
	nest_gather_sync(&gather);
	return err;
}

/* The page, group or mark that covers `edge` and the page before it: cut it there. */
static int cut_at(struct nest_vm *vm, nest_ia_t edge)
{
	const uint64_t page = (uint64_t)1 << nest_pt_shift(&vm->pt, 0);
	struct nest_mapping m;
	nest_ia_t first;

	/* The top of the address space cuts by itself. */
	if (edge == 0 || edge >> vm->pt.ia_bits)
		return NEST_OK;
	(void)nest_pt_query(&vm->pt, edge, &m);
	first = edge & ~(m.size - 1);
	if (first == edge)
		return NEST_OK;
	if (m.kind == NEST_PTE_MARK)
		return nest_pt_mark(&vm->pt, edge, page, m.mark, NULL);
	return m.kind == NEST_PTE_LEAF ? nest_pt_split(&vm->pt, edge, page, 0, NULL) : NEST_OK;
}

/* The part of region r in [gpa, last]: *first .. *end, inclusive. */
static void clip(const struct nest_vm_region *r, nest_ia_t gpa, nest_ia_t last, nest_ia_t *first,
		 nest_ia_t *end)
{
	*first = r->gpa > gpa ? r->gpa : gpa;
	*end = nest_vm_region_last(r) < last ? nest_vm_region_last(r) : last;
}

/*
 * Cut what reaches across an end of a part to be removed. This is what can fail for want of memory;
 * the unmap of whole pages and marks afterwards cannot.
 */
static int cut_ends(struct nest_vm *vm, const struct nest_vm_region *r, nest_ia_t gpa,
		    nest_ia_t last)
{
	nest_ia_t first, end;
	int err;

	clip(r, gpa, last, &first, &end);
	err = cut_at(vm, first);
	return err ? err : cut_at(vm, end + 1);
}

/* Cut [gpa, last] out of region i. Returns how many regions remain of it: 0, 1 or 2. */
static unsigned keep_outside(struct nest_vm *vm, unsigned i, nest_ia_t gpa, nest_ia_t last)
{
	const struct nest_vm_region old = vm->regions[i];
	const bool head = old.gpa < gpa;
	const bool tail = nest_vm_region_last(&old) > last;
	const unsigned parts = (head ? 1u : 0u) + (tail ? 1u : 0u);
	struct nest_vm_region *r = &vm->regions[i];

	if (parts == 2) {
		for (unsigned k = vm->nr_regions++; k > i + 1; k--)
			vm->regions[k] = vm->regions[k - 1];
		r[1] = old;
	}
	if (head)
		r->size = gpa - old.gpa;
	if (tail) {
		r = &r[parts - 1];
		r->gpa = last + 1;
		r->size = nest_vm_region_last(&old) - last;
		if (!r->backing.get)
			r->backing.hpa += r->gpa - old.gpa;
	}
	if (!parts) {
		for (unsigned k = i; k + 1 < vm->nr_regions; k++)
			vm->regions[k] = vm->regions[k + 1];
		vm->nr_regions--;
	}
	return parts;
}

int nest_vm_remove(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, uint32_t flags)
{
	struct nest_range wanted = { .base = gpa, .size = size };
	nest_ia_t last = gpa + (size - 1), from, to;
	unsigned first, end;
	int err;

	if (!nest_vm_is_live(vm) || (flags & ~NEST_VM_SPLIT))
		return NEST_E_INVAL;
	err = nest_vm_check_range(vm, gpa, size);
	if (err)
		return err;
	first = end = nest_vm_index(vm, gpa);
	for (; end < vm->nr_regions && vm->regions[end].gpa <= last; end++) {
		const struct nest_vm_region *r = &vm->regions[end];

		if ((r->gpa >= gpa && nest_vm_region_last(r) <= last) || (flags & NEST_VM_SPLIT))
			continue;
		region_conflict(vm, "lies partly outside", wanted, r->type, r);
		return NEST_E_INVAL;
	}
	if (first == end)
		return NEST_E_NOTMAPPED;
	/* Only a region that surrounds the range becomes two. */
	if (vm->regions[first].gpa < gpa && nest_vm_region_last(&vm->regions[first]) > last &&
	    vm->nr_regions == vm->max_regions)
		return NEST_E_NOMEM;
	for (unsigned i = first; i < end && !err; i++)
		err = cut_ends(vm, &vm->regions[i], gpa, last);
	for (unsigned i = first; i < end && !err; i++) {
		clip(&vm->regions[i], gpa, last, &from, &to);
		err = nest_vm_release(vm, &vm->regions[i], from, to - from + 1);
	}
	for (unsigned n = end - first; n && !err; n--)
		first += keep_outside(vm, first, gpa, last);
	return err;
}

/* ---- The raw form ---- */

int nest_vm_map(struct nest_vm *vm, nest_ia_t gpa, nest_pa_t hpa, uint64_t size, nest_attr_t attr,
		uint32_t flags)
{
	struct nest_range wanted = { .base = gpa, .size = size };
	int err;

	if (!nest_vm_is_live(vm))
		return NEST_E_INVAL;
	err = nest_pt_map(&vm->pt, gpa, hpa, size, attr, flags, NULL);
	/* Where many CPUs may map at once, none leaves a note. */
	if (err == NEST_E_MAPPED && !nest_vm_is_shared(vm))
		(void)mapping_conflict(vm, wanted, NEST_REGION_RAM,
				       flags & NEST_MAP_KEEP_MARKS ? NEST_WALK_MARKS : 0);
	return err;
}

static bool comes_by_fault(const struct nest_vm_region *r)
{
	return r->type == NEST_REGION_RAM || r->type == NEST_REGION_ROM;
}

/*
 * Remove the marks that a revocation of [gpa, last] has left outside of RAM and ROM. NEST_E_NOMEM,
 * NEST_E_BUSY.
 */
static int unmark_outside(struct nest_vm *vm, nest_ia_t gpa, nest_ia_t last)
{
	int err = NEST_OK;

	for (unsigned i = nest_vm_index(vm, gpa);
	     !err && i < vm->nr_regions && vm->regions[i].gpa <= last; i++) {
		const struct nest_vm_region *r = &vm->regions[i];

		if (!comes_by_fault(r))
			continue;
		if (r->gpa > gpa)
			err = nest_pt_unmark(&vm->pt, gpa, r->gpa - gpa, NULL);
		if (nest_vm_region_last(r) >= last)
			return err;
		gpa = nest_vm_region_last(r) + 1;
	}
	return err ? err : nest_pt_unmark(&vm->pt, gpa, last - gpa + 1, NULL);
}

int nest_vm_unmap(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, uint32_t flags)
{
	const nest_ia_t last = gpa + (size - 1);
	int err;

	if (!nest_vm_is_live(vm))
		return NEST_E_INVAL;
	for (unsigned i = nest_vm_index(vm, gpa); i < vm->nr_regions && vm->regions[i].gpa <= last;
	     i++) {
		if (!comes_by_fault(&vm->regions[i]))
			continue;
		err = nest_pt_revoke(&vm->pt, gpa, size, NEST_VM_TAKEN, flags, NULL);
		return err ? err : unmark_outside(vm, gpa, last);
	}
	return nest_pt_unmap(&vm->pt, gpa, size, flags, NULL);
}

int nest_vm_restore(struct nest_vm *vm, nest_ia_t gpa, uint64_t size)
{
	return nest_vm_is_live(vm) ? nest_pt_unmark(&vm->pt, gpa, size, NULL) : NEST_E_INVAL;
}

int nest_vm_protect(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, nest_attr_t set,
		    nest_attr_t clear, uint32_t flags)
{
	if (!nest_vm_is_live(vm))
		return NEST_E_INVAL;
	/* A page that could not tell a write may have been written to. */
	if ((set & NEST_W) && vm->writable)
		set |= vm->writable | (vm->tracked & NEST_DIRTY & ~clear);
	if ((clear & nest_vm_exec(vm)) && vm->exec_small)
		clear |= NEST_VM_LATE_EXEC;
	return nest_pt_protect(&vm->pt, gpa, size, set, clear, flags, NULL);
}
