# SPDX-License-Identifier: MIT
#
# QEMU's virt machine with an LA464 CPU.
walker_image(walker-loongarch64 loongarch64/image.ld
	loongarch64/start.S loongarch64/machine.c loongarch64/port.c one_cpu.c
	loongarch64/extra.c ../model/loongarch.c)
# For a bare loongarch64 the compiler would call gcc to link; for this one it calls lld itself.
target_link_options(walker-loongarch64 PRIVATE --target=loongarch64-unknown-linux-gnu)
# The toolchain file gives the ABI to C alone.
set_source_files_properties(loongarch64/start.S PROPERTIES
	COMPILE_OPTIONS "-march=loongarch64;-mabi=lp64s")
