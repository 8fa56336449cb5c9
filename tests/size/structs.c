/* SPDX-License-Identifier: MIT */
/* The size of public structs, as that of symbols: size.py reads them. */
#include <nest/nest.h>

#define SIZE_OF(type) char sizeof_##type[sizeof(struct type)]

SIZE_OF(nest_pt);
SIZE_OF(nest_gather);
SIZE_OF(nest_mapping);
SIZE_OF(nest_reserve);
SIZE_OF(nest_flush);
SIZE_OF(nest_host);
SIZE_OF(nest_epoch);
SIZE_OF(nest_epoch_slot);
SIZE_OF(nest_vm);
SIZE_OF(nest_vm_region);
