#!/usr/bin/env bash
# Compiles the header alone, five times, and in both orders with its implementation. This is done with and without
# MTRACE, in every supported language, and every warning is an error. It also compiles the header with glibc's own
# mtrace(), and code that must not compile.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
W="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Werror"

ok() { echo "ok compile $1"; }
bad() { echo "not ok compile $1: $(head -n 1 "$tmp/log")"; failed=1; }

use='static int *use(size_t n) { int *p = MT_NEW_ARRAY(int, n); char *s = MT_STRDUP("x");
  p = (int *)MT_REALLOCARRAY(p, n, sizeof *p); MT_FREE(MT_STRNDUP(s, 1)); MT_FREE(s);
  MT_FREE(MT_ALIGNED_ALLOC(64, 64)); MT_FREE(MT_CALLOC(n, 2)); MT_FREE(MT_REALLOC(MT_MALLOC(n), n));
  MT_FREE(MT_NEW(int)); (void)MT_TRACK(1, p, n); (void)MT_UNTRACK(1, p);
  { mtrace_site site = {"f", NULL, NULL, 3, NULL}; MT_FREE(mtrace_malloc_at(n, mtrace_site_intern(&site))); } return p; }
static int in_scopes(size_t n) { mtrace_scope way = MT_SCOPE_PUSH(); MT_SCOPE_POP(way); MT_FREE(MT_MALLOC_IN(2, n));
  way = MT_SCOPE_PUSH_IN(4); MT_FREE(MT_CALLOC_IN(2, n, 2)); MT_SCOPE_POP(way); MT_FREE(MT_REALLOC_IN(3, NULL, n));
  MT_FREE(MT_NEW_IN(2, int)); { MT_SCOPE_IN(5); MT_FREE(MT_NEW_ARRAY_IN(2, int, n)); } { MT_SCOPE(); } return 0; }
int main(void) { mtrace_snapshot *old; mtrace_start(NULL); mtrace_snapshot_take(&old, false, NULL); MT_FREE(use(3)); if (in_scopes(9)) { return 2; }
  MT_ASSERT_NO_GROWTH(old, 0); mtrace_print_top(3); mtrace_snapshot_free(old); return mtrace_check() != NULL; }'
h='#include "mtrace.h"' e='#include "mtrace_ext.h"' i='#define MTRACE_IMPLEMENTATION'
printf '%s\n' "$h" "int main(void) { return 0; }" >"$tmp/alone"
printf '%s\n' "$h" "$h" "$h" "$h" "$h" "$i" "$h" "$use" >"$tmp/five_times"
printf '%s\n' "$i" "$h" "$h" "$use" >"$tmp/implementation_first"
printf '%s\n' "$h" "$i" "$h" "$i" "$h" "$use" | sed '4s/.*/#undef MTRACE_IMPLEMENTATION\n&/' >"$tmp/implementation_twice"
printf '%s\n' "$e" "int main(void) { return 0; }" >"$tmp/ext_alone"
printf '%s\n' "$e" "$h" "$e" "$e" "$i" "$e" "$e" "$use" >"$tmp/ext_five_times"
printf '%s\n' "$i" "$h" "$e" "$use" >"$tmp/ext_after_the_core"
printf '%s\n' "#include <mcheck.h>" "$i" "$h" "#include <mcheck.h>" "$use" >"$tmp/with_mcheck"

# Every file is compiled in every language, with and without MTRACE, with each kind of call site. Without MTRACE every
# file is also optimised and run. With MTRACE this is done for the fullest file in every language. All files run
# without optimisation in one language of each compiler.
for language in "gcc -std=c99 -x c" "gcc -std=c11 -x c" "gcc -std=c17 -x c" "clang -std=c99 -x c" \
    "clang -std=c11 -x c" "clang -std=c17 -x c" "g++ -std=c++11 -x c++" "g++ -std=c++20 -x c++" \
    "clang++ -std=c++11 -x c++" "clang++ -std=c++20 -x c++"; do
    case $language in *++*) kinds="2 1" w=$W ;; *) kinds="2 0" w="$W -Wstrict-prototypes" ;; esac
    for file in alone five_times implementation_first implementation_twice with_mcheck ext_alone ext_five_times \
        ext_after_the_core; do
        for mode in "" "-DMTRACE"; do
            for kind in $kinds; do
                name="$file, ${language% -x*}, ${mode:-no MTRACE}, sites $kind"
                case "$mode $file $kind $language" in
                " "* | *alone* | *" ext_five_times 2 "*) how=-O1 ;;
                *" 2 "*c99* | *" 2 "*c++11* | *" five_times "*c99* | *" five_times "*c++11*) how=-O0 ;;
                *) how=-fsyntax-only ;;
                esac
                # shellcheck disable=SC2086
                if $language $w $mode -DMTRACE_SITE_KIND="$kind" $how -I. -o "$tmp/program" - <"$tmp/$file" \
                    >"$tmp/log" 2>&1 && { [ $how = -fsyntax-only ] || "$tmp/program" >"$tmp/log" 2>&1; }; then
                    ok "$name, $how"
                else
                    bad "$name, $how"
                fi
            done
        done
    done
done

# Without xxHash, with another hash.
printf '%s\n' '#include <stddef.h>' '#include <stdint.h>' \
    'static uint32_t my_hash(const void *p, size_t n) { const unsigned char *b = (const unsigned char *)p;' \
    '  uint32_t h = 2166136261u; while (n-- > 0) { h = (h ^ *b++) * 16777619u; } return h; }' \
    '#define MTRACE_HASH(data, size) my_hash(data, size)' "$i" "$h" \
    '#ifdef XXH_VERSION_NUMBER' '#error "xxhash.h was included"' '#endif' "$use" >"$tmp/own_hash"
if gcc -std=c99 $W -DMTRACE -I. -x c -o "$tmp/program" - <"$tmp/own_hash" >"$tmp/log" 2>&1 && "$tmp/program" >/dev/null
then ok "own hash"; else bad "own hash"; fi

# Every public call also exists without MTRACE: a program that takes the address of each one links.
if python3 - mtrace.h mtrace_ext.h >"$tmp/calls.c" 2>"$tmp/log" <<'END' &&
import re, sys
print('#include "mtrace_ext.h"\nstatic void (*const calls[])(void) = {')
for name in sys.argv[1:]:
    text = re.sub(r"/\*.*?\*/", "", open(name).read(), flags=re.S)
    calls = sorted(set(re.findall(r"^(?:MTRACE_API|MTRACE_EXT_API_|static inline) [^;{]*?\b(mtrace_\w*[a-z0-9])\(", text, re.M)))
    if len(calls) < 25:
        sys.exit("only %d calls found in %s" % (len(calls), name))
    print(*("    (void (*)(void))%s," % call for call in calls), sep="\n")
print("};\nint main(int count, char **arguments) {\n    return arguments == 0 || calls[count] == 0;\n}")
END
    gcc -std=c99 -w -I. -o "$tmp/program" "$tmp/calls.c" >"$tmp/log" 2>&1 && "$tmp/program"
then ok "every call without MTRACE"; else bad "every call without MTRACE"; fi

# A chapter of mtrace_ext.h that a switch leaves out answers as it does without MTRACE; the others work. Each alone, then
# all of them.
printf '%s\n' "$i" "$e" 'static int calls;
static void *call(void *argument) { MT_PROFILE(); calls++; return MT_LINE(argument); }
static void ignore(const char *text, size_t length, void *user) { (void)text; (void)length; (void)user; }
static void is_out(mtrace_result result, const char *name) {
  if (result == MTRACE_ERR_COMPILED_OUT) { printf(" %s", name); } else if (result != MTRACE_OK) { printf(" %s fails", name); } }
int main(void) { mtrace_snapshot *s; mtrace_usage usage; mtrace_recorder_desc recorder = MTRACE_ZERO_;
  mtrace_profile_report_desc report = MTRACE_ZERO_; mtrace_result result;
  mtrace_start(NULL); mtrace_snapshot_take(&s, false, NULL);
  is_out(mtrace_snapshot_dump_to(s, ignore, NULL), "FILES");
  recorder.no_thread = true; is_out(mtrace_recorder_start(&recorder), "RECORDER"); mtrace_recorder_mark("now");
  is_out(mtrace_profile_start(NULL), "PROFILE"); call(NULL); report.write = ignore; mtrace_profile_report(&report);
  is_out(mtrace_memory_usage(&usage, call, &calls), "USAGE");
  is_out(mtrace_command("top", ignore, NULL), "COMMAND"); mtrace_profile_stop(); mtrace_recorder_free();
  result = mtrace_start_from_environment(NULL);
  is_out(result == MTRACE_ERR_NOT_TRACING ? MTRACE_OK : result, "ENVIRONMENT");
  mtrace_snapshot_free(s); mtrace_stop(); return calls == 2 && usage.result == &calls ? 0 : 1; }' |
    sed '2a #include <stdio.h>' >"$tmp/chapters"
chapters="FILES RECORDER PROFILE USAGE COMMAND ENVIRONMENT"
for left_out in $chapters "$chapters"; do
    # shellcheck disable=SC2086
    switches=$(printf -- '-DMTRACE_NO_%s ' $left_out)
    for language in "gcc -std=c99 -Wstrict-prototypes -x c" "g++ -std=c++11 -x c++" "clang -std=c17 -x c"; do
        for mode in -DMTRACE -UMTRACE; do
            name="without $left_out, ${language% -x*}, $mode"
            expected=$([ $mode = -DMTRACE ] && echo "$left_out" || echo "$chapters")
            case "$mode $language" in -UMTRACE* | *gcc*) how="-O0 -pthread" ;; *) how=-fsyntax-only ;; esac
            # shellcheck disable=SC2086
            if $language $W $mode $switches $how -I. -o "$tmp/program" - <"$tmp/chapters" >"$tmp/log" 2>&1 &&
                { [ "$how" = -fsyntax-only ] || { env -u MTRACE "$tmp/program" >"$tmp/log" 2>&1 &&
                    [ "$(cat "$tmp/log")" = " $expected" ]; }; }; then
                ok "$name"
            else bad "$name"; fi
        done
    done
done

# No warning on other machines and C libraries, on bare metal with a lock of a likely name, and without GNU C. A cross
# compiler must not look into /usr/include.
mkdir "$tmp/include"
echo '#include <xxhash.h>' | gcc -E -M -x c - | tr ' ' '\n' | grep '/xxhash\.h$' | xargs -I{} cp {} "$tmp/include/"
printf '%s\n' 'extern void lock(void); extern void unlock(void);' '#define MTRACE_LOCK() lock()' \
    '#define MTRACE_UNLOCK() unlock()' >"$tmp/lock.h"
elsewhere() { # NAME FILE COMPILER...
    if "${@:3}" $W -DMTRACE -fsyntax-only -I. -isystem "$tmp/include" - <"$tmp/$2" >"$tmp/log" 2>&1; then
        ok "$1, $2"
    else bad "$1, $2"; fi
}
for file in five_times ext_five_times; do
    elsewhere musl $file musl-gcc -std=c99 -x c
    elsewhere s390x $file s390x-linux-gnu-gcc -std=c99 -x c
    elsewhere "Cortex-M3" $file arm-none-eabi-gcc -mcpu=cortex-m3 -mthumb -std=c99 -include "$tmp/lock.h" -x c
    elsewhere "Cortex-M3, small" $file arm-none-eabi-gcc -mcpu=cortex-m3 -mthumb -std=c99 -DMTRACE_SMALL \
        -include "$tmp/lock.h" -x c
    elsewhere "Cortex-M3, small, one thread, C++" $file arm-none-eabi-g++ -mcpu=cortex-m3 -mthumb -std=c++11 \
        -DMTRACE_SMALL -DMTRACE_SINGLE_THREAD -x c++
    elsewhere "64 bits, small, bare metal" $file gcc -std=c99 -DMTRACE_SMALL -DMTRACE_BARE_METAL \
        -DMTRACE_SINGLE_THREAD -x c
    elsewhere "Cortex-M3, one thread, C++" $file arm-none-eabi-g++ -mcpu=cortex-m3 -mthumb -std=c++11 \
        -DMTRACE_SINGLE_THREAD -x c++
done

# A setting that cannot work gives an error that says so.
refuses() {
    if gcc -std=c99 -DMTRACE -I. -x c -fsyntax-only "${@:3}" - <"$tmp/implementation_first" >"$tmp/log" 2>&1; then
        echo "compiled" >"$tmp/log"
        bad "$1"
    elif grep -q "$2" "$tmp/log"; then ok "$1"; else bad "$1"; fi
}
refuses "aligned memory from an allocator that has none" MT_ALIGNED_ALLOC_needs_MTRACE_BASE_ALIGNED_ALLOC \
    "-DMTRACE_BASE_MALLOC(n)=malloc(n)" "-DMTRACE_BASE_CALLOC(n,s)=calloc(n,s)" \
    "-DMTRACE_BASE_REALLOC(p,n)=realloc(p,n)" "-DMTRACE_BASE_FREE(p)=free(p)" -include stdlib.h
refuses "the same without MTRACE" MT_ALIGNED_ALLOC_needs_MTRACE_BASE_ALIGNED_ALLOC -UMTRACE \
    "-DMTRACE_BASE_MALLOC(n)=malloc(n)" "-DMTRACE_BASE_CALLOC(n,s)=calloc(n,s)" \
    "-DMTRACE_BASE_REALLOC(p,n)=realloc(p,n)" "-DMTRACE_BASE_FREE(p)=free(p)" -include stdlib.h
printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace.h"' \
    'int main(void) { mtrace_desc d = {.sample_interval = 4096}; return mtrace_start(&d) == MTRACE_ERR_ARGUMENT ? 0 : 1; }' \
    >"$tmp/sampling"
if gcc -std=c99 -DMTRACE -I. -x c "-DMTRACE_BASE_MALLOC(n)=malloc(n)" "-DMTRACE_BASE_FREE(p)=free(p)" -include stdlib.h \
    "$tmp/sampling" -o "$tmp/program" -pthread >"$tmp/log" 2>&1 && "$tmp/program"; then ok "no sampling without realloc"
else bad "no sampling without realloc"; fi
for name in MT_REALLOC MT_REALLOC_IN MT_REALLOCARRAY; do
    echo "#include \"mtrace.h\"
void *use(void); void *use(void) { return $name(1, 0, 1, 1); }" >"$tmp/resize"
    gcc -std=c99 -I. -x c -fsyntax-only "-DMTRACE_BASE_MALLOC(n)=malloc(n)" "-DMTRACE_BASE_FREE(p)=free(p)" \
        -include stdlib.h "$tmp/resize" >"$tmp/log" 2>&1
    if grep -q "error:.*${name}_needs_MTRACE_BASE_REALLOC" "$tmp/log"; then ok "$name without MTRACE and realloc"
    else bad "$name without MTRACE and realloc"; fi
done
one_error() { # NAME TEXT FILE COMPILER...
    if "${@:4}" -w -std=c99 -DMTRACE -I. -x c -fsyntax-only - <"$tmp/$3" >"$tmp/log" 2>&1 ||
        [ "$(grep -c error: "$tmp/log")" -ne 1 ] || ! grep -q "$2" "$tmp/log"; then bad "$1"; else ok "$1"; fi
}
one_error "a constructor of a chapter that is left out" \
    "MTRACE_START_FROM_ENVIRONMENT needs what MTRACE_NO_ENVIRONMENT leaves out" \
    ext_alone gcc -DMTRACE_NO_ENVIRONMENT -DMTRACE_START_FROM_ENVIRONMENT
one_error "bare metal without a lock" "define MTRACE_LOCK() and MTRACE_UNLOCK(), or MTRACE_SINGLE_THREAD" \
    implementation_first arm-none-eabi-gcc -mcpu=cortex-m3 -mthumb -isystem "$tmp/include"
one_error "small counters with a system" "MTRACE_SMALL is for bare metal: leave it out" implementation_first \
    gcc -DMTRACE_SMALL
printf '%s\n' '#include <stdint.h>' '#undef SIZE_MAX' '#define SIZE_MAX 65535u' >"$tmp/16_bits.h"
one_error "16 bits" "size_t has fewer than 32 bits here: compile without MTRACE" implementation_first \
    gcc -include "$tmp/16_bits.h"
exit $failed
