/* SPDX-License-Identifier: MIT */
/*
 * The public operations: check every argument, make a request of it, hand it to the engine of the
 * table's format. Nothing below this file sees an argument that has not been checked here.
 */
#include "core/operate.h"

#include <nest/page.h>

enum { LEVEL_FIELD = 0xf, LEVEL_FIELD_MAX = NEST_MAX_LEVELS };
enum {
	MAP_FLAGS = LEVEL_FIELD | (int)NEST_MAP_REPLACE | (int)NEST_MAP_SKIP_MAPPED |
		    (int)NEST_MAP_KEEP_MARKS | (int)NEST_MAP_ATOMIC | (int)NEST_NO_SPLIT,
	CHANGE_FLAGS = (int)NEST_SKIP_HOLES | (int)NEST_NO_SPLIT
};

NEST_APART int nest_check_attr(const struct nest_pt *pt, nest_attr_t attr)
{
	if ((attr & ~NEST_ATTR_MASK) || (attr & NEST_MT_MASK) > NEST_MT_DEVICE_STRICT)
		return NEST_E_INVAL;
	if (attr & ~NEST_MT_MASK & ~nest_fmt_of(pt)->attrs)
		return NEST_E_UNSUPPORTED;
	return NEST_OK;
}

static bool map_flags_ok(uint32_t flags)
{
	if ((flags & ~(uint32_t)MAP_FLAGS) || (flags & LEVEL_FIELD) > LEVEL_FIELD_MAX)
		return false;
	flags &= NEST_MAP_REPLACE | NEST_MAP_SKIP_MAPPED | NEST_MAP_KEEP_MARKS;
	return !(flags & (flags - 1)); /* one of them at most */
}

/* Common to all: a live table, a gather of its own if any, a range. */
static int begin(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		 struct nest_gather *gather, struct nest_request *rq)
{
	*rq = (struct nest_request){ .flags = flags, .gather = gather };
	if (!nest_is_live(pt) || (gather && gather->pt != pt))
		return NEST_E_INVAL;
	if (gather)
		gather->done = 0;
	rq->cap = pt->top;
	return nest_range(pt, ia, size, &rq->first, &rq->last);
}

/* Does the call do nothing but take rights to write, or dirty, away? */
static bool takes_writes_only(const struct nest_request *rq)
{
	const nest_attr_t writes = NEST_W | NEST_DBM | NEST_DIRTY;

	return (rq->op == NEST_OP_PROTECT || rq->op == NEST_OP_HARVEST) && !rq->set &&
	       !(rq->clear & ~writes);
}

/*
 * Without a gather of the caller's, and always in shared mode, flush and free before returning:
 * there, what is not flushed keeps others out.
 */
NEST_APART static int run(struct nest_pt *pt, nest_operation operation, struct nest_request *rq)
{
	struct nest_gather own;
	int err;

	if (!rq->gather) {
		nest_gather_init(&own, pt);
		rq->gather = &own;
	}
	rq->gather->writes_only &= takes_writes_only(rq);
	err = rq->gather->run ? rq->gather->run(pt, operation, rq) : operation(pt, rq);
	if (rq->gather == &own || nest_is_shared(pt))
		nest_gather_sync(rq->gather);
	return err;
}

/* What was unmapped there must be flushed before something else may take its place. */
static int operate_map(struct nest_pt *pt, const struct nest_request *rq)
{
	if (nest_is_shared(pt))
		return nest_operate_shared(pt, rq);
	nest_gather_settle(rq->gather, rq->first, rq->last);
	return nest_ops(pt)->map(pt, rq);
}

static int operate_frames(struct nest_pt *pt, const struct nest_request *rq)
{
	if (nest_is_shared(pt))
		return nest_operate_shared(pt, rq);
	nest_gather_settle(rq->gather, rq->first, rq->last);
	return nest_operate_any(pt, rq);
}

/* A page whose memory type changes may not meet what the TLB still has of it in another size. */
static int operate_protect(struct nest_pt *pt, const struct nest_request *rq)
{
	if (nest_is_shared(pt))
		return nest_operate_shared(pt, rq);
	if (rq->clear & NEST_MT_MASK)
		nest_gather_settle(rq->gather, rq->first, rq->last);
	return nest_ops(pt)->protect(pt, rq);
}

static int operate_unmap(struct nest_pt *pt, const struct nest_request *rq)
{
	return nest_is_shared(pt) ? nest_operate_shared(pt, rq) : nest_ops(pt)->unmap(pt, rq);
}

/* Mark, revoke, unmark and split. */
static int operate_other(struct nest_pt *pt, const struct nest_request *rq)
{
	return nest_is_shared(pt) ? nest_operate_shared(pt, rq) : nest_operate_any(pt, rq);
}

/* Is the range one page or block of the request's largest level, or one contiguous group? */
static bool is_one_page(const struct nest_pt *pt, const struct nest_request *rq)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const uint64_t size = rq->last - rq->first + 1, page = nest_span_mask(f, rq->cap) + 1;
	const unsigned group = rq->groups ? nest_contig_shift(f, pt->features, rq->cap) : 0;

	return (size == page || size == page << group) && !((rq->first | rq->delta) & (size - 1));
}

static int map_request(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size,
		       nest_attr_t attr, uint32_t flags, struct nest_gather *gather,
		       struct nest_request *rq)
{
	unsigned field = flags & LEVEL_FIELD;
	int err = begin(pt, ia, size, flags, gather, rq);

	if (err == NEST_E_INVAL || !map_flags_ok(flags))
		return NEST_E_INVAL;
	if (!err && (pa & (nest_table_size(pt) - 1)))
		err = NEST_E_ALIGN;
	if (!err && (pa + (size - 1) < pa || (pa + (size - 1)) >> pt->oa_bits))
		err = NEST_E_RANGE;
	if (!err)
		err = nest_check_attr(pt, attr);
	if (err)
		return err;
	rq->op = NEST_OP_MAP;
	rq->delta = pa - rq->first;
	rq->attr = attr;
	rq->groups = field != 1;
	rq->cap = pt->max_leaf;
	if (field && field - 1 < rq->cap)
		rq->cap = (uint8_t)(field - 1);
	for (; rq->cap; rq->cap--) {
		const uint64_t mask = nest_span_mask(nest_fmt_of(pt), rq->cap);

		if (size > mask && !(rq->delta & mask))
			break;
	}
	if ((flags & NEST_MAP_ATOMIC) && !is_one_page(pt, rq))
		return NEST_E_INVAL;
	if (pt->host->allow && !pt->host->allow(pt->ctx, pa, size, attr))
		return NEST_E_DENIED;
	return NEST_OK;
}

/* May each of these frames be mapped? */
static int check_frames(const struct nest_pt *pt, const struct nest_request *rq)
{
	const uint64_t page = nest_table_size(pt), n = (rq->last - rq->first) / page + 1;

	for (uint64_t k = 0; k < n; k++) {
		const nest_pa_t frame = rq->frames[k];

		if (frame == NEST_PA_NONE)
			continue;
		if (frame & (page - 1))
			return NEST_E_ALIGN;
		if (frame >> pt->oa_bits)
			return NEST_E_RANGE;
		if (pt->host->allow && !pt->host->allow(pt->ctx, frame, page, rq->attr))
			return NEST_E_DENIED;
	}
	return NEST_OK;
}

static int change_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
			  struct nest_gather *gather, struct nest_request *rq)
{
	int err = begin(pt, ia, size, flags, gather, rq);

	return flags & ~(uint32_t)CHANGE_FLAGS ? NEST_E_INVAL : err;
}

static int unmap_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
			 struct nest_gather *gather, struct nest_request *rq)
{
	int err = begin(pt, ia, size, flags, gather, rq);

	rq->op = NEST_OP_UNMAP;
	return flags & ~((uint32_t)CHANGE_FLAGS | NEST_KEEP_TABLES) ? NEST_E_INVAL : err;
}

static int protect_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
			   nest_attr_t clear, uint32_t flags, struct nest_gather *gather,
			   struct nest_request *rq)
{
	const nest_attr_t type = clear & NEST_MT_MASK;
	int err = change_request(pt, ia, size, flags & ~NEST_IF_SET, gather, rq);

	if (err)
		return err;
	rq->only_with = flags & NEST_IF_SET ? clear : 0;
	if ((rq->only_with & (NEST_MT_MASK | NEST_ACCESSED | NEST_DIRTY)) ||
	    ((set | clear) & ~NEST_ATTR_MASK) || (set & clear & ~NEST_MT_MASK) ||
	    (type && type != NEST_MT_MASK) || (!type && (set & NEST_MT_MASK)))
		return NEST_E_INVAL;
	rq->op = NEST_OP_PROTECT;
	rq->set = set;
	rq->clear = clear;
	return nest_check_attr(pt, set);
}

int nest_map_any(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr,
		 uint32_t flags, struct nest_gather *gather)
{
	struct nest_request rq;
	int err = map_request(pt, ia, pa, size, attr, flags, gather, &rq);

	return err ? err : run(pt, operate_map, &rq);
}

int nest_unmap_any(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		   struct nest_gather *gather)
{
	struct nest_request rq;
	int err = unmap_request(pt, ia, size, flags, gather, &rq);

	return err ? err : run(pt, operate_unmap, &rq);
}

int nest_pt_map(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr,
		uint32_t flags, struct nest_gather *gather)
{
	if (!nest_is_live(pt))
		return NEST_E_INVAL;
	return nest_ops(pt)->pt_map(pt, ia, pa, size, attr, flags, gather);
}

int nest_pt_map_frames(struct nest_pt *pt, nest_ia_t ia, const nest_pa_t *frames, size_t n,
		       nest_attr_t attr, uint32_t flags, struct nest_gather *gather)
{
	const uint32_t how = flags & (NEST_MAP_SKIP_MAPPED | NEST_MAP_KEEP_MARKS);
	struct nest_request rq;
	int err;

	if (!nest_is_live(pt) || !frames || (flags & ~(how | NEST_MAP_NO_HUGE)) ||
	    !map_flags_ok(flags))
		return NEST_E_INVAL;
	if (n > ~(uint64_t)0 >> nest_fmt_of(pt)->page_shift)
		return NEST_E_RANGE;
	err = begin(pt, ia, (uint64_t)n << nest_fmt_of(pt)->page_shift, how, gather, &rq);
	rq.op = NEST_OP_FRAMES;
	rq.frames = frames;
	rq.attr = attr;
	rq.cap = 0;
	if (!err)
		err = nest_check_attr(pt, attr);
	if (!err)
		err = check_frames(pt, &rq);
	return err ? err : run(pt, operate_frames, &rq);
}

int nest_pt_unmap(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		  struct nest_gather *gather)
{
	if (!nest_is_live(pt))
		return NEST_E_INVAL;
	return nest_ops(pt)->pt_unmap(pt, ia, size, flags, gather);
}

int nest_protect_any(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
		     nest_attr_t clear, uint32_t flags, struct nest_gather *gather)
{
	struct nest_request rq;
	int err = protect_request(pt, ia, size, set, clear, flags, gather, &rq);

	return err ? err : run(pt, operate_protect, &rq);
}

int nest_pt_protect(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
		    nest_attr_t clear, uint32_t flags, struct nest_gather *gather)
{
	if (!nest_is_live(pt))
		return NEST_E_INVAL;
	return nest_ops(pt)->pt_protect(pt, ia, size, set, clear, flags, gather);
}

static int harvest_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t which,
			   uint64_t *bitmap, uint32_t flags, struct nest_gather *gather,
			   struct nest_request *rq)
{
	int err = begin(pt, ia, size, flags, gather, rq);

	if (err == NEST_E_INVAL || (flags & ~NEST_HARVEST_KEEP) || !which ||
	    (which & ~(NEST_DIRTY | NEST_ACCESSED)))
		return NEST_E_INVAL;
	rq->op = NEST_OP_HARVEST;
	rq->clear = which;
	rq->bitmap = bitmap;
	return err;
}

int nest_pt_harvest(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t which,
		    uint64_t *bitmap, uint32_t flags, struct nest_gather *gather)
{
	struct nest_request rq;
	int err = harvest_request(pt, ia, size, which, bitmap, flags, gather, &rq);

	return err ? err : run(pt, nest_operate_harvest, &rq);
}

int nest_pt_trim(struct nest_pt *pt, nest_ia_t ia, uint64_t size, struct nest_gather *gather)
{
	struct nest_request rq;
	int err = begin(pt, ia, size, 0, gather, &rq);

	rq.op = NEST_OP_TRIM;
	return err ? err : run(pt, nest_operate_trim, &rq);
}

/* What is common to mark and revoke: the word, and how high in the tables it may be. */
static int use_mark(const struct nest_pt *pt, uint64_t value, struct nest_request *rq)
{
	if (value > NEST_MARK_MAX)
		return NEST_E_RANGE;
	rq->word = nest_soft_word(NEST_SOFT_MARK, value) |
		   nest_soft_bits(nest_fmt_of(pt), pt->features, 0);
	if (rq->cap >= nest_fmt_of(pt)->mark_levels)
		rq->cap = (uint8_t)(nest_fmt_of(pt)->mark_levels - 1);
	return NEST_OK;
}

static int mark_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t value,
			struct nest_gather *gather, struct nest_request *rq)
{
	int err = begin(pt, ia, size, 0, gather, rq);

	rq->op = NEST_OP_MARK;
	return err ? err : use_mark(pt, value, rq);
}

int nest_pt_revoke(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t value, uint32_t flags,
		   struct nest_gather *gather)
{
	struct nest_request rq;
	int err = change_request(pt, ia, size, flags, gather, &rq);

	rq.op = NEST_OP_REVOKE;
	if (!err)
		err = use_mark(pt, value, &rq);
	return err ? err : run(pt, operate_other, &rq);
}

int nest_pt_unmark(struct nest_pt *pt, nest_ia_t ia, uint64_t size, struct nest_gather *gather)
{
	struct nest_request rq;
	int err = begin(pt, ia, size, NEST_SKIP_HOLES, gather, &rq);

	rq.op = NEST_OP_UNMARK;
	return err ? err : run(pt, operate_other, &rq);
}

int nest_pt_mark(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint64_t value,
		 struct nest_gather *gather)
{
	struct nest_request rq;
	int err = mark_request(pt, ia, size, value, gather, &rq);

	return err ? err : run(pt, operate_other, &rq);
}

static int split_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size, unsigned level,
			 struct nest_gather *gather, struct nest_request *rq)
{
	int err = begin(pt, ia, size, NEST_SKIP_HOLES, gather, rq);

	if (err)
		return err;
	if (level > pt->max_leaf)
		return NEST_E_UNSUPPORTED;
	rq->op = NEST_OP_SPLIT;
	rq->cap = (uint8_t)level;
	return NEST_OK;
}

int nest_pt_split(struct nest_pt *pt, nest_ia_t ia, uint64_t size, unsigned level,
		  struct nest_gather *gather)
{
	struct nest_request rq;
	int err = split_request(pt, ia, size, level, gather, &rq);

	return err ? err : run(pt, operate_other, &rq);
}

static int merge_request(struct nest_pt *pt, nest_ia_t ia, uint64_t size,
			 struct nest_gather *gather, struct nest_request *rq)
{
	int err = begin(pt, ia, size, 0, gather, rq);

	rq->op = NEST_OP_MERGE;
	return !err && nest_is_shared(pt) ? NEST_E_UNSUPPORTED : err;
}

int nest_pt_merge(struct nest_pt *pt, nest_ia_t ia, uint64_t size, struct nest_gather *gather)
{
	struct nest_request rq;
	int err = merge_request(pt, ia, size, gather, &rq);

	return err ? err : run(pt, nest_operate_merge, &rq);
}

int nest_pt_query(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out)
{
	if (!nest_is_live(pt) || !out)
		return NEST_E_INVAL;
	return nest_ops(pt)->query(pt, ia, out);
}

int nest_pt_walk(const struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		 nest_visit_fn fn, void *ctx)
{
	uint64_t first, last;
	int err;

	if (!nest_is_live(pt) || !fn || (flags & ~(NEST_WALK_TABLES | NEST_WALK_MARKS)))
		return NEST_E_INVAL;
	err = nest_range(pt, ia, size, &first, &last);
	return err ? err : nest_walk_range(pt, first, last, flags, fn, ctx, NULL);
}

/* The largest level at which unmap or protect may have to split an entry. */
static unsigned split_level(const struct nest_pt *pt, uint32_t flags)
{
	unsigned page = flags & NEST_NO_SPLIT ? 0 : pt->max_leaf;
	unsigned mark = nest_fmt_of(pt)->mark_levels - 1u;

	mark = mark < pt->top ? mark : pt->top;
	return page > mark ? page : mark;
}

int nest_pt_tables_for(const struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
		       uint64_t *tables)
{
	unsigned level, cap = 0;
	uint64_t first, last;
	int err;

	if (!nest_is_live(pt) || !tables ||
	    (!map_flags_ok(flags) &&
	     (flags & ~((uint32_t)CHANGE_FLAGS | NEST_KEEP_TABLES | NEST_IF_SET))))
		return NEST_E_INVAL;
	err = nest_range(pt, ia, size, &first, &last);
	if (err)
		return err;
	level = pt->top;
	/* Otherwise it may be a map, which in the worst case needs smallest pages everywhere. */
	if (flags & NEST_SKIP_HOLES)
		level = cap = split_level(pt, flags);
	*tables = nest_tables_below(nest_fmt_of(pt), level, first, last, cap);
	return NEST_OK;
}
