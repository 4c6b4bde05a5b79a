#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Kernels, goldens of layers and of b0, files, and networks with weights in bfloat16, of a release build on CPUs that
# this machine is not, by qemu-user 7.2 or later: an x86-64 without AVX, and one with AVX2 only. An instruction that such
# a CPU lacks ends the program by SIGILL. run_x86.sh [BUILD].
set -euo pipefail
cd "$(dirname "$0")/../.."
tests=${1:-build/release}/tests
for cpu in Nehalem Haswell; do
    echo "==== $cpu"
    run() { # PROGRAM GTEST_FILTER
        qemu-x86_64 -cpu "$cpu" "$tests/$1" --gtest_brief=1 --gtest_filter="$2"
    }
    # An emulated second is long: what Nehalem has computed in plain C++ Haswell does not repeat.
    has=scalar lacks=avx2 again=
    [[ $cpu == Nehalem ]] || has=avx2 lacks=avx512 again='*/scalar*'
    run kernels_test "-$again"
    run golden_test "*GoldenLayers*/$has:*GoldenB0*/$has:Files.*"
    run precision_test "*OfNetworks/$has*:*OfLayers/$has*:*WhereInputsStayFloat/$has*:PrecisionChoice.*:Converted.To*"

    # An instruction set that the CPU lacks is refused with a message.
    refused=$(qemu-x86_64 -cpu "$cpu" -E EFFICIENTVIT_ISA=$lacks "$tests/golden_test" --gtest_filter='Files.OfPyTorchItself' || true)
    grep -q "EFFICIENTVIT_ISA asks for $lacks, this CPU has" <<<"$refused"
done
