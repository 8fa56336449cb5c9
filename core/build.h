/* SPDX-License-Identifier: MIT */
/*
 * What a build may leave out or choose, and the words for functions that follow from it. No other
 * file asks for a compiler option or for a macro of the build system.
 */
#ifndef NEST_CORE_BUILD_H
#define NEST_CORE_BUILD_H

#include <stdint.h>

/*
 * The engine is a template, inlined into each format. Where size comes first (-Os) there is one
 * copy for all of them instead, and the compiler sees to the rest; what is called from many places
 * (core/table_inline.h) is a function then.
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
 * Where size comes first and there are no contiguous groups, which are more than one entry,
 * core/shared.c changes every table, entry by entry, and the template is left out.
 */
#define NEST_ENTRYWISE (NEST_SMALL && !NEST_HAS_CONTIG)

/*
 * A build for one format, NEST_ONLY (CMake sees to it): its descriptor is then a constant for all
 * of the engine, and link-time optimisation can make the most of it.
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

/* What is out of the ordinary, kept from where it would cost what is ordinary its registers. */
#define NEST_APART __attribute__((noinline))

/* Bits hi..lo set. */
#define NEST_BITS(hi, lo) ((~(uint64_t)0 >> (63 - (hi))) & (~(uint64_t)0 << (lo)))
#define NEST_BIT(n)       ((uint64_t)1 << (n))

/*
 * What no format of a build needs, the build leaves out (CMake sees to these); what an embedder
 * does without, too. By default all is there.
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
