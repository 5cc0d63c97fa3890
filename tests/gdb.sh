#!/usr/bin/env bash
# tools/mtrace-gdb.py shows what mtrace's own reports show, row by row: in a stopped process and in its core file, in
# several configurations, with several threads, for every view, key and comparison. Damaged memory gives a message.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
all="rising threads full clear sampled stopped never"

bad() {
    echo "not ok gdb $1"
    failed=1
}

# build FILE COMPILER [FLAG...]
build() {
    "${@:2}" -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Werror -DMTRACE -I. \
        tests/support/debugged.c -o "$tmp/$1" -lpthread >"$tmp/log" 2>&1 && return
    bad "$1: $(head -n 1 "$tmp/log")"
    return 1
}

# check NAME SCENARIOS COMPILER [FLAG...]: builds, and runs the scenarios in gdb.
check() {
    build "$1" "${@:3}" || return
    CONFIGURATION=$1 FOLDER=$tmp SCENARIOS=$2 DAMAGE=${damage:-} gdb -nx -q -batch -x tools/mtrace-gdb.py \
        -x tests/support/debugger.py "$tmp/$1" >"$tmp/log" 2>&1
    grep -aE '^(not )?ok ' "$tmp/log"
    if ! grep -q "^ok gdb $1: all scenarios" "$tmp/log"; then
        bad "$1: gdb ended too early: $(tail -n 1 "$tmp/log")"
    elif grep -q '^not ok' "$tmp/log"; then
        failed=1
    fi
}

# says NAME WORDS: `mtrace top` at the first instruction of the program.
says() {
    gdb -nx -q -batch -x tools/mtrace-gdb.py -ex 'set width 0' -ex starti -ex "mtrace top" "$tmp/program" \
        >"$tmp/log" 2>&1
    if [ "$(tail -n 1 "$tmp/log")" = "$2" ]; then echo "ok gdb $1"; else bad "$1: $(tail -n 1 "$tmp/log")"; fi
}

damage=1 check threads "$all" gcc -std=gnu99 -O2 -g
check single "rising clear" gcc -std=gnu99 -O0 -g -DMTRACE_SINGLE_THREAD
check lock "threads clear" clang -std=gnu99 -O0 -g '-DMTRACE_CONFIG_FILE="tests/support/lock_config.h"'
check bare "threads full" gcc -std=gnu99 -O0 -g -DMTRACE_BARE_METAL -DMTRACE_SINGLE_THREAD
check bare-small "full clear" gcc -std=gnu99 -O0 -g -DMTRACE_BARE_METAL -DMTRACE_SINGLE_THREAD -DMTRACE_SMALL
check cxx "threads" g++ -x c++ -std=gnu++11 -O0 -g
check static "sampled" gcc -std=gnu99 -O0 -g -DMTRACE_API=static -Wno-unused-function
if tests/support/runs_32_bits; then
    check 32-bit "threads" gcc -m32 -idirafter /usr/include/x86_64-linux-gnu -std=gnu99 -O0 -g
else
    echo "skipped gdb 32-bit: this system starts no such programs"
fi

build program gcc -std=gnu99 -O0 -g1 &&
    says "-g1" "mtrace: mtrace_g_ has no type: compile the file with MTRACE_IMPLEMENTATION with -g (-g1 has no types)"
strip "$tmp/program" &&
    says "stripped" "mtrace: no mtrace_g_ in this program: compiled without MTRACE, or stripped"

# The session in docs/FAQ.md, but for its addresses.
session() { sed -n '/^```console/,/^```/p' docs/FAQ.md; }
gcc -g -DMTRACE -I. examples/quick_start.c -o "$tmp/quick_start" || failed=1
commands=(-ex "set width 0")
while IFS= read -r command; do
    commands+=(-ex "echo (gdb) $command\n" -ex "$command")
done < <(session | sed -n 's/^(gdb) //p')
gdb -nx -q -batch -x tools/mtrace-gdb.py "${commands[@]}" "$tmp/quick_start" >"$tmp/log" 2>/dev/null
if diff <(session | sed -n '/^(gdb) mtrace/,$p' | sed '$d; s/0x[0-9a-f]*/0x/g') \
    <(sed -n '/^(gdb) mtrace/,$p' "$tmp/log" | sed 's/0x[0-9a-f]*/0x/g') >"$tmp/differences"; then
    echo "ok gdb docs/FAQ.md"
else
    bad "docs/FAQ.md: $(sed -n 2p "$tmp/differences")"
fi
exit $failed
