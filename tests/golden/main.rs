//! What instructions become, written down: the plan of every sensitive instruction in every mode, and
//! the translations of blocks that stand for what programs do. `BLESS=1` writes what is now true.

mod blocks;
mod plans;

use std::path::{Path, PathBuf};

use translator::mode::Mode;

const WIDE: Mode = Mode::WIDE_ADDRESSES.union(Mode::WIDE_OPERATIONS);
const KERNEL: Mode = WIDE.union(Mode::CP0_USABLE).union(Mode::WIDE_FPU);
const USER: Mode = WIDE.union(Mode::USER).union(Mode::WIDE_FPU);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares a file with what it should say, or writes that.
fn check(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(path, actual).expect("the repository can be written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let line = expected.lines().zip(actual.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or(expected.lines().count().min(actual.lines().count()));
    assert!(
        expected == actual,
        "{}:{}: is `{}` and should be `{}`; if the change is meant, run with BLESS=1",
        path.display(),
        line + 1,
        actual.lines().nth(line).unwrap_or("the end"),
        expected.lines().nth(line).unwrap_or("the end"),
    );
}
