#!/usr/bin/env bash
# Reports arrive wherever the program's output goes: a terminal, a pipe, a file, the log of a test runner. They also
# arrive if the program aborts or is stopped in gdb. Earlier output in stdio's buffer arrives too. On a terminal, tables
# have its width, colours and bars.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$PWD tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

# check NAME COMMAND...: the command succeeds.
check() {
    if "${@:2}" >"$tmp/log" 2>&1; then
        echo "ok output: $1"
    else
        echo "not ok output: $1: $(tail -n 3 "$tmp/log" | tr '\n' ' ')"
        failed=1
    fi
}

cd "$tmp" || exit 1
cat >program.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"
#include <stdio.h>
#include <string.h>

static void to_file(const char *text, size_t length, void *user) {
    fwrite(text, 1, length, *(FILE **)user);
}

static void careless(const char *text, size_t length, void *user) {
    (void)user;
    (void)text;
    (void)length;
    MT_FREE(malloc(5)); /* CARELESS */
}

static void stop_here(void) {
    fputs("stopped\n", stderr);
}

int main(int argc, char **argv) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *before;
    FILE *out = stdout;
    char *leak;
    const char *what = argv[1];
    desc.foreign_free = MTRACE_FOREIGN_ABORT;
    if (argc > 2) { /* a writer of the program's own, which buffers, or frees what is not traced */
        desc.write = strcmp(argv[2], "own") == 0 ? to_file : careless;
        desc.write_user = &out;
    }
    mtrace_start(&desc);
    mtrace_snapshot_take(&before, false, NULL);
    printf("buffered by the program\n");
    leak = MT_STRDUP("leak"); /* LEAK */
    mtrace_print_leaks();
    if (strcmp(what, "table") == 0) {
        mtrace_site deep = {"/quite/a/number/of/folders/inside/of/each/other/and/then/a/folder/of/a/name/that/is/rather/long/indeed/source.c", "some_function", 0, 12, 0};
        mtrace_track_at(1, 1, 500, &deep);
        mtrace_print_top(1);
    } else if (strcmp(what, "growth") == 0) {
        MT_ASSERT_NO_GROWTH(before, 0);
    } else if (strcmp(what, "foreign") == 0) {
        MT_FREE(malloc(5)); /* FOREIGN */
    }
    stop_here();
    MT_FREE(leak);
    return 0;
}
C
leak=$(grep -n 'LEAK' program.c | cut -d : -f 1) foreign=$(grep -n 'FOREIGN \*/' program.c | cut -d : -f 1)

# says FILE WORD [INPUT]: each expected text is in the file once.
says() {
    local line want=("^buffered by the program$" "^program.c:$leak: warning: 5 B in 1 block not freed, allocated in main$")
    case $2 in
    growth) want+=("^memory grew by 5 B \(tolerance 0 B\):$"
        "^program.c:$leak: warning: grew by \+5 B in \+1 block, allocated in main$") ;;
    foreign) want+=("^program.c:$foreign: warning: free of a pointer that is not traced: 0x[0-9a-f]+$") ;;
    esac
    for line in "${want[@]}"; do
        [ "$(grep -Ec "$line" "$1")" = 1 ] || { echo "no, or more than one, $line in:"; cat "$1"; return 1; }
    done
}

# aborts STATUS
aborts() {
    [ "$1" -eq 134 ] || { echo "exit status $1, not abort()'s 134"; return 1; }
}

check "builds" gcc -std=c99 -O1 -g -Wall -Wextra -Werror -DMTRACE -I"$top" program.c -o program

for what in growth foreign; do
    bash -c "./program $what >file 2>&1; exit \$?" 2>err
    check "$what: aborts" aborts $?
    check "$what: into a file" says file $what
    (sh -c "exec ./program $what" 2>&1) | cat >pipe
    check "$what: into a pipe" says pipe $what
    (sh -c "exec ./program $what" 2>err) | cat >out
    cat out err >both
    check "$what: stdout and stderr apart" says both $what
    script -qec "./program $what" /dev/null </dev/null 2>&1 | tr -d '\r' >terminal
    check "$what: on a terminal" says terminal $what
    (sh -c "exec ./program $what own" 2>&1) | cat >own.raw
    # a custom writer gets it too. It may buffer the text, so the text also goes to stderr.
    sort -u own.raw >own
    check "$what: with a writer that buffers" says own $what
done

bash -c "./program foreign careless >file 2>&1; exit \$?" 2>err
check "a writer that frees a foreign block: aborts" aborts $?
careless=$(grep -n 'CARELESS' program.c | cut -d : -f 1)
check "a writer that frees a foreign block: a message" \
    grep -Eq "^program.c:$careless: warning: free of a pointer that is not traced" file

# --- a test runner ---
cat >CTestTestfile.cmake <<'C'
add_test(grows "./program" "growth")
add_test(frees "./program" "foreign")
C
ctest --output-on-failure >ctest.log 2>&1
check "ctest shows the lines that grew" grep -Eq "program.c:$leak: warning: grew by \+5 B in \+1 block" ctest.log
check "ctest shows the foreign free" grep -Eq "program.c:$foreign: warning: free of a pointer" ctest.log

# --- a debugger: output goes to a file, and the text is in the file while the program is stopped ---
gdb -batch -nx -ex 'set confirm off' -ex 'break stop_here' -ex 'run none >inferior 2>&1' -ex 'call mtrace_print_top(10)' \
    -ex 'shell cp inferior called' -ex kill --args ./program >gdb.log 2>&1
check "gdb: call mtrace_print_top(10) shows its text at once" grep -Eq "program.c:$leak main$" called

# --- the width of a terminal; a pipe has 80 columns ---
escape=$(printf '\033')
# width FILE: of its longest row of a table
width() {
    tr -d '\r' <"$1" | sed "s/$escape\[[0-9;]*m//g" | awk '/WHERE/ || /source.c/ { if (length($0) > most) most = length($0) } END { print most }'
}
for columns in 0 60 100; do
    script -qec "stty cols $columns; ./program table" /dev/null </dev/null >terminal 2>&1
    check "a terminal of $columns columns" test "$(width terminal)" = "$((columns == 0 ? 80 : columns))"
done
./program table | cat >pipe
check "a pipe has 80" test "$(width pipe)" = 80

# --- colours and bars: only on a terminal, and not if the user refused them ---
cat >colours.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"
#include <stdio.h>
#include <string.h>

static void to_stdout(const char *text, size_t length, void *user) {
    (void)user;
    fwrite(text, 1, length, stdout);
}

/* Arguments: "own" a writer of the program's own, "always", "never". */
int main(int argc, char **argv) {
    mtrace_desc start = MTRACE_ZERO_;
    mtrace_report_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *old, *now;
    mtrace_rows *held, *changes;
    int i;
    for (i = 1; i < argc; i++) {
        start.write = strcmp(argv[i], "own") == 0 ? to_stdout : start.write;
        desc.colours = strcmp(argv[i], "always") == 0  ? MTRACE_COLOURS_ALWAYS
                       : strcmp(argv[i], "never") == 0 ? MTRACE_COLOURS_NEVER
                                                       : desc.colours;
    }
    mtrace_start(&start);
    (void)MT_TRACK(1, 1, 3 << 20);
    mtrace_snapshot_take(&old, false, NULL);
    (void)MT_TRACK(1, 2, 1 << 20);
    MT_UNTRACK(1, 1);
    for (i = 0; i < 12345; i++) {
        (void)MT_TRACK(1, i + 3, 7);
    }
    mtrace_snapshot_take(&now, false, NULL);
    mtrace_snapshot_statistics(&held, now, MTRACE_BY_LINE, NULL);
    mtrace_snapshot_compare_to(&changes, now, old, MTRACE_BY_LINE, NULL);
    mtrace_report(held, &desc);
    mtrace_report(changes, &desc);
    desc.style = MTRACE_STYLE_LINES;
    mtrace_report(held, &desc);
    return 0;
}
C
check "colours.c builds" gcc -std=c99 -O1 -g -Wall -Wextra -Werror -DMTRACE -I"$top" colours.c -o colours
unset NO_COLOR
export TERM=xterm

# on_terminal FILE COMMAND: the command's output on a terminal.
on_terminal() {
    script -qec "$2" /dev/null </dev/null 2>&1 | tr -d '\r' >"$1"
}

plain() { # FILE: has text and no escape sequence
    test -s "$1" && ! grep -q "$escape" "$1"
}

./colours | cat >piped
check "a pipe gets no colours" plain piped
check "... but two decimals, units in one place, digits in groups" grep -q '^ 84\.39 KiB    7\.6    12,345       0 B    colours\.c:' piped
on_terminal coloured ./colours
check "a terminal gets a bar as long as the share" \
    grep -q "^$escape\[30;46m  1\.00 MiB   92\.4         1    1\.00 $escape\[0mMiB  colours\.c:" coloured
check "... and a short one" grep -q "^$escape\[30;46m 84$escape\[0m\.39 KiB    7\.6 " coloured
check "... growth in red" grep -q "^$escape\[31m  +1\.00 MiB$escape\[0m    1\.00 MiB " coloured
check "... and shrinking in green" grep -q "^$escape\[32m  -3\.00 MiB$escape\[0m       0 B " coloured
sed "s/$escape\[[0-9;]*m//g" coloured >stripped
check "... the same text" diff <(sed '/^mtrace.s own/d' piped) <(sed '/^mtrace.s own/d' stripped)
sed -n '/^# size/,$p' coloured >lines
check "... LINES as ever" plain lines
on_terminal refused "NO_COLOR=1 ./colours"
check "NO_COLOR refuses them" plain refused
on_terminal empty "NO_COLOR= ./colours"
check "... an empty one does not" grep -q "$escape" empty
on_terminal dumb "TERM=dumb ./colours"
check "TERM=dumb gets none" plain dumb
on_terminal unnamed "env -u TERM ./colours"
check "no TERM, no colours" plain unnamed
on_terminal own "./colours own"
check "a writer of the program's own gets none" plain own
on_terminal never "./colours never"
check "desc.colours may refuse them" plain never
on_terminal redirected "./colours >redirected.file"
check "a file gets none on a terminal either" plain redirected.file
NO_COLOR=1 ./colours own always | cat >always
check "desc.colours may ask for them, whatever the writer" diff <(sed '/^mtrace.s own/d' coloured) <(sed '/^mtrace.s own/d' always)

# --- bare metal has no code for terminals ---
cat >bare.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"
C
check "the library compiles, as for bare metal" \
    gcc -std=c99 -Os -DMTRACE -DMTRACE_SINGLE_THREAD -U__unix__ -U__linux__ -I"$top" -c bare.c -o bare.o
gcc -std=c99 -Os -DMTRACE -I"$top" -c bare.c -o hosted.o
check "... without colours" bash -c "grep -q '30;46' hosted.o && ! grep -q '30;46' bare.o"
check "... without the environment" bash -c "nm -u hosted.o | grep -qw getenv && ! nm -u bare.o | grep -Eqw 'getenv|ioctl'"

# --- the profile: on a terminal no line is wider than it, a pipe gets whole lines ---
cat >profile.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

static char *kept[1000];

static void keep_little_of_much(int i) {
    MT_PROFILE();
	char *much = (char *)MT_MALLOC(1600000); /* behind a tab, and with a comment that no terminal of this test has room for, END */
    kept[i] = (char *)MT_MALLOC(160);
    MT_FREE(much);
}

int main(void) {
    int i;
    mtrace_start(NULL);
    mtrace_profile_start(NULL);
    for (i = 0; i < 1000; i++) {
        keep_little_of_much(i);
    }
    return mtrace_profile_report(NULL);
}
C
check "profile.c builds" gcc -std=c99 -O1 -g -Wall -Wextra -Werror -DMTRACE -I"$top" profile.c -o profile
./profile | cat >piped
check "a profile in a pipe has whole lines" grep -q 'END \*/$' piped
check "... says of which calls it speaks" \
    grep -q ': 1,000 calls; 156\.09 KiB held before, 1\.68 MiB at the peak, 156\.25 KiB after, each the most of all calls$' piped
check "... shows what a large change and its opposite leave" \
    grep -Eq '^   SUM +\+156\.2 +\(kept: 156\.25 KiB\)$' piped
check "... in one unit" test "$(grep -Ec ' [+-]1,562,500\.0 ' piped)" = 2
for columns in 72 80 100 120 160; do
    on_terminal narrow "stty cols $columns; ./profile"
    check "a profile on a terminal of $columns columns" \
        awk -v most="$columns" 'length($0) > most || /\t/ { bad = 1 } END { exit bad || NR < 9 }' narrow
    check "... has the sum" grep -Eq '^   SUM +\+156\.2 ' narrow
done

# --- the tracer's own memory: the part in RAM is more than nothing, and far from all ---
check "own memory" awk '/^mtrace.s own memory/ { if ($4 > 0 && $4 < $6 / 4 && $5 == "of" && $8 == "in") good = 1 }
    END { exit !good }' pipe
exit $failed
