//! `myvmm ps`: lists the VMs of this user that run. It must not know how they are asked.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::control::client::Client;
use crate::control::directory::Directory;
use crate::exit;
use crate::telling::answer;

/// A VM that takes longer is listed as one that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// List the VMs that run
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Ps {
    /// How to list them
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// An array of objects
    Json,
}

impl Ps {
    /// Writes the list to standard output.
    ///
    /// # Errors
    /// Fails if the directory of control sockets cannot be read.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let directory = Directory::open()?;
        let vms: Vec<Value> = directory.names()?.iter().map(|name| ask(&directory, name)).collect();
        answer(&match self.format {
            Format::Json => format!("{:#}\n", Value::from(vms)),
            Format::Text => table(&vms),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the VM says of itself.
fn ask(directory: &Directory, name: &str) -> Value {
    let answer = || Client::new(directory.connect(name)?, PATIENCE)?.execute("x-myvmm-query", &Map::new());
    answer().unwrap_or_else(|_| json!({ "name": name, "state": "silent" }))
}

const COLUMNS: [&str; 8] = ["name", "pid", "kind", "vcpus", "memory", "state", "uptime", "instructions"];

fn table(vms: &[Value]) -> String {
    let head = COLUMNS.map(|column| column.to_uppercase());
    let rows: Vec<_> =
        [head].into_iter().chain(vms.iter().map(|vm| COLUMNS.map(|column| cell(vm, column)))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn cell(vm: &Value, column: &str) -> String {
    match (column, &vm[column]) {
        ("memory", Value::Number(bytes)) => format!("{}M", bytes.as_u64().unwrap_or(0) >> 20),
        ("uptime", Value::Number(seconds)) => format!("{:.0}s", seconds.as_f64().unwrap_or(0.0)),
        (_, Value::String(text)) => text.clone(),
        (_, Value::Null) => "-".to_owned(),
        (_, value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_gaps_marked() {
        let whole = json!({ "name": "a", "pid": 12345, "kind": "machine", "vcpus": 2, "memory": 1 << 30,
            "state": "paused", "uptime": 1.4, "instructions": null });
        let text = table(&[whole, json!({ "name": "bbbbbb", "state": "silent" })]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "NAME    PID    KIND     VCPUS  MEMORY  STATE   UPTIME  INSTRUCTIONS");
        assert_eq!(lines[1], "a       12345  machine  2      1024M   paused  1s      -");
        assert_eq!(lines[2], "bbbbbb  -      -        -      -       silent  -       -");
    }
}
