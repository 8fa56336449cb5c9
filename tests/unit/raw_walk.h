/* SPDX-License-Identifier: MIT */
/*
 * A second opinion: a small walker over raw table memory.
 *
 * Bit positions are written here from the architecture manuals; nothing of the library is used,
 * neither its decoder nor its geometry beyond the four numbers of raw_geo.
 */
#ifndef NEST_TEST_RAW_WALK_H
#define NEST_TEST_RAW_WALK_H

#include <stdbool.h>
#include <stdint.h>

enum raw_arch { RAW_EPT, RAW_X86, RAW_ARM_S2, RAW_ARM_S1, RAW_RISCV, RAW_LOONG };
enum raw_kind { RAW_NONE, RAW_TABLE, RAW_LEAF, RAW_BAD };

struct raw_geo {
	enum raw_arch arch;
	bool user_leaf; /* leaves need the user bit: NPT, RISC-V G-stage */
	bool wide;      /* AArch64 with LPA2 or LPA */
	bool mbec;      /* EPT: bit 10 is a right */
	bool el2;       /* AArch64 first stage of EL2: XN is bit 54 alone */
	unsigned page_shift;
	unsigned levels;
	unsigned ia_bits;
	uint64_t root;
	void *(*ptr)(void *ctx, uint64_t pa);
	void *ctx;
};

struct raw_leaf {
	uint64_t ia; /* masked to ia_bits */
	uint64_t pa; /* of the entry's own page */
	uint64_t entry;
	unsigned level;
	bool contiguous;
	bool r, w, x;
};

/* log2 of what an entry of level covers. */
unsigned raw_shift(const struct raw_geo *g, unsigned level);
/* Entries of a contiguous group at that level, as a shift. */
unsigned raw_group_shift(const struct raw_geo *g, unsigned level);
enum raw_kind raw_decode(const struct raw_geo *g, unsigned level, uint64_t ia, uint64_t entry,
			 struct raw_leaf *out, uint64_t *table);
/* What does ia map to? false: nothing. out->pa is exact for ia. */
bool raw_translate(const struct raw_geo *g, uint64_t ia, struct raw_leaf *out);
/* The raw entry that a walk for ia reads at `level`; false: it ends above. */
bool raw_entry(const struct raw_geo *g, uint64_t ia, unsigned level, uint64_t *out);

typedef void (*raw_table_fn)(void *ctx, uint64_t pa, unsigned level, uint64_t ia);
typedef void (*raw_leaf_fn)(void *ctx, const struct raw_leaf *leaf);
/* Visit every table (with the level of its entries) and leaf. false: a forbidden entry was met. */
bool raw_scan(const struct raw_geo *g, raw_table_fn table, raw_leaf_fn leaf, void *ctx);

#endif
