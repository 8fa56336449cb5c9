/* SPDX-License-Identifier: MIT */
/*
 * Inside stress_vm: what its threads share.
 *
 * Guest memory is a row of blocks (what one entry of level 1 maps). Each block has four segments;
 * the first pages of a segment are in play (at most PLAY). One thread owns a segment, or all four
 * of a block. Every thread faults any page in; only the owner takes a page away, replaces, protects
 * or marks it. So the owner knows what must be there, though the tables above belong to all.
 *
 * Frames are numbers: no host memory stands behind them. The ledger has one record for each, with
 * the page that it was given for and a word of contents.
 */
#ifndef NEST_STRESS_VM_H
#define NEST_STRESS_VM_H

#include "common.h"

enum { MOST_THREADS = 8, READERS = 2, CPUS = MOST_THREADS + READERS };
enum { SEGMENTS = 4, PLAY = 4 };
/* By number of the block. */
enum {
	LARGE = 0, /* provider, block by block where that is possible; executed by pages */
	LARGE_BLOCKS = 3,
	HOLE = 3,
	SMALL = 4, /* provider, page by page */
	SMALL_BLOCKS = 2,
	FIXED = 6, /* one run of host memory */
	MMIO = 7,
	BLOCKS = 8
};

/* A frame is free, taken away by the VMM, or given for the page `owner` - 1. */
enum { FRAME_FREE = 0 };
static const unsigned long FRAME_TAKEN = ~0ul;

struct frame {
	atomic_ulong owner;
	atomic_ulong content; /* 0, or content_of() */
};

enum page_state {
	PAGE_OPEN,  /* nothing, or what a fault has mapped: the owner has not looked yet */
	PAGE_SEEN,  /* mapped to `pa`, holds `content`; nobody but the owner may change that */
	PAGE_MARKED /* carries `mark`; a fault there may not map anything */
};

struct page {
	/* Odd: the page is write-protected (not executable, marked), or may be at any moment. */
	atomic_uint deny, deny_exec, marked;
	/* 0: a walker that can still write (execute) breaks the promise of protect. */
	atomic_uint may_write, may_exec;
	atomic_ulong mark;
	/* Dirty log. */
	atomic_uint disturbed; /* odd while the owner makes a change that may lose dirty */
	atomic_ulong written;  /* writes that have reached the frame */
	unsigned long told;    /* guarded by the harvest lock: `written` and `disturbed` */
	unsigned told_at;      /* when the last harvest had returned */
	/* The owner's. */
	enum page_state state;
	bool read_only, no_exec;
	nest_pa_t pa;
	unsigned long content;
};

/* What a call was, for the count of those that succeeded. */
enum call_kind {
	CALL_FAULT,
	CALL_TRANSLATE,
	CALL_MAP,
	CALL_REPLACE,
	CALL_TAKE,
	CALL_RESTORE,
	CALL_DISCARD,
	CALL_PROTECT,
	CALL_FORBID,
	CALL_MARK,
	CALL_HARVEST,
	CALL_AGE,
	CALL_SPLIT,
	CALL_KINDS
};

struct count {
	unsigned long tried[CALL_KINDS], done[CALL_KINDS];
	unsigned long busy, hits, resumed, denied, marked, mmio, unmapped, deepest;
	unsigned long blocks, given, put, second, late;
};

struct worker {
	unsigned id;
	uint64_t random;
	unsigned long serial; /* of what it writes */
	unsigned pause_in;    /* before the so-many-th table that this call asks for; 0: never */
	struct count count;
};

struct world {
	const struct nest_format *format;
	uint32_t features;
	uint64_t seed;
	unsigned threads;
	unsigned long calls_each;
	unsigned without; /* bit n: no calls of kind n */
	/* Geometry: bytes of a page and of a block, pages of a block. */
	uint64_t page, span, n;
	nest_attr_t tracked; /* what the entries tell: accessed, dirty */
	nest_attr_t exec;    /* every right to execute */
	bool by_hardware, has_dbm, is_riscv, is_aarch64, dirty_needs_write;
	struct nest_vm vm;
	struct nest_vm_region region[4];
	struct nest_epoch epoch;
	struct nest_epoch_slot slot[MOST_THREADS];
	struct tlb tlb[CPUS]; /* of the workers, then of the readers */
	struct worker worker[MOST_THREADS];
	struct page *pages;
	pthread_mutex_t harvest;
	atomic_uint running;
	atomic_bool ending; /* only nest_vm_destroy() still runs */
};

extern struct world w;
/* The thread's own numbers and counts, also inside callbacks. */
extern _Thread_local struct worker *self;

static inline uint64_t below(uint64_t n)
{
	return stress_below(&self->random, n);
}

static inline nest_ia_t gpa_of(uint64_t page)
{
	return page * w.page;
}

/* Such a block comes and goes as a whole; of the others each segment has its own. */
static inline bool has_one_owner(uint64_t block)
{
	return block < LARGE + LARGE_BLOCKS;
}

/* Pages in play of each segment: one in the block whose table is to become empty often. */
static inline unsigned in_play(uint64_t block)
{
	return block == LARGE ? 1 : PLAY;
}

static inline bool is_fixed(uint64_t page)
{
	return page / w.n == FIXED;
}

/* Around each call of the library. */
static inline void enter(struct worker *k)
{
	k->pause_in = (unsigned)stress_below(&k->random, 16);
	nest_epoch_enter(&w.epoch, k->id);
}

static inline void leave(struct worker *k)
{
	nest_epoch_exit(&w.epoch, k->id);
}

/* ---- Ledger (vm_ledger.c) ---- */

void ledger_open(void);
void ledger_close(void);
nest_pa_t ledger_get(void *ctx, nest_ia_t gpa, uint64_t size);
void ledger_put(void *ctx, nest_ia_t gpa, nest_pa_t pa, uint64_t size);
/* nest_release_fn: the frames of a page that was discarded. */
void ledger_released(void *ctx, const struct nest_mapping *leaf);
struct frame *ledger_frame(nest_pa_t pa);
nest_pa_t ledger_fixed_pa(uint64_t page);
/* The guest may have those of these pages that are fixed (again). */
void ledger_give_fixed(uint64_t page, uint64_t n);
/* n frames side by side, for the pages from `page` on; each holds content_of(its page, serial). */
nest_pa_t ledger_take(uint64_t page, uint64_t n, unsigned long serial);
/* The page's frame must not be reachable any more: it becomes free; a fixed one is taken away. */
void ledger_drop(uint64_t page, nest_pa_t pa, const char *after);
/* At the end: each frame is free or mapped where it was given for. Returns the blocks mapped. */
void ledger_audit(void);
void ledger_all_free(void);

static inline unsigned long content_of(uint64_t page, unsigned long serial)
{
	return (unsigned long)(page + 1) << 32 | (serial & 0xffffffff);
}

/* ---- CPUs (vm_cpu.c) ---- */

enum result { HIT, DENIED, MARKED, EMULATE, NOTHING };

/* One access of a guest to a page. */
struct access {
	uint64_t page;
	nest_attr_t rights;  /* of NEST_R, NEST_W, NEST_X */
	unsigned long store; /* written to the frame, unless 0 */
	unsigned long found; /* contents before that */
	nest_pa_t pa;
};

void host_flush(void *ctx, const struct nest_flush *what);
void *reader_main(void *arg);
/* Access the page, and let nest_vm_fault() handle what faults, until it ends otherwise. */
enum result guest(struct worker *k, struct access *a);

/* ---- One call (vm_insist.c) ---- */

/* Pages [page, page + n), all in play in one segment. */
struct range {
	uint64_t page, n;
};

struct call {
	enum call_kind kind;
	struct range range;
	nest_pa_t pa;
	nest_attr_t attr, set, clear;
	uint32_t flags;
	uint64_t mark;
	uint64_t *bitmap;
	struct nest_mapping *mapping;
};

/*
 * Make the call until it does not return NEST_E_BUSY: each of these calls may be made again over
 * its own work.
 */
int insist(struct worker *k, const struct call *c);
/* End the program unless err is `want`. */
void must(const struct call *c, int err, int want);
extern const char *const call_names[CALL_KINDS];

/* ---- What a thread does (vm_calls.c) ---- */

void *worker_main(void *arg);
/* What the owner knows of the page is what a query finds. */
void check_page(struct worker *k, uint64_t page);

#endif
