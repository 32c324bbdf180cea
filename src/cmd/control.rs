//! `myvmm control`: gives a running VM a command. It must not know what commands there are beyond the short words for
//! some.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::control::client::Client;
use crate::control::directory::{Directory, name};
use crate::exit;
use crate::telling::answer;

const PATIENCE: Duration = Duration::from_secs(60);

/// Short words for commands that people give.
const SHORT: [(&str, &str); 3] =
    [("reset", "system_reset"), ("powerdown", "system_powerdown"), ("status", "query-status")];

/// Give a running VM a command: stop, cont, status, reset, quit, or any other that its control socket takes
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Control {
    /// The VM; see `myvmm ps`
    #[arg(value_parser = name)]
    name: String,
    /// The command; query-commands lists all
    command: String,
    /// Arguments of the command: KEY=VALUE, where the value is JSON or a word
    #[arg(value_name = "KEY=VALUE", value_parser = argument)]
    arguments: Vec<(String, Value)>,
}

impl Control {
    /// Gives the command, and writes what it returns, if anything, to standard output.
    ///
    /// # Errors
    /// Refuses VMs that do not run, and what the VM refuses.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let long = SHORT.iter().find(|(short, _)| *short == self.command);
        let command = long.map_or(self.command.as_str(), |(_, long)| long);
        let mut client = Client::new(Directory::open()?.connect(&self.name)?, PATIENCE)?;
        let value = client.execute(command, &Map::from_iter(self.arguments))?;
        if value != json!({}) {
            answer(&format!("{value:#}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn argument(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}
