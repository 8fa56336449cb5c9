#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Print what the library takes: text, data, bss and stack, by format, ISA, compiler and -O.

A program is linked of core/ and one format, with sections that nothing refers to left out:

  tables   the calls that build and keep tables (init, destroy, map, unmap, protect, query, gather),
           configured with NEST_FORMATS=<format> NEST_SHARED=OFF NEST_CONTIG=OFF and link-time
           optimisation
  default  the same calls, configured with NEST_FORMATS=<format> alone
  every    every call of core/, configured with NEST_FORMATS=<format> alone

The frame is the largest that one function takes, as the compiler tells (-fstack-usage, or the
.stack_sizes of clang's link-time optimisation). The stack is that of the deepest chain of calls,
host callbacks aside; who calls whom is read from the code. A call by pointer is taken for one to any
operation or entry function of the engine that can stand there; a function that calls itself, for
one call a level.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVELS = 5
CALLS = ("nest_pt_init nest_pt_destroy nest_pt_map nest_pt_unmap nest_pt_protect nest_pt_query "
         "nest_gather_init nest_gather_sync nest_gather_on_release").split()
TOOLCHAINS = [
    ("gcc", "x86_64", ["gcc", "-mno-red-zone", "-mno-sse", "-fcf-protection=none"]),
    ("gcc", "aarch64", ["aarch64-linux-gnu-gcc", "-mgeneral-regs-only"]),
    ("gcc", "riscv64", ["riscv64-linux-gnu-gcc", "-msmall-data-limit=0"]),
    ("clang-19", "x86_64", ["clang-19", "--target=x86_64-none-elf", "-mno-red-zone", "-mno-sse"]),
    ("clang-19", "aarch64", ["clang-19", "--target=aarch64-none-elf", "-mgeneral-regs-only"]),
    ("clang-19", "riscv64", ["clang-19", "--target=riscv64-none-elf", "-march=rv64imac",
                             "-mabi=lp64"]),
    ("clang-19", "loongarch64", ["clang-19", "--target=loongarch64-none-elf", "-msoft-float"]),
]
FLAGS = ("-std=c11 -ffreestanding -fno-pic -fno-asynchronous-unwind-tables -ffunction-sections "
         "-fdata-sections -fno-stack-protector -fstack-usage -Iinclude -I.").split()
PARTS = ("SHARED", "CONTIG", "BREAK", "FRESH")


def run(*command):
    """Its standard output; ends with its message if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"size: {' '.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def second_stage():
    """The second-stage formats by name: symbol, source, parts of the engine that they need."""
    table = re.findall(r'^\t"(\S+) +(\S+) +stage2 +(\S+) +(\S+)"$',
                       (ROOT / "cmake/sources.cmake").read_text(), re.M)
    return {name: (symbol, source, needs.split(",")) for name, symbol, source, needs in table}


FORMATS = second_stage()

CALL = re.compile(r"\b(?:callq?|jmpq?|bl|b|jal|j|tail|call|jalr|pcaddu18i|jirl)\b.*<([\w.]+)>")
POINTER = re.compile(r"\b(?:callq?|jmpq?)\s+\*|\bblr\b|\bbr\s+x|\bjalr\s+(?:ra, )?[ast]|"
                     r"\bc\.jalr|\bc\.jr\s+[ast]|\bjr\s+[ast]|\bjirl\s+\$(?:ra|zero)")
# Who makes a call by pointer to a function of the engine, and to which it can be.
POINTED = [(re.compile(a), re.compile(b)) for a, b in (
    (r"nest_pt_(un)?map$", r"nest_(un)?map_any$|nest_fmt_\w+_pt_(un)?map$"),
    (r"nest_pt_(protect|mark|split|merge|age|harvest_dirty|\w+_some)$|run(_some)?(\.\w+)*$|"
     r"nest_(un)?map_any$|nest_fmt_\w+_pt_(un)?map$",
     r"operate_\w+$|nest_operate_(merge|harvest|any)$|nest_fmt_\w+(?<!_pt)_(map|unmap|protect)$"),
    (r"operate_\w+$", r"nest_operate_any$|nest_fmt_\w+(?<!_pt)_(map|unmap|protect)$"),
    (r"nest_gather_sync$|nest_pt_destroy$|nest_drop_any$|nest_fmt_\w+_drop$",
     r"nest_drop_any$|nest_fmt_\w+_drop$"),
)]


# Of a copy of a function, in its symbol.
NUMBER = r"\.\d+"


def usage(files):
    """By function, copies together: bytes of stack, as -fstack-usage told."""
    result = {}
    for path in files:
        for line in path.read_text().splitlines():
            where, size, _ = line.split("\t")
            name = re.sub(NUMBER, "", where.rsplit(":", 1)[1])
            result[name] = max(int(size), result.get(name, 0))
    return result


def stack_sizes(program):
    """The same, as the program's own .stack_sizes tell."""
    text = run("llvm-readobj-19", "--stack-sizes", program)
    return {m[1]: int(m[2], 16) for m in
            re.finditer(r"Functions: \[(\S+)\]\s+Size: (0x[0-9A-Fa-f]+)", text)}


def calls_of(program, taken):
    """By function: bytes it takes, functions it may call."""
    frame, callees, pointer, name = {}, {}, set(), None
    for line in run("llvm-objdump-19", "-d", "--no-show-raw-insn", program).splitlines():
        head = re.match(r"[0-9a-f]+ <(?!\.L)([\w.]+)>:", line)
        if head:
            name = head[1]
            frame[name] = taken.get(re.sub(NUMBER, "", name), 0)
            callees[name] = set()
        if head or name is None:
            continue
        match = CALL.search(line)
        if match:
            callees[name].add(match[1])
        if POINTER.search(line):
            pointer.add(name)
    for caller, callee in POINTED:
        for f in filter(caller.match, pointer):
            callees[f] |= {g for g in frame if callee.match(g)}
    return frame, callees


def sections(program):
    """Bytes of text with constants, of data, of bss; not what the linker adds for unknown symbols."""
    result = [0, 0, 0]
    for line in run("llvm-size-19", "-A", program).splitlines():
        found = re.match(r"\.(text|rodata|s?data|s?bss)\S* +(\d+)", line)
        if found:
            kind = found[1].removeprefix("s")
            result[{"text": 0, "rodata": 0, "data": 1, "bss": 2}[kind]] += int(found[2])
    return result


def deepest(program, taken, roots):
    """The largest frame; bytes of stack below one of the roots; the chain."""
    frame, callees = calls_of(program, taken)

    def depth(f, path):
        most, chain = 0, []
        for g in callees[f] - path:
            if g in frame:
                d, c = depth(g, path | {g})
                if d > most:
                    most, chain = d, c
        return (LEVELS if f in callees[f] else 1) * frame[f] + most, [f] + chain

    total, chain = max((depth(f, frozenset([f])) for f in roots if f in frame),
                       key=lambda d: d[0])
    return max(frame.values()), total, " > ".join(f"{f} {frame[f]}" for f in chain)


def every_call():
    """What the headers of core/ declare."""
    text = " ".join(p.read_text() for p in (ROOT / "include/nest").glob("*.h"))
    calls = re.findall(r"\b(nest_(?:pt|pte|gather|reserve|epoch)_\w+)\(", text)
    return sorted(set(calls))


def link(job, parts, programs, together):
    """
    Compile core/ and the format with these parts, `together`: with link-time optimisation. For
    each of the programs, lists of calls: (text, data, bss, frame, stack, chain).
    """
    (compiler, isa, command), opt, name, directory = job
    symbol, source, _ = FORMATS[name]
    here = pathlib.Path(tempfile.mkdtemp(dir=directory, prefix=f"{compiler}-{isa}-{opt}-"))
    flags = [*FLAGS, f"-DNEST_ONLY={symbol}", f"-{opt}"]
    flags += [f"-DNEST_HAS_{part}=0" for part in PARTS if part not in parts]
    flags += ["-flto"] if together else []
    objects = []
    for path in [*sorted(ROOT.glob("core/*.c")), ROOT / source]:
        objects.append(here / (path.stem + ".o"))
        run(*command, *flags, "-c", path, "-o", objects[-1])
    results = []
    for calls in programs:
        program = here / "program"
        options = ["--gc-sections", "--unresolved-symbols=ignore-all", "-e", CALLS[0],
                   *sum((["-u", f] for f in [*calls, symbol]), [])]
        if together and compiler == "gcc":
            run(*command, *flags, "-nostdlib", "-static", "-no-pie",
                *("-Wl," + ",".join(o) for o in (options[:2], options[2:])),
                "-o", program, *objects)
            taken = usage(here.glob("program*.su"))
        else:
            run("ld.lld-19", *options, *(["-mllvm", "-stack-size-section"] if together else []),
                "-o", program, *objects)
            taken = stack_sizes(program) if together else usage(here.glob("*.su"))
        results.append([*sections(program), *deepest(program, taken, calls)])
    return results


def measure(job):
    """A line of the table: names, then the figures of each program."""
    (compiler, isa, _), opt, name, _ = job
    needs = FORMATS[name][2]
    return [compiler, isa, name, opt,
            *link(job, [n for n in needs if n != "CONTIG"], [CALLS], True),
            *link(job, [*needs, "SHARED"], [CALLS, every_call()], False)]


def struct_sizes(command, directory):
    """Of the public structs, by name."""
    structs = pathlib.Path(directory) / "structs.o"
    run(*command, *FLAGS, "-c", ROOT / "tests/size/structs.c", "-o", structs)
    symbols = run("llvm-nm-19", "-S", structs)
    return {m[2]: int(m[1], 16) for m in
            re.finditer(r"^\w+ (\w+) \w sizeof_(\w+)$", symbols, re.M)}


def main():
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="./run size",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, action="append", help="this format alone")
    parser.add_argument("--isa", choices=sorted({t[1] for t in TOOLCHAINS}), action="append",
                        help="this ISA alone")
    parser.add_argument("--chains", action="store_true", help="tell the deepest chains of calls")
    options = parser.parse_args()
    if os.environ.get("NEST_CHECK_ARGUMENTS"):
        return
    tools = [t for t in TOOLCHAINS if not options.isa or t[1] in options.isa]
    for _, isa, command in tools:
        if not shutil.which(command[0]):
            sys.exit(f"size: no {command[0]}, for {isa}")
    with tempfile.TemporaryDirectory() as directory:
        structs = struct_sizes(tools[0][2], directory)
        jobs = [(t, o, name, directory) for o in ("Os", "O2") for t in tools
                for name in options.format or FORMATS]
        lines = []
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for line in pool.map(measure, jobs):
                lines.append(line)
                print(f"\r{len(lines)} of {len(jobs)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    print("| compiler | ISA | format | -O | tables: text | data | bss | frame | stack "
          "| default: text | stack | every: text | data | bss | frame | stack |")
    print("|" + " --- |" * 16)
    for compiler, isa, name, opt, tables, default, every in lines:
        cells = [compiler, isa, name, opt, *tables[:5], default[0], default[4], *every[:5]]
        print("| " + " | ".join(map(str, cells)) + " |")
        if options.chains:
            for program, figures in (("tables", tables), ("default", default), ("every", every)):
                print(f"{program}: {figures[5]}", file=sys.stderr)
    print("\n| struct | bytes |\n| --- | --- |")
    for name, size in structs.items():
        print(f"| `{name}` | {size} |")


if __name__ == "__main__":
    main()
