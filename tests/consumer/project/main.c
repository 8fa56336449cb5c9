/* SPDX-License-Identifier: MIT */
/*
 * A consumer of the library: maps a block through the umbrella header, and prints the formats that
 * are built in, the modes that are left out, and one translation.
 */
#include <nest/nest.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static nest_pa_t frame_alloc(void *ctx, size_t size)
{
	void *p = aligned_alloc(size, size);

	(void)ctx;
	return p ? (nest_pa_t)(uintptr_t)p : NEST_PA_NONE;
}

static void frame_free(void *ctx, nest_pa_t pa, size_t size)
{
	(void)ctx;
	(void)size;
	free((void *)(uintptr_t)pa);
}

static void tlb_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	(void)what;
}

/* Nobody else reads these tables. */
static void call_now(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	fn(arg);
}

/*
 * Say so if tables cannot be had with these flags and features, or if the functions for entries
 * disagree about the features.
 */
static void try_with(struct nest_pt_config config, uint32_t flags, uint32_t features,
		     const char *what)
{
	struct nest_format_info info;
	nest_pte_t e;
	struct nest_pt pt;
	int err;

	config.flags = flags;
	config.features = features;
	err = nest_pt_init(&pt, &config);
	if (err)
		printf("%s: %s\n", what, nest_strerror(err));
	else
		nest_pt_destroy(&pt);
	if (!flags && (nest_format_describe(config.format, features, &info) != err ||
		       nest_pte_leaf(config.format, 0, features, 0, NEST_R, &e) != err))
		printf("%s: entries can have them\n", what);
}

int main(void)
{
	const struct nest_host host = {
		.alloc = frame_alloc, .free = frame_free, .tlb_flush = tlb_flush, .defer = call_now
	};
	const struct nest_pt_config config = { .format = nest_format_by_name("aarch64-s2-4k"),
					       .oa_bits = 48,
					       .host = &host };
	struct nest_mapping m;
	struct nest_pt pt;
	int err;

	printf("formats:");
	for (const struct nest_format *const *f = nest_formats; *f; f++)
		printf(" %s", nest_format_name(*f));
	printf("\n");
	try_with(config, NEST_PT_SHARED, 0, "shared mode");
	try_with(config, 0, NEST_FEAT_CONTIG, "contiguous groups");
	err = nest_pt_init(&pt, &config);
	if (err) {
		printf("init: %s\n", nest_strerror(err));
		return 1;
	}
	err = nest_pt_map(&pt, 0x40200000, 0x80000000, 0x200000, NEST_RWX, 0, NULL);
	if (!err)
		err = nest_pt_query(&pt, 0x40201234, &m);
	nest_pt_destroy(&pt);
	if (err) {
		printf("map: %s\n", nest_strerror(err));
		return 1;
	}
	printf("0x40201234 -> 0x%" PRIx64 "\n", m.pa);
	return 0;
}
