# SPDX-License-Identifier: Apache-2.0
"""The code of examples/guides/python.md, in its order."""

import importlib.util
import re
import shutil

import numpy
import pytest
from conftest import DATA, ROOT, golden_tensor, golden_weights, write_safetensors

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_guide(b0_file, photo, tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    shutil.copy(b0_file, tmp_path / "b0.safetensors")
    write_safetensors(tmp_path / "seg_b0.safetensors", golden_weights("seg_b0_cityscapes"))
    write_safetensors(tmp_path / "sam_l0.safetensors", golden_weights("sam_l0_whole"))
    for name in ("photo.jpg", "street.jpg"):
        shutil.copy(DATA / "images" / "flower_444.jpg", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names = {
        "x": golden_tensor("input", (1, 3, 64, 96)),
        "image": photo,
        "boxes": numpy.array([[5, 5, 60, 60], [10, 10, 50, 90]]),
    }
    blocks = BLOCK.findall((ROOT / "examples" / "guides" / "python.md").read_text())
    assert len(blocks) >= 5
    for block in blocks:
        if "import timm" in block:
            if importlib.util.find_spec("timm") is None:
                continue
            block = block.replace("pretrained=True", "pretrained=False")
        exec(compile(block, "python.md", "exec"), names)
    assert names["features"]["stage2"].shape[:2] == (1, 32)
