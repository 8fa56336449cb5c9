/* SPDX-License-Identifier: MIT */
/*
 * Calls on two VMs, drawn by vm_random() and checked while they run. What is right is worked out
 * from the comments of nest/vm.h and the flat arrays, before or without looking at the tables.
 */
#ifndef MODEL_VM_CALLS_H
#define MODEL_VM_CALLS_H

#include "vm_world.h"

/* Pages that are few enough to be mapped one by one, and to be marked one by one. */
enum { VM_SMALL_RUN = 40, VM_LARGE_RUN = 600 };

/* A set of statuses. */
#define VM_STATUS(err) ((uint32_t)1 << -(err))

/* One call on one of the VMs. */
void vm_calls_make(struct vm_world *w);
const char *vm_call_name(enum vm_operation operation);

/* Is `err` among those that are right? Out of memory and refused by the host count as they came. */
void vm_check_status(struct vm *v, int err, uint32_t right);
/* A range between two cuts. */
void vm_draw_range(struct vm_world *w, unsigned *a, unsigned *b);
/* Nothing has changed after all. */
void vm_forget_plan(struct vm *v);
bool vm_tracks_dirty(const struct vm_world *w);

/* Pages of that kind in [a, b)? */
bool vm_has_kind(const struct vm *v, unsigned a, unsigned b, enum nest_pte_kind kind);
/* Free frames for [a, b), often in step with its addresses, so that blocks can be mapped. */
nest_pa_t vm_take_memory(struct vm_world *w, unsigned a, unsigned b);
/* Host memory that may not be mapped, now and then: what is wrong with it, or 0. */
uint32_t vm_spoil(struct vm *v, unsigned a, unsigned b, nest_pa_t *pa);
/* Frames that [a, b) has no longer are the caller's. */
void vm_drop_removed(struct vm *v, unsigned a, unsigned b);
/* Has a call that failed told what was in its way, where it has to? */
void vm_check_conflict(struct vm *v, int err, unsigned a, unsigned b, bool told);

/* vm_regions.c */
void vm_call_add_ram(struct vm *v);
void vm_call_add_device(struct vm *v);
void vm_call_add_mmio(struct vm *v);
void vm_call_remove(struct vm *v);

/* vm_faults.c */
void vm_call_translate(struct vm *v);
void vm_call_copy(struct vm *v, bool write);
void vm_call_fault(struct vm *v);

#endif
