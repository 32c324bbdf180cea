//! The target of a move: it takes what a source sends, of which nothing is believed, and lets the guest run when the
//! source has let go of it. It must not know what guests there are, nor how connections are accepted.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::{Channel, ChannelError, Stream};
use super::message::{Accept, Complete, Hello, Identity, Message, printable};
use super::pieces::{Area, Areas, PieceError, unpack};
use super::register::{Decision, Register};
use super::sentence;
use crate::backend::disk::SharedDisk;
use crate::device::lock;
use crate::memory::Ram;

/// A guest that arrives: it was built, has no memory and no state yet, and stands still.
pub trait Arriving {
    /// Its memories, and those of its disks that are copied; all are zero.
    fn areas(&self) -> Areas;

    /// Takes over its state; its memories and disks are filled.
    ///
    /// # Errors
    /// Says what is wrong with it; the guest is then of no use.
    fn restore(&mut self, state: &[u8]) -> Result<(), String>;

    /// Takes what only one side can have, such as locks of disks, just before it runs, `age` after it was announced.
    ///
    /// # Errors
    /// Says why it cannot; it then has nothing of it.
    fn take_over(&mut self, age: Duration) -> Result<(), String>;

    /// It does not run here after all: gives back what it has taken.
    fn give_back(&mut self);
}

/// Where guests arrive.
#[derive(Clone)]
pub struct House {
    /// Remembers what became of them.
    pub register: Register,
    /// How long a source may take to say what it must.
    pub patience: Duration,
    /// The most bytes of memory of a guest.
    pub most_memory: u64,
    /// The most bytes of disks that are copied with a guest.
    pub most_disk: u64,
}

/// Why a guest does not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ArriveError {
    /// The connection is of no use.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It is not taken.
    #[error("{0}")]
    Refused(String),
    /// The source has kept it.
    #[error("the sender has kept the guest")]
    Kept,
    /// The register fails.
    #[error("cannot note what becomes of guests")]
    Register(#[source] io::Error),
}

/// The most bytes of a guest's state, without its memories.
const MOST_STATE: u64 = 256 << 20;
/// How often a guest whose source is gone is looked at.
const LOOK: Duration = Duration::from_millis(50);

impl House {
    /// Hears out who comes on `stream`. `None` if it was only a question, which is then answered.
    ///
    /// # Errors
    /// Fails if it says nothing that makes sense.
    pub fn greet(&self, stream: Box<dyn Stream>) -> Result<Option<Knock>, ArriveError> {
        let mut channel = Channel::new(stream, self.patience, Arc::<AtomicBool>::default())?;
        // Theirs is told what is spoken here before it is judged, so that both sides can say what is wrong.
        channel.send_preamble()?;
        channel.receive_preamble()?;
        match channel.hear()? {
            Message::Hello(hello) => self.judge(channel, hello).map(Some),
            Message::Ask(ask) => {
                let answer = self.answer(ask.identity, ask.register);
                channel.tell(&answer)?;
                Ok(None)
            }
            other => Err(other.unexpected().into()),
        }
    }

    fn answer(&self, identity: Identity, register: Identity) -> Message {
        if register != self.register.identity {
            return Message::Unknown;
        }
        match self.register.decide(&identity, Decision::Aborted) {
            Ok(Decision::Running) => Message::Running,
            Ok(Decision::Aborted) => Message::Aborted,
            Err(_) => Message::Unknown,
        }
    }

    fn judge(&self, channel: Channel, hello: Hello) -> Result<Knock, ArriveError> {
        let mut knock = Knock { channel, hello, arrived: Instant::now(), register: self.register.clone() };
        for (what, bytes, most) in [
            ("memory", knock.hello.bytes(), self.most_memory),
            ("disks to be copied", knock.hello.disk_bytes(), self.most_disk),
        ] {
            if bytes > most {
                let why =
                    format!("the guest has {} MB of {what}, and {} are allowed", bytes >> 20, most >> 20);
                return Err(knock.refuse(&why));
            }
        }
        knock.hello.name = printable(&knock.hello.name);
        Ok(knock)
    }
}

/// Someone at the door with a guest.
pub struct Knock {
    channel: Channel,
    hello: Hello,
    arrived: Instant,
    register: Register,
}

impl Knock {
    /// What is said of the guest.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Sends it away; gives the error that says so.
    pub fn refuse(mut self, why: &str) -> ArriveError {
        // Whoever does not hear it finds the connection closed.
        let _ = self.channel.tell(&Message::Refuse(cut(why)));
        ArriveError::Refused(why.to_owned())
    }

    /// Lets it in, with what people at the source should know before it goes. It is not asked for yet.
    pub fn welcome(self, remark: Option<String>) -> Arrival {
        let waiting = Waiting { state: Mutex::new(Waits::Arriving), changed: Condvar::new() };
        Arrival { knock: self, remark, waiting: Arc::new(waiting) }
    }
}

/// What an arriving guest waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// More of it is to come.
    Arriving,
    /// The source is to let go of it.
    Ready,
    /// The source is gone: for a question of the source, or a person's word.
    Lost,
    /// A person has spoken.
    Taken,
    /// Nothing: what becomes of it is decided.
    Decided,
}

/// An arriving guest as others see it and act on it.
pub struct Waiting {
    state: Mutex<Waits>,
    changed: Condvar,
}

impl Waiting {
    fn set(&self, state: Waits) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    /// What it waits for.
    pub fn state(&self) -> Waits {
        *lock(&self.state)
    }

    /// Has a guest whose source is gone run here; whoever says that knows that it does not run there. Says whether it
    /// is such a guest.
    pub fn take(&self) -> bool {
        let mut state = lock(&self.state);
        let lost = *state == Waits::Lost;
        if lost {
            *state = Waits::Taken;
            self.changed.notify_all();
        }
        lost
    }

    /// Waits a while for a person.
    fn is_taken_after(&self, limit: Duration) -> bool {
        let wait = self.changed.wait_timeout_while(lock(&self.state), limit, |state| *state != Waits::Taken);
        *wait.unwrap_or_else(PoisonError::into_inner).0 == Waits::Taken
    }
}

/// A guest that is let in.
pub struct Arrival {
    knock: Knock,
    remark: Option<String>,
    waiting: Arc<Waiting>,
}

/// A guest that is to run here, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Whether it is to stand still until someone lets it go on.
    pub paused: bool,
}

impl Arrival {
    /// How others act on it.
    pub fn waiting(&self) -> Arc<Waiting> {
        Arc::clone(&self.waiting)
    }

    /// What is said of the guest.
    pub fn hello(&self) -> &Hello {
        &self.knock.hello
    }

    /// Takes the guest. `lost` is told if the source is gone when the guest is whole: then it is waited for the
    /// source's question or a person. When this returns well, the guest runs here and nowhere else.
    ///
    /// # Errors
    /// The guest must not run here.
    pub fn receive(
        self,
        guest: &mut dyn Arriving,
        lost: impl Fn(&ArriveError),
    ) -> Result<Arrived, ArriveError> {
        let waiting = Arc::clone(&self.waiting);
        let result = self.take_in(guest, lost);
        waiting.set(Waits::Decided);
        result
    }

    fn take_in(
        mut self,
        guest: &mut dyn Arriving,
        lost: impl Fn(&ArriveError),
    ) -> Result<Arrived, ArriveError> {
        let areas = guest.areas();
        let memories: Vec<Vec<_>> = areas.memories.iter().map(|ram| banks(ram)).collect();
        let disks: Vec<_> = areas.disks.iter().map(SharedDisk::size).collect();
        if (&memories, &disks) != (&self.knock.hello.memories, &self.knock.hello.disks) {
            return Err(self.knock.refuse("the guest would have other memory or disks here"));
        }
        let remark = self.remark.take().map(|remark| cut(&remark));
        let accept = Accept { register: self.knock.register.identity, remark };
        self.knock.channel.tell(&Message::Accept(accept))?;
        let (state, complete) = match self.fill(&areas) {
            Err(ArriveError::Refused(why)) => return Err(self.knock.refuse(&why)),
            filled => filled?,
        };
        if let Err(why) = guest.restore(&state) {
            return Err(self.knock.refuse(&why));
        }
        drop(state);
        self.waiting.set(Waits::Ready);
        self.take_over(guest, lost)?;
        Ok(Arrived { paused: complete.paused })
    }

    /// Takes pieces and state until the source says that this was all.
    fn fill(&mut self, areas: &Areas) -> Result<(Vec<u8>, Complete), ArriveError> {
        let channel = &mut self.knock.channel;
        let (mut state, mut intake) = (Vec::new(), Intake { areas, pieces: 0, trouble: None });
        let nonsense = |what: &str| Err(ChannelError::nonsense(what).into());
        loop {
            match channel.hear()? {
                Message::Pages(bytes) => intake.take(&bytes, Area::Memory)?,
                Message::Blocks(bytes) => intake.take(&bytes, Area::Disk)?,
                Message::Mark(number) => {
                    intake.settle()?;
                    channel.tell(&Message::Heard(number))?;
                }
                Message::State(bytes) => {
                    state.extend(bytes);
                    if state.len() as u64 > MOST_STATE {
                        return nonsense("the state is too long");
                    }
                }
                Message::Complete(complete) => {
                    intake.settle()?;
                    let same = (state.len() as u64, intake.pieces) == (complete.length, complete.pieces);
                    if !same || crc32fast::hash(&state) != complete.checksum {
                        return nonsense("something got lost on the way");
                    }
                    return Ok((state, complete));
                }
                Message::Cancel => return Err(ArriveError::Kept),
                other => return Err(other.unexpected().into()),
            }
        }
    }

    /// Says that the guest is whole, and waits for the word that it may run.
    fn take_over(mut self, guest: &mut dyn Arriving, lost: impl Fn(&ArriveError)) -> Result<(), ArriveError> {
        let channel = &mut self.knock.channel;
        let word = channel.tell(&Message::Ready).and_then(|()| channel.hear());
        let trouble = match word {
            Ok(Message::Commit) => match self.claim(guest) {
                Ok(()) => {
                    // If it is not heard, it will be asked for.
                    let _ = self.knock.channel.tell(&Message::Running);
                    return Ok(());
                }
                Err(error @ ArriveError::Register(_)) => error,
                Err(error) => {
                    let _ = self.knock.channel.tell(&Message::Aborted);
                    return Err(error);
                }
            },
            Ok(Message::Cancel) => {
                return Err(self.abort().err().unwrap_or(ArriveError::Kept));
            }
            Ok(other) => other.unexpected().into(),
            Err(error) => error.into(),
        };
        self.wait(guest, &trouble, lost)
    }

    fn abort(&self) -> Result<Decision, ArriveError> {
        let knock = &self.knock;
        knock.register.decide(&knock.hello.identity, Decision::Aborted).map_err(ArriveError::Register)
    }

    /// Decides that the guest runs here, if nothing else is decided.
    fn claim(&self, guest: &mut dyn Arriving) -> Result<(), ArriveError> {
        let knock = &self.knock;
        if let Err(why) = guest.take_over(knock.arrived.elapsed()) {
            self.abort()?;
            return Err(ArriveError::Refused(why));
        }
        let refused = match knock.register.decide(&knock.hello.identity, Decision::Running) {
            Ok(Decision::Running) => return Ok(()),
            Ok(Decision::Aborted) => ArriveError::Kept,
            Err(error) => ArriveError::Register(error),
        };
        guest.give_back();
        Err(refused)
    }

    /// The source is gone, and may or may not have let go of the guest.
    fn wait(
        self,
        guest: &mut dyn Arriving,
        trouble: &ArriveError,
        lost: impl Fn(&ArriveError),
    ) -> Result<(), ArriveError> {
        self.waiting.set(Waits::Lost);
        let mut told = false;
        let begun = Instant::now();
        loop {
            let decision = self.knock.register.decision(&self.knock.hello.identity);
            if let Ok(Some(Decision::Aborted)) = decision {
                return Err(ArriveError::Kept);
            }
            // The source comes back at once if it can.
            if !told && begun.elapsed() > 10 * LOOK {
                told = true;
                lost(trouble);
            }
            if self.waiting.is_taken_after(LOOK) {
                return self.claim(guest);
            }
        }
    }
}

/// Takes the pieces of a guest.
struct Intake<'a> {
    areas: &'a Areas,
    /// How many came.
    pieces: u64,
    /// Why the host does not take more.
    trouble: Option<String>,
}

impl Intake<'_> {
    /// Puts the pieces of a message where they belong. A host that fails is told of when the source listens.
    fn take(&mut self, message: &[u8], area: fn(u16) -> Area) -> Result<(), ArriveError> {
        if self.trouble.is_some() {
            return Ok(());
        }
        match unpack(message, area, self.areas) {
            Ok(pieces) => self.pieces += pieces,
            Err(PieceError::Nonsense(what)) => return Err(ChannelError::Nonsense(what).into()),
            Err(error) => self.trouble = Some(sentence(&error)),
        }
        Ok(())
    }

    /// Brings all that came where it belongs for good.
    fn settle(&mut self) -> Result<(), ArriveError> {
        match self.trouble.take() {
            Some(trouble) => Err(ArriveError::Refused(trouble)),
            None => self.areas.settle().map_err(|error| ArriveError::Refused(sentence(&error))),
        }
    }
}

/// What is said to the other side, as far as that fits into a message.
fn cut(words: &str) -> String {
    words.chars().take(1000).collect()
}

fn banks(ram: &Ram) -> Vec<(u64, u64)> {
    ram.banks().iter().map(|bank| (bank.base.0, bank.size)).collect()
}
