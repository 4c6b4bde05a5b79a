#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Kernels and goldens of a release build on CPUs that this machine is not, by qemu-user 7.2 or later: an x86-64 without
# AVX, and one with AVX2 only. An instruction that such a CPU lacks ends the program by SIGILL. run_x86.sh [BUILD].
set -euo pipefail
cd "$(dirname "$0")/../.."
tests=${1:-build/release}/tests
goldens='GoldenLayers*:*GoldenB0.BackboneQuadratic*:*GoldenB0.*OddSize*:Files.*'
for cpu in Nehalem Haswell; do
    echo "==== $cpu"
    qemu-x86_64 -cpu "$cpu" "$tests/kernels_test" --gtest_brief=1
    qemu-x86_64 -cpu "$cpu" "$tests/golden_test" --gtest_brief=1 --gtest_filter="*$goldens"
    # An instruction set that the CPU lacks is refused with a message.
    missing=avx512
    [[ $cpu == Haswell ]] || missing=avx2
    refused=$(qemu-x86_64 -cpu "$cpu" -E EFFICIENTVIT_ISA=$missing "$tests/golden_test" --gtest_filter='Files.OfPyTorchItself' || true)
    grep -q "EFFICIENTVIT_ISA asks for $missing, this CPU has" <<<"$refused"
done
