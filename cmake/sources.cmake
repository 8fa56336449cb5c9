# SPDX-License-Identifier: MIT
#
# Every source of the library, relative to this repository's root, and nothing else: a kernel with a
# build of its own can include() this file, or read it. Compile with -ffreestanding -Iinclude -I.
# Always needed: NEST_CORE_SOURCES, and the file of each format. arch/registry.c holds the table of
# all formats; a build with fewer defines NEST_FORMAT_LIST for it, or leaves it out. What none of its
# formats needs may be left out of the engine by -DNEST_HAS_BREAK=0 and the like (core/build.h). A
# format that shares its file with one that is wanted is left out by -DNEST_OMIT_<symbol>; to compile
# with -ffunction-sections -fdata-sections and link with --gc-sections leaves it out as well.

set(NEST_CORE_SOURCES
	core/build_table.c
	core/bulk.c
	core/config.c
	core/dump.c
	core/empty.c
	core/encode.c
	core/epoch.c
	core/gather.c
	core/generic.c
	core/harvest.c
	core/limit.c
	core/live.c
	core/merge.c
	core/page.c
	core/pt.c
	core/pt_init.c
	core/share.c
	core/shared.c
	core/status.c
	core/table.c
	core/walk.c
)

set(NEST_REGISTRY_SOURCES arch/registry.c)

# Formats: "name symbol stage file what-it-needs-of-the-engine"; the order is that of nest_formats[].
set(NEST_FORMAT_TABLE
	"ept               nest_fmt_ept               stage2  stage2/ept.c                 -"
	"npt               nest_fmt_npt               stage2  stage2/npt.c                 -"
	"aarch64-s2-4k     nest_fmt_aarch64_s2_4k     stage2  stage2/aarch64_s2.c          BREAK,CONTIG"
	"aarch64-s2-16k    nest_fmt_aarch64_s2_16k    stage2  stage2/aarch64_s2.c          BREAK,CONTIG"
	"aarch64-s2-64k    nest_fmt_aarch64_s2_64k    stage2  stage2/aarch64_s2.c          BREAK,CONTIG"
	"riscv-g           nest_fmt_riscv_g           stage2  stage2/riscv_g.c             FRESH,CONTIG"
	"loongarch-s2-4k   nest_fmt_loongarch_s2_4k   stage2  stage2/loongarch_s2.c        BREAK,FRESH"
	"loongarch-s2-16k  nest_fmt_loongarch_s2_16k  stage2  stage2/loongarch_s2.c        BREAK,FRESH"
	"x86-64            nest_fmt_x86_64            stage1  arch/x86_64/x86_64.c         -"
	"aarch64-s1-4k     nest_fmt_aarch64_s1_4k     stage1  arch/aarch64/aarch64_s1.c    BREAK,CONTIG"
	"aarch64-s1-16k    nest_fmt_aarch64_s1_16k    stage1  arch/aarch64/aarch64_s1.c    BREAK,CONTIG"
	"aarch64-s1-64k    nest_fmt_aarch64_s1_64k    stage1  arch/aarch64/aarch64_s1.c    BREAK,CONTIG"
	"riscv-sv          nest_fmt_riscv_sv          stage1  arch/riscv/riscv_sv.c        FRESH,CONTIG"
	"loongarch-s1-4k   nest_fmt_loongarch_s1_4k   stage1  arch/loongarch/loongarch_s1.c BREAK,FRESH"
	"loongarch-s1-16k  nest_fmt_loongarch_s1_16k  stage1  arch/loongarch/loongarch_s1.c BREAK,FRESH"
)

set(NEST_HV_GLUE_SOURCES
	hv_glue/vm.c
	hv_glue/vm_copy.c
	hv_glue/vm_fault.c
)

# Needs libfdt.h (NEST_FDT).
set(NEST_FDT_SOURCES hv_glue/fdt.c hv_glue/fdt_memory.c hv_glue/fdt_vm.c)
