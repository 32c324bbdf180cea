//! Prepares a Debian guest in the cache and prints where its files are.
//!
//! `cargo run -p myvmm-image --example fetch -- [--flavour generic|malta] [--cache DIRECTORY] [--mirror ADDRESS] [--refresh]
//! [--with PACKAGE]... [--output FILE]`
//!
//! With packages to add, another initramfs that has them too goes into the file, and that one is printed.

use std::path::PathBuf;
use std::process::ExitCode;

use image::{Flavour, Request};

/// The packages that an initramfs of its own is to have, and where that goes.
#[derive(Default)]
struct Addition {
    packages: Vec<String>,
    output: Option<PathBuf>,
}

fn request(mut arguments: impl Iterator<Item = String>) -> Result<(Request, Addition), String> {
    let mut addition = Addition::default();
    let cache = image::default_cache().map_err(|error| error.to_string())?;
    let mut request = Request::new(cache, Flavour::Generic);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--flavour" => request.flavour = flavour(&value()?)?,
            "--cache" => request.cache = PathBuf::from(value()?),
            "--mirror" => request.mirror = Some(value()?),
            "--refresh" => request.refresh = true,
            "--with" => addition.packages.push(value()?),
            "--output" => addition.output = Some(PathBuf::from(value()?)),
            _ => return Err(format!("{option} is not an option: see the head of this example")),
        }
    }
    Ok((request, addition))
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
    let (request, addition) = request(std::env::args().skip(1))?;
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
    let mut initramfs = guest.initramfs.clone();
    if !addition.packages.is_empty() {
        initramfs = addition.output.ok_or("--with needs --output, the file for the initramfs")?;
        let names: Vec<&str> = addition.packages.iter().map(String::as_str).collect();
        let mut builder = guest.builder().map_err(|error| chain(&error))?;
        image::add_packages(&mut builder, &request, &names, &mut draw).map_err(|error| chain(&error))?;
        let bytes = builder.build().map_err(|error| chain(&error))?;
        std::fs::write(&initramfs, bytes).map_err(|error| format!("{}: {error}", initramfs.display()))?;
    }
    println!("initramfs {}", initramfs.display());
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
