/* SPDX-License-Identifier: MIT */
/*
 * Accesses through the CPU's walker, compared with what the arrays of pages say must come of them.
 * Memory holds a number that nobody else knows when it is read, and is looked at when it was
 * written.
 */
#include <string.h>

#include "model.h"

uint64_t walker_probes;

static uint8_t allowed(const struct walker_probe *p, const struct walker_attr *a)
{
	return p->mapped ? a->allow[p->mode] : 0;
}

static const char *const access_names[] = { "read", "write", "execute", "read-modify-write" };
static const char *const kind_names[] = { "translation",  "permission",  "misconfiguration",
					  "address size", "access flag", "external",
					  "conflict",     "other" };

static bool is_access(nest_attr_t got, enum walker_access access)
{
	switch (access) {
	case WALKER_READ:
		return got == NEST_R;
	case WALKER_WRITE:
		return (got & ~NEST_R) == NEST_W;
	case WALKER_EXEC:
		return (got & ~NEST_R) == NEST_X;
	default:
		return got && !(got & ~NEST_RW);
	}
}

enum nest_fault_kind fault_kind(enum nest_fault_kind kind)
{
	return model.config->one_fault_kind ? NEST_FAULT_TRANSLATION : kind;
}

static bool fault_is_right(const struct walker_probe *p, const struct nest_fault *f)
{
	uint64_t blur = f->gpa_exact ? 0 : 0xfff;

	if (p->step && f->level != NEST_FAULT_LEVEL_UNKNOWN && f->level != p->step->level)
		return false;
	/* A misconfiguration does not tell what was tried (SDM vol. 3C, 28.2.1). */
	return f->kind == fault_kind(p->expect_kind) && (f->gpa | blur) == (p->ia | blur) &&
	       (f->kind == NEST_FAULT_MISCONFIG || is_access(f->access, p->access)) &&
	       !f->on_table_walk;
}

bool probe(const struct walker_probe *p)
{
	uint64_t code_save[2], nonce = walker_random(), value = walker_random(), after = 0;
	struct walker_outcome out = { 0 };
	uint64_t *memory = p->mapped && model_is_memory(p->pa) ? walker_va(p->pa) : NULL;
	enum walker_deviation why;
	bool right;
	size_t len;

	/* Nothing there that could answer; and a read-modify-write reads before it is refused. */
	if (p->mapped && !memory && (p->expect_done || p->access == WALKER_RMW))
		return false;
	walker_probes++;
	if (memory && p->access == WALKER_EXEC) {
		const void *code = port_code(&len);

		memcpy(code_save, memory, sizeof(code_save));
		memcpy(memory, code, len);
		port_code_written(memory, len);
	} else if (memory) {
		__atomic_store_n(memory, nonce, __ATOMIC_SEQ_CST);
	}
	port_access(p->ia, p->access, p->mode, value, &out);
	if (memory)
		after = __atomic_load_n(memory, __ATOMIC_SEQ_CST);
	switch (p->access) {
	case WALKER_READ:
		right = out.value == nonce && after == nonce;
		break;
	case WALKER_WRITE:
		right = after == value;
		break;
	case WALKER_RMW:
		right = out.value == nonce && after == nonce + value;
		break;
	default:
		right = true;
	}
	if (memory && p->access == WALKER_EXEC) {
		memcpy(memory, code_save, sizeof(code_save));
		port_code_written(memory, len);
	}
	walker_checks++;
	if (p->expect_done ? out.done && right
			   : !out.done && fault_is_right(p, &out.fault) &&
				     (!memory || p->access == WALKER_EXEC || after == nonce))
		return true;
	why = port_explain(model.config, p, &out);
	if (why != WALKER_NO_DEVIATION) {
		walker_tolerated(why);
		return false;
	}
	if (!walker_fail(__FILE__, __LINE__))
		return false;
	print("%s %s at %lx, %s %lx attr %lx: expected %s, ", p->mode ? "user" : "privileged",
	      access_names[p->access], p->ia, p->mapped ? "mapped to" : "not mapped", p->pa,
	      (uint64_t)p->attr, p->expect_done ? "success" : kind_names[p->expect_kind]);
	if (out.done)
		print("%s\n", right ? "it was made" : "it went elsewhere");
	else
		print("%s fault at %lx, level %u, access %lx%s\n",
		      out.fault.kind <= NEST_FAULT_OTHER ? kind_names[out.fault.kind] : "?",
		      out.fault.gpa, out.fault.level, (uint64_t)out.fault.access,
		      out.fault.on_table_walk ? " on a table walk" : "");
	if (p->step)
		print("the walk ends at entry %lx (at %lx) of level %u\n", p->step->word,
		      p->step->at, p->step->level);
	return false;
}

void probe_cell(struct window *w, unsigned cell, uint64_t offset, enum walker_access access,
		enum walker_mode mode)
{
	const struct walker_config *config = model.config;
	struct cell *c = &w->cell[cell];
	const struct walker_attr *a = &config->attrs[c->attr];
	bool writes = access == WALKER_WRITE || access == WALKER_RMW;
	struct walker_probe p = {
		.ia = model_ia(w->first + ((uint64_t)cell << w->shift) + offset),
		.access = access,
		.mode = mode,
		.mapped = c->state == CELL_MAPPED,
	};

	if (!(config->modes >> mode & 1) || !(config->accesses >> access & 1))
		return;
	if (p.mapped) {
		p.pa = c->pa + offset;
		p.attr = a->attr | c->ad;
	}
	p.expect_kind = p.mapped ? NEST_FAULT_PERMISSION : NEST_FAULT_TRANSLATION;
	p.expect_done = (allowed(&p, a) & WALKER_CAN(access)) != 0;
	if (p.mapped && (p.expect_done || config->ad_before_rights) &&
	    (config->sw_ad & ~c->ad & (NEST_ACCESSED | (writes ? NEST_DIRTY : 0)))) {
		p.expect_done = false;
		p.expect_kind = NEST_FAULT_ACCESS_FLAG;
	}
	probe(&p);
	if (p.mapped && config->hw_ad && (!p.expect_done || model_is_memory(p.pa)))
		model_touched(w, cell, p.expect_done, writes);
}

void probe_random(struct window *w, unsigned cell)
{
	uint64_t r = walker_random(), span = (uint64_t)1 << w->shift;
	const struct cell *c = &w->cell[cell];
	uint64_t offset = (walker_random() & (span - 1)) & ~(uint64_t)15;
	uint64_t low = model.frames - c->pa;

	/* Where a page is larger than memory, aim at what there is of it. */
	if (c->state == CELL_MAPPED && !model_is_memory(c->pa + offset) && low < span)
		offset = low +
			 offset % (span - low < model.frame_size ? span - low : model.frame_size);
	offset &= ~(uint64_t)15;
	probe_cell(w, cell, offset, (enum walker_access)(r % WALKER_ACCESSES),
		   (enum walker_mode)(r / WALKER_ACCESSES % WALKER_MODES));
}
