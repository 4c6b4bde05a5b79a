#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps every 4th row and column of what a golden file of SAM prompts holds of low_res and full, so that the case of
five prompts fits the repository: reduce_sam_batch.py FROM.safetensors TO.safetensors"""
import json
import struct
import sys


def rows(data, shape):
    """Every 4th row and column of [B, C, H, W]."""
    b, c, h, w = shape
    return b"".join(
        data[((i * h + y) * w + x) * 4 :][:4] for i in range(b * c) for y in range(0, h, 4) for x in range(0, w, 4)
    )


def main(source, target):
    with open(source, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        body = file.read()
    out, parts, offset = {"__metadata__": header.pop("__metadata__")}, [], 0
    for name, entry in sorted(header.items()):
        begin, end = entry["data_offsets"]
        data, shape = body[begin:end], entry["shape"]
        if name in ("low_res", "full"):
            data = rows(data, shape)
            shape = shape[:2] + [(n + 3) // 4 for n in shape[2:]]
        out[name] = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    text = json.dumps(out).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


main(*sys.argv[1:])
