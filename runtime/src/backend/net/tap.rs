//! A network device of the host's kernel, by which the guest is a neighbour of the host's own cards:
//! `tap` (Linux, Documentation/networking/tuntap.rst). Sums and segmentation are left to whichever side
//! is last. It must not know what is in a frame.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::header::{self, HEADER_LENGTH};
use super::{Frame, LONGEST_FRAME, Mac, Network, Offloads};
use crate::backend::events::{Events, Interest};

/// What is opened to attach to any of them.
pub const DEVICE: &str = "/dev/net/tun";
/// Frames that wait for a slow guest; beyond them they wait in the kernel.
const MOST_INCOMING: usize = 128;
const TOKEN: u64 = 0;
/// The longest name of a network device, without the zero at its end (`IFNAMSIZ`).
const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;

/// The network.
pub struct Tap {
    file: File,
    name: String,
    frames: VecDeque<Frame>,
    buffer: Vec<u8>,
    waits: bool,
    events: Option<Arc<Events>>,
}

impl Tap {
    /// The device called `name`, which is made if there is none and then goes with this process; the
    /// kernel finds a name if none is given.
    ///
    /// # Errors
    /// Fails if the name cannot be one, the device is in use, or this user may not have or make it.
    pub fn new(name: Option<&str>) -> io::Result<Self> {
        let wanted = name.unwrap_or_default();
        let said = |error: io::Error| {
            let device = name.map_or("a tap device".to_owned(), |name| format!("the tap device {name}"));
            io::Error::new(
                error.kind(),
                format!("Cannot attach to {device}: {error}{}", advice(&error, name)),
            )
        };
        if wanted.len() > LONGEST_NAME || wanted.contains(['\0', '/', ' ']) {
            let what = format!("a device's name has at most {LONGEST_NAME} letters and no `/` or space");
            return Err(said(io::Error::new(ErrorKind::InvalidInput, what)));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
        let file = options
            .open(DEVICE)
            .map_err(|error| said(io::Error::new(error.kind(), format!("{DEVICE}: {error}"))))?;
        let name = control::attach(&file, wanted).map_err(said)?;
        let buffer = vec![0; LONGEST_FRAME];
        Ok(Self { file, name, frames: VecDeque::new(), buffer, waits: false, events: None })
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes what the kernel has, as long as the guest keeps up.
    fn read(&mut self) {
        while self.frames.len() < MOST_INCOMING {
            let mut header = [0; HEADER_LENGTH];
            let parts = &mut [IoSliceMut::new(&mut header), IoSliceMut::new(&mut self.buffer)];
            match self.file.read_vectored(parts) {
                Ok(length) if length > HEADER_LENGTH => {
                    let bytes = self.buffer[..length - HEADER_LENGTH].to_vec();
                    let mut frame = Frame { bytes, ..Frame::default() };
                    if header::decode(header, &mut frame).is_some() {
                        self.frames.push_back(frame);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing is there, or the device is down or gone: its readiness tells when that changes.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Waits for the kernel only while there is room: its readiness is a level.
    fn update_interest(&mut self) {
        let waits = self.frames.len() < MOST_INCOMING;
        if let Some(events) = &self.events
            && waits != self.waits
            && events.change(&self.file, TOKEN, Interest { read: waits, write: false }).is_ok()
        {
            self.waits = waits;
        }
    }
}

/// What to do about an error.
fn advice(error: &io::Error, name: Option<&str>) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "; let root make one for this user: ip tuntap add dev {} mode tap user $USER",
            name.unwrap_or("vm0")
        ),
        ErrorKind::NotFound => "; load the kernel's module `tun`".to_owned(),
        ErrorKind::ResourceBusy => "; another program has it".to_owned(),
        _ => String::new(),
    }
}

impl Network for Tap {
    fn offloads(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: true }
    }

    fn start(&mut self, _guest: Mac, offloads: Offloads, events: &Arc<Events>) {
        // A kernel that does not take the offloads does that work itself, as if there were none.
        let _ = control::set_offloads(&self.file, offloads);
        // A device that cannot be waited for is one from which nothing comes.
        self.waits = events.add(&self.file, TOKEN, Interest { read: true, write: false }).is_ok();
        self.events = Some(Arc::clone(events));
    }

    fn send(&mut self, frame: &Frame) {
        let header = header::encode(frame, 0);
        // What the kernel does not take, because the device is down, is lost as on a cable that is cut.
        let _ = self.file.write_vectored(&[IoSlice::new(&header), IoSlice::new(&frame.bytes)]);
    }

    /// The kernel takes a frame at once or not at all.
    fn has_room(&self) -> bool {
        true
    }

    fn serve(&mut self, _ready: &[u64], _drained: bool) {
        self.read();
        self.update_interest();
    }

    fn peek(&self) -> Option<&Frame> {
        self.frames.front()
    }

    fn advance(&mut self) {
        self.frames.pop_front();
    }

    fn patience(&mut self) -> Option<Duration> {
        None
    }

    fn stop(&mut self) {
        self.frames.clear();
        if let Some(events) = self.events.take() {
            let _ = events.remove(&self.file);
        }
    }
}

/// The calls of the kernel that are special to tap devices.
mod control {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd as _;

    use super::{HEADER_LENGTH, Offloads};

    /// Makes `file` the other end of the device called `name`; gives its real name.
    pub fn attach(file: &File, name: &str) -> io::Result<String> {
        // SAFETY: all bytes of the structure may be zero.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives until the call returns.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) })?;
        let length = HEADER_LENGTH as libc::c_int;
        // SAFETY: TUNSETVNETHDRSZ reads one `int`, which lives until the call returns.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &length) })?;
        let letters = request.ifr_name.iter().map(|letter| *letter as u8).take_while(|letter| *letter != 0);
        Ok(String::from_utf8_lossy(&letters.collect::<Vec<u8>>()).into_owned())
    }

    /// Tells the kernel what it may leave to the guest.
    pub fn set_offloads(file: &File, offloads: Offloads) -> io::Result<()> {
        let mut flags = 0;
        for (has, flag) in [
            (offloads.checksum, libc::TUN_F_CSUM),
            (offloads.tcp4, libc::TUN_F_TSO4),
            (offloads.tcp6, libc::TUN_F_TSO6),
        ] {
            flags |= if has { flag } else { 0 };
        }
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) })
    }

    fn check(result: libc::c_int) -> io::Result<()> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["a name", "much-too-long-a-name", "a/b"] {
            let error = Tap::new(Some(name)).err().expect("no such device").to_string();
            assert!(error.contains(name) && error.contains("at most 15"), "{error}");
        }
    }

    #[test]
    fn advice_names_what_helps() {
        let advice = |kind| advice(&io::Error::from(kind), Some("vm7"));
        assert!(advice(ErrorKind::PermissionDenied).contains("ip tuntap add dev vm7 mode tap user"));
        assert!(advice(ErrorKind::NotFound).contains("tun"));
        assert!(advice(ErrorKind::ResourceBusy).contains("another"));
    }
}
