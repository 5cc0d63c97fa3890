#!/usr/bin/env bash
# A plugin with its own implementation in a program that also has one. There is one tracer if symbols can be shared, and
# otherwise two separate ones. There is never a mixture, however the two are linked. Also tests the other recipes of the
# manual's MODULES, except for the DLL (windows.sh).
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
visible='extern __attribute__((visibility("default")))'

# check NAME COMMAND...: the command's last line is "fine".
check() {
    if "${@:2}" >"$tmp/log" 2>&1 && [ "$(tail -n 1 "$tmp/log")" = fine ]; then
        echo "ok modules: $1"
    else
        echo "not ok modules: $1: $(tail -n 1 "$tmp/log")"
        failed=1
    fi
}

# both NAME PROGRAM LIBRARY one|two
both() {
    check "$1, the host starts first: $4" "$2" "$3" "$4" host
    check "$1, the plugin starts first: $4" "$2" "$3" "$4" plugin
}

hosts_and_plugins() { # LABEL COMPILER...
    local label=$1 build=("${@:2}" -w -DMTRACE -I.)
    "${build[@]}" -c -o "$tmp/host.o" tests/modules/host.c
    "${build[@]}" -o "$tmp/closed" -x none "$tmp/host.o" -ldl -lpthread
    "${build[@]}" -rdynamic -o "$tmp/open" -x none "$tmp/host.o" -ldl -lpthread
    build+=(-DPLUGIN_IMPLEMENTS -fPIC)
    "${build[@]}" -c -o "$tmp/plain.o" tests/modules/plugin.c
    "${build[@]}" -fvisibility=hidden -c -o "$tmp/hidden.o" tests/modules/plugin.c
    "${build[@]}" -DMTRACE_API=static -c -o "$tmp/static.o" tests/modules/plugin.c
    for plugin in plain.o plain.o,-Bsymbolic plain.o,-Bsymbolic-functions hidden.o static.o; do
        "${build[@]}" -shared -o "$tmp/plugin.so" -x none "-Wl,$tmp/$plugin"
        name="$label, plugin ${plugin/.o/}"
        case $plugin in
        plain.o | *-functions) both "$name, -rdynamic" "$tmp/open" "$tmp/plugin.so" one ;;
        *) both "$name, -rdynamic" "$tmp/open" "$tmp/plugin.so" two ;;
        esac
        both "$name" "$tmp/closed" "$tmp/plugin.so" two
    done
}
hosts_and_plugins "gcc, C" gcc -O0 -std=gnu99 -x c
hosts_and_plugins "clang, C++" clang++ -O2 -std=c++11 -x c++

# One implementation for all modules. Their names are hidden unless MTRACE_API says otherwise.
hidden=(gcc -std=gnu99 -w -DMTRACE -I. -fvisibility=hidden "-DMTRACE_API=$visible")
"${hidden[@]}" -fPIC -shared -o "$tmp/plugin.so" tests/modules/plugin.c
"${hidden[@]}" -rdynamic -o "$tmp/host" tests/modules/host.c -ldl -lpthread
both "the program has the implementation" "$tmp/host" "$tmp/plugin.so" one
printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace_ext.h"' >"$tmp/engine.c"
"${hidden[@]}" -fPIC -shared -o "$tmp/libengine.so" "$tmp/engine.c" -lpthread
"${hidden[@]}" -DHOST_USES_A_LIBRARY -o "$tmp/host" tests/modules/host.c "$tmp/libengine.so" -ldl -lpthread
both "a library has the implementation" "$tmp/host" "$tmp/plugin.so" one

silent() { "$@" && echo fine; }
for compiler in "gcc -std=c99 -x c" "clang -std=c99 -x c" "g++ -std=c++11 -x c++" "clang++ -std=c++11 -x c++"; do
    # shellcheck disable=SC2086
    check "MTRACE_API=static without a warning, ${compiler% -x*}" silent $compiler -Wall -Wextra -pedantic -Werror \
        -DMTRACE -DMTRACE_API=static -I. -fsyntax-only "$tmp/engine.c"
done

# Thread-local storage of a library that dlopen() loads. With glibc it has its full size from the start, so that a
# handler allocates nothing. It is small, because the loader has little. musl does not use this model: its dlopen()
# refuses it.
at_most_256() {
    local size
    size=$(readelf -lW "$1" | awk '$1 == "TLS" { print $6 }')
    [ -n "$size" ] && [ $((size)) -le 256 ] && readelf -dW "$1" | grep -q STATIC_TLS && echo fine
}
for compiler in gcc clang; do
    $compiler -w -DMTRACE -DLIBRARY -I. -fPIC -shared -o "$tmp/library.so" tests/modules/handler.c -lpthread
    $compiler -w -o "$tmp/handler" tests/modules/handler.c -ldl -lpthread
    check "thread-local storage of a library, $compiler" at_most_256 "$tmp/library.so"
    check "no allocation in a handler, $compiler" "$tmp/handler" "$tmp/library.so"
done
musl=(musl-gcc -std=gnu99 -w -DMTRACE -I. -idirafter /usr/include)
"${musl[@]}" -DPLUGIN_IMPLEMENTS -fPIC -shared -o "$tmp/plugin.so" tests/modules/plugin.c
"${musl[@]}" -rdynamic -o "$tmp/host" tests/modules/host.c
both "musl" "$tmp/host" "$tmp/plugin.so" one
exit $failed
