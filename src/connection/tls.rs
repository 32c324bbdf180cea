//! Mutual TLS 1.3 from certificates in files, which are named as QEMU names them (docs/system/tls.rst there), and what
//! its errors mean to the user. It must not know what is sent over it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig,
    ServerConnection, StreamOwned, version,
};

use super::wire::Wire;
use crate::exit::Refused;

/// A file with certificates is a few thousand bytes.
const LONGEST_FILE: u64 = 1 << 20;
const AUTHORITIES: &str = "ca-cert.pem";
const REVOKED: &str = "ca-crl.pem";

/// Which side of a connection this is; it decides which certificate is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connects.
    Client,
    /// The one that listens.
    Server,
}

impl Side {
    fn certificate(self) -> &'static str {
        match self {
            Self::Client => "client-cert.pem",
            Self::Server => "server-cert.pem",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Client => "client-key.pem",
            Self::Server => "server-key.pem",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What one side shows, and by whom the other must be vouched for.
pub struct Credentials {
    directory: PathBuf,
    side: Side,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Reads the files of `side` in `directory`.
    ///
    /// # Errors
    /// Refuses files that cannot be read or do not hold what they should, by name.
    pub fn read(directory: &Path, side: Side) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let authorities = directory.join(AUTHORITIES);
        for certificate in certificates(&authorities)? {
            roots.add(certificate).map_err(|error| refuse(&authorities, error))?;
        }
        let revoked = directory.join(REVOKED);
        let revoked =
            if revoked.exists() { items(&revoked, "list of revoked certificates")? } else { Vec::new() };
        let key = directory.join(side.key());
        let found = PrivateKeyDer::from_pem_slice(&bytes(&key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                refuse(&key, "it holds no private key in PEM form that needs no password")
            }
            other => refuse(&key, other),
        })?;
        Ok(Self {
            chain: certificates(&directory.join(side.certificate()))?,
            directory: directory.to_owned(),
            side,
            provider: Arc::new(ring::default_provider()),
            roots: Arc::new(roots),
            revoked,
            key: found,
        })
    }

    /// Checks that the other side could accept what this one shows, so that a mistake is told before anything is sent.
    ///
    /// # Errors
    /// Refuses a certificate that is not valid now, is not vouched for, or is for the other side.
    pub fn check(&self) -> anyhow::Result<()> {
        let (now, shown, between) = (UnixTime::now(), &self.chain[0], &self.chain[1..]);
        let valid = match self.side {
            Side::Server => ParsedCertificate::try_from(shown).and_then(|parsed| {
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)
            }),
            Side::Client => self.client_verifier()?.verify_client_cert(shown, between, now).map(|_| ()),
        };
        let file = self.directory.join(self.side.certificate());
        valid.map_err(|error| match error {
            Error::InvalidCertificate(what) => refuse(&file, self.judgement(&what, self.side)),
            other => refuse(&file, other),
        })
    }

    /// What the connecting side needs for its connections.
    ///
    /// # Errors
    /// Refuses a key that does not belong to the certificate.
    pub fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_webpki_verifier(self.server_verifier()?)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| self.mismatch(&error))?;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// What the listening side needs for its connections.
    ///
    /// # Errors
    /// Refuses a key that does not belong to the certificate.
    pub fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(self.client_verifier()?)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| self.mismatch(&error))?;
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn server_verifier(&self) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
        let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
        let builder = WebPkiServerVerifier::builder_with_provider(roots, provider);
        builder
            .with_crls(self.revoked.clone())
            .build()
            .map_err(|error| refuse(&self.directory.join(REVOKED), error))
    }

    fn client_verifier(&self) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
        let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        builder
            .with_crls(self.revoked.clone())
            .build()
            .map_err(|error| refuse(&self.directory.join(REVOKED), error))
    }

    fn mismatch(&self, error: &Error) -> anyhow::Error {
        let key = self.directory.join(self.side.key());
        match error {
            Error::InconsistentKeys(_) => {
                refuse(&key, format_args!("it is not the key of {}", self.side.certificate()))
            }
            other => refuse(&key, format_args!("TLS cannot use it: {other}")),
        }
    }

    /// What a connection that failed with `error` means; `host` is what the other side was called.
    pub fn explain(&self, error: io::Error, host: Option<&str>) -> anyhow::Error {
        let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    anyhow!("The other side hung up before it had shown a certificate")
                }
                _ => error.into(),
            };
        };
        let peer = self.side.other();
        match cause {
            Error::NoCertificatesPresented => {
                anyhow!("The other side shows no certificate; it needs {} and its key", peer.certificate())
            }
            Error::InvalidCertificate(what) => match host {
                Some(host) => anyhow!("The certificate of {host}: {}", self.judgement(what, peer)),
                None => anyhow!("The other side's certificate: {}", self.judgement(what, peer)),
            },
            Error::AlertReceived(alert) => anyhow!("The other side refuses: {}", self.complaint(*alert)),
            Error::InvalidMessage(_) => {
                anyhow!("The other side does not speak TLS; it needs --tls-dir, too")
            }
            Error::PeerIncompatible(what) => {
                anyhow!("The other side speaks another TLS than version 1.3 ({what:?}), and so is no myvmm")
            }
            other => anyhow!("TLS failed: {other}"),
        }
    }

    /// What is wrong with a certificate that `side` shows.
    fn judgement(&self, what: &CertificateError, side: Side) -> String {
        match what {
            CertificateError::ExpiredContext { time, not_after } => {
                format!("it expired {} ago; have a new one made", span(*not_after, *time))
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let span = span(*time, *not_before);
                format!("it is valid only in {span}; is the clock of this host right?")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("no authority in {} signed it", self.directory.join(AUTHORITIES).display())
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                format!(
                    "it is for {}; use one of these names, or have {} made for this one",
                    presented.join(", "),
                    side.certificate()
                )
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                format!("its purpose is another than that of {}", side.certificate())
            }
            CertificateError::Revoked => "it was revoked".into(),
            other => other.to_string(),
        }
    }

    /// What the other side has against this one.
    fn complaint(&self, alert: AlertDescription) -> String {
        let shown = self.directory.join(self.side.certificate());
        let shown = shown.display();
        match alert {
            AlertDescription::CertificateRequired => "it asks for a certificate; give --tls-dir".into(),
            // The latter if an authority there has the same name as the one that signed.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                format!("no authority in its {AUTHORITIES} signed {shown}")
            }
            AlertDescription::CertificateExpired => format!("{shown} is not valid now, by its clock"),
            AlertDescription::CertificateRevoked => format!("{shown} was revoked"),
            AlertDescription::BadCertificate => {
                format!("{shown} is not for the name that it knows this side by, or damaged")
            }
            AlertDescription::UnsupportedCertificate => format!("{shown} is for another purpose"),
            other => format!("{other:?}"),
        }
    }
}

/// Protects `wire` for the side that called `host` by that name.
///
/// # Errors
/// Fails with what [`Credentials::explain`] explains.
pub fn connect(
    config: &Arc<ClientConfig>,
    host: &str,
    wire: Wire,
) -> io::Result<StreamOwned<ClientConnection, Wire>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is no name of a host")))?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, wire);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Protects `wire` for the side that listened.
///
/// # Errors
/// Fails with what [`Credentials::explain`] explains.
pub fn accept(config: &Arc<ServerConfig>, wire: Wire) -> io::Result<StreamOwned<ServerConnection, Wire>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, wire);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn refuse(file: &Path, what: impl std::fmt::Display) -> anyhow::Error {
    Refused(format!("{}: {what}", file.display())).into()
}

fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|open| open.take(LONGEST_FILE).read_to_end(&mut bytes));
    read.map_err(|error| refuse(file, crate::exit::words(&error))).map(|_| bytes)
}

fn items<T: PemObject>(file: &Path, what: &str) -> anyhow::Result<Vec<T>> {
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&bytes(file)?).collect();
    match found.map_err(|error| refuse(file, error))? {
        none if none.is_empty() => Err(refuse(file, format_args!("it holds no {what} in PEM form"))),
        found => Ok(found),
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    items(file, "certificate")
}

/// The time between two moments, in the unit that a person would use.
fn span(from: UnixTime, to: UnixTime) -> String {
    let hours = to.as_secs().saturating_sub(from.as_secs()) / 3600;
    match hours {
        0 => "less than an hour".into(),
        1..48 => format!("{hours} h"),
        _ => format!("{} days", hours / 24),
    }
}
