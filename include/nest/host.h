/* SPDX-License-Identifier: MIT */
/*
 * What the embedder provides. The library has no other way to the outside: no allocator, no
 * instruction, no global state of its own.
 */
#ifndef NEST_HOST_H
#define NEST_HOST_H

#include <nest/attr.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nest_pt;

/* One TLB invalidation. */
struct nest_flush {
	nest_ia_t ia; /* first input address, page aligned (canonical where addresses are signed) */
	uint64_t size;       /* bytes; 0 only with `all` */
	unsigned level_mask; /* bit n: a leaf of level n was changed, or a table held by a level n
				entry */
	bool leaf_only;      /* no table was removed: walk caches of pointers may stay */
	bool all;            /* everything under this VMID/ASID; ia and size say nothing */
	uint32_t vmid;       /* VMID, VPID or ASID given with nest_pt_set_vmid() */
	/*
	 * Only rights to write, or dirty, were taken away (write protection, a harvest): what a
	 * TLB still holds leads to the right frames, and reads may go on by it.
	 */
	bool writes_only;
	const struct nest_pt *pt; /* the table; nest_pt_vmid() and the like may be called on it */
};

/*
 * Every callback gets the `ctx` of the nest_pt_config. None may call back into the same nest_pt. In
 * shared mode they are called on many CPUs at once.
 */
struct nest_host {
	/*
	 * Memory for tables: `size` bytes (a power of two, at least the smallest page), aligned to
	 * `size`; it need not be zeroed. NEST_PA_NONE when there is none.
	 */
	nest_pa_t (*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, nest_pa_t pa, size_t size);
	/*
	 * Where the CPU that runs the library reaches physical memory.
	 * NULL: (void *)(uintptr_t)(pa + linear_offset).
	 */
	void *(*to_virt)(void *ctx, nest_pa_t pa);
	uint64_t linear_offset;
	/*
	 * Invalidate on every CPU that may hold the translations. Must be complete when it returns:
	 * tables and frames are reused right after. Required.
	 */
	void (*tlb_flush)(void *ctx, const struct nest_flush *what);
	/*
	 * Make `len` bytes of table at `va` visible to the walkers: clean the data cache where the
	 * walker is not coherent, and the publishing barrier (AArch64: dsb ishst) where the
	 * embedder has no other one before the guest runs. Called after each run of stores. NULL:
	 * nothing is needed.
	 */
	void (*sync)(void *ctx, const void *va, size_t len);
	/*
	 * Run fn(arg) after a grace period in which no query, and in shared mode no call at all,
	 * that has begun still runs. NULL: tables are freed right after the flush, so no query may
	 * run beside a change. nest_epoch_defer() does it for an embedder without grace periods.
	 */
	void (*defer)(void *ctx, void (*fn)(void *arg), void *arg);
	/*
	 * May [pa, pa + size) be mapped with `attr`? A map asks, and a protect that sets a bit
	 * (also if it is only accessed or dirty) or changes the memory type; both before anything
	 * is changed. One call may ask more than once for the same memory: the answer should depend
	 * on the arguments alone. NULL: yes.
	 */
	bool (*allow)(void *ctx, nest_pa_t pa, uint64_t size, nest_attr_t attr);
	/*
	 * Shared mode: another CPU is changing an entry that this call needs, and is flushing for
	 * it. Called before each new attempt, at most about 1,000 times before the call returns
	 * NEST_E_BUSY. Pause the CPU (x86: PAUSE, AArch64: YIELD), or let another thread run.
	 * NULL: the next attempt follows at once.
	 */
	void (*relax)(void *ctx);
};

#ifdef __cplusplus
}
#endif
#endif
