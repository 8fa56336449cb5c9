/* SPDX-License-Identifier: MIT */
/*
 * Shared mode on one CPU: what other CPUs would do is done from within the host's callbacks, at the
 * moment when an entry is locked. That callbacks may not call back into the table is a rule for
 * embedders in the other modes; another CPU could do all of this.
 */
#include "support.h"
#include "tests/steps.h"

#include <nest/epoch.h>

static struct fix f;

static void open_shared(const struct nest_format *format)
{
	const struct tcase c = tcase_of(format, 0, 0, NEST_PT_SHARED);

	fix_open(&f, &c);
}

static void close_shared(void)
{
	arena_run_deferred(&f.a);
	fix_close(&f);
}

static void what_it_needs_and_lacks(void **state)
{
	struct nest_host host;
	struct nest_pt_config cfg = { .format = &nest_fmt_aarch64_s2_4k,
				      .flags = NEST_PT_SHARED,
				      .host = &host };
	struct nest_gather g;
	struct nest_pt pt, other;

	(void)state;
	open_shared(&nest_fmt_aarch64_s2_4k);
	host = f.a.host;
	cfg.ctx = &f.a;
	/* A grace period, and entries that can change one by one. */
	host.defer = NULL;
	CHECK_RC(nest_pt_init(&pt, &cfg), NEST_E_INVAL);
	host = f.a.host;
	cfg.features = NEST_FEAT_CONTIG;
	CHECK_RC(nest_pt_init(&pt, &cfg), NEST_E_UNSUPPORTED);
	cfg.features = 0;
	cfg.host = &f.a.host;
	CHECK_OK(nest_pt_init(&other, &cfg));
	CHECK_RC(nest_pt_merge(&f.pt, 0, f.page, NULL), NEST_E_UNSUPPORTED);
	CHECK_RC(nest_pt_share(&other, &f.pt, 0, span(&f, f.top)), NEST_E_UNSUPPORTED);
	nest_pt_destroy(&other);

	/* A call syncs the caller's gather. */
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, 4 * f.page, f.attr, 0, NULL));
	nest_gather_init(&g, &f.pt);
	arena_mark(&f.a);
	CHECK_OK(nest_pt_unmap(&f.pt, f.page, f.page, 0, &g));
	CHECK(arena_flushed(&f.a, f.page, 2 * f.page - 1));
	CHECK_EQ(g.nr_ranges, 0);
	check_none(&f, f.page);
	close_shared();
}

/* What another CPU meets while a page is on its way out. */
static unsigned met;

static void while_locked(struct arena *a, const struct nest_flush *what)
{
	struct nest_mapping m;

	(void)what;
	a->on_flush = NULL;
	met++;
	CHECK_RC(nest_pt_query(&f.pt, f.page, &m), NEST_E_BUSY);
	CHECK_EQ(m.kind, NEST_PTE_NONE);
	CHECK_RC(nest_pt_map(&f.pt, f.page, 0x3000000, f.page, f.attr, 0, NULL), NEST_E_BUSY);
	CHECK_RC(nest_pt_map(&f.pt, f.page, 0x3000000, f.page, f.attr, NEST_MAP_REPLACE, NULL),
		 NEST_E_BUSY);
	CHECK_RC(nest_pt_unmap(&f.pt, f.page, f.page, 0, NULL), NEST_E_BUSY);
	CHECK_RC(nest_pt_unmap(&f.pt, f.page, f.page, NEST_SKIP_HOLES, NULL), NEST_E_BUSY);
	CHECK_RC(nest_pt_protect(&f.pt, f.page, f.page, 0, f.w, 0, NULL), NEST_E_BUSY);
	CHECK_RC(nest_pt_mark(&f.pt, f.page, f.page, 5, NULL), NEST_E_BUSY);
	CHECK_RC(nest_pt_split(&f.pt, f.page, f.page, 0, NULL), NEST_E_BUSY);
	/* Its neighbours are not concerned. */
	CHECK_OK(nest_pt_query(&f.pt, 0, &m));
	CHECK_OK(nest_pt_map(&f.pt, 7 * f.page, 0x3000000, f.page, f.attr, 0, NULL));
}

static void a_page_on_its_way_out_is_busy(void **state)
{
	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		open_shared(nest_formats[n]);
		met = 0;
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, 4 * f.page, f.attr, 0, NULL));
		f.a.on_flush = while_locked;
		CHECK_OK(nest_pt_unmap(&f.pt, f.page, f.page, 0, NULL));
		CHECK_EQ(met, 1);
		check_none(&f, f.page);
		check_maps(&f, 7 * f.page, 0x3000000, f.attr);
		close_shared();
	}
}

/* Between its attempts a call pauses; the other CPU may come to its end meanwhile. */
static unsigned pauses;

static void pause_often(void *ctx)
{
	CHECK(ctx == &f.a);
	pauses++;
}

/* Each page and table is told once, however often the walk begins anew. */
static unsigned told_pages, told_tables;

static int count_told(void *ctx, const struct nest_mapping *m)
{
	(void)ctx;
	if (m->kind == NEST_PTE_LEAF)
		told_pages++;
	else
		told_tables++;
	CHECK(told_pages <= 1 && told_tables <= f.top);
	return 0;
}

static void while_it_pauses(struct arena *a, const struct nest_flush *what)
{
	struct nest_mapping m;

	(void)what;
	a->on_flush = NULL;
	CHECK_RC(nest_pt_map(&f.pt, f.page, 0x3000000, f.page, f.attr, 0, NULL), NEST_E_BUSY);
	CHECK(pauses > 1);
	pauses = 0;
	CHECK_RC(nest_pt_query(&f.pt, f.page, &m), NEST_E_BUSY);
	CHECK(pauses > 1);
	pauses = 0;
	CHECK_RC(nest_pt_walk(&f.pt, 0, 4 * f.page, NEST_WALK_TABLES, count_told, NULL),
		 NEST_E_BUSY);
	CHECK(pauses > 1);
	CHECK_EQ(told_pages, 1);
	CHECK_EQ(told_tables, f.top);
}

static void attempts_pause(void **state)
{
	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		open_shared(nest_formats[n]);
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, 4 * f.page, f.attr, 0, NULL));
		f.a.host.relax = pause_often;
		f.a.on_flush = while_it_pauses;
		pauses = told_pages = told_tables = 0;
		CHECK_OK(nest_pt_unmap(&f.pt, f.page, f.page, 0, NULL));
		CHECK(pauses > 1);
		f.a.host.relax = NULL;
		close_shared();
	}
}

/* A table that has become empty is filled by another CPU when it is about to go. */
static void while_empty(struct arena *a, const struct nest_flush *what)
{
	/* The first flush is that of the page, the table is not looked at yet. */
	if (what->leaf_only)
		return;
	a->on_flush = NULL;
	met++;
	CHECK_RC(nest_pt_map(&f.pt, 3 * f.page, 0x3000000, f.page, f.attr, 0, NULL), NEST_E_BUSY);
}

static void an_empty_table_goes(void **state)
{
	uint64_t tables;

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		open_shared(nest_formats[n]);
		met = 0;
		tables = f.a.outstanding;
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, f.page, f.attr, 0, NULL));
		f.a.on_flush = while_empty;
		CHECK_OK(nest_pt_unmap(&f.pt, 0, f.page, 0, NULL));
		f.a.on_flush = NULL;
		CHECK_EQ(met, f.top ? 1 : 0);
		CHECK(f.top == 0 || f.a.nr_deferred > 0);
		CHECK_EQ(f.a.outstanding > tables, f.top > 0);
		arena_run_deferred(&f.a);
		CHECK_EQ(f.a.outstanding, tables);
		CHECK_OK(nest_pt_map(&f.pt, 3 * f.page, 0x3000000, f.page, f.attr, 0, NULL));
		check_maps(&f, 3 * f.page, 0x3000000, f.attr);
		close_shared();
	}
}

/*
 * A block is split: while the table is filled it is still mapped, and hardware marks it as dirty.
 * Another CPU's protect does the same to the entry as hardware would.
 */
static void (*true_sync)(void *ctx, const void *va, size_t len);

static void mark_while_it_is_filled(void *ctx, const void *va, size_t len)
{
	struct nest_mapping m;

	true_sync(ctx, va, len);
	if (len < f.page || met++)
		return;
	CHECK_OK(nest_pt_query(&f.pt, 5 * f.page, &m));
	CHECK_EQ(m.size, span(&f, 1));
	CHECK(!(m.attr & NEST_DIRTY));
	CHECK_OK(nest_pt_protect(&f.pt, 0, span(&f, 1), NEST_ACCESSED | NEST_DIRTY, 0, 0, NULL));
}

static void a_split_keeps_what_hardware_sets(void **state)
{
	static const struct {
		const struct nest_format *format;
		uint32_t features;
		nest_attr_t attr;
	} tracks[] = {
		{ &nest_fmt_ept, NEST_FEAT_HW_AD, NEST_RW },
		{ &nest_fmt_npt, 0, NEST_RW },
		{ &nest_fmt_x86_64, 0, NEST_RW },
		{ &nest_fmt_aarch64_s2_4k, NEST_FEAT_HW_AD, NEST_RW | NEST_DBM },
		{ &nest_fmt_aarch64_s2_16k, NEST_FEAT_HW_AD, NEST_RW | NEST_DBM },
		{ &nest_fmt_aarch64_s2_64k, NEST_FEAT_HW_AD, NEST_RW | NEST_DBM },
		{ &nest_fmt_riscv_g, NEST_FEAT_HW_AD, NEST_RW },
		{ &nest_fmt_loongarch_s2_16k, NEST_FEAT_HW_AD | NEST_FEAT_PTW, NEST_RW },
	};

	(void)state;
	for (unsigned n = 0; n < sizeof(tracks) / sizeof(tracks[0]); n++) {
		const struct tcase c = tcase_of(tracks[n].format, tracks[n].features, 0,
						NEST_PT_SHARED);
		struct nest_mapping m;

		fix_open(&f, &c);
		true_sync = f.a.host.sync;
		met = 0;
		CHECK_OK(nest_pt_map(&f.pt, 0, (nest_pa_t)1 << 30, span(&f, 1), tracks[n].attr, 0,
				     NULL));
		f.a.host.sync = mark_while_it_is_filled;
		CHECK_OK(nest_pt_split(&f.pt, 0, span(&f, 1), 0, NULL));
		f.a.host.sync = true_sync;
		/* Once in vain, once more. */
		CHECK_EQ(met, 2);
		for (uint64_t ia = 0; ia < span(&f, 1); ia += f.page) {
			CHECK_OK(nest_pt_query(&f.pt, ia, &m));
			CHECK_EQ(m.size, f.page);
			CHECK_EQ(m.attr & (NEST_ACCESSED | NEST_DIRTY), NEST_ACCESSED | NEST_DIRTY);
		}
		close_shared();
	}
}

/*
 * A call is on its way into a table when another CPU unmaps the last page in it, so that the table
 * goes: the moment is when the host is asked where the table is.
 */
static void *(*true_to_virt)(void *ctx, nest_pa_t pa);
static nest_pa_t leaf_table;

static void *to_virt_while_it_goes(void *ctx, nest_pa_t pa)
{
	if (pa == leaf_table) {
		leaf_table = NEST_PA_NONE;
		met++;
		CHECK_OK(nest_pt_unmap(&f.pt, 0, f.page, 0, NULL));
	}
	return true_to_virt(ctx, pa);
}

static int find_leaf_table(void *ctx, const struct nest_mapping *m)
{
	(void)ctx;
	if (m->kind == NEST_PTE_TABLE && m->level == 1)
		leaf_table = m->pa;
	return 0;
}

static void a_table_goes_from_under_a_call(void **state)
{
	struct nest_mapping m;

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		for (unsigned how = 0; how < 3; how++) {
			open_shared(nest_formats[n]);
			met = 0;
			CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, f.page, f.attr, 0, NULL));
			CHECK_OK(nest_pt_walk(&f.pt, 0, f.page, NEST_WALK_TABLES, find_leaf_table,
					      NULL));
			true_to_virt = f.a.host.to_virt;
			f.a.host.to_virt = to_virt_while_it_goes;
			switch (how) {
			case 0:
				CHECK_OK(nest_pt_map(&f.pt, f.page, 0x3000000, f.page, f.attr, 0,
						     NULL));
				break;
			case 1:
				CHECK_OK(nest_pt_map(&f.pt, f.page, 0x3000000, f.page, f.attr,
						     NEST_MAP_REPLACE, NULL));
				break;
			default:
				CHECK_OK(nest_pt_mark(&f.pt, f.page, f.page, 77, NULL));
			}
			f.a.host.to_virt = true_to_virt;
			CHECK_EQ(met, 1);
			check_none(&f, 0);
			if (how < 2)
				check_maps(&f, f.page, 0x3000000, f.attr);
			else
				CHECK_RC(nest_pt_query(&f.pt, f.page, &m), NEST_E_NOTMAPPED);
			CHECK_EQ(how < 2 || m.mark == 77, 1);
			close_shared();
		}
	}
}

/*
 * One CPU has linked a table and not flushed yet; another maps a page in it. Where a hole is a way
 * through a table of nothing, walkers may still take that way, so it has to be flushed for the
 * page.
 */
static uint64_t fresh_size;

static void for_a_fresh_page(struct arena *a, const struct nest_flush *what)
{
	a->on_flush = NULL;
	met++;
	CHECK_EQ(what->ia, 8 * f.page);
	CHECK_EQ(what->size, fresh_size);
	CHECK_EQ(what->leaf_only, f.pt.format == &nest_fmt_riscv_g);
}

static void before_the_table_is_flushed(struct arena *a, const struct nest_flush *what)
{
	CHECK(!what->leaf_only);
	met++;
	a->on_flush = for_a_fresh_page;
	CHECK_OK(nest_pt_map(&f.pt, 8 * f.page, 0x1000000 + 8 * f.page, fresh_size, f.attr, 0,
			     NULL));
	check_maps(&f, 8 * f.page, 0x1000000 + 8 * f.page, f.attr);
}

static void a_page_in_a_table_that_is_not_flushed(void **state)
{
	static const struct nest_format *const formats[] = { &nest_fmt_loongarch_s2_16k,
							     &nest_fmt_loongarch_s1_4k,
							     &nest_fmt_riscv_g };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		open_shared(formats[i / 2]);
		fresh_size = (1 + i % 2) * f.page;
		f.a.on_flush = before_the_table_is_flushed;
		met = 0;
		CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, f.page, f.attr, 0, NULL));
		CHECK_EQ(met, 2);
		close_shared();
	}
}

static bool only_the_first(void *ctx, nest_pa_t pa, uint64_t size, nest_attr_t attr)
{
	(void)ctx, (void)attr;
	return pa + size <= 0x1000000 + f.page;
}

static void what_the_host_denies_changes_nothing(void **state)
{
	(void)state;
	open_shared(&nest_fmt_ept);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, 2 * f.page, f.attr & ~f.w, 0, NULL));
	f.a.host.allow = only_the_first;
	CHECK_RC(nest_pt_protect(&f.pt, 0, 2 * f.page, f.w, 0, 0, NULL), NEST_E_DENIED);
	check_maps(&f, 0, 0x1000000, f.attr & ~f.w);
	check_maps(&f, f.page, 0x1000000 + f.page, f.attr & ~f.w);
	CHECK_OK(nest_pt_protect(&f.pt, 0, f.page, f.w, 0, 0, NULL));
	check_maps(&f, 0, 0x1000000, f.attr);
	f.a.host.allow = NULL;
	close_shared();
}

static void a_protect_leaves_the_rest_of_each_page(void **state)
{
	(void)state;
	open_shared(&nest_fmt_ept);
	CHECK_OK(nest_pt_map(&f.pt, 0, 0x1000000, f.page, NEST_RWX, 0, NULL));
	CHECK_OK(nest_pt_map(&f.pt, f.page, 0x3000000, f.page, NEST_RX, 0, NULL));
	CHECK_OK(nest_pt_map(&f.pt, 2 * f.page, 0x5000000, f.page, NEST_RWX, 0, NULL));
	CHECK_OK(nest_pt_protect(&f.pt, 0, 3 * f.page, 0, NEST_X, 0, NULL));
	check_maps(&f, 0, 0x1000000, NEST_RW);
	check_maps(&f, f.page, 0x3000000, NEST_R);
	check_maps(&f, 2 * f.page, 0x5000000, NEST_RW);
	close_shared();
}

/* Another CPU takes a page of the range away, behind where the call has come to. */
static void in_the_midst(struct arena *a, const struct nest_flush *what)
{
	(void)what;
	a->on_flush = NULL;
	met++;
	CHECK_OK(nest_pt_unmap(&f.pt, span(&f, 1) + 2 * f.page, f.page, 0, NULL));
}

static void a_race_tells_how_far_it_came(void **state)
{
	struct steps st;
	uint64_t done = 0, from;

	(void)state;
	for (unsigned n = 0; nest_formats[n]; n++) {
		open_shared(nest_formats[n]);
		met = 0;
		from = span(&f, 1) - 4 * f.page;
		CHECK_OK(nest_pt_map(&f.pt, from, 0x1000000, 8 * f.page, f.attr, 0, NULL));
		f.a.on_flush = in_the_midst;
		CHECK_RC(steps_end(&st,
				   nest_pt_unmap(&f.pt, from, 8 * f.page, 0,
						 steps_begin(&st, &f.pt, NULL, 100)),
				   &done),
			 NEST_E_NOTMAPPED);
		CHECK_EQ(met, 1);
		CHECK_EQ(done, 6 * f.page);
		for (unsigned i = 0; i < 7; i++)
			check_none(&f, from + i * f.page);
		check_maps(&f, from + 7 * f.page, 0x1000000 + 7 * f.page, f.attr);
		close_shared();
	}
}

/* ---- Epochs ---- */

static unsigned freed;

static void note_free(void *arg)
{
	(void)arg;
	freed++;
}

static void epochs(void **state)
{
	static uint64_t table[3][512];
	struct nest_epoch_slot slot[2];
	struct nest_epoch e;

	(void)state;
	CHECK_RC(nest_epoch_init(NULL, slot, 2), NEST_E_INVAL);
	CHECK_RC(nest_epoch_init(&e, NULL, 2), NEST_E_INVAL);
	CHECK_RC(nest_epoch_init(&e, slot, 0), NEST_E_INVAL);
	CHECK_OK(nest_epoch_init(&e, slot, 2));
	CHECK_EQ(nest_epoch_poll(&e, 0), 0);
	freed = 0;
	nest_epoch_enter(&e, 0);
	nest_epoch_enter(&e, 1);
	nest_epoch_defer(&e, note_free, table[0]);
	nest_epoch_defer(&e, note_free, table[1]);
	nest_epoch_exit(&e, 0);
	/* As long as the other is inside. */
	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(nest_epoch_poll(&e, 0), 2);
	CHECK_EQ(freed, 0);
	nest_epoch_exit(&e, 1);
	/* One that came in later does not hold up what went before, once it has been out. */
	for (unsigned i = 0; i < 3; i++)
		(void)nest_epoch_poll(&e, 1);
	CHECK_EQ(freed, 2);
	CHECK_EQ(nest_epoch_poll(&e, 1), 0);
	nest_epoch_enter(&e, 1);
	nest_epoch_defer(&e, note_free, table[2]);
	nest_epoch_exit(&e, 1);
	(void)nest_epoch_poll(&e, 0);
	CHECK_EQ(nest_epoch_poll(&e, 0), 1);
	CHECK_EQ(nest_epoch_poll(&e, 0), 0);
	CHECK_EQ(freed, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_needs_and_lacks),
		cmocka_unit_test(a_page_on_its_way_out_is_busy),
		cmocka_unit_test(attempts_pause),
		cmocka_unit_test(an_empty_table_goes),
		cmocka_unit_test(a_split_keeps_what_hardware_sets),
		cmocka_unit_test(a_table_goes_from_under_a_call),
		cmocka_unit_test(a_page_in_a_table_that_is_not_flushed),
		cmocka_unit_test(what_the_host_denies_changes_nothing),
		cmocka_unit_test(a_protect_leaves_the_rest_of_each_page),
		cmocka_unit_test(a_race_tells_how_far_it_came),
		cmocka_unit_test(epochs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
