//! `myvmm debian`: boots a stock Debian kernel with a small userland in memory, or with a Debian system on a disk; both
//! are made from Debian packages the first time.
//! It must not know how packages become images, or how a machine or a console works.

mod install;
mod ssh;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use image::root::Root;
use image::{Flavour, Guest, Request};
use indicatif::{ProgressBar, ProgressStyle};
use runtime::backend::disk::{Format, Image, SharedDisk};

use crate::console::keys;
use crate::control::Address;
use crate::exit;
use crate::options::MachineOptions;
use crate::session::{Closing, End, Session};
use ssh::Login;

/// Kernel notices during boot: few lines, but enough to see that something happens.
const BOOT_LOG: &str = "console=ttyS0 loglevel=6";
/// Errors only, so that the output is the script's.
const NO_BOOT_LOG: &str = "console=ttyS0 quiet";

/// Boot Debian's own MIPS64 kernel to a shell; the first start gets it with apt (45 MB, no root needed)
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n{}", keys::HELP, exit::CODES), max_term_width = 100)]
pub struct Debian {
    /// Run a shell script in place of the interactive shell, then end with the script's exit status
    #[arg(long, value_name = "SCRIPT", conflicts_with = "restore")]
    run: Option<String>,
    /// Boot a Debian system on a disk of its own, which keeps what is changed; the first time installs it
    #[arg(long)]
    persist: bool,
    /// Install that system anew and forget what was changed; implies --persist
    #[arg(long)]
    fresh: bool,
    /// Packages to install with a new system besides those that it always has; may be given several times
    #[arg(long, value_name = "PACKAGE", value_parser = package_name)]
    with: Vec<String>,
    /// Lead a port of this host, 2222 if none is given, to the SSH server of that system; implies --persist
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "2222")]
    ssh: Option<u16>,
    /// Look for newer packages and make the images anew; a system on a disk stays as it is without --fresh
    #[arg(long)]
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
        if !(self.with.is_empty() || self.has_disk()) {
            bail!(exit::Refused("--with installs packages in a system on a disk; add --persist".into()));
        }
        let mut words = self.kernel_words()?;
        let request = self.request()?;
        let mut drawing = Drawing::default();
        let guest = image::debian::prepare(&request, &mut drawing)?;
        let disk = self.disk(&request, &guest, &mut drawing)?;
        drawing.clear();
        let login = self.ssh.map(|port| Login::new(port, &request.cache)).transpose()?;
        if disk.is_some() {
            words = [&words, image::BOOT_DISK_WORD].join(" ");
        }
        if let Some(login) = &login {
            words = [words, image::key_word(login.key())].join(" ");
        }
        let mut config = self.machine.config(guest.kernel, Some(guest.initramfs), &words)?;
        // The kernel's root is the first disk.
        config.disks.splice(..0, disk);
        if let Some(login) = &login {
            login.forward(&mut config.cards)?;
            tell_line!("myvmm: Once the guest is up, log in by: {login}");
        }
        self.machine.complete(&mut config)?;
        let (watch, watching) = self.machine.watch.open(config.engine)?;
        config.watching = watching;
        if std::io::stderr().is_terminal() && self.run.is_none() && self.machine.restore.is_none() {
            tell_line!("Booting Linux {}. Ctrl-A h shows the keys, Ctrl-A x leaves.", guest.release);
        }
        let address = Address::take(self.machine.name.as_deref(), Path::new("debian"))?;
        self.machine.confine(&config, &address)?;
        // A script that reboots would run again and again.
        let reboots = !self.machine.no_reboot && self.run.is_none();
        let (origin, snapshots) = (self.machine.restore.clone().into(), self.machine.snapshots.clone());
        let closing = Session { address, config, origin, snapshots, reboots, watch }.run()?;
        self.conclude(&closing)
    }

    fn kernel_words(&self) -> anyhow::Result<String> {
        let Some(script) = &self.run else { return Ok(BOOT_LOG.to_owned()) };
        Ok(format!("{NO_BOOT_LOG} {}", image::run_word(script)?))
    }

    fn request(&self) -> anyhow::Result<Request> {
        let cache = match &self.cache {
            // apt wants absolute paths.
            Some(cache) => std::path::absolute(cache)?,
            None => image::default_cache()?,
        };
        Ok(Request {
            mirror: self.mirror.clone(),
            refresh: self.refresh,
            ..Request::new(cache, Flavour::Generic)
        })
    }

    /// Whether the system is on a disk of its own.
    fn has_disk(&self) -> bool {
        self.persist || self.fresh || self.ssh.is_some()
    }

    /// The disk of the system, if there is to be one; it is installed if need be.
    fn disk(
        &self,
        request: &Request,
        guest: &Guest,
        drawing: &mut Drawing,
    ) -> anyhow::Result<Option<SharedDisk>> {
        if !self.has_disk() {
            return Ok(None);
        }
        let file = match image::root::prepare(request, self.fresh, &self.with, drawing)? {
            Root::Ready(file) => {
                if !self.with.is_empty() {
                    tell_line!(
                        "myvmm: The system is there already, so --with adds nothing; \
                         install packages in it with apt, or make it anew with --fresh"
                    );
                }
                file
            }
            Root::ToInstall(installation) => install::install(guest, installation, drawing)?,
        };
        let image = Image { file, format: Some(Format::Raw), read_only: false, snapshot: false };
        Ok(Some(SharedDisk::open(&image).map_err(exit::Refused::because)?))
    }

    fn conclude(&self, closing: &Closing) -> anyhow::Result<ExitCode> {
        match (&self.run, closing.script_status) {
            (Some(_), Some(status)) => Ok(status.into()),
            // The script goes on elsewhere.
            (Some(_), None) if closing.end.is_orderly() && closing.end != End::Moved => {
                bail!("The machine ended before the script of --run did")
            }
            _ => Ok(closing.end.exit_code()),
        }
    }
}

/// Reads the name of a Debian package (Debian Policy, section 5.6.1): nothing else may reach apt as a word.
fn package_name(text: &str) -> Result<String, String> {
    let good = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let good = text.len() > 1
        && text.starts_with(good)
        && text.chars().all(|letter| good(letter) || "+-.".contains(letter));
    if good { Ok(text.to_owned()) } else { Err("it is not the name of a Debian package".to_owned()) }
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
            tell_line!("myvmm: {step}");
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

impl Drop for Drawing {
    fn drop(&mut self) {
        self.clear();
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

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn only_names_of_packages_reach_apt() {
        assert!(["fio", "g++-12", "libc6", "0ad"].iter().all(|name| package_name(name).is_ok()));
        assert!(
            ["", "x", "-y", "Fio", "a b", "a;b", "+a", "fio=1", "../a"]
                .iter()
                .all(|name| package_name(name).is_err())
        );
    }
}
