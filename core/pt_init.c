/* SPDX-License-Identifier: MIT */
/*
 * Making and ending a table: configuration, geometry, and the addresses that it translates.
 */
#include "core/bulk.h"
#include "core/config.h"
#include "core/operate.h"

unsigned nest_top_level(const struct nest_fmt *f, unsigned ia_bits)
{
	unsigned reach = nest_shift(f, 1) + f->root_extra_bits;
	unsigned top = 0;

	while (reach < ia_bits) {
		reach += f->index_bits;
		top++;
	}
	/* Concatenated pages alone would have no room for blocks. */
	return top == 0 && ia_bits > nest_shift(f, 1) ? 1 : top;
}

static void fill_absent(struct nest_pt *pt, nest_pa_t table, unsigned level, uint64_t entries)
{
	nest_pte_t *t = nest_va(pt, table);

	/* In a build for size this is the only such loop. */
	for (uint64_t i = 0; NEST_SMALL && i < entries; i++)
		t[i] = pt->absent[level];
	if (!NEST_SMALL)
		nest_fill_same(t, entries, pt->absent[level]);
	nest_sync_entries(pt, t, entries);
}

/* One table of `size` bytes with nothing in it. */
static int new_table(struct nest_pt *pt, unsigned level, uint64_t size, nest_pa_t *out)
{
	int err = nest_alloc(pt, size, out);

	if (!err)
		fill_absent(pt, *out, level, size / sizeof(nest_pte_t));
	return err;
}

/* Does an absent directory point to an all-absent table? */
static bool needs_invalid_tables(const struct nest_fmt *f, uint32_t features)
{
	return NEST_HAS_FRESH && nest_absent_word(f, features, 1, 0) !=
					 nest_absent_word(f, features, 1, NEST_BIT(f->page_shift));
}

/* Take over what the caller asks for, or refuse it. */
static int configure(struct nest_pt *pt, const struct nest_pt_config *c)
{
	enum nest_config_field unused;
	const struct nest_fmt *f;
	unsigned ia_bits, oa_bits;
	int err = nest_check_config(c, &unused, &ia_bits, &oa_bits);

	if (err)
		return err;
	f = nest_descriptor(c->format);
	pt->format = c->format;
	pt->host = c->host;
	pt->ctx = c->ctx;
	pt->features = c->features;
	pt->flags = c->flags;
	pt->ia_bits = (uint8_t)ia_bits;
	pt->oa_bits = (uint8_t)oa_bits;
	pt->top = (uint8_t)nest_top_level(f, ia_bits);
	pt->leaf_mask = f->leaf_levels(c->features);
	while (pt->max_leaf < pt->top && (pt->leaf_mask >> (pt->max_leaf + 1) & 1))
		pt->max_leaf++;
	nest_set_quick(pt);
	return NEST_OK;
}

/* A word for entries that are being changed: invalid to walkers, and like no other. */
static int make_busy(struct nest_pt *pt, unsigned level)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	nest_pa_t table;
	int err;

	if (level == 0 || !nest_absent_is_table(f)) {
		pt->busy[level] = nest_soft_word(NEST_SOFT_LIMBO, 0) |
				  nest_soft_bits(f, pt->features, level);
		return NEST_OK;
	}
	err = new_table(pt, level - 1, nest_table_size(pt), &table);
	if (!err)
		pt->busy[level] = nest_absent_word(f, pt->features, level, table);
	return err;
}

/* What stands for nothing, by level, and the tables that it takes. */
static int make_absent(struct nest_pt *pt)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	int err = NEST_OK;

	pt->absent[0] = nest_absent_word(f, pt->features, 0, 0);
	for (unsigned l = 1; l <= pt->top && !err; l++) {
		if (needs_invalid_tables(f, pt->features))
			err = new_table(pt, l - 1, nest_table_size(pt), &pt->invalid[l - 1]);
		pt->absent[l] = nest_absent_word(f, pt->features, l, pt->invalid[l - 1]);
	}
	for (unsigned l = 0; l <= pt->top; l++)
		pt->lent[l] = pt->busy[l] = pt->absent[l];
	for (unsigned l = 0; l <= pt->top && nest_is_shared(pt) && !err; l++)
		err = make_busy(pt, l);
	return err;
}

/* A table that is none. */
NEST_APART static void reset(struct nest_pt *pt)
{
	*pt = (struct nest_pt){ .root = NEST_PA_NONE, .pinned = NEST_PA_NONE };
	for (unsigned l = 0; NEST_HAS_FRESH && l < NEST_MAX_LEVELS; l++)
		pt->invalid[l] = NEST_PA_NONE;
}

int nest_pt_init(struct nest_pt *pt, const struct nest_pt_config *c)
{
	int err;

	if (!pt)
		return NEST_E_INVAL;
	reset(pt);
	err = configure(pt, c);
	if (err)
		return err;
	err = make_absent(pt);
	if (!err)
		err = new_table(pt, pt->top, nest_pt_root_size(pt), &pt->root);
	if (err)
		nest_pt_destroy(pt);
	else
		pt->nr_tables = 1;
	return err;
}

/* Free the root and what hangs below it, and is not borrowed. */
static void free_tables(struct nest_pt *pt)
{
	const struct nest_fmt *f = nest_fmt_of(pt);
	const nest_pte_t *root = nest_va(pt, pt->root);
	const uint64_t n = pt->top ? nest_entries(f, pt, pt->top) : 0;

	for (uint64_t i = 0; i < n; i++) {
		const nest_pte_t e = nest_load(&root[i]);

		if (!NEST_SMALL && e == pt->absent[pt->top])
			i += nest_like(&root[i], n - i, e, ~(nest_pte_t)0) - 1;
		else if (nest_kind(f, pt, pt->top, e) == NEST_PTE_TABLE && !nest_is_borrowed(pt, i))
			nest_ops(pt)->drop(pt, NULL, NULL, f->table_pa(e), pt->top - 1u, 0);
	}
	pt->host->free(pt->ctx, pt->root, (size_t)nest_pt_root_size(pt));
}

void nest_pt_destroy(struct nest_pt *pt)
{
	if (!nest_is_live(pt))
		return;
#ifdef NEST_DEBUG
	if (nest_pt_unsynced(pt))
		__builtin_trap();
#endif
	if (pt->root != NEST_PA_NONE)
		free_tables(pt);
	for (unsigned l = 0; NEST_HAS_FRESH && l < NEST_MAX_LEVELS; l++) {
		if (pt->invalid[l] != NEST_PA_NONE)
			pt->host->free(pt->ctx, pt->invalid[l], (size_t)nest_table_size(pt));
	}
	for (unsigned l = 1; l <= pt->top && nest_absent_is_table(nest_fmt_of(pt)); l++) {
		if (pt->busy[l] != pt->absent[l])
			pt->host->free(pt->ctx, nest_fmt_of(pt)->table_pa(pt->busy[l]),
				       (size_t)nest_table_size(pt));
	}
	if (pt->pinned != NEST_PA_NONE)
		pt->host->free(pt->ctx, pt->pinned, (size_t)nest_table_size(pt));
	reset(pt);
}

nest_pa_t nest_pt_root(const struct nest_pt *pt)
{
	return nest_is_live(pt) ? pt->root : NEST_PA_NONE;
}

uint64_t nest_pt_root_size(const struct nest_pt *pt)
{
	uint64_t size;

	if (!nest_is_live(pt))
		return 0;
	size = nest_entries(nest_fmt_of(pt), pt, pt->top) * sizeof(nest_pte_t);
	return size > nest_table_size(pt) ? size : nest_table_size(pt);
}

unsigned nest_pt_levels(const struct nest_pt *pt)
{
	return nest_is_live(pt) ? pt->top + 1u : 0;
}

unsigned nest_pt_shift(const struct nest_pt *pt, unsigned level)
{
	if (!nest_is_live(pt) || level > pt->top)
		return 0;
	return nest_shift(nest_fmt_of(pt), level);
}

void nest_pt_set_vmid(struct nest_pt *pt, uint32_t vmid)
{
	if (nest_is_live(pt))
		pt->vmid = vmid;
}

uint32_t nest_pt_vmid(const struct nest_pt *pt)
{
	return nest_is_live(pt) ? pt->vmid : 0;
}
