#!/bin/sh
# SPDX-License-Identifier: MIT
#
# mkrom.sh IMAGE.elf OUT.rom: wrap an image into a ROM, see rom.S.
set -e
llvm-objcopy-19 -O binary "$1" "$2.payload"
clang-19 --target=i386-unknown-none-elf -DPAYLOAD="\"$2.payload\"" \
	-c "$(dirname "$0")/rom.S" -o "$2.o"
ld.lld-19 -m elf_i386 --build-id=none --section-start=.rom=0xfff00000 -e rom \
	--oformat binary "$2.o" -o "$2"
rm "$2.payload" "$2.o"
