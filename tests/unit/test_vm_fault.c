/* SPDX-License-Identifier: MIT */
/*
 * Second-stage faults: RAM on demand, and the exits that a VMM sees.
 */
#include "vm_host.h"

static const nest_ia_t ram = 0x40000000; /* a multiple of every block used here */
static struct vmt t;

static void first_touch(struct vmt *v)
{
	nest_attr_t exec = v->c.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX) ? NEST_X | NEST_XU
									    : NEST_X;
	struct nest_exit e;
	struct nest_mapping m;

	CHECK_OK(nest_vm_add_ram(&v->vm, ram, 16 * v->page, &v->provider, 0));
	CHECK(!vmt_is_mapped(v, ram));
	e = vmt_fault(v, ram + 3 * v->page + 123, NEST_R);
	CHECK_EQ(e.kind, NEST_EXIT_RESUME);
	CHECK(e.region == nest_vm_region_at(&v->vm, ram));
	CHECK_EQ(e.offset, 3 * v->page + 123);
	CHECK_EQ(v->nr_asked, 1);
	CHECK_EQ(v->asked[0], v->page);
	m = vmt_at(v, ram + 3 * v->page);
	CHECK_EQ(m.pa, v->frame[0].pa);
	/* On AArch64 a page shows that hardware has made it dirty only with NEST_DBM. */
	if (!strncmp(v->c.name, "aarch64", 7) && (v->c.features & NEST_FEAT_HW_D))
		exec |= NEST_DBM;
	CHECK_EQ(plain_attr(m.attr), NEST_RW | exec | NEST_MT_WB);
	CHECK(!vmt_is_mapped(v, ram + 2 * v->page));
	CHECK(!vmt_is_mapped(v, ram + 4 * v->page));
}

static void test_a_first_touch_maps_one_frame(void **state)
{
	(void)state;
	vmt_sweep(first_touch);
}

static void second_fault(struct vmt *v)
{
	struct nest_mapping before;

	CHECK_OK(nest_vm_add_ram(&v->vm, ram, 16 * v->page, &v->provider, 0));
	vmt_fault(v, ram, NEST_W);
	before = vmt_at(v, ram);
	memset(arena_ptr(&v->a, before.pa), 0x77, (size_t)v->page);
	vmt_mark(v);
	for (nest_attr_t access = NEST_R; access <= NEST_X; access <<= 1)
		CHECK_EQ(vmt_fault(v, ram + 8, access).kind, NEST_EXIT_RESUME);
	CHECK_EQ(v->nr_asked, 0);
	CHECK_EQ(vmt_at(v, ram).pa, before.pa);
	CHECK_EQ(*(uint8_t *)arena_ptr(&v->a, before.pa), 0x77);
	/*
	 * The entries may be in a TLB as invalid: only where that is so is a flush worth its cost.
	 */
	CHECK_EQ(arena_count(&v->a, EV_FLUSH) != 0, v->c.info.fresh_needs_flush);
}

static void test_a_second_fault_keeps_the_frame(void **state)
{
	(void)state;
	vmt_sweep(second_fault);
}

static void test_a_stale_right_is_flushed(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000);
	struct nest_fault f = fault_at(ram + 0x1234, NEST_W);
	const struct nest_flush *flush;
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x400000, &fixed, NEST_VM_EAGER));
	vmt_mark(&t);
	f.kind = NEST_FAULT_PERMISSION;
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_RESUME);
	CHECK_EQ(t.a.nr_ev, 1);
	flush = &t.a.ev[0].flush;
	CHECK_EQ(flush->ia, ram);
	CHECK_EQ(flush->size, 0x200000);
	CHECK_EQ(flush->level_mask, 2);
	CHECK_EQ(flush->vmid, 5);
	CHECK(flush->leaf_only && !flush->all);
	vmt_close(&t);
}

static void test_an_emulated_device_exits_with_its_cookie(void **state)
{
	int cookie;
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_mmio(&t.vm, 0x9000000, 0x2000, &cookie));
	e = vmt_fault(&t, 0x9001018, NEST_W);
	CHECK_EQ(e.kind, NEST_EXIT_MMIO);
	CHECK(e.cookie == &cookie);
	CHECK_EQ(e.offset, 0x1018);
	CHECK(e.region == nest_vm_region_at(&t.vm, 0x9000000));
	CHECK_EQ(vmt_fault(&t, 0x9000000, NEST_R).kind, NEST_EXIT_MMIO);
	CHECK_EQ(vmt_fault(&t, 0x9000000, NEST_X).kind, NEST_EXIT_MMIO);
	CHECK_EQ(vmt_fault(&t, 0x9002000, NEST_R).kind, NEST_EXIT_UNMAPPED);
	/* A raw read-only page in it: reads go on, writes are emulated. */
	CHECK_OK(nest_vm_map(&t.vm, 0x9001000, 0x80000000, 0x1000, NEST_R, 0));
	CHECK_EQ(vmt_fault(&t, 0x9001018, NEST_R).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_fault(&t, 0x9001018, NEST_W).kind, NEST_EXIT_MMIO);
	vmt_close(&t);
}

static void test_rom_writes_come_back(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, NEST_VM_READONLY));
	CHECK_EQ(vmt_fault(&t, ram, NEST_W).kind, NEST_EXIT_ROM_WRITE);
	CHECK_EQ(vmt_fault(&t, ram, NEST_RW).kind, NEST_EXIT_ROM_WRITE);
	CHECK_EQ(t.nr_asked, 0);
	CHECK_EQ(vmt_fault(&t, ram, NEST_X).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&t, ram).attr, NEST_R | NEST_X | NEST_MT_WB);
	CHECK_EQ(vmt_fault(&t, ram, NEST_W).kind, NEST_EXIT_ROM_WRITE);
	CHECK_EQ(vmt_fault(&t, ram, NEST_R).kind, NEST_EXIT_RESUME);
	/* The VMM may still let one page be written. */
	CHECK_OK(nest_vm_protect(&t.vm, ram, 0x1000, NEST_W, 0, 0));
	CHECK_EQ(vmt_fault(&t, ram, NEST_W).kind, NEST_EXIT_RESUME);
	vmt_close(&t);
}

static void expect_error(nest_ia_t gpa, nest_attr_t access, int status)
{
	struct nest_exit e = vmt_fault(&t, gpa, access);

	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	CHECK_RC(e.status, status);
}

static void test_outside_of_regions_nothing_is_made(void **state)
{
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, 0));
	e = vmt_fault(&t, ram - 1, NEST_R);
	CHECK_EQ(e.kind, NEST_EXIT_UNMAPPED);
	CHECK(e.region == NULL && e.offset == 0 && e.cookie == NULL);
	CHECK_EQ(vmt_fault(&t, ram + 0x2000, NEST_R).kind, NEST_EXIT_UNMAPPED);
	CHECK_EQ(t.a.outstanding, t.tables0);
	/* A raw mapping there resumes, or is refused. */
	CHECK_OK(nest_vm_map(&t.vm, 0x1000, 0x80000000, 0x1000, NEST_R, 0));
	CHECK_EQ(vmt_fault(&t, 0x1000, NEST_R).kind, NEST_EXIT_RESUME);
	expect_error(0x1000, NEST_W, NEST_E_DENIED);
	vmt_close(&t);
}

static void too_wide(struct vmt *v)
{
	struct nest_fault f = fault_at(vmt_top_page(v) + v->page, NEST_R);
	struct nest_exit e;

	CHECK_OK(nest_vm_add_ram(&v->vm, vmt_top_page(v), v->page, &v->provider, 0));
	CHECK_EQ(vmt_fault(v, f.gpa - 1, NEST_W).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_vm_fault(&v->vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	CHECK_RC(e.status, NEST_E_RANGE);
	f.gpa = ~(uint64_t)0;
	CHECK_OK(nest_vm_fault(&v->vm, &f, &e));
	CHECK_RC(e.status, NEST_E_RANGE);
}

static void test_the_last_page_is_ram_and_the_next_too_wide(void **state)
{
	(void)state;
	vmt_sweep(too_wide);
}

static void test_what_no_entry_can_mend_is_an_error(void **state)
{
	static const struct {
		enum nest_fault_kind kind;
		int status;
	} cases[] = { { NEST_FAULT_MISCONFIG, NEST_E_UNSUPPORTED },
		      { NEST_FAULT_ADDRESS_SIZE, NEST_E_RANGE },
		      { NEST_FAULT_EXTERNAL, NEST_E_UNSUPPORTED },
		      { NEST_FAULT_OTHER, NEST_E_UNSUPPORTED } };
	struct nest_fault f = fault_at(ram, NEST_R);
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, 0));
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.kind = cases[i].kind;
		CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
		CHECK_EQ(e.kind, NEST_EXIT_ERROR);
		CHECK_RC(e.status, cases[i].status);
		CHECK(e.region == nest_vm_region_at(&t.vm, ram));
	}
	CHECK_EQ(t.nr_asked, 0);
	CHECK_RC(nest_vm_fault(NULL, &f, &e), NEST_E_INVAL);
	CHECK_RC(nest_vm_fault(&t.vm, NULL, &e), NEST_E_INVAL);
	CHECK_RC(nest_vm_fault(&t.vm, &f, NULL), NEST_E_INVAL);
	vmt_close(&t);
	CHECK_RC(nest_vm_fault(&t.vm, &f, &e), NEST_E_INVAL);
}

static void test_a_fault_without_an_address_says_so(void **state)
{
	struct nest_fault f = { .access = NEST_W, .kind = NEST_FAULT_TRANSLATION };
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "riscv-g", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x2000, &t.provider, 0));
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_NO_ADDRESS);
	CHECK(!e.region);
	CHECK_EQ(t.nr_asked, 0);
	/* Nor can a fault without an access be judged. */
	f = fault_at(0, 0);
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	CHECK_RC(e.status, NEST_E_UNSUPPORTED);
	/* Of a fault that no page can fix the address does not matter. */
	f.gpa_valid = false;
	f.kind = NEST_FAULT_EXTERNAL;
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_ERROR);
	CHECK_RC(e.status, NEST_E_UNSUPPORTED);
	vmt_close(&t);
}

static void test_a_tlb_conflict_flushes_everything(void **state)
{
	struct nest_fault f = { .kind = NEST_FAULT_CONFLICT };
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "aarch64-s2-4k", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, 0));
	vmt_mark(&t);
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_RESUME);
	CHECK_EQ(t.a.nr_ev, 1);
	CHECK(t.a.ev[0].flush.all && !t.a.ev[0].flush.leaf_only);
	CHECK_EQ(t.a.ev[0].flush.vmid, 5);
	CHECK_EQ(t.a.ev[0].flush.level_mask, 7);
	vmt_close(&t);
}

static void test_a_right_that_is_not_there_is_denied(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, NEST_VM_NOEXEC));
	expect_error(ram, NEST_X, NEST_E_DENIED);
	CHECK_EQ(t.nr_asked, 0);
	CHECK_EQ(vmt_fault(&t, ram, NEST_RW).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&t, ram).attr, NEST_RW | NEST_MT_WB);
	CHECK_OK(nest_vm_protect(&t.vm, ram, 0x1000, 0, NEST_W, 0));
	expect_error(ram, NEST_W, NEST_E_DENIED);
	expect_error(ram, NEST_RW, NEST_E_DENIED);
	CHECK_EQ(vmt_fault(&t, ram, NEST_R).kind, NEST_EXIT_RESUME);
	/* A device is mapped from the beginning: its page is missing only if the VMM took it. */
	CHECK_OK(nest_vm_add_device(&t.vm, 0x9000000, 0x80000000, 0x1000, NEST_RW | NEST_MT_UC));
	CHECK_EQ(vmt_fault(&t, 0x9000000, NEST_W).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_vm_unmap(&t.vm, 0x9000000, 0x1000, 0));
	expect_error(0x9000000, NEST_W, NEST_E_DENIED);
	vmt_close(&t);
}

static void test_user_execution_is_a_right_of_its_own(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", NEST_FEAT_MBEC);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x2000, &t.provider, 0));
	CHECK_EQ(vmt_fault(&t, ram, NEST_X).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&t, ram).attr, NEST_RWX | NEST_XU | NEST_MT_WB);
	/* Without the one the page was there when it faulted: another CPU was first. */
	CHECK_OK(nest_vm_protect(&t.vm, ram, 0x1000, 0, NEST_XU, 0));
	CHECK_EQ(vmt_fault(&t, ram, NEST_X).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_vm_protect(&t.vm, ram, 0x1000, 0, NEST_X, 0));
	expect_error(ram, NEST_X, NEST_E_DENIED);
	vmt_close(&t);
}

static void test_the_largest_frame_is_asked_for_first(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", NEST_FEAT_1G);
	t.provider.max_size = 0x40000000;
	t.refuse_above = 0x1000;
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x40000000, &t.provider, 0));
	vmt_fault(&t, ram + 0x234567, NEST_R);
	CHECK_EQ(t.nr_asked, 3);
	CHECK_EQ(t.asked[0], 0x40000000);
	CHECK_EQ(t.asked[1], 0x200000);
	CHECK_EQ(t.asked[2], 0x1000);
	CHECK_EQ(vmt_at(&t, ram + 0x234000).size, 0x1000);
	/* With a page of it mapped a larger block can no longer be. */
	vmt_mark(&t);
	t.refuse_above = 0;
	vmt_fault(&t, ram + 0x235567, NEST_R);
	CHECK_EQ(t.nr_asked, 1);
	CHECK_EQ(t.asked[0], 0x1000);
	/* The next 2 MiB have nothing in them. */
	vmt_mark(&t);
	vmt_fault(&t, ram + 0x5fffff, NEST_R);
	CHECK_EQ(t.nr_asked, 1);
	CHECK_EQ(t.asked[0], 0x200000);
	CHECK_EQ(vmt_at(&t, ram + 0x400000).size, 0x200000);
	vmt_close(&t);
}

static void test_a_frame_does_not_leave_its_region(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", NEST_FEAT_1G);
	t.provider.max_size = ~(uint64_t)0;
	CHECK_OK(nest_vm_add_ram(&t.vm, ram + 0x1000, 0x400000, &t.provider, 0));
	vmt_fault(&t, ram + 0x1000, NEST_R);
	vmt_fault(&t, ram + 0x200000, NEST_R);
	vmt_fault(&t, ram + 0x400fff, NEST_R);
	CHECK_EQ(t.nr_asked, 3);
	CHECK_EQ(t.asked[0], 0x1000);
	CHECK_EQ(t.asked[1], 0x200000);
	CHECK_EQ(t.asked[2], 0x1000);
	/* Fewer bytes than a page: the smallest page. */
	t.provider.max_size = 1;
	CHECK_OK(nest_vm_add_ram(&t.vm, ram + 0x800000, 0x400000, &t.provider, 0));
	vmt_mark(&t);
	vmt_fault(&t, ram + 0x800000, NEST_R);
	CHECK_EQ(t.asked[0], 0x1000);
	vmt_close(&t);
}

/*
 * The provider's contents are the guest's: a frame is neither cleared nor kept for the next time.
 */
static void untouched(struct vmt *v)
{
	uint8_t seen[512];
	uint8_t *frame;

	v->give = v->a.host.alloc(&v->a, (size_t)v->page);
	frame = arena_ptr(&v->a, v->give);
	for (unsigned round = 0; round < 3; round++) {
		const uint8_t fill = (uint8_t)(0x5c + round);

		memset(frame, fill, (size_t)v->page);
		vmt_mark(v);
		CHECK_OK(nest_vm_add_ram(&v->vm, ram, v->page, &v->provider, 0));
		CHECK_EQ(vmt_fault(v, ram, NEST_W).kind, NEST_EXIT_RESUME);
		CHECK_EQ(v->nr_asked, 1);
		CHECK_EQ(vmt_at(v, ram).pa, v->give);
		for (uint64_t at = 0; at < v->page; at += sizeof(seen)) {
			memset(seen, 0, sizeof(seen));
			CHECK_OK(nest_vm_read(&v->vm, ram + at, seen, sizeof(seen), NULL));
			for (size_t i = 0; i < sizeof(seen); i++)
				CHECK_EQ(seen[i], fill);
		}
		CHECK_OK(nest_vm_remove(&v->vm, ram, v->page, 0));
		CHECK_EQ(v->nr_put, 1);
		CHECK_EQ(frame[0], fill);
		CHECK_EQ(frame[v->page - 1], fill);
	}
	v->a.host.free(&v->a, v->give, (size_t)v->page);
	v->give = 0;
}

static void test_a_frame_is_seen_as_the_provider_filled_it(void **state)
{
	(void)state;
	vmt_sweep(untouched);
}

static void test_contiguous_groups_are_filled_at_once(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000 + 0x10000);

	(void)state;
	vmt_open_named(&t, "riscv-g", NEST_FEAT_CONTIG);
	t.provider.max_size = 0x10000;
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x200000, &t.provider, 0));
	vmt_fault(&t, ram + 0x13000, NEST_R);
	CHECK_EQ(t.asked[0], 0x10000);
	CHECK(vmt_at(&t, ram + 0x1f000).contiguous);
	CHECK_EQ(vmt_at(&t, ram + 0x1f000).size, 0x10000);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram + 0x200000, 0x200000, &fixed, 0));
	vmt_fault(&t, ram + 0x200000, NEST_R);
	CHECK_EQ(vmt_at(&t, ram + 0x20f000).pa, 0x80000000 + 0x1f000);
	CHECK(!vmt_is_mapped(&t, ram + 0x210000));
	vmt_close(&t);
}

static void test_fixed_memory_comes_in_the_largest_blocks(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000);

	(void)state;
	vmt_open_named(&t, "ept", NEST_FEAT_1G);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x80200000, &fixed, 0));
	CHECK(!vmt_is_mapped(&t, ram));
	vmt_fault(&t, ram + 0x12345678, NEST_R);
	CHECK_EQ(vmt_at(&t, ram).size, 0x40000000);
	CHECK_EQ(vmt_at(&t, ram + 5).pa, 0x80000005);
	vmt_fault(&t, ram + 0x80000000, NEST_R);
	CHECK_EQ(vmt_at(&t, ram + 0x80000000).size, 0x200000);
	CHECK_EQ(vmt_at(&t, ram + 0x80000000).pa, 0x100000000);
	/* A page of the second gigabyte is the VMM's: around it smaller blocks do. */
	CHECK_OK(nest_vm_map(&t.vm, ram + 0x40000000, 0x5000, 0x1000, NEST_R, 0));
	vmt_fault(&t, ram + 0x40200000, NEST_R);
	CHECK_EQ(vmt_at(&t, ram + 0x40200000).size, 0x200000);
	vmt_fault(&t, ram + 0x40001000, NEST_R);
	CHECK_EQ(vmt_at(&t, ram + 0x40001000).size, 0x1000);
	CHECK_EQ(vmt_at(&t, ram + 0x40001000).pa, 0xc0001000);
	CHECK_EQ(vmt_at(&t, ram + 0x40000000).pa, 0x5000);
	/* Host memory that is not aligned to a block. */
	fixed = fixed_at(0x80001000);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram + 0x100000000, 0x200000, &fixed, 0));
	vmt_fault(&t, ram + 0x100003000, NEST_R);
	CHECK_EQ(vmt_at(&t, ram + 0x100003000).size, 0x1000);
	CHECK_EQ(vmt_at(&t, ram + 0x100003000).pa, 0x80004000);
	vmt_close(&t);
}

static void test_a_frame_that_cannot_be_mapped_goes_back(void **state)
{
	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x200000, &t.provider, 0));
	t.unflushed_ok = true;
	t.protect[1] = (struct nest_range){ 0x80000000, 0x1000 };
	t.give = 0x80000000;
	expect_error(ram, NEST_R, NEST_E_DENIED);
	CHECK(nest_vm_last_conflict(&t.vm)->host);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->existing.base, 0x80000000);
	t.give = 0x80001010;
	expect_error(ram, NEST_R, NEST_E_ALIGN);
	t.give = (nest_pa_t)1 << 60;
	expect_error(ram, NEST_R, NEST_E_RANGE);
	CHECK_EQ(t.nr_put, 3);
	CHECK_EQ(t.frames_out, 0);
	CHECK_EQ(t.a.outstanding, t.tables0);
	t.provider.put = NULL;
	CHECK_OK(nest_vm_add_ram(&t.vm, ram + 0x200000, 0x200000, &t.provider, 0));
	expect_error(ram + 0x200000, NEST_R, NEST_E_RANGE);
	CHECK_EQ(t.nr_put, 3);
	t.frames_out = 0;
	vmt_close(&t);
}

static void every_failure(struct vmt *v)
{
	struct vm_state before;
	struct nest_fault f = fault_at(ram + v->page, NEST_W);
	struct nest_exit e;
	uint64_t n = 0;

	v->unflushed_ok = true;
	CHECK_OK(nest_vm_add_ram(&v->vm, ram, 4 * v->page, &v->provider, 0));
	before = vmt_state(v);
	do {
		arena_fail(&v->a, ++n, false);
		CHECK_OK(nest_vm_fault(&v->vm, &f, &e));
		if (!e.status)
			break;
		CHECK_EQ(e.kind, NEST_EXIT_ERROR);
		CHECK_RC(e.status, NEST_E_NOMEM);
		check_same_state(v, &before);
	} while (n < 100);
	arena_fail(&v->a, 0, false);
	/* The frame, and a table for each level but the root. */
	CHECK_EQ(n, 1 + nest_pt_levels(nest_vm_pt(&v->vm)));
	CHECK_EQ(v->frames_out, v->page);
	v->unflushed_ok = false;
}

static void test_every_failing_allocation_of_a_fault_leaves_no_trace(void **state)
{
	(void)state;
	vmt_sweep(every_failure);
}

static void test_software_accessed_and_dirty_are_set(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000);
	struct nest_fault f = fault_at(ram + 0x1000, NEST_R);
	struct nest_exit e;

	(void)state;
	vmt_open_named(&t, "riscv-g", NEST_FEAT_SW_AD);
	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 0x200000, &fixed, NEST_VM_EAGER));
	CHECK_EQ(vmt_at(&t, ram).attr, NEST_RWX | NEST_MT_WB);
	/* RISC-V's fault does not say that it is one of status. */
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&t, ram).attr, NEST_RWX | NEST_MT_WB | NEST_ACCESSED);
	CHECK_EQ(vmt_at(&t, ram).size, 0x200000);
	f.kind = NEST_FAULT_ACCESS_FLAG;
	f.access = NEST_W;
	CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
	CHECK_EQ(e.kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&t, ram).attr, NEST_RWX | NEST_MT_WB | NEST_ACCESSED | NEST_DIRTY);
	/* A page on demand comes with what its fault would set. */
	CHECK_OK(nest_vm_add_ram(&t.vm, ram + 0x200000, 0x200000, &t.provider, 0));
	vmt_fault(&t, ram + 0x200000, NEST_R);
	CHECK_EQ(vmt_at(&t, ram + 0x200000).attr, NEST_RWX | NEST_MT_WB | NEST_ACCESSED);
	vmt_fault(&t, ram + 0x201000, NEST_W);
	CHECK_EQ(vmt_at(&t, ram + 0x201000).attr,
		 NEST_RWX | NEST_MT_WB | NEST_ACCESSED | NEST_DIRTY);
	vmt_close(&t);
}

/*
 * However status is kept, a fault whose exit is RESUME leaves an entry that lets the access
 * through.
 */
static void write_goes_through(struct vmt *v)
{
	struct nest_backing fixed = fixed_at(0x80000000);
	nest_attr_t status = v->vm.tracked;

	CHECK_OK(nest_vm_add_ram(&v->vm, ram, 4 * v->page, &fixed, NEST_VM_EAGER));
	vmt_fault(v, ram, NEST_W);
	CHECK_EQ(vmt_at(v, ram).attr & (NEST_RWX | status), NEST_RWX | status);
}

static void test_a_write_fault_leaves_a_page_that_can_be_written(void **state)
{
	(void)state;
	vmt_sweep(write_goes_through);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_first_touch_maps_one_frame),
		cmocka_unit_test(test_a_second_fault_keeps_the_frame),
		cmocka_unit_test(test_a_stale_right_is_flushed),
		cmocka_unit_test(test_an_emulated_device_exits_with_its_cookie),
		cmocka_unit_test(test_rom_writes_come_back),
		cmocka_unit_test(test_outside_of_regions_nothing_is_made),
		cmocka_unit_test(test_the_last_page_is_ram_and_the_next_too_wide),
		cmocka_unit_test(test_what_no_entry_can_mend_is_an_error),
		cmocka_unit_test(test_a_fault_without_an_address_says_so),
		cmocka_unit_test(test_a_tlb_conflict_flushes_everything),
		cmocka_unit_test(test_a_right_that_is_not_there_is_denied),
		cmocka_unit_test(test_user_execution_is_a_right_of_its_own),
		cmocka_unit_test(test_the_largest_frame_is_asked_for_first),
		cmocka_unit_test(test_a_frame_does_not_leave_its_region),
		cmocka_unit_test(test_a_frame_is_seen_as_the_provider_filled_it),
		cmocka_unit_test(test_contiguous_groups_are_filled_at_once),
		cmocka_unit_test(test_fixed_memory_comes_in_the_largest_blocks),
		cmocka_unit_test(test_a_frame_that_cannot_be_mapped_goes_back),
		cmocka_unit_test(test_every_failing_allocation_of_a_fault_leaves_no_trace),
		cmocka_unit_test(test_software_accessed_and_dirty_are_set),
		cmocka_unit_test(test_a_write_fault_leaves_a_page_that_can_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
