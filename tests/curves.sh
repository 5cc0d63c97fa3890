#!/usr/bin/env bash
# The benchmarks of growth and of real programs build and run at tiny sizes. The facts that they check besides time
# must hold. Nothing is dropped up to 70 % load, and drops are counted. No probe is longer than its limit or grows over
# time. mtrace_check() passes after every kind of address. Lua, SQLite and Duktape free everything that they allocate.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
flags=(-std=c99 -O2 -Wall -Wextra -pedantic -Werror -I.)

report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else
        echo "not ok $1: $(tail -n 1 "$tmp/log")"
        failed=1
    fi
}

gcc "${flags[@]}" -DMTRACE -o "$tmp/curves" bench/curves.c -lm >"$tmp/log" 2>&1
report "bench/curves.c builds" $?
gcc "${flags[@]}" -DMTRACE -o "$tmp/programs" bench/programs.c -lduktape -llua5.4 -lsqlite3 >"$tmp/log" 2>&1
report "bench/programs.c builds" $?
for use in use_nothing use_recording use_load print_sizes; do
    gcc "${flags[@]}" -DMTRACE -DFOOTPRINT_FILES "-Wl,--defsym=chosen=$use" -o "$tmp/footprint" bench/footprint.c >"$tmp/log" 2>&1 &&
        "$tmp/footprint" >"$tmp/log" 2>&1
    report "bench/footprint.c, $use" $?
done

part() { # ROWS NAME ARGUMENT...
    "$tmp/curves" "${@:2}" >"$tmp/$2" 2>"$tmp/log"
    report "curves $2" $?
    [ "$(grep -c '^| ' "$tmp/$2")" -gt "$1" ] # and the heading
    report "curves $2 prints $1 rows" $?
}
part 2 live 10000
part 3 sites 2000 1000
part 77 full 12
part 10 row 14
part 12 hostile 12
part 10 time 1000000

gnuplot -c bench/curves.gnuplot "$tmp" "$tmp/curves.svg" >"$tmp/log" 2>&1 && grep -q 'Longest probe after churn' "$tmp/curves.svg"
report "the pictures" $?

for program in lua sqlite duktape; do
    for mode in plain off traced deep sampled; do
        "$tmp/programs" $program $mode 1 >"$tmp/ms" 2>"$tmp/log" && grep -Eqx '[0-9]+\.[0-9]+' "$tmp/ms"
        report "programs $program $mode" $?
    done
done
! "$tmp/programs" lua nonsense >"$tmp/log" 2>&1
report "programs knows its modes" $?
exit $failed
