//! Debian as a benchmark: from the start of the process to the end of a script in the guest, under each engine and on
//! QEMU's Malta board. It must not know how images are made or machines run: it starts processes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use image::{Flavour, Request};
use indicatif::ProgressBar;

use super::measure::Plan;
use super::qemu::{self, timed};
use super::results::{Measured, Runs, Subject};

/// Scripts for Debian's userland in the guest: name, what it does, the script, whether the interpreter does it too.
const SCRIPTS: [(&str, &str, &str, bool); 5] = [
    ("boot", "to the end of an empty script", "true", true),
    ("shell", "a loop of a shell", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done", false),
    (
        "processes",
        "600 processes",
        "i=0; while [ $i -lt 600 ]; do /bin/busybox true; i=$((i+1)); done",
        false,
    ),
    ("awk", "real numbers", "awk 'BEGIN { for (i = 1; i < 400000; i++) x += 1/i/i; print x }'", false),
    ("checksum", "C: a checksum of 24 MB", "dd if=/dev/zero bs=1M count=24 2> /dev/null | sha256sum", false),
];

/// A boot takes seconds, so there are fewer.
pub const fn rounds(rounds: usize) -> usize {
    rounds.div_ceil(3)
}

/// One script with one subject.
pub struct Job {
    script: usize,
    command: Command,
    runs: Runs,
}

/// What the plan wants of Linux.
///
/// # Errors
/// Refuses if QEMU is wanted and not there; fails if the image cannot be made.
pub fn jobs(plan: &Plan) -> anyhow::Result<Vec<Job>> {
    if !plan.linux {
        return Ok(Vec::new());
    }
    let board = plan.qemu.then(Malta::new).transpose()?;
    let this = std::env::current_exe().context("Cannot find the program that is running")?;
    let mut jobs = Vec::new();
    for (index, (_, _, script, interpreted)) in SCRIPTS.iter().enumerate() {
        let engines = [(Subject::Interpreter, "interp"), (Subject::Jit, "jit"), (Subject::Auto, "auto")];
        for (subject, engine) in engines.into_iter().skip(usize::from(!interpreted)) {
            let mut command = Command::new(&this);
            command.args(["debian", "--net", "none", "--engine", engine, "--run", script]);
            jobs.push(Job { script: index, command, runs: runs(subject) });
        }
        if let Some(board) = &board {
            jobs.push(Job { script: index, command: board.command(script)?, runs: runs(Subject::Qemu) });
        }
    }
    Ok(jobs)
}

fn runs(subject: Subject) -> Runs {
    Runs { subject, repeats: 1, instructions: None, seconds: Vec::new(), activity: None }
}

/// Runs all jobs, after a round that does not count.
///
/// # Errors
/// Fails if a guest does not come to the end of its script.
pub fn run(mut jobs: Vec<Job>, rounds: usize, bar: &ProgressBar) -> anyhow::Result<Vec<Measured>> {
    for round in 0..=rounds {
        for job in &mut jobs {
            bar.set_message(format!("Linux: {}, {}", SCRIPTS[job.script].0, job.runs.subject.name()));
            let seconds = job.run()?;
            if round > 0 {
                job.runs.seconds.push(seconds);
            }
            bar.inc(1);
        }
    }
    let measured = SCRIPTS.iter().enumerate().map(|(index, (name, about, ..))| {
        let own = jobs.iter().filter(|job| job.script == index);
        let (name, about) = ((*name).to_owned(), (*about).to_owned());
        Measured { name, about, runs: own.map(|job| job.runs.clone()).collect() }
    });
    Ok(measured.filter(|one| !one.runs.is_empty()).collect())
}

impl Job {
    fn run(&mut self) -> anyhow::Result<f64> {
        let (output, seconds) = timed(&mut self.command)?;
        // The image's script says this on the console; QEMU has no exit status from the guest.
        let console = String::from_utf8_lossy(&output.stdout);
        let came_to_its_end = match self.runs.subject {
            Subject::Qemu => console.lines().any(|line| line.trim_end() == "myvmm: exit 0"),
            _ => output.status.success(),
        };
        if !came_to_its_end {
            let (name, subject) = (SCRIPTS[self.script].0, self.runs.subject.name());
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("Linux did not come to the end of the benchmark {name} under {subject}: {console}{words}");
        }
        Ok(seconds)
    }
}

/// Debian on QEMU's Malta board: the flavour of the same kernel for it, and the same userland.
struct Malta {
    qemu: PathBuf,
    guest: image::Guest,
}

impl Malta {
    fn new() -> anyhow::Result<Self> {
        let qemu = qemu::find(qemu::SYSTEM, "qemu-system-mips")?;
        let request = Request::new(image::default_cache()?, Flavour::Malta);
        let guest = image::debian::prepare(&request, &mut |_: &str, _: u64, _: Option<u64>| {})?;
        Ok(Self { qemu, guest })
    }

    fn command(&self, script: &str) -> anyhow::Result<Command> {
        const MACHINE: &str =
            "-M malta -cpu MIPS64R2-generic -m 512 -nographic -no-reboot -nic none -vga none";
        let mut command = Command::new(&self.qemu);
        command.args(MACHINE.split(' '));
        command.arg("-kernel").arg(&self.guest.kernel).arg("-initrd").arg(&self.guest.initramfs);
        command.arg("-append").arg(format!("console=ttyS0 quiet {}", image::run_word(script)?));
        Ok(command)
    }
}
