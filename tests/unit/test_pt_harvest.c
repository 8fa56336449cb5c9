/* SPDX-License-Identifier: MIT */
/*
 * Harvesting and aging. The tests play the hardware: they set accessed and dirty in raw entries, by
 * bit numbers of the manuals, and compare what is told, what the entries are afterwards, and what
 * was flushed, with a model that knows pages, blocks and groups and nothing else.
 */
#include "core/operate.h"
#include "support.h"

enum { A = NEST_ACCESSED, D = NEST_DIRTY };

/* ---- The hardware's side ---- */

/* The live entry of `level` that a walk for ia reads. */
static uint64_t *entry_at(const struct fix *f, uint64_t ia, unsigned level)
{
	const struct raw_geo *g = &f->geo;
	uint64_t off = ia & (~0ull >> (64 - g->ia_bits)), pa = g->root;
	struct raw_leaf l;

	for (unsigned at = g->levels - 1;; at--) {
		uint64_t *t = g->ptr(g->ctx, pa), i = off >> raw_shift(g, at);

		if (at < g->levels - 1)
			i &= (1u << (g->page_shift - 3)) - 1;
		if (at == level)
			return &t[i];
		CHECK(raw_decode(g, at, off, t[i], &l, &pa) == RAW_TABLE);
	}
}

/*
 * The bit that says accessed or dirty: EPT 8 9, x86 5 6, Arm AF 10 and write permission 7 (S2AP[1];
 * AP[2], which is clear when dirty), RISC-V 6 7, LoongArch V 0 and D 1.
 */
static uint64_t status_bit(const struct fix *f, nest_attr_t which)
{
	static const uint8_t bit[][2] = {
		[RAW_EPT] = { 8, 9 },     [RAW_X86] = { 5, 6 },   [RAW_ARM_S2] = { 10, 7 },
		[RAW_ARM_S1] = { 10, 7 }, [RAW_RISCV] = { 6, 7 }, [RAW_LOONG] = { 0, 1 }
	};

	return 1ull << bit[f->geo.arch][which == D];
}

static bool is_set(const struct fix *f, uint64_t e, nest_attr_t which)
{
	bool inverted = f->geo.arch == RAW_ARM_S1 && which == D;

	return ((e & status_bit(f, which)) != 0) != inverted;
}

static uint64_t with(const struct fix *f, uint64_t e, nest_attr_t which, bool set)
{
	return is_set(f, e, which) == set ? e : e ^ status_bit(f, which);
}

/* Is the bit kept at all? By hand, from the manuals and what attr.h promises. */
static bool tracked(const struct tcase *c, nest_attr_t which)
{
	uint32_t hw = which == D ? NEST_FEAT_HW_D : NEST_FEAT_HW_A;

	if (!strcmp(c->name, "npt") || !strcmp(c->name, "x86-64"))
		return true;
	if (!strcmp(c->name, "ept") || (which == D && !strncmp(c->name, "aarch64", 7)))
		return (c->features & hw) != 0;
	return (c->features & (hw | NEST_FEAT_SW_AD)) != 0;
}

/* Writable, neither accessed nor dirty where that is tracked. */
static nest_attr_t clean_attr(const struct tcase *c)
{
	bool dbm = !strncmp(c->name, "aarch64", 7) && (c->features & NEST_FEAT_HW_D);

	return NEST_RWX | (dbm ? NEST_DBM : 0);
}

/* The sweep, and what it leaves out: the bits apart from each other, and groups with them. */
static void every_case(void (*fn)(const struct tcase *c))
{
	static const uint32_t more[] = {
		NEST_FEAT_HW_A,
		NEST_FEAT_HW_D,
		NEST_FEAT_CONTIG | NEST_FEAT_HW_AD,
		NEST_FEAT_CONTIG | NEST_FEAT_SW_AD,
		NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_BBM2,
		NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_LPA2,
		NEST_FEAT_CONTIG | NEST_FEAT_HW_AD | NEST_FEAT_LPA,
	};
	struct tcase c;

	sweep(SWEEP_SOME_WIDTHS, fn);
	for (unsigned n = 0; nest_formats[n]; n++) {
		struct nest_format_info info;

		for (unsigned i = 0; i < sizeof(more) / sizeof(*more); i++) {
			if (nest_format_describe(nest_formats[n], more[i], &info) != NEST_OK)
				continue;
			c = tcase_of(nest_formats[n], more[i], 0, 0);
			fn(&c);
		}
	}
	c = tcase_of(&nest_fmt_aarch64_s1_4k, NEST_FEAT_CONTIG | NEST_FEAT_HW_AD, 39,
		     NEST_PT_UPPER);
	fn(&c);
}

/* ---- Entries word by word ---- */

/* Leaves of 4 KiB for 0x80000000 on, writable and clean; what access and store flip in them. */
static const struct machine {
	const struct nest_format *format;
	uint32_t features;
	nest_attr_t attr;
	uint64_t word, step, a, d;
} machines[] = {
	/* R W X, WB 6 in 5:3; A 8, D 9 */
	{ &nest_fmt_ept, NEST_FEAT_HW_AD, NEST_RWX, 0x80000037, 0x1000, 0x100, 0x200 },
	/* P RW US; A 5, D 6 */
	{ &nest_fmt_npt, 0, NEST_RWX, 0x80000007, 0x1000, 0x20, 0x40 },
	{ &nest_fmt_x86_64, 0, NEST_RWX, 0x80000003, 0x1000, 0x20, 0x40 },
	/* page, MemAttr 1111, S2AP read, SH inner, DBM 51; AF 10, S2AP write 7 */
	{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD, NEST_RWX | NEST_DBM, 0x000800008000037f, 0x1000,
	  0x400, 0x80 },
	/* page, AttrIndx 0, AP[2] read-only, SH inner, nG 11, DBM 51, UXN 54; AF 10, AP[2] 7 */
	{ &nest_fmt_aarch64_s1_4k, NEST_FEAT_HW_AD, NEST_RWX | NEST_DBM, 0x0048000080000b83, 0x1000,
	  0x400, 0x80 },
	/* V R W X U, PPN from bit 10; A 6, D 7 */
	{ &nest_fmt_riscv_g, NEST_FEAT_HW_AD, NEST_RWX, 0x2000001f, 0x400, 0x40, 0x80 },
	{ &nest_fmt_riscv_g, NEST_FEAT_SW_AD, NEST_RWX, 0x2000001f, 0x400, 0x40, 0x80 },
	{ &nest_fmt_riscv_sv, NEST_FEAT_HW_AD, NEST_RWX, 0x2000000f, 0x400, 0x40, 0x80 },
	/* MAT 1 in 5:4, P 7, W 8, which a clean page keeps; V 0, D 1 */
	{ &nest_fmt_loongarch_s2_4k, NEST_FEAT_SW_AD, NEST_RWX, 0x80000190, 0x1000, 1, 2 },
	{ &nest_fmt_loongarch_s1_4k, NEST_FEAT_PTW | NEST_FEAT_HW_AD, NEST_RWX, 0x80000190, 0x1000,
	  1, 2 },
};

enum { NR_MACHINES = sizeof(machines) / sizeof(*machines) };

static void open_machine(struct fix *f, const struct machine *m, uint32_t features)
{
	struct tcase c = tcase_of(m->format, m->features | features, 0, 0);

	fix_open(f, &c);
}

static void only_the_one_bit_of_an_entry_changes(void **state)
{
	(void)state;
	for (unsigned n = 0; n < NR_MACHINES; n++) {
		const struct machine *m = &machines[n];
		uint64_t bitmap = 0, *e;
		struct fix f;

		open_machine(&f, m, 0);
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x80000000, 0x4000, m->attr, 0, NULL));
		e = entry_at(&f, 0, 0);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(e[i], m->word + i * m->step);
		e[1] ^= m->d;
		e[2] ^= m->a;
		e[3] ^= m->a | m->d;
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x4000, NEST_DIRTY, &bitmap, 0, NULL));
		CHECK_EQ(bitmap, 0xa);
		CHECK_EQ(e[0], m->word);
		CHECK_EQ(e[1], m->word + m->step);
		CHECK_EQ(e[2], (m->word + 2 * m->step) ^ m->a);
		CHECK_EQ(e[3], (m->word + 3 * m->step) ^ m->a);
		e[2] ^= m->d;
		bitmap = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x4000, NEST_ACCESSED, &bitmap, 0, NULL));
		CHECK_EQ(bitmap, 0xc);
		CHECK_EQ(e[0], m->word);
		CHECK_EQ(e[1], m->word + m->step);
		CHECK_EQ(e[2], (m->word + 2 * m->step) ^ m->d);
		CHECK_EQ(e[3], m->word + 3 * m->step);
		fix_close(&f);
	}
}

/* ---- Any range over any table, against a model ---- */

/* Entries that have one accessed and one dirty state: a leaf or a group; or none: hole, mark. */
struct unit_model {
	uint64_t first, pages; /* from the start of the scene */
	uint64_t *entry, n;
	uint64_t want[128];
	bool leaf;
};

enum { MAX_UNITS = 200, MAX_WORDS = 4 * 8192 / 64, GUARD = 2 };

struct scene {
	struct fix f;
	uint64_t ia, pages;
	struct unit_model unit[MAX_UNITS];
	unsigned nr_units;
	uint64_t bitmap[MAX_WORDS + GUARD], want[MAX_WORDS + GUARD];
	uint64_t seed;
};

static void add_unit(struct scene *s, uint64_t first, uint64_t pages, unsigned level, uint64_t n,
		     bool leaf)
{
	struct unit_model *u = &s->unit[s->nr_units++];

	CHECK(s->nr_units <= MAX_UNITS && n <= 128);
	u->first = first;
	u->pages = pages;
	u->entry = entry_at(&s->f, s->ia + first * s->f.page, level);
	u->n = n;
	u->leaf = leaf;
	memcpy(u->want, u->entry, n * sizeof(*u->want));
}

/* Map [first, first + pages) in leaves, or groups of n, of `each` pages. */
static void add_leaves(struct scene *s, uint64_t first, uint64_t pages, uint64_t each,
		       unsigned level, uint64_t n)
{
	uint64_t ia = s->ia + first * s->f.page;
	struct nest_mapping q;

	CHECK_OK(nest_pt_map(&s->f.pt, ia, (1ull << 31) + first * s->f.page, pages * s->f.page,
			     clean_attr(&s->f.c), n > 1 ? 0 : NEST_MAP_MAX_LEVEL(level), NULL));
	for (uint64_t i = first; i < first + pages; i += each) {
		CHECK_OK(nest_pt_query(&s->f.pt, s->ia + i * s->f.page, &q));
		CHECK_EQ(q.size, each * s->f.page);
		CHECK_EQ(q.contiguous, n > 1);
		add_unit(s, i, each, level, n, true);
	}
}

/*
 *   0           40 44 46      half                  s1        2 s1             4 s1
 *   | pages      |  |m| pages  | groups, page  pages | block    | hole    pages |
 *                hole
 */
static void build_scene(struct scene *s, enum place where)
{
	struct fix *f = &s->f;
	uint64_t p = f->page, s1 = span(f, 1) / p, half = 1ull << (f->c.ia_bits - 1), g;
	bool block = f->max_leaf > 0 && 4 * s1 * p <= half;

	s->pages = block ? 4 * s1 : half / p < s1 ? half / p : s1;
	CHECK(s->pages <= MAX_WORDS * 64);
	s->ia = place(f, where, s->pages * p);
	s->nr_units = 0;
	s1 = s->pages < s1 ? s->pages : s1;
	add_leaves(s, 0, 40, 1, 0, 1);
	add_leaves(s, 46, 30, 1, 0, 1);
	CHECK_OK(nest_pt_mark(&f->pt, s->ia + 44 * p, 2 * p, NEST_MARK_MAX, NULL));
	for (uint64_t i = 40; i < 46; i++)
		add_unit(s, i, 1, 0, 1, false);
	g = group(f, 0) / p;
	if (g)
		add_leaves(s, s1 / 2, 2 * g, g, 0, g);
	add_leaves(s, s1 / 2 + 2 * g, 3, 1, 0, 1);
	add_leaves(s, s1 - 9, 9, 1, 0, 1);
	if (!block)
		return;
	add_leaves(s, s1, s1, s1, 1, 1);
	add_unit(s, 2 * s1, s1, 1, 1, false);
	add_leaves(s, 4 * s1 - 5, 5, 1, 0, 1);
}

/* Hardware sets bits here and there: now and then everywhere, now and then nowhere. */
static void hardware(struct scene *s, nest_attr_t which)
{
	uint64_t odds = rnd(&s->seed) % 6;

	for (unsigned i = 0; i < s->nr_units && odds; i++) {
		struct unit_model *u = &s->unit[i];

		if (!u->leaf || (odds > 1 && rnd(&s->seed) % (odds * odds)))
			continue;
		for (uint64_t k = rnd(&s->seed) % u->n, n = 1 + rnd(&s->seed) % 2; n; n--) {
			u->want[k] = with(&s->f, u->want[k], which, true);
			u->entry[k] = u->want[k];
			k = rnd(&s->seed) % u->n;
		}
	}
}

/* A range: any, or one that begins and ends where a page, block or group does. */
static void pick_range(struct scene *s, uint64_t *a, uint64_t *b)
{
	const struct unit_model *u = &s->unit[rnd(&s->seed) % s->nr_units];
	const struct unit_model *v = &s->unit[rnd(&s->seed) % s->nr_units];

	switch (rnd(&s->seed) % 4) {
	case 0:
		*a = 0;
		*b = s->pages;
		return;
	case 1:
		*a = rnd(&s->seed) % s->pages;
		*b = *a + 1 + rnd(&s->seed) % (s->pages - *a);
		return;
	default:
		*a = u->first + rnd(&s->seed) % u->pages * (rnd(&s->seed) % 2);
		*b = v->first + v->pages - rnd(&s->seed) % v->pages * (rnd(&s->seed) % 2);
		if (*a >= *b) {
			*a = u->first;
			*b = u->first + u->pages;
		}
	}
}

/* What must come of it: bits in s->want, entries in want[], and whether all that is flushed. */
static bool expect(struct scene *s, nest_attr_t which, uint64_t a, uint64_t b, bool keep, bool told)
{
	bool any = false;

	for (unsigned i = 0; i < s->nr_units; i++) {
		struct unit_model *u = &s->unit[i];
		uint64_t from = u->first > a ? u->first : a;
		uint64_t to = u->first + u->pages < b ? u->first + u->pages : b;
		bool marked = false;

		for (uint64_t k = 0; k < u->n && u->leaf; k++)
			marked |= is_set(&s->f, u->want[k], which);
		if (from >= to || !marked)
			continue;
		for (uint64_t k = from - a; k < to - a && told; k++)
			s->want[k / 64] |= 1ull << k % 64;
		if (keep || to - from != u->pages)
			continue;
		for (uint64_t k = 0; k < u->n; k++)
			u->want[k] = with(&s->f, u->want[k], which, false);
		any = true;
		/* Seen by check_flushes(). */
		u->n |= 1ull << 63;
	}
	return any;
}

static void check_flushes(struct scene *s, uint64_t a, uint64_t b, bool any)
{
	struct fix *f = &s->f;
	uint64_t first = s->ia + a * f->page, last = s->ia + b * f->page - 1;

	CHECK_EQ(arena_count(&f->a, EV_FLUSH) > 0, any);
	CHECK_EQ(arena_count(&f->a, EV_ALLOC) + arena_count(&f->a, EV_FREE), 0);
	for (unsigned i = 0; i < f->a.nr_ev; i++) {
		const struct nest_flush *w = &f->a.ev[i].flush;

		CHECK(w->leaf_only && !w->all && w->ia >= first && w->ia + w->size - 1 <= last);
	}
	for (unsigned i = 0; i < s->nr_units; i++) {
		struct unit_model *u = &s->unit[i];
		uint64_t ia = s->ia + u->first * f->page;
		unsigned level = u->pages == span(f, 1) / f->page ? 1 : 0;

		if (!(u->n >> 63))
			continue;
		u->n &= ~(1ull << 63);
		CHECK(arena_flushed_at(&f->a, ia, ia + u->pages * f->page - 1, level));
	}
}

static void one_round(struct scene *s, nest_attr_t which)
{
	struct fix *f = &s->f;
	bool keep = rnd(&s->seed) % 4 == 0, told = rnd(&s->seed) % 8 != 0;
	bool gathered = rnd(&s->seed) % 2, any;
	struct nest_gather g;
	uint64_t a, b;

	pick_range(s, &a, &b);
	/* Bits are only ever added, in the words of the range. */
	for (unsigned i = 0; i < MAX_WORDS + GUARD; i++)
		s->bitmap[i] = s->want[i] = rnd(&s->seed) & rnd(&s->seed) & rnd(&s->seed);
	any = expect(s, which, a, b, keep, told);
	arena_mark(&f->a);
	nest_gather_init(&g, &f->pt);
	CHECK_OK(nest_pt_harvest(&f->pt, s->ia + a * f->page, (b - a) * f->page, which,
				 told ? s->bitmap : NULL, keep ? NEST_HARVEST_KEEP : 0,
				 gathered ? &g : NULL));
	if (gathered)
		CHECK_EQ(arena_count(&f->a, EV_FLUSH), 0);
	nest_gather_sync(&g);
	check_flushes(s, a, b, any);
	for (unsigned i = 0; i < MAX_WORDS + GUARD; i++)
		CHECK_EQ(s->bitmap[i], s->want[i]);
	for (unsigned i = 0; i < s->nr_units; i++) {
		for (uint64_t k = 0; k < s->unit[i].n; k++)
			CHECK_EQ(s->unit[i].entry[k], s->unit[i].want[k]);
	}
}

static struct scene scene;

static void any_range(const struct tcase *c)
{
	bool tracks[2] = { tracked(c, A), tracked(c, D) };

	if (!tracks[0] && !tracks[1])
		return;
	for (unsigned where = 0; where < NR_PLACES; where++) {
		scene.seed = where + 1;
		fix_open(&scene.f, c);
		build_scene(&scene, (enum place)where);
		scene.f.a.watch = NULL; /* no table comes or goes */
		/* Nothing is allocated, so nothing can fail for it. */
		arena_fail(&scene.f.a, 1, true);
		for (unsigned round = 0; round < 40; round++) {
			nest_attr_t which = rnd(&scene.seed) % 2 ? A : D;

			if (tracks[0])
				hardware(&scene, A);
			if (tracks[1])
				hardware(&scene, D);
			if (!tracks[which == D])
				which ^= A | D;
			one_round(&scene, which);
		}
		arena_fail(&scene.f.a, 0, false);
		/* The raw walker takes a LoongArch page that was never accessed for absent. */
		for (unsigned i = 0; i < scene.nr_units && tracks[0]; i++) {
			if (scene.unit[i].leaf)
				*scene.unit[i].entry = with(&scene.f, *scene.unit[i].entry, A,
							    true);
		}
		check_consistent(&scene.f);
		fix_close(&scene.f);
	}
}

static void any_range_tells_what_hardware_set(void **state)
{
	(void)state;
	every_case(any_range);
}

/* ---- Blocks and groups ---- */

static void partly(const struct tcase *c)
{
	uint64_t s1, p, ia, pages, *e, word, bitmap[MAX_WORDS / 4] = { 0 };
	struct nest_mapping q;
	struct fix f;

	if (!tracked(c, D))
		return;
	fix_open(&f, c);
	s1 = span(&f, 1);
	p = f.page;
	pages = s1 / p;
	if (f.max_leaf == 0) {
		fix_close(&f);
		return;
	}
	ia = place(&f, PLACE_LOW_TOP, s1);
	CHECK_OK(nest_pt_map(&f.pt, ia, 4 * s1, s1, clean_attr(c), NEST_MAP_MAX_LEVEL(1), NULL));
	e = entry_at(&f, ia, 1);
	word = *e;
	*e = with(&f, word, D, true);
	arena_mark(&f.a);
	/* The range lacks the last page, then the first. */
	CHECK_OK(nest_pt_harvest(&f.pt, ia, s1 - p, NEST_DIRTY, bitmap, 0, NULL));
	for (uint64_t i = 0; i < pages; i++)
		CHECK_EQ(bitmap[i / 64] >> i % 64 & 1, i < pages - 1);
	CHECK_OK(nest_pt_harvest(&f.pt, ia + p, s1 - p, NEST_DIRTY, bitmap, 0, NULL));
	CHECK_EQ(*e, with(&f, word, D, true));
	CHECK_EQ(f.a.nr_ev, 0);
	memset(bitmap, 0, sizeof(bitmap));
	CHECK_OK(nest_pt_harvest(&f.pt, ia, s1, NEST_DIRTY, bitmap, 0, NULL));
	for (uint64_t i = 0; i < pages / 64; i++)
		CHECK_EQ(bitmap[i], ~0ull);
	CHECK_EQ(*e, word);
	CHECK_EQ(f.a.nr_ev, 1);
	CHECK_EQ(f.a.ev[0].flush.ia, ia);
	CHECK_EQ(f.a.ev[0].flush.size, s1);
	CHECK_EQ(f.a.ev[0].flush.level_mask, 2);
	CHECK(f.a.ev[0].flush.leaf_only);
	CHECK_OK(nest_pt_query(&f.pt, ia, &q));
	CHECK_EQ(q.size, s1);
	fix_close(&f);
}

static void a_block_covered_in_part_stays_dirty(void **state)
{
	(void)state;
	every_case(partly);
}

/* The entries of a group, and how many of them a walker found invalid at some time. */
static uint64_t *members;
static unsigned found_invalid;

static void look_at_members(void)
{
	for (unsigned i = 0; i < 16; i++)
		found_invalid += !(members[i] & 1);
}

static void look_at_flush(struct arena *a, const struct nest_flush *what)
{
	(void)a, (void)what;
	look_at_members();
}

static void look_at_sync(void *ctx, const void *va, size_t len)
{
	(void)ctx, (void)va, (void)len;
	look_at_members();
}

/*
 * Sixteen pages, dirty by member 5 alone and accessed by member 9 alone, as hardware may leave
 * them: told for all, cleared in all, each member otherwise as it was, and never invalid.
 */
static void a_group_is_dirty_by_any_member_and_never_broken(void **state)
{
	static const struct {
		unsigned machine;
		uint64_t word, step; /* of a member */
	} groups[] = {
		{ 3, 0x001800008000037f, 0x1000 }, /* Contiguous 52 */
		{ 4, 0x0058000080000b83, 0x1000 },
		{ 5, 0x800000002000201f, 0 }, /* N 63, PPN[3:0] 1000 */
		{ 6, 0x800000002000201f, 0 },
		{ 7, 0x800000002000200f, 0 },
	};

	(void)state;
	for (unsigned n = 0; n < sizeof(groups) / sizeof(*groups); n++) {
		const struct machine *m = &machines[groups[n].machine];
		uint64_t bitmap = 0, word = groups[n].word, step = groups[n].step;
		struct nest_gather g;
		struct fix f;

		open_machine(&f, m, NEST_FEAT_CONTIG);
		CHECK_OK(nest_pt_map(&f.pt, 0x10000, 0x80000000, 0x10000, m->attr, 0, NULL));
		members = entry_at(&f, 0x10000, 0);
		for (unsigned i = 0; i < 16; i++)
			CHECK_EQ(members[i], word + i * step);
		members[5] ^= m->d;
		members[9] ^= m->a;
		found_invalid = 0;
		f.a.on_flush = look_at_flush;
		f.a.host.sync = look_at_sync;
		arena_mark(&f.a);
		/* Of a part: not the member that is dirty, and yet the part is. */
		CHECK_OK(nest_pt_harvest(&f.pt, 0x18000, 0x8000, NEST_DIRTY, &bitmap, 0, NULL));
		CHECK_EQ(bitmap, 0xff);
		bitmap = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0xf000, 0x6000, NEST_DIRTY, &bitmap, 0, NULL));
		CHECK_EQ(bitmap, 0x3e);
		bitmap = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x40000, NEST_DIRTY, &bitmap, NEST_HARVEST_KEEP,
					 NULL));
		CHECK_EQ(bitmap, 0xffff0000);
		CHECK_EQ(members[5], (word + 5 * step) ^ m->d);
		CHECK_EQ(members[9], (word + 9 * step) ^ m->a);
		CHECK_EQ(f.a.nr_ev, 0);
		bitmap = 0;
		nest_gather_init(&g, &f.pt);
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x40000, NEST_DIRTY, &bitmap, 0, &g));
		CHECK_EQ(bitmap, 0xffff0000);
		for (unsigned i = 0; i < 16; i++)
			CHECK_EQ(members[i], (word + i * step) ^ (i == 9 ? m->a : 0));
		CHECK_EQ(f.a.nr_ev, 0);
		CHECK_OK(nest_pt_harvest(&f.pt, 0x10000, 0x10000, NEST_ACCESSED, NULL, 0, &g));
		for (unsigned i = 0; i < 16; i++)
			CHECK_EQ(members[i], word + i * step);
		CHECK_EQ(f.a.nr_ev, 0);
		nest_gather_sync(&g);
		CHECK_EQ(f.a.nr_ev, 1);
		CHECK_EQ(f.a.ev[0].flush.ia, 0x10000);
		CHECK_EQ(f.a.ev[0].flush.size, 0x10000);
		CHECK_EQ(found_invalid, 0);
		f.a.on_flush = NULL;
		/* The end of the range cuts off the only member that is dirty, after a clean group.
		 */
		CHECK_OK(nest_pt_map(&f.pt, 0x20000, 0x80010000, 0x10000, m->attr, 0, NULL));
		members[16 + 13] ^= m->d;
		bitmap = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x28000, NEST_DIRTY, &bitmap, 0, NULL));
		CHECK_EQ(bitmap, 0xff00000000);
		fix_close(&f);
	}
}

/* ---- Flushes ---- */

static void flushes(const struct tcase *c)
{
	uint64_t p, ia, *e;
	struct nest_gather g;
	struct fix f;

	if (!tracked(c, D))
		return;
	fix_open(&f, c);
	p = f.page;
	ia = place(&f, PLACE_TOP, 64 * p);
	CHECK_OK(nest_pt_map(&f.pt, ia, 64 * p, 64 * p, clean_attr(c), NEST_MAP_NO_HUGE, NULL));
	nest_pt_set_vmid(&f.pt, 77);
	e = entry_at(&f, ia, 0);
	e[3] = with(&f, e[3], D, true);
	e[9] = with(&f, e[9], D, true);
	e[10] = with(&f, e[10], D, true);
	e[63] = with(&f, e[63], D, true);
	arena_mark(&f.a);
	nest_gather_init(&g, &f.pt);
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 64 * p, NEST_DIRTY, NULL, NEST_HARVEST_KEEP, &g));
	nest_gather_sync(&g);
	CHECK_EQ(f.a.nr_ev, 0);
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 64 * p, NEST_DIRTY, NULL, 0, &g));
	CHECK_EQ(f.a.nr_ev, 0);
	nest_gather_sync(&g);
	CHECK_EQ(f.a.nr_ev, 3);
	CHECK_EQ(f.a.ev[0].flush.ia, ia + 3 * p);
	CHECK_EQ(f.a.ev[0].flush.size, p);
	CHECK_EQ(f.a.ev[1].flush.ia, ia + 9 * p);
	CHECK_EQ(f.a.ev[1].flush.size, 2 * p);
	CHECK_EQ(f.a.ev[2].flush.ia, ia + 63 * p);
	CHECK_EQ(f.a.ev[2].flush.size, p);
	for (unsigned i = 0; i < 3; i++) {
		CHECK(f.a.ev[i].flush.leaf_only && !f.a.ev[i].flush.all);
		CHECK_EQ(f.a.ev[i].flush.level_mask, 1);
		CHECK_EQ(f.a.ev[i].flush.vmid, 77);
	}
	/* Nothing is dirty any more. */
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 64 * p, NEST_DIRTY, NULL, 0, NULL));
	CHECK_EQ(f.a.nr_ev, 3);
	/* Without a gather, before it returns. */
	e[0] = with(&f, e[0], D, true);
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 64 * p, NEST_DIRTY, NULL, 0, NULL));
	CHECK_EQ(f.a.nr_ev, 4);
	CHECK_EQ(f.a.ev[3].flush.ia, ia);
	CHECK_EQ(f.a.ev[3].flush.size, p);
	fix_close(&f);
}

static void exactly_what_became_clean_is_flushed(void **state)
{
	(void)state;
	every_case(flushes);
}

/* What sync() was told of. */
static const uint64_t *synced_from, *synced_to;
static unsigned syncs;

static void note_sync(void *ctx, const void *va, size_t len)
{
	(void)ctx;
	syncs++;
	synced_from = va;
	synced_to = synced_from + len / 8;
}

static void tables_are_synced_where_they_changed(void **state)
{
	uint64_t *e, *block;
	struct fix f;

	(void)state;
	open_machine(&f, &machines[1], 0);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, 0x400000, NEST_RWX, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_map(&f.pt, 0x400000, 0, 0x200000, NEST_RWX, 0, NULL));
	e = entry_at(&f, 0x200000, 0);
	block = entry_at(&f, 0x400000, 1);
	f.a.host.sync = note_sync;
	syncs = 0;
	CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x800000, NEST_DIRTY, NULL, 0, NULL));
	e[5] |= 0x40;
	e[511] |= 0x40;
	CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x800000, NEST_DIRTY, NULL, NEST_HARVEST_KEEP, NULL));
	CHECK_EQ(syncs, 0);
	CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x800000, NEST_DIRTY, NULL, 0, NULL));
	CHECK_EQ(syncs, 1);
	CHECK(synced_from <= e + 5 && synced_to >= e + 512);
	*block |= 0x40;
	CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x800000, NEST_DIRTY, NULL, 0, NULL));
	CHECK_EQ(syncs, 2);
	CHECK(synced_from <= block && synced_to > block);
	fix_close(&f);
}

/* ---- What is dirty where the bit is not simply one ---- */

static void aarch64_dirty_is_what_a_query_says_or_cannot_say(void **state)
{
	struct tcase c = tcase_of(&nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD, 0, 0);
	uint64_t bitmap = 0, *e;
	struct nest_mapping q;
	struct fix f;

	(void)state;
	fix_open(&f, &c);
	/* Writable without DBM: nobody tracks it, so it may have been written to. */
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, 0x1000, NEST_RW, 0, NULL));
	/* Dirty when write permission was taken away: bit 55 remembers. */
	CHECK_OK(nest_pt_map(&f.pt, 0x1000, 0x1000, 0x2000, NEST_RW | NEST_DBM | NEST_DIRTY, 0,
			     NULL));
	CHECK_OK(nest_pt_protect(&f.pt, 0x1000, 0x1000, 0, NEST_W, 0, NULL));
	e = entry_at(&f, 0, 0);
	CHECK_EQ(e[0], 0x00400000000003ff);
	CHECK_EQ(e[1], 0x00c000000000137f);
	CHECK_EQ(e[2], 0x00480000000023ff);
	CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x3000, NEST_DIRTY, &bitmap, 0, NULL));
	CHECK_EQ(bitmap, 7);
	CHECK_EQ(e[0], 0x00400000000003ff);
	CHECK_EQ(e[1], 0x004000000000137f);
	CHECK_EQ(e[2], 0x004800000000237f);
	CHECK_OK(nest_pt_query(&f.pt, 0x1000, &q));
	CHECK_EQ(q.attr, NEST_R);
	CHECK_OK(nest_pt_query(&f.pt, 0x2000, &q));
	CHECK_EQ(q.attr, NEST_RW | NEST_DBM);
	fix_close(&f);
}

/*
 * AArch64 with hardware dirty state, and none of the pages has DBM (51): read-only, writable, a
 * hole, a mark, a writable block and, with Contiguous (52), a group. Whatever may be written to is
 * told, each time and for the part that the range has of it; nothing changes, nothing is flushed.
 */
static void writable_pages_that_cannot_tell_are_told_as_dirty(void **state)
{
	static const struct {
		const struct nest_format *format;
		uint32_t flags;
	} rows[] = { { &nest_fmt_aarch64_s2_4k, 0 },
		     { &nest_fmt_aarch64_s2_4k, NEST_PT_SHARED },
		     { &nest_fmt_aarch64_s1_4k, 0 } };
	static const uint32_t keep[] = { 0, NEST_HARVEST_KEEP, 0 };

	(void)state;
	for (unsigned n = 0; n < sizeof(rows) / sizeof(*rows); n++) {
		bool shared = rows[n].flags & NEST_PT_SHARED;
		uint32_t feat = NEST_FEAT_HW_AD | (shared ? 0 : NEST_FEAT_CONTIG);
		struct tcase c = tcase_of(rows[n].format, feat, 0, rows[n].flags);
		uint64_t bitmap[9], was[8], *e;
		struct fix f;

		fix_open(&f, &c);
		CHECK_OK(nest_pt_map(&f.pt, 0, 0, 0x1000, NEST_R, 0, NULL));
		CHECK_OK(nest_pt_map(&f.pt, 0x1000, 0x1000, 0x2000, NEST_RW, 0, NULL));
		CHECK_OK(nest_pt_mark(&f.pt, 0x4000, 0x1000, 1, NULL));
		CHECK_OK(nest_pt_map(&f.pt, 0x5000, 0x5000, 0x1000, NEST_RW | NEST_DBM, 0, NULL));
		CHECK_OK(nest_pt_map(&f.pt, 0x10000, 0x10000, 0x10000, NEST_RW, 0, NULL));
		CHECK_OK(nest_pt_map(&f.pt, 0x200000, 0x200000, 0x200000, NEST_RW, 0, NULL));
		e = entry_at(&f, 0, 0);
		CHECK_EQ(e[16] >> 52 & 1, !shared);
		memcpy(was, e, sizeof(was));
		arena_mark(&f.a);
		for (unsigned k = 0; k < 3; k++) {
			memset(bitmap, 0, sizeof(bitmap));
			CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x204000, NEST_DIRTY, bitmap, keep[k],
						 NULL));
			CHECK_EQ(bitmap[0], 0xffff0006);
			for (unsigned i = 1; i < 8; i++)
				CHECK_EQ(bitmap[i], 0);
			CHECK_EQ(bitmap[8], 0xf);
			CHECK(!memcmp(was, e, sizeof(was)));
		}
		/* Half of the group; and the writable page that can tell, once it has something. */
		bitmap[0] = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0x18000, 0x8000, NEST_DIRTY, bitmap, 0, NULL));
		CHECK_EQ(bitmap[0], 0xff);
		CHECK_EQ(arena_count(&f.a, EV_FLUSH), 0);
		e[5] = with(&f, e[5], D, true);
		bitmap[0] = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x8000, NEST_DIRTY, bitmap, 0, NULL));
		CHECK_EQ(bitmap[0], 0x26);
		CHECK(!memcmp(was, e, sizeof(was)));
		/* Accessed is told of every page, and once. */
		bitmap[0] = 0;
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x8000, NEST_ACCESSED, bitmap, 0, NULL));
		CHECK_EQ(bitmap[0], 0);
		e[1] = with(&f, e[1], A, true);
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x8000, NEST_ACCESSED, bitmap, 0, NULL));
		CHECK_OK(nest_pt_harvest(&f.pt, 0, 0x8000, NEST_ACCESSED, bitmap, 0, NULL));
		CHECK_EQ(bitmap[0], 2);
		fix_close(&f);
	}
}

/* ---- Refusals ---- */

static void refuse(const struct tcase *c)
{
	uint64_t base[2], len, p, ia, *e, bitmap[3] = { 1, 2, 3 };
	struct nest_gather g;
	struct snap before;
	struct fix f, other;
	unsigned n;

	fix_open(&f, c);
	p = f.page;
	n = halves(&f, base, &len);
	ia = place(&f, PLACE_MID, 8 * p);
	CHECK_OK(nest_pt_map(&f.pt, ia, 0, 8 * p, clean_attr(c), NEST_MAP_NO_HUGE, NULL));
	e = entry_at(&f, ia, 0);
	for (unsigned i = 0; i < 8; i++) {
		if (tracked(c, A))
			e[i] = with(&f, e[i], A, true);
		if (tracked(c, D))
			e[i] = with(&f, e[i], D, true);
	}
	fix_open(&other, c);
	nest_gather_init(&g, &other.pt);
	before = snap_take(&f);
	arena_mark(&f.a);
	for (unsigned d = 0; d < 2; d++) {
		const nest_attr_t which = d ? D : A;

		CHECK_RC(nest_pt_harvest(NULL, ia, 8 * p, which, bitmap, 0, NULL), NEST_E_INVAL);
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, which, bitmap, NEST_HARVEST_KEEP << 1,
					 NULL),
			 NEST_E_INVAL);
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, which, bitmap, NEST_SKIP_HOLES, NULL),
			 NEST_E_INVAL);
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, which, bitmap, 0, &g), NEST_E_INVAL);
		CHECK_RC(nest_pt_harvest(&f.pt, ia + 8, 8 * p, which, bitmap, 0, NULL),
			 NEST_E_ALIGN);
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p - 8, which, bitmap, 0, NULL),
			 NEST_E_ALIGN);
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 0, which, bitmap, 0, NULL), NEST_E_RANGE);
		CHECK_RC(nest_pt_harvest(&f.pt, base[n - 1], len + p, which, bitmap, 0, NULL),
			 NEST_E_RANGE);
		CHECK_RC(nest_pt_harvest(&f.pt, base[n - 1] + len - p, 2 * p, which, bitmap, 0,
					 NULL),
			 NEST_E_RANGE);
		if (n == 2)
			CHECK_RC(nest_pt_harvest(&f.pt, base[0] + len - p,
						 base[1] - (base[0] + len) + 2 * p, which, bitmap,
						 0, NULL),
				 NEST_E_RANGE);
		if (tracked(c, d ? D : A))
			continue;
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, which, bitmap, 0, NULL),
			 NEST_E_UNSUPPORTED);
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, which, bitmap, NEST_HARVEST_KEEP, NULL),
			 NEST_E_UNSUPPORTED);
	}
	CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, 0, bitmap, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, D | NEST_W, bitmap, 0, NULL), NEST_E_INVAL);
	if (!tracked(c, D) || !tracked(c, A))
		CHECK_RC(nest_pt_harvest(&f.pt, ia, 8 * p, A | D, bitmap, 0, NULL),
			 NEST_E_UNSUPPORTED);
	CHECK_EQ(bitmap[0], 1);
	CHECK_EQ(bitmap[1], 2);
	CHECK_EQ(bitmap[2], 3);
	CHECK_EQ(f.a.nr_ev, 0);
	check_unchanged(&f, &before);
	snap_free(&before);
	fix_close(&other);
	fix_close(&f);
	CHECK_RC(nest_pt_harvest(&f.pt, 0, p, NEST_ACCESSED, bitmap, 0, NULL), NEST_E_INVAL);
}

static void what_is_refused_changes_nothing(void **state)
{
	(void)state;
	every_case(refuse);
}

/* dst may look at what src owns, and src may change it. */
static void linked(const struct tcase *c)
{
	struct nest_pt_config cfg = { .format = c->format,
				      .features = c->features,
				      .ia_bits = c->ia_bits,
				      .flags = c->flags };
	uint64_t t, ia, own, p, *e, word, bitmap = 0;
	struct nest_pt dst;
	struct fix f;

	if (!tracked(c, D))
		return;
	fix_open(&f, c);
	t = span(&f, f.top);
	p = f.page;
	if (f.top == 0 || c->ia_bits < raw_shift(&f.geo, f.top) + 2) {
		fix_close(&f);
		return;
	}
	ia = place(&f, PLACE_MID, t);
	own = place(&f, PLACE_LOW, t);
	cfg.host = &f.a.host;
	cfg.ctx = &f.a;
	CHECK_OK(nest_pt_init(&dst, &cfg));
	CHECK_OK(nest_pt_map(&f.pt, ia + 3 * p, 0, p, clean_attr(c), 0, NULL));
	CHECK_OK(nest_pt_share(&dst, &f.pt, ia, t));
	CHECK_OK(nest_pt_map(&dst, own, 0, p, clean_attr(c), 0, NULL));
	e = entry_at(&f, ia + 3 * p, 0);
	word = with(&f, *e, D, true);
	*e = word;
	arena_mark(&f.a);
	CHECK_RC(nest_pt_harvest(&dst, ia, 8 * p, NEST_DIRTY, &bitmap, 0, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_harvest(&dst, ia + t - p, p, NEST_DIRTY, NULL, 0, NULL), NEST_E_DENIED);
	CHECK_EQ(bitmap, 0);
	CHECK_EQ(*e, word);
	CHECK_OK(nest_pt_harvest(&dst, ia, 8 * p, NEST_DIRTY, &bitmap, NEST_HARVEST_KEEP, NULL));
	CHECK_EQ(bitmap, 8);
	CHECK_EQ(*e, word);
	CHECK_OK(nest_pt_harvest(&dst, own, t, NEST_DIRTY, &bitmap, 0, NULL));
	CHECK_EQ(bitmap, 8);
	CHECK_EQ(f.a.nr_ev, 0);
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 8 * p, NEST_DIRTY, &bitmap, 0, NULL));
	CHECK_EQ(*e, with(&f, word, D, false));
	f.a.watch = NULL;
	nest_pt_destroy(&dst);
	fix_close(&f);
}

static void what_is_linked_from_elsewhere_is_only_looked_at(void **state)
{
	(void)state;
	sweep(SWEEP_DEFAULT_WIDTH, linked);
}

/* ---- Hardware that writes at any moment ---- */

/*
 * The format's own functions, with the hardware in them: at the n-th time that the engine asks for
 * attributes or a leaf, which is between its reading an entry and its writing it, the victim is
 * written to.
 */
static struct {
	int (*attr)(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out);
	int (*leaf)(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out);
	const struct fix *f;
	uint64_t *victim;
	nest_attr_t set;
	unsigned countdown;
} race;

static void strike(void)
{
	if (race.countdown && --race.countdown == 0)
		*race.victim = with(race.f, *race.victim, race.set, true);
}

static int racing_attr(uint32_t features, unsigned level, nest_pte_t pte, nest_attr_t *out)
{
	int err = race.attr(features, level, pte, out);

	strike();
	return err;
}

static int racing_leaf(uint32_t features, unsigned level, nest_attr_t attr, nest_pte_t *out)
{
	int err = race.leaf(features, level, attr, out);

	strike();
	return err;
}

enum { RACE_PAGES = 32 };

/* Of every 16 pages (a group, if there are groups) 1 is dirty, 2 accessed, 3 both. */
static bool race_once(struct fix *f, nest_attr_t which, nest_attr_t set, unsigned victim,
		      unsigned moment)
{
	uint64_t *e = entry_at(f, 0, 0), bitmap = 0, was[RACE_PAGES];
	struct nest_format format = *f->c.format;
	struct nest_fmt fmt = *format.fmt;
	bool struck;

	for (unsigned i = 0; i < RACE_PAGES; i++) {
		unsigned k = i % 16;

		e[i] = with(f, with(f, e[i], A, k == 2 || k == 3), D, k == 1 || k == 3);
		was[i] = e[i];
	}
	race.attr = fmt.attr;
	race.leaf = fmt.leaf;
	race.f = f;
	race.victim = &e[victim];
	race.set = set;
	race.countdown = moment;
	fmt.attr = racing_attr;
	fmt.leaf = racing_leaf;
	format.fmt = &fmt;
	f->pt.format = &format;
	CHECK_OK(nest_pt_harvest(&f->pt, 0, RACE_PAGES * f->page, which, &bitmap, 0, NULL));
	f->pt.format = f->c.format;
	struck = race.countdown == 0;
	for (unsigned i = 0; i < RACE_PAGES; i++) {
		nest_attr_t other = which ^ (A | D);
		bool hit = struck && i == victim;

		/* Told, or there for the next. */
		if (is_set(f, was[i], which) || (hit && set == which))
			CHECK((bitmap >> i & 1) || is_set(f, e[i], which));
		/* The other is none of its business. */
		CHECK_EQ(is_set(f, e[i], other), is_set(f, was[i], other) || (hit && set == other));
		CHECK_EQ(with(f, with(f, e[i], A, false), D, false),
			 with(f, with(f, was[i], A, false), D, false));
	}
	return struck;
}

static void what_hardware_sets_meanwhile_is_not_lost(void **state)
{
	static const unsigned victims[] = { 0, 1, 2, 3, 15, 17, 18, 31 };

	(void)state;
	for (unsigned n = 0; n < 2 * NR_MACHINES; n++) {
		const struct machine *m = &machines[n / 2];
		uint32_t known = tcase_of(m->format, 0, 0, 0).info.features;
		unsigned struck = 0;
		struct fix f;

		if (n % 2 && !(known & NEST_FEAT_CONTIG))
			continue;
		open_machine(&f, m, n % 2 ? NEST_FEAT_CONTIG : 0);
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x80000000, RACE_PAGES * f.page, m->attr, 0, NULL));
		for (unsigned k = 0; k < 4 * sizeof(victims) / sizeof(*victims); k++) {
			unsigned moment = 1;

			while (race_once(&f, k & 1 ? A : D, k & 2 ? A : D, victims[k / 4], moment))
				moment++;
			struck += moment - 1;
		}
		CHECK(struck > 100);
		fix_close(&f);
	}
}

/* ---- Both at once ---- */

static void accessed_and_dirty(const struct tcase *c)
{
	struct fix f;
	uint64_t bitmap = 0, ia, p;
	nest_attr_t attr;
	nest_pte_t e;

	if (!tracked(c, A) || !tracked(c, D))
		return;
	fix_open(&f, c);
	p = f.page;
	ia = place(&f, PLACE_MID, 4 * p);
	attr = f.attr;
	if (nest_pte_leaf(c->format, 0, c->features, 0, attr | NEST_DBM, &e) == NEST_OK)
		attr |= NEST_DBM;
	CHECK_OK(nest_pt_map(&f.pt, ia, 0, 4 * p, attr, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 4 * p, A | D, &bitmap, NEST_HARVEST_KEEP, NULL));
	CHECK_EQ(bitmap, 0xf);
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 4 * p, A | D, NULL, 0, NULL));
	bitmap = 0;
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 4 * p, A | D, &bitmap, 0, NULL));
	CHECK_EQ(bitmap, 0);
	CHECK_OK(nest_pt_protect(&f.pt, ia + p, p, A, 0, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, ia + 2 * p, p, D, 0, 0, NULL));
	CHECK_OK(nest_pt_harvest(&f.pt, ia, 4 * p, A | D, &bitmap, 0, NULL));
	CHECK_EQ(bitmap, 6);
	bitmap = 0;
	for (unsigned which = 0; which < 2; which++)
		CHECK_OK(nest_pt_harvest(&f.pt, ia, 4 * p, which ? A : D, &bitmap, 0, NULL));
	CHECK_EQ(bitmap, 0);
	fix_close(&f);
}

static void both_are_told_by_one_harvest(void **state)
{
	(void)state;
	every_case(accessed_and_dirty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_one_bit_of_an_entry_changes),
		cmocka_unit_test(any_range_tells_what_hardware_set),
		cmocka_unit_test(a_block_covered_in_part_stays_dirty),
		cmocka_unit_test(a_group_is_dirty_by_any_member_and_never_broken),
		cmocka_unit_test(exactly_what_became_clean_is_flushed),
		cmocka_unit_test(tables_are_synced_where_they_changed),
		cmocka_unit_test(aarch64_dirty_is_what_a_query_says_or_cannot_say),
		cmocka_unit_test(writable_pages_that_cannot_tell_are_told_as_dirty),
		cmocka_unit_test(what_is_refused_changes_nothing),
		cmocka_unit_test(what_is_linked_from_elsewhere_is_only_looked_at),
		cmocka_unit_test(what_hardware_sets_meanwhile_is_not_lost),
		cmocka_unit_test(both_are_told_by_one_harvest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
