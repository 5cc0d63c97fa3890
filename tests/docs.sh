#!/usr/bin/env bash
# Every ```c block of README.md, docs/*.md and mtrace.h's manual that has a main() compiles and runs; where the
# next fenced block is ```text, that is what it prints.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 - "$tmp" README.md docs/*.md <<'P' || exit 1
import re, sys
out, n = sys.argv[1], 0
for path in sys.argv[2:]:
    blocks = re.findall(r'^```(\w*)\n(.*?)^```', open(path).read(), re.M | re.S)
    for (kind, text), after in zip(blocks, blocks[1:] + [('', '')]):
        if kind == 'c' and 'int main' in text:
            n += 1
            open(f'{out}/{n}.name', 'w').write(f'{path}, program {n}')
            open(f'{out}/{n}.c', 'w').write(text)
            if after[0] == 'text':
                open(f'{out}/{n}.expected', 'w').write(after[1])
P
failed=0
for source in "$tmp"/*.c; do
    base=${source%.c} name=$(cat "${source%.c}.name")
    cp "$source" "$tmp/demo.c"
    if ! (top=$PWD && cd "$tmp" &&
        gcc -std=c99 -g -Wall -Wextra -pedantic -Werror -DMTRACE -I"$top" -o "$base" demo.c) >"$tmp/log" 2>&1; then
        echo "not ok docs $name: $(head -n 1 "$tmp/log")"
        failed=1
    elif ! (cd "$tmp" && "$base") >"$base.out" 2>&1; then
        echo "not ok docs $name: it ends with an error: $(tail -n 1 "$base.out")"
        failed=1
    elif [ -f "$base.expected" ] && ! diff "$base.out" "$base.expected" >"$tmp/log"; then
        echo "not ok docs $name: $(sed -n 2,4p "$tmp/log" | tr '\n' ' ')"
        failed=1
    else
        echo "ok docs $name"
    fi
done
exit $failed
