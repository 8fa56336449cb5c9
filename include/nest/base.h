/* SPDX-License-Identifier: MIT */
/*
 * Base types and status codes of libnest.
 *
 * Everything here is plain C11 (and C++17) and needs no library. An address is always a 64-bit
 * number whatever the machine that runs the library, so a workstation can build any format.
 */
#ifndef NEST_BASE_H
#define NEST_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t nest_pa_t;  /* host physical address (output of a translation) */
typedef uint64_t nest_ia_t;  /* input address: GPA/IPA in a second stage, VA in a first stage */
typedef uint64_t nest_pte_t; /* one raw table entry, host byte order */

/* "No such address": what an allocator returns when it has nothing. */
#define NEST_PA_NONE (~(nest_pa_t)0)

/* More levels than any format has (EPT, NPT, Sv57, LPA2 have five). */
#define NEST_MAX_LEVELS 5

/* Every function that can fail returns int: NEST_OK or one of these. */
enum nest_status {
	NEST_OK = 0,
	NEST_E_NOMEM = -1,       /* the host's allocator gave nothing */
	NEST_E_ALIGN = -2,       /* address or size not aligned to the smallest page */
	NEST_E_RANGE = -3,       /* beyond the input or output width, empty range, or it wraps */
	NEST_E_MAPPED = -4,      /* something is mapped there already */
	NEST_E_NOTMAPPED = -5,   /* nothing is mapped there */
	NEST_E_HUGE = -6,        /* a larger page covers it and splitting was not allowed */
	NEST_E_UNSUPPORTED = -7, /* this format, or this CPU's features, cannot express it */
	NEST_E_BUSY = -8,        /* shared mode: another CPU is changing this entry; try again */
	NEST_E_INVAL = -9,       /* an argument that no caller may pass */
	NEST_E_AGAIN = -10,      /* the work budget is used up; call again from where *done says */
	NEST_E_DENIED = -11      /* the host's policy refused (protected frame, ownership) */
};

/* One short English phrase for a status; never NULL, whatever the number. */
const char *nest_strerror(int status);

#ifdef __cplusplus
}
#endif
#endif
