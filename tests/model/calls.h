/* SPDX-License-Identifier: MIT */
/*
 * Calls on a world, drawn by world_random() and checked while they run.
 */
#ifndef MODEL_CALLS_H
#define MODEL_CALLS_H

#include "world.h"

/* A few calls, each by itself or all with one gather, which is then synced. */
void calls_make(struct world *w);

#endif
