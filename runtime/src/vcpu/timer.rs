//! Count and Compare. Count is the machine's clock plus an offset; Compare becomes a deadline on that
//! clock, so nothing has to tick.

use std::time::Duration;

use translator::cp0::{Cause, Cp0};
use translator::cpu::alarm;

use super::{Paid, Vcpu};
use crate::board::virt::COUNT_HZ;
use crate::machine::Clock;

impl Vcpu {
    /// The machine's clock in Count steps.
    pub(super) fn ticks(&self) -> u64 {
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

    /// Lets the clock of instructions pass to the timer's next interrupt, for a guest that waits.
    /// Gives whether the timer was set.
    pub fn skip_to_deadline(&mut self) -> bool {
        let Some(rest) = self.instructions_to_deadline() else { return false };
        self.idle += rest;
        true
    }

    /// The Count register.
    pub(super) fn count(&self) -> u32 {
        (self.ticks() as u32).wrapping_add(self.count_offset)
    }

    /// Sets the Count register.
    pub(super) fn set_count(&mut self, value: u32) {
        self.count_offset = value.wrapping_sub(self.ticks() as u32);
        self.set_deadline();
    }

    /// Sets the Compare register, which acknowledges the timer's interrupt.
    pub(super) fn set_compare(&mut self, value: u32) {
        self.cpu.set_cp0(Cp0::Compare, value as i32 as u64);
        let cause = self.cpu.cp0(Cp0::Cause) & !(Cause::TI | Cause::IP7).bits();
        self.cpu.set_cp0(Cp0::Cause, cause as i32 as u64);
        self.set_deadline();
    }

    /// The deadline is when Count next equals Compare: at most one turn of the counter away.
    fn set_deadline(&mut self) {
        let distance = (self.cpu.cp0(Cp0::Compare) as u32).wrapping_sub(self.count());
        let steps = if distance == 0 { 1 << 32 } else { u64::from(distance) };
        self.deadline = Some(self.ticks() + steps);
        match self.machine.clock {
            Clock::Host => self.set_alarm_clock(),
            // The run loop's batches end at the deadline, so it must begin a new one.
            Clock::Instructions => self.doorbell.shared.raise(alarm::INTERRUPT),
        }
    }

    fn set_alarm_clock(&self) {
        if let Some(clock) = &self.machine.alarm_clock {
            clock.set(self.number, self.time_to_deadline());
        }
    }

    /// Raises the timer's interrupt if its time has come, and sets the next deadline.
    pub(super) fn check_timer(&mut self) {
        let Some(deadline) = self.deadline else { return };
        if self.ticks() >= deadline {
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
        Some(Duration::from_nanos(steps.saturating_mul(1_000_000_000 / u64::from(COUNT_HZ))))
    }
}
