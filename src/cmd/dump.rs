//! `myvmm dump`: shows what the code of a kernel or a program becomes, without running it. It must not know how code
//! is decoded or how listings look.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use translator::addr::Va;
use translator::isa::text::Names;
use translator::listing::{Context, Listing};
use translator::mode::Mode;

use crate::exit::{self, Refused};
use crate::guest_code::GuestCode;
use crate::rendering::{self, Format, StageChoice, render};
use crate::watch::read_symbols;

/// More instructions make a listing that nobody reads.
const MOST_BYTES: u64 = 4 << 16;

/// Show what guest code becomes: its instructions, the patch plan, the intermediate representation, the host code
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Dump {
    /// An assembly program
    #[arg(value_name = "PROGRAM", required_unless_present = "kernel", conflicts_with = "kernel")]
    program: Option<PathBuf>,
    /// A kernel, or another MIPS ELF file
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
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
    /// The mode that the code runs in; by default what its address says
    #[arg(long, value_enum)]
    mode: Option<Privilege>,
    /// What to show
    #[arg(long, value_enum, default_value_t = StageChoice::All)]
    stage: StageChoice,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
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
        let code = self.code()?;
        let ranges = self.ranges(&code)?;
        let user = self.mode.map(|mode| mode == Privilege::User);
        let symbol = |va: Va, _: Mode| code.name(va);
        let context = Context { registers: self.registers(), symbol: &symbol };
        let mut listings = Vec::new();
        for range in ranges {
            let mode = code.mode(range.start, user);
            let blocks = match self.address {
                Some(_) => vec![code.block(range.start, mode)],
                None => code.blocks(&range, mode),
            };
            listings.extend(blocks.iter().map(|block| Listing::new(block, None, context)));
        }
        print(&render(&self.title(), &listings, self.stage.into(), self.format, rendering::width()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn code(&self) -> anyhow::Result<GuestCode> {
        let mut code = match (&self.kernel, &self.program) {
            (Some(kernel), _) => GuestCode::from_elf(kernel)?,
            (None, Some(program)) => GuestCode::from_program(program)?,
            (None, None) => return Err(Refused("There is nothing to dump".to_owned()).into()),
        };
        if let Some(file) = &self.symbols {
            code.symbols = read_symbols(file)?;
        }
        Ok(code)
    }

    fn title(&self) -> String {
        let file = self.kernel.as_ref().or(self.program.as_ref());
        file.map(|file| file.display().to_string()).unwrap_or_default()
    }

    /// Programs name registers as MARS does, kernels as their sources do.
    fn registers(&self) -> Names {
        if self.kernel.is_some() { Names::N64 } else { Names::O32 }
    }

    /// What was asked for: of a program everything, of a kernel the function that it starts with.
    fn ranges(&self, code: &GuestCode) -> anyhow::Result<Vec<Range<Va>>> {
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
        match self.kernel {
            Some(_) => Ok(vec![code.entry..code.entry + 4]),
            None => code.all().into_iter().map(|range| Ok(checked(range)?)).collect(),
        }
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
