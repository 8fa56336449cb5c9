/* SPDX-License-Identifier: MIT */
/*
 * A pool of physical memory given out in aligned power-of-two blocks. One for the
 * tables of each address space, one for the guest's frames. A block may come back in parts.
 *
 * Invariant: a bit of the map is set while its 4 KiB page is out, so `out` is what has not come
 * back yet, and giving back a page twice, or one that is not of the pool, is noticed.
 */
#ifndef POOL_H
#define POOL_H

#include <nest/vm.h>

enum { POOL_PAGE = 4096 };

struct pool {
	struct nest_range range;
	uint64_t *map; /* one bit a page */
	uint64_t hint; /* no free page below this one */
	uint64_t out;  /* pages */
	uint64_t peak; /* the most that were out at a time */
	uint64_t errors;
};

/* Bytes that the map of a pool of `size` bytes takes. */
uint64_t pool_map_size(uint64_t size);
/* `range` is of whole pages; `map` has room for pool_map_size(). */
void pool_init(struct pool *pool, struct nest_range range, uint64_t *map);
/*
 * `size` bytes (a power of two of at least a page), aligned to it; NEST_PA_NONE when there are
 * none.
 */
nest_pa_t pool_get(struct pool *pool, uint64_t size);
void pool_put(struct pool *pool, nest_pa_t pa, uint64_t size);

#endif
