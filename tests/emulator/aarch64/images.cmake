# SPDX-License-Identifier: MIT
#
# QEMU's virt machine at EL2. The way into a guest and back, the UART and the exit are those of the
# example.
walker_image(walker-aarch64 ../../examples/hypervisor/image.ld
	${example}/start.S ${example}/console.c ${example}/cpu.c aarch64/guest.S aarch64/port.c aarch64/extra.c aarch64/second.c
	../model/aarch64.c)
