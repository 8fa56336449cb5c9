/* SPDX-License-Identifier: MIT */
/*
 * AMD nested paging: the entries of the x86-64 first stage (arch/x86_64/pte.h) read as a second
 * stage (APM vol. 2, 15.25). The nested walk is a user access, so US is set in every entry, and one
 * without it is of no use to the hardware. Hardware always keeps accessed and dirty.
 */
#include <nest/arch/x86.h>
#include <nest/fault.h>

#include "arch/x86_64/pte.h"
#include "core/engine.h"

static int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	return x86_leaf(features, level, attr | NEST_U, out);
}

/* G means nothing in a nested entry. */
static int attr_of(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	int err = x86_attr(features, level, pte, out);

	if (!err)
		*out &= ~(NEST_U | NEST_G);
	return err;
}

/* Bit 8 of a pointer is reserved at levels 2 and up (APM vol. 2, 5.3.3). */
static bool is_reserved(uint32_t features, unsigned level, nest_pte_t pte)
{
	if (!(pte & X86_P))
		return false;
	return !(pte & X86_US) || x86_is_reserved(features, level, pte) ||
	       (level >= 2 && x86_is_table(level, pte) && (pte & X86_G));
}

static const struct nest_fmt npt_fmt = {
	.name = "npt",
	.stage2 = true,
	.ia_kind = NEST_IA_PLAIN,
	.attrs = NEST_RWX | NEST_ACCESSED | NEST_DIRTY | NEST_SW_MASK,
	.leaf = leaf,
	.attr = attr_of,
	.is_reserved = is_reserved,
	X86_ENTRIES,
};

#define NEST_NAME nest_fmt_npt
#define NEST_DESC npt_fmt
#include "core/instance.h"

int nest_npt_ncr3(const struct nest_pt *pt, uint64_t *out)
{
	if (!pt || pt->format != &nest_fmt_npt || !out)
		return NEST_E_INVAL;
	*out = nest_pt_root(pt);
	return NEST_OK;
}

/* EXITINFO1 of #VMEXIT(NPF): a page-fault error code, and what was being translated. */
#define NPF_PRESENT  NEST_BIT(0)
#define NPF_WRITE    NEST_BIT(1)
#define NPF_RESERVED NEST_BIT(3)
#define NPF_FETCH    NEST_BIT(4)
#define NPF_FINAL    NEST_BIT(32)
#define NPF_WALK     NEST_BIT(33)

int nest_fault_npt(uint64_t exitinfo1, uint64_t exitinfo2, struct nest_fault *out)
{
	if (!out)
		return NEST_E_INVAL;
	if ((exitinfo1 & NPF_FINAL) && (exitinfo1 & NPF_WALK))
		return NEST_E_UNSUPPORTED;
	*out = (struct nest_fault){
		.gpa = exitinfo2,
		.gpa_valid = true,
		.gpa_exact = true,
		.access = exitinfo1 & NPF_FETCH   ? NEST_X
			  : exitinfo1 & NPF_WRITE ? NEST_W
						  : NEST_R,
		.kind = exitinfo1 & NPF_RESERVED  ? NEST_FAULT_MISCONFIG
			: exitinfo1 & NPF_PRESENT ? NEST_FAULT_PERMISSION
						  : NEST_FAULT_TRANSLATION,
		.on_table_walk = (exitinfo1 & NPF_WALK) != 0,
		.level = NEST_FAULT_LEVEL_UNKNOWN,
	};
	return NEST_OK;
}
