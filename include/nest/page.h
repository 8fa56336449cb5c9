/* SPDX-License-Identifier: MIT */
/*
 * One smallest page a call, by the shortest way; a place in a table for many such calls in a row;
 * and pages whose frames are scattered.
 *
 * Each call does the same as the call of nest/pt.h that is named with it, and returns the same
 * errors. It is at its shortest where the host has no to_virt, sync or allow; with them it takes
 * the longer way of that call.
 */
#ifndef NEST_PAGE_H
#define NEST_PAGE_H

#include <nest/pt.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Map the smallest page at ia: as nest_pt_map() with that size, flags 0 and no gather. */
int nest_pt_map_page(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, nest_attr_t attr);

/*
 * Unmap the smallest page at ia: as nest_pt_unmap() with that size, flags 0 and no gather. It is
 * flushed when the call returns. A larger page there is split.
 */
int nest_pt_unmap_page(struct nest_pt *pt, nest_ia_t ia);

/*
 * Change the attributes of the smallest page at ia: as nest_pt_protect() with that size, flags 0
 * and no gather. It is flushed when the call returns. A larger page there is split.
 */
int nest_pt_protect_page(struct nest_pt *pt, nest_ia_t ia, nest_attr_t set, nest_attr_t clear);

/*
 * What does ia translate to? Any byte address. NEST_OK: *pa is exact for ia, *attr are the page's
 * attributes. NEST_E_NOTMAPPED: nothing, or a mark (nest_pt_query() tells which). NEST_E_RANGE:
 * outside the input width. NEST_E_BUSY (shared mode): the entry is changing. NEST_E_INVAL: pa or
 * attr is NULL. After an error *pa and *attr are as they were.
 */
int nest_pt_translate(const struct nest_pt *pt, nest_ia_t ia, nest_pa_t *pa, nest_attr_t *attr);

/*
 * Map n smallest pages, at ia and the addresses that follow, to the frames of a list. NEST_PA_NONE
 * in the list: that page stays as it is. Flags: 0, or one of NEST_MAP_SKIP_MAPPED and
 * NEST_MAP_KEEP_MARKS, and NEST_MAP_NO_HUGE, which changes nothing here.
 *
 * All or nothing, as nest_pt_map() is, with the same errors: NEST_E_ALIGN and NEST_E_RANGE also for
 * a frame, NEST_E_RANGE also for n 0. Contiguous groups are not made. In shared mode an error may
 * come in the midst, with the pages before it mapped, when another CPU changes the same pages.
 */
int nest_pt_map_frames(struct nest_pt *pt, nest_ia_t ia, const nest_pa_t *frames, size_t n,
		       nest_attr_t attr, uint32_t flags, struct nest_gather *gather);

/*
 * A place in a table: the next smallest page to map, unmap or translate. The table may be changed
 * by any other call in between: the cursor notices. A cursor belongs to one CPU at a time. In
 * shared mode one grace period of nest_host.defer has to cover all calls from nest_cursor_init() or
 * nest_cursor_seek() to the cursor's last use: with nest/epoch.h, stay between enter and exit.
 * Fields are the library's.
 */
struct nest_cursor {
	struct nest_pt *pt;
	nest_ia_t ia;
	void *entry; /* the page's entry, while `left` is not 0 */
	uint32_t left, generation;
	bool past; /* it has gone beyond the last page of the address space */
};

/* The cursor stands at ia, a multiple of the smallest page. It needs no end. */
void nest_cursor_init(struct nest_cursor *c, struct nest_pt *pt, nest_ia_t ia);
void nest_cursor_seek(struct nest_cursor *c, nest_ia_t ia);
/*
 * As nest_pt_map_page(), nest_pt_unmap() of one smallest page, and nest_pt_translate(), at the
 * cursor's page. After NEST_OK the cursor stands at the next page, after an error where it was.
 */
int nest_cursor_map(struct nest_cursor *c, nest_pa_t pa, nest_attr_t attr);
int nest_cursor_unmap(struct nest_cursor *c, struct nest_gather *gather);
int nest_cursor_translate(struct nest_cursor *c, nest_pa_t *pa, nest_attr_t *attr);

#ifdef __cplusplus
}
#endif
#endif
