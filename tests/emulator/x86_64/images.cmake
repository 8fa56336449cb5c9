# SPDX-License-Identifier: MIT
#
# The x86-64 images: for QEMU the ELF file, for Bochs the same as a ROM.
function(x86_image name)
	set(here ${CMAKE_CURRENT_SOURCE_DIR}/x86_64)
	walker_image(${name} x86_64/image.ld x86_64/start.S x86_64/machine.c one_cpu.c ${ARGN})
	# For a bare x86-64 the compiler would call gcc to link; for this one it calls lld itself.
	target_link_options(${name} PRIVATE --target=x86_64-unknown-linux-gnu)
	add_custom_command(TARGET ${name} POST_BUILD
		COMMAND ${here}/mkrom.sh $<TARGET_FILE:${name}> ${name}.rom
		BYPRODUCTS ${name}.rom)
	set_target_properties(${name} PROPERTIES LINK_DEPENDS
		"${here}/image.ld;${here}/rom.S;${here}/mkrom.sh")
endfunction()

x86_image(walker-x86-svm x86_64/svm.c x86_64/stage1.c x86_64/guest.c ../model/x86.c)
x86_image(walker-x86-vmx x86_64/vmx.c x86_64/ept_extra.c x86_64/guest.c ../model/ept.c)
