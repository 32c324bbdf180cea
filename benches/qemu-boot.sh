#!/usr/bin/env bash
# How long QEMU takes from its start to the end of a script `true` in the Malta guest: the figure to compare with.
# Usage: benches/qemu-boot.sh [RUNS] [QEMU OPTION...]
# Prints a line a run, wall-clock seconds and the user and system CPU seconds of qemu, then the medians.
set -eu

runs=${1:-5}
shift $(( $# > 0 ? 1 : 0 ))

paths=$(cargo run --quiet --package myvmm-image --example fetch -- --flavour malta)
kernel=$(sed -n 's/^kernel *//p' <<< "$paths")
initramfs=$(sed -n 's/^initramfs *//p' <<< "$paths")
words="console=ttyS0 quiet myvmm.run=$(printf true | base64)"
console=$(mktemp)
figures=$(mktemp)
trap 'rm -f "$console" "$figures"' EXIT

boot() {
    qemu-system-mips64el -M malta -cpu MIPS64R2-generic -m 512 -nographic -no-reboot -nic none -vga none \
        -kernel "$kernel" -initrd "$initramfs" -append "$words" "$@" < /dev/null > "$console" 2>&1
}

median() {
    sort -n | awk '{ value[NR] = $1 } END { printf "%.2f", (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'
}

TIMEFORMAT='%R %U %S'
printf '%-7s %8s %8s %8s %8s\n' run wall user sys cpu
for run in $(seq "$runs"); do
    { time boot "$@"; } 2>> "$figures"
    if ! grep -q '^myvmm: exit 0' "$console"; then
        echo "the guest did not run its script; its console says:" >&2
        cat "$console" >&2
        exit 1
    fi
    read -r wall user system < <(tail -n 1 "$figures")
    awk -v run="$run" -v wall="$wall" -v user="$user" -v sys="$system" \
        'BEGIN { printf "%-7s %8.2f %8.2f %8.2f %8.2f\n", run, wall, user, sys, user + sys }'
done
printf '%-7s %8s %8s %8s %8s\n' median "$(awk '{ print $1 }' "$figures" | median)" \
    "$(awk '{ print $2 }' "$figures" | median)" "$(awk '{ print $3 }' "$figures" | median)" \
    "$(awk '{ print $2 + $3 }' "$figures" | median)"
