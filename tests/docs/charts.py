#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The site's page of charts, from the results in bench/peers: charts.py ROOT OUT writes OUT/charts.md and its pictures. Only
the standard library."""
import json
import pathlib
import sys

root, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
sys.dont_write_bytecode = True
sys.path.insert(0, str(root / "bench/peers"))
import chart  # noqa: E402
import report  # noqa: E402

TEXT = """# Charts {#charts}

What `bench/peers/compare.py` has measured on one machine, drawn when this site was made. `×` is a runtime's time divided by
this library's. The tables, how it was measured and what was left out: [float32](bench/peers/results/compare.md),
[bfloat16](bench/peers/results/bf16.md); other machines: [AMD's](bench/peers/results/amd.md).
"""


def main():
    out.mkdir(parents=True, exist_ok=True)
    parts = [TEXT]
    for results in sorted((root / "bench/peers/results").glob("*.json"), key=lambda path: path.stem):
        data = {"ours": "efficientvit", "precision": "f32", **json.loads(results.read_text())}
        parts.append(f"## {chart.PRECISIONS[data['precision']]}\n\n{report.machine_line(data)}.\n")
        for kind, drawing in (("times", chart.svg(data)), ("start-up", chart.start_up(data))):
            if drawing:
                name = f"{results.stem}-{kind}.svg"
                (out / name).write_text(drawing)
                parts.append(f"![{kind.capitalize()} of each runtime]({name})\n")
    (out / "charts.md").write_text("\n".join(parts))


main()
