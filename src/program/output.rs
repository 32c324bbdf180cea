//! Standard output, or standard error in its place, which all programs share. With a prefix, lines are kept whole and begin with the program's name.
//! It must not know what is printed.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is kept before it is written.
const BUFFER: usize = 32 << 10;

/// Standard output. Clones share it.
#[derive(Clone)]
pub struct Output {
    inner: Arc<Mutex<Inner>>,
    /// Whether a person looks at it.
    pub is_terminal: bool,
}

struct Inner {
    stream: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    /// Who has written a line that is not at its end.
    open: Option<usize>,
}

/// One program's way to standard output.
pub struct Port {
    output: Output,
    number: usize,
    prefix: Option<String>,
    /// The line that is not yet printed, where lines are kept whole.
    line: Vec<u8>,
    /// Whether the last character was the end of a line.
    at_start: bool,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()), io::stdout().is_terminal())
    }

    /// Standard error, where standard output is for something else.
    pub fn stderr() -> Self {
        Self::new(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    fn new(stream: Box<dyn Write + Send>, is_terminal: bool) -> Self {
        let inner = Inner { stream, buffer: Vec::new(), open: None };
        Self { inner: Arc::new(Mutex::new(inner)), is_terminal }
    }

    /// The way of program `number`, which is named in front of its lines if `prefix` is there.
    pub fn port(&self, number: usize, prefix: Option<String>) -> Port {
        Port { output: self.clone(), number, prefix, line: Vec::new(), at_start: true }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is kept.
    ///
    /// # Errors
    /// Fails if standard output does.
    pub fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }
}

impl Inner {
    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.buffer);
        self.stream.write_all(&bytes)?;
        self.stream.flush()
    }

    /// Adds bytes of program `number`; another program's open line is ended first.
    fn add(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        if self.open.is_some_and(|other| other != number) {
            self.buffer.push(b'\n');
        }
        self.buffer.extend(bytes);
        self.open = (bytes.last() != Some(&b'\n')).then_some(number);
        if self.buffer.len() > BUFFER { self.flush() } else { Ok(()) }
    }
}

impl Port {
    /// Prints bytes.
    ///
    /// # Errors
    /// Fails if standard output does.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else { return Ok(()) };
        self.at_start = *last == b'\n';
        let Some(prefix) = &self.prefix else {
            let mut inner = self.output.lock();
            inner.buffer.extend(bytes);
            return if inner.buffer.len() > BUFFER { inner.flush() } else { Ok(()) };
        };
        self.line.extend(bytes);
        // A program that never ends its line is not waited for.
        if self.line.len() > BUFFER && !self.line.contains(&b'\n') {
            return self.flush();
        }
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let mut inner = self.output.lock();
            if inner.open != Some(self.number) {
                inner.add(self.number, prefix.as_bytes())?;
            }
            inner.add(self.number, &line)?;
        }
        Ok(())
    }

    /// Prints text that begins a line.
    ///
    /// # Errors
    /// Fails if standard output does.
    pub fn write_lines(&mut self, text: &str) -> io::Result<()> {
        if !self.at_start {
            self.write(b"\n")?;
        }
        self.write(text.as_bytes())
    }

    /// Shows all that was printed so far, even a line that is not at its end.
    ///
    /// # Errors
    /// Fails if standard output does.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut inner = self.output.lock();
        if let Some(prefix) = self.prefix.as_ref().filter(|_| !self.line.is_empty()) {
            if inner.open != Some(self.number) {
                inner.add(self.number, prefix.as_bytes())?;
            }
            let line = std::mem::take(&mut self.line);
            inner.add(self.number, &line)?;
        }
        inner.flush()
    }

    /// Ends the last line, where lines are kept whole, and shows everything.
    ///
    /// # Errors
    /// Fails if standard output does.
    pub fn close(&mut self) -> io::Result<()> {
        if self.prefix.is_some() && !self.at_start {
            self.write(b"\n")?;
        }
        self.flush()
    }
}
