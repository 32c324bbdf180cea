//! Pages that the host cannot give any more: of a mapped file that was made shorter, or whose disk fails. The host tells
//! it by SIGBUS, to the thread that touched the page, and that cannot go on. It must not know whose pages they are.
#![expect(unsafe_code, reason = "a signal handler is registered, which may do little")]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use libc::SIGBUS;
use signal_hook_registry::register_sigaction;

/// Changes what the process does about SIGBUS, for good: a thread that touches a lost page writes a byte to `to`, which
/// should not block, and stands still for ever, whatever it holds. Someone else ends the process in an orderly way. A
/// SIGBUS that was sent by someone ends the process as ever.
///
/// # Errors
/// Fails if the host refuses.
pub fn report_lost_pages(to: OwnedFd) -> io::Result<()> {
    let answer = move |info: &libc::siginfo_t| {
        if info.si_code <= 0 {
            // SAFETY: both may be called by a signal handler (signal-safety(7)). The signal is blocked in its handler,
            // and ends the process behind it.
            unsafe {
                libc::signal(SIGBUS, libc::SIG_DFL);
                libc::raise(SIGBUS);
            }
            return;
        }
        // SAFETY: as above; the descriptor lives as long as this closure, and the byte is one.
        unsafe {
            libc::write(to.as_raw_fd(), [1u8].as_ptr().cast(), 1);
        }
        loop {
            // SAFETY: as above. No descriptor is waited for.
            unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
        }
    };
    // SAFETY: the handler allocates nothing, takes no lock and calls only what a handler may.
    unsafe { register_sigaction(SIGBUS, answer) }.map(drop)
}
