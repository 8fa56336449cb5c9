/* SPDX-License-Identifier: MIT */
/*
 * Entries one by one, for callers without a table: argument checks around the format's entry
 * functions. Any word, level and feature set may come in.
 */
#include "core/live.h"

const char *nest_format_name(const struct nest_format *format)
{
	return format && nest_descriptor(format) ? nest_descriptor(format)->name : "(null)";
}

/* Levels that a walk of the widest table with these features can have. */
static unsigned levels(const struct nest_fmt *f, uint32_t features)
{
	return nest_top_level(f, f->ia_max(features)) + 1;
}

static int check_features(const struct nest_fmt *f, uint32_t features)
{
	const uint32_t known = (NEST_FEAT_PTW << 1) - 1;

	if (features & ~known)
		return NEST_E_INVAL;
	if (!f) /* not in this build */
		return NEST_E_UNSUPPORTED;
	return nest_features_ok(f, features) ? NEST_OK : NEST_E_UNSUPPORTED;
}

static int check_pa(const struct nest_fmt *f, uint32_t features, nest_pa_t pa, unsigned shift)
{
	if (pa & (NEST_BIT(shift) - 1))
		return NEST_E_ALIGN;
	return pa >> f->oa_max(features) ? NEST_E_RANGE : NEST_OK;
}

static int leaf(const struct nest_format *format, unsigned level, uint32_t features, nest_pa_t pa,
		nest_attr_t attr, bool contiguous, nest_pte_t *out)
{
	const struct nest_fmt *f;
	nest_pte_t e;
	int err;

	if (!format || !out || (attr & ~NEST_ATTR_MASK) ||
	    (attr & NEST_MT_MASK) > NEST_MT_DEVICE_STRICT)
		return NEST_E_INVAL;
	f = nest_descriptor(format);
	err = check_features(f, features);
	if (err)
		return err;
	if (level >= NEST_MAX_LEVELS || !(f->leaf_levels(features) >> level & 1) ||
	    (attr & ~NEST_MT_MASK & ~f->attrs) ||
	    (contiguous && !nest_contig_shift(f, features, level)))
		return NEST_E_UNSUPPORTED;
	err = check_pa(f, features, pa, nest_shift(f, level));
	if (err)
		return err;
	err = f->leaf(features, level, attr, &e);
	if (err)
		return err;
	e |= f->pa_bits(level, pa);
	*out = contiguous ? f->contig(level, e) : e;
	return NEST_OK;
}

int nest_pte_leaf(const struct nest_format *format, unsigned level, uint32_t features, nest_pa_t pa,
		  nest_attr_t attr, nest_pte_t *out)
{
	return leaf(format, level, features, pa, attr, false, out);
}

int nest_pte_leaf_contiguous(const struct nest_format *format, unsigned level, uint32_t features,
			     nest_pa_t pa, nest_attr_t attr, nest_pte_t *out)
{
	return leaf(format, level, features, pa, attr, true, out);
}

int nest_pte_table(const struct nest_format *format, uint32_t features, nest_pa_t table,
		   nest_pte_t *out)
{
	const struct nest_fmt *f;
	int err;

	if (!format || !out)
		return NEST_E_INVAL;
	f = nest_descriptor(format);
	err = check_features(f, features);
	if (!err)
		err = check_pa(f, features, table, f->page_shift);
	if (!err)
		*out = f->table(features, table);
	return err;
}

int nest_pte_mark(const struct nest_format *format, uint32_t features, uint64_t value,
		  nest_pte_t *out)
{
	const struct nest_fmt *f;
	int err;

	if (!format || !out)
		return NEST_E_INVAL;
	if (value > NEST_MARK_MAX)
		return NEST_E_RANGE;
	f = nest_descriptor(format);
	err = check_features(f, features);
	if (!err)
		*out = nest_soft_word(NEST_SOFT_MARK, value) | nest_soft_bits(f, features, 0);
	return err;
}

int nest_pte_absent(const struct nest_format *format, unsigned level, uint32_t features,
		    nest_pa_t invalid_table, nest_pte_t *out)
{
	const struct nest_fmt *f;
	int err;

	if (!format || !out)
		return NEST_E_INVAL;
	f = nest_descriptor(format);
	err = check_features(f, features);
	if (!err && level >= levels(f, features))
		err = NEST_E_UNSUPPORTED;
	/* The table matters only where it shows in the entry. */
	if (!err && nest_absent_word(f, features, level, invalid_table) !=
			    nest_absent_word(f, features, level, 0))
		err = check_pa(f, features, invalid_table, f->page_shift);
	if (!err)
		*out = nest_absent_word(f, features, level, invalid_table);
	return err;
}

/* Do these attributes make this leaf, but for its address and group? */
static bool is_made(const struct nest_fmt *f, unsigned level, uint32_t features, nest_pte_t pte,
		    nest_attr_t attr)
{
	nest_pte_t again;

	if (f->is_contig && f->is_contig(level, pte))
		pte = f->uncontig(level, pte, 0);
	return f->leaf(features, level, attr, &again) == NEST_OK &&
	       !((again ^ pte) & ~f->pa_mask(features, level));
}

static int decode_leaf(const struct nest_fmt *f, unsigned level, uint32_t features, nest_pte_t pte,
		       struct nest_pte_info *out)
{
	nest_attr_t attr = 0;
	int err;

	if (level >= NEST_MAX_LEVELS || !(f->leaf_levels(features) >> level & 1)) {
		out->kind = NEST_PTE_RESERVED;
		return NEST_OK;
	}
	err = f->attr(features, level, pte, &attr);
	if (!err && f->exact && !is_made(f, level, features, pte, attr))
		err = NEST_E_UNSUPPORTED;
	if (err == NEST_E_INVAL) {
		out->kind = NEST_PTE_RESERVED;
		return NEST_OK;
	}
	out->kind = NEST_PTE_LEAF;
	out->pa = f->leaf_pa(features, level, pte);
	out->attr = err ? 0 : attr;
	out->contiguous = nest_is_member(f, features, level, pte);
	return err;
}

int nest_pte_decode(const struct nest_format *format, unsigned level, uint32_t features,
		    nest_pte_t pte, struct nest_pte_info *out)
{
	const struct nest_fmt *f;
	int err;

	if (!format || !out)
		return NEST_E_INVAL;
	f = nest_descriptor(format);
	err = check_features(f, features);
	if (err)
		return err;
	if (level >= levels(f, features))
		return NEST_E_UNSUPPORTED;
	*out = (struct nest_pte_info){ .kind = NEST_PTE_NONE };
	if (f->is_reserved(features, level, pte)) {
		out->kind = NEST_PTE_RESERVED;
	} else if (level > 0 && f->is_table(level, pte)) {
		out->kind = NEST_PTE_TABLE;
		out->pa = f->table_pa(pte);
	} else if (f->is_leaf(level, pte)) {
		return decode_leaf(f, level, features, pte, out);
	} else if (nest_soft_tag_of(pte) == NEST_SOFT_MARK) {
		out->kind = NEST_PTE_MARK;
		out->mark = nest_soft_value(pte);
	}
	return NEST_OK;
}

int nest_format_describe(const struct nest_format *format, uint32_t features,
			 struct nest_format_info *out)
{
	const struct nest_fmt *f;
	int err;

	if (!format || !out)
		return NEST_E_INVAL;
	f = nest_descriptor(format);
	err = check_features(f, features);
	if (err)
		return err;
	*out = (struct nest_format_info){
		.name = f->name,
		.stage2 = f->stage2,
		.page_shift = f->page_shift,
		.index_bits = f->index_bits,
		.ia_min = f->ia_min,
		.ia_max = f->ia_max(features),
		.ia_default = f->ia_default,
		.oa_max = f->oa_max(features),
		.oa_default = f->oa_default(features),
		.root_extra_bits = f->root_extra_bits,
		.leaf_levels = f->leaf_levels(features),
		.features = nest_known_features(f),
		.sign_extended = f->ia_kind == NEST_IA_SIGNED,
		.fresh_needs_flush = nest_fresh_flush(f, features),
	};
	for (unsigned l = 0; l < NEST_MAX_LEVELS; l++)
		out->contig_shift[l] = nest_contig_shift(f, features, l);
	out->break_before_make = nest_frames_break(f, features);
	return NEST_OK;
}
