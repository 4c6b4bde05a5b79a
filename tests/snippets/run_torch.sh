#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run_torch.sh PYTHON SCRIPT FILES FOLDER: a guide's Python in a fresh copy of the snippets' files, then the guide's C++
# programs on what it has left.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$4"
cp -r "$3" "$4"
cd "$4"
"$1" "$here/run_python.py" "$2"
stem=$(basename "$2" .py)
for program in "$(dirname "$4")"/snippet_"${stem}"_[0-9]*; do
    [[ ! -x $program ]] || "$program"
done
