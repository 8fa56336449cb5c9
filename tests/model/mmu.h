/* SPDX-License-Identifier: MIT */
/*
 * Reference MMUs: what a CPU makes of the words in memory, given its registers, as the manuals say.
 * One file an architecture, written from the manual alone; nothing of core/, stage2/ or arch/ is
 * included here, not even a constant, so that a mistake there cannot be repeated here.
 *
 * A walk is a chain of steps. Each step is a pure function of the registers, the step before and
 * one word, so that a model of a TLB may keep any of them and go on from it later. Freestanding:
 * the same files run beside real walkers (tests/emulator).
 *
 * Levels count from the leaf: level 0 holds the smallest pages.
 */
#ifndef MODEL_MMU_H
#define MODEL_MMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is set up: raw register values, and what the CPU has. Which are used, each file says. */
struct mmu_regs {
	uint64_t root;       /* EPTP, nCR3, CR3, VTTBR_EL2, TTBR0_ELx, hgatp, satp, PGDL */
	uint64_t root_upper; /* TTBR1_EL1, PGDH */
	uint64_t control;    /* CR4; VTCR_EL2, TCR_ELx; PWCL */
	uint64_t control2;   /* EFER; HCR_EL2; sstatus; PWCH */
	uint64_t types;      /* IA32_PAT, MAIR_ELx */
	uint32_t cpu;        /* MMU_CPU_* */
	unsigned pa_bits;    /* physical address bits of the CPU */
};

/* clang-format off */
#define MMU_CPU_1G      ((uint32_t)1 << 0)  /* x86, NPT, EPT: 1 GiB pages */
#define MMU_CPU_XO      ((uint32_t)1 << 1)  /* EPT: execute-only pages */
#define MMU_CPU_MBEC    ((uint32_t)1 << 2)  /* EPT: the mode-based execute control is set */
#define MMU_CPU_LA57    ((uint32_t)1 << 3)  /* EPT: walks of five levels */
#define MMU_CPU_XNX     ((uint32_t)1 << 4)  /* AArch64: FEAT_XNX */
#define MMU_CPU_HAFDBS  ((uint32_t)1 << 5)  /* AArch64: FEAT_HAFDBS, both flags */
#define MMU_CPU_LPA     ((uint32_t)1 << 6)  /* AArch64: FEAT_LPA */
#define MMU_CPU_LPA2    ((uint32_t)1 << 7)  /* AArch64: FEAT_LPA2 for the granule at hand */
#define MMU_CPU_BBM2    ((uint32_t)1 << 8)  /* AArch64: FEAT_BBM level 2 */
#define MMU_CPU_SVNAPOT ((uint32_t)1 << 9)  /* RISC-V */
#define MMU_CPU_SVPBMT  ((uint32_t)1 << 10) /* RISC-V: and menvcfg.PBMTE is set */
#define MMU_CPU_SVADU   ((uint32_t)1 << 11) /* RISC-V: and menvcfg.ADUE is set */
#define MMU_CPU_SVVPTC  ((uint32_t)1 << 12) /* RISC-V */
#define MMU_CPU_PTW     ((uint32_t)1 << 13) /* LoongArch: the hardware walker, on by PWCH bit 24 */
/* clang-format on */

enum mmu_kind {
	MMU_TABLE,        /* the walk goes on in `table` */
	MMU_PAGE,         /* it has ended at a page */
	MMU_TRANSLATION,  /* it has ended at an invalid entry, or at an address without a root */
	MMU_MISCONFIG,    /* a reserved bit or combination, which the CPU reports */
	MMU_ADDRESS_SIZE, /* an address beyond the configured width */
	MMU_FORBIDDEN     /* the manual forbids it and does not say what a CPU does */
};

enum mmu_type { /* memory types, by their manual's names in the files */
		MMU_WB,
		MMU_WT,
		MMU_WC,     /* normal, not cached */
		MMU_UC,     /* strongly ordered, Arm's nGnRnE */
		MMU_DEVICE, /* Arm's nGnRE */
		MMU_WP,     /* x86: write-protect */
		MMU_OTHER_TYPE
};

enum { MMU_R = 1, MMU_W = 2, MMU_X = 4, MMU_RWX = 7 };
enum { MMU_PRIVILEGED, MMU_USER, MMU_MODES };

/* How far a walk has come: all that a TLB or a walk cache may keep of it. */
struct mmu_step {
	enum mmu_kind kind;
	/* TABLE: of the entries of `table`; else of the entry at which the walk has ended. */
	uint8_t level;
	uint8_t shift;             /* PAGE: log2 of its size; of the whole group if contiguous */
	bool contiguous;           /* PAGE: the entry says that its whole group is one page */
	bool global;               /* PAGE: of every address space */
	uint8_t rights[MMU_MODES]; /* MMU_R ... so far, all tables on the way counted */
	uint8_t flag_fault;        /* PAGE: accesses that fault since a status flag is clear */
	enum mmu_type type;        /* PAGE */
	uint64_t table;            /* TABLE: its address */
	uint64_t pa;               /* PAGE: what the address translates to, to the byte */
	/* The entry read last: where it is, what it was, what hardware makes of it when it sets
	 * its flags for a read (or fetch) and for a write; equal to `word`: nothing.
	 */
	uint64_t at, word, when_read, when_written;
};

struct mmu {
	const char *name;
	/* A status flag that is clear is told before a right that is missing. */
	bool flag_first;
	/* No cache of pointers: each walk begins at the root. */
	bool walks_anew;
	/* The first step for an input address: TABLE, or why there is none. */
	struct mmu_step (*begin)(const struct mmu_regs *regs, uint64_t ia);
	/* Where the entry for `ia` is that a TABLE step is going to read. */
	uint64_t (*entry)(const struct mmu_regs *regs, const struct mmu_step *from, uint64_t ia);
	/* What comes of it when that entry holds `word`. */
	struct mmu_step (*next)(const struct mmu_regs *regs, const struct mmu_step *from,
				uint64_t ia, uint64_t word);
	/* log2 of the entries of the group that an entry of `level` may belong to; 0: none. */
	unsigned (*group_shift)(const struct mmu_regs *regs, unsigned level);
	/* May a TLB keep "invalid" until it is told otherwise? */
	bool (*keeps_invalid)(const struct mmu_regs *regs);
	/*
	 * May a TLB that still holds the page `a` come by the page `b` for the same address, later
	 * (Arm's break-before-make, and the like)? False: the CPU may do anything.
	 */
	bool (*may_coexist)(const struct mmu_regs *regs, const struct mmu_step *a,
			    const struct mmu_step *b);
};

extern const struct mmu mmu_ept, mmu_npt, mmu_x86_64;
extern const struct mmu mmu_aarch64_s2; /* the granule and width are VTCR_EL2's */
extern const struct mmu mmu_aarch64_el1, mmu_aarch64_el2;
extern const struct mmu mmu_riscv_g, mmu_riscv_sv;
extern const struct mmu mmu_loongarch;

static inline uint64_t mmu_bits(uint64_t word, unsigned high, unsigned low)
{
	return word >> low & (~(uint64_t)0 >> (63 - (high - low)));
}

static inline uint64_t mmu_mask(unsigned bits)
{
	return bits < 64 ? ((uint64_t)1 << bits) - 1 : ~(uint64_t)0;
}

/* A step that ends the walk which has come to `from` and read `word` at `at`. */
static inline struct mmu_step mmu_end(const struct mmu_step *from, enum mmu_kind kind, uint64_t at,
				      uint64_t word)
{
	struct mmu_step s = *from;

	s.kind = kind;
	s.at = at;
	s.word = s.when_read = s.when_written = word;
	return s;
}

/* The whole walk; `load` reads eight bytes of physical memory. */
typedef uint64_t (*mmu_load_fn)(void *ctx, uint64_t pa);
struct mmu_step mmu_walk(const struct mmu *mmu, const struct mmu_regs *regs, uint64_t ia,
			 mmu_load_fn load, void *ctx);

/* What comes of an access to a page. */
enum mmu_verdict { MMU_DONE, MMU_NO_RIGHT, MMU_NO_FLAG };
enum mmu_verdict mmu_access(const struct mmu *mmu, const struct mmu_step *page, unsigned rights,
			    unsigned mode);

#endif
