/* SPDX-License-Identifier: MIT */
/*
 * The run of an image: its parameters, its configurations one after the other, and the account of
 * checks, failures and tolerated deviations. walkers.py reads what is printed here.
 */
#include "model.h"

/* ---- Counting and telling ---- */

uint64_t walker_checks, walker_failures;

static uint64_t tolerated[WALKER_DEVIATION_COUNT];
static uint64_t suite_checks, suite_failures; /* what they were when it began */
static const char *suite_name;

enum { SHOWN_MOST = 10 };

#define DEVIATION_TEXT(name, what, rule) { #name, what, rule },
static const struct {
	const char *name, *what, *rule;
} deviations[WALKER_DEVIATION_COUNT] = { { 0 }, WALKER_DEVIATIONS(DEVIATION_TEXT) };

bool walker_fail(const char *file, int line)
{
	walker_failures++;
	if (walker_failures - suite_failures == SHOWN_MOST + 1)
		print("FAIL ... and more\n");
	if (walker_failures - suite_failures > SHOWN_MOST)
		return false;
	print("FAIL %s %s (%s:%u): ", model.config ? model.config->name : "-",
	      suite_name ? suite_name : "-", file, (unsigned)line);
	return true;
}

static void end_suite(void)
{
	if (suite_name)
		print("suite %s %s: %lu checks, %lu failed\n", model.config->name, suite_name,
		      walker_checks - suite_checks, walker_failures - suite_failures);
	suite_name = NULL;
}

void walker_suite(const char *name)
{
	end_suite();
	suite_name = name;
	suite_checks = walker_checks;
	suite_failures = walker_failures;
}

void walker_tolerated(enum walker_deviation deviation)
{
	if (!tolerated[deviation]++)
		print("deviation %s: %s; the rule: %s\n", deviations[deviation].name,
		      deviations[deviation].what, deviations[deviation].rule);
}

/* ---- Parameters, random numbers ---- */

__attribute__((section(".walker_params"), used))
const volatile struct walker_parameters walker_parameters = {
	.magic = "WALKERS", .seed = 1, .operations = 2000, .probes = 20000
};

static uint64_t random_state;

uint64_t walker_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1d;
}

/* Every configuration begins with numbers of its own, so that it can be run alone. */
static void seed_random(const char *name)
{
	random_state = walker_parameters.seed ^ 0x9e3779b97f4a7c15;
	while (*name)
		random_state = (random_state ^ (unsigned char)*name++) * 0x100000001b3;
	if (!random_state)
		random_state = 1;
}

/* ---- The run ---- */

static bool is_wanted(const struct walker_config *c)
{
	char only[sizeof(walker_parameters.only)];

	for (unsigned i = 0; i < sizeof(only); i++)
		only[i] = walker_parameters.only[i];
	if (!only[0])
		return true;
	for (unsigned i = 0; i < sizeof(only); i++) {
		if (only[i] != c->name[i])
			return false;
		if (!only[i])
			return true;
	}
	return false;
}

/*
 * Operations and probes of each configuration's campaign: the same when it is run alone, so that a
 * failure can be had again quickly.
 */
static uint64_t share_of(uint64_t all, unsigned count)
{
	return (all + count - 1) / count;
}

static void run(const struct walker_config *c, unsigned count)
{
	uint64_t operations = share_of(walker_parameters.operations, count), probes;

	seed_random(c->name);
	print("config %s: %s, %u-bit input, %u-bit output, features %lx\n", c->name,
	      nest_format_name(c->format), c->ia_bits, c->oa_bits, (uint64_t)c->features);
	model.config = c;
	if (port_has_second(c)) {
		walker_suite("two CPUs, one changes the table");
		two_cpus(false, operations);
		walker_suite("two CPUs, both change the table");
		two_cpus(true, operations);
		end_suite();
		return;
	}
	walker_suite("set-up");
	if (!model_open(c))
		return;
	suites();
	reference(share_of(walker_parameters.probes / 2, count));
	if (operations) {
		walker_suite("random campaign");
		probes = walker_probes;
		campaign(operations, share_of(walker_parameters.probes, count));
		print("random %s: seed %lx, %lu operations, %lu probes\n", c->name,
		      walker_parameters.seed, operations, walker_probes - probes);
	}
	leave_nothing();
	model_close();
	walker_suite("of this machine");
	port_extra(c);
	end_suite();
}

void walker_main(void)
{
	const struct walker_config *configs;
	unsigned count, run_count = 0;

	port_start();
	configs = port_configs(&count);
	for (unsigned i = 0; i < count; i++)
		run_count += is_wanted(&configs[i]);
	for (unsigned i = 0; i < count; i++) {
		if (is_wanted(&configs[i]))
			run(&configs[i], count);
	}
	for (unsigned i = 1; i < WALKER_DEVIATION_COUNT; i++) {
		if (tolerated[i])
			print("tolerated %s: %lu\n", deviations[i].name, tolerated[i]);
	}
	print("END %u configurations, %lu checks, %lu failed, %lu probes\n", run_count,
	      walker_checks, walker_failures, walker_probes);
	port_exit(run_count && !walker_failures);
}
