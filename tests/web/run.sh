#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The WebAssembly modules, by Node.js 24 and in a headless Chromium: builds b0 and SAM l0, runs module_test.mjs and
# page_test.mjs. Wants what the preset wasm does (examples/web/wasi.cmake), Node.js 22 or later (NODE) and for the page
# chromium (CHROMIUM). run.sh [FOLDER TO BUILD IN]; screenshots stay there.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/web}
node=${NODE:-node}
for needed in clang++-19 wasm-ld-19 cmake ninja; do
    command -v "$needed" >/dev/null || { echo "skipped: $needed is not installed"; exit 0; }
done
[[ -f /usr/lib/wasm32-wasi/libc++.a ]] || { echo "skipped: libc++-19-dev-wasm32 is not installed"; exit 0; }
"$node" -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null ||
    { echo "skipped: Node.js 22 or later is not installed"; exit 0; }
mkdir -p "$out/screenshots"
out=$(cd "$out" && pwd)
cmake --preset wasm -B "$out" -DEFFICIENTVIT_WEB_NETWORKS=1 -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build "$out" --parallel "${JOBS:-2}"
clang-19 --target=wasm32 -O1 -nostdlib -Wl,--no-entry tests/web/stops.c -o "$out/stops.wasm"
ls -l "$out"/web/*.wasm

export SITE=$out/web STOPS=$out/stops.wasm SCREENSHOTS=$out/screenshots CHROMIUM=${CHROMIUM:-chromium}
SEVEN=$(basename "$(printf '%s\n' examples/digits/images/7/*.png | head -n 1)")
export SEVEN
"$node" --test tests/web/module_test.mjs
if command -v "$CHROMIUM" >/dev/null; then
    "$node" --test tests/web/page_test.mjs
else
    echo "left out: the page, since $CHROMIUM is not installed"
fi
