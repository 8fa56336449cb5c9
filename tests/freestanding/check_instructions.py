# SPDX-License-Identifier: MIT
"""Compile a flush of guest addresses and look at the instructions that come out.

check_instructions.py aarch64|riscv64 SOURCE COMPILER...: the TLB takes addresses shifted, a guest's
addresses have fences of their own, and on AArch64 combined entries go after the stage 2 ones.
"""
import re
import subprocess
import sys


def must(text, pattern, what):
    if not re.search(pattern, text, re.DOTALL):
        sys.exit(f"{what}: no match for {pattern} in\n{text}")


isa, source, *compiler = sys.argv[1:]
asm = subprocess.run(
    compiler + ["-O2", "-ffreestanding", "-S", source, "-o", "-"], check=True, stdout=subprocess.PIPE, text=True
).stdout
if isa == "aarch64":
    must(asm, r"(lsr|ubfx)\s+(x\d+), x\d+, #12(?:(?!\n\s*(?:tlbi)).)*\n\s*tlbi\s+ipas2l?e1is, \2", "IPA >> 12")
    for name, op in ("pointers_too", "ipas2e1is"), ("leaf_only", "ipas2le1is"):
        shift = r"(?:(?!\n\s*ret).)*lsr\s+(x\d+), x0, #12\n(?:\s*//[^\n]*\n)*"
        must(asm, rf"\n{name}:{shift}\s*tlbi\s+{op}, \1\n", op)
    must(asm, r"ipas2l?e1is,.*dsb\s+ish\n.*tlbi\s+vmalle1is.*dsb\s+ish\n.*isb", "order")
    must(asm, r"dsb\s+ishst.*tlbi", "the stores come first")
else:
    # SYSTEM (115) with funct7 49 is HFENCE.GVMA, 17 HFENCE.VVMA, 9 SFENCE.VMA; rs1 is the address.
    must(asm, r"srli\s+(\w+), \w+, 2\n[^\n]*\n\s*\.insn r 115, 0, 49, zero, \1,", "GPA >> 2")
    if re.search(r"\.insn r 115, 0, (17|9),|hfence\.vvma|sfence\.vma", asm):
        sys.exit(f"a fence of the wrong stage in\n{asm}")
