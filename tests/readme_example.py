# SPDX-License-Identifier: MIT
"""Compile and run the example of the README, and compare what it prints.

readme_example.py README OUTPUT COMPILER...: a `{}` among the compiler's arguments stands for the
source. The example is the fenced block after the marker; the block after it is what it prints.
"""
import re
import subprocess
import sys

MARKER = "<!-- example: compiled and run by the tests -->"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def main(readme, output, *compiler):
    _, marker, after = open(readme, encoding="utf-8").read().partition(MARKER)
    blocks = BLOCK.findall(after)[:2]
    if not marker or len(blocks) < 2 or blocks[0][0] != "c":
        sys.exit(f"{readme}: no {MARKER} with a ```c block and a block of what it prints")
    code, expected = (body for _, body in blocks)
    with open(output + ".c", "w", encoding="utf-8") as f:
        f.write(code)
    subprocess.run([output + ".c" if a == "{}" else a for a in compiler] + ["-o", output], check=True)
    printed = subprocess.run([output], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
    if printed != expected:
        sys.exit(f"{readme} says the example prints:\n{expected}but it prints:\n{printed}")


main(*sys.argv[1:])
