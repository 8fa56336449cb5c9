# SPDX-License-Identifier: MIT
#
# Bare-metal riscv64 with clang-19 and lld-19.
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(CMAKE_C_COMPILER_TARGET riscv64-none-elf)
set(CMAKE_C_FLAGS_INIT "-fno-pic -march=rv64ima_zicsr_zifencei_h -mabi=lp64 -mcmodel=medany -mno-relax -msmall-data-limit=0")
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-clang.cmake)
