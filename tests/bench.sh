#!/usr/bin/env bash
# The benchmark builds and runs: every workload in every mode with a tiny count. Nothing is timed here.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
modes=(plain off traced deep sampled)
if ! gcc -std=c99 -O2 -Wall -Wextra -pedantic -Werror -DMTRACE -I. -o "$build/bench" bench/bench.c \
    -pthread >"$build/log" 2>&1; then
    echo "not ok bench: $(head -n 1 "$build/log")"
    exit 1
fi
failed=0

check() { # PATTERN COMMAND...: a line of what it prints matches
    if "${@:2}" >"$build/log" 2>&1 && grep -Eq "$1" "$build/log"; then
        echo "ok bench ${*:3}"
    else
        echo "not ok bench ${*:3}: $(tail -n 1 "$build/log")"
        failed=1
    fi
}
for mode in "${modes[@]}"; do
    for workload in pair churn1k churn100k churn1m ordered1m realloc handover threads1 threads2 scope; do
        check '^[0-9]+\.[0-9]{3}$' "$build/bench" $workload "$mode" 100
    done
done
check 'warning: .* allocated in traced_leak$' "$build/bench" leak traced 100
check '^16 threads seen: snapshot [0-9]+ us' "$build/bench" questions traced 16
check '^\| mtrace.h \| [0-9]' env BENCH_BUILD="$build" BENCH_ROUNDS=1 BENCH_COUNT=1000 bench/designs
check '^[0-9]+\.[0-9]{3}$' python3 bench/workload.py churn1k 100
# bench/reach: its program, without callgrind, and its count of functions. Times are ignored.
if gcc -std=c99 -O1 -Wall -Wextra -pedantic -Werror -Wno-unused-function -DMTRACE -I. -o "$build/reach" bench/reach.c \
    -pthread >"$build/log" 2>&1 && "$build/reach" counts >"$build/log" 2>&1; then
    echo "ok bench reach counts"
else
    echo "not ok bench reach counts: $(tail -n 1 "$build/log")"
    failed=1
fi
check '^[0-9.]+ [0-9.]+ [0-9.]+ [0-9.]+$' "$build/reach" times pair
check '^[0-9.]+ [0-9.]+ [0-9.]+ [0-9.]+$' "$build/reach" times threads2
check '^[0-9.]+ [0-9.]+$' "$build/reach" restart
check '^[0-9.]+ [0-9.]+$' "$build/reach" snapshots
gcc -std=c99 -O0 -fcallgraph-info -DMTRACE -I. -c bench/bench.c -o "$build/calls.o"
check '^mtrace_malloc_at$' python3 bench/reached.py -v "$build/calls.ci" traced_leak
# 7 shapes in C and 2 in Python, in 2 patterns each: every row exists and has a number in every column
if BENCH_ROUNDS=1 BENCH_COUNT=1000 bench/profile >"$build/log" 2>&1 &&
    [ "$(grep -Ec '^\| [^|]+ \| [a-z, ]+( \| [0-9.]+){6} \|$' "$build/log")" -eq 14 ] &&
    [ "$(grep -Ec '^\| [^|]+ \| [a-z, ]+( \| [0-9.]+){5} \|$' "$build/log")" -eq 4 ]; then
    echo "ok bench/profile"
else
    echo "not ok bench/profile: $(tail -n 1 "$build/log")"
    failed=1
fi
exit $failed
