//! The MIPS Coherence Manager, revision 2.5: the registers by which Linux counts cores and starts
//! them. One vCPU is one core. It must not know what a vCPU is or what coherence would be.
//!
//! Offsets and fields are those of arch/mips/include/asm/mips-cm.h; what must be there is what
//! arch/mips/kernel/{mips-cm,smp-cps}.c and cps-vec.S touch. Registers are 32 bits wide at multiples
//! of eight; the upper words read as zero, as 32-bit accessors of 64-bit registers expect.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use translator::addr::Pa;

use super::cpc;
use super::pins::VcpuPower;
use super::{Access, Device, read_words, write_words};
use crate::persist::Persist;

/// Bytes of the register window.
pub const WINDOW_SIZE: u64 = 0x8000;
/// Bytes of the L2-only sync region, which is behind the window.
pub const L2_SYNC_SIZE: u64 = 0x1000;

/// Offset of the block of the accessing core.
const LOCAL_BLOCK: u64 = 0x2000;
/// Offset of the block of the core that the accessing one has selected.
const OTHER_BLOCK: u64 = 0x4000;
/// Offset of the debug block, and length of each of the two above.
const DEBUG_BLOCK: u64 = 0x6000;
const BLOCK_SIZE: u64 = 0x2000;

/// GCR_REV of CM 2.5: major 7, minor 0. Revision 8 (CM3) would want 64-bit registers.
const REVISION: u32 = 0x0700;
/// GCR_ACCESS after reset: eight requesters may touch the registers.
const ACCESS_RESET: u32 = 0xff;
/// GCR_BASE holds the address in bits 31 to 15; CMDEFTGT, bits 1 and 0, can be written.
const BASE_TARGET: u32 = 0x3;
/// GCR_GIC_STATUS.EX: there is a GIC.
const GIC_PRESENT: u32 = 1;
/// Where a core starts that was not told otherwise: ckseg1 of the boot ROM.
const RESET_BASE: u32 = 0xbfc0_0000;
/// GCR_Cx_RESET_BASE.BEVEXCBASE.
const RESET_BASE_MASK: u32 = 0xffff_f000;

/// Registers of the global block, by byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    Config,
    Base,
    Access,
    Revision,
    /// Kept and otherwise without effect, by place in [`State::storage`].
    Stored(usize),
    GicStatus,
    CpcStatus,
}

/// Offsets that only store: L2_ONLY_SYNC_BASE, GIC_BASE, CPC_BASE, REG0 to REG3 base and mask.
const STORED: [u64; 11] = [0x70, 0x80, 0x88, 0x90, 0x98, 0xa0, 0xa8, 0xb0, 0xb8, 0xc0, 0xc8];

impl Global {
    /// `None` for what reads as zero, as the error registers.
    fn at(offset: u64) -> Option<Self> {
        Some(match offset {
            0x00 => Self::Config,
            0x08 => Self::Base,
            0x20 => Self::Access,
            0x30 => Self::Revision,
            0xd0 => Self::GicStatus,
            0xf0 => Self::CpcStatus,
            _ => Self::Stored(STORED.iter().position(|stored| *stored == offset)?),
        })
    }
}

/// Registers of a core's block, by byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    ResetRelease,
    Coherence,
    Other,
    ResetBase,
    Id,
    ResetExtBase,
}

impl Core {
    /// `None` for what reads as zero: GCR_Cx_CONFIG says one virtual processor a core.
    fn at(offset: u64) -> Option<Self> {
        Some(match offset {
            0x00 => Self::ResetRelease,
            0x08 => Self::Coherence,
            0x18 => Self::Other,
            0x20 => Self::ResetBase,
            0x28 => Self::Id,
            0x30 => Self::ResetExtBase,
            _ => return None,
        })
    }
}

/// Everything about one core that a snapshot must keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CoreState {
    running: bool,
    coherence: u32,
    other: u32,
    reset_base: u32,
    reset_ext_base: u32,
}

/// Everything that a snapshot must keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    target: u32,
    access: u32,
    storage: [u32; STORED.len()],
    cores: Vec<CoreState>,
}

impl State {
    fn new(vcpus: usize) -> Self {
        let core = |number| CoreState {
            running: number == 0,
            coherence: 0,
            other: 0,
            reset_base: RESET_BASE,
            reset_ext_base: 0,
        };
        let cores = (0..vcpus).map(core).collect();
        Self { target: 0, access: ACCESS_RESET, storage: [0; STORED.len()], cores }
    }
}

/// The registers.
pub struct Cm {
    base: Pa,
    state: State,
    power: Arc<dyn VcpuPower>,
}

impl Cm {
    /// A manager of `vcpus` cores, 1 to 256, whose window is at `base`. It is the one device that
    /// must know its own address, because the guest asks it for that.
    pub fn new(base: Pa, vcpus: usize, power: Arc<dyn VcpuPower>) -> Self {
        Self { base, state: State::new(vcpus.clamp(1, 256)), power }
    }

    fn read_global(&self, offset: u64) -> u32 {
        let Some(register) = Global::at(offset) else { return 0 };
        match register {
            // PCORES, bits 7 to 0, is one less than the number of cores.
            Global::Config => (self.state.cores.len() - 1) as u32,
            Global::Base => self.base.0 as u32 | self.state.target,
            Global::Access => self.state.access,
            Global::Revision => REVISION,
            Global::Stored(place) => self.state.storage[place],
            Global::GicStatus => GIC_PRESENT,
            // GCR_CPC_STATUS.EX: there is a power controller.
            Global::CpcStatus => (self.cores() <= cpc::MOST_CORES).into(),
        }
    }

    fn write_global(&mut self, offset: u64, value: u32) {
        match Global::at(offset) {
            Some(Global::Base) => self.state.target = value & BASE_TARGET,
            Some(Global::Access) => self.state.access = value,
            Some(Global::Stored(place)) => self.state.storage[place] = value,
            Some(Global::Config | Global::Revision | Global::GicStatus | Global::CpcStatus) | None => {}
        }
    }

    /// The core whose registers an access is about, and the offset in its block; `None` outside the
    /// two blocks, or when a core is selected that does not exist.
    fn core_of(&self, offset: u64, vcpu: usize) -> Option<(usize, u64)> {
        let core = match offset {
            LOCAL_BLOCK..OTHER_BLOCK => vcpu,
            OTHER_BLOCK..DEBUG_BLOCK => (self.state.cores.get(vcpu)?.other >> 16) as usize,
            _ => return None,
        };
        (core < self.state.cores.len()).then_some((core, offset % BLOCK_SIZE))
    }

    fn read_core(&self, core: usize, offset: u64) -> u32 {
        let Some(register) = Core::at(offset) else { return 0 };
        let state = &self.state.cores[core];
        match register {
            Core::ResetRelease => 0,
            Core::Coherence => state.coherence,
            Core::Other => state.other,
            Core::ResetBase => state.reset_base,
            Core::Id => core as u32,
            Core::ResetExtBase => state.reset_ext_base,
        }
    }

    fn write_core(&mut self, core: usize, offset: u64, value: u32) {
        let state = &mut self.state.cores[core];
        match Core::at(offset) {
            Some(Core::ResetRelease) => self.release(core),
            Some(Core::Coherence) => state.coherence = value & 0xff,
            Some(Core::Other) => state.other = value,
            Some(Core::ResetBase) => state.reset_base = value & RESET_BASE_MASK,
            Some(Core::ResetExtBase) => state.reset_ext_base = value,
            Some(Core::Id) | None => {}
        }
    }

    /// The number of cores.
    pub fn cores(&self) -> usize {
        self.state.cores.len()
    }

    /// Whether a core of this machine is neither in reset nor without power.
    pub fn is_running(&self, core: usize) -> bool {
        self.state.cores[core].running
    }

    /// Takes a core out of reset; one that runs is not in reset.
    pub fn release(&mut self, core: usize) {
        if !self.is_running(core) {
            self.restart(core);
        }
    }

    /// Lets a core start at its reset vector, whatever it did before.
    pub fn restart(&mut self, core: usize) {
        let state = &mut self.state.cores[core];
        (state.running, state.coherence) = (true, 0);
        self.power.start(core, state.reset_base as i32 as u64);
    }

    /// Takes the power from a core, if it runs.
    pub fn stop(&mut self, core: usize) {
        if std::mem::replace(&mut self.state.cores[core].running, false) {
            self.power.stop(core);
        }
    }

    fn read_word(&self, offset: u64, vcpu: usize) -> u32 {
        match self.core_of(offset, vcpu) {
            Some((core, offset)) => self.read_core(core, offset),
            None => self.read_global(offset),
        }
    }

    fn write_word(&mut self, offset: u64, vcpu: usize, value: u32) {
        match self.core_of(offset, vcpu) {
            Some((core, offset)) => self.write_core(core, offset, value),
            None => self.write_global(offset, value),
        }
    }
}

/// The state of a machine with another number of cores.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("it is of a machine with {found} cores, and this one has {wanted}")]
pub struct OtherCores {
    found: usize,
    wanted: usize,
}

impl OtherCores {
    /// Whether a state for `found` cores fits a machine that has `wanted`.
    ///
    /// # Errors
    /// Says that it does not.
    pub fn check(found: usize, wanted: usize) -> Result<(), Self> {
        if found == wanted { Ok(()) } else { Err(Self { found, wanted }) }
    }
}

impl Persist for Cm {
    const KIND: &'static str = "coherence";
    const VERSION: u16 = 1;
    type State = State;
    type Error = OtherCores;

    fn save(&mut self) -> State {
        self.state.clone()
    }

    /// Starts no vCPU.
    fn restore(&mut self, state: State) -> Result<(), OtherCores> {
        OtherCores::check(state.cores.len(), self.state.cores.len())?;
        self.state = state;
        Ok(())
    }
}

impl Device for Cm {
    fn read(&mut self, at: Access) -> u64 {
        read_words(at, |offset| self.read_word(offset, at.vcpu))
    }

    fn write(&mut self, at: Access, value: u64) {
        write_words(at, value, |offset, word| self.write_word(offset, at.vcpu, word));
    }

    fn reset(&mut self) {
        self.state = State::new(self.state.cores.len());
    }
}

/// The L2-only sync region: a write orders what reaches the second-level cache, of which there is
/// none.
pub struct L2Sync;

impl Device for L2Sync {
    fn read(&mut self, _at: Access) -> u64 {
        0
    }

    fn write(&mut self, _at: Access, _value: u64) {}

    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::device::Size;

    #[derive(Default)]
    struct Started(Mutex<Vec<(usize, u64)>>);

    impl VcpuPower for Started {
        fn start(&self, vcpu: usize, reset_base: u64) {
            self.0.lock().unwrap().push((vcpu, reset_base));
        }

        fn stop(&self, _vcpu: usize) {}
    }

    const BASE: u64 = 0x1fbf_0000;

    fn cm(vcpus: usize) -> (Cm, Arc<Started>) {
        let started = Arc::new(Started::default());
        (Cm::new(Pa(BASE), vcpus, started.clone()), started)
    }

    fn at(offset: u64, vcpu: usize) -> Access {
        Access { offset, size: Size::Word, vcpu }
    }

    #[test]
    fn the_probe_finds_a_cm_2_5() {
        let (mut cm, _) = cm(4);
        assert_eq!(cm.read(at(0x00, 0)), 3);
        assert_eq!(cm.read(at(0x08, 0)), BASE);
        assert_eq!(cm.read(at(0x0c, 0)), 0);
        cm.write(at(0x08, 0), BASE | 1);
        assert_eq!(cm.read(at(0x08, 0)), BASE | 1);
        assert_eq!(cm.read(at(0x30, 0)), 0x0700);
        assert_eq!(cm.read(at(0xd0, 0)), 1);
        assert_eq!(cm.read(at(0xf0, 0)), 1);
        cm.write(at(0x70, 0), (BASE + WINDOW_SIZE) | 1);
        assert_eq!(cm.read(at(0x70, 0)), (BASE + WINDOW_SIZE) | 1);
        let double = Access { offset: 0x08, size: Size::Double, vcpu: 0 };
        assert_eq!(cm.read(double), BASE | 1);
    }

    #[test]
    fn boot_core_starts_the_selected_core_once() {
        let (mut cm, started) = cm(3);
        cm.write(at(LOCAL_BLOCK + 0x18, 0), 2 << 16);
        assert_eq!(cm.read(at(OTHER_BLOCK + 0x28, 0)), 2);
        cm.write(at(OTHER_BLOCK + 0x30, 0), 1 << 30);
        cm.write(at(OTHER_BLOCK + 0x20, 0), 0xa010_3000);
        cm.write(at(OTHER_BLOCK + 0x08, 0), 0);
        cm.write(at(OTHER_BLOCK, 0), 0);
        cm.write(at(OTHER_BLOCK, 0), 0);
        assert_eq!(*started.0.lock().unwrap(), [(2, 0xffff_ffff_a010_3000)]);
        assert_eq!(cm.read(at(LOCAL_BLOCK + 0x28, 2)), 2, "each core sees its own number");
        cm.write(at(LOCAL_BLOCK, 0), 0);
        assert_eq!(started.0.lock().unwrap().len(), 1, "the boot core is not in reset");
        let state = cm.save();
        cm.reset();
        assert_ne!(cm.save(), state);
        assert_eq!(cm.restore(state), Ok(()));
        assert_eq!(cm.restore(State::new(2)), Err(OtherCores { found: 2, wanted: 3 }));
    }

    #[test]
    fn random_pokes_never_panic() {
        let (mut cm, _) = cm(16);
        let mut seed = 7u64;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let vcpu = (seed >> 12) as usize % 17;
            let size = [Size::Byte, Size::Half, Size::Word, Size::Double][(seed >> 20) as usize % 4];
            let offset = ((seed >> 32) % WINDOW_SIZE) & !(size.bytes() - 1);
            cm.read(Access { offset, size, vcpu });
            cm.write(Access { offset, size, vcpu }, seed.rotate_left(17));
        }
    }
}
