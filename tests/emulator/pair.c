/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs at one table: both make accesses by it all the time, while one changes it (exclusive
 * mode), or both do (NEST_PT_SHARED, with grace periods by nest/epoch.h).
 *
 * Every cell, a smallest page, has an owner, who alone changes it and writes down what it is to be
 * before the call and that it is so after it. An access by either CPU must have found the cell in
 * one of the states that it had between the access's begin and end; so what was unmapped, replaced
 * or write-protected is out of the other CPU's TLB when the call is over. The word at the beginning
 * of a frame tells which one it is. A frame that is released is overwritten at once: whoever reads
 * that, or writes to it, has used a translation after its flush.
 *
 * The host may stop either CPU at any instruction for any time. So nothing here is bounded by time
 * or by a number of attempts alone: what counts is what the other CPU has done meanwhile.
 */
#include <string.h>

#include <nest/epoch.h>

#include "model.h"

enum { CPUS = 2, PAGE_CELLS = 16, BLOCK_CELLS = 8, CELLS = PAGE_CELLS + BLOCK_CELLS };
enum { HISTORY = 8, FRAMES = PAGE_CELLS + 1, ROUND = 32, LOOKS = 4 };
/* In every STALLS-th round one CPU stalls. NEST_E_BUSY with no such reason: so often at most. */
enum { STALLS = 8, MOST_BUSY = 16 };

/* What a cell is: the address of its frame, which is that of a whole page, and two bits. */
#define IS_MAPPED   ((uint64_t)1)
#define IS_WRITABLE ((uint64_t)2)
#define STATE_PA(s) ((s) & ~(uint64_t)0xfff)

#define NONCE(pa) ((pa) ^ 0x5eed00000001)
#define POISON    ((uint64_t)0xdeadbeefdeadbeef)

struct pair_cell {
	nest_ia_t ia;
	unsigned owner;
	uint64_t block_pa;         /* its own frame in the block; 0: any of the owner's */
	uint64_t begun, ended;     /* so many changes, beside the first state */
	uint64_t history[HISTORY]; /* states, by the number of the change modulo HISTORY */
	/* A write by either CPU in this state: writing_of(). 0: none since the last harvest. */
	uint64_t written;
	uint64_t harvests; /* so many are over... */
	uint64_t dirty;    /* ...and so many were when the last one that said "dirty" was, too */
};

/* One CPU's own. What it finds wrong first is told by the first CPU, later. */
struct pair_cpu {
	uint64_t random;
	nest_pa_t frame[FRAMES];
	unsigned frames;
	uint64_t changes, busy, looks, missed, failures;
	const char *wrong;
	unsigned cell;
	uint64_t detail[4];
	uint64_t arrived; /* at so many meetings */
	uint64_t over;    /* rounds */
	uint64_t calls;   /* begun and ended: odd during one */
	uint64_t held_up; /* NEST_E_BUSY in this change, so many times */
};

static struct pair {
	const struct walker_config *config;
	struct nest_pt pt;
	nest_attr_t attr;
	uint64_t page, block_size;
	nest_ia_t block_ia;
	nest_pa_t block; /* NEST_PA_NONE: no memory for one */
	/* Calls that may break entries of the block, under way and over. */
	uint64_t block_begun, block_ended;
	unsigned cells, rounds;
	bool shared;
	uint64_t stall; /* whoever flushes a table next, stalls till this round is over; 0: no */
	struct pair_cell cell[CELLS];
	struct pair_cpu cpu[CPUS];
} pair;

static struct nest_epoch epoch;
static struct nest_epoch_slot epoch_slot[CPUS];

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

static uint64_t random_of(struct pair_cpu *cpu)
{
	cpu->random ^= cpu->random << 13;
	cpu->random ^= cpu->random >> 7;
	cpu->random ^= cpu->random << 17;
	return cpu->random * 0x2545f4914f6cdd1d >> 16;
}

static void fail(struct pair_cpu *cpu, const char *what, const struct pair_cell *cell, uint64_t a,
		 uint64_t b, uint64_t c, uint64_t d)
{
	if (cpu->failures++)
		return;
	cpu->wrong = what;
	cpu->cell = (unsigned)(cell - pair.cell);
	cpu->detail[0] = a;
	cpu->detail[1] = b;
	cpu->detail[2] = c;
	cpu->detail[3] = d;
}

static volatile uint64_t *word(nest_pa_t frame, unsigned i)
{
	return &((volatile uint64_t *)walker_va(frame))[i];
}

/* ---- The host: one lock around the memory of the suites ---- */

static uint32_t memory_lock; /* a word: gcc calls a function to exchange a byte on RISC-V */

static void lock(void)
{
	while (__atomic_exchange_n(&memory_lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void unlock(void)
{
	__atomic_store_n(&memory_lock, 0, __ATOMIC_RELEASE);
}

static nest_pa_t pair_alloc(void *ctx, size_t size)
{
	nest_pa_t pa;

	lock();
	pa = walker_host.alloc(ctx, size);
	unlock();
	return pa;
}

static void pair_free(void *ctx, nest_pa_t pa, size_t size)
{
	lock();
	walker_host.free(ctx, pa, size);
	unlock();
}

/*
 * As if the host had stopped this CPU while it holds the entry of a table that it takes out: it
 * goes on when the other one has been refused more often than MOST_BUSY, or has done its round.
 */
static void stall(void)
{
	const uint64_t round = __atomic_exchange_n(&pair.stall, 0, __ATOMIC_SEQ_CST);
	bool over = !round;

	while (!over) {
		for (unsigned i = 0; i < CPUS; i++)
			over |= load(&pair.cpu[i].over) >= round ||
				load(&pair.cpu[i].held_up) > MOST_BUSY;
	}
}

static void pair_flush(void *ctx, const struct nest_flush *what)
{
	(void)ctx;
	if (!what->leaf_only)
		stall();
	port_flush(what);
}

static void pair_sync(void *ctx, const void *va, size_t len)
{
	(void)ctx;
	port_sync(va, len);
}

static void pair_defer(void *ctx, void (*fn)(void *arg), void *arg)
{
	(void)ctx;
	nest_epoch_defer(&epoch, fn, arg);
}

static void *pair_to_virt(void *ctx, nest_pa_t pa)
{
	(void)ctx;
	return walker_va(pa);
}

static const struct nest_host pair_host = {
	.alloc = pair_alloc,
	.free = pair_free,
	.to_virt = pair_to_virt,
	.tlb_flush = pair_flush,
	.sync = pair_sync,
	.defer = pair_defer,
};

/* ---- Accesses ---- */

/* Could the cell in this state have answered so? */
static bool fits(uint64_t state, enum walker_access access, const struct walker_outcome *out)
{
	if (out->done)
		return (state & IS_MAPPED) &&
		       (access == WALKER_READ ? out->value == NONCE(STATE_PA(state))
					      : (state & IS_WRITABLE) != 0);
	if (!(state & IS_MAPPED))
		return out->fault.kind == fault_kind(NEST_FAULT_TRANSLATION);
	return access == WALKER_WRITE && !(state & IS_WRITABLE) &&
	       out->fault.kind == fault_kind(NEST_FAULT_PERMISSION);
}

/* A write in the state of change `n`, which began when so many harvests were over. */
static uint64_t writing_of(uint64_t n, uint64_t harvests)
{
	return (n + 1) << 32 | harvests;
}

/* One access to any cell, and what must have come of it. */
static void look(struct pair_cpu *cpu)
{
	struct pair_cell *cell = &pair.cell[random_of(cpu) % pair.cells];
	const enum walker_access access = random_of(cpu) & 1 ? WALKER_READ : WALKER_WRITE;
	const unsigned slot = access == WALKER_WRITE ? 1 + (unsigned)(cpu - pair.cpu) : 0;
	const uint64_t block = load(&pair.block_ended), from = load(&cell->ended);
	const uint64_t harvests = load(&cell->harvests);
	struct walker_outcome out;
	uint64_t to, seen = 0;
	bool good = false;

	port_access(cell->ia + 8 * slot, access, WALKER_PRIVILEGED, from, &out);
	to = load(&cell->begun);
	for (uint64_t k = from; k <= to && k - from < HISTORY; k++) {
		seen = load(&cell->history[k % HISTORY]);
		good |= fits(seen, access, &out);
	}
	/* A change, or a split of the block around the cell, may go through an invalid entry. */
	good |= !out.done && out.fault.kind == fault_kind(NEST_FAULT_TRANSLATION) &&
		(to != from || (cell->block_pa && load(&pair.block_begun) != block));
	cpu->looks++;
	/* The state after `begun` may be written already. */
	if (load(&cell->begun) + 1 - from >= HISTORY)
		cpu->missed++; /* overwritten meanwhile */
	else if (!good)
		fail(cpu,
		     out.done ? access == WALKER_READ ? "read of a frame that is not the cell's"
						      : "write to a page that is not writable"
			      : "fault at a page that is mapped",
		     cell, out.done ? out.value : (uint64_t)out.fault.kind, seen, from, to);
	else if (out.done && access == WALKER_WRITE && to == from)
		store(&cell->written, writing_of(from, harvests));
}

/* ---- Changes ---- */

static uint64_t state_of(const struct pair_cell *cell)
{
	return cell->history[cell->ended % HISTORY];
}

/* A frame of one's own that nobody has touched since it was released. */
static nest_pa_t take_frame(struct pair_cpu *cpu, const struct pair_cell *cell)
{
	nest_pa_t pa = cpu->frame[--cpu->frames];

	for (unsigned i = 0; i <= CPUS; i++) {
		if (*word(pa, i) != POISON)
			fail(cpu, "write to a frame after its release", cell, pa, i, *word(pa, i),
			     0);
	}
	*word(pa, 0) = NONCE(pa);
	return pa;
}

static void release_frame(struct pair_cpu *cpu, nest_pa_t pa)
{
	for (unsigned i = 0; i <= CPUS; i++)
		*word(pa, i) = POISON;
	cpu->frame[cpu->frames++] = pa;
}

/* The cell is going to be `state`; and is so. */
static void begin(struct pair_cell *cell, uint64_t state)
{
	if (cell->block_pa)
		__atomic_add_fetch(&pair.block_begun, 1, __ATOMIC_SEQ_CST);
	store(&cell->history[(cell->begun + 1) % HISTORY], state);
	store(&cell->begun, cell->begun + 1);
}

static void end(struct pair_cell *cell)
{
	store(&cell->ended, cell->begun);
	if (cell->block_pa)
		__atomic_add_fetch(&pair.block_ended, 1, __ATOMIC_SEQ_CST);
}

/* Make the calls that lead from one state to another. */
static int make(const struct pair_cell *cell, uint64_t from, uint64_t to)
{
	const nest_attr_t attr = pair.attr & ~(to & IS_WRITABLE ? 0 : NEST_W);

	if (!(to & IS_MAPPED))
		return nest_pt_unmap(&pair.pt, cell->ia, pair.page, 0, NULL);
	if ((from & IS_MAPPED) && STATE_PA(from) == STATE_PA(to))
		return to & IS_WRITABLE
			       ? nest_pt_protect(&pair.pt, cell->ia, pair.page,
						 pair.attr & (NEST_W | NEST_DBM), 0, 0, NULL)
			       : nest_pt_protect(&pair.pt, cell->ia, pair.page, 0, NEST_W, 0, NULL);
	return nest_pt_map(&pair.pt, cell->ia, STATE_PA(to), pair.page, attr,
			   NEST_MAP_NO_HUGE | (from & IS_MAPPED ? NEST_MAP_REPLACE : 0), NULL);
}

/*
 * With grace periods, and until nobody else is in the way. While the other CPU is in one call, it
 * may hold what this one needs, however long the host lets it wait: only a refusal during which it
 * was outside, or went from one call to another, counts against the library.
 */
static void call(struct pair_cpu *cpu, struct pair_cell *cell, uint64_t from, uint64_t to)
{
	const unsigned id = (unsigned)(cpu - pair.cpu);
	const uint64_t *other = &pair.cpu[1 - id].calls;
	unsigned unfounded = 0;
	uint64_t calls;
	int err;

	do {
		calls = load(other);
		store(&cpu->calls, cpu->calls + 1);
		nest_epoch_enter(&epoch, id);
		err = make(cell, from, to);
		nest_epoch_exit(&epoch, id);
		store(&cpu->calls, cpu->calls + 1);
		(void)nest_epoch_poll(&epoch, id);
		if (err != NEST_E_BUSY)
			break;
		cpu->busy++;
		store(&cpu->held_up, cpu->held_up + 1);
		unfounded += !(calls & 1) || load(other) != calls;
	} while (unfounded < MOST_BUSY);
	store(&cpu->held_up, 0);
	if (err)
		fail(cpu, nest_strerror(err), cell, from, to, 0, 0);
}

/* Was every write told by this harvest, or by one that ended after the write had begun? */
static void harvest(struct pair_cpu *cpu, struct pair_cell *cell)
{
	const unsigned id = (unsigned)(cpu - pair.cpu);
	const uint64_t last = load(&cell->written), told = cell->harvests;
	const bool written = last >> 32 == cell->ended + 1;
	uint64_t bitmap = 0;
	int err;

	store(&cell->written, 0);
	nest_epoch_enter(&epoch, id);
	err = nest_pt_harvest(&pair.pt, cell->ia, pair.page, NEST_DIRTY, &bitmap, 0, NULL);
	nest_epoch_exit(&epoch, id);
	if (err == NEST_E_BUSY) {
		cpu->busy++;
		if (written)
			store(&cell->written, last);
		return;
	}
	if (err)
		fail(cpu, nest_strerror(err), cell, 0, 0, 0, 0);
	if (bitmap)
		cell->dirty = told + 1;
	if (written && cell->dirty <= (last & 0xffffffff))
		fail(cpu, "a write was not told of", cell, state_of(cell), cell->ended, told,
		     cell->dirty);
	store(&cell->harvests, told + 1);
}

/* Change one of one's own cells. */
static void change(struct pair_cpu *cpu)
{
	struct pair_cell *cell = &pair.cell[random_of(cpu) % pair.cells];
	const uint64_t from = state_of(cell);
	uint64_t to = 0;

	if (cell->owner != (unsigned)(cpu - pair.cpu))
		return;
	cpu->changes++;
	if (!(from & IS_MAPPED)) {
		to = (cell->block_pa ? cell->block_pa : take_frame(cpu, cell)) | IS_MAPPED |
		     IS_WRITABLE;
	} else {
		switch (random_of(cpu) % 4) {
		case 0:
			break;
		case 1:
			to = cell->block_pa ? 0 : take_frame(cpu, cell) | IS_MAPPED | IS_WRITABLE;
			break;
		case 2:
			if ((pair.config->hw_ad & NEST_DIRTY) && !cell->block_pa &&
			    (from & IS_WRITABLE)) {
				harvest(cpu, cell);
				return;
			}
			/* fall through */
		default:
			to = from ^ IS_WRITABLE;
		}
	}
	begin(cell, to);
	call(cpu, cell, from, to);
	end(cell);
	if ((from & IS_MAPPED) && !cell->block_pa && STATE_PA(from) != STATE_PA(to))
		release_frame(cpu, STATE_PA(from));
}

/* ---- The run ---- */

/* Go on when both CPUs are here. */
static void meet(struct pair_cpu *cpu)
{
	store(&cpu->arrived, cpu->arrived + 1);
	for (unsigned i = 0; i < CPUS; i++) {
		while (load(&pair.cpu[i].arrived) < cpu->arrived)
			;
	}
}

/* Put one large page where the cells of the block have been taken apart. */
static void renew_block(struct pair_cpu *cpu)
{
	struct pair_cell *first = &pair.cell[PAGE_CELLS];
	int err;

	if (pair.block == NEST_PA_NONE)
		return;
	nest_epoch_enter(&epoch, 0);
	/* Shared mode maps page by page where a table is: take it out first. */
	err = pair.shared ? nest_pt_unmap(&pair.pt, pair.block_ia, pair.block_size, NEST_SKIP_HOLES,
					  NULL)
			  : NEST_OK;
	if (!err)
		err = nest_pt_map(&pair.pt, pair.block_ia, pair.block, pair.block_size, pair.attr,
				  NEST_MAP_REPLACE, NULL);
	nest_epoch_exit(&epoch, 0);
	if (err)
		fail(cpu, nest_strerror(err), first, 0, 0, 0, 0);
	for (unsigned i = PAGE_CELLS; i < pair.cells; i++) {
		begin(&pair.cell[i], pair.cell[i].block_pa | IS_MAPPED | IS_WRITABLE);
		end(&pair.cell[i]);
	}
}

static void work(unsigned id)
{
	struct pair_cpu *cpu = &pair.cpu[id];

	for (unsigned round = 0; round < pair.rounds; round++) {
		meet(cpu);
		if (id == 0) {
			store(&pair.stall, 0);
			renew_block(cpu);
			store(&pair.stall, pair.shared && round % STALLS == 0 ? round + 1 : 0);
		}
		meet(cpu);
		for (unsigned n = 0; n < ROUND; n++) {
			if (id == 0 || pair.shared)
				change(cpu);
			for (unsigned i = 0; i < LOOKS; i++)
				look(cpu);
		}
		store(&cpu->over, round + 1);
		while (load(&pair.cpu[1 - id].over) <= round)
			look(cpu);
	}
}

static void work_of_second(void)
{
	work(1);
}

/*
 * Cells and their frames, and what is left for tables. Cells are pairs of neighbours, of different
 * owners: some share a table, some have one to themselves.
 */
static void lay_out(nest_ia_t base, const struct nest_format_info *info)
{
	const uint64_t page = pair.page, span = page << info->index_bits;
	nest_pa_t memory, tables, end;
	uint64_t size;

	port_ram(&memory, &size);
	tables = memory + (uint64_t)CPUS * FRAMES * page;
	end = memory + size;
	pair.cells = PAGE_CELLS;
	pair.block = NEST_PA_NONE;
	pair.block_ia = base + 4 * span;
	pair.block_size = span;
	if ((info->leaf_levels & 2) && (end & ~(span - 1)) - span > tables + 64 * page) {
		pair.block = end = (end & ~(span - 1)) - span;
		pair.cells = CELLS;
	}
	memory_reset(tables, end - tables);
	for (unsigned i = 0; i < pair.cells; i++) {
		struct pair_cell *cell = &pair.cell[i];
		const uint64_t nth = (uint64_t)(i % 8 / 2) * 9 + i % 2;

		cell->owner = pair.shared ? i % CPUS : 0;
		cell->ia = base + nth * page;
		if (i >= PAGE_CELLS) {
			cell->ia = pair.block_ia + nth * page;
			cell->block_pa = pair.block + nth * page;
			*word(cell->block_pa, 0) = NONCE(cell->block_pa);
		} else if (i >= PAGE_CELLS / 2) {
			cell->ia += (1 + i % 8 / 2 % 3) * span;
		}
	}
	for (unsigned i = 0; i < CPUS * FRAMES; i++)
		release_frame(&pair.cpu[i % CPUS], memory + i * page);
}

static void tell(const struct pair_cpu *cpu)
{
	walker_checks += cpu->looks;
	CHECK(cpu->failures == 0,
	      "CPU %u: %s: cell %u (%lx): %lx %lx %lx %lx; %lu failures in %lu accesses, %lu changes",
	      (unsigned)(cpu - pair.cpu), cpu->wrong, cpu->cell, pair.cell[cpu->cell].ia,
	      cpu->detail[0], cpu->detail[1], cpu->detail[2], cpu->detail[3], cpu->failures,
	      cpu->looks, cpu->changes);
}

/* With both CPUs at rest: a query of each cell tells what it was left as. */
static void settle(void)
{
	for (unsigned i = 0; i < pair.cells; i++) {
		const uint64_t state = state_of(&pair.cell[i]);
		struct nest_mapping m;
		int err = nest_pt_query(&pair.pt, pair.cell[i].ia, &m);

		if (state & IS_MAPPED)
			CHECK(err == NEST_OK && m.pa == STATE_PA(state), "cell %u: %s, %lx", i,
			      nest_strerror(err), m.pa);
		else
			CHECK(err == NEST_E_NOTMAPPED, "cell %u: %s", i, nest_strerror(err));
	}
}

/* Leave nothing behind, tables waiting for their grace period included. */
static void close_table(void)
{
	uint64_t waiting = 1;
	int err;

	nest_epoch_enter(&epoch, 0);
	err = nest_pt_unmap(&pair.pt, pair.cell[0].ia, 5 * pair.block_size, NEST_SKIP_HOLES, NULL);
	nest_epoch_exit(&epoch, 0);
	CHECK(err == NEST_OK, "unmapping everything: %s", nest_strerror(err));
	for (unsigned i = 0; i < 3; i++)
		waiting = nest_epoch_poll(&epoch, 0);
	CHECK(waiting == 0, "%lu tables wait for ever", waiting);
	port_unload();
	nest_pt_destroy(&pair.pt);
	CHECK(memory_outstanding() == 0, "%lu tables were not given back", memory_outstanding());
}

static bool open_table(nest_ia_t home)
{
	const struct walker_config *config = pair.config;
	const struct nest_pt_config c = {
		.format = config->format,
		.ia_bits = config->ia_bits,
		.oa_bits = config->oa_bits,
		.features = config->features & ~(pair.shared ? NEST_FEAT_CONTIG : 0),
		.flags = config->flags | (pair.shared ? NEST_PT_SHARED : 0),
		.host = &pair_host,
	};
	int err = nest_epoch_init(&epoch, epoch_slot, CPUS);

	if (!err)
		err = nest_pt_init(&pair.pt, &c);
	nest_epoch_enter(&epoch, 0);
	if (!err && config->home_size)
		err = nest_pt_map(&pair.pt, home, config->home_pa, config->home_size,
				  config->home_attr, NEST_MAP_NO_HUGE, NULL);
	nest_epoch_exit(&epoch, 0);
	if (!err)
		err = port_load(config, &pair.pt, home);
	CHECK(err == NEST_OK, "making and loading a table: %s", nest_strerror(err));
	return err == NEST_OK;
}

void two_cpus(bool shared, uint64_t changes)
{
	const struct walker_config *config = model.config;
	uint64_t reach = (uint64_t)1 << config->ia_bits, upper = 0;
	struct nest_format_info info;

	memset(&pair, 0, sizeof(pair));
	CHECK(nest_format_describe(config->format, config->features, &info) == NEST_OK, "describe");
	if (config->flags & NEST_PT_UPPER)
		upper = ~(reach - 1);
	if (info.sign_extended)
		reach /= 2;
	if (config->reach_bits && (uint64_t)1 << config->reach_bits < reach)
		reach = (uint64_t)1 << config->reach_bits;
	pair.config = config;
	pair.shared = shared;
	pair.page = (uint64_t)1 << info.page_shift;
	pair.attr = config->attrs[0].attr | config->clean_attr | config->sw_ad | config->hw_ad;
	if (config->clean_attr)
		pair.attr &= ~NEST_DIRTY;
	pair.rounds = (unsigned)(changes / ROUND + 1);
	for (unsigned i = 0; i < CPUS; i++)
		pair.cpu[i].random = walker_random() | 1;
	lay_out(upper | reach >> 3, &info);
	if (!open_table(upper | ((reach >> 2) + 0x115 * pair.page)))
		return;
	if (port_second_start(work_of_second)) {
		work(0);
		port_second_wait();
		for (unsigned i = 0; i < CPUS; i++)
			tell(&pair.cpu[i]);
		settle();
		print("pair %s: %s: %lu changes, %lu accesses, %lu missed, %lu busy\n",
		      config->name, shared ? "shared" : "exclusive",
		      pair.cpu[0].changes + pair.cpu[1].changes,
		      pair.cpu[0].looks + pair.cpu[1].looks,
		      pair.cpu[0].missed + pair.cpu[1].missed, pair.cpu[0].busy + pair.cpu[1].busy);
	} else {
		CHECK(false, "the second CPU does not start");
	}
	close_table();
}
