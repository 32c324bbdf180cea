//! Finds the JSON objects in a stream of bytes, however it was cut: real clients send neither newlines nor whole objects
//! at a time. Every byte is looked at once, and memory is bounded. It must not know what the objects mean.

/// The most bytes of an object.
pub const MOST_BYTES: usize = 1 << 20;
/// The most objects and arrays within each other.
pub const DEEPEST: usize = 64;

/// A client sends this byte, which is in no text, to have everything before it forgotten.
const RESET: u8 = 0xff;

/// Something in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What begins and ends as an object does; its content is still to be parsed.
    Object(Vec<u8>),
    /// Bytes that no object can be made of, and why.
    Garbage(&'static str),
}

/// Where in the stream it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between objects.
    #[default]
    Between,
    /// After garbage was reported: until the next line, or what may be an object.
    Garbage,
    /// In an object.
    Inside,
    /// In a string of an object.
    Text,
    /// After a backslash in a string.
    Escaped,
}

/// The splitter of one stream.
#[derive(Debug, Default)]
pub struct Splitter {
    state: State,
    bytes: Vec<u8>,
    depth: usize,
    /// The object was reported as too large or too deep, and is skipped.
    skipped: bool,
}

impl Splitter {
    /// Takes the next bytes of the stream, and gives what they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Piece> {
        bytes.iter().filter_map(|byte| self.next(*byte)).collect()
    }

    fn next(&mut self, byte: u8) -> Option<Piece> {
        if byte == RESET {
            *self = Self::default();
            return None;
        }
        match self.state {
            State::Between | State::Garbage => self.outside(byte),
            State::Inside | State::Text | State::Escaped => self.inside(byte),
        }
    }

    fn outside(&mut self, byte: u8) -> Option<Piece> {
        match byte {
            b'{' => {
                self.state = State::Inside;
                self.inside(byte)
            }
            b'\n' => {
                self.state = State::Between;
                None
            }
            b' ' | b'\t' | b'\r' => None,
            _ => {
                let is_new = self.state == State::Between;
                self.state = State::Garbage;
                is_new.then_some(Piece::Garbage("a command is a JSON object"))
            }
        }
    }

    fn inside(&mut self, byte: u8) -> Option<Piece> {
        if !self.skipped {
            self.bytes.push(byte);
        }
        self.state = match (self.state, byte) {
            // The end of a line is in no string, so the rest of the stream need not be lost with this one.
            (State::Text | State::Escaped, b'\n') => {
                return self.give_up("a string goes on over the end of a line");
            }
            (State::Escaped, _) => State::Text,
            (State::Text, b'\\') => State::Escaped,
            (State::Text, b'"') => State::Inside,
            (State::Text, _) | (_, b'"') => State::Text,
            _ => State::Inside,
        };
        if self.state == State::Inside {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        self.judge()
    }

    /// Whether the object is at its end or goes too far.
    fn judge(&mut self) -> Option<Piece> {
        if self.state == State::Inside && self.depth == 0 {
            let object = std::mem::take(self);
            return (!object.skipped).then_some(Piece::Object(object.bytes));
        }
        let too_far = match () {
            () if self.skipped => return None,
            () if self.depth > DEEPEST => "an object has too many others within it",
            () if self.bytes.len() > MOST_BYTES => "an object is larger than 1 MB",
            () => return None,
        };
        self.skipped = true;
        self.bytes = Vec::new();
        Some(Piece::Garbage(too_far))
    }

    fn give_up(&mut self, why: &'static str) -> Option<Piece> {
        let object = std::mem::take(self);
        (!object.skipped).then_some(Piece::Garbage(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(stream: &[u8], step: usize) -> Vec<Piece> {
        let mut splitter = Splitter::default();
        stream.chunks(step).flat_map(|bytes| splitter.take(bytes)).collect()
    }

    fn object(text: &str) -> Piece {
        Piece::Object(text.into())
    }

    #[test]
    fn objects_are_found_however_the_stream_is_cut() {
        let first = r#"{"a":[1,{"b":"}\"]{"}], "c":"\\"}"#;
        let stream = format!("  {first}{{}}\r\n\n{first}");
        for step in 1..stream.len() {
            assert_eq!(
                split(stream.as_bytes(), step),
                [object(first), object("{}"), object(first)],
                "{step}"
            );
        }
    }

    #[test]
    fn garbage_is_reported_once_and_then_skipped() {
        for step in [1, 3, 100] {
            let pieces = split(b"hello there]]\nworld {}{\"a\n{}\n", step);
            let [Piece::Garbage(_), Piece::Garbage(_), last, Piece::Garbage(cut), end] = &pieces[..] else {
                panic!("{pieces:?}")
            };
            assert!(cut.contains("string"));
            assert_eq!([last, end], [&object("{}"), &object("{}")]);
        }
        assert_eq!(split(b"{\"half\xff{}", 2), [object("{}")]);
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_skipped_to_its_end() {
        let deep = "[".repeat(DEEPEST + 100) + &"]".repeat(DEEPEST + 100);
        let pieces = split(format!("{{\"a\":{deep}}}{{}}").as_bytes(), 7);
        assert!(matches!(&pieces[..], [Piece::Garbage(why), Piece::Object(_)] if why.contains("within")));
        let large = "x".repeat(2 * MOST_BYTES);
        let mut splitter = Splitter::default();
        let pieces = splitter.take(format!("{{\"a\":\"{large}").as_bytes());
        assert!(matches!(&pieces[..], [Piece::Garbage(why)] if why.contains("1 MB")));
        assert!(splitter.bytes.capacity() == 0);
        assert_eq!(splitter.take(b"\"}{}"), [object("{}")]);
    }
}
