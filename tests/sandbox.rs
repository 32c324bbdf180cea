//! The sandbox as a person meets it: what a program's services may open with it and without. That a guest that breaks
//! out is stopped is tested beside the sandbox itself.

mod host;

use std::fs;

use host::{myvmm, text};

/// Opens the file that it is told to, and prints the number that it got.
fn program(file: &str) -> String {
    format!(
        ".data\nname: .asciiz \"{file}\"\n.text\nmain: la $a0, name\nli $a1, 0\nli $v0, 13\nsyscall\n\
         move $a0, $v0\nli $v0, 1\nsyscall\njr $ra\n"
    )
}

#[test]
fn programs_open_what_is_beside_them_and_nothing_else() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [own, foreign] = [&directory, &elsewhere].map(|directory| directory.path().join("file"));
    for (file, sandbox, opened) in
        [(&own, "on", "3"), (&own, "auto", "3"), (&foreign, "on", "-1"), (&foreign, "off", "3")]
    {
        fs::write(file, "text").unwrap();
        let source = directory.path().join("open.s");
        fs::write(&source, program(file.to_str().unwrap())).unwrap();
        let output =
            myvmm(["--sandbox", sandbox, "-v"]).arg(&source).current_dir(&directory).output().unwrap();
        assert_eq!(text(&output.stdout), opened, "{}: {sandbox}: {}", file.display(), text(&output.stderr));
    }
}
