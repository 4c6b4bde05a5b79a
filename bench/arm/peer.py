#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Forwards of one of the runtimes of ../peers on one thread, and nothing else: for forward.py, under QEMU.

    peer.py RUNTIME STEM FORWARDS

STEM is what peers/export.py wrote the network b0@224 to, in the form "products".
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))


def main():
    name, stem, forwards = sys.argv[1], sys.argv[2], int(sys.argv[3])
    import numpy as np
    import runtimes

    runtime = runtimes.runtime(name)
    variant = next(v for v in runtime.variants if v.name == "products")
    session = runtime.open(variant, stem, None, 1)
    session.set_input(np.ones((1, 3, 224, 224), dtype=np.float32))
    for _ in range(forwards):
        session.run()
    print(session.output().shape, flush=True)
    os._exit(0)  # without destructors, in whose order some of them crash


if __name__ == "__main__":
    main()
