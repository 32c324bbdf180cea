//! The intermediate representation of a block: a list of nodes in guest order. Pure nodes are
//! expression trees that are computed where they are used; the guest's registers are the frame, so
//! nothing but a few shared values ever needs a place of its own.

mod build;
mod print;

pub use build::build;

use crate::isa::Op;
use crate::machine::{Access, Binary, Raise, Special, Unary};
use crate::nature::Window;
use crate::stub::Stub;

/// The number of a node in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u16);

impl Value {
    /// The node's position in its block.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that holds guest state and can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// A general register.
    Gpr(u8),
    /// A 64-bit field outside the general registers.
    Special(Special),
    /// The low word of a floating-point register.
    FprLow(u8),
    /// A floating-point condition code.
    Condition(u8),
}

impl Home {
    /// Whether writing `self` may change what reading `other` gives.
    pub fn overlaps(self, other: Home) -> bool {
        let register = |home| match home {
            Home::Special(Special::Fpr(r)) | Home::FprLow(r) => Some(r),
            _ => None,
        };
        self == other || register(self).is_some() && register(self) == register(other)
    }
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    /// A constant.
    Constant(u64),
    /// The virtual address of the block's page plus an offset.
    Page(u64),
    /// The 256 MB region of the block's page plus an offset.
    Region(u64),
    /// Reads guest state.
    Read(Home),
    /// An operation on one value.
    Unary(Unary, Value),
    /// An operation on two values.
    Binary(Binary, Value, Value),
    /// The second value if the first is not zero, else the third.
    Select(Value, Value, Value),
    /// Writes guest state.
    Write(Home, Value),
    /// Reads memory.
    Load(Access, Value, Route),
    /// Writes memory.
    Store(Access, Value, Value),
    /// Reads memory and keeps address and value as the link.
    LoadLinked(Access, Value),
    /// Writes memory if the link holds; 1 if it did, else 0.
    StoreConditional(Access, Value, Value),
    /// Raises an exception if the value is not zero.
    RaiseIf(Value, Raise),
    /// Raises an exception.
    Raise(Raise),
    /// Leaves unless the FPU is usable and needs no exact rules.
    NeedFpu,
    /// A floating-point operation.
    Float(Op, [Value; 3]),
    /// Calls a stub and goes where it says.
    Stub(Stub, [Value; 2], u32),
    /// Goes on only if the delay slot at an address, on the next page, is still this word.
    CheckSlot(Value, u32),
    /// Orders memory accesses.
    Fence,
    /// Leaves if an unmasked interrupt is pending.
    CheckInterrupts,
    /// The step with this index begins; `bool` says that it is in a delay slot.
    Begin(u8, bool),
    /// Keeps a branch's condition or target in the vCPU while the delay slot runs.
    Keep(Value),
    /// What the last [`Node::Keep`] kept.
    Kept,
}

impl Node {
    /// Whether the node only computes a value: it is emitted where the value is used.
    pub const fn is_pure(&self) -> bool {
        matches!(
            self,
            Node::Constant(_)
                | Node::Page(_)
                | Node::Region(_)
                | Node::Read(_)
                | Node::Unary(..)
                | Node::Binary(..)
                | Node::Select(..)
                | Node::Kept
        )
    }

    /// The nodes that this one uses.
    pub fn operands(&self) -> impl Iterator<Item = Value> + use<> {
        let list: [Option<Value>; 3] = match *self {
            Node::Unary(_, a) | Node::Write(_, a) | Node::Load(_, a, _) => [Some(a), None, None],
            Node::RaiseIf(a, _) | Node::Keep(a) | Node::LoadLinked(_, a) | Node::CheckSlot(a, _) => {
                [Some(a), None, None]
            }
            Node::Binary(_, a, b) | Node::Store(_, a, b) => [Some(a), Some(b), None],
            Node::Stub(_, [a, b], _) | Node::StoreConditional(_, a, b) => [Some(a), Some(b), None],
            Node::Select(a, b, c) => [Some(a), Some(b), Some(c)],
            Node::Float(_, [a, b, c]) => [Some(a), Some(b), Some(c)],
            _ => [None; 3],
        };
        list.into_iter().flatten()
    }
}

/// How a load finds its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By the soft TLB.
    Soft,
    /// By the soft TLB as a store would, because a store to the same word follows.
    ForStore,
    /// By a window: the address must lie in it.
    Window(Window),
}

/// Where a block goes after its last step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exit {
    /// An address this many bytes from the block's page.
    Direct(i64),
    /// An offset in the block's 256 MB region.
    Region(u64),
    /// The address that a value gives.
    Indirect(Value),
}

/// How a block ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Terminal {
    /// Goes to one place.
    Jump(Exit),
    /// Goes to the first place if the value is not zero, else to the second.
    Branch {
        /// The condition.
        condition: Value,
        /// Where a taken branch goes.
        taken: Exit,
        /// Where it goes otherwise.
        otherwise: Exit,
        /// The first node of a delay slot that runs after the condition was looked at; the end if the
        /// slot came before.
        late_slot: Value,
        /// Whether the late slot runs only if the branch is taken.
        is_likely: bool,
    },
    /// The last step never goes on.
    Stop,
}

/// The nodes of a block and how it ends.
#[derive(Clone, Debug)]
pub struct Ir {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// How the block ends.
    pub terminal: Terminal,
}

impl Ir {
    /// Whether the block looks at memory and changes nothing that it depends on itself: repeated, it does the
    /// same until someone else changes memory.
    pub fn only_looks(&self) -> bool {
        let (mut inputs, mut results) = (Vec::new(), Vec::new());
        let mut looks = false;
        for node in &self.nodes {
            match *node {
                Node::Read(home) if results.contains(&home) => {}
                Node::Read(home) => inputs.push(home),
                Node::Write(home, _) if inputs.iter().any(|input| home.overlaps(*input)) => return false,
                Node::Write(home, _) => results.push(home),
                Node::Load(..) => looks = true,
                Node::Fence | Node::Begin(..) => {}
                _ if node.is_pure() => {}
                _ => return false,
            }
        }
        looks
    }
}
