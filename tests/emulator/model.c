/* SPDX-License-Identifier: MIT */
/*
 * The arrays of pages, and the calls that change them and the tables alike; see model.h.
 */
#include <string.h>

#include "model.h"

struct model model;

static struct cell cells[MODEL_WINDOWS][MODEL_CELLS];

/* Every attribute that a protect of the suites replaces; accessed and dirty are kept apart. */
#define REPLACED (NEST_RWX | NEST_U | NEST_XU | NEST_G | NEST_MT_MASK | NEST_DBM | NEST_SW_MASK)

/* ---- Geometry ---- */

nest_ia_t model_ia(uint64_t offset)
{
	const struct walker_config *c = model.config;
	uint64_t above = c->ia_bits < 64 ? ~(uint64_t)0 << c->ia_bits : 0;

	if (c->flags & NEST_PT_UPPER)
		return offset | above;
	if (model.info.sign_extended && (offset >> (c->ia_bits - 1) & 1))
		return offset | above;
	return offset;
}

uint64_t model_offset(nest_ia_t ia)
{
	return ia & (((uint64_t)1 << (model.config->ia_bits - 1) << 1) - 1);
}

bool model_is_memory(nest_pa_t pa)
{
	return pa >= model.frames && pa - model.frames <= model.frame_size - 8;
}

/* The largest level at which a page may begin at `offset` and hold no more than `size` bytes. */
static unsigned level_for(uint64_t offset, uint64_t size)
{
	unsigned level = 0;

	while (level < model.top && (model.info.leaf_levels >> (level + 1) & 1) &&
	       (uint64_t)1 << nest_pt_shift(&model.pt, level + 1) <= size &&
	       !(offset & (((uint64_t)1 << nest_pt_shift(&model.pt, level + 1)) - 1)))
		level++;
	return level;
}

nest_pa_t model_frame(uint64_t offset, uint64_t size)
{
	unsigned level = level_for(offset, size);
	uint64_t span, pa, room;

	/* Aligned alike for the largest page or group, or for less. */
	span = (uint64_t)1 << nest_pt_shift(&model.pt, level);
	if (walker_random() & 1)
		span <<= model.info.contig_shift[level];
	else if (level && size >> nest_pt_shift(&model.pt, level) <= 4 && walker_random() % 4 == 0)
		span = (uint64_t)1 << nest_pt_shift(&model.pt, level - 1);
	pa = (model.frames & ~(span - 1)) + (offset & (span - 1));
	if (pa < model.frames && span <= model.frame_size)
		pa += span;
	room = model.frames + model.frame_size;
	if (pa < room && size <= room - pa)
		return pa + walker_random() % ((room - pa - size) / span + 1) * span;
	/* Larger than memory: somewhere around it. */
	room = pa / span;
	if (size / span > 1 && room)
		pa -= walker_random() % (room < size / span ? room + 1 : size / span) * span;
	return pa;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static uint64_t window_size(const struct window *w)
{
	return (uint64_t)w->cells << w->shift;
}

/* Are [first, first + size) offsets that can be issued and that nothing else uses? */
static bool is_vacant(uint64_t first, uint64_t size)
{
	uint64_t end = (uint64_t)1 << model.config->ia_bits;

	if (size > end || first > end - size)
		return false;
	if (first < model.reach ? size > model.reach - first : first < model.upper)
		return false;
	for (unsigned i = 0; i < model.windows; i++) {
		const struct window *w = &model.window[i];

		if (overlaps(first, size, w->first, window_size(w)))
			return false;
	}
	return !overlaps(first, size, model.home, model.config->home_size);
}

/* Add a window of pages of `level` that begins at `first`, if there is room for it. */
static bool add_window(unsigned level, uint64_t first, unsigned count)
{
	struct window *w = &model.window[model.windows];
	uint64_t size = (uint64_t)count << nest_pt_shift(&model.pt, level);

	/* What it is mapped to, around memory, has to have addresses too. */
	if (model.windows == MODEL_WINDOWS || level > model.top ||
	    size > (uint64_t)1 << (model.config->oa_bits - 1) || !is_vacant(first, size))
		return false;
	*w = (struct window){ .first = first,
			      .shift = nest_pt_shift(&model.pt, level),
			      .level = level,
			      .cells = count,
			      .cell = cells[model.windows] };
	memset(w->cell, 0, count * sizeof(*w->cell));
	model.windows++;
	return true;
}

/* One around a boundary of tables, as high a one as there is room for. */
static void add_around_boundary(unsigned level)
{
	unsigned entries = 1u << model.info.index_bits;
	unsigned count = level > 1 ? 16 : 2 * entries > MODEL_CELLS ? MODEL_CELLS : 2 * entries;

	for (; count >= 2; count /= 2) {
		uint64_t half = (uint64_t)count / 2 << nest_pt_shift(&model.pt, level);

		for (unsigned l = model.top + 1; l-- > level;) {
			uint64_t step = (uint64_t)1 << nest_pt_shift(&model.pt, l);

			for (uint64_t n = 1; n < 4; n++) {
				if (n * step > half && add_window(level, n * step - half, count))
					return;
			}
		}
	}
}

/* One that ends where addresses end. */
static void add_at_end(uint64_t end)
{
	unsigned count = 2u << model.info.index_bits;

	for (count = count > MODEL_CELLS ? MODEL_CELLS : count; count >= 2; count /= 2) {
		uint64_t size = (uint64_t)count * model.page;

		if (size <= end && add_window(0, end - size, count))
			return;
	}
}

static bool map_home(void)
{
	const struct walker_config *c = model.config;
	int err;

	if (!c->home_size)
		return true;
	if (c->home_fixed) {
		model.home = model_offset(c->home_ia);
	} else {
		/* Somewhere odd in the middle. */
		model.home = (model.reach >> 2) + 0x115 * model.page;
	}
	err = nest_pt_map(&model.pt, model_ia(model.home), c->home_pa, c->home_size, c->home_attr,
			  c->home_fixed ? 0 : NEST_MAP_NO_HUGE, NULL);
	CHECK(err == NEST_OK, "mapping the port's area: %s", nest_strerror(err));
	return err == NEST_OK;
}

bool model_open(const struct walker_config *config)
{
	const uint64_t two_mib = 0x200000;
	const struct nest_pt_config pt = {
		.format = config->format,
		.ia_bits = config->ia_bits,
		.oa_bits = config->oa_bits,
		.features = config->features,
		.flags = config->flags,
		.host = &walker_host,
	};
	uint64_t size, end;
	nest_pa_t base;
	int err;

	memset(&model, 0, sizeof(model));
	model.config = config;
	port_ram(&base, &size);
	model.frame_size = (size / 2) & ~(two_mib - 1);
	model.frames = (base + size - model.frame_size) & ~(two_mib - 1);
	memory_reset(base, model.frames - base);
	err = nest_format_describe(config->format, config->features, &model.info);
	if (!err)
		err = nest_pt_init(&model.pt, &pt);
	CHECK(err == NEST_OK, "nest_pt_init: %s", nest_strerror(err));
	if (err)
		return false;
	model.top = nest_pt_levels(&model.pt) - 1;
	model.page = (uint64_t)1 << model.info.page_shift;
	end = (uint64_t)1 << config->ia_bits;
	model.reach = model.info.sign_extended ? end / 2 : end;
	if (config->reach_bits && (uint64_t)1 << config->reach_bits < model.reach)
		model.reach = (uint64_t)1 << config->reach_bits;
	model.upper = model.info.sign_extended ? end - model.reach : end;
	if (!map_home())
		return false;
	add_at_end(model.reach);
	if (model.info.sign_extended)
		add_at_end(end);
	add_around_boundary(0);
	add_around_boundary(1);
	add_around_boundary(2);
	err = port_load(config, &model.pt, model_ia(model.home));
	CHECK(err == NEST_OK, "loading the root: %s", nest_strerror(err));
	return err == NEST_OK;
}

void model_close(void)
{
	port_unload();
	nest_pt_destroy(&model.pt);
	CHECK(memory_outstanding() == 0, "%lu tables were not given back", memory_outstanding());
	model.windows = 0;
}

struct range model_range(void)
{
	struct window *w = &model.window[walker_random() % model.windows];
	unsigned bits = (unsigned)(walker_random() % 15);
	struct range r = { .window = w };

	r.count = 1 + (unsigned)(walker_random() % ((uint64_t)1 << bits)) % w->cells;
	switch (walker_random() % 4) {
	case 0: /* around the middle, where the boundary is */
		r.first = w->cells / 2 - (unsigned)(walker_random() % (r.count + 1));
		if (r.first > w->cells - r.count)
			r.first = w->cells - r.count;
		break;
	case 1: /* a whole power of two, where large pages are */
		while (r.count & (r.count - 1))
			r.count &= r.count - 1;
		r.first = (unsigned)(walker_random() % (w->cells / r.count)) * r.count;
		break;
	default:
		r.first = (unsigned)(walker_random() % (w->cells - r.count + 1));
	}
	return r;
}

/* ---- Accessed and dirty ---- */

/* The cells that one page can hold together with `cell`. */
static struct range block_of(struct window *w, unsigned cell)
{
	uint64_t members = (uint64_t)1 << model.info.index_bits;
	uint64_t number = (w->first >> w->shift) + cell, below = number & (members - 1);
	struct range r = { .window = w, .first = cell > below ? cell - (unsigned)below : 0 };
	uint64_t end = cell + (members - below);

	r.count = (unsigned)(end < w->cells ? end : w->cells) - r.first;
	return r;
}

static void spread_ad(const struct range *r, nest_attr_t ad)
{
	for (unsigned i = 0; i < r->count; i++) {
		struct cell *c = &r->window->cell[r->first + i];

		if (c->state == CELL_MAPPED)
			c->ad_maybe |= ad;
	}
}

void model_touched(struct window *w, unsigned cell, bool done, bool writes)
{
	nest_attr_t ad = (NEST_ACCESSED | (writes ? NEST_DIRTY : 0)) & model.config->hw_ad;
	struct range block = block_of(w, cell);

	if (done)
		w->cell[cell].ad |= ad;
	if (ad & ~w->cell[cell].ad_maybe)
		spread_ad(&block, done ? ad : ad & NEST_ACCESSED);
}

/* ---- The calls ---- */

static struct cell *cell_of(const struct range *r, unsigned i)
{
	return &r->window->cell[r->first + i];
}

/* Would a TLB entry of what is there be wrong with this in its place? */
static bool outdates(const struct cell *old, const struct cell *new)
{
	const struct walker_attr *a = &model.config->attrs[old->attr];
	const struct walker_attr *b = &model.config->attrs[new->attr];

	if (old->state != CELL_MAPPED)
		return false;
	if (new->state != CELL_MAPPED || new->pa != old->pa)
		return true;
	for (unsigned mode = 0; mode < WALKER_MODES; mode++) {
		if (a->allow[mode] & ~b->allow[mode])
			return true;
	}
	return ((a->attr ^ b->attr) & NEST_MT_MASK) || (old->ad & ~new->ad);
}

static void set_stale(struct window *w, unsigned cell)
{
	w->cell[cell].stale = (uint64_t)1 << w->shift;
	if (w->stale_first == w->stale_end) {
		w->stale_first = cell;
		w->stale_end = cell + 1;
	}
	if (w->stale_first > cell)
		w->stale_first = cell;
	if (w->stale_end < cell + 1)
		w->stale_end = cell + 1;
}

/* What a call makes of a cell; *old is what it was. Status: what the call returns for it. */
typedef int (*change_fn)(const void *arg, uint64_t offset, const struct cell *old,
			 struct cell *new);

/*
 * Say what the call must return (all errors that cells can give a call are the same), and note what
 * TLBs may hold from now on although it has changed.
 */
static int predict(const struct range *r, change_fn change, const void *arg)
{
	struct cell new;
	int err, first = NEST_OK;

	for (unsigned i = 0; i < r->count && !first; i++) {
		new = *cell_of(r, i);
		first = change(arg, (uint64_t)i << r->window->shift, cell_of(r, i), &new);
	}
	for (unsigned i = 0; i < r->count && !first; i++) {
		new = *cell_of(r, i);
		err = change(arg, (uint64_t)i << r->window->shift, cell_of(r, i), &new);
		if (!err && outdates(cell_of(r, i), &new))
			set_stale(r->window, r->first + i);
	}
	return first;
}

/* The call has returned: see that it is what it must, and let the arrays follow. */
static int conclude(const char *what, const struct range *r, int expected, int got,
		    change_fn change, const void *arg)
{
	bool nomem = got == NEST_E_NOMEM && memory_was_short();

	CHECK(got == expected || nomem, "%s of %lx bytes at %lx: %s, expected %s", what,
	      range_size(r), model_ia(range_offset(r)), nest_strerror(got),
	      nest_strerror(expected));
	for (unsigned i = 0; i < r->count; i++) {
		struct cell new = *cell_of(r, i);

		if (got != NEST_OK) {
			cell_of(r, i)->stale = 0;
		} else if (change(arg, (uint64_t)i << r->window->shift, cell_of(r, i), &new) ==
			   NEST_OK) {
			new.stale = cell_of(r, i)->stale;
			*cell_of(r, i) = new;
		}
	}
	return got;
}

struct mapping {
	nest_pa_t pa;
	unsigned attr;
	uint32_t flags;
};

/* Attributes with what makes them writable-clean. */
static nest_attr_t full_attr(unsigned attr)
{
	nest_attr_t a = model.config->attrs[attr].attr;

	return a | (a & NEST_W ? model.config->clean_attr : 0);
}

/* Does a map that replaces leave this cell its frame, and so its accessed and dirty? */
static bool keeps_frame(const struct mapping *m, uint64_t offset, const struct cell *old)
{
	return m->flags & NEST_MAP_REPLACE && old->state == CELL_MAPPED &&
	       old->pa == m->pa + offset;
}

static int change_map(const void *arg, uint64_t offset, const struct cell *old, struct cell *new)
{
	const struct mapping *m = arg;
	nest_attr_t kept = NEST_ACCESSED | NEST_DIRTY;

	if (old->state == CELL_MAPPED) {
		if (m->flags & NEST_MAP_SKIP_MAPPED)
			return NEST_OK;
		if (!(m->flags & NEST_MAP_REPLACE))
			return NEST_E_MAPPED;
	}
	if (!(full_attr(m->attr) & NEST_W))
		kept &= ~NEST_DIRTY; /* what cannot be written is not dirty */
	if (!keeps_frame(m, offset, old))
		kept = 0;
	*new = (struct cell){ .state = CELL_MAPPED,
			      .pa = m->pa + offset,
			      .attr = (uint8_t)m->attr,
			      .ad = old->ad & kept,
			      .ad_maybe = old->ad_maybe & kept };
	return NEST_OK;
}

int model_map(const struct range *r, nest_pa_t pa, unsigned attr, uint32_t flags,
	      struct nest_gather *gather)
{
	const struct mapping m = { pa, attr, flags };
	int expected = predict(r, change_map, &m);
	int got = nest_pt_map(&model.pt, model_ia(range_offset(r)), pa, range_size(r),
			      full_attr(attr), flags, gather);
	bool kept = false;

	for (unsigned i = 0; i < r->count && got == NEST_OK; i++)
		kept |= keeps_frame(&m, (uint64_t)i << r->window->shift, cell_of(r, i));
	got = conclude("map", r, expected, got, change_map, &m);
	/* A larger page in place of smaller ones has what any of them had. */
	if (kept)
		spread_ad(r, NEST_ACCESSED | NEST_DIRTY);
	return got;
}

static int change_unmap(const void *arg, uint64_t offset, const struct cell *old, struct cell *new)
{
	uint32_t flags = *(const uint32_t *)arg;

	(void)offset;
	if (old->state != CELL_MAPPED && !(flags & NEST_SKIP_HOLES))
		return NEST_E_NOTMAPPED;
	*new = (struct cell){ .state = CELL_HOLE };
	return NEST_OK;
}

int model_unmap(const struct range *r, uint32_t flags, struct nest_gather *gather)
{
	int expected = predict(r, change_unmap, &flags);
	int got = nest_pt_unmap(&model.pt, model_ia(range_offset(r)), range_size(r), flags, gather);

	return conclude("unmap", r, expected, got, change_unmap, &flags);
}

struct protection {
	nest_attr_t set, clear;
	unsigned attr;
};

static int change_protect(const void *arg, uint64_t offset, const struct cell *old,
			  struct cell *new)
{
	const struct protection *p = arg;

	(void)offset;
	if (old->state != CELL_MAPPED)
		return NEST_E_NOTMAPPED;
	new->attr = (uint8_t)p->attr;
	new->ad = ((old->ad & ~p->clear) | p->set) & (NEST_ACCESSED | NEST_DIRTY);
	new->ad_maybe = (old->ad_maybe & ~p->clear) | new->ad;
	return NEST_OK;
}

int model_protect(const struct range *r, unsigned attr, nest_attr_t ad, struct nest_gather *gather)
{
	struct protection p = { .attr = attr };
	int expected, got;

	p.set = full_attr(attr) | (ad & NEST_ACCESSED);
	if (p.set & NEST_W)
		p.set |= ad & NEST_DIRTY;
	p.clear = (REPLACED & ~p.set) | NEST_MT_MASK;
	if (!(p.set & NEST_W) && (model.config->hw_ad | model.config->sw_ad))
		p.clear |= NEST_DIRTY; /* what cannot be written is not dirty */
	expected = predict(r, change_protect, &p);
	got = nest_pt_protect(&model.pt, model_ia(range_offset(r)), range_size(r), p.set, p.clear,
			      0, gather);
	return conclude("protect", r, expected, got, change_protect, &p);
}

static int change_mark(const void *arg, uint64_t offset, const struct cell *old, struct cell *new)
{
	(void)offset;
	if (old->state == CELL_MAPPED)
		return NEST_E_MAPPED;
	*new = (struct cell){ .state = CELL_MARK, .mark = *(const uint64_t *)arg };
	return NEST_OK;
}

int model_mark(const struct range *r, uint64_t value, struct nest_gather *gather)
{
	int expected = predict(r, change_mark, &value);
	int got = nest_pt_mark(&model.pt, model_ia(range_offset(r)), range_size(r), value, gather);

	return conclude("mark", r, expected, got, change_mark, &value);
}

static int change_nothing(const void *arg, uint64_t offset, const struct cell *old,
			  struct cell *new)
{
	(void)arg;
	(void)offset;
	(void)old;
	(void)new;
	return NEST_OK;
}

int model_split(const struct range *r, unsigned level, struct nest_gather *gather)
{
	int got = nest_pt_split(&model.pt, model_ia(range_offset(r)), range_size(r), level, gather);

	return conclude("split", r, NEST_OK, got, change_nothing, NULL);
}

int model_merge(const struct range *r, struct nest_gather *gather)
{
	int got = nest_pt_merge(&model.pt, model_ia(range_offset(r)), range_size(r), gather);

	/* Pages that became one are taken for accessed and dirty, where hardware sets that. */
	spread_ad(r, NEST_ACCESSED | NEST_DIRTY);
	return conclude("merge", r, NEST_OK, got, change_nothing, NULL);
}

enum { HARVEST_PAGES = 1 << 20 };

unsigned model_harvest_limit(const struct window *w)
{
	uint64_t pages = HARVEST_PAGES / (((uint64_t)1 << w->shift) / model.page);

	return pages > w->cells ? w->cells : (unsigned)pages;
}

void model_harvest(const struct range *r, nest_attr_t which, struct nest_gather *gather)
{
	static uint64_t bitmap[HARVEST_PAGES / 64];
	uint64_t pages = range_size(r) / model.page, each = pages / r->count;
	nest_ia_t ia = model_ia(range_offset(r));
	int err;

	memset(bitmap, 0, (size_t)((pages + 63) / 64 * 8));
	/* Of a larger cell only those pages need a flush that were touched. */
	for (unsigned i = 0; i < r->count && r->window->level == 0; i++) {
		if (cell_of(r, i)->ad & which)
			set_stale(r->window, r->first + i);
	}
	err = which == NEST_DIRTY
		      ? nest_pt_harvest(&model.pt, ia, range_size(r), NEST_DIRTY, bitmap, 0, gather)
		      : nest_pt_harvest(&model.pt, ia, range_size(r), NEST_ACCESSED, bitmap, 0,
					gather);
	CHECK(err == NEST_OK, "harvest of %lx bytes at %lx: %s", range_size(r), ia,
	      nest_strerror(err));
	for (unsigned i = 0; i < r->count; i++) {
		struct range block = block_of(r->window, r->first + i);
		struct cell *c = cell_of(r, i);
		bool told = false;

		for (uint64_t page = i * each; page < (i + 1) * each; page++)
			told |= bitmap[page / 64] >> page % 64 & 1;
		CHECK(told || !(c->ad & which), "%lx was %s, and harvesting does not tell",
		      ia + i * each * model.page, which == NEST_DIRTY ? "written" : "touched");
		CHECK(!told || (c->ad_maybe & which), "harvesting tells of %lx, never %s",
		      ia + i * each * model.page, which == NEST_DIRTY ? "written" : "touched");
		c->ad &= ~which;
		/* A page that reaches beyond the range stays as it is, and needs no flush. */
		if (block.first >= r->first && block.first + block.count <= r->first + r->count)
			c->ad_maybe &= ~which;
		else
			c->stale = 0;
	}
}

void model_query(const struct window *w, unsigned cell)
{
	const struct cell *c = &w->cell[cell];
	struct nest_mapping m;
	nest_ia_t ia = model_ia(w->first + ((uint64_t)cell << w->shift));
	int err = nest_pt_query(&model.pt, ia, &m);

	if (c->state == CELL_MAPPED) {
		nest_attr_t ad = NEST_ACCESSED | NEST_DIRTY;

		CHECK(err == NEST_OK && m.pa == c->pa &&
			      (m.attr & ~ad) == (full_attr(c->attr) & ~ad),
		      "query of %lx: %s, %lx attr %lx, expected %lx attr %lx", ia,
		      nest_strerror(err), m.pa, (uint64_t)m.attr, c->pa,
		      (uint64_t)full_attr(c->attr));
	} else {
		CHECK(err == NEST_E_NOTMAPPED && m.mark == c->mark &&
			      (m.kind == NEST_PTE_MARK) == (c->state == CELL_MARK),
		      "query of %lx: %s, mark %lx, expected none mapped and mark %lx", ia,
		      nest_strerror(err), m.mark, c->mark);
	}
}

void model_settled(void)
{
	for (unsigned i = 0; i < model.windows; i++) {
		struct window *w = &model.window[i];

		for (unsigned c = w->stale_first; c < w->stale_end; c++) {
			CHECK(!w->cell[c].stale, "no flush covers %lx, which has changed",
			      model_ia(w->first + ((uint64_t)c << w->shift)));
			w->cell[c].stale = 0;
		}
		w->stale_first = w->stale_end = 0;
	}
}
