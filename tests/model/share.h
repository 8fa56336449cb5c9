/* SPDX-License-Identifier: MIT */
/*
 * What stands beside the table of a world: a second table that shares root entries from it
 * (nest_pt_share), with a TLB of its own, and a reserve of tables (nest_reserve_*). In exclusive
 * mode only.
 */
#ifndef MODEL_SHARE_H
#define MODEL_SHARE_H

#include <nest/nest.h>

#include "tlb.h"

struct world;

struct peer {
	bool live;
	bool linking; /* nest_pt_share() runs */
	struct nest_pt pt;
	struct tlb tlb;          /* of the same addresses as the world's */
	bool shared[TLB_PROBES]; /* the address is in a root entry that is shared */
	uint64_t links;          /* calls that have linked something, since it was made */
	struct nest_reserve reserve;
	bool has_reserve, attached;
	uint64_t other_tables; /* outstanding allocations that are no tables of the first one */
};

void share_open(struct world *w);
void share_close(struct world *w);
/* Make, share, refuse, destroy; fill, attach, detach, drain. Not while a gather holds something. */
void share_make(struct world *w);
/* The reserve alone has to do for a call on that range. */
bool share_has_enough(struct world *w, nest_ia_t ia, uint64_t size, uint32_t flags);
/* After a sync: is every table accounted for? */
void share_count(struct world *w);
/* The second TLB sees what the first one sees. */
bool share_stored(struct world *w, uint64_t pa);
void share_flush(struct world *w, const struct nest_flush *what);
void share_freed(struct world *w, uint64_t pa, uint64_t size);
void share_judge(struct world *w);

#endif
