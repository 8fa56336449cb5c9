/* SPDX-License-Identifier: MIT */
/*
 * The suites that every machine runs in each of its configurations; walker.h tells how they, the
 * arrays of model.h and the ports belong together.
 */
#include <string.h>

#include "model.h"

/* Every access in every mode to a cell's byte offset. */
static void probe_all(struct window *w, unsigned cell, uint64_t offset)
{
	for (unsigned mode = 0; mode < WALKER_MODES; mode++) {
		for (unsigned access = 0; access < WALKER_ACCESSES; access++)
			probe_cell(w, cell, offset, (enum walker_access)access,
				   (enum walker_mode)mode);
	}
}

/* The cell's first and last words, and one between them. */
static void probe_ends(struct window *w, unsigned cell)
{
	uint64_t span = (uint64_t)1 << w->shift;

	probe_all(w, cell, 0);
	probe_all(w, cell, span - 16);
	probe_random(w, cell);
}

/* The cells of a range (a few of them, when it is long) and both of its neighbours. */
static void probe_range(const struct range *r)
{
	struct window *w = r->window;
	unsigned step = r->count > 64 ? r->count / 16 : 1;

	if (r->first)
		probe_ends(w, r->first - 1);
	for (unsigned i = 0; i < r->count; i += step)
		probe_ends(w, r->first + i);
	probe_ends(w, r->first + r->count - 1);
	if (r->first + r->count < w->cells)
		probe_ends(w, r->first + r->count);
}

static void empty(const struct range *r)
{
	model_unmap(r, NEST_SKIP_HOLES, NULL);
	model_settled();
}

static struct range whole_window(unsigned i)
{
	return (struct range){ &model.window[i], 0, model.window[i].cells };
}

/*
 * Cells that make up one page (or, `group`, one contiguous group) of `level`, in the first window
 * that has them. False: there is no such page, or no such window.
 */
static bool page_of_level(unsigned level, bool group, struct range *r)
{
	unsigned shift = nest_pt_shift(&model.pt, level) +
			 (group ? model.info.contig_shift[level] : 0);

	if (!(model.info.leaf_levels >> level & 1) || (group && !model.info.contig_shift[level]))
		return false;
	for (unsigned i = 0; i < model.windows; i++) {
		struct window *w = &model.window[i];
		uint64_t mask = ((uint64_t)1 << shift) - 1;
		uint64_t first = (w->first + mask) & ~mask;

		if (w->shift > shift || w->level > level ||
		    first + mask - w->first >= (uint64_t)w->cells << w->shift)
			continue;
		*r = (struct range){ w, (unsigned)((first - w->first) >> w->shift),
				     1u << (shift - w->shift) };
		return true;
	}
	return false;
}

/* An address for one page of that size that has memory behind it. */
static nest_pa_t frame_for(uint64_t size)
{
	nest_pa_t pa = model.frames & ~(size - 1);

	if (pa < model.frames && size < model.frame_size)
		pa += size;
	return pa;
}

/* How many tables one page of `level` takes, besides those that lead to the port's area too. */
static unsigned tables_for(const struct range *r, unsigned level)
{
	uint64_t offset = range_offset(r), home_last = model.home + model.config->home_size - 1;
	unsigned n = 0;

	for (unsigned l = level + 1; l <= model.top; l++) {
		unsigned shift = nest_pt_shift(&model.pt, l);

		n += !model.config->home_size || offset >> shift < model.home >> shift ||
		     offset >> shift > home_last >> shift;
	}
	return n;
}

/* (a) Every page size, right and memory type, each mapped by as many tables as that takes. */
static void sizes(void)
{
	const struct walker_config *c = model.config;

	walker_suite("sizes, rights, types");
	for (unsigned level = 0; level <= model.top; level++) {
		for (unsigned group = 0; group < 2; group++) {
			struct range r;

			if (!page_of_level(level, group, &r))
				continue;
			for (unsigned attr = 0; attr < c->nr_attrs; attr++) {
				uint64_t before = memory_outstanding();

				model_map(&r, frame_for(range_size(&r)), attr,
					  NEST_MAP_MAX_LEVEL(level), NULL);
				CHECK(memory_outstanding() - before == tables_for(&r, level),
				      "a page of level %u took %lu tables, not %u", level,
				      memory_outstanding() - before, tables_for(&r, level));
				if (c->sw_ad)
					model_protect(&r, attr, c->sw_ad, NULL);
				probe_range(&r);
				model_query(r.window, r.first);
				empty(&r);
				CHECK(memory_outstanding() == before, "tables of level %u remain",
				      level);
			}
		}
	}
}

/* Map, accessed and dirty where software has to say so. */
static void map_usable(const struct range *r, nest_pa_t pa, unsigned attr, uint32_t flags)
{
	model_map(r, pa, attr, flags, NULL);
	if (model.config->sw_ad)
		model_protect(r, attr, model.config->sw_ad, NULL);
}

/* Every bit of an output address, and the memory type, where the CPU tells what it translates to.
 */
static void outputs(void)
{
	const struct walker_config *c = model.config;
	struct range r = { &model.window[0], 0, 1 };
	nest_ia_t ia = model_ia(r.window->first);
	nest_pa_t pa;
	nest_attr_t type;

	walker_suite("output addresses");
	for (unsigned bit = model.info.page_shift; bit < c->oa_bits; bit++) {
		nest_pa_t want = (nest_pa_t)1 << bit;

		map_usable(&r, want, 0, 0);
		if (port_translate(ia + 8, WALKER_READ, &pa, &type))
			CHECK(pa == want + 8, "%lx translates to %lx, not %lx", ia + 8, pa,
			      want + 8);
		empty(&r);
	}
	for (unsigned attr = 0; attr < c->nr_attrs; attr++) {
		nest_attr_t want = c->attrs[attr].attr & NEST_MT_MASK;

		if (!(c->attrs[attr].allow[WALKER_PRIVILEGED] & WALKER_CAN(WALKER_READ)))
			continue;
		map_usable(&r, model.frames, attr, 0);
		if (port_translate(ia, WALKER_READ, &pa, &type))
			CHECK(pa == model.frames && type == want,
			      "memory type %lx at %lx is taken for %lx", (uint64_t)want, ia,
			      (uint64_t)type);
		empty(&r);
	}
}

/*
 * (b) Both ends of the address space, and both sides of every boundary of tables, by ranges that
 * cross it.
 */
static void boundaries(void)
{
	walker_suite("boundaries");
	for (unsigned i = 0; i < model.windows; i++) {
		struct window *w = &model.window[i];
		struct range all = whole_window(i);
		/* Cells of larger and larger pages, then the window's ends. */
		for (unsigned size = 1; size <= w->cells / 2; size *= 2) {
			struct range r = { w, w->cells / 2 - size, 2 * size };

			model_map(&r, model_frame(range_offset(&r), range_size(&r)), 0, 0, NULL);
			probe_range(&r);
			r.count = size;
			empty(&r);
			probe_range(&r);
			empty(&all);
		}
		for (unsigned end = 0; end < 2; end++) {
			struct range r = { w, end ? w->cells - 1 : 0, 1 };

			model_map(&r, model_frame(range_offset(&r), range_size(&r)), 0, 0, NULL);
			probe_range(&r);
			empty(&r);
			probe_range(&r);
		}
		/* Across the boundary in the middle with each of its pages apart. */
		for (unsigned n = 0; n < 2; n++) {
			struct range r = { w, w->cells / 2 - 1 + n, 1 };

			model_map(&r, model_frame(range_offset(&r), range_size(&r)), 0, 0, NULL);
			probe_range(&r);
		}
		empty(&all);
	}
}

/* A step of changes(): what is done to part of a page that is mapped and warm. */
enum step {
	STEP_UNMAP,
	STEP_PROTECT,
	STEP_REMAP,
	STEP_REMAP_SAME,
	STEP_SPLIT,
	STEP_SPLIT_MERGE,
	STEP_MAP_AGAIN,
	STEP_UNMAP_ALL,
	STEP_TYPE,
	STEP_MERGE_ASKEW,
	STEPS
};

static const char *const step_names[] = { "unmap",
					  "protect",
					  "remap",
					  "remap to itself",
					  "split",
					  "split and merge",
					  "unmap and map with one gather",
					  "unmap the whole",
					  "change of type",
					  "merge of pages out of step with a block" };

/* The last attribute that differs from the first in its memory type, or not. */
static unsigned other_attr(bool type)
{
	const struct walker_config *c = model.config;

	for (unsigned i = c->nr_attrs; i-- > 1;) {
		if (((c->attrs[i].attr ^ c->attrs[0].attr) & NEST_MT_MASK ? 1 : 0) == type)
			return i;
	}
	return 0;
}

static void take_step(enum step step, const struct range *part, const struct range *whole)
{
	struct range head = *part;
	struct nest_gather gather;
	nest_pa_t pa = model_frame(range_offset(part), range_size(part));

	nest_gather_init(&gather, &model.pt);
	switch (step) {
	case STEP_UNMAP:
		model_unmap(part, 0, &gather);
		break;
	case STEP_PROTECT:
		model_protect(part, other_attr(false), model.config->sw_ad, &gather);
		break;
	case STEP_TYPE:
		model_protect(part, other_attr(true), model.config->sw_ad, &gather);
		break;
	case STEP_REMAP:
		model_map(part, pa, 0, NEST_MAP_REPLACE, &gather);
		break;
	case STEP_REMAP_SAME:
		model_map(whole, whole->window->cell[whole->first].pa, 0, NEST_MAP_REPLACE,
			  &gather);
		break;
	case STEP_SPLIT:
		model_split(part, part->window->level, &gather);
		break;
	case STEP_SPLIT_MERGE:
		model_split(part, part->window->level, &gather);
		model_merge(whole, &gather);
		break;
	case STEP_MERGE_ASKEW:
		/* Consecutive frames, and no block may come of them. */
		if (whole->window->level || model.config->sw_ad)
			break;
		model_map(whole, frame_for(range_size(whole)) + model.page, 0,
			  NEST_MAP_REPLACE | NEST_MAP_NO_HUGE, &gather);
		nest_gather_sync(&gather);
		model_merge(whole, &gather);
		break;
	case STEP_MAP_AGAIN:
		model_unmap(part, 0, &gather);
		head.count = (part->count + 1) / 2;
		model_map(&head, pa, other_attr(false), 0, &gather);
		break;
	default:
		model_unmap(whole, 0, &gather);
	}
	nest_gather_sync(&gather);
	model_settled();
	if (model.config->sw_ad && step != STEP_UNMAP_ALL) {
		/* What is mapped anew is neither accessed nor dirty. */
		probe_range(part);
	}
}

/* (c) Changes to pages, blocks and groups that the TLB holds: the CPU sees them after the sync. */
static void changes(void)
{
	for (unsigned level = 0; level <= model.top; level++) {
		for (unsigned group = 0; group < 2; group++) {
			struct range whole, parts[4];

			if (!page_of_level(level, group, &whole))
				continue;
			walker_suite(group   ? "changes of a group"
				     : level ? "changes of a block"
					     : "changes of a page");
			parts[0] = whole;
			parts[1] = (struct range){ whole.window, whole.first,
						   (whole.count + 1) / 2 };
			parts[2] = (struct range){ whole.window, whole.first + whole.count / 3, 1 };
			parts[3] = (struct range){ whole.window, whole.first + whole.count - 1, 1 };
			for (unsigned step = 0; step < STEPS; step++) {
				for (unsigned i = 0; i < (whole.count > 1 ? 4 : 1); i++) {
					uint64_t before = walker_failures;

					/* Holes that the CPU may remember, then what replaces them.
					 */
					probe_range(&whole);
					model_map(&whole, frame_for(range_size(&whole)), 0,
						  NEST_MAP_MAX_LEVEL(level), NULL);
					probe_range(&whole);
					if (model.config->sw_ad)
						model_protect(&whole, 0, model.config->sw_ad, NULL);
					probe_range(&whole);
					probe_range(&parts[i]);
					take_step((enum step)step, &parts[i], &whole);
					probe_range(&parts[i]);
					probe_range(&whole);
					empty(&whole);
					probe_range(&parts[i]);
					if (walker_failures != before)
						print("(above: %s of part %u)\n", step_names[step],
						      i);
				}
			}
		}
	}
}

/* A fault must come of it, and end the walk at that level where the CPU tells. */
static void expect_level(nest_ia_t ia, enum walker_access access, unsigned level,
			 enum nest_fault_kind kind)
{
	struct walker_outcome out = { 0 };

	port_access(ia, access, WALKER_PRIVILEGED, 0, &out);
	CHECK(!out.done && out.fault.kind == fault_kind(kind) && !out.fault.on_table_walk,
	      "an access to %lx does not fault as it must", ia);
	CHECK(out.done || out.fault.level == NEST_FAULT_LEVEL_UNKNOWN || out.fault.level == level,
	      "a fault at %lx ends at level %u, not %u", ia, out.fault.level, level);
	CHECK(out.done || !out.fault.gva_valid || model.config->home_size || out.fault.gva == ia,
	      "a fault at %lx tells of the virtual address %lx", ia, out.fault.gva);
}

/* (d) Faults that the guest's own table walk takes. */
static void guest_walks(void)
{
	const struct walker_config *c = model.config;
	struct range r = { &model.window[0], 3, 1 };
	nest_ia_t ia = model_ia(range_offset(&r)), mask = ~(model.page - 1);
	unsigned readable = 0;

	for (unsigned i = 0; i < c->nr_attrs; i++) {
		if ((c->attrs[i].attr & (NEST_RWX | NEST_MT_MASK)) == (NEST_R | NEST_MT_WB))
			readable = i;
	}
	walker_suite("faults on table walks");
	for (unsigned access = WALKER_READ; access <= WALKER_WRITE; access++) {
		struct walker_outcome out = { 0 };
		nest_pa_t frame = frame_for(model.page);

		memset(walker_va(frame), 0, (size_t)model.page);
		map_usable(&r, frame, 0, NEST_MAP_NO_HUGE);
		if (!port_guest_walk(ia, frame, (enum walker_access)access, &out))
			break;
		CHECK(out.done, "a guest's walk of its table at %lx faults", ia);
		empty(&r);
		port_guest_walk(ia, NEST_PA_NONE, (enum walker_access)access, &out);
		CHECK(!out.done && out.fault.on_table_walk &&
			      out.fault.kind == NEST_FAULT_TRANSLATION &&
			      (out.fault.gpa & mask) == ia,
		      "a guest's walk of a table that is not mapped at %lx: done %u, kind %u at %lx",
		      ia, (unsigned)out.done, (unsigned)out.fault.kind, out.fault.gpa);
		if (!readable)
			continue;
		map_usable(&r, frame, readable, NEST_MAP_NO_HUGE);
		memset(walker_va(frame), 0, (size_t)model.page);
		port_guest_walk(ia, frame, (enum walker_access)access, &out);
		if (c->walk_writes)
			CHECK(!out.done && out.fault.on_table_walk &&
				      out.fault.kind == fault_kind(NEST_FAULT_PERMISSION) &&
				      (out.fault.gpa & mask) == ia,
			      "a guest's walk of a read-only table at %lx: done %u, kind %u at %lx",
			      ia, (unsigned)out.done, (unsigned)out.fault.kind, out.fault.gpa);
		else
			CHECK(out.done, "a guest's walk of a read-only table at %lx faults", ia);
		empty(&r);
	}
	empty(&r);
}

/* (d) Faults: how far the walk got, in holes next to a page and in the page itself. */
static void faults(void)
{
	const struct walker_config *c = model.config;
	unsigned forbidden = c->nr_attrs;
	struct range r = { &model.window[0], model.window[0].cells - 2, 1 };
	uint64_t offset = range_offset(&r);

	walker_suite("faults");
	model_map(&r, frame_for(model.page), 0, NEST_MAP_NO_HUGE, NULL);
	for (unsigned level = 0; level < model.top; level++) {
		uint64_t near = offset ^ ((uint64_t)1 << nest_pt_shift(&model.pt, level));

		expect_level(model_ia(near), WALKER_READ, level, NEST_FAULT_TRANSLATION);
		if (c->accesses >> WALKER_EXEC & 1)
			expect_level(model_ia(near), WALKER_EXEC, level, NEST_FAULT_TRANSLATION);
	}
	empty(&r);
	for (unsigned i = 0; i < c->nr_attrs; i++) {
		if (!(c->attrs[i].allow[WALKER_PRIVILEGED] & WALKER_CAN(WALKER_WRITE)))
			forbidden = i;
	}
	for (unsigned level = 0; level <= model.top && forbidden < c->nr_attrs; level++) {
		if (!page_of_level(level, false, &r))
			continue;
		map_usable(&r, frame_for(range_size(&r)), forbidden, NEST_MAP_MAX_LEVEL(level));
		expect_level(model_ia(range_offset(&r)), WALKER_WRITE, level,
			     NEST_FAULT_PERMISSION);
		empty(&r);
	}
	guest_walks();
}

/* (e) Accessed and dirty: set by hardware, harvested, cleared, and set again by a warm TLB. */
static void accessed_and_dirty(void)
{
	const struct walker_config *c = model.config;

	if (!c->hw_ad)
		return;
	walker_suite("accessed and dirty");
	for (unsigned level = 0; level <= model.top; level++) {
		for (unsigned group = 0; group < 2; group++) {
			struct range r, one;

			if (!page_of_level(level, group, &r) ||
			    r.count > model_harvest_limit(r.window))
				continue;
			one = r;
			one.count = 1;
			model_map(&r, frame_for(range_size(&r)), 0, NEST_MAP_MAX_LEVEL(level),
				  NULL);
			for (unsigned round = 0; round < 3; round++) {
				model_harvest(&r, NEST_ACCESSED, NULL);
				model_harvest(&r, NEST_DIRTY & c->hw_ad, NULL);
				probe_cell(r.window, r.first, 0, WALKER_READ, WALKER_PRIVILEGED);
				model_harvest(&r, NEST_DIRTY & c->hw_ad, NULL);
				model_harvest(&r, NEST_ACCESSED, NULL);
				probe_cell(r.window, r.first + r.count - 1, 8, WALKER_WRITE,
					   WALKER_PRIVILEGED);
				/* Of a part only: nothing of the rest is forgotten. */
				model_harvest(&one, NEST_DIRTY & c->hw_ad, NULL);
				model_harvest(&r, NEST_DIRTY & c->hw_ad, NULL);
			}
			empty(&r);
		}
	}
}

/* What was mapped as neither accessed nor dirty faults until software has set both. */
static void software_accessed_and_dirty(void)
{
	const struct walker_config *c = model.config;

	if (!c->sw_ad)
		return;
	walker_suite("accessed and dirty by software");
	for (unsigned level = 0; level <= model.top; level++) {
		struct range r;

		if (!page_of_level(level, false, &r))
			continue;
		model_map(&r, frame_for(range_size(&r)), 0, NEST_MAP_MAX_LEVEL(level), NULL);
		probe_range(&r);
		model_protect(&r, 0, NEST_ACCESSED & c->sw_ad, NULL);
		probe_range(&r);
		model_protect(&r, 0, c->sw_ad, NULL);
		probe_range(&r);
		empty(&r);
	}
}

void suites(void)
{
	sizes();
	outputs();
	boundaries();
	changes();
	faults();
	accessed_and_dirty();
	software_accessed_and_dirty();
}

void leave_nothing(void)
{
	walker_suite("nothing is left");
	for (unsigned i = 0; i < model.windows; i++) {
		struct range all = whole_window(i);

		empty(&all);
		probe_range(&all);
	}
}
