# SPDX-License-Identifier: Apache-2.0
"""What a person reads of a result of measure.py: tables in Markdown, which read well in a terminal too."""
import networks
import runtimes

NOISE_LIMIT = 5  # per cent of the CPUs that others may take before a result says that it must not be quoted
MODES = {"hot": "one run after the other", "cadence": "64 MB through the caches and 20 ms of sleep before each run"}


def table(head, rows):
    rows = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def fastest_peer(result):
    peers = {name: t for name, t in result["times_ms"].items() if not runtimes.is_ours(name)}
    return min(peers, key=lambda name: peers[name]["median"]) if peers else None


def timing_table(data, result):
    head = ["runtime", "min ms", "median", "p95", "time / ours, median [95 %]", "by min", "error", "rms", "given as"]
    cadence = result["mode"] == "cadence"
    if cadence:
        head[5:6] = ["p95 / ours [95 %]", "CPU ms a frame"]
    rows = []
    for name, t in sorted(result["times_ms"].items(), key=lambda item: item[1]["median"]):
        r = result["ratios"].get(name)
        row = [data["titles"][name], f"{t['min']:.3f}", f"{t['median']:.3f}", f"{t['p95']:.3f}",
               f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" if r else "",
               f"{r['by_min']:.2f}" if r else "", f"{result['errors'][name]:.1e}", f"{result['rms_errors'][name]:.1e}", result["variants"][name]]
        if cadence:
            row[5:6] = [f"{r['p95']:.2f} [{r['p95_low']:.2f}, {r['p95_high']:.2f}]" if r else "",
                        f"{t['cpu_ms_per_frame']:.2f}"]
        rows.append(row)
    return table(head, rows)


def summary_table(data):
    """The fastest peer of each row against ours."""
    rows = []
    for result in data["results"]:
        case, peer = networks.Case.parse(result["case"]), fastest_peer(result)
        if case.network == "identity" or peer is None or data["ours"] not in result["times_ms"]:
            continue
        r = result["ratios"][peer]
        rows.append([case.title + (", cadence" if result["mode"] == "cadence" else ""), result["threads"],
                     f"{result['times_ms'][data['ours']]['median']:.2f}", data["titles"][peer],
                     f"{result['times_ms'][peer]['median']:.2f}", f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}]",
                     f"{min(q['by_min'] for name, q in result['ratios'].items() if not runtimes.is_ours(name)):.2f}",
                     f"{r['p95']:.2f} [{r['p95_low']:.2f}, {r['p95_high']:.2f}]", f"{result['foreign_cpu_percent']:.0f} %"])
    return table(["network", "threads", "ours ms", "fastest peer", "its ms", "ratio by median [95 %]", "by min", "by p95 [95 %]",
                  "others' CPU"], rows) if rows else "This library did not run: no ratios."


def overhead_table(data):
    found = [r for r in data["results"] if networks.Case.parse(r["case"]).network == "identity"]
    names = sorted({name for r in found for name in r["times_ms"]}, key=runtimes.order)
    rows = [[data["titles"][name]] + [f"{1000 * r['times_ms'][name]['median']:.0f}" if name in r["times_ms"] else ""
                                      for r in found] for name in names]
    return table(["runtime"] + [f"µs a call, {r['threads']} thread{'s' * (r['threads'] > 1)}" for r in found], rows)


def start_up_table(data, variants):
    rows = []
    for name, found in variants.items():
        for variant, v in found.items():
            rows.append([v["ms"], [data["titles"][name], variant, f"{v['ms']:.1f}", f"{v['min_ms']:.1f}", f"{v['resident_mb']:.1f}",
                                   f"{v['anonymous_mb']:.1f}", f"{v['import_ms']:.0f}", f"{v['ships_mb']:.1f}"]])
    return table(["runtime", "given as", "load + first run ms", "min", "resident MB", "of it anonymous", "import ms",
                  "libraries MB"], [row for _, row in sorted(rows, key=lambda pair: pair[0])])


def noise(data):
    """The largest share of the CPUs that others took, in per cent."""
    return max((r["foreign_cpu_percent"] for r in data["results"]), default=0)


def machine_line(data):
    m = data["machine"]
    isa = f", held to {data['isa']}" if data["isa"] else ""
    return f"{m['cpu']} ({m['cpus']} CPUs: {', '.join(m['isa_flags'])}{isa}), {m['system']}, {data['date'][:10]}"


def versions_line(data):
    return ", ".join(f"{data['titles'][name]} {version}" + (f" ({data['isas'][name]})" if name in data["isas"] else "")
                     for name, version in data["versions"].items())


def markdown(data):
    parts = [f"# EfficientViT side by side\n\n{machine_line(data)}\n\n{versions_line(data)}\n\n"
             "error: the largest difference from PyTorch in float64, of the largest value; rms: the root of the mean square of the "
             "difference, of the output's."]
    noisy = noise(data)
    if noisy > NOISE_LIMIT:
        parts.append(f"**Others took up to {noisy:.0f} % of the CPUs while this ran: do not quote it, run it again.**")
    if data["not_held_to_isa"]:
        names = ", ".join(data["titles"][name] for name in data["not_held_to_isa"])
        parts.append(f"These cannot be held to {data['isa']} and used what the CPU has: {names}.")
    parts.append(f"## Fastest peer against this library\n\n{summary_table(data)}")
    for result in data["results"]:
        case = networks.Case.parse(result["case"])
        if case.network != "identity":
            parts.append(f"## {case.title}, {result['threads']} thread{'s' * (result['threads'] > 1)}, "
                         f"{MODES[result['mode']]}\n\n{timing_table(data, result)}")
    if any(networks.Case.parse(r["case"]).network == "identity" for r in data["results"]):
        parts.append("## What a call through Python costs\n\nA network of one relu on 3x32x32 values. "
                     f"These times are part of all times above.\n\n{overhead_table(data)}")
    for case, variants in data["start_up"].items():
        parts.append(f"## Start-up of {networks.Case.parse(case).title}, threads: {data['start_up_threads']}\n\nFrom the file to the first output, in a "
                     "process that has imported the runtime; growth of resident memory by it; the runtime's libraries that "
                     f"were mapped then.\n\n{start_up_table(data, variants)}")
    parts.append("## Settings\n\n" + "\n".join(f"- {data['titles'][n]}: {s}" for n, s in data["settings"].items()))
    if data["failures"]:
        parts.append("## What failed\n\n" + "\n".join(f"- {what}: {why}" for what, why in data["failures"].items()))
    return "\n\n".join(parts) + "\n"
