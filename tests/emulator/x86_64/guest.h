/* SPDX-License-Identifier: MIT */
/*
 * The guest whose accesses the second stages' ports make, one at each entry.
 *
 * It runs in long mode on tables of its own in the home area, which the suite maps somewhere in the
 * table under test. One page of its address space is a window: the host writes the guest's entry
 * for it, and so it reaches every guest-physical address. guest.c also has those of the port_*
 * functions that are the same for every second stage.
 */
#ifndef GUEST_H
#define GUEST_H

#include "walker.h"

#define CR0_GUEST ((uint64_t)0x80010031) /* PG, WP, NE, ET, PE */
#define CR4_GUEST ((uint64_t)1 << 5)     /* PAE */

/* What the guest says of a configuration: its home area, reach and mode. */
struct walker_config guest_config(void);

/* Fill the home area, which the suite has mapped at `at`. */
void guest_make(nest_ia_t at);

uint64_t guest_cr3(void);

/*
 * Guest-virtual addresses: of the stub of an access; of a guest-physical address, in the window;
 * and one for port_guest_walk(), to whose arguments it sets the guest's tables.
 */
uint64_t guest_stub(enum walker_access access);
uint64_t guest_window(nest_ia_t gpa);
uint64_t guest_walk(nest_ia_t table, nest_pa_t frame);

#endif
