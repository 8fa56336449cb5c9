/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 first stage: the hypervisor's own address space, or one that it makes for a guest.
 * Input addresses are canonical, and one table holds both halves. All entry bits are in pte.h.
 */
#include <nest/arch/x86.h>

#include "arch/x86_64/pte.h"
#include "core/engine.h"

static const struct nest_fmt x86_64_fmt = {
	.name = "x86-64",
	.ia_kind = NEST_IA_SIGNED,
	.attrs = NEST_RWX | NEST_U | NEST_G | NEST_ACCESSED | NEST_DIRTY | NEST_SW_MASK,
	.leaf = x86_leaf,
	.attr = x86_attr,
	.is_reserved = x86_is_reserved,
	X86_ENTRIES,
};

#define NEST_NAME nest_fmt_x86_64
#define NEST_DESC x86_64_fmt
#include "core/instance.h"

int nest_x86_cr3(const struct nest_pt *pt, unsigned pcid, uint64_t *out)
{
	if (!pt || pt->format != &nest_fmt_x86_64 || !out)
		return NEST_E_INVAL;
	if (pcid > 0xfff)
		return NEST_E_RANGE;
	*out = nest_pt_root(pt) | pcid;
	return NEST_OK;
}
