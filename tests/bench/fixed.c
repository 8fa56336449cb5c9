/* SPDX-License-Identifier: MIT */
/*
 * nest_fixed FORMAT: a small workload that is always the same, for instructions.py to count the
 * instructions of. Everything that a caller does often is in it once.
 */
#include <nest/nest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 16 << 20, ROOT_ALIGN = 1 << 20, PAGES = 2048 };

static uint8_t *pool;
static uint64_t used;

static nest_pa_t take(void *ctx, size_t size)
{
	uint64_t at = (used + size - 1) & ~(uint64_t)(size - 1);

	(void)ctx;
	if (at + size > POOL)
		return NEST_PA_NONE;
	used = at + size;
	return at;
}

static void give_back(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx, (void)pa, (void)size;
}

static void flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx, (void)what;
}

/* What is counted: by this name. */
int measured(struct nest_pt *pt, uint64_t page);
__attribute__((noinline)) int measured(struct nest_pt *pt, uint64_t page)
{
	const nest_attr_t attr = NEST_RWX;
	const uint64_t size = PAGES * page, far = 16 * size;
	static nest_pa_t frames[PAGES];
	struct nest_mapping m;
	struct nest_cursor c;
	nest_attr_t has;
	nest_pa_t pa;
	int err = nest_pt_map(pt, 0, size, size, attr, NEST_MAP_NO_HUGE, NULL);

	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_map(pt, far + i * page, i * page, page, attr, 0, NULL);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_query(pt, far + i * page, &m);
	if (!err)
		err = nest_pt_protect(pt, 0, size, 0, NEST_W, 0, NULL);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_unmap(pt, far + i * page, page, 0, NULL);
	if (!err)
		err = nest_pt_unmap(pt, 0, size, 0, NULL);
	/* One page a call, by a cursor, and by a list. */
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_map_page(pt, far + i * page, i * page, attr);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_translate(pt, far + i * page, &pa, &has);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_protect_page(pt, far + i * page, 0, NEST_W);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_pt_unmap_page(pt, far + i * page);
	nest_cursor_init(&c, pt, far);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_cursor_map(&c, i * page, attr);
	nest_cursor_seek(&c, far);
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = nest_cursor_unmap(&c, NULL);
	for (uint64_t i = 0; i < PAGES; i++)
		frames[i] = (i ^ 1) * page;
	if (!err)
		err = nest_pt_map_frames(pt, far, frames, PAGES, attr, 0, NULL);
	if (!err)
		err = nest_pt_unmap(pt, far, size, NEST_SKIP_HOLES, NULL);
	/* Large pages, one of which is split. */
	if (!err)
		err = nest_pt_map(pt, 0, 0, size, attr, 0, NULL);
	if (!err)
		err = nest_pt_protect(pt, 3 * page, page, 0, NEST_W, 0, NULL);
	return err ? err : nest_pt_unmap(pt, 0, size, NEST_SKIP_HOLES, NULL);
}

int main(int argc, char **argv)
{
	struct nest_host host = { .alloc = take, .free = give_back, .tlb_flush = flush };
	struct nest_pt_config config = { .host = &host };
	struct nest_format_info info;
	struct nest_pt pt;
	int err;

	for (unsigned i = 0; argc == 2 && nest_formats[i]; i++) {
		if (!strcmp(nest_format_name(nest_formats[i]), argv[1]))
			config.format = nest_formats[i];
	}
	if (!config.format) {
		fprintf(stderr, "usage: nest_fixed FORMAT\n");
		return 2;
	}
	pool = aligned_alloc(ROOT_ALIGN, POOL);
	if (!pool)
		return 2;
	host.linear_offset = (uint64_t)(uintptr_t)pool;
	err = nest_format_describe(config.format, 0, &info);
	if (!err)
		err = nest_pt_init(&pt, &config);
	if (!err)
		err = measured(&pt, (uint64_t)1 << info.page_shift);
	if (err)
		fprintf(stderr, "nest_fixed: %s: %s\n", argv[1], nest_strerror(err));
	free(pool);
	return err != NEST_OK;
}
