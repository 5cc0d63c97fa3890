#!/usr/bin/env bash
# Exchanges snapshot files between machines (64 bits, 32 bits, and s390x, which is big-endian) and with Python.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir "$build/include"
cp /usr/include/xxhash.h "$build/include" # a cross compiler must not see what else is there

# machine NAME COMPILER... -- RUNNER...
machine() {
    local name=$1 program compiler=()
    shift
    while [ "$1" != -- ]; do
        compiler+=("$1")
        shift
    done
    shift
    for program in tests/replay.c tests/support/convert.c; do
        if ! "${compiler[@]}" -std=c99 -DMTRACE -I. -I"$build/include" -O1 "$program" -o "$build/$name-$(basename "$program" .c).exe"; then
            echo "not ok $name: $program does not compile"
            exit 1
        fi
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$*" "$build/$name-$(basename "$program" .c).exe" >"$build/$name-$(basename "$program" .c)"
        chmod +x "$build/$name-$(basename "$program" .c)"
    done
}

machine x86-64 gcc --
machine x86 gcc -m32 -idirafter /usr/include/x86_64-linux-gnu -- qemu-i386 # some kernels start no 32-bit programs
machine s390x s390x-linux-gnu-gcc -static -- qemu-s390x
python3 tests/support/interchange.py "$build" x86-64 x86 s390x
