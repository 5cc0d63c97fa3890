#!/usr/bin/env bash
# tools/wrap.c: programs that are traced at link time. Static programs of glibc and musl, and firmware on an emulated
# Cortex-M3 with both of newlib's allocators: the callers' addresses are the places, the C library's own blocks are
# seen, and mtracer names all on the host.
set -u
cd "$(dirname "$0")/.." || exit 1
repo=$PWD
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok $1"; else
        echo "not ok $1${3:+: $3}"
        failed=1
    fi
}
strict="-std=c99 -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes -Werror"
# A table's lines as "size count place", sorted.
table() { # FILE [OPTION...]
    COLUMNS=200 "$tmp/mtracer" report "$@" --top 100 | sed -nE 's/^ *([0-9.]+ K?i?B) +[0-9.]+ +([0-9,]+) +[0-9.]+ K?i?B +(.*)$/\1 \2 \3/p' | sort
}
same() { # NAME, expected text on standard input, in $tmp/got what there is
    diff - "$tmp/got" >"$tmp/log"
    report "$1" $? "$(head -n 5 "$tmp/log" | tr '\n' ' ')"
}

# --- what the linker is told is what the file has ---

sed -n 's/^-Wl,--wrap=//p' tools/wrap.flags | sort >"$tmp/flags"
grep -oE '\b__wrap_[a-z_]+\(' tools/wrap.c | sed 's/^__wrap_//; s/($//' | sort -u >"$tmp/got"
[ -s "$tmp/flags" ] && same "the flags and the functions are the same" <"$tmp/flags"
gcc -std=c99 -O0 -w tools/mtracer.c -o "$tmp/mtracer" >"$tmp/log" 2>&1
report "mtracer compiles" $? "$(head -n 1 "$tmp/log")"
# shellcheck disable=SC2086 # options
for mode in -DMTRACE -UMTRACE; do
    clang $strict $mode -fsyntax-only tools/wrap.c >"$tmp/log" 2>&1
    report "wrap.c compiles with clang, $mode" $? "$(head -n 1 "$tmp/log")"
    gcc $strict -O1 -g $mode -c tools/wrap.c -o "$tmp/wrap$mode.o" >"$tmp/log" 2>&1
    report "wrap.c compiles with gcc, $mode" $? "$(head -n 1 "$tmp/log")"
done

# --- a static program that is not changed ---

static() { # OUTPUT MODE SOURCE [OPTION...]
    gcc -std=c99 -O1 -g "$2" -static -I. -Itools "${@:4}" \
        "tests/support/$3" "$tmp/wrap$2.o" @tools/wrap.flags -o "$tmp/$1" >"$tmp/log" 2>&1
    report "$1 links" $? "$(head -n 1 "$tmp/log")"
}
static unchanged -DMTRACE wrap.c
(cd "$tmp" && MTRACE=8 MTRACE_REPORT=top=20,dump=static.mtrace ./unchanged >top.txt 2>&1)
report "a static program runs" $? "$(head -n 1 "$tmp/top.txt")"
"$tmp/mtracer" resolve "$tmp/static.mtrace" 2>"$tmp/log"
report "mtracer names its code" $? "$(head -n 1 "$tmp/log")"
table "$tmp/static.mtrace" | grep '/wrap\.c:' | sed 's/[^ ]*wrap\.c:[0-9]*//' >"$tmp/got"
same "each caller is a place, with the bytes that it asked for" <<'T'
101 B 1  by_malloc
102 B 1  by_calloc
103 B 1  by_realloc
104 B 1  by_reallocarray
105 B 1  by_memalign
106 B 1  by_memalign
107 B 1  by_posix_memalign
108 B 1  by_posix_memalign
4.00 KiB 1  by_posix_memalign
T
table "$tmp/static.mtrace" | grep -v '/wrap\.c:' | grep -cE '^12 B 1 .* (__)?strdup$' | diff - <(echo 1) >"$tmp/log"
report "strdup's block is seen" $? "$(table "$tmp/static.mtrace" | head -n 3)"
for caller in by_strdup:12 by_stdio:4.00; do
    "$tmp/mtracer" report "$tmp/static.mtrace" --by traceback --top 100 |
        awk -v size="${caller#*:}" '/B +[0-9.]+ +[0-9,]+ /{on = $1 == size} on' | grep -q "${caller%:*}"
    report "the call stack of the C library's block has ${caller%:*}" $?
done
grep -q '3 allocations failed' "$tmp/top.txt"
report "failed allocations are counted" $? "$(tail -n 1 "$tmp/top.txt")"
! grep -q 'not traced' "$tmp/top.txt"
report "each free had its block" $? "$(tail -n 1 "$tmp/top.txt")"
(cd "$tmp" && ./unchanged) >"$tmp/log" 2>&1 && [ ! -s "$tmp/log" ]
report "without MTRACE in the environment it is silent" $? "$(head -n 1 "$tmp/log")"

static off -UMTRACE wrap.c
"$tmp/off"
report "without -DMTRACE it runs" $?
! nm "$tmp/off" | grep -E ' mtrace_(start|malloc_for_|record)' >"$tmp/log"
report "without -DMTRACE there is no tracer in it" $? "$(head -n 1 "$tmp/log")"

musl=(musl-gcc -std=c99 -O0 -w -DMTRACE -static -I. -idirafter /usr/include)
"${musl[@]}" tests/support/wrap.c tools/wrap.c @tools/wrap.flags -o "$tmp/musl" >"$tmp/log" 2>&1 &&
    MTRACE=1 MTRACE_REPORT=dump="$tmp/musl.mtrace" "$tmp/musl" >"$tmp/log" 2>&1
report "a static program of musl runs" $? "$(head -n 1 "$tmp/log")"
"$tmp/mtracer" resolve "$tmp/musl.mtrace" --elf "$tmp/musl" 2>"$tmp/log"
[ "$(table "$tmp/musl.mtrace" | grep -cE '^10[1-8] B 1 .*by_')" = 8 ] && table "$tmp/musl.mtrace" | grep -q '^12 B 1 .* strdup$'
report "its blocks are seen, and the C library's" $? "$(table "$tmp/musl.mtrace" | head -n 3 | tr '\n' ' ')"

# --- macros beside it, threads, and code without modules ---

static mixed -DMTRACE wrap_mixed.c -DMTRACE_CONFIG_FILE='"wrap.h"'
"$tmp/mixed" "$tmp/mixed.mtrace" >"$tmp/log"
report "macros and calls are one, in four threads" $? "$(head -n 1 "$tmp/log")"
table "$tmp/mixed.mtrace" | grep -q '^500 B 1 0x'
report "without an unwinder code has an address alone" $? "$(table "$tmp/mixed.mtrace" | head -n 1)"
"$tmp/mtracer" resolve "$tmp/mixed.mtrace" --elf "$tmp/mixed" -o "$tmp/mixed.named" 2>"$tmp/log"
table "$tmp/mixed.named" | sed 's|/.*/||' >"$tmp/got"
line=$(grep -n 'kept = malloc(500)' tests/support/wrap_mixed.c | cut -d: -f1)
same "mtracer names it from the ELF file" <<<"500 B 1 wrap_mixed.c:$line main"

# --- firmware ---

line_of() { grep -nF "$1" examples/firmware/wrapped.c | head -n 1 | cut -d: -f1; }
route=$(line_of 'realloc(route, 300)') samples=$(line_of calloc) buffer=$(line_of 'memalign(64')
for library in nano full; do
    case $library in full) options=-g ;; *) options=--specs=nano.specs ;; esac
    mkdir "$tmp/$library"
    image=$tmp/$library/wrapped.elf dump=$tmp/$library/wrapped.mtrace
    examples/firmware/wrapped.sh "$tmp/$library" $options >"$tmp/log" 2>&1
    report "$library: firmware runs on a Cortex-M3, its own checks" $? "$(tail -n 1 "$tmp/log")"
    table "$dump" | sed 's/pc:0x[0-9a-f]*[13579bdf]$/pc/' >"$tmp/got"
    grep -v '^428 B' "$tmp/got" >"$tmp/log" && mv "$tmp/log" "$tmp/got" # full has a table of files
    same "$library: a place is a Thumb address" <<'T'
1.00 KiB 1 pc
200 B 1 pc
300 B 1 pc
70 B 1 pc
9 B 1 pc
T
    "$tmp/mtracer" resolve "$dump" --elf "$image" -o "$tmp/$library/named" 2>"$tmp/log"
    report "$library: mtracer names them from the ELF file" $? "$(head -n 1 "$tmp/log")"
    table "$tmp/$library/named" | grep -v '^428 B' | sed -E 's|[^ ]*/||; s/ ([a-z_]+\.c):[0-9]+ (_)/ \1 \2/' >"$tmp/got"
    same "$library: the callers' lines, and the C library's own blocks" <<T
1.00 KiB 1 makebuf.c __smakebuf_r
200 B 1 wrapped.c:$samples take_samples
300 B 1 wrapped.c:$route load_route
70 B 1 wrapped.c:$buffer take_samples
9 B 1 strdup_r.c _strdup_r
T
    arm-none-eabi-objcopy -O binary "$image" "$tmp/$library/flash"
    strings -n 4 "$tmp/$library/flash" >"$tmp/strings"
    grep -q 'sensor 7' "$tmp/strings" && ! grep -E '\.[ch]$|load_route|take_samples|read_settings|main' "$tmp/strings" >"$tmp/log"
    report "$library: no name of a file or a function in flash" $? "$(head -n 1 "$tmp/log")"
done

"$tmp/mtracer" resolve "$dump" --elf "$image" --addr2line "" -o "$tmp/x" >"$tmp/log" 2>&1
[ $? = 2 ] && grep -q "'--addr2line' cannot be ''" "$tmp/log"
report "an option without a value is a usage error" $? "$(head -n 1 "$tmp/log")"
cp "$image" "$tmp/gone.elf"
"$tmp/mtracer" resolve "$dump" --elf "$tmp/gone.elf" --addr2line false -o "$tmp/functions" 2>"$tmp/log"
rm "$tmp/gone.elf" # a report would ask for lines
table "$tmp/functions" | grep -qE '^300 B 1 .*gone\.elf\+0x[0-9a-f]+ load_route$'
report "without addr2line there are functions" $? "$(table "$tmp/functions" | head -n 3)"
for bad in "$tmp/none.elf" "$repo/tests/wrap.sh"; do
    "$tmp/mtracer" resolve "$dump" --elf "$bad" -o "$tmp/x" 2>"$tmp/log"
    [ $? = 1 ] && grep -qF "mtracer: $bad: " "$tmp/log" && [ ! -e "$tmp/x" ]
    report "${bad##*/} is no image" $? "$(head -n 1 "$tmp/log")"
done
exit $failed
