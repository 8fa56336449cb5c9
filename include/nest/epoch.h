/* SPDX-License-Identifier: MIT */
/*
 * Grace periods for an embedder without RCU: when may a table that was taken out of the tree be
 * freed, although other CPUs may still be reading it?
 *
 * Every CPU brackets its calls on shared tables with nest_epoch_enter() and nest_epoch_exit(), and
 * nest_epoch_defer() is the host's `defer`. Memory is fixed: a slot a CPU, given by the embedder;
 * what waits is chained through itself. Nothing here takes a lock; enter and exit are a few
 * instructions and never wait. A CPU that stays inside for long delays freeing, nothing else.
 *
 *     static struct nest_epoch_slot slot[NR_CPUS];
 *     static struct nest_epoch epoch;      (nest_epoch_init(&epoch, slot, NR_CPUS) at boot)
 *
 *     static void defer(void *ctx, void (*fn)(void *arg), void *arg)
 *     {
 *             nest_epoch_defer(&epoch, fn, arg);
 *     }
 *
 *     nest_epoch_enter(&epoch, cpu);
 *     err = nest_pt_map(...);
 *     nest_epoch_exit(&epoch, cpu);
 */
#ifndef NEST_EPOCH_H
#define NEST_EPOCH_H

#include <nest/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One CPU's state: a cache line of its own. Fields are the library's. */
struct nest_epoch_slot {
	uint64_t seen; /* the epoch that the CPU is inside of; 0: outside */
	uint64_t unused[7];
};

/* Fields are the library's. */
struct nest_epoch {
	struct nest_epoch_slot *slot;
	unsigned cpus;
	uint64_t now;
	uint64_t waiting; /* tables not freed yet */
	void *list[4];    /* what was taken out in an epoch, by its number modulo 4 */
};

/* NEST_E_INVAL: NULL, or no CPU. `slot` is memory for `cpus` of them and is set up by this. */
int nest_epoch_init(struct nest_epoch *e, struct nest_epoch_slot *slot, unsigned cpus);

/*
 * From here to nest_epoch_exit() nothing is freed that this CPU could still find. `cpu` is below
 * the number given to init, and used by one thread of execution at a time (an interrupt handler
 * that makes calls of its own needs a slot of its own). Does not nest.
 */
void nest_epoch_enter(struct nest_epoch *e, unsigned cpu);
void nest_epoch_exit(struct nest_epoch *e, unsigned cpu);

/*
 * For nest_host.defer, and for what that is given only: run fn(arg) when every CPU that is inside
 * now has been outside. To be called inside, as every call of the library is that frees tables.
 */
void nest_epoch_defer(struct nest_epoch *e, void (*fn)(void *arg), void *arg);

/*
 * Free what may be freed by now. To be called outside, from time to time, on any CPU; host.free is
 * called from it. Returns how many tables still wait: when no CPU is inside, none do after the
 * third call.
 */
uint64_t nest_epoch_poll(struct nest_epoch *e, unsigned cpu);

#ifdef __cplusplus
}
#endif
#endif
