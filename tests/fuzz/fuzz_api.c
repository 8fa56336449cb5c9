/* SPDX-License-Identifier: MIT */
/*
 * A byte string is a program of calls on one table. The first bytes choose the format, its features
 * and the places in the address space; then each call takes from the string what it needs: what it
 * is, where, flags, frames, attributes, an allocation that fails, and now and then an argument that
 * no caller may pass. It is checked as in tests/model: against a flat list, and after every store
 * under the worst TLB.
 */
#include <stdint.h>

#include "model/calls.h"

enum { FIXED_BYTES = 4, MOST_BUNCHES = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct setup list[SETUP_MOST];
	static struct world w;
	static unsigned n;
	unsigned chosen;

	if (!n)
		n = setup_all(list);
	if (size < FIXED_BYTES)
		return -1;
	chosen = (unsigned)data[0] << 8 | data[1];
	if (!world_open(&w, &list[chosen % n], (uint64_t)data[2] << 8 | data[3]))
		return -1;
	w.input = data + FIXED_BYTES;
	w.input_left = size - FIXED_BYTES;
	for (unsigned i = 0; w.input_left && i < MOST_BUNCHES; i++)
		calls_make(&w);
	world_close(&w);
	return 0;
}
