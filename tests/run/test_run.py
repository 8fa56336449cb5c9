#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of ./run itself, in a copy of its files below a path with a blank.

PATH has a few of the system's programs and fakes of apt-get, sudo and compilers, so nothing is
installed, built or fetched. usage: test_run.py [TEST...]
"""
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = "setup test walkers model fuzz bench size demo lint".split()
FILES = ("run tools/packages.sh tools/jobs.sh tools/parts.sh cmake/sources.cmake "
         "tests/emulator/walkers.py tests/fuzz/fuzz.py tests/size/size.py "
         "examples/hypervisor/demo.sh").split()
BASE = ("sh env sed grep dirname cat cut sort tr head tail date mkdir rm sleep id setsid nproc true "
        "find wc chmod").split()
LIMIT = 60

# What it does is in files beside it: `locked`, so many calls find the lock held; `removes`, what an
# installation would remove; `fails`, its error. It installs by making the program.
APT_GET = """\
cd "$(dirname "$0")/../apt"
echo "$*" >>calls
locked=$(cat locked)
if [ "$locked" -gt 0 ]; then
	echo $((locked - 1)) >locked
	echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt)' >&2
	exit 100
fi
case " $* " in
*' -s '*) [ ! -e removes ] || echo "Remv $(cat removes) [12.2.0-14]" ;;
*' install '*)
	if [ -e fails ]; then
		cat fails >&2
		exit 100
	fi
	for package; do
		printf '#!/bin/sh\\n' >"../bin/$package"
	done
	chmod +x ../bin/*
	;;
esac
"""
# A program that ignores requests to end, in a process group of its own.
SPIN_CHECK_SLEEPS = """\
(trap '' TERM INT; echo stubborn; exec sleep 1001) &
timeout 1002 sleep 1003 &
touch started
wait
"""


class Run(unittest.TestCase):
    """./run in a world of its own."""

    def setUp(self):
        self.world = pathlib.Path(tempfile.mkdtemp(prefix="nest run "))
        self.addCleanup(shutil.rmtree, self.world)
        self.tree, self.bin, self.apt = (self.world / d for d in ("lib nest", "bin", "apt"))
        self.bin.mkdir()
        self.apt.mkdir()
        for name in FILES:
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, self.tree / name)
        for name in BASE:
            (self.bin / name).symlink_to(shutil.which(name))
        self.program("apt-get", APT_GET)
        self.program("gcc", "cat >/dev/null")
        self.program("id", "echo 0")
        (self.apt / "locked").write_text("0")
        (self.apt / "calls").touch()
        self.file("tests/spin/check.sh", "echo checked")

    def program(self, name, text):
        """Put a shell script into PATH."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text("#!/bin/sh\n" + text + "\n")
        path.chmod(0o755)

    def real(self, *names):
        """Put programs of the system into PATH."""
        for name in names:
            (self.bin / name).symlink_to(shutil.which(name))

    def file(self, name, text):
        """Put a file into the tree."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def environment(self, **more):
        """Of ./run."""
        return {"PATH": str(self.bin), "HOME": str(self.world), **more}

    def run_it(self, *arguments, **environment):
        """Without a terminal; returns status and output."""
        done = subprocess.run([self.tree / "run", *arguments], env=self.environment(**environment),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=False)
        return done.returncode, done.stdout

    def on_terminal(self, typed, *arguments, after="[y/N]", **environment):
        """On a terminal, typing once `after` is printed; returns status and output."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(self.tree / "run", ["run", *arguments], self.environment(**environment))
        output, end = "", time.monotonic() + LIMIT
        while True:
            if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
                os.kill(pid, signal.SIGKILL)
                break
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            output += data.decode()
            if typed and after in output:
                os.write(terminal, typed.encode())
                typed = ""
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output

    def calls(self):
        """Of apt-get, a line each."""
        return (self.apt / "calls").read_text().splitlines()

    def installs(self):
        """Calls of apt-get that would change the system."""
        return [call for call in self.calls() if "install" in call and "-s" not in call.split()]

    def everything(self):
        """Every file of the tree."""
        return sorted(self.tree.rglob("*"))


class Arguments(Run):
    """They are looked at first."""

    def test_help_does_nothing_else(self):
        for with_python in (False, True):
            if with_python:
                self.real("python3")
            before = self.everything()
            for words in [["--help"], ["-h"], ["help"],
                          *([c, h] for c in COMMANDS for h in ("--help", "-h")),
                          *(["help", c] for c in COMMANDS), ["test", "all", "--help"]]:
                with self.subTest(words=words, with_python=with_python):
                    status, output = self.run_it(*words)
                    self.assertEqual(status, 0, output)
                    self.assertTrue(output.startswith("usage: "), output)
            self.assertEqual(self.everything(), before)
            self.assertEqual(self.calls(), [])

    def test_help_names_every_command(self):
        _, output = self.run_it("--help")
        self.assertEqual(sorted(re.findall(r"^  ([a-z]+)  ", output, re.M)), sorted(COMMANDS))

    def test_unknown_words_are_named(self):
        self.real("python3")
        before = self.everything()
        for words, named in [(["frobnicate"], "frobnicate"), (["--frob"], "--frob"),
                             (["test", "--skip"], "--skip"), (["model", "2", "frob"], "frob"),
                             (["bench", "--rounds", "frob"], "frob"), (["test", "-R"], "-R"),
                             (["size", "--isa", "frob"], "frob"),
                             *(([c, "frob"], "frob") for c in COMMANDS),
                             *(([c, "--frob"], "--frob") for c in COMMANDS)]:
            with self.subTest(words=words):
                status, output = self.run_it(*words)
                self.assertEqual(status, 2, output)
                self.assertIn(named, output)
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.calls(), [])

    def test_help_of_bench_has_the_options_of_nest_bench(self):
        _, output = self.run_it("bench", "--help")
        usage = re.search(r"static void usage.*?^}", (TOP / "tests/bench/main.c").read_text(),
                          re.M | re.S)[0]
        self.assertEqual(set(re.findall(r"--\w+", output)), set(re.findall(r"--\w+", usage)))


class Installing(Run):
    """Of what `model` lacks: spin."""

    def test_tools_that_are_there_suffice(self):
        self.program("spin", "")
        status, output = self.run_it("model")
        self.assertEqual((status, output), (0, "checked\n"))
        self.assertEqual(self.calls(), [])

    def test_without_a_terminal_installs_what_is_missing_and_removes_nothing(self):
        status, output = self.run_it("model")
        self.assertEqual(status, 0, output)
        self.assertIn("spin ", output)
        self.assertEqual(len(self.installs()), 1)
        words = self.installs()[0].split()
        self.assertIn("--no-remove", words)
        self.assertEqual([w for w in words if not w.startswith("-")], ["install", "spin"])
        self.assertTrue(output.endswith("checked\n"), output)

    def test_no_install_lists_and_stops(self):
        status, output = self.run_it("model", NEST_NO_INSTALL="1")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"(?m)^  spin +for spin$")
        self.assertNotIn("gcc", output)
        self.assertEqual(self.calls(), [])

    def test_setup_lists_every_package(self):
        (self.bin / "gcc").unlink()
        status, output = self.run_it("setup", NEST_NO_INSTALL="1")
        self.assertEqual(status, 1, output)
        table = re.search(r"<<-'END'\n(.*?)END", (TOP / "tools/packages.sh").read_text(), re.S)[1]
        for line in table.strip().splitlines():
            package, need = line.split()[:2]
            if not need.startswith(("<", "bochs_term", "certificates")):
                self.assertIn(f"  {package} ", output)

    def test_stops_where_apt_would_remove(self):
        (self.apt / "removes").write_text("gcc-12-aarch64-linux-gnu")
        status, output = self.run_it("model")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"(?m)^ +gcc-12-aarch64-linux-gnu$")
        self.assertEqual(self.installs(), [])

    def test_an_installation_that_fails_says_why(self):
        (self.apt / "fails").write_text("E: Unable to fetch some archives\n")
        status, output = self.run_it("model")
        self.assertEqual(status, 1, output)
        self.assertIn("Unable to fetch some archives", output)
        self.assertNotIn("checked", output)

    def test_waits_for_a_held_lock_and_says_so(self):
        (self.apt / "locked").write_text("2")
        status, output = self.run_it("model")
        self.assertEqual(status, 0, output)
        self.assertEqual(output.count("waiting for it"), 1, output)

    def test_waits_for_a_lock_no_longer_than_told(self):
        (self.apt / "locked").write_text("1000")
        status, output = self.run_it("model", NEST_LOCK_WAIT="2")
        self.assertEqual(status, 1, output)
        self.assertIn("Could not get lock", output)

    def test_without_apt(self):
        (self.bin / "apt-get").unlink()
        status, output = self.run_it("model")
        self.assertEqual(status, 1, output)
        self.assertIn("no apt-get", output)
        self.assertIn("spin", output)

    def test_a_user_without_sudo(self):
        self.program("id", "echo 1000")
        status, output = self.run_it("model")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"(?m)^ +apt-get install .* spin$")
        self.assertEqual(self.calls(), [])

    def test_a_user_with_sudo(self):
        self.program("id", "echo 1000")
        self.program("sudo", f'echo "$@" >>"{self.world}/sudo"; [ "$1" = -v ] || exec "$@"')
        status, output = self.run_it("model")
        self.assertEqual(status, 0, output)
        self.assertIn("install", (self.world / "sudo").read_text())

    def test_a_user_whom_sudo_refuses(self):
        self.program("id", "echo 1000")
        self.program("sudo", 'echo "you are not in the sudoers file" >&2; exit 1')
        status, output = self.run_it("model")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"(?m)^ +apt-get install .* spin$")
        self.assertEqual(self.calls(), [])

    def test_root_needs_no_sudo(self):
        self.program("sudo", "exit 1")
        self.assertEqual(self.run_it("model")[0], 0)

    def test_asks_on_a_terminal(self):
        for answer in "n\n", "\n", "\4":
            status, output = self.on_terminal(answer, "model")
            self.assertEqual(status, 1, output)
            self.assertEqual(self.calls(), [])
        status, output = self.on_terminal("y\n", "model")
        self.assertEqual(status, 0, output)
        self.assertEqual(len(self.installs()), 1)

    def test_does_not_ask_if_told_so(self):
        for words, environment in [(["model", "--yes"], {}), (["--yes", "model"], {}),
                                   (["model"], {"CI": "true"})]:
            (self.bin / "spin").unlink(missing_ok=True)
            status, output = self.on_terminal("", *words, **environment)
            self.assertEqual(status, 0, output)
            self.assertNotIn("[y/N]", output)


class Parts(Run):
    """./run test."""

    def setUp(self):
        super().setUp()
        self.real("python3")
        for name in ("cmake ninja clang-19 llvm-objcopy-19 ld.lld-19 spin").split():
            self.program(name, "")
        self.file("tests/fuzz/fuzz.py", 'import os\nprint(os.environ["NEST_TIMEOUT_SCALE"])\n'
                                        'print("3 passed, 1 failed")')

    def last_line(self, output):
        """Of what it prints."""
        return output.rstrip("\n").rsplit("\n", 1)[-1]

    def test_sums_up_and_lists_what_failed(self):
        status, output = self.run_it("test", "model", "fuzz")
        self.assertEqual(status, 1, output)
        self.assertEqual(self.last_line(output), "4 passed, 1 failed")
        self.assertRegex(output, r"(?m)^  \./run test fuzz$")
        self.assertNotRegex(output, r"(?m)^  \./run test model$")

    def test_names_the_tests_that_failed(self):
        self.program("pkg-config", "")
        self.program("qemu-system-aarch64", "")
        self.program("qemu-system-riscv64", "")
        self.program("ctest", 'while [ "$1" != --output-junit ]; do shift; done; cat >"$2" <<"END"\n'
                     '<testsuite name="x" tests="3" failures="1" disabled="0" skipped="0">\n'
                     '<testcase name="test_a" classname="test_a" time="1" status="run">\n'
                     '<testcase name="c++17" classname="c++17" time="1" status="fail">\nEND\nexit 8')
        self.file("tests/unit/test_a.c", "")
        status, output = self.run_it("test", "unit")
        self.assertEqual(status, 1, output)
        self.assertEqual(self.last_line(output), "2 passed, 1 failed")
        self.assertIn(r"  ./run test unit -R '^c\+\+17$'", output)

    def test_takes_the_command_that_repeats_a_failure_from_the_log(self):
        for text in ("To see x again: ./run walkers x --seed 0x1", "x: FAIL; again by: build/x in",
                     "failed: x: again with\\n  python3 builds.py --only x"):
            self.file("tests/fuzz/fuzz.py", f'print("{text}\\n0 passed, 1 failed")')
            output = self.run_it("test", "fuzz")[1]
            again = re.split(r": |\\n +", text)[-1]
            self.assertIn(f"repeats it:\n  {again}\n", output)

    def test_lint_prints_findings_alone(self):
        for name in ("clang-format-19", "clang-tidy-19", "cppcheck", "shellcheck"):
            self.program(name, "")
        self.program("run-clang-tidy-19", "echo '[ 1/30][1.0s] clang-tidy-19 -quiet a.c'\n"
                     "echo '258 warnings generated.' >&2\necho 'a.c:1:1: error: wrong'\nexit 1")
        status, output = self.run_it("lint", "clang-tidy", "cppcheck")
        self.assertEqual(status, 1, output)
        self.assertEqual(re.findall(r"^    \| (.*)", output, re.M), ["a.c:1:1: error: wrong"])
        self.assertNotIn("258", output)
        self.assertIn("checkers that found something: 1", output)

    def test_fail_fast(self):
        self.file("tests/spin/check.sh", "echo wrong; exit 1")
        status, output = self.run_it("test", "--fail-fast", "model", "fuzz")
        self.assertEqual(status, 1, output)
        self.assertEqual(self.last_line(output), "0 passed, 1 failed")
        self.assertIn("wrong", output)
        self.assertIn("0 passed, 1 failed\n", self.run_it("test", "--fail-fast", "model")[1])
        self.assertEqual(self.last_line(self.run_it("test", "model", "fuzz")[1]),
                         "3 passed, 2 failed")

    def test_skip(self):
        output = self.run_it("test", "model", "fuzz", "--skip", "fuzz")[1]
        self.assertEqual(self.last_line(output), "1 passed, 0 failed")

    def test_time_limits(self):
        self.run_it("test", "fuzz", NEST_TIMEOUT_SCALE="7")
        self.assertIn("\n7\n", (self.tree / "build/logs/fuzz.log").read_text())
        self.run_it("test", "fuzz")
        scale = int((self.tree / "build/logs/fuzz.log").read_text().splitlines()[-2])
        self.assertGreaterEqual(scale, 1)

    def test_a_time_limit_that_is_no_number(self):
        status, output = self.run_it("test", "fuzz", NEST_TIMEOUT_SCALE="x")
        self.assertEqual(status, 2, output)

    def test_a_log_without_a_sum_is_a_failure(self):
        self.file("tests/fuzz/fuzz.py", 'print("Segmentation fault")')
        output = self.run_it("test", "fuzz")[1]
        self.assertEqual(self.last_line(output), "0 passed, 1 failed")


class Walkers(Run):
    """What is left of a failure on an emulated machine."""

    def setUp(self):
        super().setUp()
        self.real("python3", "timeout")
        self.program("cmake", "")
        self.program("llvm-objcopy-19", 'echo image >"$4"')

    def walkers(self, *lines, end="exit 1"):
        """Run one whose image prints these lines; returns output and the folders that are kept."""
        self.program("qemu-system-aarch64", "cat <<'END'\n" + "\n".join(lines) + "\nEND\n" + end)
        done = subprocess.run(["python3", self.tree / "tests/emulator/walkers.py", "aarch64-n1",
                               "--seed", "0x21", "--operations", "7", "--compiler", "clang"],
                              env=self.environment(), stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        kept = self.tree / "build/walkers-failures"
        return done.stdout, sorted(kept.iterdir()) if kept.exists() else []

    def test_a_failed_suite_is_kept_and_named_with_its_command(self):
        output, kept = self.walkers(
            "config s2-4k-40: aarch64-s2-4k", "suite s2-4k-40 faults: 3 checks, 0 failed",
            "config s2-4k-48: aarch64-s2-4k", "suite s2-4k-48 faults: 9 checks, 2 failed",
            "config s2-4k-52: aarch64-s2-4k", "suite s2-4k-52 faults: 3 checks, 0 failed",
            "reference s2-4k-52: 1 pages at 1 level, 1 not mapped, 1 misconfigured, "
            "1 out of range",
            "END 3 configurations, 15 checks, 2 failed, 5 probes")
        again = ("./run walkers aarch64-n1 --seed 0x21 --operations 7 --probes 70 "
                 "--config s2-4k-48 --compiler clang")
        self.assertIn("Failed on aarch64-n1, seed 0x21:\n"
                      "  s2-4k-48: faults: 2 of 9 checks failed\n", output)
        self.assertIn(f"\nTo see aarch64-n1 again: {again}\n", output)
        self.assertEqual(len(kept), 1)
        self.assertIn(str(kept[0]), output)
        self.assertIn("suite s2-4k-48 faults: 9", (kept[0] / "console.log").read_text())
        self.assertEqual((kept[0] / "image.elf").read_text(), "image\n")
        about = (kept[0] / "README").read_text()
        self.assertIn(again, about)
        self.assertRegex(about, "in this folder: qemu-system-aarch64 .* -kernel image.elf\n")

    def test_an_emulator_that_ends_early_is_kept_with_the_configuration_it_was_in(self):
        output, kept = self.walkers("config s2-4k-40: aarch64-s2-4k",
                                    "config s2-4k-48: aarch64-s2-4k", end="kill -9 $$")
        self.assertIn("  s2-4k-48: ended early, status -9\n", output)
        self.assertIn("--config s2-4k-48 --compiler clang\n", output)
        self.assertEqual(len(kept), 1)

    def test_a_run_of_nothing_is_a_failure(self):
        output, kept = self.walkers("END 0 configurations, 0 checks, 0 failed, 0 probes",
                                    end="exit 0")
        self.assertIn("  ran no configuration\n", output)
        self.assertEqual(len(kept), 1)


class Interrupted(Run):
    """Every process that ./run has started ends with it."""

    def setUp(self):
        super().setUp()
        self.program("spin", "")
        self.real("timeout", "touch")
        self.file("tests/spin/check.sh", SPIN_CHECK_SLEEPS)
        self.addCleanup(self.kill_rest)

    def kill_rest(self):
        """What a test that failed has left."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def processes(self):
        """Of ./run and all that it has started."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if ((process / "cwd").resolve() == self.tree.resolve()
                        and (process / "cmdline").read_bytes()):
                    found.append(int(process.name))
            except OSError:
                pass
        return found

    def await_start(self):
        """Until the program under ./run runs."""
        for _ in range(LIMIT * 10):
            if (self.tree / "started").exists() and len(self.processes()) >= 4:
                return
            time.sleep(0.1)
        self.fail("did not start")

    def check_signal(self, number, in_background, *words):
        """Send it to ./run alone."""
        def ignore():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

        with subprocess.Popen([self.tree / "run", *words], env=self.environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True,
                              preexec_fn=ignore if in_background else None) as process:
            self.await_start()
            process.send_signal(number)
            try:
                status = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self.assertEqual(status, -number)
        self.assertEqual(self.processes(), [])

    def test_by_ctrl_c_to_run_alone(self):
        self.check_signal(signal.SIGINT, False, "model")

    def test_by_ctrl_c_in_the_background(self):
        self.check_signal(signal.SIGINT, True, "test", "model")

    def test_by_sigterm(self):
        self.check_signal(signal.SIGTERM, False, "test", "model")

    def test_by_ctrl_c_on_a_terminal(self):
        status, _ = self.on_terminal("\3", "model", after="stubborn")
        self.assertEqual(status, -signal.SIGINT)
        self.assertEqual(self.processes(), [])


if __name__ == "__main__":
    unittest.main()
