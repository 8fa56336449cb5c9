/* SPDX-License-Identifier: MIT */
/*
 * Included by libfdt_env.h, which needs nothing from it here. Keep it empty: the image has no heap
 * and no number parser but its own.
 */
