# SPDX-License-Identifier: Apache-2.0
"""The chart for the README: medians of the hot loop as bars, a column for each number of threads. Plain SVG text."""
import html

import networks
import report

WIDTH, BAR, GAP, LABEL, RIGHT = 450, 13, 3, 112, 116
PRECISIONS = {"f32": "float32", "bf16": "bfloat16"}
OURS, THEIRS, INK, FAINT = "#c2410c", "#94a3b8", "#1e293b", "#64748b"


def text(x, y, content, size=11, colour=INK, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{html.escape(content)}</text>')


def panel(data, result, left, top):
    case = networks.Case.parse(result["case"])
    threads = result["threads"]
    out = [text(left, top + 12, f"{case.title}, {threads} thread{'s' * (threads > 1)}", 13, weight="bold")]
    times = sorted(result["times_ms"].items(), key=lambda item: item[1]["median"])
    scale = (WIDTH - LABEL - RIGHT) / max(t["median"] for _, t in times)
    y = top + 20
    for name, t in times:
        ours = name == data["ours"]
        ratio = result["ratios"].get(name)
        length = scale * t["median"]
        told = f"{t['median']:.2f} ms" + (f"  ×{ratio['median']:.2f}" if ratio else "")
        out.append(text(left + LABEL - 6, y + BAR - 3, data["titles"][name], anchor="end", weight="bold" if ours else "normal"))
        out.append(f'<rect x="{left + LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{OURS if ours else THEIRS}"/>')
        out.append(text(left + LABEL + length + 5, y + BAR - 3, told, weight="bold" if ours else "normal"))
        y += BAR + GAP
    return out, y + 12


def svg(data):
    """Empty where nothing was timed in the hot loop."""
    hot = [r for r in data["results"] if r["mode"] == "hot" and networks.Case.parse(r["case"]).network != "identity"]
    if not hot:
        return ""
    columns = sorted({r["threads"] for r in hot})
    out, bottom = [], {}
    top = 50
    for case in dict.fromkeys(r["case"] for r in hot):
        for result in (r for r in hot if r["case"] == case):
            drawn, bottom[result["threads"]] = panel(data, result, 16 + columns.index(result["threads"]) * WIDTH, top)
            out += drawn
        top = max(bottom.values())
    width, height = 16 + WIDTH * len(columns), top + 46
    head = [text(16, 24, f"EfficientViT inference on a CPU, {PRECISIONS[data['precision']]}: median ms a run (× = that time / ours)", 15, weight="bold")]
    foot = [text(16, top + 8, report.machine_line(data), 9, FAINT), text(16, top + 22, report.versions_line(data), 9, FAINT)]
    noisy = report.noise(data)
    if noisy > report.NOISE_LIMIT:
        foot.append(text(16, top + 36, f"Not to be quoted: others took up to {noisy:.0f} % of the CPUs.", 11, OURS, weight="bold"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
            + "\n".join(head + out + foot) + "\n</svg>\n")
