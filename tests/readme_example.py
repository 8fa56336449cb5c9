# SPDX-License-Identifier: MIT
"""Compile and run the example of the README, and compare what it prints.

readme_example.py README OUTPUT COMPILER...: a `{}` among the compiler's arguments stands for the
source. The example is the fenced block after the marker; the block after it is what it prints.
"""
import re
import subprocess
import sys

MARKER = "<!-- example: compiled and run by the tests -->"


def blocks(text):
    """The contents of the fenced blocks of a Markdown text, in order."""
    return ["\n".join(b.split("\n")[1:]) for b in re.split(r"^```", text, flags=re.MULTILINE)[1::2]]


def main(readme, output, *compiler):
    before, found, after = open(readme, encoding="utf-8").read().partition(MARKER)
    if not found or len(blocks(after)) < 2:
        sys.exit(f"{readme}: no {MARKER} with a block of C and a block of its output")
    code, expected = blocks(after)[:2]
    with open(output + ".c", "w", encoding="utf-8") as f:
        f.write(code)
    subprocess.run([output + ".c" if a == "{}" else a for a in compiler] + ["-o", output], check=True)
    printed = subprocess.run([output], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
    if printed != expected:
        sys.exit(f"{readme} says the example prints:\n{expected}but it prints:\n{printed}")


main(*sys.argv[1:])
