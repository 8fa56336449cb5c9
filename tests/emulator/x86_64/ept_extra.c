/* SPDX-License-Identifier: MIT */
/*
 * What only Intel's EPT has: misconfigured entries, accessed and dirty flags told by EPTP,
 * virtualization exceptions and the log of modified pages.
 */
#include <string.h>

#include <nest/arch/x86.h>

#include "vmx.h"
#include "walker.h"

/* Raw entries, 29.3.2. */
#define EPT_R           ((uint64_t)1 << 0)
#define EPT_W           ((uint64_t)1 << 1)
#define EPT_X           ((uint64_t)1 << 2)
#define EPT_TYPE        ((uint64_t)7 << 3)
#define EPT_ACCESSED    ((uint64_t)1 << 8)
#define EPT_DIRTY       ((uint64_t)1 << 9)
#define EPT_ADDRESS     ((uint64_t)0x000ffffffffff000)
#define EPT_SUPPRESS_VE ((uint64_t)1 << 63)

#define EXTRA_IA ((nest_ia_t)1 << 39) /* no table has both it and the home area at 0 */

/* The entry of `level` on the way to ia, by no code of the library. */
static uint64_t *raw_entry(const struct nest_pt *pt, nest_ia_t ia, unsigned level)
{
	uint64_t *table = walker_va(nest_pt_root(pt));

	for (unsigned l = 3; l > level; l--)
		table = walker_va(table[ia >> (12 + 9 * l) & 0x1ff] & EPT_ADDRESS);
	return &table[ia >> (12 + 9 * level) & 0x1ff];
}

/* A table with the home area alone, loaded. */
static bool open_table(const struct walker_config *config, struct nest_pt *pt)
{
	const struct nest_pt_config c = { .format = config->format,
					  .ia_bits = config->ia_bits,
					  .oa_bits = config->oa_bits,
					  .features = config->features,
					  .host = &walker_host };
	int err = nest_pt_init(pt, &c);

	if (!err)
		err = nest_pt_map(pt, 0, config->home_pa, config->home_size, config->home_attr,
				  NEST_MAP_NO_HUGE, NULL);
	if (!err)
		err = port_load(config, pt, 0);
	CHECK(err == NEST_OK, "a table: %s", nest_strerror(err));
	return err == NEST_OK;
}

static void close_table(struct nest_pt *pt)
{
	port_unload();
	nest_pt_destroy(pt);
}

static void expect_misconfiguration(uint64_t *entry, uint64_t word, unsigned level)
{
	const uint64_t good = *entry;

	*entry = word;
	port_flush(NULL);
	for (unsigned access = 0; access < WALKER_ACCESSES; access++) {
		struct walker_outcome out = { 0 };

		port_access(EXTRA_IA + 0x18, (enum walker_access)access, WALKER_PRIVILEGED, 0,
			    &out);
		CHECK(!out.done && out.fault.kind == NEST_FAULT_MISCONFIG &&
			      out.fault.gpa == EXTRA_IA + 0x18 && out.fault.gpa_exact,
		      "entry %lx of level %u: done %u, fault %u at %lx", word, level,
		      (unsigned)out.done, (unsigned)out.fault.kind, out.fault.gpa);
	}
	*entry = good;
	port_flush(NULL);
}

/* Entries that the library never makes, 29.3.3.1, in the place of one that it has made. */
static void check_misconfigurations(const struct walker_config *config, struct nest_pt *pt)
{
	const struct {
		uint64_t clear, set;
	} leaves[] = {
		{ EPT_R, 0 },
		{ EPT_R | EPT_X, 0 },
		{ EPT_TYPE, 2 << 3 },
		{ EPT_TYPE, 3 << 3 },
		{ EPT_TYPE, 7 << 3 },
		{ 0, (uint64_t)1 << nest_x86_phys_bits() },
		{ 0, EPT_ADDRESS & ~(EPT_ADDRESS >> 1) },
	};
	const unsigned large = config->features & NEST_FEAT_1G ? 2 : 1;

	for (unsigned level = 0; level <= large; level++) {
		uint64_t size = (uint64_t)1 << nest_pt_shift(pt, level);
		int err = nest_pt_map(pt, EXTRA_IA, 0, size, NEST_RWX, NEST_MAP_MAX_LEVEL(level),
				      NULL);
		uint64_t *leaf = raw_entry(pt, EXTRA_IA, level);
		uint64_t *pointer = raw_entry(pt, EXTRA_IA, level + 1);

		CHECK(err == NEST_OK, "mapping a page of level %u: %s", level, nest_strerror(err));
		for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
			expect_misconfiguration(leaf, (*leaf & ~leaves[i].clear) | leaves[i].set,
						level);
		for (unsigned bit = 3; bit <= 6; bit++)
			expect_misconfiguration(pointer, *pointer | (uint64_t)1 << bit, level + 1);
		err = nest_pt_unmap(pt, EXTRA_IA, size, 0, NULL);
		CHECK(err == NEST_OK, "unmapping again: %s", nest_strerror(err));
	}
}

static void extra_access(enum walker_access access)
{
	struct walker_outcome out = { 0 };

	port_access(EXTRA_IA, access, WALKER_PRIVILEGED, 0, &out);
	CHECK(out.done, "an access to a page with all rights faults");
}

/* Accesses set the flags where EPTP says so, and change nothing else; elsewhere nothing at all. */
static void check_flags(const struct walker_config *config, struct nest_pt *pt)
{
	bool ad = config->hw_ad != 0;
	nest_pa_t frame = walker_alloc(4096);
	int err = nest_pt_map(pt, EXTRA_IA, frame, 4096, NEST_RWX, 0, NULL);
	volatile uint64_t *leaf = raw_entry(pt, EXTRA_IA, 0);
	volatile uint64_t *pointer = raw_entry(pt, EXTRA_IA, 1);
	const uint64_t fresh_leaf = *leaf, fresh_pointer = *pointer;
	const uint64_t accessed = ad ? EPT_ACCESSED : 0, dirty = ad ? EPT_DIRTY : 0;

	CHECK(err == NEST_OK && !((fresh_leaf | fresh_pointer) & (EPT_ACCESSED | EPT_DIRTY)),
	      "a fresh page: %s, entries %lx, %lx", nest_strerror(err), fresh_pointer, fresh_leaf);
	extra_access(WALKER_READ);
	CHECK(*leaf == (fresh_leaf | accessed) && *pointer == (fresh_pointer | accessed),
	      "entries %lx, %lx are %lx, %lx after a read", fresh_pointer, fresh_leaf, *pointer,
	      *leaf);
	extra_access(WALKER_WRITE);
	CHECK(*leaf == (fresh_leaf | accessed | dirty) && *pointer == (fresh_pointer | accessed),
	      "entries %lx, %lx are %lx, %lx after a write", fresh_pointer, fresh_leaf, *pointer,
	      *leaf);
	err = nest_pt_unmap(pt, EXTRA_IA, 4096, 0, NULL);
	CHECK(err == NEST_OK, "unmapping again: %s", nest_strerror(err));
	walker_free(frame, 4096);
}

/*
 * A violation is the guest's, as an exception, where bit 63 is clear (26.5.7.1). `suppressed`: it
 * is as the library leaves it.
 */
static void expect_violation(bool suppressed, uint64_t *entry)
{
	struct walker_outcome out = { 0 };

	if (!suppressed)
		*entry &= ~EPT_SUPPRESS_VE;
	port_flush(NULL);
	memset(&ve_information, 0, sizeof(ve_information));
	port_access(EXTRA_IA + 8, WALKER_WRITE, WALKER_PRIVILEGED, 0, &out);
	CHECK(!out.done && exception_is(VECTOR_VE) == !suppressed,
	      "entry %lx: done %u, exit %lx, interruption %lx", *entry, (unsigned)out.done,
	      vmread(EXIT_REASON), vmread(EXIT_INTERRUPTION));
	CHECK(suppressed || (ve_information.gpa == EXTRA_IA + 8 && ve_information.busy),
	      "a virtualization exception tells of %lx", ve_information.gpa);
	*entry |= EPT_SUPPRESS_VE;
}

static void check_virtualization_exceptions(struct nest_pt *pt)
{
	int err = nest_pt_map(pt, EXTRA_IA, 0, 4096, NEST_R, 0, NULL);
	uint64_t *leaf = raw_entry(pt, EXTRA_IA, 0);

	CHECK(err == NEST_OK, "mapping a page to read: %s", nest_strerror(err));
	expect_violation(true, leaf);
	expect_violation(false, leaf);
	/* A mark and a hole, beside a page that keeps the table. */
	err = nest_pt_map(pt, EXTRA_IA + 4096, 0, 4096, NEST_R, 0, NULL);
	if (!err)
		err = nest_pt_unmap(pt, EXTRA_IA, 4096, 0, NULL);
	CHECK(err == NEST_OK, "a hole in its place: %s", nest_strerror(err));
	expect_violation(true, leaf);
	expect_violation(false, leaf);
	err = nest_pt_mark(pt, EXTRA_IA, 4096, 0x5a5a, NULL);
	CHECK(err == NEST_OK, "a mark in its place: %s", nest_strerror(err));
	expect_violation(true, leaf);
	expect_violation(false, leaf);
}

/* ---- The log of modified pages, 29.3.6 ---- */

enum { LOG_PAGES = 1024, LOG_BYTES = LOG_PAGES * 4096, PML_EMPTY = NEST_PML_ENTRIES - 1 };

static _Alignas(4096) uint64_t pml[NEST_PML_ENTRIES];

/* What was written, by the test's own account and by what the log told. */
static struct {
	bool written[LOG_PAGES];
	uint64_t bitmap[LOG_PAGES / 64];
	uint64_t entries, outside, full;
} log_state;

static void begin_log(void)
{
	memset(&log_state, 0, sizeof(log_state));
	vmwrite(PML_INDEX, PML_EMPTY);
}

static void drain_log(void)
{
	uint16_t index = (uint16_t)vmread(PML_INDEX);
	int n = nest_ept_pml_drain(pml, index, EXTRA_IA, LOG_BYTES, log_state.bitmap,
				   &log_state.outside);

	CHECK(n >= 0, "draining from index %lx: %s", (uint64_t)index, nest_strerror(n));
	log_state.entries += n > 0 ? (unsigned)n : 0;
	for (unsigned i = (uint16_t)(index + 1); i < NEST_PML_ENTRIES; i++) {
		if (pml[i] & 0xfff)
			walker_tolerated(BOCHS_PML_UNALIGNED);
	}
	vmwrite(PML_INDEX, PML_EMPTY);
}

/*
 * A full log ends the guest before an access that would set a flag is made, which is then tried
 * again. The pages are accessed already, and those that were written dirty.
 */
static void access_logged(unsigned page, enum walker_access access)
{
	nest_ia_t ia = EXTRA_IA + 4096 * (nest_ia_t)page + (walker_random() & 0xff8);
	bool sets_flag = access != WALKER_READ && !log_state.written[page];
	struct walker_outcome out = { 0 };

	log_state.written[page] |= access != WALKER_READ;
	port_access(ia, access, WALKER_PRIVILEGED, 1, &out);
	if (!out.done && vmread(EXIT_REASON) == EXIT_PML_FULL) {
		CHECK(vmread(PML_INDEX) == 0xffff, "the log is full at index %lx",
		      vmread(PML_INDEX));
		if (!sets_flag)
			walker_tolerated(BOCHS_PML_FULL_AT_ONCE);
		log_state.full++;
		drain_log();
		port_access(ia, access, WALKER_PRIVILEGED, 1, &out);
	}
	CHECK(out.done, "access %u to %lx fails", (unsigned)access, ia);
}

/* `outside` pages of the guest's own tables were logged, and what was written, each page once. */
static void compare_log(const char *when, uint64_t outside)
{
	uint64_t distinct = 0;

	drain_log();
	for (unsigned page = 0; page < LOG_PAGES; page++) {
		bool told = log_state.bitmap[page / 64] >> page % 64 & 1;

		distinct += log_state.written[page];
		CHECK(told == log_state.written[page], "%s: page %u is%s told", when, page,
		      told ? "" : " not");
	}
	CHECK(log_state.outside == outside, "%s: %lu entries outside of the range, not %lu", when,
	      log_state.outside, outside);
	CHECK(log_state.entries == distinct + outside, "%s: %lu entries, not %lu", when,
	      log_state.entries, distinct + outside);
}

static void write_some(unsigned count)
{
	while (count--) {
		access_logged((unsigned)(walker_random() % LOG_PAGES),
			      walker_random() & 1 ? WALKER_WRITE : WALKER_RMW);
		access_logged((unsigned)(walker_random() % LOG_PAGES), WALKER_READ);
	}
}

/* Clear what is dirty, by either way that the library has, and have it flushed. */
static int clear_dirty(struct nest_pt *pt, bool harvest)
{
	static uint64_t bitmap[LOG_PAGES / 64];
	int err;

	if (!harvest)
		return nest_pt_protect(pt, EXTRA_IA, LOG_BYTES, 0, NEST_DIRTY, 0, NULL);
	memset(bitmap, 0, sizeof(bitmap));
	err = nest_pt_harvest(pt, EXTRA_IA, LOG_BYTES, NEST_DIRTY, bitmap, 0, NULL);
	CHECK(memcmp(bitmap, log_state.bitmap, sizeof(bitmap)) == 0,
	      "the log and the table tell of different pages");
	return err;
}

static void check_log(struct nest_pt *pt, nest_pa_t frames)
{
	const uint64_t guest_tables = 4; /* its walk writes, so its tables are logged: once */
	int err = nest_pt_map(pt, EXTRA_IA, frames, LOG_BYTES, NEST_RWX, NEST_MAP_NO_HUGE, NULL);

	CHECK(err == NEST_OK, "mapping pages to log: %s", nest_strerror(err));
	vmwrite(PML_ADDRESS, (uint64_t)pml);
	write_controls(SECONDARY_CONTROLS, MSR_VMX_SECONDARY,
		       (uint32_t)vmread(SECONDARY_CONTROLS) | SECONDARY_PML);
	begin_log();
	for (unsigned page = 0; page < LOG_PAGES; page++)
		access_logged(page, WALKER_READ);
	compare_log("reads", guest_tables);
	begin_log();
	write_some(2 * LOG_PAGES);
	compare_log("writes", 0);
	CHECK(log_state.full == 1, "the log was full %lu times", log_state.full);
	for (unsigned round = 0; round < 4; round++) {
		err = clear_dirty(pt, round % 2 == 0);
		CHECK(err == NEST_OK, "clearing dirty: %s", nest_strerror(err));
		begin_log();
		write_some(LOG_PAGES / 4);
		compare_log("writes to clean pages", 0);
	}
	/* All are made dirty; what is dirty is not logged. */
	for (unsigned page = 0; page < LOG_PAGES; page++)
		access_logged(page, WALKER_WRITE);
	begin_log();
	write_some(LOG_PAGES / 4);
	drain_log();
	CHECK(log_state.entries == 0, "%lu entries of pages that are dirty", log_state.entries);
}

void port_extra(const struct walker_config *config)
{
	struct nest_pt pt;
	nest_pa_t frames;

	if (open_table(config, &pt)) {
		check_misconfigurations(config, &pt);
		check_flags(config, &pt);
		if (config->features & NEST_FEAT_VE)
			check_virtualization_exceptions(&pt);
	}
	close_table(&pt);
	if (!config->hw_ad || !secondary_has(SECONDARY_PML))
		return;
	frames = walker_alloc(LOG_BYTES);
	if (open_table(config, &pt))
		check_log(&pt, frames);
	close_table(&pt);
	walker_free(frames, LOG_BYTES);
}
