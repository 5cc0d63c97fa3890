#!/usr/bin/env bash
# Input from outside, under libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer (tests/fuzz/fuzz.c). Without
# arguments it does a fixed number of runs with a fixed seed, so that it repeats. A longer run keeps its corpus in
# build/fuzz:  tests/fuzz.sh TARGET SECONDS   where TARGET is load, make, match, environment or all.
# --long: fuzz.sh for 150 s a target
set -u
[ -z "${TEST_LONG:-}" ] || [ $# -gt 0 ] || set -- all 150
cd "$(dirname "$0")/.." || exit 1
top=$PWD tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

result() {
    if [ "$2" -eq 0 ]; then echo "ok fuzz: $1"; else
        echo "not ok fuzz: $1: $(grep -a -m 1 -E 'not so:|ERROR:|runtime error:|error:' "$3")"
        failed=1
    fi
}

clang -std=c99 -O1 -g -Wall -Wextra -pedantic -Wconversion -Wshadow -Werror -DMTRACE -I. -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=all tests/fuzz/fuzz.c -o "$tmp/fuzz" -lpthread >"$tmp/log" 2>&1
result "builds" $? "$tmp/log"
[ $failed -eq 0 ] || exit 1
mkdir "$tmp/seeds" && "$tmp/fuzz" --seeds="$tmp/seeds" || exit 1

# fuzz TARGET LONGEST CORPUS OPTION...: in an empty folder, where it may leave files. A failing input is kept.
fuzz() {
    local log=$tmp/$1.log status
    mkdir -p "$3" "$tmp/$1" build/fuzz
    (cd "$tmp/$1" && "$tmp/fuzz" --target="$1" -max_len="$2" -len_control=0 -timeout=60 \
        -artifact_prefix="$top/build/fuzz/$1-" "${@:4}" "$3" "$tmp/seeds") >"$log" 2>&1
    status=$?
    result "$1, $(sed -n 's/^#\([0-9]*\)\tDONE *\(cov: [0-9]*\).*/\1 runs, \2/p' "$log" | tail -n 1)" $status "$log"
}

declare -A longest=([load]=4096 [make]=1024 [match]=300 [environment]=200)
declare -A runs=([load]=4000 [make]=3000 [match]=10000 [environment]=3000)
targets=(load make match environment)
[ "${1:-all}" = all ] || targets=("$1")
for target in "${targets[@]}"; do
    if [ $# -gt 0 ]; then
        fuzz "$target" "${longest[$target]}" "$top/build/fuzz/$target" -max_total_time="${2:-60}"
    else
        fuzz "$target" "${longest[$target]}" "$tmp/corpus-$target" -seed=1 -runs="${runs[$target]}"
    fi
done
exit $failed
