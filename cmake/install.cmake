# SPDX-License-Identifier: MIT
#
# What `cmake --install` gives: headers, archives, find_package(nest CONFIG) and nest.pc. Nothing
# holds an absolute path, so the result may be moved.
include(CMakePackageConfigHelpers)

set(cmakedir ${CMAKE_INSTALL_LIBDIR}/cmake/nest)
install(DIRECTORY include/nest DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
# The library needs no package, so the exported targets are the whole configuration.
install(EXPORT nest-config NAMESPACE nest:: DESTINATION ${cmakedir})

write_basic_package_version_file(${PROJECT_BINARY_DIR}/nest-config-version.cmake
	COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nest-config-version.cmake DESTINATION ${cmakedir})

file(RELATIVE_PATH NEST_PC_TO_PREFIX
	${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" NEST_PC_TO_PREFIX "${NEST_PC_TO_PREFIX}")
configure_file(cmake/nest.pc.in ${PROJECT_BINARY_DIR}/nest.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/nest.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
