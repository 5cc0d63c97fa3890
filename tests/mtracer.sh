#!/usr/bin/env bash
# mtracer: counts equal an independent counter's, nothing is lost in a crash, and what cannot be traced is told.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

good() { echo "ok mtracer $1"; }
bad() {
    echo "not ok mtracer $1: ${*:2}"
    failed=1
}
# is NAME FOUND WANTED
is() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "'$2' and not '$3'"; fi; }
# has NAME FILE TEXT
has() { if grep -qF -- "$3" "$2"; then good "$1"; else bad "$1" "no '$3' in: $(head -c 300 "$2")"; fi; }

warnings="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes -Werror"
# The lines of docs/PROGRAMS.md.
gcc -std=c99 -O2 $warnings tools/mtracer.c -o "$tmp/mtracer" 2>"$tmp/log" &&
    gcc -std=c99 -O2 $warnings -fPIC -shared tools/preload.c -o "$tmp/libmtracer.so" 2>"$tmp/log" || {
    bad build "$(head -n 3 "$tmp/log")"
    exit 1
}
gcc -O1 -g -w tests/mtracer/programs.c -o "$tmp/programs" -lpthread
g++ -O1 -g -std=c++17 tests/mtracer/operators.cpp -o "$tmp/operators"
g++ -O1 -g -std=c++17 -DOWN_OPERATORS tests/mtracer/operators.cpp -o "$tmp/own_operators"
gcc -O1 -g -fPIC -shared -w tests/mtracer/counter.c -o "$tmp/counter.so"
gcc -O1 -g -fPIC -shared -DSIZE=1111 tests/mtracer/library.c -o "$tmp/one.so"
gcc -O1 -g -fPIC -shared -DSIZE=2222 tests/mtracer/library.c -o "$tmp/two.so"
cd "$tmp" || exit 1

# read_file FILE: calls, bytes, held, peak of a snapshot
cat >read.py <<'P'
import sys
sys.path.insert(0, sys.argv[1] + "/tests/support")
import read_snapshot
info, memory, rows = read_snapshot.read(sys.argv[2])[:3]
print(sum(r.ever[1] for r in rows), sum(r.ever[0] for r in rows), sum(r.size for r in rows), memory[1],
      info["dropped_count"])
P
read_file() { python3 read.py "$root" "$1"; }
read_counter() { python3 -c 'import struct,sys; print(*struct.unpack("4Q", open(sys.argv[1], "rb").read()[:32]), 0)' "$1"; }

# counted NAME STATUS OUTPUT PROGRAM...: ends as it does alone, and mtracer's counts are the counter's
counted() {
    rm -f out.mtrace count
    COUNTER=$tmp/count ./mtracer run -o out.mtrace -- \
        sh -c 'LD_PRELOAD=$LD_PRELOAD:./counter.so exec "$@"' sh "${@:4}" >out 2>err </dev/null
    is "$1: status" "$?" "$2"
    is "$1: output" "$(cat out)" "$3"
    is "$1: calls, bytes, held, peak" "$(read_file out.mtrace)" "$(read_counter count)"
} 2>/dev/null

counted all 0 "all 10" ./programs all
counted crash 139 "" ./programs crash
has "crash: names the signal" err "was ended by signal 11 (Segmentation fault)"
has "crash: held bytes" err "100000 bytes in 100 blocks were not freed"
counted kill 137 "" ./programs kill
counted exit 3 "" ./programs exit
counted abort 134 "" ./programs abort
counted exec 3 "" ./programs exec
counted fork 0 "" ./programs fork
counted clone 0 "" ./programs clone
counted closed 0 "" ./programs closed
counted daemon 0 "" ./programs daemon
counted contexts 0 "" ./programs contexts
counted full 0 "full 1" ./programs full
counted spawns 0 "spawn 4 system 5 vfork 4 popen six" ./programs spawns
counted operators 0 "caught 202 handled 1" ./operators
counted "own operators" 0 "caught 202 handled 0 own 1" ./own_operators
counted libraries 0 "" ./programs libraries ./one.so ./two.so
is "libraries: each has its own bytes" "$(./mtracer report out.mtrace --by module | grep -c '\(22220\|44440\|21.70 KiB\|43.40 KiB\) .*\(one\|two\).so')" 2
./mtracer run -o out.mtrace ./programs handlers >out 2>err
is "handlers" "$?$(cat out)" "0signals 50"
./mtracer run -o out.mtrace ./programs threads >out 2>err
is "threads: calls" "$(read_file out.mtrace | cut -d' ' -f1)" "$((80000 + $(./mtracer run -o t.mtrace ./programs none 2>/dev/null >&2; read_file t.mtrace | cut -d' ' -f1) - 1 + 8))"

# The commands of docs/PROGRAMS.md, and of README.md, print what stands below them.
python3 - "$root" >"$tmp/doc.sh" <<'P'
import re, sys
kinds = re.findall(r"^```(\w+)\n(.*?)^```", open(sys.argv[1] + "/docs/PROGRAMS.md").read(), re.M | re.S)
readme = re.findall(r"^```(sh|output)\n(.*?)^```", open(sys.argv[1] + "/README.md").read(), re.M | re.S)
number = 0
for kind, text in kinds + readme:
    if kind == "c":
        open("things.c", "w").write(text)
    elif kind == "sh" and "tools/" not in text:
        number += 1
        print(f"{{ set -e\n{text}}} >shown.{number} 2>&1 || echo status $? >>shown.{number}")
    elif kind == "output":
        open(f"wanted.{number}", "w").write(text)
P
sh "$tmp/doc.sh" 2>/dev/null
mask() { sed -E "s/own memory .*/own memory/; s|$tmp/||g" "$1"; }
for wanted in wanted.*; do
    shown=shown.${wanted#*.}
    lines=$(wc -l <"$wanted")
    case $(tail -n 1 "$wanted") in
    ...) is "docs: $wanted" "$(mask "$shown" | head -n $((lines - 1)))" "$(mask "$wanted" | head -n $((lines - 1)))" ;;
    *) is "docs: $wanted" "$(mask "$shown")" "$(mask "$wanted")" ;;
    esac
done
is "docs: no command failed" "$(cat shown.* | grep -c ^status)" 0
exit $failed
