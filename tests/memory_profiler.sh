#!/usr/bin/env bash
# Compares the line profile with the original, line by line. The same functions run in Python under memory_profiler and
# in C.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
if ! gcc -std=c99 -O2 -g -Wall -Wextra -pedantic -Werror -DMTRACE -I. tests/support/profiled.c -o "$build/profiled" ||
    ! "$build/profiled" >"$build/c"; then
    echo "not ok mtrace: no profile"
    exit 1
fi
# Debian's Python has Debian's memory_profiler. A fixed threshold means that each large block comes from the system and
# returns to it when it is freed. Then the memory of the process is the memory that the program holds.
if ! MALLOC_MMAP_THRESHOLD_=1048576 /usr/bin/python3 -m memory_profiler tests/support/profiled.py >"$build/python"; then
    echo "not ok memory_profiler: no profile"
    exit 1
fi
python3 tests/support/memory_profiles.py "$build/python" "$build/c"
