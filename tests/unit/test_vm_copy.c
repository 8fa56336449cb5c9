/* SPDX-License-Identifier: MIT */
/*
 * Translating, and copying from and to guest memory.
 */
#include "vm_host.h"

static struct vmt t;
static size_t copied; /* by the last call */
static uint8_t out[0x8000], in[0x8000];

static void fill(void)
{
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	memset(in, 0xee, sizeof(in));
}

static void round_trip(struct vmt *v)
{
	uint64_t at = 4 * v->page - 100;
	size_t len = v->page < sizeof(out) / 2 ? (size_t)v->page + 200 : 200;

	fill();
	/* Two regions that meet at 4 * page; frames come in no order of address. */
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, 4 * v->page, &v->provider, 0));
	CHECK_OK(nest_vm_add_ram(&v->vm, 4 * v->page, 4 * v->page, &v->provider, 0));
	vmt_fault(v, 5 * v->page, NEST_R);
	CHECK_OK(nest_vm_write(&v->vm, at, out, len, &copied));
	CHECK_EQ(copied, len);
	CHECK_OK(nest_vm_read(&v->vm, at, in, len, &copied));
	CHECK_EQ(copied, len);
	CHECK(!memcmp(in, out, len));
	CHECK_EQ(in[len], 0xee);
	for (size_t i = 0; i < len; i += 50) {
		struct nest_mapping m = vmt_at(v, at + i);

		CHECK_EQ(*(uint8_t *)arena_ptr(&v->a, m.pa), out[i]);
	}
	/* What was not written is zero, and what was not touched has no frame. */
	CHECK_OK(nest_vm_read(&v->vm, at - 1, in, 1, &copied));
	CHECK_EQ(in[0], 0);
	CHECK(!vmt_is_mapped(v, 0));
	CHECK(!vmt_is_mapped(v, 7 * v->page));
}

static void test_copies_cross_pages_and_regions(void **state)
{
	(void)state;
	vmt_sweep(round_trip);
}

static void test_a_copy_says_how_far_it_got(void **state)
{
	(void)state;
	fill();
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x1000, 0x2000, &t.provider, 0));
	CHECK_RC(nest_vm_write(&t.vm, 0x1800, out, 0x3000, &copied), NEST_E_NOTMAPPED);
	CHECK_EQ(copied, 0x1800);
	CHECK_RC(nest_vm_read(&t.vm, 0x1800, in, 0x3000, &copied), NEST_E_NOTMAPPED);
	CHECK_EQ(copied, 0x1800);
	CHECK(!memcmp(in, out, 0x1800));
	CHECK_EQ(in[0x1800], 0xee);
	CHECK_RC(nest_vm_read(&t.vm, 0, in, 0x2000, &copied), NEST_E_NOTMAPPED);
	CHECK_EQ(copied, 0);
	vmt_close(&t);
}

static void test_a_mapping_without_the_right_is_not_copied(void **state)
{
	(void)state;
	fill();
	vmt_open_named(&t, "ept", NEST_FEAT_XO);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x1000, 0x2000, &t.provider, 0));
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x3000, 0x1000, &t.provider, NEST_VM_READONLY));
	/* ROM, untouched and touched. */
	CHECK_RC(nest_vm_write(&t.vm, 0x2f00, out, 0x200, &copied), NEST_E_DENIED);
	CHECK_EQ(copied, 0x100);
	CHECK(!vmt_is_mapped(&t, 0x3000));
	CHECK_OK(nest_vm_read(&t.vm, 0x2f00, in, 0x200, &copied));
	CHECK_EQ(in[0x100], 0);
	CHECK_RC(nest_vm_write(&t.vm, 0x2f00, out, 0x200, &copied), NEST_E_DENIED);
	CHECK_EQ(*(uint8_t *)arena_ptr(&t.a, vmt_at(&t, 0x3000).pa), 0);
	/* It is the page's right that counts, not the region's. */
	CHECK_OK(nest_vm_protect(&t.vm, 0x2000, 0x1000, 0, NEST_W, 0));
	CHECK_RC(nest_vm_write(&t.vm, 0x1ff0, out, 0x20, &copied), NEST_E_DENIED);
	CHECK_EQ(copied, 0x10);
	CHECK_OK(nest_vm_read(&t.vm, 0x1ff0, in, 0x20, &copied));
	CHECK_OK(nest_vm_protect(&t.vm, 0x2000, 0x1000, 0, NEST_RW, 0));
	CHECK_RC(nest_vm_read(&t.vm, 0x1ff0, in, 0x20, &copied), NEST_E_DENIED);
	CHECK_OK(nest_vm_protect(&t.vm, 0x3000, 0x1000, NEST_W, 0, 0));
	CHECK_OK(nest_vm_write(&t.vm, 0x3000, out, 0x20, &copied));
	vmt_close(&t);
}

static void test_only_memory_is_copied(void **state)
{
	uint8_t byte = 0x5a;
	nest_pa_t pa;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	pa = t.a.host.alloc(&t.a, 0x1000);
	CHECK_OK(nest_vm_add_device(&t.vm, 0x1000, pa, 0x1000, NEST_RW | NEST_MT_UC));
	CHECK_RC(nest_vm_read(&t.vm, 0x1000, &byte, 1, &copied), NEST_E_DENIED);
	CHECK_OK(nest_vm_add_device(&t.vm, 0x2000, pa, 0x1000, NEST_RW | NEST_MT_WB));
	CHECK_RC(nest_vm_write(&t.vm, 0x2000, &byte, 1, &copied), NEST_E_DENIED);
	CHECK_OK(nest_vm_add_mmio(&t.vm, 0x3000, 0x2000, NULL));
	CHECK_RC(nest_vm_read(&t.vm, 0x3000, &byte, 1, &copied), NEST_E_NOTMAPPED);
	/* Raw mappings: of write-back memory only. */
	CHECK_OK(nest_vm_map(&t.vm, 0x5000, pa, 0x1000, NEST_RW | NEST_MT_WC, 0));
	CHECK_RC(nest_vm_write(&t.vm, 0x5000, &byte, 1, &copied), NEST_E_DENIED);
	CHECK_OK(nest_vm_map(&t.vm, 0x6000, pa, 0x1000, NEST_RW | NEST_MT_WB, 0));
	CHECK_OK(nest_vm_write(&t.vm, 0x6fff, &byte, 1, &copied));
	CHECK_EQ(*(uint8_t *)arena_ptr(&t.a, pa + 0xfff), 0x5a);
	CHECK_OK(nest_vm_map(&t.vm, 0x4000, pa, 0x1000, NEST_R | NEST_MT_WB, 0));
	byte = 0;
	CHECK_OK(nest_vm_read(&t.vm, 0x4fff, &byte, 1, &copied));
	CHECK_EQ(byte, 0x5a);
	t.a.host.free(&t.a, pa, 0x1000);
	vmt_close(&t);
}

static void extremes(struct vmt *v)
{
	uint64_t top = vmt_top_page(v);
	uint8_t byte[2] = { 1, 2 };

	CHECK_OK(nest_vm_add_ram(&v->vm, top, v->page, &v->provider, 0));
	CHECK_OK(nest_vm_write(&v->vm, top + v->page - 2, byte, 2, &copied));
	CHECK_RC(nest_vm_write(&v->vm, top + v->page - 1, byte, 2, &copied), NEST_E_RANGE);
	CHECK_EQ(copied, 0);
	CHECK_RC(nest_vm_read(&v->vm, top + v->page, byte, 1, &copied), NEST_E_RANGE);
	CHECK_RC(nest_vm_read(&v->vm, ~(uint64_t)0, byte, 2, &copied), NEST_E_RANGE);
	CHECK_EQ(byte[0], 1);
}

static void test_the_end_of_the_address_space(void **state)
{
	(void)state;
	vmt_sweep(extremes);
}

static void test_empty_and_impossible_copies(void **state)
{
	uint8_t byte = 0;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x1000, &t.provider, 0));
	CHECK_OK(nest_vm_write(&t.vm, 0, &byte, 1, &copied));
	CHECK_OK(nest_vm_read(&t.vm, 0x5000, NULL, 0, &copied));
	CHECK_EQ(copied, 0);
	CHECK_OK(nest_vm_write(&t.vm, ~(uint64_t)0, NULL, 0, &copied));
	CHECK_RC(nest_vm_read(&t.vm, 0, NULL, 1, &copied), NEST_E_INVAL);
	CHECK_RC(nest_vm_write(&t.vm, 0, NULL, 1, &copied), NEST_E_INVAL);
	vmt_close(&t);
	CHECK_RC(nest_vm_read(&t.vm, 0, &byte, 1, &copied), NEST_E_INVAL);
}

static void no_memory(struct vmt *v)
{
	struct vm_state before;
	uint8_t byte = 0x33;
	uint64_t n = 0;
	int rc;

	v->unflushed_ok = true;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, 4 * v->page, &v->provider, 0));
	before = vmt_state(v);
	do {
		arena_fail(&v->a, ++n, false);
		rc = nest_vm_write(&v->vm, v->page, &byte, 1, &copied);
		if (!rc)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		CHECK_EQ(copied, 0);
		check_same_state(v, &before);
	} while (n < 100);
	arena_fail(&v->a, 0, false);
	CHECK_EQ(n, 1 + nest_pt_levels(nest_vm_pt(&v->vm)));
	v->unflushed_ok = false;
}

static void test_every_failing_allocation_of_a_copy_leaves_no_trace(void **state)
{
	(void)state;
	vmt_sweep(no_memory);
}

static void test_a_copy_leaves_status_where_it_is_tracked(void **state)
{
	nest_attr_t both = NEST_ACCESSED | NEST_DIRTY;
	uint8_t byte = 0;

	(void)state;
	vmt_open_named(&t, "npt", 0);
	CHECK_OK(nest_vm_add_ram(&t.vm, 0, 0x4000, &t.provider, NEST_VM_EAGER));
	CHECK_EQ(vmt_at(&t, 0).attr & both, 0);
	CHECK_OK(nest_vm_read(&t.vm, 0, &byte, 1, &copied));
	CHECK_EQ(vmt_at(&t, 0).attr & both, NEST_ACCESSED);
	CHECK_OK(nest_vm_write(&t.vm, 0, &byte, 1, &copied));
	CHECK_EQ(vmt_at(&t, 0).attr & both, both);
	CHECK_OK(nest_vm_write(&t.vm, 0x1000, &byte, 1, &copied));
	CHECK_EQ(vmt_at(&t, 0x1000).attr & both, both);
	CHECK_EQ(vmt_at(&t, 0x2000).attr & both, 0);
	vmt_close(&t);
	/* Fixed memory untouched so far, reached by a linear map. */
	vmt_open_named(&t, "ept", 0);
	vmt_close(&t);
	arena_open(&t.a, (uint64_t)4 << 20);
	arena_use_linear(&t.a);
	CHECK_OK(nest_vm_init(&t.vm, &t.config));
	{
		nest_pa_t pa = t.a.host.alloc(&t.a, 0x4000);
		struct nest_backing fixed = fixed_at(pa);

		CHECK_OK(nest_vm_add_ram(&t.vm, 0x10000, 0x4000, &fixed, 0));
		byte = 0x44;
		CHECK_OK(nest_vm_write(&t.vm, 0x13001, &byte, 1, &copied));
		CHECK_EQ(*(uint8_t *)arena_ptr(&t.a, pa + 0x3001), 0x44);
		t.a.host.free(&t.a, pa, 0x4000);
	}
	vmt_close(&t);
}

static void test_translate_tells_address_and_right(void **state)
{
	struct nest_mapping m;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	CHECK_OK(nest_vm_map(&t.vm, 0x200000, 0x80000000, 0x200000, NEST_R | NEST_X, 0));
	CHECK_OK(nest_vm_translate(&t.vm, 0x212345, NEST_R, &m));
	CHECK_EQ(m.pa, 0x80012345);
	CHECK_EQ(m.size, 0x200000);
	CHECK_EQ(m.attr, NEST_R | NEST_X);
	CHECK_OK(nest_vm_translate(&t.vm, 0x212345, NEST_X, &m));
	CHECK_OK(nest_vm_translate(&t.vm, 0x212345, 0, &m));
	m.pa = 0;
	CHECK_RC(nest_vm_translate(&t.vm, 0x212345, NEST_W, &m), NEST_E_DENIED);
	CHECK_EQ(m.pa, 0x80012345);
	CHECK_RC(nest_vm_translate(&t.vm, 0x212345, NEST_RW, &m), NEST_E_DENIED);
	CHECK_RC(nest_vm_translate(&t.vm, 0x212345, NEST_U, &m), NEST_E_INVAL);
	CHECK_RC(nest_vm_translate(&t.vm, 0x212345, NEST_R, NULL), NEST_E_INVAL);
	CHECK_RC(nest_vm_translate(&t.vm, 0x1fffff, NEST_R, &m), NEST_E_NOTMAPPED);
	CHECK_RC(nest_vm_translate(&t.vm, (uint64_t)1 << t.c.ia_bits, NEST_R, &m), NEST_E_RANGE);
	/* It faults nothing in. */
	CHECK_OK(nest_vm_add_ram(&t.vm, 0x1000, 0x1000, &t.provider, 0));
	CHECK_RC(nest_vm_translate(&t.vm, 0x1000, NEST_R, &m), NEST_E_NOTMAPPED);
	CHECK_EQ(t.nr_asked, 0);
	vmt_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies_cross_pages_and_regions),
		cmocka_unit_test(test_a_copy_says_how_far_it_got),
		cmocka_unit_test(test_a_mapping_without_the_right_is_not_copied),
		cmocka_unit_test(test_only_memory_is_copied),
		cmocka_unit_test(test_the_end_of_the_address_space),
		cmocka_unit_test(test_empty_and_impossible_copies),
		cmocka_unit_test(test_every_failing_allocation_of_a_copy_leaves_no_trace),
		cmocka_unit_test(test_a_copy_leaves_status_where_it_is_tracked),
		cmocka_unit_test(test_translate_tells_address_and_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
