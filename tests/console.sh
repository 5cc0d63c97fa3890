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
# --- a terminal: examples/console.c, whose line editing and TAB are libedit's ---

gcc -std=c99 -O1 -g -Wall -Wextra -pedantic -Werror -DMTRACE -I. examples/console.c -o "$tmp/game" -ledit -pthread \
    >"$tmp/log" 2>&1
report "builds the example" $? "$(head -n 1 "$tmp/log")"
cat >"$tmp/type.py" <<'P'
"""type.py PROGRAM: types into a program through a pseudo terminal, as a person does, and reads what it shows."""
import os, pty, re, select, sys, time

pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="vt100", LC_ALL="C", COLUMNS="160")
    os.execv(sys.argv[1], sys.argv[1:])
shown, failed = "", 0

def wait_for(what):
    """Reads until the pattern is shown. What is shown after it stays for the next one."""
    global shown
    end = time.time() + 60
    while not re.search(what, shown, re.S):
        if not select.select([terminal], [], [], max(0, end - time.time()))[0]:
            return False
        try:
            shown += re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[\x00\x07]", "", os.read(terminal, 4096).decode())
        except OSError:  # the program has ended
            return False
    shown = shown[re.search(what, shown, re.S).end():]
    return True

def step(name, keys, what):
    global failed
    os.write(terminal, keys.encode())
    good = wait_for(what)
    print(f"ok console terminal, {name}" if good else f"not ok console terminal, {name}: it shows {shown[-300:]!r}")
    failed |= not good

step("a prompt", "", r"game> ")
step("a command of the game", "load 2\r", r"game> ")
step("TAB completes a word", "to\t", r"p ")  # a terminal draws only what is new
step("TAB completes a key", "by fun\t", r"ction ")
step("the line that TAB made", "\r", r"100\.0 +11 .* load_level \(examples/console\.c\).*game> ")
step("TAB lists what may follow", "re\t\t", r"reset-peak +resume|resume +reset-peak")
step("an ambiguous word", "\x15re\r", r'"re" may be resume, reset-peak\r\n.*game> ')
step("history", "\x1b[A\x1b[A", r"top by function")
step("a line from history", "\r", r"1 of 1 function\r\n.*game> ")
step("TAB knows the domains", "domain te\t", r"xtures")
step("a domain", "\r", r"mtrace: domain 1 textures\r\n.*game> ")
step("its table", "top\r", r"domain 1 textures:\r\n.*1 of 1 line\r\n.*game> ")
step("it ends", "domain off\r", r"mtrace: all rows\r\n.*game> ")
step("a baseline", "base\r", r"this is the baseline\r\n.*game> ")
step("a watch", "watch title\r", r"mtrace: watch \*title\*\r\n.*game> ")
step("its other pattern", "watch load_lev\r", r"mtrace: watch \*load_lev\*\r\n.*game> ")
step("what it sees", "load 3\r", r"console\.c:\d+: 12\.0 KiB allocated in load_level\r\n.*type short\r\n.*game> ")
step("the end of the watch", "watch off\r", r"mtrace: watch off\r\n.*game> ")
step("the change", "diff 1\r", r"\+43\.07 KiB .*load_level\r\n.*game> ")
step("the leaks", "unload\rleaks\r", r"warning: 28 B in 2 blocks not freed, allocated in load_level\r\n.*game> ")
step("the end", "quit\r", r"quit")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("ok console terminal, exit status" if status == 0 else f"not ok console terminal, exit status: {status}")
sys.exit(failed or status != 0)
P
timeout 120 python3 "$tmp/type.py" "$tmp/game" >"$tmp/typed" 2>&1
status=$?
cat "$tmp/typed"
[ $status -eq 0 ] && grep -q '^ok console terminal, exit status' "$tmp/typed"
report "terminal, all steps" $? "status $status: $(tail -n 1 "$tmp/typed")"
exit $failed
