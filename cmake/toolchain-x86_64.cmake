# SPDX-License-Identifier: MIT
#
# Bare-metal x86_64 with clang-19 and lld-19.
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER_TARGET x86_64-unknown-none-elf)
set(CMAKE_C_FLAGS_INIT "-fno-pic -mno-red-zone -mgeneral-regs-only -mcmodel=small")
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-clang.cmake)
