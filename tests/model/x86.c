/* SPDX-License-Identifier: MIT */
/*
 * x86-64 paging with 4 and 5 levels (SDM vol. 3A 4.5; APM vol. 2 5.3), and AMD's nested paging,
 * which walks the same tables as a user (APM vol. 2 15.25).
 *
 * Registers: root is CR3 or nCR3, control CR4, control2 EFER (of the host for nested paging), types
 * IA32_PAT. CR0.WP is set, EFLAGS.AC and CR4.PKE are clear.
 */
#include "mmu.h"

enum {
	PAGE_SHIFT = 12,
	INDEX_BITS = 9,
	CR4_LA57 = 12,
	CR4_SMEP = 20,
	CR4_SMAP = 21,
	EFER_NXE = 11
};
enum {
	P = 0,
	RW = 1,
	US = 2,
	PWT = 3,
	PCD = 4,
	A = 5,
	D = 6,
	PS = 7,
	G = 8,
	LARGE_PAT = 12,
	NX = 63
};

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

static struct mmu_step begin(const struct mmu_regs *regs)
{
	return (struct mmu_step){ .kind = MMU_TABLE,
				  .level = has(regs->control, CR4_LA57) ? 4 : 3,
				  .rights = { MMU_RWX, MMU_RWX },
				  .table = regs->root & mmu_mask(52) & ~mmu_mask(PAGE_SHIFT) };
}

/* Linear addresses are canonical (SDM vol. 3A 4.5.1). */
static struct mmu_step begin_linear(const struct mmu_regs *regs, uint64_t ia)
{
	struct mmu_step s = begin(regs);
	uint64_t top = ia >> (level_shift(s.level + 1u) - 1);

	if (top && top != ~(uint64_t)0 >> (level_shift(s.level + 1u) - 1))
		return mmu_end(&s, MMU_ADDRESS_SIZE, 0, 0);
	return s;
}

static struct mmu_step begin_nested(const struct mmu_regs *regs, uint64_t ia)
{
	struct mmu_step s = begin(regs);

	if (ia >> level_shift(s.level + 1u))
		return mmu_end(&s, MMU_TRANSLATION, 0, 0);
	return s;
}

static uint64_t entry(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	(void)regs;
	return from->table + 8 * (ia >> level_shift(from->level) & mmu_mask(INDEX_BITS));
}

/* SDM vol. 3A, tables 4-14 to 4-20: bits that are reserved in a present entry. */
static uint64_t reserved(const struct mmu_regs *regs, unsigned level, bool leaf)
{
	uint64_t r = mmu_mask(52) & ~mmu_mask(regs->pa_bits);

	if (!has(regs->control2, EFER_NXE))
		r |= bit(NX);
	if (level > 2 || (level == 2 && !(regs->cpu & MMU_CPU_1G)))
		r |= bit(PS);
	if (leaf && level)
		r |= mmu_mask(level_shift(level)) & ~mmu_mask(LARGE_PAT + 1);
	return r;
}

static enum mmu_type memory_type(const struct mmu_regs *regs, unsigned level, uint64_t word)
{
	static const enum mmu_type types[8] = { MMU_UC, MMU_WC, MMU_OTHER_TYPE, MMU_OTHER_TYPE,
						MMU_WT, MMU_WP, MMU_WB,         MMU_UC };
	unsigned index = (unsigned)has(word, PWT) | (unsigned)has(word, PCD) << 1 |
			 (unsigned)has(word, level ? LARGE_PAT : PS) << 2;

	return types[regs->types >> (8 * index) & 7];
}

static struct mmu_step next(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia,
			    uint64_t word)
{
	uint64_t at = entry(regs, from, ia);
	bool leaf = from->level == 0 || has(word, PS);
	struct mmu_step s = mmu_end(from, MMU_PAGE, at, word);
	uint8_t rights = (uint8_t)(MMU_R | (has(word, RW) ? MMU_W : 0) |
				   (has(word, NX) ? 0 : MMU_X));
	uint64_t address = word & mmu_mask(52);

	if (!has(word, P))
		return mmu_end(from, MMU_TRANSLATION, at, word);
	if (word & reserved(regs, from->level, leaf))
		return mmu_end(from, MMU_MISCONFIG, at, word);
	s.rights[MMU_PRIVILEGED] &= rights;
	s.rights[MMU_USER] &= has(word, US) ? rights : 0;
	s.when_read = s.when_written = word | bit(A);
	if (!leaf) {
		s.kind = MMU_TABLE;
		s.level--;
		s.table = address & ~mmu_mask(PAGE_SHIFT);
		return s;
	}
	s.shift = (uint8_t)level_shift(from->level);
	s.pa = (address & ~mmu_mask(s.shift)) | (ia & mmu_mask(s.shift));
	s.type = memory_type(regs, from->level, word);
	s.global = has(word, G);
	s.when_written |= bit(D);
	return s;
}

static struct mmu_step next_linear(const struct mmu_regs *regs, const struct mmu_step *from,
				   uint64_t ia, uint64_t word)
{
	struct mmu_step s = next(regs, from, ia, word);

	/* A page of the user's: SMEP and SMAP (SDM vol. 3A 4.6.1). */
	if (s.kind == MMU_PAGE && s.rights[MMU_USER]) {
		if (has(regs->control, CR4_SMEP))
			s.rights[MMU_PRIVILEGED] &= (uint8_t)~MMU_X;
		if (has(regs->control, CR4_SMAP))
			s.rights[MMU_PRIVILEGED] &= (uint8_t)~(MMU_R | MMU_W);
	}
	return s;
}

/* APM vol. 2 15.25.5: every access to guest-physical memory counts as one of the user's. */
static struct mmu_step next_nested(const struct mmu_regs *regs, const struct mmu_step *from,
				   uint64_t ia, uint64_t word)
{
	struct mmu_step s = next(regs, from, ia, word);

	/* APM vol. 2 5.3.3: bit 8 of the two upper levels' entries must be zero. */
	if (has(word, P) && from->level > 2 && has(word, G))
		return mmu_end(from, MMU_FORBIDDEN, s.at, word);
	s.global = false;
	s.rights[MMU_PRIVILEGED] = s.rights[MMU_USER];
	return s;
}

static unsigned no_groups(const struct mmu_regs *regs, unsigned level)
{
	(void)regs, (void)level;
	return 0;
}

/* SDM vol. 3A 4.10.2.2: only translations whose entries were all present are cached. */
static bool never(const struct mmu_regs *regs)
{
	(void)regs;
	return false;
}

/* SDM vol. 3A 4.10.2.3: the CPU may go by either, the old one or the new one, until told. */
static bool always(const struct mmu_regs *regs, const struct mmu_step *a, const struct mmu_step *b)
{
	(void)regs, (void)a, (void)b;
	return true;
}

const struct mmu mmu_x86_64 = { .name = "x86-64",
				.begin = begin_linear,
				.entry = entry,
				.next = next_linear,
				.group_shift = no_groups,
				.keeps_invalid = never,
				.may_coexist = always };

const struct mmu mmu_npt = { .name = "NPT",
			     .begin = begin_nested,
			     .entry = entry,
			     .next = next_nested,
			     .group_shift = no_groups,
			     .keeps_invalid = never,
			     .may_coexist = always };
