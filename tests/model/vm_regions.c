/* SPDX-License-Identifier: MIT */
/*
 * Regions: adding each kind of them, and removing them, whole or in part.
 */
#include "vm_calls.h"

static bool has_zone(const struct vm *v, unsigned a, unsigned b)
{
	for (unsigned i = 0; i < VM_ZONES; i++) {
		if (v->zone[i].used && v->zone[i].a < b && v->zone[i].b > a)
			return true;
	}
	return false;
}

static struct zone *free_zone(struct vm *v)
{
	for (unsigned i = 0; i < VM_ZONES; i++) {
		if (!v->zone[i].used)
			return &v->zone[i];
	}
	return NULL;
}

static uint32_t addition_errors(struct vm *v, const struct zone *z, bool now)
{
	uint32_t right = 0;

	bool taken = vm_has_kind(v, z->a, z->b, NEST_PTE_LEAF) ||
		     vm_has_kind(v, z->a, z->b, NEST_PTE_MARK);

	if (has_zone(v, z->a, z->b) || (now && taken))
		right |= VM_STATUS(NEST_E_MAPPED);
	if (!free_zone(v))
		right |= VM_STATUS(NEST_E_NOMEM);
	return right;
}

static void end_addition(struct vm *v, struct zone *z, int err, bool fixed)
{
	struct vm_world *w = v->w;

	v->call.adding = NULL;
	vm_check_conflict(v, err, z->a, z->b, true);
	if (!err) {
		*free_zone(v) = *z;
		v->exec_small |= z->exec_small;
	} else {
		/* Whose provider has no put() keeps no books. */
		for (unsigned i = z->a; i < z->b; i++) {
			if (z->provider && !z->provider->backing.put &&
			    v->next[i].kind == NEST_PTE_LEAF && v->is[i].kind != NEST_PTE_LEAF)
				frames_drop(v, v->next[i].value);
		}
		vm_forget_plan(v);
		if (fixed)
			frames_fix(w, z->hpa, (z->b - z->a) * w->page, false);
	}
	vm_end(v);
}

static void plan_fixed(struct vm *v, const struct zone *z)
{
	const uint64_t page = v->w->page;
	unsigned n;

	for (unsigned i = z->a; i < z->b; i += n) {
		uint64_t size = z->exec_small ? zone_fit(v, z, i, zone_limit(v, z)) : page;

		n = (unsigned)(size / page);
		for (unsigned k = i; k < i + n; k++)
			v->next[k] = (struct cell){ .kind = NEST_PTE_LEAF,
						    .attr = zone_attr(v, z, size),
						    .value = z->hpa + (k - z->a) * page };
	}
}

static nest_attr_t ram_attr(const struct vm_world *w, uint32_t flags)
{
	nest_attr_t attr = NEST_MT_WB | NEST_R | (flags & NEST_VM_READONLY ? 0 : NEST_W);
	bool separate = w->setup.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX);

	if (!(flags & NEST_VM_NOEXEC))
		attr |= NEST_X | (separate ? NEST_XU : 0);
	return attr;
}

void vm_call_add_ram(struct vm *v)
{
	struct vm_world *w = v->w;
	struct zone z = { .used = true };
	uint32_t flags = (vm_random(w, 4) ? 0 : NEST_VM_READONLY) |
			 (vm_random(w, 4) ? 0 : NEST_VM_NOEXEC) |
			 (vm_random(w, 3) ? 0 : NEST_VM_EXEC_SMALL);
	struct nest_backing backing = { .get = NULL };
	uint32_t wrong = 0, right;
	bool now, fixed = false;
	int err;

	vm_draw_range(w, &z.a, &z.b);
	/* Blocks need room. */
	if ((z.b - z.a) * w->page < w->block)
		vm_draw_range(w, &z.a, &z.b);
	z.type = flags & NEST_VM_READONLY ? NEST_REGION_ROM : NEST_REGION_RAM;
	z.attr = ram_attr(w, flags);
	z.exec_small = flags & NEST_VM_EXEC_SMALL;
	if (vm_random(w, 3)) {
		z.provider = &v->provider[vm_random(w, VM_PROVIDERS)];
		backing = z.provider->backing;
		now = z.b - z.a <= (backing.max_size > w->page ? VM_LARGE_RUN : VM_SMALL_RUN);
	} else {
		z.hpa = backing.hpa = vm_take_memory(w, z.a, z.b);
		if (z.hpa == NEST_PA_NONE)
			return;
		wrong = vm_spoil(v, z.a, z.b, &backing.hpa);
		fixed = z.hpa == backing.hpa;
		if (fixed)
			frames_fix(w, z.hpa, (z.b - z.a) * w->page, true);
		now = true;
	}
	/* In shared mode the size of a page, and so its rights, depend on the tables that stand. */
	now = now && vm_random(w, 3) == 0 && (z.provider || !z.exec_small || !w->shared);
	flags |= now ? NEST_VM_EAGER : 0;
	right = wrong | addition_errors(v, &z, now);
	v->call = (struct vm_call){ .populates = now, .from = z.a, .to = z.b, .adding = &z };
	if (now && fixed && !right)
		plan_fixed(v, &z);
	vm_begin(v);
	err = nest_vm_add_ram(&v->vm, vm_gpa(w, z.a), (z.b - z.a) * w->page, &backing, flags);
	if (v->call.failed)
		right |= VM_STATUS(v->call.failed);
	vm_check_status(v, err, right ? right : VM_STATUS(NEST_OK));
	end_addition(v, &z, err, fixed);
}

void vm_call_add_device(struct vm *v)
{
	struct vm_world *w = v->w;
	struct zone z = { .used = true, .type = NEST_REGION_DEVICE };
	nest_attr_t attr = w->attr[vm_random(w, w->attrs)];
	uint32_t right, wrong;
	nest_pa_t hpa;
	bool fixed;
	int err;

	vm_draw_range(w, &z.a, &z.b);
	z.attr = attr & ~(NEST_ACCESSED | NEST_DIRTY);
	z.hpa = hpa = vm_take_memory(w, z.a, z.b);
	if (hpa == NEST_PA_NONE)
		return;
	wrong = vm_spoil(v, z.a, z.b, &hpa);
	fixed = hpa == z.hpa;
	if (fixed)
		frames_fix(w, z.hpa, (z.b - z.a) * w->page, true);
	right = wrong | addition_errors(v, &z, true);
	if (fixed && !right)
		plan_fixed(v, &z);
	vm_begin(v);
	err = nest_vm_add_device(&v->vm, vm_gpa(w, z.a), hpa, (z.b - z.a) * w->page, attr);
	vm_check_status(v, err, right ? right : VM_STATUS(NEST_OK));
	end_addition(v, &z, err, fixed);
}

void vm_call_add_mmio(struct vm *v)
{
	struct vm_world *w = v->w;
	struct zone z = { .used = true, .type = NEST_REGION_MMIO };
	uint32_t right;
	int err;

	vm_draw_range(w, &z.a, &z.b);
	z.cookie = &w->cut[vm_random(w, VM_CUTS)];
	right = addition_errors(v, &z, false);
	vm_begin(v);
	err = nest_vm_add_mmio(&v->vm, vm_gpa(w, z.a), (z.b - z.a) * w->page, z.cookie);
	vm_check_status(v, err, right ? right : VM_STATUS(NEST_OK));
	end_addition(v, &z, err, false);
}

/* Pages [a, b) of the zone go; what is left of it stays as one zone or two. */
static void cut_zone(struct vm *v, struct zone *z, unsigned a, unsigned b)
{
	struct vm_world *w = v->w;
	const struct zone whole = *z;
	struct zone *right;

	a = a > z->a ? a : z->a;
	b = b < z->b ? b : z->b;
	if (!whole.provider || !whole.provider->backing.put)
		vm_drop_removed(v, a, b);
	if (!whole.provider && whole.type != NEST_REGION_MMIO)
		frames_fix(w, whole.hpa + (a - whole.a) * w->page, (b - a) * w->page, false);
	z->b = a;
	z->used = z->a < z->b;
	if (b == whole.b)
		return;
	right = free_zone(v);
	*right = whole;
	right->a = b;
	right->hpa += (b - whole.a) * w->page;
}

static bool is_hit(const struct zone *z, unsigned a, unsigned b)
{
	return z->used && z->a < b && z->b > a;
}

void vm_call_remove(struct vm *v)
{
	struct vm_world *w = v->w;
	struct zone *z = &v->zone[vm_random(w, VM_ZONES)];
	uint32_t flags = vm_random(w, 2) ? NEST_VM_SPLIT : 0, right;
	unsigned a, b, hit = 0, partly = 0;
	bool inside = false;
	int err;

	vm_draw_range(w, &a, &b);
	if (z->used && vm_random(w, 2)) {
		a = z->a;
		b = z->b;
	}
	for (unsigned k = 0; k < VM_ZONES; k++) {
		z = &v->zone[k];
		if (!is_hit(z, a, b))
			continue;
		partly += z->a < a || z->b > b;
		inside |= z->a < a && z->b > b;
		hit++;
		for (unsigned i = z->a > a ? z->a : a; i < z->b && i < b; i++)
			v->next[i] = (struct cell){ .kind = NEST_PTE_NONE };
	}
	right = VM_STATUS(hit ? NEST_OK : NEST_E_NOTMAPPED);
	if (partly && !flags)
		right = VM_STATUS(NEST_E_INVAL);
	else if (inside && !free_zone(v))
		right = VM_STATUS(NEST_E_NOMEM);
	if (right != VM_STATUS(NEST_OK))
		vm_forget_plan(v);
	v->call.may_break = true;
	vm_begin(v);
	err = nest_vm_remove(&v->vm, vm_gpa(w, a), (b - a) * w->page, flags);
	vm_check_status(v, err, right);
	if (err)
		vm_forget_plan(v);
	for (unsigned k = 0; k < VM_ZONES && !err; k++) {
		if (is_hit(&v->zone[k], a, b))
			cut_zone(v, &v->zone[k], a, b);
	}
	vm_end(v);
}
