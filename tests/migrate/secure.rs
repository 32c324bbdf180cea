//! Moves that are protected by TLS, by the command line, with certificates made on the spot: a guest goes only to, and comes
//! only from, whom both sides know.

use std::fs;
use std::path::Path;
use std::process::Output;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

use crate::host::guest::Guest;
use crate::host::{myvmm, text};
use crate::processes::{Receiver, listed, start};

const HOST: &str = "127.0.0.1";

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The files of a host called `name` that trusts this authority, with what `edit` changes in its certificates.
    fn host(&self, name: &str, edit: impl Fn(&mut CertificateParams)) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca-cert.pem"), &self.pem).unwrap();
        for (side, purpose) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![purpose];
            edit(&mut params);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            fs::write(directory.path().join(format!("{side}-cert.pem")), certificate.pem()).unwrap();
            fs::write(directory.path().join(format!("{side}-key.pem")), key.serialize_pem()).unwrap();
        }
        directory
    }
}

fn valid(_: &mut CertificateParams) {}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2000, 2, 3);
    params.not_after = date_time_ymd(2001, 2, 3);
}

/// Has a machine with the certificates in `here` move to a receiver with those in `there`; gives what is said, and whether
/// it goes on where it is.
fn attempt(here: &TempDir, there: &TempDir) -> (Output, bool) {
    let path = |directory: &TempDir| directory.path().to_str().unwrap().to_owned();
    let (home, target) = (Receiver::new(), Receiver::with(&["--tls-dir", &path(there)]));
    let guest = Guest::monitor();
    let _machine = start(&home, &guest, &[&format!("--movable={}", path(here))]);
    let output = home.run(&["migrate", "demo", &target.place, "--tls-dir", &path(here)]);
    let stays = listed(&home, "demo").is_some_and(|vm| vm["state"] == "running");
    let goes = listed(&target, "demo").is_some();
    assert_ne!(stays, goes);
    if goes {
        assert_eq!(target.run(&["control", "demo", "quit"]).status.code(), Some(0));
    }
    (output, stays)
}

/// The move must fail with a sentence that has `words`.
#[track_caller]
fn assert_refused(here: &TempDir, there: &TempDir, words: &str) {
    let (output, stays) = attempt(here, there);
    let said = text(&output.stderr);
    assert!(stays && !output.status.success(), "{said}");
    assert!(said.contains(words) && said.lines().count() == 1, "{said:?} does not say {words:?}");
}

#[test]
fn hosts_that_one_authority_vouches_for_exchange_guests() {
    let authority = Authority::named("ours");
    let (output, stays) = attempt(&authority.host("here", valid), &authority.host(HOST, valid));
    assert!(!stays && output.status.code() == Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_guest_stays_if_its_host_or_the_other_is_not_known() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let known = ours.host(HOST, valid);
    assert_refused(&theirs.host("here", valid), &known, "no authority in");
    // Someone who trusts ours, but whom ours does not know.
    let stranger = theirs.host("here", valid);
    fs::write(stranger.path().join("ca-cert.pem"), format!("{}{}", ours.pem, theirs.pem)).unwrap();
    assert_refused(&stranger, &known, "The other side refuses: no authority in its ca-cert.pem signed");
    assert_refused(&ours.host("here", valid), &ours.host("elsewhere", valid), "it is for");
}

#[test]
fn certificates_that_have_expired_are_refused_before_anything_is_sent() {
    let authority = Authority::named("ours");
    assert_refused(&authority.host("here", expired), &authority.host(HOST, valid), "expired");
    let listens = listen(authority.host(HOST, expired).path());
    let said = text(&listens.stderr);
    assert!(said.contains("server-cert.pem: it expired") && said.lines().count() == 1, "{said}");
    assert!(!listens.status.success());
}

fn listen(certificates: &Path) -> Output {
    let mut command = myvmm(["receive", "--listen", "127.0.0.1:0", "--tls-dir"]);
    command.arg(certificates).output().unwrap()
}
