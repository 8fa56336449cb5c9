/* SPDX-License-Identifier: MIT */
/*
 * A table on its arena for one case of the sweep, and the checks that compare what the engine says
 * (walk, query, statistics) with what the raw walker sees.
 */
#include "support.h"

static const uint32_t feature_sets[] = {
	0,
	NEST_FEAT_1G,
	NEST_FEAT_1G | NEST_FEAT_LA57 | NEST_FEAT_PAT,
	NEST_FEAT_1G | NEST_FEAT_XO | NEST_FEAT_MBEC | NEST_FEAT_VE,
	NEST_FEAT_HW_AD,
	NEST_FEAT_SW_AD,
	NEST_FEAT_CONTIG,
	NEST_FEAT_CONTIG | NEST_FEAT_XNX | NEST_FEAT_S2FWB,
	NEST_FEAT_CONTIG | NEST_FEAT_BBM2,
	NEST_FEAT_CONTIG | NEST_FEAT_LPA2,
	NEST_FEAT_CONTIG | NEST_FEAT_LPA,
	NEST_FEAT_CONTIG | NEST_FEAT_PBMT | NEST_FEAT_SVVPTC | NEST_FEAT_HW_AD,
	NEST_FEAT_EL2,
	NEST_FEAT_PTW | NEST_FEAT_HW_AD,
};

struct tcase tcase_of(const struct nest_format *format, uint32_t features, unsigned ia_bits,
		      uint32_t flags)
{
	struct tcase c = { .format = format, .features = features, .flags = flags };

	CHECK_OK(nest_format_describe(format, features, &c.info));
	c.name = nest_format_name(format);
	c.ia_bits = ia_bits ? ia_bits : c.info.ia_default;
	return c;
}

const struct nest_format *format_or_skip(const char *name)
{
	const struct nest_format *format = nest_format_by_name(name);

	if (!format && !nest_formats[1])
		skip();
	CHECK(format != NULL);
	return format;
}

static bool legal(const struct tcase *c)
{
	static struct arena a;
	struct nest_pt pt;
	struct nest_pt_config cfg = { .format = c->format,
				      .features = c->features,
				      .ia_bits = c->ia_bits,
				      .flags = c->flags,
				      .ctx = &a };
	int rc;

	arena_open(&a, (uint64_t)4 << 20);
	cfg.host = &a.host;
	rc = nest_pt_init(&pt, &cfg);
	check_at(rc == NEST_OK || rc == NEST_E_UNSUPPORTED, "init of a width", __FILE__, __LINE__);
	if (rc == NEST_OK)
		nest_pt_destroy(&pt);
	CHECK_EQ(a.outstanding, 0);
	arena_close(&a);
	return rc == NEST_OK;
}

static bool wanted(const struct tcase *c, enum sweep_widths widths)
{
	if (widths == SWEEP_ALL_WIDTHS || c->ia_bits == c->info.ia_default)
		return true;
	return widths == SWEEP_SOME_WIDTHS &&
	       (c->ia_bits == c->info.ia_min || c->ia_bits == c->info.ia_max);
}

/* NEST_SWEEP_PART="k/n": of every n cases, the one numbered k (from 0). Unset: all of them. */
static void read_part(unsigned *k, unsigned *n)
{
	const char *part = getenv("NEST_SWEEP_PART");

	*k = 0;
	*n = 1;
	if (part)
		CHECK(sscanf(part, "%u/%u", k, n) == 2 && *k < *n);
}

bool sweep_is_whole(void)
{
	unsigned k, n;

	read_part(&k, &n);
	return n == 1 && nest_formats[1];
}

void sweep(enum sweep_widths widths, void (*fn)(const struct tcase *c))
{
	struct nest_format_info base;
	unsigned k, parts, cases = 0, ran = 0;

	read_part(&k, &parts);
	for (unsigned n = 0; nest_formats[n]; n++) {
		CHECK_OK(nest_format_describe(nest_formats[n], 0, &base));
		for (unsigned i = 0; i < sizeof(feature_sets) / sizeof(*feature_sets); i++) {
			struct tcase c;

			if (feature_sets[i] & ~base.features)
				continue;
			c = tcase_of(nest_formats[n], feature_sets[i], 0, 0);
			for (unsigned b = c.info.ia_min; b <= c.info.ia_max; b++) {
				c.ia_bits = b;
				if (!wanted(&c, widths))
					continue;
				snprintf(test_case, sizeof(test_case), "%s features 0x%x ia %u",
					 c.name, c.features, b);
				if (!legal(&c) || cases++ % parts != k)
					continue;
				fn(&c);
				ran++;
			}
		}
	}
	CHECK(ran > 0);
}

static void set_geometry(struct fix *f)
{
	const char *name = f->c.name;
	struct raw_geo *g = &f->geo;
	bool s2 = f->c.info.stage2;

	if (!strcmp(name, "ept"))
		g->arch = RAW_EPT;
	else if (!strcmp(name, "npt") || !strncmp(name, "x86", 3))
		g->arch = RAW_X86;
	else if (!strncmp(name, "aarch64", 7))
		g->arch = s2 ? RAW_ARM_S2 : RAW_ARM_S1;
	else if (!strncmp(name, "riscv", 5))
		g->arch = RAW_RISCV;
	else
		g->arch = RAW_LOONG;
	g->user_leaf = s2;
	g->el2 = (f->c.features & NEST_FEAT_EL2) != 0;
	g->wide = (f->c.features & (NEST_FEAT_LPA2 | NEST_FEAT_LPA)) != 0;
	g->mbec = (f->c.features & NEST_FEAT_MBEC) != 0;
	g->page_shift = f->c.info.page_shift;
	g->levels = nest_pt_levels(&f->pt);
	g->ia_bits = f->c.ia_bits;
	g->root = nest_pt_root(&f->pt);
}

static void *geo_ptr(void *ctx, uint64_t pa)
{
	return arena_ptr(ctx, pa);
}

void fix_open(struct fix *f, const struct tcase *c)
{
	struct nest_pt_config cfg = { .format = c->format,
				      .features = c->features,
				      .ia_bits = c->ia_bits,
				      .flags = c->flags };
	bool arm_d = !strncmp(c->name, "aarch64", 7);

	memset(f, 0, sizeof(*f));
	f->c = *c;
	snprintf(test_case, sizeof(test_case), "%s features 0x%x ia %u%s%s", c->name, c->features,
		 c->ia_bits, c->plain ? " plain" : "",
		 c->flags & NEST_PT_UPPER    ? " upper"
		 : c->flags & NEST_PT_SHARED ? " shared"
					     : "");
	arena_open(&f->a, (uint64_t)64 << 20);
	if (c->plain)
		arena_use_plain(&f->a);
	if (c->flags & NEST_PT_SHARED)
		arena_use_defer(&f->a);
	cfg.host = &f->a.host;
	cfg.ctx = &f->a;
	CHECK_OK(nest_pt_init(&f->pt, &cfg));
	set_geometry(f);
	f->geo.ptr = geo_ptr;
	f->geo.ctx = &f->a;
	f->page = (uint64_t)1 << c->info.page_shift;
	f->top = nest_pt_levels(&f->pt) - 1;
	while (f->max_leaf < f->top && c->info.leaf_levels >> (f->max_leaf + 1) & 1)
		f->max_leaf++;
	f->attr = NEST_RWX;
	if ((c->features & (NEST_FEAT_HW_AD | NEST_FEAT_SW_AD)) || arm_d ||
	    strcmp(c->name, "ept") != 0)
		f->attr |= NEST_ACCESSED | NEST_DIRTY;
	f->w = f->attr & (NEST_W | NEST_DIRTY);
	f->tables0 = f->a.outstanding;
	f->a.watch = &f->geo;
	arena_mark(&f->a);
}

void fix_close(struct fix *f)
{
	arena_run_deferred(&f->a);
	f->a.watch = NULL;
	f->a.nr_ev = 0;
	nest_pt_destroy(&f->pt);
	arena_run_deferred(&f->a);
	CHECK_EQ(f->a.outstanding, 0);
	arena_close(&f->a);
}

uint64_t span(const struct fix *f, unsigned level)
{
	return (uint64_t)1 << raw_shift(&f->geo, level);
}

uint64_t group(const struct fix *f, unsigned level)
{
	unsigned shift = f->c.info.contig_shift[level];

	return shift ? span(f, level) << shift : 0;
}

nest_attr_t plain_attr(nest_attr_t attr)
{
	return attr & ~(NEST_ACCESSED | NEST_DIRTY);
}

unsigned halves(const struct fix *f, uint64_t base[2], uint64_t *size)
{
	unsigned bits = f->c.ia_bits;

	base[0] = 0;
	*size = (uint64_t)1 << bits;
	if (f->c.flags & NEST_PT_UPPER)
		base[0] = ~(uint64_t)0 << bits;
	if (!f->c.info.sign_extended)
		return 1;
	*size /= 2;
	base[1] = ~(uint64_t)0 << (bits - 1);
	return 2;
}

uint64_t place(const struct fix *f, enum place where, uint64_t size)
{
	uint64_t base[2], len, half = (uint64_t)1 << (f->c.ia_bits - 1);
	unsigned n = halves(f, base, &len);

	CHECK(size <= half);
	switch (where) {
	case PLACE_LOW:
		return base[0];
	case PLACE_LOW_TOP:
		return base[0] + half - size;
	case PLACE_MID:
		return n == 2 ? base[1] : base[0] + half;
	case PLACE_TOP:
	case NR_PLACES:
		break;
	}
	return base[n - 1] + (len - size);
}

static int collect(void *ctx, const struct nest_mapping *m)
{
	struct snap *s = ctx;

	if ((s->n & (s->n - 1)) == 0)
		s->m = realloc(s->m, (s->n ? s->n * 2 : 1) * sizeof(*s->m));
	s->m[s->n++] = *m;
	return 0;
}

static void digest(void *ctx, const struct raw_leaf *l)
{
	uint64_t *h = ctx;

	*h = (*h ^ l->ia) * 0x100000001b3u;
	*h = (*h ^ l->entry) * 0x100000001b3u;
	*h = (*h ^ l->level) * 0x100000001b3u;
}

struct snap snap_take(struct fix *f)
{
	uint64_t base[2], size;
	struct snap s = { .outstanding = f->a.outstanding, .raw = 0xcbf29ce484222325u };
	unsigned n = halves(f, base, &size);

	for (unsigned i = 0; i < n; i++)
		CHECK_OK(nest_pt_walk(&f->pt, base[i], size, NEST_WALK_MARKS, collect, &s));
	CHECK(raw_scan(&f->geo, NULL, digest, &s.raw));
	return s;
}

void snap_free(struct snap *s)
{
	free(s->m);
	s->m = NULL;
	s->n = 0;
}

static bool same_mapping(const struct nest_mapping *a, const struct nest_mapping *b)
{
	return a->ia == b->ia && a->pa == b->pa && a->size == b->size && a->attr == b->attr &&
	       a->level == b->level && a->contiguous == b->contiguous && a->mark == b->mark &&
	       a->kind == b->kind;
}

bool snap_same(const struct snap *a, const struct snap *b)
{
	if (a->n != b->n || a->outstanding != b->outstanding || a->raw != b->raw)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (!same_mapping(&a->m[i], &b->m[i]))
			return false;
	}
	return true;
}

void check_unchanged(struct fix *f, const struct snap *before)
{
	struct snap now = snap_take(f);

	CHECK_EQ(now.n, before->n);
	CHECK_EQ(now.outstanding, before->outstanding);
	CHECK_EQ(now.raw, before->raw);
	CHECK(snap_same(&now, before));
	snap_free(&now);
}

/* Leaves come in order, so what they share a table with came just before. */
uint64_t tables_needed(const struct fix *f, const struct snap *s)
{
	uint64_t last[NEST_MAX_LEVELS], n = 0;

	for (unsigned l = 0; l < NEST_MAX_LEVELS; l++)
		last[l] = ~(uint64_t)0;
	for (size_t i = 0; i < s->n; i++) {
		uint64_t off = s->m[i].ia & (~(uint64_t)0 >> (64 - f->c.ia_bits));
		uint64_t end = off + (s->m[i].size - 1);

		/* A mark run may span tables; a leaf or group never does. */
		for (unsigned l = s->m[i].level; l < f->top; l++) {
			uint64_t a = off >> raw_shift(&f->geo, l + 1);
			uint64_t b = end >> raw_shift(&f->geo, l + 1);

			n += b - a + (a != last[l]);
			last[l] = b;
		}
	}
	return n;
}

struct tally {
	struct fix *f;
	const struct snap *s;
	size_t at; /* the walk's mapping that the next raw leaf should be part of */
	uint64_t bytes;
};

static void match_leaf(void *ctx, const struct raw_leaf *l)
{
	struct tally *t = ctx;
	uint64_t mask = ~(uint64_t)0 >> (64 - t->f->c.ia_bits), off, size;
	const struct nest_mapping *m;

	while (t->at < t->s->n && t->s->m[t->at].kind == NEST_PTE_MARK)
		t->at++;
	CHECK(t->at < t->s->n);
	m = &t->s->m[t->at];
	off = l->ia - (m->ia & mask);
	size = span(t->f, l->level);
	CHECK_EQ(m->kind, NEST_PTE_LEAF);
	CHECK_EQ(m->level, l->level);
	CHECK_EQ(m->contiguous, l->contiguous);
	CHECK(off < m->size);
	CHECK_EQ(l->pa, m->pa + off);
	CHECK_EQ(m->size, l->contiguous ? size << raw_group_shift(&t->f->geo, l->level) : size);
	CHECK_EQ(l->r, (m->attr & NEST_R) != 0);
	CHECK_EQ(l->x, (m->attr & NEST_X) != 0);
	if (!(t->f->c.features & (NEST_FEAT_HW_D | NEST_FEAT_SW_AD)))
		CHECK_EQ(l->w, (m->attr & NEST_W) != 0);
	t->bytes += size;
	if (off + size == m->size)
		t->at++;
}

static void check_query(struct fix *f, const struct nest_mapping *m)
{
	/* First byte, last byte, and one inside. */
	uint64_t at[3] = { 0, m->size - 1, (m->size / 2) | 1 };

	for (unsigned i = 0; i < 3; i++) {
		struct nest_mapping q;
		int rc = nest_pt_query(&f->pt, m->ia + at[i], &q);

		CHECK_RC(rc, m->kind == NEST_PTE_LEAF ? NEST_OK : NEST_E_NOTMAPPED);
		CHECK_EQ(q.kind, m->kind);
		CHECK_EQ(q.mark, m->mark);
		if (m->kind != NEST_PTE_LEAF)
			continue;
		CHECK_EQ(q.ia, m->ia + at[i]);
		CHECK_EQ(q.pa, m->pa + at[i]);
		CHECK_EQ(q.size, m->size);
		CHECK_EQ(q.attr, m->attr);
		CHECK_EQ(q.level, m->level);
		CHECK_EQ(q.contiguous, m->contiguous);
	}
}

void check_consistent(struct fix *f)
{
	struct snap s = snap_take(f);
	struct tally t = { .f = f, .s = &s };
	struct nest_pt_stats st;
	uint64_t mapped = 0;

	CHECK(raw_scan(&f->geo, NULL, match_leaf, &t));
	for (size_t i = 0; i < s.n; i++) {
		if (s.m[i].kind == NEST_PTE_LEAF)
			mapped += s.m[i].size;
		if (i % (s.n / 128 + 1) == 0)
			check_query(f, &s.m[i]);
	}
	CHECK_EQ(t.bytes, mapped);
	CHECK_OK(nest_pt_stats(&f->pt, &st));
	CHECK_EQ(st.mapped, mapped);
	if (f->a.nr_deferred == 0)
		CHECK_EQ(f->a.outstanding, f->tables0 + tables_needed(f, &s));
	snap_free(&s);
}

void check_maps(struct fix *f, uint64_t ia, nest_pa_t pa, nest_attr_t attr)
{
	struct nest_mapping q;
	struct raw_leaf l;
	nest_attr_t has;
	nest_pa_t at;

	CHECK_OK(nest_pt_query(&f->pt, ia, &q));
	CHECK_OK(nest_pt_translate(&f->pt, ia, &at, &has));
	CHECK(at == q.pa && has == q.attr);
	CHECK_EQ(q.pa, pa);
	CHECK_EQ(plain_attr(q.attr), plain_attr(attr));
	CHECK(raw_translate(&f->geo, ia, &l));
	CHECK_EQ(l.pa, pa);
}

void check_none(struct fix *f, uint64_t ia)
{
	struct nest_mapping q;
	struct raw_leaf l;

	CHECK_RC(nest_pt_query(&f->pt, ia, &q), NEST_E_NOTMAPPED);
	CHECK(!raw_translate(&f->geo, ia, &l));
}

void check_range(struct fix *f, uint64_t ia, nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	uint64_t step = size / f->page > 4096 ? size / 64 & ~(f->page - 1) : f->page;

	for (uint64_t at = 0; at < size; at += step)
		check_maps(f, ia + at, pa + at, attr);
	check_maps(f, ia + size - 1, pa + size - 1, attr);
}

size_t expect_pages(const struct fix *f, uint64_t ia, nest_pa_t pa, uint64_t size, uint32_t flags,
		    struct nest_mapping *out, size_t room)
{
	unsigned cap = flags & 15 ? (flags & 15) - 1 : NEST_MAX_LEVELS - 1;
	bool groups = (flags & 15) != 1;
	size_t n = 0;

	while (size) {
		struct nest_mapping m = { .ia = ia, .pa = pa, .size = f->page };

		for (unsigned l = 0; l <= f->max_leaf && l <= cap; l++) {
			uint64_t s[2] = { span(f, l), groups ? group(f, l) : 0 };

			for (unsigned g = 0; g < 2; g++) {
				if (!s[g] || ((ia | pa) & (s[g] - 1)) || size < s[g])
					continue;
				m.size = s[g];
				m.level = l;
				m.contiguous = g == 1;
			}
		}
		CHECK(n < room);
		out[n++] = m;
		ia += m.size;
		pa += m.size;
		size -= m.size;
	}
	return n;
}
