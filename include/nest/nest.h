/* SPDX-License-Identifier: MIT */
/*
 * All of libnest that needs nothing else: formats, the engine, faults, and the VM.
 *
 * Left out on purpose: nest/fdt.h, whose code needs libfdt, and nest/arch/, which is for one
 * architecture each.
 */
#ifndef NEST_NEST_H
#define NEST_NEST_H

#include <nest/attr.h>
#include <nest/base.h>
#include <nest/epoch.h>
#include <nest/fault.h>
#include <nest/format.h>
#include <nest/gather.h>
#include <nest/host.h>
#include <nest/page.h>
#include <nest/pt.h>
#include <nest/vm.h>

#endif
