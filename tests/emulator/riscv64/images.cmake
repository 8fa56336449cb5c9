# SPDX-License-Identifier: MIT
#
# QEMU's virt machine without firmware, and with the H extension.
walker_image(walker-riscv64 riscv64/image.ld riscv64/start.S riscv64/port.c one_cpu.c ../model/riscv.c)
target_link_options(walker-riscv64 PRIVATE -Wl,-m,elf64lriscv)
