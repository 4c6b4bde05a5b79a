#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One-line faults all over the library, and which test notices each. Run by hand: it takes hours.

    tests/mutation/mutate.py plan --seed 2023 --count 150   # draws faults into results.tsv, which it overwrites
    tests/mutation/mutate.py run                            # tries those that have no outcome yet, one after the other
    tests/mutation/mutate.py run 17 23                      # tries these again, after a test was added
    tests/mutation/mutate.py summary

A fault changes one line of kernels, nn, runtime or weights: an operator, a constant, an index, a condition, or a statement
dropped; never comments, text, preprocessor lines or static_asserts. It is applied to a copy of include/ in a scratch
folder, so the checkout stays as it is. Every source of tests is a program of its own here (compiled by g++ -O0, which
computes the same and costs a fifth), and only what includes the faulty file is compiled anew; those likely to notice come
first, and the first that fails, crashes or takes ten times as long as usual ends the trial. A fault has survived when all
programs that can see it have passed. results.tsv keeps each outcome as soon as it is known, so a run may be interrupted.

Not run: tests/compile_fail, numerics, images and examples, the XL networks, and what the CPU lacks (AMX). A survivor costs eight minutes of CPU, what is caught from four seconds on.

Not a judge: whether a survivor is equivalent (only speed changes, say) or shows that a test is missing is written by hand
into the last column. Outcomes: caught, survived, no_compile, equivalent (by hand).
"""
import argparse
import csv
import json
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.tsv")
FOLDERS = ("kernels", "nn", "runtime", "weights")
COLUMNS = ("number", "file", "line", "kind", "before", "after", "outcome", "caught_by", "note")

# ---- faults ----------------------------------------------------------------------------------------------------------

SWAPS = {
    "arithmetic": {" + ": " - ", " - ": " + ", " * ": " + ", " / ": " * ", " % ": " / ", " += ": " -= ", " -= ": " += ",
                   " << ": " >> ", " >> ": " << ", "::add(": "::sub(", "::sub(": "::add(", "::min(": "::max(",
                   "::max(": "::min("},
    "relational": {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == "},
    "logical": {" && ": " || ", " || ": " && ", "true": "false", "false": "true", "!": ""},
}
# Not a fault that any test should see: what is fetched ahead, and the sizes of tiles (results do not depend on them).
SPEED_ONLY = re.compile(r"\bahead\b|WeightsAhead|PREFETCH|_HOLD\(|\btile_(pixels|blocks|addresses|stem|outer)\b|reserve\(|alignas")
NO_STATEMENT = re.compile(r"\s*(return|using|throw|case|default|delete|break|continue|else|goto|friend|template|public)\b")
STATEMENT = re.compile(r"\s*[\w.:<>()\[\]*+-]*[\w)\]](\(.*\)| ([+*/|&-]|<<)?= .*);$|\s*if \(.*\) .*;$")
DECLARED_ARRAY = re.compile(r"\s*(const |static |constexpr |alignas\(\d+\) )*[\w:<>]+[ *&]+\w+\[")


def code_only(text):
    """`text` with comments, literals, preprocessor lines, static_asserts and requirements blanked, lines in place."""
    def blank(match):
        return re.sub(r"[^\n]", "\x01" if match[0][0] in "\"'" else " ", match[0])
    text = re.sub(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/|(?<!\w)\'(?:\\.|[^\'\\])+\'', blank, text, flags=re.S)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)
    return re.sub(r"\bstatic_assert\b.*?;|\brequires\b[^{;]*|\boperator\W+|\benum\b[^}]*|\bstruct WeightsAhead\b.*?\n};", blank,
                  text, flags=re.S)


def closing(code, begin):
    """Where the parenthesis that opens just before `begin` closes; 0 if not on this line."""
    depth = 1
    for at in range(begin, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return 0


def faults_of_line(line, code, previous):
    """(kind, new line) for each fault of one line; `previous` is the code before it."""
    if not code.strip() or SPEED_ONLY.search(code):
        return
    for kind, swaps in SWAPS.items():
        for old, new in swaps.items():
            for match in re.finditer(re.escape(old), code):
                at, end = match.span()
                if old == "!" and code[end:end + 1] == "=" or old.isalpha() and re.search(r"\w", code[at - 1] + code[end:end + 1]):
                    continue
                yield kind, line[:at] + new + line[end:]
    for match in re.finditer(r"(?<![\w.])(0x[0-9a-f]+|\d+(\.\d+)?)(e-?\d+)?(f|u|ull|UL)?(?![\w.])", code):
        kind = "index" if code[match.start() - 1] == "[" and code[match.end():match.end() + 1] == "]" else "constant"
        if kind == "index" and DECLARED_ARRAY.match(code):
            continue
        for step in ("+ 1", "- 1"):
            if match[0] != "0" or step == "+ 1":
                yield kind, f"{line[:match.start()]}({match[0]} {step}){line[match.end():]}"
    for match in re.finditer(r"(?<=[\w)\]])\[([^\[\]\x01]*[a-z][^\[\]\x01]*)\]", code):
        if not DECLARED_ARRAY.match(code):
            yield "index", f"{line[:match.start()]}[{match[1]} + 1]{line[match.end():]}"
    match = re.search(r"\bif (?:constexpr )?\(", code)
    end = closing(code, match.end()) if match else 0
    if end and ";" not in code[match.end():end]:
        yield "condition", f"{line[:match.end()]}!({line[match.end():end]}){line[end:]}"
    if STATEMENT.match(code) and not NO_STATEMENT.match(code) and not re.search("= (default|delete)", code) and previous.rstrip()[-1:] in ("", ";", "{", "}", ":"):
        if code.count("(") == code.count(")"):
            yield "statement", line[:len(line) - len(line.lstrip())] + ";"


def compiled_lines(flags):
    """The lines of each header that this compiler sees on this system: {path in include/efficientvit: {numbers}}."""
    headers = [f"#include <efficientvit/{p}>" for p in headers_of(ROOT) if p.endswith(".hpp") and "/isa/" not in p
               and not p.endswith(("target.hpp", "target_end.hpp"))]
    out = subprocess.run(["g++", *flags, f"-I{ROOT}/include", "-E", "-x", "c++", "-"], input="\n".join(headers), text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    seen, current, number = {}, None, 0
    for line in out.splitlines():
        match = re.match(r'# (\d+) "(.*?)"', line)
        if match:
            number = int(match[1])
            inside = match[2].partition("/include/efficientvit/")[2]
            current = seen.setdefault(inside, set()) if inside else None
        else:
            if current is not None and line.strip():
                current.add(number)
            number += 1
    return seen


def headers_of(root):
    base = root / "include" / "efficientvit"
    return sorted(str(p.relative_to(base)) for folder in FOLDERS for p in (base / folder).rglob("*") if p.is_file())


def plan(seed, count, flags):
    """Draws `count` faults: from every file, more from longer ones, every kind in turn, no line twice."""
    seen, sites = compiled_lines(flags), {}
    for name in headers_of(ROOT):
        text = (ROOT / "include/efficientvit" / name).read_text()
        lines, code = text.splitlines(), code_only(text).splitlines()
        found, previous = {}, ""
        for i, line in enumerate(lines):
            if i + 1 in seen.get(name, ()):
                for kind, after in faults_of_line(line, code[i], previous):
                    found.setdefault(kind, []).append((i + 1, kind, line.strip(), after.strip()))
            previous = code[i] if code[i].strip() else previous
        if found:
            sites[name] = found
    weight = {name: len({s[0] for kind in found.values() for s in kind})**0.5 for name, found in sites.items()}
    drawn = []
    for name, found in sites.items():
        dice = random.Random(f"{seed} {name}")
        for kind in found.values():
            dice.shuffle(kind)
        kinds, used = dice.sample(sorted(found), len(found)), set()
        wanted = max(1, round(count * weight[name] / sum(weight.values())))
        for turn in range(100 * wanted):
            of_kind = found[kinds[turn % len(kinds)]]
            site = of_kind.pop() if of_kind else None
            if site and site[0] not in used and len(used) < wanted:
                used.add(site[0])
                drawn.append((len(used) / (wanted + 1) + dice.random() / 1e3, name, site))
    rows = []
    for number, (_, name, (line, kind, before, after)) in enumerate(sorted(drawn), 1):  # any beginning is a fair sample
        rows.append(dict.fromkeys(COLUMNS, "") | {"number": str(number), "file": name, "line": str(line), "kind": kind,
                                                  "before": before, "after": after})
    return rows


def read_results():
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def write_results(rows):
    with RESULTS.open("w", newline="") as file:
        out = csv.DictWriter(file, COLUMNS, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)

# ---- programs of tests -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    path: str
    flags: tuple = ()


TABLE = Source("tests/kernels/table.cpp")  # the kernels, for tests of nothing else
COMPILED = Source("include/efficientvit/compiled/kernels.cpp", ("-O2",))  # and for those of networks


def programs():
    """{name: sources} of every program of GoogleTest that the faulty folders can be seen from."""
    out = {}
    for path in sorted((ROOT / "tests").glob("*/*_test.cpp")):
        folder, name = path.parent.name, f"tests/{path.parent.name}/{path.name}"
        if folder == "kernels":
            out[name] = (Source(name), TABLE)
        elif folder == "weights":
            out[name] = (Source(name),)
        elif folder in ("golden", "models", "nn", "precision"):
            out[name] = (Source(name, ("-DEFFICIENTVIT_COMPILED",)), COMPILED)
    counting = "tests/nn/allocation_test.cpp"
    out[counting] = (*out[counting], Source("tests/nn/counting_allocator.cpp"))
    return out


class Bench:
    """Objects and programs in a scratch folder, with a copy of include/ that is the library as it is, but for a fault."""

    def __init__(self, scratch, flags):
        self.scratch, self.flags, self.programs = scratch, flags, programs()
        self.costs_file = scratch / "costs.json"  # {program: (s of the CPU to compile, to run)}
        self.costs = json.loads(self.costs_file.read_text()) if self.costs_file.exists() else {}
        (scratch / "sound").mkdir(parents=True, exist_ok=True)
        for made in (scratch / "sound").glob("*.o"):  # what has changed since
            needs = made.with_suffix(".d").read_text().replace("\\\n", " ").split(": ", 1)[1].split()
            if any(not Path(n).exists() or Path(n).stat().st_mtime > made.stat().st_mtime for n in needs):
                made.unlink()
        self.restore()

    def restore(self):
        for path in (ROOT / "include").rglob("*"):
            copy = self.scratch / path.relative_to(ROOT)
            if path.is_file() and (not copy.exists() or copy.read_bytes() != path.read_bytes()):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
        shutil.rmtree(self.scratch / "faulty", ignore_errors=True)
        (self.scratch / "faulty").mkdir()

    def object_of(self, source, header):
        """The object of a source, None if it does not compile; `header` is the faulty one. What does not include it is
        compiled once and kept in scratch/sound."""
        sound, faulty = (self.scratch / folder / (source.path.replace("/", "_") + ".o") for folder in ("sound", "faulty"))
        if sound.exists() and not (header and includes(sound, header)):
            return sound
        if not faulty.exists():
            path = (self.scratch if source.path.startswith("include/") else ROOT) / source.path
            done = subprocess.run(["g++", *self.flags, *source.flags, f"-I{self.scratch}/include", "-MMD", "-c", path, "-o", faulty],
                                  stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                self.message = done.stderr
                return None
            if not (header and includes(faulty, header)):
                faulty.with_suffix(".d").replace(sound.with_suffix(".d"))
                return faulty.replace(sound)
        return faulty

    def trial(self, name, header=None):
        """Builds and runs a program: (outcome, the test that failed)."""
        objects = []
        for source in self.programs[name]:
            objects.append(self.object_of(source, header))
            if objects[-1] is None:
                return "no_compile", name
        if header and not any(o.parent.name == "faulty" for o in objects):
            return "unseen", ""
        program = self.scratch / "faulty/program"
        subprocess.run(["g++", *objects, "-o", program, "-lgtest", "-lgtest_main", "-pthread"], check=True)
        seconds = int(15 + 10 * self.costs[name][1]) if name in self.costs else 600

        def limits():
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        try:  # what waits for ever takes no time of the CPU, so the clock on the wall ends it; generous on a busy machine
            done = subprocess.run([program, "--gtest_fail_fast", f"--gtest_filter=-{LARGEST}"], preexec_fn=limits, cwd=self.scratch, timeout=60 + 10 * seconds,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        except subprocess.TimeoutExpired:
            return "caught", f"{name}: waits for ever"
        if done.returncode == 0:
            return "survived", ""
        begun = re.findall(r"^\[ RUN      \] (\S+)", done.stdout, re.M)
        failed = re.findall(r"^\[  FAILED  \] ([\w./]+\.[\w/]+)", done.stdout, re.M)
        how = "" if done.returncode == 1 else f" (signal {-done.returncode})" if done.returncode < 0 else " (exit)"
        return "caught", f"{name}: {(failed or begun[-1:] or ['start'])[0]}{how}"

    def check_sound(self, name):
        """Once for each program that notices something: it must not fail without a fault. Notes what it costs."""
        if name in self.costs:
            return
        for source in self.programs[name]:
            if self.object_of(source, None) is None:
                sys.exit(self.message)
        begin = cpu_seconds()
        outcome, test = self.trial(name)
        if outcome != "survived":
            sys.exit(f"fails without a fault: {test}")
        self.costs[name] = (3, cpu_seconds() - begin)
        self.costs_file.write_text(json.dumps(self.costs))


def includes(made, header):
    return f"/include/efficientvit/{header}" in made.with_suffix(".d").read_text()


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# Which tests are likely to notice a fault in which file, where names do not tell.
NEAR = {"amx|bf16|f16|fp16|round|products|precision": "bf16_test|f16_test|precision_test|cpu_test", "common|args|isa/|kernels": "pointwise_test|affine_test",
        "lite_mla|attention|mb_conv|ds_conv|bottleneck|block": "blocks_test", "norm|linear|up_sample": "heads_test",
        "convolution|packing|options|op_sequential|identity": "conv_layer_test|module_test",
        "runtime/": "context_test|determinism_test|allocation_test", "name_matching|timm": "load_test",
        "pickle|zip|torch": "hostile_checkpoint_test|torch_checkpoint_test", "replacement": "save_",
        "convert|text": "state_dict_test|precision_test", "mapped|safetensors": "safetensors_test"}
LARGEST = "*XL*"  # tests of networks that are others but for their width, and take as long as all else together
USUAL_COSTS = {"kernels": (5, 4), "weights": (3, 1), "nn": (9, 6)}


def order(names, costs, header, rows):
    """Programs by cost for each fault that they have caught: near this file first of all."""
    near = "|".join(tests for files, tests in NEAR.items() if re.search(files, header))

    def price(name):
        worth = 0.1 + (5 if Path(header).stem in name else 0) + (2 if near and re.search(near, name) else 0)
        for row in rows:
            if row["caught_by"].startswith(name):
                worth += 4 if row["file"] == header else 0.5 if row["file"].split("/")[0] == header.split("/")[0] else 0.1
        return sum(costs.get(name, USUAL_COSTS.get(name.split("/")[1], (15, 15)))) / worth
    return sorted(names, key=price)


def apply(row, text):
    """`text` with the row's fault, wherever the line is by now."""
    lines = text.splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if line.strip() == row["before"]]
    if not places:
        sys.exit(f"{row['file']} no longer has the line: {row['before']}")
    at = min(places, key=lambda i: abs(i + 1 - int(row["line"])))
    lines[at] = lines[at].replace(row["before"], row["after"])
    return "".join(lines)


def run(bench, rows, numbers):
    for row in rows:
        if int(row["number"]) not in numbers if numbers else row["outcome"]:
            continue
        begin, clock, header = cpu_seconds(), time.time(), row["file"]
        faulty = bench.scratch / "include/efficientvit" / header
        outcome, test, tried = "unseen", "", 0
        try:
            faulty.write_text(apply(row, faulty.read_text()))
            for name in order(bench.programs, bench.costs, header, rows):
                result = bench.trial(name, header)
                if result[0] != "unseen":
                    outcome, test, tried = *result, tried + 1
                if outcome not in ("unseen", "survived"):
                    break
        finally:
            bench.restore()
        if outcome not in ("unseen", "survived"):
            bench.check_sound(name)
        row["outcome"], row["caught_by"] = outcome, test
        write_results(rows)
        print(f"{row['number']}: {header}:{row['line']} {row['kind']}: {outcome} {test} ({tried} programs, "
              f"{cpu_seconds() - begin:.0f} s of CPU, {time.time() - clock:.0f} s)", flush=True)


def summary(rows):
    for folder in (*FOLDERS, ""):
        count = lambda outcome: sum(r["outcome"] == outcome for r in rows if r["file"].startswith(folder))
        caught, survived = count("caught"), count("survived")
        print(f"{folder or 'all':8} {caught + survived + count('no_compile') + count('equivalent'):4} faults, "
              f"{count('no_compile'):3} do not compile, {count('equivalent'):3} equivalent, {caught:3} of "
              f"{caught + survived:3} others caught ({100 * caught / max(1, caught + survived):.1f} %)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("plan", "run", "summary"))
    parser.add_argument("numbers", nargs="*", type=int, help="faults to try again")
    parser.add_argument("--seed", default="2023")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--scratch", type=Path, default=ROOT / "build/mutation")
    parser.add_argument("--eigen", default="/usr/include/eigen3")
    args = parser.parse_args()
    flags = ("-std=c++20", "-O0", "-w", "-isystem", args.eigen, f'-DEFFICIENTVIT_TEST_DATA="{ROOT}/tests/data"')
    if args.command == "plan":
        write_results(plan(args.seed, args.count, flags))
    elif args.command == "run":
        run(Bench(args.scratch.resolve(), flags), read_results(), set(args.numbers))
    summary(read_results())


if __name__ == "__main__":
    main()
