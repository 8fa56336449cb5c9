# SPDX-License-Identifier: MIT
#
# `cmake --build ... --target docs`: the API reference, where doxygen is installed.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CROSSCOMPILING)
	find_package(Doxygen QUIET)
endif()
if(DOXYGEN_FOUND)
	configure_file(docs/Doxyfile.in ${PROJECT_BINARY_DIR}/Doxyfile @ONLY)
	add_custom_target(docs
		COMMAND Doxygen::doxygen ${PROJECT_BINARY_DIR}/Doxyfile
		COMMENT "API reference into ${PROJECT_BINARY_DIR}/html"
		VERBATIM)
endif()
