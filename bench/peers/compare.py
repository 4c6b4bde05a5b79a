#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times this library side by side with other runtimes: one command, which sets up what it needs.

Makes a Python environment with pinned peers, builds this library behind a C interface, exports the same networks with
the same weights for every runtime, checks that all compute the same, times them interleaved, and writes tables,
JSON and a chart. Only the Python standard library up to there; the work is in the modules beside this file.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

MODELS = "b0@224,b0@512,b1@224,b2@224,b3@224,b0@224x8"
MODES = ("hot", "cadence", "startup")
ENVIRONMENT_GB = 9  # PyTorch's wheel brings CUDA along

EPILOGUE = """examples:
  compare.py                                    all of it: about 10 GB once, then at most 15 minutes
  compare.py --models b0@224 --threads 1        one network on one thread
  compare.py --models b3@224,b0@512x1024 --peers openvino,litert
  compare.py --models l1@224,seg_b0_cityscapes@512x1024,sam_l0@512
  compare.py --cadence                          with cold caches and 20 ms of sleep before each run
  compare.py --precision bf16                   this library and all that can in bfloat16
  compare.py --precision int8                   in 8 bits: the others quantised by their own tools, with calibration
  compare.py --isa avx2                         held to AVX2, where a runtime lets itself be held

A network is written name@height[xwidth][*batch]; name@sizexbatch is a batch too where the second number is below 32.
The first one given is also the one whose start-up, and with --modes …,cadence whose cadence, is measured.
PyTorch comes with its CUDA libraries where pip finds no smaller build; pip's own settings (PIP_EXTRA_INDEX_URL) apply.
"""


def add_common_arguments(parser):
    """What segment_images.py takes too."""
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="rounds in shuffled order (default 30)")
    parser.add_argument("--env", type=pathlib.Path, default=ROOT / "build/peers-env", metavar="DIR",
                        help="where the Python environment, exported networks and builds stay (default build/peers-env)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/peers-results", metavar="DIR",
                        help="where results and log.txt go (default build/peers-results)")
    parser.add_argument("--cxx", default=os.environ.get("CXX", "g++"), help="compiler for this library (default $CXX or g++)")
    parser.add_argument("--eigen", metavar="DIR", help="where Eigen's headers are, if pkg-config does not know")


def check_common_arguments(parser, o):
    if not 1 <= min(o.threads) <= max(o.threads) <= len(os.sched_getaffinity(0)):
        parser.error(f"--threads {max(o.threads)}: {len(os.sched_getaffinity(0))} CPUs are here")
    if o.rounds < 5:
        parser.error("--rounds must be at least 5")
    o.env, o.out = o.env.resolve(), o.out.resolve()


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=EPILOGUE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    import runtimes
    names = list(runtimes.RUNTIMES)
    parser.add_argument("--models", default=MODELS, metavar="LIST", help=f"networks and sizes (default {MODELS})")
    parser.add_argument("--threads", default="1,2", metavar="LIST", help="numbers of threads (default 1,2)")
    parser.add_argument("--peers", default=",".join(names[1:]), metavar="LIST",
                        help=f"of {', '.join(names[1:])} (default: all); this library always runs")
    parser.add_argument("--modes", default=",".join(MODES), metavar="LIST", help=f"of {', '.join(MODES)} (default: all)")
    parser.add_argument("--cadence", action="store_true", help="cadence mode alone, of every network given")
    parser.add_argument("--isa", default="", choices=["avx2"], help="hold runtimes to this instruction set")
    parser.add_argument("--precision", default="f32", choices=runtimes.PRECISIONS,
                        help="what networks are multiplied in; a runtime that has none stays in f32 (default f32)")
    parser.add_argument("--start-ups", type=int, default=5, metavar="N", help="fresh processes for each start-up (default 5)")
    add_common_arguments(parser)
    parser.add_argument("--set-up-only", action="store_true", help="make the environment, build and export, measure nothing")
    parser.add_argument("--add", action="store_true",
                        help="keep what --out holds of other networks, threads and modes, and add to it")
    o = parser.parse_args(arguments)

    import networks
    try:
        o.cases = list(dict.fromkeys(networks.Case.parse(text.strip()) for text in o.models.split(",")))
    except ValueError as error:
        parser.error(str(error))
    if not all(t.strip().isdigit() and int(t) > 0 for t in o.threads.split(",")):
        parser.error(f"--threads {o.threads}: numbers from 1 up, separated by commas")
    o.threads = sorted({int(t) for t in o.threads.split(",")})
    asked = [name.strip() for name in o.peers.split(",") if name.strip() not in ("", names[0])]
    for name in asked:
        if name not in names:
            parser.error(f"no runtime is called '{name}'; there are: {', '.join(names[1:])}")
    o.peers = runtimes.in_precision([names[0]] + asked, o.precision)
    o.modes = ["cadence"] if o.cadence else [mode.strip() for mode in o.modes.split(",")]
    o.cadence_all = o.cadence
    for mode in o.modes:
        if mode not in MODES:
            parser.error(f"no mode is called '{mode}'; there are: {', '.join(MODES)}")
    if o.start_ups < 1:
        parser.error("--start-ups must be at least 1")
    check_common_arguments(parser, o)
    return o


def stop(message):
    raise SystemExit(f"{pathlib.Path(sys.argv[0]).stem}: {message}")


def digest(*parts):
    return hashlib.sha256(b"\0".join(p.read_bytes() if isinstance(p, pathlib.Path) else str(p).encode() for p in parts)
                          ).hexdigest()[:12]


def ensure_environment(o):
    """The Python environment's interpreter."""
    install(o, HERE / "requirements.txt")
    if o.precision == "int8":
        install(o, HERE / "requirements-int8.txt")
    return o.env / "bin/python"


def install(o, requirements):
    """With what the constraints pin, unless it is there."""
    python = o.env / "bin/python"
    constraints = HERE / "constraints.txt"
    mark = o.env / f"installed-{digest(requirements, constraints)}"
    if mark.exists():
        return
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        stop(f"the pinned peers exist for Python 3.11 and 3.12, this is {sys.version.split()[0]}; run it with another python3")
    o.env.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(o.env).free / 2**30
    if free < ENVIRONMENT_GB and not python.exists():
        stop(f"{o.env} has {free:.1f} GB free, the peers take {ENVIRONMENT_GB}; see --env")
    print(f"Making {o.env} ({ENVIRONMENT_GB} GB, a few minutes) …" if not python.exists() else
          f"Installing {requirements.name} into {o.env} …", flush=True)
    for command in ([sys.executable, "-m", "venv", o.env],
                    [python, "-m", "pip", "install", "--require-virtualenv", "-r", requirements, "-c", constraints]):
        if subprocess.run(command).returncode != 0:
            stop("that failed, see above; on Debian and Ubuntu `apt-get install python3-venv` brings venv and pip")
    mark.touch()


def eigen_flags(o):
    if o.eigen:
        return ["-isystem", o.eigen]
    try:
        found = subprocess.run(["pkg-config", "--cflags", "eigen3"], capture_output=True, text=True)
        if found.returncode == 0:
            return shlex.split(found.stdout)
    except FileNotFoundError:
        pass
    for folder in ("/usr/include/eigen3", "/usr/local/include/eigen3", "/opt/homebrew/include/eigen3"):
        if pathlib.Path(folder).exists():
            return ["-isystem", folder]
    stop("no Eigen found: `apt-get install libeigen3-dev`, or --eigen DIR")


def build_library(o, source, names):
    """One stripped library for each network, compiled as a user would: -O2 and no -m flags."""
    import networks
    source, sources = HERE / source, sorted(HERE.glob("*.[ch]pp"))  # they include each other
    headers = sorted(p for p in (ROOT / "include").rglob("*") if p.is_file())
    command = [*shlex.split(o.cxx), "-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-s",
               f"-I{ROOT / 'include'}", *eigen_flags(o), *([] if o.precision == "f32" else [f"-DEVC_{o.precision.upper()}"])]
    try:
        compiler = subprocess.run([*shlex.split(o.cxx), "--version"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        stop(f"no compiler '{o.cxx}'; see --cxx")
    folder = o.env / f"native-{digest(source.name, *sources, *headers, compiler, *command)}"
    folder.mkdir(parents=True, exist_ok=True)

    def build(name):
        library = folder / f"libefficientvit_{name}.so"
        if library.exists():
            return
        print(f"  compiling {name} …", flush=True)
        cpp = networks.NETWORKS[name].cpp
        define = [f"-DEVC_NETWORK={cpp}"] if cpp else []
        made = library.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, *define, source, "-o", made], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name} does not compile, so only the others are timed:\n{done.stderr[-3000:]}", file=sys.stderr)
            return
        made.rename(library)

    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count())) as pool:
        list(pool.map(build, names))
    return folder, compiler.splitlines()[0]


def prepare(o, source, names):
    """The environment, in which the calling script goes on, and the builds. Returns the compiler's version."""
    python = ensure_environment(o)
    if pathlib.Path(sys.prefix).resolve() != o.env:
        os.execv(python, [python, *sys.argv])
    o.native, compiler = build_library(o, source, names)
    o.out.mkdir(parents=True, exist_ok=True)
    o.models_dir = o.env / "models"
    # Nothing here looks for weights, reports to anybody, or leaves caches outside the environment's folder.
    o.cache_environment = {
        "TORCHINDUCTOR_CACHE_DIR": str(o.env / "inductor"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "OPENVINO_TELEMETRY_DISABLE": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(o.env),
        "PATH": f"{o.env / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONNOUSERSITE": "1", "PIP_REQUIRE_VIRTUALENV": "1"}
    return compiler


def main():
    import networks
    o = parse(sys.argv[1:])
    compiler = prepare(o, "efficientvit_c.cpp", sorted({"identity"} | {case.network for case in o.cases}))
    import chart
    import measure
    import report
    comparison = measure.Comparison(o)
    if o.set_up_only:
        comparison.export_all([*o.cases, networks.Case.parse(networks.IDENTITY)])
        return
    data = comparison.run()
    data["compiler"] = compiler
    if o.add and (o.out / "compare.json").exists():
        data = measure.added(json.loads((o.out / "compare.json").read_text()), data)
    told = report.markdown(data)
    (o.out / "compare.json").write_text(json.dumps(data, indent=1) + "\n")
    (o.out / "compare.md").write_text(told)
    drawing = chart.svg(data)
    if drawing:
        (o.out / "compare.svg").write_text(drawing)
    print(f"\n{told}\nWritten to {o.out}: compare.json, compare.md" + (", compare.svg" if drawing else ""))
    wrong = [what for what in data["failures"] if what.endswith("wrong output")]
    if wrong or not data["results"] and not data["start_up"]:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ncompare: stopped")
