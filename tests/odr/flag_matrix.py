# SPDX-License-Identifier: Apache-2.0
"""Compiles one unit with many sets of -m flags, and checks what the linker may make of them.

1. No two units have a mergeable symbol of ours in common, but for the plain namespace (views, enums, exceptions), whose
   functions have the same code in all of them, byte for byte.
2. A program whose plain unit is behind a unit of any other flags, so that the linker takes what is merged from there,
   runs on a CPU that has no more than the plain unit's instructions. By qemu-user.

flag_matrix.py MACHINE WORK_DIR INCLUDE_ARGUMENTS KERNELS EMULATOR COMPILER...   KERNELS: the library of
    efficientvit::compiled, or "compile" to compile them here
"""
import concurrent.futures
import itertools
import os
import pathlib
import re
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
# The first set is the plain one; all are scheduled alike, so that code differs by its instructions alone.
FLAGS = {
    "x86_64": ["", "-mssse3", "-msse4.1", "-msse4.2", "-mavx", "-mavx2", "-mavx2 -mfma", "-mf16c", "-mbmi2",
               "-mavxvnni", "-march=nehalem", "-march=sandybridge", "-march=haswell", "-march=znver3",
               "-march=znver4", "-march=skylake-avx512", "-march=icelake-server", "-march=sapphirerapids"],
    "aarch64": ["-march=armv8-a", "-march=armv8-a+lse", "-march=armv8.2-a+dotprod", "-march=armv8.2-a+fp16",
                "-march=armv8.2-a+bf16", "-march=armv8.2-a+i8mm", "-march=armv8.2-a+sve", "-march=armv8.6-a"],
}
ALWAYS = {"x86_64": ["-mtune=generic"], "aarch64": ["-mtune=generic", "-mno-outline-atomics"]}
OLD_CPUS = {"x86_64": ["core2duo", "Nehalem"], "aarch64": ["cortex-a53"]}
FEWEST = {"x86_64": 12, "aarch64": 6}
OURS = re.compile(r"12efficientvit([0-9]+)(v[0-9]+_\w+)")  # namespaces by length and name


def mergeable(path):
    """The weak and unique symbols of an object file (ELF, 64 bits, little endian), with their bytes."""
    data = path.read_bytes()
    table, = struct.unpack_from("<Q", data, 40)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table)]
    count = struct.unpack_from("<H", data, 60)[0] or sections[0][5]
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
    symbols = next(s for s in sections if s[1] == 2)
    extended = next((s for s in sections if s[1] == 18), None)
    names, out = sections[symbols[6]][4], {}
    for i in range(symbols[5] // 24):
        name, info, _, index, value, size = struct.unpack_from("<IBBHQQ", data, symbols[4] + 24 * i)
        if index == 0xFFFF:
            index, = struct.unpack_from("<I", data, extended[4] + 4 * i)
        if index == 0 or info >> 4 not in (2, 10) or index >= count:
            continue
        text = data[names + name: data.index(b"\0", names + name)].decode()
        begin = sections[index][4] + value
        out[text] = data[begin: begin + size] if info & 15 == 2 else b""
    return out


def compile_unit(job):
    command, output = job
    done = subprocess.run([*command, "-o", output], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: status {done.returncode}, {done.stdout}")
    return output


def is_plain(name):
    """Whether a name of ours is in the plain namespace, v0_1_0, where code's has a baseline behind that."""
    inner = (rest[: int(length)] for length, rest in OURS.findall(name))
    return all(re.fullmatch("v[0-9]+_[0-9]+_[0-9]+", namespace) for namespace in inner)


def common_symbols(units):
    """What is wrong with what units have in common."""
    plain = next(iter(units.values()))
    for (a, in_a), (b, in_b) in itertools.combinations(units.items(), 2):
        yield from (f"{a} and {b} share {name}" for name in in_a.keys() & in_b.keys()
                    if OURS.search(name) and not is_plain(name))
    seen = {}
    for flags, symbols in units.items():
        for name in symbols:
            if OURS.search(name) and is_plain(name):
                seen.setdefault(name, {}).setdefault(symbols[name], []).append(flags)
    for name, codes in seen.items():
        if len(codes) > 1:
            yield f"{name} is not the same code for {codes.get(plain.get(name), '?')} and {list(codes.values())}"


def main():
    machine, work, includes, kernels, emulator, *compiler = sys.argv[1:]
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    # Eigen's and ours: the system's own folder would be the wrong machine's for a cross compiler.
    folders = [line.strip() for line in open(includes) if line.strip() != '-I"/usr/include"']
    folders = [folder.replace('"', "").replace("-I", "-isystem", 1) for folder in folders]
    base = [*compiler, "-std=c++20", "-O2", "-DEFFICIENTVIT_COMPILED", *folders, "-pthread"]
    sets = []
    for flags in FLAGS[machine]:
        asked = subprocess.run([*compiler, *flags.split(), "-x", "c++", "-E", "-"], input="", capture_output=True,
                               text=True)
        if asked.returncode == 0:
            sets.append(flags)
    if len(sets) < FEWEST[machine]:
        sys.exit(f"the compiler knows only {sets}")

    jobs = {}
    if kernels == "compile":
        kernels = work / "kernels.o"
        source = HERE.parent.parent / "include/efficientvit/compiled/kernels.cpp"
        jobs["kernels"] = ([*base, "-O1", "-c", source], kernels)
    for i, flags in enumerate(sets):
        unit = [*base, *flags.split(), *ALWAYS[machine], f"-DFLAG_UNIT=unit_{i}", "-c", HERE / "flag_unit.cpp"]
        jobs[flags] = (unit, work / f"unit_{i}.o")
        main_of = [*base, f"-DFLAG_UNIT=unit_{i}", "-c", HERE / "flag_main.cpp"]
        if flags in (sets[0], sets[-1]):
            jobs[f"main of {flags}"] = (main_of, work / f"main_{i}.o")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_unit, jobs.values()))
        units = {flags: mergeable(jobs[flags][1]) for flags in sets}
        bad = list(common_symbols(units))
        plain = units[sets[0]]
        ours = [name for name in plain if OURS.search(name)]
        shared = [name for name in ours if is_plain(name)]
        if len(ours) < 50 or len(shared) < 10:
            sys.exit(f"only {len(ours)} symbols of ours, {len(shared)} of them plain: not what this test is about")
        merged = {name for flags in sets[1:] for name, code in units[flags].items()
                  if not OURS.search(name) and code and plain.get(name, code) != code}
        print(f"{machine}: {len(sets)} sets of flags; of {len(ours)} mergeable symbols of ours in the plain unit "
              f"{len(shared)} are in the plain namespace; of the standard library with other code: {len(merged)}")

        first = jobs[f"main of {sets[0]}"][1]
        links = []
        for i, flags in enumerate(sets):
            objects = [first, jobs[flags][1], *([] if i == 0 else [jobs[sets[0]][1]]), kernels]
            links.append(([*compiler, *objects, "-pthread"], work / f"program_{i}"))
        last = len(sets) - 1
        widest = [*compiler, jobs[f"main of {sets[last]}"][1], jobs[sets[last]][1], kernels, "-pthread"]
        programs = list(pool.map(compile_unit, [*links, (widest, work / "widest")]))
    if emulator == "none":
        print("not run: no qemu-user")
    else:
        bad += emulated(programs, sets, OLD_CPUS[machine], emulator.split(","))
    print(*bad, sep="\n")
    return 1 if bad else 0


def emulated(programs, sets, cpus, emulator):
    """Those programs that an old CPU does not run."""
    def status(program, cpu):
        done = subprocess.run([*emulator, "-cpu", cpu, program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        return done.returncode, done.stdout.strip()

    for cpu in cpus:
        if status(programs[-1], cpu)[0] == 0:
            yield f"{cpu} runs {sets[-1]}: the emulator does not refuse what the CPU lacks"
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for flags, answer in zip(sets, pool.map(lambda program: status(program, cpu), programs[:-1])):
                if answer != (0, "computed"):
                    yield f"{cpu}: the plain unit, behind one of '{flags}': status {answer[0]}, {answer[1][-200:]}"


sys.exit(main())
