/* SPDX-License-Identifier: MIT */
/*
 * All that core/instance.h makes the functions of a format from.
 */
#ifndef NEST_CORE_ENGINE_H
#define NEST_CORE_ENGINE_H

#include "core/drop.h"
#include "core/edit.h"
#include "core/fast.h"
#include "core/query.h"

#endif
