#!/usr/bin/env bash
# The most stack that a call takes on a Cortex-M3 with -Os, by the compiler's own call graph. Callbacks, the allocator
# beneath and abort() are not counted. Recursion is a fault. Ends with the table for the manual. A row has a limit
# (LIMIT or LIMIT>AIM), the NAME of stack_NAME in tests/support/stack.c, and its text. A run in qemu may not use more
# than was computed. docs/FIRMWARE.md has the limits.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/include"
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$tmp/include" # alone: a cross compiler must not see the host's headers

arm=(arm-none-eabi-gcc -std=c99 -mcpu=cortex-m3 -mthumb -Os --specs=nano.specs --specs=rdimon.specs
    -ffunction-sections -fdata-sections -Wall -Wextra -pedantic -Werror -DMTRACE -I. -isystem "$tmp/include"
    -DMTRACE_NO_RECORDER -DMTRACE_NO_PROFILE -DMTRACE_NO_USAGE -DMTRACE_NO_ENVIRONMENT
    -DMTRACE_LOCK_STATE=uint32_t
    -D'MTRACE_LOCK(state)=__asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(state) : : "memory")'
    -D'MTRACE_UNLOCK(state)=__asm__ volatile("msr primask, %0" : : "r"(state) : "memory")')
cortex=examples/firmware/boards/cortex_m
if ! "${arm[@]}" -fcallgraph-info=su -c tests/support/stack.c -o "$tmp/stack.o" ||
    ! "${arm[@]}" -nostartfiles -Wl,--gc-sections,--emit-relocs,--defsym=flash_size=256K,--defsym=ram_size=64K \
        -T "$cortex.ld" "$cortex.c" "$tmp/stack.o" -o "$tmp/stack.elf"; then
    echo "not ok tests/support/stack.c builds"
    exit 1
fi
timeout 30 qemu-system-arm -M mps2-an385 -display none -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$tmp/stack.elf" </dev/null | tr -d '\r' >"$tmp/measured"
measure() {
    python3 tests/stack.py "$tmp/stack.ci" "$tmp/stack.elf" arm-none-eabi- "$tmp/measured"
}
limits=$(cat <<'LIMITS'
260      malloc        MT_MALLOC
260      calloc        MT_CALLOC
320      realloc       MT_REALLOC
260      free          MT_FREE
240      track         MT_TRACK
140      untrack       MT_UNTRACK
220      scope         MT_SCOPE
600      print_top     mtrace_print_top
940      print         mtrace_print
600      print_leaks   mtrace_print_leaks
600      print_diff    mtrace_print_diff
100      set_baseline  mtrace_set_baseline
620>600      no_growth     MT_ASSERT_NO_GROWTH
268      start         mtrace_start
300      check         mtrace_check
620      take          mtrace_snapshot_take
440      statistics    mtrace_snapshot_statistics
480      compare       mtrace_snapshot_compare_to
660      report        mtrace_report
1816     dump          mtrace_snapshot_dump_to
1140     command       mtrace_command
LIMITS
)
measure <<<"$limits"
failed=$?
while read -r limit name text; do
    grep -qF "| \`${text//, /\`, \`}\` | ${limit%%>*} |" docs/FIRMWARE.md || {
        echo "not ok $name: docs/FIRMWARE.md does not say ${limit%%>*}"
        failed=1
    }
done <<<"$limits"
measure <<<'40 malloc MT_MALLOC' >"$tmp/log"
grep -q '^not ok malloc: [0-9]* bytes of stack, at most 40' "$tmp/log" || {
    echo "not ok a call above its limit fails"
    failed=1
}
exit $failed
