/* SPDX-License-Identifier: MIT */
#include "tlb.h"

static bool same(const struct mmu_step *a, const struct mmu_step *b)
{
	if (a->kind != b->kind || a->level != b->level)
		return false;
	if (a->kind != MMU_TABLE && a->kind != MMU_PAGE)
		return true;
	for (unsigned m = 0; m < MMU_MODES; m++) {
		if (a->rights[m] != b->rights[m])
			return false;
	}
	if (a->kind == MMU_TABLE)
		return a->table == b->table;
	return a->pa == b->pa && a->shift == b->shift && a->contiguous == b->contiguous &&
	       a->global == b->global && a->type == b->type && a->flag_fault == b->flag_fault;
}

/* Keep a step, if the probe has not got it yet. */
static void keep(struct tlb *t, unsigned i, const struct mmu_step *s)
{
	struct tlb_probe *p = &t->probe[i];

	for (unsigned k = 0; k < p->count; k++) {
		if (same(&p->kept[k], s)) {
			p->kept[k] = *s; /* what hardware sets in it may have changed */
			return;
		}
	}
	if (s->kind == MMU_PAGE) {
		for (unsigned k = 0; k < p->count; k++) {
			if (p->kept[k].kind == MMU_PAGE &&
			    !t->mmu->may_coexist(&t->regs, &p->kept[k], s))
				t->wrong(t->ctx, i,
					 "two translations that may not be there at once",
					 &p->kept[k], s);
		}
	}
	if (p->count == TLB_KEPT) {
		t->wrong(t->ctx, i, "more translations than the model has room for", s, NULL);
		return;
	}
	p->kept[p->count++] = *s;
	if (s->kind == MMU_TABLE) {
		uint64_t unit = (t->mmu->entry(&t->regs, s, p->ia) - RAM_BASE) / RAM_UNIT;

		if (unit < RAM_UNITS)
			t->watched[unit] = 1;
	}
}

static void arrive(struct tlb *t, unsigned i, const struct mmu_step *s)
{
	if (s->kind != MMU_TABLE)
		t->judge(t->ctx, i, s);
	if (s->kind == MMU_TABLE || s->kind == MMU_PAGE || t->mmu->keeps_invalid(&t->regs))
		keep(t, i, s);
}

/* A member of a group says what the group's whole page translates to. */
static struct mmu_step as_group(struct mmu_step s, uint64_t ia)
{
	uint64_t mask = mmu_mask(s.shift);

	s.pa = (s.pa & ~mask) | (ia & mask);
	return s;
}

static void step(struct tlb *t, unsigned i, const struct mmu_step *from)
{
	uint64_t ia = t->probe[i].ia, own = t->mmu->entry(&t->regs, from, ia), value[2];
	uint64_t members = (uint64_t)8 << t->mmu->group_shift(&t->regs, from->level);

	t->walks++;
	for (uint64_t at = own & ~(members - 1), end = at + members; at < end; at += 8) {
		unsigned n = ram_load(t->ram, at, value);

		if (!n) {
			t->wrong(t->ctx, i, "a walk leaves the tables", from, NULL);
			return;
		}
		while (n--) {
			struct mmu_step s;

			/* No format takes a word of zeros for a member of a group. */
			if (at != own && !value[n])
				continue;
			s = t->mmu->next(&t->regs, from, ia, value[n]);
			if (at == own)
				arrive(t, i, &s);
			if (s.kind != MMU_PAGE || !s.contiguous)
				continue;
			s.at = at;
			s = as_group(s, ia);
			arrive(t, i, &s);
		}
	}
}

void tlb_look(struct tlb *t, unsigned i)
{
	struct tlb_probe *p = &t->probe[i];
	struct mmu_step root = t->mmu->begin(&t->regs, p->ia);

	if (root.kind != MMU_TABLE)
		t->wrong(t->ctx, i, "no walk begins", &root, NULL);
	else
		keep(t, i, &root);
	/* Grows while it is gone through. */
	for (unsigned k = 0; k < p->count; k++) {
		struct mmu_step from = p->kept[k];

		if (from.kind == MMU_TABLE)
			step(t, i, &from);
	}
}

void tlb_add(struct tlb *t, uint64_t ia)
{
	if (t->probes < TLB_PROBES)
		t->probe[t->probes++] = (struct tlb_probe){ .ia = ia };
}

static bool reads(const struct tlb *t, unsigned i, uint64_t pa, uint64_t size)
{
	const struct tlb_probe *p = &t->probe[i];

	for (unsigned k = 0; k < p->count; k++) {
		uint64_t at;

		if (p->kept[k].kind != MMU_TABLE)
			continue;
		at = t->mmu->entry(&t->regs, &p->kept[k], p->ia);
		if (at >= pa && at - pa < size)
			return true;
	}
	return false;
}

unsigned tlb_stored(struct tlb *t, uint64_t pa)
{
	unsigned n = 0;

	for (unsigned i = 0; t->watched[(pa - RAM_BASE) / RAM_UNIT] && i < t->probes; i++) {
		/* In the same unit: a walk may read the other members of a group. */
		if (reads(t, i, pa & ~(uint64_t)(RAM_UNIT - 1), RAM_UNIT)) {
			tlb_look(t, i);
			n++;
		}
	}
	return n;
}

/* Forget what stands at these levels; of pointers, if asked to. */
static void forget(struct tlb *t, unsigned i, unsigned level_mask, bool pointers)
{
	struct tlb_probe *p = &t->probe[i];
	unsigned kept = 0;

	for (unsigned k = 0; k < p->count; k++) {
		const struct mmu_step *s = &p->kept[k];
		bool table = s->kind == MMU_TABLE;
		/* A table counts as the entry that holds it. */
		bool named = level_mask >> (s->level + table) & 1;

		if (table ? !pointers || !(named || t->mmu->walks_anew) : !named)
			p->kept[kept++] = *s;
	}
	p->count = kept;
}

void tlb_flush(struct tlb *t, uint64_t ia, uint64_t size, unsigned level_mask, bool leaf_only)
{
	for (unsigned i = 0; i < t->probes; i++) {
		if (size && (t->probe[i].ia < ia || t->probe[i].ia - ia >= size))
			continue;
		/* A walk under way is over before an invalidation is. */
		forget(t, i, level_mask, !leaf_only || t->mmu->walks_anew);
		tlb_look(t, i);
	}
}

void tlb_pause(struct tlb *t)
{
	for (unsigned i = 0; i < t->probes && t->mmu->walks_anew; i++)
		forget(t, i, 0, true);
}

void tlb_freed(struct tlb *t, uint64_t pa, uint64_t size)
{
	for (unsigned i = 0; i < t->probes; i++) {
		if (reads(t, i, pa, size))
			t->wrong(t->ctx, i, "a table is given back that a walk can still reach",
				 NULL, NULL);
	}
}

void tlb_judge(struct tlb *t)
{
	for (unsigned i = 0; i < t->probes; i++) {
		for (unsigned k = 0; k < t->probe[i].count; k++) {
			if (t->probe[i].kept[k].kind != MMU_TABLE)
				t->judge(t->ctx, i, &t->probe[i].kept[k]);
		}
		tlb_look(t, i);
	}
}
