/* SPDX-License-Identifier: MIT */
/*
 * The VM of the hv_glue tests and its provider of frames.
 *
 * Frames come from the arena, so failing its n-th allocation fails tables and frames alike.
 */
#include "vm_host.h"

static nest_pa_t provider_get(void *ctx, nest_ia_t gpa, uint64_t size)
{
	struct vmt *t = ctx;
	nest_pa_t pa;

	CHECK_EQ(gpa & (size - 1), 0);
	if (t->nr_asked < VMT_ASKED)
		t->asked[t->nr_asked++] = size;
	if (t->refuse_above && size > t->refuse_above)
		return NEST_PA_NONE;
	pa = t->give ? t->give : t->a.host.alloc(&t->a, (size_t)size);
	if (pa == NEST_PA_NONE)
		return NEST_PA_NONE;
	if (!t->give)
		memset(arena_ptr(&t->a, pa), 0, (size_t)size);
	CHECK(t->nr_frames < VMT_FRAMES);
	t->frame[t->nr_frames++] =
		(struct frame){ .gpa = gpa, .pa = pa, .size = size, .out = size };
	t->frames_out += size;
	return pa;
}

static struct frame *frame_of(struct vmt *t, nest_ia_t gpa, nest_pa_t pa)
{
	for (unsigned i = 0; i < t->nr_frames; i++) {
		struct frame *f = &t->frame[i];

		if (f->out && pa >= f->pa && pa - f->pa < f->size && gpa - f->gpa == pa - f->pa)
			return f;
	}
	check_at(false, "a frame came back that is not out", __FILE__, __LINE__);
	return NULL;
}

static void provider_put(void *ctx, nest_ia_t gpa, nest_pa_t pa, uint64_t size)
{
	struct vmt *t = ctx;

	t->nr_put++;
	CHECK(t->unflushed_ok || arena_flushed(&t->a, gpa, gpa + (size - 1)));
	for (uint64_t done = 0; done < size;) {
		struct frame *f = frame_of(t, gpa + done, pa + done);
		uint64_t n = size - done < f->out ? size - done : f->out;

		CHECK(t->mapped_ok || !vmt_is_mapped(t, gpa + done));
		f->out -= n;
		t->frames_out -= n;
		done += n;
		if (!f->out && !t->give)
			t->a.host.free(&t->a, f->pa, (size_t)f->size);
	}
}

void vmt_open(struct vmt *t, const struct tcase *c)
{
	memset(t, 0, sizeof(*t));
	t->c = *c;
	snprintf(test_case, sizeof(test_case), "%s features 0x%x ia %u", c->name, c->features,
		 c->ia_bits);
	arena_open(&t->a, (uint64_t)8 << 20);
	if (c->flags & NEST_PT_SHARED)
		arena_use_defer(&t->a);
	t->page = (uint64_t)1 << c->info.page_shift;
	t->config = (struct nest_vm_config){
		.pt = { .format = c->format,
			.features = c->features,
			.ia_bits = c->ia_bits,
			.flags = c->flags,
			.host = &t->a.host,
			.ctx = &t->a },
		.vmid = 5,
		.regions = t->regions,
		.max_regions = VMT_REGIONS,
		.protect = t->protect,
		.nr_protect = 2,
	};
	t->provider = (struct nest_backing){ .get = provider_get, .put = provider_put, .ctx = t };
	CHECK_OK(nest_vm_init(&t->vm, &t->config));
	t->tables0 = t->a.outstanding;
	vmt_mark(t);
}

void vmt_open_named(struct vmt *t, const char *format, uint32_t features)
{
	struct tcase c = tcase_of(format_or_skip(format), features, 0, 0);

	vmt_open(t, &c);
}

void vmt_close(struct vmt *t)
{
	t->mapped_ok = true;
	vmt_mark(t);
	nest_vm_destroy(&t->vm);
	arena_run_deferred(&t->a);
	CHECK_EQ(t->frames_out, 0);
	CHECK_EQ(t->a.outstanding, 0);
	arena_close(&t->a);
}

void vmt_mark(struct vmt *t)
{
	arena_mark(&t->a);
	t->nr_asked = t->nr_put = 0;
}

static void (*swept)(struct vmt *t);

static void sweep_one(const struct tcase *c)
{
	static struct vmt t;

	if (!c->info.stage2)
		return;
	vmt_open(&t, c);
	swept(&t);
	vmt_close(&t);
}

void vmt_sweep(void (*fn)(struct vmt *t))
{
	swept = fn;
	sweep(SWEEP_SOME_WIDTHS, sweep_one);
}

uint64_t vmt_span(const struct vmt *t, unsigned level)
{
	return (uint64_t)1 << (t->c.info.page_shift + level * t->c.info.index_bits);
}

uint64_t vmt_top_page(const struct vmt *t)
{
	return ((uint64_t)1 << t->c.ia_bits) - t->page;
}

struct nest_backing fixed_at(nest_pa_t hpa)
{
	return (struct nest_backing){ .hpa = hpa };
}

struct nest_fault fault_at(nest_ia_t gpa, nest_attr_t access)
{
	return (struct nest_fault){ .gpa = gpa,
				    .gpa_valid = true,
				    .gpa_exact = true,
				    .access = access,
				    .kind = NEST_FAULT_TRANSLATION };
}

struct nest_exit vmt_fault(struct vmt *t, nest_ia_t gpa, nest_attr_t access)
{
	struct nest_fault f = fault_at(gpa, access);
	struct nest_exit e;

	CHECK_OK(nest_vm_fault(&t->vm, &f, &e));
	CHECK_EQ(e.gpa, gpa);
	CHECK_EQ(e.access, access);
	CHECK((e.kind == NEST_EXIT_ERROR) == (e.status != NEST_OK));
	return e;
}

struct nest_mapping vmt_at(struct vmt *t, nest_ia_t gpa)
{
	struct nest_mapping m = { .size = 0 };

	CHECK_OK(nest_pt_query(nest_vm_pt(&t->vm), gpa, &m));
	return m;
}

bool vmt_is_mapped(struct vmt *t, nest_ia_t gpa)
{
	struct nest_mapping m;

	return nest_pt_query(nest_vm_pt(&t->vm), gpa, &m) == NEST_OK;
}

/* Pages of one size with one attribute count as one run: a split alone is no change. */
static int digest_leaf(void *ctx, const struct nest_mapping *m)
{
	uint64_t *digest = ctx;

	for (uint64_t at = 0; at < m->size; at += 4096) {
		uint64_t state = m->ia + at + (m->pa + at) * 3 + m->attr * 7u;

		*digest += rnd(&state);
	}
	return 0;
}

struct vm_state vmt_state(struct vmt *t)
{
	struct vm_state s = { .outstanding = t->a.outstanding,
			      .frames_out = t->frames_out,
			      .nr_regions = t->vm.nr_regions };

	CHECK_OK(nest_pt_walk(nest_vm_pt(&t->vm), 0, (uint64_t)1 << t->c.ia_bits, 0, digest_leaf,
			      &s.digest));
	return s;
}

void check_same_state(struct vmt *t, const struct vm_state *before)
{
	struct vm_state now = vmt_state(t);

	CHECK_EQ(now.digest, before->digest);
	CHECK_EQ(now.outstanding, before->outstanding);
	CHECK_EQ(now.frames_out, before->frames_out);
	CHECK_EQ(now.nr_regions, before->nr_regions);
}
