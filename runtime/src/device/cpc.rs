//! The MIPS Cluster Power Controller: the registers by which Linux turns cores off and on again. It must not know
//! what a vCPU is; which cores run is known to the coherence manager, which also knows where they start.
//!
//! Offsets and fields are those of arch/mips/include/asm/mips-cpc.h; what must work is what
//! arch/mips/kernel/{mips-cpc,smp-cps,pm-cps}.c do: RESET starts a core, PWRDOWN by itself is its last
//! instruction, and STAT_CONF tells which it is. A core changes its state at once.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::cm::{Cm, OtherCores};
use super::{Access, Device, lock, read_words, write_words};
use crate::persist::Persist;

/// Bytes of the register window.
pub const WINDOW_SIZE: u64 = 0x8000;

/// The most cores of a machine with such a controller: `cps_gen_entry_code` in arch/mips/kernel/pm-cps.c makes
/// `1 << core` the operand of an ADDIU, and warns at boot where that has no room for it.
pub const MOST_CORES: usize = 15;

/// Offset of the block of the accessing core.
const LOCAL_BLOCK: u64 = 0x2000;
/// Offset of the block of the core that the accessing one has selected.
const OTHER_BLOCK: u64 = 0x4000;
const BLOCKS_END: u64 = 0x6000;
const BLOCK_SIZE: u64 = 0x2000;

/// CPC_ACCESS after reset: eight requesters may touch the registers.
const ACCESS_RESET: u32 = 0xff;
/// Offset of CPC_ACCESS in the global block; its other registers are about delays, and read as zero.
const ACCESS: u64 = 0x000;

/// CPC_Cx_STAT_CONF: power can be gated (bit 16); the clock (bit 17) cannot.
const POWER_GATING: u32 = 1 << 16;
/// CPC_Cx_STAT_CONF.SEQSTATE, bits 22 to 19: power is off, or the core runs coherently.
const STATE_D0: u32 = 0;
const STATE_U6: u32 = 7 << 19;

/// Registers of a core's block, by byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Command,
    Status,
    Other,
}

impl Register {
    fn at(offset: u64) -> Option<Self> {
        match offset {
            0x00 => Some(Self::Command),
            0x08 => Some(Self::Status),
            0x10 => Some(Self::Other),
            _ => None,
        }
    }
}

/// What CPC_Cx_CMD.CMD, bits 3 to 0, asks for. Turning off the clock is not implemented, as the status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    PowerDown,
    PowerUp,
    Reset,
}

impl Command {
    fn of(value: u32) -> Option<Self> {
        match value & 0xf {
            2 => Some(Self::PowerDown),
            3 => Some(Self::PowerUp),
            4 => Some(Self::Reset),
            _ => None,
        }
    }
}

/// Everything that a snapshot must keep beside the coherence manager's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    access: u32,
    /// CPC_CL_OTHER of each core.
    other: Vec<u32>,
}

impl State {
    fn new(cores: usize) -> Self {
        Self { access: ACCESS_RESET, other: vec![0; cores] }
    }
}

/// The registers.
pub struct Cpc {
    state: State,
    cm: Arc<Mutex<Cm>>,
}

impl Cpc {
    /// A controller of the power of `cm`'s cores.
    pub fn new(cm: Arc<Mutex<Cm>>) -> Self {
        let cores = lock(&cm).cores();
        Self { state: State::new(cores), cm }
    }

    /// The core whose registers an access is about, and the offset in its block; `None` outside the
    /// two blocks, or when a core is selected that does not exist.
    fn core_of(&self, offset: u64, vcpu: usize) -> Option<(usize, u64)> {
        let core = match offset {
            LOCAL_BLOCK..OTHER_BLOCK => vcpu,
            OTHER_BLOCK..BLOCKS_END => (self.state.other.get(vcpu)? >> 16) as usize,
            _ => return None,
        };
        (core < self.state.other.len()).then_some((core, offset % BLOCK_SIZE))
    }

    fn read_word(&self, offset: u64, vcpu: usize) -> u32 {
        if offset == ACCESS {
            return self.state.access;
        }
        let Some((core, offset)) = self.core_of(offset, vcpu) else { return 0 };
        match Register::at(offset) {
            Some(Register::Status) => {
                POWER_GATING | if lock(&self.cm).is_running(core) { STATE_U6 } else { STATE_D0 }
            }
            Some(Register::Other) => self.state.other[core],
            Some(Register::Command) | None => 0,
        }
    }

    fn write_word(&mut self, offset: u64, vcpu: usize, value: u32) {
        if offset == ACCESS {
            self.state.access = value;
        }
        let Some((core, offset)) = self.core_of(offset, vcpu) else { return };
        match Register::at(offset) {
            Some(Register::Command) => self.command(core, value),
            Some(Register::Other) => self.state.other[core] = value,
            Some(Register::Status) | None => {}
        }
    }

    fn command(&self, core: usize, value: u32) {
        let mut cm = lock(&self.cm);
        match Command::of(value) {
            Some(Command::PowerDown) => cm.stop(core),
            Some(Command::PowerUp) => cm.release(core),
            Some(Command::Reset) => cm.restart(core),
            None => {}
        }
    }
}

impl Persist for Cpc {
    const KIND: &'static str = "power";
    const VERSION: u16 = 1;
    type State = State;
    type Error = OtherCores;

    fn save(&mut self) -> State {
        self.state.clone()
    }

    fn restore(&mut self, state: State) -> Result<(), OtherCores> {
        OtherCores::check(state.other.len(), self.state.other.len())?;
        self.state = state;
        Ok(())
    }
}

impl Device for Cpc {
    fn read(&mut self, at: Access) -> u64 {
        read_words(at, |offset| self.read_word(offset, at.vcpu))
    }

    fn write(&mut self, at: Access, value: u64) {
        write_words(at, value, |offset, word| self.write_word(offset, at.vcpu, word));
    }

    fn reset(&mut self) {
        self.state = State::new(self.state.other.len());
    }
}

#[cfg(test)]
mod tests {
    use translator::addr::Pa;

    use super::*;
    use crate::device::Size;
    use crate::device::pins::VcpuPower;

    /// Where vCPUs were started, and which were stopped.
    #[derive(Default)]
    struct Cores(Mutex<Vec<(usize, Option<u64>)>>);

    impl VcpuPower for Cores {
        fn start(&self, vcpu: usize, reset_base: u64) {
            self.0.lock().unwrap().push((vcpu, Some(reset_base)));
        }

        fn stop(&self, vcpu: usize) {
            self.0.lock().unwrap().push((vcpu, None));
        }
    }

    fn at(offset: u64, vcpu: usize) -> Access {
        Access { offset, size: Size::Word, vcpu }
    }

    #[test]
    fn a_core_is_reset_turned_off_and_turned_on() {
        let cores = Arc::new(Cores::default());
        let cm = Arc::new(Mutex::new(Cm::new(Pa(0x1fbf_0000), 3, cores.clone())));
        let mut cpc = Cpc::new(cm.clone());
        let state = |cpc: &mut Cpc| cpc.read(at(OTHER_BLOCK + 0x08, 0)) as u32 & !POWER_GATING;
        // `mips_cm_lock_other`, the reset vector, `mips_cpc_lock_other`.
        lock(&cm).write(at(0x2018, 0), 2 << 16);
        lock(&cm).write(at(0x4020, 0), 0xa010_3000);
        cpc.write(at(LOCAL_BLOCK + 0x10, 0), 2 << 16);
        assert_eq!(state(&mut cpc), STATE_D0);
        cpc.write(at(OTHER_BLOCK, 0), 4);
        assert_eq!(state(&mut cpc), STATE_U6);
        cpc.write(at(LOCAL_BLOCK, 2), 2);
        assert_eq!(state(&mut cpc), STATE_D0);
        cpc.write(at(LOCAL_BLOCK, 2), 2);
        cpc.write(at(OTHER_BLOCK, 0), 3);
        cpc.write(at(OTHER_BLOCK, 0), 3);
        let start = Some(0xffff_ffff_a010_3000);
        assert_eq!(*cores.0.lock().unwrap(), [(2, start), (2, None), (2, start)]);
        cpc.write(at(LOCAL_BLOCK + 0x10, 0), 3 << 16);
        cpc.write(at(OTHER_BLOCK, 0), 4);
        assert_eq!(cpc.read(at(OTHER_BLOCK + 0x08, 0)), 0, "there is no such core");
        assert_eq!(cores.0.lock().unwrap().len(), 3);
    }

    #[test]
    fn the_state_fits_a_machine_with_as_many_cores() {
        let cpc = |cores| Cpc::new(Arc::new(Mutex::new(Cm::new(Pa(0), cores, Arc::new(Cores::default())))));
        let mut two = cpc(2);
        two.write(at(LOCAL_BLOCK + 0x10, 1), 1 << 16);
        let state = two.save();
        two.reset();
        assert_ne!(two.save(), state);
        assert_eq!(two.restore(state.clone()), Ok(()));
        assert_eq!(two.read(at(LOCAL_BLOCK + 0x10, 1)), 1 << 16);
        assert!(cpc(3).restore(state).is_err());
    }
}
