#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the tests on the library as users build it: by each compiler, at each optimisation level.

A build is a compiler, an optimisation level, perhaps link-time optimisation, and all formats or
one. In each, the library is compiled with exactly those options and then tested by

  unit tests  every tests/unit/test_*.c. A build of one format has those that need no other format.
              Of the three longest sweeps, a build does a part of the cases, the next another.
  adversary   random operations under reference MMUs and the worst TLB (tests/model): a part of
              the cases, too
  explore     every sequence of operations on the toy format (tests/toy)

The tests themselves are compiled once, for all builds. What test_pt_random counts must be the same
in every build. The last line is "N passed, N failed". Status 0: all passed; 1: a test or a build
failed; 2: nothing could be run as asked.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import random
import re
import secrets
import shutil
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = """examples:
  builds.py --list                        name the builds
  builds.py --short                       gcc -O3 and a sample of the others
  builds.py --short --seed 0x1234         the same sample again
  builds.py --all                         every build
  builds.py --only gcc-O3 clang-O2        these
  builds.py --only gcc-O3 --test random   of one build, the tests with "random" in their name
"""
COMPILERS = {"gcc": "gcc", "clang": "clang-19"}
TEST_FLAGS = ["-std=gnu11", "-O1"]
MODEL = ("adversary calls world share hooks setup tlb ram vm_report vm_calls vm_regions vm_faults "
         "vm_frames vm_world mmu ept x86 aarch64 riscv loongarch").split()
# These compile files of the library for themselves.
OWN = {"test_debug", "test_epoch"}
ENVIRONMENT = {**os.environ, "NEST_OPS": "200", "TERM": "dumb"}
# The sweeps that take long: a build does a part of the cases (NEST_SWEEP_PART).
LONG = {"test_pt_resume", "test_pt_sweep", "test_pt_nomem"}
# These must run in every build, or something is wrong with how tests are chosen.
ALWAYS = {"test_pt_fill", "test_pt_random", "test_pt_sweep", "adversary"}
VIRT = "virt,virtualization=on,gic-version=3"
TREES = {"aarch64-virt": ("aarch64", VIRT, "1G"), "aarch64-virt-8g": ("aarch64", VIRT, "8G"),
         "riscv64-virt": ("riscv64", "virt", "1G"), "riscv64-virt-8g": ("riscv64", "virt", "8G")}


class Failed(Exception):
    """A command that should have succeeded did not; the text says which, and what it printed."""


@dataclasses.dataclass(frozen=True)
class Build:
    """One way to build the library. `form` is "" for all formats, else the only one."""
    compiler: str
    level: str
    extra: str = ""
    form: str = ""

    @property
    def name(self):
        """As the command line has it."""
        return "-".join(filter(None, (self.compiler, self.level, self.extra, self.form)))

    @property
    def flags(self):
        """The options for the library."""
        return [f"-{self.level}", "-DNDEBUG",
                *{"": [], "v3": ["-march=x86-64-v3"], "lto": ["-flto"]}[self.extra]]

    def obstacle(self):
        """Why this machine cannot run it; empty: it can."""
        if not shutil.which(COMPILERS[self.compiler]):
            return f"{COMPILERS[self.compiler]} is not installed"
        if self.extra == "lto" and self.compiler == "clang" and not shutil.which("ld.lld-19"):
            return "lld-19 is not installed"
        if self.extra == "v3" and not {"avx2", "bmi2", "fma", "movbe"} <= cpu_flags():
            return "this CPU is no x86-64-v3"
        return ""


def cpu_flags():
    """Features of the CPU at hand."""
    found = re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    return set(found[1].split()) if found else set()


class Sources:
    """What cmake/sources.cmake says."""

    def __init__(self):
        text = (TOP / "cmake/sources.cmake").read_text("utf-8")
        self.core = self.listed(text, "NEST_CORE_SOURCES")
        self.registry = self.listed(text, "NEST_REGISTRY_SOURCES")
        self.glue = self.listed(text, "NEST_HV_GLUE_SOURCES")
        self.fdt = self.listed(text, "NEST_FDT_SOURCES")
        rows = re.findall(r'^\t"(\S+) +(\S+) +(stage\d) +(\S+) +(\S+)"$', text, re.M)
        self.formats = {name: (symbol, stage, path, set(needs.split(",")))
                        for name, symbol, stage, path, needs in rows}

    @staticmethod
    def listed(text, name):
        """The words of one set()."""
        return re.search(rf"set\({name}\s+([^)]*)\)", text)[1].split()

    def library(self, build, fdt, third=None):
        """Source files of a build, and the definitions they need; of all formats, or of a third."""
        chosen = [self.formats[build.form]] if build.form else list(self.formats.values())
        paths = list(dict.fromkeys(row[2] for row in chosen))
        define = []
        if third is not None and not build.form:
            paths = sorted(paths)[third::3]
            some = (row[0] for row in chosen if row[2] in paths)
            define = ["-DNEST_FORMAT_LIST=" + ",".join(f"&{symbol}" for symbol in some)]
        files = [*self.core, *self.registry, *paths]
        if build.form:
            define = [f"-DNEST_ONLY={chosen[0][0]}", f"-DNEST_FORMAT_LIST=&{chosen[0][0]}"]
            define += [f"-DNEST_HAS_{part}=0" for part in ("CONTIG", "BREAK", "FRESH")
                       if part not in chosen[0][3]]
        files += [*self.glue, *(self.fdt if fdt and HAS_FDT else [])]
        return files, define


SOURCES = Sources()
HAS_FDT = pathlib.Path("/usr/include/libfdt.h").exists() and all(
    shutil.which(f"qemu-system-{isa}") for isa in ("aarch64", "riscv64"))


def all_builds():
    """Every build, in the order in which they run."""
    builds = [Build("gcc", "O3"), Build("clang", "O3")]
    builds += [Build(c, level) for level in ("O2", "O1", "Os", "O0") for c in COMPILERS]
    builds += [Build(c, "O3", extra) for extra in ("v3", "lto") for c in COMPILERS]
    second = [name for name, row in SOURCES.formats.items() if row[1] == "stage2"]
    builds += [Build("gcc", "O3", "", name) for name in second]
    builds += [Build("clang", ("O2", "O3")[k % 2], "", name) for k, name in enumerate(second)]
    builds += [Build("gcc", "Os", "lto", name) for name in ("ept", "aarch64-s2-4k", "riscv-g")]
    return builds


def sample(seed):
    """gcc -O3, another build of all formats, and one of one format."""
    choice = random.Random(seed)
    builds = [b for b in all_builds() if not b.obstacle()]
    whole = [b for b in builds if not b.form and b != Build("gcc", "O3")]
    return [Build("gcc", "O3"), choice.choice(whole), choice.choice([b for b in builds if b.form])]


def command(*words, log=None, environment=None, timeout=1800):
    """Run a command to its end. Returns its output; raises Failed."""
    words = [str(word) for word in words]
    try:
        done = subprocess.run(words, cwd=TOP, check=False, text=True, errors="replace",
                              timeout=timeout, env=environment or ENVIRONMENT,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        text, status = str(error), "timeout"
    except OSError as error:
        text, status = str(error), "not started"
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text, encoding="utf-8")
    if status:
        raise Failed(f"{' '.join(words)}\n{text[-3000:]}\n(status {status})")
    return text


class Tests:
    """The tests' own objects, which all builds share."""

    def __init__(self, folder, pool):
        self.folder = folder
        self.pool = pool
        places = ("tests/unit", "tests/model", "tests/toy", "include", "core")
        self.changed = max(path.stat().st_mtime for place in places
                           for path in (TOP / place).rglob("*.[ch]"))
        define = [f'-DNEST_TEST_BINARY_DIR="{folder}"', f'-DNEST_TEST_DTB_DIR="{folder}"']
        unit = sorted(path for path in (TOP / "tests/unit").glob("*.c") if path.stem not in OWN)
        if not HAS_FDT:
            unit = [path for path in unit if not path.name.startswith("test_fdt")]
        include = ["-I", "include", "-I", ".", "-I", "tests/unit"]
        jobs = [(path, [*define, *include]) for path in unit]
        jobs += [(TOP / f"tests/model/{name}.c", ["-O2", *include]) for name in MODEL]
        jobs += [(TOP / f"tests/toy/{name}.c", ["-O2", *include])
                 for name in ("toy_world", "explore")]
        futures = [pool.submit(self.compile, path, flags) for path, flags in jobs]
        futures += [pool.submit(self.tree, *tree) for tree in TREES.items()] if HAS_FDT else []
        for future in futures:
            future.result()
        self.unit = [path.stem for path in unit if path.name.startswith("test_")]
        self.support = [self.object(path) for path in unit if not path.name.startswith("test_")]
        self.model = [self.object(TOP / f"tests/model/{name}.c") for name in MODEL]

    def object(self, path):
        """Where the object of a test's source is."""
        return self.folder / path.parent.name / f"{path.stem}.o"

    def compile(self, path, flags):
        """One object, unless it is newer than all that tests are made of."""
        out = self.object(path)
        if out.exists() and out.stat().st_mtime > self.changed:
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        command("gcc", *TEST_FLAGS, *flags, "-c", path, "-o", out)

    def tree(self, name, machine):
        """The device tree that a machine of QEMU gives its kernel."""
        isa, kind, ram = machine
        command(f"qemu-system-{isa}", "-M", f"{kind},dumpdtb={self.folder}/{name}.dtb", "-m", ram,
                "-smp", "2", "-display", "none", "-nic", "none")


class Bench:
    """One build under test: compiles the library, then links and runs the tests."""

    def __init__(self, build, tests, options):
        self.build, self.tests, self.options = build, tests, options
        # Builds share what takes long. One of all formats has the adversary's cases of a third of
        # the formats, a quarter of these, and an eighth of the sweeps; its neighbours have the next.
        number = all_builds().index(build)
        self.third = number % 3
        self.part = f"{number % 2}/2" if build.form else f"{number // 3 % 4}/4"
        self.sweep_part = f"{number % 2}/2" if build.form else f"{number % 8}/8"
        self.folder = options.build / build.name
        self.compiler = COMPILERS[build.compiler]
        self.begin = time.monotonic()
        self.results, self.counts, self.left_out = {}, {}, []
        shutil.rmtree(self.folder, ignore_errors=True)
        self.futures = {}
        for name in ("library", "model", "toy"):
            if name == "toy" and build.form:
                continue # the toy format has an engine of its own
            self.futures[name] = [tests.pool.submit(self.compile, name, path, flags)
                                  for path, flags in self.parts(name)]

    def parts(self, name):
        """Source files with their options: of the library, or of it with hooks around stores."""
        flags = [*self.build.flags, "-std=c11", "-ffreestanding", "-Iinclude", "-I."]
        files, define = SOURCES.library(self.build, name == "library",
                                        self.third if name == "model" else None)
        if name == "model":
            define = [*define, "-DNEST_STORE_HOOK=model_stored",
                      "-DNEST_BEFORE_STORE_HOOK=model_storing"]
        if name == "toy":
            files, define = [*SOURCES.core, "tests/toy/toy.c"], ["-DNEST_STORE_HOOK=toy_after_store"]
        return [(path, [*flags, *define]) for path in sorted(files, key=self.weight)]

    @staticmethod
    def weight(path):
        """What takes long to compile comes first."""
        return -sum(row[2] == path for row in SOURCES.formats.values())

    def compile(self, name, path, flags):
        """One object of the library."""
        out = self.folder / name / f"{pathlib.Path(path).stem}.o"
        out.parent.mkdir(parents=True, exist_ok=True)
        command(self.compiler, *flags, "-c", path, "-o", out)
        return out

    def join(self, name):
        """The objects as what a test is linked with; link-time optimisation is done here, once."""
        objects = [future.result() for future in self.futures[name]]
        if self.build.extra != "lto":
            return objects
        whole = self.folder / f"{name}.o"
        how = {"gcc": ["-flinker-output=nolto-rel"], "clang": ["-fuse-ld=lld-19"]}
        command(self.compiler, *self.build.flags, "-nostdlib", "-r", *how[self.build.compiler],
                "-o", whole, *objects)
        return [whole]

    def start(self):
        """Wait for the library, and begin the tests."""
        joined = {name: self.join(name) for name in self.futures}
        self.compiled = time.monotonic() - self.begin
        jobs = {name: (self.unit, name, joined["library"]) for name in self.tests.unit}
        jobs["adversary"] = (self.adversary, joined["model"])
        if "toy" in joined:
            jobs["explore"] = (self.explore, joined["toy"])
        if self.build.form:
            # A source may define several formats; those that are not built in are refused.
            others = {row[0] for name, row in SOURCES.formats.items() if name != self.build.form}
            fitting = symbols(joined["library"], "--defined-only") - others
            self.left_out = [name for name in self.tests.unit if self.needs(name) - fitting]
            if wrong := ALWAYS & set(self.left_out):
                raise Failed(f"{' '.join(sorted(wrong))} cannot be linked with one format")
        self.running = {
            name: self.tests.pool.submit(self.attempt, name, *job) for name, job in jobs.items()
            if name not in self.left_out and self.options.test in name}

    def needs(self, name):
        """What a unit test wants of the library."""
        objects = [self.tests.object(TOP / f"tests/unit/{name}.c"), *self.tests.support]
        wanted = symbols(objects, "--undefined-only") - symbols(objects, "--defined-only")
        return {symbol for symbol in wanted if symbol.startswith("nest_")}

    def attempt(self, name, what, *arguments):
        """Run one test; its failure is told at once. Returns whether it passed."""
        try:
            what(*arguments)
            return True
        except Failed as failure:
            print(f"{self.build.name}: {name} FAILED:\n{failure}", flush=True)
            return False

    def link(self, name, *objects):
        """A program."""
        out = self.folder / name
        command("gcc", "-o", out, *objects)
        return out

    def unit(self, name, library):
        """A unit test."""
        libraries = ["-lcmocka", *(["-lfdt"] if HAS_FDT else [])]
        program = self.link(name, self.tests.object(TOP / f"tests/unit/{name}.c"),
                            *self.tests.support, *library, *libraries)
        part = self.sweep_part if name in LONG else "0/1"
        text = command(program, log=self.folder / f"{name}.log",
                       environment={**ENVIRONMENT, "NEST_SWEEP_PART": part})
        if name == "test_pt_random":
            self.counts = counts_of(text)

    def adversary(self, library):
        """The adversary; the register values of formats that are left out come from elsewhere."""
        program = self.link("adversary", *self.tests.model, *library,
                            self.tests.folder / "others.a")
        command(program, "--stores", self.options.stores, "--part", self.part,
                log=self.folder / "adversary.log")

    def explore(self, library):
        """The exploration of the toy format."""
        toy = [self.tests.object(TOP / f"tests/toy/{name}.c") for name in ("toy_world", "explore")]
        program = self.link("explore", *toy, *library, "-lcmocka")
        command(program, self.options.depth, log=self.folder / "explore.log")

    def finish(self):
        """Wait for the tests, print a line, and forget the objects."""
        self.results = {name: future.result() for name, future in self.running.items()}
        passed = sum(self.results.values())
        out = f", {len(self.left_out)} need other formats" if self.left_out else ""
        print(f"{self.build.name}: {passed} passed, {len(self.results) - passed} failed{out} "
              f"(compiled in {self.compiled:.0f} s, all in {time.monotonic() - self.begin:.0f} s)",
              flush=True)
        if passed == len(self.results):
            for name in (*self.futures, *self.results):
                path = self.folder / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


def symbols(objects, which):
    """The names that objects define, or need."""
    text = command("nm", "-P", which, *objects)
    return {line.split()[0] for line in text.splitlines() if line and not line.endswith(":")}


def counts_of(text):
    """By test and format, what test_pt_random counted."""
    counts, test = {}, ""
    for line in text.splitlines():
        if match := re.match(r"\[ RUN      \] (\S+)", line):
            test = match[1]
        if match := re.match(r"counts (\S+): (.*)", line):
            counts[test, match[1]] = match[2]
    return counts


def compare_counts(benches):
    """Names of the builds that count otherwise than the first one with the same format."""
    first, odd = {}, []
    for bench in benches:
        for key, value in bench.counts.items():
            name, known = first.setdefault(key, (bench.build.name, value))
            if value != known:
                print(f"test_pt_random, {key[0]}, {key[1]}:\n  {name}: {known}\n"
                      f"  {bench.build.name}: {value}")
                odd.append(bench.build.name)
                break
    return odd


def make_others(tests):
    """An archive of all formats, for the register values of those that a build leaves out."""
    files = list(dict.fromkeys(row[2] for row in SOURCES.formats.values()))
    objects = [tests.folder / "others" / f"{pathlib.Path(path).stem}.o" for path in files]
    objects[0].parent.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c11", "-O1", "-ffreestanding", "-Iinclude", "-I."]
    list(tests.pool.map(lambda path, out: command("gcc", *flags, "-c", path, "-o", out),
                        files, objects))
    command("ar", "rc", tests.folder / "others.a", *objects)


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--list", action="store_true", help="name the builds and end")
    which.add_argument("--short", action="store_true",
                       help="gcc -O3 and a sample that differs by run")
    which.add_argument("--all", action="store_true", help="every build")
    which.add_argument("--rest", action="store_true",
                       help="every build but those of --short with the same seed "
                            "(NEST_BUILDS_SHARE=N: every N-th of them, by the seed)")
    which.add_argument("--only", nargs="+", metavar="NAME", help="these builds")
    parser.add_argument("--seed", type=lambda text: int(text, 0), metavar="N",
                        help="of the sample (NEST_BUILDS_SEED, or a new one each time)")
    parser.add_argument("--test", default="", metavar="TEXT",
                        help="only tests with TEXT in their name")
    parser.add_argument("--stores", type=int, default=500, metavar="N",
                        help="that the adversary checks in each build (%(default)s)")
    parser.add_argument("--depth", type=int, default=3, metavar="N",
                        help="operations in a row that explore tries (%(default)s)")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build" / "builds",
                        metavar="DIR", help="where to build and run (build/builds)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="commands at a time (%(default)s)")
    options = parser.parse_args()
    if options.stores <= 0 or options.jobs <= 0 or not 1 <= options.depth <= 6:
        parser.error("--stores and --jobs want a positive number, --depth one from 1 to 6")
    names = {build.name: build for build in all_builds()}
    for name in options.only or []:
        if name not in names:
            parser.error(f"no build {name}; see --list")
    if options.seed is None:
        options.seed = int(os.environ.get("NEST_BUILDS_SEED") or secrets.randbits(32))
    options.build = options.build.resolve()
    if options.short or options.rest:
        print(f"seed {options.seed:#x}")
        options.chosen = sample(options.seed)
        if options.rest:
            options.chosen = [b for b in names.values() if b not in options.chosen]
            share = int(os.environ.get("NEST_BUILDS_SHARE") or 1)
            options.chosen = options.chosen[options.seed % share::share]
    else:
        options.chosen = [names[name] for name in options.only or names]
    return options


def test_all(options, builds):
    """Compile and test the builds, each while the next one compiles. Returns benches, and builds
    that did not compile.
    """
    benches, broken = [], []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        begin = time.monotonic()
        tests = Tests(options.build / "tests", pool)
        make_others(tests)
        print(f"compiled the tests in {time.monotonic() - begin:.0f} s", flush=True)
        coming = Bench(builds[0], tests, options)
        before = None
        for k in range(len(builds)):
            bench, coming = coming, None
            try:
                bench.start()
                benches.append(bench)
            except Failed as failure:
                print(f"{bench.build.name}: FAILED to build:\n{failure}", flush=True)
                broken.append(bench.build)
                bench = None
            if k + 1 < len(builds):
                coming = Bench(builds[k + 1], tests, options)
            if before:
                before.finish()
            before = bench
        if before:
            before.finish()
    return benches, broken


def main():
    """Choose, build, test, compare, tell."""
    options = arguments()
    if options.list:
        for build in options.chosen:
            obstacle = build.obstacle()
            print(f"{build.name:26} {COMPILERS[build.compiler]} {' '.join(build.flags)}"
                  f"{', skipped: ' + obstacle if obstacle else ''}")
        return 0
    skipped = {build.name: build.obstacle() for build in options.chosen if build.obstacle()}
    builds = [build for build in options.chosen if build.name not in skipped]
    if not builds:
        print(f"builds: none can run here: {skipped}", file=sys.stderr)
        return 2
    print("builds:", *(build.name for build in builds), flush=True)
    begin = time.monotonic()
    try:
        benches, broken = test_all(options, builds)
    except Failed as failure:
        print(f"builds: the tests do not build:\n{failure}", file=sys.stderr)
        return 2
    odd = compare_counts(benches)
    again = {}
    for build in broken:
        again.setdefault(build.name, [])
    for bench in benches:
        for name, passed in bench.results.items():
            if not passed:
                again.setdefault(bench.build.name, []).append(name)
    passed = sum(sum(bench.results.values()) for bench in benches)
    failed = len(broken) + sum(len(b.results) - sum(b.results.values()) for b in benches)
    if any(bench.counts for bench in benches):
        passed, failed = passed + (not odd), failed + bool(odd)
    used = os.times()
    print(f"\n{len(builds)} builds in {time.monotonic() - begin:.0f} s "
          f"({used.children_user + used.children_system:.0f} s of CPU time)")
    for name, why in skipped.items():
        print(f"skipped {name}: {why}")
    if odd:
        print(f"the random model's counts differ: {' '.join(odd)}")
        again.setdefault(odd[0], ["random"])
    for name, tests in again.items():
        what = f" --test {tests[0]}" if len(tests) == 1 else ""
        print(f"failed: {name} {' '.join(tests) or 'does not build'}: again with\n"
              f"  python3 tests/builds/builds.py --only {name}{what}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
