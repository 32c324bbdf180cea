//! `myvmm inspect`: what a snapshot of a machine holds. It must not know how one is taken.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use runtime::vcpu::VcpuState;
use runtime::vm::snapshots::{DiskState, Opened};
use serde::Serialize;

use crate::exit::{self, Refused};
use crate::telling::answer;

/// Show what is in a snapshot of a machine; every checksum of its parts is checked
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Inspect {
    /// The snapshot
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check the RAM image too, which is mapped unchecked if it is larger than 64 MB
    #[arg(long)]
    verify: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// All that is told.
#[derive(Serialize)]
struct Facts {
    format: u32,
    identity: String,
    cpu: String,
    ram_bytes: u64,
    elapsed_seconds: f64,
    disks: Vec<DiskState>,
    verified: bool,
    parts: Vec<Part>,
    vcpus: Vec<Processor>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    version: u16,
    stored_bytes: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Processor {
    started: bool,
    pc: u64,
    registers: Vec<u64>,
    cp0: Vec<(String, u64)>,
}

impl Inspect {
    /// Prints what the snapshot holds.
    ///
    /// # Errors
    /// Refuses what is no whole snapshot of a machine.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let refused = |error: Refused| Refused(format!("{}: {error}", self.file.display()));
        let facts = self.look().map_err(refused)?;
        answer(&match self.format {
            Format::Json => serde_json::to_string_pretty(&facts)? + "\n",
            Format::Text => text(&facts),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn look(&self) -> Result<Facts, Refused> {
        let mut opened = Opened::new(&self.file).map_err(Refused::because)?;
        if self.verify {
            opened.verify().map_err(Refused::because)?;
        }
        let vcpus = opened.vcpus().map_err(Refused::because)?;
        let part = |facts: &runtime::snapshot::PartFacts| Part {
            name: facts.kind.clone(),
            version: facts.version,
            stored_bytes: facts.stored,
            bytes: facts.plain,
        };
        Ok(Facts {
            format: runtime::snapshot::format::FORMAT,
            identity: opened.state.identity.iter().map(|byte| format!("{byte:02x}")).collect(),
            cpu: opened.state.model.clone(),
            ram_bytes: opened.state.ram,
            elapsed_seconds: opened.state.elapsed as f64 / 1e9,
            disks: opened.state.disks.clone(),
            verified: self.verify,
            parts: opened.reader.facts().iter().map(part).collect(),
            vcpus: vcpus.iter().map(processor).collect(),
        })
    }
}

fn processor(vcpu: &VcpuState) -> Processor {
    let (started, pc) = (vcpu.is_started(), vcpu.pc());
    Processor { started, pc, registers: vcpu.registers().to_vec(), cp0: vcpu.cp0().to_vec() }
}

fn text(facts: &Facts) -> String {
    let mut lines = vec![
        format!("snapshot   {} (format {})", facts.identity, facts.format),
        format!("machine    {}, {} CPUs, {} MB of RAM", facts.cpu, facts.vcpus.len(), facts.ram_bytes >> 20),
        format!("guest ran  {:.3} s", facts.elapsed_seconds),
    ];
    lines.extend(
        facts.disks.iter().map(|disk| format!("disk       {}, {} bytes", disk.file.display(), disk.bytes)),
    );
    lines.push(format!("{:<18}{:>8}{:>14}{:>14}", "part", "version", "in the file", "unpacked"));
    lines.extend(facts.parts.iter().map(|part| {
        format!("{:<18}{:>8}{:>14}{:>14}", part.name, part.version, part.stored_bytes, part.bytes)
    }));
    for (number, vcpu) in facts.vcpus.iter().enumerate() {
        let state = if vcpu.started { "" } else { ", not started" };
        lines.push(format!("vCPU {number}: pc {:016x}{state}", vcpu.pc));
        for (row, four) in vcpu.registers.chunks(4).enumerate() {
            let values: Vec<String> = four.iter().map(|value| format!("{value:016x}")).collect();
            lines.push(format!("  ${:<3} {}", row * 4, values.join(" ")));
        }
    }
    if facts.verified {
        lines.push("every checksum is right".into());
    }
    lines.join("\n") + "\n"
}
