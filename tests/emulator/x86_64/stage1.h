/* SPDX-License-Identifier: MIT */
/*
 * The first stage as the image itself runs in it: its tables are CR3's. The arguments are those of
 * the port_* functions.
 */
#ifndef STAGE1_H
#define STAGE1_H

#include "walker.h"

/* Attributes; the last one takes NEST_FEAT_PAT. */
extern const struct walker_attr stage1_attrs[];
extern const unsigned stage1_nr_attrs;

int stage1_load(struct nest_pt *pt);
void stage1_unload(void);
void stage1_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		   struct walker_outcome *out);

#endif
