/* SPDX-License-Identifier: MIT */
/*
 * What once.h defines, for a build for size.
 */
#include "core/internal.h"

#if NEST_SMALL
#include "core/once.h"
#endif
