/* SPDX-License-Identifier: MIT */
/*
 * One public call, checked: what the engine is asked to do.
 */
#ifndef NEST_CORE_REQUEST_H
#define NEST_CORE_REQUEST_H

#include "core/table.h"

enum nest_op {
	NEST_OP_MAP,
	NEST_OP_FRAMES, /* map, to a list of frames */
	NEST_OP_MARK,
	NEST_OP_REVOKE, /* unmap, and leave a mark */
	NEST_OP_UNMARK, /* remove marks alone */
	NEST_OP_UNMAP,
	NEST_OP_PROTECT,
	NEST_OP_SPLIT,
	/* These have passes of their own. */
	NEST_OP_MERGE,
	NEST_OP_TRIM,
	NEST_OP_HARVEST
};

/* One call, validated. */
struct nest_request {
	uint64_t first, last;    /* offsets, both inclusive */
	uint64_t delta;          /* map: pa = offset + delta, modulo 2^64 */
	nest_attr_t attr;        /* map */
	const nest_pa_t *frames; /* frames: one a page; NEST_PA_NONE leaves a page as it is */
	nest_attr_t set, clear;
	nest_attr_t only_with; /* protect: what each page must have (NEST_IF_SET) */
	nest_pte_t word;       /* mark, revoke */
	uint32_t flags;
	enum nest_op op;
	uint8_t cap; /* no entry of the operation stands above this level */
	bool groups; /* map: contiguous groups may be made */
	struct nest_gather *gather;
	uint64_t *bitmap; /* harvest */
	uint64_t *done;   /* or NULL; shared mode: bytes finished, if an error comes in the midst */
};

/* Does the operation put frames where none are? */
NEST_INLINE bool nest_op_maps(enum nest_op op)
{
	return op == NEST_OP_MAP || op == NEST_OP_FRAMES;
}

/* The frame for the page at `off`. */
NEST_INLINE const nest_pa_t *nest_frame_of(const struct nest_fmt *f, const struct nest_request *rq,
					   uint64_t off)
{
	return &rq->frames[(off - rq->first) >> f->page_shift];
}

/* Does the operation put rq->word into entries? */
NEST_INLINE bool nest_op_marks(enum nest_op op)
{
	return op == NEST_OP_MARK || op == NEST_OP_REVOKE;
}

/* Does it leave entries absent, and so perhaps a table empty? */
NEST_INLINE bool nest_op_empties(enum nest_op op)
{
	return op == NEST_OP_UNMAP || op == NEST_OP_UNMARK;
}

/* Does the call free tables that have become empty? */
NEST_INLINE bool nest_frees_tables(const struct nest_request *rq)
{
	return nest_op_empties(rq->op) && !(rq->flags & NEST_KEEP_TABLES);
}

/* Does it take mappings away? */
NEST_INLINE bool nest_op_removes(enum nest_op op)
{
	return op == NEST_OP_UNMAP || op == NEST_OP_REVOKE;
}

/* Do all frames and memory types stay in their places? A map may put others there. */
NEST_INLINE bool nest_op_keeps(const struct nest_request *rq)
{
	return rq->op != NEST_OP_MAP && !(rq->clear & NEST_MT_MASK);
}

#endif
