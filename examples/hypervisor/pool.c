/* SPDX-License-Identifier: MIT */
/*
 * The page pool; see pool.h. First fit over a bitmap: a search is linear, which is good enough for
 * a guest of a few hundred MiB, and the hint makes the common case, page after page, short.
 */
#include <string.h>

#include "pool.h"

uint64_t pool_map_size(uint64_t size)
{
	return (size / POOL_PAGE + 63) / 64 * 8;
}

void pool_init(struct pool *pool, struct nest_range range, uint64_t *map)
{
	*pool = (struct pool){ .range = range, .map = map };
	memset(map, 0, pool_map_size(range.size));
}

static bool is_out(const struct pool *pool, uint64_t page)
{
	return pool->map[page / 64] >> page % 64 & 1;
}

static void flip(struct pool *pool, uint64_t page)
{
	pool->map[page / 64] ^= (uint64_t)1 << page % 64;
}

static bool run_is_free(const struct pool *pool, uint64_t page, uint64_t count)
{
	for (uint64_t i = page; i < page + count; i++) {
		if (is_out(pool, i))
			return false;
	}
	return true;
}

nest_pa_t pool_get(struct pool *pool, uint64_t size)
{
	uint64_t count = size / POOL_PAGE, pages = pool->range.size / POOL_PAGE;
	/* Alignment is that of addresses, whatever the pool's first page. */
	uint64_t first = pool->range.base / POOL_PAGE;
	uint64_t page = ((first + pool->hint + count - 1) & ~(count - 1)) - first;

	while (page + count <= pages && !run_is_free(pool, page, count))
		page += count;
	if (page + count > pages)
		return NEST_PA_NONE;
	for (uint64_t i = 0; i < count; i++)
		flip(pool, page + i);
	if (count == 1)
		pool->hint = page + 1;
	pool->out += count;
	if (pool->peak < pool->out)
		pool->peak = pool->out;
	return pool->range.base + page * POOL_PAGE;
}

void pool_put(struct pool *pool, nest_pa_t pa, uint64_t size)
{
	uint64_t page = (pa - pool->range.base) / POOL_PAGE, count = size / POOL_PAGE;

	for (uint64_t i = page; i < page + count; i++) {
		if (pa < pool->range.base || i >= pool->range.size / POOL_PAGE ||
		    !is_out(pool, i)) {
			pool->errors++;
			continue;
		}
		flip(pool, i);
		pool->out--;
	}
	if (pool->hint > page)
		pool->hint = page;
}
