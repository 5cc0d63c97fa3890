#!/usr/bin/env bash
# A full table adds little to a call. Looking up a call site by its names is cheap. No sum wraps. callgrind counts the
# instructions of a malloc and its free. The cost of a full table is the difference to the same calls with room left.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

report() { # NAME STATUS WHY
    if [ "$2" -eq 0 ]; then echo "ok $1"; else
        echo "not ok $1: $3"
        failed=1
    fi
}

gcc -std=c99 -O2 -Wall -Wextra -pedantic -Werror -I. -o "$tmp/tables" tests/support/tables.c >"$tmp/log" 2>&1
report "tests/support/tables.c builds" $? "$(tail -n 1 "$tmp/log")"

pairs=1000
instructions() { # CASE: of one pair
    local all
    if [ ! -s "$tmp/$1" ]; then
        all=$(valgrind --tool=callgrind --toggle-collect=measured --callgrind-out-file="$tmp/out" "$tmp/tables" "$1" $pairs 2>&1 |
            sed -n 's/.*Collected : \([0-9]*\)$/\1/p')
        [ "${all:-0}" -gt 0 ] && echo $((all / pairs)) >"$tmp/$1"
    fi
    cat "$tmp/$1" 2>"$tmp/log"
}

adds() { # CASE-WITH-ROOM CASE-FULL MOST
    local room full
    room=$(instructions "$1") full=$(instructions "$2")
    echo "# $1: $room instructions a pair, $2: $full"
    [ -n "$room" ] && [ -n "$full" ] && [ $((full - room)) -le "$3" ]
    report "$2 adds at most $3 instructions" $? "$room become $full"
}

adds room sites-full 200
adds room names-full 200
adds room names-full,sites-full 200
adds room known-place,sites-full 200
adds in-domain sites-full,in-domain 200
adds in-domain names-full,sites-full,in-domain 200
adds stack stack,sites-full 200
adds stack stack,names-full 200
adds stack stack,names-full,sites-full 200
adds scope scope,scopes-full 200
adds scope scope,sites-full 200
adds scope scope,scopes-full,sites-full,names-full 200
adds traces-half traces-full 2000

# An allocator that gets file and line: the site is kept, or looked up at each call, or made on the stack.
adds room kept 5
adds kept engine 180
adds kept engine-moved 600
adds kept engine-full 600

gcc -std=c99 -O2 -Wall -Wextra -pedantic -Werror -I. -o "$tmp/sums" tests/support/sums.c >"$tmp/log" 2>&1 &&
    "$tmp/sums" >"$tmp/log"
report "sums stop at their largest number" $? "$(tail -n 1 "$tmp/log")"
exit $failed
