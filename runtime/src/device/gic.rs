//! The MIPS Global Interrupt Controller: interrupts that all vCPUs share, routed to their pins, and
//! a block of registers a vCPU. It must not know what raises an interrupt or how a vCPU takes one.
//!
//! Offsets and fields are those of arch/mips/include/asm/mips-gic.h; what must work is what
//! drivers/irqchip/irq-mips-gic.c does. There are no local interrupts: timer, performance counter
//! and software interrupts say that they cannot be routed (GIC_VL_CTL reads as zero), so Linux takes
//! them at the CPU; the watchdog never expires, and the counter is stopped (GIC_SH_CONFIG.COUNTSTOP),
//! as no `mti,gic-timer` in the device tree asks for it.
//!
//! One interrupt costs Linux reads of local PEND and MASK and of shared PEND: these are loads of
//! atomics. All else is behind one lock, which is taken after any device's own lock (a device sets
//! its line while it is held), and holds no other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::pins::VcpuPins;
use super::{Access, SharedDevice, lock, read_words, write_words};
use crate::bus::irq::IrqSink;
use crate::persist::{DeviceState, StateError};
use crate::wire;

/// Bytes of the register window: shared, local, other and user blocks.
pub const WINDOW_SIZE: u64 = 0x2_0000;
/// Hardware interrupt pins of a vCPU.
const PINS: u32 = 6;
/// Interrupts in a word of a bitmap register, and the grain of their number.
const WORD: usize = 32;
/// The most vCPUs there can be: GIC_SH_MAPx_VP has a bit for each, and one word of it is here.
const MAX_VCPUS: usize = 32;
/// The most shared interrupts there can be (GIC_SH_WEDGE names one in eight bits).
const MAX_SHARED: usize = 256;
/// Words in the register of one kind, with room for [`MAX_SHARED`].
const MAX_WORDS: u64 = (MAX_SHARED / WORD) as u64;
/// Interrupts that Linux keeps for each CPU to be called by others (irq-mips-gic.c
/// `gic_register_ipi_domain`): the last ones.
const INTERPROCESSOR: usize = 2;

/// How many shared interrupts a machine needs with `inputs` devices that interrupt, or `None` if a
/// GIC cannot have as many. Linux reads one word of pending interrupts for each 32, so a machine of
/// up to 8 vCPUs and 16 devices has just that.
pub fn shared_interrupts(inputs: usize, vcpus: usize) -> Option<usize> {
    let needed = vcpus.checked_mul(INTERPROCESSOR)?.checked_add(inputs)?;
    let count = needed.max(1).checked_next_multiple_of(WORD)?;
    (count <= MAX_SHARED).then_some(count)
}

const LOCAL_BLOCK: u64 = 0x8000;
const OTHER_BLOCK: u64 = 0xc000;
const USER_BLOCK: u64 = 0x1_0000;
const BLOCK_SIZE: u64 = 0x4000;

/// GIC_SH_CONFIG.COUNTSTOP.
const CONFIG_COUNT_STOP: u32 = 1 << 28;
/// GIC_SH_CONFIG.COUNTBITS: the counter has 32 + 4 * 8 bits.
const CONFIG_COUNT_BITS: u32 = 8 << 24;
/// GIC_SH_CONFIG.NUMINTERRUPTS counts interrupts in eights, less one.
const CONFIG_INTERRUPTS_SHIFT: u32 = 16;
/// GIC_SH_WEDGE.RW: raise rather than clear.
const WEDGE_RAISE: u32 = 1 << 31;
/// GIC_SH_WEDGE.INTR.
const WEDGE_INTERRUPT: u32 = 0xff;
/// GIC_SH_MAPx_PIN.MAP_TO_PIN.
const MAP_TO_PIN: u32 = 1 << 31;
/// GIC_SH_MAPx_PIN: what can be written. MAP_TO_NMI is kept and has no effect.
const MAP_PIN_MASK: u32 = 0xc000_003f;
/// GIC_SH_MAPx_PIN.MAP.
const MAP_PIN: u32 = 0x3f;
/// GIC_Vx_OTHER.VPNUM.
const OTHER_NUMBER: u32 = 0x3f;
/// Interrupts local to a vCPU, of which none ever comes.
const LOCAL_INTERRUPTS: usize = 7;
const LOCAL_MASK: u32 = (1 << LOCAL_INTERRUPTS) - 1;

/// Registers of the shared block; the number is that of a word of 32 interrupts, or of one interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shared {
    Config,
    CounterLow,
    CounterHigh,
    Polarity(usize),
    Trigger(usize),
    Dual(usize),
    Wedge,
    ResetMask(usize),
    SetMask(usize),
    Mask(usize),
    Pending(usize),
    MapPin(usize),
    MapVp(usize),
}

impl Shared {
    fn at(offset: u64) -> Option<Self> {
        const WORDS_SIZE: u64 = 4 * MAX_WORDS;
        /// Bytes between the GIC_SH_MAPx_VP registers: a bit for each of 256 vCPUs.
        const MAP_VP_STRIDE: u64 = 0x20;
        const MAP_PIN_END: u64 = 0x500 + 4 * MAX_SHARED as u64;
        const MAP_VP_END: u64 = 0x2000 + MAP_VP_STRIDE * MAX_SHARED as u64;
        let word = (offset % WORDS_SIZE / 4) as usize;
        Some(match offset {
            0x000 => Self::Config,
            0x010 => Self::CounterLow,
            0x014 => Self::CounterHigh,
            0x280 => Self::Wedge,
            0x500..MAP_PIN_END => Self::MapPin((offset - 0x500) as usize / 4),
            0x2000..MAP_VP_END if offset.is_multiple_of(MAP_VP_STRIDE) => {
                Self::MapVp(((offset - 0x2000) / MAP_VP_STRIDE) as usize)
            }
            _ => match offset - offset % WORDS_SIZE {
                0x100 => Self::Polarity(word),
                0x180 => Self::Trigger(word),
                0x200 => Self::Dual(word),
                0x300 => Self::ResetMask(word),
                0x380 => Self::SetMask(word),
                0x400 => Self::Mask(word),
                0x480 => Self::Pending(word),
                _ => return None,
            },
        })
    }
}

/// Registers of a vCPU's block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Mask,
    ResetMask,
    SetMask,
    Map(usize),
    Other,
    Identity,
    CompareLow,
    CompareHigh,
}

impl Local {
    /// `None` for what reads as zero; GIC_VL_CTL and GIC_VL_PEND are among it.
    fn at(offset: u64) -> Option<Self> {
        Some(match offset {
            0x08 => Self::Mask,
            0x0c => Self::ResetMask,
            0x10 => Self::SetMask,
            0x40..=0x58 => Self::Map((offset - 0x40) as usize / 4),
            0x80 => Self::Other,
            0x88 => Self::Identity,
            0xa0 => Self::CompareLow,
            0xa4 => Self::CompareHigh,
            _ => return None,
        })
    }
}

/// The registers of one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LocalState {
    mask: u32,
    maps: [u32; LOCAL_INTERRUPTS],
    other: u32,
    compare: u64,
}

/// Everything that a snapshot must keep. Bitmaps have a word for each 32 interrupts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The wires from the devices.
    level: Vec<u32>,
    /// Edges seen, or written by GIC_SH_WEDGE, since the last clear.
    latch: Vec<u32>,
    polarity: Vec<u32>,
    /// One for edge-triggered.
    trigger: Vec<u32>,
    dual: Vec<u32>,
    mask: Vec<u32>,
    map_pin: Vec<u32>,
    map_vp: Vec<u32>,
    counter: u64,
    local: Vec<LocalState>,
}

impl State {
    fn new(interrupts: usize, vcpus: usize) -> Self {
        let words = vec![0; interrupts / WORD];
        Self {
            level: words.clone(),
            latch: words.clone(),
            // Active high: an unused input is then silent from the start.
            polarity: vec![!0; words.len()],
            trigger: words.clone(),
            dual: words.clone(),
            mask: words,
            map_pin: vec![0; interrupts],
            map_vp: vec![0; interrupts],
            counter: 0,
            local: vec![LocalState::default(); vcpus],
        }
    }

    /// Whether the vectors have the lengths of `other`'s.
    fn fits(&self, other: &Self) -> bool {
        let lengths = |state: &Self| {
            let bitmaps =
                [&state.level, &state.latch, &state.polarity, &state.trigger, &state.dual, &state.mask];
            (bitmaps.map(Vec::len), state.map_pin.len(), state.map_vp.len(), state.local.len())
        };
        lengths(self) == lengths(other)
    }

    fn pending(&self, word: usize) -> u32 {
        let active = self.level[word] ^ !self.polarity[word];
        self.trigger[word] & self.latch[word] | !self.trigger[word] & active
    }

    /// Sets a wire; says whether that changed anything. Wires that do not exist cannot change.
    fn set_level(&mut self, interrupt: usize, level: bool) -> bool {
        let (word, bit) = (interrupt / WORD, 1 << (interrupt % WORD));
        if self.level.get(word).is_none_or(|levels| (levels & bit != 0) == level) {
            return false;
        }
        self.level[word] ^= bit;
        let rising_counts = self.polarity[word] & bit != 0;
        let edge = self.dual[word] & bit != 0 || rising_counts == level;
        if edge && self.trigger[word] & bit != 0 {
            self.latch[word] |= bit;
        }
        true
    }

    fn write_wedge(&mut self, value: u32) {
        let interrupt = (value & WEDGE_INTERRUPT) as usize;
        let Some(latch) = self.latch.get_mut(interrupt / WORD) else { return };
        let bit = 1 << (interrupt % WORD);
        if value & WEDGE_RAISE != 0 { *latch |= bit } else { *latch &= !bit }
    }

    /// The pins of each vCPU that should be high, a bit a pin.
    fn outputs(&self) -> Outputs {
        let mut outputs = [0; MAX_VCPUS];
        for (word, mask) in self.mask.iter().enumerate() {
            let mut active = self.pending(word) & mask;
            while active != 0 {
                self.route(word * WORD + active.trailing_zeros() as usize, &mut outputs);
                active &= active - 1;
            }
        }
        outputs
    }

    fn route(&self, interrupt: usize, outputs: &mut Outputs) {
        let pin = self.map_pin[interrupt];
        if pin & MAP_TO_PIN == 0 || pin & MAP_PIN >= PINS {
            return;
        }
        let mut vcpus = self.map_vp[interrupt];
        while vcpus != 0 {
            outputs[vcpus.trailing_zeros() as usize] |= 1 << (pin & MAP_PIN);
            vcpus &= vcpus - 1;
        }
    }

    fn read_shared(&self, register: Shared) -> u32 {
        let word = |words: &[u32], index: usize| words.get(index).copied().unwrap_or(0);
        match register {
            Shared::Config => self.config(),
            Shared::CounterLow => self.counter as u32,
            Shared::CounterHigh => (self.counter >> 32) as u32,
            Shared::Polarity(index) => word(&self.polarity, index),
            Shared::Trigger(index) => word(&self.trigger, index),
            Shared::Dual(index) => word(&self.dual, index),
            Shared::Mask(index) => word(&self.mask, index),
            Shared::Pending(index) if index < self.mask.len() => self.pending(index),
            Shared::MapPin(interrupt) => word(&self.map_pin, interrupt),
            Shared::MapVp(interrupt) => word(&self.map_vp, interrupt),
            Shared::Wedge | Shared::ResetMask(_) | Shared::SetMask(_) | Shared::Pending(_) => 0,
        }
    }

    fn config(&self) -> u32 {
        let interrupts = (self.map_pin.len() / 8 - 1) as u32;
        let last_vp = (self.local.len() - 1) as u32;
        CONFIG_COUNT_STOP | CONFIG_COUNT_BITS | interrupts << CONFIG_INTERRUPTS_SHIFT | last_vp
    }

    fn write_shared(&mut self, register: Shared, value: u32) {
        let store = |words: &mut [u32], index: usize, change: &dyn Fn(u32) -> u32| {
            if let Some(word) = words.get_mut(index) {
                *word = change(*word);
            }
        };
        match register {
            Shared::CounterLow => self.counter = self.counter >> 32 << 32 | u64::from(value),
            Shared::CounterHigh => self.counter = u64::from(value) << 32 | self.counter & 0xffff_ffff,
            Shared::Polarity(index) => store(&mut self.polarity, index, &|_| value),
            Shared::Trigger(index) => store(&mut self.trigger, index, &|_| value),
            Shared::Dual(index) => store(&mut self.dual, index, &|_| value),
            Shared::Wedge => self.write_wedge(value),
            Shared::ResetMask(index) => store(&mut self.mask, index, &|mask| mask & !value),
            Shared::SetMask(index) => store(&mut self.mask, index, &|mask| mask | value),
            Shared::MapPin(interrupt) => store(&mut self.map_pin, interrupt, &|_| value & MAP_PIN_MASK),
            Shared::MapVp(interrupt) => store(&mut self.map_vp, interrupt, &|_| value),
            Shared::Config | Shared::Mask(_) | Shared::Pending(_) => {}
        }
    }

    fn read_local(&self, vcpu: usize, register: Local) -> u32 {
        let Some(local) = self.local.get(vcpu) else { return 0 };
        match register {
            Local::Mask => local.mask,
            Local::ResetMask | Local::SetMask => 0,
            Local::Map(index) => local.maps.get(index).copied().unwrap_or(0),
            Local::Other => local.other,
            Local::Identity => vcpu as u32,
            Local::CompareLow => local.compare as u32,
            Local::CompareHigh => (local.compare >> 32) as u32,
        }
    }

    fn write_local(&mut self, vcpu: usize, register: Local, value: u32) {
        let Some(local) = self.local.get_mut(vcpu) else { return };
        match register {
            Local::ResetMask => local.mask &= !value,
            Local::SetMask => local.mask |= value & LOCAL_MASK,
            Local::Map(index) => {
                if let Some(map) = local.maps.get_mut(index) {
                    *map = value & MAP_PIN_MASK;
                }
            }
            Local::Other => local.other = value & OTHER_NUMBER,
            Local::CompareLow => local.compare = local.compare >> 32 << 32 | u64::from(value),
            Local::CompareHigh => local.compare = u64::from(value) << 32 | local.compare & 0xffff_ffff,
            Local::Mask | Local::Identity => {}
        }
    }

    fn read(&self, place: Place) -> u32 {
        match place {
            Place::Shared(register) => self.read_shared(register),
            Place::Local(vcpu, register) => self.read_local(vcpu, register),
            Place::Other(vcpu, register) => self.read_local(self.other(vcpu), register),
            Place::Nothing => 0,
        }
    }

    fn write(&mut self, place: Place, value: u32) {
        match place {
            Place::Shared(register) => self.write_shared(register, value),
            Place::Local(vcpu, register) => self.write_local(vcpu, register, value),
            Place::Other(vcpu, register) => self.write_local(self.other(vcpu), register, value),
            Place::Nothing => {}
        }
    }

    /// The vCPU that `vcpu` has selected, which need not exist.
    fn other(&self, vcpu: usize) -> usize {
        self.local.get(vcpu).map_or(usize::MAX, |local| local.other as usize)
    }
}

/// A register, and whose it is: the second kind is the accessing vCPU's, the third belongs to the one
/// that it has selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Shared(Shared),
    Local(usize, Local),
    Other(usize, Local),
    Nothing,
}

impl Place {
    fn at(offset: u64, vcpu: usize) -> Self {
        let local = Local::at(offset % BLOCK_SIZE);
        let place = match offset {
            0..LOCAL_BLOCK => Shared::at(offset).map(Self::Shared),
            LOCAL_BLOCK..OTHER_BLOCK => local.map(|register| Self::Local(vcpu, register)),
            OTHER_BLOCK..USER_BLOCK => local.map(|register| Self::Other(vcpu, register)),
            // The user block shows the counter, and nothing else, to programs.
            USER_BLOCK => Some(Self::Shared(Shared::CounterLow)),
            _ if offset == USER_BLOCK + 4 => Some(Self::Shared(Shared::CounterHigh)),
            _ => None,
        };
        place.unwrap_or(Self::Nothing)
    }

    fn is_user(offset: u64) -> bool {
        offset >= USER_BLOCK
    }
}

/// The pins of each vCPU, a bit a pin.
type Outputs = [u8; MAX_VCPUS];

/// What is behind the lock.
struct Core {
    state: State,
    /// The levels last given to the pins.
    driven: Outputs,
}

/// The interrupt controller. As an [`IrqSink`], its inputs are the shared interrupts.
pub struct Gic {
    core: Mutex<Core>,
    /// Copies of what an interrupt's dispatch reads, written with the lock held.
    pending: Vec<AtomicU32>,
    local_mask: Vec<AtomicU32>,
    pins: Arc<dyn VcpuPins>,
}

impl Gic {
    /// A controller for `vcpus` vCPUs, 1 to 32, with at least `inputs` inputs for devices. Asked for
    /// more than [`shared_interrupts`] allows, it has as many as there can be.
    pub fn new(vcpus: usize, inputs: usize, pins: Arc<dyn VcpuPins>) -> Self {
        let vcpus = vcpus.clamp(1, MAX_VCPUS);
        let interrupts = shared_interrupts(inputs, vcpus).unwrap_or(MAX_SHARED);
        let zeros = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        let core = Core { state: State::new(interrupts, vcpus), driven: [0; MAX_VCPUS] };
        Self { core: Mutex::new(core), pending: zeros(interrupts / WORD), local_mask: zeros(vcpus), pins }
    }

    /// Makes the copies and the pins agree with the state.
    fn settle(&self, core: &mut Core) {
        for (word, copy) in self.pending.iter().enumerate() {
            copy.store(core.state.pending(word), Ordering::Release);
        }
        for (local, copy) in core.state.local.iter().zip(&self.local_mask) {
            copy.store(local.mask, Ordering::Release);
        }
        let outputs = core.state.outputs();
        let vcpus = core.state.local.len();
        for (vcpu, (wanted, driven)) in outputs.iter().zip(&core.driven).enumerate().take(vcpus) {
            for pin in (0..PINS).filter(|pin| (wanted ^ driven) >> pin & 1 != 0) {
                self.pins.set(vcpu, pin, wanted >> pin & 1 != 0);
            }
        }
        core.driven = outputs;
    }

    fn read_word(&self, offset: u64, vcpu: usize) -> u32 {
        let copy = match Place::at(offset, vcpu) {
            Place::Shared(Shared::Pending(word)) => self.pending.get(word),
            Place::Local(vcpu, Local::Mask) => self.local_mask.get(vcpu),
            Place::Nothing => None,
            place => return lock(&self.core).state.read(place),
        };
        copy.map_or(0, |copy| copy.load(Ordering::Acquire))
    }

    fn write_word(&self, offset: u64, vcpu: usize, value: u32) {
        if Place::is_user(offset) {
            return;
        }
        let core = &mut *lock(&self.core);
        core.state.write(Place::at(offset, vcpu), value);
        self.settle(core);
    }
}

impl DeviceState for Gic {
    fn kind(&self) -> &'static str {
        "interrupts"
    }

    fn version(&self) -> u16 {
        1
    }

    fn save(&self) -> Vec<u8> {
        wire::encode(&lock(&self.core).state)
    }

    /// Sets every pin of every vCPU, also those that nothing is routed to; a vCPU keeps what it puts on a
    /// pin itself (its timer) apart.
    fn restore(&self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = wire::decode(bytes)?;
        let core = &mut *lock(&self.core);
        if !state.fits(&core.state) {
            return Err(StateError::Unfit("it has another number of interrupts or CPUs".into()));
        }
        core.state = state;
        // As if each pin were the opposite of what it should be, so that all are set.
        core.driven = core.state.outputs().map(|pins| !pins);
        self.settle(core);
        Ok(())
    }
}

impl IrqSink for Gic {
    fn set(&self, pin: u32, level: bool) {
        let core = &mut *lock(&self.core);
        if core.state.set_level(pin as usize, level) {
            self.settle(core);
        }
    }
}

impl SharedDevice for Gic {
    fn read(&self, at: Access) -> u64 {
        read_words(at, |offset| self.read_word(offset, at.vcpu))
    }

    fn write(&self, at: Access, value: u64) {
        write_words(at, value, |offset, word| self.write_word(offset, at.vcpu, word));
    }

    /// All but the wires from the devices, which are theirs.
    fn reset(&self) {
        let core = &mut *lock(&self.core);
        let fresh = State::new(core.state.map_pin.len(), core.state.local.len());
        core.state = State { level: std::mem::take(&mut core.state.level), ..fresh };
        self.settle(core);
    }
}

#[cfg(test)]
mod tests;
