#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What one forward executes on AArch64, counted, and how long it would take on some cores, by LLVM's models of them.

    forward.py [--products N] [--top N] PROGRAM ARGUMENT ...

The program runs twice under QEMU, with "{}" among its arguments replaced by 1 and by 2: the difference is one forward. QEMU
counts each block of instructions; runs of instructions that executed equally often are taken for one piece of code, and
llvm-mca tells the cycles of such a piece repeated. So branches are always foreseen, all data is in the first cache, and
pieces that follow each other overlap as those that repeat. What is left is the code itself. One thread.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

import loops
import mca


def build_plugin(folder):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count_blocks.c")
    path = os.path.join(folder, "count_blocks.so")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


def count(qemu, plugin, command, folder):
    """Times that the instruction at each address ran, and its encoding."""
    out = os.path.join(folder, "blocks")
    subprocess.run([*qemu, "-plugin", f"{plugin},out={out}", *command], check=True, stdout=subprocess.DEVNULL)
    times, words = collections.Counter(), {}
    with open(out) as file:
        for line in file:
            executed, address, *code = line.split()
            for i, word in enumerate(code):
                at = int(address, 16) + 4 * i
                times[at] += int(executed)
                words[at] = word
    return times, words


def disassemble(words):
    """The instruction of each encoding; unknown ones are left out."""
    unique = sorted(set(words))
    octets = ["0x" + word[6:8] + " 0x" + word[4:6] + " 0x" + word[2:4] + " 0x" + word[0:2] for word in unique]
    command = ["llvm-mc-19", "-disassemble", "-triple=aarch64", f"-mattr={mca.FEATURES}", "-show-encoding"]
    text = subprocess.run(command, input="\n".join(octets), capture_output=True, text=True).stdout
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*(.*?)\s*// encoding: \[(.*)\]", line)
        if match:
            octets = [int(octet, 16) for octet in match.group(2).split(",")]
            found["".join(f"{octet:02x}" for octet in reversed(octets))] = re.sub(r"\s+", " ", match.group(1))
    return found


def pieces(times, words):
    """(times, address, encodings) of neighbouring instructions that ran equally often."""
    found = []
    for at in sorted(a for a, n in times.items() if n > 0):
        if found and found[-1][0] == times[at] and found[-1][1] + 4 * len(found[-1][2]) == at and len(found[-1][2]) < 1500:
            found[-1][2].append(words[at])
        else:
            found.append((times[at], at, [words[at]]))
    return found


def symbols(path):
    text = subprocess.run(["llvm-nm-19", "-n", "--demangle", path], capture_output=True, text=True).stdout
    lines = [line.split(" ", 2) for line in text.splitlines() if re.match(r"^[0-9a-f]+ [tTwW] ", line)]
    return [(int(address, 16), name) for address, _, name in lines]


def name_of(table, address):
    before = [name for at, name in table if at <= address]
    return before[-1] if before else f"{address:x}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--qemu", default="qemu-aarch64 -cpu neoverse-n1 -L /usr/aarch64-linux-gnu", help="and its arguments")
    parser.add_argument("--products", type=float, help="multiply-adds of the network, in millions; default: those executed")
    parser.add_argument("--top", type=int, default=0, help="pieces of code to show")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    mca.check()
    with tempfile.TemporaryDirectory() as folder:
        plugin = build_plugin(folder)
        one, two = (count(arguments.qemu.split(), plugin, [a.replace("{}", str(n)) for a in arguments.command], folder) for n in (1, 2))
    times = collections.Counter({at: n - one[0].get(at, 0) for at, n in two[0].items()})
    code = pieces(times, two[1])
    text = disassemble(word for _, _, words in code for word in words)
    report(arguments, code, text)


def report(arguments, code, text):
    executed = sum(n * len(words) for n, _, words in code)
    by_products = collections.Counter()
    loads = 0
    for n, _, words in code:
        for word in words:
            by_products[mca.products(text.get(word, ""))] += n
            loads += n if mca.LOAD.match(text.get(word, "")) else 0
    products = sum(each * n for each, n in by_products.items())
    wanted = arguments.products * 1e6 if arguments.products else products
    print(f"{executed / 1e6:.1f} M instructions, {loads / 1e6:.1f} M of them loads, {products / 1e6:.1f} M multiply-adds;")
    print(f"{executed / wanted:.3f} instructions for each of {wanted / 1e6:.1f} M multiply-adds\n")

    code.sort(key=lambda piece: -piece[0] * len(piece[2]))
    left, much = 0.995 * executed, []
    while left > 0 and len(much) < len(code):
        much.append(code[len(much)])
        left -= much[-1][0] * len(much[-1][2])
    bodies = [[text[word] for word in words if word in text] for _, _, words in much]
    rest = sum(n * len(words) for n, _, words in code[len(much) :])
    print("| core | cycles, M | ms | at GHz | share of the limit |\n|---|--:|--:|--:|--:|")
    costs = {}
    for core in mca.CORES:
        each = mca.cycles(core, bodies, 50)
        costs[core] = [n * (c if c is not None else len(b) / core.issue) for (n, _, _), c, b in zip(much, each, bodies)]
        total = sum(costs[core]) + rest / core.issue
        print(f"| {core.name} ({core.machine}) | {total / 1e6:.2f} | {total / core.ghz / 1e6:.2f} | {core.ghz} | {wanted / 4 / core.fmla / total:.0%} |")
    if not arguments.top:
        return
    table = symbols(arguments.command[0])
    core = next(c for c in mca.CORES if c.cpu == "neoverse-n1")
    whole = sum(costs[core])
    print(f"\n| {core.name}: share of cycles | times | instructions | products | cycles | where |\n|--:|--:|--:|--:|--:|---|")
    for i in sorted(range(len(much)), key=lambda i: -costs[core][i])[: arguments.top]:
        n, address, words = much[i]
        count_ = sum(mca.products(instruction) for instruction in bodies[i])
        where = loops.short(name_of(table, address))
        print(f"| {costs[core][i] / whole:.1%} | {n} | {len(words)} | {count_} | {costs[core][i] / n:.1f} | {where} +{address:x} |")


if __name__ == "__main__":
    sys.exit(main())
