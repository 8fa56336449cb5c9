/* SPDX-License-Identifier: MIT */
/*
 * RISC-V G-stage: Sv39x4, Sv48x4, Sv57x4 by the input width; hgatp; guest page faults. Privileged
 * spec 15.2.10 (hgatp), 15.5 (two-stage translation), 15.6.3 (htinst).
 *
 * Leaves have U set, always: a G-stage access counts as one of user mode.
 */
#include <nest/arch/riscv.h>
#include <nest/fault.h>

#include "arch/riscv/pte.h"

static inline uint8_t ia_max(uint32_t features)
{
	(void)features;
	return 59;
}

static inline bool ia_ok(uint32_t features, unsigned bits)
{
	(void)features;
	return bits == 41 || bits == 50 || bits == 59;
}

static inline int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	(void)level;
	return rv_leaf(true, features, attr, out);
}

static inline int attr_of(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	(void)level;
	return rv_attr(true, features, pte, out);
}

static const struct nest_fmt riscv_g = {
	.name = "riscv-g",
	.stage2 = true,
	.ia_kind = NEST_IA_PLAIN,
	.root_extra_bits = 2,
	.attrs = RV_ATTRS,
	.ia_min = 41,
	.ia_max = ia_max,
	.ia_default = 50,
	.ia_ok = ia_ok,
	.leaf = leaf,
	.attr = attr_of,
	RV_COMMON,
};

#define NEST_NAME nest_fmt_riscv_g
#define NEST_DESC riscv_g
#include "core/instance.h"

int nest_riscv_hgatp(const struct nest_pt *pt, uint64_t *out)
{
	return rv_atp(pt, &nest_fmt_riscv_g, 14, out);
}

/* ---- Faults ---- */

enum { CAUSE_FETCH = 20, CAUSE_LOAD = 21, CAUSE_STORE = 23 };

/*
 * htinst of a fault on the guest's own page walk: 0x2000 or 0x3000 (32-bit or 64-bit entries), with
 * 0x20 added when the walk was writing A or D.
 */
static bool is_walk(uint64_t htinst)
{
	return (htinst & ~(uint64_t)0x1020) == 0x2000;
}

/* A transformed AMO; SC has the same opcode and only writes, LR is a load. */
static bool is_amo(uint64_t htinst)
{
	return (htinst & 0x7f) == 0x2f && (htinst >> 27 & 0x1f) != 3;
}

/* A guest page fault does not tell why the walk ended; the table does. */
int nest_fault_riscv(uint64_t scause, uint64_t stval, uint64_t htval, uint64_t htinst,
		     struct nest_fault *out)
{
	struct nest_fault f = { .kind = NEST_FAULT_TRANSLATION,
				.gva_valid = stval != 0,
				.gva = stval,
				.level = NEST_FAULT_LEVEL_UNKNOWN };

	if (!out)
		return NEST_E_INVAL;
	f.on_table_walk = is_walk(htinst);
	switch (scause) {
	case CAUSE_FETCH:
		f.access = NEST_X;
		break;
	case CAUSE_LOAD:
		f.access = NEST_R;
		break;
	case CAUSE_STORE:
		f.access = is_amo(htinst) ? NEST_RW : NEST_W;
		break;
	default:
		return NEST_E_UNSUPPORTED;
	}
	if (f.on_table_walk)
		f.access = htinst & 0x20 ? NEST_W : NEST_R;
	/* A hart that does not tell the address writes 0. */
	f.gpa = htval << 2;
	f.gpa_valid = f.gpa_exact = htval != 0;
	if (f.gpa_valid && !f.on_table_walk)
		f.gpa |= stval & 3;
	*out = f;
	return NEST_OK;
}
