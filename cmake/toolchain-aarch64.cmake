# SPDX-License-Identifier: MIT
#
# Bare-metal aarch64 with clang-19 and lld-19.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER_TARGET aarch64-none-elf)
set(CMAKE_C_FLAGS_INIT "-fno-pic -mgeneral-regs-only -mstrict-align -mno-outline-atomics")
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-clang.cmake)
