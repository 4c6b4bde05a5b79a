#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzz targets and runs each for so many seconds (60 by default), one after the other. What they learn
# stays in build/fuzz/corpus, and an input that breaks one in build/fuzz/findings; then the exit code is not 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
build=build/fuzz

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz
mkdir -p $build/findings
for format in safetensors torch_checkpoint image; do
    learnt=$build/corpus/$format
    mkdir -p $learnt
    fixtures=$build/fixtures/$format
    mkdir -p $fixtures
    largest=256
    case $format in
    torch_checkpoint) cp tests/data/checkpoints/*_torch*.pt $fixtures ;;
    image)
        cp tests/data/images/{small*.png,*.jpg} $fixtures
        largest=4096 # stb takes memory for what a PNG's chunk says that it has, up to 2 GiB, before it reads
        ;;
    esac
    seeds=($fixtures)
    if [ -d tests/fuzz/corpus/$format ]; then seeds+=(tests/fuzz/corpus/$format); fi
    echo "$format: $seconds s"
    log=$build/$format.log
    if ! nice -n 19 $build/tests/fuzz/${format}_fuzz -max_total_time="$seconds" -max_len=8192 -timeout=20 \
        -rss_limit_mb=1024 -malloc_limit_mb=$largest -dict=tests/fuzz/$format.dict -artifact_prefix=$build/findings/ \
        -print_final_stats=1 -verbosity=0 -print_funcs=0 $learnt "${seeds[@]}" >$log 2>&1; then
        grep -v Uses: $log | tail -n 60
        echo "$format: a finding, in $build/findings"
        exit 1
    fi
    sed -n 's/^stat::/    /p' $log
done
