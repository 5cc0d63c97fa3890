#!/usr/bin/env bash
# docs/TESTING.md: its files are compiled with and without MTRACE, its commands print what stands below them. Test
# frameworks report a failing check as one of theirs. A fixture costs far less than a restart.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok testing $1"; else
        echo "not ok testing $1${3:+: $3}"
        failed=1
    fi
}

python3 - docs/TESTING.md "$tmp" <<'P'
import re, sys
out, steps = sys.argv[2], 0
blocks = re.findall(r'^```(\w*)\n(.*?)^```', open(sys.argv[1]).read(), re.M | re.S)
for (kind, text), after in zip(blocks, blocks[1:] + [('', '')]):
    name = re.match(r'(?:/\*|#) (\w+\.\w+)', text)
    if kind in ('c', 'cpp', 'cmake'):
        open(f'{out}/{name[1]}', 'w').write(text)
    elif kind == 'sh':
        steps += 1
        open(f'{out}/{steps}.expected', 'w').write(after[1] if after[0] == 'text' else '')
        open(f'{out}/{steps}.sh', 'w').write(text)
open(f'{out}/count', 'w').write(str(steps))
P
report "the guide has programs" $?
repo=$PWD
for step in $(seq "$(cat "$tmp/count")"); do
    (cd "$tmp" && REPO=$repo timeout 120 bash -e "./$step.sh") >"$tmp/out" 2>&1
    status=$?
    diff "$tmp/$step.expected" "$tmp/out" >"$tmp/log" && [ $status -eq 0 ]
    report "command $step: $(tail -n 1 "$tmp/$step.sh")" $? "status $status, $(head -n 5 "$tmp/log" | tr '\n' ' ')"
done
for program in "$tmp"/*.{c,cpp}; do
    language="gcc -std=c99"
    [ "${program##*.}" = c ] || language="g++ -std=c++14"
    for mode in -DMTRACE -UMTRACE; do
        $language -Wall -Wextra -Werror $mode -I. -fsyntax-only "$program" >"$tmp/log" 2>&1
        report "${program##*/} compiles, $mode" $? "$(grep -m 1 error "$tmp/log")"
    done
done

# --- what a fixture costs: instructions, and page faults, which cost more ---

gcc -O2 -DMTRACE -I. -o "$tmp/fixture" tests/support/fixture.c >"$tmp/log" 2>&1
report "the fixtures compile" $? "$(head -n 1 "$tmp/log")"
count() { # WAY ROUNDS
    valgrind --tool=callgrind --callgrind-out-file="$tmp/callgrind" "$tmp/fixture" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}
instructions() { echo $((($(count "$1" 110) - $(count "$1" 10)) / 100)); }
faults() { echo $(($("$tmp/fixture" "$1" 110) - $("$tmp/fixture" "$1" 10))); } # of 100 rounds
nothing=$(instructions nothing) restart=$(faults restart)
for way in baseline:50 snapshot:500 block:500; do # with at most that many page faults in 100 rounds
    cost=$(($(instructions ${way%:*}) - nothing)) found=$(faults ${way%:*})
    [ "$cost" -gt 100 ] && [ "$cost" -lt 25000 ] && [ "$found" -lt "${way#*:}" ] && [ "$restart" -gt 1000 ]
    report "a fixture by ${way%:*}: $cost instructions, $found page faults in 100 rounds; by a restart $restart" $? "too many"
done
exit $failed
