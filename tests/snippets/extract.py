#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the fenced blocks of Markdown files into sources: extract.py ROOT OUTPUT FILE.md...

A ```c block, or a ```cpp block with a main(), is a program. The other ```cpp blocks, of all files, become one program
more: each a block in main(), in the text's order, with the names of prelude.hpp around it. ```python blocks become one script a file. #line leads messages
back to the Markdown. Prints the names of what it wrote, one a line. Sources that would be as they are stay untouched.
"""

import pathlib
import re
import sys

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def write(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    print(path.name)


def main():
    root, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    fragments = []
    for name in sys.argv[3:]:
        text = (root / name).read_text()
        stem = pathlib.Path(name).stem.lower().replace("-", "_")
        scripts = []
        for block in FENCE.finditer(text):
            line = line_of(text, block.start(2))
            if block[1] == "cpp" and "int main(" in block[2]:
                write(output / f"{stem}_{line}.cpp", f'#line {line} "{root / name}"\n{block[2]}')
            elif block[1] == "c":
                write(output / f"{stem}_{line}.c", f'#line {line} "{root / name}"\n{block[2]}')
            elif block[1] == "cpp":
                fragments.append((line, root / name, block[2].splitlines()))
            elif block[1] == "python":
                scripts.append(f"# {name}:{line}\n{block[2]}")
        if scripts:
            write(output / f"{stem}.py", "\n".join(scripts))
    includes = sorted({line for _, _, lines in fragments for line in lines if line.startswith("#include")})
    parts = ['#include "prelude.hpp"\n', *(f"{include.split('  //')[0]}\n" for include in includes), "\nint main() {\n"]
    for line, path, lines in fragments:
        kept = "\n".join("" if text.startswith("#include") else text for text in lines)
        parts.append(f'{{\n#line {line} "{path}"\n{kept}\n}}\n')
    write(output / "fragments.cpp", "".join(parts) + "}\n")


main()
