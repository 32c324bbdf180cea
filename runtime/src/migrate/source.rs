//! The source of a move: it sends a guest that runs, and lets go of it when the target holds all of it. It must not
//! know what the guest is, nor how a connection is made.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::channel::{Channel, ChannelError, Stream};
use super::message::{Accept, Ask, Complete, Hello, Identity, MOST_BYTES, Message};
use super::pieces::{Area, Areas, Packer, PieceError, Place, bytes};
use super::progress::{Progress, Status};
use super::register::random;
use super::sentence;
use crate::backend::disk::SharedDisk;
use crate::device::lock;

/// A guest that can leave.
pub trait Leaving {
    /// What the target must know of it. The identity is filled in later.
    fn hello(&self) -> Hello;

    /// Its memories, and those of its disks that are to be copied.
    fn areas(&self) -> Areas;

    /// The pieces that changed since the last call, or, at the first, all that may be other than zero. The guest stands
    /// still for a moment.
    ///
    /// # Errors
    /// Says why they cannot be known.
    fn changed(&mut self) -> Result<Vec<Place>, String>;

    /// Slows it down by so many percent; 0 does not.
    fn throttle(&mut self, percent: u32);

    /// Makes it stand still until [`Leaving::go_on`].
    ///
    /// # Errors
    /// Says why it cannot be moved.
    fn stop(&mut self) -> Result<Standing, String>;

    /// Gives up what the target can have only alone, such as locks of disks. It stands still.
    ///
    /// # Errors
    /// Says why it cannot.
    fn let_go(&mut self) -> Result<(), String>;

    /// It runs at the target: it must never go on here. It stands still.
    fn gone(&mut self);

    /// Lets it go on after [`Leaving::stop`], perhaps after [`Leaving::let_go`].
    ///
    /// # Errors
    /// Says why it cannot; it then stands still until someone lets it go on.
    fn go_on(&mut self) -> Result<(), String>;
}

/// A guest that stands still.
pub struct Standing {
    /// The pieces that changed since the last look.
    pub places: Vec<Place>,
    /// Everything but these.
    pub state: Vec<u8>,
    /// Whether it would stand still anyway, since someone has paused it.
    pub paused: bool,
}

/// The way to the target.
pub trait Connect: Send + Sync {
    /// Makes a connection.
    ///
    /// # Errors
    /// Fails if there is no way, or nobody there that may be spoken to.
    fn connect(&self) -> io::Result<Box<dyn Stream>>;
}

/// How a guest is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long it may stand still, as far as that can be foreseen.
    pub downtime: Duration,
    /// How long the target may take for an answer.
    pub patience: Duration,
    /// How long it may take until the guest is said to be undecided, if the answer that decides does not come.
    pub doubt: Duration,
    /// The most bytes that are sent in a second.
    pub bandwidth: Option<u64>,
    /// Whether the disks that the guest can change are copied.
    pub with_disks: bool,
}

impl Default for Terms {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            downtime: Duration::from_millis(50),
            patience: seconds(10),
            doubt: seconds(5),
            bandwidth: None,
            with_disks: false,
        }
    }
}

/// Why a guest stays.
#[derive(Debug, thiserror::Error)]
pub enum DepartError {
    /// There is no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection is of no use.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The target does not take the guest.
    #[error("the receiver refuses: {0}")]
    Refused(String),
    /// The guest cannot be moved.
    #[error("{0}")]
    Guest(String),
    /// A part of the guest cannot be read.
    #[error(transparent)]
    Piece(#[from] PieceError),
    /// The guest changes faster than it can be sent.
    #[error(
        "the guest changes memory or disks faster than they can be sent, even slowed down; allow it to stand still for longer"
    )]
    Endless,
    /// The target has promised not to run it.
    #[error("the receiver did not take the guest over")]
    Aborted,
    /// A person said so.
    #[error("someone here decided that it goes on here")]
    Person,
    /// The host gives no random numbers.
    #[error("the host gives no random numbers")]
    Random(#[source] io::Error),
}

/// What came of a move.
#[derive(Debug)]
pub enum Outcome {
    /// The guest runs at the target, and must not run here any more.
    Moved,
    /// The guest goes on here.
    Stayed(DepartError),
    /// The guest stays here, but cannot go on.
    Stuck(DepartError, String),
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The move is at something else now.
    Status(Progress),
    /// Another round begins.
    Round(u32),
    /// The guest stands still, or goes on.
    Still(bool),
    /// Nobody can be asked what became of the guest, and why.
    Doubt(String),
}

/// Told what happens, by the thread that moves the guest.
pub type Notify = Box<dyn Fn(Notice) + Send + Sync>;

/// Rounds after which the guest is slowed down if there is no end in sight.
const FREE_ROUNDS: u32 = 3;
/// Slowing down begins at so many percent, and grows by half as many.
const FIRST_THROTTLE: u32 = 20;
const MOST_THROTTLE: u32 = 95;
/// Rounds after which the guest stays.
const MOST_ROUNDS: u32 = 200;
/// Bytes of disks after which the target is waited for, until it has them on stable storage: so that this never takes long,
/// and a target that has no room for them is heard.
const MOST_UNSETTLED: u64 = 16 << 20;
/// What standing still takes beside sending pieces.
const OVERHEAD: Duration = Duration::from_millis(8);
/// How often the target is asked what became of the guest.
const ASKING: Duration = Duration::from_millis(200);

/// A move as others see it and act on it, while a thread is in [`Departure::run`].
pub struct Departure {
    terms: Terms,
    begun: Instant,
    progress: Mutex<Progress>,
    /// Makes the channel fail.
    cancelled: Arc<AtomicBool>,
    /// Whether someone decided that an undecided guest goes on.
    stays: Mutex<bool>,
    decided: Condvar,
    notify: Notify,
}

impl Departure {
    /// A move that begins now.
    pub fn new(terms: Terms, notify: Notify) -> Arc<Self> {
        Arc::new(Self {
            terms,
            begun: Instant::now(),
            progress: Mutex::default(),
            cancelled: Arc::default(),
            stays: Mutex::new(false),
            decided: Condvar::new(),
            notify,
        })
    }

    /// How the guest is to be moved.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let mut progress = lock(&self.progress).clone();
        if !progress.status.is_over() {
            progress.total_time = self.begun.elapsed();
        }
        progress
    }

    /// Has the guest stay. Says whether there was time for it: it was not let go yet.
    pub fn cancel(&self) -> bool {
        let progress = lock(&self.progress);
        let in_time = matches!(progress.status, Status::Setup | Status::Active | Status::Device);
        if in_time {
            self.cancelled.store(true, Ordering::SeqCst);
        }
        in_time
    }

    /// Has an undecided guest go on here; whoever says that knows that it does not run at the target. Says whether the
    /// guest is undecided.
    pub fn stay(&self) -> bool {
        let undecided = lock(&self.progress).status == Status::Undecided;
        if undecided {
            *lock(&self.stays) = true;
            self.decided.notify_all();
        }
        undecided
    }

    /// It cannot even be tried, and why.
    pub fn refuse(&self, why: &str) {
        self.update(|progress| progress.reason = Some(why.to_owned()));
        self.enter(Status::Failed);
    }

    /// Moves the guest, however long that takes.
    pub fn run(&self, guest: &mut dyn Leaving, way: &Arc<dyn Connect>) -> Outcome {
        let areas = guest.areas();
        self.update(|progress| progress.copied = areas.disks.iter().map(SharedDisk::name).collect());
        let mut source = Source {
            departure: self,
            guest,
            way,
            areas,
            packer: Packer::new(),
            unsettled: 0,
            marks: 0,
            pieces: 0,
            stood: None,
            is_seen_standing: false,
        };
        let result = source.attempt();
        let outcome = source.conclude(result);
        let status = match &outcome {
            Outcome::Moved => Status::Completed,
            Outcome::Stayed(DepartError::Channel(ChannelError::Cancelled)) => Status::Cancelled,
            Outcome::Stayed(_) | Outcome::Stuck(..) => Status::Failed,
        };
        self.update(|progress| {
            progress.total_time = self.begun.elapsed();
            progress.reason = match &outcome {
                Outcome::Moved => None,
                Outcome::Stayed(error) => Some(sentence(error)),
                Outcome::Stuck(error, why) => {
                    Some(format!("{}; and it stands still, since it cannot go on: {why}", sentence(error)))
                }
            };
        });
        self.enter(status);
        if matches!(outcome, Outcome::Moved) {
            guest.gone();
        }
        outcome
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
    }

    fn enter(&self, status: Status) {
        self.update(|progress| progress.status = status);
        (self.notify)(Notice::Status(self.progress()));
    }

    /// From now on the guest cannot be kept.
    fn commit(&self) -> Result<(), ChannelError> {
        let mut progress = lock(&self.progress);
        if self.cancelled.load(Ordering::SeqCst) {
            return Err(ChannelError::Cancelled);
        }
        progress.status = Status::Undecided;
        Ok(())
    }

    /// Waits a while; says whether a person decided that the guest stays.
    fn wait_for_person(&self, limit: Duration) -> bool {
        let waited = self.decided.wait_timeout_while(lock(&self.stays), limit, |stays| !*stays);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What may be asked about a guest.
#[derive(Clone)]
struct Question {
    ask: Ask,
    patience: Duration,
    way: Arc<dyn Connect>,
}

impl Question {
    /// What the target answers.
    fn put(&self) -> Result<Message, DepartError> {
        // Whoever cancels wants the answer all the more.
        let mut channel = open(&*self.way, self.patience, Arc::default())?;
        channel.tell(&Message::Ask(self.ask.clone()))?;
        Ok(channel.hear()?)
    }

    /// Tells the target, as far as it can be reached, that the guest has stayed: an answer is its promise not to run it.
    fn renounce(self, doubt: Duration) {
        let begun = Instant::now();
        while self.put().is_err() && begun.elapsed() < doubt {
            thread::sleep(ASKING);
        }
    }
}

fn open(way: &dyn Connect, patience: Duration, cancelled: Arc<AtomicBool>) -> Result<Channel, DepartError> {
    let stream = way.connect().map_err(DepartError::Connect)?;
    let mut channel = Channel::new(stream, patience, cancelled)?;
    channel.send_preamble()?;
    channel.receive_preamble()?;
    Ok(channel)
}

/// One attempt to move a guest.
struct Source<'a> {
    departure: &'a Departure,
    guest: &'a mut dyn Leaving,
    way: &'a Arc<dyn Connect>,
    areas: Areas,
    packer: Packer,
    /// Bytes of disks since the last mark.
    unsettled: u64,
    /// Marks that were sent.
    marks: u32,
    /// Pieces that were sent.
    pieces: u64,
    /// Since when the guest stands still.
    stood: Option<Instant>,
    /// Whether people were told that it does; they know of one that was paused.
    is_seen_standing: bool,
}

/// Why an attempt failed, and what the target may have got.
struct Failure {
    error: DepartError,
    /// What to tell the target, if it may hold the whole guest.
    question: Option<Question>,
}

impl<E: Into<DepartError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), question: None }
    }
}

impl Source<'_> {
    fn attempt(&mut self) -> Result<(), Failure> {
        let departure = self.departure;
        let identity = random().map_err(DepartError::Random)?;
        let patience = departure.terms.patience;
        let mut channel = open(&**self.way, patience, Arc::clone(&departure.cancelled))?;
        let Accept { register, remark } = self.introduce(&mut channel, identity)?;
        departure.update(|progress| progress.remark = remark);
        departure.enter(Status::Active);
        let sent = self.send(&mut channel);
        if let Err(error) = sent {
            // It holds less than all, and forgets it.
            let _ = channel.tell(&Message::Cancel);
            return Err(error.into());
        }
        let way = Arc::clone(self.way);
        let question = Question { ask: Ask { identity, register }, patience, way };
        self.hand_over(&mut channel, &question)
    }

    fn introduce(&mut self, channel: &mut Channel, identity: Identity) -> Result<Accept, DepartError> {
        let hello = Hello { identity, ..self.guest.hello() };
        if !hello.fits() {
            return Err(DepartError::Guest("there is too much to be said of it for one message".into()));
        }
        self.departure.update(|progress| {
            (progress.memory.total, progress.disks.total) = (hello.bytes(), hello.disk_bytes());
        });
        channel.tell(&Message::Hello(hello))?;
        match channel.hear()? {
            Message::Accept(accept) => Ok(accept),
            Message::Refuse(why) => Err(DepartError::Refused(why)),
            other => Err(other.unexpected().into()),
        }
    }

    /// Sends everything; the guest then stands still, and the target has not answered yet.
    fn send(&mut self, channel: &mut Channel) -> Result<(), DepartError> {
        let rest = self.send_rounds(channel);
        self.guest.throttle(0);
        let mut rest = rest?;
        self.departure.enter(Status::Device);
        self.stood = Some(Instant::now());
        let Standing { places, state, paused } = self.guest.stop().map_err(DepartError::Guest)?;
        self.is_seen_standing = !paused;
        if self.is_seen_standing {
            (self.departure.notify)(Notice::Still(true));
        }
        rest.extend(places);
        rest.sort_unstable();
        rest.dedup();
        self.send_pieces(channel, &rest)?;
        for bytes in state.chunks(MOST_BYTES) {
            channel.tell(&Message::State(bytes.to_vec()))?;
        }
        let (length, checksum) = (state.len() as u64, crc32fast::hash(&state));
        channel.tell(&Message::Complete(Complete { length, checksum, pieces: self.pieces, paused }))?;
        Ok(())
    }

    /// Sends changed pieces while the guest runs, until the rest, which is given back, is small enough.
    fn send_rounds(&mut self, channel: &mut Channel) -> Result<Vec<Place>, DepartError> {
        let mut places = self.guest.changed().map_err(DepartError::Guest)?;
        let mut throttle = 0;
        for round in 1..=MOST_ROUNDS {
            let begun = Instant::now();
            self.departure.update(|progress| progress.rounds = round);
            (self.departure.notify)(Notice::Round(round));
            self.send_pieces(channel, &places)?;
            self.mark(channel)?;
            let next = self.guest.changed().map_err(DepartError::Guest)?;
            let expected = self.foresee(&places, &next, begun.elapsed());
            // As long as a round leaves much less than it sent, another makes the guest stand still for less.
            let is_worth_another = bytes(&next) * 2 < bytes(&places);
            if next.is_empty() || expected <= self.departure.terms.downtime && !is_worth_another {
                return Ok(next);
            }
            if round > FREE_ROUNDS && bytes(&next) * 10 > bytes(&places) * 7 {
                let more = if throttle == 0 { FIRST_THROTTLE } else { throttle + FIRST_THROTTLE / 2 };
                throttle = more.min(MOST_THROTTLE);
                self.guest.throttle(throttle);
                self.departure.update(|progress| progress.throttle = throttle);
            }
            places = next;
        }
        Err(DepartError::Endless)
    }

    /// How long the guest would stand still now, if `sent` took `took` and `next` is left.
    fn foresee(&self, sent: &[Place], next: &[Place], took: Duration) -> Duration {
        let seconds = took.as_secs_f64().max(1e-6);
        let (sent, left) = (bytes(sent) as f64, bytes(next) as f64);
        let expected = Duration::from_secs_f64(seconds / sent.max(1.0) * left) + OVERHEAD;
        self.departure.update(|progress| {
            progress.rate = sent / seconds;
            progress.dirty_rate = left / seconds;
            progress.set_remaining(next);
            progress.expected_downtime = expected;
        });
        expected
    }

    fn send_pieces(&mut self, channel: &mut Channel, places: &[Place]) -> Result<(), DepartError> {
        self.departure.update(|progress| progress.set_remaining(places));
        for place in places {
            if let Some(message) = self.packer.add(&self.areas, *place)? {
                self.send_packed(channel, &message)?;
            }
            self.pieces += 1;
            self.departure.update(|progress| progress.note_sent(*place));
            if matches!(place.area, Area::Disk(_)) {
                self.unsettled += place.bytes();
            }
            if self.unsettled >= MOST_UNSETTLED {
                self.send_rest(channel)?;
                self.mark(channel)?;
            }
        }
        self.send_rest(channel)
    }

    /// Sends what is packed.
    fn send_rest(&mut self, channel: &mut Channel) -> Result<(), DepartError> {
        self.packer.take().map_or(Ok(()), |message| self.send_packed(channel, &message))
    }

    /// Waits until the target has all that was sent.
    fn mark(&mut self, channel: &mut Channel) -> Result<(), DepartError> {
        self.unsettled = 0;
        self.marks += 1;
        channel.tell(&Message::Mark(self.marks))?;
        match channel.hear()? {
            Message::Heard(heard) if heard == self.marks => Ok(()),
            Message::Refuse(why) => Err(DepartError::Refused(why)),
            other => Err(other.unexpected().into()),
        }
    }

    fn send_packed(&mut self, channel: &mut Channel, message: &Message) -> Result<(), DepartError> {
        if self.departure.cancelled.load(Ordering::SeqCst) {
            return Err(ChannelError::Cancelled.into());
        }
        let (before, begun) = (channel.sent, Instant::now());
        channel.tell(message)?;
        let (bytes, took) = (channel.sent - before, begun.elapsed());
        // Nobody waits for the network while the guest does.
        if let Some(bandwidth) = self.departure.terms.bandwidth.filter(|_| self.stood.is_none()) {
            let due = Duration::from_secs_f64(bytes as f64 / bandwidth.max(1) as f64);
            thread::sleep(due.saturating_sub(took).min(self.departure.terms.patience / 2));
        }
        self.packer.economy.note_sent(bytes as usize, begun.elapsed());
        self.departure.update(|progress| progress.transferred = channel.sent);
        Ok(())
    }

    /// Lets go of the guest once the target holds it.
    fn hand_over(&mut self, channel: &mut Channel, question: &Question) -> Result<(), Failure> {
        let lost = |error| Failure { error, question: Some(question.clone()) };
        let kept = match channel.hear() {
            Ok(Message::Ready) => self.guest.let_go().map_err(DepartError::Guest),
            Ok(Message::Refuse(why)) => return Err(DepartError::Refused(why).into()),
            Ok(other) => Err(other.unexpected().into()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = kept.and_then(|()| Ok(self.departure.commit()?)) {
            // A target that hears it forgets the guest, and one that does not is told later.
            let _ = channel.tell(&Message::Cancel);
            return Err(lost(error));
        }
        (self.departure.notify)(Notice::Status(self.departure.progress()));
        // The guest's fate is no longer a matter of this connection, nor of whether it was cancelled.
        let answer = channel.tell(&Message::Commit).and_then(|()| channel.hear());
        match answer {
            Ok(Message::Running) => Ok(()),
            Ok(Message::Aborted) => Err(DepartError::Aborted.into()),
            Ok(other) => self.resolve(question, &other.unexpected().into()),
            Err(error) => self.resolve(question, &error.into()),
        }
    }

    /// Asks what became of the guest until someone knows.
    fn resolve(&mut self, question: &Question, why: &DepartError) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut why = sentence(why);
        let mut told = false;
        loop {
            match question.put() {
                Ok(Message::Running) => return Ok(()),
                Ok(Message::Aborted) => return Err(DepartError::Aborted.into()),
                Ok(Message::Unknown) => "the receiver no longer knows of it".clone_into(&mut why),
                Ok(other) => why = sentence(&other.unexpected()),
                Err(error) => why = sentence(&error),
            }
            if !told && begun.elapsed() >= self.departure.terms.doubt {
                told = true;
                (self.departure.notify)(Notice::Doubt(why.clone()));
            }
            self.departure.update(|progress| progress.reason = Some(why.clone()));
            if self.departure.wait_for_person(ASKING) {
                return Err(DepartError::Person.into());
            }
        }
    }

    /// Lets the guest go on if it stays.
    fn conclude(&mut self, result: Result<(), Failure>) -> Outcome {
        let downtime = self.stood.map(|stood| stood.elapsed());
        let Err(Failure { error, question }) = result else {
            self.departure.update(|progress| progress.downtime = downtime);
            return Outcome::Moved;
        };
        if self.stood.is_some()
            && let Err(stuck) = self.guest.go_on()
        {
            return Outcome::Stuck(error, stuck);
        }
        if self.is_seen_standing {
            (self.departure.notify)(Notice::Still(false));
        }
        if let Some(question) = question {
            let doubt = self.departure.terms.doubt;
            // If there is no thread, the target waits for a person.
            let _ = thread::Builder::new().name("renounce".into()).spawn(move || question.renounce(doubt));
        }
        Outcome::Stayed(error)
    }
}
