/* SPDX-License-Identifier: MIT */
/*
 * Everything that depends on how the library is built: compiler options, macros of the build
 * system, and the attributes of functions that follow from them. No other file tests these.
 */
#ifndef NEST_CORE_BUILD_H
#define NEST_CORE_BUILD_H

#include <stdint.h>

/*
 * The engine is inlined into the functions of each format. With -Os there is one copy of it for all
 * formats, and the helpers of core/table_inline.h are functions that are called.
 */
#ifdef __OPTIMIZE_SIZE__
#define NEST_INLINE static inline
#define NEST_ONCE   __attribute__((noinline))
#define NEST_SMALL  1
#else
#define NEST_INLINE static inline __attribute__((always_inline))
#define NEST_ONCE   NEST_INLINE
#define NEST_SMALL  0
#endif

/*
 * With -Os and without contiguous groups, core/shared.c changes the entries of every table one at a
 * time, in exclusive mode too, and the loops of core/runs.h are left out.
 */
#define NEST_ENTRYWISE (NEST_SMALL && !NEST_HAS_CONTIG)

/*
 * A build for one format (NEST_ONLY, set by CMake): its descriptor is a constant everywhere in the
 * engine, so link-time optimisation can remove what the format does not use.
 */
#ifdef NEST_ONLY
#define NEST_ONE_FORMAT       1
#define NEST_DESCRIPTOR(name) NEST_JOIN(name, descriptor)
#else
#define NEST_ONE_FORMAT 0
#endif

/* name_what, and "text", of macros. */
#define NEST_JOIN_(name, what) name##_##what
#define NEST_JOIN(name, what)  NEST_JOIN_(name, what)
#define NEST_TEXT_(text)       #text
#define NEST_TEXT(text)        NEST_TEXT_(text)

/* Reads memory, and has no other effect than its result. */
#define NEST_PURE __attribute__((pure))

/* Rare code: not inlined, since it would take registers from the common path. */
#define NEST_APART __attribute__((noinline))

/* Bits hi..lo set. */
#define NEST_BITS(hi, lo) ((~(uint64_t)0 >> (63 - (hi))) & (~(uint64_t)0 << (lo)))
#define NEST_BIT(n)       ((uint64_t)1 << (n))

/*
 * Parts that a build leaves out because none of its formats needs them, or because the embedder
 * does not want them. CMake sets these; by default every part is there.
 */
#ifndef NEST_HAS_SHARED
#define NEST_HAS_SHARED 1 /* NEST_PT_SHARED */
#endif
#ifndef NEST_HAS_CONTIG
#define NEST_HAS_CONTIG 1 /* NEST_FEAT_CONTIG */
#endif
#ifndef NEST_HAS_BREAK
#define NEST_HAS_BREAK 1 /* needs_break() may be true */
#endif
#ifndef NEST_HAS_FRESH
#define NEST_HAS_FRESH 1 /* fresh_flush() may be true; absent_is_table */
#endif

#endif
