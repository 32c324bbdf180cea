#!/usr/bin/env bash
# How long a guest stands still when it moves: a Debian guest with 512 MB and a card on a bridge goes to and fro between
# two hosts, which are network namespaces, while it keeps a TCP connection to a third open (iperf3), computes
# (stress-ng) and writes so many megabytes a second into memory that it checks (migrate/load.c). Then QEMU's Malta board
# does the same, with Debian's Malta flavour of the same kernel and one CPU, which is all that it has.
# Usage: benches/migrate.sh [MOVES] [MEGABYTES_A_SECOND] [QEMU_MOVES]        (default: 20 moves, 50 MB/s, 6 moves)
# Prints the downtime of every move, minimum, median and maximum of both, and how fast each guest wrote in truth; fails if
# memory was wrong or the connection broke. A QEMU that does not come to an end is said to. 0 moves leave one of them out.
# Needs root, and Debian's iperf3, iproute2, socat, qemu-system-mips and gcc-mips64el-linux-gnuabi64.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/guest.bash

moves=${1:-20}
rate=${2:-50}
their_moves=${3:-6}
limit=50
patience=120 # seconds for a move of QEMU's
port=5432
their_port=5433
work=$(mktemp -d)
net=myvmm-$$
hosts=(a b)
address=(10.77.0.1 10.77.0.2)
peer=10.77.0.9

((EUID == 0)) || { echo "migrate.sh: only root makes network namespaces" >&2; exit 1; }

within() { # HOST COMMAND...: runs a command on a host, which has its own directories for its user.
    local host=$1
    shift
    XDG_RUNTIME_DIR=$work/$host XDG_STATE_HOME=$work/$host ip netns exec "$net-$host" "$@"
}

clean_up() {
    for host in "${hosts[@]}" peer; do
        ip netns pids "$net-$host" 2> /dev/null | xargs -r kill -9 2> /dev/null || true
        ip netns delete "$net-$host" 2> /dev/null || true
    done
    rm -rf "$work"
}
trap clean_up EXIT

fail() {
    echo "migrate.sh: $1" >&2
    shift
    for file in "$@"; do
        echo "--- the end of ${file##*/}:" >&2
        tail -n 40 "$file" >&2
    done
    exit 1
}

# A bridge on each host with a tap for the guest, the bridges joined, and the peer on the first.
make_network() {
    for host in "${hosts[@]}" peer; do
        ip netns add "$net-$host"
        ip -n "$net-$host" link set lo up
        mkdir -m 700 "$work/$host"
    done
    for index in 0 1; do
        local host=${hosts[index]}
        ip -n "$net-$host" link add br0 type bridge
        ip -n "$net-$host" address add "${address[index]}/24" dev br0
        ip -n "$net-$host" link set br0 up
        ip -n "$net-$host" tuntap add vm0 mode tap vnet_hdr
        ip -n "$net-$host" link set vm0 master br0 up
    done
    cable "$net-a" to-b "$net-b" to-a
    cable "$net-a" to-peer "$net-peer" eth0
    ip -n "$net-b" link set to-a master br0
    ip -n "$net-a" link set to-b master br0
    ip -n "$net-a" link set to-peer master br0
    ip -n "$net-peer" address add "$peer/24" dev eth0
}

cable() { # NAMESPACE NAME NAMESPACE NAME
    ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
    ip -n "$1" link set "$2" up
    ip -n "$3" link set "$4" up
}

make_busy_guest() { # FLAVOUR: a guest with the files that load it.
    make_guest "$1" iperf3 stress-ng
    # The kernel takes several archives in a row, each from a multiple of four bytes on.
    truncate -s %4 "$work/$1.cpio"
    (cd "$work/files" && find . | cpio --quiet --create --format newc) >> "$work/$1.cpio"
}

make_files() {
    mkdir "$work/files"
    mips64el-linux-gnuabi64-gcc -O2 -static -o "$work/files/load" benches/migrate/load.c
    cat > "$work/files/bench" << END
ip link set eth0 up
ip address add 10.77.0.50/24 dev eth0
until ping -c 1 -W 1 $peer; do sleep 1; done
stress-ng --quiet --cpu 1 --cpu-load 30 --timeout 0 &
iperf3 --client $peer --time 0 --bitrate 4M --interval 10 &
/load $rate 96
END
}

await() { # FILE PATTERN: until it is there.
    for _ in $(seq 600); do
        if grep -q -a "$2" "$1"; then return; fi
        sleep 0.2
    done
    fail "\"$2\" never came" "$1"
}

# Whether what the guest computes is still right, and its one connection alive.
check() { # CONSOLE...
    if cat "$@" | grep -a WRONG; then fail "the guest's memory is wrong" "$@"; fi
    if (($(grep -c 'Accepted connection' "$work/server") != 1)) || grep -q 'receiver$\|error' "$work/server"; then
        fail "the connection broke" "$work/server"
    fi
}

serve() {
    ip netns pids "$net-peer" | xargs -r kill
    ip netns exec "$net-peer" iperf3 --server --forceflush --interval 1 > "$work/server" 2>&1 &
}

summary() { # NAME: of the milliseconds in its file, and the megabytes a second on its consoles.
    if [[ -e $work/$1.downtime ]]; then
        figures "$1" 'moves: downtime' ms < "$work/$1.downtime"
        sed -n 's/^load .*right, \([0-9.]*\) MB.*/\1/p' "$work/$1".consoles | figures "$1" 'seconds of writing:' MB/s
    fi
}

figures() { # NAME WHAT UNIT: of the numbers on standard input.
    sort -n | awk -v name="$1" -v what="$2" -v unit="$3" '{ value[NR] = $1 }
        END { printf "%-6s %d %s min %.1f, median %.1f, max %.1f %s\n", name, NR, what, value[1],
              (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2, value[NR], unit }'
}

# myvmm --------------------------------------------------------------------------------------------------------------

receive() { # HOST ADDRESS: has a receiver there.
    mkdir -p "$work/log-$1"
    within "$1" target/release/myvmm receive --listen "$2:$port" --insecure --net tap,name=vm0 --log "$work/log-$1" \
        > "$work/receiver-$1" 2>&1 &
    await "$work/receiver-$1" Listening
}

bench_myvmm() {
    serve
    receive a "${address[0]}"
    receive b "${address[1]}"
    within a target/release/myvmm run --name mover --smp 2 --no-reboot --net tap,name=vm0 --movable \
        --kernel "$(kernel generic)" --initrd "$work/generic.cpio" \
        --append "console=ttyS0 quiet myvmm.run=$(printf 'sh /bench' | base64)" \
        < /dev/null > "$work/myvmm.console" 2>&1 &
    await "$work/myvmm.console" '^load 3:'
    local consoles=("$work/myvmm.console") from to milliseconds
    for move in $(seq "$moves"); do
        from=${hosts[(move + 1) % 2]} to=$((move % 2))
        within "$from" target/release/myvmm migrate mover "${address[to]}:$port" --insecure --downtime-limit "$limit" \
            > "$work/answer" 2>&1 || fail "the guest did not move" "$work/answer" "$work"/receiver-*
        milliseconds=$(sed -n 's/.*stood still for \([0-9.]*\) ms.*/\1/p' "$work/answer")
        echo "myvmm  move $move: downtime $milliseconds ms"
        echo "$milliseconds" >> "$work/myvmm.downtime"
        sleep 1
    done
    sleep 5
    mapfile -t -O 1 consoles < <(find "$work"/log-* -type f)
    check "${consoles[@]}"
    cat "${consoles[@]}" > "$work/myvmm.consoles"
    echo "myvmm  memory was always right, and the connection is whole"
    within "${hosts[to]}" target/release/myvmm control mover quit
}

# QEMU ---------------------------------------------------------------------------------------------------------------

start_qemu() { # HOST NUMBER OPTION...
    local host=$1 number=$2
    shift 2
    within "$host" qemu-system-mips64el -M malta -cpu MIPS64R2-generic -m 512 -display none -vga none -no-reboot \
        -serial "file:$work/qemu-$number.console" -monitor "unix:$work/qemu-$number.monitor,server=on,wait=off" \
        -netdev tap,id=net,ifname=vm0,script=no,downscript=no,vhost=off -device virtio-net-pci,netdev=net,romfile= \
        -kernel "$(kernel malta)" -initrd "$work/malta.cpio" \
        -append "console=ttyS0 quiet myvmm.run=$(printf 'sh /bench' | base64)" "$@" \
        > "$work/qemu-$number.log" 2>&1 &
    until [[ -S $work/qemu-$number.monitor ]]; do
        kill -0 $! 2> /dev/null || fail "QEMU did not start" "$work/qemu-$number.log"
        sleep 0.1
    done
}

tell() { # NUMBER COMMAND: to QEMU's monitor, and what it says.
    printf '%s\n' "$2" | socat -t 2 - "UNIX-CONNECT:$work/qemu-$1.monitor" | tr -d '\r'
}

bench_qemu() {
    serve
    start_qemu a 0
    await "$work/qemu-0.console" '^load 3:'
    for move in $(seq "$their_moves"); do
        local from=$((move - 1)) to=$((move % 2))
        start_qemu "${hosts[to]}" "$move" -incoming "tcp:${address[to]}:$their_port"
        until within "${hosts[to]}" ss -Hltn "sport = :$their_port" | grep -q .; do sleep 0.1; done
        tell "$from" "migrate_set_parameter downtime-limit $limit" > "$work/answer"
        tell "$from" 'migrate_set_parameter max-bandwidth 10G' >> "$work/answer"
        tell "$from" "migrate -d tcp:${address[to]}:$their_port" >> "$work/answer"
        local end=$((SECONDS + patience)) milliseconds
        until grep -q 'status: \(completed\|failed\)' "$work/answer" || ((SECONDS > end)); do
            sleep 0.5
            tell "$from" 'info migrate' > "$work/answer"
        done
        if ! grep -q 'status: \(completed\|failed\)' "$work/answer"; then
            echo "qemu   move $move: does not come to an end within $patience s"
            break
        fi
        milliseconds=$(sed -n 's/^downtime: \([0-9]*\) ms/\1/p' "$work/answer")
        [[ -n $milliseconds ]] || fail "QEMU did not move its guest" "$work/answer" "$work"/qemu-*.log
        echo "qemu   move $move: downtime $milliseconds ms"
        echo "$milliseconds" >> "$work/qemu.downtime"
        tell "$from" quit > "$work/answer"
        await "$work/qemu-$move.console" '^load'
        check "$work"/qemu-*.console
    done
    cat "$work"/qemu-*.console > "$work/qemu.consoles"
}

cargo build --quiet --release --bins --package myvmm-image --example fetch
make_network
make_files
if ((moves > 0)); then
    make_busy_guest generic
    bench_myvmm
fi
if ((their_moves > 0)); then
    make_busy_guest malta
    bench_qemu
fi
summary myvmm
summary qemu
