# SPDX-License-Identifier: MIT
"""Fail if a program that names one AArch64 format has the engine of another in it.

check_one_granule.py NM LLD ARCHIVE SOURCE COMPILER...: for each of the six formats, compile SOURCE
with FORMAT set, link it with ARCHIVE and --gc-sections, and look at the symbols.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

FORMATS = [f"aarch64_s{stage}_{granule}" for stage in (2, 1) for granule in ("4k", "16k", "64k")]


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def formats_in(nm, program):
    """Names of formats of which the program has a function or an object."""
    return set(re.findall(r"nest_fmt_(aarch64_s\d_\d+k)", run(nm, program)))


def main(nm, lld, archive, source, *compiler):
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for name in FORMATS:
            unit = pathlib.Path(scratch) / "unit.o"
            program = pathlib.Path(scratch) / "program"
            run(*compiler, "-std=c11", "-O2", "-ffreestanding", "-fno-builtin",
                f"-DFORMAT=nest_fmt_{name}", f"-DSTAGE2={int('_s2_' in name)}",
                "-c", source, "-o", unit)
            run(lld, "--gc-sections", "-e", "start", unit, archive, "-o", program)
            found = formats_in(nm, program)
            good = found == {name}
            print(f"{name}: {program.stat().st_size} bytes, formats in it: {sorted(found)}: "
                  f"{'ok' if good else 'FAILED'}")
            failed |= not good
    sys.exit(failed)


main(*sys.argv[1:])
