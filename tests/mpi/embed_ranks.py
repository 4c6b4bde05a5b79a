#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shards of embed are the same files whoever makes them: embed_ranks.py MPIRUN EMBED EMBED_MPI SOURCE_DIR.

One process, two ranks, three ranks; two ranks of which one is killed midway, then the same command again. All must
leave the same names with the same bytes. Ends with a message and status 1 where they do not.
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MPIRUN = sys.argv[1]
EMBED, EMBED_MPI, SOURCE = (os.path.abspath(path) for path in sys.argv[2:5])
WEIGHTS = pathlib.Path(SOURCE, "examples/digits/digits_b0.safetensors").resolve()
PICTURES = [pathlib.Path(SOURCE, "tests/data/images", name).resolve()
            for name in ("china.png", "chelsea.png", "flower_444.jpg", "small_rgba.png")]
SHARD = 3


def environment():
    """Open MPI refuses root and more ranks than cores unless told; others pass these over."""
    return os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                         "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
                         "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}


def command(ranks, output):
    program = [EMBED] if ranks == 0 else [MPIRUN, "-np", str(ranks), EMBED_MPI]
    return program + ["--weights", str(WEIGHTS), "--model", "backbone_b0", "--size", "512", "--threads", "1",
                      "--shard", str(SHARD), "--list", "list.txt", "--output", output]


def run(ranks, output, *more):
    done = subprocess.run(command(ranks, output) + list(more), env=environment(), capture_output=True, text=True,
                          timeout=300)
    return done.returncode, done.stdout + done.stderr


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(pathlib.Path(folder).iterdir())}


def check(condition, message):
    if not condition:
        sys.exit(f"embed_ranks: {message}")


def ranks_of(mpirun):
    """Process ids of embed_mpi below mpirun, by rank."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if entry.name.isdigit() and parent == mpirun and os.readlink(entry / "exe") == os.path.realpath(EMBED_MPI):
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue  # gone, or no process
    return sorted(found)


def count_shards(folder):
    return len(list(pathlib.Path(folder).glob("shard-*.safetensors")))


def kill_midway(output, shards):
    """Starts two ranks, kills one once some shards are there; how many shards are left behind."""
    with open("killed.txt", "w") as log:
        process = subprocess.Popen(command(2, output), env=environment(), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            ranks = []
            while len(ranks) < 2 or count_shards(output) < 4:
                check(process.poll() is None and time.monotonic() < deadline,
                      f"ranks {ranks}, no shards to kill at: " + pathlib.Path("killed.txt").read_text())
                if len(ranks) < 2:
                    ranks = ranks_of(process.pid)
                time.sleep(0.001)
            os.kill(ranks[-1], signal.SIGKILL)
            check(process.wait(60) != 0, "mpirun ended well although a rank was killed")
        finally:
            process.kill()
    left = count_shards(output)
    # The other rank goes on for the second or two that mpirun takes to end it.
    check(left < shards - 2, f"{left} of {shards} shards were there: not midway, the test is too small")
    check(not pathlib.Path(output, "index.csv").exists(), "an index although shards are missing")
    return left


def write_index(index, part):
    shutil.copy(WEIGHTS, part)
    with open(part, "rb") as file:
        names = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    pathlib.Path(index).write_text(json.dumps({"weight_map": {name: part for name in names if name != "__metadata__"}}))


def main():
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        pictures = []
        for i in range(200):
            source = PICTURES[i % len(PICTURES)]
            pictures.append(f"{i:03d}{source.suffix}")
            shutil.copy(source, pictures[-1])
        pathlib.Path("list.txt").write_text("\n".join(pictures) + "\n")
        shards = -(-len(pictures) // SHARD)

        status, text = run(0, "alone")
        check(status == 0, f"one process: {text}")
        expected = digests("alone")
        check(len(expected) == shards + 1, f"{shards} shards and an index expected, found {len(expected)} files")
        for ranks in (2, 3):
            status, text = run(ranks, f"of{ranks}", "--progress")
            check(status == 0 and f"{shards} shards written" in text, f"{ranks} ranks: {text}")
            check(f"] {len(pictures)}/{len(pictures)}" in text, f"{ranks} ranks: no whole bar in {text!r}")
            check(digests(f"of{ranks}") == expected, f"{ranks} ranks leave other files than one process")

        left = kill_midway("killed", shards)
        pathlib.Path("killed", "shard-00000099.safetensors.1-0.tmp").write_text("half")
        status, text = run(2, "killed")
        check(status == 0 and f"{left} there already" in text, f"after the kill, {left} shards were left: {text}")
        check(digests("killed") == expected, "the resumed run leaves other files than one process")

        # Weights in parts: rank 0 alone reads the index and them.
        write_index("model.safetensors.index.json", "part-1.safetensors")
        pathlib.Path("few.txt").write_text("\n".join(pictures[:4]) + "\n")
        for ranks in (0, 2):
            status, text = run(ranks, f"parts{ranks}", "--weights", "model.safetensors.index.json", "--list", "few.txt")
            check(status == 0, f"{ranks} ranks with an index of weights: {text}")
        check(digests("parts0") == digests("parts2"), "two ranks leave other files for an index of weights")

        # A broken picture has no row, the others stay, and the run says so.
        pathlib.Path(pictures[4]).write_text("no picture")
        status, text = run(2, "broken")
        check(status != 0 and "1 of 200 pictures could not be read" in text, f"a broken picture: {text}")
        changed = {name for name, digest in digests("broken").items() if digest != expected[name]}
        check(changed == {"shard-00000001.safetensors", "index.csv"}, f"a broken picture changes {sorted(changed)}")
        check(f"{pictures[4]},shard-00000001.safetensors,,,\n" in pathlib.Path("broken/index.csv").read_text(),
              "the index does not say which picture is broken")

        # Mistakes are said once and end all ranks.
        for more, message in ((["--size", "96"], "its input_size is 512, now 96"), (["--shard", "0"], "--shard"),
                              (["--nonsense"], "nonsense"), (["--weights", "none.safetensors"], "none.safetensors")):
            status, text = run(2, "alone", *more)
            check(status != 0 and text.count(message) == 1, f"{more}: {text}")
        status, text = run(2, "alone", "--help")
        check(status == 0 and text.count("--weights") == 1, f"--help: {text}")
        print(f"{shards} shards of {len(pictures)} pictures: 1, 2 and 3 processes alike; killed at {left}, resumed alike")


main()
