#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Configure the library as an embedder or a developer does, and check what CMake makes of it.

configure.py CHECK FOLDER COMPILER: FOLDER is emptied first. The checks are the functions below.
Status 0: as expected.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MESSAGE = "CMAKE_BUILD_TYPE is not set: Release"
EMBEDDING = "<!-- embedding: "
PARENT = f"""cmake_minimum_required(VERSION 3.25)
project(parent C)
add_subdirectory({TOP} nest)
"""


class Configuration:
    """What one run of cmake said and left."""

    def __init__(self, *arguments, environment=None, **variables):
        self.folder = pathlib.Path("build")
        shutil.rmtree(self.folder, ignore_errors=True)
        done = subprocess.run(
            ["cmake", "-B", self.folder, f"-DCMAKE_C_COMPILER={COMPILER}", *arguments,
             *(f"-D{name}={value}" for name, value in variables.items())],
            env={**os.environ, **(environment or {})}, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.failed, self.said = done.returncode != 0, done.stdout

    def cached(self, name):
        """A variable of the cache; empty: it has no value there."""
        text = (self.folder / "CMakeCache.txt").read_text(encoding="utf-8")
        found = re.search(rf"^{name}:\w+=(.*)$", text, re.MULTILINE)
        return found[1] if found else ""


def expect(what, configuration, message, **variables):
    """Fail unless cmake succeeded, printed MESSAGE or not, and left these variables."""
    if configuration.failed:
        sys.exit(f"{what}: cmake failed:\n{configuration.said}")
    if (MESSAGE in configuration.said) != message:
        sys.exit(f"{what}: {'no' if message else 'a'} message {MESSAGE!r}:\n{configuration.said}")
    for name, value in variables.items():
        if configuration.cached(name) != value:
            sys.exit(f"{what}: {name} is {configuration.cached(name)!r}, not {value!r}")


def release_without_tests():
    """Without options the library is optimised, no test is built, and a message says so."""
    nothing = Configuration("-S", TOP, CMAKE_EXPORT_COMPILE_COMMANDS="ON")
    expect("no build type", nothing, True, CMAKE_BUILD_TYPE="Release", NEST_BUILD_TESTS="OFF")
    commands = (nothing.folder / "compile_commands.json").read_text(encoding="utf-8")
    if " -O3 " not in commands or "tests/unit" in commands:
        sys.exit(f"no build type: not -O3, or with tests:\n{commands}")


def chosen_build_type_stays():
    """Chosen by an option, by the environment, or left to the build (several at once)."""
    expect("option", Configuration("-S", TOP, CMAKE_BUILD_TYPE="Debug"), False,
           CMAKE_BUILD_TYPE="Debug")
    expect("environment", Configuration("-S", TOP, environment={"CMAKE_BUILD_TYPE": "Debug"}),
           False, CMAKE_BUILD_TYPE="Debug")
    expect("several", Configuration("-S", TOP, "-G", "Ninja Multi-Config"), False,
           CMAKE_BUILD_TYPE="")


def subproject_leaves_its_parent_alone():
    """A parent project keeps its build type, also none, and gets no tests of ours."""
    pathlib.Path("CMakeLists.txt").write_text(PARENT, encoding="utf-8")
    expect("parent without a build type", Configuration("-S", "."), False,
           CMAKE_BUILD_TYPE="", NEST_BUILD_TESTS="OFF")
    expect("parent with a build type", Configuration("-S", ".", CMAKE_BUILD_TYPE="MinSizeRel"),
           False, CMAKE_BUILD_TYPE="MinSizeRel", NEST_BUILD_TESTS="OFF")


def missing_cmocka_is_named():
    """Where pkg-config finds no cmocka, the message says what to do, word for word."""
    nowhere = {"PKG_CONFIG_LIBDIR": "/nonexistent"}
    without = Configuration("-S", TOP, environment=nowhere, NEST_BUILD_TESTS="ON")
    if not without.failed or not re.search(
            r"^ *install libcmocka-dev or set NEST_BUILD_TESTS=OFF$", without.said, re.MULTILINE):
        sys.exit(f"missing cmocka: cmake says\n{without.said}")
    expect("missing cmocka, no tests",
           Configuration("-S", TOP, environment=nowhere, NEST_BUILD_TESTS="OFF"), True)


def presets_say_whether_to_test():
    """A preset to test with turns tests on; one for the library alone does not."""
    for preset, tests in (("gcc", "ON"), ("clang-release", "ON"), ("bench", "ON"),
                          ("tidy", "OFF"), ("analyzer", "OFF"), ("cross-aarch64", "OFF")):
        done = subprocess.run(["cmake", "--preset", preset, "-N", "-B", pathlib.Path.cwd() / preset],
                              cwd=TOP, check=False, text=True, stdout=subprocess.PIPE)
        if f'NEST_BUILD_TESTS="{tests}"' not in done.stdout:
            sys.exit(f"preset {preset}: tests are not {tests}:\n{done.stdout}")


def readme_commands_embed():
    """Each block of commands under "Embedding it", in order; all but the first print the format."""
    text = (TOP / "README.md").read_text(encoding="utf-8").partition(EMBEDDING)[2]
    text = text.partition("\n| option |")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if len(blocks) < 5:
        sys.exit(f"README: {len(blocks)} blocks of commands after {EMBEDDING!r}")
    pathlib.Path("libnest").symlink_to(TOP)
    for number, commands in enumerate(blocks):
        done = subprocess.run(["sh", "-euc", commands], check=False, text=True, timeout=300,
                              env={**os.environ, "CC": COMPILER, "CMAKE_BUILD_PARALLEL_LEVEL": "2"},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode or (number and done.stdout.splitlines()[-1:] != ["ept"]):
            sys.exit(f"README: status {done.returncode} of\n{commands}which says\n{done.stdout}")


CHECKS = {check.__name__: check for check in (
    release_without_tests, chosen_build_type_stays, subproject_leaves_its_parent_alone,
    missing_cmocka_is_named, presets_say_whether_to_test, readme_commands_embed)}

if len(sys.argv) != 4 or sys.argv[1] not in CHECKS:
    sys.exit(f"usage: configure.py {'|'.join(CHECKS)} FOLDER COMPILER")
COMPILER = sys.argv[3]
shutil.rmtree(sys.argv[2], ignore_errors=True)
os.makedirs(sys.argv[2])
os.chdir(sys.argv[2])
for ours in ("CMAKE_BUILD_TYPE", "CMAKE_GENERATOR", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_PATH"):
    os.environ.pop(ours, None)
CHECKS[sys.argv[1]]()
