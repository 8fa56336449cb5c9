# SPDX-License-Identifier: MIT
"""Fail if an archive of a bare-metal build needs a symbol it should not, or has writable data.

check_archives.py NM SIZE DIRECTORY. Each layer may need memcpy, memset and the layers below it;
fdt*.c may need libfdt too. Nothing may have a section that a loader must make writable.
"""
import re
import subprocess
import sys

BELOW = {
    "core": [],
    "stage2": ["core"],
    "stage1": ["core"],
    "hv_glue": ["core"],
    "": [],  # libnest.a itself: everything
}
ALLOWED = re.compile(r"(.*): (?:memcpy|memset)|fdt\w*\.c\.\w+: fdt_\w+")
WRITABLE = re.compile(r"\.(?:data|bss|tdata|tbss|sdata|sbss|init_array|ctors|got)\b")


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def symbols(nm, archive):
    """The names that the archive defines, and what it does not: a set of "member: name"."""
    defined, needed = set(), set()
    for line in run(nm, "--print-file-name", "--format=posix", archive).splitlines():
        where, name, kind = line.split()[:3]
        if kind in "Uwv":
            needed.add(f"{where.rstrip(':').split('[')[-1].rstrip(']')}: {name}")
        elif kind.isupper():
            defined.add(name)
    if not defined:
        sys.exit(f"{archive}: no symbols at all")
    return defined, needed


def writable(size, archive):
    for line in run(size, "--format=sysv", archive).splitlines():
        field = line.split()
        if len(field) == 3 and WRITABLE.match(field[0]) and int(field[1]):
            yield f"{field[0]}: {field[1]} bytes"


def main(nm, size, directory):
    failed = False
    for layer, below in BELOW.items():
        archive = f"{directory}/libnest{'_' if layer else ''}{layer}.a"
        defined, needed = symbols(nm, archive)
        for other in below:
            defined |= symbols(nm, f"{directory}/libnest_{other}.a")[0]
        bad = [
            f"needs {n}"
            for n in sorted(needed)
            if n.split()[1] not in defined and not ALLOWED.fullmatch(n)
        ]
        bad += [f"has {w}" for w in writable(size, archive)]
        for b in bad:
            print(f"{archive} {b}")
        print(f"{archive}: {'FAILED' if bad else 'ok'}")
        failed |= bool(bad)
    sys.exit(failed)


main(*sys.argv[1:])
