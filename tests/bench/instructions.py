#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count the instructions of nest_fixed for every second-stage format by valgrind, and compare them
with those on record: a guard that a busy machine cannot trip.

Status 1: a format takes over 5 % more than on record. After a change that is worth it, --update
writes the new figures.
"""
import argparse
import concurrent.futures
import csv
import pathlib
import re
import subprocess
import sys

RECORD = pathlib.Path(__file__).resolve().parent / "instructions.csv"
FORMATS = ("ept", "npt", "aarch64-s2-4k", "aarch64-s2-16k", "aarch64-s2-64k", "riscv-g",
           "loongarch-s2-4k", "loongarch-s2-16k")
MOST = 1.05
HEAD = "# SPDX-License-Identifier: MIT\n"


def count(program, name):
    """Instructions of measured(), with all that it calls."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=measured",
         "--callgrind-out-file=/dev/null", program, name],
        capture_output=True, text=True, check=False)
    match = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not match or match[1] == "0":
        sys.exit(f"instructions: {name} fails:\n{done.stdout}{done.stderr}")
    return int(match[1])


def main():
    """Count, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="nest_fixed, by gcc 12 at -O2")
    parser.add_argument("--update", action="store_true", help=f"write {RECORD.name}")
    options = parser.parse_args()
    program = options.program.resolve()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        counts = dict(zip(FORMATS, pool.map(lambda name: count(program, name), FORMATS)))
    if options.update:
        with RECORD.open("w", encoding="utf-8", newline="") as out:
            out.write(HEAD)
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("format", "instructions"))
            writer.writerows(counts.items())
    with RECORD.open(encoding="utf-8") as record:
        rows = csv.DictReader(line for line in record if not line.startswith("#"))
        known = {row["format"]: int(row["instructions"]) for row in rows}
    worse = 0
    for name, n in counts.items():
        if name not in known:
            sys.exit(f"instructions: {name} is not on record; --update")
        ratio = n / known[name]
        worse += ratio > MOST
        print(f"{name:17} {n:10} on record {known[name]:10}  {ratio - 1:+7.2%}"
              f"{'  TOO MANY' if ratio > MOST else ''}")
    return worse > 0


if __name__ == "__main__":
    sys.exit(main())
