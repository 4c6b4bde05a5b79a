#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzz targets and runs them for so many seconds (60 by default), all at once, or those that are named: run.sh
# 3600 image. What they learn stays in build/fuzz/corpus, and an input that breaks one in build/fuzz/findings; then the
# exit code is not 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
formats=(safetensors torch_checkpoint image)
if [ $# -gt 1 ]; then formats=("${@:2}"); fi
build=build/fuzz

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${formats[@]/%/_fuzz}"
mkdir -p $build/findings
fuzz() {
    local format=$1
    learnt=$build/corpus/$format
    mkdir -p $learnt
    fixtures=$build/fixtures/$format
    mkdir -p $fixtures
    case $format in
    torch_checkpoint) cp tests/data/checkpoints/*_torch*.pt $fixtures ;;
    image)
        cp tests/data/images/{small*.png,*.jpg} $fixtures
        cp tests/data/images/kinds/*.jpg tests/data/images/kinds/refused/* $fixtures
        find tests/data/images/kinds -name '*.png' ! -name '*.rgb.png' ! -name '*.upright.png' -exec cp {} $fixtures ';'
        ;;
    esac
    seeds=($fixtures)
    if [ -d tests/fuzz/corpus/$format ]; then seeds+=(tests/fuzz/corpus/$format); fi
    log=$build/$format.log
    nice -n 19 $build/tests/fuzz/${format}_fuzz -max_total_time="$seconds" -max_len=8192 -timeout=20 \
        -rss_limit_mb=1024 -malloc_limit_mb=256 -dict=tests/fuzz/$format.dict -artifact_prefix=$build/findings/ \
        -print_final_stats=1 -verbosity=0 -print_funcs=0 $learnt "${seeds[@]}" >$log 2>&1 &
    trap "kill $!" TERM
    if ! wait $!; then
        grep -v Uses: $log | tail -n 60
        echo "$format: a finding, in $build/findings"
        return 1
    fi
    echo "$format: no finding within $seconds s"
    sed -n 's/^stat::/    /p' $log
}

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
running=()
for format in "${formats[@]}"; do
    fuzz "$format" &
    running+=($!)
done
failed=0
for one in "${running[@]}"; do wait "$one" || failed=1; done
exit $failed
