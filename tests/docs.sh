#!/usr/bin/env bash
# Every ```c and ```cpp block with a main() in README.md, docs/*.md and the manual in mtrace.h compiles and runs, with
# and without MTRACE. If the next fenced block is ```text, the program prints this text with MTRACE. Every public macro
# and function exists with and without MTRACE. Doxygen makes the reference without a warning, and each public function is
# in it with its errors, cost and context.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$PWD tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 - "$tmp" mtrace.h README.md docs/*.md <<'P' || exit 1
import re, sys, textwrap
out, n = sys.argv[1], 0

def blocks_of(path, text):
    if not path.endswith('.h'):
        return re.findall(r'^```(\w*)\n(.*?)^```', text, re.M | re.S)
    manual = text[:text.index('*/')]
    return [('c', textwrap.dedent(text)) for text in re.findall(r'(?:^(?: {7}.*)?\n)+', manual, re.M)]

for path in sys.argv[2:]:
    if path in ('docs/FIRMWARE.md', 'docs/TESTING.md'):  # see firmware.sh, testing.sh
        continue
    blocks = blocks_of(path, open(path).read())
    for (kind, text), after in zip(blocks, blocks[1:] + [('', '')]):
        if kind in ('c', 'cpp') and 'int main' in text:
            n += 1
            open(f'{out}/{n}.name', 'w').write(f'{path}, program {n}')
            open(f'{out}/{n}.{kind}', 'w').write(text)
            if after[0] == 'text':
                open(f'{out}/{n}.expected', 'w').write(after[1])
if not n:
    sys.exit('no programs found')
P
failed=0

# build OUTPUT [FLAG...]: demo.c or demo.cpp, warnings are errors.
build() {
    local compiler=(gcc -std=c99)
    [ "$demo" = demo.c ] || compiler=(g++ -std=c++11)
    (cd "$tmp" && "${compiler[@]}" -g -Wall -Wextra -pedantic -Werror "${@:2}" -I"$top" -o "$1" "$demo") >"$tmp/log" 2>&1
}

# same EXPECTED OUTPUT: except for the part of the tracer's memory in RAM, which depends on the machine.
same() {
    diff <(sed 's/own memory [0-9.]* of/own memory - of/' "$1") <(sed 's/own memory [0-9.]* of/own memory - of/' "$2")
}

for source in "$tmp"/*.{c,cpp}; do
    base=${source%.*} name=$(cat "${source%.*}.name") demo=demo.${source##*.}
    cp "$source" "$tmp/$demo"
    if ! build "$base" -DMTRACE; then
        echo "not ok docs $name: $(head -n 1 "$tmp/log")"
        failed=1
    elif ! (cd "$tmp" && "$base") >"$base.out" 2>&1; then
        echo "not ok docs $name: it ends with an error: $(tail -n 1 "$base.out")"
        failed=1
    elif [ -f "$base.expected" ] && ! same "$base.out" "$base.expected" >"$tmp/log"; then
        echo "not ok docs $name: $(sed -n 2,4p "$tmp/log" | tr '\n' ' ')"
        failed=1
    else
        echo "ok docs $name"
    fi
    if ! build "$base.plain"; then
        echo "not ok docs $name, without MTRACE: $(grep -m 1 error "$tmp/log")"
        failed=1
    elif ! (cd "$tmp" && "$base.plain") >"$base.out" 2>&1; then
        echo "not ok docs $name, without MTRACE: it ends with an error: $(tail -n 1 "$base.out")"
        failed=1
    else
        echo "ok docs $name, without MTRACE"
    fi
    rm -f "$tmp/$demo"
done

# names OUTPUT [FLAG...]: the public macros and functions of both headers. Private ones end in an underscore.
names() {
    local code='#include "mtrace_ext.h"'
    {
        gcc -std=c99 -E -dM "${@:2}" -I"$top" -x c - <<<"$code" | grep -oE '#define (MT_|MTRACE_)[A-Za-z0-9_]*'
        gcc -std=c99 -fsyntax-only -aux-info "$tmp/aux" "${@:2}" -I"$top" -x c - <<<"$code"
        grep -oE '\bmtrace_[a-z0-9_]*[a-z0-9] \(' "$tmp/aux"
    } | grep -v '_$' | sort -u >"$1"
}
names "$tmp/with" -DMTRACE
names "$tmp/without"
if [ "$(wc -l <"$tmp/with")" -lt 100 ] || ! diff "$tmp/with" "$tmp/without" >"$tmp/log"; then
    echo "not ok docs public names differ without MTRACE: $(grep '^[<>]' "$tmp/log" | head -n 5 | tr '\n' ' ')"
    failed=1
else
    echo "ok docs public names are the same without MTRACE"
fi

# --- the reference, as docs/Doxyfile makes it ---

make_reference() { # FOLDER-OF-HEADERS BUILD
    (cd "$1" && { cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $2"; } | doxygen -)
}

cat >"$tmp/lacks.py" <<'END'
"""lacks.py FOLDER-OF-HEADERS BUILD: prints the public functions without a full contract in the reference."""
import glob, re, sys
sys.path.insert(0, "tests")
sys.dont_write_bytecode = True
import house
labels = {}
for path in glob.glob(sys.argv[2] + "/reference/group__*.html"):
    for item in open(path, encoding="utf-8").read().split('<h2 class="memtitle">')[1:]:
        for name in re.findall(r"</span>(\w+)\(\)</h2>", item):
            labels[name] = set(re.findall(r"<dt>(\w+) ?</dt>", item))
code = "".join(house.code_of(open(f"{sys.argv[1]}/{header}", encoding="utf-8").read()) for header in house.HEADERS)
names = house.public_names(code)[0]
print(*sorted(name for name in names if not {"Errors", "Cost", "Context"} <= labels.get(name, set())))
sys.exit(len(names) < 90)
END

if ! make_reference . "$tmp/build" >"$tmp/log" 2>&1; then
    echo "not ok docs the reference: $(head -n 3 "$tmp/log" | tr '\n' ' ')"
    failed=1
else
    echo "ok docs the reference, without a warning"
fi
lacks=$(python3 "$tmp/lacks.py" . "$tmp/build" 2>&1) && [ -z "$lacks" ]
if [ $? -ne 0 ]; then
    echo "not ok docs the reference lacks errors, cost and context of: $lacks"
    failed=1
else
    echo "ok docs the reference has each function's errors, cost and context"
fi

# Faults that must show: a function without a comment, one without a contract, a name in a comment that is no more.
mkdir "$tmp/faulty" && cp -r mtrace.h mtrace_ext.h docs "$tmp/faulty" &&
    sed -i '/^MTRACE_OFF_BEGIN_$/a\
\
MTRACE_API void mtrace_planted(void) MTRACE_OFF_();\
\
/* Does something, see mtrace_gone. */\
MTRACE_API void mtrace_planted_bare(int a) MTRACE_OFF_();' "$tmp/faulty/mtrace.h"
make_reference "$tmp/faulty" "$tmp/faulty/build" >"$tmp/log" 2>&1
if [ $? -eq 0 ] || ! grep -q 'mtrace_planted(void).* not documented' "$tmp/log" || ! grep -q "mtrace_gone" "$tmp/log" ||
    [ "$(python3 "$tmp/lacks.py" "$tmp/faulty" "$tmp/faulty/build")" != "mtrace_planted mtrace_planted_bare" ]; then
    echo "not ok docs faults in the reference are found: $(head -n 3 "$tmp/log" | tr '\n' ' ')"
    failed=1
else
    echo "ok docs faults in the reference are found"
fi
exit $failed
