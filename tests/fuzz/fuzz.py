#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Build the fuzz targets with clang-19, libFuzzer and the address and undefined-behaviour
sanitizers, and run each for some time on a copy of its seed corpus.

With --replay nothing is searched for: each target runs once over its seeds, those of past findings
among them. "N passed, N failed" (targets) is the last line; a finding's input is kept, and the
command that replays it printed.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TARGETS = {
    "api": "programs of calls, against a flat model and the worst TLB",
    "entry": "entries of every format, decoded and built",
    "fault": "fault decoders, flush plans, features from registers",
    "fdt": "the device-tree reader",
}
print_lock = threading.Lock()


@dataclasses.dataclass
class Result:
    """What a run of one target came to."""
    target: str
    seconds: float = 0
    executions: int = 0
    edges: int = 0
    features: int = 0
    corpus: int = 0
    input: str = ""
    finding: str = ""


def say(*text):
    with print_lock:
        print(*text, flush=True)


def build(directory):
    """Configure and build; the output is shown only if that fails."""
    steps = [["cmake", "-S", HERE, "-B", directory, "-G", "Ninja", "-DCMAKE_C_COMPILER=clang-19"],
             ["cmake", "--build", directory]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"fuzz: {shlex.join(map(str, step))} fails:\n{done.stdout}{done.stderr}")


def seeds(target):
    return [d for d in (HERE / "corpus" / target, HERE / "regressions" / target) if d.is_dir()]


def read_line(result, line):
    """Take in what libFuzzer prints of its progress; of anything else, what went wrong."""
    if match := re.search(r"#(\d+)\s.*cov: (\d+) ft: (\d+) corp: (\d+)/", line):
        result.executions = int(match[1])
        result.edges, result.features, result.corpus = map(int, match.groups()[1:])
    elif match := re.match(r"Done (\d+) runs", line):
        result.executions = int(match[1])
    elif match := re.search(r"Test unit written to (\S+)", line):
        result.input = match[1]


def run(target, options):
    """Run one target, and say now and then how far it is."""
    work = options.build / "run" / target
    corpus = work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    limit = 60 * int(os.environ.get("NEST_TIMEOUT_SCALE", "1"))
    command = [options.build / f"fuzz_{target}", f"-artifact_prefix={work}/", f"-timeout={limit}"]
    if options.replay:
        command += ["-runs=0", *seeds(target)]
    else:
        command += [f"-max_total_time={options.seconds}", "-print_final_stats=1",
                    "-report_slow_units=30", corpus, *seeds(target)]
        if options.seed:
            command.append(f"-seed={options.seed}")
    result = Result(target)
    begin = told = time.monotonic()
    log = work / "log"
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as fuzzer, log.open("w") as keep:
        for line in fuzzer.stdout:
            keep.write(line)
            read_line(result, line)
            if time.monotonic() - told > 15:
                told = time.monotonic()
                say(f"fuzz_{target}: {told - begin:.0f} s, {result.executions} executions, "
                    f"{result.edges} edges")
    result.seconds = time.monotonic() - begin
    if fuzzer.returncode:
        result.finding = result.input or f"status {fuzzer.returncode}, see {log}"
    if result.finding:
        say(f"fuzz_{target}: FAIL; again by: "
            f"{shlex.join([str(command[0]), result.finding])}")
        say("".join(log.read_text(errors="replace").splitlines(keepends=True)[-40:]))
    return result


def table(results):
    """The figures of all targets."""
    rows = [("target", "what", "s", "executions", "a second", "edges", "features", "inputs",
             "finding")]
    for r in results:
        rows.append((r.target, TARGETS[r.target], f"{r.seconds:.0f}", str(r.executions),
                     f"{r.executions / max(r.seconds, 1):.0f}", str(r.edges), str(r.features),
                     str(r.corpus), "yes" if r.finding else "none"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def merge(target, options):
    """Add to the seeds: of the smallest set of inputs that reaches as much, short and long ones."""
    kept = HERE / "corpus" / target
    fresh = options.build / "run" / target / "merged"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    subprocess.run([options.build / f"fuzz_{target}", "-merge=1", "-max_len=1024", fresh,
                    options.build / "run" / target / "corpus", *seeds(target)],
                   check=True, capture_output=True)
    inputs = sorted(fresh.iterdir(), key=lambda path: path.stat().st_size)
    inputs = inputs[::-(-len(inputs) // options.merge)] if inputs else inputs
    kept.mkdir(parents=True, exist_ok=True)
    say(f"fuzz_{target}: {len(inputs)} inputs, {sum(p.stat().st_size for p in inputs)} bytes")
    for path in inputs:
        shutil.copy(path, kept / path.name)


def main():
    parser = argparse.ArgumentParser(
        prog="./run fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="SECONDS|TARGET",
                        help="for how long, each (60), and which:\n"
                        + "\n".join(f"  {name:6} {what}" for name, what in TARGETS.items()))
    parser.add_argument("--replay", action="store_true", help="only the seeds, once")
    parser.add_argument("--seed", type=int, help="of the random numbers (a new one each time)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (2)")
    parser.add_argument("--merge", type=int, metavar="N",
                        help="add up to N of the inputs found to the seed corpus, and end")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build/fuzz",
                        help="where to build and run (build/fuzz)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    numbers = [word for word in options.what if word.isdigit()]
    targets = [word for word in options.what if not word.isdigit()] or list(TARGETS)
    if unknown := [word for word in targets if word not in TARGETS]:
        parser.error(f"no target {unknown[0]!r}: they are {', '.join(TARGETS)}")
    if len(numbers) > 1 or "0" in numbers:
        parser.error("one number of seconds, above 0")
    options.seconds = int(numbers[0]) if numbers else 60
    if os.environ.get("NEST_CHECK_ARGUMENTS"):
        return 0
    say("fuzz: building")
    build(options.build)
    if options.merge:
        for target in targets:
            merge(target, options)
        return 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda target: run(target, options), targets))
    table(results)
    failed = sum(bool(r.finding) for r in results)
    print(f"\n{len(results) - failed} passed, {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
