/* SPDX-License-Identifier: MIT */
/*
 * Memory that the VMM takes from a guest stays away until it is given back; a fault maps over
 * nothing that the VMM has put into the table; and a part of a region can be removed.
 */
#include "vm_host.h"

static const nest_ia_t ram = 0x40000000; /* a multiple of every block used here */
static struct vmt t;

static void check_marked(struct vmt *v, nest_ia_t gpa, uint64_t mark)
{
	struct nest_exit e = vmt_fault(v, gpa, NEST_R);
	uint8_t byte;

	CHECK_EQ(e.kind, NEST_EXIT_MARKED);
	CHECK_EQ(e.mark, mark);
	CHECK_RC(nest_vm_read(&v->vm, gpa, &byte, 1, NULL), NEST_E_NOTMAPPED);
	CHECK_RC(nest_vm_write(&v->vm, gpa, &byte, 1, NULL), NEST_E_NOTMAPPED);
	CHECK(!vmt_is_mapped(v, gpa));
}

/* ---- Marks ---- */

static void marks_stay(struct vmt *v)
{
	const uint64_t p = v->page, block = vmt_span(v, 1);
	struct nest_backing fixed = fixed_at(3 * block);

	if (nest_pt_levels(nest_vm_pt(&v->vm)) < 2 || !(v->c.info.leaf_levels & 2))
		return;
	v->provider.max_size = block;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, block, &v->provider, 0));
	CHECK_OK(nest_vm_add_ram(&v->vm, block, block, &fixed, 0));
	/* Swapped out: page 5 of either block. */
	CHECK_OK(nest_pt_mark(nest_vm_pt(&v->vm), 5 * p, p, 77, NULL));
	CHECK_OK(nest_pt_mark(nest_vm_pt(&v->vm), block + 5 * p, p, 78, NULL));
	for (uint64_t at = 0; at < 8 * p; at += p) {
		if (at == 5 * p)
			continue;
		CHECK_EQ(vmt_fault(v, at, NEST_W).kind, NEST_EXIT_RESUME);
		CHECK_EQ(vmt_fault(v, block + at, NEST_W).kind, NEST_EXIT_RESUME);
	}
	check_marked(v, 5 * p, 77);
	check_marked(v, block + 5 * p, 78);
	CHECK_EQ(vmt_at(v, block + 4 * p).pa, 3 * block + 4 * p);
	/* An eager region does not hide them, either. */
	CHECK_OK(nest_vm_remove(&v->vm, block, block, 0));
	CHECK_OK(nest_pt_mark(nest_vm_pt(&v->vm), block + 5 * p, p, 78, NULL));
	CHECK_RC(nest_vm_add_ram(&v->vm, block, block, &fixed, NEST_VM_EAGER), NEST_E_MAPPED);
	CHECK_EQ(nest_vm_last_conflict(&v->vm)->existing.base, block + 5 * p);
	CHECK_RC(nest_vm_add_ram(&v->vm, block, block, &v->provider, NEST_VM_EAGER), NEST_E_MAPPED);
	CHECK(!vmt_is_mapped(v, block + 4 * p));
}

static void test_a_fault_never_maps_over_a_mark(void **state)
{
	(void)state;
	vmt_sweep(marks_stay);
}

/* ---- Taken away ---- */

static void taken(struct vmt *v)
{
	const uint64_t p = v->page;
	struct nest_backing fixed = fixed_at(ram + p); /* so that no group is aligned */

	CHECK_OK(nest_vm_add_ram(&v->vm, 16 * p, 16 * p, &fixed, 0));
	CHECK_OK(nest_vm_add_ram(&v->vm, 32 * p, 16 * p, &v->provider, 0));
	vmt_fault(v, 17 * p, NEST_W);
	/* A page that is mapped; a hole is refused, or taken, too. */
	CHECK_RC(nest_vm_unmap(&v->vm, 19 * p, p, 0), NEST_E_NOTMAPPED);
	CHECK_EQ(vmt_fault(v, 19 * p, NEST_R).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_vm_unmap(&v->vm, 17 * p, p, 0));
	CHECK_OK(nest_vm_unmap(&v->vm, 20 * p, p, NEST_SKIP_HOLES));
	check_marked(v, 17 * p, NEST_VM_TAKEN);
	check_marked(v, 20 * p, NEST_VM_TAKEN);
	CHECK_EQ(vmt_fault(v, 18 * p, NEST_R).kind, NEST_EXIT_RESUME);
	/* Given back: by the region, or by a map. */
	CHECK_OK(nest_vm_restore(&v->vm, 17 * p, 2 * p));
	CHECK_EQ(vmt_fault(v, 17 * p, NEST_R).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(v, 17 * p).pa, ram + 2 * p);
	CHECK_OK(nest_vm_map(&v->vm, 20 * p, ram + 0x100 * p, p, NEST_RW, 0));
	CHECK_EQ(vmt_fault(v, 20 * p, NEST_W).kind, NEST_EXIT_RESUME);
	/* Of a range that reaches beyond, only RAM keeps marks. */
	CHECK_OK(nest_vm_map(&v->vm, 14 * p, ram + 0x200 * p, 2 * p, NEST_RW, 0));
	CHECK_OK(nest_vm_map(&v->vm, 49 * p, ram + 0x300 * p, 2 * p, NEST_RW, 0));
	CHECK_OK(nest_vm_unmap(&v->vm, 8 * p, 48 * p, NEST_SKIP_HOLES));
	CHECK_EQ(vmt_fault(v, 15 * p, NEST_R).kind, NEST_EXIT_UNMAPPED);
	check_marked(v, 16 * p, NEST_VM_TAKEN);
	check_marked(v, 32 * p, NEST_VM_TAKEN);
	check_marked(v, 47 * p, NEST_VM_TAKEN);
	CHECK_EQ(vmt_fault(v, 48 * p, NEST_R).kind, NEST_EXIT_UNMAPPED);
	CHECK_EQ(vmt_fault(v, 49 * p, NEST_R).kind, NEST_EXIT_UNMAPPED);
	CHECK_EQ(v->nr_asked, 0);
	CHECK_OK(nest_vm_restore(&v->vm, 0, 64 * p));
	CHECK_EQ(vmt_fault(v, 32 * p, NEST_W).kind, NEST_EXIT_RESUME);
	CHECK_EQ(v->nr_asked, 1);
	/* A region that goes takes its marks along. */
	CHECK_OK(nest_vm_unmap(&v->vm, 16 * p, 16 * p, NEST_SKIP_HOLES));
	CHECK_OK(nest_vm_remove(&v->vm, 16 * p, 16 * p, 0));
	CHECK_EQ(vmt_fault(v, 17 * p, NEST_R).kind, NEST_EXIT_UNMAPPED);
	CHECK_OK(nest_vm_unmap(&v->vm, 16 * p, p, NEST_SKIP_HOLES));
	CHECK_EQ(vmt_fault(v, 16 * p, NEST_R).kind, NEST_EXIT_UNMAPPED);
	CHECK_RC(nest_vm_restore(NULL, 0, p), NEST_E_INVAL);
	CHECK_RC(nest_vm_restore(&v->vm, 1, p), NEST_E_ALIGN);
	CHECK_RC(nest_vm_restore(&v->vm, 0, 0), NEST_E_RANGE);
}

static void test_memory_that_was_taken_stays_away(void **state)
{
	(void)state;
	vmt_sweep(taken);
}

/* Devices are not mapped by faults, so nothing has to keep them away. */
static void test_a_device_that_was_taken_leaves_no_mark(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_device(&t.vm, 0x9000000, 0x80000000, 0x1000, NEST_RW | NEST_MT_UC));
	CHECK_OK(nest_vm_unmap(&t.vm, 0x9000000, 0x1000, 0));
	CHECK_RC(vmt_fault(&t, 0x9000000, NEST_W).status, NEST_E_DENIED);
	CHECK_EQ(t.a.outstanding, t.tables0);
	vmt_close(&t);
}

/* ---- Frames and rights ---- */

static void misaligned(struct vmt *v)
{
	const uint64_t block = vmt_span(v, 1);
	struct nest_exit e;

	if (nest_pt_levels(nest_vm_pt(&v->vm)) < 2 || !(v->c.info.leaf_levels & 2))
		return;
	v->provider.max_size = block;
	v->unflushed_ok = true;
	v->give = block + v->page;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, block, &v->provider, 0));
	e = vmt_fault(v, 3 * v->page, NEST_W);
	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	CHECK_RC(e.status, NEST_E_ALIGN);
	CHECK_EQ(v->nr_put, 1);
	CHECK_EQ(v->frames_out, 0);
	CHECK(!vmt_is_mapped(v, 3 * v->page));
	CHECK_EQ(v->a.outstanding, v->tables0);
	v->give = 0;
}

static void test_a_large_frame_must_be_aligned_to_its_size(void **state)
{
	(void)state;
	vmt_sweep(misaligned);
}

/* Execution by the kernel alone: a fetch that faults for another reason goes on. */
static void executable_by_kernel(const char *format, uint32_t features)
{
	struct nest_fault f = fault_at(ram, NEST_X);
	struct nest_exit e;

	vmt_open_named(&t, format, features);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, 0));
	CHECK_EQ(vmt_fault(&t, ram, NEST_X).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_vm_protect(&t.vm, ram, 0x1000, 0, NEST_XU, 0));
	f.kind = NEST_FAULT_ACCESS_FLAG;
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_RESUME);
	/* A permission fault may have been of user mode: to resume could go on for ever. */
	f.kind = NEST_FAULT_PERMISSION;
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	CHECK_RC(e.status, NEST_E_DENIED);
	CHECK_OK(nest_vm_protect(&t.vm, ram, 0x1000, 0, NEST_X, 0));
	f.kind = NEST_FAULT_ACCESS_FLAG;
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	vmt_close(&t);
}

static void test_a_fetch_needs_one_kind_of_execution(void **state)
{
	(void)state;
	executable_by_kernel("aarch64-s2-4k", NEST_FEAT_XNX | NEST_FEAT_SW_AD);
	executable_by_kernel("ept", NEST_FEAT_MBEC);
}

/* ---- A part of a region ---- */

static void part(struct vmt *v)
{
	const uint64_t p = v->page, block = v->c.info.leaf_levels & 2 ? vmt_span(v, 1) : 32 * p;
	struct nest_backing fixed = fixed_at(4 * block);
	const struct nest_vm_region *r;
	uint64_t out;

	if (4 * block > (uint64_t)1 << (v->c.ia_bits - 1) || block > (uint64_t)4 << 20)
		return;
	v->provider.max_size = block;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, block, &v->provider, 0));
	CHECK_OK(nest_vm_add_ram(&v->vm, block, block, &fixed, NEST_VM_EAGER));
	vmt_fault(v, 0, NEST_W);
	out = v->frames_out;
	vmt_mark(v);
	CHECK_OK(nest_vm_remove(&v->vm, 4 * p, 2 * p, NEST_VM_SPLIT));
	/* The provider got back what was mapped of it, and nothing else. */
	CHECK_EQ(out - v->frames_out, out == p ? 0 : 2 * p);
	CHECK_EQ(v->vm.nr_regions, 3);
	CHECK_EQ(vmt_fault(v, 4 * p, NEST_R).kind, NEST_EXIT_UNMAPPED);
	CHECK_EQ(vmt_fault(v, 3 * p, NEST_R).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_fault(v, 6 * p, NEST_R).kind, NEST_EXIT_RESUME);
	r = nest_vm_region_at(&v->vm, 3 * p);
	CHECK(r && r->gpa == 0 && r->size == 4 * p);
	r = nest_vm_region_at(&v->vm, 6 * p);
	CHECK(r && r->gpa == 6 * p && r->size == block - 6 * p);
	/* Across two regions: the tail of one, the head of another. */
	CHECK_OK(nest_vm_remove(&v->vm, block - p, 2 * p, NEST_VM_SPLIT));
	CHECK_EQ(v->vm.nr_regions, 3);
	CHECK(!nest_vm_region_at(&v->vm, block - p) && !nest_vm_region_at(&v->vm, block));
	r = nest_vm_region_at(&v->vm, block + p);
	CHECK(r && r->gpa == block + p && r->backing.hpa == 4 * block + p);
	CHECK_EQ(vmt_at(v, block + p).pa, 4 * block + p);
	CHECK_EQ(vmt_at(v, 2 * block - p).pa, 5 * block - p);
	CHECK(!vmt_is_mapped(v, block));
	/* All that is left, and more. */
	CHECK_OK(nest_vm_remove(&v->vm, 0, 2 * block, NEST_VM_SPLIT));
	CHECK_EQ(v->vm.nr_regions, 0);
	CHECK_EQ(v->frames_out, 0);
	CHECK_RC(nest_vm_remove(&v->vm, 0, 2 * block, NEST_VM_SPLIT), NEST_E_NOTMAPPED);
}

static void test_a_part_of_a_region_can_go(void **state)
{
	(void)state;
	vmt_sweep(part);
}

static void test_a_part_needs_a_slot_and_tables(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000);
	struct vm_state before;
	unsigned n = 0;
	int rc;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x200000, 0x400000, &fixed, NEST_VM_EAGER));
	CHECK_OK(nest_vm_unmap(&t.vm, 0x400000, 0x200000, 0));
	t.vm.max_regions = 1;
	before = vmt_state(&t);
	CHECK_RC(nest_vm_remove(&t.vm, 0x201000, 0x300000, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_remove(&t.vm, 0x201000, 0x300000, NEST_VM_SPLIT), NEST_E_NOMEM);
	CHECK_RC(nest_vm_remove(&t.vm, 0x201000, 0x300000, NEST_VM_EAGER), NEST_E_INVAL);
	check_same_state(&t, &before);
	t.vm.max_regions = VMT_REGIONS;
	/* A page of 2 MiB and a mark of 2 MiB are cut: a table each. */
	do {
		arena_fail(&t.a, ++n, false);
		rc = nest_vm_remove(&t.vm, 0x201000, 0x300000, NEST_VM_SPLIT);
		if (!rc)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		CHECK_EQ(vmt_state(&t).digest, before.digest);
		CHECK_EQ(t.vm.nr_regions, 1);
	} while (n < 10);
	arena_fail(&t.a, 0, false);
	CHECK_EQ(n, 3);
	CHECK_EQ(t.vm.nr_regions, 2);
	CHECK_EQ(vmt_at(&t, 0x200000).pa, 0x80000000);
	check_marked(&t, 0x501000, NEST_VM_TAKEN);
	CHECK_EQ(vmt_fault(&t, 0x500000, NEST_R).kind, NEST_EXIT_UNMAPPED);
	vmt_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_fault_never_maps_over_a_mark),
		cmocka_unit_test(test_memory_that_was_taken_stays_away),
		cmocka_unit_test(test_a_device_that_was_taken_leaves_no_mark),
		cmocka_unit_test(test_a_large_frame_must_be_aligned_to_its_size),
		cmocka_unit_test(test_a_fetch_needs_one_kind_of_execution),
		cmocka_unit_test(test_a_part_of_a_region_can_go),
		cmocka_unit_test(test_a_part_needs_a_slot_and_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
