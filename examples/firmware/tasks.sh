#!/bin/sh
# tasks.sh: builds tasks.c and runs it in qemu, where an instruction takes 32 ns. The exit status is the firmware's.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$build/xxhash.h"

arm-none-eabi-gcc -std=c99 -Os -mcpu=cortex-m3 -mthumb \
    -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes \
    -ffunction-sections -fdata-sections -Wl,--gc-sections \
    -DMTRACE -I "$here/../.." -isystem "$build" --specs=nano.specs --specs=rdimon.specs -nostartfiles \
    -Wl,--defsym=flash_size=256K,--defsym=ram_size=64K -T "$here/boards/cortex_m.ld" \
    "$here/boards/cortex_m.c" "$here/tasks.c" -o "$build/tasks.elf"
timeout 30 qemu-system-arm -M mps2-an385 -icount shift=5 -display none -monitor none -serial stdio \
    -semihosting-config enable=on,target=native -kernel "$build/tasks.elf" </dev/null
