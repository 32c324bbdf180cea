//! The course of a benchmark: who runs what in which order, and what is noted of it. Every round has one run of
//! everything, so that a busy host is as unfair to one as to another. It must not know how results look.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use runtime::program::{Console, End, Image, ProgramVm, Turn, Until};
use runtime::vcpu::{Engine, Statistics};
use rustix::time::{ClockId, clock_gettime};

use super::qemu::Executable;
use super::results::{Activity, FORM, Measured, Results, Runs, Subject};
use super::workload::{WORKLOADS, Workload};
use super::{linux, scaling, warm_up};

/// What is to be measured.
pub struct Plan {
    /// How often at most, after one round that does not count.
    pub rounds: usize,
    /// How long the rounds of programs may take together. One is always measured.
    pub limit: Duration,
    /// The programs, by name; none for all.
    pub only: Vec<String>,
    /// Whether Linux is booted too.
    pub linux: bool,
    /// Whether QEMU is compared.
    pub qemu: bool,
    /// Whether native code is compared.
    pub native: bool,
}

/// One program with one subject, and what was noted so far.
struct Job {
    place: (usize, Subject),
    work: Work,
    runs: Runs,
}

/// What is run.
enum Work {
    Engine(Arc<Image>, Engine),
    /// Its start, which is not the program's time, is measured apart.
    Qemu(Executable),
    Native(&'static Workload),
}

/// Measures everything.
///
/// # Errors
/// Fails if a program gives a wrong result or cannot be run.
pub fn run(plan: &Plan) -> anyhow::Result<Results> {
    let directory = Directory::new()?;
    let mut jobs = jobs(plan, &directory.0)?;
    let linux = linux::jobs(plan)?;
    let bar = progress_bar();
    bar.set_length((jobs.len() * (plan.rounds + 1) + linux.len() * (linux::rounds(plan.rounds) + 1)) as u64);
    let start = QemuStart::new(plan.qemu, &directory.0)?;
    let mut rounds = Rounds { begun: Instant::now(), done: 0 };
    while rounds.has_time(plan) {
        let (round, start) = (rounds.done, start.seconds()?);
        for job in &mut jobs {
            bar.set_message(format!("{}, {}", WORKLOADS[job.place.0].name, job.place.1.name()));
            job.run(start, round > 0)?;
            bar.inc(1);
        }
        rounds.done += 1;
    }
    let counted = rounds.done - 1;
    bar.set_length(bar.position() + (linux.len() * (linux::rounds(counted) + 1)) as u64);
    let linux = linux::run(linux, linux::rounds(counted), &bar)?;
    bar.set_message("warm-up and scaling");
    let results = Results {
        form: FORM,
        made: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs(),
        processor: processor(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        rounds: counted,
        programs: collect(jobs),
        linux,
        warm_up: warm_up::curves()?,
        scaling: scaling::scales(counted)?,
    };
    bar.finish_and_clear();
    Ok(results)
}

/// The rounds that were measured, with the one that does not count.
struct Rounds {
    begun: Instant,
    done: usize,
}

impl Rounds {
    /// Whether one more round is wanted and, as long as the others took, would end in time.
    fn has_time(&self, plan: &Plan) -> bool {
        let per_round = self.begun.elapsed() / self.done.max(1) as u32;
        self.done <= 1 || self.done <= plan.rounds && self.begun.elapsed() + per_round <= plan.limit
    }
}

fn jobs(plan: &Plan, directory: &Path) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    let wanted =
        |workload: &Workload| plan.only.is_empty() || plan.only.iter().any(|name| name == workload.name);
    for (index, workload) in WORKLOADS.iter().enumerate().filter(|(_, workload)| wanted(workload)) {
        // The number of instructions of a repeat is the same for everybody, so it is found out once.
        let unit = run_engine(&workload.image(1)?, Engine::Auto)?.1.instructions;
        let mut add = |subject, repeats, work| {
            let (seconds, activity) = (Vec::new(), None);
            let runs = Runs { subject, repeats, instructions: Some(unit * repeats), seconds, activity };
            jobs.push(Job { place: (index, subject), work, runs });
        };
        for (subject, engine) in ENGINES {
            let repeats = workload.repeats(matches!(engine, Engine::Interpreter | Engine::Blocks));
            add(subject, repeats, Work::Engine(workload.image(repeats)?, engine));
        }
        let repeats = workload.repeats(false);
        if plan.qemu && workload.is_portable {
            let program = workload.linux_program(repeats)?;
            add(Subject::Qemu, repeats, Work::Qemu(Executable::new(directory, workload.name, &program)?));
        }
        if plan.native && workload.native.is_some() {
            add(Subject::Native, repeats, Work::Native(workload));
        }
    }
    Ok(jobs)
}

/// The engines that are compared.
pub const ENGINES: [(Subject, Engine); 4] = [
    (Subject::Interpreter, Engine::Interpreter),
    (Subject::Blocks, Engine::Blocks),
    (Subject::Jit, Engine::Jit),
    (Subject::Auto, Engine::Auto),
];

impl Job {
    /// Runs it once. `start` is what QEMU needs for nothing.
    fn run(&mut self, start: f64, counts: bool) -> anyhow::Result<()> {
        let seconds = match &self.work {
            Work::Engine(image, engine) => {
                let (seconds, statistics) = run_engine(image, *engine)?;
                self.runs.instructions = Some(statistics.instructions);
                let activity = Activity::from(&statistics);
                self.runs.activity = Some(match self.runs.activity.take() {
                    Some(before) => before.followed_by(activity),
                    None => activity,
                });
                seconds
            }
            Work::Qemu(executable) => (executable.run()? - start).max(f64::MIN_POSITIVE),
            Work::Native(workload) => run_native(workload, self.runs.repeats)?,
        };
        if counts {
            self.runs.seconds.push(seconds);
        }
        Ok(())
    }
}

fn collect(jobs: Vec<Job>) -> Vec<Measured> {
    let mut programs: Vec<Measured> = Vec::new();
    for job in jobs {
        let workload = &WORKLOADS[job.place.0];
        if programs.last().is_none_or(|last| last.name != workload.name) {
            let (name, about) = (workload.name.to_owned(), workload.about.to_owned());
            programs.push(Measured { name, about, runs: Vec::new() });
        }
        if let Some(program) = programs.last_mut() {
            program.runs.push(job.runs);
        }
    }
    programs
}

/// A console for programs that say nothing.
pub struct Silence;

impl Console for Silence {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, _: Until) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(Vec::new()))
    }
}

/// Runs a fresh machine to its end, and gives the processor time in seconds and what the engine did.
fn run_engine(image: &Arc<Image>, engine: Engine) -> anyhow::Result<(f64, Statistics)> {
    let mut vm = ProgramVm::new(Arc::clone(image), engine)?;
    let begin = thread_seconds();
    vm.grant(i64::MAX as u64);
    while !matches!(vm.run(&mut Silence), Turn::Ended | Turn::Slice) {}
    let seconds = thread_seconds() - begin;
    match vm.end() {
        Some(End::Exit(0)) => Ok((seconds, vm.statistics().clone())),
        Some(End::Exit(_)) => bail!("The benchmark {} gives a wrong result under {engine:?}", image.name),
        end => bail!("The benchmark {} fails under {engine:?}: {end:?}", image.name),
    }
}

fn run_native(workload: &Workload, repeats: u64) -> anyhow::Result<f64> {
    let Some(native) = workload.native else { bail!("The benchmark {} has no native form", workload.name) };
    let begin = thread_seconds();
    for _ in 0..repeats {
        if !workload.is_right(black_box(native)()) {
            bail!("The benchmark {} gives a wrong result as native code", workload.name);
        }
    }
    Ok(thread_seconds() - begin)
}

/// The processor time that this thread has had: the host may be busy with other work.
pub fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What QEMU needs to start and end a program that does nothing.
struct QemuStart(Option<Executable>);

impl QemuStart {
    fn new(wanted: bool, directory: &Path) -> anyhow::Result<Self> {
        let Some(shortest) = WORKLOADS.iter().find(|workload| workload.name == "hash") else {
            bail!("There is no short program")
        };
        let make = || Executable::new(directory, "start", &shortest.linux_program(1)?);
        Ok(Self(wanted.then(make).transpose()?))
    }

    /// The least of three: nothing makes a start shorter than it is.
    fn seconds(&self) -> anyhow::Result<f64> {
        let Some(executable) = &self.0 else { return Ok(0.0) };
        let times = (0..3).map(|_| executable.run()).collect::<Result<Vec<_>, _>>()?;
        Ok(times.into_iter().fold(f64::INFINITY, f64::min))
    }
}

/// A directory for files that are gone afterwards.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("myvmm-bench-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is of no use to anybody, and of no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the host says that its processor is.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("an unknown processor", |(_, name)| name).to_owned()
}

/// On a terminal, a bar with the time that is left.
fn progress_bar() -> ProgressBar {
    const FORM: &str = "[{bar:30}] {percent}%, {eta} left: {msg}";
    let style = ProgressStyle::with_template(FORM).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
