//! The escape key: which of the bytes that a person types are for the guest, and which are commands to myvmm. It must
//! not know where bytes come from or what commands do.

/// Ctrl-A, as in other emulators.
const ESCAPE: u8 = 0x01;

/// The keys, for people.
pub const HELP: &str = "\
Keys on the console:
  Ctrl-A h       show these keys
  Ctrl-A p       pause the machine, or let it go on
  Ctrl-A s       save a snapshot in the directory of --snapshots
  Ctrl-A x       leave: the machine ends at once
  Ctrl-A Ctrl-A  send one Ctrl-A to the guest
";

/// What a person asks of myvmm itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show the keys.
    Help,
    /// Pause the machine or let it go on.
    Pause,
    /// Save the machine.
    Save,
    /// End the machine.
    Leave,
}

/// One byte's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It is for the guest.
    Guest(u8),
    /// It is for myvmm.
    Command(Command),
}

/// Reads what is typed. It remembers whether the last byte was the escape key.
#[derive(Debug, Default)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// The meaning of the next byte; none if it is only half of something, or no command.
    pub fn next(&mut self, byte: u8) -> Option<Key> {
        if !std::mem::replace(&mut self.escaped, false) {
            self.escaped = byte == ESCAPE;
            return (!self.escaped).then_some(Key::Guest(byte));
        }
        match byte {
            ESCAPE => Some(Key::Guest(ESCAPE)),
            b'h' | b'?' => Some(Key::Command(Command::Help)),
            b'p' => Some(Key::Command(Command::Pause)),
            b's' => Some(Key::Command(Command::Save)),
            b'x' => Some(Key::Command(Command::Leave)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_key_changes_the_next_byte_only() {
        let mut keys = Keys::default();
        let read: Vec<Key> =
            b"a\x01h\x01\x01x\x01p\x01qs\x01s\x01x".iter().filter_map(|byte| keys.next(*byte)).collect();
        let expected = [
            Key::Guest(b'a'),
            Key::Command(Command::Help),
            Key::Guest(ESCAPE),
            Key::Guest(b'x'),
            Key::Command(Command::Pause),
            Key::Guest(b's'),
            Key::Command(Command::Save),
            Key::Command(Command::Leave),
        ];
        assert_eq!(read, expected);
    }
}
