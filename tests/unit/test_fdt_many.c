/* SPDX-License-Identifier: MIT */
/*
 * Device trees with many ranges: what is free against a flat array, and what it costs.
 *
 * The time that counts is that of the CPU. Its bounds are generous, for sanitizers and for -O0; an
 * algorithm that is cubic takes hours here.
 */
#include <sys/resource.h>
#include <time.h>

#include "fdt_tree.h"

static struct tree t;

/* ---- A flat model ---- */

enum { CELLS = 4096, MOST = 2 * CELLS };

/* What each cell of the address space is; a cell is `unit` bytes, the first one is at `base`. */
static struct {
	bool ram[CELLS], reserved[CELLS];
	uint64_t base, unit;
} flat;

/* The free memory in whole `align` pages (a power of two of cells). */
static unsigned flat_free(unsigned align, struct nest_range *out)
{
	unsigned n = 0;
	bool open = false;

	for (unsigned page = 0; page < CELLS; page += align) {
		bool is_free = true;

		for (unsigned i = page; i < page + align; i++)
			is_free &= flat.ram[i] && !flat.reserved[i];
		if (is_free && !open)
			out[n++] = (struct nest_range){ flat.base + page * flat.unit, 0 };
		if (is_free)
			out[n - 1].size += align * flat.unit;
		open = is_free;
	}
	return n;
}

static struct nest_range random_range(uint64_t *seed, bool *kind, unsigned longest)
{
	unsigned first = (unsigned)(rnd(seed) % CELLS), n = (unsigned)(rnd(seed) % (longest + 1));

	if (n > CELLS - first)
		n = CELLS - first;
	for (unsigned i = first; i < first + n; i++)
		kind[i] = true;
	return (struct nest_range){ flat.base + first * flat.unit, n * flat.unit };
}

static void put_range(fdt32_t *cell, struct nest_range r)
{
	fdt64_st(cell, r.base);
	fdt64_st(cell + 2, r.size);
}

/* A reg with room for n ranges of two and two cells. */
static fdt32_t *open_reg(unsigned n)
{
	void *reg;

	CHECK_EQ(fdt_property_placeholder(t.blob, "reg", (int)(16 * n), &reg), 0);
	return reg;
}

static void begin_reserved(void)
{
	tree_node(&t, "reserved-memory");
	TREE_CELLS(&t, "#address-cells", 2);
	TREE_CELLS(&t, "#size-cells", 2);
	CHECK_EQ(fdt_property(t.blob, "ranges", NULL, 0), 0);
}

/* n ranges of a kind, a few in each node. */
static void random_nodes(uint64_t *seed, unsigned n, bool *kind, unsigned longest)
{
	while (n) {
		unsigned some = 1 + (unsigned)(rnd(seed) % 5);
		fdt32_t *reg;

		some = some < n ? some : n;
		tree_node(&t, "some");
		if (kind == flat.ram)
			tree_string(&t, "device_type", "memory");
		reg = open_reg(some);
		for (unsigned i = 0; i < some; i++)
			put_range(&reg[4 * i], random_range(seed, kind, longest));
		tree_end(&t);
		n -= some;
	}
}

static void random_tree(uint64_t *seed, uint64_t base, uint64_t unit)
{
	static const unsigned numbers[] = { 1, 5, 40, 400, 1500 }, lengths[] = { 1, 3, 20, 600 };
	struct nest_range rsv[100];
	unsigned n, longest;

	memset(&flat, 0, sizeof(flat));
	flat.base = base;
	flat.unit = unit;
	longest = lengths[rnd(seed) % 4];
	for (n = 0; n < rnd(seed) % 100; n++) {
		do
			rsv[n] = random_range(seed, flat.reserved, longest);
		while (!rsv[n].size); /* it would end the list */
	}
	tree_begin(&t, rsv, n, 2, 2);
	random_nodes(seed, numbers[rnd(seed) % 5], flat.ram, lengths[rnd(seed) % 4]);
	begin_reserved();
	random_nodes(seed, numbers[rnd(seed) % 5] - 1, flat.reserved, longest);
	tree_end(&t);
	random_nodes(seed, numbers[rnd(seed) % 5] - 1, flat.ram, lengths[rnd(seed) % 4]);
	tree_finish(&t);
}

/* `room` ranges may be written, and nothing behind them. */
static void check_memory(uint64_t align, unsigned room, const struct nest_range *want, unsigned n)
{
	static struct nest_range out[4 * MOST + 2];
	unsigned count = room;

	memset(&out[room], 0xee, sizeof(*out));
	CHECK_RC(nest_fdt_memory(t.blob, align, out, &count), n > room ? NEST_E_NOMEM : NEST_OK);
	CHECK_EQ(count, n > room ? room : n);
	CHECK_EQ(out[room].base, 0xeeeeeeeeeeeeeeee);
	CHECK_EQ(out[room].size, 0xeeeeeeeeeeeeeeee);
	for (unsigned i = 0; i < count; i++) {
		CHECK_EQ(out[i].base, want[i].base);
		CHECK_EQ(out[i].size, want[i].size);
	}
}

static void test_random_trees_against_a_flat_array(void **state)
{
	static struct nest_range want[MOST];
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned round = 0; round < 80; round++) {
		unsigned align = 1u << rnd(&seed) % 5, n;

		/* From 0, somewhere, and up to the very top. */
		random_tree(&seed, (uint64_t)(round % 3) * (~(uint64_t)0 / 2 - CELLS / 2 + 1), 1);
		n = flat_free(align, want);
		snprintf(test_case, sizeof(test_case), "round %u, %u ranges", round, n);
		check_memory(align, n, want, n);
		check_memory(align, 4 * MOST + 1, want, n);
		for (unsigned i = 0; i < 4; i++)
			check_memory(align, (unsigned)(rnd(&seed) % (4 * n + 2)), want, n);
	}
}

/* ---- A VM's layout ---- */

enum { REGIONS = 24000 };

static struct nest_vm_region regions[REGIONS];

static int layout(struct nest_vm *vm, struct arena *a, unsigned max_regions,
		  const struct nest_fdt_policy *policy)
{
	const struct nest_vm_config config = { .pt = { .format = &nest_fmt_ept,
						       .ia_bits = 48,
						       .oa_bits = 48,
						       .host = &a->host,
						       .ctx = a },
					       .regions = regions,
					       .max_regions = max_regions };

	CHECK_OK(nest_vm_init(vm, &config));
	return nest_vm_from_fdt(vm, t.blob, policy);
}

static void test_random_layouts_against_a_flat_array(void **state)
{
	static struct nest_range want[MOST];
	const struct nest_fdt_policy policy = { .ram_flags = 0 };
	uint64_t seed = test_seed();
	struct arena a;

	(void)state;
	arena_open(&a, 1 << 20);
	for (unsigned round = 0; round < 40; round++) {
		struct nest_vm vm;
		unsigned n, room;

		/* Half pages: what is left must be shrunk. */
		random_tree(&seed, 0x40000000, 0x800);
		n = flat_free(2, want);
		for (unsigned i = 0; i < 4; i++) {
			room = i ? 1 + (unsigned)(rnd(&seed) % (6 * n + 1)) : n + !n;
			snprintf(test_case, sizeof(test_case), "round %u, %u of %u", round, n,
				 room);
			CHECK_RC(layout(&vm, &a, room, &policy), n > room ? NEST_E_NOMEM : NEST_OK);
			CHECK_EQ(vm.nr_regions, n > room ? 0 : n);
			for (unsigned k = 0; k < vm.nr_regions; k++) {
				CHECK_EQ(regions[k].type, NEST_REGION_RAM);
				CHECK_EQ(regions[k].gpa, want[k].base);
				CHECK_EQ(regions[k].size, want[k].size);
				CHECK_EQ(regions[k].backing.hpa, want[k].base);
			}
			nest_vm_destroy(&vm);
		}
	}
	CHECK_EQ(a.outstanding, 0);
	arena_close(&a);
}

/* ---- What many cost ---- */

enum { MANY = 10000, WIDE = 4000, LIMIT = 20 };

static clock_t started;

/* The kernel ends a test that takes far too long. */
static void start_clock(void)
{
	struct rlimit cpu = { 0, RLIM_INFINITY };

	started = clock();
	cpu.rlim_cur = (rlim_t)(started / CLOCKS_PER_SEC) + 3 * LIMIT;
	CHECK_EQ(setrlimit(RLIMIT_CPU, &cpu), 0);
}

static void stop_clock(const char *what)
{
	clock_t used = clock() - started;

	printf("%-50s %6.3f s\n", what, (double)used / CLOCKS_PER_SEC);
	CHECK(used < (clock_t)LIMIT * CLOCKS_PER_SEC);
}

/* A number for each i below MANY, once, in no order: 7919 is prime and divides none of 10,000. */
static uint64_t shuffled(unsigned i)
{
	return (uint64_t)i * 7919 % MANY;
}

/* A memory range of two pages every four, or without a gap; a page reserved after each first. */
static struct nest_range many_memory(unsigned i, bool gaps)
{
	return (struct nest_range){ 0x40000000 + shuffled(i) * 0x4000, gaps ? 0x3000 : 0x4000 };
}

static struct nest_range many_reserved(unsigned i)
{
	return (struct nest_range){ 0x40001000 + shuffled(MANY - 1 - i) * 0x4000, 0x1000 };
}

static void one_node(const char *name, bool memory, struct nest_range r)
{
	tree_node(&t, name);
	if (memory)
		tree_string(&t, "device_type", "memory");
	put_range(open_reg(1), r);
	tree_end(&t);
}

/* As few nodes as can be, or one for each. */
static void many_tree(bool nodes, bool gaps, unsigned reserved)
{
	static struct nest_range rsv[MANY];
	fdt32_t *reg;

	for (unsigned i = 0; i < reserved; i++)
		rsv[i] = many_reserved(i);
	tree_begin(&t, rsv, nodes ? 0 : reserved, 2, 2);
	for (unsigned i = 0; nodes && i < MANY; i++)
		one_node("memory@123456789", true, many_memory(i, gaps));
	if (!nodes) {
		tree_node(&t, "memory");
		tree_string(&t, "device_type", "memory");
		reg = open_reg(MANY);
		for (unsigned i = 0; i < MANY; i++)
			put_range(&reg[4 * i], many_memory(i, gaps));
		tree_end(&t);
	}
	begin_reserved();
	for (unsigned i = 0; nodes && i < reserved; i++)
		one_node("r@123456789", false, rsv[i]);
	tree_end(&t);
	tree_finish(&t);
}

/* Two pieces of each range of memory, of one page each. */
static void check_pieces(const struct nest_range *out, unsigned count)
{
	CHECK_EQ(count, 2 * MANY);
	for (unsigned i = 0; i < count; i++) {
		CHECK_EQ(out[i].base, 0x40000000 + i / 2 * 0x4000 + i % 2 * 0x2000);
		CHECK_EQ(out[i].size, 0x1000);
	}
}

static void test_many_ranges_take_little_time(void **state)
{
	static struct nest_range out[8 * MANY];

	(void)state;
	for (unsigned nodes = 0; nodes < 2; nodes++) {
		unsigned count = 8 * MANY;

		many_tree(nodes, true, MANY);
		start_clock();
		CHECK_OK(nest_fdt_memory(t.blob, 0x1000, out, &count));
		stop_clock(nodes ? "20,000 nodes, room for more" : "20,000 entries, room for more");
		check_pieces(out, count);
		/* Only as much room as is needed. */
		count = 2 * MANY;
		start_clock();
		CHECK_OK(nest_fdt_memory(t.blob, 0x1000, out, &count));
		stop_clock(nodes ? "20,000 nodes, just room" : "20,000 entries, just room");
		check_pieces(out, count);
		/* No room to sort in. */
		many_tree(nodes, false, 0);
		count = 1;
		start_clock();
		CHECK_OK(nest_fdt_memory(t.blob, 0x1000, out, &count));
		stop_clock(nodes ? "10,000 nodes, one range" : "10,000 entries, one range");
		CHECK_EQ(count, 1);
		CHECK_EQ(out[0].base, 0x40000000);
		CHECK_EQ(out[0].size, MANY * 0x4000);
	}
}

static enum nest_fdt_action emulate(void *ctx, const void *fdt, int node, const char *compatible,
				    const struct nest_range *reg, nest_attr_t *attr, void **cookie)
{
	(void)ctx, (void)fdt, (void)node, (void)compatible, (void)reg, (void)attr;
	*cookie = NULL;
	return NEST_FDT_MMIO;
}

static void test_a_layout_of_many_ranges_takes_little_time(void **state)
{
	struct nest_fdt_policy policy = { .device = emulate };
	struct nest_vm vm;
	struct arena a;

	(void)state;
	arena_open(&a, 1 << 20);
	many_tree(true, true, MANY);
	for (unsigned more = 0; more < 2; more++) {
		start_clock();
		CHECK_OK(layout(&vm, &a, 2 * MANY + more * 4000, &policy));
		stop_clock(more ? "layout of 20,000 regions"
				: "layout of 20,000 regions, just room");
		CHECK_EQ(vm.nr_regions, 2 * MANY);
		CHECK_EQ(regions[2 * MANY - 1].gpa, 0x40000000 + (MANY - 1) * 0x4000 + 0x2000);
		nest_vm_destroy(&vm);
	}
	/* 10,000 devices, from the last to the first, behind a bus of 1,000 windows. */
	tree_begin(&t, NULL, 0, 2, 2);
	one_node("memory", true, (struct nest_range){ 0x100000000, 0x10000 });
	tree_node(&t, "bus");
	TREE_CELLS(&t, "#address-cells", 2);
	TREE_CELLS(&t, "#size-cells", 2);
	{
		void *window;

		CHECK_EQ(fdt_property_placeholder(t.blob, "ranges", 1000 * 24, &window), 0);
		for (unsigned i = 0; i < 1000; i++) {
			uint8_t *at = (uint8_t *)window + 24 * i;

			fdt64_st(at, i * 0x100000);
			fdt64_st(at + 8, i * 0x100000);
			fdt64_st(at + 16, 0x100000);
		}
	}
	for (unsigned i = MANY; i-- > 0;) {
		tree_node(&t, "d");
		tree_string(&t, "compatible", "d");
		put_range(open_reg(1), (struct nest_range){ i * 0x2000, 0x1000 });
		tree_end(&t);
	}
	tree_end(&t);
	tree_finish(&t);
	start_clock();
	CHECK_OK(layout(&vm, &a, REGIONS, &policy));
	stop_clock("layout of 10,000 devices");
	CHECK_EQ(vm.nr_regions, MANY + 1);
	CHECK_EQ(regions[MANY - 1].gpa, (MANY - 1) * 0x2000);
	nest_vm_destroy(&vm);
	arena_close(&a);
}

/* Trees in which a search by name, for the children of a node, would be long. */
static void test_wide_and_long_nodes_take_little_time(void **state)
{
	static char name[WIDE];
	struct nest_range out[1];
	unsigned count = 1;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	tree_begin(&t, NULL, 0, 2, 2);
	for (unsigned i = 0; i < WIDE; i++)
		TREE_CELLS(&t, "p", i);
	for (unsigned i = 0; i < WIDE; i++)
		one_node("m", true, (struct nest_range){ i * 0x4000, 0x4000 });
	begin_reserved();
	for (unsigned i = 0; i < WIDE; i++)
		TREE_CELLS(&t, "q", i);
	CHECK_EQ(fdt_property(t.blob, name, NULL, 0), 0);
	for (unsigned i = 0; i < WIDE; i++)
		one_node("r", false, (struct nest_range){ (uint64_t)1 << 40, 0x4000 });
	tree_end(&t);
	tree_node(&t, name);
	for (unsigned i = 0; i < WIDE; i++) {
		tree_node(&t, "n");
		tree_end(&t);
	}
	tree_end(&t);
	tree_finish(&t);
	start_clock();
	CHECK_OK(nest_fdt_memory(t.blob, 0x1000, out, &count));
	stop_clock("wide and long nodes");
	CHECK_EQ(out[0].size, WIDE * 0x4000);
	start_clock();
	CHECK_RC(nest_fdt_riscv_mmu(t.blob), NEST_E_NOTMAPPED);
	stop_clock("wide and long nodes, mmu-type");
}

/* The windows of /reserved-memory are gone through for each reservation. */
static void test_reserved_memory_has_few_windows(void **state)
{
	struct nest_range out[4];

	(void)state;
	for (unsigned n = 31; n < 34; n++) {
		unsigned count = 4;
		void *window;

		tree_begin(&t, NULL, 0, 2, 2);
		one_node("m", true, (struct nest_range){ 0x10000, 0x10000 });
		tree_node(&t, "reserved-memory");
		TREE_CELLS(&t, "#address-cells", 2);
		TREE_CELLS(&t, "#size-cells", 2);
		CHECK_EQ(fdt_property_placeholder(t.blob, "ranges", (int)n * 24, &window), 0);
		memset(window, 0, n * 24);
		/* From 0x1000 to 0x18000; the last. */
		fdt64_st((uint8_t *)window + 24 * (n - 1), 0x1000);
		fdt64_st((uint8_t *)window + 24 * (n - 1) + 8, 0x18000);
		fdt64_st((uint8_t *)window + 24 * (n - 1) + 16, 0x1000);
		one_node("r", false, (struct nest_range){ 0x1000, 0x1000 });
		tree_end(&t);
		tree_finish(&t);
		CHECK_RC(nest_fdt_memory(t.blob, 0x1000, out, &count),
			 n > 32 ? NEST_E_INVAL : NEST_OK);
		if (n > 32)
			continue;
		CHECK_EQ(count, 2);
		CHECK_EQ(out[0].size, 0x8000);
		CHECK_EQ(out[1].base, 0x19000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_trees_against_a_flat_array),
		cmocka_unit_test(test_random_layouts_against_a_flat_array),
		cmocka_unit_test(test_many_ranges_take_little_time),
		cmocka_unit_test(test_a_layout_of_many_ranges_takes_little_time),
		cmocka_unit_test(test_wide_and_long_nodes_take_little_time),
		cmocka_unit_test(test_reserved_memory_has_few_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
