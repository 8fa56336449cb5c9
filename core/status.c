/* SPDX-License-Identifier: MIT */
/*
 * Words for status codes. A switch of returns, not a table of pointers: nothing to relocate.
 */
#include <nest/base.h>

const char *nest_strerror(int status)
{
	switch (status) {
	case NEST_OK:
		return "success";
	case NEST_E_NOMEM:
		return "out of memory for tables or frames";
	case NEST_E_ALIGN:
		return "address or size not aligned to the smallest page";
	case NEST_E_RANGE:
		return "address out of range, or empty or wrapping range";
	case NEST_E_MAPPED:
		return "something is mapped there already";
	case NEST_E_NOTMAPPED:
		return "nothing is mapped there";
	case NEST_E_HUGE:
		return "a larger page covers it and splitting was not allowed";
	case NEST_E_UNSUPPORTED:
		return "not expressible in this format or by this CPU";
	case NEST_E_BUSY:
		return "entry is being changed by another CPU";
	case NEST_E_INVAL:
		return "invalid argument";
	case NEST_E_AGAIN:
		return "work budget used up, call again";
	case NEST_E_DENIED:
		return "refused by the host's policy";
	default:
		return "unknown status";
	}
}
