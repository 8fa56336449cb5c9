/* SPDX-License-Identifier: MIT */
/*
 * The protocol of shared mode (core/shared.c, build_table.c, empty.c), for spin: two CPUs change one small table, a walker translates by
 * it at the same time, and every interleaving of their single loads, stores and flushes is tried.
 * Run it by tests/spin/check.sh.
 *
 * The table: one entry above, `up`, for two pages; it holds nothing, a block for both, or a pointer
 * to a table of two entries. CPU 0 makes OPS0 calls and CPU 1 OPS1, any of: fault a page in, fault
 * with a provider that gives a block, unmap a page (of a block by a table in its place, which is
 * built with the hole in it; a table that has become empty is removed), unmap both pages at once
 * (a table is frozen and taken out as a whole), take the right to write from a page.
 *
 * A provider's block is asked for when the fault has seen nothing in its place, and is mapped by one
 * store or not at all (NEST_MAP_ATOMIC): if a table stands there by now, even an empty one, the
 * fault gives the block back, and the guest tries again. With PAGE_BY_PAGE the model has the rule
 * that was there before: where the table looks empty, the pages are mapped one after the other, and
 * the whole block is given back if that ends half-way. check.sh sees that this is found.
 *
 * The walker keeps what it has found (translations of both sizes, a pointer to a table) until a
 * flush takes it away, and uses it at any moment. A flush waits for a walk that is on its way.
 *
 * What must hold, of the invariants in the design:
 *   - nothing that a walker may use leads to a frame that has been released or given back to the
 *     provider, nor writes by a right
 *     that has been taken away (old, new, or nothing; write, then invalidate, then reuse);
 *   - when a fault has mapped a page, nothing else is used for it, and until a call takes it out,
 *     an access to it does not fault, whatever the other CPU does to its neighbour;
 *   - never both a block and a page for one address in the TLB (break-before-make);
 *   - no walker or CPU reads a table that is free (freed after flush and grace period);
 *   - in the end every frame is either mapped or released, every table linked or free: nothing is
 *     lost when calls meet.
 */
#ifndef OPS0
#define OPS0 2
#endif
#ifndef OPS1
#define OPS1 2
#endif
#define CPUS 2
#define TABLES 4
#define FRAMES (OPS0 + OPS1)

/* Values of entries: nothing, locked, a table, a page or block of frame f (writable or not). */
#define ABSENT   0
#define BUSY     1
#define TABLE(t) (10 + (t))
#define PAGE(f)  (20 + (f))
#define READ(f)  (40 + (f))
#define IS_TABLE(e) ((e) >= 10 && (e) < 20)
#define IS_PAGE(e)  ((e) >= 20)
#define FRAME(e)    ((e) >= 40 -> (e) - 40 : (e) - 20)

byte up = ABSENT;
byte entry[TABLES * 2];
/* Free, or who reads it still: bits of CPUs that were inside when it was taken out. */
bool is_free[TABLES] = true;
byte grace[TABLES];
byte inside; /* bits of CPUs within a call */

/* Frame f has a half for each page. */
bool mapped[FRAMES * 2], released[FRAMES * 2], no_write[FRAMES * 2];
/* The page has been mapped by a fault, and no call to unmap it has begun to since. */
bool steady[2];

/* What the walker keeps, and how far it has come with a walk. */
byte tlb_block, tlb[2], near, walking;

#define CAS(x, old, new, ok) d_step { if :: (x) == (old) -> x = new; ok = true :: else -> ok = false fi }
#define FLUSH(p)      d_step { tlb[p] = 0; tlb_block = 0; walking = 0 }
#define FLUSH_TABLE() d_step { tlb[0] = 0; tlb[1] = 0; tlb_block = 0; near = 0; walking = 0 }

/* A table for the caller alone; BLOCKED never: there are as many as can be in use. */
inline take_table(t)
{
	d_step {
		t = 0;
		do
		:: t < TABLES && !is_free[t] -> t++
		:: else -> break
		od;
		assert(t < TABLES);
		is_free[t] = false;
		entry[2 * t] = ABSENT;
		entry[2 * t + 1] = ABSENT
	}
}

inline put_table(t)
{
	d_step { is_free[t] = true }
}

/* Free it when every CPU that is inside now has left. */
inline defer_table(t)
{
	d_step { grace[t] = inside }
}

inline enter(me)
{
	d_step { inside = inside | (1 << me) }
}

inline leave(me)
{
	d_step {
		inside = inside & ~(1 << me);
		n = 0;
		do
		:: n < TABLES ->
			if
			:: grace[n] ->
				grace[n] = grace[n] & ~(1 << me);
				if
				:: grace[n] == 0 -> is_free[n] = true
				:: else
				fi
			:: else
			fi;
			n++
		:: else -> break
		od;
		n = 0
	}
}

/* Mapped: from now on, and not only later, nothing else may be used. */
#define MAPPED(p, f) assert(!ok || (!tlb_block && (!tlb[p] || FRAME(tlb[p]) == f))); steady[p] = steady[p] || ok

/* A page that nobody has mapped: by a new table, or in the one that is there. ok: f is mapped. */
inline fault(p, f)
{
	do
	:: e = up;
		if
		:: e == BUSY -> skip
		:: e == ABSENT ->
			take_table(t);
			entry[2 * t + p] = PAGE(f);
			mapped[2 * f + p] = true;
			atomic { CAS(up, ABSENT, TABLE(t), ok); MAPPED(p, f) };
			if
			:: ok -> break
			:: else -> mapped[2 * f + p] = false; put_table(t)
			fi
		:: IS_PAGE(e) -> ok = false; break
		:: IS_TABLE(e) ->
			t = e - 10;
			assert(!is_free[t]);
			e = entry[2 * t + p];
			if
			:: e == BUSY -> skip
			:: IS_PAGE(e) -> ok = false; break
			:: e == ABSENT ->
				mapped[2 * f + p] = true;
				assert(!is_free[t]);
				atomic { CAS(entry[2 * t + p], ABSENT, PAGE(f), ok); MAPPED(p, f) };
				if
				:: ok -> break
				:: else -> mapped[2 * f + p] = false
				fi
			fi
		fi
	od
}

/* The pages of a block, one after the other, in a table where the first pass has seen nothing. */
inline map_pages(f)
{
	t = e - 10;
	assert(!is_free[t]);
	ok = (entry[2 * t] == ABSENT);
	ok = ok && (entry[2 * t + 1] == ABSENT);
	if
	:: ok ->
		fault(0, f);
		if
		:: ok -> fault(1, f)
		:: else
		fi
	:: else
	fi
}

inline fault_block(f)
{
	e = up;
	if
	:: e == ABSENT ->
		/* The provider gives the block, which takes its time. */
		d_step { mapped[2 * f] = true; mapped[2 * f + 1] = true }
		e = up;
		ok = false;
		if
		:: e == ABSENT -> CAS(up, ABSENT, PAGE(f), ok)
#ifdef PAGE_BY_PAGE
		:: IS_TABLE(e) -> map_pages(f)
#endif
		:: else
		fi;
		if
		:: ok
		:: else ->
			d_step {
				mapped[2 * f] = false;
				mapped[2 * f + 1] = false;
				released[2 * f] = true;
				released[2 * f + 1] = true
			}
		fi
	:: else
	fi
}

/*
 * A table in place of the block `e`, built before: page p is `word` in it. ok: it is there, and the
 * flush is over. `leaves`: the page is unmapped.
 */
inline open_block(p, word, leaves)
{
	take_table(t);
	entry[2 * t + p] = word;
	entry[2 * t + 1 - p] = e;
	atomic {
		CAS(up, e, BUSY, ok);
		steady[p] = steady[p] && !(ok && leaves)
	};
	if
	:: ok ->
		FLUSH(0);
		FLUSH(1);
		up = TABLE(t)
	:: else -> put_table(t)
	fi
}

/* Page p of frame f has been unmapped and flushed. */
#define RELEASE(p, f) d_step { mapped[2 * (f) + p] = false; released[2 * (f) + p] = true }

/* The table t, of which all entries are taken, goes: whoever has them is alone at the one above. */
inline take_out()
{
	CAS(up, TABLE(t), BUSY, ok);
	assert(ok);
	FLUSH_TABLE();
	up = ABSENT;
	defer_table(t)
}

inline remove_table()
{
	e = up;
	if
	:: IS_TABLE(e) ->
		t = e - 10;
		assert(!is_free[t]);
		if
		:: entry[2 * t] == ABSENT && entry[2 * t + 1] == ABSENT ->
			CAS(entry[2 * t], ABSENT, BUSY, ok);
			if
			:: ok ->
				CAS(entry[2 * t + 1], ABSENT, BUSY, ok);
				if
				:: ok
				:: else -> entry[2 * t] = ABSENT
				fi
			:: else
			fi;
			if
			:: ok -> take_out()
			:: else
			fi
		:: else
		fi
	:: else
	fi
}

inline unmap(p)
{
	do
	:: e = up;
		if
		:: e == BUSY -> skip
		:: e == ABSENT -> break
		:: IS_PAGE(e) ->
			open_block(p, ABSENT, true);
			if
			:: ok -> RELEASE(p, FRAME(e)); break
			:: else
			fi
		:: IS_TABLE(e) ->
			t = e - 10;
			assert(!is_free[t]);
			e = entry[2 * t + p];
			if
			:: e == BUSY -> skip
			:: e == ABSENT -> break
			:: IS_PAGE(e) ->
				assert(!is_free[t]);
				atomic {
					CAS(entry[2 * t + p], e, BUSY, ok);
					steady[p] = steady[p] && !ok
				};
				if
				:: ok ->
					FLUSH(p);
					entry[2 * t + p] = ABSENT;
					RELEASE(p, FRAME(e));
					remove_table();
					break
				:: else
				fi
			fi
		fi
	od
}

/* Take entry p of the table t, whatever it holds: gone[p]. ok: not if another CPU has it. */
inline take_entry(p)
{
	gone[p] = entry[2 * t + p];
	ok = false;
	do
	:: gone[p] == BUSY -> break
	:: else ->
		atomic {
			CAS(entry[2 * t + p], gone[p], BUSY, ok);
			steady[p] = steady[p] && !ok
		};
		if
		:: ok -> break
		:: else -> gone[p] = entry[2 * t + p]
		fi
	od
}

/* What was taken there has been flushed. */
inline release_gone(p)
{
	if
	:: IS_PAGE(gone[p]) -> RELEASE(p, FRAME(gone[p]))
	:: else
	fi;
	gone[p] = 0
}

/* Both pages, or what there is of them. */
inline unmap_all()
{
	do
	:: e = up;
		if
		:: e == BUSY -> skip
		:: e == ABSENT -> break
		:: IS_PAGE(e) ->
			atomic {
				CAS(up, e, BUSY, ok);
				d_step { steady[0] = steady[0] && !ok; steady[1] = steady[1] && !ok }
			};
			if
			:: ok ->
				FLUSH(0);
				FLUSH(1);
				up = ABSENT;
				RELEASE(0, FRAME(e));
				RELEASE(1, FRAME(e));
				break
			:: else
			fi
		:: IS_TABLE(e) ->
			t = e - 10;
			assert(!is_free[t]);
			take_entry(0);
			if
			:: ok ->
				take_entry(1);
				if
				:: ok ->
					take_out();
					release_gone(0);
					release_gone(1);
					break
				:: else ->
					/* Not as a whole: the first is absent from now on. */
					FLUSH(0);
					entry[2 * t] = ABSENT;
					release_gone(0)
				fi
			:: else
			fi;
			d_step { gone[0] = 0; gone[1] = 0 }
		fi
	od
}

inline protect(p)
{
	do
	:: e = up;
		if
		:: e == BUSY -> skip
		:: e == ABSENT -> break
		:: IS_PAGE(e) ->
			n = READ(FRAME(e));
			open_block(p, n, false);
			n = 0;
			if
			:: ok -> no_write[2 * FRAME(e) + p] = true; break
			:: else
			fi
		:: IS_TABLE(e) ->
			t = e - 10;
			assert(!is_free[t]);
			e = entry[2 * t + p];
			if
			:: e == BUSY -> skip
			:: e == ABSENT -> break
			:: IS_PAGE(e) ->
				assert(!is_free[t]);
				CAS(entry[2 * t + p], e, READ(FRAME(e)), ok);
				if
				:: ok ->
					FLUSH(p);
					no_write[2 * FRAME(e) + p] = true;
					break
				:: else
				fi
			fi
		fi
	od
}

byte done_cpus;

proctype cpu(byte me)
{
	byte op, e, t, n, f;
	byte gone[2];
	bool ok;

	do
	:: op < (me -> OPS1 : OPS0) ->
		f = me * OPS0 + op;
		enter(me);
		if
		:: fault(0, f)
		:: fault(1, f)
		:: fault_block(f)
		:: unmap(0)
		:: unmap(1)
		:: unmap_all()
		:: protect(0)
		fi;
		leave(me);
		d_step { op++; e = 0; t = 0; ok = false; f = 0 }
	:: else -> break
	od;
	done_cpus++
}

/* One access of the guest to page p, by what is kept or by a walk in two steps. */
inline use(p, e)
{
	assert(!released[2 * FRAME(e) + p]);
	assert(!(e < 40 && no_write[2 * FRAME(e) + p]))
}

proctype walker()
{
	byte p, e;

	do
	:: atomic { done_cpus == CPUS && walking == 0 -> break }
	:: atomic {
			/* Begin a walk, at the top or at a table that was found before. */
			walking == 0 && done_cpus < CPUS ->
			if :: p = 0 :: p = 1 fi;
			if
			:: e = up
			:: near -> e = near
			fi;
			if
			:: IS_TABLE(e) -> near = e; walking = e
			:: IS_PAGE(e) ->
				tlb_block = e;
				assert(!tlb[0] && !tlb[1]);
				use(0, e);
				use(1, e)
			:: else -> assert(!steady[p])
			fi;
			e = 0
		}
	:: atomic {
			walking ->
			assert(!is_free[walking - 10]);
			e = entry[2 * (walking - 10) + p];
			walking = 0;
			if
			:: IS_PAGE(e) ->
				tlb[p] = e;
				assert(!tlb_block);
				use(p, e)
			:: else -> assert(!steady[p])
			fi;
			e = 0
		}
	:: atomic { tlb_block -> use(0, tlb_block); use(1, tlb_block) }
	:: atomic { tlb[0] -> use(0, tlb[0]) }
	:: atomic { tlb[1] -> use(1, tlb[1]) }
	od;
	done_cpus++
}

/* What is where in the end. */
inline account()
{
	d_step {
		k = 0;
		do
		:: k < 2 * FRAMES ->
			here = false;
			if
			:: IS_PAGE(up) -> here = (FRAME(up) == k / 2)
			:: IS_TABLE(up) ->
				if
				:: IS_PAGE(entry[2 * (up - 10) + k % 2]) ->
					here = (FRAME(entry[2 * (up - 10) + k % 2]) == k / 2)
				:: else
				fi
			:: else
			fi;
			assert(here == mapped[k]);
			assert(!(here && released[k]));
			k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < TABLES ->
			assert(is_free[k] == (up != TABLE(k)));
			k++
		:: else -> break
		od;
		assert(up != BUSY)
	}
}

init {
	byte k;
	bool here;

	atomic {
		run cpu(0);
		run cpu(1);
		run walker()
	}
	done_cpus == CPUS + 1;
	account()
}
