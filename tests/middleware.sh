#!/usr/bin/env bash
# Libraries through their hooks, as docs/MIDDLEWARE.md shows them: see tests/middleware/middleware.c. Static libraries
# have the names of all functions. Debian has none of cJSON and Duktape, so there only exported functions have names.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

ok() { echo "ok middleware: $1"; }
bad() {
    echo "not ok middleware: $1"
    failed=1
}

# The guide shows the hooks of the programs.
if python3 - >"$tmp/log" <<'END'; then ok "the guide's hooks are those of the programs"; else bad "$(cat "$tmp/log")"; fi
import glob, re
shown = re.findall(r"^```c\n(.*?)^```", open("docs/MIDDLEWARE.md").read(), re.M | re.S)
files = {name: open(name).read() for name in glob.glob("tests/middleware/*.c")}
hooks = {name: part.strip() for name, text in files.items() for part in re.findall(r"MIDDLEWARE.md --- \*/\n(.*?)/\* ---", text, re.S)}
missing = [name for name, hook in hooks.items() if hook not in [text.strip() for text in shown]]
alone = [text.split("\n")[0] for text in shown if not any(text.strip() in file for file in files.values())]
print("not in the guide:", *missing, "- only there:", *alone)
raise SystemExit(bool(missing or alone) or len(hooks) < 7)
END

flags=(-std=c99 -O1 -g -Wall -Wextra -pedantic -Werror '-DMTRACE_CONFIG_FILE="tests/middleware/oracle.h"' -DMTRACE -I. -Itests/middleware)
gcc "${flags[@]}" -c -o "$tmp/middleware.o" tests/middleware/middleware.c || exit 1

# library NAME LINKER-ARGUMENT...
library() {
    # shellcheck disable=SC2046
    if ! gcc "${flags[@]}" $(pkg-config --cflags freetype2 libxml-2.0) -o "$tmp/$1" "tests/middleware/$1.c" "$tmp/middleware.o" \
        "${@:2}" -lm -lpthread >"$tmp/log" 2>&1; then
        bad "$1 does not build: $(grep -m 1 error "$tmp/log")"
    elif ! "$tmp/$1" >"$tmp/log" 2>&1; then
        bad "$1: $(tr '\n' ' ' <"$tmp/log")"
    else
        ok "$1"
    fi
}
static() { echo "-Wl,-Bstatic -l$1 -Wl,-Bdynamic"; }
# shellcheck disable=SC2046
{
    library cjson -lcjson
    library lua $(static lua5.4)
    library sqlite $(static sqlite3)
    library duktape -lduktape
    library libxml2 $(static xml2) -lz -llzma -licuuc
    library expat $(static expat)
    library freetype $(static freetype) -lpng -lz -lbrotlidec
}
exit $failed
