# SPDX-License-Identifier: MIT
#
# Turns NEST_FORMATS (names, or "all") into NEST_STAGE1_SOURCES, NEST_STAGE2_SOURCES and
# NEST_FORMAT_LIST, the initialiser of nest_formats[].

set(NEST_FORMATS "all" CACHE STRING "Formats to build in: names of nest_format_by_name(), or all")

set(known "")
set(symbols "")
set(NEST_STAGE1_SOURCES "")
set(NEST_STAGE2_SOURCES "")
foreach(line IN LISTS NEST_FORMAT_TABLE)
	string(REGEX REPLACE " +" ";" field "${line}")
	list(GET field 0 name)
	list(GET field 1 symbol)
	list(GET field 2 stage)
	list(GET field 3 file)
	list(APPEND known ${name})
	if("all" IN_LIST NEST_FORMATS OR name IN_LIST NEST_FORMATS)
		list(APPEND symbols "&${symbol}")
		string(TOUPPER ${stage} stage)
		list(APPEND NEST_${stage}_SOURCES ${file})
	endif()
endforeach()
list(REMOVE_DUPLICATES NEST_STAGE1_SOURCES)
list(REMOVE_DUPLICATES NEST_STAGE2_SOURCES)
list(JOIN symbols "," NEST_FORMAT_LIST)

set(unknown ${NEST_FORMATS})
list(REMOVE_ITEM unknown all ${known})
if(unknown)
	list(JOIN known " " known)
	message(FATAL_ERROR "NEST_FORMATS: unknown format: ${unknown}\nKnown formats: all ${known}")
endif()
if(NOT symbols)
	message(FATAL_ERROR "NEST_FORMATS is empty: name at least one format, or all")
endif()
