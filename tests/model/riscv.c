/* SPDX-License-Identifier: MIT */
/*
 * RISC-V: the G-stage (privileged spec 18.5.1: Sv39x4, Sv48x4, Sv57x4) and the first stage (10.3 to
 * 10.6: Sv39, Sv48, Sv57), with Svnapot, Svpbmt, Svadu and Svvptc, by the chapters of these names.
 *
 * Registers: root is hgatp or satp, whose MODE says how many levels there are; control2 is sstatus,
 * of which SUM and MXR count. A CPU tells nothing but "page fault" of most that is wrong: here an
 * invalid entry is MMU_TRANSLATION, a reserved encoding MMU_MISCONFIG, and MMU_ADDRESS_SIZE what
 * would be an access fault. An access without Svadu to an entry whose flag is clear is a page fault
 * (Svade).
 */
#include "mmu.h"

enum { PAGE_SHIFT = 12, INDEX_BITS = 9, ROOT_BITS = 2, NAPOT_SHIFT = 4, NAPOT_PPN = 8 };
enum { V, R, W, X, U, G, A, D, PPN = 10, RESERVED = 54, PBMT = 61, N = 63 };
enum { SSTATUS_SUM = 18, SSTATUS_MXR = 19 };

static uint64_t bit(unsigned n)
{
	return (uint64_t)1 << n;
}

static bool has(uint64_t word, unsigned n)
{
	return word >> n & 1;
}

static unsigned level_shift(unsigned level)
{
	return PAGE_SHIFT + INDEX_BITS * level;
}

/* hgatp.MODE and satp.MODE (10.1.11, 18.2.10); 0 is Bare, and nothing is walked. */
static unsigned levels_of(const struct mmu_regs *regs)
{
	switch (mmu_bits(regs->root, 63, 60)) {
	case 8:
		return 3;
	case 9:
		return 4;
	case 10:
		return 5;
	default:
		return 0;
	}
}

/* Both registers have the root's page number in bits 43:0, entries have it in 53:10. */
static uint64_t address_of(uint64_t page_number)
{
	return (page_number & mmu_mask(44)) << PAGE_SHIFT;
}

static struct mmu_step begin(const struct mmu_regs *regs)
{
	struct mmu_step s = { .kind = MMU_TABLE,
			      .level = (uint8_t)(levels_of(regs) - 1),
			      .rights = { MMU_RWX, MMU_RWX },
			      .table = address_of(regs->root) };

	if (!levels_of(regs))
		return mmu_end(&s, MMU_FORBIDDEN, 0, 0);
	if (s.table & ~mmu_mask(regs->pa_bits))
		return mmu_end(&s, MMU_ADDRESS_SIZE, 0, 0);
	return s;
}

static struct mmu_step begin_g(const struct mmu_regs *regs, uint64_t ia)
{
	struct mmu_step s = begin(regs);

	if (s.kind != MMU_TABLE)
		return s;
	/* 18.2.10: the root of 16 KiB is aligned to as much. */
	if (s.table & mmu_mask(PAGE_SHIFT + ROOT_BITS))
		return mmu_end(&s, MMU_FORBIDDEN, 0, 0);
	/* 18.5.1: address bits above those that are translated must be zero. */
	if (ia >> (level_shift(s.level + 1u) + ROOT_BITS))
		return mmu_end(&s, MMU_TRANSLATION, 0, 0);
	return s;
}

/* 10.4.1: all bits above the highest one that is translated must be equal to it. */
static struct mmu_step begin_sv(const struct mmu_regs *regs, uint64_t ia)
{
	struct mmu_step s = begin(regs);
	uint64_t sign;

	if (s.kind != MMU_TABLE)
		return s;
	sign = ia >> (level_shift(s.level + 1u) - 1);
	if (sign && sign != ~(uint64_t)0 >> (level_shift(s.level + 1u) - 1))
		return mmu_end(&s, MMU_TRANSLATION, 0, 0);
	return s;
}

static uint64_t entry(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	(void)regs;
	return from->table + 8 * (ia >> level_shift(from->level) & mmu_mask(INDEX_BITS));
}

static uint64_t entry_g(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	bool root = from->level + 1u == levels_of(regs);

	return from->table +
	       8 * (ia >> level_shift(from->level) & mmu_mask(INDEX_BITS + (root ? ROOT_BITS : 0)));
}

/* 10.3.2 steps 3 to 5, 10.4.1, Svnapot, Svpbmt: what raises a page fault whatever is tried. */
static bool is_reserved(const struct mmu_regs *regs, unsigned level, bool leaf, uint64_t word)
{
	uint64_t page = word >> PPN, type = mmu_bits(word, PBMT + 1, PBMT);

	if ((has(word, W) && !has(word, R)) || mmu_bits(word, PBMT - 1, RESERVED))
		return true;
	if (type && !(regs->cpu & MMU_CPU_SVPBMT))
		return true;
	if (has(word, N) && (!(regs->cpu & MMU_CPU_SVNAPOT) || level ||
			     (page & mmu_mask(NAPOT_SHIFT)) != NAPOT_PPN))
		return true;
	if (leaf)
		return type == 3 || (page & mmu_mask(INDEX_BITS * level));
	return !level || type || has(word, D) || has(word, A) || has(word, U);
}

static void set_flags(const struct mmu_regs *regs, struct mmu_step *s)
{
	if (regs->cpu & MMU_CPU_SVADU) {
		s->when_read |= bit(A);
		s->when_written |= bit(A) | bit(D);
		return;
	}
	s->flag_fault = (uint8_t)(has(s->word, D) ? 0 : MMU_W);
	if (!has(s->word, A))
		s->flag_fault = MMU_RWX;
}

/* The rights are the entry's own: whose they are, the stages say. */
static struct mmu_step next(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t at,
			    uint64_t ia, uint64_t word)
{
	static const enum mmu_type types[4] = { MMU_WB, MMU_WC, MMU_UC, MMU_OTHER_TYPE };
	bool leaf = has(word, R) || has(word, X);
	bool read = has(word, R) || (has(word, X) && has(regs->control2, SSTATUS_MXR));
	uint64_t address = address_of(word >> PPN);
	struct mmu_step s = mmu_end(from, MMU_PAGE, at, word);

	if (!has(word, V))
		return mmu_end(from, MMU_TRANSLATION, at, word);
	if (is_reserved(regs, from->level, leaf, word))
		return mmu_end(from, MMU_MISCONFIG, at, word);
	if (address & ~mmu_mask(regs->pa_bits))
		return mmu_end(from, MMU_ADDRESS_SIZE, at, word);
	/* 10.3.1: of a pointer, all that is below is global. */
	s.global |= has(word, G);
	if (!leaf) {
		s.kind = MMU_TABLE;
		s.level--;
		s.table = address;
		return s;
	}
	s.contiguous = has(word, N);
	s.shift = (uint8_t)(level_shift(from->level) + (s.contiguous ? NAPOT_SHIFT : 0));
	s.pa = (address & ~mmu_mask(s.shift)) | (ia & mmu_mask(s.shift));
	s.type = types[mmu_bits(word, PBMT + 1, PBMT)];
	s.rights[MMU_PRIVILEGED] = s.rights[MMU_USER] = (uint8_t)((read ? MMU_R : 0) |
								  (has(word, W) ? MMU_W : 0) |
								  (has(word, X) ? MMU_X : 0));
	set_flags(regs, &s);
	return s;
}

/* 18.5.1: every access counts as one of U-mode, and G is ignored. */
static struct mmu_step next_g(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia,
			      uint64_t word)
{
	struct mmu_step s = next(regs, from, entry_g(regs, from, ia), ia, word);

	s.global = false;
	if (s.kind == MMU_PAGE && !has(word, U))
		s.rights[MMU_PRIVILEGED] = s.rights[MMU_USER] = 0;
	return s;
}

/* 10.3.1, 10.1.1.2: S-mode reads and writes a user's page if SUM is set, and never executes it. */
static struct mmu_step next_sv(const struct mmu_regs *regs, const struct mmu_step *from,
			       uint64_t ia, uint64_t word)
{
	struct mmu_step s = next(regs, from, entry(regs, from, ia), ia, word);

	if (s.kind != MMU_PAGE)
		return s;
	if (!has(word, U))
		s.rights[MMU_USER] = 0;
	else
		s.rights[MMU_PRIVILEGED] &= has(regs->control2, SSTATUS_SUM) ? MMU_R | MMU_W : 0;
	return s;
}

/* Svnapot: the 16 entries of 64 KiB; without it no entry says that it belongs to them. */
static unsigned group_shift(const struct mmu_regs *regs, unsigned level)
{
	(void)regs;
	return level ? 0 : NAPOT_SHIFT;
}

/* Svvptc bounds the time for which an entry that has become valid may be overlooked. */
static bool keeps_invalid(const struct mmu_regs *regs)
{
	return !(regs->cpu & MMU_CPU_SVVPTC);
}

/*
 * 10.2.1: until the fence either is used, and which one cannot be told; so it is where a page of
 * another size takes the place of a table, too. "The behavior is otherwise well-defined."
 */
static bool may_coexist(const struct mmu_regs *regs, const struct mmu_step *a,
			const struct mmu_step *b)
{
	(void)regs, (void)a, (void)b;
	return true;
}

const struct mmu mmu_riscv_g = { .name = "RISC-V G-stage",
				 .begin = begin_g,
				 .entry = entry_g,
				 .next = next_g,
				 .group_shift = group_shift,
				 .keeps_invalid = keeps_invalid,
				 .may_coexist = may_coexist };

const struct mmu mmu_riscv_sv = { .name = "RISC-V",
				  .begin = begin_sv,
				  .entry = entry,
				  .next = next_sv,
				  .group_shift = group_shift,
				  .keeps_invalid = keeps_invalid,
				  .may_coexist = may_coexist };
