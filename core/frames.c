/* SPDX-License-Identifier: MIT */
/*
 * Pages whose frames are scattered: one descent a table.
 *
 * The first pass reads: it finds every reason to refuse and counts the tables that are missing. The
 * second stores, and cannot fail, unless in shared mode another CPU changes the same pages
 * meanwhile.
 */
#include "core/bulk.h"
#include "core/operate.h"

struct list {
	struct nest_pt *pt;
	struct nest_gather *gather;
	const nest_pa_t *frames;
	uint64_t first, last; /* offsets */
	nest_pte_t proto;
	nest_attr_t attr;
	uint32_t flags;
};

static const struct nest_fmt *fmt(const struct list *l)
{
	return nest_fmt_of(l->pt);
}

/* The frames for the pages from `off` on, and how many up to `stop`. */
static const nest_pa_t *part(const struct list *l, uint64_t off, uint64_t stop, uint64_t *n)
{
	*n = ((stop - off) >> fmt(l)->page_shift) + 1;
	return &l->frames[(off - l->first) >> fmt(l)->page_shift];
}

static bool has_frames(const nest_pa_t *frames, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++) {
		if (frames[k] != NEST_PA_NONE)
			return true;
	}
	return false;
}

static int check_frames(const struct list *l)
{
	const struct nest_pt *pt = l->pt;
	const uint64_t page = nest_table_size(pt);
	uint64_t n;
	const nest_pa_t *frames = part(l, l->first, l->last, &n);

	for (uint64_t k = 0; k < n; k++) {
		if (frames[k] == NEST_PA_NONE)
			continue;
		if (frames[k] & (page - 1))
			return NEST_E_ALIGN;
		if (frames[k] >> pt->oa_bits)
			return NEST_E_RANGE;
		if (pt->host->allow && !pt->host->allow(pt->ctx, frames[k], page, l->attr))
			return NEST_E_DENIED;
	}
	return NEST_OK;
}

/* May a page be mapped over e, an entry of `level` that is no pointer? */
static int check_entry(const struct list *l, unsigned level, nest_pte_t e)
{
	const enum nest_pte_kind kind = nest_kind(fmt(l), l->pt, level, e);

	if (kind == NEST_PTE_LEAF)
		return l->flags & NEST_MAP_SKIP_MAPPED ? NEST_OK : NEST_E_MAPPED;
	if (nest_is_shared(l->pt) && nest_is_busy(fmt(l), l->pt, level, e))
		return NEST_E_BUSY;
	return kind == NEST_PTE_MARK && (l->flags & NEST_MAP_KEEP_MARKS) ? NEST_E_MAPPED : NEST_OK;
}

/* The same for n entries of level 0; most of them hold nothing. */
static int check_pages(const struct list *l, const nest_pte_t *t, const nest_pa_t *frames,
		       uint64_t n)
{
	const nest_pte_t absent = l->pt->absent[0];
	int err = NEST_OK;

	for (uint64_t k = 0; k < n && !err; k++) {
		const nest_pte_t e = nest_load(&t[k]);

		if (e != absent && frames[k] != NEST_PA_NONE)
			err = check_entry(l, 0, e);
	}
	return err;
}

/* How far does the entry of `level` that holds `off` reach, or the table of pages? */
static uint64_t reach(const struct list *l, unsigned level, uint64_t off)
{
	const uint64_t end = level ? off | nest_span_mask(fmt(l), level)
				   : nest_table_last(fmt(l), l->pt, 0, off);

	return end < l->last ? end : l->last;
}

/* The first pass. *need: tables. */
static int look(const struct list *l, uint64_t *need)
{
	uint64_t off = l->first, stop, n;
	int err = NEST_OK;

	*need = 0;
	for (;; off = stop + 1) {
		nest_pte_t *p, e;
		unsigned level = nest_walk_to(fmt(l), l->pt, off, 0, &p, &e);
		const nest_pa_t *frames;

		stop = reach(l, level, off);
		frames = part(l, off, stop, &n);
		if (level)
			err = has_frames(frames, n) ? check_entry(l, level, e) : NEST_OK;
		else
			err = check_pages(l, p, frames, n);
		if (level && !fmt(l)->is_leaf(level, e) && has_frames(frames, n))
			*need += nest_tables_below(fmt(l), level, off, stop, 0);
		if (err || stop == l->last)
			return err;
	}
}

/* Link a new table in place of e at *p, of `level`, which is nothing, or a mark. */
static void open_entry(const struct list *l, struct nest_reserve *spare, const struct nest_at *at)
{
	struct nest_pt *pt = l->pt;
	const struct nest_fmt *f = fmt(l);
	const nest_pa_t table = nest_take(pt, spare);
	nest_pte_t *t = nest_va(pt, table);

	nest_fill_same(t, NEST_BIT(f->index_bits), nest_derive(pt, at->level - 1, at->e, 0));
	nest_sync_entries(pt, t, NEST_BIT(f->index_bits));
	(void)nest_link(l->gather, at, f->table(pt->features, table), true);
}

/* n pages from p on, in a table of level 0. */
static void put(const struct list *l, nest_pte_t *p, uint64_t off, const nest_pa_t *frames,
		uint64_t n)
{
	const struct nest_fmt *f = fmt(l);
	uint64_t run = 0;

	if (!has_frames(frames, n))
		return;
	for (uint64_t k = 0; k < n; k += run + 1) {
		for (run = 0; k + run < n && !((l->flags & NEST_MAP_SKIP_MAPPED) &&
					       f->is_leaf(0, nest_load(&p[k + run])));
		     run++)
			;
#if NEST_SMALL
		for (uint64_t j = k; j < k + run; j++) {
			if (frames[j] != NEST_PA_NONE)
				nest_store(&p[j], l->proto | f->pa_bits(0, frames[j]));
		}
#else
		l->pt->format->fill_frames(&p[k], &frames[k], run, l->proto);
#endif
	}
	nest_sync_entries(l->pt, p, n);
	if (nest_fresh_flush(f, l->pt->features))
		nest_gather_range(l->gather, off, off + (n << f->page_shift) - 1, 0);
}

/* The second pass. */
static void store(const struct list *l, struct nest_reserve *spare)
{
	uint64_t off = l->first, stop, n;

	for (;; off = stop + 1) {
		nest_pte_t *p, e;
		unsigned level = nest_walk_to(fmt(l), l->pt, off, 0, &p, &e);
		const nest_pa_t *frames;

		stop = reach(l, level, off);
		frames = part(l, off, stop, &n);
		if (level == 0) {
			put(l, p, off, frames, n);
		} else if (!fmt(l)->is_leaf(level, e) && has_frames(frames, n)) {
			open_entry(
				l, spare,
				&(struct nest_at){
					.t = p, .off = off, .stop = stop, .e = e, .level = level });
			stop = off - 1;
			continue;
		}
		if (stop == l->last)
			return;
	}
}

/* ---- In shared mode ---- */

/* What was invalid until now, an entry of `level`, may be in a TLB as such. */
static void gather_fresh(const struct list *l, unsigned level, uint64_t off)
{
	const uint64_t mask = nest_span_mask(fmt(l), level);

	if (!nest_fresh_flush(fmt(l), l->pt->features))
		return;
	if (level || !nest_fresh_is_leaf(fmt(l), l->pt))
		l->gather->leaf_only = false;
	nest_gather_range(l->gather, off & ~mask, off | mask,
			  nest_cached_level(fmt(l), l->pt->features, level));
}

/* Link a table in place of e at *p, of `level`, if that is still there. NEST_E_NOMEM. */
static int link_shared(const struct list *l, struct nest_reserve *spare, unsigned level,
		       uint64_t off, nest_pte_t *p, nest_pte_t e)
{
	struct nest_pt *pt = l->pt;
	const uint64_t n = NEST_BIT(fmt(l)->index_bits);
	nest_pa_t table;
	nest_pte_t *t;
	int err = NEST_OK;

	/* Another CPU may have taken out a table that was there when they were counted. */
	if (!spare->count)
		err = nest_prepare(pt, spare, 1);
	if (err)
		return err;
	table = nest_take(pt, spare);
	t = nest_va(pt, table);
	nest_fill_same(t, n, nest_derive(pt, level - 1, e, 0));
	nest_sync_entries(pt, t, n);
	if (!nest_cas(p, &e, fmt(l)->table(pt->features, table))) {
		nest_put(pt, spare, table);
		return NEST_OK;
	}
	nest_sync_entries(pt, p, 1);
	gather_fresh(l, level, off);
	return NEST_OK;
}

/* Map one page. NEST_E_MAPPED, NEST_E_NOMEM: another CPU has been there since the first pass. */
static int put_shared(const struct list *l, struct nest_reserve *spare, uint64_t off, nest_pa_t pa)
{
	struct nest_pt *pt = l->pt;
	int err = NEST_E_BUSY;

	for (unsigned tries = 0; tries < NEST_TRIES && err == NEST_E_BUSY; tries++) {
		nest_pte_t *p, e;
		const unsigned level = nest_walk_to(fmt(l), pt, off, 0, &p, &e);

		err = check_entry(l, level, e);
		if (err == NEST_E_BUSY)
			nest_relax(pt);
		/* It is there, and stays. */
		if (err || fmt(l)->is_leaf(level, e))
			continue;
		if (level) {
			err = link_shared(l, spare, level, off, p, e);
			err = err ? err : NEST_E_BUSY;
		} else if (nest_cas(p, &e, l->proto | fmt(l)->pa_bits(0, pa))) {
			nest_sync_entries(pt, p, 1);
			gather_fresh(l, 0, off);
		} else {
			err = NEST_E_BUSY;
		}
	}
	return err;
}

static int store_shared(const struct list *l, struct nest_reserve *spare)
{
	uint64_t n;
	const nest_pa_t *frames = part(l, l->first, l->last, &n);
	int err = NEST_OK;

	for (uint64_t k = 0; k < n && !err; k++) {
		if (frames[k] != NEST_PA_NONE)
			err = put_shared(l, spare, l->first + (k << fmt(l)->page_shift), frames[k]);
	}
	return err;
}

static int map_list(struct list *l)
{
	const struct nest_request range = { .first = l->first, .last = l->last };
	struct nest_reserve spare;
	uint64_t need;
	int err = look(l, &need);

	if (!err && nest_range_is_borrowed(l->pt, &range))
		err = NEST_E_DENIED;
	if (!err)
		err = nest_prepare(l->pt, &spare, need);
	if (err)
		return err;
	if (nest_is_shared(l->pt)) {
		err = store_shared(l, &spare);
	} else {
		nest_gather_settle(l->gather, l->first, l->last);
		store(l, &spare);
	}
	nest_unprepare(l->pt, &spare);
	return err;
}

int nest_pt_map_frames(struct nest_pt *pt, nest_ia_t ia, const nest_pa_t *frames, size_t n,
		       nest_attr_t attr, uint32_t flags, struct nest_gather *gather)
{
	const uint32_t how = flags & (NEST_MAP_SKIP_MAPPED | NEST_MAP_KEEP_MARKS);
	struct list l = {
		.pt = pt, .gather = gather, .frames = frames, .attr = attr, .flags = how
	};
	struct nest_gather own;
	int err;

	if (!nest_is_live(pt) || !frames || (gather && gather->pt != pt) ||
	    (flags & ~(how | NEST_MAP_NO_HUGE)) || (how & (how - 1)))
		return NEST_E_INVAL;
	if (n > ~(uint64_t)0 >> fmt(&l)->page_shift)
		return NEST_E_RANGE;
	err = nest_range(pt, ia, (uint64_t)n << fmt(&l)->page_shift, &l.first, &l.last);
	if (!err)
		err = nest_check_attr(pt, attr);
	if (!err)
		err = nest_build(pt, 0, 0, attr, &l.proto);
	if (!err)
		err = check_frames(&l);
	if (err)
		return err;
	if (!gather) {
		nest_gather_init(&own, pt);
		l.gather = &own;
	}
	err = map_list(&l);
	l.gather->writes_only = false;
	if (!gather || nest_is_shared(pt))
		nest_gather_sync(l.gather);
	return err;
}
