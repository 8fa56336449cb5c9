/* SPDX-License-Identifier: MIT */
/*
 * What a change leaves to be done, in this order: flush the TLBs, free tables, report removed
 * leaves.
 *
 * A gather that is full is synced early. So an item may be put in only after the store that makes
 * it true: a leaf is recorded when it is gone, a table when nothing points to it.
 */
#include "core/operate.h"

void nest_gather_init(struct nest_gather *g, struct nest_pt *pt)
{
	if (!g)
		return;
	g->pt = pt;
	g->release = NULL;
	g->release_ctx = NULL;
	g->nr_ranges = g->nr_items = 0;
	g->leaf_only = g->writes_only = true;
	g->all = false;
	g->level_mask = 0;
	g->limit = g->done = 0;
	g->run = NULL;
}

uint64_t nest_gather_done(const struct nest_gather *g)
{
	return g ? g->done : 0;
}

void nest_gather_on_release(struct nest_gather *g, nest_release_fn fn, void *ctx)
{
	if (!g)
		return;
	g->release = fn;
	g->release_ctx = ctx;
}

/* A debug build counts, in the table, the gathers that hold something. */
#ifdef NEST_DEBUG
enum { COUNTS = 1 };
#else
enum { COUNTS = 0 };
#endif

static bool is_empty(const struct nest_gather *g)
{
	return !g->nr_ranges && !g->nr_items;
}

/* Something is about to be put in. */
static void note_filled(struct nest_gather *g)
{
	if (COUNTS && is_empty(g))
		(void)__atomic_fetch_add(&g->pt->unsynced, 1, __ATOMIC_RELAXED);
}

/* All is about to be taken out. */
static void note_emptied(struct nest_gather *g)
{
	if (COUNTS && !is_empty(g))
		(void)__atomic_fetch_sub(&g->pt->unsynced, 1, __ATOMIC_RELAXED);
}

unsigned nest_pt_unsynced(const struct nest_pt *pt)
{
	return COUNTS && nest_is_live(pt) ? __atomic_load_n(&pt->unsynced, __ATOMIC_RELAXED) : 0;
}

/* Flush [first, last], unless it is all; *what has the rest. */
NEST_APART static void flush(struct nest_pt *pt, uint64_t first, uint64_t last,
			     struct nest_flush *what)
{
	what->vmid = pt->vmid;
	what->pt = pt;
	if (!what->all) {
		what->ia = nest_off_to_ia(pt, first);
		what->size = last - first + 1;
	}
	pt->host->tlb_flush(pt->ctx, what);
}

/* A table that goes takes entries of every level below with it. */
static uint8_t levels_up_to(unsigned level)
{
	return (uint8_t)((2u << level) - 1);
}

void nest_flush_now(struct nest_pt *pt, uint64_t first, uint64_t last, unsigned level,
		    bool leaf_only)
{
	struct nest_flush what = { .level_mask = leaf_only ? 1u << level : levels_up_to(level),
				   .leaf_only = leaf_only };

	flush(pt, first, last, &what);
}

static bool touch(uint64_t a_first, uint64_t a_last, uint64_t b_first, uint64_t b_last)
{
	return a_first <= b_last + 1 && b_first <= a_last + 1;
}

void nest_gather_range(struct nest_gather *g, uint64_t first, uint64_t last, unsigned level)
{
	unsigned i = 0;

	note_filled(g);
	g->level_mask |= (uint8_t)(1u << level);
	while (i < g->nr_ranges && !touch(g->range[i].first, g->range[i].last, first, last))
		i++;
	if (i == NEST_GATHER_RANGES)
		i--;
	if (i == g->nr_ranges) {
		g->range[i].first = first;
		g->range[i].last = last;
		g->nr_ranges++;
		return;
	}
	if (first < g->range[i].first)
		g->range[i].first = first;
	if (last > g->range[i].last)
		g->range[i].last = last;
	/* A hull over both halves of a signed address space is no range of addresses. */
	if (nest_off_to_ia(g->pt, g->range[i].last) - nest_off_to_ia(g->pt, g->range[i].first) !=
	    g->range[i].last - g->range[i].first)
		g->all = true;
}

static void report(struct nest_gather *g, unsigned level, uint64_t off, nest_pa_t pa,
		   nest_attr_t attr, bool contiguous)
{
	struct nest_mapping m = { .ia = nest_off_to_ia(g->pt, off), .pa = pa, .attr = attr };

	m.size = nest_span_mask(nest_fmt_of(g->pt), level) + 1;
	m.level = level;
	m.contiguous = contiguous;
	m.kind = NEST_PTE_LEAF;
	g->release(g->release_ctx, &m);
}

/* What becomes of an item after the flush. */
enum { REPORT, FREE, FREE_BUT_KEEP };

static struct nest_gather_item *new_item(struct nest_gather *g)
{
	if (g->nr_items == NEST_GATHER_ITEMS)
		nest_gather_sync(g);
	note_filled(g);
	return &g->item[g->nr_items++];
}

void nest_gather_leaves(struct nest_gather *g, unsigned level, uint64_t off, uint64_t size,
			nest_pa_t pa, nest_attr_t attr, bool contiguous)
{
	struct nest_gather_item *item = g->nr_items ? &g->item[g->nr_items - 1u] : NULL;

	if (!item || item->kind != REPORT || item->level != level || item->attr != attr ||
	    item->contiguous != contiguous || item->ia + item->size != off ||
	    item->pa + item->size != pa) {
		item = new_item(g);
		*item = (struct nest_gather_item){ .ia = off, .pa = pa, .attr = attr };
		item->level = (uint8_t)level;
		item->kind = REPORT;
		item->contiguous = contiguous;
	}
	item->size += size;
	nest_gather_range(g, off, off + size - 1, level);
}

/* Is there anything that may not be put where something else may still be in a TLB? */
static bool has_breaks(const struct nest_fmt *f, uint32_t features)
{
	nest_pte_t block;

	if (!NEST_HAS_BREAK)
		return false;
	return nest_frames_break(f, features) ||
	       (f->leaf(features, 1, NEST_R, &block) == NEST_OK &&
		nest_needs_break(f, features, 1, f->table(features, NEST_BIT(f->page_shift)),
				 block));
}

void nest_gather_settle(struct nest_gather *g, uint64_t first, uint64_t last)
{
	bool held = g->all || (NEST_SMALL && g->nr_ranges);

	for (unsigned i = 0; !NEST_SMALL && i < g->nr_ranges; i++)
		held |= g->range[i].first <= last && first <= g->range[i].last;
	if (held && has_breaks(nest_fmt_of(g->pt), g->pt->features))
		nest_gather_sync(g);
}

void nest_report_lost(struct nest_gather *g, const struct nest_gather_item *item, unsigned level,
		      uint64_t off, nest_pte_t e)
{
	nest_pa_t pa = nest_entry_pa(g->pt, level, off, e);

	if (item->kind == FREE || pa - off != item->size)
		report(g, level, off, pa, nest_leaf_attr(g->pt, level, e),
		       nest_is_contig(g->pt, level, e));
}

static void report_leaves(struct nest_gather *g, const struct nest_gather_item *item)
{
	uint64_t step = nest_span_mask(nest_fmt_of(g->pt), item->level) + 1;

	for (uint64_t d = 0; d < item->size; d += step)
		report(g, item->level, item->ia + d, item->pa + d, item->attr, item->contiguous);
}

void nest_gather_table(struct nest_gather *g, nest_pa_t table, unsigned level, uint64_t off,
		       const uint64_t *keep)
{
	struct nest_gather_item *item;

	/* No cursor may go on in it. */
	g->pt->generation++;
	/* Its range is in, and may be flushed here already. */
	g->leaf_only = false;
	g->level_mask |= levels_up_to(level + 1);
	item = new_item(g);
	*item = (struct nest_gather_item){ .ia = off, .pa = table, .size = keep ? *keep : 0 };
	item->level = (uint8_t)level;
	item->kind = keep ? FREE_BUT_KEEP : FREE;
}

void nest_gather_sync(struct nest_gather *g)
{
	struct nest_flush what;

	if (!g || !g->pt)
		return;
	note_emptied(g);
	what = (struct nest_flush){ .level_mask = g->level_mask,
				    .leaf_only = g->leaf_only,
				    .all = g->all,
				    .writes_only = g->writes_only };
	for (unsigned i = 0; i < (g->all ? 1u : g->nr_ranges); i++)
		flush(g->pt, g->range[i].first, g->range[i].last, &what);
	for (unsigned i = 0; i < g->nr_items; i++) {
		if (g->item[i].kind == REPORT)
			report_leaves(g, &g->item[i]);
		else if (NEST_ENTRYWISE) /* nothing is below it: it was empty, or has been folded */
			nest_free_table(g->pt, g->item[i].pa, g->item[i].level);
		else
			nest_ops(g->pt)->drop(g->pt, g, &g->item[i], g->item[i].pa,
					      g->item[i].level, g->item[i].ia);
	}
	g->nr_ranges = g->nr_items = 0;
	g->leaf_only = g->writes_only = true;
	g->all = false;
	g->level_mask = 0;
}
