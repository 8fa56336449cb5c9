# SPDX-License-Identifier: MIT
#
# Bare-metal x86_64 with the host's gcc.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER gcc)
set(CMAKE_C_FLAGS_INIT "-ffreestanding -nostdlib -fno-stack-protector -fno-pic -mno-red-zone -mgeneral-regs-only -mcmodel=kernel")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
