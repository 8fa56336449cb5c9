/* SPDX-License-Identifier: MIT */
/*
 * Two VMs under test, over one memory for tables and one pool of frames. What each must be is kept
 * as a flat array of its pages and a ledger of the frames. Both are changed by the same calls as
 * the VMs, by the rules of nest/vm.h, and never read from the tables.
 */
#ifndef MODEL_VM_WORLD_H
#define MODEL_VM_WORLD_H

#include <nest/vm.h>

#include "dice.h"
#include "hooks.h"
#include "ram.h"
#include "setup.h"
#include "tlb.h"

enum {
	VM_COUNT = 2,
	VM_MARGIN = 32,                      /* pages before and behind the two blocks */
	VM_PAGES = 2 * 8192 + 2 * VM_MARGIN, /* of the 64 KiB granule */
	VM_CUTS = 14,
	VM_ZONES = 6,
	VM_PROVIDERS = 8,
	VM_POOL_BLOCKS = 16,
	VM_FRAMES = VM_POOL_BLOCKS * 8192,
	VM_ATTRS = 12,
	VM_DEFERRED = 512,
	VM_FIXED_FRAME = 255 /* a ledger's entry: memory that is not counted */
};

/* What one page of guest-physical memory is. */
struct cell {
	enum nest_pte_kind kind; /* NONE, MARK, LEAF */
	nest_attr_t attr;        /* LEAF: rights and memory type */
	uint64_t value;          /* LEAF: the page's frame; MARK: its value */
	bool dirty;              /* written to, and not told by a harvest since */
};

enum provide {
	PROVIDE_SMALL,      /* smallest pages */
	PROVIDE_GROUP,      /* up to a group */
	PROVIDE_LARGE,      /* up to a block */
	PROVIDE_EMPTY,      /* often nothing */
	PROVIDE_MISALIGNED, /* sometimes a frame that is not aligned to its size */
	PROVIDE_BEYOND,     /* sometimes one beyond the output width */
	PROVIDE_FORBIDDEN,  /* sometimes one that may not be mapped */
	PROVIDE_REPEATED,   /* sometimes one that is mapped elsewhere in this VM */
	PROVIDE_KINDS
};

struct vm;
struct provider {
	struct vm *vm;
	enum provide kind;
	struct nest_backing backing;
};

/* A region, as the model has it: pages [a, b). */
struct zone {
	bool used;
	unsigned a, b;
	enum nest_region_type type;
	nest_attr_t attr;
	const struct provider *provider; /* NULL: fixed */
	nest_pa_t hpa;                   /* fixed */
	void *cookie;
	bool exec_small; /* NEST_VM_EXEC_SMALL */
};

/* The call that runs. Populating calls take pages [from, to) one after the other. */
struct vm_call {
	bool may_break; /* a mapped page may be gone for a moment */
	bool populates, fetches;
	unsigned from, to;
	const struct zone *adding; /* not among the zones yet */
	unsigned asked_for;        /* the page of the last question, and its size in bytes */
	uint64_t asked_size;
	bool was_asked;
	int failed; /* the provider has given what must end the call with this */
	/* A frame that cannot be mapped: it has to be put back within the call. */
	nest_pa_t bad;
	uint64_t bad_size, bad_left;
};

struct vm {
	struct vm_world *w;
	unsigned id;
	bool live;
	struct nest_host host;
	struct nest_vm vm;
	struct nest_vm_region regions[VM_ZONES];
	struct nest_range protect[2];
	struct tlb tlb;
	unsigned page_of[TLB_PROBES];
	bool is_near;
	struct zone zone[VM_ZONES];
	struct provider provider[VM_PROVIDERS];
	struct cell is[VM_PAGES];   /* before the call */
	struct cell next[VM_PAGES]; /* after it */
	struct vm_call call;
	bool exec_small;  /* a region had NEST_VM_EXEC_SMALL */
	bool running;     /* no: a TLB has nothing to do */
	bool flushed_all; /* since it stopped */
};

enum vm_operation {
	VM_ADD_RAM,
	VM_ADD_DEVICE,
	VM_ADD_MMIO,
	VM_REMOVE,
	VM_MAP,
	VM_UNMAP,
	VM_PROTECT,
	VM_RESTORE,
	VM_TRANSLATE,
	VM_READ,
	VM_WRITE,
	VM_FAULT,
	VM_HARVEST,
	VM_MARK, /* this and the next ones go to the table below */
	VM_UNMARK,
	VM_SPLIT,
	VM_MERGE,
	VM_RESTART,
	VM_MISTAKE,
	VM_OPERATIONS
};

enum { VM_EXITS = 16, VM_STATUSES = 16 };

struct vm_counts {
	uint64_t rounds, calls[VM_OPERATIONS], status[VM_STATUSES], exits[VM_EXITS];
	uint64_t given, refused, bad, put, put_at_once, larger, marks_met, taken_met, late_exec;
	uint64_t stores, looked_at, flushes, freed, walks, accesses, told_dirty, audited;
	uint64_t short_of_memory, denied_by_host, half_done;
};

struct vm_world {
	struct setup setup;
	uint64_t seed;
	struct dice dice;
	struct hooks hooks;
	struct ram ram;
	uint64_t page, group, block; /* bytes; group: 0 if there is none */
	unsigned pages;              /* of each VM */
	nest_ia_t origin;            /* guest address of the first of them */
	unsigned cut[VM_CUTS], cuts;
	nest_attr_t attr[VM_ATTRS];
	unsigned attrs;
	bool shared, hardware_writes, by_software;
	bool by_valid; /* by software, in the bits "valid" and "dirty" (LoongArch) */
	/* Frames: how often each is mapped, and by which VM. */
	uint8_t *memory;
	unsigned frames, last_put;
	uint8_t refs[VM_FRAMES], owner[VM_FRAMES];
	uint64_t refuse_in; /* the n-th question from now is refused; 0: none */
	bool refused;
	nest_pa_t forbidden; /* host.allow refuses this page */
	struct {
		void (*fn)(void *arg);
		void *arg;
	} deferred[VM_DEFERRED];
	unsigned nr_deferred;
	struct vm vm[VM_COUNT];
	struct vm_counts count;
	uint64_t operations;
	char doing[160];
};

/* vm_world.c */
bool vm_world_open(struct vm_world *w, const struct setup *setup, uint64_t seed);
void vm_world_close(struct vm_world *w);
/* Make the VM anew: NEST_E_NOMEM when memory was short, which is no mistake. */
int vm_start(struct vm *v);
void vm_stop(struct vm *v);
_Noreturn void vm_fail(struct vm_world *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
uint64_t vm_random(struct vm_world *w, uint64_t n);
void vm_run_deferred(struct vm_world *w);
/* Before a call, with next[] planned; after it: err and the set of statuses that are right. */
void vm_begin(struct vm *v);
void vm_end(struct vm *v);
/* What the walker finds now. */
struct mmu_step vm_walk(struct vm *v, nest_ia_t gpa);
/* Hardware makes an access by some probe. */
void vm_access(struct vm *v, uint64_t pa);
bool vm_matches(const struct vm *v, const struct cell *c, nest_ia_t gpa, const struct mmu_step *r);

/* vm_frames.c */
void frames_open(struct vm_world *w);
/* A run of free frames, aligned to `align` bytes plus `phase`; NEST_PA_NONE. */
nest_pa_t frames_take(struct vm_world *w, uint64_t size, uint64_t align, uint64_t phase);
/* Memory that a region or nobody owns: not counted. */
void frames_fix(struct vm_world *w, nest_pa_t pa, uint64_t size, bool fixed);
/* One more, or one less, mapping of a page that is counted. */
void frames_hold(struct vm *v, nest_pa_t pa, uint64_t size);
void frames_drop(struct vm *v, nest_pa_t pa);
unsigned frames_out(const struct vm_world *w, nest_pa_t pa);
void *frames_pointer(const struct vm_world *w, nest_pa_t pa);
bool frames_is_one(const struct vm_world *w, nest_pa_t pa);
/* Each frame is mapped as often as it is out. */
void frames_check(struct vm_world *w);
bool frames_may_map(const struct vm *v, nest_pa_t pa, uint64_t size);
void providers_open(struct vm *v);
struct zone *zone_at(struct vm *v, unsigned page);
/* The largest size below `limit` that fits around the page in the zone; 0: none. */
uint64_t zone_fit(const struct vm *v, const struct zone *z, unsigned page, uint64_t limit);
uint64_t zone_limit(const struct vm *v, const struct zone *z);
/* The attributes of its pages of `size` bytes. */
nest_attr_t zone_attr(const struct vm *v, const struct zone *z, uint64_t size);

static inline nest_ia_t vm_gpa(const struct vm_world *w, unsigned page)
{
	return w->origin + page * w->page;
}

#endif
