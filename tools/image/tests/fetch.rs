//! Gets real packages from the Debian archive into a fresh cache, and checks that the cache is enough afterwards.
//! Needs apt and the network, and fails with the crate's own message where they are missing.

use std::fs;
use std::time::{Duration, Instant};

use image::debian::prepare;
use image::{Error, Flavour, Guest, Request, Silent};

/// Nothing answers at this address, so a guest that comes from here came from the cache.
const NOWHERE: &str = "http://127.0.0.1:9/debian";

fn explain(error: &Error) -> String {
    format!("a Debian guest could not be prepared: {error}")
}

fn prepared(request: &Request) -> Guest {
    prepare(request, &mut Silent).unwrap_or_else(|error| panic!("{}", explain(&error)))
}

#[test]
fn a_guest_is_fetched_once_and_then_comes_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let mut request = Request::new(cache.path().join("cache dir"), Flavour::Generic);
    let mut steps = Vec::new();
    let mut progress = |what: &str, done: u64, total: Option<u64>| {
        assert!(total.is_none_or(|total| done <= total), "{what}: {done} of {total:?}");
        steps.push(what.to_owned());
    };
    let guest = prepare(&request, &mut progress).unwrap_or_else(|error| panic!("{}", explain(&error)));
    assert!(guest.release.ends_with("mips64r2el"), "{}", guest.release);
    assert!(fs::read(&guest.kernel).unwrap().starts_with(b"\x7fELF"));
    assert!(steps.iter().any(|step| step.starts_with("downloading")), "{steps:?}");
    assert_eq!(guest.builder().unwrap().build().unwrap(), fs::read(&guest.initramfs).unwrap());

    request.mirror = Some(NOWHERE.into());
    let start = Instant::now();
    assert_eq!(prepared(&request), guest);
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());

    let whole = fs::read(&guest.initramfs).unwrap();
    fs::write(&guest.initramfs, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(prepared(&request), guest, "a cut file is made anew from the packages at hand");
    assert_eq!(fs::read(&guest.initramfs).unwrap(), whole);

    request.refresh = true;
    assert!(matches!(prepare(&request, &mut Silent), Err(Error::Network { .. })));
    request.refresh = false;
    assert_eq!(prepared(&request), guest, "a failed refresh leaves what was there");
}

#[test]
fn an_archive_that_does_not_answer_is_told_from_other_failures() {
    let cache = tempfile::tempdir().unwrap();
    let mut request = Request::new(cache.path().to_owned(), Flavour::Malta);
    request.mirror = Some(NOWHERE.into());
    let error = prepare(&request, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    request.mirror = Some("not an address".into());
    assert!(matches!(prepare(&request, &mut Silent), Err(Error::BadMirror { .. })));
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let request = Request::new(file.path().join("cache"), Flavour::Generic);
    let error = prepare(&request, &mut Silent).unwrap_err();
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}
