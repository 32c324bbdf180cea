//! Entering guest exceptions and interrupts: registers, vector, mode. The one place that does so.
//!
//! Source: MD00091 (revision 5.03), chapter 6.

use translator::addr::Va;
use translator::cp0::{Cause, Cp0, ENTRY_HI_ASID, IP_SHIFT, Status};
use translator::exception::Exception;
use translator::float::FloatException;

use super::{Leave, Stop, Vcpu};
use crate::machine::Exceptions;

/// The base of the vectors while Status.BEV is set.
const BOOT_VECTORS: u64 = 0xffff_ffff_bfc0_0200;
const OFFSET_REFILL: u64 = 0x000;
const OFFSET_REFILL_WIDE: u64 = 0x080;
const OFFSET_GENERAL: u64 = 0x180;
const OFFSET_INTERRUPT: u64 = 0x200;

impl Vcpu {
    /// Enters the handler of `exception`, raised by the instruction at the current site, or leaves if
    /// the guest is not the one to handle it.
    pub(super) fn raise(&mut self, exception: Exception) -> Stop {
        match (self.machine.exceptions, exception) {
            (Exceptions::Guest, _) => {}
            (_, Exception::Syscall) => return self.leave_after(Leave::SystemCall),
            (Exceptions::HostCalls, _) => {}
            (Exceptions::Host, _) => return self.report(exception),
        }
        self.enter_exception(exception);
        Stop::Exception
    }

    /// Leaves with an exception. Nothing is changed but the program counter.
    fn report(&mut self, exception: Exception) -> Stop {
        self.statistics.exceptions[exception.kind()] += 1;
        let back = if self.site.in_slot { 4 } else { 0 };
        self.cpu.pc = self.site.pc.0.wrapping_sub(back);
        Stop::Leave(Leave::Exception(exception))
    }

    /// The exception of an enabled floating-point condition.
    pub(super) fn raise_float(&mut self, _: FloatException) -> Stop {
        self.raise(Exception::FloatingPoint)
    }

    fn enter_exception(&mut self, exception: Exception) {
        self.statistics.exceptions[exception.kind()] += 1;
        self.trace_exception(exception);
        if let Some(va) = exception.bad_address() {
            self.cpu.set_cp0(Cp0::BadVAddr, va.0);
        }
        if exception.is_tlb() {
            self.set_tlb_context(exception.bad_address().unwrap_or_default());
        }
        let status = self.cpu.status();
        let vector = self.vector(exception, status);
        let mut cause = self.cpu.cp0(Cp0::Cause) & !(Cause::EXC_CODE | Cause::CE).bits();
        cause |= exception.code() << 2;
        if let Exception::CoprocessorUnusable(unit) = exception {
            cause |= u64::from(unit) << Cause::CE.bits().trailing_zeros();
        }
        if !status.contains(Status::EXL) {
            let back = if self.site.in_slot { 4 } else { 0 };
            self.cpu.set_cp0(Cp0::Epc, self.site.pc.0.wrapping_sub(back));
            cause = cause & !Cause::BD.bits() | if self.site.in_slot { Cause::BD.bits() } else { 0 };
        }
        self.cpu.set_cp0(Cp0::Cause, cause as i32 as u64);
        self.cpu.link_address = translator::cpu::Cpu::NO_LINK;
        self.set_status(status | Status::EXL);
        self.cpu.pc = vector;
    }

    /// Context, XContext and EntryHi take the page of a TLB exception.
    fn set_tlb_context(&mut self, va: Va) {
        const CONTEXT_BASE: u64 = !0x7f_ffff;
        const XCONTEXT_BASE: u64 = !0x1_ffff_ffff;
        let pair = va.0 >> 13;
        let context = self.cpu.cp0(Cp0::Context) & CONTEXT_BASE | (pair & 0x7_ffff) << 4;
        self.cpu.set_cp0(Cp0::Context, context);
        let xcontext =
            self.cpu.cp0(Cp0::XContext) & XCONTEXT_BASE | va.0 >> 62 << 31 | (pair & 0x7ff_ffff) << 4;
        self.cpu.set_cp0(Cp0::XContext, xcontext);
        let kept = self.cpu.cp0(Cp0::EntryHi) & ENTRY_HI_ASID;
        self.cpu.set_cp0(Cp0::EntryHi, va.0 & (3 << 62 | 0xff_ffff_e000) | kept);
    }

    fn vector(&self, exception: Exception, status: Status) -> u64 {
        let base = if status.contains(Status::BEV) {
            BOOT_VECTORS
        } else {
            self.cpu.cp0(Cp0::EBase) as u32 as i32 as u64 & !0xfff
        };
        let refill = matches!(exception, Exception::TlbRefill(..)) && !status.contains(Status::EXL);
        let special = self.cpu.cp0(Cp0::Cause) & Cause::IV.bits() != 0;
        base.wrapping_add(match exception {
            _ if refill => self.refill_offset(status),
            Exception::Interrupt if special => OFFSET_INTERRUPT,
            _ => OFFSET_GENERAL,
        })
    }

    /// The refill of a 64-bit address has a vector of its own, if the mode of the segment's owner has
    /// 64-bit addresses.
    fn refill_offset(&self, status: Status) -> u64 {
        let wide = match self.cpu.cp0(Cp0::BadVAddr) >> 62 {
            0 => status.contains(Status::UX),
            1 => status.contains(Status::SX),
            _ => status.contains(Status::KX),
        };
        if wide { OFFSET_REFILL_WIDE } else { OFFSET_REFILL }
    }

    /// Sets Status, the mode, and the tables of the mode.
    pub(super) fn set_status(&mut self, status: Status) {
        let before = self.cpu.mode;
        self.cpu.set_status(status);
        if self.cpu.mode != before {
            self.select_tables();
        }
    }

    /// The pending interrupts in the positions of Cause.IP, whether or not they are masked.
    pub(super) fn pending_interrupts(&self) -> u64 {
        use std::sync::atomic::Ordering;
        let own = self.cpu.cp0(Cp0::Cause) & (Cause::IP_SOFTWARE | Cause::IP7).bits();
        own | self.doorbell.shared.interrupt_lines.load(Ordering::Acquire)
    }

    /// Whether an interrupt can be taken now.
    pub(super) fn interrupt_is_due(&self) -> bool {
        let status = self.cpu.status();
        let enabled = status & (Status::IE | Status::EXL | Status::ERL) == Status::IE;
        enabled && self.pending_interrupts() & status.bits() & 0xff << IP_SHIFT != 0
    }

    /// Takes a pending interrupt, if one is due, at a settled point.
    pub(super) fn take_interrupt(&mut self) {
        if self.interrupt_is_due() {
            self.site = translator::interp::Site { pc: Va(self.cpu.pc), in_slot: false };
            self.enter_exception(Exception::Interrupt);
        }
    }

    /// ERET.
    pub(super) fn exception_return(&mut self) {
        let status = self.cpu.status();
        if status.contains(Status::ERL) {
            self.cpu.pc = self.cpu.cp0(Cp0::ErrorEpc);
            self.set_status(status - Status::ERL);
        } else {
            self.cpu.pc = self.cpu.cp0(Cp0::Epc);
            self.set_status(status - Status::EXL);
        }
        self.cpu.link_address = translator::cpu::Cpu::NO_LINK;
    }
}
