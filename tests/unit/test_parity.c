/* SPDX-License-Identifier: MIT */
/*
 * Whoever comes from the Rust crate page_table_multiarch finds each of its functions again: one
 * test for each, in the order of docs/parity.md. x86-64's first stage is the crate's own example.
 */
#include "support.h"

static const uint64_t size_4k = 0x1000, size_2m = 0x200000, size_1g = 0x40000000;
static struct fix f;

static void open_x86(void)
{
	struct tcase c = tcase_of(&nest_fmt_x86_64, NEST_FEAT_1G, 48, 0);

	fix_open(&f, &c);
}

static int query(uint64_t va, struct nest_mapping *m)
{
	return nest_pt_query(&f.pt, va, m);
}

static void try_new_is_init(void **state)
{
	(void)state;
	open_x86();
	CHECK_EQ(f.a.outstanding, 1);
	fix_close(&f);
}

static void drop_is_destroy(void **state)
{
	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, size_4k, f.attr, 0, NULL));
	f.a.watch = NULL;
	nest_pt_destroy(&f.pt);
	CHECK_EQ(f.a.outstanding, 0);
	arena_close(&f.a);
}

static void root_paddr_is_root(void **state)
{
	(void)state;
	open_x86();
	CHECK_EQ(nest_pt_root(&f.pt) % size_4k, 0);
	CHECK(arena_owns(&f.a, nest_pt_root(&f.pt)));
	fix_close(&f);
}

static void map_with_a_page_size_is_map_of_that_size(void **state)
{
	const uint64_t sizes[] = { size_4k, size_2m, size_1g };
	struct nest_mapping m;

	(void)state;
	open_x86();
	for (unsigned i = 0; i < 3; i++) {
		uint64_t va = (4 + i) * size_1g;

		CHECK_OK(nest_pt_map(&f.pt, va, 2 * size_1g, sizes[i], f.attr,
				     NEST_MAP_MAX_LEVEL(i), NULL));
		CHECK_OK(query(va, &m));
		CHECK_EQ(m.size, sizes[i]);
		CHECK_RC(nest_pt_map(&f.pt, va, 0, sizes[i], f.attr, 0, NULL), NEST_E_MAPPED);
	}
	fix_close(&f);
}

static void remap_is_map_with_replace(void **state)
{
	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, size_2m, 0, size_2m, f.attr, 0, NULL));
	CHECK_OK(nest_pt_map(&f.pt, size_2m, size_1g, size_2m, NEST_R, NEST_MAP_REPLACE, NULL));
	check_maps(&f, size_2m + 7, size_1g + 7, NEST_R);
	fix_close(&f);
}

static void protect_sets_and_clears(void **state)
{
	struct nest_mapping m;

	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, size_4k, NEST_RWX, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, 0, size_4k, NEST_R | NEST_U, NEST_W | NEST_X, 0, NULL));
	CHECK_OK(query(0, &m));
	CHECK_EQ(plain_attr(m.attr), NEST_R | NEST_U);
	CHECK_RC(nest_pt_protect(&f.pt, size_4k, size_4k, 0, NEST_W, 0, NULL), NEST_E_NOTMAPPED);
	fix_close(&f);
}

/* The crate returns the frame and its size; a query before says them, a release after the flush. */
static void unmap_tells_the_frame(void **state)
{
	struct nest_gather g;

	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, size_2m, size_1g, size_2m, NEST_RW, 0, NULL));
	arena_mark(&f.a);
	nest_gather_init(&g, &f.pt);
	nest_gather_on_release(&g, arena_release, &f.a);
	CHECK_OK(nest_pt_unmap(&f.pt, size_2m, size_2m, 0, &g));
	nest_gather_sync(&g);
	CHECK_EQ(arena_count(&f.a, EV_RELEASE), 1);
	for (unsigned i = 0; i < f.a.nr_ev; i++) {
		if (f.a.ev[i].kind != EV_RELEASE)
			continue;
		CHECK_EQ(f.a.ev[i].leaf.pa, size_1g);
		CHECK_EQ(f.a.ev[i].leaf.size, size_2m);
	}
	CHECK_RC(nest_pt_unmap(&f.pt, size_2m, size_2m, 0, NULL), NEST_E_NOTMAPPED);
	fix_close(&f);
}

static void query_is_query(void **state)
{
	struct nest_mapping m;

	(void)state;
	open_x86();
	CHECK_RC(query(0x1234, &m), NEST_E_NOTMAPPED);
	CHECK_OK(nest_pt_map(&f.pt, 0, size_1g, size_1g, NEST_RW, 0, NULL));
	CHECK_OK(query(0x1234567, &m));
	CHECK_EQ(m.pa, size_1g + 0x1234567);
	CHECK_EQ(m.size, size_1g);
	CHECK_EQ(plain_attr(m.attr), NEST_RW);
	fix_close(&f);
}

static void map_region_with_and_without_huge_pages(void **state)
{
	struct nest_pt_stats st;

	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, size_1g - size_2m - size_4k, 3 * size_1g - size_2m - size_4k,
			     size_1g + size_2m + 2 * size_4k, NEST_RW, 0, NULL));
	CHECK_OK(nest_pt_stats(&f.pt, &st));
	CHECK_EQ(st.leaves[0], 2);
	CHECK_EQ(st.leaves[1], 1);
	CHECK_EQ(st.leaves[2], 1);
	CHECK_OK(nest_pt_map(&f.pt, 8 * size_1g, 0, size_2m, NEST_RW, NEST_MAP_NO_HUGE, NULL));
	CHECK_OK(nest_pt_stats(&f.pt, &st));
	CHECK_EQ(st.leaves[0], 2 + 512);
	CHECK_RC(nest_pt_map(&f.pt, 0x800, 0, size_4k, NEST_RW, 0, NULL), NEST_E_ALIGN);
	fix_close(&f);
}

static void unmap_region_and_protect_region_cross_sizes(void **state)
{
	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, size_1g - size_2m, size_1g - size_2m, size_1g + size_2m,
			     NEST_RWX, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, size_1g - size_4k, 2 * size_4k, 0, NEST_W, 0, NULL));
	check_maps(&f, size_1g - 1, size_1g - 1, NEST_RX);
	check_maps(&f, size_1g + size_4k, size_1g + size_4k, NEST_RWX);
	CHECK_OK(nest_pt_unmap(&f.pt, size_1g - size_4k, 2 * size_4k, 0, NULL));
	check_none(&f, size_1g);
	check_none(&f, size_1g - 1);
	check_maps(&f, size_1g - size_4k - 1, size_1g - size_4k - 1, NEST_RWX);
	fix_close(&f);
}

static int count_all(void *ctx, const struct nest_mapping *m)
{
	unsigned *n = ctx;

	n[m->kind == NEST_PTE_TABLE]++;
	return n[0] == 3; /* the crate's `limit` */
}

static void walk_visits_tables_and_leaves(void **state)
{
	unsigned n[2] = { 0, 0 };

	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, 8 * size_4k, NEST_RW, 0, NULL));
	CHECK_RC(nest_pt_walk(&f.pt, 0, size_1g, NEST_WALK_TABLES, count_all, n), 1);
	CHECK_EQ(n[0], 3);
	CHECK(n[1] >= 3);
	fix_close(&f);
}

static void copy_from_is_share(void **state)
{
	struct nest_pt_config cfg = { .format = &nest_fmt_x86_64, .features = NEST_FEAT_1G };
	const uint64_t kernel = 0xffff800000000000u;
	struct nest_mapping m;
	struct nest_pt user;

	(void)state;
	open_x86();
	cfg.host = &f.a.host;
	cfg.ctx = &f.a;
	CHECK_OK(nest_pt_init(&user, &cfg));
	CHECK_OK(nest_pt_map(&f.pt, kernel, 0, size_2m, NEST_RWX, 0, NULL));
	CHECK_OK(nest_pt_share(&user, &f.pt, kernel, (uint64_t)1 << 39));
	CHECK_OK(nest_pt_query(&user, kernel + 5, &m));
	CHECK_EQ(m.pa, 5);
	nest_pt_destroy(&user);
	fix_close(&f);
}

/* A cursor gathers flushes and issues them at its end. */
static void a_cursor_is_a_gather(void **state)
{
	struct nest_gather g;

	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, 4 * size_4k, NEST_RW, 0, NULL));
	arena_mark(&f.a);
	nest_gather_init(&g, &f.pt);
	CHECK_OK(nest_pt_protect(&f.pt, 0, size_4k, 0, NEST_W, 0, &g));
	CHECK_OK(nest_pt_unmap(&f.pt, size_4k, size_4k, 0, &g));
	CHECK_EQ(arena_count(&f.a, EV_FLUSH), 0);
	nest_gather_sync(&g);
	CHECK(arena_flushed(&f.a, 0, 2 * size_4k - 1));
	fix_close(&f);
}

/* alloc_frame, dealloc_frame, phys_to_virt, flush_tlb. */
static void the_handler_is_the_host(void **state)
{
	(void)state;
	open_x86();
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, size_4k, NEST_RW, 0, NULL));
	CHECK_EQ(arena_count(&f.a, EV_ALLOC), 3);
	CHECK_OK(nest_pt_unmap(&f.pt, 0, size_4k, 0, NULL));
	CHECK_EQ(arena_count(&f.a, EV_FREE), 3);
	CHECK(arena_count(&f.a, EV_FLUSH) > 0);
	fix_close(&f);
}

/* paddr_is_valid, vaddr_is_valid. */
static void invalid_addresses_are_range_errors(void **state)
{
	(void)state;
	open_x86();
	CHECK_RC(nest_pt_map(&f.pt, 0, (uint64_t)1 << 52, size_4k, NEST_RW, 0, NULL), NEST_E_RANGE);
	CHECK_RC(nest_pt_map(&f.pt, (uint64_t)1 << 47, 0, size_4k, NEST_RW, 0, NULL), NEST_E_RANGE);
	CHECK_OK(nest_pt_map(&f.pt, 0xffff800000000000u, 0, size_4k, NEST_RW, 0, NULL));
	fix_close(&f);
}

/* new_page, paddr, flags, is_present, is_huge: the words are those of APM vol. 2, 5.4. */
static void entries_one_by_one(void **state)
{
	struct nest_pte_info info;
	nest_pte_t e = 0;

	(void)state;
	strcpy(test_case, __func__);
	CHECK_OK(nest_pte_leaf(&nest_fmt_x86_64, 0, 0, 0x12345000,
			       NEST_RW | NEST_ACCESSED | NEST_DIRTY, &e));
	CHECK_EQ(e, 0x8000000012345063u); /* NX D A W P */
	CHECK_OK(nest_pte_leaf(&nest_fmt_x86_64, 1, 0, 0x200000, NEST_RX | NEST_U, &e));
	CHECK_EQ(e, 0x200085u); /* PS U P */
	CHECK_OK(nest_pte_decode(&nest_fmt_x86_64, 1, 0, e, &info));
	CHECK_EQ(info.kind, NEST_PTE_LEAF);
	CHECK_EQ(info.pa, 0x200000);
	CHECK_EQ(info.attr, NEST_RX | NEST_U);
	CHECK_OK(nest_pte_table(&nest_fmt_x86_64, 0, 0x5000, &e)); /* new_table */
	CHECK_EQ(e & ~0x20u, 0x5007u);
	CHECK_OK(nest_pte_decode(&nest_fmt_x86_64, 1, 0, e, &info));
	CHECK_EQ(info.kind, NEST_PTE_TABLE);
	CHECK_EQ(info.pa, 0x5000);
	CHECK_OK(nest_pte_absent(&nest_fmt_x86_64, 0, 0, 0, &e)); /* clear, is_unused */
	CHECK_EQ(e, 0);
	CHECK_OK(nest_pte_decode(&nest_fmt_x86_64, 0, 0, e, &info));
	CHECK_EQ(info.kind, NEST_PTE_NONE);
}

/* set_paddr and set_flags: decode, change one, build again. */
static void an_entry_is_changed_by_building_it_again(void **state)
{
	struct nest_pte_info info;
	nest_pte_t e = 0;

	(void)state;
	strcpy(test_case, __func__);
	CHECK_OK(nest_pte_decode(&nest_fmt_x86_64, 0, 0, 0x8000000012345063u, &info));
	CHECK_OK(nest_pte_leaf(&nest_fmt_x86_64, 0, 0, 0x6000, info.attr, &e));
	CHECK_EQ(e, 0x8000000000006063u);
	CHECK_OK(nest_pte_leaf(&nest_fmt_x86_64, 0, 0, info.pa, info.attr & ~NEST_W, &e));
	CHECK_EQ(e, 0x8000000012345061u);
}

/* READ, WRITE, EXECUTE, USER, DEVICE, UNCACHED. */
static void mapping_flags_have_their_attributes(void **state)
{
	const nest_attr_t attrs[] = { NEST_R,
				      NEST_RW,
				      NEST_RX,
				      NEST_R | NEST_U,
				      NEST_RW | NEST_MT_DEVICE,
				      NEST_RW | NEST_MT_UC };
	struct nest_mapping m;

	(void)state;
	open_x86();
	for (unsigned i = 0; i < 6; i++) {
		CHECK_OK(nest_pt_map(&f.pt, i * size_4k, 0, size_4k, attrs[i], 0, NULL));
		CHECK_OK(query(i * size_4k, &m));
		CHECK_EQ(m.attr & (NEST_RWX | NEST_U), attrs[i] & (NEST_RWX | NEST_U));
		CHECK_EQ((m.attr & NEST_MT_MASK) != NEST_MT_WB, i >= 4);
	}
	fix_close(&f);
}

/* NoMemory, NotAligned, NotMapped, AlreadyMapped, MappedToHugePage. */
static void paging_errors_have_their_statuses(void **state)
{
	(void)state;
	open_x86();
	arena_fail(&f.a, 1, true);
	CHECK_RC(nest_pt_map(&f.pt, 0, 0, size_4k, NEST_RW, 0, NULL), NEST_E_NOMEM);
	arena_fail(&f.a, 0, false);
	CHECK_RC(nest_pt_map(&f.pt, 1, 0, size_4k, NEST_RW, 0, NULL), NEST_E_ALIGN);
	CHECK_RC(nest_pt_unmap(&f.pt, 0, size_4k, 0, NULL), NEST_E_NOTMAPPED);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0, size_2m, NEST_RW, 0, NULL));
	CHECK_RC(nest_pt_map(&f.pt, 0, 0, size_2m, NEST_RW, 0, NULL), NEST_E_MAPPED);
	CHECK_RC(nest_pt_unmap(&f.pt, 0, size_4k, NEST_NO_SPLIT, NULL), NEST_E_HUGE);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(try_new_is_init),
		cmocka_unit_test(drop_is_destroy),
		cmocka_unit_test(root_paddr_is_root),
		cmocka_unit_test(map_with_a_page_size_is_map_of_that_size),
		cmocka_unit_test(remap_is_map_with_replace),
		cmocka_unit_test(protect_sets_and_clears),
		cmocka_unit_test(unmap_tells_the_frame),
		cmocka_unit_test(query_is_query),
		cmocka_unit_test(map_region_with_and_without_huge_pages),
		cmocka_unit_test(unmap_region_and_protect_region_cross_sizes),
		cmocka_unit_test(walk_visits_tables_and_leaves),
		cmocka_unit_test(copy_from_is_share),
		cmocka_unit_test(a_cursor_is_a_gather),
		cmocka_unit_test(the_handler_is_the_host),
		cmocka_unit_test(invalid_addresses_are_range_errors),
		cmocka_unit_test(entries_one_by_one),
		cmocka_unit_test(an_entry_is_changed_by_building_it_again),
		cmocka_unit_test(mapping_flags_have_their_attributes),
		cmocka_unit_test(paging_errors_have_their_statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
