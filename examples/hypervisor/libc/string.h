/* SPDX-License-Identifier: MIT */
/*
 * The C library of the image, as far as libfdt and the compiler ask for one (libc.c has it). The
 * folder stands in front of the system's headers: libfdt_env.h includes <string.h> and <stdlib.h>.
 */
#ifndef LIBC_STRING_H
#define LIBC_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

#endif
