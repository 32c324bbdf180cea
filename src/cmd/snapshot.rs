//! `myvmm snapshot`: has a running machine saved to a file. It must not know what is in one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::control::client::Client;
use crate::control::directory::{Directory, name};
use crate::exit::{self, Refused};

/// How long the machine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked whether it is saved.
const REST: Duration = Duration::from_millis(5);

/// Save a running machine to a file, while it goes on; it must have been started with --snapshots, or --sandbox off
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Snapshot {
    /// The machine; see `myvmm ps`
    #[arg(value_parser = name)]
    name: String,
    /// The file, which is replaced when the snapshot is whole
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Compress memory; going on from the file then takes longer
    #[arg(long, conflicts_with = "parent")]
    compress: bool,
    /// Save only the memory that changed since the machine's last snapshot, which is this file
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
}

impl Snapshot {
    /// Has it saved, and says how long the guest stood still.
    ///
    /// # Errors
    /// Refuses machines that do not run, and what the machine refuses.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let form = match (&self.parent, self.compress) {
            (Some(parent), _) => json!({ "since": std::path::absolute(parent)? }),
            (None, true) => json!("compressed"),
            (None, false) => json!("mapped"),
        };
        let file = json!(std::path::absolute(&self.file)?);
        let arguments = Map::from_iter([("file".to_owned(), file), ("form".to_owned(), form)]);
        let mut client = Client::new(Directory::open()?.connect(&self.name)?, PATIENCE)?;
        client.execute("x-myvmm-snapshot", &arguments)?;
        let saved = self.wait(&mut client)?;
        let milliseconds = |key: &str| saved[key].as_f64().unwrap_or_default() * 1e3;
        tell_line!(
            "{}: {} bytes; the guest stood still for {:.1} ms of {:.0} ms",
            self.file.display(),
            saved["bytes"],
            milliseconds("pause"),
            milliseconds("total-time")
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Waits until the machine is saved; gives what it says about it.
    fn wait(&self, client: &mut Client) -> anyhow::Result<Value> {
        loop {
            let status = client.execute("x-myvmm-query-snapshot", &Map::new())?;
            match status["status"].as_str() {
                Some("active") => std::thread::sleep(REST),
                Some("completed") => return Ok(status),
                _ => {
                    let why = status["error-desc"].as_str().unwrap_or("the machine does not say why");
                    return Err(Refused(format!("{}: {why}", self.file.display())).into());
                }
            }
        }
    }
}
