#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boot Debian's own arm64 kernel as the guest of the hypervisor in this folder, on QEMU, and check
# that all went well: see usage() below and README.md. Everything it makes is under build/demo;
# packages come from the apt sources of this machine, by name.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
work=$top/build/demo
cpu=max,pauth-impdef=on
page=0x200000
ram=0x20000000
limit=180

usage() {
	cat <<-END
	usage: demo.sh [--cpu MODEL] [--page BYTES] [--timeout SECONDS]

	Fetches a kernel, busybox and libfdt for arm64 with apt (once), builds the hypervisor, boots the
	kernel as its guest in QEMU, and ends with status 0 if the guest reached user space, powered
	off, and every table and frame came back.

	  --cpu MODEL        QEMU's CPU model ($cpu); neoverse-n1, cortex-a72 and
	                     cortex-a53 have fewer features
	  --page BYTES       the largest piece of RAM to give at a time ($page); 0x1000 gives
	                     single pages
	  --timeout SECONDS  how long the guest may run ($limit)
	END
}

fail() {
	echo "demo: $*" >&2
	exit 1
}

# wrong TEXT: end because of a wrong argument.
wrong() {
	echo "demo: $1; see --help" >&2
	exit 2
}

say() {
	echo "==> $*"
}

need() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null || fail "$tool is not installed; './run demo' installs what is needed"
	done
}

# apt for arm64, with lists and packages in the work folder and the sources and keys of this machine.
apt_setup() {
	mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/deb/partial"
	: >"$work/apt/status"
	cat >"$work/apt/apt.conf" <<-END
	APT::Architecture "arm64";
	APT::Architectures { "arm64"; };
	APT::Sandbox::User "root";
	APT::Update::Error-Mode "any";
	Acquire::Languages "none";
	Acquire::Retries "3";
	Dir::State "$work/apt";
	Dir::State::status "$work/apt/status";
	Dir::Cache "$work/apt/cache";
	END
	if ! apt-get -q -c "$work/apt/apt.conf" update; then
		echo "demo: cannot refresh the package lists (no network?); trying what is here" >&2
	fi
}

# Print the name of the newest kernel package.
newest_kernel() {
	apt-cache -c "$work/apt/apt.conf" show --no-all-versions linux-image-cloud-arm64 2>/dev/null |
		sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p'
}

# Make $work/deb hold the newest version of a package; add its file's name to $files.
fetch() {
	file=$(cd "$work/deb/partial" &&
		apt-get -c "$work/apt/apt.conf" download --print-uris "$1" |
		sed -n "s/^'[^']*' \([^ ]*\.deb\) .*/\1/p")
	[ -n "$file" ] || fail "no package $1 for arm64 in this machine's apt sources"
	if [ ! -f "$work/deb/$file" ]; then
		(cd "$work/deb/partial" && apt-get -q -c "$work/apt/apt.conf" download "$1") ||
			fail "cannot download $1 (no network?)"
		mv "$work/deb/partial/$file" "$work/deb/$file"
	fi
	files="$files $file"
}

# Unpack the packages afresh when they are others than last time.
unpack() {
	[ "$files" != "$(cat "$work/unpacked" 2>/dev/null)" ] || return 0
	rm -rf "$work/root"
	for file in $files; do
		dpkg-deb -x "$work/deb/$file" "$work/root"
	done
	echo "$files" >"$work/unpacked"
}

build() {
	cmake -S "$here" -B "$work/image" -G Ninja \
		--toolchain "$top/cmake/toolchain-aarch64.cmake" -DCMAKE_BUILD_TYPE=Release \
		-DNEST_LIBFDT_INCLUDE_DIR="$work/root/usr/include" \
		-DLIBFDT_ARCHIVE="$work/root/usr/lib/aarch64-linux-gnu/libfdt.a" >"$work/cmake.log" ||
		fail "configuring failed; see $work/cmake.log"
	cmake --build "$work/image" || fail "building failed"
	python3 "$here/mkinitramfs.py" "$work/root/bin/busybox" "$work/initramfs.cpio"
}

# Boot; the console goes to the terminal and to console.log, QEMU's status to the file of that name.
boot() {
	kernel_size=$(wc -c <"$1" | tr -d ' ')
	initrd_size=$(wc -c <"$2" | tr -d ' ')
	{
		status=0
		timeout --foreground -k 5 "$limit" qemu-system-aarch64 \
			-M virt,virtualization=on,gic-version=3 -cpu "$cpu" -m 1G \
			-nic none -display none -monitor none -serial stdio -no-reboot \
			-semihosting-config enable=on,target=native \
			-kernel "$work/image/hypervisor.bin" \
			-device "loader,file=$1,addr=0x44000000,force-raw=on" \
			-device "loader,file=$2,addr=0x47000000,force-raw=on" \
			-append "kernel=0x44000000,$kernel_size initrd=0x47000000,$initrd_size ram=$ram page=$page -- console=ttyAMA0 earlycon=pl011,0x09000000 panic=-1" \
			</dev/null 2>&1 || status=$?
		echo "$status" >"$work/status"
	} | tee "$work/console.log"
}

# expect WHAT PATTERN: the console must have a line that is PATTERN as a whole.
expect() {
	tr -d '\r' <"$work/console.log" | grep -aEqx "$2" || fail "missing on the console: $1"
}

verify() {
	status=$(cat "$work/status")
	case $status in
	0) ;;
	124 | 137) fail "the guest has not powered off within $limit seconds" ;;
	*) fail "the machine ended with status $status" ;;
	esac
	expect "INIT-OK with the version $version" "INIT-OK $version"
	expect "the guest's MemTotal" "MemTotal: +[0-9]+ kB"
	expect "the guest's power-off" ".*reboot: Power down"
	expect "the number of stage-2 faults" "host: stage-2 faults: [1-9][0-9]* .*"
	expect "pages by size" "host: pages of [0-9]+ KiB: [1-9].*"
	expect "the tables used" "host: tables used: [1-9][0-9]* .*"
	expect "the layout" "host: final layout:"
	expect "the refusal to map protected memory" "host: mapping [0-9a-f]+: protected host memory"
	expect "the tables' return" "host: tables outstanding: 0, wrongly given back: 0"
	expect "the frames' return" "host: frames outstanding: 0, wrongly given back: 0"
	expect "the hypervisor's verdict" "host: OK: .*"
	memory=$(tr -d '\r' <"$work/console.log" | sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p')
	given=$((ram / 1024))
	if [ "$memory" -gt "$given" ] || [ "$memory" -lt $((given * 3 / 4)) ]; then
		fail "MemTotal is $memory kB, of $given kB given"
	fi
}

while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--cpu | --page | --timeout)
		[ $# -ge 2 ] || wrong "$1 needs a value"
		case $1 in
		--cpu) cpu=$2 ;;
		--page) page=$2 ;;
		--timeout)
			case $2 in
			'' | *[!0-9]*) wrong "not a number of seconds: $2" ;;
			esac
			limit=$2
			;;
		esac
		shift 2
		;;
	*) wrong "unknown argument: $1" ;;
	esac
done
[ -z "${NEST_CHECK_ARGUMENTS-}" ] || exit 0
limit=$((limit * ${NEST_TIMEOUT_SCALE:-1}))

need apt-get apt-cache dpkg-deb cmake ninja clang-19 ld.lld-19 qemu-system-aarch64 python3 timeout

say "fetching the guest's packages"
apt_setup
kernel=$(newest_kernel)
[ -n "$kernel" ] || fail "no linux-image-cloud-arm64 in the apt sources: no network, or not Debian's"
version=${kernel#linux-image-}
files=
fetch "$kernel"
fetch busybox-static
fetch libfdt-dev
unpack

say "building the hypervisor"
build

say "booting $version as a guest on QEMU's $cpu"
boot "$work/root/boot/vmlinuz-$version" "$work/initramfs.cpio"
verify
say "OK: the guest ran, and everything it was given came back"
