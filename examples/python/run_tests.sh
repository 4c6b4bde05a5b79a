#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the package in a fresh environment, as a user does, and runs its tests: run_tests.sh [PYTHON [FOLDER]]. Needs the
# network, or a pip that finds numpy, pillow, pytest, mypy, scikit-build-core and nanobind elsewhere.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${1:-python3}"
folder="${2:-$(mktemp -d)}"

"$python" -m venv --clear "$folder"
begun=$SECONDS
"$folder/bin/pip" install --quiet --disable-pip-version-check "$here"
echo "pip install: $((SECONDS - begun)) s"
"$folder/bin/pip" install --quiet --disable-pip-version-check pytest pillow mypy
cd "$folder" # not where the sources are
"$folder/bin/python" -m mypy --strict --package efficientvit_cpu
"$folder/bin/python" -m pytest -q "$here/tests"
