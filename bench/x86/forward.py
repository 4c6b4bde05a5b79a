#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What one forward executes on x86-64, counted, and how long it would take on some cores, by LLVM's models of them.

    forward.py [--ways avx512,avx512:int8] [--size N] [--top N] [--run COMMAND] [--keep DIR] [--tree DIR] b0|b1|b2|b3|l1 ...

Compiles ../forward.cpp to assembly, puts a counter before each block of instructions and lets it make two forwards,
natively or in an emulator: the second is what is counted. Blocks of a function that ran equally often are taken for one
piece of code, and llvm-mca tells the cycles of such a piece repeated. So branches are always foreseen, all data is in the
first cache, and pieces do not overlap others. One thread. README.md says which models are right and which are not.
"""
import argparse
import collections
import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import llvm_mca  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Core:
    """A core, and the model of it."""

    name: str
    cpu: str  # LLVM's name of the model
    ghz: float
    units: tuple  # of what a way may need, what it has
    instead: tuple = ()  # (instruction, with what the model is right)

    # Products of 32 bits (a multiply-add of floats, of two bf16, of four bytes) that each of these begins in a cycle: one
    # vector of 16, or two of 8.
    products = 16


CORES = [
    # LLVM has a zmm of these take twice and three times as long as one of vfmadd231ps, and vpmovusdb 2.5 cycles; see README.
    Core("Zen 4", "znver4", 3.66, ("avx512", "avx512_vnni", "avx512_bf16"),
         ((r"vpdpbusd|vdpbf16ps", "vfmadd231ps"), (r"vpmovusdb\s+%zmm(\d+), %xmm(\d+)", r"vpermd %zmm\1, %zmm\1, %zmm\2"))),
    Core("Zen 3", "znver3", 3.6, ()),
    Core("Alder Lake P", "alderlake", 4.0, ("avx_vnni",)),
    Core("Skylake client", "skylake", 3.6, ()),
]  # fmt: skip
UNITS = {"avx512:int8": "avx512_vnni", "avx512:bf16": "avx512_bf16", "avx2:int8": "none"}


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to compute a network: "avx512", "avx512:int8", "avx2:int8:avx_vnni"."""

    name: str

    @property
    def isa(self):
        return self.name.split(":")[0]

    @property
    def precision(self):
        return (self.name + ":f32").split(":")[1]

    @property
    def unit(self):
        parts = self.name.split(":")
        return parts[2] if len(parts) > 2 else UNITS.get(self.name, "none")

    def environment(self):
        found = {"EFFICIENTVIT_ISA": self.isa}
        if self.precision in ("int8", "bf16"):
            found[f"EFFICIENTVIT_{self.precision.upper()}"] = self.unit
        return found

    def runs_on(self, core):
        return all(need in ("avx2", "none", *core.units) for need in (self.isa, self.unit))


# Writes the counters after each forward, which the program ends by printing a number, and begins anew.
COUNTERS = r"""
#include <stdio.h>
extern unsigned long block_counts[], block_count;
int __wrap_printf(const char* format, ...) {
    (void)format;
    puts("forward");
    for (unsigned long i = 0; i < block_count; ++i) {
        if (block_counts[i] > 0) fprintf(stdout, "%lu %lu\n", i, block_counts[i]);
        block_counts[i] = 0;
    }
    return 0;
}
"""
COUNT = """\tleaq -128(%rsp), %rsp
\tpushfq
\tincq block_counts+{at}(%rip)
\tpopfq
\tleaq 128(%rsp), %rsp"""  # below the red zone; flags as they were
WIDTH = {"x": 4, "y": 8, "z": 16}


@dataclasses.dataclass
class Block:
    """Instructions without a jump among them, and the numbers of the blocks that may come next."""

    function: str
    code: list = dataclasses.field(default_factory=list)
    next: list = dataclasses.field(default_factory=list)


def instrument(assembly):
    """The assembly with a counter before each block, and the blocks."""
    out, blocks, at, function, section, begins = [], [], {}, None, ".text", True
    for line in assembly.splitlines():
        text = line.strip()
        if match := re.match(r"\.section\s+([^,\s]+)", text):
            section = match.group(1)
        elif text in (".text", ".data", ".bss"):
            section = text
        label = re.match(r"([.\w$]+):", line)
        if section.startswith(".text") and label:
            begins = True
            at[label.group(1)] = len(blocks)
            if not label.group(1).startswith(".L"):
                function = label.group(1)
        elif section.startswith(".text") and text and text[0] not in ".#":
            if begins:
                out.append(COUNT.format(at=8 * len(blocks)))
                blocks.append(Block(function))
            blocks[-1].code.append(text.split("#")[0].strip())
            begins = re.match(r"(j|ret|ud2)", text) is not None
        out.append(line)
    for number, block in enumerate(blocks):
        name, *target = block.code[-1].split()
        if name.startswith("j") and target[0] in at:
            block.next.append(at[target[0]])
        if not re.match(r"(jmp|ret|ud2)", name):
            block.next.append(number + 1)
    out.append(f"\t.bss\n\t.globl block_counts\n\t.align 8\nblock_counts:\n\t.zero {8 * len(blocks)}")
    out.append(f"\t.data\n\t.globl block_count\n\t.align 8\nblock_count:\n\t.quad {len(blocks)}")
    return "\n".join(out) + "\n", blocks


def build(tree, folder):
    """The program with counters, and its blocks. What is there already stays."""
    def at(name):
        return os.path.join(folder, name)

    if not os.path.exists(at("plain.s")):
        eigen = next(p for p in ("/usr/include/eigen3", "/usr/local/include/eigen3") if os.path.isdir(p))
        flags = ["-std=c++20", "-O2", f"-I{tree}/include", f"-I{tree}/bench", "-isystem", eigen]
        subprocess.run(["g++", *flags, "-S", "-o", at("part.s"), f"{tree}/bench/forward.cpp"], check=True)
        os.rename(at("part.s"), at("plain.s"))
    with open(at("plain.s")) as file:
        text, blocks = instrument(file.read())
    if not os.path.exists(at("counted")):
        with open(at("counted.s"), "w") as file:
            file.write(text)
        with open(at("counters.c"), "w") as file:
            file.write(COUNTERS)
        subprocess.run(["gcc", "-O2", "-c", "-o", at("counters.o"), at("counters.c")], check=True)
        command = ["g++", "-static", "-pthread", "-Wl,--wrap=printf", "-o", at("counted"), at("counted.s"), at("counters.o")]
        subprocess.run(command, check=True)
    return at("counted"), blocks


def count(command, program, way, network, size, folder, blocks):
    """How often each block ran in the second forward; None where the program ended with an error."""
    name = os.path.join(folder, f"counts {network} {size} {way.name}")
    if not os.path.exists(name):
        line = [program, network, "2", size, way.precision]
        environment = way.environment()
        if command:
            line = [*command, *sum((["--env", f"{key}={value}"] for key, value in environment.items()), []), "--", *line]
        run = subprocess.run(line, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        if run.returncode != 0:
            return None
        with open(name, "w") as file:
            file.write(run.stdout)
    with open(name) as file:
        forwards = file.read().split("forward\n")[1:]
    if len(forwards) != 2:
        raise SystemExit(f"{program} {network} told of {len(forwards)} forwards, not of 2")
    times = [0] * len(blocks)
    for line in forwards[1].splitlines():
        block, n = map(int, line.split())
        times[block] = n
    return times


def modelled(instruction, core):
    """An instruction as llvm-mca reads it: targets and addresses of constants are in no model."""
    if re.match(r"j|call", instruction):
        return "jmp nowhere" if "*" in instruction else instruction.split()[0] + " nowhere"
    for here, instead in core.instead:
        instruction = re.sub("^(?:" + here + ")", instead, instruction)
    # LLVM has a broadcast from memory into 512 bits occupy a multiplier of Zen 4; the core's load does it alone.
    instruction = re.sub(r"^vp?broadcast(s[sd]|[dq])\s+([^%]\S*\)),", r"vmovups \2,", instruction)
    return re.sub(r"\.L\w+(\(%rip\))?", r"nowhere\1", instruction)


def products(instruction):
    """Products of 32 bits in it."""
    if not re.match(r"(\{\w+\} )?(vfn?m(add|sub)|vpdpbusd|vdpbf16ps|vpmadd)", instruction):
        return 0
    return 1 if re.match(r"\w+ss\b", instruction) else WIDTH[re.findall(r"%([xyz])mm\d+", instruction)[-1]]


def multiply_adds(instruction):
    each = 4 if "vpdpbusd" in instruction else 2 if "vdpbf16ps" in instruction or "vpmaddwd" in instruction else 1
    return each * products(instruction)


def pieces(blocks, times):
    """[(times, function, instructions)] of the blocks of a function that ran about equally often, one behind the other as they
    run. Most often they are one loop, of which each call runs a part once more."""
    functions = collections.defaultdict(list)
    for number, n in enumerate(times):
        if n > 0:
            functions[blocks[number].function].append(number)
    found = []
    for function, numbers in functions.items():
        numbers.sort(key=lambda number: -times[number])  # stable: else in the order of the assembly
        while numbers:
            alike = {number: None for number in numbers if times[number] > 0.9 * times[numbers[0]]}
            numbers = [number for number in numbers if number not in alike]
            while alike:
                ran, code, number = 0, [], min(alike)
                while number is not None and len(code) < 1500:
                    del alike[number]
                    ran += times[number] * len(blocks[number].code)
                    code += blocks[number].code
                    number = next((each for each in blocks[number].next if each in alike), min(alike, default=None))
                found.append((ran / len(code), function, code))
    return found


def cycles(core, codes, iterations=60):
    """Cycles that each piece of code, repeated, takes once; what the model does not know goes by fours."""
    code = [[modelled(instruction, core) for instruction in each] for each in codes]
    known = llvm_mca.cycles(code, ["-march=x86-64", f"-mcpu={core.cpu}"], iterations)
    return [len(code) / 4 if each is None else each for code, each in zip(codes, known)]


def check(core):
    """The model must begin as many products a cycle as the core."""
    register = "zmm" if "avx512" in core.units else "ymm"
    unit = {"avx512_vnni": "vpdpbusd", "avx_vnni": "{vex} vpdpbusd", "avx512_bf16": "vdpbf16ps"}
    for name in ["vfmadd231ps", *(unit[each] for each in core.units if each in unit)]:
        code = [f"{name} %{register}14, %{register}15, %{register}{i}" for i in range(12)]
        rate = sum(map(products, code)) / cycles(core, [code])[0]
        if abs(rate - core.products) > 0.05 * core.products:
            raise SystemExit(f"{core.name}: LLVM's model begins {rate:.1f} products a cycle by {name}, the core {core.products}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ways", default="avx512,avx2", help="ISA[:PRECISION[:UNIT]], as avx512:int8; default avx512,avx2")
    parser.add_argument("--size", default="224", help="rows and columns of the input; default 224")
    parser.add_argument("--top", type=int, default=0, help="functions to show that take most")
    parser.add_argument("--run", default="", metavar="COMMAND", help="""what runs the program where this CPU lacks something; it
                        gets --env NAME=VALUE, then -- and the program: "../../tests/emulation/run_avx512.sh --fetch-bochs" """)
    parser.add_argument("--keep", metavar="DIR", help="where program and counts stay, for the next run to use")
    parser.add_argument("--tree", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."), help="sources")
    parser.add_argument("networks", nargs="+")
    arguments = parser.parse_args()
    for core in CORES:
        check(core)
    with tempfile.TemporaryDirectory() as folder:
        folder = arguments.keep or folder
        program, blocks = build(arguments.tree, folder)
        for network in arguments.networks:
            for way in map(Way, arguments.ways.split(",")):
                times = count(shlex.split(arguments.run), program, way, network, arguments.size, folder, blocks)
                if times is None:
                    print(f"\n{network} {arguments.size} {way.name}: not modelled; has this CPU what it needs? (--run)")
                    continue
                cores = [core for core in CORES if way.runs_on(core)]
                report(f"{network} {arguments.size} {way.name}", cores, pieces(blocks, times), arguments.top)


def report(title, cores, code, top):
    executed = sum(n * len(each) for n, _, each in code)
    wanted = sum(n * sum(map(products, each)) for n, _, each in code)
    added = sum(n * sum(map(multiply_adds, each)) for n, _, each in code)
    print(f"\n{title}: {executed / 1e6:.2f} M instructions, {added / 1e6:.1f} M multiply-adds\n")
    print("| core | cycles, M | ms | at GHz | share of the limit |\n|---|--:|--:|--:|--:|")
    code = sorted(code, key=lambda piece: -piece[0] * len(piece[2]))
    much, left = [], 0.995 * executed
    while left > 0:
        much.append(code[len(much)])
        left -= much[-1][0] * len(much[-1][2])
    rest = sum(n * len(c) for n, _, c in code[len(much) :]) / 4
    for core in cores:
        each = cycles(core, [c for _, _, c in much])
        total = sum(n * c for (n, _, _), c in zip(much, each)) + rest
        share = wanted / core.products / total
        print(f"| {core.name} | {total / 1e6:.2f} | {total / core.ghz / 1e6:.3f} | {core.ghz} | {share:.1%} |", flush=True)
        taken, lost = collections.Counter(), collections.Counter()
        for (n, function, c), cost in zip(much, each):
            taken[function] += n * cost
            lost[function] += n * (cost - sum(map(products, c)) / core.products)
        for function, cost in taken.most_common(top):
            name = subprocess.run(["c++filt", function], capture_output=True, text=True).stdout.strip()
            name = re.sub(r"efficientvit::v[0-9a-z_]*::(kernels::)?|^void ", "", name)
            print(f"    {cost / total:5.1%}, of which {lost[function] / cost:4.0%} lost: {name[:100]}")


if __name__ == "__main__":
    sys.exit(main())
