/* SPDX-License-Identifier: MIT */
/*
 * The worst TLB that a manual allows, for a number of addresses at once. It walks at every moment,
 * keeps everything that a walk could have seen (pages, pointers to tables and, where the format
 * lets a TLB keep them, invalid entries), goes on from any pointer that it has kept, and forgets
 * only what an invalidation names. So it does not pick one behaviour by chance: it holds the set of
 * all of them, and every member of the set is judged.
 *
 * For each address by itself: a TLB may break a large page into small ones, so that an invalidation
 * of one leaves the others.
 */
#ifndef MODEL_TLB_H
#define MODEL_TLB_H

#include "mmu.h"
#include "ram.h"

enum { TLB_PROBES = 128, TLB_KEPT = 96 };

struct tlb_probe {
	uint64_t ia;
	unsigned count;
	struct mmu_step kept[TLB_KEPT]; /* the root first */
};

struct tlb {
	const struct mmu *mmu;
	struct mmu_regs regs;
	const struct ram *ram;
	/* A translation, or an end without one, that probe i may meet now. */
	void (*judge)(void *ctx, unsigned i, const struct mmu_step *result);
	/* What no result should be: a second page that may not be beside the first, and so on. */
	void (*wrong)(void *ctx, unsigned i, const char *what, const struct mmu_step *a,
		      const struct mmu_step *b);
	void *ctx;
	unsigned probes;
	struct tlb_probe probe[TLB_PROBES];
	/* Units of memory that any walk comes by; more than that only costs time. */
	uint8_t watched[RAM_UNITS];
	uint64_t walks; /* walks taken up, from the root or a kept pointer */
};

void tlb_add(struct tlb *t, uint64_t ia);
/* Walk all that can be walked for probe i. */
void tlb_look(struct tlb *t, unsigned i);
/* Something was stored at pa. Returns the probes whose walks come by. */
unsigned tlb_stored(struct tlb *t, uint64_t pa);
/* The weakest reading of an invalidation (struct nest_flush); size 0: everything. */
void tlb_flush(struct tlb *t, uint64_t ia, uint64_t size, unsigned level_mask, bool leaf_only);
/* Table memory is about to be given back: nothing may lead there. */
void tlb_freed(struct tlb *t, uint64_t pa, uint64_t size);
/* Judge everything again that is kept: what is allowed has changed. */
void tlb_judge(struct tlb *t);
/* Time passes: walks that were under way have come to their end. */
void tlb_pause(struct tlb *t);

#endif
