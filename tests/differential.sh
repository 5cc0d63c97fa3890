#!/usr/bin/env bash
# Holds the library's answers against CPython's: 2,500 random scripts for tests/replay.c, compiled with
# sanitizers. For one seed again: tests/support/differential.py PROGRAM 1 SEED
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
if ! cc -std=c99 -DMTRACE -I. -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all tests/replay.c \
    -o "$build/mtrace-replay"; then
    echo "not ok differential: mtrace-replay does not compile"
    exit 1
fi
python3 tests/support/differential.py "$build/mtrace-replay" "${1:-2500}"
