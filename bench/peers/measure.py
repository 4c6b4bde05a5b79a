# SPDX-License-Identifier: Apache-2.0
"""Drives the comparison: exports, checks, and times, with one process alive at a time. Prints nothing but progress;
what is told from the result is report.py's, and setting everything up is compare.py's."""
import collections
import concurrent.futures
import datetime
import functools
import hashlib
import json
import math
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import cpu_info
import networks
import numpy as np
import runtimes
import stats

HERE = pathlib.Path(__file__).parent
SLOT_MS = 40      # a runtime's turn in a round: at least so long, and at least three runs
CADENCE_RUNS = 4  # a turn in cadence mode


def say(text, end="\n"):
    print(text, end=end, flush=True)


class Worker:
    """A process of worker.py or another script. Stopped whenever it is not its turn."""

    def __init__(self, script, spec, environment, log):
        self.spec = spec
        self._process = subprocess.Popen([sys.executable, HERE / script, json.dumps(spec)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1, cwd=HERE,
                                         env={**os.environ, **environment})

    def ready(self):
        """Waits for it and returns what it says of itself; "error" where it failed."""
        answer = self._read()
        if "error" not in answer:
            self._process.send_signal(signal.SIGSTOP)
        return answer

    def ask(self, **command):
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(command) + "\n")
        answer = self._read()
        self._process.send_signal(signal.SIGSTOP)
        if "error" in answer:
            raise RuntimeError(f"{self.spec['runtime']}: {answer['error']}")
        return answer

    def _read(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        return {"error": f"its process ended with status {self._process.wait()}"}

    def cpu_seconds(self):
        try:
            fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class Foreign:
    """How much of the CPUs used anybody else took while we measured, in per cent: other processes, and what the
    hypervisor withheld."""

    def __init__(self, cpus, workers):
        self._cpus, self._workers = cpus, workers
        self._start = self._now()

    def _now(self):
        busy = 0
        for line in pathlib.Path("/proc/stat").read_text().splitlines():
            words = line.split()
            if words[0] in {f"cpu{cpu}" for cpu in self._cpus}:
                user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
                busy += user + nice + system + irq + softirq + steal
        own = sum(worker.cpu_seconds() for worker in self._workers) + sum(os.times()[:2])
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), own

    def percent(self):
        (t0, busy0, own0), (t1, busy1, own1) = self._start, self._now()
        return max(0.0, 100 * ((busy1 - busy0) - (own1 - own0)) / ((t1 - t0) * len(self._cpus)))


class Comparison:
    script = "worker.py"

    def __init__(self, options):
        self.o = options
        self.peers = {name: runtimes.runtime(name) for name in options.peers}
        self.log = open(options.out / "log.txt", "a")
        self.failures = {}
        self.versions = {}
        self.isas = {}
        self.cpus = sorted(os.sched_getaffinity(0))

    # ---- files ---------------------------------------------------------------------------------------------------

    def stem(self, case, name, variant, threads):
        # By the module, not the name: a runtime's precisions share what is exported alike.
        sources = runtimes.sources(name)
        return str(self.folder(case) / self.key(pathlib.Path(sources[0]).stem, *sources) / variant.stem(threads, self.o.isa or "native"))

    def variants(self, case, name):
        """Those that come into question for this network."""
        all_variants = self.peers[name].variants
        if case.network == "identity":  # has no forms
            return all_variants[:1]
        wanted = "startup" in self.o.modes and case == self.o.cases[0]
        return [variant for variant in all_variants if wanted or not variant.startup_only]

    def reference(self, case):
        return self.folder(case) / "reference"

    def folder(self, case):
        return self.o.models_dir / self.key(str(case), "networks.py", "heads.py", "constraints.txt", "runtimes/onnx_file.py")

    @staticmethod
    @functools.lru_cache
    def key(name, *sources):
        """A folder's name that changes with all that the files in it come from."""
        return name + "-" + hashlib.sha256(b"".join((HERE / source).read_bytes() for source in sources)).hexdigest()[:8]

    def export_all(self, cases):
        jobs = {}
        for case in cases:
            jobs[str(self.reference(case))] = {"runtime": None}, case
            for name in self.peers:
                for variant in self.variants(case, name):
                    # A network file is made for every thread count only where it depends on that.
                    for threads in self.o.threads if variant.compiled else self.o.threads[:1]:
                        job = {"runtime": name, "variant": variant.name, "threads": threads, "isa": self.o.isa}
                        jobs[self.stem(case, name, variant, threads)] = job, case
        missing = [dict(job, stem=stem, case=str(case)) for stem, (job, case) in jobs.items()
                   if not pathlib.Path(f"{stem}.done").exists()]
        if not missing:
            return
        say(f"Exporting {len(missing)} networks (kept for the next run) …")
        done = 0

        def run(batch):
            nonlocal done
            process = None
            for job in batch:
                if process is None:
                    process = subprocess.Popen([sys.executable, HERE / "export.py"], stdin=subprocess.PIPE, text=True,
                                               stdout=subprocess.PIPE, stderr=self.log, bufsize=1, cwd=HERE,
                                               env={**os.environ, **self.o.cache_environment})
                try:
                    process.stdin.write(json.dumps(job) + "\n")
                    line = process.stdout.readline()
                except BrokenPipeError:
                    line = ""
                answer = json.loads(line) if line else {"error": f"the converter ended with status {process.wait()}"}
                process = process if line else None
                done += 1
                what = f"{job['runtime'] or 'reference'} {job.get('variant', '')}"
                if "error" in answer:
                    self.failures[f"{job['case']}: {what}"] = answer["error"]
                say(f"  {done}/{len(missing)} {job['case']} {what}: " + answer.get("error", f"{answer.get('seconds', 0):.0f} s"))
            if process is not None:
                process.stdin.close()
                process.wait()

        # By network, so that what one converter needs twice it has; two at a time, for most of it is serial.
        batches = collections.defaultdict(list)
        for job in missing:
            batches[job["case"]].append(job)
        with concurrent.futures.ThreadPoolExecutor(min(2, len(self.cpus))) as pool:
            list(pool.map(run, batches.values()))

    # ---- processes -----------------------------------------------------------------------------------------------

    def spec(self, case, name, variant, threads, start_up=False):
        return {"runtime": name, "variant": variant.name, "case": str(case), "threads": threads,
                "stem": self.stem(case, name, variant, threads), "native": str(self.o.native), "start_up": start_up,
                "cpus": self.cpus[-threads:]}

    def start(self, spec):
        peer = self.peers[spec["runtime"]]
        return Worker(self.script, spec, {**self.o.cache_environment, **peer.environment(spec["threads"], self.o.isa)}, self.log)

    def start_all(self, case, threads):
        """Workers of every variant that can be had, with what they say, by (runtime, variant)."""
        workers = {}
        for name in self.peers:
            for variant in self.variants(case, name):
                spec = self.spec(case, name, variant, threads)
                if not variant.startup_only and pathlib.Path(spec["stem"] + ".done").exists():
                    workers[name, variant.name] = self.start(spec)
        ready = {}
        for key, worker in workers.items():
            said = worker.ready()
            if "error" in said:
                self.failures[f"{case}, {threads} threads: {key[0]} {key[1]}"] = said["error"]
                say(f"  {key[0]} ({key[1]}): {said['error']}")
                worker.close()
                continue
            self.versions[key[0]] = said["version"]
            if said["isa"]:
                self.isas[key[0]] = said["isa"]
            if not set(said["cpus"]) <= set(worker.spec["cpus"]):
                say(f"  {key[0]}: threads on CPUs {said['cpus']}, given {worker.spec['cpus']}")
            ready[key] = worker, said
        return ready

    def check(self, case, worker):
        """How far the output is from torch in float64: {"max": of the largest value, "rms": of the rms value}. Raises
        where the former is too much."""
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            worker.ask(do="output", path=file.name)
            got = np.load(file.name).astype(np.float64)
        want = np.load(f"{self.reference(case)}.npy")
        if got.shape != want.shape:
            raise RuntimeError(f"its output is {got.shape}, torch's {want.shape}")
        error = {"max": float(np.abs(got - want).max() / np.abs(want).max()),
                 "rms": float(np.sqrt(np.square(got - want).mean() / np.square(want).mean()))}
        if not error["max"] <= self.peers[worker.spec["runtime"]].tolerance:
            raise RuntimeError(f"differs from torch in float64 by {error['max']:.2g} of the largest value")
        return error

    # ---- measuring -----------------------------------------------------------------------------------------------

    def fastest_variants(self, case, ready):
        """For each runtime the variant with the least median over a few short rounds; the others' processes end."""
        keys = [key for key in ready if sum(other[0] == key[0] for other in ready) > 1]
        medians = collections.defaultdict(list)
        for _ in range(6):
            for key in random.sample(keys, len(keys)):
                worker, said = ready[key]
                count = min(8, max(2, math.ceil(20e6 / said["typical_ns"])))
                medians[key].append(statistics.median(worker.ask(do="runs", count=count, warm=1)["ns"]))
        chosen = {}
        for key in list(ready):
            best = min((k for k in ready if k[0] == key[0]), key=lambda k: statistics.median(medians[k] or [0]))
            if key == best:
                chosen[key[0]] = ready[key] + (key,)
            elif key in ready:
                ready[key][0].close()
        tried = {f"{name}: {variant}": statistics.median(values) / 1e6
                 for (name, variant), values in medians.items() if values}
        return chosen, tried

    def compare(self, case, threads, modes):
        """One result for each mode: {"rounds": {runtime: [[ns]]}, …}."""
        ready = self.start_all(case, threads)
        results = []
        try:
            errors, wrong = {}, {}
            for key in list(ready):
                try:
                    errors[key] = self.check(case, ready[key][0])
                except RuntimeError as error:
                    wrong[key] = str(error)
                    say(f"  WRONG: {key[0]} ({key[1]}) {error}")
                    ready.pop(key)[0].close()
            for key, error in wrong.items():
                another = ", but not as given otherwise" if any(name == key[0] for name, _ in ready) else ""
                self.failures[f"{case}, {threads} threads: {key[0]} {key[1]}: wrong output{another}"] = error
            chosen, tried = self.fastest_variants(case, ready)
            for mode in modes:
                result = self.rounds(case, threads, mode, {name: (w, said) for name, (w, said, _) in chosen.items()})
                for name, (worker, _, key) in chosen.items():  # still right after thousands of runs
                    errors[key] = max(errors[key], self.check(case, worker), key=lambda error: error["max"])
                result["variants"] = {name: key[1] for name, (_, _, key) in chosen.items()}
                result["variants_tried_ms"] = tried
                result["errors"] = {name: errors[key]["max"] for name, (_, _, key) in chosen.items()}
                result["rms_errors"] = {name: errors[key]["rms"] for name, (_, _, key) in chosen.items()}
                results.append(result)
        finally:
            for worker, *_ in ready.values():
                worker.close()
        return results

    def rounds(self, case, threads, mode, workers):
        rounds = {name: [] for name in workers}
        cpu = {name: [] for name in workers}
        foreign = Foreign(self.cpus[-threads:], [worker for worker, _ in workers.values()])
        started = time.monotonic()
        for number in range(self.o.rounds):
            for name in random.sample(list(workers), len(workers)):
                worker, said = workers[name]
                if mode == "cadence":
                    answer = worker.ask(do="cadence", count=CADENCE_RUNS, sweep_mb=64, sleep_ms=20)
                    cpu[name].append(answer["cpu_ns"])
                else:
                    count = min(200, max(3, math.ceil(SLOT_MS * 1e6 / said["typical_ns"])))
                    answer = worker.ask(do="runs", count=count, warm=max(1, count // 8))
                rounds[name].append(answer["ns"])
            if sys.stdout.isatty() or number + 1 == self.o.rounds:
                start = "\r" if sys.stdout.isatty() else ""
                say(f"{start}  {case}, {threads} thread{'s' * (threads > 1)}, {mode}: round {number + 1}/{self.o.rounds}", end="")
        percent = foreign.percent()
        say(f", {time.monotonic() - started:.0f} s" + (f" — others took {percent:.0f} % of the CPUs" if percent > 3 else ""))
        times = {name: stats.summary(r) for name, r in rounds.items()}
        for name, values in cpu.items():
            if values:
                times[name]["cpu_ms_per_frame"] = float(np.median(np.concatenate(values)) / 1e6)
        return {"case": str(case), "threads": threads, "mode": mode, "times_ms": times,
                "ratios": self.ratios(rounds), "rounds": self.o.rounds, "foreign_cpu_percent": percent}

    def ratios(self, rounds):
        """All others' times by those of this library, which comes first, in the precision asked for."""
        first = self.o.peers[0]
        if first not in rounds:
            return {}
        ours = rounds[first]
        return {name: {**stats.ratio(theirs, ours), **stats.p95_ratio(theirs, ours)}
                for name, theirs in rounds.items() if name != first}

    def start_ups(self, case, repeats):
        """Load and first run, each in a fresh process, in shuffled order."""
        say(f"  {case}: load and first run, {repeats} fresh processes each …")
        specs = []
        for name in self.peers:
            for variant in self.variants(case, name):
                spec = self.spec(case, name, variant, self.o.threads[0], start_up=True)
                if pathlib.Path(spec["stem"] + ".done").exists():
                    specs.append(spec)
        answers = collections.defaultdict(list)
        for number in range(repeats + 1):
            for spec in random.sample(specs, len(specs)):
                worker = self.start(spec)
                said = worker.ready()
                worker.close()
                key = spec["runtime"], spec["variant"]
                if "error" in said:
                    self.failures[f"{case}, start-up: {key[0]} {key[1]}"] = said["error"]
                elif number:  # the first brings the files into memory
                    answers[key].append(said)
        result = {}
        for (name, variant), said in answers.items():
            def middle(field):
                return statistics.median(one[field] for one in said)
            result.setdefault(name, {})[variant] = {
                "ms": middle("ns") / 1e6, "min_ms": min(one["ns"] for one in said) / 1e6,
                "resident_mb": middle("resident_mb"), "anonymous_mb": middle("anonymous_mb"),
                "import_ms": middle("import_ns") / 1e6,
                "ships_mb": sum(said[0]["libraries"].values()) / 2**20,
                "libraries": {pathlib.Path(p).name: round(size / 2**20, 2) for p, size in said[0]["libraries"].items()}}
        return result

    def run(self):
        o = self.o
        cases = list(o.cases)
        identity = networks.Case.parse(networks.IDENTITY)
        start = time.monotonic()
        self.export_all(cases + [identity])
        exported = time.monotonic()
        data = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "machine": machine(self.cpus), "isa": o.isa, "precision": o.precision, "ours": o.peers[0], "rounds": o.rounds, "results": [], "start_up": {}, "start_up_threads": o.threads[0]}
        say(f"Timing {len(cases)} networks, {', '.join(self.peers)} …")
        for threads in o.threads:
            if "hot" in o.modes:
                data["results"] += self.compare(identity, threads, ["hot"])
            for case in cases:
                modes = [m for m in o.modes if m == "hot" or (m == "cadence" and (o.cadence_all or case == cases[0]))]
                if modes:
                    data["results"] += self.compare(case, threads, modes)
        if "startup" in o.modes:
            data["start_up"][str(cases[0])] = self.start_ups(cases[0], o.start_ups)
        data["seconds"] = {"exports": exported - start, "measuring": time.monotonic() - exported}
        data["versions"] = self.versions
        data["isas"] = self.isas
        data["settings"] = {name: peer.settings for name, peer in self.peers.items()}
        data["titles"] = {name: peer.title for name, peer in self.peers.items()}
        data["not_held_to_isa"] = [name for name, peer in self.peers.items() if o.isa and not peer.honours(o.isa)]
        data["failures"] = self.failures
        return data


def added(before, data):
    """`data`, and what `before` holds of other networks, threads and modes. Such a report is of one machine and one
    precision."""
    for field in ("isa", "precision", "ours"):
        if before[field] != data[field]:
            raise SystemExit(f"compare: the results so far are of {field} '{before[field]}', these of '{data[field]}'; see --out")
    if before["machine"]["cpu"] != data["machine"]["cpu"]:
        raise SystemExit(f"compare: the results so far are of another CPU, {before['machine']['cpu']}; see --out")

    def key(result):
        return result["case"], result["threads"], result["mode"]

    results = {key(result): result for result in before["results"] + data["results"]}
    both = {name: {**before[name], **data[name]} for name in ("start_up", "versions", "isas", "settings", "titles", "failures")}
    return {**data, **both, "results": sorted(results.values(), key=lambda result: result["threads"])}


def machine(cpus):
    name, flags = cpu_info.name_and_flags()
    wanted = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_bf16",
              "avx_vnni", "amx_int8", "asimd", "bf16", "hypervisor")
    return {"cpu": name, "cpus": len(cpus), "system": f"Linux {os.uname().release}",
            "isa_flags": [flag for flag in wanted if flag in flags],
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "load_before": os.getloadavg()[0], "python": sys.version.split()[0]}
