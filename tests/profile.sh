#!/usr/bin/env bash
# The line profile as its users see it. gdb stops at the line that exceeds the limit. Other programs read JSON and CSV.
# Also C++ names, shared libraries, stripped programs, no addr2line, and the example of the tutorials.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$PWD tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
flags=(-O2 -g1 -Wall -Wextra -Werror -DMTRACE -I"$top")

# check NAME COMMAND...: the command succeeds.
check() {
    if "${@:2}" >"$tmp/log" 2>&1; then
        echo "ok profile: $1"
    else
        echo "not ok profile: $1: $(tail -n 1 "$tmp/log")"
        failed=1
    fi
}

# shows PATTERN FILE: a line of the file matches.
shows() {
    grep -Eq -- "$1" "$2" || { cat "$2"; return 1; }
}

cat >"$tmp/program.c" <<'C'
#ifndef LIBRARY
#define MTRACE_IMPLEMENTATION
#endif
#include "mtrace_ext.h"
#include <stdlib.h>
#include <string.h>

void *helper(size_t size);
void work(void);

#ifndef PROGRAM
void *helper(size_t size) {
    char *block = (char *)MT_MALLOC(size);
    block[0] = 1;
    return block;
}

void work(void) {
    MT_PROFILE();
    void *small = helper(1 << 20); /* SMALL */
    void *large = helper(8 << 20); /* LARGE "quoted", \t and a comma */
    MT_FREE(small);
    MT_FREE(large);
}
#endif

#ifndef LIBRARY
int main(int argc, char **argv) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    mtrace_profile_report_desc report = MTRACE_ZERO_;
    desc.limit = argc > 2 ? (uint64_t)atoi(argv[2]) : 0;
    mtrace_start(NULL);
    mtrace_profile_start(&desc);
    work();
    report.style = argc < 2                        ? MTRACE_PROFILE_TABLE
                   : strcmp(argv[1], "json") == 0  ? MTRACE_PROFILE_JSON
                   : strcmp(argv[1], "csv") == 0   ? MTRACE_PROFILE_CSV
                                                   : MTRACE_PROFILE_TABLE;
    return mtrace_profile_report(&report) != MTRACE_OK;
}
#endif
C
cd "$tmp" || exit 1
line=$(grep -n 'LARGE' program.c | cut -d : -f 1)
row="^ +$line +9\.00 MiB +\+8,388,608 +9\.00 MiB +1 +0 +89 % #########\. "

check "builds" gcc -std=c99 "${flags[@]}" program.c -o program
check "runs" bash -c './program >table'
check "the line of a call without marks" shows "$row" table

# --- it reads words of the stack that were never written ---
check "MemorySanitizer has nothing to say" bash -c "clang -std=c99 ${flags[*]} -O1 -fsanitize=memory program.c \
    -o program-msan && ./program-msan >table-msan"
check "and the lines are there" shows "$row" table-msan

# --- other readers ---
check "JSON is read by python3" python3 - "$line" <<'P'
import json, subprocess, sys
functions = json.loads(subprocess.run(['./program', 'json'], capture_output=True, check=True).stdout)
rows = {row['line']: row for row in functions[0]['lines']}
large = rows[int(sys.argv[1])]
assert functions[0]['function'] == 'work' and functions[0]['calls'] == 1, functions
assert functions[0]['peak_bytes'] == 9 << 20 and functions[0]['after_bytes'] == 0, functions
assert large['change_bytes'] == 8 << 20 and large['rise_bytes'] == 8 << 20, large
assert large['source'].endswith('/* LARGE "quoted", \\t and a comma */'), large
assert sum(row['change_bytes'] for row in rows.values()) == 0
P
check "CSV is read by python3" python3 - "$line" <<'P'
import csv, io, subprocess, sys
text = subprocess.run(['./program', 'csv'], capture_output=True, check=True).stdout.decode()
rows = {row['line']: row for row in csv.DictReader(io.StringIO(text, newline=''), strict=True)}
large = rows[sys.argv[1]]
assert large['function'] == 'work' and large['allocations'] == '1' and large['runs_exact'] == '0', large
assert large['source'].endswith('/* LARGE "quoted", \\t and a comma */'), large
P

# --- the limit, in a debugger and without ---
check "without a debugger it says so, and goes on" bash -c './program table 4000000 >limit'
check "... naming the line" shows "^program.c:$line: warning: work: 9216 KiB held, above the limit of 3906 KiB \(no debugger" limit
gdb -batch -nx -ex run -ex bt --args ./program table 4000000 >gdb.log 2>&1
check "a debugger stops where the limit is exceeded" shows 'SIGTRAP' gdb.log
check "... inside of that line" shows " work \(.*program.c:$line\$" gdb.log

# --- where names and lines come from ---
check "C++ builds" g++ -std=c++11 -x c++ "${flags[@]}" -Wno-unused-parameter program.c -o program++
check "C++ runs" bash -c './program++ >table++'
check "a C++ function's lines" shows "$row" table++
check "a shared library builds" bash -c "gcc -std=c99 ${flags[*]} -DLIBRARY -fPIC -shared program.c -o libwork.so &&
    gcc -std=c99 ${flags[*]} -DPROGRAM program.c -o dynamic -L. -lwork -Wl,-rpath,$tmp"
check "it runs" bash -c './dynamic >dynamic.table'
check "lines of a shared library" shows "$row" dynamic.table
mkdir "a 'folder'" && cp program "a 'folder'/pro gram"
check "a path with blanks and quotes" bash -c "\"a 'folder'/pro gram\" >quoted && cmp table quoted"
cp program stripped && strip stripped
check "stripped, it runs" bash -c './stripped >stripped.table'
check "stripped, the lines are not known, the rest is" shows '^     \? +9\.00 MiB +\+9,437,184 +9\.00 MiB +2 +0 +89 % #########\. +\(line not known\)$' stripped.table
check "without addr2line it runs" bash -c 'PATH=/nowhere ./program >without'
check "without addr2line neither" shows '^     \? +9\.00 MiB +\+9,437,184' without
check "optimized less" bash -c "gcc -std=c99 ${flags[*]} -O0 program.c -o slow && ./slow >slow.table && cmp table slow.table"
check "optimized more, without frame pointers" bash -c "gcc -std=c99 ${flags[*]} -O3 -fomit-frame-pointer program.c -o fast &&
    ./fast >fast.table && cmp table fast.table"
check "clang" bash -c "clang -std=c99 ${flags[*]} program.c -o clanged && ./clanged >clang.table && cmp table clang.table"
exit $failed
