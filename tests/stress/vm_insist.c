/* SPDX-License-Identifier: MIT */
/*
 * One call of the library by a thread, made again for as long as another CPU is in the way.
 */
#include "vm.h"

#include <sched.h>

enum { MOST_BUSY = 100000 };

const char *const call_names[CALL_KINDS] = {
	[CALL_FAULT] = "fault",     [CALL_TRANSLATE] = "translate", [CALL_MAP] = "map",
	[CALL_REPLACE] = "replace", [CALL_TAKE] = "take",           [CALL_RESTORE] = "restore",
	[CALL_DISCARD] = "discard", [CALL_PROTECT] = "protect",     [CALL_FORBID] = "forbid",
	[CALL_MARK] = "mark",       [CALL_HARVEST] = "harvest",     [CALL_AGE] = "age",
	[CALL_SPLIT] = "split",
};

static int discard(nest_ia_t gpa, uint64_t size)
{
	struct nest_gather gather;
	int err;

	nest_gather_init(&gather, nest_vm_pt(&w.vm));
	nest_gather_on_release(&gather, ledger_released, NULL);
	err = nest_pt_unmap(nest_vm_pt(&w.vm), gpa, size, NEST_SKIP_HOLES, &gather);
	nest_gather_sync(&gather);
	return err;
}

static int once(const struct call *c)
{
	struct nest_pt *pt = nest_vm_pt(&w.vm);
	const nest_ia_t gpa = gpa_of(c->range.page);
	const uint64_t size = c->range.n * w.page;

	switch (c->kind) {
	case CALL_TRANSLATE:
		return nest_vm_translate(&w.vm, gpa, c->attr, c->mapping);
	case CALL_MAP:
	case CALL_REPLACE:
		return nest_vm_map(&w.vm, gpa, c->pa, size, c->attr, c->flags);
	case CALL_TAKE:
		return nest_vm_unmap(&w.vm, gpa, size, c->flags);
	case CALL_DISCARD:
		return discard(gpa, size);
	case CALL_PROTECT:
	case CALL_FORBID:
		return nest_vm_protect(&w.vm, gpa, size, c->set, c->clear, c->flags);
	case CALL_MARK:
		return nest_pt_mark(pt, gpa, size, c->mark, NULL);
	case CALL_HARVEST:
		return nest_pt_harvest(pt, gpa, size, NEST_DIRTY, c->bitmap, 0, NULL);
	case CALL_AGE:
		return nest_pt_harvest(pt, gpa, size, NEST_ACCESSED, NULL, 0, NULL);
	case CALL_SPLIT:
		return nest_pt_split(pt, gpa, size, 0, NULL);
	case CALL_RESTORE:
		return nest_vm_restore(&w.vm, gpa, size);
	default:
		return NEST_E_INVAL;
	}
}

int insist(struct worker *k, const struct call *c)
{
	for (unsigned tries = 0;; tries++) {
		int err;

		k->count.tried[c->kind]++;
		enter(k);
		err = once(c);
		leave(k);
		k->count.done[c->kind] += err == NEST_OK;
		if (err != NEST_E_BUSY)
			return err;
		k->count.busy++;
		if (tries == MOST_BUSY)
			stress_fail("livelock: %s of %#lx is busy for ever", call_names[c->kind],
				    (unsigned long)gpa_of(c->range.page));
		if (tries > 16)
			stress_pause(&self->random, 100);
		else
			sched_yield();
	}
}

void must(const struct call *c, int err, int want)
{
	if (err != want)
		stress_fail("%s of %lu pages at %#lx: \"%s\", not \"%s\"", call_names[c->kind],
			    (unsigned long)c->range.n, (unsigned long)gpa_of(c->range.page),
			    nest_strerror(err), nest_strerror(want));
}
