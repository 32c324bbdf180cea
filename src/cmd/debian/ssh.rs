//! The way into a guest by SSH: a port of the host, and a key that the guest takes for one boot. It must not know how
//! the guest gets the key.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use runtime::backend::net::user::{Forward, Protocol};
use runtime::backend::net::{Card, Link};

use crate::exit::Refused;

/// The guest's port.
const SSH: u16 = 22;

/// The names of a user's own keys, the newest kind first.
const KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Who may log in, and how.
#[derive(Debug)]
pub struct Login {
    port: u16,
    /// The public key, as a line of `authorized_keys`.
    key: String,
    /// The private key, where it is not one that `ssh` looks for by itself.
    identity: Option<PathBuf>,
}

impl Login {
    /// A login by `port` of this host, with a key of the user, or else one that is made in the directory `cache`.
    ///
    /// # Errors
    /// Fails if there is no key and none can be made.
    pub fn new(port: u16, cache: &Path) -> anyhow::Result<Self> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let of_user = home.iter().flat_map(|home| KEYS.map(|name| home.join(".ssh").join(name)));
        for private in of_user.filter(|private| private.exists()) {
            if let Ok(key) = fs::read_to_string(private.with_extension("pub")) {
                return Ok(Self { port, key, identity: None });
            }
        }
        let private = cache.join("ssh").join(KEYS[0]);
        if !private.exists() {
            make_key(cache)?;
        }
        let public = private.with_extension("pub");
        let key = fs::read_to_string(&public).with_context(|| format!("Cannot read {}", public.display()))?;
        Ok(Self { port, key, identity: Some(private) })
    }

    /// The public key.
    pub fn key(&self) -> &str {
        self.key.trim()
    }

    /// Leads the port to the first of `cards` that is on the user network.
    ///
    /// # Errors
    /// Refuses if there is none.
    pub fn forward(&self, cards: &mut [Card]) -> Result<(), Refused> {
        let user = cards.iter_mut().find_map(|card| match &mut card.link {
            Link::User(options) => Some(options),
            _ => None,
        });
        let lacks = || Refused("--ssh needs a network card on the user network; leave --net out".into());
        user.ok_or_else(lacks)?.forwards.push(Forward {
            protocol: Protocol::Tcp,
            host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port),
            guest: SSH,
        });
        Ok(())
    }
}

impl Display for Login {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "ssh -p {}", self.port)?;
        if let Some(identity) = &self.identity {
            write!(out, " -i {}", identity.display())?;
        }
        write!(out, " root@127.0.0.1")
    }
}

/// Makes a key without a passphrase in `cache`: aside, so that it is whole or not there.
fn make_key(cache: &Path) -> anyhow::Result<()> {
    let (aside, finished) = (cache.join("ssh.new"), cache.join("ssh"));
    let failed = || format!("Cannot make a key in {}", finished.display());
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(failed),
        _ => fs::create_dir_all(&aside).with_context(failed)?,
    }
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "myvmm", "-f"]).arg(aside.join(KEYS[0]));
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "--ssh needs the program ssh-keygen, which is not installed: install the package openssh-client"
            )
        }
        output => output.with_context(failed)?,
    };
    if !output.status.success() {
        bail!("{}: {}", failed(), String::from_utf8_lossy(&output.stderr).trim());
    }
    fs::rename(&aside, &finished).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::backend::net::user;

    #[test]
    fn the_port_leads_to_the_first_card_of_the_user_network() {
        let login =
            Login { port: 2022, key: "ssh-ed25519 AAAA me\n".into(), identity: Some("/c/key".into()) };
        assert_eq!(login.to_string(), "ssh -p 2022 -i /c/key root@127.0.0.1");
        assert_eq!(login.key(), "ssh-ed25519 AAAA me");
        assert!(login.forward(&mut []).is_err());
        let mut cards = [Card { mac: None, link: Link::User(user::Options::default()) }];
        login.forward(&mut cards).unwrap();
        let Link::User(options) = &cards[0].link else { panic!("another network") };
        assert_eq!((options.forwards[0].host.port(), options.forwards[0].guest), (2022, 22));
    }
}
