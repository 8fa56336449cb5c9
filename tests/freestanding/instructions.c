/* SPDX-License-Identifier: MIT */
/* What check_instructions.py looks at: one flush of a guest's addresses, for the ISA at hand. */
#if defined(__aarch64__)
#include <nest/arch/aarch64.h>
#else
#include <nest/arch/riscv.h>
#endif

void flush(const struct nest_flush *what);
void flush(const struct nest_flush *what)
{
#if defined(__aarch64__)
	nest_aarch64_s2_flush(what);
#else
	nest_riscv_g_flush(what);
#endif
}

#if defined(__aarch64__)
/* Each form of the invalidation alone: no branch between the shift and the instruction. */
void pointers_too(nest_ia_t ipa);
void pointers_too(nest_ia_t ipa)
{
	nest_aarch64_tlbi_ipa(ipa, false);
}

void leaf_only(nest_ia_t ipa);
void leaf_only(nest_ia_t ipa)
{
	nest_aarch64_tlbi_ipa(ipa, true);
}
#endif
