#!/usr/bin/env bash
# Compares the library's results with CPython's: 2,500 random scripts for tests/replay.c, and 500 more for the same
# program with sanitizers. To repeat one seed: tests/support/differential.py PROGRAM 1 SEED
# --long: differential.sh with 10,000 scripts under sanitizers, not 500
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
failed=0
differential() { # SCRIPTS SEED FLAG...
    if ! cc -std=c99 -DMTRACE -I. -O1 -g "${@:3}" tests/replay.c -o "$build/mtrace-replay"; then
        echo "not ok differential: mtrace-replay does not compile"
        failed=1
    else
        python3 tests/support/differential.py "$build/mtrace-replay" "$1" "$2" || failed=1
    fi
}
differential 2500 1
differential $((${TEST_LONG:+9500} + 500)) 2501 -fsanitize=address,undefined -fno-sanitize-recover=all
exit $failed
