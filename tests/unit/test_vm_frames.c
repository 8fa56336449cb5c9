/* SPDX-License-Identifier: MIT */
/*
 * Frames given lazily: a region that comes back asks its provider again, and what a guest finds in
 * a frame is what the provider put there; the library neither keeps old frames nor writes to new
 * ones.
 */
#include "vm_host.h"

static void a_frame_given_again_is_asked_for_again_and_zero(void **state)
{
	static const uint8_t zero[4096];
	uint8_t page[4096];
	struct vmt t;

	(void)state;
	vmt_open_named(&t, "ept", 0);
	for (unsigned round = 0; round < 3; round++) {
		CHECK_OK(nest_vm_add_ram(&t.vm, 0x10000, 0x10000, &t.provider, 0));
		CHECK(!vmt_is_mapped(&t, 0x10000));
		CHECK_OK(nest_vm_read(&t.vm, 0x10000, page, sizeof(page), NULL));
		CHECK(!memcmp(page, zero, sizeof(page)));
		memset(page, 0x5a, sizeof(page));
		CHECK_OK(nest_vm_write(&t.vm, 0x10000, page, sizeof(page), NULL));
		CHECK_OK(nest_vm_remove(&t.vm, 0x10000, 0x10000, 0));
	}
	vmt_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_given_again_is_asked_for_again_and_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
