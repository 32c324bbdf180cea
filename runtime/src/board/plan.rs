//! The list of what a board has: RAM, CPUs and devices with their windows, interrupts and
//! device-tree properties. It must not know how a device works or what a device tree looks like as
//! bytes.

use crate::device::Window;

/// A value of a device-tree property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A property that says something by being there.
    Flag,
    /// One string.
    Text(String),
    /// 32-bit cells.
    Cells(Vec<u32>),
    /// A reference to another entry of the plan, by its label.
    Reference(&'static str),
}

/// A named property.
pub type Property = (&'static str, Value);

/// Anything that gets a node of its own in the device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's name without the address.
    pub name: String,
    /// What other nodes call it; unique.
    pub label: Option<&'static str>,
    /// `compatible`, most specific first.
    pub compatible: Vec<&'static str>,
    /// Everything besides `compatible`, `reg`, `interrupts` and `phandle`.
    pub properties: Vec<Property>,
}

impl Node {
    /// A node with neither label nor properties.
    pub fn new(name: &str, compatible: &[&'static str]) -> Self {
        let compatible = compatible.to_vec();
        Self { name: name.to_owned(), label: None, compatible, properties: Vec::new() }
    }

    /// The same node, which others can refer to as `label`.
    pub fn labelled(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// The same node with one property more.
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.properties.push((name, value));
        self
    }

    /// The same node with one property of one cell more.
    pub fn with_cell(self, name: &'static str, cell: u32) -> Self {
        self.with(name, Value::Cells(vec![cell]))
    }
}

/// A device: something with addresses. `K` names the kinds of device that the board knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot<K> {
    /// What it is.
    pub kind: K,
    /// Its node; `None` for a device that the guest finds by other means than the device tree.
    pub node: Option<Node>,
    /// Where it answers.
    pub window: Window,
    /// Its input of the interrupt controller, level-triggered and active high.
    pub interrupt: Option<u32>,
}

impl<K> Slot<K> {
    /// The name of its node with the address, which is unique on the board.
    pub fn path(&self) -> Option<String> {
        let node = self.node.as_ref()?;
        Some(format!("/{}@{:x}", node.name, self.window.base.0))
    }
}

/// Everything that a board has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<K> {
    /// What the board calls itself, for people.
    pub model: &'static str,
    /// What the board is, for drivers.
    pub compatible: Vec<&'static str>,
    /// The banks of RAM, by rising address.
    pub ram: Vec<Window>,
    /// What all CPU nodes have in common; there is one for each of `vcpus`.
    pub cpu: Node,
    /// The number of CPUs.
    pub vcpus: usize,
    /// The label of the interrupt controller.
    pub interrupt_parent: &'static str,
    /// Nodes without addresses: clocks, bindings over a shared register.
    pub fixtures: Vec<Node>,
    /// The devices, in the order in which the guest is to find them.
    pub slots: Vec<Slot<K>>,
    /// Names for devices, as `(alias, index into slots)`.
    pub aliases: Vec<(&'static str, usize)>,
    /// The device that the guest's first messages go to, as an index into `slots`.
    pub console: Option<usize>,
}
