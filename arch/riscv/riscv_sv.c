/* SPDX-License-Identifier: MIT */
/*
 * RISC-V first stage: Sv39, Sv48, Sv57 by the input width; satp. Privileged spec 10.3 to 10.5.
 *
 * Addresses are signed: one table holds both halves.
 */
#include <nest/arch/riscv.h>

#include "arch/riscv/pte.h"

static inline uint8_t ia_max(uint32_t features)
{
	(void)features;
	return 57;
}

static inline bool ia_ok(uint32_t features, unsigned bits)
{
	(void)features;
	return bits == 39 || bits == 48 || bits == 57;
}

static inline int leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	(void)level;
	return rv_leaf(false, features, attr, out);
}

static inline int attr_of(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	(void)level;
	return rv_attr(false, features, pte, out);
}

static const struct nest_fmt riscv_sv = {
	.name = "riscv-sv",
	.ia_kind = NEST_IA_SIGNED,
	.attrs = RV_ATTRS | NEST_U | NEST_G,
	.ia_min = 39,
	.ia_max = ia_max,
	.ia_default = 48,
	.ia_ok = ia_ok,
	.leaf = leaf,
	.attr = attr_of,
	RV_COMMON,
};

#define NEST_NAME nest_fmt_riscv_sv
#define NEST_DESC riscv_sv
#include "core/instance.h"

int nest_riscv_satp(const struct nest_pt *pt, uint64_t *out)
{
	return rv_atp(pt, &nest_fmt_riscv_sv, 16, out);
}
