/* SPDX-License-Identifier: MIT */
/*
 * Who is told of the library's stores to tables (NEST_BEFORE_STORE_HOOK, NEST_STORE_HOOK).
 */
#ifndef MODEL_HOOKS_H
#define MODEL_HOOKS_H

#include <nest/base.h>

struct hooks {
	void (*storing)(void *ctx, const nest_pte_t *p);
	void (*stored)(void *ctx, const nest_pte_t *p);
	void *ctx;
};

/* NULL: nobody. The struct must stay. */
void hooks_set(const struct hooks *hooks);

#endif
