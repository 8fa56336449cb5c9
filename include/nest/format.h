/* SPDX-License-Identifier: MIT */
/*
 * Formats, and entries one by one. These functions need no table and no memory: they build and
 * decode single entries of any format on any machine.
 *
 * A level is counted from the leaf: level 0 holds the smallest pages.
 */
#ifndef NEST_FORMAT_H
#define NEST_FORMAT_H

#include <nest/attr.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nest_format;

extern const struct nest_format nest_fmt_ept;           /* Intel EPT, 4 or 5 levels */
extern const struct nest_format nest_fmt_npt;           /* AMD NPT, 4 or 5 levels */
extern const struct nest_format nest_fmt_aarch64_s2_4k; /* Arm stage 2, ia_bits 32..52 */
extern const struct nest_format nest_fmt_aarch64_s2_16k;
extern const struct nest_format nest_fmt_aarch64_s2_64k;
extern const struct nest_format nest_fmt_riscv_g;         /* Sv39x4 Sv48x4 Sv57x4: 41, 50, 59 */
extern const struct nest_format nest_fmt_loongarch_s2_4k; /* LVZ second level, 3 or 4 levels */
extern const struct nest_format nest_fmt_loongarch_s2_16k;
extern const struct nest_format nest_fmt_x86_64; /* 4 or 5 levels */
extern const struct nest_format nest_fmt_aarch64_s1_4k;
extern const struct nest_format nest_fmt_aarch64_s1_16k;
extern const struct nest_format nest_fmt_aarch64_s1_64k;
extern const struct nest_format nest_fmt_riscv_sv; /* Sv39, Sv48, Sv57 by ia_bits */
extern const struct nest_format nest_fmt_loongarch_s1_4k;
extern const struct nest_format nest_fmt_loongarch_s1_16k;

/* Every format built in, NULL-terminated. */
extern const struct nest_format *const nest_formats[];

/* The built-in format of that name ("ept", "aarch64-s2-4k", "riscv-g", ...), or NULL. */
const struct nest_format *nest_format_by_name(const char *name);
/* The name of a format; "(null)" for NULL. */
const char *nest_format_name(const struct nest_format *format);

/* clang-format off */
/*
 * What a CPU has beyond the base of a format. A feature that the format does not know is
 * NEST_E_UNSUPPORTED, so that a typing error cannot pass for a capability. So is one that the build
 * leaves out (NEST_FEAT_CONTIG without contiguous groups), and NEST_FEAT_HW_D without
 * NEST_FEAT_HW_A on RISC-V and LoongArch: there, hardware that sets dirty sets accessed, too.
 */
#define NEST_FEAT_1G     ((uint32_t)1 << 0)  /* EPT, NPT, x86-64: 1 GiB pages */
#define NEST_FEAT_XO     ((uint32_t)1 << 1)  /* EPT: execute-only pages (IA32_VMX_EPT_VPID_CAP bit 0) */
#define NEST_FEAT_MBEC   ((uint32_t)1 << 2)  /* EPT: mode-based execute control is on */
#define NEST_FEAT_VE     ((uint32_t)1 << 3)  /* EPT: #VE is on; entries get "suppress #VE" (bit 63) */
#define NEST_FEAT_LA57   ((uint32_t)1 << 4)  /* EPT, NPT, x86-64: 5 levels */
#define NEST_FEAT_PAT    ((uint32_t)1 << 5)  /* NPT, x86-64: PAT entry 5 is programmed as WC */
#define NEST_FEAT_HW_A   ((uint32_t)1 << 6)  /* hardware sets accessed (EPTP bit 6, HA, Svadu, LoongArch PTW) */
#define NEST_FEAT_HW_D   ((uint32_t)1 << 7)  /* hardware sets dirty (EPTP bit 6, HD, Svadu, LoongArch PTW) */
#define NEST_FEAT_SW_AD  ((uint32_t)1 << 8)  /* accessed and dirty are kept by software: a clear one faults */
#define NEST_FEAT_CONTIG ((uint32_t)1 << 9)  /* AArch64 Contiguous hint; RISC-V Svnapot */
#define NEST_FEAT_PBMT   ((uint32_t)1 << 10) /* RISC-V Svpbmt */
#define NEST_FEAT_SVVPTC ((uint32_t)1 << 11) /* RISC-V Svvptc: a fresh mapping needs no fence */
#define NEST_FEAT_LPA2   ((uint32_t)1 << 12) /* AArch64 4K/16K: VTCR/TCR.DS is set: 52 bits */
#define NEST_FEAT_LPA    ((uint32_t)1 << 13) /* AArch64 64K: 52-bit addresses */
#define NEST_FEAT_S2FWB  ((uint32_t)1 << 14) /* AArch64 stage 2: HCR_EL2.FWB is set */
#define NEST_FEAT_XNX    ((uint32_t)1 << 15) /* AArch64 stage 2: execute per exception level */
#define NEST_FEAT_BBM2   ((uint32_t)1 << 17) /* AArch64: splits and merges need no break; see nest_aarch64_features() */
#define NEST_FEAT_EL2    ((uint32_t)1 << 18) /* AArch64 first stage of EL2 without VHE: one XN bit */
#define NEST_FEAT_PTW    ((uint32_t)1 << 19) /* LoongArch: the hardware page table walker is on */
#define NEST_FEAT_HW_AD  (NEST_FEAT_HW_A | NEST_FEAT_HW_D)
/* clang-format on */

enum nest_pte_kind {
	NEST_PTE_NONE,    /* nothing there */
	NEST_PTE_TABLE,   /* points to a table one level down */
	NEST_PTE_LEAF,    /* maps a page or block */
	NEST_PTE_MARK,    /* invalid, carries the embedder's value */
	NEST_PTE_RESERVED /* hardware would fault on it: misconfigured */
};

struct nest_pte_info {
	enum nest_pte_kind kind;
	nest_pa_t pa;     /* LEAF: output address (of the whole group if contiguous, for Svnapot);
			     TABLE: the table */
	nest_attr_t attr; /* LEAF */
	uint64_t mark;    /* MARK */
	bool contiguous;  /* LEAF: Contiguous bit or Svnapot N */
};

/* Marks are 48 bits wide in every format. */
#define NEST_MARK_MAX (((uint64_t)1 << 48) - 1)

/*
 * Build a leaf of `level` that maps `pa` with `attr`.
 * NEST_E_INVAL: NULL or unknown bits; NEST_E_UNSUPPORTED: the format with these features cannot
 * express the level, a right, the memory type or a feature; NEST_E_ALIGN: pa not aligned to the
 * level's page; NEST_E_RANGE: pa beyond the output width of the format with these features.
 * *out is written only on NEST_OK.
 */
int nest_pte_leaf(const struct nest_format *format, unsigned level, uint32_t features, nest_pa_t pa,
		  nest_attr_t attr, nest_pte_t *out);

/*
 * The same, as one entry of a contiguous group: pa is this entry's own (Svnapot drops its low
 * bits).
 */
int nest_pte_leaf_contiguous(const struct nest_format *format, unsigned level, uint32_t features,
			     nest_pa_t pa, nest_attr_t attr, nest_pte_t *out);

/*
 * Build a pointer to the table at `table`. NEST_E_INVAL: NULL or unknown features;
 * NEST_E_UNSUPPORTED: the format has no such feature; NEST_E_ALIGN: not aligned to a table;
 * NEST_E_RANGE: beyond the output width of the format with these features. *out is written only on
 * NEST_OK.
 */
int nest_pte_table(const struct nest_format *format, uint32_t features, nest_pa_t table,
		   nest_pte_t *out);

/*
 * Build a non-present entry that carries `value` (0..NEST_MARK_MAX). NEST_E_INVAL: NULL or unknown
 * features; NEST_E_UNSUPPORTED: the format has no such feature; NEST_E_RANGE: value too large.
 * *out is written only on NEST_OK.
 */
int nest_pte_mark(const struct nest_format *format, uint32_t features, uint64_t value,
		  nest_pte_t *out);

/*
 * The entry that stands for "nothing" at `level`. LoongArch directories (level 1 and up) need
 * `invalid_table`, the address of a table one level down that holds nothing; other formats ignore
 * it. NEST_E_INVAL, NEST_E_UNSUPPORTED (no such level), NEST_E_ALIGN, NEST_E_RANGE.
 */
int nest_pte_absent(const struct nest_format *format, unsigned level, uint32_t features,
		    nest_pa_t invalid_table, nest_pte_t *out);

/*
 * Say what `pte` means at `level`. Any 64-bit word is accepted. NEST_E_INVAL: NULL or unknown
 * features; NEST_E_UNSUPPORTED: no such level or feature in this format, or (with out->kind ==
 * NEST_PTE_LEAF and out->pa set) a legal leaf whose attributes nest_attr_t cannot name (EPT
 * write-protect memory, for one).
 */
int nest_pte_decode(const struct nest_format *format, unsigned level, uint32_t features,
		    nest_pte_t pte, struct nest_pte_info *out);

/* What a format is, for those who sweep over all of them. */
struct nest_format_info {
	const char *name;
	bool stage2;
	unsigned page_shift;                    /* log2 of the smallest page, and of a table */
	unsigned index_bits;                    /* log2 of the entries of a table */
	unsigned ia_min, ia_max, ia_default;    /* input address bits, with these features */
	unsigned oa_max, oa_default;            /* output address bits, with these features */
	unsigned root_extra_bits;               /* by how many index bits a root may be wider */
	unsigned leaf_levels;                   /* bit n: leaves exist at level n */
	unsigned contig_shift[NEST_MAX_LEVELS]; /* log2 of a contiguous group's entries; 0: none */
	uint32_t features;                      /* every feature that the format knows */
	bool sign_extended;                     /* input addresses are canonical (two halves) */
	bool fresh_needs_flush;                 /* invalid to valid needs a TLB flush */
	bool break_before_make;                 /* a change of address needs it */
};

/*
 * NEST_E_INVAL: NULL or unknown features; NEST_E_UNSUPPORTED: features that a table of this format
 * cannot have.
 */
int nest_format_describe(const struct nest_format *format, uint32_t features,
			 struct nest_format_info *out);

#ifdef __cplusplus
}
#endif
#endif
