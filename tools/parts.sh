# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # $command is set by run
#
# The parts of ./run test and ./run lint: each prints one line, and writes the rest into a log.

# Name, sets that it belongs to, minutes on two quiet CPUs, what it does.
test_parts() {
	cat <<-'END'
	model       quick,all  0.4  shared mode: every interleaving of two calls on two CPUs, by spin
	unit        quick      1.6  gcc: the quick unit tests
	adversary   quick      0.5  gcc: the worst TLB, some formats, builds for size
	fuzz        all        2    fuzz targets: the seeds and the inputs of past findings
	walkers     quick      0.6  page walkers of two emulated machines, a short campaign
	builds      quick,all  2    the library as users build it: gcc -O3, and two other builds
	stress      quick      0.1  gcc: threads that fault in one VM
	gcc         all        5    gcc: every test
	clang       all        3    clang-19: every test but bare metal, and what `builds-rest` has
	asan        all        5    address and undefined-behaviour sanitizers
	tsan        all        3    thread sanitizer: shared mode
	coverage    all        4    lines and branches that the tests reach
	walkers-all all        2    page walkers of all emulated machines, a short campaign
	builds-rest all        15   the library as users build it: every other build
	END
}

lint_parts() {
	cat <<-'END'
	clang-format  all  0  layout
	clang-tidy    all  3  clang's analysis
	cppcheck      all  1  cppcheck, and MISRA C:2012
	analyzer      all  1  gcc -fanalyzer, and warnings
	shellcheck    all  0  shell scripts
	END
}

# What takes a minute and more; ./run test leaves these unit tests to ./run test all.
slow_tests='^(test_pt_sweep|test_pt_resume|test_toy)$'

help_test() {
	cat <<-END
	usage: ./run test [OPTION...] [PART...]

	Build and test. Without a PART: the quick ones, which take about 7 minutes on two CPUs.
	"all": everything, which takes about 45 minutes. The last line is "N passed, N failed".
	Logs are in build/logs.

	  --list        print the parts and the minutes they take
	  --fail-fast   stop at the first failure
	  --skip PART   leave out a part (may be repeated); of \`gcc\` what unit, adversary, stress run
	  -R PATTERN    only the parts that ctest runs, and of these the tests whose name matches

	  NEST_TIMEOUT_SCALE=N  in the environment: multiply all time limits by N (default: one more
	                        than the number of processes that wait for each CPU)
	END
}

help_lint() {
	cat <<-END
	usage: ./run lint [--list] [--fail-fast] [CHECKER...]

	Check the sources, by all checkers or by those named:

	$(lint_parts | sed -E 's/^([^ ]+ +)[^ ]+ +[^ ]+ +/  \1/')
	END
}

# choose SET WORD...: from the arguments of the command; sets $parts and the options.
choose() {
	default=$1
	shift
	parts='' skipped='' fail_fast='' pattern=''
	while [ $# -gt 0 ]; do
		case $command,$1 in
		*,--list)
			"${command}_parts" | sed -E 's/^([^ ]+) +([^ ]+) +([^ ]+) +(.*)/\1 \3 \4/' |
				while read -r name minutes what; do
					printf '%-13s %4s min  %s\n' "$name" "$minutes" "$what"
				done
			exit
			;;
		*,--fail-fast) fail_fast=yes ;;
		test,--skip | test,-R)
			[ $# -ge 2 ] || wrong "$1 needs a value"
			if [ "$1" = -R ]; then
				pattern=$2
			else
				is_part "$2" || wrong "unknown part: $2"
				skipped="$skipped $2 "
			fi
			shift
			;;
		*,-*) wrong "unknown option: $1" ;;
		*,all) parts="$parts $(set_of all)" ;;
		*)
			is_part "$1" || wrong "unknown part: $1"
			parts="$parts $1"
			;;
		esac
		shift
	done
	[ -n "$parts" ] || parts=$(set_of "$default")
	kept=
	for part in $parts; do
		case $skipped${pattern:+ model  fuzz  walkers  walkers-all  builds  builds-rest } in
		*" $part "*) ;;
		*) kept="$kept $part" ;;
		esac
	done
	parts=$kept
}

is_part() {
	"${command}_parts" | grep -q "^$1 "
}

# set_of SET: names of its parts.
set_of() {
	"${command}_parts" | while read -r name sets _; do
		case ,$sets, in
		*,"$1",*) printf '%s ' "$name" ;;
		esac
	done
}

# needs_of PART: the groups of tools/packages.sh that it needs.
needs_of() {
	case $1 in
	model | fuzz) echo "$1" ;;
	walkers) echo sample ;;
	walkers-all) echo walkers ;;
	builds*) echo tests builds ;;
	gcc) echo tests gcc ;;
	asan | tsan) echo tests sanitizers ;;
	coverage) echo tests coverage ;;
	*) echo tests ;;
	esac
}

run_test() {
	choose quick "$@"
	# The sample of builds differs by run, and `builds-rest` has what it leaves out.
	: "${NEST_BUILDS_SEED:=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}"
	export NEST_BUILDS_SEED
	groups=
	for part in $parts; do
		groups="$groups $(needs_of "$part")"
	done
	# shellcheck disable=SC2086 # words
	ensure $groups
	run_parts
	[ -z "$pattern" ] || [ $((passed + failed)) -gt 0 ] || wrong "no test matches $pattern"
	printf '\n%d passed, %d failed\n' "$passed" "$failed"
	[ "$failed" -eq 0 ]
}

run_lint() {
	choose all "$@"
	ensure lint
	run_parts
	[ "$failed" -eq 0 ] || echo "run: checkers that found something: $failed"
	[ "$failed" -eq 0 ]
}

# ---- Running parts ----

# Run $parts; each adds to $passed and $failed. At the end: what failed, and how to repeat it.
run_parts() {
	passed=0 failed=0 failures='' number=0
	# shellcheck disable=SC2086 # words
	count=$(set -- $parts && echo $#)
	fixed_scale=${NEST_TIMEOUT_SCALE-}
	is_number "${fixed_scale:-1}" || wrong "NEST_TIMEOUT_SCALE is not a number: $fixed_scale"
	mkdir -p build/logs
	for part in $parts; do
		number=$((number + 1))
		log=build/logs/$part.log
		: >"$log"
		[ -n "$fixed_scale" ] || NEST_TIMEOUT_SCALE=$(timeout_scale)
		export NEST_TIMEOUT_SCALE
		printf '[%d/%d] %s: %s ... ' "$number" "$count" "$part" "$(what_of "$part")"
		begin=$(date +%s)
		passed_before=$passed failed_before=$failed
		"part_$command"
		verdict
		[ "$failed" -eq "$failed_before" ] || [ -z "$fail_fast" ] || break
	done
	[ -z "$failures" ] || printf '\nFailed, and the command that repeats it:\n%s' "$failures"
}

# Say how the part has ended.
verdict() {
	seconds=$(($(date +%s) - begin))
	bad=$((failed - failed_before))
	printf '%d passed, %d failed (%d:%02d)\n' $((passed - passed_before)) "$bad" \
		$((seconds / 60)) $((seconds % 60))
	[ "$bad" -gt 0 ] || return 0
	failures=$failures$(repeats | sed 's/^/  /')'
'
	findings | sed 's/^/    | /'
	echo "    log: $log"
}

# The commands that repeat what has failed: those that the log names, or that of the part.
repeats() {
	if [ -f "$results" ] && [ -n "$(failed_tests)" ]; then
		failed_tests | sed -e 's/[+.]/\\&/g' -e "s/.*/.\/run test $part -R '^&\$'/"
	elif ! sed -n -e 's/^.*again\( by\)\{0,1\}: //p' -e '/again with$/{n;s/^ *//p;}' "$log" |
		grep .; then
		echo "./run $command $part"
	fi
}

# What of the log to show.
findings() {
	case $part in
	clang-tidy) grep -Ev '^\$ |^\[ *[0-9]+/|^[0-9]+ warnings? |^Suppressed |^Use -|^$' "$log" ;;
	*) tail -n 40 "$log" ;;
	esac
}

what_of() {
	"${command}_parts" | sed -En "s/^$1 +[^ ]+ +[^ ]+ +//p"
}

# one COMMAND...: it counts as one that passed or failed.
one() {
	if step "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
}

# total COMMAND...: its last line is "N passed, N failed"; without, it counts as one that failed.
total() {
	step "$@" || true
	line=$(tail -n 1 "$log" | grep -Ex '[0-9]+ passed, [0-9]+ failed') || line='0 passed, 1 failed'
	passed=$((passed + ${line%% *}))
	line=${line#*, }
	failed=$((failed + ${line%% *}))
}

# number_of WORD: the number at WORD in ctest's summary of a run.
number_of() {
	sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$results" | head -n 1
}

failed_tests() {
	sed -n 's/.*<testcase name="\([^"]*\)".* status="\(fail\|notrun\)".*/\1/p' "$results"
}

# tests PRESET TARGETS CTEST_OPTION...: configure, build the targets (all if empty), run ctest. What
# cannot be built counts as one that failed.
tests() {
	preset=$1 targets=$2
	shift 2
	results=$PWD/build/logs/$part.xml
	[ -z "$pattern" ] || set -- "$@" -R "$pattern" --no-tests=ignore
	[ -z "$fail_fast" ] || set -- "$@" --stop-on-failure
	# shellcheck disable=SC2086 # words
	if step cmake --preset "$preset" &&
		step cmake --build --preset "$preset" -j "$(nproc)" ${targets:+--target $targets}; then
		step ctest --preset "$preset" -j "$(nproc)" --output-junit "$results" \
			--timeout $((900 * NEST_TIMEOUT_SCALE)) "$@" || true
	fi
	if [ -f "$results" ]; then
		bad=$(($(number_of failures) + $(number_of skipped)))
		failed=$((failed + bad))
		passed=$((passed + $(number_of tests) - bad))
	else
		failed=$((failed + 1))
	fi
}

# ---- The parts ----

part_test() {
	results=
	rm -f "build/logs/$part.xml"
	case $part in
	model) one sh tests/spin/check.sh 2 build/spin ;;
	unit)
		tests gcc "$(cd tests/unit && printf '%s ' test_*.c | sed 's/\.c / /g')" \
			-E "$slow_tests" -R '^test_'
		;;
	adversary) tests gcc 'adversary_small adversary_entrywise' -R '^adversary_(small|entrywise)_' ;;
	stress) tests gcc stress_faults -R '^stress_faults$' ;;
	gcc)
		# shellcheck disable=SC2046 # one option, or none
		tests gcc '' $(without_skipped)
		;;
	clang | asan | tsan) tests "$part" '' ;;
	coverage)
		tests coverage ''
		[ -n "$pattern" ] || one cmake --build --preset coverage-report
		;;
	fuzz) total python3 tests/fuzz/fuzz.py --replay ;;
	walkers)
		total python3 tests/emulator/walkers.py --seed 1 --operations 500 \
			aarch64 x86-npt
		;;
	walkers-all) total python3 tests/emulator/walkers.py --seed 1 --operations 2000 ;;
	builds) total python3 tests/builds/builds.py --short ;;
	builds-rest) total python3 tests/builds/builds.py --rest ;;
	esac
}

# The option that leaves out of ctest what the skipped parts run.
without_skipped() {
	left_out=
	case $skipped in *' unit '*)
		left_out=$(cd tests/unit && printf '%s\n' test_*.c | sed 's/\.c$//' |
			grep -Ev "$slow_tests" | paste -sd'|')
		;;
	esac
	case $skipped in *' adversary '*) left_out="$left_out|adversary_(small|entrywise)_.*" ;; esac
	case $skipped in *' stress '*) left_out="$left_out|stress_faults" ;; esac
	left_out=${left_out#|}
	[ -z "$left_out" ] || echo "-E ^($left_out)$"
}

sources() {
	find include core stage2 arch hv_glue tests examples -name '*.[ch]'
}

part_lint() {
	results=
	# shellcheck disable=SC2046 # no name below these folders has a blank
	case $part in
	clang-format) one clang-format-19 --dry-run -Werror $(sources) ;;
	clang-tidy)
		one sh -c "cmake --preset tidy >/dev/null && run-clang-tidy-19 -quiet -p build/tidy -j $(nproc)"
		;;
	cppcheck)
		# Its files would be beside the sources. Afresh, or it would skip what has not changed.
		rm -rf build/cppcheck
		mkdir build/cppcheck
		# Suppressed: a request points to its call's own gather; members are set as the engine goes.
		one cppcheck --quiet --error-exitcode=1 --std=c11 --cppcheck-build-dir=build/cppcheck \
			--enable=warning,performance,portability --addon=misra --suppressions-list=.misra \
			--suppress=missingIncludeSystem --suppress=autoVariables --suppress=ctuuninitvar \
			-UNEST_STORE_HOOK -UNEST_BEFORE_STORE_HOOK -I include -I . \
			core stage2 arch hv_glue
		;;
	analyzer)
		# From scratch: what is up to date prints no warning.
		one sh -c 'cmake --preset analyzer && cmake --build --preset analyzer --clean-first'
		;;
	shellcheck) one shellcheck run .ci/run $(find tools tests examples cmake -name '*.sh') ;;
	esac
}
