#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a script of extract.py as a reader would, but for published weights, which it does not download: run_python.py
SCRIPT. By hand, since it needs torch, torchvision, timm and safetensors."""

import sys

import timm

create_model = timm.create_model
timm.create_model = lambda *arguments, **options: create_model(*arguments, **options | {"pretrained": False})
with open(sys.argv[1]) as script:
    exec(compile(script.read(), sys.argv[1], "exec"), {"__name__": "__main__"})
