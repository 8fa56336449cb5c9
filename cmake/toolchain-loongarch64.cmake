# SPDX-License-Identifier: MIT
#
# Bare-metal loongarch64 with clang-19 and lld-19.
set(CMAKE_SYSTEM_PROCESSOR loongarch64)
set(CMAKE_C_COMPILER_TARGET loongarch64-none-elf)
set(CMAKE_C_FLAGS_INIT "-fno-pic -march=loongarch64 -mabi=lp64s -mfpu=none -mno-lsx -mno-relax -mcmodel=normal")
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-clang.cmake)
