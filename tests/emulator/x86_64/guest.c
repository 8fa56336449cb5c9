/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <nest/arch/x86.h>

#include "guest.h"
#include "machine.h"

enum { ENTRIES = 512 };

/* The home area: the guest's code, tables and data. */
static struct {
	_Alignas(4096) uint8_t code[4096];
	uint64_t level3[ENTRIES], level2[ENTRIES], level1[ENTRIES], level0[ENTRIES];
	uint64_t data[ENTRIES];
} home;

/* The guest's address space: pages by level0, and what level1's second entry covers. */
#define GVA_CODE   ((uint64_t)0x1000)
#define GVA_WINDOW ((uint64_t)0x2000)
#define GVA_WALK   ((uint64_t)0x200000)

static uint64_t guest_entry(nest_ia_t gpa)
{
	return (gpa & ~(uint64_t)0xfff) | PTE_P | PTE_RW | PTE_A | PTE_D;
}

/* Where the suite has mapped a part of the home area. */
static nest_ia_t home_ia;

static nest_ia_t gpa_of(const void *part)
{
	return home_ia + ((uint64_t)part - (uint64_t)&home);
}

struct walker_config guest_config(void)
{
	return (struct walker_config){
		/* A guest's own entries hold no more. */
		.reach_bits = nest_x86_phys_bits(),
		.modes = 1u << WALKER_PRIVILEGED,
		.home_pa = (uint64_t)&home,
		.home_size = sizeof(home),
		.home_attr = NEST_RWX,
	};
}

void guest_make(nest_ia_t at)
{
	home_ia = at;
	memset(&home, 0, sizeof(home));
	memcpy(home.code, stubs, (size_t)(stubs_end - stubs));
	home.level3[0] = guest_entry(gpa_of(home.level2));
	home.level2[0] = guest_entry(gpa_of(home.level1));
	home.level1[0] = guest_entry(gpa_of(home.level0));
	home.level0[GVA_CODE >> 12] = guest_entry(gpa_of(home.code));
}

uint64_t guest_cr3(void)
{
	return gpa_of(home.level3);
}

uint64_t guest_stub(enum walker_access access)
{
	return GVA_CODE + (uint64_t)access * STUB_SIZE;
}

uint64_t guest_window(nest_ia_t gpa)
{
	home.level0[GVA_WINDOW >> 12] = guest_entry(gpa);
	return GVA_WINDOW + (gpa & 0xfff);
}

uint64_t guest_walk(nest_ia_t table, nest_pa_t frame)
{
	if (frame != NEST_PA_NONE)
		*(uint64_t *)walker_va(frame) = guest_entry(gpa_of(home.data));
	home.level1[1] = guest_entry(table);
	return GVA_WALK;
}

/* The CPU has no instruction for it. */
bool port_translate(nest_ia_t ia, enum walker_access access, nest_pa_t *pa, nest_attr_t *type)
{
	(void)ia, (void)access, (void)pa, (void)type;
	return false;
}
