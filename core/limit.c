/* SPDX-License-Identifier: MIT */
/*
 * Calls that stop after so many entries (nest_gather_limit). A program that sets no limit has
 * nothing of this in it: only nest_gather_limit() names it.
 */
#include "core/operate.h"

/* The largest page or group that a merge can make, less one. */
static uint64_t merge_mask(const struct nest_pt *pt)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	unsigned cs = nest_contig_shift(f, pt->features, pt->max_leaf);

	return ((nest_span_mask(f, pt->max_leaf) + 1) << cs) - 1;
}

/* Where a map or mark of `budget` entries ends, or before, if larger ones begin there. */
static uint64_t map_end(const struct nest_pt *pt, const struct nest_request *rq, uint64_t budget,
			uint64_t end)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	unsigned level = rq->cap, cs;
	uint64_t limit, unit;

	while (level && ((rq->first & nest_span_mask(f, level)) ||
			 rq->last - rq->first < nest_span_mask(f, level)))
		level--;
	cs = rq->groups ? nest_contig_shift(f, pt->features, level) : 0;
	unit = ((nest_span_mask(f, level) + 1) << cs) - 1;
	limit = rq->last - rq->first;
	if (limit >> nest_shift(f, level) >= budget)
		limit = (budget << nest_shift(f, level)) - 1;
	limit += rq->first;
	end = (end < limit ? end : limit) | unit;
	if (level < rq->cap && end > (rq->first | nest_span_mask(f, level + 1)))
		end = rq->first | nest_span_mask(f, level + 1);
	return end;
}

/* Bytes that a word of the bitmap tells of. */
static uint64_t word_span(const struct nest_pt *pt)
{
	return 64 * nest_table_size(pt);
}

/*
 * End a harvest after a whole word of the bitmap, and after the whole page, block or group in which
 * that word ends: one that is only partly in the range is told, but cannot be made clean.
 * NEST_E_BUSY.
 */
static int harvest_end(struct nest_pt *pt, struct nest_request *rq, uint64_t end)
{
	uint64_t one = 1;
	int err;

	end = rq->first + ((end - rq->first) | (word_span(pt) - 1));
	if (end >= rq->last)
		return NEST_OK;
	err = nest_walk_range(pt, end, rq->last, 0, NULL, &one, &end);
	if (err == NEST_E_AGAIN)
		rq->last = end;
	return err == NEST_E_BUSY ? err : NEST_OK;
}

/*
 * Shorten the request to about its first `budget` entries. It then ends where a call without a
 * limit would end a page or group, too. NEST_E_BUSY.
 */
static int cut(struct nest_pt *pt, struct nest_request *rq, uint64_t budget)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	uint64_t end = rq->last, most = budget;
	int err = nest_walk_range(pt, rq->first, rq->last, 0, NULL, &most, &end);

	if (err == NEST_E_BUSY)
		return err;
	if (err == NEST_OK)
		end = rq->last;
	switch (rq->op) {
	case NEST_OP_MAP:
	case NEST_OP_FRAMES:
	case NEST_OP_MARK:
		end = map_end(pt, rq, budget, end);
		break;
	case NEST_OP_SPLIT:
		/* What comes into being counts, not what is there. */
		if ((end - rq->first) >> nest_shift(f, rq->cap) >= budget)
			end = (rq->first + (budget << nest_shift(f, rq->cap)) - 1) |
			      nest_span_mask(f, rq->cap);
		break;
	case NEST_OP_MERGE:
		end |= merge_mask(pt);
		break;
	case NEST_OP_HARVEST:
		return harvest_end(pt, rq, end);
	default:
		break;
	}
	if (end < rq->last)
		rq->last = end;
	return NEST_OK;
}

/*
 * Do what the gather's limit allows. NEST_E_AGAIN: there is more to do; the gather says how much is
 * done.
 */
static int run_limited(struct nest_pt *pt, nest_operation operation, struct nest_request *rq)
{
	struct nest_gather *g = rq->gather;
	const uint64_t all = rq->last;
	int err = cut(pt, rq, g->limit);

	if (!err) {
		rq->done = &g->done;
		err = operation(pt, rq);
	}
	if (err)
		return err;
	g->done = rq->last - rq->first + 1;
	if (rq->last == all)
		return NEST_OK;
	/* The next step begins with a word, though this one may have gone further. */
	if (rq->op == NEST_OP_HARVEST)
		g->done &= ~(word_span(pt) - 1);
	return NEST_E_AGAIN;
}

void nest_gather_limit(struct nest_gather *g, uint64_t entries)
{
	if (!g)
		return;
	g->limit = entries;
	g->run = entries ? run_limited : NULL;
}
