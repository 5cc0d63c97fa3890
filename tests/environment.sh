#!/usr/bin/env bash
# Starts through the environment, in separate programs. Reports at exit come after the destructors of every other file,
# for any link order, compiler and C library. A program with raised privileges ignores its caller's environment. That
# part makes a set-user-id program of root, so it needs root and a folder that honours such files.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$PWD tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
cd "$tmp" || exit 1
failed=0

# check NAME COMMAND...: the command succeeds.
check() {
    if "${@:2}" >log 2>&1; then
        echo "ok environment: $1"
    else
        echo "not ok environment: $1: $(tail -n 1 log)"
        failed=1
    fi
}

# A C library other than the system's must not look into /usr/include.
mkdir include
echo '#include <xxhash.h>' | gcc -E -M -x c - | tr ' ' '\n' | grep '/xxhash\.h$' | xargs -I{} cp {} include/
flags=(-Wall -Wextra -Werror -DMTRACE -I"$top" -isystem include)

# ------------------------------------------------------------------------------- after all others
cat >holder.inc <<'C'
#include "mtrace.h"
static void *block;
void fill(void);
void fill(void) {
    block = MT_MALLOC(200);
}
C
{ cat holder.inc; echo '__attribute__((destructor)) static void empty(void) { MT_FREE(block); }'; } >holder.c
{ cat holder.inc; echo 'static struct holder { ~holder() { MT_FREE(block); } } object;'; } >holder.cpp
cat >main.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"
#ifdef __cplusplus
void fill(void);
#else
extern void fill(void);
#endif
#ifdef UNLOADS
#include <dlfcn.h>
#endif
#ifndef LIBRARY
int main(void) {
#ifdef BY_HAND
    if (mtrace_start_from_environment(NULL) != MTRACE_OK) { return 1; }
#endif
    fill();
#ifdef UNLOADS
    if (dlclose(dlopen("./plugin.so", RTLD_NOW)) != 0) { return 2; }
#endif
    return 0;
}
#endif
C
cp main.c main.cpp
echo 'void fill(void); int main(void) { fill(); return 0; }' >plain.cpp

# clean PROGRAM: its reports come once, when nothing is held any more.
clean() {
    MTRACE=1 MTRACE_REPORT=leaks,top "$@" >out 2>&1 || { cat out; return 1; }
    { grep -q '^mtrace: 0 B in 0 blocks held, 200 B at the peak' out && [ "$(grep -c held, out)" = 1 ] && ! grep -q warning out; } ||
        { cat out; return 1; }
}

# order NAME COMPILER-AND-FLAGS OBJECT...: linked in this order.
order() {
    rm -f program
    # shellcheck disable=SC2086
    $2 "${@:3}" -o program 2>log || tail -n 1 log # then there is none, and the check fails
    check "after the destructors: $1" clean ./program
}

# objects SUFFIX COMPILER-AND-FLAGS: holder.o, main.o (starts by itself), hand.o (in main).
objects() {
    rm -f ./*.o
    # shellcheck disable=SC2086
    { $2 "${flags[@]}" -c holder."$1" -o holder.o && $2 "${flags[@]}" -DMTRACE_START_FROM_ENVIRONMENT -c main."$1" -o main.o; } ||
        echo "$2: does not compile" # the checks fail
}

objects c "gcc -std=c99"
order "gcc, linked first" gcc main.o holder.o
order "gcc, linked last" gcc holder.o main.o
order "gcc, static" "gcc -static" holder.o main.o
gcc "${flags[@]}" -DBY_HAND -c main.c -o hand.o
order "gcc, started in main" gcc holder.o hand.o
objects c "clang -std=c99"
order "clang" clang holder.o main.o
objects c "musl-gcc -std=c99"
musl="musl-gcc -Wl,--defsym=_dl_find_object=abort" # Debian's libgcc_eh wants glibc's
order "musl" "$musl" holder.o main.o
order "musl, static" "$musl -static" holder.o main.o
objects cpp "g++ -std=c++11"
order "g++, linked first" g++ main.o holder.o
order "g++, linked last" g++ holder.o main.o
objects cpp "clang++ -std=c++17"
order "clang++, linked first" clang++ main.o holder.o
order "clang++, linked last" clang++ holder.o main.o
g++ "${flags[@]}" -fsanitize=address -DBY_HAND -c main.cpp -o hand.o
order "g++, AddressSanitizer, started in main" "g++ -fsanitize=address" holder.o hand.o
check "a shared library builds" bash -c "g++ ${flags[*]} -DLIBRARY -DMTRACE_START_FROM_ENVIRONMENT -fPIC -shared main.cpp \
    -o libtracer.so && g++ ${flags[*]} holder.cpp plain.cpp -o dynamic -L. -ltracer -Wl,-rpath,$tmp"
check "after the destructors: a shared library" clean ./dynamic
check "a program and a plugin with implementations build" bash -c "
    gcc ${flags[*]} -DLIBRARY -DMTRACE_START_FROM_ENVIRONMENT -fPIC -shared -Wl,-Bsymbolic-functions main.c -o plugin.so &&
    gcc ${flags[*]} -DUNLOADS -DMTRACE_START_FROM_ENVIRONMENT -rdynamic main.c holder.c -o unloads"
check "not when a plugin is unloaded" clean ./unloads

# ---------------------------------------------------------------------------- raised privileges
cat >privileged.c <<'C'
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"
#include <string.h>
static void *helper(size_t size) {
    char *block = (char *)MT_MALLOC(size);
    block[0] = 1;
    return block;
}
void work(void);
void work(void) {
    MT_PROFILE();
    void *block = helper(1 << 20); /* LINE */
    MT_FREE(block);
}
int main(int argc, char **argv) {
    mtrace_result started = mtrace_start_from_environment(NULL);
    if (argc > 1 && strcmp(argv[1], "profile") == 0) {
        mtrace_start(NULL);
        mtrace_profile_start(NULL);
        work();
        return mtrace_profile_report(NULL) != MTRACE_OK;
    }
    printf("%d %d\n", started == MTRACE_ERR_NOT_TRACING, MT_MALLOC(1000) != NULL);
    return 0;
}
C
mkdir evil root_only
chmod 700 root_only
chmod 777 evil
cat >evil/addr2line <<S
#!/bin/sh
echo ran >>$tmp/evil/log
S
chmod 755 evil/addr2line
cp evil/addr2line evil/llvm-addr2line

as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

# does_not_listen: it is off, and root's folder stays empty, for any request.
does_not_listen() {
    local report
    for report in dump pickle profile; do
        as_nobody env MTRACE=1 MTRACE_REPORT="$report=$tmp/root_only/x" ./privileged >out 2>&1
        [ "$(cat out)" = "1 1" ] || { cat out; return 1; }
    done
    as_nobody env MTRACE=1 MTRACE_REPORT="record=$tmp/root_only/x.dat,top" ./privileged >out 2>&1
    [ "$(cat out)" = "1 1" ] || { cat out; return 1; }
    as_nobody env MTRACE=nonsense MTRACE_REPORT=nonsense ./privileged >out 2>&1
    [ "$(cat out)" = "1 1" ] || { cat out; return 1; }
    [ -z "$(ls -A root_only)" ] || { echo "a file in root's folder"; return 1; }
}

# listens: the same program without the bit obeys the environment.
listens() {
    as_nobody env MTRACE=1 MTRACE_REPORT="dump=$tmp/evil/x" ./ordinary >out 2>&1
    [ "$(cat out)" = "0 1" ] && [ -s evil/x ] || { cat out; return 1; }
}

# runs_addr2line_of PROGRAM: does it run the caller's addr2line?
runs_addr2line_of() {
    rm -f evil/log
    as_nobody env PATH="$tmp/evil:$PATH" "$1" profile >out 2>&1 || { cat out; return 1; }
    if [ -e evil/log ]; then echo yes; else echo no; fi
}

check "a program to raise builds" gcc -std=c99 -g "${flags[@]}" -DMTRACE_START_FROM_ENVIRONMENT privileged.c -o ordinary
if [ "$(id -u)" != 0 ]; then
    echo "not ok environment: raised privileges: to be run as root, for it makes a set-user-id program"
    exit 1
fi
cp ordinary privileged
chown root:root privileged
chmod 4755 privileged
check "the folder honours set-user-id" bash -c "cp '$(command -v id)' id && chmod 4755 id &&
    [ \"\$(setpriv --reuid=65534 --regid=65534 --clear-groups ./id -u)\" = 0 ]"
check "an ordinary program listens to the environment" listens
check "one with raised privileges does not" does_not_listen
check "an ordinary program asks the addr2line of its PATH" [ "$(runs_addr2line_of ./ordinary)" = yes ]
check "one with raised privileges does not" [ "$(runs_addr2line_of ./privileged)" = no ]
check "... and finds its lines even so" grep -Eq "^ +$(grep -n LINE privileged.c | cut -d : -f 1) +1\.00 MiB" out
exit $failed
