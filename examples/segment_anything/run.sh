#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds the example of drawn shapes in build/demo and runs it. Drawings, clicks and masks are in
# build/demo/shapes.png afterwards. Arguments go to the example.
exec "$(dirname "$0")/../common/run_demo.sh" shapes "$@"
