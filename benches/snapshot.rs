//! How long a guest stands still while it is saved, how long it takes until a machine is ready to go on from a
//! snapshot, and how much memory fifty that went on from one file need together. A Debian guest with 1 GB, most of
//! it filled, is asked; `cargo bench --bench snapshot` prints a line for each figure. It asserts nothing.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use image::{Flavour, Request, Silent};
use runtime::drive::Schedule;
use runtime::observe::Watching;
use runtime::vcpu::Engine;
use runtime::vm::snapshots::Form;
use runtime::vm::{Config, Vm};

const ROUNDS: usize = 5;
const CLONES: usize = 50;
/// Until the guest has booted and filled its memory, on a slow and busy host.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the clones run before they are looked at.
const SETTLING: Duration = Duration::from_secs(10);
const FILLED: &str = "memory is filled";
/// 640 MB of a guest of 1 GB; then a sign of life now and then.
const SCRIPT: &str = "yes 0123456789abcde | dd of=/tmp/fill bs=64k count=10240 iflag=fullblock 2> /dev/null
echo memory is fil''led; while :; do echo alive; sleep 1; done";

/// What the guest has printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::ErrorKind::Other)?.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config() -> Result<Config, Box<dyn Error>> {
    let guest =
        image::debian::prepare(&Request::new(image::default_cache()?, Flavour::Generic), &mut Silent)?;
    Ok(Config {
        name: "bench".to_owned(),
        kernel: guest.kernel,
        initrd: Some(guest.initramfs),
        command_line: format!("panic=-1 console=ttyS0 quiet {}", image::run_word(SCRIPT)?),
        ram: 1 << 30,
        vcpus: 1,
        model: &translator::model::MIPS64R2,
        schedule: Schedule::Threads,
        engine: Engine::Auto,
        watching: Watching::default(),
        disks: Vec::new(),
        cards: Vec::new(),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.snap");
    let config = config()?;
    save(&config, &file)?;
    restore(&config, &file)?;
    clones(&file)
}

fn save(config: &Config, file: &Path) -> Result<(), Box<dyn Error>> {
    let printed = Printed::default();
    let vm = Vm::build(config, Box::new(printed.clone()))?;
    let (handle, snapshots) = (vm.handle(), vm.snapshots());
    let machine = thread::spawn(move || vm.run());
    let begun = Instant::now();
    while !String::from_utf8_lossy(&printed.0.lock().map_err(|_| "a writer panicked")?).contains(FILLED) {
        if begun.elapsed() > PATIENCE {
            return Err("the guest did not fill its memory".into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    for round in 0..ROUNDS {
        let saved = snapshots.save(file, &Form::Mapped)?;
        println!(
            "save {round}: pause {:.3} ms, written in {:.0} ms, {} MB on disk",
            saved.pause.as_secs_f64() * 1e3,
            saved.took.as_secs_f64() * 1e3,
            saved.bytes >> 20
        );
    }
    handle.quit();
    machine.join().map_err(|_| "the machine panicked")??;
    Ok(())
}

fn restore(config: &Config, file: &Path) -> Result<(), Box<dyn Error>> {
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let vm = Vm::restore(config, file, Box::new(io::sink()))?;
        println!("restore {round}: ready to run after {:.3} ms", begun.elapsed().as_secs_f64() * 1e3);
        drop(vm);
    }
    Ok(())
}

fn clones(file: &Path) -> Result<(), Box<dyn Error>> {
    let start = |_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myvmm"));
        command.args(["run", "--net", "none", "--restore"]).arg(file);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
    };
    let mut children = (0..CLONES).map(start).collect::<Result<Vec<Child>, _>>()?;
    thread::sleep(SETTLING);
    let sizes: Result<Vec<_>, _> = children.iter().map(|child| sizes(child.id())).collect();
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    let sum = sizes?.into_iter().fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
    let [resident, proportional] = sum.map(|kilobytes| kilobytes >> 10);
    println!(
        "{CLONES} clones: resident {resident} MB added up, {proportional} MB with what is shared counted once"
    );
    Ok(())
}

/// Resident and proportional kilobytes of a process.
fn sizes(process: u32) -> Result<[u64; 2], Box<dyn Error>> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let size = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or("no size in smaps_rollup")
    };
    Ok([size("Rss:")?, size("Pss:")?])
}
