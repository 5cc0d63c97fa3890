#!/usr/bin/env bash
# clang-format would change nothing, and no line of code is wider than 100 columns.
set -u
cd "$(dirname "$0")/.." || exit 1
mapfile -t files < <(git ls-files -co --exclude-standard '*.h' '*.c')
failed=0
if clang-format --dry-run -Werror "${files[@]}" >/dev/null 2>&1; then
    echo "ok clang-format, ${#files[@]} files"
else
    echo "not ok clang-format: $(clang-format --dry-run -Werror "${files[@]}" 2>&1 | head -n 1)"
    failed=1
fi
wide=$(awk 'length > 100 { print FILENAME ":" FNR; exit }' "${files[@]}")
if [ -z "$wide" ]; then echo "ok width"; else
    echo "not ok width: $wide"
    failed=1
fi
exit $failed
