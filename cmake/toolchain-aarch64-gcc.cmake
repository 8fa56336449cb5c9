# SPDX-License-Identifier: MIT
#
# Bare-metal aarch64 with Debian's cross gcc.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_FLAGS_INIT "-mgeneral-regs-only -mstrict-align -mno-outline-atomics")
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-gcc.cmake)
