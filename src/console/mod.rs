//! The console: the guest's serial port on the terminal or pipe that myvmm was started with. Here its threads are
//! started: one that reads, one that feeds the guest, one that waits for signals. It must not know what a machine is
//! beyond its serial line.

mod input;
pub mod keys;
pub mod line;
pub mod output;
mod signals;
mod terminal;
pub mod watch;

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
}

/// The console. When it goes, the terminal is as it was.
pub struct Console {
    terminal: Option<Arc<Terminal>>,
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
        let console = Self { terminal };
        // Before the signals: a process that the system stops here, in the background, can still be ended by them.
        console.resume()?;
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

    /// Makes the terminal the guest's, at first and after a stop.
    ///
    /// # Errors
    /// Fails if the terminal refuses.
    pub fn resume(&self) -> anyhow::Result<()> {
        match &self.terminal {
            Some(terminal) => terminal.enter_raw().context("Cannot set the terminal to raw mode"),
            None => Ok(()),
        }
    }

    /// As [`resume`](Self::resume), unless this process is in the background.
    pub fn resume_in_foreground(&self) {
        if let Some(terminal) = self.terminal.as_ref().filter(|terminal| terminal.is_ours()) {
            // A terminal that refuses now is one that has gone away, and a signal will say so.
            let _ = terminal.enter_raw();
        }
    }

    /// Gives the terminal back for a while.
    pub fn suspend(&self) {
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
            eprintln!();
            print(panic);
        }));
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.suspend();
    }
}
