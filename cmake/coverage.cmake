# SPDX-License-Identifier: MIT
#
# Target `coverage`: what the tests that have run reached of core/ stage2/ hv_glue/. Fails below
# 95 % of the lines or 90 % of the branches.
option(NEST_COVERAGE "Target `coverage`; compile with --coverage (preset coverage)" OFF)
if(NEST_COVERAGE)
	find_program(NEST_GCOVR gcovr REQUIRED)
	add_compile_options(-O0 --coverage)
	add_link_options(--coverage)
	# One copy of each function to count: not one in every caller, with branches that its
	# constant arguments decide.
	add_compile_definitions("always_inline=unused")
	add_custom_target(coverage
		COMMAND ${NEST_GCOVR} --root ${PROJECT_SOURCE_DIR} --object-directory ${PROJECT_BINARY_DIR}
			--filter core/ --filter stage2/ --filter hv_glue/ --delete
			--print-summary --fail-under-line 95 --fail-under-branch 90
		WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
		USES_TERMINAL VERBATIM)
endif()
