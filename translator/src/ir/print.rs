//! The intermediate representation as text, for dumps and tests.

use std::fmt;

use super::{Exit, Ir, Node, Terminal};

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            match node {
                Node::Begin(step, slot) => writeln!(f, "step {step}{}", if *slot { " (slot)" } else { "" })?,
                Node::Constant(value) => writeln!(f, "  v{index} = {value:#x}")?,
                Node::Page(offset) => writeln!(f, "  v{index} = page + {offset:#x}")?,
                Node::Write(home, value) => writeln!(f, "  {home:?} <- v{}", value.0)?,
                _ => writeln!(f, "  v{index} = {node:?}")?,
            }
        }
        match self.terminal {
            Terminal::Jump(exit) => writeln!(f, "jump {exit}"),
            Terminal::Branch { condition, taken, otherwise, .. } => {
                writeln!(f, "if v{} jump {taken} else {otherwise}", condition.0)
            }
            Terminal::Stop => writeln!(f, "stop"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Direct(offset) => write!(f, "page{offset:+#x}"),
            Exit::Region(offset) => write!(f, "region+{offset:#x}"),
            Exit::Indirect(value) => write!(f, "v{}", value.0),
        }
    }
}
