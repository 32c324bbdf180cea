# Sourced by the benches that are scripts: guests with Debian packages, made in the directory $work.

# FLAVOUR PACKAGE...: the initramfs is $work/FLAVOUR.cpio; $work/FLAVOUR names the kernel for it.
make_guest() {
    local flavour=$1 package packages=()
    shift
    for package; do
        packages+=(--with "$package")
    done
    cargo run --quiet --release --package myvmm-image --example fetch -- --flavour "$flavour" "${packages[@]}" \
        --output "$work/$flavour.cpio" > "$work/$flavour" 2> "$work/fetch" || {
        echo "cannot make the guest:" >&2
        cat "$work/fetch" >&2
        exit 1
    }
}

# FLAVOUR: the kernel's file.
kernel() {
    sed -n 's/^kernel *//p' "$work/$1"
}
