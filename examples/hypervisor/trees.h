/* SPDX-License-Identifier: MIT */
/*
 * Device trees: what QEMU says about the machine, and the tree of the guest, which is QEMU's with
 * everything taken out that the guest does not get.
 *
 * Every function ends the machine (die()) when a tree is not as it must be.
 */
#ifndef TREES_H
#define TREES_H

#include <nest/fdt.h>

enum { TREE_SIZE = 64 << 10 }; /* room for a tree and what is added to it */

/* What the boot script tells by QEMU's -append. */
struct boot_args {
	struct nest_range kernel, initrd; /* where QEMU has put the files: kernel=ADDRESS,SIZE */
	uint64_t ram;                     /* bytes of RAM for the guest: ram=SIZE */
	uint64_t page;                    /* largest frame to give at a time: page=SIZE */
	const char *guest;                /* the guest's command line: all after "-- " */
};

/* Copy a tree to `to`, of TREE_SIZE bytes. */
void tree_copy(void *from, void *to);
void tree_boot_args(const void *tree, struct boot_args *out);
/* Take a range out of what nest_fdt_memory() will find. */
void tree_reserve(void *tree, const struct nest_range *range);
/* Let `ram` be the only memory of the tree. */
void tree_set_memory(void *tree, const struct nest_range *ram);

/* The device callback of a struct nest_fdt_policy: UART and interrupt controller, as they are. */
enum nest_fdt_action pass_through(void *ctx, const void *fdt, int node, const char *compatible,
				  const struct nest_range *reg, nest_attr_t *attr, void **cookie);

/* Leave the boot CPU and what the guest can reach; tell it its command line and initramfs. */
void tree_finish_guest(void *tree, uint64_t boot_cpu, const char *args,
		       const struct nest_range *initrd);

#endif
