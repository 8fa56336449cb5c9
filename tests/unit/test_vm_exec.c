/* SPDX-License-Identifier: MIT */
/*
 * NEST_VM_EXEC_SMALL: no page above the smallest size may execute, and the guest executes from
 * each page that it fetches from, whatever was done to the page before.
 */
#include "vm_host.h"

static nest_attr_t exec_of(const struct vmt *v)
{
	return v->c.features & (NEST_FEAT_MBEC | NEST_FEAT_XNX) ? NEST_X | NEST_XU : NEST_X;
}

/* A fetch that the page's rights forbade. */
static struct nest_exit fetch(struct vmt *v, nest_ia_t gpa)
{
	struct nest_fault f = fault_at(gpa, NEST_X);
	struct nest_exit e;

	f.kind = NEST_FAULT_PERMISSION;
	CHECK_OK(nest_vm_fault(&v->vm, &f, &e));
	return e;
}

struct count {
	uint64_t page, executable, larger;
};

static int count_leaf(void *ctx, const struct nest_mapping *m)
{
	struct count *c = ctx;

	CHECK(m->size == c->page || !(m->attr & (NEST_X | NEST_XU)));
	c->executable += m->attr & NEST_X ? m->size : 0;
	c->larger += m->size > c->page;
	return 0;
}

/* Bytes that the guest may execute; *larger: pages above the smallest size. */
static uint64_t executable(struct vmt *v, uint64_t *larger)
{
	struct count c = { .page = v->page };

	CHECK_OK(nest_pt_walk(nest_vm_pt(&v->vm), 0, vmt_top_page(v), 0, count_leaf, &c));
	if (larger)
		*larger = c.larger;
	return c.executable;
}

static void on_demand(struct vmt *v)
{
	const uint64_t p = v->page, block = vmt_span(v, 1);
	uint64_t larger, bytes;
	nest_pa_t pa;
	bool blocks;

	v->provider.max_size = block;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, 4 * block, &v->provider, NEST_VM_EXEC_SMALL));
	/* Data comes in blocks. */
	CHECK_EQ(vmt_fault(v, 5 * p, NEST_W).kind, NEST_EXIT_RESUME);
	/* Where the provider has such large frames. */
	blocks = vmt_at(v, 5 * p).size == block;
	bytes = executable(v, &larger);
	CHECK_EQ(bytes, larger ? 0 : p);
	CHECK_EQ(larger > 0, vmt_at(v, 5 * p).size > p);
	if (!blocks)
		return;
	pa = vmt_at(v, 0).pa;
	/* Code takes one page of it. */
	CHECK_EQ(fetch(v, 7 * p + 8).kind, NEST_EXIT_RESUME);
	CHECK_EQ(executable(v, NULL), p);
	CHECK_EQ(vmt_at(v, 7 * p).pa, pa + 7 * p);
	CHECK_EQ(vmt_at(v, 7 * p).size, p);
	CHECK_EQ(vmt_at(v, 7 * p).attr & (NEST_RW | exec_of(v) | NEST_SW0), NEST_RW | exec_of(v));
	CHECK_EQ(vmt_at(v, block - p).pa, pa + block - p);
	/* The first touch of a block is a fetch. */
	CHECK_EQ(vmt_fault(v, block + 3 * p, NEST_X).kind, NEST_EXIT_RESUME);
	CHECK_EQ(executable(v, NULL), 2 * p);
	CHECK(!vmt_is_mapped(v, block + 4 * p));
	/* Split by others, and by a change of its own. */
	CHECK_EQ(vmt_fault(v, 2 * block, NEST_R).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_pt_split(nest_vm_pt(&v->vm), 2 * block, block, 0, NULL));
	/* (What is dirty must be writable in some formats.) */
	CHECK_OK(nest_vm_protect(&v->vm, 2 * block + p, p, 0, NEST_W | (v->vm.tracked & NEST_DIRTY),
				 0));
	CHECK_EQ(executable(v, NULL), 2 * p);
	CHECK_EQ(fetch(v, 2 * block + p).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_at(v, 2 * block + p).attr & NEST_RWX, NEST_RX);
	CHECK_EQ(executable(v, NULL), 3 * p);
}

static void test_data_in_blocks_code_in_pages(void **state)
{
	(void)state;
	vmt_sweep(on_demand);
}

/* Regions of odd ends, mapped at once: small pages at the ends may execute. */
static void eager(struct vmt *v)
{
	const uint64_t p = v->page, block = vmt_span(v, 1);
	const struct nest_backing fixed = fixed_at(4 * block - p);
	uint64_t larger;

	CHECK_OK(nest_vm_add_ram(&v->vm, block - p, block + 2 * p, &fixed,
				 NEST_VM_EXEC_SMALL | NEST_VM_EAGER | NEST_VM_READONLY));
	CHECK(executable(v, &larger) >= 2 * p);
	CHECK_EQ(larger > 0, (v->c.info.leaf_levels & 2) != 0);
	for (uint64_t at = block - p; at < 2 * block + p; at += block / 4 + p) {
		CHECK_EQ(fetch(v, at).kind, NEST_EXIT_RESUME);
		CHECK_EQ(vmt_at(v, at).size, p);
		CHECK_EQ(vmt_at(v, at).pa, 4 * block - p + (at - (block - p)));
		CHECK_EQ(vmt_at(v, at).attr & (NEST_RW | exec_of(v)), NEST_R | exec_of(v));
	}
	(void)executable(v, NULL);
}

static void test_eager_regions(void **state)
{
	(void)state;
	vmt_sweep(eager);
}

/* What the VMM forbids stays forbidden; without the flag nothing is given. */
static void forbidden(struct vmt *v)
{
	const uint64_t p = v->page, block = vmt_span(v, 1);
	struct nest_exit e;

	v->provider.max_size = block;
	CHECK_OK(nest_vm_add_ram(&v->vm, 0, block, &v->provider, NEST_VM_EXEC_SMALL));
	CHECK_OK(nest_vm_add_ram(&v->vm, block, block, &v->provider,
				 NEST_VM_EXEC_SMALL | NEST_VM_NOEXEC));
	CHECK_EQ(vmt_fault(v, 0, NEST_W).kind, NEST_EXIT_RESUME);
	CHECK_EQ(vmt_fault(v, block, NEST_W).kind, NEST_EXIT_RESUME);
	CHECK_OK(nest_vm_protect(&v->vm, 0, vmt_at(v, 0).size, 0, NEST_X, 0));
	for (unsigned i = 0; i < 2; i++) {
		e = fetch(v, i * block + (vmt_at(v, i * block).size - p));
		CHECK_EQ(e.kind, NEST_EXIT_ERROR);
		CHECK_EQ(e.status, NEST_E_DENIED);
	}
	CHECK_EQ(executable(v, NULL), 0);
}

static void test_forbidden_stays_forbidden(void **state)
{
	(void)state;
	vmt_sweep(forbidden);
}

/* An embedder's own NEST_SW0 means nothing where no region has the flag. */
static void other_vms(struct vmt *v)
{
	const uint64_t p = v->page;

	CHECK_OK(nest_vm_map(&v->vm, 0, 16 * p, p, NEST_RW | NEST_SW0, 0));
	CHECK_EQ(fetch(v, 0).kind, NEST_EXIT_ERROR);
	CHECK_OK(nest_vm_protect(&v->vm, 0, p, 0, NEST_X, 0));
	CHECK_EQ(vmt_at(v, 0).attr & NEST_SW0, NEST_SW0);
}

static void test_without_the_flag(void **state)
{
	(void)state;
	vmt_sweep(other_vms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_in_blocks_code_in_pages),
		cmocka_unit_test(test_eager_regions),
		cmocka_unit_test(test_forbidden_stays_forbidden),
		cmocka_unit_test(test_without_the_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
