//! Prepares a Debian guest in the cache and prints where its files are.
//!
//! `cargo run -p myvmm-image --example fetch -- [--flavour generic|malta] [--cache DIRECTORY] [--mirror ADDRESS] [--refresh]`

use std::path::PathBuf;
use std::process::ExitCode;

use image::{Flavour, Request};

fn request(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let cache = image::default_cache().map_err(|error| error.to_string())?;
    let mut request = Request::new(cache, Flavour::Generic);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--flavour" => request.flavour = flavour(&value()?)?,
            "--cache" => request.cache = PathBuf::from(value()?),
            "--mirror" => request.mirror = Some(value()?),
            "--refresh" => request.refresh = true,
            _ => return Err(format!("{option} is not an option: see the head of this example")),
        }
    }
    Ok(request)
}

fn flavour(name: &str) -> Result<Flavour, String> {
    let found = Flavour::ALL.into_iter().find(|flavour| flavour.name() == name);
    found.ok_or(format!("{name} is not a flavour: use generic or malta"))
}

/// An error and all that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn fetch() -> Result<(), String> {
    let request = request(std::env::args().skip(1))?;
    let mut last = String::new();
    let mut draw = |what: &str, done: u64, total: Option<u64>| {
        let share = total.map_or(String::new(), |total| format!(" {}%", done * 100 / total.max(1)));
        let line = format!("{what}{share}");
        if line != last {
            eprintln!("{line}");
            last = line;
        }
    };
    let guest = image::debian::prepare(&request, &mut draw).map_err(|error| chain(&error))?;
    println!("release   {}", guest.release);
    for (name, version) in &guest.packages {
        println!("package   {name} {version}");
    }
    println!("kernel    {}", guest.kernel.display());
    println!("initramfs {}", guest.initramfs.display());
    Ok(())
}

fn main() -> ExitCode {
    match fetch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch: {error}");
            ExitCode::FAILURE
        }
    }
}
