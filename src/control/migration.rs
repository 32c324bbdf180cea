//! Moves of a VM to another host as clients order and watch them. It must not know how a guest is moved, nor what it is.

use std::io::{self, IsTerminal as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use runtime::migrate::{Amount, ArriveError, Connect, Notice, Progress, Status, Stream, Terms};
use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::{Event, Failure};
use super::server::Notices;
use crate::connection::{Client, ConnectionOptions};

/// Where receivers listen if nothing else is said.
pub const PORT: u16 = 4446;

/// Reads `HOST[:PORT]` of a receiver that can be reached.
///
/// # Errors
/// Refuses what is neither.
pub fn destination(text: &str) -> Result<(String, u16), String> {
    match place(text)? {
        (_, 0) => Err(format!("`{text}` has no port that could be reached")),
        place => Ok(place),
    }
}

/// Reads `HOST[:PORT]`; an IPv6 address with a port is in brackets. To listen, port 0 is any that is free.
///
/// # Errors
/// Refuses what is neither.
pub fn place(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("`{text}` is no HOST[:PORT]");
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
        // Two colons are those of an address.
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    match port.map_or(Some(PORT), |port| port.parse().ok()) {
        Some(port) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(bad()),
    }
}

/// The addresses of a host: looked up where that is still possible, since a confined process cannot.
///
/// # Errors
/// Says that there is none.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| crate::exit::words(&error));
    match found.map(Iterator::collect::<Vec<_>>) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(format!("Cannot find {host}: the name has no address")),
        Err(why) => Err(format!("Cannot find {host}: {why}")),
    }
}

/// The arguments of `migrate`: QEMU's, and ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Order {
    /// `tcp:HOST:PORT`; its certificate must know the host as it is called here.
    uri: String,
    /// Where the host is: a confined process cannot look its name up.
    x_myvmm_addresses: Option<Vec<SocketAddr>>,
    /// Where the certificates are.
    x_myvmm_tls_dir: Option<PathBuf>,
    /// Whether it may be done without TLS.
    #[serde(default)]
    x_myvmm_insecure: bool,
    /// Whether the disks that the guest can change are copied. QEMU had `blk` for that, to images that its target had been
    /// given.
    #[serde(default)]
    pub x_myvmm_with_disk: bool,
}

impl Order {
    /// The way to the receiver, and its name for people.
    ///
    /// # Errors
    /// Refuses what is no way.
    pub fn way(self) -> Result<(Road, String), Failure> {
        let place = self.uri.strip_prefix("tcp:");
        let place = place.ok_or_else(|| Failure::new("The URI must be tcp:HOST:PORT"))?;
        let (host, port) = destination(place).map_err(Failure::new)?;
        let options = ConnectionOptions { tls_dir: self.x_myvmm_tls_dir, insecure: self.x_myvmm_insecure };
        let client = options.client().map_err(|error| Failure::new(format!("{error:#}")))?;
        let addresses = self.x_myvmm_addresses.map_or_else(|| resolve(&host, port), Ok);
        let addresses = addresses.map_err(Failure::new)?;
        Ok((Road { client: client.into(), name: host.clone(), addresses }, host))
    }
}

/// The way to a receiver.
pub struct Road {
    /// What connections are protected by.
    pub client: std::sync::Arc<Client>,
    /// What the receiver is called.
    pub name: String,
    /// Where it is.
    pub addresses: Vec<SocketAddr>,
}

impl Connect for Road {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connected = self.client.connect(&self.addresses, &self.name, Terms::default().patience);
        match connected {
            Ok(connection) => Ok(Box::new(connection)),
            Err(error) => Err(io::Error::other(format!("{error:#}"))),
        }
    }
}

/// The arguments of `migrate-set-parameters`, as far as there are such.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Parameters {
    /// In milliseconds.
    downtime_limit: Option<u64>,
    /// In bytes a second; 0 is no limit.
    max_bandwidth: Option<u64>,
}

impl Parameters {
    /// Changes what is given.
    pub fn apply(&self, terms: &mut Terms) {
        if let Some(limit) = self.downtime_limit {
            terms.downtime = Duration::from_millis(limit);
        }
        if let Some(bandwidth) = self.max_bandwidth {
            terms.bandwidth = (bandwidth > 0).then_some(bandwidth);
        }
    }
}

/// What `query-migrate-parameters` tells.
pub fn parameters(terms: &Terms) -> Value {
    json!({
        "downtime-limit": terms.downtime.as_millis() as u64,
        "max-bandwidth": terms.bandwidth.unwrap_or(0),
    })
}

/// What QEMU's `MigrationStatus` calls it.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Setup => "setup",
        Status::Active => "active",
        Status::Device | Status::Undecided => "device",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// What `query-migrate` tells, in the words of QEMU's `MigrationInfo`.
pub fn info(progress: &Progress) -> Value {
    const PAGE: u64 = 4096;
    let mut info = json!({
        "status": word(progress.status),
        "total-time": milliseconds(progress.total_time),
        "expected-downtime": milliseconds(progress.expected_downtime),
        "cpu-throttle-percentage": progress.throttle,
        "ram": {
            "total": progress.memory.total,
            "transferred": progress.transferred,
            "remaining": progress.memory.remaining,
            "normal": progress.memory.sent / PAGE,
            "normal-bytes": progress.memory.sent,
            "dirty-pages-rate": (progress.dirty_rate / PAGE as f64) as u64,
            "dirty-sync-count": progress.rounds,
            "mbps": progress.rate * 8e-6,
            "pages-per-second": (progress.rate / PAGE as f64) as u64,
            "page-size": PAGE,
        },
    });
    if !progress.copied.is_empty() {
        let Amount { total, sent, remaining } = progress.disks;
        info["disk"] = json!({ "total": total, "normal-bytes": sent, "remaining": remaining });
        info["x-myvmm-copied"] = progress.copied.clone().into();
    }
    if let Some(downtime) = progress.downtime {
        info["downtime"] = milliseconds(downtime).into();
        info["x-myvmm-downtime"] = (downtime.as_secs_f64() * 1e3).into();
    }
    if progress.status == Status::Undecided {
        info["x-myvmm-undecided"] = true.into();
    }
    if let Some(reason) = &progress.reason {
        info["error-desc"] = reason.as_str().into();
    }
    info
}

/// What became of the image of a disk that was copied.
pub fn is_old(to: &str, image: &str) -> String {
    format!("goes on at {to} with a copy of {image}; this one is old now, and is left as it is")
}

/// The data of the event `MIGRATION`.
fn event(progress: &Progress) -> Value {
    let mut data = json!({ "status": word(progress.status) });
    if let Some(downtime) = progress.downtime {
        data["x-myvmm-downtime"] = (downtime.as_secs_f64() * 1e3).into();
    }
    if let Some(remark) = &progress.remark {
        data["x-myvmm-remark"] = remark.as_str().into();
    }
    if !progress.copied.is_empty() {
        data["x-myvmm-copied"] = progress.copied.clone().into();
    }
    data
}

/// Tells clients and the person at the console what happens.
pub fn tell(notices: &Notices, name: &str, to: &str, notice: &Notice) {
    match notice {
        Notice::Status(progress) => {
            if progress.status == Status::Completed {
                progress.copied.iter().for_each(|image| say(&format!("{name} {}", is_old(to, image))));
            }
            notices.publish(Event::Migration(event(progress)));
        }
        Notice::Round(round) => notices.publish(Event::MigrationPass(*round)),
        Notice::Still(true) => notices.publish(Event::Stop),
        Notice::Still(false) => notices.publish(Event::Resume),
        Notice::Doubt(why) => say(&format!(
            "{name} was handed over to {to}, but nobody there says that it runs ({why}). It stands still here, and is \
             asked for again and again. If it does not run there, `myvmm control {name} cont` lets it go on here, and \
             if it does, `myvmm control {name} quit` ends it here"
        )),
    }
}

/// A guest is whole, but its source is gone.
pub fn say_lost(name: &str, why: &ArriveError) {
    say(&format!(
        "{name} is here as a whole, but nobody there says whether it is to run ({why}). It stands still until the sender \
         asks for it. If it does not run there, `myvmm control {name} cont` lets it go on here, and `myvmm control {name} \
         quit` forgets it"
    ));
}

/// A sentence for a person, whose terminal may be raw.
pub fn say(sentence: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\nmyvmm: {sentence}\r\n");
    } else {
        eprintln!("myvmm: {sentence}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_have_ports_or_the_usual_one() {
        let good = [
            ("a", "a", PORT),
            ("a:1", "a", 1),
            ("::1", "::1", PORT),
            ("[::1]:7", "::1", 7),
            ("[::1]", "::1", PORT),
        ];
        for (text, host, port) in good {
            assert_eq!(destination(text), Ok((host.to_owned(), port)), "{text}");
        }
        for bad in ["", ":1", "a:", "a:0", "a:65536", "a:x", "[::1]7", "[]:1"] {
            assert!(destination(bad).is_err(), "{bad}");
        }
        assert_eq!(place("[::1]:0"), Ok(("::1".to_owned(), 0)));
    }
}
