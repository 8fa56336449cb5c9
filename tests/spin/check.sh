#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Check shared.pml exhaustively: check.sh [CALLS of each CPU, default 2] [DIRECTORY for files]
# Then with one call of the one CPU beside three of the other; and last by a rule that is wrong,
# where an error has to be found.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
calls=${1:-2}
dir=${2:-$(mktemp -d)}
mkdir -p "$dir"
cd "$dir"

# explore CALLS0 CALLS1 [OPTION...]: what pan says is in pan.out
explore() {
	echo "calls: $*"
	spin -DOPS0="$1" -DOPS1="$2" ${3:+"$3"} -a "$here/shared.pml"
	cc -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c
	# -m: depth; the walker can always go on. -n: no list of code that was not reached.
	./pan -m2000000 -n >pan.out || true
	grep -E 'errors:|states, stored|assertion|error: max' pan.out
}

sound() {
	explore "$@"
	grep -q 'errors: 0' pan.out && ! grep -q 'max search depth' pan.out
}

sound "$calls" "$calls"
sound 1 3
explore 1 3 -DPAGE_BY_PAGE
grep -q 'assertion violated' pan.out
