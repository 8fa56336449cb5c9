/* SPDX-License-Identifier: MIT */
/*
 * The LoongArch first stage. One table holds both halves of the canonical addresses: its root goes
 * to PGDL and to PGDH. Input width must be the CPU's VALEN, or the refill handler must refuse what
 * lies beyond: the walk does not look at bits above the root's. All entry bits are in pte.h.
 */
#include "arch/loongarch/pte.h"
#include "core/engine.h"

#define LOONGARCH_S1(size)                                                                         \
	{                                                                                          \
		.name = "loongarch-s1-" #size,                                                     \
		.ia_kind = NEST_IA_SIGNED,                                                         \
		.attrs = LA_ATTRS | NEST_U | NEST_G,                                               \
		.attr = la_attr,                                                                   \
		LA_FORMAT(size),                                                                   \
	}

/* A build may leave page sizes out (cmake/sources.cmake). */
#ifndef NEST_OMIT_nest_fmt_loongarch_s1_4k
static const struct nest_fmt s1_4k = LOONGARCH_S1(4k);
#define NEST_NAME nest_fmt_loongarch_s1_4k
#define NEST_DESC s1_4k
#include "core/instance.h"
#endif
#ifndef NEST_OMIT_nest_fmt_loongarch_s1_16k
static const struct nest_fmt s1_16k = LOONGARCH_S1(16k);
#define NEST_NAME nest_fmt_loongarch_s1_16k
#define NEST_DESC s1_16k
#include "core/instance.h"
#endif
