/* SPDX-License-Identifier: MIT */
/*
 * What a device tree says of memory and CPUs: as QEMU prints it, as written here, and malformed.
 */
#include "fdt_tree.h"

static struct tree t;

enum { PAGE = 4096, ROOM = 16 };

static int memory(uint64_t align, struct nest_range *out, unsigned *count)
{
	*count = ROOM;
	memset(out, 0xee, ROOM * sizeof(*out));
	return nest_fdt_memory(t.blob, align, out, count);
}

static void check_memory(uint64_t align, const struct nest_range *want, unsigned n)
{
	struct nest_range out[ROOM];
	unsigned count;

	CHECK_OK(memory(align, out, &count));
	CHECK_EQ(count, n);
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(out[i].base, want[i].base);
		CHECK_EQ(out[i].size, want[i].size);
	}
}

#define CHECK_MEMORY(align, ...)                                                                   \
	check_memory((align), (const struct nest_range[]){ __VA_ARGS__ },                          \
		     sizeof((const struct nest_range[]){ __VA_ARGS__ }) /                          \
			     sizeof(struct nest_range))

static void refuse_memory(int rc)
{
	struct nest_range out[ROOM];
	unsigned count;

	CHECK_RC(memory(PAGE, out, &count), rc);
}

static void memory_node(const char *name, const uint32_t *cell, unsigned n)
{
	tree_node(&t, name);
	tree_string(&t, "device_type", "memory");
	tree_cells(&t, "reg", cell, n);
	tree_end(&t);
}

#define MEMORY_NODE(name, ...)                                                                     \
	memory_node((name), (const uint32_t[]){ __VA_ARGS__ },                                     \
		    sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

/* ---- QEMU's ---- */

static void test_qemu_memory(void **state)
{
	(void)state;
	tree_load(&t, "aarch64-virt");
	CHECK_MEMORY(PAGE, { 0x40000000, 0x40000000 });
	tree_load(&t, "aarch64-virt-8g");
	CHECK_MEMORY(PAGE, { 0x40000000, 0x200000000 });
	tree_load(&t, "riscv64-virt");
	CHECK_MEMORY(PAGE, { 0x80000000, 0x40000000 });
	tree_load(&t, "riscv64-virt-8g");
	CHECK_MEMORY(PAGE, { 0x80000000, 0x200000000 });
}

static void test_qemu_mmu_type(void **state)
{
	int bits;

	(void)state;
	tree_load(&t, "riscv64-virt");
	bits = nest_fdt_riscv_mmu(t.blob);
	CHECK(bits == 48 || bits == 57); /* by QEMU's age */
	tree_load(&t, "aarch64-virt");
	CHECK_RC(nest_fdt_riscv_mmu(t.blob), NEST_E_NOTMAPPED);
}

/* ---- Memory ---- */

static void test_banks_are_sorted_and_joined(void **state)
{
	(void)state;
	tree_begin(&t, NULL, 0, 2, 2);
	MEMORY_NODE("memory@3", 3, 0, 0, 0x10000, /* */ 1, 0x10000, 0, 0x10000);
	MEMORY_NODE("memory@1", 1, 0, 0, 0x10000, /* */ 0, 0, 0, 0);
	MEMORY_NODE("memory@10018000", 1, 0x18000, 0, 0x10000); /* overlaps */
	MEMORY_NODE("memory@0", 0, 0, 0, 0x8000);
	/* Not memory: no device_type, or not below the root. */
	tree_node(&t, "memory@5");
	TREE_CELLS(&t, "reg", 5, 0, 0, 0x10000);
	memory_node("memory@6", (const uint32_t[]){ 6, 0, 0, 0x10000 }, 4);
	tree_end(&t);
	tree_finish(&t);
	CHECK_MEMORY(PAGE, { 0, 0x8000 }, { 0x100000000, 0x28000 }, { 0x300000000, 0x10000 });
	CHECK_MEMORY(0x10000, { 0x100000000, 0x20000 }, { 0x300000000, 0x10000 });
	CHECK_MEMORY(1, { 0, 0x8000 }, { 0x100000000, 0x28000 }, { 0x300000000, 0x10000 });
}

static void test_one_cell_addresses(void **state)
{
	(void)state;
	tree_begin(&t, NULL, 0, 1, 1);
	MEMORY_NODE("memory@80000000", 0x80000000, 0x7ffff800, 0x1000, 0x1800);
	tree_finish(&t);
	CHECK_MEMORY(PAGE, { 0x1000, 0x1000 }, { 0x80000000, 0x7ffff000 });
	CHECK_MEMORY(0x800, { 0x1000, 0x1800 }, { 0x80000000, 0x7ffff800 });
}

static void reserved_node(const char *name, uint64_t base, uint64_t size, const char *status)
{
	tree_node(&t, name);
	TREE_CELLS(&t, "reg", (uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(size >> 32),
		   (uint32_t)size);
	if (status)
		tree_string(&t, "status", status);
	tree_end(&t);
}

static void reserved_tree(const char *ranges)
{
	static const struct nest_range rsv[] = { { 0x40000000, 0x1000 }, { 0x48000000, 0x800 } };

	tree_begin(&t, rsv, 2, 2, 2);
	MEMORY_NODE("memory@40000000", 0, 0x40000000, 0, 0x10000000);
	tree_node(&t, "reserved-memory");
	TREE_CELLS(&t, "#address-cells", 2);
	TREE_CELLS(&t, "#size-cells", 2);
	if (ranges)
		CHECK_EQ(fdt_property(t.blob, ranges, NULL, 0), 0);
	reserved_node("a@44001000", 0x44001000, 0x1000, NULL);
	reserved_node("b@44000000", 0x44000000, 0x1000, "okay"); /* before a, and next to it */
	reserved_node("c@45000000", 0x45000000, 0x100000, "disabled");
	reserved_node("d@4ffff000", 0x4ffff000, 0x2000, "ok"); /* over the end */
	reserved_node("e@70000000", 0x70000000, 0x1000, NULL); /* elsewhere */
	reserved_node("f@46000000", 0x46000000, 0, NULL);
	tree_node(&t, "dynamic");
	TREE_CELLS(&t, "size", 0, 0x100000);
	tree_end(&t);
	tree_end(&t);
	tree_finish(&t);
}

static void test_reservations_are_left_out(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		reserved_tree(i ? "ranges" : NULL);
		CHECK_MEMORY(PAGE, { 0x40001000, 0x3fff000 }, { 0x44002000, 0x3ffe000 },
			     { 0x48001000, 0x7ffe000 });
		/* Whole larger pages only. */
		CHECK_MEMORY(0x2000000, { 0x42000000, 0x2000000 }, { 0x46000000, 0x2000000 },
			     { 0x4a000000, 0x4000000 });
	}
}

static void test_memory_may_be_reserved_entirely(void **state)
{
	static const struct nest_range rsv[] = { { 0, ~(uint64_t)0 } };
	struct nest_range out[ROOM];
	unsigned count;

	(void)state;
	tree_begin(&t, rsv, 1, 2, 2);
	MEMORY_NODE("memory@0", 0, 0x1000, 0, 0x10000);
	MEMORY_NODE("memory@1", 0xffffffff, 0xffff0000, 0, 0x10000);
	tree_finish(&t);
	CHECK_OK(memory(PAGE, out, &count));
	CHECK_EQ(count, 0);
}

static void test_memory_up_to_the_very_top(void **state)
{
	static const struct nest_range rsv[] = { { ~(uint64_t)0 - 0xfff, 0x1000 } };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		tree_begin(&t, rsv, i, 2, 2);
		MEMORY_NODE("memory@f", 0xffffffff, 0xfffe0000, 0, 0x20000);
		tree_finish(&t);
		CHECK_MEMORY(PAGE, { 0xfffffffffffe0000, i ? 0x1f000 : 0x20000 });
	}
	/* All 2^64 bytes are no range; nor does one wrap. */
	tree_begin(&t, NULL, 0, 2, 2);
	MEMORY_NODE("memory@0", 0, 0, 0x80000000, 0, /* */ 0x80000000, 0, 0x80000000, 0);
	tree_finish(&t);
	refuse_memory(NEST_E_RANGE);
	tree_begin(&t, NULL, 0, 2, 2);
	MEMORY_NODE("memory@f", 0xffffffff, 0xffff0000, 0, 0x10001);
	tree_finish(&t);
	refuse_memory(NEST_E_RANGE);
	tree_begin(&t, (const struct nest_range[]){ { ~(uint64_t)0, 2 } }, 1, 2, 2);
	MEMORY_NODE("memory@0", 0, 0, 0, 0x10000);
	tree_finish(&t);
	refuse_memory(NEST_E_RANGE);
}

static void test_disabled_memory_is_none(void **state)
{
	(void)state;
	tree_begin(&t, NULL, 0, 2, 2);
	tree_node(&t, "memory@0");
	tree_string(&t, "device_type", "memory");
	TREE_CELLS(&t, "reg", 0, 0, 0, 0x10000);
	tree_string(&t, "status", "disabled");
	tree_end(&t);
	tree_finish(&t);
	refuse_memory(NEST_E_NOTMAPPED);
	tree_begin(&t, NULL, 0, 2, 2);
	tree_finish(&t);
	refuse_memory(NEST_E_NOTMAPPED);
}

/* As for fdt_getprop(): the first property of a name, and none behind a child. */
static void test_the_first_property_of_a_name_counts(void **state)
{
	(void)state;
	tree_begin(&t, NULL, 0, 2, 2);
	TREE_CELLS(&t, "#size-cells", 1);
	tree_node(&t, "memory");
	TREE_CELLS(&t, "reg", 0, 0x10000, 0, 0x1000);
	TREE_CELLS(&t, "reg", 0, 0x20000, 0, 0x1000);
	tree_string(&t, "device_type", "memory");
	tree_string(&t, "device_type", "other");
	tree_string(&t, "status", "okay");
	tree_string(&t, "status", "disabled");
	tree_end(&t);
	tree_node(&t, "memory@1");
	tree_string(&t, "device_type", "memory");
	tree_node(&t, "child");
	TREE_CELLS(&t, "reg", 0, 0x30000, 0, 0x1000);
	tree_end(&t);
	TREE_CELLS(&t, "reg", 0, 0x40000, 0, 0x1000);
	tree_end(&t);
	tree_finish(&t);
	CHECK_MEMORY(PAGE, { 0x10000, 0x1000 });
}

static void test_room_and_arguments(void **state)
{
	struct nest_range out[ROOM];
	unsigned count = 2;

	(void)state;
	reserved_tree("ranges");
	CHECK_RC(nest_fdt_memory(t.blob, PAGE, out, &count), NEST_E_NOMEM);
	CHECK_EQ(count, 2);
	CHECK_EQ(out[1].base, 0x44002000);
	count = 3;
	CHECK_OK(nest_fdt_memory(t.blob, PAGE, out, &count));
	CHECK_EQ(count, 3);
	count = 0;
	CHECK_RC(nest_fdt_memory(t.blob, PAGE, NULL, &count), NEST_E_NOMEM);
	count = 1;
	CHECK_RC(nest_fdt_memory(t.blob, PAGE, NULL, &count), NEST_E_INVAL);
	CHECK_EQ(count, 0);
	count = 3;
	CHECK_RC(nest_fdt_memory(t.blob, 0, out, &count), NEST_E_INVAL);
	count = 3;
	CHECK_RC(nest_fdt_memory(t.blob, 0x3000, out, &count), NEST_E_INVAL);
	CHECK_RC(nest_fdt_memory(t.blob, PAGE, out, NULL), NEST_E_INVAL);
	CHECK_RC(nest_fdt_memory(NULL, PAGE, out, &count), NEST_E_INVAL);
	/* A blob is 8-byte aligned, by the specification of device trees. */
	memmove(t.blob + 4, t.blob, tree_len(&t));
	CHECK_RC(nest_fdt_memory(t.blob + 4, PAGE, out, &count), NEST_E_INVAL);
}

/* ---- Malformed ---- */

static void test_wild_cells(void **state)
{
	(void)state;
	/*
	 * Three and four cells are legal, but no plain numbers; five are not legal; size-cells 0.
	 */
	for (uint32_t ac = 0; ac < 6; ac++) {
		for (uint32_t sc = 0; sc < 6; sc++) {
			if (ac >= 1 && ac <= 2 && sc >= 1 && sc <= 2)
				continue;
			tree_begin(&t, NULL, 0, ac, sc);
			memory_node("memory@0", (const uint32_t[20]){ 0 }, ac + sc);
			tree_finish(&t);
			refuse_memory(NEST_E_INVAL);
		}
	}
	tree_begin(&t, NULL, 0, 0xffffffff, 0x80000000);
	MEMORY_NODE("memory@0", 0, 0, 0, 0x10000);
	tree_finish(&t);
	refuse_memory(NEST_E_INVAL);
	/* A length that is no multiple of an entry. */
	tree_begin(&t, NULL, 0, 2, 2);
	MEMORY_NODE("memory@0", 0, 0, 0, 0x10000, 0);
	tree_finish(&t);
	refuse_memory(NEST_E_INVAL);
	/* And the same of what is reserved. */
	tree_begin(&t, NULL, 0, 2, 2);
	MEMORY_NODE("memory@0", 0, 0, 0, 0x10000);
	tree_node(&t, "reserved-memory");
	reserved_node("a@0", 0, 0x1000, NULL); /* by default: 2 and 1 cells */
	tree_end(&t);
	tree_finish(&t);
	refuse_memory(NEST_E_INVAL);
}

static void test_a_tree_that_is_too_deep(void **state)
{
	(void)state;
	for (unsigned depth = 31; depth < 34; depth++) {
		tree_begin(&t, NULL, 0, 2, 2);
		MEMORY_NODE("memory@0", 0, 0, 0, 0x10000);
		for (unsigned i = 0; i < depth; i++)
			tree_node(&t, "n");
		for (unsigned i = 0; i < depth; i++)
			tree_end(&t);
		tree_finish(&t);
		if (depth > 31)
			refuse_memory(NEST_E_INVAL);
		else
			CHECK_MEMORY(PAGE, { 0, 0x10000 });
	}
}

/* Exactly `len` bytes, so that the sanitizer sees a read beyond them. */
static void try_bytes(const uint8_t *blob, size_t len, bool truncated)
{
	uint8_t *copy = aligned_alloc(8, (len + 7) & ~(size_t)7 ? (len + 7) & ~(size_t)7 : 8);
	struct nest_range out[ROOM];
	unsigned count = ROOM;
	int rc;

	memcpy(copy, blob, len);
	rc = nest_fdt_check(copy, len);
	CHECK(!truncated || rc == NEST_E_INVAL);
	if (rc || nest_fdt_memory(copy, PAGE, out, &count))
		count = 0;
	CHECK(count <= ROOM);
	for (unsigned i = 0; i < count; i++) {
		CHECK(out[i].size > 0 && !((out[i].base | out[i].size) & (PAGE - 1)));
		CHECK(!i || out[i].base > out[i - 1].base + (out[i - 1].size - 1));
	}
	if (!rc)
		rc = nest_fdt_riscv_mmu(copy);
	CHECK(rc <= 0 || rc == 39 || rc == 48 || rc == 57);
	free(copy);
}

static void test_a_tree_truncated_anywhere(void **state)
{
	(void)state;
	for (unsigned tree = 0; tree < 2; tree++) {
		tree_load(&t, tree ? "riscv64-virt" : "aarch64-virt");
		for (size_t len = 0; len < tree_len(&t); len++)
			try_bytes(t.blob, len, true);
		try_bytes(t.blob, tree_len(&t), false);
	}
}

/* Found by fuzz_fdt: the name of a root without one was followed. */
static void test_a_tree_of_before_version_16_is_refused(void **state)
{
	(void)state;
	tree_load(&t, "riscv64-virt");
	for (uint32_t version = 0; version < 16; version++) {
		fdt_set_version(t.blob, version);
		fdt_set_last_comp_version(t.blob, version);
		CHECK_RC(nest_fdt_check(t.blob, tree_len(&t)), NEST_E_INVAL);
	}
	fdt_set_version(t.blob, 16);
	CHECK_OK(nest_fdt_check(t.blob, tree_len(&t)));
}

/* Found by fuzz_fdt: the next tag after this property is the property. */
static void test_a_property_that_leads_back_is_refused(void **state)
{
	int node, offset, len;

	(void)state;
	tree_load(&t, "riscv64-virt");
	node = fdt_path_offset(t.blob, "/memory@80000000");
	CHECK(node > 0);
	for (offset = fdt_first_property_offset(t.blob, node); offset >= 0;
	     offset = fdt_next_property_offset(t.blob, offset)) {
		struct fdt_property *p = fdt_offset_ptr_w(t.blob, offset, sizeof(*p));
		const fdt32_t right = p->len;

		/* Back by 12 bytes, which are the property's own; or by more. */
		for (len = -12; len > -offset; len -= 4) {
			p->len = cpu_to_fdt32((uint32_t)len);
			CHECK_RC(nest_fdt_check(t.blob, tree_len(&t)), NEST_E_INVAL);
		}
		p->len = right;
	}
	CHECK_OK(nest_fdt_check(t.blob, tree_len(&t)));
}

static void test_a_tree_with_any_byte_wrong(void **state)
{
	static const uint8_t wrong[] = { 0x00, 0xff, 0x80, 0x01 };

	(void)state;
	for (unsigned tree = 0; tree < 2; tree++) {
		if (tree)
			tree_load(&t, "riscv64-virt");
		else
			reserved_tree("ranges");
		for (size_t at = 0; at < tree_len(&t); at++) {
			uint8_t right = t.blob[at];
			size_t len = tree_len(&t);

			for (unsigned i = 0; i < sizeof(wrong); i++) {
				t.blob[at] = i == 3 ? right ^ 1 : wrong[i];
				try_bytes(t.blob, len, false);
			}
			t.blob[at] = right;
		}
	}
}

static void test_random_bytes(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		size_t len;

		if (round % 100 == 0)
			reserved_tree("ranges");
		len = tree_len(&t);
		if (len > TREE_SIZE)
			len = TREE_SIZE;
		t.blob[rnd(&seed) % len] = (uint8_t)rnd(&seed);
		try_bytes(t.blob, len, false);
	}
}

/* ---- CPUs ---- */

static void cpu(const char *type, const char *mmu, const char *status)
{
	tree_node(&t, "cpu");
	if (type)
		tree_string(&t, "device_type", type);
	if (mmu)
		tree_string(&t, "mmu-type", mmu);
	if (status)
		tree_string(&t, "status", status);
	tree_end(&t);
}

static void check_mmu(const char *a, const char *b, int want)
{
	tree_begin(&t, NULL, 0, 2, 2);
	tree_node(&t, "cpus");
	cpu("cpu", a, NULL);
	cpu("cpu", "riscv,sv32", "disabled");
	cpu(NULL, "riscv,sv39", NULL);
	cpu("cpu", b, "okay");
	tree_end(&t);
	tree_node(&t, "other");
	cpu("cpu", "riscv,sv39", NULL);
	tree_end(&t);
	tree_finish(&t);
	CHECK_RC(nest_fdt_riscv_mmu(t.blob), want);
}

static void test_the_smallest_mmu_type_counts(void **state)
{
	(void)state;
	check_mmu("riscv,sv39", "riscv,sv57", 39);
	check_mmu("riscv,sv57", "riscv,sv48", 48);
	check_mmu("riscv,sv57", "riscv,sv57", 57);
	check_mmu(NULL, "riscv,sv48", 48);
	check_mmu(NULL, NULL, NEST_E_NOTMAPPED);
	check_mmu("riscv,sv48", "riscv,none", NEST_E_UNSUPPORTED);
	check_mmu("riscv,sv32", "riscv,sv48", NEST_E_UNSUPPORTED);
	check_mmu("riscv,sv480", "riscv,sv48", NEST_E_UNSUPPORTED);
	CHECK_RC(nest_fdt_riscv_mmu(NULL), NEST_E_INVAL);
	/* Too deep to be a tree at all. */
	tree_begin(&t, NULL, 0, 2, 2);
	for (unsigned i = 0; i < 40; i++)
		tree_node(&t, "n");
	for (unsigned i = 0; i < 40; i++)
		tree_end(&t);
	tree_finish(&t);
	CHECK_RC(nest_fdt_riscv_mmu(t.blob), NEST_E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qemu_memory),
		cmocka_unit_test(test_qemu_mmu_type),
		cmocka_unit_test(test_banks_are_sorted_and_joined),
		cmocka_unit_test(test_one_cell_addresses),
		cmocka_unit_test(test_reservations_are_left_out),
		cmocka_unit_test(test_memory_may_be_reserved_entirely),
		cmocka_unit_test(test_memory_up_to_the_very_top),
		cmocka_unit_test(test_disabled_memory_is_none),
		cmocka_unit_test(test_the_first_property_of_a_name_counts),
		cmocka_unit_test(test_room_and_arguments),
		cmocka_unit_test(test_wild_cells),
		cmocka_unit_test(test_a_tree_that_is_too_deep),
		cmocka_unit_test(test_a_tree_truncated_anywhere),
		cmocka_unit_test(test_a_tree_of_before_version_16_is_refused),
		cmocka_unit_test(test_a_property_that_leads_back_is_refused),
		cmocka_unit_test(test_a_tree_with_any_byte_wrong),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_the_smallest_mmu_type_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
