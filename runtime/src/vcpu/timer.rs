//! Count and Compare. Count is the machine's clock plus an offset; Compare becomes a deadline on that
//! clock, so nothing has to tick.

use std::time::Duration;

use translator::cp0::{Cause, Cp0};
use translator::cpu::alarm;

use super::{Paid, Vcpu};
use crate::machine::{Clock, NANOSECONDS_PER_TICK};

impl Vcpu {
    /// The machine's clock in Count steps.
    pub fn ticks(&self) -> u64 {
        match self.machine.clock {
            Clock::Host => self.machine.host_ticks(),
            Clock::Instructions => self.retired() + self.idle,
        }
    }

    /// The instructions that have run on this vCPU: exact at any of them, under any engine, if
    /// generated code counts ([`Mode::COUNTED`](translator::mode::Mode::COUNTED)); else only those
    /// that were interpreted.
    pub fn retired(&self) -> u64 {
        let paid = self.granted.wrapping_sub(self.cpu.budget as u64);
        match self.paid {
            Paid::All => paid,
            Paid::Before(start) => paid.wrapping_add(self.site.pc.0.wrapping_sub(start.0) / 4),
            Paid::AllBut(steps) => paid.wrapping_sub(u64::from(steps)),
        }
    }

    /// Lets the clock of instructions pass to `tick`, if it is not there yet: others ran meanwhile.
    pub fn pass_time(&mut self, tick: u64) {
        self.idle += tick.saturating_sub(self.ticks());
    }

    /// Makes the clock of instructions show `tick`, for a vCPU that stood under another clock.
    pub fn set_ticks(&mut self, tick: u64) {
        (self.granted, self.idle) = (tick.wrapping_add(self.cpu.budget as u64), 0);
    }

    /// The tick of the timer's next interrupt, if the timer was ever set.
    pub fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Lets the clock of instructions pass to the timer's next interrupt, for a guest that waits.
    /// Gives whether the timer was set.
    pub fn skip_to_deadline(&mut self) -> bool {
        let Some(rest) = self.instructions_to_deadline() else { return false };
        self.idle += rest;
        true
    }

    /// The Count register.
    pub(super) fn count(&self) -> u32 {
        self.count_at(self.ticks())
    }

    fn count_at(&self, tick: u64) -> u32 {
        (tick as u32).wrapping_add(self.count_offset)
    }

    /// Sets the Count register.
    pub(super) fn set_count(&mut self, value: u32) {
        let asked = value.wrapping_sub(self.ticks() as u32);
        self.count_offset = self.machine.agree_on_count(asked);
        self.set_deadline(false);
    }

    /// Sets the Compare register, which acknowledges the timer's interrupt.
    pub(super) fn set_compare(&mut self, value: u32) {
        // Writing the old value again only acknowledges.
        let is_new = self.cpu.cp0(Cp0::Compare) as u32 != value;
        self.cpu.set_cp0(Cp0::Compare, value as i32 as u64);
        let cause = self.cpu.cp0(Cp0::Cause) & !(Cause::TI | Cause::IP7).bits();
        self.cpu.set_cp0(Cp0::Cause, cause as i32 as u64);
        self.set_deadline(is_new);
    }

    /// Sets the timer so many steps of Count ahead, for tests.
    #[cfg(test)]
    pub(crate) fn set_timer(&mut self, steps: u32) {
        self.set_compare(self.count().wrapping_add(steps));
    }

    /// The Count register, for the guest. One that has seen it pass Compare may look for the interrupt in Cause next, which
    /// by the host's clock is not looked at for that.
    pub(super) fn read_count(&mut self) -> u32 {
        let now = self.ticks();
        if self.machine.clock == Clock::Host {
            self.check_timer_at(now);
        }
        self.count_read = self.count_at(now);
        self.count_read
    }

    /// The deadline is when Count next equals Compare: at most one turn of the counter away.
    ///
    /// A new Compare that was ahead of the Count that the guest last read, and is not ahead any more, is
    /// due at once: the host let the vCPU stand still in between, or was translating. Linux sets its timer
    /// one microsecond ahead when it brings up another CPU (`sync-r4k.c`), and would wait for the counter
    /// to come round. The clock is looked at once, for the host may also stand still in here.
    fn set_deadline(&mut self, is_new: bool) {
        let now = self.ticks();
        let count = self.count_at(now);
        let compare = self.cpu.cp0(Cp0::Compare) as u32;
        let is_ahead_of = |count: u32| (compare.wrapping_sub(count) as i32) > 0;
        let late = is_new && self.machine.clock == Clock::Host;
        let steps = match compare.wrapping_sub(count) {
            _ if late && is_ahead_of(self.count_read) && !is_ahead_of(count) => 0,
            0 => 1 << 32,
            distance => u64::from(distance),
        };
        self.deadline = Some(now + steps);
        match self.machine.clock {
            Clock::Host => self.set_alarm_clock(),
            // The run loop's batches end at the deadline, so it must begin a new one.
            Clock::Instructions => self.doorbell.shared.raise(alarm::INTERRUPT),
        }
    }

    /// Sets the alarm clock to the deadline, which it forgets while the machine stands still.
    pub(crate) fn set_alarm_clock(&self) {
        if let Some(clock) = &self.machine.alarm_clock {
            clock.set(self.number, self.time_to_deadline());
        }
    }

    /// Raises the timer's interrupt if its time has come, and sets the next deadline.
    pub(super) fn check_timer(&mut self) {
        if self.deadline.is_some() {
            self.check_timer_at(self.ticks());
        }
    }

    fn check_timer_at(&mut self, now: u64) {
        let Some(deadline) = self.deadline else { return };
        if now >= deadline {
            let cause = self.cpu.cp0(Cp0::Cause) | (Cause::TI | Cause::IP7).bits();
            self.cpu.set_cp0(Cp0::Cause, cause as i32 as u64);
            self.deadline = Some(deadline + (1 << 32));
            self.set_alarm_clock();
        }
    }

    /// How many instructions may run before the timer's interrupt, by the clock of instructions.
    pub(super) fn instructions_to_deadline(&self) -> Option<u64> {
        (self.machine.clock == Clock::Instructions)
            .then(|| self.deadline.map(|d| d.saturating_sub(self.ticks())))?
    }

    /// How long the timer's interrupt is away by the host's clock.
    pub(super) fn time_to_deadline(&self) -> Option<Duration> {
        let steps = self.deadline?.saturating_sub(self.ticks());
        Some(Duration::from_nanos(steps.saturating_mul(NANOSECONDS_PER_TICK)))
    }
}
