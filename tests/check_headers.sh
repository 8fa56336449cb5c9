#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check_headers.sh HEADER... -- COMPILER...: each header must compile alone, and twice.
set -u

headers=
while [ "$1" != -- ]; do
	headers="$headers $1"
	shift
done
shift

failed=0
for header in $headers; do
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" | "$@" || {
		echo "check_headers: $header does not compile" >&2
		failed=1
	}
done
[ -n "$headers" ] && exit $failed
