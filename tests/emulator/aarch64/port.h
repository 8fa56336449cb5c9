/* SPDX-License-Identifier: MIT */
/*
 * What extra.c and second.c use of the port: a table loaded by hand, and a guest with a first stage
 * of its own.
 */
#ifndef PORT_H
#define PORT_H

#include "../walker.h"

enum { STAGE2_VMID = 5 };

/* The guest's code, its first-stage tables and its data: one 64 KiB page, or several smaller. */
enum { HOME_SIZE = 0x10000, HOME_L1 = 0x2000, HOME_L2 = 0x3000, HOME_DATA = 0x4000 };
extern uint8_t home[HOME_SIZE];

bool is_stage2(const struct walker_config *config);
/* VTCR_EL2, VTTBR_EL2 and HCR_EL2, and nothing forgotten. */
int load_stage2(struct nest_pt *pt);
/* On another CPU: the table that port_load() has loaded. */
bool load_again(void);

/* Turn the guest's own first stage on, with its last table at `table`, and off again. */
void begin_walks(nest_ia_t table);
void end_walks(void);
/* The entry of `frame` that leads to page `data` of the home area. */
void lead_to(nest_pa_t frame, unsigned data);
/* An access by that table. */
void walk_access(enum walker_access access, struct walker_outcome *out);

#endif
