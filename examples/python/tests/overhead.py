# SPDX-License-Identifier: Apache-2.0
"""What a call costs more than in C++: b0's backbone at 32x32, the least of 10,000 calls, interleaved with overhead.cpp. By hand, on an idle
machine, with the package and pytest installed:

    cmake -S . -B build/release --preset release && cmake --build build/release --target efficientvit_compiled
    g++ -std=c++20 -O2 -DEFFICIENTVIT_COMPILED -I include examples/python/tests/overhead.cpp \\
        build/release/libefficientvit_compiled.a -pthread -o build/overhead
    python examples/python/tests/overhead.py build/overhead
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
from conftest import golden_weights, write_safetensors

import efficientvit_cpu as ev


def least(call):
    best = float("inf")
    for _ in range(10000):
        begin = time.perf_counter_ns()
        call()
        best = min(best, time.perf_counter_ns() - begin)
    return best / 1000


with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "b0.safetensors"
    write_safetensors(path, golden_weights("backbone_b0"))
    model = ev.load(path)
    x, y = numpy.zeros((1, 3, 32, 32), numpy.float32), numpy.empty((1, 128, 1, 1), numpy.float32)
    results = {"C++": [], "model(x)": [], "model(x, out=y)": [], "a call of nothing": []}
    for _ in range(3):
        run = subprocess.run([sys.argv[1], path], check=True, capture_output=True, text=True)
        results["C++"].append(float(run.stdout))
        results["model(x)"].append(least(lambda: model(x)))
        results["model(x, out=y)"].append(least(lambda: model(x, out=y)))
        results["a call of nothing"].append(least(lambda: None))
    for name, times in results.items():
        print(f"{name:18} {min(times):8.2f} us   {min(times) - min(results['C++']):+.2f}")
