#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hot loops of AArch64 object files or libraries, and how fast LLVM's models of cores run them.

    loops.py FILE ... [--only REGEX] [--least N] [--stripped]

A loop is what lies between a branch backwards and its target, with N products of vectors at least and no other loop or call
inside. Told are its products (multiply-adds of single numbers), instructions for each, loads, and for each core the cycles
of one turn and the share of what the core can multiply and add at most. --stripped: for libraries of many megabytes without
symbols, of which only what surrounds many multiply-adds of floats is disassembled.
"""
import argparse
import array
import itertools
import re
import subprocess

import mca

BACK = re.compile(r"^(b|b\.\w+|cbn?z|tbn?z)\s.*?0x([0-9a-f]+)")


def disassembled(path, *arguments):
    command = ["llvm-objdump-19", "-d", "--demangle", "--no-show-raw-insn", "--no-leading-headers", f"--mattr={mca.FEATURES}"]
    return subprocess.run([*command, *arguments, path], check=True, capture_output=True, text=True).stdout.splitlines()


def instructions(path):
    """(symbol, [(address, instruction)]) of each."""
    name, body = None, []
    for line in disassembled(path):
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            if body:
                yield name, body
            name, body = head.group(1), []
        else:
            body += instruction(line)
    if body:
        yield name, body


def instruction(line):
    """[(address, instruction)], or [] for a line that has none."""
    match = re.match(r"^\s*([0-9a-f]+):\s+(.*)$", line)
    if not match:
        return []
    return [(int(match.group(1), 16), re.sub(r"\s*(//| <).*$", "", match.group(2).replace("\t", " ")).strip())]


def surroundings(path):
    """The same of what surrounds 24 fmla of four floats and more, less than 40 instructions from one to the next."""
    sections = subprocess.run(["llvm-readelf-19", "-SW", path], check=True, capture_output=True, text=True).stdout
    address, offset, size = (int(x, 16) for x in re.search(r"\.text\s+PROGBITS" + 3 * r"\s+([0-9a-f]+)", sections).groups())
    with open(path, "rb") as file:
        file.seek(offset)
        words = array.array("I", file.read(size // 4 * 4))
    found = []
    for i, word in enumerate(words):
        if word & 0xFFC0F400 == 0x4F801000 or word & 0xFFE0FC00 == 0x4E20CC00:  # by element, and by vector
            if found and i - found[-1][1] < 40:
                found[-1][1:] = i, found[-1][2] + 1
            else:
                found.append([i, i, 1])
    for begin, end, count in found:
        if count >= 24:
            bounds = address + 4 * max(0, begin - 60), address + 4 * (end + 60)
            lines = disassembled(path, f"--start-address={bounds[0]}", f"--stop-address={bounds[1]}")
            yield "", [pair for line in lines for pair in instruction(line)]


def innermost_loops(body):
    """[begin, end) of each, as indices."""
    at = {address: i for i, (address, _) in enumerate(body)}
    sums = list(itertools.accumulate((mca.products(text) for _, text in body), initial=0))
    found = []
    for i, (_, text) in enumerate(body):
        branch = BACK.match(text)
        begin = at.get(int(branch.group(2), 16)) if branch else None
        if begin is not None and begin <= i < begin + 2000 and sums[i + 1] > sums[begin]:
            found.append((begin, i + 1))
    inner = sorted(a for a in found if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in found))
    # Of loops that have code in common, as after a "continue", the first.
    return [a for i, a in enumerate(inner) if i == 0 or inner[i - 1][1] <= a[0]]


def loops(path, only=None, least=16, stripped=False):
    for name, body in surroundings(path) if stripped else instructions(path):
        if only and not re.search(only, name):
            continue
        for begin, end in innermost_loops(body):
            code = [text for _, text in body[begin:end]]
            if sum(mca.products(text) for text in code) >= least and not any(text.startswith("bl") for text in code):
                yield name, body[begin][0], code


def short(name):
    """A function's name without its arguments, and without what all names of this library have in common."""
    name = re.sub(r"\(efficientvit::[\w:]*::(\w+)\)(\d+)", r"\1 \2", name)
    return re.sub(r"^void |efficientvit::v\w+::kernels::|\(.*", "", name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--only", help="functions whose name has this in it")
    parser.add_argument("--least", type=int, default=64, help="products in a turn (default 64)")
    parser.add_argument("--stripped", action="store_true", help="only what surrounds many fmla")
    arguments = parser.parse_args()
    mca.check()
    for path in arguments.files:
        found = list(loops(path, arguments.only, arguments.least, arguments.stripped))
        times = [mca.cycles(core, [code for _, _, code in found]) for core in mca.CORES]
        print(f"\n{path}\n\n| loop | products | instructions each | loads |" + "".join(f" {core.name} |" for core in mca.CORES))
        print("|---|--:|--:|--:|" + "--:|" * len(mca.CORES))
        for i, (name, address, code) in enumerate(found):
            count = sum(mca.products(text) for text in code)
            loads = sum(bool(mca.LOAD.match(text)) for text in code)
            fmlas = [count / 4 / core.fmla for core in mca.CORES]
            row = "".join(f" {time[i]:.1f} ({ideal / time[i]:.0%}) |" if time[i] else " |" for time, ideal in zip(times, fmlas))
            print(f"| {short(name)} +{address:x} | {count} | {len(code) / count:.3f} | {loads} |{row}")


if __name__ == "__main__":
    main()
