# SPDX-License-Identifier: Apache-2.0
"""Looks into the object files of units: which of our functions two of them share, and who uses AVX.

symbols PLAIN WIDE       no function of ours in both, but for those of the plain namespace (views, enums, exceptions),
                         of which the wide copy must not use AVX, as the linker may keep it for all
instructions PLAIN       AVX in functions of kernels::avx2 and kernels::avx512 only
"""
import argparse
import re
import subprocess
import sys

# The beginning of a mangled name in namespace efficientvit, whatever kind of thing it is.
OURS = re.compile(r"_Z(?:GV|GR|TV|TT|TI|TS|TH|TW|Z|L)*N[KVRO]*12efficientvit")
WIDE_KERNELS = re.compile(r"_ZN[KL]*12efficientvit[0-9]+v[0-9]+_\w+?7kernels(?:4avx2|6avx512)")
# VEX and EVEX instructions begin with v; the others that do are no vector code. k registers are AVX-512's masks.
AVX = re.compile(r"\s(?:v(?!err|erw|mcall|mlaunch|mmcall|mrun)[a-z0-9]+|k[a-z]+[bwdq])\s|%[yz]mm|%k[0-7]")


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def is_plain(name):
    """Whether a name of ours is in the plain namespace: v0_1_0, where code's has a baseline behind it."""
    length, rest = re.match(OURS.pattern + "([0-9]+)(.*)", name).groups()
    return re.fullmatch("v[0-9]+_[0-9]+_[0-9]+", rest[: int(length)]) is not None


def demangled(name):
    try:
        return output_of("c++filt", name).strip()
    except (OSError, subprocess.CalledProcessError):
        return name


def our_symbols(nm, path):
    names = (line.split()[-1] for line in output_of(nm, "--defined-only", path).splitlines() if line.strip())
    return {name for name in names if OURS.match(name)}


def functions_with_avx(objdump, path):
    """Mangled names of the functions in which at least one instruction is AVX, with that instruction."""
    found, function, functions = {}, None, 0
    for line in output_of(objdump, "-d", "--no-show-raw-insn", path).splitlines():
        header = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if header:
            function, functions = header.group(1), functions + 1
        elif function not in found and AVX.search(line.partition("#")[0] + " "):
            found[function] = line.split(":", 1)[-1].strip()
    if functions < 10:
        sys.exit(f"{path}: only {functions} functions: not what this test is about")
    return found


def check_symbols(tools, plain, wide):
    ours_plain, ours_wide = our_symbols(tools.nm, plain), our_symbols(tools.nm, wide)
    for path, names in (plain, ours_plain), (wide, ours_wide):
        if not any(WIDE_KERNELS.match(name) for name in names):
            sys.exit(f"{path}: no kernels in it: not what this test is about")
    shared = ours_plain & ours_wide
    print(f"{len(ours_plain)} and {len(ours_wide)} symbols of ours, shared: {len(shared)}")
    avx = functions_with_avx(tools.objdump, wide)
    bad = [f"shared: {demangled(name)}" for name in sorted(shared) if not is_plain(name)]
    bad += [f"shared, with {avx[name]}: {demangled(name)}" for name in sorted(shared) if name in avx]
    return bad


def check_instructions(tools, plain):
    avx = functions_with_avx(tools.objdump, plain)
    outside = [name for name in sorted(avx) if not WIDE_KERNELS.match(name)]
    print(f"{len(avx)} functions with AVX, outside its kernels: {len(outside)}")
    if not avx:
        sys.exit(f"{plain}: no AVX at all: not what this test is about")
    return [f"{avx[name]} in {demangled(name)}" for name in outside]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--objdump", default="objdump")
    parser.add_argument("check", choices=["symbols", "instructions"])
    parser.add_argument("objects", nargs="+")
    arguments = parser.parse_args()
    check = check_symbols if arguments.check == "symbols" else check_instructions
    bad = check(arguments, *arguments.objects)
    for line in bad:
        print(line)
    return 1 if bad else 0


sys.exit(main())
