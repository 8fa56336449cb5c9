/* SPDX-License-Identifier: MIT */
#include "vm_calls.h"

#include <stdio.h>
#include <string.h>

static const char *const names[VM_OPERATIONS] = { "add_ram",   "add_device", "add_mmio", "remove",
						  "map",       "unmap",      "protect",  "restore",
						  "translate", "read",       "write",    "fault",
						  "harvest",   "mark",       "unmark",   "split",
						  "merge",     "restart",    "mistake" };

const char *vm_call_name(enum vm_operation operation)
{
	return names[operation];
}

void vm_check_status(struct vm *v, int err, uint32_t right)
{
	struct vm_world *w = v->w;

	if (w->refused)
		right = VM_STATUS(NEST_E_DENIED);
	if (w->ram.failed)
		right |= VM_STATUS(NEST_E_NOMEM);
	if (err > 0 || !(right >> -err & 1))
		vm_fail(w, "returned \"%s\"; right are %#x", nest_strerror(err), right);
	w->count.status[-err]++;
	w->count.short_of_memory += err == NEST_E_NOMEM && w->ram.failed;
	w->count.denied_by_host += err == NEST_E_DENIED && w->refused;
}

void vm_draw_range(struct vm_world *w, unsigned *a, unsigned *b)
{
	unsigned i = (unsigned)vm_random(w, w->cuts - 1), left = w->cuts - 1 - i;

	*a = w->cut[i];
	*b = w->cut[i + 1 + vm_random(w, vm_random(w, 2) ? left : 1)];
}

void vm_forget_plan(struct vm *v)
{
	memcpy(v->next, v->is, v->w->pages * sizeof(*v->next));
}

bool vm_tracks_dirty(const struct vm_world *w)
{
	const uint32_t features = w->setup.features;
	bool arm = strstr(w->setup.info.name, "aarch64") != NULL;

	return !strcmp(w->setup.info.name, "npt") || features & NEST_FEAT_HW_D ||
	       (features & NEST_FEAT_SW_AD && !arm);
}

static bool tracks_accessed(const struct vm_world *w)
{
	return !strcmp(w->setup.info.name, "npt") ||
	       w->setup.features & (NEST_FEAT_HW_A | NEST_FEAT_SW_AD);
}

bool vm_has_kind(const struct vm *v, unsigned a, unsigned b, enum nest_pte_kind kind)
{
	for (unsigned i = a; i < b; i++) {
		if (v->is[i].kind == kind)
			return true;
	}
	return false;
}

/* Memory for [a, b): in step with the addresses, or one page off. */
nest_pa_t vm_take_memory(struct vm_world *w, unsigned a, unsigned b)
{
	uint64_t size = (b - a) * w->page, off = vm_random(w, 4) ? 0 : w->page;

	if (size < w->page * VM_SMALL_RUN && vm_random(w, 2))
		return frames_take(w, size, w->page, 0);
	return frames_take(w, size, w->block, (vm_gpa(w, a) + off) & (w->block - 1));
}

void vm_drop_removed(struct vm *v, unsigned a, unsigned b)
{
	for (unsigned i = a; i < b; i++) {
		const struct cell *is = &v->is[i], *next = &v->next[i];

		if (is->kind == NEST_PTE_LEAF &&
		    (next->kind != NEST_PTE_LEAF || next->value != is->value))
			frames_drop(v, is->value);
	}
}

/* Host memory of a region or raw map that may not be mapped, now and then. */
uint32_t vm_spoil(struct vm *v, unsigned a, unsigned b, nest_pa_t *pa)
{
	struct vm_world *w = v->w;
	nest_pa_t top = (nest_pa_t)1 << v->vm.pt.oa_bits;
	uint64_t size = (b - a) * w->page;

	switch (vm_random(w, 24)) {
	case 0:
		*pa += w->page / 2;
		return VM_STATUS(NEST_E_ALIGN);
	case 1:
		*pa = top - (vm_random(w, 2) ? size - w->page : 0);
		return *pa + size > top ? VM_STATUS(NEST_E_RANGE) : 0;
	case 2:
		*pa = w->forbidden - vm_random(w, b - a) * w->page;
		return VM_STATUS(NEST_E_DENIED);
	case 3:
		*pa = v->protect[vm_random(w, 2)].base;
		return VM_STATUS(NEST_E_DENIED);
	default:
		return 0;
	}
}

/* The conflict that the call has left. */
void vm_check_conflict(struct vm *v, int err, unsigned a, unsigned b, bool told)
{
	const struct nest_vm_conflict *c = nest_vm_last_conflict(&v->vm);

	if (err == NEST_E_MAPPED && told &&
	    (!c->reason || c->wanted.base != vm_gpa(v->w, a) ||
	     c->wanted.size != (b - a) * v->w->page || !c->existing.size))
		vm_fail(v->w, "no conflict is told");
}

/* ---- The raw form ---- */

static void call_map(struct vm *v)
{
	static const uint32_t how[] = { 0, NEST_MAP_REPLACE, NEST_MAP_REPLACE,
					NEST_MAP_SKIP_MAPPED };
	struct vm_world *w = v->w;
	nest_attr_t attr = w->attr[vm_random(w, w->attrs)];
	uint32_t flags = how[vm_random(w, 4)], right;
	unsigned a, b;
	nest_pa_t pa;
	int err;

	vm_draw_range(w, &a, &b);
	pa = vm_take_memory(w, a, b);
	if (pa == NEST_PA_NONE)
		return;
	right = flags == NEST_MAP_SKIP_MAPPED ? 0 : vm_spoil(v, a, b, &pa);
	if (b - a <= VM_SMALL_RUN)
		flags |= vm_random(w, 2) ? NEST_MAP_NO_HUGE : 0;
	if (!(flags & (NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED)) &&
	    vm_has_kind(v, a, b, NEST_PTE_LEAF))
		right |= VM_STATUS(NEST_E_MAPPED);
	for (unsigned i = a; i < b && !right; i++) {
		if (v->is[i].kind == NEST_PTE_LEAF && (flags & NEST_MAP_SKIP_MAPPED))
			continue;
		v->next[i] = (struct cell){ .kind = NEST_PTE_LEAF,
					    .attr = attr & ~(NEST_ACCESSED | NEST_DIRTY),
					    .value = pa + (i - a) * w->page };
	}
	v->call.may_break = flags & NEST_MAP_REPLACE;
	vm_begin(v);
	err = nest_vm_map(&v->vm, vm_gpa(w, a), pa, (b - a) * w->page, attr, flags);
	vm_check_status(v, err, right ? right : VM_STATUS(NEST_OK));
	vm_check_conflict(v, err, a, b, !w->shared);
	if (err)
		vm_forget_plan(v);
	for (unsigned i = a; i < b && !err; i++) {
		if (v->next[i].value == pa + (i - a) * w->page)
			frames_hold(v, v->next[i].value, w->page);
	}
	if (!err)
		vm_drop_removed(v, a, b);
	vm_end(v);
}

/* A mark for every page takes time where a format keeps marks in small entries only. */
static bool is_long(struct vm *v, unsigned a, unsigned b)
{
	bool small_only = strstr(v->w->setup.info.name, "loong") != NULL;

	return small_only && b - a > VM_LARGE_RUN;
}

static struct nest_mapping ask(struct vm *v, unsigned page)
{
	struct nest_mapping m = { .size = 0 };

	(void)nest_pt_query(&v->vm.pt, vm_gpa(v->w, page), &m);
	return m;
}

/* nest_vm_unmap() says that for want of a table it may have unmapped all and say so. */
static bool is_half_done(struct vm *v, unsigned a, unsigned b)
{
	for (unsigned i = a; i < b; i++) {
		struct nest_mapping m = ask(v, i);

		if (m.kind != v->is[i].kind ||
		    (m.kind == NEST_PTE_MARK && m.mark != v->is[i].value))
			return true;
	}
	return false;
}

/* Then marks may be left beyond RAM and ROM. */
static void plan_marks_left(struct vm *v, unsigned a, unsigned b)
{
	for (unsigned i = a; i < b; i++) {
		struct nest_mapping m = ask(v, i);

		if (v->next[i].kind == NEST_PTE_NONE && m.kind == NEST_PTE_MARK &&
		    m.mark == NEST_VM_TAKEN)
			v->next[i] = (struct cell){ .kind = NEST_PTE_MARK, .value = m.mark };
	}
	v->w->count.half_done++;
}

static void call_unmap(struct vm *v)
{
	struct vm_world *w = v->w;
	uint32_t flags = vm_random(w, 2) ? NEST_SKIP_HOLES : 0, right = VM_STATUS(NEST_OK);
	unsigned a, b;
	int err;

	vm_draw_range(w, &a, &b);
	if (is_long(v, a, b))
		return;
	if (!flags && (vm_has_kind(v, a, b, NEST_PTE_NONE) || vm_has_kind(v, a, b, NEST_PTE_MARK)))
		right = VM_STATUS(NEST_E_NOTMAPPED);
	for (unsigned i = a; i < b && right == VM_STATUS(NEST_OK); i++) {
		const struct zone *z = zone_at(v, i);
		bool taken = z && (z->type == NEST_REGION_RAM || z->type == NEST_REGION_ROM);

		v->next[i] = (struct cell){ .kind = taken ? NEST_PTE_MARK : NEST_PTE_NONE,
					    .value = taken ? NEST_VM_TAKEN : 0 };
	}
	v->call.may_break = true;
	vm_begin(v);
	err = nest_vm_unmap(&v->vm, vm_gpa(w, a), (b - a) * w->page, flags);
	vm_check_status(v, err, right);
	if (err == NEST_E_NOMEM && is_half_done(v, a, b))
		plan_marks_left(v, a, b);
	else if (err)
		vm_forget_plan(v);
	vm_drop_removed(v, a, b);
	vm_end(v);
}

static bool is_encodable(const struct vm_world *w, nest_attr_t attr)
{
	nest_pte_t e;

	return nest_pte_leaf(w->setup.format, 0, w->setup.features, 0, attr, &e) == NEST_OK;
}

static void call_protect(struct vm *v)
{
	struct vm_world *w = v->w;
	bool loong = strstr(w->setup.info.name, "loong") != NULL;
	bool arm = strstr(w->setup.info.name, "aarch64") != NULL;
	bool separate = w->setup.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX);
	nest_attr_t exec = NEST_X | (separate && vm_random(w, 2) ? NEST_XU : 0);
	nest_attr_t set = 0, clear = 0;
	uint32_t flags = vm_random(w, 2) ? NEST_SKIP_HOLES : 0, right = 0;
	unsigned a, b;
	int err;

	vm_draw_range(w, &a, &b);
	switch (vm_random(w, 4)) {
	case 0:
		set = NEST_W | (w->by_software ? NEST_DIRTY : 0);
		break;
	case 1:
		clear = NEST_W | (loong ? NEST_DIRTY : 0);
		break;
	case 2:
		set = exec;
		break;
	default:
		clear = exec;
	}
	if (!flags && (vm_has_kind(v, a, b, NEST_PTE_NONE) || vm_has_kind(v, a, b, NEST_PTE_MARK)))
		right |= VM_STATUS(NEST_E_NOTMAPPED);
	for (unsigned i = a; i < b; i++) {
		struct cell *c = &v->next[i];

		if (c->kind != NEST_PTE_LEAF)
			continue;
		c->attr = (c->attr & ~clear) | (set & ~NEST_DIRTY);
		if (v->exec_small && clear & exec)
			c->attr &= ~NEST_SW0;
		if (!is_encodable(w, c->attr))
			right |= VM_STATUS(NEST_E_UNSUPPORTED);
	}
	if (right)
		vm_forget_plan(v);
	v->call.may_break = true;
	vm_begin(v);
	err = nest_vm_protect(&v->vm, vm_gpa(w, a), (b - a) * w->page, set, clear, flags);
	vm_check_status(v, err, right ? right : VM_STATUS(NEST_OK));
	if (err)
		vm_forget_plan(v);
	for (unsigned i = a; i < b && !err; i++) {
		struct cell *c = &v->next[i];

		/* These entries cannot be dirty without the right to write. */
		if ((clear & NEST_W) && (loong || arm))
			c->dirty = false;
		/* Said to be dirty; or it could not tell a write before it got the right. */
		if (c->kind == NEST_PTE_LEAF && vm_tracks_dirty(w) &&
		    ((set & NEST_DIRTY) || (arm && (set & NEST_W))))
			c->dirty = true;
	}
	vm_end(v);
}

/* ---- The table below ---- */

static void call_mark(struct vm *v)
{
	struct vm_world *w = v->w;
	uint64_t value = vm_random(w, 2) ? vm_random(w, NEST_MARK_MAX) : NEST_MARK_MAX - 1;
	bool taken;
	unsigned a, b;
	int err;

	vm_draw_range(w, &a, &b);
	if (is_long(v, a, b))
		return;
	taken = vm_has_kind(v, a, b, NEST_PTE_LEAF);
	for (unsigned i = a; i < b && !taken; i++)
		v->next[i] = (struct cell){ .kind = NEST_PTE_MARK, .value = value };
	vm_begin(v);
	err = nest_pt_mark(nest_vm_pt(&v->vm), vm_gpa(w, a), (b - a) * w->page, value, NULL);
	vm_check_status(v, err, VM_STATUS(taken ? NEST_E_MAPPED : NEST_OK));
	if (err)
		vm_forget_plan(v);
	vm_end(v);
}

/* Marks end: by nest_vm_restore(), or in the table. */
static void call_unmark(struct vm *v, bool restore)
{
	struct vm_world *w = v->w;
	nest_ia_t gpa;
	unsigned a, b;
	int err;

	vm_draw_range(w, &a, &b);
	for (unsigned i = a; i < b; i++) {
		if (v->next[i].kind == NEST_PTE_MARK)
			v->next[i] = (struct cell){ .kind = NEST_PTE_NONE };
	}
	gpa = vm_gpa(w, a);
	vm_begin(v);
	err = restore ? nest_vm_restore(&v->vm, gpa, (b - a) * w->page)
		      : nest_pt_unmark(nest_vm_pt(&v->vm), gpa, (b - a) * w->page, NULL);
	vm_check_status(v, err, VM_STATUS(NEST_OK));
	if (err)
		vm_forget_plan(v);
	vm_end(v);
}

/* Pages become smaller or larger; nothing else. */
static void call_resize(struct vm *v, bool merge)
{
	struct vm_world *w = v->w;
	struct nest_pt *pt = nest_vm_pt(&v->vm);
	nest_ia_t gpa;
	unsigned a, b;
	int err;

	vm_draw_range(w, &a, &b);
	gpa = vm_gpa(w, a);
	v->call.may_break = true;
	vm_begin(v);
	err = merge ? nest_pt_merge(pt, gpa, (b - a) * w->page, NULL)
		    : nest_pt_split(pt, gpa, (b - a) * w->page, b - a > VM_SMALL_RUN, NULL);
	vm_check_status(v, err, VM_STATUS(merge && w->shared ? NEST_E_UNSUPPORTED : NEST_OK));
	vm_end(v);
}

static void check_told(struct vm *v, const uint64_t *bitmap, unsigned a, unsigned b, bool keep)
{
	for (unsigned i = a; i < b; i++) {
		bool told = bitmap[(i - a) / 64] >> (i - a) % 64 & 1;
		struct cell *c = &v->next[i];

		if (told && c->kind != NEST_PTE_LEAF)
			vm_fail(v->w, "%#lx is told, and nothing is there",
				(unsigned long)vm_gpa(v->w, i));
		if (c->dirty && !told)
			vm_fail(v->w, "the write to %#lx is not told",
				(unsigned long)vm_gpa(v->w, i));
		v->w->count.told_dirty += told;
		c->dirty = c->dirty && keep;
	}
}

static void call_harvest(struct vm *v)
{
	static uint64_t bitmap[VM_PAGES / 64 + 1];
	struct vm_world *w = v->w;
	bool age = vm_random(w, 4) == 0, keep = vm_random(w, 4) == 0;
	bool tracked = age ? tracks_accessed(w) : vm_tracks_dirty(w);
	uint32_t flags = keep ? NEST_HARVEST_KEEP : 0;
	struct nest_pt *pt = nest_vm_pt(&v->vm);
	nest_ia_t gpa;
	unsigned a, b;
	int err;

	vm_draw_range(w, &a, &b);
	gpa = vm_gpa(w, a);
	memset(bitmap, 0, sizeof(bitmap));
	vm_begin(v);
	err = age ? nest_pt_harvest(pt, gpa, (b - a) * w->page, NEST_ACCESSED, bitmap, flags, NULL)
		  : nest_pt_harvest(pt, gpa, (b - a) * w->page, NEST_DIRTY, bitmap, flags, NULL);
	vm_check_status(v, err, VM_STATUS(tracked ? NEST_OK : NEST_E_UNSUPPORTED));
	if (!err && !age)
		check_told(v, bitmap, a, b, keep);
	vm_end(v);
}

/* ---- The VM itself ---- */

static void call_restart(struct vm *v)
{
	struct vm_world *w = v->w;
	int err;

	w->ram.fail_in = 0;
	vm_stop(v);
	vm_run_deferred(w);
	if (vm_random(w, 2))
		w->ram.fail_in = 1 + vm_random(w, 4);
	vm_begin(v);
	err = vm_start(v);
	w->ram.fail_in = 0;
	vm_check_status(v, err, VM_STATUS(NEST_OK));
	if (err) {
		nest_vm_destroy(&v->vm);
		if (vm_start(v) != NEST_OK)
			vm_fail(w, "the VM cannot be made anew");
	}
	vm_end(v);
}

/* What no caller may pass. */
static void call_mistake(struct vm *v)
{
	static struct nest_vm dead;
	const uint32_t unknown = (uint32_t)1 << 31;
	struct vm_world *w = v->w;
	struct nest_backing fixed = { .hpa = 0 };
	struct nest_mapping m;
	struct nest_exit out;
	unsigned a, b;
	nest_ia_t gpa, beyond = (nest_ia_t)1 << w->setup.ia_bits;
	uint64_t size;
	int err, want;

	vm_draw_range(w, &a, &b);
	gpa = vm_gpa(w, a);
	size = (b - a) * w->page;
	vm_begin(v);
	switch (vm_random(w, 18)) {
	case 0:
		err = nest_vm_add_ram(&v->vm, gpa, size, NULL, 0);
		want = NEST_E_INVAL;
		break;
	case 1:
		err = nest_vm_add_ram(&v->vm, gpa, size, &fixed, unknown);
		want = NEST_E_INVAL;
		break;
	case 2:
		err = nest_vm_add_ram(&v->vm, gpa + 8, size, &fixed, 0);
		want = NEST_E_ALIGN;
		break;
	case 3:
		err = nest_vm_add_mmio(&v->vm, gpa, 0, NULL);
		want = NEST_E_RANGE;
		break;
	case 4:
		err = nest_vm_add_mmio(&v->vm, beyond - w->page, 2 * w->page, NULL);
		want = NEST_E_RANGE;
		break;
	case 5:
		err = nest_vm_remove(&v->vm, gpa, size + 1, 0);
		want = NEST_E_ALIGN;
		break;
	case 6:
		err = nest_vm_remove(&v->vm, beyond, w->page, NEST_VM_SPLIT);
		want = NEST_E_RANGE;
		break;
	case 15:
		err = nest_vm_remove(&v->vm, gpa, size, NEST_VM_EAGER);
		want = NEST_E_INVAL;
		break;
	case 16:
		err = nest_vm_restore(&v->vm, gpa, 0);
		want = NEST_E_RANGE;
		break;
	case 7:
		err = nest_vm_map(&v->vm, gpa, 0, size, NEST_R, unknown);
		want = NEST_E_INVAL;
		break;
	case 8:
		err = nest_vm_unmap(&v->vm, gpa, size, unknown);
		want = NEST_E_INVAL;
		break;
	case 9:
		err = nest_vm_protect(&v->vm, gpa, size, NEST_W, NEST_W, NEST_SKIP_HOLES);
		want = NEST_E_INVAL;
		break;
	case 10:
		err = nest_vm_translate(&v->vm, gpa, NEST_U, &m);
		want = NEST_E_INVAL;
		break;
	case 11:
		err = nest_vm_translate(&v->vm, beyond, NEST_R, &m);
		want = NEST_E_RANGE;
		break;
	case 12:
		err = nest_vm_read(&v->vm, gpa, NULL, 1, NULL);
		want = NEST_E_INVAL;
		break;
	case 13:
		err = nest_vm_write(&v->vm, ~(nest_ia_t)0, &m, 2, NULL);
		want = NEST_E_RANGE;
		break;
	case 14:
		err = nest_vm_fault(&v->vm, NULL, &out);
		want = NEST_E_INVAL;
		break;
	default:
		nest_vm_destroy(&dead);
		err = nest_vm_unmap(&dead, gpa, size, 0);
		want = NEST_E_INVAL;
	}
	if (err != want)
		vm_fail(w, "returned \"%s\", not \"%s\"", nest_strerror(err), nest_strerror(want));
	w->count.status[-err]++;
	vm_end(v);
}

/* ---- Drawing ---- */

static void make(struct vm *v, enum vm_operation operation)
{
	switch (operation) {
	case VM_ADD_RAM:
		vm_call_add_ram(v);
		break;
	case VM_ADD_DEVICE:
		vm_call_add_device(v);
		break;
	case VM_ADD_MMIO:
		vm_call_add_mmio(v);
		break;
	case VM_REMOVE:
		vm_call_remove(v);
		break;
	case VM_MAP:
		call_map(v);
		break;
	case VM_UNMAP:
		call_unmap(v);
		break;
	case VM_PROTECT:
		call_protect(v);
		break;
	case VM_RESTORE:
		call_unmark(v, true);
		break;
	case VM_TRANSLATE:
		vm_call_translate(v);
		break;
	case VM_READ:
		vm_call_copy(v, false);
		break;
	case VM_WRITE:
		vm_call_copy(v, true);
		break;
	case VM_FAULT:
		vm_call_fault(v);
		break;
	case VM_HARVEST:
		call_harvest(v);
		break;
	case VM_MARK:
		call_mark(v);
		break;
	case VM_UNMARK:
		call_unmark(v, false);
		break;
	case VM_SPLIT:
		call_resize(v, false);
		break;
	case VM_MERGE:
		call_resize(v, true);
		break;
	case VM_RESTART:
		call_restart(v);
		break;
	default:
		call_mistake(v);
	}
}

void vm_calls_make(struct vm_world *w)
{
	/* Of so many hundredths. */
	static const uint8_t often[VM_OPERATIONS] = {
		[VM_ADD_RAM] = 13,  [VM_ADD_DEVICE] = 3, [VM_ADD_MMIO] = 2, [VM_REMOVE] = 5,
		[VM_MAP] = 7,       [VM_UNMAP] = 5,      [VM_PROTECT] = 5,  [VM_RESTORE] = 4,
		[VM_TRANSLATE] = 3, [VM_READ] = 5,       [VM_WRITE] = 6,    [VM_FAULT] = 26,
		[VM_HARVEST] = 4,   [VM_MARK] = 3,       [VM_UNMARK] = 2,   [VM_SPLIT] = 2,
		[VM_MERGE] = 2,     [VM_RESTART] = 1,    [VM_MISTAKE] = 2,
	};
	struct vm *v = &w->vm[vm_random(w, VM_COUNT)];
	unsigned at = (unsigned)vm_random(w, 100);
	enum vm_operation operation = VM_ADD_RAM;

	while (at >= often[operation])
		at -= often[operation++];
	/* Little happens without regions. */
	if (!v->zone[0].used || (!v->zone[1].used && vm_random(w, 2)))
		operation = vm_random(w, 8) ? VM_ADD_RAM : VM_ADD_DEVICE;
	w->operations++;
	w->count.calls[operation]++;
	snprintf(w->doing, sizeof(w->doing), "VM %u: %s", v->id, names[operation]);
	for (unsigned i = 0; i < 3 && w->hardware_writes; i++)
		vm_access(v, 0);
	if (vm_random(w, 8) == 0)
		w->ram.fail_in = 1 + vm_random(w, 4);
	if (vm_random(w, 12) == 0)
		w->refuse_in = 1 + vm_random(w, 3);
	make(v, operation);
	w->ram.fail_in = w->refuse_in = 0;
	if (vm_random(w, 4) == 0)
		vm_run_deferred(w);
}
