#!/bin/sh
# run.sh [BOARD [FOLDER [OPTION...]]]: builds the image for a board (mps2-an385) and runs it in qemu. The firmware writes
# its snapshot to FOLDER/firmware.mtrace. The exit status is the firmware's. Boards and options: see build.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
board=${1:-mps2-an385}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
folder=${2:-$build}
[ $# -lt 2 ] || shift
[ $# -eq 0 ] || shift

case $board in
riscv32) machine="qemu-system-riscv32 -M virt -bios none" ;;
*) machine="qemu-system-arm -M $board" ;;
esac
"$here/build.sh" "$board" "$build/firmware.elf" "$@"
cd "$folder"
# shellcheck disable=SC2086 # a list
timeout 30 $machine -display none -monitor none -serial stdio \
    -semihosting-config enable=on,target=native -kernel "$build/firmware.elf" </dev/null
