//! For which machine programs are, and in which dialect their source is, as options. It must not know what programs do.

use clap::{Args, ValueEnum};
use runtime::program::Options;
use translator::asm;

/// What a program's file does not say of itself.
#[derive(Clone, Copy, Debug, Args)]
pub struct Dialect {
    /// The CPU of the programs
    #[arg(long, value_enum, default_value_t = CpuChoice::Mips32r2)]
    cpu: CpuChoice,
    /// The order of bytes
    #[arg(long, value_enum, default_value_t = EndianChoice::Little)]
    endian: EndianChoice,
    /// Whose rules hold where MARS, SPIM and GNU as differ
    #[arg(long, value_enum, default_value_t = CompatChoice::Mars)]
    compat: CompatChoice,
    /// Let programs see delay slots, as under .set noreorder
    #[arg(long)]
    delayed_branches: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CpuChoice {
    Mips32r2,
    Mips64r2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EndianChoice {
    Little,
    Big,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompatChoice {
    Mars,
    Spim,
    Gas,
}

impl Dialect {
    /// The machine.
    pub fn machine(self) -> Options {
        let assembler = self.assembler();
        Options { cpu: assembler.cpu, endian: assembler.endian, compat: assembler.compat }
    }

    /// How its source is read.
    pub fn assembler(self) -> asm::Options {
        asm::Options {
            cpu: match self.cpu {
                CpuChoice::Mips32r2 => asm::Cpu::Mips32r2,
                CpuChoice::Mips64r2 => asm::Cpu::Mips64r2,
            },
            endian: match self.endian {
                EndianChoice::Little => asm::Endian::Little,
                EndianChoice::Big => asm::Endian::Big,
            },
            compat: match self.compat {
                CompatChoice::Mars => asm::Compat::Mars,
                CompatChoice::Spim => asm::Compat::Spim,
                CompatChoice::Gas => asm::Compat::Gas,
            },
            delayed_branches: self.delayed_branches,
            abi: asm::Abi::O32,
        }
    }
}
