//! A guest that breaks out: its console, which is made for this test only, does on the host whatever the guest prints.
//! The confined process is this test program, started again with the name of the guest's wish in its environment.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use runtime::program::{Console, End, Image, Options, ProgramVm, Turn, Until};
use runtime::vcpu::Engine;
use translator::asm;

use super::*;

const WISH: &str = "MYVMM_TEST_WISH";
const ALLOWED: &str = "MYVMM_TEST_DIRECTORY";

/// Does what it is told, and keeps whether it worked.
#[derive(Default)]
struct Breakout {
    worked: Option<bool>,
}

impl Console for Breakout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wish = String::from_utf8_lossy(bytes).into_owned();
        let (what, name) = wish.split_once(' ').unwrap_or((&wish, ""));
        let result: io::Result<()> = match what {
            "read" => File::open(name).map(drop),
            "make" => fs::write(name, "").map(drop),
            "udp" => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(drop),
            "tcp" => TcpStream::connect((Ipv4Addr::LOCALHOST, 1)).map(drop),
            "run" => Command::new(name).status().map(drop),
            _ => panic!("no wish: {wish}"),
        };
        // A connection that is refused by the other end was not stopped here.
        self.worked = Some(!result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied));
        Ok(())
    }

    fn read(&mut self, _: Until) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(Vec::new()))
    }
}

/// Runs a guest that prints `wish`, and tells whether it came true.
fn guest(wish: &str) -> bool {
    let source = format!(
        ".data\nwish: .asciiz \"{wish}\"\n.text\nmain: la $a0, wish\nli $v0, 4\nsyscall\nli $v0, 10\nsyscall"
    );
    let program = asm::assemble("wish.s", &[("wish.s", source.as_str())], &asm::Options::default()).unwrap();
    let image = Arc::new(Image::assembled("wish.s", program, Options::default()).unwrap());
    let mut vm = ProgramVm::new(image, Engine::Jit).unwrap();
    let mut console = Breakout::default();
    vm.grant(1000);
    assert!(matches!(vm.run(&mut console), Turn::Ended));
    assert!(matches!(vm.end(), Some(End::Exit(0))), "{:?}", vm.end());
    console.worked.expect("the guest has printed its wish")
}

/// The part of the test that runs in the confined process: it ends with 0 if the wish came true, else with 9.
#[test]
fn confined_process() {
    let Ok(wish) = std::env::var(WISH) else { return };
    let directory = PathBuf::from(std::env::var_os(ALLOWED).unwrap());
    let needs = match wish.starts_with("tcp with network") {
        true => Needs { network: true, ..Needs::default() },
        false => Needs { writable: vec![directory], ..Needs::default() },
    };
    enter(&needs).unwrap();
    std::process::exit(if guest(&wish) { 0 } else { 9 });
}

/// Whether `wish` comes true in a confined process.
fn comes_true(wish: &str, directory: &Path) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sandbox::tests::confined_process", "--nocapture"]);
    let output = command.env(WISH, wish).env(ALLOWED, directory).output().unwrap();
    match output.status.code() {
        Some(0) => true,
        Some(9) => false,
        _ => panic!("{wish}: {output:?}"),
    }
}

#[test]
fn a_guest_that_breaks_out_is_stopped() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let within = |directory: &tempfile::TempDir, what: &str| {
        format!("{what} {}", directory.path().join("file").display())
    };
    fs::write(elsewhere.path().join("file"), "secret").unwrap();
    // Without the sandbox all of them come true, so it is the sandbox that stops them.
    for wish in
        [&within(&elsewhere, "read"), &within(&elsewhere, "make"), "read /etc/passwd", "udp", "run /bin/true"]
    {
        assert!(guest(wish), "{wish} fails by itself");
        assert!(!comes_true(wish, directory.path()), "{wish} was not stopped");
    }
    assert!(!comes_true("tcp", directory.path()), "a connection was not stopped");
    assert!(
        comes_true("tcp with network", directory.path()),
        "a connection was stopped in spite of the network"
    );
    let own = within(&directory, "make");
    assert!(comes_true(&own, directory.path()), "{own} was stopped");
    assert!(comes_true(&own.replace("make", "read"), directory.path()));
}

#[test]
fn a_file_alone_has_the_directory_that_it_is_in() {
    let mut needs = Needs::default();
    needs.write_beside(Path::new("snapshot"));
    needs.write_beside(Path::new("/some/snapshot"));
    assert_eq!(needs.writable, [PathBuf::from("."), PathBuf::from("/some")]);
}
