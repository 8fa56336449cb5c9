/* SPDX-License-Identifier: MIT */
/*
 * CPUs that run the guest: hardware walkers with TLBs, which set accessed and dirty bits where
 * hardware does, and fault where it does. Every use of a translation is checked against the ledger.
 */
#include "vm.h"

#include <sched.h>
#include <string.h>

enum { LIVELOCK = 100000 };

/* Every CPU drops what the flush names; that may take a while. */
void host_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	if (below(32) == 0)
		stress_pause(&self->random, 3000);
	else if (below(4))
		stress_pause(&self->random, 300);
	else
		sched_yield();
	for (unsigned c = 0; c < CPUS; c++)
		tlb_flush(&w.tlb[c], nest_vm_pt(&w.vm), what);
}

/* The guest uses what a walk, now or earlier, has given. Under the TLB's lock. */
static void use(struct access *a, nest_pa_t pa)
{
	struct page *p = &w.pages[a->page];
	struct frame *f = ledger_frame(pa);
	unsigned long owner = atomic_load(&f->owner);

	if (owner == FRAME_FREE || owner == FRAME_TAKEN)
		stress_fail("the guest reaches %#lx at %#lx, which %s", (unsigned long)pa,
			    (unsigned long)gpa_of(a->page),
			    owner == FRAME_FREE ? "was given back" : "was taken away");
	if (owner != a->page + 1)
		stress_fail("the guest reaches %#lx at %#lx, which is the frame of %#lx",
			    (unsigned long)pa, (unsigned long)gpa_of(a->page),
			    (unsigned long)gpa_of(owner - 1));
	a->pa = pa;
	a->found = atomic_load(&f->content);
	if (a->found && a->found >> 32 != a->page + 1)
		stress_fail("%#lx holds what was written to %#lx", (unsigned long)gpa_of(a->page),
			    (unsigned long)gpa_of((a->found >> 32) - 1));
	if ((a->rights & NEST_X) && !atomic_load(&p->may_exec))
		stress_fail("the guest executes from %#lx after that was forbidden",
			    (unsigned long)gpa_of(a->page));
	if (!(a->rights & NEST_W))
		return;
	if (!atomic_load(&p->may_write))
		stress_fail("the guest writes to %#lx after that was write-protected",
			    (unsigned long)gpa_of(a->page));
	if (a->store)
		atomic_store(&f->content, a->store);
	atomic_fetch_add(&p->written, 1);
}

/* Which of accessed and dirty this access still has to set. */
static nest_attr_t status_missing(nest_attr_t attr, nest_attr_t rights)
{
	nest_attr_t status = NEST_ACCESSED;

	/* Without DBM an AArch64 page that is writable is dirty. */
	if ((rights & NEST_W) && (!w.has_dbm || (attr & NEST_DBM)))
		status |= NEST_DIRTY;
	return status & w.tracked & ~attr;
}

static bool hit_tlb(struct tlb *t, struct access *a)
{
	const nest_ia_t gpa = gpa_of(a->page);

	for (unsigned i = 0; i < TLB_KEPT; i++) {
		if (gpa - t->kept[i].ia >= t->kept[i].size || (a->rights & ~t->kept[i].attr) ||
		    status_missing(t->kept[i].attr, a->rights))
			continue;
		use(a, t->kept[i].pa + (gpa - t->kept[i].ia));
		return true;
	}
	return false;
}

/* As hardware, with one compare-and-exchange. False: somebody else has changed the entry. */
static bool set_status(struct walk *at, nest_attr_t missing)
{
	nest_pte_t to;

	if (nest_pte_leaf(w.format, at->level, w.features, at->info.pa, at->info.attr | missing,
			  &to) != NEST_OK)
		stress_fail("no dirty form of %#lx", (unsigned long)at->e);
	if (!__atomic_compare_exchange_n(at->p, &at->e, to, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	at->info.attr |= missing;
	return true;
}

/* One try. False: it faults, and *fault is what the CPU reports. */
static bool try_access(struct tlb *t, struct access *a, struct nest_fault *fault)
{
	const nest_ia_t gpa = gpa_of(a->page);
	nest_attr_t missing = 0;
	struct walk at;
	bool leaf, hit = true;

	*fault = (struct nest_fault){ .gpa = gpa,
				      .gpa_valid = true,
				      .access = a->rights,
				      .level = NEST_FAULT_LEVEL_UNKNOWN };
	pthread_mutex_lock(&t->lock);
	if (stress_below(&t->random, 2) && hit_tlb(t, a))
		goto out;
	do {
		leaf = tlb_walk(t, nest_vm_pt(&w.vm), gpa, &at);
		if (leaf)
			missing = status_missing(at.info.attr, a->rights);
	} while (leaf && !(a->rights & ~at.info.attr) && missing && w.by_hardware &&
		 !set_status(&at, missing));
	fault->kind = NEST_FAULT_TRANSLATION;
	if (leaf && (a->rights & ~at.info.attr)) {
		fault->kind = NEST_FAULT_PERMISSION;
	} else if (leaf && missing && !w.by_hardware) {
		fault->kind = w.is_aarch64 ? NEST_FAULT_ACCESS_FLAG : NEST_FAULT_PERMISSION;
	} else if (leaf) {
		if ((at.info.attr & w.exec) && at.level && has_one_owner(a->page / w.n))
			stress_fail("the larger page at %#lx may execute", (unsigned long)gpa);
		tlb_keep(t, (unsigned)stress_below(&t->random, TLB_KEPT), nest_vm_pt(&w.vm), gpa,
			 &at);
		use(a,
		    at.info.pa + (gpa & (((uint64_t)1 << nest_pt_shift(&w.vm.pt, at.level)) - 1)));
		goto out;
	}
	/* A guest page fault of RISC-V does not say why. */
	if (w.is_riscv)
		fault->kind = NEST_FAULT_TRANSLATION;
	hit = false;
out:
	pthread_mutex_unlock(&t->lock);
	return hit;
}

void *reader_main(void *arg)
{
	struct tlb *t = arg;
	static const nest_attr_t rights[] = { NEST_R, NEST_R, NEST_RW, NEST_X };
	struct nest_fault fault;

	for (uint64_t i = 1; atomic_load(&w.running); i++) {
		struct access a = { .rights = rights[stress_below(&t->random, 4)] };
		uint64_t in_block = stress_below(&t->random, SEGMENTS) * (w.n / SEGMENTS);

		in_block += stress_below(&t->random, 4) ? stress_below(&t->random, PLAY)
							: stress_below(&t->random, w.n / SEGMENTS);
		a.page = stress_below(&t->random, BLOCKS) * w.n + in_block;
		(void)try_access(t, &a, &fault);
		if (!(i % 64))
			sched_yield();
	}
	return NULL;
}

/* ---- Faults ---- */

static const char *fault_text(const struct nest_fault *f)
{
	static _Thread_local char text[32];

	text[0] = f->access & NEST_R ? 'r' : '-';
	text[1] = f->access & NEST_W ? 'w' : '-';
	text[2] = f->access & NEST_X ? 'x' : '-';
	strcpy(&text[3], f->kind == NEST_FAULT_TRANSLATION  ? " translation"
			 : f->kind == NEST_FAULT_PERMISSION ? " permission"
							    : " access flag");
	return text;
}

/* Odd before or after, or changed meanwhile: it may have been so during the call. */
static bool may_have_been(unsigned before, const atomic_uint *now)
{
	return (before & 1) || atomic_load(now) != before;
}

enum result guest(struct worker *k, struct access *a)
{
	struct page *p = &w.pages[a->page];
	const unsigned block = (unsigned)(a->page / w.n);
	struct nest_fault fault;
	unsigned long tries = 0;

	for (;;) {
		unsigned deny, deny_exec, marked;
		struct nest_exit out;

		if (try_access(&w.tlb[k->id], a, &fault)) {
			k->count.hits++;
			return HIT;
		}
		deny = atomic_load(&p->deny);
		deny_exec = atomic_load(&p->deny_exec);
		marked = atomic_load(&p->marked);
		k->count.tried[CALL_FAULT]++;
		enter(k);
		if (nest_vm_fault(&w.vm, &fault, &out) != NEST_OK)
			stress_fail("nest_vm_fault() failed");
		leave(k);
		/* Also where nothing can be mapped: a table above may be on its way out. */
		if (out.kind == NEST_EXIT_RESUME) {
			k->count.done[CALL_FAULT]++;
			k->count.resumed++;
			if (++tries > k->count.deepest)
				k->count.deepest = tries;
			if (tries == LIVELOCK)
				stress_fail("livelock: %#lx still faults (%s) after %lu RESUMEs",
					    (unsigned long)fault.gpa, fault_text(&fault), tries);
			if (tries > 16)
				stress_pause(&self->random, 100);
			else
				sched_yield();
			continue;
		}
		if (out.kind == NEST_EXIT_MMIO && block == MMIO) {
			k->count.mmio++;
			return EMULATE;
		}
		if (out.kind == NEST_EXIT_UNMAPPED && block == HOLE) {
			k->count.unmapped++;
			return NOTHING;
		}
		if (out.kind == NEST_EXIT_MARKED && may_have_been(marked, &p->marked)) {
			if ((marked & 1) && atomic_load(&p->marked) == marked &&
			    out.mark != atomic_load(&p->mark))
				stress_fail("%#lx exits with mark %#lx, not %#lx",
					    (unsigned long)fault.gpa, (unsigned long)out.mark,
					    atomic_load(&p->mark));
			k->count.marked++;
			return MARKED;
		}
		if (out.kind == NEST_EXIT_ERROR && out.status == NEST_E_DENIED &&
		    (((fault.access & NEST_W) && may_have_been(deny, &p->deny)) ||
		     ((fault.access & NEST_X) && may_have_been(deny_exec, &p->deny_exec)))) {
			k->count.denied++;
			return DENIED;
		}
		stress_fail("a legal fault at %#lx (%s) stops the guest: exit %d, status \"%s\"",
			    (unsigned long)fault.gpa, fault_text(&fault), (int)out.kind,
			    nest_strerror(out.status));
	}
}
