/* SPDX-License-Identifier: MIT */
/*
 * A format small enough to try everything on: pages of 32 bytes, four entries a table, three
 * levels (an address space of 2 KiB), leaves at each level, contiguous groups of two. One variant
 * asks for break-before-make, the other does not and must be flushed after a fresh mapping.
 */
#ifndef NEST_TEST_TOY_H
#define NEST_TEST_TOY_H

#include <nest/format.h>

extern const struct nest_format toy_plain, toy_break;
/* The engine of these formats was built for size: tables remember no leaf. */
extern const bool toy_is_small;

enum { TOY_PAGE = 32, TOY_IA_BITS = 11, TOY_PAGES = 64 };

#endif
