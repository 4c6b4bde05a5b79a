# SPDX-License-Identifier: Apache-2.0
"""Python's exit with daemon threads that compute or wait: it is quiet, and its status is the program's."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading, time
import numpy
import efficientvit_cpu as ev

model = ev.load(sys.argv[1])
x = numpy.zeros((1, 3, 224, 224), numpy.float32)
began = threading.Event()

class Picture:
    mode = "RGB"

    def convert(self, mode):
        for _ in range(100000):
            pass
        return numpy.zeros((32, 32, 3), numpy.uint8)

def compute():
    while True:
        {call}
        began.set()

threading.Thread(target=compute, daemon=True).start()
began.wait()
time.sleep(0.05)
"""


# The last runs Python's code within a call.
@pytest.mark.parametrize(
    "call", ["model(x)", "model.features(x)", "model.pre_logits(x)", "model.preprocess(Picture(), size=32)"]
)
def test_daemon_thread_that_computes(b0_file, call):
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call), b0_file], capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_daemon_thread_that_waits(b0_file):
    """It has a model to the end, of which nanobind says nothing."""
    program = """
import queue, sys, threading
import efficientvit_cpu as ev

def work(model, jobs):
    jobs.get()

threading.Thread(target=work, args=(ev.load(sys.argv[1]), queue.Queue()), daemon=True).start()
"""
    ended = subprocess.run([sys.executable, "-c", program, b0_file], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
