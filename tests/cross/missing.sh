# SPDX-License-Identifier: Apache-2.0
#
# For scripts of tests: what is not installed. Where EFFICIENTVIT_SKIP=never, as in .ci/run, that is a failure, but for
# browsers: not every machine can have them, or lets them start.

# missing skipped WHAT: ends the script, for CTest as skipped. missing "left out" WHAT: goes on.
missing() {
    echo "$1: $2"
    [[ ${EFFICIENTVIT_SKIP:-} != never ]] || { echo "failed: with EFFICIENTVIT_SKIP=never all must be there"; exit 1; }
    [[ $1 != skipped ]] || exit 0
}

# Whether a browser can be driven: it is started and closed again. Chromium's driver is a program of its own. Says so
# where it cannot.
has_browser() {
    if command -v "$1" >/dev/null && { [[ $1 == *firefox* ]] || command -v "${CHROMEDRIVER:-chromedriver}" >/dev/null; }; then
        if "$node" tests/web/browser_starts.mjs "$1"; then return 0; fi
        echo "left out: $1 does not start"
    else
        echo "left out: $1 or its driver is not installed"
    fi
    return 1
}
