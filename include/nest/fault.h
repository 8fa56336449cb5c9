/* SPDX-License-Identifier: MIT */
/*
 * Second-stage faults, decoded from plain register values. These run anywhere.
 */
#ifndef NEST_FAULT_H
#define NEST_FAULT_H

#include <nest/attr.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nest_fault_kind {
	NEST_FAULT_TRANSLATION,  /* nothing is mapped there */
	NEST_FAULT_PERMISSION,   /* mapped, but not with that right */
	NEST_FAULT_MISCONFIG,    /* an entry that the architecture forbids, or that the format
				    never makes */
	NEST_FAULT_ADDRESS_SIZE, /* an address beyond the configured width */
	NEST_FAULT_ACCESS_FLAG,  /* the entry's access flag (or dirty bit) is clear and software
				    keeps it */
	NEST_FAULT_EXTERNAL,     /* the memory system failed under a walk or access */
	NEST_FAULT_CONFLICT,     /* the TLB holds two entries for one address: flush the VMID and
				    resume the guest */
	NEST_FAULT_OTHER         /* an exception of this class that is none of these */
};

#define NEST_FAULT_LEVEL_UNKNOWN 0xffu

struct nest_fault {
	nest_ia_t gpa;  /* faulting guest-physical address, when gpa_valid */
	bool gpa_valid; /* false: the registers do not tell the address; gpa is 0 and says nothing
			 */
	bool gpa_exact; /* false: only the 4 KiB page is known (with gpa_valid), or nothing */
	/* What was tried: NEST_R, NEST_W, NEST_X or NEST_RW (read-modify-write). 0: not told. */
	nest_attr_t access;
	enum nest_fault_kind kind;
	bool on_table_walk; /* the guest's own page walk touched gpa */
	bool gva_valid;
	uint64_t gva;   /* guest linear/virtual address, when gva_valid */
	unsigned level; /* leaf-counted level where the walk ended, or NEST_FAULT_LEVEL_UNKNOWN */
};

/*
 * Each returns NEST_E_INVAL for a NULL `out`; NEST_E_UNSUPPORTED when the values are not those of a
 * second-stage fault (*out is then unchanged); else NEST_OK.
 */

/*
 * EPT violation (exit 48): its exit qualification, guest-physical address and guest linear address.
 * With `misconfig`, an EPT misconfiguration (exit 49): it has no qualification and no linear
 * address, and `access` is 0. SDM vol. 3C 28.2.1, table 28-7.
 *
 * Bit 6 of the qualification says that the page may be executed in user mode. It is undefined while
 * mode-based execute control is off: clear it then, or TRANSLATION may be told as PERMISSION.
 */
int nest_fault_ept(uint64_t qualification, uint64_t gpa, uint64_t gla, bool misconfig,
		   struct nest_fault *out);

/* #VMEXIT(NPF), exit code 0x400: EXITINFO1 and EXITINFO2. APM vol. 2 15.25.6. */
int nest_fault_npt(uint64_t exitinfo1, uint64_t exitinfo2, struct nest_fault *out);

/*
 * Instruction or data abort from a lower level: ESR_EL2, FAR_EL2 and `hpfar`, the HPFAR_EL2 value.
 * Arm ARM D19.2.37 (ESR_EL2), D19.2.62 (HPFAR_EL2). The level counts from the leaf as 3 - Arm's
 * level.
 *
 * The CPU leaves HPFAR_EL2 unknown on a permission fault of the access itself:
 * nest_aarch64_fault_hpfar() finds the value for `hpfar` then. HPFAR_EL2 is also unknown for
 * EXTERNAL, CONFLICT and OTHER: gpa_valid is false for them.
 */
int nest_fault_aarch64(uint64_t esr, uint64_t far_el2, uint64_t hpfar, struct nest_fault *out);

/*
 * Guest page fault: scause 20, 21 or 23, with stval, htval, htinst. Privileged spec, 15.6.3.
 *
 * A hart may write 0 to htval in place of the address. So htval 0 means "address 0 to 3" or "not
 * told", and gpa_valid is false. Where it is not told:
 *  - htinst has no pseudoinstruction (the spec allows one only beside a nonzero htval), so
 *    on_table_walk false says nothing: the guest's own page walk may have failed;
 *  - `access` is what the guest's instruction tried. If its page walk failed, the walk read a
 *    table;
 *  - `gva` leads to the address: walk the guest's table (vsatp) for it through the second stage.
 *    The first guest-physical address on that way that the second stage refuses is the one.
 * A hart with Shtvala (RVA23) always tells the address. There htval 0 is address 0 to 3: the
 * embedder may set gpa_valid.
 *
 * stval may be 0 in place of the virtual address, too (a hart without Sstvala). stval 0 is told as
 * gva 0 with gva_valid false.
 */
int nest_fault_riscv(uint64_t scause, uint64_t stval, uint64_t htval, uint64_t htinst,
		     struct nest_fault *out);

/*
 * Second-level exception taken from a guest: ESTAT (Ecode 21:16, EsubCode 30:22) and BADV, which
 * holds the guest-physical address. `gva`: the guest virtual address where the caller knows it;
 * ignored with gva_valid false. LoongArch manual vol. 1 7.4.6 (ESTAT), 5.4.4.
 *
 * A privilege exception (PPI) comes before the checks of rights, and does not tell what was tried.
 * Entries of loongarch-s2-* let every level in, so it means a wrong entry: MISCONFIG, access 0. An
 * address error of a load or store (ADEM) has access 0, too.
 */
int nest_fault_loongarch(uint64_t estat, uint64_t badv, bool gva_valid, uint64_t gva,
			 struct nest_fault *out);

#ifdef __cplusplus
}
#endif
#endif
