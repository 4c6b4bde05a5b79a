#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Times b0, b1 and b3 on this machine, float and what else it multiplies, and prints rows for boards.md. Compiles one file,
# for minutes on a small board. CXX is the compiler with its flags; RUN comes before the program ("qemu-aarch64").
set -euo pipefail
cd "$(dirname "$0")/.."

[[ -n ${CXX:-} ]] || .ci/install-packages board
for eigen in ${EIGEN:-} /usr/include/eigen3 /opt/homebrew/include/eigen3 /usr/local/include/eigen3; do
    [[ ! -d $eigen/Eigen ]] || break
done
mkdir -p build/board
${CXX:-c++} -std=c++20 -O2 -DNDEBUG -I include -isystem "$eigen" bench/forward.cpp -o build/board/bench_forward -pthread
${RUN:-} build/board/bench_forward | tee build/board/rows.md
