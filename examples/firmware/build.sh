#!/bin/sh
# build.sh OUTPUT.elf: compiles the image and says how large it is.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: build.sh OUTPUT.elf" >&2
    exit 2
fi
output=$1
here=$(dirname "$0")

# xxhash.h alone: with all of /usr/include the compiler would find the host's headers.
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$include/xxhash.h"

arm-none-eabi-gcc -std=c99 -mcpu=cortex-m3 -mthumb -Os -g \
    -Wall -Wextra -pedantic -Wconversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes \
    -ffunction-sections -fdata-sections -Wl,--gc-sections \
    -DMTRACE -I "$here/../.." -isystem "$include" \
    --specs=nano.specs --specs=rdimon.specs -nostartfiles -T "$here/an385.ld" \
    "$here/startup.c" "$here/main.c" -o "$output"

arm-none-eabi-size "$output"
arm-none-eabi-nm --print-size --radix=d "$output" |
    awk 'tolower($3) ~ /[tr]/ && $4 ~ /^(mtrace_|XXH)/ { bytes += $2 }
         END { printf "of the text, mtrace with xxHash: %d bytes\n", bytes }'
