//! Connections between two myvmm processes on different hosts: protected by mutual TLS, plain only where nobody else
//! can listen or the user insists. It must not know what is sent over them.
//!
//! `wire` is a TCP connection with deadlines, `tls` the protection and its certificates.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use runtime::migrate::Stream;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::exit::{self, Refused};
use tls::{Credentials, Side};
use wire::Wire;

mod tls;
mod wire;

/// What both sides say first. It is over the protection, so who has heard it knows that the other side has accepted
/// this one's certificate: with TLS 1.3, a handshake can be over on one side and fail on the other.
const GREETING: &[u8; 16] = b"myvmm connect 1\n";
/// Until when a connection must be protected and greeted.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS's first bytes (RFC 8446, 5.1): an alert, and a handshake message.
const TLS_CONTENT: [u8; 2] = [21, 22];

/// How connections to other hosts are protected.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectionOptions {
    /// Protect the connection by TLS, with ca-cert.pem and, on the side that listens, server-cert.pem and
    /// server-key.pem, on the other, client-cert.pem and client-key.pem from this directory
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Do without TLS, though everybody on the way can then read and change the guest
    #[arg(long, conflicts_with = "tls_dir")]
    pub insecure: bool,
}

impl ConnectionOptions {
    /// The side that connects. All files are read now.
    ///
    /// # Errors
    /// Refuses files that are no good.
    pub fn client(&self) -> anyhow::Result<Client> {
        let tls = self.credentials(Side::Client)?;
        let tls = tls.map(|own| Ok::<_, anyhow::Error>((own.client()?, own))).transpose()?;
        Ok(Client { tls, insecure: self.insecure })
    }

    /// The side that listens. All files are read now.
    ///
    /// # Errors
    /// Refuses files that are no good.
    pub fn server(&self) -> anyhow::Result<Server> {
        let tls = self.credentials(Side::Server)?;
        let tls = tls.map(|own| Ok::<_, anyhow::Error>((own.server()?, own))).transpose()?;
        Ok(Server { tls, insecure: self.insecure })
    }

    fn credentials(&self, side: Side) -> anyhow::Result<Option<Credentials>> {
        let Some(directory) = &self.tls_dir else { return Ok(None) };
        let own = Credentials::read(directory, side)?;
        own.check()?;
        Ok(Some(own))
    }
}

/// Refuses a plain connection that leaves this host.
fn check_plain(address: SocketAddr, insecure: bool) -> anyhow::Result<()> {
    if insecure || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let ip = address.ip();
    Err(Refused(format!(
        "{ip} is not this host alone, and everybody on the way could read and change the guest; give --tls-dir, or \
         --insecure if you trust the network"
    ))
    .into())
}

/// The side that connects.
pub struct Client {
    tls: Option<(Arc<ClientConfig>, Credentials)>,
    insecure: bool,
}

impl Client {
    /// Connects to one of the `addresses` of `host`, a name or an address, by which the other side's certificate must
    /// know it. Then each read and each write may take `patience`.
    ///
    /// # Errors
    /// Fails if nobody listens, or either side does not accept the other; the sentence says which of them and what to
    /// do. It takes no longer than 10 s.
    pub fn connect(
        &self,
        addresses: &[SocketAddr],
        host: &str,
        patience: Duration,
    ) -> anyhow::Result<Connection> {
        let deadline = Instant::now() + HANDSHAKE;
        let stream = reach(addresses, deadline).map_err(|error| {
            let (port, why) = (addresses.first().map_or(0, SocketAddr::port), exit::words(&error));
            // So ends what the sandbox does not allow.
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "; start the VM with --movable, which allows it to connect"
                }
                _ => "",
            };
            anyhow!("Cannot reach {host}, port {port}: {why}{advice}")
        })?;
        if self.tls.is_none() {
            check_plain(stream.peer_addr()?, self.insecure)?;
        }
        match &self.tls {
            None => Connection::establish(stream, deadline, patience, plain, anyhow::Error::from),
            Some((config, own)) => {
                let protect = |wire| Ok(Box::new(tls::connect(config, host, wire)?) as _);
                Connection::establish(stream, deadline, patience, protect, |error| {
                    own.explain(error, Some(host))
                })
            }
        }
    }
}

/// The side that listens.
pub struct Server {
    tls: Option<(Arc<ServerConfig>, Credentials)>,
    insecure: bool,
}

impl Server {
    /// Listens at the address of `host`, such as `0.0.0.0`, and `port`.
    ///
    /// # Errors
    /// Refuses an address at which others could listen in, if there is no TLS, and fails if the host does not give it.
    pub fn listen(&self, host: &str, port: u16) -> anyhow::Result<TcpListener> {
        let listener = TcpListener::bind((host, port))
            .with_context(|| format!("Cannot listen at {host}, port {port}"))?;
        if self.tls.is_none() {
            check_plain(listener.local_addr()?, self.insecure)?;
        }
        Ok(listener)
    }

    /// Makes a connection of `stream`, which came in. Then each read and each write may take `patience`. It is for a
    /// thread or a process of its own: the other side has 10 s to show who it is, for which TLS takes some
    /// 100 kB at most.
    ///
    /// # Errors
    /// Fails if either side does not accept the other; the sentence says which of them and what to do.
    pub fn accept(&self, stream: TcpStream, patience: Duration) -> anyhow::Result<Connection> {
        self.accept_until(stream, Instant::now() + HANDSHAKE, patience)
    }

    fn accept_until(
        &self,
        stream: TcpStream,
        deadline: Instant,
        patience: Duration,
    ) -> anyhow::Result<Connection> {
        match &self.tls {
            None => {
                check_plain(stream.local_addr()?, self.insecure)?;
                Connection::establish(stream, deadline, patience, plain, anyhow::Error::from)
            }
            Some((config, own)) => {
                let protect = |wire| Ok(Box::new(tls::accept(config, wire)?) as _);
                Connection::establish(stream, deadline, patience, protect, |error| own.explain(error, None))
            }
        }
    }
}

/// A connection on which bytes can be sent and heard, by one thread at a time.
trait Duplex: Read + Write + Send {
    /// The TCP connection below.
    fn wire(&mut self) -> &mut Wire;
}

impl Duplex for Wire {
    fn wire(&mut self) -> &mut Wire {
        self
    }
}

impl Duplex for StreamOwned<ClientConnection, Wire> {
    fn wire(&mut self) -> &mut Wire {
        &mut self.sock
    }
}

impl Duplex for StreamOwned<ServerConnection, Wire> {
    fn wire(&mut self) -> &mut Wire {
        &mut self.sock
    }
}

fn plain(wire: Wire) -> io::Result<Box<dyn Duplex>> {
    Ok(Box::new(wire))
}

/// A connection whose two sides have accepted each other. What is written may wait for [`Write::flush`]. A read or
/// write that takes too long fails with [`io::ErrorKind::TimedOut`], and the connection is then of no more use.
pub struct Connection {
    stream: Box<dyn Duplex>,
    socket: TcpStream,
}

impl Connection {
    fn establish(
        socket: TcpStream,
        deadline: Instant,
        patience: Duration,
        protect: impl FnOnce(Wire) -> io::Result<Box<dyn Duplex>>,
        explain: impl FnOnce(io::Error) -> anyhow::Error,
    ) -> anyhow::Result<Self> {
        let opened = socket.try_clone().and_then(|clone| Wire::new(clone, deadline)).and_then(protect);
        let greeted = opened.and_then(|mut stream| {
            greet(&mut *stream)?;
            stream.wire().lift(patience)?;
            Ok(stream)
        });
        match greeted {
            Ok(stream) => Ok(Self { stream, socket }),
            Err(error) => {
                wire::part(&socket);
                Err(explain(error))
            }
        }
    }

    /// Lets each read and each write take `patience` from now on.
    ///
    /// # Errors
    /// Fails if `patience` is zero or the host refuses it.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        wire::set_patience(&self.socket, patience)
    }
}

impl Stream for Connection {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        self.set_patience(timeout)
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Says who this is and hears whether the other side is the same.
fn greet(stream: &mut dyn Duplex) -> io::Result<()> {
    stream.write_all(GREETING)?;
    stream.flush()?;
    let mut heard = Vec::new();
    let ended = stream.take(GREETING.len() as u64).read_to_end(&mut heard);
    let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    match (ended, heard.first()) {
        (Ok(_), _) if heard == GREETING => Ok(()),
        (_, Some(first)) if TLS_CONTENT.contains(first) => {
            wrong("The other side asks for TLS; give --tls-dir")
        }
        (Err(error), _) if GREETING.starts_with(&heard) => Err(error),
        (Ok(_), None) => wrong("The other side hung up without a word"),
        _ => wrong("The other side is no myvmm of this version"),
    }
}

fn reach(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, others) in addresses.iter().zip((0..addresses.len() as u32).rev()) {
        let left = deadline.saturating_duration_since(Instant::now()) / (others + 1);
        match TcpStream::connect_timeout(address, left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests;
