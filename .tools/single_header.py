#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the library as one header, for projects that copy files: single_header.py OUTPUT.

In it are <efficientvit/efficientvit.hpp>, the readers of PyTorch's files and preprocessing of pictures; safetensors where
<nlohmann/json.hpp> can be included; picture files for programs one of whose units defines EFFICIENTVIT_CODEC_IMPLEMENTATION
before it includes the header, which wants libjpeg-turbo and libpng. Each include of ours is replaced by the file: a header
once; what has no `#pragma once` (kernels, which are compiled for one instruction set after the other) as often as it is
included. Everything else stays as it is written, so EFFICIENTVIT_COMPILED and EFFICIENTVIT_IMPLEMENTATION mean the same
as for the headers.

It is no part of the library, so it stands beside it, in a folder of tools.
"""
import argparse
import pathlib
import re
import sys

INCLUDE_DIR = pathlib.Path(__file__).resolve().parent.parent / "include"
ROOTS = {
    "": ["efficientvit.hpp", "weights/torch_checkpoint.hpp", "images/preprocess.hpp", "images/segmentation.hpp",
         "images/codec.hpp"],
    "#if __has_include(<nlohmann/json.hpp>)": ["weights/safetensors.hpp", "weights/save_safetensors.hpp"],
    "#ifdef EFFICIENTVIT_CODEC_IMPLEMENTATION": ["images/codec.cpp"],
}
OURS = re.compile(r"#include <(efficientvit/[^>]+)>")
OPENS, CLOSES = re.compile(r"#\s*if"), re.compile(r"#\s*endif")
# These stand in every header; here those that nothing but comments separates are left out.
BEGIN, END = "efficientvit/foreign_macros.hpp", "efficientvit/foreign_macros_end.hpp"


HEAD = ["// SPDX-License-Identifier: Apache-2.0", "//",
        "// EfficientViT inference in one header, made from many by .tools/single_header.py. Needs Eigen.", "#pragma once", ""]


class SingleHeader:
    def __init__(self):
        self.lines = []
        self.includes = []  # of others' headers that are wanted whatever the conditions
        self.conditions = {}  # of each header: within which #if it stands

    def add(self, name, conditions=()):
        text = (INCLUDE_DIR / name).read_text(encoding="utf-8")
        if "#pragma once\n" in text:
            if name in self.conditions:
                if self.conditions[name] != conditions[: len(self.conditions[name])]:
                    sys.exit(f"{name} stands within {self.conditions[name]} and is wanted outside of it too")
                return
            self.conditions[name] = conditions
        inside = list(conditions)
        for line in text.splitlines():
            if OPENS.match(line):
                inside.append(f"{name}: {line}")
            elif CLOSES.match(line):
                inside.pop()
            included = OURS.match(line)
            if included and included.group(1) in (BEGIN, END):
                self.lines.append(included.group(1))
            elif included:
                self.add(included.group(1), tuple(inside))
            elif line.startswith("#include <") and not inside:
                self.includes += [line] if line not in self.includes else []
            elif line not in ("#pragma once", "// SPDX-License-Identifier: Apache-2.0"):
                self.lines.append(line)

    def text(self):
        lines = "\n".join(self.lines)
        lines = re.sub(rf"^{END}\n((?://.*\n|\n)*){BEGIN}$", r"\1", lines, flags=re.M)
        for name in (BEGIN, END):
            aside = re.findall(r"^#(?:pragma|undef).*$", (INCLUDE_DIR / name).read_text(encoding="utf-8"), re.M)
            lines = re.sub(rf"^{name}$", "\n".join(aside), lines, flags=re.M)
        return re.sub(r"\n{3,}", "\n\n", "\n".join([*HEAD, *self.includes, lines])) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    header = SingleHeader()
    for condition, roots in ROOTS.items():
        header.lines.append(condition)
        for root in roots:
            header.add(f"efficientvit/{root}", (condition,) if condition else ())
        header.lines.append("#endif" if condition else "")
    parser.parse_args().output.write_text(header.text(), encoding="utf-8")


main()
