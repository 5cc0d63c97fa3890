#!/usr/bin/env bash
# The console where people use it: in gdb, also in the middle of mtrace's own calls, and in a terminal.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok console $1"; else
        echo "not ok console $1${3:+: $3}"
        failed=1
    fi
}

# --- gdb ---

# debug PROGRAM COMMAND...: runs gdb. The output is in $tmp/log, of program and debugger.
debug() {
    local commands=()
    for command in "${@:2}"; do commands+=(-ex "$command"); done
    timeout 60 gdb -q -batch -nx "${commands[@]}" "$tmp/$1" </dev/null >"$tmp/log" 2>&1
}
says() { # NAME LINE...: each line is in the output, in this order
    local name=$1 line at=1 next
    for line in "${@:2}"; do
        next=$(tail -n "+$at" "$tmp/log" | grep -anF -- "$line" | head -n 1 | cut -d: -f1)
        if [ -z "$next" ]; then
            report "gdb, $name" 1 "no line $line; the end is $(tail -n 2 "$tmp/log" | tr '\n' ' ')"
            return
        fi
        at=$((at + next))
    done
    report "gdb, $name" 0
}
build() { # NAME FLAG...
    gcc -std=c99 -g -O0 -Wall -Wextra -pedantic -Werror -DMTRACE -I. "${@:2}" tests/support/console_stop.c \
        -o "$tmp/$1" -pthread >"$tmp/log" 2>&1
    report "builds $1" $? "$(head -n 1 "$tmp/log")"
}
build stop
build stop_lock -DWITH_LOCK
go_on="mtrace: stopped in the middle of a call of mtrace: go on first"

debug stop "break ready" run 'call mtrace_command("top 5", 0, 0)' 'call mtrace_command("nonsense", 0, 0)' "up" \
    'print $text = (char *)malloc(64)' 'call (void)sprintf($text, "who %p", (char *)block + 345)' \
    'call mtrace_command($text, 0, 0)' 'call mtrace_command("watch load", 0, 0)' \
    'call (void)load(77)' 'call mtrace_command("watch off", 0, 0)' kill
says "between two calls" "12.06 KiB  100.0" "= MTRACE_OK" '"nonsense" is none of help, top,' "= MTRACE_ERR_ARGUMENT" \
    "345 bytes into a block of 12.1 KiB at 0x" "console_stop.c:" "77 B allocated in load"
debug stop "break pages_hook" run delete backtrace 'call mtrace_command("top", 0, 0)' continue
says "in the middle of a start" "mtrace_start" "$go_on" "= MTRACE_ERR_BUSY" "exited normally"
debug stop "break ready" run delete "break hash_hook" continue delete backtrace 'call mtrace_command("top", 0, 0)' \
    'call mtrace_command("clear", 0, 0)' 'call mtrace_command("info", 0, 0)' continue
says "in the middle of an allocation" "mtrace_malloc_at (size=5" "12.06 KiB  100.0" "= MTRACE_OK" "$go_on" "= MTRACE_ERR_BUSY" \
    "mtrace: tracing: 12.1 KiB held" "exited normally"
debug stop "break ready" run delete "break pages_hook" continue delete 'call mtrace_command("leaks", 0, 0)' \
    'call mtrace_command("base", 0, 0)' 'call mtrace_command("clear", 0, 0)' continue
says "in the middle of a snapshot" "warning: 12.1 KiB in 1 block not freed, allocated in load" "= MTRACE_OK" \
    "this is the baseline" "$go_on" "exited normally"
debug stop_lock "break ready" run 'call mtrace_command("top 5", 0, 0)' delete "break hash_hook" continue delete \
    'call mtrace_command("top", 0, 0)' finish 'call mtrace_command("help", 0, 0)' continue
says "with a lock, in the middle of an allocation" "12.06 KiB  100.0" "$go_on" "= MTRACE_ERR_BUSY" "exited normally"
exit $failed
