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
