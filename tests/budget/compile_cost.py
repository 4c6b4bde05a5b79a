# SPDX-License-Identifier: Apache-2.0
"""Compiles a program and fails where that takes more time or memory than it may.

The program is a C++ file, or the first C++ block with a main() in a Markdown file. Time is the compiler's processor
time, the least of several tries: what else runs on the machine should not count. Where something else does, and the
limit is missed, the result says nothing and the exit code is 77: skipped.
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


def compile_once(command):
    """Processor seconds, seconds by the clock, megabytes."""
    start = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.monotonic() - start
    if status != 0:
        sys.exit("does not compile: " + " ".join(command))
    return usage.ru_utime + usage.ru_stime, elapsed, usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--megabytes", type=float, required=True)
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("compiler", nargs="+", help="the compiler and its flags, behind --")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "program.cpp")
        source.write_text(program_in(arguments.program), encoding="utf-8")
        command = [*arguments.compiler, "-c", str(source), "-o", str(source.with_suffix(".o"))]
        tries = [compile_once(command) for _ in range(arguments.tries)]

    for seconds, elapsed, megabytes in tries:
        print(f"{seconds:.1f} s of processor time in {elapsed:.1f} s, {megabytes:.0f} MB")
    seconds, elapsed, _ = min(tries)
    megabytes = max(megabytes for _, _, megabytes in tries)
    print(f"allowed: {arguments.seconds:g} s, {arguments.megabytes:g} MB")
    if megabytes > arguments.megabytes:
        sys.exit("too much memory")
    if seconds > arguments.seconds:
        # A compiler waits for nothing: where it had less than a core, it shared one, and its caches.
        if seconds < 0.85 * elapsed:
            print("skipped: too slow, but the machine was busy with something else")
            sys.exit(77)
        sys.exit("too slow")


main()
