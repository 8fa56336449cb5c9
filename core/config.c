/* SPDX-License-Identifier: MIT */
/*
 * Which field of a configuration is refused?
 */
#include "core/config.h"

const char *nest_pt_config_error(const struct nest_pt_config *config)
{
	static const char *const names[NEST_CONFIG_FIELDS] = {
		[NEST_CONFIG_ALL] = "config",
		[NEST_CONFIG_FORMAT] = "format",
		[NEST_CONFIG_HOST] = "host",
		[NEST_CONFIG_HOST_ALLOC] = "host.alloc",
		[NEST_CONFIG_HOST_FREE] = "host.free",
		[NEST_CONFIG_HOST_TLB_FLUSH] = "host.tlb_flush",
		[NEST_CONFIG_HOST_DEFER] = "host.defer",
		[NEST_CONFIG_FLAGS] = "flags",
		[NEST_CONFIG_FEATURES] = "features",
		[NEST_CONFIG_IA_BITS] = "ia_bits",
		[NEST_CONFIG_OA_BITS] = "oa_bits",
	};
	enum nest_config_field field;
	unsigned ia_bits, oa_bits;

	(void)nest_check_config(config, &field, &ia_bits, &oa_bits);
	return names[field];
}
