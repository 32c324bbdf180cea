//! What was measured, as it is in a JSON file: the only form in which tables, plots and later runs know it. It must
//! not know how it was measured.

use std::collections::BTreeMap;

use runtime::vcpu::Statistics;
use serde::{Deserialize, Serialize};
use translator::stub::Stub;

use super::sample::Sample;

/// The form of the file; a file with another is refused.
pub const FORM: u32 = 1;

/// Who ran a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The interpreter alone.
    Interpreter,
    /// Every block is translated, and comes back to the run loop.
    Blocks,
    /// Every block is translated, and goes on to the next.
    Jit,
    /// What is cold is interpreted.
    Auto,
    /// QEMU.
    Qemu,
    /// The host, without a guest.
    Native,
}

impl Subject {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Interpreter, Self::Blocks, Self::Jit, Self::Auto, Self::Qemu, Self::Native];

    /// The name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter",
            Self::Blocks => "block JIT",
            Self::Jit => "full JIT",
            Self::Auto => "auto",
            Self::Qemu => "QEMU",
            Self::Native => "native",
        }
    }
}

/// All that one run of the benchmark measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`FORM`].
    pub form: u32,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// The host's processor.
    pub processor: String,
    /// The processors that the benchmark could use.
    pub processors: usize,
    /// The rounds that count.
    pub rounds: usize,
    /// The programs.
    pub programs: Vec<Measured>,
    /// Linux from boot to the end of a script.
    pub linux: Vec<Measured>,
    /// How fast a cold program becomes.
    pub warm_up: Vec<Curve>,
    /// How much several vCPUs do.
    pub scaling: Vec<Scale>,
}

/// One program under everybody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The name.
    pub name: String,
    /// What it does, for people.
    pub about: String,
    /// Who ran it, and how that went.
    pub runs: Vec<Runs>,
}

/// One program under one subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runs {
    /// Who ran it.
    pub subject: Subject,
    /// How often the work was done in each run.
    pub repeats: u64,
    /// The guest instructions of each run; of QEMU and the host, those that they stand for. Unknown for Linux.
    pub instructions: Option<u64>,
    /// The processor time of each run, in seconds.
    pub seconds: Vec<f64>,
    /// What an engine of ours did in one run.
    pub activity: Option<Activity>,
}

/// What an engine did in one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Blocks that were translated.
    pub translated: u64,
    /// Guest bytes that were translated.
    pub guest_bytes: u64,
    /// Bytes of host code that they became.
    pub host_bytes: u64,
    /// The time that translation took in the run where it took least, in seconds of the clock: what else the host
    /// did meanwhile only makes it longer.
    pub translation: f64,
    /// Calls of stubs by generated code, by name.
    pub stub_calls: BTreeMap<String, u64>,
    /// Times that generated code came back to the run loop, by reason.
    pub exits: BTreeMap<String, u64>,
    /// Exceptions by name.
    pub exceptions: BTreeMap<String, u64>,
}

/// The speed of a program from its first instruction on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// The program.
    pub name: String,
    /// Who ran it.
    pub subject: Subject,
    /// The instructions that had run, and the speed since the point before, in MIPS.
    pub points: Vec<(u64, f64)>,
}

/// What several vCPUs of one machine did together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scale {
    /// Their number.
    pub vcpus: usize,
    /// The speed of all together in each round, in MIPS by the wall clock.
    pub speeds: Vec<f64>,
}

impl Results {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Says why it is no such file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("form").and_then(serde_json::Value::as_u64) {
            Some(form) if form == u64::from(FORM) => {}
            Some(form) => return Err(format!("the file has form {form}, and this myvmm reads {FORM}")),
            None => return Err("it is no file of `myvmm bench --json`".into()),
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

impl Measured {
    /// How it went under `subject`.
    pub fn of(&self, subject: Subject) -> Option<&Runs> {
        self.runs.iter().find(|runs| runs.subject == subject)
    }

    /// How many times as fast as `slow` is `fast`.
    pub fn ratio(&self, fast: Subject, slow: Subject) -> Option<f64> {
        Some(self.of(slow)?.pace() / self.of(fast)?.pace())
    }
}

impl Runs {
    /// The processor time, in seconds.
    pub fn time(&self) -> Sample {
        Sample::new(self.seconds.iter().copied())
    }

    /// Millions of guest instructions a second.
    pub fn speed(&self) -> Option<Sample> {
        let millions = self.instructions? as f64 / 1e6;
        Some(Sample::new(self.seconds.iter().map(|seconds| millions / seconds)))
    }

    /// Seconds for doing the work once.
    pub fn pace(&self) -> f64 {
        self.time().median() / self.repeats as f64
    }

    /// The share of the time that translation took.
    pub fn translation_share(&self) -> Option<f64> {
        Some(self.activity.as_ref()?.translation / self.time().median())
    }
}

impl Activity {
    /// What another run of the same did, with the least time of both.
    #[must_use]
    pub fn followed_by(self, next: Self) -> Self {
        Self { translation: next.translation.min(self.translation), ..next }
    }

    /// Bytes of host code for each byte of guest code, if any was translated.
    pub fn expansion(&self) -> Option<f64> {
        (self.guest_bytes > 0).then(|| self.host_bytes as f64 / self.guest_bytes as f64)
    }
}

impl From<&Statistics> for Activity {
    fn from(statistics: &Statistics) -> Self {
        let named = |(name, count): (&&str, &u64)| ((*name).to_owned(), *count);
        let stubs = Stub::ALL.iter().zip(statistics.stub_calls).filter(|(_, count)| *count > 0);
        Self {
            translated: statistics.translated,
            guest_bytes: statistics.guest_bytes,
            host_bytes: statistics.host_bytes,
            translation: statistics.translation_time.as_secs_f64(),
            stub_calls: stubs.map(|(stub, count)| (stub.name().to_owned(), count)).collect(),
            exits: statistics.exits.iter().map(named).collect(),
            exceptions: statistics.named_exceptions().map(|(name, count)| (name.to_owned(), count)).collect(),
        }
    }
}

#[cfg(test)]
pub mod testing {
    //! Results for tests of what shows them.

    use super::*;

    /// One program, ten times as fast under the JIT as under the interpreter.
    pub fn results() -> Results {
        let runs = |subject, seconds: [f64; 3], activity| Runs {
            subject,
            repeats: 10,
            instructions: Some(2_000_000),
            seconds: seconds.to_vec(),
            activity,
        };
        let activity =
            Activity { translation: 0.0001, guest_bytes: 10, host_bytes: 45, ..Activity::default() };
        let runs = vec![
            runs(Subject::Interpreter, [0.02, 0.02, 0.02], Some(Activity::default())),
            runs(Subject::Jit, [0.001, 0.002, 0.004], Some(activity)),
        ];
        let about = "a <program> & more".into();
        Results {
            form: FORM,
            made: 1_700_000_000,
            processor: "a processor".into(),
            processors: 2,
            rounds: 3,
            programs: vec![Measured { name: "some".into(), about, runs }],
            linux: Vec::new(),
            warm_up: vec![Curve {
                name: "some".into(),
                subject: Subject::Jit,
                points: vec![(1000, 10.0), (2000, 100.0)],
            }],
            scaling: vec![Scale { vcpus: 1, speeds: vec![100.0] }, Scale { vcpus: 2, speeds: vec![180.0] }],
        }
    }
}
