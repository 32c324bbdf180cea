//! Connections over the loopback interface, with certificates made on the spot.

use std::fs;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const HOST: &str = "127.0.0.1";

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        Self::named("somebody")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Signs a certificate for each side into `directory`, with what `edit` changes.
    fn sign(&self, directory: &Path, edit: impl Fn(&mut CertificateParams)) {
        for (side, purpose) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
            params.extended_key_usages = vec![purpose];
            params.serial_number = Some(SerialNumber::from(7));
            edit(&mut params);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            fs::write(directory.join(format!("{side}-cert.pem")), certificate.pem()).unwrap();
            fs::write(directory.join(format!("{side}-key.pem")), key.serialize_pem()).unwrap();
        }
    }

    /// A directory of someone who trusts this authority, and is vouched for by it.
    fn directory(&self, edit: impl Fn(&mut CertificateParams)) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca-cert.pem"), &self.pem).unwrap();
        self.sign(directory.path(), edit);
        directory
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2001, 2, 3);
    params.not_before = date_time_ymd(2000, 2, 3);
}

fn options(directory: Option<&TempDir>) -> ConnectionOptions {
    ConnectionOptions { tls_dir: directory.map(|directory| directory.path().to_owned()), insecure: false }
}

/// A client that does not look at its own certificate.
fn client(directory: &TempDir) -> Client {
    let own = Credentials::read(directory.path(), Side::Client).unwrap();
    Client { tls: Some((own.client().unwrap(), own)), insecure: false }
}

/// A server that does not look at its own certificate.
fn server(directory: &TempDir) -> Server {
    let own = Credentials::read(directory.path(), Side::Server).unwrap();
    Server { tls: Some((own.server().unwrap(), own)), insecure: false }
}

fn plain_client() -> Client {
    options(None).client().unwrap()
}

fn plain_server() -> Server {
    options(None).server().unwrap()
}

/// Has `server` accept what `connect` does with its port; gives what came of both.
fn meet<T>(server: &Server, connect: impl FnOnce(u16) -> T) -> (T, anyhow::Result<Connection>) {
    let listener = server.listen("127.0.0.1", 0).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        let accepted = scope.spawn(move || server.accept(listener.accept().unwrap().0, PATIENCE));
        let connected = connect(port);
        (connected, accepted.join().unwrap())
    })
}

/// What a client and a server say when they do not accept each other.
#[track_caller]
fn refusals(client: &Client, server: &Server) -> [String; 2] {
    let (connected, accepted) = meet(server, |port| client.connect(&addresses(port), HOST, PATIENCE));
    [connected, accepted].map(|result| format!("{:#}", result.err().expect("it was accepted")))
}

fn sentence<T>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.err().expect("it was accepted"))
}

#[track_caller]
fn assert_says(sentence: &str, words: &[&str]) {
    assert!(words.iter().all(|word| sentence.contains(word)), "{sentence:?} does not say {words:?}");
}

/// Sends much there and back while both sides have only small buffers.
fn echo(client: &Client, server: &Server) {
    let (connected, accepted) = meet(server, |port| client.connect(&addresses(port), HOST, PATIENCE));
    let (mut here, mut there) = (connected.unwrap(), accepted.unwrap());
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut heard = vec![0; 3_000_000];
            there.read_exact(&mut heard).unwrap();
            there.write_all(&heard).unwrap();
            there.flush().unwrap();
        });
        here.write_all(&sent).unwrap();
        here.flush().unwrap();
        let mut heard = vec![0; sent.len()];
        here.read_exact(&mut heard).unwrap();
        assert!(heard == sent);
    });
}

fn addresses(port: u16) -> Vec<SocketAddr> {
    (HOST, port).to_socket_addrs().expect("this host has an address").collect()
}

#[test]
fn sides_that_one_authority_vouches_for_accept_each_other() {
    let authority = Authority::new();
    let (here, there) = (authority.directory(|_| ()), authority.directory(|_| ()));
    echo(&options(Some(&here)).client().unwrap(), &options(Some(&there)).server().unwrap());
}

#[test]
fn on_one_host_no_certificates_are_needed() {
    echo(&plain_client(), &plain_server());
}

#[test]
fn certificates_of_another_authority_are_refused_on_both_sides() {
    let authority = Authority::new();
    let good = authority.directory(|_| ());
    // One of the same name signs with another key.
    for other in [Authority::new(), Authority::named("another")] {
        let bad = authority.directory(|_| ());
        other.sign(bad.path(), |_| ());
        let [here, there] = refusals(&client(&bad), &server(&good));
        assert_says(
            &here,
            &["The other side refuses: no authority in its ca-cert.pem signed", "client-cert.pem"],
        );
        assert_says(&there, &["The other side's certificate: no authority in", "ca-cert.pem signed it"]);
        let [here, there] = refusals(&client(&good), &server(&bad));
        assert_says(&here, &["The certificate of 127.0.0.1: no authority in", "ca-cert.pem signed it"]);
        assert_says(
            &there,
            &["The other side refuses: no authority in its ca-cert.pem signed", "server-cert.pem"],
        );
    }
}

#[test]
fn expired_certificates_are_refused_on_both_sides() {
    let authority = Authority::new();
    let (good, old) = (authority.directory(|_| ()), authority.directory(expired));
    let [here, there] = refusals(&client(&old), &server(&good));
    assert_says(&here, &["The other side refuses", "client-cert.pem is not valid now"]);
    assert_says(&there, &["The other side's certificate: it expired", "days ago"]);
    let [here, there] = refusals(&client(&good), &server(&old));
    assert_says(&here, &["The certificate of 127.0.0.1: it expired", "days ago"]);
    assert_says(&there, &["The other side refuses", "server-cert.pem is not valid now"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let elsewhere = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("elsewhere.test".try_into().unwrap())];
    };
    let (here, there) = (authority.directory(|_| ()), authority.directory(elsewhere));
    let [client, server] = refusals(&client(&here), &server(&there));
    assert_says(
        &client,
        &["The certificate of 127.0.0.1", "elsewhere.test", "server-cert.pem made for this one"],
    );
    assert_says(&server, &["The other side refuses", "server-cert.pem is not for the name"]);
}

#[test]
fn a_certificate_for_the_other_purpose_is_refused() {
    let authority = Authority::new();
    let swapped = authority.directory(|params| {
        let other = match params.extended_key_usages[0] {
            ExtendedKeyUsagePurpose::ServerAuth => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        };
        params.extended_key_usages = vec![other];
    });
    for file in [sentence(options(Some(&swapped)).client()), sentence(options(Some(&swapped)).server())] {
        assert_says(&file, &["-cert.pem: its purpose is another than that of"]);
    }
}

#[test]
fn a_revoked_certificate_is_refused() {
    let authority = Authority::new();
    let (here, there) = (authority.directory(|_| ()), authority.directory(|_| ()));
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2200, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(7),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority.issuer).unwrap().pem().unwrap();
    fs::write(there.path().join("ca-crl.pem"), list).unwrap();
    let [client, server] = refusals(&client(&here), &server(&there));
    assert_says(&client, &["client-cert.pem was revoked"]);
    assert_says(&server, &["it was revoked"]);
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let there = authority.directory(|_| ());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (connected, accepted) = meet(&server(&there), |port| {
        let stream = TcpStream::connect((HOST, port)).unwrap();
        let wire = Wire::new(stream, Instant::now() + PATIENCE).unwrap();
        greet(&mut tls::connect(&Arc::new(config), HOST, wire).unwrap())
    });
    assert_says(&sentence(accepted), &["The other side shows no certificate", "client-cert.pem"]);
    assert_says(&connected.unwrap_err().to_string(), &["CertificateRequired"]);
}

#[test]
fn plain_and_protected_sides_part_with_advice() {
    let directory = Authority::new().directory(|_| ());
    let [here, there] = refusals(&plain_client(), &server(&directory));
    assert_says(&here, &["The other side asks for TLS; give --tls-dir"]);
    assert_says(&there, &["The other side does not speak TLS; it needs --tls-dir, too"]);
    let [here, there] = refusals(&client(&directory), &plain_server());
    assert_says(&here, &["The other side does not speak TLS; it needs --tls-dir, too"]);
    assert_says(&there, &["The other side asks for TLS; give --tls-dir"]);
}

#[test]
fn plain_connections_stay_on_the_host_unless_the_user_insists() {
    let says = sentence(plain_server().listen("0.0.0.0", 0));
    assert_says(&says, &["0.0.0.0 is not this host alone", "--tls-dir", "--insecure"]);
    assert!(check_plain("[::ffff:127.0.0.1]:1".parse().unwrap(), false).is_ok());
    assert!(check_plain("[::1]:1".parse().unwrap(), false).is_ok());
    assert!(check_plain("192.0.2.1:1".parse().unwrap(), false).is_err());
    let insecure = ConnectionOptions { tls_dir: None, insecure: true };
    insecure.server().unwrap().listen("0.0.0.0", 0).unwrap();
}

#[test]
fn files_that_are_no_good_are_named() {
    let authority = Authority::new();
    let directory = authority.directory(|_| ());
    let at = |name: &str| directory.path().join(name);
    let says = |words: &[&str]| assert_says(&sentence(options(Some(&directory)).client()), words);
    let other = authority.directory(|_| ());
    fs::copy(other.path().join("client-key.pem"), at("client-key.pem")).unwrap();
    says(&["client-key.pem: it is not the key of client-cert.pem"]);
    fs::write(at("client-key.pem"), "nothing").unwrap();
    says(&["client-key.pem: it holds no private key"]);
    fs::remove_file(at("client-key.pem")).unwrap();
    says(&["client-key.pem: No such file"]);
    authority.sign(directory.path(), expired);
    says(&["client-cert.pem: it expired", "have a new one made"]);
    Authority::new().sign(directory.path(), |_| ());
    says(&["client-cert.pem: no authority in", "ca-cert.pem signed it"]);
    fs::write(at("ca-cert.pem"), "").unwrap();
    says(&["ca-cert.pem: it holds no certificate"]);
}

#[test]
fn nobody_keeps_an_unproved_connection_for_long() {
    let directory = Authority::new().directory(|_| ());
    for (server, dripped) in
        [(plain_server(), &GREETING[..]), (server(&directory), &[22, 3, 1, 2, 0, 1, 0, 1][..])]
    {
        let listener = server.listen("127.0.0.1", 0).unwrap();
        let mut slow = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let deadline = Duration::from_millis(200);
        let stream = listener.accept().unwrap().0;
        thread::scope(|scope| {
            let accepted =
                scope.spawn(move || server.accept_until(stream, Instant::now() + deadline, PATIENCE));
            // Every byte comes soon after the last one, and all of them much too late.
            for byte in dripped {
                thread::sleep(deadline / 4);
                // The other side may have had enough.
                let _ = slow.write_all(&[*byte]);
            }
            assert_says(&sentence(accepted.join().unwrap()), &["does not answer in time"]);
        });
    }
}

#[test]
fn nobody_fills_memory_before_the_proof() {
    let directory = Authority::new().directory(|_| ());
    let (sent, accepted) = meet(&server(&directory), |port| {
        let mut stream = TcpStream::connect((HOST, port)).unwrap();
        // A handshake message of 16 MB in records of 16 kB.
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.extend([1, 0xff, 0xff, 0xff]);
        record.resize(5 + 0x4000, 0);
        (0..1024).take_while(|_| stream.write_all(&record).is_ok()).count()
    });
    assert_says(&sentence(accepted), &["The other side does not speak TLS"]);
    // What the host's sockets hold is not ours to bound.
    assert!(sent < 1024, "all of it was taken");
}
