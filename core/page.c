/* SPDX-License-Identifier: MIT */
/*
 * One page a call, cursors, and lists of frames (nest/page.h): the checks that every build makes.
 * The rest is in core/fast.h, or, in a build for size, the calls of nest/pt.h.
 */
#include "core/operate.h"

int nest_pt_map_page(struct nest_pt *pt, nest_ia_t ia, nest_pa_t pa, nest_attr_t attr)
{
	if (!nest_is_live(pt))
		return NEST_E_INVAL;
#if NEST_SMALL
	return nest_map_any(pt, ia, pa, nest_table_size(pt), attr, 0, NULL);
#else
	return pt->format->map_page(pt, ia, pa, attr);
#endif
}

int nest_pt_unmap_page(struct nest_pt *pt, nest_ia_t ia)
{
	if (!nest_is_live(pt))
		return NEST_E_INVAL;
#if NEST_SMALL
	return nest_unmap_any(pt, ia, nest_table_size(pt), 0, NULL);
#else
	return pt->format->unmap_page(pt, ia);
#endif
}

int nest_pt_protect_page(struct nest_pt *pt, nest_ia_t ia, nest_attr_t set, nest_attr_t clear)
{
	if (!nest_is_live(pt))
		return NEST_E_INVAL;
	return nest_ops(pt)->pt_protect(pt, ia, nest_table_size(pt), set, clear, 0, NULL);
}

int nest_pt_translate(const struct nest_pt *pt, nest_ia_t ia, nest_pa_t *pa, nest_attr_t *attr)
{
	if (!nest_is_live(pt) || !pa || !attr)
		return NEST_E_INVAL;
#if NEST_SMALL
	{
		struct nest_mapping m;
		int err = nest_query_any(pt, ia, &m);

		if (err == NEST_OK) {
			*pa = m.pa;
			*attr = m.attr;
		}
		return err;
	}
#else
	return pt->format->translate(pt, ia, pa, attr);
#endif
}

/* ---- Cursors ---- */

void nest_cursor_init(struct nest_cursor *c, struct nest_pt *pt, nest_ia_t ia)
{
	if (c)
		*c = (struct nest_cursor){ .pt = pt, .ia = ia };
}

void nest_cursor_seek(struct nest_cursor *c, nest_ia_t ia)
{
	if (c) {
		c->ia = ia;
		c->left = 0;
		c->past = false;
	}
}

#if NEST_SMALL
/* It knows no entry. */
static int step(struct nest_cursor *c, int err)
{
	if (err == NEST_OK) {
		c->ia += nest_table_size(c->pt);
		c->past = !c->ia;
	}
	return err;
}
#endif

int nest_cursor_map(struct nest_cursor *c, nest_pa_t pa, nest_attr_t attr)
{
	if (!c || !nest_is_live(c->pt))
		return NEST_E_INVAL;
#if NEST_SMALL
	return c->past ? NEST_E_RANGE : step(c, nest_pt_map_page(c->pt, c->ia, pa, attr));
#else
	return c->pt->format->cursor_map(c, pa, attr);
#endif
}

int nest_cursor_unmap(struct nest_cursor *c, struct nest_gather *gather)
{
	if (!c || !nest_is_live(c->pt))
		return NEST_E_INVAL;
#if NEST_SMALL
	return c->past ? NEST_E_RANGE
		       : step(c, nest_unmap_any(c->pt, c->ia, nest_table_size(c->pt), 0, gather));
#else
	return c->pt->format->cursor_unmap(c, gather);
#endif
}

int nest_cursor_translate(struct nest_cursor *c, nest_pa_t *pa, nest_attr_t *attr)
{
	if (!c || !nest_is_live(c->pt) || !pa || !attr)
		return NEST_E_INVAL;
#if NEST_SMALL
	return c->past ? NEST_E_RANGE : step(c, nest_pt_translate(c->pt, c->ia, pa, attr));
#else
	return c->pt->format->cursor_translate(c, pa, attr);
#endif
}
