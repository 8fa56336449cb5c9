/* SPDX-License-Identifier: MIT */
#include "hooks.h"

static const struct hooks *current;

void hooks_set(const struct hooks *hooks)
{
	current = hooks;
}

/* The library is compiled to call these two. */
void model_storing(const nest_pte_t *p);
void model_storing(const nest_pte_t *p)
{
	if (current)
		current->storing(current->ctx, p);
}

void model_stored(const nest_pte_t *p);
void model_stored(const nest_pte_t *p)
{
	if (current)
		current->stored(current->ctx, p);
}
