# SPDX-License-Identifier: Apache-2.0
"""Fails where a unit (arguments 3, …) has kernels of its own, or the library (argument 2) has none. Argument 1 is nm."""
import re
import subprocess
import sys

KERNEL = re.compile(r"12efficientvit\d+v0_\w+?7kernels(?:6scalar|4avx2|6avx512).*(?:pointwise|depthwise|dense|attention)")


def kernels_of(path):
    names = subprocess.run([sys.argv[1], "--defined-only", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [line.split()[-1] for line in names.splitlines() if KERNEL.search(line)]


library, *units = sys.argv[2:]
print(f"{library}: {len(kernels_of(library))} kernels")
if not kernels_of(library):
    sys.exit("no kernels in the library: not what this test is about")
bad = [f"{unit}: {name}" for unit in units for name in kernels_of(unit)]
sys.exit("\n".join(bad) or 0)
