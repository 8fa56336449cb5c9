/* SPDX-License-Identifier: MIT */
/*
 * x86-64: register values, which can be made anywhere, and (on x86-64 only) the instructions that
 * go with them. No instruction here reaches another CPU: shooting down is the embedder's, and so is
 * being in the right mode (CPL 0; VMX root operation for INVEPT and INVVPID; EFER.SVME for
 * INVLPGA).
 */
#ifndef NEST_ARCH_X86_H
#define NEST_ARCH_X86_H

#include <nest/pt.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Register values ---- */

/*
 * EPTP of a table of nest_fmt_ept: write-back walks, its number of levels, and accessed/dirty flags
 * on when it has NEST_FEAT_HW_A or NEST_FEAT_HW_D. SDM vol. 3C, table 25-9. NEST_E_INVAL: NULL, or
 * not a live table of this format; *out is then unchanged.
 */
int nest_ept_eptp(const struct nest_pt *pt, uint64_t *out);

/* Entries of a page-modification log, a page that CPUs fill from its end: SDM vol. 3C, 29.3.6. */
enum { NEST_PML_ENTRIES = 512 };

/*
 * Take in a page-modification log: for every page in it of [ia, ia + size), in bytes, set bit i %
 * 64 of bitmap[i / 64], where the page is ia + i * 4096, as nest_pt_harvest() does. `index`
 * is the VMCS's PML index: 511 while nothing is logged, 0xffff once all entries are. Bits are never
 * cleared, and *outside grows by the number of entries whose page is not in the range, so that one
 * bitmap can take in many logs.
 *
 * Returns how many entries there were, 0 to 512, each of which is now told in the bitmap or counted
 * in *outside (a page may be in the log more than once). Afterwards set the index to 511. The CPU
 * whose log it is must be out of its guest. A page is logged when its dirty flag becomes set, and
 * again only after nest_pt_harvest() (or a protect) has cleared that and the flush is over;
 * of a large page, the one 4 KiB page that was written first is logged: map what is logged with
 * NEST_MAP_NO_HUGE.
 *
 * NEST_E_INVAL: NULL, or an index that no CPU leaves (512 to 0xfffe). NEST_E_ALIGN: ia or size not
 * a multiple of 4096. NEST_E_RANGE: size 0, or a range that wraps. Nothing is then changed.
 */
int nest_ept_pml_drain(const uint64_t log[NEST_PML_ENTRIES], uint16_t index, nest_ia_t ia,
		       uint64_t size, uint64_t *bitmap, uint64_t *outside);

/* nCR3 of a table of nest_fmt_npt. The walk has as many levels as the host's own: CR4.LA57. */
int nest_npt_ncr3(const struct nest_pt *pt, uint64_t *out);

/*
 * CR3 of a table of nest_fmt_x86_64 with a PCID (0 without CR4.PCIDE). Or NEST_X86_CR3_NOFLUSH to
 * keep what the TLB holds for that PCID. NEST_E_INVAL as above; NEST_E_RANGE: pcid above 4095.
 */
int nest_x86_cr3(const struct nest_pt *pt, unsigned pcid, uint64_t *out);
#define NEST_X86_CR3_NOFLUSH ((uint64_t)1 << 63)

/*
 * The features of nest_fmt_ept that MSR IA32_VMX_EPT_VPID_CAP tells; MBEC and VE are VM controls.
 */
static inline uint32_t nest_ept_features(uint64_t ept_vpid_cap)
{
	return (ept_vpid_cap >> 0 & 1 ? NEST_FEAT_XO : 0) |
	       (ept_vpid_cap >> 7 & 1 ? NEST_FEAT_LA57 : 0) |
	       (ept_vpid_cap >> 17 & 1 ? NEST_FEAT_1G : 0) |
	       (ept_vpid_cap >> 21 & 1 ? NEST_FEAT_HW_AD : 0);
}

/* The features of nest_fmt_x86_64 and nest_fmt_npt: CPUID 80000001h EDX and CPUID 7.0 ECX. */
static inline uint32_t nest_x86_features(uint32_t cpuid_80000001_edx, uint32_t cpuid_7_ecx)
{
	return (cpuid_80000001_edx >> 26 & 1 ? NEST_FEAT_1G : 0) |
	       (cpuid_7_ecx >> 16 & 1 ? NEST_FEAT_LA57 : 0);
}

/* The PAT after reset with entry 5 made write-combining: what NEST_FEAT_PAT stands for. */
#define NEST_X86_PAT ((uint64_t)0x0007010600070406)

/* VMCB TLB_CONTROL, byte 0x5c: what a VMRUN flushes (APM vol. 2, 15.16.1). */
enum nest_svm_tlb_control {
	NEST_SVM_TLB_KEEP = 0,
	NEST_SVM_TLB_FLUSH_ALL = 1,
	NEST_SVM_TLB_FLUSH_ASID = 3,      /* needs CPUID 8000000Ah EDX bit 6 */
	NEST_SVM_TLB_FLUSH_ASID_LOCAL = 7 /* as 3, global entries stay */
};

enum nest_invept { NEST_INVEPT_CONTEXT = 1, NEST_INVEPT_ALL = 2 };
enum nest_invvpid {
	NEST_INVVPID_ADDRESS = 0,
	NEST_INVVPID_CONTEXT = 1,
	NEST_INVVPID_ALL = 2,
	NEST_INVVPID_CONTEXT_LOCAL = 3 /* global entries stay */
};

/* From so many INVLPG on, flushing everything costs less. */
enum { NEST_X86_FLUSH_PAGES = 32 };

/*
 * INVLPGs that `what` takes, the first at *first and then every *step bytes; 0: flush everything.
 * One per page suffices, so leaves alone go by their own size; below a removed table any size may
 * be.
 */
static inline unsigned nest_x86_flush_plan(const struct nest_flush *what, uint64_t *first,
					   uint64_t *step)
{
	unsigned level = 0;
	uint64_t n;

	while (what->leaf_only && level < 2 && what->level_mask && !(what->level_mask >> level & 1))
		level++;
	*step = (uint64_t)1 << (12 + 9 * level);
	*first = what->ia & ~(*step - 1);
	n = what->size ? ((what->ia + (what->size - 1) - *first) >> (12 + 9 * level)) + 1 : 0;
	return what->all || n > NEST_X86_FLUSH_PAGES ? 0 : (unsigned)n;
}

#if defined(__x86_64__)
/* ---- Instructions ---- */

struct nest_x86_cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct nest_x86_cpuid nest_x86_read_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct nest_x86_cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

/* NEST_FEAT_* for the first stage and NPT on this CPU. */
static inline uint32_t nest_x86_probe(void)
{
	uint32_t edx = nest_x86_read_cpuid(0x80000000u, 0).eax >= 0x80000001u
			       ? nest_x86_read_cpuid(0x80000001u, 0).edx
			       : 0;
	uint32_t ecx = nest_x86_read_cpuid(0, 0).eax >= 7 ? nest_x86_read_cpuid(7, 0).ecx : 0;

	return nest_x86_features(edx, ecx);
}

/* Physical address bits of this CPU, for nest_pt_config.oa_bits. */
static inline unsigned nest_x86_phys_bits(void)
{
	if (nest_x86_read_cpuid(0x80000000u, 0).eax < 0x80000008u)
		return 36;
	return nest_x86_read_cpuid(0x80000008u, 0).eax & 0xff;
}

static inline void nest_x86_invlpg(uint64_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

/* One guest-linear page of an ASID (SVM). Does not remove nested translations. */
static inline void nest_x86_invlpga(uint64_t va, uint32_t asid)
{
	__asm__ volatile("invlpga" : : "a"(va), "c"(asid) : "memory");
}

static inline uint64_t nest_x86_read_cr3(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr3, %0" : "=r"(v));
	return v;
}

/*
 * Switches the address space, and flushes its PCID's entries unless NEST_X86_CR3_NOFLUSH is in it.
 */
static inline void nest_x86_write_cr3(uint64_t v)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory");
}

/* Everything of every PCID, global entries too: a change of CR4.PGE does that. */
static inline void nest_x86_flush_all(void)
{
	const uint64_t pge = (uint64_t)1 << 7;
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 ^ pge) : "memory");
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
}

/*
 * First stage, on this CPU, with the table loaded (INVLPG takes the current PCID and global pages).
 */
static inline void nest_x86_flush(const struct nest_flush *what)
{
	uint64_t first, step;
	unsigned n = nest_x86_flush_plan(what, &first, &step);

	if (!n)
		nest_x86_flush_all();
	for (unsigned i = 0; i < n; i++)
		nest_x86_invlpg(first + i * step);
}

/*
 * INVEPT on this CPU: what was cached with this EPTP, or with all. There is no form by address, so
 * this serves every nest_flush. False: the instruction failed (the type is not supported).
 */
static inline bool nest_x86_invept(enum nest_invept type, uint64_t eptp)
{
	struct {
		uint64_t eptp, zero;
	} descriptor = { eptp, 0 };
	bool failed;

	__asm__ volatile("invept %1, %2"
			 : "=@ccbe"(failed)
			 : "m"(descriptor), "r"((uint64_t)type)
			 : "memory");
	return !failed;
}

/* INVVPID on this CPU: linear and combined translations of a VPID; never guest-physical ones. */
static inline bool nest_x86_invvpid(enum nest_invvpid type, uint16_t vpid, uint64_t gla)
{
	struct {
		uint64_t vpid, gla;
	} descriptor = { vpid, gla };
	bool failed;

	__asm__ volatile("invvpid %1, %2"
			 : "=@ccbe"(failed)
			 : "m"(descriptor), "r"((uint64_t)type)
			 : "memory");
	return !failed;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
