/* SPDX-License-Identifier: MIT */
/*
 * One table under test: its memory and TLB, and what it must mean. That is kept as a flat list of
 * segments of the address space, each in one state, changed by the same calls as the table and
 * never read from it.
 */
#ifndef MODEL_WORLD_H
#define MODEL_WORLD_H

#include <nest/nest.h>

#include "dice.h"
#include "hooks.h"
#include "ram.h"
#include "setup.h"
#include "share.h"
#include "tlb.h"

enum { WORLD_SEGMENTS = 48, WORLD_STATES = 16, WORLD_DEFERRED = 512, WORLD_ATTRS = 16 };

/* What every page of a segment is. */
struct state {
	enum nest_pte_kind kind; /* NONE, MARK, LEAF */
	uint64_t delta;          /* LEAF: pa - offset, modulo 2^64 */
	nest_attr_t attr;        /* LEAF, less accessed and dirty */
	uint64_t mark;
};

struct segment {
	uint64_t first, end; /* offsets: addresses without their sign */
	struct state state;
	struct state seen[WORLD_STATES]; /* what it has been since the last sync, oldest first */
	unsigned nr_seen;
	bool is_new; /* the last of them is what the operation at hand is to make of it */
	struct state before;
};

/* A page that hardware has written to, as far as the library has not told of it. */
struct written {
	bool is, gone, told;
	uint64_t pa;
};

/* What a call may do with a page that stays mapped: take it away for a moment, and flush. */
enum breaking {
	BREAK_NEVER,   /* nothing that is mapped changes, or it does in place */
	BREAK_NEEDED,  /* where what comes may not be in a TLB beside what goes */
	BREAK_RESIZED, /* and where the size changes, whatever the CPU says */
	BREAK_RANGE    /* and everywhere in its range: pages of a table go together */
};

struct counts {
	uint64_t rounds, operations, refused, short_of_memory;
	uint64_t stores, looked_at, flushes, freed, syncs, walks, accesses, harvested;
	uint64_t peers, shares, refused_peer, reserve_changes, from_reserve, by_pages;
};

struct world {
	struct setup setup;
	uint64_t seed;
	struct dice dice;
	struct hooks hooks;
	struct nest_host host;
	struct nest_pt pt;
	struct ram ram;
	struct tlb tlb;
	uint64_t page; /* bytes of the smallest page */
	struct nest_gather gather;
	struct nest_cursor cursor; /* for single pages */
	bool gathering, reporting;
	uint64_t generation; /* of frames: maps so far */
	/* Segments of one neighbourhood follow each other; [group] is where the second one begins.
	 */
	struct segment segment[WORLD_SEGMENTS];
	unsigned segments, second;
	nest_attr_t attr[WORLD_ATTRS];
	unsigned attrs;
	uint8_t segment_of[TLB_PROBES];
	bool shared; /* NEST_PT_SHARED: every call syncs */
	/* Of the call that runs: what stood there before, and the store at which it was gone. */
	enum breaking breaking;
	struct mmu_step was[TLB_PROBES];
	uint64_t gone_at[TLB_PROBES];
	bool may_be_gone[TLB_PROBES]; /* a TLB may have kept that, until the gather is synced */
	struct written written[TLB_PROBES];
	bool hardware_writes; /* it sets accessed and dirty */
	bool is_near;         /* the last store was one on the way to a probe */
	struct {
		void (*fn)(void *arg);
		void *arg;
	} deferred[WORLD_DEFERRED];
	unsigned nr_deferred;
	struct peer peer;
	bool has_peer, is_source; /* others are made; one has been linked to it */
	bool closing;
	char doing[128]; /* for messages */
	struct counts count;
};

/* Make a table, and segments around two places of its address space. False: cannot be had. */
bool world_open(struct world *w, const struct setup *setup, uint64_t seed);
void world_close(struct world *w);
/* Print what is wrong, and end. */
_Noreturn void world_fail(struct world *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A random number below n: what to call, and with what. */
uint64_t world_random(struct world *w, uint64_t n);
/* The same, for what is not the caller's: never taken from the input. */
uint64_t world_chance(struct world *w, uint64_t n);
uint64_t world_offset(const struct world *w, nest_ia_t ia);
nest_ia_t world_ia(const struct world *w, uint64_t offset);

/*
 * Before a call: what segments [a, b) are going to be. After it: whether they are. Between the two
 * every probe may see either; and nothing, as far as `breaking` lets it.
 */
void world_expect(struct world *w, unsigned a, unsigned b, const struct state *next,
		  enum breaking breaking);
void world_done(struct world *w, unsigned a, unsigned b, int err, uint64_t looked_at);
/* May probe i meet that? For TLBs. */
void world_judge(void *ctx, unsigned i, const struct mmu_step *r);
void world_wrong(void *ctx, unsigned i, const char *what, const struct mmu_step *a,
		 const struct mmu_step *b);
/* What was gathered is synced: only what is now may be seen from now on. */
void world_synced(struct world *w);
/* Hardware makes an access by a random probe, or by one whose entry is at pa. */
void world_access(struct world *w, uint64_t pa);
void world_release(void *ctx, const struct nest_mapping *leaf);
void world_run_deferred(struct world *w);

#endif
