#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Build the walker images, run each on its emulated machine, and tell what came of it.

An image makes tables with the library on the bare machine and compares what the emulated CPU
translates with what the calls must mean. A line is printed for each suite, then a table, and
"N passed, N failed" (suites; an emulator that did not end well is a failure) as the last line.

The console, the image and the commands of a machine that failed are kept in
build/walkers-failures. The end of a run names the suites, the folder and the commands.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import secrets
import shlex
import shutil
import struct
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent

QEMU_X86 = ["qemu-system-x86_64", "-accel", "tcg", "-m", "128M", "-nodefaults", "-no-reboot",
            "-display", "none", "-vga", "none", "-serial", "stdio",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
QEMU_AARCH64 = ["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3", "-m", "1G",
                "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio",
                "-no-reboot", "-semihosting-config", "enable=on,target=native"]
QEMU_RISCV = ["qemu-system-riscv64", "-M", "virt", "-accel", "tcg", "-m", "512M", "-bios", "none",
              "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio",
              "-no-reboot"]
QEMU_LOONGARCH = ["qemu-system-loongarch64", "-M", "virt", "-cpu", "la464-loongarch-cpu",
                  "-accel", "tcg", "-m", "1G", "-nic", "none", "-display", "none", "-vga", "none",
                  "-monitor", "none", "-serial", "stdio", "-no-reboot",
                  "-device", "pvpanic-pci", "-action", "panic=exit-failure"]
# Bochs takes no file name with a blank: it runs in the folder of these files.
BOCHSRC = """\
config_interface: textconfig
display_library: term
megs: 128
cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
romimage: file=image.rom, address=0x00000000
vgaromimage: file=vga.rom
vga: extension=none
plugin_ctrl: speaker=0, extfpuirq=0, gameport=0, parallel=0
port_e9_hack: enabled=1
magic_break: enabled=1
log: bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
"""


@dataclasses.dataclass(frozen=True)
class Machine:
    """One emulated machine: what runs on it, how it is started, and the status of a good end.

    All its configurations are compared with the reference MMU, but for those of `uncompared`.
    """
    name: str
    isa: str
    image: str
    emulator: str
    command: tuple = ()
    status: int = 0
    bochs: str = ""
    uncompared: tuple = ()


MACHINES = (
    Machine("aarch64", "aarch64", "walker-aarch64", "QEMU max", (*QEMU_AARCH64, "-cpu", "max")),
    Machine("aarch64-n1", "aarch64", "walker-aarch64", "QEMU neoverse-n1",
            (*QEMU_AARCH64, "-cpu", "neoverse-n1")),
    Machine("aarch64-a53", "aarch64", "walker-aarch64", "QEMU cortex-a53",
            (*QEMU_AARCH64, "-cpu", "cortex-a53")),
    Machine("aarch64-smp", "aarch64", "walker-aarch64", "QEMU max, two CPUs",
            (*QEMU_AARCH64, "-cpu", "max", "-smp", "2")),
    Machine("riscv64", "riscv64", "walker-riscv64", "QEMU rv64",
            (*QEMU_RISCV, "-cpu", "rv64,h=true,svnapot=true,svpbmt=true,svinval=true")),
    Machine("x86-npt", "x86_64", "walker-x86-svm", "QEMU max, 4 levels",
            (*QEMU_X86, "-cpu", "max,-la57"), 33),
    Machine("x86-npt5", "x86_64", "walker-x86-svm", "QEMU max, 5 levels",
            (*QEMU_X86, "-cpu", "max,phys-bits=52"), 33),
    Machine("bochs-npt", "x86_64", "walker-x86-svm", "Bochs ryzen", bochs="ryzen"),
    # With #VE, a violation of an entry without bit 63 never leaves the guest.
    Machine("bochs-ept", "x86_64", "walker-x86-vmx", "Bochs tigerlake", bochs="tigerlake",
            uncompared=("ept-48-ve", "ept-48-ad-xo-ve")),
    # Where software keeps V or D, the port asks the library what a page is.
    Machine("loongarch64", "loongarch64", "walker-loongarch64", "QEMU la464",
            tuple(QEMU_LOONGARCH),
            uncompared=("s2-4k-42-dirty", "s2-16k-40-accessed", "s1-16k-48-dirty")),
)

# Machines that have images by the cross gcc, too.
GCC_ISAS = ("aarch64", "riscv64")

# Of all that is on a console, the lines to tell at once; the rest is in console.log.
TOLD = ("FAIL", "(above", "walker: ", "probed: ", "deviation ")

printing = threading.Lock()


def say(text):
    """Print one line, whole, whoever else prints."""
    with printing:
        print(text, flush=True)


@dataclasses.dataclass
class Result:
    """What a machine's output told."""
    machine: Machine
    passed: int = 0
    failed: int = 0
    configurations: int = 0
    checks: int = 0
    probes: int = 0
    operations: int = 0
    random_probes: int = 0
    reference: int = 0
    not_compared: list = dataclasses.field(default_factory=list)
    tolerated: dict = dataclasses.field(default_factory=dict)
    trouble: str = ""
    seconds: float = 0.0
    ended: bool = False
    config: str = "" # the last one that has begun
    bad: list = dataclasses.field(default_factory=list) # configuration, what failed in it
    kept: str = "" # where the evidence of the failure is


def images(isa, options):
    """The folder of an ISA's images, named as its toolchain file: by clang, or by the cross gcc."""
    by_gcc = isa in GCC_ISAS and options.compiler == "gcc"
    if isa in GCC_ISAS and options.compiler == "any" and shutil.which(f"{isa}-linux-gnu-gcc"):
        by_gcc = options.seed % 2 == GCC_ISAS.index(isa)
    return options.build / (f"{isa}-gcc" if by_gcc else isa)


def build(isa, options):
    """Configure and build the images of one ISA; returns an error text or ''."""
    folder = images(isa, options)
    toolchain = f"toolchain-{folder.name}.cmake"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    commands = (
        ["cmake", "-S", str(HERE), "-B", str(folder), "-G", "Ninja", "--toolchain",
         str(TOP / "cmake" / toolchain), "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(folder)])
    with open(log, "w", encoding="utf-8") as out:
        for command in commands:
            try:
                done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False)
            except OSError as error:
                return str(error)
            if done.returncode:
                out.flush()
                return f"building for {isa} failed:\n" + log.read_text(encoding="utf-8")
    return ""


def prepare(machine, options, folder):
    """Write the parameters into a copy of the image; returns the command that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "image.elf"
    parameters = folder / "parameters"
    parameters.write_bytes(struct.pack("<8sQQQ40s", b"WALKERS", options.seed, options.operations,
                                       options.probes, options.config.encode()))
    subprocess.run(["llvm-objcopy-19", "--update-section", f".walker_params={parameters}",
                    str(images(machine.isa, options) / f"{machine.image}.elf"), str(image)],
                   check=True)
    if not machine.bochs:
        return [*machine.command, "-kernel", str(image)]
    subprocess.run(["sh", str(HERE / "x86_64" / "mkrom.sh"), str(image),
                    str(folder / "image.rom")],
                   check=True, stdout=subprocess.DEVNULL)
    (folder / "vga.rom").write_bytes(bytes(512)) # Bochs insists on one
    (folder / "bochsrc").write_text(BOCHSRC.format(model=machine.bochs), encoding="utf-8")
    (folder / "commands").write_text("c\nq\n", encoding="utf-8")
    return ["bochs", "-q", "-f", "bochsrc", "-rc", "commands"]


def listen(result, line, options):
    """Take in one line of an image's output."""
    name = result.machine.name
    if match := re.match(r"suite (\S+) (.*): (\d+) checks, (\d+) failed$", line):
        say(f"{name}: {match[1]}: {match[2]}: {match[3]} checks, {match[4]} failed")
        if int(match[4]):
            result.failed += 1
            result.bad.append((match[1], f"{match[2]}: {match[4]} of {match[3]} checks failed"))
        else:
            result.passed += 1
    elif match := re.match(r"config (\S+): ", line):
        result.config = match[1]
    elif match := re.match(r"random \S+: seed \S+, (\d+) operations, (\d+) probes$", line):
        result.operations += int(match[1])
        result.random_probes += int(match[2])
    elif match := re.match(r"pair \S+: \w+: (\d+) changes, (\d+) accesses,", line):
        result.operations += int(match[1])
        result.random_probes += int(match[2])
    elif match := re.match(r"reference \S+: (\d+) pages .*, (\d+) not mapped, "
                           r"(\d+) misconfigured, (\d+) out of range", line):
        result.reference += sum(map(int, match.groups()))
    elif match := re.match(r"reference (\S+): not compared$", line):
        result.not_compared.append(match[1])
    elif match := re.match(r"tolerated (\S+): (\d+)$", line):
        result.tolerated[match[1]] = int(match[2])
    elif match := re.match(r"END (\d+) configurations, (\d+) checks, (\d+) failed, (\d+) probes$",
                           line):
        result.configurations, result.checks = int(match[1]), int(match[2])
        result.probes = int(match[4])
        result.ended = True
    elif options.verbose or line.startswith(TOLD):
        say(f"{name}: {line}")


def run(machine, options):
    """Run one machine to its end."""
    result = Result(machine)
    begin = time.monotonic()
    folder = options.build / "run" / machine.name
    command = []
    shutil.rmtree(folder, ignore_errors=True)
    try:
        command = prepare(machine, options, folder)
        with open(folder / "console.log", "w", encoding="utf-8") as log, \
                subprocess.Popen(["timeout", "-k", "5", str(options.timeout), *command],
                                 cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace",
                                 env={**os.environ, "TERM": "vt100"}) as process:
            for line in process.stdout:
                log.write(line)
                listen(result, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip(), options)
                if options.fail_fast and line.startswith("FAIL"):
                    result.trouble = "stopped at its first failure"
                    process.terminate()
                    break
        if result.trouble:
            pass
        elif process.returncode == 124:
            result.trouble = f"not done after {options.timeout} s"
        elif not result.ended:
            result.trouble = f"ended early, status {process.returncode}"
        elif process.returncode != machine.status and not result.failed:
            result.trouble = f"status {process.returncode}, not {machine.status}"
        elif result.configurations == 0:
            result.trouble = "ran no configuration"
        elif strange := set(result.not_compared) - set(machine.uncompared):
            result.trouble = f"no reference MMU for {', '.join(sorted(strange))}"
        elif options.probes > 1 and not options.config and not result.reference:
            result.trouble = "compared nothing with the reference MMU"
    except (OSError, subprocess.CalledProcessError) as error:
        result.trouble = str(error)
    if result.trouble:
        result.failed += 1
        if not result.ended:
            result.bad.append((result.config, result.trouble))
        else:
            result.bad.append(("", result.trouble))
        say(f"{machine.name}: FAILED: {result.trouble}; see {folder / 'console.log'}")
    if result.failed:
        keep(result, options, folder, command)
    result.seconds = time.monotonic() - begin
    return result


def again(result, options):
    """The commands that repeat what failed: a configuration alone does what it did among others."""
    configs = list(dict.fromkeys(config for config, _ in result.bad))
    if options.config or not configs or not all(configs):
        configs = [options.config]
    compiler = ""
    if result.machine.isa in GCC_ISAS:
        by_gcc = images(result.machine.isa, options).name.endswith("-gcc")
        compiler = f" --compiler {'gcc' if by_gcc else 'clang'}"
    return [f"./run walkers {result.machine.name} --seed {options.seed:#x} "
            f"--operations {options.operations} --probes {options.probes}"
            + (f" --config {config}" if config else "") + compiler for config in configs]


def keep(result, options, folder, command):
    """Put the folder of a failed run where the next run does not overwrite it."""
    kept = options.build.with_name(options.build.name + "-failures")
    kept /= f"{time.strftime('%Y%m%d-%H%M%S')}-{result.machine.name}-{options.seed:#x}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README").write_text("\n".join([
            f"machine {result.machine.name}, seed {options.seed:#x}, load {os.getloadavg()}",
            *(f"failed: {config}: {what}" for config, what in result.bad),
            *again(result, options),
            "in this folder: " + shlex.join(
                word.replace(str(folder) + "/", "") for word in command), ""]), encoding="utf-8")
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        result.kept = str(kept)
    except OSError as error:
        say(f"{result.machine.name}: cannot keep the failed run: {error}")


def tell_failures(results, options):
    """What failed, where it is kept, and how to repeat it."""
    for r in results:
        if not r.failed:
            continue
        print(f"\nFailed on {r.machine.name}, seed {options.seed:#x}:")
        for config, what in r.bad or [("", r.trouble)]:
            print(f"  {config + ': ' if config else ''}{what}")
        if r.kept:
            print(f"  console and image are in {r.kept}")
        for command in again(r, options):
            print(f"To see {r.machine.name} again: {command}")


def table(results):
    """The table at the end."""
    rows = [("machine", "emulator", "configs", "suites", "checks", "operations", "random probes",
             "reference walks", "tolerated", "failed", "seconds")]
    for r in results:
        rows.append((r.machine.name, r.machine.emulator, r.configurations, r.passed + r.failed,
                     r.checks, r.operations, r.random_probes, r.reference, sum(r.tolerated.values()), r.failed,
                     f"{r.seconds:.0f}"))
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(str(cell).ljust(width) if i < 2 else str(cell).rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))))
    known = {}
    for r in results:
        for name, count in r.tolerated.items():
            known.setdefault(name, []).append(f"{count} on {r.machine.name}")
    if known:
        print("\nTolerated deviations of the emulators (tests/emulator/deviations.h):")
        for name, where in sorted(known.items()):
            print(f"  {name}: {', '.join(where)}")


def arguments():
    """Parse the command line."""
    names = [m.name for m in MACHINES]
    parser = argparse.ArgumentParser(prog="./run walkers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", nargs="*", help=f"which to run; all: {' '.join(names)}")
    parser.add_argument("--operations", type=int, default=20000, metavar="N",
                        help="of the random campaign, a machine (%(default)s; 0: none)")
    parser.add_argument("--probes", type=int, metavar="N",
                        help="of the random campaign, a machine (ten for each operation)")
    parser.add_argument("--seed", type=lambda text: int(text, 0), metavar="N",
                        help="of the random campaign (a new one each time)")
    parser.add_argument("--compiler", choices=("any", "clang", "gcc"), default="any",
                        help=f"what builds the images for {' and '.join(GCC_ISAS)}, the others "
                        "are by clang (any: one by each, the seed decides which)")
    parser.add_argument("--config", default="", metavar="NAME", help="this configuration alone")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build" / "walkers",
                        metavar="DIR", help="where to build and run (build/walkers)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="machines at a time (%(default)s)")
    parser.add_argument("--timeout", type=int, default=900, metavar="SECONDS",
                        help="for one machine (%(default)s), times NEST_TIMEOUT_SCALE")
    parser.add_argument("--fail-fast", action="store_true",
                        help="stop a machine at its first failure")
    parser.add_argument("--verbose", action="store_true", help="all that the images print")
    parser.add_argument("--list", action="store_true", help="name the machines and end")
    options = parser.parse_args()
    for name in options.machine:
        if name not in names:
            parser.error(f"no machine {name}; there are {' '.join(names)}")
    if options.operations < 0 or options.timeout <= 0 or options.jobs <= 0:
        parser.error("--operations, --timeout and --jobs want positive numbers")
    if len(options.config.encode()) >= 40:
        parser.error("no configuration has so long a name")
    if options.seed is None:
        options.seed = secrets.randbits(48)
    if not 0 <= options.seed < 1 << 64:
        parser.error("--seed wants a number of 64 bits")
    if options.probes is None:
        options.probes = 10 * options.operations
    options.build = options.build.resolve()
    options.timeout *= int(os.environ.get("NEST_TIMEOUT_SCALE", "1"))
    if os.environ.get("NEST_CHECK_ARGUMENTS"):
        sys.exit(0)
    return options


def main():
    """Build, run, tell."""
    options = arguments()
    machines = [m for m in MACHINES if not options.machine or m.name in options.machine]
    if options.list:
        for m in machines:
            print(f"{m.name:14}{m.emulator}")
        return 0
    say(f"seed {options.seed:#x}")
    results = []
    broken = {}
    for isa in dict.fromkeys(m.isa for m in machines):
        say(f"building for {images(isa, options).name}")
        if error := build(isa, options):
            say(error)
            broken[isa] = error
    good = [m for m in machines if m.isa not in broken]
    for m in machines:
        if m.isa in broken:
            results.append(Result(m, failed=1, trouble="not built"))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results += pool.map(lambda m: run(m, options), good)
    table(results)
    tell_failures(results, options)
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
