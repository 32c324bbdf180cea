//! The command line as a person and a shell see it: what it says, what it refuses, which codes it ends with, and that
//! the terminal survives. The guests are a few instructions long; see `linux.rs` for a real one.

mod host;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use host::guest::{self, Guest};
use host::pty::{Pty, wait};
use host::{myvmm, run_with_input, text};
use tempfile::NamedTempFile;

/// Much more than anything here takes on a slow and busy host.
const PATIENCE: Duration = Duration::from_secs(20);

fn run(arguments: &[&str]) -> Output {
    myvmm(arguments).output().unwrap()
}

fn boot(guest: &Guest, arguments: &[&str]) -> Command {
    let mut command = myvmm(["run", "--kernel"]);
    command.arg(guest.path()).args(arguments);
    command
}

/// Refused with exit code 2 and one line that holds all of `words`.
fn assert_refused(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.starts_with("myvmm: "), "{said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: no `{word}` in {said}");
    }
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

#[test]
fn help_names_commands_keys_and_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    assert!(help.contains("debian") && help.contains("Exit codes:"), "{help}");
    for command in ["run", "debian"] {
        let help = text(&run(&[command, "--help"]).stdout);
        for word in [
            "--mem",
            "--smp",
            "--engine",
            "--append",
            "--stats",
            "--trace",
            "--no-reboot",
            "Ctrl-A x",
            "Exit codes:",
        ] {
            assert!(help.contains(word), "{command}: no `{word}` in {help}");
        }
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}

#[test]
fn wrong_words_are_usage_errors() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["fly"],
        &["run"],
        &["run", "--kernel", "k", "--bogus"],
        &["run", "--kernel", "k", "--mem", "1.5G"],
        &["run", "--kernel", "k", "--smp", "many"],
        &["run", "--kernel", "k", "--engine", "steam"],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("--help") || arguments.is_empty(), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn files_that_are_no_kernel_are_refused() {
    assert_refused(&["run", "--kernel", "no/such/file"], &["no/such/file", "No such file"]);
    assert_refused(&["run", "--kernel", "src"], &["src", "directory"]);
    assert_refused(&["run", "--kernel", "Cargo.toml"], &["Cargo.toml", "not an ELF file"]);
    assert_refused(&["run", "--kernel", "/dev/null"], &["/dev/null", "not an ELF file"]);
    assert_refused(&["run", "--kernel", "/dev/zero"], &["/dev/zero", "larger"]);
    let this = std::env::current_exe().unwrap();
    assert_refused(&["run", "--kernel", this.to_str().unwrap()], &["another machine", "X86_64"]);
}

#[test]
fn a_cut_kernel_is_refused_wherever_it_is_cut() {
    let whole = fs::read(Guest::monitor().path()).unwrap();
    for length in [4, 63, 64, 100, 119, 130, whole.len() - 1] {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), &whole[..length]).unwrap();
        assert_refused(&["run", "--kernel", file.path().to_str().unwrap()], &["damaged or truncated"]);
    }
}

/// Wherever it goes, what is told panics nobody.
#[test]
fn nobody_has_to_listen() {
    let full = || fs::File::create("/dev/full").unwrap();
    let refused = myvmm(["run", "--kernel", "no/such/file"]).stderr(full()).status().unwrap();
    assert_eq!(refused.code(), Some(2));
    let output = myvmm(["ps"]).stdout(full()).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.starts_with("myvmm: Cannot write to standard output: No space left"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = myvmm(["ps"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn what_cannot_be_written_is_named() {
    let guest = Guest::monitor();
    for option in ["--stats-file=/dev/full", "--hot=3=/dev/full", "--trace=block=/dev/full"] {
        let output = run_with_input(boot(&guest, &[option, "--engine=jit"]), &[guest::POWER_OFF]);
        let said = text(&output.stderr);
        assert!(said.contains("Cannot write /dev/full: No space left"), "{option}: {said}");
        assert_eq!(output.status.code(), Some(1));
    }
    let output = run_with_input(boot(&guest, &["--stats-file", "/dev/null"]), &[guest::POWER_OFF]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn packages_need_a_disk_to_be_installed_on() {
    assert_refused(&["debian", "--with", "gcc"], &["--with", "--persist"]);
}

#[test]
fn networks_that_cannot_be_are_refused() {
    let guest = Guest::monitor();
    let kernel = guest.path().to_str().unwrap();
    let refused = |network: &str, words: &[&str]| {
        assert_refused(&["run", "--kernel", kernel, "--net", network], words);
    };
    refused("socket,listen=Cargo.toml", &["Cargo.toml", "no socket", "--net"]);
    refused("socket,listen=no/such/directory", &["no/such/directory", "No such file"]);
    refused("tap,name=a/b", &["a/b", "at most 15 letters"]);
}

#[test]
fn sizes_that_the_board_cannot_have_are_refused() {
    let guest = Guest::monitor();
    let kernel = guest.path().to_str().unwrap();
    assert_refused(&["run", "--kernel", kernel, "--mem", "0"], &["64 KB to 32 GB", "--mem"]);
    assert_refused(&["run", "--kernel", kernel, "--mem", "100K"], &["steps of 64 KB"]);
    assert_refused(&["run", "--kernel", kernel, "--mem", "64G"], &["32 GB"]);
    assert_refused(&["run", "--kernel", kernel, "--mem", "64K"], &["no RAM", "--mem"]);
    for cpus in ["0", "17"] {
        assert_refused(&["run", "--kernel", kernel, "--smp", cpus], &["1 to 16 CPUs", "--smp"]);
    }
}

#[test]
fn companions_that_do_not_fit_are_refused() {
    let guest = Guest::monitor();
    let kernel = guest.path().to_str().unwrap();
    let initrd = NamedTempFile::new().unwrap();
    initrd.as_file().set_len(8 << 20).unwrap();
    let initrd = initrd.path().to_str().unwrap();
    assert_refused(&["run", "--kernel", kernel, "--initrd", "none"], &["Cannot read none"]);
    assert_refused(&["run", "--kernel", kernel, "--initrd", initrd, "--mem", "8M"], &["need", "--mem"]);
    let words = "x".repeat(5000);
    assert_refused(&["run", "--kernel", kernel, "--append", &words], &["4087", "--append"]);
    assert_refused(&["debian", "--run", &words], &["5000 bytes"]);
}

#[test]
fn a_cache_that_cannot_be_is_named() {
    let output = run(&["debian", "--cache", "Cargo.toml/cache"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Cargo.toml/cache"));
}

#[test]
fn piped_input_reaches_the_guest_as_it_is() {
    let input = [b"a\x01xb\0\xff".as_slice(), &[guest::POWER_OFF]].concat();
    let output = run_with_input(boot(&Guest::monitor(), &[]), &input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(output.stdout, [guest::GREETING.as_bytes(), b"a\x01xb\0\xff"].concat());
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn much_input_and_output_gets_through_a_pipe() {
    let input = [vec![b'.'; 300_000], vec![guest::POWER_OFF]].concat();
    let output = run_with_input(boot(&Guest::monitor(), &[]), &input);
    assert_eq!(output.stdout.len(), guest::GREETING.len() + 300_000);
}

#[test]
fn a_reset_starts_the_guest_again_and_input_goes_on() {
    let guest = Guest::monitor();
    let mut child = boot(&guest, &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for key in [guest::RESET, guest::QUOTE, guest::POWER_OFF] {
        std::io::Write::write_all(&mut pipe, &[key]).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout).matches(guest::GREETING).count(), 3, "{}", text(&output.stdout));
}

#[test]
fn with_no_reboot_a_reset_is_the_end() {
    let output = run_with_input(boot(&Guest::monitor(), &["--no-reboot"]), &[guest::RESET]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), guest::GREETING);
}

#[test]
fn a_panic_is_exit_code_3_and_is_said() {
    let output = run_with_input(boot(&Guest::monitor(), &[]), &[guest::PANIC]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr), "myvmm: The guest's kernel panicked: as a test\n");
}

#[test]
fn a_guest_that_resets_without_a_word_does_not_go_on_for_ever() {
    let output = boot(&Guest::mute(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("earlycon"));
}

#[test]
fn statistics_are_aligned_on_standard_error() {
    let output = run_with_input(boot(&Guest::monitor(), &["--stats"]), &[guest::POWER_OFF]);
    let statistics = text(&output.stderr);
    for word in ["instructions", "seconds", "MIPS", "blocks decoded", "page walks", "device accesses"] {
        assert!(statistics.contains(word), "no `{word}` in:\n{statistics}");
    }
    let widths: Vec<usize> = statistics.lines().map(str::len).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{statistics}");
}

#[test]
fn the_end_of_the_input_is_not_the_end_of_the_guest() {
    let guest = Guest::monitor();
    let mut child = boot(&guest, &[]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none());
    send(&child, "TERM");
    assert_eq!(wait(&mut child, PATIENCE).signal(), Some(15));
}

#[test]
fn output_that_nobody_takes_ends_the_machine() {
    let guest = Guest::monitor();
    let mut child = boot(&guest, &[]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = wait(&mut child, PATIENCE);
    assert_eq!(status.code(), Some(1));
    let output = child.wait_with_output().unwrap();
    assert!(text(&output.stderr).contains("standard output: Broken pipe"), "{}", text(&output.stderr));
    if Path::new("/dev/full").exists() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = boot(&guest, &[]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("No space left"), "{}", text(&output.stderr));
    }
}

/// A guest at a terminal that has said that it is there.
fn at_terminal(guest: &Guest) -> (Pty, Child) {
    let mut pty = Pty::open();
    let child = pty.start(&boot(guest, &[]));
    pty.expect("ready", PATIENCE);
    assert!(pty.is_raw());
    (pty, child)
}

#[test]
fn the_escape_key_helps_sends_itself_and_leaves() {
    let guest = Guest::monitor();
    let (mut pty, mut child) = at_terminal(&guest);
    pty.write("\x01h");
    pty.expect("Ctrl-A x", PATIENCE);
    // Ctrl-C, Ctrl-D, Ctrl-Z, Ctrl-\, Ctrl-S and Return are the guest's.
    pty.write("\x03\x04\x1a\x1c\x13\r\x01\x01.");
    pty.expect("\x03\x04\x1a\x1c\x13\r\x01.", PATIENCE);
    pty.write([guest::RESET]);
    pty.expect("ready", PATIENCE);
    pty.write("again");
    pty.expect("again", PATIENCE);
    let start = Instant::now();
    pty.write("\x01x");
    assert_eq!(wait(&mut child, PATIENCE).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(!pty.is_raw());
}

#[test]
fn the_terminal_survives_every_end() {
    let guest = Guest::monitor();
    for (key, code) in [(guest::POWER_OFF, 0), (guest::PANIC, 3)] {
        let (mut pty, mut child) = at_terminal(&guest);
        pty.write([key]);
        assert_eq!(wait(&mut child, PATIENCE).code(), Some(code));
        assert!(!pty.is_raw());
    }
    for (name, number) in [("TERM", 15), ("HUP", 1), ("INT", 2), ("QUIT", 3)] {
        let (pty, mut child) = at_terminal(&guest);
        send(&child, name);
        assert_eq!(wait(&mut child, PATIENCE).signal(), Some(number), "{name}");
        assert!(!pty.is_raw(), "{name}");
    }
}

#[test]
fn a_stopped_process_gives_the_terminal_back_and_takes_it_again() {
    let guest = Guest::monitor();
    let (mut pty, mut child) = at_terminal(&guest);
    let becomes = |pty: &Pty, raw| {
        let start = Instant::now();
        while pty.is_raw() != raw {
            assert!(start.elapsed() < PATIENCE, "not {raw}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    send(&child, "TSTP");
    becomes(&pty, false);
    send(&child, "CONT");
    becomes(&pty, true);
    pty.write("sunny");
    pty.expect("sunny", PATIENCE);
    pty.write("\x01x");
    assert_eq!(wait(&mut child, PATIENCE).code(), Some(0));
}
