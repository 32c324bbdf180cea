//! The vCPU as the interpreter's environment.

use translator::addr::Va;
use translator::cpu::Cpu;
use translator::exception::Intent;
use translator::interp::{Env, Site};
use translator::isa::Op;
use translator::machine::{Access, Raise};
use translator::stub::Stub;

use super::{Stop, Vcpu};

impl Env for Vcpu {
    type Stop = Stop;

    #[inline]
    fn cpu(&mut self) -> &mut Cpu {
        &mut self.cpu
    }
    #[inline]
    fn set_site(&mut self, site: Site) {
        self.site = site;
    }
    fn site(&self) -> Site {
        self.site
    }
    #[inline]
    fn load(&mut self, access: Access, va: Va) -> Result<u64, Stop> {
        Vcpu::load(self, access, va)
    }
    fn load_for_store(&mut self, access: Access, va: Va) -> Result<u64, Stop> {
        self.load_slow(access, va, Intent::Store)
    }
    #[inline]
    fn store(&mut self, access: Access, va: Va, value: u64) -> Result<(), Stop> {
        Vcpu::store(self, access, va, value)
    }
    fn raise(&mut self, what: Raise) -> Stop {
        Vcpu::raise(self, what.exception())
    }
    fn stub(&mut self, stub: Stub, args: [u64; 2], immediate: u32) -> Result<u64, Stop> {
        self.run_stub(stub, args, immediate)
    }
    fn float(&mut self, op: Op, operands: [u64; 3]) -> Result<u64, Stop> {
        self.run_float(op, operands)
    }
    fn check_interrupts(&mut self) -> Result<(), Stop> {
        if self.interrupt_is_due() { self.interrupt_after() } else { Ok(()) }
    }
}
