# SPDX-License-Identifier: MIT
#
# What the bare-metal toolchains by cross gcc share: the compilers of Debian's gcc-*-linux-gnu
# packages, no C library, no position independence.
set(CMAKE_SYSTEM_NAME Generic)
set(prefix ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu-)
set(CMAKE_C_COMPILER ${prefix}gcc)
set(CMAKE_ASM_COMPILER ${prefix}gcc)
set(CMAKE_AR ${prefix}ar)
set(CMAKE_RANLIB ${prefix}ranlib)
set(CMAKE_OBJCOPY ${prefix}objcopy)
string(APPEND CMAKE_C_FLAGS_INIT " -ffreestanding -nostdlib -fno-stack-protector -fno-pic -no-pie")
set(CMAKE_ASM_FLAGS_INIT "${CMAKE_C_FLAGS_INIT}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -no-pie -Wl,--no-warn-rwx-segments")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
