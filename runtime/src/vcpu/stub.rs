//! The bodies of the hypervisor stubs, in terms of the other files of the vCPU. The interpreter calls
//! them as they are; generated code reaches them through `enter`.

use translator::addr::Va;
use translator::cp0::Status;
use translator::exception::{Exception, Intent};
use translator::float::{Control, Fcsr};
use translator::interp;
use translator::isa::{Op, decode};
use translator::machine::{Access, Raise};
use translator::sem::operate;
use translator::stub::{GUARDED, Stub};

use super::{Leave, Stop, Vcpu};

/// FIR, as CFC1 numbers it.
const FLOAT_IMPLEMENTATION: u32 = 0;

impl Vcpu {
    /// Runs `stub` for the instruction at the current site. What the arguments, the immediate and the
    /// result mean is documented at each [`Stub`].
    pub(super) fn run_stub(&mut self, stub: Stub, args: [u64; 2], immediate: u32) -> Result<u64, Stop> {
        let va = Va(args[0]);
        match stub {
            Stub::Load => return self.load_at_site(access(immediate), va, immediate & GUARDED != 0),
            Stub::DeviceLoad => return self.load_from_device(access(immediate), va),
            Stub::DeviceStore => self.store_to_device(access(immediate), va, args[1])?,
            Stub::LoadForStore => return self.load_slow(access(immediate), va, Intent::Store),
            Stub::Store => self.store_slow(access(immediate), va, args[1])?,
            Stub::LoadLinked => return self.load_linked(access(immediate), va),
            Stub::StoreConditional => return self.store_conditional(access(immediate), va, args[1]),
            Stub::Raise => return Err(self.raise_by_number(immediate)),
            Stub::ReadCp0 => return Ok(self.read_cp0(immediate)),
            Stub::WriteCp0 => self.write_cp0(immediate, args[0])?,
            Stub::Interrupt => self.interrupt_after()?,
            Stub::TlbProbe => self.tlb_probe(),
            Stub::TlbRead => self.tlb_read()?,
            Stub::TlbWriteIndexed => self.tlb_write_indexed()?,
            Stub::TlbWriteRandom => self.tlb_write_random()?,
            Stub::TlbInvalidate => self.tlb_invalidate(Some(self.cpu.asid()))?,
            Stub::TlbInvalidateAll => self.tlb_invalidate(None)?,
            Stub::ExceptionReturn => {
                self.exception_return();
                self.take_interrupt();
                return Err(Stop::Redispatch);
            }
            Stub::Wait => return Err(self.leave_after(Leave::Wait)),
            Stub::ReadHardware => return self.read_hardware(immediate),
            Stub::Hypercall => return Err(self.leave_after(Leave::Hypercall(immediate))),
            Stub::Float => self.float_instruction(immediate)?,
            Stub::NeedFpu => return Err(self.refuse_fpu()),
            Stub::CheckSlot => self.check_slot(immediate)?,
            Stub::ReadFloatControl => return Ok(self.read_float_control(immediate)),
            Stub::WriteFloatControl => self.write_float_control(immediate, args[0] as u32)?,
            Stub::Find | Stub::Retarget | Stub::Recheck | Stub::Join => {
                unreachable!("no instruction has a stub between blocks")
            }
        }
        Ok(0)
    }

    fn raise_by_number(&mut self, number: u32) -> Stop {
        let what = Raise::ALL[number as usize % Raise::ALL.len()];
        self.raise(what.exception())
    }

    /// Leaves with the program counter after the current instruction.
    pub(super) fn leave_after(&mut self, why: Leave) -> Stop {
        self.cpu.pc = self.next_pc();
        Stop::Leave(why)
    }

    /// A floating-point instruction by the exact rules. It touches no general register, whose values
    /// may be in host registers.
    fn float_instruction(&mut self, word: u32) -> Result<(), Stop> {
        match decode(word) {
            Some(insn) => interp::run_insn(self, insn),
            None => Err(self.raise(Exception::ReservedInstruction)),
        }
    }

    /// Leaves to interpret the current instruction, or its branch with it.
    pub(super) fn interpret_here(&mut self) -> Stop {
        let back = if self.site.in_slot { 4 } else { 0 };
        self.cpu.pc = self.site.pc.0.wrapping_sub(back);
        Stop::Leave(Leave::Interpret)
    }

    /// The first floating-point instruction of a block cannot run on the host's FPU.
    fn refuse_fpu(&mut self) -> Stop {
        if !self.cpu.status().contains(Status::CU1) {
            return self.raise(Exception::CoprocessorUnusable(1));
        }
        self.interpret_here()
    }

    /// A floating-point operation by the exact rules.
    pub(super) fn run_float(&mut self, op: Op, operands: [u64; 3]) -> Result<u64, Stop> {
        let mut fcsr = Fcsr(self.cpu.fcsr);
        let result = operate(op, &mut fcsr, operands);
        self.cpu.fcsr = fcsr.0;
        self.cpu.float_word = 0;
        result.map_err(|e| self.raise_float(e))
    }

    /// Makes FCSR whole: the flags that the host's FPU has raised, and the cause of the last
    /// operation that ran on it.
    pub fn settle_float(&mut self) {
        self.cpu.collect_float_flags();
        if let Some(insn) = decode(std::mem::take(&mut self.cpu.float_word)).filter(|i| i.op != Op::Nop) {
            let [fs, ft] = self.cpu.float_operands;
            let mut fcsr = Fcsr(self.cpu.fcsr);
            // Nothing is enabled while the host's FPU is used, so this raises nothing; its flags are
            // the host's, and its result is already where it belongs.
            let _ = operate(insn.op, &mut fcsr, [fs, ft, 0]);
            self.cpu.fcsr = fcsr.0;
        }
    }

    fn read_float_control(&mut self, number: u32) -> u64 {
        self.settle_float();
        let value = match Control::from_number(number) {
            Some(control) => Fcsr(self.cpu.fcsr).read(control),
            None if number == FLOAT_IMPLEMENTATION => self.machine.model.fir,
            None => 0,
        };
        value as i32 as u64
    }

    fn write_float_control(&mut self, number: u32, value: u32) -> Result<(), Stop> {
        let Some(control) = Control::from_number(number) else { return Ok(()) };
        self.settle_float();
        let mut fcsr = Fcsr(self.cpu.fcsr);
        let result = fcsr.write(control, value, &self.rules);
        self.cpu.fcsr = fcsr.0;
        self.cpu.refresh_float_state();
        result.map_err(|e| self.raise_float(e))
    }
}

fn access(number: u32) -> Access {
    const NUMBER: u32 = GUARDED - 1;
    Access::ALL[(number & NUMBER) as usize % Access::ALL.len()]
}
