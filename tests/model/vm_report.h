/* SPDX-License-Identifier: MIT */
/*
 * Runs of calls on two VMs, case by case, and what came about in them.
 */
#ifndef MODEL_VM_REPORT_H
#define MODEL_VM_REPORT_H

#include "setup.h"

/* The cases of setup_all() with a second-stage format and at least two levels. */
unsigned vm_report_cases(struct setup *list);
/*
 * Run the n cases until each has looked at so many stores. Returns 0, or 1 if something has never
 * come about and these are all cases.
 */
int vm_report(const struct setup *list, unsigned n, bool all, uint64_t seed, uint64_t stores);

#endif
