#!/usr/bin/env bash
# Builds and runs a small project for each way to use the package. Also checks the message when xxHash is missing.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok consumer $1"; else
        echo "not ok consumer $1: $(grep -v '^--' "$tmp/log" | head -n 2 | tr '\n' ' ')"
        failed=1
    fi
}

consume() { # NAME CMAKE-ARGUMENT...: by a project of C, and by one of C++ alone
    local language
    for language in C CXX; do
        cmake -S "tests/consumers/$1" -B "$tmp/$1.$language" -DLANGUAGE=$language "${@:2}" >"$tmp/log" 2>&1 &&
            cmake --build "$tmp/$1.$language" >"$tmp/log" 2>&1 && "$tmp/$1.$language/consumer"
        report "$1, $language" $?
    done
}

cmake -S . -B "$tmp/build" -DMTRACE_BUILD_TESTS=OFF -DCMAKE_INSTALL_PREFIX="$tmp/prefix" >"$tmp/log" 2>&1 &&
    cmake --build "$tmp/build" >"$tmp/log" 2>&1 && cmake --install "$tmp/build" >"$tmp/log" 2>&1
report install $?
mv "$tmp/prefix" "$tmp/moved" # an installed package may be moved

consume find_package -DCMAKE_PREFIX_PATH="$tmp/moved"
consume add_subdirectory -DMTRACE_SOURCE="$PWD"

# FetchContent needs a repository. This one is made of the files as they are now.
mkdir "$tmp/repository" && git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t "$tmp/repository" &&
    (cd "$tmp/repository" && git init -q -b main && git add -A &&
        git -c user.name=test -c user.email=test@localhost commit -q -m test) >"$tmp/log" 2>&1
report "repository for fetch_content" $?
consume fetch_content -DMTRACE_REPOSITORY="file://$tmp/repository"

PKG_CONFIG_PATH="$tmp/moved/share/pkgconfig" make -C tests/consumers/pkg_config OUT="$tmp/pc" >"$tmp/log" 2>&1 && "$tmp/pc"
report pkg_config $?

# The tracer at link time, with the installed files alone.
printf '#include <stdlib.h>\nint main(void) { return malloc(4321) == NULL; }\n' >"$tmp/unchanged.c"
gcc -g -w -DMTRACE -static -I"$tmp/moved/include" "$tmp/unchanged.c" "$tmp/moved/share/mtrace/wrap.c" \
    @"$tmp/moved/share/mtrace/wrap.flags" -o "$tmp/unchanged" >"$tmp/log" 2>&1 &&
    MTRACE=4 MTRACE_REPORT=top "$tmp/unchanged" >"$tmp/log" 2>&1 && grep -q "4.22 KiB .*unchanged.c:2 main" "$tmp/log"
report "wrap.c at link time" $?

# The projects that docs/FAQ.md shows: with the installed package, also as it tells for C++, and with the headers in
# third_party.
python3 - "$tmp/meson" docs/FAQ.md <<'END' >"$tmp/log" 2>&1
import pathlib, re, sys
projects = re.findall(r"^```meson\n(project.*?)^```", open(sys.argv[2]).read(), re.M | re.S)
assert len(projects) == 2
for kind, language, text in ("package", "c", projects[0]), ("package", "cpp", projects[0]), ("folder", "c", projects[1]):
    folder = pathlib.Path(f"{sys.argv[1]}, {kind}, {language}")
    copies = folder / "third_party/mtrace"
    copies.mkdir(parents=True)
    for name in "mtrace.h", "mtrace_ext.h", "/usr/include/xxhash.h":
        (copies / pathlib.Path(name).name).write_text(open(name).read())
    (folder / "meson.build").write_text(re.sub(r"'c'|\.c'|\bc_args", lambda c: c[0].replace("c", language), text))
    (folder / f"main.{language}").write_text(open("tests/consumers/main.c").read())
    (folder / f"level.{language}").write_text("")
END
report "meson's projects" $?
for project in "$tmp"/meson,*; do
    PKG_CONFIG_PATH="$tmp/moved/share/pkgconfig" meson setup -Dwerror=true -Dwarning_level=2 "$project/build" "$project" \
        >"$tmp/log" 2>&1 && ninja -C "$project/build" >"$tmp/log" 2>&1 && "$project/build/game"
    report "${project##*/}" $?
done

# xxHash as a CONFIG package, as its own CMake build installs it.
mkdir -p "$tmp/xxhash/lib/cmake/xxHash" "$tmp/xxhash/include" && cp /usr/include/xxhash.h "$tmp/xxhash/include"
printf 'add_library(xxHash::xxhash INTERFACE IMPORTED)\nset_target_properties(xxHash::xxhash PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "%s")\n' \
    "$tmp/xxhash/include" >"$tmp/xxhash/lib/cmake/xxHash/xxHashConfig.cmake"
cmake -S . -B "$tmp/config" -DMTRACE_BUILD_TESTS=OFF -DCMAKE_PREFIX_PATH="$tmp/xxhash" >"$tmp/log" 2>&1 &&
    ! grep -q '^MTRACE_XXHASH_DIR' "$tmp/config/CMakeCache.txt"
report "xxHash as a CONFIG package" $?

none=(-DMTRACE_BUILD_TESTS=OFF -DCMAKE_DISABLE_FIND_PACKAGE_xxHash=ON -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON
    -DCMAKE_IGNORE_PATH=/usr/include)
! cmake -S . -B "$tmp/none" "${none[@]}" >"$tmp/log" 2>&1 && grep -q "install xxHash (Debian: libxxhash-dev)" "$tmp/log"
report "without xxHash a clear message" $?
cmake -S . -B "$tmp/off" "${none[@]}" -DMTRACE_XXHASH=OFF >"$tmp/log" 2>&1
report "without xxHash and MTRACE_XXHASH=OFF" $?
exit $failed
