/* SPDX-License-Identifier: MIT */
/*
 * One entry of a table that walkers may see: how it is read and stored.
 */
#ifndef NEST_CORE_ENTRY_H
#define NEST_CORE_ENTRY_H

#include "core/format.h"

/*
 * A walker reads entries as little-endian 64-bit words, each at once. So must the CPU that runs the
 * library store them: in its own byte order, by single instructions. Library calls (libatomic)
 * would take locks that no walker knows.
 */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "libnest needs a little-endian host: page table walkers read little-endian entries");
struct nest_pte_aligned {
	char before;
	nest_pte_t e;
};
_Static_assert(__GCC_ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(struct nest_pte_aligned) == 16,
	       "libnest needs a host whose 8-byte atomics are instructions and whose 8-byte "
	       "integers are aligned to 8: a 64-bit one, or ARMv7, but not i686");

/*
 * A build of the tests looks at memory after every store that a walker could see, and plays
 * hardware before it (NEST_BEFORE_STORE_HOOK): the hooks are told which entry it is. Defined there
 * as names of functions; nothing anywhere else.
 */
#ifdef NEST_STORE_HOOK
void NEST_STORE_HOOK(const nest_pte_t *p);
#define nest_stored(p) NEST_STORE_HOOK(p)
#else
#define nest_stored(p) ((void)(p))
#endif
#ifdef NEST_BEFORE_STORE_HOOK
void NEST_BEFORE_STORE_HOOK(const nest_pte_t *p);
#define nest_storing(p) NEST_BEFORE_STORE_HOOK(p)
#else
#define nest_storing(p) ((void)(p))
#endif

/* An entry of a table that walkers may see: a single-copy atomic access. */
NEST_INLINE nest_pte_t nest_load(const nest_pte_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

NEST_INLINE void nest_store(nest_pte_t *p, nest_pte_t v)
{
	nest_storing(p);
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
	nest_stored(p);
}

/* As nest_store(), for a value that publishes nothing: absent, a mark, the same page's rights. */
NEST_INLINE void nest_store_relaxed(nest_pte_t *p, nest_pte_t v)
{
	nest_storing(p);
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
	nest_stored(p);
}

NEST_INLINE nest_pte_t nest_exchange(nest_pte_t *p, nest_pte_t v)
{
	nest_storing(p);
	v = __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
	nest_stored(p);
	return v;
}

/* On failure *expected is what is there. */
NEST_INLINE bool nest_cas(nest_pte_t *p, nest_pte_t *expected, nest_pte_t v)
{
	bool done;

	nest_storing(p);
	done = __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
	nest_stored(p);
	return done;
}

/* Two entries side by side, for vector instructions where the compiler may use them. */
typedef nest_pte_t nest_pte_pair __attribute__((vector_size(16), aligned(8), may_alias));

/*
 * How many of the n entries from *t on equal `e` in the bits of `mask`? By plain loads: only where
 * nobody but hardware writes meanwhile, and what it may set does not matter or is looked at again
 * by whoever stores.
 */
NEST_INLINE uint64_t nest_like(const nest_pte_t *t, uint64_t n, nest_pte_t e, nest_pte_t mask)
{
	uint64_t k = 0;

	for (; !NEST_SMALL && k + 8 <= n; k += 8) {
		const nest_pte_pair *at = (const nest_pte_pair *)&t[k];
		const nest_pte_pair all = { e, e };
		const nest_pte_pair d = ((at[0] ^ all) | (at[1] ^ all)) |
					((at[2] ^ all) | (at[3] ^ all));

		if ((d[0] | d[1]) & mask)
			break;
	}
	while (k < n && !((t[k] ^ e) & mask))
		k++;
	return k;
}

#endif
