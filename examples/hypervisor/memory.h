/* SPDX-License-Identifier: MIT */
/*
 * The machine's memory: who has which part of it, and EL2's own address space, which maps all of it
 * one to one with the caches on.
 *
 * Invariant: the guest's frames and what is in `kept` never overlap; `kept` is what libnest
 * refuses to map into a guest.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "pool.h"
#include "trees.h"

enum { BLOCK = 2 << 20 };

struct memory {
	struct pool own;           /* tables of EL2's own address space */
	struct pool tables;        /* tables of the guest's second stage */
	struct pool frames;        /* the guest's RAM */
	struct nest_range kept[2]; /* the image; the tables and the books of the pools */
	struct nest_pt map;        /* EL2's address space */
};

/*
 * Divide the memory that the machine's tree tells of (its copy `tree` gets reservations for what is
 * in use already), and turn the MMU on.
 */
void memory_start(struct memory *memory, void *tree, const struct nest_range *machine_tree,
		  const struct boot_args *args);

/* Callbacks of a nest_host whose ctx is a pool. */
nest_pa_t memory_get_table(void *pool, size_t size);
void memory_put_table(void *pool, nest_pa_t pa, size_t size);
/* nest_host.sync where the walkers look into the caches, as they do here. */
void memory_publish(void *unused, const void *va, size_t len);

/* Callbacks of the guest's nest_backing; ctx is the pool of frames. Frames are given zeroed. */
nest_pa_t memory_get_frame(void *pool, nest_ia_t gpa, uint64_t size);
void memory_put_frame(void *pool, nest_ia_t gpa, nest_pa_t pa, uint64_t size);

/* A status of libnest that must be NEST_OK; otherwise the end. */
void check(int status, const char *doing);

#endif
