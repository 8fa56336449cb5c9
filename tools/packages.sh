# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # $command is set by run
#
# What the commands of ./run need, and how it is installed. A need is met by the tool itself, whatever
# package or version it came from. Nothing here ever removes a package.

# Set by --yes: install without a question.
assume_yes=
# Seconds to wait for another package manager.
lock_wait=${NEST_LOCK_WAIT-600}

# Each line: the Debian package, what shows that the need is met, the groups that have the need.
# The second column is a program, an <include file>, or a function of this file with "()".
# Versions: the CMake presets and toolchains call clang and LLVM by the names that end in -19.
needs() {
	cat <<-'END'
	spin                   spin                     model
	gcc                    gcc                      model tests bench size lint
	libc6-dev              <stdio.h>                model tests bench fuzz lint
	cmake                  cmake                    tests bench fuzz sample walkers demo lint
	ninja-build            ninja                    tests bench fuzz sample walkers demo lint
	python3                python3                  python tests bench fuzz sample walkers size demo lint
	clang-19               clang-19                 tests bench fuzz sample walkers size demo lint
	llvm-19                llvm-objcopy-19          tests bench fuzz sample walkers size demo
	lld-19                 ld.lld-19                gcc builds sample walkers size demo
	libclang-rt-19-dev     sanitizers()             sanitizers fuzz
	pkg-config             pkg-config               tests bench
	libcmocka-dev          <cmocka.h>               tests bench
	libfdt-dev             <libfdt.h>               tests fuzz lint
	qemu-system-arm        qemu-system-aarch64      tests sample walkers demo
	qemu-system-misc       qemu-system-riscv64      tests walkers
	qemu-system-misc       qemu-system-loongarch64  walkers
	qemu-system-x86        qemu-system-x86_64       sample walkers
	bochs                  bochs                    walkers
	bochs-term             bochs_term()             walkers
	g++                    g++                      gcc
	valgrind               valgrind                 gcc
	gcovr                  gcovr                    coverage
	gcc-aarch64-linux-gnu  aarch64-linux-gnu-gcc    size sample walkers
	gcc-riscv64-linux-gnu  riscv64-linux-gnu-gcc    size sample walkers
	ca-certificates        certificates()           demo
	clang-format-19        clang-format-19          lint
	clang-tidy-19          run-clang-tidy-19        lint
	cppcheck               cppcheck                 lint
	shellcheck             shellcheck               lint
	END
}

sanitizers() {
	echo 'int main(void) { return 0; }' |
		clang-19 -fsanitize=address,undefined -x c - -o /dev/null
}

bochs_term() {
	for file in /usr/lib/*/bochs/plugins/libbx_term_gui.so \
		/usr/lib/bochs/plugins/libbx_term_gui.so \
		/usr/local/lib/bochs/plugins/libbx_term_gui.so; do
		[ ! -e "$file" ] || return 0
	done
	return 1
}

certificates() {
	[ -e /etc/ssl/certs/ca-certificates.crt ]
}

# includes '<FILE>': does a compiler find it? Without a compiler: is it where compilers look?
includes() {
	for compiler in gcc clang-19 cc; do
		if command -v "$compiler"; then
			echo "#include $1" | "$compiler" -E -
			return
		fi
	done
	file=${1#<}
	[ -e "/usr/include/${file%>}" ] || [ -e "/usr/local/include/${file%>}" ]
}

# has NEED, as in the second column.
has() {
	case $1 in
	*'()') "${1%'()'}" ;;
	'<'*) includes "$1" ;;
	*) command -v "$1" ;;
	esac </dev/null >/dev/null 2>&1
}

# missing GROUP...: the lines of the table that are not met. The group "all" stands for all groups.
missing() {
	needs | while read -r package need groups; do
		for group in "$@"; do
			case " $groups all " in
			*" $group "*)
				has "$need" || echo "$package $need"
				break
				;;
			esac
		done
	done
}

# give_up LINE...: nothing can be installed; say why, and what to do.
give_up() {
	printf 'run: %s\n' "$1" >&2
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" >&2
	exit 1
}

# ensure GROUP...: install what the groups lack, or end.
ensure() {
	lacking=$(missing "$@")
	[ -n "$lacking" ] || return 0
	packages=$(echo "$lacking" | cut -d ' ' -f 1 | sort -u | tr '\n' ' ')
	packages=${packages% }
	{
		echo "run: ./run $command needs these packages, which are not installed:"
		echo "$lacking" | while read -r package need; do
			printf '  %-22s for %s\n' "$package" "$need"
		done
	} >&2
	by_hand="apt-get install --no-install-recommends $packages"
	[ "${NEST_NO_INSTALL:-0}" = 0 ] ||
		give_up 'NEST_NO_INSTALL is set, so nothing is installed'
	has apt-get || give_up 'this system has no apt-get' \
		'install what the list names with your own package manager, then run this again'
	sudo=
	if [ "$(id -u)" -ne 0 ]; then
		has sudo || give_up 'installing needs root, and there is no sudo; as root, run' \
			"  $by_hand" 'then run this again'
		sudo=sudo
	fi
	ask || give_up 'nothing is installed; to do it yourself, run as root' "  $by_hand"
	[ -z "$sudo" ] || sudo -v || give_up 'sudo does not let you install; as root, run' \
		"  $by_hand" 'then run this again'
	install_packages
	lacking=$(missing "$@")
	[ -z "$lacking" ] || give_up 'the packages are installed, but these are still not found:' \
		"$(echo "$lacking" | sed 's/\([^ ]*\) \(.*\)/  \2 of package \1/')"
}

# On a terminal: ask whether to install. No answer is a no.
ask() {
	[ -z "$assume_yes" ] && [ "${CI-}" != true ] && [ -t 0 ] && [ -t 2 ] || return 0
	printf 'run: install them now? [y/N] ' >&2
	read -r answer || answer=
	case $answer in
	[yY] | [yY][eE][sS]) ;;
	*) return 1 ;;
	esac
}

install_packages() {
	mkdir -p build/logs
	apt_log=build/logs/apt.log
	: >"$apt_log"
	echo "run: installing (details: $apt_log)" >&2
	apt update -q || {
		reasons
		echo 'run: the package lists cannot be refreshed; trying with the old ones' >&2
	}
	# shellcheck disable=SC2086 # $packages is words
	apt -s install --no-install-recommends $packages || cannot_install
	removed=$(sed -n 's/^Remv \([^ ]*\).*/  \1/p' "$apt_output")
	[ -z "$removed" ] || give_up 'installing them would remove these packages:' "$removed" \
		'nothing is installed or removed; decide yourself, as root:' "  $by_hand"
	# shellcheck disable=SC2086
	apt install --no-remove -y -q --no-install-recommends $packages || cannot_install
	echo 'run: installed' >&2
}

cannot_install() {
	reasons
	give_up "installing failed; see $apt_log"
}

# What apt-get gave as reasons.
reasons() {
	grep '^[EW]:' "$apt_output" | sed 's/^/  /' >&2 || tail -n 5 "$apt_output" >&2
}

# apt ARGUMENT...: apt-get, as root. While another one holds a lock, wait.
apt() {
	apt_output=build/logs/apt-last.log
	waited=0
	while ! $sudo env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$apt_output" 2>&1; do
		cat "$apt_output" >>"$apt_log"
		grep -Eq '(Could not get|Unable to acquire the dpkg frontend) lock' "$apt_output" || return
		[ "$waited" -gt 0 ] ||
			echo "run: another package manager is at work; waiting for it, at most $lock_wait s" >&2
		[ "$waited" -lt "$lock_wait" ] || return
		sleep 2
		waited=$((waited + 2))
	done
	cat "$apt_output" >>"$apt_log"
}
