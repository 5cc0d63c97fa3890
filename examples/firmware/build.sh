#!/bin/sh
# build.sh BOARD OUTPUT.elf: compiles the image for a board and says how large it is. Boards: microbit (Cortex-M0),
# mps2-an385 (Cortex-M3), mps2-an386 (Cortex-M4 with FPU), riscv32. Options for the compiler may follow.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: build.sh BOARD OUTPUT.elf [OPTION...]" >&2
    exit 2
fi
board=$1 output=$2
shift 2
here=$(dirname "$0")

# A machine's sources and options: cortex_m FLASH RAM BOARD-FILE OPTION...
cortex_m() {
    tools=arm-none-eabi
    sources="$here/boards/cortex_m.c $here/boards/$3"
    machine="-Wl,--defsym=flash_size=$1,--defsym=ram_size=$2 -T $here/boards/cortex_m.ld"
    shift 3
    machine="$* -mthumb --specs=nano.specs --specs=rdimon.specs -nostartfiles $machine"
}
case $board in
microbit) cortex_m 256K 16K microbit.c -mcpu=cortex-m0 ;;
mps2-an385) cortex_m 256K 64K mps2.c -mcpu=cortex-m3 ;;
mps2-an386) cortex_m 256K 64K mps2.c -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard ;;
riscv32)
    tools=riscv64-unknown-elf
    sources=$here/boards/riscv32.c
    machine="-march=rv32imac -misa-spec=2.2 -mabi=ilp32 --specs=picolibc.specs --oslib=semihost --crt0=hosted
        -Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=256K,--defsym=__ram=0x80100000,--defsym=__ram_size=64K"
    ;;
*)
    echo "build.sh: no board $board" >&2
    exit 2
    ;;
esac

# xxhash.h alone: with all of /usr/include the compiler would find the host's headers.
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$include/xxhash.h"

# shellcheck disable=SC2086 # these are lists
$tools-gcc -std=c99 -Os -g \
    -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes \
    -ffunction-sections -fdata-sections -Wl,--gc-sections \
    -DMTRACE -DMTRACE_NO_RECORDER -DMTRACE_NO_PROFILE -DMTRACE_NO_USAGE -DMTRACE_NO_ENVIRONMENT \
    -fmacro-prefix-map="$here/=" -I "$here/../.." -isystem "$include" "$@" $machine $sources "$here/main.c" -o "$output"

$tools-size "$output"
$tools-nm --print-size --radix=d "$output" |
    awk 'tolower($3) ~ /[tr]/ && $4 ~ /^(mtrace_|XXH)/ { bytes += $2 }
         END { printf "of the text, mtrace with xxHash: %d bytes\n", bytes }'
