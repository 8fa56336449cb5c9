/* SPDX-License-Identifier: MIT */
/*
 * The formats that are built in. The only file that names them all, and so the only one that pulls
 * them into an image: code that names its format itself need not link it.
 *
 * A build with fewer formats defines NEST_FORMAT_LIST, the addresses separated by commas.
 */
#include <nest/format.h>

#ifndef NEST_FORMAT_LIST
/* clang-format off */
#define NEST_FORMAT_LIST \
	&nest_fmt_ept, &nest_fmt_npt, \
	&nest_fmt_aarch64_s2_4k, &nest_fmt_aarch64_s2_16k, &nest_fmt_aarch64_s2_64k, \
	&nest_fmt_riscv_g, \
	&nest_fmt_loongarch_s2_4k, &nest_fmt_loongarch_s2_16k, \
	&nest_fmt_x86_64, \
	&nest_fmt_aarch64_s1_4k, &nest_fmt_aarch64_s1_16k, &nest_fmt_aarch64_s1_64k, \
	&nest_fmt_riscv_sv, \
	&nest_fmt_loongarch_s1_4k, &nest_fmt_loongarch_s1_16k
/* clang-format on */
#endif

const struct nest_format *const nest_formats[] = { NEST_FORMAT_LIST, NULL };

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

const struct nest_format *nest_format_by_name(const char *name)
{
	for (const struct nest_format *const *f = nest_formats; name && *f; f++) {
		if (same(name, nest_format_name(*f)))
			return *f;
	}
	return NULL;
}
