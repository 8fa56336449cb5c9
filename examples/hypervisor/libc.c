/* SPDX-License-Identifier: MIT */
/*
 * The few C library functions that libnest (memcpy, memset), libfdt and the compiler call.
 *
 * Copies go by aligned words where they can: until EL2's MMU is on, no access may be unaligned. The
 * file is built with -fno-builtin, so that no loop becomes a call to the function it implements.
 */
#include <stdint.h>
#include <string.h>

/* A word that may stand for bytes of any type. */
typedef uint64_t __attribute__((may_alias)) word_t;

static size_t words_in(const void *a, const void *b, size_t n)
{
	return (((uintptr_t)a | (uintptr_t)b) & 7) == 0 ? n / 8 : 0;
}

void *memcpy(void *to, const void *from, size_t n)
{
	size_t words = words_in(to, from, n);

	for (size_t i = 0; i < words; i++)
		((word_t *)to)[i] = ((const word_t *)from)[i];
	for (size_t i = words * 8; i < n; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	if ((uintptr_t)to - (uintptr_t)from >= n)
		return memcpy(to, from, n);
	while (n--)
		((char *)to)[n] = ((const char *)from)[n];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	size_t words = words_in(to, to, n);

	for (size_t i = 0; i < words; i++)
		((word_t *)to)[i] = (unsigned char)c * 0x0101010101010101u;
	for (size_t i = words * 8; i < n; i++)
		((unsigned char *)to)[i] = (unsigned char)c;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != q[i])
			return p[i] < q[i] ? -1 : 1;
	}
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	const unsigned char *p = s;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == (unsigned char)c)
			return (void *)(uintptr_t)(p + i);
	}
	return NULL;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

size_t strlen(const char *s)
{
	return strnlen(s, SIZE_MAX);
}

char *strchr(const char *s, int c)
{
	return memchr(s, c, strlen(s) + 1);
}

char *strrchr(const char *s, int c)
{
	for (size_t n = strlen(s) + 1; n--;) {
		if (s[n] == (char)c)
			return (char *)(uintptr_t)(s + n);
	}
	return NULL;
}
