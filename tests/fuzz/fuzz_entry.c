/* SPDX-License-Identifier: MIT */
/*
 * Entries of every format: any word at any level with any features is decoded without harm, and
 * what a word is said to mean can be built again and means the same; what is built says what it was
 * built from.
 */
#include <nest/nest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

/* Bits that an entry need not give back: where they are not tracked, they mean nothing. */
static const nest_attr_t status = NEST_ACCESSED | NEST_DIRTY;

#define ENSURE(c)                                                                                  \
	do {                                                                                       \
		if (!(c)) {                                                                        \
			fprintf(stderr, "%s:%d: %s: %s level %u features %#x word %#lx\n",         \
				__FILE__, __LINE__, #c, nest_format_name(t->format), t->level,     \
				t->features, (unsigned long)t->word);                              \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct trial {
	const struct nest_format *format;
	struct nest_format_info info;
	unsigned level;
	uint32_t features;
	nest_pte_t word;
};

static int build(const struct trial *t, bool contiguous, nest_pa_t pa, nest_attr_t attr,
		 nest_pte_t *out)
{
	return contiguous
		       ? nest_pte_leaf_contiguous(t->format, t->level, t->features, pa, attr, out)
		       : nest_pte_leaf(t->format, t->level, t->features, pa, attr, out);
}

/* The word says what it means; build that, and ask again. */
static void decode_and_build(const struct trial *t)
{
	struct nest_pte_info is = { .kind = NEST_PTE_RESERVED }, again;
	nest_pte_t e = 0;
	int err = nest_pte_decode(t->format, t->level, t->features, t->word, &is);

	ENSURE(err == NEST_OK || err == NEST_E_UNSUPPORTED);
	if (err)
		return;
	ENSURE((unsigned)is.kind <= NEST_PTE_RESERVED);
	switch (is.kind) {
	case NEST_PTE_LEAF:
		ENSURE(t->info.leaf_levels >> t->level & 1);
		ENSURE(build(t, is.contiguous, is.pa, is.attr, &e) == NEST_OK);
		break;
	case NEST_PTE_TABLE:
		ENSURE(t->level > 0);
		ENSURE(nest_pte_table(t->format, t->features, is.pa, &e) == NEST_OK);
		break;
	case NEST_PTE_MARK:
		ENSURE(is.mark <= NEST_MARK_MAX);
		ENSURE(nest_pte_mark(t->format, t->features, is.mark, &e) == NEST_OK);
		break;
	default:
		return;
	}
	err = nest_pte_decode(t->format, t->level, t->features, e, &again);
	ENSURE(err == NEST_OK);
	ENSURE(again.kind == is.kind && again.pa == is.pa && again.mark == is.mark);
	ENSURE(again.attr == is.attr && again.contiguous == is.contiguous);
}

static void build_and_decode(const struct trial *t, nest_pa_t pa, nest_attr_t attr, bool contiguous)
{
	struct nest_pte_info is;
	nest_pte_t e = t->word;
	int err = build(t, contiguous, pa, attr, &e);
	uint64_t group;

	if (err) {
		ENSURE(e == t->word);
		return;
	}
	ENSURE(nest_pte_decode(t->format, t->level, t->features, e, &is) == NEST_OK);
	ENSURE(is.kind == NEST_PTE_LEAF && is.contiguous == contiguous);
	/* A member of a group may tell where the group begins. */
	group = (uint64_t)1 << (t->info.page_shift + t->level * t->info.index_bits +
				t->info.contig_shift[t->level]);
	ENSURE(is.pa == pa || (contiguous && is.pa == (pa & ~(group - 1))));
	ENSURE(((is.attr ^ attr) & ~status & ~NEST_MT_MASK) == 0);
	/* Types that the format does not tell apart come back under one name, which builds the
	 * same. */
	if (is.attr != attr) {
		nest_pte_t same;

		ENSURE(build(t, contiguous, pa, is.attr, &same) == NEST_OK);
		ENSURE(nest_pte_decode(t->format, t->level, t->features, same, &is) == NEST_OK);
	}
}

/*
 * Nothing is decoded as nothing; a LoongArch directory, which cannot say so, as the table that
 * holds nothing.
 */
static void absent_and_decode(const struct trial *t, nest_pa_t invalid)
{
	bool is_table = t->level > 0 && !strncmp(t->info.name, "loongarch", 9);
	struct nest_pte_info is;
	nest_pte_t e = t->word;
	int err = nest_pte_absent(t->format, t->level, t->features, invalid, &e);

	if (err) {
		ENSURE(e == t->word);
		return;
	}
	ENSURE(nest_pte_decode(t->format, t->level, t->features, e, &is) == NEST_OK);
	ENSURE(is.kind == (is_table ? NEST_PTE_TABLE : NEST_PTE_NONE));
	ENSURE(!is_table || is.pa == invalid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct trial trial, *t = &trial;
	unsigned formats = 0;
	char name[24];
	nest_pte_t e;

	while (nest_formats[formats])
		formats++;
	while (in.left) {
		t->format = nest_formats[input_number(&in, 1) % formats];
		t->level = (unsigned)(input_number(&in, 1) % 8);
		t->features = (uint32_t)input_number(&in, 4);
		t->word = input_number(&in, 8);
		/* Mostly features that the format knows: others are refused. */
		if (nest_format_describe(t->format, 0, &t->info) == NEST_OK && in.left % 8)
			t->features &= t->info.features;
		memset(name, 0, sizeof(name));
		for (unsigned i = 0; i < sizeof(name) - 1; i++)
			name[i] = (char)(t->word >> i % 8 * 8);
		(void)nest_format_by_name(name);
		ENSURE(nest_strerror((int)t->word) != NULL);
		if (nest_format_describe(t->format, t->features, &t->info) != NEST_OK ||
		    t->level >= NEST_MAX_LEVELS) {
			struct nest_pte_info is;

			(void)nest_pte_decode(t->format, t->level, t->features, t->word, &is);
			(void)nest_pte_leaf(t->format, t->level, t->features, t->word, NEST_R, &e);
			(void)nest_pte_absent(t->format, t->level, t->features, t->word, &e);
			(void)nest_pte_table(t->format, t->features, t->word, &e);
			(void)nest_pte_mark(t->format, t->features, t->word, &e);
			continue;
		}
		decode_and_build(t);
		build_and_decode(t, input_number(&in, 8), (nest_attr_t)input_number(&in, 4),
				 input_number(&in, 1) & 1);
		/* And with what is more often legal. */
		build_and_decode(t, t->word & 0x0000fffffff00000,
				 (nest_attr_t)input_number(&in, 4) & NEST_ATTR_MASK,
				 input_number(&in, 1) & 1);
		absent_and_decode(t, t->word);
		absent_and_decode(t, t->word & 0x0000fffffff00000);
		(void)nest_pte_table(t->format, t->features, t->word, &e);
		(void)nest_pte_mark(t->format, t->features, t->word, &e);
	}
	return 0;
}
