#!/usr/bin/env bash
# Names of code as its users see them: programs of real compilers, real debug information, real addr2line. The
# addresses of all instructions get what addr2line itself says. Separate debug files, stripped files, another machine,
# no programs, C++, 32 bits. Reports of a program with an unwinder.
set -u
cd "$(dirname "$0")/.." || exit 1
top=$PWD tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
flags=(-Wall -Wextra -Werror -DMTRACE -I"$top")

# check NAME COMMAND...: the command succeeds.
check() {
    if "${@:2}" >"$tmp/log" 2>&1; then
        echo "ok names: $1"
    else
        echo "not ok names: $1: $(tail -n 1 "$tmp/log")"
        failed=1
    fi
}

# shows PATTERN FILE: a line of the file matches.
shows() {
    grep -Eq -- "$1" "$2" || { cat "$2"; return 1; }
}

# --- a resolver: `resolver snapshot FILE [ROOT [DEBUG]]` prints rows by traceback; `resolver FILE ADDRESS...` answers as
# addr2line -a -f -i -C does ---
cat >"$tmp/resolver.c" <<'C'
#include "mtrace_ext.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mtrace_resolve_desc desc;

static int report(const char *file) {
    mtrace_snapshot *s, *named;
    mtrace_rows *rows;
    mtrace_report_desc how = MTRACE_ZERO_;
    how.style = MTRACE_STYLE_WARNINGS;
    return mtrace_snapshot_load(&s, file, NULL) != MTRACE_OK ||
           mtrace_snapshot_resolve(&named, s, &desc) != MTRACE_OK ||
           mtrace_snapshot_statistics(&rows, named, MTRACE_BY_TRACEBACK, NULL) != MTRACE_OK ||
           mtrace_report(rows, &how) != MTRACE_OK;
}

static int answer(const char *file, char **addresses, size_t count) {
    mtrace_module module = MTRACE_ZERO_;
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_frame *frames = (mtrace_frame *)calloc(count, sizeof *frames);
    mtrace_row *rows = (mtrace_row *)calloc(count, sizeof *rows);
    mtrace_snapshot *s, *named;
    size_t i;
    uint32_t j;
    module.path = file;
    for (i = 0; i < count; i++) {
        frames[i].module = &module;
        frames[i].address = strtoull(addresses[i], NULL, 16);
        rows[i].traceback.frames = &frames[i];
        rows[i].traceback.count = 1;
    }
    parts.rows = rows;
    parts.row_count = count;
    parts.modules = &module;
    parts.module_count = 1;
    if (mtrace_snapshot_make(&s, &parts, NULL) != MTRACE_OK ||
        mtrace_snapshot_resolve(&named, s, &desc) != MTRACE_OK) {
        return 1;
    }
    parts = mtrace_snapshot_get_parts(named);
    for (i = 0; i < count; i++) {
        const mtrace_traceback *t = &parts.rows[i].traceback;
        printf("0x%016llx\n", (unsigned long long)t->frames[0].address);
        for (j = t->count; j-- > 0;) {
            const mtrace_frame *f = &t->frames[j];
            printf("%s\n", f->function != NULL ? f->function : "??");
            printf(f->line != 0 ? "%s:%u\n" : "??:0\n", f->file, f->line);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    mtrace_write_fn write = mtrace_write_file;
    desc.write = write;
    desc.write_user = stderr;
    if (strcmp(argv[1], "snapshot") == 0) {
        desc.root = argc > 3 ? argv[3] : NULL;
        desc.debug = argc > 4 ? argv[4] : NULL;
        return report(argv[2]);
    }
    return answer(argv[1], argv + 2, (size_t)(argc - 2));
}
C

# --- code with inlined functions in two files ---
cat >"$tmp/inline.h" <<'C'
extern void *take(unsigned size);
extern void *volatile sink;
static inline __attribute__((always_inline)) void inner(unsigned size) {
    sink = take(size); /* INNER */
}
C
cat >"$tmp/library.c" <<'C'
#include "inline.h"
void *volatile sink;
static inline __attribute__((always_inline)) void middle(unsigned size) {
    inner(size + 1); /* MIDDLE */
    sink = 0;
}
static __attribute__((noinline)) void hidden(unsigned size) {
    middle(size); /* HIDDEN */
    sink = 0;
}
void outer(unsigned size);
void outer(unsigned size) {
    hidden(size); /* OUTER */
    sink = 0;
}
C
cat >"$tmp/program.c" <<'C'
#include "mtrace_ext.h"
#include <stdio.h>
void outer(unsigned size);
void *take(unsigned size);
__attribute__((noinline)) void *take(unsigned size) {
    void *block = mtrace_malloc(size); /* TAKE */
    ((volatile char *)block)[0] = 1;
    return block;
}
int main(int argc, char **argv) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_print_desc print = MTRACE_ZERO_;
    mtrace_snapshot *s;
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    desc.native_frames = 4;
    mtrace_start(&desc);
    outer(99);
    if (argc > 1) {
        return mtrace_snapshot_take(&s, false, NULL) != MTRACE_OK ||
               mtrace_snapshot_dump(s, argv[1]) != MTRACE_OK;
    }
    print.key_type = MTRACE_BY_TRACEBACK;
    print.report.style = MTRACE_STYLE_WARNINGS;
    mtrace_print(&print);
    rename("addr2line.log", "addr2line.first");
    return mtrace_print(&print);
}
C
cat >"$tmp/classes.cpp" <<'C'
#include <string>
#include <vector>
namespace game {
template <class T> struct list {
    std::vector<T> all;
    __attribute__((noinline)) void add(T t) { all.push_back(t); }
};
struct world {
    list<std::string> names;
    __attribute__((noinline)) void load(int n) {
        auto add = [&](const char *name) { names.add(name); };
        for (int i = 0; i < n; i++) {
            add("a name that is too long for the object itself");
        }
    }
};
}
int main(int argc, char **) {
    game::world w;
    w.load(argc);
    return w.names.all.size() == 0;
}
C
cd "$tmp" || exit 1
line() { grep -n "$1" "$2" | cut -d : -f 1; }
chain() { # the notes of the report: "file:line function", innermost first
    sed -nE 's/^([^ ]*): warning: .* allocated in (.*)$/\1 \2/p; s/^([^ ]*): note: inside (.*)$/\1 \2/p' "$1" | sed 's|.*/||'
}
expected="program.c:$(line TAKE program.c) take
inline.h:$(line INNER inline.h) inner
library.c:$(line MIDDLE library.c) middle
library.c:$(line HIDDEN library.c) hidden
library.c:$(line OUTER library.c) outer"
is_chain() { [ "$(chain "$1" | head -n 5)" = "$expected" ] || { cat "$1"; return 1; }; }

printf '%s\n' '#define MTRACE_IMPLEMENTATION' '#include "mtrace_ext.h"' >implementation.c
check "mtrace builds" gcc -std=c99 -O0 -g1 "${flags[@]}" -c implementation.c
check "a resolver builds" gcc -std=c99 -g "${flags[@]}" resolver.c implementation.o -o resolver

# --- all instructions ---
same_as_addr2line() { # FILE
    local addresses
    addresses=$(objdump -d -j .text "$1" | sed -nE 's/^ *([0-9a-f]+):\t.*/0x\1/p')
    # shellcheck disable=SC2086
    ./resolver "$1" $addresses >ours &&
        addr2line -a -f -i -C -e "$1" $addresses |
        sed -E 's/ \(discriminator [0-9]+\)$//; s/:\?$/:0/; s/^([^?].*)?:0$/??:0/' >theirs &&
        python3 - <<'P'
def answers(name):
    result, lines = {}, open(name).read().splitlines()
    for line in lines:
        if line.startswith("0x"):
            frames = result[int(line, 16)] = []
        else:
            frames.append(line)
    return result
ours, theirs = answers("ours"), answers("theirs")
inlined = 0
assert ours.keys() == theirs.keys() and len(ours) > 9, (len(ours), len(theirs))
for address, frames in theirs.items():
    has_line = any(line != "??:0" for line in frames[1::2])
    if has_line:
        inlined += len(frames) > 2
        assert ours[address] == frames, (address, ours[address], frames)
    else:
        assert ours[address][1:] == ["??:0"] and ours[address][0] in ("??", frames[0]), (address, ours[address], frames)
assert inlined > 0, inlined
P
}
for how in "gcc -O2" "clang -O2" "gcc -m32 -O2" "gcc -O2 -gz"; do
    check "${how}: builds" bash -c "$how -g -fPIC -shared -nostdlib -include stddef.h library.c -o library-x.so"
    check "${how}: each instruction is as addr2line says" same_as_addr2line library-x.so
done
check "C++ builds" g++ -O2 -g classes.cpp -o classes
check "C++: each instruction is as addr2line says" same_as_addr2line ./classes

# --- reports ---
gcc -O2 -g -fPIC -shared library.c -o liblibrary.so
check "a program with a library builds" gcc -std=c99 -g "${flags[@]}" program.c implementation.o -o program -L. -llibrary \
    "-Wl,-rpath,$tmp"
mkdir bin
cat >bin/addr2line <<S
#!/bin/sh
echo "\$LD_PRELOAD\$MTRACE" >>addr2line.log
exec "$(command -v addr2line)" "\$@"
S
chmod 755 bin/addr2line
check "a report runs" bash -c "PATH=$tmp/bin:\$PATH ./program >report"
check "... with inlined functions of the library" is_chain report
check "... and starts addr2line once for each module with lines" [ "$(wc -l <addr2line.first)" = 2 ]
check "the next report does not" [ ! -e addr2line.log ]
check "no programs: it runs" bash -c 'PATH=/nowhere ./program >bare'
check "... with names of symbols" shows "/liblibrary.so\+0x[0-9a-f]+: note: inside hidden\$" bare

check "without build ids" bash -c "mkdir plain && gcc -O2 -g -fPIC -shared -Wl,--build-id=none library.c -o plain/liblibrary.so &&
    gcc -std=c99 -g ${flags[*]} program.c implementation.o -Wl,--build-id=none -o plain/program -Lplain -llibrary &&
    LD_LIBRARY_PATH=plain plain/program >plain/report"
check "... the size in memory will do" is_chain plain/report

# --- C++: the standard library's functions are skipped by their names, inlined or not ---
cat >containers.cpp <<'C'
#include <map>
#include <memory>
#include <string>
#include <vector>
#define MTRACE_OPERATOR_NEW
#include "mtrace_ext.h"
__attribute__((noinline)) static void fill(std::vector<int> &v) {
    v.resize(100000); /* VECTOR */
}
__attribute__((noinline)) static void name(std::map<int, std::string> &m) {
    m[1].assign(50000, 'x'); /* STRING */
}
__attribute__((noinline)) static std::shared_ptr<char> share() {
    return std::shared_ptr<char>(new char[20000], std::default_delete<char[]>()); /* SHARED */
}
int main() {
    mtrace_desc desc = mtrace_desc();
    mtrace_print_desc print = mtrace_print_desc();
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    desc.native_frames = 12;
    mtrace_start(&desc);
    std::vector<int> v;
    std::map<int, std::string> m;
    fill(v);
    name(m);
    std::shared_ptr<char> s = share();
    print.report.style = MTRACE_STYLE_WARNINGS;
    print.report.top = 3;
    return mtrace_print(&print);
}
C
check "containers build" g++ -std=c++11 -O2 -fno-optimize-sibling-calls -g "${flags[@]}" \
    containers.cpp implementation.o -o containers
check "containers run" bash -c './containers >containers.report'
check "each is charged to the function that uses it" [ "$(sed -nE 's/.*(containers.cpp:[0-9]+): warning: .* allocated in ([a-z]+).*/\1 \2/p' \
    containers.report)" = "containers.cpp:$(line VECTOR containers.cpp) fill
containers.cpp:$(line STRING containers.cpp) name
containers.cpp:$(line SHARED containers.cpp) share" ]

# --- snapshots, here and elsewhere ---
check "a snapshot is saved" ./program saved
check "it is resolved later" bash -c './resolver snapshot saved >later 2>why'
check "... to the same" is_chain later
id=$(readelf -n liblibrary.so | sed -n 's/.*Build ID: //p')
mkdir -p "debug/.build-id/${id:0:2}" "root$tmp" flat
check "debug information goes apart" bash -c "
    objcopy --only-keep-debug liblibrary.so 'debug/.build-id/${id:0:2}/${id:2}.debug' && strip liblibrary.so && objcopy --add-gnu-debuglink=inline.h liblibrary.so"
check "stripped, it runs" bash -c './resolver snapshot saved >stripped 2>why'
check "... and knows exported names alone" shows "/liblibrary.so\+0x[0-9a-f]+: note: inside outer\$" stripped
check "... not the name of a symbol before" bash -c '! grep -E "library.so.*(hidden|middle|inner|take)" stripped'
check "with a debug file by build id" bash -c './resolver snapshot saved "" debug >apart 2>why'
check "... all is back" is_chain apart
mv liblibrary.so "root$tmp/" && cp program "root$tmp/"
check "another machine's files" bash -c './resolver snapshot saved root debug >other 2>why'
check "... name the same" is_chain other
cp "root$tmp"/* flat/
check "in one folder" bash -c './resolver snapshot saved flat debug >other 2>why'
check "... too" is_chain other
check "a changed library" bash -c "sed -i 's/size + 1/size + 2/' library.c && gcc -O2 -g -fPIC -shared library.c -o liblibrary.so &&
    ./resolver snapshot saved >changed 2>why"
check "... gives no names" bash -c '! grep -E "library.c|inline.h" changed'
check "... and says so" shows "no names for .*/liblibrary.so: the file is of another build" why

# --- without programs ---
check "a resolver with the C++ library builds" g++ -Wl,--no-as-needed "${flags[@]}" -x c++ resolver.c -x none \
    implementation.o -o resolver++
load=$(nm classes | sed -n 's/^\([0-9a-f]*\) . _ZN4game5world4loadEi$/\1/p')
check "C++ has C++ names" [ "$(PATH=/nowhere ./resolver++ ./classes "$load" | sed -n 2p)" = "game::world::load(int)" ]
check "C has their symbols" [ "$(PATH=/nowhere ./resolver ./classes "$load" | sed -n 2p)" = "_ZN4game5world4loadEi" ]
strip --strip-debug classes
check "C asks addr2line for them" [ "$(./resolver ./classes "$load" | sed -n 2p)" = "game::world::load(int)" ]
exit $failed
