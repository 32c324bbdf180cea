//! Signals from outside, as events: the terminal must be as it was before the process ends or stops. It must not know
//! what they lead to.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread;

use runtime::memory::report_lost_pages;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use super::Event;

/// Those that end a process or stop it, and the one that makes it go on.
const WATCHED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT];

/// Reports signals to `events` from now on, but for those that whoever started the process wants ignored, as `nohup`
/// does.
///
/// # Errors
/// Fails if the host refuses.
pub fn watch<E>(events: Sender<E>) -> io::Result<()>
where
    E: From<Event> + Send + 'static,
{
    let ignored = ignored();
    let mut signals = Signals::new(WATCHED.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal).into()).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Reports to `events` if a thread of this process touches a page of a mapped file that the host cannot give any more.
/// That thread stands still then.
///
/// # Errors
/// Fails if the host refuses.
pub fn watch_lost_pages<E>(events: Sender<E>) -> io::Result<()>
where
    E: From<Event> + Send + 'static,
{
    let (mut heard, told) = UnixStream::pair()?;
    told.set_nonblocking(true)?;
    report_lost_pages(told.into())?;
    thread::Builder::new().name("lost pages".into()).spawn(move || {
        if heard.read_exact(&mut [0]).is_ok() {
            // Without a listener the process is about to end.
            let _ = events.send(Event::PageLost.into());
        }
    })?;
    Ok(())
}

/// The set of signals that the process ignores, a bit a signal.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
