#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Golden outputs of layers, b0 and b1, and sizes that 32 bits do not count: for i386, whose x87 unit computes with more
# bits than a float has, run as they are on x86-64; for ARMv7, run by qemu. Wants g++-i686-linux-gnu,
# g++-arm-linux-gnueabihf, qemu-user and libgtest-dev. run_32bit.sh i386|armv7 [FOLDER TO BUILD IN]; -j by JOBS.
set -euo pipefail
cd "$(dirname "$0")/../.."
system=$1
out=${2:-build/$system}
case $system in
    i386) compiler=i686-linux-gnu-g++ run=() ;;
    armv7) compiler=arm-linux-gnueabihf-g++ run=(qemu-arm) ;;
    *) echo "usage: $0 i386|armv7 [FOLDER]" >&2; exit 2 ;;
esac
googletest=/usr/src/googletest/googletest
for needed in "$compiler" "${run[@]}"; do
    command -v "$needed" >/dev/null || { echo "skipped: $needed is not installed"; exit 0; }
done
[[ -d $googletest ]] || { echo "skipped: libgtest-dev is not installed"; exit 0; }
mkdir -p "$out/include"
out=$(cd "$out" && pwd)
ln -sfn /usr/include/nlohmann "$out/include/nlohmann"  # alone: the rest of /usr/include is this system's

cat >"$out/Makefile" <<MAKE
compile := \${LAUNCHER} $compiler -std=c++20 -O1 -MMD -MP -Iinclude -isystem $out/include -isystem /usr/include/eigen3 \\
    -isystem $googletest/include -DEFFICIENTVIT_TEST_DATA='"tests/data"'
ours := $out/golden/layers_test.o $out/golden/b0_b1_test.o $out/nn/sizes_test.o
$out/test: \$(ours) $out/gtest-all.o $out/gtest_main.o
	$compiler -static \$^ -o \$@ -pthread
$out/%_test.o: tests/%_test.cpp
	@mkdir -p \$(@D)
	\$(compile) -Wall -Wextra -Werror -c \$< -o \$@
$out/gtest%.o: $googletest/src/gtest%.cc
	\$(compile) -I$googletest -c \$< -o \$@
-include \$(shell find $out -name '*.d')
MAKE
make -f "$out/Makefile" -j"${JOBS:-2}" "$out/test"
"${run[@]}" "$out/test" --gtest_brief=1
