//! Guest images made from Debian packages: the stock MIPS64 kernel and a small userland.
