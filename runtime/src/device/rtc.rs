//! A real-time clock with the register layout of Google's "goldfish" board: nanoseconds since 1970
//! in two halves, and one alarm. Linux's drivers/rtc/rtc-goldfish.c, built into Debian's mips64r2el
//! kernel (`CONFIG_RTC_DRV_GOLDFISH=y`), is the source of the offsets and of the order of accesses.
//! It must not know which clock of the host it shows.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Access, Device, lock, read_words, write_words};
use crate::bus::irq::IrqLine;
use crate::persist::Persist;
use crate::sliced_time::Timed;

/// The registers, by their byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Register {
    /// Low half of the time; reading it latches the high half, writing it sets the time.
    TimeLow = 0x00,
    /// High half of the time, as of the last read of the low half.
    TimeHigh = 0x04,
    /// Low half of the alarm time; writing it arms the alarm.
    AlarmLow = 0x08,
    /// High half of the alarm time.
    AlarmHigh = 0x0c,
    /// Bit 0 lets the alarm interrupt.
    InterruptEnable = 0x10,
    /// Any write disarms the alarm.
    ClearAlarm = 0x14,
    /// One while the alarm is armed.
    AlarmStatus = 0x18,
    /// Any write takes the interrupt back.
    ClearInterrupt = 0x1c,
}

impl Register {
    const ALL: [Self; 8] = [
        Self::TimeLow,
        Self::TimeHigh,
        Self::AlarmLow,
        Self::AlarmHigh,
        Self::InterruptEnable,
        Self::ClearAlarm,
        Self::AlarmStatus,
        Self::ClearInterrupt,
    ];

    fn at(offset: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|register| *register as u64 == offset)
    }
}

/// A clock: nanoseconds since 1970, UTC.
pub type WallClock = Box<dyn Fn() -> u64 + Send>;

/// The host's wall clock. A host that believes to live before 1970 reads as 1970.
pub fn host_clock() -> WallClock {
    Box::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// How long the alarm's thread sleeps at most before it looks whether the alarm is still wanted.
const ALARM_NAP: Duration = Duration::from_millis(100);

/// Everything of the clock that a snapshot must keep. Time itself goes on on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Nanoseconds that the guest has moved its clock ahead of the host's, modulo 2^64.
    ahead: u64,
    latched_high: u32,
    /// The value for the high half of the time, until the low half is written.
    written_high: u32,
    alarm: u64,
    armed: bool,
    interrupt_enabled: bool,
    interrupt_pending: bool,
}

/// The clock.
pub struct Rtc {
    state: State,
    clock: WallClock,
    line: IrqLine,
    itself: Weak<Mutex<Self>>,
    watched: bool,
    /// Whether whoever lets the clock's time pass sees to the alarm.
    left_to_owner: bool,
    paused: bool,
}

impl Rtc {
    /// A clock that shows `clock` and whose alarm interrupts through `line`.
    pub fn new(clock: WallClock, line: IrqLine) -> Arc<Mutex<Self>> {
        Arc::new_cyclic(|itself| {
            let itself = Weak::clone(itself);
            let state = State::default();
            let (watched, left_to_owner, paused) = (false, false, false);
            Mutex::new(Self { state, clock, line, itself, watched, left_to_owner, paused })
        })
    }

    /// From now on no thread watches the alarm: whoever lets the clock's time pass calls it, as [`Timed`].
    pub fn leave_alarm_to_owner(&mut self) {
        self.left_to_owner = true;
    }

    fn now(&self) -> u64 {
        (self.clock)().wrapping_add(self.state.ahead)
    }

    /// Lets the alarm go off if its time has come, and drives the interrupt line.
    fn settle(&mut self) {
        if self.state.armed && self.now() >= self.state.alarm {
            self.state.armed = false;
            self.state.interrupt_pending = true;
        }
        self.line.set(self.state.interrupt_pending && self.state.interrupt_enabled);
    }

    /// Sees to it that a thread calls [`settle`](Self::settle) when the alarm is due. There is none
    /// while no alarm is armed, which is nearly always.
    fn watch(&mut self) {
        if !self.state.armed || self.watched || self.left_to_owner {
            return;
        }
        let rtc = Weak::clone(&self.itself);
        let spawned = thread::Builder::new().name("rtc-alarm".to_owned()).spawn(move || watch_alarm(&rtc));
        // Without a thread the alarm goes off late: when the guest next touches the clock.
        self.watched = spawned.is_ok();
    }

    /// How long the alarm's thread may sleep; `None` when it is no longer needed.
    fn nap(&mut self) -> Option<Duration> {
        if self.paused {
            return Some(ALARM_NAP);
        }
        self.settle();
        self.watched = self.state.armed;
        let left = Duration::from_nanos(self.state.alarm.saturating_sub(self.now()));
        self.state.armed.then_some(left.min(ALARM_NAP))
    }

    fn read_register(&mut self, offset: u64) -> u32 {
        match Register::at(offset) {
            Some(Register::TimeLow) => {
                let now = self.now();
                self.state.latched_high = (now >> 32) as u32;
                now as u32
            }
            Some(Register::TimeHigh) => self.state.latched_high,
            Some(Register::AlarmLow) => self.state.alarm as u32,
            Some(Register::AlarmHigh) => (self.state.alarm >> 32) as u32,
            Some(Register::InterruptEnable) => self.state.interrupt_enabled.into(),
            Some(Register::AlarmStatus) => self.state.armed.into(),
            Some(Register::ClearAlarm | Register::ClearInterrupt) | None => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        let state = &mut self.state;
        match Register::at(offset) {
            Some(Register::TimeLow) => {
                let time = u64::from(state.written_high) << 32 | u64::from(value);
                state.ahead = time.wrapping_sub((self.clock)());
            }
            Some(Register::TimeHigh) => state.written_high = value,
            Some(Register::AlarmLow) => {
                state.alarm = state.alarm >> 32 << 32 | u64::from(value);
                state.armed = true;
                self.watch();
            }
            Some(Register::AlarmHigh) => state.alarm = u64::from(value) << 32 | state.alarm & 0xffff_ffff,
            Some(Register::InterruptEnable) => state.interrupt_enabled = value & 1 != 0,
            Some(Register::ClearAlarm) => state.armed = false,
            Some(Register::ClearInterrupt) => state.interrupt_pending = false,
            Some(Register::AlarmStatus) | None => {}
        }
    }
}

/// The life of the alarm's thread: it ends with the alarm, or with the clock.
fn watch_alarm(rtc: &Weak<Mutex<Rtc>>) {
    loop {
        let Some(nap) = rtc.upgrade().and_then(|rtc| lock(&rtc).nap()) else { return };
        thread::sleep(nap);
    }
}

impl Timed for Mutex<Rtc> {
    fn due_in(&self) -> Option<u64> {
        let rtc = lock(self);
        rtc.state.armed.then(|| rtc.state.alarm.saturating_sub(rtc.now()))
    }

    fn time_has_passed(&self) {
        let mut rtc = lock(self);
        if rtc.state.armed {
            rtc.settle();
        }
    }
}

impl Persist for Rtc {
    const KIND: &'static str = "clock";
    const VERSION: u16 = 1;
    type State = State;
    type Error = Infallible;

    fn save(&mut self) -> State {
        self.state.clone()
    }

    /// An alarm whose time has come meanwhile goes off.
    fn restore(&mut self, state: State) -> Result<(), Infallible> {
        self.state = state;
        self.watch();
        self.settle();
        Ok(())
    }
}

impl Device for Rtc {
    fn read(&mut self, at: Access) -> u64 {
        let value = read_words(at, |offset| self.read_register(offset));
        self.settle();
        value
    }

    fn write(&mut self, at: Access, value: u64) {
        write_words(at, value, |offset, word| self.write_register(offset, word));
        self.settle();
    }

    fn reset(&mut self) {
        self.state = State::default();
        self.settle();
    }

    /// The time shown is the host's, and goes on; an alarm whose time has come meanwhile goes off
    /// afterwards.
    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            self.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::bus::irq::IrqSink;
    use crate::device::Size;
    use crate::machine::NANOSECONDS_PER_TICK;
    use crate::sliced_time::SlicedTime;

    #[derive(Default)]
    struct Wire(AtomicBool);

    impl IrqSink for Wire {
        fn set(&self, _pin: u32, level: bool) {
            self.0.store(level, Ordering::SeqCst);
        }
    }

    fn read(rtc: &Mutex<Rtc>, register: Register) -> u64 {
        lock(rtc).read(Access { offset: register as u64, size: Size::Word, vcpu: 0 })
    }

    fn write(rtc: &Mutex<Rtc>, register: Register, value: u64) {
        lock(rtc).write(Access { offset: register as u64, size: Size::Word, vcpu: 0 }, value);
    }

    fn time(rtc: &Mutex<Rtc>) -> u64 {
        let low = read(rtc, Register::TimeLow);
        read(rtc, Register::TimeHigh) << 32 | low
    }

    #[test]
    fn shows_the_clock_and_can_be_set() {
        let wire = Arc::new(Wire::default());
        let rtc = Rtc::new(Box::new(|| 0x1234_5678_9abc_def0), IrqLine::new(wire, 0));
        assert_eq!(time(&rtc), 0x1234_5678_9abc_def0);
        write(&rtc, Register::TimeHigh, 0x11);
        write(&rtc, Register::TimeLow, 0x22);
        assert_eq!(time(&rtc), 0x11_0000_0022);
        let double = Access { offset: 0, size: Size::Double, vcpu: 0 };
        assert_eq!(lock(&rtc).read(double), 0x11_0000_0022);
        lock(&rtc).reset();
        assert_eq!(time(&rtc), 0x1234_5678_9abc_def0);
    }

    #[test]
    fn the_alarm_goes_off_by_itself() {
        let wire = Arc::new(Wire::default());
        let rtc = Rtc::new(host_clock(), IrqLine::new(wire.clone(), 0));
        let due = time(&rtc) + 20_000_000;
        write(&rtc, Register::AlarmHigh, due >> 32);
        write(&rtc, Register::AlarmLow, due & 0xffff_ffff);
        write(&rtc, Register::InterruptEnable, 1);
        assert!(!wire.0.load(Ordering::SeqCst));
        assert_eq!(read(&rtc, Register::AlarmStatus), 1);
        let begun = Instant::now();
        while !wire.0.load(Ordering::SeqCst) {
            assert!(begun.elapsed() < Duration::from_secs(20), "no alarm");
            thread::sleep(Duration::from_millis(1));
        }
        write(&rtc, Register::ClearInterrupt, 1);
        assert!(!wire.0.load(Ordering::SeqCst));
        assert_eq!(read(&rtc, Register::AlarmStatus), 0);
    }

    #[test]
    fn an_alarm_that_is_left_to_the_owner_goes_off_when_time_is_let_pass() {
        let (wire, time) = (Arc::new(Wire::default()), Arc::new(SlicedTime::default()));
        let shown = Arc::clone(&time);
        let clock: WallClock = Box::new(move || 1000 + shown.tick() * NANOSECONDS_PER_TICK);
        let rtc = Rtc::new(clock, IrqLine::new(wire.clone(), 0));
        lock(&rtc).leave_alarm_to_owner();
        let owned = Arc::downgrade(&rtc);
        time.tell(owned);
        assert_eq!(time.due(), None);
        write(&rtc, Register::InterruptEnable, 1);
        write(&rtc, Register::AlarmLow, 1000 + 5 * NANOSECONDS_PER_TICK - 1);
        assert_eq!(time.due(), Some(5));
        assert!(!lock(&rtc).watched);
        time.pass_to(4);
        assert!(!wire.0.load(Ordering::SeqCst));
        time.pass_to(5);
        assert!(wire.0.load(Ordering::SeqCst));
        assert_eq!(time.due(), None);
    }

    #[test]
    fn a_cleared_alarm_stays_silent() {
        let wire = Arc::new(Wire::default());
        let rtc = Rtc::new(Box::new(|| 1000), IrqLine::new(wire.clone(), 0));
        write(&rtc, Register::InterruptEnable, 1);
        write(&rtc, Register::AlarmLow, 2000);
        write(&rtc, Register::ClearAlarm, 1);
        write(&rtc, Register::TimeLow, 3000);
        assert!(!wire.0.load(Ordering::SeqCst));
        write(&rtc, Register::AlarmLow, 2000);
        assert!(wire.0.load(Ordering::SeqCst), "an alarm in the past goes off at once");
    }
}
