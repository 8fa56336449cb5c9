/* SPDX-License-Identifier: MIT */
/*
 * The reference MMUs of tests/model against this CPU's walker: random tables, made of entries that
 * are right, nearly right and wrong, are planted beside the port's area, and both translate by
 * them. What the reference MMU expects comes from the words in memory and the CPU's registers
 * alone; the library only helps to make entries that are worth trying.
 */
#include <string.h>

#include "model.h"

enum { SLOTS = 2, POOL = 3, ENTRIES = 12, PROBES_A_ROUND = 24, MOST_FORMATS = 16 };

/* So many probes meet every level: of one configuration; of those of a format, however few each. */
enum { MANY_PROBES = 2000, MANY_OF_FORMAT = 400 };

struct planted {
	const struct mmu *mmu;
	struct mmu_regs regs;
	nest_pa_t ram, ram_end;
	uint64_t slot[SLOTS];                    /* indices of the root... */
	nest_pte_t before[SLOTS];                /* ...and what was there */
	nest_pa_t table[NEST_MAX_LEVELS][POOL];  /* below the root, by level */
	uint16_t used[NEST_MAX_LEVELS][ENTRIES]; /* the indices that are worth a visit */
	nest_pte_t absent[NEST_MAX_LEVELS];
	bool outside; /* a walk has left memory */
	uint64_t count[MMU_FORBIDDEN + 1], refused, asked, left_out;
	uint64_t levels; /* at which pages were met, a bit each */
};

static unsigned one_of(unsigned n)
{
	return (unsigned)(walker_random() % n);
}

static nest_pte_t *entry_of(nest_pa_t table, uint64_t index)
{
	return (nest_pte_t *)walker_va(table) + index;
}

static void put(nest_pa_t table, uint64_t index, nest_pte_t word)
{
	nest_pte_t *p = entry_of(table, index);

	__atomic_store_n(p, word, __ATOMIC_SEQ_CST);
	port_sync(p, sizeof(*p));
}

static void fill(nest_pa_t table, nest_pte_t word)
{
	uint64_t n = model.page / sizeof(word);

	for (uint64_t i = 0; i < n; i++)
		*entry_of(table, i) = word;
	port_sync(walker_va(table), model.page);
}

static uint64_t load(void *ctx, uint64_t pa)
{
	struct planted *p = ctx;

	if (pa < p->ram || pa > p->ram_end - sizeof(uint64_t)) {
		p->outside = true;
		return 0;
	}
	return __atomic_load_n(entry_of(pa, 0), __ATOMIC_SEQ_CST);
}

/* ---- Words ---- */

static nest_pte_t random_leaf(unsigned level)
{
	const struct walker_config *c = model.config;
	uint64_t mask = ((uint64_t)1 << nest_pt_shift(&model.pt, level)) - 1;
	nest_pa_t pa = (model.frames + walker_random() % model.frame_size) & ~mask;
	nest_attr_t attr = c->attrs[one_of(c->nr_attrs)].attr;
	nest_pte_t e = 0;

	if (one_of(4))
		attr |= NEST_ACCESSED & (c->hw_ad | c->sw_ad);
	if (one_of(2))
		attr |= NEST_DIRTY & (c->hw_ad | c->sw_ad);
	if (one_of(4) || nest_pte_leaf_contiguous(c->format, level, c->features, pa, attr, &e))
		(void)nest_pte_leaf(c->format, level, c->features, pa, attr, &e);
	return e;
}

static nest_pte_t random_word(const struct planted *p, unsigned level)
{
	bool leaf = !level || ((model.info.leaf_levels >> level & 1) && one_of(3) == 0);
	/* The bits that tell an address in memory stay as they are. */
	unsigned low = leaf ? nest_pt_shift(&model.pt, level) : model.info.page_shift;
	uint64_t address = (((uint64_t)1 << model.config->oa_bits) - 1) >> low << low;
	nest_pte_t e = 0;

	if (one_of(24) == 0)
		return p->absent[level];
	if (leaf)
		e = random_leaf(level);
	else
		(void)nest_pte_table(model.config->format, model.config->features,
				     p->table[level - 1][one_of(POOL)], &e);
	switch (one_of(12)) {
	case 0:
	case 1:
		for (unsigned n = one_of(3) + 1; n; n--)
			e ^= (uint64_t)1 << one_of(64) & ~address;
		return e;
	case 2:
		return one_of(4) == 0 ? (e & address) | (walker_random() & ~address) : e;
	default:
		return e;
	}
}

/* ---- Planting ---- */

static void take_tables(struct planted *p)
{
	nest_pa_t invalid = NEST_PA_NONE;

	for (unsigned l = 0; l <= model.top; l++) {
		for (unsigned i = 0; i < POOL && l < model.top; i++)
			p->table[l][i] = walker_alloc(model.page);
		/* Nothing: where a directory cannot say so, a table of nothing, made to stay. */
		if (nest_pte_absent(model.config->format, l, model.config->features, invalid,
				    &p->absent[l]))
			walker_die("no absent entry of level %u", l);
		invalid = walker_alloc(model.page);
		fill(invalid, p->absent[l]);
	}
	port_ram(&p->ram, &p->ram_end);
	p->ram_end += p->ram;
}

static void choose_slots(struct planted *p)
{
	unsigned shift = nest_pt_shift(&model.pt, model.top);
	uint64_t home = model.home >> shift, n = model.reach >> shift;
	uint64_t i = walker_random() % n;

	for (unsigned s = 0; s < SLOTS; s++) {
		i = (i + 1) % n;
		if (i == home)
			i = (i + 1) % n;
		p->slot[s] = i;
		p->before[s] = *entry_of(nest_pt_root(&model.pt), i);
	}
}

static void plant(struct planted *p)
{
	uint64_t entries = (uint64_t)1 << model.info.index_bits;

	for (unsigned l = 0; l < model.top; l++) {
		for (unsigned k = 0; k < ENTRIES; k++)
			p->used[l][k] = (uint16_t)(walker_random() % entries);
		for (unsigned i = 0; i < POOL; i++) {
			fill(p->table[l][i], p->absent[l]);
			for (unsigned k = 0; k < ENTRIES; k++)
				put(p->table[l][i], p->used[l][k], random_word(p, l));
		}
	}
	for (unsigned s = 0; s < SLOTS; s++)
		put(nest_pt_root(&model.pt), p->slot[s], random_word(p, model.top));
}

static void forget(void)
{
	const struct nest_flush everything = { .all = true, .level_mask = 0x1f };

	port_flush(&everything);
}

static void uproot(struct planted *p)
{
	for (unsigned s = 0; s < SLOTS; s++)
		put(nest_pt_root(&model.pt), p->slot[s], p->before[s]);
	forget();
}

/* ---- Looking ---- */

static nest_ia_t random_address(const struct planted *p)
{
	uint64_t off = p->slot[one_of(SLOTS)] << nest_pt_shift(&model.pt, model.top);

	for (unsigned l = 0; l < model.top; l++) {
		uint64_t i = one_of(8) ? p->used[l][one_of(ENTRIES)]
				       : one_of(1u << model.info.index_bits);

		off |= i << nest_pt_shift(&model.pt, l);
	}
	return model_ia(off | (walker_random() & (model.page - 1) & ~(uint64_t)15));
}

/* The walk for an address, moved inside a large page to where there is memory behind it. */
static struct mmu_step look_up(struct planted *p, nest_ia_t *ia)
{
	struct mmu_step s = mmu_walk(p->mmu, &p->regs, *ia, load, p);
	uint64_t want = (model.frames + walker_random() % model.frame_size) & ~(uint64_t)15, mask;

	if (s.kind != MMU_PAGE || model_is_memory(s.pa))
		return s;
	mask = ((uint64_t)1 << s.shift) - 1;
	*ia = (*ia & ~mask) | (want & mask);
	return mmu_walk(p->mmu, &p->regs, *ia, load, p);
}

static const uint8_t needs[WALKER_ACCESSES] = { [WALKER_READ] = MMU_R,
						[WALKER_WRITE] = MMU_W,
						[WALKER_EXEC] = MMU_X,
						[WALKER_RMW] = MMU_R | MMU_W };

static const enum nest_fault_kind fault_of[] = { [MMU_TRANSLATION] = NEST_FAULT_TRANSLATION,
						 [MMU_MISCONFIG] = NEST_FAULT_MISCONFIG,
						 [MMU_ADDRESS_SIZE] = NEST_FAULT_ADDRESS_SIZE };

/* What the CPU says of an address, where it can be asked: that needs no memory behind the page. */
static void ask(struct planted *p, const struct mmu_step *s, nest_ia_t ia,
		enum walker_access access)
{
	static const enum mmu_type types[] = { MMU_WB, MMU_WT, MMU_WC, MMU_UC, MMU_DEVICE, MMU_UC };
	nest_attr_t type;
	nest_pa_t pa;
	uint64_t n;

	if (!port_translate(ia, access, &pa, &type))
		return;
	n = type / NEST_MT_WT;
	p->asked++;
	CHECK(pa == s->pa, "%lx leads to %lx, not to %lx, by entry %lx", ia, pa, s->pa, s->word);
	CHECK((n < COUNT(types) ? types[n] : MMU_OTHER_TYPE) == s->type,
	      "%lx: type %lx, and the reference MMU has %u, by entry %lx", ia, (uint64_t)type,
	      (unsigned)s->type, s->word);
}

static void compare(struct planted *p, nest_ia_t ia, enum walker_access access,
		    enum walker_mode mode)
{
	struct mmu_step s = look_up(p, &ia);
	enum mmu_verdict verdict = MMU_NO_RIGHT;
	struct walker_probe what = { .ia = ia, .access = access, .mode = mode, .step = &s };
	uint64_t after = access == WALKER_WRITE || access == WALKER_RMW ? s.when_written
									: s.when_read;

	if (p->outside || s.kind == MMU_FORBIDDEN) {
		p->outside = false;
		p->left_out++;
		return;
	}
	p->count[s.kind]++;
	what.mapped = s.kind == MMU_PAGE;
	what.pa = s.pa;
	if (what.mapped) {
		p->levels |= (uint64_t)1 << s.level;
		verdict = mmu_access(p->mmu, &s, needs[access], mode);
		p->refused += verdict != MMU_DONE;
		what.expect_done = verdict == MMU_DONE;
		what.expect_kind = verdict == MMU_NO_FLAG ? NEST_FAULT_ACCESS_FLAG
							  : NEST_FAULT_PERMISSION;
	} else {
		what.expect_kind = fault_of[s.kind];
	}
	if (probe(&what) && what.expect_done)
		CHECK(load(p, s.at) == after, "the entry %lx at %lx became %lx, not %lx", s.word,
		      s.at, load(p, s.at), after);
	if (what.expect_done && mode == WALKER_PRIVILEGED &&
	    (access == WALKER_READ || access == WALKER_WRITE))
		ask(p, &s, ia, access);
}

static uint64_t possible_levels(void)
{
	return model.info.leaf_levels & ((2u << model.top) - 1);
}

/* Pages have been met at all levels of the configuration, or else of its format so far. */
static void check_levels(const struct planted *p, uint64_t probes)
{
	static struct {
		const struct nest_format *format;
		uint64_t probes, met, possible;
	} formats[MOST_FORMATS], *f = formats;

	while (f->format && f->format != model.config->format)
		f++;
	f->format = model.config->format;
	f->probes += probes;
	f->met |= p->levels;
	f->possible |= possible_levels();
	CHECK(probes < MANY_PROBES || !(possible_levels() & ~p->levels),
	      "pages were met at levels %lx, not at all of %lx", p->levels, possible_levels());
	CHECK(f->probes < MANY_OF_FORMAT || !(f->possible & ~f->met),
	      "pages of %s were met at levels %lx, not at all of %lx", nest_format_name(f->format),
	      f->met, f->possible);
}

void reference(uint64_t probes)
{
	static struct planted planted;
	struct planted *p = &planted;

	memset(p, 0, sizeof(*p));
	p->mmu = port_mmu(model.config, &p->regs);
	if (!p->mmu) {
		print("reference %s: not compared\n", model.config->name);
		return;
	}
	walker_suite("reference MMU");
	take_tables(p);
	for (uint64_t n = 0; n < probes; n += PROBES_A_ROUND) {
		choose_slots(p);
		plant(p);
		forget();
		for (unsigned i = 0; i < PROBES_A_ROUND; i++) {
			enum walker_access access = (enum walker_access)one_of(WALKER_ACCESSES);
			enum walker_mode mode = (enum walker_mode)one_of(WALKER_MODES);

			if ((model.config->modes >> mode & 1) &&
			    (model.config->accesses >> access & 1))
				compare(p, random_address(p), access, mode);
		}
		uproot(p);
	}
	for (unsigned l = 0; l < model.top; l++) {
		for (unsigned i = 0; i < POOL; i++)
			walker_free(p->table[l][i], model.page);
	}
	CHECK(!probes || p->count[MMU_PAGE] > p->left_out, "nothing much was compared");
	check_levels(p, probes);
	print("reference %s: %lu pages (%lu accesses refused, %lu asked for), %lu not mapped, "
	      "%lu misconfigured, %lu out of range, %lu left out\n",
	      model.config->name, p->count[MMU_PAGE], p->refused, p->asked,
	      p->count[MMU_TRANSLATION], p->count[MMU_MISCONFIG], p->count[MMU_ADDRESS_SIZE],
	      p->left_out);
}
