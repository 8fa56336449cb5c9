/* SPDX-License-Identifier: MIT */
/*
 * Epochs: when has every CPU stopped reading a table that was taken out?
 *
 * A CPU that enters shows the epoch that it sees. The epoch moves on when every CPU inside shows
 * the present one: so a CPU that entered in epoch n has left before epoch n + 2. A table that was
 * taken out in epoch n is known to CPUs that entered in n or before; in epoch n + 2 it is freed.
 * The CPU that frees it is inside, too, in n + 2, and the lists in use then are those of n + 1 to n
 * + 3: so there are four.
 *
 * A CPU that shows an epoch which has passed, since it was slow, only delays the others. A CPU that
 * frees must show the present one.
 *
 * A table that waits holds the callback and the next table in words of its own (see
 * nest_free_table()).
 */
#include <nest/epoch.h>

#include "core/table.h"

enum { NEXT = NEST_LIMBO_OWN, CALL };

int nest_epoch_init(struct nest_epoch *e, struct nest_epoch_slot *slot, unsigned cpus)
{
	if (!e || !slot || !cpus)
		return NEST_E_INVAL;
	*e = (struct nest_epoch){ .slot = slot, .cpus = cpus, .now = 1 };
	for (unsigned i = 0; i < cpus; i++)
		slot[i] = (struct nest_epoch_slot){ 0 };
	return NEST_OK;
}

void nest_epoch_enter(struct nest_epoch *e, unsigned cpu)
{
	uint64_t now = __atomic_load_n(&e->now, __ATOMIC_ACQUIRE);

	/* Whoever moves the epoch on sees it, or has done so before anything is read. */
	__atomic_exchange_n(&e->slot[cpu].seen, now, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void nest_epoch_exit(struct nest_epoch *e, unsigned cpu)
{
	__atomic_store_n(&e->slot[cpu].seen, 0, __ATOMIC_RELEASE);
}

void nest_epoch_defer(struct nest_epoch *e, void (*fn)(void *arg), void *arg)
{
	nest_pte_t *table = arg, soft_bits = nest_load(table) & ~(NEST_MARK_MAX << 12);
	void **list, *next;

	/*
	 * The table was unlinked by a store that may still wait in this CPU's store buffer; without
	 * the fence `now` could be read before others see it. They could move to the next epoch
	 * meanwhile, and a reader could come in there and find the table, which would be freed one
	 * epoch too early for it. With the fence, and the one in nest_epoch_enter(), either the
	 * reader does not find the table, or its epoch is not later than the one that is read here.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* unlinked; now read */
	list = &e->list[__atomic_load_n(&e->now, __ATOMIC_ACQUIRE) % 4];
	next = __atomic_load_n(list, __ATOMIC_RELAXED);
	(void)__atomic_fetch_add(&e->waiting, 1, __ATOMIC_RELAXED);
	nest_limbo_set(table, CALL, (uintptr_t)fn, soft_bits);
	do {
		nest_limbo_set(table, NEXT, (uintptr_t)next, soft_bits);
	} while (!__atomic_compare_exchange_n(list, &next, arg, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

/* Does every CPU that is inside show this epoch? */
static bool all_show(const struct nest_epoch *e, uint64_t now)
{
	for (unsigned i = 0; i < e->cpus; i++) {
		uint64_t seen = __atomic_load_n(&e->slot[i].seen, __ATOMIC_ACQUIRE);

		if (seen && seen != now)
			return false;
	}
	return true;
}

uint64_t nest_epoch_poll(struct nest_epoch *e, unsigned cpu)
{
	nest_pte_t *table = NULL;
	uint64_t now;

	nest_epoch_enter(e, cpu);
	now = __atomic_load_n(&e->slot[cpu].seen, __ATOMIC_RELAXED);
	if (now == __atomic_load_n(&e->now, __ATOMIC_SEQ_CST)) {
		uint64_t expected = now;

		table = __atomic_exchange_n(&e->list[(now + 2) % 4], NULL, __ATOMIC_ACQUIRE);
		if (all_show(e, now))
			(void)__atomic_compare_exchange_n(&e->now, &expected, now + 1, false,
							  __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	nest_epoch_exit(e, cpu);
	while (table) {
		void (*fn)(void *) = (void (*)(void *))(uintptr_t)nest_limbo_get(table, CALL);
		void *next = (void *)(uintptr_t)nest_limbo_get(table, NEXT);

		fn(table);
		(void)__atomic_fetch_sub(&e->waiting, 1, __ATOMIC_RELAXED);
		table = next;
	}
	return __atomic_load_n(&e->waiting, __ATOMIC_RELAXED);
}
