/* SPDX-License-Identifier: MIT */
/*
 * The arena host: physical memory, allocator, TLB and grace period of the engine tests.
 *
 * The flush log is what makes "write, then invalidate, then reuse" checkable from outside: at each
 * flush the raw walker learns which tables are still reachable, and free() refuses one that no
 * flush has covered since it was unlinked.
 */
#include "support.h"

char test_case[256];

void check_at(bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	print_error("in %s: %s\n", test_case, what);
	_fail(file, line);
}

void check_eq_at(uint64_t a, uint64_t b, const char *what, const char *file, int line)
{
	if (a == b)
		return;
	print_error("in %s: %s: 0x%llx != 0x%llx\n", test_case, what, (unsigned long long)a,
		    (unsigned long long)b);
	_fail(file, line);
}

uint64_t test_seed(void)
{
	const char *s = getenv("NEST_SEED");
	uint64_t seed = s ? strtoull(s, NULL, 0) : 0x5eed;

	print_message("NEST_SEED=0x%llx\n", (unsigned long long)seed);
	return seed;
}

/* splitmix64 */
uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static struct event *log_event(struct arena *a, enum event_kind kind)
{
	struct event *e;

	check_at(a->nr_ev < ARENA_EVENTS, "event log is full: arena_mark() more often", __FILE__,
		 __LINE__);
	e = &a->ev[a->nr_ev++];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	return e;
}

static struct unit *unit_of(const struct arena *a, nest_pa_t pa)
{
	return &a->unit[(pa - ARENA_BASE) / ARENA_UNIT];
}

bool arena_owns(const struct arena *a, nest_pa_t pa)
{
	return pa >= ARENA_BASE && pa - ARENA_BASE < a->size && unit_of(a, pa)->used;
}

void *arena_ptr(struct arena *a, nest_pa_t pa)
{
	CHECK(arena_owns(a, pa));
	return a->mem + (pa - ARENA_BASE);
}

static nest_pa_t arena_alloc(void *ctx, size_t size)
{
	struct arena *a = ctx;
	uint64_t want = size / ARENA_UNIT, units = a->size / ARENA_UNIT;

	CHECK(size >= ARENA_UNIT && (size & (size - 1)) == 0);
	if (a->fail_in && --a->fail_in == 0) {
		a->fail_in = a->fail_rest;
		return NEST_PA_NONE;
	}
	for (uint64_t tried = 0; tried < units; tried += want) {
		uint64_t u = (a->hint + tried + want - 1) / want * want % units, n = 0;

		while (n < want && !a->unit[u + n].used)
			n++;
		if (n < want)
			continue;
		memset(&a->unit[u], 0, want * sizeof(*a->unit));
		for (n = 0; n < want; n++)
			a->unit[u + n].used = true;
		a->unit[u].size = (uint32_t)want;
		a->hint = u + want;
		a->outstanding++;
		a->allocs++;
		memset(a->mem + u * ARENA_UNIT, 0xcd, size);
		log_event(a, EV_ALLOC)->pa = ARENA_BASE + u * ARENA_UNIT;
		return ARENA_BASE + u * ARENA_UNIT + (a->misalign ? 8 : 0);
	}
	return NEST_PA_NONE;
}

static void arena_free(void *ctx, nest_pa_t pa, size_t size)
{
	struct arena *a = ctx;
	struct unit *u;

	if (a->misalign)
		pa -= 8;
	CHECK(arena_owns(a, pa) && pa % ARENA_UNIT == 0);
	u = unit_of(a, pa);
	CHECK_EQ(u->size, size / ARENA_UNIT);
	CHECK(!a->watch || !u->linked || u->flushed);
	memset(a->mem + (pa - ARENA_BASE), 0xa5, size);
	memset(u, 0, u->size * sizeof(*u));
	a->outstanding--;
	log_event(a, EV_FREE)->pa = pa;
}

static void *arena_to_virt(void *ctx, nest_pa_t pa)
{
	return arena_ptr(ctx, pa);
}

static void learn_table(void *ctx, uint64_t pa, unsigned level, uint64_t ia)
{
	struct unit *u;

	CHECK(arena_owns(ctx, pa));
	u = unit_of(ctx, pa);
	u->linked = true;
	u->flushed = false;
	u->level = level;
	u->ia = ia;
}

struct reach {
	struct arena *a;
	uint8_t *seen;
};

static void note_reachable(void *ctx, uint64_t pa, unsigned level, uint64_t ia)
{
	struct reach *r = ctx;

	learn_table(r->a, pa, level, ia);
	r->seen[(pa - ARENA_BASE) / ARENA_UNIT] = 1;
}

/* A pointer may be cached for any address below it, and one invalidation there removes it. */
static bool flush_covers_table(const struct raw_geo *g, const struct nest_flush *what,
			       const struct unit *u)
{
	uint64_t mask = ~(uint64_t)0 >> (64 - g->ia_bits);
	uint64_t last = u->ia + (((uint64_t)1 << raw_shift(g, u->level + 1)) - 1);
	uint64_t first = what->ia & mask;

	if (what->all)
		return true;
	return !what->leaf_only && (what->level_mask >> (u->level + 1) & 1) && first <= last &&
	       first + (what->size - 1) >= u->ia;
}

static void judge_tables(struct arena *a, const struct nest_flush *what)
{
	uint64_t units = a->size / ARENA_UNIT;
	struct reach r = { .a = a, .seen = calloc(units, 1) };

	raw_scan(a->watch, note_reachable, NULL, &r);
	for (uint64_t i = 0; i < units; i++) {
		struct unit *u = &a->unit[i];

		if (u->size && u->linked && !r.seen[i] && flush_covers_table(a->watch, what, u))
			u->flushed = true;
	}
	free(r.seen);
}

static void arena_flush(void *ctx, const struct nest_flush *what)
{
	struct arena *a = ctx;

	CHECK(what->all || what->size > 0);
	CHECK(what->all || (what->ia % ARENA_UNIT == 0 && what->size % ARENA_UNIT == 0));
	log_event(a, EV_FLUSH)->flush = *what;
	a->nr_flush++;
	if (a->watch && (what->all || !what->leaf_only))
		judge_tables(a, what);
	if (a->on_flush)
		a->on_flush(a, what);
}

static void arena_sync(void *ctx, const void *va, size_t len)
{
	struct arena *a = ctx;
	const uint8_t *p = va;

	CHECK(p >= a->mem && len > 0 && len % 8 == 0);
	CHECK((uint64_t)(p - a->mem) + len <= a->size);
	a->nr_sync++;
}

static void arena_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	struct arena *a = ctx;

	CHECK(a->nr_deferred < ARENA_DEFERRED);
	a->deferred[a->nr_deferred].fn = fn;
	a->deferred[a->nr_deferred++].arg = arg;
}

static bool arena_allow(void *ctx, nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	struct arena *a = ctx;

	a->policy_calls++;
	return !a->policy || a->policy(pa, size, attr);
}

/* Blocks of closed arenas: to take and poison so much memory anew costs more than most tests. */
static struct {
	uint8_t *block;
	uint64_t size;
} spare[2];

static uint8_t *take_block(uint64_t size)
{
	for (unsigned i = 0; i < 2; i++) {
		if (spare[i].block && spare[i].size == size) {
			uint8_t *block = spare[i].block;

			spare[i].block = NULL;
			return block;
		}
	}
	return malloc(size + (1u << 20) + size / ARENA_UNIT * sizeof(struct unit) +
		      ARENA_EVENTS * sizeof(struct event));
}

static void keep_block(uint8_t *block, uint64_t size)
{
	/* One of another size gives way, or it would stay for ever and these never. */
	unsigned i = spare[0].block && (!spare[1].block || spare[0].size == size) ? 1 : 0;

	free(spare[i].block);
	spare[i].block = block;
	spare[i].size = size;
}

void arena_open(struct arena *a, uint64_t size)
{
	memset(a, 0, sizeof(*a));
	a->size = size;
	a->block = take_block(size);
	a->mem = (uint8_t *)(((uintptr_t)a->block + (1u << 20) - 1) & ~(uintptr_t)0xfffff);
	a->unit = (struct unit *)(void *)(a->mem + size);
	memset(a->unit, 0, size / ARENA_UNIT * sizeof(*a->unit));
	a->ev = (struct event *)(void *)(a->unit + size / ARENA_UNIT);
	a->host = (struct nest_host){
		.alloc = arena_alloc,
		.free = arena_free,
		.to_virt = arena_to_virt,
		.tlb_flush = arena_flush,
		.sync = arena_sync,
		.allow = arena_allow,
	};
}

void arena_close(struct arena *a)
{
	keep_block(a->block, a->size);
}

void arena_use_linear(struct arena *a)
{
	a->host.to_virt = NULL;
	a->host.linear_offset = (uint64_t)(uintptr_t)a->mem - ARENA_BASE;
}

void arena_use_plain(struct arena *a)
{
	arena_use_linear(a);
	a->host.sync = NULL;
	a->host.allow = NULL;
}

void arena_use_defer(struct arena *a)
{
	a->host.defer = arena_defer;
}

void arena_run_deferred(struct arena *a)
{
	for (unsigned i = 0; i < a->nr_deferred; i++)
		a->deferred[i].fn(a->deferred[i].arg);
	a->nr_deferred = 0;
}

void arena_fail(struct arena *a, uint64_t nth, bool rest)
{
	a->fail_in = nth;
	a->fail_rest = rest;
}

void arena_mark(struct arena *a)
{
	a->nr_ev = 0;
	if (a->watch)
		raw_scan(a->watch, learn_table, NULL, a);
}

static bool flushed(const struct arena *a, uint64_t ia, uint64_t last, unsigned levels)
{
	/* Repeatedly advance over the flush that holds the first byte not yet covered. */
	for (bool moved = true; moved;) {
		moved = false;
		for (unsigned i = 0; i < a->nr_ev && !moved; i++) {
			const struct nest_flush *w = &a->ev[i].flush;
			uint64_t end;

			if (a->ev[i].kind != EV_FLUSH || !(w->level_mask & levels))
				continue;
			if (w->all)
				return true;
			end = w->ia + (w->size - 1);
			if (w->ia > ia || end < ia)
				continue;
			if (end >= last)
				return true;
			ia = end + 1;
			moved = true;
		}
	}
	return false;
}

bool arena_flushed(const struct arena *a, uint64_t ia, uint64_t last)
{
	return flushed(a, ia, last, ~0u);
}

bool arena_flushed_at(const struct arena *a, uint64_t ia, uint64_t last, unsigned level)
{
	return flushed(a, ia, last, 1u << level);
}

void arena_release(void *ctx, const struct nest_mapping *leaf)
{
	struct arena *a = ctx;

	CHECK(arena_flushed_at(a, leaf->ia, leaf->ia + (leaf->size - 1), leaf->level));
	log_event(a, EV_RELEASE)->leaf = *leaf;
}

unsigned arena_count(const struct arena *a, enum event_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->nr_ev; i++)
		n += a->ev[i].kind == kind;
	return n;
}
