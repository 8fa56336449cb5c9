/* SPDX-License-Identifier: MIT */
/*
 * What ties the library's formats to the reference MMUs: register values, made by the library's
 * functions for them and read by the MMU; and what attributes have to mean, from nest/attr.h and
 * the manuals.
 */
#ifndef MODEL_SETUP_H
#define MODEL_SETUP_H

#include <nest/nest.h>

#include "mmu.h"

struct setup {
	const struct nest_format *format;
	struct nest_format_info info;
	uint32_t features;
	uint32_t flags;
	unsigned ia_bits;
	uint64_t modes; /* bit n: rights in that mode are compared */
};

enum { SETUP_MOST = 1024 };
/* Every format with each set of features that it takes, smallest, usual and largest width. */
unsigned setup_all(struct setup *list);
/* "ept ia 48 features 0x3" */
void setup_name(const struct setup *s, char *text, size_t size);
/* The MMU for a live table, and its registers. NULL: a register function has refused. */
const struct mmu *setup_mmu(const struct setup *s, const struct nest_pt *pt, struct mmu_regs *regs);

struct expectation {
	uint8_t rights[MMU_MODES];
	enum mmu_type type;
};
struct expectation setup_expect(const struct setup *s, nest_attr_t attr);

#endif
