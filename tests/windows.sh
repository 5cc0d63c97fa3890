#!/usr/bin/env bash
# Windows, by mingw-w64 and Wine. Both headers compile without a warning for 64 and 32 bits, in C and C++, with windows.h
# before them, after them or not at all. They bring nothing of windows.h into other files and use no name of its macros.
# The tests pass with 64 bits, except for tests of POSIX features.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
export WINEPREFIX=$tmp/wine WINEDEBUG=-all
unset DISPLAY
trap 'wineserver -k 2>"$tmp/log"; rm -rf "$tmp"' EXIT
failed=0
W="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Werror"

ok() { echo "ok windows $1"; }
bad() { echo "not ok windows $1: $(grep -m 1 -E 'error|warning' "$tmp/log" || head -n 1 "$tmp/log")"; failed=1; }

# A cross compiler must not look into /usr/include.
mkdir "$tmp/include"
echo '#include <xxhash.h>' | gcc -E -M -x c - | tr ' ' '\n' | grep '/xxhash\.h$' | xargs -I{} cp {} "$tmp/include/"

# --- compiles ---

use='int main(void) { void *block; mtrace_start(NULL); block = MT_MALLOC(5); MT_FREE(MT_STRDUP("name"));
  { MT_SCOPE(); MT_FREE(MT_CALLOC(2, 2)); } mtrace_print_top(3); MT_FREE(block); return mtrace_check() != NULL; }'
windows='#include <windows.h>' implementation='#define MTRACE_IMPLEMENTATION'
h='#include "mtrace.h"' e='#include "mtrace_ext.h"'
clean='#if defined(_WINDOWS_) || defined(min) || defined(near) || defined(VOID)
#error "windows.h came in"
#endif'
printf '%s\n' "$implementation" "$h" "$clean" "$use" >"$tmp/core"
printf '%s\n' "$implementation" "$e" "$clean" "$windows" "$h" "$e" "$use" >"$tmp/before_windows.h"
printf '%s\n' "$windows" "$implementation" "$e" "$windows" "$use" >"$tmp/after_windows.h"
compiles() { # NAME COMPILER-AND-FLAGS FILE
    # shellcheck disable=SC2086
    if ${2%% *} $W -Wredundant-decls ${2#* } -fsyntax-only -I. -isystem "$tmp/include" - <"$tmp/$3" >"$tmp/log" 2>&1; then ok "$1, $3"; else bad "$1, $3"; fi
}
for bits in x86_64 i686; do
    for language in "gcc -std=c99 -Wstrict-prototypes -x c" "g++ -std=c++11 -x c++" "g++ -std=c++20 -x c++"; do
        for file in core before_windows.h after_windows.h; do
            compiles "$bits, $language" "$bits-w64-mingw32-$language -DMTRACE" $file
        done
        compiles "$bits, $language, no MTRACE" "$bits-w64-mingw32-$language" after_windows.h
    done
done
compiles "operators of C++" "x86_64-w64-mingw32-g++ -std=c++17 -x c++ -DMTRACE -DMTRACE_OPERATOR_NEW" after_windows.h
compiles "for an old Windows" "x86_64-w64-mingw32-g++ -std=c++11 -x c++ -DMTRACE -D_WIN32_WINNT=0x0501 -Wno-redundant-decls" \
    after_windows.h

# Names that some header of Windows defines as macros. The headers must not use them, now or later.
macros() { printf '#include <%s>\n' "$@" | x86_64-w64-mingw32-gcc -E -dM - | awk '{print $2 ($2 ~ /\(/ ? "" : " ")}' | sort -u; }
macros stdlib.h errno.h stdio.h string.h signal.h io.h fcntl.h process.h stdarg.h stdint.h stdbool.h math.h time.h \
    sys/stat.h >"$tmp/plain"
macros winsock2.h windows.h objbase.h mmsystem.h tlhelp32.h dbghelp.h shellapi.h commctrl.h GL/gl.h >"$tmp/all"
if python3 - "$tmp/all" "$tmp/plain" mtrace.h mtrace_ext.h >"$tmp/log" <<'PYTHON'
import re, sys
everything, plain = (set(open(name).read().splitlines()) for name in sys.argv[1:3])
macros = everything - plain
assert "far " in macros and any(m.startswith("max(") for m in macros)
bad = []
for name in sys.argv[3:]:
    text = re.sub(r'/\*.*?\*/|"(\\.|[^"\\\n])*"', " ", open(name).read(), flags=re.S)
    words = set(re.findall(r"\b[A-Za-z_]\w*\b", text))
    called = set(re.findall(r"\b([A-Za-z_]\w*)\s*\(", text))
    bad += [m for m in sorted(macros) if m.split("(")[0].strip() in (called if "(" in m else words)]
bad = [m for m in bad if m not in ("_WINDOWS_ ", "POLLIN ")] # asked for; in POSIX' branch
print("error: macros of Windows:", *bad)
sys.exit(1 if bad else 0)
PYTHON
then ok "no name is a macro of Windows"; else bad "no name is a macro of Windows"; fi

# Aligned memory: not from the C library's allocator.
echo '#include "mtrace.h"
void *use(void); void *use(void) { return MT_ALIGNED_ALLOC(64, 64); }' >"$tmp/aligned"
for mode in "-UMTRACE" "-DMTRACE"; do
    if x86_64-w64-mingw32-gcc -std=c99 $mode -fsyntax-only -I. -x c - <"$tmp/aligned" >"$tmp/log" 2>&1; then
        bad "$mode: no aligned memory"
    elif grep -q "error:.*MT_ALIGNED_ALLOC_needs_MTRACE_BASE_ALIGNED_ALLOC" "$tmp/log"; then ok "$mode: no aligned memory"
    else bad "$mode: no aligned memory"; fi
done

# --- runs: first the checks of this script alone ---

build() { # NAME SOURCE FLAG...
    x86_64-w64-mingw32-gcc -std=c99 -O1 $W -Wstrict-prototypes -DMTRACE -I. -isystem "$tmp/include" "${@:3}" "$2" \
        -o "$tmp/$1.exe" >"$tmp/log" 2>&1
}
run() { timeout 300 wine "$tmp/$1.exe" "${@:2}" >"$tmp/out" 2>"$tmp/err"; } # NAME ARGUMENT...
has() { # NAME TEXT-IN-OUTPUT...
    local text
    tr -d '\r' <"$tmp/out" >"$tmp/log"
    for text in "${@:2}"; do
        if ! grep -q -e "$text" "$tmp/log"; then
            echo "error: no '$text' but: $(head -n 3 "$tmp/log" "$tmp/err")" >"$tmp/log"
            bad "$1"
            return
        fi
    done
    ok "$1"
}

cat >"$tmp/program.c" <<'C'
#define MTRACE_IMPLEMENTATION
#define MTRACE_START_FROM_ENVIRONMENT
#include "mtrace_ext.h"
static void *kept;
int main(int count, char **arguments) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)arguments;
    kept = MT_MALLOC(1000);
    if (count > 1) {
        desc.foreign_free = MTRACE_FOREIGN_ABORT;
        mtrace_stop();
        mtrace_start(&desc);
        MT_FREE(kept);
    }
    return 7;
}
C
if build program "$tmp/program.c"; then
    MTRACE=5 MTRACE_REPORT=top run program
    status=$?
    has "started by the environment, a report at exit" "1,000 B .*program.c:8 main"
    [ $status -eq 7 ] && ok "the program's status" || bad "the program's status"
    echo "an older file" >"$tmp/snapshot"
    MTRACE=1 MTRACE_REPORT=dump="$tmp/snapshot" run program
    grep -aq MTRC "$tmp/snapshot" && ok "a snapshot file at exit, over an older one" || bad "a snapshot file at exit"
    [ -z "$(ls -A "$tmp" | grep '^\.mtrace')" ] && ok "no file is left beside it" || bad "no file is left beside it"
    MTRACE=1 MTRACE_REPORT=dump=NUL,record="$tmp/r.svg" run program
    [ -s "$tmp/r.svg" ] && [ ! -e "$tmp/NUL" ] && [ ! -e NUL ] && ! grep -q MTRACE_REPORT "$tmp/err" && ok "a device, a recording" ||
        bad "a device, a recording"
    run program abort
    status=$?
    [ $status -ne 0 ] && [ $status -ne 7 ] && ok "aborts" || bad "aborts: $status"
    cat "$tmp/err" >>"$tmp/out"
    has "says why it aborts" "program.c:13: warning: free of a pointer that is not traced"
else
    bad "program"
fi

# A DLL with the implementation, as the manual's MODULES says.
printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace_ext.h"' >"$tmp/engine.c"
cat >"$tmp/game.c" <<'C'
#include "mtrace_ext.h"
int main(void) {
    void *block;
    mtrace_start(NULL);
    block = MT_MALLOC(1000);
    mtrace_print_top(5);
    MT_FREE(block);
    return mtrace_check() == NULL ? 0 : 1;
}
C
x86_64-w64-mingw32-gcc -std=c99 -O1 -DMTRACE '-DMTRACE_API=extern __declspec(dllexport)' -I. -isystem "$tmp/include" \
    -shared -static -o "$tmp/engine.dll" "$tmp/engine.c" >"$tmp/log" 2>&1
if build game "$tmp/game.c" "$tmp/engine.dll" '-DMTRACE_API=extern __declspec(dllimport)' && run game
then has "a DLL" "1,000 B .*game.c:5 main"; else bad "a DLL"; fi

# --- and the tests. test_signals needs signals, and test_writers needs devices, FIFOs and modes. A test of private names
# has its own implementation. The others share one, as in CMakeLists.txt. ---

export TEST_ROUNDS=100 # of test_races: to give way costs much under Wine
posix=(-Itests -Itests/support/cmocka -Itests/support/windows -include tests/support/windows/posix.h)
build posix tests/support/windows/posix.c "${posix[@]:0:2}" -c || bad "POSIX' calls"
build implementation tests/support/implementation.c "${posix[@]}" -DTEST_SHARED -c || bad implementation
for source in tests/test_*.c; do
    name=$(basename "$source" .c)
    [ "$name" = test_signals ] || [ "$name" = test_writers ] && continue
    shared=(-DTEST_SHARED "$tmp/implementation.exe")
    if sed 's/MTRACE_ZERO_//g' "$source" | grep -qE '(mtrace|MTRACE)_[A-Za-z0-9_]*_[^A-Za-z0-9_,*\\]|#define MTRACE_'; then
        shared=()
    fi
    if ! build "$name" "$source" "$tmp/posix.exe" "${posix[@]}" "${shared[@]}"; then
        bad "$name"
    elif run "$name" && [ -s "$tmp/out" ]; then
        ok "$name: $(tr -d '\r' <"$tmp/out" | sed -n 's/.*PASSED *\] //p') $(grep -a SKIPPED "$tmp/out" |
            sed 's/.*\] //' | tr -d '\r' | tr '\n' ' ')"
    else
        echo "error: $(grep -a -m 1 ERROR "$tmp/out")" >"$tmp/log"
        bad "$name"
    fi
    rm -f "$tmp/$name.exe"
done
exit $failed
