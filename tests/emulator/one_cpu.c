/* SPDX-License-Identifier: MIT */
/* For ports of machines with one CPU, or whose second one nobody has started yet. */
#include "walker.h"

bool port_has_second(const struct walker_config *config)
{
	(void)config;
	return false;
}

bool port_second_start(void (*fn)(void))
{
	(void)fn;
	return false;
}

void port_second_wait(void)
{
}
