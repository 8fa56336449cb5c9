/* SPDX-License-Identifier: MIT */
/*
 * The engine: build and maintain the tables of one address space.
 *
 * Exclusive mode, the default: the caller serialises every call that changes a table;
 * nest_pt_query() and nest_pt_walk() may run beside them when nest_host.defer is given.
 *
 * Shared mode (NEST_PT_SHARED): map, unmap, protect, mark, split, harvest, query and walk may run
 * on any number of CPUs at once, without a lock. nest_host.defer is required, its grace period
 * covers every call (nest/epoch.h has one for those who have no RCU), and every other callback must
 * be fit for many CPUs. A page that is removed, replaced, or changes its size is invalid until it
 * has been flushed everywhere: a guest may fault on it meanwhile and has to try again. Each entry
 * changes by one atomic step. Calls that meet at one entry go on one after the other: one retries,
 * a bounded number of times, and then returns NEST_E_BUSY: every call but init, destroy and the
 * answers about geometry can. A range is not one atomic step: if another CPU changes the same pages
 * meanwhile, an error may come in the midst, with the pages before it done (nest_gather_done()
 * tells how many). A call for one smallest page is done or not done, and so is a map of one larger
 * page with NEST_MAP_ATOMIC. Without that flag a larger page is mapped page by page, as a range,
 * where a table stands when the call begins, also an empty one; if a table comes there later, the
 * call changes nothing and returns NEST_E_BUSY. Every call syncs its gather before it returns.
 * Tables stay: no block takes the place of one. Contiguous groups (NEST_FEAT_CONTIG), merge, share
 * and nest_pt_use_reserve() are for exclusive mode.
 *
 * Every changing call is all or nothing: when it returns an error, no translation has changed and
 * no table has leaked. Where `gather` is NULL, what has to be flushed and freed is flushed and
 * freed before the call returns; otherwise that is left to nest_gather_sync().
 *
 * Addresses and sizes are in bytes and multiples of the format's smallest page. A range may end
 * at the very top of the address space. Where addresses are canonical (x86-64, RISC-V Sv,
 * LoongArch first stage) both halves belong to one table and a range lies within one half.
 *
 * Errors that every call with a range can return, with nothing changed:
 *   NEST_E_INVAL  NULL, an unknown flag or attribute bit
 *   NEST_E_ALIGN  ia, pa or size not a multiple of the smallest page
 *   NEST_E_RANGE  size 0, a range that wraps, or one beyond the input (ia) or output (pa) width
 */
#ifndef NEST_PT_H
#define NEST_PT_H

#include <nest/format.h>
#include <nest/gather.h>
#include <nest/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/* nest_pt_config.flags */
#define NEST_PT_SHARED ((uint32_t)1 << 0) /* changes on many CPUs at once: see above */
#define NEST_PT_UPPER  ((uint32_t)1 << 1) /* AArch64 first stage: the table of TTBR1 */

struct nest_pt_config {
	const struct nest_format *format;
	unsigned ia_bits;             /* input address width in bits; 0: the format's default */
	unsigned oa_bits;             /* output address width in bits; 0: the format's default */
	uint32_t features;            /* NEST_FEAT_*: what the CPU has */
	uint32_t flags;               /* NEST_PT_* */
	const struct nest_host *host; /* must outlive the table, and not change meanwhile */
	void *ctx;                    /* handed to every host callback */
};

/* A list of spare tables. Fields are the library's. */
struct nest_reserve {
	nest_pa_t head;
	uint64_t count;
	/* Whose tables they are, and how large. */
	const struct nest_host *host;
	void *ctx;
	uint64_t size;
};

/* One address space. Fields are the library's; at most 320 bytes; may not be moved while in use. */
struct nest_pt {
	const struct nest_format *format;
	const struct nest_host *host;
	void *ctx;
	nest_pa_t root;
	nest_pa_t pinned;                   /* bitmap of shared root entries, or NEST_PA_NONE */
	nest_pte_t absent[NEST_MAX_LEVELS]; /* what stands for nothing, by level */
	nest_pte_t lent[NEST_MAX_LEVELS];   /* the same in tables linked by nest_pt_share() */
	nest_pte_t busy[NEST_MAX_LEVELS];   /* shared mode: in an entry that is being changed */
	nest_pa_t invalid[NEST_MAX_LEVELS]; /* all-absent tables (LoongArch), or NEST_PA_NONE */
	struct nest_reserve *reserve;
	uint64_t nr_tables;
	/* Attributes of smallest pages and the entry's bits (core/fast.h): as mapped; as told. */
	uint64_t page_made, page_told;
	/* The last change of attributes of a page: `set` and `clear`, its entry before and after.
	 */
	uint64_t change, change_from, change_to;
	/* For one page a call: the host's, bits that are not in an address, what may be skipped. */
	uint64_t linear_offset, ia_outside, pa_outside;
	uint32_t generation; /* exclusive mode: counts tables that have left their place */
	uint32_t features;
	uint32_t flags;
	uint32_t vmid;
	uint32_t unsynced; /* debug builds: gathers that hold something */
	uint8_t ia_bits, oa_bits;
	uint8_t top;      /* level of the root's entries */
	uint8_t max_leaf; /* largest level at which a leaf may stand */
	uint8_t leaf_mask;
	uint8_t top_shift; /* log2 of what an entry of the root covers */
	uint8_t quick;
};

/* One page, block or contiguous group, or what stands in its place. */
struct nest_mapping {
	nest_ia_t ia;  /* query: the address asked for; walk: where the page begins */
	nest_pa_t pa;  /* what ia translates to */
	uint64_t size; /* bytes of the page that holds ia; of the group when contiguous */
	nest_attr_t attr;
	unsigned level;
	bool contiguous;
	uint64_t mark;           /* the value of a mark, else 0 */
	enum nest_pte_kind kind; /* LEAF, MARK, NONE; walk, on request: TABLE, at pa */
};

/*
 * Make an empty table. NEST_E_INVAL: no format, host, alloc, free or tlb_flush; no defer in shared
 * mode; unknown flags.
 * NEST_E_UNSUPPORTED: the format has no such feature, mode or input width. NEST_E_RANGE: oa_bits
 * larger than the format with these features allows. NEST_E_NOMEM. NEST_E_ALIGN, NEST_E_RANGE
 * (here and in every call that allocates): the host's allocator gave memory that is not aligned
 * to its size, or beyond the output width; it has been given back.
 */
int nest_pt_init(struct nest_pt *pt, const struct nest_pt_config *config);

/*
 * Which field of the configuration makes nest_pt_init() refuse it? Its name ("ia_bits",
 * "host.alloc"), or "config" for NULL; NULL: none (memory may still be missing). The text is the
 * library's.
 */
const char *nest_pt_config_error(const struct nest_pt_config *config);

/*
 * Free every table, none of the mapped frames. No CPU may still use the table; no flush is issued.
 * What was given to nest_host.defer may still be outstanding.
 * A table that others share from (nest_pt_share) must be destroyed after them. Harmless on a
 * nest_pt whose init failed, or twice.
 * Every gather must have been synced: what one still holds is lost, and the TLB may still hold what
 * was unmapped. A debug build of the library (NEST_DEBUG) traps here then.
 */
void nest_pt_destroy(struct nest_pt *pt);

/*
 * How many gathers of this table hold something that waits for nest_gather_sync()? For an assertion
 * in a place where there should be none. Only a debug build of the library (NEST_DEBUG) counts
 * them; any other returns 0. On a table that is not live: 0.
 */
unsigned nest_pt_unsynced(const struct nest_pt *pt);

/* Physical address of the root table: aligned to its own size, that of nest_pt_root_size(). */
nest_pa_t nest_pt_root(const struct nest_pt *pt);
uint64_t nest_pt_root_size(const struct nest_pt *pt);
/* How many levels a walk has (root included). */
unsigned nest_pt_levels(const struct nest_pt *pt);
/* log2 of the bytes that one entry of `level` covers; 0 when there is no such level. */
unsigned nest_pt_shift(const struct nest_pt *pt, unsigned level);
/* The VMID, VPID or ASID that nest_flush.vmid tells; 0 after init. */
void nest_pt_set_vmid(struct nest_pt *pt, uint32_t vmid);
uint32_t nest_pt_vmid(const struct nest_pt *pt); /* 0 for a table that is not live */

/* clang-format off */
/* Flags of map, protect and unmap. A call refuses flags that are not listed with it. */
#define NEST_MAP_NO_HUGE      ((uint32_t)1 << 0) /* NEST_MAP_MAX_LEVEL(0): smallest pages only, no contiguous groups */
/* No page above level n; 0: no groups either. The call refuses an n of NEST_MAX_LEVELS or more. Evaluates n twice. */
#define NEST_MAP_MAX_LEVEL(n) ((uint32_t)(n) < NEST_MAX_LEVELS ? (uint32_t)(n) + 1u : (uint32_t)15)
#define NEST_MAP_REPLACE      ((uint32_t)1 << 4) /* what is there is replaced */
#define NEST_MAP_SKIP_MAPPED  ((uint32_t)1 << 5) /* what is there stays */
#define NEST_MAP_KEEP_MARKS   ((uint32_t)1 << 9) /* a mark is in the way like a page */
#define NEST_MAP_ATOMIC       ((uint32_t)1 << 8) /* one page or block, by one store, or nothing */
#define NEST_SKIP_HOLES     ((uint32_t)1 << 6) /* holes are allowed */
#define NEST_NO_SPLIT         ((uint32_t)1 << 7) /* a partly covered larger page is NEST_E_HUGE */
#define NEST_KEEP_TABLES      ((uint32_t)1 << 12) /* unmap: tables that become empty stay */
#define NEST_IF_SET           ((uint32_t)1 << 11) /* protect: only pages that have all of `clear` */
/* clang-format on */

/*
 * Map [ia, ia + size) to [pa, pa + size) with the largest pages that address, alignment, size and
 * features allow. Marks in the range are overwritten, unless NEST_MAP_KEEP_MARKS is given.
 * Flags: NEST_MAP_NO_HUGE, NEST_MAP_MAX_LEVEL, NEST_NO_SPLIT, NEST_MAP_ATOMIC, and one of
 * NEST_MAP_REPLACE, NEST_MAP_SKIP_MAPPED and NEST_MAP_KEEP_MARKS. A block is put in place of a
 * table that is not empty in exclusive mode, unless the library was compiled for size without
 * contiguous groups; elsewhere its pages are replaced one by one. NEST_MAP_REPLACE: where the frame
 * stays the same, the page stays accessed and dirty, as far as the new attributes can say so (dirty
 * needs NEST_W and NEST_DBM on AArch64, NEST_W on LoongArch). A larger page in place of smaller
 * ones is accessed and dirty if one is whose frame stays, and is both where hardware sets them.
 * Where the change needs a break (memory types on AArch64), all replaced pages of a table are, if
 * one is. NEST_MAP_ATOMIC: the range is one page, one block or (exclusive mode) one contiguous
 * group, to which ia, pa and size are aligned and which the other flags allow; else NEST_E_INVAL.
 * In shared mode it is mapped by one store or not at all: NEST_E_BUSY, with nothing changed, when a
 * table stands in its place or comes into its place during the call. That table may be empty.
 * Another CPU may be removing it: then a second attempt succeeds. Map smaller pages otherwise.
 * NEST_E_MAPPED: something is mapped there (neither REPLACE nor SKIP_MAPPED given), or there is a
 * mark (KEEP_MARKS given).
 * NEST_E_UNSUPPORTED: the attributes cannot be expressed. NEST_E_DENIED: host.allow refused, or the
 * range touches top-level entries linked from another table. NEST_E_HUGE. NEST_E_NOMEM.
 */
int nest_pt_map(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr,
		uint32_t flags, struct nest_gather *gather);

/*
 * Remove what is mapped in [ia, ia + size); exactly that, splitting larger pages at its ends. With
 * NEST_SKIP_HOLES holes are allowed and marks are removed too; without it a hole or mark is
 * NEST_E_NOTMAPPED. Tables that it empties are freed, unless NEST_KEEP_TABLES is given: for what is
 * soon to be mapped again, page by page; nest_pt_trim() frees them later. Flags: NEST_SKIP_HOLES,
 * NEST_NO_SPLIT, NEST_KEEP_TABLES.
 * NEST_E_HUGE, NEST_E_DENIED (linked from another table), NEST_E_NOMEM (a split needs a table).
 */
int nest_pt_unmap(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		  struct nest_gather *gather);

/*
 * Free the tables of the range that hold nothing: what NEST_KEEP_TABLES has left. No translation
 * changes. A table with a mark in it is not empty. NEST_E_DENIED: the range touches entries linked
 * from another table.
 */
int nest_pt_trim(struct nest_pt *pt, nest_ia_t ia, uint64_t size, struct nest_gather *gather);

/*
 * Change attributes: (attr & ~clear) | set. `set` replaces the whole memory type when `clear`
 * holds NEST_MT_MASK. Taking NEST_W away takes NEST_DBM away too; a LoongArch page that is dirty
 * must lose NEST_DIRTY with it, since it cannot be one without the other. An AArch64 entry tells
 * what hardware has made dirty by its right to write: harvest before it is taken away. Flags as for
 * unmap, and NEST_IF_SET: a page that has not every attribute of `clear` is NEST_E_NOTMAPPED. In
 * shared mode it is compared in the same atomic step that changes the page, so the call never
 * gives `set` to a page from which another CPU has just taken one of them. Marks stay.
 * NEST_E_NOTMAPPED, NEST_E_HUGE, NEST_E_NOMEM, NEST_E_DENIED;
 * NEST_E_UNSUPPORTED: the result cannot be expressed for some page of the range; NEST_E_INVAL: a
 * bit both set and cleared, a memory type set without clearing NEST_MT_MASK, or NEST_IF_SET with
 * NEST_MT_MASK, NEST_ACCESSED or NEST_DIRTY in `clear`.
 */
int nest_pt_protect(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
		    nest_attr_t clear, uint32_t flags, struct nest_gather *gather);

/*
 * What does ia translate to? Any byte address. NEST_OK: out->pa is exact for ia.
 * NEST_E_NOTMAPPED: nothing; out->kind is NEST_PTE_NONE, or NEST_PTE_MARK with out->mark set, and
 * out->size is that of the hole. NEST_E_RANGE: outside the input width. NEST_E_BUSY (shared mode):
 * the entry is changing. NEST_E_INVAL.
 */
int nest_pt_query(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out);

/* 0 goes on; anything else stops the walk, which returns it (use positive numbers). */
typedef int (*nest_visit_fn)(void *ctx, const struct nest_mapping *m);

/* Flags of nest_pt_walk(). */
#define NEST_WALK_TABLES ((uint32_t)1 << 0) /* tables too, each before what it holds */
#define NEST_WALK_MARKS  ((uint32_t)1 << 1) /* marks too */

/*
 * Visit every leaf that overlaps the range, in order of address, whole (a page that begins before
 * the range is told from its beginning). The visitor must not change the table.
 */
int nest_pt_walk(const struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		 nest_visit_fn fn, void *ctx);

/*
 * Put a mark of `value` (0..NEST_MARK_MAX) on every page of the range: not present, and a query
 * tells the value. Marks and holes are overwritten; NEST_E_MAPPED if anything is mapped.
 * NEST_E_RANGE, NEST_E_NOMEM, NEST_E_DENIED. nest_pt_unmap(NEST_SKIP_HOLES) and nest_pt_unmark()
 * remove marks.
 */
int nest_pt_mark(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t value,
		 struct nest_gather *gather);

/*
 * Take a range away from the guest: unmap it, and leave a mark of `value` (0..NEST_MARK_MAX) on
 * every page. A page goes from mapped to marked in one step: no other call can map it in between.
 * Flags and errors as for nest_pt_unmap(): with NEST_SKIP_HOLES holes get the mark, too, and
 * older marks are overwritten; without it a hole or a mark is NEST_E_NOTMAPPED. NEST_E_RANGE also:
 * value too large. NEST_E_NOMEM also: a mark needs a table (LoongArch keeps marks at level 0 only).
 */
int nest_pt_revoke(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t value, uint32_t flags,
		   struct nest_gather *gather);

/*
 * Remove every mark in the range. Mapped pages and holes stay as they are, and tables that become
 * empty are freed. NEST_E_NOMEM: a mark that covers more than the range needs a table.
 * NEST_E_DENIED.
 */
int nest_pt_unmark(struct nest_pt *pt, nest_ia_t ia, uint64_t size, struct nest_gather *gather);

/*
 * Split every page that overlaps the range until none is larger than `level`, and break up
 * contiguous groups. Holes are allowed. No translation changes. NEST_E_NOMEM, NEST_E_UNSUPPORTED
 * (no leaf at that level), NEST_E_DENIED.
 */
int nest_pt_split(struct nest_pt *pt, nest_ia_t ia, uint64_t size, unsigned level,
		  struct nest_gather *gather);

/*
 * Collapse every whole run of pages in the range that maps consecutive, aligned frames with equal
 * attributes (accessed and dirty aside: the result has each if any has, and where hardware sets
 * them both, since it may be doing so) into the largest page or group. Never fails for want of
 * memory. NEST_E_DENIED.
 */
int nest_pt_merge(struct nest_pt *pt, nest_ia_t ia, uint64_t size, struct nest_gather *gather);

/* Flag of nest_pt_harvest(). */
#define NEST_HARVEST_KEEP ((uint32_t)1 << 10) /* tell, and change nothing */

/*
 * Which pages were written to (`which` is NEST_DIRTY), accessed (NEST_ACCESSED), or one of the two
 * (both), since they were mapped or last harvested? Sets bit i % 64 of bitmap[i / 64] for every
 * smallest page ia + i * page of the range that lies in a dirty (accessed) page, block or group,
 * and makes those clean (not accessed). Bits are never cleared, so one bitmap can take in many
 * rounds; NULL: only clear. Holes, marks and clean pages are passed over. In shared mode bits are
 * set atomically: several CPUs may harvest into one bitmap.
 *
 * A group is dirty when any entry of it is. A page, block or group that the range covers in part is
 * told for that part and stays dirty, so that nothing is lost: harvest whole ones, or split first.
 * Nothing is split, nothing allocated. Entries are changed in place, without break-before-make, and
 * what hardware sets meanwhile is kept. A write that comes before the flush is over may go without
 * being told again: flush (nest_gather_sync) before the pages are read.
 *
 * Dirty is what a query reports as NEST_DIRTY, and every page whose entry cannot show that it was
 * written to: on AArch64 one with NEST_W and without NEST_DBM. Each harvest tells such a page as
 * dirty, and changes nothing in it. Map with NEST_W | NEST_DBM what is to be tracked. A page that
 * is not writable and not NEST_DIRTY is clean. Every page shows whether it was accessed.
 * A clean page keeps its rights. Where software keeps the bits (NEST_FEAT_SW_AD) the next access or
 * store faults, and nest_pt_protect() sets them again.
 *
 * NEST_E_UNSUPPORTED: the table does not track it (see NEST_ACCESSED); NEST_E_INVAL: another
 * `which`. NEST_E_DENIED: the range
 * touches entries linked from another table (not with NEST_HARVEST_KEEP). After an error nothing
 * has changed, the bitmap included.
 */
int nest_pt_harvest(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t which,
		    uint64_t *bitmap, uint32_t flags, struct nest_gather *gather);

/*
 * Link src's top-level entries that cover the range into dst, so that both translate it by the same
 * tables from now on. ia and size must be multiples of what a top-level entry covers; both tables
 * must have the same format, widths, features and host. Blocks of src at the top level are split
 * and missing tables made, so later changes made through src inside the range are seen by both; dst
 * may not change it (NEST_E_DENIED). src must outlive dst. A flush that a change through src issues
 * names src's VMID only: the embedder does it for every table that shares. NEST_E_INVAL: different
 * geometry; NEST_E_ALIGN; NEST_E_UNSUPPORTED: a table of one level, or (LoongArch) dst shares from
 * another table already; NEST_E_MAPPED: dst has something there; NEST_E_DENIED: the range is itself
 * linked from a third table; NEST_E_NOMEM.
 */
int nest_pt_share(struct nest_pt *dst, struct nest_pt *src, nest_ia_t ia, uint64_t size);

/*
 * Print the tables and mappings as text through put(ctx, c): a line a run of equal pages.
 * NEST_E_INVAL.
 */
typedef void (*nest_putc_fn)(void *ctx, char c);
int nest_pt_dump(const struct nest_pt *pt, nest_putc_fn put, void *ctx);

struct nest_pt_stats {
	uint64_t tables;                      /* tables in use, root included */
	uint64_t table_bytes;                 /* and their memory */
	uint64_t leaves[NEST_MAX_LEVELS];     /* leaf entries by level */
	uint64_t contiguous[NEST_MAX_LEVELS]; /* of these, entries in contiguous groups */
	uint64_t marks;                       /* mark entries */
	uint64_t mapped;                      /* bytes mapped */
};

/* Count what is there: reads every table. NEST_E_INVAL. */
int nest_pt_stats(const struct nest_pt *pt, struct nest_pt_stats *out);

/*
 * Set *tables to an upper bound on the tables that one call with these flags needs for the range,
 * whatever is mapped there: map, unmap or protect; with flags 0 also mark and revoke. The bound for
 * map holds for every alignment of the frames. NEST_SKIP_HOLES is a flag of unmap and protect
 * alone, which need tables only to split what lies across an end of the range: a page or a mark,
 * with NEST_NO_SPLIT a mark alone.
 * NEST_E_INVAL: NULL, or flags that no such call accepts; NEST_E_ALIGN; NEST_E_RANGE. *tables is
 * written only on NEST_OK.
 */
int nest_pt_tables_for(const struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		       uint64_t *tables);

/*
 * Reserves: tables set aside, so that a later call needs no allocator (in a place where the host's
 * may not be called, or may fail). A reserve serves one table and is guarded like it.
 */
void nest_reserve_init(struct nest_reserve *r);
/*
 * Top up to `count` tables. NEST_E_NOMEM: has as many as could be had. NEST_E_INVAL: NULL, or the
 * reserve holds tables of another host, context or size.
 */
int nest_reserve_fill(struct nest_reserve *r, struct nest_pt *pt, uint64_t count);
/*
 * Give all back to the host. The reserve remembers the host and context of the table that it was
 * filled for: it can be drained after nest_pt_destroy(), which leaves reserves as they are, and pt
 * may be NULL then. A reserve that is never drained keeps its tables.
 */
void nest_reserve_drain(struct nest_reserve *r, struct nest_pt *pt);
/* Let pt take tables from r before it asks the host; NULL: from the host only. Not in shared mode.
 */
void nest_pt_use_reserve(struct nest_pt *pt, struct nest_reserve *r);

#ifdef __cplusplus
}
#endif
#endif
