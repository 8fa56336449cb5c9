/* SPDX-License-Identifier: MIT */
/*
 * A VM's regions: added, found, in each other's way, removed; and its raw mappings.
 */
#include "vm_host.h"

static struct vmt t;

static void open_ept(uint32_t features)
{
	vmt_open_named(&t, "ept", features);
}

/* ---- Life ---- */

static void refuse_init(const struct nest_vm_config *config, int rc)
{
	struct nest_vm vm;

	memset(&vm, 0xff, sizeof(vm));
	CHECK_RC(nest_vm_init(&vm, config), rc);
	nest_vm_destroy(&vm);
	CHECK_RC(nest_vm_add_mmio(&vm, 0, 0x1000, NULL), NEST_E_INVAL);
	CHECK_EQ(t.a.outstanding, t.tables0);
}

static void test_init_refuses_what_it_cannot_be(void **state)
{
	struct nest_vm_config c, good;
	struct nest_host host;

	(void)state;
	open_ept(0);
	good = t.config;
	CHECK_RC(nest_vm_init(NULL, &good), NEST_E_INVAL);
	refuse_init(NULL, NEST_E_INVAL);
	c = good, c.pt.format = NULL;
	refuse_init(&c, NEST_E_INVAL);
	c = good, c.pt.format = &nest_fmt_x86_64;
	refuse_init(&c, NEST_E_INVAL);
	c = good, c.pt.host = NULL;
	refuse_init(&c, NEST_E_INVAL);
	c = good, c.regions = NULL;
	refuse_init(&c, NEST_E_INVAL);
	c = good, c.max_regions = 0;
	refuse_init(&c, NEST_E_INVAL);
	c = good, c.protect = NULL;
	refuse_init(&c, NEST_E_INVAL);
	c = good, c.pt.features = NEST_FEAT_PBMT;
	refuse_init(&c, NEST_E_UNSUPPORTED);
	c = good, c.pt.oa_bits = 60;
	refuse_init(&c, NEST_E_RANGE);
	c = good, c.pt.ia_bits = 13;
	refuse_init(&c, NEST_E_UNSUPPORTED);
	c = good, c.pt.host = &host;
	host = t.a.host, host.alloc = NULL;
	refuse_init(&c, NEST_E_INVAL);
	host = t.a.host, host.free = NULL;
	refuse_init(&c, NEST_E_INVAL);
	host = t.a.host, host.tlb_flush = NULL;
	refuse_init(&c, NEST_E_INVAL);
	arena_fail(&t.a, 1, false);
	refuse_init(&good, NEST_E_NOMEM);
	nest_vm_destroy(NULL);
	vmt_close(&t);
	nest_vm_destroy(&t.vm);
}

static void test_nothing_works_without_a_vm(void **state)
{
	struct nest_backing fixed = fixed_at(0);
	struct nest_mapping m;
	size_t copied;
	uint8_t byte = 0;

	(void)state;
	CHECK_RC(nest_vm_add_ram(NULL, 0, 0x1000, &fixed, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_add_device(NULL, 0, 0, 0x1000, NEST_RW), NEST_E_INVAL);
	CHECK_RC(nest_vm_add_mmio(NULL, 0, 0x1000, NULL), NEST_E_INVAL);
	CHECK_RC(nest_vm_remove(NULL, 0, 0x1000, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_map(NULL, 0, 0, 0x1000, NEST_R, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_unmap(NULL, 0, 0x1000, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_protect(NULL, 0, 0x1000, 0, NEST_W, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_translate(NULL, 0, NEST_R, &m), NEST_E_INVAL);
	copied = 7;
	CHECK_RC(nest_vm_read(NULL, 0, &byte, 1, &copied), NEST_E_INVAL);
	CHECK_RC(nest_vm_write(NULL, 0, &byte, 1, &copied), NEST_E_INVAL);
	CHECK_EQ(copied, 0);
	CHECK(nest_vm_pt(NULL) == NULL);
	CHECK(nest_vm_region_at(NULL, 0) == NULL);
	CHECK(nest_vm_last_conflict(NULL) != NULL);
	CHECK(nest_vm_last_conflict(NULL)->reason == NULL);
}

/* The arena's callbacks take their context for an arena: any other would not survive. */
static void test_the_callers_host_gets_the_callers_context(void **state)
{
	struct tcase c = tcase_of(format_or_skip("aarch64-s2-4k"), 0, 0, 0);

	(void)state;
	for (unsigned variant = 0; variant < 3; variant++) {
		struct nest_mapping m;

		vmt_open(&t, &c);
		vmt_close(&t);
		arena_open(&t.a, (uint64_t)4 << 20);
		if (variant == 0)
			arena_use_linear(&t.a);
		if (variant == 1)
			arena_use_defer(&t.a);
		if (variant == 2)
			t.a.host.sync = NULL;
		CHECK_OK(nest_vm_init(&t.vm, &t.config));
		CHECK_OK(nest_vm_map(&t.vm, 0x1000, 0x1000, 0x1000, NEST_RW, 0));
		CHECK_OK(nest_vm_translate(&t.vm, 0x1000, NEST_RW, &m));
		vmt_mark(&t);
		CHECK_OK(nest_vm_unmap(&t.vm, 0x1000, 0x1000, 0));
		CHECK_EQ(t.a.ev[0].kind, EV_FLUSH);
		CHECK_EQ(t.a.ev[0].flush.vmid, 5);
		CHECK_EQ(t.a.nr_deferred > 0, variant == 1);
		CHECK_EQ(t.a.nr_sync > 0, variant != 2);
		arena_run_deferred(&t.a);
		nest_vm_destroy(&t.vm);
		CHECK_EQ(t.a.outstanding, 0);
		arena_close(&t.a);
	}
}

static void destroyed(struct vmt *v)
{
	v->provider.max_size = vmt_span(v, 1) <= ((uint64_t)4 << 20) ? vmt_span(v, 1) : 0;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, (uint64_t)64 << 20, &v->provider, 0));
	CHECK_OK(nest_vm_add_mmio(&v->vm, (uint64_t)64 << 20, v->page, NULL));
	vmt_fault(v, 0, NEST_R);
	vmt_fault(v, (uint64_t)33 << 20, NEST_R);
	CHECK(v->frames_out > 0);
	/* vmt_close() checks that all came back, after a flush. */
}

static void test_destroy_gives_every_frame_back(void **state)
{
	(void)state;
	vmt_sweep(destroyed);
}

static void test_destroy_gives_back_its_regions_part_only(void **state)
{
	(void)state;
	open_ept(0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x201000, 0x1000, &t.provider, 0));
	/* The VMM's own 4 MiB reach over both ends. */
	CHECK_OK(nest_vm_map(&t.vm, 0x200000, 0x80000000, 0x200000, NEST_R, 0));
	t.frame[t.nr_frames++] = (struct frame){ 0x201000, 0x80001000, 0x1000, 0x1000 };
	t.give = 0x80001000;
	t.frames_out = 0x1000;
	vmt_close(&t);
	CHECK_EQ(t.nr_put, 1);
}

/* ---- Adding ---- */

static void test_regions_are_found_by_address(void **state)
{
	static const uint64_t at[] = { 0x5000, 0x1000, 0x9000, 0x7000, 0x3000 };
	int cookies[5];

	(void)state;
	open_ept(0);
	CHECK(nest_vm_region_at(&t.vm, 0) == NULL);
	for (unsigned i = 0; i < 5; i++)
		CHECK_OK(nest_vm_add_mmio(&t.vm, at[i], 0x1000, &cookies[i]));
	for (unsigned i = 0; i < 5; i++) {
		const struct nest_vm_region *r = nest_vm_region_at(&t.vm, at[i]);

		CHECK(r && r->cookie == &cookies[i] && r->type == NEST_REGION_MMIO);
		CHECK(nest_vm_region_at(&t.vm, at[i] + 0xfff) == r);
		CHECK(nest_vm_region_at(&t.vm, at[i] - 1) == NULL);
		CHECK(nest_vm_region_at(&t.vm, at[i] + 0x1000) == NULL);
	}
	CHECK(nest_vm_region_at(&t.vm, ~(uint64_t)0) == NULL);
	vmt_close(&t);
	CHECK(nest_vm_region_at(&t.vm, 0x1000) == NULL);
}

static void check_conflict(uint64_t wanted, uint64_t wanted_size, enum nest_region_type wanted_type,
			   uint64_t existing, uint64_t existing_size,
			   enum nest_region_type existing_type)
{
	const struct nest_vm_conflict *c = nest_vm_last_conflict(&t.vm);

	CHECK(c->reason != NULL && !c->host);
	CHECK_EQ(c->wanted.base, wanted);
	CHECK_EQ(c->wanted.size, wanted_size);
	CHECK_EQ(c->wanted_type, wanted_type);
	CHECK_EQ(c->existing.base, existing);
	CHECK_EQ(c->existing.size, existing_size);
	CHECK_EQ(c->existing_type, existing_type);
}

static void test_an_overlap_names_both_regions(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000);
	struct vm_state before;

	(void)state;
	open_ept(0);
	CHECK(nest_vm_last_conflict(&t.vm)->reason == NULL);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x10000, 0x4000, &fixed, 0));
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x20000, 0x4000, &t.provider, NEST_VM_READONLY));
	CHECK_OK(nest_vm_add_device(&t.vm, 0x30000, 0x90000000, 0x4000, NEST_RW | NEST_MT_UC));
	CHECK(nest_vm_last_conflict(&t.vm)->reason == NULL);
	before = vmt_state(&t);
	CHECK_RC(nest_vm_add_mmio(&t.vm, 0x13000, 0x1000, NULL), NEST_E_MAPPED);
	check_conflict(0x13000, 0x1000, NEST_REGION_MMIO, 0x10000, 0x4000, NEST_REGION_RAM);
	CHECK_RC(nest_vm_add_device(&t.vm, 0x1f000, 0, 0x2000, NEST_RW | NEST_MT_UC),
		 NEST_E_MAPPED);
	check_conflict(0x1f000, 0x2000, NEST_REGION_DEVICE, 0x20000, 0x4000, NEST_REGION_ROM);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0x33000, 0x2000, &t.provider, 0), NEST_E_MAPPED);
	check_conflict(0x33000, 0x2000, NEST_REGION_RAM, 0x30000, 0x4000, NEST_REGION_DEVICE);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0, 0x100000, &t.provider, NEST_VM_READONLY), NEST_E_MAPPED);
	check_conflict(0, 0x100000, NEST_REGION_ROM, 0x10000, 0x4000, NEST_REGION_RAM);
	check_same_state(&t, &before);
	/* Neighbours are none of it. */
	CHECK_OK(nest_vm_add_mmio(&t.vm, 0x14000, 0xc000, NULL));
	vmt_close(&t);
}

static void bad_range(struct vmt *v, uint64_t gpa, uint64_t size, int rc)
{
	struct nest_backing fixed = fixed_at(0);

	CHECK_RC(nest_vm_add_ram(&v->vm, gpa, size, &v->provider, 0), rc);
	CHECK_RC(nest_vm_add_ram(&v->vm, gpa, size, &fixed, NEST_VM_EAGER), rc);
	CHECK_RC(nest_vm_add_device(&v->vm, gpa, 0, size, NEST_RW | NEST_MT_UC), rc);
	CHECK_RC(nest_vm_add_mmio(&v->vm, gpa, size, NULL), rc);
	CHECK_RC(nest_vm_remove(&v->vm, gpa, size, 0), rc);
	CHECK_RC(nest_vm_unmap(&v->vm, gpa, size, NEST_SKIP_HOLES), rc);
	CHECK_EQ(v->vm.nr_regions, 0);
	CHECK_EQ(v->a.outstanding, v->tables0);
}

static void ranges(struct vmt *v)
{
	uint64_t top = vmt_top_page(v), page = v->page;
	struct nest_backing fixed = fixed_at(0);

	bad_range(v, 0, 0, NEST_E_RANGE);
	bad_range(v, page / 2, page, NEST_E_ALIGN);
	bad_range(v, page, page + 8, NEST_E_ALIGN);
	bad_range(v, top + page, page, NEST_E_RANGE);
	bad_range(v, top, 2 * page, NEST_E_RANGE);
	bad_range(v, page, ~(uint64_t)0 & -page, NEST_E_RANGE);
	bad_range(v, -page, 2 * page, NEST_E_RANGE);
	bad_range(v, -page, page, NEST_E_RANGE);
	/* The last page, and the whole space. */
	CHECK_OK(nest_vm_add_ram(&v->vm, top, page, &fixed, NEST_VM_EAGER));
	CHECK_EQ(vmt_at(v, top + page - 1).pa, page - 1);
	CHECK(nest_vm_region_at(&v->vm, top + page) == NULL);
	CHECK_OK(nest_vm_remove(&v->vm, 0, top + page, 0));
	CHECK_EQ(v->a.outstanding, v->tables0);
	CHECK_OK(nest_vm_add_mmio(&v->vm, 0, top + page, NULL));
	CHECK(nest_vm_region_at(&v->vm, top + page - 1) != NULL);
	CHECK_OK(nest_vm_remove(&v->vm, 0, top + page, 0));
}

static void test_ranges_that_are_none_are_refused(void **state)
{
	(void)state;
	vmt_sweep(ranges);
}

static void bad_memory(nest_pa_t hpa, uint64_t size, int rc)
{
	struct nest_backing fixed = fixed_at(hpa);

	CHECK_RC(nest_vm_add_ram(&t.vm, 0, size, &fixed, 0), rc);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0, size, &fixed, NEST_VM_EAGER), rc);
	CHECK_RC(nest_vm_add_device(&t.vm, 0, hpa, size, NEST_RW | NEST_MT_UC), rc);
	CHECK_EQ(t.vm.nr_regions, 0);
	CHECK_EQ(t.a.outstanding, t.tables0);
}

static void test_host_memory_that_cannot_be_is_refused_at_once(void **state)
{
	uint64_t top;

	(void)state;
	open_ept(0);
	top = (uint64_t)1 << t.c.info.oa_default;
	bad_memory(0x800, 0x1000, NEST_E_ALIGN);
	bad_memory(top, 0x1000, NEST_E_RANGE);
	bad_memory(top - 0x1000, 0x2000, NEST_E_RANGE);
	bad_memory(~(uint64_t)0 - 0xfff, 0x2000, NEST_E_RANGE);
	vmt_close(&t);
}

static void test_arguments_are_checked(void **state)
{
	struct nest_backing fixed = fixed_at(0);
	unsigned n;

	(void)state;
	open_ept(0);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0, 0x1000, NULL, 0), NEST_E_INVAL);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0, 0x1000, &fixed, 8), NEST_E_INVAL);
	CHECK_RC(nest_vm_add_device(&t.vm, 0, 0, 0x1000, NEST_W), NEST_E_UNSUPPORTED);
	CHECK_RC(nest_vm_add_device(&t.vm, 0, 0, 0x1000, (nest_attr_t)1 << 31), NEST_E_INVAL);
	CHECK_EQ(t.vm.nr_regions, 0);
	for (n = 0; n < VMT_REGIONS; n++)
		CHECK_OK(nest_vm_add_mmio(&t.vm, n * 0x1000, 0x1000, NULL));
	CHECK_RC(nest_vm_add_mmio(&t.vm, n * 0x1000, 0x1000, NULL), NEST_E_NOMEM);
	CHECK_RC(nest_vm_add_device(&t.vm, n * 0x1000, 0, 0x1000, NEST_R), NEST_E_NOMEM);
	CHECK_EQ(t.a.outstanding, t.tables0);
	vmt_close(&t);
}

static void test_ram_has_every_right_that_flags_leave(void **state)
{
	static const struct {
		uint32_t flags;
		nest_attr_t attr;
	} cases[] = { { 0, NEST_RWX },
		      { NEST_VM_READONLY, NEST_R | NEST_X },
		      { NEST_VM_NOEXEC, NEST_RW },
		      { NEST_VM_READONLY | NEST_VM_NOEXEC, NEST_R } };
	struct nest_backing fixed = fixed_at(0x80000000);

	(void)state;
	for (unsigned xnx = 0; xnx < 2; xnx++) {
		vmt_open_named(&t, "aarch64-s2-4k", xnx ? NEST_FEAT_XNX : 0);
		for (unsigned i = 0; i < 4; i++) {
			nest_attr_t want = cases[i].attr;

			if (xnx && (want & NEST_X))
				want |= NEST_XU;
			CHECK_OK(nest_vm_add_ram(&t.vm, 0x1000, 0x1000, &fixed,
						 cases[i].flags | NEST_VM_EAGER));
			CHECK_EQ(vmt_at(&t, 0x1000).attr, want | NEST_MT_WB);
			CHECK_OK(nest_vm_remove(&t.vm, 0x1000, 0x1000, 0));
		}
		vmt_close(&t);
	}
}

static void eager(struct vmt *v)
{
	struct nest_backing fixed = fixed_at((nest_pa_t)1 << 30);
	uint64_t big = vmt_span(v, 1);
	nest_attr_t device = NEST_RW | NEST_MT_DEVICE;

	CHECK_OK(nest_vm_add_ram(&v->vm, big, 2 * big, &fixed, NEST_VM_EAGER));
	if ((v->c.info.leaf_levels & 2) && nest_pt_levels(nest_vm_pt(&v->vm)) > 1)
		CHECK(vmt_at(v, big).size >= big);
	CHECK_EQ(vmt_at(v, 3 * big - 1).pa, ((nest_pa_t)1 << 30) + 2 * big - 1);
	CHECK(!vmt_is_mapped(v, 3 * big));
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, 5 * v->page, &v->provider, NEST_VM_EAGER));
	CHECK_EQ(v->nr_asked, 5);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(vmt_at(v, i * v->page).pa, v->frame[i].pa);
	CHECK_OK(nest_vm_add_device(&v->vm, 3 * big, 0, 2 * v->page, device));
	CHECK_EQ(vmt_at(v, 3 * big + v->page + 1).pa, v->page + 1);
	CHECK_EQ(vmt_at(v, 3 * big).attr & NEST_RWX, NEST_RW);
	CHECK(vmt_at(v, 3 * big).attr & NEST_MT_MASK || !strcmp(v->c.name, "riscv-g"));
	CHECK_OK(nest_vm_add_mmio(&v->vm, 4 * big, v->page, NULL));
	CHECK(!vmt_is_mapped(v, 4 * big));
}

static void eager_with_device(struct vmt *v)
{
	/* Without Svpbmt RISC-V has the one memory type of its PMAs. */
	if (!strcmp(v->c.name, "riscv-g") && !(v->c.features & NEST_FEAT_PBMT))
		return;
	eager(v);
}

static void test_eager_memory_and_devices_are_mapped_at_once(void **state)
{
	(void)state;
	vmt_sweep(eager_with_device);
}

static void eager_failures(struct vmt *v)
{
	struct nest_backing fixed = fixed_at((nest_pa_t)1 << 30);
	uint64_t at = vmt_span(v, 1) - 2 * v->page, n;
	struct vm_state before;
	int rc;

	v->unflushed_ok = true;
	CHECK_OK(nest_vm_add_mmio(&v->vm, 0, v->page, NULL));
	before = vmt_state(v);
	for (unsigned kind = 0; kind < 3; kind++) {
		for (n = 1; n < 100; n++) {
			arena_fail(&v->a, n, false);
			if (kind == 0)
				rc = nest_vm_add_ram(&v->vm, at, 4 * v->page, &v->provider,
						     NEST_VM_EAGER);
			else if (kind == 1)
				rc = nest_vm_add_ram(&v->vm, at, 4 * v->page, &fixed,
						     NEST_VM_EAGER);
			else
				rc = nest_vm_add_device(&v->vm, at, 0, 4 * v->page, NEST_RW);
			if (!rc)
				break;
			CHECK_RC(rc, NEST_E_NOMEM);
			check_same_state(v, &before);
		}
		/* Four frames; and tables, unless the root has the pages. */
		CHECK(n > (kind ? 0u : 4u) + (nest_pt_levels(nest_vm_pt(&v->vm)) > 1 ? 1u : 0u));
		arena_fail(&v->a, 0, false);
		v->unflushed_ok = false;
		vmt_mark(v);
		CHECK_OK(nest_vm_remove(&v->vm, at, 4 * v->page, 0));
		check_same_state(v, &before);
		v->unflushed_ok = true;
	}
	v->unflushed_ok = false;
}

static void test_every_failing_allocation_of_an_add_leaves_no_trace(void **state)
{
	(void)state;
	vmt_sweep(eager_failures);
}

static void test_an_eager_rollback_flushes_before_it_gives_back(void **state)
{
	(void)state;
	open_ept(0);
	t.protect[0] = (struct nest_range){ ARENA_BASE, 0 };
	arena_fail(&t.a, 6, false);
	/* Frame, three tables, then the second frame; the third fails. */
	CHECK_RC(nest_vm_add_ram(&t.vm, 0, 0x4000, &t.provider, NEST_VM_EAGER), NEST_E_NOMEM);
	CHECK_EQ(t.nr_put, 2);
	CHECK_EQ(t.a.outstanding, t.tables0);
	vmt_close(&t);
}

/* ---- Protected host memory ---- */

static void check_denied(int rc, uint64_t wanted, uint64_t size, uint64_t base)
{
	const struct nest_vm_conflict *c = nest_vm_last_conflict(&t.vm);

	CHECK_RC(rc, NEST_E_DENIED);
	CHECK(c->host && c->reason);
	CHECK_EQ(c->wanted.base, wanted);
	CHECK_EQ(c->wanted.size, size);
	CHECK_EQ(c->existing.base, base);
	t.vm.conflict = (struct nest_vm_conflict){ .reason = NULL };
}

static void test_no_map_touches_protected_memory(void **state)
{
	const uint64_t base = 0x80004000;
	struct nest_backing fixed = fixed_at(0x80000000);
	nest_attr_t device = NEST_RW | NEST_MT_UC;
	uint8_t byte = 0;

	(void)state;
	open_ept(0);
	t.protect[1] = (struct nest_range){ base, 0x2000 };
	check_denied(nest_vm_add_ram(&t.vm, 0, 0x5000, &fixed, 0), 0x80000000, 0x5000, base);
	check_denied(nest_vm_add_ram(&t.vm, 0, 0x5000, &fixed, NEST_VM_EAGER), 0x80000000, 0x5000,
		     base);
	check_denied(nest_vm_add_device(&t.vm, 0, 0x80005000, 0x1000, device), 0x80005000, 0x1000,
		     base);
	check_denied(nest_vm_map(&t.vm, 0, 0x80000000, 0x100000, NEST_R, 0), 0x80000000, 0x100000,
		     base);
	check_denied(nest_vm_map(&t.vm, 0, 0x80005000, 0x1000, NEST_R, NEST_MAP_REPLACE),
		     0x80005000, 0x1000, base);
	check_denied(nest_pt_map(nest_vm_pt(&t.vm), 0, 0x80005000, 0x1000, NEST_R, 0, NULL),
		     0x80005000, 0x1000, base);
	CHECK_EQ(t.a.outstanding, t.tables0);
	/* What a provider gives: at a fault, a copy, an eager add. */
	t.give = base;
	t.unflushed_ok = true;
	check_denied(nest_vm_add_ram(&t.vm, 0, 0x1000, &t.provider, NEST_VM_EAGER), base, 0x1000,
		     base);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x1000, &t.provider, 0));
	check_denied(vmt_fault(&t, 0, NEST_R).status, base, 0x1000, base);
	check_denied(nest_vm_read(&t.vm, 0, &byte, 1, NULL), base, 0x1000, base);
	check_denied(nest_vm_write(&t.vm, 0, &byte, 1, NULL), base, 0x1000, base);
	CHECK_EQ(t.frames_out, 0);
	/* Protected later: the fault on fixed memory sees it. */
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x100000, 0x1000, &fixed, 0));
	t.protect[0] = (struct nest_range){ 0x80000fff, 1 };
	check_denied(vmt_fault(&t, 0x100000, NEST_R).status, 0x80000000, 0x1000, 0x80000fff);
	/* Right below and above is free. */
	CHECK_OK(nest_vm_map(&t.vm, 0x200000, base - 0x1000, 0x1000, NEST_R, 0));
	CHECK_OK(nest_vm_map(&t.vm, 0x300000, base + 0x2000, 0x1000, NEST_R, 0));
	vmt_close(&t);
}

static void test_odd_protected_ranges(void **state)
{
	(void)state;
	open_ept(0);
	/* An empty one protects nothing; one that would wrap ends at the top. */
	t.protect[0] = (struct nest_range){ 0x80000800, 0 };
	t.protect[1] = (struct nest_range){ 0x90000000, ~(uint64_t)0 };
	CHECK_OK(nest_vm_map(&t.vm, 0, 0x80000000, 0x1000, NEST_R, 0));
	CHECK_RC(nest_vm_map(&t.vm, 0x1000, 0x90000000, 0x1000, NEST_R, 0), NEST_E_DENIED);
	CHECK_RC(nest_vm_map(&t.vm, 0x1000, 0xfffffff000, 0x1000, NEST_R, 0), NEST_E_DENIED);
	vmt_close(&t);
	t.config.protect = NULL;
	t.config.nr_protect = 0;
	arena_open(&t.a, (uint64_t)4 << 20);
	CHECK_OK(nest_vm_init(&t.vm, &t.config));
	CHECK_OK(nest_vm_map(&t.vm, 0x1000, 0x90000000, 0x1000, NEST_R, 0));
	vmt_close(&t);
}

static bool only_read(nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	(void)pa;
	(void)size;
	return !(attr & NEST_W);
}

static void test_the_hosts_own_refusal_holds(void **state)
{
	struct nest_backing fixed = fixed_at(0x80000000);

	(void)state;
	open_ept(0);
	t.a.policy = only_read;
	check_denied(nest_vm_add_ram(&t.vm, 0, 0x1000, &fixed, 0), 0x80000000, 0x1000, 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x1000, &fixed, NEST_VM_READONLY));
	CHECK_EQ(vmt_fault(&t, 0, NEST_R).kind, NEST_EXIT_RESUME);
	t.a.host.allow = NULL;
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x1000, 0x1000, &fixed, 0));
	vmt_close(&t);
}

/* ---- Removing ---- */

static void removed(struct vmt *v)
{
	uint64_t page = v->page, big = vmt_span(v, 1);
	struct nest_backing fixed = fixed_at((nest_pa_t)1 << 30);

	CHECK_OK(nest_vm_add_ram(&v->vm, big - 4 * page, 8 * page, &v->provider, NEST_VM_EAGER));
	CHECK_OK(nest_vm_add_ram(&v->vm, 2 * big, big, &fixed, NEST_VM_EAGER));
	CHECK_OK(nest_vm_add_mmio(&v->vm, 4 * big, page, NULL));
	vmt_mark(v);
	CHECK_OK(nest_vm_remove(&v->vm, big - 4 * page, 2 * big + 4 * page, 0));
	CHECK_EQ(v->frames_out, 0);
	CHECK_EQ(v->nr_put, 8);
	CHECK_EQ(v->a.outstanding, v->tables0);
	CHECK_EQ(v->vm.nr_regions, 1);
	CHECK(nest_vm_region_at(&v->vm, 4 * big) == v->regions);
	CHECK(arena_flushed(&v->a, 2 * big, 3 * big - 1));
	CHECK_RC(nest_vm_remove(&v->vm, 0, 3 * big, 0), NEST_E_NOTMAPPED);
}

static void test_remove_gives_back_each_frame_once_after_the_flush(void **state)
{
	(void)state;
	vmt_sweep(removed);
}

static void test_remove_takes_whole_regions_only(void **state)
{
	struct vm_state before;

	(void)state;
	open_ept(0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x10000, 0x4000, &t.provider, NEST_VM_EAGER));
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x20000, 0x4000, &t.provider, NEST_VM_EAGER));
	before = vmt_state(&t);
	CHECK_RC(nest_vm_remove(&t.vm, 0x10000, 0x11000, 0), NEST_E_INVAL);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->wanted.base, 0x10000);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->wanted.size, 0x11000);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->existing.base, 0x20000);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->existing.size, 0x4000);
	CHECK(nest_vm_last_conflict(&t.vm)->reason != NULL);
	CHECK_RC(nest_vm_remove(&t.vm, 0x11000, 0x100000, 0), NEST_E_INVAL);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->existing.base, 0x10000);
	CHECK_RC(nest_vm_remove(&t.vm, 0x11000, 0x1000, 0), NEST_E_INVAL);
	check_same_state(&t, &before);
	CHECK_EQ(t.nr_put, 0);
	vmt_mark(&t);
	CHECK_OK(nest_vm_remove(&t.vm, 0x20000, 0x4000, 0));
	CHECK_EQ(t.nr_put, 4);
	CHECK(vmt_is_mapped(&t, 0x10000));
	vmt_close(&t);
}

static void test_a_provider_without_put_is_not_told(void **state)
{
	(void)state;
	open_ept(0);
	t.provider.put = NULL;
	t.give = 0x80000000;
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x1000, &t.provider, NEST_VM_EAGER));
	CHECK_OK(nest_vm_remove(&t.vm, 0, 0x1000, 0));
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x1000, &t.provider, NEST_VM_EAGER));
	t.frames_out = 0;
	vmt_close(&t);
}

static void test_remove_cuts_a_raw_mapping_at_the_regions_ends(void **state)
{
	struct nest_backing fixed = fixed_at(0x90000000);
	struct vm_state before;
	unsigned n;
	int rc = 1;

	(void)state;
	open_ept(0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x201000, 0x400000, &fixed, 0));
	CHECK_OK(nest_vm_map(&t.vm, 0x200000, 0x80000000, 0x600000, NEST_RWX, 0));
	before = vmt_state(&t);
	for (n = 1; rc; n++) {
		arena_fail(&t.a, n, false);
		rc = nest_vm_remove(&t.vm, 0, 0x10000000, 0);
		if (!rc)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		CHECK_EQ(vmt_state(&t).digest, before.digest);
		CHECK_EQ(t.vm.nr_regions, 1);
	}
	arena_fail(&t.a, 0, false);
	/* A table for either end; what a failed call has split stays split. */
	CHECK_EQ(n, 3);
	CHECK_EQ(vmt_at(&t, 0x200fff).pa, 0x80000fff);
	CHECK(!vmt_is_mapped(&t, 0x201000));
	CHECK(!vmt_is_mapped(&t, 0x600fff));
	CHECK_EQ(vmt_at(&t, 0x601000).pa, 0x80401000);
	vmt_close(&t);
}

static void test_a_remove_that_fails_takes_no_region(void **state)
{
	struct vm_state before;

	(void)state;
	open_ept(0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x10000, 0x2000, &t.provider, NEST_VM_EAGER));
	CHECK_OK(nest_vm_add_mmio(&t.vm, 0x200000, 0x1000, NULL));
	CHECK_OK(nest_vm_map(&t.vm, 0x200000, 0x80000000, 0x200000, NEST_RWX, 0));
	before = vmt_state(&t);
	vmt_mark(&t);
	arena_fail(&t.a, 1, false);
	CHECK_RC(nest_vm_remove(&t.vm, 0, 0x10000000, 0), NEST_E_NOMEM);
	check_same_state(&t, &before);
	CHECK_EQ(t.nr_put, 0);
	CHECK_OK(nest_vm_remove(&t.vm, 0, 0x10000000, 0));
	CHECK_EQ(t.nr_put, 2);
	CHECK_EQ(vmt_at(&t, 0x201000).pa, 0x80001000);
	vmt_close(&t);
}

/* ---- The raw form ---- */

static void test_raw_mappings_need_no_region(void **state)
{
	struct nest_backing fixed = fixed_at(0x90000000);

	(void)state;
	open_ept(0);
	CHECK_OK(nest_vm_map(&t.vm, 0x200000, 0x80000000, 0x400000, NEST_RWX, 0));
	CHECK_EQ(vmt_at(&t, 0x200000).size, 0x200000);
	CHECK_RC(nest_vm_map(&t.vm, 0x100000, 0, 0x200000, NEST_R, 0), NEST_E_MAPPED);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->wanted.base, 0x100000);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->existing.base, 0x200000);
	CHECK_EQ(nest_vm_last_conflict(&t.vm)->existing.size, 0x200000);
	CHECK_OK(nest_vm_protect(&t.vm, 0x201000, 0x1000, 0, NEST_W, 0));
	CHECK_EQ(vmt_at(&t, 0x201000).attr, NEST_R | NEST_X);
	CHECK_EQ(vmt_at(&t, 0x202000).attr, NEST_RWX);
	CHECK_RC(nest_vm_protect(&t.vm, 0x400000, 0x1000, 0, NEST_W, NEST_NO_SPLIT), NEST_E_HUGE);
	CHECK_RC(nest_vm_unmap(&t.vm, 0x1ff000, 0x2000, 0), NEST_E_NOTMAPPED);
	CHECK_OK(nest_vm_unmap(&t.vm, 0x200000, 0x200000, 0));
	CHECK(!vmt_is_mapped(&t, 0x201000));
	CHECK_RC(nest_vm_map(&t.vm, 0, 0, 0x1000, NEST_R, (uint32_t)1 << 31), NEST_E_INVAL);
	/* A region that is mapped at once does not go over them; one on demand does. */
	CHECK_RC(nest_vm_add_device(&t.vm, 0x3ff000, 0, 0x2000, NEST_RW), NEST_E_MAPPED);
	check_conflict(0x3ff000, 0x2000, NEST_REGION_DEVICE, 0x400000, 0x200000,
		       NEST_REGION_DEVICE);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0x3ff000, 0x2000, &t.provider, NEST_VM_EAGER),
		 NEST_E_MAPPED);
	CHECK_EQ(t.nr_asked, 0);
	CHECK_RC(nest_vm_add_ram(&t.vm, 0x3ff000, 0x2000, &fixed, NEST_VM_EAGER), NEST_E_MAPPED);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x3ff000, 0x2000, &fixed, 0));
	CHECK_EQ(vmt_fault(&t, 0x400000, NEST_R).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&t, 0x400000).pa, 0x80200000);
	vmt_close(&t);
}

static void test_a_raw_unmap_leaves_the_frame_to_the_caller(void **state)
{
	(void)state;
	open_ept(0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x1000, &t.provider, NEST_VM_EAGER));
	CHECK_OK(nest_vm_unmap(&t.vm, 0, 0x1000, 0));
	CHECK_EQ(t.nr_put, 0);
	CHECK_EQ(t.frames_out, 0x1000);
	/* Mapped again by hand it is the region's again. */
	CHECK_OK(nest_vm_map(&t.vm, 0, t.frame[0].pa, 0x1000, NEST_R, 0));
	vmt_mark(&t);
	CHECK_OK(nest_vm_remove(&t.vm, 0, 0x1000, 0));
	CHECK_EQ(t.nr_put, 1);
	vmt_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_refuses_what_it_cannot_be),
		cmocka_unit_test(test_nothing_works_without_a_vm),
		cmocka_unit_test(test_the_callers_host_gets_the_callers_context),
		cmocka_unit_test(test_destroy_gives_every_frame_back),
		cmocka_unit_test(test_destroy_gives_back_its_regions_part_only),
		cmocka_unit_test(test_regions_are_found_by_address),
		cmocka_unit_test(test_an_overlap_names_both_regions),
		cmocka_unit_test(test_ranges_that_are_none_are_refused),
		cmocka_unit_test(test_host_memory_that_cannot_be_is_refused_at_once),
		cmocka_unit_test(test_arguments_are_checked),
		cmocka_unit_test(test_ram_has_every_right_that_flags_leave),
		cmocka_unit_test(test_eager_memory_and_devices_are_mapped_at_once),
		cmocka_unit_test(test_every_failing_allocation_of_an_add_leaves_no_trace),
		cmocka_unit_test(test_an_eager_rollback_flushes_before_it_gives_back),
		cmocka_unit_test(test_no_map_touches_protected_memory),
		cmocka_unit_test(test_odd_protected_ranges),
		cmocka_unit_test(test_the_hosts_own_refusal_holds),
		cmocka_unit_test(test_remove_gives_back_each_frame_once_after_the_flush),
		cmocka_unit_test(test_remove_takes_whole_regions_only),
		cmocka_unit_test(test_a_provider_without_put_is_not_told),
		cmocka_unit_test(test_remove_cuts_a_raw_mapping_at_the_regions_ends),
		cmocka_unit_test(test_a_remove_that_fails_takes_no_region),
		cmocka_unit_test(test_raw_mappings_need_no_region),
		cmocka_unit_test(test_a_raw_unmap_leaves_the_frame_to_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
