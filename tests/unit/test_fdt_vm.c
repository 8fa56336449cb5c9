/* SPDX-License-Identifier: MIT */
/*
 * A VM's layout from a device tree, and a guest's memory nodes from a VM.
 */
#include "fdt_tree.h"
#include "vm_host.h"

static struct tree t;
static struct vmt v;

/* What the policy was asked, and what it answers. */
static struct {
	unsigned asked;
	char compatible[64][40];
	struct nest_range reg[64];
	const char *pick; /* compatible of what is wanted; NULL: everything */
	enum nest_fdt_action action;
	nest_attr_t attr; /* if not 0 */
	void *cookie;
} policy_log;

static enum nest_fdt_action choose(void *ctx, const void *fdt, int node, const char *compatible,
				   const struct nest_range *reg, nest_attr_t *attr, void **cookie)
{
	unsigned n = policy_log.asked++;

	CHECK(ctx == &v && fdt == t.blob);
	CHECK_EQ(fdt_node_check_compatible(fdt, node, compatible), 0);
	CHECK_EQ(*attr, NEST_R | NEST_W | NEST_MT_DEVICE);
	CHECK(n < 64);
	snprintf(policy_log.compatible[n], 40, "%s", compatible);
	policy_log.reg[n] = *reg;
	if (policy_log.attr)
		*attr = policy_log.attr;
	*cookie = policy_log.cookie;
	if (policy_log.pick && strcmp(policy_log.pick, compatible) != 0)
		return NEST_FDT_SKIP;
	return policy_log.action;
}

static struct nest_fdt_policy policy_of(enum nest_fdt_action action, const char *pick)
{
	struct nest_fdt_policy p = { .ram = { .hpa = 0x123 }, .device = choose, .ctx = &v };

	memset(&policy_log, 0, sizeof(policy_log));
	policy_log.action = action;
	policy_log.pick = pick;
	return p;
}

static int layout(const struct nest_fdt_policy *p)
{
	vmt_mark(&v);
	return nest_vm_from_fdt(&v.vm, t.blob, p);
}

static void check_region(unsigned i, enum nest_region_type type, uint64_t gpa, uint64_t size)
{
	CHECK(i < v.vm.nr_regions);
	CHECK_EQ(v.regions[i].type, type);
	CHECK_EQ(v.regions[i].gpa, gpa);
	CHECK_EQ(v.regions[i].size, size);
}

static void check_empty(void)
{
	CHECK_EQ(v.vm.nr_regions, 0);
	CHECK_EQ(v.a.outstanding, v.tables0);
	CHECK_EQ(v.frames_out, 0);
}

/* ---- From a tree ---- */

static void test_a_vm_like_qemus_aarch64_machine(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_DEVICE, "arm,pl011");

	(void)state;
	tree_load(&t, "aarch64-virt-8g");
	vmt_open_named(&v, "aarch64-s2-4k", 0);
	CHECK_OK(layout(&p));
	CHECK_EQ(v.vm.nr_regions, 2);
	check_region(0, NEST_REGION_DEVICE, 0x9000000, 0x1000);
	check_region(1, NEST_REGION_RAM, 0x40000000, 0x200000000);
	CHECK_EQ(vmt_at(&v, 0x9000018).pa, 0x9000018);
	CHECK_EQ(vmt_at(&v, 0x9000018).attr, NEST_RW | NEST_MT_DEVICE);
	/* RAM is mapped one to one, whatever the policy's hpa. */
	CHECK_EQ(vmt_fault(&v, 0x123456789, NEST_W).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(&v, 0x123456789).pa, 0x123456789);
	CHECK_RC(layout(&p), NEST_E_MAPPED);
	CHECK_EQ(v.vm.nr_regions, 2);
	vmt_close(&v);
}

static void test_virtio_slots_share_pages(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_MMIO, "virtio,mmio");
	unsigned virtio = 0;

	(void)state;
	/* 32 slots of 512 bytes at 0xa000000: four pages. */
	tree_load(&t, "aarch64-virt");
	vmt_open_named(&v, "aarch64-s2-4k", 0);
	policy_log.cookie = &v;
	CHECK_OK(layout(&p));
	for (unsigned i = 0; i < policy_log.asked; i++)
		virtio += !strcmp(policy_log.compatible[i], "virtio,mmio");
	CHECK_EQ(virtio, 32);
	CHECK_EQ(v.vm.nr_regions, 5);
	for (unsigned i = 0; i < 4; i++)
		check_region(i, NEST_REGION_MMIO, 0xa000000 + i * 0x1000, 0x1000);
	CHECK(vmt_fault(&v, 0xa003e00, NEST_R).cookie == &v);
	vmt_close(&v);
}

static void test_a_vm_like_qemus_riscv_machine(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_DEVICE, "ns16550a");
	bool flash[2] = { false, false };

	(void)state;
	tree_load(&t, "riscv64-virt");
	vmt_open_named(&v, "riscv-g", NEST_FEAT_PBMT);
	p.ram = v.provider;
	CHECK_OK(layout(&p));
	CHECK_EQ(v.vm.nr_regions, 2);
	check_region(0, NEST_REGION_DEVICE, 0x10000000, 0x1000);
	check_region(1, NEST_REGION_RAM, 0x80000000, 0x40000000);
	CHECK_EQ(vmt_fault(&v, 0x80000000, NEST_X).kind, NEST_EXIT_RESUME);
	CHECK_EQ(v.nr_asked, 1);
	for (unsigned i = 0; i < policy_log.asked; i++) {
		/* Neither cpus nor memory; each range of a reg. */
		CHECK(strcmp(policy_log.compatible[i], "riscv") != 0);
		flash[0] |= policy_log.reg[i].base == 0x20000000;
		flash[1] |= policy_log.reg[i].base == 0x22000000;
	}
	CHECK(flash[0] && flash[1]);
	vmt_close(&v);
}

static void memory_node(uint32_t base, uint32_t size)
{
	tree_node(&t, "memory@m");
	tree_string(&t, "device_type", "memory");
	TREE_CELLS(&t, "reg", 0, base, 0, size);
	tree_end(&t);
}

static void device(const char *compatible, const uint32_t *reg, unsigned n)
{
	tree_node(&t, "device");
	if (compatible)
		tree_string(&t, "compatible", compatible);
	tree_cells(&t, "reg", reg, n);
	tree_end(&t);
}

#define DEVICE(compatible, ...)                                                                    \
	device((compatible), (const uint32_t[]){ __VA_ARGS__ },                                    \
	       sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

static void begin(void)
{
	tree_begin(&t, NULL, 0, 2, 2);
	memory_node(0x40000000, 0x100000);
}

static void bus(const char *compatible, uint32_t address_cells, uint32_t size_cells)
{
	tree_node(&t, "bus");
	tree_string(&t, "compatible", compatible);
	TREE_CELLS(&t, "#address-cells", address_cells);
	TREE_CELLS(&t, "#size-cells", size_cells);
}

static void test_buses_translate(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_SKIP, NULL);

	(void)state;
	begin();
	bus("one", 1, 1);
	TREE_CELLS(&t, "ranges", 0, 1, 0x10000000, 0x10000, /* */ 0x20000, 0, 0x5000000, 0x1000);
	DEVICE("in-first", 0x8000, 0x8000);
	DEVICE("in-second", 0x20800, 0x100);
	DEVICE("over-the-end", 0xf000, 0x2000);
	DEVICE("larger", 0x20000, 0x2000);
	DEVICE("in-none", 0x30000, 0x1000);
	DEVICE("both", 0x30000, 0x1000, /* */ 0x20000, 0x1000);
	bus("inner", 1, 1);
	CHECK_EQ(fdt_property(t.blob, "ranges", NULL, 0), 0);
	DEVICE("nested", 0x100, 0x100);
	DEVICE(NULL, 0x200, 0x100);
	tree_end(&t);
	tree_end(&t);
	bus("no-ranges", 1, 1);
	DEVICE("unseen", 0x100, 0x100);
	tree_end(&t);
	bus("pci", 3, 2);
	TREE_CELLS(&t, "ranges", 0x1000000, 0, 0, 0, 0x3000000, 0, 0x10000);
	DEVICE("function", 0x1000000, 0, 0, 0, 0x100);
	bus("below-pci", 1, 1);
	TREE_CELLS(&t, "ranges", 0, 0x1000000, 0, 0, 0x1000);
	DEVICE("behind-it", 0, 0x100);
	tree_end(&t);
	tree_end(&t);
	bus("i2c", 1, 0);
	DEVICE("sensor", 0x48);
	tree_end(&t);
	tree_node(&t, "off");
	tree_string(&t, "status", "disabled");
	bus("below-off", 2, 2);
	CHECK_EQ(fdt_property(t.blob, "ranges", NULL, 0), 0);
	DEVICE("unpowered", 0, 0x100, 0, 0x100);
	tree_end(&t);
	tree_end(&t);
	DEVICE("last", 0, 0x9000000, 0, 0x1000);
	DEVICE("empty", 0, 0x9000000, 0, 0);
	tree_finish(&t);
	vmt_open_named(&v, "ept", 0);
	CHECK_OK(layout(&p));
	static const struct {
		const char *compatible;
		struct nest_range reg;
	} want[] = {
		{ "in-first", { 0x110008000, 0x8000 } }, { "in-second", { 0x5000800, 0x100 } },
		{ "both", { 0x5000000, 0x1000 } },       { "nested", { 0x110000100, 0x100 } },
		{ "last", { 0x9000000, 0x1000 } },
	};
	CHECK_EQ(policy_log.asked, 5);
	for (unsigned i = 0; i < 5; i++) {
		CHECK(!strcmp(policy_log.compatible[i], want[i].compatible));
		CHECK_EQ(policy_log.reg[i].base, want[i].reg.base);
		CHECK_EQ(policy_log.reg[i].size, want[i].reg.size);
	}
	vmt_close(&v);
}

static void test_memory_and_reservations_are_no_devices(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_DEVICE, NULL);

	(void)state;
	tree_begin(&t, NULL, 0, 2, 2);
	tree_string(&t, "compatible", "a-machine");
	tree_node(&t, "memory@0");
	tree_string(&t, "device_type", "memory");
	tree_string(&t, "compatible", "some-dram");
	TREE_CELLS(&t, "reg", 0, 0x40000000, 0, 0x100800);
	tree_end(&t);
	tree_node(&t, "reserved-memory");
	TREE_CELLS(&t, "#address-cells", 2);
	TREE_CELLS(&t, "#size-cells", 2);
	DEVICE("shared-dma-pool", 0, 0x40080000, 0, 0x1800);
	tree_end(&t);
	tree_finish(&t);
	vmt_open_named(&v, "ept", 0);
	p.ram_flags = NEST_VM_EAGER | NEST_VM_NOEXEC;
	CHECK_OK(layout(&p));
	CHECK_EQ(policy_log.asked, 0);
	CHECK_EQ(v.vm.nr_regions, 2);
	check_region(0, NEST_REGION_RAM, 0x40000000, 0x80000);
	check_region(1, NEST_REGION_RAM, 0x40082000, 0x7e000);
	CHECK_EQ(vmt_at(&v, 0x40082000).attr, NEST_RW | NEST_MT_WB);
	vmt_close(&v);
	/* Nobody to ask: RAM alone. */
	p = (struct nest_fdt_policy){ .device = NULL };
	tree_load(&t, "riscv64-virt");
	vmt_open_named(&v, "ept", 0);
	CHECK_OK(layout(&p));
	CHECK_EQ(v.vm.nr_regions, 1);
	vmt_close(&v);
}

static void test_devices_are_widened_and_joined(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_DEVICE, NULL);

	(void)state;
	begin();
	DEVICE("a", 0, 0x1000800, 0, 0x1000);
	DEVICE("b", 0, 0x1003000, 0, 0x10);
	DEVICE("inside", 0, 0x1001000, 0, 4);
	DEVICE("over-both", 0, 0x1001f00, 0, 0x1101);
	DEVICE("neighbour", 0, 0x1004000, 0, 1);
	tree_finish(&t);
	vmt_open_named(&v, "ept", 0);
	CHECK_OK(layout(&p));
	CHECK_EQ(v.vm.nr_regions, 3);
	check_region(0, NEST_REGION_DEVICE, 0x1000000, 0x4000);
	check_region(1, NEST_REGION_DEVICE, 0x1004000, 0x1000);
	CHECK_EQ(vmt_at(&v, 0x1003fff).pa, 0x1003fff);
	CHECK_EQ(vmt_at(&v, 0x1001000).pa, 0x1001000);
	vmt_close(&v);
}

static enum nest_fdt_action alternate(void *ctx, const void *fdt, int node, const char *compatible,
				      const struct nest_range *reg, nest_attr_t *attr,
				      void **cookie)
{
	(void)fdt;
	(void)node;
	(void)reg;
	(void)ctx;
	if (!strcmp(compatible, "wc"))
		*attr = NEST_RW | NEST_MT_WC;
	*cookie = !strcmp(compatible, "mmio2") ? &v : NULL;
	return compatible[0] == 'm' ? NEST_FDT_MMIO : NEST_FDT_DEVICE;
}

static void test_devices_that_are_not_alike_conflict(void **state)
{
	static const char *const pair[][2] = { { "dev", "mmio" },
					       { "dev", "wc" },
					       { "mmio", "mmio2" } };
	struct nest_fdt_policy p = { .device = alternate };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		begin();
		DEVICE(pair[i][0], 0, 0x1000000, 0, 0x800);
		DEVICE(pair[i][1], 0, 0x1000800, 0, 0x800);
		tree_finish(&t);
		vmt_open_named(&v, "ept", 0);
		CHECK_RC(layout(&p), NEST_E_MAPPED);
		CHECK_EQ(nest_vm_last_conflict(&v.vm)->existing.base, 0x1000000);
		check_empty();
		vmt_close(&v);
	}
}

static void refuse_layout(const struct nest_fdt_policy *p, int rc)
{
	vmt_open_named(&v, "ept", 0);
	v.unflushed_ok = true;
	CHECK_RC(layout(p), rc);
	check_empty();
	vmt_close(&v);
}

static void test_an_error_leaves_an_empty_vm(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_DEVICE, NULL);

	(void)state;
	/* A device over RAM. */
	begin();
	DEVICE("a", 0, 0x1000000, 0, 0x1000);
	DEVICE("b", 0, 0x40000000, 0, 0x1000);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_MAPPED);
	/* RAM beyond the guest's addresses; a device that wraps, or whose bus does. */
	tree_begin(&t, NULL, 0, 2, 2);
	tree_node(&t, "memory");
	tree_string(&t, "device_type", "memory");
	TREE_CELLS(&t, "reg", 0, 0, 0, 0x10000, 0x10000, 0, 0, 0x10000);
	tree_end(&t);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_RANGE);
	begin();
	DEVICE("a", 0xffffffff, 0xfffff000, 0, 0x2000);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_RANGE);
	begin();
	bus("bus", 2, 2);
	TREE_CELLS(&t, "ranges", 0, 0, 0xffffffff, 0xfffff000, 0, 0x10000);
	DEVICE("a", 0, 0, 0, 0x2000);
	tree_end(&t);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_RANGE);
	/* More devices than regions. */
	begin();
	for (uint32_t i = 0; i < VMT_REGIONS; i++)
		DEVICE("a", 0, i * 0x2000, 0, 0x1000);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_NOMEM);
	/* An attribute that cannot be, an answer that is none. */
	begin();
	DEVICE("a", 0, 0, 0, 0x1000);
	tree_finish(&t);
	policy_log.attr = NEST_W;
	refuse_layout(&p, NEST_E_UNSUPPORTED);
	policy_log.attr = 0;
	policy_log.action = (enum nest_fdt_action)7;
	refuse_layout(&p, NEST_E_INVAL);
	policy_log.action = NEST_FDT_SKIP;
	p.ram_flags = 0x100;
	refuse_layout(&p, NEST_E_INVAL);
}

static void test_malformed_devices(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_SKIP, NULL);

	(void)state;
	begin();
	DEVICE("a", 0, 0, 0);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_INVAL);
	begin();
	bus("b", 9, 1);
	CHECK_EQ(fdt_property(t.blob, "ranges", NULL, 0), 0);
	DEVICE("a", 0, 0);
	tree_end(&t);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_INVAL);
	begin();
	bus("b", 1, 1);
	TREE_CELLS(&t, "ranges", 0, 0, 0);
	DEVICE("a", 0, 0x1000);
	tree_end(&t);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_INVAL);
	begin();
	tree_node(&t, "device");
	CHECK_EQ(fdt_property(t.blob, "compatible", "abc", 3), 0);
	TREE_CELLS(&t, "reg", 0, 0, 0, 0x1000);
	tree_end(&t);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_INVAL);
	begin();
	for (unsigned i = 0; i < 40; i++)
		tree_node(&t, "n");
	for (unsigned i = 0; i < 40; i++)
		tree_end(&t);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_INVAL);
	tree_begin(&t, NULL, 0, 2, 2);
	tree_finish(&t);
	refuse_layout(&p, NEST_E_NOTMAPPED);
	/* NULL, and no tree. */
	begin();
	tree_finish(&t);
	refuse_layout(NULL, NEST_E_INVAL);
	CHECK_RC(nest_vm_from_fdt(NULL, t.blob, &p), NEST_E_INVAL);
	vmt_open_named(&v, "ept", 0);
	CHECK_RC(nest_vm_from_fdt(&v.vm, NULL, &p), NEST_E_INVAL);
	CHECK_RC(nest_fdt_check(t.blob, tree_len(&t) - 1), NEST_E_INVAL);
	vmt_close(&v);
}

static void test_every_failing_allocation_of_a_layout_leaves_nothing(void **state)
{
	struct nest_fdt_policy p = policy_of(NEST_FDT_DEVICE, NULL);
	unsigned n;

	(void)state;
	begin();
	memory_node(0x50000000, 0x3000);
	DEVICE("a", 0, 0x1000800, 0, 0x1000);
	DEVICE("b", 0, 0x1001fff, 0, 0x10);
	tree_finish(&t);
	for (n = 1; n < 500; n++) {
		int rc;

		vmt_open_named(&v, "ept", 0);
		v.unflushed_ok = true;
		p.ram = v.provider;
		p.ram_flags = NEST_VM_EAGER;
		policy_log.asked = 0;
		arena_fail(&v.a, n, false);
		rc = layout(&p);
		arena_fail(&v.a, 0, false);
		if (rc) {
			CHECK_RC(rc, NEST_E_NOMEM);
			check_empty();
		}
		vmt_close(&v);
		if (!rc)
			break;
	}
	/* 0x103 frames and at least a table for each 2 MiB that is touched. */
	CHECK(n > 0x103 + 3 && n < 500);
}

static enum nest_fdt_action want_all(void *ctx, const void *fdt, int node, const char *compatible,
				     const struct nest_range *reg, nest_attr_t *attr, void **cookie)
{
	(void)ctx;
	(void)fdt;
	(void)node;
	(void)attr;
	(void)cookie;
	CHECK(compatible != NULL && reg->size > 0 && reg->base + (reg->size - 1) >= reg->base);
	return NEST_FDT_MMIO;
}

static void test_a_layout_from_any_wrong_byte(void **state)
{
	struct nest_fdt_policy p = { .device = want_all };
	size_t len;

	(void)state;
	begin();
	bus("bus", 1, 1);
	TREE_CELLS(&t, "ranges", 0, 0, 0x1000000, 0x100000);
	DEVICE("a", 0x1000, 0x800);
	DEVICE("b", 0x1800, 0x2000);
	tree_end(&t);
	tree_finish(&t);
	len = tree_len(&t);
	vmt_open_named(&v, "ept", 0);
	for (size_t at = 0; at < len; at++) {
		static const uint8_t flip[] = { 0x01, 0x80, 0xff, 0x02 };

		for (unsigned i = 0; i < sizeof(flip); i++) {
			t.blob[at] ^= flip[i];
			vmt_mark(&v);
			if (nest_fdt_check(t.blob, len) || nest_vm_from_fdt(&v.vm, t.blob, &p))
				check_empty();
			else if (v.vm.nr_regions)
				CHECK_OK(nest_vm_remove(&v.vm, 0, (uint64_t)1 << v.c.ia_bits, 0));
			t.blob[at] ^= flip[i];
		}
	}
	vmt_close(&v);
}

/* ---- Into a tree ---- */

static uint8_t before[TREE_SIZE];

static void open_with_room(size_t room)
{
	CHECK_EQ(fdt_open_into(t.blob, t.blob, (int)(tree_len(&t) + room)), 0);
	memcpy(before, t.blob, tree_len(&t));
}

static int add_memory(void)
{
	return nest_fdt_add_memory(t.blob, &v.vm);
}

static void refuse_add(int rc)
{
	CHECK_RC(add_memory(), rc);
	CHECK(!memcmp(before, t.blob, tree_len(&t)));
}

static void open_vm(void)
{
	vmt_open_named(&v, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&v.vm, 0x40000000, 0x8000000, &v.provider, 0));
	CHECK_OK(nest_vm_add_ram(&v.vm, 0x123456000, 0x300000000, &v.provider, 0));
	CHECK_OK(nest_vm_add_ram(&v.vm, 0, 0x10000, &v.provider, NEST_VM_READONLY));
	CHECK_OK(nest_vm_add_mmio(&v.vm, 0x9000000, 0x1000, NULL));
}

static void test_ram_is_written_as_memory_nodes(void **state)
{
	struct nest_range out[4];
	unsigned count = 4;

	(void)state;
	tree_load(&t, "aarch64-virt");
	open_with_room(1024);
	open_vm();
	for (unsigned again = 0; again < 2; again++) {
		CHECK_OK(add_memory());
		CHECK_EQ(fdt_check_full(t.blob, tree_len(&t)), 0);
		count = 4;
		CHECK_OK(nest_fdt_memory(t.blob, 4096, out, &count));
		CHECK_EQ(count, 2);
		CHECK_EQ(out[0].base, 0x40000000);
		CHECK_EQ(out[0].size, 0x8000000);
		CHECK_EQ(out[1].base, 0x123456000);
		CHECK_EQ(out[1].size, 0x300000000);
	}
	CHECK(fdt_path_offset(t.blob, "/memory@40000000") > 0);
	CHECK(fdt_path_offset(t.blob, "/memory@123456000") >
	      fdt_path_offset(t.blob, "/memory@40000000"));
	CHECK(fdt_path_offset(t.blob, "/pl011@9000000") > 0);
	vmt_close(&v);
}

static void test_a_vm_without_ram_leaves_no_memory_node(void **state)
{
	struct nest_range out[4];
	unsigned count = 4;

	(void)state;
	tree_load(&t, "aarch64-virt");
	open_with_room(64);
	vmt_open_named(&v, "ept", 0);
	CHECK_OK(add_memory());
	CHECK_RC(nest_fdt_memory(t.blob, 4096, out, &count), NEST_E_NOTMAPPED);
	CHECK_OK(nest_vm_add_ram(&v.vm, 0, 0x1000, &v.provider, 0));
	CHECK_OK(add_memory());
	CHECK(fdt_path_offset(t.blob, "/memory@0") > 0);
	vmt_close(&v);
}

static void test_without_room_the_guests_tree_is_unchanged(void **state)
{
	size_t room;
	int rc = -1;

	(void)state;
	open_vm();
	for (room = 0; rc && room < 512; room += 4) {
		tree_load(&t, "aarch64-virt");
		open_with_room(room);
		rc = add_memory();
		if (!rc)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		CHECK(!memcmp(before, t.blob, tree_len(&t)));
	}
	/* It replaces one node by two. */
	CHECK(room > 60 && room < 160);
	vmt_close(&v);
}

static void test_addresses_must_fit_the_roots_cells(void **state)
{
	static const struct {
		uint32_t address, size;
		uint64_t gpa, len;
		int rc;
	} cases[] = {
		{ 1, 1, 0xfffff000, 0x1000, NEST_OK },  { 1, 1, 0x100000000, 0x1000, NEST_E_RANGE },
		{ 1, 1, 0, 0x100000000, NEST_E_RANGE }, { 1, 2, 0, 0x100000000, NEST_OK },
		{ 2, 1, 0x100000000, 0x1000, NEST_OK }, { 3, 3, 0x100000000, 0x100000000, NEST_OK },
		{ 2, 0, 0x1000, 0x1000, NEST_E_RANGE }, { 9, 1, 0x1000, 0x1000, NEST_E_INVAL },
		{ 1, 9, 0x1000, 0x1000, NEST_E_INVAL }
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const fdt32_t *reg;
		int len, node;

		tree_begin(&t, NULL, 0, cases[i].address, cases[i].size);
		tree_finish(&t);
		open_with_room(512);
		vmt_open_named(&v, "ept", 0);
		CHECK_OK(nest_vm_add_ram(&v.vm, cases[i].gpa, cases[i].len, &v.provider, 0));
		if (cases[i].rc) {
			refuse_add(cases[i].rc);
		} else {
			CHECK_OK(add_memory());
			node = fdt_first_subnode(t.blob, 0);
			reg = fdt_getprop(t.blob, node, "reg", &len);
			CHECK_EQ(len, 4 * (cases[i].address + cases[i].size));
			CHECK_EQ(fdt32_ld(&reg[cases[i].address - 1]), (uint32_t)cases[i].gpa);
			CHECK_EQ(fdt32_ld(&reg[cases[i].address + cases[i].size - 1]),
				 (uint32_t)cases[i].len);
			if (cases[i].address > 1)
				CHECK_EQ(fdt32_ld(&reg[cases[i].address - 2]), 1);
			if (cases[i].address > 2)
				CHECK_EQ(fdt32_ld(&reg[0]), 0);
		}
		vmt_close(&v);
	}
}

static void test_trees_that_cannot_be_written(void **state)
{
	(void)state;
	open_vm();
	/* Another node has the name. */
	tree_begin(&t, NULL, 0, 2, 2);
	tree_node(&t, "memory@40000000");
	tree_end(&t);
	tree_finish(&t);
	open_with_room(512);
	refuse_add(NEST_E_INVAL);
	/* A version that libfdt reads only. */
	tree_load(&t, "aarch64-virt");
	open_with_room(512);
	fdt_set_version(t.blob, 16);
	memcpy(before, t.blob, tree_len(&t));
	refuse_add(NEST_E_INVAL);
	/* No root at all. */
	CHECK_EQ(fdt_create(t.blob, 1024), 0);
	CHECK_EQ(fdt_finish_reservemap(t.blob), 0);
	CHECK_EQ(fdt_finish(t.blob), 0);
	open_with_room(512);
	refuse_add(NEST_E_INVAL);
	CHECK_RC(nest_fdt_add_memory(NULL, &v.vm), NEST_E_INVAL);
	tree_load(&t, "aarch64-virt");
	open_with_room(512);
	CHECK_RC(nest_fdt_add_memory(t.blob, NULL), NEST_E_INVAL);
	CHECK(!memcmp(before, t.blob, tree_len(&t)));
	vmt_close(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_vm_like_qemus_aarch64_machine),
		cmocka_unit_test(test_virtio_slots_share_pages),
		cmocka_unit_test(test_a_vm_like_qemus_riscv_machine),
		cmocka_unit_test(test_buses_translate),
		cmocka_unit_test(test_memory_and_reservations_are_no_devices),
		cmocka_unit_test(test_devices_are_widened_and_joined),
		cmocka_unit_test(test_devices_that_are_not_alike_conflict),
		cmocka_unit_test(test_an_error_leaves_an_empty_vm),
		cmocka_unit_test(test_malformed_devices),
		cmocka_unit_test(test_every_failing_allocation_of_a_layout_leaves_nothing),
		cmocka_unit_test(test_a_layout_from_any_wrong_byte),
		cmocka_unit_test(test_ram_is_written_as_memory_nodes),
		cmocka_unit_test(test_a_vm_without_ram_leaves_no_memory_node),
		cmocka_unit_test(test_without_room_the_guests_tree_is_unchanged),
		cmocka_unit_test(test_addresses_must_fit_the_roots_cells),
		cmocka_unit_test(test_trees_that_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
