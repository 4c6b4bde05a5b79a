# SPDX-License-Identifier: Apache-2.0
"""Cycles of code by LLVM's models of cores, for arm/ and x86/."""
import json
import subprocess

AT_ONCE = 100  # pieces of code in a run of llvm-mca


def cycles(pieces, arguments, iterations):
    """Cycles that each piece (a list of instructions, whose branches go to "nowhere"), repeated, takes once. None where the
    model knows no such code."""
    return sum((_cycles(pieces[i : i + AT_ONCE], arguments, iterations) for i in range(0, len(pieces), AT_ONCE)), [])


def _cycles(pieces, arguments, iterations):
    lines = ["nowhere:"]
    for number, piece in enumerate(pieces):
        lines += [f"# LLVM-MCA-BEGIN {number}", *piece, f"# LLVM-MCA-END {number}"]
    command = ["llvm-mca-19", *arguments, f"-iterations={iterations}", "-json"]
    # A store may be of what a load reads next where that is the stack, else they are of other arrays.
    run = subprocess.run(command, input="\n".join(lines) + "\n", text=True, capture_output=True)
    if run.returncode != 0:
        if len(pieces) == 1:
            return [None]
        half = len(pieces) // 2
        return _cycles(pieces[:half], arguments, iterations) + _cycles(pieces[half:], arguments, iterations)
    by_name = {region["Name"]: region for region in json.loads(run.stdout)["CodeRegions"]}
    return [by_name[str(n)]["SummaryView"]["TotalCycles"] / iterations if str(n) in by_name else None for n in range(len(pieces))]
