#!/usr/bin/env bash
# How fast a guest's network is: iperf3 in the guest against one on the host, over the user network of myvmm and over
# that of QEMU's Malta board with a virtio card on PCI, which runs Debian's Malta flavour of the same kernel with the
# same programs. The rounds are interleaved, so that a busy host is as unfair to one as to the other.
# Usage: benches/net.sh [ROUNDS] [SECONDS]        (default: 3 rounds of 5 seconds a direction)
# Prints Mbit/s of TCP from the guest and to the guest, and the loss of UDP at 50 Mbit/s; then the medians and how many
# times as fast as QEMU myvmm is. Needs Debian's iperf3 and qemu-system-mips.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/guest.bash
source benches/median.bash

rounds=${1:-3}
seconds=${2:-5}
port=52010
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server"; rm -rf "$work"' EXIT

cargo build --quiet --release
for flavour in generic malta; do
    make_guest "$flavour" iperf3
done

iperf3 --server --port "$port" > "$work/server" 2>&1 &
server=$!

# The Malta board passes no more than 255 bytes to the kernel, so the script is as short as it can be.
script="i='iperf3 -c10.0.2.2 -p$port -fm -t$seconds';\$i;\$i -R;\$i -ub50M;\$i -Rub50M"
words="console=ttyS0 quiet myvmm.run=$(printf %s "$script" | base64 --wrap=0)"

measure() {
    if [[ $1 == qemu ]]; then
        qemu-system-mips64el -M malta -cpu MIPS64R2-generic -m 512 -nographic -no-reboot -vga none \
            -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
            -kernel "$(kernel malta)" -initrd "$work/malta.cpio" -append "$words"
    else
        target/release/myvmm run --no-reboot --kernel "$(kernel generic)" --initrd "$work/generic.cpio" \
            --append "$words"
    fi < /dev/null > "$work/console" 2>&1
}

# Of the lines of the receivers: Mbit/s of the first two, loss of the other two.
results() {
    tr -d '\r' < "$work/console" | awk '
        / receiver$/ {
            count++
            for (field = 1; field < NF; field++) if ($(field + 1) == "Mbits/sec") rate = $field
            if (count <= 2) printf "%s ", rate
            else { match($0, /\([0-9.e+-]+%\)/); printf "%s ", substr($0, RSTART + 1, RLENGTH - 3) }
        }
        END { print ""; exit count != 4 }'
}

for round in $(seq "$rounds"); do
    for who in myvmm qemu; do
        measure "$who" || true
        if ! results > "$work/results"; then
            echo "the guest did not run iperf3 under $who; its console says:" >&2
            cat "$work/console" >&2
            exit 1
        fi
        read -r out in loss_out loss_in < "$work/results"
        echo "$out" >> "$work/$who.out"
        echo "$in" >> "$work/$who.in"
        printf 'round %s  %-6s TCP out %8.1f Mbit/s, in %8.1f Mbit/s; UDP lost out %s %%, in %s %%\n' \
            "$round" "$who" "$out" "$in" "$loss_out" "$loss_in"
    done
done
for direction in out in; do
    ours=$(median < "$work/myvmm.$direction")
    theirs=$(median < "$work/qemu.$direction")
    awk -v direction="$direction" -v ours="$ours" -v theirs="$theirs" \
        'BEGIN { printf "median   TCP %-3s  myvmm %8.1f, QEMU %8.1f Mbit/s: %.2f times as fast\n", direction, ours, theirs, ours / theirs }'
done
