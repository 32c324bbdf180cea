//! The command line of myvmm: it parses, calls the runtime and reports; it owns nothing.

fn main() {}
