//! `myvmm dump`: shows what the code of a kernel, a program or a VM becomes, before it has run or after. It must not know how
//! code is decoded or how listings look.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use runtime::load::symbols::Symbols;
use runtime::observe::Watching;
use runtime::program::Execution;
use runtime::vcpu::Engine;
use runtime::vm::Handle;
use serde_json::Value;
use translator::listing::Listing;
use translator::model::MIPS64R2;

use crate::control::client::Client;
use crate::control::directory::{self, Directory};
use crate::excerpt::Excerpt;
use crate::exit::{self, Refused};
use crate::guest_code::GuestCode;
use crate::naming::Naming;
use crate::observed::Observed;
use crate::options::EngineChoice;
use crate::program::load::needs;
use crate::program::{Dialect, Request, once};
use crate::rendering::{self, Format, StageChoice, render};
use crate::sandbox::SandboxOptions;
use crate::telling::answer;
use crate::watch::read_symbols;

/// How long a VM may take to show its blocks.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands for as many instructions as there are until the program ends.
const TO_THE_END: &str = "end";

/// Show what guest code becomes: its instructions, the patch plan, the intermediate representation, the host code
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Dump {
    /// A program: assembly, an ELF file, or a flat binary called *.bin
    #[arg(value_name = "PROGRAM", required_unless_present_any = ["kernel", "vm", "snapshot"],
          conflicts_with_all = ["kernel", "vm"])]
    program: Option<PathBuf>,
    /// A kernel, or another MIPS ELF file
    #[arg(long, value_name = "FILE", conflicts_with = "vm")]
    kernel: Option<PathBuf>,
    /// A VM that runs; see `myvmm ps`
    #[arg(long, value_name = "NAME", value_parser = directory::name, conflicts_with_all = ["symbols", "snapshot"])]
    vm: Option<String>,
    /// The CPU of a machine whose address space is shown, or which program of a session, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    vcpu: usize,
    /// Run the program first, to its end or for so many instructions, and show its blocks as they then are; what it
    /// prints goes to standard error
    #[arg(long, value_name = "INSTRUCTIONS", num_args = 0..=1, require_equals = true,
          default_missing_value = TO_THE_END, value_parser = instructions, conflicts_with_all = ["kernel", "vm"], requires = "program")]
    run: Option<u64>,
    /// A snapshot: of a machine, or of the program
    #[arg(short = 's', long = "restore", value_name = "FILE", conflicts_with = "kernel")]
    snapshot: Option<PathBuf>,
    /// What runs the program
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto, hide_possible_values = true, requires = "run")]
    engine: EngineChoice,
    #[command(flatten)]
    dialect: Dialect,
    /// Names for addresses: a System.map, or a guest's /proc/kallsyms
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    #[command(flatten)]
    excerpt: Excerpt,
    /// What to show
    #[arg(long, value_enum, default_value_t = StageChoice::All)]
    stage: StageChoice,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    sandbox: SandboxOptions,
}

impl Dump {
    /// Writes the listing to standard output.
    ///
    /// # Errors
    /// Refuses files that are no code, VMs that do not run, and places that are not in them.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        if self.excerpt.hot.is_some() && self.run.is_none() && self.vm.is_none() {
            let what = "--hot shows what ran: give --run with a program, or --vm";
            return Err(Refused(what.to_owned()).into());
        }
        let symbols = self.symbols.as_deref().map(read_symbols).transpose()?;
        let symbols = symbols.as_ref();
        let (title, listings) = match (&self.vm, &self.kernel, &self.program, &self.snapshot) {
            (Some(vm), ..) => (vm.clone(), self.ask(vm)?),
            (_, Some(kernel), ..) => {
                (shown(kernel), self.excerpt.of(&mut GuestCode::of_elf(kernel, symbols)?)?)
            }
            (_, _, Some(program), _) => (shown(program), self.program(program, symbols)?),
            (.., Some(snapshot)) => (shown(snapshot), self.machine(snapshot, symbols)?),
            _ => return Err(Refused("There is nothing to dump".to_owned()).into()),
        };
        answer(&render(&title, &listings, self.stage.into(), self.format, rendering::width()))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Runs the program if that is wanted, and shows what there is then.
    fn program(&self, program: &Path, symbols: Option<&Symbols>) -> anyhow::Result<Vec<Listing>> {
        let engine = self.engine.into();
        if self.run.is_some() && engine == Engine::Interpreter {
            return Err(Refused("--run shows translations, and --engine interp makes none".to_owned()).into());
        }
        let request = Request { program: program.to_owned(), snapshot: self.snapshot.clone() };
        let loaded = request.load(self.dialect)?;
        if self.run.is_some() {
            self.sandbox.enter(&needs(&[request], std::slice::from_ref(&loaded)))?;
        }
        let watching = Watching { profiled: self.run.is_some(), ..Watching::default() };
        let vm = loaded.build(Execution { engine, watching })?;
        let Some(instructions) = self.run else {
            return Ok(self.excerpt.of(&mut GuestCode::of_program(&vm, symbols, false))?);
        };
        let ran = once::run(vm, instructions);
        let vm = ran.member(0);
        match self.excerpt.hot {
            Some(count) => Ok(Observed::program(&vm, symbols).hottest(count)),
            None => Ok(self.excerpt.of(&mut GuestCode::of_program(&vm, symbols, true))?),
        }
    }

    /// Shows the code of a machine as it is in a snapshot.
    fn machine(&self, file: &Path, symbols: Option<&Symbols>) -> anyhow::Result<Vec<Listing>> {
        let machine = Handle::of_snapshot(&MIPS64R2, file)?;
        let hold = machine.hold();
        let naming = Naming::of_kernel(machine.observer().symbols(symbols.cloned()));
        let vcpu =
            hold.get(self.vcpu).ok_or_else(|| Refused(format!("There is no CPU {} in it", self.vcpu)))?;
        Ok(self.excerpt.of(&mut GuestCode::of_machine(shown(file), &vcpu, naming, None))?)
    }

    /// Asks a VM that runs.
    fn ask(&self, name: &str) -> anyhow::Result<Vec<Listing>> {
        let Value::Object(mut arguments) = serde_json::to_value(&self.excerpt)? else {
            unreachable!("a structure becomes an object")
        };
        arguments.insert("cpu-index".to_owned(), self.vcpu.into());
        let mut client = Client::new(Directory::open()?.connect(name)?, PATIENCE)?;
        let blocks = client.execute("x-myvmm-dump", &arguments)?;
        serde_json::from_value(blocks).context("The VM is of another version of myvmm")
    }
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

fn instructions(text: &str) -> Result<u64, String> {
    if text == TO_THE_END {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| "write a number of instructions".to_owned())
}
