#!/bin/sh
# console.sh: builds console.c and runs it in qemu. Type into it, or give it lines: printf 'load\rtop\rquit\r' | console.sh
# The exit status is the firmware's.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$build/xxhash.h"

arm-none-eabi-gcc -std=c99 -Os -mcpu=cortex-m3 -mthumb \
    -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes \
    -ffunction-sections -fdata-sections -Wl,--gc-sections -fmacro-prefix-map="$here/=" \
    -DMTRACE -DMTRACE_NO_FILES -DMTRACE_NO_RECORDER -DMTRACE_NO_PROFILE -DMTRACE_NO_USAGE -DMTRACE_NO_ENVIRONMENT \
    -I "$here/../.." -isystem "$build" --specs=nano.specs --specs=rdimon.specs -nostartfiles \
    -Wl,--defsym=flash_size=256K,--defsym=ram_size=64K -T "$here/boards/cortex_m.ld" \
    "$here/boards/cortex_m.c" "$here/boards/mps2.c" "$here/console.c" -o "$build/console.elf"
qemu-system-arm -M mps2-an385 -display none -monitor none -serial stdio \
    -semihosting-config enable=on,target=native -kernel "$build/console.elf"
