/* SPDX-License-Identifier: MIT */
#include "ram.h"

#include <string.h>

/*
 * Words that look present to every format, and lead nowhere: a walk that comes by one of them
 * before or after its time ends where there is no table.
 */
enum { FRESH = 0xd7, STALE = 0x97, FREED = 0xb7 };

/* A byte a unit: is it part of an allocation? */
static uint8_t live[RAM_UNITS];

static unsigned log2_of(size_t size)
{
	unsigned n = 0;

	while (n < RAM_SIZES - 1 && (size_t)1 << n < size)
		n++;
	return n;
}

static uint64_t offset_of(uint64_t pa)
{
	return pa - RAM_BASE;
}

void ram_open(struct ram *r, bool coherent)
{
	static _Alignas(65536) uint8_t now[RAM_SIZE], seen[RAM_SIZE];

	*r = (struct ram){ .now = now, .seen = coherent ? now : seen };
	memset(live, 0, sizeof(live));
	for (unsigned i = 0; i < RAM_SIZES; i++)
		r->freed[i] = RAM_NONE;
}

static void fill(struct ram *r, uint64_t pa, size_t size, int now, int seen)
{
	memset(r->now + offset_of(pa), now, size);
	if (r->seen != r->now)
		memset(r->seen + offset_of(pa), seen, size);
}

uint64_t ram_alloc(struct ram *r, size_t size)
{
	unsigned n = log2_of(size);
	uint64_t pa = r->freed[n];

	r->allocated++;
	if (r->fail_in && --r->fail_in == 0) {
		r->fail_in = 1;
		r->failed = true;
		return RAM_NONE;
	}
	if (pa != RAM_NONE) {
		memcpy(&r->freed[n], r->now + offset_of(pa), sizeof(pa));
	} else {
		pa = (RAM_BASE + r->next + size - 1) & ~(uint64_t)(size - 1);
		if (offset_of(pa) + size > RAM_SIZE) {
			r->failed = true;
			return RAM_NONE;
		}
		r->next = offset_of(pa) + size;
	}
	fill(r, pa, size, FRESH, STALE);
	memset(live + offset_of(pa) / RAM_UNIT, 1, (size + RAM_UNIT - 1) / RAM_UNIT);
	r->outstanding++;
	return pa;
}

void ram_free(struct ram *r, uint64_t pa, size_t size)
{
	unsigned n = log2_of(size);

	fill(r, pa, size, FREED, FREED);
	memcpy(r->now + offset_of(pa), &r->freed[n], sizeof(pa));
	memset(live + offset_of(pa) / RAM_UNIT, 0, (size + RAM_UNIT - 1) / RAM_UNIT);
	r->freed[n] = pa;
	r->outstanding--;
}

void *ram_pointer(const struct ram *r, uint64_t pa)
{
	return r->now + offset_of(pa);
}

uint64_t ram_address(const struct ram *r, const void *p)
{
	return RAM_BASE + (uint64_t)((const uint8_t *)p - r->now);
}

void ram_sync(struct ram *r, const void *va, size_t len)
{
	if (r->seen != r->now)
		memcpy(r->seen + ((const uint8_t *)va - r->now), va, len);
}

unsigned ram_load(const struct ram *r, uint64_t pa, uint64_t value[2])
{
	uint64_t at = offset_of(pa);

	if (pa < RAM_BASE || at > RAM_SIZE - sizeof(uint64_t) || !live[at / RAM_UNIT])
		return 0;
	memcpy(&value[0], r->now + at, sizeof(uint64_t));
	memcpy(&value[1], r->seen + at, sizeof(uint64_t));
	return value[0] == value[1] ? 1 : 2;
}

bool ram_update(struct ram *r, uint64_t pa, uint64_t was, uint64_t to)
{
	uint64_t value[2];

	if (ram_load(r, pa, value) != 1 || value[0] != was)
		return false;
	memcpy(r->now + offset_of(pa), &to, sizeof(to));
	memcpy(r->seen + offset_of(pa), &to, sizeof(to));
	return true;
}
