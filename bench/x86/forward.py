#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What one forward executes on x86-64, counted, and how long it would take on some cores, by LLVM's models of them.

    forward.py [--isa avx512,avx2] [--size N] [--top N] [--tree DIR] b0|b1|b2|b3|l1 ...

Compiles ../forward.cpp to assembly, puts a counter before each block of instructions and runs it natively with one forward
and with two: the difference is one forward. Blocks that follow each other and ran equally often are taken for one piece of
code, and llvm-mca tells the cycles of such a piece repeated. So branches are always foreseen, all data is in the first
cache, and pieces do not overlap others. One thread, float32. README.md says which models are right and which are not.
"""
import argparse
import collections
import dataclasses
import os
import pathlib
import re
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
    avx512: bool

    # Multiply-adds of floats that each of these begins in a cycle: one vector of 16, or two of 8.
    products = 16


CORES = [
    Core("Zen 4", "znver4", 3.66, True),
    Core("Zen 3", "znver3", 3.6, False),
    Core("Alder Lake P", "alderlake", 4.0, False),
    Core("Skylake client", "skylake", 3.6, False),
]

DUMP = r"""
#include <stdio.h>
#include <stdlib.h>
extern unsigned long block_counts[], block_count;
__attribute__((destructor)) static void dump(void) {
    FILE* const file = fopen(getenv("BLOCK_COUNTS"), "w");
    for (unsigned long i = 0; file != NULL && i < block_count; ++i) fprintf(file, "%lu\n", block_counts[i]);
    if (file != NULL) fclose(file);
}
"""
COUNT = """\tleaq -128(%rsp), %rsp
\tpushfq
\tincq block_counts+{at}(%rip)
\tpopfq
\tleaq 128(%rsp), %rsp"""  # below the red zone; flags as they were
WIDTH = {"x": 4, "y": 8, "z": 16}


def instrument(assembly):
    """The assembly with a counter before each block, and [(function, instructions)] of the blocks."""
    out, blocks, function, section, begins = [], [], None, ".text", True
    for line in assembly.splitlines():
        text = line.strip()
        if match := re.match(r"\.section\s+([^,\s]+)", text):
            section = match.group(1)
        elif text in (".text", ".data", ".bss"):
            section = text
        label = re.match(r"([.\w$]+):", line)
        if section.startswith(".text") and label:
            begins = True
            if not label.group(1).startswith(".L"):
                function = label.group(1)
        elif section.startswith(".text") and text and text[0] not in ".#":
            if begins:
                out.append(COUNT.format(at=8 * len(blocks)))
                blocks.append((function, []))
            blocks[-1][1].append(text.split("#")[0].strip())
            begins = re.match(r"(j|ret|ud2)", text) is not None
        out.append(line)
    out.append(f"\t.bss\n\t.globl block_counts\n\t.align 8\nblock_counts:\n\t.zero {8 * len(blocks)}")
    out.append(f"\t.data\n\t.globl block_count\n\t.align 8\nblock_count:\n\t.quad {len(blocks)}")
    return "\n".join(out) + "\n", blocks


def build(tree, folder):
    """The program with counters, and its blocks."""
    def at(name):
        return os.path.join(folder, name)

    eigen = next(p for p in ("/usr/include/eigen3", "/usr/local/include/eigen3") if os.path.isdir(p))
    flags = ["-std=c++20", "-O2", f"-I{tree}/include", f"-I{tree}/bench", "-isystem", eigen]
    subprocess.run(["g++", *flags, "-S", "-o", at("plain.s"), f"{tree}/bench/forward.cpp"], check=True)
    with open(at("plain.s")) as file:
        text, blocks = instrument(file.read())
    with open(at("counted.s"), "w") as file:
        file.write(text)
    with open(at("dump.c"), "w") as file:
        file.write(DUMP)
    subprocess.run(["gcc", "-O2", "-c", "-o", at("dump.o"), at("dump.c")], check=True)
    subprocess.run(["g++", "-pthread", "-o", at("counted"), at("counted.s"), at("dump.o")], check=True)
    return at("counted"), blocks


def count(program, isa, arguments, folder):
    out = os.path.join(folder, "counts")
    environment = dict(os.environ, BLOCK_COUNTS=out, EFFICIENTVIT_ISA=isa)
    subprocess.run([program, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
    with open(out) as file:
        return [int(line) for line in file]


def modelled(instruction):
    """An instruction as llvm-mca reads it: targets and addresses of constants are in no model."""
    if re.match(r"j|call", instruction):
        return "jmp nowhere" if "*" in instruction else instruction.split()[0] + " nowhere"
    # LLVM has a broadcast from memory into 512 bits occupy a multiplier of Zen 4; the core's load does it alone.
    instruction = re.sub(r"^vbroadcasts[sd]\s+([^%]\S*\)),", r"vmovups \1,", instruction)
    return re.sub(r"\.L\w+(\(%rip\))?", r"nowhere\1", instruction)


def products(instruction):
    """Multiply-adds of floats in it."""
    if not re.match(r"vfn?m(add|sub)", instruction):
        return 0
    return 1 if re.match(r"\w+ss\b", instruction) else WIDTH[re.findall(r"%([xyz])mm\d+", instruction)[-1]]


def pieces(blocks, times):
    """[(times, function, instructions)] of neighbouring blocks that ran equally often."""
    found, follows = [], False
    for (function, code), n in zip(blocks, times):
        if n > 0 and follows and found[-1][:2] == (n, function) and len(found[-1][2]) < 1500:
            found[-1][2].extend(code)
        elif n > 0:
            found.append((n, function, list(code)))
        follows = n > 0 and not re.match(r"(jmp|ret)", code[-1])
    return found


def cycles(core, codes, iterations=60):
    """Cycles that each piece of code, repeated, takes once; what the model does not know goes by fours."""
    known = llvm_mca.cycles([list(map(modelled, code)) for code in codes], ["-march=x86-64", f"-mcpu={core.cpu}"], iterations)
    return [len(code) / 4 if each is None else each for code, each in zip(codes, known)]


def check(core):
    """The model must begin as many multiply-adds a cycle as the core."""
    register = "zmm" if core.avx512 else "ymm"
    code = [f"vfmadd231ps %{register}14, %{register}15, %{register}{i}" for i in range(12)]
    rate = sum(map(products, code)) / cycles(core, [code])[0]
    if abs(rate - core.products) > 0.05 * core.products:
        raise SystemExit(f"{core.name}: LLVM's model begins {rate:.1f} multiply-adds a cycle, the core {core.products}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--isa", default="avx512,avx2", help="which of those that this CPU has; default avx512,avx2")
    parser.add_argument("--size", default="224", help="rows and columns of the input; default 224")
    parser.add_argument("--top", type=int, default=0, help="functions to show that lose most")
    parser.add_argument("--tree", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."), help="sources")
    parser.add_argument("networks", nargs="+")
    arguments = parser.parse_args()
    for core in CORES:
        check(core)
    with tempfile.TemporaryDirectory() as folder:
        program, blocks = build(arguments.tree, folder)
        for network in arguments.networks:
            for isa in arguments.isa.split(","):
                one, two = (count(program, isa, [network, n, arguments.size], folder) for n in "12")
                code = pieces(blocks, [b - a for a, b in zip(one, two)])
                report(f"{network} {arguments.size} {isa}", [core for core in CORES if core.avx512 or isa != "avx512"], code, arguments.top)


def report(title, cores, code, top):
    executed = sum(n * len(each) for n, _, each in code)
    wanted = sum(n * sum(map(products, each)) for n, _, each in code)
    print(f"\n{title}: {executed / 1e6:.2f} M instructions, {wanted / 1e6:.1f} M multiply-adds\n")
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
        lost = collections.Counter()
        for (n, function, c), cost in zip(much, each):
            lost[function] += n * (cost - sum(map(products, c)) / core.products)
        for function, cost in lost.most_common(top):
            name = subprocess.run(["c++filt", function], capture_output=True, text=True).stdout.strip()
            print(f"    {cost / total:.1%} lost in {re.sub(r'efficientvit::v[0-9a-z_]*::kernels::', '', name)[:100]}")


if __name__ == "__main__":
    sys.exit(main())
