//! How often each node is used and until when: which values must be computed before what they read
//! changes.

use crate::ir::{Exit, Ir, Node, Terminal, Value};

/// The uses of the nodes of a block.
pub struct Uses {
    counts: Vec<u8>,
    kept: Vec<bool>,
}

impl Uses {
    /// Works out the uses in `ir`.
    pub fn new(ir: &Ir) -> Self {
        let length = ir.nodes.len();
        let mut counts = vec![0u8; length];
        let mut last = vec![0usize; length];
        for value in terminal_values(ir.terminal) {
            counts[value.index()] = counts[value.index()].saturating_add(1);
            last[value.index()] = match ir.terminal {
                // The condition is looked at before a late slot; the exits of a branch have no values.
                Terminal::Branch { late_slot, .. } => late_slot.index(),
                _ => length,
            };
        }
        for (index, node) in ir.nodes.iter().enumerate().rev() {
            // A pure node is computed where it is used, so what it reads is read then.
            let when = if node.is_pure() { last[index] } else { index };
            let used = counts[index] > 0 || !node.is_pure();
            for operand in node.operands().filter(|_| used) {
                counts[operand.index()] = counts[operand.index()].saturating_add(1);
                last[operand.index()] = last[operand.index()].max(when);
            }
        }
        let kept =
            (0..length).map(|index| counts[index] > 0 && changes_before(ir, index, last[index])).collect();
        Self { counts, kept }
    }

    /// How many nodes use `value`.
    pub fn count(&self, value: Value) -> u8 {
        self.counts[value.index()]
    }

    /// Whether `value` reads something that is written before its last use.
    pub fn must_be_kept(&self, value: Value) -> bool {
        self.kept[value.index()]
    }
}

fn terminal_values(terminal: Terminal) -> impl Iterator<Item = Value> {
    let indirect = |exit| match exit {
        Exit::Indirect(value) => Some(value),
        _ => None,
    };
    let list = match terminal {
        Terminal::Jump(exit) => [None, indirect(exit), None],
        Terminal::Branch { condition, taken, otherwise, .. } => {
            [Some(condition), indirect(taken), indirect(otherwise)]
        }
        Terminal::Stop => [None; 3],
    };
    list.into_iter().flatten()
}

/// Whether node `index` reads a home that is written between it and `last`, without `last` itself.
fn changes_before(ir: &Ir, index: usize, last: usize) -> bool {
    let Node::Read(home) = ir.nodes[index] else { return false };
    let end = last.min(ir.nodes.len());
    let between = ir.nodes.get(index..end).unwrap_or_default();
    between.iter().any(|node| matches!(node, Node::Write(written, _) if written.overlaps(home)))
}
