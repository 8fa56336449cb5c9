/* SPDX-License-Identifier: MIT */
/*
 * Changes of live entries (live.c): two verbs, and what is made of them.
 */
#ifndef NEST_CORE_LIVE_H
#define NEST_CORE_LIVE_H

#include "core/gather.h"

/* Must another frame at the same place wait for a break? */
NEST_INLINE bool nest_frames_break(const struct nest_fmt *f, uint32_t features)
{
	nest_pte_t leaf;

	return f->leaf(features, 0, NEST_R, &leaf) == NEST_OK &&
	       nest_needs_break(f, features, 0, leaf,
				leaf | f->pa_bits(0, NEST_BIT(f->page_shift)));
}

/*
 * Does the change need a break? FEAT_BBM level 2 spares it only where frames and memory types stay
 * the same, so that it does not matter which entry the TLB has kept.
 */
bool nest_breaks(const struct nest_pt *pt, unsigned level, nest_pte_t from, nest_pte_t to,
		 bool same);

/* Output address of a leaf for the offset where its entry begins; its membership in a group. */
nest_pa_t nest_entry_pa(const struct nest_pt *pt, unsigned level, uint64_t off, nest_pte_t pte);
bool nest_is_contig(const struct nest_pt *pt, unsigned level, nest_pte_t pte);
/* Attributes of a live leaf; what cannot be decoded was not written by the engine: no rights. */
nest_attr_t nest_leaf_attr(const struct nest_pt *pt, unsigned level, nest_pte_t pte);
/* What protect makes of attributes. */
nest_attr_t nest_new_attr(nest_attr_t attr, nest_attr_t set, nest_attr_t clear);
/* A leaf of `level` for pa with attr. NEST_E_UNSUPPORTED. */
int nest_build(const struct nest_pt *pt, unsigned level, nest_pa_t pa, nest_attr_t attr,
	       nest_pte_t *out);
/* A leaf with other attributes at the same address. NEST_E_UNSUPPORTED. */
int nest_recode(const struct nest_pt *pt, unsigned level, nest_pte_t pte, nest_attr_t set,
		nest_attr_t clear, nest_pte_t *out);
/* protect: the same for one of the request's leaves. NEST_E_NOTMAPPED: it lacks rq->only_with. */
int nest_protected(const struct nest_pt *pt, const struct nest_request *rq, unsigned level,
		   nest_pte_t pte, nest_pte_t *out);
/*
 * The entry `index` of the table one level down that stands for the same as `old` at `level` + 1.
 */
nest_pte_t nest_derive(const struct nest_pt *pt, unsigned level, nest_pte_t old, uint64_t index);

/* ---- The two verbs ---- */

/*
 * Swap: put `to` in place of at->e; false: the entry has changed. Hardware may do that, too.
 * Nothing is flushed, nor gathered.
 */
bool nest_swap(const struct nest_pt *pt, const struct nest_at *at, nest_pte_t to);
/*
 * Take, flush, give: swap in nest_invalid(), flush, and then put the new word there. In shared mode
 * whoever meets the word between the two begins again at the root.
 */
NEST_INLINE nest_pte_t nest_invalid(const struct nest_pt *pt, unsigned level)
{
	return nest_is_shared(pt) ? pt->busy[level] : pt->absent[level];
}
void nest_give(const struct nest_pt *pt, const struct nest_at *at, nest_pte_t to);
/* Either, in place of the leaf at->e; false: it has changed. */
bool nest_replace(struct nest_pt *pt, const struct nest_at *at, nest_pte_t to, bool broken);

/* ---- What is made of them ---- */

/*
 * Put `to`, which points to a table that stands for the same as at->e and more, in its place;
 * false: the entry has changed. `same`: no frame and no memory type changes.
 */
bool nest_link(struct nest_gather *g, const struct nest_at *at, nest_pte_t to, bool same);
/*
 * The rest is for exclusive mode. Replace what stands at `at` (of any kind) by `to`, breaking first
 * where the format asks for it. Returns the last value of the old entry, with what hardware had set
 * in it. Does not gather; *flushed: nor is there anything to flush.
 */
nest_pte_t nest_change(struct nest_pt *pt, const struct nest_at *at, nest_pte_t to, bool same,
		       bool *flushed);
/*
 * The table that at->e points to goes, with all that is in it; `to` takes its place. *keep, or
 * NULL: leaves in it with pa - offset == *keep stay mapped.
 */
void nest_replace_table(struct nest_gather *g, const struct nest_at *at, nest_pte_t to, bool same,
			const uint64_t *keep);
/*
 * A map puts `to` in place of `from`, a leaf that maps the same frame: `to` with what is accessed
 * and dirty.
 */
nest_pte_t nest_keep_ad(const struct nest_pt *pt, unsigned level, nest_pte_t to, nest_pte_t from);
/*
 * The same in place of a table (with entries of `level`, the first of which is for `off`), for what
 * of it maps the same frames.
 */
nest_pte_t nest_keep_table_ad(const struct nest_request *rq, unsigned level, uint64_t off,
			      nest_pte_t to, nest_pa_t table);
/* Hardware set something in an entry between `before` and `was`, which is gone: set it in *p. */
void nest_carry_ad(struct nest_pt *pt, nest_pte_t *p, unsigned level, nest_pte_t was,
		   nest_pte_t before);
/*
 * Write the whole group that the entry belongs to again: with other attributes, and as members of a
 * contiguous group or as single pages.
 */
void nest_rewrite_group(struct nest_gather *g, const struct nest_at *in, nest_attr_t set,
			nest_attr_t clear, bool contiguous);
/*
 * Live leaves among the n entries from `at` on are about to be overwritten by a map with
 * NEST_MAP_REPLACE. True: the new ones are stored already. False: where the format asks for it the
 * old ones have been broken, and *proto has what was accessed and dirty in any that the map puts
 * there again.
 */
bool nest_replace_leaves(const struct nest_request *rq, const struct nest_at *at, uint64_t n,
			 nest_pte_t *proto);
/*
 * Take a live leaf, or the whole contiguous group that begins there, out of its table, and then
 * report it. Returns the number of entries.
 */
uint64_t nest_remove_leaf(struct nest_gather *g, const struct nest_at *at);

/* ---- Questions ---- */

/* Accessed and dirty of a leaf; of all members together, if it is one of a group. */
nest_attr_t nest_group_status(const struct nest_pt *pt, const nest_pte_t *t, uint64_t i,
			      unsigned level);
/* Is the root entry i linked to another table, from it or by it? */
bool nest_is_borrowed(const struct nest_pt *pt, uint64_t i);
bool nest_is_pinned(const struct nest_pt *pt, uint64_t i);

#endif
