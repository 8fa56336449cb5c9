# SPDX-License-Identifier: MIT
#
# Bare-metal riscv64 with Debian's cross gcc. gcc 12 does not know the H extension by name: only the
# assembler is told of it, and the compiler writes no attribute that would take it back.
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(CMAKE_C_FLAGS_INIT "-march=rv64ima_zicsr_zifencei -mabi=lp64 -mcmodel=medany -mno-relax -msmall-data-limit=0 -mno-riscv-attribute -Wa,-march=rv64ima_zicsr_zifencei_h")
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-gcc.cmake)
