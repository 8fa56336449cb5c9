/* SPDX-License-Identifier: MIT */
/*
 * Intel's extended page tables with 4 and 5 levels (SDM vol. 3C 29.3).
 *
 * Registers: root is the EPTP; MMU_CPU_MBEC stands for the VM-execution control of that name,
 * MMU_CPU_XO and MMU_CPU_1G for bits of IA32_VMX_EPT_VPID_CAP.
 */
#include "mmu.h"

enum { PAGE_SHIFT = 12, INDEX_BITS = 9, EPTP_AD = 6 };
enum { R = 0, W = 1, X = 2, TYPE = 3, LEAF = 7, A = 8, D = 9, USER_X = 10 };

static bool has(uint64_t word, unsigned n)
{
	return word >> n & 1;
}

static unsigned level_shift(unsigned level)
{
	return PAGE_SHIFT + INDEX_BITS * level;
}

/* EPTP: SDM vol. 3C, table 25-9. VM entry fails with another one, and nothing is ever walked. */
static struct mmu_step begin(const struct mmu_regs *regs, uint64_t ia)
{
	unsigned type = (unsigned)mmu_bits(regs->root, 2, 0);
	unsigned levels = (unsigned)mmu_bits(regs->root, 5, 3) + 1;
	struct mmu_step s = { .kind = MMU_TABLE,
			      .level = (uint8_t)(levels - 1),
			      .rights = { MMU_RWX, MMU_RWX },
			      .table = regs->root & ~mmu_mask(PAGE_SHIFT) };

	if ((type != 0 && type != 6) ||
	    (levels != 4 && (levels != 5 || !(regs->cpu & MMU_CPU_LA57))) ||
	    (regs->root & ~mmu_mask(regs->pa_bits)) || mmu_bits(regs->root, 11, 8))
		return mmu_end(&s, MMU_FORBIDDEN, 0, 0);
	/* 29.3.2: a guest-physical address with more bits than are translated is a violation. */
	if (ia >> level_shift(levels))
		return mmu_end(&s, MMU_TRANSLATION, 0, 0);
	return s;
}

static uint64_t entry(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia)
{
	(void)regs;
	return from->table + 8 * (ia >> level_shift(from->level) & mmu_mask(INDEX_BITS));
}

/* 29.3.3.1: what makes a present entry misconfigured. Tables 29-1 to 29-7 have the bits. */
static bool misconfigured(const struct mmu_regs *regs, unsigned level, bool leaf, uint64_t word)
{
	uint64_t reserved = mmu_mask(52) & ~mmu_mask(regs->pa_bits);
	bool executes = has(word, X) || ((regs->cpu & MMU_CPU_MBEC) && has(word, USER_X));
	unsigned type = (unsigned)mmu_bits(word, TYPE + 2, TYPE);

	if (has(word, W) && !has(word, R))
		return true;
	if (executes && !has(word, R) && !(regs->cpu & MMU_CPU_XO))
		return true;
	if (level > 2 || (level == 2 && leaf && !(regs->cpu & MMU_CPU_1G)))
		reserved |= (uint64_t)1 << LEAF;
	if (!leaf || level > 2)
		reserved |= (uint64_t)0xf << TYPE;
	else if (type == 2 || type == 3 || type == 7)
		return true;
	if (leaf)
		reserved |= mmu_mask(level_shift(level)) & ~mmu_mask(PAGE_SHIFT);
	return (word & reserved) != 0;
}

static struct mmu_step next(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia,
			    uint64_t word)
{
	static const enum mmu_type types[8] = { MMU_UC, MMU_WC, MMU_OTHER_TYPE, MMU_OTHER_TYPE,
						MMU_WT, MMU_WP, MMU_WB,         MMU_OTHER_TYPE };
	bool mbec = (regs->cpu & MMU_CPU_MBEC) != 0;
	bool leaf = from->level == 0 || has(word, LEAF);
	uint64_t at = entry(regs, from, ia), address = word & mmu_mask(52);
	struct mmu_step s = mmu_end(from, MMU_PAGE, at, word);
	uint8_t data = (uint8_t)mmu_bits(word, W, R);

	/* 29.3.2: present means any right, the user's execution among them under MBEC. */
	if (!mmu_bits(word, X, R) && !(mbec && has(word, USER_X)))
		return mmu_end(from, MMU_TRANSLATION, at, word);
	if (misconfigured(regs, from->level, leaf, word))
		return mmu_end(from, MMU_MISCONFIG, at, word);
	s.rights[MMU_PRIVILEGED] &= (uint8_t)(data | (has(word, X) ? MMU_X : 0));
	s.rights[MMU_USER] &= (uint8_t)(data | (has(word, mbec ? USER_X : X) ? MMU_X : 0));
	if (has(regs->root, EPTP_AD))
		s.when_read = s.when_written = word | (uint64_t)1 << A;
	if (!leaf) {
		s.kind = MMU_TABLE;
		s.level--;
		s.table = address & ~mmu_mask(PAGE_SHIFT);
		return s;
	}
	/* Table 28-7: rights that no entry on the way shares are told as those of no page. */
	if (!(s.rights[MMU_PRIVILEGED] | s.rights[MMU_USER]))
		return mmu_end(from, MMU_TRANSLATION, at, word);
	s.shift = (uint8_t)level_shift(from->level);
	s.pa = (address & ~mmu_mask(s.shift)) | (ia & mmu_mask(s.shift));
	s.type = types[mmu_bits(word, TYPE + 2, TYPE)];
	if (has(regs->root, EPTP_AD))
		s.when_written |= (uint64_t)1 << D;
	return s;
}

static unsigned no_groups(const struct mmu_regs *regs, unsigned level)
{
	(void)regs, (void)level;
	return 0;
}

/* 29.4.2: nothing is cached of an entry that is not present or misconfigured. */
static bool never(const struct mmu_regs *regs)
{
	(void)regs;
	return false;
}

/* 29.4.3.1: what was cached may be used until it is invalidated. */
static bool always(const struct mmu_regs *regs, const struct mmu_step *a, const struct mmu_step *b)
{
	(void)regs, (void)a, (void)b;
	return true;
}

const struct mmu mmu_ept = { .name = "EPT",
			     .begin = begin,
			     .entry = entry,
			     .next = next,
			     .group_shift = no_groups,
			     .keeps_invalid = never,
			     .may_coexist = always };
