/* SPDX-License-Identifier: MIT */
/*
 * The table as text, for people: a line a run of equal pages, however many there are.
 */
#include "core/operate.h"

struct dump {
	nest_putc_fn put;
	void *ctx;
	unsigned digits; /* of an input address */
	struct nest_mapping run;
	uint64_t pages; /* in the run; 0: none yet */
};

static void put_text(const struct dump *d, const char *s)
{
	while (*s)
		d->put(d->ctx, *s++);
}

static void put_hex(const struct dump *d, uint64_t v, unsigned digits)
{
	while (digits--)
		d->put(d->ctx, "0123456789abcdef"[v >> (digits * 4) & 15]);
}

static void put_number(const struct dump *d, uint64_t v)
{
	char text[21];
	unsigned i = sizeof(text) - 1;

	text[i] = '\0';
	do {
		text[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put_text(d, &text[i]);
}

/* 4096 as "4K", up to "E": sizes are powers of two. */
static void put_size(const struct dump *d, uint64_t size)
{
	unsigned unit = 0;

	while (size >= 1024) {
		size >>= 10;
		unit++;
	}
	put_number(d, size);
	d->put(d->ctx, "BKMGTPE"[unit]);
}

static void put_attr(const struct dump *d, nest_attr_t attr)
{
	static const struct {
		nest_attr_t bit;
		char letter;
		char none;
	} bits[] = {
		{ NEST_R, 'r', '-' },         { NEST_W, 'w', '-' },      { NEST_X, 'x', '-' },
		{ NEST_XU, 'X', '\0' },       { NEST_U, 'u', '\0' },     { NEST_G, 'g', '\0' },
		{ NEST_ACCESSED, 'a', '\0' }, { NEST_DIRTY, 'd', '\0' }, { NEST_DBM, 'm', '\0' },
		{ NEST_SW0, '0', '\0' },      { NEST_SW1, '1', '\0' },   { NEST_SW2, '2', '\0' },
	};
	static const char types[8][4] = { "wb", "wt", "wc", "uc", "dev", "str", "?", "?" };

	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		char c = attr & bits[i].bit ? bits[i].letter : bits[i].none;

		if (c)
			d->put(d->ctx, c);
	}
	d->put(d->ctx, ' ');
	put_text(d, types[(attr & NEST_MT_MASK) >> 8]);
}

static void end_run(struct dump *d)
{
	const struct nest_mapping *m = &d->run;

	if (!d->pages)
		return;
	put_text(d, "  ");
	put_hex(d, m->ia, d->digits);
	d->put(d->ctx, '-');
	put_hex(d, m->ia + (d->pages * m->size - 1), d->digits);
	if (m->kind == NEST_PTE_MARK) {
		put_text(d, " mark ");
		put_number(d, m->mark);
	} else {
		put_text(d, " -> ");
		put_hex(d, m->pa, d->digits);
		d->put(d->ctx, ' ');
		put_attr(d, m->attr);
	}
	put_text(d, "  ");
	put_number(d, d->pages);
	put_text(d, " x ");
	put_size(d, m->size);
	put_text(d, m->contiguous ? " contiguous\n" : "\n");
	d->pages = 0;
}

static bool joins(const struct dump *d, const struct nest_mapping *m)
{
	const struct nest_mapping *r = &d->run;
	uint64_t length = d->pages * r->size;

	if (!d->pages || m->kind != r->kind || m->size != r->size || m->attr != r->attr ||
	    m->contiguous != r->contiguous || m->mark != r->mark || m->ia != r->ia + length)
		return false;
	return m->kind == NEST_PTE_MARK || m->pa == r->pa + length;
}

static int visit(void *ctx, const struct nest_mapping *m)
{
	struct dump *d = ctx;

	if (!joins(d, m)) {
		end_run(d);
		d->run = *m;
	}
	d->pages++;
	return 0;
}

int nest_pt_dump(const struct nest_pt *pt, nest_putc_fn put, void *ctx)
{
	struct dump d = { .put = put, .ctx = ctx };
	uint64_t last;

	if (!nest_is_live(pt) || !put)
		return NEST_E_INVAL;
	last = ((uint64_t)1 << pt->ia_bits) - 1;
	d.digits = (pt->ia_bits + 3u) / 4;
	if (pt->oa_bits > pt->ia_bits)
		d.digits = (pt->oa_bits + 3u) / 4;
	if (nest_off_to_ia(pt, last) != last)
		d.digits = 16;
	put_text(&d, nest_format_name(pt->format));
	put_text(&d, ": ");
	put_number(&d, pt->ia_bits);
	put_text(&d, "-bit input, ");
	put_number(&d, nest_pt_levels(pt));
	put_text(&d, " levels, root ");
	put_hex(&d, pt->root, d.digits);
	put_text(&d, ", ");
	put_number(&d, pt->nr_tables);
	put_text(&d, " tables\n");
	(void)nest_walk_range(pt, 0, last, NEST_WALK_MARKS, visit, &d, NULL);
	end_run(&d);
	return NEST_OK;
}
