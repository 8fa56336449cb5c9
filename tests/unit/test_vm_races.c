/* SPDX-License-Identifier: MIT */
/*
 * Shared mode: another CPU changes the table at a chosen step of a call on the VM.
 *
 * A call reaches table memory through host.to_virt, so the n-th time that it asks there, the test
 * plays the other CPU. n grows until the call makes fewer steps: each place where the call looks at
 * the table has had its race.
 */
#include "vm_host.h"

static const nest_ia_t ram = 0x40000000;
static struct vmt t;

/* What the other CPU does, and before which step; and what next, so many steps later. */
static void (*other)(void), (*then)(void);
static unsigned steps, at_step, then_step;

static void *to_virt(void *ctx, nest_pa_t pa)
{
	void (*const first)(void) = other, (*const second)(void) = then;
	void (*act)(void) = NULL;

	if (first)
		steps++;
	if (first && steps == at_step)
		act = first;
	else if (second && steps == then_step)
		act = second;
	if (act) {
		other = then = NULL;
		act();
		other = first;
		then = second;
	}
	return arena_ptr(ctx, pa);
}

static void open_shared(const struct nest_format *format, uint32_t features)
{
	const struct tcase c = tcase_of(format, features, 0, NEST_PT_SHARED);

	vmt_open(&t, &c);
	t.a.host.to_virt = to_virt;
	t.unflushed_ok = true; /* a frame that came second was never mapped */
	other = then = NULL;
}

static void close_shared(void)
{
	other = then = NULL;
	vmt_close(&t);
}

/* Arm the race before step n of the next call. */
static void race(void (*act)(void), unsigned n)
{
	other = act;
	steps = 0;
	at_step = n;
}

/* Has the last call come so far? */
static bool was_met(void)
{
	other = then = NULL;
	return steps >= at_step;
}

/* Every second-stage format, each feature set with the status bits kept in another way. */
static void everywhere(void (*fn)(void))
{
	static const uint32_t sets[] = { 0, NEST_FEAT_SW_AD, NEST_FEAT_HW_AD };

	for (unsigned n = 0; nest_formats[n]; n++) {
		struct nest_format_info info;

		CHECK_OK(nest_format_describe(nest_formats[n], 0, &info));
		for (unsigned i = 0; i < 3 && info.stage2; i++) {
			if (sets[i] & ~info.features)
				continue;
			open_shared(nest_formats[n], sets[i]);
			fn();
			close_shared();
		}
	}
}

/* ---- A map that says OK has mapped ---- */

static void unmaps_it(void)
{
	(void)nest_pt_unmap(nest_vm_pt(&t.vm), ram, t.page, 0, NULL);
}

static void map_again(void)
{
	const nest_pa_t pa = 0x10000000;
	bool met = true;

	for (unsigned n = 1; met; n++) {
		struct nest_mapping m;
		int rc;

		CHECK_OK(nest_vm_map(&t.vm, ram, pa, t.page, NEST_R, 0));
		race(unmaps_it, n);
		rc = nest_vm_map(&t.vm, ram, pa + t.page, t.page, NEST_R, 0);
		met = was_met();
		if (rc == NEST_OK)
			CHECK_EQ(vmt_at(&t, ram).pa, pa + t.page);
		else
			CHECK(rc == NEST_E_MAPPED || rc == NEST_E_BUSY);
		/* No note is left where many CPUs could write it at once. */
		CHECK(nest_vm_last_conflict(&t.vm)->reason == NULL);
		if (nest_pt_query(nest_vm_pt(&t.vm), ram, &m) == NEST_OK)
			unmaps_it();
	}
}

static void test_a_map_that_succeeds_has_mapped(void **state)
{
	(void)state;
	everywhere(map_again);
}

/* ---- A legal fault ends in a retry, whatever another CPU does meanwhile ---- */

static nest_pte_t *busy_entry, busy_was;

/* The entry of level 0 for gpa; NULL: it has no table. */
static nest_pte_t *entry_at(nest_ia_t gpa)
{
	const struct nest_pt *pt = nest_vm_pt(&t.vm);
	const uint64_t mask = t.page / sizeof(nest_pte_t) - 1;
	nest_pte_t *table = arena_ptr(&t.a, pt->root);

	for (unsigned level = pt->top; level > 0; level--) {
		struct nest_pte_info info;
		uint64_t i = gpa >> nest_pt_shift(pt, level);

		if (level < pt->top)
			i &= mask;
		if (nest_pte_decode(t.c.format, level, t.c.features, table[i], &info) ||
		    info.kind != NEST_PTE_TABLE || table[i] == pt->absent[level])
			return NULL;
		table = arena_ptr(&t.a, info.pa);
	}
	return &table[pt->top ? gpa / t.page & mask : gpa / t.page];
}

/*
 * Another CPU takes the entry at `ram` and is slow: what nest_pt_unmap() does in between, without
 * its end. That word is the library's own; no format's absent entry is like it.
 */
static void makes_it_busy(void)
{
	if (!busy_entry)
		busy_entry = entry_at(ram);
	if (busy_entry && *busy_entry != nest_vm_pt(&t.vm)->busy[0]) {
		busy_was = *busy_entry;
		*busy_entry = nest_vm_pt(&t.vm)->busy[0];
	}
}

static void is_done(void)
{
	if (busy_entry)
		*busy_entry = busy_was;
	busy_entry = NULL;
}

/* Every kind of touch of a page, with `act` at each step; `settle` is the end of what it does. */
static void touch_all(void (*act)(void), void (*settle)(void))
{
	static const nest_attr_t access[] = { NEST_R, NEST_W, NEST_X };
	static const enum nest_fault_kind kind[] = { NEST_FAULT_TRANSLATION, NEST_FAULT_PERMISSION,
						     NEST_FAULT_ACCESS_FLAG };

	/* A neighbour keeps the table. */
	CHECK_EQ(vmt_fault(&t, ram + t.page, NEST_R).kind, NEST_EXIT_RESUME);
	for (unsigned k = 0; k < 9; k++) {
		bool met = true;

		for (unsigned n = 1; met; n++) {
			struct nest_fault f = fault_at(ram, access[k % 3]);
			struct nest_exit e;

			f.kind = kind[k / 3];
			race(act, n);
			CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
			met = was_met();
			settle();
			CHECK_EQ(e.kind, NEST_EXIT_RESUME);
			/* Alone, the guest comes through. */
			CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
			CHECK_EQ(e.kind, NEST_EXIT_RESUME);
			CHECK_EQ(vmt_at(&t, ram).attr & NEST_RW, NEST_RW);
			CHECK_OK(nest_vm_unmap(&t.vm, ram, t.page, 0));
			CHECK_OK(nest_vm_restore(&t.vm, ram, t.page));
		}
	}
}

static void busy(void)
{
	struct nest_backing fixed = fixed_at(0x10000000);

	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 64 * t.page, &fixed, 0));
	touch_all(makes_it_busy, is_done);
}

static void test_a_busy_entry_is_no_lack_of_memory(void **state)
{
	(void)state;
	everywhere(busy);
}

static void nothing(void)
{
}

static void maps_it(void)
{
	(void)nest_vm_map(&t.vm, ram, 0x20000000, t.page, NEST_RWX, 0);
}

static void comes_second(void)
{
	struct nest_backing fixed = fixed_at(0x10000000);

	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 64 * t.page, &fixed, 0));
	touch_all(maps_it, nothing);
}

static void test_a_page_that_came_meanwhile_is_resumed(void **state)
{
	(void)state;
	everywhere(comes_second);
}

/* ---- Status bits beside a change of rights ---- */

static void protects_it(void)
{
	(void)nest_vm_protect(&t.vm, ram, t.page, 0, NEST_W | NEST_DIRTY, 0);
}

static void store(void)
{
	struct nest_backing fixed = fixed_at(0x10000000);
	bool met = true;

	CHECK_OK(nest_vm_add_ram(&t.vm, ram, 2 * t.page, &fixed, NEST_VM_EAGER));
	for (unsigned n = 1; met; n++) {
		struct nest_fault f = fault_at(ram, NEST_W);
		struct nest_exit e;

		f.kind = NEST_FAULT_ACCESS_FLAG;
		CHECK_OK(nest_vm_protect(&t.vm, ram, t.page, NEST_W, NEST_DIRTY, 0));
		race(protects_it, n);
		CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
		met = was_met();
		/* Write-protected before it was looked at, it is the VMM's to say. */
		if (e.kind != NEST_EXIT_RESUME)
			CHECK_RC(e.status, NEST_E_DENIED);
	}
}

static void test_a_store_beside_write_protection_is_no_error_of_the_format(void **state)
{
	static const char *const formats[] = { "loongarch-s2-4k", "riscv-g" };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		if (!nest_format_by_name(formats[i]))
			continue; /* not in this build */
		open_shared(nest_format_by_name(formats[i]), NEST_FEAT_SW_AD);
		store();
		close_shared();
	}
}

/* ---- The right to execute beside a call that takes it away ---- */

static bool forbidden;

static void forbids_it(void)
{
	int rc = nest_vm_protect(&t.vm, ram + t.page, t.page, 0, NEST_X, 0);

	/* The entry may be changing. */
	CHECK(rc == NEST_OK || rc == NEST_E_BUSY);
	forbidden = rc == NEST_OK;
}

static void fetch_from_block(void)
{
	const uint64_t block = vmt_span(&t, 1);
	const struct nest_backing fixed = fixed_at(block);
	struct nest_fault f = fault_at(ram + t.page, NEST_X);
	bool met = true;

	if (nest_pt_levels(nest_vm_pt(&t.vm)) < 2)
		return;
	f.kind = NEST_FAULT_PERMISSION;
	for (unsigned n = 1; met; n++) {
		struct nest_exit e;

		CHECK_OK(nest_vm_add_ram(&t.vm, ram, block, &fixed,
					 NEST_VM_EXEC_SMALL | NEST_VM_EAGER));
		forbidden = false;
		race(forbids_it, n);
		CHECK_OK(nest_vm_fault(&t.vm, &f, &e));
		met = was_met();
		if (e.kind != NEST_EXIT_RESUME)
			CHECK_RC(e.status, NEST_E_DENIED);
		CHECK(!(vmt_at(&t, ram + t.page).attr & NEST_X) == forbidden);
		CHECK_OK(nest_vm_remove(&t.vm, ram, block, 0));
		arena_run_deferred(&t.a);
		vmt_mark(&t);
	}
}

static void test_a_right_that_is_taken_meanwhile_does_not_come_back(void **state)
{
	(void)state;
	everywhere(fetch_from_block);
}

/* ---- Taken away meanwhile ---- */

static void takes_it(void)
{
	CHECK_OK(nest_vm_unmap(&t.vm, ram + 3 * t.page, t.page, NEST_SKIP_HOLES));
}

static void taken(void)
{
	const uint64_t block = vmt_span(&t, 1);
	struct nest_backing fixed = fixed_at(block);

	if (nest_pt_levels(nest_vm_pt(&t.vm)) < 2)
		return;
	/* The page itself, and another one of the block; by a block, and where a table is. */
	for (unsigned k = 0; k < 4; k++) {
		bool met = true;

		for (unsigned n = 1; met; n++) {
			struct nest_exit e;

			CHECK_OK(nest_vm_add_ram(&t.vm, ram, block, &fixed, 0));
			if (k & 2)
				CHECK_OK(nest_vm_map(&t.vm, ram, 0x20000000, t.page, NEST_R, 0));
			race(takes_it, n);
			e = vmt_fault(&t, ram + (2 + k % 2) * t.page, NEST_W);
			met = was_met();
			CHECK(e.kind == NEST_EXIT_RESUME || (k % 2 && e.kind == NEST_EXIT_MARKED));
			if (met)
				CHECK_EQ(vmt_fault(&t, ram + 3 * t.page, NEST_R).kind,
					 NEST_EXIT_MARKED);
			CHECK_OK(nest_vm_remove(&t.vm, ram, block, 0));
			arena_run_deferred(&t.a);
			vmt_mark(&t);
		}
	}
}

static void test_a_page_that_is_taken_meanwhile_is_not_mapped(void **state)
{
	(void)state;
	everywhere(taken);
}

/* ---- A frame of the provider's is mapped whole, or put back whole ---- */

/*
 * An empty table in place of the block: what another CPU's unmap leaves for a moment, before it
 * removes the table.
 */
static void leaves_an_empty_table(void)
{
	nest_pte_t *e;

	if (nest_vm_map(&t.vm, ram + 3 * t.page, 0x20000000, t.page, NEST_RW, 0))
		return;
	e = entry_at(ram + 3 * t.page);
	*e = nest_vm_pt(&t.vm)->absent[0];
}

static void maps_a_page_of_it(void)
{
	(void)nest_vm_map(&t.vm, ram + 7 * t.page, 0x20000000, t.page, NEST_RW, 0);
}

static uint64_t foreign;

static int count_foreign(void *ctx, const struct nest_mapping *m)
{
	(void)ctx;
	if (m->pa == 0x20000000)
		foreign += m->size;
	return 0;
}

/* The fault at step n meets the table, and d steps later the page. False: it has ended before. */
static bool block_beside_page(uint64_t block, unsigned n, unsigned d)
{
	struct nest_pt *pt = nest_vm_pt(&t.vm);
	struct nest_pt_stats s;
	bool met;

	CHECK_OK(nest_vm_add_ram(&t.vm, ram, block, &t.provider, 0));
	then = maps_a_page_of_it;
	then_step = n + d;
	race(leaves_an_empty_table, n);
	CHECK_EQ(vmt_fault(&t, ram, NEST_W).kind, NEST_EXIT_RESUME);
	met = was_met();
	CHECK_OK(nest_pt_stats(pt, &s));
	foreign = 0;
	CHECK_OK(nest_pt_walk(pt, ram, block, 0, count_foreign, NULL));
	CHECK_EQ(s.mapped - foreign, t.frames_out);
	if (foreign)
		CHECK_OK(nest_pt_unmap(pt, ram + 7 * t.page, t.page, 0, NULL));
	CHECK_OK(nest_vm_remove(&t.vm, ram, block, 0));
	arena_run_deferred(&t.a);
	vmt_mark(&t);
	t.nr_frames = 0;
	return met;
}

static void frames(void)
{
	const uint64_t block = vmt_span(&t, 1);

	/* The arena has frames of so much. */
	if (nest_pt_levels(nest_vm_pt(&t.vm)) < 2 || block > (uint64_t)2 << 20)
		return;
	t.provider.max_size = block;
	for (unsigned d = 1; d < 16; d++) {
		for (unsigned n = 1; block_beside_page(block, n, d); n++)
			;
	}
}

static void test_a_frame_is_mapped_whole_or_put_back(void **state)
{
	(void)state;
	everywhere(frames);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_map_that_succeeds_has_mapped),
		cmocka_unit_test(test_a_busy_entry_is_no_lack_of_memory),
		cmocka_unit_test(test_a_page_that_came_meanwhile_is_resumed),
		cmocka_unit_test(test_a_store_beside_write_protection_is_no_error_of_the_format),
		cmocka_unit_test(test_a_right_that_is_taken_meanwhile_does_not_come_back),
		cmocka_unit_test(test_a_page_that_is_taken_meanwhile_is_not_mapped),
		cmocka_unit_test(test_a_frame_is_mapped_whole_or_put_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
