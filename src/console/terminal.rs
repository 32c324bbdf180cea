//! The host's terminal on standard input: raw while the guest has it, and as it was for everybody else. It must not
//! know what is typed.

use std::io;

use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr};

/// A terminal and the settings that it came with.
#[derive(Debug)]
pub struct Terminal {
    found: Termios,
}

impl Terminal {
    /// The terminal on standard input, if that is one.
    ///
    /// # Errors
    /// Fails if the terminal does not tell its settings.
    pub fn find() -> io::Result<Option<Self>> {
        if !isatty(stdin()) {
            return Ok(None);
        }
        Ok(Some(Self { found: tcgetattr(stdin())? }))
    }

    /// From now on each key is passed on as it is. A process in the background is stopped here by the system until it
    /// is brought to the foreground.
    ///
    /// # Errors
    /// Fails if the terminal refuses.
    pub fn enter_raw(&self) -> io::Result<()> {
        let mut raw = self.found.clone();
        raw.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &raw)?)
    }

    /// Gives the terminal back as it was found. From the background nothing is done: whoever is in the foreground has
    /// set the terminal for itself.
    pub fn restore(&self) {
        if self.is_ours() {
            // There is nobody left to tell, and nothing else to try.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.found);
        }
    }

    /// Whether this process is in the foreground. A terminal that controls no session has no background.
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
    }
}
