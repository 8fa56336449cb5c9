/* SPDX-License-Identifier: MIT */
/*
 * The raw walker. Every constant is a bit number of a manual: Intel SDM vol. 3C 29.3 (EPT), AMD
 * APM vol. 2 5.3 (NPT, x86-64), Arm ARM D8.3 (descriptors), RISC-V privileged spec 12.3 and
 * Svnapot, LoongArch vol. 1 5.4.5. It must not include a header of the library.
 */
#include "raw_walk.h"

#include <stddef.h>

#define BIT(w, n)      ((unsigned)((w) >> (n)) & 1u)
#define FIELD(w, h, l) (((w) >> (l)) & (~0ull >> (63 - (h) + (l))))

unsigned raw_shift(const struct raw_geo *g, unsigned level)
{
	return g->page_shift + level * (g->page_shift - 3);
}

unsigned raw_group_shift(const struct raw_geo *g, unsigned level)
{
	if (g->arch == RAW_RISCV)
		return level == 0 ? 4 : 0;
	if (g->arch != RAW_ARM_S1 && g->arch != RAW_ARM_S2)
		return 0;
	if (g->page_shift == 12)
		return 4;
	if (g->page_shift == 16)
		return 5;
	return level == 0 ? 7 : 5;
}

static uint64_t arm_address(const struct raw_geo *g, uint64_t e)
{
	uint64_t pa = e & 0x0000fffffffff000ull;

	if (!g->wide)
		return pa & (~0ull << g->page_shift);
	if (g->page_shift == 16)
		return (pa & ~0xffffull) | FIELD(e, 15, 12) << 48;
	pa = e & 0x0003fffffffff000ull;
	return (pa & (~0ull << g->page_shift)) | FIELD(e, 9, 8) << 50;
}

static enum raw_kind decode_x86(const struct raw_geo *g, unsigned level, uint64_t e,
				struct raw_leaf *l, uint64_t *pa)
{
	bool ept = g->arch == RAW_EPT;
	unsigned rights = ept ? (unsigned)(e & 7) | (g->mbec ? BIT(e, 10) << 3 : 0) : BIT(e, 0);

	if (!rights)
		return RAW_NONE;
	*pa = e & 0x000ffffffffff000ull;
	if (level > 0 && !BIT(e, 7)) {
		/* A pointer must not narrow what the leaf grants. */
		if (ept)
			return (e & 7) == 7 && !(e & 0x78) ? RAW_TABLE : RAW_BAD;
		return BIT(e, 1) && !BIT(e, 63) && (!g->user_leaf || BIT(e, 2)) ? RAW_TABLE
										: RAW_BAD;
	}
	if (level > 2)
		return RAW_BAD;
	if (level > 0) {
		/* Bit 12 of a large x86 page is PAT; EPT reserves it with the rest. */
		uint64_t low = *pa & (((uint64_t)1 << raw_shift(g, level)) - 1);

		if (low & (ept ? ~0ull : ~0x1000ull))
			return RAW_BAD;
		*pa -= low;
	}
	if (ept) {
		unsigned mt = (unsigned)FIELD(e, 5, 3);

		l->r = BIT(e, 0);
		l->w = BIT(e, 1);
		l->x = BIT(e, 2);
		return (l->w && !l->r) || mt == 2 || mt == 3 || mt == 7 ? RAW_BAD : RAW_LEAF;
	}
	l->r = true;
	l->w = BIT(e, 1);
	l->x = !BIT(e, 63);
	return g->user_leaf && !BIT(e, 2) ? RAW_BAD : RAW_LEAF;
}

static enum raw_kind decode_arm(const struct raw_geo *g, unsigned level, uint64_t e,
				struct raw_leaf *l, uint64_t *pa)
{
	unsigned type = (unsigned)(e & 3);

	if (!(type & 1))
		return RAW_NONE;
	*pa = arm_address(g, e);
	if (level > 0 && type == 3)
		return RAW_TABLE;
	if (level == 0 ? type != 3 : type != 1)
		return RAW_NONE;
	if (*pa & (((uint64_t)1 << raw_shift(g, level)) - 1))
		return RAW_BAD;
	l->contiguous = BIT(e, 52);
	if (g->arch == RAW_ARM_S2) {
		l->r = BIT(e, 6);
		l->w = BIT(e, 7);
		/* 00 both, 01 EL0 alone, 10 none, 11 EL1 alone. */
		l->x = FIELD(e, 54, 53) == 0 || FIELD(e, 54, 53) == 3;
	} else {
		l->r = true;
		l->w = !BIT(e, 7);
		l->x = g->el2 || BIT(e, 6) ? !BIT(e, 54) : !BIT(e, 53);
	}
	return RAW_LEAF;
}

static enum raw_kind decode_riscv(const struct raw_geo *g, unsigned level, uint64_t ia, uint64_t e,
				  struct raw_leaf *l, uint64_t *pa)
{
	if (!BIT(e, 0))
		return RAW_NONE;
	if (FIELD(e, 60, 54))
		return RAW_BAD;
	*pa = FIELD(e, 53, 10) << 12;
	if (!(e & 0xe)) {
		/* D, A, U, PBMT and N of a pointer are reserved. */
		return level > 0 && !(e & 0xe0000000000000d0ull) ? RAW_TABLE : RAW_BAD;
	}
	l->r = BIT(e, 1);
	l->w = BIT(e, 2);
	l->x = BIT(e, 3);
	if ((l->w && !l->r) || (g->user_leaf && !BIT(e, 4)) || FIELD(e, 62, 61) == 3)
		return RAW_BAD;
	if (BIT(e, 63)) {
		if (level != 0 || FIELD(e, 13, 10) != 8)
			return RAW_BAD;
		l->contiguous = true;
		*pa = (*pa & ~0xffffull) | (ia & 0xf000);
	}
	return *pa & (((uint64_t)1 << raw_shift(g, level)) - 1) ? RAW_BAD : RAW_LEAF;
}

static enum raw_kind decode_loong(const struct raw_geo *g, unsigned level, uint64_t e,
				  struct raw_leaf *l, uint64_t *pa)
{
	*pa = e & 0x0000fffffffff000ull;
	if (level > 0 && !BIT(e, 6))
		return e & ~0x0000fffffffff000ull || !e ? RAW_NONE : RAW_TABLE;
	if (!BIT(e, 0))
		return RAW_NONE;
	if (level > 0)
		*pa &= ~0x1000ull; /* G of a huge entry */
	if (*pa & (((uint64_t)1 << raw_shift(g, level)) - 1))
		return RAW_BAD;
	l->r = !BIT(e, 61);
	l->w = BIT(e, 1);
	l->x = !BIT(e, 62);
	return RAW_LEAF;
}

enum raw_kind raw_decode(const struct raw_geo *g, unsigned level, uint64_t ia, uint64_t entry,
			 struct raw_leaf *out, uint64_t *table)
{
	struct raw_leaf l = { .ia = ia, .entry = entry, .level = level };
	enum raw_kind kind = RAW_BAD;
	uint64_t pa = 0;

	switch (g->arch) {
	case RAW_EPT:
	case RAW_X86:
		kind = decode_x86(g, level, entry, &l, &pa);
		break;
	case RAW_ARM_S2:
	case RAW_ARM_S1:
		kind = decode_arm(g, level, entry, &l, &pa);
		break;
	case RAW_RISCV:
		kind = decode_riscv(g, level, ia, entry, &l, &pa);
		break;
	case RAW_LOONG:
		kind = decode_loong(g, level, entry, &l, &pa);
		break;
	}
	l.pa = pa;
	*out = l;
	*table = pa;
	return kind;
}

static uint64_t index_of(const struct raw_geo *g, uint64_t ia, unsigned level)
{
	uint64_t index = ia >> raw_shift(g, level);

	return level == g->levels - 1 ? index : index & ((1ull << (g->page_shift - 3)) - 1);
}

static uint64_t mask_of(const struct raw_geo *g)
{
	return ~0ull >> (64 - g->ia_bits);
}

bool raw_translate(const struct raw_geo *g, uint64_t ia, struct raw_leaf *out)
{
	uint64_t pa = g->root;

	ia &= mask_of(g);
	for (unsigned level = g->levels; level-- > 0;) {
		const uint64_t *t = g->ptr(g->ctx, pa);
		enum raw_kind kind = raw_decode(g, level, ia, t[index_of(g, ia, level)], out, &pa);

		if (kind == RAW_LEAF) {
			out->pa += ia & ((1ull << raw_shift(g, level)) - 1);
			return true;
		}
		if (kind != RAW_TABLE)
			return false;
	}
	return false;
}

bool raw_entry(const struct raw_geo *g, uint64_t ia, unsigned level, uint64_t *out)
{
	uint64_t pa = g->root;
	struct raw_leaf l;

	ia &= mask_of(g);
	for (unsigned at = g->levels; at-- > level;) {
		const uint64_t *t = g->ptr(g->ctx, pa);

		*out = t[index_of(g, ia, at)];
		if (at == level)
			return true;
		if (raw_decode(g, at, ia, *out, &l, &pa) != RAW_TABLE)
			return false;
	}
	return false;
}

/* LoongArch: tables known to hold nothing are entered once only. */
struct scan {
	const struct raw_geo *g;
	raw_table_fn table;
	raw_leaf_fn leaf;
	void *ctx;
	uint64_t empty[8];
	unsigned nr_empty;
	bool ok;
};

static bool known_empty(const struct scan *s, uint64_t pa)
{
	for (unsigned i = 0; i < s->nr_empty; i++) {
		if (s->empty[i] == pa)
			return true;
	}
	return false;
}

static bool scan_table(struct scan *s, uint64_t pa, unsigned level, uint64_t ia)
{
	const struct raw_geo *g = s->g;
	const uint64_t *t = g->ptr(g->ctx, pa);
	uint64_t n = 1ull << (g->page_shift - 3), last = 0, next;
	bool found = false;

	if (level == g->levels - 1)
		n = 1ull << (g->ia_bits - raw_shift(g, level));
	if (s->table)
		s->table(s->ctx, pa, level, ia);
	if (level == 0 && !s->leaf) {
		/* Only tables are asked for; LoongArch needs to know whether this one is empty. */
		while (g->arch == RAW_LOONG && n > 0 && t[n - 1] == 0)
			n--;
		return n > 0;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = ia + (i << raw_shift(g, level));
		struct raw_leaf l;

		if (t[i] == 0 || (t[i] == last && g->arch == RAW_LOONG && level > 0))
			continue;
		switch (raw_decode(g, level, at, t[i], &l, &next)) {
		case RAW_LEAF:
			found = true;
			if (s->leaf)
				s->leaf(s->ctx, &l);
			break;
		case RAW_TABLE:
			if (known_empty(s, next))
				break;
			if (scan_table(s, next, level - 1, at)) {
				found = true;
			} else if (s->nr_empty < 8) {
				s->empty[s->nr_empty++] = next;
				last = t[i];
			}
			break;
		case RAW_BAD:
			s->ok = false;
			break;
		case RAW_NONE:
			break;
		}
	}
	return found;
}

bool raw_scan(const struct raw_geo *g, raw_table_fn table, raw_leaf_fn leaf, void *ctx)
{
	struct scan s = { .g = g, .table = table, .leaf = leaf, .ctx = ctx, .ok = true };

	scan_table(&s, g->root, g->levels - 1, 0);
	return s.ok;
}
