# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # $log is set by the callers
#
# Programs that ./run starts. Each runs in a session of its own, so that one signal to ./run ends it
# and everything that it has started, process groups of their own included.

# The session of the program that runs now.
session=

# heed_interrupts ARGUMENT...: a shell starts background commands with Ctrl-C ignored, which cannot
# be undone from within. If that is so, begin again with the signals as usual.
heed_interrupts() {
	case $(sed -n 's/^SigIgn:.*\(.\)$/\1/p' /proc/self/status) in
	[2367abef])
		if env --default-signal=INT,QUIT true 2>/dev/null; then
			exec env --default-signal=INT,QUIT ./run "$@"
		fi
		;;
	esac
	for signal in INT TERM HUP; do
		# shellcheck disable=SC2064 # this signal
		trap "interrupted $signal" "$signal"
	done
}

# End all that runs; then die of the same signal, so that a calling script ends, too.
interrupted() {
	trap '' INT TERM HUP
	[ -z "$session" ] || end_session
	printf '\nrun: ended by SIG%s\n' "$1" >&2
	trap - "$1"
	kill -s "$1" $$
}

# The processes of the session that still run: pid (name) state parent group session ...
members() {
	cat /proc/[0-9]*/stat 2>/dev/null |
		sed -n "s/^\([0-9]*\) (.*) [^ZX] [0-9]* [0-9]* $session .*/\1/p"
}

# Ask all of them to end; after 3 s, end them.
end_session() {
	tries=0
	while pids=$(members) && [ -n "$pids" ]; do
		signal=TERM
		[ "$tries" -lt 30 ] || signal=KILL
		if [ "$tries" -eq 0 ] || [ "$signal" = KILL ]; then
			# shellcheck disable=SC2086 # words
			kill -s "$signal" $pids 2>/dev/null || true
		fi
		[ "$tries" -lt 100 ] || break
		tries=$((tries + 1))
		sleep 0.1
	done
}

# supervise COMMAND...: run it in a session of its own; its status.
supervise() {
	setsid "$@" </dev/null &
	session=$!
	status=0
	wait "$session" || status=$?
	session=
	return "$status"
}

# step COMMAND...: the same, with its output at the end of $log.
step() {
	printf '$ %s\n' "$*" >>"$log"
	supervise "$@" >>"$log" 2>&1
}

# How much longer a time limit must be: the processes that want a CPU, for each CPU.
timeout_scale() {
	read -r load _ </proc/loadavg
	echo $((1 + ${load%.*} / $(nproc)))
}
