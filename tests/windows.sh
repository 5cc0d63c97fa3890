#!/usr/bin/env bash
# Windows, by mingw-w64: both headers compile for 64 and 32 bits, in C and C++, with windows.h before or after them or
# not at all, without a warning; they bring nothing of windows.h into a file that does not ask for it, and use none of
# its macros' names.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
W="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wredundant-decls -Werror"

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
    if $2 $W -fsyntax-only -I. -isystem "$tmp/include" - <"$tmp/$3" >"$tmp/log" 2>&1; then ok "$1, $3"; else bad "$1, $3"; fi
}
for bits in x86_64 i686; do
    for language in "gcc -std=c99 -Wstrict-prototypes -x c" "g++ -std=c++11 -x c++" "g++ -std=c++20 -x c++"; do
        for file in core before_windows.h after_windows.h; do
            compiles "$bits, $language" "$bits-w64-mingw32-$language -DMTRACE" $file
        done
        compiles "$bits, $language, no MTRACE" "$bits-w64-mingw32-$language" after_windows.h
    done
done

# Names that some header of Windows makes a macro: what is not called by that name today may be tomorrow.
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

exit $failed
