# Sourced by the benches that are scripts.

# The median of the numbers on standard input, one a line.
median() {
    sort -n | awk '{ value[NR] = $1 } END { printf "%.2f", (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'
}
