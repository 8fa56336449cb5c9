/* SPDX-License-Identifier: MIT */
/*
 * A consumer that links layers instead of the whole: no registry, one format named in the code.
 */
#include <nest/nest.h>

int main(void)
{
	const struct nest_vm_config config = { .pt.format = &nest_fmt_aarch64_s2_4k };
	struct nest_vm vm;

	return nest_vm_init(&vm, &config) == NEST_E_INVAL ? 0 : 1;
}
