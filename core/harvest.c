/* SPDX-License-Identifier: MIT */
/*
 * Harvesting: tell which pages are dirty or accessed, and clear that. A walk finds them, and runs
 * of them that the range covers whole are cleared as a protect does it, without losing what
 * hardware sets meanwhile. Leaves are changed in place and no table comes or goes, so the walk can
 * go on.
 */
#include "core/internal.h"

struct harvest {
	struct nest_pt *pt;
	const struct nest_request *rq;
	bool pending;
	uint64_t first, last; /* a run still to be cleared */
};

/* Bits a .. b, inclusive. */
static void set_bits(uint64_t *bitmap, uint64_t a, uint64_t b)
{
	for (; a / 64 < b / 64; a = (a | 63) + 1)
		bitmap[a / 64] |= ~(uint64_t)0 << a % 64;
	bitmap[a / 64] |= NEST_BITS(b % 64, a % 64);
}

static int clear_run(struct harvest *h)
{
	const struct nest_request rq = { .first = h->first,
					 .last = h->last,
					 .clear = h->rq->clear,
					 .cap = h->pt->top,
					 .gather = h->rq->gather };

	h->pending = false;
	return h->pt->format->protect(h->pt, &rq);
}

static int visit(void *ctx, const struct nest_mapping *m)
{
	struct harvest *h = ctx;
	const struct nest_request *rq = h->rq;
	uint64_t first, last;
	int err;

	if (!(m->attr & rq->clear))
		return 0;
	(void)nest_ia_to_off(h->pt, m->ia, &first);
	last = first + (m->size - 1);
	if (rq->bitmap) {
		unsigned shift = h->pt->format->fmt->page_shift;

		set_bits(rq->bitmap, ((first > rq->first ? first : rq->first) - rq->first) >> shift,
			 ((last < rq->last ? last : rq->last) - rq->first) >> shift);
	}
	if ((rq->flags & NEST_HARVEST_KEEP) || first < rq->first || last > rq->last)
		return 0;
	if (h->pending && h->last + 1 == first) {
		h->last = last;
		return 0;
	}
	err = h->pending ? clear_run(h) : NEST_OK;
	h->pending = true;
	h->first = first;
	h->last = last;
	return err;
}

int nest_operate_harvest(struct nest_pt *pt, const struct nest_request *rq)
{
	struct harvest h = { .pt = pt, .rq = rq };
	int err;

	if (!(rq->flags & NEST_HARVEST_KEEP) && nest_range_is_borrowed(pt, rq))
		return NEST_E_DENIED;
	err = nest_walk_range(pt, rq->first, rq->last, 0, visit, &h, NULL);
	return !err && h.pending ? clear_run(&h) : err;
}
