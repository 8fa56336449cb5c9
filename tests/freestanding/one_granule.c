/* SPDX-License-Identifier: MIT */
/*
 * A type-1 hypervisor in little: makes a table of FORMAT, and the register values for it.
 * check_one_granule.py links it with the library and looks at what came along.
 */
#include <nest/arch/aarch64.h>
#include <nest/nest.h>

uint64_t regs[3];
int start(struct nest_pt *pt, const struct nest_host *host);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

int start(struct nest_pt *pt, const struct nest_host *host)
{
	const struct nest_pt_config config = { .format = &FORMAT, .host = host };
	struct nest_mapping m;

	return nest_pt_init(pt, &config) | nest_pt_map(pt, 0, 0, 0x10000, NEST_RW, 0, NULL) |
	       nest_pt_protect(pt, 0, 0x10000, 0, NEST_W, 0, NULL) | nest_pt_query(pt, 0, &m) |
	       nest_pt_harvest(pt, 0, 0x10000, NEST_DIRTY, NULL, 0, NULL) |
	       nest_pt_unmap(pt, 0, 0x10000, 0, NULL) |
#if STAGE2
	       nest_aarch64_vtcr(pt, 0, &regs[0]) | nest_aarch64_vttbr(pt, &regs[1]);
#else
	       nest_aarch64_tcr_el1(pt, NULL, 0, &regs[0]) | nest_aarch64_ttbr(pt, &regs[1]) |
	       nest_aarch64_tcr_el2(pt, &regs[2]);
#endif
}

void *memcpy(void *to, const void *from, size_t n)
{
	volatile char *t = to;
	const char *f = from;

	for (size_t i = 0; i < n; i++)
		t[i] = f[i];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	volatile char *t = to;

	for (size_t i = 0; i < n; i++)
		t[i] = (char)c;
	return to;
}
