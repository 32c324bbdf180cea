//! `myvmm dump`: shows what the code of a kernel or a program becomes, before it has run or after. It must not know how code
//! is decoded or how listings look.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use runtime::load::symbols::Symbols;
use runtime::observe::Watching;
use runtime::program::Execution;
use runtime::vcpu::Engine;
use translator::addr::Va;
use translator::listing::Listing;

use crate::exit::{self, Refused};
use crate::guest_code::GuestCode;
use crate::observed::Observed;
use crate::options::EngineChoice;
use crate::program::load::needs;
use crate::program::{Dialect, Request, once};
use crate::rendering::{self, Format, StageChoice, render};
use crate::sandbox::SandboxOptions;
use crate::watch::read_symbols;

/// More instructions make a listing that nobody reads.
const MOST_BYTES: u64 = 4 << 16;

/// What stands for as many instructions as there are until the program ends.
const TO_THE_END: &str = "end";

/// Show what guest code becomes: its instructions, the patch plan, the intermediate representation, the host code
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Dump {
    /// A program: assembly, an ELF file, or a flat binary called *.bin
    #[arg(value_name = "PROGRAM", required_unless_present = "kernel", conflicts_with = "kernel")]
    program: Option<PathBuf>,
    /// A kernel, or another MIPS ELF file
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Run the program first, to its end or for so many instructions, and show its blocks as they then are; what it
    /// prints goes to standard error
    #[arg(long, value_name = "INSTRUCTIONS", num_args = 0..=1, require_equals = true,
          default_missing_value = TO_THE_END, value_parser = instructions, conflicts_with = "kernel")]
    run: Option<u64>,
    /// Go on from this snapshot of the program
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
    /// The block at this address
    #[arg(long, value_name = "ADDRESS", value_parser = number, group = "place")]
    address: Option<u64>,
    /// The blocks of this function
    #[arg(long, value_name = "NAME", group = "place")]
    symbol: Option<String>,
    /// The blocks from one address up to another
    #[arg(long, value_name = "FROM..TO", value_parser = range, group = "place")]
    range: Option<(u64, u64)>,
    /// The N blocks that ran most often, the first the hottest
    #[arg(long, value_name = "N", group = "place", requires = "run", conflicts_with = "mode",
          value_parser = count)]
    hot: Option<usize>,
    /// The mode that the code runs in; by default what its address says
    #[arg(long, value_enum)]
    mode: Option<Privilege>,
    /// What to show
    #[arg(long, value_enum, default_value_t = StageChoice::All)]
    stage: StageChoice,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    sandbox: SandboxOptions,
}

/// A privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Privilege {
    /// Privileged instructions are allowed
    Kernel,
    /// Privileged instructions are exceptions
    User,
}

impl Dump {
    /// Writes the listing to standard output.
    ///
    /// # Errors
    /// Refuses files that are no code, and places that are not in them.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let symbols = self.symbols.as_deref().map(read_symbols).transpose()?;
        let symbols = symbols.as_ref();
        let (title, listings) = match (&self.kernel, &self.program) {
            (Some(kernel), _) => (kernel, self.listings(&GuestCode::of_elf(kernel, symbols)?)?),
            (None, Some(program)) => (program, self.program(program, symbols)?),
            (None, None) => return Err(Refused("There is nothing to dump".to_owned()).into()),
        };
        let (title, width) = (title.display().to_string(), rendering::width());
        print(&render(&title, &listings, self.stage.into(), self.format, width))?;
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
            return self.listings(&GuestCode::of_program(&vm, symbols, false));
        };
        let ran = once::run(vm, instructions);
        let vm = ran.member(0);
        match self.hot {
            Some(count) => Ok(Observed::program(&vm, symbols).hottest(count)),
            None => self.listings(&GuestCode::of_program(&vm, symbols, true)),
        }
    }

    /// The listings of what was asked for.
    fn listings(&self, code: &GuestCode<'_>) -> anyhow::Result<Vec<Listing>> {
        let user = self.mode.map(|mode| mode == Privilege::User);
        let mut listings = Vec::new();
        for range in self.ranges(code)? {
            let mode = code.mode(range.start, user);
            let blocks = match self.address {
                Some(_) => code.at(range.start, mode),
                None => code.blocks(&range, mode),
            };
            listings.extend(blocks.iter().map(|seen| code.listing(seen)));
        }
        Ok(listings)
    }

    /// What was asked for, or else everything.
    fn ranges(&self, code: &GuestCode<'_>) -> anyhow::Result<Vec<Range<Va>>> {
        if let Some(address) = self.address {
            let va = code.address(address)?;
            return Ok(vec![va..va + 4]);
        }
        if let Some((from, to)) = self.range {
            let range = code.address(from)?..code.address(to.saturating_sub(4))? + 4;
            return Ok(vec![checked(range)?]);
        }
        if let Some(name) = &self.symbol {
            return Ok(vec![checked(code.function(name)?)?]);
        }
        code.all().into_iter().map(|range| Ok(checked(range)?)).collect()
    }
}

fn checked(range: Range<Va>) -> Result<Range<Va>, Refused> {
    if range.is_empty() {
        return Err(Refused(format!("From {} up to {} there is nothing", range.start, range.end)));
    }
    let bytes = range.end.0 - range.start.0;
    if bytes > MOST_BYTES {
        let most = MOST_BYTES / 4;
        return Err(Refused(format!(
            "{} instructions are more than one listing can have, which is {most}; give a shorter --range",
            bytes / 4
        )));
    }
    Ok(range)
}

/// Writes to standard output; a reader that has seen enough is no error.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::{ErrorKind, Write as _};
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Reads an address: hexadecimal, with or without `0x`.
fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "write a hexadecimal number of at most 64 bits".to_owned())
}

fn instructions(text: &str) -> Result<u64, String> {
    if text == TO_THE_END {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| "write a number of instructions".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "write how many blocks, as in 20".to_owned())
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("write two addresses, as in 80100000..80100040")?;
    Ok((number(from)?, number(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hexadecimal() {
        assert_eq!(number("80100000"), Ok(0x8010_0000));
        assert_eq!(number("0xffffffff80100000"), Ok(0xffff_ffff_8010_0000));
        for bad in ["", "0x", "main", "1ffffffffffffffff", "-4"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert_eq!(range("10..20"), Ok((0x10, 0x20)));
        assert!(range("10-20").is_err());
    }
}
