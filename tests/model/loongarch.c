/* SPDX-License-Identifier: MIT */
/*
 * LoongArch (reference manual, vol. 1): the first stage, and LVZ's second level, which the root's
 * TLB refill walks in the same way. What is modelled is the TLB (5.4.2 to 5.4.4) with a refill that
 * goes down the tables by LDDIR and LDPTE and tests nothing (4.2.5, 5.4.5), or the hardware walker.
 *
 * Registers: root is PGDL, root_upper PGDH, control PWCL, control2 PWCH. CSR.MISC does not switch
 * off the write protection.
 */
#include "mmu.h"

enum { LEVELS = 5, ENTRY_SHIFT = 3, LEAST_TABLE = 12, HUGE_LOW = 13, LARGEST_SHIFT = 31 };
enum { V, D, PLV, MAT = 4, GLOBAL = 6, HUGE = 6, P, W, HUGE_GLOBAL = 12, NR = 61, NX, RPLV };
enum { PWCH_HPTW = 24 };

/* One level of the tables: index bits [shift + width - 1 : shift] of an address. */
struct level {
	unsigned shift, width;
};

static uint64_t bit(unsigned n)
{
	return (uint64_t)1 << n;
}

static bool has(uint64_t word, unsigned n)
{
	return word >> n & 1;
}

/* Version 1.1 of the manual: CPUCFG.2.HPTW says that there is one, PWCH.HPTW_En that it is on. */
static bool has_walker(const struct mmu_regs *regs)
{
	return (regs->cpu & MMU_CPU_PTW) && has(regs->control2, PWCH_HPTW);
}

/*
 * PWCL and PWCH (7.5.9, 7.5.10): the page table, and directories 1 to 4, of which those of width 0
 * do not exist. Returns how many there are. False in *sound: not side by side, or entries of more
 * than 64 bits.
 */
static unsigned geometry(const struct mmu_regs *regs, struct level l[LEVELS], bool *sound)
{
	uint64_t low = regs->control, high = regs->control2;
	const struct level all[LEVELS] = {
		{ (unsigned)mmu_bits(low, 4, 0), (unsigned)mmu_bits(low, 9, 5) },
		{ (unsigned)mmu_bits(low, 14, 10), (unsigned)mmu_bits(low, 19, 15) },
		{ (unsigned)mmu_bits(low, 24, 20), (unsigned)mmu_bits(low, 29, 25) },
		{ (unsigned)mmu_bits(high, 5, 0), (unsigned)mmu_bits(high, 11, 6) },
		{ (unsigned)mmu_bits(high, 17, 12), (unsigned)mmu_bits(high, 23, 18) },
	};
	unsigned n = 0;

	*sound = !mmu_bits(low, 31, 30) && all[0].shift >= LEAST_TABLE;
	for (unsigned i = 0; i < LEVELS; i++) {
		if (!all[i].width)
			continue;
		if (n && all[i].shift != l[n - 1].shift + l[n - 1].width)
			*sound = false;
		l[n++] = all[i];
	}
	return n;
}

static struct level level_of(const struct mmu_regs *regs, unsigned level)
{
	struct level l[LEVELS] = { { 0, 0 } };
	bool sound;

	geometry(regs, l, &sound);
	return l[level];
}

/* A table begins at a multiple of its size, and of 4 KiB (7.5.6), within physical memory. */
static bool is_table(const struct mmu_regs *regs, const struct level *l, uint64_t word)
{
	unsigned shift = l->width + ENTRY_SHIFT;

	return !(word & mmu_mask(shift > LEAST_TABLE ? shift : LEAST_TABLE)) &&
	       !(word & ~mmu_mask(regs->pa_bits));
}

/*
 * 5.4.5, 7.5.8: the highest address bit says which root. Bits between it and the uppermost index
 * are not looked at by LDDIR; an address that is no sign extension has raised ADE before (5.2).
 */
static struct mmu_step begin(const struct mmu_regs *regs, uint64_t ia)
{
	struct level l[LEVELS] = { { 0, 0 } };
	bool sound;
	unsigned levels = geometry(regs, l, &sound);
	struct mmu_step s = { .kind = MMU_TABLE,
			      .level = (uint8_t)(levels ? levels - 1 : 0),
			      .rights = { MMU_RWX, MMU_RWX },
			      .table = has(ia, 63) ? regs->root_upper : regs->root };

	if (!sound || !levels || !is_table(regs, &l[s.level], s.table))
		return mmu_end(&s, MMU_FORBIDDEN, 0, 0);
	return s;
}

static uint64_t entry(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	struct level l = level_of(regs, from->level);

	return from->table + ((ia >> l.shift & mmu_mask(l.width)) << ENTRY_SHIFT);
}

/* 5.4.2: PLV 0 is privileged, 3 the user's. With RPLV no other level than PLV is let in. */
static bool lets_in(uint64_t word, unsigned mode)
{
	unsigned plv = mode == MMU_USER ? 3 : 0, least = (unsigned)mmu_bits(word, PLV + 1, PLV);

	return has(word, RPLV) ? plv == least : plv <= least;
}

/*
 * 5.4.4: what a valid entry of the TLB allows. 5.4.5: the hardware walker sets V on an access to
 * what is present, and D on a write to what W says is writable.
 */
static void set_rights(const struct mmu_regs *regs, struct mmu_step *s)
{
	bool walker = has_walker(regs);
	uint8_t rights = (uint8_t)((has(s->word, NR) ? 0 : MMU_R) |
				   (has(s->word, walker ? W : D) ? MMU_W : 0) |
				   (has(s->word, NX) ? 0 : MMU_X));

	for (unsigned mode = 0; mode < MMU_MODES; mode++)
		s->rights[mode] = lets_in(s->word, mode) ? rights : 0;
	if (walker) {
		s->when_read |= bit(V);
		s->when_written |= bit(V) | bit(D);
	}
}

/*
 * Is there more in a valid entry than the manual accounts for? MAT 3 is reserved (5.3). Alignment
 * bits of a huge page are not of its format, and ignored (5.4.5); but LDDIR notes the level in bits
 * 14:13, and a page is split by the bit below its size. No TLB takes a half of more than 1 GiB. Of
 * the hardware walker, V and D go without P and W only in what software has got wrong.
 */
static bool is_forbidden(const struct mmu_regs *regs, bool huge, unsigned shift, uint64_t word)
{
	if (mmu_bits(word, MAT + 1, MAT) == 3)
		return true;
	if (huge && (shift > LARGEST_SHIFT || (word & mmu_mask(shift) & ~mmu_mask(HUGE_LOW))))
		return true;
	return has_walker(regs) &&
	       ((has(word, V) && !has(word, P)) || (has(word, D) && !has(word, W)));
}

/*
 * 5.4.5. A small page is one of a pair that the TLB takes in together, and a huge page makes a pair
 * of halves: either way each address has the one entry that it falls into. The TLB's entry is
 * global if both of a pair are (7.5.3); here each says it for itself. Bits 11:9 and those between
 * the address and NR are ignored.
 */
static struct mmu_step next(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia,
			    uint64_t word)
{
	static const enum mmu_type types[4] = { MMU_UC, MMU_WB, MMU_WC, MMU_OTHER_TYPE };
	bool huge = from->level && has(word, HUGE);
	uint64_t at = entry(regs, from, ia);
	struct mmu_step s = mmu_end(from, MMU_PAGE, at, word);

	if (from->level && !huge) {
		struct level below = level_of(regs, from->level - 1u);

		/* There is no other bit: nothing is found where a table says so for all of it. */
		if (!is_table(regs, &below, word))
			return mmu_end(from, MMU_FORBIDDEN, at, word);
		s.kind = MMU_TABLE;
		s.level--;
		s.table = word;
		return s;
	}
	s.shift = (uint8_t)level_of(regs, from->level).shift;
	/* 5.4.4: PIL, PIS or PIF. */
	if (!has(word, V) && !(has_walker(regs) && has(word, P))) {
		s.kind = MMU_TRANSLATION;
		return s;
	}
	if (is_forbidden(regs, huge, s.shift, word))
		return mmu_end(from, MMU_FORBIDDEN, at, word);
	s.pa = (word & mmu_mask(regs->pa_bits) & ~mmu_mask(s.shift)) | (ia & mmu_mask(s.shift));
	s.type = types[mmu_bits(word, MAT + 1, MAT)];
	s.global = has(word, huge ? HUGE_GLOBAL : GLOBAL);
	set_rights(regs, &s);
	return s;
}

static unsigned no_groups(const struct mmu_regs *regs, unsigned level)
{
	(void)regs, (void)level;
	return 0;
}

/* 5.4.2: an entry of the TLB is there, and matches, whatever V is. */
static bool keeps_invalid(const struct mmu_regs *regs)
{
	return !has_walker(regs);
}

/*
 * 5.4.1: software ensures that STLB and MTLB do not hit at once; the search in 5.4.4 says of every
 * second hit, within one of them too, that the result is undefined. The TLB is filled only for an
 * address that nothing in it matches. So while a page is there, neither another one of its size nor
 * a smaller one can come for its addresses; but a larger one can, filled for an address beside it.
 */
static bool may_coexist(const struct mmu_regs *regs, const struct mmu_step *a,
			const struct mmu_step *b)
{
	(void)regs;
	return a->shift >= b->shift;
}

const struct mmu mmu_loongarch = { .name = "LoongArch",
				   .walks_anew = true, /* the refill handler has no memory */
				   .begin = begin,
				   .entry = entry,
				   .next = next,
				   .group_shift = no_groups,
				   .keeps_invalid = keeps_invalid,
				   .may_coexist = may_coexist };
