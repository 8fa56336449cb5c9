/* SPDX-License-Identifier: MIT */
/*
 * The second level of LoongArch virtualization (LVZ): guest-physical to physical, walked by the
 * root's TLB refill with the entries of the first stage (arch/loongarch/pte.h). Entries are the
 * root's own, PLV 0 and not global, whatever the guest's privilege.
 */
#include <nest/fault.h>

#include "arch/loongarch/pte.h"
#include "core/engine.h"

static int attr_of(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	nest_attr_t attr;

	if (la_attr(features, level, pte, &attr) || (attr & (NEST_U | NEST_G)))
		return NEST_E_UNSUPPORTED;
	*out = attr;
	return NEST_OK;
}

#define LOONGARCH_S2(size)                                                                         \
	{                                                                                          \
		.name = "loongarch-s2-" #size,                                                     \
		.stage2 = true,                                                                    \
		.ia_kind = NEST_IA_PLAIN,                                                          \
		.attrs = LA_ATTRS,                                                                 \
		.attr = attr_of,                                                                   \
		LA_FORMAT(size),                                                                   \
	}

/* A build may leave page sizes out (cmake/sources.cmake). */
#ifndef NEST_OMIT_nest_fmt_loongarch_s2_4k
static const struct nest_fmt s2_4k = LOONGARCH_S2(4k);
#define NEST_NAME nest_fmt_loongarch_s2_4k
#define NEST_DESC s2_4k
#include "core/instance.h"
#endif
#ifndef NEST_OMIT_nest_fmt_loongarch_s2_16k
static const struct nest_fmt s2_16k = LOONGARCH_S2(16k);
#define NEST_NAME nest_fmt_loongarch_s2_16k
#define NEST_DESC s2_16k
#include "core/instance.h"
#endif

enum {
	ECODE_PIL = 1, /* page invalid: load, store, fetch */
	ECODE_PIS = 2,
	ECODE_PIF = 3,
	ECODE_PME = 4, /* store to a page with D clear */
	ECODE_PNR = 5, /* not readable, not executable */
	ECODE_PNX = 6,
	ECODE_PPI = 7, /* privilege level */
	ECODE_ADE = 8  /* address error: of a fetch with EsubCode 0, else of an access */
};

int nest_fault_loongarch(uint64_t estat, uint64_t badv, bool gva_valid, uint64_t gva,
			 struct nest_fault *out)
{
	struct nest_fault f = {
		.gpa = badv,
		.gpa_valid = true,
		.gpa_exact = true,
		.kind = NEST_FAULT_PERMISSION,
		.gva_valid = gva_valid,
		.gva = gva_valid ? gva : 0,
		.level = NEST_FAULT_LEVEL_UNKNOWN,
	};
	unsigned ecode = (unsigned)(estat >> 16 & 0x3f);
	unsigned subcode = (unsigned)(estat >> 22 & 0x1ff);

	if (!out)
		return NEST_E_INVAL;
	switch (ecode) {
	case ECODE_PIL:
	case ECODE_PIS:
	case ECODE_PIF:
		f.kind = NEST_FAULT_TRANSLATION;
		f.access = ecode == ECODE_PIL ? NEST_R : ecode == ECODE_PIS ? NEST_W : NEST_X;
		break;
	case ECODE_PME:
		f.access = NEST_W;
		break;
	case ECODE_PNR:
		f.access = NEST_R;
		break;
	case ECODE_PNX:
		f.access = NEST_X;
		break;
	case ECODE_PPI:
		/* Of a load, store or fetch. No entry of this format asks for a privilege level. */
		f.kind = NEST_FAULT_MISCONFIG;
		break;
	case ECODE_ADE:
		f.kind = NEST_FAULT_ADDRESS_SIZE;
		f.access = subcode ? 0 : NEST_X;
		break;
	default:
		return NEST_E_UNSUPPORTED;
	}
	*out = f;
	return NEST_OK;
}
