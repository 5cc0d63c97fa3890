#!/usr/bin/env bash
# The instruction counts of the core do not grow. They are the same in every run. This covers a pair, scopes, any number
# of threads, and a clear for any size of the table. Some goals in bench/reach are lower than these limits and are
# missed. docs/DESIGN.md says by how much and why.
set -u
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
bench/reach --counts >"$log" 2>&1
[ $? -le 1 ] || {
    echo "not ok reach: $(tail -n 1 "$log")"
    exit 1
}
failed=0

at_most() { # BOUND ROW, as its line begins
    local measured
    measured=$(sed -n "s/^| \`\?$2[^|]*| \([0-9.,]*\).*/\1/p" "$log" | head -n 1 | tr -d ,)
    if [ -n "$measured" ] && awk "BEGIN { exit !($measured <= $1) }"; then
        echo "ok reach $2: $measured, at most $1"
    else
        echo "not ok reach $2: ${measured:-nothing}, at most $1"
        failed=1
    fi
}

at_most 97 'instructions added to a pair'
at_most 101 'the same, clang'
at_most 124 'inside of scopes'
at_most 130 'one site by turns in 8 scopes'
at_most 68 'MT_SCOPE'
at_most 4 'off, compiled in'
at_most 500000 'mtrace_clear'
at_most 1.1 'instructions added: the 17th thread'
at_most 1.1 'instructions added: 8 workers after 10,000 threads'
at_most 1.1 'instructions added: 8 workers after 10,000 that allocate'
exit $failed
