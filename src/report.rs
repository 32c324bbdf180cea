//! Statistics for people: what the vCPUs did and how long it took. It must not know how a machine works.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use runtime::vcpu::{Planned, Statistics};
use rustix::time::{ClockId, clock_gettime};
use translator::exception::Exception;
use translator::stub::Stub;

type Count = fn(&Statistics) -> u64;

/// What is counted once, and under which name.
const COUNTS: [(&str, Count); 11] = [
    ("instructions", |one| one.instructions),
    ("blocks decoded", |one| one.decoded),
    ("blocks translated", |one| one.translated),
    ("guest bytes translated", |one| one.guest_bytes),
    ("bytes of host code", |one| one.host_bytes),
    ("blocks invalidated", |one| one.invalidated),
    ("page walks", |one| one.walks),
    ("soft-TLB misses", |one| one.soft_misses),
    ("device accesses", |one| one.device_accesses),
    ("stub calls", Statistics::all_stub_calls),
    ("exits", Statistics::all_exits),
];

/// Statistics of all machines of a session. Clones share them.
#[derive(Clone)]
pub struct Report {
    started: Instant,
    /// What each column is of.
    column: &'static str,
    /// When the first guest instruction ran.
    first_turn: Arc<OnceLock<Instant>>,
    vcpus: Arc<Mutex<Vec<Statistics>>>,
}

impl Report {
    /// An empty report with a column for each `column`, from now on.
    pub fn of(column: &'static str) -> Self {
        Self { started: Instant::now(), column, first_turn: Arc::default(), vcpus: Arc::default() }
    }

    /// How long ago that was.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds what a machine's vCPUs did.
    pub fn add(&self, machine: &[Statistics]) {
        let mut vcpus = self.lock();
        if vcpus.len() < machine.len() {
            vcpus.resize_with(machine.len(), Statistics::default);
        }
        for (sum, one) in vcpus.iter_mut().zip(machine) {
            sum.add(one);
        }
    }

    /// Notes that a machine's first guest instruction ran at `moment`, if it ran; the session's first machine counts.
    pub fn note_first_turn(&self, moment: Option<Instant>) {
        if let Some(moment) = moment {
            self.first_turn.get_or_init(|| moment);
        }
    }

    /// From the start of the session to the first guest instruction.
    fn start_up(&self) -> Option<Duration> {
        self.first_turn.get().map(|moment| moment.saturating_duration_since(self.started))
    }

    /// The statistics as JSON: of each vCPU, of all, and what follows from them.
    pub fn json(&self) -> String {
        let vcpus = self.lock();
        let total = total(&vcpus);
        let report = serde_json::json!({
            "seconds": self.started.elapsed().as_secs_f64(),
            "seconds_to_first_instruction": self.start_up().map(|time| time.as_secs_f64()),
            "host_cpu_seconds": processor_time().as_secs_f64(),
            "instructions_per_stub_call": ratio(total.instructions, total.all_stub_calls()),
            "instructions_per_exit": ratio(total.instructions, total.all_exits()),
            "host_bytes_per_guest_byte": ratio(total.host_bytes, total.guest_bytes),
            "all": total,
            "vcpus": *vcpus,
        });
        format!("{report:#}\n")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Statistics>> {
        self.vcpus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let vcpus = self.lock();
        if vcpus.is_empty() {
            return writeln!(out, "myvmm: no statistics, because the machine did not stop in time");
        }
        let mut table = Table::new(self.column, &vcpus, self.started.elapsed(), processor_time());
        if let Some(time) = self.start_up() {
            table.rows.push((
                "seconds to the first instruction".into(),
                vec![format!("{:.4}", time.as_secs_f64())],
            ));
        }
        table.fmt(out)
    }
}

fn total(vcpus: &[Statistics]) -> Statistics {
    let mut total = Statistics::default();
    vcpus.iter().for_each(|one| total.add(one));
    total
}

/// How many of `many` there are for each of `few`; none if there are no few.
fn ratio(many: u64, few: u64) -> Option<f64> {
    (few > 0).then(|| many as f64 / few as f64)
}

/// What the process used of the host's processors.
fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Rows of a name and a value a vCPU, with the sum at the end if there are several.
struct Table {
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    fn new(column: &str, vcpus: &[Statistics], elapsed: Duration, used: Duration) -> Self {
        let mut table = Self { rows: Vec::new() };
        if vcpus.len() > 1 {
            let names = (0..vcpus.len()).map(|number| format!("{column} {number}"));
            table.rows.push((String::new(), names.chain(["all".to_owned()]).collect()));
        }
        let total = total(vcpus);
        for (name, count) in COUNTS {
            table.add(name.to_owned(), vcpus, count);
        }
        table.add_plans(&total, vcpus);
        for what in total.sites.keys() {
            let count = |one: &Statistics| one.sites.get(what).copied().unwrap_or(0);
            table.add(format!("sites {}: {}", what.change, what.nature), vcpus, count);
        }
        for stub in Stub::ALL.iter().filter(|stub| total.stub_calls[**stub as usize] > 0) {
            table.add(format!("stub calls: {}", stub.name()), vcpus, |one| one.stub_calls[*stub as usize]);
        }
        for name in total.exits.keys() {
            let count = |one: &Statistics| one.exits.get(name).copied().unwrap_or(0);
            table.add(format!("exits: {name}"), vcpus, count);
        }
        for (kind, name) in
            Exception::NAMES.iter().enumerate().filter(|(kind, _)| total.exceptions[*kind] > 0)
        {
            table.add(format!("exceptions: {name}"), vcpus, |one| one.exceptions[kind]);
        }
        table.add_ratios(&total);
        table.add_times(&total, elapsed, used);
        table
    }

    /// A row for each way in which an instruction was patched, without the reasons.
    fn add_plans(&mut self, total: &Statistics, vcpus: &[Statistics]) {
        let ways: BTreeSet<_> = total.plans.keys().map(|plan| (plan.kind, plan.instruction)).collect();
        for (kind, instruction) in ways {
            let is_it = |plan: &&Planned| (plan.kind, plan.instruction) == (kind, instruction);
            let count = |one: &Statistics| {
                let plans = one.plans.iter().filter(|(plan, _)| is_it(plan));
                plans.map(|(_, count)| count).sum()
            };
            self.add(format!("patched {kind}: {instruction}"), vcpus, count);
        }
    }

    fn add_ratios(&mut self, total: &Statistics) {
        let ratios = [
            ("instructions per stub call", ratio(total.instructions, total.all_stub_calls())),
            ("instructions per exit", ratio(total.instructions, total.all_exits())),
            ("host bytes per guest byte", ratio(total.host_bytes, total.guest_bytes)),
        ];
        for (name, ratio) in ratios {
            let value = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}"));
            self.rows.push((name.to_owned(), vec![value]));
        }
    }

    fn add(&mut self, name: String, vcpus: &[Statistics], count: impl Fn(&Statistics) -> u64) {
        let counts: Vec<u64> = vcpus.iter().map(count).collect();
        let sum = (counts.len() > 1).then(|| counts.iter().sum());
        self.rows.push((name, counts.into_iter().chain(sum).map(grouped).collect()));
    }

    fn add_times(&mut self, total: &Statistics, elapsed: Duration, used: Duration) {
        let (elapsed, used) = (elapsed.as_secs_f64(), used.as_secs_f64());
        let speed = if used > 0.0 { total.instructions as f64 / used / 1e6 } else { 0.0 };
        let times = [
            ("seconds", elapsed),
            ("seconds of host CPU", used),
            ("seconds in translation", total.translation_time.as_secs_f64()),
            ("seconds in generated code", total.code_time.saturating_sub(total.stub_time).as_secs_f64()),
            ("seconds in stubs", total.stub_time.as_secs_f64()),
            ("of these in devices", total.device_time.as_secs_f64()),
            ("MIPS, by host CPU time", speed),
        ];
        self.rows.extend(times.map(|(name, value)| (name.to_owned(), vec![format!("{value:.2}")])));
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let name_width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let values = self.rows.iter().flat_map(|(_, values)| values);
        let width = values.map(String::len).max().unwrap_or(0);
        for (name, values) in &self.rows {
            write!(out, "{name:name_width$}")?;
            for value in values {
                write!(out, "  {value:>width$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let expected = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in expected {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn several_vcpus_are_columns_and_a_sum() {
        let mut one = Statistics { instructions: 1000, ..Default::default() };
        one.exceptions[Exception::Interrupt.kind()] = 2;
        let table = Table::new("vCPU", &[one.clone(), one], Duration::from_secs(2), Duration::from_millis(1));
        let text = table.to_string();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        let words = |start: &str| line(start).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("instructions"), ["instructions", "1,000", "1,000", "2,000"]);
        assert_eq!(words("exceptions: i"), ["exceptions:", "interrupt", "2", "2", "4"]);
        assert_eq!(words("seconds "), ["seconds", "2.00"]);
        assert_eq!(words("MIPS"), ["MIPS,", "by", "host", "CPU", "time", "2.00"]);
        assert_eq!(line("instructions").len(), line("blocks decoded").len());
    }
}
