# SPDX-License-Identifier: Apache-2.0
"""Charts of a comparison, as plain SVG text: medians of the hot loop as bars, a column for each number of threads; start-up."""
import html

import networks
import report

WIDTH, BAR, GAP, LABEL, RIGHT = 450, 13, 3, 112, 116
PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "int8": "8-bit integers"}
OURS, THEIRS, INK, FAINT = "#c2410c", "#94a3b8", "#1e293b", "#64748b"


def text(x, y, content, size=11, colour=INK, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{html.escape(content)}</text>')


def bars(title, rows, left, top):
    """A title, and a bar for each row: name, value, what is written behind it, whether it is ours."""
    out = [text(left, top + 12, title, 13, weight="bold")]
    scale = (WIDTH - LABEL - RIGHT) / max(value for _, value, _, _ in rows)
    y = top + 20
    for name, value, told, ours in sorted(rows, key=lambda row: row[1]):
        length, weight = scale * value, "bold" if ours else "normal"
        out.append(text(left + LABEL - 6, y + BAR - 3, name, anchor="end", weight=weight))
        out.append(f'<rect x="{left + LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{OURS if ours else THEIRS}"/>')
        out.append(text(left + LABEL + length + 5, y + BAR - 3, told, weight=weight))
        y += BAR + GAP
    return out, y + 12


def panel(data, result, left, top):
    case = networks.Case.parse(result["case"])
    threads = result["threads"]
    rows = []
    for name, t in result["times_ms"].items():
        ratio = result["ratios"].get(name)
        told = f"{t['median']:.2f} ms" + (f"  ×{ratio['median']:.2f}" if ratio else "")
        rows.append((data["titles"][name], t["median"], told, name == data["ours"]))
    return bars(f"{case.title}, {threads} thread{'s' * (threads > 1)}", rows, left, top)


def page(head, drawn, width, top, feet, warning=""):
    """A whole picture: its head, what is drawn down to `top`, and small lines below."""
    lines = [text(16, 24, head, 15, weight="bold"), *drawn]
    lines += [text(16, top + 8 + 14 * i, foot, 9, FAINT) for i, foot in enumerate(feet)]
    lines += [text(16, top + 8 + 14 * len(feet), warning, 11, OURS, weight="bold")] if warning else []
    height = top + 8 + 14 * len(feet) + 10
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(lines) + "\n</svg>\n")


def start_up(data):
    """From a file to the first output: time, memory and libraries, of each runtime's fastest form. Empty where it was not measured."""
    drawn, top = [], 50
    for case, runtimes in data["start_up"].items():
        best = {name: min(forms.values(), key=lambda form: form["ms"]) for name, forms in runtimes.items()}
        name_of = networks.Case.parse(case).title
        for what, key, unit in (("to the first output", "ms", "ms"), ("of memory", "resident_mb", "MB"), ("of libraries", "ships_mb", "MB")):
            rows = [(data["titles"][name], form[key], f"{form[key]:.1f} {unit}", name == data["ours"]) for name, form in best.items()]
            out, top = bars(f"{name_of}: {unit} {what}", rows, 16, top)
            drawn += out
    feet = [report.machine_line(data), report.versions_line(data)]
    return page("From a file to the first output, in a process that has imported the runtime", drawn, 16 + 2 * WIDTH, top, feet) if drawn else ""


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
    feet = [report.machine_line(data), report.versions_line(data)]
    noisy, warning = report.noise(data), ""
    if noisy > report.NOISE_LIMIT:
        warning = f"Not to be quoted: others took up to {noisy:.0f} % of the CPUs."
    head = f"EfficientViT inference on a CPU, {PRECISIONS[data['precision']]}: median ms a run (× = that time / ours)"
    return page(head, out, 16 + WIDTH * len(columns), top, feet, warning)
