/* SPDX-License-Identifier: MIT */
/*
 * What a configuration has to hold. nest_pt_init() wants the status, nest_pt_config_error() the
 * field: each compiler leaves out of the one what only the other asks for.
 */
#ifndef NEST_CORE_CONFIG_H
#define NEST_CORE_CONFIG_H

#include "core/table.h"

/* The field that is refused; 0: none. */
enum nest_config_field {
	NEST_CONFIG_SOUND,
	NEST_CONFIG_ALL,
	NEST_CONFIG_FORMAT,
	NEST_CONFIG_HOST,
	NEST_CONFIG_HOST_ALLOC,
	NEST_CONFIG_HOST_FREE,
	NEST_CONFIG_HOST_TLB_FLUSH,
	NEST_CONFIG_HOST_DEFER,
	NEST_CONFIG_FLAGS,
	NEST_CONFIG_FEATURES,
	NEST_CONFIG_IA_BITS,
	NEST_CONFIG_OA_BITS,
	NEST_CONFIG_FIELDS
};

/* NEST_OK, and the widths in bits; else why *field is refused. */
static inline int nest_check_config(const struct nest_pt_config *c, enum nest_config_field *field,
				    unsigned *ia, unsigned *oa)
{
	const struct nest_fmt *f;
	unsigned ia_bits, oa_bits;

	*field = !c                    ? NEST_CONFIG_ALL
		 : !c->format          ? NEST_CONFIG_FORMAT
		 : !c->host            ? NEST_CONFIG_HOST
		 : !c->host->alloc     ? NEST_CONFIG_HOST_ALLOC
		 : !c->host->free      ? NEST_CONFIG_HOST_FREE
		 : !c->host->tlb_flush ? NEST_CONFIG_HOST_TLB_FLUSH
				       : NEST_CONFIG_FLAGS;
	if (!c || !c->format || !c->host || !c->host->alloc || !c->host->free ||
	    !c->host->tlb_flush || (c->flags & ~(NEST_PT_SHARED | NEST_PT_UPPER)))
		return NEST_E_INVAL;
	f = nest_descriptor(c->format);
	*field = NEST_CONFIG_FORMAT;
	/* It is not in this build, or has been compiled for size and the engine has not. */
	if (!f || (!NEST_SMALL && !c->format->map))
		return NEST_E_UNSUPPORTED;
	*field = NEST_CONFIG_HOST_DEFER;
	if ((c->flags & NEST_PT_SHARED) && !c->host->defer)
		return NEST_E_INVAL;
	*field = NEST_CONFIG_FEATURES;
	/* Members of a group cannot change one by one. */
	if (!nest_features_ok(f, c->features) ||
	    ((c->flags & NEST_PT_SHARED) && (c->features & NEST_FEAT_CONTIG)))
		return NEST_E_UNSUPPORTED;
	*field = NEST_CONFIG_FLAGS;
	if (((c->flags & NEST_PT_SHARED) && !NEST_HAS_SHARED) ||
	    ((c->flags & NEST_PT_UPPER) && f->ia_kind != NEST_IA_SPLIT))
		return NEST_E_UNSUPPORTED;
	ia_bits = c->ia_bits ? c->ia_bits : f->ia_default;
	oa_bits = c->oa_bits ? c->oa_bits : f->oa_default(c->features);
	*field = NEST_CONFIG_IA_BITS;
	if (ia_bits < f->ia_min || ia_bits > f->ia_max(c->features) ||
	    (f->ia_ok && !f->ia_ok(c->features, ia_bits)))
		return NEST_E_UNSUPPORTED;
	*field = NEST_CONFIG_OA_BITS;
	if (oa_bits > f->oa_max(c->features) || oa_bits <= f->page_shift)
		return NEST_E_RANGE;
	*field = NEST_CONFIG_SOUND;
	*ia = ia_bits;
	*oa = oa_bits;
	return NEST_OK;
}

#endif
