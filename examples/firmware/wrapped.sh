#!/bin/sh
# wrapped.sh [FOLDER [OPTION...]]: builds wrapped.c, an application that is traced at link time, and runs it in qemu.
# FOLDER (.) then has wrapped.elf, and the firmware's snapshot in wrapped.mtrace. Options go to the compiler in place of
# --specs=nano.specs, the small C library. The exit status is the firmware's.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../../tools
folder=${1:-.}
[ $# -eq 0 ] || shift
[ $# -ne 0 ] || set -- --specs=nano.specs
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$include/xxhash.h"

arm-none-eabi-gcc -std=c99 -Os -g -mcpu=cortex-m3 -mthumb \
    -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes \
    -ffunction-sections -fdata-sections -Wl,--gc-sections \
    -ffile-prefix-map="$PWD=" -ffile-prefix-map="$here/=" \
    -DMTRACE -DMTRACE_CONFIG_FILE='"wrapped.h"' -I "$here" -I "$here/../.." -isystem "$include" \
    --specs=rdimon.specs -nostartfiles \
    -Wl,--defsym=flash_size=256K,--defsym=ram_size=64K -T "$here/boards/cortex_m.ld" "$@" \
    "$here/boards/cortex_m.c" "$here/boards/mps2.c" "$here/wrapped.c" "$tools/wrap.c" "@$tools/wrap.flags" \
    -o "$folder/wrapped.elf"
cd "$folder"
timeout 30 qemu-system-arm -M mps2-an385 -display none -monitor none -serial stdio \
    -semihosting-config enable=on,target=native -kernel wrapped.elf </dev/null
