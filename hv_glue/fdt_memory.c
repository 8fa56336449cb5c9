/* SPDX-License-Identifier: MIT */
/*
 * The free memory of a device tree: ranges of memory less those of reservations.
 *
 * Both kinds are needed in order of address, and a tree has them in any order. Nothing is
 * allocated, and nobody knows how many there are. So one walk over the tree collects the next
 * ranges of each kind, as many as there is room for, in a heap; they are sorted and used up; then
 * the next walk collects those behind them. The room is the part of the caller's array that no
 * result has reached yet, or a few ranges on the stack if they are more.
 *
 * What a reader must not break: results never reach a batch that is in use. Each result but one
 * uses up a range of a batch, and the two batches take at most half of what is free, at its end.
 */
#include "hv_glue/fdt_internal.h"

/* ---- The ranges of a tree, in its own order ---- */

struct scan {
	struct nest_fdt_cursor at;
	struct nest_fdt_list reg;
	bool more_rsv;
	int next_reg, next_rsv;
};

static bool next_reservation(struct scan *s, struct nest_range *out)
{
	/* The list ends with an entry of size 0. */
	s->more_rsv = s->more_rsv &&
		      !fdt_get_mem_rsv(s->at.fdt, s->next_rsv, &out->base, &out->size) && out->size;
	s->next_rsv++;
	return s->more_rsv;
}

/* The next range, which may be empty; NEST_E_NOTMAPPED: that was the last. */
static int next_range(struct scan *s, struct nest_range *out, bool *reserved)
{
	int err;

	if (s->more_rsv && next_reservation(s, out)) {
		*reserved = true;
		return out->base + (out->size - 1) < out->base ? NEST_E_RANGE : NEST_OK;
	}
	while (s->next_reg == s->reg.count) {
		err = nest_fdt_next(&s->at);
		if (err)
			return err;
		if (!nest_fdt_is_memory(&s->at) && !nest_fdt_is_reserved(&s->at))
			continue;
		s->next_reg = 0;
		err = nest_fdt_reg(&s->at, &s->reg);
		if (err)
			return NEST_E_INVAL;
	}
	*reserved = nest_fdt_is_reserved(&s->at);
	err = nest_fdt_reg_range(&s->at, &s->reg, s->next_reg++, out);
	return err == NEST_E_UNSUPPORTED ? NEST_E_INVAL : err;
}

/* ---- The next ranges in order: a batch ---- */

static struct nest_fdt_span get(const struct nest_fdt_batch *b, unsigned i)
{
	struct nest_fdt_span span;

	__builtin_memcpy(&span, &b->slot[i * b->stride], sizeof(span));
	return span;
}

static void put(struct nest_fdt_batch *b, unsigned i, struct nest_fdt_span span)
{
	__builtin_memcpy(&b->slot[i * b->stride], &span, sizeof(span));
}

static bool is_above(struct nest_fdt_span a, struct nest_fdt_span b)
{
	return a.first > b.first || (a.first == b.first && a.last > b.last);
}

/* The heap of n has its largest span at slot 0. Put `span` in place of it. */
static void replace_largest(struct nest_fdt_batch *b, unsigned n, struct nest_fdt_span span)
{
	unsigned i = 0, child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && is_above(get(b, child + 1), get(b, child)))
			child++;
		if (!is_above(get(b, child), span))
			break;
		put(b, i, get(b, child));
		i = child;
	}
	put(b, i, span);
}

/* Keep the span if it was not taken yet, and is among the smallest that there is room for. */
static void offer(struct nest_fdt_batch *b, struct nest_fdt_span span)
{
	unsigned i = b->n;

	if (b->any && !is_above(span, b->taken))
		return;
	if (i == b->room) {
		b->more = true;
		if (is_above(get(b, 0), span))
			replace_largest(b, b->n, span);
		return;
	}
	b->n++;
	while (i && is_above(span, get(b, (i - 1) / 2))) {
		put(b, i, get(b, (i - 1) / 2));
		i = (i - 1) / 2;
	}
	put(b, i, span);
}

static void sort(struct nest_fdt_batch *b)
{
	for (unsigned n = b->n; n > 1; n--) {
		const struct nest_fdt_span span = get(b, n - 1);

		put(b, n - 1, get(b, 0));
		replace_largest(b, n - 1, span);
	}
}

static void take(struct nest_fdt_batch *b)
{
	b->taken = get(b, b->next++);
	b->any = true;
}

static void clear(struct nest_fdt_batch *b, unsigned char *slot, size_t stride, unsigned room)
{
	b->slot = slot;
	b->stride = stride;
	b->room = room;
	b->n = b->next = 0;
	b->more = false;
}

/* ---- Both kinds, and what is left of memory ---- */

void nest_fdt_sweep_init(struct nest_fdt_sweep *s, const void *fdt, uint64_t align)
{
	*s = (struct nest_fdt_sweep){ .fdt = fdt, .align = align };
	s->memory.more = s->reserved.more = true;
}

static bool is_used_up(const struct nest_fdt_batch *b)
{
	return b->next == b->n && !b->more;
}

/* Empty batches; a kind that is used up leaves all of the room to the other one. */
static void clear_both(struct nest_fdt_sweep *s)
{
	unsigned n = s->room ? (s->room - 1) / 4 * 2 : 0, memory;
	unsigned char *slot = s->slot;
	size_t stride = s->stride;

	if (n < 2 * NEST_FDT_BATCH) {
		n = 2 * NEST_FDT_BATCH;
		slot = (unsigned char *)s->spare;
		stride = sizeof(*s->spare);
	} else {
		slot = &slot[(s->room - n) * stride];
	}
	memory = is_used_up(&s->reserved) ? n : is_used_up(&s->memory) ? 0 : n / 2;
	clear(&s->memory, slot, stride, memory);
	clear(&s->reserved, &slot[memory * stride], stride, n - memory);
}

/* New batches of what was not taken yet. NEST_E_NOTMAPPED: no memory node. */
static int refill(struct nest_fdt_sweep *s)
{
	struct scan scan = { .at = nest_fdt_start(s->fdt), .more_rsv = true };
	bool has_memory = false, reserved;
	struct nest_range r;
	int err;

	clear_both(s);
	while (!(err = next_range(&scan, &r, &reserved))) {
		has_memory |= !reserved;
		if (r.size)
			offer(reserved ? &s->reserved : &s->memory,
			      (struct nest_fdt_span){ r.base, r.base + (r.size - 1) });
	}
	sort(&s->memory);
	sort(&s->reserved);
	return err == NEST_E_NOTMAPPED && has_memory ? NEST_OK : err;
}

/* The smallest range that was not taken: 1; 0: all were; or an error. */
static int peek(struct nest_fdt_sweep *s, struct nest_fdt_batch *b, struct nest_fdt_span *out)
{
	if (b->next == b->n && b->more) {
		int err = refill(s);

		if (err)
			return err;
	}
	if (is_used_up(b))
		return 0;
	*out = get(b, b->next);
	return 1;
}

/* Begin a run of memory if there is none; join what overlaps or follows it. 1, 0 or an error. */
static int join_memory(struct nest_fdt_sweep *s)
{
	struct nest_fdt_span m;
	int rc;

	while ((rc = peek(s, &s->memory, &m)) > 0) {
		if (!s->in_run)
			s->run = m;
		else if (m.first > s->run.last && m.first - 1 != s->run.last)
			break;
		else if (m.last > s->run.last)
			s->run.last = m.last;
		s->in_run = true;
		take(&s->memory);
	}
	return rc < 0 ? rc : s->in_run;
}

/* The part of the run before the next reservation, which may be empty: 1; 0: no memory; error. */
static int next_part(struct nest_fdt_sweep *s, struct nest_fdt_span *out, bool *empty)
{
	struct nest_fdt_span r = { 0, 0 };
	int rc = join_memory(s);

	if (rc <= 0)
		return rc;
	while ((rc = peek(s, &s->reserved, &r)) > 0 && r.last < s->run.first)
		take(&s->reserved);
	if (rc < 0)
		return rc;
	*out = s->run;
	*empty = false;
	if (rc == 0 || r.first > s->run.last) {
		s->in_run = false;
		return 1;
	}
	*empty = r.first <= s->run.first;
	out->last = r.first - 1;
	if (r.last >= s->run.last) {
		/* It may reserve something of the next run, too. */
		s->in_run = false;
		return 1;
	}
	s->run.first = r.last + 1;
	take(&s->reserved);
	return 1;
}

int nest_fdt_next_free(struct nest_fdt_sweep *s, struct nest_range *out)
{
	const uint64_t mask = s->align - 1;
	struct nest_fdt_span part;
	bool empty;
	int rc;

	out->size = 0;
	while (!out->size && (rc = next_part(s, &part, &empty)) != 0) {
		if (rc < 0)
			return rc;
		out->base = (part.first + mask) & ~mask;
		if (empty || out->base < part.first || out->base > part.last)
			continue;
		out->size = part.last - out->base + 1;
		if (!out->size)
			return NEST_E_RANGE;
		out->size &= ~mask;
	}
	return NEST_OK;
}

int nest_fdt_memory(const void *fdt, uint64_t align, struct nest_range *out, unsigned *count)
{
	struct nest_fdt_sweep s;
	struct nest_range r;
	int err;

	if (!count)
		return NEST_E_INVAL;
	nest_fdt_sweep_init(&s, fdt, align);
	s.slot = out;
	s.stride = sizeof(*out);
	s.room = *count;
	*count = 0;
	if ((s.room && !out) || !align || (align & (align - 1)))
		return NEST_E_INVAL;
	err = nest_fdt_check_whole(fdt);
	while (!err && !(err = nest_fdt_next_free(&s, &r)) && r.size) {
		if (!s.room)
			return NEST_E_NOMEM;
		out[(*count)++] = r;
		s.slot = &out[*count];
		s.room--;
	}
	return err;
}
