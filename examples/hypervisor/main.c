/* SPDX-License-Identifier: MIT */
/*
 * A small type-1 hypervisor: one guest on one CPU, its memory kept by libnest.
 *
 * Guest-physical memory is nothing like the host's: RAM is at GUEST_RAM, where this machine has
 * nothing at all, and each piece of it gets whatever frame is free when it is first touched. What
 * the hypervisor keeps for itself (image, table pool) is a protected range that no map may reach.
 * Everything must come back at the end: tables and frames are counted.
 */
#include <nest/arch/aarch64.h>

#include "console.h"
#include "cpu.h"
#include "memory.h"
#include "trees.h"

/* 40 bits of input: no more than any CPU here has of output, which is the limit. */
enum { VMID = 1, IPA_BITS = 40, MAX_REGIONS = 8 };

/* Guest-physical addresses. */
#define GUEST_RAM    ((nest_ia_t)0x80000000)
#define GUEST_DTB    (GUEST_RAM + 0x8000000) /* 128 MiB above the kernel */
#define GUEST_INITRD (GUEST_DTB + 0x200000)

/* What the guest asks the firmware for: PSCI, Arm DEN 0022. 64-bit calls have one bit more. */
#define PSCI_VERSION      0x84000000u
#define PSCI_CPU_ON       0x84000003u
#define PSCI_SYSTEM_OFF   0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define PSCI_FEATURES     0x8400000au
#define PSCI_64BIT        0x40000000u
enum { PSCI_SUCCESS = 0, PSCI_NOT_SUPPORTED = -1, PSCI_DENIED = -3 };

struct hypervisor {
	struct memory memory;
	struct nest_vm vm;
	struct nest_vm_region regions[MAX_REGIONS];
	struct guest_context ctx;
	uint64_t faults[3]; /* reads, writes, fetches */
	uint64_t calls, flushes;
	uint32_t features;
};

static struct hypervisor hv;
static uint64_t host_tree[TREE_SIZE / 8], guest_tree[TREE_SIZE / 8];

_Noreturn void fatal_exception(uint64_t vector);
_Noreturn void fatal_exception(uint64_t vector)
{
	die("exception in the hypervisor: vector %lu, ESR %lx, ELR %lx, FAR %lx", vector,
	    NEST_AARCH64_READ(esr_el2), NEST_AARCH64_READ(elr_el2), NEST_AARCH64_READ(far_el2));
}

static void flush_tlb(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	hv.flushes++;
	nest_aarch64_s2_flush(what);
}

static const struct nest_host host = {
	.alloc = memory_get_table,
	.free = memory_put_table,
	.tlb_flush = flush_tlb,
	.sync = memory_publish,
};

static void make_vm(const struct boot_args *args)
{
	const struct nest_aarch64_id id = nest_aarch64_read_id();
	const uint32_t features = nest_aarch64_features(&nest_fmt_aarch64_s2_4k, &id);
	const struct nest_vm_config config = {
		.pt = { .format = &nest_fmt_aarch64_s2_4k,
			.ia_bits = IPA_BITS,
			.oa_bits = nest_aarch64_oa_bits(&id, features),
			.features = features,
			.host = &host,
			.ctx = &hv.memory.tables },
		.vmid = VMID,
		.regions = hv.regions,
		.max_regions = MAX_REGIONS,
		.protect = hv.memory.kept,
		.nr_protect = sizeof(hv.memory.kept) / sizeof(hv.memory.kept[0]),
	};
	const struct nest_fdt_policy policy = {
		.ram = { .get = memory_get_frame,
			 .put = memory_put_frame,
			 .ctx = &hv.memory.frames,
			 .max_size = args->page },
		.device = pass_through,
	};
	const struct nest_range ram = { GUEST_RAM, args->ram };
	const struct nest_vm_conflict *conflict;
	int status;

	print("host: output addresses of %u bits, features %lx\n", config.pt.oa_bits,
	      (uint64_t)features);
	check(nest_vm_init(&hv.vm, &config), "making the VM");
	hv.features = features;
	tree_set_memory(guest_tree, &ram);
	status = nest_vm_from_fdt(&hv.vm, guest_tree, &policy);
	conflict = nest_vm_last_conflict(&hv.vm);
	if (status != NEST_OK && conflict->reason)
		print("host: %lx + %lx %s at %lx + %lx\n", conflict->wanted.base,
		      conflict->wanted.size, conflict->reason, conflict->existing.base,
		      conflict->existing.size);
	check(status, "laying out the VM");
	for (unsigned i = 0; i < MAX_REGIONS && hv.regions[i].size; i++)
		print("host: guest region: %lx + %lx\n", hv.regions[i].gpa, hv.regions[i].size);
}

/* libnest itself must keep the guest out of what the hypervisor keeps. */
static void try_to_break_out(void)
{
	for (unsigned i = 0; i < sizeof(hv.memory.kept) / sizeof(hv.memory.kept[0]); i++) {
		nest_pa_t pa = hv.memory.kept[i].base;

		if (nest_vm_map(&hv.vm, 0, pa, POOL_PAGE, NEST_R, 0) != NEST_E_DENIED)
			die("%lx could be mapped into the guest", pa);
		print("host: mapping %lx: %s\n", pa, nest_vm_last_conflict(&hv.vm)->reason);
	}
}

static void load(const struct nest_range *from, nest_ia_t gpa, const char *what)
{
	struct nest_mapping m;

	print("host: %s: %lu KiB to %lx\n", what, from->size >> 10, gpa);
	check(nest_vm_write(&hv.vm, gpa, (const void *)from->base, from->size, NULL), what);
	/* The guest reads it with its caches off. */
	for (nest_ia_t at = gpa; at < gpa + from->size; at = (at | (m.size - 1)) + 1) {
		check(nest_vm_translate(&hv.vm, at, NEST_R, &m), what);
		nest_aarch64_clean((const void *)(m.pa & ~(m.size - 1)), m.size);
	}
}

/* Put kernel, initramfs and device tree where the arm64 boot protocol wants them. */
static void load_guest(const struct boot_args *args)
{
	/* The kernel's header: offset from a 2 MiB boundary in word 1, a magic number in word 7. */
	const uint64_t *header = (const uint64_t *)args->kernel.base;
	nest_ia_t entry = GUEST_RAM + header[1];
	const struct nest_range initrd = { GUEST_INITRD, args->initrd.size };
	struct nest_range tree = { (uintptr_t)guest_tree, TREE_SIZE };

	if ((uint32_t)header[7] != 0x644d5241)
		die("no arm64 kernel at %lx", args->kernel.base);
	check(nest_fdt_add_memory(guest_tree, &hv.vm), "telling the guest its memory");
	tree_finish_guest(guest_tree, cpu_affinity(), args->guest, &initrd);

	load(&args->kernel, entry, "kernel");
	load(&args->initrd, GUEST_INITRD, "initramfs");
	load(&tree, GUEST_DTB, "device tree");
	hv.ctx =
		(struct guest_context){ .x[0] = GUEST_DTB, .elr = entry, .spsr = SPSR_EL1H_MASKED };
}

/* True: the guest has powered off. */
static bool firmware_call(void)
{
	uint64_t *x = hv.ctx.x;
	uint32_t function = (uint32_t)x[0];

	hv.calls++;
	switch (function) {
	case PSCI_VERSION:
		x[0] = 0x10000; /* 1.0 */
		return false;
	case PSCI_FEATURES:
		x[0] = (uint64_t)(x[1] == PSCI_SYSTEM_OFF ? PSCI_SUCCESS : PSCI_NOT_SUPPORTED);
		return false;
	case PSCI_CPU_ON:
	case PSCI_CPU_ON | PSCI_64BIT:
		x[0] = (uint64_t)PSCI_DENIED;
		return false;
	case PSCI_SYSTEM_OFF:
		return true;
	case PSCI_SYSTEM_RESET:
		die("the guest has asked for a reset: it has panicked");
	default:
		x[0] = (uint64_t)PSCI_NOT_SUPPORTED;
		return false;
	}
}

static void stage2_fault(void)
{
	static const char *const access[] = { "read", "write", "fetch" };
	struct nest_fault fault;
	struct nest_exit out;
	uint64_t hpfar;
	unsigned kind;

	if (!nest_aarch64_fault_hpfar(hv.ctx.esr, hv.ctx.far, &hpfar))
		return; /* the guest has changed its tables meanwhile */
	check(nest_fault_aarch64(hv.ctx.esr, hv.ctx.far, hpfar, &fault), "decoding a fault");
	check(nest_vm_fault(&hv.vm, &fault, &out), "handling a fault");
	kind = fault.access & NEST_X ? 2 : fault.access & NEST_W ? 1 : 0;
	hv.faults[kind]++;
	if (out.kind == NEST_EXIT_UNMAPPED)
		die("the guest's %s of %lx at pc %lx: nothing is there", access[kind], fault.gpa,
		    hv.ctx.elr);
	if (out.kind != NEST_EXIT_RESUME)
		die("the guest's %s of %lx at pc %lx: %s", access[kind], fault.gpa, hv.ctx.elr,
		    nest_strerror(out.status));
}

/* Run the guest until it powers off. */
static void run_guest(void)
{
	for (;;) {
		enter_guest(&hv.ctx);
		switch (hv.ctx.esr >> 26 & 0x3f) {
		case EC_INSTRUCTION_ABORT:
		case EC_DATA_ABORT:
			stage2_fault();
			break;
		case EC_SMC:
			hv.ctx.elr += 4; /* has not been stepped over; an HVC has */
			if (firmware_call())
				return;
			break;
		case EC_HVC:
			if (firmware_call())
				return;
			break;
		default:
			die("unexpected exit from the guest: ESR %lx at pc %lx", hv.ctx.esr,
			    hv.ctx.elr);
		}
	}
}

static void report(void)
{
	struct nest_pt *pt = nest_vm_pt(&hv.vm);
	struct nest_pt_stats stats;

	check(nest_pt_stats(pt, &stats), "counting");
	print("host: stage-2 faults: %lu (%lu reads, %lu writes, %lu fetches)\n",
	      hv.faults[0] + hv.faults[1] + hv.faults[2], hv.faults[0], hv.faults[1], hv.faults[2]);
	print("host: firmware calls: %lu\n", hv.calls);
	for (unsigned level = 0; level < nest_pt_levels(pt); level++) {
		if (stats.leaves[level])
			print("host: pages of %lu KiB: %lu (%lu of them contiguous)\n",
			      (uint64_t)1 << nest_pt_shift(pt, level) >> 10, stats.leaves[level],
			      stats.contiguous[level]);
	}
	print("host: mapped: %lu KiB; frames given: %lu KiB\n", stats.mapped >> 10,
	      hv.memory.frames.out * POOL_PAGE >> 10);
	print("host: tables used: %lu (%lu KiB; %lu KiB at the most)\n", stats.tables,
	      stats.table_bytes >> 10, hv.memory.tables.peak * POOL_PAGE >> 10);
	print("host: final layout:\n");
	check(nest_pt_dump(pt, put_char, NULL), "dumping");
}

/* After nest_vm_destroy(): has the pool everything back? */
static bool is_whole(const struct pool *pool, const char *what)
{
	print("host: %s outstanding: %lu, wrongly given back: %lu\n", what, pool->out,
	      pool->errors);
	return pool->out == 0 && pool->errors == 0;
}

_Noreturn void main(void *machine_tree);
_Noreturn void main(void *machine_tree)
{
	const struct nest_range tree = { (uintptr_t)machine_tree, TREE_SIZE };
	struct boot_args args;
	bool tables, frames;

	print("host: libnest's example hypervisor, at EL2\n");
	tree_copy(machine_tree, host_tree);
	tree_copy(machine_tree, guest_tree);
	tree_boot_args(machine_tree, &args);
	memory_start(&hv.memory, host_tree, &tree, &args);
	make_vm(&args);
	try_to_break_out();
	load_guest(&args);
	print("host: entering the guest\n");
	check(cpu_start_guest(nest_vm_pt(&hv.vm), hv.features), "entering");
	run_guest();
	cpu_stop_guest();
	print("host: the guest has powered off\n");
	report();
	nest_vm_destroy(&hv.vm);
	print("host: TLB flushes: %lu\n", hv.flushes);
	tables = is_whole(&hv.memory.tables, "tables");
	frames = is_whole(&hv.memory.frames, "frames");
	if (!tables || !frames)
		die("not everything came back");
	print("host: OK: every table and frame came back\n");
	exit_with(0);
}
