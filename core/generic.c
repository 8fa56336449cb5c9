/* SPDX-License-Identifier: MIT */
/*
 * The engine with a run-time descriptor: for the operations that are not worth a specialised copy
 * of it (mark, revoke, unmark, split), and for all of them in a build for size.
 */
#include "core/engine.h"

int nest_operate_any(struct nest_pt *pt, const struct nest_request *rq)
{
	if (NEST_ENTRYWISE)
		return nest_operate_shared(pt, rq);
	return nest_edit((struct nest_how){ nest_fmt_of(pt), rq->op, true }, pt, rq);
}

int nest_query_any(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out)
{
	return nest_lookup(nest_fmt_of(pt), pt, ia, out);
}

#if NEST_SMALL
void nest_drop_any(struct nest_pt *pt, struct nest_gather *g, const struct nest_gather_item *item,
		   nest_pa_t table, unsigned level, uint64_t off)
{
	nest_drop(nest_fmt_of(pt), pt, NEST_ENTRYWISE ? NULL : g, item, table, level, off);
}
#endif
