#!/usr/bin/env bash
# Compiles loops.c with the thread sanitizer, and with those of addresses and undefined behaviour, and runs every loop on
# 1 to 4 threads. Takes some seconds; ends with an error where a sanitizer or a result says that something is wrong.
set -euo pipefail
cd "$(dirname "$0")"
cc=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The driver calls the products of both vector widths, not the functions that choose one.
flags=(-g -fno-var-tracking-assignments -O2 -std=gnu11 -Wall -Wextra -Werror -Wno-unused-function -DONE_VERSION -pthread)
"$cc" "${flags[@]}" -fsanitize=thread loops_driver.c -o "$work/threads" -lm
"$cc" "${flags[@]}" -fsanitize=address,undefined -fno-sanitize-recover=all loops_driver.c -o "$work/addresses" -lm
for each in threads addresses; do
    echo "sanitizer of $each"
    TSAN_OPTIONS=halt_on_error=1 "$work/$each"
done
