/* SPDX-License-Identifier: MIT */
/*
 * Second-stage faults from plain register values: AArch64 (ESR_EL2 by Arm ARM D19.2.37) and RISC-V
 * (privileged spec 15.6.3, table of pseudo-instructions).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nest/fault.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define UNKNOWN  NEST_FAULT_LEVEL_UNKNOWN

static void check(int line, int rc, const struct nest_fault *got, const struct nest_fault *want)
{
	if (rc != NEST_OK)
		fail_msg("line %d: rc %d", line, rc);
	if (got->gpa != want->gpa || got->gpa_valid != want->gpa_valid ||
	    got->gpa_exact != want->gpa_exact || got->access != want->access ||
	    got->kind != want->kind || got->on_table_walk != want->on_table_walk ||
	    got->gva_valid != want->gva_valid || got->gva != want->gva || got->level != want->level)
		fail_msg(
			"line %d: gpa 0x%llx valid %d exact %d access 0x%x kind %d walk %d gva %d 0x%llx level %u",
			line, (unsigned long long)got->gpa, got->gpa_valid, got->gpa_exact,
			(unsigned)got->access, (int)got->kind, got->on_table_walk, got->gva_valid,
			(unsigned long long)got->gva, got->level);
}

/* ---- AArch64 ---- */

/*
 * ESR_EL2: 31:26 class (0x24 data, 0x20 instruction, from a lower level), 25 IL, 24 ISV, 10 FnV, 8
 * CM, 7 S1PTW, 6 WnR, 5:0 status. HPFAR_EL2: 43:4 is IPA[51:12].
 */
struct aarch64_row {
	int line;
	uint64_t esr, far_el2, hpfar;
	struct nest_fault want;
};

#define VA    0xffff800012345678
/* The IPA page 0x9000000 as HPFAR_EL2 tells it. */
#define HPFAR 0x90000

#define EXACT(acc, what, lvl)                                                                      \
	{ .gpa = 0x9000678,                                                                        \
	  .gpa_valid = true,                                                                       \
	  .gpa_exact = true,                                                                       \
	  .access = acc,                                                                           \
	  .kind = NEST_FAULT_##what,                                                               \
	  .gva_valid = true,                                                                       \
	  .gva = VA,                                                                               \
	  .level = lvl }
#define WALK(acc, what, lvl)                                                                       \
	{ .gpa = 0x9000000,                                                                        \
	  .gpa_valid = true,                                                                       \
	  .on_table_walk = true,                                                                   \
	  .access = acc,                                                                           \
	  .kind = NEST_FAULT_##what,                                                               \
	  .gva_valid = true,                                                                       \
	  .gva = VA,                                                                               \
	  .level = lvl }
/* HPFAR_EL2 is unknown, whatever it holds. */
#define NO_IPA(acc, what, lvl)                                                                     \
	{ .access = acc, .kind = NEST_FAULT_##what, .gva_valid = true, .gva = VA, .level = lvl }

static const struct aarch64_row aarch64_rows[] = {
	/* Translation, levels 0 to 3 and -1: counted from the leaf. */
	{ __LINE__, 0x93810007, VA, HPFAR, EXACT(NEST_R, TRANSLATION, 0) },
	{ __LINE__, 0x92000006, VA, HPFAR, EXACT(NEST_R, TRANSLATION, 1) },
	{ __LINE__, 0x92000005, VA, HPFAR, EXACT(NEST_R, TRANSLATION, 2) },
	{ __LINE__, 0x92000004, VA, HPFAR, EXACT(NEST_R, TRANSLATION, 3) },
	{ __LINE__, 0x9200002b, VA, HPFAR, EXACT(NEST_R, TRANSLATION, 4) },
	/* A store; a fetch, where bit 6 is not WnR. */
	{ __LINE__, 0x92000047, VA, HPFAR, EXACT(NEST_W, TRANSLATION, 0) },
	{ __LINE__, 0x82000007, VA, HPFAR, EXACT(NEST_X, TRANSLATION, 0) },
	/* Address size, access flag, permission. */
	{ __LINE__, 0x92000000, VA, HPFAR, EXACT(NEST_R, ADDRESS_SIZE, 3) },
	{ __LINE__, 0x92000003, VA, HPFAR, EXACT(NEST_R, ADDRESS_SIZE, 0) },
	{ __LINE__, 0x92000029, VA, HPFAR, EXACT(NEST_R, ADDRESS_SIZE, 4) },
	{ __LINE__, 0x92000008, VA, HPFAR, EXACT(NEST_R, ACCESS_FLAG, 3) },
	{ __LINE__, 0x9200004b, VA, HPFAR, EXACT(NEST_W, ACCESS_FLAG, 0) },
	{ __LINE__, 0x9200004f, VA, HPFAR, EXACT(NEST_W, PERMISSION, 0) },
	{ __LINE__, 0x8200000e, VA, HPFAR, EXACT(NEST_X, PERMISSION, 1) },
	{ __LINE__, 0x9200000c, VA, HPFAR, EXACT(NEST_R, PERMISSION, 3) },
	/* On the guest's own table: FAR says nothing of the entry's address. */
	{ __LINE__, 0x92000087, VA, HPFAR, WALK(NEST_R, TRANSLATION, 0) },
	{ __LINE__, 0x920000c7, VA, HPFAR, WALK(NEST_R, TRANSLATION, 0) },
	{ __LINE__, 0x82000086, VA, HPFAR, WALK(NEST_R, TRANSLATION, 1) },
	{ __LINE__, 0x9200008f, VA, HPFAR, WALK(NEST_W, PERMISSION, 0) },
	/* Cache maintenance says WnR, but reads. */
	{ __LINE__, 0x92000147, VA, HPFAR, EXACT(NEST_R, TRANSLATION, 0) },
	{ __LINE__, 0x9200014f, VA, HPFAR, EXACT(NEST_W, PERMISSION, 0) },
	/* External aborts: not on a walk, on one at level 3, 0 and -1; parity. */
	{ __LINE__, 0x92000010, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, UNKNOWN) },
	{ __LINE__, 0x92000017, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, 0) },
	{ __LINE__, 0x92000014, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, 3) },
	{ __LINE__, 0x92000013, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, 4) },
	{ __LINE__, 0x92000018, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, UNKNOWN) },
	{ __LINE__, 0x9200001f, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, 0) },
	{ __LINE__, 0x9200001b, VA, HPFAR, NO_IPA(NEST_R, EXTERNAL, 4) },
	/* FAR not valid. */
	{ __LINE__,
	  0x92000410,
	  VA,
	  HPFAR,
	  { .access = NEST_R, .kind = NEST_FAULT_EXTERNAL, .level = UNKNOWN } },
	{ __LINE__,
	  0x92000407,
	  VA,
	  HPFAR,
	  { .gpa = 0x9000000,
	    .gpa_valid = true,
	    .access = NEST_R,
	    .kind = NEST_FAULT_TRANSLATION,
	    .level = 0 } },
	/* An external abort on the stage-2 walk of the guest's own walk. */
	{ __LINE__,
	  0x92000097,
	  VA,
	  HPFAR,
	  { .on_table_walk = true,
	    .access = NEST_R,
	    .kind = NEST_FAULT_EXTERNAL,
	    .gva_valid = true,
	    .gva = VA,
	    .level = 0 } },
	/* TLB conflict: of a load, a store, a fetch. */
	{ __LINE__, 0x92000030, VA, HPFAR, NO_IPA(NEST_R, CONFLICT, UNKNOWN) },
	{ __LINE__, 0x92000070, VA, HPFAR, NO_IPA(NEST_W, CONFLICT, UNKNOWN) },
	{ __LINE__, 0x82000030, VA, HPFAR, NO_IPA(NEST_X, CONFLICT, UNKNOWN) },
	/* Tag check, unassigned, alignment, exclusive. */
	{ __LINE__, 0x92000011, VA, HPFAR, NO_IPA(NEST_R, OTHER, UNKNOWN) },
	{ __LINE__, 0x92000019, VA, HPFAR, NO_IPA(NEST_R, OTHER, UNKNOWN) },
	{ __LINE__, 0x92000021, VA, HPFAR, NO_IPA(NEST_R, OTHER, UNKNOWN) },
	{ __LINE__, 0x92000035, VA, HPFAR, NO_IPA(NEST_R, OTHER, UNKNOWN) },
};

static void aarch64_aborts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(aarch64_rows); i++) {
		const struct aarch64_row *r = &aarch64_rows[i];
		struct nest_fault f = { .gpa = 1 };
		int rc = nest_fault_aarch64(r->esr, r->far_el2, r->hpfar, &f);

		check(r->line, rc, &f, &r->want);
	}
}

static void aarch64_ipa_has_up_to_52_bits(void **state)
{
	struct nest_fault f = { .gpa = 1 };

	(void)state;
	/* FIPA all ones, and NS (bit 63) beside it. */
	assert_int_equal(nest_fault_aarch64(0x92000007, 0xabc, 0x80000ffffffffff0, &f), NEST_OK);
	assert_true(f.gpa == 0xffffffffffabc);
}

static void aarch64_other_classes_are_not_second_stage_faults(void **state)
{
	/* Data abort at the same level, HVC, trapped WFI, SError. */
	static const uint64_t esr[] = { 0x96000007, 0x86000007, 0x5a000000, 0x06000000,
					0xbe000000 };
	struct nest_fault f = { .gpa = 0x1234 };

	(void)state;
	for (size_t i = 0; i < COUNT(esr); i++) {
		assert_int_equal(nest_fault_aarch64(esr[i], VA, HPFAR, &f), NEST_E_UNSUPPORTED);
		assert_true(f.gpa == 0x1234);
	}
	assert_int_equal(nest_fault_aarch64(0x92000007, VA, HPFAR, NULL), NEST_E_INVAL);
}

/* ---- RISC-V ---- */

struct riscv_row {
	int line;
	uint64_t scause, stval, htval, htinst;
	struct nest_fault want;
};

#define RV(addr, exact, acc, walk, va)                                                             \
	{ .gpa = addr,                                                                             \
	  .gpa_valid = exact,                                                                      \
	  .gpa_exact = exact,                                                                      \
	  .access = acc,                                                                           \
	  .kind = NEST_FAULT_TRANSLATION,                                                          \
	  .on_table_walk = walk,                                                                   \
	  .gva_valid = (va) != 0,                                                                  \
	  .gva = va,                                                                               \
	  .level = UNKNOWN }

static const struct riscv_row riscv_rows[] = {
	/* The low two bits of the address are in stval. */
	{ __LINE__, 20, 0x3ffe, 0x20000400, 0, RV(0x80001002, true, NEST_X, false, 0x3ffe) },
	{ __LINE__, 21, 0x3ff3, 0x20000400, 0, RV(0x80001003, true, NEST_R, false, 0x3ff3) },
	{ __LINE__, 23, 0x3ff1, 0x20000400, 0, RV(0x80001001, true, NEST_W, false, 0x3ff1) },
	/* Transformed instructions: ld, sd, c.sw, amoadd.d, amoswap.w, sc.d, hsv.w. */
	{ __LINE__, 21, 0x3000, 0x20000400, 0x00003503,
	  RV(0x80001000, true, NEST_R, false, 0x3000) },
	{ __LINE__, 23, 0x3000, 0x20000400, 0x00a03023,
	  RV(0x80001000, true, NEST_W, false, 0x3000) },
	{ __LINE__, 23, 0x3000, 0x20000400, 0x00a02021,
	  RV(0x80001000, true, NEST_W, false, 0x3000) },
	{ __LINE__, 23, 0x3000, 0x20000400, 0x00b0352f,
	  RV(0x80001000, true, NEST_RW, false, 0x3000) },
	{ __LINE__, 23, 0x3000, 0x20000400, 0x08b0252f,
	  RV(0x80001000, true, NEST_RW, false, 0x3000) },
	{ __LINE__, 23, 0x3000, 0x20000400, 0x18b0352f,
	  RV(0x80001000, true, NEST_W, false, 0x3000) },
	{ __LINE__, 23, 0x3000, 0x20000400, 0x6ab04073,
	  RV(0x80001000, true, NEST_W, false, 0x3000) },
	/*
	 * The guest's page walk: reads and writes, of 64 and 32 bits; stval is not the entry's
	 * address.
	 */
	{ __LINE__, 20, 0x3fff, 0x20000402, 0x3000, RV(0x80001008, true, NEST_R, true, 0x3fff) },
	{ __LINE__, 21, 0x3fff, 0x20000402, 0x3000, RV(0x80001008, true, NEST_R, true, 0x3fff) },
	{ __LINE__, 21, 0x3fff, 0x20000402, 0x3020, RV(0x80001008, true, NEST_W, true, 0x3fff) },
	{ __LINE__, 23, 0x3fff, 0x20000402, 0x3000, RV(0x80001008, true, NEST_R, true, 0x3fff) },
	{ __LINE__, 21, 0x3fff, 0x20000402, 0x2000, RV(0x80001008, true, NEST_R, true, 0x3fff) },
	{ __LINE__, 23, 0x3fff, 0x20000402, 0x2020, RV(0x80001008, true, NEST_W, true, 0x3fff) },
	/* htval 0, which is not told from address 0: no load, no store, no fetch has an address. */
	{ __LINE__, 20, 0x3002, 0, 0, RV(0x0, false, NEST_X, false, 0x3002) },
	{ __LINE__, 21, 0x3002, 0, 0, RV(0x0, false, NEST_R, false, 0x3002) },
	{ __LINE__, 23, 0x3003, 0, 0, RV(0x0, false, NEST_W, false, 0x3003) },
	{ __LINE__, 23, 0x3000, 0, 0x00b0352f, RV(0x0, false, NEST_RW, false, 0x3000) },
	{ __LINE__, 21, 0x3002, 0, 0x3000, RV(0x0, false, NEST_R, true, 0x3002) },
	/* stval 0, which is not told from virtual address 0: with and without htval. */
	{ __LINE__, 21, 0, 0x20000400, 0, RV(0x80001000, true, NEST_R, false, 0) },
	{ __LINE__, 23, 0, 0, 0, RV(0x0, false, NEST_W, false, 0) },
	/* Wide: Sv57x4. */
	{ __LINE__, 21, 0x8, 0x1fffffffffffffe, 0,
	  RV(0x7fffffffffffff8, true, NEST_R, false, 0x8) },
};

static void riscv_guest_page_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(riscv_rows); i++) {
		const struct riscv_row *r = &riscv_rows[i];
		struct nest_fault f = { .gpa = 1 };
		int rc = nest_fault_riscv(r->scause, r->stval, r->htval, r->htinst, &f);

		check(r->line, rc, &f, &r->want);
	}
}

static void riscv_other_causes_are_not_guest_page_faults(void **state)
{
	/*
	 * Load page fault, virtual instruction, ecall from VS, VS external interrupt (21 and 23
	 * too).
	 */
	static const uint64_t scause[] = {
		13, 22, 10, 0x800000000000000a, 0x8000000000000015, 0x8000000000000017, 0, 24
	};
	struct nest_fault f = { .gpa = 0x1234 };

	(void)state;
	for (size_t i = 0; i < COUNT(scause); i++) {
		assert_int_equal(nest_fault_riscv(scause[i], 0, 1, 0, &f), NEST_E_UNSUPPORTED);
		assert_true(f.gpa == 0x1234);
	}
	assert_int_equal(nest_fault_riscv(21, 0, 1, 0, NULL), NEST_E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aarch64_aborts),
		cmocka_unit_test(aarch64_ipa_has_up_to_52_bits),
		cmocka_unit_test(aarch64_other_classes_are_not_second_stage_faults),
		cmocka_unit_test(riscv_guest_page_faults),
		cmocka_unit_test(riscv_other_causes_are_not_guest_page_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
