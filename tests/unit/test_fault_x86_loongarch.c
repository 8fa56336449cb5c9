/* SPDX-License-Identifier: MIT */
/*
 * Faults decoded from register values as the manuals define them: the exit qualification of SDM
 * vol. 3C table 28-7, EXITINFO1 of APM vol. 2 15.25.6, ESTAT of the LoongArch manual vol. 1 7.4.6.
 */
#include "support.h"

#include <nest/fault.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* What a decoder must not touch when it refuses. */
static const struct nest_fault untouched = { .gpa = 0x5a5a, .level = 77 };

static void check_fault(const struct nest_fault *got, const struct nest_fault *want)
{
	CHECK_EQ(got->gpa, want->gpa);
	CHECK_EQ(got->gpa_valid, want->gpa_valid);
	CHECK_EQ(got->gpa_exact, want->gpa_exact);
	CHECK_EQ(got->access, want->access);
	CHECK_EQ(got->kind, want->kind);
	CHECK_EQ(got->on_table_walk, want->on_table_walk);
	CHECK_EQ(got->gva_valid, want->gva_valid);
	CHECK_EQ(got->gva, want->gva);
	CHECK_EQ(got->level, want->level);
}

static void ept_violations(void **state)
{
	/* 0 R, 1 W, 2 fetch; 6:3 what is allowed (6 user fetches); 7 linear address valid; 8 final,
	 * not the walk */
	static const struct {
		uint64_t qualification;
		nest_attr_t access;
		enum nest_fault_kind kind;
		bool walk, gva;
	} cases[] = {
		{ 0x181, NEST_R, NEST_FAULT_TRANSLATION, false, true },
		{ 0x182, NEST_W, NEST_FAULT_TRANSLATION, false, true },
		{ 0x184, NEST_X, NEST_FAULT_TRANSLATION, false, true },
		{ 0x183, NEST_RW, NEST_FAULT_TRANSLATION, false, true },
		{ 0x18a, NEST_W, NEST_FAULT_PERMISSION, false, true }, /* R-- */
		{ 0x1aa, NEST_W, NEST_FAULT_PERMISSION, false, true }, /* R-X */
		{ 0x19c, NEST_X, NEST_FAULT_PERMISSION, false, true }, /* RW- */
		{ 0x1a1, NEST_R, NEST_FAULT_PERMISSION, false, true }, /* --X */
		{ 0x081, NEST_R, NEST_FAULT_TRANSLATION, true, true }, /* the guest's walk */
		{ 0x08b, NEST_RW, NEST_FAULT_PERMISSION, true, true }, /* it writes with A/D on */
		{ 0x001, NEST_R, NEST_FAULT_TRANSLATION, false,
		  false }, /* a load of PDPTEs: no address */
		{ 0x101, NEST_R, NEST_FAULT_TRANSLATION, false,
		  false }, /* 8 means nothing without 7 */
		{ 0x1c1, NEST_R, NEST_FAULT_PERMISSION, false, true }, /* user X alone */
		{ 0x1c2, NEST_W, NEST_FAULT_PERMISSION, false, true },
		{ 0x1c4, NEST_X, NEST_FAULT_PERMISSION, false, true }, /* by the supervisor */
		{ 0x1fc, NEST_X, NEST_FAULT_PERMISSION, false, true },
		{ 0x11181, NEST_R, NEST_FAULT_TRANSLATION, false,
		  true }, /* 12 NMI unblocking, 16 async */
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct nest_fault f, want = {
			.gpa = 0x123456789,
			.gpa_valid = true,
			.gpa_exact = true,
			.access = cases[i].access,
			.kind = cases[i].kind,
			.on_table_walk = cases[i].walk,
			.gva_valid = cases[i].gva,
			.gva = cases[i].gva ? 0xffff800000001234 : 0,
			.level = NEST_FAULT_LEVEL_UNKNOWN,
		};

		snprintf(test_case, sizeof(test_case), "qualification 0x%llx",
			 (unsigned long long)cases[i].qualification);
		CHECK_OK(nest_fault_ept(cases[i].qualification, 0x123456789, 0xffff800000001234,
					false, &f));
		check_fault(&f, &want);
	}
}

static void an_ept_misconfiguration_tells_the_address_alone(void **state)
{
	const struct nest_fault want = {
		.gpa = 0x7000,
		.gpa_valid = true,
		.gpa_exact = true,
		.kind = NEST_FAULT_MISCONFIG,
		.level = NEST_FAULT_LEVEL_UNKNOWN,
	};
	struct nest_fault f;

	(void)state;
	CHECK_OK(nest_fault_ept(0xffff, 0x7000, 0x8000, true, &f));
	check_fault(&f, &want);
}

static void npt_faults(void **state)
{
	/* 0 P, 1 W, 2 U, 3 RSV, 4 fetch, 32 final address, 33 guest table walk */
	static const struct {
		uint64_t info;
		nest_attr_t access;
		enum nest_fault_kind kind;
		bool walk;
	} cases[] = {
		{ 0x100000004, NEST_R, NEST_FAULT_TRANSLATION, false },
		{ 0x100000006, NEST_W, NEST_FAULT_TRANSLATION, false },
		{ 0x100000014, NEST_X, NEST_FAULT_TRANSLATION, false },
		{ 0x100000007, NEST_W, NEST_FAULT_PERMISSION, false },
		{ 0x100000015, NEST_X, NEST_FAULT_PERMISSION, false },
		{ 0x200000006, NEST_W, NEST_FAULT_TRANSLATION, true },
		{ 0x200000007, NEST_W, NEST_FAULT_PERMISSION, true },
		{ 0x10000000d, NEST_R, NEST_FAULT_MISCONFIG, false },
		{ 0x10000000c, NEST_R, NEST_FAULT_MISCONFIG, false }, /* RSV with P clear */
		{ 0x20000000f, NEST_W, NEST_FAULT_MISCONFIG, true },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct nest_fault f, want = {
			.gpa = 0xfee00030,
			.gpa_valid = true,
			.gpa_exact = true,
			.access = cases[i].access,
			.kind = cases[i].kind,
			.on_table_walk = cases[i].walk,
			.level = NEST_FAULT_LEVEL_UNKNOWN,
		};

		snprintf(test_case, sizeof(test_case), "EXITINFO1 0x%llx",
			 (unsigned long long)cases[i].info);
		CHECK_OK(nest_fault_npt(cases[i].info, 0xfee00030, &f));
		check_fault(&f, &want);
	}
}

static void loongarch_faults(void **state)
{
	/* Ecode 21:16, EsubCode 30:22; interrupt bits below do not matter */
	static const struct {
		uint64_t estat;
		nest_attr_t access;
		enum nest_fault_kind kind;
	} cases[] = {
		{ 0x010000, NEST_R, NEST_FAULT_TRANSLATION }, /* PIL */
		{ 0x020000, NEST_W, NEST_FAULT_TRANSLATION }, /* PIS */
		{ 0x030000, NEST_X, NEST_FAULT_TRANSLATION }, /* PIF */
		{ 0x040000, NEST_W, NEST_FAULT_PERMISSION },  /* PME */
		{ 0x050000, NEST_R, NEST_FAULT_PERMISSION },  /* PNR */
		{ 0x060000, NEST_X, NEST_FAULT_PERMISSION },  /* PNX */
		/* PPI tells no access: as a lack of rights it could be "repaired" for ever. */
		{ 0x070000, 0, NEST_FAULT_MISCONFIG },
		{ 0x080000, NEST_X, NEST_FAULT_ADDRESS_SIZE }, /* ADEF */
		{ 0x480000, 0, NEST_FAULT_ADDRESS_SIZE },      /* ADEM */
		{ 0x021fff, NEST_W, NEST_FAULT_TRANSLATION },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct nest_fault f, want = {
			.gpa = 0x1fe001e4,
			.gpa_valid = true,
			.gpa_exact = true,
			.access = cases[i].access,
			.kind = cases[i].kind,
			.level = NEST_FAULT_LEVEL_UNKNOWN,
		};

		snprintf(test_case, sizeof(test_case), "ESTAT 0x%llx",
			 (unsigned long long)cases[i].estat);
		CHECK_OK(nest_fault_loongarch(cases[i].estat, 0x1fe001e4, false, 0x1234, &f));
		check_fault(&f, &want);
		want.gva_valid = true;
		want.gva = 0x1234;
		CHECK_OK(nest_fault_loongarch(cases[i].estat, 0x1fe001e4, true, 0x1234, &f));
		check_fault(&f, &want);
	}
}

static void values_of_no_fault_are_refused(void **state)
{
	static const uint64_t no_ecode[] = { 0x0,      0x90000,  0xb0000, 0x160000,
					     0x170000, 0x180000, 0x3f0000 };
	struct nest_fault f = untouched;

	(void)state;
	snprintf(test_case, sizeof(test_case), "refused");
	CHECK_RC(nest_fault_ept(0x180, 0x1000, 0, false, &f), NEST_E_UNSUPPORTED);
	check_fault(&f, &untouched);
	/* A fetch and a read at once (found by fuzz_fault). */
	CHECK_RC(nest_fault_ept(0x185, 0x1000, 0, false, &f), NEST_E_UNSUPPORTED);
	check_fault(&f, &untouched);
	CHECK_RC(nest_fault_npt(0x300000004, 0x1000, &f), NEST_E_UNSUPPORTED);
	check_fault(&f, &untouched);
	for (size_t i = 0; i < LENGTH(no_ecode); i++) {
		CHECK_RC(nest_fault_loongarch(no_ecode[i], 0, false, 0, &f), NEST_E_UNSUPPORTED);
		check_fault(&f, &untouched);
	}
	CHECK_RC(nest_fault_ept(0x181, 0, 0, false, NULL), NEST_E_INVAL);
	CHECK_RC(nest_fault_ept(0, 0, 0, true, NULL), NEST_E_INVAL);
	CHECK_RC(nest_fault_npt(0x100000004, 0, NULL), NEST_E_INVAL);
	CHECK_RC(nest_fault_loongarch(0x10000, 0, false, 0, NULL), NEST_E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ept_violations),
		cmocka_unit_test(an_ept_misconfiguration_tells_the_address_alone),
		cmocka_unit_test(npt_faults),
		cmocka_unit_test(loongarch_faults),
		cmocka_unit_test(values_of_no_fault_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
