# SPDX-License-Identifier: MIT
#
# What the bare-metal toolchains share: clang-19, lld-19, no C library, no position independence.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER clang-19)
set(CMAKE_ASM_COMPILER clang-19)
set(CMAKE_ASM_COMPILER_TARGET ${CMAKE_C_COMPILER_TARGET})
set(CMAKE_AR llvm-ar-19)
set(CMAKE_RANLIB llvm-ranlib-19)
set(CMAKE_OBJCOPY llvm-objcopy-19)
string(APPEND CMAKE_C_FLAGS_INIT " -ffreestanding -nostdlib -fno-stack-protector")
string(APPEND CMAKE_C_FLAGS_INIT " -Wno-unused-command-line-argument")
set(CMAKE_ASM_FLAGS_INIT "${CMAKE_C_FLAGS_INIT}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld-19 -static")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
