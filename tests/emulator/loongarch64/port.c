/* SPDX-License-Identifier: MIT */
/*
 * LoongArch: the formats of both stages, on QEMU's virt machine. QEMU 7.2 has no LVZ, so that the
 * second level is walked as the root would walk it, for addresses of the image's own, and flushed
 * as a first stage: INVTLB with a GID, nest_loongarch_flush_guest(), does not exist there.
 *
 * What else the suites show of QEMU 7.2, besides the deviations in deviations.h:
 * - 3 and 4 levels, DIR4, 4 KiB and 16 KiB pages, and huge pages of both levels in the TLB are
 *   right. V, D, PLV, NR and NX of a TLB entry are looked at, with the exceptions listed there.
 * - The TLB keeps invalid entries, too. INVTLB 0 and 2 to 6 take just what they must; nothing else
 *   is forgotten, but TLBFILL replaces an entry at random. So a missing flush is seen.
 * - MAT is kept, and has no effect. An access to where there is nothing raises ADE.
 * - CPUCFG 2 has neither LVZ nor a hardware walker. PRCFG2 is 0, as if there were no page size.
 */
#include <nest/arch/loongarch.h>

#include "machine.h"

enum { STEPS = 2 * 4 + 1 };

/* The machine's RAM above its devices; the image is in that below. */
#define LOW_RAM_SIZE ((uint64_t)0x10000000)
#define RAM          ((uint64_t)0x90000000)
#define RAM_SIZE     ((uint64_t)0x30000000)

const uint64_t port_linear_offset = DMW_KERNEL & ~(uint64_t)0xff;
uint64_t refill_steps[STEPS];

/* ---- Configurations ---- */

/*
 * Rights: NR, NX and D (5.4.4). An atomic access loads and stores. Where software keeps one of V
 * and D, the other one (NEST_ACCESSED, NEST_DIRTY) is always set.
 */
/* clang-format off */
#define S2_ATTRS(accessed, dirty)                                                                  \
	{ NEST_RWX | (accessed) | (dirty), { CAN_RWX } },                                          \
	{ NEST_R | (accessed), { CAN_R } },                                                        \
	{ NEST_RW | (accessed) | (dirty), { CAN_RW } },                                            \
	{ NEST_X | (accessed), { CAN_X } },                                                        \
	{ NEST_W | (accessed) | (dirty), { CAN_W } },                                              \
	{ NEST_W | NEST_X | (accessed) | (dirty), { CAN_W | CAN_X } },                             \
	{ NEST_RW | NEST_SW0 | NEST_SW2 | (accessed) | (dirty), { CAN_RW } },                      \
	{ NEST_RWX | NEST_MT_WC | (accessed) | (dirty), { CAN_RWX } },                             \
	{ NEST_R | NEST_MT_UC | (accessed), { CAN_R } },                                           \
	{ NEST_RX | NEST_SW1 | (accessed), { CAN_RX } }

/* The first stage has PLV too: 0, or 3 for everybody; and G. */
#define S1_ATTRS(accessed)                                                                         \
	{ NEST_RWX | NEST_U | (accessed), { CAN_RWX, CAN_RWX } },                                  \
	{ NEST_RX | NEST_U | (accessed), { CAN_RX, CAN_RX } },                                     \
	{ NEST_R | NEST_U | (accessed), { CAN_R, CAN_R } },                                        \
	{ NEST_RW | NEST_U | NEST_G | (accessed), { CAN_RW, CAN_RW } },                            \
	{ NEST_X | NEST_U | (accessed), { CAN_X, CAN_X } },                                        \
	{ NEST_W | NEST_U | (accessed), { CAN_W, CAN_W } },                                        \
	{ NEST_RWX | (accessed), { CAN_RWX, 0 } },                                                 \
	{ NEST_RX | NEST_G | (accessed), { CAN_RX, 0 } },                                          \
	{ NEST_RW | (accessed), { CAN_RW, 0 } },                                                   \
	{ NEST_RW | NEST_U | NEST_MT_WC | (accessed), { CAN_RW, CAN_RW } },                        \
	{ NEST_RW | NEST_MT_UC | (accessed), { CAN_RW, 0 } },                                      \
	{ NEST_R | NEST_SW0 | NEST_SW1 | (accessed), { CAN_R, 0 } }
/* clang-format on */

static const struct walker_attr s2_attrs[] = { S2_ATTRS(0, 0) };
static const struct walker_attr s2_accessed[] = { S2_ATTRS(NEST_ACCESSED, 0) };
static const struct walker_attr s2_dirty[] = { S2_ATTRS(0, NEST_DIRTY) };
static const struct walker_attr s1_attrs[] = { S1_ATTRS(0) };
static const struct walker_attr s1_accessed[] = { S1_ATTRS(NEST_ACCESSED) };

struct wish {
	const char *name;
	const struct nest_format *format;
	unsigned ia_bits;
	bool loads; /* refill by plain loads, not by LDDIR and LDPTE */
	nest_attr_t sw_ad;
};

static const struct wish wishes[] = {
	{ "s2-4k-39", &nest_fmt_loongarch_s2_4k, 39, false, 0 },
	{ "s2-4k-48", &nest_fmt_loongarch_s2_4k, 48, false, 0 },
	{ "s2-4k-40-loads", &nest_fmt_loongarch_s2_4k, 40, true, 0 },
	{ "s2-4k-42-dirty", &nest_fmt_loongarch_s2_4k, 42, true, NEST_DIRTY },
	{ "s2-16k-47", &nest_fmt_loongarch_s2_16k, 47, false, 0 },
	{ "s2-16k-48", &nest_fmt_loongarch_s2_16k, 48, false, 0 },
	{ "s2-16k-40-accessed", &nest_fmt_loongarch_s2_16k, 40, true, NEST_ACCESSED },
	{ "s1-4k-39", &nest_fmt_loongarch_s1_4k, 39, false, 0 },
	{ "s1-4k-48", &nest_fmt_loongarch_s1_4k, 48, false, 0 },
	{ "s1-4k-48-loads", &nest_fmt_loongarch_s1_4k, 48, true, 0 },
	{ "s1-16k-47", &nest_fmt_loongarch_s1_16k, 47, true, 0 },
	{ "s1-16k-48", &nest_fmt_loongarch_s1_16k, 48, false, 0 },
	{ "s1-16k-48-dirty", &nest_fmt_loongarch_s1_16k, 48, true, NEST_DIRTY },
};

static struct walker_config configs[COUNT(wishes)];

static struct {
	const struct walker_config *config;
	struct nest_pt *pt;
	bool stage2;
} loaded;

static bool is_stage2(const struct nest_format *format)
{
	struct nest_format_info info;

	return nest_format_describe(format, 0, &info) == NEST_OK && info.stage2;
}

static void configure(unsigned index, uint32_t features, unsigned valen, unsigned palen)
{
	const struct wish *w = &wishes[index];
	bool stage2 = is_stage2(w->format);
	struct walker_config *c = &configs[index];

	*c = (struct walker_config){
		.name = w->name,
		.format = w->format,
		.ia_bits = w->ia_bits,
		.oa_bits = palen,
		.features = features | (w->sw_ad ? NEST_FEAT_SW_AD : 0),
		.modes = 3,
		.accesses = CAN_RWX,
		.sw_ad = w->sw_ad,
		.ad_before_rights = w->sw_ad == NEST_ACCESSED, /* V before all others, D last */
		.port_index = index,
	};
	if (!stage2) {
		c->attrs = w->sw_ad ? s1_accessed : s1_attrs;
		c->nr_attrs = COUNT(s1_attrs);
	} else {
		c->attrs = w->sw_ad == NEST_DIRTY      ? s2_accessed
			   : w->sw_ad == NEST_ACCESSED ? s2_dirty
						       : s2_attrs;
		c->nr_attrs = COUNT(s2_attrs);
		/* Entries of the second level are the root's own, PLV 0. */
		c->modes = 1 << WALKER_PRIVILEGED;
		/*
		 * A guest-physical address is not sign-extended, but what stands for one here is a
		 * virtual address.
		 */
		if (c->ia_bits >= valen)
			c->reach_bits = valen - 1;
	}
}

void port_start(void)
{
	uint32_t cpucfg1 = nest_loongarch_cpucfg(1), cpucfg2 = nest_loongarch_cpucfg(2);
	unsigned palen = nest_loongarch_palen(cpucfg1), valen = nest_loongarch_valen(cpucfg1);

	print("probed: CPUCFG 1 %lx, 2 %lx, PRCFG2 %lx: physical %u bits, virtual %u bits, features %lx\n",
	      (uint64_t)cpucfg1, (uint64_t)cpucfg2, CSR_READ(CSR_PRCFG2), palen, valen,
	      (uint64_t)nest_loongarch_probe());
	CSR_WRITE(CSR_ASID, LOADED_ASID);
	for (unsigned i = 0; i < COUNT(wishes); i++)
		configure(i, nest_loongarch_probe(), valen, palen);
}

const struct walker_config *port_configs(unsigned *count)
{
	*count = COUNT(configs);
	return configs;
}

void port_ram(nest_pa_t *base, uint64_t *size)
{
	*base = RAM;
	*size = RAM_SIZE;
}

bool refills_by_loads(const struct walker_config *config)
{
	return wishes[config->port_index].loads;
}

/* ---- The loaded table ---- */

static void set_steps(const struct nest_pt *pt)
{
	unsigned levels = nest_pt_levels(pt);

	for (unsigned i = 0; i < levels; i++) {
		unsigned level = levels - 1 - i, shift = nest_pt_shift(pt, level);
		unsigned end = i ? nest_pt_shift(pt, level + 1) : pt->ia_bits;

		refill_steps[2 * i] = shift;
		refill_steps[2 * i + 1] = ((uint64_t)1 << (end - shift)) - 1;
	}
	refill_steps[2 * levels] = 0;
}

static void use_refill(const struct nest_pt *pt, bool loads)
{
	const uint8_t *handler = refill_loads;

	if (loads)
		set_steps(pt);
	else if (nest_pt_levels(pt) == 3)
		handler = refill_dir3_dir1;
	else
		handler = nest_pt_shift(pt, 0) == 12 ? refill_dir3_dir2_dir1
						     : refill_dir4_dir3_dir1;
	CSR_WRITE(CSR_TLBRENTRY, (uintptr_t)handler - port_linear_offset);
}

int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t home)
{
	uint64_t pwcl, pwch, pgd;
	int err = nest_loongarch_pwcl(pt, &pwcl);

	(void)home;
	if (!err)
		err = nest_loongarch_pwch(pt, &pwch);
	if (!err)
		err = nest_loongarch_pgd(pt, &pgd);
	if (err)
		return err;
	nest_pt_set_vmid(pt, LOADED_ASID);
	CSR_WRITE(NEST_LOONGARCH_CSR_PWCL, pwcl);
	CSR_WRITE(NEST_LOONGARCH_CSR_PWCH, pwch);
	CSR_WRITE(NEST_LOONGARCH_CSR_PGDL, pgd);
	CSR_WRITE(NEST_LOONGARCH_CSR_PGDH, pgd);
	CSR_WRITE(CSR_STLBPS, nest_pt_shift(pt, 0));
	use_refill(pt, refills_by_loads(config));
	NEST_INVTLB(NEST_INVTLB_ALL, 0, 0);
	loaded.config = config;
	loaded.pt = pt;
	loaded.stage2 = is_stage2(config->format);
	return NEST_OK;
}

void port_unload(void)
{
	NEST_INVTLB(NEST_INVTLB_ALL, 0, 0);
	loaded.pt = NULL;
}

void port_flush(const struct nest_flush *what)
{
	/* Nothing can have been translated while none is loaded. */
	if (loaded.pt)
		nest_loongarch_flush(what, nest_pt_shift(loaded.pt, 0), what->vmid);
}

void port_sync(const void *va, size_t len)
{
	(void)va;
	(void)len;
	nest_loongarch_dbar();
}

/* ---- Accesses ---- */

bool tlb_find(nest_ia_t ia, struct tlb_page *out)
{
	uint64_t index;

	CSR_WRITE(CSR_TLBEHI, ia & ~(uint64_t)0x1fff);
	__asm__ volatile("tlbsrch" : : : "memory");
	index = CSR_READ(CSR_TLBIDX);
	if (index >> 31 & 1)
		return false;
	__asm__ volatile("tlbrd" : : : "memory");
	out->shift = (unsigned)(CSR_READ(CSR_TLBIDX) >> 24 & 0x3f);
	out->entry = ia >> out->shift & 1 ? CSR_READ(CSR_TLBELO1) : CSR_READ(CSR_TLBELO0);
	return true;
}

void try_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		struct trap *trap)
{
	static const uint8_t *const code[] = { [WALKER_READ] = access_read,
					       [WALKER_WRITE] = access_write,
					       [WALKER_RMW] = access_rmw };
	uint64_t pc = ia, plv = mode == WALKER_USER ? 3 : 0;

	if (access != WALKER_EXEC) {
		pc = (uintptr_t)code[access];
		if (mode == WALKER_USER)
			pc ^= (DMW_KERNEL ^ DMW_USER) >> 60 << 60;
	}
	enter(trap, pc, plv, ia, value);
}

/*
 * QEMU keeps what it has translated in a cache of its own, besides the TLB, by 16 KiB; deviations.h
 * says what is wrong with it. Another ASID empties it and leaves the TLB as it is.
 */
static void forget_cached(void)
{
	CSR_WRITE(CSR_ASID, LOADED_ASID + 1);
	CSR_WRITE(CSR_ASID, LOADED_ASID);
}

/* Does QEMU take bits 13:12 of the physical address from `ia`, and are they others? */
static bool goes_elsewhere(nest_ia_t ia, const struct tlb_page *page)
{
	return page->shift < 14 && ((page->entry ^ ia) & 0x3000);
}

static nest_pa_t pa_of(nest_ia_t ia, const struct tlb_page *page)
{
	uint64_t offset = ((uint64_t)1 << page->shift) - 1;

	return (page->entry & TLB_PPN & ~offset) | (ia & offset);
}

static const uint32_t exec_code[] = { 0x002a0000 | BREAK_EXECUTED, 0x002a0000, 0x002a0000,
				      0x002a0000 };

static bool is_done(const struct trap *t, enum walker_access access, nest_ia_t ia)
{
	if (ecode_of(t) != ECODE_BRK)
		return false;
	return access == WALKER_EXEC ? t->era == ia && t->badi == exec_code[0]
				     : t->badi == (0x002a0000 | BREAK_ACCESS);
}

static void decode_fault(const struct trap *t, enum walker_access access, struct nest_fault *f)
{
	static const nest_attr_t tried[] = { [WALKER_READ] = NEST_R,
					     [WALKER_WRITE] = NEST_W,
					     [WALKER_EXEC] = NEST_X,
					     [WALKER_RMW] = NEST_RW };
	struct nest_mapping m;

	if (nest_fault_loongarch(t->estat, t->badv, false, 0, f) != NEST_OK) {
		f->kind = NEST_FAULT_OTHER;
		return;
	}
	/* Of the first stage, where user and kernel pages differ. */
	if (ecode_of(t) == ECODE_PPI) {
		f->kind = NEST_FAULT_PERMISSION;
		f->access = tried[access];
	}
	if (!loaded.config->sw_ad || nest_pt_query(loaded.pt, f->gpa, &m) != NEST_OK)
		return;
	/* Software that keeps V and D itself looks at the entry to see why. */
	if ((f->kind == NEST_FAULT_TRANSLATION && !(m.attr & NEST_ACCESSED)) ||
	    (ecode_of(t) == ECODE_PME && (m.attr & NEST_W) && !(m.attr & NEST_DIRTY)))
		f->kind = NEST_FAULT_ACCESS_FLAG;
}

static bool is_code_at(nest_pa_t pa)
{
	bool is_ram = pa < LOW_RAM_SIZE || (pa >= RAM && pa - RAM < RAM_SIZE);

	return is_ram && *(const uint32_t *)walker_va(pa) == exec_code[0];
}

/* Does a TLB entry keep this mode out (5.4.2)? */
static bool keeps_out(uint64_t entry, enum walker_mode mode)
{
	unsigned plv = mode == WALKER_USER ? 3 : 0, least = (unsigned)((entry & TLB_PLV) >> 2);

	return entry & TLB_RPLV ? plv != least : plv > least;
}

/*
 * May the CPU be let fetch from `ia`? Not where QEMU would fall into an endless loop: *trap is then
 * the exception that the TLB's entry calls for (5.4.4). Nor where it would run what is no
 * port_code(), because of a deviation or a stale entry: *trap is then none.
 */
static bool may_fetch(nest_ia_t ia, enum walker_mode mode, struct trap *trap)
{
	struct tlb_page page;

	try_access(ia, WALKER_READ, WALKER_PRIVILEGED, 0, trap); /* have it refilled */
	if (!tlb_find(ia, &page) || !(page.entry & TLB_V))
		return true;
	*trap = (struct trap){ .badv = ia };
	if (page.entry & TLB_NX)
		trap->estat = ECODE_PNX << 16;
	else if (keeps_out(page.entry, mode))
		trap->estat = ECODE_PPI << 16;
	if (!trap->estat)
		return !goes_elsewhere(ia, &page) && is_code_at(pa_of(ia, &page));
	walker_tolerated(QEMU_LOONGARCH_FETCH_LOOP);
	return false;
}

void port_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		 struct walker_outcome *out)
{
	struct trap trap;

	*out = (struct walker_outcome){ 0 };
	forget_cached();
	if (access != WALKER_EXEC || may_fetch(ia, mode, &trap))
		try_access(ia, access, mode, value, &trap);
	out->done = is_done(&trap, access, ia);
	out->value = trap.a0;
	if (!out->done)
		decode_fault(&trap, access, &out->fault);
}

const void *port_code(size_t *len)
{
	*len = sizeof(exec_code);
	return exec_code;
}

void port_code_written(void *va, size_t len)
{
	(void)va;
	(void)len;
	__asm__ volatile("ibar 0" : : : "memory");
}

bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out)
{
	(void)table, (void)frame, (void)access, (void)out;
	return false;
}

bool port_translate(nest_ia_t ia, enum walker_access access, nest_pa_t *pa, nest_attr_t *type)
{
	static const nest_attr_t types[] = { NEST_MT_UC, NEST_MT_WB, NEST_MT_WC, NEST_MT_MASK };
	struct tlb_page page;
	struct trap trap;

	try_access(ia, access, WALKER_PRIVILEGED, 0, &trap);
	if (!tlb_find(ia, &page) || !(page.entry & TLB_V))
		return false;
	*pa = pa_of(ia, &page);
	*type = types[(page.entry & TLB_MAT) >> 4];
	return true;
}

/*
 * Where software keeps V or D, decode_fault() looks at what the library says of the page, of which
 * a table that is not the library's knows nothing.
 */
const struct mmu *port_mmu(const struct walker_config *config, struct mmu_regs *regs)
{
	if (config->sw_ad)
		return NULL;
	*regs = (struct mmu_regs){
		.root = CSR_READ(NEST_LOONGARCH_CSR_PGDL),
		.root_upper = CSR_READ(NEST_LOONGARCH_CSR_PGDH),
		.control = CSR_READ(NEST_LOONGARCH_CSR_PWCL),
		.control2 = CSR_READ(NEST_LOONGARCH_CSR_PWCH),
		.cpu = nest_loongarch_cpucfg(2) & CPUCFG2_HPTW ? MMU_CPU_PTW : 0,
		.pa_bits = (unsigned)mmu_bits(nest_loongarch_cpucfg(1), 11, 4) + 1, /* PALEN */
	};
	return &mmu_loongarch;
}

/* may_fetch() has kept the CPU from running what is no port_code(). */
static bool was_refused(const struct walker_outcome *out)
{
	return !out->done && out->fault.kind == NEST_FAULT_OTHER && !out->fault.access;
}

/* Made, or (a READ or EXEC) refused only by the bus, or not tried for want of code. */
static bool was_let(const struct walker_outcome *out)
{
	return out->done || was_refused(out) || out->fault.kind == NEST_FAULT_ADDRESS_SIZE;
}

/* Of bits 63:61, those that a page's entry must have. */
static uint64_t inhibits(const struct walker_probe *probe)
{
	if (probe->step)
		return probe->step->word & (TLB_NR | TLB_NX | TLB_RPLV);
	return (probe->attr & NEST_R ? 0 : TLB_NR) | (probe->attr & NEST_X ? 0 : TLB_NX);
}

/* LDPTE has dropped the bit that forbids it, and all else in the TLB is right. */
static bool lacks_inhibit(const struct walker_config *config, const struct walker_probe *probe,
			  const struct tlb_page *page)
{
	uint64_t dropped = inhibits(probe) & ~page->entry;

	if (refills_by_loads(config) || probe->expect_kind != NEST_FAULT_PERMISSION)
		return false;
	return keeps_out(page->entry | (dropped & TLB_RPLV), probe->mode) ||
	       (dropped & (probe->access == WALKER_EXEC    ? TLB_NX
			   : probe->access == WALKER_WRITE ? 0
							   : TLB_NR));
}

enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome)
{
	bool writes = probe->access == WALKER_WRITE || probe->access == WALKER_RMW;
	struct tlb_page page;

	/* The TLB itself must hold just what is expected. */
	if (!probe->mapped || !tlb_find(probe->ia, &page) || !(page.entry & TLB_V) ||
	    pa_of(probe->ia, &page) != probe->pa || (writes && !(page.entry & TLB_D)) ||
	    keeps_out(page.entry, probe->mode))
		return WALKER_NO_DEVIATION;
	if (!probe->expect_done)
		return lacks_inhibit(config, probe, &page) && was_let(outcome)
			       ? QEMU_LOONGARCH_INHIBIT
			       : WALKER_NO_DEVIATION;
	if (goes_elsewhere(probe->ia, &page) &&
	    (probe->access == WALKER_EXEC ? was_refused(outcome) : outcome->done))
		return QEMU_LOONGARCH_16K_CACHE;
	return WALKER_NO_DEVIATION;
}
