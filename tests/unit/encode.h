/* SPDX-License-Identifier: MIT */
/*
 * Tables of entries with the words that the architecture's manual gives for them, and what every
 * format's table is put through: build, decode, refuse. For tests that do not need a page table.
 */
#ifndef NEST_TEST_ENCODE_H
#define NEST_TEST_ENCODE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nest/format.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A leaf, and what it decodes to: `back` where that is not `attr` itself. */
struct leaf_row {
	int line;
	unsigned level;
	uint32_t features;
	nest_pa_t pa;
	nest_attr_t attr;
	nest_pte_t word;
	nest_attr_t back;
	bool group;         /* one of a contiguous group; then ... */
	nest_pa_t group_pa; /* ... what decode tells as its address */
};

#define LEAF(level, features, pa, attr, word)                                                      \
	{ __LINE__, level, features, pa, attr, word, attr, false, pa }
#define LEAF_AS(level, features, pa, attr, word, back)                                             \
	{ __LINE__, level, features, pa, attr, word, back, false, pa }
#define GROUP(level, features, pa, attr, word, group_pa)                                           \
	{ __LINE__, level, features, pa, attr, word, attr, true, group_pa }

static inline void check_leaves(const struct nest_format *f, const struct leaf_row *row, size_t n)
{
	for (; n--; row++) {
		struct nest_pte_info info;
		nest_pte_t e = 0;
		int rc = row->group ? nest_pte_leaf_contiguous(f, row->level, row->features,
							       row->pa, row->attr, &e)
				    : nest_pte_leaf(f, row->level, row->features, row->pa,
						    row->attr, &e);

		if (rc || e != row->word)
			fail_msg("line %d: rc %d, 0x%016llx, not 0x%016llx", row->line, rc,
				 (unsigned long long)e, (unsigned long long)row->word);
		rc = nest_pte_decode(f, row->level, row->features, row->word, &info);
		if (rc || info.kind != NEST_PTE_LEAF || info.pa != row->group_pa ||
		    info.attr != row->back || info.contiguous != row->group)
			fail_msg("line %d: decode rc %d kind %d pa 0x%llx attr 0x%x", row->line, rc,
				 (int)info.kind, (unsigned long long)info.pa, (unsigned)info.attr);
	}
}

/* A leaf that must not be built. */
struct refused_row {
	int line;
	unsigned level;
	uint32_t features;
	nest_pa_t pa;
	nest_attr_t attr;
	int rc;
};

#define REFUSED(level, features, attr)      { __LINE__, level, features, 0, attr, NEST_E_UNSUPPORTED }
#define REFUSED_PA(level, features, pa, rc) { __LINE__, level, features, pa, NEST_RW, rc }

static inline void check_refused(const struct nest_format *f, const struct refused_row *row,
				 size_t n)
{
	for (; n--; row++) {
		nest_pte_t e = 0x5a5a;
		int rc = nest_pte_leaf(f, row->level, row->features, row->pa, row->attr, &e);

		if (rc != row->rc || e != 0x5a5a)
			fail_msg("line %d: rc %d, 0x%016llx", row->line, rc, (unsigned long long)e);
	}
}

/* A word, and what decode makes of it. */
struct word_row {
	int line;
	unsigned level;
	uint32_t features;
	nest_pte_t word;
	int rc;
	enum nest_pte_kind kind;
	uint64_t value; /* address of a table or nameless leaf, value of a mark, attributes of a
			   leaf */
};

#define RESERVED(level, features, word)                                                            \
	{ __LINE__, level, features, word, NEST_OK, NEST_PTE_RESERVED, 0 }
#define NOTHING(level, features, word)                                                             \
	{ __LINE__, level, features, word, NEST_OK, NEST_PTE_NONE, 0 }
#define TABLE(level, features, word, pa)                                                           \
	{ __LINE__, level, features, word, NEST_OK, NEST_PTE_TABLE, pa }
#define MARK(level, features, word, mark)                                                          \
	{ __LINE__, level, features, word, NEST_OK, NEST_PTE_MARK, mark }
#define NAMELESS(level, features, word, pa)                                                        \
	{ __LINE__, level, features, word, NEST_E_UNSUPPORTED, NEST_PTE_LEAF, pa }
#define READS(level, features, word, attr)                                                         \
	{ __LINE__, level, features, word, NEST_OK, NEST_PTE_LEAF, attr }

static inline void check_words(const struct nest_format *f, const struct word_row *row, size_t n)
{
	for (; n--; row++) {
		struct nest_pte_info info = { .pa = 1 };
		int rc = nest_pte_decode(f, row->level, row->features, row->word, &info);
		uint64_t value = info.kind == NEST_PTE_LEAF && !rc ? info.attr
				 : info.kind == NEST_PTE_MARK      ? info.mark
								   : info.pa;

		if (rc != row->rc || info.kind != row->kind || value != row->value)
			fail_msg("line %d: 0x%016llx: rc %d kind %d value 0x%llx", row->line,
				 (unsigned long long)row->word, rc, (int)info.kind,
				 (unsigned long long)value);
	}
}

/*
 * Every set of attributes: built exactly if `expect` says that it can be, and then decoded to what
 * it says (the aliases resolved), which builds the same word again.
 */
typedef bool (*expect_fn)(uint32_t features, nest_attr_t attr, nest_attr_t *back);

static inline void check_one_attr(const struct nest_format *f, unsigned level, uint32_t features,
				  nest_attr_t attr, expect_fn expect)
{
	nest_pa_t pa = (nest_pa_t)1 << 46;
	struct nest_pte_info info;
	nest_attr_t back = attr;
	nest_pte_t e = 1, again = 2;
	bool legal = expect(features, attr, &back);
	int rc = nest_pte_leaf(f, level, features, pa, attr, &e);

	if (rc != (legal ? NEST_OK : NEST_E_UNSUPPORTED) || (!legal && e != 1))
		fail_msg("level %u features 0x%x attr 0x%x: rc %d", level, (unsigned)features,
			 (unsigned)attr, rc);
	if (!legal)
		return;
	rc = nest_pte_decode(f, level, features, e, &info);
	if (rc || info.kind != NEST_PTE_LEAF || info.pa != pa || info.attr != back)
		fail_msg("level %u features 0x%x attr 0x%x: 0x%016llx decodes to rc %d 0x%x", level,
			 (unsigned)features, (unsigned)attr, (unsigned long long)e, rc,
			 (unsigned)info.attr);
	rc = nest_pte_leaf(f, level, features, pa, back, &again);
	if (rc || again != e)
		fail_msg("features 0x%x attr 0x%x: another word", (unsigned)features,
			 (unsigned)attr);
}

static inline void check_all_attrs(const struct nest_format *f, uint32_t features, expect_fn expect)
{
	const nest_attr_t flags = NEST_ATTR_MASK & ~NEST_MT_MASK;
	struct nest_format_info info;
	nest_attr_t sub = 0;

	assert_int_equal(nest_format_describe(f, features, &info), NEST_OK);
	do {
		for (nest_attr_t mt = NEST_MT_WB; mt <= NEST_MT_DEVICE_STRICT; mt += NEST_MT_WT)
			check_one_attr(f, sub & 1, features, sub | mt, expect);
		sub = (sub - flags) & flags;
	} while (sub);
}

/* check_all_attrs() for every subset of `choice`. */
static inline void check_all_features(const struct nest_format *f, uint32_t choice,
				      expect_fn expect)
{
	uint32_t sub = 0;

	do {
		struct nest_format_info info;

		/* Some go together: the tests of the format say which. */
		if (nest_format_describe(f, sub, &info) == NEST_OK)
			check_all_attrs(f, sub, expect);
		sub = (sub - choice) & choice;
	} while (sub);
}

#endif
