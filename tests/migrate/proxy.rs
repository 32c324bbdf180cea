//! A wire between source and target that knows where messages begin, and breaks at one of them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Forth,
    Back,
}

/// What becomes of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The message is lost, and the connection with it.
    CutBefore,
    /// The message arrives, and nothing after it.
    CutAfter,
    /// Half of the message arrives, then the connection is cut.
    CutWithin,
    /// Nothing moves any more in either direction, though nobody hangs up.
    Stall,
    /// Something is done before the message arrives; the wire stays whole.
    Call,
}

/// What the wire knows of those who use it.
#[derive(Clone)]
struct Hook {
    /// What [`Break::Call`] does.
    call: Arc<dyn Fn() + Send + Sync>,
    /// Whether the sides greet each other before the preambles, as processes do, in as many bytes.
    greets: bool,
}

/// Where it breaks: at the first message of this kind; 0 is the preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub way: Way,
    pub kind: u8,
    pub what: Break,
    /// Whether connections can be made afterwards.
    pub open: bool,
}

/// The wire.
pub struct Proxy {
    pub address: SocketAddr,
    broken: Arc<AtomicBool>,
}

const PREAMBLE: usize = 16;
const HEAD: usize = 12;

impl Proxy {
    pub fn new(target: SocketAddr, fault: Fault) -> Self {
        Self::with(target, fault, Hook { call: Arc::new(|| ()), greets: false })
    }

    /// A wire between processes that does `call` at the first message of this kind.
    pub fn calling(target: SocketAddr, way: Way, kind: u8, call: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self::with(target, Fault { way, kind, what: Break::Call, open: true }, Hook { call, greets: true })
    }

    fn with(target: SocketAddr, fault: Fault, hook: Hook) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broken = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&broken);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let broke = seen.load(Ordering::SeqCst);
                if broke && !fault.open {
                    continue;
                }
                carry(&stream.unwrap(), target, (!broke).then_some(fault), (&seen, &hook));
            }
        });
        Self { address, broken }
    }

    /// Whether the fault has happened.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

fn carry(
    source: &TcpStream,
    target: SocketAddr,
    fault: Option<Fault>,
    (broken, hook): (&Arc<AtomicBool>, &Hook),
) {
    let target = TcpStream::connect(target).unwrap();
    let stalled = Arc::<AtomicBool>::default();
    let ways = [(Way::Forth, source, &target), (Way::Back, &target, source)];
    for (way, from, to) in ways {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        for stream in [&from, &to] {
            stream.set_nodelay(true).unwrap();
        }
        let fault = fault.filter(|fault| fault.way == way);
        let (broken, stalled, hook) = (Arc::clone(broken), Arc::clone(&stalled), hook.clone());
        thread::spawn(move || {
            // Whichever way ends first, both do.
            let _ = Lane { from: &from, to: &to, fault, broken: &broken, stalled: &stalled, hook: &hook }
                .pass_on();
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// One direction of a connection.
struct Lane<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    fault: Option<Fault>,
    broken: &'a AtomicBool,
    stalled: &'a AtomicBool,
    hook: &'a Hook,
}

impl Lane<'_> {
    fn pass_on(&mut self) -> io::Result<()> {
        if self.hook.greets {
            let greeting = self.next(true)?;
            self.to.write_all(&greeting)?;
        }
        let mut is_first = true;
        loop {
            let message = self.next(is_first)?;
            let here = if is_first { 0 } else { message[0] };
            is_first = false;
            while self.stalled.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            match self.fault.filter(|fault| fault.kind == here) {
                None => self.to.write_all(&message)?,
                Some(Fault { what: Break::Call, .. }) => {
                    self.fault = None;
                    self.broken.store(true, Ordering::SeqCst);
                    (self.hook.call)();
                    self.to.write_all(&message)?;
                }
                Some(fault) => return self.break_at(&message, fault.what),
            }
        }
    }

    fn next(&mut self, first: bool) -> io::Result<Vec<u8>> {
        let mut message = vec![0; if first { PREAMBLE } else { HEAD }];
        self.from.read_exact(&mut message)?;
        if !first {
            let length = u32::from_le_bytes(message[4..8].try_into().unwrap()) as usize;
            message.resize(HEAD + length, 0);
            self.from.read_exact(&mut message[HEAD..])?;
        }
        Ok(message)
    }

    fn break_at(&mut self, message: &[u8], what: Break) -> io::Result<()> {
        self.broken.store(true, Ordering::SeqCst);
        match what {
            Break::CutBefore | Break::Call => {}
            Break::CutAfter => self.to.write_all(message)?,
            Break::CutWithin => self.to.write_all(&message[..message.len() / 2])?,
            Break::Stall => {
                self.stalled.store(true, Ordering::SeqCst);
                // Until the other side gives up; what it says is not heard.
                let mut rest = [0; 4096];
                while self.from.read(&mut rest)? > 0 {}
            }
        }
        Ok(())
    }
}
