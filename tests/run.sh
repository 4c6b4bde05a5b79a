#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds everything in build/release and runs the tests. Arguments go to cmake.
set -euo pipefail
cd "$(dirname "$0")/.."

.ci/install-packages tests
cmake --preset release "$@"
cmake --build --preset release
ctest --preset release
