/* SPDX-License-Identifier: MIT */
/*
 * Tables of entries with their words written by hand, and the checks that go through them. Every
 * leaf of a table is built and decoded; nothing here knows a bit of any format.
 */
#ifndef NEST_TEST_ENTRIES_H
#define NEST_TEST_ENTRIES_H

#include "support.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* A leaf and its word. `reads` is what decoding reports where that is another name for the same. */
struct leaf_case {
	unsigned level;
	uint32_t features;
	nest_pa_t pa;
	nest_attr_t attr;
	nest_pte_t word;
	bool alias;
	nest_attr_t reads;
};

struct refused_case {
	unsigned level;
	uint32_t features;
	nest_pa_t pa;
	nest_attr_t attr;
	int status;
};

/* A word from anywhere. pa and attr count where the kind has them; mark is pa of a MARK. */
struct word_case {
	unsigned level;
	uint32_t features;
	nest_pte_t word;
	enum nest_pte_kind kind;
	uint64_t pa;
	nest_attr_t attr;
};

#define LEAF(l, f, address, a, w)                                                                  \
	{ .level = (l), .features = (f), .pa = (address), .attr = (a), .word = (w) }
#define ALIAS(l, f, address, a, w, r)                                                              \
	{ .level = (l),                                                                            \
	  .features = (f),                                                                         \
	  .pa = (address),                                                                         \
	  .attr = (a),                                                                             \
	  .word = (w),                                                                             \
	  .alias = true,                                                                           \
	  .reads = (r) }
#define REFUSED(l, f, address, a, s)                                                               \
	{ .level = (l), .features = (f), .pa = (address), .attr = (a), .status = NEST_E_##s }
#define WORD(l, f, w, k, address, a)                                                               \
	{ .level = (l),                                                                            \
	  .features = (f),                                                                         \
	  .word = (w),                                                                             \
	  .kind = NEST_PTE_##k,                                                                    \
	  .pa = (address),                                                                         \
	  .attr = (a) }

static inline void name_case(const struct nest_format *fmt, const char *what, size_t i,
			     uint64_t word)
{
	snprintf(test_case, sizeof(test_case), "%s: %s %u, 0x%llx", nest_format_name(fmt), what,
		 (unsigned)i, (unsigned long long)word);
}

static inline void check_leaves(const struct nest_format *fmt, const struct leaf_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++, c++) {
		struct nest_pte_info info;
		nest_pte_t word = 0;

		name_case(fmt, "leaf", i, c->word);
		CHECK_OK(nest_pte_leaf(fmt, c->level, c->features, c->pa, c->attr, &word));
		CHECK_EQ(word, c->word);
		CHECK_OK(nest_pte_decode(fmt, c->level, c->features, c->word, &info));
		CHECK_EQ(info.kind, NEST_PTE_LEAF);
		CHECK_EQ(info.pa, c->pa);
		CHECK_EQ(info.attr, c->alias ? c->reads : c->attr);
		CHECK(!info.contiguous);
	}
}

static inline void check_refused(const struct nest_format *fmt, const struct refused_case *c,
				 size_t n)
{
	const nest_pte_t untouched = 0x5a5a5a5a5a5a5a5a;

	for (size_t i = 0; i < n; i++, c++) {
		nest_pte_t word = untouched;

		name_case(fmt, "refused", i, c->attr);
		CHECK_RC(nest_pte_leaf(fmt, c->level, c->features, c->pa, c->attr, &word),
			 c->status);
		CHECK_EQ(word, untouched);
	}
}

static inline void check_words(const struct nest_format *fmt, const struct word_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++, c++) {
		struct nest_pte_info info;

		name_case(fmt, "word", i, c->word);
		CHECK_OK(nest_pte_decode(fmt, c->level, c->features, c->word, &info));
		CHECK_EQ(info.kind, c->kind);
		CHECK_EQ(c->kind == NEST_PTE_MARK ? info.mark : info.pa, c->pa);
		CHECK_EQ(info.attr, c->attr);
	}
}

/* Legal leaves whose attributes have no name: address told, attributes not. */
static inline void check_nameless(const struct nest_format *fmt, const struct word_case *c,
				  size_t n)
{
	for (size_t i = 0; i < n; i++, c++) {
		struct nest_pte_info info;

		name_case(fmt, "nameless", i, c->word);
		CHECK_RC(nest_pte_decode(fmt, c->level, c->features, c->word, &info),
			 NEST_E_UNSUPPORTED);
		CHECK_EQ(info.kind, NEST_PTE_LEAF);
		CHECK_EQ(info.pa, c->pa);
	}
}

static inline void check_table(const struct nest_format *fmt, unsigned levels, uint32_t features,
			       nest_pa_t pa, nest_pte_t word)
{
	struct nest_pte_info info;
	nest_pte_t e = 0;

	name_case(fmt, "table", levels, word);
	CHECK_OK(nest_pte_table(fmt, features, pa, &e));
	CHECK_EQ(e, word);
	for (unsigned level = 1; level < levels; level++) {
		CHECK_OK(nest_pte_decode(fmt, level, features, word, &info));
		CHECK_EQ(info.kind, NEST_PTE_TABLE);
		CHECK_EQ(info.pa, pa);
	}
	CHECK_RC(nest_pte_decode(fmt, levels, features, word, &info), NEST_E_UNSUPPORTED);
}

static inline void check_mark(const struct nest_format *fmt, uint32_t features, uint64_t value,
			      nest_pte_t word)
{
	struct nest_pte_info info;
	nest_pte_t e = 0;

	name_case(fmt, "mark", 0, word);
	CHECK_OK(nest_pte_mark(fmt, features, value, &e));
	CHECK_EQ(e, word);
	CHECK_OK(nest_pte_decode(fmt, 0, features, word, &info));
	CHECK_EQ(info.kind, NEST_PTE_MARK);
	CHECK_EQ(info.mark, value);
}

/* What a format makes of attributes: NEST_OK and the name it reports, or the refusal. */
typedef int (*expect_fn)(uint32_t features, nest_attr_t attr, nest_attr_t *reads);

/* Every subset of attributes, the impossible ones too, at every level of `levels`. */
static inline void check_every_attribute(const struct nest_format *fmt, unsigned levels,
					 uint32_t features, nest_pa_t pa, expect_fn expect)
{
	for (unsigned level = 0; level < NEST_MAX_LEVELS; level++) {
		if (!(levels >> level & 1))
			continue;
		for (nest_attr_t attr = 0; attr <= NEST_ATTR_MASK; attr++) {
			struct nest_pte_info info;
			nest_pte_t word = 0, again = 0;
			nest_attr_t reads = attr;
			int want;

			if (attr & ~NEST_ATTR_MASK)
				continue;
			want = (attr & NEST_MT_MASK) > NEST_MT_DEVICE_STRICT
				       ? NEST_E_INVAL
				       : expect(features, attr, &reads);
			name_case(fmt, "attribute at level", level, attr);
			CHECK_RC(nest_pte_leaf(fmt, level, features, pa, attr, &word), want);
			if (want)
				continue;
			CHECK_OK(nest_pte_decode(fmt, level, features, word, &info));
			CHECK_EQ(info.kind, NEST_PTE_LEAF);
			CHECK_EQ(info.pa, pa);
			CHECK_EQ(info.attr, reads);
			CHECK_OK(nest_pte_leaf(fmt, level, features, pa, info.attr, &again));
			CHECK_EQ(again, word);
		}
	}
}

/* The one name that the device types have where the format has only UC. */
static inline nest_attr_t devices_are_uc(nest_attr_t attr)
{
	return (attr & NEST_MT_MASK) >= NEST_MT_DEVICE ? (attr & ~NEST_MT_MASK) | NEST_MT_UC : attr;
}

#endif
