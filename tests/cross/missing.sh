# SPDX-License-Identifier: Apache-2.0
#
# For scripts of tests: what is not installed. Where EFFICIENTVIT_SKIP=never, as in .ci/run, that is a failure.

# missing skipped WHAT: ends the script, for CTest as skipped. missing "left out" WHAT: goes on.
missing() {
    echo "$1: $2"
    [[ ${EFFICIENTVIT_SKIP:-} != never ]] || { echo "failed: with EFFICIENTVIT_SKIP=never all must be there"; exit 1; }
    [[ $1 != skipped ]] || exit 0
}

# Whether a browser can be driven; Chromium's driver is a program of its own.
has_browser() {
    command -v "$1" >/dev/null && { [[ $1 == *firefox* ]] || command -v "${CHROMEDRIVER:-chromedriver}" >/dev/null; }
}
