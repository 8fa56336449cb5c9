/* SPDX-License-Identifier: MIT */
/*
 * The contract between the walker suite, which is written once, and the port of a machine.
 *
 * An image runs on the bare emulated machine. The port probes the CPU, says in which
 * configurations it can walk tables of the library, loads a root, makes accesses through it, and
 * reports what the CPU did. The suite makes the tables through the public API and compares what the
 * CPU did with what the calls must mean, kept as a plain array of pages.
 */
#ifndef WALKER_H
#define WALKER_H

#include <nest/nest.h>

#include "deviations.h"
#include "model/mmu.h"
#include "print.h"

enum walker_access { WALKER_READ, WALKER_WRITE, WALKER_EXEC, WALKER_RMW, WALKER_ACCESSES };
enum walker_mode { WALKER_PRIVILEGED, WALKER_USER, WALKER_MODES };

#define WALKER_CAN(access) ((uint8_t)(1u << (access)))

/* For the ports' tables of rights: what an access may be, and the same in both modes. */
#define CAN_R     WALKER_CAN(WALKER_READ)
#define CAN_W     WALKER_CAN(WALKER_WRITE)
#define CAN_X     WALKER_CAN(WALKER_EXEC)
#define CAN_RW    (CAN_R | CAN_W | WALKER_CAN(WALKER_RMW))
#define CAN_RX    (CAN_R | CAN_X)
#define CAN_RWX   (CAN_RW | CAN_X)
#define BOTH(can) { (can), (can) }

#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

/* Attributes to map with, and what an access in each mode may do with them, from the manual. */
struct walker_attr {
	nest_attr_t attr;
	uint8_t allow[WALKER_MODES]; /* WALKER_CAN(...) or-ed */
};

/* One format as this CPU walks it. */
struct walker_config {
	const char *name; /* "s2-4k-40"; unique in the image */
	const struct nest_format *format;
	unsigned ia_bits, oa_bits;
	uint32_t features; /* from the probing functions of nest/arch, less what is not wanted */
	uint32_t flags;    /* NEST_PT_* */
	/* Input addresses the CPU can issue: of the lower 2^reach_bits only; 0: all of ia_bits. */
	unsigned reach_bits;
	/* Rights and memory types. The first one allows reads and writes in every mode in `modes`.
	 */
	const struct walker_attr *attrs;
	unsigned nr_attrs;
	uint8_t modes;    /* bit n: accesses in walker_mode n can be made */
	uint8_t accesses; /* WALKER_CAN(...): which accesses can be made */
	/*
	 * Memory that the port needs mapped while the table is loaded (code stubs, the guest's own
	 * tables): home_size bytes at home_pa with home_attr, multiples of the smallest page. The
	 * suite chooses where, unless home_fixed: then at home_ia. home_size 0: nothing.
	 */
	nest_pa_t home_pa;
	uint64_t home_size;
	nest_attr_t home_attr;
	bool home_fixed;
	nest_ia_t home_ia;
	/* Of NEST_ACCESSED and NEST_DIRTY: what hardware sets in leaves by itself... */
	nest_attr_t hw_ad;
	/* ...and what makes an access fault with NEST_FAULT_ACCESS_FLAG while it is clear. */
	nest_attr_t sw_ad;
	/* That fault comes before one for want of rights. */
	bool ad_before_rights;
	/* Attributes that make a page of `attrs` writable-clean where that takes any (NEST_DBM). */
	nest_attr_t clean_attr;
	/* Faults do not tell why: every one counts as NEST_FAULT_TRANSLATION. */
	bool one_fault_kind;
	/* The guest's own walk reads table entries with a write access (NPT; EPT with A/D). */
	bool walk_writes;
	/* The port's own number for it: which registers to load. */
	unsigned port_index;
};

struct walker_outcome {
	bool done;               /* the access was made; else `fault` says why not */
	uint64_t value;          /* READ, RMW: what was there */
	struct nest_fault fault; /* decoded by nest/fault.h for second stages, else by the port */
};

/* What was tried and what should have come of it. */
struct walker_probe {
	nest_ia_t ia;
	enum walker_access access;
	enum walker_mode mode;
	bool mapped;      /* something is mapped at ia... */
	nest_attr_t attr; /* ...with these attributes... */
	nest_pa_t pa;     /* ...to this address */
	bool expect_done; /* else a fault is expected, of this kind */
	enum nest_fault_kind expect_kind;
	const struct mmu_step *step; /* where the reference MMU's walk has ended; NULL: not asked */
};

/* ---- What a port provides ---- */

/* First call: exception vectors, console. Print what the probing of nest/arch found. */
void port_start(void);
/* The configurations of this machine, in the order to run them. */
const struct walker_config *port_configs(unsigned *count);
/* Free RAM for tables and frames; the port's and the image's own memory is not in it. */
void port_ram(nest_pa_t *base, uint64_t *size);
/* Added to a physical address to reach it by a pointer. */
extern const uint64_t port_linear_offset;

/*
 * Load the root registers for `pt`, made by the nest/arch functions, and forget what the TLB holds.
 * The home area is mapped at `home` when an access is made, not yet now. A status that a register
 * function returned is returned.
 */
int port_load(const struct walker_config *config, struct nest_pt *pt, nest_ia_t home);
void port_unload(void);

/* nest_host.tlb_flush: by the library's TLB function for the loaded configuration. */
void port_flush(const struct nest_flush *what);
/* nest_host.sync. */
void port_sync(const void *va, size_t len);

/*
 * One 8-byte access at `ia`, a multiple of 8: READ; WRITE of `value`; RMW: an atomic add of
 * `value`; EXEC: jump there, where the suite has put port_code(). What the TLB holds stays.
 */
void port_access(nest_ia_t ia, enum walker_access access, enum walker_mode mode, uint64_t value,
		 struct walker_outcome *out);

/* Instructions that end a WALKER_EXEC successfully in either mode: at most 16 bytes. */
const void *port_code(size_t *len);
/* The suite changed instructions at [va, va + len). */
void port_code_written(void *va, size_t len);

/*
 * Let the guest's own first-stage walk read an entry of the table at guest-physical `table`, whose
 * frame is `frame` (the port writes the guest's entry there by its pointer, if frame is not
 * NEST_PA_NONE), for a READ or WRITE of a page in the home area. False: cannot be done in this
 * configuration.
 */
bool port_guest_walk(nest_ia_t table, nest_pa_t frame, enum walker_access access,
		     struct walker_outcome *out);

/*
 * The reference MMU of the loaded table, and the registers as the CPU has them now (read back from
 * it, not asked of the library). NULL: none.
 */
const struct mmu *port_mmu(const struct walker_config *config, struct mmu_regs *regs);

/*
 * Where the CPU can be asked for a translation without an access: *pa, and the memory type it
 * found, as NEST_MT_*. False: it cannot, or the access would fault.
 */
bool port_translate(nest_ia_t ia, enum walker_access access, nest_pa_t *pa, nest_attr_t *type);

/*
 * Called when an outcome is not as expected: the deviation of this emulator that explains it, or
 * WALKER_NO_DEVIATION.
 */
enum walker_deviation port_explain(const struct walker_config *config,
				   const struct walker_probe *probe,
				   const struct walker_outcome *outcome);

/*
 * Suites of this machine alone (the log of modified pages, for one), run for each configuration
 * with nothing loaded, after the shared ones.
 */
void port_extra(const struct walker_config *config);

/*
 * Is there a second CPU that can use tables of this configuration? Then port_access() and
 * port_flush() may be called on both at a time.
 */
bool port_has_second(const struct walker_config *config);
/* Start it: with the table of the last port_load() loaded it runs fn, once. False: it did not. */
bool port_second_start(void (*fn)(void));
/* Until fn has returned and it has stopped. */
void port_second_wait(void);

/* End the emulator: its status says whether `ok`. */
_Noreturn void port_exit(bool ok);

/* put_char() of print.h is the port's too. */

/* ---- What the suite provides ---- */

/* The image's main(), called by the port's start code. */
_Noreturn void walker_main(void);

/* A check: counted; when it does not hold, prints "FAIL ..." with what follows. */
#define CHECK(condition, ...)                                                                      \
	do {                                                                                       \
		walker_checks++;                                                                   \
		if (!(condition) && walker_fail(__FILE__, __LINE__)) {                             \
			print(__VA_ARGS__);                                                        \
			print("\n");                                                               \
		}                                                                                  \
	} while (0)
extern uint64_t walker_checks, walker_failures;
/* Count a failure; true: there have been few enough in this suite to tell more of it. */
bool walker_fail(const char *file, int line);
/* Begin a suite: what is checked from now on is counted and told under this name. */
void walker_suite(const char *name);
/* Count a tolerated deviation that the port has worked around. */
void walker_tolerated(enum walker_deviation deviation);
/* End the image with a message: the machine is not what the port needs. */
#define walker_die(...)                                                                            \
	do {                                                                                       \
		print("\nwalker: " __VA_ARGS__);                                                   \
		print("\n");                                                                       \
		port_exit(false);                                                                  \
	} while (0)

/* Memory for tables and frames, as nest_host gives it: size- and size-aligned. */
nest_pa_t walker_alloc(uint64_t size);
void walker_free(nest_pa_t pa, uint64_t size);
static inline void *walker_va(nest_pa_t pa)
{
	return (void *)(uintptr_t)(pa + port_linear_offset);
}
/* Host callbacks that use these and port_flush(), port_sync(). */
extern const struct nest_host walker_host;
/* Repeatable random numbers. */
uint64_t walker_random(void);

#endif
