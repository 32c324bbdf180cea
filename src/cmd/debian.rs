//! `myvmm debian`: boots a stock Debian kernel with a small userland, made from Debian packages the first time.
//! It must not know how packages become images, or how a machine or a console works.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use image::{Flavour, Guest};
use indicatif::{ProgressBar, ProgressStyle};

use crate::console::keys;
use crate::control::Address;
use crate::exit;
use crate::options::MachineOptions;
use crate::session::{Closing, Session};

/// Kernel notices during boot: few lines, but enough to see that something happens.
const BOOT_LOG: &str = "console=ttyS0 loglevel=6";
/// Errors only, so that the output is the script's.
const NO_BOOT_LOG: &str = "console=ttyS0 quiet";

/// Boot Debian's own MIPS64 kernel to a shell; the first start gets it with apt (45 MB, no root needed)
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n{}", keys::HELP, exit::CODES), max_term_width = 100)]
pub struct Debian {
    /// Run a shell script in place of the interactive shell, then end with the script's exit status
    #[arg(long, value_name = "SCRIPT")]
    run: Option<String>,
    /// Look for newer packages and make the image anew
    #[arg(long, visible_alias = "fresh")]
    refresh: bool,
    /// Where images are kept; by default $XDG_CACHE_HOME/myvmm or ~/.cache/myvmm
    #[arg(long, value_name = "DIRECTORY")]
    cache: Option<PathBuf>,
    /// The Debian mirror to get packages from; by default that of the host's apt
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    #[command(flatten)]
    machine: MachineOptions,
}

impl Debian {
    /// Prepares the image and runs the machine until it ends; gives myvmm's exit code.
    ///
    /// # Errors
    /// Fails if the image cannot be made, the machine cannot be built or the host fails it.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let words = self.kernel_words()?;
        let guest = self.prepare()?;
        let mut config = self.machine.config(guest.kernel, Some(guest.initramfs), &words)?;
        let watch = self.machine.watch.open(&mut config)?;
        if std::io::stderr().is_terminal() && self.run.is_none() {
            eprintln!("Booting Linux {}. Ctrl-A h shows the keys, Ctrl-A x leaves.", guest.release);
        }
        let address = Address::take(self.machine.name.as_deref(), Path::new("debian"))?;
        self.machine.confine(&config, &address)?;
        // A script that reboots would run again and again.
        let reboots = !self.machine.no_reboot && self.run.is_none();
        let closing = Session { address, config, reboots, watch }.run()?;
        self.conclude(&closing)
    }

    fn kernel_words(&self) -> anyhow::Result<String> {
        let Some(script) = &self.run else { return Ok(BOOT_LOG.to_owned()) };
        let word = image::run_word(script).map_err(exit::Refused::because)?;
        Ok(format!("{NO_BOOT_LOG} {word}"))
    }

    fn prepare(&self) -> anyhow::Result<Guest> {
        let cache = match &self.cache {
            // apt wants absolute paths.
            Some(cache) => std::path::absolute(cache)?,
            None => image::default_cache()?,
        };
        let request = image::Request {
            mirror: self.mirror.clone(),
            refresh: self.refresh,
            ..image::Request::new(cache, Flavour::Generic)
        };
        let mut drawing = Drawing::default();
        let guest = image::debian::prepare(&request, &mut drawing);
        drawing.clear();
        Ok(guest?)
    }

    fn conclude(&self, closing: &Closing) -> anyhow::Result<ExitCode> {
        match (&self.run, closing.script_status) {
            (Some(_), Some(status)) => Ok(status.into()),
            (Some(_), None) if closing.end.is_orderly() => {
                bail!("The machine ended before the script of --run did")
            }
            _ => Ok(closing.end.exit_code()),
        }
    }
}

/// Shows how far the image is: a bar on a terminal, a line a step elsewhere.
#[derive(Default)]
struct Drawing {
    bar: Option<ProgressBar>,
    step: String,
}

impl Drawing {
    fn begin(&mut self, step: &str) {
        self.clear();
        step.clone_into(&mut self.step);
        if !std::io::stderr().is_terminal() {
            eprintln!("myvmm: {step}");
            return;
        }
        let bar = ProgressBar::new_spinner().with_message(step.to_owned());
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        self.bar = Some(bar);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl image::Progress for Drawing {
    fn step(&mut self, what: &str, done: u64, total: Option<u64>) {
        if self.step != what {
            self.begin(what);
        }
        let (Some(bar), Some(total)) = (&self.bar, total) else { return };
        if bar.length() != Some(total) {
            bar.set_length(total);
            bar.set_style(bar_style());
        }
        bar.set_position(done);
    }
}

/// Units differ from step to step, so it shows the share.
fn bar_style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent}%");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}
