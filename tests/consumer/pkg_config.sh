#!/bin/sh
# SPDX-License-Identifier: MIT
#
# pkg_config.sh DIRECTORY COMPILER...: run the compiler with what DIRECTORY/nest.pc says.
set -eu

PKG_CONFIG_PATH=$1
export PKG_CONFIG_PATH
shift
flags=$(pkg-config --static --cflags --libs nest)
# The flags are quoted for a shell: a path may have a blank.
eval "exec \"\$@\" $flags"
