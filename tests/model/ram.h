/* SPDX-License-Identifier: MIT */
/*
 * Memory for tables, as walkers that are not coherent with the CPU's caches see it: a store reaches
 * them at any moment until nest_host.sync() has been called for it, and by then for certain. So a
 * word has up to two values. Addresses are not pointers, and what is not a table is poison.
 */
#ifndef MODEL_RAM_H
#define MODEL_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RAM_UNIT = 4096, RAM_UNITS = 24576, RAM_SIZES = 24 };
#define RAM_BASE ((uint64_t)0x40000000)
#define RAM_SIZE ((uint64_t)RAM_UNITS * RAM_UNIT)
#define RAM_NONE (~(uint64_t)0)

struct ram {
	uint8_t *now;  /* as the library sees it */
	uint8_t *seen; /* as walkers saw it at the last sync; `now` itself: they are coherent */
	uint64_t next;
	uint64_t freed[RAM_SIZES]; /* lists by log2 of the size: the last freed is the next given */
	uint64_t outstanding, allocated; /* blocks now; blocks ever, failed ones as well */
	uint64_t fail_in; /* the n-th allocation from now fails, and all after it; 0: none */
	bool failed;      /* one has */
};

/* Empty memory. There is one only. */
void ram_open(struct ram *r, bool coherent);
uint64_t ram_alloc(struct ram *r, size_t size);
void ram_free(struct ram *r, uint64_t pa, size_t size);
void *ram_pointer(const struct ram *r, uint64_t pa);
uint64_t ram_address(const struct ram *r, const void *p);
void ram_sync(struct ram *r, const void *va, size_t len);
/* The values that a walker may read at pa. 0: no table is there. */
unsigned ram_load(const struct ram *r, uint64_t pa, uint64_t value[2]);
/* Hardware changes a word from `was`, which walkers see, to `to`. False: something else is there.
 */
bool ram_update(struct ram *r, uint64_t pa, uint64_t was, uint64_t to);

#endif
