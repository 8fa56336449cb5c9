/* SPDX-License-Identifier: MIT */
/*
 * What only AArch64 has: the flush of a guest that is not loaded, entries combined of both stages,
 * and the widest addresses of 16 KiB pages.
 */
#include <nest/arch/aarch64.h>

#include "port.h"

static uint64_t vttbr_of_first, vtcr_of_first;

static void flush_first(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	nest_aarch64_s2_flush_as(what, vttbr_of_first, vtcr_of_first);
}

static uint64_t longest_flush; /* of leaves only */

static void longest_of_flushes(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	if (what->leaf_only && what->size > longest_flush)
		longest_flush = what->size;
	port_flush(what);
}

/* A table of a configuration, with the home area at `where`. */
static bool extra_table(struct nest_pt *pt, const struct walker_config *c,
			const struct nest_host *host, nest_ia_t where)
{
	const struct nest_pt_config config = { .format = c->format,
					       .ia_bits = c->ia_bits,
					       .oa_bits = c->oa_bits,
					       .features = c->features,
					       .flags = c->flags,
					       .host = host };
	int err = nest_pt_init(pt, &config);

	if (!err)
		err = nest_pt_map(pt, where, c->home_pa, c->home_size, c->home_attr,
				  NEST_MAP_NO_HUGE, NULL);
	CHECK(err == NEST_OK, "%s", nest_strerror(err));
	return err == NEST_OK;
}

static bool reads(nest_ia_t ia, uint64_t expected)
{
	struct walker_outcome out = { 0 };

	port_access(ia, WALKER_READ, WALKER_PRIVILEGED, 0, &out);
	return out.done && out.value == expected;
}

static bool walk_reads(uint64_t expected)
{
	struct walker_outcome out = { 0 };

	walk_access(WALKER_READ, &out);
	return out.done && out.value == expected;
}

/*
 * A guest that is not loaded loses a page while another one, with another VTCR_EL2, is. QEMU
 * forgets everything when the VMID changes: what can be seen here is that the registers are the
 * other guest's again.
 */
static void flush_of_another(const struct walker_config *c)
{
	struct nest_host host = walker_host;
	const nest_ia_t where = 0x40000, page = 0x200000;
	nest_pa_t frame[2] = { walker_alloc(HOME_SIZE), walker_alloc(HOME_SIZE) };
	struct walker_config narrow = *c;
	struct nest_pt pt[2];
	uint64_t vttbr, vtcr;

	host.tlb_flush = flush_first;
	narrow.ia_bits--;
	CHECK(frame[0] != NEST_PA_NONE && frame[1] != NEST_PA_NONE, "no memory");
	if (!extra_table(&pt[0], c, &host, where) || !extra_table(&pt[1], &narrow, &host, where))
		return;
	for (unsigned i = 0; i < 2; i++) {
		*(volatile uint64_t *)walker_va(frame[i]) = 0x1234 + i;
		CHECK(nest_pt_map(&pt[i], page, frame[i], HOME_SIZE, NEST_RW, 0, NULL) == NEST_OK,
		      "map");
	}
	CHECK(port_load(c, &pt[0], where) == NEST_OK, "load");
	CHECK(reads(page, 0x1234), "the page does not read");
	vttbr_of_first = NEST_AARCH64_READ(vttbr_el2);
	vtcr_of_first = NEST_AARCH64_READ(vtcr_el2);
	nest_pt_set_vmid(&pt[1], STAGE2_VMID + 1);
	CHECK(load_stage2(&pt[1]) == NEST_OK, "load");
	NEST_AARCH64_ISB();
	vttbr = NEST_AARCH64_READ(vttbr_el2);
	vtcr = NEST_AARCH64_READ(vtcr_el2);
	CHECK(vtcr != vtcr_of_first, "both guests have the same VTCR_EL2");
	CHECK(reads(page, 0x1235), "the second guest does not read its page");
	CHECK(nest_pt_unmap(&pt[0], page, HOME_SIZE, 0, NULL) == NEST_OK, "unmap");
	CHECK(NEST_AARCH64_READ(vttbr_el2) == vttbr, "VTTBR_EL2 is not what it was");
	CHECK(NEST_AARCH64_READ(vtcr_el2) == vtcr, "VTCR_EL2 is not what it was");
	CHECK(reads(page, 0x1235), "the second guest has lost its page");
	CHECK(load_stage2(&pt[0]) == NEST_OK, "load");
	NEST_AARCH64_ISB();
	CHECK(!reads(page, 0x1234), "the page that was unmapped still reads");
	port_unload();
	for (unsigned i = 0; i < 2; i++) {
		nest_pt_destroy(&pt[i]);
		walker_free(frame[i], HOME_SIZE);
	}
}

/*
 * Both stages on: another frame under the guest's own table, the last of `pages`, must show, though
 * stage 2's translation of the table and the guest's, combined of both stages, are in the TLB.
 * Removing the one leaves the other there (Arm ARM D8.13.5). Many pages go by range, where the CPU
 * can; QEMU forgets all of stage 2 for any range, so only that one was given for this granule is
 * seen, not what it covers.
 */
static void combined_entries(const struct walker_config *c, unsigned pages)
{
	struct nest_host host = walker_host;
	const nest_ia_t where = 0x40000, first = 0x4000000;
	struct nest_pt pt;
	uint64_t page, size, before;
	nest_pa_t frame[2];

	host.tlb_flush = longest_of_flushes;
	if (!extra_table(&pt, c, &host, where))
		return;
	page = (uint64_t)1 << nest_pt_shift(&pt, 0);
	size = pages * page;
	before = size - page; /* of the table: never read, so no memory need be there */
	for (unsigned i = 0; i < 2; i++)
		frame[i] = walker_alloc(page);
	CHECK(frame[0] != NEST_PA_NONE && frame[1] != NEST_PA_NONE, "no memory");
	CHECK(port_load(c, &pt, where) == NEST_OK, "load");
	for (unsigned i = 0; i < 2; i++) {
		*(volatile uint64_t *)(home + HOME_DATA + 0x1000 * i) = 0x100 + i;
		lead_to(frame[i], HOME_DATA + 0x1000 * i);
	}
	longest_flush = 0;
	CHECK(nest_pt_map(&pt, first, frame[0] - before, size, NEST_RW, NEST_MAP_NO_HUGE, NULL) ==
		      NEST_OK,
	      "map");
	begin_walks(first + before);
	for (unsigned i = 0; i < 8; i++) {
		CHECK(walk_reads(0x100 + i % 2), "the guest does not see frame %u of its table",
		      i % 2);
		CHECK(nest_pt_map(&pt, first, frame[(i + 1) % 2] - before, size, NEST_RW,
				  NEST_MAP_REPLACE | NEST_MAP_NO_HUGE, NULL) == NEST_OK,
		      "remap");
	}
	CHECK(longest_flush == size, "no flush of leaves is %lx bytes long, but %lx", size,
	      longest_flush);
	end_walks();
	port_unload();
	nest_pt_destroy(&pt);
	walker_free(frame[0], page);
	walker_free(frame[1], page);
}

/*
 * The widest addresses of 16 KiB pages. VTCR_EL2 by the manual: T0SZ 12, SL0 3 for
 * level 0, TG0 2, DS; with anything else a fault would not be QEMU's doing.
 */
static void level_zero_of_16k(const struct walker_config *c)
{
	const nest_ia_t where = 0x40000;
	const uint64_t fields = (uint64_t)1 << 32 | 0xc0ff;
	const uint64_t expected = (uint64_t)1 << 32 | 2 << 14 | 3 << 6 | 12;
	struct walker_config wide = *c;
	struct walker_outcome out = { 0 };
	struct nest_pt pt;
	uint64_t vtcr;

	wide.ia_bits = 52;
	if (!extra_table(&pt, &wide, &walker_host, where))
		return;
	CHECK(port_load(&wide, &pt, where) == NEST_OK, "load");
	vtcr = NEST_AARCH64_READ(vtcr_el2);
	CHECK((vtcr & fields) == expected, "VTCR_EL2 %lx", vtcr);
	port_access(where, WALKER_READ, WALKER_PRIVILEGED, 0, &out);
	/* Not even the stub can be fetched; the level of the fault is that of the root. */
	if ((vtcr & fields) == expected && !out.done && out.fault.kind == NEST_FAULT_TRANSLATION &&
	    out.fault.access == NEST_X && out.fault.level == 3)
		walker_tolerated(QEMU_AARCH64_16K_LEVEL_0);
	else
		CHECK(out.done, "52 bits of 16 KiB pages: kind %u, level %u, at %lx",
		      (unsigned)out.fault.kind, out.fault.level, out.fault.gpa);
	port_unload();
	nest_pt_destroy(&pt);
}

void port_extra(const struct walker_config *config)
{
	if (!is_stage2(config))
		return;
	if (config->format == &nest_fmt_aarch64_s2_16k && (config->features & NEST_FEAT_LPA2))
		level_zero_of_16k(config);
	if (config->sw_ad || config->ia_bits > 48)
		return;
	flush_of_another(config);
	combined_entries(config, 1);
	combined_entries(config, 128);
}
