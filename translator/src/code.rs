//! Host code as plain data: bytes, and the places in them that depend on where they are put.

use crate::ir::Exit;
use crate::stub::Stub;

/// A routine that every block shares; see [`crate::emit::routines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routine {
    /// Calls a stub and goes where it says.
    Stub(Stub),
    /// Goes to the block at [`Cpu::pc`](crate::cpu::Cpu::pc).
    Dispatch,
    /// Looks for the block at the program counter, which is not known to the jump cache.
    Miss,
    /// Leaves because the alarm is raised.
    Alarm,
    /// Leaves because the budget is used up.
    Budget,
    /// Leaves because code waits for memory to change.
    Polled,
    /// Joins a link that is not yet joined; called, so that the return address names the link.
    Link,
}

/// Why generated code came back to the run loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ExitReason {
    /// The alarm is raised.
    Alarm = 0,
    /// The next block is longer than the budget.
    Budget = 1,
    /// A stub wants to leave.
    Leave = 2,
    /// Code has waited for memory to change for a while; see [`Cpu::polls`](crate::cpu::Cpu::polls).
    Polled = 3,
}

impl ExitReason {
    /// The reason that generated code returned as a number.
    pub const fn from_number(number: u64) -> ExitReason {
        match number {
            0 => ExitReason::Alarm,
            1 => ExitReason::Budget,
            3 => ExitReason::Polled,
            _ => ExitReason::Leave,
        }
    }
}

/// A direct way out of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The offset of the jump's 4-byte displacement, a multiple of 4.
    pub displacement: usize,
    /// The offset of the stub that the jump goes to while it is not joined.
    pub stub: usize,
    /// The offset after the stub's call, which names the link.
    pub return_offset: usize,
}

/// The host code of one block.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// The bytes; the entry is the first.
    pub bytes: Vec<u8>,
    /// 4-byte displacements to routines.
    pub calls: Vec<(usize, Routine)>,
    /// The direct ways out.
    pub links: Vec<Link>,
    /// The offset that links of other blocks lead to, behind the instruction at the entry.
    pub body: usize,
    /// The offset of the code that a dropped block's entry is made to jump to.
    pub stale: usize,
    /// The offset of the field that gets the address of the block's counter, if it counts its runs.
    pub counter: Option<usize>,
    /// What each run of bytes is for, by the offset at which it begins, for dumps.
    pub parts: Vec<(usize, Part)>,
}

/// What a piece of a block's host code is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// What every run begins with.
    Entry,
    /// The step with this index.
    Step(usize),
    /// The jump after the last step.
    End,
    /// The way out when the block is longer than the budget.
    Budget,
    /// The slow path of the step with this index.
    Slow(usize),
    /// What the link to this place is while it is not joined.
    Link(Exit),
    /// Where whoever comes to the block goes once it is dropped.
    Stale,
}
