/* SPDX-License-Identifier: MIT */
/*
 * The walk, once for all reference MMUs. No walk has more steps than a format has levels: each
 * goes down one level at least, or ends.
 */
#include "mmu.h"

struct mmu_step mmu_walk(const struct mmu *mmu, const struct mmu_regs *regs, uint64_t ia,
			 mmu_load_fn load, void *ctx)
{
	struct mmu_step s = mmu->begin(regs, ia);

	while (s.kind == MMU_TABLE)
		s = mmu->next(regs, &s, ia, load(ctx, mmu->entry(regs, &s, ia)));
	return s;
}

enum mmu_verdict mmu_access(const struct mmu *mmu, const struct mmu_step *page, unsigned rights,
			    unsigned mode)
{
	bool right = (page->rights[mode] & rights) == rights;
	bool flag = !(page->flag_fault & rights);

	if (right && flag)
		return MMU_DONE;
	if (!right && !flag)
		return mmu->flag_first ? MMU_NO_FLAG : MMU_NO_RIGHT;
	return right ? MMU_NO_FLAG : MMU_NO_RIGHT;
}
