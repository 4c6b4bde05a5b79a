# SPDX-License-Identifier: Apache-2.0
"""Fails unless the shared library (argument 2) shows the functions of the header (argument 3) and nothing else, and is
named after the header's ABI version. Argument 1 is nm."""
import re
import subprocess
import sys

nm, library, header = sys.argv[1:]
text = open(header).read()
declared = set(re.findall(r"^EV_API [\w ]+?\*? ?\*?(ev_\w+)\(", text, re.MULTILINE))
lines = subprocess.run([nm, "-D", "--defined-only", library], check=True, stdout=subprocess.PIPE, text=True).stdout
shown = {line.split()[-1] for line in lines.splitlines()}
print(f"{len(declared)} functions declared, {len(shown)} shown")
abi = re.search(r"#define EV_ABI_VERSION (\d+)", text)[1]
wrong = [f"not shown: {name}" for name in sorted(declared - shown)]
wrong += [f"shown, but not of the header: {name}" for name in sorted(shown - declared)]
if not library.endswith(f".so.{abi}"):
    wrong.append(f"{library} is not named after ABI version {abi}")
sys.exit("\n".join(wrong) or 0)
