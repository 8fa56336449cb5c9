#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mutation check: put one fault at a time into a copy of the tree, and see which suite notices.

The faults are the sections of mutants.ini beside this file. Each is applied alone; then the unit
tests are built and run until one fails, and so are the walker images, on each of the machines that
the fault names. When nobody has noticed, the other programs follow one by one (explorer, adversary,
stress), that which the fault names first. At the end comes a table of what noticed which, and "N caught, N survived" as the last line. Status 0: every fault was
caught, or the list explains why none can; 1: one survived; 2: the tree or the list is not fit for
the check.
"""
import argparse
import concurrent.futures
import configparser
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
WALKERS = "tests/emulator/walkers.py"
# Unit tests of many seconds; and of those labelled `package`, which are left out, the quick ones.
SLOW = {"test_pt_sweep", "test_pt_resume"}
QUICK_PACKAGE = {"tlbi_takes_ipa_shifted_by_12", "guest_fence_is_hfence_gvma_shifted_by_2"}


class Unfit(Exception):
    """The check cannot be made: the list has rotted, or the tree is not sound to begin with."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault: a fragment of a line, which occurs once in its file, and what takes its place."""
    name: str
    file: str
    original: str
    replacement: str
    what: str
    machines: tuple
    programs: tuple
    package: tuple
    explained: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Who noticed a fault."""
    mutant: Mutant
    tests: list
    machines: list

    @property
    def caught(self):
        """Did anybody?"""
        return bool(self.tests or self.machines)


# ---- The list ----

def read_mutants(path):
    """The sections of the list, in its order."""
    config = configparser.ConfigParser(delimiters=("=",), comment_prefixes=("#",),
                                       interpolation=None)
    mutants = []
    try:
        config.read_string(path.read_text(encoding="utf-8"), path.name)
        for name in config.sections():
            fields = dict(config[name])
            mutants.append(Mutant(name, fields.pop("file"), fields.pop("from"), fields.pop("to"),
                                  fields.pop("what"), tuple(fields.pop("machines", "").split()),
                                  tuple(fields.pop("programs", "").split()),
                                  tuple(fields.pop("package", "").split()),
                                  " ".join(fields.pop("explained", "").split())))
            if fields:
                raise Unfit(f"{name}: unknown field {', '.join(fields)}")
    except configparser.Error as error:
        raise Unfit(str(error)) from error
    except KeyError as error:
        raise Unfit(f"{name}: no field {error}") from error
    return mutants


def check_mutants(mutants, tree):
    """Every fragment must stand in its file exactly once: the list may not rot unnoticed."""
    known = set(subprocess.run([sys.executable, tree / WALKERS, "--list"], check=True,
                               stdout=subprocess.PIPE, text=True).stdout.split())
    for m in mutants:
        if "\n" in m.original + m.replacement or m.original == m.replacement:
            raise Unfit(f"{m.name}: not a change of a single line")
        if not (tree / m.file).is_file():
            raise Unfit(f"{m.name}: there is no {m.file}")
        count = (tree / m.file).read_text(encoding="utf-8").count(m.original)
        if count != 1:
            raise Unfit(f"{m.name}: found {count} times in {m.file}: {m.original}")
        if strange := set(m.machines) - known:
            raise Unfit(f"{m.name}: no machine {', '.join(sorted(strange))}")


# ---- The copy ----

def copy_tree(copy):
    """Make `copy` like the tree (what git knows or would add); the rest of it stays untouched."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=TOP,
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    wanted = {name for name in listed.split("\0") if name and (TOP / name).is_file()}
    for old in [p for p in copy.rglob("*") if p.is_file()]:
        if str(old.relative_to(copy)) not in wanted:
            old.unlink()
    for name in wanted:
        source, target = TOP / name, copy / name
        # Not newer where nothing changed, so that little is built again.
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@contextlib.contextmanager
def applied(mutant, copy):
    """The fault is in the copy for as long as this lasts."""
    path = copy / mutant.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(mutant.original, mutant.replacement), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(sound, encoding="utf-8")


# ---- The suites ----

def must_run(command, cwd, log):
    """A command that has to succeed, such as a build: else what it printed is the error."""
    with open(log, "w", encoding="utf-8") as out:
        done = subprocess.run(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Unfit(f"{' '.join(map(str, command))} failed:\n" + log.read_text(encoding="utf-8"))


class UnitTests:
    """The host's tests, in a build tree that is kept: only what a fault touches is built again."""

    def __init__(self, copy, options):
        self.copy, self.options = copy, options
        self.build_dir = options.work / "unit"
        self.log = options.work / "unit-build.log"

    def prepare(self):
        """Configure, build, and find the tests; all of them have to pass."""
        # A fault may leave a function without a caller: that is a warning.
        must_run(["cmake", "--preset", "gcc", "-B", self.build_dir, "-DNEST_WERROR=OFF"], self.copy,
                 self.log)
        self.build("unit_tests" if self.options.sound else "all")
        self.tests = self.find()
        self.of_unit = {name for name, test in self.tests.items() if "/tests/unit/" in test[0][0]}
        if not self.options.sound and (failed := self.run(self.tests)):
            raise Unfit(f"without any fault, these fail: {', '.join(failed)}")

    def build(self, target="all"):
        """Bring the tests up to date."""
        must_run(["cmake", "--build", self.build_dir, "-j", str(self.options.jobs),
                  "--target", target], self.copy, self.log)

    def find(self):
        """Commands and directories of the tests that take part, by name."""
        listed = subprocess.run(["ctest", "--show-only=json-v1"], cwd=self.build_dir, check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        tests = {}
        for test in json.loads(listed)["tests"]:
            properties = {p["name"]: p["value"] for p in test["properties"]}
            if "package" not in properties.get("LABELS", ()) or test["name"] in QUICK_PACKAGE:
                tests[test["name"]] = (test["command"], properties["WORKING_DIRECTORY"])
        if missing := (SLOW | QUICK_PACKAGE) - set(tests):
            raise Unfit(f"no such test: {', '.join(sorted(missing))}")
        return tests

    def fails(self, name):
        """Run one test. One that takes too long hangs, which is to fail."""
        command, cwd = self.tests[name]
        try:
            return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  timeout=self.options.timeout, check=False).returncode != 0
        except subprocess.TimeoutExpired:
            return True

    def run_package(self, names):
        """Run these of the tests labelled `package`, with what they need; returns those that
        failed."""
        done = subprocess.run(["ctest", "-R", f"^({'|'.join(names)})$"], cwd=self.build_dir,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if "No tests were found" in done.stdout:
            raise Unfit(f"no such test: {', '.join(names)}")
        return list(names) if done.returncode else []

    def run(self, names):
        """Run these until one fails; returns the names of those that did."""
        names = sorted(names, key=lambda name: (name not in SLOW, name))
        failed = []

        def unless_failed(name):
            if not failed and self.fails(name):
                failed.append(name)

        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(unless_failed, names))
        return sorted(failed)

    def notice(self):
        """Which of the quick unit tests notices the fault that is in the copy?"""
        self.build("unit_tests")
        return self.run(self.of_unit - SLOW)

    def notice_late(self, first):
        """Which other test does? Program by program: each has a library of its own to build."""
        programs = {}
        for name in set(self.tests) - self.of_unit:
            program = pathlib.Path(self.tests[name][0][0])
            built = self.build_dir.resolve() in program.parents
            programs.setdefault(program.name if built else "all", []).append(name)
        if strange := set(first) - set(programs):
            raise Unfit(f"no such program: {', '.join(strange)}")
        for program in sorted(programs, key=lambda p: (p not in first, p == "all", p)):
            self.build(program)
            if failed := self.run(programs[program]):
                return failed
        return self.run(SLOW)


class Walkers:
    """The images that make emulated CPUs translate by the library's tables."""

    def __init__(self, copy, options):
        self.copy, self.options = copy, options

    def notice(self, machines):
        """On which of these machines does something fail, hang or crash?"""
        command = [sys.executable, self.copy / WALKERS, "--build", self.options.work / "walkers",
                   "--seed", "1", "--operations", str(self.options.operations),
                   "--jobs", str(self.options.jobs), "--timeout", str(self.options.timeout),
                   "--fail-fast"]
        done = subprocess.run([*command, *machines], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        (self.options.work / "walkers.log").write_text(done.stdout, encoding="utf-8")
        failed = re.findall(r"^To see (\S+) again:", done.stdout, re.MULTILINE)
        if re.search(r"^building for \S+ failed", done.stdout, re.MULTILINE):
            raise Unfit(done.stdout)
        if (done.returncode != 0) != bool(failed):
            raise Unfit(f"status {done.returncode} of {WALKERS}:\n{done.stdout}")
        return failed

    def prepare(self, machines):
        """Nothing may fail to begin with."""
        if failed := self.notice(machines):
            raise Unfit(f"without any fault, these fail: {', '.join(failed)}; see "
                        f"{self.options.work / 'walkers.log'}")


# ---- What came of it ----

def some(names):
    """A few of the names, for one line."""
    names = [n.removeprefix("test_") for n in names]
    more = [f"{len(names) - 3} more"] if len(names) > 4 else []
    return ", ".join(names[:3] + more if more else names) or "-"


def table(verdicts):
    """Markdown, aligned."""
    rows = [("mutant", "what is broken", "unit tests", "walkers")]
    rows += [(v.mutant.name, v.mutant.what, some(v.tests), some(v.machines)) for v in verdicts]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths))
                     + " |" for row in rows)


def check(mutants, options):
    """Apply each, and see."""
    copy = options.work / "src"
    copy.mkdir(parents=True, exist_ok=True)
    copy_tree(copy)
    unit, walkers, verdicts = UnitTests(copy, options), Walkers(copy, options), []
    machines = sorted({name for m in mutants for name in m.machines})
    begin = time.monotonic()
    if options.unit:
        unit.prepare()
        print(f"no fault: all unit tests {'are built' if options.sound else 'pass'} "
              f"({time.monotonic() - begin:.0f} s)", flush=True)
        package = sorted({name for m in mutants for name in m.package})
        if package and not options.sound:
            if failed := unit.run_package(package):
                raise Unfit(f"without any fault, one of these fails: {', '.join(failed)}")
    if options.walkers and machines and not options.sound:
        begin = time.monotonic()
        walkers.prepare(machines)
        print(f"no fault: {some(machines)} pass ({time.monotonic() - begin:.0f} s)", flush=True)
    for number, m in enumerate(mutants, 1):
        begin = time.monotonic()
        with applied(m, copy):
            try:
                tests = unit.notice() if options.unit else []
                seen_on = walkers.notice(m.machines) if options.walkers and m.machines else []
            except Unfit as error:
                raise Unfit(f"{m.name}: {error}") from error
            if options.unit and not tests and m.package:
                tests = unit.run_package(m.package)
            if options.unit and not tests and not seen_on:
                tests = unit.notice_late(m.programs)
        verdict = Verdict(m, tests, seen_on)
        verdicts.append(verdict)
        print(f"[{number}/{len(mutants)}] {m.name}: "
              f"{'caught' if verdict.caught else 'SURVIVED'}; unit tests: {some(verdict.tests)}; "
              f"walkers: {some(verdict.machines)} ({time.monotonic() - begin:.0f} s)", flush=True)
    return verdicts


def tell(verdicts, options):
    """The table, what survived, the last line; returns the status."""
    text = table(verdicts)
    print(f"\n{text}\n")
    if options.table:
        options.table.write_text(text + "\n", encoding="utf-8")
    survived = [v.mutant for v in verdicts if not v.caught]
    for m in survived:
        print(f"{m.name} survived: {m.explained or 'nobody knows why'}")
    for v in verdicts:
        if v.caught and v.mutant.explained:
            print(f"{v.mutant.name}: caught after all, though the list explains why it is not")
    print(f"{len(verdicts) - len(survived)} caught, {len(survived)} survived")
    return 0 if all(m.explained for m in survived) else 1


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the mutants and end")
    parser.add_argument("--check", action="store_true",
                        help="see that each fragment occurs once in the tree, and end")
    parser.add_argument("--only", nargs="+", metavar="MUTANT", help="these alone")
    parser.add_argument("--no-unit", dest="unit", action="store_false",
                        help="leave out the unit tests, and mutants that name no machine")
    parser.add_argument("--no-walkers", dest="walkers", action="store_false",
                        help="leave out the emulated machines")
    parser.add_argument("--sound", action="store_true",
                        help="do not run the tests without any fault first: they have just passed")
    parser.add_argument("--operations", type=int, default=1000, metavar="N",
                        help="of the walkers' random campaign (%(default)s)")
    parser.add_argument("--timeout", type=int, default=300, metavar="SECONDS",
                        help="after which a test or a machine hangs (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="compilers, tests, or machines at a time (%(default)s)")
    parser.add_argument("--work", type=pathlib.Path, default=TOP / "build" / "mutation",
                        metavar="DIR", help="where to copy, build and run (build/mutation)")
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE",
                        help="write the table there, too")
    options = parser.parse_args()
    options.work = options.work.resolve()
    return options


def main():
    """Read the list, check, tell."""
    options = arguments()
    try:
        mutants = read_mutants(HERE / "mutants.ini")
        if options.only:
            if strange := set(options.only) - {m.name for m in mutants}:
                raise Unfit(f"no mutant {', '.join(sorted(strange))}")
            mutants = [m for m in mutants if m.name in options.only]
        if options.list:
            for m in mutants:
                print(f"{m.name:26}{m.file:32}{m.what}"
                      + (f" [{' '.join(m.machines)}]" if m.machines else ""))
        check_mutants(mutants, TOP)
        if options.list or options.check:
            print(f"{len(mutants)} mutants; every fragment occurs once")
            return 0
        if not options.unit:
            mutants = [m for m in mutants if m.machines]
        return tell(check(mutants, options), options)
    except Unfit as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
