#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds the example of drawn shapes in build/demo and runs it. Drawings, clicks and masks are in
# build/demo/shapes.png afterwards. Arguments go to the example.
set -euo pipefail
cd "$(dirname "$0")/../.."

.ci/install-packages demo
cmake --preset demo
cmake --build build/demo --target shapes
build/demo/examples/shapes --output build/demo/shapes.png "$@"
