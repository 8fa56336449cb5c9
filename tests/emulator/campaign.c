/* SPDX-License-Identifier: MIT */
/*
 * The random campaign: calls of every kind on random ranges, alone or several to a gather, some of
 * them with an allocation that fails; before and after each, the CPU is asked about pages that it
 * changes and pages that it must not.
 */
#include "model.h"

static unsigned random_below(unsigned n)
{
	return (unsigned)(walker_random() % n);
}

/* Accesses to cells of the range and next to it. */
static void look_at(const struct range *r, unsigned times)
{
	struct window *w = r->window;

	for (unsigned i = 0; i < times; i++) {
		unsigned cell = r->first + random_below(r->count);

		switch (random_below(4)) {
		case 0: /* the ends, and what lies just outside */
			cell = r->first + r->count - random_below(2);
			break;
		case 1:
			cell = r->first - (r->first ? random_below(2) : 0);
			break;
		default:
			break;
		}
		probe_random(w, cell < w->cells ? cell : w->cells - 1);
	}
}

/* Levels that pages of `size` bytes in this window may be cut down to, at a bearable cost. */
static unsigned lowest_level(const struct range *r)
{
	return r->window->level > 0 && r->count <= 4 ? r->window->level - 1 : r->window->level;
}

static void change_rights(const struct range *r, struct nest_gather *gather)
{
	const struct walker_config *c = model.config;
	nest_attr_t ad = 0;

	/* Where software keeps accessed and dirty, it sets them now and then. */
	if (c->sw_ad && random_below(4))
		ad = c->sw_ad & (random_below(2) ? NEST_ACCESSED : NEST_ACCESSED | NEST_DIRTY);
	model_protect(r, random_below(c->nr_attrs), ad, gather);
}

static void change_one(const struct range *r, struct nest_gather *gather)
{
	const struct walker_config *c = model.config;
	uint32_t flags = 0;

	switch (random_below(16)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		flags = random_below(3) == 0 ? 0
			: random_below(4)    ? NEST_MAP_REPLACE
					     : NEST_MAP_SKIP_MAPPED;
		if (random_below(4) == 0)
			flags |= NEST_MAP_MAX_LEVEL(lowest_level(r));
		model_map(r, model_frame(range_offset(r), range_size(r)), random_below(c->nr_attrs),
			  flags, gather);
		break;
	case 5:
	case 6:
	case 7:
		model_unmap(r, random_below(4) ? NEST_SKIP_HOLES : 0, gather);
		break;
	case 8:
	case 9:
	case 10:
		change_rights(r, gather);
		break;
	case 11:
		if (r->count <= 16)
			model_mark(r, walker_random() & NEST_MARK_MAX, gather);
		break;
	case 12:
		if (r->count <= 64 && (model.info.leaf_levels >> lowest_level(r) & 1))
			model_split(r, lowest_level(r), gather);
		break;
	case 13:
		/* Software's own bits would be lost for pages that had none. */
		if (!c->sw_ad)
			model_merge(r, gather);
		break;
	default:
		if (c->hw_ad && r->count <= model_harvest_limit(r->window))
			model_harvest(r, random_below(2) ? NEST_DIRTY & c->hw_ad : NEST_ACCESSED,
				      gather);
	}
}

void campaign(uint64_t operations, uint64_t probes)
{
	const uint64_t begin = walker_probes, each = probes / operations + 1;

	for (uint64_t n = 0; n < operations;) {
		unsigned batch = random_below(4) ? 1 : 1 + random_below(4);
		struct range r[4];
		struct nest_gather gather;

		nest_gather_init(&gather, &model.pt);
		for (unsigned i = 0; i < batch; i++) {
			r[i] = model_range();
			look_at(&r[i], (unsigned)each / 3 + 1);
		}
		for (unsigned i = 0; i < batch; i++, n++) {
			if (random_below(64) == 0)
				memory_fail_after(1 + random_below(4));
			change_one(&r[i], batch > 1 ? &gather : NULL);
			memory_fail_after(0);
		}
		nest_gather_sync(&gather);
		model_settled();
		for (unsigned i = 0; i < batch; i++) {
			look_at(&r[i], (unsigned)each / 2 + 1);
			model_query(r[i].window, r[i].first);
		}
	}
	/* Few accesses are left out for want of memory behind a page; make up for them. */
	while (walker_probes - begin < probes) {
		struct range r = model_range();

		look_at(&r, 16);
	}
}
