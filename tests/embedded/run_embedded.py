# SPDX-License-Identifier: Apache-2.0
"""Runs a static program in a root that holds nothing else: run_embedded.py PROGRAM EXPECTED WEIGHTS.

Its lines must be those of EXPECTED, the same made of files. The program, with b0's weights as float, must be of 5 MB at
most. Exit code 77, skipped, where this user may not change the root.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

program, expected, weights = map(pathlib.Path, sys.argv[1:])


def may(*command):
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


with tempfile.TemporaryDirectory() as folder:
    lines = subprocess.run([expected, weights], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    weight_bytes, lines = lines.split("\n", 1)
    size = program.stat().st_size
    with_floats = size - weights.stat().st_size + int(weight_bytes)
    print(f"{size / 1e6:.2f} MB with the weights of {weights.name}, {with_floats / 1e6:.2f} MB with b0's as float")
    if with_floats > 5e6:
        sys.exit("too large")

    root = pathlib.Path(folder, "root")
    root.mkdir()
    shutil.copy(program, root / "program")
    enter = next((enter for enter in (["chroot"], ["unshare", "-r", "chroot"]) if may(*enter, "/", "true")), None)
    if enter is None:
        print("skipped: this user may neither chroot nor unshare")
        sys.exit(77)
    assert os.listdir(root) == ["program"]
    with open(pathlib.Path(folder, "image.ppm"), "rb") as image:
        run = subprocess.run([*enter, root, "/program"], stdin=image, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0 or run.stdout != lines or lines.count("\n") != 128:
        sys.exit(f"exit code {run.returncode}, {run.stdout.count(chr(10))} lines, not the library's:\n{run.stdout[:300]}")
    print(f"{lines.count(chr(10))} features in an empty root, the same as the library's: {lines.split()[0]}, …")

    # Image programs like to write comments.
    picture = pathlib.Path(folder, "image.ppm").read_bytes()
    commented = b"P6\n# by a program # of images\n#\n" + picture[2:].replace(b" ", b" #\n", 1)
    run = subprocess.run([program], input=commented, stdout=subprocess.PIPE)
    if run.returncode != 0 or run.stdout.decode() != lines:
        sys.exit(f"exit code {run.returncode} or other features where the head has comments")

    broken = subprocess.run([program], input="P5 1 1 255\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if broken.returncode != 1 or "P6" not in broken.stderr:
        sys.exit("no message for what is no P6")
