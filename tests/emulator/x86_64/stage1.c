/* SPDX-License-Identifier: MIT */
/*
 * The first stage: CR3 holds the table under test while the suite runs, so that what the TLB keeps
 * of it is what a missing flush would leave. All memory of the machine is mapped to itself in it,
 * as a user page with every right: SMEP and SMAP are off, and CPL 3 runs stubs of the image.
 */
#include <nest/arch/x86.h>

#include "machine.h"
#include "stage1.h"

/*
 * APM vol. 2, 5.6: with CR0.WP, R/W binds the supervisor too; without SMEP and SMAP, the supervisor
 * may do with a user page what the user may; NX binds both.
 */
const struct walker_attr stage1_attrs[] = {
	{ NEST_RWX | NEST_U, { CAN_RWX, CAN_RWX } },
	{ NEST_RX | NEST_U, { CAN_RX, CAN_RX } },
	{ NEST_RW | NEST_U, { CAN_RW, CAN_RW } },
	{ NEST_R | NEST_U, { CAN_R, CAN_R } },
	{ NEST_RWX, { CAN_RWX, 0 } },
	{ NEST_RX, { CAN_RX, 0 } },
	{ NEST_RW, { CAN_RW, 0 } },
	{ NEST_R, { CAN_R, 0 } },
	{ NEST_RWX | NEST_U | NEST_G, { CAN_RWX, CAN_RWX } },
	{ NEST_R | NEST_U | NEST_G, { CAN_R, CAN_R } },
	{ NEST_RWX | NEST_G | NEST_SW1, { CAN_RWX, 0 } },
	{ NEST_RW | NEST_SW0 | NEST_SW2, { CAN_RW, 0 } },
	{ NEST_RX | NEST_U | NEST_MT_WT, { CAN_RX, CAN_RX } },
	{ NEST_RW | NEST_G | NEST_MT_UC, { CAN_RW, 0 } },
	{ NEST_RWX | NEST_U | NEST_MT_UC, { CAN_RWX, CAN_RWX } },
	{ NEST_R | NEST_G | NEST_MT_WT, { CAN_R, 0 } },
	{ NEST_RWX | NEST_U | NEST_MT_WC, { CAN_RWX, CAN_RWX } },
};
const unsigned stage1_nr_attrs = sizeof(stage1_attrs) / sizeof(*stage1_attrs);

/* Error code of #PF, APM vol. 2, 8.4.2. */
#define PF_PRESENT  ((uint64_t)1 << 0)
#define PF_WRITE    ((uint64_t)1 << 1)
#define PF_RESERVED ((uint64_t)1 << 3)
#define PF_FETCH    ((uint64_t)1 << 4)

static uint64_t boot_cr3;

int stage1_load(struct nest_pt *pt)
{
	uint64_t cr3;
	int err = nest_x86_cr3(pt, 0, &cr3);

	if (err)
		return err;
	boot_cr3 = nest_x86_read_cr3();
	nest_x86_write_cr3(cr3);
	nest_x86_flush_all();
	return NEST_OK;
}

void stage1_unload(void)
{
	nest_x86_write_cr3(boot_cr3);
	nest_x86_flush_all();
}

static void decode(const struct stub_run *run, struct nest_fault *fault)
{
	*fault = (struct nest_fault){
		.gpa = run->cr2,
		.gpa_valid = true,
		.gpa_exact = true,
		.access = run->error & PF_FETCH   ? NEST_X
			  : run->error & PF_WRITE ? NEST_W
						  : NEST_R,
		.kind = run->vector != VECTOR_PF   ? NEST_FAULT_OTHER
			: run->error & PF_RESERVED ? NEST_FAULT_MISCONFIG
			: run->error & PF_PRESENT  ? NEST_FAULT_PERMISSION
						   : NEST_FAULT_TRANSLATION,
		.level = NEST_FAULT_LEVEL_UNKNOWN,
	};
}

void stage1_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		   struct walker_outcome *out)
{
	bool user = mode == WALKER_USER;
	uint64_t stub = (uint64_t)stubs + (uint64_t)access * STUB_SIZE;
	struct stub_run run = {
		.rip = stub,
		.cs = user ? SEL_USER_CODE : SEL_CODE,
		.ss = user ? SEL_USER_DATA : SEL_DATA,
		.rdi = ia,
		.rsi = value,
	};
	struct stub_end end;

	run_stub(&run);
	end = (struct stub_end){ run.rip, run.rax, run.vector == VECTOR_UD };
	out->done = stub_succeeded(access, stub, ia, &end);
	out->value = run.rax;
	if (!out->done)
		decode(&run, &out->fault);
}
