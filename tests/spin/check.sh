#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Check shared.pml exhaustively: check.sh [CALLS of each CPU, default 2] [DIRECTORY for files]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
calls=${1:-2}
dir=${2:-$(mktemp -d)}
mkdir -p "$dir"
cd "$dir"
spin -DOPS="$calls" -a "$here/shared.pml"
cc -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c
# -m: depth; the walker can always go on. -n: no list of code that was not reached.
./pan -m2000000 -n >pan.out || true
grep -E 'errors:|states, stored|assertion|error: max' pan.out
grep -q 'errors: 0' pan.out && ! grep -q 'max search depth' pan.out
