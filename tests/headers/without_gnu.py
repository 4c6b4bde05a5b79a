#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a compiler that is neither GCC nor Clang gets to see of the library has nothing of theirs in it.

    without_gnu.py COMPILER INCLUDE

Preprocesses every header and source below INCLUDE with the macros of Visual C++ alone, for x64 and Arm64. Others' headers
are empty here, and those that Visual C++ lacks are missing. Then looks for GNU C++ in what is left. Status 0: none.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Headers of the standard library, of Visual C++ and Windows, and of libraries that exist there.
THERE = re.compile(r"""^([a-z_]+                             # <vector>; no .h
    |(assert|errno|float|limits|math|setjmp|signal|stdarg|stddef|stdint|stdio|stdlib|string|time|wchar)\.h
    |(intrin|immintrin|xmmintrin|emmintrin|arm_neon|malloc|fcntl|io|process|share|windows|sys/stat|sys/types|psapi)\.h
    |(unsupported/)?Eigen/.*|nlohmann/.*|jpeglib\.h|jerror\.h|png\.h)$""", re.X)

GNU = re.compile(r"""__attribute(__)?\b|\b__asm(__)?\b|\basm\b|\b__(typeof|extension|restrict__|inline__|int128|thread|label)(__)?\b
    |\b__(float128|fp16|bf16)\b|\bssize_t\b|\b_Pragma\b|\#\s*pragma\s+(GCC|clang)|\b__(PRETTY_)?FUNCTION__\b
    |\b__(atomic|sync)_\w+|\b__builtin_\w+""", re.X)
# Visual C++ 2019 16.7 and later have it; its own <bit> is made of it.
ALLOWED = {"__builtin_bit_cast"}


def sources(include):
    headers = sorted(p for p in include.rglob("*.hpp") if "isa" not in p.parts and not p.name.startswith("target"))
    return headers + sorted(include.rglob("*.cpp")) + sorted(include.rglob("model_handle.inl"))


def main():
    compiler, include = sys.argv[1], Path(sys.argv[2]).resolve()
    found, lines = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        stubs = Path(folder)
        for path in include.rglob("*.*"):
            if path.suffix not in (".h", ".hpp", ".inl", ".cpp"):
                continue
            for name in re.findall(r"^\s*#\s*include\s*<([^>]+)>", path.read_text(encoding="utf-8"), re.M):
                if THERE.match(name) and not name.startswith("efficientvit/"):
                    (stubs / name).parent.mkdir(parents=True, exist_ok=True)
                    (stubs / name).touch()
        everything = stubs / "everything.cpp"
        everything.write_text("".join(f'#include "{path.as_posix()}"\n' for path in sources(include)), encoding="utf-8")
        for machine in ("_M_X64", "_M_ARM64"):
            command = [compiler, "-std=c++20", "-E", "-undef", "-nostdinc", "-nostdinc++", "-D_WIN32=1", "-D_WIN64=1", "-D_MSC_VER=1940",
                       f"-D{machine}=1", "-D__cpp_exceptions=199711L", "-D_CPPUNWIND=1", f"-I{include}", f"-I{stubs}", str(everything)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"{machine}: {run.stderr}")
            where = ""
            for line in run.stdout.splitlines():
                marker = re.match(r'# \d+ "([^"]*)"', line)
                if marker:
                    where = marker.group(1)
                    continue
                lines += bool(line.strip())
                words = re.sub(r'"(\\.|[^"\\])*"', '""', line)
                for match in GNU.finditer(words):
                    if match.group() not in ALLOWED:
                        found += 1
                        print(f"{machine}: {where}: {match.group()}: {line.strip()[:120]}")
    print(f"{lines} lines, {found} of them not for Visual C++")
    # As many as the library has at least: nothing to look at is no success.
    sys.exit(1 if found or lines < 2000 else 0)


if __name__ == "__main__":
    main()
