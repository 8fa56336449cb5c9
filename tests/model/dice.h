/* SPDX-License-Identifier: MIT */
/*
 * Random numbers. What the caller does is drawn; a fuzzer's input can decide it. What hardware and
 * the host do is thrown, and never decided by the input.
 */
#ifndef MODEL_DICE_H
#define MODEL_DICE_H

#include <stddef.h>
#include <stdint.h>

struct dice {
	uint64_t state;
	const uint8_t *input; /* draws come from here, if not NULL; 0 when it is empty */
	size_t left;
};

static inline struct dice dice_of(uint64_t seed)
{
	return (struct dice){ .state = seed * 0x9e3779b97f4a7c15 + 1 };
}

/* A number below n. */
static inline uint64_t dice_throw(struct dice *d, uint64_t n)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return n ? (d->state * 0x2545f4914f6cdd1d >> 8) % n : 0;
}

static inline uint64_t dice_draw(struct dice *d, uint64_t n)
{
	uint64_t value = 0;

	if (!d->input)
		return dice_throw(d, n);
	for (uint64_t left = n; left > 1 && d->left; left >>= 8) {
		value = value << 8 | *d->input++;
		d->left--;
	}
	return n ? value % n : 0;
}

#endif
