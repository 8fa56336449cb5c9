/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical memory for a VMM: RAM, ROM, passed-through devices and emulated MMIO of one
 * guest, on a second-stage table.
 *
 * Calls on one nest_vm are serialised by the caller. With NEST_PT_SHARED in the configuration of
 * its table, nest_vm_fault(), _translate(), _map(), _unmap(), _restore(), _protect() and
 * _region_at() may run on any number of CPUs at once, and the others exclude all. Any of them may
 * then return NEST_E_BUSY: another CPU is changing the same entry, try again. Regions are page
 * aligned and never overlap.
 * A call that fails has changed nothing, except where its comment says otherwise.
 */
#ifndef NEST_VM_H
#define NEST_VM_H

#include <nest/fault.h>
#include <nest/pt.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nest_region_type {
	NEST_REGION_RAM,
	NEST_REGION_ROM,    /* RAM that the guest may not write */
	NEST_REGION_DEVICE, /* passthrough */
	NEST_REGION_MMIO    /* emulated: nothing is mapped, faults come back as exits */
};

/*
 * Where the frames of a RAM region come from: one fixed run of host memory at `hpa` (get NULL), or
 * a provider that is asked when the guest first touches a page.
 */
struct nest_backing {
	nest_pa_t hpa;
	/*
	 * Asked for a page size of the table, or the size of one of its contiguous groups. Give a
	 * frame of `size` bytes, aligned to it, for the page at `gpa`; its contents become the
	 * guest's, so it must be zeroed (or hold what the guest is meant to see). Sizes are asked
	 * for from the largest that max_size, the region and what is mapped already allow.
	 * NEST_PA_NONE: none; for a size above the smallest page a smaller one is asked for next.
	 */
	nest_pa_t (*get)(void *ctx, nest_ia_t gpa, uint64_t size);
	/*
	 * Take frames back, after the flush; in runs that may join or be parts of what get() gave.
	 * Also a frame that could not be mapped. May be NULL.
	 *
	 * In shared mode both functions are called on many CPUs at once. Two CPUs may ask for the
	 * same page: the second one's frame is put back. Neither function may call the library with
	 * the same nest_vm or its table. The library keeps no list of frames: a frame that get()
	 * gives twice is mapped twice.
	 */
	void (*put)(void *ctx, nest_ia_t gpa, nest_pa_t pa, uint64_t size);
	void *ctx;
	uint64_t max_size; /* largest frame to ask for, in bytes; 0: the smallest page */
};

/* A run of host memory. */
struct nest_range {
	uint64_t base;
	uint64_t size;
};

/* One region. The caller supplies the array; fields may be read. */
struct nest_vm_region {
	nest_ia_t gpa;
	uint64_t size;
	enum nest_region_type type;
	uint32_t flags;
	nest_attr_t attr; /* of the mappings */
	struct nest_backing backing;
	void *cookie;
};

struct nest_vm_config {
	struct nest_pt_config pt; /* a second-stage format */
	uint32_t vmid;
	struct nest_vm_region *regions; /* storage for max_regions regions */
	unsigned max_regions;
	/*
	 * Host memory that no map may touch, by whatever call: the hypervisor's image, its table
	 * pool. Kept by reference. One that would wrap ends at the top.
	 */
	const struct nest_range *protect;
	unsigned nr_protect;
};

/*
 * What was in the way of a call that failed: a region or mapping that is there already
 * (NEST_E_MAPPED), a region that lies partly outside of what is to be removed (NEST_E_INVAL), a
 * protected range or the host's refusal (NEST_E_DENIED; `host` is set).
 */
struct nest_vm_conflict {
	const char *reason;       /* one phrase; NULL: no conflict so far */
	struct nest_range wanted; /* what the call asked for: guest addresses; with `host`, host */
	struct nest_range existing; /* what is in the way; empty if the host refused */
	/* Of the two, where both are regions. */
	enum nest_region_type wanted_type, existing_type;
	bool host;
};

/* Fields are the library's. */
struct nest_vm {
	struct nest_pt pt;
	struct nest_host host; /* the caller's, with protection in front of allow */
	struct nest_format_info info;
	nest_attr_t tracked; /* which of accessed and dirty the entries can tell */
	/* What a writable page needs so that its entry can tell a write: NEST_DBM on AArch64. */
	nest_attr_t writable;
	const struct nest_host *outer;
	void *outer_ctx;
	struct nest_vm_region *regions;
	unsigned nr_regions, max_regions;
	const struct nest_range *protect;
	unsigned nr_protect;
	bool exec_small; /* a region has NEST_VM_EXEC_SMALL */
	struct nest_vm_conflict conflict;
};

/*
 * Make a VM without regions. It may not be moved while in use. NEST_E_INVAL: NULL, a first-stage
 * format, no region storage; and what nest_pt_init() returns.
 */
int nest_vm_init(struct nest_vm *vm, const struct nest_vm_config *config);
/*
 * Flushes everything, gives back every frame of every provider, then frees the tables. No CPU may
 * still run the guest. Where nest_host.defer is given, the struct must stay until all that was
 * deferred has run. Harmless on a nest_vm whose init failed, or twice.
 */
void nest_vm_destroy(struct nest_vm *vm);

/* The table below, for queries, statistics and dumps. */
struct nest_pt *nest_vm_pt(struct nest_vm *vm);

/* Flags of nest_vm_add_ram(), _remove(). */
#define NEST_VM_READONLY   ((uint32_t)1 << 0) /* ROM: writes come back as NEST_EXIT_ROM_WRITE */
#define NEST_VM_EAGER      ((uint32_t)1 << 1) /* map everything now, not on first touch */
#define NEST_VM_NOEXEC     ((uint32_t)1 << 2) /* the guest may not execute from it */
#define NEST_VM_SPLIT      ((uint32_t)1 << 3) /* remove: a part of a region may go */
#define NEST_VM_EXEC_SMALL ((uint32_t)1 << 4) /* the guest executes from smallest pages only */

/*
 * RAM at [gpa, gpa + size), write-back and with every right but those that `flags` take away
 * (NEST_VM_READONLY, _EAGER, _NOEXEC). Where the entries can tell a write, RAM is mapped so that
 * they do: on AArch64 with NEST_FEAT_HW_D the library adds NEST_DBM.
 *
 * NEST_VM_EXEC_SMALL is for CPUs with the instruction-TLB multi-hit erratum (many of Intel's:
 * CVE-2018-12207). A page or group above the smallest size is mapped without the right to execute,
 * and with NEST_SW0. When the guest fetches from it, nest_vm_fault() splits it, gives the right to
 * the one smallest page, and takes NEST_SW0 from that page. In a VM with such a region NEST_SW0 is
 * the library's, and nest_vm_protect() with NEST_X or NEST_XU in `clear` takes it away too: what
 * the VMM forbids stays forbidden, also when a fetch faults on another CPU at that moment. Raw
 * calls that map, merge or set NEST_X do what they are told.
 *
 * NEST_E_MAPPED: overlaps a
 * region or (eager) a mapping or mark; NEST_E_DENIED: fixed memory in a protected range, or the
 * host refused; for both see nest_vm_last_conflict(). NEST_E_NOMEM: no region slot, table or
 * (eager) frame left; NEST_E_RANGE: empty, wraps, or beyond the input or (fixed memory) output
 * width; NEST_E_ALIGN; NEST_E_INVAL: NULL, an unknown flag.
 */
int nest_vm_add_ram(struct nest_vm *vm, nest_ia_t gpa, uint64_t size,
		    const struct nest_backing *backing, uint32_t flags);
/* A device of the host, mapped at once with `attr`. Errors as above; NEST_E_UNSUPPORTED: attr. */
int nest_vm_add_device(struct nest_vm *vm, nest_ia_t gpa, nest_pa_t hpa, uint64_t size,
		       nest_attr_t attr);
/* An emulated device; exits carry `cookie`. Errors as above. */
int nest_vm_add_mmio(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, void *cookie);
/*
 * Remove every region in the range, its mappings, marks and frames. Flags: with NEST_VM_SPLIT a
 * region that lies partly outside keeps that part, as one region or two; without it that is
 * NEST_E_INVAL (see nest_vm_last_conflict). NEST_E_NOTMAPPED: no region there; NEST_E_NOMEM: a page
 * or mark reaches across an end of what is removed and cannot be split there (another one may have
 * been split), or there is no slot for a second part; NEST_E_INVAL: an unknown flag; NEST_E_ALIGN,
 * NEST_E_RANGE.
 */
int nest_vm_remove(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, uint32_t flags);

/* The region that holds gpa, or NULL. */
const struct nest_vm_region *nest_vm_region_at(const struct nest_vm *vm, nest_ia_t gpa);
/*
 * What was in the way of the last call that failed over a conflict; never NULL. In shared mode
 * nest_vm_map() and nest_vm_fault() leave no trace here.
 */
const struct nest_vm_conflict *nest_vm_last_conflict(const struct nest_vm *vm);

/*
 * The raw form: as nest_pt_map, _unmap, _protect without a gather. Regions do not matter but for
 * what follows, and protected ranges still hold. Providers are not told: a frame that is unmapped
 * or replaced this way is the caller's from then on, and a mapping made this way in a provider's
 * region becomes the region's, whose removal puts its frames.
 *
 * What nest_vm_unmap() takes from a RAM or ROM region stays away: each page of the range gets the
 * mark NEST_VM_TAKEN (also one that was a hole, with NEST_SKIP_HOLES). A guest's access then
 * exits with NEST_EXIT_MARKED. nest_vm_restore() or nest_vm_map() gives the page back. NEST_E_NOMEM
 * also: a mark needs a table. If the range reaches beyond such regions, and a mark cannot be cut
 * where they end for want of a table, all is unmapped, marks stay outside, and the call returns
 * NEST_E_NOMEM.
 *
 * nest_vm_protect() with NEST_W in `set`, on AArch64 with NEST_FEAT_HW_D: the pages get NEST_DBM,
 * and are dirty from then on, since a page without it may have been written to.
 */
int nest_vm_map(struct nest_vm *vm, nest_ia_t gpa, nest_pa_t hpa, uint64_t size, nest_attr_t attr,
		uint32_t flags);
int nest_vm_unmap(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, uint32_t flags);
int nest_vm_protect(struct nest_vm *vm, nest_ia_t gpa, uint64_t size, nest_attr_t set,
		    nest_attr_t clear, uint32_t flags);

/* The mark of pages that nest_vm_unmap() has taken from RAM. */
#define NEST_VM_TAKEN NEST_MARK_MAX

/*
 * Remove every mark in the range, whoever put it there: the guest's next touch of such a page asks
 * the region's backing again. Mapped pages stay. Errors of nest_pt_unmark().
 */
int nest_vm_restore(struct nest_vm *vm, nest_ia_t gpa, uint64_t size);

/*
 * What does gpa (any byte) translate to for `access` (of NEST_R, NEST_W, NEST_X)? Faults nothing
 * in. NEST_E_NOTMAPPED; NEST_E_DENIED: mapped, without that right (*out is filled); NEST_E_RANGE:
 * beyond the input width; NEST_E_BUSY: shared mode, the entry is changing; NEST_E_INVAL: NULL,
 * another bit.
 */
int nest_vm_translate(const struct nest_vm *vm, nest_ia_t gpa, nest_attr_t access,
		      struct nest_mapping *out);

/*
 * Copy from or to guest memory as the guest would: through the mappings, whose rights are
 * checked page by page; untouched RAM is faulted in, and a page becomes accessed and dirty where
 * that is tracked. RAM and ROM only, and raw mappings of write-back memory. The memory of one
 * mapping must be contiguous where the host's to_virt() shows it.
 * NEST_E_NOTMAPPED: no region and no mapping, or a mark; NEST_E_DENIED: no right (ROM, a protected
 * page), a device, memory that is not write-back, a protected frame; NEST_E_NOMEM: no frame or
 * table; NEST_E_RANGE: wraps, or beyond the input width (nothing is copied); NEST_E_INVAL: NULL. On
 * any other error the bytes before the failing page have been copied. *copied tells how many in any
 * case; it may be NULL.
 */
int nest_vm_read(struct nest_vm *vm, nest_ia_t gpa, void *buf, size_t len, size_t *copied);
int nest_vm_write(struct nest_vm *vm, nest_ia_t gpa, const void *buf, size_t len, size_t *copied);

enum nest_exit_kind {
	NEST_EXIT_RESUME,    /* run the guest again, at the same instruction */
	NEST_EXIT_MMIO,      /* emulate an access to an emulated device */
	NEST_EXIT_ROM_WRITE, /* the guest wrote to ROM */
	NEST_EXIT_UNMAPPED,  /* no region there */
	NEST_EXIT_ERROR,     /* see status */
	NEST_EXIT_MARKED,    /* the page has a mark: taken away, swapped out; see mark */
	/*
	 * The fault does not say which guest-physical address it was for (nest_fault.gpa_valid).
	 * Find it from gva and the guest's own tables, and call again.
	 */
	NEST_EXIT_NO_ADDRESS
};

struct nest_exit {
	enum nest_exit_kind kind;
	int status; /* ERROR: why; else NEST_OK */
	nest_ia_t gpa;
	nest_attr_t access;
	const struct nest_vm_region *region; /* where it happened, or NULL */
	uint64_t offset;                     /* gpa - region->gpa; 0 without region */
	void *cookie;                        /* of an MMIO region */
	uint64_t mark;                       /* MARKED: its value */
};

/*
 * Handle a second-stage fault. A page of RAM that is not there yet is asked for and mapped, as part
 * of the largest block that nothing else is mapped in; one that is there already is left as it is
 * (another CPU was first, or the TLB was stale: then it is flushed; or its accessed or dirty bit
 * was clear: then it is set) and the guest resumes. It does so, too, where another CPU is changing
 * the entry at this moment (shared mode), and comes back if need be. A mark is never mapped over,
 * neither on the page nor by a larger one. After a TLB conflict (NEST_FAULT_CONFLICT) everything of
 * the VM is flushed and the guest resumes.
 * NEST_E_INVAL: NULL. Otherwise NEST_OK, and *out says what to do. Statuses of NEST_EXIT_ERROR:
 * NEST_E_NOMEM: no frame or table; NEST_E_DENIED: a protected frame, a right that the region or
 * mapping has not, or a device whose mapping was taken away; NEST_E_RANGE: an address too wide, the
 * guest's or the provider's; NEST_E_ALIGN: the provider's frame is not aligned to its size;
 * NEST_E_UNSUPPORTED: a misconfigured entry, an external abort, a fault that tells no access.
 */
int nest_vm_fault(struct nest_vm *vm, const struct nest_fault *fault, struct nest_exit *out);

#ifdef __cplusplus
}
#endif
#endif
