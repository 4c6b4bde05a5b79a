#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loads and stores of the stack within the loops that multiply and add.

    find_spills.py OBJDUMP OBJECT [--except REGEX] [--constants REGEX]
    find_spills.py OBJDUMP [--except REGEX] [--constants REGEX] -- COMPILER ARGUMENT ...

Disassembles an object file (x86-64 or AArch64), or what a compiler makes with -c -o behind these arguments, finds the
innermost loops of each function by dominators, and prints those with multiply-adds in them that touch the stack. --except:
functions to leave out. --constants: functions whose loops may read the stack, where constants are, but not write it. Status
0: none. A sum that is kept on the stack costs a load and a store for each of its additions,
which no test of results notices.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

# One multiply-add of vectors or more, on any of the instruction sets that kernels exist for.
MULTIPLY_ADD = re.compile(r"^(vfn?m(add|sub)\d+ps|vdpbf16ps|vpdpbusd|vpmaddwd|tdp\w+|fmla|fmls|bfml\w+|bfdot|bfmmla|smlal2?|sadalp|sdot|udot|smmla|usmmla)\b")
BRANCH = re.compile(r"^(j\w+|loop\w*|b|b\.\w+|bc\.\w+|cbn?z|tbn?z)\s+(?:.*[ ,])?(?:0x)?([0-9a-f]+) <")
END = re.compile(r"^(ret\w*|br|ud2|brk|hlt|udf)\b")
JUMP = re.compile(r"^(jmp\w*|b)\s")
STACK_X86, FRAME_X86 = re.compile(r"\(%[er]sp"), re.compile(r"\(%rbp")
STORE = re.compile(r"^(st\w+\s|(v?mov|v?mask|vextract)\w*\s+[^(]*,\s*-?(0x[0-9a-f]+)?\(%)")
STACK_ARM, FRAME_ARM = re.compile(r"\[sp\b"), re.compile(r"\[x29\b")


def functions(objdump, path):
    """(name, [(address, instruction)]) of each."""
    text = subprocess.run([objdump, "-d", "-C", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    name, body = None, []
    for line in text.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            if body:
                yield name, body
            name, body = head.group(1), []
            continue
        instruction = re.match(r"^\s*([0-9a-f]+):\s+(.*)$", line)
        if instruction:
            body.append((int(instruction.group(1), 16), instruction.group(2).strip()))
    if body:
        yield name, body


def blocks_of(body):
    """Basic blocks as [begin, end) of instructions, and the blocks that each may go on to."""
    at = {address: i for i, (address, _) in enumerate(body)}
    targets = {}
    for i, (_, text) in enumerate(body):
        branch = BRANCH.match(text)
        if branch and int(branch.group(2), 16) in at:
            targets[i] = at[int(branch.group(2), 16)]
    leaders = {0} | set(targets.values()) | {i + 1 for i, (_, text) in enumerate(body) if BRANCH.match(text) or END.match(text)}
    begins = sorted(i for i in leaders if i < len(body))
    block_at = {begin: n for n, begin in enumerate(begins)}
    blocks, successors = [], []
    for n, begin in enumerate(begins):
        end = begins[n + 1] if n + 1 < len(begins) else len(body)
        last = body[end - 1][1]
        to = []
        if end - 1 in targets:
            to.append(block_at[targets[end - 1]])
        if not END.match(last) and not JUMP.match(last) and end < len(body):
            to.append(block_at[end])
        blocks.append((begin, end))
        successors.append(to)
    return blocks, successors


def innermost_loops(successors):
    """Sets of blocks: natural loops that contain no other."""
    count = len(successors)
    predecessors = [[] for _ in range(count)]
    for block, to in enumerate(successors):
        for next_block in to:
            predecessors[next_block].append(block)
    everything = (1 << count) - 1
    dominators = [1] + [everything] * (count - 1)
    changed = True
    while changed:
        changed = False
        for block in range(1, count):
            common = everything
            for before in predecessors[block]:
                common &= dominators[before]
            if not predecessors[block]:
                common = 0  # jumped to by a table, or dead
            common |= 1 << block
            if common != dominators[block]:
                dominators[block], changed = common, True
    loops = {}
    for block, to in enumerate(successors):
        for head in to:
            if dominators[block] >> head & 1:
                loop, left = {head}, [block]
                while left:
                    inside = left.pop()
                    if inside not in loop:
                        loop.add(inside)
                        left += predecessors[inside]
                loops[head] = loops.get(head, set()) | loop
    return [loop for loop in loops.values() if not any(other < loop for other in loops.values())]


def spills(body):
    """(multiply-adds, accesses) of each innermost loop that touches the stack."""
    text = [instruction for _, instruction in body]
    arm = any(instruction.startswith(("ldp", "stp", "fmla", "adrp")) for instruction in text)
    frame = any(re.match(r"mov\s+%rsp,%rbp" if not arm else r"mov\s+x29, sp", instruction) for instruction in text)
    stack, by_frame = (STACK_ARM, FRAME_ARM) if arm else (STACK_X86, FRAME_X86)
    blocks, successors = blocks_of(body)
    for loop in innermost_loops(successors):
        inside = [text[i] for block in loop for i in range(*blocks[block])]
        products = sum(bool(MULTIPLY_ADD.match(instruction)) for instruction in inside)
        touching = [i for i in inside if not i.startswith("lea") and (stack.search(i) or (frame and by_frame.search(i)))]
        if products and touching:
            yield products, touching


def check(objdump, path, left_out, constants):
    """Prints what is found in an object file; the status to exit with."""
    seen, found = 0, 0
    for name, body in functions(objdump, path):
        if (left_out and re.search(left_out, name)) or not any(MULTIPLY_ADD.match(text) for _, text in body):
            continue
        seen += 1
        for products, touching in spills(body):
            if constants and re.search(constants, name) and not any(STORE.match(text) for text in touching):
                continue
            found += 1
            print(f"{name}: {len(touching)} accesses of the stack in a loop of {products} multiply-adds: {'; '.join(touching[:4])}")
    print(f"{seen} functions with multiply-adds, {found} loops that touch the stack")
    if seen == 0:
        sys.exit("no multiply-add found: wrong file?")
    return 1 if found else 0


def main():
    own, _, command = "\0".join(sys.argv[1:]).partition("\0--\0")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("objdump")
    parser.add_argument("object", nargs="?")
    parser.add_argument("--except", dest="left_out")
    parser.add_argument("--constants")
    arguments = parser.parse_args(own.split("\0"))
    if not command:
        sys.exit(check(arguments.objdump, arguments.object, arguments.left_out, arguments.constants))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "unit.o")
        subprocess.run([*command.split("\0"), "-c", "-o", path], check=True)
        sys.exit(check(arguments.objdump, path, arguments.left_out, arguments.constants))


if __name__ == "__main__":
    main()
