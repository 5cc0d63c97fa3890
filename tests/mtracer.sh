#!/usr/bin/env bash
# mtracer: counts equal an independent counter's, nothing is lost in a crash, and what cannot be traced is told.
#   tests/mtracer.sh           on this machine
#   tests/mtracer.sh TOOLS     the first half with TOOLS-gcc, in tests/support/foreign: see tests/portability.sh
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
tools=${1:+$1-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

good() { echo "ok mtracer $1"; }
bad() {
    echo "not ok mtracer $1: ${*:2}"
    failed=1
}
# is NAME FOUND WANTED
is() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "'$2' and not '$3'"; fi; }
# has NAME FILE TEXT
has() { if grep -qF -- "$3" "$2"; then good "$1"; else bad "$1" "no '$3' in: $(head -c 300 "$2")"; fi; }

warnings="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes -Werror"
build() { # FOLDER TOOLS FLAG...: with the lines of docs/PROGRAMS.md
    mkdir -p "$1" &&
        "$2gcc" -std=c99 -O2 $warnings "${@:3}" tools/mtracer.c -o "$1/mtracer" 2>"$tmp/log" &&
        "$2gcc" -std=c99 -O2 $warnings "${@:3}" -funwind-tables -fPIC -shared tools/preload.c -o "$1/libmtracer.so" 2>"$tmp/log"
}
# A cross compiler must not look into /usr/include.
mkdir "$tmp/include"
echo '#include <xxhash.h>' | gcc -E -M -x c - | tr ' ' '\n' | grep '/xxhash\.h$' | xargs -I{} cp {} "$tmp/include/"
build "$tmp" "$tools" ${tools:+-isystem "$tmp/include"} || {
    bad build "$(head -n 3 "$tmp/log")"
    exit 1
}
"${tools}gcc" -O1 -g -funwind-tables -w tests/mtracer/programs.c -o "$tmp/programs" -lpthread
"${tools}g++" -O1 -g -std=c++17 tests/mtracer/operators.cpp -o "$tmp/operators"
"${tools}g++" -O1 -g -std=c++17 -DOWN_OPERATORS tests/mtracer/operators.cpp -o "$tmp/own_operators"
"${tools}gcc" -O1 -g -fPIC -shared -w tests/mtracer/counter.c -o "$tmp/counter.so"
"${tools}gcc" -O1 -g -fPIC -shared -DSIZE=1111 tests/mtracer/library.c -o "$tmp/one.so"
"${tools}gcc" -O1 -g -fPIC -shared -DSIZE=2222 tests/mtracer/library.c -o "$tmp/two.so"
"${tools}gcc" -O1 -g -fPIC -shared tests/mtracer/early.c -o "$tmp/early.so" -lpthread
cd "$tmp" || exit 1

# read_file FILE: calls, bytes, held, peak of a snapshot
cat >read.py <<'P'
import sys
sys.path.insert(0, sys.argv[1] + "/tests/support")
import read_snapshot
info, memory, rows = read_snapshot.read(sys.argv[2])[:3]
print(sum(r.ever[1] for r in rows), sum(r.ever[0] for r in rows), sum(r.size for r in rows), memory[1],
      info["dropped_count"])
P
read_file() { python3 read.py "$root" "$1"; }
read_counter() { python3 -c 'import struct,sys; print(*struct.unpack("4Q", open(sys.argv[1], "rb").read()[:32]), 0)' "$1"; }

# counted NAME STATUS OUTPUT PROGRAM...: ends as it does alone, and mtracer's counts are the counter's
counted() {
    rm -f out.mtrace count
    COUNTER=$tmp/count ./mtracer run -o out.mtrace ./programs beneath "./counter.so${ALSO:-}" "${@:4}" >out 2>err </dev/null
    is "$1: status" "$?" "$2"
    is "$1: output" "$(cat out)" "$3"
    is "$1: calls, bytes, held, peak" "$(read_file out.mtrace)" "$(read_counter count)"
} 2>/dev/null

counted all 0 "all 10" ./programs all
counted crash 139 "" ./programs crash
has "crash: names the signal" err "was ended by signal 11 (Segmentation fault)"
has "crash: held bytes" err "100000 bytes in 100 blocks were not freed"
counted kill 137 "" ./programs kill
counted exit 3 "" ./programs exit
counted abort 134 "" ./programs abort
counted exec 3 "" ./programs exec
counted fork 0 "" ./programs fork
echo 'int madvise(void *at, unsigned long size, int advice) { (void)at, (void)size, (void)advice; return 0; }' >advice.c
"${tools}gcc" -fPIC -shared advice.c -o advice.so
forks=$(read_file out.mtrace)
LD_PRELOAD=./advice.so ./mtracer run -o out.mtrace ./programs fork 2>err
is "fork, where any advice is taken" "$(read_file out.mtrace)" "$forks"
counted closed 0 "" ./programs closed
counted daemon 0 "" ./programs daemon
counted contexts 0 "" ./programs contexts
counted spawns 0 "spawn 4 system 5 vfork 4 popen six" ./programs spawns
counted operators 0 "caught 202 handled 1" ./operators
counted "own operators" 0 "caught 202 handled 0 own 1" ./own_operators
counted libraries 0 "" ./programs libraries ./one.so ./two.so
is "libraries: each has its own bytes" "$(./mtracer report out.mtrace --by module | grep -c '\(22220\|44440\|21.70 KiB\|43.40 KiB\) .*\(one\|two\).so')" 2
ALSO=:./early.so counted "threads before main" 0 "nothing" ./programs none
is "threads before main: their blocks" "$(./mtracer report out.mtrace --by module | grep -c ' 16,000 .*early.so')" 1
./mtracer run -o out.mtrace ./programs handlers >out 2>err
is "handlers" "$?$(cat out)" "0signals 50"
./mtracer run -o out.mtrace ./programs threads >out 2>err
is "threads: calls" "$(read_file out.mtrace | cut -d' ' -f1)" "$((80000 + $(./mtracer run -o t.mtrace ./programs none 2>/dev/null >&2; read_file t.mtrace | cut -d' ' -f1) - 1 + 8))"

# told NAME STATUS TEXT COMMAND...: with TEXT, or without a word, on stderr
told() {
    "${@:4}" >out 2>err </dev/null
    is "$1: status" "$?" "$2"
    if [ -n "$3" ]; then has "$1" err "$3"; else is "$1: silence" "$(cat err)" ""; fi
}

# --- a running program ---

./mtracer run -o end.mtrace ./programs wait go >ready 2>err &
runner=$!
for _ in $(seq 300); do [ -s ready ] && break || sleep 0.1; done
process=$(pgrep -P $runner -x programs)
told save 0 "" ./mtracer save "$process" -o now.mtrace
is "save: says the file" "$(cat out)" now.mtrace
./mtracer report now.mtrace >out
has "save: the line" out "programs.c:"
has "save: held bytes" out "7.59 KiB"
./mtracer top "$process" --by function --filter keep >out
has "top: without a terminal" out " keep"
is "top: filter" "$(grep -c wait_for_file out)" 0
python3 "$root/tests/mtracer/top.py" "f,t,m,p,s,/keep\\n,q" ./mtracer top "$process" >out 2>&1
has "top: head" out "process $process, held, by bytes"
has "top: by function" out " keep"
has "top: by traceback" out "main"
has "top: by module" out "/programs"
has "top: peak" out "at the peak, by bytes"
has "top: sorted by blocks" out "at the peak, by blocks"
has "top: filter" out "only keep"
has "top: ends" out "status 0"
told "save: not traced" 1 "was not started by mtracer run" ./mtracer save $$
told "save: no process" 1 "there is no process 4194305" ./mtracer save 4194305
told "save: no number" 2 "save needs the number of a process" ./mtracer save x
MTRACER_REGION=/proc/self/mem sleep 20 &
for _ in $(seq 300); do grep -q sleep "/proc/$!/comm" && break || sleep 0.1; done
told "save: a false path" 1 "cannot be reached" ./mtracer save $!
kill $!
user=() # another user than root, who may look at each process
if [ -z "$tools" ] && [ "$(id -u)" = 0 ]; then
    chmod 755 . && user=(setpriv --reuid=65534)
    told "save: another user's" 1 "$process is another user's" "${user[@]}" ./mtracer save "$process"
    setpriv --ruid=65534 sleep 60 &
    other=$!
    for _ in $(seq 300); do grep -q sleep "/proc/$other/comm" && break || sleep 0.1; done
    told "save: another's rights" 1 "$other has the rights of another user" "${user[@]}" ./mtracer save $other
    kill $other
    MTRACER_REGION=$(tr '\0' '\n' <"/proc/$process/environ" | sed -n 's/^MTRACER_REGION=//p') \
        setpriv --reuid=65534 sleep 60 &
    other=$!
    for _ in $(seq 300); do grep -q sleep "/proc/$other/comm" && break || sleep 0.1; done
    told "save: another's mtracer" 1 "cannot be reached: it is another user's" "${user[@]}" ./mtracer save $other
    kill $other
fi
if [ -z "$tools" ]; then
    "${user[@]}" ./programs undumpable go >ready_2 &
    other=$!
    for _ in $(seq 300); do [ -s ready_2 ] && break || sleep 0.1; done
    told "save: forbidden" 1 "$other lets no other process look at it" "${user[@]}" ./mtracer save $other
fi
touch go
wait $runner
is "run: after the looks" "$?" 0
python3 "$root/tests/mtracer/top.py" "a,q" ./mtracer top end.mtrace >out 2>&1
has "top FILE" out "end.mtrace, in all, by bytes"

./mtracer run --no-names -o bare.mtrace ./programs exit >out 2>err
is "--no-names" "$(grep -c 'programs+0x' err) $(./mtracer report bare.mtrace | grep -c 'programs.c:')" "1 1"

# mtracer is killed: the program goes on.
rm go
./mtracer run -o end.mtrace ./programs wait go >ready 2>err &
runner=$!
for _ in $(seq 300); do [ -s ready ] && break || sleep 0.1; done
process=$(pgrep -P $runner -x programs)
kill -9 $runner
wait $runner
told "save: mtracer was killed" 1 "cannot be reached: it has ended" ./mtracer save "$process"
sleep 0.2
is "mtracer was killed: the program goes on" "$(cat "/proc/$process/comm")" programs
touch go

# Looks at a program that changes its tables.
rm go
./mtracer run -o end.mtrace ./programs churn go >ready 2>err &
runner=$!
for _ in $(seq 300); do [ -s ready ] && break || sleep 0.1; done
process=$(pgrep -P $runner -x programs)
looks=0
for _ in $(seq 30); do
    ./mtracer save "$process" -o now.mtrace >out 2>&1 && looks=$((looks + 1))
done
touch go
wait $runner
is "looks while it allocates" "$looks" 30

# --- children ---

./mtracer run --children -o kids.mtrace ./programs starts fork all exit >out 2>err
is "children: status" "$?" 3
is "children: files" "$(ls kids.mtrace.* | wc -l)" 3
is "children: calls" "$(for f in kids.mtrace.*; do read_file "$f" | cut -d' ' -f1; done | sort -n | tr '\n' ' ')" \
    "$(for n in fork all exit; do ./mtracer run -o t.mtrace ./programs $n >/dev/null 2>&1; read_file t.mtrace | cut -d' ' -f1; done | sort -n | tr '\n' ' ')"

# --- files ---

keep_line=$(grep -n 'kept\[i\] = malloc(1000);' "$root/tests/mtracer/programs.c" | cut -d: -f1)
./mtracer run -o less.mtrace ./programs none >/dev/null 2>&1
./mtracer run -o more.mtrace ./programs exit >/dev/null 2>&1
told "diff: grown" 1 "" ./mtracer diff less.mtrace more.mtrace
has "diff: table" out "+100  "
has "diff: the line" out "keep"
has "diff: the message" out "grew by +97.7 KiB in +100 blocks"
told "diff: not grown" 0 "" ./mtracer diff more.mtrace more.mtrace
told "diff: tolerance" 0 "" ./mtracer diff less.mtrace more.mtrace --tolerance 200000
echo "leak:keep" >known
told "diff: suppressions" 0 "" ./mtracer diff less.mtrace more.mtrace --suppressions known
echo "wrong" >known
told "diff: bad suppressions" 1 "known:1: not leak:PATTERN" ./mtracer diff less.mtrace more.mtrace --suppressions known
told "resolve" 0 "" ./mtracer resolve more.mtrace -o named.mtrace
is "resolve: same table" "$(./mtracer report named.mtrace)" "$(./mtracer report more.mtrace)"

# --- places ---

line_of() { grep -n "$2" "$root/tests/mtracer/$1" | cut -d: -f1; }
./mtracer run -o out.mtrace ./programs exit >out 2>err
is "call stack" "$(./mtracer report out.mtrace --by traceback --filter keep | grep -oE 'programs\.c:.*' | tr '\n' ' ')" \
    "programs.c:$keep_line keep programs.c:$(($(line_of programs.c '"exit") == 0') + 1)) main "
./mtracer run -o out.mtrace ./operators >out 2>err
has "operators: the line that filled the map" err "operators.cpp:$(line_of operators.cpp "50, 'y'") main"
is "operators: its blocks" "$(grep -c '^120.12 KiB .* 2,000 *120.12 KiB .* main$' err)" 1

if [ -n "$tools" ]; then
    for bits in 38 39; do # of addresses, as small systems have
        QEMU_RESERVED_VA=$((1 << bits)) ./mtracer run -o out.mtrace ./programs exit >out 2>err
        is "$bits bits of addresses" "$(grep -c ' 97.66 KiB .* 100 .* keep$' err)" 1
    done
    # The file and the programs, on another machine.
    ./mtracer report out.mtrace >here
    (cd "$root" && build "$tmp/other" "")
    ./other/mtracer report out.mtrace >there
    is "report on another machine" "$(cat there)" "$(cat here)"
    told "another machine's program" 1 "it is no 64-bit program of this machine" ./mtracer run ./other/mtracer
    told "another machine's mtracer" 1 "it is no 64-bit program of this machine" ./other/mtracer run ./programs
    exit $failed
fi

# --- this machine alone ---

counted clone 0 "" ./programs clone
counted full 0 "full 1" ./programs full
timeout 60 ./mtracer run -o out.mtrace ./programs forks >out 2>err
is "handlers that fork: status" "$?" 0
has "handlers that fork: the children go on" out "children 60 calls "
is "handlers that fork: calls" "$(./mtracer report out.mtrace --view total --by function --filter deep | sed -nE 's/.* 0\.0 +([0-9,]+) .* deep .*/\1/p' | tr -d ,)" \
    "$(sed 's/.*calls //' out)"
is "pipeline" "$(./mtracer run -o t.mtrace sh -c 'printf 1234 | wc -c' 2>/dev/null)" 4

# Names from a folder of another machine's files, and from one of debug files.
gcc -g -O0 -Wl,--build-id=0x0123456789abcdef "$root/tests/mtracer/programs.c" -w -o moved -lpthread
./mtracer run --no-names -o moved.mtrace ./moved exit >/dev/null 2>&1
mkdir -p "machine$tmp" debug/.build-id/01 && mv moved "machine$tmp/"
told "resolve: without the files" 0 "moved" ./mtracer resolve moved.mtrace -o named.mtrace
is "resolve: without the files there are no lines" "$(./mtracer report named.mtrace --no-names | grep -c 'programs.c')" 0
told "resolve --root" 0 "libc.so.6: no such file" ./mtracer resolve moved.mtrace -o named.mtrace --root machine
has "resolve --root: the line" <(./mtracer report named.mtrace --no-names) "programs.c:$keep_line keep"
objcopy --only-keep-debug "machine$tmp/moved" debug/.build-id/01/23456789abcdef.debug && strip "machine$tmp/moved"
told "resolve --debug" 0 "libc.so.6: no such file" ./mtracer resolve moved.mtrace -o named.mtrace --root machine --debug debug
has "resolve --debug: the line" <(./mtracer report named.mtrace --no-names) "programs.c:$keep_line keep"

# A file of format version 1, the one of tests/test_files.c.
python3 - "$root" <<'P'
import re, sys
text = re.search(r'version_1\[\] =(.*?);', open(sys.argv[1] + "/tests/test_files.c").read(), re.S)[1]
open("v1.mtrace", "wb").write(bytes.fromhex("".join(re.findall('"(.*?)"', text))))
P
told "version 1: report" 0 "" ./mtracer report v1.mtrace --by traceback
has "version 1: its lines" out "a.c:3 load"
has "version 1: its callers" out "from main.c:9 main"
told "version 1: top" 0 "" ./mtracer top v1.mtrace --view total
has "version 1: all in all" out "390.62 KiB   66.4         2  390.62 KiB  b.c:70000"
told "version 1: resolve" 0 "" ./mtracer resolve v1.mtrace -o v2.mtrace
is "version 1: resolved, it is of version 2" "$(od -An -tu4 -j8 -N4 v2.mtrace | tr -d ' ')" 2
is "version 1: same table" "$(./mtracer report v2.mtrace)" "$(./mtracer report v1.mtrace)"
told "version 1: diff" 1 "" ./mtracer diff less.mtrace v1.mtrace
has "version 1: what grew" out "+195.31 KiB      +-0 B         +1       1  b.c:70000"

# --- what cannot be traced is told, before the program starts or after its end ---

told "no command" 2 "mtracer run [OPTIONS]" ./mtracer
told "wrong command" 2 "there is no command 'runs'" ./mtracer runs
told "wrong option" 2 "there is no option '--by' here" ./mtracer run --by line ls
told "wrong value" 2 "'--by' cannot be 'lines'" ./mtracer report out.mtrace --by lines
told "no value" 2 "'--top' cannot be without a value" ./mtracer report out.mtrace --top
told "frames" 2 "'-n' cannot be '65'" ./mtracer run -n 65 ls
told "no program" 2 "run needs a program" ./mtracer run
told "missing program" 127 "nosuch: No such file or directory" ./mtracer run nosuch
told "no file" 1 "nosuch.mtrace: No such file or directory" ./mtracer report nosuch.mtrace
told "no snapshot" 1 "not a snapshot" ./mtracer report read.py
told "no output" 1 "/nosuch/file: No such file or directory" ./mtracer run -o /nosuch/file ./programs
printf '#include <stdlib.h>\nint main(void) { free(malloc(1)); return 0; }\n' >small.c
printf '#include <stddef.h>\nstatic char b[99999]; static size_t n; void *malloc(size_t s) { n += 64; return b + n + s * 0; }
void free(void *p) { (void)p; } int main(void) { return malloc(9) == 0; }\n' >own.c
gcc -static small.c -o static && told "static" 1 "it is statically linked" ./mtracer run ./static
gcc -static-pie small.c -o static_pie && told "static-pie" 1 "it is statically linked" ./mtracer run ./static_pie
gcc -fsanitize=address small.c -o asan && told "AddressSanitizer" 1 "it was built with a sanitizer" ./mtracer run ./asan
clang -fsanitize=thread small.c -o tsan && told "ThreadSanitizer" 1 "it was built with a sanitizer" ./mtracer run ./tsan
gcc small.c -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1 -o musl && told "musl" 1 "it uses musl" ./mtracer run ./musl
gcc -w -fno-builtin own.c -o own && told "own malloc" 1 "it has its own malloc() linked in" ./mtracer run -o t.mtrace ./own
gcc small.c -o small
cp small elf32 && printf '\001' | dd of=elf32 bs=1 seek=4 conv=notrunc status=none
told "32 bits" 1 "it is no 64-bit program of this machine" ./mtracer run ./elf32
printf '#!%s/static\n' "$tmp" >script && chmod +x script
told "a static program's script" 1 "it is statically linked" ./mtracer run ./script
told "address space" 1 "too little address space" sh -c 'ulimit -v 1000000; exec ./mtracer run -o t.mtrace ./small'
told "less capacity" 0 "saved t.mtrace" sh -c 'ulimit -v 1600000; exec ./mtracer run --capacity 1000 -o t.mtrace ./small'
mkdir alone && cp mtracer alone/ && told "no library" 1 "libmtracer.so is neither in" ./alone/mtracer run ./small
gcc -std=c99 -O0 -w -DMTRACE_SHARDS=9 -fPIC -shared -I"$root" "$root/tools/preload.c" -o alone/libmtracer.so
told "another build" 1 "libmtracer.so is of another build" ./alone/mtracer run -o t.mtrace ./small
mkdir clang && clang -std=c99 -O0 $warnings "$root/tools/mtracer.c" -o clang/mtracer &&
    clang -std=c99 -O0 $warnings -fPIC -shared "$root/tools/preload.c" -o clang/libmtracer.so &&
    told "built by clang" 0 "saved t.mtrace" ./clang/mtracer run -o t.mtrace ./small
mkdir "with blank" && cp mtracer libmtracer.so "with blank/"
told "a blank in the path" 0 "saved t.mtrace" "./with blank/mtracer" run -o t.mtrace ./small
if [ "$(id -u)" = 0 ]; then
    cp small setuid && chown 65534 setuid && chmod u+s setuid
    told "set-uid" 1 "it runs with the rights of another user" ./mtracer run ./setuid
fi
env -i ./mtracer run -o t.mtrace ./small 2>err
is "empty environment" "$?$(grep -c 'saved t.mtrace' err)" 01

# Other allocators beneath and inside.
for library in libjemalloc libtcmalloc; do
    path=$(ls /usr/lib/*/$library.so.[0-9] 2>/dev/null | head -n 1)
    if [ -n "$path" ]; then
        LD_PRELOAD=$path ./mtracer run -o out.mtrace ./programs exit >out 2>err
        is "$library in LD_PRELOAD" "$(grep -c ' 97.66 KiB .* 100 .* keep$' err)" 1
        gcc small.c -o with -Wl,--no-as-needed "$path" && ./mtracer run -o out.mtrace ./with 2>err
        has "$library linked" err "saved out.mtrace"
    else
        bad "$library" "is not installed: see .ci/packages.tests"
    fi
done
path=$(ls /usr/lib/*/libjemalloc.a | head -n 1)
gcc small.c "$path" -o jemalloc -lstdc++ -lm -lpthread -ldl &&
    told "jemalloc inside" 1 "it has its own malloc() linked in" ./mtracer run -o t.mtrace ./jemalloc

# Thousands of looks at a damaged region: by mtracer's code with sanitizers, and in processes of its own.
rm go
gcc -std=c99 -O0 -g $warnings -fsanitize=address,undefined -fno-sanitize-recover=undefined \
    "$root/tests/mtracer/looks.c" -o looks_here && gcc -std=c99 -O0 $warnings "$root/tests/mtracer/looks.c" -o looks
./mtracer run -n 8 -c 1000 -o end.mtrace ./programs wait go >ready 2>err &
runner=$!
for _ in $(seq 300); do [ -s ready ] && break || sleep 0.1; done
process=$(pgrep -P $runner -x programs)
is "looks with sanitizers" "$(timeout 600 ./looks_here "$process" 2000 1 2>&1 | head -c 1000)" \
    "2000 looks, 0 crashes, tables and refusals"
is "looks in processes" "$(timeout 600 ./looks "$process" 400 2 processes 2>&1)" \
    "400 looks, 0 crashes, tables and refusals"
touch go
wait $runner

# A program that writes over the shared memory: a table or a message, never a crash or a hang.
wrong=0 damaged=0
for seed in $(seq 30); do
    timeout 60 ./mtracer run -n 4 -c 1000 -o out.mtrace ./programs hostile "$seed" >out 2>&1
    status=$?
    [ $status = 0 ] || { [ $status = 1 ] && grep -q "was not traced" out && damaged=$((damaged + 1)); } || wrong=$((wrong + 1))
done
is "hostile programs" "$wrong $((damaged > 5))" "0 1"

# The same, and it goes on while mtracer looks.
rm go
timeout 60 ./mtracer run -n 4 -c 1000 -o end.mtrace ./programs hostile 7 go >ready 2>err &
runner=$!
for _ in $(seq 300); do [ -s ready ] && break || sleep 0.1; done
process=$(pgrep -P "$(pgrep -P $runner -x mtracer)" -x programs)
wrong=0
for _ in $(seq 20); do
    timeout 60 ./mtracer top "$process" --no-names >out 2>&1
    status=$?
    [ $status -le 1 ] && [ -s out ] || wrong=$((wrong + 1))
done
touch go
wait $runner
is "looks while it writes over its memory" "$wrong" 0

# The commands of docs/PROGRAMS.md, and of README.md, print what stands below them.
python3 - "$root" >"$tmp/doc.sh" <<'P'
import re, sys
kinds = re.findall(r"^```(\w+)\n(.*?)^```", open(sys.argv[1] + "/docs/PROGRAMS.md").read(), re.M | re.S)
readme = re.findall(r"^```(sh|output)\n(.*?)^```", open(sys.argv[1] + "/README.md").read(), re.M | re.S)
number = 0
for kind, text in kinds + readme:
    if kind == "c":
        open("things.c", "w").write(text)
    elif kind == "sh" and "tools/" not in text:
        number += 1
        print(f"{{ set -e\n{text}}} >shown.{number} 2>&1 || echo status $? >>shown.{number}")
    elif kind == "output":
        open(f"wanted.{number}", "w").write(text)
P
sh "$tmp/doc.sh" 2>/dev/null
mask() { sed -E "s/own memory .*/own memory/; s|$tmp/||g" "$1"; }
for wanted in wanted.*; do
    shown=shown.${wanted#*.}
    lines=$(wc -l <"$wanted")
    case $(tail -n 1 "$wanted") in
    ...) is "docs: $wanted" "$(mask "$shown" | head -n $((lines - 1)))" "$(mask "$wanted" | head -n $((lines - 1)))" ;;
    *) is "docs: $wanted" "$(mask "$shown")" "$(mask "$wanted")" ;;
    esac
done
is "docs: no command failed" "$(cat shown.* | grep -c ^status)" 0
exit $failed
