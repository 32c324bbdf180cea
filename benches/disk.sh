#!/usr/bin/env bash
# How fast a guest's disk is: fio, sequential and random, 16 requests deep, past the guest's page cache, under myvmm and
# under QEMU's Malta board with virtio by PCI, which runs Debian's Malta flavour of the same kernel with the same
# programs. Both use the same image, in rounds one after the other, so that a busy host is as unfair to one as to the
# other.
# Usage: benches/disk.sh [ROUNDS] [SECONDS]        (default: 3 rounds of 8 seconds a load)
# Prints MB/s and requests a second of each load; then the medians and how many times as fast as QEMU myvmm is. Needs
# Debian's qemu-system-mips, and 1 GB for the image in the directory for temporary files.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/guest.bash
source benches/median.bash

rounds=${1:-3}
seconds=${2:-8}
loads=(read write randread randwrite)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --release
for flavour in generic malta; do
    make_guest "$flavour" fio
done

# What is in the host's memory already, so that machines are compared and not the host's disk.
head -c 1G /dev/urandom > "$work/data"
# The Malta board passes no more than 255 bytes to the kernel, so the script is on a disk of its own.
cat > "$work/script" << END
for load in 'read 128k' 'write 128k' 'randread 4k' 'randwrite 4k'; do
    set -- \$load
    fio --name=x --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 --rw=\$1 --bs=\$2 --runtime=$seconds \\
        --time_based --output-format=terse --terse-version=3 |
        awk -F ';' -v load=\$1 '/^3;/ { print "result", load, (\$7 + \$48) / 1024, \$8 + \$49 }'
done
END
truncate --size 64K "$work/script"
words="console=ttyS0 quiet myvmm.run=$(printf %s "tr -d '\\0' < /dev/vdb | sh" | base64 --wrap=0)"

measure() {
    if [[ $1 == qemu ]]; then
        qemu-system-mips64el -M malta -cpu MIPS64R2-generic -m 1024 -nographic -no-reboot -nic none -vga none \
            -drive "file=$work/data,format=raw,if=none,id=data" -device virtio-blk-pci,drive=data \
            -drive "file=$work/script,format=raw,if=none,id=script" -device virtio-blk-pci,drive=script \
            -kernel "$(kernel malta)" -initrd "$work/malta.cpio" -append "$words"
    else
        target/release/myvmm run --mem 1G --net none --no-reboot --disk "$work/data,format=raw" \
            --disk "$work/script,format=raw" --kernel "$(kernel generic)" --initrd "$work/generic.cpio" \
            --append "$words"
    fi < /dev/null > "$work/console" 2>&1
}

for round in $(seq "$rounds"); do
    for who in myvmm qemu; do
        measure "$who"
        tr -d '\r' < "$work/console" | grep '^result ' > "$work/results" || true
        if [[ $(wc -l < "$work/results") != "${#loads[@]}" ]]; then
            echo "the guest did not run fio under $who; its console says:" >&2
            cat "$work/console" >&2
            exit 1
        fi
        while read -r _ load rate requests; do
            echo "$requests" >> "$work/$who.$load"
            printf 'round %s  %-6s %-9s %8.1f MB/s %8.0f requests/s\n' "$round" "$who" "$load" "$rate" "$requests"
        done < "$work/results"
    done
done
for load in "${loads[@]}"; do
    awk -v load="$load" -v ours="$(median < "$work/myvmm.$load")" -v theirs="$(median < "$work/qemu.$load")" 'BEGIN {
        printf "median   %-9s myvmm %8.0f, QEMU %8.0f requests/s: %.2f times as fast\n", load, ours, theirs, ours / theirs }'
done
