#!/usr/bin/env bash
# What several CPUs are worth to a guest: how fast one wakes another that sleeps, how late a timer wakes it, and how long
# two processes that only compute take on two CPUs, against one on one. Times are those of the guest's clock, which is the
# host's, and hold what the guest's kernel does on the way. Whether QEMU's Malta board starts a second CPU for Debian's
# kernel is tried and said; if it does, its ratio is measured too.
# Usage: benches/smp.sh [ROUNDS]        (default: 5 rounds, one after the other)
# Needs Debian's e2fsprogs, gcc-mips64el-linux-gnuabi64, libc6-dev-mips64el-cross and qemu-system-mips, and a quiet host
# with two cores or more: the load of the host is printed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --release
paths=$(cargo run --quiet --release --package myvmm-image --example fetch -- --flavour malta)
kernel=$(sed -n 's/^kernel *//p' <<< "$paths")
initramfs=$(sed -n 's/^initramfs *//p' <<< "$paths")
mkdir "$work/files"
mips64el-linux-gnuabi64-gcc -O2 -Wall -Wextra -Werror -static -pthread -mips64r2 -o "$work/files/measure" \
    benches/smp/measure.c
truncate --size 16M "$work/disk.img"
mke2fs -q -F -t ext4 -d "$work/files" "$work/disk.img"

# Runs a script on a machine with so many CPUs.
ours() { # CPUS SCRIPT
    timeout 120 target/release/myvmm debian --smp "$1" --net none --disk "$work/disk.img,ro,format=raw" --run "$2" < /dev/null
}
theirs() {
    timeout 60 qemu-system-mips64el -M malta -cpu MIPS64R2-generic -smp "$1" -m 256 -nographic -no-reboot -nic none \
        -vga none -drive "file=$work/disk.img,format=raw,if=none,id=disk,readonly=on" -device virtio-blk-pci,drive=disk \
        -kernel "$kernel" -initrd "$initramfs" \
        -append "console=ttyS0 quiet myvmm.run=$(printf %s "$2" | base64 --wrap=0)" < /dev/null
}
# The least and the median, in microseconds, of what `measure` has measured in a guest.
measure() { # ours|theirs CPUS WORDS
    if ! "$1" "$2" "mount -o ro -t ext4 /dev/vda /mnt;/mnt/measure $3" > "$work/console" 2>&1 ||
        ! grep -q '^result ' "$work/console"; then
        echo "the guest did not run its program; its console says:" >&2
        cat "$work/console" >&2
        exit 1
    fi
    tr -d '\r' < "$work/console" | sed -n 's/^result //p'
}
ratio() { # ours|theirs
    local one two
    one=$(measure "$1" 1 'work 1 5')
    two=$(measure "$1" 2 'work 2 5')
    awk -v two="${two% *}" -v one="${one% *}" 'BEGIN { printf "%.3f\n", two / one }'
}
summary() { # FILE: the least and the median of its numbers.
    sort -n "$1" | awk '{ value[NR] = $1 }
        END { print "least", value[1] ", median", (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'
}

theirs 2 nproc > "$work/qemu" 2>&1 || true
cpus=$(tr -d '\r' < "$work/qemu" | grep -xE '[0-9]+' || true)
for round in $(seq "$rounds"); do
    wake=$(measure ours 2 'wake 1000')
    timer=$(measure ours 2 'timer 1000')
    times=$(ratio ours)
    echo "${wake#* }" >> "$work/wake"
    echo "${timer#* }" >> "$work/timer"
    echo "$times" >> "$work/times"
    echo "round $round  wake-up: least ${wake% *} us, median ${wake#* } us; timer: least ${timer% *} us, median ${timer#* } us" \
"late; two processes on two CPUs take $times times one on one"
    if [[ $cpus == 2 ]]; then
        ratio theirs >> "$work/their-times"
    fi
done
echo "wake-up, medians of the rounds in us: $(summary "$work/wake")"
echo "timer, medians of the rounds in us: $(summary "$work/timer")"
echo "two processes on two CPUs against one on one: $(summary "$work/times") times as long"
if [[ $cpus == 2 ]]; then
    echo "the same in QEMU: $(summary "$work/their-times") times as long"
else
    echo "no ratio of QEMU's: with -smp 2, Debian's kernel for its Malta board" \
        "$([[ -n $cpus ]] && echo "has $cpus CPU" || echo "has run no program after 60 s")"
fi
echo "load of the host: $(cut -d ' ' -f 1-3 /proc/loadavg) on $(nproc) cores"
