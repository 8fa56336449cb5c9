/* SPDX-License-Identifier: MIT */
/*
 * Device trees; see trees.h. Offsets of nodes are good until the next change of the tree, so that
 * each step looks up its node again.
 */
#include <libfdt.h>
#include <string.h>

#include "console.h"
#include "trees.h"

/* Devices that the guest drives itself. */
static const char *const passed[] = { "arm,pl011", "arm,gic-v3" };
/* Nodes that describe no memory: registers of the CPU, calls to the firmware, fixed clocks. */
static const char *const harmless[] = { "arm,armv8-timer", "arm,psci-0.2", "fixed-clock" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A result of libfdt, which must not be an error. */
static int must(int result, const char *doing)
{
	if (result < 0)
		die("%s: libfdt error %u", doing, (unsigned)-result);
	return result;
}

static void set_string(void *tree, int node, const char *name, const char *value)
{
	must(fdt_setprop(tree, node, name, value, (int)strlen(value) + 1), name);
}

static void set_u64(void *tree, int node, const char *name, uint64_t value)
{
	must(fdt_setprop_u64(tree, node, name, value), name);
}

static bool is_one_of(const void *tree, int node, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fdt_node_check_compatible(tree, node, names[i]) == 0)
			return true;
	}
	return false;
}

void tree_copy(void *from, void *to)
{
	/* QEMU leaves a megabyte of slack in its tree. */
	must(fdt_pack(from), "packing the machine's device tree");
	must(fdt_open_into(from, to, TREE_SIZE), "copying the device tree");
}

static const char *parse_number(const char *p, uint64_t *out)
{
	unsigned base = p[0] == '0' && p[1] == 'x' ? 16 : 10;

	if (base == 16)
		p += 2;
	for (*out = 0;; p++) {
		unsigned digit = *p >= 'a' ? (unsigned)(*p - 'a') + 10 : (unsigned)(*p - '0');

		if (*p < '0' || digit >= base)
			return p;
		*out = *out * base + digit;
	}
}

/* What stands behind `name` in a list of words. */
static const char *find_word(const char *args, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = args; p && *p; p = strchr(p, ' ')) {
		while (*p == ' ')
			p++;
		if (strnlen(p, len) == len && memcmp(p, name, len) == 0)
			return p + len;
	}
	die("no %s in the hypervisor's command line", name);
}

static void parse_range(const char *args, const char *name, struct nest_range *out)
{
	const char *p = parse_number(find_word(args, name), &out->base);

	if (*p == ',')
		p = parse_number(p + 1, &out->size);
	if ((*p && *p != ' ') || !out->size)
		die("%s wants ADDRESS,SIZE", name);
}

void tree_boot_args(const void *tree, struct boot_args *out)
{
	int chosen = must(fdt_path_offset(tree, "/chosen"), "looking for /chosen");
	int len;
	const char *args = fdt_getprop(tree, chosen, "bootargs", &len);

	must(args ? 0 : len, "looking for the command line");
	parse_range(args, "kernel=", &out->kernel);
	parse_range(args, "initrd=", &out->initrd);
	parse_number(find_word(args, "ram="), &out->ram);
	parse_number(find_word(args, "page="), &out->page);
	out->guest = find_word(args, "-- ");
}

void tree_reserve(void *tree, const struct nest_range *range)
{
	must(fdt_add_mem_rsv(tree, range->base, range->size), "reserving memory");
}

void tree_set_memory(void *tree, const struct nest_range *ram)
{
	int node;

	while ((node = fdt_node_offset_by_prop_value(tree, -1, "device_type", "memory", 7)) >= 0)
		must(fdt_del_node(tree, node), "removing memory");
	if (fdt_address_cells(tree, 0) != 2 || fdt_size_cells(tree, 0) != 2)
		die("the device tree's addresses are not of 64 bits");
	node = must(fdt_add_subnode(tree, 0, "memory"), "adding memory");
	set_string(tree, node, "device_type", "memory");
	set_u64(tree, node, "reg", ram->base);
	must(fdt_appendprop_u64(tree, node, "reg", ram->size), "adding memory");
}

enum nest_fdt_action pass_through(void *ctx, const void *fdt, int node, const char *compatible,
				  const struct nest_range *reg, nest_attr_t *attr, void **cookie)
{
	(void)ctx, (void)compatible, (void)attr, (void)cookie;
	if (!is_one_of(fdt, node, passed, COUNT(passed)))
		return NEST_FDT_SKIP;
	print("host: pass through %s: %lx + %lx\n", fdt_get_name(fdt, node, NULL), reg->base,
	      reg->size);
	return NEST_FDT_DEVICE;
}

/* Would the guest miss this child of the root? */
static bool is_kept(const void *tree, int node, uint64_t unused)
{
	(void)unused;
	return !fdt_getprop(tree, node, "compatible", NULL) ||
	       is_one_of(tree, node, passed, COUNT(passed)) ||
	       is_one_of(tree, node, harmless, COUNT(harmless));
}

static bool is_cpu(const void *tree, int node, uint64_t id)
{
	int len;
	const fdt32_t *reg = fdt_getprop(tree, node, "reg", &len);

	return reg && len >= 4 && fdt32_to_cpu(reg[len / 4 - 1]) == id;
}

static bool is_never(const void *tree, int node, uint64_t unused)
{
	(void)tree, (void)node, (void)unused;
	return false;
}

/* Delete the children of the node at `path` that `keep` does not want. */
static void prune(void *tree, const char *path,
		  bool (*keep)(const void *tree, int node, uint64_t arg), uint64_t arg)
{
	int node = fdt_first_subnode(tree, must(fdt_path_offset(tree, path), path));

	while (node >= 0) {
		if (keep(tree, node, arg)) {
			node = fdt_next_subnode(tree, node);
			continue;
		}
		must(fdt_del_node(tree, node), "removing a node");
		node = fdt_first_subnode(tree, must(fdt_path_offset(tree, path), path));
	}
}

void tree_finish_guest(void *tree, uint64_t boot_cpu, const char *args,
		       const struct nest_range *initrd)
{
	char gic[64];
	int chosen;

	prune(tree, "/", is_kept, 0);
	prune(tree, "/cpus", is_cpu, boot_cpu);
	/* The ITS below the interrupt controller reads and writes memory untranslated. */
	must(fdt_get_path(tree, fdt_node_offset_by_compatible(tree, -1, "arm,gic-v3"), gic,
			  sizeof(gic)),
	     "looking for the interrupt controller");
	prune(tree, gic, is_never, 0);

	chosen = must(fdt_path_offset(tree, "/chosen"), "looking for /chosen");
	set_string(tree, chosen, "bootargs", args);
	set_u64(tree, chosen, "linux,initrd-start", initrd->base);
	set_u64(tree, chosen, "linux,initrd-end", initrd->base + initrd->size);
	must(fdt_pack(tree), "packing the guest's device tree");
}
