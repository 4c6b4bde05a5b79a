#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds the digits example in build/demo and runs it. Arguments go to the example.
set -euo pipefail
cd "$(dirname "$0")/../.."

.ci/install-packages demo
cmake --preset demo
cmake --build build/demo --target digits
build/demo/examples/digits --output build/demo/digits.png "$@"
