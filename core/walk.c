/* SPDX-License-Identifier: MIT */
/*
 * Walks over a range, in order, and what is built on them: statistics.
 *
 * A walk reads each entry once and goes down into every table of the range; a contiguous group
 * counts as one page.
 */
#include "core/operate.h"
#include "core/query.h"

int nest_walk_range(const struct nest_pt *pt, uint64_t first, uint64_t last, uint32_t flags,
		    nest_visit_fn fn, void *ctx, uint64_t *stopped)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const nest_pte_t *table[NEST_MAX_LEVELS];
	uint64_t off = first, stop, seen = 0;
	unsigned level = pt->top, tries = 0;
	/* After a new attempt, the visitor knows the tables above this level. */
	unsigned known = pt->top;

	table[level] = nest_va(pt, pt->root);
	for (;; off = stop + 1) {
		uint64_t i = nest_index(f, pt, level, off);
		nest_pte_t e = nest_load(&table[level][i]);
		struct nest_mapping m;
		int ret = 0;

		if (!fn && seen == *(const uint64_t *)ctx) {
			*stopped = off - 1;
			return NEST_E_AGAIN;
		}
		if (nest_is_busy(f, pt, level, e)) {
			if (++tries == NEST_TRIES)
				return NEST_E_BUSY;
			nest_relax(pt);
			known = level;
			level = pt->top;
			stop = off - 1;
			continue;
		}
		(void)nest_describe(f, pt, level, off, &table[level][i], e, &m);
		stop = off | (m.size - 1);
		m.ia = nest_off_to_ia(pt, off & ~(m.size - 1));
		if (m.kind == NEST_PTE_LEAF) {
			m.pa &= ~(m.size - 1);
			ret = fn ? fn(ctx, &m) : 0;
		} else if (m.kind == NEST_PTE_MARK) {
			ret = flags & NEST_WALK_MARKS ? fn(ctx, &m) : 0;
		} else if (m.kind == NEST_PTE_TABLE) {
			m.pa = f->table_pa(e);
			ret = (flags & NEST_WALK_TABLES) && level <= known ? fn(ctx, &m) : 0;
			table[level - 1] = nest_va(pt, m.pa);
		}
		if (ret)
			return ret;
		if (m.kind == NEST_PTE_TABLE) {
			level--;
			stop = off - 1;
			continue;
		}
		if (stop >= last)
			return NEST_OK;
		seen++;
		tries = 0;
		known = pt->top;
		while (level < pt->top && stop == nest_table_last(f, pt, level, off))
			level++;
	}
}

static int count(void *ctx, const struct nest_mapping *m)
{
	struct nest_pt_stats *s = ctx;

	if (m->kind == NEST_PTE_MARK) {
		s->marks++;
		return 0;
	}
	s->mapped += m->size;
	s->leaves[m->level]++;
	if (m->contiguous)
		s->contiguous[m->level]++;
	return 0;
}

int nest_pt_stats(const struct nest_pt *pt, struct nest_pt_stats *out)
{
	if (!nest_is_live(pt) || !out)
		return NEST_E_INVAL;
	*out = (struct nest_pt_stats){ .tables = __atomic_load_n(&pt->nr_tables,
								 __ATOMIC_RELAXED) };
	out->table_bytes = (out->tables - 1) * nest_table_size(pt) + nest_pt_root_size(pt);
	(void)nest_walk_range(pt, 0, ((uint64_t)1 << pt->ia_bits) - 1, NEST_WALK_MARKS, count, out,
			      NULL);
	/* A group was one visit. */
	for (unsigned l = 0; l <= pt->top; l++) {
		uint64_t groups = out->contiguous[l];
		unsigned cs = nest_contig_shift(nest_fmt_of(pt), pt->features, l);

		out->contiguous[l] = groups << cs;
		out->leaves[l] += out->contiguous[l] - groups;
	}
	return NEST_OK;
}
