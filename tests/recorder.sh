#!/usr/bin/env bash
# Opens the recorder's files with their readers: mprof, a JSON and a CSV reader, an XML parser, an SVG renderer.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

ok() { echo "ok recorder $1"; }
bad() { echo "not ok recorder $1: $(tail -n 1 "$tmp/log")"; failed=1; }

# check NAME COMMAND...: by its exit status.
check() {
    if "${@:2}" >"$tmp/log" 2>&1; then ok "$1"; else bad "$1"; fi
}

W="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes -Werror"
# shellcheck disable=SC2086
if ! gcc -std=c99 $W -O1 -DMTRACE -I. examples/timeline.c -o "$tmp/timeline" >"$tmp/log" 2>&1 ||
    ! "$tmp/timeline" "$tmp" >"$tmp/out" 2>"$tmp/log"; then
    bad "examples/timeline.c runs"
    exit 1
fi
ok "examples/timeline.c runs"
cd "$tmp" || exit 1

# ---------------------------------------------------------------------------------- terminal
check "the sparkline is one line" grep -qE '^mtrace: 0 B [▁▂▃▄▅▆▇█]{40} [0-9.]+ [KM]iB peak$' out
check "the plot has its marks" test "$(grep -E '^ +0 B \+' out | tr -cd '^' | wc -c)" = 4
check "no line is wider than 80 columns" test -z "$(sed -n '2,/maximum in between/p' out | awk 'length > 80')"

# ------------------------------------------------------------------------------------- mprof
peak=$(python3 -c '
import csv
rows = list(csv.DictReader(open("timeline.csv", newline="")))
print("%.3f MiB" % (max(int(r["highest (B)"]) for r in rows) / 2**20))')
check "mprof peak is the recorder's" test "$(python3-mprof peak timeline.dat | cut -f 2)" = "$peak"
for name in load_level load_texture play; do
    python3-mprof peak --func "$name" timeline.dat >"$name" 2>&1
    check "mprof peak --func $name" grep -qE $'^timeline.dat\t[1-9]\\.[0-9]{3} MiB$' "$name"
done
python3-mprof peak --func no_such timeline.dat >no_such 2>&1
check "mprof knows what is not there" grep -q 'NaN' no_such
for options in "" "--flame"; do
    # shellcheck disable=SC2086
    check "mprof plot $options" env MPLBACKEND=Agg python3-mprof plot $options -o m.png timeline.dat
    check "it draws $options" python3 -c 'assert open("m.png", "rb").read(8) == b"\x89PNG\r\n\x1a\n"'
    rm -f m.png
done
check "no line is empty or of another kind" test -z "$(grep -vE '^(CMDLINE|MEM|FUNC|MARK) [^ ]' timeline.dat)"

# -------------------------------------------------------------------------- JSON, CSV, SVG
check "trace events are as they must be" python3 - <<'P'
import json
trace = json.load(open("timeline.json"))
demands = {"M": {"args"}, "C": {"ts", "args"}, "i": {"ts", "s"}, "X": {"ts", "dur"}}
kinds, stacks = {}, {}
for e in trace["traceEvents"]:
    assert {"name", "ph", "pid", "tid"} | demands[e["ph"]] <= set(e), e
    kinds.setdefault(e["ph"], []).append(e)
assert [e["args"]["name"] for e in kinds["M"]] == ["mtrace"]
assert {e["name"] for e in kinds["C"]} == {"memory", "domains", "sites"}
for e in kinds["C"]:
    assert e["args"] and all(type(v) is int and v >= 0 for v in e["args"].values()), e
assert {k for e in kinds["C"] if e["name"] == "domains" for k in e["args"]} == {"textures", "audio"}
assert [e["name"] for e in kinds["i"]] == ["level 1 loaded", "game over", "level 2 loaded", "game over"]
assert len(kinds["X"]) == 2 * (1 + 6 + 1)
for e in sorted(kinds["X"], key=lambda e: (e["ts"], -e["dur"])):
    open_ = stacks.setdefault(e["tid"], [])
    while open_ and open_[-1]["ts"] + open_[-1]["dur"] <= e["ts"]:
        open_.pop()
    assert not open_ or e["ts"] + e["dur"] <= open_[-1]["ts"] + open_[-1]["dur"], (open_[-1], e)
    open_.append(e)
P
check "every CSV row adds up" python3 - <<'P'
import csv
text = open("timeline.csv", newline="").read()
assert text.endswith("\r\n") and text.count("\n") == text.count("\r\n")
rows = list(csv.reader(text.splitlines()))
head, rows = rows[0], rows[1:]
at = {name: i for i, name in enumerate(head)}
assert head == ["time (s)", "current (B)", "highest (B)", "peak (B)", "resident (B)", "textures (B)", "audio (B)", "play (B)"]
assert len(rows) > 10 and all(len(r) == len(head) for r in rows)
times = [float(r[0]) for r in rows]
assert times == sorted(times)
for r in rows:
    n = [int(v) for v in r[1:]]
    current, highest, peak, resident, textures, audio, play = n
    assert textures + audio + play <= current <= highest <= peak, r
    assert resident >= 4096, r
assert max(int(r[at["highest (B)"]]) for r in rows) == int(rows[-1][at["peak (B)"]])
assert max(int(r[at["textures (B)"]]) for r in rows) == sum(200000 + i * 40000 for i in range(6))
assert max(int(r[at["audio (B)"]]) for r in rows) == 450000
P
check "SVG is XML" xmllint --noout timeline.svg
check "SVG has no scripts" test -z "$(grep -i '<script\|href\| on[a-z]*=' timeline.svg)"
check "SVG is drawn" rsvg-convert timeline.svg -o svg.png
check "of its size" python3 -c '
import struct
data = open("svg.png", "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">I", data[16:20])[0] == 1040 and len(data) > 10000'
check "all names are in the SVG" sh -c 'for n in textures audio play load_level "level 1 loaded" resident; do
    grep -q ">$n" timeline.svg || { echo "$n"; exit 1; }; done'

# --------------------------------------------------------------- nothing recorded, bad names
cat >nothing.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"
int main(int argc, char **argv) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    mtrace_recorder_span span = MTRACE_ZERO_;
    desc.no_thread = true;
    if (argc > 1 && (mtrace_start(NULL) != MTRACE_OK || mtrace_recorder_start(&desc) != MTRACE_OK)) { return 1; }
    mtrace_recorder_mark(argv[argc - 1]);
    mtrace_recorder_mark_span(argv[argc - 1], &span);
    return mtrace_recorder_save(MTRACE_RECORDER_DAT, "n.dat") || mtrace_recorder_save(MTRACE_RECORDER_CHROME, "n.json") ||
           mtrace_recorder_save(MTRACE_RECORDER_CSV, "n.csv") || mtrace_recorder_save(MTRACE_RECORDER_SVG, "n.svg");
}
C
check "a program that records nothing" gcc -std=c99 -DMTRACE -I"$OLDPWD" nothing.c -o nothing
readable() {
    rm -f n.*
    "$@" && python3-mprof peak n.dat | grep -q '0\.000 MiB' && MPLBACKEND=Agg python3-mprof plot -o n.png n.dat &&
        python3 -c 'import json; json.load(open("n.json"))' && xmllint --noout n.svg && rsvg-convert n.svg -o n.png
}
check "nothing recorded can be read" readable ./nothing
check "a name of any bytes can be read" readable ./nothing $'<&"\\]]>\x01\n \xff\xed\xa0\x80 --\xc3\xa4'
exit $failed
