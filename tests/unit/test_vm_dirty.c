/* SPDX-License-Identifier: MIT */
/*
 * A guest's memory is copied in rounds by the pages that were written to, for every format:
 * whatever mapped a page, whoever wrote to it, the copy must come out equal. Hardware is played
 * here: it sets the bits in the raw entries as the manuals say that a CPU does.
 */
#include "vm_host.h"

enum { PAGES = 64, LATE = 16 };

static const nest_ia_t ram = 0x40000000;

/* What the guest has written, page by page, and what has been copied. */
static unsigned written[PAGES], copied[PAGES];

/*
 * A store of the guest's to page n. Where hardware keeps dirty it sets the bit by itself, else the
 * store faults until software has set it. Bits: EPT 9 (SDM 29.3.5); NPT and x86 6 (APM 15.25.5);
 * AArch64 stage 2 S2AP[1], 7, where DBM, 51, is set (Arm ARM D8.5.1); RISC-V D, 7, and A, 6
 * (4.3.1); LoongArch D, 1 (5.4.2).
 */
static void hardware_sets_dirty(struct vmt *v, nest_ia_t gpa)
{
	struct nest_mapping m = vmt_at(v, gpa);
	struct nest_pt *pt = nest_vm_pt(&v->vm);
	nest_pte_t *table = arena_ptr(&v->a, pt->root), *e;
	unsigned level = pt->top;

	for (;; level--) {
		uint64_t i = gpa >> nest_pt_shift(pt, level);
		struct nest_pte_info info;

		if (level < pt->top)
			i &= v->page / sizeof(*e) - 1;
		e = &table[i];
		CHECK_OK(nest_pte_decode(v->c.format, level, v->c.features, *e, &info));
		if (level == m.level)
			break;
		table = arena_ptr(&v->a, info.pa);
	}
	if (!strcmp(v->c.name, "ept"))
		*e |= (nest_pte_t)3 << 8;
	else if (!strcmp(v->c.name, "npt"))
		*e |= (nest_pte_t)3 << 5;
	else if (!strncmp(v->c.name, "aarch64", 7))
		*e |= *e >> 51 & 1 ? (nest_pte_t)1 << 7 | 1 << 10 : 0;
	else if (!strcmp(v->c.name, "riscv-g"))
		*e |= (nest_pte_t)3 << 6;
	else
		*e |= (nest_pte_t)1 << 1;
}

static void guest_writes(struct vmt *v, unsigned n)
{
	const nest_ia_t gpa = ram + n * v->page;
	const bool by_hardware = (v->c.features & NEST_FEAT_HW_D) || !strcmp(v->c.name, "npt");

	if (!vmt_is_mapped(v, gpa) || !by_hardware)
		CHECK_EQ(vmt_fault(v, gpa, NEST_W).kind, NEST_EXIT_RESUME);
	if (by_hardware)
		hardware_sets_dirty(v, gpa);
	written[n]++;
}

static void vmm_writes(struct vmt *v, unsigned n)
{
	uint8_t byte = 1;

	CHECK_OK(nest_vm_write(&v->vm, ram + n * v->page, &byte, 1, NULL));
	written[n]++;
}

/* Harvest; copy what is dirty. Returns the pages told. */
static unsigned one_round(struct vmt *v)
{
	uint64_t bitmap[PAGES / 64] = { 0 };
	unsigned told = 0;

	CHECK_OK(nest_pt_harvest(nest_vm_pt(&v->vm), ram, PAGES * v->page, NEST_DIRTY, bitmap, 0,
				 NULL));
	for (unsigned n = 0; n < PAGES; n++) {
		if (!(bitmap[n / 64] >> n % 64 & 1))
			continue;
		copied[n] = written[n];
		told++;
	}
	return told;
}

static void check_copied(void)
{
	for (unsigned n = 0; n < PAGES; n++)
		CHECK_EQ(copied[n], written[n]);
}

static void migrate(struct vmt *v)
{
	struct nest_backing fixed = fixed_at(v->a.host.alloc(&v->a, PAGES * (size_t)v->page));
	uint64_t seed = test_seed();

	if (!(v->vm.tracked & NEST_DIRTY)) {
		uint64_t bitmap;

		/* Nothing pretends to know. AArch64 tells what it cannot know as written. */
		if (nest_pt_harvest(nest_vm_pt(&v->vm), ram, v->page, NEST_DIRTY, &bitmap, 0,
				    NULL) == NEST_OK)
			CHECK(!strncmp(v->c.name, "aarch64", 7));
		v->a.host.free(&v->a, fixed.hpa, PAGES * (size_t)v->page);
		return;
	}
	memset(written, 0, sizeof(written));
	memset(copied, 0, sizeof(copied));
	CHECK_OK(nest_vm_add_ram(&v->vm, ram, (PAGES - LATE) * v->page, &fixed, 0));
	CHECK_OK(nest_vm_add_ram(&v->vm, ram + (PAGES - LATE) * v->page, LATE * v->page,
				 &v->provider, 0));
	for (unsigned round = 0; round < 12; round++) {
		unsigned writes = round < 10 ? 7 : 0, told;

		for (unsigned i = 0; i < writes; i++) {
			unsigned n = (unsigned)(rnd(&seed) % PAGES);

			if (rnd(&seed) % 3)
				guest_writes(v, n);
			else
				vmm_writes(v, n);
		}
		/* Write-protected and allowed again: nothing in between is lost. */
		if (round % 3 == 1) {
			nest_attr_t none = strncmp(v->c.name, "loong", 5) ? 0 : NEST_DIRTY;

			(void)one_round(v);
			CHECK_OK(nest_vm_protect(&v->vm, ram, PAGES * v->page, 0, NEST_W | none,
						 NEST_SKIP_HOLES));
			CHECK_OK(nest_vm_protect(&v->vm, ram, PAGES * v->page, NEST_W, 0,
						 NEST_SKIP_HOLES));
			guest_writes(v, round);
		}
		told = one_round(v);
		check_copied();
		CHECK(told || !writes);
		/* What nobody has written to since is not told again. */
		CHECK_EQ(one_round(v), 0);
	}
	CHECK_OK(nest_vm_remove(&v->vm, ram, PAGES * v->page, 0));
	v->a.host.free(&v->a, fixed.hpa, PAGES * (size_t)v->page);
}

static void test_every_write_is_told(void **state)
{
	(void)state;
	vmt_sweep(migrate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_write_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
