/* SPDX-License-Identifier: MIT */
/*
 * What a thread does: guest accesses to any page, and the VMM's calls on the pages that it owns.
 *
 * The owner knows of a page in state SEEN which frame it has and what that holds; no other thread
 * may change either. A page in state OPEN has been taken out or never looked at, and a fault of any
 * thread may bring a frame at any moment.
 */
#include "vm.h"

/* ---- What the owner knows ---- */

static struct page *page_at(const struct range *r, uint64_t i)
{
	return &w.pages[r->page + i];
}

static bool all_in(const struct range *r, enum page_state state)
{
	for (uint64_t i = 0; i < r->n; i++) {
		if (page_at(r, i)->state != state)
			return false;
	}
	return true;
}

static void make_odd(atomic_uint *n, bool odd)
{
	if ((atomic_load(n) & 1) != odd)
		atomic_fetch_add(n, 1);
}

static void all_allowed(struct page *p)
{
	p->read_only = p->no_exec = false;
	make_odd(&p->deny, false);
	make_odd(&p->deny_exec, false);
}

/* Before a change, and after it. */
static void disturb(const struct range *r)
{
	for (uint64_t i = 0; i < r->n; i++)
		atomic_fetch_add(&page_at(r, i)->disturbed, 1);
}

/*
 * The pages are about to be unmapped, or to have another frame: from then on they may be written to
 * and executed.
 */
static void before_change(const struct range *r)
{
	disturb(r);
	for (uint64_t i = 0; i < r->n; i++) {
		atomic_store(&page_at(r, i)->may_write, 1);
		atomic_store(&page_at(r, i)->may_exec, 1);
	}
}

/* They are as good as new. */
static void after_change(const struct range *r, enum page_state state)
{
	for (uint64_t i = 0; i < r->n; i++) {
		struct page *p = page_at(r, i);

		p->state = state;
		all_allowed(p);
		make_odd(&p->marked, state == PAGE_MARKED);
	}
	disturb(r);
}

/* ---- Accesses ---- */

static nest_attr_t any_rights(void)
{
	static const nest_attr_t rights[] = { NEST_R, NEST_RW, NEST_W, NEST_X };

	return rights[below(4)];
}

static void access_own(struct worker *k, uint64_t page, nest_attr_t rights)
{
	struct page *p = &w.pages[page];
	struct access a = { .page = page, .rights = rights };
	enum result got;

	if (a.rights & NEST_W)
		a.store = content_of(page, ++k->serial);
	got = guest(k, &a);
	if (got == DENIED && !(a.rights & NEST_X ? p->no_exec : p->read_only))
		stress_fail("an access to %#lx is denied", (unsigned long)gpa_of(page));
	if ((got == HIT && p->state == PAGE_MARKED) || (got == MARKED && p->state != PAGE_MARKED))
		stress_fail("%#lx %s", (unsigned long)gpa_of(page),
			    got == HIT ? "was marked, and a fault has mapped something over it"
				       : "exits as marked, and is not");
	if (got != HIT)
		return;
	if (p->state == PAGE_OPEN) {
		if (!is_fixed(page))
			p->content = 0;
		p->pa = a.pa;
		p->state = PAGE_SEEN;
	}
	if (a.pa != p->pa)
		stress_fail("%#lx had frame %#lx, and has %#lx", (unsigned long)gpa_of(page),
			    (unsigned long)p->pa, (unsigned long)a.pa);
	if (a.found != p->content)
		stress_fail("%#lx held %#lx, and holds %#lx", (unsigned long)gpa_of(page),
			    p->content, a.found);
	if (a.store)
		p->content = a.store;
}

/* A page in play of any block; half of them are in the busiest one. */
static uint64_t any_page(void)
{
	const uint64_t block = below(2) ? LARGE : below(BLOCKS);

	return block * w.n + below(SEGMENTS) * (w.n / SEGMENTS) + below(in_play(block));
}

static void access_any(struct worker *k)
{
	struct access a = { .page = any_page(), .rights = any_rights() };

	(void)guest(k, &a);
}

/* ---- Queries ---- */

static int translate(struct worker *k, uint64_t page, nest_attr_t rights, struct nest_mapping *m)
{
	struct call c = {
		.kind = CALL_TRANSLATE, .range = { page, 1 }, .attr = rights, .mapping = m
	};
	int err = insist(k, &c);

	/* An answer, too. */
	k->count.done[CALL_TRANSLATE] += err == NEST_E_DENIED;
	return err;
}

void check_page(struct worker *k, uint64_t page)
{
	const struct page *p = &w.pages[page];
	struct nest_mapping m;
	int err = translate(k, page, NEST_RW, &m);

	if (p->state == PAGE_MARKED &&
	    (err != NEST_E_NOTMAPPED || m.kind != NEST_PTE_MARK || m.mark != atomic_load(&p->mark)))
		stress_fail("%#lx lost its mark %#lx: \"%s\", kind %d", (unsigned long)gpa_of(page),
			    atomic_load(&p->mark), nest_strerror(err), (int)m.kind);
	if (p->state == PAGE_SEEN && err != (p->read_only ? NEST_E_DENIED : NEST_OK))
		stress_fail("%#lx translates with \"%s\"", (unsigned long)gpa_of(page),
			    nest_strerror(err));
	if (p->state == PAGE_SEEN && m.pa != p->pa)
		stress_fail("%#lx had frame %#lx, and translates to %#lx",
			    (unsigned long)gpa_of(page), (unsigned long)p->pa, (unsigned long)m.pa);
	if (p->state == PAGE_OPEN && err == NEST_E_NOTMAPPED && m.kind != NEST_PTE_NONE)
		stress_fail("%#lx has mark %#lx, and nobody marked it", (unsigned long)gpa_of(page),
			    (unsigned long)m.mark);
	if (p->state == PAGE_OPEN && err && err != NEST_E_NOTMAPPED)
		stress_fail("%#lx translates with \"%s\"", (unsigned long)gpa_of(page),
			    nest_strerror(err));
}

/* ---- Mapping ---- */

static void now_seen(uint64_t page, nest_pa_t pa, unsigned long content)
{
	struct page *p = &w.pages[page];

	p->state = PAGE_SEEN;
	p->pa = pa;
	if (!is_fixed(page))
		p->content = content;
	all_allowed(p);
	make_odd(&p->marked, false);
}

/* Frames of the owner's at pages that hold nothing, or a mark; a fault may come first. */
static void do_map(struct worker *k, struct range *r)
{
	const unsigned long serial = ++k->serial;
	const bool fixed = is_fixed(r->page);
	struct call c = { .kind = CALL_MAP };
	int err;

	for (uint64_t i = 0; i < r->n; i++) {
		if (page_at(r, i)->state == PAGE_SEEN)
			r->n = i;
	}
	if (!r->n)
		return;
	c.range = *r;
	c.attr = nest_vm_region_at(&w.vm, gpa_of(r->page))->attr;
	c.flags = r->n > 1 ? NEST_MAP_SKIP_MAPPED : 0;
	c.pa = fixed ? ledger_fixed_pa(r->page) : ledger_take(r->page, r->n, serial);
	ledger_give_fixed(r->page, r->n);
	disturb(r);
	err = insist(k, &c);
	if (err != NEST_E_MAPPED || r->n > 1)
		must(&c, err, NEST_OK);
	for (uint64_t i = 0; i < r->n; i++) {
		const nest_pa_t pa = c.pa + i * w.page;
		struct page *p = page_at(r, i);
		struct nest_mapping m;
		int there = translate(k, r->page + i, NEST_R, &m);

		/* Only the owner unmaps. */
		if (there != NEST_OK)
			stress_fail("map of %#lx returned \"%s\", and the page is \"%s\"",
				    (unsigned long)gpa_of(r->page + i), nest_strerror(err),
				    nest_strerror(there));
		if (m.pa != pa && p->state == PAGE_MARKED)
			stress_fail("a fault mapped something over the mark of %#lx",
				    (unsigned long)gpa_of(r->page + i));
		if (!c.flags && !fixed && (m.pa == pa) != (err == NEST_OK))
			stress_fail("map of %#lx returned \"%s\", and %s frame is there",
				    (unsigned long)gpa_of(r->page + i), nest_strerror(err),
				    m.pa == pa ? "its" : "another");
		if (m.pa == pa)
			now_seen(r->page + i, pa, content_of(r->page + i, serial));
		else
			ledger_drop(r->page + i, pa, "not mapped");
	}
	disturb(r);
}

/* Other frames at pages whose frames the owner knows. */
static void do_replace(struct worker *k, struct range *r)
{
	const unsigned long serial = ++k->serial;
	struct call c = { .kind = CALL_REPLACE, .flags = NEST_MAP_REPLACE };

	while (r->n && !all_in(r, PAGE_SEEN))
		r->n--;
	if (!r->n || is_fixed(r->page))
		return;
	c.range = *r;
	c.attr = nest_vm_region_at(&w.vm, gpa_of(r->page))->attr;
	c.pa = ledger_take(r->page, r->n, serial);
	before_change(r);
	must(&c, insist(k, &c), NEST_OK);
	for (uint64_t i = 0; i < r->n; i++) {
		ledger_drop(r->page + i, page_at(r, i)->pa, "replaced");
		now_seen(r->page + i, c.pa + i * w.page, content_of(r->page + i, serial));
	}
	disturb(r);
}

/* ---- Taking away ---- */

/* nest_vm_unmap(): the frames are the owner's from then on. */
static void do_take(struct worker *k, struct range *r)
{
	struct call c = { .kind = CALL_TAKE };

	while (r->n && !all_in(r, PAGE_SEEN))
		r->n--;
	if (!r->n)
		return;
	c.range = *r;
	/* One call may be made again: then what it has done is a hole. */
	c.flags = r->n > 1 ? NEST_SKIP_HOLES : 0;
	for (uint64_t i = 0; i < r->n; i++) {
		atomic_store(&page_at(r, i)->mark, NEST_VM_TAKEN);
		make_odd(&page_at(r, i)->marked, true);
	}
	before_change(r);
	must(&c, insist(k, &c), NEST_OK);
	for (uint64_t i = 0; i < r->n; i++) {
		const uint64_t page = r->page + i;

		ledger_drop(page, page_at(r, i)->pa, "taken");
	}
	after_change(r, PAGE_MARKED);
}

/* Whatever marked them. */
static void do_restore(struct worker *k, struct range *r)
{
	struct call c = { .kind = CALL_RESTORE };

	while (r->n && !all_in(r, PAGE_MARKED))
		r->n--;
	if (!r->n)
		return;
	c.range = *r;
	ledger_give_fixed(r->page, r->n);
	before_change(r);
	must(&c, insist(k, &c), NEST_OK);
	after_change(r, PAGE_OPEN);
}

/* The table's unmap with a gather that reports each frame: the page may be faulted in again. */
static void do_discard(struct worker *k, struct range *r)
{
	struct call c = { .kind = CALL_DISCARD, .range = *r };
	struct range part[SEGMENTS] = { *r };
	unsigned parts = 1;

	/* Mostly the whole segment or block, so that tables become empty. */
	if (below(4)) {
		c.range.n = w.n / SEGMENTS;
		if (has_one_owner(r->page / w.n)) {
			c.range.n = w.n;
			parts = SEGMENTS;
		}
		c.range.page -= r->page % c.range.n;
		for (unsigned i = 0; i < parts; i++)
			part[i] = (struct range){ c.range.page + i * (w.n / SEGMENTS), PLAY };
	}
	for (unsigned i = 0; i < parts; i++) {
		before_change(&part[i]);
		ledger_give_fixed(part[i].page, part[i].n);
	}
	must(&c, insist(k, &c), NEST_OK);
	for (unsigned i = 0; i < parts; i++)
		after_change(&part[i], PAGE_OPEN);
}

static void do_mark(struct worker *k, struct range *r)
{
	struct page *p = &w.pages[r->page];
	struct call c = { .kind = CALL_MARK, .mark = below(1000) };
	int err;

	if (p->state == PAGE_MARKED)
		return;
	r->n = 1;
	c.range = *r;
	atomic_store(&p->mark, c.mark);
	make_odd(&p->marked, true);
	disturb(r);
	err = insist(k, &c);
	if (err != NEST_E_MAPPED)
		must(&c, err, p->state == PAGE_SEEN ? NEST_E_MAPPED : NEST_OK);
	if (err == NEST_OK)
		p->state = PAGE_MARKED;
	make_odd(&p->marked, err == NEST_OK);
	disturb(r);
}

static void do_protect(struct worker *k, struct range *r)
{
	struct call c = { .kind = CALL_PROTECT };
	bool away = below(2);

	while (r->n && !all_in(r, PAGE_SEEN))
		r->n--;
	if (!r->n)
		return;
	c.range = *r;
	if (away)
		c.clear = NEST_W | (w.dirty_needs_write ? NEST_DIRTY : 0);
	else
		c.set = NEST_W;
	disturb(r);
	for (uint64_t i = 0; i < r->n; i++) {
		if (away)
			make_odd(&page_at(r, i)->deny, true);
		else
			atomic_store(&page_at(r, i)->may_write, 1);
	}
	must(&c, insist(k, &c), NEST_OK);
	for (uint64_t i = 0; i < r->n; i++) {
		page_at(r, i)->read_only = away;
		if (away)
			atomic_store(&page_at(r, i)->may_write, 0);
		else
			make_odd(&page_at(r, i)->deny, false);
	}
	disturb(r);
}

/* Take the right to execute away, or give it back. */
static void do_forbid(struct worker *k, struct range *r)
{
	struct call c = { .kind = CALL_FORBID };
	const bool away = below(2);

	while (r->n && !all_in(r, PAGE_SEEN))
		r->n--;
	if (!r->n)
		return;
	c.range = *r;
	c.clear = away ? w.exec : 0;
	c.set = away ? 0 : w.exec;
	disturb(r);
	for (uint64_t i = 0; i < r->n; i++) {
		if (away)
			make_odd(&page_at(r, i)->deny_exec, true);
		else
			atomic_store(&page_at(r, i)->may_exec, 1);
	}
	must(&c, insist(k, &c), NEST_OK);
	for (uint64_t i = 0; i < r->n; i++) {
		page_at(r, i)->no_exec = away;
		if (away)
			atomic_store(&page_at(r, i)->may_exec, 0);
		else
			make_odd(&page_at(r, i)->deny_exec, false);
	}
	disturb(r);
}

/* ---- Calls on everybody's pages ---- */

/*
 * A page was written to, and the harvest has not told it. True: it was being split at that moment,
 * and the next harvest will tell it. False: the owner has changed the page.
 */
static bool comes_later(struct worker *k, uint64_t page)
{
	struct page *p = &w.pages[page];
	struct nest_mapping m;
	int err = translate(k, page, NEST_R, &m);

	if (atomic_load(&p->disturbed) != p->told_at)
		return false;
	if (err || !((m.attr & NEST_DIRTY) || (w.has_dbm && !(m.attr & NEST_DBM))))
		stress_fail("%#lx was written to, and no harvest tells it as dirty",
			    (unsigned long)gpa_of(page));
	k->count.late++;
	return true;
}

/*
 * A write that a walker made since the last harvest returned must be told, unless the owner has
 * changed the page meanwhile.
 */
static void do_harvest(struct worker *k)
{
	struct range block = { below(BLOCKS) * w.n, w.n };
	uint64_t bitmap[8192 / 64] = { 0 };
	struct call c = { .kind = CALL_HARVEST, .range = block, .bitmap = bitmap };
	unsigned long written[SEGMENTS * PLAY];
	unsigned disturbed[SEGMENTS * PLAY];

	pthread_mutex_lock(&w.harvest);
	for (unsigned i = 0; i < SEGMENTS * PLAY; i++) {
		struct page *p = &w.pages[block.page + i / PLAY * (w.n / SEGMENTS) + i % PLAY];

		disturbed[i] = atomic_load(&p->disturbed);
		written[i] = atomic_load(&p->written);
	}
	must(&c, insist(k, &c), NEST_OK);
	for (unsigned i = 0; i < SEGMENTS * PLAY; i++) {
		const uint64_t at = i / PLAY * (w.n / SEGMENTS) + i % PLAY;
		struct page *p = &w.pages[block.page + at];

		if (written[i] > p->told && !(disturbed[i] & 1) && disturbed[i] == p->told_at &&
		    !(bitmap[at / 64] >> at % 64 & 1) && comes_later(k, block.page + at))
			continue;
		p->told_at = atomic_load(&p->disturbed);
		p->told = atomic_load(&p->written);
	}
	pthread_mutex_unlock(&w.harvest);
}

static void do_any(struct worker *k, enum call_kind kind)
{
	struct call c = { .kind = kind, .range = { any_page(), 1 } };

	if (kind == CALL_AGE)
		c.range.page -= c.range.page % w.n, c.range.n = w.n;
	must(&c, insist(k, &c), NEST_OK);
}

/* ---- The thread ---- */

static struct range draw(const struct worker *k)
{
	static const uint64_t blocks[] = { LARGE, LARGE, LARGE, 1, 2, 4, 5, 6 };
	uint64_t block, segment, first;

	do {
		block = blocks[below(sizeof(blocks) / sizeof(*blocks))];
		segment = below(SEGMENTS);
	} while ((has_one_owner(block) ? block : block * SEGMENTS + segment) % w.threads != k->id);
	first = below(in_play(block));
	return (struct range){ .page = block * w.n + segment * (w.n / SEGMENTS) + first,
			       .n = 1 + below(in_play(block) - first) };
}

/* One that begins with a page in this state: the best of a few tries. */
static struct range draw_in(const struct worker *k, enum page_state state)
{
	struct range r = draw(k);

	for (unsigned i = 0; i < 64 && w.pages[r.page].state != state; i++)
		r = draw(k);
	return r;
}

/*
 * In one block all threads fault pages in, and its owner takes all of them out again: so a whole
 * block, a table with a page or two, an empty table and nothing follow each other.
 */
static void rush(struct worker *k)
{
	struct range r = { .page = LARGE * w.n, .n = 1 };

	for (unsigned i = 0; i < 2; i++) {
		struct access a = { .page = r.page + below(SEGMENTS) * (w.n / SEGMENTS),
				    .rights = NEST_RW };

		(void)guest(k, &a);
	}
	/* The owner maps beside others who split the block. */
	if (LARGE % w.threads != k->id) {
		if (below(8) == 0 && !(w.without >> CALL_SPLIT & 1))
			do_any(k, CALL_SPLIT);
		return;
	}
	do_discard(k, &r);
	if (below(8) == 0 && !(w.without >> CALL_MAP & 1)) {
		r = (struct range){ LARGE * w.n + below(SEGMENTS) * (w.n / SEGMENTS), 1 };
		stress_pause(&self->random, 600);
		do_map(k, &r);
	}
}

/* All fetch from one page of a block that may not execute yet, and its owner forbids it. */
static void rush_for_code(struct worker *k)
{
	struct range r = { .page = (LARGE + 1) * w.n, .n = 1 };
	struct access a = { .page = r.page, .rights = NEST_X };

	if ((LARGE + 1) % w.threads != k->id || (w.without >> CALL_FORBID & 1)) {
		(void)guest(k, &a);
		return;
	}
	do_discard(k, &r);
	access_own(k, r.page, NEST_R);
	do_forbid(k, &r);
	check_page(k, r.page);
}

static void step(struct worker *k)
{
	static const enum call_kind kinds[] = {
		CALL_FAULT,   CALL_FAULT,   CALL_FAULT,   CALL_FAULT,   CALL_FAULT,
		CALL_FAULT,   CALL_MAP,     CALL_MAP,     CALL_REPLACE, CALL_TAKE,
		CALL_TAKE,    CALL_DISCARD, CALL_DISCARD, CALL_DISCARD, CALL_PROTECT,
		CALL_PROTECT, CALL_FORBID,  CALL_FORBID,  CALL_MARK,    CALL_RESTORE,
		CALL_RESTORE, CALL_HARVEST, CALL_AGE,     CALL_SPLIT,   CALL_TRANSLATE,
	};
	const enum call_kind kind = kinds[below(sizeof(kinds) / sizeof(*kinds))];
	const bool on_mapped = kind == CALL_REPLACE || kind == CALL_TAKE || kind == CALL_PROTECT;
	struct range r = kind == CALL_RESTORE ? draw_in(k, PAGE_MARKED)
			 : on_mapped          ? draw_in(k, PAGE_SEEN)
					      : draw(k);
	const struct range own = r;

	if (w.without >> kind & 1)
		return;
	switch (kind) {
	case CALL_FAULT:
		for (unsigned i = 0; i < 4; i++)
			access_any(k);
		access_own(k, r.page, any_rights());
		break;
	case CALL_MAP:
		do_map(k, &r);
		break;
	case CALL_REPLACE:
		do_replace(k, &r);
		break;
	case CALL_TAKE:
		do_take(k, &r);
		break;
	case CALL_DISCARD:
		do_discard(k, &r);
		break;
	case CALL_PROTECT:
		do_protect(k, &r);
		break;
	case CALL_FORBID:
		do_forbid(k, &r);
		break;
	case CALL_MARK:
		do_mark(k, &r);
		break;
	case CALL_HARVEST:
		do_harvest(k);
		break;
	case CALL_AGE:
	case CALL_SPLIT:
		do_any(k, kind);
		break;
	case CALL_RESTORE:
		do_restore(k, &r);
		break;
	default:
		break;
	}
	for (uint64_t i = 0; i < own.n; i++)
		check_page(k, own.page + i);
}

void *worker_main(void *arg)
{
	self = arg;
	for (unsigned long i = 0; i < w.calls_each; i++) {
		const uint64_t dice = below(12);

		if (dice < 6)
			rush(self);
		else if (dice < 8)
			rush_for_code(self);
		else
			step(self);
		if (i % 4 == 0)
			(void)nest_epoch_poll(&w.epoch, self->id);
	}
	return NULL;
}
