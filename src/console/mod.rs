//! The console: the guest's serial port on the terminal or pipe that myvmm was started with. Here its threads are
//! started: one that reads, one that feeds the guest, one that waits for signals. It must not know what a machine is
//! beyond its serial line.

mod input;
pub mod keys;
pub mod line;
pub mod output;
pub mod signals;
mod terminal;
pub mod watch;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::Context as _;

use line::Line;
use terminal::Terminal;

/// What the console has to tell the session.
#[derive(Debug)]
pub enum Event {
    /// The person at the console typed a command.
    Command(keys::Command),
    /// Standard output takes no more.
    OutputFailed(io::Error),
    /// The process was sent this signal.
    Signal(i32),
    /// The host cannot give a page of a mapped file any more.
    PageLost,
}

/// The console. When it goes, the terminal is as it was.
pub struct Console {
    terminal: Option<Arc<Terminal>>,
    /// Whether the terminal is as the guest needs it, for all that is known.
    is_raw: Cell<bool>,
}

impl Console {
    /// Takes standard input for the guest on `line`. The console reports to `events`.
    ///
    /// # Errors
    /// Fails if the terminal or the host refuses.
    pub fn open<E>(line: Arc<Line>, events: &Sender<E>) -> anyhow::Result<Self>
    where
        E: From<Event> + Send + 'static,
    {
        let terminal = Terminal::find().context("Cannot read the terminal's settings")?.map(Arc::new);
        let console = Self { terminal, is_raw: Cell::new(true) };
        // Before the signals: a process that the system stops here, in the background, can still be ended by them.
        console.enter_raw().context("Cannot set the terminal to raw mode")?;
        console.restore_on_panic();
        signals::watch(events.clone()).context("Cannot watch for signals")?;
        input::start(console.terminal.clone(), line, events.clone())
            .context("Cannot start a thread for the console")?;
        Ok(console)
    }

    /// Whether a person types.
    pub fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    fn enter_raw(&self) -> io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), |terminal| terminal.enter_raw())
    }

    /// Makes the terminal the guest's again if it was given back or lost; says whether it is. In the background it
    /// cannot be.
    pub fn take_terminal(&self) -> bool {
        if self.is_raw.get() {
            return true;
        }
        if self.terminal.as_ref().is_some_and(|terminal| !terminal.is_ours()) {
            return false;
        }
        // A terminal that refuses now is one that has gone away, and a signal will say so.
        let _ = self.enter_raw();
        self.is_raw.set(true);
        true
    }

    /// Others may have set the terminal for themselves.
    pub fn lose_terminal(&self) {
        self.is_raw.set(false);
    }

    /// Makes the terminal as it was found, for a while.
    pub fn give_terminal_back(&self) {
        self.lose_terminal();
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
    }

    /// A panic's message is for people, and the hook that prints it ends the process.
    fn restore_on_panic(&self) {
        let Some(terminal) = self.terminal.clone() else { return };
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            terminal.restore();
            tell!("\n");
            print(panic);
        }));
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.give_terminal_back();
    }
}
