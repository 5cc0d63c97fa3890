#!/usr/bin/env bash
# Code that must compile and code that must not, in addition to tests/compile.sh. This covers the switches and the
# settings that they refuse, call sites in every place of C++, and misuse, with and without MTRACE.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok cxx $1"; else
        echo "not ok cxx $1: ${3:-$(head -n 1 "$tmp/log")}"
        failed=1
    fi
}

# --- the switches ---

# MTRACE as each build system defines it: 0 is off, for the headers and for the user's own #ifdef.
printf '%s\n' '#include "mtrace_ext.h"' '#ifdef MTRACE' 'is_on' '#else' 'is_off' '#endif' >"$tmp/switch.c"
for value in 0:off OFF:off false:off :on 1:on ON:on true:on; do
    for language in c c++; do
        gcc -E -P -Wundef -Werror "-DMTRACE=${value%:*}" -I. -x $language "$tmp/switch.c" 2>"$tmp/log" >"$tmp/out"
        grep -q "^is_${value#*:}$" "$tmp/out"
        report "-DMTRACE=${value%:*} is ${value#*:}, $language" $? "$(cat "$tmp/log")"
    done
done
printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace_ext.h"' '#include <stdio.h>' \
    'int main(void) { void *p = MT_MALLOC(3); MT_FREE(p);' \
    'return mtrace_start(NULL) == MTRACE_ERR_COMPILED_OUT ? 0 : 1; }' >"$tmp/off.c"
gcc -std=c99 -Wall -Wextra -pedantic -Werror -DMTRACE=0 -I. -o "$tmp/off" "$tmp/off.c" >"$tmp/log" 2>&1 && "$tmp/off"
report "-DMTRACE=0 builds a program without the tracer" $?

# The manual's SWITCHES and the code name the same ones.
python3 - >"$tmp/log" <<'END'
import re
manual = open("mtrace.h").read().split("\n   SWITCHES")[1].split("   PROMISES AND LIMITS")[0]
manual += open("mtrace_ext.h").read().split("\n   SWITCHES")[1].split("\n   MTRACE_START_FROM")[0]
named = set()
for line in re.findall(r"^   (MTRACE.*)$", manual, re.M):
    names = re.split(r"   *(?:ALL|IMPL|file) ", line)[0]
    named |= {re.sub(r"^_", "MTRACE_BASE_", n) for n in re.findall(r"(?:\bMTRACE|(?<= )_)[A-Z0-9_]*", names)}
read = set()
for name in "mtrace.h", "mtrace_ext.h":
    code = re.sub(r"\\\n", " ", re.sub(r"/\*.*?\*/", "", open(name).read(), flags=re.S))
    for line in re.findall(r"^ *# *(?:if|ifdef|ifndef|elif)\b.*$", code, re.M):
        read |= set(re.findall(r"\bMTRACE(?:_[A-Z0-9]+)*\b(?!_)", line))
read -= {"MTRACE_H", "MTRACE_EXT_H"}
print("the code reads, the manual lacks:", *sorted(read - named), "- only the manual names:", *sorted(named - read))
raise SystemExit(named != read or len(read) < 20)
END
report "the manual names the switches that the code reads" $?

# Fibers and coroutines take their scopes along.
gcc -std=c99 -Wall -Wextra -pedantic -Werror -DMTRACE -I. -o "$tmp/fibers" tests/cxx/fibers.c >"$tmp/log" 2>&1 && "$tmp/fibers"
report "fibers of ucontext.h keep their scopes" $?
g++ -std=c++20 -Wall -Wextra -pedantic -Werror -DMTRACE -I. -o "$tmp/coroutines" tests/cxx/coroutines.cpp >"$tmp/log" 2>&1 &&
    "$tmp/coroutines"
report "coroutines of C++20 keep their scopes" $?

# Blocks under check.
for mode in -DMTRACE -UMTRACE -DMTRACE\ -DMTRACE_NO_USAGE -DMTRACE\ -DMTRACE_API=static; do
    # shellcheck disable=SC2086
    g++ -std=c++11 -Wall -Wextra -pedantic -Wshadow -Werror $mode -I. -o "$tmp/blocks" tests/cxx/blocks.cpp >"$tmp/log" 2>&1 &&
        "$tmp/blocks" >"$tmp/log" 2>&1
    report "exceptions leave blocks under check, $mode" $?
done

# The manual's index names the sections, in their order.
python3 - >"$tmp/log" <<'END'
import re
text = open("mtrace.h").read()
index = text.split("\n   INDEX")[1].split("   mtrace_ext.h")[0]
named = " ".join(re.findall(r"^   ([A-Z][A-Z ]*?)(?:  .*)?$", index, re.M))
sections = " ".join(re.findall(r"^/\* \[SECTION\] ([A-Z ]*[A-Z])", text, re.M))
print("index:", named, "- sections:", sections)
raise SystemExit(named != sections or len(sections) < 100)
END
report "the manual's index names the sections" $?

# The contract of each public function ends with its fixed block.
python3 - mtrace.h mtrace_ext.h >"$tmp/log" <<'END'
import re, sys
count, wrong, comment = 0, [], ""
for name in sys.argv[1:]:
    text = open(name).read()
    for part in re.finditer(r"/\*.*?\*/|^MTRACE_(?:EXT_)?API_? [^;{]*?\b(mtrace_\w*[a-z0-9])\(", text, re.S | re.M):
        if not part.group(1):
            comment = part.group(0)
            continue
        labels = " ".join(re.findall(r"^   (Errors|Cost|Context|Python|Source):", comment, re.M))
        count += 1
        if not re.fullmatch("Errors Cost Context( Python| Source)?", labels):
            wrong.append(part.group(1))
print("without Errors, Cost, Context, Python in this order:", *wrong)
raise SystemExit(bool(wrong) or count < 70)
END
report "each contract has its block" $?

# --- a setting that cannot work gives one sentence ---

printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace.h"' 'int main(void) { MT_FREE(MT_MALLOC(3)); return 0; }' >"$tmp/use.c"
refuses() { # NAME TEXT COMPILER-ARGUMENT...
    gcc -std=c99 -DMTRACE -I. -fsyntax-only "${@:3}" "$tmp/use.c" >"$tmp/log" 2>&1 || true
    grep -q "error.*$2" "$tmp/log" && [ "$(grep -c 'error:' "$tmp/log")" -eq 1 ]
    report "$1" $? "$(grep -c 'error:' "$tmp/log") errors: $(head -n 3 "$tmp/log" | tr '\n' ' ')"
}
refuses "half a lock is refused" "MTRACE_LOCK() and MTRACE_UNLOCK() together" "-DMTRACE_LOCK()="
refuses "the other half is refused" "MTRACE_LOCK() and MTRACE_UNLOCK() together" "-DMTRACE_UNLOCK()="
refuses "half an allocator is refused" "define MTRACE_BASE_MALLOC and _FREE" "-DMTRACE_BASE_MALLOC(n)=malloc(n)"
refuses "a realloc alone is refused" "define MTRACE_BASE_MALLOC and _FREE" "-DMTRACE_BASE_REALLOC(p,n)=realloc(p,n)"
refuses "a state without a lock is refused" "MTRACE_LOCK_STATE needs MTRACE_LOCK" -DMTRACE_LOCK_STATE=int
refuses "half the system's memory is refused" "MTRACE_SYSTEM_ALLOC and MTRACE_SYSTEM_FREE together" \
    "-DMTRACE_SYSTEM_ALLOC(n)=calloc(n,1)"
refuses "no atomics and no lock is refused" "no lock-free 8-byte atomics" -D__GCC_ATOMIC_LLONG_LOCK_FREE=1 \
    -Wno-builtin-macro-redefined

# Without xxhash.h: the system's headers, except that one.
mkdir "$tmp/include" && ln -s /usr/include/* "$tmp/include/" && rm "$tmp/include/xxhash.h"
without_xxhash() { # FILE ARGUMENT...
    gcc -std=c99 -DMTRACE -I. -fsyntax-only -nostdinc -isystem "$(gcc -print-file-name=include)" -isystem "$tmp/include" \
        -isystem "$tmp/include/$(gcc -print-multiarch)" "${@:2}" "$1" >"$tmp/log" 2>&1
}
without_xxhash "$tmp/use.c"
head -n 2 "$tmp/log" | grep -q "error.*xxHash.*libxxhash-dev.*" && grep -q 'MTRACE_HASH' "$tmp/log"
report "without xxhash.h a sentence" $?
without_xxhash "$tmp/use.c" "-DMTRACE_HASH(p,n)=((void)(p),(uint32_t)(n))"
report "without xxhash.h a hash of one's own" $?
sed 's/mtrace.h/mtrace_ext.h/' "$tmp/use.c" >"$tmp/use_ext.c"
without_xxhash "$tmp/use_ext.c" "-DMTRACE_HASH(p,n)=((void)(p),(uint32_t)(n))"
grep -q "error.*mtrace_ext.h.*libxxhash-dev" "$tmp/log"
report "without xxhash.h a sentence of mtrace_ext.h" $? "$(grep error: "$tmp/log" | head -n 1)"

# --- code that must compile without a warning, and code that must not, with and without MTRACE ---

W="-Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Werror"
for compiler in gcc clang; do
    warnings="$W -Wstrict-prototypes -Wdeclaration-after-statement"
    [ $compiler = clang ] || warnings="$warnings -Wduplicated-branches -Wlogical-op"
    for mode in -UMTRACE -DMTRACE; do
        for std in c99 c17; do
            [ "$std $mode" != "c17 -UMTRACE" ] || continue
            # shellcheck disable=SC2086
            $compiler -std=$std $warnings $mode -I. -c -o "$tmp/c.o" tests/cxx/accepts.c >"$tmp/log" 2>&1
            report "C is accepted, $compiler $std $mode" $?
        done
    done
done

# shellcheck disable=SC2086
gcc -std=c99 $W -UMTRACE -include stdlib.h "-DMTRACE_BASE_MALLOC(n)=malloc(n)" "-DMTRACE_BASE_CALLOC(c,n)=calloc(c,n)" \
    "-DMTRACE_BASE_REALLOC(p,n)=realloc(p,n)" "-DMTRACE_BASE_FREE(p)=free(p)" -I. -c -o "$tmp/c.o" tests/cxx/accepts.c >"$tmp/log" 2>&1
report "C is accepted with an allocator of one's own" $?

# In C++ no call site has a guard variable and no lambda is a function of its own, even without optimization. The user
# may have a macro T.
for compiler in g++ clang++; do
    warnings="$W -Wold-style-cast -Wzero-as-null-pointer-constant"
    [ $compiler = clang++ ] || warnings="$warnings -Wuseless-cast"
    for mode in -UMTRACE -DMTRACE; do
        for std in c++11 c++14 c++17 c++20; do
            case "$std $mode" in "c++14 -UMTRACE" | "c++17 -UMTRACE") continue ;; esac
            # shellcheck disable=SC2086
            $compiler -std=$std $warnings $mode -DT=1 -I. -c -o "$tmp/c++.o" tests/cxx/accepts.cpp >"$tmp/log" 2>&1 &&
                ! nm "$tmp/c++.o" | grep -E '_ZGV.*mtrace_site_|[TtWw] .*UlvE.*clEv$' >"$tmp/log"
            report "C++ is accepted, $compiler $std $mode" $?
        done
    done
done

# Each marked line is refused with its text, and no other line is.
misuse() { # NAME FILE COMPILER-ARGUMENT...
    "${@:3}" -I. -fsyntax-only "$2" >"$tmp/out" 2>&1
    python3 - "$2" "$tmp/out" >"$tmp/log" <<'END'
import re, sys
name, said = sys.argv[1], open(sys.argv[2]).read()
marked = {}
for number, line in enumerate(open(name), 1):
    for text in re.findall(r"refused:(.*?)(?:\*/)?$", line.strip()):
        marked[number] = text.strip()
lines = {int(n) for n in re.findall(re.escape(name) + r":(\d+):\d+: (?:error|note: in instantiation)", said)}
lines |= {int(n) for n in re.findall(re.escape(name) + r":(\d+):\d+: *required from here", said)}
wrong = sorted(lines ^ set(marked))
missing = sorted(t for t in marked.values() if t not in said)
print("lines", *wrong, "texts", *missing)
sys.exit(bool(wrong or missing or not marked))
END
    report "$1" $?
}
for mode in -UMTRACE -DMTRACE; do
    misuse "misuse in C is refused, gcc $mode" tests/cxx/refuses.c gcc -std=c99 -w -ftrack-macro-expansion=0 $mode
    misuse "misuse in C is refused, clang $mode" tests/cxx/refuses.c clang -std=c99 -ferror-limit=0 -Wno-everything $mode
    misuse "misuse in C++ is refused, g++ $mode" tests/cxx/refuses.cpp g++ -std=c++11 -w -ftrack-macro-expansion=0 $mode
    misuse "misuse in C++ is refused, clang++ $mode" tests/cxx/refuses.cpp clang++ -std=c++17 -ferror-limit=0 $mode
done
misuse "a 64-bit key on 32 bits is refused" tests/cxx/refuses.c \
    gcc -m32 -idirafter "/usr/include/$(gcc -print-multiarch)" -std=c99 -w -ftrack-macro-expansion=0 -DMTRACE

# A C++ compiler without its library, as on bare metal.
# shellcheck disable=SC2086
g++ -nostdinc++ -std=c++11 $W -DMTRACE -I. -fsyntax-only -x c++ tests/objcode/off.c >"$tmp/log" 2>&1
report "C++ without the library's headers" $?

# --- call sites of C++ name their functions; the implementation is C ---

printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace_ext.h"' >"$tmp/mtrace.c"
gcc -std=c99 -DMTRACE -I. -c -o "$tmp/mtrace.o" "$tmp/mtrace.c"
for compiler in g++ clang++; do
    $compiler -std=c++17 -g -DMTRACE -I. -o "$tmp/sites" tests/cxx/sites.cpp "$tmp/mtrace.o" -lpthread >"$tmp/log" 2>&1 &&
        "$tmp/sites" >"$tmp/log" 2>&1
    report "call sites name their functions, $compiler" $?
done

# --- operator new, allocators and objects; the implementation is C. The oracle is an allocator without aligned blocks ---

oracle='-DMTRACE_CONFIG_FILE="tests/cxx/oracle.h"'
gcc -std=c99 -DMTRACE -I. "$oracle" -c -o "$tmp/oracle.o" "$tmp/mtrace.c"
gcc -std=c99 -O1 -g -fsanitize=address,undefined -DMTRACE -I. -c -o "$tmp/asan.o" "$tmp/mtrace.c"
operators() { # COMPILER-ARGUMENT...
    "$@" -rdynamic -Wall -Wextra -pedantic -Wconversion -Wshadow -I. -o "$tmp/operators" tests/cxx/operators.cpp \
        -ldl -lpthread >"$tmp/log" 2>&1 && [ ! -s "$tmp/log" ] &&
        ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0 "$tmp/operators" >"$tmp/log" 2>&1
    report "operators: ${*##*/}" $?
}
operators g++ -std=c++11 -DMTRACE "$tmp/mtrace.o"
operators g++ -std=c++20 -O2 -DMTRACE "$oracle" "$tmp/oracle.o"
operators clang++ -std=c++17 -O2 -DMTRACE "$oracle" "$tmp/oracle.o"
operators clang++ -std=c++14 -DMTRACE -fno-exceptions -fno-rtti "$tmp/mtrace.o"
operators g++ -std=c++17 -UMTRACE
operators g++ -std=c++17 -DMTRACE -fsanitize=address,undefined "$tmp/asan.o"

# A plugin with mt::make can be unloaded.
for compiler in g++ clang++; do
    $compiler -std=c++17 -DMTRACE -I. -fPIC -shared -o "$tmp/plugin.so" tests/cxx/plugin.cpp >"$tmp/log" 2>&1 &&
        gcc -std=c99 -Wall -Wextra -DMTRACE -I. -rdynamic -o "$tmp/host" tests/cxx/host.c "$tmp/mtrace.o" -ldl -lpthread >"$tmp/log" 2>&1 &&
        "$tmp/host" "$tmp/plugin.so" >"$tmp/log" 2>&1
    report "a plugin is unloaded, $compiler" $?
done
printf '%s\n' '#include "mtrace_ext.h"' >"$tmp/operators.c"
gcc -std=c99 -DMTRACE -DMTRACE_OPERATOR_NEW -I. -fsyntax-only "$tmp/operators.c" >"$tmp/log" 2>&1 || true
[ "$(grep -c error: "$tmp/log")" -eq 1 ] && grep -q 'MTRACE_OPERATOR_NEW belongs into one file of C++' "$tmp/log"
report "MTRACE_OPERATOR_NEW in C is refused" $?
exit $failed
