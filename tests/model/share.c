/* SPDX-License-Identifier: MIT */
#include "share.h"

#include <stdio.h>
#include <string.h>

#include "world.h"

/* ---- The second TLB ---- */

static void judge(void *ctx, unsigned i, const struct mmu_step *r)
{
	struct world *w = ctx;
	struct peer *p = &w->peer;

	if (r->kind == MMU_TRANSLATION && (!p->shared[i] || p->linking))
		return;
	if (!p->shared[i])
		world_wrong(w, i, "a table that shares nothing there", r, NULL);
	world_judge(w, i, r);
}

bool share_stored(struct world *w, uint64_t pa)
{
	return w->peer.live && tlb_stored(&w->peer.tlb, pa) > 0;
}

/* A flush through the first table names its VMID only: this embedder does the same for both. */
void share_flush(struct world *w, const struct nest_flush *what)
{
	if (w->peer.live)
		tlb_flush(&w->peer.tlb, what->ia, what->all ? 0 : what->size, what->level_mask,
			  what->leaf_only);
}

void share_freed(struct world *w, uint64_t pa, uint64_t size)
{
	if (w->peer.live)
		tlb_freed(&w->peer.tlb, pa, size);
}

void share_judge(struct world *w)
{
	struct peer *p = &w->peer;

	if (!p->live)
		return;
	tlb_pause(&p->tlb);
	tlb_judge(&p->tlb);
	/* A query by either table says the same. */
	for (unsigned i = 0; i < w->tlb.probes; i++) {
		struct nest_mapping a, b;
		nest_ia_t ia = w->tlb.probe[i].ia;
		int err = nest_pt_query(&w->pt, ia, &a), peer = nest_pt_query(&p->pt, ia, &b);

		if (!p->shared[i] ? peer != NEST_E_NOTMAPPED || b.kind != NEST_PTE_NONE
				  : err != peer || a.kind != b.kind || a.mark != b.mark ||
					    a.pa != b.pa || a.attr != b.attr || a.size != b.size)
			world_fail(w, "the table that shares says something else of %#lx",
				   (unsigned long)ia);
	}
}

/* ---- Life of the second table ---- */

static bool may_share(const struct world *w)
{
	return !w->shared && nest_pt_levels(&w->pt) > 1;
}

static void make_peer(struct world *w)
{
	struct nest_pt_config config = { .format = w->setup.format,
					 .ia_bits = w->setup.ia_bits,
					 .features = w->setup.features,
					 .flags = w->setup.flags,
					 .host = &w->host,
					 .ctx = w };
	struct peer *p = &w->peer;
	uint64_t outstanding = w->ram.outstanding;

	snprintf(w->doing, sizeof(w->doing), "init of a second table");
	if (nest_pt_init(&p->pt, &config) != NEST_OK)
		return;
	nest_pt_set_vmid(&p->pt, w->pt.vmid + 1);
	p->tlb.mmu = setup_mmu(&w->setup, &p->pt, &p->tlb.regs);
	p->tlb.ram = &w->ram;
	p->tlb.judge = judge;
	p->tlb.wrong = world_wrong;
	p->tlb.ctx = w;
	p->tlb.probes = 0;
	memset(p->tlb.watched, 0, sizeof(p->tlb.watched));
	for (unsigned i = 0; i < w->tlb.probes; i++) {
		tlb_add(&p->tlb, w->tlb.probe[i].ia);
		p->shared[i] = false;
	}
	p->other_tables += w->ram.outstanding - outstanding;
	p->links = 0;
	p->live = true;
	tlb_judge(&p->tlb);
	w->count.peers++;
}

/* No CPU uses it any more. What it shares stays. */
static void destroy_peer(struct world *w)
{
	struct peer *p = &w->peer;
	uint64_t outstanding;

	if (!p->live)
		return;
	p->live = false;
	world_run_deferred(w);
	outstanding = w->ram.outstanding;
	snprintf(w->doing, sizeof(w->doing), "destroy of the second table");
	nest_pt_destroy(&p->pt);
	world_run_deferred(w);
	p->other_tables -= outstanding - w->ram.outstanding;
	w->count.walks += p->tlb.walks;
	p->tlb.walks = 0;
}

/* ---- Sharing ---- */

/* Root entries around some segments. */
static void draw_roots(struct world *w, uint64_t *first, uint64_t *size)
{
	unsigned a = (unsigned)world_random(w, w->segments);
	unsigned b = a + (unsigned)world_random(w, w->segments - a);
	uint64_t span = (uint64_t)1 << nest_pt_shift(&w->pt, nest_pt_levels(&w->pt) - 1);

	/* A range lies within one half. */
	if (w->second && a < w->second && b >= w->second)
		b = w->second - 1;
	*first = w->segment[a].first & ~(span - 1);
	*size = (w->segment[b].end - *first + span - 1) & ~(span - 1);
}

static bool in_range(const struct world *w, unsigned i, uint64_t first, uint64_t size)
{
	uint64_t offset = world_offset(w, w->tlb.probe[i].ia);

	return offset >= first && offset - first < size;
}

static void share(struct world *w)
{
	struct peer *p = &w->peer;
	bool before[TLB_PROBES], is_linked = false;
	struct state same[WORLD_SEGMENTS];
	uint64_t first, size, outstanding, off = world_random(w, 8) ? 0 : w->page;
	uint64_t stores = w->count.looked_at;
	int err, want = NEST_OK;

	draw_roots(w, &first, &size);
	memcpy(before, p->shared, sizeof(before));
	for (unsigned i = 0; i < w->tlb.probes; i++)
		is_linked |= in_range(w, i, first, size) && before[i];
	if (off)
		want = NEST_E_ALIGN;
	else if (is_linked)
		want = NEST_E_MAPPED;
	for (unsigned i = 0; i < w->tlb.probes && !want; i++)
		p->shared[i] |= in_range(w, i, first, size);
	for (unsigned k = 0; k < w->segments; k++)
		same[k] = w->segment[k].state;
	w->count.operations++;
	snprintf(w->doing, sizeof(w->doing), "share %#lx + %#lx", (unsigned long)first,
		 (unsigned long)size);
	w->ram.failed = false;
	if (world_random(w, 4) == 0)
		w->ram.fail_in = 1 + world_random(w, 4);
	world_expect(w, 0, w->segments, same, BREAK_RESIZED);
	world_run_deferred(w);
	outstanding = w->ram.outstanding;
	p->linking = true;
	err = nest_pt_share(&p->pt, &w->pt, world_ia(w, first), size - off);
	p->linking = false;
	w->ram.fail_in = 0;
	if (err != want && !(err == NEST_E_NOMEM && w->ram.failed && !want))
		world_fail(w, "returned \"%s\", not \"%s\"", nest_strerror(err),
			   nest_strerror(want));
	if (err) {
		memcpy(p->shared, before, sizeof(before));
		w->count.refused++;
		if (w->ram.outstanding != outstanding)
			world_fail(w, "a share that failed has kept tables");
	} else {
		/* Maps of root entries: one for each table, with its first link. */
		p->other_tables += (p->links ? 0 : 1u) + (w->is_source ? 0 : 1u);
		p->links++;
		w->is_source = true;
		w->count.shares++;
	}
	world_done(w, 0, w->segments, err, stores);
	world_synced(w);
}

/* The second table may change nothing of what it shares. */
static void refuse(struct world *w)
{
	struct peer *p = &w->peer;
	unsigned i = (unsigned)world_random(w, w->tlb.probes);
	nest_ia_t ia = w->tlb.probe[i].ia & ~(w->page - 1);
	uint64_t bitmap = 0;
	int err;

	if (!p->shared[i])
		return;
	snprintf(w->doing, sizeof(w->doing), "change of %#lx by the table that shares",
		 (unsigned long)ia);
	switch (world_random(w, 7)) {
	case 0:
		err = nest_pt_map(&p->pt, ia, 0, w->page, w->attr[0], NEST_MAP_REPLACE, NULL);
		break;
	case 1:
		err = nest_pt_unmap(&p->pt, ia, w->page, NEST_SKIP_HOLES, NULL);
		break;
	case 2:
		err = nest_pt_protect(&p->pt, ia, w->page, 0, NEST_X, NEST_SKIP_HOLES, NULL);
		break;
	case 3:
		err = nest_pt_mark(&p->pt, ia, w->page, 1, NULL);
		break;
	case 4:
		err = nest_pt_split(&p->pt, ia, w->page, 0, NULL);
		break;
	case 5:
		err = nest_pt_merge(&p->pt, ia, w->page, NULL);
		break;
	default:
		err = nest_pt_harvest(&p->pt, ia, w->page, NEST_DIRTY, &bitmap, 0, NULL);
		if (err == NEST_E_UNSUPPORTED)
			return;
	}
	if (err != NEST_E_DENIED)
		world_fail(w, "returned \"%s\", not \"%s\"", nest_strerror(err),
			   nest_strerror(NEST_E_DENIED));
	w->count.refused_peer++;
	tlb_judge(&w->tlb);
	share_judge(w);
}

/* ---- Reserves ---- */

bool share_has_enough(struct world *w, nest_ia_t ia, uint64_t size, uint32_t flags)
{
	struct peer *p = &w->peer;
	uint64_t need;

	return p->attached && nest_pt_tables_for(&w->pt, ia, size, flags, &need) == NEST_OK &&
	       need && p->reserve.count >= need;
}

static void change_reserve(struct world *w)
{
	struct peer *p = &w->peer;
	uint64_t have = p->reserve.count, want, outstanding;
	int err;

	if (!p->has_reserve) {
		nest_reserve_init(&p->reserve);
		p->has_reserve = true;
	}
	switch (world_random(w, 4)) {
	case 0:
		p->attached = !p->attached;
		nest_pt_use_reserve(&w->pt, p->attached ? &p->reserve : NULL);
		break;
	case 1:
		snprintf(w->doing, sizeof(w->doing), "drain");
		world_run_deferred(w);
		outstanding = w->ram.outstanding;
		nest_reserve_drain(&p->reserve, &w->pt);
		if (p->reserve.count || outstanding - w->ram.outstanding != have)
			world_fail(w, "a reserve of %lu tables is drained, and %lu come back",
				   (unsigned long)have,
				   (unsigned long)(outstanding - w->ram.outstanding));
		break;
	default:
		snprintf(w->doing, sizeof(w->doing), "fill");
		want = world_random(w, 24);
		outstanding = w->ram.outstanding;
		w->ram.failed = false;
		if (world_random(w, 4) == 0)
			w->ram.fail_in = 1 + world_random(w, 8);
		err = nest_reserve_fill(&p->reserve, &w->pt, want);
		w->ram.fail_in = 0;
		if (err != NEST_OK && !(err == NEST_E_NOMEM && w->ram.failed))
			world_fail(w, "returned \"%s\"", nest_strerror(err));
		if ((err ? p->reserve.count >= want
			 : p->reserve.count != (want > have ? want : have)) ||
		    w->ram.outstanding - outstanding != p->reserve.count - have)
			world_fail(w, "a reserve of %lu tables filled up to %lu has %lu",
				   (unsigned long)have, (unsigned long)want,
				   (unsigned long)p->reserve.count);
	}
	w->count.reserve_changes++;
}

void share_count(struct world *w)
{
	struct peer *p = &w->peer;
	struct nest_pt_stats stats;

	world_run_deferred(w);
	if (nest_pt_stats(&w->pt, &stats) != NEST_OK)
		world_fail(w, "no statistics");
	if (stats.tables + p->other_tables + p->reserve.count != w->ram.outstanding)
		world_fail(w, "%lu tables, %lu in reserve and %lu others, but %lu are out",
			   (unsigned long)stats.tables, (unsigned long)p->reserve.count,
			   (unsigned long)p->other_tables, (unsigned long)w->ram.outstanding);
}

/* ---- All of it ---- */

void share_open(struct world *w)
{
	/* Of the first table: the root counts as one, and what stands for nothing does not. */
	w->peer.reserve.count = 0;
	w->peer.other_tables = w->ram.outstanding - 1;
	w->has_peer = world_chance(w, 4) == 0;
}

void share_close(struct world *w)
{
	struct peer *p = &w->peer;

	destroy_peer(w);
	if (!p->has_reserve)
		return;
	nest_reserve_drain(&p->reserve, &w->pt);
	nest_pt_use_reserve(&w->pt, NULL);
}

void share_make(struct world *w)
{
	if (w->shared || !w->has_peer)
		return;
	if (world_random(w, 2))
		change_reserve(w);
	if (!may_share(w))
		return;
	if (!w->peer.live)
		make_peer(w);
	else if (world_random(w, 16) == 0)
		destroy_peer(w);
	if (!w->peer.live)
		return;
	if (w->peer.links ? world_random(w, 4) == 0 : world_random(w, 2))
		share(w);
	else
		refuse(w);
	share_count(w);
}
