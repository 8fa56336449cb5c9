/* SPDX-License-Identifier: MIT */
/*
 * A call on a range in steps, for tests: with the caller's gather, or one of its own.
 *
 *   struct steps s;
 *   err = steps_end(&s, nest_pt_unmap(pt, ia, size, 0, steps_begin(&s, pt, g, budget)), &done);
 */
#ifndef NEST_TESTS_STEPS_H
#define NEST_TESTS_STEPS_H

#include <nest/pt.h>

struct steps {
	struct nest_gather own, *gather;
};

static inline struct nest_gather *steps_begin(struct steps *s, struct nest_pt *pt,
					      struct nest_gather *g, uint64_t budget)
{
	nest_gather_init(&s->own, pt);
	s->gather = g ? g : &s->own;
	nest_gather_limit(s->gather, budget);
	return s->gather;
}

static inline int steps_end(struct steps *s, int err, uint64_t *done)
{
	*done = nest_gather_done(s->gather);
	nest_gather_limit(s->gather, 0);
	nest_gather_sync(&s->own);
	return err;
}

#endif
