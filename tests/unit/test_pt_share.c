/* SPDX-License-Identifier: MIT */
/*
 * Sharing top-level entries between two tables of one arena: both translate the range by the same
 * tables, the source alone may change it, and each table is freed once.
 */
#include "support.h"
#include "tests/steps.h"

/* A second table like f's, on the same host. */
static void twin(struct fix *f, struct nest_pt *pt)
{
	struct nest_pt_config cfg = { .format = f->c.format,
				      .features = f->c.features,
				      .ia_bits = f->c.ia_bits,
				      .flags = f->c.flags,
				      .host = &f->a.host,
				      .ctx = &f->a };

	CHECK_OK(nest_pt_init(pt, &cfg));
}

static bool maps_to(const struct nest_pt *pt, uint64_t ia, nest_pa_t pa)
{
	struct nest_mapping q;

	return nest_pt_query(pt, ia, &q) == NEST_OK && q.pa == pa;
}

static void sharing(const struct tcase *c)
{
	struct steps st;
	struct fix f; /* the source */
	struct nest_pt dst, third;
	struct nest_mapping q;
	uint64_t t, ia, other, p;
	uint64_t done = 0;

	fix_open(&f, c);
	if (f.top == 0 || c->ia_bits < raw_shift(&f.geo, f.top) + 2) {
		fix_close(&f);
		return;
	}
	p = f.page;
	t = span(&f, f.top);
	ia = place(&f, PLACE_MID, t);
	other = place(&f, PLACE_LOW, t);
	twin(&f, &dst);
	twin(&f, &third);
	CHECK_OK(nest_pt_map(&f.pt, ia + 3 * p, 0x8000000, p, f.attr, 0, NULL));
	CHECK_RC(nest_pt_share(&dst, &f.pt, ia + p, t), NEST_E_ALIGN);
	CHECK_RC(nest_pt_share(&dst, &f.pt, ia, t - p), NEST_E_ALIGN);
	CHECK_RC(nest_pt_share(&dst, &f.pt, ia, 0), NEST_E_RANGE);
	CHECK_OK(nest_pt_map(&dst, ia, 0x9000000, p, f.attr, 0, NULL));
	CHECK_RC(nest_pt_share(&dst, &f.pt, ia, t), NEST_E_MAPPED);
	CHECK(maps_to(&dst, ia, 0x9000000));
	CHECK_OK(nest_pt_unmap(&dst, ia, p, 0, NULL));
	CHECK_OK(nest_pt_share(&dst, &f.pt, ia, t));
	CHECK(maps_to(&dst, ia + 3 * p + 1, 0x8000001));
	/* Later changes through the source are seen by both. */
	CHECK_OK(nest_pt_map(&f.pt, ia + t - p, 0xa000000, p, f.attr, 0, NULL));
	CHECK(maps_to(&dst, ia + t - p, 0xa000000));
	CHECK_OK(nest_pt_unmap(&f.pt, ia, t, NEST_SKIP_HOLES, NULL));
	CHECK_RC(nest_pt_query(&dst, ia + 3 * p, &q), NEST_E_NOTMAPPED);
	CHECK_OK(nest_pt_map(&f.pt, ia + 5 * p, 0xb000000, p, f.attr, 0, NULL));
	CHECK(maps_to(&dst, ia + 5 * p, 0xb000000));
	CHECK_OK(nest_pt_merge(&f.pt, ia, t, NULL));
	CHECK(maps_to(&dst, ia + 5 * p, 0xb000000));
	/* dst may not change it, nor give it away; elsewhere it is its own. */
	CHECK_RC(nest_pt_map(&dst, ia, 0, p, f.attr, 0, NULL), NEST_E_DENIED);
	CHECK_RC(steps_end(&st,
			   nest_pt_map(&dst, ia, 0, p, f.attr, 0, steps_begin(&st, &dst, NULL, 4)),
			   &done),
		 NEST_E_DENIED);
	CHECK_RC(nest_pt_unmap(&dst, ia + 5 * p, p, 0, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_protect(&dst, ia + 5 * p, p, 0, f.w, 0, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_mark(&dst, ia, p, 1, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_split(&dst, ia, p, 0, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_merge(&dst, ia, p, NULL), NEST_E_DENIED);
	CHECK_RC(nest_pt_share(&third, &dst, ia, t), NEST_E_DENIED);
	CHECK_OK(nest_pt_map(&dst, other, 0xc000000, p, f.attr, 0, NULL));
	CHECK(maps_to(&dst, other, 0xc000000));
	CHECK_RC(nest_pt_query(&f.pt, other, &q), NEST_E_NOTMAPPED);
	CHECK_OK(nest_pt_share(&third, &f.pt, ia, t));
	CHECK(maps_to(&third, ia + 5 * p, 0xb000000));
	nest_pt_destroy(&third);
	CHECK(maps_to(&dst, ia + 5 * p, 0xb000000));
	nest_pt_destroy(&dst);
	CHECK(maps_to(&f.pt, ia + 5 * p, 0xb000000));
	fix_close(&f);
}

static void both_tables_see_a_shared_range(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, sharing);
}

/* A block at the top level is split, so that the source may still cut it for both. */
static void blocks(const struct tcase *c)
{
	struct fix f;
	struct nest_pt dst;
	struct nest_mapping q;
	uint64_t t, ia;

	fix_open(&f, c);
	t = span(&f, f.top);
	if (f.max_leaf == f.top && f.top > 0 && c->ia_bits > raw_shift(&f.geo, f.top)) {
		ia = place(&f, PLACE_MID, t);
		twin(&f, &dst);
		CHECK_OK(nest_pt_map(&f.pt, ia, t, t, f.attr, 0, NULL));
		CHECK_OK(nest_pt_share(&dst, &f.pt, ia, t));
		CHECK(maps_to(&dst, ia + t - 1, 2 * t - 1));
		CHECK(maps_to(&f.pt, ia + t - 1, 2 * t - 1));
		CHECK_OK(nest_pt_unmap(&f.pt, ia, f.page, 0, NULL));
		CHECK_RC(nest_pt_query(&dst, ia, &q), NEST_E_NOTMAPPED);
		CHECK(maps_to(&dst, ia + f.page, t + f.page));
		nest_pt_destroy(&dst);
	}
	fix_close(&f);
}

static void a_shared_block_can_still_be_cut(void **state)
{
	(void)state;
	sweep(SWEEP_SOME_WIDTHS, blocks);
}

/* Whichever allocation fails, neither table has changed. */
static void share_is_all_or_nothing(void **state)
{
	struct tcase c = tcase_of(&nest_fmt_npt, NEST_FEAT_1G, 0, 0);
	struct fix f;
	struct nest_pt dst;
	struct nest_mapping q;
	uint64_t t, had;
	int rc = NEST_E_NOMEM;

	(void)state;
	fix_open(&f, &c);
	t = span(&f, f.top);
	twin(&f, &dst);
	CHECK_OK(nest_pt_map(&f.pt, t, t, f.page, f.attr, 0, NULL));
	had = f.a.outstanding;
	for (uint64_t n = 1; rc == NEST_E_NOMEM; n++) {
		arena_fail(&f.a, n, true);
		rc = nest_pt_share(&dst, &f.pt, 0, 4 * t);
		arena_fail(&f.a, 0, false);
		if (rc == NEST_OK)
			break;
		CHECK_RC(rc, NEST_E_NOMEM);
		CHECK_EQ(f.a.outstanding, had);
		CHECK_RC(nest_pt_query(&dst, t, &q), NEST_E_NOTMAPPED);
		CHECK_OK(nest_pt_map(&dst, t, 0, f.page, f.attr, 0, NULL));
		CHECK_OK(nest_pt_unmap(&dst, t, f.page, 0, NULL));
		CHECK_EQ(f.a.outstanding, had);
	}
	CHECK(maps_to(&dst, t, t));
	nest_pt_destroy(&dst);
	fix_close(&f);
}

static void share_refuses_another_geometry(void **state)
{
	struct tcase c = tcase_of(&nest_fmt_riscv_g, 0, 41, 0);
	struct nest_pt_config cfg = { .format = &nest_fmt_riscv_g, .ia_bits = 41 };
	struct nest_pt dst;
	struct nest_host host;
	struct fix f;

	(void)state;
	fix_open(&f, &c);
	cfg.host = &f.a.host;
	cfg.ctx = &f.a;
	cfg.ia_bits = 50;
	CHECK_OK(nest_pt_init(&dst, &cfg));
	CHECK_RC(nest_pt_share(&dst, &f.pt, 0, (uint64_t)1 << 39), NEST_E_INVAL);
	nest_pt_destroy(&dst);
	cfg.ia_bits = 41;
	cfg.oa_bits = 40;
	CHECK_OK(nest_pt_init(&dst, &cfg));
	CHECK_RC(nest_pt_share(&dst, &f.pt, 0, 1u << 30), NEST_E_INVAL);
	nest_pt_destroy(&dst);
	cfg.oa_bits = 0;
	cfg.features = NEST_FEAT_PBMT;
	CHECK_OK(nest_pt_init(&dst, &cfg));
	CHECK_RC(nest_pt_share(&dst, &f.pt, 0, 1u << 30), NEST_E_INVAL);
	nest_pt_destroy(&dst);
	cfg.features = 0;
	host = f.a.host;
	cfg.host = &host;
	CHECK_OK(nest_pt_init(&dst, &cfg));
	CHECK_RC(nest_pt_share(&dst, &f.pt, 0, 1u << 30), NEST_E_INVAL);
	nest_pt_destroy(&dst);
	CHECK(nest_pt_share(&f.pt, &f.pt, 0, 1u << 30) != NEST_OK);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_tables_see_a_shared_range),
		cmocka_unit_test(a_shared_block_can_still_be_cut),
		cmocka_unit_test(share_is_all_or_nothing),
		cmocka_unit_test(share_refuses_another_geometry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
