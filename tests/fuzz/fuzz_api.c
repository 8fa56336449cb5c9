/* SPDX-License-Identifier: MIT */
/*
 * A byte string is a program of calls on one table, or on two VMs. The first bytes choose the
 * format, its features and the places in the address space; then each call takes from the string
 * what it needs: what it is, where, flags, frames, attributes, an allocation that fails, and now
 * and then an argument that no caller may pass. It is checked as in tests/model: against a flat
 * list, and after every store under the worst TLB.
 */
#include <stdint.h>

#include "model/calls.h"
#include "model/vm_calls.h"
#include "model/vm_report.h"

enum { FIXED_BYTES = 4, MOST_BUNCHES = 16, MOST_VM_CALLS = 64, VM_PROGRAM = 0xf0 };

static struct dice dice_from(const uint8_t *data, size_t size, const struct dice *seeded)
{
	struct dice d = *seeded;

	d.input = data;
	d.left = size;
	return d;
}

static int run_vms(const uint8_t *data, size_t size)
{
	static struct setup list[SETUP_MOST];
	static struct vm_world w;
	static unsigned n;
	unsigned chosen = ((unsigned)data[0] << 8 | data[1]) % (8 << 8);

	if (!n)
		n = vm_report_cases(list);
	if (!vm_world_open(&w, &list[chosen % n], (uint64_t)data[2] << 8 | data[3]))
		return -1;
	w.dice = dice_from(data + FIXED_BYTES, size - FIXED_BYTES, &w.dice);
	for (unsigned i = 0; w.dice.left && i < MOST_VM_CALLS; i++)
		vm_calls_make(&w);
	vm_world_close(&w);
	return 0;
}

static int run_tables(const uint8_t *data, size_t size)
{
	static struct setup list[SETUP_MOST];
	static struct world w;
	static unsigned n;
	unsigned chosen = (unsigned)data[0] << 8 | data[1];

	if (!n)
		n = setup_all(list);
	if (!world_open(&w, &list[chosen % n], (uint64_t)data[2] << 8 | data[3]))
		return -1;
	w.dice = dice_from(data + FIXED_BYTES, size - FIXED_BYTES, &w.dice);
	for (unsigned i = 0; w.dice.left && i < MOST_BUNCHES; i++)
		calls_make(&w);
	world_close(&w);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < FIXED_BYTES)
		return -1;
	/* One in 32 first bytes. */
	return (data[0] & 0xf8) == VM_PROGRAM ? run_vms(data, size) : run_tables(data, size);
}
