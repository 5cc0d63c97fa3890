#!/usr/bin/env bash
# Without MTRACE the machine code is the same as with the plain allocator. With MTRACE and tracing off, malloc costs one
# byte load and a branch. In C++, call sites made by lambdas compile to the same instructions as call sites made by
# statement expressions. With MTRACE a call site is constant, so on bare metal it lies in flash. It takes 8 bytes of
# RAM, and the one of a free none.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

code() { objdump -d --no-show-raw-insn "$1" | tail -n +4; nm "$1"; }

for compiler in gcc clang; do
    for level in -O0 -O2 -Os; do
        $compiler -std=c99 $level -I. -c -o "$tmp/macros.o" tests/objcode/same.c &&
            $compiler -std=c99 $level -DPLAIN -I. -c -o "$tmp/plain.o" tests/objcode/same.c || failed=1
        code "$tmp/macros.o" >"$tmp/macros" && code "$tmp/plain.o" >"$tmp/plain"
        name="without MTRACE the same code, $compiler $level"
        if [ "$(grep -c '<use_' "$tmp/plain")" -ge 10 ] && diff "$tmp/macros" "$tmp/plain" >"$tmp/diff"; then
            echo "ok $name"
        else
            echo "not ok $name: $(head -n 3 "$tmp/diff" | tr '\n' ' ')"
            failed=1
        fi
    done
    $compiler -std=c99 -O2 -DMTRACE -I. -c -o "$tmp/off.o" tests/objcode/off.c
    objdump -dr --no-show-raw-insn "$tmp/off.o" | sed -n '/<one_malloc>:/,/^$/p' >"$tmp/off"
    name="off, malloc is a byte load and a branch, $compiler"
    state=$(grep -c 'mtrace_g_' "$tmp/off")
    before=$(sed -n '2,/malloc-\|malloc$/p' "$tmp/off" | grep -c '^ *[0-9a-f]*:	[a-z]')
    if [ "$state" -eq 1 ] && [ "$before" -le 12 ]; then
        echo "ok $name"
    else
        echo "not ok $name: $state loads of the state, $before instructions"
        cat "$tmp/off"
        failed=1
    fi
done

instructions() { # SITE-KIND COMPILER-ARGUMENT...
    "${@:2}" -DMTRACE -DMTRACE_SITE_KIND="$1" -I. -c -o "$tmp/kind.o" -x c++ tests/objcode/off.c &&
        objdump -d --no-show-raw-insn "$tmp/kind.o" | awk -F'\t' '/^[0-9a-f]+ </ { print $0 } /^ / { split($2, a, " "); print a[1] }'
}
for compiler in "g++ -std=c++11" "clang++ -std=c++20"; do
    for level in -O2 -Os; do
        name="a lambda's call site has the instructions of a statement expression's, $compiler $level"
        # shellcheck disable=SC2086
        if instructions 1 $compiler $level >"$tmp/lambda" && instructions 2 $compiler $level >"$tmp/statement" &&
            [ "$(wc -l <"$tmp/lambda")" -gt 15 ] && diff "$tmp/lambda" "$tmp/statement" >"$tmp/diff"; then
            echo "ok $name"
        else
            echo "not ok $name: $(head -n 3 "$tmp/diff" | tr '\n' ' ')"
            failed=1
        fi
    done
done

ram() { # CALLS COMPILER-ARGUMENT...: bytes of .data and .bss that a file with these calls has
    printf '#include "mtrace.h"\nvoid f(void *p);\nvoid f(void *p) { (void)p; %s; }\n' "$1" >"$tmp/ram.c"
    "${@:2}" -DMTRACE -I. -c -o "$tmp/ram.o" "$tmp/ram.c" &&
        size -A "$tmp/ram.o" | awk '/^\.t?(data|bss)/ { sum += $2 } END { print sum + 0 }'
}
for compiler in "arm-none-eabi-gcc -mcpu=cortex-m3 -mthumb -std=c99 -DMTRACE_SINGLE_THREAD" "gcc -fno-pie -std=c99" \
    "clang -fno-pie -std=c99" "g++ -fno-pie -x c++ -std=c++11" "clang++ -fno-pie -x c++ -std=c++20"; do
    # shellcheck disable=SC2086
    calls=$(ram 'MT_SCOPE(); p = MT_MALLOC(1); p = MT_REALLOC_IN(2, p, 1); p = MT_NEW(int); (void)MT_TRACK(2, p, 1)' \
        $compiler -Os)
    # shellcheck disable=SC2086
    frees=$(ram 'MT_FREE(p); (void)MT_UNTRACK(2, p)' $compiler -Os)
    name="five call sites take 40 bytes of RAM, two frees none, ${compiler%% *}"
    if [ "$calls $frees" = "40 0" ]; then echo "ok $name"; else
        echo "not ok $name: ${calls:-nothing}, ${frees:-nothing}"
        failed=1
    fi
done
exit $failed
