//! Device trees: a [`Plan`] as the bytes that a kernel reads. It must not know any board or device.
//!
//! Addresses and sizes are two cells each. Interrupts are the three cells of the GIC's binding
//! (Documentation/devicetree/bindings/interrupt-controller/mti,gic.yaml): shared, number, type.

use std::ops::Range;

use translator::addr::Pa;
use vm_fdt::{Error, FdtWriter};

use super::plan::{Node, Plan, Property, Slot, Value};

/// First cell of an interrupt: an input shared by all CPUs.
const GIC_SHARED: u32 = 0;
/// Third cell of an interrupt: level-triggered, active high.
const IRQ_TYPE_LEVEL_HIGH: u32 = 4;

/// What changes from start to start of one board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The kernel's command line.
    pub command_line: String,
    /// The initial RAM disk. Physical addresses: drivers/of/fdt.c `early_init_dt_check_for_initrd`
    /// reads as many cells as there are and applies `__va` to the result.
    pub initrd: Option<Range<Pa>>,
    /// Seeds the guest's random numbers. Without it, starts are more alike.
    pub seed: Option<[u8; 32]>,
}

/// Makes the device tree of a machine. Fails on names that the format does not allow, such as a
/// command line with a NUL in it.
pub fn build<K>(plan: &Plan<K>, chosen: &Chosen) -> Result<Vec<u8>, Error> {
    let mut tree = Tree { writer: FdtWriter::new()?, labels: labels(plan) };
    let root = tree.writer.begin_node("")?;
    tree.cells(2, 2)?;
    tree.writer.property_string("model", plan.model)?;
    tree.compatible(&plan.compatible)?;
    tree.reference("interrupt-parent", plan.interrupt_parent)?;
    tree.aliases(plan)?;
    tree.chosen(plan, chosen)?;
    tree.memory(plan)?;
    tree.cpus(plan)?;
    for node in &plan.fixtures {
        let open = tree.writer.begin_node(&node.name)?;
        tree.body(node)?;
        tree.writer.end_node(open)?;
    }
    for slot in &plan.slots {
        tree.slot(slot)?;
    }
    tree.writer.end_node(root)?;
    tree.writer.finish()
}

/// Every label, in an order that gives the same handles each time.
fn labels<K>(plan: &Plan<K>) -> Vec<&'static str> {
    let slots = plan.slots.iter().filter_map(|slot| slot.node.as_ref());
    plan.fixtures.iter().chain(slots).filter_map(|node| node.label).collect()
}

struct Tree {
    writer: FdtWriter,
    labels: Vec<&'static str>,
}

impl Tree {
    /// The number that stands for `label`. A reference to a label that no node has is a bug of the
    /// board, not of the guest or user.
    fn handle(&self, label: &str) -> u32 {
        let index = self.labels.iter().position(|known| *known == label);
        let index = index.unwrap_or_else(|| panic!("The board has no node labelled {label}"));
        u32::try_from(index + 1).expect("a board has few nodes")
    }

    fn reference(&mut self, name: &str, label: &str) -> Result<(), Error> {
        let handle = self.handle(label);
        self.writer.property_u32(name, handle)
    }

    fn cells(&mut self, address: u32, size: u32) -> Result<(), Error> {
        self.writer.property_u32("#address-cells", address)?;
        self.writer.property_u32("#size-cells", size)
    }

    fn compatible(&mut self, names: &[&str]) -> Result<(), Error> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.writer.property_string_list("compatible", names)
    }

    fn property(&mut self, (name, value): &Property) -> Result<(), Error> {
        match value {
            Value::Flag => self.writer.property_null(name),
            Value::Text(text) => self.writer.property_string(name, text),
            Value::Cells(cells) => self.writer.property_array_u32(name, cells),
            Value::Reference(label) => self.reference(name, label),
        }
    }

    fn body(&mut self, node: &Node) -> Result<(), Error> {
        self.compatible(&node.compatible)?;
        for property in &node.properties {
            self.property(property)?;
        }
        match node.label {
            Some(label) => self.writer.property_phandle(self.handle(label)),
            None => Ok(()),
        }
    }

    fn slot<K>(&mut self, slot: &Slot<K>) -> Result<(), Error> {
        let Some(node) = &slot.node else { return Ok(()) };
        let window = slot.window;
        let open = self.writer.begin_node(&format!("{}@{:x}", node.name, window.base.0))?;
        self.body(node)?;
        self.writer.property_array_u64("reg", &[window.base.0, window.size])?;
        if let Some(interrupt) = slot.interrupt {
            self.writer.property_array_u32("interrupts", &[GIC_SHARED, interrupt, IRQ_TYPE_LEVEL_HIGH])?;
        }
        self.writer.end_node(open)
    }

    fn aliases<K>(&mut self, plan: &Plan<K>) -> Result<(), Error> {
        let open = self.writer.begin_node("aliases")?;
        for (alias, index) in &plan.aliases {
            if let Some(path) = plan.slots.get(*index).and_then(Slot::path) {
                self.writer.property_string(alias, &path)?;
            }
        }
        self.writer.end_node(open)
    }

    fn chosen<K>(&mut self, plan: &Plan<K>, chosen: &Chosen) -> Result<(), Error> {
        let open = self.writer.begin_node("chosen")?;
        self.writer.property_string("bootargs", &chosen.command_line)?;
        let console = plan.console.and_then(|index| plan.slots.get(index)).and_then(Slot::path);
        if let Some(path) = console {
            self.writer.property_string("stdout-path", &path)?;
        }
        if let Some(initrd) = &chosen.initrd {
            self.writer.property_u64("linux,initrd-start", initrd.start.0)?;
            self.writer.property_u64("linux,initrd-end", initrd.end.0)?;
        }
        if let Some(seed) = &chosen.seed {
            // Two parts, because the kernel wipes the first from its tree and shows the second.
            let (random, relocation) = seed.split_at(24);
            self.writer.property("rng-seed", random)?;
            self.writer.property("kaslr-seed", relocation)?;
        }
        self.writer.end_node(open)
    }

    fn memory<K>(&mut self, plan: &Plan<K>) -> Result<(), Error> {
        for bank in &plan.ram {
            let open = self.writer.begin_node(&format!("memory@{:x}", bank.base.0))?;
            self.writer.property_string("device_type", "memory")?;
            self.writer.property_array_u64("reg", &[bank.base.0, bank.size])?;
            self.writer.end_node(open)?;
        }
        Ok(())
    }

    fn cpus<K>(&mut self, plan: &Plan<K>) -> Result<(), Error> {
        let cpus = self.writer.begin_node("cpus")?;
        self.cells(1, 0)?;
        for number in 0..plan.vcpus as u32 {
            let open = self.writer.begin_node(&format!("{}@{number:x}", plan.cpu.name))?;
            self.writer.property_string("device_type", "cpu")?;
            self.writer.property_u32("reg", number)?;
            self.body(&plan.cpu)?;
            self.writer.end_node(open)?;
        }
        self.writer.end_node(cpus)
    }
}
