/* SPDX-License-Identifier: MIT */
/*
 * The engine for one format: included once for each, after
 *
 *   #define NEST_NAME nest_fmt_ept  the public format that is defined here
 *   #define NEST_DESC ept_fmt       its descriptor, a static const struct nest_fmt
 *
 * The descriptor is a constant here, so the compiler puts every entry function of the format into
 * the engine's functions. In a build for size the descriptor is all: the engine is there once.
 */
#include "core/engine.h"

#ifdef NEST_ONLY
extern const struct nest_fmt NEST_DESCRIPTOR(NEST_NAME)
	__attribute__((alias(NEST_TEXT(NEST_DESC))));
#endif

#if NEST_SMALL

const struct nest_format NEST_NAME = { .fmt = NEST_ONE_FORMAT ? NULL : &(NEST_DESC) };

#else

#define NEST_FN(what) NEST_JOIN(NEST_NAME, what)

/* ---- Ranges ---- */

static int NEST_FN(map)(struct nest_pt *pt, const struct nest_request *rq)
{
	return nest_edit((struct nest_how){ &(NEST_DESC), NEST_OP_MAP, true }, pt, rq);
}

static int NEST_FN(unmap)(struct nest_pt *pt, const struct nest_request *rq)
{
	return nest_edit((struct nest_how){ &(NEST_DESC), NEST_OP_UNMAP, true }, pt, rq);
}

static int NEST_FN(protect)(struct nest_pt *pt, const struct nest_request *rq)
{
	return nest_edit((struct nest_how){ &(NEST_DESC), NEST_OP_PROTECT, true }, pt, rq);
}

static void NEST_FN(drop)(struct nest_pt *pt, struct nest_gather *g,
			  const struct nest_gather_item *item, nest_pa_t table, unsigned level,
			  uint64_t off)
{
	nest_drop(&(NEST_DESC), pt, g, item, table, level, off);
}

static unsigned NEST_FN(walk)(const struct nest_pt *pt, uint64_t off, nest_pte_t **p, nest_pte_t *e)
{
	const struct nest_view v = nest_view(pt);

	return nest_walk_by(&(NEST_DESC), pt, &v, off, p, e);
}

/* ---- One page, or a few of one table: by the shortest way, or else by the engine ---- */

NEST_APART static int NEST_FN(query_any)(const struct nest_pt *pt, nest_ia_t ia,
					 struct nest_mapping *out)
{
	return nest_lookup(&(NEST_DESC), pt, ia, out);
}

static int NEST_FN(query)(const struct nest_pt *pt, nest_ia_t ia, struct nest_mapping *out)
{
	return nest_fast_query(&(NEST_DESC), pt, ia, out) ? NEST_OK
							  : NEST_FN(query_any)(pt, ia, out);
}

NEST_APART static int NEST_FN(translate_any)(const struct nest_pt *pt, nest_ia_t ia, nest_pa_t *pa,
					     nest_attr_t *attr)
{
	struct nest_mapping m;
	int err = nest_lookup(&(NEST_DESC), pt, ia, &m);

	if (err == NEST_OK) {
		*pa = m.pa;
		*attr = m.attr;
	}
	return err;
}

static int NEST_FN(translate)(const struct nest_pt *pt, nest_ia_t ia, nest_pa_t *pa,
			      nest_attr_t *attr)
{
	return nest_fast_translate(&(NEST_DESC), pt, ia, pa, attr)
		       ? NEST_OK
		       : NEST_FN(translate_any)(pt, ia, pa, attr);
}

NEST_APART static int NEST_FN(map_any)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa,
				       uint64_t size, nest_attr_t attr, uint32_t flags,
				       struct nest_gather *gather)
{
	if (nest_map_few(&(NEST_DESC), pt, ia, pa, size, attr, flags, gather))
		return NEST_OK;
	return nest_map_any(pt, ia, pa, size, attr, flags, gather);
}

NEST_APART static int NEST_FN(map_page_any)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa,
					    nest_attr_t attr)
{
	const int err = nest_fast_first(&(NEST_DESC), pt, ia, pa, attr);

	if (err <= 0)
		return err;
	return NEST_FN(map_any)(pt, ia, pa, nest_table_size(pt), attr, 0, NULL);
}

static int NEST_FN(map_page)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, nest_attr_t attr)
{
	return nest_fast_map(&(NEST_DESC), pt, ia, pa, attr)
		       ? NEST_OK
		       : NEST_FN(map_page_any)(pt, ia, pa, attr);
}

static int NEST_FN(pt_map)(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, uint64_t size,
			   nest_attr_t attr, uint32_t flags, struct nest_gather *gather)
{
	if (!gather && size == NEST_BIT((NEST_DESC).page_shift) &&
	    !(flags & ~(NEST_MAP_NO_HUGE | NEST_MAP_ATOMIC)))
		return NEST_FN(map_page)(pt, ia, pa, attr);
	return NEST_FN(map_any)(pt, ia, pa, size, attr, flags, gather);
}

NEST_APART static int NEST_FN(unmap_any)(struct nest_pt *pt, nest_ia_t ia, uint64_t size,
					 uint32_t flags, struct nest_gather *gather)
{
	if (nest_unmap_few(&(NEST_DESC), pt, ia, size, flags, gather))
		return NEST_OK;
	return nest_unmap_any(pt, ia, size, flags, gather);
}

NEST_APART static int NEST_FN(unmap_page_any)(struct nest_pt *pt, nest_ia_t ia)
{
	return NEST_FN(unmap_any)(pt, ia, nest_table_size(pt), 0, NULL);
}

static int NEST_FN(unmap_page)(struct nest_pt *pt, nest_ia_t ia)
{
	return nest_fast_unmap(&(NEST_DESC), pt, ia, false) ? NEST_OK
							    : NEST_FN(unmap_page_any)(pt, ia);
}

static int NEST_FN(pt_unmap)(struct nest_pt *pt, nest_ia_t ia, uint64_t size, uint32_t flags,
			     struct nest_gather *gather)
{
	if (!gather && size == NEST_BIT((NEST_DESC).page_shift) &&
	    !(flags & ~(NEST_SKIP_HOLES | NEST_NO_SPLIT | NEST_KEEP_TABLES)) &&
	    nest_fast_unmap(&(NEST_DESC), pt, ia, (flags & NEST_KEEP_TABLES) != 0))
		return NEST_OK;
	return NEST_FN(unmap_any)(pt, ia, size, flags, gather);
}

static int NEST_FN(pt_protect)(struct nest_pt *pt, nest_ia_t ia, uint64_t size, nest_attr_t set,
			       nest_attr_t clear, uint32_t flags, struct nest_gather *gather)
{
	if (!gather && size == NEST_BIT((NEST_DESC).page_shift) &&
	    !(flags & ~(NEST_SKIP_HOLES | NEST_NO_SPLIT)) &&
	    nest_fast_protect(&(NEST_DESC), pt, ia, set, clear))
		return NEST_OK;
	return nest_protect_any(pt, ia, size, set, clear, flags, gather);
}

/* ---- By a cursor ---- */

static int NEST_FN(cursor_map)(struct nest_cursor *c, nest_pa_t pa, nest_attr_t attr)
{
	int err = c->past ? NEST_E_RANGE : NEST_OK;

	if (nest_cursor_maps(&(NEST_DESC), c, pa, attr))
		return NEST_OK;
	if (!err)
		err = NEST_FN(map_page_any)(c->pt, c->ia, pa, attr);
	if (!err)
		nest_cursor_stand_next(&(NEST_DESC), c);
	return err;
}

static int NEST_FN(cursor_unmap)(struct nest_cursor *c, struct nest_gather *gather)
{
	int err = c->past ? NEST_E_RANGE : NEST_OK;

	if (nest_cursor_unmaps(&(NEST_DESC), c, gather))
		return NEST_OK;
	if (!err)
		err = NEST_FN(unmap_any)(c->pt, c->ia, nest_table_size(c->pt), 0, gather);
	if (!err)
		nest_cursor_stand_next(&(NEST_DESC), c);
	return err;
}

static int NEST_FN(cursor_translate)(struct nest_cursor *c, nest_pa_t *pa, nest_attr_t *attr)
{
	int err = c->past ? NEST_E_RANGE : NEST_OK;

	if (nest_cursor_translates(&(NEST_DESC), c, pa, attr))
		return NEST_OK;
	if (!err)
		err = NEST_FN(translate)(c->pt, c->ia, pa, attr);
	if (!err)
		nest_cursor_stand_next(&(NEST_DESC), c);
	return err;
}

/* ---- A list of frames ---- */

static void NEST_FN(fill_frames)(nest_pte_t *t, const nest_pa_t *frames, uint64_t n,
				 nest_pte_t proto)
{
	nest_fill_frames(&(NEST_DESC), t, frames, n, proto);
}

const struct nest_format NEST_NAME = { .fmt = &(NEST_DESC),
				       .map = NEST_FN(map),
				       .unmap = NEST_FN(unmap),
				       .protect = NEST_FN(protect),
				       .drop = NEST_FN(drop),
				       .walk = NEST_FN(walk),
				       .query = NEST_FN(query),
				       .pt_map = NEST_FN(pt_map),
				       .pt_unmap = NEST_FN(pt_unmap),
				       .pt_protect = NEST_FN(pt_protect),
				       .map_page = NEST_FN(map_page),
				       .unmap_page = NEST_FN(unmap_page),
				       .translate = NEST_FN(translate),
				       .cursor_map = NEST_FN(cursor_map),
				       .cursor_unmap = NEST_FN(cursor_unmap),
				       .cursor_translate = NEST_FN(cursor_translate),
				       .fill_frames = NEST_FN(fill_frames) };

#undef NEST_FN
#endif

#undef NEST_NAME
#undef NEST_DESC
