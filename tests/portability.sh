#!/usr/bin/env bash
# Other machines and C libraries. On each one, in strict C: both headers compile without a warning and link, with no
# switch or library that the manual does not name for it; numbers that strict C hides are the system's; a program finds
# what it should; the tests pass. qemu-user and node run what this processor does not.
#   tests/portability.sh              s390x with some of the tests, for a run of everything
#   tests/portability.sh MACHINE...   these machines with all tests
#   tests/run portability             all machines; installs .ci/packages.portability first
# A line "skipped" names what a machine cannot run, and why.
set -u
cd "$(dirname "$0")/.." || exit 1
machines="i686 aarch64 armhf s390x ppc64 mips riscv64 alpha hppa musl dietlibc tcc wasi avr wine"
some="check group report snapshot"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
W="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes -Werror"

# A cross compiler must not look into /usr/include.
mkdir "$tmp/include"
echo '#include <xxhash.h>' | gcc -E -M -x c - | tr ' ' '\n' | grep '/xxhash\.h$' | xargs -I{} cp {} "$tmp/include/"

ok() { echo "ok portability $machine: $1"; }
bad() { echo "not ok portability $machine: $1: $(grep -a -m 1 -E 'error|ERROR|undefined' "$out/log" || tail -n 1 "$out/log")"; }
skipped() { echo "skipped portability $machine: $1: $2"; }

# Sets, for a machine: cc, the compiler; run, what runs its programs; libraries and tests_flags, those of the tests;
# checks, what is done; why[TEST], why it cannot run a test.
settings() {
    local name
    cc=() run=() libraries="-lpthread -lm" tests_flags="" checks="numbers tests"
    declare -gA why=()
    case $machine in
    i686)
        cc=(gcc -m32 -idirafter /usr/include/x86_64-linux-gnu)
        if ! tests/support/runs_32_bits; then
            cc+=(-D_FILE_OFFSET_BITS=64) run=(qemu-i386) # see tests/support/files.h
            why[signals]="qemu-user aborts under many signals"
        fi
        ;;
    aarch64) emulated aarch64-linux-gnu aarch64 && checks+=" mtracer" ;;
    armhf) emulated arm-linux-gnueabihf arm -D_FILE_OFFSET_BITS=64 ;;
    s390x) emulated s390x-linux-gnu s390x ;;
    ppc64) emulated powerpc64-linux-gnu ppc64 ;;
    riscv64)
        emulated riscv64-linux-gnu riscv64 && checks+=" mtracer"
        why[edges]="a fork among threads does not end in 10 minutes"
        ;;
    alpha) emulated alpha-linux-gnu alpha && checks=numbers ;;
    mips) emulated mips-linux-gnu mips -D_FILE_OFFSET_BITS=64 -DMTRACE_SINGLE_THREAD && libraries+=" -latomic" ;;
    hppa) emulated hppa-linux-gnu hppa -DMTRACE_SINGLE_THREAD && checks=numbers ;;
    musl) cc=(musl-gcc -static) checks="program tests" && why[writers]="fopencookie does not say that a sink is full" ;;
    dietlibc) cc=(diet -Os gcc -DMTRACE_SINGLE_THREAD) checks=program ;;
    tcc)
        cc=(tcc -DMTRACE_SINGLE_THREAD) checks=tests
        for name in command environment peaks profile scopes writers; do why[$name]="needs MT_SCOPE or MT_PROFILE"; done
        for name in containing races signals threads; do why[$name]="uses GNU C's atomics"; done
        for name in sites stacks wrong_frees; do why[$name]="a caller's address needs GNU C"; done
        why[lifecycle]="allocates in a constructor"
        ;;
    wasi)
        cc=(clang --target=wasm32-wasi --sysroot=/usr)
        run=(node --no-warnings tests/support/wasi/run.mjs)
        checks="program tests" libraries="" tests_flags="-DMTRACE_SINGLE_THREAD -Itests/support/wasi"
        for name in $tests; do why[$name]="uses threads, signals or processes"; done
        unset "why[check]" "why[group]" "why[model]" "why[report]"
        ;;
    avr) cc=(avr-gcc -mmcu=atmega1284p -DMTRACE_SINGLE_THREAD) checks="refused" ;;
    *)
        echo "portability: no machine $machine; there are $machines" >&2
        exit 1
        ;;
    esac
}
emulated() { # TOOLS QEMU FLAG...
    cc=("$1-gcc" "${@:3}")
    run=("qemu-$2" -L "/usr/$1")
    mkdir "$out/bin"
    ln -s "$(command -v "$1-addr2line")" "$out/bin/addr2line"
    export PATH=$out/bin:$PATH
    why[signals]="qemu-user aborts under many signals"
}

build() { # NAME ARGUMENT...
    # shellcheck disable=SC2086
    "${cc[@]}" -std=c99 $optimize -g $W -DMTRACE -I. -isystem "$tmp/include" -o "$out/$1" "${@:2}" >"$out/log" 2>&1
}

# numbers: also compares those that the headers chose with the system's.
check_program() { # FLAGS
    # shellcheck disable=SC2086
    if ! build program.o $1 -c tests/support/portability/program.c; then bad "both headers"
    elif ! "${cc[@]}" -o "$out/program" "$out/program.o" ${1:+tests/support/portability/system_numbers.c} \
        >"$out/log" 2>&1; then bad "links"
    elif "${run[@]}" "$out/program" "$out" >"$out/log" 2>&1 && grep -q "1,000 B .*program.c:.* build" "$out/log"
    then ok "a program"
    else bad "a program"; fi
}
check_numbers() { check_program -DTEST_NUMBERS; }

check_refused() { # fewer than 32 bits
    if build program -c tests/support/portability/program.c; then
        echo "error: it compiles" >"$out/log"
        bad "refused"
    elif grep -q "#error.*fewer than 32 bits" "$out/log"; then ok "refused"
    else bad "refused"; fi
}

# A test of private names has its own implementation. The others share one, as in CMakeLists.txt.
check_tests() {
    local name source shared
    export TEST_ROUNDS=20 TEST_EMULATOR="${run[*]}" # see tests/test_races.c
    # shellcheck disable=SC2086
    build implementation.o $tests_flags -Itests -Itests/support/cmocka -DTEST_SHARED -c tests/support/implementation.c || bad implementation
    for name in $tests; do
        source=tests/test_$name.c shared=(-DTEST_SHARED "$out/implementation.o")
        if [ -n "${why[$name]:-}" ]; then
            skipped "$name" "${why[$name]}"
            continue
        fi
        if sed 's/MTRACE_ZERO_//g' "$source" | grep -qE '(mtrace|MTRACE)_[A-Za-z0-9_]*_[^A-Za-z0-9_,*\\]|#define MTRACE_'; then
            shared=()
        fi
        # shellcheck disable=SC2086
        if build "$name" $tests_flags -Itests -Itests/support/cmocka "$source" "${shared[@]}" $libraries &&
            timeout 600 "${run[@]}" "$out/$name" >"$out/log" 2>&1; then
            ok "$name: $(sed -n 's/.*PASSED *\] //p' "$out/log" | tail -n 1)"
        else bad "$name"; fi
        rm -f "$out/$name"
    done
}

# The system itself starts the programs of the other machine: mtracer's become others.
check_mtracer() {
    local foreign=(tests/support/foreign "${run[0]#qemu-}" "${cc[0]%-gcc}")
    if ! "${foreign[@]}" true >"$out/log" 2>&1; then
        skipped mtracer "$(tail -n 1 "$out/log")"
        return
    fi
    "${foreign[@]}" tests/mtracer.sh "${cc[0]%-gcc}" >"$out/checks" 2>"$out/log" || bad mtracer
    sed "s/ok /ok portability $machine: /" "$out/checks"
}

check() { # MACHINE
    local one
    machine=$1 out=$tmp/$1
    mkdir "$out"
    settings
    for one in $checks; do "check_$one" ""; done
}

one_machine() { if [ "$1" = wine ]; then tests/windows.sh; else (check "$1"); fi; }

tests=$(cd tests && ls test_*.c | sed 's/test_\(.*\)\.c/\1/')
optimize=-O1
case ${1:-} in
"") tests=$some optimize=-O0 && set -- s390x ;;
--all)
    .ci/setup tests portability || exit 1
    # shellcheck disable=SC2086
    set -- $machines
    ;;
esac
for machine; do
    [ "$(jobs -pr | wc -l)" -lt "$(nproc)" ] || wait -n
    one_machine "$machine" >"$tmp/$machine.log" 2>&1 &
done
wait
for machine; do cat "$tmp/$machine.log"; done | tee "$tmp/all"
grep -q '^ok ' "$tmp/all" && ! grep -q '^not ok ' "$tmp/all"
