# SPDX-License-Identifier: Apache-2.0
"""Compiles a program and fails where that takes more time or memory than it may.

The program is a C++ file, or the first C++ block with a main() in a Markdown file. Time is the compiler's processor
time, the least of several tries; with --above, what it takes more than another file. Whatever else runs on the machine
takes its share of cores and caches; where that is much, and the limit is missed, the result says nothing and the exit
code is 77: skipped.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time


def program_in(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return text
    blocks = re.findall(r"^```(?:cpp|c\+\+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    programs = [block for block in blocks if re.search(r"\bmain\s*\(", block)]
    if not programs:
        sys.exit(f"{path}: no C++ block with a main()")
    return programs[0]


def machine_seconds():
    """Processor seconds that the whole machine has spent on anything, or none where the system does not say so."""
    try:
        fields = pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def compile_once(command):
    """Processor seconds of the compiler, megabytes, and the share of a core that others used meanwhile."""
    start, machine = time.monotonic(), machine_seconds()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit("does not compile: " + " ".join(command))
    seconds = usage.ru_utime + usage.ru_stime
    others = (machine_seconds() - machine - seconds) / (time.monotonic() - start)
    return seconds, usage.ru_maxrss / 1000, max(others, 0.0)


def check_size(compiler, compiled, allowed):
    program = compiled.with_suffix("")
    subprocess.run([compiler, "-s", compiled, "-o", program, "-pthread"], check=True)
    megabytes = program.stat().st_size / 1e6
    print(f"{megabytes:.1f} MB stripped, allowed: {allowed:g} MB")
    if megabytes > allowed:
        sys.exit("too large")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--megabytes", type=float, required=True)
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("--above", type=pathlib.Path, help="a file whose time is not counted, such as what it includes")
    parser.add_argument("--program-megabytes", type=float, help="of the linked and stripped program")
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("compiler", nargs="+", help="the compiler and its flags, behind --")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        base = 0.0
        if arguments.above is not None:
            command = [*arguments.compiler, "-c", str(arguments.above), "-o", str(pathlib.Path(folder, "above.o"))]
            base = min(compile_once(command)[0] for _ in range(arguments.tries))
            print(f"{base:.2f} s for {arguments.above.name}, which are not counted")
        source = pathlib.Path(folder, "program.cpp")
        source.write_text(program_in(arguments.program), encoding="utf-8")
        command = [*arguments.compiler, "-c", str(source), "-o", str(source.with_suffix(".o"))]
        tries = [compile_once(command) for _ in range(arguments.tries)]
        tries = [(seconds - base, megabytes, others) for seconds, megabytes, others in tries]
        if arguments.program_megabytes is not None:
            check_size(arguments.compiler[0], source.with_suffix(".o"), arguments.program_megabytes)

    for seconds, megabytes, others in tries:
        print(f"{seconds:.2f} s of processor time, {megabytes:.0f} MB; others had {others:.2f} of a core")
    print(f"allowed: {arguments.seconds:g} s, {arguments.megabytes:g} MB")
    if max(megabytes for _, megabytes, _ in tries) > arguments.megabytes:
        sys.exit("too much memory")
    if min(seconds for seconds, _, _ in tries) > arguments.seconds:
        if min(others for _, _, others in tries) > 0.3:
            print("skipped: too slow, but the machine was busy with something else")
            sys.exit(77)
        sys.exit("too slow")


main()
