#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Tests of kernels, of weights and files, golden outputs of layers, b0 and b1: cross-compiled by MinGW-w64, run by wine.
# Wants g++-mingw-w64-x86-64-posix, wine64, libgtest-dev. run_windows.sh [FOLDER TO BUILD IN]; -j by JOBS.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/windows}
mkdir -p "$out/include"
out=$(cd "$out" && pwd)
ln -sfn /usr/include/nlohmann "$out/include/nlohmann"  # alone: the rest of /usr/include is Linux's
googletest=/usr/src/googletest/googletest

cat >"$out/Makefile" <<EOF
# Distributions other than Debian have a GCC that takes Windows' stack for better aligned than it is: see CMakeLists.txt.
compile := \${LAUNCHER} x86_64-w64-mingw32-g++-posix -std=c++20 -MMD -MP -Wa,-muse-unaligned-vector-move -Iinclude -I$out/include \\
    -isystem /usr/include/eigen3 -isystem $googletest/include -DEFFICIENTVIT_TEST_DATA='"tests/data"'
objects = \$(patsubst %.cpp,$out/%.o,\$(wildcard \$(1)))
gtest := $out/gtest-all.o $out/gtest_main.o
all: $out/kernels_test.exe $out/weights_test.exe $out/golden_test.exe
$out/gtest%.o: $googletest/src/gtest%.cc
	\$(compile) -O1 -I$googletest -c \$< -o \$@
$out/tests/kernels/%.o: tests/kernels/%.cpp
	@mkdir -p \$(@D)
	\$(compile) -O2 -c \$< -o \$@
$out/tests/%.o: tests/%.cpp
	@mkdir -p \$(@D)
	\$(compile) -O1 -Wa,-mbig-obj -c \$< -o \$@
%.exe:
	\$(compile) -static \$^ -o \$@
$out/kernels_test.exe: \$(call objects,tests/kernels/*.cpp) \$(gtest)
$out/weights_test.exe: \$(filter-out %loading_memory_test.o,\$(call objects,tests/weights/*.cpp)) \$(gtest)
$out/golden_test.exe: \$(patsubst %,$out/tests/golden/%_test.o,layers files b0_b1) \$(gtest)
-include \$(shell find $out -name '*.d')
EOF
make -f "$out/Makefile" -k -j"${JOBS:-1}" || echo "some programs were not built"

export WINEPREFIX=$out/wine WINEDEBUG=-all
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
failed=0
for test in kernels weights golden; do
    echo "==== $test"
    "$wine" "$out/${test}_test.exe" --gtest_brief=1 || failed=1
done
exit "$failed"
