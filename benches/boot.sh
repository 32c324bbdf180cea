#!/usr/bin/env bash
# How much host CPU a boot costs: from the start of the program to the end of a script `true` in the guest, under
# myvmm's engines and under QEMU's Malta board, which runs Debian's Malta flavour of the same kernel with the same
# userland. The rounds are interleaved, so that a busy host is as unfair to one as to the other.
# Usage: benches/boot.sh [ROUNDS] [ENGINE...]        (default: 5 rounds of auto and jit)
# Prints user and system CPU seconds a run, then the medians and how many times as much QEMU needs.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/median.bash

rounds=${1:-5}
shift $(( $# > 0 ? 1 : 0 ))
engines=("${@:-auto}")
(( $# > 0 )) || engines=(auto jit)

cargo build --quiet --release
paths=$(cargo run --quiet --release --package myvmm-image --example fetch -- --flavour malta)
kernel=$(sed -n 's/^kernel *//p' <<< "$paths")
initramfs=$(sed -n 's/^initramfs *//p' <<< "$paths")
words="console=ttyS0 quiet myvmm.run=$(printf true | base64)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

boot() {
    if [[ $1 == qemu ]]; then
        qemu-system-mips64el -M malta -cpu MIPS64R2-generic -m 512 -nographic -no-reboot -nic none -vga none \
            -kernel "$kernel" -initrd "$initramfs" -append "$words"
    else
        target/release/myvmm debian --engine "$1" --append quiet --run true
    fi < /dev/null > "$work/console" 2>&1
}

TIMEFORMAT='%U %S'
for round in $(seq "$rounds"); do
    for who in "${engines[@]}" qemu; do
        { time boot "$who"; } 2> "$work/time"
        if ! grep -q '^myvmm: exit 0' "$work/console"; then
            echo "the guest did not run its script under $who; its console says:" >&2
            cat "$work/console" >&2
            exit 1
        fi
        awk '{ print $1 + $2 }' "$work/time" >> "$work/$who"
        printf 'round %s  %-8s %6.2f s of CPU\n' "$round" "$who" "$(tail -n 1 "$work/$who")"
    done
done
qemu=$(median < "$work/qemu")
for who in "${engines[@]}" qemu; do
    ours=$(median < "$work/$who")
    awk -v who="$who" -v ours="$ours" -v qemu="$qemu" \
        'BEGIN { printf "median   %-8s %6.2f s of CPU, QEMU needs %.2f times as much\n", who, ours, qemu / ours }'
done
