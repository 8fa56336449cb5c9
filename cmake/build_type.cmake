# SPDX-License-Identifier: MIT
#
# A configuration without a build type is Release: unoptimised, a query takes fifteen times as long.
# The build type of another project that takes the library in is that project's own business.
get_property(is_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT is_multi_config AND NOT CMAKE_BUILD_TYPE)
	if(PROJECT_IS_TOP_LEVEL)
		message(STATUS "CMAKE_BUILD_TYPE is not set: Release")
		set(CMAKE_BUILD_TYPE Release CACHE STRING
			"Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
	else()
		message(STATUS "nest: CMAKE_BUILD_TYPE is not set: the library is not optimised")
	endif()
endif()
