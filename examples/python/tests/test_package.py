# SPDX-License-Identifier: Apache-2.0
"""The installed package: types for editors, docstrings, nothing imported but NumPy."""

import ast
import pathlib
import subprocess
import sys

import efficientvit_cpu as ev

FOLDER = pathlib.Path(ev.__file__).parent


def test_types():
    assert (FOLDER / "py.typed").exists()
    stub = (FOLDER / "_core.pyi").read_text()
    names = {node.name for node in ast.walk(ast.parse(stub)) if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert {"Model", "Sam", "__call__", "features", "preprocess", "segment", "build_info", "model_names", "version"} <= names


def test_docstrings():
    for name in ev.__all__:
        assert getattr(ev, name).__doc__, name
    for kind in (ev.Model, ev.Sam, ev.SamPredictor, ev.SamAutomaticMaskGenerator):
        for name in dir(kind):
            assert name.startswith("_") or getattr(kind, name).__doc__, f"{kind.__name__}.{name}"
    stub = ast.parse((FOLDER / "_core.pyi").read_text())
    for node in ast.walk(stub):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and (node.name == "__init__" or not node.name.startswith("_")):
            assert ast.get_docstring(node), node.name


def test_needs_numpy_alone():
    code = (
        "import sys; before = set(sys.modules); import numpy; base = set(sys.modules);"
        "import efficientvit_cpu, efficientvit_cpu.compat;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - base} - set(sys.stdlib_module_names)))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.split() == ["efficientvit_cpu"], out
