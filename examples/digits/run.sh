#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds the digits example in build/demo and runs it. Arguments go to the example.
exec "$(dirname "$0")/../common/run_demo.sh" digits "$@"
