//! Runs the machine that installs a Debian system on a disk, and shows how far it is. It must not know what is
//! installed, nor how.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context as _, bail};
use image::root::{DONE, Installation, SCRIPT, SHARE, STEP};
use image::{Guest, Progress};
use runtime::backend::disk::{Format, Image, SharedDisk};
use runtime::drive::Schedule;
use runtime::observe::Watching;
use runtime::vcpu::Engine;
use runtime::vm::{Config, Vm};

/// Bytes of memory of the machine.
const MEMORY: u64 = 512 << 20;

/// Installs the system and gives the image of its disk.
///
/// # Errors
/// Fails if the machine cannot be run or does not come to the end of the installation.
pub fn install(
    guest: &Guest,
    installation: Installation,
    progress: &mut dyn Progress,
) -> anyhow::Result<PathBuf> {
    let log = installation.log();
    let output = File::create(&log).with_context(|| format!("Cannot create {}", log.display()))?;
    let (said, heard) = channel();
    let config = config(guest, &installation)?;
    let vm = Vm::build(&config, Box::new(Console { log: output, line: Vec::new(), said }))?;
    let machine = thread::Builder::new().name("machine".into()).spawn(move || vm.run());
    let machine = machine.context("Cannot start a thread of the machine")?;
    let installed = follow(&heard, progress);
    // A panic of that thread was reported when it happened.
    machine.join().ok().transpose()?;
    // The disk is locked as long as it is open.
    drop(config);
    if !installed {
        bail!(
            "The installation of Debian did not come to its end; {} has what it printed (a full disk of the host \
             is an I/O error there)",
            log.display()
        );
    }
    Ok(installation.finish()?)
}

fn config(guest: &Guest, installation: &Installation) -> anyhow::Result<Config> {
    let image =
        |file: PathBuf, read_only| Image { file, format: Some(Format::Raw), read_only, snapshot: false };
    let disks = [image(installation.disk(), false), image(installation.archive(), true)];
    let disks = disks.iter().map(SharedDisk::open).collect::<Result<_, _>>()?;
    Ok(Config {
        name: "installation".to_owned(),
        kernel: guest.kernel.clone(),
        initrd: Some(guest.initramfs.clone()),
        command_line: format!("panic=-1 console=ttyS0 quiet {}", image::run_word(SCRIPT)?),
        ram: MEMORY,
        vcpus: 1,
        model: &translator::model::MIPS64R2,
        schedule: Schedule::Threads,
        engine: Engine::Auto,
        watching: Watching::default(),
        disks,
        cards: Vec::new(),
    })
}

/// Shows what the machine says until it ends; tells whether the system is whole.
fn follow(heard: &Receiver<String>, progress: &mut dyn Progress) -> bool {
    let mut step = "starting the installation".to_owned();
    let mut installed = false;
    progress.step(&step, 0, None);
    for line in heard {
        if let Some(name) = line.strip_prefix(STEP) {
            name.clone_into(&mut step);
            progress.step(&step, 0, None);
        } else if let Some((done, total)) = line.strip_prefix(SHARE).and_then(|share| share.split_once(' ')) {
            // The last package takes the longest rest.
            if let (Ok(done), Ok(total)) = (done.parse(), total.parse()) {
                progress.step(&step, done, Some(total));
            }
        }
        installed |= line == DONE;
    }
    installed
}

/// Takes what the machine prints: into a file, and line by line to whoever follows.
struct Console {
    log: File,
    line: Vec<u8>,
    said: Sender<String>,
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.log.write_all(bytes)?;
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                // Nobody hears it if the installation has failed.
                let _ = self.said.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            } else {
                self.line.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.flush()
    }
}
