# SPDX-License-Identifier: Apache-2.0
"""One runtime with one network in a process of its own, driven through pipes by measure.py.

Started with a JSON specification as its argument; answers each line of JSON on stdin by one on stdout. Runtimes in one
process would share OpenMP pools, spin against each other and clash in their libraries; here the driver lets only
one process live at a time, and stops the others.
"""
import ctypes
import gc
import json
import os
import signal
import statistics
import sys
import time

SPEC = json.loads(sys.argv[1])
os.sched_setaffinity(0, SPEC["cpus"])  # before anything is imported that makes threads

import networks  # noqa: E402
import numpy as np  # noqa: E402
import runtimes  # noqa: E402


def mapped_libraries(runtime):
    """Sizes of the runtime's own libraries that are mapped into this process, by path."""
    sizes = {}
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.split(None, 5)[-1].strip() if line.count("/") else ""
            if ".so" not in path or not any(folder in path for folder in runtime.folders):
                continue
            if not any(part in path for part in runtime.left_out):
                sizes[path] = os.path.getsize(path)
    return sizes


def memory(field):
    """A field of /proc/self/status in MB: VmRSS (resident), RssAnon (its part that no file backs)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":")) / 1024


def allowed_cpus():
    """The CPUs that any thread of this process may run on."""
    cpus = set()
    for task in os.listdir("/proc/self/task"):
        try:
            cpus |= os.sched_getaffinity(int(task))
        except ProcessLookupError:
            pass
    return sorted(cpus)


KEPT = []


def start_up(spec, runtime, variant, case):
    """From the file to the first output, in a fresh process whose imports are done."""
    image = networks.make_input(case)
    gc.collect()
    resident, anonymous, start = memory("VmRSS"), memory("RssAnon"), time.perf_counter_ns()
    session = runtime.open(variant, spec["stem"], case, spec["threads"])
    KEPT.append(session)  # not every runtime can be taken down without a crash
    session.set_input(image)
    session.run()
    session.output()
    ns = time.perf_counter_ns() - start
    return {"ns": ns, "resident_mb": memory("VmRSS") - resident, "anonymous_mb": memory("RssAnon") - anonymous,
            "libraries": mapped_libraries(runtime)}


class Sweep:
    """Walks through more memory than the caches hold, on every CPU that the runtime uses."""

    def __init__(self, megabytes, cpus):
        self._memory = np.zeros(megabytes * 2**20 // 8)
        self._cpus = cpus

    def __call__(self):
        home = os.sched_getaffinity(0)
        for cpu in self._cpus:
            os.sched_setaffinity(0, {cpu})
            np.add(self._memory, 1, out=self._memory)
        os.sched_setaffinity(0, home)


def one_line(error):
    """The first and the last line of what it says: what lies between is often a stack."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: " + " … ".join(line[:200] for line in dict.fromkeys((lines[0], lines[-1])))


def time_runs(run, count, warm):
    for _ in range(warm):
        run()
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return {"ns": times}


def time_cadence(run, count, sweep, sleep_ms):
    times, cpu = [], []
    for _ in range(count):
        sweep()
        before = time.process_time_ns()
        time.sleep(sleep_ms / 1000)
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
        cpu.append(time.process_time_ns() - before)  # of the frame: threads that spin while nothing is to do count
    return {"ns": times, "cpu_ns": cpu}


def answers_to_driver():
    """A function that tells the driver its arguments, as a line of JSON. From now on this process ends with its driver, and
    what others print goes to the log."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**values):
        answers.write(json.dumps(values) + "\n")

    return answer


def main():
    answer = answers_to_driver()
    spec = SPEC
    case = networks.Case.parse(spec["case"])
    runtime = runtimes.runtime(spec["runtime"])
    runtime.native = spec["native"]
    variant = next(v for v in runtime.variants if v.name == spec["variant"])
    try:
        start = time.perf_counter_ns()
        runtime.imports()
        import_ns = time.perf_counter_ns() - start
        if spec["start_up"]:
            answer(**start_up(spec, runtime, variant, case), import_ns=import_ns)
            answers.flush()
            os._exit(0)  # some runtimes take their time to go, or crash while they do
        session = runtime.open(variant, spec["stem"], case, spec["threads"])
        session.set_input(networks.make_input(case))
        first = time_runs(session.run, 5, 3)["ns"]
        answer(typical_ns=statistics.median(first), version=runtime.version(), isa=session.isa(), cpus=allowed_cpus())
    except Exception as error:
        answer(error=one_line(error))
        return

    gc.disable()
    sweep = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "runs":
            answer(**time_runs(session.run, command["count"], command["warm"]))
        elif command["do"] == "cadence":
            sweep = sweep or Sweep(command["sweep_mb"], spec["cpus"])
            answer(**time_cadence(session.run, command["count"], sweep, command["sleep_ms"]))
        elif command["do"] == "output":
            np.save(command["path"], session.output())
            answer()
        gc.collect()
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
