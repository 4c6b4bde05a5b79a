# SPDX-License-Identifier: Apache-2.0
"""What Linux tells about this CPU."""
import os
import pathlib


def name_and_flags():
    """Its name, and what it has: "avx2", "avx512_vnni", "asimd" and so on."""
    info = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    return info.get("model name", os.uname().machine), (info.get("flags") or info.get("Features", "")).split()
