//! The intermediate representation as text, for dumps and tests: a line a node, in the words of the
//! guest. It must not know host registers.

use std::fmt;

use super::{Exit, Home, Ir, Node, Route, Terminal, Value};
use crate::isa::text::Names;
use crate::machine::Special;

impl Ir {
    /// What node `index` says; `None` for one that only marks where a step begins.
    pub fn line(&self, index: usize, names: Names) -> Option<String> {
        let home = |home| home_name(home, names);
        let text = match self.nodes[index] {
            Node::Begin(..) => return None,
            Node::Write(to, value) => format!("{} <- {value}", home(to)),
            Node::Store(access, address, value) => format!("{access:?} [{address}] <- {value}"),
            Node::RaiseIf(condition, what) => format!("if {condition} raise {what:?}"),
            Node::Raise(what) => format!("raise {what:?}"),
            Node::NeedFpu => "need the FPU".to_owned(),
            Node::CheckSlot(address, word) => format!("check that the slot at {address} is {word:#010x}"),
            Node::Fence => "fence".to_owned(),
            Node::CheckInterrupts => "check interrupts".to_owned(),
            Node::Keep(value) => format!("keep {value}"),
            node => format!("v{index} = {}", computed(node, names)),
        };
        Some(text)
    }
}

/// The right side of a node that gives a value.
fn computed(node: Node, names: Names) -> String {
    match node {
        Node::Constant(value) => format!("{value:#x}"),
        Node::Page(offset) => format!("page + {offset:#x}"),
        Node::Region(offset) => format!("region + {offset:#x}"),
        Node::Read(home) => home_name(home, names),
        Node::Unary(op, a) => format!("{op:?} {a}"),
        Node::Binary(op, a, b) => format!("{op:?} {a}, {b}"),
        Node::Select(condition, a, b) => format!("if {condition} then {a} else {b}"),
        Node::Load(access, address, Route::Soft) => format!("{access:?} [{address}]"),
        Node::Load(access, address, Route::ForStore) => format!("{access:?} [{address}], to be stored"),
        Node::Load(access, address, Route::Window(window)) => {
            format!("{access:?} [{address}], in the window at {:#x}", window.base())
        }
        Node::LoadLinked(access, address) => format!("{access:?} [{address}], linked"),
        Node::StoreConditional(access, address, value) => {
            format!("{access:?} [{address}] <- {value}, if linked")
        }
        Node::Float(op, [a, b, c]) => format!("{} {a}, {b}, {c}", op.row().name),
        Node::Stub(stub, [a, b], immediate) => format!("stub {} ({a}, {b}, {immediate:#x})", stub.name()),
        Node::Kept => "kept".to_owned(),
        other => format!("{other:?}"),
    }
}

fn home_name(home: Home, names: Names) -> String {
    match home {
        Home::Gpr(r) => names.gpr(r),
        Home::Special(Special::Hi) => "hi".to_owned(),
        Home::Special(Special::Lo) => "lo".to_owned(),
        Home::Special(Special::Cp0(register)) => register.row().name.to_owned(),
        Home::Special(Special::Fpr(r)) => format!("$f{r}"),
        Home::FprLow(r) => format!("$f{r}.low"),
        Home::Condition(cc) => format!("$fcc{cc}"),
    }
}

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            match (node, self.line(index, Names::N64)) {
                (Node::Begin(step, slot), _) => {
                    writeln!(f, "step {step}{}", if *slot { " (slot)" } else { "" })?;
                }
                (_, Some(line)) => writeln!(f, "  {line}")?,
                (_, None) => {}
            }
        }
        writeln!(f, "{}", self.terminal)
    }
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Terminal::Jump(exit) => write!(f, "jump {exit}"),
            Terminal::Branch { condition, taken, otherwise, .. } => {
                write!(f, "if {condition} jump {taken} else {otherwise}")
            }
            Terminal::Stop => f.write_str("stop"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Direct(offset) if *offset < 0 => write!(f, "page-{:#x}", offset.unsigned_abs()),
            Exit::Direct(offset) => write!(f, "page+{offset:#x}"),
            Exit::Region(offset) => write!(f, "region+{offset:#x}"),
            Exit::Indirect(value) => write!(f, "{value}"),
        }
    }
}
