#!/usr/bin/env bash
# The example for firmware on every board, in qemu: what it prints, its own checks, and its snapshot file, which a host
# program reads and prints again. The programs and commands of docs/FIRMWARE.md.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok $1"; else
        echo "not ok $1${3:+: $3}"
        failed=1
    fi
}
# The text of a snapshot, to be compared. The last line of a table has a size in the form of sentences, which firmware
# spares.
text() { # FILE
    tr -d '\r' <"$1" | sed "/^mtrace's own memory /d"
}
prints() { # NAME EXTENDED-REGEX
    grep -Eq "$2" "$out"
    report "$board: $1" $? "no line $2"
}

# The guide: its files, its commands, and what it says that they print. They leave the host's program `read`, and
# what the example prints on the mps2-an385.
guide=$tmp/guide
mkdir "$guide"
python3 - docs/FIRMWARE.md "$guide" <<'P'
import re, sys
out, steps = sys.argv[2], 0
blocks = re.findall(r'^```(\w*)\n(.*?)^```', open(sys.argv[1]).read(), re.M | re.S)
for (kind, text), after in zip(blocks, blocks[1:] + [('', '')]):
    name = re.match(r'/\* (\w+\.[ch]) \*/\n', text)
    if kind == 'c' and name:
        open(f'{out}/{name[1]}', 'w').write(text)
    elif kind == 'c' and 'int main' in text:
        sys.exit('a program without a name')
    elif kind == 'sh':
        steps += 1
        open(f'{out}/{steps}.expected', 'w').write(after[1] if after[0] == 'text' else '')
        open(f'{out}/steps', 'a').write(f'{{\n{text}\n}} >{steps}.out 2>&1\n')
open(f'{out}/count', 'w').write(str(steps))
P
report "the guide has programs" $?
(cd "$guide" && REPO=$OLDPWD timeout 120 bash -e ./steps </dev/null)
report "the guide's commands" $? "the last of them says $(tail -qn 1 "$guide"/*.out | tail -n 1)"
for step in $(seq "$(cat "$guide/count")"); do
    tr -d '\r' <"$guide/$step.out" | diff "$guide/$step.expected" - >"$tmp/log"
    report "the guide's command $step prints what it says" $? "$(head -n 5 "$tmp/log" | tr '\n' ' ')"
done
for program in "$guide"/*.c; do
    grep -qwF "${program##*/}" "$guide/steps"
    report "the guide uses ${program##*/}" $?
done
leak=$(grep -nF '/* the leak:' examples/firmware/main.c | cut -d: -f1)

code() { # BOARD: bytes
    sed -n 's/^of the text, mtrace with xxHash: \([0-9]*\) bytes\r*$/\1/p' "$tmp/$1.txt"
}
# The story is the same with 32-bit counters.
for board in microbit mps2-an385 mps2-an386 riscv32 microbit-small mps2-an385-small riscv32-small; do
    out=$tmp/$board.txt
    mkdir "$tmp/$board"
    if [ $board = mps2-an385 ]; then
        cp "$guide/serial.txt" "$out" && cp "$guide/firmware.mtrace" "$tmp/$board"
    else
        case $board in *-small) small=-DMTRACE_SMALL ;; *) small=-g0 ;; esac
        examples/firmware/run.sh "${board%-small}" "$tmp/$board" -g0 $small >"$out" 2>&1
    fi
    status=$?
    report "$board: its own checks" $status "status $status"
    [ $status -eq 0 ] || tail -n 20 "$out"
    prints "it says so" '^all checks hold'
    prints "the leak is found" "^main\.c:$leak: warning: grew by \+21 B in \+1 block, allocated in load_level"
    test "$(grep -c 'warning: ' "$out")" = 1
    report "$board: one leak" $? "$(grep -c 'warning: ' "$out")"
    prints "growth of a map" '^ +\+1\.41 KiB +2\.34 KiB +\+0 +1 .*main\.c:[0-9]+ load_level'
    prints "an interrupt's packets" '^ +256 B +[0-9.]+ +4 +.* domain 1 packets'
    prints "the size of its code" '^of the text, mtrace with xxHash: [0-9]{5} bytes$'

    # Both prints of one snapshot are the same text.
    text "$out" | sed -n '/^== The snapshot,/,/^== End/{/^==/d;p}' >"$tmp/firmware"
    "$guide/read" "$tmp/$board/firmware.mtrace" >"$tmp/host" 2>&1
    report "$board: the host reads its snapshot file" $? "$(head -n 1 "$tmp/host")"
    grep -q "main\.c:$leak load_level" "$tmp/firmware" && text "$tmp/host" | diff "$tmp/firmware" -
    report "$board: the host prints its snapshot as the firmware did" $?
    [ "${board%-small}" = "$board" ] || [ "$(code "$board")" -lt $(($(code "${board%-small}") - 800)) ]
    report "$board: MTRACE_SMALL saves 800 bytes of code" $? "$(code "$board") bytes"
done

# Two tasks that the timer switches at any instruction: each has its own scope, and the lock is never held for long.
out=$tmp/tasks.txt board=tasks
examples/firmware/tasks.sh >"$out" 2>&1
report "tasks: its own checks" $? "$(tail -n 3 "$out" | tr '\n' ' ')"
prints "how long interrupts are off" '^the lock was held for [0-9]+ instructions at most'
prints "the total of a task" '^ +100 B +71\.4 +1 .* domain 1 gui$'

# The console: TAB lists what fits, a backspace takes back, and each command answers.
out=$tmp/console.txt board=console
printf '%s\r' load 'r\t\bhelp' 'infox\177' base unload diff leaks 'who 0x20' pause resume reset-peak clear 'top total' \
    'save file' 'top 1 by typ\t peak' quit >"$tmp/typed"
printf '%b' "$(cat "$tmp/typed")" | timeout 60 examples/firmware/console.sh 2>&1 | tr -d '\r' >"$out"
report "console: its own check" "${PIPESTATUS[1]}" "$(tail -n 1 "$out")"
prints "TAB" '^resume reset-peak$'
prints "help" '^leaks  +a warning'
prints "info" '^mtrace: tracing: 1\.94 KiB held, 1\.94 KiB at the peak'
prints "the change" '^ +-768 B +256 B +-3 +1  console\.c:[0-9]+ load'
prints "the leak" '^console\.c:[0-9]+: warning: 256 B in 1 block not freed, allocated in load'
prints "no block" '^mtrace: no traced block there'
prints "nothing after a clear" '^mtrace: 0 B in 0 blocks allocated in all'
prints "no files" '^mtrace: that needs an operating system'
prints "a completed key" '^> top 1 by type  peak'

# Firmware's code writes more names and lines than its caches hold: some are in the file twice.
gcc -std=c99 -O1 -Wall -Wextra -pedantic -Werror -DMTRACE -I. tests/support/many_sites.c -o "$tmp/many" &&
    "$tmp/many" "$tmp/many.mtrace" >"$tmp/firmware" && "$guide/read" "$tmp/many.mtrace" >"$tmp/host" &&
    [ "$(grep -c ' file[0-9]*\.c:[0-9]* function[0-9]*$' "$tmp/host")" = 600 ] &&
    text "$tmp/firmware" | diff - <(text "$tmp/host")
report "the host prints a snapshot of 300 call sites as firmware did" $?

# What must fail does.
! examples/firmware/build.sh nowhere "$tmp/none.elf" >"$tmp/log" 2>&1 && grep -q 'no board nowhere' "$tmp/log"
report "an unknown board is an error" $?
head -c 600 "$tmp/microbit/firmware.mtrace" >"$tmp/cut.mtrace"
! "$guide/read" "$tmp/cut.mtrace" >"$tmp/log" 2>&1 && grep -q 'ends too early' "$tmp/log"
report "a snapshot file that was cut is an error" $?
exit $failed
