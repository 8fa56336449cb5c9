/* SPDX-License-Identifier: MIT */
/*
 * Suites of LoongArch alone: what the registers hold, what the TLB keeps and what takes it away,
 * and the deviations that start.S and port.c work around.
 */
#include <nest/arch/loongarch.h>

#include "machine.h"

enum { ECODE_INE = 13 };

#define IA      ((nest_ia_t)0x700000000)
#define ALL_SET (NEST_ACCESSED | NEST_DIRTY)

static const struct walker_config *config;
static struct nest_pt pt;
static uint64_t page;
static nest_pa_t frames;
static bool mute; /* flushes do not reach the CPU */

static void flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	if (!mute)
		port_flush(what);
}

static void flush_page(nest_ia_t ia)
{
	const struct nest_flush what = {
		.ia = ia, .size = page, .level_mask = 1, .leaf_only = true, .vmid = LOADED_ASID
	};

	port_flush(&what);
}

static void map(nest_ia_t ia, uint64_t size, nest_attr_t attr)
{
	int err = nest_pt_map(&pt, ia, frames + (ia - IA), size, attr | ALL_SET, NEST_MAP_REPLACE,
			      NULL);

	CHECK(err == NEST_OK, "map of %lx: %s", ia, nest_strerror(err));
}

static void unmap(nest_ia_t ia, uint64_t size)
{
	int err = nest_pt_unmap(&pt, ia, size, NEST_SKIP_HOLES, NULL);

	CHECK(err == NEST_OK, "unmap of %lx: %s", ia, nest_strerror(err));
}

static bool reads(nest_ia_t ia)
{
	struct walker_outcome out;
	uint64_t *memory = walker_va(frames + (ia - IA));

	*memory = walker_random();
	port_access(ia, WALKER_READ, WALKER_PRIVILEGED, 0, &out);
	return out.done && out.value == *memory;
}

static bool in_tlb(nest_ia_t ia)
{
	struct tlb_page found;

	return tlb_find(ia, &found);
}

static void registers(void)
{
	uint64_t pwcl = 0, pwch = 0, pgd = 0;

	CHECK(nest_loongarch_pwcl(&pt, &pwcl) == NEST_OK &&
		      nest_loongarch_pwch(&pt, &pwch) == NEST_OK &&
		      nest_loongarch_pgd(&pt, &pgd) == NEST_OK,
	      "no register values");
	CHECK(CSR_READ(NEST_LOONGARCH_CSR_PWCL) == pwcl, "PWCL is %lx, not %lx",
	      CSR_READ(NEST_LOONGARCH_CSR_PWCL), pwcl);
	CHECK(CSR_READ(NEST_LOONGARCH_CSR_PWCH) == pwch, "PWCH is %lx, not %lx",
	      CSR_READ(NEST_LOONGARCH_CSR_PWCH), pwch);
	CHECK(CSR_READ(NEST_LOONGARCH_CSR_PGDL) == pgd && CSR_READ(NEST_LOONGARCH_CSR_PGDH) == pgd,
	      "PGDL is %lx and PGDH %lx, not %lx", CSR_READ(NEST_LOONGARCH_CSR_PGDL),
	      CSR_READ(NEST_LOONGARCH_CSR_PGDH), pgd);
}

/* Without a flush the TLB keeps what was mapped, and that nothing was: that flushes are seen. */
static void staleness(void)
{
	CHECK(!reads(IA), "a hole can be read");
	mute = true;
	map(IA, page, NEST_RW);
	CHECK(!reads(IA), "the TLB has forgotten an invalid entry without a flush");
	flush_page(IA);
	CHECK(reads(IA), "a page cannot be read after the flush");
	unmap(IA, page);
	CHECK(reads(IA), "the TLB has forgotten a page without a flush");
	flush_page(IA);
	CHECK(!reads(IA), "a flush has left a page in the TLB");
	mute = false;
}

/* An entry of the TLB is an even page and the odd one: one flush takes both, and no other. */
static void pairs(void)
{
	map(IA, 4 * page, NEST_RW);
	for (unsigned odd = 0; odd < 2; odd++) {
		CHECK(reads(IA) && reads(IA + page) && reads(IA + 2 * page), "no pages to read");
		flush_page(IA + odd * page);
		CHECK(!in_tlb(IA) && !in_tlb(IA + page), "the pair of page %u is in the TLB", odd);
		CHECK(in_tlb(IA + 2 * page) && in_tlb(IA + 3 * page),
		      "a flush has taken another pair, too");
	}
	unmap(IA, 4 * page);
}

/* So are the two halves of a huge page. */
static void halves(void)
{
	unsigned shift = nest_pt_shift(&pt, 1) - 1;
	uint64_t half = (uint64_t)1 << shift;
	struct tlb_page found;

	map(IA, 2 * half, NEST_RW);
	CHECK(reads(IA) && reads(IA + half - 16), "the lower half cannot be read");
	CHECK(tlb_find(IA + half, &found) && found.shift == shift && (found.entry & TLB_V) &&
		      (found.entry & TLB_PPN) == frames + half,
	      "the upper half did not come with the lower one");
	CHECK(reads(IA + half) && reads(IA + 2 * half - 16), "the upper half cannot be read");
	unmap(IA + half, half);
	CHECK(reads(IA) && !reads(IA + half), "half of a huge page does not go alone");
	unmap(IA, 2 * half);
}

/* Which entries each form of INVTLB takes (4.2.4.7): a global and another one, of this ASID. */
static void forms(void)
{
	const nest_ia_t local = IA, global = IA + 2 * page;

#define FORM(op, info, address, local_stays, global_stays)                                         \
	do {                                                                                       \
		CHECK(reads(local) && reads(global), "no pages to read");                          \
		NEST_INVTLB(op, info, address);                                                    \
		CHECK(in_tlb(local) == (local_stays) && in_tlb(global) == (global_stays),          \
		      "INVTLB %u does otherwise", (unsigned)(op));                                 \
	} while (0)
	map(local, page, NEST_RW);
	map(global, page, NEST_RW | NEST_G);
	FORM(NEST_INVTLB_ALL, 0, 0, false, false);
	FORM(NEST_INVTLB_GLOBAL, 0, 0, true, false);
	FORM(NEST_INVTLB_LOCAL, 0, 0, false, true);
	FORM(NEST_INVTLB_ASID, LOADED_ASID, 0, false, true);
	FORM(NEST_INVTLB_ASID, LOADED_ASID + 1, 0, true, true);
	FORM(NEST_INVTLB_ASID_ADDRESS, LOADED_ASID, local, false, true);
	FORM(NEST_INVTLB_ASID_ADDRESS, LOADED_ASID, global, true, true);
	FORM(NEST_INVTLB_ADDRESS, LOADED_ASID, local, false, true);
	FORM(NEST_INVTLB_ADDRESS, LOADED_ASID + 1, local, true, true);
	FORM(NEST_INVTLB_ADDRESS, LOADED_ASID + 1, global, true, false);
#undef FORM
	unmap(IA, 4 * page);
}

/*
 * Without LVZ the forms that nest_loongarch_flush_guest() uses do not exist, so second-level tables
 * are flushed as the first stage is, here.
 */
static void guest_form(void)
{
	struct trap trap;

	if (nest_loongarch_cpucfg(2) & CPUCFG2_LVZ)
		return;
	enter(&trap, (uintptr_t)invalidate_guest, 0, 0, 0);
	CHECK(ecode_of(&trap) == ECODE_INE, "INVTLB of a guest: exception %u", ecode_of(&trap));
}

/* What LDPTE makes of a huge entry of level 2: a half of it, in a TLB entry of that size. */
static void gigapage(void)
{
	unsigned want = nest_pt_shift(&pt, 2) - 1, got;
	uint64_t entry = PTE_HUGE | TLB_V;

	__asm__ volatile("lddir %0, %0, 1\n\tldpte %0, 0" : "+r"(entry) : : "memory");
	got = (unsigned)CSR_READ(CSR_TLBREHI) & 0x3f;
	if (got != want) {
		CHECK(got == nest_pt_shift(&pt, 1) - 1, "half of a page of level 2 has 2^%u bytes",
		      got);
		walker_tolerated(QEMU_LOONGARCH_HUGE_LEVEL);
	}
}

/* A write to a page with NR set, then a read without forgetting what QEMU cached. */
static void read_inhibit(void)
{
	struct trap trap;

	if (!refills_by_loads(config))
		return;
	map(IA, page, NEST_W);
	CHECK(!reads(IA), "a page can be read in spite of NR");
	try_access(IA, WALKER_WRITE, WALKER_PRIVILEGED, 0, &trap);
	try_access(IA, WALKER_READ, WALKER_PRIVILEGED, 0, &trap);
	if (ecode_of(&trap) == ECODE_BRK)
		walker_tolerated(QEMU_LOONGARCH_READ_CACHE);
	else
		CHECK(ecode_of(&trap) == ECODE_PNR, "exception %u, not PNR", ecode_of(&trap));
	unmap(IA, page);
}

/* Bits above VALEN - 1 that are no copies of it (5.2). */
static void not_canonical(void)
{
	unsigned valen = nest_loongarch_valen(nest_loongarch_cpucfg(1));
	struct trap trap;

	try_access((nest_ia_t)1 << valen, WALKER_READ, WALKER_PRIVILEGED, 0, &trap);
	CHECK(ecode_of(&trap) == ECODE_ADE, "exception %u, not ADE", ecode_of(&trap));
	try_access((nest_ia_t)1 << (valen - 1), WALKER_READ, WALKER_PRIVILEGED, 0, &trap);
	if (ecode_of(&trap) != ECODE_ADE) {
		CHECK(ecode_of(&trap) == ECODE_PIL, "exception %u, not PIL", ecode_of(&trap));
		walker_tolerated(QEMU_LOONGARCH_SIGN);
	}
}

void port_extra(const struct walker_config *c)
{
	struct nest_host host = walker_host;
	struct nest_pt_config how = {
		.format = c->format,
		.ia_bits = c->ia_bits,
		.oa_bits = c->oa_bits,
		.features = c->features,
		.flags = c->flags,
		.host = &host,
	};
	uint64_t size;
	int err;

	port_ram(&frames, &size);
	frames += size / 2;
	config = c;
	host.tlb_flush = flush;
	err = nest_pt_init(&pt, &how);
	if (!err)
		err = port_load(c, &pt, 0);
	CHECK(err == NEST_OK, "loading a table: %s", nest_strerror(err));
	if (err)
		return;
	page = (uint64_t)1 << nest_pt_shift(&pt, 0);
	registers();
	staleness();
	pairs();
	halves();
	if (c->modes >> WALKER_USER & 1)
		forms();
	guest_form();
	gigapage();
	read_inhibit();
	not_canonical();
	port_unload();
	nest_pt_destroy(&pt);
}
