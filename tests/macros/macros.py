#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other people's macros and ours: macros.py WHAT INCLUDE_DIR PLATFORM_MACROS COMPILER_ARGUMENT... (the compiler first).

tables    foreign_macros.hpp and foreign_macros_end.hpp have the same names; each header includes one behind its other
          includes and one at its end; a macro of ours is documented in config.hpp or taken back where it is defined
poisoned  with every name of the table and of PLATFORM_MACROS defined as what compiles nowhere, behind the headers of
          others, all headers of ours compile, in two orders, and give the macros back; only documented ones stay
platforms the real definitions of some platforms before everything: what std and Eigen survive, all headers survive
"""
import pathlib
import re
import subprocess
import sys
import tempfile

WHAT, INCLUDE, NAMES, *COMPILER = sys.argv[1:]
LIBRARY = pathlib.Path(INCLUDE).resolve() / "efficientvit"
BEGIN, END = "#include <efficientvit/foreign_macros.hpp>", "#include <efficientvit/foreign_macros_end.hpp>"
PARTS = re.compile(r"kernels/isa/|kernels/target(_end)?\.hpp$|foreign_macros(_end)?\.hpp$|\.inl$")
# Headers of others, which macros defined behind them cannot break.
OTHERS = """\
#include <bits/stdc++.h>
#include <unsupported/Eigen/CXX11/Tensor>
#include <unsupported/Eigen/CXX11/ThreadPool>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#if __has_include(<unistd.h>)
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif
"""
# What std and Eigen survive when it is defined before them.
BEFORE = """\
#define near
#define far
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define small char
#define interface struct
#define IN
#define OUT
#define OPTIONAL
#define DELETE 0x10000
#define ERROR 0
#define TRANSPARENT 1
#define STRICT 1
#define pascal
#define cdecl
#define None 0L
#define Bool int
#define Status int
#define True 1
#define False 0
#define Always 2
#define Complex 0
#define Convex 2
#define Above 0
#define Below 1
#define slots
#define foreach(a, b) for (a : b)
#define forever for (;;)
#define verify(x) ((void)(x))
#define require(x, y)
#define ensure(x) (x)
#define TEXT(x) L##x
#define YES 1
#define NO 0
#define nil 0
#define CHECK(x) ((void)(x))
#define bit(b) (1UL << (b))
#define word(...) makeWord(__VA_ARGS__)
#define sq(x) ((x) * (x))
#define PI 3.14
#define INPUT 0
#define DEFAULT 1
#define B0 0
#define box(win, v, h) wborder(win, v, v, h, h, 0, 0, 0, 0)
#define lines CUR Numbers[2]
#define columns CUR Numbers[0]
#define scalar(a) Perl_scalar(aTHX_ a)
#define I _Complex_I
#define length Rf_length
#define error Rf_error
#define major(dev) gnu_dev_major(dev)
#define minor(dev) gnu_dev_minor(dev)
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define main SDL_main
#define LOG(x) std::cerr
"""

# What they survive only behind them.
BEHIND = """\
#define signals public
#define emit
#define check(x) ((void)(x))
#define abs(x) ((x) > 0 ? (x) : -(x))
#define round(x) ((x) >= 0 ? (long)((x) + 0.5) : (long)((x) - 0.5))
#define F(x) (x)
#define HIGH 1
#define LOW 0
#define clear() wclear(stdscr)
#define erase() werase(stdscr)
#define move(y, x) wmove(stdscr, (y), (x))
#define open PerlLIO_open
#define close PerlLIO_close
#define read PerlLIO_read
#define write PerlLIO_write
#define rename PerlLIO_rename
#define getenv PerlEnv_getenv
#define list(a) Perl_list(aTHX_ a)
#define apply(a, b, c) S_apply(aTHX_ a, b, c)
#define new new(std::nothrow)
"""


def headers():
    found = [p.relative_to(INCLUDE).as_posix() for p in sorted(LIBRARY.rglob("*.hpp"))]
    return [h for h in found if not PARTS.search(h)]


def table():
    text = (LIBRARY / "foreign_macros.hpp").read_text()
    return re.findall(r'^#pragma push_macro\("(\w+)"\)\n#undef \1$', text, re.M)


def documented():
    """Names in config.hpp's list of macros that stay, and those of baseline.hpp, which the names of namespaces need."""
    text = (LIBRARY / "config.hpp").read_text()
    block = re.search(r"^// Macros that stay defined.*?(?=^[^/]|^//\n)", text, re.M | re.S)
    baseline = re.findall(r"^#define (EFFICIENTVIT_\w+)", (LIBRARY / "baseline.hpp").read_text(), re.M)
    return set(re.findall(r"EFFICIENTVIT_\w+", block[0])) | set(baseline)


def compile_text(text, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "unit.cpp"
        source.write_text(text)
        run = subprocess.run([*COMPILER, *arguments, source], capture_output=True, text=True, cwd=folder)
    return run.returncode, run.stdout, run.stderr


def includes(names):
    return "".join(f"#include <{name}>\n" for name in names)


def tables():
    names = table()
    ends = re.findall(r'^#pragma pop_macro\("(\w+)"\)$', (LIBRARY / "foreign_macros_end.hpp").read_text(), re.M)
    if names != ends or len(set(names)) != len(names) or len(names) < 100:
        yield f"the two tables differ: {sorted(set(names) ^ set(ends))}"
    lines = (LIBRARY / "foreign_macros.hpp").read_text().splitlines()
    if sum(line.startswith("#") for line in lines) != 2 * len(names):
        yield "foreign_macros.hpp: a line that is no push_macro with its #undef"
    stay, taken_back = documented(), set(re.findall(r"#undef (\w+)", (LIBRARY / "kernels/target_end.hpp").read_text()))
    for path in sorted([*LIBRARY.rglob("*.hpp"), *LIBRARY.rglob("*.inl")]):
        name, text = path.relative_to(LIBRARY).as_posix(), path.read_text()
        undefined = set(re.findall(r"#\s*undef (\w+)", text))
        if name == "kernels/target.hpp":
            undefined = taken_back
        for macro in set(re.findall(r"^\s*#\s*define (\w+)", text, re.M)) - undefined - stay:
            yield f"{name}: {macro} stays defined, and config.hpp does not tell of it"
        if text.count("/target.hpp>") != text.count("/target_end.hpp>") and name != "kernels/target_end.hpp":
            yield f"{name}: target.hpp without target_end.hpp"
        if not re.search(r"^EFFICIENTVIT_BEGIN_(PLAIN_)?NAMESPACE", text, re.M) or PARTS.search(f"efficientvit/{name}"):
            continue
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            yield f"{name}: expected foreign_macros.hpp and foreign_macros_end.hpp, each once"
            continue
        before, between = text.split(BEGIN)
        between, after = between.split(END)
        if "EFFICIENTVIT_BEGIN_" in before or re.search(r"^(?!//)\s*[^#\s/]", after, re.M):
            yield f"{name}: code outside of foreign_macros.hpp and foreign_macros_end.hpp"
        for inner in re.findall(r"#\s*include <(efficientvit/[^>]+)>", between):
            if (pathlib.Path(INCLUDE) / inner).read_text().count(BEGIN) != 0:
                yield f"{name}: {inner} is included between foreign_macros.hpp and foreign_macros_end.hpp"


def poisoned():
    listed = re.findall(r"^[^#\n].*$", pathlib.Path(NAMES).read_text(), re.M)
    names = sorted({*table(), *" ".join(listed).split()})
    poison = "".join(f"#undef {n}\n#define {n} efficientvit_must_not_use_{n} @\n" for n in names)
    # Keywords would not let the test itself say anything, so it asks by directives alone.
    kept = "".join(f"#ifndef {n}\n#error {n} was not given back\n#endif\n" for n in names)
    stay = documented()
    ours = {*re.findall(r"#\s*define (EFFICIENTVIT_\w+)", "\n".join(p.read_text() for p in LIBRARY.rglob("*.hpp")))}
    gone = "".join(f"#ifdef {n}\n#error {n} stays defined\n#endif\n" for n in sorted(ours - stay))
    for order in (headers(), headers()[::-1]):
        status, _, errors = compile_text(OTHERS + poison + includes(order) + kept + gone, "-fsyntax-only")
        if status != 0:
            yield errors[:6000]


def platforms():
    eigen = "#include <unsupported/Eigen/CXX11/Tensor>\n"
    half = len(headers()) // 2
    for text in (BEFORE + eigen, BEFORE + includes(headers()),
                 OTHERS + includes(headers()[half:]) + BEFORE + BEHIND + includes(headers()[:half])):
        status, _, errors = compile_text(text, "-fsyntax-only")
        if status != 0:
            yield errors[:6000]


def main():
    faults = list({"tables": tables, "poisoned": poisoned, "platforms": platforms}[WHAT]())
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


main()
