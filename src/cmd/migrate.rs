//! `myvmm migrate`: has a running VM moved to another host, and shows how far that is. It must not know how it is done.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::connection::ConnectionOptions;
use crate::control::client::Client;
use crate::control::directory::{Directory, name};
use crate::control::migration::{destination, is_old, resolve};
use crate::exit::{self, Refused};

/// A VM that is about to stand still answers later.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked.
const REST: Duration = Duration::from_millis(100);

/// Move a running VM to another host, where `myvmm receive` runs, while it goes on; it must use the user network, or have
/// been started with --movable or --sandbox off
#[derive(Debug, Args)]
#[command(after_help = format!("{CODES}\n{}", exit::CODES), max_term_width = 100)]
pub struct Migrate {
    /// The VM; see `myvmm ps`
    #[arg(value_parser = name)]
    name: String,
    /// Where it goes; the usual port is 4446
    #[arg(value_name = "HOST[:PORT]")]
    to: String,
    /// How many milliseconds the guest may stand still, as far as that can be foreseen
    #[arg(long, value_name = "MS", default_value_t = 50)]
    downtime_limit: u64,
    /// The most bytes to send in a second: a number with K, M or G; without, M is meant
    #[arg(long, value_name = "SIZE", value_parser = crate::options::size)]
    max_bandwidth: Option<u64>,
    /// Copy the disks that the guest can change, too, to new images in the first directory that the receiver was given by
    /// --disks; without, the hosts must share them
    #[arg(long)]
    with_disk: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

const CODES: &str = "\
Ctrl-C leaves the move alone; `myvmm control NAME migrate_cancel` has the VM stay.
Ends with 0 when the VM runs there, and with 1 if it stays here.
";

impl Migrate {
    /// Has it moved, and says how long the guest stood still.
    ///
    /// # Errors
    /// Refuses VMs that do not run, and what the VM refuses, and fails if the VM stays.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let (host, port) = destination(&self.to).map_err(Refused)?;
        let addresses = resolve(&host, port).map_err(Refused)?;
        let directory = self.connection.tls_dir.as_ref().map(std::path::absolute).transpose()?;
        let mut client = Client::new(Directory::open()?.connect(&self.name)?, PATIENCE)?;
        let terms = json!({
            "downtime-limit": self.downtime_limit,
            "max-bandwidth": self.max_bandwidth.unwrap_or(0),
        });
        client.execute("migrate-set-parameters", &object(terms))?;
        let order = json!({
            "uri": format!("tcp:{}", self.to),
            "x-myvmm-addresses": addresses,
            "x-myvmm-tls-dir": directory,
            "x-myvmm-insecure": self.connection.insecure,
            "x-myvmm-with-disk": self.with_disk,
        });
        client.execute("migrate", &object(order))?;
        self.watch(&mut client)
    }

    fn watch(&self, client: &mut Client) -> anyhow::Result<ExitCode> {
        let bar = Bar::new();
        let mut is_told = false;
        loop {
            let info = client.execute("query-migrate", &Map::new());
            if let Some(remark) = client.migration["x-myvmm-remark"].as_str().filter(|_| !is_told) {
                is_told = true;
                bar.print(&format!("myvmm: {} at {}: {remark}", self.name, self.to));
            }
            let info = match info {
                // It ends when it has moved, and says so before.
                Err(_) if client.migration["status"] == "completed" => client.migration.take(),
                info => info?,
            };
            match info["status"].as_str() {
                Some("completed") => return Ok(self.conclude(&info)),
                Some("failed") => {
                    bail!(
                        "{} stays here: {}",
                        self.name,
                        info["error-desc"].as_str().unwrap_or("no reason is given")
                    )
                }
                Some("cancelled") => bail!("{} stays here: the move was cancelled", self.name),
                _ => bar.show(&info),
            }
            thread::sleep(REST);
        }
    }

    fn conclude(&self, info: &Value) -> ExitCode {
        let stood = match info["x-myvmm-downtime"].as_f64() {
            Some(downtime) => format!("; the guest stood still for {downtime:.1} ms"),
            None => String::new(),
        };
        eprintln!("{} runs at {} now{stood}", self.name, self.to);
        for image in info["x-myvmm-copied"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            eprintln!("{} {}", self.name, is_old(&self.to, image));
        }
        ExitCode::SUCCESS
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        // What is not there is not said.
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

/// How far it is: a bar on a terminal, nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}]");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(std::io::stderr().is_terminal().then(|| ProgressBar::new(1).with_style(style)))
    }

    /// Prints a line that stays.
    fn print(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn show(&self, info: &Value) {
        let Some(bar) = &self.0 else { return };
        let ram = &info["ram"];
        let both =
            |what| [ram, &info["disk"]].map(|part| part[what].as_u64().unwrap_or(0)).iter().sum::<u64>();
        let (sent, left) = (both("normal-bytes"), both("remaining"));
        bar.set_length((sent + left).max(1));
        bar.set_position(sent);
        bar.set_message(match info["x-myvmm-undecided"].as_bool() {
            Some(true) => "waiting for the other side's word".to_owned(),
            _ => format!(
                "round {}, {:.0} MB/s, {} MB left, would stand still for {} ms",
                ram["dirty-sync-count"],
                ram["mbps"].as_f64().unwrap_or(0.0) / 8.0,
                left >> 20,
                info["expected-downtime"],
            ),
        });
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
