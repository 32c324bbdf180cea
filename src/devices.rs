//! The options for disks, networks and consoles, as words with commas. It must not know how an image or a network works.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use runtime::backend::disk::{Format, Image, SharedDisk};
use runtime::backend::net::stream::End;
use runtime::backend::net::user::{self, Forward, Protocol};
use runtime::backend::net::{Card, Link};
use runtime::backend::terminal::{self, Terminal};
use runtime::vm::Config;
use runtime::vm::snapshots::MachineState;

use crate::exit::Refused;

/// A snapshot that asks for more cards is refused when it is restored.
const MOST_USUAL_CARDS: usize = 8;

/// Devices that are added to a machine.
#[derive(Clone, Debug, Args)]
pub struct DeviceOptions {
    /// The images of the disks.
    #[arg(
        long = "disk",
        value_name = "FILE[,...]",
        value_parser = image,
        help = "Add a disk from an image: FILE[,ro][,format=raw|qcow2][,snapshot=on]; may be given several times"
    )]
    disks: Vec<Image>,
    /// The network cards.
    #[arg(
        long = "net",
        value_name = "KIND[,...]",
        value_parser = card,
        help = "Plug a network card into a network: none, user[,hostfwd=tcp|udp:[HOST]:PORT-:PORT][,dns=SERVER], \
                socket,listen=PATH|connect=PATH to another machine, or tap[,name=DEVICE] of the host's kernel; \
                each with [,mac=ADDRESS]; may be given several times"
    )]
    cards: Vec<Choice>,
    /// The virtio consoles.
    #[arg(
        long = "console",
        value_name = "KIND[,...]",
        value_parser = console,
        help = "Add a console, hvc0 and so on in the guest, that leads to: pty, socket,listen=PATH or file,path=PATH; may \
                be given several times"
    )]
    consoles: Vec<terminal::End>,
}

/// What is said of one network card.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    /// That there is none.
    None,
    /// What it is.
    Card(Card),
}

impl DeviceOptions {
    /// The disks, opened and locked.
    ///
    /// # Errors
    /// Refuses files that are no images, or are in use.
    pub fn open_disks(&self) -> Result<Vec<SharedDisk>, Refused> {
        let disks = self.disks.iter().map(SharedDisk::open);
        disks.collect::<Result<_, _>>().map_err(Refused::because)
    }

    /// Gives a machine that goes on from a snapshot what it had there, where nothing else was asked for: its disks,
    /// opened again, and as many network cards.
    ///
    /// # Errors
    /// Refuses images that are no longer there, or in use.
    pub fn complete(&self, config: &mut Config, state: &MachineState) -> Result<(), Refused> {
        if config.disks.is_empty() {
            let disks = state.disks.iter().map(|disk| SharedDisk::open(&disk.image()));
            config.disks = disks.collect::<Result<_, _>>().map_err(Refused::because)?;
        }
        if self.cards.is_empty() {
            let cards = usize::try_from(state.cards).unwrap_or(usize::MAX).min(MOST_USUAL_CARDS);
            config.cards.resize_with(cards, usual_card);
        }
        Ok(())
    }

    /// The consoles. Where a pseudo-terminal is, is told on standard error.
    ///
    /// # Errors
    /// Refuses what the host does not give.
    pub fn open_consoles(&self) -> Result<Vec<Terminal>, Refused> {
        let open = |(number, end): (usize, &terminal::End)| {
            let terminal = Terminal::open(end).map_err(Refused::because)?;
            if let Some(path) = terminal.pty() {
                eprintln!("myvmm: The guest's console hvc{number} is {}", path.display());
            }
            Ok(terminal)
        };
        self.consoles.iter().enumerate().map(open).collect()
    }

    /// Where sockets of consoles are, to be removed in the end.
    pub fn console_sockets(&self) -> impl Iterator<Item = &Path> {
        self.consoles.iter().filter_map(|end| match end {
            terminal::End::Listen(path) => Some(path.as_path()),
            terminal::End::Pty | terminal::End::File(_) => None,
        })
    }

    /// The network cards: those that were asked for, or, if nothing was said, one on the user network where the
    /// machine is `usual`. A cable whose other end is not there yet is told on standard error.
    ///
    /// # Errors
    /// Refuses cards where there are to be none.
    pub fn cards(&self, usual: bool) -> Result<Vec<Card>, Refused> {
        if self.cards.is_empty() && usual {
            return Ok(vec![usual_card()]);
        }
        let cards = self.cards.iter().filter_map(|choice| match choice {
            Choice::None => None,
            Choice::Card(card) => Some(card.clone()),
        });
        let cards: Vec<Card> = cards.collect();
        if !cards.is_empty() && cards.len() < self.cards.len() {
            return Err(Refused("--net none goes with no other --net; leave one of them out".to_owned()));
        }
        cards.iter().for_each(|card| remark_on(&card.link));
        Ok(cards)
    }
}

/// Says that a cable's other end is not there, which may come later, but may also be a slip of the pen. To knock there
/// would disturb a peer that takes one guest only.
fn remark_on(link: &Link) {
    let Link::Stream(End::Connect(path)) = link else { return };
    if !path.metadata().is_ok_and(|found| found.file_type().is_socket()) {
        let path = path.display();
        eprintln!(
            "myvmm: There is no socket at {path} yet; the guest's network card is unplugged until somebody listens there"
        );
    }
}

fn usual_card() -> Card {
    Card { mac: None, link: Link::User(user::Options::default()) }
}

/// Reads a network option.
fn card(text: &str) -> Result<Choice, String> {
    let words = split(text);
    let (kind, words) = words.split_first().ok_or("name the kind of network first")?;
    let mut link = match kind.as_str() {
        "none" if words.is_empty() => return Ok(Choice::None),
        "user" => Some(Link::User(user::Options::default())),
        "socket" => None,
        "tap" => Some(Link::Tap(None)),
        _ => return Err("the network is none, user, socket or tap".to_owned()),
    };
    let mut mac = None;
    for word in words {
        match (word.split_once('='), &mut link) {
            (Some(("mac", address)), _) => mac = Some(address.parse()?),
            (Some(("hostfwd", rule)), Some(Link::User(options))) => options.forwards.push(forward(rule)?),
            (Some(("dns", server)), Some(Link::User(options))) => options.resolver = Some(resolver(server)?),
            (Some(("name", device)), Some(Link::Tap(name))) => *name = Some(device.to_owned()),
            (Some(("listen", path)), None) => link = Some(Link::Stream(End::Listen(path.into()))),
            (Some(("connect", path)), None) => link = Some(Link::Stream(End::Connect(path.into()))),
            _ => return Err(format!("`{word}` does not go with {kind}; see --help")),
        }
    }
    let link = link.ok_or("a socket needs listen=PATH or connect=PATH")?;
    Ok(Choice::Card(Card { mac, link }))
}

/// Reads `ADDRESS[:PORT]`.
fn resolver(server: &str) -> Result<SocketAddrV4, String> {
    let address = server.parse().map(|address| SocketAddrV4::new(address, 53));
    let address = address.or_else(|_| server.parse());
    address.map_err(|_| format!("`{server}` is no IPv4 address of a name server; write one like 9.9.9.9"))
}

/// Reads `tcp:[HOST]:PORT-[GUEST]:PORT`, or the same with `udp`. Without a host's address only the host itself reaches the port.
fn forward(rule: &str) -> Result<Forward, String> {
    let bad = || format!("`{rule}` is not understood; write it like tcp::2222-:22");
    let (host, guest) = rule.split_once('-').ok_or_else(bad)?;
    let (protocol, host) = host.split_once(':').ok_or_else(bad)?;
    let protocol = match protocol {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(format!("`{protocol}` cannot be forwarded; tcp and udp can")),
    };
    let (address, port) = host.rsplit_once(':').ok_or_else(bad)?;
    let address = if address.is_empty() { Ok(Ipv4Addr::LOCALHOST) } else { address.parse() };
    let host = SocketAddrV4::new(address.map_err(|_| bad())?, port.parse().map_err(|_| bad())?);
    let (address, port) = guest.rsplit_once(':').ok_or_else(bad)?;
    if !address.is_empty() && address.parse() != Ok(user::GUEST) {
        return Err(format!("the guest's address is {}, or left out", user::GUEST));
    }
    Ok(Forward { protocol, host, guest: port.parse().map_err(|_| bad())? })
}

/// Reads a console option.
fn console(text: &str) -> Result<terminal::End, String> {
    let words = split(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let path = |word: &str, name| word.strip_prefix(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let end = match words[..] {
        ["pty"] => Some(terminal::End::Pty),
        ["socket", word] => path(word, "listen=").map(terminal::End::Listen),
        ["file", word] => path(word, "path=").map(terminal::End::File),
        _ => None,
    };
    end.ok_or_else(|| format!("`{text}` is not pty, socket,listen=PATH or file,path=PATH"))
}

/// Reads a disk option. A comma in the file's name is written twice.
fn image(text: &str) -> Result<Image, String> {
    let mut words = split(text).into_iter();
    let file = words.next().filter(|file| !file.is_empty()).ok_or("name the image's file first")?;
    let mut image = Image { file: file.into(), format: None, read_only: false, snapshot: false };
    for word in words {
        match word.split_once('=').unwrap_or((&word, "on")) {
            ("ro" | "readonly", value) => image.read_only = switch(value)?,
            ("snapshot", value) => image.snapshot = switch(value)?,
            ("format", "raw") => image.format = Some(Format::Raw),
            ("format", "qcow2") => image.format = Some(Format::Qcow2),
            ("format", other) => {
                return Err(format!("the format `{other}` is not known; write raw or qcow2"));
            }
            _ => return Err(format!("`{word}` is not known; write ro, format= or snapshot=")),
        }
    }
    Ok(image)
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither on nor off")),
    }
}

/// The words between single commas.
fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = words.last_mut().expect("there is one from the start");
        if character != ',' {
            last.push(character);
        } else if characters.next_if_eq(&',').is_some() {
            last.push(',');
        } else {
            words.push(String::new());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_have_options() {
        let read = |text| image(text).unwrap();
        let plain = Image { file: "a.img".into(), format: None, read_only: false, snapshot: false };
        assert_eq!(read("a.img"), plain);
        assert!(read("a.img,snapshot=on,format=qcow2").snapshot);
        assert!(read("a.img,ro,format=raw").read_only);
        assert!(!read("a.img,ro=off").read_only);
        assert_eq!(read("a,,b,ro").file, PathBuf::from("a,b"));
        for bad in ["", ",ro", "a,rw", "a,ro=perhaps", "a,format=vmdk", "a,"] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn consoles_lead_somewhere() {
        assert_eq!(console("pty"), Ok(terminal::End::Pty));
        assert_eq!(console("socket,listen=a"), Ok(terminal::End::Listen("a".into())));
        assert_eq!(console("file,path=a,,b"), Ok(terminal::End::File("a,b".into())));
        for bad in ["", "pty,x", "socket", "socket,listen=", "file,listen=x", "stdio"] {
            assert!(console(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_card_goes_with_no_other() {
        let cards = |choices: &[&str]| {
            let cards = choices.iter().map(|text| card(text).unwrap()).collect();
            DeviceOptions { disks: Vec::new(), cards, consoles: Vec::new() }.cards(true)
        };
        assert_eq!(cards(&[]).unwrap(), [usual_card()]);
        assert_eq!(cards(&["none"]).unwrap(), []);
        assert_eq!(cards(&["user", "tap"]).unwrap().len(), 2);
        assert!(cards(&["none", "user"]).is_err());
    }

    #[test]
    fn networks_have_options() {
        assert_eq!(card("none"), Ok(Choice::None));
        let Ok(Choice::Card(one)) =
            card("user,mac=52:54:00:00:00:09,hostfwd=tcp::2222-:22,hostfwd=tcp:0.0.0.0:80-10.0.2.15:8080")
        else {
            panic!("not a card");
        };
        assert_eq!(one.mac.map(|mac| mac.to_string()).as_deref(), Some("52:54:00:00:00:09"));
        let Link::User(options) = one.link else { panic!("another network") };
        let ports: Vec<_> = options.forwards.iter().map(|rule| (rule.host.to_string(), rule.guest)).collect();
        assert_eq!(ports, [("127.0.0.1:2222".to_owned(), 22), ("0.0.0.0:80".to_owned(), 8080)]);
        let Ok(Choice::Card(one)) = card("user,dns=9.9.9.9,hostfwd=udp::53-:5353") else {
            panic!("not a card");
        };
        let Link::User(options) = one.link else { panic!("another network") };
        assert_eq!(options.resolver.map(|server| server.to_string()).as_deref(), Some("9.9.9.9:53"));
        assert_eq!(options.forwards[0].protocol, Protocol::Udp);
        let tap = Card { mac: None, link: Link::Tap(Some("vm0".to_owned())) };
        assert_eq!(card("tap,name=vm0"), Ok(Choice::Card(tap)));
        let bad = [
            "",
            "none,mac=1",
            "tap,x",
            "user,x",
            "user,mac=1",
            "user,hostfwd=2222",
            "user,hostfwd=icmp::1-:2",
        ];
        for bad in bad.into_iter().chain([
            "user,hostfwd=tcp::1-10.0.0.1:2",
            "user,hostfwd=tcp::99999-:2",
            "user,dns=dns.net",
            "socket,name=vm0",
        ]) {
            assert!(card(bad).is_err(), "{bad}");
        }
    }
}
