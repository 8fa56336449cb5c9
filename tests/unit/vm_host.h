/* SPDX-License-Identifier: MIT */
/*
 * A VM on the arena host, with a provider of frames that keeps books: what was asked for, what is
 * out, and that each frame comes back once, unmapped, and after a flush of its address.
 */
#ifndef NEST_TEST_VM_HOST_H
#define NEST_TEST_VM_HOST_H

#include <nest/vm.h>

#include "support.h"

enum { VMT_REGIONS = 6, VMT_FRAMES = 4096, VMT_ASKED = 64 };

struct frame {
	nest_ia_t gpa;
	nest_pa_t pa;
	uint64_t size, out;
};

struct vmt {
	struct arena a;
	struct nest_vm vm;
	struct nest_vm_region regions[VMT_REGIONS];
	struct nest_range protect[2];
	struct nest_vm_config config;
	struct tcase c;
	uint64_t page;
	uint64_t tables0; /* allocations of the empty VM */
	/* The provider. */
	struct nest_backing provider;
	struct frame frame[VMT_FRAMES];
	unsigned nr_frames;
	uint64_t frames_out;       /* bytes that are with the VM */
	uint64_t asked[VMT_ASKED]; /* sizes asked for since the last vmt_mark() */
	unsigned nr_asked, nr_put;
	uint64_t refuse_above; /* give no frame larger than this; 0: any */
	nest_pa_t give;        /* give this instead of memory, if not 0 */
	bool unflushed_ok;     /* a put may come without a flush: its page was never mapped */
	bool mapped_ok;        /* a put may come with the page still in the table (destroy) */
};

/* A VM of that case; of a plain format. */
void vmt_open(struct vmt *t, const struct tcase *c);
void vmt_open_named(struct vmt *t, const char *format, uint32_t features);
/* Destroys the VM; every table and frame must have come back. */
void vmt_close(struct vmt *t);
/* Forget the events and questions so far. */
void vmt_mark(struct vmt *t);
/* Every second-stage format with each set of features. */
void vmt_sweep(void (*fn)(struct vmt *t));
/* Bytes that an entry of `level` covers. */
uint64_t vmt_span(const struct vmt *t, unsigned level);
/* The last whole page of the input space. */
uint64_t vmt_top_page(const struct vmt *t);

struct nest_backing fixed_at(nest_pa_t hpa);
struct nest_fault fault_at(nest_ia_t gpa, nest_attr_t access);
/* Take a fault: the exit. */
struct nest_exit vmt_fault(struct vmt *t, nest_ia_t gpa, nest_attr_t access);
/* What gpa is mapped to; fails if it is not. */
struct nest_mapping vmt_at(struct vmt *t, nest_ia_t gpa);
bool vmt_is_mapped(struct vmt *t, nest_ia_t gpa);

/* Everything that must be the same after a call that failed. */
struct vm_state {
	uint64_t digest, outstanding, frames_out;
	unsigned nr_regions;
};
struct vm_state vmt_state(struct vmt *t);
void check_same_state(struct vmt *t, const struct vm_state *before);

#endif
