/* SPDX-License-Identifier: MIT */
/*
 * Attributes of a mapping, the same for every format.
 *
 * A format that cannot express an attribute refuses it (NEST_E_UNSUPPORTED); it never drops one.
 * A query reports the attributes that would build the same entry again.
 */
#ifndef NEST_ATTR_H
#define NEST_ATTR_H

#include <nest/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint32_t nest_attr_t;

/* clang-format off */
/* Rights. */
#define NEST_R  ((nest_attr_t)1 << 0) /* read */
#define NEST_W  ((nest_attr_t)1 << 1) /* write */
#define NEST_X  ((nest_attr_t)1 << 2) /* execute; privileged execute where user execute is separate */
#define NEST_U  ((nest_attr_t)1 << 3) /* first stage: accessible from user mode */
/*
 * User-mode execute where it is separate: EPT with NEST_FEAT_MBEC, AArch64 stage 2 with
 * NEST_FEAT_XNX. In an AArch64 first stage NEST_X speaks of the page's own mode (user with NEST_U,
 * privileged without) and NEST_XU of the other mode.
 */
#define NEST_XU ((nest_attr_t)1 << 4)
/* Scope. */
#define NEST_G  ((nest_attr_t)1 << 5) /* first stage: global, kept across address-space switches */

/* Memory type, one of these in NEST_MT_MASK. */
#define NEST_MT_MASK          ((nest_attr_t)7 << 8)
#define NEST_MT_WB            ((nest_attr_t)0 << 8) /* normal, write-back; RISC-V: what the PMAs say */
#define NEST_MT_WT            ((nest_attr_t)1 << 8) /* normal, write-through */
#define NEST_MT_WC            ((nest_attr_t)2 << 8) /* normal non-cacheable, write-combining */
#define NEST_MT_UC            ((nest_attr_t)3 << 8) /* uncached, strongly ordered; Arm: as MT_DEVICE_STRICT */
#define NEST_MT_DEVICE        ((nest_attr_t)4 << 8) /* Arm nGnRE; elsewhere UC */
#define NEST_MT_DEVICE_STRICT ((nest_attr_t)5 << 8) /* Arm nGnRnE; elsewhere UC */

/*
 * Status. They are exact (settable, and reported as the entry has them) where they are tracked: NPT
 * and x86-64 always, other formats with NEST_FEAT_HW_A / NEST_FEAT_HW_D / NEST_FEAT_SW_AD. Where
 * they are not tracked, an entry is always built as accessed and dirty, so that no access faults;
 * both bits are then accepted and mean nothing, and are not reported. (So is dirty on AArch64 with
 * NEST_FEAT_SW_AD alone: software finds out by taking NEST_W away.) EPT without NEST_FEAT_HW_A and
 * NEST_FEAT_HW_D has no such bits and refuses them.
 */
#define NEST_ACCESSED ((nest_attr_t)1 << 12)
#define NEST_DIRTY    ((nest_attr_t)1 << 13)
/*
 * Dirty logging on AArch64 with NEST_FEAT_HW_D: with NEST_W and without NEST_DIRTY the page is
 * writable-clean, and hardware makes it dirty without a fault. Refused by other formats: there W
 * without NEST_DIRTY is writable-clean already.
 */
#define NEST_DBM      ((nest_attr_t)1 << 14)

/* The embedder's own bits, kept in the entry; a format without room refuses them. */
#define NEST_SW0 ((nest_attr_t)1 << 16)
#define NEST_SW1 ((nest_attr_t)1 << 17)
#define NEST_SW2 ((nest_attr_t)1 << 18)

#define NEST_RW  (NEST_R | NEST_W)
#define NEST_RX  (NEST_R | NEST_X)
#define NEST_RWX (NEST_R | NEST_W | NEST_X)
#define NEST_SW_MASK (NEST_SW0 | NEST_SW1 | NEST_SW2)
/* Every bit that means something; another bit in an attribute is NEST_E_INVAL. */
#define NEST_ATTR_MASK                                                                            \
	(NEST_RWX | NEST_U | NEST_XU | NEST_G | NEST_MT_MASK | NEST_ACCESSED | NEST_DIRTY |       \
	 NEST_DBM | NEST_SW_MASK)
/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
