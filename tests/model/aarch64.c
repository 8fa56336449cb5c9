/* SPDX-License-Identifier: MIT */
/*
 * AArch64: stage 2, and the first stages of EL1&0 and of EL2 without VHE, with 4, 16 and 64 KiB
 * pages (Arm ARM D8). FEAT_HAFDBS, FEAT_LPA, FEAT_LPA2, FEAT_XNX and FEAT_BBM level 2 are there if
 * `cpu` says so; FEAT_S2FWB and FEAT_LVA if the registers use them. FEAT_TTST is not, nor is any
 * later feature.
 *
 * Registers: root is VTTBR_EL2 or TTBR0_ELx, root_upper TTBR1_EL1; control is VTCR_EL2 or TCR_ELx,
 * control2 HCR_EL2, types MAIR_ELx. SCTLR_ELx.WXN and PSTATE.PAN are clear. The type of a stage-2
 * page is that for a first stage which says write-back.
 *
 * Arm counts levels from the root: its level n is 3 - n here, and level -1 is 4.
 */
#include "mmu.h"

enum { GRANULE_4K = 12, GRANULE_16K = 14, GRANULE_64K = 16, ARM_LEVEL_0 = 3 };
enum { HCR_E2H = 34, HCR_FWB = 46 };

/* Descriptors: D8.3. */
enum { VALID = 0, TABLE = 1, AF = 10, NT = 16, DBM = 51, CONTIGUOUS = 52 };
enum { AP_USER = 6, AP_READ_ONLY = 7, NG = 11, PXN = 53, UXN = 54 };
enum { PXN_TABLE = 59, UXN_TABLE = 60, AP_TABLE_NO_USER = 61, AP_TABLE_READ_ONLY = 62 };
enum { S2AP_READ = 6, S2AP_WRITE = 7, S2_XN_LOW = 53, S2_XN = 54 };

static uint64_t bit(unsigned n)
{
	return (uint64_t)1 << n;
}

static bool has(uint64_t word, unsigned n)
{
	return word >> n & 1;
}

/* ---- What the registers set up ---- */

struct stage {
	uint64_t ttbr;
	unsigned granule; /* log2 of a page */
	unsigned ia_bits, oa_bits;
	unsigned top; /* level at which a walk begins */
	unsigned ps;  /* the field as it stands */
	bool ds, ha, hd, lpa;
	bool forbidden;    /* what no software may set up, or is not modelled */
	bool inconsistent; /* VTCR_EL2.SL0 and SL2 are reserved, or not for this T0SZ */
};

/* VTCR_EL2.TG0 and TCR_ELx.TG0; TCR_EL1.TG1 has an encoding of its own. 0: reserved. */
static const uint8_t tg0[4] = { GRANULE_4K, GRANULE_64K, GRANULE_16K, 0 };
static const uint8_t tg1[4] = { 0, GRANULE_16K, GRANULE_4K, GRANULE_64K };

static unsigned level_shift(const struct stage *s, unsigned level)
{
	return s->granule + (s->granule - 3) * level;
}

/*
 * The sizes that take effect, and the level at which a first stage begins (D8.1, D8.2). TxSZ beyond
 * its limits, a reserved granule and a reserved PS are CONSTRAINED UNPREDICTABLE.
 */
static void set_sizes(const struct mmu_regs *regs, struct stage *s, unsigned tsz)
{
	static const uint8_t width[8] = { 32, 36, 40, 42, 44, 48, 52, 0 };

	s->forbidden |= !s->granule;
	if (!s->granule)
		s->granule = GRANULE_4K;
	s->lpa = (regs->cpu & MMU_CPU_LPA) && s->granule == GRANULE_64K;
	s->ds &= (regs->cpu & MMU_CPU_LPA2) && s->granule != GRANULE_64K;
	s->ha &= (regs->cpu & MMU_CPU_HAFDBS) != 0;
	s->hd &= s->ha;
	s->ia_bits = 64 - tsz;
	s->oa_bits = width[s->ps];
	if (s->oa_bits > 48 && !s->ds && !s->lpa)
		s->oa_bits = 48;
	if (s->oa_bits > regs->pa_bits)
		s->oa_bits = regs->pa_bits;
	s->forbidden |= !s->oa_bits || tsz > 39 ||
			tsz < (s->ds || s->granule == GRANULE_64K ? 12 : 16);
	s->top = (s->ia_bits - 1 - s->granule) / (s->granule - 3);
}

/* VTCR_EL2 and TCR_EL2 have these fields at the same places. */
static struct stage stage_of(const struct mmu_regs *regs)
{
	uint64_t c = regs->control;
	struct stage s = { .ttbr = regs->root,
			   .granule = tg0[mmu_bits(c, 15, 14)],
			   .ps = (unsigned)mmu_bits(c, 18, 16),
			   .ha = has(c, 21),
			   .hd = has(c, 22),
			   .ds = has(c, 32) };

	set_sizes(regs, &s, (unsigned)mmu_bits(c, 5, 0));
	return s;
}

/* TBI and HPD are not modelled, nor is VHE. */
static struct stage stage_el2(const struct mmu_regs *regs)
{
	struct stage s = stage_of(regs);

	s.forbidden |= has(regs->control, 20) || has(regs->control, 24) ||
		       has(regs->control2, HCR_E2H);
	return s;
}

/* Nor are TBI0, TBI1, HPD0, HPD1, NFD0, NFD1, E0PD0 and E0PD1. */
static struct stage stage_el1(const struct mmu_regs *regs, bool upper)
{
	uint64_t c = regs->control;
	struct stage s = { .ttbr = upper ? regs->root_upper : regs->root,
			   .granule = upper ? tg1[mmu_bits(c, 31, 30)] : tg0[mmu_bits(c, 15, 14)],
			   .ps = (unsigned)mmu_bits(c, 34, 32),
			   .ha = has(c, 39),
			   .hd = has(c, 40),
			   .ds = has(c, 59) };

	set_sizes(regs, &s, (unsigned)(upper ? mmu_bits(c, 21, 16) : mmu_bits(c, 5, 0)));
	s.forbidden |= mmu_bits(c, 38, 37) || mmu_bits(c, 42, 41) || mmu_bits(c, 56, 53);
	return s;
}

/*
 * VTCR_EL2.SL0 and SL2 (D8.2): the level at which the walk begins. False: a reserved value, or
 * one that is for wider physical addresses.
 */
static bool start_level(const struct mmu_regs *regs, struct stage *s)
{
	unsigned sl0 = (unsigned)mmu_bits(regs->control, 7, 6);

	s->top = s->granule == GRANULE_4K ? sl0 + 1 : sl0;
	if (s->granule == GRANULE_4K && s->ds && has(regs->control, 33)) {
		s->top = ARM_LEVEL_0 + 1;
		return !sl0;
	}
	if (sl0 == 2)
		return regs->pa_bits >= (s->granule == GRANULE_16K ? 42 : 44);
	return sl0 < 2 || (s->granule == GRANULE_16K && s->ds);
}

static struct stage stage_s2(const struct mmu_regs *regs)
{
	struct stage s = stage_of(regs);

	/* Input addresses wider than the CPU's physical ones; fields from bit 34 on. */
	s.forbidden |= s.ia_bits > regs->pa_bits || regs->control >> 34;
	/* With FEAT_TTST, 3 begins at the last level of 4 KiB pages. */
	s.forbidden |= s.granule == GRANULE_4K && mmu_bits(regs->control, 7, 6) == 3;
	s.inconsistent = !start_level(regs, &s);
	/* One bit at least is for the root to decide, and up to 16 tables are concatenated. */
	s.inconsistent |= s.ia_bits <= level_shift(&s, s.top) ||
			  s.ia_bits > level_shift(&s, s.top + 1) + 4;
	return s;
}

/* ---- Walks ---- */

/* D8.2: with 52-bit addresses, bits 51:48 of the root stand in bits 5:2. */
static uint64_t root_of(const struct stage *s)
{
	if (s->ds || (s->lpa && s->ps == 6))
		return mmu_bits(s->ttbr, 47, 6) << 6 | mmu_bits(s->ttbr, 5, 2) << 48;
	return mmu_bits(s->ttbr, 47, 1) << 1;
}

/*
 * Faults before the first lookup are told as those of Arm's level 0, wherever a walk would begin. A
 * root is aligned to its size.
 */
static struct mmu_step begin(const struct stage *s, bool in_range)
{
	struct mmu_step step = { .kind = MMU_TABLE,
				 .level = ARM_LEVEL_0,
				 .rights = { MMU_RWX, MMU_RWX } };

	if (s->forbidden)
		return mmu_end(&step, MMU_FORBIDDEN, 0, 0);
	if (!in_range || s->inconsistent)
		return mmu_end(&step, MMU_TRANSLATION, 0, 0);
	step.table = root_of(s);
	if (step.table & mmu_mask(s->ia_bits - level_shift(s, s->top) + 3))
		return mmu_end(&step, MMU_FORBIDDEN, 0, 0);
	if (step.table & ~mmu_mask(s->oa_bits))
		return mmu_end(&step, MMU_ADDRESS_SIZE, 0, 0);
	step.level = (uint8_t)s->top;
	return step;
}

/* The root decides all input bits that are left, be it more or fewer than another table. */
static uint64_t entry(const struct stage *s, const struct mmu_step *from, uint64_t ia)
{
	unsigned above = from->level == s->top ? s->ia_bits : level_shift(s, from->level + 1u);

	return from->table + 8 * ((ia & mmu_mask(above)) >> level_shift(s, from->level));
}

/* D8.3: the levels that have blocks. */
static bool has_blocks(const struct stage *s, unsigned level)
{
	switch (s->granule) {
	case GRANULE_4K:
		return level == 1 || level == 2 || (level == 3 && s->ds);
	case GRANULE_16K:
		return level == 1 || (level == 2 && s->ds);
	default:
		return level == 1 || (level == 2 && s->lpa);
	}
}

/* D8.7.1: log2 of the entries of a contiguous group; elsewhere the bit is RES0. */
static unsigned group_of(const struct stage *s, unsigned level)
{
	static const uint8_t groups[3][3] = { { 4, 4, 4 }, { 7, 5, 0 }, { 5, 5, 0 } };

	return level < 3 ? groups[(s->granule - GRANULE_4K) / 2][level] : 0;
}

/* D8.3: where the address bits stand; those above 47 wherever there is room for them. */
static uint64_t address_of(const struct stage *s, unsigned shift, uint64_t word)
{
	uint64_t address = word & mmu_mask(48) & ~mmu_mask(shift);

	if (s->ds)
		address |= mmu_bits(word, 49, 48) << 48 | mmu_bits(word, 9, 8) << 50;
	if (s->lpa)
		address |= mmu_bits(word, 15, 12) << 48;
	return address;
}

/*
 * What is CONSTRAINED UNPREDICTABLE of a page: nT with FEAT_BBM, which may fault (D8.14.2); a
 * contiguous group that is larger than the input range, or has not got the entry's address for the
 * entry's place in it (D8.7.1).
 */
static bool is_forbidden(const struct mmu_regs *regs, const struct stage *s,
			 const struct mmu_step *page, uint64_t ia)
{
	if (page->level && has(page->word, NT) && (regs->cpu & MMU_CPU_BBM2))
		return true;
	return page->shift > s->ia_bits || ((page->pa ^ ia) & mmu_mask(page->shift));
}

/* A leaf's address, size and status flags; the stages add rights and types. */
static struct mmu_step leaf(const struct mmu_regs *regs, const struct stage *s,
			    const struct mmu_step *from, uint64_t ia, uint64_t word)
{
	unsigned shift = level_shift(s, from->level), group = group_of(s, from->level);
	uint64_t address = address_of(s, shift, word);
	struct mmu_step page = mmu_end(from, MMU_PAGE, entry(s, from, ia), word);

	page.contiguous = group && has(word, CONTIGUOUS);
	page.shift = (uint8_t)(shift + (page.contiguous ? group : 0));
	page.pa = address | (ia & mmu_mask(shift));
	if (s->ha)
		page.when_read = page.when_written = word | bit(AF);
	else
		page.flag_fault = has(word, AF) ? 0 : MMU_RWX;
	if (is_forbidden(regs, s, &page, ia))
		page.kind = MMU_FORBIDDEN;
	else if (address & ~mmu_mask(s->oa_bits))
		page.kind = MMU_ADDRESS_SIZE;
	return page;
}

static struct mmu_step next(const struct mmu_regs *regs, const struct stage *s,
			    const struct mmu_step *from, uint64_t ia, uint64_t word)
{
	uint64_t at = entry(s, from, ia), address = address_of(s, s->granule, word);
	struct mmu_step step = mmu_end(from, MMU_TABLE, at, word);

	if (!has(word, VALID))
		return mmu_end(from, MMU_TRANSLATION, at, word);
	/* Neither table nor page: a block, where the level has them, or reserved. */
	if (!has(word, TABLE) && !has_blocks(s, from->level))
		return mmu_end(from, MMU_TRANSLATION, at, word);
	if (!from->level || !has(word, TABLE))
		return leaf(regs, s, from, ia, word);
	if (address & ~mmu_mask(s->oa_bits))
		return mmu_end(from, MMU_ADDRESS_SIZE, at, word);
	step.level--;
	step.table = address;
	return step;
}

static unsigned group_shift(const struct mmu_regs *regs, unsigned level)
{
	struct stage s = stage_of(regs);

	return group_of(&s, level);
}

/* D8.13: an entry that faults for translation, address size or access flag is never cached. */
static bool never(const struct mmu_regs *regs)
{
	(void)regs;
	return false;
}

/*
 * D8.14.1: what needs break-before-make. Another output address counts always: what is there may
 * differ, and be written.
 */
static bool may_coexist(const struct mmu_regs *regs, const struct mmu_step *a,
			const struct mmu_step *b)
{
	if (a->flag_fault || b->flag_fault)
		return true; /* not cached */
	if (a->pa != b->pa || a->type != b->type || (!a->global && b->global))
		return false;
	return (a->shift == b->shift && a->contiguous == b->contiguous) ||
	       (regs->cpu & MMU_CPU_BBM2);
}

/* ---- Stage 2 ---- */

static struct mmu_step begin_s2(const struct mmu_regs *regs, uint64_t ia)
{
	struct stage s = stage_s2(regs);

	return begin(&s, !(ia & ~mmu_mask(s.ia_bits)));
}

static uint64_t entry_s2(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	struct stage s = stage_s2(regs);

	return entry(&s, from, ia);
}

/*
 * D8.6: MemAttr, and what it is with FWB, where 7 is what the first stage says. False: it
 * is reserved, or has a meaning by a later feature (bit 5 with FWB: FEAT_MTE_PERM).
 */
static bool type_s2(const struct mmu_regs *regs, uint64_t word, enum mmu_type *type)
{
	static const enum mmu_type device[4] = { MMU_UC, MMU_DEVICE, MMU_OTHER_TYPE,
						 MMU_OTHER_TYPE };
	static const enum mmu_type normal[4] = { MMU_OTHER_TYPE, MMU_WC, MMU_WT, MMU_WB };
	static const enum mmu_type forced[4] = { MMU_OTHER_TYPE, MMU_WC, MMU_WB, MMU_WB };
	unsigned high = (unsigned)mmu_bits(word, 5, 4), low = (unsigned)mmu_bits(word, 3, 2);
	bool fwb = has(regs->control2, HCR_FWB);

	*type = MMU_OTHER_TYPE;
	if (!high)
		*type = device[low];
	else if (fwb)
		*type = forced[low];
	else if (high == low)
		*type = normal[low];
	return !high || (low && !(fwb && high > 1));
}

/* D8.4: XN[1:0]; without FEAT_XNX the upper bit alone, for both. */
static uint8_t execution_s2(const struct mmu_regs *regs, uint64_t word, unsigned mode)
{
	bool low = (regs->cpu & MMU_CPU_XNX) && has(word, S2_XN_LOW);
	bool never_here = has(word, S2_XN) != (mode == MMU_PRIVILEGED && low);

	return never_here ? 0 : MMU_X;
}

static struct mmu_step next_s2(const struct mmu_regs *regs, const struct mmu_step *from,
			       uint64_t ia, uint64_t word)
{
	struct stage s = stage_s2(regs);
	struct mmu_step step = next(regs, &s, from, ia, word);
	bool dirty = s.hd && has(word, DBM);
	uint8_t data = (uint8_t)((has(word, S2AP_READ) ? MMU_R : 0) |
				 (has(word, S2AP_WRITE) || dirty ? MMU_W : 0));

	if (step.kind != MMU_PAGE)
		return step;
	if (!type_s2(regs, word, &step.type))
		step.kind = MMU_FORBIDDEN;
	for (unsigned m = 0; m < MMU_MODES; m++)
		step.rights[m] = data | execution_s2(regs, word, m);
	/* With DBM, not writable means clean (D8.5). */
	if (dirty)
		step.when_written |= bit(S2AP_WRITE);
	return step;
}

const struct mmu mmu_aarch64_s2 = { .name = "AArch64 stage 2",
				    .flag_first = true,
				    .begin = begin_s2,
				    .entry = entry_s2,
				    .next = next_s2,
				    .group_shift = group_shift,
				    .keeps_invalid = never,
				    .may_coexist = may_coexist };

/* ---- First stages ---- */

/* MAIR_ELx: what both caches do alike. Whether they allocate, and how long for, does not matter. */
static enum mmu_type type_s1(const struct mmu_regs *regs, uint64_t word)
{
	unsigned attr = (unsigned)(regs->types >> (8 * mmu_bits(word, 4, 2))) & 0xff;
	unsigned outer = attr >> 4, inner = attr & 15;

	if (!outer)
		return inner == 0 ? MMU_UC : inner == 4 ? MMU_DEVICE : MMU_OTHER_TYPE;
	if (outer == 4 && inner == 4)
		return MMU_WC;
	if (!(outer & 3) || !(inner & 3) || ((outer ^ inner) & 4))
		return MMU_OTHER_TYPE;
	return outer & 4 ? MMU_WB : MMU_WT;
}

/* D8.4: with DBM, read-only means clean. */
static uint8_t data_s1(const struct stage *s, uint64_t word)
{
	return has(word, AP_READ_ONLY) && !(s->hd && has(word, DBM)) ? MMU_R : MMU_R | MMU_W;
}

static void finish_s1(const struct mmu_regs *regs, const struct stage *s, struct mmu_step *page)
{
	page->type = type_s1(regs, page->word);
	if (s->hd && has(page->word, DBM))
		page->when_written &= ~bit(AP_READ_ONLY);
}

/* D8.2: bit 55 chooses the half, and all bits above the configured width are equal to it. */
static struct mmu_step begin_el1(const struct mmu_regs *regs, uint64_t ia)
{
	bool upper = has(ia, 55), disabled = has(regs->control, upper ? 23 : 7);
	struct stage s = stage_el1(regs, upper);
	uint64_t above = ~mmu_mask(s.ia_bits);

	/* TCR_EL1.EPD0 and EPD1: then the other fields of that half do not count. */
	s.forbidden &= !disabled;
	return begin(&s, !disabled && (ia & above) == (upper ? above : 0));
}

static uint64_t entry_el1(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	struct stage s = stage_el1(regs, has(ia, 55));

	return entry(&s, from, ia);
}

/* D8.4: what a table takes away from all that is below it. */
static void limit_el1(struct mmu_step *table)
{
	uint8_t *rights = table->rights;

	if (has(table->word, AP_TABLE_READ_ONLY)) {
		rights[MMU_PRIVILEGED] &= MMU_R | MMU_X;
		rights[MMU_USER] &= MMU_R | MMU_X;
	}
	if (has(table->word, AP_TABLE_NO_USER))
		rights[MMU_USER] &= MMU_X;
	if (has(table->word, UXN_TABLE))
		rights[MMU_USER] &= MMU_R | MMU_W;
	if (has(table->word, PXN_TABLE))
		rights[MMU_PRIVILEGED] &= MMU_R | MMU_W;
}

/* D8.4: and what EL0 can write, EL1 does not execute. */
static void allow_el1(const struct stage *s, struct mmu_step *page)
{
	uint8_t data = data_s1(s, page->word), *rights = page->rights;

	rights[MMU_USER] &= (uint8_t)((has(page->word, AP_USER) ? data : 0) |
				      (has(page->word, UXN) ? 0 : MMU_X));
	rights[MMU_PRIVILEGED] &= (uint8_t)(data | (has(page->word, PXN) ? 0 : MMU_X));
	if (rights[MMU_USER] & MMU_W)
		rights[MMU_PRIVILEGED] &= MMU_R | MMU_W;
}

static struct mmu_step next_el1(const struct mmu_regs *regs, const struct mmu_step *from,
				uint64_t ia, uint64_t word)
{
	struct stage s = stage_el1(regs, has(ia, 55));
	struct mmu_step step = next(regs, &s, from, ia, word);

	if (step.kind == MMU_TABLE)
		limit_el1(&step);
	if (step.kind != MMU_PAGE)
		return step;
	allow_el1(&s, &step);
	step.global = !has(word, NG);
	finish_s1(regs, &s, &step);
	return step;
}

/* Of the half that is in use; of the lower one if both are. */
static unsigned group_shift_el1(const struct mmu_regs *regs, unsigned level)
{
	struct stage s = stage_el1(regs, has(regs->control, 7));

	return group_of(&s, level);
}

const struct mmu mmu_aarch64_el1 = { .name = "AArch64 EL1&0",
				     .flag_first = true,
				     .begin = begin_el1,
				     .entry = entry_el1,
				     .next = next_el1,
				     .group_shift = group_shift_el1,
				     .keeps_invalid = never,
				     .may_coexist = may_coexist };

/* One range and no EL0: AP[1], APTable[0], PXN and PXNTable do not count, and nothing is global. */
static struct mmu_step begin_el2(const struct mmu_regs *regs, uint64_t ia)
{
	struct stage s = stage_el2(regs);
	struct mmu_step step = begin(&s, !(ia & ~mmu_mask(s.ia_bits)));

	step.rights[MMU_USER] = 0;
	return step;
}

static uint64_t entry_el2(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	struct stage s = stage_el2(regs);

	return entry(&s, from, ia);
}

static struct mmu_step next_el2(const struct mmu_regs *regs, const struct mmu_step *from,
				uint64_t ia, uint64_t word)
{
	struct stage s = stage_el2(regs);
	struct mmu_step step = next(regs, &s, from, ia, word);
	uint8_t *rights = &step.rights[MMU_PRIVILEGED];

	if (step.kind == MMU_TABLE) {
		*rights &= has(word, AP_TABLE_READ_ONLY) ? MMU_R | MMU_X : MMU_RWX;
		*rights &= has(word, UXN_TABLE) ? MMU_R | MMU_W : MMU_RWX;
	}
	if (step.kind != MMU_PAGE)
		return step;
	*rights &= (uint8_t)(data_s1(&s, word) | (has(word, UXN) ? 0 : MMU_X));
	finish_s1(regs, &s, &step);
	return step;
}

const struct mmu mmu_aarch64_el2 = { .name = "AArch64 EL2",
				     .flag_first = true,
				     .begin = begin_el2,
				     .entry = entry_el2,
				     .next = next_el2,
				     .group_shift = group_shift,
				     .keeps_invalid = never,
				     .may_coexist = may_coexist };
