#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run_demo.sh NAME: installs what is missing, builds the example NAME in build/demo and runs it; its picture is
# build/demo/NAME.png. Other arguments go to the example.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=$1
shift

.ci/install-packages demo
cmake --preset demo
cmake --build build/demo --target "$name"
"build/demo/examples/$name" --output "build/demo/$name.png" "$@"
