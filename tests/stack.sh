#!/usr/bin/env bash
# The most stack that a call takes on a Cortex-M3 with -Os, by the compiler's own call graph. Callbacks, the allocator
# beneath and abort() are not counted. Recursion is a fault. Ends with the table for the manual. A row has a limit
# (LIMIT or LIMIT>AIM), the NAME of stack_NAME in tests/support/stack.c, and its text.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/include"
cp "${XXHASH_H:-/usr/include/xxhash.h}" "$tmp/include" # alone: a cross compiler must not see the host's headers

arm=(arm-none-eabi-gcc -std=c99 -mcpu=cortex-m3 -mthumb -Os --specs=nano.specs --specs=rdimon.specs
    -ffunction-sections -Wall -Wextra -pedantic -Werror -DMTRACE -I. -isystem "$tmp/include"
    -DMTRACE_NO_RECORDER -DMTRACE_NO_PROFILE -DMTRACE_NO_USAGE -DMTRACE_NO_ENVIRONMENT
    -D'MTRACE_LOCK()=__asm__ volatile("cpsid i" ::: "memory")'
    -D'MTRACE_UNLOCK()=__asm__ volatile("cpsie i" ::: "memory")')
if ! "${arm[@]}" -fcallgraph-info=su -c tests/support/stack.c -o "$tmp/stack.o" ||
    ! "${arm[@]}" -Wl,--gc-sections,--emit-relocs "$tmp/stack.o" -o "$tmp/stack.elf"; then
    echo "not ok tests/support/stack.c builds"
    exit 1
fi
measure() {
    python3 tests/stack.py "$tmp/stack.ci" "$tmp/stack.elf" arm-none-eabi-
}
measure <<'LIMITS'
416>260  malloc        MT_MALLOC
416>260  calloc        MT_CALLOC
560>320  realloc       MT_REALLOC
408>260  free          MT_FREE
408      track         MT_TRACK
192      untrack       MT_UNTRACK
248      scope         MT_SCOPE
816>600  print_top     mtrace_print_top
1080     print_by      mtrace_print, mtrace_print_by
784      print_leaks   mtrace_print_leaks
816      print_diff    mtrace_print_diff
144      set_baseline  mtrace_set_baseline
976>600  no_growth     MT_ASSERT_NO_GROWTH
272      start         mtrace_start
292      check         mtrace_check
592      take          mtrace_snapshot_take
456      statistics    mtrace_snapshot_statistics
480      compare       mtrace_snapshot_compare_to
896      report        mtrace_report
1880     dump          mtrace_snapshot_dump_to
LIMITS
failed=$?
measure <<<'40 malloc MT_MALLOC' >"$tmp/log"
grep -q '^not ok malloc: [0-9]* bytes of stack, at most 40' "$tmp/log" || {
    echo "not ok a call above its limit fails"
    failed=1
}
exit $failed
