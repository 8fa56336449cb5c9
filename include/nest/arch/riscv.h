/* SPDX-License-Identifier: MIT */
/*
 * RISC-V: register values, which any machine can compute, and, when compiled for RV64, the
 * instructions that an embedder's callbacks need.
 *
 * Fences reach only the hart that executes them: nest_host.tlb_flush has to see to it that each of
 * these functions runs on every hart that may hold the translations (by interrupt, or SBI RFENCE).
 */
#ifndef NEST_ARCH_RISCV_H
#define NEST_ARCH_RISCV_H

#include <nest/pt.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * hgatp for a G-stage table: MODE by its width, the root, and the VMID of nest_pt_set_vmid().
 * NEST_E_INVAL: NULL; NEST_E_UNSUPPORTED: not a live table of nest_fmt_riscv_g; NEST_E_RANGE: the
 * VMID has more than 14 bits.
 */
int nest_riscv_hgatp(const struct nest_pt *pt, uint64_t *out);

/* satp, for nest_fmt_riscv_sv; the ASID may have 16 bits. Errors as for nest_riscv_hgatp(). */
int nest_riscv_satp(const struct nest_pt *pt, uint64_t *out);

/* More fences by address than this cost more than to refill the TLB. */
enum { NEST_RISCV_FLUSH_MAX = 64 };

/*
 * How far apart fences by address may be: the smallest pages that may have been cached. A fence by
 * address does not order pointers to tables: 0 when one was changed, and all must be fenced.
 */
static inline unsigned nest_riscv_flush_shift(const struct nest_flush *what)
{
	unsigned shift = 12;

	if (what->all || !what->leaf_only || !what->level_mask)
		return 0;
	for (unsigned mask = what->level_mask; !(mask & 1) && shift < 48; mask >>= 1)
		shift += 9;
	return shift;
}

/* And how many of them, the first at what->ia; 0: fence all. */
static inline uint64_t nest_riscv_flush_count(const struct nest_flush *what)
{
	unsigned shift = nest_riscv_flush_shift(what);
	uint64_t offset = what->ia & (((uint64_t)1 << shift) - 1), n;

	if (!shift || !what->size)
		return 0;
	n = ((offset + what->size - 1) >> shift) + 1;
	return n > NEST_RISCV_FLUSH_MAX ? 0 : n;
}

#if defined(__riscv) && __riscv_xlen == 64

/* ---- Fences: the instruction words by .insn, so that any -march has them ---- */

/* Order earlier stores to tables (and all else) before the walks that follow. */
static inline void nest_riscv_fence(void)
{
	__asm__ volatile("fence rw, rw" : : : "memory");
}

/* HFENCE.GVMA: the guest-physical address is given shifted right by two. */
static inline void nest_riscv_hfence_gvma(nest_ia_t gpa, uint64_t vmid)
{
	__asm__ volatile(".insn r 0x73, 0, 0x31, x0, %0, %1"
			 :
			 : "r"(gpa >> 2), "r"(vmid)
			 : "memory");
}

/* All of one VMID. */
static inline void nest_riscv_hfence_gvma_vmid(uint64_t vmid)
{
	__asm__ volatile(".insn r 0x73, 0, 0x31, x0, x0, %0" : : "r"(vmid) : "memory");
}

/* All guests. */
static inline void nest_riscv_hfence_gvma_all(void)
{
	__asm__ volatile(".insn r 0x73, 0, 0x31, x0, x0, x0" : : : "memory");
}

/* Svinval: HINVAL.GVMA, to stand between SFENCE.W.INVAL and SFENCE.INVAL.IR. */
static inline void nest_riscv_hinval_gvma(nest_ia_t gpa, uint64_t vmid)
{
	__asm__ volatile(".insn r 0x73, 0, 0x33, x0, %0, %1"
			 :
			 : "r"(gpa >> 2), "r"(vmid)
			 : "memory");
}

static inline void nest_riscv_sfence_w_inval(void)
{
	__asm__ volatile(".4byte 0x18000073" : : : "memory");
}

static inline void nest_riscv_sfence_inval_ir(void)
{
	__asm__ volatile(".4byte 0x18100073" : : : "memory");
}

/* SFENCE.VMA for one page of one address space; global entries are not covered. */
static inline void nest_riscv_sfence_vma(nest_ia_t va, uint64_t asid)
{
	__asm__ volatile("sfence.vma %0, %1" : : "r"(va), "r"(asid) : "memory");
}

/* One page of every address space, global entries too. */
static inline void nest_riscv_sfence_vma_global(nest_ia_t va)
{
	__asm__ volatile("sfence.vma %0, x0" : : "r"(va) : "memory");
}

static inline void nest_riscv_sfence_vma_all(void)
{
	__asm__ volatile("sfence.vma x0, x0" : : : "memory");
}

/* ---- nest_host.tlb_flush, this hart's part ---- */

/* G-stage: by address for a few leaves, else the whole VMID. Also after invalid became valid. */
static inline void nest_riscv_g_flush(const struct nest_flush *what)
{
	unsigned shift = nest_riscv_flush_shift(what);
	uint64_t n = nest_riscv_flush_count(what);

	if (!n)
		nest_riscv_hfence_gvma_vmid(what->vmid);
	for (uint64_t i = 0; i < n; i++)
		nest_riscv_hfence_gvma(what->ia + (i << shift), what->vmid);
}

/* The same with Svinval, which lets the fences of a range overlap. */
static inline void nest_riscv_g_flush_svinval(const struct nest_flush *what)
{
	unsigned shift = nest_riscv_flush_shift(what);
	uint64_t n = nest_riscv_flush_count(what);

	if (!n) {
		nest_riscv_hfence_gvma_vmid(what->vmid);
		return;
	}
	nest_riscv_sfence_w_inval();
	for (uint64_t i = 0; i < n; i++)
		nest_riscv_hinval_gvma(what->ia + (i << shift), what->vmid);
	nest_riscv_sfence_inval_ir();
}

/* First stage. Entries may be global, so the fences are for every address space. */
static inline void nest_riscv_sv_flush(const struct nest_flush *what)
{
	unsigned shift = nest_riscv_flush_shift(what);
	uint64_t n = nest_riscv_flush_count(what);

	if (!n)
		nest_riscv_sfence_vma_all();
	for (uint64_t i = 0; i < n; i++)
		nest_riscv_sfence_vma_global(what->ia + (i << shift));
}

/*
 * ---- Probing: the fields of hgatp that this hart implements. No guest may be running on it. ----
 */

/* What hgatp reads as after `value` was written; the old value is restored. */
static inline uint64_t nest_riscv_try_hgatp(uint64_t value)
{
	uint64_t old, seen;

	__asm__ volatile("csrrw %0, 0x680, %2\n\tcsrrw %1, 0x680, %0"
			 : "=&r"(old), "=&r"(seen)
			 : "r"(value)
			 : "memory");
	nest_riscv_hfence_gvma_all();
	return seen;
}

/* The widest guest-physical address: 59, 50 or 41 bits; 0: no translation. */
static inline unsigned nest_riscv_probe_ia_bits(void)
{
	for (unsigned mode = 10; mode >= 8; mode--) {
		if (nest_riscv_try_hgatp((uint64_t)mode << 60) >> 60 == mode)
			return 41 + 9 * (mode - 8);
	}
	return 0;
}

static inline unsigned nest_riscv_probe_vmid_bits(void)
{
	uint64_t seen = nest_riscv_try_hgatp((uint64_t)8 << 60 | (uint64_t)0x3fff << 44);
	unsigned bits = 0;

	while (bits < 14 && (seen >> (44 + bits) & 1))
		bits++;
	return bits;
}

#endif

#ifdef __cplusplus
}
#endif
#endif
