//! One program that runs for a while and is then looked at. What it prints goes to standard error, because standard output
//! is for what is seen.

use std::sync::Arc;

use runtime::pause::Pausable;
use runtime::program::ProgramVm;
use runtime::schedule::{self, Guest, Progress};

use super::input::Input;
use super::output::Output;
use super::player::{DumpFormat, Player, Terminal};
use super::session::pausable;

/// Instructions in one go: a person should see soon what the program prints.
const SLICE: u64 = 10_000_000;

/// Runs `vm` until it ends or `instructions` have run, and gives it back: it is the only member.
pub fn run(vm: ProgramVm, instructions: u64) -> Arc<Pausable<ProgramVm>> {
    let programs = pausable(vec![vm]);
    let output = Output::stderr();
    let terminal =
        Terminal { port: output.port(0, None), input: Input::new(true), is_called: Box::new(|| false) };
    let player = Player::new(Arc::clone(&programs), 0, terminal, DumpFormat::Text, output.is_terminal);
    schedule::slices(&mut [Limited { player, left: instructions }], SLICE);
    programs
}

/// A program that stops after a number of instructions.
struct Limited {
    player: Player,
    left: u64,
}

impl Guest for Limited {
    fn run(&mut self, slice: u64) -> Progress {
        let slice = slice.min(self.left);
        self.left -= slice;
        match self.player.run(slice) {
            Progress::Ready if self.left == 0 => {
                // What cannot be printed is of no use to what is seen afterwards.
                let _ = self.player.terminal.port.flush();
                Progress::Ended
            }
            progress => progress,
        }
    }
}
