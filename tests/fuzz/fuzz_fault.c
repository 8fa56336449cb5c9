/* SPDX-License-Identifier: MIT */
/*
 * The fault decoders, from any register values: nothing is written on an error, and on success
 * every field is one of those that nest/fault.h names. And the functions that plan flushes or read
 * features out of raw register values.
 */
#include <nest/arch/aarch64.h>
#include <nest/arch/loongarch.h>
#include <nest/arch/riscv.h>
#include <nest/arch/x86.h>
#include <nest/nest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

static uint64_t value[4];

#define ENSURE(c)                                                                                  \
	do {                                                                                       \
		if (!(c)) {                                                                        \
			fprintf(stderr, "%s:%d: %s: %#lx %#lx %#lx %#lx\n", __FILE__, __LINE__,    \
				#c, (unsigned long)value[0], (unsigned long)value[1],              \
				(unsigned long)value[2], (unsigned long)value[3]);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void check_fault(int err, const struct nest_fault *f, const struct nest_fault *before)
{
	nest_attr_t a = f->access;

	ENSURE(err == NEST_OK || err == NEST_E_UNSUPPORTED);
	if (err) {
		ENSURE(!memcmp(f, before, sizeof(*f)));
		return;
	}
	ENSURE((unsigned)f->kind <= NEST_FAULT_OTHER);
	ENSURE(a == 0 || a == NEST_R || a == NEST_W || a == NEST_X || a == NEST_RW);
	ENSURE(f->level < NEST_MAX_LEVELS || f->level == NEST_FAULT_LEVEL_UNKNOWN);
	ENSURE(f->gpa_exact || !(f->gpa & 0xfff));
	ENSURE(f->gpa_valid || (!f->gpa && !f->gpa_exact));
	ENSURE(f->gva_valid || !f->gva);
	/* A lack that an entry can mend names what to give. */
	ENSURE(a || (f->kind != NEST_FAULT_TRANSLATION && f->kind != NEST_FAULT_PERMISSION &&
		     f->kind != NEST_FAULT_ACCESS_FLAG));
}

static void faults(void)
{
	struct nest_fault before, f;

	memset(&before, 0xa5, sizeof(before));
	memcpy(&f, &before, sizeof(f));
	check_fault(nest_fault_ept(value[0], value[1], value[2], value[3] & 1, &f), &f, &before);
	memcpy(&f, &before, sizeof(f));
	check_fault(nest_fault_npt(value[0], value[1], &f), &f, &before);
	memcpy(&f, &before, sizeof(f));
	check_fault(nest_fault_aarch64(value[0], value[1], value[2], &f), &f, &before);
	memcpy(&f, &before, sizeof(f));
	check_fault(nest_fault_riscv(value[0], value[1], value[2], value[3], &f), &f, &before);
	memcpy(&f, &before, sizeof(f));
	check_fault(nest_fault_loongarch(value[0], value[1], value[3] & 1, value[2], &f), &f,
		    &before);
	ENSURE(nest_fault_npt(value[0], value[1], NULL) == NEST_E_INVAL);
}

/* A flush plan covers all of the range that it is told, by its steps, or says "everything". */
static void plans(void)
{
	struct nest_flush what = { .ia = value[0] & ~(uint64_t)0xffff,
				   .size = value[1] & 0xffffffffff0000,
				   .level_mask = (unsigned)value[2] & 0x1f,
				   .leaf_only = value[2] >> 8 & 1,
				   .all = value[2] >> 9 & 1 };
	uint64_t first, step, covered;
	unsigned n;

	if (!what.size || what.ia + what.size < what.ia)
		what.all = true;
	n = nest_x86_flush_plan(&what, &first, &step);
	ENSURE(n <= NEST_X86_FLUSH_PAGES);
	ENSURE(!n || (first <= what.ia && first + n * step - 1 >= what.ia + what.size - 1));
	for (unsigned shift = 12; shift <= 14; shift += 2) {
		n = nest_loongarch_flush_plan(&what, shift, &first, &step);
		ENSURE(!n || (first <= what.ia && first + n * step - 1 >= what.ia + what.size - 1));
	}
	(void)nest_riscv_flush_count(&what);
	for (unsigned shift = 12; shift <= 16; shift += 2) {
		unsigned s = nest_aarch64_flush_shift(&what, shift);

		ENSURE(s >= shift && s < 64);
		(void)nest_aarch64_flush_count(&what, s);
		if (value[3] >> 32)
			continue;
		(void)nest_aarch64_tlbi_range(what.ia, (value[3] & 0x1fffff) + 1, shift,
					      value[2] >> 10 & 1, &covered);
		ENSURE(covered > 0);
	}
}

static void features(void)
{
	const struct nest_aarch64_id id = { value[0], value[1], value[2] };
	struct nest_format_info info;

	for (unsigned i = 0; nest_formats[i]; i++) {
		uint32_t f = 0;

		if (!strncmp(nest_format_name(nest_formats[i]), "aarch64", 7))
			f = nest_aarch64_features(nest_formats[i], &id);
		else if (nest_formats[i] == &nest_fmt_ept)
			f = nest_ept_features(value[0]);
		else if (nest_formats[i] == &nest_fmt_npt || nest_formats[i] == &nest_fmt_x86_64)
			f = nest_x86_features((uint32_t)value[0], (uint32_t)value[1]);
		else if (!strncmp(nest_format_name(nest_formats[i]), "loongarch", 9))
			f = nest_loongarch_features((uint32_t)value[0]);
		/* Whatever a CPU says of itself, its format takes. */
		ENSURE(nest_format_describe(nest_formats[i], f, &info) == NEST_OK);
	}
	(void)nest_aarch64_pa_range(&id);
	(void)nest_loongarch_palen((uint32_t)value[0]);
	(void)nest_loongarch_valen((uint32_t)value[0]);
}

/* A log with any addresses and index: told or counted, never written beyond the bitmap. */
static void logs(struct input *in)
{
	enum { PAGES = 100 };
	static uint64_t log[NEST_PML_ENTRIES];
	uint64_t bitmap[(PAGES + 63) / 64 + 1] = { 0 }, outside = 0;
	uint16_t index = (uint16_t)value[0];
	int n;

	for (unsigned i = 0; i < 8; i++)
		log[value[i % 4] % NEST_PML_ENTRIES] = input_number(in, 4) << 8;
	n = nest_ept_pml_drain(log, index, value[1] & ~(uint64_t)0xfff, PAGES * 4096, bitmap,
			       &outside);
	ENSURE(n <= NEST_PML_ENTRIES);
	ENSURE(n >= 0 ? outside <= (uint64_t)n : outside == 0);
	ENSURE(!bitmap[2] && !(bitmap[1] >> (PAGES - 64)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	while (in.left) {
		for (unsigned i = 0; i < 4; i++)
			value[i] = input_number(&in, 8);
		faults();
		plans();
		features();
		logs(&in);
	}
	return 0;
}
