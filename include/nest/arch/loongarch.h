/* SPDX-License-Identifier: MIT */
/*
 * LoongArch: register values, which can be made anywhere, and (on LoongArch only) the instructions
 * that go with them. No instruction here reaches another CPU.
 *
 * Directories go to the registers as Linux has them, so the usual refill handlers fit: the PT is
 * level 0, DIR1 is level 1, and the root of three levels is DIR3 (lddir 3, lddir 1, ldpte). With
 * four levels it is DIR3, DIR2, DIR1 for 4 KiB pages, and DIR4, DIR3, DIR1 for 16 KiB pages, whose
 * level 2 begins at bit 36, where PWCL cannot have it.
 *
 * Without the hardware walker (PTW) the refill handler should not fill a pair of which neither page
 * is valid (bit 0 of TLBRELO0 and TLBRELO1): it goes on as for an invalid page instead. Otherwise
 * the TLB can hold such a pair of small pages while a huge page comes into their hole, until the
 * flush after the store; and a search that hits twice is undefined (vol. 1 5.4.4).
 */
#ifndef NEST_ARCH_LOONGARCH_H
#define NEST_ARCH_LOONGARCH_H

#include <nest/pt.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nest_loongarch_csr {
	NEST_LOONGARCH_CSR_GTLBC = 0x15,
	NEST_LOONGARCH_CSR_PGDL = 0x19,
	NEST_LOONGARCH_CSR_PGDH = 0x1a,
	NEST_LOONGARCH_CSR_PWCL = 0x1c,
	NEST_LOONGARCH_CSR_PWCH = 0x1d,
	NEST_LOONGARCH_CSR_GSTAT = 0x50
};

/* ---- Register values ---- */

/* Not public: is it a live table of a LoongArch format? */
static inline bool nest_loongarch_is(const struct nest_pt *pt)
{
	const char *want = "loongarch-", *name = nest_format_name(pt ? pt->format : NULL);

	while (*want && *want == *name) {
		want++;
		name++;
	}
	return !*want;
}

/* Not public: base (5:0) and width (11:6) of the index into the table of `level`. */
static inline uint64_t nest_loongarch_dir(const struct nest_pt *pt, unsigned level)
{
	unsigned base = nest_pt_shift(pt, level);
	unsigned end = level + 1 < nest_pt_levels(pt) ? nest_pt_shift(pt, level + 1) : pt->ia_bits;

	return base | (uint64_t)(end - base) << 6;
}

/* Not public: does level 2 sit in DIR2, with the root in DIR3 above it? */
static inline bool nest_loongarch_uses_dir2(const struct nest_pt *pt)
{
	return nest_pt_levels(pt) == 4 && nest_pt_shift(pt, 0) == 12;
}

/* Not public: a base and width of five bits each, where PWCL has them. */
static inline uint64_t nest_loongarch_pwcl_field(uint64_t dir, unsigned shift)
{
	return ((dir & 31) | (dir >> 6 & 31) << 5) << shift;
}

/*
 * PWCL: the PT, DIR1 and DIR2; entries of 64 bits. Vol. 1, 7.5.9.
 * NEST_E_INVAL: NULL, or not a live table of a LoongArch format; *out is then unchanged.
 */
static inline int nest_loongarch_pwcl(const struct nest_pt *pt, uint64_t *out)
{
	if (!nest_loongarch_is(pt) || !out)
		return NEST_E_INVAL;
	*out = nest_loongarch_pwcl_field(nest_loongarch_dir(pt, 0), 0) |
	       nest_loongarch_pwcl_field(nest_loongarch_dir(pt, 1), 10);
	if (nest_loongarch_uses_dir2(pt))
		*out |= nest_loongarch_pwcl_field(nest_loongarch_dir(pt, 2), 20);
	return NEST_OK;
}

/*
 * PWCH: DIR3, DIR4, and with NEST_FEAT_PTW the hardware walker on (bit 24). As
 * nest_loongarch_pwcl().
 */
static inline int nest_loongarch_pwch(const struct nest_pt *pt, uint64_t *out)
{
	if (!nest_loongarch_is(pt) || !out)
		return NEST_E_INVAL;
	*out = nest_loongarch_dir(pt, nest_loongarch_uses_dir2(pt) ? 3 : 2);
	if (nest_pt_levels(pt) == 4 && !nest_loongarch_uses_dir2(pt))
		*out |= nest_loongarch_dir(pt, 3) << 12;
	if (pt->features & NEST_FEAT_PTW)
		*out |= (uint64_t)1 << 24;
	return NEST_OK;
}

/* PGDL and PGDH: both take the root; a second level is walked with it in PGDL. As above. */
static inline int nest_loongarch_pgd(const struct nest_pt *pt, uint64_t *out)
{
	if (!nest_loongarch_is(pt) || !out)
		return NEST_E_INVAL;
	*out = nest_pt_root(pt);
	return NEST_OK;
}

/* GTLBC with the root's TLB instructions acting for guest `gid` (USETGID 12, TGID 23:16). */
static inline uint64_t nest_loongarch_gtlbc_guest(uint64_t gtlbc, uint8_t gid)
{
	return (gtlbc & ~(uint64_t)0xff1000) | (uint64_t)1 << 12 | (uint64_t)gid << 16;
}

/* GTLBC with them acting for the root itself. */
static inline uint64_t nest_loongarch_gtlbc_root(uint64_t gtlbc)
{
	return gtlbc & ~(uint64_t)0xff1000;
}

/* GSTAT with `gid` as the guest that runs next (23:16). */
static inline uint64_t nest_loongarch_gstat(uint64_t gstat, uint8_t gid)
{
	return (gstat & ~(uint64_t)0xff0000) | (uint64_t)gid << 16;
}

/*
 * Features that CPUCFG word 2 tells: the hardware walker (bit 24), which also keeps V and D. They
 * hold once PWCH turns it on. Read and execute inhibit (word 1, bits 21 and 22) are taken for
 * granted.
 */
static inline uint32_t nest_loongarch_features(uint32_t cpucfg2)
{
	return cpucfg2 >> 24 & 1 ? NEST_FEAT_PTW | NEST_FEAT_HW_AD : 0;
}

/* Physical (PALEN) and virtual (VALEN) address bits that CPUCFG word 1 tells. */
static inline unsigned nest_loongarch_palen(uint32_t cpucfg1)
{
	return (cpucfg1 >> 4 & 0xff) + 1;
}

static inline unsigned nest_loongarch_valen(uint32_t cpucfg1)
{
	return (cpucfg1 >> 12 & 0xff) + 1;
}

/* From so many INVTLB on, flushing everything costs less. */
enum { NEST_LOONGARCH_FLUSH_PAIRS = 32 };

/*
 * INVTLBs that `what` takes, the first at *first and then every *step bytes; 0: flush everything.
 * The TLB holds pairs: of pages, or the two halves of a huge entry. page_shift: 12 or 14.
 */
static inline unsigned nest_loongarch_flush_plan(const struct nest_flush *what, unsigned page_shift,
						 uint64_t *first, uint64_t *step)
{
	unsigned level = 0, shift;
	uint64_t n;

	while (what->leaf_only && level < 2 && what->level_mask && !(what->level_mask >> level & 1))
		level++;
	shift = level ? page_shift + level * (page_shift - 3) : page_shift + 1;
	*step = (uint64_t)1 << shift;
	*first = what->ia & ~(*step - 1);
	n = what->size ? ((what->ia + (what->size - 1) - *first) >> shift) + 1 : 0;
	return what->all || n > NEST_LOONGARCH_FLUSH_PAIRS ? 0 : (unsigned)n;
}

#if defined(__loongarch64)
/* ---- Instructions ---- */

/* Operations of INVTLB, a constant of the instruction. */
enum nest_invtlb {
	NEST_INVTLB_ALL = 0x0,
	NEST_INVTLB_GLOBAL = 0x2,
	NEST_INVTLB_LOCAL = 0x3,
	NEST_INVTLB_ASID = 0x4,
	NEST_INVTLB_ASID_ADDRESS = 0x5,
	NEST_INVTLB_ADDRESS = 0x6,     /* of this ASID, or global */
	NEST_INVTLB_EVERY_GID = 0x12,  /* all entries of all guests */
	NEST_INVTLB_GID_FIRST = 0x13,  /* of a guest: its own first stage */
	NEST_INVTLB_GID_SECOND = 0x14, /* of a guest: the second level */
	NEST_INVTLB_GID = 0x15,        /* of a guest: both */
	NEST_INVTLB_GID_ADDRESS = 0x16 /* of a guest: the second level's entry for an address */
};

/* info: the ASID (9:0) or the GID (23:16). */
#define NEST_INVTLB(op, info, address)                                                             \
	__asm__ volatile("invtlb %0, %1, %2"                                                       \
			 :                                                                         \
			 : "i"(op), "r"((uint64_t)(info)), "r"((uint64_t)(address))                \
			 : "memory")

static inline void nest_loongarch_dbar(void)
{
	__asm__ volatile("dbar 0" : : : "memory");
}

static inline uint32_t nest_loongarch_cpucfg(uint32_t word)
{
	uint32_t v;

	__asm__ volatile("cpucfg %0, %1" : "=r"(v) : "r"(word));
	return v;
}

/* NEST_FEAT_* of this CPU. */
static inline uint32_t nest_loongarch_probe(void)
{
	return nest_loongarch_features(nest_loongarch_cpucfg(2));
}

/* First stage on this CPU: addresses of an ASID and global ones; else everything. */
static inline void nest_loongarch_flush(const struct nest_flush *what, unsigned page_shift,
					unsigned asid)
{
	uint64_t first, step;
	unsigned n = nest_loongarch_flush_plan(what, page_shift, &first, &step);

	nest_loongarch_dbar();
	if (!n)
		NEST_INVTLB(NEST_INVTLB_ALL, 0, 0);
	for (unsigned i = 0; i < n; i++)
		NEST_INVTLB(NEST_INVTLB_ADDRESS, asid, first + i * step);
}

/* Second level of guest `gid` on this CPU: by guest-physical address, else all of that guest's. */
static inline void nest_loongarch_flush_guest(const struct nest_flush *what, unsigned page_shift,
					      uint8_t gid)
{
	uint64_t first, step;
	unsigned n = nest_loongarch_flush_plan(what, page_shift, &first, &step);

	nest_loongarch_dbar();
	if (!n)
		NEST_INVTLB(NEST_INVTLB_GID, (uint64_t)gid << 16, 0);
	for (unsigned i = 0; i < n; i++)
		NEST_INVTLB(NEST_INVTLB_GID_ADDRESS, (uint64_t)gid << 16, first + i * step);
}
#endif

#ifdef __cplusplus
}
#endif
#endif
