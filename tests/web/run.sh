#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The WebAssembly modules, by Node.js and in headless browsers: builds b0 and SAM l0, runs browser_test.mjs,
# module_test.mjs and page_test.mjs. Wants what the preset wasm does (examples/web/wasi.cmake), Node.js 22 or later (NODE)
# and for the page chromium with chromium-driver (CHROMIUM, CHROMEDRIVER) and firefox-esr (FIREFOX).
# run.sh [FOLDER TO BUILD IN]; screenshots stay there.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/web}
node=${NODE:-node}
source tests/cross/missing.sh
for needed in clang++-19 wasm-ld-19 cmake ninja; do
    command -v "$needed" >/dev/null || missing skipped "$needed is not installed"
done
[[ -f /usr/lib/wasm32-wasi/libc++.a ]] || missing skipped "libc++-19-dev-wasm32 is not installed"
"$node" -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null ||
    missing skipped "Node.js 22 or later is not installed"
mkdir -p "$out/screenshots"
out=$(cd "$out" && pwd)
cmake --preset wasm -B "$out" -DEFFICIENTVIT_WEB_NETWORKS=1 -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build "$out" --parallel "${JOBS:-2}"
clang-19 --target=wasm32 -O1 -nostdlib -Wl,--no-entry tests/web/stops.c -o "$out/stops.wasm"
ls -l "$out"/web/*.wasm

export SITE=$out/web STOPS=$out/stops.wasm SCREENSHOTS=$out/screenshots
SEVEN=$(basename "$(printf '%s\n' examples/digits/images/7/*.png | head -n 1)")
export SEVEN
"$node" --test tests/web/browser_test.mjs tests/web/module_test.mjs
for browser in "${CHROMIUM:-chromium}" "${FIREFOX:-firefox-esr}"; do
    if has_browser "$browser"; then BROWSER=$browser "$node" --test tests/web/page_test.mjs; fi
done
