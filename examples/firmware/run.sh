#!/bin/sh
# run.sh: builds the image and runs it in qemu. The exit status is the firmware's.
set -eu

here=$(dirname "$0")
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

"$here/build.sh" "$build/firmware.elf"
timeout 30 qemu-system-arm -M mps2-an385 -display none -monitor none -serial stdio \
    -semihosting-config enable=on,target=native -kernel "$build/firmware.elf" </dev/null
