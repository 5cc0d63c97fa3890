#!/usr/bin/env bash
# Stacks of real programs are exact: at each allocation of sqlite3, of Python and of a C++ program the stack that
# mtrace's unwinder reads or remembers, of 24 frames, is the one of the compiler's _Unwind_Backtrace.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

bad() {
    echo "not ok unwind: $1"
    failed=1
}

# same NAME LEAST COMMAND...: the program ran, at least that many stacks were compared, none differed, and half of them
# were remembered.
same() {
    local name=$1 least=$2 compared differed shallow remembered
    rm -f "$tmp/counts"
    if ! UNWOUND="$tmp/counts" LD_PRELOAD="$tmp/unwound.so" "${@:3}" >"$tmp/log" 2>&1; then
        bad "$name: the program failed: $(tail -n 1 "$tmp/log")"
    elif ! read -r compared differed shallow remembered <"$tmp/counts"; then
        bad "$name: nothing was compared"
    elif [ "$compared" -lt "$least" ] || [ "$differed" -ne 0 ] || [ $((shallow * 2)) -gt "$compared" ] ||
        [ $((remembered * 2)) -lt "$compared" ]; then
        bad "$name: of $compared stacks $differed differ, $shallow have less than three frames, $remembered were remembered"
    else
        echo "ok unwind: $name, $compared stacks, $((remembered * 100 / compared)) % remembered"
    fi
}

build=(gcc -std=gnu99 -O2 -w -DMTRACE -I. -fPIC -shared)
"${build[@]}" -o "$tmp/unwound.so" tests/support/unwound.c -lpthread || exit 1
for flags in "-O0" "-O2" "-O3 -fomit-frame-pointer" "-O2 -fno-omit-frame-pointer -mpreferred-stack-boundary=5"; do
    # shellcheck disable=SC2086
    g++ -std=c++11 $flags -o "$tmp/program" tests/support/unwound.cpp -lpthread || exit 1
    same "C++, gcc $flags" 20000 "$tmp/program"
done
clang++ -std=c++11 -O2 -o "$tmp/program" tests/support/unwound.cpp -lpthread || exit 1
same "C++, clang -O2" 20000 "$tmp/program"

gcc -std=c99 -O2 -o "$tmp/program" tests/support/wrapper.c || exit 1
same "C, all by one function" 20000 "$tmp/program"

cat >"$tmp/rows.sql" <<'END'
create table t(a integer primary key, b text, c real);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 12000)
    insert into t select x, hex(randomblob(10)), x / 7.0 from n;
create index i on t(b);
select count(*), sum(length(b)), group_concat(a) from t group by a % 9 having count(*) > 3;
select x.a, y.b from t x join t y on x.a = y.a + 1 where x.c > 3 order by y.b limit 50;
update t set b = b || 'x' where a % 3 = 0;
select json_extract('{"a":[1,2,{"b":3}]}', '$.a[2].b'), printf('%08.3f', c) from t limit 500;
END
same "sqlite3" 20000 sqlite3 -batch "$tmp/db" ".read $tmp/rows.sql"

python=$(python3 -c 'import sys; print(sys.executable)')
cat >"$tmp/rows.py" <<'END'
import collections, decimal, json, re, textwrap
def deep(n):
    return [n] if n == 0 else deep(n - 1) + [str(n)]
for i in range(60):
    text = json.dumps({"a": list(range(i)), "b": {str(k): k * 1.5 for k in range(20)}})
    json.loads(text)
    re.compile("(a|b)*c%d" % i).match("abab" * 5 + "c")
    deep(i)
    collections.Counter(textwrap.wrap(text, 20))
    sorted((decimal.Decimal(k) / 7 for k in range(20)), key=str)
END
same "python3" 50000 env PYTHONMALLOC=malloc "$python" "$tmp/rows.py"

# A library takes the place of another one that was unloaded.
library=(gcc -std=gnu99 -O1 -fPIC -shared -Wl,--build-id tests/modules/unloaded.c)
"${library[@]}" -DFRAME=256 -o "$tmp/a.so" && "${library[@]}" -DFRAME=1024 -o "$tmp/b.so" || exit 1
for compiler in gcc clang; do
    $compiler -std=gnu99 -O1 -w -DMTRACE -DHOST -I. -o "$tmp/host" tests/modules/unloaded.c -ldl -lpthread || exit 1
    if [ "$("$tmp/host" "$tmp/a.so" "$tmp/b.so" 2>&1 | tail -n 1)" = fine ]; then
        echo "ok unwind: a library in the place of another one, $compiler"
    else
        bad "a library in the place of another one, $compiler: $("$tmp/host" "$tmp/a.so" "$tmp/b.so" 2>&1 | tail -n 1)"
    fi
done

# A module is unloaded, and another one comes to its place: the same return address, another frame. The old rule would
# read the saved rbp where there is none. The program does not say mtrace_forget_code.
cat >"$tmp/plugin.S" <<'END'
.text
.globl plugin
.type plugin,@function
plugin:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset 6,-16
#ifdef WITH_FRAME
    movq %rsp,%rbp
    .cfi_def_cfa_register 6
#else
    subq $0x100,%rsp
    .cfi_def_cfa_offset 0x110
    movabsq $0x7ffffffffff0,%rbp
#endif
    .balign 64
    call *%rdi
    .balign 64
#ifdef WITH_FRAME
    leave
    .cfi_def_cfa 7,8
#else
    addq $0x100,%rsp
    .cfi_def_cfa_offset 16
    popq %rbp
    .cfi_def_cfa_offset 8
#endif
    ret
    .cfi_endproc
.size plugin,.-plugin
.section .note.GNU-stack,"",@progbits
END
cat >"$tmp/reload.c" <<'END'
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"
#include <dlfcn.h>
#include <stdio.h>

static const char *const paths[2] = {"./a.so", "./b.so"};

static void *allocate(void) {
    void *block = mtrace_malloc(16);
    __asm__ __volatile__("");
    return block;
}

/* Prints where the function is, the plugin's frame of the stack, and how many frames it has beneath. */
static void run(const char *path) {
    void *library = dlopen(path, RTLD_NOW), *(*plugin)(void *(*)(void));
    mtrace_frame frames[32];
    mtrace_block block;
    uint32_t last;
    *(void **)&plugin = dlsym(library, "plugin");
    mtrace_find_tracked(&block, 0, (uintptr_t)plugin(allocate), frames, 32);
    last = block.traceback.count - 2;
    printf("%p %s %d\n", (void *)(uintptr_t)plugin, last < 32 ? frames[last].file : "", last > 2);
    dlclose(library);
}

int main(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    int i;
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_TABLES);
    desc.native_frames = 16;
    mtrace_start(&desc);
    for (i = 0; i < 5; i++) {
        run(paths[i % 2]);
    }
    return 0;
}
END
gcc -std=gnu99 -O1 -w -DMTRACE -I. -o "$tmp/reload" "$tmp/reload.c" -ldl -lpthread || exit 1
for id in sha1 none; do
    gcc -shared -DWITH_FRAME -Wl,--build-id=$id -o "$tmp/a.so" "$tmp/plugin.S" || exit 1
    gcc -shared -Wl,--build-id=$id -o "$tmp/b.so" "$tmp/plugin.S" || exit 1
    lines=$(cd "$tmp" && setarch -R ./reload | sed 's/^/place /')
    if [ "$(cut -d ' ' -f 2 <<<"$lines" | sort -u | wc -l)" -ne 1 ]; then
        bad "build id $id: the modules lie at several places: $lines"
    elif [ "$(cut -d ' ' -f 3-4 <<<"$lines" | tr '\n' ' ')" != "./a.so 1 ./b.so 1 ./a.so 1 ./b.so 1 ./a.so 1 " ]; then
        bad "build id $id: a module that came in the place of another: $lines"
    else
        echo "ok unwind: another module in the place, build id $id"
    fi
done

exit $failed
