/* SPDX-License-Identifier: MIT */
/*
 * Faults, copies and translations: the calls that look at one page after the other and populate it.
 */
#include <stdio.h>
#include <string.h>

#include "vm_calls.h"

#define EXIT(kind) ((uint32_t)1 << (kind))

static const struct cell *cell_at(const struct vm *v, nest_ia_t gpa)
{
	const struct vm_world *w = v->w;

	if (gpa < w->origin || (gpa - w->origin) / w->page >= w->pages)
		return NULL;
	return &v->next[(gpa - w->origin) / w->page];
}

/* A page of a probe, of a neighbour of one, or any. */
static unsigned draw_page(struct vm *v)
{
	struct vm_world *w = v->w;
	unsigned page = v->page_of[vm_random(w, v->tlb.probes)];

	if (vm_random(w, 4) == 0)
		page = (unsigned)vm_random(w, w->pages);
	else if (vm_random(w, 4) == 0 && page + 1 < w->pages)
		page++;
	return page;
}

/* Fixed memory has been mapped at the page, in the largest block that fits: plan the same. */
static void plan_fixed_block(struct vm *v, const struct zone *z, unsigned page)
{
	struct vm_world *w = v->w;
	uint64_t size = zone_fit(v, z, page, zone_limit(v, z));
	unsigned first;

	/* In shared mode a block needs an entry of its own. */
	for (struct mmu_step s = vm_walk(v, vm_gpa(w, page));
	     w->shared && s.kind == MMU_PAGE && size > (uint64_t)1 << s.shift;)
		size = zone_fit(v, z, page, size - 1);
	first = (unsigned)(((vm_gpa(w, page) & ~(size - 1)) - w->origin) / w->page);
	for (unsigned i = first; i < first + size / w->page; i++)
		v->next[i] = (struct cell){ .kind = NEST_PTE_LEAF,
					    .attr = zone_attr(v, z, size),
					    .value = z->hpa + (i - z->a) * w->page };
}

/*
 * The page held nothing, and the call has populated it, or has ended there with `err`. What is
 * right? Plans what has been mapped.
 */
static int populated(struct vm *v, const struct zone *z, unsigned page, int err)
{
	struct vm_world *w = v->w;

	if (z->provider && !v->call.was_asked)
		vm_fail(w, "no frame is asked for");
	if (z->provider && v->call.failed)
		return v->call.failed;
	if (w->refused && err == NEST_E_DENIED)
		return err;
	if (w->ram.failed && err == NEST_E_NOMEM)
		return err;
	if (!z->provider)
		plan_fixed_block(v, z, page);
	return v->next[page].kind == NEST_PTE_LEAF ? NEST_OK : NEST_E_NOMEM;
}

/* What a call has left mapped that it gave up, of a provider that is not told. */
static void drop_given_up(struct vm *v, unsigned page)
{
	struct vm_world *w = v->w;
	const struct zone *z = zone_at(v, page);

	for (unsigned i = 0; z && i < w->pages; i++) {
		struct cell *next = &v->next[i];

		if (z->provider && !z->provider->backing.put && next->kind == NEST_PTE_LEAF &&
		    v->is[i].kind == NEST_PTE_NONE && i >= z->a && i < z->b &&
		    vm_walk(v, vm_gpa(w, i)).kind != MMU_PAGE) {
			frames_drop(v, next->value);
			*next = v->is[i];
		}
	}
}

/* ---- Translate ---- */

void vm_call_translate(struct vm *v)
{
	static const nest_attr_t accesses[] = { 0, NEST_R, NEST_W, NEST_X, NEST_RW, NEST_RX };
	struct vm_world *w = v->w;
	nest_ia_t gpa = vm_gpa(w, draw_page(v)) + vm_random(w, w->page);
	nest_attr_t access = accesses[vm_random(w, 6)];
	const struct cell *c = cell_at(v, gpa);
	struct nest_mapping m;
	int err, want = NEST_OK;

	if (c->kind != NEST_PTE_LEAF)
		want = NEST_E_NOTMAPPED;
	else if (access & ~c->attr)
		want = NEST_E_DENIED;
	vm_begin(v);
	err = nest_vm_translate(&v->vm, gpa, access, &m);
	w->ram.failed = w->refused = false;
	vm_check_status(v, err, VM_STATUS(want));
	if (c->kind == NEST_PTE_LEAF && m.pa != c->value + (gpa & (w->page - 1)))
		vm_fail(w, "translates to %#lx", (unsigned long)m.pa);
	vm_end(v);
}

/* ---- Copies ---- */

enum { COPY_MOST = 3 * 65536 };

/* What is right at the next page of a copy that has ended with `err` at page `at` of it? */
static uint32_t copy_page(struct vm *v, unsigned page, nest_attr_t access, int err)
{
	const struct cell *c = &v->next[page];
	const struct zone *z = zone_at(v, page);

	if (z && z->type == NEST_REGION_DEVICE)
		return VM_STATUS(NEST_E_DENIED);
	if (c->kind == NEST_PTE_MARK) {
		v->w->count.marks_met++;
		return VM_STATUS(NEST_E_NOTMAPPED);
	}
	if (v->is[page].kind == NEST_PTE_NONE && (!z || z->type == NEST_REGION_MMIO))
		return VM_STATUS(NEST_E_NOTMAPPED);
	if (c->kind == NEST_PTE_NONE || v->is[page].kind == NEST_PTE_NONE) {
		int right;

		if (access & ~z->attr)
			return VM_STATUS(NEST_E_DENIED);
		if (c->kind == NEST_PTE_NONE) {
			right = populated(v, z, page, err);
			if (right)
				return VM_STATUS(right);
		}
	}
	if ((access & ~c->attr) || (c->attr & NEST_MT_MASK) != NEST_MT_WB)
		return VM_STATUS(NEST_E_DENIED);
	return VM_STATUS(NEST_OK);
}

/* The bytes that the guest sees in the page that holds gpa. */
static uint8_t *bytes_at(struct vm *v, nest_ia_t gpa)
{
	const struct cell *c = cell_at(v, gpa);

	return (uint8_t *)frames_pointer(v->w, c->value) + (gpa & (v->w->page - 1));
}

static void check_bytes(struct vm *v, nest_ia_t gpa, const uint8_t *buf, uint64_t copied)
{
	for (uint64_t done = 0, n; done < copied; done += n) {
		n = v->w->page - ((gpa + done) & (v->w->page - 1));
		n = n < copied - done ? n : copied - done;
		/* What is mapped twice may have been written twice. */
		if (frames_out(v->w, cell_at(v, gpa + done)->value) > 1)
			continue;
		if (memcmp(bytes_at(v, gpa + done), buf + done, n))
			vm_fail(v->w, "other bytes at %#lx", (unsigned long)(gpa + done));
	}
}

/* Something to be read. */
static void scribble(struct vm *v, unsigned page)
{
	const struct cell *c = &v->is[page];

	if (c->kind == NEST_PTE_LEAF && frames_is_one(v->w, c->value))
		memset(frames_pointer(v->w, c->value), (int)dice_throw(&v->w->dice, 256),
		       v->w->page);
}

/* Compare the status with the flat array, page by page, up to where the copy has come. */
static void check_copy(struct vm *v, nest_ia_t gpa, uint64_t len, nest_attr_t access, int err,
		       size_t copied)
{
	struct vm_world *w = v->w;
	uint64_t done = 0;
	uint32_t right = VM_STATUS(NEST_OK);

	while (done < len && right == VM_STATUS(NEST_OK)) {
		unsigned page = (unsigned)((gpa + done - w->origin) / w->page);
		uint64_t n = w->page - ((gpa + done) & (w->page - 1));
		bool last = err && copied == done;

		if (last && ((err == NEST_E_NOMEM && w->ram.failed) ||
			     (err == NEST_E_DENIED && w->refused)))
			break;
		right = copy_page(v, page, access, last ? err : NEST_OK);
		if (right == VM_STATUS(NEST_OK))
			done += n < len - done ? n : len - done;
	}
	if (copied != done)
		vm_fail(w, "%#lx bytes are copied, not %#lx (%s)", (unsigned long)copied,
			(unsigned long)done, nest_strerror(err));
	if (w->refused && err != NEST_E_DENIED)
		vm_fail(w, "refused, and it returns \"%s\"", nest_strerror(err));
	vm_check_status(v, err, right);
}

void vm_call_copy(struct vm *v, bool write)
{
	static uint8_t buf[COPY_MOST];
	struct vm_world *w = v->w;
	unsigned page = draw_page(v), last;
	uint64_t len = 1 + vm_random(w, vm_random(w, 2) ? 64 : 2 * w->page);
	nest_ia_t gpa = vm_gpa(w, page) + vm_random(w, w->page), end = vm_gpa(w, w->pages - 1);
	size_t copied;
	int err;

	if (vm_random(w, 3) == 0)
		gpa = (gpa | (w->page - 1)) - vm_random(w, 8);
	if (len - 1 > end + (w->page - 1) - gpa)
		len = 1;
	last = (unsigned)((gpa + (len - 1) - w->origin) / w->page);
	for (uint64_t i = 0; i < len && write; i += 8)
		memcpy(&buf[i], &(uint64_t){ dice_throw(&w->dice, ~(uint64_t)0) }, 8);
	for (unsigned i = page; i <= last && !write; i++)
		scribble(v, i);
	v->call = (struct vm_call){
		.may_break = true, .populates = true, .from = page, .to = last + 1
	};
	vm_begin(v);
	err = write ? nest_vm_write(&v->vm, gpa, buf, len, &copied)
		    : nest_vm_read(&v->vm, gpa, buf, len, &copied);
	drop_given_up(v, page);
	check_copy(v, gpa, len, write ? NEST_W : NEST_R, err, copied);
	check_bytes(v, gpa, buf, copied);
	for (unsigned i = page; copied && write && vm_gpa(w, i) < gpa + copied; i++)
		v->next[i].dirty = true;
	vm_end(v);
}

/* ---- Faults ---- */

/* What is right: a set of exits, and of statuses for the exit that has one. */
struct outcome {
	uint32_t exits, statuses;
};

static struct outcome exit_of(enum nest_exit_kind kind)
{
	return (struct outcome){ .exits = EXIT(kind) };
}

static struct outcome error_of(int status)
{
	return (struct outcome){ .exits = EXIT(NEST_EXIT_ERROR), .statuses = VM_STATUS(status) };
}

/* Has the page the rights? A fetch needs the right of its mode, which a fault does not tell. */
static struct outcome by_rights(const struct vm_world *w, const struct nest_fault *f,
				nest_attr_t attr, struct outcome without)
{
	bool separate = w->setup.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX);
	nest_attr_t data = f->access & NEST_RW, fetch = attr & (NEST_X | NEST_XU);

	if (data & ~attr)
		return without;
	if (!(f->access & NEST_X) || fetch == (NEST_X | NEST_XU) || (!separate && fetch & NEST_X))
		return exit_of(NEST_EXIT_RESUME);
	if (!separate || !fetch)
		return without;
	/* The right was looked at before the flag. */
	if (f->kind == NEST_FAULT_ACCESS_FLAG)
		return exit_of(NEST_EXIT_RESUME);
	without.exits |= EXIT(NEST_EXIT_RESUME);
	return without;
}

/* A page of a region with NEST_VM_EXEC_SMALL that may be executed from when the guest does so. */
static bool gets_exec(const struct vm *v, const struct nest_fault *f, nest_attr_t attr)
{
	bool separate = v->w->setup.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX);
	nest_attr_t all = NEST_X | (separate ? NEST_XU : 0), has = attr & all;

	return v->exec_small && attr & NEST_SW0 && f->access & NEST_X &&
	       !(f->access & NEST_RW & ~attr) &&
	       (f->kind == NEST_FAULT_PERMISSION ? has != all : !has);
}

static struct outcome without_address(const struct nest_fault *f, struct outcome o)
{
	o.exits |= f->gpa_valid ? 0 : EXIT(NEST_EXIT_NO_ADDRESS);
	return o;
}

/* What the flat array says. *populates: the page has to be populated for that. */
static struct outcome expect(struct vm *v, const struct nest_fault *f, const struct zone *z,
			     bool *populates)
{
	const struct vm_world *w = v->w;
	const struct cell *c = cell_at(v, f->gpa);
	struct outcome denied = error_of(NEST_E_DENIED);

	*populates = false;
	if (f->kind == NEST_FAULT_CONFLICT)
		return exit_of(NEST_EXIT_RESUME);
	/* What cannot be mended may be told without an address. */
	if (f->kind == NEST_FAULT_ADDRESS_SIZE)
		return without_address(f, error_of(NEST_E_RANGE));
	if (f->kind != NEST_FAULT_TRANSLATION && f->kind != NEST_FAULT_PERMISSION &&
	    f->kind != NEST_FAULT_ACCESS_FLAG)
		return without_address(f, error_of(NEST_E_UNSUPPORTED));
	if (!f->gpa_valid)
		return exit_of(NEST_EXIT_NO_ADDRESS);
	if (f->gpa >> w->setup.ia_bits)
		return error_of(NEST_E_RANGE);
	if (!c)
		return exit_of(NEST_EXIT_UNMAPPED);
	if (z && z->type == NEST_REGION_MMIO)
		denied = exit_of(NEST_EXIT_MMIO);
	if (z && z->type == NEST_REGION_ROM && f->access & NEST_W)
		denied = exit_of(NEST_EXIT_ROM_WRITE);
	if (c->kind == NEST_PTE_LEAF && gets_exec(v, f, c->attr))
		return exit_of(NEST_EXIT_RESUME);
	if (c->kind == NEST_PTE_LEAF)
		return by_rights(w, f, c->attr, denied);
	if (c->kind == NEST_PTE_MARK)
		return exit_of(NEST_EXIT_MARKED);
	if (!z)
		return exit_of(NEST_EXIT_UNMAPPED);
	if (z->type == NEST_REGION_DEVICE || z->type == NEST_REGION_MMIO)
		return denied;
	denied = by_rights(w, f, z->attr, denied);
	*populates = denied.exits == EXIT(NEST_EXIT_RESUME);
	return denied;
}

static enum nest_fault_kind any_kind(struct vm_world *w)
{
	return (enum nest_fault_kind)vm_random(w, NEST_FAULT_CONFLICT + 1);
}

/* What a CPU reports whose TLB holds, or may hold, that. */
static bool true_kind(const struct vm *v, const struct mmu_step *s, nest_attr_t access,
		      unsigned mode, enum nest_fault_kind *kind)
{
	if (s->kind != MMU_PAGE) {
		*kind = NEST_FAULT_TRANSLATION;
		return s->kind == MMU_TRANSLATION;
	}
	switch (mmu_access(v->tlb.mmu, s, access & NEST_RWX, mode)) {
	case MMU_NO_RIGHT:
		*kind = NEST_FAULT_PERMISSION;
		return true;
	case MMU_NO_FLAG:
		*kind = NEST_FAULT_ACCESS_FLAG;
		return true;
	default:
		return false;
	}
}

static struct nest_fault draw_fault(struct vm *v, unsigned mode)
{
	static const nest_attr_t accesses[] = { NEST_R, NEST_W, NEST_X, NEST_RW };
	struct vm_world *w = v->w;
	unsigned i = (unsigned)vm_random(w, v->tlb.probes), page;
	const struct tlb_probe *p;
	struct nest_fault f = { .gpa_exact = vm_random(w, 2), .gpa_valid = vm_random(w, 32) > 0 };

	/* More often where there is a region. */
	for (unsigned tries = 0; tries < 3 && !zone_at(v, v->page_of[i]); tries++)
		i = (unsigned)vm_random(w, v->tlb.probes);
	page = v->page_of[i];
	p = &v->tlb.probe[i];
	f.access = accesses[vm_random(w, 4)];
	f.gpa = p->ia;
	/* One in two as a CPU would report it; the others are stale, early, or wrong. */
	if (vm_random(w, 2)) {
		struct mmu_step s = vm_walk(v, f.gpa);

		if (vm_random(w, 2))
			s = p->kept[vm_random(w, p->count)];
		if (s.kind != MMU_TABLE && true_kind(v, &s, f.access, mode, &f.kind))
			return f;
	}
	if (vm_random(w, 2))
		page = draw_page(v);
	f.gpa = vm_gpa(w, page) + vm_random(w, w->page);
	f.kind = NEST_FAULT_TRANSLATION;
	/* A fetch from a page that waits for one. */
	for (unsigned k = vm_random(w, 2) ? 0 : w->pages; v->exec_small && k < w->pages; k++) {
		const struct cell *c = &v->next[(page + k) % w->pages];

		if (c->kind != NEST_PTE_LEAF || !(c->attr & NEST_SW0))
			continue;
		f.gpa = vm_gpa(w, (page + k) % w->pages);
		f.access = NEST_X;
		f.kind = NEST_FAULT_PERMISSION;
		return f;
	}
	if (vm_random(w, 3) == 0)
		f.kind = any_kind(w);
	/* Beside what the VM has, or beyond what it can have. */
	if (vm_random(w, 16) == 0)
		f.gpa = vm_random(w, 2) ? w->origin ^ (w->block << 1)
					: (nest_ia_t)1 << w->setup.ia_bits;
	return f;
}

/* The guest goes on: by whatever its TLB holds, it must get through. */
static void check_progress(struct vm *v, const struct nest_fault *f, unsigned mode)
{
	struct vm_world *w = v->w;
	struct mmu_step s = vm_walk(v, f->gpa);

	/* A fetch may be one of the other mode. */
	if ((f->access & NEST_X) && !(s.rights[mode] & MMU_X))
		mode = !mode;
	if (s.kind != MMU_PAGE || mmu_access(v->tlb.mmu, &s, f->access & NEST_RWX, mode))
		vm_fail(w, "the guest resumes and faults again at %#lx", (unsigned long)f->gpa);
	for (unsigned i = 0; i < v->tlb.probes; i++) {
		const struct tlb_probe *p = &v->tlb.probe[i];

		for (unsigned k = 0;
		     p->ia == f->gpa && k < p->count && f->kind == NEST_FAULT_ACCESS_FLAG; k++) {
			if (p->kept[k].kind == MMU_PAGE && p->kept[k].flag_fault & f->access)
				vm_fail(w, "the guest resumes with a stale entry of %#lx",
					(unsigned long)f->gpa);
		}
	}
}

static void check_exit(struct vm *v, const struct nest_fault *f, const struct zone *z,
		       const struct nest_exit *out)
{
	struct vm_world *w = v->w;
	const struct nest_vm_region *r = out->region;
	const struct cell *c = cell_at(v, f->gpa);

	if (!f->gpa_valid) {
		if (out->region)
			vm_fail(w, "the exit tells a region without an address");
		return;
	}
	if (out->gpa != f->gpa || out->access != f->access)
		vm_fail(w, "the exit tells another address or access");
	if ((r != NULL) != (z != NULL))
		vm_fail(w, "the exit tells a wrong region");
	if (r && (r->gpa != vm_gpa(w, z->a) || r->size != (z->b - z->a) * w->page ||
		  r->type != z->type || out->offset != f->gpa - r->gpa || out->cookie != z->cookie))
		vm_fail(w, "the exit tells a wrong region, offset or cookie");
	if (out->kind == NEST_EXIT_MARKED) {
		w->count.marks_met++;
		w->count.taken_met += out->mark == NEST_VM_TAKEN;
		if (out->mark != c->value)
			vm_fail(w, "the exit tells the mark %#lx", (unsigned long)out->mark);
	}
	if (nest_vm_region_at(&v->vm, f->gpa) != r)
		vm_fail(w, "another region is at the address");
}

void vm_call_fault(struct vm *v)
{
	struct vm_world *w = v->w;
	unsigned mode = w->setup.modes >> MMU_USER & 1 && vm_random(w, 2) ? MMU_USER
									  : MMU_PRIVILEGED;
	struct nest_fault f = draw_fault(v, mode);
	const struct cell *c = cell_at(v, f.gpa);
	unsigned page = c ? (unsigned)(c - v->next) : 0;
	const struct zone *z = c ? zone_at(v, page) : NULL;
	struct nest_exit out;
	struct outcome right;
	bool populates, given, was_there = c && c->kind == NEST_PTE_LEAF;
	uint64_t flushes = w->count.flushes;
	int err;

	right = expect(v, &f, z, &populates);
	if (populates)
		v->call = (struct vm_call){ .populates = true,
					    .fetches = f.access & NEST_X,
					    .from = page,
					    .to = page + 1 };
	given = was_there && f.kind != NEST_FAULT_CONFLICT &&
		right.exits == EXIT(NEST_EXIT_RESUME) && gets_exec(v, &f, c->attr);
	if (given) {
		bool separate = w->setup.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX);

		v->next[page].attr &= ~NEST_SW0;
		v->next[page].attr |= NEST_X | (separate ? NEST_XU : 0);
		w->count.late_exec++;
	}
	v->call.may_break = was_there;
	vm_begin(v);
	err = nest_vm_fault(&v->vm, &f, &out);
	if (err)
		vm_fail(w, "returned \"%s\"", nest_strerror(err));
	if (populates) {
		drop_given_up(v, page);
		err = populated(v, z, page, out.status);
		if (err)
			right = error_of(err);
	} else if (right.exits & EXIT(NEST_EXIT_RESUME)) {
		/* Setting a page's status is a change, too. */
		if (w->ram.failed || w->refused)
			right.exits |= EXIT(NEST_EXIT_ERROR);
		right.statuses |= w->ram.failed ? VM_STATUS(NEST_E_NOMEM) : 0;
		right.statuses |= w->refused ? VM_STATUS(NEST_E_DENIED) : 0;
	}
	if (!(right.exits >> out.kind & 1) ||
	    (out.kind == NEST_EXIT_ERROR ? !(right.statuses >> -out.status & 1)
					 : out.status != NEST_OK))
		vm_fail(w, "fault kind %u access %x at %#lx: exit %u \"%s\"; right are %#x, %#x",
			(unsigned)f.kind, f.access, (unsigned long)f.gpa, (unsigned)out.kind,
			nest_strerror(out.status), right.exits, right.statuses);
	w->count.exits[out.kind]++;
	if (given && out.kind == NEST_EXIT_ERROR)
		vm_forget_plan(v);
	check_exit(v, &f, z, &out);
	if (f.kind == NEST_FAULT_CONFLICT && w->count.flushes == flushes)
		vm_fail(w, "a conflict in the TLB is not flushed");
	vm_end(v);
	if (out.kind == NEST_EXIT_RESUME && f.kind != NEST_FAULT_CONFLICT) {
		check_progress(v, &f, mode);
		/* Then the guest has made its access. */
		if (f.access & NEST_W && w->by_software && vm_tracks_dirty(w))
			v->is[page].dirty = v->next[page].dirty = true;
	}
}
