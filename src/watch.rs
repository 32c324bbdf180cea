//! What the user wants to learn of a run: statistics, a trace, the hottest blocks, a map for `perf`. The options, what
//! they ask of the machine, and what is written when it has ended. It must not know how a machine works.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use clap::Args;
use runtime::load::read_file;
use runtime::load::symbols::Symbols;
use runtime::observe::Watching;
use runtime::trace::{Kinds, Lines, Tracing};
use runtime::vcpu::Engine;
use runtime::vm::VmError;
use translator::listing::Stage;

use crate::exit::Refused;
use crate::observed::{Observed, hottest};
use crate::rendering::{self, Format, render};
use crate::report::Report;
use crate::telling::answer;

/// A file of more bytes holds no symbols.
const MOST_BYTES: u64 = 1 << 28;

/// Where `perf` looks for maps.
const PERF_MAPS: &str = "/tmp";

/// What a run should tell.
#[derive(Clone, Debug, Default, Args)]
pub struct WatchOptions {
    /// Print statistics to standard error at the end
    #[arg(long)]
    stats: bool,
    /// Write statistics as JSON to a file
    #[arg(long, value_name = "FILE")]
    stats_file: Option<PathBuf>,
    /// At the end write the N blocks that ran most often, with all stages, to standard output or to a file; the name's
    /// ending says how: .html, .json or text
    #[arg(long, value_name = "N[=FILE]", value_parser = count_and_file, visible_alias = "dump-hot")]
    hot: Option<(usize, Option<PathBuf>)>,
    /// Write a line for each event to standard error or to a file: patch, block, exit, irq, tlb, exception
    #[arg(long, value_name = "KIND,...[=FILE]", value_parser = kinds_and_file)]
    trace: Option<(Kinds, Option<PathBuf>)>,
    /// At the end write /tmp/perf-PID.map: where the code of which guest function is, as Linux `perf` reads it
    #[arg(long)]
    perf_map: bool,
    /// Names for addresses: a System.map, or a guest's /proc/kallsyms; by default kernels and programs tell their own
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
}

/// What is to be written when machines have ended.
pub struct Watch {
    stats: bool,
    stats_file: Option<Output>,
    hot: Option<(usize, Option<(Output, Format)>)>,
    /// The lines of a trace that go to a file.
    trace: Option<(Lines, PathBuf)>,
    perf_map: bool,
    /// The names for addresses that the user gives.
    pub symbols: Option<Symbols>,
    /// What goes to standard output when the console has been closed.
    last_words: Mutex<String>,
    /// Why something could not be written.
    failure: Mutex<Option<anyhow::Error>>,
}

impl WatchOptions {
    /// Opens the files, and says what machines are to keep for it.
    ///
    /// # Errors
    /// Refuses files that cannot be read or written, and a profile of an engine without one.
    pub fn open(&self, engine: Engine) -> anyhow::Result<(Arc<Watch>, Watching)> {
        let profiled = self.hot.is_some() || self.perf_map;
        if profiled && engine == Engine::Interpreter {
            let what = "--hot and --perf-map show translations, and --engine interp makes none";
            return Err(Refused(what.to_owned()).into());
        }
        let symbols = self.symbols.as_deref().map(read_symbols).transpose()?;
        let counted = self.stats || self.stats_file.is_some() || self.trace.is_some();
        let tracing = self.tracing(symbols.as_ref())?;
        let traced = self.trace.as_ref().and_then(|(_, file)| file.clone());
        let trace = tracing.as_ref().map(|tracing| Arc::clone(&tracing.out)).zip(traced);
        let watching = Watching { counted, profiled, trace: tracing };
        let hot = match &self.hot {
            Some((count, Some(file))) => Some((*count, Some((create(file)?, Format::of_file(file))))),
            Some((count, None)) => Some((*count, None)),
            None => None,
        };
        let watch = Watch {
            stats: self.stats,
            stats_file: self.stats_file.as_deref().map(create).transpose()?,
            hot,
            trace,
            perf_map: self.perf_map,
            symbols,
            last_words: Mutex::default(),
            failure: Mutex::default(),
        };
        Ok((Arc::new(watch), watching))
    }

    /// The directories of files that are made only at the end.
    pub fn late_files(&self) -> Option<PathBuf> {
        self.perf_map.then(|| PERF_MAPS.into())
    }

    fn tracing(&self, symbols: Option<&Symbols>) -> anyhow::Result<Option<Tracing>> {
        let Some((kinds, file)) = &self.trace else { return Ok(None) };
        let out = match file {
            Some(file) => create(file)?.file,
            None => File::from(std::io::stderr().as_fd().try_clone_to_owned()?),
        };
        let out = Arc::new(Mutex::new(BufWriter::new(out)));
        Ok(Some(Tracing { kinds: *kinds, out, symbols: symbols.cloned().unwrap_or_default(), first: 0 }))
    }
}

impl Watch {
    /// Whether statistics are to be printed.
    pub fn prints_statistics(&self) -> bool {
        self.stats
    }

    /// Writes what is to be known of machines that have ended; `machines` is asked only if that is anything. What goes
    /// wrong is told by [`Watch::close`].
    pub fn look(&self, machines: impl FnOnce() -> Vec<Observed>) {
        if self.hot.is_none() && !self.perf_map {
            return;
        }
        if let Err(error) = self.write(&machines()) {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    fn write(&self, machines: &[Observed]) -> anyhow::Result<()> {
        if self.perf_map {
            let path = format!("{PERF_MAPS}/perf-{}.map", std::process::id());
            let map: String = machines.iter().map(Observed::perf_map).collect();
            std::fs::write(&path, map).with_context(|| format!("Cannot write {path}"))?;
        }
        let Some((count, file)) = &self.hot else { return Ok(()) };
        let listings = hottest(machines, *count);
        let shown = |format| render("The hottest blocks", &listings, Stage::All, format, rendering::width());
        match file {
            Some((output, format)) => output.replace(&shown(*format)),
            None => {
                *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = shown(Format::Text);
                Ok(())
            }
        }
    }

    /// Writes what waited for the end of the console.
    ///
    /// # Errors
    /// Fails if the host does not take a file's bytes, or did not earlier.
    pub fn close(&self, report: &Report) -> anyhow::Result<()> {
        answer(&self.last_words.lock().unwrap_or_else(PoisonError::into_inner))?;
        if self.stats {
            tell!("{report}");
        }
        if let Some(output) = &self.stats_file {
            output.replace(&report.json())?;
        }
        if let Some((lines, path)) = &self.trace {
            match lines.lock().unwrap_or_else(PoisonError::into_inner).flush() {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                flushed => flushed.with_context(|| format!("Cannot write {}", path.display()))?,
            }
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }
}

/// Reads the names for addresses in `path`.
///
/// # Errors
/// Refuses a file without any.
pub fn read_symbols(path: &Path) -> anyhow::Result<Symbols> {
    let bytes = read_file(path, MOST_BYTES).map_err(VmError::from)?;
    let symbols = match runtime::load::elf::Image::parse(path, &bytes) {
        Ok(image) => image.symbols,
        Err(_) => Symbols::from_map(&String::from_utf8_lossy(&bytes)),
    };
    if symbols.is_empty() {
        let path = path.display();
        return Err(Refused(format!(
            "{path} has no symbols; it should be a System.map, a copy of /proc/kallsyms or an ELF file"
        ))
        .into());
    }
    Ok(symbols)
}

fn create(path: &Path) -> anyhow::Result<Output> {
    match File::create(path) {
        Ok(file) => Ok(Output { file, path: path.to_owned() }),
        Err(error) => {
            let (path, why) = (path.display(), crate::exit::words(&error));
            Err(Refused(format!("Cannot write {path}: {why}")).into())
        }
    }
}

/// A file that is opened first and written last.
struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    /// Makes `text` the contents of the file, which a machine that rebooted may have written already.
    fn replace(&self, text: &str) -> anyhow::Result<()> {
        let write = || {
            let mut file = &self.file;
            // A pipe or a device has no beginning to go back to.
            if file.metadata()?.is_file() {
                file.rewind()?;
                file.set_len(0)?;
            }
            file.write_all(text.as_bytes())
        };
        write().with_context(|| format!("Cannot write {}", self.path.display()))
    }
}

fn count_and_file(text: &str) -> Result<(usize, Option<PathBuf>), String> {
    let (count, file) = with_file(text);
    let count = count.parse::<usize>().ok().filter(|count| *count > 0);
    Ok((count.ok_or("write how many blocks, as in 20 or 20=hot.html")?, file))
}

fn kinds_and_file(text: &str) -> Result<(Kinds, Option<PathBuf>), String> {
    let (words, file) = with_file(text);
    let kinds = Kinds::from_words(words);
    Ok((kinds.map_err(|word| format!("`{word}` is none of {}", Kinds::words().join(", ")))?, file))
}

fn with_file(text: &str) -> (&str, Option<PathBuf>) {
    match text.split_once('=') {
        Some((what, file)) => (what, Some(file.into())),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_follows_an_equals_sign() {
        assert_eq!(count_and_file("20"), Ok((20, None)));
        assert_eq!(count_and_file("3=a=b.html"), Ok((3, Some("a=b.html".into()))));
        assert!(count_and_file("0").is_err() && count_and_file("all").is_err());
        assert_eq!(kinds_and_file("irq,tlb=x"), Ok((Kinds::IRQ | Kinds::TLB, Some("x".into()))));
        assert!(kinds_and_file("irq,fly").unwrap_err().contains("`fly` is none of patch, block"));
    }
}
